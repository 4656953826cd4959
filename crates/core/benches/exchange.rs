//! What one exchange costs over a pipe in memory: without a socket, a runtime or a codec at the other end. So it is the work
//! of httparse and of this crate, and a change of either shows; how fast a server is, bench/ says.
//!
//! `cargo bench -p hyperpull`, or `cargo bench -p hyperpull -- h2` for some of it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{Response, StatusCode};
use hyperpull::{
    Connection, Key, ResponseHead, Stream,
    config::Config,
    engine::Engine,
    event::{Event, RequestBody},
    fields::ResponseFields,
    timer::NoTimer,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const HELLO: &[u8] = b"Hello, World!";

/// Polls until it is done. The pipe is the only thing that is waited for, and it is never empty when something is due.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// Requests, as bytes made beforehand.
trait Client {
    fn new(io: DuplexStream) -> Self;
    /// Sends a request.
    fn ask(&mut self);
    /// Takes what has come in answer.
    fn take(&mut self);
}

struct Http1<const BODY: usize> {
    io: DuplexStream,
    request: Vec<u8>,
    space: Vec<u8>,
}

impl<const BODY: usize> Client for Http1<BODY> {
    fn new(io: DuplexStream) -> Self {
        let mut request = match BODY {
            0 => b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            length => format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n").into_bytes(),
        };
        request.resize(request.len() + BODY, b'x');
        Self { io, request, space: vec![0; 1 << 16] }
    }

    fn ask(&mut self) {
        ready(self.io.write_all(&self.request)).unwrap();
    }

    fn take(&mut self) {
        assert!(ready(self.io.read(&mut self.space)).unwrap() > BODY);
    }
}

struct Http2 {
    io: DuplexStream,
    stream: u32,
    space: Vec<u8>,
}

impl Http2 {
    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        ready(self.io.write_all(&frame)).unwrap();
    }
}

impl Client for Http2 {
    fn new(io: DuplexStream) -> Self {
        let mut client = Self { io, stream: 1, space: vec![0; 1 << 16] };
        ready(client.io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).unwrap();
        client.frame(4, 0, 0, &[]);
        // A window that no benchmark uses up: 2^31 - 1 bytes in all.
        client.frame(8, 0, 0, &(i32::MAX as u32 - 65_535).to_be_bytes());
        client
    }

    fn ask(&mut self) {
        // :method GET, :scheme http, :path /, all indexed, and :authority a (RFC 7541 appendix A).
        self.frame(1, 5, self.stream, &[0x82, 0x86, 0x84, 0x01, 1, b'a']);
        self.stream += 2;
    }

    fn take(&mut self) {
        assert!(ready(self.io.read(&mut self.space)).unwrap() > HELLO.len());
    }
}

/// The engine, turned by hand.
struct ByEngine<C> {
    engine: Engine<DuplexStream>,
    client: C,
    now: Instant,
}

impl<C: Client> ByEngine<C> {
    fn new() -> Self {
        let (client, server) = duplex(1 << 16);
        let now = Instant::now();
        let engine = Engine::new(0, server, Arc::new(Config::default()), now);
        Self { engine, client: C::new(client), now }
    }

    fn turn(&mut self) {
        self.engine.turn(&mut Context::from_waker(Waker::noop()), self.now);
    }

    fn request(&mut self) -> (Key, RequestBody) {
        loop {
            self.turn();
            while let Some(event) = self.engine.next_event() {
                if let Event::Request { key, body, .. } = event {
                    return (key, body);
                }
            }
        }
    }

    fn exchange(&mut self) {
        self.client.ask();
        self.engine.pull_requests(1);
        let (key, body) = self.request();
        let body = match body {
            RequestBody::Complete(bytes) => bytes,
            _ => Bytes::from_static(HELLO),
        };
        let head = ResponseHead { status: StatusCode::OK, headers: ResponseFields::new() };
        self.engine.send(key, head, body, None, Instant::now()).unwrap();
        self.turn();
        assert!(matches!(self.engine.next_event(), Some(Event::Sent { .. })));
        self.client.take();
    }
}

type Handles = Connection<DuplexStream, NoTimer>;

fn connection<C: Client>() -> (C, Handles) {
    let (client, server) = duplex(1 << 16);
    (C::new(client), Connection::new(server, Arc::new(Config::default()), NoTimer))
}

/// Answers one request of a stream.
async fn answer(
    input: &mut hyperpull::Input<DuplexStream, NoTimer>,
    output: &mut hyperpull::Output<DuplexStream, NoTimer>,
) {
    let (key, mut request) = input.next().await.unwrap().unwrap();
    let body = request.body_mut().chunk().await.unwrap();
    output.send((key, Response::new(body.unwrap_or(Bytes::from_static(HELLO))))).await.unwrap();
}

fn http1<const BODY: usize>(criterion: &mut Criterion, name: &str) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    let mut engine = ByEngine::<Http1<BODY>>::new();
    group.bench_function("engine", |bencher| bencher.iter(|| engine.exchange()));

    let (mut client, connection) = connection::<Http1<BODY>>();
    client.ask();
    let (mut input, mut output) = ready(connection.next()).unwrap().unwrap().split();
    ready(answer(&mut input, &mut output));
    client.take();
    group.bench_function("handles", |bencher| {
        bencher.iter(|| {
            client.ask();
            ready(answer(&mut input, &mut output));
            client.take();
        });
    });
}

fn h1_hello(criterion: &mut Criterion) {
    http1::<0>(criterion, "h1 hello");
}

fn h1_echo(criterion: &mut Criterion) {
    http1::<1024>(criterion, "h1 echo 1 KiB");
}

fn h2_hello(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("h2 hello");
    group.throughput(Throughput::Elements(1));
    let mut engine = ByEngine::<Http2>::new();
    group.bench_function("engine", |bencher| bencher.iter(|| engine.exchange()));

    let (mut client, connection) = connection::<Http2>();
    group.bench_function("handles", |bencher| {
        bencher.iter(|| {
            client.ask();
            let stream: Stream<_, _> = ready(connection.next()).unwrap().unwrap();
            let (mut input, mut output) = stream.split();
            ready(answer(&mut input, &mut output));
            client.take();
        });
    });
}

criterion_group!(benches, h1_hello, h1_echo, h2_hello);
criterion_main!(benches);
