//! Heads of responses, out of the commands: those that were prepared, and those that are sent again and again.
//!
//! Hot: once per response. Most are the same as the one before.

use http::StatusCode;
use hyperpull::{
    ResponseHead,
    error::{Code, Error},
    fields::ResponseFields,
};

use crate::{
    kinds::{CommandKind, command_flags},
    submit::{Command, read_fields},
};

/// Prepared heads of one loop at most.
const PREPARED_MAX: u32 = 1 << 16;
/// Longer sections are read each time.
const AGAIN_BYTES: usize = 1 << 10;
/// A section that is seen once in so many is tried as the one that is sent again and again.
const TRIES: u32 = 16;

/// The heads that one loop knows.
#[derive(Default)]
pub struct Heads {
    /// By number. A head that is not valid is told to each who sends it.
    prepared: Vec<Option<Result<ResponseFields, Error>>>,
    /// A section that may come again, and what it says.
    again: Vec<u8>,
    again_fields: ResponseFields,
    tries: u32,
}

impl Heads {
    /// Remembers a prepared head.
    pub fn prepare(&mut self, command: &Command) {
        if command.aux >= PREPARED_MAX {
            return;
        }
        let index = command.aux as usize;
        if self.prepared.len() <= index {
            self.prepared.resize_with(index + 1, || None);
        }
        let mut fields = ResponseFields::new();
        let read = read_fields(command.head, &mut fields);
        if let Some(slot) = self.prepared.get_mut(index) {
            *slot = Some(read.map(|()| fields));
        }
    }

    /// Status and fields of a response.
    pub fn head(&mut self, command: &Command) -> Result<ResponseHead, Error> {
        let status = match command.status {
            // The protocol's own, which the engine knows: it takes 101 for "none was named".
            0 if command.kind == CommandKind::Upgrade => StatusCode::SWITCHING_PROTOCOLS,
            status => StatusCode::from_u16(status)
                .map_err(|_| Error::new(Code::InvalidStatus, format!("{status} is no status")))?,
        };
        let headers = self.fields(command)?;
        Ok(ResponseHead { status, headers })
    }

    /// The fields of a head: prepared ones first, then those of the command.
    pub fn fields(&mut self, command: &Command) -> Result<ResponseFields, Error> {
        if command.flags & command_flags::PREPARED == 0 {
            return self.read(command.head);
        }
        let Some(Some(prepared)) = self.prepared.get(command.aux as usize) else {
            return Err(Error::new(Code::InvalidHeader, "no head was prepared under that number"));
        };
        let mut fields = prepared.clone()?;
        read_fields(command.head, &mut fields)?;
        Ok(fields)
    }

    fn read(&mut self, section: &[u8]) -> Result<ResponseFields, Error> {
        if section == self.again {
            return Ok(self.again_fields.clone());
        }
        let mut fields = ResponseFields::new();
        read_fields(section, &mut fields)?;
        self.tries = self.tries.wrapping_add(1);
        if self.tries.is_multiple_of(TRIES) && section.len() <= AGAIN_BYTES {
            self.again.clear();
            self.again.extend_from_slice(section);
            self.again_fields = fields.clone();
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyperpull::Key;

    use super::*;

    fn section(value: &str) -> Vec<u8> {
        let lengths = [4, 0, value.len() as u8, 0];
        [&lengths, "x-is".as_bytes(), value.as_bytes()].concat()
    }

    /// What a command with that section says in the field `x-is`.
    fn said(heads: &mut Heads, section: &[u8], prepared: bool) -> Result<Vec<u8>, Code> {
        let key = Key { connection: 0, stream: 1, sequence: 0 };
        let flags = if prepared { command_flags::PREPARED } else { 0 };
        let command =
            Command { kind: CommandKind::Send, flags, key, status: 200, aux: 0, head: section, body: Bytes::new() };
        let map = heads.fields(&command).map(ResponseFields::into_map).map_err(|error| error.code())?;
        assert!(map.len() <= 1);
        Ok(map.get("x-is").map(|value| value.as_bytes().to_vec()).unwrap_or_default())
    }

    #[test]
    fn a_section_that_comes_again_says_the_same_and_no_other_does() {
        let mut heads = Heads::default();
        for _ in 0..3 {
            for value in ["one", "two", ""] {
                for _ in 0..2 * TRIES {
                    assert_eq!(said(&mut heads, &section(value), false), Ok(value.as_bytes().to_vec()));
                }
                assert_eq!(heads.again, section(value));
                assert_eq!(said(&mut heads, &[], false), Ok(Vec::new()));
                assert_eq!(said(&mut heads, &section("six"), false), Ok(b"six".to_vec()));
            }
        }
    }

    #[test]
    fn what_is_bad_or_long_is_read_each_time() {
        let mut heads = Heads::default();
        let long = "x".repeat(AGAIN_BYTES);
        let long = [&4_u16.to_le_bytes()[..], &(long.len() as u16).to_le_bytes(), b"x-is", long.as_bytes()].concat();
        for _ in 0..3 * TRIES {
            assert_eq!(said(&mut heads, &section("a\nb"), false), Err(Code::InvalidHeader));
            assert_eq!(said(&mut heads, &long, false).map(|value| value.len()), Ok(AGAIN_BYTES));
            assert!(heads.again.is_empty());
        }
    }

    #[test]
    fn a_prepared_head_goes_before_the_section() {
        let mut heads = Heads::default();
        assert_eq!(said(&mut heads, &[], true), Err(Code::InvalidHeader));
        let key = Key { connection: 0, stream: 0, sequence: 0 };
        let head = section("first");
        let kind = CommandKind::Prepare;
        heads.prepare(&Command { kind, flags: 0, key, status: 0, aux: 0, head: &head, body: Bytes::new() });
        assert_eq!(said(&mut heads, &[], true), Ok(b"first".to_vec()));
        assert_eq!(said(&mut heads, &section("second"), false), Ok(b"second".to_vec()));
    }
}
