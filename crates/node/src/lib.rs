//! The Node addon of hyperpull: I/O loops, and the crossing to JavaScript (`docs/crossing.md`).
//!
//! It converts and hands over; about HTTP it decides nothing. The way of a request: `acceptor` -> `io_loop` ->
//! `turn` -> `batch` -> `mailbox` -> `doorbell` -> `loop_handle` (`take`, `callback`, JavaScript, `submit`) -> `apply` -> `turn`.

mod acceptor;
#[cfg(feature = "mimalloc")]
mod allocator;
mod apply;
mod batch;
mod bind;
mod callback;
mod connection;
mod doorbell;
mod environment;
mod error;
mod fault;
mod gate;
mod heads;
mod held;
#[cfg(unix)]
mod inline;
mod io_loop;
mod io_thread;
mod kinds;
mod libuv;
mod listener;
mod loan;
mod loop_handle;
mod mailbox;
mod memory;
#[cfg(all(test, feature = "loom"))]
mod models;
mod names;
mod options;
mod reactor;
mod shared;
mod socket;
mod stats;
mod submit;
mod sync;
mod table;
mod take;
mod timers;
mod turn;
#[cfg(unix)]
mod watch;

use hyperpull::error::{CloseCode, Code, Refusal, Side};
use kinds::{CommandKind, EventKind};
use napi_derive::napi;

/// The tables of the crossing, as names in the order of their numbers.
#[napi(object, object_from_js = false)]
pub struct Layout {
    /// Event kinds, from 1.
    pub events: Vec<&'static str>,
    /// Command kinds, from 1.
    pub commands: Vec<&'static str>,
    /// Error codes, from 0.
    pub codes: Vec<&'static str>,
    /// The side of each error code.
    pub sides: Vec<&'static str>,
    /// Close codes, from 0.
    pub close_codes: Vec<&'static str>,
    /// The side of each close code.
    pub close_sides: Vec<&'static str>,
    /// Refusals, from 0.
    pub refusals: Vec<&'static str>,
    /// Methods, from 1.
    pub methods: Vec<&'static str>,
    /// Field names, from 0.
    pub header_names: Vec<&'static str>,
}

const fn side_name(side: Side) -> &'static str {
    match side {
        Side::Peer => "peer",
        Side::Local => "local",
        Side::Io => "io",
    }
}

fn names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().copied().map(name).collect()
}

/// The tables of the crossing, for the test that compares them with the facade's.
#[napi(catch_unwind)]
pub fn layout() -> Layout {
    Layout {
        events: names(EventKind::ALL, EventKind::as_str),
        commands: names(CommandKind::ALL, CommandKind::as_str),
        codes: names(Code::ALL, Code::as_str),
        sides: names(Code::ALL, |code| side_name(code.side())),
        close_codes: names(CloseCode::ALL, CloseCode::as_str),
        close_sides: names(CloseCode::ALL, |code| side_name(code.side())),
        refusals: names(Refusal::ALL, Refusal::as_str),
        methods: names::METHODS.to_vec(),
        header_names: names::HEADER_NAMES.iter().map(|name| name.as_str()).collect(),
    }
}
