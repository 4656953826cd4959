//! HTTP/1.1 (RFC 9112) over hyper's connection, pulled by hand.
//!
//! hyper calls a one-slot service with each request and polls it for the answer: the engine takes the request out
//! of the slot and puts the answer in. hyper has one request in flight, so one slot is enough.
//!
//! Hot: one turn a request in each direction. Allocates per request what hyper allocates.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::Service, upgrade::OnUpgrade};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    End, Turn, Wire, due, earlier,
    h1_body::{OutBody, PIECE_BYTES, Writer},
};
use crate::{
    config::Config,
    engine::ResetReason,
    error::{CloseCode, CloseReason, Code, Error, Refusal},
    event::{Event, RequestBody, RequestHead, Upgrade},
    exchange::{self, Exchange},
    io::tap::{Fault, Speaks, Tap, TapState},
    key::Key,
    request::{self, Survey},
    response::{self, ResponseHead},
};

/// The one stream of an h1 connection.
const STREAM: u32 = 1;
/// Bodies up to this length are taken along with the head when they have come with it.
const COMPLETE_BODY_BYTES: u64 = 16 << 10;
/// hyper is driven again at most so often in one turn, then the turn is left and asked for anew.
const ROUNDS: usize = 8;

/// A request as hyper gave it. Its head moves once, to where it stays.
struct Arrived {
    head: Box<RequestHead>,
    body: Incoming,
    upgradable: bool,
}

struct SlotState {
    request: Option<Arrived>,
    response: Option<Response<OutBody>>,
    /// Stands in for the time of arrival until the engine fills that in.
    opened_at: Instant,
}

#[derive(Clone)]
struct Slot(Arc<Mutex<SlotState>>);

impl Slot {
    fn new(opened_at: Instant) -> Self {
        Self(Arc::new(Mutex::new(SlotState { request: None, response: None, opened_at })))
    }

    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<Request<Incoming>> for Slot {
    type Response = Response<OutBody>;
    type Error = Infallible;
    type Future = Self;

    fn call(&self, request: Request<Incoming>) -> Self {
        let (parts, body) = request.into_parts();
        let mut slot = self.lock();
        let head = Box::new(RequestHead {
            method: parts.method,
            uri: parts.uri,
            version: parts.version,
            headers: parts.headers,
            upgrade: None,
            received_at: slot.opened_at,
        });
        slot.request = Some(Arrived { head, body, upgradable: parts.extensions.get::<OnUpgrade>().is_some() });
        drop(slot);
        self.clone()
    }
}

impl Future for Slot {
    type Output = Result<Response<OutBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        // No waker is kept: whoever answers turns the engine, and each turn polls the service.
        self.lock().response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
    }
}

/// The exchange in hand.
struct Current {
    key: Key,
    exchange: Exchange,
    incoming: Option<Incoming>,
    /// Body bytes that hyper gave and the caller has not pulled.
    stash: Bytes,
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

/// What a head's fields said, kept while the request moves out of the slot.
struct Facts {
    trailers_welcome: bool,
    expects_continue: bool,
    both_framings: bool,
    length: Option<u64>,
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

    fn current(&mut self, key: Key) -> Result<&mut Current, Error> {
        match &mut self.answering {
            Answering::Current(current) if current.key == key => Ok(current),
            _ if key.connection == self.number && key.stream == STREAM && key.sequence < self.requests => {
                Err(Error::new(Code::KeyUsed, "the request has its answer already"))
            }
            _ => Err(Error::new(Code::KeyUnknown, "the key names no request of this stream")),
        }
    }

