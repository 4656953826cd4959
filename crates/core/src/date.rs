//! The Date field (RFC 9110 section 6.6.1), made once a second and thread.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Bytes of the field's name.
pub(crate) const NAME_BYTES: usize = "date".len();

thread_local! {
    static LINE: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// Shows `date: ` and the present date.
pub(crate) fn with<T>(show: impl FnOnce(&[u8]) -> T) -> T {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    LINE.with_borrow_mut(|(made, line)| {
        if *made != second {
            *made = second;
            *line = line_of(second);
        }
        show(line.as_bytes())
    })
}

fn line_of(second: u64) -> String {
    format!("date: {}", httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_date() {
        assert_eq!(line_of(784_111_777), "date: Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&with(<[u8]>::to_vec)[..NAME_BYTES + 2], b"date: ");
    }
}
