//! Finds heads with a line that ends in a bare LF, which hyper's parser takes for CRLF.
//!
//! RFC 9112 section 2.2 lets a recipient be so lenient; two recipients that differ in it see different requests, so
//! such a head is refused. Only reads that begin where a head is expected are looked at: a head that came in one read
//! with the end of a chunked body is not (docs/http-support.md).

/// There is a LF without a CR in front of it. `previous` is the byte before `bytes`.
///
/// Hot: once a request. One comparison of neighbours and no early end, so that it is done many bytes at a time.
pub(super) fn has_bare_lf(previous: u8, bytes: &[u8]) -> bool {
    let Some(&first) = bytes.first() else { return false };
    let pairs = bytes.iter().zip(&bytes[1..]);
    let bare = pairs.fold(0, |bare, (&a, &b)| bare | (u8::from(b == b'\n') & u8::from(a != b'\r')));
    bare != 0 || (first == b'\n' && previous != b'\r')
}

/// Which of the heads in `bytes`, from 1, has a bare LF, if one has: it may as well stand in a body. `mid_head`: the
/// bytes go on with a head whose beginning came before.
pub(super) fn bare_head(mut previous: u8, mut bytes: &[u8], mut mid_head: bool) -> Option<u64> {
    let mut head = 1;
    let mut begun = mid_head;
    let mut body = Some(0);
    while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
        let line = &bytes[..end];
        bytes = &bytes[end + 1..];
        let Some(line) = (match line {
            [] if previous == b'\r' => Some(line),
            [line @ .., b'\r'] => Some(line),
            _ => None,
        }) else {
            return Some(head);
        };
        previous = b'\n';
        if !line.is_empty() {
            begun = true;
            note_framing(line, &mut body);
        } else if begun {
            // Where a body ends is not known when a field that says so may have come before.
            let length = body.filter(|_| !mid_head)?;
            bytes = bytes.get(length..)?;
            head += 1;
            begun = false;
            mid_head = false;
            body = Some(0);
        }
    }
    None
}

/// Notes what a field says of the body: its length, or `None` when that shows only in the body itself.
fn note_framing(line: &[u8], body: &mut Option<usize>) {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else { return };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.eq_ignore_ascii_case(b"transfer-encoding") {
        *body = None;
    } else if name.eq_ignore_ascii_case(b"content-length") {
        let length = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
        *body = body.and(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Option<u64> {
        let verdict = bare_head(0, text.as_bytes(), false);
        assert!(verdict.is_none() || has_bare_lf(0, text.as_bytes()), "{text:?}");
        verdict
    }

    #[test]
    fn a_bare_lf_is_found_in_any_line_of_any_head() {
        assert_eq!(verdict("GET / HTTP/1.1\r\nhost: a\r\n\r\n"), None);
        assert_eq!(verdict("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"), None);
        assert_eq!(verdict("GET / HTTP/1.1\nhost: a\r\n\r\n"), Some(1));
        assert_eq!(verdict("GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n"), Some(1));
        assert_eq!(verdict("GET / HTTP/1.1\r\nhost: a\r\n\n"), Some(1));
        assert_eq!(verdict("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nx: y\n\r\n"), Some(2));
    }

    #[test]
    fn a_body_is_not_a_head() {
        assert_eq!(verdict("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\n\n\n\nGET / HTTP/1.1\r\n\r\n"), None);
        assert_eq!(verdict("POST / HTTP/1.1\r\ncontent-length:2\r\n\r\n\n\nGET / HTTP/1.1\n\r\n"), Some(2));
        assert_eq!(verdict("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n"), None);
    }

    #[test]
    fn a_head_may_come_in_parts() {
        assert_eq!(bare_head(b'\r', b"\nhost: a\r\n\r\n", true), None);
        assert_eq!(bare_head(b'a', b"\nhost: a\r\n\r\n", true), Some(1));
        assert_eq!(bare_head(b'\n', b"x: y\nz: w\r\n\r\n", true), Some(1));
        assert_eq!(bare_head(b'\n', b"x: y\r\n\r\n\n\n", true), None, "a body may follow");
        assert!(has_bare_lf(b'a', b"\n") && !has_bare_lf(b'\r', b"\nab\r\n"));
    }
}
