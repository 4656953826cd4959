//! Which request heads are let in (RFC 9110 section 7.2, RFC 9112 section 3, RFC 9113 section 8.3).

use http::{HeaderMap, Method, Uri, Version, header, uri::Authority};

use crate::{config::Limits, error::Refusal, event::Upgrade};

/// The status that answers a refusal, when one is sent.
pub(crate) fn status_of(refusal: Refusal) -> http::StatusCode {
    use http::StatusCode as S;
    match refusal {
        Refusal::BadRequest | Refusal::Protocol => S::BAD_REQUEST,
        Refusal::TargetTooLong => S::URI_TOO_LONG,
        Refusal::HeadTooLarge => S::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Refusal::BodyTooLarge => S::PAYLOAD_TOO_LARGE,
        Refusal::UnknownCoding => S::NOT_IMPLEMENTED,
        Refusal::Version => S::HTTP_VERSION_NOT_SUPPORTED,
        Refusal::HandshakeTimeout | Refusal::HeadersTimeout => S::REQUEST_TIMEOUT,
        Refusal::Draining => S::SERVICE_UNAVAILABLE,
    }
}

/// Checks what the codec does not: Host, the form of the target, transfer codings, limits.
pub(crate) fn check(
    method: &Method,
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
    extended: bool,
    limits: &Limits,
) -> Result<(), Refusal> {
    if headers.len() > limits.header_count {
        return Err(Refusal::HeadTooLarge);
    }
    check_target(method, uri, extended, limits)?;
    let host = single(headers, header::HOST)?;
    match (version, host) {
        (Version::HTTP_2, host) => {
            let Some(authority) = uri.authority() else {
                return host.map_or(Err(Refusal::BadRequest), check_host);
            };
            check_host(authority.as_str().as_bytes())?;
            if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority.as_str().as_bytes())) {
                return Err(Refusal::BadRequest);
            }
        }
        (_, Some(host)) => {
            check_host(host)?;
            let same = |authority: &Authority| host.eq_ignore_ascii_case(authority.as_str().as_bytes());
            if uri.authority().is_some_and(|authority| !same(authority)) {
                return Err(Refusal::BadRequest);
            }
        }
        (Version::HTTP_11, None) => return Err(Refusal::BadRequest),
        (_, None) => {}
    }
    check_codings(headers)
}

fn check_target(method: &Method, uri: &Uri, extended: bool, limits: &Limits) -> Result<(), Refusal> {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    if target.len() > limits.target_bytes {
        return Err(Refusal::TargetTooLong);
    }
    let well_formed = if *method == Method::CONNECT && !extended {
        uri.authority().is_some_and(|authority| authority.port().is_some()) && matches!(target, "" | "/")
    } else if target == "*" {
        *method == Method::OPTIONS
    } else {
        target.starts_with('/') || (uri.authority().is_some() && target.is_empty())
    };
    if !well_formed || target.bytes().any(|byte| !(0x21..0x7f).contains(&byte)) {
        return Err(Refusal::BadRequest);
    }
    Ok(())
}

fn single(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<&[u8]>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(http::HeaderValue::as_bytes)),
        _ => Err(Refusal::BadRequest),
    }
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2), without user information, not empty.
fn check_host(host: &[u8]) -> Result<(), Refusal> {
    let (name, port) = match host {
        [b'[', ..] => {
            let end = host.iter().position(|&byte| byte == b']').ok_or(Refusal::BadRequest)?;
            let (name, rest) = host.split_at(end + 1);
            if name[1..end].iter().any(|byte| !byte.is_ascii_hexdigit() && !matches!(byte, b':' | b'.')) {
                return Err(Refusal::BadRequest);
            }
            (name, rest)
        }
        _ => {
            let end = host.iter().position(|&byte| byte == b':').unwrap_or(host.len());
            let (name, rest) = host.split_at(end);
            if name.iter().any(|&byte| !is_reg_name(byte)) {
                return Err(Refusal::BadRequest);
            }
            (name, rest)
        }
    };
    let port_is_right = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if name.is_empty() || !port_is_right { Err(Refusal::BadRequest) } else { Ok(()) }
}

/// unreserved / pct-encoded / sub-delims (RFC 3986 section 3.2.2).
fn is_reg_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

