//! Frames (RFC 9113 sections 4.1 and 6): their heads, and those that carry no more than a number or two.

/// Bytes in front of each payload.
pub(super) const HEAD_BYTES: usize = 9;
/// SETTINGS_MAX_FRAME_SIZE, unless it is told: we tell none, and send no longer ones (RFC 9113 section 4.2).
pub(super) const PAYLOAD_BYTES: usize = 1 << 14;
/// SETTINGS_INITIAL_WINDOW_SIZE before it is told, and the window of a connection before it is opened further.
pub(super) const FIRST_WINDOW: i64 = (1 << 16) - 1;
/// No window is larger (RFC 9113 section 6.9.1), and no stream higher (section 5.1.1).
pub(super) const MAX_31: u32 = (1 << 31) - 1;

pub(super) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    /// RFC 9218 section 7.1.
    pub(crate) const PRIORITY_UPDATE: u8 = 16;
}

pub(super) mod flag {
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
    pub(crate) const PRIORITY: u8 = 32;
}

pub(super) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
    /// RFC 8441 section 3.
    pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
    /// RFC 9218 section 2.1.
    pub(crate) const NO_RFC7540_PRIORITIES: u16 = 9;
}

/// Error codes (RFC 9113 section 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    NoError = 0,
    ProtocolError = 1,
    InternalError = 2,
    FlowControlError = 3,
    StreamClosed = 5,
    FrameSizeError = 6,
    RefusedStream = 7,
    Cancel = 8,
    CompressionError = 9,
    EnhanceYourCalm = 11,
}

/// The name of an error code.
pub(super) fn reason_name(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    NAMES.get(code as usize).copied().unwrap_or("an unknown error code")
}

/// What stands in front of a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    /// The head at the front of `bytes`, if it has come whole.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, d, e, f, g] = bytes.first_chunk()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Some(Self { length, kind, flags, stream: u32::from_be_bytes([d & 0x7f, e, f, g]) })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn bytes(&self) -> [u8; HEAD_BYTES] {
        let [_, a, b, c] = (self.length as u32).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes());
    }

    /// Writes it over the one that stands at `at`.
    pub(super) fn overwrite(&self, out: &mut [u8], at: usize) {
        if let Some(place) = out.get_mut(at..at + HEAD_BYTES) {
            place.copy_from_slice(&self.bytes());
        }
    }
}

/// The number that `bytes` begin with; 0 if they are too short.
pub(super) fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |number| u32::from_be_bytes(*number))
}

/// A frame of one or two numbers.
fn write_numbers<const N: usize>(out: &mut Vec<u8>, kind: u8, stream: u32, numbers: [u32; N]) {
    Head { length: 4 * N, kind, flags: 0, stream }.write(out);
    for number in numbers {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

pub(super) fn write_reset(out: &mut Vec<u8>, stream: u32, reason: Reason) {
    write_numbers(out, kind::RST_STREAM, stream, [reason as u32]);
}

pub(super) fn write_window_update(out: &mut Vec<u8>, stream: u32, more: u32) {
    write_numbers(out, kind::WINDOW_UPDATE, stream, [more]);
}

pub(super) fn write_go_away(out: &mut Vec<u8>, last_stream: u32, reason: Reason) {
    write_numbers(out, kind::GOAWAY, 0, [last_stream, reason as u32]);
}

pub(super) fn write_ping(out: &mut Vec<u8>, flags: u8, opaque: [u8; 8]) {
    Head { length: 8, kind: kind::PING, flags, stream: 0 }.write(out);
    out.extend_from_slice(&opaque);
}

pub(super) fn write_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    Head { length: 6 * settings.len(), kind: kind::SETTINGS, flags: 0, stream: 0 }.write(out);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(super) fn write_settings_ack(out: &mut Vec<u8>) {
    Head { length: 0, kind: kind::SETTINGS, flags: flag::ACK, stream: 0 }.write(out);
}

/// A header block that was written behind the room for a HEADERS frame's head, which stands at `at`: its head, and those of the
/// CONTINUATION frames that it needs when it is longer than a frame may be.
pub(super) fn frame_block(out: &mut Vec<u8>, at: usize, stream: u32, end_stream: bool) {
    let length = out.len() - at - HEAD_BYTES;
    let end_stream = if end_stream { flag::END_STREAM } else { 0 };
    if length <= PAYLOAD_BYTES {
        let flags = end_stream | flag::END_HEADERS;
        Head { length, kind: kind::HEADERS, flags, stream }.overwrite(out, at);
        return;
    }
    let block = out.split_off(at + HEAD_BYTES);
    out.truncate(at);
    let last = block.len().div_ceil(PAYLOAD_BYTES) - 1;
    for (number, piece) in block.chunks(PAYLOAD_BYTES).enumerate() {
        let (kind, flags) = if number == 0 { (kind::HEADERS, end_stream) } else { (kind::CONTINUATION, 0) };
        let flags = if number == last { flags | flag::END_HEADERS } else { flags };
        Head { length: piece.len(), kind, flags, stream }.write(out);
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_block_goes_out_in_pieces() {
        for length in [0, 1, PAYLOAD_BYTES, PAYLOAD_BYTES + 1, 3 * PAYLOAD_BYTES] {
            let mut out = b"before".to_vec();
            out.resize(6 + HEAD_BYTES, 0);
            let block: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            out.extend_from_slice(&block);
            frame_block(&mut out, 6, 5, true);
            let (mut rest, mut seen, mut heads) = (&out[6..], Vec::new(), Vec::new());
            while let Some(head) = Head::of(rest) {
                let (frame, behind) = rest.split_at(HEAD_BYTES + head.length);
                seen.extend_from_slice(&frame[HEAD_BYTES..]);
                assert_eq!(head.stream, 5);
                heads.push((head.kind, head.flags));
                rest = behind;
            }
            assert_eq!((seen, rest.len()), (block, 0));
            let count = heads.len();
            assert_eq!(count, length.div_ceil(PAYLOAD_BYTES).max(1));
            assert_eq!(heads.iter().filter(|(kind, _)| *kind == kind::HEADERS).count(), 1);
            assert_eq!(heads[0].1 & flag::END_STREAM, flag::END_STREAM);
            assert!(
                heads.iter().enumerate().all(|(at, (_, flags))| (flags & flag::END_HEADERS != 0) == (at + 1 == count))
            );
        }
    }
}