    fn answer(&self, response: Response<OutBody>) {
        self.slot.lock().response = Some(response);
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

    /// Takes the request out of the slot if the caller wants one, or if it is to be refused.
    fn accept(&mut self, turn: &mut Turn<'_, '_>) -> bool {
        if !matches!(self.answering, Answering::Nothing) {
            return false;
        }
        let mut slot = self.slot.lock();
        let Some(Arrived { head, body, upgradable }) = &mut slot.request else { return false };
        let limits = &self.config.limits;
        let length = body.size_hint().exact().filter(|&length| length > 0);
        let survey = Survey::of(&head.headers);
        let fields = head.headers.len();
        let refusal = match request::check(&head.method, &head.uri, head.version, fields, &survey, false, limits) {
            Err(refusal) => Some(refusal),
            Ok(()) if self.tap.is_bare(u64::from(self.requests) + 1) => Some(Refusal::BadRequest),
            Ok(()) if length.is_some_and(|length| length > limits.body_bytes) => Some(Refusal::BodyTooLarge),
            Ok(()) => (self.draining && self.credits == 0).then_some(Refusal::Draining),
        };
        if refusal.is_none() && self.credits == 0 {
            return false;
        }
        let facts = Facts {
            trailers_welcome: survey.welcomes_trailers,
            expects_continue: survey.expects_continue,
            both_framings: survey.has_both_framings(),
            length,
        };
        if *upgradable {
            head.upgrade = survey.upgrade(&head.method);
        }
        head.received_at = turn.now;
        let Some(Arrived { head, body, .. }) = slot.request.take() else { return false };
        drop(slot);
        let sequence = self.requests;
        self.requests += 1;
        self.tap.requests.set(u64::from(self.requests));
        self.head_since = None;
        self.waiting_since = turn.now;
        if let Some(refusal) = refusal {
            self.refuse(refusal, turn);
        } else {
            self.deliver(head, body, sequence, facts, turn);
        }
        true
    }

    fn refuse(&mut self, refusal: Refusal, turn: &mut Turn<'_, '_>) {
        turn.refused(refusal);
        self.unread = true;
        let mut response = Response::new(OutBody::whole(Bytes::new(), self.tap.clone()));
        *response.status_mut() = request::status_of(refusal);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        self.answer(response);
        self.answering = Answering::Refusing;
    }

    fn deliver(
        &mut self,
        head: Box<RequestHead>,
        incoming: Incoming,
        sequence: u32,
        facts: Facts,
        turn: &mut Turn<'_, '_>,
    ) {
        self.credits -= 1;
        let has_body = !incoming.is_end_stream();
        let key = Key { connection: self.number, stream: STREAM, sequence };
        let mut current = Box::new(Current {
            key,
            exchange: Exchange::new(has_body),
            incoming: has_body.then_some(incoming),
            stash: Bytes::new(),
            writer: None,
            head_request: head.method == Method::HEAD,
            version: head.version,
            upgrade: head.upgrade.clone(),
            trailers_welcome: facts.trailers_welcome,
            continue_asked: false,
            outcome: None,
            taken_before: self.tap.taken.get(),
            flushed_reported: 0,
        });
        let last = u64::from(sequence) + 1 >= self.config.limits.requests_per_connection;
        if self.draining || last || facts.both_framings {
            // Both framings: answered by the one that rules, then closed (RFC 9112 section 6.1).
            self.end_after_answer();
        }
        let whole = match facts.length {
            Some(length) if length <= COMPLETE_BODY_BYTES && has_body && !facts.expects_continue => {
                self.take_whole(&mut current, length, turn.cx)
            }
            _ => None,
        };
        let body = match whole {
            Some(bytes) => RequestBody::Complete(bytes),
            None if has_body => RequestBody::Streamed { length: facts.length },
            None => RequestBody::None,
        };
        self.answering = Answering::Current(current);
        turn.events.push_back(Event::Request { key, head, body });
    }

    /// The whole of a small body, if it has come with the head; else what has come stays in the stash.
    fn take_whole(&mut self, current: &mut Current, length: u64, cx: &mut Context<'_>) -> Option<Bytes> {
        let mut bytes = BytesMut::new();
        let mut turned = false;
        while let Some(incoming) = &mut current.incoming {
            match Pin::new(incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    turned = false;
                    if data.len() as u64 == length {
                        // The usual case: one frame, not copied.
                        current.incoming = None;
                        current.exchange.receive = exchange::Receive::Ended;
                        return Some(data);
                    }
                    bytes.extend_from_slice(&data);
                }
                Poll::Ready(ended) => {
                    current.incoming = None;
                    current.outcome = Some(match ended {
                        Some(Err(error)) => Err(body_error(&error, &self.tap)),
                        _ => Ok(None),
                    });
                }
                Poll::Pending if turned => break,
                Poll::Pending => {
                    turned = true;
                    // The end of the connection, if this was it, is seen again by the turn.
                    if let Poll::Ready(result) = self.poll_connection(cx) {
                        self.closing = Some(self.ended(result));
                        break;
                    }
                }
            }
        }
        if bytes.len() as u64 == length {
            current.incoming = None;
            current.exchange.receive = exchange::Receive::Ended;
            return Some(bytes.freeze());
        }
        current.stash = bytes.freeze();
        None
    }

