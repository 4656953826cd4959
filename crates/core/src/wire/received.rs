//! Body bytes that have come and the caller has not pulled.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut, buf::Limit};

use crate::io::room;

/// Pieces shorter than this are copied together; longer ones are kept as they came.
const COALESCE_BELOW: usize = 1 << 10;
/// Less room than this is not worth a read.
const LEAST_SPACE: usize = 16 << 10;

/// Bytes in the order in which they came, taken a chunk at a time.
#[derive(Default, Debug)]
pub(super) struct Received {
    chunks: VecDeque<Bytes>,
    /// Short pieces, copied together: many small ones must not pin many large read buffers.
    tail: BytesMut,
    length: usize,
}

impl Received {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn push(&mut self, data: Bytes) {
        if data.len() < COALESCE_BELOW {
            return self.copy(&data);
        }
        self.length += data.len();
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
        self.chunks.push_back(data);
    }

    pub(super) fn copy(&mut self, data: &[u8]) {
        self.length += data.len();
        self.tail.extend_from_slice(data);
    }

    /// Room for at most `bytes` more behind what has come, to be read into. What was read is counted by `grown`.
    pub(super) fn space(&mut self, bytes: usize) -> Limit<&mut BytesMut> {
        let room = self.tail.capacity() - self.tail.len();
        // No room is made while there is some, for that would move what is there.
        if room < bytes.min(LEAST_SPACE) {
            if self.tail.is_empty() {
                room::renew(&mut self.tail, bytes);
            } else {
                self.tail.reserve(bytes);
            }
        }
        let room = self.tail.capacity() - self.tail.len();
        (&mut self.tail).limit(bytes.min(room))
    }

    /// So many bytes were read into the space.
    pub(super) fn grown(&mut self, bytes: usize) {
        self.length += bytes;
    }

    /// At most `max` bytes; several pieces become one chunk, so that it is worth its crossing.
    pub(super) fn take(&mut self, max: usize) -> Bytes {
        let Some(front) = self.chunks.front_mut() else {
            let bytes = self.tail.split_to(max.min(self.tail.len())).freeze();
            self.length -= bytes.len();
            return bytes;
        };
        if front.len() >= max || self.length == front.len() {
            let bytes = front.split_to(max.min(front.len()));
            if front.is_empty() {
                self.chunks.pop_front();
            }
            self.length -= bytes.len();
            return bytes;
        }
        let mut bytes = BytesMut::with_capacity(max.min(self.length));
        while let Some(front) = self.chunks.front_mut() {
            let take = (max - bytes.len()).min(front.len());
            bytes.extend_from_slice(&front[..take]);
            front.advance(take);
            if !front.is_empty() {
                break;
            }
            self.chunks.pop_front();
        }
        let take = (max - bytes.len()).min(self.tail.len());
        bytes.extend_from_slice(&self.tail.split_to(take));
        self.length -= bytes.len();
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_in_chunks_of_any_size() {
        let bytes: Vec<u8> = (0..20_000u32).map(|number| number as u8).collect();
        for max in [1, 7, 1000, 5000, 1 << 20] {
            let mut received = Received::default();
            let mut rest = Bytes::from(bytes.clone());
            for length in [1, 3000, 2, 500, 1024, 9000, 1, 1] {
                received.push(rest.split_to(length));
            }
            received.push(rest);
            let mut seen = Vec::new();
            while !received.is_empty() {
                let chunk = received.take(max);
                assert!(!chunk.is_empty() && chunk.len() <= max);
                seen.extend_from_slice(&chunk);
            }
            assert_eq!(seen, bytes, "chunks of {max}");
        }
    }
}
