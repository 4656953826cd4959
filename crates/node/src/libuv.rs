//! libuv, as far as an I/O loop on the JavaScript thread needs it: the event loop that runs JavaScript watches a
//! descriptor and a time.
//!
//! Node exports libuv's functions, and their ABI is stable within its major version, which is 1. They are looked up
//! when they are first needed, because other runtimes have Node-API without them. One of the files with `unsafe` code.

use std::{
    cell::{Cell, RefCell},
    ffi::{c_int, c_void},
    io,
    os::fd::RawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    rc::Rc,
    sync::OnceLock,
    time::Duration,
};

use libloading::os::unix::Library;
use napi::{Env, sys};

/// A handle of libuv: memory of a size that libuv says.
type Handle = *mut c_void;
type Callback = unsafe extern "C" fn(Handle);
type PollCallback = unsafe extern "C" fn(Handle, c_int, c_int);

// `uv_handle_type` and `uv_poll_event` of uv.h.
const UV_POLL: c_int = 8;
const UV_TIMER: c_int = 13;
const UV_READABLE: c_int = 1;

/// The functions that are used.
struct Libuv {
    handle_size: unsafe extern "C" fn(c_int) -> usize,
    handle_set_data: unsafe extern "C" fn(Handle, *mut c_void),
    handle_get_data: unsafe extern "C" fn(Handle) -> *mut c_void,
    poll_init: unsafe extern "C" fn(*mut sys::uv_loop_s, Handle, c_int) -> c_int,
    poll_start: unsafe extern "C" fn(Handle, c_int, PollCallback) -> c_int,
    timer_init: unsafe extern "C" fn(*mut sys::uv_loop_s, Handle) -> c_int,
    timer_start: unsafe extern "C" fn(Handle, Callback, u64, u64) -> c_int,
    timer_stop: unsafe extern "C" fn(Handle) -> c_int,
    keep: unsafe extern "C" fn(Handle),
    let_go: unsafe extern "C" fn(Handle),
    close: unsafe extern "C" fn(Handle, Callback),
}

impl Libuv {
    fn get() -> io::Result<&'static Self> {
        static LIBUV: OnceLock<Option<Libuv>> = OnceLock::new();
        LIBUV.get_or_init(|| Self::load().ok()).as_ref().ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "this runtime does not export the functions of libuv")
        })
    }

    fn load() -> Result<Self, libloading::Error> {
        let program = Library::this();
        // SAFETY: the types are those of uv.h, which says that they do not change within version 1.
        unsafe {
            Ok(Self {
                handle_size: *program.get("uv_handle_size")?,
                handle_set_data: *program.get("uv_handle_set_data")?,
                handle_get_data: *program.get("uv_handle_get_data")?,
                poll_init: *program.get("uv_poll_init")?,
                poll_start: *program.get("uv_poll_start")?,
                timer_init: *program.get("uv_timer_init")?,
                timer_start: *program.get("uv_timer_start")?,
                timer_stop: *program.get("uv_timer_stop")?,
                keep: *program.get("uv_ref")?,
                let_go: *program.get("uv_unref")?,
                close: *program.get("uv_close")?,
            })
        }
    }
}

/// What a watch has found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The descriptor is readable.
    Readable,
    /// The time is up, and none is set any more.
    Time,
}

/// Is called with what a watch has found.
pub type Ready = Rc<dyn Fn(Found)>;

/// A descriptor and a time, watched by the event loop of one environment. Used on its JavaScript thread alone.
///
/// It is watched until `close`, which has to be called before the environment's end is over.
pub struct Watch(Rc<Watched>);

struct Watched {
    uv: &'static Libuv,
    poll: Memory,
    timer: Memory,
    /// None once both are closed.
    ready: RefCell<Option<Ready>>,
    /// Handles that libuv knows.
    open: Cell<u8>,
    closing: Cell<bool>,
    /// Has the environment's end wait until the handles are closed.
    cleanup: Cell<sys::napi_async_cleanup_hook_handle>,
}

/// The memory of a handle.
struct Memory(*mut [u64]);

impl Memory {
    fn new(bytes: usize) -> Self {
        Self(Box::into_raw(vec![0; bytes.div_ceil(8)].into_boxed_slice()))
    }

