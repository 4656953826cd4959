//! A count with a limit, shared by the I/O loops of one listener.

use std::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::{mailbox::Inbox, sync::AtomicU64};

/// So many may be inside at once.
///
/// Who finds it full and waits must not miss the place that becomes free: it raises its inbox's flag and THEN tries
/// once more; who leaves gives its place back and THEN takes raised flags down. Both swap the flag, so one of them comes
/// second and knows what the first has done before.
pub struct Gate {
    count: AtomicU64,
    limit: u64,
}

impl Gate {
    /// A gate for `limit`; `u64::MAX` is no limit.
    pub fn new(limit: u64) -> Self {
        Self { count: AtomicU64::new(0), limit }
    }

    fn try_enter(&self) -> bool {
        // Not add-and-take-back: a place that seems taken for a moment could send two waiters to sleep.
        self.count.fetch_update(AcqRel, Acquire, |count| (count < self.limit).then_some(count + 1)).is_ok()
    }

    /// Takes a place. If there is none, `inbox` is told when one becomes free.
    pub fn enter(&self, inbox: &Inbox) -> bool {
        self.try_enter() || {
            inbox.wait_for_gates();
            self.try_enter()
        }
    }

    /// Gives `places` back, and tells those of `inboxes` that wait.
    pub fn leave(&self, places: u64, inboxes: &[Inbox]) {
        if places > 0 && self.count.fetch_sub(places, AcqRel) >= self.limit {
            inboxes.iter().for_each(Inbox::gate_opened);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_is_full_until_one_leaves() {
        let (gate, inboxes) = (Gate::new(2), [Inbox::default()]);
        let [inbox] = &inboxes;
        assert!(gate.enter(inbox) && gate.enter(inbox) && !gate.enter(inbox) && !inbox.has_work());
        gate.leave(1, &inboxes);
        assert!(inbox.has_work() && gate.enter(inbox) && !gate.enter(inbox));
        gate.leave(2, &inboxes);
        assert!(gate.enter(inbox) && gate.enter(inbox));
        gate.leave(0, &inboxes);
        assert!(!gate.enter(inbox) && !Gate::new(0).enter(inbox));
    }
}
