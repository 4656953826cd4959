//! A future that is dropped at any of its polls loses nothing: no stream, no request, no byte, no answer.
//!
//! One program uses every operation of the handles. It is run with one of them dropped at its n-th poll and called
//! again, for each n until none is left to be dropped; each time both ends must have seen the same.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod rig;

use std::{
    cell::{Cell, RefCell},
    fmt::Write,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{Method, Request, Response};
use hyperpull::{Connection, Key, Output, Upgraded, config::Config, timer::TokioTimer};
use rig::run;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    task::{LocalSet, spawn_local},
};

type Pipe = Connection<DuplexStream, TokioTimer>;

/// What can be dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Next,
    Request,
    Chunk,
    Bytes,
    Send,
    Write,
    Finish,
    Read,
    WriteTunnel,
    Flush,
    Shutdown,
    Closed,
}

const OPS: [Op; 12] = [
    Op::Next,
    Op::Request,
    Op::Chunk,
    Op::Bytes,
    Op::Send,
    Op::Write,
    Op::Finish,
    Op::Read,
    Op::WriteTunnel,
    Op::Flush,
    Op::Shutdown,
    Op::Closed,
];

/// Drops one kind of operation at one of its polls: after it, or in place of the next, when a wake-up has been used up.
#[derive(Default, Debug)]
struct Knife {
    op: Option<Op>,
    polls: usize,
    woken: bool,
    used: Cell<usize>,
}

impl Knife {
    /// What `future` gives; `None` when it was dropped.
    async fn cut<F: Future>(&self, op: Op, future: F) -> Option<F::Output> {
        if self.op != Some(op) {
            return Some(future.await);
        }
        let mut future = pin!(future);
        let mut polls = 0;
        let output = poll_fn(|cx| {
            if polls == self.polls {
                return Poll::Ready(None);
            }
            polls += 1;
            match future.as_mut().poll(cx) {
                Poll::Pending if polls == self.polls && !self.woken => Poll::Ready(None),
                polled => polled.map(Some),
            }
        });
        let output = output.await;
        self.used.set(self.used.get() + usize::from(output.is_none()));
        output
    }

    /// Calls `operation` again if it was dropped.
    async fn again<T>(&self, op: Op, mut operation: impl AsyncFnMut() -> T) -> T {
        match self.cut(op, operation()).await {
            Some(output) => output,
            None => operation().await,
        }
    }
}

/// How much goes through how little.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Bytes that the transport holds.
    pipe: usize,
    /// Bytes of each body, and of the tunnel.
    text: usize,
    /// Bytes written or read at a time.
    piece: usize,
}

/// So narrow that everything takes many polls.
const NARROW: Size = Size { pipe: 5, text: 70, piece: 20 };
/// So much that a writer has to wait for room.
const WIDE: Size = Size { pipe: 16 << 10, text: 150_000, piece: 30_000 };

/// What the server saw.
type Log = RefCell<String>;

/// The server: every operation at least once.
async fn serve(connection: Pipe, size: Size, knife: &Knife, log: &Log) {
    while let Some(stream) = knife.again(Op::Next, async || connection.next().await).await {
        let (mut input, mut output) = stream.unwrap().split();
        while let Some(item) = knife.again(Op::Request, async || input.next().await).await {
            let (key, request) = item.unwrap();
            let (head, mut body) = request.into_parts();
            writeln!(log.borrow_mut(), "{} {}", head.method, head.uri.path()).unwrap();
            if head.upgrade.is_some() {
                return tunnel(
                    connection,
                    size,
                    output.upgrade(input, key, Response::new(())).await.unwrap(),
                    knife,
                    log,
                )
                .await;
            }
            if head.uri.path() == "/pieces" {
                let mut text = BytesMut::new();
                while let Some(chunk) = knife.again(Op::Chunk, async || body.chunk().await.unwrap()).await {
                    text.extend_from_slice(&chunk);
                }
                let trailers = body.trailers();
                writeln!(log.borrow_mut(), "{text:?} {trailers:?}").unwrap();
                pieces(&mut output, key, text.freeze(), size.piece, knife).await;
            } else {
                let text = knife.again(Op::Bytes, async || body.bytes(1 << 20).await.unwrap()).await;
                writeln!(log.borrow_mut(), "{text:?}").unwrap();
                if let Some(sent) = knife.cut(Op::Send, output.send((key, Response::new(text.clone())))).await {
                    assert_eq!(sent.unwrap().bytes, text.len() as u64);
                }
            }
        }
    }
    knife.again(Op::Closed, async || connection.closed().await).await;
}

/// Sends the text back in pieces, each when half a piece still waits.
async fn pieces(output: &mut Output<DuplexStream, TokioTimer>, key: Key, mut text: Bytes, size: usize, knife: &Knife) {
    let length = text.len() as u64;
    let head = Response::builder().header("content-length", length).body(()).unwrap();
    let mut writer = output.start(key, head).unwrap();
    let room = size as u64 / 2;
    while !text.is_empty() {
        let piece = text.split_to(text.len().min(size));
        match knife.cut(Op::Write, writer.write(piece, room)).await {
            Some(written) => written.unwrap(),
            None => writer.write("", room).await.unwrap(),
        }
    }
    if let Some(sent) = knife.cut(Op::Finish, writer.finish(None)).await {
        assert_eq!(sent.unwrap().bytes, length);
    }
}

