//! What the caller asks of an h1 exchange.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Answering, Current, H1, STREAM,
    body::{CONTINUE, read_ahead},
    encode::{self, Framing, Head},
};
use crate::{
    engine::ResetReason,
    error::{Code, Error},
    event::Upgrade,
    exchange,
    fields::ResponseFields,
    key::Key,
    response::{self, ResponseHead},
    wire::Commands,
};

impl<IO: AsyncRead + AsyncWrite + Unpin> Commands for H1<IO> {
    fn pull_requests(&mut self, more: u32) {
        self.credits = self.credits.saturating_add(more);
    }

    fn pull_chunk(&mut self, key: Key, max: usize, now: Instant) -> Result<(), Error> {
        self.current(key)?.exchange.pull(max)?;
        self.waiting_since = now;
        Ok(())
    }

    fn read_on(&mut self, key: Key, max: usize, taken: usize, waits: Option<Instant>) {
        if let Ok(current) = self.current(key)
            && current.exchange.read_on(max, taken, waits.is_some()).is_ok()
            && let Some(since) = waits
        {
            self.waiting_since = self.waiting_since.max(since);
        }
    }

    fn is_full(&mut self, key: Key) -> bool {
        let most = read_ahead(&self.config.limits);
        self.current(key).map_or(true, |current| current.exchange.held() >= most)
    }

    fn send(
        &mut self,
        key: Key,
        head: ResponseHead,
        body: Bytes,
        trailers: Option<HeaderMap>,
        now: Instant,
    ) -> Result<(), Error> {
        let current = self.current(key)?;
        current.exchange.check_waiting()?;
        response::check_no_tunnel(head.status, current.upgrade.as_deref())?;
        let bodiless = response::bodiless(head.status, current.head_request);
        let told = response::check_whole(&head, &body, bodiless)?;
        if trailers.is_some() {
            self.start(key, head, now)?;
            self.write(key, body)?;
            return self.finish(key, trailers);
        }
        current.exchange.sent_whole(if bodiless { 0 } else { body.len() as u64 });
        let unread = current.is_coming();
        // The rest of an unread body stands between this answer and the next request.
        self.last |= unread;
        let framing = told.map_or(Framing::Status, Framing::Length);
        self.answer(head, framing, if bodiless { Bytes::new() } else { body }, now);
        Ok(())
    }

    fn start(&mut self, key: Key, head: ResponseHead, now: Instant) -> Result<(), Error> {
        let current = self.current(key)?;
        current.exchange.check_waiting()?;
        response::check_no_tunnel(head.status, current.upgrade.as_deref())?;
        let declared = response::check_final(&head)?;
        current.exchange.started(declared, response::bodiless(head.status, current.head_request));
        let framing = if let (Some(length), true) = (declared, head.status != StatusCode::NO_CONTENT) {
            Framing::Length(length)
        } else if response::bodiless(head.status, false) {
            Framing::Status
        } else if current.version == Version::HTTP_10 {
            Framing::Close
        } else {
            Framing::Chunked
        };
        current.framing = Some(framing);
        // A reader that has begun may well get to the end of the request; one that has not will hardly begin now.
        let unread = current.is_coming() && current.exchange.untouched();
        // Behind the head it would be too late to ask for what has been pulled.
        let asks =
            current.exchange.pulling().is_some() && current.body.as_mut().is_some_and(|body| body.take_expectation());
        self.last |= unread || framing == Framing::Close;
        if asks {
            self.outgoing.tail().extend_from_slice(CONTINUE);
        }
        self.answer(head, framing, Bytes::new(), now);
        Ok(())
    }

    fn write(&mut self, key: Key, chunk: Bytes) -> Result<(), Error> {
        let current = self.current(key)?;
        match current.exchange.write(chunk.len()) {
            Ok(exchange::Write::Queue) if !chunk.is_empty() => {
                if current.framing == Some(Framing::Chunked) {
                    encode::write_chunk(&mut self.outgoing, chunk);
                } else {
                    self.outgoing.push(chunk);
                }
                Ok(())
            }
            Ok(exchange::Write::Queue | exchange::Write::Drop) => Ok(()),
            Err(error) => self.refuse_write(error),
        }
    }

