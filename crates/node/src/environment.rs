//! The end of a JavaScript environment: a worker that terminates, a process that ends.
//!
//! Each environment gets one cleanup hook, which stops the I/O loops that it started.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use napi::Env;

use crate::loop_handle::LoopHandle;

#[derive(Default)]
struct Registry {
    /// Environments whose cleanup hook is set, by address. There may be several on one thread.
    hooked: Vec<usize>,
    loops: Vec<(usize, Weak<LoopHandle>)>,
}

thread_local! {
    static REGISTRY: RefCell<Registry> = RefCell::default();
}

/// Has `handle` stopped when its environment ends.
pub fn register(env: &Env, handle: &Rc<LoopHandle>) -> napi::Result<()> {
    let address = env.raw().addr();
    let hooked = REGISTRY.with_borrow(|registry| registry.hooked.contains(&address));
    if !hooked {
        env.add_env_cleanup_hook(address, end)?;
    }
    REGISTRY.with_borrow_mut(|registry| {
        if !hooked {
            registry.hooked.push(address);
        }
        registry.loops.push((address, Rc::downgrade(handle)));
    });
    Ok(())
}

/// Lets go of what has been stopped.
pub fn forget_ended() {
    // Fails only when the thread's locals are gone, and the registry with them.
    let _ = REGISTRY.try_with(|registry| {
        if let Ok(mut registry) = registry.try_borrow_mut() {
            registry.loops.retain(|(_, handle)| handle.upgrade().is_some_and(|handle| handle.is_running()));
        }
    });
}

fn end(address: usize) {
    let ending: Vec<_> = REGISTRY.with_borrow_mut(|registry| {
        registry.hooked.retain(|&hooked| hooked != address);
        let (ending, others) = registry.loops.drain(..).partition(|(of, _)| *of == address);
        registry.loops = others;
        ending
    });
    for (_, handle) in ending {
        if let Some(handle) = handle.upgrade() {
            handle.stop();
        }
    }
}
