//! Sees in the inbound bytes of an HTTP/2 connection how far the peer is with what h2 tells only when it is whole: its
//! first frame, and a header block.

use super::frames::{CONTINUATION, END_HEADERS, Edge, Frames, HEADERS, SETTINGS};

/// What the client says before its first frame (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

/// Follows the inbound bytes; costs a few instructions a frame.
#[derive(Debug)]
pub(crate) struct InboundScan {
    frames: Frames,
    in_preface: bool,
    begins_with_settings: Option<bool>,
    /// Header blocks that have begun and that have ended, together: odd while one is under way.
    heads: u64,
    /// The highest stream of which a whole header block has come.
    highest: u32,
}

impl Default for InboundScan {
    fn default() -> Self {
        Self {
            frames: Frames::after(PREFACE_BYTES),
            in_preface: true,
            begins_with_settings: None,
            heads: 0,
            highest: 0,
        }
    }
}

impl InboundScan {
    /// `bytes` are on their way to h2.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) {
        while let Some(edge) = self.frames.next(&mut bytes) {
            if std::mem::take(&mut self.in_preface) {
                continue;
            }
            let kind = self.frames.kind();
            let under_way = self.head().is_some();
            match edge {
                Edge::Begins => self.heads += u64::from(kind == HEADERS && !under_way),
                Edge::Ends => {
                    self.begins_with_settings.get_or_insert(kind == SETTINGS);
                    if under_way && matches!(kind, HEADERS | CONTINUATION) && self.frames.has(END_HEADERS) {
                        self.heads += 1;
                        self.highest = self.highest.max(self.frames.stream());
                    }
                }
            }
        }
    }

    /// Whether the first frame is SETTINGS, once it has come.
    pub(crate) fn begins_with_settings(&self) -> Option<bool> {
        self.begins_with_settings
    }

    /// The highest stream of which a whole header block has come: h2 has none above it.
    pub(crate) fn highest(&self) -> u32 {
        self.highest
    }

    /// The number of the header block that is under way.
    pub(crate) fn head(&self) -> Option<u64> {
        (self.heads % 2 == 1).then_some(self.heads)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::frames::frame, *};

    fn scan() -> InboundScan {
        let mut scan = InboundScan::default();
        scan.read(&[0; PREFACE_BYTES]);
        scan
    }

    #[test]
    fn a_header_block_is_under_way_until_its_last_byte_however_the_bytes_come() {
        let frames = [
            frame(SETTINGS, 0, 0, &[0; 6]),
            frame(HEADERS, END_HEADERS, 1, &[0; 5]),
            frame(HEADERS, 0, 3, &[]),
            frame(CONTINUATION, 0, 3, &[0; 3]),
            frame(CONTINUATION, END_HEADERS, 3, &[0; 4]),
            frame(0, 0, 3, &[0; 30]),
        ];
        let under_way = [None, None, Some(3), Some(3), None, None];
        for piece in [1, 2, 7, 9, 100] {
            let mut scan = scan();
            assert_eq!(scan.begins_with_settings(), None);
            for (bytes, expected) in frames.iter().zip(under_way) {
                bytes.chunks(piece).for_each(|piece| scan.read(piece));
                assert_eq!(scan.head(), expected);
            }
            assert_eq!(scan.highest(), 3);
            assert_eq!(scan.begins_with_settings(), Some(true));
        }
    }

    #[test]
    fn the_preface_goes_on_until_the_first_frame() {
        let mut scan = scan();
        let ping = frame(6, 0, 0, &[0; 8]);
        scan.read(&ping[..16]);
        assert_eq!(scan.begins_with_settings(), None);
        scan.read(&ping[16..]);
        assert_eq!(scan.begins_with_settings(), Some(false));
    }
}
