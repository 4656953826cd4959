//! The JavaScript thread's side of one I/O loop, wherever that runs.
//!
//! Hot: once per batch. A batch is told by one call of JavaScript, and what that has set off queues commands in memory that both sides see:
//! when it has run they are handed over from here. So JavaScript calls native code only for what is large, and for commands that it
//! queues out of any batch.

use std::{
    cell::{Cell, RefCell},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::{Rc, Weak},
    sync::Arc,
    thread::JoinHandle,
    time::Instant,
};

use bytes::Bytes;
#[cfg(not(unix))]
use hyperpull::error::{Code, Error};
use napi::{
    Env,
    bindgen_prelude::{Buffer, BufferSlice, Function, Uint8Array},
};
use napi_derive::napi;

#[cfg(unix)]
use crate::inline::Inline;
use crate::{
    batch::Clock,
    bind::Listening,
    callback::Callback,
    doorbell::{Doorbell, Ringer},
    environment,
    error::{self, Thrown, panic_text, thrown, unexpected},
    fault,
    io_loop::Start,
    io_thread,
    mailbox::Outlet,
    memory::{LoopMemory, Memory},
    shared::Shared,
    submit::{self, Submission},
    take::Staging,
};

/// Batches that are told one after another, before the rest of the process runs.
const MOST_TOLD: usize = 64;

/// One I/O loop, held by JavaScript. Everything in here is used and dropped on the JavaScript thread.
pub struct LoopHandle {
    index: usize,
    shared: Arc<Shared>,
    outlet: Arc<Outlet>,
    /// Is told of the events in the memory.
    told: Callback,
    /// A batch is being told: what it is answered with goes down behind it.
    telling: Cell<bool>,
    /// None once the loop has ended.
    running: RefCell<Option<Running>>,
}

struct Running {
    memory: Memory,
    staging: Staging,
    /// What travels apart of the commands that are queued, in record order.
    blobs: Vec<Bytes>,
    /// None once the loop has ended by itself.
    runner: Option<Runner>,
}

/// What turns the loop.
enum Runner {
    Thread(JoinHandle<()>, Doorbell),
    #[cfg(unix)]
    Inline(Rc<Inline>),
}

impl LoopHandle {
    /// Starts I/O loop `index` of a listener: on a thread of its own, or on this one.
    pub fn start(
        env: &Env,
        index: usize,
        shared: Arc<Shared>,
        listening: Listening,
        memory: LoopMemory,
        now: f64,
        told: &Function<'_, u32, ()>,
    ) -> Result<Rc<Self>, Thrown> {
        let clock = Clock::starting(now);
        let memory = Memory::new(memory).map_err(|error| thrown(&error))?;
        let told = Callback::new(env, told).map_err(|error| unexpected(&error))?;
        let outlet = Arc::new(Outlet::default());
        let start =
            Start { index, shared: shared.clone(), outlet: outlet.clone(), clock, capacity: memory.event_capacity() };
        let handle =
            Rc::new(Self { index, shared, outlet, told, telling: Cell::new(false), running: RefCell::default() });
        let runner = if handle.shared.inline {
            Runner::inline(env, start, listening, Rc::downgrade(&handle))?
        } else {
            Runner::thread(env, start, listening, Rc::downgrade(&handle))?
        };
        let running = Running { memory, staging: Staging::default(), blobs: Vec::new(), runner: Some(runner) };
        *handle.running.borrow_mut() = Some(running);
        if let Err(error) = environment::register(env, &handle) {
            handle.stop();
            return Err(unexpected(&error));
        }
        Ok(handle)
    }

    /// Whether the event loop stays alive for this I/O loop.
    pub fn keep_alive(&self, keep: bool) {
        self.with_runner(|runner| runner.keep_alive(keep));
    }

    /// Ends the loop at once, waits for that, and lets go of everything of JavaScript's. Idempotent.
    pub fn stop(&self) {
        // Taken out first: nothing that follows finds it a second time.
        let Some(running) = self.running.take() else { return };
        if let Some(inbox) = self.shared.inboxes.get(self.index) {
            inbox.stop();
        }
        if let Some(runner) = running.runner {
            runner.stop();
        }
        self.told.close();
        environment::forget_ended();
    }

