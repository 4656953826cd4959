//! Header blocks, read (RFC 7541 sections 3 and 6).
//!
//! Hot: once a request. Most fields are in a table: one look-up, and one copy by whoever wants the field.

use super::{
    Malformed, TABLE_BYTES, huffman,
    table::{Dynamic, OVERHEAD, STATIC},
};
use crate::io::room;

/// One field of a block.
#[derive(Clone, Copy, Debug)]
pub(in crate::wire::h2) struct Field<'a> {
    /// `name NUL value NUL`.
    pub(in crate::wire::h2) text: &'a [u8],
    name_length: usize,
    /// The name is a token in lower case, behind a colon or not, and the value has no byte that it may not have
    /// (RFC 9113 section 8.2.1): else the field makes its request malformed.
    pub(in crate::wire::h2) fit: bool,
}

impl<'a> Field<'a> {
    pub(in crate::wire::h2) fn name(&self) -> &'a [u8] {
        &self.text[..self.name_length]
    }

    pub(in crate::wire::h2) fn value(&self) -> &'a [u8] {
        &self.text[self.name_length + 1..self.text.len() - 1]
    }

    /// What it counts in a header list (RFC 9113 section 6.5.2).
    pub(in crate::wire::h2) fn size(&self) -> usize {
        self.text.len() - 2 + OVERHEAD
    }
}

#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    name_length: usize,
    fit: bool,
}

impl Entry {
    fn field(&self) -> Field<'_> {
        Field { text: &self.text, name_length: self.name_length, fit: self.fit }
    }
}

/// One direction's memory of the fields that have come.
#[derive(Debug)]
pub(in crate::wire::h2) struct Decoder {
    table: Dynamic<Entry>,
}

impl Decoder {
    pub(in crate::wire::h2) fn new() -> Self {
        Self { table: Dynamic::new(TABLE_BYTES) }
    }

    /// Bytes in its table, as RFC 7541 section 4.1 counts them.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Reads a whole block, and shows each of its fields.
    pub(in crate::wire::h2) fn decode(
        &mut self,
        mut block: &[u8],
        mut each: impl FnMut(Field<'_>),
    ) -> Result<(), Malformed> {
        // A change of the table's size comes before all fields (RFC 7541 section 4.2).
        while let Some(0b001) = block.first().map(|byte| byte >> 5) {
            let size = integer(&mut block, 5)?;
            if size > TABLE_BYTES {
                return Err(Malformed);
            }
            self.table.resize(size);
        }
        let mut text = Vec::new();
        while let Some(&first) = block.first() {
            if first >= 0b1000_0000 {
                let index = integer(&mut block, 7)?;
                each(self.at(index)?);
                continue;
            }
            let (prefix, kept) = match first >> 4 {
                4..=7 => (6, true),
                0 | 1 => (4, false),
                _ => return Err(Malformed),
            };
            if text.capacity() == 0 {
                text = room::text();
            }
            let field = self.literal(&mut block, prefix, &mut text)?;
            each(field);
            if kept {
                let Field { text, name_length, fit } = field;
                self.table.insert(field.size(), || Entry { text: text.into(), name_length, fit });
            }
        }
        room::recycle_text(text);
        Ok(())
    }

    fn at(&self, index: usize) -> Result<Field<'_>, Malformed> {
        if let Some(&(text, name_length)) = STATIC.get(index.wrapping_sub(1)) {
            return Ok(Field { text, name_length, fit: true });
        }
        let age = index.checked_sub(Dynamic::<Entry>::FIRST).ok_or(Malformed)?;
        self.table.get(age).map(Entry::field).ok_or(Malformed)
    }

    /// A field that is written out, into `text`.
    fn literal<'a>(&self, block: &mut &[u8], prefix: u32, text: &'a mut Vec<u8>) -> Result<Field<'a>, Malformed> {
        text.clear();
        let index = integer(block, prefix)?;
        let mut fit = true;
        if index == 0 {
            string(block, text)?;
            fit = is_name(text);
        } else {
            let named = self.at(index)?;
            text.extend_from_slice(named.name());
            fit &= named.fit || is_name(named.name());
        }
        let name_length = text.len();
        text.push(0);
        string(block, text)?;
        fit &= is_value(&text[name_length + 1..]);
        text.push(0);
        Ok(Field { text, name_length, fit })
    }
}

