//! The waker that h2 and the transport see: always the same one, whoever turns the engine.
//!
//! They keep only the last waker they were polled with, and they call it also for what the turn itself does (h2
//! wakes its connection on each queued frame). So they get the relay: during a turn it only notes the call, and the
//! turn looks at the note; between turns it wakes whoever turned last.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    task::{Wake, Waker},
};

/// Between turns: a call goes to the owner.
const IDLE: u8 = 0;
/// In a turn, and nothing has called.
const TURNING: u8 = 1;
/// In a turn, and something has called since the last look.
const CALLED: u8 = 2;

#[derive(Debug)]
pub(crate) struct Relay {
    state: AtomicU8,
    owner: Mutex<Option<Waker>>,
}

impl Relay {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(IDLE), owner: Mutex::new(None) })
    }

    /// A turn begins, on behalf of `owner`.
    pub(crate) fn begin(&self, owner: &Waker) {
        let mut slot = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *slot {
            Some(kept) if kept.will_wake(owner) => {}
            kept => *kept = Some(owner.clone()),
        }
        self.state.store(TURNING, SeqCst);
    }

    /// Forgets the calls so far: what they were about is looked at now.
    pub(crate) fn clear(&self) {
        self.state.store(TURNING, SeqCst);
    }

    /// Something has called since the last `clear`.
    pub(crate) fn woken(&self) -> bool {
        self.state.load(SeqCst) == CALLED
    }

    /// Asks for another turn after this one.
    pub(crate) fn again(&self) {
        self.state.store(CALLED, SeqCst);
    }

    /// The turn ends. A call that nobody looked at goes to the owner: none is lost, since a call before the swap is
    /// seen by it, and a call after it finds `IDLE`.
    pub(crate) fn end(&self) {
        if self.state.swap(IDLE, SeqCst) == CALLED {
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
        if self.state.compare_exchange(TURNING, CALLED, SeqCst, SeqCst) == Err(IDLE) {
            self.wake_owner();
        }
    }
}
