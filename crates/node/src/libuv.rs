//! libuv, as far as an I/O loop needs it.
//!
//! Node exports libuv's functions, and their ABI is stable within its major version, which is 1. They are looked up
//! when they are first needed, because other runtimes have Node-API without them. One of the files with `unsafe` code.

use std::{
    cell::{Cell, RefCell},
    ffi::{c_int, c_void},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    rc::Rc,
    sync::{Arc, OnceLock},
};

#[cfg(unix)]
use libloading::os::unix::Library;
#[cfg(windows)]
use libloading::os::windows::Library;
use napi::{Env, sys};

use crate::{doorbell::Ringer, loan::Loan};

/// A handle of libuv: memory of a size that libuv says.
pub type Handle = *mut c_void;
pub type Callback = unsafe extern "C" fn(Handle);
#[cfg(unix)]
pub type PollCallback = unsafe extern "C" fn(Handle, c_int, c_int);

// `uv_handle_type` and `uv_poll_event` of uv.h.
pub const UV_ASYNC: c_int = 1;
#[cfg(unix)]
pub const UV_IDLE: c_int = 6;
#[cfg(unix)]
pub const UV_POLL: c_int = 8;
#[cfg(unix)]
pub const UV_TIMER: c_int = 13;
#[cfg(unix)]
pub const UV_READABLE: c_int = 1;

/// The functions that are used, under their names without `uv_`.
pub struct Libuv {
    pub handle_size: unsafe extern "C" fn(c_int) -> usize,
    pub handle_set_data: unsafe extern "C" fn(Handle, *mut c_void),
    pub handle_get_data: unsafe extern "C" fn(Handle) -> *mut c_void,
    pub keep: unsafe extern "C" fn(Handle),
    pub let_go: unsafe extern "C" fn(Handle),
    pub close: unsafe extern "C" fn(Handle, Callback),
    pub async_init: unsafe extern "C" fn(*mut sys::uv_loop_s, Handle, Callback) -> c_int,
    pub async_send: unsafe extern "C" fn(Handle) -> c_int,
    #[cfg(unix)]
    pub poll_init: unsafe extern "C" fn(*mut sys::uv_loop_s, Handle, c_int) -> c_int,
    #[cfg(unix)]
    pub poll_start: unsafe extern "C" fn(Handle, c_int, PollCallback) -> c_int,
    #[cfg(unix)]
    pub timer_init: unsafe extern "C" fn(*mut sys::uv_loop_s, Handle) -> c_int,
    #[cfg(unix)]
    pub timer_start: unsafe extern "C" fn(Handle, Callback, u64, u64) -> c_int,
    #[cfg(unix)]
    pub timer_stop: unsafe extern "C" fn(Handle) -> c_int,
    #[cfg(unix)]
    pub idle_init: unsafe extern "C" fn(*mut sys::uv_loop_s, Handle) -> c_int,
    #[cfg(unix)]
    pub idle_start: unsafe extern "C" fn(Handle, Callback) -> c_int,
    #[cfg(unix)]
    pub idle_stop: unsafe extern "C" fn(Handle) -> c_int,
}

