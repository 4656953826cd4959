//! What the handles of one connection share: the engine, and what it brought up. They drive it together ([`lead`]).

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    engine::{Engine, ResetReason},
    error::{CloseCode, CloseReason, Code, Error},
    event::{Event, Protocol, RequestBody, RequestHead},
    key::Key,
    lead::{self, Machine, Rank, Table},
    timer::Timer,
};

/// The response has been sent: the transport took its last byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Response body bytes.
    pub bytes: u64,
    /// When.
    pub at: Instant,
}

/// What a pull of the body got: bytes, or the end with the trailer section.
#[derive(Debug)]
pub(crate) enum Pulled {
    Chunk(Bytes),
    End(Option<HeaderMap>),
}

#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) key: Key,
    pub(crate) head: Box<RequestHead>,
    pub(crate) body: RequestBody,
}

/// What came up for one stream and was not fetched yet.
#[derive(Default, Debug)]
pub(crate) struct StreamState {
    pub(crate) request: Option<Arrived>,
    pub(crate) pulled: Option<Result<Pulled, Error>>,
    pub(crate) written: u64,
    pub(crate) upgraded: bool,
    /// A request was fetched and the caller has not given its whole answer.
    pub(crate) owing: bool,
    /// How the exchange ended.
    pub(crate) outcome: Option<(Key, Result<Sent, Error>)>,
}

/// What an operation waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interest {
    /// New streams, and the end.
    Connection,
    Stream(u32),
    /// The end alone.
    End,
}

pub(crate) struct Inner<IO: AsyncRead + AsyncWrite + Unpin, T> {
    pub(crate) engine: Engine<IO>,
    pub(crate) timer: T,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) streams: HashMap<u32, StreamState>,
    /// Streams that nobody has fetched.
    pub(crate) arrivals: VecDeque<u32>,
    /// A request was asked for and has not come.
    pub(crate) asked: bool,
    pub(crate) closed: Option<CloseReason>,
    /// A turn has begun; still so when the next begins, if it panicked.
    turning: bool,
}

