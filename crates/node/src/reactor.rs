//! What the sockets of one I/O loop have become ready for.
//!
//! Hot: one system call a round; per event one wake-up.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use mio::{
    Events, Interest, Token,
    event::{Event, Source},
};

/// Events that are asked for at once.
const EVENTS: usize = 1024;
/// The number of the acceptor; connections have those below.
pub const ACCEPT: u32 = u32::MAX;
/// The number under which another thread wakes the loop.
const WAKE: u32 = u32::MAX - 1;

/// The operating system's side of one I/O loop.
pub struct Reactor {
    poll: mio::Poll,
    events: Events,
}

/// Ends the reactor's sleep, from any thread.
struct Alarm(mio::Waker);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        // Fails only when the reactor is gone, and nobody sleeps.
        let _ = self.0.wake();
    }
}

impl Reactor {
    /// A reactor that waits for nothing yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self { poll: mio::Poll::new()?, events: Events::with_capacity(EVENTS) })
    }

    /// Wakes it while it sleeps.
    pub fn waker(&self) -> io::Result<Waker> {
        Ok(Waker::from(Arc::new(Alarm(mio::Waker::new(self.poll.registry(), token(WAKE))?))))
    }

    /// Is readable when there are events. Only to be waited for.
    #[cfg(unix)]
    pub fn descriptor(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.poll)
    }

    /// Tells of `source` under `number`, each time that it becomes ready again.
    pub fn watch(&self, source: &mut (impl Source + ?Sized), number: u32) -> io::Result<()> {
        let interest = if number == ACCEPT { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        self.poll.registry().register(source, token(number), interest)
    }

    /// Tells of `source` no more. For one whose descriptor has a copy elsewhere: others are forgotten when they are closed.
    pub fn forget(&self, source: &mut (impl Source + ?Sized)) {
        // Fails only for what is not watched.
        let _ = self.poll.registry().deregister(source);
    }

    /// Sleeps until there are events or the alarm, at most for `timeout`.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            waited => waited,
        }
    }

    /// The events of the last wait: whose, and what.
    pub fn events(&self) -> impl Iterator<Item = (u32, &Event)> {
        self.events.iter().map(|event| (event.token().0 as u32, event)).filter(|&(number, _)| number != WAKE)
    }
}

const fn token(number: u32) -> Token {
    Token(number as usize)
}

const READ: u8 = 1;
const WRITE: u8 = 2;
/// A look for bytes, or for room, has been in vain.
const READ_WANTED: u8 = 4;
const WRITE_WANTED: u8 = 8;
/// The peer sends no more: there is no further event for it.
const READ_CLOSED: u8 = 16;

/// What a socket is ready for, as far as is known: shared by the socket, which finds out that it is not, and the loop,
/// which is told that it is again.
#[derive(Clone)]
pub struct Readiness(Rc<State>);

struct State {
    flags: Cell<u8>,
    /// Who waits. One for both directions: the engine has but one.
    waker: RefCell<Option<Waker>>,
}

impl Default for Readiness {
    /// A new socket has room, and often bytes: a look in vain costs less than waiting to be told.
    fn default() -> Self {
        Self(Rc::new(State { flags: Cell::new(READ | WRITE), waker: RefCell::default() }))
    }
}

impl Readiness {
    /// An event has come: who waits for it is woken.
    pub fn note(&self, event: &Event) {
        let mut flags = self.0.flags.get();
        let over = event.is_error();
        if event.is_readable() || event.is_read_closed() || over {
            flags |= READ;
        }
        if event.is_writable() || event.is_write_closed() || over {
            flags |= WRITE;
        }
        if event.is_read_closed() || over {
            flags |= READ_CLOSED;
        }
        let met = flags & (flags << 2) & (READ_WANTED | WRITE_WANTED);
        self.0.flags.set(flags & !met);
        // Who has read the end of what the peer sends waits for nothing, but is to see a reset behind it.
        if let (true, Some(waker)) = (met != 0 || over, &*self.0.waker.borrow()) {
            waker.wake_by_ref();
        }
    }

    /// Ready when it is worth a try to read.
    pub fn poll_read(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.flags.get() & READ != 0 { Poll::Ready(()) } else { self.wait(READ, READ_WANTED, cx) }
    }

    /// Ready when it is worth a try to write.
    pub fn poll_write(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.flags.get() & WRITE != 0 { Poll::Ready(()) } else { self.wait(WRITE, WRITE_WANTED, cx) }
    }

    /// A read would have blocked.
    pub fn wait_to_read<T>(&self, cx: &Context<'_>) -> Poll<T> {
        self.wait(READ, READ_WANTED, cx)
    }

    /// A write would have blocked.
    pub fn wait_to_write<T>(&self, cx: &Context<'_>) -> Poll<T> {
        self.wait(WRITE, WRITE_WANTED, cx)
    }

    fn wait<T>(&self, ready: u8, wanted: u8, cx: &Context<'_>) -> Poll<T> {
        let flags = &self.0.flags;
        flags.set(flags.get() & !ready | wanted);
        self.keep(cx);
        Poll::Pending
    }

    /// Whom to wake: by what is waited for, or by a fault of the transport.
    pub fn keep(&self, cx: &Context<'_>) {
        match &mut *self.0.waker.borrow_mut() {
            Some(kept) if kept.will_wake(cx.waker()) => {}
            kept => *kept = Some(cx.waker().clone()),
        }
    }

    /// A read has left room: there is no more for now.
    pub fn emptied(&self) {
        let flags = &self.0.flags;
        if flags.get() & READ_CLOSED == 0 {
            flags.set(flags.get() & !READ);
        }
    }

    /// A write has left bytes: there is no more room for now.
    pub fn filled(&self) {
        let flags = &self.0.flags;
        flags.set(flags.get() & !WRITE);
    }
}