/// Sends everything back.
async fn tunnel(
    connection: Pipe,
    size: Size,
    mut tunnel: Upgraded<DuplexStream, TokioTimer>,
    knife: &Knife,
    log: &Log,
) {
    let mut space = vec![0; size.piece];
    loop {
        let read = knife.again(Op::Read, async || tunnel.read(&mut space).await.unwrap()).await;
        if read == 0 {
            break;
        }
        let mut rest = &space[..read];
        while !rest.is_empty() {
            let wrote = knife.again(Op::WriteTunnel, async || tunnel.write(rest).await.unwrap()).await;
            rest = &rest[wrote..];
        }
    }
    knife.again(Op::Flush, async || tunnel.flush().await.unwrap()).await;
    knife.again(Op::Shutdown, async || tunnel.shutdown().await.unwrap()).await;
    writeln!(log.borrow_mut(), "tunnel over").unwrap();
    drop(tunnel);
    knife.again(Op::Closed, async || connection.closed().await).await;
}

fn text(length: usize) -> String {
    (0..length).map(|number| char::from(b'a' + (number % 26) as u8)).collect()
}

/// What a client of HTTP/1.1 saw: all bytes, but for the time of day.
async fn h1_client(io: DuplexStream, long: &str) -> String {
    let (mut read, mut write): (ReadHalf<_>, WriteHalf<_>) = split(io);
    let send = async {
        let length = long.len();
        let chunked = "POST /pieces HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let heads = [
            format!("POST /whole HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{long}"),
            format!("{chunked}{length:x}\r\n{long}\r\n0\r\nx-sum: 7\r\n\r\n"),
            "GET /none HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            "GET /tunnel HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n".to_owned(),
        ];
        for head in heads {
            write.write_all(head.as_bytes()).await.unwrap();
        }
        write.write_all(long.as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut seen = Vec::new();
    let ((), read) = tokio::join!(send, read.read_to_end(&mut seen));
    read.unwrap();
    let seen = String::from_utf8(seen).unwrap();
    seen.lines().filter(|line| !line.starts_with("date:")).collect()
}

/// What a client of HTTP/2 saw: bodies, in the order of the requests.
async fn h2_client(io: DuplexStream, text: &str) -> String {
    let (mut sender, connection) = h2::client::handshake(io).await.unwrap();
    let connection = spawn_local(connection);
    let long = Bytes::copy_from_slice(text.as_bytes());
    let mut seen = String::new();
    for (path, body) in [("whole", Some(long.clone())), ("pieces", Some(long.clone())), ("none", None)] {
        let request = Request::post(format!("http://a/{path}")).body(()).unwrap();
        seen += &h2_exchange(&mut sender, request, body).await;
    }
    let connect = Request::builder().method(Method::CONNECT).uri("a:1").body(()).unwrap();
    seen += &h2_exchange(&mut sender, connect, Some(long)).await;
    drop(sender);
    connection.await.unwrap().unwrap();
    seen
}

async fn h2_exchange(sender: &mut SendRequest<Bytes>, request: Request<()>, body: Option<Bytes>) -> String {
    poll_fn(|cx| sender.poll_ready(cx)).await.unwrap();
    let (answer, mut out) = sender.send_request(request, body.is_none()).unwrap();
    if let Some(body) = body {
        out.send_data(body, true).unwrap();
    }
    let mut answer = answer.await.unwrap();
    let mut seen = format!("{}\n", answer.status());
    while let Some(data) = answer.body_mut().data().await {
        let data = data.unwrap();
        answer.body_mut().flow_control().release_capacity(data.len()).unwrap();
        seen += std::str::from_utf8(&data).unwrap();
    }
    seen
}

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Http1,
    Http2,
}

/// Runs the program; what both ends saw.
fn exchange(protocol: Protocol, size: Size, driven: bool, knife: &Knife) -> String {
    run(LocalSet::new().run_until(async move {
        let (client, server) = duplex(size.pipe);
        let connection = Connection::new(server, Arc::new(Config::default()), TokioTimer::default());
        if driven {
            spawn_local(connection.driver());
        }
        let (log, long) = (Log::default(), text(size.text));
        let client = async {
            match protocol {
                Protocol::Http1 => h1_client(client, &long).await,
                Protocol::Http2 => h2_client(client, &long).await,
            }
        };
        let ((), seen) = tokio::join!(serve(connection, size, knife, &log), client);
        log.into_inner() + &seen
    }))
}

fn nothing_is_lost(protocol: Protocol, size: Size, ops: &[Op]) {
    for driven in [false, true] {
        let whole = exchange(protocol, size, driven, &Knife::default());
        for (op, woken) in ops.iter().flat_map(|&op| [(op, false), (op, true)]) {
            for polls in 0.. {
                let knife = Knife { op: Some(op), polls, woken, ..Knife::default() };
                let seen = exchange(protocol, size, driven, &knife);
                assert!(seen == whole, "{knife:?}, driven: {driven}");
                assert!(polls > 0 || knife.used.get() > 0, "the program does not use {op:?}");
                if knife.used.get() == 0 {
                    break;
                }
            }
        }
    }
}

#[test]
fn on_http1_nothing_is_lost() {
    nothing_is_lost(Protocol::Http1, NARROW, &OPS);
}

#[test]
fn on_http2_nothing_is_lost() {
    nothing_is_lost(Protocol::Http2, NARROW, &OPS);
}

#[test]
fn where_a_writer_waits_for_room_nothing_is_lost() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        nothing_is_lost(protocol, WIDE, &[Op::Write, Op::Finish, Op::Read, Op::WriteTunnel, Op::Flush]);
    }
}
