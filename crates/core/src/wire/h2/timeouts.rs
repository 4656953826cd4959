//! What a peer is given time for.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    H2,
    frame::{self, Head, Reason, kind},
    goaway::drained,
};
use crate::{
    config::Timeouts,
    error::{CloseCode, CloseReason, Code, Error, Refusal},
    event::Event,
    wire::{End, Turn, due, earlier},
};

/// What the ping says, which its answer repeats.
pub(super) const KEEP_ALIVE: [u8; 8] = *b"hp alive";
/// An answer to a ping is due within this.
const PONG: Duration = Duration::from_secs(20);

pub(super) enum PingState {
    /// The next is due at this time, unless the peer is heard before: bytes read by then.
    Waiting { since: Instant, read: u64 },
    /// An answer is due, or any other sign of life: more bytes than so many have gone both ways.
    Sent { at: Instant, passed: u64 },
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    /// Sees which times are over.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        let config = self.config.clone();
        let timeouts = &config.timeouts;
        let now = turn.now;
        let late = |since, timeout| is_late(since, timeout, now);
        if self.outgoing.stalled_since().is_some_and(|since| late(since, timeouts.write_stall)) {
            let reason = CloseReason::new(CloseCode::WriteStalled, "the peer took no response byte in time");
            return Some(End::Close { reason, linger: false });
        }
        self.expire_streams(timeouts, turn);
        if self.streams.is_empty() && late(self.idle_since, timeouts.keep_alive_idle) {
            if let Some(code) = self.going {
                return Some(End::Close { reason: drained(code), linger: false });
            }
            self.idle_since = now;
            self.begin_going(CloseCode::KeepAliveTimeout);
        }
        if self.head_since.is_some_and(|since| late(since, timeouts.headers)) {
            turn.refused(Refusal::HeadersTimeout);
            const LATE: &str = "the request head was not complete in time";
            let mut end = self.go_away(Reason::EnhanceYourCalm, LATE, turn.cx, now);
            if let End::Close { reason, .. } = &mut end {
                reason.code = CloseCode::HeadersTimeout;
            }
            return Some(end);
        }
        self.expire_ping(now)
    }

    /// Ends answers that the peer does not take, and fails bodies that it does not send.
    fn expire_streams(&mut self, timeouts: &Timeouts, turn: &mut Turn<'_, '_>) {
        let now = turn.now;
        // Each piece of a frame brings its reader on, though it gets none of them before the last.
        if let Some(Head { kind: kind::DATA, stream, .. }) = Head::of(&self.incoming)
            && let Some(stream) = self.streams.get_mut(stream)
        {
            stream.pulled_at = stream.pulled_at.max(self.piece.0);
        }
        let mut stalled = Vec::new();
        for stream in self.streams.iter_mut() {
            if stream.stalled_since.is_some_and(|since| is_late(since, timeouts.write_stall, now)) {
                stalled.push(stream.key.stream);
            } else if stream.pulls_body() && is_late(stream.pulled_at, timeouts.body_idle, now) {
                stream.exchange.body_failed();
                let error = Error::new(Code::BodyTimeout, "the request body did not go on in time");
                turn.events.push_back(Event::BodyFailed { key: stream.key, error });
            }
        }
        for id in stalled {
            self.write_reset(id, Reason::Cancel);
            self.fail(id, Error::new(Code::WriteStalled, "the peer took no response byte in time"), turn);
        }
        self.soonest = self.streams.iter().filter_map(|stream| stream.deadline(timeouts)).min();
    }

    fn expire_ping(&mut self, now: Instant) -> Option<End> {
        let read = self.traffic.read.get();
        match self.ping {
            PingState::Waiting { since, read: before } => {
                if due(since, self.config.timeouts.h2_ping).is_some_and(|due| now >= due) {
                    self.ping = if read == before {
                        let waits = self.outgoing.len() > 0;
                        frame::write_ping(self.outgoing.tail(), 0, KEEP_ALIVE);
                        // That the ping itself goes out tells nothing of the peer.
                        let written = if waits { self.traffic.written.get() } else { self.outgoing.end(&self.traffic) };
                        PingState::Sent { at: now, passed: read + written }
                    } else {
                        PingState::Waiting { since: now, read }
                    };
                }
                None
            }
            PingState::Sent { at, passed } if now >= at + PONG => {
                let since = read + self.traffic.written.get();
                if since > passed {
                    // It stands behind a long answer that the peer is taking.
                    self.ping = PingState::Sent { at: now, passed: since };
                    return None;
                }
                let reason = CloseReason::new(CloseCode::PingTimeout, "the peer did not answer a ping in time");
                Some(End::Close { reason, linger: false })
            }
            PingState::Sent { .. } => None,
        }
    }

    /// When a turn is due though nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.gone.is_some() {
            return None;
        }
        let timeouts = &self.config.timeouts;
        let mut deadline = match self.ping {
            PingState::Waiting { since, .. } => due(since, timeouts.h2_ping),
            PingState::Sent { at, .. } => Some(at + PONG),
        };
        if self.streams.is_empty() {
            deadline = earlier(deadline, due(self.idle_since, timeouts.keep_alive_idle));
        }
        if let Some(since) = self.head_since {
            deadline = earlier(deadline, due(since, timeouts.headers));
        }
        if let Some(since) = self.outgoing.stalled_since() {
            deadline = earlier(deadline, due(since, timeouts.write_stall));
        }
        earlier(deadline, self.soonest)
    }
}

fn is_late(since: Instant, timeout: Option<Duration>, now: Instant) -> bool {
    due(since, timeout).is_some_and(|due| now >= due)
}
