//! HTTP/1.1 (RFC 9112), pulled: a head is parsed when a request is wanted, a body is read when it is pulled, and an
//! answer goes out when it is given. One exchange is in hand at a time.
//!
//! Hot: one turn a request in each direction, one read and one write.

mod body;
mod chunked;
mod commands;
mod encode;
mod head;
mod request;

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::BytesMut;
use http::Version;
use tokio::io::{AsyncRead, AsyncWrite};

use self::{
    body::RequestBytes,
    encode::Framing,
    request::{Next, refused},
};
use super::{End, Turn, Wire, due, earlier};
use crate::{
    config::Config,
    error::{CloseCode, CloseReason, Code, Error, Refusal},
    event::{Event, Upgrade},
    exchange::Exchange,
    io::{
        outgoing::Outgoing,
        room,
        transport::{Fault, Traffic, poll_read},
    },
    key::Key,
};

/// The one stream of an h1 connection.
const STREAM: u32 = 1;
/// Bytes that are read while nobody wants them, to see the peer leave.
const WATCH_BYTES: usize = 16 << 10;

/// The exchange in hand.
struct Current {
    key: Key,
    exchange: Exchange,
    /// What is read as it is pulled.
    body: Option<Box<RequestBytes>>,
    /// What it asks for, then what it turns into.
    upgrade: Option<Box<Upgrade>>,
    version: Version,
    head_request: bool,
    trailers_welcome: bool,
    /// How the end of the answer's body is told, once it has begun.
    framing: Option<Framing>,
    /// Body bytes that `Written` has told of.
    written: u64,
}

impl Current {
    /// Not all of the request has been read.
    fn is_coming(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.is_coming())
    }
}

enum Answering {
    /// Between exchanges.
    Nothing,
    /// The caller's.
    Current(Current),
    /// A refusal of our own is on its way out, and the end of the connection after it.
    Refusing(Refusal),
}

pub(crate) struct H1<IO> {
    io: IO,
    /// Bytes that have come and belong to nothing yet.
    incoming: BytesMut,
    outgoing: Outgoing,
    traffic: Arc<Traffic>,
    config: Arc<Config>,
    number: u32,
    /// Requests so far: the sequence of the next.
    requests: u32,
    credits: u32,
    answering: Answering,
    draining: bool,
    /// The next answer will be the last.
    retired: bool,
    /// The connection ends with the answer in hand.
    last: bool,
    /// The peer has finished sending.
    eof: bool,
    /// The last read found nothing, and its waker was not called since: there is nothing to read.
    dry: bool,
    /// The request body did not go on in time.
    body_late: bool,
    /// Request bytes were left unread: a close without lingering would reset the connection under the answer.
    unread: bool,
    /// A reason of our own to close, decided between turns, which the exchange in hand fails with.
    cut: Option<Box<Error>>,
    /// When the present wait began: for a request, for the rest of its head, or for body bytes.
    waiting_since: Instant,
    /// A head is on its way that is wanted.
    head_begun: bool,
}

const BODY_LATE: &str = "the request body did not go on in time";