/// RFC 7541 section 5.1, with the type above the `prefix` bits.
fn integer(block: &mut &[u8], prefix: u32) -> Result<usize, Malformed> {
    let (&first, mut rest) = block.split_first().ok_or(Malformed)?;
    let full = (1 << prefix) - 1;
    let mut value = usize::from(first) & full;
    if value == full {
        let mut shift = 0;
        loop {
            let (&byte, behind) = rest.split_first().ok_or(Malformed)?;
            rest = behind;
            value += (usize::from(byte) & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
            shift += 7;
            // No index, length or size has more than 28 bits.
            if shift > 21 {
                return Err(Malformed);
            }
        }
    }
    *block = rest;
    Ok(value)
}

/// Appends a string (RFC 7541 section 5.2).
fn string(block: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let coded = block.first().is_some_and(|byte| byte & 0x80 != 0);
    let length = integer(block, 7)?;
    let (string, rest) = block.split_at_checked(length).ok_or(Malformed)?;
    *block = rest;
    if coded {
        return huffman::decode(string, out);
    }
    out.extend_from_slice(string);
    Ok(())
}

/// A token (RFC 9110 section 5.6.2) in lower case. The colon before a pseudo-field's is none of it.
fn is_name(name: &[u8]) -> bool {
    let token = name.strip_prefix(b":").unwrap_or(name);
    !token.is_empty() && token.iter().all(|&byte| KINDS[usize::from(byte)] & TOKEN != 0)
}

/// RFC 9113 section 8.2.1: no control characters, and no white space around it.
fn is_value(value: &[u8]) -> bool {
    let space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    value.iter().all(|&byte| KINDS[usize::from(byte)] & VALUE != 0) && !space(value.first()) && !space(value.last())
}

const TOKEN: u8 = 1;
const VALUE: u8 = 2;

/// What each byte may be part of.
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let character = byte as u8;
        if character == b'\t' || (character >= b' ' && character != 0x7f) {
            kinds[byte] |= VALUE;
        }
        if character.is_ascii_lowercase() || character.is_ascii_digit() {
            kinds[byte] |= TOKEN;
        }
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        kinds[others[at] as usize] |= TOKEN;
        at += 1;
    }
    kinds
};

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String, bool)>, Malformed> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut fields = Vec::new();
        decoder.decode(block, |field| fields.push((text(field.name()), text(field.value()), field.fit)))?;
        Ok(fields)
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn the_requests_of_the_rfc() {
        // RFC 7541 appendix C.3 and C.4: the same three requests, plain and in Huffman code, over one connection each.
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let coded = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        for blocks in [plain, coded] {
            let mut decoder = Decoder::new();
            let seen = blocks.map(|block| decoded(&mut decoder, &bytes(block)).unwrap_or_default());
            let last = |fields: &[(String, String, bool)]| fields.last().cloned().unwrap_or_default();
            assert_eq!(last(&seen[0]), (":authority".into(), "www.example.com".into(), true));
            assert_eq!(last(&seen[1]), ("cache-control".into(), "no-cache".into(), true));
            assert_eq!(last(&seen[2]), ("custom-key".into(), "custom-value".into(), true));
            assert_eq!(seen.map(|fields| fields.len()), [4, 5, 5]);
            assert_eq!(decoder.table.iter().count(), 3);
        }
    }

    #[test]
    fn the_oldest_goes_when_the_table_is_full_and_a_smaller_one_is_told_first() {
        let mut decoder = Decoder::new();
        // A table of 256 bytes, as in RFC 7541 appendix C.5, and fields of 43 bytes: the names are a letter.
        let field = |letter: u8| [&[0x40, 1, letter, 10][..], &[b'v'; 10]].concat();
        let block: Vec<u8> = (b'a'..=b'h').flat_map(field).collect();
        assert!(decoded(&mut decoder, &[&[0x3f, 0xe1, 0x01][..], &block].concat()).is_ok());
        assert_eq!(decoder.table.iter().count(), 5);
        let name =
            |decoder: &mut Decoder, index: u8| decoded(decoder, &[0x80 | index]).map(|fields| fields[0].0.clone());
        assert_eq!(name(&mut decoder, 62), Ok("h".into()));
        assert_eq!(name(&mut decoder, 66), Ok("d".into()));
        assert_eq!(name(&mut decoder, 67), Err(Malformed));
        // Behind a field it comes too late; one over what we have allowed never fits.
        assert_eq!(decoded(&mut decoder, &[0x82, 0x20]), Err(Malformed));
        assert_eq!(decoded(&mut decoder, &[0x3f, 0xe2, 0x1f]), Err(Malformed));
        // What is larger than the table empties it.
        assert!(decoded(&mut decoder, &[&[0x40, 1, b'x', 0x7f, 200 - 127][..], &[b'v'; 200][..]].concat()).is_ok());
        assert_eq!(decoder.table.iter().count(), 1);
        assert!(decoded(&mut decoder, &[&[0x40, 1, b'x', 0x7f, 0xc9, 0x01][..], &[b'v'; 328][..]].concat()).is_ok());
        assert_eq!(decoder.table.iter().count(), 0);
    }

    #[test]
    fn a_fit_field_is_one_that_its_types_take() {
        for byte in 0..=u8::MAX {
            let value = [b'v', byte, b'w'];
            assert_eq!(is_value(&value), http::HeaderValue::from_bytes(&value).is_ok(), "{byte:#x}");
            assert!(!is_name(&value) || http::HeaderName::from_lowercase(&value).is_ok(), "{byte:#x}");
        }
    }

    #[test]
    fn what_no_field_may_be_is_noted_and_what_cannot_be_read_is_refused() {
        let mut decoder = Decoder::new();
        let mut fit = |name: &[u8], value: &[u8]| {
            let block = [&[0, name.len() as u8][..], name, &[value.len() as u8], value].concat();
            decoded(&mut decoder, &block).map(|fields| fields[0].2)
        };
        for (name, value) in [(&b"x"[..], &b""[..]), (b"x-y_z", b"a\tb \xff"), (b":path", b"/")] {
            assert_eq!(fit(name, value), Ok(true));
        }
        for (name, value) in [
            (&b""[..], &b"v"[..]),
            (b":", b"v"),
            (b"X", b"v"),
            (b"x y", b"v"),
            (b"x:y", b"v"),
            (b"x\0", b"v"),
            (b"::x", b"v"),
        ] {
            assert_eq!(fit(name, value), Ok(false), "{name:?}");
        }
        for value in [&b" v"[..], b"v\t", b"\0", b"a\rb", b"a\nb", b"\x7f", b"\x01"] {
            assert_eq!(fit(b"x", value), Ok(false), "{value:?}");
        }
        for block in [
            &[0x80][..],                           // index 0
            &[0xbe],                               // an index beyond both tables
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], // an index without end
            &[0x82, 0x40],                         // a field that is cut off
            &[0x00, 0x05, b'a'],                   // a string that is
            &[0x00, 0x81, 0x00, 0x00],             // padding of the wrong kind
        ] {
            assert_eq!(decoded(&mut decoder, block), Err(Malformed), "{block:x?}");
        }
        // An entry that is not fit is not fit where it is used again.
        assert_eq!(decoded(&mut decoder, &[0x40, 1, b'X', 1, b'v']).map(|fields| fields[0].2), Ok(false));
        assert_eq!(decoded(&mut decoder, &[0xbe]).map(|fields| fields[0].2), Ok(false));
        assert_eq!(decoded(&mut decoder, &[0x0f, 62 - 15, 1, b'w']).map(|fields| fields[0].2), Ok(false));
    }
}
