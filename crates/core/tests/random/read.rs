//! Reads back what the peer got.

use std::collections::BTreeMap;

/// One response.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
    /// It came to its proper end.
    pub whole: bool,
}

fn take<'a>(bytes: &mut &'a [u8], end: &[u8]) -> &'a [u8] {
    let at = bytes.windows(end.len()).position(|part| part == end).expect("what has begun goes on");
    let (part, rest) = bytes.split_at(at + end.len());
    *bytes = rest;
    &part[..at]
}

/// The final responses of an HTTP/1.1 connection; `heads` says which were asked for with HEAD.
pub fn http1(mut bytes: &[u8], heads: &[bool]) -> Vec<Response> {
    let mut responses = Vec::new();
    while !bytes.is_empty() {
        let head = String::from_utf8(take(&mut bytes, b"\r\n\r\n").to_vec()).unwrap().to_ascii_lowercase();
        let status: u16 = head["http/1.1 ".len()..][..3].parse().unwrap();
        if status < 200 {
            continue;
        }
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let mut body = Vec::new();
        if heads[responses.len()] || matches!(status, 204 | 304) {
            // Nothing follows.
        } else if let Some(length) = field("content-length") {
            let (part, rest) = bytes.split_at(length.parse().unwrap());
            (body, bytes) = (part.to_vec(), rest);
        } else {
            assert_eq!(field("transfer-encoding"), Some("chunked"), "{head}");
            while let length @ 1.. = chunk_length(&mut bytes) {
                body.extend_from_slice(&bytes[..length]);
                bytes = &bytes[length..];
                assert!(take(&mut bytes, b"\r\n").is_empty());
            }
            while !take(&mut bytes, b"\r\n").is_empty() {}
        }
        responses.push(Response { status, body, whole: true });
    }
    responses
}

fn chunk_length(bytes: &mut &[u8]) -> usize {
    let digits = std::str::from_utf8(take(bytes, b"\r\n")).unwrap();
    usize::from_str_radix(digits, 16).unwrap()
}

/// The bodies of an HTTP/2 connection, by stream. Statuses are not decoded.
pub fn http2(mut bytes: &[u8]) -> BTreeMap<u32, Response> {
    let mut responses = BTreeMap::<u32, Response>::new();
    while let [a, b, c, kind, flags, stream @ ..] = bytes.get(..9).unwrap_or_default() {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let stream = u32::from_be_bytes(stream.try_into().unwrap());
        let payload = &bytes[9..9 + length];
        bytes = &bytes[9 + length..];
        if let 0 | 1 = kind {
            let response = responses.entry(stream).or_default();
            assert!(!response.whole, "frames after the end of stream {stream}");
            if *kind == 0 {
                response.body.extend_from_slice(payload);
            }
            response.whole = flags & 1 != 0;
        }
    }
    assert!(bytes.is_empty(), "half a frame");
    responses
}
