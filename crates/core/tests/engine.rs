//! The engine turned by hand, against bytes and against h2's own client, over a pipe with a settable capacity.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod rig;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyperpull::{
    config::Config,
    error::{CloseCode, Code, Refusal},
    event::{Event, Protocol, RequestBody},
};
use rig::{Rig, head, run};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn a_request_is_pulled_and_answered_until_the_peer_leaves() {
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(2);
        for sequence in 0..2 {
            rig.client.send(GET).await;
            let (key, request, body) = rig.request().await;
            assert_eq!((key.stream, key.sequence), (1, sequence));
            let shown = format!("{:?}", rig.engine);
            assert!(shown.starts_with("Engine { number: 0, phase: \"HTTP/1\""), "{shown}");
            assert_eq!(request.uri.path(), "/");
            assert!(matches!(body, RequestBody::None));
            rig.engine.send(key, head(200), Bytes::from_static(b"hello"), None, rig.now).unwrap();
            assert_eq!(rig.sent().await, (key, 5));
            assert!(rig.client.response().await.ends_with("\r\n\r\nhello"));
            assert_eq!(rig.engine.send(key, head(200), Bytes::new(), None, rig.now).unwrap_err().code(), Code::KeyUsed);
        }
        rig.client.finish().await;
        assert_eq!(rig.closed().await.code, CloseCode::PeerClosed);
    });
}

#[test]
fn sent_waits_for_the_reader() {
    run(async {
        let mut rig = Rig::new(64);
        rig.engine.pull_requests(1);
        rig.client.send(GET).await;
        let (key, ..) = rig.request().await;
        rig.engine.send(key, head(200), Bytes::from(vec![b'x'; 1000]), None, rig.now).unwrap();
        assert!(rig.quiet().await, "nothing is sent while the pipe is full");
        rig.drain_client_until_sent(key, 1000).await;
    });
}

#[test]
fn nothing_is_parsed_that_is_not_pulled() {
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.client.send("NOT HTTP AT ALL\r\n\r\n").await;
        assert!(matches!(rig.event().await, Event::Open(Protocol::Http1)));
        assert!(rig.quiet().await, "an unpulled head is not even looked at");
        rig.engine.pull_requests(1);
        assert!(matches!(rig.event().await, Event::Refused(Refusal::BadRequest)));
        assert!(rig.client.response().await.starts_with("HTTP/1.1 400"));
        assert!(rig.quiet().await, "a refused peer is given time to read the answer");
        rig.client.finish().await;
        assert_eq!(rig.closed().await.code, CloseCode::BadRequest);
    });
}

#[test]
fn a_pipeline_is_answered_in_order_one_by_one() {
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(9);
        rig.client.send(&GET.replace('/', "/0").replace("HTTP/0", "HTTP/").repeat(3)).await;
        for sequence in 0..3 {
            let (key, ..) = rig.request().await;
            assert_eq!(key.sequence, sequence);
            assert!(rig.quiet().await, "the next comes after the answer");
            rig.engine.send(key, head(200), Bytes::from(format!("{sequence}")), None, rig.now).unwrap();
            assert_eq!(rig.sent().await, (key, 1));
        }
        let text = rig.client.response().await;
        let order: Vec<_> = text.split("\r\n\r\n").skip(1).map(|part| &part[..1]).collect();
        assert_eq!(order, ["0", "1", "2"]);
    });
}

#[test]
fn no_more_of_a_body_is_read_ahead_than_the_limit_however_often_it_is_turned() {
    run(async {
        let mut config = Config::default();
        config.limits.buffered_bytes = 1 << 16;
        let mut rig = Rig::with(1 << 20, config);
        rig.engine.pull_requests(1);
        let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n";
        rig.client.send(&(head.to_owned() + &"x".repeat(1_000_000))).await;
        let (key, ..) = rig.request().await;
        let mut pulled = 0;
        for _ in 0..5 {
            rig.pull(key, 10_000).unwrap();
            pulled += rig.chunk().await.len();
            assert!(rig.quiet().await);
            let most = head.len() + pulled + (1 << 16);
            assert!(
                rig.engine.bytes_read() <= most as u64,
                "{} bytes were read, {pulled} pulled",
                rig.engine.bytes_read()
            );
        }
    });
}

