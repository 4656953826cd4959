//! Faults on purpose: a panic at a named point, when a test has asked for it. Nothing of it is in a release build.

#[cfg(all(feature = "fault-injection", not(debug_assertions)))]
compile_error!("fault-injection is for debug builds alone");

/// Where a panic may be asked for.
#[cfg(not(feature = "fault-injection"))]
pub const fn point(_: &'static str) {}

#[cfg(feature = "fault-injection")]
pub use asked_for::point;

#[cfg(feature = "fault-injection")]
mod asked_for {
    use std::sync::{Mutex, PoisonError};

    use napi_derive::napi;

    static ASKED_FOR: Mutex<Vec<String>> = Mutex::new(Vec::new());

    /// The next to pass the point of this name panics.
    #[napi]
    pub fn inject_fault(point: String) {
        ASKED_FOR.lock().unwrap_or_else(PoisonError::into_inner).push(point);
    }

    /// Where a panic may be asked for.
    pub fn point(name: &'static str) {
        let mut asked_for = ASKED_FOR.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = asked_for.iter().position(|point| point == name) else { return };
        asked_for.swap_remove(index);
        drop(asked_for);
        panic!("injected at {name}");
    }
}
