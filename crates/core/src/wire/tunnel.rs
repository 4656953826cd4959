//! An h1 stream that has left HTTP: bytes both ways, under the key of the request that asked for it.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Commands, End, Turn, Wire, due, lost};
use crate::{
    config::Config,
    engine::ResetReason,
    error::{CloseCode, CloseReason, Code, Error},
    event::Event,
    exchange::Exchange,
    fields::ResponseFields,
    io::{
        outgoing::Outgoing,
        transport::{Fault, Traffic, poll_read},
    },
    key::Key,
    response::ResponseHead,
};

/// Bytes read ahead of the pulls.
const READ_AHEAD: usize = 64 << 10;

/// The outgoing half.
#[derive(Debug, PartialEq, Eq)]
enum Sending {
    Open,
    /// Finished by the caller; the shutdown is on its way.
    Finishing,
    Shut,
}

pub(crate) struct Tunnel<IO> {
    io: IO,
    key: Key,
    exchange: Exchange,
    traffic: Arc<Traffic>,
    config: Arc<Config>,
    incoming: BytesMut,
    incoming_ended: bool,
    outgoing: Outgoing,
    sending: Sending,
    /// Bytes that `Written` has told of.
    written: u64,
    cut: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Tunnel<IO> {
    pub(crate) fn new(key: Key, io: IO, early: BytesMut, traffic: Arc<Traffic>, config: Arc<Config>) -> Self {
        let mut exchange = Exchange::new(false);
        exchange.upgraded();
        Self {
            io,
            key,
            exchange,
            traffic,
            config,
            incoming: early,
            incoming_ended: false,
            outgoing: Outgoing::default(),
            sending: Sending::Open,
            written: 0,
            cut: false,
        }
    }

    fn check(&self, key: Key) -> Result<(), Error> {
        if key == self.key {
            Ok(())
        } else {
            Err(Error::new(Code::KeyUnknown, "the key names no request of this stream"))
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if self.incoming_ended && self.sending != Sending::Shut {
            // It has finished sending, and may have reset the connection since. What stands behind the end is nobody's.
            let before = self.incoming.len();
            if let Poll::Ready(read) = poll_read(&mut self.io, &mut self.incoming, &self.traffic, cx) {
                read?;
            }
            self.incoming.truncate(before);
        }
        while !self.incoming_ended && self.incoming.len() + self.exchange.held() < READ_AHEAD {
            self.incoming.reserve(8 << 10);
            match poll_read(&mut self.io, &mut self.incoming, &self.traffic, cx) {
                Poll::Pending => break,
                Poll::Ready(read) => self.incoming_ended = read? == 0,
            }
        }
        Ok(())
    }

    fn feed(&mut self, events: &mut VecDeque<Event>) {
        while let Some(max) = self.exchange.pulling() {
            if !self.incoming.is_empty() {
                let bytes = self.incoming.split_to(max.min(self.incoming.len())).freeze();
                self.exchange.pulled(bytes.len());
                events.push_back(Event::Chunk { key: self.key, bytes });
            } else if self.incoming_ended {
                self.exchange.body_ended();
                events.push_back(Event::End { key: self.key, trailers: None });
            } else {
                return;
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Fault> {
        if self.outgoing.poll_flush(&mut self.io, &self.traffic, cx, now)?.is_pending() {
            return Ok(());
        }
        if self.sending == Sending::Finishing {
            match Pin::new(&mut self.io).poll_shutdown(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.sending = Sending::Shut,
                Poll::Ready(Err(error)) => return Err(Fault::of(&error)),
            }
        }
        Ok(())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire for Tunnel<IO> {
    fn turn(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        let end =
            |code, message: &'static str| Some(End::Close { reason: CloseReason::new(code, message), linger: false });
        if self.cut {
            // What was written before is not taken back: as much of it as the transport takes at once.
            let _ = self.write(turn.cx, turn.now);
            return end(CloseCode::Closed, "the tunnel was reset by this side");
        }
        let was_shut = self.sending == Sending::Shut;
        match self.read(turn.cx).and_then(|()| self.write(turn.cx, turn.now)) {
            Ok(()) => {}
            Err(fault) => return Some(End::Close { reason: fault.reason(), linger: false }),
        }
        if turn.late && self.deadline().is_some_and(|deadline| turn.now >= deadline) {
            return end(CloseCode::WriteStalled, "the peer took no byte in time");
        }
        self.feed(turn.events);
        let key = self.key;
        let bytes = self.exchange.queued().saturating_sub(self.outgoing.unsent(&self.traffic));
        if bytes > self.written {
            self.written = bytes;
            turn.events.push_back(Event::Written { key, bytes });
        }
        if self.sending == Sending::Shut && !was_shut {
            turn.events.push_back(Event::Sent { key, bytes, at: turn.now });
        }
        // The peer's half has been taken to its end, or it is over and nobody will take the rest.
        if self.sending == Sending::Shut
            && self.incoming_ended
            && self.incoming.is_empty()
            && !self.exchange.receiving()
        {
            return end(CloseCode::Upgraded, "the tunnel ended");
        }
        None
    }

    fn deadline(&self) -> Option<Instant> {
        self.outgoing.stalled_since().and_then(|since| due(since, self.config.timeouts.write_stall))
    }

    /// A tunnel is in flight until it ends.
    fn drain(&mut self) {}

    fn retire(&mut self) {}

    fn abandon(&mut self, error: &Error, events: &mut VecDeque<Event>) {
        if self.sending != Sending::Shut || self.exchange.receiving() {
            events.push_back(lost(self.key, self.sending == Sending::Shut, error.clone()));
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Commands for Tunnel<IO> {
    fn pull_requests(&mut self, _: u32) {}

    fn pull_chunk(&mut self, key: Key, max: usize, _: Instant) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.pull(max)
    }

    fn read_on(&mut self, key: Key, max: usize, taken: usize, waits: Option<Instant>) {
        if self.check(key).is_ok() {
            // Fails once the incoming half is over.
            let _ = self.exchange.read_on(max, taken, waits.is_some());
        }
    }

    fn is_full(&mut self, _: Key) -> bool {
        self.exchange.held() >= READ_AHEAD
    }

    fn send(&mut self, key: Key, _: ResponseHead, _: Bytes, _: Option<HeaderMap>, _: Instant) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.check_waiting()
    }

    fn start(&mut self, key: Key, _: ResponseHead, _: Instant) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.check_waiting()
    }

    fn write(&mut self, key: Key, chunk: Bytes) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.write(chunk.len())?;
        if !chunk.is_empty() {
            self.outgoing.push(chunk);
        }
        Ok(())
    }

    fn finish(&mut self, key: Key, _: Option<HeaderMap>) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.finish()?;
        self.sending = Sending::Finishing;
        Ok(())
    }

    fn inform(&mut self, key: Key, _: StatusCode, _: ResponseFields) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.check_waiting()
    }

    fn upgrade(&mut self, key: Key, _: ResponseHead, _: Instant) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.check_waiting()
    }

    fn reset(&mut self, stream: u32, _: ResetReason) {
        self.cut |= stream == self.key.stream;
    }
}
