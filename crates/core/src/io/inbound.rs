//! Sees in the inbound bytes of an HTTP/2 connection how far the peer is with what h2 tells only when it is whole: its
//! first frame, and a header block.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the client says before its first frame (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// What the scan tells the engine. It has one writer.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    /// The first frame's type, plus 1; 0 before it has come.
    first: AtomicU64,
    /// Header blocks that have begun and that have ended, together: odd while one is under way.
    heads: AtomicU64,
}

impl Seen {
    /// Whether the first frame is SETTINGS, once it has come.
    pub(crate) fn begins_with_settings(&self) -> Option<bool> {
        match self.first.load(Relaxed) {
            0 => None,
            first => Some(first == u64::from(SETTINGS) + 1),
        }
    }

    /// The number of the header block that is under way.
    pub(crate) fn head(&self) -> Option<u64> {
        let heads = self.heads.load(Relaxed);
        (heads % 2 == 1).then_some(heads)
    }

    fn next_head(&self) {
        self.heads.store(self.heads.load(Relaxed) + 1, Relaxed);
    }
}

/// Follows the inbound bytes frame by frame; costs a few instructions a frame, whatever its length.
#[derive(Debug)]
pub(crate) struct InboundScan {
    header: [u8; 9],
    /// Bytes of `header` that have come.
    have: usize,
    /// Bytes to come of the preface or of the present payload.
    left: usize,
}

impl Default for InboundScan {
    fn default() -> Self {
        Self { header: [0; 9], have: 0, left: PREFACE_BYTES }
    }
}

impl InboundScan {
    /// `bytes` are on their way to h2.
    pub(crate) fn read(&mut self, mut bytes: &[u8], seen: &Seen) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let take = self.left.min(bytes.len());
                self.left -= take;
                bytes = &bytes[take..];
            } else {
                let take = (9 - self.have).min(bytes.len());
                self.header[self.have..self.have + take].copy_from_slice(&bytes[..take]);
                self.have += take;
                bytes = &bytes[take..];
                if self.have == 9 {
                    let [a, b, c, ..] = self.header;
                    self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                    self.frame_begins(seen);
                }
            }
            if self.have == 9 && self.left == 0 {
                self.have = 0;
                self.frame_ends(seen);
            }
        }
    }

    fn frame_begins(&self, seen: &Seen) {
        if self.header[3] == HEADERS && seen.head().is_none() {
            seen.next_head();
        }
    }

    fn frame_ends(&self, seen: &Seen) {
        let [_, _, _, kind, flags, ..] = self.header;
        if seen.first.load(Relaxed) == 0 {
            seen.first.store(u64::from(kind) + 1, Relaxed);
        }
        if matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0 && seen.head().is_some() {
            seen.next_head();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0, payload as u8, kind, flags, 0, 0, 0, 1];
        bytes.resize(9 + payload, 0);
        bytes
    }

    #[test]
    fn a_header_block_is_under_way_until_its_last_byte_however_the_bytes_come() {
        let frames = [
            frame(SETTINGS, 0, 6),
            frame(HEADERS, END_HEADERS, 5),
            frame(HEADERS, 0, 0),
            frame(CONTINUATION, 0, 3),
            frame(CONTINUATION, END_HEADERS, 4),
            frame(0, 0, 30),
        ];
        let under_way = [None, None, Some(3), Some(3), None, None];
        for piece in [1, 2, 7, 9, 100] {
            let seen = Seen::default();
            let mut scan = InboundScan::default();
            scan.read(&[0; PREFACE_BYTES], &seen);
            assert_eq!(seen.begins_with_settings(), None);
            for (bytes, expected) in frames.iter().zip(under_way) {
                bytes.chunks(piece).for_each(|piece| scan.read(piece, &seen));
                assert_eq!(seen.head(), expected);
            }
            assert_eq!(seen.begins_with_settings(), Some(true));
        }
    }

    #[test]
    fn the_preface_goes_on_until_the_first_frame() {
        let seen = Seen::default();
        let mut scan = InboundScan::default();
        scan.read(&[0; PREFACE_BYTES], &seen);
        let ping = frame(6, 0, 8);
        scan.read(&ping[..16], &seen);
        assert_eq!(seen.begins_with_settings(), None);
        scan.read(&ping[16..], &seen);
        assert_eq!(seen.begins_with_settings(), Some(false));
    }
}
