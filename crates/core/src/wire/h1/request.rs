//! Requests, from what has come to the caller: when they are looked for, and what is answered to those that are not let in.

use std::{mem, task::Poll};

use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Answering, Current, H1, STREAM, WATCH_BYTES,
    body::RequestBytes,
    close, encode,
    head::{self, Head},
};
use crate::{
    check::{self, Framing},
    error::{CloseCode, CloseReason, Refusal},
    event::{Event, RequestBody},
    exchange::Exchange,
    fields::ResponseFields,
    io::transport::Fault,
    key::Key,
    response::ResponseHead,
    wire::{End, Turn},
};

/// What came of looking for a request.
pub(super) enum Next {
    /// Nothing: it is waited for.
    Waits,
    /// It is in hand, or refused.
    Came,
    /// There will be none.
    Over(End),
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H1<IO> {
    /// Looks for the next request, and refuses what may not be let in.
    pub(super) fn next_request(&mut self, turn: &mut Turn<'_, '_>) -> Result<Next, Fault> {
        loop {
            let wanted = self.credits > 0 || self.draining;
            if wanted {
                match head::take(&mut self.incoming, &self.config.limits, turn.now) {
                    Ok(None) => {}
                    Ok(Some(_)) if self.credits == 0 => {
                        self.refuse(Refusal::Draining, turn);
                        return Ok(Next::Came);
                    }
                    Ok(Some(head)) => {
                        self.admit(head, turn)?;
                        return Ok(Next::Came);
                    }
                    Err(refusal) => {
                        self.refuse(refusal, turn);
                        return Ok(Next::Came);
                    }
                }
            }
            if self.eof {
                return Ok(if head::is_blank(&self.incoming) {
                    Next::Over(self.ended(false))
                } else if wanted || !head::is_whole(&self.incoming) {
                    Next::Over(close(CloseCode::PeerClosed, "the peer left in the middle of a message"))
                } else {
                    self.watch(turn.cx)?;
                    Next::Waits
                });
            }
            if !wanted && self.incoming.len() >= WATCH_BYTES {
                return Ok(Next::Waits);
            }
            match self.read(turn.cx) {
                Poll::Ready(result) => result?,
                Poll::Pending if self.draining && head::is_blank(&self.incoming) => {
                    return Ok(Next::Over(self.ended(false)));
                }
                Poll::Pending => {
                    if wanted && !head::is_blank(&self.incoming) && !mem::replace(&mut self.head_begun, true) {
                        self.waiting_since = turn.now;
                    }
                    return Ok(Next::Waits);
                }
            }
        }
    }

    /// A request for the caller.
    fn admit(&mut self, head: Head, turn: &mut Turn<'_, '_>) -> Result<(), Fault> {
        let Head { head, framing, trailers_welcome, expects_continue, last } = head;
        let whole = if expects_continue { None } else { self.take_whole(framing, turn.cx)? };
        let sequence = self.requests;
        self.requests = sequence.wrapping_add(1);
        self.credits -= 1;
        self.head_begun = false;
        self.waiting_since = turn.now;
        // A drain is told by the answer, which may come before it does.
        self.last = last || u64::from(sequence) + 1 >= self.config.limits.requests_per_connection;
        let key = Key { connection: self.number, stream: STREAM, sequence };
        let mut current = Current {
            key,
            exchange: Exchange::new(framing != Framing::None),
            body: None,
            upgrade: head.upgrade.clone().map(Box::new),
            version: head.version,
            head_request: head.method == Method::HEAD,
            trailers_welcome,
            framing: None,
            written: 0,
        };
        let body = match (whole, framing) {
            (_, Framing::None) => RequestBody::None,
            (Some(bytes), _) => {
                current.exchange.body_ended();
                RequestBody::Complete(bytes)
            }
            (None, framing) => {
                current.body = Some(Box::new(RequestBytes::new(framing, expects_continue)));
                let length = if let Framing::Length(length) = framing { Some(length) } else { None };
                RequestBody::Streamed { length }
            }
        };
        self.answering = Answering::Current(current);
        turn.events.push_back(Event::Request { key, head, body });
        Ok(())
    }

    /// An answer of our own, and the end: what follows it is not to be trusted.
    pub(super) fn refuse(&mut self, refusal: Refusal, turn: &mut Turn<'_, '_>) {
        turn.refused(refusal);
        self.head_begun = false;
        self.last = true;
        self.answering = Answering::Refusing(refusal);
        let head = ResponseHead { status: check::status_of(refusal), headers: ResponseFields::new() };
        self.answer(head, encode::Framing::Length(0), Bytes::new(), turn.now);
    }
}

/// How a connection ends that has refused a request.
pub(super) fn refused(refusal: Refusal) -> End {
    let (code, message) = match refusal {
        Refusal::HeadersTimeout => (CloseCode::HeadersTimeout, "the request head was not complete in time"),
        Refusal::Draining => (CloseCode::Drained, "drained"),
        _ => (CloseCode::BadRequest, "the request may not be let in"),
    };
    End::Close { reason: CloseReason::new(code, message), linger: true }
}
