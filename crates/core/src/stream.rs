//! A stream, split into the half that brings requests and the half that takes answers.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    body::Body,
    engine::{Engine, ResetReason},
    error::Error,
    event::Protocol,
    key::Key,
    lead::Rank,
    request::Request,
    response::{self, ResponseHead},
    shared::{Handle, Inner, Operation, Sent},
    streams::Arrived,
    timer::Timer,
    upgraded::{Tunnel, Upgraded},
};

/// One stream of a connection: request after request on h1, one request on h2.
#[derive(Debug)]
pub struct Stream<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> {
    handle: Arc<Handle<IO, T>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Stream<IO, T> {
    pub(crate) fn new(handle: Handle<IO, T>) -> Self {
        Self { handle: Arc::new(handle) }
    }

    /// 1 on h1, the stream identifier on h2.
    pub fn id(&self) -> u32 {
        self.handle.id
    }

    /// The half that brings requests, and the half that takes answers.
    pub fn split(self) -> (Input<IO, T>, Output<IO, T>) {
        let output = Output { handle: self.handle.clone() };
        (Input { handle: self.handle }, output)
    }
}

/// The half of a stream that brings requests.
#[derive(Debug)]
pub struct Input<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> {
    handle: Arc<Handle<IO, T>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Input<IO, T> {
    /// The next request and its key, or `None` when there will be none. On h1 the next request comes after the last
    /// answer was sent: one that is neither answered nor [`reset`](Output::reset) holds its connection, for as long as there is one.
    ///
    /// Has no failure of its own yet: a connection that fails has no next request, and
    /// [`Connection::next`](crate::Connection::next) says why. Cancel-safe: a request that came while nobody waited is
    /// given to the next call.
    pub async fn next(&mut self) -> Option<Result<(Key, Request<IO, T>), Error>> {
        let id = self.handle.id;
        let mut operation = self.handle.operation(Rank::Future);
        let arrived = |inner: &mut Inner<IO, T>| {
            let stream = inner.streams.get_mut(id);
            if let Some((stream, arrived)) = stream.and_then(|stream| stream.request.take().map(|it| (stream, it))) {
                stream.owing = true;
                return Poll::Ready(Some(arrived));
            }
            if inner.closed.is_some() || inner.protocol == Some(Protocol::Http2) {
                return Poll::Ready(None);
            }
            inner.ask();
            Poll::Pending
        };
        poll_fn(|cx| operation.poll(cx, arrived))
            .await
            .map(|Arrived { key, head, body }| Ok((key, Request::new(head, Body::new(self.handle.clone(), key, body)))))
    }
}

/// The half of a stream that takes answers. A clone is the same half: the key says which request an answer is for, so
/// the work on a request may answer from a task of its own.
#[derive(Debug)]
pub struct Output<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> {
    handle: Arc<Handle<IO, T>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Output<IO, T> {
    /// Answers with a whole body. The answer is checked and queued at once; the future resolves when it has been sent.
    /// Dropping the future does not take the answer back, [`reset`](Self::reset) does.
    ///
    /// Fails with `KeyUsed`, `KeyUnknown`, `InvalidStatus`, `InvalidHeader`, `BodyLengthMismatch` or `Closed` before
    /// anything is sent; with `PeerClosed`, `PeerReset`, `WriteStalled`, `Protocol` or `Io` after, or if the exchange has failed
    /// so before.
    pub fn send<B: Into<Bytes>>(&mut self, (key, response): (Key, Response<B>)) -> Sending<IO, T> {
        let (parts, body) = response.into_parts();
        Sending::new(&self.handle, key, |engine, now| engine.send(key, parts.try_into()?, body.into(), None, now))
    }

    /// Begins an answer that is written piece by piece. Fails as `send` does before anything is sent.
    ///
    /// On h1 an answer to a request whose body is still to come and was not pulled yet is the connection's last, and a peer that
    /// waits for `100 Continue` gets none any more: an echo pulls first.
    pub fn start(&mut self, key: Key, head: Response<()>) -> Result<Writer<'_, IO, T>, Error> {
        let (parts, ()) = head.into_parts();
        let head = ResponseHead::try_from(parts)?;
        let bodiless = self.handle.command(key, |inner| {
            let head_request = inner.streams.get(key.stream).is_some_and(|stream| stream.head_request);
            let bodiless = response::bodiless(head.status, head_request);
            inner.engine.start(key, head, inner.timer.now()).map(|()| bodiless)
        })?;
        Ok(Writer { output: self, key, bodiless, queued: 0 })
    }

    /// An interim answer: 103 Early Hints, 102, or 100 to ask for the body by hand. Queued at once.
    ///
    /// Fails with `InvalidStatus`, also on HTTP/1.0, which has none, `InvalidHeader`, `KeyUsed`, `KeyUnknown` or `Closed`, or as the
    /// exchange has.
    pub fn inform(&mut self, key: Key, status: StatusCode, headers: HeaderMap) -> Result<(), Error> {
        let headers = headers.try_into()?;
        self.handle.command(key, |inner| inner.engine.inform(key, status, headers))
    }

