//! Requests, from a header block to the caller: which are let in.

use std::mem;

use http::{Method, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Arrived, H2,
    frame::Reason,
    head::{Gathered, Request, Unfit},
    priority::Priority,
    receive::Broken,
    send::Told,
    stream::{Coming, Fed, Stream},
    streams::Streams,
};
use crate::{
    check::{self, Survey},
    error::Refusal,
    event::{Event, RequestBody, RequestHead, Upgrade},
    fields::{RequestFields, ResponseFields, values},
    key::Key,
    wire::{COMPLETE_BODY_BYTES, Turn, Wire},
};

/// What a peer may have begun for nothing, beyond what came to an answer. Envoy's limit is of the same kind and size
/// (`overload.premature_reset_total_stream_count`, 500).
const WASTE: u32 = 1000;
const NOT_LET_IN: &str = "requests that are not let in";

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    /// Reads a header block, whatever becomes of it: the next ones are written in terms of it.
    pub(super) fn decode<T>(&mut self, block: &[u8], make: impl FnOnce(Gathered<'_>) -> T) -> Result<T, Broken> {
        let mut gathered = Gathered::new(&self.config.limits, &mut self.authority);
        match self.decoder.decode(block, |field| gathered.note(field)) {
            Ok(()) => Ok(make(gathered)),
            Err(_) => Err(Broken::Peer(Reason::CompressionError, "a header block cannot be decoded")),
        }
    }

    /// The first HEADERS of a stream.
    pub(super) fn open_stream(
        &mut self,
        id: u32,
        end_stream: bool,
        selfish: bool,
        block: &[u8],
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), Broken> {
        let extended = self.config.extended_connect;
        let request = self.decode(block, |gathered| gathered.into_request(extended))?;
        self.opened_late();
        self.gaps |= id != self.highest + if self.highest == 0 { 1 } else { 2 };
        self.highest = id;
        let priority = self.foretold(id);
        if self.last_of_going.is_some() {
            // The peer opened it before it knew, and can tell that we look at nothing of it.
            return Ok(());
        }
        let coming = if end_stream { Coming::Ended } else { Coming::Open(None) };
        if self.draining {
            return self.refuse(id, Reason::RefusedStream, Refusal::Draining, turn);
        }
        if self.streams.len() >= self.config.limits.concurrent_streams as usize {
            return self.refuse(id, Reason::RefusedStream, Refusal::TooManyStreams, turn);
        }
        match request {
            Ok(request) if !selfish => self.admit(id, request, priority, coming, turn),
            Err(Unfit::TooLarge) => self.answer_refusal(id, Refusal::HeadTooLarge, coming, turn),
            _ => self.refuse(id, Reason::ProtocolError, Refusal::BadRequest, turn),
        }
    }

    fn admit(
        &mut self,
        id: u32,
        request: Request,
        priority: Option<Priority>,
        mut coming: Coming,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), Broken> {
        let Request { method, uri, upgrade, text } = request;
        let survey = Survey::of_text(&text);
        let limits = &self.config.limits;
        // RFC 9113 section 8.1.1: a length that is none, or that of a body that does not come, makes it malformed.
        let length = match survey.length() {
            Ok(None | Some(0)) if coming == Coming::Ended => None,
            Ok(length) if coming != Coming::Ended => length,
            _ => return self.refuse(id, Reason::ProtocolError, Refusal::BadRequest, turn),
        };
        let extended = matches!(upgrade, Some(Upgrade::Extended(_)));
        let refusal = match check::check(&method, &uri, Version::HTTP_2, &survey, extended, limits) {
            Err(refusal) => Some(refusal),
            Ok(()) => length.is_some_and(|length| length > limits.body_bytes).then_some(Refusal::BodyTooLarge),
        };
        if let Some(refusal) = refusal {
            return self.answer_refusal(id, refusal, coming, turn);
        }
        if let (Coming::Open(left), None) = (&mut coming, &upgrade) {
            *left = length;
        }
        let key = Key { connection: self.number, stream: id, sequence: 0 };
        let mut place = Streams::place();
        let stream = place.get_or_insert_with(|| {
            Stream::new(key, upgrade.clone(), coming, self.first_receive_window, self.first_send_window, turn.now)
        });
        stream.head_request = method == Method::HEAD;
        stream.priority = match priority {
            Some(priority) => priority,
            None if survey.prioritized => Priority::of(values(&text, b"priority")),
            None => Priority::default(),
        };
        self.prioritized |= stream.priority != Priority::default();
        stream.expects_continue = coming != Coming::Ended && survey.expects_continue;
        let head = RequestHead::new(method, uri, Version::HTTP_2, upgrade, turn.now, |fields| {
            *fields = RequestFields::of_text(text);
        });
        self.streams.insert(id, place);
        self.arrived.push_back(Arrived { stream: id, head, length });
        Ok(())
    }

    /// Gives the caller what it has pulled; while draining, refuses all of it.
    pub(super) fn deliver(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), Broken> {
        while (self.credits > 0 || self.draining)
            && let Some(Arrived { stream: id, head, length }) = self.arrived.pop_front()
        {
            if self.draining {
                self.remove(id, turn.now);
                self.refuse(id, Reason::RefusedStream, Refusal::Draining, turn)?;
                continue;
            }
            let Some(stream) = self.streams.get_mut(id) else { continue };
            stream.pulled = true;
            let key = stream.key;
            let body = body_of(stream, length);
            if let RequestBody::Complete(bytes) = &body {
                let bytes = bytes.len();
                self.give_back(bytes);
            }
            turn.events.push_back(Event::Request { key, head, body });
            self.credits -= 1;
            self.requests += 1;
            self.last_stream = self.last_stream.max(id);
            if self.requests >= self.config.limits.requests_per_connection {
                self.retire();
            }
        }
        Ok(())
    }

    /// Answers the pulls of bodies, and sees which streams are over.
    pub(super) fn look(&mut self, turn: &mut Turn<'_, '_>) {
        let mut awake = mem::take(&mut self.awake);
        for id in awake.drain(..) {
            while let Some(stream) = self.streams.get_mut(id) {
                stream.awake = false;
                let key = stream.key;
                match stream.feed() {
                    Fed::Nothing => break,
                    Fed::Chunk(bytes) => {
                        if !stream.exchange.reads_on() {
                            self.taken_of(id, bytes.len());
                        }
                        turn.events.push_back(Event::Chunk { key, bytes });
                    }
                    Fed::End(trailers) => {
                        let over = stream.over();
                        turn.events.push_back(Event::End { key, trailers: trailers.map(Box::new) });
                        if over {
                            self.remove(id, turn.now);
                        }
                    }
                    Fed::Failed(error) => turn.events.push_back(Event::BodyFailed { key, error }),
                }
            }
        }
        // Its room is kept.
        self.awake = awake;
    }

    /// A stream has something for a pull.
    pub(super) fn awaken(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(id)
            && stream.exchange.pulling().is_some()
            && !mem::replace(&mut stream.awake, true)
        {
            self.awake.push(id);
        }
    }

    // ---- refusals

    /// Resets a stream that was not let in.
    fn refuse(&mut self, id: u32, reason: Reason, refusal: Refusal, turn: &mut Turn<'_, '_>) -> Result<(), Broken> {
        turn.refused(refusal);
        self.write_reset(id, reason);
        self.waste(NOT_LET_IN)
    }

    /// An answer of our own.
    fn answer_refusal(
        &mut self,
        id: u32,
        refusal: Refusal,
        coming: Coming,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), Broken> {
        turn.refused(refusal);
        let told = Told { length: None, now: turn.now };
        self.write_head(id, check::status_of(refusal), &ResponseFields::new(), Some(told), true);
        if coming != Coming::Ended {
            // Nobody reads the rest (RFC 9113 section 8.1).
            self.write_reset(id, Reason::NoError);
        }
        self.waste(NOT_LET_IN)
    }

    /// The peer has begun something for nothing.
    pub(super) fn waste(&mut self, what: &'static str) -> Result<(), Broken> {
        self.wasted += 1;
        if self.wasted < WASTE { Ok(()) } else { Err(Broken::Peer(Reason::EnhanceYourCalm, what)) }
    }
}

fn body_of(stream: &mut Stream, length: Option<u64>) -> RequestBody {
    // What comes with a CONNECT is the tunnel's.
    if stream.upgrade.is_some() || !stream.exchange.receiving() {
        return RequestBody::None;
    }
    match length {
        Some(length) if length <= COMPLETE_BODY_BYTES && !stream.expects_continue => {
            stream.whole(length).map_or(RequestBody::Streamed { length: Some(length) }, RequestBody::Complete)
        }
        _ => RequestBody::Streamed { length },
    }
}
