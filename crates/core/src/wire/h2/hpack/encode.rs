//! Header blocks, written (RFC 7541 sections 3 and 6).
//!
//! Hot: once a response. A field that was sent before on its connection is found by a hash of its line, and is one byte.

use std::mem;

use super::{
    TABLE_BYTES, huffman,
    table::{Dynamic, OVERHEAD, static_name},
};

const INDEXED: u8 = 0x80;
const WITH_INDEXING: u8 = 0x40;
const WITHOUT_INDEXING: u8 = 0x00;
const NEVER_INDEXED: u8 = 0x10;
const RESIZED: u8 = 0x20;

/// `:status` in the static table.
const STATUS: usize = 8;
/// Those that it has whole, from `STATUS` on.
const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
/// `content-length` in the static table.
const CONTENT_LENGTH: usize = 28;

#[derive(Debug)]
struct Entry {
    hash: u32,
    name_length: usize,
    /// `name: value`.
    line: Box<[u8]>,
}

/// One direction's memory of the fields that were sent.
#[derive(Debug)]
pub(in crate::wire::h2) struct Encoder {
    table: Dynamic<Entry>,
    /// A size of the table that the peer has yet to hear of: the smallest since, and the last.
    resized: Option<(usize, usize)>,
}

impl Encoder {
    pub(in crate::wire::h2) fn new() -> Self {
        Self { table: Dynamic::new(TABLE_BYTES), resized: None }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE: a table no larger than that, told with the next block (RFC 7541 section 4.2).
    pub(in crate::wire::h2) fn limit(&mut self, bytes: u32) {
        let bytes = TABLE_BYTES.min(bytes as usize);
        if bytes != self.table.most() || self.resized.is_some() {
            self.table.resize(bytes);
            let smallest = self.resized.map_or(bytes, |(smallest, _)| smallest.min(bytes));
            self.resized = Some((smallest, bytes));
        }
    }

    /// A block begins.
    pub(in crate::wire::h2) fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some((smallest, last)) = mem::take(&mut self.resized) {
            if smallest < last {
                integer(out, RESIZED, 5, smallest);
            }
            integer(out, RESIZED, 5, last);
        }
    }

    /// `:status`.
    pub(in crate::wire::h2) fn status(&mut self, out: &mut Vec<u8>, status: http::StatusCode) {
        match STATUSES.iter().position(|&known| known == status.as_u16()) {
            Some(place) => integer(out, INDEXED, 7, STATUS + place),
            None => self.indexed(out, &[b":status: ", status.as_str().as_bytes()].concat(), 7),
        }
    }

    /// `content-length`, which is rarely the same again.
    pub(in crate::wire::h2) fn length(&mut self, out: &mut Vec<u8>, length: u64) {
        integer(out, WITHOUT_INDEXING, 4, CONTENT_LENGTH);
        string(out, itoa::Buffer::new().format(length).as_bytes());
    }

    /// A field, of which `line` is `name: value`, the name in lower case.
    pub(in crate::wire::h2) fn field(&mut self, out: &mut Vec<u8>, line: &[u8], name_length: usize) {
        match &line[..name_length] {
            // A secret: nobody on the way shall keep it in a table either (RFC 7541 section 7.1.3).
            b"set-cookie" => self.literal(out, NEVER_INDEXED, 4, line, name_length),
            b"age" | b"content-length" | b"content-range" | b"etag" | b"last-modified" | b"location" => {
                self.literal(out, WITHOUT_INDEXING, 4, line, name_length);
            }
            // It would drive out most of the others.
            _ if 2 * (line.len() + OVERHEAD) > self.table.most() => {
                self.literal(out, WITHOUT_INDEXING, 4, line, name_length);
            }
            _ => self.indexed(out, line, name_length),
        }
    }

    /// From the table, or into it.
    fn indexed(&mut self, out: &mut Vec<u8>, line: &[u8], name_length: usize) {
        let hash = hash(line);
        let known = |entry: &Entry| entry.hash == hash && *entry.line == *line && entry.name_length == name_length;
        if let Some(age) = self.table.iter().position(known) {
            integer(out, INDEXED, 7, Dynamic::<Entry>::FIRST + age);
            return;
        }
        self.literal(out, WITH_INDEXING, 6, line, name_length);
        // Between name and value stand two bytes.
        self.table.insert(line.len() - 2 + OVERHEAD, || Entry { hash, name_length, line: line.into() });
    }

