//! Models of what passes between the threads: loom runs each in every order of events that the memory model allows.
//!
//!     cargo test -p hyperpull-node --features loom models
//!
//! The protocols are the real ones. Only the two ends are put in here: a channel for the doorbell, and
//! loom's executor for the reactor of an I/O thread. Whoever sleeps and is not woken is a deadlock, which loom tells.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::Ordering::{AcqRel, Relaxed},
    },
    task::{Poll, Waker},
};

use bytes::Bytes;
use hyperpull::{Key, config::Config};
use loom::{
    future::block_on,
    sync::{
        atomic::{AtomicBool, AtomicU32, AtomicUsize},
        mpsc,
    },
    thread,
};

use crate::{
    batch::{CAPACITY_MIN, Clock, Outbox},
    connection::WakeUp,
    gate::Gate,
    kinds::EVENT_WORDS,
    loan::Loan,
    mailbox::{Inbox, Outlet, Work},
    options::Settings,
    shared::Shared,
    stats::{STATS_WORDS, Stats},
    submit::Submission,
    take::Staging,
};

const KEY: Key = Key { connection: 1, stream: 1, sequence: 0 };

/// The round of an I/O thread that waits for work.
fn wait(inbox: &Inbox) -> Work {
    block_on(poll_fn(|cx| if inbox.sleep(cx.waker()) { Poll::Pending } else { Poll::Ready(()) }));
    let mut work = Work::default();
    inbox.take(&mut work);
    work
}

/// The I/O loop's end of what goes up: publishes one event, and rings.
struct Up {
    outbox: Outbox,
    outlet: Arc<Outlet>,
    doorbell: mpsc::Sender<()>,
}

impl Up {
    fn event(&mut self) {
        self.outbox.upgraded(KEY, "");
        if self.outlet.publish(&mut self.outbox.batch, &Stats::default()) {
            assert!(self.doorbell.send(()).is_ok());
        }
        self.outbox.published();
    }
}

/// JavaScript's end of it.
struct Down {
    staging: Staging,
    outlet: Arc<Outlet>,
    rings: mpsc::Receiver<()>,
}

impl Down {
    /// Waits for a ring, and takes until it may rest: how many events there were.
    fn answer(&mut self) -> usize {
        assert!(self.rings.recv().is_ok());
        // Not on the stack, which is small in a model.
        let (mut events, mut bytes) = (vec![0; 4 * EVENT_WORDS], vec![0; CAPACITY_MIN]);
        let mut told = 0;
        while {
            told += self.staging.take(&self.outlet, &mut events, &mut bytes, &mut [0.0; STATS_WORDS]);
            self.staging.has_more() || !self.outlet.rest()
        } {}
        told
    }
}

fn crossing() -> (Up, Down) {
    let outlet = Arc::new(Outlet::default());
    let (doorbell, rings) = mpsc::channel();
    let outbox = Outbox::new(Clock::starting(0.0), CAPACITY_MIN);
    (Up { outbox, outlet: outlet.clone(), doorbell }, Down { staging: Staging::default(), outlet, rings })
}

fn command() -> Submission {
    Submission { words: vec![0; 8], bytes: Bytes::new(), blobs: Vec::new(), quiet_since: None }
}

#[test]
fn every_event_is_taken_after_a_ring() {
    loom::model(|| {
        let (mut up, mut down) = crossing();
        let io_thread = thread::spawn(move || {
            up.event();
            up.event();
            up.event();
        });
        let mut taken = 0;
        while taken < 3 {
            taken += down.answer();
        }
        assert!(io_thread.join().is_ok());
    });
}

