//! Request bodies: read from the transport when they are pulled, and a little ahead.

use std::{
    mem,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Answering, H1,
    chunked::{Chunked, Decoded},
};
use crate::{
    check::Framing,
    config::{LEAST_BUFFERED, Limits},
    error::{Code, Error},
    event::Event,
    exchange::Exchange,
    io::{
        room,
        transport::{Fault, Traffic, poll_read},
    },
    wire::{COMPLETE_BODY_BYTES, Turn, received::Received},
};

/// Bytes of a body that are read ahead of the pulls, once there was one.
const READ_AHEAD_BYTES: usize = 512 << 10;
/// Room for a read at most.
const MOST_READ: usize = 128 << 10;
/// Room for the first read of a body; it doubles as long as reads fill it.
const FIRST_READ_BYTES: usize = 16 << 10;

/// What a peer that waits for it is told when its body is wanted (RFC 9110 section 10.1.1).
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What still comes of a body.
#[derive(Debug)]
enum Coming {
    Length(u64),
    Chunked(Chunked),
    Nothing,
}

/// A body that is read as it is pulled.
#[derive(Debug)]
pub(super) struct RequestBytes {
    coming: Coming,
    received: Received,
    /// The caller has begun to pull: from now on it is read ahead.
    begun: bool,
    /// The peer waits for `100 Continue`.
    expects_continue: bool,
    /// Room for the next read.
    read_bytes: usize,
    /// How the body ended, to be told to the next pull.
    outcome: Option<Result<Option<HeaderMap>, Error>>,
}

impl RequestBytes {
    pub(super) fn new(framing: Framing, expects_continue: bool) -> Self {
        let coming = match framing {
            Framing::None => Coming::Nothing,
            Framing::Length(length) => Coming::Length(length),
            Framing::Chunked => Coming::Chunked(Chunked::new()),
        };
        Self {
            coming,
            received: Received::default(),
            begun: false,
            expects_continue,
            read_bytes: FIRST_READ_BYTES,
            outcome: None,
        }
    }

    /// Not all of it has been read from the transport.
    pub(super) fn is_coming(&self) -> bool {
        !matches!(self.coming, Coming::Nothing)
    }

    /// The caller has got all of it, or all but the word that this was all.
    pub(super) fn is_read(&self) -> bool {
        !self.is_coming() && self.received.is_empty() && !matches!(self.outcome, Some(Err(_)))
    }

    /// Bytes that have come and wait for a pull.
    pub(super) fn received(&self) -> usize {
        self.received.len()
    }

    /// Does the peer wait for `100 Continue`? It is going to be told.
    pub(super) fn take_expectation(&mut self) -> bool {
        self.is_coming() && mem::take(&mut self.expects_continue)
    }

    /// The peer has been told to go on.
    pub(super) fn forget_expectation(&mut self) {
        self.expects_continue = false;
    }

    fn end(&mut self, outcome: Result<Option<HeaderMap>, Error>) {
        self.coming = Coming::Nothing;
        self.outcome = Some(outcome);
    }

    /// Takes what has come, of a body that is over its limit no more; false when more must be read for anything to
    /// happen.
    fn decode(&mut self, incoming: &mut BytesMut, exchange: &mut Exchange, limits: &Limits) -> Result<bool, Error> {
        match &mut self.coming {
            Coming::Nothing => Ok(false),
            Coming::Length(_) if incoming.is_empty() => Ok(false),
            Coming::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(incoming.len());
                *left -= take as u64;
                exchange.received(take, limits.body_bytes)?;
                self.received.push(incoming.split_to(take).freeze());
                if matches!(self.coming, Coming::Length(0)) {
                    self.end(Ok(None));
                }
                Ok(true)
            }
            Coming::Chunked(chunked) => match chunked.decode(incoming, limits)? {
                Decoded::Partial => Ok(false),
                Decoded::Data(bytes) => {
                    exchange.received(bytes.len(), limits.body_bytes)?;
                    self.received.push(bytes);
                    Ok(true)
                }
                Decoded::End(trailers) => {
                    self.end(Ok(trailers));
                    Ok(true)
                }
            },
        }
    }

    /// One read of at most `most` bytes. A body of known length goes to where it stays.
    fn poll_read<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        incoming: &mut BytesMut,
        traffic: &Traffic,
        most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Fault>> {
        let room = self.read_bytes.min(most);
        let read = match &mut self.coming {
            Coming::Length(left) => {
                let want = usize::try_from(*left).unwrap_or(usize::MAX).min(room);
                let read = ready!(poll_read(io, &mut self.received.space(want), traffic, cx))?;
                self.received.grown(read);
                *left -= read as u64;
                if *left == 0 {
                    self.end(Ok(None));
                }
                read
            }
            _ => {
                room::lend(incoming);
                incoming.reserve(room);
                ready!(poll_read(io, incoming, traffic, cx))?
            }
        };
        if read == self.read_bytes {
            self.read_bytes = (read * 2).min(MOST_READ);
        }
        Poll::Ready(Ok(read))
    }
}

