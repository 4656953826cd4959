//! The engine over HTTP/2, against h2's own client.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod rig;

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
};

use bytes::Bytes;
use h2::{Reason, client::SendRequest};
use http::{HeaderMap, Method, Request, StatusCode};
use hyperpull::{
    config::{Config, Protocols},
    engine::ResetReason,
    error::{CloseCode, Code, Refusal},
    event::{Event, RequestBody},
    fields::ResponseFields,
};
use rig::{Rig, head, run};
use tokio::task::{JoinHandle, LocalSet};

type Sender = SendRequest<Bytes>;

async fn local<F: Future>(test: F) -> F::Output {
    LocalSet::new().run_until(test).await
}

/// The client, whose connection runs beside the test.
async fn client(rig: &mut Rig) -> (Sender, JoinHandle<Option<h2::Error>>) {
    let io = rig.take_client();
    let handshake = tokio::task::spawn_local(async move {
        let (sender, connection) = h2::client::Builder::new().handshake::<_, Bytes>(io).await.unwrap();
        (sender, tokio::task::spawn_local(async move { connection.await.err() }))
    });
    assert!(matches!(rig.event().await, Event::Open(_)));
    assert!(rig.quiet().await);
    handshake.await.unwrap()
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://a{path}")).body(()).unwrap()
}

#[test]
fn streams_are_answered_in_any_order_and_each_is_sent() {
    run(local(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(10);
        let (mut sender, connection) = client(&mut rig).await;
        let mut answers = Vec::new();
        let mut keys = Vec::new();
        for path in ["/0", "/1", "/2"] {
            let (answer, _) = sender.send_request(request(Method::GET, path), true).unwrap();
            answers.push(answer);
            let (key, head, body) = rig.request().await;
            assert_eq!(head.uri.path(), path);
            assert!(matches!(body, RequestBody::None));
            keys.push(key);
        }
        for &key in keys.iter().rev() {
            rig.engine.send(key, head(200), Bytes::from(format!("{}", key.stream)), None, rig.now).unwrap();
            assert_eq!(rig.sent().await, (key, 1));
            assert_eq!(rig.engine.send(key, head(200), Bytes::new(), None, rig.now).unwrap_err().code(), Code::KeyUsed);
        }
        for (answer, key) in answers.into_iter().zip(keys) {
            let mut response = answer.await.unwrap();
            assert_eq!(response.headers()["content-length"], "1");
            assert!(response.headers().contains_key("date"));
            let data = response.body_mut().data().await.unwrap().unwrap();
            assert_eq!(data, format!("{}", key.stream));
        }
        drop(sender);
        assert_eq!(rig.closed().await.code, CloseCode::PeerClosed);
        assert!(connection.await.unwrap().is_none());
    }));
}

