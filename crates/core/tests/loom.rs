//! The hand-over of the lead, in every order that threads can bring it into (loom, https://docs.rs/loom).
//!
//! The files under test are the crate's own, compiled here over loom's primitives. In place of the engine there is a
//! machine that is as forgetful as a transport is: it keeps the last waker that it was polled with, and no other.
//! A lost wake-up is a deadlock, which loom reports.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, missing_docs)]

#[path = "../src/lead.rs"]
mod lead;
#[path = "../src/relay.rs"]
mod relay;

/// As src/sync.rs, but loom's.
mod sync {
    pub use loom::sync::{Mutex, MutexGuard, atomic::AtomicU8};

    pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap()
    }
}

use std::{
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use lead::{Machine, Operation, Rank, Shared};
use loom::{future::block_on, thread};
use relay::Relay;
use sync::{Mutex, lock};

/// What comes in, for whom, and the one waker that wants to know.
type Incoming = (Vec<usize>, Option<Waker>);

/// The transport.
struct Pipe(Mutex<Incoming>);

impl Pipe {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((Vec::new(), None))))
    }

    /// The peer sends something for the operation that waits for `whom`.
    fn write(&self, whom: usize) {
        let mut pipe = lock(&self.0);
        pipe.0.push(whom);
        let waker = pipe.1.take();
        drop(pipe);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn read(&self, cx: &mut Context<'_>) -> Vec<usize> {
        let mut pipe = lock(&self.0);
        pipe.1 = Some(cx.waker().clone());
        mem::take(&mut pipe.0)
    }
}

/// Turns as the engine does: under the relay, and without asking the transport again before it has called.
struct Toy {
    pipe: Arc<Pipe>,
    relay: Arc<Relay>,
    waker: Waker,
    dry: bool,
    got: [bool; 3],
    /// Of that, what the last turn brought.
    news: [bool; 3],
    /// Asked for between turns, done in one.
    wanted: [bool; 3],
    /// Some of it was asked for by a condition.
    asked: bool,
}

impl Machine for Toy {
    type Interest = usize;

    fn is_due(&self) -> bool {
        self.asked
    }

    fn concerns(&self, whom: usize) -> bool {
        self.news[whom]
    }

    fn turn(&mut self, cx: &mut Context<'_>) {
        self.asked = false;
        self.news = [false; 3];
        self.relay.owned_by(cx.waker().clone());
        self.dry &= !self.relay.begin();
        let came = if mem::replace(&mut self.dry, true) {
            Vec::new()
        } else {
            self.pipe.read(&mut Context::from_waker(&self.waker))
        };
        let asked = (0..3).filter(|&whom| mem::take(&mut self.wanted[whom]));
        for whom in came.into_iter().chain(asked) {
            self.got[whom] = true;
            self.news[whom] = true;
        }
        self.relay.end();
    }
}

fn shared() -> (Arc<Pipe>, Arc<Shared<Toy>>) {
    let (pipe, relay) = (Pipe::new(), Relay::new());
    let waker = Waker::from(relay.clone());
    (
        pipe.clone(),
        Shared::new(Toy {
            pipe,
            relay,
            waker,
            dry: false,
            got: [false; 3],
            news: [false; 3],
            wanted: [false; 3],
            asked: false,
        }),
    )
}

fn got(whom: usize) -> impl FnMut(&mut Toy) -> Poll<()> {
    move |toy| if toy.got[whom] { Poll::Ready(()) } else { Poll::Pending }
}

/// As `got`, and asks for it.
fn asked(whom: usize) -> impl FnMut(&mut Toy) -> Poll<()> {
    move |toy| {
        if toy.got[whom] {
            return Poll::Ready(());
        }
        toy.wanted[whom] = true;
        toy.asked = true;
        Poll::Pending
    }
}

/// A thread that waits until something has come for `whom`.
fn waits(shared: &Arc<Shared<Toy>>, rank: Rank, whom: usize) -> thread::JoinHandle<()> {
    let operation = Operation::new(shared, rank, whom);
    thread::spawn(move || block_on(operation.until(got(whom))))
}

/// An operation that has been polled once, by somebody who does not heed its waker.
fn forgotten(shared: &Arc<Shared<Toy>>, rank: Rank, whom: usize) -> Operation<Toy> {
    let mut operation = Operation::new(shared, rank, whom);
    let _ = operation.poll(&mut Context::from_waker(Waker::noop()), got(whom));
    operation
}

/// Every order of steps; with a bound, those with so many preemptions, or with `LOOM_MAX_PREEMPTIONS` of them.
fn model(bound: Option<usize>, test: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = bound.and(builder.preemption_bound).or(bound);
    builder.check(test);
}

