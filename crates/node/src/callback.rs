//! Calls JavaScript out of the event loop, and tells it of faults.
//!
//! One of the files with `unsafe` code.

use std::{cell::Cell, ptr};

use napi::{Env, JsValue, Status, bindgen_prelude::Function, sys};

/// One JavaScript function of a number. Used on its JavaScript thread alone.
pub struct Callback {
    env: sys::napi_env,
    /// Null once it is closed.
    function: Cell<sys::napi_ref>,
}

impl Callback {
    /// Keeps `function`.
    pub fn new(env: &Env, function: &Function<'_, u32, ()>) -> napi::Result<Self> {
        let mut reference = ptr::null_mut();
        // SAFETY: env and function are of this environment, and alive in this call.
        let status = unsafe { sys::napi_create_reference(env.raw(), function.raw(), 1, &mut reference) };
        if status != sys::Status::napi_ok {
            return Err(napi::Error::new(Status::from(status), "cannot keep a function"));
        }
        Ok(Self { env: env.raw(), function: Cell::new(reference) })
    }

    /// Calls it, as an event of its own: promises and ticks run before it returns. An exception is one of the process.
    pub fn call(&self, number: u32) {
        self.scoped(|env, reference| {
            let (mut function, mut this, mut argument) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
            // SAFETY: as `scoped` says; results are written to locals.
            unsafe {
                if sys::napi_get_reference_value(env, reference, &mut function) != sys::Status::napi_ok
                    || function.is_null()
                    || sys::napi_get_global(env, &mut this) != sys::Status::napi_ok
                    || sys::napi_create_uint32(env, number, &mut argument) != sys::Status::napi_ok
                {
                    return;
                }
                let context = ptr::null_mut();
                let status = sys::napi_make_callback(env, context, this, function, 1, &argument, ptr::null_mut());
                let mut exception = ptr::null_mut();
                if status == sys::Status::napi_pending_exception
                    && sys::napi_get_and_clear_last_exception(env, &mut exception) == sys::Status::napi_ok
                {
                    sys::napi_fatal_exception(env, exception);
                }
            }
        });
    }

    /// Has a fault of this side be an exception of the process: 'uncaughtException'.
    pub fn raise(&self, message: &str) {
        self.scoped(|env, _| {
            let (mut text, mut error) = (ptr::null_mut(), ptr::null_mut());
            // SAFETY: as `scoped` says; results are written to locals, and the text is copied.
            unsafe {
                if sys::napi_create_string_utf8(env, message.as_ptr().cast(), message.len().cast_signed(), &mut text)
                    == sys::Status::napi_ok
                    && sys::napi_create_error(env, ptr::null_mut(), text, &mut error) == sys::Status::napi_ok
                {
                    sys::napi_fatal_exception(env, error);
                }
            }
        });
    }

    /// Does something with values of the environment: it is alive while the function is not closed, and this is its thread. In a worker that is
    /// being terminated any call may fail, which leaves nothing to be done.
    fn scoped(&self, what: impl FnOnce(sys::napi_env, sys::napi_ref)) {
        let (env, reference) = (self.env, self.function.get());
        if reference.is_null() {
            return;
        }
        let mut scope = ptr::null_mut();
        // SAFETY: the environment is alive, as above. The scope is closed whatever comes between: `what` calls nothing that unwinds.
        unsafe {
            if sys::napi_open_handle_scope(env, &mut scope) != sys::Status::napi_ok {
                return;
            }
            what(env, reference);
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
