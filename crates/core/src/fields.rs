//! Header fields between the wire and the caller, as plain text.
//!
//! Hot: once a request and once a response. A map costs a hash, a lookup and a reference for each field; most callers
//! hand the fields on, or look at two of them.

use std::mem;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_LENGTH},
};

use crate::{
    check::has_token,
    error::{Code, Error},
    io::room,
    value::field_value,
};

/// The fields of a request, in the order in which they came, repeated ones apart (RFC 9110 section 5.3).
///
/// `name NUL value NUL` for each field, names in lower case: neither has a NUL in it.
#[derive(Debug)]
pub struct RequestFields(Vec<u8>);

impl RequestFields {
    /// The fields that httparse has found: names are tokens, values have passed its table.
    pub(crate) fn parsed(fields: &[httparse::Header<'_>]) -> Self {
        let length = fields.iter().map(|field| field.name.len() + field.value.len() + 2).sum();
        let mut text = room::text();
        // With each NUL in its place.
        text.resize(length, 0);
        let mut rest = &mut text[..];
        for field in fields {
            let (name, behind) = rest.split_at_mut(field.name.len());
            let (value, behind) = behind[1..].split_at_mut(field.value.len());
            copy_lower(name, field.name.as_bytes());
            value.copy_from_slice(field.value);
            rest = &mut behind[1..];
        }
        Self(text)
    }

    /// Of a text as it is kept here, of which each name and value was checked.
    pub(crate) fn of_text(text: Vec<u8>) -> Self {
        Self(text)
    }

    /// The value of the first field of that name, in any case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The values of all fields of that name, in any case.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        pairs(&self.0).filter(move |(other, _)| name.as_bytes().eq_ignore_ascii_case(other)).map(|(_, value)| value)
    }

    /// Each name, in lower case, and its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        // A name is a token, which is ASCII.
        pairs(&self.0).map(|(name, value)| (str::from_utf8(name).unwrap_or_default(), value))
    }

    /// Appends `name NUL value NUL` for each field, names in lower case.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    /// The fields as a map.
    pub fn into_map(self) -> HeaderMap {
        let text = room::keep(&self.0);
        let mut map = HeaderMap::new();
        for (name, value) in pairs(&text) {
            // The parsers take the names that this takes.
            let Ok(name) = HeaderName::from_lowercase(name) else { continue };
            let value = field_value(if value.is_empty() { Bytes::new() } else { text.slice_ref(value) });
            // More than a map can hold are more than any limit.
            let _ = map.try_append(name, value);
        }
        map
    }
}

impl From<HeaderMap> for RequestFields {
    fn from(map: HeaderMap) -> Self {
        let mut text = room::text();
        for (name, value) in &map {
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(0);
            text.extend_from_slice(value.as_bytes());
            text.push(0);
        }
        Self(text)
    }
}

/// The room is used again.
impl Drop for RequestFields {
    fn drop(&mut self) {
        room::recycle_text(mem::take(&mut self.0));
    }
}

const ONES: u64 = u64::from_le_bytes([1; 8]);

/// Eight bytes of a token in lower case. They are ASCII: no sum of a byte goes over into the next.
fn lower(word: [u8; 8]) -> [u8; 8] {
    let word = u64::from_le_bytes(word);
    // The highest bit of each byte from `A` on, and of each byte behind `Z`.
    let from_a = word + ONES * u64::from(0x80 - b'A');
    let behind_z = word + ONES * u64::from(0x7f - b'Z');
    let upper = from_a & !behind_z & (ONES << 7);
    (word | upper >> 2).to_le_bytes()
}

/// Copies a token in lower case.
fn copy_lower(to: &mut [u8], token: &[u8]) {
    let (to_words, to_rest) = to.as_chunks_mut();
    let (words, rest) = token.as_chunks();
    for (to, word) in to_words.iter_mut().zip(words) {
        *to = lower(*word);
    }
    if words.is_empty() {
        for (to, byte) in to_rest.iter_mut().zip(rest) {
            *to = byte.to_ascii_lowercase();
        }
    } else if let (Some(to), Some(word)) = (to.last_chunk_mut(), token.last_chunk()) {
        // Some of it once more, which does no harm.
        *to = lower(*word);
    }
}

/// The fields of a text of `name NUL value NUL`.
pub(crate) fn pairs(mut text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || Some((until(&mut text, 0)?, until(&mut text, 0)?)))
}

