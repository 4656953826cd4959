//! What a connection is in, and how it gets from one phase to the next.

use std::{
    mem,
    task::{Context, Poll},
    time::Instant,
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Engine, Events};
use crate::{
    closing::Closing,
    config::Protocols,
    detect::{Detected, detect},
    error::{CloseCode, CloseReason, Refusal},
    event::{Event, Protocol},
    wire::{End, Turn, Wire, due, h1::H1, h2::H2, tunnel::Tunnel},
};

pub(super) enum Phase<IO: AsyncRead + AsyncWrite + Unpin> {
    Detecting { io: IO, early: BytesMut },
    Handshaking(Box<H2<IO>>),
    Http1(Box<H1<IO>>),
    Http2(Box<H2<IO>>),
    Tunnel(Box<Tunnel<IO>>),
    Closing(Box<Closing<IO>>),
    Closed,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Phase<IO> {
    pub(super) fn wire(&mut self) -> Option<&mut dyn Wire> {
        match self {
            Self::Http1(wire) => Some(&mut **wire),
            Self::Http2(wire) => Some(&mut **wire),
            Self::Tunnel(wire) => Some(&mut **wire),
            _ => None,
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Engine<IO> {
    /// Does one phase's work; true when the next phase has work to do at once.
    pub(super) fn step(&mut self, cx: &mut Context<'_>, now: Instant, late: bool, called: bool) -> bool {
        if self.cut && !self.is_closed() {
            self.closed(CloseReason::new(CloseCode::Closed, "closed by this side"));
            return false;
        }
        if late && !self.aged && due(self.opened_at, self.config.timeouts.connection_age).is_some_and(|due| now >= due)
        {
            self.aged = true;
            if let Some(wire) = self.phase.wire() {
                wire.retire();
            }
        }
        let Some(wire) = self.phase.wire() else { return self.step_outside(cx, now) };
        let events = self.events.get_or_insert_with(queue);
        let end = wire.turn(&mut Turn { cx, relay: &self.relay, now, late, called, events });
        end.is_some_and(|end| self.wire_ended(end, now))
    }

    fn tell(&mut self, event: Event) {
        self.events.get_or_insert_with(queue).push_back(event);
    }

    /// Before and after HTTP: apart, so that a turn of HTTP pays nothing for it.
    #[inline(never)]
    fn step_outside(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        match mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Detecting { io, early } => self.detect(io, early, cx, now),
            Phase::Handshaking(handshake) => self.handshake(handshake, cx, now),
            Phase::Closing(closing) => self.finish_closing(closing, cx, now),
            open => {
                self.phase = open;
                false
            }
        }
    }

    fn detect(&mut self, mut io: IO, mut early: BytesMut, cx: &mut Context<'_>, now: Instant) -> bool {
        match detect(&mut io, &mut early, self.config.protocols, &self.traffic, cx) {
            Detected::Pending if self.draining || self.aged => {
                self.closed(CloseReason::new(CloseCode::Drained, "drained before the first request"));
            }
            Detected::Pending if self.too_late(now) => {}
            Detected::Pending => self.phase = Phase::Detecting { io, early },
            Detected::Closed(reason) => self.closed(reason),
            Detected::Http1 if self.config.protocols == Protocols::Http2 => {
                self.tell(Event::Refused(Refusal::ProtocolError));
                let reason =
                    CloseReason::new(CloseCode::ProtocolError, "the peer does not begin with the HTTP/2 preface");
                self.phase = Phase::Closing(Box::new(Closing::new(io, reason, true, now)));
            }
            Detected::Http1 => {
                let wire = H1::new(self.number, io, early, self.traffic.clone(), self.config.clone(), now);
                self.open(Phase::Http1(Box::new(wire)), Protocol::Http1);
            }
            Detected::Http2 => {
                let wire = H2::new(self.number, io, early, self.traffic.clone(), self.config.clone(), now);
                self.phase = Phase::Handshaking(Box::new(wire));
            }
        }
        !matches!(self.phase, Phase::Detecting { .. } | Phase::Closed)
    }

    fn handshake(&mut self, mut wire: Box<H2<IO>>, cx: &mut Context<'_>, now: Instant) -> bool {
        match wire.poll_greeting(cx, now) {
            Poll::Pending if self.draining || self.aged => {
                self.closed(CloseReason::new(CloseCode::Drained, "drained before the first request"));
                false
            }
            Poll::Pending if self.too_late(now) => false,
            Poll::Pending => {
                self.phase = Phase::Handshaking(wire);
                false
            }
            Poll::Ready(None) => {
                self.open(Phase::Http2(wire), Protocol::Http2);
                true
            }
            Poll::Ready(Some(end)) => {
                if matches!(&end, End::Close { reason, .. } if reason.code == CloseCode::ProtocolError) {
                    self.tell(Event::Refused(Refusal::ProtocolError));
                }
                self.phase = Phase::Http2(wire);
                self.wire_ended(end, now)
            }
        }
    }

    fn too_late(&mut self, now: Instant) -> bool {
        let late = due(self.opened_at, self.config.timeouts.handshake).is_some_and(|due| now >= due);
        if late {
            self.tell(Event::Refused(Refusal::HandshakeTimeout));
            self.closed(CloseReason::new(CloseCode::HandshakeTimeout, "no protocol was known in time"));
        }
        late
    }

    fn open(&mut self, phase: Phase<IO>, protocol: Protocol) {
        self.phase = phase;
        self.tell(Event::Open(protocol));
        let (credits, draining) = (mem::take(&mut self.credits), self.draining);
        if let Some(wire) = self.phase.wire() {
            wire.pull_requests(credits);
            if draining {
                wire.drain();
            } else if self.aged {
                wire.retire();
            }
        }
    }

    /// Once a connection, or twice: apart as well.
    #[inline(never)]
    fn wire_ended(&mut self, end: End, now: Instant) -> bool {
        match end {
            End::Upgraded { key, protocol } => {
                if let Phase::Http1(wire) = mem::replace(&mut self.phase, Phase::Closed) {
                    let (io, early) = wire.into_transport();
                    let tunnel = Tunnel::new(key, io, early, self.traffic.clone(), self.config.clone());
                    self.phase = Phase::Tunnel(Box::new(tunnel));
                    self.tell(Event::Upgraded { key, protocol: *protocol });
                }
            }
            End::Close { reason, .. } if self.is_open_ended() => self.closed(reason),
            End::Close { reason, linger } => {
                self.abandon(&reason);
                match mem::replace(&mut self.phase, Phase::Closed) {
                    Phase::Http1(wire) => {
                        let (io, early) = wire.into_transport();
                        let linger = linger || !early.is_empty();
                        self.phase = Phase::Closing(Box::new(Closing::new(io, reason, linger, now)));
                    }
                    Phase::Http2(wire) => {
                        self.phase = Phase::Closing(Box::new(Closing::new(wire.into_transport(), reason, linger, now)));
                    }
                    _ => self.closed(reason),
                }
            }
        }
        !self.is_closed()
    }

    fn finish_closing(&mut self, mut closing: Box<Closing<IO>>, cx: &mut Context<'_>, now: Instant) -> bool {
        if closing.poll(cx, now).is_pending() {
            self.phase = Phase::Closing(closing);
        } else {
            self.closed(closing.into_reason());
        }
        false
    }

    fn abandon(&mut self, reason: &CloseReason) {
        let error = reason.failure();
        if let Some(wire) = self.phase.wire() {
            wire.abandon(&error, self.events.get_or_insert_with(queue));
        }
    }

    fn is_open_ended(&self) -> bool {
        matches!(&self.phase, Phase::Http1(wire) if wire.is_open_ended())
    }

    /// The transport is dropped here, or kept for the owner to reset it.
    fn closed(&mut self, reason: CloseReason) {
        let open_ended = self.is_open_ended();
        self.abandon(&reason);
        if let (true, Phase::Http1(wire)) = (open_ended, mem::replace(&mut self.phase, Phase::Closed)) {
            self.cut_short = Some(Box::new(wire.into_transport().0));
        }
        self.tell(Event::Closed(reason));
    }
}

/// Most turns bring up no more.
fn queue() -> Box<Events> {
    Box::new(Events::with_capacity(2))
}
