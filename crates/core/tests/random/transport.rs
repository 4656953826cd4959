//! A transport whose other end is played step by step, and that keeps its wakers to the letter: it wakes who was told to
//! wait when that changes, once, and nobody else.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Polls within one turn beyond which it counts as endless.
const POLLS: usize = 200_000;

#[derive(Default, Debug)]
pub struct State {
    /// Sent by the peer and not read; so many bytes are given at a time, as records or segments are.
    incoming: VecDeque<u8>,
    segment: usize,
    fin: bool,
    broken: bool,
    /// Bytes that the peer is ready to take.
    room: usize,
    /// Taken by the transport, and by the peer.
    pub written: Vec<u8>,
    flushed: usize,
    blocked: bool,
    reader: Option<Waker>,
    /// Waits to write or to flush.
    pub writer: Option<Waker>,
    polls: usize,
    pub dropped: bool,
}

/// The peer's end.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Mutex<State>>);

/// The engine's end.
#[derive(Debug)]
pub struct Transport(Peer);

impl Drop for Transport {
    fn drop(&mut self) {
        self.0.state().dropped = true;
    }
}

impl Peer {
    pub fn pair(segment: usize) -> (Self, Transport) {
        let peer = Self(Arc::new(Mutex::new(State { segment, ..State::default() })));
        (peer.clone(), Transport(peer))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn begins.
    pub fn begin(&self) {
        self.state().polls = 0;
    }

    pub fn send(&self, bytes: &[u8]) {
        self.state().incoming.extend(bytes);
        self.wake(true, false);
    }

    pub fn finish(&self) {
        self.state().fin = true;
        self.wake(true, false);
    }

    /// The connection is reset. Whether that can go unnoticed.
    pub fn reset(&self) -> bool {
        let mut state = self.state();
        state.broken = true;
        let unnoticed = state.fin || !state.incoming.is_empty();
        drop(state);
        self.wake(true, true);
        unnoticed
    }

    /// Takes so many more bytes.
    pub fn take(&self, bytes: usize) {
        let mut state = self.state();
        state.room = state.room.saturating_add(bytes);
        drop(state);
        self.wake(false, true);
    }

    /// Whether a flush can be completed.
    pub fn block(&self, blocked: bool) {
        self.state().blocked = blocked;
        self.wake(false, !blocked);
    }

    /// These bytes have been written and flushed.
    pub fn has_got(&self, bytes: &[u8]) -> bool {
        let state = self.state();
        let flushed = &state.written[..state.flushed];
        flushed.ends_with(bytes) || flushed.windows(bytes.len().max(1)).any(|part| part == bytes)
    }

    fn wake(&self, reader: bool, writer: bool) {
        let mut state = self.state();
        let wakers = [if reader { state.reader.take() } else { None }, if writer { state.writer.take() } else { None }];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl State {
    fn poll(&mut self) -> io::Result<()> {
        self.polls += 1;
        assert!(self.polls < POLLS, "a turn does not end");
        if self.broken { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    fn wait<T>(waiting: &mut Option<Waker>, cx: &Context<'_>) -> Poll<T> {
        *waiting = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        state.poll()?;
        if state.incoming.is_empty() && !state.fin {
            return State::wait(&mut state.reader, cx);
        }
        let take = state.incoming.len().min(buf.remaining()).min(state.segment);
        for byte in state.incoming.drain(..take) {
            buf.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        state.poll()?;
        if state.room == 0 {
            return State::wait(&mut state.writer, cx);
        }
        let take = state.room.min(bytes.len());
        state.room -= take;
        state.written.extend_from_slice(&bytes[..take]);
        Poll::Ready(Ok(take))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        state.poll()?;
        if state.blocked {
            return State::wait(&mut state.writer, cx);
        }
        state.flushed = state.written.len();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
