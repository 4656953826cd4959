//! Accepting: one handle of the listening socket on one I/O loop.

use std::{
    io,
    time::{Duration, Instant},
};

use mio::{event::Source, net::TcpListener};

#[cfg(unix)]
use {crate::bind::SocketFile, mio::net::UnixListener, std::sync::Arc};

use crate::{
    bind::Listening,
    reactor::{ACCEPT, Reactor},
    socket::{Ends, Stream},
};

/// After an error that is not the connection's own (no more files, no more memory): so long nothing is accepted.
const BACK_OFF: Duration = Duration::from_millis(100);
/// So long a loop that has more connections than another leaves new ones to that.
const YIELD: Duration = Duration::from_millis(1);

enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(Arc<SocketFile>, UnixListener),
}

/// The accepting half of one I/O loop.
pub struct Acceptor {
    listener: Listener,
    /// The listener has not said yet that there is nobody.
    ready: bool,
    /// Nothing is accepted before. Only while it is ready: who is waited for is there.
    retry_at: Option<Instant>,
    /// The others have been let go first, and the next connection is for this loop if it is still there.
    yielded: bool,
}

impl Acceptor {
    /// Has `reactor` watch the listener.
    pub fn new(listening: Listening, reactor: &Reactor) -> io::Result<Self> {
        let mut listener = match listening {
            Listening::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)),
            #[cfg(unix)]
            Listening::Unix(file, listener) => Listener::Unix(file, UnixListener::from_std(listener)),
        };
        reactor.watch(listener.source(), ACCEPT)?;
        Ok(Self { listener, ready: true, retry_at: None, yielded: false })
    }

    /// Closes its handle of the listener.
    pub fn close(mut self, reactor: &Reactor) {
        reactor.forget(self.listener.source());
    }

    /// Somebody has come.
    pub fn note(&mut self) {
        self.ready = true;
    }

    /// Leaves the next connection to the other loops for a moment. Once: if none of them takes it, this one does.
    pub fn yield_to_others(&mut self, now: Instant) {
        if !self.yielded && self.retry_at.is_none() {
            self.yielded = true;
            self.retry_at = Some(now + YIELD);
        }
    }

    /// Something is wrong: nothing is accepted for a while.
    pub fn back_off(&mut self, now: Instant) {
        self.retry_at = Some(now + BACK_OFF);
    }

    /// When to try again though nobody has come.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Somebody may have come, and it is the time to look.
    pub fn is_ready(&self, now: Instant) -> bool {
        self.ready && self.retry_at.is_none_or(|at| at <= now)
    }

    /// The next connection. None: nobody has come, or it is not the time.
    pub fn accept(&mut self, now: Instant) -> Option<(Stream, Ends)> {
        if !self.is_ready(now) {
            return None;
        }
        self.retry_at = None;
        while self.ready {
            match self.listener.accept() {
                Ok(accepted) => {
                    self.yielded = false;
                    return Some(accepted);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = false;
                    self.yielded = false;
                }
                Err(error) if is_of_the_peer(&error) => {}
                Err(_) => {
                    self.back_off(now);
                    return None;
                }
            }
        }
        None
    }
}

/// The connection was gone before it was accepted: the next one may be well.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

impl Listener {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener) => listener,
            #[cfg(unix)]
            Self::Unix(_, listener) => listener,
        }
    }

    fn accept(&self) -> io::Result<(Stream, Ends)> {
        match self {
            Self::Tcp(listener) => listener.accept().map(|(stream, remote)| {
                // A socket that refuses it is broken, which the first read tells.
                let _ = stream.set_nodelay(true);
                let local = stream.local_addr().ok();
                (Stream::Tcp(stream), Ends::Tcp { remote, local })
            }),
            #[cfg(unix)]
            Self::Unix(file, listener) => listener.accept().map(|(stream, remote)| {
                let remote = remote.as_pathname().map(|path| path.display().to_string()).unwrap_or_default();
                (Stream::Unix(stream), Ends::Unix { remote, local: file.path() })
            }),
        }
    }
}