impl Libuv {
    /// The functions, if the runtime has them.
    pub fn get() -> io::Result<&'static Self> {
        static LIBUV: OnceLock<Option<Libuv>> = OnceLock::new();
        LIBUV.get_or_init(|| Self::load().ok()).as_ref().ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "this runtime does not export the functions of libuv")
        })
    }

    fn load() -> Result<Self, libloading::Error> {
        #[cfg(unix)]
        let program = Library::this();
        #[cfg(windows)]
        let program = Library::this()?;
        // SAFETY: the types are those of uv.h, which says that they do not change within version 1.
        unsafe {
            Ok(Self {
                handle_size: *program.get("uv_handle_size")?,
                handle_set_data: *program.get("uv_handle_set_data")?,
                handle_get_data: *program.get("uv_handle_get_data")?,
                keep: *program.get("uv_ref")?,
                let_go: *program.get("uv_unref")?,
                close: *program.get("uv_close")?,
                async_init: *program.get("uv_async_init")?,
                async_send: *program.get("uv_async_send")?,
                #[cfg(unix)]
                poll_init: *program.get("uv_poll_init")?,
                #[cfg(unix)]
                poll_start: *program.get("uv_poll_start")?,
                #[cfg(unix)]
                timer_init: *program.get("uv_timer_init")?,
                #[cfg(unix)]
                timer_start: *program.get("uv_timer_start")?,
                #[cfg(unix)]
                timer_stop: *program.get("uv_timer_stop")?,
                #[cfg(unix)]
                idle_init: *program.get("uv_idle_init")?,
                #[cfg(unix)]
                idle_start: *program.get("uv_idle_start")?,
                #[cfg(unix)]
                idle_stop: *program.get("uv_idle_stop")?,
            })
        }
    }
}

/// What the event loop calls for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The doorbell has been rung, or the event loop has come round as it was asked to.
    Call,
    /// The descriptor is readable.
    #[cfg(unix)]
    Readable,
    /// The time is up, and none is set any more.
    #[cfg(unix)]
    Time,
}

/// Is called by the event loop, with nothing of JavaScript on the stack.
pub type Ready = Rc<dyn Fn(Found)>;

/// Handles that belong together, of one environment's event loop.
pub struct Handles {
    pub uv: &'static Libuv,
    memory: Box<[Memory]>,
    /// Other threads' way to the first of them.
    pub ringer: Arc<Loan<Ringer>>,
    /// None once all are closed.
    ready: RefCell<Option<Ready>>,
    /// How many of them libuv knows, from the first on.
    opened: Cell<usize>,
    pub closing: Cell<bool>,
    /// Has the environment's end wait until the handles are closed.
    cleanup: Cell<sys::napi_async_cleanup_hook_handle>,
}

/// The memory of a handle.
struct Memory(*mut [u64]);

