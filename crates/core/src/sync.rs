//! The primitives of the hand-over, std's. `tests/loom.rs` compiles the same files over loom's.

use std::sync::PoisonError;
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicU8};

/// Locks, also after a panic elsewhere.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
