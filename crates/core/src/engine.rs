//! One connection as a machine that its owner turns.
//!
//! ```text
//! Detecting --h1--> Http1 --upgrade--> Tunnel --+
//!     |                |                        |
//!     +--h2--> Handshaking --> Http2 -----------+--> Closing (FIN, linger) --> Closed
//! ```

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    closing::Closing,
    config::{Config, Protocols},
    detect::{Detected, detect},
    error::{CloseCode, CloseReason, Code, Error, Refusal},
    event::{Event, Protocol},
    fields::ResponseFields,
    io::transport::Traffic,
    key::Key,
    relay::Relay,
    response::{self, ResponseHead},
    wire::{End, Turn, Wire, due, earlier, h1::H1, h2::H2, tunnel::Tunnel},
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

enum Phase<IO: AsyncRead + AsyncWrite + Unpin> {
    Detecting { io: IO, early: BytesMut },
    Handshaking(Box<H2<IO>>),
    Http1(Box<H1<IO>>),
    Http2(Box<H2<IO>>),
    Tunnel(Box<Tunnel<IO>>),
    Closing(Box<Closing<IO>>),
    Closed,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Phase<IO> {
    fn wire(&mut self) -> Option<&mut dyn Wire> {
        match self {
            Self::Http1(wire) => Some(&mut **wire),
            Self::Http2(wire) => Some(&mut **wire),
            Self::Tunnel(wire) => Some(&mut **wire),
            _ => None,
        }
    }
}

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

    /// Has all of a request's body brought up as it comes, as `Chunk`s of at most `max` bytes: pulls that need not be asked for
    /// one by one. What the caller's reader has not taken counts as not pulled: of the chunks so far it has taken `taken` bytes
    /// since the last call. `waits`: it has taken all that it was given, and waits for more, since then.
    ///
    /// The first call is the first pull, and none of `pull_chunk` may follow. Once the body is over, or its exchange, it does nothing.
    pub fn read_on(&mut self, key: Key, max: usize, taken: usize, waits: Option<Instant>) {
        if let Some(wire) = self.phase.wire() {
            wire.read_on(key, max, taken, waits);
        }
    }

    /// Whether more of a body comes only when more of it has been taken, by `read_on`.
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

    /// More of a started answer or of a tunnel. `Written` follows once all that was written so far has been sent.
    /// A body longer than its Content-Length ends the exchange with `Failed`.
    pub fn write(&mut self, key: Key, chunk: Bytes) -> Result<(), Error> {
        self.open_wire()?.write(key, chunk)
    }

    /// The end of a started answer, or of the outgoing half of a tunnel. `Sent` or `Failed` follows. Trailers are left
    /// out where the peer has not asked for them (h1: `TE: trailers`). Fails with `InvalidHeader` for trailers that only a
    /// head may have (RFC 9110 section 6.5.1).
    pub fn finish(&mut self, key: Key, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.open_wire()?.finish(key, response::trailers(trailers)?)
    }

    /// An interim answer (RFC 9110 section 15.2), before the final one: any of 100 to 199 but 101.
    pub fn inform(&mut self, key: Key, status: StatusCode, headers: ResponseFields) -> Result<(), Error> {
        self.open_wire()?.inform(key, status, headers)
    }

    /// Leaves HTTP on the stream of a request that asks for it: 101 for an h1 Upgrade, 2xx for CONNECT. `Upgraded`
    /// follows; then chunks, writes and finish carry the tunnel, and `Sent` says that its outgoing half is shut down.
    ///
    /// Fails with `NotUpgradable` when the request does not ask, or its body has not been read.
    pub fn upgrade(&mut self, key: Key, head: ResponseHead, now: Instant) -> Result<(), Error> {
        self.open_wire()?.upgrade(key, head, now)
    }

    // ---- ends

    /// Abandons what is in flight on `stream`, which then fails: RST_STREAM on h2, the connection on h1.
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

    // ---- room and counts

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

    /// Does one phase's work; true when the next phase has work to do at once.
    fn step(&mut self, cx: &mut Context<'_>, now: Instant, late: bool, called: bool) -> bool {
        if self.cut && !self.is_closed() {
            self.closed(CloseReason::new(CloseCode::Closed, "closed by this side"));
            return false;
        }
        if late && !self.aged && due(self.opened_at, self.config.timeouts.connection_age).is_some_and(|due| now >= due)
        {
            self.aged = true;
            self.drain();
        }
        let Some(wire) = self.phase.wire() else { return self.step_outside(cx, now) };
        let events = self.events.get_or_insert_with(queue);
        let end = wire.turn(&mut Turn { cx, relay: &self.relay, now, late, called, events });
        end.is_some_and(|end| self.wire_ended(end, now))
    }

    fn tell(&mut self, event: Event) {
        self.events.get_or_insert_with(queue).push_back(event);
    }