#[test]
fn a_sleeping_io_thread_hears_everybody() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::default());
        let (javascript, connection) = (inbox.clone(), inbox.clone());
        let submits = thread::spawn(move || javascript.submit(command()));
        let wakes = thread::spawn(move || connection.ready(3));
        let (mut submissions, mut ready) = (0, 0);
        while submissions + ready < 2 {
            let work = wait(&inbox);
            submissions += work.submissions.len();
            ready += work.ready.len();
        }
        assert_eq!((submissions, ready), (1, 1));
        assert!(submits.join().is_ok() && wakes.join().is_ok());
    });
}

#[test]
fn a_stop_is_heard_between_other_work() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::default());
        let javascript = inbox.clone();
        let stops = thread::spawn(move || {
            javascript.submit(command());
            javascript.stop();
        });
        while !wait(&inbox).stop {}
        assert!(stops.join().is_ok());
    });
}

#[test]
fn questions_and_answers_cross() {
    loom::model(|| {
        let (mut up, mut down) = crossing();
        let inbox = Arc::new(Inbox::default());
        let javascript = inbox.clone();
        let io_thread = thread::spawn(move || {
            for _ in 0..2 {
                up.event();
                let mut commands = 0;
                while commands == 0 {
                    commands = wait(&inbox).submissions.len();
                }
                assert_eq!(commands, 1);
            }
        });
        for _ in 0..2 {
            let mut taken = 0;
            while taken == 0 {
                taken = down.answer();
            }
            assert_eq!(taken, 1);
            javascript.submit(command());
        }
        assert!(io_thread.join().is_ok());
    });
}

/// A listener's state with two I/O threads.
fn shared() -> Arc<Shared> {
    Arc::new(Shared::new(Settings {
        io_threads: 2,
        connections: 1,
        requests_in_flight: 1,
        read_ahead_connections: 1,
        read_ahead_requests: true,
        config: Config::default(),
    }))
}

#[test]
fn a_woken_connection_is_turned_and_sees_why() {
    loom::model(|| {
        let shared = shared();
        let wake = WakeUp::new(7, 0, &shared);
        let waker = Waker::from(wake.clone());
        let reason = Arc::new(AtomicU32::new(0));
        let other = reason.clone();
        let wakes = thread::spawn(move || {
            for more in 1..=2 {
                other.store(more, Relaxed);
                waker.wake_by_ref();
            }
        });
        while reason.load(Relaxed) < 2 {
            // Nothing is looked at but after a wake-up, as in a turn.
            assert_eq!(wait(&shared.inboxes[0]).ready, [7], "once on the list, however often it was woken");
            wake.delist();
        }
        assert!(wakes.join().is_ok());
    });
}

/// Takes a place, or sleeps until one is free.
fn enter(gate: &Gate, inbox: &Inbox) {
    while !gate.enter(inbox) {
        assert!(wait(inbox).gates);
    }
}

#[test]
fn a_place_that_becomes_free_is_taken_by_who_waits_for_it() {
    loom::model(|| {
        let (shared, inside) = (shared(), Arc::new(AtomicUsize::new(0)));
        let come_and_go = |thread: usize| {
            let (shared, inside) = (shared.clone(), inside.clone());
            move || {
                enter(&shared.connections, &shared.inboxes[thread]);
                assert_eq!(inside.fetch_add(1, AcqRel), 0, "one place, one inside");
                inside.fetch_sub(1, AcqRel);
                shared.connection_left();
            }
        };
        let other = thread::spawn(come_and_go(1));
        come_and_go(0)();
        assert!(other.join().is_ok());
    });
}

#[test]
fn nothing_is_used_after_it_was_taken_away() {
    loom::model(|| {
        let (loan, alive) = (Arc::new(Loan::default()), Arc::new(AtomicBool::new(true)));
        loan.give(alive.clone());
        let lent = loan.clone();
        let rings = thread::spawn(move || {
            lent.with(|alive: &Arc<AtomicBool>| assert!(alive.load(Relaxed)));
        });
        if let Some(alive) = loan.take() {
            alive.store(false, Relaxed);
        }
        assert!(rings.join().is_ok());
        assert!(loan.take().is_none());
    });
}
