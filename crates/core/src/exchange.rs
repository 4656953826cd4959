//! The state machine of one exchange: a request, its body, its response. No I/O, no clock, no allocation.
//!
//! It has two halves, and a table for each: `Receive::next` and `Send::next`. Nothing else decides a transition. The tables
//! as diagrams are docs/states.md, which a test writes. What goes with a state (lengths, counts) is in `Exchange`.
//!
//! An exchange that is over is dropped by its engine, which reports it as `Sent` or as `Failed`.

#[cfg(test)]
mod tests;

use crate::error::{Code, Error};

/// Enums whose values the tests can list with their documentation.
macro_rules! listed {
    ($($(#[doc = $about:literal])+ enum $name:ident { $($(#[doc = $doc:literal])+ $value:ident,)+ })+) => {
        $(
            $(#[doc = $about])+
            #[derive(Clone, Copy, PartialEq, Eq, Debug)]
            pub(crate) enum $name { $($(#[doc = $doc])+ $value,)+ }

            #[cfg(test)]
            impl $name {
                const ALL: &[(Self, &str)] = &[$((Self::$value, concat!($($doc),+)),)+];
            }
        )+
    };
}

listed! {
    /// What still comes from the peer.
    enum Receive {
        /// The request has no body, or none but what a tunnel would carry.
        None,
        /// Bytes may still come, and nobody waits for them.
        Open,
        /// A reader waits.
        Pulling,
        /// The body, or the tunnel's incoming half, is complete.
        Ended,
        /// The body cannot be read to its end.
        Failed,
    }

    /// How far the answer is.
    enum Send {
        /// The final answer has not begun.
        Waiting,
        /// Written piece by piece.
        Streaming,
        /// The answer that leaves HTTP is on its way.
        Upgrading,
        /// The stream has left HTTP.
        Tunnel,
        /// All of it is queued. `Sent` follows when the transport has taken its last byte.
        Ended,
    }

    /// What happens to an exchange.
    enum Input {
        /// The caller asks for a chunk.
        Pull,
        /// The waiting reader has got a chunk.
        Chunk,
        /// The last byte has been given to the caller.
        End,
        /// The body has failed: too large, too slow, broken or cut off.
        Fail,
        /// The caller gives an interim answer.
        Inform,
        /// The caller gives the whole answer.
        Send,
        /// The caller begins an answer.
        Start,
        /// The caller leaves HTTP.
        Upgrade,
        /// The answer that leaves HTTP is out. On HTTP/1.1 the tunnel begins with an exchange of its own.
        Leave,
        /// The caller gives a piece of the answer, or of the tunnel.
        Write,
        /// The caller ends the answer, or the tunnel's outgoing half.
        Finish,
    }
}

/// Why the caller may not.
type Refusal = (Code, &'static str);

const IN_USE: Refusal = (Code::BodyInUse, "the body has a waiting reader");
const READ: Refusal = (Code::Closed, "the body has been read to its end");
const BROKEN: Refusal = (Code::Closed, "the body has failed");
const ANSWERED: Refusal = (Code::KeyUsed, "the request has its answer already");
const FINISHED: Refusal = (Code::KeyUsed, "the response is finished");
const NOT_STARTED: Refusal = (Code::Closed, "the response has not been started");

impl Receive {
    /// The table of the receive half. `None`: the engines see to it that it does not happen.
    fn next(self, input: Input) -> Option<Result<Self, Refusal>> {
        Some(match (self, input) {
            (Self::Open, Input::Pull) => Ok(Self::Pulling),
            (Self::Pulling, Input::Pull) => Err(IN_USE),
            (Self::None | Self::Ended, Input::Pull) => Err(READ),
            (Self::Failed, Input::Pull) => Err(BROKEN),
            (Self::Pulling, Input::Chunk) => Ok(Self::Open),
            (Self::Open | Self::Pulling, Input::End) => Ok(Self::Ended),
            (Self::Open | Self::Pulling, Input::Fail) => Ok(Self::Failed),
            (Self::None, Input::Leave) => Ok(Self::Open),
            _ => return None,
        })
    }
}

impl Send {
    /// The table of the send half. `None`: the engines see to it that it does not happen.
    fn next(self, input: Input) -> Option<Result<Self, Refusal>> {
        Some(match (self, input) {
            (Self::Waiting, Input::Inform) => Ok(Self::Waiting),
            (Self::Waiting, Input::Send) => Ok(Self::Ended),
            (Self::Waiting, Input::Start) => Ok(Self::Streaming),
            (Self::Waiting, Input::Upgrade) => Ok(Self::Upgrading),
            (_, Input::Inform | Input::Send | Input::Start | Input::Upgrade) => Err(ANSWERED),
            (Self::Waiting | Self::Upgrading, Input::Leave) => Ok(Self::Tunnel),
            (Self::Waiting | Self::Upgrading, Input::Write | Input::Finish) => Err(NOT_STARTED),
            (Self::Streaming | Self::Tunnel, Input::Write) => Ok(self),
            (Self::Streaming | Self::Tunnel, Input::Finish) => Ok(Self::Ended),
            (Self::Ended, Input::Write | Input::Finish) => Err(FINISHED),
            _ => return None,
        })
    }
}

/// Where the table sends `state`, which stays where it is if the table does not know.
fn step<S: Copy>(state: S, next: Option<Result<S, Refusal>>) -> Result<S, Error> {
    debug_assert!(next.is_some(), "an engine lets happen what cannot");
    next.unwrap_or(Ok(state)).map_err(|(code, message)| Error::new(code, message))
}

/// What to do with bytes that the caller wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Write {
    Queue,
    Drop,
}

/// One exchange. An error changes nothing.
#[derive(Debug)]
pub(crate) struct Exchange {
    receive: Receive,
    send: Send,
    /// Body bytes that have come.
    received: u64,
    /// The bytes that come are a tunnel's: no body, and without its limit.
    tunnel: bool,
    /// The most bytes of a chunk.
    most: u32,
    /// The reader has nothing to do but to wait for the next chunk.
    waits: bool,
    /// The caller takes chunks as they come: each is pulled when the one before has been given.
    reads_on: bool,
    /// Bytes that it was given and its reader has not taken.
    held: u32,
    /// The answer's Content-Length.
    declared: Option<u64>,
    /// The answer (to HEAD, 204, 304) drops its bytes.
    bodiless: bool,
    /// Body bytes of the answer.
    queued: u64,
}

impl Exchange {
    pub(crate) fn new(has_body: bool) -> Self {
        let receive = if has_body { Receive::Open } else { Receive::None };
        let send = Send::Waiting;
        Self {
            receive,
            send,
            received: 0,
            tunnel: false,
            most: 0,
            waits: false,
            reads_on: false,
            held: 0,
            declared: None,
            bodiless: false,
            queued: 0,
        }
    }

    fn receive(&mut self, input: Input) -> Result<(), Error> {
        self.receive = step(self.receive, self.receive.next(input))?;
        Ok(())
    }

    fn send(&mut self, input: Input) -> Result<(), Error> {
        self.send = step(self.send, self.send.next(input))?;
        Ok(())
    }

    // ---- receive half

    /// The caller asks for a chunk.
    pub(crate) fn pull(&mut self, most: usize) -> Result<(), Error> {
        self.receive(Input::Pull)?;
        self.most = u32::try_from(most.max(1)).unwrap_or(u32::MAX);
        self.waits = true;
        Ok(())
    }

    /// The caller takes chunks as they come. Its reader has taken `taken` bytes more, and waits or not: bytes that are on their way to it
    /// answer its wait.
    pub(crate) fn read_on(&mut self, most: usize, taken: usize, waits: bool) -> Result<(), Error> {
        if !self.reads_on {
            self.pull(most)?;
            self.reads_on = true;
        }
        self.held = self.held.saturating_sub(taken as u32);
        self.waits = waits && self.held == 0;
        Ok(())
    }

    /// The most that the caller takes of what comes.
    pub(crate) fn pulling(&self) -> Option<usize> {
        (self.receive == Receive::Pulling).then_some(self.most as usize)
    }

    /// The caller has been given a chunk.
    pub(crate) fn pulled(&mut self, bytes: usize) {
        let _ = self.receive(Input::Chunk);
        self.waits = false;
        if self.reads_on {
            self.held += bytes as u32;
            let _ = self.receive(Input::Pull);
        }
    }

    /// Bytes that the caller was given and its reader has not taken.
    pub(crate) fn held(&self) -> usize {
        self.held as usize
    }

    /// The caller takes chunks as they come.
    pub(crate) fn reads_on(&self) -> bool {
        self.reads_on
    }

    /// A reader waits.
    pub(crate) fn waiting(&self) -> bool {
        self.receive == Receive::Pulling && self.waits
    }

    /// All of the body has been given to the caller.
    pub(crate) fn body_ended(&mut self) {
        let _ = self.receive(Input::End);
    }

    /// The body cannot be read to its end.
    pub(crate) fn body_failed(&mut self) {
        let _ = self.receive(Input::Fail);
    }

    /// The body has failed.
    pub(crate) fn broken(&self) -> bool {
        self.receive == Receive::Failed
    }

    /// Nothing of the body has been read or asked for.
    pub(crate) fn untouched(&self) -> bool {
        self.receive == Receive::Open && self.received == 0
    }

    pub(crate) fn receiving(&self) -> bool {
        matches!(self.receive, Receive::Open | Receive::Pulling)
    }

    /// Bytes have come; an error when they are more than `limit`.
    pub(crate) fn received(&mut self, bytes: usize, limit: u64) -> Result<(), Error> {
        self.received += bytes as u64;
        if self.received > limit && self.receiving() && !self.tunnel {
            return Err(Error::new(Code::BodyTooLarge, format!("the request body is larger than {limit} bytes")));
        }
        Ok(())
    }

    // ---- send half

    /// The final answer has not begun.
    pub(crate) fn check_waiting(&self) -> Result<(), Error> {
        step(self.send, self.send.next(Input::Inform)).map(drop)
    }

    pub(crate) fn sent_whole(&mut self, bytes: u64) {
        if self.send(Input::Send).is_ok() {
            self.queued = bytes;
        }
    }

    pub(crate) fn started(&mut self, declared: Option<u64>, bodiless: bool) {
        if self.send(Input::Start).is_ok() {
            (self.declared, self.bodiless) = (declared, bodiless);
        }
    }

    pub(crate) fn upgrading(&mut self) {
        let _ = self.send(Input::Upgrade);
    }

    /// The answer that leaves HTTP is on its way.
    pub(crate) fn leaving(&self) -> bool {
        self.send == Send::Upgrading
    }

    /// The stream has left HTTP: both halves begin anew, as a tunnel.
    pub(crate) fn upgraded(&mut self) {
        if self.send(Input::Leave).is_ok() && self.receive(Input::Leave).is_ok() {
            self.tunnel = true;
        }
    }

    /// More of the answer. `BodyLengthMismatch` means that the answer can no longer be made right.
    pub(crate) fn write(&mut self, bytes: usize) -> Result<Write, Error> {
        self.send(Input::Write)?;
        if self.bodiless {
            return Ok(Write::Drop);
        }
        let queued = self.queued + bytes as u64;
        if let Some(declared) = self.declared.filter(|&declared| queued > declared) {
            let message = format!("the body is longer than its content-length, {declared}");
            return Err(Error::new(Code::BodyLengthMismatch, message));
        }
        self.queued = queued;
        Ok(Write::Queue)
    }

    /// The end of the answer.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        let short = self.declared.filter(|&declared| !self.bodiless && self.queued < declared);
        if let (Send::Streaming, Some(declared)) = (self.send, short) {
            let message = format!("the body has {} bytes, its content-length is {declared}", self.queued);
            return Err(Error::new(Code::BodyLengthMismatch, message));
        }
        self.send(Input::Finish)
    }

    /// The answer has neither a body nor trailers.
    pub(crate) fn bodiless(&self) -> bool {
        self.bodiless
    }

    /// Response bytes of the whole answer, once all of it is queued.
    pub(crate) fn ended(&self) -> Option<u64> {
        (self.send == Send::Ended).then_some(self.queued)
    }

    /// Body bytes queued so far.
    pub(crate) fn queued(&self) -> u64 {
        self.queued
    }

    /// The caller is writing piece by piece.
    pub(crate) fn streaming(&self) -> bool {
        matches!(self.send, Send::Streaming | Send::Tunnel)
    }
}