    fn literal(&self, out: &mut Vec<u8>, kind: u8, prefix: u32, line: &[u8], name_length: usize) {
        let name = &line[..name_length];
        let named = |entry: &Entry| entry.line[..entry.name_length] == *name;
        let index = static_name(name)
            .or_else(|| self.table.iter().position(named).map(|age| Dynamic::<Entry>::FIRST + age))
            .unwrap_or(0);
        integer(out, kind, prefix, index);
        if index == 0 {
            string(out, name);
        }
        string(out, &line[name_length + 2..]);
    }
}

/// RFC 7541 section 5.1.
fn integer(out: &mut Vec<u8>, kind: u8, prefix: u32, value: usize) {
    let full = (1 << prefix) - 1;
    if value < full {
        out.push(kind | value as u8);
        return;
    }
    out.push(kind | full as u8);
    let mut left = value - full;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// RFC 7541 section 5.2: in Huffman code where that is shorter.
fn string(out: &mut Vec<u8>, text: &[u8]) {
    let coded = huffman::length_of(text);
    if coded < text.len() {
        integer(out, 0x80, 7, coded);
        huffman::encode(text, out);
    } else {
        integer(out, 0, 7, text.len());
        out.extend_from_slice(text);
    }
}

/// Eight bytes at a time; who makes lines collide gets a comparison more.
fn hash(line: &[u8]) -> u32 {
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let (words, rest) = line.as_chunks();
    let hash = words.iter().fold(line.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let last = rest.iter().fold(0, |last, &byte| last << 8 | u64::from(byte));
    (mix(hash, last) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::{super::Decoder, *};

    /// Encodes the lines, and decodes them again.
    fn sent(encoder: &mut Encoder, decoder: &mut Decoder, status: u16, lines: &[&str]) -> (usize, Vec<String>) {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        encoder.status(&mut out, StatusCode::from_u16(status).unwrap_or_default());
        for line in lines {
            encoder.field(&mut out, line.as_bytes(), line.find(": ").unwrap_or_default());
        }
        let mut seen = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let decoded = decoder.decode(&out, |field| {
            assert!(field.fit);
            seen.push(format!("{}: {}", text(field.name()), text(field.value())));
        });
        assert!(decoded.is_ok());
        (out.len(), seen)
    }

    #[test]
    fn what_goes_in_comes_out_and_is_shorter_the_second_time() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let lines = [
            "content-type: text/plain; charset=utf-8",
            "x-of-our-own: some: thing",
            "x-of-our-own: another",
            "content-length: 1234",
            "set-cookie: secret=1",
            "x-empty: ",
            "x-bytes: \u{e9}\u{ff}",
        ];
        let (first, seen) = sent(&mut encoder, &mut decoder, 201, &lines);
        assert_eq!((&seen[0][..], &seen[1..]), (":status: 201", &lines.map(str::to_owned)[..]));
        let (second, seen) = sent(&mut encoder, &mut decoder, 201, &lines);
        assert_eq!(&seen[1..], lines);
        assert!(first > 80 && second < 30, "{first}, then {second}");
        let (third, _) = sent(&mut encoder, &mut decoder, 404, &[]);
        assert_eq!(third, 1);
    }

    #[test]
    fn tables_keep_in_step_through_any_number_of_fields_and_sizes() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for round in 0..2000u32 {
            match round % 37 {
                5 => encoder.limit(round % 700),
                11 => {
                    encoder.limit(0);
                    encoder.limit(1 << 20);
                }
                _ => {}
            }
            let lines = [
                format!("x-{}: {}", round % 7, "v".repeat(round as usize % 60)),
                format!("date: {}", round / 3),
                format!("x-large: {}", "w".repeat(round as usize % 3000)),
            ];
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(sent(&mut encoder, &mut decoder, 200, &lines).1[1..], lines);
        }
    }
}
