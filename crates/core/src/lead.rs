//! Cooperative driving: whoever waits turns the machine that all of them wait for.
//!
//! An operation that is polled and has to wait turns the machine itself. What the machine waits for (the transport, the
//! timer) wakes one of the waiting operations, the leader; the others are woken when something comes up that they want.
//! A leader that ends or is dropped hands over. With nobody waiting nothing runs.
//!
//! ```text
//! poll   look --pending--> sit down, turn, look again --ready--> get up --> unlock --> wake who is due
//! drop   get up --> wake the next leader, if the machine has called since its last turn
//! call   of the machine's waker: in a turn, note it; else note it and wake the leader
//! ```
//!
//! Two locks: the machine's, held for a turn, and the table's, held for a few instructions, inside the former or alone.
//! No waker is called under either. `tests/loom.rs` tries every order of these steps.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use crate::sync::{Mutex, MutexGuard, lock};

/// What operations turn together.
pub(crate) trait Machine {
    /// What an operation may wait for.
    type Interest: Copy + Send + Sync + 'static;

    /// Does all the work there is, calls those who want what came up, and has `cx` woken when there is more.
    fn turn(&mut self, cx: &mut Context<'_>, table: &Table<Self::Interest>);
}

/// Who leads before whom; among equals, who has waited longest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Rank {
    /// It is there to lead, so that the others need not be polled.
    Driver,
    /// A future: polled again when it is woken, or dropped.
    Future,
    /// A half of a byte stream: whoever polled it may have lost interest without a word. So none of these leads alone:
    /// where nothing else waits, all of them are woken.
    Half,
}

/// A rank, and a number that counts up.
type Seat = (Rank, u64);

struct Waiter<I> {
    interest: I,
    waker: Waker,
}

struct Seats<I> {
    waiting: BTreeMap<Seat, Waiter<I>>,
    next: u64,
    /// Who turns the machine now.
    turning: Option<Seat>,
    /// The machine has called since its last turn began.
    called: bool,
    /// To be woken when the turn is over and the machine unlocked.
    due: Vec<Waker>,
}

impl<I> Seats<I> {
    /// The first; or, if that is half a byte stream, all, since they are all of that rank.
    fn leaders(&self) -> Vec<Waker> {
        let all = self.waiting.first_key_value().is_some_and(|((rank, _), _)| *rank == Rank::Half);
        let many = if all { self.waiting.len() } else { 1 };
        self.waiting.values().take(many).map(|waiter| waiter.waker.clone()).collect()
    }
}

/// Who waits, and for what. As a waker, which is the one that the machine sees, it wakes the leader.
pub(crate) struct Table<I>(Mutex<Seats<I>>);

impl<I: Copy> Table<I> {
    fn new() -> Arc<Self> {
        let seats = Seats { waiting: BTreeMap::new(), next: 0, turning: None, called: false, due: Vec::new() };
        Arc::new(Self(Mutex::new(seats)))
    }

    /// Something has come up: all who wait for what `wants` it are due. Who turns the machine looks by itself.
    pub(crate) fn call(&self, wants: impl Fn(I) -> bool) {
        let mut seats = self.seats();
        let Seats { waiting, turning, due, .. } = &mut *seats;
        let others = waiting.iter().filter(|(seat, waiter)| Some(**seat) != *turning && wants(waiter.interest));
        due.extend(others.map(|(_, waiter)| waiter.waker.clone()));
    }

    /// Sits down, if it has no seat yet, to turn the machine. The calls so far are about what it looks at now.
    fn begin(&self, seat: &mut Option<Seat>, rank: Rank, interest: I, waker: &Waker) {
        let mut seats = self.seats();
        let seat = *seat.get_or_insert_with(|| {
            seats.next += 1;
            (rank, seats.next)
        });
        match seats.waiting.get_mut(&seat) {
            Some(waiter) => waiter.waker.clone_from(waker),
            None => drop(seats.waiting.insert(seat, Waiter { interest, waker: waker.clone() })),
        }
        seats.turning = Some(seat);
        seats.called = false;
    }

