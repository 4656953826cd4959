//! Sees in the inbound bytes of an HTTP/2 connection how far the peer is with what h2 tells only when it is whole: its
//! first frame, and a header block.
//!
//! Hot: a few instructions a frame, whatever its length.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the client says before its first frame (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// What the engine is told while h2 owns the transport.
#[derive(Default, Debug)]
pub(super) struct Seen {
    /// The first frame's type, plus 1; 0 before it has come.
    first: AtomicU64,
    /// Header blocks that have begun and that have ended, together: odd while one is under way.
    heads: AtomicU64,
}

impl Seen {
    /// Whether the first frame is SETTINGS, once it has come.
    pub(super) fn begins_with_settings(&self) -> Option<bool> {
        match self.first.load(Relaxed) {
            0 => None,
            first => Some(first == u64::from(SETTINGS) + 1),
        }
    }

    /// The number of the header block that is under way.
    pub(super) fn head(&self) -> Option<u64> {
        let heads = self.heads.load(Relaxed);
        (heads % 2 == 1).then_some(heads)
    }
}

/// The transport of an h2 connection, and where its inbound bytes stand.
#[derive(Debug)]
pub(crate) struct Incoming<IO> {
    io: IO,
    seen: Arc<Seen>,
    header: [u8; 9],
    /// Bytes of `header` that have come.
    have: usize,
    /// Bytes to come of the preface or of the present payload.
    left: usize,
}

impl<IO> Incoming<IO> {
    pub(super) fn new(io: IO, seen: Arc<Seen>) -> Self {
        Self { io, seen, header: [0; 9], have: 0, left: PREFACE_BYTES }
    }

    fn look(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let take = self.left.min(bytes.len());
                self.left -= take;
                bytes = &bytes[take..];
            } else {
                let take = (9 - self.have).min(bytes.len());
                self.header[self.have..self.have + take].copy_from_slice(&bytes[..take]);
                self.have += take;
                bytes = &bytes[take..];
                if self.have == 9 {
                    let [a, b, c, ..] = self.header;
                    self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                    self.frame_begins();
                }
            }
            if self.have == 9 && self.left == 0 {
                self.have = 0;
                self.frame_ends();
            }
        }
    }

    fn frame_begins(&mut self) {
        if self.header[3] == HEADERS && self.seen.head().is_none() {
            self.seen.heads.fetch_add(1, Relaxed);
        }
    }

    fn frame_ends(&mut self) {
        let [_, _, _, kind, flags, ..] = self.header;
        if self.seen.first.load(Relaxed) == 0 {
            self.seen.first.store(u64::from(kind) + 1, Relaxed);
        }
        if matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0 && self.seen.head().is_some() {
            self.seen.heads.fetch_add(1, Relaxed);
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Incoming<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.look(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Incoming<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0, payload as u8, kind, flags, 0, 0, 0, 1];
        bytes.resize(9 + payload, 0);
        bytes
    }

    #[test]
    fn a_header_block_is_under_way_until_its_last_byte_however_the_bytes_come() {
        let frames = [
            frame(SETTINGS, 0, 6),
            frame(HEADERS, END_HEADERS, 5),
            frame(HEADERS, 0, 0),
            frame(CONTINUATION, 0, 3),
            frame(CONTINUATION, END_HEADERS, 4),
            frame(0, 0, 30),
        ];
        let under_way = [None, None, Some(3), Some(3), None, None];
        for piece in [1, 2, 7, 9, 100] {
            let seen = Arc::<Seen>::default();
            let mut incoming = Incoming::new((), seen.clone());
            incoming.look(&[0; PREFACE_BYTES]);
            assert_eq!(seen.begins_with_settings(), None);
            for (bytes, expected) in frames.iter().zip(under_way) {
                bytes.chunks(piece).for_each(|piece| incoming.look(piece));
                assert_eq!(seen.head(), expected);
            }
            assert_eq!(seen.begins_with_settings(), Some(true));
        }
    }

    #[test]
    fn the_preface_goes_on_until_the_first_frame() {
        let seen = Arc::<Seen>::default();
        let mut incoming = Incoming::new((), seen.clone());
        incoming.look(&[0; PREFACE_BYTES]);
        let ping = frame(6, 0, 8);
        incoming.look(&ping[..16]);
        assert_eq!(seen.begins_with_settings(), None);
        incoming.look(&ping[16..]);
        assert_eq!(seen.begins_with_settings(), Some(false));
    }
}
