//! Cooperative driving: whoever waits turns the machine that all of them wait for.
//!
//! An operation that is polled and has to wait turns the machine itself, if there is anything to do. What the machine
//! waits for (the transport, the timer) wakes one of the waiting operations, the leader; the others are woken when something
//! comes up that they want. One that comes to where another leads gives way once, so that a turn does what many have told
//! the machine; polled again, it turns by itself. A leader that ends or is dropped hands over. With nobody waiting nothing
//! runs.
//!
//! ```text
//! poll   look --pending--> nothing to do: sit down --> unlock
//!                          another leads, and it is the first time: sit down --> unlock --> wake oneself
//!                          else: turn, look again, sit down or get up --> unlock --> wake who is due
//! drop   get up --> wake the next leader, if the machine has called since its last turn
//! call   of the machine's waker: in a turn, note it; else note it and wake the leader
//! ```
//!
//! Two locks: the machine's, held for a turn, and the table's, held for a few instructions, inside the former or alone.
//! No waker is called under either. `tests/loom.rs` tries every order of these steps.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use crate::sync::{Mutex, MutexGuard, lock};

/// What operations turn together.
pub(crate) trait Machine {
    /// What an operation may wait for.
    type Interest: Copy + Send + Sync + 'static;

    /// Does all the work there is, and has `cx` woken when there is more.
    fn turn(&mut self, cx: &mut Context<'_>);

    /// The last turn has brought up something for who waits for `interest`.
    fn concerns(&self, interest: Self::Interest) -> bool;

    /// There is something to turn for that nothing has called about: a condition has asked for it, or it is overdue.
    fn is_due(&self) -> bool;
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
    seat: Seat,
    interest: I,
    waker: Waker,
}

/// Room for the wakers of a turn that wakes more than one.
const MANY: usize = 16;

/// To be woken once nothing is locked.
#[derive(Default)]
#[must_use]
enum Due {
    #[default]
    Nobody,
    One(Waker),
    Many(Vec<Waker>),
}

impl Due {
    /// Hot: nearly always there is nobody.
    #[inline]
    fn wake(self) {
        if !matches!(self, Self::Nobody) {
            self.wake_them();
        }
    }

    #[cold]
    fn wake_them(self) {
        match self {
            Self::Nobody => {}
            Self::One(waker) => waker.wake(),
            Self::Many(wakers) => wakers.into_iter().for_each(Waker::wake),
        }
    }

    fn push(&mut self, waker: Waker) {
        *self = match mem::take(self) {
            Self::Nobody => Self::One(waker),
            Self::One(first) => {
                let mut wakers = Vec::with_capacity(MANY);
                wakers.extend([first, waker]);
                Self::Many(wakers)
            }
            Self::Many(mut wakers) => {
                wakers.push(waker);
                Self::Many(wakers)
            }
        };
    }
}

struct Seats<I> {
    /// By seat, so that the leader is the first.
    waiting: Vec<Waiter<I>>,
    next: u64,
    /// Who turns the machine now.
    turning: Option<Seat>,
    /// The machine has called since its last turn began.
    called: bool,
}

impl<I> Seats<I> {
    /// Adds the leader; or, if that is half a byte stream, all, since they are all of that rank.
    fn add_leaders(&self, due: &mut Due) {
        let all = self.waiting.first().is_some_and(|first| first.seat.0 == Rank::Half);
        let many = if all { self.waiting.len() } else { 1 };
        self.waiting.iter().take(many).for_each(|waiter| due.push(waiter.waker.clone()));
    }

    /// Another than who is in `seat` leads, and is polled when it is woken.
    fn is_led(&self, seat: Seat) -> bool {
        self.waiting.first().is_some_and(|first| first.seat < seat && first.seat.0 != Rank::Half)
    }

    fn sit(&mut self, seat: Seat, interest: I, waker: &Waker) {
        match self.waiting.binary_search_by_key(&seat, |waiter| waiter.seat) {
            Ok(at) => self.waiting[at].waker.clone_from(waker),
            Err(at) => self.waiting.insert(at, Waiter { seat, interest, waker: waker.clone() }),
        }
    }

