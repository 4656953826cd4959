//! An h1 stream that has left HTTP: bytes both ways, under the key of the request that asked for it.

use std::{
    collections::VecDeque,
    future::Future,
    io::IoSlice,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::{Commands, End, Turn, Wire, due};
use crate::{
    config::Config,
    engine::ResetReason,
    error::{CloseCode, CloseReason, Code, Error},
    event::Event,
    exchange::Exchange,
    io::tap::{Fault, TapState},
    key::Key,
    response::ResponseHead,
};

/// Bytes read ahead of the pulls.
const READ_AHEAD: usize = 64 << 10;

/// The outgoing half.
#[derive(Debug, PartialEq, Eq)]
enum Outgoing {
    Open,
    /// Finished by the caller; the shutdown is on its way.
    Finishing,
    Shut,
}

pub(crate) struct Tunnel<IO> {
    io: IO,
    key: Key,
    exchange: Exchange,
    tap: Arc<TapState>,
    config: Arc<Config>,
    incoming: BytesMut,
    incoming_ended: bool,
    queue: VecDeque<Bytes>,
    outgoing: Outgoing,
    flushed: u64,
    reported: u64,
    cut: bool,
    /// Since when the peer has taken nothing of the queue.
    stalled_since: Option<Instant>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Tunnel<IO> {
    pub(crate) fn new(key: Key, io: IO, early: BytesMut, tap: Arc<TapState>, config: Arc<Config>) -> Self {
        let mut exchange = Exchange::new(false);
        exchange.upgraded();
        Self {
            io,
            key,
            exchange,
            tap,
            config,
            incoming: early,
            incoming_ended: false,
            queue: VecDeque::new(),
            outgoing: Outgoing::Open,
            flushed: 0,
            reported: 0,
            cut: false,
            stalled_since: None,
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
        while !self.incoming_ended && self.incoming.len() < READ_AHEAD {
            self.incoming.reserve(8 << 10);
            match pin!(self.io.read_buf(&mut self.incoming)).poll(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(Fault::of(&error)),
                Poll::Ready(Ok(bytes)) => {
                    self.incoming_ended = bytes == 0;
                    self.tap.read.add(bytes as u64);
                }
            }
        }
        Ok(())
    }

    fn feed(&mut self, events: &mut VecDeque<Event>) {
        let Some(max) = self.exchange.pulling() else { return };
        if !self.incoming.is_empty() {
            let bytes = self.incoming.split_to(max.min(self.incoming.len())).freeze();
            self.exchange.pulled();
            events.push_back(Event::Chunk { key: self.key, bytes });
        } else if self.incoming_ended {
            self.exchange.receive = crate::exchange::Receive::Ended;
            events.push_back(Event::End { key: self.key, trailers: None });
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Fault> {
        let fault = |error| Fault::of(&error);
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); 16];
            let mut count = 0;
            for (slice, chunk) in slices.iter_mut().zip(&self.queue) {
                *slice = IoSlice::new(chunk);
                count += 1;
            }
            let Poll::Ready(wrote) = Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..count]) else {
                self.stalled_since.get_or_insert(now);
                return Ok(());
            };
            let mut wrote = wrote.map_err(fault)?;
            if wrote == 0 {
                return Err(Fault::Gone);
            }
            self.tap.written.add(wrote as u64);
            self.flushed += wrote as u64;
            self.stalled_since = Some(now);
            while let Some(front) = self.queue.front_mut().filter(|_| wrote > 0) {
                let take = wrote.min(front.len());
                front.advance(take);
                wrote -= take;
                if front.is_empty() {
                    self.queue.pop_front();
                }
            }
        }
        self.stalled_since = None;
        if Pin::new(&mut self.io).poll_flush(cx).map_err(fault)?.is_pending() {
            return Ok(());
        }
        if self.outgoing == Outgoing::Finishing && Pin::new(&mut self.io).poll_shutdown(cx).map_err(fault)?.is_ready() {
            self.outgoing = Outgoing::Shut;
        }
        Ok(())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire for Tunnel<IO> {
    fn turn(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        let end =
            |code, message: &'static str| Some(End::Close { reason: CloseReason::new(code, message), linger: false });
        if self.cut {
            return end(CloseCode::Closed, "the tunnel was reset by this side");
        }
        if turn.late && self.deadline().is_some_and(|deadline| turn.now >= deadline) {
            return end(CloseCode::WriteStalled, "the peer took no byte in time");
        }
        let was_shut = self.outgoing == Outgoing::Shut;
        match self.read(turn.cx).and_then(|()| self.write(turn.cx, turn.now)) {
            Ok(()) => {}
            Err(fault) => return Some(End::Close { reason: fault.reason(), linger: false }),
        }
        self.feed(turn.events);
        let key = self.key;
        if self.queue.is_empty() && self.flushed > self.reported {
            self.reported = self.flushed;
            turn.events.push_back(Event::Written { key, bytes: self.flushed });
        }
        if self.outgoing == Outgoing::Shut && !was_shut {
            turn.events.push_back(Event::Sent { key, bytes: self.flushed, at: turn.now });
        }
        // The peer's half has been taken to its end, or it is over and nobody will take the rest.
        if self.outgoing == Outgoing::Shut
            && self.incoming_ended
            && self.incoming.is_empty()
            && !self.exchange.receiving()
        {
            return end(CloseCode::Upgraded, "the tunnel ended");
        }
        None
    }

    fn deadline(&self) -> Option<Instant> {
        self.stalled_since.and_then(|since| due(since, self.config.timeouts.write_stall))
    }

    /// A tunnel is in flight until it ends.
    fn drain(&mut self) {}

    fn abandon(&mut self, error: &Error, events: &mut VecDeque<Event>) {
        if self.outgoing != Outgoing::Shut || self.exchange.receiving() {
            events.push_back(Event::Failed { key: self.key, error: error.clone() });
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Commands for Tunnel<IO> {
    fn pull_requests(&mut self, _: u32) {}

    fn pull_chunk(&mut self, key: Key, max: usize, _: Instant) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.pull(max)
    }

    fn send(&mut self, key: Key, _: ResponseHead, _: Bytes, _: Option<HeaderMap>) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.check_waiting()
    }

    fn start(&mut self, key: Key, _: ResponseHead) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.check_waiting()
    }

    fn write(&mut self, key: Key, chunk: Bytes) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.write(chunk.len())?;
        if !chunk.is_empty() {
            self.queue.push_back(chunk);
        }
        Ok(())
    }

    fn finish(&mut self, key: Key, _: Option<HeaderMap>) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.finish()?;
        self.outgoing = Outgoing::Finishing;
        Ok(())
    }

    fn inform(&mut self, key: Key, _: StatusCode, _: HeaderMap) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.check_waiting()
    }

    fn upgrade(&mut self, key: Key, _: ResponseHead) -> Result<(), Error> {
        self.check(key)?;
        self.exchange.check_waiting()
    }

    fn reset(&mut self, stream: u32, _: ResetReason) {
        self.cut |= stream == self.key.stream;
    }
}