fn close(code: CloseCode, message: &'static str) -> End {
    End::Close { reason: CloseReason::new(code, message), linger: false }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H1<IO> {
    pub(crate) fn new(
        number: u32,
        io: IO,
        early: BytesMut,
        traffic: Arc<Traffic>,
        config: Arc<Config>,
        now: Instant,
    ) -> Self {
        Self {
            io,
            incoming: early,
            outgoing: Outgoing::default(),
            traffic,
            config,
            number,
            requests: 0,
            credits: 0,
            answering: Answering::Nothing,
            draining: false,
            retired: false,
            last: false,
            eof: false,
            dry: false,
            body_late: false,
            unread: false,
            cut: None,
            waiting_since: now,
            head_begun: false,
        }
    }

    /// The transport and the bytes that nobody has read, once the engine has ended.
    pub(crate) fn into_transport(self) -> (IO, BytesMut) {
        (self.io, self.incoming)
    }

    /// An answer is under way that nothing but the connection's end delimits.
    pub(crate) fn is_open_ended(&self) -> bool {
        matches!(&self.answering, Answering::Current(Current { framing: Some(Framing::Close), .. }))
    }

    /// Between exchanges, with nothing to read.
    pub(crate) fn is_dry(&self) -> bool {
        self.dry && self.incoming.is_empty() && matches!(self.answering, Answering::Nothing)
    }

    /// One read into what has come.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if self.dry {
            return Poll::Pending;
        }
        room::lend(&mut self.incoming);
        let read = poll_read(&mut self.io, &mut self.incoming, &self.traffic, cx);
        self.dry = read.is_pending();
        self.eof = ready!(read)? == 0;
        Poll::Ready(Ok(()))
    }

    /// Reads a little ahead, so that the peer's leaving is seen though nobody wants its bytes.
    fn watch(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if self.eof {
            // It has finished sending, and may have reset the connection since.
            if let Poll::Ready(result) = self.read(cx) {
                result?;
            }
            self.eof = true;
        }
        let of_body = match &self.answering {
            Answering::Current(Current { body: Some(body), exchange, .. }) if body.is_coming() => {
                body.received() + exchange.held()
            }
            Answering::Current(Current { body: Some(body), .. }) => body.received(),
            _ => 0,
        };
        while !self.eof && of_body + self.incoming.len() < WATCH_BYTES {
            match self.read(cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => break,
            }
        }
        if self.eof && !self.config.half_close { Err(Fault::Gone) } else { Ok(()) }
    }

    /// Does what there is to do, until the peer or the caller has to act.
    fn work(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        self.try_work(turn).unwrap_or_else(|fault| Some(End::Close { reason: fault.reason(), linger: false }))
    }

    fn try_work(&mut self, turn: &mut Turn<'_, '_>) -> Result<Option<End>, Fault> {
        loop {
            self.flush(turn)?;
            if let Some(end) = self.report(turn) {
                return Ok(Some(end));
            }
            match self.answering {
                Answering::Nothing => match self.next_request(turn)? {
                    Next::Waits => return Ok(None),
                    Next::Came => {}
                    Next::Over(end) => return Ok(Some(end)),
                },
                Answering::Current(_) => {
                    self.read_body(turn.cx, turn.now)?;
                    self.feed(turn);
                    self.flush(turn)?;
                    self.watch(turn.cx)?;
                    return Ok(None);
                }
                Answering::Refusing(_) => return Ok(None),
            }
        }
    }

    fn flush(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), Fault> {
        match self.outgoing.poll_flush(&mut self.io, &self.traffic, turn.cx, turn.now) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Tells what has been sent since; the end, when the exchange was the last.
    fn report(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        let flushed = self.outgoing.is_flushed();
        let current = match &mut self.answering {
            Answering::Nothing => return None,
            Answering::Refusing(refusal) => return flushed.then(|| refused(*refusal)),
            Answering::Current(current) => current,
        };
        let key = current.key;
        if current.exchange.streaming() {
            // What waits may be framing as well as body: a lower bound, and exact once nothing waits.
            let bytes = current.exchange.queued().saturating_sub(self.outgoing.unsent(&self.traffic));
            if bytes > current.written {
                current.written = bytes;
                turn.events.push_back(Event::Written { key, bytes });
            }
            return None;
        }
        if !flushed {
            return None;
        }
        if current.exchange.leaving() {
            return current.upgrade.take().map(|protocol| End::Upgraded { key, protocol });
        }
        let bytes = current.exchange.ended()?;
        if current.exchange.waiting() {
            let error = Error::new(Code::Closed, "the response was sent before the body was read");
            turn.events.push_back(Event::BodyFailed { key, error });
        }
        turn.events.push_back(Event::Sent { key, bytes, at: turn.now });
        self.unread |= current.is_coming();
        // What nobody reads stands before the next request.
        self.last |= self.unread;
        self.answering = Answering::Nothing;
        self.waiting_since = turn.now;
        self.last.then(|| self.ended(true))
    }

    /// The last exchange is over, or there will be none. `answered`: its answer is on its way to the peer, and what the peer has sent by
    /// then, a pipelined request, must not reset the connection under it.
    fn ended(&self, answered: bool) -> End {
        let linger = !self.eof && (answered || self.unread || !self.incoming.is_empty());
        let (code, message) = if self.body_late {
            (CloseCode::BodyTimeout, BODY_LATE)
        } else if self.draining || self.retired {
            (CloseCode::Drained, "drained")
        } else if self.eof {
            (CloseCode::PeerClosed, "the peer closed the connection")
        } else {
            (CloseCode::ExchangeEnded, "the last exchange ended the connection")
        };
        End::Close { reason: CloseReason::new(code, message), linger }
    }

    /// The deadline has passed: acts on what was waited for.
    fn expire(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        let stalled = || Some(close(CloseCode::WriteStalled, "the peer took no response byte in time"));
        match &mut self.answering {
            Answering::Nothing if self.head_begun => {
                self.refuse(Refusal::HeadersTimeout, turn);
                None
            }
            Answering::Nothing => Some(close(CloseCode::KeepAliveTimeout, "no request came in time")),
            Answering::Refusing(_) => stalled(),
            Answering::Current(current) => {
                let timeout = self.config.timeouts.body_idle;
                let body_late = due(self.waiting_since, timeout).is_some_and(|due| turn.now >= due);
                if current.exchange.pulling().is_none() || !body_late {
                    return stalled();
                }
                if !current.exchange.waiting() {
                    // A wait that begins from here on is told with its time.
                    self.waiting_since = turn.now;
                    return None;
                }
                current.exchange.body_failed();
                current.body = None;
                let error = Error::new(Code::BodyTimeout, BODY_LATE);
                turn.events.push_back(Event::BodyFailed { key: current.key, error });
                self.body_late = true;
                self.unread = true;
                self.last = true;
                None
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire for H1<IO> {
    fn turn(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        if let Some(error) = &self.cut {
            let reason = CloseReason::new(CloseCode::Closed, error.message().to_owned());
            return Some(End::Close { reason, linger: false });
        }
        // Before the peer is called late it is looked for what came in time.
        self.dry &= !(turn.called || turn.late);
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
        let timeouts = &self.config.timeouts;
        let stalled = self.outgoing.stalled_since().and_then(|since| due(since, timeouts.write_stall));
        match &self.answering {
            Answering::Nothing if self.head_begun => due(self.waiting_since, timeouts.headers),
            // A request that has come and nobody pulls may wait.
            Answering::Nothing if !head::is_blank(&self.incoming) => None,
            Answering::Nothing => due(self.waiting_since, timeouts.keep_alive_idle),
            Answering::Refusing(_) => stalled,
            Answering::Current(current) => {
                earlier(current.exchange.pulling().and_then(|_| due(self.waiting_since, timeouts.body_idle)), stalled)
            }
        }
    }

    fn drain(&mut self) {
        self.draining = true;
    }

    /// RFC 9112 section 9.6: by an answer that says so. An idle connection that is closed may cross a request.
    fn retire(&mut self) {
        self.retired = true;
    }

    fn abandon(&mut self, error: &Error, events: &mut VecDeque<Event>) {
        if let Answering::Current(current) = mem::replace(&mut self.answering, Answering::Nothing) {
            let error = self.cut.take().map_or_else(|| error.clone(), |cut| *cut);
            events.push_back(Event::Failed { key: current.key, error });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{relay::Relay, response::ResponseHead, wire::Commands};

    #[tokio::test]
    async fn a_connection_that_waits_holds_no_buffer() {
        let (mut client, io) = tokio::io::duplex(1 << 16);
        let (traffic, config, now) = (Arc::default(), Arc::default(), Instant::now());
        let mut wire = H1::new(0, io, BytesMut::new(), traffic, config, now);
        let (relay, mut events) = (Relay::new(), VecDeque::new());
        let mut turn = |wire: &mut H1<_>| {
            let cx = &mut Context::from_waker(std::task::Waker::noop());
            assert!(
                wire.turn(&mut Turn { cx, relay: &relay, now, late: false, called: true, events: &mut events })
                    .is_none()
            );
            events.pop_front()
        };
        for length in [10, 100_000] {
            wire.pull_requests(1);
            assert!(client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.is_ok());
            let Some(Event::Request { key, head, .. }) = turn(&mut wire) else { panic!("no request") };
            drop(head);
            let head = ResponseHead { status: http::StatusCode::OK, headers: crate::fields::ResponseFields::new() };
            assert!(wire.send(key, head, bytes::Bytes::from(vec![b'x'; length]), None, now).is_ok());
            let mut space = vec![0; 1 << 16];
            while !matches!(turn(&mut wire), Some(Event::Sent { .. })) {
                assert!(client.read(&mut space).await.is_ok());
            }
            assert_eq!(wire.incoming.capacity(), 0);
            assert_eq!(wire.outgoing.capacity(), 0);
        }
    }
}
