//! The JavaScript thread's side of one I/O loop, wherever that runs.

use std::{cell::RefCell, rc::Rc, sync::Arc, thread::JoinHandle, time::Instant};

use bytes::Bytes;
#[cfg(not(unix))]
use hyperpull::error::{Code, Error};
use napi::{
    Env, Status,
    bindgen_prelude::{Buffer, BufferSlice, FnArgs, Function, Uint8Array},
};
use napi_derive::napi;

#[cfg(unix)]
use crate::inline::Inline;
use crate::{
    batch::Clock,
    bind::Listening,
    doorbell::Doorbell,
    environment,
    error::{Thrown, thrown, unexpected},
    fault,
    io_loop::Start,
    io_thread,
    kinds::COMMAND_WORDS,
    mailbox::Outlet,
    memory::{LoopMemory, Memory},
    shared::Shared,
    submit::{self, Submission},
    take::Staging,
};

/// One I/O loop, held by JavaScript. Everything in here is used and dropped on the JavaScript thread.
pub struct LoopHandle {
    index: usize,
    shared: Arc<Shared>,
    outlet: Arc<Outlet>,
    /// None once the loop has ended.
    running: RefCell<Option<Running>>,
}

struct Running {
    memory: Memory,
    staging: Staging,
    runner: Runner,
}

/// What turns the loop.
enum Runner {
    Thread(JoinHandle<()>, Arc<Doorbell>),
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
        doorbell: &Function<'_, (), ()>,
    ) -> Result<Rc<Self>, Thrown> {
        let clock = Clock::starting(now);
        let memory = Memory::new(memory).map_err(|error| thrown(&error))?;
        let outlet = Arc::new(Outlet::default());
        let start =
            Start { index, shared: shared.clone(), outlet: outlet.clone(), clock, capacity: memory.event_capacity() };
        let runner = if shared.inline {
            Runner::inline(env, start, listening, doorbell)?
        } else {
            Runner::thread(env, start, listening, doorbell)?
        };
        let running = Running { memory, staging: Staging::default(), runner };
        let handle = Rc::new(Self { index, shared, outlet, running: RefCell::new(Some(running)) });
        if let Err(error) = environment::register(env, &handle) {
            handle.stop();
            return Err(unexpected(&error));
        }
        Ok(handle)
    }

    /// Whether the event loop stays alive for this I/O loop.
    pub fn keep_alive(&self, env: &Env, keep: bool) {
        if let Some(running) = &*self.running.borrow() {
            running.runner.keep_alive(env, keep);
        }
    }

    /// Ends the loop at once, waits for that, and lets go of everything of JavaScript's. Idempotent.
    pub fn stop(&self) {
        // Taken out first: nothing that follows finds it a second time.
        let Some(running) = self.running.take() else { return };
        if let Some(inbox) = self.shared.inboxes.get(self.index) {
            inbox.stop();
        }
        running.runner.stop();
        environment::forget_ended();
    }

    /// The loop has not ended.
    pub fn is_running(&self) -> bool {
        self.running.borrow().is_some()
    }

    fn take(&self) -> u32 {
        let mut borrow = self.running.borrow_mut();
        let Some(running) = borrow.as_mut() else { return 0 };
        fault::point("take");
        let room = running.memory.for_take();
        let count = running.staging.take(&self.outlet, room.events, room.event_bytes, room.stats);
        let stopped = running.staging.stopped();
        drop(borrow);
        if stopped {
            // It ends by itself: nothing rings any more, so nothing is to keep the event loop alive.
            self.stop();
        }
        count as u32
    }

    fn blobs(&self, env: &Env) -> napi::Result<Option<Vec<Buffer>>> {
        let mut borrow = self.running.borrow_mut();
        let Some(running) = borrow.as_mut() else { return Ok(None) };
        fault::point("blobs");
        let blobs = running.staging.blobs();
        if blobs.is_empty() {
            return Ok(None);
        }
        // Buffers, because an ArrayBuffer would be filled with zeros first.
        blobs
            .iter()
            .map(|blob| BufferSlice::copy_from(env, blob)?.into_buffer(env))
            .collect::<napi::Result<_>>()
            .map(Some)
    }

    fn submit(&self, records: u32, bytes: u32, blobs: Vec<Bytes>) -> napi::Result<bool> {
        let borrow = self.running.borrow();
        let Some(running) = borrow.as_ref() else { return Ok(false) };
        fault::point("submit");
        let (words, all_bytes) = running.memory.for_submit();
        let words = (records as usize).checked_mul(COMMAND_WORDS).and_then(|count| words.get(..count));
        let (Some(words), Some(bytes)) = (words, all_bytes.get(..bytes as usize)) else {
            return Err(napi::Error::new(Status::InvalidArg, "submit: more than the memory holds"));
        };
        let quiet_since = submit::is_quiet(words).then(Instant::now);
        let bytes = Bytes::copy_from_slice(bytes);
        let submission = Submission { words: words.to_vec(), bytes, blobs, quiet_since };
        if let Some(inbox) = self.shared.inboxes.get(self.index) {
            inbox.submit(submission);
        }
        Ok(running.runner.submitted())
    }
}

