//! Memory that the connections of a thread use by turns, so that one that waits holds none.
//!
//! Hot: once or twice a request.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    mem,
    thread::LocalKey,
};

use bytes::{Bytes, BytesMut};

/// Bytes of a read buffer.
const BUFFER_BYTES: usize = 8 << 10;
/// A buffer with less room than this is made larger before it is read into.
const LEAST_READ: usize = 2 << 10;
/// Texts kept: those of a turn's requests on h2, which become those of their responses, and what goes out.
const TEXTS: usize = 128;
/// A text with more room than this is not kept.
pub(crate) const TEXT_BYTES: usize = 4 << 10;
/// Bytes of the memory that small pieces share.
const SHARED_BYTES: usize = 4 << 10;
/// Buffers kept that chunks were cut from: as many as one body may have on their way to who takes them.
const CUT: usize = 12;

thread_local! {
    static BUFFER: Cell<Option<BytesMut>> = const { Cell::new(None) };
    static CUT_UP: RefCell<VecDeque<BytesMut>> = const { RefCell::new(VecDeque::new()) };
    static SHARED: Cell<BytesMut> = Cell::default();
    static TEXT: Pool<Vec<u8>> = const { Pool::new(TEXTS) };
}

/// What was given back, to be used again. A thread that ends keeps none.
pub(crate) struct Pool<T: 'static> {
    most: usize,
    spare: RefCell<Vec<T>>,
}

impl<T> Pool<T> {
    /// Keeps at most so many.
    pub(crate) const fn new(most: usize) -> Self {
        Self { most, spare: RefCell::new(Vec::new()) }
    }

    pub(crate) fn take(pool: &'static LocalKey<Self>) -> Option<T> {
        pool.try_with(|pool| pool.spare.borrow_mut().pop()).ok().flatten()
    }

    pub(crate) fn give(pool: &'static LocalKey<Self>, thing: T) {
        let _ = pool.try_with(|pool| {
            let mut spare = pool.spare.borrow_mut();
            if spare.len() < pool.most {
                spare.push(thing);
            }
        });
    }
}

/// Makes room to read into.
pub(crate) fn lend(buffer: &mut BytesMut) {
    if buffer.capacity() - buffer.len() >= LEAST_READ {
        return;
    }
    if buffer.is_empty()
        && let Ok(Some(spare)) = BUFFER.try_with(Cell::take)
    {
        *buffer = spare;
    }
    if buffer.capacity() - buffer.len() < LEAST_READ {
        buffer.reserve(BUFFER_BYTES);
    }
}

/// Takes the room back that nothing was read into: a few bytes that wait keep no more than their own length.
pub(crate) fn settle(buffer: &mut BytesMut) {
    if buffer.capacity() == 0 || buffer.len() * 4 > buffer.capacity() {
        return;
    }
    let rest = if buffer.is_empty() { BytesMut::new() } else { BytesMut::from(&buffer[..]) };
    let mut spare = mem::replace(buffer, rest);
    spare.clear();
    // A thread that ends keeps none.
    let _ = BUFFER.try_with(|cell| cell.set(Some(spare)));
}

/// Gives `buffer`, of which all has been cut off, room for `bytes`: that of a buffer before it whose chunks have all been dropped, if
/// there is one. What goes to and fro between threads would else be given back to the system on one of them, and asked for on the other.
pub(crate) fn renew(buffer: &mut BytesMut, bytes: usize) {
    // A thread that ends keeps none.
    let _ = CUT_UP.try_with(|cut_up| {
        let mut cut_up = cut_up.borrow_mut();
        cut_up.push_back(mem::take(buffer));
        let free = cut_up.iter_mut().position(|buffer| buffer.try_reclaim(bytes));
        if let Some(free) = free.and_then(|free| cut_up.remove(free)) {
            *buffer = free;
        } else if cut_up.len() > CUT {
            cut_up.pop_front();
        }
    });
    buffer.reserve(bytes);
}

/// Copies a text, to be kept in slices. Small ones lie side by side: one that is kept for long holds no more than that.
pub(crate) fn keep(text: &[u8]) -> Bytes {
    if text.len() > SHARED_BYTES / 4 {
        return Bytes::copy_from_slice(text);
    }
    let copied = SHARED.try_with(|cell| {
        let mut shared = cell.take();
        if shared.capacity() < text.len() {
            // All of it again, if nobody keeps any.
            shared.reserve(SHARED_BYTES);
        }
        shared.extend_from_slice(text);
        let copy = shared.split().freeze();
        cell.set(shared);
        copy
    });
    copied.unwrap_or_else(|_| Bytes::copy_from_slice(text))
}

/// An empty text, with room in it if there is one.
pub(crate) fn text() -> Vec<u8> {
    Pool::take(&TEXT).unwrap_or_default()
}

/// Takes a text back, to be used again.
pub(crate) fn recycle_text(mut text: Vec<u8>) {
    if text.capacity() == 0 || text.capacity() > TEXT_BYTES {
        return;
    }
    text.clear();
    Pool::give(&TEXT, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_all_that_was_cut_off_it_has_been_dropped() {
        const BYTES: usize = 1 << 16;
        let mut buffer = BytesMut::new();
        let mut cut = || {
            renew(&mut buffer, BYTES);
            let begin = buffer.as_ptr();
            buffer.resize(buffer.capacity(), b'x');
            (begin, buffer.split().freeze())
        };
        let (first, mut chunk) = cut();
        let half = chunk.split_off(BYTES / 2);
        drop(chunk);
        let (second, _kept) = cut();
        assert_ne!(first, second, "half of it is somebody's still");
        drop(half);
        assert_eq!(cut().0, first);
        for _ in 0..2 * CUT {
            assert_ne!(cut().0, second);
        }
    }

    #[test]
    fn what_waits_holds_no_more_than_it_needs() {
        let mut buffer = BytesMut::new();
        lend(&mut buffer);
        assert!(buffer.capacity() >= BUFFER_BYTES);
        buffer.extend_from_slice(b"GET /");
        settle(&mut buffer);
        assert_eq!((&buffer[..], buffer.capacity()), (&b"GET /"[..], 5));
        lend(&mut buffer);
        assert!(buffer.capacity() - buffer.len() >= LEAST_READ);
        buffer.clear();
        settle(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
    }
}
