//! A descriptor and a time, watched by the event loop that runs JavaScript. One of the files with `unsafe` code.

use std::{ffi::c_int, io, os::fd::RawFd, rc::Rc, sync::Arc, time::Duration};

use napi::Env;

use crate::libuv::{Found, Handle, Handles, Libuv, Ready, UV_IDLE, UV_POLL, UV_READABLE, UV_TIMER, call, refused};

/// A descriptor and a time, watched by the event loop of one environment. Used on its JavaScript thread alone.
///
/// It is watched until `close`, or the environment's end.
pub struct Watch(Rc<Handles>);

impl Watch {
    const POLL: usize = 0;
    const TIMER: usize = 1;
    const IDLE: usize = 2;

    /// Calls `ready` whenever `descriptor` is readable, and when the time is up. Keeps the event loop alive.
    pub fn new(env: &Env, descriptor: RawFd, ready: Ready) -> io::Result<Self> {
        let watch = Self(Handles::new(env, &[UV_POLL, UV_TIMER, UV_IDLE], Arc::default(), ready)?);
        let handles = &watch.0;
        // SAFETY: as `open` says.
        unsafe {
            handles.open(env, Self::POLL, "uv_poll_init", |uv, event_loop, handle| {
                (uv.poll_init)(event_loop, handle, descriptor)
            })?;
            handles.open(env, Self::TIMER, "uv_timer_init", |uv, event_loop, handle| {
                (uv.timer_init)(event_loop, handle)
            })?;
            handles
                .open(env, Self::IDLE, "uv_idle_init", |uv, event_loop, handle| (uv.idle_init)(event_loop, handle))?;
        }
        handles.keep_alive(Self::TIMER, false);
        handles.keep_alive(Self::IDLE, false);
        // SAFETY: the handle is open, and this is its thread.
        if unsafe { (handles.uv.poll_start)(handles.handle(Self::POLL), UV_READABLE, on_readable) } != 0 {
            return Err(refused("uv_poll_start"));
        }
        Ok(watch)
    }

    /// Sets the time anew: after `time`, or never.
    pub fn set_timer(&self, time: Option<Duration>) {
        let handles = &self.0;
        if handles.closing.get() {
            return;
        }
        let timer = handles.handle(Self::TIMER);
        // SAFETY: the handle is open, and this is its thread. Neither call fails for a handle that is.
        unsafe {
            match time {
                Some(time) => {
                    let ms = u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX >> 1);
                    (handles.uv.timer_start)(timer, on_time, ms, 0);
                }
                None => {
                    (handles.uv.timer_stop)(timer);
                }
            }
        }
    }

    /// Calls `ready` when the event loop next comes round, which is at once: everything else that is due runs before.
    pub fn call_soon(&self) {
        let handles = &self.0;
        if !handles.closing.get() {
            // SAFETY: the handle is open, and this is its thread. It does not fail, and does nothing when it is started already.
            unsafe { (handles.uv.idle_start)(handles.handle(Self::IDLE), on_round) };
        }
    }

    /// Whether the event loop stays alive for the descriptor.
    pub fn keep_alive(&self, keep: bool) {
        self.0.keep_alive(Self::POLL, keep);
    }

    /// Nothing is called any more. Idempotent.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.close();
    }
}

unsafe extern "C" fn on_readable(handle: Handle, _: c_int, _: c_int) {
    // SAFETY: as above.
    unsafe { call(handle, Found::Readable) };
}

unsafe extern "C" fn on_time(handle: Handle) {
    // SAFETY: as above.
    unsafe { call(handle, Found::Time) };
}

unsafe extern "C" fn on_round(handle: Handle) {
    // SAFETY: as above. Once is enough.
    unsafe {
        if let Ok(uv) = Libuv::get() {
            (uv.idle_stop)(handle);
        }
        call(handle, Found::Call);
    }
}
