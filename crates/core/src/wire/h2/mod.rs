//! HTTP/2 (RFC 9113), pulled: frames are read as they come, for without that no stream works; a request comes up when it is
//! wanted, a window is given back when bytes are pulled, and what is written goes out by priority.
//!
//! ```text
//! transport -> receive (frames) -> hpack, head -> admit -> events
//! transport <- Outgoing <- send (DATA by priority) <- commands; heads and control frames go straight to Outgoing
//! ```
//!
//! Hot: one turn for a batch of streams, one read and one write.

mod admit;
mod commands;
mod control;
mod flow;
mod frame;
mod goaway;
mod head;
mod hpack;
mod priority;
mod receive;
mod send;
mod stream;
mod streams;
mod timeouts;

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Buf, BytesMut};
use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite};

use self::{
    frame::{FIRST_WINDOW, Head, MAX_31, Reason, flag, kind, setting},
    hpack::{Decoder, Encoder},
    priority::Priority,
    receive::{Broken, OpenBlock},
    send::Mark,
    stream::Stream,
    streams::Streams,
    timeouts::PingState,
};
use super::{End, Turn, Wire, lost};
use crate::{
    config::{Config, LEAST_BUFFERED},
    detect::PREFACE,
    error::{CloseCode, Code, Error, Refusal},
    event::{Event, RequestHead},
    io::{
        outgoing::Outgoing,
        room,
        transport::{Fault, Traffic, poll_read},
    },
    key::Key,
};

/// How many streams that nobody reads it takes to fill the window of a connection.
const WINDOWS: u32 = 16;
/// A turn goes round at most so often, then it is left and asked for anew.
const ROUNDS: usize = 8;
/// Streams that we have reset lately, of which what is still on its way is ignored: so many, or as many as may be open.
const LET_GO: usize = 1024;

pub(crate) struct H2<IO> {
    io: IO,
    /// Bytes that have come and are no whole frame yet.
    incoming: BytesMut,
    outgoing: Outgoing,
    traffic: Arc<Traffic>,
    config: Arc<Config>,
    number: u32,
    decoder: Decoder,
    encoder: Encoder,
    block: Option<Box<OpenBlock>>,
    /// The last request's.
    authority: Option<Authority>,

    streams: Streams,
    /// Requests that nobody has pulled yet.
    arrived: VecDeque<Arrived>,
    /// Streams with something to send, in the order in which they began to have it.
    sending: Vec<u32>,
    /// Streams with something for a pull.
    awake: Vec<u32>,
    /// Frames on their way, in order.
    marks: VecDeque<Mark>,
    /// Some stream had a priority of its own: the order matters.
    prioritized: bool,
    /// What the peer said of streams that it has not opened.
    foretold: Vec<(u32, Priority)>,
    /// Events of calls between turns, and what the peer is told.
    failed: Vec<(Key, Reason, Error)>,
    upgraded: Vec<Event>,
    /// The highest stream that the peer has opened.
    highest: u32,
    /// It has left some out.
    gaps: bool,
    let_go: VecDeque<u32>,
    /// The highest stream that became a request.
    last_stream: u32,
    requests: u64,
    credits: u32,
    /// What the peer has begun for nothing.
    wasted: u32,

    /// What the peer takes, and may still send; and of a new stream. What the caller has taken and the peer has not been told of.
    send_window: i64,
    first_send_window: i64,
    receive_window: i64,
    first_receive_window: i64,
    taken: u32,
    /// Window that the peer was given beyond what it has a right to (`lend`).
    lent: usize,
    /// Of a new stream, once the peer has heard of it.
    stream_window: u32,
    /// It has heard our SETTINGS.
    heard: bool,

    /// The peer has finished sending.
    eof: bool,
    /// It has left, and something is left to read.
    gone: Option<Fault>,
    /// The last read found nothing, and its waker was not called since: there is nothing to read.
    dry: bool,
    /// Room for the next read, if it is to be more than usual.
    read_bytes: usize,
    /// Of a frame that has not come whole: when its last piece came, and how many bytes had been read by then.
    piece: (Instant, u64),

    /// No stream is late before this. It is moved on when it has passed, not when the stream that it was for gets on.
    soonest: Option<Instant>,
    /// The peer is told to open nothing more; why, if that is how the connection ends.
    going: Option<CloseCode>,
    /// Requests that have come since.
    came_since: u32,
    /// Nothing new is taken, though the peer may not have heard yet.
    draining: bool,
    /// The peer has heard of it (RFC 9113 section 6.8): the last stream that was looked at.
    last_of_going: Option<u32>,
    ping: PingState,
    idle_since: Instant,
    /// Since when a header block is under way.
    head_since: Option<Instant>,
}

