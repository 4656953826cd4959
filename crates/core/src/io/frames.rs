//! The bytes of an HTTP/2 connection, one direction, frame by frame (RFC 9113 section 4.1: 9 bytes in front of each
//! payload). Payloads are skipped, whatever their length.

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// What has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Edge {
    /// A frame's header.
    Begins,
    /// A frame's last byte.
    Ends,
}

#[derive(Debug)]
enum Position {
    /// Inside a frame header, of which so many bytes have passed.
    Header(usize),
    /// Inside a payload, or what comes before the first frame, of which so many bytes are left.
    Payload(usize),
}

/// Follows one direction.
#[derive(Debug)]
pub(super) struct Frames {
    position: Position,
    header: [u8; 9],
    /// The payload of an RST_STREAM.
    code: [u8; 4],
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { position: Position::Header(0), header: [0; 9], code: [0; 4] }
    }

    /// Begins behind `bytes` bytes that are no frame.
    pub(super) fn after(bytes: usize) -> Self {
        Self { position: Position::Payload(bytes), ..Self::new() }
    }

    /// Consumes bytes up to the next edge.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Edge> {
        match self.position {
            Position::Header(have) => {
                let (taken, rest) = bytes.split_at((9 - have).min(bytes.len()));
                self.header[have..have + taken.len()].copy_from_slice(taken);
                *bytes = rest;
                if have + taken.len() < 9 {
                    self.position = Position::Header(have + taken.len());
                    return None;
                }
                self.position = Position::Payload(self.length());
                Some(Edge::Begins)
            }
            Position::Payload(left) => {
                let (taken, rest) = bytes.split_at(left.min(bytes.len()));
                let left = left - taken.len();
                *bytes = rest;
                if self.kind() == RST_STREAM {
                    self.keep_code(taken, left);
                }
                if left > 0 {
                    self.position = Position::Payload(left);
                    return None;
                }
                self.position = Position::Header(0);
                Some(Edge::Ends)
            }
        }
    }

    #[cold]
    fn keep_code(&mut self, taken: &[u8], left: usize) {
        let begin = self.length().saturating_sub(left + taken.len());
        for (kept, &byte) in self.code.iter_mut().skip(begin).zip(taken) {
            *kept = byte;
        }
    }

    pub(super) fn length(&self) -> usize {
        let [a, b, c, ..] = self.header;
        u32::from_be_bytes([0, a, b, c]) as usize
    }

    pub(super) fn kind(&self) -> u8 {
        self.header[3]
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.header[4] & flag != 0
    }

    pub(super) fn stream(&self) -> u32 {
        let [.., a, b, c, d] = self.header;
        u32::from_be_bytes([a & 0x7f, b, c, d])
    }

    /// The error code of an RST_STREAM that has passed.
    pub(super) fn code(&self) -> u32 {
        u32::from_be_bytes(self.code)
    }
}

#[cfg(test)]
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
