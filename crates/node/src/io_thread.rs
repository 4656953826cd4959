//! One I/O thread: a runtime with one task, which turns all of the thread's connections itself.
//!
//! A connection is not a task of its own: its waker puts its number on the inbox's ready list. So a round of the loop
//! has every ready connection in hand, applies the commands before it turns them, and publishes one batch after it.
//!
//! Hot: per request one turn and three events; per round one lock for the work, one to look for more, one to publish.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
    time::Instant,
};

use hyperpull::{
    Key,
    engine::Engine,
    error::{CloseReason, Error},
    event::{Protocol, RequestBody, RequestHead},
};
use tokio::runtime::{Builder, LocalOptions};

use crate::{
    acceptor::Acceptor,
    apply::PreparedHeads,
    batch::{Clock, Outbox},
    bind::Listening,
    connection::{Connection, Phase, Place, WakeUp},
    doorbell::Doorbell,
    error, fault,
    gate::Gate,
    mailbox::{ACCEPT, Outlet, Work},
    shared::Shared,
    socket::{Ends, Socket},
    stats::{Counter, Stats},
    table::Table,
};

/// Connections accepted in one round at most, so that those that are open are not kept waiting.
const ACCEPTS_A_ROUND: usize = 64;

/// What a thread is started with.
pub struct Start {
    pub index: usize,
    pub shared: Arc<Shared>,
    pub outlet: Arc<Outlet>,
    pub doorbell: Arc<Doorbell>,
    pub clock: Clock,
    /// Bytes of the shared memory for events.
    pub capacity: usize,
}

/// Starts a thread and waits until it listens.
pub fn spawn(start: Start, listening: Listening) -> Result<JoinHandle<()>, Error> {
    let failed = |cause: &io::Error| error::io("cannot start an I/O thread", cause);
    let (started, outcome) = mpsc::channel();
    let thread = thread::Builder::new()
        .name(format!("hyperpull-io-{}", start.index))
        .spawn(move || {
            let (outlet, doorbell) = (start.outlet.clone(), start.doorbell.clone());
            let ran = catch_unwind(AssertUnwindSafe(|| main(start, listening, &started)));
            if ran.is_err() {
                // A fault outside of everything that is caught. All that can still be done is to say so.
                let mut outbox = Outbox::new(Clock::starting(0.0), 0);
                outbox.stopped();
                if outlet.publish_last(&mut outbox.batch) {
                    doorbell.ring();
                }
            }
        })
        .map_err(|cause| failed(&cause))?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(cause)) => Err(failed(&cause)),
        Err(_) => Err(failed(&io::Error::other("it ended at once"))),
    }
}

fn main(start: Start, listening: Listening, started: &mpsc::Sender<io::Result<()>>) {
    // A send fails only when nobody waits any more.
    let runtime = match Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(cause) => return drop(started.send(Err(cause))),
    };
    let acceptor = {
        let _inside = runtime.enter();
        Acceptor::new(listening)
    };
    let acceptor = match acceptor {
        Ok(acceptor) => acceptor,
        Err(cause) => return drop(started.send(Err(cause))),
    };
    let _ = started.send(Ok(()));
    let io_thread = IoThread::new(start, acceptor);
    // As a task, for the waker of `block_on` itself is a system call. Unconstrained, for its budget would be spent
    // by a handful of connections; the rounds are its yield points.
    let task = runtime.spawn_local(tokio::task::unconstrained(io_thread.run()));
    if let Err(failure) = runtime.block_on(task)
        && failure.is_panic()
    {
        std::panic::resume_unwind(failure.into_panic());
    }
}

/// A request that is over `limits.requestsInFlight`, or that cannot be delivered at all.
pub struct HeldRequest {
    pub key: Key,
    /// None: its stream has been reset, and JavaScript never hears of it.
    pub request: Option<(Box<RequestHead>, RequestBody)>,
}

