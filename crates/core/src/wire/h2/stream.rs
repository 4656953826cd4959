//! One HTTP/2 stream: its exchange, its windows, its incoming bytes, its outgoing queue.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use http::HeaderMap;

use super::{frame::Reason, priority::Priority};
use crate::{
    config::Timeouts,
    error::{Code, Error},
    event::Upgrade,
    exchange::Exchange,
    key::Key,
    wire::{due, earlier, received::Received},
};

/// What the caller's pull got.
#[derive(Debug)]
pub(super) enum Fed {
    Nothing,
    Chunk(Bytes),
    End(Option<HeaderMap>),
    Failed(Error),
}

/// What still comes from the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Coming {
    /// DATA or trailers. Of a declared length so many bytes are left.
    Open(Option<u64>),
    /// END_STREAM has come.
    Ended,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: Key,
    pub(super) exchange: Exchange,
    pub(super) head_request: bool,
    pub(super) upgrade: Option<Upgrade>,
    pub(super) tunnel: bool,
    pub(super) priority: Priority,
    /// `expect: 100-continue` has not been answered.
    pub(super) expects_continue: bool,
    /// The caller has got the request.
    pub(super) pulled: bool,

    pub(super) coming: Coming,
    /// What the peer may still send.
    pub(super) receive_window: i64,
    /// What the caller has taken and the peer has not been told of.
    pub(super) taken: u32,
    pub(super) incoming: Received,
    pub(super) trailers: Option<HeaderMap>,
    /// Why no more will come, to be told after what has come.
    pub(super) failure: Option<Error>,
    /// It is in the connection's list of those to be looked at.
    pub(super) awake: bool,

    /// What the peer takes.
    pub(super) send_window: i64,
    /// The final head is on its way.
    pub(super) answered: bool,
    /// It is in the connection's list of those that have something to send.
    pub(super) listed: bool,
    /// What goes out next. Behind it is the rest: most answers have none.
    front: Bytes,
    rest: VecDeque<Bytes>,
    pub(super) queued: usize,
    /// The caller has finished; the trailer section, if there is one.
    pub(super) end: Option<Option<HeaderMap>>,
    /// Where the last of it was written, if it takes turns with others.
    pub(super) served_at: u64,
    /// Body bytes that the transport has taken and flushed.
    pub(super) flushed: u64,
    /// All of the answer has been flushed.
    pub(super) sent: bool,
    /// Since when the peer has not let out what waits.
    pub(super) stalled_since: Option<Instant>,
    pub(super) pulled_at: Instant,
}

impl Stream {
    pub(super) fn new(
        key: Key,
        upgrade: Option<Upgrade>,
        coming: Coming,
        receive_window: i64,
        send_window: i64,
        now: Instant,
    ) -> Self {
        Self {
            key,
            // What comes with a CONNECT is no body: it is the tunnel's, if there will be one.
            exchange: Exchange::new(coming != Coming::Ended && upgrade.is_none()),
            head_request: false,
            upgrade,
            tunnel: false,
            priority: Priority::default(),
            expects_continue: false,
            pulled: false,
            coming,
            receive_window,
            taken: 0,
            incoming: Received::default(),
            trailers: None,
            failure: None,
            awake: false,
            send_window,
            answered: false,
            listed: false,
            front: Bytes::new(),
            rest: VecDeque::new(),
            queued: 0,
            end: None,
            served_at: 0,
            flushed: 0,
            sent: false,
            stalled_since: None,
            pulled_at: now,
        }
    }

    /// The stream leaves HTTP: no limit on what comes, and it lives until both halves have ended.
    pub(super) fn enter_tunnel(&mut self) {
        self.tunnel = true;
        self.exchange.upgraded();
    }

    /// A reader waits for a body. One that waits for a tunnel may do so for as long as it likes.
    pub(super) fn pulls_body(&self) -> bool {
        self.exchange.waiting() && !self.tunnel
    }

