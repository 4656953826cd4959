//! HTTP/1.1 (RFC 9112) over hyper's connection, pulled by hand.
//!
//! hyper calls a one-slot service with each request and polls it for the answer: the engine takes the request out
//! of the slot and puts the answer in. hyper has one request in flight, so one slot is enough.
//!
//! Hot: one turn a request in each direction. Allocates per request what hyper allocates.

mod body;
mod commands;
mod request;
mod slot;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::BytesMut;
use http::{HeaderMap, Version};
use hyper::{body::Incoming, server::conn::http1};
use tokio::io::{AsyncRead, AsyncWrite};

use self::{
    body::{PIECE_BYTES, Writer},
    slot::Slot,
};
use super::{End, Turn, Wire, due, earlier, received::Received};
use crate::{
    config::Config,
    error::{CloseCode, CloseReason, Code, Error, Refusal},
    event::{Event, Upgrade},
    exchange::{self, Exchange},
    io::tap::{Speaks, Tap, TapState},
    key::Key,
};

/// The one stream of an h1 connection.
const STREAM: u32 = 1;
/// hyper is driven again at most so often in one turn, then the turn is left and asked for anew.
const ROUNDS: usize = 8;

/// The exchange in hand.
struct Current {
    key: Key,
    exchange: Exchange,
    incoming: Option<Incoming>,
    /// Body bytes that hyper gave and the caller has not pulled.
    received: Received,
    /// The caller has begun to pull the body: from now on it is read ahead.
    begun: bool,
    writer: Option<Writer>,
    head_request: bool,
    version: Version,
    upgrade: Option<Upgrade>,
    trailers_welcome: bool,
    /// `100 Continue` was asked for by hand.
    continue_asked: bool,
    /// How the body ended, to be told to the next pull.
    outcome: Option<Result<Option<HeaderMap>, Error>>,
    /// `taken` at the start, `taken_flushed` as reported last.
    taken_before: u64,
    flushed_reported: u64,
}

enum Answering {
    /// Between exchanges.
    Nothing,
    /// The caller's.
    Current(Box<Current>),
    /// A refusal of our own is on its way out.
    Refusing,
}

