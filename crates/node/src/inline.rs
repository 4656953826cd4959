//! An I/O loop on the JavaScript thread: `ioThreads: 0`.
//!
//! The event loop that runs JavaScript watches the reactor's descriptor. When it is readable the loop makes a round, and rings
//! for JavaScript by a call. What JavaScript hands over is done in the same call, which says whether something has come of it.

use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use hyperpull::error::{Code, Error};
use napi::{Env, bindgen_prelude::Function};

use crate::{
    bind::Listening,
    callback::Callback,
    error,
    io_loop::{self, IoLoop, Start},
    libuv::{Found, Watch},
    mailbox::Outlet,
};

/// One I/O loop, turned by the event loop.
pub struct Inline {
    /// None once it has ended.
    io_loop: RefCell<Option<IoLoop>>,
    outlet: Arc<Outlet>,
    ring: Callback,
    watch: OnceCell<Watch>,
    /// What the watch's timer is set for.
    timer: Cell<Option<Instant>>,
}

impl Inline {
    /// A loop that listens, and calls `ring` when there is something to take. Keeps the event loop alive.
    pub fn start(
        env: &Env,
        start: Start,
        listening: Listening,
        ring: &Function<'_, (), ()>,
    ) -> Result<Rc<Self>, Error> {
        let failed = |cause: io::Error| match cause.kind() {
            io::ErrorKind::Unsupported => {
                Error::new(Code::InvalidOption, format!("ioThreads must be 1 or more: {cause}"))
            }
            _ => error::io("cannot serve on this thread", &cause),
        };
        let outlet = start.outlet.clone();
        let ring = Callback::new(env, ring).map_err(|error| failed(io::Error::other(error.reason.clone())))?;
        let io_loop = IoLoop::new(start, listening).map_err(failed)?;
        let descriptor = io_loop.descriptor();
        let inline = Rc::new(Self {
            io_loop: RefCell::new(Some(io_loop)),
            outlet,
            ring,
            watch: OnceCell::new(),
            timer: Cell::default(),
        });
        let woken = inline.clone();
        let watch = Watch::new(env, descriptor, Rc::new(move |found| woken.woken(found))).map_err(failed)?;
        watch.set_timer(Some(Duration::ZERO));
        // It is the first.
        let _ = inline.watch.set(watch);
        Ok(inline)
    }

    /// The event loop has found something.
    fn woken(&self, found: Found) {
        if found == Found::Time {
            self.timer.set(None);
        }
        if self.turn(|io_loop| io_loop.look(Some(Duration::ZERO))) {
            self.ring.call();
        }
    }

    /// Something has been put into the inbox. True: something has come of it, which is to be taken.
    pub fn submitted(&self) -> bool {
        self.turn(|_| Ok(()))
    }

    /// One round. True: JavaScript is to be rung for.
    fn turn(&self, before: impl FnOnce(&mut IoLoop) -> io::Result<()>) -> bool {
        let mut slot = self.io_loop.borrow_mut();
        let Some(io_loop) = slot.as_mut() else { return false };
        let round = catch_unwind(AssertUnwindSafe(|| before(io_loop).map(|()| io_loop.round())));
        let round = match round {
            Ok(Ok(round)) => round,
            _ => io_loop::failed(&self.outlet),
        };
        if round.over {
            end(slot.take());
        } else {
            self.follow(io_loop);
        }
        round.ring
    }

    /// Has the event loop come back in time.
    fn follow(&self, io_loop: &IoLoop) {
        let due = io_loop.due();
        if due != self.timer.replace(due)
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
        end(self.io_loop.take());
        self.ring.close();
        if let Some(watch) = self.watch.get() {
            watch.close();
        }
    }
}

/// Drops a loop. What a fault has left behind in it may well panic once more.
fn end(io_loop: Option<IoLoop>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(io_loop)));
}
