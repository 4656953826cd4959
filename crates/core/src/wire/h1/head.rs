//! Request heads (RFC 9112 sections 2, 3 and 5): httparse reads them, this file decides what becomes of them.
//!
//! Hot: once a request. The fields are copied once, as text, and the read buffer is free again.

use std::{mem::MaybeUninit, time::Instant};

use bytes::{Buf, BytesMut};
use http::{Method, Uri, Version};
use httparse::Status;

use crate::{
    check::{self, Framing, Survey},
    config::Limits,
    error::Refusal,
    event::{RequestHead, Upgrade},
    io::room,
};

/// Fields that fit on the stack: the default limit.
const USUAL_FIELDS: usize = 100;

/// A head that may be let in, and what its fields say of the exchange.
pub(super) struct Head {
    pub(super) head: Box<RequestHead>,
    pub(super) framing: Framing,
    pub(super) trailers_welcome: bool,
    pub(super) expects_continue: bool,
    /// The connection ends after this exchange.
    pub(super) last: bool,
}

/// Takes a head from the front of `incoming`; `None` when it is not complete.
pub(super) fn take(incoming: &mut BytesMut, limits: &Limits, now: Instant) -> Result<Option<Head>, Refusal> {
    // Empty lines behind a body (RFC 9112 section 2.2) begin no head.
    while incoming.starts_with(b"\r\n") {
        incoming.advance(2);
    }
    if incoming.is_empty() {
        return Ok(None);
    }
    let bytes = &incoming[..];
    let mut request = httparse::Request::new(&mut []);
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    let mut many = Vec::new();
    let fields = if limits.header_count <= USUAL_FIELDS {
        &mut usual[..]
    } else {
        many.resize_with(limits.header_count.min(most_fields(bytes)), MaybeUninit::uninit);
        &mut many[..]
    };
    match request.parse_with_uninit_headers(bytes, fields) {
        Ok(Status::Complete(length)) => {
            let head = of(&request, bytes, length, limits, now);
            incoming.advance(length);
            head.map(Some)
        }
        Ok(Status::Partial) => {
            let target = bytes.split(|&byte| byte == b' ').nth(1).map_or(0, <[u8]>::len);
            match bytes.len() > limits.header_bytes {
                false => Ok(None),
                true if target > limits.target_bytes => Err(Refusal::TargetTooLong),
                true => Err(Refusal::HeadTooLarge),
            }
        }
        Err(error) => Err(refusal_of(error, bytes)),
    }
}

/// Nothing of a head has come: nothing at all, or half of an empty line.
pub(super) fn is_blank(incoming: &[u8]) -> bool {
    matches!(incoming, [] | [b'\r'])
}

/// Whether `incoming` has a head at its front, good or bad, or only the beginning of one.
pub(super) fn is_whole(incoming: &[u8]) -> bool {
    let mut fields = vec![httparse::EMPTY_HEADER; most_fields(incoming)];
    !matches!(httparse::Request::new(&mut fields).parse(incoming), Ok(Status::Partial))
}

/// The fields that may be begun in `section`: no more than lines, whatever they are.
#[cold]
pub(super) fn most_fields(section: &[u8]) -> usize {
    1 + section.iter().filter(|&&byte| byte == b'\n').count()
}

fn of(
    request: &httparse::Request<'_, '_>,
    bytes: &[u8],
    length: usize,
    limits: &Limits,
    now: Instant,
) -> Result<Head, Refusal> {
    if length > limits.header_bytes {
        let target = request.path.map_or(0, str::len);
        return Err(if target > limits.target_bytes { Refusal::TargetTooLong } else { Refusal::HeadTooLarge });
    }
    // httparse takes a bare LF for a line end, as RFC 9112 section 2.2 allows. Two recipients that differ in it see
    // different requests.
    let (Some(method), Some(target)) = (request.method, request.path) else { return Err(Refusal::BadRequest) };
    let first_line = behind(bytes, target.as_bytes()).get(" HTTP/1.1".len()..);
    if !first_line.is_some_and(|rest| rest.starts_with(b"\r\n"))
        // `take` has skipped the empty lines before it that end right.
        || method.as_ptr() != bytes.as_ptr()
        || !lines_end_in_crlf(&bytes[..length], request.headers)
    {
        return Err(Refusal::BadRequest);
    }
    if target.len() > limits.target_bytes {
        return Err(Refusal::TargetTooLong);
    }
    // A fragment is no part of a target (RFC 9112 section 3.2); `Uri` would cut it off.
    if target.as_bytes().contains(&b'#') {
        return Err(Refusal::BadRequest);
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::BadRequest)?;
    let uri = Uri::from_maybe_shared(room::keep(target.as_bytes())).map_err(|_| Refusal::BadRequest)?;
    let version = if request.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let survey = Survey::of_parsed(request.headers);
    let checked = check::check(&method, &uri, version, &survey, false, limits);
    let framing = checked.and_then(|()| survey.framing(version))?;
    if matches!(framing, Framing::Length(length) if length > limits.body_bytes) {
        return Err(Refusal::BodyTooLarge);
    }
    let upgrade = survey.upgrade(&method, version, request.headers);
    Ok(Head {
        framing,
        trailers_welcome: survey.welcomes_trailers,
        expects_continue: survey.expects_continue && version == Version::HTTP_11,
        // With both framings it is answered by the one that rules, then closed (RFC 9112 section 6.1). What stands behind a CONNECT
        // was meant for its tunnel, though it be refused one (RFC 9931).
        last: survey.closes
            || survey.has_both_framings()
            || (version == Version::HTTP_10 && !survey.keeps_alive)
            || matches!(upgrade, Some(Upgrade::Connect)),
        head: RequestHead::new(method, uri, version, upgrade, now, |fields| fields.set_parsed(request.headers)),
    })
}

