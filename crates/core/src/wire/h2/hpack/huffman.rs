//! The Huffman code of RFC 7541 section 5.2 and appendix B.
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols, behind all shorter ones. So the
//! lengths are all that there is to know, and the tables are made of them when the crate is compiled.

use super::Malformed;

/// Bits of the code of each byte (RFC 7541 appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
const SHORTEST: u32 = 5;
const LONGEST: usize = 30;
/// Bits that are looked up at once: those of nearly all that is written in field values.
const FAST_BITS: u32 = 8;

struct Tables {
    /// The code of each byte, at the low end.
    codes: [u32; 256],
    /// Bytes in the order of their codes.
    order: [u8; 256],
    /// Of each length: the first code behind those of this length, at the high end of 32 bits.
    ends: [u32; LONGEST + 1],
    /// Of each length: what is to be added to a code of it, to find its place in `order`.
    offsets: [u32; LONGEST + 1],
    /// Byte and length of the code that the bits begin with, if it is no longer than they are.
    fast: [(u8, u8); 1 << FAST_BITS],
}

static TABLES: Tables = {
    let mut tables = Tables {
        codes: [0; 256],
        order: [0; 256],
        ends: [0; LONGEST + 1],
        offsets: [0; LONGEST + 1],
        fast: [(0, 0); 1 << FAST_BITS],
    };
    let (mut code, mut place, mut length) = (0u32, 0u32, 1);
    while length <= LONGEST {
        code <<= 1;
        tables.offsets[length] = place.wrapping_sub(code);
        let mut byte = 0;
        while byte < 256 {
            if LENGTHS[byte] as usize == length {
                tables.codes[byte] = code;
                tables.order[place as usize] = byte as u8;
                if length <= FAST_BITS as usize {
                    let spare = FAST_BITS as usize - length;
                    let mut bits = (code as usize) << spare;
                    while bits < (code as usize + 1) << spare {
                        tables.fast[bits] = (byte as u8, length as u8);
                        bits += 1;
                    }
                }
                code += 1;
                place += 1;
            }
            byte += 1;
        }
        tables.ends[length] = code << (32 - length);
        length += 1;
    }
    tables
};

/// Appends what `coded` stands for.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    // The shortest code has five bits.
    out.reserve(coded.len() * 8 / 5);
    let mut rest = coded.iter();
    // What is to be decoded next, from the high end.
    let (mut bits, mut have) = (0u64, 0u32);
    loop {
        while have <= 56
            && let Some(&byte) = rest.next()
        {
            bits |= u64::from(byte) << (56 - have);
            have += 8;
        }
        if have < SHORTEST {
            break;
        }
        let (mut byte, mut length) = TABLES.fast[(bits >> (64 - FAST_BITS)) as usize];
        if length == 0 {
            let word = (bits >> 32) as u32;
            let Some(found) = (FAST_BITS as usize + 1..=LONGEST).find(|&length| word < TABLES.ends[length]) else {
                // The rest of the code space is the end of the string, which is not to be sent, or the padding.
                break;
            };
            let place = (word >> (32 - found)).wrapping_add(TABLES.offsets[found]);
            byte = TABLES.order[place as usize & 0xff];
            length = found as u8;
        }
        if u32::from(length) > have {
            break;
        }
        out.push(byte);
        bits <<= length;
        have -= u32::from(length);
    }
    // Padding is shorter than a byte, and all ones: with ones behind it, there is no zero.
    if have < 8 && bits | u64::MAX >> have == u64::MAX { Ok(()) } else { Err(Malformed) }
}

/// Bytes of `text` in this code.
pub(super) fn length_of(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|&byte| usize::from(LENGTHS[usize::from(byte)])).sum();
    bits.div_ceil(8)
}

/// Appends `text` in this code.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut have) = (0u64, 0u32);
    for &byte in text {
        let length = u32::from(LENGTHS[usize::from(byte)]);
        bits |= u64::from(TABLES.codes[usize::from(byte)]) << (64 - have - length);
        have += length;
        while have >= 8 {
            out.push((bits >> 56) as u8);
            bits <<= 8;
            have -= 8;
        }
    }
    if have > 0 {
        out.push((bits >> 56) as u8 | 0xff >> have);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(text, &mut out);
        assert_eq!(out.len(), length_of(text));
        out
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7541 appendix C.4 and C.6.
        let host = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(coded(b"www.example.com"), host);
        assert_eq!(coded(b"no-cache"), [0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]);
        assert_eq!(coded(b"302"), [0x64, 0x02]);
    }

    #[test]
    fn every_byte_comes_back_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for around in 0..9 {
                let text = [&b"0aX&"[..around.min(4)], &[byte, byte], &b"~|zzz"[..around.min(5)]].concat();
                let mut out = Vec::new();
                assert!(decode(&coded(&text), &mut out).is_ok());
                assert_eq!(out, text);
            }
        }
    }

    #[test]
    fn padding_is_short_and_all_ones_and_the_end_of_string_is_not_sent() {
        let refused = |coded: &[u8]| decode(coded, &mut Vec::new()).is_err();
        // `a` is 00011.
        assert!(!refused(&[0b0001_1111]));
        assert!(refused(&[0b0001_1011]));
        assert!(refused(&[0b0001_1110]));
        assert!(refused(&[0b0001_1111, 0xff]));
        assert!(refused(&[0xff]));
        assert!(refused(&[0xff; 4]));
        assert!(!refused(&[]));
    }
}
