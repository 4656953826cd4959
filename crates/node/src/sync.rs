//! Locks and atomics of what passes between threads: std's, or loom's where `models.rs` tries every order of events.

use std::sync::PoisonError;

#[cfg(not(all(test, feature = "loom")))]
pub use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64},
};

#[cfg(all(test, feature = "loom"))]
pub use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64},
};

/// Locks, whoever has panicked before: nothing that is locked here can be left half done.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
