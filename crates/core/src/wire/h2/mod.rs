//! HTTP/2 (RFC 9113) over the h2 crate, pulled by hand.
//!
//! h2 keeps one waker for the whole connection and one a stream: the connection is polled with the turn's, each
//! stream with its own (`StreamWaker`), so that a turn looks only at streams that have something to say.
//!
//! Hot: one turn for a batch of streams; all answers of a batch go out in one flush.

mod commands;
mod handshake;
mod request;
mod send;
mod stream;
mod streams;

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{Ping, PingPong, Reason, SendStream, server};
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::handshake::{Handshake, handshake};
use self::{
    handshake::Opened,
    stream::{Stream, StreamWaker, Woken},
    streams::Streams,
};
use super::{End, Turn, Wire, due, earlier};
use crate::{
    config::Config,
    error::{CloseCode, CloseReason, Code, Error, Refusal},
    event::Event,
    io::{
        outbound::Progress,
        tap::{Tap, TapState},
        transport::Fault,
    },
    key::Key,
};

/// An answer to a ping is due within this.
const PONG: Duration = Duration::from_secs(20);
/// h2 is driven at most so often in one turn, then the turn is left and asked for anew.
const ROUNDS: usize = 3;
/// Wakers kept for the next streams.
const SPARE_WAKERS: usize = 16;

pub(crate) struct H2<IO: AsyncRead + AsyncWrite + Unpin> {
    connection: server::Connection<Tap<IO>, Bytes>,
    tap: Arc<TapState>,
    config: Arc<Config>,
    number: u32,
    streams: Streams,
    /// Streams with something to send, in the order in which they began to have it.
    sending: Vec<u32>,
    /// Some stream had an urgency of its own: the order matters.
    prioritized: bool,
    woken: Arc<Woken>,
    spare_wakers: Vec<Arc<StreamWaker>>,
    /// Room for the lists of a turn, kept.
    awake: Vec<u32>,
    progress: Vec<Progress>,
    /// The last handles of streams that have ended. h2 wakes its connection when one goes: so they go when it is polled
    /// anyway.
    finished: Vec<SendStream<Bytes>>,
    /// Events of calls between turns.
    failed: Vec<(Key, Error)>,
    upgraded: Vec<Key>,
    /// The highest stream that became a request.
    last_stream: u32,
    requests: u64,
    credits: u32,
    /// Sum of the streams' `outstanding`.
    outstanding: usize,
    /// No stream is late before this. It is moved on when it has passed, not when the stream that it was for gets on.
    soonest: Option<Instant>,
    /// The connection has a new state of which h2 has not told its waker.
    dirty: bool,
    /// Nothing new is taken; why, if that is how the connection ends.
    draining: Option<CloseCode>,
    pinger: Option<PingPong>,
    ping: PingState,
    idle_since: Instant,
    /// The header block that is under way, and since when it is.
    head_since: Option<(u64, Instant)>,
}

enum PingState {
    /// The next is due at this time, unless the peer is heard before: bytes read by then.
    Waiting {
        since: Instant,
        read: u64,
    },
    Sent {
        at: Instant,
    },
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    pub(crate) fn new(number: u32, opened: Opened<IO>, config: Arc<Config>, now: Instant) -> Self {
        let Opened { mut connection, tap } = opened;
        let pinger = connection.ping_pong();
        Self {
            connection,
            tap,
            config,
            number,
            streams: Streams::default(),
            sending: Vec::new(),
            prioritized: false,
            woken: Arc::default(),
            spare_wakers: Vec::new(),
            awake: Vec::new(),
            progress: Vec::new(),
            finished: Vec::new(),
            failed: Vec::new(),
            upgraded: Vec::new(),
            last_stream: 0,
            requests: 0,
            credits: 0,
            outstanding: 0,
            soonest: None,
            dirty: false,
            draining: None,
            pinger,
            ping: PingState::Waiting { since: now, read: 0 },
            idle_since: now,
            head_since: None,
        }
    }

