//! An I/O thread: one I/O loop, and nothing besides.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use hyperpull::error::Error;

use crate::{
    bind::Listening,
    doorbell::Ringer,
    error,
    io_loop::{self, IoLoop, Start},
    loan::Loan,
};

/// Starts a thread and waits until it listens.
pub fn spawn(start: Start, listening: Listening, ringer: Arc<Loan<Ringer>>) -> Result<JoinHandle<()>, Error> {
    let failed = |cause: &io::Error| error::io("cannot start an I/O thread", cause);
    let (started, outcome) = mpsc::channel();
    let thread = thread::Builder::new()
        .name(format!("hyperpull-io-{}", start.index))
        .spawn(move || {
            let (outlet, bell) = (start.outlet.clone(), ringer.clone());
            // A send fails only when nobody waits any more.
            let io_loop = match IoLoop::new(start, listening) {
                Ok(io_loop) => io_loop,
                Err(cause) => return drop(started.send(Err(cause))),
            };
            let _ = started.send(Ok(()));
            // The loop is dropped in there, too.
            let ran = catch_unwind(AssertUnwindSafe(move || run(io_loop, &bell)));
            if !matches!(ran, Ok(Ok(()))) && io_loop::failed(&outlet).ring {
                ringer.with(Ringer::ring);
            }
        })
        .map_err(|cause| failed(&cause))?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(cause)) => Err(failed(&cause)),
        Err(_) => Err(failed(&io::Error::other("it ended at once"))),
    }
}

fn run(mut io_loop: IoLoop, ringer: &Loan<Ringer>) -> io::Result<()> {
    loop {
        let round = io_loop.round();
        if round.ring {
            ringer.with(Ringer::ring);
        }
        if round.over {
            return Ok(());
        }
        io_loop.wait()?;
    }
}
