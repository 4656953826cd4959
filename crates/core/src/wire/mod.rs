//! The engines that speak: one per protocol, behind one trait.

pub(crate) mod h1;
pub(crate) mod h2;
mod received;
pub(crate) mod tunnel;

use std::{
    collections::VecDeque,
    task::Context,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::{
    engine::ResetReason,
    error::{Error, Refusal},
    event::{Event, Upgrade},
    fields::ResponseFields,
    key::Key,
    relay::Relay,
    response::ResponseHead,
};

/// Bodies up to this length are taken along with the head when they have come with it.
const COMPLETE_BODY_BYTES: u64 = 16 << 10;

/// How an engine's part of the connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The transport is to be closed; `linger` until the peer has stopped sending, so that no reset overtakes the answer.
    Close { reason: crate::error::CloseReason, linger: bool },
    /// The h1 stream has left HTTP.
    Upgraded { key: Key, protocol: Box<Upgrade> },
}

/// What a turn works with.
pub(crate) struct Turn<'a, 'cx> {
    pub(crate) cx: &'a mut Context<'cx>,
    pub(crate) relay: &'a Relay,
    pub(crate) now: Instant,
    /// The deadline that was told after the last turn has passed.
    pub(crate) late: bool,
    /// The waker was called since the turn before: what was pending may be ready.
    pub(crate) called: bool,
    pub(crate) events: &'a mut VecDeque<Event>,
}

impl Turn<'_, '_> {
    pub(crate) fn refused(&mut self, refusal: Refusal) {
        self.events.push_back(Event::Refused(refusal));
    }
}

/// What an exchange has come to that cannot go on. Of a tunnel that is `sent` it is the incoming half alone.
fn lost(key: Key, sent: bool, error: Error) -> Event {
    if sent { Event::BodyFailed { key, error } } else { Event::Failed { key, error } }
}

/// One connection's protocol.
pub(crate) trait Wire: Commands {
    /// Does all the work there is. `Some` ends the engine's part.
    fn turn(&mut self, turn: &mut Turn<'_, '_>) -> Option<End>;
    /// When `turn` has to run although nothing woke its owner.
    fn deadline(&self) -> Option<Instant>;
    /// Takes nothing new from here on.
    fn drain(&mut self);
    /// Ends as soon as that takes nothing from a peer that does not know of it yet.
    fn retire(&mut self);
    /// The connection is over: what is in flight fails with `error`.
    fn abandon(&mut self, error: &Error, events: &mut VecDeque<Event>);
}

/// What the caller asks for. Every call only notes it; the next turn does it.
pub(crate) trait Commands {
    fn pull_requests(&mut self, more: u32);
    fn pull_chunk(&mut self, key: Key, max: usize, now: Instant) -> Result<(), Error>;
    fn read_on(&mut self, key: Key, max: usize, taken: usize, waits: Option<Instant>);
    /// No more of the body is read until more of it has been taken.
    fn is_full(&mut self, key: Key) -> bool;
    fn send(
        &mut self,
        key: Key,
        head: ResponseHead,
        body: Bytes,
        trailers: Option<HeaderMap>,
        now: Instant,
    ) -> Result<(), Error>;
    fn start(&mut self, key: Key, head: ResponseHead, now: Instant) -> Result<(), Error>;
    fn write(&mut self, key: Key, chunk: Bytes) -> Result<(), Error>;
    fn finish(&mut self, key: Key, trailers: Option<HeaderMap>) -> Result<(), Error>;
    fn inform(&mut self, key: Key, status: StatusCode, headers: ResponseFields) -> Result<(), Error>;
    fn upgrade(&mut self, key: Key, head: ResponseHead, now: Instant) -> Result<(), Error>;
    fn reset(&mut self, stream: u32, reason: ResetReason);
}

/// The earlier of two deadlines.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// `since` plus a timeout, if the timeout is on. One that is longer than time can tell is off.
pub(crate) fn due(since: Instant, timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| since.checked_add(timeout))
}
