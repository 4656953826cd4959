//! Event records: how what came up is written down for JavaScript.
//!
//! Hot: runs once per event. Allocates nothing but the growth of three vectors that are used again.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Uri, Version};
use hyperpull::{
    Key,
    error::{CloseReason, Error},
    event::{Protocol, RequestBody, RequestHead},
    fields::RequestFields,
};

use crate::{
    fault,
    kinds::{BLOB, CommandKind, EVENT_WORDS, EventKind, INLINE_BYTES, request_flags},
    names::method_number,
};

/// Bytes of an error's message that cross at most.
const MESSAGE_BYTES: usize = 1024;
/// The shared memory has room for this at least: a message, two socket paths, a small head.
pub const CAPACITY_MIN: usize = 4096;

/// Memory that an empty batch may hold on to, per vector.
const KEPT_BYTES: usize = 1 << 20;

/// Words 4-5, a double.
const TIME: usize = 4;
/// Words 6-7, a double.
const NUMBER: usize = 6;
const A: usize = 8;
const B: usize = 9;
const C: usize = 10;
const D: usize = 11;

/// Maps the clock of this side to `performance.now()` of the other.
#[derive(Clone, Copy)]
pub struct Clock {
    origin: Instant,
    origin_ms: f64,
    /// The instant asked for last, which most events of a round have in common.
    last: (Instant, f64),
}

impl Clock {
    /// `now_ms` is what `performance.now()` says now.
    pub fn starting(now_ms: f64) -> Self {
        let origin = Instant::now();
        Self { origin, origin_ms: now_ms, last: (origin, now_ms) }
    }

    fn ms(&mut self, at: Instant) -> f64 {
        if at != self.last.0 {
            let since = at.saturating_duration_since(self.origin);
            let ms = since.as_secs() as f64 * 1e3 + f64::from(since.subsec_nanos()) / 1e6;
            self.last = (at, self.origin_ms + ms);
        }
        self.last.1
    }
}

/// Records with their bytes, in order.
#[derive(Default)]
pub struct Batch {
    /// [`EVENT_WORDS`] a record.
    pub records: Vec<u32>,
    /// The bytes of all records, without gaps.
    pub bytes: Vec<u8>,
    /// What a length of [`BLOB`] stands for, in record order.
    pub blobs: Vec<Bytes>,
}

impl Batch {
    /// Nothing has been written down.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The last record is of this kind.
    pub fn ends_with(&self, kind: EventKind) -> bool {
        self.records.rchunks_exact(EVENT_WORDS).next().and_then(|last| last.first()) == Some(&kind.number())
    }

    /// Moves everything out of `later` to the end of this one.
    pub fn append(&mut self, later: &mut Self) {
        self.records.append(&mut later.records);
        self.bytes.append(&mut later.bytes);
        self.blobs.append(&mut later.blobs);
    }

    /// Forgets everything, and keeps the memory, but not that of a burst.
    pub fn clear(&mut self) {
        self.records.clear();
        self.records.shrink_to(KEPT_BYTES / 4);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.blobs.clear();
        self.blobs.shrink_to(KEPT_BYTES / 32);
    }
}

/// How many bytes and blobs belong to a record.
pub fn extent(record: &[u32]) -> (usize, usize) {
    let word = |index: usize| record.get(index).copied().unwrap_or_default();
    let chunk = |length: u32| if length == BLOB { (0, 1) } else { (length as usize, 0) };
    let kind = EventKind::from_number(word(0));
    match kind {
        Some(EventKind::Chunk) => chunk(word(A)),
        Some(EventKind::Request) => {
            let (bytes, blobs) = if (word(A) >> 16) & request_flags::COMPLETE != 0 { chunk(word(D)) } else { (0, 0) };
            (word(B) as usize + bytes, blobs)
        }
        Some(EventKind::End | EventKind::Upgraded) => (word(A) as usize, 0),
        Some(
            EventKind::Connection | EventKind::BodyFailed | EventKind::Failed | EventKind::Rejected | EventKind::Closed,
        ) => (word(B) as usize, 0),
        Some(EventKind::Written | EventKind::Sent | EventKind::Stopped) | None => (0, 0),
    }
}