#[test]
fn a_body_is_read_though_none_of_it_may_be_buffered() {
    run(async {
        let mut config = Config::default();
        config.limits.buffered_bytes = 0;
        let mut rig = Rig::with(1 << 16, config);
        rig.engine.pull_requests(1);
        rig.client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
        let (key, ..) = rig.request().await;
        rig.pull(key, 100).unwrap();
        assert_eq!(rig.chunk().await, "abc");
        rig.pull(key, 100).unwrap();
        assert!(matches!(rig.event().await, Event::End { .. }));
    });
}

#[test]
fn a_body_that_is_read_on_comes_by_itself_and_no_further_than_it_is_taken() {
    run(async {
        const MOST: usize = 1 << 16;
        let mut config = Config::default();
        config.limits.buffered_bytes = MOST as u32;
        let mut rig = Rig::with(1 << 20, config);
        rig.engine.pull_requests(1);
        let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n";
        rig.client.send(&(head.to_owned() + &"x".repeat(200_000))).await;
        let (key, ..) = rig.request().await;
        assert!(rig.quiet().await, "nobody has asked for the body");
        let (mut came, mut taken, mut last) = (0, 0, 0);
        while taken < 200_000 {
            rig.engine.read_on(key, 50_000, last, (came == taken).then_some(rig.now));
            while came < 200_000 && came < taken + MOST {
                let length = rig.chunk().await.len();
                assert!(length <= 50_000);
                came += length;
            }
            if came == 200_000 {
                assert!(matches!(rig.event().await, Event::End { .. }));
                break;
            }
            assert_eq!(came, taken + MOST);
            assert!(rig.engine.is_full(key));
            assert!(rig.quiet().await, "no more until some has been taken");
            assert!(rig.engine.bytes_read() <= (head.len() + came) as u64);
            last = 20_000.min(came - taken);
            taken += last;
        }
        rig.engine.read_on(key, 50_000, 1000, None);
        assert_eq!(rig.pull(key, 1), Err(Code::Closed));
    });
}

#[test]
fn a_body_that_is_read_on_is_late_only_for_a_reader_that_waits() {
    run(async {
        let mut config = Config::default();
        config.timeouts.body_idle = Some(Duration::from_secs(4));
        let mut rig = Rig::with(1 << 16, config);
        rig.engine.pull_requests(1);
        rig.client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n123").await;
        let (key, ..) = rig.request().await;
        rig.engine.read_on(key, 100, 0, Some(rig.now));
        assert_eq!(rig.chunk().await, "123");
        // The reader is told to wait for what is on its way to it.
        rig.engine.read_on(key, 100, 0, Some(rig.now));
        for _ in 0..3 {
            rig.pass(Duration::from_secs(4));
            assert!(rig.quiet().await, "it has something to take");
        }
        // It has taken that, a second ago, and this is heard of only now.
        let since = rig.now;
        rig.pass(Duration::from_secs(1));
        rig.engine.read_on(key, 100, 3, Some(since));
        rig.pass(Duration::from_millis(2_999));
        assert!(rig.quiet().await);
        rig.pass(Duration::from_millis(1));
        let Event::BodyFailed { error, .. } = rig.event().await else { panic!("not failed") };
        assert_eq!(error.code(), Code::BodyTimeout);
    });
}

#[test]
fn a_body_is_read_as_it_is_pulled_and_100_goes_out_with_the_first_pull() {
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        rig.client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n").await;
        let (key, _, body) = rig.request().await;
        assert!(matches!(body, RequestBody::Streamed { length: Some(10) }));
        assert!(rig.quiet().await);
        assert_eq!(rig.client.received(), "");
        rig.pull(key, 4).unwrap();
        assert!(rig.quiet().await);
        assert_eq!(rig.client.response().await, "HTTP/1.1 100 Continue\r\n\r\n");
        rig.client.send("0123456789").await;
        assert_eq!(rig.chunk().await, "0123");
        assert_eq!(rig.pull(key, 100), Ok(()));
        assert_eq!(rig.pull(key, 100), Err(Code::BodyInUse));
        assert_eq!(rig.chunk().await, "456789");
        rig.pull(key, 1).unwrap();
        assert!(matches!(rig.event().await, Event::End { trailers: None, .. }));
        rig.engine.send(key, head(204), Bytes::new(), None, rig.now).unwrap();
        rig.sent().await;
    });
}

