//! The Date field (RFC 9110 section 6.6.1), made once a second and thread.
//!
//! Hot: once an answer. The system's clock is read when a second has passed by the monotonic one, which the caller has read.

use std::{
    cell::RefCell,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Bytes of the field's name.
pub(crate) const NAME_BYTES: usize = "date".len();

/// Its line, and until when it is right.
struct Date {
    until: Option<Instant>,
    line: String,
}

thread_local! {
    static DATE: RefCell<Date> = const { RefCell::new(Date { until: None, line: String::new() }) };
}

/// Shows `date: ` and the date of `now`.
pub(crate) fn with<T>(now: Instant, show: impl FnOnce(&[u8]) -> T) -> T {
    DATE.with_borrow_mut(|date| {
        if date.until.is_none_or(|until| now >= until) {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
            let second = Duration::from_secs(since_epoch.as_secs());
            date.line = line_of(second);
            date.until = Some(now + (second + Duration::from_secs(1) - since_epoch));
        }
        show(date.line.as_bytes())
    })
}

fn line_of(second: Duration) -> String {
    format!("date: {}", httpdate::fmt_http_date(UNIX_EPOCH + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_date() {
        let text = "date: Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(line_of(Duration::from_secs(784_111_777)), text);
        assert_eq!(&with(Instant::now(), <[u8]>::to_vec)[..NAME_BYTES + 2], b"date: ");
        DATE.with_borrow_mut(|date| date.line.push('x'));
        let now = Instant::now();
        assert_eq!(with(now, <[u8]>::len), text.len() + 1, "within the second");
        assert_eq!(with(now + Duration::from_secs(1), <[u8]>::len), text.len(), "behind it");
    }
}
