//! The engine over HTTP/1, turned by hand, against bytes, over a pipe with a settable capacity.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod bodies;
mod ends;
mod exchanges;
#[path = "../rig/mod.rs"]
mod rig;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