#[test]
fn trailers_come_up_and_go_down() {
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        rig.client
            .send("POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n")
            .await;
        let (key, ..) = rig.request().await;
        rig.pull(key, 100).unwrap();
        assert_eq!(rig.chunk().await, "abc");
        rig.pull(key, 100).unwrap();
        let Event::End { trailers: Some(trailers), .. } = rig.event().await else { panic!("no trailers") };
        assert_eq!(trailers["x-sum"], "6");
        rig.engine.start(key, head(200), rig.now).unwrap();
        rig.engine.write(key, Bytes::from_static(b"12345")).unwrap();
        let out = HeaderMap::from_iter([("x-out".parse().unwrap(), "7".parse().unwrap())]);
        rig.engine.finish(key, Some(out)).unwrap();
        rig.sent().await;
        assert!(rig.client.response().await.ends_with("5\r\n12345\r\n0\r\nx-out: 7\r\n\r\n"));
    });
}

#[test]
fn written_tells_what_has_been_sent_of_a_stream() {
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        rig.client.send(GET).await;
        let (key, ..) = rig.request().await;
        rig.engine.start(key, head(200), rig.now).unwrap();
        rig.engine.write(key, Bytes::from_static(b"one")).unwrap();
        assert!(matches!(rig.event().await, Event::Written { bytes: 3, .. }));
        rig.engine.write(key, Bytes::from_static(b"three")).unwrap();
        assert!(matches!(rig.event().await, Event::Written { bytes: 8, .. }));
        rig.engine.finish(key, None).unwrap();
        assert_eq!(rig.sent().await, (key, 8));
    });
}

#[test]
fn a_body_that_breaks_its_length_never_looks_whole() {
    for (write, finish) in [("too long", false), ("no", true)] {
        run(async move {
            let mut rig = Rig::new(1 << 16);
            rig.engine.pull_requests(1);
            rig.client.send(GET).await;
            let (key, ..) = rig.request().await;
            let mut declared = head(200);
            declared.headers.push(&http::header::CONTENT_LENGTH, b"3").unwrap();
            rig.engine.start(key, declared, rig.now).unwrap();
            rig.engine.write(key, Bytes::from(write)).unwrap();
            if finish {
                rig.engine.finish(key, None).unwrap();
            }
            let Event::Failed { error, .. } = rig.skip_written().await else { panic!("not failed") };
            assert_eq!(error.code(), Code::BodyLengthMismatch);
            assert_eq!(rig.closed().await.code, CloseCode::Closed);
        });
    }
}

#[test]
fn a_whole_body_of_another_length_changes_nothing_with_trailers_either() {
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        rig.client.send(GET).await;
        let (key, ..) = rig.request().await;
        let mut declared = head(200);
        declared.headers.push(&http::header::CONTENT_LENGTH, b"3").unwrap();
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
        let sent = rig.engine.send(key, declared, Bytes::from("four"), Some(trailers), rig.now);
        assert_eq!(sent.map_err(|error| error.code()), Err(Code::BodyLengthMismatch));
        rig.engine.send(key, head(500), Bytes::new(), None, rig.now).unwrap();
        rig.sent().await;
        assert!(rig.client.response().await.starts_with("HTTP/1.1 500"));
    });
}

