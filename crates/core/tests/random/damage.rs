//! What happens to bytes on their way.

use std::fmt::{self, Debug, Formatter};

use proptest::{prelude::*, sample::Index};

/// Bytes that a report can show.
#[derive(Clone)]
pub struct Text(pub Vec<u8>);

impl Debug for Text {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// What goes wrong with bytes on their way.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let words = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\0".to_vec()),
        Just(b" ".to_vec()),
        Just(b":".to_vec()),
        Just(b"content-length: 5\r\n".to_vec()),
        Just(b"transfer-encoding: chunked\r\n".to_vec()),
        Just(b"ffffffffffffffff".to_vec()),
        Just(vec![b'z'; 2000]),
        prop::collection::vec(any::<u8>(), 1..5),
    ];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        (any::<Index>(), words).prop_map(|(at, word)| Damage::Insert(at, word)),
        (any::<Index>(), 1..20usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<Index>(), 1..20usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
    ]
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let range = |at: Index, length: usize| {
            let start = at.index(bytes.len());
            start..(start + length).min(bytes.len())
        };
        match self {
            Self::Flip(at, bits) => {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Self::Insert(at, word) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, word);
            }
            Self::Remove(at, length) => drop(bytes.drain(range(at, length))),
            Self::Repeat(at, length) => {
                let range = range(at, length);
                let (end, part) = (range.end, bytes[range].to_vec());
                bytes.splice(end..end, part);
            }
        }
    }
}

/// Several of them.
#[derive(Clone, Debug)]
pub struct Damages(Vec<Damage>);

impl Damages {
    pub fn apply(self, mut bytes: Vec<u8>) -> Text {
        self.0.into_iter().for_each(|damage| damage.apply(&mut bytes));
        Text(bytes)
    }
}

/// None, or with this probability some.
pub fn damages(probability: f64) -> impl Strategy<Value = Damages> {
    let some = prop::collection::vec(damage(), 1..4);
    prop::option::weighted(probability, some).prop_map(|some| Damages(some.unwrap_or_default()))
}
