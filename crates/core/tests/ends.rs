//! How exchanges end over h2: with a body that was not read, and as a tunnel.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod rig;

use std::time::Duration;

use bytes::Bytes;
use h2::{SendStream, client::ResponseFuture};
use http::{Method, Request};
use hyperpull::{
    Key,
    error::Code,
    event::{Event, RequestBody},
};
use rig::{Rig, head, run};
use tokio::task::{LocalSet, spawn_local};

async fn local<F: Future>(test: F) -> F::Output {
    LocalSet::new().run_until(test).await
}

/// A client's request without an end, and what the client holds of it.
async fn request(rig: &mut Rig, request: Request<()>) -> (Key, RequestBody, ResponseFuture, SendStream<Bytes>) {
    rig.engine.pull_requests(1);
    let io = rig.take_client();
    let client = spawn_local(async move {
        let (mut sender, connection) = h2::client::handshake(io).await.unwrap();
        spawn_local(connection);
        sender.send_request(request, false).unwrap()
    });
    let (key, _, body) = rig.request().await;
    let (answer, out) = client.await.unwrap();
    (key, body, answer, out)
}

fn connect() -> Request<()> {
    Request::builder().method(Method::CONNECT).uri("a:1").body(()).unwrap()
}

#[test]
fn a_pull_that_waits_is_answered_before_the_exchange_ends() {
    run(local(async {
        let mut rig = Rig::new(1 << 16);
        let (key, ..) = request(&mut rig, Request::post("http://a/").body(()).unwrap()).await;
        rig.pull(key, 1).unwrap();
        rig.engine.send(key, head(200), Bytes::new(), None, rig.now).unwrap();
        let Event::BodyFailed { error, .. } = rig.event().await else { panic!("not answered") };
        assert_eq!(error.code(), Code::Closed);
        assert_eq!(rig.sent().await, (key, 0));
    }));
}

#[test]
fn a_connect_has_nothing_to_pull_until_it_is_a_tunnel() {
    run(local(async {
        let mut rig = Rig::new(1 << 16);
        let (key, body, _answer, mut out) = request(&mut rig, connect()).await;
        out.send_data(Bytes::from_static(b"early"), false).unwrap();
        assert!(matches!(body, RequestBody::None));
        assert_eq!(rig.pull(key, 100), Err(Code::Closed), "a pull would never be answered: the tunnel begins anew");
        rig.engine.upgrade(key, head(200), rig.now).unwrap();
        assert!(matches!(rig.event().await, Event::Upgraded { .. }));
        rig.pull(key, 100).unwrap();
        assert_eq!(rig.chunk().await, "early");
    }));
}

#[test]
fn a_tunnel_may_be_silent_for_as_long_as_it_likes() {
    run(local(async {
        let mut rig = Rig::new(1 << 16);
        let (key, _, _answer, mut out) = request(&mut rig, connect()).await;
        rig.engine.upgrade(key, head(200), rig.now).unwrap();
        assert!(matches!(rig.event().await, Event::Upgraded { .. }));
        rig.pull(key, 100).unwrap();
        // Pings show that the peer is there.
        for _ in 0..10 {
            assert!(rig.quiet().await);
            rig.pass(Duration::from_secs(15));
        }
        out.send_data(Bytes::from_static(b"at last"), false).unwrap();
        assert_eq!(rig.chunk().await, "at last");
    }));
}

#[test]
fn a_tunnel_that_has_ended_both_ways_is_sent_before_it_is_forgotten() {
    run(local(async {
        // The handshake's bytes fit, the head of the answer does not.
        let mut rig = Rig::new(100);
        let (key, _, answer, mut out) = request(&mut rig, connect()).await;
        out.send_data(Bytes::new(), true).unwrap();
        assert!(rig.quiet().await);
        let mut large = head(200);
        large.headers.push(&http::HeaderName::from_static("x-large"), "x".repeat(500).as_bytes()).unwrap();
        rig.engine.upgrade(key, large, rig.now).unwrap();
        rig.engine.finish(key, None).unwrap();
        rig.pull(key, 1).unwrap();
        let (mut upgraded, mut ended, mut sent) = (false, false, false);
        while !(upgraded && ended && sent) {
            match rig.event().await {
                Event::Upgraded { .. } => upgraded = true,
                Event::End { .. } => ended = true,
                Event::Sent { bytes, .. } => sent = bytes == 0,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(answer.await.unwrap().status(), 200);
    }));
}