    /// When the peer has kept it waiting for too long.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        let sent = self.stalled_since.and_then(|since| due(since, timeouts.write_stall));
        let received = if self.pulls_body() { due(self.pulled_at, timeouts.body_idle) } else { None };
        earlier(sent, received)
    }

    /// `Sent` has been told, and nothing more will come that anybody wants.
    pub(super) fn over(&self) -> bool {
        self.sent && !(self.tunnel && self.exchange.receiving())
    }

    /// Both sides have ended it, and the caller has not read it to its end: a tunnel.
    pub(super) fn is_left_to_read(&self) -> bool {
        self.sent && self.coming == Coming::Ended
    }

    // ---- incoming

    /// So many bytes of DATA, with END_STREAM or without (RFC 9113 section 8.1.1: as many as were declared). True: they are to
    /// be kept.
    pub(super) fn receive(&mut self, bytes: usize, end: bool, body_limit: u64) -> Result<bool, Reason> {
        if let Coming::Open(Some(left)) = &mut self.coming {
            *left = left.checked_sub(bytes as u64).ok_or(Reason::ProtocolError)?;
        }
        self.ended(end)?;
        // What comes with a CONNECT may be a tunnel's; of a body that has failed nothing is kept.
        if self.failure.is_some() || !(self.exchange.receiving() || self.upgrade.is_some()) {
            return Ok(false);
        }
        self.failure = self.exchange.received(bytes, body_limit).err();
        Ok(self.failure.is_none())
    }

    /// The peer has ended its half, if `end`.
    pub(super) fn ended(&mut self, end: bool) -> Result<(), Reason> {
        match self.coming {
            Coming::Open(Some(1..)) if end => Err(Reason::ProtocolError),
            _ if end => {
                self.coming = Coming::Ended;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Bytes of a body that has come whole already.
    pub(super) fn whole(&mut self, length: u64) -> Option<Bytes> {
        let whole = self.coming == Coming::Ended
            && self.failure.is_none()
            && self.incoming.len() as u64 == length
            && self.trailers.is_none();
        whole.then(|| {
            self.exchange.body_ended();
            self.incoming.take(usize::MAX)
        })
    }

    /// Answers the caller's pull.
    pub(super) fn feed(&mut self) -> Fed {
        let Some(max) = self.exchange.pulling() else { return Fed::Nothing };
        if !self.incoming.is_empty() {
            let bytes = self.incoming.take(max);
            self.exchange.pulled(bytes.len());
            return Fed::Chunk(bytes);
        }
        if let Some(error) = self.failure.take() {
            self.exchange.body_failed();
            return Fed::Failed(error);
        }
        if self.coming != Coming::Ended {
            return Fed::Nothing;
        }
        self.exchange.body_ended();
        Fed::End(self.trailers.take())
    }

    // ---- outgoing

    pub(super) fn queue(&mut self, chunk: Bytes) {
        self.queued += chunk.len();
        if self.front.is_empty() {
            self.front = chunk;
        } else if !chunk.is_empty() {
            self.rest.push_back(chunk);
        }
    }

    /// At most `most` bytes of what is queued.
    pub(super) fn next_piece(&mut self, most: usize) -> Bytes {
        let piece = self.front.split_to(most.min(self.front.len()));
        if self.front.is_empty() {
            self.front = self.rest.pop_front().unwrap_or_default();
        }
        self.queued -= piece.len();
        piece
    }

    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) {
        self.end = Some(trailers);
    }

    /// Something waits that has not been written.
    pub(super) fn wants_to_send(&self) -> bool {
        self.queued > 0 || self.end.is_some()
    }
}

/// What a stream fails with that the peer has reset.
pub(super) fn reset_by_peer(code: u32) -> Error {
    Error::new(Code::PeerReset, format!("the peer reset the stream: {}", super::frame::reason_name(code)))
}
