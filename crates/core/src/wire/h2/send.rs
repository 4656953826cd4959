//! Answers, from the streams' queues to the transport.

use std::mem;

use http::{Response, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{H2, stream::Stream};
use crate::{
    date,
    error::{Code, Error},
    event::Event,
    fields::Said,
    io::outbound::Progress,
    response::{self, ResponseHead},
    wire::{Turn, due, earlier},
};

/// Bytes that h2 may hold and the transport has not taken: beyond them the more urgent stream goes first.
const WATERMARK: usize = 64 << 10;

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    /// Gives h2 response bytes by urgency (RFC 9218), as long as the transport keeps up.
    pub(super) fn submit(&mut self, turn: &mut Turn<'_, '_>) {
        if self.sending.is_empty() {
            return;
        }
        let mut sending = mem::take(&mut self.sending);
        if self.prioritized && sending.len() > 1 {
            sending.sort_by_key(|id| self.streams.get_mut(*id).map_or(u8::MAX, |stream| stream.urgency));
        }
        let mut failed = Vec::new();
        sending.retain(|&id| {
            let Some(stream) = self.streams.get_mut(id) else { return false };
            let room = WATERMARK.saturating_sub(self.outstanding);
            match stream.pump(room) {
                Ok((bytes, gave)) => {
                    self.outstanding += bytes;
                    if gave || stream.stalled_since.is_none() {
                        stream.stalled_since = Some(turn.now);
                    }
                }
                Err(error) => failed.push((id, error)),
            }
            stream.listed = stream.wants_to_send();
            stream.listed
        });
        self.sending = sending;
        self.soonest = earlier(self.soonest, due(turn.now, self.config.timeouts.write_stall));
        for (id, error) in failed {
            self.fail(id, error, turn);
        }
    }

    /// Reports what the transport has flushed.
    pub(super) fn report(&mut self, turn: &mut Turn<'_, '_>) {
        let mut progress = mem::take(&mut self.progress);
        let mut outbound = self.tap.outbound();
        outbound.take_flushed(&mut progress);
        let refused = outbound.take_refused();
        drop(outbound);
        turn.events.extend(refused.into_iter().map(Event::Refused));
        for Progress { stream: id, bytes, end } in progress.drain(..) {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            let bytes = (bytes as usize).min(stream.outstanding);
            stream.outstanding -= bytes;
            self.outstanding -= bytes;
            stream.flushed += bytes as u64;
            stream.stalled_since = stream.waits_for_peer().then_some(turn.now);
            let key = stream.key;
            if end {
                if let Some(bytes) = stream.exchange.ended() {
                    if stream.pulls_body() {
                        let error = Error::new(Code::Closed, "the response was sent before the body was read");
                        turn.events.push_back(Event::BodyFailed { key, error });
                    }
                    turn.events.push_back(Event::Sent { key, bytes, at: turn.now });
                    stream.sent = true;
                    if stream.over() {
                        self.remove(id, turn.now);
                    }
                }
            } else if stream.exchange.streaming() && stream.outstanding == 0 && !stream.wants_to_send() {
                turn.events.push_back(Event::Written { key, bytes: stream.flushed });
            }
        }
        self.progress = progress;
    }

    /// `stream` has something to send.
    pub(super) fn now_sending(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(id)
            && !mem::replace(&mut stream.listed, true)
        {
            self.sending.push(id);
        }
    }
}

impl Stream {
    /// Gives h2 the head of an answer, which tells `length` and Date unless it does already.
    pub(super) fn send_head(&mut self, head: ResponseHead, length: Option<u64>, end: bool) -> Result<(), Error> {
        let Some(respond) = self.respond() else {
            return Err(Error::new(Code::KeyUsed, "the request has its answer already"));
        };
        let Said { length: said, dated, .. } = head.headers.said;
        let mut headers = head.headers.into_http2();
        match length {
            Some(length) if said.is_none() => {
                headers.insert(header::CONTENT_LENGTH, response::length_value(length));
            }
            // A 204 has none to tell (RFC 9110 section 8.6).
            None if said.is_some() => {
                headers.remove(header::CONTENT_LENGTH);
            }
            _ => {}
        }
        if !dated {
            date::with(|date| headers.insert(header::DATE, date.clone()));
        }
        let mut response = Response::new(());
        *response.status_mut() = head.status;
        *response.headers_mut() = headers;
        // An error is the stream's: the peer has reset it, and `look` tells. A malformed head was refused before.
        if let Ok(sender) = respond.send_response(response, end) {
            self.begin(sender);
            self.expects_continue = false;
        }
        Ok(())
    }
}
