//! Memory that the connections of a thread use by turns, so that one that waits holds none.
//!
//! Hot: once or twice a request.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;
use http::HeaderMap;

/// Bytes of a read buffer.
const BUFFER_BYTES: usize = 8 << 10;
/// A buffer with less room than this is made larger before it is read into.
const LEAST_READ: usize = 2 << 10;
/// Header maps kept: those of a turn's requests on h2, which become those of their responses.
const MAPS: usize = 32;
/// Texts kept, likewise.
const TEXTS: usize = 3;
/// A text with more room than this is not kept.
const TEXT_BYTES: usize = 4 << 10;
/// A map with room for more fields than this is not kept.
const MAP_FIELDS: usize = 48;

thread_local! {
    static BUFFER: Cell<Option<BytesMut>> = const { Cell::new(None) };
    static HEADERS: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
    static TEXT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
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
    let mut spare = std::mem::replace(buffer, rest);
    spare.clear();
    // A thread that ends keeps none.
    let _ = BUFFER.try_with(|cell| cell.set(Some(spare)));
}

/// An empty header map, with room in it if there is one.
pub(crate) fn headers() -> HeaderMap {
    HEADERS.try_with(|maps| maps.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

/// Takes a header map back, to be used again.
pub(crate) fn recycle(mut headers: HeaderMap) {
    if headers.capacity() == 0 || headers.capacity() > MAP_FIELDS {
        return;
    }
    headers.clear();
    let _ = HEADERS.try_with(|maps| {
        let mut maps = maps.borrow_mut();
        if maps.len() < MAPS {
            maps.push(headers);
        }
    });
}

/// An empty text, with room in it if there is one.
pub(crate) fn text() -> Vec<u8> {
    TEXT.try_with(|texts| texts.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

/// Takes a text back, to be used again.
pub(crate) fn recycle_text(mut text: Vec<u8>) {
    if text.capacity() == 0 || text.capacity() > TEXT_BYTES {
        return;
    }
    text.clear();
    let _ = TEXT.try_with(|texts| {
        let mut texts = texts.borrow_mut();
        if texts.len() < TEXTS {
            texts.push(text);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

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
