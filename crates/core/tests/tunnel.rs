//! Streams that leave HTTP, or could.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod rig;

use bytes::Bytes;
use http::{Method, Request};
use hyperpull::{
    error::Code,
    event::{Event, RequestBody},
};
use rig::{Rig, head, run};
use tokio::task::{LocalSet, spawn_local};

#[test]
fn a_connect_has_nothing_to_pull_until_it_is_a_tunnel() {
    run(LocalSet::new().run_until(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        let io = rig.take_client();
        spawn_local(async move {
            let (mut sender, connection) = h2::client::handshake(io).await.unwrap();
            let connect = Request::builder().method(Method::CONNECT).uri("a:1").body(()).unwrap();
            let (_answer, mut out) = sender.send_request(connect, false).unwrap();
            out.send_data(Bytes::from_static(b"early"), false).unwrap();
            connection.await.unwrap();
        });
        let (key, _, body) = rig.request().await;
        assert!(matches!(body, RequestBody::None));
        assert_eq!(rig.pull(key, 100), Err(Code::Closed), "a pull would never be answered: the tunnel begins anew");
        rig.engine.upgrade(key, head(200)).unwrap();
        assert!(matches!(rig.event().await, Event::Upgraded(_)));
        rig.pull(key, 100).unwrap();
        assert_eq!(rig.chunk().await, "early");
    }));
}
