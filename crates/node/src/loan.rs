//! What several threads use until one of them takes it away.

use crate::sync::{Mutex, lock};

/// None once it has been taken away. The lock is held over each use, so nothing is taken away under one.
pub struct Loan<T>(Mutex<Option<T>>);

impl<T> Default for Loan<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Loan<T> {
    /// From here on there is `value` to use.
    pub fn give(&self, value: T) {
        *lock(&self.0) = Some(value);
    }

    /// Uses the value, if it is there.
    pub fn with(&self, use_it: impl FnOnce(&T)) {
        if let Some(value) = &*lock(&self.0) {
            use_it(value);
        }
    }

    /// Takes the value away: nobody else uses it from here on.
    pub fn take(&self) -> Option<T> {
        lock(&self.0).take()
    }
}
