//! Header fields between the wire and the caller: plain text where that is all it takes, a map where one is there.
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
    error::{Code, Error},
    io::room,
    request::has_token,
    response::strip_connection_fields,
    value::field_value,
};

/// The fields of a request, in the order in which they came, repeated ones apart (RFC 9110 section 5.3).
#[derive(Debug)]
pub struct RequestFields(Came);

#[derive(Debug)]
enum Came {
    /// `name NUL value NUL` for each field, names in lower case: neither has a NUL in it.
    Text(Vec<u8>),
    /// As h2 gives them.
    Map(HeaderMap),
}

impl RequestFields {
    /// The fields that httparse has found: names are tokens, values have passed its table.
    pub(crate) fn parsed(fields: &[httparse::Header<'_>]) -> Self {
        let length = fields.iter().map(|field| field.name.len() + field.value.len() + 2).sum();
        let mut text = room::text();
        text.reserve(length);
        for field in fields {
            let start = text.len();
            text.extend_from_slice(field.name.as_bytes());
            text[start..].make_ascii_lowercase();
            text.push(0);
            text.extend_from_slice(field.value);
            text.push(0);
        }
        Self(Came::Text(text))
    }

    /// Appends `name NUL value NUL` for each field, names in lower case.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Came::Text(text) => out.extend_from_slice(text),
            Came::Map(map) => write_text(map, out),
        }
    }

    /// The fields as a map.
    pub fn into_map(mut self) -> HeaderMap {
        match &mut self.0 {
            Came::Map(map) => mem::take(map),
            Came::Text(text) => map_of(text),
        }
    }
}

impl From<HeaderMap> for RequestFields {
    fn from(map: HeaderMap) -> Self {
        Self(Came::Map(map))
    }
}

/// The room is used again.
impl Drop for RequestFields {
    fn drop(&mut self) {
        match mem::replace(&mut self.0, Came::Text(Vec::new())) {
            Came::Map(map) => room::recycle(map),
            Came::Text(text) => room::recycle_text(text),
        }
    }
}

/// Appends `name NUL value NUL` for each field.
fn write_text(map: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in map {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        out.reserve(name.len() + value.len() + 2);
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
}

fn map_of(text: &[u8]) -> HeaderMap {
    let text = room::keep(text);
    let mut map = room::headers();
    let mut rest = &text[..];
    while let (Some(name), Some(value)) = (until_nul(&mut rest), until_nul(&mut rest)) {
        // The parser takes the names that this takes.
        let Ok(name) = HeaderName::from_lowercase(name) else { continue };
        let value = field_value(if value.is_empty() { Bytes::new() } else { text.slice_ref(value) });
        // More than a map can hold are more than any limit.
        let _ = map.try_append(name, value);
    }
    map
}

/// What stands before the next NUL, taken from the front.
fn until_nul<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (front, behind) = rest.split_at_checked(find_nul(rest)?)?;
    *rest = &behind[1..];
    Some(front)
}

/// Where the first NUL is, looked for in eight bytes at a time: the fields are short, and all of them are gone through.
fn find_nul(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let (words, rest) = text.as_chunks();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The highest bit of each zero byte, up to the first of them at least.
        let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if zeros != 0 {
            return Some(at * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&byte| byte == 0).map(|at| words.len() * 8 + at)
}

/// The fields of a response, checked as they are pushed. What speaks of the framing and of the connection is noted, and
/// written by whoever frames the answer.
#[derive(Clone, Debug)]
pub struct ResponseFields {
    plain: Plain,
    pub(crate) said: Said,
}

#[derive(Clone, Debug)]
enum Plain {
    /// `name: value CRLF` for each field but Connection and Content-Length.
    Text(Vec<u8>),
    /// All fields.
    Map(HeaderMap),
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
    pub(crate) hop: bool,
}

impl Said {
    /// Notes a field, and refuses one that only the server may send. True: whoever frames the answer writes it.
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<bool, Error> {
        let name = name.as_str();
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
                self.closes |= has_token(value.as_bytes(), b"close");
                self.connection = Some(match &self.connection {
                    None => value.clone(),
                    Some(before) => joined(before, value)?,
                });
                return Ok(true);
            }
            14 if name == "content-length" => {
                let digits = value.as_bytes().iter().all(u8::is_ascii_digit);
                let length = value.to_str().ok().filter(|_| digits).and_then(|text| text.parse().ok());
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
}

/// One list of two (RFC 9110 section 5.3).
fn joined(before: &HeaderValue, value: &HeaderValue) -> Result<HeaderValue, Error> {
    HeaderValue::from_bytes(&[before.as_bytes(), b", ", value.as_bytes()].concat())
        .map_err(|_| Error::new(Code::InvalidHeader, "connection is no list"))
}

impl ResponseFields {
    /// None yet, to be sent over HTTP/1.
    pub fn for_http1() -> Self {
        Self { plain: Plain::Text(room::text()), said: Said::default() }
    }

    /// None yet, to be sent over HTTP/2. Either kind can be sent over both; the other costs a conversion.
    pub fn for_http2() -> Self {
        Self { plain: Plain::Map(room::headers()), said: Said::default() }
    }

    /// Made by [`for_http2`](Self::for_http2), or of a map.
    pub fn is_for_http2(&self) -> bool {
        matches!(self.plain, Plain::Map(_))
    }

    /// Appends a field. Fails with `InvalidHeader` for a byte that no value may have, for a Content-Length that is none
    /// or a second one, and for Transfer-Encoding.
    pub fn push(&mut self, name: HeaderName, value: Bytes) -> Result<(), Error> {
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| {
            Error::new(Code::InvalidHeader, format!("the value of {name} has a byte that no field value may have"))
        })?;
        let framing = self.said.note(&name, &value)?;
        match &mut self.plain {
            Plain::Text(_) if framing => Ok(()),
            Plain::Text(text) => {
                write_line(text, name.as_str(), value.as_bytes());
                Ok(())
            }
            Plain::Map(map) => match map.try_append(name, value) {
                Ok(_) => Ok(()),
                Err(_) => Err(Error::new(Code::InvalidHeader, "too many fields")),
            },
        }
    }

    /// About how many bytes the lines of an h1 head take.
    pub(crate) fn size(&self) -> usize {
        match &self.plain {
            Plain::Text(text) => text.len(),
            Plain::Map(map) => map.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum(),
        }
    }

    /// Writes the lines of an h1 head, all but Connection and Content-Length.
    pub(crate) fn write_lines(&self, out: &mut Vec<u8>) {
        match &self.plain {
            Plain::Text(text) => out.extend_from_slice(text),
            Plain::Map(map) => {
                for (name, value) in map {
                    if !matches!(name.as_str(), "connection" | "content-length") {
                        write_line(out, name.as_str(), value.as_bytes());
                    }
                }
            }
        }
    }

    /// The fields as a map.
    pub fn into_map(self) -> HeaderMap {
        let text = match self.plain {
            Plain::Map(map) => return map,
            Plain::Text(text) => text,
        };
        let mut map = room::headers();
        for line in text.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            // Both were a name and a value before; behind the colon is a space, behind the value a CR.
            let name = HeaderName::from_lowercase(&line[..colon]);
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                let _ = map.try_append(name, value);
            }
        }
        if let Some(connection) = self.said.connection {
            map.insert(CONNECTION, connection);
        }
        if let Some(length) = self.said.length {
            map.insert(CONTENT_LENGTH, length.into());
        }
        map
    }

    /// The fields as a map, without those that speak of one HTTP/1 connection.
    pub(crate) fn into_http2(self) -> HeaderMap {
        let hop = self.said.hop;
        let mut map = self.into_map();
        if hop {
            strip_connection_fields(&mut map);
        }
        map
    }

    /// Its room is used again.
    pub(crate) fn recycle(self) {
        match self.plain {
            Plain::Map(map) => room::recycle(map),
            Plain::Text(text) => room::recycle_text(text),
        }
    }
}