    fn with_runner(&self, what: impl FnOnce(&Runner)) {
        if let Some(Running { runner: Some(runner), .. }) = &*self.running.borrow() {
            what(runner);
        }
    }

    /// The loop has not ended.
    pub fn is_running(&self) -> bool {
        self.running.borrow().is_some()
    }

    /// The event loop calls: there may be something to take.
    fn called(&self) {
        self.telling.set(true);
        for _ in 0..MOST_TOLD {
            self.net(|| self.tell());
            self.net(|| self.flush());
            if !self.is_behind() && self.outlet.rest() {
                return self.telling.set(false);
            }
        }
        self.telling.set(false);
        self.with_runner(Runner::call_soon);
    }

    /// There is more to tell of what has been taken, or to hand over of what is queued.
    fn is_behind(&self) -> bool {
        self.running.borrow().as_ref().is_some_and(|running| running.staging.has_more() || running.memory.has_queued())
    }

    /// A panic of this side is an exception of the process, and what it has left undone is tried again.
    fn net(&self, what: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(what)) {
            self.told.raise(&panic_text(&*panic));
        }
    }

    /// Takes a batch, and tells JavaScript of it.
    fn tell(&self) {
        let mut borrow = self.running.borrow_mut();
        let Some(Running { memory, staging, runner, .. }) = borrow.as_mut() else { return };
        fault::point("take");
        let room = memory.for_take();
        let count = staging.take(&self.outlet, room.events, room.event_bytes, room.stats);
        if count == 0 {
            return;
        }
        memory.arrange_flush();
        let ended = staging.stopped();
        let runner = if ended { runner.take() } else { None };
        drop(borrow);
        if let Some(runner) = runner {
            // Before JavaScript is told that the loop has ended: nothing of it is left then.
            runner.stop();
        }
        self.told.call(count as u32);
        if ended {
            self.stop();
        }
    }

    fn blobs(&self, env: &Env) -> napi::Result<Option<Vec<Buffer>>> {
        let mut borrow = self.running.borrow_mut();
        let Some(running) = borrow.as_mut() else { return Ok(None) };
        fault::point("blobs");
        let blobs = running.staging.blobs();
        if blobs.len() == 0 {
            return Ok(None);
        }
        // Buffers, because an ArrayBuffer would be filled with zeros first.
        blobs.map(|blob| BufferSlice::copy_from(env, blob)?.into_buffer(env)).collect::<napi::Result<_>>().map(Some)
    }

    /// Keeps a copy of what travels apart of the next command.
    fn put_blob(&self, bytes: &[u8]) {
        if let Some(running) = self.running.borrow_mut().as_mut() {
            running.blobs.push(Bytes::copy_from_slice(bytes));
        }
    }

    /// Hands over what is queued.
    fn flush(&self) {
        let mut borrow = self.running.borrow_mut();
        let Some(Running { memory, blobs, runner, .. }) = borrow.as_mut() else { return };
        fault::point("submit");
        let Some((words, bytes)) = memory.queued() else {
            memory.flushed();
            blobs.clear();
            drop(borrow);
            return self.told.raise("internal fault: more is queued than the memory holds");
        };
        if words.is_empty() {
            return memory.flushed();
        }
        let quiet_since = submit::is_quiet(words).then(Instant::now);
        let (words, bytes) = (words.to_vec(), Bytes::copy_from_slice(bytes));
        let submission = Submission { words, bytes, blobs: mem::take(blobs), quiet_since };
        memory.flushed();
        if let Some(inbox) = self.shared.inboxes.get(self.index) {
            inbox.submit(submission);
        }
        #[cfg(unix)]
        if let Some(Runner::Inline(inline)) = runner {
            inline.submitted();
        }
    }

    /// Hands over what is queued, for JavaScript.
    fn submit(&self) {
        self.flush();
        // Of a loop on this thread there may be news at once, and nobody rings for them.
        if self.shared.inline && !self.telling.get() && self.outlet.has_news() {
            self.with_runner(Runner::call_soon);
        }
    }
}

