//! Command records: how what JavaScript wants is read.
//!
//! Nothing in here trusts the caller: a record that does not add up ends its batch, a bad head is told.
//!
//! Hot: runs once per command. Fields are read where they lie in the batch's bytes.

use std::{ops::Range, time::Instant};

use bytes::Bytes;
use http::header::HeaderName;
use hyperpull::{
    Key,
    error::{Code, Error},
    fields::ResponseFields,
};

use crate::{
    kinds::{BLOB, COMMAND_WORDS, CommandKind, command_flags},
    names::HEADER_NAMES,
};

/// In a field's first u16: the rest is a number of [`HEADER_NAMES`].
const NUMBERED: u16 = 0x8000;

/// In a record's first word.
const QUIET: u32 = command_flags::QUIET << 8;

/// What one `submit` handed over.
pub struct Submission {
    /// [`COMMAND_WORDS`] a record.
    pub words: Vec<u32>,
    /// The bytes of all records, without gaps.
    pub bytes: Bytes,
    /// What a body length of [`BLOB`] stands for, in record order.
    pub blobs: Vec<Bytes>,
    /// When it was handed over, if nobody is woken for it.
    pub quiet_since: Option<Instant>,
}

/// Nobody need be woken for these records.
pub fn is_quiet(words: &[u32]) -> bool {
    words.chunks_exact(COMMAND_WORDS).all(|record| record[0] & QUIET != 0)
}

/// One command.
#[derive(Debug)]
pub struct Command<'a> {
    /// What is wanted.
    pub kind: CommandKind,
    /// See `command_flags`.
    pub flags: u32,
    /// What it is about.
    pub key: Key,
    /// A status, unchecked.
    pub status: u16,
    /// A number whose meaning depends on the kind.
    pub aux: u32,
    /// Fields, encoded.
    pub head: &'a [u8],
    /// Body bytes.
    pub body: Bytes,
}

/// Reads a submission from its beginning.
pub struct Commands<'a> {
    submission: &'a Submission,
    words: usize,
    bytes: usize,
    blobs: usize,
}

impl<'a> Commands<'a> {
    /// All commands of `submission`.
    pub fn of(submission: &'a Submission) -> Self {
        Self { submission, words: 0, bytes: 0, blobs: 0 }
    }

    fn slice(&mut self, length: u32) -> Option<&'a [u8]> {
        let range = self.bytes..self.bytes.checked_add(length as usize)?;
        let slice = self.submission.bytes.get(range.clone())?;
        self.bytes = range.end;
        Some(slice)
    }

    fn body(&mut self, length: u32) -> Option<Bytes> {
        if length == BLOB {
            return self.blob();
        }
        let slice = self.slice(length)?;
        Some(if slice.is_empty() { Bytes::new() } else { self.submission.bytes.slice_ref(slice) })
    }

    fn blob(&mut self) -> Option<Bytes> {
        let blob = self.submission.blobs.get(self.blobs)?.clone();
        self.blobs += 1;
        Some(blob)
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Command<'a>;

    fn next(&mut self) -> Option<Command<'a>> {
        let record = self.submission.words.get(self.words..self.words + COMMAND_WORDS)?;
        let &[what, connection, stream, sequence, status, head, body, aux] = record else { return None };
        self.words += COMMAND_WORDS;
        let kind = CommandKind::from_number(what & 0xff);
        let head = self.slice(head);
        let body = self.body(body);
        let (Some(kind), Some(head), Some(body)) = (kind, head, body) else {
            // Where the next record's bytes lie is not known any more.
            self.words = self.submission.words.len();
            return None;
        };
        Some(Command {
            kind,
            flags: what >> 8,
            key: Key { connection, stream, sequence },
            status: u16::try_from(status).unwrap_or(0),
            aux,
            head,
            body,
        })
    }
}

fn invalid(message: &'static str) -> Error {
    Error::new(Code::InvalidHeader, message)
}

