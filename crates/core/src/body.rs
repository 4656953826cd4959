//! The body of a request, as its reader pulls it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    error::{Code, Error},
    event::RequestBody,
    key::Key,
    shared::{Handle, Pulled},
    timer::Timer,
};

/// The body of a request. What is not pulled is not read: h2 window is given back as chunks are taken.
#[derive(Debug)]
pub struct Body<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> {
    handle: Arc<Handle<IO, T>>,
    key: Key,
    state: State,
    /// What `bytes` has gathered so far.
    gathered: BytesMut,
}

#[derive(Debug)]
enum State {
    Whole(Bytes),
    Streamed {
        length: Option<u64>,
        pulling: bool,
    },
    Ended(Option<HeaderMap>),
    /// Told again to who asks again: a beginning must not look like the whole.
    Failed(Error),
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Body<IO, T> {
    pub(crate) fn new(handle: Arc<Handle<IO, T>>, key: Key, body: RequestBody) -> Self {
        let state = match body {
            RequestBody::None => State::Ended(None),
            RequestBody::Complete(bytes) => State::Whole(bytes),
            RequestBody::Streamed { length } => State::Streamed { length, pulling: false },
        };
        Self { handle, key, state, gathered: BytesMut::new() }
    }

    /// Bytes still to come, where that is known: Content-Length before the first pull.
    pub fn length(&self) -> Option<u64> {
        match &self.state {
            State::Whole(bytes) => Some(bytes.len() as u64),
            State::Streamed { length, .. } => *length,
            State::Ended(_) => Some(self.gathered.len() as u64),
            State::Failed(_) => None,
        }
    }

    /// The next chunk, or `None` at the end. The first call sends `100 Continue` if the peer waits for it and no answer has begun.
    ///
    /// Fails with `PeerClosed`, `PeerReset`, `BodyTooLarge`, `BodyTimeout`, `Protocol` or as the answer does, and with `Closed` or
    /// `KeyUsed` once that has been sent or the stream has left HTTP. Cancel-safe: bytes that came while nobody waited are given to
    /// the next call. What was asked for stays so: until some come, `Timeouts::body_idle` counts from the call that asked.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if !self.gathered.is_empty() && !matches!(self.state, State::Failed(_)) {
            return Ok(Some(self.gathered.split().freeze()));
        }
        self.pull().await
    }

    async fn pull(&mut self) -> Result<Option<Bytes>, Error> {
        let key = self.key;
        match &mut self.state {
            State::Ended(_) => return Ok(None),
            State::Failed(error) => return Err(error.clone()),
            State::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.state = State::Ended(None);
                return Ok(Some(bytes));
            }
            State::Streamed { pulling, .. } => {
                if !*pulling {
                    self.handle.pull_body(key)?;
                    *pulling = true;
                }
            }
        }
        let pulled = self.handle.until(|inner| inner.body_chunk(key)).await;
        match pulled {
            Ok(Pulled::Chunk(bytes)) => {
                self.state = State::Streamed { length: None, pulling: false };
                Ok(Some(bytes))
            }
            Ok(Pulled::End(trailers)) => {
                self.state = State::Ended(trailers);
                Ok(None)
            }
            Err(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    /// The whole body, if it has no more than `limit` bytes; else fails with `BodyTooLarge`, and what has come can still
    /// be had with a higher limit or in chunks. Fails otherwise as `chunk` does.
    ///
    /// Cancel-safe: what has come so far is kept for the next call, of `chunk` as well.
    pub async fn bytes(&mut self, limit: usize) -> Result<Bytes, Error> {
        loop {
            if self.gathered.len() > limit {
                return Err(Error::new(Code::BodyTooLarge, format!("the body is larger than {limit} bytes")));
            }
            match self.pull().await? {
                Some(chunk) => self.gathered.extend_from_slice(&chunk),
                None => return Ok(self.gathered.split().freeze()),
            }
        }
    }

    /// The trailer section, after the last chunk, once. `None` before, and when the peer has sent none.
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        match &mut self.state {
            State::Ended(trailers) => trailers.take(),
            _ => None,
        }
    }
}