/// What stands before the next `byte`, taken from the front with it.
fn until<'a>(rest: &mut &'a [u8], byte: u8) -> Option<&'a [u8]> {
    let (front, behind) = rest.split_at_checked(find(rest, byte)?)?;
    *rest = &behind[1..];
    Some(front)
}

/// Where the first `byte` is, looked for in eight bytes at a time: the fields are short, and all of them are gone through.
fn find(text: &[u8], byte: u8) -> Option<usize> {
    let (words, rest) = text.as_chunks();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word) ^ (ONES * u64::from(byte));
        // The highest bit of each zero byte, up to the first of them at least.
        let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if zeros != 0 {
            return Some(at * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&other| other == byte).map(|at| words.len() * 8 + at)
}

/// What nearly all heads of h1 begin with: one that does goes out in the memory that its fields were written to.
pub(crate) const STATUS_OK: &[u8] = b"HTTP/1.1 200 OK\r\n";

/// Has no byte that no field value may have (RFC 9110 section 5.5): no control but the tab, which few have.
fn is_value(value: &[u8]) -> bool {
    let mut words = value.as_chunks().0.iter().chain(value.last_chunk());
    let plain = value.len() >= 8 && words.all(|word| !has_control(*word));
    plain || value.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// One of eight bytes is below the space, or DEL.
fn has_control(word: [u8; 8]) -> bool {
    let word = u64::from_le_bytes(word);
    let other_than_del = word ^ (ONES * 0x7f);
    // The highest bit of the first such byte at least.
    let below = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
    let del = other_than_del.wrapping_sub(ONES) & !other_than_del;
    (below | del) & (ONES << 7) != 0
}

/// The fields of a response, checked as they are pushed. What speaks of the framing and of the connection is noted, and
/// written by whoever frames the answer.
#[derive(Clone, Debug)]
pub struct ResponseFields {
    /// The status line of [`STATUS_OK`], then `name: value CRLF` for each field but Connection and Content-Length.
    text: Vec<u8>,
    pub(crate) said: Said,
}

/// What the fields say of the framing and of the connection.
#[derive(Clone, Default, Debug)]
pub(crate) struct Said {
    pub(crate) length: Option<u64>,
    pub(crate) connection: Option<HeaderValue>,
    /// `connection: close`.
    pub(crate) closes: bool,
    /// There is an Upgrade.
    pub(crate) upgrade: bool,
    /// There is a Date.
    pub(crate) dated: bool,
    /// There are fields that speak of one HTTP/1 connection (RFC 9113 section 8.2.2).
    hop: bool,
}

impl Said {
    /// Notes a field, and refuses one that only the server may send. True: whoever frames the answer writes it.
    fn note(&mut self, name: &str, value: &[u8]) -> Result<bool, Error> {
        // The length of a name rules out most of them.
        match name.len() {
            4 if name == "date" => self.dated = true,
            7 if name == "upgrade" => {
                self.hop = true;
                self.upgrade = true;
            }
            10 if name == "keep-alive" => self.hop = true,
            10 if name == "connection" => {
                self.hop = true;
                self.closes |= has_token(value, b"close");
                // One list of two (RFC 9110 section 5.3).
                let list = match &self.connection {
                    None => HeaderValue::from_bytes(value),
                    Some(before) => HeaderValue::from_bytes(&[before.as_bytes(), b", ", value].concat()),
                };
                self.connection = Some(list.map_err(|_| Error::new(Code::InvalidHeader, "connection is no list"))?);
                return Ok(true);
            }
            14 if name == "content-length" => {
                let digits = value.iter().all(u8::is_ascii_digit);
                let length = str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
                self.length = match (self.length, length) {
                    (None, Some(length)) => Some(length),
                    _ => return Err(Error::new(Code::InvalidHeader, "content-length must be one decimal number")),
                };
                return Ok(true);
            }
            16 if name == "proxy-connection" => self.hop = true,
            17 if name == "transfer-encoding" => {
                return Err(Error::new(Code::InvalidHeader, "transfer-encoding is set by the server"));
            }
            _ => {}
        }
        Ok(false)
    }

    /// The field speaks of one HTTP/1 connection, by its own name or because Connection names it.
    fn is_hop(&self, name: &[u8]) -> bool {
        matches!(name, b"keep-alive" | b"proxy-connection" | b"upgrade")
            || self.connection.as_ref().is_some_and(|list| has_token(list.as_bytes(), name))
    }
}

impl ResponseFields {
    /// None yet.
    pub fn new() -> Self {
        let mut text = room::text();
        text.extend_from_slice(STATUS_OK);
        Self { text, said: Said::default() }
    }

    /// Appends a field, of which white space around the value is no part (RFC 9110 section 5.5). Fails with `InvalidHeader`
    /// for a byte that no value may have, for a Content-Length that is none or a second one, and for Transfer-Encoding.
    pub fn push(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), Error> {
        if !is_value(value) {
            let message = format!("the value of {name} has a byte that no field value may have");
            return Err(Error::new(Code::InvalidHeader, message));
        }
        self.push_checked(name, value)
    }

    fn push_checked(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), Error> {
        let value = value.trim_ascii();
        if !self.said.note(name.as_str(), value)? {
            write_line(&mut self.text, name.as_str(), value);
        }
        Ok(())
    }

    /// The lines of an h1 head, all but Connection and Content-Length.
    pub(crate) fn lines(&self) -> &[u8] {
        self.text.get(STATUS_OK.len()..).unwrap_or_default()
    }

    /// Gives [`STATUS_OK`] and the lines away.
    pub(crate) fn take_head(&mut self) -> Vec<u8> {
        mem::take(&mut self.text)
    }

    /// Each `name: value`, and the length of its name, without those that speak of one HTTP/1 connection and without
    /// Content-Length.
    pub(crate) fn for_http2(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let mut rest = self.lines();
        let lines = std::iter::from_fn(move || {
            // Neither a name nor a value has a line break.
            let line = until(&mut rest, b'\n')?;
            Some((&line[..line.len() - 1], find(line, b':')?))
        });
        lines.filter(|&(line, name)| !(self.said.hop && self.said.is_hop(&line[..name])))
    }

    /// The fields as a map.
    pub fn into_map(self) -> HeaderMap {
        let mut map = HeaderMap::new();
        let mut rest = self.lines();
        while let Some(line) = until(&mut rest, b'\n') {
            // Both were a name and a value before; behind the colon is a space, behind the value a CR.
            let Some((name, [b' ', value @ .., _])) =
                find(line, b':').map(|colon| (&line[..colon], &line[colon + 1..]))
            else {
                continue;
            };
            if let (Ok(name), Ok(value)) = (HeaderName::from_lowercase(name), HeaderValue::from_bytes(value)) {
                let _ = map.try_append(name, value);
            }
        }
        if let Some(connection) = &self.said.connection {
            map.insert(CONNECTION, connection.clone());
        }
        if let Some(length) = self.said.length {
            map.insert(CONTENT_LENGTH, length.into());
        }
        map
    }
}

impl Default for ResponseFields {
    fn default() -> Self {
        Self::new()
    }
}

/// The room is used again.
impl Drop for ResponseFields {
    fn drop(&mut self) {
        room::recycle_text(mem::take(&mut self.text));
    }
}

/// Fails as `push` does.
impl TryFrom<HeaderMap> for ResponseFields {
    type Error = Error;

    fn try_from(map: HeaderMap) -> Result<Self, Error> {
        let mut fields = Self::new();
        for (name, value) in &map {
            fields.push_checked(name, value.as_bytes())?;
        }
        Ok(fields)
    }
}

/// `name: value CRLF`.
pub(crate) fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::header::{DATE, TRANSFER_ENCODING};

    use super::*;

    fn lines(fields: &ResponseFields) -> String {
        String::from_utf8_lossy(fields.lines()).into_owned()
    }

    #[test]
    fn what_came_is_the_same_as_text_and_as_map() {
        let mut space = [httparse::EMPTY_HEADER; 4];
        let head = b"Set-Cookie: a\r\nx-empty:\r\nSet-Cookie: b\xe9\r\n\r\n";
        let Ok(httparse::Status::Complete((_, parsed))) = httparse::parse_headers(head, &mut space) else {
            panic!("not parsed")
        };
        let expected = b"set-cookie\0a\0x-empty\0\0set-cookie\0b\xe9\0";
        let mut text = Vec::new();
        RequestFields::parsed(parsed).write_text(&mut text);
        assert_eq!(text, expected);
        let map = RequestFields::parsed(parsed).into_map();
        assert_eq!((map.len(), map["x-empty"].as_bytes()), (3, &b""[..]));
        assert_eq!(
            map.get_all("set-cookie").iter().map(HeaderValue::as_bytes).collect::<Vec<_>>(),
            [&b"a"[..], b"b\xe9"]
        );
        let mut text = Vec::new();
        RequestFields::from(map).write_text(&mut text);
        // A map keeps one name together.
        assert_eq!(text, b"set-cookie\0a\0set-cookie\0b\xe9\0x-empty\0\0");
    }

    #[test]
    fn the_first_byte_is_found_wherever_it_is() {
        for byte in [0, b':', b'\n', 0xff] {
            for length in 0..40 {
                assert_eq!(find(&vec![byte ^ 1; length], byte), None);
                for at in 0..length {
                    let text: Vec<u8> = (0..length).map(|i| if i < at { byte ^ 1 << (i % 8) } else { byte }).collect();
                    assert_eq!(find(&text, byte), Some(at));
                }
            }
        }
    }

    #[test]
    fn a_byte_that_no_value_may_have_is_found_wherever_it_is() {
        for byte in 0..=u8::MAX {
            for length in 1..20 {
                for at in 0..length {
                    let value: Vec<u8> = (0..length).map(|i| if i == at { byte } else { 0xff - i as u8 }).collect();
                    assert_eq!(is_value(&value), byte == b'\t' || !byte.is_ascii_control(), "{value:?}");
                }
            }
        }
    }

    #[test]
    fn a_token_is_copied_in_lower_case_wherever_its_letters_are() {
        let ascii: Vec<u8> = (0..0x80).collect();
        for start in 0..ascii.len() {
            for token in [&ascii[start..], &ascii[..start]] {
                let mut lower = vec![0; token.len()];
                copy_lower(&mut lower, token);
                assert_eq!(lower, token.to_ascii_lowercase());
            }
        }
    }

    #[test]
    fn what_frames_an_answer_is_noted_and_left_to_who_frames_it() {
        let mut fields = ResponseFields::new();
        for (name, value) in [
            ("set-cookie", "a"),
            ("content-length", "12"),
            ("connection", "x-hop, Close"),
            ("date", " d "),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("set-cookie", "b: c"),
        ] {
            assert!(fields.push(&HeaderName::from_static(name), value.as_bytes()).is_ok());
        }
        let said = &fields.said;
        assert_eq!((said.length, said.closes, said.dated), (Some(12), true, true));
        assert_eq!(lines(&fields), "set-cookie: a\r\ndate: d\r\nx-hop: 1\r\nkeep-alive: 5\r\nset-cookie: b: c\r\n");
        // RFC 9113 section 8.2.2: they go with what Connection names.
        let for_http2: Vec<_> = fields.for_http2().collect();
        assert_eq!(for_http2, [(&b"set-cookie: a"[..], 10), (b"date: d", 4), (b"set-cookie: b: c", 10)]);
        let map = fields.clone().into_map();
        assert_eq!(
            (&map["connection"], &map["date"]),
            (&HeaderValue::from_static("x-hop, Close"), &HeaderValue::from_static("d"))
        );
        assert_eq!((&map["content-length"], map.get_all("set-cookie").iter().count()), (&HeaderValue::from(12), 2));
        let Ok(again) = ResponseFields::try_from(map) else { panic!("refused") };
        assert_eq!((again.said.length, again.for_http2().count()), (Some(12), 3));
    }

    #[test]
    fn what_may_not_be_sent_is_refused() {
        let mut fields = ResponseFields::new();
        for (name, value) in [
            (TRANSFER_ENCODING, "chunked"),
            (CONTENT_LENGTH, "+1"),
            (CONTENT_LENGTH, ""),
            (DATE, "a\r\nb"),
            (DATE, "\x7f"),
        ] {
            let error = fields.push(&name, value.as_bytes()).err().map(|error| error.code());
            assert_eq!(error, Some(Code::InvalidHeader), "{value:?}");
        }
        assert!(fields.push(&CONTENT_LENGTH, b"1").is_ok());
        assert!(fields.push(&CONTENT_LENGTH, b"1").is_err());
        let twice = HeaderMap::from_iter([(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))]);
        assert!(ResponseFields::try_from(twice).is_err());
    }
}
