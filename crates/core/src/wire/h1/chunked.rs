//! The chunked transfer coding of requests (RFC 9112 section 7.1), read strictly: what two recipients could read in two
//! ways is an error.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use httparse::Status;

use super::head::{lines_end_in_crlf, most_fields};
use crate::{
    config::Limits,
    error::{Code, Error},
    fields::RequestFields,
};

/// Bytes of chunk extensions in one body: nobody uses them, and who sends many wants us to be busy.
const EXTENSION_BYTES: usize = 16 << 10;
/// Bytes of one chunk line before its LF: it is read again with each piece of it that comes.
const LINE_BYTES: usize = 4 << 10;

#[derive(Debug)]
enum State {
    /// Before a chunk line.
    Line,
    /// In a chunk's data, of which so much is left.
    Data(u64),
    /// Behind a chunk's data, before its CRLF.
    DataEnd,
    /// Behind the last chunk, before the trailer section.
    Trailers,
}

/// Where a chunked body stands.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    extensions: usize,
}

/// What the bytes so far amount to.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Decoded {
    /// More are needed.
    Partial,
    /// At least one byte of the body.
    Data(Bytes),
    /// The body has ended, with its trailer section if it had one.
    End(Option<HeaderMap>),
}

fn malformed(what: &'static str) -> Error {
    Error::new(Code::Protocol, what)
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { state: State::Line, extensions: 0 }
    }

    /// Decodes from the front of `incoming`.
    pub(super) fn decode(&mut self, incoming: &mut BytesMut, limits: &Limits) -> Result<Decoded, Error> {
        loop {
            match self.state {
                State::Line => match self.line(incoming)? {
                    None => return Ok(Decoded::Partial),
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Data(size),
                },
                State::Data(_) if incoming.is_empty() => return Ok(Decoded::Partial),
                State::Data(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(incoming.len());
                    let left = left - take as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Decoded::Data(incoming.split_to(take).freeze()));
                }
                State::DataEnd => match &incoming[..] {
                    [b'\r', b'\n', ..] => {
                        incoming.advance(2);
                        self.state = State::Line;
                    }
                    [] | [b'\r'] => return Ok(Decoded::Partial),
                    _ => return Err(malformed("a chunk is not followed by CRLF")),
                },
                State::Trailers => return trailers(incoming, limits),
            }
        }
    }

    /// The size in a chunk line.
    fn line(&mut self, incoming: &mut BytesMut) -> Result<Option<u64>, Error> {
        const BAD: &str = "a chunk line is malformed";
        let digits = incoming.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits == 0 && !incoming.is_empty() {
            return Err(malformed(BAD));
        }
        match httparse::parse_chunk_size(incoming) {
            Ok(Status::Complete((length, size))) if length - 1 <= LINE_BYTES => {
                // httparse takes a LF in an extension for part of it; others take it for the end of the line.
                match incoming[..length].strip_suffix(b"\r\n") {
                    Some(line) if !line.contains(&b'\n') => {}
                    _ => return Err(malformed(BAD)),
                }
                self.extensions += length - digits - 2;
                if self.extensions > EXTENSION_BYTES {
                    return Err(malformed("the chunk extensions are too long"));
                }
                incoming.advance(length);
                Ok(Some(size))
            }
            Ok(Status::Partial) if incoming.len() <= LINE_BYTES => Ok(None),
            _ => Err(malformed(BAD)),
        }
    }
}

