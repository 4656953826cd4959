//! Counters of one I/O thread, published with each batch.

use hyperpull::error::Refusal;

/// Counters, then one number per refusal.
pub const STATS_WORDS: usize = 8 + Refusal::ALL.len();

/// Counters of one I/O thread since its start.
#[derive(Clone, Default)]
pub struct Stats {
    pub connections_open: u64,
    pub connections_total: u64,
    pub requests_total: u64,
    pub requests_in_flight: u64,
    pub responses_sent: u64,
    pub responses_failed: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    refused: [u64; Refusal::ALL.len()],
}

impl Stats {
    /// Counts one refusal.
    pub fn refuse(&mut self, refusal: Refusal) {
        if let Some(count) = self.refused.get_mut(refusal as usize) {
            *count += 1;
        }
    }

    /// Writes all counters in the order of the contract, as many as there is room for.
    pub fn write(&self, out: &mut [f64]) {
        let counters = [
            self.connections_open,
            self.connections_total,
            self.requests_total,
            self.requests_in_flight,
            self.responses_sent,
            self.responses_failed,
            self.bytes_read,
            self.bytes_written,
        ];
        for (slot, count) in out.iter_mut().zip(counters.into_iter().chain(self.refused)) {
            *slot = count as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_contract() {
        let mut stats = Stats { connections_open: 1, bytes_written: 8, ..Stats::default() };
        stats.refuse(Refusal::BadRequest);
        let mut out = [0.0; STATS_WORDS];
        stats.write(&mut out);
        assert_eq!((out[0], out[7], out[8]), (1.0, 8.0, 1.0));
        stats.write(&mut out[..2]);
    }
}
