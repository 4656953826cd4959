//! What is refused, what comes too late, and how the connection ends.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyperpull::{
    config::Config,
    engine::{Engine, ResetReason},
    error::{CloseCode, Code, Refusal},
    event::Event,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf, join, simplex};

use crate::{
    GET,
    rig::{Rig, head, run},
};

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
fn the_transport_of_an_answer_that_its_end_alone_delimits_is_kept_when_it_is_cut_short() {
    for (version, framed, is_kept) in [("1.0", false, true), ("1.0", true, false), ("1.1", false, false)] {
        run(async move {
            let mut rig = Rig::new(1 << 16);
            rig.engine.pull_requests(1);
            rig.client.send(&format!("GET / HTTP/{version}\r\nhost: a\r\n\r\n")).await;
            let (key, ..) = rig.request().await;
            let mut head = head(200);
            if framed {
                head.headers.push(&http::header::CONTENT_LENGTH, b"9").unwrap();
            }
            rig.engine.start(key, head, rig.now).unwrap();
            rig.engine.write(key, Bytes::from_static(b"part")).unwrap();
            assert!(matches!(rig.event().await, Event::Written { bytes: 4, .. }));
            rig.engine.reset(key.stream, ResetReason::Cancel);
            assert!(rig.until_closed().await.any(|event| matches!(event, Event::Failed { .. })));
            assert_eq!(rig.engine.take_cut_short().is_some(), is_kept);
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
        // What the peer sends behind its request must not reset the connection under the answer (RFC 9112 section 9.6).
        busy.client.send(GET).await;
        assert!(busy.quiet().await);
        busy.client.finish().await;
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

/// What a reader gets behind the FIN of a peer that closes altogether: the end, then that the connection was reset.
struct Closed(bool);

impl AsyncRead for Closed {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(if std::mem::replace(&mut self.0, true) { Err(ErrorKind::ConnectionReset.into()) } else { Ok(()) })
    }
}

#[test]
fn what_is_left_of_a_tunnel_that_both_sides_have_ended_is_read_though_the_connection_is_reset() {
    run(async {
        let (from_client, mut client) = simplex(1 << 16);
        let (_taken, to_client) = simplex(1 << 16);
        let now = Instant::now();
        let io = join(from_client.chain(Closed(false)), to_client);
        let mut engine = Engine::new(0, io, Arc::new(Config::default()), now);
        let turn = |engine: &mut Engine<_>| {
            engine.turn(&mut Context::from_waker(Waker::noop()), now);
            std::iter::from_fn(|| engine.next_event()).collect::<Vec<_>>()
        };
        engine.pull_requests(1);
        client.write_all(b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n").await.unwrap();
        let [Event::Open(_), Event::Request { key, .. }] = turn(&mut engine)[..] else { panic!("no request") };
        engine.upgrade(key, head(200), now).unwrap();
        assert!(matches!(turn(&mut engine)[..], [Event::Upgraded { .. }]));
        engine.finish(key, None).unwrap();
        client.write_all(b"abc").await.unwrap();
        client.shutdown().await.unwrap();
        assert!(matches!(turn(&mut engine)[..], [Event::Sent { .. }]));
        engine.pull_chunk(key, 100, now).unwrap();
        assert!(matches!(&turn(&mut engine)[..], [Event::Chunk { bytes, .. }] if bytes == "abc"));
        engine.pull_chunk(key, 100, now).unwrap();
        assert!(matches!(turn(&mut engine)[..], [Event::End { .. }, Event::Closed(_)]));
    });
}
