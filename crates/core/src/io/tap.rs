//! The tap: stands between the transport and the codec (above TLS) and sees what the codec does not tell.
//!
//! Hot: touched several times a request. No lock on h1, one uncontended lock a write and a flush on h2.

use std::{
    io::{self, IoSlice},
    mem::{self, MaybeUninit},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{cursor, frames::FrameScan, lines};
use crate::error::{CloseCode, CloseReason};

/// Bytes that the tap reads ahead of the codec while it watches for the peer's leaving.
const WATCH_BYTES: usize = 16 << 10;

/// A count with one writer at a time: everything that touches it runs inside one turn.
#[derive(Default, Debug)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn add(&self, more: u64) {
        self.set(self.get() + more);
    }
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

/// What the tap and its engine tell each other while the codec owns the tap.
#[derive(Default, Debug)]
pub(crate) struct TapState {
    /// Bytes taken from the transport.
    pub(crate) read: Count,
    /// Bytes the transport took.
    pub(crate) written: Count,
    /// h1: requests that the engine took from the codec.
    pub(crate) requests: Count,
    /// h1: response bodies that the codec has let go of.
    pub(crate) ended: Count,
    /// h1: `ended`, as it was at the last complete flush.
    pub(crate) flushed: Count,
    /// h1: bytes of streamed response bodies that the codec took.
    pub(crate) taken: Count,
    /// h1: `taken`, as it was at the last complete flush.
    pub(crate) taken_flushed: Count,
    /// h1: the number, from 1, of a head with a bare LF; 0 when there was none.
    bare_head: Count,
    /// The codec gets no more bytes for now.
    hold: AtomicBool,
    /// Read ahead of the codec, a little, to see the peer leave.
    watch: AtomicBool,
    eof: AtomicBool,
    fault: AtomicU8,
    interim_waiting: AtomicBool,
    interim: Mutex<Vec<u8>>,
    frames: Mutex<FrameScan>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TapState {
    pub(crate) fn set_hold(&self, hold: bool) {
        self.hold.store(hold, Relaxed);
    }

    /// Bytes are held back from the codec.
    pub(crate) fn holds(&self) -> bool {
        self.hold.load(Relaxed)
    }

    /// h1: the head of this number, from 1, had a line that ended in a bare LF.
    pub(crate) fn is_bare(&self, head: u64) -> bool {
        self.bare_head.get() == head
    }

    pub(crate) fn set_watch(&self, watch: bool) {
        self.watch.store(watch, Relaxed);
    }

    /// The peer has shut down its sending side.
    pub(crate) fn eof(&self) -> bool {
        self.eof.load(Relaxed)
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

    /// Remembers a failure of the transport, which the codec words in its own way.
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.set_fault(error);
        }
        result
    }

    fn set_fault(&self, error: &io::Error) {
        let number = match Fault::of(error) {
            Fault::Reset => 1,
            Fault::Gone => 2,
            Fault::Io => 3,
        };
        self.fault.store(number, Relaxed);
    }

    /// h1: bytes to go out before the codec's next byte (1xx answers).
    pub(crate) fn interim(&self, bytes: &[u8]) {
        lock(&self.interim).extend_from_slice(bytes);
        self.interim_waiting.store(true, Relaxed);
    }

    pub(crate) fn frames(&self) -> MutexGuard<'_, FrameScan> {
        lock(&self.frames)
    }
}

/// What the codec writes through the tap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaks {
    /// HTTP/1.1: the end of the connection is the engine's to arrange, so the codec's shutdown stops here.
    Http1,
    /// HTTP/2: frames are followed, shutdown goes through.
    Http2,
}

/// The transport with a prefix of bytes read early, and with counters.
#[derive(Debug)]
pub(crate) struct Tap<IO> {
    io: IO,
    early: BytesMut,
    speaks: Speaks,
    /// Of the last read that began where a head is expected: the head's number, and the read's last byte.
    head_read: (u64, u8),
    state: Arc<TapState>,
}

impl<IO> Tap<IO> {
    pub(crate) fn new(io: IO, early: BytesMut, speaks: Speaks, state: Arc<TapState>) -> Self {
        Self { io, early, speaks, head_read: (0, 0), state }
    }

    /// The transport, and the bytes that were read and never given to the codec.
    pub(crate) fn into_parts(self) -> (IO, BytesMut) {
        (self.io, self.early)
    }
}

