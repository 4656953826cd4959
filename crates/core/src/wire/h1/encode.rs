//! Response heads and chunks as bytes (RFC 9112 sections 4, 5 and 7.1).
//!
//! Hot: once a request. One growth of the buffer, then plain copies.

use std::{io::Write, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};

use crate::{
    check::has_token,
    date,
    fields::{ResponseFields, write_line},
    io::outgoing::Outgoing,
};

/// How the end of a response body is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// By a Content-Length.
    Length(u64),
    /// By the status: there is no body, and nothing to say of one.
    Status,
    /// By the chunked coding.
    Chunked,
    /// By the end of the connection: HTTP/1.0 knows nothing else for a body of unknown length.
    Close,
}

/// The head of a final answer, and what it says beside its own fields.
pub(super) struct Head<'a> {
    pub(super) status: StatusCode,
    /// Whose text may be taken.
    pub(super) headers: &'a mut ResponseFields,
    /// The request's.
    pub(super) version: Version,
    pub(super) framing: Framing,
    /// The connection ends after this answer.
    pub(super) last: bool,
}

/// Room for what is added to the fields: the status line, Date, Content-Length, Connection.
const OWN_BYTES: usize = 160;

impl Head<'_> {
    /// Writes it down, and what follows makes room for `body` bytes.
    pub(super) fn write(self, outgoing: &mut Outgoing, body: usize, now: Instant) {
        let http_10 = self.version == Version::HTTP_10;
        let out = if !http_10 && self.status == StatusCode::OK && outgoing.has_no_tail() {
            let out = outgoing.begin_tail(self.headers.take_head());
            out.reserve(OWN_BYTES + body);
            out
        } else {
            let out = outgoing.tail();
            out.reserve(OWN_BYTES + self.headers.lines().len() + body);
            write_status(out, if http_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " }, self.status);
            out.extend_from_slice(self.headers.lines());
            out
        };
        match self.framing {
            Framing::Length(length) => {
                out.extend_from_slice(b"content-length: ");
                out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::Status | Framing::Close => {}
        }
        let said = &self.headers.said;
        if self.last {
            // Who ends the connection says so, whatever else was said of it. Upgrade needs to be named besides (RFC 9110
            // section 7.8: a 426 has it).
            let upgrade =
                said.upgrade && said.connection.as_ref().is_some_and(|list| has_token(list.as_bytes(), b"upgrade"));
            write_line(out, "connection", if upgrade { b"close, upgrade" } else { b"close" });
        } else if let Some(connection) = &said.connection {
            write_line(out, "connection", connection.as_bytes());
        } else if http_10 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        if !said.dated {
            date::with(now, |line| out.extend_from_slice(line));
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The head of a 101 to `protocol`, which the caller may have named.
pub(super) fn write_switch(out: &mut Vec<u8>, headers: &ResponseFields, protocol: &str) {
    write_status(out, b"HTTP/1.1 ", StatusCode::SWITCHING_PROTOCOLS);
    out.extend_from_slice(headers.lines());
    if !headers.said.upgrade {
        write_line(out, "upgrade", protocol.as_bytes());
    }
    out.extend_from_slice(b"connection: upgrade\r\n\r\n");
}

/// The head of an interim answer (RFC 9110 section 15.2), or of a 2xx to CONNECT: there is nothing to add.
pub(super) fn write_bare_head(out: &mut Vec<u8>, status: StatusCode, headers: &ResponseFields) {
    write_status(out, b"HTTP/1.1 ", status);
    out.extend_from_slice(headers.lines());
    out.extend_from_slice(b"\r\n");
}

/// A chunk of at least one byte.
pub(super) fn write_chunk(out: &mut Outgoing, chunk: Bytes) {
    // A vector takes whatever is written into it.
    let _ = write!(out.tail(), "{:x}\r\n", chunk.len());
    out.push(chunk);
    out.tail().extend_from_slice(b"\r\n");
}

/// The last chunk and the trailer section.
pub(super) fn write_last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        write_line(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn write_status(out: &mut Vec<u8>, version: &[u8; 9], status: StatusCode) {
    out.extend_from_slice(version);
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::mem;

    use http::HeaderName;

    use super::*;

    fn written(
        status: u16,
        framing: Framing,
        version: Version,
        last: bool,
        field: (&'static str, &'static str),
    ) -> String {
        let mut headers = ResponseFields::new();
        for (name, value) in [field, ("date", "now")] {
            assert!(headers.push(&HeaderName::from_static(name), value.as_bytes()).is_ok());
        }
        let status = StatusCode::from_u16(status).unwrap_or_default();
        let mut outgoing = Outgoing::default();
        Head { status, headers: &mut headers, version, framing, last }.write(&mut outgoing, 0, Instant::now());
        String::from_utf8(mem::take(outgoing.tail())).unwrap_or_default()
    }

    #[test]
    fn heads() {
        let (new, old) = (Version::HTTP_11, Version::HTTP_10);
        assert_eq!(
            written(200, Framing::Length(1203), new, false, ("x", "y")),
            "HTTP/1.1 200 OK\r\nx: y\r\ndate: now\r\ncontent-length: 1203\r\n\r\n"
        );
        assert_eq!(
            written(200, Framing::Length(0), old, true, ("x", "y")),
            "HTTP/1.0 200 OK\r\nx: y\r\ndate: now\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(
            written(599, Framing::Chunked, new, true, ("connection", "keep-alive")),
            "HTTP/1.1 599 \r\ndate: now\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(
            written(426, Framing::Length(0), new, true, ("upgrade", "x")),
            "HTTP/1.1 426 Upgrade Required\r\nupgrade: x\r\ndate: now\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(
            written(204, Framing::Status, old, false, ("content-length", "0")),
            "HTTP/1.0 204 No Content\r\ndate: now\r\nconnection: keep-alive\r\n\r\n"
        );
        assert_eq!(
            written(404, Framing::Close, old, true, ("x", "y")),
            "HTTP/1.0 404 Not Found\r\nx: y\r\ndate: now\r\nconnection: close\r\n\r\n"
        );
    }
}