/// What stands in `bytes` behind `part`, which is a part of it.
fn behind<'a>(bytes: &'a [u8], part: &[u8]) -> &'a [u8] {
    let end = part.as_ptr_range().end.addr().wrapping_sub(bytes.as_ptr().addr());
    bytes.get(end..).unwrap_or_default()
}

/// No line of the section ends in LF alone: neither those of its fields, nor the empty one behind them.
pub(super) fn lines_end_in_crlf(section: &[u8], fields: &[httparse::Header<'_>]) -> bool {
    let space = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let ends_right = |field: &httparse::Header<'_>| {
        let rest = behind(section, field.value);
        rest.starts_with(b"\r\n") || rest[rest.iter().take_while(space).count()..].starts_with(b"\r\n")
    };
    section.ends_with(b"\r\n\r\n") && fields.iter().all(ends_right)
}

fn refusal_of(error: httparse::Error, bytes: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::HeadTooLarge,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::NewLine if names_other_version(bytes) => {
            Refusal::Version
        }
        _ => Refusal::BadRequest,
    }
}

/// The request line is well-formed but for its version: another number, or none as in HTTP/0.9.
fn names_other_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let mut words = line.strip_suffix(b"\r").unwrap_or(line).split(|&byte| byte == b' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(b"GET"), Some(target), None, _) => target.first() == Some(&b'/') && line.ends_with(b"\r"),
        (Some(_), Some(_), Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None) => {
            let digits = major.is_ascii_digit() && minor.is_ascii_digit();
            digits && !matches!((major, minor), (b'1', b'0' | b'1'))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Result<Option<Head>, Refusal> {
        taken_with(text, &Limits { header_bytes: 200, target_bytes: 40, header_count: 4, ..Limits::default() })
    }

    fn taken_with(text: &str, limits: &Limits) -> Result<Option<Head>, Refusal> {
        take(&mut BytesMut::from(text), limits, Instant::now())
    }

    fn refused(text: &str) -> Option<Refusal> {
        taken(text).err()
    }

    #[test]
    fn what_follows_a_head_stays() {
        let mut incoming = BytesMut::from("GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b");
        let head = take(&mut incoming, &Limits::default(), Instant::now()).ok().flatten();
        assert_eq!(head.map(|head| head.head.uri), Some(Uri::from_static("/a")));
        assert_eq!(&incoming[..], b"GET /b");
        assert!(matches!(take(&mut incoming, &Limits::default(), Instant::now()), Ok(None)));
        assert_eq!(&incoming[..], b"GET /b");
    }

    #[test]
    fn a_head_may_be_cut_anywhere() {
        let text = "\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: x, Close\r\n\r\n";
        for cut in 0..text.len() {
            assert!(matches!(taken(&text[..cut]), Ok(None)), "{cut}");
            assert!(!is_whole(&text.as_bytes()[..cut]), "{cut}");
        }
        assert!(is_whole(text.as_bytes()));
        let Ok(Some(head)) = taken(text) else { panic!("not taken") };
        assert_eq!((head.framing, head.last), (Framing::Length(4), true));
    }

    #[test]
    fn a_bare_lf_is_found_in_any_line() {
        assert_eq!(refused("GET / HTTP/1.1\nhost: a\r\n\r\n"), Some(Refusal::BadRequest));
        assert_eq!(refused("\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"), Some(Refusal::BadRequest));
        assert_eq!(refused("GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n"), Some(Refusal::BadRequest));
        assert_eq!(refused("GET / HTTP/1.1\r\nhost: a\r\n\n"), Some(Refusal::BadRequest));
        assert_eq!(refused("GET / HTTP/1.1\r\nhost: a\r\n\r\n\n\n"), None, "what follows is no head");
        let text = "\r\n\r\nGET /a HTTP/1.1\r\nhost: a\r\nempty:\r\nspaced: \t b \t \r\nblank: \r\n\r\n";
        assert_eq!(refused(text), None);
        for (at, _) in text.match_indices("\r\n") {
            assert_eq!(refused(&format!("{}{}", &text[..at], &text[at + 1..])), Some(Refusal::BadRequest), "{at}");
        }
    }

    #[test]
    fn versions_targets_and_sizes() {
        for line in ["GET /", "GET / HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/1.2", "PRI * HTTP/3.0"] {
            assert_eq!(refused(&format!("{line}\r\nhost: a\r\n\r\n")), Some(Refusal::Version), "{line}");
        }
        for line in [
            "rubbish",
            "GET /a b HTTP/1.1",
            "GET HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/1.1.1",
            "G(T / HTTP/1.1",
            "GET /#f HTTP/1.1",
            "GET / FTP/1.1",
        ] {
            assert_eq!(refused(&format!("{line}\r\nhost: a\r\n\r\n")), Some(Refusal::BadRequest), "{line}");
        }
        let long = "x".repeat(300);
        assert_eq!(refused(&format!("GET /{long}")), Some(Refusal::TargetTooLong));
        assert_eq!(refused(&format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n")), Some(Refusal::TargetTooLong));
        // The whole of an absolute target counts: 41 bytes.
        let absolute = format!("GET http://a/{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(32));
        assert_eq!((refused(&absolute), refused(&absolute.replace("xx", "x"))), (Some(Refusal::TargetTooLong), None));
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}")), Some(Refusal::HeadTooLarge));
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n")), Some(Refusal::HeadTooLarge));
        let fields = |count| format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(refused(&fields(3)), None);
        assert_eq!(refused(&fields(4)), Some(Refusal::HeadTooLarge));
        let many = Limits { header_count: 300, ..Limits::default() };
        assert!(matches!(taken_with(&fields(299), &many), Ok(Some(_))));
        assert_eq!(taken_with(&fields(300), &many).err(), Some(Refusal::HeadTooLarge));
    }

    #[test]
    fn heads_of_http_1_0() {
        let old = |line: &str, fields: &str| taken(&format!("{line} HTTP/1.0\r\n{fields}\r\n"));
        // Host may be left out; an authority is what it is in any version.
        assert!(old("GET /", "").is_ok() && old("GET http://a:80/", "").is_ok());
        for bad in ["GET http://u@a/", "GET http://a:99999/", "CONNECT u@a:1", "GET a"] {
            assert_eq!(old(bad, "").err(), Some(Refusal::BadRequest), "{bad}");
        }
        let upgrade = |line: &str| old(line, "connection: upgrade\r\nupgrade: x\r\n").ok()??.head.upgrade;
        assert_eq!((upgrade("CONNECT a:1"), upgrade("GET /")), (Some(Upgrade::Connect), None));
        let last = |line, fields| old(line, fields).ok().flatten().map(|head| head.last);
        let keep_alive = "connection: keep-alive\r\n";
        assert_eq!((last("GET /", ""), last("GET /", keep_alive)), (Some(true), Some(false)));
        assert_eq!(last("CONNECT a:1", keep_alive), Some(true));
    }

    #[test]
    fn an_upgrade_to_nothing_is_none() {
        let upgrade = |token: &str| {
            taken(&format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: {token}\r\n\r\n"))
                .ok()??
                .head
                .upgrade
        };
        assert_eq!((upgrade("X"), upgrade("")), (Some(Upgrade::Token("x".into())), None));
    }

    #[test]
    fn an_empty_line_begins_no_head() {
        let mut incoming = BytesMut::from("\r\n");
        assert!(matches!(take(&mut incoming, &Limits::default(), Instant::now()), Ok(None)));
        assert!(incoming.is_empty());
    }

    #[test]
    fn framings() {
        let framing = |version: &str, fields: &str| {
            taken(&format!("POST / HTTP/{version}\r\nhost: a\r\n{fields}\r\n"))
                .map(|head| head.map(|head| head.framing))
        };
        assert_eq!(framing("1.1", ""), Ok(Some(Framing::None)));
        assert_eq!(framing("1.1", "content-length: 0\r\n"), Ok(Some(Framing::None)));
        assert_eq!(framing("1.1", "content-length: 3\r\ncontent-length: 3\r\n"), Ok(Some(Framing::Length(3))));
        assert_eq!(framing("1.1", "transfer-encoding: Chunked\r\ncontent-length: 3\r\n"), Ok(Some(Framing::Chunked)));
        for bad in ["3\r\ncontent-length: 4", "", "+3", "-3", "3, 3", "0x3", "3 3", "99999999999999999999"] {
            assert_eq!(framing("1.1", &format!("content-length: {bad}\r\n")), Err(Refusal::BadRequest), "{bad}");
        }
        assert_eq!(framing("1.0", "transfer-encoding: chunked\r\n"), Err(Refusal::BadRequest));
        assert_eq!(framing("1.1", "transfer-encoding: chunked, gzip\r\n"), Err(Refusal::BadRequest));
        assert_eq!(framing("1.1", "transfer-encoding: gzip, chunked\r\n"), Err(Refusal::UnknownCoding));
        assert_eq!(framing("1.1", "content-length: 999999999999\r\n"), Err(Refusal::BodyTooLarge));
    }
}