impl Runner {
    fn thread(env: &Env, start: Start, listening: Listening, handle: Weak<LoopHandle>) -> Result<Self, Thrown> {
        let called = Rc::new(move |_| called(&handle));
        let doorbell =
            Doorbell::new(env, called).map_err(|cause| thrown(&error::io("cannot make a doorbell", &cause)))?;
        let thread = io_thread::spawn(start, listening, doorbell.ringer()).map_err(|error| thrown(&error))?;
        Ok(Self::Thread(thread, doorbell))
    }

    #[cfg(unix)]
    fn inline(env: &Env, start: Start, listening: Listening, handle: Weak<LoopHandle>) -> Result<Self, Thrown> {
        Inline::start(env, start, listening, Box::new(move || called(&handle)))
            .map(Self::Inline)
            .map_err(|error| thrown(&error))
    }

    #[cfg(not(unix))]
    fn inline(_: &Env, _: Start, _: Listening, _: Weak<LoopHandle>) -> Result<Self, Thrown> {
        Err(thrown(&Error::new(Code::InvalidOption, "ioThreads must be 1 or more on this system")))
    }

    /// Has the event loop call, and run everything else that is due before.
    fn call_soon(&self) {
        match self {
            Self::Thread(_, doorbell) => doorbell.ringer().with(Ringer::ring),
            #[cfg(unix)]
            Self::Inline(inline) => inline.call_soon(),
        }
    }

    fn keep_alive(&self, keep: bool) {
        match self {
            Self::Thread(_, doorbell) => doorbell.keep_alive(keep),
            #[cfg(unix)]
            Self::Inline(inline) => inline.keep_alive(keep),
        }
    }

    fn stop(self) {
        match self {
            Self::Thread(thread, doorbell) => {
                // It ends within one round: nothing in it blocks. Its panics have been dealt with.
                let _ = thread.join();
                doorbell.close();
            }
            #[cfg(unix)]
            Self::Inline(inline) => inline.stop(),
        }
    }
}

fn called(handle: &Weak<LoopHandle>) {
    if let Some(handle) = handle.upgrade() {
        handle.called();
    }
}

impl Drop for LoopHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One I/O loop.
///
/// An object with three functions and not a class: looking up and locking a class instance costs napi over a thousand
/// instructions a call.
#[napi(object, object_from_js = false)]
pub struct NativeLoop<'env> {
    /// The byte chunks of the events in the memory, in record order; null when there are none. Once.
    #[napi(ts_type = "() => Array<Uint8Array> | null")]
    pub blobs: Function<'env, (), Option<Vec<Buffer>>>,
    /// Keeps a copy of what travels apart of the command that is queued next.
    #[napi(ts_type = "(bytes: Uint8Array) => void")]
    pub put_blob: Function<'env, Uint8Array, ()>,
    /// Hands over what is queued, now: what is queued while events are told is handed over behind them.
    #[napi(ts_type = "() => void")]
    pub submit: Function<'env, (), ()>,
}

impl<'env> NativeLoop<'env> {
    /// The functions of a loop. Each keeps it; panics in them become exceptions.
    pub fn of(env: &'env Env, handle: &Rc<LoopHandle>) -> napi::Result<Self> {
        let (fetcher, keeper, submitter) = (handle.clone(), handle.clone(), handle.clone());
        Ok(Self {
            blobs: env.create_function_from_closure("blobs", move |call| fetcher.blobs(call.env))?,
            put_blob: env.create_function_from_closure("putBlob", move |call| {
                keeper.put_blob(&call.get::<Uint8Array>(0)?);
                Ok(())
            })?,
            submit: env.create_function_from_closure("submit", move |_| {
                submitter.submit();
                Ok(())
            })?,
        })
    }
}