#[test]
fn an_interim_answer_goes_before_the_final_one() {
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        rig.client.send(GET).await;
        let (key, ..) = rig.request().await;
        let link = HeaderMap::from_iter([("link".parse().unwrap(), "</a.css>".parse().unwrap())]);
        rig.engine.inform(key, StatusCode::EARLY_HINTS, link.try_into().unwrap()).unwrap();
        assert!(rig.quiet().await);
        assert_eq!(rig.client.response().await, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
        rig.engine.send(key, head(200), Bytes::new(), None, rig.now).unwrap();
        rig.sent().await;
        assert!(rig.client.response().await.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn an_upgraded_stream_carries_bytes_both_ways() {
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        rig.client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: Echo\r\n\r\nEARLY").await;
        let (key, request, _) = rig.request().await;
        assert_eq!(request.upgrade.unwrap().token(), "echo");
        rig.engine.upgrade(key, head(200), rig.now).unwrap();
        assert!(matches!(rig.event().await, Event::Upgraded { .. }));
        assert!(rig.client.response().await.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
        rig.pull(key, 100).unwrap();
        assert_eq!(rig.chunk().await, "EARLY");
        rig.engine.write(key, Bytes::from_static(b"pong")).unwrap();
        assert!(matches!(rig.event().await, Event::Written { bytes: 4, .. }));
        assert_eq!(rig.client.response().await, "pong");
        rig.engine.finish(key, None).unwrap();
        rig.sent().await;
        rig.client.finish().await;
        rig.pull(key, 100).unwrap();
        assert!(matches!(rig.event().await, Event::End { .. }));
        assert_eq!(rig.closed().await.code, CloseCode::Upgraded);
    });
}

#[test]
fn what_stands_behind_a_connect_that_is_refused_is_no_request() {
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(2);
        // What a tunnel would have carried.
        rig.client.send(&format!("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n{GET}")).await;
        let (key, ..) = rig.request().await;
        rig.engine.send(key, head(407), Bytes::new(), None, rig.now).unwrap();
        rig.sent().await;
        assert!(rig.client.response().await.contains("\r\nconnection: close\r\n"));
        rig.client.finish().await;
        assert_eq!(rig.closed().await.code, CloseCode::ExchangeEnded);
    });
}

#[test]
fn no_rest_of_a_body_becomes_a_tunnels() {
    let ask = |body: &str| format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n{body}");
    run(async {
        let refused = async |body: &str, failed: Option<Code>| {
            let mut rig = Rig::new(1 << 20);
            rig.engine.pull_requests(1);
            rig.client.send(&ask(body)).await;
            let (key, ..) = rig.request().await;
            rig.pull(key, 3).unwrap();
            assert_eq!(rig.chunk().await, "abc");
            if let Some(code) = failed {
                rig.pull(key, 3).unwrap();
                rig.quiet().await;
                rig.pass(Duration::from_secs(60));
                let Event::BodyFailed { error, .. } = rig.event().await else { panic!("not failed") };
                assert_eq!(error.code(), code);
            }
            let error = rig.engine.upgrade(key, head(200), rig.now).err();
            assert_eq!(error.map(|error| error.code()), Some(Code::NotUpgradable), "{failed:?}");
            rig.engine.send(key, head(400), Bytes::new(), None, rig.now).unwrap();
            rig.sent().await;
        };
        // Some of it is still on its way, behind a fault, late, or has not been taken.
        refused("content-length: 30000\r\n\r\nabc", None).await;
        refused("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nrubbish\r\n", None).await;
        refused("content-length: 30000\r\n\r\nabc", Some(Code::BodyTimeout)).await;
        refused(&format!("content-length: 30000\r\n\r\nabc{}", "d".repeat(29_997)), None).await;
    });
}

#[test]
fn refusals_have_their_status_and_end_the_connection() {
    let cases: &[(&str, &str, Refusal)] = &[
        ("GET / HTTP/1.1\r\n\r\n", "400", Refusal::BadRequest),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", "400", Refusal::BadRequest),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", "400", Refusal::BadRequest),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n", "501", Refusal::UnknownCoding),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "400", Refusal::BadRequest),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\n\r\n", "413", Refusal::BodyTooLarge),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n", "400", Refusal::BadRequest),
        ("GET /12345678901 HTTP/1.1\r\nhost: a\r\n\r\n", "414", Refusal::TargetTooLong),
    ];
    for &(request, status, refusal) in cases {
        run(async move {
            let mut config = Config::default();
            config.limits.body_bytes = 50;
            config.limits.target_bytes = 10;
            let mut rig = Rig::with(1 << 16, config);
            rig.engine.pull_requests(1);
            rig.client.send(request).await;
            let mut events = rig.until_closed().await;
            assert!(events.any(|event| matches!(event, Event::Refused(seen) if seen == refusal)), "{request:?}");
            let text = rig.client.received();
            assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {text:?}");
        });
    }
}