#[test]
fn what_has_come_at_once_comes_up_though_the_last_is_refused() {
    run(local(async {
        let mut rig = Rig::new(1 << 20);
        let (mut sender, _connection) = client(&mut rig).await;
        rig.engine.pull_requests(10);
        for round in 0..2 {
            let mut answers = Vec::new();
            for path in ["/0", "/1", "/2"] {
                answers.push(sender.send_request(request(Method::GET, path), true).unwrap().0);
            }
            let mut large = request(Method::GET, "/3");
            large.headers_mut().insert("x-large", "x".repeat(20 << 10).parse().unwrap());
            answers.push(sender.send_request(large, true).unwrap().0);
            tokio::task::yield_now().await;
            let mut seen = Vec::new();
            while seen.len() < 4 {
                match rig.event().await {
                    Event::Request { head, .. } => seen.push(head.uri.path().to_owned()),
                    Event::Refused(Refusal::HeadTooLarge) => seen.push("/3".to_owned()),
                    // Nobody waits for the answers of the round before.
                    Event::Failed { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, ["/0", "/1", "/2", "/3"], "round {round}");
        }
    }));
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn the_owner_is_not_woken_for_what_it_does_itself() {
    run(local(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(2);
        let (mut sender, _connection) = client(&mut rig).await;
        for _ in 0..2 {
            let _answer = sender.send_request(request(Method::GET, "/"), true).unwrap();
            let (key, ..) = rig.request().await;
            let count = Arc::new(Count(AtomicUsize::new(0)));
            rig.engine.turn(&mut Context::from_waker(&Waker::from(count.clone())), rig.now);
            rig.engine.send(key, head(200), Bytes::from_static(b"x"), None, rig.now).unwrap();
            assert_eq!(count.0.load(SeqCst), 0);
            assert_eq!(rig.sent().await, (key, 1));
        }
    }));
}

#[test]
fn sent_waits_for_the_peer_to_open_its_window() {
    run(local(async {
        let mut rig = Rig::new(1 << 12);
        rig.engine.pull_requests(1);
        let (mut sender, _connection) = client(&mut rig).await;
        let (answer, _) = sender.send_request(request(Method::GET, "/"), true).unwrap();
        let (key, ..) = rig.request().await;
        rig.engine.send(key, head(200), Bytes::from(vec![7; 300_000]), None, rig.now).unwrap();
        assert!(rig.quiet().await, "the window is 65 535 bytes and nobody reads");
        let reader = tokio::task::spawn_local(async move {
            let mut response = answer.await.unwrap();
            let mut total = 0;
            while let Some(data) = response.body_mut().data().await {
                let data = data.unwrap();
                total += data.len();
                response.body_mut().flow_control().release_capacity(data.len()).unwrap();
            }
            total
        });
        assert_eq!(rig.sent().await, (key, 300_000));
        assert!(rig.quiet().await);
        assert_eq!(reader.await.unwrap(), 300_000);
    }));
}

#[test]
fn a_body_comes_in_chunks_with_its_trailers_and_small_frames_do_no_harm() {
    run(local(async {
        let mut rig = Rig::new(1 << 20);
        rig.engine.pull_requests(1);
        let (mut sender, _connection) = client(&mut rig).await;
        let (_answer, mut body) = sender.send_request(request(Method::POST, "/"), false).unwrap();
        let (key, _, kind) = rig.request().await;
        assert!(matches!(kind, RequestBody::Streamed { length: None }));
        for _ in 0..1000 {
            body.send_data(Bytes::from_static(b"a"), false).unwrap();
            tokio::task::yield_now().await;
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1000".parse().unwrap());
        body.send_trailers(trailers).unwrap();
        assert!(rig.quiet().await);
        rig.pull(key, 600).unwrap();
        assert_eq!(rig.chunk().await.len(), 600);
        rig.pull(key, 600).unwrap();
        assert_eq!(rig.chunk().await.len(), 400);
        rig.pull(key, 600).unwrap();
        let Event::End { trailers: Some(trailers), .. } = rig.event().await else { panic!("no trailers") };
        assert_eq!(trailers["x-sum"], "1000");
        rig.engine.send(key, head(200), Bytes::new(), None, rig.now).unwrap();
        rig.sent().await;
    }));
}

#[test]
fn window_is_given_back_as_chunks_are_pulled() {
    run(local(async {
        let mut config = Config::default();
        config.limits.buffered_bytes = 1 << 16;
        let mut rig = Rig::with(1 << 20, config);
        rig.engine.pull_requests(1);
        let (mut sender, _connection) = client(&mut rig).await;
        let (_answer, mut body) = sender.send_request(request(Method::POST, "/"), false).unwrap();
        body.reserve_capacity(1 << 20);
        body.send_data(Bytes::from(vec![1; 100_000]), true).unwrap();
        let (key, ..) = rig.request().await;
        assert!(rig.quiet().await);
        let mut total = 0;
        loop {
            rig.pull(key, 1 << 20).unwrap();
            match rig.event().await {
                Event::Chunk { bytes, .. } => {
                    assert!(bytes.len() <= 1 << 16, "more than the window was read ahead");
                    total += bytes.len();
                }
                Event::End { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(total, 100_000);
    }));
}

#[test]
fn window_is_given_back_as_what_came_by_itself_is_taken() {
    run(local(async {
        // That of a stream is a sixteenth of the connection's.
        const WINDOW: usize = 1 << 16;
        let mut rig = Rig::new(1 << 20);
        rig.engine.pull_requests(17);
        let (mut sender, _connection) = client(&mut rig).await;
        let mut bodies = Vec::new();
        let mut keys = Vec::new();
        for _ in 0..17 {
            let (_, mut body) = sender.send_request(request(Method::POST, "/"), false).unwrap();
            body.send_data(Bytes::from(vec![1; WINDOW]), false).unwrap();
            bodies.push(body);
            let key = rig.request().await.0;
            // None of them waits for more: a reader that does would be lent window.
            rig.engine.read_on(key, WINDOW, 0, None);
            keys.push(key);
            let mut came = 0;
            while keys.len() < 17 && came < WINDOW {
                came += rig.chunk().await.len();
            }
            assert!(rig.engine.is_full(key));
        }
        assert!(rig.quiet().await, "sixteen readers that take nothing leave no window");
        rig.engine.read_on(keys[0], WINDOW, 30_000, None);
        let mut last = 0;
        while last < 30_000 {
            last += rig.chunk().await.len();
        }
        assert!(rig.quiet().await);
        assert_eq!(last, 30_000, "as much as one of them has taken");
        rig.engine.reset(keys[1].stream, ResetReason::Cancel);
        assert!(matches!(rig.event().await, Event::Failed { key, .. } if key == keys[1]));
        while last < WINDOW {
            last += rig.chunk().await.len();
        }
    }));
}

#[test]
fn a_body_is_read_to_its_end_beside_ten_that_nobody_reads() {
    run(local(async {
        const LENGTH: usize = 1 << 20;
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(11);
        let (mut sender, _connection) = client(&mut rig).await;
        let mut bodies = Vec::new();
        let mut last = None;
        for _ in 0..11 {
            let (_, mut body) = sender.send_request(request(Method::PUT, "/"), false).unwrap();
            body.send_data(Bytes::from(vec![0; LENGTH]), true).unwrap();
            bodies.push(body);
            last = Some(rig.request().await.0);
        }
        let key = last.unwrap();
        let mut read = 0;
        while read < LENGTH {
            rig.pull(key, LENGTH).unwrap();
            read += rig.chunk().await.len();
        }
        rig.pull(key, 1).unwrap();
        assert!(matches!(rig.event().await, Event::End { trailers: None, .. }));
    }));
}

#[test]
fn a_peer_reset_fails_the_exchange_and_a_reset_of_ours_reaches_the_peer() {
    run(local(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(5);
        let (mut sender, _connection) = client(&mut rig).await;
        let (answer, mut body) = sender.send_request(request(Method::POST, "/"), false).unwrap();
        let (key, ..) = rig.request().await;
        body.send_reset(Reason::CANCEL);
        drop(answer);
        let Event::Failed { key: failed, error } = rig.event().await else { panic!("not failed") };
        assert_eq!((failed, error.code()), (key, Code::PeerReset));

        let (answer, _) = sender.send_request(request(Method::GET, "/"), true).unwrap();
        let (key, ..) = rig.request().await;
        rig.engine.reset(key.stream, ResetReason::EnhanceYourCalm);
        let Event::Failed { error, .. } = rig.event().await else { panic!("not failed") };
        assert_eq!(error.code(), Code::Closed);
        assert!(rig.quiet().await);
        assert_eq!(answer.await.unwrap_err().reason(), Some(Reason::ENHANCE_YOUR_CALM));
    }));
}

#[test]
fn informational_heads_and_trailers_go_out() {
    run(local(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        let (mut sender, _connection) = client(&mut rig).await;
        let (mut answer, _) = sender.send_request(request(Method::GET, "/"), true).unwrap();
        let (key, ..) = rig.request().await;
        rig.engine.inform(key, StatusCode::EARLY_HINTS, ResponseFields::new()).unwrap();
        assert!(rig.quiet().await);
        let interim = poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(interim.status(), 103);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "5".parse().unwrap());
        rig.engine.start(key, head(200), rig.now).unwrap();
        rig.engine.write(key, Bytes::from_static(b"hello")).unwrap();
        rig.engine.finish(key, Some(trailers)).unwrap();
        assert_eq!(rig.sent().await, (key, 5));
        let mut response = answer.await.unwrap();
        assert_eq!(response.body_mut().data().await.unwrap().unwrap(), "hello");
        assert_eq!(response.body_mut().trailers().await.unwrap().unwrap()["x-sum"], "5");
    }));
}

#[test]
fn an_extended_connect_becomes_a_tunnel() {
    run(local(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        let (mut sender, _connection) = client(&mut rig).await;
        let mut connect = request(Method::CONNECT, "/chat");
        connect.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let (answer, mut out) = sender.send_request(connect, false).unwrap();
        let (key, request, body) = rig.request().await;
        assert_eq!(request.upgrade.unwrap().token(), "websocket");
        assert!(matches!(body, RequestBody::None));
        rig.engine.upgrade(key, head(200), rig.now).unwrap();
        assert!(matches!(rig.event().await, Event::Upgraded { .. }));
        out.send_data(Bytes::from_static(b"ping"), false).unwrap();
        rig.pull(key, 100).unwrap();
        assert_eq!(rig.chunk().await, "ping");
        rig.engine.write(key, Bytes::from_static(b"pong")).unwrap();
        rig.engine.finish(key, None).unwrap();
        assert_eq!(rig.sent().await, (key, 4));
        assert_eq!(answer.await.unwrap().body_mut().data().await.unwrap().unwrap(), "pong");
        out.send_data(Bytes::new(), true).unwrap();
        rig.pull(key, 100).unwrap();
        assert!(matches!(rig.event().await, Event::End { .. }));
    }));
}

#[test]
fn a_drain_says_goaway_finishes_what_is_in_flight_and_refuses_the_rest() {
    run(local(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        let (mut sender, connection) = client(&mut rig).await;
        let (answer, _) = sender.send_request(request(Method::GET, "/"), true).unwrap();
        let (unpulled, _) = sender.send_request(request(Method::GET, "/"), true).unwrap();
        let (key, ..) = rig.request().await;
        rig.engine.drain();
        assert!(matches!(rig.event().await, Event::Refused(Refusal::Draining)));
        rig.engine.send(key, head(200), Bytes::from_static(b"last"), None, rig.now).unwrap();
        assert_eq!(rig.sent().await, (key, 4));
        assert_eq!(rig.close_code().await, CloseCode::Drained);
        assert_eq!(answer.await.unwrap().status(), 200);
        assert_eq!(unpulled.await.unwrap_err().reason(), Some(Reason::REFUSED_STREAM));
        drop(sender);
        let _ = connection.await;
    }));
}

#[test]
fn cancels_before_the_pull_do_not_kill_the_connection() {
    run(local(async {
        let mut rig = Rig::new(1 << 20);
        let (mut sender, _connection) = client(&mut rig).await;
        for _ in 0..100 {
            poll_fn(|cx| sender.poll_ready(cx)).await.unwrap();
            let (answer, mut body) = sender.send_request(request(Method::POST, "/"), false).unwrap();
            body.send_reset(Reason::CANCEL);
            drop(answer);
            assert!(rig.quiet().await);
        }
        let (answer, _) = sender.send_request(request(Method::GET, "/alive"), true).unwrap();
        rig.engine.pull_requests(1);
        let (key, head_seen, _) = loop {
            match rig.event().await {
                Event::Request { key, head, body } if head.uri.path() == "/alive" => break (key, head, body),
                Event::Request { .. } => {}
                Event::Failed { .. } => rig.engine.pull_requests(1),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(head_seen.uri.path(), "/alive");
        rig.engine.send(key, head(200), Bytes::new(), None, rig.now).unwrap();
        rig.sent().await;
        assert!(rig.quiet().await);
        assert_eq!(answer.await.unwrap().status(), 200);
    }));
}

#[test]
fn without_the_preface_an_h2_connection_is_closed_and_not_reset() {
    run(async {
        let mut config = Config::default();
        config.protocols = Protocols::Http2;
        let mut rig = Rig::with(1 << 16, config);
        rig.client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(matches!(rig.event().await, Event::Refused(Refusal::ProtocolError)));
        assert!(rig.quiet().await, "the transport is kept until the peer has seen its end");
        rig.client.finish().await;
        assert_eq!(rig.closed().await.code, CloseCode::ProtocolError);
    });
}