/// The state of one I/O thread.
pub struct IoThread {
    pub index: usize,
    pub shared: Arc<Shared>,
    outlet: Arc<Outlet>,
    doorbell: Arc<Doorbell>,
    pub table: Table,
    /// Connections in the table that are live.
    open: u64,
    pub outbox: Outbox,
    pub stats: Stats,
    /// Something has been counted that no event tells of.
    pub stats_changed: bool,
    /// Numbers to be turned in this round.
    pub ready: Vec<u32>,
    /// The instant of this round.
    pub now: Instant,
    /// None once the thread takes nothing new.
    pub acceptor: Option<Acceptor>,
    /// There may be something to accept.
    pub may_accept: bool,
    accept_wake: Arc<WakeUp>,
    accept_waker: Waker,
    /// Connections that JavaScript wants.
    pub connection_credits: u64,
    /// Connections that JavaScript does not want yet.
    pub held_connections: VecDeque<u32>,
    pub held_requests: VecDeque<HeldRequest>,
    /// Prepared heads by number.
    pub prepared: PreparedHeads,
}

impl IoThread {
    fn new(start: Start, acceptor: Acceptor) -> Self {
        let accept_wake = WakeUp::new(ACCEPT, start.index, &start.shared);
        Self {
            index: start.index,
            connection_credits: start.shared.read_ahead_connections,
            shared: start.shared,
            outlet: start.outlet,
            doorbell: start.doorbell,
            table: Table::default(),
            open: 0,
            outbox: Outbox::new(start.clock, start.capacity),
            stats: Stats::default(),
            stats_changed: false,
            ready: Vec::new(),
            now: Instant::now(),
            acceptor: Some(acceptor),
            may_accept: true,
            accept_waker: Waker::from(accept_wake.clone()),
            accept_wake,
            held_connections: VecDeque::new(),
            held_requests: VecDeque::new(),
            prepared: Vec::new(),
        }
    }

    /// Rounds until the thread is told to stop, or has nothing left.
    async fn run(mut self) {
        let shared = self.shared.clone();
        let Some(inbox) = shared.inboxes.get(self.index) else { return };
        let mut work = Work::default();
        loop {
            self.now = Instant::now();
            self.round(&mut work);
            fault::point("thread");
            let over = self.acceptor.is_none() && self.table.is_empty();
            if over {
                self.outbox.stopped();
            }
            self.publish();
            if over {
                return;
            }
            if inbox.has_work() {
                // Not at once: the sockets and timers of the others get a look first.
                tokio::task::yield_now().await;
            }
            poll_fn(|cx| inbox.poll_work(&mut work, cx)).await;
            if work.stop {
                return;
            }
        }
    }

    fn round(&mut self, work: &mut Work) {
        for submission in work.submissions.drain(..) {
            self.apply(submission);
        }
        if std::mem::take(&mut work.gates) {
            self.may_accept = true;
        }
        self.ready.append(&mut work.ready);
        let mut ready = std::mem::take(&mut self.ready);
        for number in ready.drain(..) {
            if number == ACCEPT {
                self.accept_wake.delist();
                self.may_accept = true;
            } else {
                self.turn(number);
            }
        }
        self.ready = ready;
        self.deliver_held_requests();
        if self.may_accept {
            self.accept();
        }
    }

    /// Hands over what this round has brought up.
    fn publish(&mut self) {
        let changed = std::mem::take(&mut self.stats_changed);
        if !changed && self.outbox.batch.is_empty() {
            return;
        }
        if self.outlet.publish(&mut self.outbox.batch, &self.stats) {
            self.doorbell.ring();
        }
        self.outbox.published();
    }

    /// Has the connection turned in this round, or in the next if the turns of this one have begun.
    pub fn touch(&mut self, number: u32) {
        if let Some(connection) = self.table.get(number)
            && connection.wake.enlist()
        {
            self.ready.push(number);
        }
    }

    /// JavaScript wants a connection, and there is a place for one.
    fn wants_connection(&self) -> bool {
        self.acceptor.is_some()
            && self.connection_credits > 0
            && self.held_connections.is_empty()
            && self.enter(&self.shared.connections)
    }

