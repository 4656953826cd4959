//! Handles that are dropped early or kept late: what their exchanges come to, and that each keeps to its own.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod rig;

use std::{
    future::{Future, poll_fn},
    io::ErrorKind,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::{
    Reason, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{Method, Request, Response};
use hyperpull::{
    Connection, Upgraded,
    config::Config,
    engine::ResetReason,
    error::{CloseCode, CloseReason, Code},
    timer::TokioTimer,
};
use rig::run;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::{JoinHandle, LocalSet, spawn_local, yield_now},
};

type Pipe = Connection<DuplexStream, TokioTimer>;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";

fn connection() -> (DuplexStream, Pipe) {
    let (client, server) = duplex(1 << 16);
    (client, Connection::new(server, Arc::new(Config::default()), TokioTimer::default()))
}

async fn local<F: Future>(test: F) -> F::Output {
    LocalSet::new().run_until(test).await
}

/// A driven HTTP/2 connection and a client of it.
async fn h2_pair() -> (SendRequest<Bytes>, Pipe) {
    let (client, connection) = connection();
    spawn_local(connection.driver());
    let (sender, client) = h2::client::handshake(client).await.unwrap();
    spawn_local(client);
    (sender, connection)
}

/// A tunnel over HTTP/2.
struct Tunneled {
    connection: Pipe,
    driver: JoinHandle<CloseReason>,
    sender: SendRequest<Bytes>,
    client: JoinHandle<Result<(), h2::Error>>,
    out: SendStream<Bytes>,
    tunnel: Upgraded<DuplexStream, TokioTimer>,
    /// Dropped, it would reset the stream.
    _answer: ResponseFuture,
}

async fn tunneled() -> Tunneled {
    let (client, connection) = connection();
    let driver = spawn_local(connection.driver());
    let (mut sender, client) = h2::client::handshake(client).await.unwrap();
    let client = spawn_local(client);
    let connect = Request::builder().method(Method::CONNECT).uri("a:1").body(()).unwrap();
    let (_answer, out) = sender.send_request(connect, false).unwrap();
    let (mut input, output) = connection.next().await.unwrap().unwrap().split();
    let (key, _) = input.next().await.unwrap().unwrap();
    let tunnel = output.upgrade(input, key, Response::new(())).await.unwrap();
    Tunneled { connection, driver, sender, client, out, tunnel, _answer }
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// `future`'s output; `None` if it is pending after so many polls.
async fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

#[test]
fn the_body_of_an_old_request_takes_nothing_of_the_next() {
    run(async {
        let (mut client, connection) = connection();
        client.write_all(POST).await.unwrap();
        let (mut input, mut output) = connection.next().await.unwrap().unwrap().split();
        let (key, mut old) = input.next().await.unwrap().unwrap();
        assert!(poll_once(old.body_mut().chunk()).is_pending());
        client.write_all(b"0\r\n\r\n").await.unwrap();
        // The end has come and nobody has fetched it.
        assert!(poll_once(input.next()).is_pending());
        output.send((key, Response::new(""))).await.unwrap();
        client.write_all(POST).await.unwrap();
        let (_, mut new) = input.next().await.unwrap().unwrap();
        assert!(poll_once(new.body_mut().chunk()).is_pending());
        client.write_all(b"1\r\nx\r\n").await.unwrap();
        assert_eq!(old.body_mut().chunk().await.unwrap_err().code(), Code::Closed);
        assert_eq!(new.body_mut().chunk().await.unwrap().unwrap(), "x");
    });
}

#[test]
fn an_answer_tells_that_it_was_sent_though_the_next_was_sent_since() {
    run(async {
        let (mut client, connection) = connection();
        client.write_all(&GET.repeat(2)).await.unwrap();
        let (mut input, mut output) = connection.next().await.unwrap().unwrap().split();
        let (key, _) = input.next().await.unwrap().unwrap();
        let first = output.send((key, Response::new("1")));
        let (key, _) = input.next().await.unwrap().unwrap();
        output.send((key, Response::new("22"))).await.unwrap();
        // One that was refused does not take its place.
        assert_eq!(output.send((key, Response::new(""))).await.unwrap_err().code(), Code::KeyUsed);
        assert_eq!(first.await.unwrap().bytes, 1);
    });
}

#[test]
fn a_stream_that_nobody_looked_into_is_refused_so_that_the_peer_may_try_again() {
    run(local(async {
        let (mut sender, connection) = h2_pair().await;
        for (looked, reason) in [(false, Reason::REFUSED_STREAM), (true, Reason::CANCEL)] {
            let request = Request::get("http://a/").body(()).unwrap();
            let (answer, _) = sender.send_request(request, true).unwrap();
            let (mut input, output) = connection.next().await.unwrap().unwrap().split();
            if looked {
                drop(input.next().await.unwrap().unwrap());
            }
            drop((input, output));
            assert_eq!(answer.await.unwrap_err().reason(), Some(reason));
        }
    }));
}

#[test]
fn a_request_that_comes_when_its_stream_has_gone_ends_the_connection() {
    run(local(async {
        let (mut client, connection) = connection();
        let driver = spawn_local(connection.driver());
        client.write_all(&GET[..10]).await.unwrap();
        let (mut input, output) = connection.next().await.unwrap().unwrap().split();
        assert!(poll_once(input.next()).is_pending());
        yield_now().await;
        drop((input, output));
        client.write_all(&GET[10..]).await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        drop(client);
        driver.await.unwrap();
    }));
}

#[test]
fn a_body_that_was_cut_short_never_looks_whole() {
    run(async {
        let (mut client, connection) = connection();
        client.write_all(POST).await.unwrap();
        client.write_all(b"3\r\nabc\r\n").await.unwrap();
        let (mut input, _output) = connection.next().await.unwrap().unwrap().split();
        let (_, mut request) = input.next().await.unwrap().unwrap();
        assert!(poll_once(request.body_mut().bytes(100)).is_pending());
        drop(client);
        for _ in 0..2 {
            assert_eq!(request.body_mut().bytes(100).await.unwrap_err().code(), Code::PeerClosed);
            assert_eq!(request.body_mut().chunk().await.unwrap_err().code(), Code::PeerClosed);
        }
    });
}

#[test]
fn who_was_not_waiting_when_the_peer_left_is_told_so_too() {
    for (leaves, code) in [(false, Code::PeerReset), (true, Code::PeerClosed)] {
        run(local(async move {
            let (client, connection) = connection();
            spawn_local(connection.driver());
            let (mut sender, client) = h2::client::handshake(client).await.unwrap();
            let client = spawn_local(client);
            let (_answer, mut out) = sender.send_request(Request::post("http://a/").body(()).unwrap(), false).unwrap();
            let (mut input, mut output) = connection.next().await.unwrap().unwrap().split();
            let (key, mut request) = input.next().await.unwrap().unwrap();
            out.send_data(Bytes::from_static(b"abc"), false).unwrap();
            assert_eq!(request.body_mut().chunk().await.unwrap().unwrap(), "abc");
            if leaves {
                client.abort();
                connection.closed().await;
            } else {
                out.send_reset(Reason::CANCEL);
                // The next stream comes behind it.
                let _answer = sender.send_request(Request::get("http://a/").body(()).unwrap(), true).unwrap();
                drop(connection.next().await.unwrap().unwrap());
            }
            assert_eq!(request.body_mut().chunk().await.unwrap_err().code(), code);
            assert_eq!(output.send((key, Response::new(""))).await.unwrap_err().code(), code);
            assert_eq!(output.start(key, Response::new(())).unwrap_err().code(), code);
        }));
    }
}

#[test]
fn a_tunnel_that_has_said_all_tells_why_it_hears_no_more() {
    for (pulls, leaves) in [(false, false), (true, false), (false, true), (true, true)] {
        run(local(async move {
            let Tunneled { connection, driver, mut sender, client, mut out, mut tunnel, .. } = tunneled().await;
            let mut space = [0; 10];
            if pulls {
                // The pull stays, though nobody waits for it, and brings this.
                assert!(poll_once(tunnel.read(&mut space)).is_pending());
                out.send_data(Bytes::from_static(b"abc"), false).unwrap();
            }
            tunnel.shutdown().await.unwrap();
            let kind = if leaves {
                client.abort();
                driver.await.unwrap();
                ErrorKind::UnexpectedEof
            } else {
                out.send_reset(Reason::CANCEL);
                // The next stream comes behind it.
                let _answer = sender.send_request(Request::get("http://a/").body(()).unwrap(), true).unwrap();
                drop(connection.next().await.unwrap().unwrap());
                ErrorKind::ConnectionReset
            };
            if pulls {
                assert_eq!(tunnel.read(&mut space).await.unwrap(), 3);
            }
            for _ in 0..2 {
                assert_eq!(tunnel.read(&mut space).await.unwrap_err().kind(), kind);
            }
        }));
    }
}

#[test]
fn a_tunnel_that_both_sides_have_ended_is_read_to_its_end_though_the_peer_has_left() {
    for reads in [true, false] {
        run(local(async move {
            let Tunneled { connection, driver, mut sender, client, mut out, mut tunnel, .. } = tunneled().await;
            out.send_data(Bytes::from_static(b"abc"), true).unwrap();
            tunnel.shutdown().await.unwrap();
            // What is in flight behind it fails, as ever.
            let _answer = sender.send_request(Request::get("http://a/").body(()).unwrap(), true).unwrap();
            let (mut input, mut output) = connection.next().await.unwrap().unwrap().split();
            let (key, _) = input.next().await.unwrap().unwrap();
            client.abort();
            assert!(client.await.unwrap_err().is_cancelled());
            assert_eq!(output.send((key, Response::new("lost"))).await.unwrap_err().code(), Code::PeerClosed);
            if reads {
                let mut seen = Vec::new();
                tunnel.read_to_end(&mut seen).await.unwrap();
                assert_eq!(seen, b"abc");
            }
            drop(tunnel);
            assert_eq!(driver.await.unwrap().code, CloseCode::PeerClosed);
        }));
    }
}

#[test]
fn a_body_larger_than_the_limit_can_still_be_read() {
    run(async {
        let (mut client, connection) = connection();
        client.write_all(POST).await.unwrap();
        client.write_all(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await.unwrap();
        let (mut input, _output) = connection.next().await.unwrap().unwrap().split();
        let (_, mut request) = input.next().await.unwrap().unwrap();
        let body = request.body_mut();
        assert_eq!(body.bytes(2).await.unwrap_err().code(), Code::BodyTooLarge);
        assert_eq!(body.length(), None);
        assert_eq!(body.bytes(5).await.unwrap(), "abcde");
        assert_eq!(body.length(), Some(0));
    });
    run(async {
        let (mut client, connection) = connection();
        client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nabcde").await.unwrap();
        let (mut input, _output) = connection.next().await.unwrap().unwrap().split();
        let (_, mut request) = input.next().await.unwrap().unwrap();
        let body = request.body_mut();
        assert_eq!(body.bytes(2).await.unwrap_err().code(), Code::BodyTooLarge);
        assert_eq!(body.length(), Some(5), "it has come, and can still be had");
        assert_eq!(body.chunk().await.unwrap().unwrap(), "abcde");
        assert_eq!(body.length(), Some(0));
    });
}

#[test]
fn an_upgrade_that_is_dropped_resets_its_stream_alone() {
    for polls in 0..3 {
        run(local(async move {
            let (mut sender, connection) = h2_pair().await;
            let connect = Request::builder().method(Method::CONNECT).uri("a:1").body(()).unwrap();
            let (answer, _out) = sender.send_request(connect, false).unwrap();
            let (mut input, output) = connection.next().await.unwrap().unwrap().split();
            let (key, _) = input.next().await.unwrap().unwrap();
            drop(polled(output.upgrade(input, key, Response::new(())), polls).await);
            let end = match answer.await {
                Ok(mut answer) => answer.body_mut().data().await.unwrap().unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(end.reason(), Some(Reason::CANCEL), "dropped at poll {polls}");

            let (answer, _) = sender.send_request(Request::get("http://a/").body(()).unwrap(), true).unwrap();
            let (mut input, mut output) = connection.next().await.unwrap().unwrap().split();
            let (key, _) = input.next().await.unwrap().unwrap();
            output.send((key, Response::new("served"))).await.unwrap();
            assert_eq!(answer.await.unwrap().body_mut().data().await.unwrap().unwrap(), "served");
        }));
        run(local(async move {
            let (mut client, connection) = connection();
            let driver = spawn_local(connection.driver());
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
                .await
                .unwrap();
            let (mut input, output) = connection.next().await.unwrap().unwrap().split();
            let (key, _) = input.next().await.unwrap().unwrap();
            drop(polled(output.upgrade(input, key, Response::new(())), polls).await);
            client.read_to_end(&mut Vec::new()).await.unwrap();
            assert_eq!(driver.await.unwrap().code, CloseCode::Closed, "dropped at poll {polls}");
        }));
    }
}

#[test]
fn a_tunnel_that_is_dropped_resets_its_stream_though_the_request_is_held() {
    // Dropped on its way, and when it is there.
    for polls in [1, 10] {
        run(local(async move {
            let (mut sender, connection) = h2_pair().await;
            let connect = Request::builder().method(Method::CONNECT).uri("a:1").body(()).unwrap();
            let (answer, _out) = sender.send_request(connect, false).unwrap();
            let (mut input, output) = connection.next().await.unwrap().unwrap().split();
            let (key, _request) = input.next().await.unwrap().unwrap();
            drop(polled(output.upgrade(input, key, Response::new(())), polls).await);
            let end = match answer.await {
                Ok(mut answer) => answer.body_mut().data().await.unwrap().unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(end.reason(), Some(Reason::CANCEL), "dropped at poll {polls}");
        }));
        run(local(async move {
            let (mut client, connection) = connection();
            let driver = spawn_local(connection.driver());
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
                .await
                .unwrap();
            let (mut input, output) = connection.next().await.unwrap().unwrap().split();
            let (key, _request) = input.next().await.unwrap().unwrap();
            drop(polled(output.upgrade(input, key, Response::new(())), polls).await);
            client.read_to_end(&mut Vec::new()).await.unwrap();
            assert_eq!(driver.await.unwrap().code, CloseCode::Closed, "dropped at poll {polls}");
        }));
    }
}

#[test]
fn a_failure_is_told_once() {
    run(async {
        let (mut client, connection) = connection();
        // A frame of SETTINGS that has a stream (RFC 9113 section 6.5).
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\0\0\0\0\x01").await.unwrap();
        assert_eq!(connection.next().await.unwrap().unwrap_err().code(), Code::Protocol);
        assert!(connection.clone().next().await.is_none());
        assert!(connection.next().await.is_none());
    });
}

#[test]
fn a_refused_head_ends_the_connection_and_is_told_by_closed() {
    run(async {
        let (mut client, connection) = connection();
        client.write_all(b"GET / HTTP/9.9\r\n\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        let (mut input, _output) = connection.next().await.unwrap().unwrap().split();
        assert!(input.next().await.is_none());
        assert!(connection.next().await.is_none());
        assert_eq!(connection.closed().await.code, CloseCode::BadRequest);
    });
}

#[test]
fn the_transport_is_dropped_though_handles_are_left_of_an_answer_that_is_cut_short() {
    run(async {
        let (mut client, connection) = connection();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let (mut input, mut output) = connection.next().await.unwrap().unwrap().split();
        let (key, _) = input.next().await.unwrap().unwrap();
        output.start(key, Response::new(())).unwrap().write("part", 0).await.unwrap();
        output.reset(ResetReason::Cancel);
        connection.closed().await;
        let mut seen = Vec::new();
        client.read_to_end(&mut seen).await.unwrap();
        assert!(seen.ends_with(b"part"));
    });
}

#[test]
fn a_key_is_good_for_its_own_connection_alone() {
    run(async {
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let ((mut one, first), (mut two, second)) = (connection(), connection());
        one.write_all(request).await.unwrap();
        two.write_all(request).await.unwrap();
        let (mut input, _) = first.next().await.unwrap().unwrap().split();
        let (key, _) = input.next().await.unwrap().unwrap();
        let (mut input, mut output) = second.next().await.unwrap().unwrap().split();
        let _own = input.next().await.unwrap().unwrap();
        let error = output.send((key, Response::new("for another"))).await.unwrap_err();
        assert_eq!(error.code(), Code::KeyUnknown);
    });
}

#[test]
fn a_tunnel_that_is_dropped_ends_though_the_peer_goes_on() {
    run(local(async {
        let (mut client, connection) = connection();
        let driver = spawn_local(connection.driver());
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nunread")
            .await
            .unwrap();
        let (mut input, output) = connection.next().await.unwrap().unwrap().split();
        let (key, _) = input.next().await.unwrap().unwrap();
        let mut tunnel = output.upgrade(input, key, Response::new(())).await.unwrap();
        tunnel.write_all(b"bye").await.unwrap();
        tunnel.shutdown().await.unwrap();
        drop(tunnel);
        let mut seen = Vec::new();
        client.read_to_end(&mut seen).await.unwrap();
        assert!(seen.ends_with(b"\r\n\r\nbye"));
        assert_eq!(driver.await.unwrap().code, CloseCode::Closed);
    }));
}