    /// Leaves HTTP on this stream: 101 for an h1 Upgrade, 2xx for CONNECT. Uses up both halves, also when it fails: a clone of this
    /// one can answer then. Where an h1 request asks for several protocols, an Upgrade field of `head` names the chosen one; default
    /// the first (RFC 9110 section 7.8).
    ///
    /// Fails with `NotUpgradable` if the request does not ask for it or its body has not been read, with `InvalidHeader` if
    /// `head` names a protocol that the request does not ask for, with `KeyUsed`,
    /// `KeyUnknown` or `Closed`, or as a sent answer does. Not cancel-safe, since the halves are in the future: dropping it
    /// drops the stream, which is reset. The rest of an h2 connection goes on.
    pub async fn upgrade(self, input: Input<IO, T>, key: Key, head: Response<()>) -> Result<Upgraded<IO, T>, Error> {
        drop(input);
        let (parts, ()) = head.into_parts();
        let head = ResponseHead::try_from(parts)?;
        self.handle.command(key, |inner| inner.engine.upgrade(key, head, inner.timer.now()))?;
        let tunnel = Tunnel { handle: self.handle, key };
        let protocol = tunnel
            .handle
            .until(|inner| match inner.streams.get(key.stream).and_then(|stream| stream.upgraded.as_deref()) {
                Some(protocol) => Poll::Ready(Ok(protocol.clone())),
                None => inner.outcome(key).map(|outcome| Err(outcome.err().unwrap_or_else(|| inner.ended()))),
            })
            .await?;
        Ok(Upgraded::new(tunnel, protocol))
    }

    /// Abandons what is in flight, which fails with `Closed`: RST_STREAM on h2, the connection on h1. Idempotent.
    pub fn reset(&mut self, reason: ResetReason) {
        let id = self.handle.id;
        self.handle.shared.command(|inner| inner.engine.reset(id, reason));
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Clone for Output<IO, T> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone() }
    }
}

/// An answer on its way. Resolves when it has been sent. Cancel-safe: dropping it does not take the answer back.
#[derive(Debug)]
pub struct Sending<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> {
    operation: Operation<IO, T>,
    handle: Arc<Handle<IO, T>>,
    key: Key,
    /// Its outcome is kept for it.
    waits: bool,
    refused: Option<Error>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Sending<IO, T> {
    fn new(
        handle: &Arc<Handle<IO, T>>,
        key: Key,
        answer: impl FnOnce(&mut Engine<IO>, Instant) -> Result<(), Error>,
    ) -> Self {
        let queued = handle.command(key, |inner| inner.answer(key, true, answer));
        let waits = queued.is_ok();
        Self { operation: handle.operation(Rank::Future), handle: handle.clone(), key, waits, refused: queued.err() }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Future for Sending<IO, T> {
    type Output = Result<Sent, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(error) = self.refused.take() {
            return Poll::Ready(Err(error));
        }
        let key = self.key;
        let sent = self.operation.poll(cx, |inner| inner.sending(key));
        self.waits = sent.is_pending();
        sent
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Drop for Sending<IO, T> {
    fn drop(&mut self) {
        if self.waits {
            self.handle.shared.lock().forget(self.key);
        }
    }
}

/// An answer that is written piece by piece. Dropping it unfinished leaves the exchange open: finish or reset it.
#[derive(Debug)]
pub struct Writer<'a, IO: AsyncRead + AsyncWrite + Unpin, T: Timer> {
    output: &'a mut Output<IO, T>,
    key: Key,
    /// Nothing of what is written is sent (HEAD, 204, 304), nor waited for.
    bodiless: bool,
    queued: u64,
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Writer<'_, IO, T> {
    /// Queues a chunk at once; the future resolves when no more than `room` bytes of the body wait to be sent: 0 is a
    /// flush. Fails as [`Output::send`] does.
    ///
    /// Cancel-safe: dropping the future, polled or not, does not take the chunk back. To go on waiting, write an empty one.
    pub fn write<B: Into<Bytes>>(&mut self, chunk: B, room: u64) -> impl Future<Output = Result<(), Error>> {
        let (key, chunk) = (self.key, chunk.into());
        self.queued += if self.bodiless { 0 } else { chunk.len() as u64 };
        let floor = self.queued.saturating_sub(room);
        let queued = self.output.handle.command(key, |inner| inner.engine.write(key, chunk));
        let wait = self.output.handle.until(move |inner| inner.written(key, floor));
        async move {
            queued?;
            wait.await
        }
    }

    /// Ends the answer, with a trailer section if there is one, at once; the future resolves when all of it has been sent. On h1
    /// trailers go out to a peer that has asked for them (`TE: trailers`), and in a chunked answer alone.
    ///
    /// Fails as [`Output::send`] does: with `InvalidHeader` for trailers that only a head may have, with `BodyLengthMismatch` when
    /// bytes of the declared Content-Length are missing, which ends the exchange.
    pub fn finish(self, trailers: Option<HeaderMap>) -> Sending<IO, T> {
        let key = self.key;
        Sending::new(&self.output.handle, key, |engine, _| engine.finish(key, trailers))
    }
}
