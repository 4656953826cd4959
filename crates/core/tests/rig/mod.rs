//! An engine at one end of a pipe, a client at the other, both polled by the test, with a clock set by hand.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::StatusCode;
use hyperpull::{
    Key, ResponseHead,
    config::Config,
    engine::Engine,
    error::{CloseCode, CloseReason, Code},
    event::{Event, RequestBody, RequestHead},
    fields::ResponseFields,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

pub fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), test).await.expect("the test hangs") })
}

pub fn head(status: u16) -> ResponseHead {
    ResponseHead { status: StatusCode::from_u16(status).unwrap(), headers: ResponseFields::new() }
}

pub struct Client {
    io: DuplexStream,
    seen: Vec<u8>,
}

impl Client {
    pub async fn send(&mut self, text: &str) {
        self.io.write_all(text.as_bytes()).await.unwrap();
    }

    pub async fn finish(&mut self) {
        self.io.shutdown().await.unwrap();
    }

    /// What is in the pipe now, without waiting.
    pub fn received(&mut self) -> String {
        let mut space = vec![0; 1 << 20];
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Ok(read)) = std::pin::pin!(self.io.read(&mut space)).poll(&mut cx) {
            if read == 0 {
                break;
            }
            self.seen.extend_from_slice(&space[..read]);
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.seen)).into_owned()
    }

    /// What is in the pipe, at least one byte.
    pub async fn response(&mut self) -> String {
        let mut space = vec![0; 1 << 16];
        let read = self.io.read(&mut space).await.unwrap();
        self.seen.extend_from_slice(&space[..read]);
        self.received()
    }
}

pub struct Rig {
    pub engine: Engine<DuplexStream>,
    pub client: Client,
    pub now: Instant,
}

impl Rig {
    pub fn new(capacity: usize) -> Self {
        Self::with(capacity, Config::default())
    }

    pub fn with(capacity: usize, config: Config) -> Self {
        let (io, server) = duplex(capacity);
        let now = Instant::now();
        Self { engine: Engine::new(0, server, Arc::new(config), now), client: Client { io, seen: Vec::new() }, now }
    }

    /// Gives the client's end away, to a client that speaks for itself.
    pub fn take_client(&mut self) -> DuplexStream {
        std::mem::replace(&mut self.client.io, duplex(1).0)
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub fn pull(&mut self, key: Key, max: usize) -> Result<(), Code> {
        self.engine.pull_chunk(key, max, self.now).map_err(|error| error.code())
    }

    pub async fn event(&mut self) -> Event {
        poll_fn(|cx| {
            if let Some(event) = self.engine.next_event() {
                return Poll::Ready(event);
            }
            self.engine.turn(cx, self.now);
            self.engine.next_event().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The engine has nothing to tell, however often it is turned.
    pub async fn quiet(&mut self) -> bool {
        for _ in 0..20 {
            tokio::task::yield_now().await;
            poll_fn(|cx| {
                self.engine.turn(cx, self.now);
                Poll::Ready(())
            })
            .await;
            match self.engine.next_event() {
                None | Some(Event::Open(_)) => {}
                Some(_) => return false,
            }
        }
        true
    }

    pub async fn request(&mut self) -> (Key, Box<RequestHead>, RequestBody) {
        loop {
            match self.event().await {
                Event::Open(_) => {}
                Event::Request { key, head, body } => return (key, head, body),
                other => panic!("no request: {other:?}"),
            }
        }
    }

    pub async fn skip_written(&mut self) -> Event {
        loop {
            match self.event().await {
                Event::Written { .. } => {}
                other => return other,
            }
        }
    }

    pub async fn sent(&mut self) -> (Key, u64) {
        match self.skip_written().await {
            Event::Sent { key, bytes, .. } => (key, bytes),
            other => panic!("not sent: {other:?}"),
        }
    }

    pub async fn chunk(&mut self) -> Bytes {
        match self.event().await {
            Event::Chunk { bytes, .. } => bytes,
            other => panic!("no chunk: {other:?}"),
        }
    }

    pub async fn closed(&mut self) -> CloseReason {
        match self.event().await {
            Event::Closed(reason) => reason,
            other => panic!("not closed: {other:?}"),
        }
    }

    /// All events up to `Closed`, while the clock runs for a closing connection that lingers.
    pub async fn until_closed(&mut self) -> impl Iterator<Item = Event> + use<> {
        let mut events = Vec::new();
        self.client.finish().await;
        while !matches!(events.last(), Some(Event::Closed(_))) {
            events.push(self.event().await);
        }
        events.into_iter()
    }

    /// The code of the close that comes, whatever comes before it.
    pub async fn close_code(&mut self) -> CloseCode {
        loop {
            if let Event::Closed(reason) = self.event().await {
                return reason.code;
            }
        }
    }

    pub async fn drain_client_until_sent(&mut self, key: Key, bytes: u64) {
        loop {
            self.client.received();
            let event = poll_fn(|cx| {
                self.engine.turn(cx, self.now);
                Poll::Ready(self.engine.next_event())
            })
            .await;
            match event {
                Some(Event::Sent { key: sent, bytes: count, .. }) => {
                    assert_eq!((sent, count), (key, bytes));
                    return;
                }
                Some(other) => panic!("not sent: {other:?}"),
                None => tokio::task::yield_now().await,
            }
        }
    }
}
