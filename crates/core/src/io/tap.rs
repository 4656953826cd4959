//! The tap: stands between the transport (above TLS, if there is TLS) and h2, and sees what h2 does not tell.
//!
//! Hot: touched several times a request. One uncontended lock a read, a write and a flush.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    inbound::InboundScan,
    outbound::OutboundScan,
    transport::{Fault, Traffic},
};
use crate::sync::{Mutex, MutexGuard, lock};

/// What the tap and its engine tell each other while h2 owns the tap.
#[derive(Default, Debug)]
pub(crate) struct TapState {
    pub(crate) traffic: Arc<Traffic>,
    fault: AtomicU8,
    /// The transport has nothing to read, and calls when it has.
    dry: AtomicBool,
    inbound: Mutex<InboundScan>,
    outbound: Mutex<OutboundScan>,
}

impl TapState {
    pub(crate) fn new(traffic: Arc<Traffic>) -> Arc<Self> {
        Arc::new(Self { traffic, ..Self::default() })
    }

    /// The transport's failure, once there is one.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match self.fault.load(Relaxed) {
            1 => Some(Fault::Reset),
            2 => Some(Fault::Gone),
            3 => Some(Fault::Io),
            _ => None,
        }
    }

    /// Remembers a failure of the transport, which h2 words in its own way.
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let number = match Fault::of(error) {
                Fault::Reset => 1,
                Fault::Gone => 2,
                Fault::Io => 3,
            };
            self.fault.store(number, Relaxed);
        }
        result
    }

    /// h2 is about to be driven: the transport is asked anew. h2 reads once for each stream that it gives out, and the
    /// answer stays the same until the transport has called.
    pub(crate) fn refill(&self) {
        self.dry.store(false, Relaxed);
    }

    pub(crate) fn inbound(&self) -> MutexGuard<'_, InboundScan> {
        lock(&self.inbound)
    }

    pub(crate) fn outbound(&self) -> MutexGuard<'_, OutboundScan> {
        lock(&self.outbound)
    }
}

/// The transport with a prefix of bytes read early, and with eyes on the frames both ways.
#[derive(Debug)]
pub(crate) struct Tap<IO> {
    io: IO,
    early: BytesMut,
    state: Arc<TapState>,
}

impl<IO> Tap<IO> {
    pub(crate) fn new(io: IO, early: BytesMut, state: Arc<TapState>) -> Self {
        Self { io, early, state }
    }

    fn wrote(&self, bufs: &[IoSlice<'_>], mut wrote: usize) {
        self.state.traffic.written.add(wrote as u64);
        let mut outbound = self.state.outbound();
        for buf in bufs {
            let take = wrote.min(buf.len());
            outbound.written(&buf[..take]);
            wrote -= take;
            if wrote == 0 {
                break;
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Tap<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.early.is_empty() {
            let take = this.early.len().min(buf.remaining());
            this.state.inbound().read(&this.early[..take]);
            buf.put_slice(&this.early[..take]);
            this.early.advance(take);
            return Poll::Ready(Ok(()));
        }
        if this.state.dry.load(Relaxed) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let Poll::Ready(result) = Pin::new(&mut this.io).poll_read(cx, buf) else {
            this.state.dry.store(true, Relaxed);
            return Poll::Pending;
        };
        this.state.note(result)?;
        let read = &buf.filled()[before..];
        this.state.inbound().read(read);
        this.state.traffic.read.add(read.len() as u64);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tap<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let wrote = ready!(Pin::new(&mut this.io).poll_write(cx, bytes));
        let wrote = this.state.note(wrote)?;
        this.wrote(&[IoSlice::new(bytes)], wrote);
        Poll::Ready(Ok(wrote))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let wrote = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs));
        let wrote = this.state.note(wrote)?;
        this.wrote(bufs, wrote);
        Poll::Ready(Ok(wrote))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = ready!(Pin::new(&mut this.io).poll_flush(cx));
        this.state.note(flushed)?;
        this.state.outbound().flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