    fn handle(&self) -> Handle {
        self.0.cast()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: made by `into_raw`. libuv has let go of it: its handle has been closed, or never came to be.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

impl Watch {
    /// Calls `ready` whenever `descriptor` is readable, and when the time is up. Keeps the event loop alive.
    pub fn new(env: &Env, descriptor: RawFd, ready: Ready) -> io::Result<Self> {
        let uv = Libuv::get()?;
        let refused = |what: &str| io::Error::other(format!("{what} refused"));
        // SAFETY: the environment is alive, and this is its thread, which alone uses its event loop. A handle's memory
        // has the size that libuv says, and stays where it is until the handle is closed: each open handle has a
        // count of the Rc in its data, and so has the cleanup hook.
        unsafe {
            let mut event_loop = ptr::null_mut();
            if sys::napi_get_uv_event_loop(env.raw(), &mut event_loop) != sys::Status::napi_ok {
                return Err(refused("napi_get_uv_event_loop"));
            }
            let watch = Self(Rc::new(Watched {
                uv,
                poll: Memory::new((uv.handle_size)(UV_POLL)),
                timer: Memory::new((uv.handle_size)(UV_TIMER)),
                ready: RefCell::new(Some(ready)),
                open: Cell::new(0),
                closing: Cell::new(false),
                cleanup: Cell::new(ptr::null_mut()),
            }));
            let watched = &watch.0;
            if (uv.poll_init)(event_loop, watched.poll.handle(), descriptor) != 0 {
                return Err(refused("uv_poll_init"));
            }
            watched.opened(&watched.poll);
            if (uv.timer_init)(event_loop, watched.timer.handle()) != 0 {
                watch.close();
                return Err(refused("uv_timer_init"));
            }
            watched.opened(&watched.timer);
            (uv.let_go)(watched.timer.handle());
            let mut cleanup = ptr::null_mut();
            let data = Rc::into_raw(watched.clone());
            let status =
                sys::napi_add_async_cleanup_hook(env.raw(), Some(on_cleanup), data.cast_mut().cast(), &mut cleanup);
            if status != sys::Status::napi_ok {
                drop(Rc::from_raw(data));
                watch.close();
                return Err(refused("napi_add_async_cleanup_hook"));
            }
            watched.cleanup.set(cleanup);
            if (uv.poll_start)(watched.poll.handle(), UV_READABLE, on_readable) != 0 {
                watch.close();
                return Err(refused("uv_poll_start"));
            }
            Ok(watch)
        }
    }

    /// Sets the time anew: after `time`, or never.
    pub fn set_timer(&self, time: Option<Duration>) {
        let Watched { uv, timer, closing, .. } = &*self.0;
        if closing.get() {
            return;
        }
        // SAFETY: the handle is open, and this is its thread. Neither call fails for a handle that is.
        unsafe {
            match time {
                Some(time) => {
                    let ms = u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX >> 1);
                    (uv.timer_start)(timer.handle(), on_time, ms, 0);
                }
                None => {
                    (uv.timer_stop)(timer.handle());
                }
            }
        }
    }

    /// Whether the event loop stays alive for the descriptor.
    pub fn keep_alive(&self, keep: bool) {
        let Watched { uv, poll, closing, .. } = &*self.0;
        if !closing.get() {
            // SAFETY: the handle is open, and this is its thread.
            unsafe { if keep { (uv.keep)(poll.handle()) } else { (uv.let_go)(poll.handle()) } }
        }
    }

    /// Nothing is called any more. Idempotent.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Watched {
    /// libuv knows the handle.
    ///
    /// # Safety
    /// It has just been initialised.
    unsafe fn opened(self: &Rc<Self>, handle: &Memory) {
        self.open.set(self.open.get() + 1);
        // SAFETY: as the caller says.
        unsafe { (self.uv.handle_set_data)(handle.handle(), Rc::into_raw(self.clone()).cast_mut().cast()) };
    }

    fn close(&self) {
        if self.closing.replace(true) {
            return;
        }
        // In the order in which they were opened.
        for handle in [&self.poll, &self.timer].into_iter().take(usize::from(self.open.get())) {
            // SAFETY: the handle is open, and is closed once.
            unsafe { (self.uv.close)(handle.handle(), on_closed) };
        }
    }

    fn call(&self, found: Found) {
        let ready = self.ready.borrow().clone();
        if let (false, Some(ready)) = (self.closing.get(), ready) {
            // A panic may not pass libuv. What is called has its own net; this one is for the net.
            let _ = catch_unwind(AssertUnwindSafe(|| ready(found)));
        }
    }
}

/// The watch that has the handle.
///
/// # Safety
/// The handle is open.
unsafe fn data_of(handle: Handle) -> *const Watched {
    // Without libuv there would be no handle.
    let Ok(uv) = Libuv::get() else { return ptr::null() };
    // SAFETY: as the caller says; `opened` has set the data.
    unsafe { (uv.handle_get_data)(handle) }.cast_const().cast()
}

unsafe extern "C" fn on_readable(handle: Handle, _: c_int, _: c_int) {
    // SAFETY: libuv calls this for open handles.
    unsafe { call(handle, Found::Readable) };
}

unsafe extern "C" fn on_time(handle: Handle) {
    // SAFETY: as above.
    unsafe { call(handle, Found::Time) };
}

/// # Safety
/// The handle is open.
unsafe fn call(handle: Handle, found: Found) {
    // SAFETY: as the caller says. The handle's count of the Rc lasts until `on_closed`, which libuv calls later in its
    // loop whatever is done meanwhile.
    if let Some(watched) = unsafe { data_of(handle).as_ref() } {
        watched.call(found);
    }
}

unsafe extern "C" fn on_closed(handle: Handle) {
    // SAFETY: the one call for this handle, whose count is given back with it.
    let watched = unsafe { Rc::from_raw(data_of(handle)) };
    watched.open.set(watched.open.get() - 1);
    if watched.open.get() > 0 {
        return;
    }
    watched.ready.take();
    let cleanup = watched.cleanup.replace(ptr::null_mut());
    if !cleanup.is_null() {
        // SAFETY: added by `new` and not removed yet; its count is given back with it.
        unsafe {
            sys::napi_remove_async_cleanup_hook(cleanup);
            drop(Rc::from_raw(Rc::as_ptr(&watched)));
        }
    }
}

/// The environment ends, and waits until the hook has been removed.
unsafe extern "C" fn on_cleanup(_: sys::napi_async_cleanup_hook_handle, data: *mut c_void) {
    // SAFETY: the hook's count of the Rc, which it has until it is removed.
    if let Some(watched) = unsafe { data.cast_const().cast::<Watched>().as_ref() } {
        watched.close();
    }
}
