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
