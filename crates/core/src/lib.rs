//! Pull-mode HTTP/1.1 and HTTP/2 server connections over hyper and h2.

pub mod config;
mod detect;
pub mod engine;
pub mod error;
pub mod event;
mod exchange;
mod io;
mod key;
mod relay;
mod request;
mod response;
mod wire;

pub use key::Key;
pub use response::ResponseHead;
