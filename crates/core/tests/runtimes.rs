//! The core has no runtime: `tokio::spawn` at each level under both of tokio's, and all of it under smol.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod server;

#[path = "../examples/on_smol.rs"]
#[allow(dead_code)]
mod on_smol;
#[path = "../examples/spawn_connections.rs"]
#[allow(dead_code)]
mod spawn_connections;
#[path = "../examples/spawn_requests.rs"]
#[allow(dead_code)]
mod spawn_requests;
#[path = "../examples/spawn_streams.rs"]
#[allow(dead_code)]
mod spawn_streams;

use std::{
    net::{Shutdown, SocketAddr},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use hyperpull::{Connection, config::Config, error::CloseCode, timer::Timer};
use on_smol::SmolTimer;
use server::{Client, curl};
use smol::io::AsyncWriteExt as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    task::spawn_blocking,
};
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};

/// Runs a server, and who talks to it, under one runtime of tokio and then under the other.
fn under_both_of_tokio<S>(serve: fn(TcpListener) -> S, talk: impl AsyncFn(SocketAddr))
where
    S: Future<Output: Send + 'static> + Send + 'static,
{
    for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        builder.enable_all().build().unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(serve(listener));
            tokio::time::timeout(Duration::from_secs(30), talk(address)).await.expect("the test hangs");
        });
    }
}

#[test]
fn a_task_for_each_connection() {
    under_both_of_tokio(spawn_connections::serve, async |address| {
        a_held_connection_holds_up_no_other(address).await;
    });
}

#[test]
fn a_task_for_each_stream() {
    under_both_of_tokio(spawn_streams::serve, async |address| {
        a_held_connection_holds_up_no_other(address).await;
        a_held_stream_holds_up_no_other(address).await;
    });
}

#[test]
fn a_task_for_each_request() {
    under_both_of_tokio(spawn_requests::serve, async |address| {
        a_held_connection_holds_up_no_other(address).await;
        a_held_stream_holds_up_no_other(address).await;
    });
}

/// While a request is in work, others on connections of their own are answered, over both protocols.
async fn a_held_connection_holds_up_no_other(address: SocketAddr) {
    let mut held = TcpStream::connect(address).await.unwrap();
    held.write_all(b"PUT /held HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
        .await
        .unwrap();
    let mut seen = vec![0; 100];
    let read = held.read(&mut seen).await.unwrap();
    assert!(seen[..read].starts_with(b"HTTP/1.1 100 "));
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        let curl = move || curl(&address.to_string(), &[protocol, "-d", "hello"], "/x");
        assert_eq!(spawn_blocking(curl).await.unwrap(), "POST /x Ok(5)\n");
    }
    held.write_all(b"xx").await.unwrap();
    let read = held.read(&mut seen).await.unwrap();
    assert!(seen[..read].ends_with(b"PUT /held Ok(2)\n"));
}

/// While a request is in work, others on the same HTTP/2 connection are answered.
async fn a_held_stream_holds_up_no_other(address: SocketAddr) {
    let io = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |path| Request::put(format!("http://a{path}")).body(()).unwrap();
    let (held, mut body) = sender.send_request(request("/held"), false).unwrap();
    for _ in 0..10 {
        let mut other = sender.send_request(request("/other"), true).unwrap().0.await.unwrap();
        assert_eq!(other.body_mut().data().await.unwrap().unwrap(), "PUT /other Ok(0)\n");
    }
    body.send_data(Bytes::from_static(b"xx"), true).unwrap();
    assert_eq!(held.await.unwrap().body_mut().data().await.unwrap().unwrap(), "PUT /held Ok(2)\n");
    drop((sender, body));
    connection.await.unwrap().unwrap();
}

fn under_smol(test: impl Future<Output = ()>) {
    let deadline = async {
        smol::Timer::after(Duration::from_secs(30)).await;
        panic!("the test hangs");
    };
    // The deadline is looked at first: what it wakes by itself was not woken in time.
    smol::block_on(smol::future::or(deadline, test));
}

#[test]
fn smol_answers_over_both_protocols_beside_a_held_connection() {
    under_smol(async {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = smol::spawn(on_smol::serve(listener));
        let talk = move || {
            let mut held = Client::connect(&address);
            held.send("PUT /held HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n");
            held.read_to("100 Continue\r\n\r\n");
            for protocol in ["--http1.1", "--http2-prior-knowledge"] {
                assert_eq!(curl(&address, &[protocol, "-d", "hello"], "/x"), "POST /x Ok(5)\n");
            }
            held.send("xx");
            held.read_to("PUT /held Ok(2)\n");
        };
        smol::unblock(talk).await;
        server.cancel().await;
    });
}

#[test]
fn smol_notices_a_deadline() {
    under_smol(async {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _silent = smol::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (io, _) = listener.accept().await.unwrap();
        let mut config = Config::default();
        config.timeouts.handshake = Some(Duration::from_millis(20));
        let connection = Connection::new(io.compat(), Arc::new(config), SmolTimer::default());
        assert_eq!(connection.closed().await.code, CloseCode::HandshakeTimeout);
    });
}

#[test]
fn smols_alarm_can_be_set_earlier() {
    under_smol(async {
        let mut timer = SmolTimer::default();
        let now = timer.now();
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(timer.poll_until(now + Duration::from_secs(3600), &mut cx), Poll::Pending);
        std::future::poll_fn(|cx| timer.poll_until(now + Duration::from_millis(20), cx)).await;
        assert!(timer.now() >= now + Duration::from_millis(20));
    });
}

#[test]
fn smol_carries_an_upgraded_stream() {
    under_smol(async {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let talk = smol::unblock(move || {
            let mut client = Client::connect(&address);
            client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
            assert!(client.read_to("\r\n\r\n").starts_with("HTTP/1.1 101 "));
            client.send("there and back");
            client.0.shutdown(Shutdown::Write).unwrap();
            assert_eq!(client.read_all(), "there and back");
        });
        let (io, _) = listener.accept().await.unwrap();
        let connection = Connection::new(io.compat(), Arc::new(Config::default()), SmolTimer::default());
        let (mut input, output) = connection.next().await.unwrap().unwrap().split();
        let (key, _) = input.next().await.unwrap().unwrap();
        let (reader, mut writer) =
            smol::io::split(output.upgrade(input, key, Response::new(())).await.unwrap().compat());
        smol::io::copy(reader, &mut writer).await.unwrap();
        writer.close().await.unwrap();
        talk.await;
    });
}
