//! What is known of a transport, whoever reads and writes it.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll},
};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::{CloseCode, CloseReason};

/// A count with one writer at a time: everything that touches it runs inside one turn.
#[derive(Default, Debug)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.get() + more, Relaxed);
    }
}

/// How many bytes have gone through.
#[derive(Default, Debug)]
pub(crate) struct Traffic {
    /// Bytes taken from the transport.
    pub(crate) read: Count,
    /// Bytes the transport took.
    pub(crate) written: Count,
}

/// How the transport failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The peer reset the connection.
    Reset,
    /// The peer is gone (a broken pipe).
    Gone,
    /// Anything else.
    Io,
}

impl Fault {
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Self::Reset,
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected => Self::Gone,
            _ => Self::Io,
        }
    }

    /// Why a connection that failed so has ended.
    pub(crate) fn reason(self) -> CloseReason {
        match self {
            Self::Reset => CloseReason::new(CloseCode::PeerReset, "the peer reset the connection"),
            Self::Gone => CloseReason::new(CloseCode::PeerClosed, "the peer closed the connection"),
            Self::Io => CloseReason::new(CloseCode::Io, "the transport failed"),
        }
    }
}

/// One read into the room that `buffer` has. `Ready(Ok(0))`: the peer has finished sending.
pub(crate) fn poll_read<IO: AsyncRead + Unpin>(
    io: &mut IO,
    buffer: &mut impl BufMut,
    traffic: &Traffic,
    cx: &mut Context<'_>,
) -> Poll<Result<usize, Fault>> {
    match pin!(io.read_buf(buffer)).poll(cx) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Ok(bytes)) => {
            traffic.read.add(bytes as u64);
            Poll::Ready(Ok(bytes))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(Fault::of(&error))),
    }
}