    fn finish(&mut self, key: Key, trailers: Option<HeaderMap>) -> Result<(), Error> {
        let current = self.current(key)?;
        match current.exchange.finish() {
            Ok(()) => {
                if current.framing == Some(Framing::Chunked) && !current.head_request {
                    // A trailer section goes out only to who asked for it (RFC 9110 section 6.5.1).
                    let trailers = trailers.as_ref().filter(|_| current.trailers_welcome);
                    encode::write_last_chunk(self.outgoing.tail(), trailers);
                }
                Ok(())
            }
            Err(error) => self.refuse_write(error),
        }
    }

    fn inform(&mut self, key: Key, status: StatusCode, headers: ResponseFields) -> Result<(), Error> {
        let current = self.current(key)?;
        current.exchange.check_waiting()?;
        response::check_interim(status)?;
        if current.version == Version::HTTP_10 {
            return Err(Error::new(Code::InvalidStatus, "HTTP/1.0 takes no interim response"));
        }
        if let (StatusCode::CONTINUE, Some(body)) = (status, &mut current.body) {
            body.forget_expectation();
        }
        encode::write_bare_head(self.outgoing.tail(), status, &headers);
        Ok(())
    }

    fn upgrade(&mut self, key: Key, head: ResponseHead, _: Instant) -> Result<(), Error> {
        let current = self.current(key)?;
        current.exchange.check_waiting()?;
        let Some(upgrade) = &mut current.upgrade else {
            return Err(Error::new(Code::NotUpgradable, "the request does not ask to leave HTTP"));
        };
        // What is left of a body, or stands behind a fault in it, would be taken for the tunnel's.
        if current.exchange.broken() || current.body.as_ref().is_some_and(|body| !body.is_read()) {
            return Err(Error::new(Code::NotUpgradable, "the request body has not been read to its end"));
        }
        let protocol = upgrade.chosen(head.headers.upgrades())?;
        **upgrade = protocol.clone();
        current.exchange.upgrading();
        let out = self.outgoing.tail();
        match protocol {
            Upgrade::Token(token) => encode::write_switch(out, &head.headers, &token),
            Upgrade::Connect | Upgrade::Extended(_) => {
                let status = if head.status.is_success() { head.status } else { StatusCode::OK };
                encode::write_bare_head(out, status, &head.headers);
            }
        }
        Ok(())
    }

    fn reset(&mut self, stream: u32, _: ResetReason) {
        if stream == STREAM {
            self.cut(Error::new(Code::Closed, "the stream was reset by this side"));
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H1<IO> {
    fn current(&mut self, key: Key) -> Result<&mut Current, Error> {
        match &mut self.answering {
            Answering::Current(current) if current.key == key => Ok(current),
            _ if key.connection == self.number && key.stream == STREAM && key.sequence < self.requests => {
                Err(Error::new(Code::KeyUsed, "the request has its answer already"))
            }
            _ => Err(Error::new(Code::KeyUnknown, "the key names no request of this stream")),
        }
    }

    /// Queues the head of a final answer and what there is of its body.
    pub(super) fn answer(&mut self, head: ResponseHead, framing: Framing, body: Bytes, now: Instant) {
        let ResponseHead { status, mut headers } = head;
        self.last |= self.draining || self.retired || headers.said.closes;
        let version = match &self.answering {
            Answering::Current(current) => current.version,
            _ => Version::HTTP_11,
        };
        let head = Head { status, headers: &mut headers, version, framing, last: self.last };
        head.write(&mut self.outgoing, body.len(), now);
        if !body.is_empty() {
            self.outgoing.push(body);
        }
    }

    /// A write or a finish that the exchange does not take. One that breaks the declared length has broken the answer.
    fn refuse_write(&mut self, error: Error) -> Result<(), Error> {
        if error.code() != Code::BodyLengthMismatch {
            return Err(error);
        }
        self.cut(error);
        Ok(())
    }

    /// The answer can no longer be made right, or nobody wants it: the connection is cut (RFC 9112 section 8).
    fn cut(&mut self, error: Error) {
        self.cut = Some(Box::new(error));
    }
}
