//! Which request heads are let in (RFC 9110 section 7.2, RFC 9112 section 3, RFC 9113 section 8.3).

use std::{cell::RefCell, net::Ipv6Addr};

use http::{Method, Uri, Version};

use crate::{config::Limits, error::Refusal, event::Upgrade, fields::pairs};

/// Of a method. The longest that is registered has 17 (RFC 9112 section 3: longer than any that is implemented is 501).
const METHOD_BYTES: usize = 32;

/// The status that answers a refusal, when one is sent.
pub(crate) fn status_of(refusal: Refusal) -> http::StatusCode {
    use http::StatusCode as S;
    match refusal {
        Refusal::BadRequest | Refusal::ProtocolError => S::BAD_REQUEST,
        Refusal::TargetTooLong => S::URI_TOO_LONG,
        Refusal::HeadTooLarge => S::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Refusal::BodyTooLarge => S::PAYLOAD_TOO_LARGE,
        Refusal::UnknownCoding | Refusal::MethodTooLong => S::NOT_IMPLEMENTED,
        Refusal::Version => S::HTTP_VERSION_NOT_SUPPORTED,
        Refusal::HandshakeTimeout | Refusal::HeadersTimeout => S::REQUEST_TIMEOUT,
        Refusal::TooManyStreams | Refusal::Draining => S::SERVICE_UNAVAILABLE,
    }
}

/// What the checks and the engines want to know of a head's fields, found in one pass over them.
#[derive(Default)]
pub(crate) struct Survey<'a> {
    /// How many there are.
    pub(crate) count: usize,
    host: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
    /// There is a Priority (RFC 9218 section 4).
    pub(crate) prioritized: bool,
    length: Option<&'a [u8]>,
    /// Host or Transfer-Encoding is there more than once.
    malformed: bool,
    /// Content-Length is empty, or there more than once and not the same.
    unsure_length: bool,
    /// `connection: close`.
    pub(crate) closes: bool,
    /// `connection: keep-alive`.
    pub(crate) keeps_alive: bool,
    /// `connection: upgrade`.
    wants_upgrade: bool,
    /// `expect: 100-continue`.
    pub(crate) expects_continue: bool,
    /// `te: trailers`.
    pub(crate) welcomes_trailers: bool,
}

impl<'a> Survey<'a> {
    /// Of fields as `RequestFields` keeps them.
    pub(crate) fn of_text(text: &'a [u8]) -> Self {
        let mut survey = Self::default();
        for (name, value) in pairs(text) {
            survey.note(name, value);
        }
        survey
    }

    /// Of fields as they came, whose names may be in any case.
    pub(crate) fn of_parsed(fields: &[httparse::Header<'a>]) -> Self {
        let mut survey = Self::default();
        for field in fields {
            survey.note(field.name.as_bytes(), field.value);
        }
        survey
    }

    /// Hot: the length of a name rules out most of them.
    fn note(&mut self, name: &[u8], value: &'a [u8]) {
        self.count += 1;
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is(b"te") => self.welcomes_trailers |= has_token(value, b"trailers"),
            4 if is(b"host") => self.malformed |= self.host.replace(value).is_some(),
            6 if is(b"expect") => self.expects_continue |= has_token(value, b"100-continue"),
            8 if is(b"priority") => self.prioritized = true,
            10 if is(b"connection") => {
                self.closes |= has_token(value, b"close");
                self.keeps_alive |= has_token(value, b"keep-alive");
                self.wants_upgrade |= has_token(value, b"upgrade");
            }
            14 if is(b"content-length") => {
                self.unsure_length |=
                    value.is_empty() || self.length.replace(value).is_some_and(|before| before != value);
            }
            17 if is(b"transfer-encoding") => self.malformed |= self.coding.replace(value).is_some(),
            _ => {}
        }
    }

    /// The Content-Length, which must be one decimal number (RFC 9110 section 8.6).
    pub(crate) fn length(&self) -> Result<Option<u64>, Refusal> {
        if self.unsure_length {
            return Err(Refusal::BadRequest);
        }
        let Some(digits) = self.length else { return Ok(None) };
        if digits.len() > 19 {
            return Err(Refusal::BadRequest);
        }
        let number = digits.iter().try_fold(0, |number, &digit| match digit {
            b'0'..=b'9' => Ok(number * 10 + u64::from(digit - b'0')),
            _ => Err(Refusal::BadRequest),
        });
        number.map(Some)
    }

    /// How the end of an h1 body is told (RFC 9112 section 6.3).
    pub(crate) fn framing(&self, version: Version) -> Result<Framing, Refusal> {
        let length = self.length()?;
        if self.coding.is_some() {
            // HTTP/1.0 knows no transfer codings: who sends one is not to be trusted with where a message ends.
            return if version == Version::HTTP_10 { Err(Refusal::BadRequest) } else { Ok(Framing::Chunked) };
        }
        Ok(length.filter(|&length| length > 0).map_or(Framing::None, Framing::Length))
    }