pub(crate) struct H1<IO: AsyncRead + AsyncWrite + Unpin> {
    connection: Option<http1::Connection<Tap<IO>, Slot>>,
    slot: Slot,
    tap: Arc<TapState>,
    config: Arc<Config>,
    number: u32,
    answering: Answering,
    /// Requests that reached the slot so far: the sequence of the next, and what `flushed` counts up to.
    requests: u32,
    credits: u32,
    draining: bool,
    /// hyper was told to end after the answer in flight.
    ending: bool,
    /// A reason of our own to close, decided between turns, and what the exchange in hand fails with.
    closing: Option<End>,
    cut: Option<Error>,
    /// Request bytes were left unread: a close without lingering would reset the connection under the answer.
    unread: bool,
    /// The tap's `read` when the last exchange ended: more than that is a head on its way.
    read_before: u64,
    /// When the present wait began, for a request or for body bytes.
    waiting_since: Instant,
    head_since: Option<Instant>,
    /// Since when the peer has taken no byte of an answer that waits to be written.
    stalled_since: Option<Instant>,
    written_before: u64,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H1<IO> {
    pub(crate) fn new(
        number: u32,
        io: IO,
        early: BytesMut,
        tap: Arc<TapState>,
        config: Arc<Config>,
        now: Instant,
    ) -> Self {
        let slot = Slot::new(now);
        let mut builder = http1::Builder::new();
        builder
            .half_close(true)
            .header_read_timeout(None)
            .max_header_size(config.limits.header_bytes)
            .max_buf_size(PIECE_BYTES.max(2 * config.limits.header_bytes))
            .writev(false);
        if config.limits.header_count > 100 {
            // The default of 100 keeps hyper's scratch on the stack; fewer are counted by `request::check`.
            builder.max_headers(config.limits.header_count);
        }
        let transport = Tap::new(io, early, Speaks::Http1, tap.clone());
        Self {
            connection: Some(builder.serve_connection(transport, slot.clone())),
            slot,
            tap,
            config,
            number,
            answering: Answering::Nothing,
            requests: 0,
            credits: 0,
            draining: false,
            ending: false,
            closing: None,
            cut: None,
            unread: false,
            read_before: 0,
            waiting_since: now,
            head_since: None,
            stalled_since: None,
            written_before: 0,
        }
    }

    /// The transport and the bytes that came after the request, once the engine has ended.
    pub(crate) fn into_transport(mut self) -> Option<(IO, BytesMut)> {
        let parts = self.connection.take()?.into_parts();
        let (io, early) = parts.io.into_parts();
        let mut bytes = BytesMut::from(parts.read_buf);
        bytes.extend_from_slice(&early);
        Some((io, bytes))
    }

    /// hyper is to end the connection after the answer in flight, or now when there is none.
    fn end_after_answer(&mut self) {
        if let (false, Some(connection)) = (self.ending, &mut self.connection) {
            self.ending = true;
            Pin::new(connection).graceful_shutdown();
        }
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        match &mut self.connection {
            Some(connection) => Pin::new(connection).poll(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Reports what has been flushed since; true when the exchange is over.
    fn report(&mut self, turn: &mut Turn<'_, '_>) -> bool {
        let flushed = self.tap.flushed.get() >= u64::from(self.requests);
        let current = match &mut self.answering {
            Answering::Nothing => return false,
            Answering::Refusing => {
                if flushed {
                    self.answering = Answering::Nothing;
                }
                return flushed;
            }
            Answering::Current(current) => current,
        };
        let key = current.key;
        if current.exchange.streaming() {
            let bytes = self.tap.taken_flushed.get().saturating_sub(current.taken_before);
            if bytes > current.flushed_reported {
                current.flushed_reported = bytes;
                turn.events.push_back(Event::Written { key, bytes });
            }
            return false;
        }
        let Some(bytes) = current.exchange.ended() else { return false };
        if !flushed {
            return false;
        }
        if current.exchange.pulling().is_some() {
            let error = Error::new(Code::Closed, "the response was sent before the body was read");
            turn.events.push_back(Event::BodyFailed { key, error });
        }
        turn.events.push_back(Event::Sent { key, bytes, at: turn.now });
        // Dropping an unread body makes hyper read what is left of it, if that is little, or close.
        self.unread |= current.incoming.is_some();
        self.answering = Answering::Nothing;
        self.waiting_since = turn.now;
        self.read_before = self.tap.read.get();
        true
    }

    /// Whether hyper may read, and whether the tap watches in its place. Once the peer has finished sending there is
    /// nothing left to hold back but the end itself.
    fn gate(&self) {
        let (hold, watch) = match &self.answering {
            Answering::Nothing => {
                let hold = self.credits == 0 && !self.draining && !self.tap.eof();
                (hold, hold)
            }
            Answering::Refusing => (false, false),
            Answering::Current(current) => (false, current.exchange.pulling().is_none()),
        };
        self.tap.set_hold(hold);
        self.tap.set_watch(watch);
    }

    fn ended(&mut self, result: Result<(), hyper::Error>) -> End {
        self.unread |= matches!(&self.answering, Answering::Current(current) if current.incoming.is_some());
        let (reason, linger) = match result {
            Ok(()) => {
                if let Answering::Current(current) = &self.answering
                    && matches!(current.exchange.send, exchange::Send::Upgrading)
                {
                    return End::Upgraded(current.key);
                }
                let reason = match self.tap.fault() {
                    Some(fault) => fault.reason(),
                    None if self.draining => CloseReason::new(CloseCode::Drained, "drained"),
                    None if self.tap.eof() => CloseReason::new(CloseCode::PeerClosed, "the peer closed the connection"),
                    None => CloseReason::new(CloseCode::ExchangeEnded, "the last exchange ended the connection"),
                };
                (reason, self.unread && !self.tap.eof())
            }
            Err(error) if error.is_parse() => (CloseReason::new(CloseCode::BadRequest, error.to_string()), true),
            Err(error) if error.is_incomplete_message() => {
                (CloseReason::new(CloseCode::PeerClosed, "the peer left in the middle of a message"), false)
            }
            Err(error) => match self.tap.fault() {
                Some(fault) => (fault.reason(), false),
                None => (CloseReason::new(CloseCode::Io, error.to_string()), self.unread),
            },
        };
        End::Close { reason, linger }
    }

    /// The deadline has passed: acts on what was waited for.
    fn expire(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        let end = |code, message| Some(End::Close { reason: CloseReason::new(code, message), linger: false });
        match &mut self.answering {
            Answering::Nothing if self.head_since.is_some() => {
                turn.refused(Refusal::HeadersTimeout);
                // Written by the tap: hyper has no answer to give for a request that it has not read.
                self.tap.interim(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                let _ = self.poll_connection(turn.cx);
                Some(End::Close {
                    reason: CloseReason::new(CloseCode::HeadersTimeout, "the request head was not complete in time"),
                    linger: true,
                })
            }
            Answering::Nothing => end(CloseCode::KeepAliveTimeout, "no request came in time"),
            Answering::Refusing => end(CloseCode::WriteStalled, "the peer took no response byte in time"),
            Answering::Current(current) => {
                let timeout = self.config.timeouts.body_idle;
                let body_late = due(self.waiting_since, timeout).is_some_and(|due| turn.now >= due);
                if current.exchange.pulling().is_some() && body_late {
                    current.exchange.receive = exchange::Receive::Failed;
                    current.incoming = None;
                    let error = Error::new(Code::BodyTimeout, "the request body did not go on in time");
                    turn.events.push_back(Event::BodyFailed { key: current.key, error });
                    self.end_after_answer();
                    return None;
                }
                end(CloseCode::WriteStalled, "the peer took no response byte in time")
            }
        }
    }

    fn writing(&self) -> bool {
        match &self.answering {
            Answering::Nothing => false,
            Answering::Refusing => true,
            Answering::Current(current) => {
                current.exchange.ended().is_some()
                    || (current.exchange.streaming() && self.tap.taken.get() > self.tap.taken_flushed.get())
            }
        }
    }

    /// Notes since when the peer has kept us waiting.
    fn clock(&mut self, now: Instant) {
        let written = self.tap.written.get();
        if !self.writing() {
            self.stalled_since = None;
        } else if self.stalled_since.is_none() || written != self.written_before {
            self.stalled_since = Some(now);
        }
        self.written_before = written;
        if matches!(self.answering, Answering::Nothing) {
            if self.tap.read.get() <= self.read_before || self.slot.lock().request.is_some() {
                self.head_since = None;
            } else if self.head_since.is_none() && !self.tap.eof() {
                self.head_since = Some(now);
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire for H1<IO> {
    fn turn(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        if let Some(end) = self.closing.take() {
            return Some(end);
        }
        if turn.late
            && self.deadline().is_some_and(|deadline| turn.now >= deadline)
            && let Some(end) = self.expire(turn)
        {
            return Some(end);
        }
        for round in 1..=ROUNDS {
            self.gate();
            turn.relay.clear();
            if let Poll::Ready(result) = self.poll_connection(turn.cx) {
                self.report(turn);
                if result.as_ref().is_err_and(hyper::Error::is_parse) {
                    let large = result.as_ref().is_err_and(hyper::Error::is_parse_too_large);
                    turn.refused(if large { Refusal::HeadTooLarge } else { Refusal::BadRequest });
                }
                return Some(self.ended(result));
            }
            // In this order: hyper may have sent one answer and read the next request in the same poll.
            let sent = self.report(turn);
            let took = self.accept(turn);
            self.feed(turn);
            if let Some(end) = self.closing.take() {
                return Some(end);
            }
            if let Some(fault) = self.tap.fault() {
                return Some(End::Close { reason: fault.reason(), linger: false });
            }
            let refusing = took && matches!(self.answering, Answering::Refusing);
            let left = self.tap.eof() && self.tap.holds();
            if !(refusing || left || (sent && self.unread) || turn.relay.woken()) {
                break;
            }
            if round == ROUNDS {
                turn.relay.again();
            }
        }
        self.clock(turn.now);
        self.gate();
        None
    }

    fn deadline(&self) -> Option<Instant> {
        let timeouts = &self.config.timeouts;
        let stalled = self.stalled_since.and_then(|since| due(since, timeouts.write_stall));
        match &self.answering {
            Answering::Nothing => match self.head_since {
                Some(since) => due(since, timeouts.headers),
                None => due(self.waiting_since, timeouts.keep_alive_idle),
            },
            Answering::Refusing => stalled,
            Answering::Current(current) => {
                earlier(current.exchange.pulling().and_then(|_| due(self.waiting_since, timeouts.body_idle)), stalled)
            }
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        let head_under_way = self.tap.read.get() > self.read_before || self.slot.lock().request.is_some();
        match &self.answering {
            // A head that is under way becomes a request first, which is then refused or answered.
            Answering::Nothing if head_under_way => {}
            _ => self.end_after_answer(),
        }
    }

    fn abandon(&mut self, error: &Error, events: &mut VecDeque<Event>) {
        if let Answering::Current(current) = std::mem::replace(&mut self.answering, Answering::Nothing) {
            let error = self.cut.take().unwrap_or_else(|| error.clone());
            events.push_back(Event::Failed { key: current.key, error });
        }
    }
}
