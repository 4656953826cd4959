//! What the I/O loops of one listener have in common.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use hyperpull::config::Config;

use crate::{gate::Gate, mailbox::Inbox, options::Settings};

/// Shared by the I/O loops of a listener and by its JavaScript thread.
pub struct Shared {
    /// There is no I/O thread: the one loop runs on the JavaScript thread.
    pub inline: bool,
    /// What each connection is told.
    pub config: Arc<Config>,
    /// One per I/O loop.
    pub inboxes: Box<[Inbox]>,
    /// Open connections of each I/O loop that accepts; `u64::MAX` of one that does not. Only ever a hint.
    loads: Box<[AtomicU64]>,
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
        let loops = settings.io_threads.max(1);
        Self {
            inline: settings.io_threads == 0,
            inboxes: (0..loops).map(|_| Inbox::default()).collect(),
            loads: (0..loops).map(|_| AtomicU64::new(u64::MAX)).collect(),
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

    /// Notes how many connections a loop has, or that it takes no more for now.
    pub fn set_load(&self, index: usize, open: Option<u64>) {
        if let Some(load) = self.loads.get(index) {
            load.store(open.unwrap_or(u64::MAX), Relaxed);
        }
    }

    /// A loop with `open` connections has more than another one, by four and an eighth, so that the next is for that.
    pub fn is_ahead(&self, open: u64) -> bool {
        let least = self.loads.iter().map(|load| load.load(Relaxed)).min().unwrap_or(u64::MAX);
        open >= least.saturating_add(4).saturating_add(least / 8)
    }

    /// A connection is over.
    pub fn connection_left(&self) {
        self.connections.leave(1, &self.inboxes);
    }

    /// Requests are over.
    pub fn requests_left(&self, count: u64) {
        self.requests.leave(count, &self.inboxes);
    }
}