    fn stream(&mut self, key: Key) -> Result<&mut Stream, Error> {
        let ours = key.connection == self.number && key.sequence == 0;
        match self.streams.get_mut(key.stream) {
            Some(stream) if ours => Ok(stream),
            None if ours && key.stream <= self.last_stream => {
                Err(Error::new(Code::KeyUsed, "the request has its answer already"))
            }
            _ => Err(Error::new(Code::KeyUnknown, "the key names no request of this stream")),
        }
    }

    fn remove(&mut self, id: u32, now: Instant) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        self.outstanding -= stream.outstanding;
        let wake = stream.wake.clone();
        if stream.listed {
            self.sending.retain(|&sending| sending != id);
        }
        if self.draining.is_none() {
            // A connection that drains waits for them.
            self.finished.extend(stream.take_finished());
        }
        // What h2 has to say to the peer of a stream that is let go of, it says by waking the connection.
        self.streams.remove(id);
        if self.spare_wakers.len() < SPARE_WAKERS && Arc::strong_count(&wake) == 1 {
            self.spare_wakers.push(wake);
        }
        self.idle_since = now;
    }

    fn fail(&mut self, id: u32, error: Error, turn: &mut Turn<'_, '_>) {
        if let Some(stream) = self.streams.get_mut(id) {
            turn.failed(stream.key, error);
            self.remove(id, turn.now);
        }
    }

    fn expire(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        let config = self.config.clone();
        let timeouts = &config.timeouts;
        let now = turn.now;
        let late = |since: Instant, timeout| due(since, timeout).is_some_and(|due| now >= due);
        let mut stalled = Vec::new();
        for stream in self.streams.iter_mut() {
            if stream.stalled_since.is_some_and(|since| late(since, timeouts.write_stall)) {
                stalled.push(stream.key.stream);
            } else if stream.pulls_body() && late(stream.pulled_at, timeouts.body_idle) {
                stream.exchange.body_failed();
                let error = Error::new(Code::BodyTimeout, "the request body did not go on in time");
                turn.events.push_back(Event::BodyFailed { key: stream.key, error });
            }
        }
        for id in stalled {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.send_reset(Reason::CANCEL);
            }
            self.fail(id, Error::new(Code::WriteStalled, "the peer took no response byte in time"), turn);
        }
        self.soonest = self.streams.iter().filter_map(|stream| stream.deadline(timeouts)).min();
        if self.streams.is_empty() && late(self.idle_since, timeouts.keep_alive_idle) {
            if self.draining.is_some() {
                let reason = CloseReason::new(CloseCode::KeepAliveTimeout, "no request came in time");
                return Some(End::Close { reason, linger: false });
            }
            self.idle_since = now;
            self.begin_drain(CloseCode::KeepAliveTimeout);
        }
        if self.head_since.is_some_and(|(_, since)| late(since, timeouts.headers)) {
            turn.refused(Refusal::HeadersTimeout);
            // Said once; who does not take it is not waited for.
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            let _ = self.connection.poll_closed(turn.cx);
            let reason = CloseReason::new(CloseCode::HeadersTimeout, "the request head was not complete in time");
            return Some(End::Close { reason, linger: false });
        }
        self.expire_ping(turn)
    }

    fn expire_ping(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        let read = self.tap.traffic.read.get();
        match self.ping {
            PingState::Waiting { since, read: before } => {
                if due(since, self.config.timeouts.h2_ping).is_none_or(|due| turn.now < due) {
                    return None;
                }
                self.ping = PingState::Waiting { since: turn.now, read };
                if let (true, Some(pinger)) = (read == before, &mut self.pinger)
                    && pinger.send_ping(Ping::opaque()).is_ok()
                {
                    self.ping = PingState::Sent { at: turn.now };
                    self.dirty = true;
                }
                None
            }
            PingState::Sent { at } if turn.now >= at + PONG => Some(End::Close {
                reason: CloseReason::new(CloseCode::PingTimeout, "the peer did not answer a ping in time"),
                linger: false,
            }),
            PingState::Sent { .. } => None,
        }
    }

    fn poll_pong(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let (PingState::Sent { .. }, Some(pinger)) = (&self.ping, &mut self.pinger)
            && let Poll::Ready(Ok(_)) = pinger.poll_pong(cx)
        {
            self.ping = PingState::Waiting { since: now, read: self.tap.traffic.read.get() };
        }
    }

    fn ended(&self, result: Result<(), h2::Error>) -> End {
        if let (Some(code), true) = (self.draining, self.streams.is_empty()) {
            // However the peer leaves now: it has got everything.
            let message = if code == CloseCode::Drained { "drained" } else { "no request came in time" };
            return End::Close { reason: CloseReason::new(code, message), linger: false };
        }
        let reason = match (result, self.tap.fault()) {
            (_, Some(Fault::Reset)) => CloseReason::new(CloseCode::PeerReset, "the peer reset the connection"),
            (Err(error), _) if error.is_go_away() && error.is_remote() => {
                CloseReason::new(CloseCode::PeerClosed, error.to_string())
            }
            (Err(error), None) if !error.is_io() => CloseReason::new(CloseCode::ProtocolError, error.to_string()),
            (Err(error), fault) => {
                let code = if fault == Some(Fault::Io) { CloseCode::Io } else { CloseCode::PeerClosed };
                CloseReason::new(code, error.to_string())
            }
            (Ok(()), _) => CloseReason::new(CloseCode::PeerClosed, "the peer closed the connection"),
        };
        End::Close { reason, linger: false }
    }

    fn begin_drain(&mut self, code: CloseCode) {
        if self.draining.is_none() {
            self.draining = Some(code);
            self.connection.graceful_shutdown();
            self.dirty = true;
        }
    }

    /// Notes since when a header block is under way.
    fn clock_head(&mut self, now: Instant) {
        let head = self.tap.inbound().head();
        if head != self.head_since.map(|(head, _)| head) {
            self.head_since = head.map(|head| (head, now));
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire for H2<IO> {
    fn turn(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        if turn.late
            && self.deadline().is_some_and(|deadline| turn.now >= deadline)
            && let Some(end) = self.expire(turn)
        {
            return Some(end);
        }
        for (key, error) in mem::take(&mut self.failed) {
            self.fail(key.stream, error, turn);
        }
        turn.events.extend(self.upgraded.drain(..).map(Event::Upgraded));
        for round in 1..=ROUNDS {
            self.submit(turn);
            self.finished.clear();
            self.dirty = false;
            turn.relay.clear();
            self.tap.refill();
            let polled = self.accept(turn);
            self.poll_pong(turn.cx, turn.now);
            self.report(turn);
            self.look(turn);
            if let Poll::Ready(result) = polled {
                if result.as_ref().is_err_and(|error| error.is_library() && !error.is_remote()) {
                    turn.refused(Refusal::Protocol);
                }
                return Some(self.ended(result));
            }
            self.submit(turn);
            if !(self.dirty || turn.relay.woken()) {
                break;
            }
            if round == ROUNDS {
                turn.relay.again();
            }
        }
        self.clock_head(turn.now);
        None
    }

    fn deadline(&self) -> Option<Instant> {
        let timeouts = &self.config.timeouts;
        let mut deadline = match self.ping {
            PingState::Waiting { since, .. } => due(since, timeouts.h2_ping),
            PingState::Sent { at } => Some(at + PONG),
        };
        if self.streams.is_empty() {
            deadline = earlier(deadline, due(self.idle_since, timeouts.keep_alive_idle));
        }
        if let Some((_, since)) = self.head_since {
            deadline = earlier(deadline, due(since, timeouts.headers));
        }
        earlier(deadline, self.soonest)
    }

    fn drain(&mut self) {
        self.begin_drain(CloseCode::Drained);
    }

    fn abandon(&mut self, error: &Error, events: &mut VecDeque<Event>) {
        for stream in mem::take(&mut self.streams).iter() {
            events.push_back(Event::Failed { key: stream.key, error: error.clone() });
        }
    }
}
