//! Accepting: one handle of the listening socket on one I/O thread.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    time::{Sleep, sleep},
};

#[cfg(unix)]
use {crate::bind::SocketFile, std::sync::Arc, tokio::net::UnixListener};

use crate::{
    bind::Listening,
    socket::{Ends, Socket},
};

/// After an error that is not the connection's own (no more files, no more memory): so long nothing is accepted.
const BACK_OFF: Duration = Duration::from_millis(100);
/// So long a thread that has more connections than another leaves new ones to that.
const YIELD: Duration = Duration::from_millis(1);

enum Source {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(Arc<SocketFile>, UnixListener),
}

/// The accepting half of one I/O thread.
pub struct Acceptor {
    source: Source,
    back_off: Option<Pin<Box<Sleep>>>,
    /// The others have been let go first, and the next connection is for this thread if it is still there.
    yielded: bool,
}

impl Acceptor {
    /// Has to be called inside the thread's runtime.
    pub fn new(listening: Listening) -> io::Result<Self> {
        let source = match listening {
            Listening::Tcp(listener) => Source::Tcp(TcpListener::from_std(listener)?),
            #[cfg(unix)]
            Listening::Unix(file, listener) => Source::Unix(file, UnixListener::from_std(listener)?),
        };
        Ok(Self { source, back_off: None, yielded: false })
    }

    /// Leaves the next connection to the other threads for a moment. Once: if none of them takes it, this one does.
    pub fn yield_to_others(&mut self) {
        if !self.yielded && self.back_off.is_none() {
            self.yielded = true;
            self.back_off = Some(Box::pin(sleep(YIELD)));
        }
    }

    /// Something is wrong: nothing is accepted for a while.
    pub fn back_off(&mut self) {
        self.back_off = Some(Box::pin(sleep(BACK_OFF)));
    }

    /// The next connection. Errors are waited out: the waker is woken when it is worth another try.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(Socket, Ends)> {
        loop {
            if let Some(sleep) = &mut self.back_off {
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.back_off = None;
            }
            match self.source.poll_accept(cx) {
                Poll::Ready(Ok(accepted)) => {
                    self.yielded = false;
                    return Poll::Ready(accepted);
                }
                Poll::Ready(Err(error)) if is_of_the_peer(&error) => {}
                Poll::Ready(Err(_)) => self.back_off(),
                Poll::Pending => {
                    self.yielded = false;
                    return Poll::Pending;
                }
            }
        }
    }
}

/// The connection was gone before it was accepted: the next one may be well.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

impl Source {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, Ends)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, remote)| {
                // A socket that refuses it is broken, which the first read tells.
                let _ = stream.set_nodelay(true);
                let local = stream.local_addr().ok();
                (Socket::Tcp(stream), Ends::Tcp { remote, local })
            }),
            #[cfg(unix)]
            Self::Unix(file, listener) => listener.poll_accept(cx).map_ok(|(stream, remote)| {
                let remote = remote.as_pathname().map(|path| path.display().to_string()).unwrap_or_default();
                (Socket::Unix(stream), Ends::Unix { remote, local: file.path() })
            }),
        }
    }
}
