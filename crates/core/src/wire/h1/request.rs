//! Requests, from hyper's slot to the caller: which are let in, and their bodies as they are pulled.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Response, header};
use http_body::Body;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Answering, Current, H1, STREAM, body::OutBody, slot::Arrived};
use crate::{
    error::{Code, Error, Refusal},
    event::{Event, RequestBody, RequestHead},
    exchange::{self, Exchange},
    io::tap::{Fault, TapState},
    key::Key,
    request::{self, Survey},
    wire::{Turn, received::Received},
};

/// Bodies up to this length are taken along with the head when they have come with it.
const COMPLETE_BODY_BYTES: u64 = 16 << 10;
/// Bytes of a body that are read ahead of the pulls, once there was one.
const READ_AHEAD_BYTES: usize = 256 << 10;

/// What a head's fields said, kept while the request moves out of the slot.
struct Facts {
    trailers_welcome: bool,
    expects_continue: bool,
    both_framings: bool,
    length: Option<u64>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H1<IO> {
    /// Takes the request out of the slot if the caller wants one, or if it is to be refused.
    pub(super) fn accept(&mut self, turn: &mut Turn<'_, '_>) -> bool {
        if !matches!(self.answering, Answering::Nothing) {
            return false;
        }
        let mut slot = self.slot.lock();
        let Some(Arrived { head, body, upgradable }) = &mut slot.request else { return false };
        let limits = &self.config.limits;
        let length = body.size_hint().exact().filter(|&length| length > 0);
        let survey = Survey::of(&head.headers);
        let fields = head.headers.len();
        let refusal = match request::check(&head.method, &head.uri, head.version, fields, &survey, false, limits) {
            Err(refusal) => Some(refusal),
            Ok(()) if self.tap.is_bare(u64::from(self.requests) + 1) => Some(Refusal::BadRequest),
            Ok(()) if length.is_some_and(|length| length > limits.body_bytes) => Some(Refusal::BodyTooLarge),
            Ok(()) => (self.draining && self.credits == 0).then_some(Refusal::Draining),
        };
        if refusal.is_none() && self.credits == 0 {
            return false;
        }
        let facts = Facts {
            trailers_welcome: survey.welcomes_trailers,
            expects_continue: survey.expects_continue,
            both_framings: survey.has_both_framings(),
            length,
        };
        if *upgradable {
            head.upgrade = survey.upgrade(&head.method);
        }
        head.received_at = turn.now;
        let Some(Arrived { head, body, .. }) = slot.request.take() else { return false };
        drop(slot);
        let sequence = self.requests;
        self.requests += 1;
        self.tap.requests.set(u64::from(self.requests));
        self.head_since = None;
        self.waiting_since = turn.now;
        if let Some(refusal) = refusal {
            self.refuse(refusal, turn);
        } else {
            self.deliver(head, body, sequence, facts, turn);
        }
        true
    }

    fn refuse(&mut self, refusal: Refusal, turn: &mut Turn<'_, '_>) {
        turn.refused(refusal);
        self.unread = true;
        let mut response = Response::new(OutBody::whole(Bytes::new(), self.tap.clone()));
        *response.status_mut() = request::status_of(refusal);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        self.answer(response);
        self.answering = Answering::Refusing;
    }

    fn deliver(
        &mut self,
        head: Box<RequestHead>,
        incoming: Incoming,
        sequence: u32,
        facts: Facts,
        turn: &mut Turn<'_, '_>,
    ) {
        self.credits -= 1;
        let has_body = !incoming.is_end_stream();
        let key = Key { connection: self.number, stream: STREAM, sequence };
        let mut current = Box::new(Current {
            key,
            exchange: Exchange::new(has_body),
            incoming: has_body.then_some(incoming),
            received: Received::default(),
            begun: false,
            writer: None,
            head_request: head.method == Method::HEAD,
            version: head.version,
            upgrade: head.upgrade.clone(),
            trailers_welcome: facts.trailers_welcome,
            continue_asked: false,
            outcome: None,
            taken_before: self.tap.taken.get(),
            flushed_reported: 0,
        });
        let last = u64::from(sequence) + 1 >= self.config.limits.requests_per_connection;
        if self.draining || last || facts.both_framings {
            // Both framings: answered by the one that rules, then closed (RFC 9112 section 6.1).
            self.end_after_answer();
        }
        let whole = match facts.length {
            Some(length) if length <= COMPLETE_BODY_BYTES && has_body && !facts.expects_continue => {
                self.take_whole(&mut current, length, turn.cx)
            }
            _ => None,
        };
        let body = match whole {
            Some(bytes) => RequestBody::Complete(bytes),
            None if has_body => RequestBody::Streamed { length: facts.length },
            None => RequestBody::None,
        };
        self.answering = Answering::Current(current);
        turn.events.push_back(Event::Request { key, head, body });
    }

    /// The whole of a small body, if it has come with the head; else what has come stays in the stash.
    fn take_whole(&mut self, current: &mut Current, length: u64, cx: &mut Context<'_>) -> Option<Bytes> {
        let mut bytes = BytesMut::new();
        let mut turned = false;
        while let Some(incoming) = &mut current.incoming {
            match Pin::new(incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    turned = false;
                    if data.len() as u64 == length {
                        // The usual case: one frame, not copied.
                        current.incoming = None;
                        current.exchange.receive = exchange::Receive::Ended;
                        return Some(data);
                    }
                    bytes.extend_from_slice(&data);
                }
                Poll::Ready(ended) => {
                    current.incoming = None;
                    current.outcome = Some(match ended {
                        Some(Err(error)) => Err(body_error(&error, &self.tap)),
                        _ => Ok(None),
                    });
                }
                Poll::Pending if turned => break,
                Poll::Pending => {
                    turned = true;
                    // The end of the connection, if this was it, is seen again by the turn.
                    if let Poll::Ready(result) = self.poll_connection(cx) {
                        self.closing = Some(self.ended(result));
                        break;
                    }
                }
            }
        }
        if bytes.len() as u64 == length {
            current.incoming = None;
            current.exchange.receive = exchange::Receive::Ended;
            return Some(bytes.freeze());
        }
        if !bytes.is_empty() {
            current.received.push(bytes.freeze());
        }
        None
    }

