//! The end of a JavaScript environment: a worker that terminates, a process that ends.
//!
//! Each environment gets one cleanup hook, which stops the I/O threads that it started.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use napi::Env;

use crate::thread::ThreadHandle;

#[derive(Default)]
struct Registry {
    /// Environments whose cleanup hook is set, by address. There may be several on one thread.
    hooked: Vec<usize>,
    threads: Vec<(usize, Weak<ThreadHandle>)>,
}

thread_local! {
    static REGISTRY: RefCell<Registry> = RefCell::default();
}

/// Has `handle` stopped when its environment ends.
pub fn register(env: &Env, handle: &Rc<ThreadHandle>) -> napi::Result<()> {
    let address = env.raw().addr();
    let hooked = REGISTRY.with_borrow(|registry| registry.hooked.contains(&address));
    if !hooked {
        env.add_env_cleanup_hook(address, end)?;
    }
    REGISTRY.with_borrow_mut(|registry| {
        if !hooked {
            registry.hooked.push(address);
        }
        registry.threads.push((address, Rc::downgrade(handle)));
    });
    Ok(())
}

/// Lets go of what has been stopped.
pub fn forget_ended() {
    // Fails only when the thread's locals are gone, and the registry with them.
    let _ = REGISTRY.try_with(|registry| {
        if let Ok(mut registry) = registry.try_borrow_mut() {
            registry.threads.retain(|(_, thread)| thread.upgrade().is_some_and(|thread| thread.is_running()));
        }
    });
}

fn end(address: usize) {
    let ending: Vec<_> = REGISTRY.with_borrow_mut(|registry| {
        registry.hooked.retain(|&hooked| hooked != address);
        let (ending, others) = registry.threads.drain(..).partition(|(of, _)| *of == address);
        registry.threads = others;
        ending
    });
    for (_, thread) in ending {
        if let Some(thread) = thread.upgrade() {
            thread.stop();
        }
    }
}