    /// Transfer-Encoding and Content-Length (RFC 9112 section 6.1).
    pub(crate) fn has_both_framings(&self) -> bool {
        self.coding.is_some() && self.length.is_some()
    }

    /// What an h1 request with these fields may turn into (RFC 9110 section 7.8), or a CONNECT.
    pub(crate) fn upgrade(
        &self,
        method: &Method,
        version: Version,
        fields: &[httparse::Header<'_>],
    ) -> Option<Upgrade> {
        if *method == Method::CONNECT {
            return Some(Upgrade::Connect);
        }
        if !self.wants_upgrade || version != Version::HTTP_11 {
            return None;
        }
        let upgrades = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("upgrade"));
        Upgrade::named(upgrades.map(|field| field.value))
    }
}

/// How the end of an h1 request body is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    /// There is no body.
    None,
    Length(u64),
    Chunked,
}

/// The comma-separated list has the token, in any case.
pub(crate) fn has_token(list: &[u8], token: &[u8]) -> bool {
    // A list of one, as it nearly always is.
    list.eq_ignore_ascii_case(token)
        || (list.len() > token.len()
            && list.split(|&byte| byte == b',').any(|part| {
                let part = part.split(|&byte| byte == b';').next().unwrap_or_default();
                part.trim_ascii().eq_ignore_ascii_case(token)
            }))
}

/// Checks what the codec does not: Host, the form of the target, transfer codings, limits.
pub(crate) fn check(
    method: &Method,
    uri: &Uri,
    version: Version,
    survey: &Survey<'_>,
    extended: bool,
    limits: &Limits,
) -> Result<(), Refusal> {
    if survey.count > limits.header_count {
        return Err(Refusal::HeadTooLarge);
    }
    if method.as_str().len() > METHOD_BYTES {
        return Err(Refusal::MethodTooLong);
    }
    check_target(method, uri, extended, limits)?;
    if survey.malformed {
        return Err(Refusal::BadRequest);
    }
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    match survey.host {
        Some(host) => {
            check_host(host)?;
            match authority {
                // It names where to go, and many clients name the proxy in Host.
                Some(authority) if *method == Method::CONNECT => check_host(authority)?,
                Some(authority) if !host.eq_ignore_ascii_case(authority) => return Err(Refusal::BadRequest),
                _ => {}
            }
        }
        None => match (version, authority) {
            (Version::HTTP_2 | Version::HTTP_10, Some(authority)) => check_host(authority)?,
            (Version::HTTP_10, None) => {}
            _ => return Err(Refusal::BadRequest),
        },
    }
    survey.coding.map_or(Ok(()), check_coding)
}

