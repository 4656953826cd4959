//! HTTP/2 (RFC 9113) over the h2 crate, pulled by hand.
//!
//! h2 keeps one waker for the whole connection and one a stream: the connection is polled with the turn's, each
//! stream with its own (`StreamWaker`), so that a turn looks only at streams that have something to say.
//!
//! Hot: one turn for a batch of streams; all answers of a batch go out in one flush.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use h2::{Ping, PingPong, Reason, RecvStream, server};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    End, Turn, Wire, due, earlier,
    h2_stream::{Fed, Stream, StreamWaker, Woken},
};
use crate::{
    config::Config,
    engine::ResetReason,
    error::{CloseCode, CloseReason, Code, Error, Refusal},
    event::{Event, RequestBody, RequestHead, Upgrade},
    exchange,
    io::{
        frames::Progress,
        tap::{Fault, Tap, TapState},
    },
    key::Key,
    request::{self, Survey},
    response::{self, ResponseHead},
};

/// Bytes that h2 may hold and the transport has not taken: beyond them the more urgent stream goes first.
const WATERMARK: usize = 64 << 10;
/// An answer to a ping is due within this.
const PONG: Duration = Duration::from_secs(20);
/// Bodies up to this length are taken along with the head when they have come with it.
const COMPLETE_BODY_BYTES: u64 = 16 << 10;
/// h2 is driven at most so often in one turn, then the turn is left and asked for anew.
const ROUNDS: usize = 3;
/// Wakers kept for the next streams.
const SPARE_WAKERS: usize = 16;

/// Stream identifiers are small numbers that the peer counts up: multiplying spreads them well enough.
#[derive(Default)]
struct StreamHasher(u64);

impl Hasher for StreamHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type Streams = HashMap<u32, Box<Stream>, BuildHasherDefault<StreamHasher>>;

pub(crate) type Handshake<IO> = server::Handshake<Tap<IO>, Bytes>;

/// Begins the handshake: our SETTINGS out, the peer's preface and SETTINGS in.
pub(crate) fn handshake<IO: AsyncRead + AsyncWrite + Unpin>(tap: Tap<IO>, config: &Config) -> Handshake<IO> {
    let limits = &config.limits;
    // One unread upload must not block the rest: a stream's window is a quarter of the connection's.
    let connection_window = limits.buffered_bytes.clamp(1 << 16, (1 << 31) - 1);
    let mut builder = server::Builder::new();
    builder
        .initial_connection_window_size(connection_window)
        .initial_window_size((connection_window / 4).max(1 << 14))
        .max_concurrent_streams(limits.concurrent_streams)
        // Streams that the peer resets before they are pulled are normal here; more than are open at once are not.
        .max_pending_accept_reset_streams(limits.concurrent_streams as usize)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    if config.extended_connect {
        builder.enable_connect_protocol();
    }
    builder.handshake(tap)
}

pub(crate) struct H2<IO: AsyncRead + AsyncWrite + Unpin> {
    connection: server::Connection<Tap<IO>, Bytes>,
    tap: Arc<TapState>,
    config: Arc<Config>,
    number: u32,
    streams: Streams,
    /// Streams with something to send, in the order in which they began to have it.
    sending: Vec<u32>,
    woken: Arc<Woken>,
    spare_wakers: Vec<Arc<StreamWaker>>,
    /// Room for the lists of a turn, kept.
    awake: Vec<u32>,
    progress: Vec<Progress>,
    /// Events of calls between turns.
    failed: Vec<(Key, Error)>,
    upgraded: Vec<Key>,
    /// The highest stream that became a request.
    last_stream: u32,
    requests: u64,
    credits: u32,
    /// Sum of the streams' `outstanding`.
    outstanding: usize,
    /// The connection has a new state of which h2 has not told its waker.
    dirty: bool,
    draining: bool,
    pinger: Option<PingPong>,
    ping: PingState,
    idle_since: Instant,
    date: (Instant, HeaderValue),
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
    pub(crate) fn new(
        number: u32,
        mut connection: server::Connection<Tap<IO>, Bytes>,
        tap: Arc<TapState>,
        config: Arc<Config>,
        now: Instant,
    ) -> Self {
        let pinger = connection.ping_pong();
        Self {
            connection,
            tap,
            config,
            number,
            streams: Streams::default(),
            sending: Vec::new(),
            woken: Arc::default(),
            spare_wakers: Vec::new(),
            awake: Vec::new(),
            progress: Vec::new(),
            failed: Vec::new(),
            upgraded: Vec::new(),
            last_stream: 0,
            requests: 0,
            credits: 0,
            outstanding: 0,
            dirty: false,
            draining: false,
            pinger,
            ping: PingState::Waiting { since: now, read: 0 },
            idle_since: now,
            date: (now, date_value()),
        }
    }