/// One coding, `chunked` (RFC 9112 section 6.1): the others are not implemented here.
fn check_codings(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_some() {
        return Err(Refusal::BadRequest);
    }
    if coding.as_bytes().eq_ignore_ascii_case(b"chunked") { Ok(()) } else { Err(Refusal::UnknownCoding) }
}

/// What the request may turn into.
pub(crate) fn upgrade_of(method: &Method, headers: &HeaderMap) -> Option<Upgrade> {
    if *method == Method::CONNECT {
        return Some(Upgrade::Connect);
    }
    let token = headers.get(header::UPGRADE)?.to_str().ok()?;
    Some(Upgrade::Token(token.trim().to_ascii_lowercase()))
}

/// RFC 9218 section 4: urgency from the `priority` field, 0 (first) to 7; 3 unless it says otherwise.
pub(crate) fn urgency_of(headers: &HeaderMap) -> u8 {
    const DEFAULT: u8 = 3;
    let Some(value) = headers.get("priority").and_then(|value| value.to_str().ok()) else { return DEFAULT };
    let urgency = value.split(',').find_map(|member| member.trim().strip_prefix("u="));
    match urgency.map(str::as_bytes) {
        Some([digit @ b'0'..=b'7', rest @ ..]) if rest.first().is_none_or(|&next| next == b';') => digit - b'0',
        _ => DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(method: &str, target: &str, fields: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                header::HeaderName::from_bytes(name.as_bytes()).map_err(|_| Refusal::Protocol)?,
                value.parse().map_err(|_| Refusal::Protocol)?,
            );
        }
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Protocol)?;
        let uri = target.parse().map_err(|_| Refusal::Protocol)?;
        check(&method, &uri, Version::HTTP_11, &headers, false, &Limits { target_bytes: 40, ..Limits::default() })
    }

    #[test]
    fn hosts() {
        for good in ["a", "a.b:80", "127.0.0.1:8080", "[::1]", "[::1]:443", "xn--a-ecp.ru", "a_b", "a:"] {
            assert_eq!(verdict("GET", "/", &[("host", good)]), Ok(()), "{good}");
        }
        for bad in ["", "user@a", "a/b", "a b", "a:x", "[::1", "[::1]x", "a:123456", ":80", "[a%b]"] {
            assert_eq!(verdict("GET", "/", &[("host", bad)]), Err(Refusal::BadRequest), "{bad}");
        }
        assert_eq!(verdict("GET", "/", &[]), Err(Refusal::BadRequest));
        assert_eq!(verdict("GET", "/", &[("host", "a"), ("host", "a")]), Err(Refusal::BadRequest));
        assert_eq!(verdict("GET", "http://A/x", &[("host", "a")]), Ok(()));
        assert_eq!(verdict("GET", "http://b/x", &[("host", "a")]), Err(Refusal::BadRequest));
    }

    #[test]
    fn targets() {
        let host = [("host", "a")];
        assert_eq!(verdict("OPTIONS", "*", &host), Ok(()));
        assert_eq!(verdict("GET", "*", &host), Err(Refusal::BadRequest));
        assert_eq!(verdict("CONNECT", "a:1", &[("host", "a:1")]), Ok(()));
        assert_eq!(verdict("CONNECT", "/x", &host), Err(Refusal::BadRequest));
        assert_eq!(verdict("GET", "/\u{e9}", &host), Err(Refusal::BadRequest));
        assert_eq!(verdict("GET", &format!("/{}", "x".repeat(40)), &host), Err(Refusal::TargetTooLong));
    }

    #[test]
    fn codings() {
        let with = |value| verdict("POST", "/", &[("host", "a"), ("transfer-encoding", value)]);
        assert_eq!(with("Chunked"), Ok(()));
        assert_eq!(with("gzip, chunked"), Err(Refusal::UnknownCoding));
        let twice = [("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        assert_eq!(verdict("POST", "/", &twice), Err(Refusal::BadRequest));
    }

    #[test]
    fn urgencies() {
        let of = |value: &'static str| {
            urgency_of(&HeaderMap::from_iter([(
                header::HeaderName::from_static("priority"),
                http::HeaderValue::from_static(value),
            )]))
        };
        assert_eq!([of("u=0"), of("i, u=5"), of("u=9"), of("u=12"), of("x"), of("u=2;a")], [0, 5, 3, 3, 3, 2]);
    }
}
