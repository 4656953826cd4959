//! Sees in the outbound bytes of an HTTP/2 connection when a stream has been written to its end.
//!
//! h2 has no notion of "sent": the stream counts as closed when its last frame is queued. The frame headers
//! (RFC 9113 section 4.1: 9 bytes in front of each payload) say when the transport has taken it.

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Bytes of one stream that the transport has taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    pub(crate) stream: u32,
    /// DATA payload bytes.
    pub(crate) bytes: u32,
    /// The stream's last frame is among them.
    pub(crate) end: bool,
}

/// Where the scan stands in the byte stream.
#[derive(Debug)]
enum Position {
    /// Inside a frame header, of which so many bytes are in `header`.
    Header(usize),
    /// Inside a payload, of which so many bytes are left.
    Payload(usize),
}

/// Follows the outbound bytes frame by frame; costs a few instructions a frame, whatever its length.
#[derive(Debug)]
pub(crate) struct FrameScan {
    position: Position,
    header: [u8; 9],
    /// END_STREAM came on HEADERS, END_HEADERS is still to come.
    ending: Option<u32>,
    written: Vec<Progress>,
    flushed: Vec<Progress>,
}

impl Default for FrameScan {
    fn default() -> Self {
        Self { position: Position::Header(0), header: [0; 9], ending: None, written: Vec::new(), flushed: Vec::new() }
    }
}

impl FrameScan {
    /// The transport took `bytes`.
    pub(crate) fn written(&mut self, mut bytes: &[u8]) {
        loop {
            match self.position {
                Position::Header(have) => {
                    let take = (9 - have).min(bytes.len());
                    self.header[have..have + take].copy_from_slice(&bytes[..take]);
                    bytes = &bytes[take..];
                    if have + take < 9 {
                        self.position = Position::Header(have + take);
                        return;
                    }
                    let [a, b, c, ..] = self.header;
                    self.position = Position::Payload(u32::from_be_bytes([0, a, b, c]) as usize);
                }
                Position::Payload(left) => {
                    let take = left.min(bytes.len());
                    bytes = &bytes[take..];
                    if take < left {
                        self.position = Position::Payload(left - take);
                        return;
                    }
                    self.frame_written();
                    self.position = Position::Header(0);
                    if bytes.is_empty() {
                        return;
                    }
                }
            }
        }
    }

    /// The transport has flushed all that was written.
    pub(crate) fn flush(&mut self) {
        self.flushed.append(&mut self.written);
    }

    /// Takes what was flushed since the last call; `into` is expected empty and gives its room in return.
    pub(crate) fn take_flushed(&mut self, into: &mut Vec<Progress>) {
        std::mem::swap(&mut self.flushed, into);
    }

    fn frame_written(&mut self) {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = self.header;
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        match kind {
            DATA => {
                let bytes = u32::from_be_bytes([0, a, b, c]);
                self.written.push(Progress { stream, bytes, end: flags & END_STREAM != 0 });
            }
            HEADERS if flags & END_STREAM != 0 => {
                if flags & END_HEADERS != 0 {
                    self.written.push(Progress { stream, bytes: 0, end: true });
                } else {
                    self.ending = Some(stream);
                }
            }
            CONTINUATION if flags & END_HEADERS != 0 => {
                if let Some(stream) = self.ending.take() {
                    self.written.push(Progress { stream, bytes: 0, end: true });
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: usize) -> Vec<u8> {
        let mut bytes = (payload as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.resize(9 + payload, 0xee);
        bytes
    }

    #[test]
    fn finds_every_end_of_stream_however_the_bytes_are_cut() {
        let mut wire = frame(4, 0, 0, 18);
        wire.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, 7));
        wire.extend(frame(HEADERS, END_STREAM, 3, 5));
        wire.extend(frame(CONTINUATION, 0, 3, 4));
        wire.extend(frame(CONTINUATION, END_HEADERS, 3, 0));
        wire.extend(frame(HEADERS, END_HEADERS, 5, 3));
        wire.extend(frame(DATA, 0, 5, 300));
        wire.extend(frame(DATA, END_STREAM, 5, 0));
        let expected = [
            Progress { stream: 1, bytes: 0, end: true },
            Progress { stream: 3, bytes: 0, end: true },
            Progress { stream: 5, bytes: 300, end: false },
            Progress { stream: 5, bytes: 0, end: true },
        ];
        for cut in 1..=wire.len() {
            let mut scan = FrameScan::default();
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
}
