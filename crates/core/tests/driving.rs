//! Who drives a connection, when several wait for it and some have lost interest; and from which threads they may.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod rig;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use hyperpull::{
    Body, Connection, Driver, Input, Key, Output, Sending, Stream, Upgraded, Writer,
    config::Config,
    engine::Engine,
    timer::{NoTimer, Timer, TokioTimer},
};
use rig::run;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    task::yield_now,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn connection<IO: AsyncRead + AsyncWrite + Unpin>(io: IO) -> Connection<IO, TokioTimer> {
    Connection::new(0, io, Arc::new(Config::default()), TokioTimer::default())
}

/// Polls once, with a waker that wakes nobody.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn with_a_driver_nothing_else_need_be_polled() {
    run(async {
        let (mut client, server) = duplex(1 << 16);
        let connection = Arc::new(connection(server));
        let mut held = pin!(connection.next());
        assert!(poll_once(held.as_mut()).is_pending());
        tokio::spawn(connection.driver());
        yield_now().await;
        let stream = tokio::spawn({
            let connection = connection.clone();
            async move { connection.next().await.unwrap().unwrap() }
        });
        yield_now().await;
        client.write_all(GET).await.unwrap();
        let (mut input, _output) = stream.await.unwrap().split();
        assert!(input.next().await.unwrap().is_ok());
    });
}

#[test]
fn a_read_of_a_tunnel_that_was_given_up_does_not_stop_the_other_streams() {
    run(async {
        let (client, server) = duplex(1 << 16);
        let connection = Arc::new(connection(server));
        let (mut sender, client) = {
            let handshake = tokio::spawn(h2::client::handshake(client));
            let mut next = pin!(connection.next());
            // Both ends have to see each other's preface: the server's end is turned by whoever waits.
            while !handshake.is_finished() {
                assert!(poll_once(next.as_mut()).is_pending());
                yield_now().await;
            }
            handshake.await.unwrap().unwrap()
        };
        tokio::spawn(client);
        let connect = Request::builder().method(Method::CONNECT).uri("a:1").body(()).unwrap();
        let (_answer, _out) = sender.send_request(connect, false).unwrap();
        let (mut input, output) = connection.next().await.unwrap().unwrap().split();
        let (key, _) = input.next().await.unwrap().unwrap();
        let mut tunnel = output.upgrade(input, key, Response::new(())).await.unwrap();
        // As a timeout does: polls, and lets go without a word.
        let mut space = [0];
        assert!(poll_once(pin!(tunnel.read(&mut space))).is_pending());
        let other = tokio::spawn({
            let connection = connection.clone();
            async move {
                let (mut input, mut output) = connection.next().await.unwrap().unwrap().split();
                let (key, _) = input.next().await.unwrap().unwrap();
                output.send((key, Response::new("served"))).await.unwrap();
            }
        });
        yield_now().await;
        let get = Request::get("http://a/").body(()).unwrap();
        let (answer, _) = sender.send_request(get, true).unwrap();
        let mut answer = answer.await.unwrap();
        assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), "served");
        other.await.unwrap();
        drop(tunnel);
    });
}

/// Checked for every transport that is `Send`, by the compiler.
#[test]
fn handles_and_their_futures_may_go_to_other_threads_if_the_transport_may() {
    fn movable<T: Send>() {}
    fn both<T: Send + Sync>() {}
    fn send<T: Send>(_: impl FnOnce() -> T) {}
    fn handles<IO: AsyncRead + AsyncWrite + Unpin + Send, T: Timer + Send>() {
        both::<(Connection<IO, T>, Driver<IO, T>, Stream<IO, T>, Input<IO, T>, Output<IO, T>)>();
        both::<(Sending<IO, T>, Writer<'_, IO, T>, Body<IO, T>, Upgraded<IO, T>)>();
        movable::<Engine<IO>>();
    }
    fn futures<IO: AsyncRead + AsyncWrite + Unpin + Send, T: Timer + Send>(
        connection: &Connection<IO, T>,
        input: &mut Input<IO, T>,
        writer: &mut Writer<'_, IO, T>,
        body: &mut Body<IO, T>,
    ) {
        send(|| connection.next());
        send(|| connection.closed());
        send(|| input.next());
        send(|| writer.write(Bytes::new(), 0));
        send(|| body.chunk());
        send(|| body.bytes(0));
    }
    fn upgrade<IO: AsyncRead + AsyncWrite + Unpin + Send, T: Timer + Send>(
        input: Input<IO, T>,
        output: Output<IO, T>,
        key: Key,
    ) {
        send(|| output.upgrade(input, key, Response::new(())));
    }
    handles::<DuplexStream, NoTimer>();
    let _ = (futures::<DuplexStream, NoTimer>, upgrade::<DuplexStream, NoTimer>);
}
