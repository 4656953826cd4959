//! What the I/O threads of one listener have in common.

use std::sync::Arc;

use hyperpull::config::Config;

use crate::{gate::Gate, mailbox::Inbox, options::Settings};

/// Shared by the I/O threads of a listener and by its JavaScript thread.
pub struct Shared {
    /// What each connection is told.
    pub config: Arc<Config>,
    /// One per I/O thread.
    pub inboxes: Box<[Inbox]>,
    /// `limits.connections`
    pub connections: Gate,
    /// `limits.requestsInFlight`
    pub requests: Gate,
    /// Connections that may come up before JavaScript asks.
    pub read_ahead_connections: u64,
    /// Requests granted to each new connection. 0: JavaScript grants each request, none is granted after an answer.
    pub grant: u32,
}

impl Shared {
    /// For a listener that has not started.
    pub fn new(settings: Settings) -> Self {
        Self {
            inboxes: (0..settings.io_threads).map(|_| Inbox::default()).collect(),
            connections: Gate::new(settings.connections),
            requests: Gate::new(settings.requests_in_flight),
            read_ahead_connections: settings.read_ahead_connections,
            grant: if settings.read_ahead_requests {
                settings.config.limits.concurrent_streams.saturating_add(1)
            } else {
                0
            },
            config: Arc::new(settings.config),
        }
    }

    /// A connection is over.
    pub fn connection_left(&self) {
        if self.connections.leave(1) {
            self.gate_opened();
        }
    }

    /// Requests are over.
    pub fn requests_left(&self, count: u64) {
        if self.requests.leave(count) {
            self.gate_opened();
        }
    }

    fn gate_opened(&self) {
        self.inboxes.iter().for_each(Inbox::gate_opened);
    }
}
