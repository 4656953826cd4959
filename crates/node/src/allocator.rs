//! The allocator of all native code: what is freed is used again before it goes back to the system.
//!
//! The bytes of a body are allocated on one thread and freed on the other, so that their pages rest for a while between
//! two uses. mimalloc gives back what has rested for 10 ms: then a body faults in every page of it anew, which costs as much
//! as copying it. One of the files with `unsafe` code.

use std::ffi::c_long;

use libmimalloc_sys::mi_option_set_default;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc 2, whose numbers the crate does not name.
const PURGE_DELAY: i32 = 15;
/// Milliseconds.
const REST: c_long = 200;

/// Runs when the addon is loaded. `MIMALLOC_PURGE_DELAY` in the environment has precedence.
#[napi_derive::module_init]
fn init() {
    // SAFETY: it stores a number in a table, at an index that it checks; while the addon is being loaded no other thread of
    // it runs, which might read the table.
    unsafe { mi_option_set_default(PURGE_DELAY, REST) }
}
