//! Calls JavaScript out of the event loop: as an event of its own, after which promises and ticks run.
//!
//! One of the files with `unsafe` code.

use std::{cell::Cell, ptr};

use napi::{Env, JsValue, Status, bindgen_prelude::Function, sys};

use crate::doorbell::report;

/// One JavaScript function. Used on its JavaScript thread alone.
pub struct Callback {
    env: sys::napi_env,
    /// Null once it is closed.
    function: Cell<sys::napi_ref>,
}

impl Callback {
    /// Keeps `function`.
    pub fn new(env: &Env, function: &Function<'_, (), ()>) -> napi::Result<Self> {
        let mut reference = ptr::null_mut();
        // SAFETY: env and function are of this environment, and alive in this call.
        let status = unsafe { sys::napi_create_reference(env.raw(), function.raw(), 1, &mut reference) };
        if status != sys::Status::napi_ok {
            return Err(napi::Error::new(Status::from(status), "cannot keep a function"));
        }
        Ok(Self { env: env.raw(), function: Cell::new(reference) })
    }

    /// Calls it. An exception is one of the process.
    pub fn call(&self) {
        let (env, reference) = (self.env, self.function.get());
        if reference.is_null() {
            return;
        }
        // SAFETY: the environment is alive while the function is not closed, and this is its thread. The scope is
        // closed whatever comes between. In a worker that is being terminated any of these may fail, which leaves
        // nothing to be done.
        unsafe {
            let mut scope = ptr::null_mut();
            if sys::napi_open_handle_scope(env, &mut scope) != sys::Status::napi_ok {
                return;
            }
            let (mut function, mut this) = (ptr::null_mut(), ptr::null_mut());
            if sys::napi_get_reference_value(env, reference, &mut function) == sys::Status::napi_ok
                && !function.is_null()
                && sys::napi_get_global(env, &mut this) == sys::Status::napi_ok
            {
                let status =
                    sys::napi_make_callback(env, ptr::null_mut(), this, function, 0, ptr::null(), ptr::null_mut());
                report(env, status);
            }
            sys::napi_close_handle_scope(env, scope);
        }
    }

    /// Lets go of it: it is called no more. Idempotent.
    pub fn close(&self) {
        let reference = self.function.replace(ptr::null_mut());
        if !reference.is_null() {
            // SAFETY: made by `new`, deleted once, on its thread, before its environment has ended.
            unsafe { sys::napi_delete_reference(self.env, reference) };
        }
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        self.close();
    }
}