#[test]
fn the_largest_number_is_no_limit() {
    run(async {
        let mut config = Config::default();
        let limits = &mut config.limits;
        (limits.header_bytes, limits.header_count, limits.target_bytes) = (usize::MAX, usize::MAX, usize::MAX);
        (limits.body_bytes, limits.buffered_bytes) = (u64::MAX, u32::MAX);
        let mut rig = Rig::with(1 << 16, config);
        rig.engine.pull_requests(1);
        let (target, fields) = ("x".repeat(10_000), "x-field: 1\r\n".repeat(1000));
        let head = format!("POST /{target} HTTP/1.1\r\nhost: a\r\n{fields}transfer-encoding: chunked\r\n\r\n");
        rig.client.send(&format!("{head}1\r\nx\r\n0\r\n{fields}\r\n")).await;
        let (key, request, _) = rig.request().await;
        assert_eq!(request.headers.get_all("x-field").count(), 1000);
        rig.pull(key, 100).unwrap();
        assert_eq!(rig.chunk().await, "x");
        rig.pull(key, 100).unwrap();
        let Event::End { trailers: Some(trailers), .. } = rig.event().await else { panic!("no trailers") };
        assert_eq!(trailers.get_all("x-field").iter().count(), 1000);
    });
}

#[test]
fn a_large_head_gets_431() {
    run(async {
        let mut rig = Rig::new(1 << 20);
        rig.engine.pull_requests(1);
        rig.client.send(&format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(20_000))).await;
        let _ = rig.until_closed().await;
        assert!(rig.client.received().starts_with("HTTP/1.1 431"));
    });
}

#[test]
fn a_peer_that_has_finished_sending_still_gets_its_answer() {
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        rig.client.send(GET).await;
        rig.client.finish().await;
        let (key, ..) = rig.request().await;
        assert!(rig.quiet().await);
        rig.engine.send(key, head(200), Bytes::from_static(b"late"), None, rig.now).unwrap();
        rig.sent().await;
        assert!(rig.client.response().await.ends_with("late"));
    });
}

#[test]
fn timeouts_end_what_waits() {
    let config = || {
        let mut config = Config::default();
        config.timeouts.handshake = Some(Duration::from_secs(1));
        config.timeouts.headers = Some(Duration::from_secs(2));
        config.timeouts.keep_alive_idle = Some(Duration::from_secs(3));
        config.timeouts.body_idle = Some(Duration::from_secs(4));
        config
    };
    run(async {
        let mut silent = Rig::with(1 << 16, config());
        assert!(silent.quiet().await);
        silent.pass(Duration::from_secs(1));
        assert_eq!(silent.close_code().await, CloseCode::HandshakeTimeout);

        let mut half = Rig::with(1 << 16, config());
        half.engine.pull_requests(1);
        half.client.send("GET / HTTP/1.1\r\nhost").await;
        assert!(matches!(half.event().await, Event::Open(_)));
        assert!(half.quiet().await);
        half.pass(Duration::from_secs(2));
        assert!(matches!(half.event().await, Event::Refused(Refusal::HeadersTimeout)));
        assert!(half.client.response().await.starts_with("HTTP/1.1 408"));

        let mut body = Rig::with(1 << 16, config());
        body.engine.pull_requests(1);
        body.client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n").await;
        let (key, ..) = body.request().await;
        body.pass(Duration::from_secs(100));
        assert!(body.quiet().await, "a body that is not pulled may take its time");
        body.pull(key, 9).unwrap();
        assert!(body.quiet().await);
        body.pass(Duration::from_secs(4));
        let Event::BodyFailed { error, .. } = body.event().await else { panic!("not failed") };
        assert_eq!(error.code(), Code::BodyTimeout);
        body.engine.send(key, head(408), Bytes::new(), None, body.now).unwrap();
        body.sent().await;

        let mut idle = Rig::with(1 << 16, config());
        idle.engine.pull_requests(2);
        idle.client.send(GET).await;
        let (key, ..) = idle.request().await;
        idle.engine.send(key, head(200), Bytes::new(), None, idle.now).unwrap();
        idle.sent().await;
        idle.pass(Duration::from_secs(3));
        assert_eq!(idle.close_code().await, CloseCode::KeepAliveTimeout);
    });
}

