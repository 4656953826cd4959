//! A count with a limit, shared by the I/O threads of one listener.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// So many may be inside at once.
///
/// Who finds it full and waits must not miss the place that becomes free: it raises a flag that others can see
/// (`Inbox::wait_for_gates`) and THEN tries once more; who leaves takes its place back and THEN looks for raised
/// flags. All of it is sequentially consistent, so at least one of the two sees the other.
pub struct Gate {
    count: AtomicU64,
    limit: u64,
}

impl Gate {
    /// A gate for `limit`; `u64::MAX` is no limit.
    pub fn new(limit: u64) -> Self {
        Self { count: AtomicU64::new(0), limit }
    }

    /// Takes a place, if there is one.
    pub fn enter(&self) -> bool {
        // Not add-and-take-back: a place that seems taken for a moment could send two waiters to sleep.
        self.count.fetch_update(SeqCst, SeqCst, |count| (count < self.limit).then_some(count + 1)).is_ok()
    }

    /// Gives `places` back. True: the gate was full, somebody may be waiting.
    pub fn leave(&self, places: u64) -> bool {
        places > 0 && self.count.fetch_sub(places, SeqCst) >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_is_full_until_one_leaves() {
        let gate = Gate::new(2);
        assert!(gate.enter() && gate.enter() && !gate.enter());
        assert!(gate.leave(1));
        assert!(gate.enter() && !gate.enter());
        assert!(gate.leave(2));
        assert!(!gate.leave(0));
        assert!(!Gate::new(0).enter());
    }
}
