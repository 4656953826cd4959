//! One I/O loop: it turns all of its connections itself, on an I/O thread or on the JavaScript thread.
//!
//! A connection is not a task: what its socket has waited for, its timer, or its waker puts its number on the ready list. So a
//! round has every ready connection in hand, applies the commands before it turns them, and publishes one batch after it.
//!
//! Hot: per request one turn and three events; per round one wait, one lock for the work, one to publish.

use std::{
    collections::VecDeque,
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use hyperpull::{
    engine::{Engine, Events},
    error::CloseReason,
    event::{Protocol, RequestBody, RequestHead},
};

use crate::{
    acceptor::Acceptor,
    batch::{Clock, Outbox},
    bind::Listening,
    connection::{Connection, Phase, Place},
    fault,
    gate::Gate,
    heads::Heads,
    held::HeldRequests,
    mailbox::{Inbox, Outlet, Work},
    reactor::{ACCEPT, Reactor},
    shared::Shared,
    socket::{Ends, Socket},
    stats::{Counter, Stats},
    table::Table,
    timers::{Timer, Timers},
};

/// Connections accepted in one round at most, so that those that are open are not kept waiting.
const ACCEPTS_A_ROUND: usize = 64;

/// What a loop is started with.
pub struct Start {
    pub index: usize,
    pub shared: Arc<Shared>,
    pub outlet: Arc<Outlet>,
    pub clock: Clock,
    /// Bytes of the shared memory for events.
    pub capacity: usize,
}

/// What a round has come to.
pub struct Round {
    /// JavaScript is to be rung for.
    pub ring: bool,
    /// It was the last.
    pub over: bool,
}

/// The loop has ended by a fault outside of everything that is caught, and all that can still be done is to say so.
pub fn failed(outlet: &Outlet) -> Round {
    let mut outbox = Outbox::new(Clock::starting(0.0), 0);
    outbox.stopped();
    Round { ring: outlet.publish_last(&mut outbox.batch), over: true }
}

/// The state of one I/O loop.
pub struct IoLoop {
    pub index: usize,
    pub shared: Arc<Shared>,
    outlet: Arc<Outlet>,
    reactor: Reactor,
    waker: Waker,
    pub timers: Timers,
    work: Work,
    pub table: Table,
    /// Connections in the table that are live.
    open: u64,
    pub outbox: Outbox,
    /// Where the events of a turn wait: empty between turns.
    pub events: Option<Box<Events>>,
    pub stats: Stats,
    /// Something has been counted that no event tells of.
    pub stats_changed: bool,
    /// Numbers to be turned in this round.
    pub ready: Vec<u32>,
    /// The instant at which this round has begun.
    pub now: Instant,
    /// None once the loop takes nothing new.
    pub acceptor: Option<Acceptor>,
    /// There may be something to accept.
    pub may_accept: bool,
    accept_timer: Timer,
    /// Connections that JavaScript wants.
    pub connection_credits: u64,
    /// Connections that JavaScript does not want yet.
    pub held_connections: VecDeque<u32>,
    /// Over `limits.requestsInFlight`, or not to be delivered at all.
    pub held_requests: HeldRequests<(Box<RequestHead>, RequestBody)>,
    pub heads: Heads,
}

impl IoLoop {
    /// A loop that listens.
    pub fn new(start: Start, listening: Listening) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        Ok(Self {
            index: start.index,
            connection_credits: start.shared.read_ahead_connections,
            shared: start.shared,
            outlet: start.outlet,
            waker: reactor.waker()?,
            acceptor: Some(Acceptor::new(listening, &reactor)?),
            reactor,
            timers: Timers::default(),
            work: Work::default(),
            table: Table::default(),
            open: 0,
            outbox: Outbox::new(start.clock, start.capacity),
            events: None,
            stats: Stats::default(),
            stats_changed: false,
            ready: Vec::new(),
            now: Instant::now(),
            may_accept: true,
            accept_timer: Timer::default(),
            held_connections: VecDeque::new(),
            held_requests: HeldRequests::default(),
            heads: Heads::default(),
        })
    }

    fn inbox(&self) -> Option<&Inbox> {
        self.shared.inboxes.get(self.index)
    }

    /// There is something to do that nobody will tell of any more.
    fn is_busy(&self) -> bool {
        self.may_accept || !self.ready.is_empty()
    }

    /// When to make a round though nothing happens. None: never.
    #[cfg(unix)]
    pub fn due(&self) -> Option<Instant> {
        let busy = self.is_busy() || self.inbox().is_some_and(Inbox::has_work);
        if busy { Some(self.now) } else { self.timers.first() }
    }

    /// Is readable when there is something to look at.
    #[cfg(unix)]
    pub fn descriptor(&self) -> std::os::fd::RawFd {
        self.reactor.descriptor()
    }

    /// Waits until there is something to do.
    pub fn wait(&mut self) -> io::Result<()> {
        let sleeps = !self.is_busy() && self.inbox().is_some_and(|inbox| inbox.sleep(&self.waker));
        self.look(if sleeps {
            self.timers.first().map(|first| first.saturating_duration_since(self.now))
        } else {
            Some(Duration::ZERO)
        })
    }

    /// Waits for `timeout` at most, and wakes who is ready then.
    pub fn look(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.reactor.wait(timeout)?;
        for (number, event) in self.reactor.events() {
            if number == ACCEPT {
                self.acceptor.iter_mut().for_each(Acceptor::note);
                self.may_accept = true;
            } else if let Some(connection) = self.table.get(number) {
                connection.readiness.note(event);
            }
        }
        Ok(())
    }

    /// Lists whose time has come.
    fn expire(&mut self) {
        while let Some(number) = self.timers.due(self.now) {
            if number == ACCEPT {
                self.accept_timer.fired();
                self.may_accept = true;
            } else if let Some(connection) = self.table.get(number) {
                connection.timer.fired();
                self.touch(number);
            }
        }
    }

    /// Does what there is to do, and publishes what has come of it.
    pub fn round(&mut self) -> Round {
        self.now = Instant::now();
        self.expire();
        let mut work = mem::take(&mut self.work);
        if let Some(inbox) = self.inbox() {
            inbox.take(&mut work);
        }
        if work.stop {
            return Round { ring: false, over: true };
        }
        for submission in work.submissions.drain(..) {
            self.apply(submission);
        }
        self.may_accept |= mem::take(&mut work.gates);
        self.ready.append(&mut work.ready);
        self.work = work;
        let mut ready = mem::take(&mut self.ready);
        for number in ready.drain(..) {
            self.turn(number);
        }
        if self.ready.is_empty() {
            // Its room is used again.
            self.ready = ready;
        }
        self.deliver_held_requests();
        if self.may_accept {
            self.accept();
        }
        fault::point("loop");
        let over = self.acceptor.is_none() && self.table.is_empty();
        if over {
            self.outbox.stopped();
        }
        Round { ring: self.publish(), over }
    }

    /// Hands over what this round has brought up. True: JavaScript is to be rung for.
    fn publish(&mut self) -> bool {
        let changed = mem::take(&mut self.stats_changed);
        if !changed && self.outbox.batch.is_empty() {
            return false;
        }
        let ring = self.outlet.publish(&mut self.outbox.batch, &self.stats);
        self.outbox.published();
        ring
    }

    /// Has the connection turned in this round, or in the next if the turns of this one have begun.
    pub fn touch(&mut self, number: u32) {
        if let Some(connection) = self.table.get(number)
            && connection.wake.enlist()
        {
            self.ready.push(number);
        }
    }

    /// JavaScript wants a connection.
    fn wants_connection(&self) -> bool {
        self.acceptor.is_some() && self.connection_credits > 0 && self.held_connections.is_empty()
    }

    /// Accepts what is there. A panic in there costs one connection at most, and is waited out like any other failure.
    fn accept(&mut self) {
        self.may_accept = false;
        let accepted = catch_unwind(AssertUnwindSafe(|| self.accept_while_wanted()));
        if let Some(acceptor) = &mut self.acceptor {
            if accepted.is_err() {
                acceptor.back_off(self.now);
            }
            self.timers.follow(ACCEPT, &mut self.accept_timer, acceptor.retry_at());
        }
    }

    /// Accepts while JavaScript wants connections and may have them.
    fn accept_while_wanted(&mut self) {
        for _ in 0..ACCEPTS_A_ROUND {
            if !self.wants_connection() {
                return self.shared.set_load(self.index, None);
            }
            // A place that is taken for nobody and given back would wake who waits at a gate, for ever if that is this loop.
            if !self.acceptor.as_ref().is_some_and(|acceptor| acceptor.is_ready(self.now)) {
                return self.shared.set_load(self.index, Some(self.open));
            }
            if !self.enter(&self.shared.connections) {
                return self.shared.set_load(self.index, None);
            }
            let place = Place::taken(&self.shared);
            fault::point("accept");
            let Some(acceptor) = &mut self.acceptor else { return };
            self.shared.set_load(self.index, Some(self.open));
            if self.shared.is_ahead(self.open) {
                acceptor.yield_to_others(self.now);
            }
            let Some((stream, ends)) = acceptor.accept(self.now) else { return };
            let number = self.table.next();
            match Socket::new(stream, &self.reactor, number) {
                Ok(socket) => self.accepted(number, socket, ends, place),
                // It is dropped: there is no memory to watch one more.
                Err(_) => return acceptor.back_off(self.now),
            }
        }
        // There may be more: in the next round.
        self.may_accept = true;
    }

    /// A new connection.
    fn accepted(&mut self, number: u32, socket: Socket, ends: Ends, place: Place) {
        let readiness = socket.readiness();
        let engine = Engine::new(number, socket, self.shared.config.clone(), self.now);
        self.table.enter(Box::new(Connection::new(number, self.index, engine, readiness, ends, place)));
        self.open += 1;
        self.stats.add(Counter::ConnectionsOpen, 1);
        self.stats.add(Counter::ConnectionsTotal, 1);
        self.stats_changed = true;
        self.turn(number);
    }

    /// Takes a place at a gate; if there is none, the loop is woken when one becomes free.
    pub fn enter(&self, gate: &Gate) -> bool {
        self.inbox().is_some_and(|inbox| gate.enter(inbox))
    }

    /// Takes nothing new any more. The socket is closed with the last handle on it.
    pub fn stop_accepting(&mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.close(&self.reactor);
        }
        self.timers.forget(ACCEPT, &mut self.accept_timer);
        self.shared.set_load(self.index, None);
        self.held_connections.clear();
    }

    /// JavaScript wants `more` connections.
    pub fn want_connections(&mut self, more: u32) {
        self.connection_credits = self.connection_credits.saturating_add(u64::from(more));
        while self.connection_credits > 0 {
            let Some(number) = self.held_connections.pop_front() else { break };
            self.with_connection(number, |this, connection| {
                if let Phase::Held(protocol) = connection.phase {
                    this.introduce(number, connection, protocol);
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
        let ends = connection.ends.take().map(|ends| ends.text()).unwrap_or_default();
        self.outbox.connection(number, protocol, &ends);
        connection.phase = Phase::Known;
        connection.grant(self.shared.grant);
    }

    /// Ends a connection, which is in no slot now.
    pub fn close(&mut self, number: u32, mut connection: Box<Connection>, reason: &CloseReason) {
        connection.count_bytes(&mut self.stats);
        self.timers.forget(number, &mut connection.timer);
        self.open -= 1;
        self.stats.subtract(Counter::ConnectionsOpen, 1);
        self.stats_changed = true;
        if connection.in_flight > 0 {
            // Only after a fault, as in its drop.
            self.stats.subtract(Counter::RequestsInFlight, connection.in_flight);
            self.stats.add(Counter::ResponsesFailed, connection.in_flight);
        }
        self.held_requests.forget_connection(number);
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
        if let Some(socket) = connection.engine.take_cut_short() {
            socket.reset();
        }
        // The socket is closed here. What a fault has left behind may well panic once more.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _connection = connection;
            fault::point("drop");
        }));
        self.may_accept = true;
    }
}