#[test]
fn who_was_in_time_is_not_late_because_nobody_looked() {
    let late = Duration::from_secs(100);
    run(async {
        let mut head = Rig::new(1 << 16);
        head.engine.pull_requests(1);
        head.client.send("GET / HTTP/1.1\r\nhost").await;
        assert!(head.quiet().await);
        head.client.send(": a\r\n\r\n").await;
        head.pass(late);
        head.request().await;

        let mut body = Rig::new(1 << 16);
        body.engine.pull_requests(1);
        body.client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n").await;
        let (key, ..) = body.request().await;
        body.pull(key, 9).unwrap();
        assert!(body.quiet().await);
        body.client.send("abc").await;
        body.pass(late);
        assert_eq!(body.chunk().await, "abc");
    });
}

#[test]
fn empty_lines_between_requests_begin_none() {
    for lines in [&["\r", "\n"][..], &["\r\n\r\n"], &["\r\n\r", "\n"]] {
        run(async {
            let mut rig = Rig::new(1 << 16);
            rig.engine.pull_requests(2);
            rig.client.send(GET).await;
            let (key, ..) = rig.request().await;
            rig.engine.send(key, head(200), Bytes::new(), None, rig.now).unwrap();
            rig.sent().await;
            for line in lines {
                rig.client.send(line).await;
                // No head is late that has not begun, and its connection is idle.
                rig.pass(Duration::from_secs(31));
                assert!(rig.quiet().await, "{lines:?}");
            }
            rig.pass(Duration::from_secs(65));
            assert_eq!(rig.close_code().await, CloseCode::KeepAliveTimeout, "{lines:?}");
        });
    }
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        rig.client.send("\r").await;
        assert!(rig.quiet().await);
        rig.engine.drain();
        assert!(rig.quiet().await);
        // The peer may be about to send the other half.
        rig.pass(Duration::from_secs(5));
        assert_eq!(rig.close_code().await, CloseCode::Drained);
    });
}

#[test]
fn a_timeout_that_is_longer_than_time_can_tell_is_off() {
    run(async {
        let mut config = Config::default();
        config.timeouts.handshake = Some(Duration::MAX);
        config.timeouts.keep_alive_idle = Some(Duration::MAX);
        let mut rig = Rig::with(1 << 16, config);
        rig.engine.pull_requests(1);
        assert!(rig.quiet().await);
        rig.client.send(GET).await;
        rig.request().await;
    });
}

#[test]
fn a_drained_connection_answers_what_is_in_flight_and_closes() {
    run(async {
        let mut busy = Rig::new(1 << 16);
        busy.engine.pull_requests(2);
        busy.client.send(GET).await;
        let (key, ..) = busy.request().await;
        busy.engine.drain();
        assert!(busy.quiet().await);
        busy.engine.send(key, head(200), Bytes::from_static(b"last"), None, busy.now).unwrap();
        assert_eq!(busy.sent().await, (key, 4));
        assert_eq!(busy.closed().await.code, CloseCode::Drained);
        assert!(busy.client.received().contains("connection: close\r\n"));

        let mut idle = Rig::new(1 << 16);
        idle.engine.pull_requests(2);
        idle.client.send(GET).await;
        let (key, ..) = idle.request().await;
        idle.engine.send(key, head(200), Bytes::new(), None, idle.now).unwrap();
        idle.sent().await;
        idle.engine.drain();
        assert_eq!(idle.closed().await.code, CloseCode::Drained);
    });
}