impl Runner {
    fn thread(env: &Env, start: Start, listening: Listening, ring: &Function<'_, (), ()>) -> Result<Self, Thrown> {
        let doorbell = Doorbell::new(env, ring).map_err(|error| unexpected(&error))?;
        let thread = io_thread::spawn(start, listening, doorbell.clone()).map_err(|error| {
            doorbell.close();
            thrown(&error)
        })?;
        Ok(Self::Thread(thread, doorbell))
    }

    #[cfg(unix)]
    fn inline(env: &Env, start: Start, listening: Listening, ring: &Function<'_, (), ()>) -> Result<Self, Thrown> {
        Inline::start(env, start, listening, ring).map(Self::Inline).map_err(|error| thrown(&error))
    }

    #[cfg(not(unix))]
    fn inline(_: &Env, _: Start, _: Listening, _: &Function<'_, (), ()>) -> Result<Self, Thrown> {
        Err(thrown(&Error::new(Code::InvalidOption, "ioThreads must be 1 or more on this system")))
    }

    fn keep_alive(&self, env: &Env, keep: bool) {
        match self {
            Self::Thread(_, doorbell) => doorbell.keep_alive(env, keep),
            #[cfg(unix)]
            Self::Inline(inline) => inline.keep_alive(keep),
        }
    }

    /// True: something has come of it already.
    fn submitted(&self) -> bool {
        match self {
            Self::Thread(..) => false,
            #[cfg(unix)]
            Self::Inline(inline) => inline.submitted(),
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

impl Drop for LoopHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One I/O loop.
///
/// An object with three functions and not a class: looking up and locking a class instance costs napi over a thousand
/// instructions a call, and there are three calls a batch.
#[napi(object, object_from_js = false)]
pub struct NativeLoop<'env> {
    /// Moves events into the loop's memory: the number of records, at most the room there is. Call again until 0.
    #[napi(ts_type = "() => number")]
    pub take: Function<'env, (), u32>,
    /// The byte chunks that the last take left, in record order; null when there are none.
    #[napi(ts_type = "() => Array<Uint8Array> | null")]
    pub blobs: Function<'env, (), Option<Vec<Buffer>>>,
    /// Hands over `records` commands and `bytes` bytes; `blobs` are copied before it returns. True: there is something to
    /// take, and nobody rings for it. Only on a loop that runs on this thread.
    #[napi(ts_type = "(records: number, bytes: number, blobs: Array<Uint8Array> | null) => boolean")]
    pub submit: Function<'env, SubmitArguments, bool>,
}

type SubmitArguments = FnArgs<(u32, u32, Option<Vec<Uint8Array>>)>;

impl<'env> NativeLoop<'env> {
    /// The functions of a loop. Each keeps it; panics in them become exceptions.
    pub fn of(env: &'env Env, handle: &Rc<LoopHandle>) -> napi::Result<Self> {
        let (taker, keeper, submitter) = (handle.clone(), handle.clone(), handle.clone());
        Ok(Self {
            take: env.create_function_from_closure("take", move |_| Ok(taker.take()))?,
            blobs: env.create_function_from_closure("blobs", move |call| keeper.blobs(call.env))?,
            submit: env.create_function_from_closure("submit", move |call| {
                let blobs = call.get::<Option<Vec<Uint8Array>>>(2)?.unwrap_or_default();
                let blobs = blobs.iter().map(|blob| Bytes::copy_from_slice(blob)).collect();
                submitter.submit(call.get(0)?, call.get(1)?, blobs)
            })?,
        })
    }
}