#[test]
fn each_of_two_that_wait_gets_what_comes_for_it() {
    model(Some(3), || {
        let (pipe, shared) = shared();
        let (first, second) = (waits(&shared, Rank::Future, 0), waits(&shared, Rank::Future, 1));
        pipe.write(0);
        pipe.write(1);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn a_leader_that_is_dropped_hands_over() {
    model(Some(4), || {
        let (pipe, shared) = shared();
        let leader = forgotten(&shared, Rank::Future, 0);
        let follower = waits(&shared, Rank::Future, 1);
        let peer = thread::spawn(move || pipe.write(1));
        drop(leader);
        peer.join().unwrap();
        follower.join().unwrap();
    });
}

#[test]
fn one_that_is_dropped_at_any_time_takes_nothing_along() {
    model(Some(3), || {
        let (pipe, shared) = shared();
        let follower = waits(&shared, Rank::Future, 1);
        let dropped = {
            let shared = shared.clone();
            thread::spawn(move || drop(forgotten(&shared, Rank::Future, 1)))
        };
        pipe.write(1);
        dropped.join().unwrap();
        follower.join().unwrap();
    });
}

#[test]
fn a_driver_leads_though_a_future_that_nobody_polls_has_waited_longer() {
    model(Some(2), || {
        let (pipe, shared) = shared();
        let held = forgotten(&shared, Rank::Future, 0);
        let driver = waits(&shared, Rank::Driver, 2);
        let follower = waits(&shared, Rank::Future, 1);
        pipe.write(1);
        follower.join().unwrap();
        pipe.write(2);
        driver.join().unwrap();
        drop(held);
    });
}

#[test]
fn no_half_of_a_byte_stream_leads_alone() {
    for other in [Rank::Half, Rank::Future] {
        model(None, move || {
            let (pipe, shared) = shared();
            let held = forgotten(&shared, Rank::Half, 0);
            let other = waits(&shared, other, 1);
            pipe.write(1);
            other.join().unwrap();
            drop(held);
        });
    }
}

#[test]
fn a_command_is_carried_out_by_who_waits() {
    model(Some(3), || {
        let (_pipe, shared) = shared();
        let (first, second) = (waits(&shared, Rank::Future, 0), waits(&shared, Rank::Future, 1));
        shared.command(|toy| toy.wanted[1] = true);
        second.join().unwrap();
        shared.command(|toy| toy.wanted[0] = true);
        first.join().unwrap();
    });
}

#[test]
fn what_comes_during_a_command_is_not_lost() {
    model(Some(3), || {
        let (pipe, shared) = shared();
        let waiting = waits(&shared, Rank::Future, 0);
        let peer = thread::spawn(move || pipe.write(0));
        shared.command(|_| {});
        peer.join().unwrap();
        waiting.join().unwrap();
    });
}

#[test]
fn what_operations_ask_for_is_done_whoever_leads() {
    model(Some(3), || {
        let (_pipe, shared) = shared();
        let first = waits(&shared, Rank::Future, 0);
        let second = Operation::new(&shared, Rank::Future, 1);
        block_on(second.until(asked(1)));
        shared.command(|toy| toy.wanted[0] = true);
        first.join().unwrap();
    });
}

#[test]
fn what_was_told_the_machine_is_done_though_the_leader_is_not_polled() {
    model(Some(3), || {
        let (_pipe, shared) = shared();
        let held = forgotten(&shared, Rank::Future, 0);
        shared.command(|toy| toy.wanted[1] = true);
        waits(&shared, Rank::Future, 1).join().unwrap();
        drop(held);
    });
}

#[test]
fn a_leader_that_is_kept_aside_does_not_hold_up_its_own_task() {
    model(Some(3), || {
        let (pipe, shared) = shared();
        let peer = thread::spawn(move || pipe.write(1));
        block_on(async {
            let mut held = Operation::new(&shared, Rank::Future, 0);
            assert!(poll_fn(|cx| Poll::Ready(held.poll(cx, got(0)))).await.is_pending());
            shared.command(|toy| toy.wanted[2] = true);
            Operation::new(&shared, Rank::Future, 1).until(got(1)).await;
            Operation::new(&shared, Rank::Future, 2).until(got(2)).await;
        });
        peer.join().unwrap();
    });
}

#[test]
fn an_operation_that_moves_to_another_task_is_woken_there() {
    model(None, || {
        let (pipe, shared) = shared();
        let moved = forgotten(&shared, Rank::Future, 0);
        let there = thread::spawn(move || block_on(moved.until(got(0))));
        pipe.write(0);
        there.join().unwrap();
    });
}

/// A waker that takes the machine's lock, as one may that polls at once, or drops what it wakes.
struct Locks(Arc<Shared<Toy>>);

impl Wake for Locks {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock());
    }
}

#[test]
fn no_waker_is_called_under_a_lock() {
    model(Some(3), || {
        let (pipe, shared) = shared();
        let locks = Waker::from(Arc::new(Locks(shared.clone())));
        let mut leader = Operation::new(&shared, Rank::Future, 0);
        let _ = leader.poll(&mut Context::from_waker(&locks), got(0));
        let follower = waits(&shared, Rank::Future, 1);
        pipe.write(0);
        pipe.write(1);
        drop(leader);
        follower.join().unwrap();
    });
}
