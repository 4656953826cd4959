//! Frames, from the transport to the streams (RFC 9113 sections 4 to 6).
//!
//! Hot: once a request and once a read. A frame is looked at where it was read; only large DATA is cut out of the buffer.

use std::{mem, task::Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    H2,
    frame::{HEAD_BYTES, Head, MAX_31, PAYLOAD_BYTES, Reason, flag, kind, number},
    stream::Coming,
};
use crate::{
    error::{Code, Error},
    io::{
        room,
        transport::{Fault, poll_read},
    },
    wire::{Turn, received::Received},
};

/// Bytes that are read at a time, before what they ask for is done.
const ROUND_BYTES: u64 = 256 << 10;
/// Bytes of a read. It begins with what a small request needs, and doubles as long as reads fill it.
const MOST_READ: usize = 32 << 10;
/// Bytes that wait to be written: a peer that takes none of its answers is not heard any more.
const UNHEARD: usize = 128 << 10;
/// DATA shorter than this is copied: it must not keep a buffer of `MOST_READ`.
const CUT_FROM: usize = PAYLOAD_BYTES;
/// Frames of one header block.
const PIECES: u32 = 100;

/// What ends a connection.
#[derive(Debug)]
pub(super) enum Broken {
    /// The peer has broken the protocol (RFC 9113 section 5.4.1).
    Peer(Reason, &'static str),
    Transport(Fault),
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Transport(fault)
    }
}

pub(super) fn broken<T>(reason: Reason, what: &'static str) -> Result<T, Broken> {
    Err(Broken::Peer(reason, what))
}

/// A header block that waits for its CONTINUATION.
#[derive(Debug)]
pub(super) struct OpenBlock {
    stream: u32,
    end_stream: bool,
    /// Its priority names itself.
    selfish: bool,
    bytes: Vec<u8>,
    pieces: u32,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    /// Reads what has come, and takes it apart. True: there may be more.
    pub(super) fn receive(&mut self, turn: &mut Turn<'_, '_>) -> Result<bool, Broken> {
        let most = self.traffic.read.get() + ROUND_BYTES;
        loop {
            self.take_frames(turn)?;
            if self.eof || self.dry {
                return Ok(false);
            }
            if !self.hears() || self.traffic.read.get() >= most {
                return Ok(true);
            }
            self.dry = self.read(turn)?.is_pending();
        }
    }

    /// The peer takes its answers, so that it may say more.
    pub(super) fn hears(&self) -> bool {
        self.outgoing.len() <= UNHEARD
    }

    fn read(&mut self, turn: &mut Turn<'_, '_>) -> Result<Poll<()>, Fault> {
        room::lend(&mut self.incoming);
        self.incoming.reserve(self.read_bytes);
        let room = self.incoming.capacity() - self.incoming.len();
        let Poll::Ready(read) = poll_read(&mut self.io, &mut self.incoming, &self.traffic, turn.cx) else {
            self.read_bytes = 0;
            return Ok(Poll::Pending);
        };
        let read = read?;
        self.eof = read == 0;
        if read == room {
            self.read_bytes = (2 * read).min(MOST_READ);
        }
        Ok(Poll::Ready(()))
    }

    /// Takes the frames that have come whole.
    fn take_frames(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), Broken> {
        let mut incoming = mem::take(&mut self.incoming);
        let mut at = 0;
        let taken = loop {
            let Some(head) = Head::of(&incoming[at..]) else { break Ok(()) };
            if head.length > PAYLOAD_BYTES {
                break broken(Reason::FrameSizeError, "a frame is longer than SETTINGS_MAX_FRAME_SIZE");
            }
            let (begin, end) = (at + HEAD_BYTES, at + HEAD_BYTES + head.length);
            if incoming.len() < end {
                // So that the next read can bring all of it.
                self.read_bytes = self.read_bytes.max(end - at);
                let read = self.traffic.read.get();
                if self.piece.1 < read {
                    self.piece = (turn.now, read);
                }
                break Ok(());
            }
            at = end;
            let frame = if head.kind != kind::DATA {
                self.frame(head, &incoming[begin..end], turn)
            } else if head.length < CUT_FROM {
                self.data(head, &incoming[begin..end], Received::copy, turn)
            } else {
                incoming.advance(begin);
                at = 0;
                let payload = incoming.split_to(head.length).freeze();
                self.data(head, &payload, |received, data| received.push(payload.slice_ref(data)), turn)
            };
            if frame.is_err() {
                break frame;
            }
        };
        incoming.advance(at);
        self.clock_head(&incoming, turn);
        self.incoming = incoming;
        taken
    }

