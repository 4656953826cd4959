//! Counters of one I/O loop, published with each batch.

use hyperpull::error::Refusal;

const COUNTERS: usize = 8;
/// Counters, then one number per refusal.
pub const STATS_WORDS: usize = COUNTERS + Refusal::ALL.len();

/// The counters in the order of the contract.
#[derive(Clone, Copy)]
pub enum Counter {
    ConnectionsOpen,
    ConnectionsTotal,
    RequestsTotal,
    RequestsInFlight,
    ResponsesSent,
    ResponsesFailed,
    BytesRead,
    BytesWritten,
}

/// Counters of one I/O loop since its start: as JavaScript reads them, so that they are copied as they are.
#[derive(Clone)]
pub struct Stats([f64; STATS_WORDS]);

impl Default for Stats {
    fn default() -> Self {
        Self([0.0; STATS_WORDS])
    }
}

impl Stats {
    /// Adds to a counter.
    pub fn add(&mut self, counter: Counter, count: u64) {
        self.0[counter as usize] += count as f64;
    }

    /// Takes from a counter.
    pub fn subtract(&mut self, counter: Counter, count: u64) {
        self.0[counter as usize] -= count as f64;
    }

    /// Counts one refusal.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.0[COUNTERS + refusal as usize] += 1.0;
    }

    /// Nothing is open any more.
    pub fn end(&mut self) {
        self.0[Counter::ConnectionsOpen as usize] = 0.0;
        self.0[Counter::RequestsInFlight as usize] = 0.0;
    }

    /// Writes all counters; `out` has [`STATS_WORDS`] at least.
    pub fn write(&self, out: &mut [f64]) {
        if let Some(out) = out.get_mut(..STATS_WORDS) {
            out.copy_from_slice(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_contract() {
        let mut stats = Stats::default();
        stats.add(Counter::ConnectionsOpen, 3);
        stats.subtract(Counter::ConnectionsOpen, 2);
        stats.add(Counter::BytesWritten, 8);
        stats.refuse(Refusal::BadRequest);
        stats.refuse(Refusal::Draining);
        let mut out = [0.0; STATS_WORDS + 1];
        stats.write(&mut out);
        assert_eq!((out[0], out[7], out[8], out[STATS_WORDS - 1], out[STATS_WORDS]), (1.0, 8.0, 1.0, 1.0, 0.0));
    }
}
