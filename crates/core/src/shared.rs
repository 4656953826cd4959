//! What the handles of one connection share: the engine, and what it brought up. They drive it together ([`lead`]).

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    by_id::ById,
    engine::{Engine, ResetReason},
    error::{CloseCode, CloseReason, Code, Error},
    event::{Event, Protocol},
    key::Key,
    lead::{self, Machine, Rank},
    streams::{Arrived, StreamState, Streams},
    timer::Timer,
};

/// The most that one pull of a body or a tunnel brings.
const CHUNK_BYTES: usize = 64 << 10;
/// Requests that are asked for at a time on h2, which has read their heads anyway: a turn brings them all.
const AHEAD: u32 = 16;

/// The response has been sent: the transport took its last byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
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
    pub(crate) streams: Streams,
    /// Streams that nobody has fetched.
    pub(crate) arrivals: VecDeque<u32>,
    /// Requests that were asked for and have not come.
    asked: u32,
    /// A turn may bring one.
    asks: bool,
    pub(crate) closed: Option<CloseReason>,
    turns: u64,
    /// The last turn that brought streams up.
    changed: u64,
    /// A turn has begun; still so when the next begins, if it panicked.
    turning: bool,
    /// The failure that closed it was told.
    pub(crate) told: bool,
}

pub(crate) type Shared<IO, T> = lead::Shared<Inner<IO, T>>;
pub(crate) type Operation<IO, T> = lead::Operation<Inner<IO, T>>;

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Inner<IO, T> {
    pub(crate) fn new(engine: Engine<IO>, timer: T) -> Self {
        Self {
            engine,
            timer,
            protocol: None,
            streams: Streams::Http1(None),
            arrivals: VecDeque::new(),
            asked: 0,
            asks: false,
            closed: None,
            turns: 0,
            changed: 0,
            turning: false,
            told: false,
        }
    }

    /// The sent answer to `key`'s request, or why it was not.
    pub(crate) fn outcome(&self, key: Key) -> Poll<Result<Sent, Error>> {
        match self.streams.get(key.stream).and_then(|stream| stream.last.as_ref()) {
            Some(last) if last.key == key => Poll::Ready(last.outcome.clone()),
            _ if self.closed.is_some() => Poll::Ready(Err(self.ended())),
            _ => Poll::Pending,
        }
    }

    /// At least `floor` bytes of the answer have been sent.
    pub(crate) fn written(&self, key: Key, floor: u64) -> Poll<Result<(), Error>> {
        if self.streams.get(key.stream).is_some_and(|stream| stream.written >= floor) {
            return Poll::Ready(Ok(()));
        }
        self.outcome(key).map_ok(drop)
    }

    /// Gives the whole answer, or the end of one, for which a `Sending` waits if it is `awaited`.
    pub(crate) fn answer(
        &mut self,
        key: Key,
        awaited: bool,
        answer: impl FnOnce(&mut Engine<IO>, Instant) -> Result<(), Error>,
    ) -> Result<(), Error> {
        answer(&mut self.engine, self.timer.now())?;
        if let Some(stream) = self.streams.get_mut(key.stream) {
            stream.owing = false;
            stream.awaited = awaited.then_some(key);
        }
        Ok(())
    }

    /// As `outcome`, for a `Sending`, which has it once.
    pub(crate) fn sending(&mut self, key: Key) -> Poll<Result<Sent, Error>> {
        match self.streams.get_mut(key.stream).and_then(|stream| stream.take(key)) {
            Some(outcome) => Poll::Ready(outcome),
            None if self.closed.is_some() => Poll::Ready(Err(self.ended())),
            None => Poll::Pending,
        }
    }

    /// The `Sending` waits no longer.
    pub(crate) fn forget(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key.stream) {
            stream.awaited.take_if(|awaited| *awaited == key);
            stream.take(key);
        }
    }

    fn pull(&mut self, key: Key) -> Result<(), Error> {
        let now = self.timer.now();
        self.engine.pull_chunk(key, CHUNK_BYTES, now)
    }

    /// The answer to the pull of a chunk.
    pub(crate) fn chunk(&mut self, key: Key) -> Poll<Result<Pulled, Error>> {
        let stream = self.streams.get_mut(key.stream).filter(|stream| stream.current == Some(key));
        match stream.map(|stream| stream.pulled.take()) {
            Some(Some(pulled)) => Poll::Ready(pulled),
            Some(None) if self.closed.is_none() => Poll::Pending,
            _ => Poll::Ready(Err(self.ended())),
        }
    }

    /// The same for a reader of the body, which has no part in what comes once the stream has left HTTP.
    pub(crate) fn body_chunk(&mut self, key: Key) -> Poll<Result<Pulled, Error>> {
        match self.check_body(key) {
            Ok(()) => self.chunk(key),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn check_body(&self, key: Key) -> Result<(), Error> {
        let left = self.streams.get(key.stream).is_some_and(|stream| stream.upgraded.is_some());
        if left { Err(Error::new(Code::Closed, "the stream has left HTTP")) } else { Ok(()) }
    }

    /// Asks the engine for a request, unless one was asked for that has not come.
    pub(crate) fn ask(&mut self) {
        if self.asked == 0 {
            self.asked = if self.protocol == Some(Protocol::Http2) { AHEAD } else { 1 };
            self.asks = !self.engine.is_dry();
            self.engine.pull_requests(self.asked);
        }
    }

    /// The head of an h1 request was under way when the handles of the only stream went.
    fn orphaned(&self, key: Key) -> bool {
        self.protocol == Some(Protocol::Http1) && self.streams.get(key.stream).is_none()
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Open(protocol) => {
                self.protocol = Some(protocol);
                match protocol {
                    Protocol::Http1 => {
                        self.arrivals.push_back(1);
                        self.streams.insert(1);
                        self.changed = self.turns;
                    }
                    Protocol::Http2 => self.streams = Streams::Http2(ById::default()),
                }
            }
            Event::Request { key, head, body } => {
                self.asked = self.asked.saturating_sub(1);
                if self.protocol == Some(Protocol::Http2) {
                    self.arrivals.push_back(key.stream);
                    self.streams.insert(key.stream);
                    self.changed = self.turns;
                }
                self.tell(key, |stream| stream.arrived(Arrived { key, head, body }));
            }
            Event::Chunk { key, bytes } => self.tell(key, |stream| stream.pulled = Some(Ok(Pulled::Chunk(bytes)))),
            Event::End { key, trailers } => {
                self.tell(key, |stream| stream.pulled = Some(Ok(Pulled::End(trailers.map(|trailers| *trailers)))))
            }
            Event::BodyFailed { key, error } => self.tell(key, |stream| {
                if stream.upgraded.is_some() {
                    stream.lost = Some(Box::new(error.clone()));
                }
                stream.pulled.get_or_insert(Err(error));
            }),
            Event::Written { key, bytes } => self.tell(key, |stream| stream.written = bytes),
            Event::Sent { key, bytes, at } => self.tell(key, |stream| stream.ended(key, Ok(Sent { bytes, at }))),
            Event::Failed { key, error } => self.tell(key, |stream| {
                stream.owing = false;
                stream.pulled.get_or_insert(Err(error.clone()));
                stream.ended(key, Err(error));
            }),
            Event::Upgraded { key, protocol } => self.tell(key, |stream| {
                stream.upgraded = Some(Box::new(protocol));
                stream.pulled = None;
            }),
            Event::Refused(_) => {}
            Event::Closed(reason) => {
                // Not every transport can be reset: it is closed as ever.
                drop(self.engine.take_cut_short());
                self.closed = Some(reason);
            }
        }
    }

    /// Leaves a word for the handles of a stream, if it has any.
    fn tell(&mut self, key: Key, word: impl FnOnce(&mut StreamState)) {
        if let Some(stream) = self.streams.get_mut(key.stream) {
            word(stream);
            stream.changed = self.turns;
        }
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

    fn is_due(&self) -> bool {
        self.asks || self.engine.deadline().is_some_and(|deadline| self.timer.now() >= deadline)
    }

    fn concerns(&self, interest: Interest) -> bool {
        let changed = match interest {
            _ if self.closed.is_some() => return true,
            Interest::Connection => Some(self.changed),
            Interest::Stream(id) => self.streams.get(id).map(|stream| stream.changed),
            Interest::End => None,
        };
        changed == Some(self.turns)
    }

    fn turn(&mut self, cx: &mut Context<'_>) {
        if mem::replace(&mut self.turning, true) {
            self.closed = Some(CloseReason::new(CloseCode::Internal, "a turn of the connection has panicked"));
            return;
        }
        self.asks = false;
        self.turns += 1;
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
                    event => self.note(event),
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
/// still sent, a request that was not answered is reset, one that nobody has seen so that the peer may try again (RFC 9113 section
/// 8.7), and an h1 connection, which has no other stream, drains.
#[derive(Debug)]
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
        self.shared.command(command).map_err(|error| self.refusal(key, error))
    }

    /// What a call is refused with: what the exchange has failed with, if it has, else the call's own `error`.
    #[cold]
    fn refusal(&self, key: Key, error: Error) -> Error {
        match self.shared.lock().outcome(key) {
            Poll::Ready(Err(failure)) => failure,
            _ => error,
        }
    }

    /// Asks for a chunk of the body.
    pub(crate) fn pull_body(&self, key: Key) -> Result<(), Error> {
        self.command(key, |inner| inner.check_body(key).and_then(|()| inner.pull(key)))
    }

    /// Asks for a chunk of the tunnel.
    pub(crate) fn pull_tunnel(&self, key: Key) -> Result<(), Error> {
        self.command(key, |inner| inner.pull(key)).map_err(|error| {
            let inner = self.shared.lock();
            let lost = inner.streams.get(key.stream).and_then(|stream| stream.lost.as_deref());
            lost.cloned().unwrap_or(error)
        })
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Drop for Handle<IO, T> {
    fn drop(&mut self) {
        let id = self.id;
        let mut inner = self.shared.lock();
        let stream = inner.streams.remove(id);
        match &stream {
            Some(stream) if stream.owing => inner.engine.reset(id, ResetReason::Cancel),
            Some(stream) if stream.request.is_some() => inner.engine.reset(id, ResetReason::Refused),
            _ if inner.protocol == Some(Protocol::Http1) => inner.engine.drain(),
            // Nothing to turn for.
            _ => return,
        }
        drop(inner);
        self.shared.wake();
    }
}