/// The batch that an I/O loop is writing.
pub struct Outbox {
    /// What has been written since the last publication.
    pub batch: Batch,
    clock: Clock,
    /// Bytes that the shared memory holds. No record has more, so that each fits in when it comes first.
    capacity: usize,
    /// Lengths of `bytes` and `blobs` after the last whole record.
    whole: (usize, usize),
}

type Record = [u32; EVENT_WORDS];

fn record(kind: EventKind, key: Key) -> Record {
    [kind.number(), key.connection, key.stream, key.sequence, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn of_connection(kind: EventKind, connection: u32) -> Record {
    record(kind, Key { connection, stream: 0, sequence: 0 })
}

fn put(record: &mut Record, at: usize, value: f64) {
    let [a, b, c, d, e, f, g, h] = value.to_ne_bytes();
    record[at] = u32::from_ne_bytes([a, b, c, d]);
    record[at + 1] = u32::from_ne_bytes([e, f, g, h]);
}

fn length(of: &[u8]) -> u32 {
    // Nothing longer is written: `capacity` is a length that JavaScript gave.
    u32::try_from(of.len()).unwrap_or(0)
}

impl Outbox {
    /// An empty one, for shared memory of `capacity` bytes.
    pub fn new(clock: Clock, capacity: usize) -> Self {
        Self { batch: Batch::default(), clock, capacity: capacity.min(i32::MAX as usize), whole: (0, 0) }
    }

    /// Undoes what a panic has left half done.
    pub fn repair(&mut self) {
        self.batch.bytes.truncate(self.whole.0);
        self.batch.blobs.truncate(self.whole.1);
    }

    /// After `batch` has been swapped for an empty one.
    pub fn published(&mut self) {
        self.batch.clear();
        self.whole = (0, 0);
    }

    fn push(&mut self, record: &Record) {
        self.batch.records.extend_from_slice(record);
        self.whole = (self.batch.bytes.len(), self.batch.blobs.len());
    }

    /// A connection speaks `protocol`. `ends` is text as the contract has it.
    pub fn connection(&mut self, connection: u32, protocol: Protocol, ends: &str) {
        let mut record = of_connection(EventKind::Connection, connection);
        record[A] = match protocol {
            Protocol::Http1 => 1,
            Protocol::Http2 => 2,
        };
        record[B] = length(ends.as_bytes());
        self.batch.bytes.extend_from_slice(ends.as_bytes());
        self.push(&record);
    }

    /// A request. False: its head does not fit in the shared memory at all, and nothing was written.
    pub fn request(&mut self, key: Key, head: &RequestHead, body: RequestBody) -> bool {
        let mut record = record(EventKind::Request, key);
        put(&mut record, TIME, self.clock.ms(head.received_at));
        let bytes = &mut self.batch.bytes;
        let start = bytes.len();
        let method = method_number(&head.method);
        let target_length = write_target(bytes, &head.uri, head.version);
        bytes.push(0);
        bytes.extend_from_slice(head.uri.authority().map_or("", |authority| authority.as_str()).as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(head.upgrade.as_ref().map_or("", |upgrade| upgrade.token()).as_bytes());
        bytes.push(0);
        if method == 0 {
            bytes.extend_from_slice(head.method.as_str().as_bytes());
        }
        bytes.push(0);
        head.headers.write_text(bytes);
        let text_length = bytes.len() - start;
        if text_length > self.capacity {
            bytes.truncate(start);
            return false;
        }
        let mut flags = 0;
        let mut content_length = -1.0;
        match body {
            RequestBody::None => {}
            RequestBody::Streamed { length } => {
                flags |= request_flags::BODY;
                content_length = length.map_or(-1.0, |length| length as f64);
            }
            RequestBody::Complete(body) => {
                flags |= request_flags::BODY | request_flags::COMPLETE;
                content_length = body.len() as f64;
                record[D] = self.chunk_bytes(body, self.capacity - text_length);
            }
        }
        if head.uri.scheme_str() == Some("https") {
            flags |= request_flags::HTTPS;
        }
        if head.upgrade.is_some() {
            flags |= request_flags::UPGRADE;
        }
        let version = match head.version {
            Version::HTTP_10 => 0,
            Version::HTTP_2 => 2,
            _ => 1,
        };
        put(&mut record, NUMBER, content_length);
        record[A] = method | version << 8 | flags << 16;
        record[B] = text_length as u32;
        record[C] = target_length as u32;
        fault::point("request");
        self.push(&record);
        true
    }

    /// Writes a chunk, or keeps it as a blob when it is large. The length word comes back.
    fn chunk_bytes(&mut self, chunk: Bytes, room: usize) -> u32 {
        if chunk.len() <= INLINE_BYTES.min(room) {
            self.batch.bytes.extend_from_slice(&chunk);
            length(&chunk)
        } else {
            self.batch.blobs.push(chunk);
            BLOB
        }
    }

    /// Body bytes. `full`: no more are read until some have been taken.
    pub fn chunk(&mut self, key: Key, chunk: Bytes, full: bool) {
        let mut record = record(EventKind::Chunk, key);
        record[A] = self.chunk_bytes(chunk, self.capacity);
        record[B] = u32::from(full);
        self.push(&record);
    }

    /// The end of a body. Trailers that do not fit in the shared memory at all are left out.
    pub fn end(&mut self, key: Key, trailers: Option<HeaderMap>) {
        let mut record = record(EventKind::End, key);
        if let Some(trailers) = trailers {
            let start = self.batch.bytes.len();
            RequestFields::from(trailers).write_text(&mut self.batch.bytes);
            let text_length = self.batch.bytes.len() - start;
            if text_length > self.capacity {
                self.batch.bytes.truncate(start);
            } else {
                record[A] = text_length as u32;
                record[B] = 1;
            }
        }
        self.push(&record);
    }

    fn failure(&mut self, mut record: Record, code: u32, message: &str) {
        let mut end = message.len().min(MESSAGE_BYTES);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let message = message.as_bytes().get(..end).unwrap_or_default();
        record[A] = code;
        record[B] = length(message);
        self.batch.bytes.extend_from_slice(message);
        self.push(&record);
    }

    /// The body cannot be read to its end.
    pub fn body_failed(&mut self, key: Key, error: &Error) {
        self.failure(record(EventKind::BodyFailed, key), error.code() as u32, error.message());
    }

    /// The exchange is over without an answer.
    pub fn failed(&mut self, key: Key, error: &Error) {
        self.failure(record(EventKind::Failed, key), error.code() as u32, error.message());
    }

    /// A command changed nothing.
    pub fn rejected(&mut self, key: Key, command: CommandKind, error: &Error) {
        let mut record = record(EventKind::Rejected, key);
        record[C] = command.number();
        self.failure(record, error.code() as u32, error.message());
    }

    /// So much of what was written has been sent.
    pub fn written(&mut self, key: Key, bytes: u64) {
        let mut record = record(EventKind::Written, key);
        put(&mut record, NUMBER, bytes as f64);
        self.push(&record);
    }

    /// The response has been sent.
    pub fn sent(&mut self, key: Key, bytes: u64, at: Instant) {
        let mut record = record(EventKind::Sent, key);
        put(&mut record, TIME, self.clock.ms(at));
        put(&mut record, NUMBER, bytes as f64);
        self.push(&record);
    }

    /// The stream has left HTTP.
    pub fn upgraded(&mut self, key: Key, protocol: &str) {
        let mut record = record(EventKind::Upgraded, key);
        record[A] = length(protocol.as_bytes());
        self.batch.bytes.extend_from_slice(protocol.as_bytes());
        self.push(&record);
    }

    /// The connection is over.
    pub fn closed(&mut self, connection: u32, reason: &CloseReason) {
        self.failure(of_connection(EventKind::Closed, connection), reason.code as u32, &reason.message);
    }

    /// The loop is over.
    pub fn stopped(&mut self) {
        self.push(&of_connection(EventKind::Stopped, 0));
    }
}

/// Writes the target as it was sent (RFC 9112 section 3.2). The forms of h2 are put apart into the Uri by its decoder.
fn write_target(bytes: &mut Vec<u8>, uri: &Uri, version: Version) -> usize {
    let start = bytes.len();
    if version != Version::HTTP_2
        && let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority())
    {
        bytes.extend_from_slice(scheme.as_bytes());
        bytes.extend_from_slice(b"://");
        bytes.extend_from_slice(authority.as_str().as_bytes());
    }
    match (uri.path_and_query(), uri.authority()) {
        (Some(path), _) => bytes.extend_from_slice(path.as_str().as_bytes()),
        (None, Some(authority)) => bytes.extend_from_slice(authority.as_str().as_bytes()),
        (None, None) => {}
    }
    bytes.len() - start
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, header::HOST};

    use super::*;

    const KEY: Key = Key { connection: 7, stream: 1, sequence: 2 };

    fn written(method: &str, uri: &str, version: Version, body: RequestBody, capacity: usize) -> Option<Batch> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_bytes(b"h\xe9").unwrap_or(HeaderValue::from_static("none")));
        let head = RequestHead {
            method: Method::from_bytes(method.as_bytes()).unwrap_or_default(),
            uri: uri.parse().unwrap_or_default(),
            version,
            headers: headers.into(),
            upgrade: None,
            received_at: Instant::now(),
        };
        let mut outbox = Outbox::new(Clock::starting(5.0), capacity);
        outbox.request(KEY, &head, body).then_some(outbox.batch)
    }

    #[test]
    fn a_request_is_written_as_the_contract_says() {
        let body = RequestBody::Complete(Bytes::from_static(b"body"));
        let batch = written("BREW", "/a?b", Version::HTTP_11, body, CAPACITY_MIN).unwrap_or_default();
        assert_eq!(batch.bytes, b"/a?b\0\0\0BREW\0host\0h\xe9\0body");
        assert_eq!(&batch.records[..4], [EventKind::Request.number(), 7, 1, 2]);
        assert_eq!(&batch.records[A..], [1 << 8 | 3 << 16, 20, 4, 4]);
        assert_eq!(extent(&batch.records), (24, 0));
    }

    #[test]
    fn a_target_is_written_as_it_was_sent() {
        let cases = [
            ("GET", "http://a/b", Version::HTTP_11, "http://a/b\0a\0"),
            ("GET", "http://a/b", Version::HTTP_2, "/b\0a\0"),
            ("CONNECT", "a:1", Version::HTTP_11, "a:1\0a:1\0"),
            ("OPTIONS", "*", Version::HTTP_10, "*\0\0"),
        ];
        for (method, uri, version, text) in cases {
            let batch = written(method, uri, version, RequestBody::None, CAPACITY_MIN).unwrap_or_default();
            assert_eq!(&batch.bytes[..text.len()], text.as_bytes());
        }
    }

    #[test]
    fn no_record_has_more_bytes_than_there_is_room_for() {
        let body = || RequestBody::Complete(Bytes::from_static(b"body"));
        assert!(written("GET", "/", Version::HTTP_11, body(), 10).is_none());
        let batch = written("GET", "/", Version::HTTP_11, body(), 14).unwrap_or_default();
        assert_eq!((extent(&batch.records), batch.blobs.len()), ((13, 1), 1));
    }
}
