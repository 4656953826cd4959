//! The waker that h2 and the transport see: always the same one, whoever turns the engine.
//!
//! They keep only the last waker they were polled with, and they call it also for what the turn itself does (h2
//! wakes its connection on each queued frame). So they get the relay: during a turn it only notes the call, and the
//! turn looks at the note; between turns it wakes whoever turned last.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Wake, Waker},
};

#[derive(Debug)]
pub(crate) struct Relay {
    /// A turn is on: calls are only noted.
    turning: AtomicBool,
    /// Something has called since this was cleared.
    called: AtomicBool,
    owner: Mutex<Option<Waker>>,
}

impl Relay {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { turning: AtomicBool::new(false), called: AtomicBool::new(false), owner: Mutex::new(None) })
    }

    /// A turn begins, on behalf of `owner`. Whether something has called since the last look of the turn before.
    pub(crate) fn begin(&self, owner: &Waker) -> bool {
        let mut slot = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *slot {
            Some(kept) if kept.will_wake(owner) => {}
            kept => *kept = Some(owner.clone()),
        }
        self.turning.store(true, SeqCst);
        self.called.swap(false, SeqCst)
    }

    /// Forgets the calls so far: what they were about is looked at now.
    pub(crate) fn clear(&self) {
        self.called.store(false, SeqCst);
    }

    /// Something has called since the last `clear`.
    pub(crate) fn woken(&self) -> bool {
        self.called.load(SeqCst)
    }

    /// Asks for another turn after this one.
    pub(crate) fn again(&self) {
        self.called.store(true, SeqCst);
    }

    /// The turn ends. A call that nobody looked at goes to the owner. None is lost: a call is noted before it looks
    /// whether a turn is on, and here the turn is over before the note is looked at.
    pub(crate) fn end(&self) {
        self.turning.store(false, SeqCst);
        if self.called.load(SeqCst) {
            self.wake_owner();
        }
    }

    fn wake_owner(&self) {
        let owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(owner) = owner {
            owner.wake();
        }
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.called.store(true, SeqCst);
        if !self.turning.load(SeqCst) {
            self.wake_owner();
        }
    }
}