/// Bytes of a body that may be read and not taken.
pub(super) fn read_ahead(limits: &Limits) -> usize {
    READ_AHEAD_BYTES.min(limits.buffered_bytes.max(LEAST_BUFFERED) as usize)
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H1<IO> {
    /// The whole of a small body, if it has come with the head.
    pub(super) fn take_whole(&mut self, framing: Framing, cx: &mut Context<'_>) -> Result<Option<Bytes>, Fault> {
        let Framing::Length(length @ ..=COMPLETE_BODY_BYTES) = framing else { return Ok(None) };
        let length = length as usize;
        while self.incoming.len() < length && !self.eof {
            match self.read(cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => return Ok(None),
            }
        }
        Ok((self.incoming.len() >= length).then(|| self.incoming.split_to(length).freeze()))
    }

    /// Reads what has come of a body that is being pulled, and a little ahead, so that the peer's next bytes are here
    /// when the caller's next pull is.
    pub(super) fn read_body(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Fault> {
        let Answering::Current(current) = &mut self.answering else { return Ok(()) };
        let Some(body) = &mut current.body else { return Ok(()) };
        body.begun |= current.exchange.pulling().is_some();
        if !body.begun {
            return Ok(());
        }
        let limits = &self.config.limits;
        let most = read_ahead(limits).saturating_sub(current.exchange.held());
        while body.is_coming() && body.received.len() < most {
            let before = body.received.len();
            let mut step = body.decode(&mut self.incoming, &mut current.exchange, limits);
            if matches!(step, Ok(false)) && body.is_coming() {
                if self.eof {
                    let left = "the peer closed the connection in the middle of a body";
                    step = Err(Error::new(Code::PeerClosed, left));
                } else if self.dry {
                    break;
                } else {
                    match body.poll_read(&mut self.io, &mut self.incoming, &self.traffic, most - before, cx) {
                        Poll::Pending => {
                            self.dry = true;
                            break;
                        }
                        Poll::Ready(read) => self.eof = read? == 0,
                    }
                    // A body of known length was read to where it stays.
                    let in_place = body.received.len() - before;
                    step = current.exchange.received(in_place, limits.body_bytes).map(|()| true);
                }
            }
            if body.received.len() > before {
                self.waiting_since = now;
            }
            if let Err(error) = step {
                body.end(Err(error));
                self.unread = true;
                self.last = true;
            }
        }
        if current.exchange.check_waiting().is_ok() && body.take_expectation() {
            self.outgoing.tail().extend_from_slice(CONTINUE);
        }
        Ok(())
    }

    /// Answers the caller's pull of a chunk, or all that there will be, if there is something to answer it with.
    pub(super) fn feed(&mut self, turn: &mut Turn<'_, '_>) {
        let Answering::Current(current) = &mut self.answering else { return };
        let (Some(max), Some(body)) = (current.exchange.pulling(), &mut current.body) else { return };
        let key = current.key;
        while !body.received.is_empty() {
            let bytes = body.received.take(max);
            current.exchange.pulled(bytes.len());
            turn.events.push_back(Event::Chunk { key, bytes });
            if current.exchange.pulling().is_none() {
                return;
            }
        }
        match body.outcome.take() {
            None => {}
            Some(Ok(trailers)) => {
                current.exchange.body_ended();
                turn.events.push_back(Event::End { key, trailers: trailers.map(Box::new) });
            }
            Some(Err(error)) => {
                current.exchange.body_failed();
                turn.events.push_back(Event::BodyFailed { key, error });
            }
        }
    }
}