/// Appends the fields that `head` encodes.
pub fn read_fields(head: &[u8], fields: &mut ResponseFields) -> Result<(), Error> {
    let mut at = 0;
    while at < head.len() {
        let (name_word, value_length) = (word(head, at)?, word(head, at + 2)?);
        at += 4;
        let written;
        let name = if name_word & NUMBERED != 0 {
            let number = usize::from(name_word & !NUMBERED);
            HEADER_NAMES.get(number).ok_or(invalid("no field name has that number"))?
        } else {
            let range = advance(&mut at, name_word);
            let name = head.get(range).ok_or(invalid("the fields are cut short"))?;
            written = HeaderName::from_bytes(name).map_err(|_| {
                Error::new(Code::InvalidHeader, format!("{:?} is no field name", String::from_utf8_lossy(name)))
            })?;
            &written
        };
        let range = advance(&mut at, value_length);
        let value = head.get(range).ok_or(invalid("the fields are cut short"))?;
        fields.push(name, value)?;
    }
    Ok(())
}

fn word(head: &[u8], at: usize) -> Result<u16, Error> {
    match head.get(at..at + 2) {
        Some(&[low, high]) => Ok(u16::from_le_bytes([low, high])),
        _ => Err(invalid("the fields are cut short")),
    }
}

fn advance(at: &mut usize, by: u16) -> Range<usize> {
    let start = *at;
    *at += usize::from(by);
    start..*at
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn field(name: &str, value: &str) -> Vec<u8> {
        let mut bytes = (name.len() as u16).to_le_bytes().to_vec();
        bytes.extend((value.len() as u16).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(value.as_bytes());
        bytes
    }

    fn read(head: Vec<u8>) -> Result<HeaderMap, Error> {
        let mut fields = ResponseFields::new();
        read_fields(&head, &mut fields).map(|()| fields.into_map())
    }

    fn submission(words: &[u32], bytes: &'static [u8]) -> Submission {
        let blobs = vec![Bytes::from_static(b"blob")];
        Submission { words: words.to_vec(), bytes: Bytes::from_static(bytes), blobs, quiet_since: None }
    }

    #[test]
    fn fields_keep_order_and_repetition() {
        let mut head = field("X-One", "1");
        head.extend([0, 0x80, 4, 0]);
        head.extend(b"text");
        head.extend(field("set-cookie", "a"));
        head.extend(field("Set-Cookie", "b"));
        let fields = read(head).unwrap_or_default();
        let names: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(
            names,
            [("x-one", &b"1"[..]), ("content-type", b"text"), ("set-cookie", b"a"), ("set-cookie", b"b")]
        );
    }

    #[test]
    fn bad_fields_are_told() {
        for head in [
            field("a b", "1"),
            field("", "1"),
            field("a", "x\r\ny"),
            vec![1],
            vec![1, 0, 1, 0, b'a'],
            vec![0xff, 0xff, 0, 0],
        ] {
            assert!(read(head).is_err_and(|error| error.code() == Code::InvalidHeader));
        }
    }

    #[test]
    fn commands_take_their_bytes_in_order() {
        let words = [1, 7, 1, 2, 200, 2, 3, 0, 3 | 2 << 8, 8, 0, 0, 0, 0, BLOB, 9];
        let submission = submission(&words, b"hhbbb");
        let mut commands = Commands::of(&submission);
        let Some(send) = commands.next() else { panic!("no send") };
        assert_eq!((send.kind, send.key.connection, send.status), (CommandKind::Send, 7, 200));
        assert_eq!((send.head, &send.body[..]), (&b"hh"[..], &b"bbb"[..]));
        let Some(write) = commands.next() else { panic!("no write") };
        assert_eq!((write.kind, write.flags, write.aux, &write.body[..]), (CommandKind::Write, 2, 9, &b"blob"[..]));
        assert!(commands.next().is_none());
    }

    #[test]
    fn one_loud_command_makes_all_of_them_loud() {
        let (quiet, loud) = ([17 | 8 << 8, 1, 1, 0, 0, 0, 0, 9], [17, 1, 1, 0, 0, 0, 0, 9]);
        assert!(is_quiet(&quiet));
        assert!(!is_quiet(&[quiet, loud].concat()));
    }

    #[test]
    fn what_does_not_add_up_ends_the_batch() {
        let too_long = [1, 0, 0, 0, 200, 4, u32::MAX - 1, 0, 12, 0, 0, 0, 0, 0, 0, 0];
        for (words, bytes) in [(&too_long[..], &b"hhhh"[..]), (&[99, 0, 0, 0, 0, 0, 0, 0], b""), (&[1, 0, 0], b"")] {
            assert!(Commands::of(&submission(words, bytes)).next().is_none());
        }
    }
}
