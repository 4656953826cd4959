//! A stream that has left HTTP.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    engine::ResetReason,
    error::{Code, Error},
    event::Upgrade,
    key::Key,
    lead::Rank,
    shared::{Handle, Operation, Pulled},
    timer::Timer,
};

/// Bytes that may wait to be sent before a write has to wait.
const PENDING_WRITE_BYTES: u64 = 64 << 10;

/// Bytes both ways, in place of HTTP. `poll_flush` resolves when all that was written has been sent.
///
/// Cancel-safe: a read that is given up leaves its bytes to the next, a write takes its bytes when it resolves and not
/// before, and a flush or a shutdown that is given up can be waited for again. Dropping it resets the stream, or the
/// connection on HTTP/1: what was not flushed may be lost, and what comes is not taken.
#[derive(Debug)]
pub struct Upgraded<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> {
    tunnel: Tunnel<IO, T>,
    protocol: Upgrade,
    reader: Operation<IO, T>,
    writer: Operation<IO, T>,
    pulling: bool,
    ended: bool,
    rest: Bytes,
    queued: u64,
    finished: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Upgraded<IO, T> {
    pub(crate) fn new(tunnel: Tunnel<IO, T>, protocol: Upgrade) -> Self {
        Self {
            reader: tunnel.handle.operation(Rank::Half),
            writer: tunnel.handle.operation(Rank::Half),
            tunnel,
            protocol,
            pulling: false,
            ended: false,
            rest: Bytes::new(),
            queued: 0,
            finished: false,
        }
    }

    /// What the stream speaks now: of what the request asked for, the one that was chosen.
    pub fn protocol(&self) -> &Upgrade {
        &self.protocol
    }

    /// Waits until no more than `room` written bytes wait to be sent.
    fn poll_room(&mut self, room: u64, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (key, floor) = (self.tunnel.key, self.queued.saturating_sub(room));
        self.writer.poll(cx, |inner| inner.written(key, floor)).map_err(|error| io_error(&error))
    }
}

/// Resets its stream when it is dropped, though the request, or another output of the stream, is still held.
#[derive(Debug)]
pub(crate) struct Tunnel<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> {
    pub(crate) handle: Arc<Handle<IO, T>>,
    pub(crate) key: Key,
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Drop for Tunnel<IO, T> {
    fn drop(&mut self) {
        let stream = self.key.stream;
        self.handle.shared.command(|inner| inner.engine.reset(stream, ResetReason::Cancel));
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> AsyncRead for Upgraded<IO, T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let key = this.tunnel.key;
        while this.rest.is_empty() && !this.ended {
            if !this.pulling {
                this.tunnel.handle.pull_tunnel(key).map_err(|error| io_error(&error))?;
                this.pulling = true;
            }
            let pulled = ready!(this.reader.poll(cx, |inner| inner.chunk(key)));
            this.pulling = false;
            match pulled.map_err(|error| io_error(&error))? {
                Pulled::Chunk(bytes) => this.rest = bytes,
                Pulled::End(_) => this.ended = true,
            }
        }
        let take = this.rest.len().min(buf.remaining());
        buf.put_slice(&this.rest[..take]);
        this.rest.advance(take);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> AsyncWrite for Upgraded<IO, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(PENDING_WRITE_BYTES, cx))?;
        let (key, chunk) = (self.tunnel.key, Bytes::copy_from_slice(bytes));
        self.tunnel.handle.command(key, |inner| inner.engine.write(key, chunk)).map_err(|error| io_error(&error))?;
        self.queued += bytes.len() as u64;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_room(0, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let key = self.tunnel.key;
        if !self.finished {
            self.finished = true;
            let finished =
                self.tunnel.handle.command(key, |inner| inner.answer(key, false, |engine, _| engine.finish(key, None)));
            finished.map_err(|error| io_error(&error))?;
        }
        let sent = ready!(self.writer.poll(cx, |inner| inner.outcome(key)));
        Poll::Ready(sent.map(drop).map_err(|error| io_error(&error)))
    }
}

fn io_error(error: &Error) -> io::Error {
    let kind = match error.code() {
        Code::PeerReset => io::ErrorKind::ConnectionReset,
        Code::PeerClosed => io::ErrorKind::UnexpectedEof,
        Code::WriteStalled => io::ErrorKind::TimedOut,
        Code::Closed => io::ErrorKind::NotConnected,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.clone())
}