fn trailers(incoming: &mut BytesMut, limits: &Limits) -> Result<Decoded, Error> {
    const BAD: &str = "the trailer section is malformed";
    const LARGE: &str = "the trailer section is too large";
    if incoming.starts_with(b"\r\n") {
        incoming.advance(2);
        return Ok(Decoded::End(None));
    }
    let bytes = incoming.split().freeze();
    let mut fields = vec![httparse::EMPTY_HEADER; limits.header_count.min(most_fields(&bytes))];
    match httparse::parse_headers(&bytes, &mut fields) {
        Ok(Status::Partial) if bytes.len() <= limits.header_bytes => {
            incoming.extend_from_slice(&bytes);
            Ok(Decoded::Partial)
        }
        Ok(Status::Complete((length, fields))) => {
            if length > limits.header_bytes {
                return Err(malformed(LARGE));
            }
            if !lines_end_in_crlf(&bytes[..length], fields) {
                return Err(malformed(BAD));
            }
            incoming.extend_from_slice(&bytes[length..]);
            Ok(Decoded::End(Some(RequestFields::parsed(fields).into_map())))
        }
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => Err(malformed(LARGE)),
        Err(_) => Err(malformed(BAD)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body, its trailers, and what was left over.
    type Outcome = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    /// Decodes with the bytes coming `step` at a time.
    fn decoded(text: &[u8], step: usize) -> Result<Outcome, Error> {
        let (mut chunked, mut incoming, mut body) = (Chunked::new(), BytesMut::new(), Vec::new());
        let limits = Limits { header_bytes: 100, header_count: 3, ..Limits::default() };
        let mut parts = text.chunks(step);
        loop {
            match chunked.decode(&mut incoming, &limits)? {
                Decoded::Data(bytes) => body.extend_from_slice(&bytes),
                Decoded::End(trailers) => {
                    let rest = parts.fold(incoming.to_vec(), |rest, part| [&rest, part].concat());
                    return Ok((body, trailers, rest));
                }
                Decoded::Partial => match parts.next() {
                    Some(part) => incoming.extend_from_slice(part),
                    None => return Err(malformed("cut off")),
                },
            }
        }
    }

    #[test]
    fn a_long_chunk_line_is_judged_alike_however_it_comes() {
        for (over, right) in [(0, true), (1, false)] {
            let line = [b"1;".as_slice(), &[b'x'; LINE_BYTES - 3], &b"x"[..over], b"\r\n", b"a\r\n0\r\n\r\n"].concat();
            for step in [line.len(), LINE_BYTES + 1, LINE_BYTES, 1000, 1] {
                assert_eq!(decoded(&line, step).is_ok(), right, "{over} over, {step} at a time");
            }
        }
    }

    #[test]
    fn a_body_may_be_cut_anywhere() {
        let text = b"4\r\nWiki\r\n00a;x=\"y\"\r\n0123456789\r\n0\r\nX-Sum: 7\r\n\r\nGET /";
        for step in 1..=text.len() {
            let (body, trailers, rest) = decoded(text, step).unwrap_or_default();
            assert_eq!(body, b"Wiki0123456789", "{step}");
            assert_eq!(trailers.unwrap_or_default()["x-sum"], "7");
            assert_eq!(rest, b"GET /");
            assert_eq!(decoded(b"0\r\n\r\nrest", step).ok(), Some((vec![], None, b"rest".to_vec())));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let bad: &[&[u8]] = &[
            b"\r\n\r\n",
            b";x\r\n\r\n",
            b" 1\r\na\r\n0\r\n\r\n",
            b"-1\r\na\r\n0\r\n\r\n",
            b"0x1\r\na\r\n0\r\n\r\n",
            b"1\na\r\n0\r\n\r\n",
            b"1;x\ny\r\na\r\n0\r\n\r\n",
            b"1\ra\r\n0\r\n\r\n",
            b"1 1\r\na\r\n0\r\n\r\n",
            b"1\r\nab\r\n0\r\n\r\n",
            b"1\r\na\n0\r\n\r\n",
            b"1\r\na\r0\r\n\r\n",
            b"10000000000000000\r\na\r\n0\r\n\r\n",
            b"0\r\nx: y\nz: w\r\n\r\n",
            b"0\r\nx y\r\n\r\n",
            b"0\r\n x: y\r\n\r\n",
            b"0\r\n\n",
            b"0\r\na: b\r\na: b\r\na: b\r\na: b\r\n\r\n",
        ];
        for text in bad {
            for step in [1, 3, text.len()] {
                let error = decoded(text, step).err().map(|error| error.message().to_owned());
                assert_ne!(error.as_deref().unwrap_or("cut off"), "cut off", "{:?}", text.escape_ascii().to_string());
            }
        }
    }

    #[test]
    fn lines_and_sections_have_their_bounds() {
        let one = |length| [b"1;", &vec![b'x'; length][..], b"\r\na\r\n"].concat();
        let end = &b"0\r\n\r\n"[..];
        let many = |count| [one(4000).repeat(count), end.to_vec()].concat();
        assert!(decoded(&many(4), 4096).is_ok());
        assert!(decoded(&many(5), 4096).is_err());
        assert!(decoded(&vec![b'0'; 5000], 4096).is_err());
        assert!(decoded(&one(5000), 100).is_err());
        assert!(decoded(&[b"0\r\nx: ", &vec![b'x'; 200][..], b"\r\n\r\n"].concat(), 7).is_err());
    }
}
