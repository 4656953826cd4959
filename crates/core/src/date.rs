//! The Date field (RFC 9110 section 6.6.1), made once a second and thread.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;

thread_local! {
    static DATE: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
}

/// Shows the present date.
pub(crate) fn with<T>(show: impl FnOnce(&HeaderValue) -> T) -> T {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    DATE.with_borrow_mut(|date| match date {
        Some((made, value)) if *made == second => show(value),
        _ => show(&date.insert((second, value_of(second))).1),
    })
}

fn value_of(second: u64) -> HeaderValue {
    HeaderValue::try_from(httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second)))
        .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_date() {
        assert_eq!(value_of(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
