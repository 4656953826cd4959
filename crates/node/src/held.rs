//! Requests that wait for a place at the gate, in the order in which they came.

use std::collections::BTreeMap;

use hyperpull::Key;

/// What JavaScript has never heard of. Whatever ends one, or a connection's, costs no look at the others: a peer may have many.
pub struct HeldRequests<R> {
    /// Those that wait, the oldest first.
    waiting: BTreeMap<u64, (Key, R)>,
    /// The number of each in `waiting`. One that is not there is to be forgotten, and not to be delivered.
    numbers: BTreeMap<Key, u64>,
    next: u64,
}

impl<R> Default for HeldRequests<R> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), numbers: BTreeMap::new(), next: 0 }
    }
}

impl<R> HeldRequests<R> {
    /// Nothing waits for a place.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The newest: it waits.
    pub fn push(&mut self, key: Key, request: R) {
        self.waiting.insert(self.next, (key, request));
        self.withhold(key);
    }

    /// It cannot be delivered at all: its stream has been reset.
    pub fn withhold(&mut self, key: Key) {
        self.numbers.insert(key, self.next);
        self.next += 1;
    }

    /// Takes the oldest that waits.
    pub fn pop(&mut self) -> Option<(Key, R)> {
        let (_, (key, request)) = self.waiting.pop_first()?;
        self.numbers.remove(&key);
        Some((key, request))
    }

    /// Its exchange is over. False: it is none of these.
    pub fn forget(&mut self, key: Key) -> bool {
        let Some(number) = self.numbers.remove(&key) else { return false };
        self.waiting.remove(&number);
        true
    }

    /// So are all of a connection's.
    pub fn forget_connection(&mut self, connection: u32) {
        let all = Key { connection, stream: 0, sequence: 0 }..=Key { connection, stream: u32::MAX, sequence: u32::MAX };
        while let Some((&key, &number)) = self.numbers.range(all.clone()).next() {
            self.numbers.remove(&key);
            self.waiting.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(connection: u32, stream: u32) -> Key {
        Key { connection, stream, sequence: 0 }
    }

    #[test]
    fn the_oldest_comes_first_and_what_was_forgotten_never() {
        let mut held = HeldRequests::default();
        for (connection, stream) in [(2, 1), (1, 1), (2, 3), (1, 3), (3, 1)] {
            held.push(key(connection, stream), ());
        }
        held.withhold(key(1, 5));
        assert!(held.forget(key(1, 1)) && !held.forget(key(1, 1)));
        held.forget_connection(2);
        assert_eq!(held.pop().map(|(key, _)| key), Some(key(1, 3)));
        assert!(!held.is_empty() && !held.forget(key(1, 3)));
        assert_eq!(held.pop().map(|(key, _)| key), Some(key(3, 1)));
        assert!(held.is_empty() && held.pop().is_none());
        assert!(held.forget(key(1, 5)), "it was withheld");
    }
}
