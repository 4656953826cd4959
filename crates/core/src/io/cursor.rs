//! The one file with `unsafe`: hyper's read cursor, filled through tokio's `AsyncRead`.

#![allow(unsafe_code)]

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, ReadBuf};

/// Reads once from `io` into the space of `cursor`.
pub(super) fn poll_read<R: AsyncRead>(
    io: Pin<&mut R>,
    cx: &mut Context<'_>,
    mut cursor: ReadBufCursor<'_>,
) -> Poll<io::Result<()>> {
    let filled = {
        // SAFETY: `ReadBuf::uninit` takes uninitialised memory and never de-initialises any of it.
        let mut buf = ReadBuf::uninit(unsafe { cursor.as_mut() });
        ready!(io.poll_read(cx, &mut buf))?;
        buf.filled().len()
    };
    // SAFETY: `ReadBuf` counts as filled only what was initialised, and it began at the cursor's position.
    unsafe { cursor.advance(filled) };
    Poll::Ready(Ok(()))
}
