//! Heads of responses, and which responses are let out.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header, response::Parts};

use crate::{
    error::{Code, Error},
    event::Upgrade,
    fields::ResponseFields,
};

/// The head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status: 200 to 599. What leaves HTTP has 101 on an h1 Upgrade whatever is said here, and after CONNECT the 2xx that is
    /// said, else 200.
    pub status: StatusCode,
    /// The header fields. Date is added, and Content-Length when the body is given whole.
    pub headers: ResponseFields,
}

/// Fails with `InvalidHeader` for fields that only the server may send.
impl TryFrom<Parts> for ResponseHead {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self, Error> {
        Ok(Self { status: parts.status, headers: parts.headers.try_into()? })
    }
}

/// The answer has no body whatever its fields say (RFC 9110 sections 9.3.2, 15.3.5, 15.4.5).
pub(crate) fn bodiless(status: StatusCode, head_request: bool) -> bool {
    head_request || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// A 2xx to CONNECT begins a tunnel (RFC 9110 section 9.3.6), which only `upgrade` does.
pub(crate) fn check_no_tunnel(status: StatusCode, upgrade: Option<&Upgrade>) -> Result<(), Error> {
    match upgrade {
        Some(Upgrade::Connect | Upgrade::Extended(_)) if status.is_success() => {
            Err(Error::new(Code::InvalidStatus, "a 2xx to CONNECT begins a tunnel: that is `upgrade`"))
        }
        _ => Ok(()),
    }
}

/// Checks a final head; the declared Content-Length comes back.
pub(crate) fn check_final(head: &ResponseHead) -> Result<Option<u64>, Error> {
    if !(200..600).contains(&head.status.as_u16()) {
        return Err(Error::new(Code::InvalidStatus, format!("{} is no final status", head.status.as_u16())));
    }
    Ok(head.headers.said.length)
}

/// Checks a head that comes with its whole body; the Content-Length that the head is to tell comes back.
pub(crate) fn check_whole(head: &ResponseHead, body: &Bytes, bodiless: bool) -> Result<Option<u64>, Error> {
    let length = body.len() as u64;
    match check_final(head)? {
        Some(declared) if !bodiless && declared != length => Err(Error::new(
            Code::BodyLengthMismatch,
            format!("the body has {length} bytes, its content-length is {declared}"),
        )),
        declared => Ok(match head.status {
            StatusCode::NO_CONTENT => None,
            // It is that of the answer to a plain GET: not known, unless it was said, or a body was given to say it.
            _ if bodiless => declared.or((length > 0).then_some(length)),
            _ => Some(declared.unwrap_or(length)),
        }),
    }
}

/// The trailer section, if there is one. Fields that say where a message ends, where it goes or how it is to be taken come
/// too late.
pub(crate) fn trailers(trailers: Option<HeaderMap>) -> Result<Option<HeaderMap>, Error> {
    const HEAD_ONLY: [HeaderName; 12] = [
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::HOST,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    let Some(trailers) = trailers.filter(|trailers| !trailers.is_empty()) else { return Ok(None) };
    match HEAD_ONLY.iter().find(|name| trailers.contains_key(*name)) {
        Some(name) => Err(Error::new(Code::InvalidHeader, format!("{name} may not stand in a trailer section"))),
        None => Ok(Some(trailers)),
    }
}

/// Checks an interim status (RFC 9110 section 15.2); 101 goes through `upgrade`.
pub(crate) fn check_interim(status: StatusCode) -> Result<(), Error> {
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        Ok(())
    } else {
        Err(Error::new(Code::InvalidStatus, format!("{} is no interim status", status.as_u16())))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn trailers_say_nothing_that_a_head_must() {
        let with = |name| HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static("1"))]);
        assert!(matches!(trailers(Some(with("x-sum"))), Ok(Some(_))));
        assert!(matches!(trailers(Some(HeaderMap::new())), Ok(None)));
        for name in ["content-length", "transfer-encoding", "te", "host", "upgrade", "keep-alive", "proxy-connection"] {
            let code = trailers(Some(with(name))).err().map(|error| error.code());
            assert_eq!(code, Some(Code::InvalidHeader), "{name}");
        }
    }
}
