//! Many tasks on several threads share a connection and drop their operations at random polls. There is no timer that could
//! make up for a wake-up: one that is lost is a hang.
//!
//! `STRESS_ROUNDS=100` (default 5) goes on for longer, `STRESS_SEED` repeats a run as far as threads can.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    env,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request, Response};
use hyperpull::{Connection, Stream, Upgraded, config::Config, timer::NoTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Requests of a client at a time, and in all.
const AT_ONCE: usize = 8;
const REQUESTS: usize = 64;
/// A round takes a fraction of a second.
const DEADLINE: Duration = Duration::from_secs(30);

/// xorshift64*: one for each task.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn other(&mut self) -> Self {
        Self(self.below(usize::MAX >> 1) as u64 | 1)
    }

    /// What `future` gives, if it is not dropped before: at once, after a few polls, or when it has been woken again.
    async fn perhaps<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let (mut left, woken) = (self.below(8), self.below(2) == 0);
        if left > 4 {
            return Some(future.await);
        }
        let mut future = pin!(future);
        let output = poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= 1;
            match future.as_mut().poll(cx) {
                Poll::Pending if left == 0 && !woken => Poll::Ready(None),
                polled => polled.map(Some),
            }
        });
        output.await
    }
}

/// Calls an operation until it was not dropped.
macro_rules! finally {
    ($dice:expr, $operation:expr) => {
        loop {
            if let Some(output) = $dice.perhaps($operation).await {
                break output;
            }
        }
    };
    // Between the calls it looks away, and leaves the connection to the others.
    ($dice:expr, $others:expr, $operation:expr) => {
        loop {
            if let Some(output) = $dice.perhaps($operation).await {
                break output;
            }
            if $dice.below(2) == 0 {
                $others.look_away().await;
            }
        }
    };
}

/// Streams at work, and what they have done.
#[derive(Default)]
struct Work {
    streams: usize,
    answers: usize,
}

#[derive(Clone)]
struct Others(Arc<watch::Sender<Work>>);

impl Others {
    /// Waits until somebody has got on, or nobody is left.
    async fn look_away(&self) {
        let mut work = self.0.subscribe();
        let seen = work.borrow().answers;
        work.wait_for(|work| work.answers > seen || work.streams == 0).await.unwrap();
    }

    fn begin(&self) -> Busy {
        self.0.send_modify(|work| work.streams += 1);
        Busy(self.clone())
    }
}

/// A stream at work.
struct Busy(Others);

impl Busy {
    fn answered(&self) {
        self.0.0.send_modify(|work| work.answers += 1);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.send_modify(|work| work.streams -= 1);
    }
}

type Conn = Connection<TcpStream, NoTimer>;

/// Serves a connection with a task for it, one for each stream, and perhaps one that drives.
async fn serve(io: TcpStream, mut dice: Dice) {
    let connection = Arc::new(Conn::new(io, Arc::new(Config::default()), NoTimer));
    let others = Others(Arc::new(watch::Sender::default()));
    let mut tasks = JoinSet::new();
    let mut aside = Box::pin(connection.next());
    if dice.below(2) == 0 {
        // With a driver an operation may be kept aside; without, it must be let go of.
        if let Poll::Ready(Some(stream)) = aside.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            tasks.spawn(serve_stream(stream.unwrap(), others.begin(), dice.other()));
        }
        let (connection, mut dice) = (connection.clone(), dice.other());
        tasks.spawn(async move {
            finally!(dice, connection.driver());
        });
    }
    while let Some(stream) = finally!(dice, others, connection.next()) {
        tasks.spawn(serve_stream(stream.unwrap(), others.begin(), dice.other()));
    }
    drop(aside);
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn serve_stream(stream: Stream<TcpStream, NoTimer>, busy: Busy, mut dice: Dice) {
    let (mut input, mut output) = stream.split();
    while let Some(item) = finally!(dice, input.next()) {
        let (key, mut request) = item.unwrap();
        if request.upgrade().is_some() {
            let others = busy.0.clone();
            drop(busy);
            return echo(output.upgrade(input, key, Response::new(())).await.unwrap(), others, dice).await;
        }
        let body = request.body_mut();
        let text = finally!(dice, body.bytes(1 << 20)).unwrap();
        if dice.below(2) == 0 {
            dice.perhaps(output.send((key, Response::new(text)))).await.map(Result::unwrap);
        } else {
            let mut writer = output.start(key, Response::new(())).unwrap();
            for piece in text.chunks(1000) {
                let room = dice.below(3000) as u64;
                dice.perhaps(writer.write(Bytes::copy_from_slice(piece), room)).await.map(Result::unwrap);
            }
            dice.perhaps(writer.finish(None)).await.map(Result::unwrap);
        }
        busy.answered();
    }
}