    fn stream(&mut self, key: Key) -> Result<&mut Stream, Error> {
        let ours = key.connection == self.number && key.sequence == 0;
        match self.streams.get_mut(&key.stream) {
            Some(stream) if ours => Ok(stream),
            None if ours && key.stream <= self.last_stream => {
                Err(Error::new(Code::KeyUsed, "the request has its answer already"))
            }
            _ => Err(Error::new(Code::KeyUnknown, "the key names no request of this stream")),
        }
    }

    fn remove(&mut self, id: u32, now: Instant) {
        let Some(stream) = self.streams.remove(&id) else { return };
        self.outstanding -= stream.outstanding;
        let wake = stream.wake.clone();
        // What h2 has to say to the peer of a stream that is let go of, it says by waking the connection.
        drop(stream);
        if self.spare_wakers.len() < SPARE_WAKERS && Arc::strong_count(&wake) == 1 {
            self.spare_wakers.push(wake);
        }
        self.sending.retain(|&sending| sending != id);
        self.idle_since = now;
    }

    fn fail(&mut self, id: u32, error: Error, turn: &mut Turn<'_, '_>) {
        if let Some(stream) = self.streams.get(&id) {
            turn.failed(stream.key, error);
            self.remove(id, turn.now);
        }
    }

    // ---- requests