    /// The turn is over; a call that came in it goes to the leader. `up` gets up from the seat first.
    fn end(&self, up: Option<Seat>) -> Vec<Waker> {
        let mut seats = self.seats();
        seats.turning = None;
        if let Some(seat) = up {
            seats.waiting.remove(&seat);
        }
        let mut due = mem::take(&mut seats.due);
        if seats.called {
            due.append(&mut seats.leaders());
        }
        due
    }

    /// Gets up without a turn. A call that the leader was woken for, and has not turned for, goes to the next; in
    /// another's turn the end of that looks after it.
    fn leave(&self, seat: Seat) -> Vec<Waker> {
        let mut seats = self.seats();
        if seats.turning == Some(seat) {
            // Its turn has panicked: what that left undone is for the next.
            seats.turning = None;
            seats.called = true;
        }
        seats.waiting.remove(&seat);
        if seats.called && seats.turning.is_none() { seats.leaders() } else { Vec::new() }
    }

    fn seats(&self) -> MutexGuard<'_, Seats<I>> {
        lock(&self.0)
    }
}

impl<I: Copy + Send + Sync> Wake for Table<I> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut seats = self.seats();
        seats.called = true;
        let leaders = if seats.turning.is_none() { seats.leaders() } else { Vec::new() };
        drop(seats);
        leaders.into_iter().for_each(Waker::wake);
    }
}

/// A machine, and those who wait for it.
pub(crate) struct Shared<M: Machine> {
    machine: Mutex<M>,
    table: Arc<Table<M::Interest>>,
    waker: Waker,
}

impl<M: Machine> Shared<M> {
    pub(crate) fn new(machine: M) -> Arc<Self> {
        let table = Table::new();
        Arc::new(Self { machine: Mutex::new(machine), waker: Waker::from(table.clone()), table })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, M> {
        lock(&self.machine)
    }

    /// Does something to the machine, and has the leader turn it.
    pub(crate) fn command<R>(&self, command: impl FnOnce(&mut M) -> R) -> R {
        let result = command(&mut self.lock());
        self.waker.wake_by_ref();
        result
    }
}

impl<M: Machine> fmt::Debug for Shared<M> {
    /// Without the lock: a handle may be printed while the machine turns.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// One waiting operation. Dropping it gives up its seat, and nothing else.
pub(crate) struct Operation<M: Machine> {
    shared: Arc<Shared<M>>,
    rank: Rank,
    interest: M::Interest,
    seat: Option<Seat>,
}

impl<M: Machine> fmt::Debug for Operation<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").finish_non_exhaustive()
    }
}

impl<M: Machine> Operation<M> {
    pub(crate) fn new(shared: &Arc<Shared<M>>, rank: Rank, interest: M::Interest) -> Self {
        Self { shared: shared.clone(), rank, interest, seat: None }
    }

    /// Polls `condition`, turning the machine in between.
    pub(crate) fn poll<R>(&mut self, cx: &mut Context<'_>, mut condition: impl FnMut(&mut M) -> Poll<R>) -> Poll<R> {
        let Shared { table, waker, .. } = &*self.shared;
        let mut machine = self.shared.lock();
        let mut result = condition(&mut machine);
        let due = if result.is_pending() {
            table.begin(&mut self.seat, self.rank, self.interest, cx.waker());
            machine.turn(&mut Context::from_waker(waker), table);
            result = condition(&mut machine);
            table.end(if result.is_ready() { self.seat.take() } else { None })
        } else {
            self.seat.take().map_or_else(Vec::new, |seat| table.leave(seat))
        };
        drop(machine);
        due.into_iter().for_each(Waker::wake);
        result
    }

    /// Waits for `condition`.
    pub(crate) async fn until<R>(mut self, mut condition: impl FnMut(&mut M) -> Poll<R>) -> R {
        std::future::poll_fn(|cx| self.poll(cx, &mut condition)).await
    }
}

impl<M: Machine> Drop for Operation<M> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat {
            self.shared.table.leave(seat).into_iter().for_each(Waker::wake);
        }
    }
}