/// `chunked` (RFC 9112 sections 6.1 and 6.3): it must be the last one, and the others are not implemented here.
fn check_coding(field: &[u8]) -> Result<(), Refusal> {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut codings = field.rsplit(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let ends_in_chunked = codings.next().is_some_and(is_chunked);
    let mut others = codings.peekable();
    match (ends_in_chunked, others.peek().is_some()) {
        (true, false) => Ok(()),
        (true, true) if !others.any(is_chunked) => Err(Refusal::UnknownCoding),
        _ => Err(Refusal::BadRequest),
    }
}

fn check_target(method: &Method, uri: &Uri, extended: bool, limits: &Limits) -> Result<(), Refusal> {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    if target.len() > limits.target_bytes {
        return Err(Refusal::TargetTooLong);
    }
    let well_formed = if *method == Method::CONNECT && !extended {
        uri.authority().is_some_and(|authority| authority.port().is_some())
            && uri.scheme().is_none()
            && target.is_empty()
    } else if target == "*" {
        *method == Method::OPTIONS
    } else {
        // An authority alone is no target but CONNECT's. Behind one the path may be empty (RFC 3986 section 3.3).
        target.starts_with('/') || (target.starts_with('?') && uri.authority().is_some())
    };
    if !well_formed || target.bytes().any(|byte| !(0x21..0x7f).contains(&byte)) {
        return Err(Refusal::BadRequest);
    }
    Ok(())
}

/// Of a host that is remembered.
const HOST_BYTES: usize = 256;

thread_local! {
    /// The host that was right last: most requests name it again.
    static HOST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2), without user information, not empty.
fn check_host(host: &[u8]) -> Result<(), Refusal> {
    // A thread that ends remembers none.
    if !host.is_empty() && HOST.try_with(|known| *known.borrow() == host) == Ok(true) {
        return Ok(());
    }
    check_new_host(host)?;
    if host.len() <= HOST_BYTES {
        let _ = HOST.try_with(|known| host.clone_into(&mut known.borrow_mut()));
    }
    Ok(())
}

fn check_new_host(host: &[u8]) -> Result<(), Refusal> {
    let (name, port) = match host {
        [b'[', ..] => {
            let end = host.iter().position(|&byte| byte == b']').ok_or(Refusal::BadRequest)?;
            let (name, rest) = host.split_at(end + 1);
            let address = std::str::from_utf8(&name[1..end]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
            address.ok_or(Refusal::BadRequest)?;
            (name, rest)
        }
        _ => {
            // A colon is none of the name's characters: what is left begins with it, or is no port.
            host.split_at(host.iter().position(|&byte| !REG_NAME[usize::from(byte)]).unwrap_or(host.len()))
        }
    };
    let port_is_right = match port {
        [] => true,
        // There may be no digits.
        [b':', digits @ ..] => {
            let port = digits.iter().try_fold(0u16, |port, digit| match digit {
                b'0'..=b'9' => port.checked_mul(10)?.checked_add(u16::from(digit - b'0')),
                _ => None,
            });
            port.is_some()
        }
        _ => false,
    };
    if name.is_empty() || !port_is_right { Err(Refusal::BadRequest) } else { Ok(()) }
}

/// unreserved / pct-encoded / sub-delims (RFC 3986 section 3.2.2).
const REG_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~%!$&'()*+,;=";
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn text(fields: &[(&str, &str)]) -> Vec<u8> {
        fields.iter().flat_map(|(name, value)| format!("{name}\0{value}\0").into_bytes()).collect()
    }

    fn verdict(method: &str, target: &str, fields: &[(&str, &str)]) -> Result<(), Refusal> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::ProtocolError)?;
        let uri = target.parse().map_err(|_| Refusal::ProtocolError)?;
        let limits = Limits { target_bytes: 40, ..Limits::default() };
        check(&method, &uri, Version::HTTP_11, &Survey::of_text(&text(fields)), false, &limits)
    }

    #[test]
    fn hosts() {
        for good in
            ["a", "a.b:80", "127.0.0.1:8080", "[::1]", "[::1]:443", "[::ffff:1.2.3.4]", "xn--a-ecp.ru", "a_b", "a:"]
        {
            // Also when it is known, and no other is taken for it.
            for _ in 0..2 {
                assert_eq!(verdict("GET", "/", &[("host", good)]), Ok(()), "{good}");
                assert_eq!(verdict("GET", "/", &[("host", &format!("{good} "))]), Err(Refusal::BadRequest), "{good}");
            }
        }
        for bad in [
            "",
            "[]",
            "[:]",
            "[1.2.3.4]",
            "user@a",
            "a/b",
            "a b",
            "a:x",
            "[::1",
            "[::1]x",
            "a:123456",
            "a:65536",
            "a:+1",
            "a:-1",
            ":80",
            "[a%b]",
        ] {
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
        for other in ["*", "a", "a:80"] {
            assert_eq!(verdict("GET", other, &[("host", other)]), Err(Refusal::BadRequest), "{other}");
            assert_eq!(verdict("GET", other, &host), Err(Refusal::BadRequest), "{other}");
        }
        // The path of an absolute target may be empty.
        for empty in ["http://a", "http://a?", "http://a?x=/"] {
            assert_eq!(verdict("GET", empty, &host), Ok(()), "{empty}");
        }
        assert_eq!(verdict("CONNECT", "a:1", &[("host", "a:1")]), Ok(()));
        for bad in ["/x", "a", "u@a:1", ":1", "http://a:1/"] {
            assert_eq!(verdict("CONNECT", bad, &host), Err(Refusal::BadRequest), "{bad}");
        }
        assert_eq!(verdict("GET", "/\u{e9}", &host), Err(Refusal::BadRequest));
        assert_eq!(verdict("GET", &format!("/{}", "x".repeat(40)), &host), Err(Refusal::TargetTooLong));
        assert_eq!(verdict(&"X".repeat(METHOD_BYTES), "/", &host), Ok(()));
        assert_eq!(verdict(&"X".repeat(METHOD_BYTES + 1), "/", &host), Err(Refusal::MethodTooLong));
    }

    #[test]
    fn codings() {
        let with = |value| verdict("POST", "/", &[("host", "a"), ("transfer-encoding", value)]);
        assert_eq!(with("Chunked"), Ok(()));
        assert_eq!(with("gzip, chunked"), Err(Refusal::UnknownCoding));
        for bad in [
            "",
            "gzip",
            "chunked, gzip",
            "xchunked",
            "chunked;a=b",
            "chunked,",
            "chunked, chunked",
            "chunked, gzip, chunked",
        ] {
            assert_eq!(with(bad), Err(Refusal::BadRequest), "{bad}");
        }
        let twice = [("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        assert_eq!(verdict("POST", "/", &twice), Err(Refusal::BadRequest));
    }
}