    /// Notes since when a header block is under way.
    fn clock_head(&mut self, incoming: &BytesMut, turn: &Turn<'_, '_>) {
        let begun = |head: Head| matches!(head.kind, kind::HEADERS | kind::CONTINUATION);
        if self.block.is_some() || Head::of(incoming).is_some_and(begun) {
            self.head_since.get_or_insert(turn.now);
        } else {
            self.head_since = None;
        }
    }

    fn frame(&mut self, head: Head, payload: &[u8], turn: &mut Turn<'_, '_>) -> Result<(), Broken> {
        if self.block.is_some() && head.kind != kind::CONTINUATION {
            return broken(Reason::ProtocolError, "a header block is interrupted");
        }
        match head.kind {
            kind::HEADERS => self.headers(head, payload, turn),
            kind::CONTINUATION => self.continuation(head, payload, turn),
            kind::PRIORITY => self.priority(head, payload, turn),
            kind::RST_STREAM => self.reset_stream(head, payload, turn),
            kind::SETTINGS => self.settings(head, payload),
            kind::PUSH_PROMISE => broken(Reason::ProtocolError, "PUSH_PROMISE from a client"),
            kind::PING => self.ping(head, payload, turn),
            kind::GOAWAY if head.stream != 0 => broken(Reason::ProtocolError, "GOAWAY on a stream"),
            kind::GOAWAY if payload.len() < 8 => broken(Reason::FrameSizeError, "GOAWAY is too short"),
            kind::WINDOW_UPDATE => self.window_update(head, payload, turn),
            kind::PRIORITY_UPDATE => self.priority_update(head, payload),
            // The peer closes when it has its answers. What is not known is ignored (RFC 9113 section 5.5).
            _ => Ok(()),
        }
    }

    // ---- header blocks

    fn headers(&mut self, head: Head, payload: &[u8], turn: &mut Turn<'_, '_>) -> Result<(), Broken> {
        if head.stream.is_multiple_of(2) {
            return broken(Reason::ProtocolError, "HEADERS on a stream that no client opens");
        }
        let mut block = unpadded(head, payload)?;
        let mut selfish = false;
        if head.has(flag::PRIORITY) {
            let Some((priority, rest)) = block.split_at_checked(5) else {
                return broken(Reason::FrameSizeError, "HEADERS are too short for their priority");
            };
            selfish = number(priority) & MAX_31 == head.stream;
            block = rest;
        }
        let (stream, end_stream) = (head.stream, head.has(flag::END_STREAM));
        if head.has(flag::END_HEADERS) {
            return self.whole_block(stream, end_stream, selfish, block, turn);
        }
        self.block = Some(Box::new(OpenBlock { stream, end_stream, selfish, bytes: block.to_vec(), pieces: 1 }));
        Ok(())
    }

    fn continuation(&mut self, head: Head, payload: &[u8], turn: &mut Turn<'_, '_>) -> Result<(), Broken> {
        let Some(mut block) = self.block.take().filter(|block| block.stream == head.stream) else {
            return broken(Reason::ProtocolError, "CONTINUATION of no header block");
        };
        block.bytes.extend_from_slice(payload);
        block.pieces += 1;
        // A list that is too large is answered; one that does not end is an attack. Coded it is hardly longer than plain.
        let most = self.config.limits.header_bytes.max(PAYLOAD_BYTES).saturating_mul(4);
        if block.pieces > PIECES || block.bytes.len() > most {
            return broken(Reason::EnhanceYourCalm, "a header block does not end");
        }
        if head.has(flag::END_HEADERS) {
            return self.whole_block(block.stream, block.end_stream, block.selfish, &block.bytes, turn);
        }
        self.block = Some(block);
        Ok(())
    }

