//! The one file with `unsafe`: a field value that a parser has checked is not checked again.

#![allow(unsafe_code)]

use bytes::Bytes;
use http::HeaderValue;

/// The value of a field that httparse has parsed, or HPACK's decoder has found fit.
pub(crate) fn field_value(bytes: Bytes) -> HeaderValue {
    debug_assert!(HeaderValue::from_bytes(&bytes).is_ok(), "a parser let through {bytes:?}");
    // SAFETY: the bytes must be those that `HeaderValue::from_bytes` takes: HTAB, 0x20 to 0x7e, 0x80 to 0xff. httparse
    // takes the same ones, and no others, for a field value (its table of value bytes); so does `wire::h2::hpack` for a field that
    // is `fit`, and only the fields of blocks that are fit throughout get here. Tests compare the sets.
    unsafe { HeaderValue::from_maybe_shared_unchecked(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn httparse_takes_the_bytes_that_a_value_may_have_and_no_others() {
        for byte in 0..=u8::MAX {
            // Long enough for the parser's vector loops, and for what they leave over.
            for (before, after) in [(0, 0), (3, 1), (40, 0), (33, 40)] {
                let value = [vec![b'v'; before + 1], vec![byte], vec![b'w'; after + 1]].concat();
                let line = [b"x: ", &value[..], b"\r\n\r\n"].concat();
                let mut fields = [httparse::EMPTY_HEADER; 2];
                let parsed = httparse::parse_headers(&line, &mut fields);
                let taken = matches!(parsed, Ok(httparse::Status::Complete((_, [field]))) if field.value == value);
                assert_eq!(taken, HeaderValue::from_bytes(&value).is_ok(), "{byte:#x} after {before}");
                if taken {
                    assert_eq!(field_value(Bytes::from(value.clone())).as_bytes(), value);
                }
            }
        }
    }
}