pub(crate) type Shared<IO, T> = lead::Shared<Inner<IO, T>>;
pub(crate) type Operation<IO, T> = lead::Operation<Inner<IO, T>>;

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Inner<IO, T> {
    pub(crate) fn new(engine: Engine<IO>, timer: T) -> Self {
        Self {
            engine,
            timer,
            protocol: None,
            streams: HashMap::new(),
            arrivals: VecDeque::new(),
            asked: false,
            closed: None,
            turning: false,
        }
    }

    /// The sent answer to `key`'s request, or why it was not.
    pub(crate) fn outcome(&self, key: Key) -> Poll<Result<Sent, Error>> {
        match self.streams.get(&key.stream).and_then(|stream| stream.outcome.as_ref()) {
            Some((ended, outcome)) if *ended == key => Poll::Ready(outcome.clone()),
            _ if self.closed.is_some() => Poll::Ready(Err(self.ended())),
            _ => Poll::Pending,
        }
    }

    /// At least `floor` bytes of the answer have been sent.
    pub(crate) fn written(&self, key: Key, floor: u64) -> Poll<Result<(), Error>> {
        if self.streams.get(&key.stream).is_some_and(|stream| stream.written >= floor) {
            return Poll::Ready(Ok(()));
        }
        self.outcome(key).map_ok(drop)
    }

    /// The answer to the pull of a chunk.
    pub(crate) fn chunk(&mut self, key: Key) -> Poll<Result<Pulled, Error>> {
        match self.streams.get_mut(&key.stream).and_then(|stream| stream.pulled.take()) {
            Some(pulled) => Poll::Ready(pulled),
            None if self.closed.is_some() => Poll::Ready(Err(self.ended())),
            None => Poll::Pending,
        }
    }

    /// Asks the engine for one request, once.
    pub(crate) fn ask(&mut self) {
        if !self.asked {
            self.asked = true;
            self.engine.pull_requests(1);
        }
    }

    /// The head of an h1 request was under way when the handles of the only stream went.
    fn orphaned(&self, key: Key) -> bool {
        self.protocol == Some(Protocol::Http1) && !self.streams.contains_key(&key.stream)
    }

    fn note(&mut self, event: Event, table: &Table<Interest>) {
        let interest = match event {
            Event::Open(protocol) => {
                self.protocol = Some(protocol);
                if protocol == Protocol::Http1 {
                    self.arrivals.push_back(1);
                    self.streams.insert(1, StreamState::default());
                }
                Interest::Connection
            }
            Event::Request { key, head, body } => {
                self.asked = false;
                self.streams.entry(key.stream).or_default().request = Some(Arrived { key, head, body });
                if self.protocol == Some(Protocol::Http2) {
                    self.arrivals.push_back(key.stream);
                    Interest::Connection
                } else {
                    Interest::Stream(key.stream)
                }
            }
            Event::Chunk { key, bytes } => self.tell(key, |stream| stream.pulled = Some(Ok(Pulled::Chunk(bytes)))),
            Event::End { key, trailers } => self.tell(key, |stream| stream.pulled = Some(Ok(Pulled::End(trailers)))),
            Event::BodyFailed { key, error } => self.tell(key, |stream| stream.pulled = Some(Err(error))),
            Event::Written { key, bytes } => self.tell(key, |stream| stream.written = bytes),
            Event::Sent { key, bytes, at } => {
                self.tell(key, |stream| stream.outcome = Some((key, Ok(Sent { bytes, at }))))
            }
            Event::Failed { key, error } => self.tell(key, |stream| {
                stream.owing = false;
                stream.pulled.get_or_insert(Err(error.clone()));
                stream.outcome = Some((key, Err(error)));
            }),
            Event::Upgraded(key) => self.tell(key, |stream| stream.upgraded = true),
            Event::Refused(_) => return,
            Event::Closed(reason) => {
                self.closed = Some(reason);
                return table.call(|_| true);
            }
        };
        table.call(|wanted| wanted == interest);
    }

    /// Leaves a word for the handles of a stream, if it has any.
    fn tell(&mut self, key: Key, word: impl FnOnce(&mut StreamState)) -> Interest {
        if let Some(stream) = self.streams.get_mut(&key.stream) {
            word(stream);
        }
        Interest::Stream(key.stream)
    }

    /// What a call on a connection that has ended is answered with.
    pub(crate) fn ended(&self) -> Error {
        match &self.closed {
            Some(reason) => Error::new(Code::Closed, reason.message.clone()),
            None => Error::new(Code::Closed, "the stream has ended"),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Machine for Inner<IO, T> {
    type Interest = Interest;

    fn turn(&mut self, cx: &mut Context<'_>, table: &Table<Interest>) {
        if mem::replace(&mut self.turning, true) {
            let reason = CloseReason::new(CloseCode::Internal, "a turn of the connection has panicked");
            return self.note(Event::Closed(reason), table);
        }
        loop {
            let now = self.timer.now();
            self.engine.turn(cx, now);
            let mut refused = false;
            while let Some(event) = self.engine.next_event() {
                match event {
                    Event::Request { key, .. } if self.orphaned(key) => {
                        refused = true;
                        self.engine.reset(key.stream, ResetReason::Refused);
                    }
                    event => self.note(event, table),
                }
            }
            let late = self.engine.deadline().is_some_and(|deadline| self.timer.poll_until(deadline, cx).is_ready());
            if !(refused || late) {
                break;
            }
        }
        self.turning = false;
    }
}

/// What the handles of one stream hold together. With the last of them goes the stream: an answer that was given is
/// still sent, a request that was not answered is reset, one that nobody has seen so that the peer may try again (RFC
/// 9113 section 8.7), and an h1 connection, which has no other stream, drains.
pub(crate) struct Handle<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> {
    pub(crate) shared: Arc<Shared<IO, T>>,
    pub(crate) id: u32,
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Handle<IO, T> {
    /// Waits for `condition`, which may come true with whatever comes up for this stream.
    pub(crate) async fn until<R>(&self, condition: impl FnMut(&mut Inner<IO, T>) -> Poll<R>) -> R {
        self.operation(Rank::Future).until(condition).await
    }

    pub(crate) fn operation(&self, rank: Rank) -> Operation<IO, T> {
        Operation::new(&self.shared, rank, Interest::Stream(self.id))
    }

    /// Does something to the exchange that `key` names, which must be one of this stream.
    pub(crate) fn command<R>(
        &self,
        key: Key,
        command: impl FnOnce(&mut Inner<IO, T>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        if key.stream != self.id {
            return Err(Error::new(Code::KeyUnknown, "the key names no request of this stream"));
        }
        self.shared.command(command)
    }

    /// Gives the whole answer, or the end of one.
    pub(crate) fn answer(
        &self,
        key: Key,
        answer: impl FnOnce(&mut Engine<IO>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.command(key, |inner| {
            answer(&mut inner.engine)?;
            if let Some(stream) = inner.streams.get_mut(&key.stream) {
                stream.owing = false;
            }
            Ok(())
        })
    }

    /// Asks for a chunk of the body or the tunnel.
    pub(crate) fn pull(&self, key: Key, max: usize) -> Result<(), Error> {
        self.command(key, |inner| {
            let now = inner.timer.now();
            inner.engine.pull_chunk(key, max, now)
        })
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Drop for Handle<IO, T> {
    fn drop(&mut self) {
        let id = self.id;
        self.shared.command(|inner| match inner.streams.remove(&id) {
            Some(stream) if stream.owing => inner.engine.reset(id, ResetReason::Cancel),
            Some(stream) if stream.request.is_some() => inner.engine.reset(id, ResetReason::Refused),
            _ if inner.protocol == Some(Protocol::Http1) => inner.engine.drain(),
            _ => {}
        });
    }
}
