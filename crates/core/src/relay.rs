//! The waker that the transport sees: always the same one, whoever turns the engine.
//!
//! A transport keeps the last waker it was polled with, and is not polled again while it has nothing. So it gets the relay:
//! during a turn a call is only noted, and passed on when the turn ends; between turns it wakes whoever turned last.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Wake, Waker},
};

use crate::sync::{AtomicU8, Mutex, lock};

/// A turn is on: a call is only noted.
const TURNING: u8 = 1;
/// Something has called since the last look.
const CALLED: u8 = 2;

#[derive(Debug)]
pub(crate) struct Relay {
    state: AtomicU8,
    owner: Mutex<Option<Waker>>,
}

impl Relay {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(0), owner: Mutex::new(None) })
    }

    /// From here on it wakes `owner`.
    pub(crate) fn owned_by(&self, owner: Waker) {
        *lock(&self.owner) = Some(owner);
    }

    /// A turn begins, on behalf of the owner. Whether something has called since the last look of the turn before.
    pub(crate) fn begin(&self) -> bool {
        self.state.swap(TURNING, SeqCst) & CALLED != 0
    }

    /// Asks for another turn after this one.
    pub(crate) fn again(&self) {
        self.state.fetch_or(CALLED, SeqCst);
    }

    /// The turn ends. A call that nobody looked at goes to the owner, and is told to the next turn. None is lost: a
    /// call before this step is seen by it, a call after it finds no turn.
    pub(crate) fn end(&self) {
        if self.state.fetch_and(!TURNING, SeqCst) & CALLED != 0 {
            self.wake_owner();
        }
    }

    fn wake_owner(&self) {
        let owner = lock(&self.owner).clone();
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
        if self.state.fetch_or(CALLED, SeqCst) & TURNING == 0 {
            self.wake_owner();
        }
    }
}
