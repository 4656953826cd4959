//! Finds heads with a line that ends in a bare LF, which hyper's parser takes for CRLF.
//!
//! RFC 9112 section 2.2 lets a recipient be so lenient; two recipients that differ in it see different requests, so
//! such a head is refused. The scan follows the framing of the inbound bytes just far enough to know a head from a
//! body. It gives up, until it finds its way again, behind a chunked body: a head that came in one read with the end
//! of a chunked body is not scanned (docs/http-support.md).

use memchr::memchr;

/// What is kept of a line: enough for `transfer-encoding:` or `content-length:` with any number that fits 64 bits.
const KEPT: usize = 40;

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Head,
    /// So many bytes of a sized body are still to come.
    Body(u64),
    /// A body whose end is not known. `tail`: the last bytes seen, in big-endian order.
    Chunked {
        tail: u32,
    },
}

/// Hot: a few instructions a line.
#[derive(Debug)]
pub(super) struct LineScan {
    place: Place,
    /// The last byte of the read before.
    previous: u8,
    /// The line in hand: its length so far, and its beginning if it may be one of the two fields that frame a body.
    length: usize,
    kept: [u8; KEPT],
    /// The head in hand has had a line that is not empty.
    begun: bool,
    body: u64,
    chunked: bool,
    /// Complete heads so far.
    heads: u64,
    bare: Option<u64>,
}

impl Default for LineScan {
    fn default() -> Self {
        Self {
            place: Place::Head,
            previous: 0,
            length: 0,
            kept: [0; KEPT],
            begun: false,
            body: 0,
            chunked: false,
            heads: 0,
            bare: None,
        }
    }
}

impl LineScan {
    /// The bytes of one read; `answered` counts the responses sent so far. Gives the number, from 1, of the first head
    /// that had a bare LF.
    pub(super) fn read(&mut self, mut bytes: &[u8], answered: u64) -> Option<u64> {
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Head => bytes = self.line(bytes),
                Place::Body(left) => {
                    let take = (*left).min(bytes.len() as u64);
                    *left -= take;
                    // At most the length of the slice.
                    bytes = &bytes[take as usize..];
                    if *left == 0 {
                        self.place = Place::Head;
                    }
                }
                // The exchange is over and its last read ended with the body: what comes now is a head.
                Place::Chunked { tail } if answered >= self.heads && *tail == u32::from_be_bytes(*b"\r\n\r\n") => {
                    self.place = Place::Head;
                }
                Place::Chunked { tail } => {
                    let end = &bytes[bytes.len().saturating_sub(4)..];
                    *tail = end.iter().fold(*tail, |tail, &byte| tail << 8 | u32::from(byte));
                    return self.bare;
                }
            }
        }
        self.bare
    }

    /// Takes the rest of a line, or what there is of it.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr(b'\n', bytes);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let first = if self.length == 0 { part.first().copied() } else { Some(self.kept[0]) };
        if let Some(b'c' | b'C' | b't' | b'T') = first {
            let from = self.length.min(KEPT);
            let take = part.len().min(KEPT - from);
            self.kept[from..from + take].copy_from_slice(&part[..take]);
        } else if self.length == 0 {
            self.kept[0] = 0;
        }
        self.length += part.len();
        let last = part.last().copied().unwrap_or(self.previous);
        let Some(end) = end else {
            self.previous = last;
            return &[];
        };
        if self.length == 0 || last != b'\r' {
            self.bare = self.bare.or(Some(self.heads + 1));
        }
        if self.length > 1 {
            self.begun = true;
            self.field();
        } else if self.begun {
            self.head_ended();
        }
        self.length = 0;
        self.previous = b'\n';
        &bytes[end + 1..]
    }

    /// Notes what a complete line says of the body.
    fn field(&mut self) {
        let line = &self.kept[..self.length.min(KEPT)];
        if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) {
            return;
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let text = std::str::from_utf8(value).unwrap_or_default();
            // A value that is no number is refused by the parser.
            self.body = text.trim().parse().unwrap_or(0);
        }
    }

    fn head_ended(&mut self) {
        self.heads += 1;
        self.place = if self.chunked {
            Place::Chunked { tail: 0 }
        } else if self.body > 0 {
            Place::Body(self.body)
        } else {
            Place::Head
        };
        self.begun = false;
        self.body = 0;
        self.chunked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the bad head, however the bytes are cut.
    fn verdict(text: &str) -> Option<u64> {
        let verdicts: Vec<_> = (1..=text.len())
            .map(|cut| {
                let mut scan = LineScan::default();
                text.as_bytes().chunks(cut).fold(None, |_, part| scan.read(part, 0))
            })
            .collect();
        assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{text:?}: {verdicts:?}");
        verdicts[0]
    }

    #[test]
    fn a_bare_lf_is_found_in_any_line_of_any_head() {
        assert_eq!(verdict("GET / HTTP/1.1\r\nhost: a\r\n\r\n"), None);
        assert_eq!(verdict("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"), None);
        assert_eq!(verdict("GET / HTTP/1.1\nhost: a\r\n\r\n"), Some(1));
        assert_eq!(verdict("GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n"), Some(1));
        assert_eq!(verdict("GET / HTTP/1.1\r\nhost: a\r\n\n"), Some(1));
        assert_eq!(verdict("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nx: y\n\r\n"), Some(2));
    }

    #[test]
    fn a_body_is_not_a_head() {
        assert_eq!(verdict("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\n\n\n\nGET / HTTP/1.1\r\n\r\n"), None);
        assert_eq!(verdict("POST / HTTP/1.1\r\ncontent-length:2\r\n\r\n\n\nGET / HTTP/1.1\n\r\n"), Some(2));
        assert_eq!(
            verdict("POST / HTTP/1.1\r\ncontent-length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n"),
            None
        );
    }

    #[test]
    fn behind_a_chunked_body_the_scan_finds_its_way_again() {
        let mut scan = LineScan::default();
        assert_eq!(scan.read(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n", 0), None);
        assert_eq!(scan.read(b"GET / HTTP/1.1\nhost: a\r\n\r\n", 1), Some(2));
    }
}
