//! Requests and their answers, up to the tunnel that one becomes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyperpull::{
    error::{CloseCode, Code, Refusal},
    event::{Event, Protocol, RequestBody},
};

use crate::{
    GET,
    rig::{Rig, head, run},
};

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
fn a_tunnel_that_is_read_on_comes_by_itself_and_no_further_than_it_is_taken() {
    run(async {
        const MOST: usize = 64 << 10;
        const ALL: usize = 200_000;
        let mut rig = Rig::new(1 << 20);
        rig.engine.pull_requests(1);
        rig.client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await;
        let (key, ..) = rig.request().await;
        rig.engine.upgrade(key, head(200), rig.now).unwrap();
        assert!(matches!(rig.event().await, Event::Upgraded { .. }));
        rig.client.send(&"x".repeat(ALL)).await;
        assert!(rig.quiet().await, "nobody has asked");
        let (mut came, mut taken) = (0, 0);
        rig.engine.read_on(key, 10_000, 0, None);
        while came < ALL {
            while came < ALL.min(taken + MOST) {
                let length = rig.chunk().await.len();
                assert!(length <= 10_000);
                came += length;
            }
            assert!(came < taken + MOST + 10_000);
            assert!(came == ALL || rig.quiet().await, "no more until some has been taken");
            assert_eq!(rig.engine.is_full(key), came < ALL || came - taken >= MOST);
            rig.engine.read_on(key, 10_000, came - taken, None);
            taken = came;
        }
        assert!(!rig.engine.is_full(key));
        rig.client.finish().await;
        assert!(matches!(rig.event().await, Event::End { .. }));
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
