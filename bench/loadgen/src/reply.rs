//! Where one answer ends.

use std::io::{Error, ErrorKind, Result};

#[derive(Clone, Copy, PartialEq)]
pub enum Framing {
    Http,
    WebSocket,
}

/// The length of the answer that `bytes` begins with, if it is complete. Errs if it is none that was hoped for.
pub fn length(framing: Framing, bytes: &[u8]) -> Result<Option<usize>> {
    let whole = match framing {
        Framing::Http => http(bytes)?,
        Framing::WebSocket => websocket(bytes)?,
    };
    Ok(whole.filter(|length| *length <= bytes.len()))
}

/// RFC 9112: a head, and a body of content-length bytes. That is all that the servers here send.
fn http(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = str::from_utf8(&bytes[..end]).map_err(|_| bad("a head that is not ASCII"))?;
    let (status, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    if status.starts_with("HTTP/1.1 101 ") {
        return Ok(Some(end + 4));
    }
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(bad(status));
    }
    let declared = fields
        .split("\r\n")
        .filter_map(|field| field.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    declared.map(|body| Some(end + 4 + body)).ok_or_else(|| bad("no content-length"))
}

/// RFC 6455 section 5.2: one unmasked frame of less than 64 KiB.
fn websocket(bytes: &[u8]) -> Result<Option<usize>> {
    let [kind, short, rest @ ..] = bytes else { return Ok(None) };
    if *kind != 0x82 {
        return Err(bad("not a whole binary message"));
    }
    match (*short, rest) {
        (126, [high, low, ..]) => Ok(Some(4 + usize::from(u16::from_be_bytes([*high, *low])))),
        (126, _) => Ok(None),
        (length @ 0..126, _) => Ok(Some(2 + usize::from(length))),
        _ => Err(bad("a masked or huge frame")),
    }
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("unexpected answer: {what}"))
}