impl<IO: AsyncRead + Unpin> Tap<IO> {
    /// Reads a little ahead so that the peer's leaving is seen though the codec does not read.
    fn watch(&mut self, cx: &mut Context<'_>) {
        while self.early.len() < WATCH_BYTES && !self.state.eof() && self.state.fault().is_none() {
            let mut space = [MaybeUninit::uninit(); 4096];
            let mut buf = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Pending => return,
                Poll::Ready(Err(error)) => self.state.set_fault(&error),
                Poll::Ready(Ok(())) => {
                    self.took(buf.filled().len());
                    self.early.extend_from_slice(buf.filled());
                }
            }
        }
    }

    /// Bytes on their way to the codec: a head with a bare LF is noted.
    fn look(&mut self, bytes: &[u8]) {
        let answered = self.state.flushed.get();
        // While a request is in hand these are a body's bytes.
        if self.speaks == Speaks::Http2 || answered < self.state.requests.get() {
            return;
        }
        let Some(&last) = bytes.last() else { return };
        let (number, previous) = mem::replace(&mut self.head_read, (answered + 1, last));
        let mid_head = number == answered + 1;
        if lines::has_bare_lf(previous, bytes)
            && let Some(nth) = lines::bare_head(previous, bytes, mid_head)
        {
            self.state.bare_head.set(answered + nth);
        }
    }

    fn took(&self, bytes: usize) {
        if bytes == 0 {
            self.state.eof.store(true, Relaxed);
        } else {
            self.state.read.add(bytes as u64);
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Tap<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.state.holds() {
            // No waker is needed: whoever lifts the hold turns the engine.
            return Poll::Pending;
        }
        if !this.early.is_empty() {
            let take = this.early.len().min(buf.remaining());
            let early = this.early.split_to(take);
            this.look(&early);
            buf.put_slice(&early);
            return Poll::Ready(Ok(()));
        }
        if this.state.eof() {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match ready!(Pin::new(&mut this.io).poll_read(cx, buf)) {
            Ok(()) => {
                this.took(buf.filled().len() - before);
                this.look(&buf.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                this.state.set_fault(&error);
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> Tap<IO> {
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.interim_waiting.load(Relaxed) { self.write_interim(cx) } else { Poll::Ready(Ok(())) }
    }

    #[cold]
    fn write_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut interim = lock(&self.state.interim);
        while !interim.is_empty() {
            let wrote = ready!(Pin::new(&mut self.io).poll_write(cx, &interim));
            let wrote = self.state.note(wrote)?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.state.written.add(wrote as u64);
            interim.drain(..wrote);
        }
        self.state.interim_waiting.store(false, Relaxed);
        Poll::Ready(Ok(()))
    }

    fn wrote(&self, bufs: &[IoSlice<'_>], mut wrote: usize) {
        self.state.written.add(wrote as u64);
        if self.speaks == Speaks::Http1 {
            return;
        }
        let mut frames = self.state.frames();
        for buf in bufs {
            let take = wrote.min(buf.len());
            frames.written(&buf[..take]);
            wrote -= take;
            if wrote == 0 {
                break;
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tap<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_interim(cx))?;
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
        ready!(this.poll_interim(cx))?;
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
        if this.state.watch.load(Relaxed) {
            this.watch(cx);
        }
        ready!(this.poll_interim(cx))?;
        let (ended, taken) = (this.state.ended.get(), this.state.taken.get());
        let flushed = ready!(Pin::new(&mut this.io).poll_flush(cx));
        this.state.note(flushed)?;
        this.state.flushed.set(ended);
        this.state.taken_flushed.set(taken);
        if this.speaks == Speaks::Http2 {
            this.state.frames().flush();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.speaks {
            Speaks::Http1 => Poll::Ready(Ok(())),
            Speaks::Http2 => Pin::new(&mut self.io).poll_shutdown(cx),
        }
    }
}

impl<IO: AsyncRead + Unpin> hyper::rt::Read for Tap<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        cursor::poll_read(self, cx, cursor)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> hyper::rt::Write for Tap<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(self, cx)
    }

    fn is_write_vectored(&self) -> bool {
        AsyncWrite::is_write_vectored(self)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write_vectored(self, cx, bufs)
    }
}
