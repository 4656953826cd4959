//! The doorbell: has the JavaScript thread called from an I/O thread when it rests.
//!
//! libuv's own, and not a threadsafe function of Node-API: that calls within an event, so that what the call sets off has not run when it
//! returns, and costs two thousand instructions more. One of the files with `unsafe` code.

use std::{io, rc::Rc, sync::Arc};

use napi::Env;

use crate::{
    libuv::{Found, Handle, Handles, Libuv, Ready, UV_ASYNC, call},
    loan::Loan,
};

/// The JavaScript thread's end of it, and used there alone.
///
/// It is there until `close`, or the environment's end.
pub struct Doorbell(Rc<Handles>);

/// Rings it, from any thread.
pub struct Ringer {
    uv: &'static Libuv,
    handle: Handle,
}

// SAFETY: libuv allows `uv_async_send` from any thread while the handle is open.
unsafe impl Send for Ringer {}

impl Doorbell {
    /// Calls `ready` when it has been rung. Keeps the event loop alive.
    pub fn new(env: &Env, ready: Ready) -> io::Result<Self> {
        let doorbell = Self(Handles::new(env, &[UV_ASYNC], Arc::default(), ready)?);
        let handles = &doorbell.0;
        handles.open(env, 0, "uv_async_init", |uv, event_loop, handle| {
            // SAFETY: as `open` says.
            unsafe { (uv.async_init)(event_loop, handle, on_ring) }
        })?;
        handles.ringer.give(Ringer { uv: handles.uv, handle: handles.handle(0) });
        Ok(doorbell)
    }

    /// For other threads, until it is closed.
    pub fn ringer(&self) -> Arc<Loan<Ringer>> {
        self.0.ringer.clone()
    }

    /// Whether the event loop stays alive for it.
    pub fn keep_alive(&self, keep: bool) {
        self.0.keep_alive(0, keep);
    }

    /// Nothing is called any more. Idempotent.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        self.close();
    }
}

impl Ringer {
    /// Has the JavaScript thread called soon, once for all rings until then; never blocks.
    pub fn ring(&self) {
        // SAFETY: the handle is open: the ringer is taken out of its loan before that is closed. It does not fail.
        unsafe { (self.uv.async_send)(self.handle) };
    }
}

unsafe extern "C" fn on_ring(handle: Handle) {
    // SAFETY: libuv calls this for open handles, on their thread.
    unsafe { call(handle, Found::Call) };
}
