//! Which responses are let out.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::error::{Code, Error};

/// The head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status: 200 to 599, or 100 to 199 but 101 for `inform`.
    pub status: StatusCode,
    /// The header fields. Date is added, and Content-Length when the body is given whole.
    pub headers: HeaderMap,
}

/// The answer has no body whatever its fields say (RFC 9110 sections 9.3.2, 15.3.5, 15.4.5).
pub(crate) fn bodiless(status: StatusCode, head_request: bool) -> bool {
    head_request || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Checks a final head; the declared Content-Length comes back.
pub(crate) fn check_final(head: &ResponseHead) -> Result<Option<u64>, Error> {
    if !(200..600).contains(&head.status.as_u16()) {
        return Err(Error::new(Code::InvalidStatus, format!("{} is no final status", head.status.as_u16())));
    }
    if head.headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Error::new(Code::InvalidHeader, "transfer-encoding is set by the server"));
    }
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(None) };
    let digits = length.as_bytes();
    let value = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (value.and_then(|text| text.parse().ok()), lengths.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(Error::new(Code::InvalidHeader, "content-length must be one decimal number")),
    }
}

/// Checks a head that comes with its whole body.
pub(crate) fn check_whole(head: &ResponseHead, body: &Bytes, bodiless: bool) -> Result<(), Error> {
    match check_final(head)? {
        Some(declared) if !bodiless && declared != body.len() as u64 => Err(Error::new(
            Code::BodyLengthMismatch,
            format!("the body has {} bytes, its content-length is {declared}", body.len()),
        )),
        _ => Ok(()),
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

/// Fields that speak of one h1 connection and may not be sent on h2 (RFC 9113 section 8.2.2).
pub(crate) fn strip_connection_fields(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<_> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| header::HeaderName::from_bytes(name.trim().as_bytes()).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    for name in ["keep-alive", "proxy-connection"] {
        headers.remove(name);
    }
    headers.remove(header::UPGRADE);
}

/// A Content-Length value.
pub(crate) fn length_value(length: usize) -> HeaderValue {
    HeaderValue::from(length)
}