    fn rise(&mut self, seat: Seat) {
        if let Ok(at) = self.waiting.binary_search_by_key(&seat, |waiter| waiter.seat) {
            self.waiting.remove(at);
        }
    }
}

/// What an operation does that has to wait.
enum Begun {
    /// It has sat down, and is woken itself if it has only given way.
    Waits(Due),
    /// It turns the machine, then calls `end`. The calls so far are about what it looks at now.
    Turns(Seat),
}

/// Who waits, and for what. As a waker, which is the one that the machine sees, it wakes the leader.
struct Table<I>(Mutex<Seats<I>>);

impl<I: Copy> Table<I> {
    fn new() -> Arc<Self> {
        // The machine has never been turned.
        let seats = Seats { waiting: Vec::new(), next: 0, turning: None, called: true };
        Arc::new(Self(Mutex::new(seats)))
    }

    /// An operation has to wait, in its seat or in a new one.
    fn begin(
        &self,
        seat: &mut Option<Seat>,
        rank: Rank,
        interest: I,
        waker: &Waker,
        is_due: impl FnOnce() -> bool,
    ) -> Begun {
        let mut seats = self.seats();
        let new = seat.is_none();
        let seat = *seat.get_or_insert_with(|| {
            seats.next += 1;
            (rank, seats.next)
        });
        // A turn that has panicked is still on: the next finds out.
        if seats.turning.is_none() && (!seats.called || new && seats.is_led(seat)) && !is_due() {
            seats.sit(seat, interest, waker);
            return Begun::Waits(if seats.called { Due::One(waker.clone()) } else { Due::Nobody });
        }
        seats.turning = Some(seat);
        seats.called = false;
        Begun::Turns(seat)
    }

    /// The turn is over: those are due whom it `concerns`, and the leader, if a call came in it. Who `waits` on sits down,
    /// else it gets up.
    fn end(&self, seat: Seat, waits: Option<(I, &Waker)>, concerns: impl Fn(I) -> bool) -> Due {
        let mut seats = self.seats();
        seats.turning = None;
        let mut due = Due::default();
        let others = seats.waiting.iter().filter(|waiter| waiter.seat != seat && concerns(waiter.interest));
        others.for_each(|waiter| due.push(waiter.waker.clone()));
        match waits {
            Some((interest, waker)) => seats.sit(seat, interest, waker),
            None => seats.rise(seat),
        }
        if seats.called {
            seats.add_leaders(&mut due);
        }
        due
    }

    /// Gets up without a turn. A call that the leader was woken for, and has not turned for, goes to the next; in
    /// another's turn the end of that looks after it.
    fn leave(&self, seat: Seat) -> Due {
        let mut seats = self.seats();
        if seats.turning == Some(seat) {
            // Its turn has panicked: what that left undone is for the next.
            seats.turning = None;
            seats.called = true;
        }
        seats.rise(seat);
        let mut due = Due::default();
        if seats.called && seats.turning.is_none() {
            seats.add_leaders(&mut due);
        }
        due
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
        let mut due = Due::default();
        if seats.turning.is_none() {
            seats.add_leaders(&mut due);
        }
        drop(seats);
        due.wake();
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
        self.wake();
        result
    }

    /// Has the leader turn the machine, after it was told something.
    pub(crate) fn wake(&self) {
        self.table.wake_by_ref();
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
        let due = if result.is_ready() {
            self.seat.take().map_or_else(Due::default, |seat| table.leave(seat))
        } else {
            match table.begin(&mut self.seat, self.rank, self.interest, cx.waker(), || machine.is_due()) {
                Begun::Waits(due) => due,
                Begun::Turns(seat) => {
                    machine.turn(&mut Context::from_waker(waker));
                    result = condition(&mut machine);
                    self.seat = result.is_pending().then_some(seat);
                    let waits = self.seat.map(|_| (self.interest, cx.waker()));
                    table.end(seat, waits, |interest| machine.concerns(interest))
                }
            }
        };
        drop(machine);
        due.wake();
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
            self.shared.table.leave(seat).wake();
        }
    }
}
