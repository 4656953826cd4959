//! One turn of one connection, and what its events become.
//!
//! Hot: once per ready connection and round.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Context;

use hyperpull::{
    Key,
    engine::ResetReason,
    error::{CloseCode, CloseReason},
    event::{Event, Protocol, RequestBody, RequestHead},
};

use crate::{
    connection::{Connection, Phase},
    error, fault,
    io_loop::IoLoop,
    stats::Counter,
};

/// A connection whose events ask for more turns gets so many in one round.
const TURNS_A_ROUND: usize = 4;

/// What is to be done after an event.
enum Then {
    /// Look for the next.
    Go,
    /// Turn the engine once more: it was granted something that it had none of.
    Again,
    /// Nothing: it was the last.
    Close(CloseReason),
}

impl IoLoop {
    /// Does something with a connection that may be its end. A panic in there is its end, and nobody else's.
    pub fn with_connection(
        &mut self,
        number: u32,
        what: impl FnOnce(&mut Self, &mut Connection) -> Option<CloseReason>,
    ) {
        let Some(mut connection) = self.table.take(number) else { return };
        match catch_unwind(AssertUnwindSafe(|| what(self, &mut connection))) {
            Ok(None) => self.table.put(number, connection),
            Ok(Some(reason)) => self.close(number, connection, &reason),
            Err(panic) => {
                self.outbox.repair();
                self.close(number, connection, &CloseReason::new(CloseCode::Internal, error::panic_text(&*panic)));
            }
        }
    }

    /// Turns a connection and takes its events.
    pub fn turn(&mut self, number: u32) {
        self.with_connection(number, |this, connection| {
            connection.wake.delist();
            this.drive(number, connection)
        });
    }

    fn drive(&mut self, number: u32, connection: &mut Connection) -> Option<CloseReason> {
        fault::point("turn");
        let mut again = true;
        connection.engine.swap_events(&mut self.events);
        for _ in 0..TURNS_A_ROUND {
            connection.engine.turn(&mut Context::from_waker(&connection.waker), self.now);
            again = false;
            while let Some(event) = connection.engine.next_event() {
                match self.event(number, connection, event) {
                    Then::Go => {}
                    Then::Again => again = true,
                    Then::Close(reason) => return Some(reason),
                }
            }
            if !again {
                break;
            }
        }
        connection.engine.swap_events(&mut self.events);
        if again {
            connection.waker.wake_by_ref();
        }
        connection.count_bytes(&mut self.stats);
        self.timers.follow(number, &mut connection.timer, connection.engine.deadline());
        None
    }

    fn event(&mut self, number: u32, connection: &mut Connection, event: Event) -> Then {
        match event {
            Event::Open(protocol) => return self.opened(number, connection, protocol),
            Event::Request { key, head, body } => {
                connection.credits = connection.credits.saturating_sub(1);
                self.request(connection, key, head, body);
            }
            Event::Chunk { key, bytes } => self.outbox.chunk(key, bytes, connection.engine.is_full(key)),
            Event::End { key, trailers } => self.outbox.end(key, trailers.map(|trailers| *trailers)),
            Event::BodyFailed { key, error } => self.outbox.body_failed(key, &error),
            Event::Written { key, bytes } => self.outbox.written(key, bytes),
            Event::Sent { key, bytes, at } => {
                self.stats.add(Counter::ResponsesSent, 1);
                self.outbox.sent(key, bytes, at);
                return self.over(connection, key);
            }
            Event::Failed { key, error } => {
                if self.held_requests.forget(key) {
                    // JavaScript has never heard of it.
                    // Who has pulled it waits for the next.
                    return grant_one(connection);
                }
                self.stats.add(Counter::ResponsesFailed, 1);
                self.outbox.failed(key, &error);
                return self.over(connection, key);
            }
            Event::Upgraded { key, protocol } => {
                connection.upgraded(key.stream);
                self.outbox.upgraded(key, protocol.token());
            }
            Event::Refused(refusal) => {
                self.stats.refuse(refusal);
                self.stats_changed = true;
            }
            Event::Closed(reason) => return Then::Close(reason),
        }
        Then::Go
    }

    /// The protocol is known: JavaScript is told, if it wants connections.
    fn opened(&mut self, number: u32, connection: &mut Connection, protocol: Protocol) -> Then {
        if self.acceptor.is_none() {
            // Draining: nobody will want it. The engine refuses what is on its way and closes.
            connection.phase = Phase::Held(protocol);
        } else if self.connection_credits == 0 {
            connection.phase = Phase::Held(protocol);
            self.held_connections.push_back(number);
        } else {
            self.introduce(number, connection, protocol);
            return Then::Again;
        }
        Then::Go
    }

    fn request(&mut self, connection: &mut Connection, key: Key, head: Box<RequestHead>, body: RequestBody) {
        if !self.held_requests.is_empty() || !self.enter(&self.shared.requests) {
            self.held_requests.push(key, (head, body));
        } else {
            self.deliver(connection, key, head, body);
        }
    }

    /// Writes a request down for JavaScript; it has its place at the gate.
    fn deliver(&mut self, connection: &mut Connection, key: Key, head: Box<RequestHead>, body: RequestBody) {
        // Counted first: whatever comes, its place is given back with the connection.
        connection.in_flight += 1;
        self.stats.add(Counter::RequestsTotal, 1);
        self.stats.add(Counter::RequestsInFlight, 1);
        let told = self.outbox.request(key, &head, body);
        head.recycle();
        if !told {
            // Cannot be: the facade's memory has room for the largest head there may be.
            connection.engine.reset(key.stream, ResetReason::Internal);
            connection.waker.wake_by_ref();
            self.held_requests.withhold(key);
            self.stats.add(Counter::ResponsesFailed, 1);
            self.left(connection, key);
        }
    }

    /// Delivers what was over the limit, oldest first, as places have become free.
    pub fn deliver_held_requests(&mut self) {
        while !self.held_requests.is_empty() && self.enter(&self.shared.requests) {
            let Some((key, (head, body))) = self.held_requests.pop() else { return };
            // Held requests go with their connection, so it is there.
            self.with_connection(key.connection, |this, connection| {
                this.deliver(connection, key, head, body);
                None
            });
        }
    }

    /// A request that JavaScript knows is over.
    fn over(&mut self, connection: &mut Connection, key: Key) -> Then {
        self.left(connection, key);
        self.grant_next(connection)
    }

    fn left(&mut self, connection: &mut Connection, key: Key) {
        if connection.in_flight > 0 {
            connection.request_over(key.stream);
            self.stats.subtract(Counter::RequestsInFlight, 1);
        }
    }

    fn grant_next(&self, connection: &mut Connection) -> Then {
        if self.shared.grant > 0 { grant_one(connection) } else { Then::Go }
    }
}

fn grant_one(connection: &mut Connection) -> Then {
    if connection.grant(1) { Then::Again } else { Then::Go }
}