async fn echo(mut tunnel: Upgraded<TcpStream, NoTimer>, others: Others, mut dice: Dice) {
    let mut space = [0; 1000];
    loop {
        let read = finally!(dice, others, tunnel.read(&mut space)).unwrap();
        if read == 0 {
            break;
        }
        let mut rest = &space[..read];
        while !rest.is_empty() {
            let wrote = finally!(dice, others, tunnel.write(rest)).unwrap();
            rest = &rest[wrote..];
        }
        finally!(dice, others, tunnel.flush()).unwrap();
    }
    finally!(dice, others, tunnel.shutdown()).unwrap();
}

fn text(number: usize) -> Bytes {
    (0..number * 331 % 9000).map(|index| (index + number) as u8).collect()
}

async fn h2_client(io: TcpStream) {
    let (sender, connection) = h2::client::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut tasks = JoinSet::new();
    tasks.spawn(h2_tunnel(sender.clone()));
    for first in 0..AT_ONCE {
        let sender = sender.clone();
        tasks.spawn(async move {
            for number in (first..REQUESTS).step_by(AT_ONCE) {
                let request = Request::post("http://a/").body(()).unwrap();
                assert!(h2_exchange(sender.clone(), request, text(number)).await == text(number), "answer {number}");
            }
        });
    }
    drop(sender);
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    connection.await.unwrap().unwrap();
}

async fn h2_exchange(sender: SendRequest<Bytes>, request: Request<()>, body: Bytes) -> Vec<u8> {
    let mut sender = sender.ready().await.unwrap();
    let (answer, mut out) = sender.send_request(request, false).unwrap();
    out.send_data(body, true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    let mut seen = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        seen.extend_from_slice(&data);
    }
    seen
}

async fn h2_tunnel(sender: SendRequest<Bytes>) {
    let mut sender = sender.ready().await.unwrap();
    let connect = Request::builder().method(Method::CONNECT).uri("a:1").body(()).unwrap();
    let (answer, mut out) = sender.send_request(connect, false).unwrap();
    let mut body = answer.await.unwrap().into_body();
    for number in 0..REQUESTS {
        let text = text(number % 20 + 1);
        out.send_data(text.clone(), false).unwrap();
        let mut seen = Vec::new();
        while seen.len() < text.len() {
            let data = body.data().await.unwrap().unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            seen.extend_from_slice(&data);
        }
        assert!(seen == text, "echo {number}");
    }
    out.send_data(Bytes::new(), true).unwrap();
    while let Some(data) = body.data().await {
        assert!(data.unwrap().is_empty());
    }
}

async fn h1_client(mut io: TcpStream) {
    for number in 0..REQUESTS {
        let text = text(number);
        let last = if number + 1 == REQUESTS { "connection: close\r\n" } else { "" };
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{last}content-length: {}\r\n\r\n", text.len());
        io.write_all(head.as_bytes()).await.unwrap();
        io.write_all(&text).await.unwrap();
        assert!(h1_body(&mut io).await == text, "answer {number}");
    }
    assert_eq!(io.read(&mut [0]).await.unwrap(), 0);
}

/// The body of one response, whole or in chunks.
async fn h1_body(io: &mut TcpStream) -> Vec<u8> {
    let head = h1_line(io, b"\r\n\r\n").await;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = Vec::new();
    if let Some(length) = length {
        body.resize(length.parse().unwrap(), 0);
        io.read_exact(&mut body).await.unwrap();
        return body;
    }
    loop {
        let length = usize::from_str_radix(&h1_line(io, b"\r\n").await, 16).unwrap();
        let mut chunk = vec![0; length + 2];
        io.read_exact(&mut chunk).await.unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..length]);
    }
}

async fn h1_line(io: &mut TcpStream, end: &[u8]) -> String {
    let mut line = Vec::new();
    while !line.ends_with(end) {
        line.push(io.read_u8().await.unwrap());
    }
    line.truncate(line.len() - end.len());
    String::from_utf8(line).unwrap()
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn operations_that_are_dropped_at_random_lose_no_wake_up() {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = setting("STRESS_SEED", now.as_nanos() as u64 | 1);
    println!("STRESS_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut dice = Dice(seed);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..setting("STRESS_ROUNDS", 5) {
            let mut tasks = JoinSet::new();
            for client in 0..8 {
                let io = TcpStream::connect(address).await.unwrap();
                io.set_nodelay(true).unwrap();
                let (served, _) = listener.accept().await.unwrap();
                served.set_nodelay(true).unwrap();
                tasks.spawn(serve(served, dice.other()));
                if client % 2 == 0 {
                    tasks.spawn(h1_client(io));
                } else {
                    tasks.spawn(h2_client(io));
                }
            }
            let all = async {
                while let Some(done) = tasks.join_next().await {
                    done.unwrap();
                }
            };
            tokio::time::timeout(DEADLINE, all).await.expect("a wake-up was lost");
        }
    });
}