    fn whole_block(
        &mut self,
        id: u32,
        end_stream: bool,
        selfish: bool,
        block: &[u8],
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), Broken> {
        self.head_since = None;
        if id > self.highest {
            return self.open_stream(id, end_stream, selfish, block, turn);
        }
        let trailers = self.decode(block, |gathered| gathered.into_trailers())?;
        let Some(stream) = self.streams.get_mut(id) else { return self.after_the_end(id, "HEADERS") };
        if stream.coming == Coming::Ended {
            return self.stream_error(id, Reason::StreamClosed, "HEADERS behind END_STREAM", turn);
        }
        let Ok(trailers) = trailers else {
            return self.stream_error(id, Reason::ProtocolError, "the trailer section is malformed or too large", turn);
        };
        // Nor has a tunnel any (RFC 9113 section 8.5).
        if !end_stream || selfish || stream.upgrade.is_some() || stream.ended(true).is_err() {
            return self.stream_error(
                id,
                Reason::ProtocolError,
                "a trailer section that is not at the end of a body",
                turn,
            );
        }
        stream.trailers = Some(trailers.into_map());
        self.awaken(id);
        Ok(())
    }

    // ---- bodies

    /// `keep` keeps what is to be kept of the payload.
    fn data(
        &mut self,
        head: Head,
        payload: &[u8],
        keep: impl FnOnce(&mut Received, &[u8]),
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), Broken> {
        let id = head.stream;
        if self.block.is_some() {
            return broken(Reason::ProtocolError, "a header block is interrupted");
        }
        if self.is_idle(id) {
            return broken(Reason::ProtocolError, "DATA on a stream that is not open");
        }
        let data = unpadded(head, payload)?;
        let length = payload.len() as i64;
        if length > self.receive_window {
            return broken(Reason::FlowControlError, "DATA over the window of the connection");
        }
        self.receive_window -= length;
        // What was taken may by now be more than what the peer has left, and it may be kept from the stream that is read.
        self.give_back(0);
        let Some(stream) = self.streams.get_mut(id) else {
            self.give_back(payload.len());
            return self.after_the_end(id, "DATA");
        };
        if stream.coming == Coming::Ended {
            self.give_back(payload.len());
            return self.stream_error(id, Reason::StreamClosed, "DATA behind END_STREAM", turn);
        }
        // Our SETTINGS may have made it negative: DATA without a byte fits into any (RFC 9113 section 6.9.1).
        if length > stream.receive_window.max(0) {
            return broken(Reason::FlowControlError, "DATA over the window of its stream");
        }
        stream.receive_window -= length;
        let (end, no_bytes) = (head.has(flag::END_STREAM), data.is_empty());
        let kept = match stream.receive(data.len(), end, self.config.limits.body_bytes) {
            Ok(kept) => kept,
            Err(reason) => {
                self.give_back(payload.len());
                return self.stream_error(id, reason, "the body has not its declared length", turn);
            }
        };
        if kept && !data.is_empty() {
            keep(&mut stream.incoming, data);
        }
        // Padding is nobody's to take.
        let dropped = if kept { payload.len() - data.len() } else { payload.len() };
        if dropped > 0 {
            self.taken_of(id, dropped);
        }
        self.awaken(id);
        if no_bytes && !end {
            return self.waste("empty DATA");
        }
        Ok(())
    }

    // ---- faults

    /// It was never opened (RFC 9113 section 5.1.1): the connection itself, what only we could open, what is yet to come.
    pub(super) fn is_idle(&self, id: u32) -> bool {
        id.is_multiple_of(2) || id > self.highest
    }

    /// A frame on a stream that has ended, or was not looked at. The peer of one that we have reset may not have known
    /// (RFC 9113 section 5.1).
    fn after_the_end(&self, id: u32, what: &'static str) -> Result<(), Broken> {
        if self.last_of_going.is_some_and(|last| id > last) || self.let_go.contains(&id) {
            return Ok(());
        }
        // A stream that was left out was never open.
        broken(if self.gaps { Reason::ProtocolError } else { Reason::StreamClosed }, what)
    }

    /// The peer is at fault, and only one stream has to suffer for it (RFC 9113 section 5.4.2).
    pub(super) fn stream_error(
        &mut self,
        id: u32,
        reason: Reason,
        what: &'static str,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), Broken> {
        self.write_reset(id, reason);
        self.fail(id, Error::new(Code::Protocol, what), turn);
        self.waste(what)
    }
}

/// The payload without its padding (RFC 9113 section 6.1).
fn unpadded(head: Head, payload: &[u8]) -> Result<&[u8], Broken> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let Some((&padding, rest)) = payload.split_first() else {
        return broken(Reason::FrameSizeError, "a padded frame without the length of its padding");
    };
    match rest.len().checked_sub(usize::from(padding)) {
        Some(length) => Ok(&rest[..length]),
        None => broken(Reason::ProtocolError, "more padding than payload"),
    }
}
