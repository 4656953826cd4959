//! The fields of a request.

use std::mem;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::text::{ONES, pairs};
use crate::{io::room, value::field_value};

/// The fields of a request, in the order in which they came, repeated ones apart (RFC 9110 section 5.3).
///
/// `name NUL value NUL` for each field, names in lower case: neither has a NUL in it.
#[derive(Default, Debug)]
pub struct RequestFields(Vec<u8>);

impl RequestFields {
    /// The fields that httparse has found: names are tokens, values have passed its table.
    pub(crate) fn parsed(fields: &[httparse::Header<'_>]) -> Self {
        let mut parsed = Self::default();
        parsed.set_parsed(fields);
        parsed
    }

    /// Becomes the fields that httparse has found.
    pub(crate) fn set_parsed(&mut self, fields: &[httparse::Header<'_>]) {
        let length = fields.iter().map(|field| field.name.len() + field.value.len() + 2).sum();
        let text = &mut self.0;
        if text.capacity() == 0 {
            *text = room::text();
        }
        // With each NUL in its place.
        text.clear();
        text.resize(length, 0);
        let mut rest = &mut text[..];
        for field in fields {
            let (name, behind) = rest.split_at_mut(field.name.len());
            let (value, behind) = behind[1..].split_at_mut(field.value.len());
            copy_lower(name, field.name.as_bytes());
            value.copy_from_slice(field.value);
            rest = &mut behind[1..];
        }
    }

    /// Bytes that its memory has room for.
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

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
}
