//! One connection as a machine that its owner turns.
//!
//! ```text
//! Detecting --h1--> Http1 --upgrade--> Tunnel --+
//!     |                |                        |
//!     +--h2--> Handshaking --> Http2 -----------+--> Closing (FIN, linger) --> Closed
//! ```

mod phases;

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::Arc,
    task::{Context, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use self::phases::Phase;
use crate::{
    config::Config,
    error::{Code, Error},
    event::Event,
    fields::ResponseFields,
    io::transport::Traffic,
    key::Key,
    relay::Relay,
    response::{self, ResponseHead},
    wire::{Wire, due, earlier},
};

/// Why a stream is abandoned: the RFC 9113 section 7 code on h2; on h1 every reason closes the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetReason {
    /// CANCEL.
    Cancel,
    /// REFUSED_STREAM: the peer may try again.
    Refused,
    /// INTERNAL_ERROR.
    Internal,
    /// ENHANCE_YOUR_CALM.
    EnhanceYourCalm,
}

/// What turns have brought up and nobody has taken, oldest first.
pub type Events = VecDeque<Event>;

/// One connection. Nothing happens but in [`turn`](Self::turn): every other call only notes what is wanted, and the
/// owner turns the engine after it, and is not woken to do so. What happened is taken with [`next_event`](Self::next_event).
///
/// The engine holds no task, no timer and no clock: it is as `Send` as its transport is.
pub struct Engine<IO: AsyncRead + AsyncWrite + Unpin> {
    phase: Phase<IO>,
    number: u32,
    traffic: Arc<Traffic>,
    config: Arc<Config>,
    relay: Arc<Relay>,
    /// The relay's. None while it turns.
    waker: Option<Waker>,
    /// Whom the relay wakes.
    owner: Waker,
    events: Option<Box<Events>>,
    opened_at: Instant,
    /// As it was after the last turn.
    deadline: Option<Instant>,
    credits: u32,
    draining: bool,
    /// The age limit has set in.
    aged: bool,
    /// Closed at once by the owner.
    cut: bool,
    /// A transport for the owner to reset.
    cut_short: Option<Box<IO>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Engine<IO> {
    /// An engine for the accepted transport `io` (above TLS, if there is TLS), which its owner numbers `connection`.
    pub fn new(connection: u32, io: IO, config: Arc<Config>, now: Instant) -> Self {
        let relay = Relay::new();
        Self {
            phase: Phase::Detecting { io, early: BytesMut::new() },
            number: connection,
            traffic: Arc::default(),
            config,
            waker: Some(Waker::from(relay.clone())),
            relay,
            owner: Waker::noop().clone(),
            events: None,
            opened_at: now,
            deadline: None,
            credits: 0,
            draining: false,
            aged: false,
            cut: false,
            cut_short: None,
        }
    }

    /// One turn: reads, parses, writes and flushes as far as the transport, the limits and the pulls let it, and
    /// leaves events. `cx`'s waker is called when another turn is worth its while; `deadline` says when it is at the
    /// latest. Cancel-safe: there is nothing to cancel.
    pub fn turn(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Some(waker) = self.waker.take() else { return };
        if !self.owner.will_wake(cx.waker()) {
            self.owner.clone_from(cx.waker());
            self.relay.owned_by(self.owner.clone());
        }
        let mut called = self.relay.begin();
        let mut cx = Context::from_waker(&waker);
        let late = self.deadline.is_some_and(|deadline| now >= deadline);
        while self.step(&mut cx, now, late, mem::take(&mut called)) {}
        self.waker = Some(waker);
        self.deadline = self.next_deadline();
        self.relay.end();
    }

    /// What happened, oldest first; `None` when all has been told.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.as_mut()?.pop_front()
    }

    /// Changes the queue of events for another. Who has many engines can lend each the same one while it turns, and have
    /// it back once all events are told.
    pub fn swap_events(&mut self, events: &mut Option<Box<Events>>) {
        mem::swap(&mut self.events, events);
    }

