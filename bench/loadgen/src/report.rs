//! What came of a run.

use std::time::Duration;

#[derive(Default)]
pub struct Report {
    pub latencies: Vec<Duration>,
    pub failed: usize,
    pub seconds: f64,
    /// Connections that the server still held when the run began.
    pub open: usize,
}

impl Report {
    pub fn answered(&self) -> usize {
        self.latencies.len()
    }

    /// Microseconds and seconds.
    pub fn json(mut self) -> String {
        self.latencies.sort_unstable();
        let quantile = |q: f64| {
            let rank = (q * self.latencies.len() as f64).ceil() as usize;
            self.latencies.get(rank.saturating_sub(1)).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
        };
        format!(
            r#"{{"requests":{},"failed":{},"seconds":{},"open":{},"p50":{:.1},"p99":{:.1},"p999":{:.1},"max":{:.1}}}"#,
            self.answered(),
            self.failed,
            self.seconds,
            self.open,
            quantile(0.5),
            quantile(0.99),
            quantile(0.999),
            quantile(1.0),
        )
    }
}
