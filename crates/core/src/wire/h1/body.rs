//! Response bodies as hyper pulls them.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::io::tap::TapState;

/// The most that hyper is given at a time: it copies a piece behind the head, so that small answers go out in one plain
/// write, and what it may hold is bounded by a piece.
pub(super) const PIECE_BYTES: usize = 64 << 10;

fn piece_of(bytes: &mut Bytes) -> Bytes {
    if bytes.len() <= PIECE_BYTES { std::mem::take(bytes) } else { bytes.split_to(PIECE_BYTES) }
}

/// What the caller has written of a streamed body and hyper has not taken.
#[derive(Default, Debug)]
struct Queue {
    chunks: VecDeque<Bytes>,
    /// The caller has finished; the trailer section, if there is one to send.
    end: Option<Option<HeaderMap>>,
}

/// The writing end of a streamed body, shared with the body that hyper holds.
#[derive(Clone, Default, Debug)]
pub(super) struct Writer(Arc<Mutex<Queue>>);

impl Writer {
    pub(super) fn write(&self, chunk: Bytes) {
        self.queue().chunks.push_back(chunk);
    }

    pub(super) fn finish(&self, trailers: Option<HeaderMap>) {
        self.queue().end = Some(trailers);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    Streamed(Writer),
}

/// A response body. Its drop says that hyper has encoded all of it that it ever will.
#[derive(Debug)]
pub(super) struct OutBody {
    content: Content,
    tap: Arc<TapState>,
}

impl OutBody {
    pub(super) fn whole(bytes: Bytes, tap: Arc<TapState>) -> Self {
        Self { content: Content::Whole(bytes), tap }
    }

    pub(super) fn streamed(writer: Writer, tap: Arc<TapState>) -> Self {
        Self { content: Content::Streamed(writer), tap }
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // No waker is kept: whoever writes turns the engine, and each turn polls the body.
        let this = self.get_mut();
        match &mut this.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(piece_of(bytes))))),
            Content::Streamed(writer) => {
                let mut queue = writer.queue();
                if let Some(front) = queue.chunks.front_mut() {
                    let piece = piece_of(front);
                    if front.is_empty() {
                        queue.chunks.pop_front();
                    }
                    this.tap.taken.add(piece.len() as u64);
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                match &mut queue.end {
                    None => Poll::Pending,
                    Some(trailers) => Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Streamed(writer) => {
                let queue = writer.queue();
                queue.chunks.is_empty() && matches!(queue.end, Some(None))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Streamed(_) => SizeHint::default(),
        }
    }
}

impl Drop for OutBody {
    fn drop(&mut self) {
        self.tap.ended.add(1);
    }
}