    /// When `turn` has to run although nothing woke its owner. It only moves later while nothing happens: re-arm a
    /// timer lazily, when it fires.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn next_deadline(&self) -> Option<Instant> {
        let timeouts = &self.config.timeouts;
        let own = match &self.phase {
            Phase::Detecting { .. } | Phase::Handshaking(_) => due(self.opened_at, timeouts.handshake),
            Phase::Http1(wire) => wire.deadline(),
            Phase::Http2(wire) => wire.deadline(),
            Phase::Tunnel(wire) => wire.deadline(),
            Phase::Closing(closing) => Some(closing.until()),
            Phase::Closed => None,
        };
        if self.aged || self.is_closed() { own } else { earlier(own, due(self.opened_at, timeouts.connection_age)) }
    }

    /// The `Closed` event has been left: turns do nothing any more.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The transport of a connection that has closed in the middle of an answer that nothing but its end delimits (to HTTP/1.0,
    /// RFC 9112 section 6.3): the owner is to reset it (`SO_LINGER` of 0), or the peer takes the part for the whole.
    pub fn take_cut_short(&mut self) -> Option<IO> {
        self.cut_short.take().map(|io| *io)
    }

    // ---- pulls

    /// The caller will take `more` requests. What is not pulled is not read: with none pulled, an idle h1 connection
    /// parses nothing, and the heads of h2 wait, up to `concurrent_streams`.
    pub fn pull_requests(&mut self, more: u32) {
        match self.phase.wire() {
            Some(wire) => wire.pull_requests(more),
            None => self.credits = self.credits.saturating_add(more),
        }
    }

    /// Asks for one chunk, of at most `max` bytes, of the request body or the tunnel that `key` names. It is answered
    /// by `Chunk`, `End`, `BodyFailed` or `Failed`. The first pull sends `100 Continue` if the peer waits for it.
    ///
    /// Fails with `BodyInUse` while another pull waits, `Closed` after the end, `KeyUsed` or `KeyUnknown`.
    pub fn pull_chunk(&mut self, key: Key, max: usize, now: Instant) -> Result<(), Error> {
        self.open_wire()?.pull_chunk(key, max, now)
    }

    /// Has all of a request's body, or of a tunnel, brought up as it comes, as `Chunk`s of at most `max` bytes: pulls that need
    /// not be asked for one by one. What the caller's reader has not taken counts as not pulled: of the chunks so far it has
    /// taken `taken` bytes since the last call. `waits`: it has taken all that it was given, and waits for more, since then.
    ///
    /// The first call is the first pull, and none of `pull_chunk` may follow. Once the body, or what comes over the tunnel, is
    /// over, or the exchange, it does nothing.
    pub fn read_on(&mut self, key: Key, max: usize, taken: usize, waits: Option<Instant>) {
        if let Some(wire) = self.phase.wire() {
            wire.read_on(key, max, taken, waits);
        }
    }

    /// Whether more of a body or a tunnel comes only when more of it has been taken, by `read_on`.
    pub fn is_full(&mut self, key: Key) -> bool {
        self.phase.wire().is_none_or(|wire| wire.is_full(key))
    }

    // ---- answers

    /// Answers with a whole body. `Sent` or `Failed` follows. `now` is as in `turn`, and dates the answer.
    ///
    /// Fails, and changes nothing, with `KeyUsed`, `KeyUnknown`, `InvalidStatus`, `InvalidHeader`,
    /// `BodyLengthMismatch` or `Closed`.
    pub fn send(
        &mut self,
        key: Key,
        head: ResponseHead,
        body: Bytes,
        trailers: Option<HeaderMap>,
        now: Instant,
    ) -> Result<(), Error> {
        self.open_wire()?.send(key, head, body, response::trailers(trailers)?, now)
    }

    /// Begins an answer that is written piece by piece. Errors as for `send`.
    pub fn start(&mut self, key: Key, head: ResponseHead, now: Instant) -> Result<(), Error> {
        self.open_wire()?.start(key, head, now)
    }

    /// More of a started answer or of a tunnel. `Written` follows as it is sent. A body longer than its Content-Length ends the
    /// exchange with `Failed`. Fails with `KeyUsed`, `KeyUnknown`, or `Closed` if nothing was started.
    pub fn write(&mut self, key: Key, chunk: Bytes) -> Result<(), Error> {
        self.open_wire()?.write(key, chunk)
    }

    /// The end of a started answer, or of the outgoing half of a tunnel. `Sent` or `Failed` follows; a body shorter than its
    /// Content-Length is `Failed`. Trailers are left out where the peer has not asked for them (h1: `TE: trailers`). Fails as
    /// `write` does, and with `InvalidHeader` for trailers that only a head may have (RFC 9110 section 6.5.1).
    pub fn finish(&mut self, key: Key, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.open_wire()?.finish(key, response::trailers(trailers)?)
    }

    /// An interim answer (RFC 9110 section 15.2), before the final one: any of 100 to 199 but 101.
    ///
    /// Fails with `InvalidStatus`, also on HTTP/1.0, which has none, `KeyUsed`, `KeyUnknown` or `Closed`.
    pub fn inform(&mut self, key: Key, status: StatusCode, headers: ResponseFields) -> Result<(), Error> {
        self.open_wire()?.inform(key, status, headers)
    }

    /// Leaves HTTP on the stream of a request that asks for it: 101 for an h1 Upgrade, 2xx for CONNECT. `Upgraded`
    /// follows; then chunks, writes and finish carry the tunnel, and `Sent` says that its outgoing half is shut down.
    ///
    /// Fails with `NotUpgradable` when the request does not ask, or its body has not been read, with `InvalidHeader` when `head`
    /// names a protocol that it does not ask for, with `KeyUsed`, `KeyUnknown` or `Closed`.
    pub fn upgrade(&mut self, key: Key, head: ResponseHead, now: Instant) -> Result<(), Error> {
        self.open_wire()?.upgrade(key, head, now)
    }

    // ---- ends

    /// Abandons what is in flight on `stream`, which then fails: RST_STREAM on h2, where a stream that is over is left
    /// alone; on h1 the connection is cut, also between exchanges.
    pub fn reset(&mut self, stream: u32, reason: ResetReason) {
        if let Some(wire) = self.phase.wire() {
            wire.reset(stream, reason);
        }
    }

    /// Takes nothing new and lets what is in flight finish: `connection: close` and an idle close on h1, GOAWAY on
    /// h2. The connection then closes by itself. Idempotent.
    pub fn drain(&mut self) {
        if !mem::replace(&mut self.draining, true)
            && let Some(wire) = self.phase.wire()
        {
            wire.drain();
        }
    }

    /// Closes now: what is in flight fails. Idempotent.
    pub fn close(&mut self) {
        self.cut = true;
    }

    // ---- counts

    /// Bytes taken from the transport.
    pub fn bytes_read(&self) -> u64 {
        self.traffic.read.get()
    }

    /// Bytes the transport took.
    pub fn bytes_written(&self) -> u64 {
        self.traffic.written.get()
    }

    // ---- inside

    /// A pull of requests brings up none: nothing has come, as far as the transport has told.
    pub(crate) fn is_dry(&self) -> bool {
        matches!(&self.phase, Phase::Http1(wire) if wire.is_dry())
    }

    fn open_wire(&mut self) -> Result<&mut dyn Wire, Error> {
        self.phase.wire().ok_or_else(|| Error::new(Code::Closed, "the connection is closed"))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> fmt::Debug for Engine<IO> {
    /// Without what is in it, which may be large, and is the peer's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Detecting { .. } => "detecting",
            Phase::Handshaking(_) => "handshaking",
            Phase::Http1(_) => "HTTP/1",
            Phase::Http2(_) => "HTTP/2",
            Phase::Tunnel(_) => "tunnel",
            Phase::Closing(_) => "closing",
            Phase::Closed => "closed",
        };
        let Self { number, deadline, draining, .. } = self;
        let mut all = f.debug_struct("Engine");
        all.field("number", number).field("phase", &phase).field("draining", draining).field("deadline", deadline);
        all.finish_non_exhaustive()
    }
}
