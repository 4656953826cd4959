//! Bytes on their way to the transport.

use std::{
    collections::VecDeque,
    io::IoSlice,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::{
    room,
    transport::{Fault, Traffic},
};

/// Bytes shorter than this are copied together: a head and a small body go out in one plain write.
const COALESCE_BELOW: usize = 16 << 10;
/// Pieces given to the transport at a time.
const SLICES: usize = 32;

/// Bytes in the order in which they go out: the chunks, then the tail.
#[derive(Default, Debug)]
pub(crate) struct Outgoing {
    chunks: VecDeque<Bytes>,
    /// Small pieces, copied together, in room that is lent while something waits.
    tail: Vec<u8>,
    /// Bytes of the tail that the transport has taken. None, as long as there are chunks before it.
    taken: usize,
    /// Bytes of the chunks.
    chunked: usize,
    /// Something was written since the last flush.
    unflushed: bool,
    /// Bytes of the connection that the transport has taken and flushed.
    flushed: u64,
    /// Since when the transport has taken nothing of what waits.
    stalled_since: Option<Instant>,
}

impl Outgoing {
    /// Bytes that the transport has not taken.
    pub(crate) fn len(&self) -> usize {
        self.chunked + self.tail.len() - self.taken
    }

    /// Bytes of memory that it holds.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.tail.capacity() + self.chunked
    }

    /// The transport has taken everything, and has flushed it.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.unflushed && self.len() == 0
    }

    /// Bytes of the connection so far, with those that wait.
    pub(crate) fn end(&self, traffic: &Traffic) -> u64 {
        traffic.written.get() + self.len() as u64
    }

    /// Bytes of the connection that the transport has taken and flushed.
    pub(crate) fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Bytes that it has not.
    pub(crate) fn unsent(&self, traffic: &Traffic) -> u64 {
        self.end(traffic) - self.flushed
    }

    /// Where small pieces are written.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        self.unflushed = true;
        if self.tail.capacity() == 0 {
            self.tail = room::text();
        }
        &mut self.tail
    }

    /// No small piece waits: a text that is there may be the first.
    pub(crate) fn has_no_tail(&self) -> bool {
        self.tail.is_empty()
    }

    /// Begins with `text`, and gives where small pieces are written behind it.
    pub(crate) fn begin_tail(&mut self, text: Vec<u8>) -> &mut Vec<u8> {
        self.unflushed = true;
        self.tail = text;
        &mut self.tail
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.len() < COALESCE_BELOW {
            self.tail().extend_from_slice(&bytes);
            return;
        }
        self.close_tail();
        self.chunked += bytes.len();
        self.chunks.push_back(bytes);
        self.unflushed = true;
    }

    /// What follows comes after the tail, which becomes a chunk.
    fn close_tail(&mut self) {
        if self.tail.len() > self.taken {
            let mut bytes = Bytes::from(mem::take(&mut self.tail));
            bytes.advance(mem::take(&mut self.taken));
            self.chunked += bytes.len();
            self.chunks.push_back(bytes);
        }
    }

    /// Since when the transport has taken nothing of what waits, if something does.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Writes as much as the transport takes; `Ready` when it has taken everything and has flushed it.
    #[inline]
    pub(crate) fn poll_flush<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        traffic: &Traffic,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<Result<(), Fault>> {
        if self.unflushed { self.poll_send(io, traffic, cx, now) } else { Poll::Ready(Ok(())) }
    }

    fn poll_send<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        traffic: &Traffic,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<Result<(), Fault>> {
        let before = self.len();
        let flushed = self.poll_all(io, traffic, cx);
        if flushed.is_ready() {
            self.stalled_since = None;
        } else if self.len() < before || self.stalled_since.is_none() {
            self.stalled_since = Some(now);
        }
        flushed
    }

    fn poll_all<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        traffic: &Traffic,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        while self.len() > 0 {
            let wrote = match self.poll_write(io, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Fault::Gone)),
                Poll::Ready(Ok(wrote)) => wrote,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Fault::of(&error))),
                Poll::Pending => {
                    // What it has taken may well be on its way.
                    if let Poll::Ready(Ok(())) = Pin::new(io).poll_flush(cx) {
                        self.flushed = traffic.written.get();
                    }
                    return Poll::Pending;
                }
            };
            traffic.written.add(wrote as u64);
            self.advance(wrote);
        }
        self.taken = 0;
        room::recycle_text(mem::take(&mut self.tail));
        if let Err(error) = ready!(Pin::new(io).poll_flush(cx)) {
            return Poll::Ready(Err(Fault::of(&error)));
        }
        self.unflushed = false;
        self.flushed = traffic.written.get();
        Poll::Ready(Ok(()))
    }

    fn poll_write<IO: AsyncWrite + Unpin>(&self, io: &mut IO, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.chunks.is_empty() {
            return Pin::new(io).poll_write(cx, &self.tail[self.taken..]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        let pieces = self.chunks.iter().map(|chunk| &chunk[..]).chain([&self.tail[self.taken..]]);
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        Pin::new(io).poll_write_vectored(cx, &slices[..count])
    }

    fn advance(&mut self, mut wrote: usize) {
        while let Some(front) = self.chunks.front_mut() {
            let take = wrote.min(front.len());
            front.advance(take);
            self.chunked -= take;
            wrote -= take;
            if !front.is_empty() {
                return;
            }
            self.chunks.pop_front();
        }
        self.taken += wrote;
        // Who keeps writing to a slow peer never sees the tail empty: what was taken of it must not pile up.
        if self.taken >= COALESCE_BELOW && self.taken * 2 >= self.tail.len() {
            self.tail.drain(..mem::take(&mut self.taken));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_goes_out_in_order_whatever_the_transport_takes_at_a_time() {
        let large = |byte: u8| Bytes::from(vec![byte; COALESCE_BELOW + 7]);
        for room in [1, 7, 4096, 1 << 20] {
            let (mut io, mut peer) = tokio::io::duplex(room);
            let (mut outgoing, traffic) = (Outgoing::default(), Traffic::default());
            let mut expected = Vec::new();
            for piece in [Bytes::from_static(b"head"), large(1), Bytes::from_static(b"\r\n"), large(2), large(3)] {
                expected.extend_from_slice(&piece);
                outgoing.push(piece);
            }
            outgoing.tail().extend_from_slice(b"end");
            expected.extend_from_slice(b"end");
            assert_eq!(outgoing.len(), expected.len());
            let mut seen = vec![0; expected.len()];
            let flush = std::future::poll_fn(|cx| outgoing.poll_flush(&mut io, &traffic, cx, Instant::now()));
            let (flushed, read) = tokio::join!(flush, tokio::io::AsyncReadExt::read_exact(&mut peer, &mut seen));
            assert!(flushed.is_ok() && read.is_ok());
            assert_eq!(seen, expected, "a pipe of {room}");
            assert!(outgoing.is_flushed());
            assert_eq!(traffic.written.get(), expected.len() as u64);
        }
    }

    #[tokio::test]
    async fn what_was_taken_does_not_pile_up_behind_a_slow_peer() {
        let (mut io, mut peer) = tokio::io::duplex(1000);
        let (mut outgoing, traffic) = (Outgoing::default(), Traffic::default());
        let mut space = [0; 1000];
        // More than the pipe holds: something always waits.
        outgoing.tail().extend_from_slice(&[b'x'; 1500]);
        let slow = async {
            for _ in 0..2000 {
                let mut cx = Context::from_waker(std::task::Waker::noop());
                assert!(outgoing.poll_flush(&mut io, &traffic, &mut cx, Instant::now()).is_pending());
                assert!(tokio::io::AsyncReadExt::read_exact(&mut peer, &mut space).await.is_ok());
                outgoing.tail().extend_from_slice(&[b'x'; 1000]);
                assert!(outgoing.tail.capacity() < 4 * COALESCE_BELOW, "{}", outgoing.tail.capacity());
            }
        };
        // tokio's budget would have the polls by hand wait for a turn of the task that never comes.
        tokio::task::unconstrained(slow).await;
    }
}