    /// Before and after HTTP.
    fn step_outside(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        match mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Detecting { io, early } => self.detect(io, early, cx, now),
            Phase::Handshaking(handshake) => self.handshake(handshake, cx, now),
            Phase::Closing(closing) => self.finish_closing(closing, cx, now),
            open => {
                self.phase = open;
                false
            }
        }
    }

    fn detect(&mut self, mut io: IO, mut early: BytesMut, cx: &mut Context<'_>, now: Instant) -> bool {
        match detect(&mut io, &mut early, self.config.protocols, &self.traffic, cx) {
            Detected::Pending if self.draining => {
                self.closed(CloseReason::new(CloseCode::Drained, "drained before the first request"));
            }
            Detected::Pending if self.too_late(now) => {}
            Detected::Pending => self.phase = Phase::Detecting { io, early },
            Detected::Closed(reason) => self.closed(reason),
            Detected::Http1 if self.config.protocols == Protocols::Http2 => {
                self.tell(Event::Refused(Refusal::Protocol));
                let reason =
                    CloseReason::new(CloseCode::ProtocolError, "the peer does not begin with the HTTP/2 preface");
                self.phase = Phase::Closing(Box::new(Closing::new(io, reason, true, now)));
            }
            Detected::Http1 => {
                let wire = H1::new(self.number, io, early, self.traffic.clone(), self.config.clone(), now);
                self.open(Phase::Http1(Box::new(wire)), Protocol::Http1);
            }
            Detected::Http2 => {
                let wire = H2::new(self.number, io, early, self.traffic.clone(), self.config.clone(), now);
                self.phase = Phase::Handshaking(Box::new(wire));
            }
        }
        !matches!(self.phase, Phase::Detecting { .. } | Phase::Closed)
    }

    fn handshake(&mut self, mut wire: Box<H2<IO>>, cx: &mut Context<'_>, now: Instant) -> bool {
        match wire.poll_greeting(cx, now) {
            Poll::Pending if self.draining => {
                self.closed(CloseReason::new(CloseCode::Drained, "drained before the first request"));
                false
            }
            Poll::Pending if self.too_late(now) => false,
            Poll::Pending => {
                self.phase = Phase::Handshaking(wire);
                false
            }
            Poll::Ready(None) => {
                self.open(Phase::Http2(wire), Protocol::Http2);
                true
            }
            Poll::Ready(Some(end)) => {
                if matches!(&end, End::Close { reason, .. } if reason.code == CloseCode::ProtocolError) {
                    self.tell(Event::Refused(Refusal::Protocol));
                }
                self.phase = Phase::Http2(wire);
                self.wire_ended(end, now)
            }
        }
    }

    fn too_late(&mut self, now: Instant) -> bool {
        let late = due(self.opened_at, self.config.timeouts.handshake).is_some_and(|due| now >= due);
        if late {
            self.tell(Event::Refused(Refusal::HandshakeTimeout));
            self.closed(CloseReason::new(CloseCode::HandshakeTimeout, "no protocol was known in time"));
        }
        late
    }

    fn open(&mut self, phase: Phase<IO>, protocol: Protocol) {
        self.phase = phase;
        self.tell(Event::Open(protocol));
        let (credits, draining) = (mem::take(&mut self.credits), self.draining);
        if let Some(wire) = self.phase.wire() {
            wire.pull_requests(credits);
            if draining {
                wire.drain();
            }
        }
    }

    fn wire_ended(&mut self, end: End, now: Instant) -> bool {
        match end {
            End::Upgraded(key) => {
                if let Phase::Http1(wire) = mem::replace(&mut self.phase, Phase::Closed) {
                    let (io, early) = wire.into_transport();
                    let tunnel = Tunnel::new(key, io, early, self.traffic.clone(), self.config.clone());
                    self.phase = Phase::Tunnel(Box::new(tunnel));
                    self.tell(Event::Upgraded(key));
                }
            }
            End::Close { reason, linger } => {
                self.abandon(&reason);
                match mem::replace(&mut self.phase, Phase::Closed) {
                    Phase::Http1(wire) => {
                        let (io, early) = wire.into_transport();
                        let linger = linger || !early.is_empty();
                        self.phase = Phase::Closing(Box::new(Closing::new(io, reason, linger, now)));
                    }
                    Phase::Http2(wire) => {
                        self.phase = Phase::Closing(Box::new(Closing::new(wire.into_transport(), reason, linger, now)));
                    }
                    _ => self.closed(reason),
                }
            }
        }
        !self.is_closed()
    }

    fn finish_closing(&mut self, mut closing: Box<Closing<IO>>, cx: &mut Context<'_>, now: Instant) -> bool {
        if closing.poll(cx, now).is_pending() {
            self.phase = Phase::Closing(closing);
        } else {
            self.closed(closing.into_reason());
        }
        false
    }

    fn abandon(&mut self, reason: &CloseReason) {
        let error = Error::new(code_of(reason.code), reason.message.clone());
        if let Some(wire) = self.phase.wire() {
            wire.abandon(&error, self.events.get_or_insert_with(queue));
        }
    }

    /// The transport is dropped here.
    fn closed(&mut self, reason: CloseReason) {
        self.abandon(&reason);
        self.phase = Phase::Closed;
        self.tell(Event::Closed(reason));
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

/// Most turns bring up no more.
fn queue() -> Box<Events> {
    Box::new(Events::with_capacity(2))
}

/// What an exchange fails with when its connection ends.
fn code_of(code: CloseCode) -> Code {
    match code {
        CloseCode::PeerReset => Code::PeerReset,
        CloseCode::PeerClosed | CloseCode::ExchangeEnded | CloseCode::KeepAliveTimeout | CloseCode::PingTimeout => {
            Code::PeerClosed
        }
        CloseCode::WriteStalled => Code::WriteStalled,
        CloseCode::BodyTimeout => Code::BodyTimeout,
        CloseCode::BadRequest | CloseCode::ProtocolError | CloseCode::HandshakeTimeout | CloseCode::HeadersTimeout => {
            Code::Protocol
        }
        CloseCode::Io => Code::Io,
        CloseCode::Drained | CloseCode::Closed | CloseCode::Upgraded | CloseCode::Internal => Code::Closed,
    }
}
