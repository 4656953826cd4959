//! Requests, from h2's queue to the caller: which are let in, and what their streams have to say afterwards.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, server};
use http::{Method, Request, Response, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    H2,
    stream::{Fed, Stream, StreamWaker},
    streams::Streams,
};
use crate::{
    error::Refusal,
    event::{Event, RequestBody, RequestHead, Upgrade},
    key::Key,
    request::{self, DEFAULT_URGENCY, Survey},
    wire::{Turn, Wire},
};

/// Bodies up to this length are taken along with the head when they have come with it.
const COMPLETE_BODY_BYTES: u64 = 16 << 10;

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    /// Takes streams from h2 as far as they were pulled; while draining, all of them, to refuse them.
    pub(super) fn accept(&mut self, turn: &mut Turn<'_, '_>) -> Poll<Result<(), h2::Error>> {
        let mut highest = 0;
        while self.credits > 0 || self.draining.is_some() {
            match self.connection.poll_accept(turn.cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let id = respond.stream_id().as_u32();
                    self.admit(id, request, respond, turn);
                    // Each call polls the whole connection. The next would find nothing: h2 gives streams out in order.
                    if id >= highest {
                        highest = self.tap.inbound().highest();
                        if id == highest {
                            return Poll::Pending;
                        }
                    }
                }
            }
        }
        self.connection.poll_closed(turn.cx)
    }

    fn admit(
        &mut self,
        id: u32,
        request: Request<RecvStream>,
        mut respond: server::SendResponse<Bytes>,
        turn: &mut Turn<'_, '_>,
    ) {
        self.tap.outbound().gave(id);
        let wake = self.wake(id);
        // It registers the waker.
        if respond.poll_reset(&mut Context::from_waker(&Waker::from(wake.clone()))).is_ready() {
            // Reset while it waited to be pulled, by the peer or for its fault: there is nobody to answer.
            return;
        }
        let (parts, receiver) = request.into_parts();
        let protocol = parts.extensions.get::<h2::ext::Protocol>().map(|protocol| protocol.as_str().to_owned());
        let limits = &self.config.limits;
        let has_body = !receiver.is_end_stream();
        let survey = Survey::of(&parts.headers);
        // A malformed one was refused by h2.
        let length = survey.length().ok().flatten().filter(|_| has_body);
        let (method, uri) = (&parts.method, &parts.uri);
        let refusal = match request::check(method, uri, parts.version, &survey, protocol.is_some(), limits) {
            Err(refusal) => Some(refusal),
            Ok(()) if length.is_some_and(|length| length > limits.body_bytes) => Some(Refusal::BodyTooLarge),
            Ok(()) => self.draining.is_some().then_some(Refusal::Draining),
        };
        if let Some(refusal) = refusal {
            turn.refused(refusal);
            if refusal == Refusal::Draining {
                respond.send_reset(Reason::REFUSED_STREAM);
            } else {
                let mut response = Response::new(());
                *response.status_mut() = request::status_of(refusal);
                // An error here is the stream's: the peer has reset it.
                let _ = respond.send_response(response, true);
            }
            return;
        }
        self.credits -= 1;
        self.requests += 1;
        self.last_stream = self.last_stream.max(id);
        if self.requests >= limits.requests_per_connection {
            self.drain();
        }
        let key = Key { connection: self.number, stream: id, sequence: 0 };
        let body_limit = self.config.limits.body_bytes;
        let upgrade = match protocol {
            Some(protocol) => Some(Upgrade::Extended(protocol)),
            None => (parts.method == Method::CONNECT).then_some(Upgrade::Connect),
        };
        let receiver = has_body.then_some(receiver);
        let mut place = Streams::place();
        let stream =
            place.get_or_insert_with(|| Stream::new(key, receiver, respond, upgrade, wake, body_limit, turn.now));
        stream.head_request = parts.method == Method::HEAD;
        stream.urgency = survey.urgency();
        self.prioritized |= stream.urgency != DEFAULT_URGENCY;
        stream.expects_continue = has_body && survey.expects_continue;
        let body = self.body_of(stream, has_body, length);
        // The memory first: `Box::new` would make the head elsewhere, and move it.
        let head = Box::write(
            Box::new_uninit(),
            RequestHead {
                method: parts.method,
                uri: parts.uri,
                version: Version::HTTP_2,
                headers: parts.headers.into(),
                upgrade: stream.upgrade.clone(),
                received_at: turn.now,
            },
        );
        turn.events.push_back(Event::Request { key, head, body });
        self.streams.insert(id, place);
    }

    fn wake(&mut self, id: u32) -> Arc<StreamWaker> {
        match self.spare_wakers.pop() {
            Some(wake) => {
                wake.renew(id);
                wake
            }
            None => StreamWaker::new(id, self.woken.clone()),
        }
    }

    fn body_of(&self, stream: &mut Stream, has_body: bool, length: Option<u64>) -> RequestBody {
        if !has_body || stream.upgrade.is_some() {
            return RequestBody::None;
        }
        stream.receive();
        match length {
            Some(length) if length <= COMPLETE_BODY_BYTES && !stream.expects_continue => {
                stream.whole(length).map_or(RequestBody::Streamed { length: Some(length) }, RequestBody::Complete)
            }
            _ => RequestBody::Streamed { length },
        }
    }

    pub(super) fn look(&mut self, turn: &mut Turn<'_, '_>) {
        let mut awake = mem::take(&mut self.awake);
        self.woken.take(&mut awake);
        for id in awake.drain(..) {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            stream.unblock();
            if let Some(error) = stream.poll_reset() {
                self.fail(id, error, turn);
                continue;
            }
            stream.receive();
            feed(stream, turn);
            if stream.over() {
                self.remove(id, turn.now);
            }
        }
        self.awake = awake;
    }
}

fn feed(stream: &mut Stream, turn: &mut Turn<'_, '_>) {
    let key = stream.key;
    match stream.feed() {
        Fed::Nothing => {}
        Fed::Chunk(bytes) => turn.events.push_back(Event::Chunk { key, bytes }),
        Fed::End(trailers) => turn.events.push_back(Event::End { key, trailers: trailers.map(Box::new) }),
        Fed::Failed(error) => turn.events.push_back(Event::BodyFailed { key, error }),
    }
}
