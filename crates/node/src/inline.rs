//! An I/O loop on the JavaScript thread: `ioThreads: 0`.
//!
//! The event loop that runs JavaScript watches the reactor's descriptor. When it is readable the loop makes a round, and what has come of it is
//! told by a call. What JavaScript hands over is done before the call that hands it over returns.

use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use hyperpull::error::Error;
use napi::Env;

use crate::{
    bind::Listening,
    error,
    io_loop::{self, IoLoop, Start},
    libuv::Found,
    mailbox::Outlet,
    watch::Watch,
};

/// One I/O loop, turned by the event loop.
pub struct Inline {
    /// None once it has been stopped.
    io_loop: RefCell<Option<IoLoop>>,
    /// It has made its last round. Its descriptor is open still: another loop's must not be the same while the event loop watches it.
    over: Cell<bool>,
    outlet: Arc<Outlet>,
    /// Is called after each round that the event loop has asked for.
    answer: Box<dyn Fn()>,
    watch: OnceCell<Watch>,
    /// What the watch's timer is set for.
    timer: Cell<Option<Instant>>,
}

impl Inline {
    /// A loop that listens, and calls `answer` when the event loop has had it make a round. Keeps the event loop alive.
    pub fn start(env: &Env, start: Start, listening: Listening, answer: Box<dyn Fn()>) -> Result<Rc<Self>, Error> {
        let failed = |cause: io::Error| error::io("cannot serve on this thread", &cause);
        let outlet = start.outlet.clone();
        let io_loop = IoLoop::new(start, listening).map_err(failed)?;
        let descriptor = io_loop.descriptor();
        let inline = Rc::new(Self {
            io_loop: RefCell::new(Some(io_loop)),
            over: Cell::new(false),
            outlet,
            answer,
            watch: OnceCell::new(),
            timer: Cell::default(),
        });
        let woken = inline.clone();
        let watch = Watch::new(env, descriptor, Rc::new(move |found| woken.woken(found))).map_err(failed)?;
        watch.call_soon();
        // It is the first.
        let _ = inline.watch.set(watch);
        Ok(inline)
    }

    /// The event loop has found something.
    fn woken(&self, found: Found) {
        if found == Found::Time {
            self.timer.set(None);
        }
        self.turn(|io_loop| io_loop.look(Some(Duration::ZERO)));
        (self.answer)();
    }

    /// Something has been put into the inbox.
    pub fn submitted(&self) {
        self.turn(|_| Ok(()));
    }

    /// Has the event loop call `answer` when it comes round.
    pub fn call_soon(&self) {
        if let Some(watch) = self.watch.get() {
            watch.call_soon();
        }
    }

    /// One round.
    fn turn(&self, before: impl FnOnce(&mut IoLoop) -> io::Result<()>) {
        let mut slot = self.io_loop.borrow_mut();
        let (Some(io_loop), false) = (slot.as_mut(), self.over.get()) else { return };
        let round = catch_unwind(AssertUnwindSafe(|| before(io_loop).map(|()| io_loop.round())));
        let round = match round {
            Ok(Ok(round)) => round,
            _ => io_loop::failed(&self.outlet),
        };
        self.over.set(round.over);
        if !round.over {
            self.follow(io_loop);
        }
    }

    /// Has the event loop come back in time.
    fn follow(&self, io_loop: &IoLoop) {
        let due = io_loop.due();
        if due.is_some_and(|due| due <= io_loop.now) {
            // Not by a timer: one that is set for now whenever it fires is all that the event loop comes to.
            self.call_soon();
        } else if due != self.timer.replace(due)
            && let Some(watch) = self.watch.get()
        {
            watch.set_timer(due.map(|due| due.saturating_duration_since(Instant::now())));
        }
    }

    /// Whether the event loop stays alive for it.
    pub fn keep_alive(&self, keep: bool) {
        if let Some(watch) = self.watch.get() {
            watch.keep_alive(keep);
        }
    }

    /// Ends the loop at once: its sockets are closed, and nothing is called any more. Idempotent.
    pub fn stop(&self) {
        if let Some(watch) = self.watch.get() {
            watch.close();
        }
        let io_loop = self.io_loop.take();
        // What a fault has left behind in it may well panic once more.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(io_loop)));
    }
}
