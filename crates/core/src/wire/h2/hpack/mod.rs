//! HPACK (RFC 7541): header blocks, read and written.

mod decode;
mod encode;
mod huffman;
mod table;

pub(super) use self::{
    decode::{Decoder, Field},
    encode::Encoder,
};

/// A header block that cannot be read: COMPRESSION_ERROR, and the end of its connection, whose state is lost with it
/// (RFC 9113 section 4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// Bytes of a dynamic table: SETTINGS_HEADER_TABLE_SIZE before it is told (RFC 9113 section 6.5.2). We tell none, and use no
/// more for what we send, whatever the peer allows.
const TABLE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_the_table_keeps_its_size(blocks in vec(vec(any::<u8>(), 0..300), 1..8)) {
            let mut decoder = Decoder::new();
            for block in blocks {
                let mut fields = 0;
                let _ = decoder.decode(&block, |field| {
                    assert!(field.text.len() == field.name().len() + field.value().len() + 2);
                    fields += 1;
                });
                // Each takes a byte at least.
                prop_assert!(fields <= block.len());
                prop_assert!(decoder.bytes() <= TABLE_BYTES);
            }
        }

        #[test]
        fn what_is_written_is_read(heads in vec(vec(("[a-z][a-z-]{0,20}", "[ -~\u{80}-\u{ff}]{0,80}"), 0..8), 1..30), limits in vec(0..5000u32, 30)) {
            let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
            for (head, limit) in heads.into_iter().zip(limits) {
                if limit < 2500 {
                    encoder.limit(2 * limit);
                }
                let lines: Vec<_> = head.iter().map(|(name, value)| format!("{name}: {}", value.trim())).collect();
                let mut out = Vec::new();
                encoder.begin(&mut out);
                for ((name, _), line) in head.iter().zip(&lines) {
                    encoder.field(&mut out, line.as_bytes(), name.len());
                }
                let mut seen = Vec::new();
                let read = decoder.decode(&out, |field| seen.push([field.name(), b": ", field.value()].concat()));
                prop_assert!(read.is_ok());
                prop_assert_eq!(seen, lines.into_iter().map(String::into_bytes).collect::<Vec<_>>());
            }
        }
    }
}
