//! Sees in the outbound bytes of an HTTP/2 connection when a stream has been written to its end, and which streams h2
//! has refused by itself.
//!
//! h2 has no notion of "sent": the stream counts as closed when its last frame is queued. And it tells nobody of heads
//! that it does not let in.

use std::mem;

use h2::Reason;

use super::frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, Edge, Frames, HEADERS, RST_STREAM};
use crate::error::Refusal;

/// Bytes of one stream that the transport has taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    pub(crate) stream: u32,
    /// DATA payload bytes.
    pub(crate) bytes: u32,
    /// The stream's last frame is among them.
    pub(crate) end: bool,
}

/// Follows the outbound bytes; costs a few instructions a frame.
#[derive(Debug)]
pub(crate) struct OutboundScan {
    frames: Frames,
    /// END_STREAM came on HEADERS, END_HEADERS is still to come.
    ending: Option<u32>,
    written: Vec<Progress>,
    flushed: Vec<Progress>,
    /// The highest stream that h2 has given out: what goes out on higher ones is h2's own.
    given: u32,
    refused: Vec<Refusal>,
}

impl Default for OutboundScan {
    fn default() -> Self {
        Self {
            frames: Frames::new(),
            ending: None,
            written: Vec::new(),
            flushed: Vec::new(),
            given: 0,
            refused: Vec::new(),
        }
    }
}

impl OutboundScan {
    /// h2 has given out this stream.
    pub(crate) fn gave(&mut self, stream: u32) {
        self.given = self.given.max(stream);
    }

    /// The transport took `bytes`.
    pub(crate) fn written(&mut self, mut bytes: &[u8]) {
        while let Some(edge) = self.frames.next(&mut bytes) {
            if edge == Edge::Ends {
                self.frame_written();
            }
        }
    }

    /// The transport has flushed all that was written.
    pub(crate) fn flush(&mut self) {
        self.flushed.append(&mut self.written);
    }

    /// Takes what was flushed since the last call; `into` is expected empty and gives its room in return.
    pub(crate) fn take_flushed(&mut self, into: &mut Vec<Progress>) {
        mem::swap(&mut self.flushed, into);
    }

    /// What h2 has refused by itself since the last call.
    pub(crate) fn take_refused(&mut self) -> Vec<Refusal> {
        mem::take(&mut self.refused)
    }

    fn frame_written(&mut self) {
        let stream = self.frames.stream();
        if stream > self.given {
            return self.own_frame_written(stream);
        }
        match self.frames.kind() {
            DATA => {
                let bytes = self.frames.length() as u32;
                self.written.push(Progress { stream, bytes, end: self.frames.has(END_STREAM) });
            }
            HEADERS if self.frames.has(END_STREAM) => {
                if self.frames.has(END_HEADERS) {
                    self.written.push(Progress { stream, bytes: 0, end: true });
                } else {
                    self.ending = Some(stream);
                }
            }
            CONTINUATION if self.frames.has(END_HEADERS) => {
                if let Some(stream) = self.ending.take() {
                    self.written.push(Progress { stream, bytes: 0, end: true });
                }
            }
            _ => {}
        }
    }

    #[cold]
    fn own_frame_written(&mut self, stream: u32) {
        match self.frames.kind() {
            RST_STREAM if self.frames.code() == u32::from(Reason::REFUSED_STREAM) => {
                self.refused.push(Refusal::TooManyStreams);
            }
            RST_STREAM => self.refused.push(Refusal::BadRequest),
            HEADERS => {
                self.refused.push(Refusal::HeadTooLarge);
                // A reset may follow, and is none of its own.
                self.gave(stream);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::frames::frame, *};

    #[test]
    fn finds_every_end_of_stream_however_the_bytes_are_cut() {
        let mut wire = frame(4, 0, 0, &[0xee; 18]);
        wire.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xee; 7]));
        wire.extend(frame(HEADERS, END_STREAM, 3, &[0xee; 5]));
        wire.extend(frame(CONTINUATION, 0, 3, &[0xee; 4]));
        wire.extend(frame(CONTINUATION, END_HEADERS, 3, &[]));
        wire.extend(frame(HEADERS, END_HEADERS, 5, &[0xee; 3]));
        wire.extend(frame(DATA, 0, 5, &[0xee; 300]));
        wire.extend(frame(DATA, END_STREAM, 5, &[]));
        let expected = [
            Progress { stream: 1, bytes: 0, end: true },
            Progress { stream: 3, bytes: 0, end: true },
            Progress { stream: 5, bytes: 300, end: false },
            Progress { stream: 5, bytes: 0, end: true },
        ];
        for cut in 1..=wire.len() {
            let mut scan = OutboundScan::default();
            scan.gave(5);
            for part in wire.chunks(cut) {
                scan.written(part);
            }
            let mut seen = Vec::new();
            scan.take_flushed(&mut seen);
            assert!(seen.is_empty(), "nothing is sent before the flush");
            scan.flush();
            scan.take_flushed(&mut seen);
            assert_eq!(seen, expected, "cut every {cut} bytes");
        }
    }

    #[test]
    fn a_refusal_counts_when_its_stream_was_never_given_out() {
        for piece in [1, 3, 10, 13, 100] {
            let mut scan = OutboundScan::default();
            scan.gave(5);
            let reset = |stream, code| frame(RST_STREAM, 0, stream, &[0, 0, 0, code]);
            let answer = frame(HEADERS, END_HEADERS, 11, &[0; 3]);
            let data = frame(DATA, 0, 5, &[3; 20]);
            let bytes = [reset(3, 1), reset(5, 1), reset(7, 1), data, reset(9, 7), answer, reset(11, 0)].concat();
            bytes.chunks(piece).for_each(|piece| scan.written(piece));
            let expected = [Refusal::BadRequest, Refusal::TooManyStreams, Refusal::HeadTooLarge];
            assert_eq!(scan.take_refused(), expected, "in pieces of {piece}");
            assert!(scan.take_refused().is_empty());
        }
    }
}
