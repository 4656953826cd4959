//! One connection on its I/O loop.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::AcqRel},
    task::{Wake, Waker},
};

use hyperpull::{engine::Engine, event::Protocol};

use crate::{
    reactor::Readiness,
    shared::Shared,
    socket::{Ends, Socket},
    stats::{Counter, Stats},
    sync::AtomicBool,
    timers::Timer,
};

/// Detecting -> Held (no credit for it) -> Known; Detecting -> Known when there is credit.
#[derive(Clone, Copy)]
pub enum Phase {
    /// No protocol is known yet.
    Detecting,
    /// It waits for JavaScript to want a connection.
    Held(Protocol),
    /// JavaScript has been told.
    Known,
}

/// One connection.
pub struct Connection {
    pub engine: Engine<Socket>,
    pub wake: Arc<WakeUp>,
    /// Made of `wake` once, so that who keeps it sees that it is the same.
    pub waker: Waker,
    /// Of its socket.
    pub readiness: Readiness,
    pub timer: Timer,
    pub phase: Phase,
    /// Until JavaScript is told of them.
    pub ends: Option<Box<Ends>>,
    /// Requests granted to the engine and not yet come up.
    pub credits: u32,
    /// Requests that JavaScript was told of and that are not over. Each has a place at `limits.requestsInFlight`, until it is a tunnel.
    pub in_flight: u64,
    /// Streams that have left HTTP, and are not over.
    tunnels: BTreeSet<u32>,
    counted: (u64, u64),
    place: Place,
}

/// A place at `limits.connections`, given back when it is dropped.
pub struct Place(Arc<Shared>);

impl Place {
    /// The place that has just been taken at the gate.
    pub fn taken(shared: &Arc<Shared>) -> Self {
        Self(shared.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connection_left();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // After a fault: the engine fails what is in flight before it closes.
        self.place.0.requests_left(self.in_flight.saturating_sub(self.tunnels.len() as u64));
    }
}

impl Connection {
    /// A connection that has just been accepted on I/O loop `io_loop`.
    pub fn new(
        number: u32,
        io_loop: usize,
        engine: Engine<Socket>,
        readiness: Readiness,
        ends: Ends,
        place: Place,
    ) -> Self {
        let wake = WakeUp::new(number, io_loop, &place.0);
        Self {
            engine,
            readiness,
            waker: Waker::from(wake.clone()),
            wake,
            timer: Timer::default(),
            phase: Phase::Detecting,
            ends: Some(Box::new(ends)),
            credits: 0,
            in_flight: 0,
            tunnels: BTreeSet::new(),
            counted: (0, 0),
            place,
        }
    }

    /// Lets the engine bring up `more` requests. True: it has to be turned for that.
    pub fn grant(&mut self, more: u32) -> bool {
        let had_none = self.credits == 0;
        self.credits = self.credits.saturating_add(more);
        self.engine.pull_requests(more);
        had_none && more > 0
    }

    /// The request of `stream` has its answer, though it is not over: it gives its place back.
    pub fn upgraded(&mut self, stream: u32) {
        self.tunnels.insert(stream);
        self.place.0.requests_left(1);
    }

    /// The request of `stream`, which has a place unless it is a tunnel, is over.
    pub fn request_over(&mut self, stream: u32) {
        self.in_flight -= 1;
        if self.tunnels.is_empty() || !self.tunnels.remove(&stream) {
            self.place.0.requests_left(1);
        }
    }

    /// Adds what has been read and written since the last call.
    pub fn count_bytes(&mut self, stats: &mut Stats) {
        let now = (self.engine.bytes_read(), self.engine.bytes_written());
        if now != self.counted {
            stats.add(Counter::BytesRead, now.0.wrapping_sub(self.counted.0));
            stats.add(Counter::BytesWritten, now.1.wrapping_sub(self.counted.1));
            self.counted = now;
        }
    }
}

/// Puts a number on its loop's ready list, once until the loop has looked.
pub struct WakeUp {
    number: u32,
    io_loop: usize,
    listed: AtomicBool,
    shared: Arc<Shared>,
}

impl WakeUp {
    /// For a connection.
    pub fn new(number: u32, io_loop: usize, shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { number, io_loop, listed: AtomicBool::new(false), shared: shared.clone() })
    }

    /// True: it was not on the list, and the caller is to put it there.
    pub fn enlist(&self) -> bool {
        !self.listed.swap(true, AcqRel)
    }

    /// Before the turn: what happens from here on asks for another turn.
    pub fn delist(&self) {
        self.listed.swap(false, AcqRel);
    }
}

impl Wake for WakeUp {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let (true, Some(inbox)) = (self.enlist(), self.shared.inboxes.get(self.io_loop)) {
            inbox.ready(self.number);
        }
    }
}
