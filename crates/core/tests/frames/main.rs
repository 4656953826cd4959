//! The engine over HTTP/2, against a client that says any frame it is told to.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod client;
mod ends;
mod heads;
mod priorities;
#[path = "../rig/mod.rs"]
mod rig;
mod windows;
