//! A listener: the bound socket and the I/O loops that accept from it.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use hyperpull::error::{Code, Error};
use napi::{Env, bindgen_prelude::Function};
use napi_derive::napi;

use crate::{
    bind::Listening,
    error::{Thrown, thrown, unexpected},
    fault,
    loop_handle::{LoopHandle, NativeLoop},
    memory::LoopMemory,
    options::NativeListenOptions,
    shared::Shared,
};

/// A bound socket and its I/O loops.
#[napi]
pub struct NativeListener {
    address: String,
    shared: Arc<Shared>,
    /// Given away to the last loop that starts: a handle kept here would keep the kernel accepting.
    listening: RefCell<Option<Listening>>,
    /// By index; None before the start.
    loops: RefCell<Vec<Option<Rc<LoopHandle>>>>,
}

fn invalid(message: &'static str) -> Thrown {
    thrown(&Error::new(Code::InvalidOption, message))
}

#[napi]
impl NativeListener {
    /// Binds and listens; starts no loop. Throws an Error whose `code` is ERR_ADDRESS_IN_USE, ERR_INVALID_OPTION
    /// or ERR_IO.
    #[napi(constructor, catch_unwind)]
    pub fn new(options: NativeListenOptions) -> Result<Self, Thrown> {
        fault::point("listen");
        let settings = options.settings().map_err(|error| thrown(&error))?;
        let listening = options.bind().map_err(|error| thrown(&error))?;
        let address = listening.address().map_err(|error| thrown(&error))?;
        let shared = Arc::new(Shared::new(settings));
        let loops = RefCell::new(shared.inboxes.iter().map(|_| None).collect());
        Ok(Self { address, shared, listening: RefCell::new(Some(listening)), loops })
    }

    /// `tcp\0host\0port` or `unix\0path`.
    #[napi(getter, catch_unwind)]
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Starts I/O loop `index` (0 .. ioThreads-1; 0 when there are no I/O threads), which accepts at once. `now` is performance.now(),
    /// read just before the call. `told` is called when there are events in the memory, as many as it is given.
    #[napi(
        catch_unwind,
        ts_args_type = "index: number, memory: LoopMemory, now: number, told: (records: number) => void"
    )]
    pub fn start<'env>(
        &self,
        env: &'env Env,
        index: u32,
        memory: LoopMemory,
        now: f64,
        told: Function<'_, u32, ()>,
    ) -> Result<NativeLoop<'env>, Thrown> {
        let mut loops = self.loops.borrow_mut();
        let others_started =
            loops.iter().enumerate().all(|(other, started)| other == index as usize || started.is_some());
        let Some(slot @ None) = loops.get_mut(index as usize) else {
            return Err(invalid("no such I/O loop, or started already"));
        };
        let mut listening = self.listening.borrow_mut();
        let own = match &*listening {
            None => return Err(invalid("the listener has been stopped")),
            Some(_) if others_started => listening.take(),
            Some(listening) => Some(listening.try_clone().map_err(|error| thrown(&error))?),
        };
        let Some(own) = own else { return Err(invalid("the listener has been stopped")) };
        let handle = LoopHandle::start(env, index as usize, self.shared.clone(), own, memory, now, &told)?;
        let functions = NativeLoop::of(env, &handle).map_err(|error| unexpected(&error))?;
        *slot = Some(handle);
        Ok(functions)
    }

    fn each_loop(&self, run: impl Fn(&LoopHandle)) {
        self.loops.borrow().iter().flatten().for_each(|handle| run(handle));
    }

    /// The doorbells keep the event loop alive: the state after start.
    #[napi(js_name = "ref", catch_unwind)]
    pub fn keep_alive(&self) {
        self.each_loop(|handle| handle.keep_alive(true));
    }

    /// The doorbells do not keep the event loop alive.
    #[napi(js_name = "unref", catch_unwind)]
    pub fn let_end(&self) {
        self.each_loop(|handle| handle.keep_alive(false));
    }

    /// Ends the I/O loops at once, and joins their threads. Idempotent. Also called by the environment's cleanup hook.
    #[napi(catch_unwind)]
    pub fn stop(&self) {
        self.listening.borrow_mut().take();
        self.each_loop(LoopHandle::stop);
    }
}