    /// Answers the caller's pull of a chunk, if there is one and something to answer it with.
    pub(super) fn feed(&mut self, turn: &mut Turn<'_, '_>) {
        self.read_body(turn);
        let Answering::Current(current) = &mut self.answering else { return };
        let key = current.key;
        let Some(max) = current.exchange.pulling() else { return };
        if !current.received.is_empty() {
            current.exchange.pulled();
            turn.events.push_back(Event::Chunk { key, bytes: current.received.take(max) });
            return;
        }
        match current.outcome.take() {
            None => {}
            Some(Ok(trailers)) => {
                current.exchange.receive = exchange::Receive::Ended;
                turn.events.push_back(Event::End { key, trailers });
            }
            Some(Err(error)) => {
                current.exchange.receive = exchange::Receive::Failed;
                turn.events.push_back(Event::BodyFailed { key, error });
            }
        }
    }

    /// Takes from hyper what has come of a body that is being pulled, and a little ahead, so that the peer's next bytes
    /// are here when the caller's next pull is.
    fn read_body(&mut self, turn: &mut Turn<'_, '_>) {
        let most = READ_AHEAD_BYTES.min(self.config.limits.buffered_bytes as usize);
        let mut driven = false;
        loop {
            let Answering::Current(current) = &mut self.answering else { return };
            current.begun |= current.exchange.pulling().is_some();
            if !(current.begun || current.continue_asked) || current.received.len() >= most {
                return;
            }
            let Some(incoming) = &mut current.incoming else { return };
            let outcome = match Pin::new(incoming).poll_frame(turn.cx) {
                Poll::Pending if driven => return,
                Poll::Pending => {
                    // hyper reads on only when it is polled.
                    driven = true;
                    if let Poll::Ready(result) = self.poll_connection(turn.cx) {
                        self.closing = Some(self.ended(result));
                        return;
                    }
                    continue;
                }
                Poll::Ready(None) => Ok(None),
                Poll::Ready(Some(Err(error))) => Err(body_error(&error, &self.tap)),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Err(frame) => Ok(frame.into_trailers().ok()),
                    Ok(data) => match current.exchange.received(data.len(), self.config.limits.body_bytes) {
                        Err(error) => Err(error),
                        Ok(()) => {
                            current.received.push(data);
                            current.continue_asked = false;
                            self.waiting_since = turn.now;
                            driven = false;
                            continue;
                        }
                    },
                },
            };
            let failed = outcome.is_err();
            current.incoming = None;
            current.outcome = Some(outcome);
            if failed {
                self.unread = true;
                self.end_after_answer();
            }
            return;
        }
    }
}

fn body_error(error: &hyper::Error, tap: &TapState) -> Error {
    match tap.fault() {
        Some(Fault::Reset) => Error::new(Code::PeerReset, "the peer reset the connection"),
        Some(Fault::Io) => Error::new(Code::Io, "the transport failed"),
        Some(Fault::Gone) => Error::new(Code::PeerClosed, "the peer closed the connection"),
        None if tap.eof() => Error::new(Code::PeerClosed, "the peer closed the connection in the middle of a body"),
        None => Error::new(Code::Protocol, error.to_string()),
    }
}
