//! Methods and field names that cross as numbers.

use http::{
    Method,
    header::{self, HeaderName},
};

/// Methods by number, from 1. Number 0 says that the name stands in the head text.
pub const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The number of a method, or 0.
pub fn method_number(method: &Method) -> u32 {
    match *method {
        Method::GET => 1,
        Method::HEAD => 2,
        Method::POST => 3,
        Method::PUT => 4,
        Method::DELETE => 5,
        Method::CONNECT => 6,
        Method::OPTIONS => 7,
        Method::TRACE => 8,
        Method::PATCH => 9,
        _ => 0,
    }
}

/// Response field names by number, from 0: the usual ones, so that they need no check and no copy.
pub static HEADER_NAMES: [HeaderName; 22] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CACHE_CONTROL,
    header::DATE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::SET_COOKIE,
    header::VARY,
    header::SERVER,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_DISPOSITION,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::EXPIRES,
    header::LINK,
    header::ALLOW,
    header::RETRY_AFTER,
    header::AGE,
    header::UPGRADE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_numbers_are_the_table() {
        assert_eq!(method_number(&Method::from_bytes(b"BREW").unwrap_or_default()), 0);
        for (index, name) in METHODS.iter().enumerate() {
            let method = Method::from_bytes(name.as_bytes()).unwrap_or_default();
            assert_eq!(method_number(&method), index as u32 + 1);
        }
    }
}
