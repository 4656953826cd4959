//! Answers, from the streams' queues to the transport.

use std::{mem, time::Instant};

use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    H2,
    frame::{HEAD_BYTES, Head, PAYLOAD_BYTES, Reason, flag, frame_block, kind},
    priority::Priority,
    stream::Coming,
};
use crate::{
    date,
    error::{Code, Error},
    event::Event,
    fields::{ResponseFields, write_line},
    io::room,
    wire::{Turn, due, earlier},
};

/// Body bytes that are written before the transport has taken them: beyond them the more urgent stream goes first.
const WATERMARK: usize = 64 << 10;

/// The last byte of a frame of which somebody wants to know when it has been sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Where it is among all bytes of the connection.
    at: u64,
    stream: u32,
    /// Body bytes in the frame.
    bytes: usize,
    /// It ends the stream.
    end: bool,
}

/// What is told in the head of a final answer beside its fields.
pub(super) struct Told {
    pub(super) length: Option<u64>,
    /// Date, unless the fields have one.
    pub(super) now: Instant,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    /// Writes response bytes by priority and as far as the windows go. True: more may go out when the transport has
    /// taken what it has.
    pub(super) fn submit(&mut self, turn: &Turn<'_, '_>) -> bool {
        if self.sending.is_empty() {
            return false;
        }
        if self.outgoing.len() >= WATERMARK {
            return true;
        }
        let mut sending = mem::take(&mut self.sending);
        if self.prioritized && sending.len() > 1 {
            // Of one urgency first those that are wanted whole, in their order; then who was served longest ago.
            sending.sort_by_key(|id| {
                let stream = self.streams.get_mut(*id)?;
                let Priority { urgency, incremental } = stream.priority;
                Some((urgency, incremental, stream.served_at))
            });
        }
        let mut room = WATERMARK;
        let before = self.marks.len();
        sending.retain(|&id| self.pump(id, &mut room, turn));
        self.sending = sending;
        self.soonest = earlier(self.soonest, due(turn.now, self.config.timeouts.write_stall));
        self.marks.len() > before && !self.sending.is_empty()
    }

    /// Writes what the windows and `room` let out of a stream. True: it waits for room, or for the connection's window.
    fn pump(&mut self, id: u32, room: &mut usize, turn: &Turn<'_, '_>) -> bool {
        let Some(stream) = self.streams.get_mut(id) else { return false };
        while stream.queued > 0 {
            let window = usize::try_from(stream.send_window.min(self.send_window)).unwrap_or(0);
            let most = window.min(*room).min(PAYLOAD_BYTES);
            if most == 0 {
                stream.listed = stream.send_window > 0;
                stream.stalled_since = if window > 0 {
                    // Whether the transport takes what it has been given, it tells for all streams.
                    None
                } else if stream.listed && *room < WATERMARK {
                    // The window of the connection has gone to others.
                    Some(turn.now)
                } else {
                    stream.stalled_since.or(Some(turn.now))
                };
                return stream.listed;
            }
            let length = most.min(stream.queued);
            let end = stream.queued == length && stream.end.take_if(|trailers| trailers.is_none()).is_some();
            let flags = if end { flag::END_STREAM } else { 0 };
            Head { length, kind: kind::DATA, flags, stream: id }.write(self.outgoing.tail());
            // Short pieces share a frame.
            let mut left = length;
            while left > 0 {
                let piece = stream.next_piece(left);
                left -= piece.len();
                self.outgoing.push(piece);
            }
            *room = room.saturating_sub(HEAD_BYTES + length);
            stream.send_window -= length as i64;
            self.send_window -= length as i64;
            stream.stalled_since = None;
            let at = self.outgoing.end(&self.traffic);
            if stream.priority.incremental {
                stream.served_at = at;
            }
            self.marks.push_back(Mark { at, stream: id, bytes: length, end });
        }
        stream.listed = false;
        stream.stalled_since = None;
        match stream.end.take() {
            None => {}
            Some(None) => {
                Head { length: 0, kind: kind::DATA, flags: flag::END_STREAM, stream: id }.write(self.outgoing.tail());
                self.mark_end(id);
            }
            Some(Some(trailers)) => self.write_trailers(id, &trailers),
        }
        false
    }

    /// The stream ends with what was written last.
    fn mark_end(&mut self, id: u32) {
        let at = self.outgoing.end(&self.traffic);
        self.marks.push_back(Mark { at, stream: id, bytes: 0, end: true });
    }

    /// Tells what the transport has flushed.
    pub(super) fn report(&mut self, turn: &mut Turn<'_, '_>) {
        let flushed = self.outgoing.flushed();
        while let Some(&Mark { at, stream: id, bytes, end }) = self.marks.front()
            && at <= flushed
        {
            self.marks.pop_front();
            let Some(stream) = self.streams.get_mut(id) else { continue };
            stream.flushed += bytes as u64;
            let key = stream.key;
            if !end {
                match turn.events.back_mut() {
                    _ if !stream.exchange.streaming() => {}
                    // Of frames one behind the other the last tells it.
                    Some(Event::Written { key: before, bytes }) if *before == key => *bytes = stream.flushed,
                    _ => turn.events.push_back(Event::Written { key, bytes: stream.flushed }),
                }
                continue;
            }
            let Some(bytes) = stream.exchange.ended() else { continue };
            if stream.pulls_body() {
                let error = Error::new(Code::Closed, "the response was sent before the body was read");
                turn.events.push_back(Event::BodyFailed { key, error });
            }
            turn.events.push_back(Event::Sent { key, bytes, at: turn.now });
            stream.sent = true;
            self.wasted = self.wasted.saturating_sub(1);
            if stream.over() {
                if stream.coming != Coming::Ended {
                    // Nobody reads the rest (RFC 9113 section 8.1).
                    self.write_reset(id, Reason::NoError);
                }
                self.remove(id, turn.now);
            }
        }
    }

    /// `stream` has something to send.
    pub(super) fn now_sending(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(id)
            && !mem::replace(&mut stream.listed, true)
        {
            self.sending.push(id);
        }
    }

    /// Begins a header block: where room is left for the head of its frame.
    fn begin_block(&mut self) -> usize {
        let out = self.outgoing.tail();
        let at = out.len();
        out.extend_from_slice(&[0; HEAD_BYTES]);
        self.encoder.begin(out);
        at
    }

    /// The head of an answer. A final one tells what it is `told`.
    pub(super) fn write_head(
        &mut self,
        id: u32,
        status: StatusCode,
        fields: &ResponseFields,
        told: Option<Told>,
        end: bool,
    ) {
        let at = self.begin_block();
        let (out, encoder) = (self.outgoing.tail(), &mut self.encoder);
        encoder.status(out, status);
        for (line, name_length) in fields.for_http2() {
            encoder.field(out, line, name_length);
        }
        if let Some(Told { length, now }) = told {
            if let Some(length) = length {
                encoder.length(out, length);
            }
            if !fields.said.dated {
                date::with(now, |line| encoder.field(out, line, date::NAME_BYTES));
            }
        }
        frame_block(out, at, id, end);
        if end {
            self.mark_end(id);
        }
    }

    fn write_trailers(&mut self, id: u32, trailers: &HeaderMap) {
        let at = self.begin_block();
        let out = self.outgoing.tail();
        let mut line = room::text();
        for (name, value) in trailers {
            line.clear();
            write_line(&mut line, name.as_str(), value.as_bytes().trim_ascii());
            self.encoder.field(out, &line[..line.len() - 2], name.as_str().len());
        }
        room::recycle_text(line);
        frame_block(out, at, id, true);
        self.mark_end(id);
    }
}
