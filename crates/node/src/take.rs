//! Taking: event records move from the mailbox into the memory that JavaScript reads.
//!
//! Hot: two copies per batch in the usual case, in which all of it fits.

use std::{mem, ops::Range};

use bytes::Bytes;

use crate::{
    batch::{Batch, extent},
    kinds::EVENT_WORDS,
    kinds::EventKind,
    mailbox::Outlet,
};

/// What has been swapped out of the mailbox and not yet been taken. Lives on the JavaScript thread.
#[derive(Default)]
pub struct Staging {
    batch: Batch,
    /// Words, bytes and blobs of `batch` that JavaScript has.
    taken: Extent,
    /// The blobs of the last take.
    blobs: Range<usize>,
}

#[derive(Clone, Copy, Default)]
struct Extent {
    words: usize,
    bytes: usize,
    blobs: usize,
}

impl Staging {
    /// Fills the memory with whole records; how many there are comes back. Zero: there was nothing in the mailbox.
    pub fn take(&mut self, outlet: &Outlet, events: &mut [u32], event_bytes: &mut [u8], stats: &mut [f64]) -> usize {
        if !self.has_more() {
            self.batch.clear();
            self.taken = Extent::default();
            outlet.take(&mut self.batch, stats);
        }
        let from = self.taken;
        let to = self.fitting(events.len(), event_bytes.len());
        if let (Some(records), Some(room)) =
            (self.batch.records.get(from.words..to.words), events.get_mut(..to.words - from.words))
        {
            room.copy_from_slice(records);
        }
        if let (Some(bytes), Some(room)) =
            (self.batch.bytes.get(from.bytes..to.bytes), event_bytes.get_mut(..to.bytes - from.bytes))
        {
            room.copy_from_slice(bytes);
        }
        self.blobs = from.blobs..to.blobs;
        self.taken = to;
        (to.words - from.words) / EVENT_WORDS
    }

    /// Up to where the rest of the batch fits into `words` and `bytes`.
    fn fitting(&self, words: usize, bytes: usize) -> Extent {
        let from = self.taken;
        let all =
            Extent { words: self.batch.records.len(), bytes: self.batch.bytes.len(), blobs: self.batch.blobs.len() };
        if all.words - from.words <= words && all.bytes - from.bytes <= bytes {
            return all;
        }
        let mut to = from;
        for record in self.batch.records.get(from.words..).unwrap_or_default().chunks_exact(EVENT_WORDS) {
            let (more_bytes, more_blobs) = extent(record);
            let next =
                Extent { words: to.words + EVENT_WORDS, bytes: to.bytes + more_bytes, blobs: to.blobs + more_blobs };
            if next.words - from.words > words || next.bytes - from.bytes > bytes {
                break;
            }
            to = next;
        }
        to
    }

    /// The blobs of the last take, once. The I/O loop reads into their memory again when they have been dropped.
    pub fn blobs(&mut self) -> impl ExactSizeIterator<Item = Bytes> {
        let blobs = mem::take(&mut self.blobs);
        self.batch.blobs.get_mut(blobs).unwrap_or_default().iter_mut().map(mem::take)
    }

    /// What was in the mailbox has not all been taken.
    pub fn has_more(&self) -> bool {
        self.taken.words < self.batch.records.len()
    }

    /// The loop's last event has been taken: there will be no more.
    pub fn stopped(&self) -> bool {
        !self.has_more() && self.batch.ends_with(EventKind::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use hyperpull::Key;

    use super::*;
    use crate::{
        batch::{CAPACITY_MIN, Clock, Outbox},
        kinds::BLOB,
        stats::{STATS_WORDS, Stats},
    };

    const KEY: Key = Key { connection: 1, stream: 2, sequence: 3 };

    fn outlet(fill: impl FnOnce(&mut Outbox)) -> Outlet {
        let mut outbox = Outbox::new(Clock::starting(0.0), CAPACITY_MIN);
        fill(&mut outbox);
        let outlet = Outlet::default();
        outlet.publish(&mut outbox.batch, &Stats::default());
        outlet
    }

    fn take(staging: &mut Staging, outlet: &Outlet, words: usize) -> (usize, Vec<u32>, Vec<u8>) {
        let (mut events, mut bytes) = (vec![0; words], vec![0; CAPACITY_MIN]);
        let count = staging.take(outlet, &mut events, &mut bytes, &mut [0.0; STATS_WORDS]);
        (count, events, bytes)
    }

    #[test]
    fn a_batch_larger_than_the_memory_is_taken_in_pieces() {
        let outlet = outlet(|outbox| {
            outbox.chunk(KEY, Bytes::from(vec![b'a'; 3000]), false);
            outbox.chunk(KEY, Bytes::from(vec![b'b'; 3000]), false);
            outbox.upgraded(KEY, "echo");
            outbox.stopped();
        });
        let mut staging = Staging::default();
        let (count, events, bytes) = take(&mut staging, &outlet, 100);
        assert_eq!((count, events[8], bytes[2999], staging.has_more()), (1, 3000, b'a', true));
        let (count, events, bytes) = take(&mut staging, &outlet, 24);
        assert_eq!((count, events[12], bytes[0], staging.stopped()), (2, EventKind::Upgraded.number(), b'b', false));
        assert_eq!(take(&mut staging, &outlet, 24).0, 1);
        assert!(staging.stopped() && !staging.has_more());
        assert_eq!(take(&mut staging, &outlet, 24).0, 0);
    }

    #[test]
    fn large_chunks_are_blobs_in_record_order() {
        let outlet = outlet(|outbox| {
            outbox.chunk(KEY, Bytes::from(vec![b'a'; CAPACITY_MIN + 1]), false);
            outbox.chunk(KEY, Bytes::from_static(b"small"), false);
            outbox.chunk(KEY, Bytes::from(vec![b'c'; 100_000]), false);
        });
        let mut staging = Staging::default();
        let (count, events, _) = take(&mut staging, &outlet, 24);
        assert_eq!((count, events[8], events[20]), (2, BLOB, 5));
        let lengths: Vec<_> = staging.blobs().map(|blob| blob.len()).collect();
        assert_eq!(lengths, [CAPACITY_MIN + 1]);
        assert_eq!(staging.blobs().len(), 0);
        assert_eq!(take(&mut staging, &outlet, 24).0, 1);
        assert_eq!(staging.blobs().len(), 1);
    }

    #[test]
    fn no_room_at_all_takes_nothing() {
        let outlet = outlet(Outbox::stopped);
        assert_eq!(take(&mut Staging::default(), &outlet, 11).0, 0);
    }
}