    /// Accepts what is there. A panic in there costs one connection at most, and is waited out like any other failure.
    fn accept(&mut self) {
        self.may_accept = false;
        if catch_unwind(AssertUnwindSafe(|| self.accept_while_wanted())).is_err() {
            if let Some(acceptor) = &mut self.acceptor {
                acceptor.back_off();
            }
            self.accept_waker.wake_by_ref();
        }
    }

    /// Accepts while JavaScript wants connections and may have them.
    fn accept_while_wanted(&mut self) {
        for _ in 0..ACCEPTS_A_ROUND {
            if !self.wants_connection() {
                return self.shared.set_load(self.index, None);
            }
            let place = Place::taken(&self.shared);
            fault::point("accept");
            let Some(acceptor) = &mut self.acceptor else { return };
            self.shared.set_load(self.index, Some(self.open));
            if self.shared.is_ahead(self.open) {
                acceptor.yield_to_others();
            }
            match acceptor.poll_accept(&mut Context::from_waker(&self.accept_waker)) {
                Poll::Pending => return,
                Poll::Ready((socket, ends)) => self.accepted(socket, ends, place),
            }
        }
        // There may be more: in the next round.
        self.accept_waker.wake_by_ref();
    }

    /// A new connection.
    fn accepted(&mut self, socket: Socket, ends: Ends, place: Place) {
        let number = self.table.next();
        let engine = Engine::new(number, socket, self.shared.config.clone(), self.now);
        self.table.enter(Box::new(Connection::new(number, self.index, engine, ends, place)));
        self.open += 1;
        self.stats.add(Counter::ConnectionsOpen, 1);
        self.stats.add(Counter::ConnectionsTotal, 1);
        self.stats_changed = true;
        self.turn(number);
    }

    /// Takes a place at a gate; if there is none, the thread is woken when one becomes free.
    pub fn enter(&self, gate: &Gate) -> bool {
        self.shared.inboxes.get(self.index).is_some_and(|inbox| gate.enter(inbox))
    }

    /// Takes nothing new any more. The socket is closed with the last handle on it.
    pub fn stop_accepting(&mut self) {
        self.acceptor = None;
        self.shared.set_load(self.index, None);
        self.held_connections.clear();
    }

    /// JavaScript wants `more` connections.
    pub fn want_connections(&mut self, more: u32) {
        self.connection_credits = self.connection_credits.saturating_add(u64::from(more));
        while self.connection_credits > 0 {
            let Some(number) = self.held_connections.pop_front() else { break };
            self.with_connection(number, |thread, connection| {
                if let Phase::Held(protocol) = connection.phase {
                    thread.introduce(number, connection, protocol);
                }
                None
            });
            self.touch(number);
        }
        self.may_accept = true;
    }

    /// Tells JavaScript of a connection, and lets it bring up its first requests.
    pub fn introduce(&mut self, number: u32, connection: &mut Connection, protocol: Protocol) {
        self.connection_credits = self.connection_credits.saturating_sub(1);
        self.outbox.connection(number, protocol, &connection.ends.text());
        connection.phase = Phase::Known;
        connection.grant(self.shared.grant);
    }

    /// Ends a connection, which is in no slot now.
    pub fn close(&mut self, number: u32, mut connection: Box<Connection>, reason: &CloseReason) {
        connection.count_bytes(&mut self.stats);
        self.open -= 1;
        self.stats.subtract(Counter::ConnectionsOpen, 1);
        self.stats_changed = true;
        if connection.in_flight > 0 {
            // Only after a fault, as in its drop.
            self.stats.subtract(Counter::RequestsInFlight, connection.in_flight);
            self.stats.add(Counter::ResponsesFailed, connection.in_flight);
        }
        self.held_requests.retain(|held| held.key.connection != number);
        match connection.phase {
            Phase::Known => {
                self.outbox.closed(number, reason);
                self.table.close(number, true);
            }
            Phase::Detecting | Phase::Held(_) => {
                self.held_connections.retain(|&held| held != number);
                self.table.close(number, false);
            }
        }
        // The socket is closed here. What a fault has left behind may well panic once more.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _connection = connection;
            fault::point("drop");
        }));
        self.may_accept = true;
    }
}
