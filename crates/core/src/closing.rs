//! The end of a connection: FIN, and the time that the peer is given to read what was sent before it.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::CloseReason;

/// How long a closing connection waits for the peer to stop sending (nginx: `lingering_timeout` 5 s).
const LINGER: Duration = Duration::from_secs(5);
/// Read and dropped at a time while lingering.
const LINGER_BYTES: usize = 16 << 10;

/// The transport on its way out.
pub(crate) struct Closing<IO> {
    io: IO,
    reason: CloseReason,
    linger: bool,
    shut: bool,
    until: Instant,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Closing<IO> {
    /// `linger`: until the peer has stopped sending.
    pub(crate) fn new(io: IO, reason: CloseReason, linger: bool, now: Instant) -> Self {
        Self { io, reason, linger, shut: false, until: now + LINGER }
    }

    /// When it is over at the latest.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    pub(crate) fn into_reason(self) -> CloseReason {
        self.reason
    }

    /// FIN, then read and drop until the peer's FIN: closing with unread bytes would reset the connection, and the
    /// reset may overtake the answer (RFC 9112 section 9.6).
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if now >= self.until {
            return Poll::Ready(());
        }
        if !self.shut {
            match Pin::new(&mut self.io).poll_shutdown(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => self.shut = true,
            }
        }
        if !self.linger {
            return Poll::Ready(());
        }
        let mut space = [mem::MaybeUninit::uninit(); LINGER_BYTES];
        // A fast sender must not keep the thread: after this much, others come first.
        for _ in 0..64 {
            let mut buf = tokio::io::ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
