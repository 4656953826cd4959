//! The doorbell: calls JavaScript from an I/O thread, once per batch.
//!
//! A bare threadsafe function and not napi's wrapper: no allocation per ring, and no assertion in a worker's teardown.
//! One of the files with `unsafe` code.

use std::{ffi::c_void, ptr, sync::Arc};

use napi::{Env, JsValue, Status, bindgen_prelude::Function, sys};

use crate::loan::Loan;

/// A handle on a threadsafe function.
struct Raw(sys::napi_threadsafe_function);

// SAFETY: Node-API allows calls to and the release of a threadsafe function from any thread.
unsafe impl Send for Raw {}

/// Calls one JavaScript function, on the JavaScript thread, soon.
///
/// The function is there until it is closed: by `close`, or by the environment's end.
pub struct Doorbell(Loan<Raw>);

impl Doorbell {
    /// A doorbell that calls `callback` and keeps the event loop alive. On the JavaScript thread.
    pub fn new(env: &Env, callback: &Function<'_, (), ()>) -> napi::Result<Arc<Self>> {
        let name = env.create_string("hyperpull")?;
        let doorbell = Arc::new(Self(Loan::default()));
        let for_finalize = Arc::into_raw(doorbell.clone());
        let mut raw = ptr::null_mut();
        // SAFETY: env, callback and name are of this environment and alive in this call. `for_finalize` is an Arc's
        // pointer, given up to `finalize`, which Node-API calls exactly once if the creation succeeds.
        let status = unsafe {
            sys::napi_create_threadsafe_function(
                env.raw(),
                callback.raw(),
                ptr::null_mut(),
                name.raw(),
                0,
                1,
                for_finalize.cast_mut().cast(),
                Some(finalize),
                ptr::null_mut(),
                Some(call),
                &mut raw,
            )
        };
        if status != sys::Status::napi_ok {
            // SAFETY: made by `into_raw` above, and nobody else has it, since the creation failed.
            drop(unsafe { Arc::from_raw(for_finalize) });
            return Err(napi::Error::new(Status::from(status), "cannot make a threadsafe function"));
        }
        doorbell.0.give(Raw(raw));
        Ok(doorbell)
    }

    /// Has JavaScript called. From any thread; never blocks.
    pub fn ring(&self) {
        self.0.with(|&Raw(function)| {
            // SAFETY: the function is alive: it is closed only after it has been taken out of the loan.
            let status = unsafe {
                sys::napi_call_threadsafe_function(
                    function,
                    ptr::null_mut(),
                    sys::ThreadsafeFunctionCallMode::nonblocking,
                )
            };
            // With the answer "closing" Node-API has taken our hold on it back.
            status != sys::Status::napi_closing
        });
    }

    /// Whether the event loop stays alive for it. On the JavaScript thread.
    pub fn keep_alive(&self, env: &Env, keep: bool) {
        self.0.with(|&Raw(function)| {
            // SAFETY: the function is alive, as in `ring`, and this is the JavaScript thread, which has `env`.
            unsafe {
                if keep {
                    sys::napi_ref_threadsafe_function(env.raw(), function);
                } else {
                    sys::napi_unref_threadsafe_function(env.raw(), function);
                }
            }
            true
        });
    }

    /// Nothing is called any more, and the event loop is not kept alive.
    pub fn close(&self) {
        let Some(Raw(function)) = self.0.take() else { return };
        // SAFETY: the function is alive, as in `ring`, and nobody can reach it from here on.
        unsafe { sys::napi_release_threadsafe_function(function, sys::ThreadsafeFunctionReleaseMode::abort) };
    }
}

/// The function goes away: by `close`, or because its environment does.
unsafe extern "C" fn finalize(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: `data` is what `new` gave up, and this is the one call.
    let doorbell = unsafe { Arc::from_raw(data.cast_const().cast::<Doorbell>()) };
    doorbell.0.take();
}

/// On the JavaScript thread, with a handle scope open.
unsafe extern "C" fn call(env: sys::napi_env, callback: sys::napi_value, _: *mut c_void, _: *mut c_void) {
    if env.is_null() || callback.is_null() {
        // The environment is ending.
        return;
    }
    let mut this = ptr::null_mut();
    // SAFETY: env and callback are those of this call. Results are written to locals. In a worker that is being
    // terminated any of these may fail, which leaves nothing to be done.
    unsafe {
        if sys::napi_get_undefined(env, &mut this) != sys::Status::napi_ok {
            return;
        }
        let status = sys::napi_call_function(env, this, callback, 0, ptr::null(), ptr::null_mut());
        report(env, status);
    }
}

/// Has an exception that a call has left behind be one of the process: 'uncaughtException'.
///
/// # Safety
/// `env` is alive, and this is its thread.
pub unsafe fn report(env: sys::napi_env, status: sys::napi_status) {
    if status != sys::Status::napi_pending_exception {
        return;
    }
    let mut exception = ptr::null_mut();
    // SAFETY: as the caller says; the result is written to a local.
    unsafe {
        if sys::napi_get_and_clear_last_exception(env, &mut exception) == sys::Status::napi_ok {
            sys::napi_fatal_exception(env, exception);
        }
    }
}