    /// Takes streams from h2 as far as they were pulled; while draining, all of them, to refuse them.
    fn accept(&mut self, turn: &mut Turn<'_, '_>) -> Poll<Result<(), h2::Error>> {
        while self.credits > 0 || self.draining {
            match self.connection.poll_accept(turn.cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Ok((request, respond)))) => self.admit(request, respond, turn),
            }
        }
        self.connection.poll_closed(turn.cx)
    }

    fn admit(
        &mut self,
        request: Request<RecvStream>,
        mut respond: server::SendResponse<Bytes>,
        turn: &mut Turn<'_, '_>,
    ) {
        let id = respond.stream_id().as_u32();
        let (parts, receiver) = request.into_parts();
        let protocol = parts.extensions.get::<h2::ext::Protocol>().map(|protocol| protocol.as_str().to_owned());
        let limits = &self.config.limits;
        let has_body = !receiver.is_end_stream();
        let survey = Survey::of(&parts.headers);
        let length = if has_body && survey.has_length { content_length(&parts.headers) } else { None };
        let (method, uri, fields) = (&parts.method, &parts.uri, parts.headers.len());
        let refusal = match request::check(method, uri, parts.version, fields, &survey, protocol.is_some(), limits) {
            Err(refusal) => Some(refusal),
            Ok(()) if length.is_some_and(|length| length > limits.body_bytes) => Some(Refusal::BodyTooLarge),
            Ok(()) => self.draining.then_some(Refusal::Draining),
        };
        if let Some(refusal) = refusal {
            turn.refused(refusal);
            if refusal == Refusal::Draining {
                respond.send_reset(Reason::REFUSED_STREAM);
            } else {
                let mut response = Response::new(());
                *response.status_mut() = request::status_of(refusal);
                // An error here is the stream's: the peer has reset it.
                let _ = respond.send_response(response, true);
            }
            return;
        }
        self.credits -= 1;
        self.requests += 1;
        self.last_stream = self.last_stream.max(id);
        if self.requests >= limits.requests_per_connection && !self.draining {
            self.drain();
        }
        let wake = match self.spare_wakers.pop() {
            Some(wake) => {
                wake.renew(id);
                wake
            }
            None => StreamWaker::new(id, self.woken.clone()),
        };
        let key = Key { connection: self.number, stream: id, sequence: 0 };
        let body_limit = self.config.limits.body_bytes;
        let mut stream = Box::new(Stream::new(key, has_body.then_some(receiver), respond, wake, body_limit, turn.now));
        stream.head_request = parts.method == Method::HEAD;
        stream.urgency = survey.urgency();
        stream.upgrade = match protocol {
            Some(protocol) => Some(Upgrade::Extended(protocol)),
            None => (parts.method == Method::CONNECT).then_some(Upgrade::Connect),
        };
        stream.expects_continue = has_body && survey.expects_continue;
        let body = self.body_of(&mut stream, has_body, length);
        let head = Box::new(RequestHead {
            method: parts.method,
            uri: parts.uri,
            version: Version::HTTP_2,
            headers: parts.headers,
            upgrade: stream.upgrade.clone(),
            received_at: turn.now,
        });
        turn.events.push_back(Event::Request { key, head, body });
        let error = stream.poll_reset();
        self.streams.insert(id, stream);
        if let Some(error) = error {
            self.fail(id, error, turn);
        }
    }

    fn body_of(&self, stream: &mut Stream, has_body: bool, length: Option<u64>) -> RequestBody {
        if !has_body || stream.upgrade.is_some() {
            return RequestBody::None;
        }
        stream.receive();
        match length {
            Some(length) if length <= COMPLETE_BODY_BYTES && !stream.expects_continue => {
                stream.whole(length).map_or(RequestBody::Streamed { length: Some(length) }, RequestBody::Complete)
            }
            _ => RequestBody::Streamed { length },
        }
    }

    // ---- streams that have something to say

    fn look(&mut self, turn: &mut Turn<'_, '_>) {
        let mut awake = mem::take(&mut self.awake);
        self.woken.take(&mut awake);
        for id in awake.drain(..) {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.unblock();
            if let Some(error) = stream.poll_reset() {
                self.fail(id, error, turn);
                continue;
            }
            stream.receive();
            feed(stream, turn);
            if stream.tunnel && stream.over() {
                self.remove(id, turn.now);
            }
        }
        self.awake = awake;
    }

    /// Gives h2 response bytes by urgency (RFC 9218), as long as the transport keeps up.
    fn submit(&mut self, turn: &mut Turn<'_, '_>) {
        if self.sending.is_empty() {
            return;
        }
        let mut sending = mem::take(&mut self.sending);
        if sending.len() > 1 {
            sending.sort_by_key(|id| self.streams.get(id).map_or(u8::MAX, |stream| stream.urgency));
        }
        let mut failed = Vec::new();
        for &id in &sending {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let room = WATERMARK.saturating_sub(self.outstanding);
            match stream.pump(room) {
                Ok((bytes, gave)) => {
                    self.outstanding += bytes;
                    if gave || stream.stalled_since.is_none() {
                        stream.stalled_since = Some(turn.now);
                    }
                }
                Err(error) => failed.push((id, error)),
            }
        }
        sending.retain(|id| self.streams.get(id).is_some_and(|stream| stream.wants_to_send()));
        self.sending = sending;
        for (id, error) in failed {
            self.fail(id, error, turn);
        }
    }

    /// Reports what the transport has flushed.
    fn report(&mut self, turn: &mut Turn<'_, '_>) {
        let mut progress = mem::take(&mut self.progress);
        self.tap.frames().take_flushed(&mut progress);
        for Progress { stream: id, bytes, end } in progress.drain(..) {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let bytes = (bytes as usize).min(stream.outstanding);
            stream.outstanding -= bytes;
            self.outstanding -= bytes;
            stream.flushed += bytes as u64;
            stream.stalled_since = stream.waits_for_peer().then_some(turn.now);
            let key = stream.key;
            if end {
                if let Some(bytes) = stream.exchange.ended() {
                    turn.events.push_back(Event::Sent { key, bytes, at: turn.now });
                    if stream.exchange.pulling().is_some() && !stream.tunnel {
                        let error = Error::new(Code::Closed, "the response was sent before the body was read");
                        turn.events.push_back(Event::BodyFailed { key, error });
                    }
                    if !(stream.tunnel && stream.exchange.receiving()) {
                        self.remove(id, turn.now);
                    }
                }
            } else if stream.exchange.streaming() && stream.outstanding == 0 && !stream.wants_to_send() {
                stream.reported = stream.flushed;
                turn.events.push_back(Event::Written { key, bytes: stream.flushed });
            }
        }
        self.progress = progress;
    }

    // ---- time

    fn expire(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        let config = self.config.clone();
        let timeouts = &config.timeouts;
        let now = turn.now;
        let late = |since: Instant, timeout| due(since, timeout).is_some_and(|due| now >= due);
        let mut stalled = Vec::new();
        for (&id, stream) in &mut self.streams {
            if stream.stalled_since.is_some_and(|since| late(since, timeouts.write_stall)) {
                stalled.push(id);
            } else if stream.exchange.pulling().is_some() && late(stream.pulled_at, timeouts.body_idle) {
                stream.exchange.receive = exchange::Receive::Failed;
                let error = Error::new(Code::BodyTimeout, "the request body did not go on in time");
                turn.events.push_back(Event::BodyFailed { key: stream.key, error });
            }
        }
        for id in stalled {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.send_reset(Reason::CANCEL);
            }
            self.fail(id, Error::new(Code::WriteStalled, "the peer took no response byte in time"), turn);
        }
        if self.streams.is_empty() && late(self.idle_since, timeouts.keep_alive_idle) {
            if self.draining {
                let reason = CloseReason::new(CloseCode::KeepAliveTimeout, "no request came in time");
                return Some(End::Close { reason, linger: false });
            }
            self.idle_since = now;
            self.drain();
        }
        self.expire_ping(turn)
    }

    fn expire_ping(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        let read = self.tap.read.get();
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
            self.ping = PingState::Waiting { since: now, read: self.tap.read.get() };
        }
    }

    fn ended(&self, result: Result<(), h2::Error>) -> End {
        if self.draining && self.streams.is_empty() {
            // However the peer leaves now: it has got everything.
            return End::Close { reason: CloseReason::new(CloseCode::Drained, "drained"), linger: false };
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

    // ---- heads

    fn response(&mut self, mut head: ResponseHead) -> Response<()> {
        response::strip_connection_fields(&mut head.headers);
        if !head.headers.contains_key(header::DATE) {
            head.headers.insert(header::DATE, self.date.1.clone());
        }
        let mut response = Response::new(());
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    fn tick(&mut self, now: Instant) {
        // Date has a resolution of one second (RFC 9110 section 6.6.1).
        if now.duration_since(self.date.0) >= Duration::from_millis(500) {
            self.date = (now, date_value());
        }
    }

    fn send_head(&mut self, key: Key, head: ResponseHead, end: bool) -> Result<(), Error> {
        let response = self.response(head);
        let stream = self.stream(key)?;
        let Some(respond) = stream.respond() else {
            return Err(Error::new(Code::KeyUsed, "the request has its answer already"));
        };
        match respond.send_response(response, end) {
            Ok(sender) => {
                stream.begin(sender);
                stream.expects_continue = false;
                Ok(())
            }
            // The peer has reset the stream: `look` tells. A malformed head was refused before.
            Err(_) => Ok(()),
        }
    }

    fn now_sending(&mut self, id: u32) {
        if !self.sending.contains(&id) {
            self.sending.push(id);
        }
    }

    fn cut(&mut self, key: Key, error: Error) {
        if let Ok(stream) = self.stream(key) {
            stream.send_reset(Reason::INTERNAL_ERROR);
            self.failed.push((key, error));
        }
    }
}

fn feed(stream: &mut Stream, turn: &mut Turn<'_, '_>) {
    let key = stream.key;
    match stream.feed() {
        Fed::Nothing => {}
        Fed::Chunk(bytes) => turn.events.push_back(Event::Chunk { key, bytes }),
        Fed::End(trailers) => turn.events.push_back(Event::End { key, trailers }),
        Fed::Failed(error) => turn.events.push_back(Event::BodyFailed { key, error }),
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn date_value() -> HeaderValue {
    HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
        .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire for H2<IO> {
    fn turn(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        self.tick(turn.now);
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
            self.dirty = false;
            turn.relay.clear();
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
        for stream in self.streams.values() {
            if let Some(since) = stream.stalled_since {
                deadline = earlier(deadline, due(since, timeouts.write_stall));
            }
            if stream.exchange.pulling().is_some() {
                deadline = earlier(deadline, due(stream.pulled_at, timeouts.body_idle));
            }
        }
        deadline
    }

    fn pull_requests(&mut self, more: u32) {
        self.credits = self.credits.saturating_add(more);
    }

    fn pull_chunk(&mut self, key: Key, max: usize, now: Instant) -> Result<(), Error> {
        let stream = self.stream(key)?;
        stream.exchange.pull(max)?;
        stream.pulled_at = now;
        if stream.expects_continue {
            self.inform(key, StatusCode::CONTINUE, HeaderMap::new())?;
        }
        // Looked at in the next turn, as if h2 had woken it.
        let stream = self.stream(key)?;
        std::task::Wake::wake_by_ref(&stream.wake);
        Ok(())
    }

    fn send(
        &mut self,
        key: Key,
        mut head: ResponseHead,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) -> Result<(), Error> {
        let stream = self.stream(key)?;
        stream.exchange.check_waiting()?;
        response::check_no_tunnel(head.status, stream.upgrade.as_ref())?;
        let bodiless = response::bodiless(head.status, stream.head_request);
        let declared = response::check_whole(&head, &body, bodiless)?;
        // On 304 it is unknown (RFC 9110 section 8.6), unless a body was given to say it.
        let says = match head.status {
            StatusCode::NO_CONTENT => false,
            StatusCode::NOT_MODIFIED => !body.is_empty(),
            _ => true,
        };
        if declared.is_none() && says {
            head.headers.insert(header::CONTENT_LENGTH, response::length_value(body.len()));
        }
        let empty = bodiless || (body.is_empty() && trailers.is_none());
        stream.exchange.sent_whole(if bodiless { 0 } else { body.len() as u64 });
        self.send_head(key, head, empty)?;
        if !empty {
            let stream = self.stream(key)?;
            stream.queue(body);
            stream.end(trailers);
            self.now_sending(key.stream);
        }
        Ok(())
    }

    fn start(&mut self, key: Key, head: ResponseHead) -> Result<(), Error> {
        let stream = self.stream(key)?;
        stream.exchange.check_waiting()?;
        response::check_no_tunnel(head.status, stream.upgrade.as_ref())?;
        let declared = response::check_final(&head)?;
        let bodiless = response::bodiless(head.status, stream.head_request);
        stream.exchange.started(declared, bodiless);
        // A bodiless answer ends when the caller finishes it, so that `Sent` comes after `finish`.
        self.send_head(key, head, false)
    }

    fn write(&mut self, key: Key, chunk: Bytes) -> Result<(), Error> {
        let stream = self.stream(key)?;
        match stream.exchange.write(chunk.len()) {
            Ok(exchange::Write::Drop) => Ok(()),
            Ok(exchange::Write::Queue) => {
                stream.queue(chunk);
                self.now_sending(key.stream);
                Ok(())
            }
            Err(error) if error.code() == Code::BodyLengthMismatch => {
                self.cut(key, error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn finish(&mut self, key: Key, trailers: Option<HeaderMap>) -> Result<(), Error> {
        let stream = self.stream(key)?;
        match stream.exchange.finish() {
            Ok(()) => {
                stream.end(trailers);
                self.now_sending(key.stream);
                Ok(())
            }
            Err(error) if error.code() == Code::BodyLengthMismatch => {
                self.cut(key, error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn inform(&mut self, key: Key, status: StatusCode, headers: HeaderMap) -> Result<(), Error> {
        response::check_interim(status)?;
        let stream = self.stream(key)?;
        stream.exchange.check_waiting()?;
        if status == StatusCode::CONTINUE {
            stream.expects_continue = false;
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response::strip_connection_fields(response.headers_mut());
        if let Some(respond) = stream.respond() {
            // An error here is the stream's: the peer has reset it, and `look` tells.
            let _ = respond.send_informational(response);
        }
        Ok(())
    }

    fn upgrade(&mut self, key: Key, mut head: ResponseHead) -> Result<(), Error> {
        let stream = self.stream(key)?;
        stream.exchange.check_waiting()?;
        if stream.upgrade.is_none() {
            return Err(Error::new(Code::NotUpgradable, "the request does not ask to leave HTTP"));
        }
        if !head.status.is_success() {
            head.status = StatusCode::OK;
        }
        stream.exchange.upgrading();
        self.send_head(key, head, false)?;
        let stream = self.stream(key)?;
        stream.enter_tunnel();
        self.upgraded.push(key);
        Ok(())
    }

    fn reset(&mut self, id: u32, reason: ResetReason) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.send_reset(match reason {
            ResetReason::Cancel => Reason::CANCEL,
            ResetReason::Refused => Reason::REFUSED_STREAM,
            ResetReason::Internal => Reason::INTERNAL_ERROR,
            ResetReason::EnhanceYourCalm => Reason::ENHANCE_YOUR_CALM,
        });
        let key = stream.key;
        self.failed.push((key, Error::new(Code::Closed, "the stream was reset by this side")));
    }

    fn drain(&mut self) {
        if !self.draining {
            self.draining = true;
            self.connection.graceful_shutdown();
            self.dirty = true;
        }
    }

    fn abandon(&mut self, error: &Error, events: &mut VecDeque<Event>) {
        for (_, stream) in self.streams.drain() {
            events.push_back(Event::Failed { key: stream.key, error: error.clone() });
        }
    }
}