/// A request that waits for its pull.
struct Arrived {
    stream: u32,
    head: Box<RequestHead>,
    /// Content-Length.
    length: Option<u64>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    /// A connection on which the preface has come, in `early`. Our SETTINGS are on their way.
    pub(crate) fn new(
        number: u32,
        io: IO,
        early: BytesMut,
        traffic: Arc<Traffic>,
        config: Arc<Config>,
        now: Instant,
    ) -> Self {
        let limits = &config.limits;
        // What is sent on streams that nobody reads keeps its part of the connection's window: so each part is small, for
        // those that are read to go on. Not smaller, because a part goes to and fro once a round trip: if they are too many
        // all the same, there is `lend`.
        let window = limits.buffered_bytes.clamp(LEAST_BUFFERED, MAX_31);
        let stream_window = (window / WINDOWS).max(1 << 14);
        let mut outgoing = Outgoing::default();
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, limits.concurrent_streams),
            (setting::INITIAL_WINDOW_SIZE, stream_window),
            (setting::MAX_HEADER_LIST_SIZE, u32::try_from(limits.header_bytes).unwrap_or(u32::MAX)),
            (setting::NO_RFC7540_PRIORITIES, 1),
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        let told = if config.extended_connect { &settings[..] } else { &settings[..4] };
        frame::write_settings(outgoing.tail(), told);
        frame::write_window_update(outgoing.tail(), 0, window - FIRST_WINDOW as u32);
        Self {
            io,
            incoming: early,
            outgoing,
            traffic,
            config,
            number,
            decoder: Decoder::new(),
            encoder: Encoder::new(),
            block: None,
            authority: None,
            streams: Streams::default(),
            arrived: VecDeque::new(),
            sending: Vec::new(),
            awake: Vec::new(),
            marks: VecDeque::new(),
            prioritized: false,
            foretold: Vec::new(),
            failed: Vec::new(),
            upgraded: Vec::new(),
            highest: 0,
            gaps: false,
            let_go: VecDeque::new(),
            last_stream: 0,
            requests: 0,
            credits: 0,
            wasted: 0,
            send_window: FIRST_WINDOW,
            first_send_window: FIRST_WINDOW,
            receive_window: i64::from(window),
            first_receive_window: FIRST_WINDOW,
            taken: 0,
            lent: 0,
            stream_window,
            heard: false,
            eof: false,
            gone: None,
            dry: false,
            read_bytes: 0,
            piece: (now, 0),
            soonest: None,
            going: None,
            came_since: 0,
            draining: false,
            last_of_going: None,
            ping: PingState::Waiting { since: now, read: 0 },
            idle_since: now,
            head_since: None,
        }
    }

    /// Ready when the peer's SETTINGS have come, which belong to its preface (RFC 9113 section 3.4); with the end, if there
    /// is none to be had.
    pub(crate) fn poll_greeting(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Option<End>> {
        let greeting = self.poll_settings(cx, now);
        room::settle(&mut self.incoming);
        match ready!(greeting) {
            Ok(true) => Poll::Ready(None),
            Ok(false) => Poll::Ready(Some(self.go_away(Reason::ProtocolError, "the preface has no SETTINGS", cx, now))),
            Err(fault) => Poll::Ready(Some(End::Close { reason: fault.reason(), linger: false })),
        }
    }

    fn poll_settings(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Result<bool, Fault>> {
        if let Poll::Ready(result) = self.outgoing.poll_flush(&mut self.io, &self.traffic, cx, now) {
            result?;
        }
        loop {
            if let Some(head) = self.incoming.get(PREFACE.len()..).and_then(Head::of) {
                self.incoming.advance(PREFACE.len());
                return Poll::Ready(Ok(head.kind == kind::SETTINGS && !head.has(flag::ACK)));
            }
            room::lend(&mut self.incoming);
            if ready!(poll_read(&mut self.io, &mut self.incoming, &self.traffic, cx))? == 0 {
                return Poll::Ready(Err(Fault::Gone));
            }
        }
    }

    /// The transport, once the engine has ended.
    pub(crate) fn into_transport(self) -> IO {
        self.io
    }

    fn stream(&mut self, key: Key) -> Result<&mut Stream, Error> {
        let ours = key.connection == self.number && key.sequence == 0;
        match self.streams.get_mut(key.stream) {
            Some(stream) if ours && stream.pulled => Ok(stream),
            None if ours && key.stream <= self.last_stream => {
                Err(Error::new(Code::KeyUsed, "the request has its answer already"))
            }
            _ => Err(Error::new(Code::KeyUnknown, "the key names no request of this stream")),
        }
    }

    // ---- the ends of streams

    fn remove(&mut self, id: u32, now: Instant) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let (listed, pulled) = (stream.listed, stream.pulled);
        let left = stream.incoming.len() + stream.exchange.held();
        if listed {
            self.sending.retain(|&sending| sending != id);
        }
        if !pulled {
            self.arrived.retain(|arrived| arrived.stream != id);
        }
        self.streams.remove(id);
        self.give_back(left);
        self.idle_since = now;
    }

    /// Tells the caller, if it knows of the stream, and forgets it.
    fn fail(&mut self, id: u32, error: Error, turn: &mut Turn<'_, '_>) {
        if let Some(stream) = self.streams.get_mut(id) {
            if stream.pulled {
                turn.events.push_back(lost(stream.key, stream.sent, error));
            }
            self.remove(id, turn.now);
        }
    }

    fn write_reset(&mut self, id: u32, reason: Reason) {
        frame::write_reset(self.outgoing.tail(), id, reason);
        self.let_go(id);
    }

    /// What still comes of the stream is ignored.
    fn let_go(&mut self, id: u32) {
        let most = (self.config.limits.concurrent_streams as usize).clamp(LET_GO, 64 * LET_GO);
        if self.let_go.len() >= most {
            self.let_go.pop_front();
        }
        self.let_go.push_back(id);
    }

    fn work(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        match self.try_work(turn) {
            Ok(end) => end,
            Err(Broken::Transport(fault)) => self.part(fault, turn),
            Err(Broken::Peer(reason, what)) => {
                turn.refused(Refusal::ProtocolError);
                Some(self.go_away(reason, what, turn.cx, turn.now))
            }
        }
    }

    fn try_work(&mut self, turn: &mut Turn<'_, '_>) -> Result<Option<End>, Broken> {
        for _ in 0..ROUNDS {
            let more_to_read = self.receive(turn)?;
            self.deliver(turn)?;
            self.look(turn);
            self.lend();
            let more_to_send = self.submit(turn);
            let flushed = self.outgoing.poll_flush(&mut self.io, &self.traffic, turn.cx, turn.now)?;
            self.report(turn);
            if self.eof {
                return Ok(self.part(Fault::Gone, turn));
            }
            if let Some(end) = self.ended(None) {
                return Ok(Some(end));
            }
            let more = if flushed.is_pending() {
                // The peer may well write all that it has before it reads.
                more_to_read && self.hears()
            } else {
                // What was told of streams that are over, for one, has been written since.
                more_to_read || more_to_send || !self.outgoing.is_flushed()
            };
            if !more {
                return Ok(None);
            }
        }
        turn.relay.again();
        Ok(None)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire for H2<IO> {
    fn turn(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        // Before the peer is called late it is looked for what came in time.
        self.dry &= !(turn.called || turn.late);
        turn.events.extend(self.upgraded.drain(..));
        for (key, reason, error) in mem::take(&mut self.failed) {
            // It may have failed twice.
            if self.streams.get_mut(key.stream).is_some() {
                self.write_reset(key.stream, reason);
                self.fail(key.stream, error, turn);
            }
        }
        if self.gone.is_some() {
            return self.read_out(turn);
        }
        let mut late = turn.late;
        let end = loop {
            let end = self.work(turn);
            if end.is_some() || !mem::take(&mut late) || self.deadline().is_none_or(|deadline| turn.now < deadline) {
                break end;
            }
            if let Some(end) = self.expire(turn) {
                break Some(end);
            }
        };
        room::settle(&mut self.incoming);
        end
    }

    fn deadline(&self) -> Option<Instant> {
        self.next_deadline()
    }

    fn drain(&mut self) {
        self.draining = true;
        self.begin_going(CloseCode::Drained);
    }

    fn retire(&mut self) {
        self.begin_going(CloseCode::Drained);
    }

    fn abandon(&mut self, error: &Error, events: &mut VecDeque<Event>) {
        for stream in mem::take(&mut self.streams).iter().filter(|stream| stream.pulled) {
            events.push_back(lost(stream.key, stream.sent, error.clone()));
        }
    }
}