impl Memory {
    fn new(bytes: usize) -> Self {
        Self(Box::into_raw(vec![0; bytes.div_ceil(8)].into_boxed_slice()))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: made by `into_raw`. libuv has let go of it: its handle has been closed, or never came to be.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// libuv has refused something.
pub fn refused(what: &str) -> io::Error {
    io::Error::other(format!("{what} refused"))
}

impl Handles {
    /// Memory for handles of these kinds, none of them open yet.
    pub fn new(env: &Env, kinds: &[c_int], ringer: Arc<Loan<Ringer>>, ready: Ready) -> io::Result<Rc<Self>> {
        let uv = Libuv::get()?;
        // SAFETY: it gives the size of a kind of handle.
        let memory = kinds.iter().map(|&kind| Memory::new(unsafe { (uv.handle_size)(kind) })).collect();
        let handles = Rc::new(Self {
            uv,
            memory,
            ringer,
            ready: RefCell::new(Some(ready)),
            opened: Cell::new(0),
            closing: Cell::new(false),
            cleanup: Cell::new(ptr::null_mut()),
        });
        let mut cleanup = ptr::null_mut();
        let data = Rc::into_raw(handles.clone());
        // SAFETY: the environment is alive, and this is its thread. The hook has a count of the Rc until it is removed.
        unsafe {
            if sys::napi_add_async_cleanup_hook(env.raw(), Some(on_cleanup), data.cast_mut().cast(), &mut cleanup)
                != sys::Status::napi_ok
            {
                drop(Rc::from_raw(data));
                return Err(refused("napi_add_async_cleanup_hook"));
            }
        }
        handles.cleanup.set(cleanup);
        Ok(handles)
    }

    /// Handle number `index`.
    pub fn handle(&self, index: usize) -> Handle {
        self.memory.get(index).map_or(ptr::null_mut(), |memory| memory.0.cast())
    }

    /// Opens the next handle, which is number `index`, by `init`: with memory that has the size libuv says, and stays where it is until the handle
    /// is closed; on the thread of the environment, which is alive, and which alone uses its event loop.
    pub fn open(
        self: &Rc<Self>,
        env: &Env,
        index: usize,
        what: &str,
        init: impl FnOnce(&Libuv, *mut sys::uv_loop_s, Handle) -> c_int,
    ) -> io::Result<()> {
        let mut event_loop = ptr::null_mut();
        // SAFETY: the environment is alive, and this is its thread.
        if unsafe { sys::napi_get_uv_event_loop(env.raw(), &mut event_loop) } != sys::Status::napi_ok {
            return Err(refused("napi_get_uv_event_loop"));
        }
        let handle = self.handle(index);
        if init(self.uv, event_loop, handle) != 0 {
            return Err(refused(what));
        }
        self.opened.set(index + 1);
        // SAFETY: it has just been initialised. Each open handle has a count of the Rc in its data.
        unsafe { (self.uv.handle_set_data)(handle, Rc::into_raw(self.clone()).cast_mut().cast()) };
        Ok(())
    }

    /// Whether the event loop stays alive for handle number `index`.
    pub fn keep_alive(&self, index: usize, keep: bool) {
        if !self.closing.get() {
            let handle = self.handle(index);
            // SAFETY: the handle is open, and this is its thread.
            unsafe { if keep { (self.uv.keep)(handle) } else { (self.uv.let_go)(handle) } }
        }
    }

    /// Nothing is called any more. Idempotent.
    pub fn close(self: &Rc<Self>) {
        if self.closing.replace(true) {
            return;
        }
        // First: no other thread has a way to it from here on.
        self.ringer.take();
        if self.opened.get() == 0 {
            return self.closed();
        }
        for index in 0..self.opened.get() {
            // SAFETY: the handle is open, and is closed once.
            unsafe { (self.uv.close)(self.handle(index), on_closed) };
        }
    }

    /// All are closed.
    fn closed(self: &Rc<Self>) {
        self.ready.take();
        let cleanup = self.cleanup.replace(ptr::null_mut());
        if !cleanup.is_null() {
            // SAFETY: added by `new` and not removed yet; its count is given back with it, and is not the last: the caller has one.
            unsafe {
                sys::napi_remove_async_cleanup_hook(cleanup);
                drop(Rc::from_raw(Rc::as_ptr(self)));
            }
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

/// Whose handle it is.
///
/// # Safety
/// The handle is open.
unsafe fn data_of(handle: Handle) -> *const Handles {
    // Without libuv there would be no handle.
    let Ok(uv) = Libuv::get() else { return ptr::null() };
    // SAFETY: as the caller says; `open` has set the data.
    unsafe { (uv.handle_get_data)(handle) }.cast_const().cast()
}

/// Calls what is to be ready.
///
/// # Safety
/// The handle is open, and this is its thread.
pub unsafe fn call(handle: Handle, found: Found) {
    // SAFETY: as the caller says. The handle's count of the Rc lasts until `on_closed`, which libuv calls later in its
    // loop whatever is done meanwhile.
    if let Some(handles) = unsafe { data_of(handle).as_ref() } {
        handles.call(found);
    }
}

unsafe extern "C" fn on_closed(handle: Handle) {
    // SAFETY: the one call for this handle, whose count is given back with it.
    let handles = unsafe { Rc::from_raw(data_of(handle)) };
    handles.opened.set(handles.opened.get() - 1);
    if handles.opened.get() == 0 {
        handles.closed();
    }
}

/// The environment ends, and waits until the hook has been removed.
unsafe extern "C" fn on_cleanup(_: sys::napi_async_cleanup_hook_handle, data: *mut c_void) {
    // SAFETY: the hook's count of the Rc, which it has until it is removed; kept meanwhile.
    let handles = unsafe {
        Rc::increment_strong_count(data.cast_const().cast::<Handles>());
        Rc::from_raw(data.cast_const().cast::<Handles>())
    };
    handles.close();
}