    /// Answers the caller's pull of a chunk, if there is one and something to answer it with. True when hyper was asked
    /// for more, which it brings only when it is polled again.
    fn feed(&mut self, turn: &mut Turn<'_, '_>) -> bool {
        let Answering::Current(current) = &mut self.answering else { return false };
        let key = current.key;
        if let Some(max) = current.exchange.pulling() {
            if !current.stash.is_empty() {
                current.exchange.pulled();
                let bytes = current.stash.split_to(max.min(current.stash.len()));
                turn.events.push_back(Event::Chunk { key, bytes });
                return false;
            }
            match current.outcome.take() {
                Some(Ok(trailers)) => {
                    current.exchange.receive = exchange::Receive::Ended;
                    turn.events.push_back(Event::End { key, trailers });
                    return false;
                }
                Some(Err(error)) => {
                    current.exchange.receive = exchange::Receive::Failed;
                    turn.events.push_back(Event::BodyFailed { key, error });
                    return false;
                }
                None => {}
            }
        } else if !current.continue_asked {
            return false;
        }
        let Some(incoming) = &mut current.incoming else { return false };
        let frame = match Pin::new(incoming).poll_frame(turn.cx) {
            Poll::Pending => return false,
            Poll::Ready(frame) => frame,
        };
        self.waiting_since = turn.now;
        current.continue_asked = false;
        let outcome = match frame {
            None => Ok(None),
            Some(Err(error)) => Err(body_error(&error, &self.tap)),
            Some(Ok(frame)) => match frame.into_data() {
                Err(frame) => Ok(frame.into_trailers().ok()),
                Ok(data) => match current.exchange.received(data.len(), self.config.limits.body_bytes) {
                    Err(error) => Err(error),
                    Ok(()) => {
                        current.stash = data;
                        return true;
                    }
                },
            },
        };
        let failed = outcome.is_err();
        current.incoming = None;
        current.outcome = Some(outcome);
        if failed {
            self.unread = true;
            self.end_after_answer();
        }
        true
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
                    Some(fault) => fault_reason(fault),
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
                Some(fault) => (fault_reason(fault), false),
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
            let fed = self.feed(turn);
            if let Some(end) = self.closing.take() {
                return Some(end);
            }
            if let (Some(fault), false) = (self.tap.fault(), fed) {
                return Some(End::Close { reason: fault_reason(fault), linger: false });
            }
            let refusing = took && matches!(self.answering, Answering::Refusing);
            let left = self.tap.eof() && self.tap.holds();
            if !(fed || refusing || left || (sent && self.unread) || turn.relay.woken()) {
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

    fn pull_requests(&mut self, more: u32) {
        self.credits = self.credits.saturating_add(more);
        self.gate();
    }

    fn pull_chunk(&mut self, key: Key, max: usize, now: Instant) -> Result<(), Error> {
        self.current(key)?.exchange.pull(max)?;
        self.waiting_since = now;
        Ok(())
    }

    fn send(&mut self, key: Key, head: ResponseHead, body: Bytes, trailers: Option<HeaderMap>) -> Result<(), Error> {
        if trailers.is_some() {
            self.start(key, head)?;
            self.write(key, body)?;
            return self.finish(key, trailers);
        }
        let current = self.current(key)?;
        current.exchange.check_waiting()?;
        response::check_no_tunnel(head.status, current.upgrade.as_ref())?;
        let bodiless = response::bodiless(head.status, current.head_request);
        response::check_whole(&head, &body, bodiless)?;
        current.exchange.sent_whole(if bodiless { 0 } else { body.len() as u64 });
        if current.incoming.is_some() {
            // The rest of the body stands between this answer and the next request.
            self.end_after_answer();
        }
        let mut response = Response::new(OutBody::whole(body, self.tap.clone()));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        self.answer(response);
        Ok(())
    }

    fn start(&mut self, key: Key, head: ResponseHead) -> Result<(), Error> {
        let current = self.current(key)?;
        current.exchange.check_waiting()?;
        response::check_no_tunnel(head.status, current.upgrade.as_ref())?;
        let declared = response::check_final(&head)?;
        current.exchange.started(declared, response::bodiless(head.status, current.head_request));
        let writer = Writer::default();
        current.writer = Some(writer.clone());
        if current.incoming.is_some() && current.exchange.untouched() {
            // A reader that has begun may well get to the end; one that has not will hardly begin now.
            self.end_after_answer();
        }
        let mut response = Response::new(OutBody::streamed(writer, self.tap.clone()));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        self.answer(response);
        Ok(())
    }

    fn write(&mut self, key: Key, chunk: Bytes) -> Result<(), Error> {
        let current = self.current(key)?;
        match current.exchange.write(chunk.len()) {
            Ok(exchange::Write::Drop) => Ok(()),
            Ok(exchange::Write::Queue) => {
                if let (false, Some(writer)) = (chunk.is_empty(), &current.writer) {
                    writer.write(chunk);
                }
                Ok(())
            }
            Err(error) if error.code() == Code::BodyLengthMismatch => {
                self.cut(error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn finish(&mut self, key: Key, trailers: Option<HeaderMap>) -> Result<(), Error> {
        let current = self.current(key)?;
        match current.exchange.finish() {
            Ok(()) => {
                // A trailer section goes out only to who asked for it (RFC 9110 section 6.5.1).
                let trailers = trailers.filter(|_| current.trailers_welcome);
                if let Some(writer) = &current.writer {
                    writer.finish(trailers);
                }
                Ok(())
            }
            Err(error) if error.code() == Code::BodyLengthMismatch => {
                self.cut(error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn inform(&mut self, key: Key, status: StatusCode, headers: HeaderMap) -> Result<(), Error> {
        let current = self.current(key)?;
        current.exchange.check_waiting()?;
        response::check_interim(status)?;
        if current.version == Version::HTTP_10 {
            return Err(Error::new(Code::InvalidStatus, "HTTP/1.0 takes no interim response"));
        }
        if status == StatusCode::CONTINUE && current.incoming.is_some() {
            // hyper writes it when the body is first read.
            current.continue_asked = true;
            return Ok(());
        }
        let mut bytes = format!("HTTP/1.1 {status}\r\n").into_bytes();
        for (name, value) in &headers {
            bytes.extend_from_slice(name.as_ref());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        self.tap.interim(&bytes);
        Ok(())
    }

    fn upgrade(&mut self, key: Key, mut head: ResponseHead) -> Result<(), Error> {
        let current = self.current(key)?;
        current.exchange.check_waiting()?;
        let Some(upgrade) = &current.upgrade else {
            return Err(Error::new(Code::NotUpgradable, "the request does not ask to leave HTTP"));
        };
        if current.incoming.is_some() {
            return Err(Error::new(Code::NotUpgradable, "the request body has not been read to its end"));
        }
        match upgrade {
            Upgrade::Connect | Upgrade::Extended(_) => {
                if !head.status.is_success() {
                    head.status = StatusCode::OK;
                }
            }
            Upgrade::Token(token) => {
                head.status = StatusCode::SWITCHING_PROTOCOLS;
                head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                if let (false, Ok(token)) = (head.headers.contains_key(header::UPGRADE), HeaderValue::from_str(token)) {
                    head.headers.insert(header::UPGRADE, token);
                }
            }
        }
        current.exchange.upgrading();
        let mut response = Response::new(OutBody::whole(Bytes::new(), self.tap.clone()));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        self.answer(response);
        Ok(())
    }

    fn reset(&mut self, stream: u32, _: ResetReason) {
        if stream == STREAM {
            self.cut(Error::new(Code::Closed, "the stream was reset by this side"));
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

impl<IO: AsyncRead + AsyncWrite + Unpin> H1<IO> {
    /// The answer can no longer be made right, or nobody wants it: the connection is cut (RFC 9112 section 8).
    fn cut(&mut self, error: Error) {
        let reason = CloseReason::new(CloseCode::Closed, error.message().to_owned());
        self.closing = Some(End::Close { reason, linger: false });
        self.cut = Some(error);
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

fn fault_reason(fault: Fault) -> CloseReason {
    match fault {
        Fault::Reset => CloseReason::new(CloseCode::PeerReset, "the peer reset the connection"),
        Fault::Gone => CloseReason::new(CloseCode::PeerClosed, "the peer closed the connection"),
        Fault::Io => CloseReason::new(CloseCode::Io, "the transport failed"),
    }
}

fn body_error(error: &hyper::Error, tap: &TapState) -> Error {
    match tap.fault() {
        Some(Fault::Reset) => Error::new(Code::PeerReset, "the peer reset the connection"),
        Some(Fault::Io) => Error::new(Code::Io, "the transport failed"),
        Some(Fault::Gone) => Error::new(Code::PeerClosed, "the peer closed the connection"),
        None if tap.eof() => Error::new(Code::PeerClosed, "the peer closed the connection in the middle of a body"),
        None => Error::new(Code::Protocol, error.to_string()),
    }
}
