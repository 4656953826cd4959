//! Who drives a connection, when several wait for it and some have lost interest; and from which threads they may.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod rig;

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    thread::sleep,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use hyperpull::{
    Body, Connection, Driver, Input, Key, Output, Sending, Stream, Upgraded, Writer,
    config::Config,
    engine::Engine,
    error::{CloseCode, Code},
    timer::{NoTimer, Timer, TokioTimer},
};
use rig::run;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    task::yield_now,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn connection<IO: AsyncRead + AsyncWrite + Unpin>(io: IO) -> Connection<IO, TokioTimer> {
    Connection::new(io, Arc::new(Config::default()), TokioTimer::default())
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

#[test]
fn a_driver_that_is_polled_by_hand_sees_a_timeout_without_a_timer() {
    let (_client, server) = duplex(1 << 16);
    let mut config = Config::default();
    config.timeouts.handshake = Some(Duration::from_millis(10));
    let connection = Connection::new(server, Arc::new(config), NoTimer);
    let mut driver = pin!(connection.driver());
    assert!(poll_once(driver.as_mut()).is_pending());
    sleep(Duration::from_millis(11));
    let Poll::Ready(reason) = poll_once(driver) else { panic!("the timeout was not seen") };
    assert_eq!(reason.code, CloseCode::HandshakeTimeout);
}

/// A transport that panics when it is told to.
struct Panics(DuplexStream, Arc<AtomicBool>);

impl AsyncRead for Panics {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        assert!(!self.1.load(SeqCst), "told to panic");
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Panics {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[test]
fn a_turn_that_panics_ends_the_connection_for_all_who_wait() {
    run(async {
        let (mut client, server) = duplex(1 << 16);
        let panics = Arc::new(AtomicBool::new(false));
        let connection = Arc::new(connection(Panics(server, panics.clone())));
        let wait = |connection: &Arc<Connection<_, _>>| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.next().await.map(|stream| stream.map(drop)) })
        };
        let (leader, follower) = (wait(&connection), wait(&connection));
        yield_now().await;
        panics.store(true, SeqCst);
        client.write_all(GET).await.unwrap();
        assert!(leader.await.unwrap_err().is_panic());
        assert_eq!(follower.await.unwrap().unwrap().unwrap_err().code(), Code::Closed);
        assert!(connection.next().await.is_none());
        assert_eq!(connection.closed().await.code, CloseCode::Internal);
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
