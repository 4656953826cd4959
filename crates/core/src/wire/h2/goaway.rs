//! The end of a connection (RFC 9113 sections 5.4.1 and 6.8).

use std::{task::Context, time::Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    H2,
    frame::{self, MAX_31, Reason},
    stream::Stream,
};
use crate::{
    error::{CloseCode, CloseReason},
    io::transport::Fault,
    wire::{End, Turn},
};

/// What the ping behind the first GOAWAY says, whose answer says that the peer has heard of it.
pub(super) const DRAIN: [u8; 8] = *b"hp drain";

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    /// RFC 9113 section 6.8: that it is coming, and a question how far the peer is.
    pub(super) fn begin_going(&mut self, code: CloseCode) {
        if self.going.is_none() {
            self.going = Some(code);
            frame::write_go_away(self.outgoing.tail(), MAX_31, Reason::NoError);
            frame::write_ping(self.outgoing.tail(), 0, DRAIN);
        }
    }

    /// A request has come that the peer may have sent before it knew. In the time of a question and its answer it has twice as many
    /// as it may have open; who goes on beyond that does not mean to answer.
    pub(super) fn opened_late(&mut self) {
        if self.going.is_some() {
            if self.came_since >= self.config.limits.concurrent_streams.saturating_mul(2) {
                self.finish_going();
            }
            self.came_since += 1;
        }
    }

    /// The peer has heard that the end is coming: what it opens from here on is not looked at.
    pub(super) fn finish_going(&mut self) {
        if self.going.is_some() && self.last_of_going.is_none() {
            self.last_of_going = Some(self.highest);
            frame::write_go_away(self.outgoing.tail(), self.highest, Reason::NoError);
        }
    }

    /// Ends the connection for the peer's fault. It is said once; who does not take it is not waited for.
    pub(super) fn go_away(&mut self, reason: Reason, what: &'static str, cx: &mut Context<'_>, now: Instant) -> End {
        // The last stream that was told is never a later one afterwards.
        let last = self.last_of_going.unwrap_or(self.highest);
        frame::write_go_away(self.outgoing.tail(), last, reason);
        let _ = self.outgoing.poll_flush(&mut self.io, &self.traffic, cx, now);
        let message = format!("{what}: {}", frame::reason_name(reason as u32));
        // Who floods is not listened to any longer.
        let linger = reason != Reason::EnhanceYourCalm;
        End::Close { reason: CloseReason::new(CloseCode::ProtocolError, message), linger }
    }

    /// The peer has gone, and with it what is in flight. What both sides had ended before can still be read to its end: tunnels.
    pub(super) fn part(&mut self, fault: Fault, turn: &mut Turn<'_, '_>) -> Option<End> {
        self.gone = Some(fault);
        if !self.streams.iter().any(Stream::is_left_to_read) {
            return self.ended(self.gone);
        }
        let others = self.streams.iter().filter(|stream| !stream.is_left_to_read());
        let others: Vec<u32> = others.map(|stream| stream.key.stream).collect();
        let error = fault.reason().failure();
        for id in others {
            self.fail(id, error.clone(), turn);
        }
        self.read_out(turn)
    }

    /// Goes on with what is left to read; the end, when all of it has been.
    pub(super) fn read_out(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        self.look(turn);
        if self.streams.is_empty() { self.ended(self.gone) } else { None }
    }

    /// The connection has come to its end, or its peer has `gone`.
    pub(super) fn ended(&self, gone: Option<Fault>) -> Option<End> {
        // It may be saying something yet, how much it has taken for one: a reset would overtake the last answers.
        let linger = gone.is_none();
        let over = gone.is_some() || (self.last_of_going.is_some() && self.outgoing.is_flushed());
        let reason = match self.going {
            // However the peer leaves now: it has got everything.
            Some(code) if over && self.streams.is_empty() => drained(code),
            _ => gone?.reason(),
        };
        Some(End::Close { reason, linger })
    }
}

/// How a connection ends that takes nothing new.
pub(super) fn drained(code: CloseCode) -> CloseReason {
    CloseReason::new(code, if code == CloseCode::Drained { "drained" } else { "no request came in time" })
}
