//! Fields in one text.
//!
//! Hot: all of it is gone through, eight bytes at a time.

/// A one in each byte of a word.
pub(super) const ONES: u64 = u64::from_le_bytes([1; 8]);

/// The fields of a text of `name NUL value NUL`.
pub(crate) fn pairs(mut text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || Some((until(&mut text, 0)?, until(&mut text, 0)?)))
}

/// The values of the fields of that name, which is in lower case as all names of the text are.
pub(crate) fn values<'a>(text: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    pairs(text).filter(move |(other, _)| *other == name).map(|(_, value)| value)
}

/// What stands before the next `byte`, taken from the front with it.
pub(super) fn until<'a>(rest: &mut &'a [u8], byte: u8) -> Option<&'a [u8]> {
    let (front, behind) = rest.split_at_checked(find(rest, byte)?)?;
    *rest = &behind[1..];
    Some(front)
}

/// Where the first `byte` is.
pub(super) fn find(text: &[u8], byte: u8) -> Option<usize> {
    let (words, rest) = text.as_chunks();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word) ^ (ONES * u64::from(byte));
        // The highest bit of each zero byte, up to the first of them at least.
        let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if zeros != 0 {
            return Some(at * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&other| other == byte).map(|at| words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_is_found_wherever_it_is() {
        for byte in [0, b':', b'\n', 0xff] {
            for length in 0..40 {
                assert_eq!(find(&vec![byte ^ 1; length], byte), None);
                for at in 0..length {
                    let text: Vec<u8> = (0..length).map(|i| if i < at { byte ^ 1 << (i % 8) } else { byte }).collect();
                    assert_eq!(find(&text, byte), Some(at));
                }
            }
        }
    }
}