/// Fails as `push` does.
impl TryFrom<HeaderMap> for ResponseFields {
    type Error = Error;

    fn try_from(map: HeaderMap) -> Result<Self, Error> {
        let mut said = Said::default();
        for (name, value) in &map {
            said.note(name, value)?;
        }
        Ok(Self { plain: Plain::Map(map), said })
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
    use http::header::{DATE, SET_COOKIE, TRANSFER_ENCODING};

    use super::*;

    fn lines(fields: &ResponseFields) -> String {
        let mut out = Vec::new();
        fields.write_lines(&mut out);
        String::from_utf8(out).unwrap_or_default()
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
        assert_eq!(text, b"set-cookie\0a\0set-cookie\0b\xe9\0x-empty\0\0");
    }

    #[test]
    fn the_first_nul_is_found_wherever_it_is() {
        for length in 0..40 {
            assert_eq!(find_nul(&vec![b'\xff'; length]), None);
            for at in 0..length {
                let text: Vec<u8> = (0..length).map(|byte| if byte < at { 1 << (byte % 8) } else { 0 }).collect();
                assert_eq!(find_nul(&text), Some(at));
            }
        }
    }

    #[test]
    fn what_frames_an_answer_is_noted_whichever_way_it_is_kept() {
        for mut fields in [ResponseFields::for_http1(), ResponseFields::for_http2()] {
            for (name, value) in
                [(SET_COOKIE, "a"), (CONTENT_LENGTH, "12"), (CONNECTION, "x, Close"), (DATE, "d"), (SET_COOKIE, "b")]
            {
                assert!(fields.push(name, Bytes::from(value)).is_ok());
            }
            let said = &fields.said;
            assert_eq!((said.length, said.closes, said.dated), (Some(12), true, true));
            let mut sorted: Vec<_> = lines(&fields).lines().map(str::to_owned).collect();
            sorted.sort_unstable();
            assert_eq!(sorted, ["date: d", "set-cookie: a", "set-cookie: b"]);
            let map = fields.clone().into_map();
            assert_eq!(map["connection"], "x, Close");
            assert!(!fields.into_http2().contains_key(CONNECTION));
            assert_eq!((&map["content-length"], map.get_all("set-cookie").iter().count()), (&HeaderValue::from(12), 2));
        }
    }

    #[test]
    fn what_may_not_be_sent_is_refused() {
        let mut fields = ResponseFields::for_http1();
        for (name, value) in
            [(TRANSFER_ENCODING, "chunked"), (CONTENT_LENGTH, "+1"), (CONTENT_LENGTH, ""), (DATE, "a\r\nb")]
        {
            let error = fields.push(name, Bytes::from(value)).err().map(|error| error.code());
            assert_eq!(error, Some(Code::InvalidHeader), "{value:?}");
        }
        assert!(fields.push(CONTENT_LENGTH, Bytes::from("1")).is_ok());
        assert!(fields.push(CONTENT_LENGTH, Bytes::from("1")).is_err());
        let twice = HeaderMap::from_iter([(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))]);
        assert!(ResponseFields::try_from(twice).is_err());
    }
}
