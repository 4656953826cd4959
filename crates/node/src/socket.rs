//! The transport of one connection: a socket that does not block, and what is known of its readiness.
//!
//! Hot: a read and a write a request. One of the files with `unsafe` code, which here fills memory that
//! is not initialised.

use std::{
    io::{self, IoSlice, Write},
    mem::MaybeUninit,
    net::{Shutdown, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use mio::{event::Source, net::TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(unix)]
use {
    mio::net::UnixStream,
    rustix::net::{RecvFlags, SendFlags, recv, send},
};

use crate::reactor::{Reactor, Readiness};

/// Where readiness is told at its edges (epoll, kqueue), less than was asked for is all there is, which spares the call that says
/// so. On Windows that call has the next event told.
const EDGES: bool = cfg!(unix);

/// A stream socket of either family.
pub enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self {
            Stream::Tcp($stream) => $call,
            #[cfg(unix)]
            Stream::Unix($stream) => $call,
        }
    };
}

impl Stream {
    /// On Unix by rustix: libc's calls are points where a thread may be cancelled, and spend a sixth of the user instructions of
    /// a read on that.
    #[cfg(unix)]
    fn receive(&self, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let (_, count) = each!(self, stream => recv(stream, room, RecvFlags::empty()))?;
        Ok(count)
    }

    #[cfg(unix)]
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(each!(self, stream => send(stream, bytes, SendFlags::NOSIGNAL))?)
    }

    #[cfg(not(unix))]
    fn receive(&self, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        each!(self, stream => stream.try_io(|| socket2::SockRef::from(stream).recv(room)))
    }

    #[cfg(not(unix))]
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        each!(self, stream => stream.write(bytes))
    }

    fn send_all(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(self, stream => stream.write_vectored(slices))
    }

    /// What the system has to say of it that no call has told.
    fn fault(&self) -> io::Result<Option<io::Error>> {
        each!(self, stream => stream.take_error())
    }

    fn source(&mut self) -> &mut dyn Source {
        each!(self, stream => stream)
    }
}

/// Both ends of a connection.
pub enum Ends {
    Tcp {
        remote: SocketAddr,
        local: Option<SocketAddr>,
    },
    #[cfg(unix)]
    Unix {
        remote: String,
        local: String,
    },
}

impl Ends {
    /// `remoteHost\0remotePort\0localHost\0localPort`, or `remotePath\0localPath`.
    pub fn text(&self) -> String {
        match self {
            Self::Tcp { remote, local: Some(local) } => {
                format!("{}\0{}\0{}\0{}", remote.ip(), remote.port(), local.ip(), local.port())
            }
            Self::Tcp { remote, local: None } => format!("{}\0{}\0\x000", remote.ip(), remote.port()),
            #[cfg(unix)]
            Self::Unix { remote, local } => format!("{remote}\0{local}"),
        }
    }
}

/// A stream under the eyes of the reactor.
pub struct Socket {
    stream: Stream,
    readiness: Readiness,
}

impl Socket {
    /// Has `reactor` watch `stream` under the number of its connection.
    pub fn new(mut stream: Stream, reactor: &Reactor, number: u32) -> io::Result<Self> {
        reactor.watch(stream.source(), number)?;
        Ok(Self { stream, readiness: Readiness::default() })
    }

    /// Closes it so that a TCP peer sees that it was not the end of what was sent.
    pub fn reset(self) {
        if let Stream::Tcp(stream) = &self.stream {
            // Else it is closed as usual.
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// What the reactor's events are to be told.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    fn write_with(
        &mut self,
        cx: &Context<'_>,
        length: usize,
        write: impl Fn(&mut Stream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.readiness.poll_write(cx));
        loop {
            match write(&mut self.stream) {
                Ok(wrote) => {
                    if EDGES && wrote < length {
                        self.readiness.filled();
                    }
                    return Poll::Ready(Ok(wrote));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.readiness.wait_to_write(cx);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.readiness.poll_read(cx));
        loop {
            // SAFETY: nothing but bytes is written into it.
            let room = unsafe { buf.unfilled_mut() };
            let size = room.len();
            match this.stream.receive(room) {
                Ok(count) => {
                    // SAFETY: the system has written the first `count` bytes of the room.
                    unsafe { buf.assume_init(count) };
                    buf.advance(count);
                    if count == 0 {
                        // Behind its end a reset is not told by reads.
                        if let Some(error) = this.stream.fault()? {
                            return Poll::Ready(Err(error));
                        }
                        this.readiness.keep(cx);
                    }
                    if EDGES && (1..size).contains(&count) {
                        this.readiness.emptied();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return this.readiness.wait_to_read(cx);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write_with(cx, bytes.len(), |stream| stream.send(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.write_with(cx, length, |stream| stream.send_all(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(each!(&self.stream, stream => stream.shutdown(Shutdown::Write)))
    }
}
