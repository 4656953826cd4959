//! The fields of a response.

use std::mem;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_LENGTH},
};

use super::text::{ONES, find, until};
use crate::{
    check::has_token,
    error::{Code, Error},
    io::room,
};

/// What nearly all heads of h1 begin with: one that does goes out in the memory that its fields were written to.
const STATUS_OK: &[u8] = b"HTTP/1.1 200 OK\r\n";

/// The fields of a response, checked as they are pushed. What speaks of the framing and of the connection is noted, and
/// written by whoever frames the answer.
#[derive(Debug)]
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

    /// Each `name: value`, and the length of its name, without Connection and Content-Length.
    fn each(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let mut rest = self.lines();
        std::iter::from_fn(move || {
            // Neither a name nor a value has a line break.
            let line = until(&mut rest, b'\n')?;
            Some((&line[..line.len() - 1], find(line, b':')?))
        })
    }

    /// Those of `each` that do not speak of one HTTP/1 connection.
    pub(crate) fn for_http2(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.each().filter(|&(line, name)| !(self.said.hop && self.said.is_hop(&line[..name])))
    }

    /// The values of Upgrade.
    pub(crate) fn upgrades(&self) -> impl Iterator<Item = &[u8]> {
        let upgrades = self.each().filter(|&(line, name)| self.said.upgrade && line[..name] == *b"upgrade");
        upgrades.map(|(line, name)| &line[name + 1..])
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

impl Clone for ResponseFields {
    fn clone(&self) -> Self {
        let mut text = room::text();
        text.extend_from_slice(&self.text);
        Self { text, said: self.said.clone() }
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
