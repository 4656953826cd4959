//! What the caller asks of an h1 exchange.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Answering, Current, H1, STREAM,
    body::{OutBody, Writer},
};
use crate::{
    engine::ResetReason,
    error::{CloseCode, CloseReason, Code, Error},
    event::Upgrade,
    exchange,
    key::Key,
    response::{self, ResponseHead},
    wire::{Commands, End},
};

impl<IO: AsyncRead + AsyncWrite + Unpin> Commands for H1<IO> {
    fn pull_requests(&mut self, more: u32) {
        self.credits = self.credits.saturating_add(more);
        self.gate();
    }

    fn pull_chunk(&mut self, key: Key, max: usize, now: Instant) -> Result<(), Error> {
        self.current(key)?.exchange.pull(max)?;
        self.waiting_since = now;
        Ok(())
    }

    fn send(&mut self, key: Key, head: ResponseHead, body: Bytes, trailers: Option<HeaderMap>) -> Result<(), Error> {
        if trailers.is_some() {
            self.start(key, head)?;
            self.write(key, body)?;
            return self.finish(key, trailers);
        }
        let current = self.current(key)?;
        current.exchange.check_waiting()?;
        response::check_no_tunnel(head.status, current.upgrade.as_ref())?;
        let bodiless = response::bodiless(head.status, current.head_request);
        response::check_whole(&head, &body, bodiless)?;
        current.exchange.sent_whole(if bodiless { 0 } else { body.len() as u64 });
        if current.incoming.is_some() {
            // The rest of the body stands between this answer and the next request.
            self.end_after_answer();
        }
        let mut response = Response::new(OutBody::whole(body, self.tap.clone()));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        self.answer(response);
        Ok(())
    }

    fn start(&mut self, key: Key, head: ResponseHead) -> Result<(), Error> {
        let current = self.current(key)?;
        current.exchange.check_waiting()?;
        response::check_no_tunnel(head.status, current.upgrade.as_ref())?;
        let declared = response::check_final(&head)?;
        current.exchange.started(declared, response::bodiless(head.status, current.head_request));
        let writer = Writer::default();
        current.writer = Some(writer.clone());
        if current.incoming.is_some() && current.exchange.untouched() {
            // A reader that has begun may well get to the end; one that has not will hardly begin now.
            self.end_after_answer();
        }
        let mut response = Response::new(OutBody::streamed(writer, self.tap.clone()));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        self.answer(response);
        Ok(())
    }

    fn write(&mut self, key: Key, chunk: Bytes) -> Result<(), Error> {
        let current = self.current(key)?;
        match current.exchange.write(chunk.len()) {
            Ok(exchange::Write::Drop) => Ok(()),
            Ok(exchange::Write::Queue) => {
                if let (false, Some(writer)) = (chunk.is_empty(), &current.writer) {
                    writer.write(chunk);
                }
                Ok(())
            }
            Err(error) => self.refuse_write(error),
        }
    }

    fn finish(&mut self, key: Key, trailers: Option<HeaderMap>) -> Result<(), Error> {
        let current = self.current(key)?;
        match current.exchange.finish() {
            Ok(()) => {
                // A trailer section goes out only to who asked for it (RFC 9110 section 6.5.1).
                let trailers = trailers.filter(|_| current.trailers_welcome);
                if let Some(writer) = &current.writer {
                    writer.finish(trailers);
                }
                Ok(())
            }
            Err(error) => self.refuse_write(error),
        }
    }

    fn inform(&mut self, key: Key, status: StatusCode, headers: HeaderMap) -> Result<(), Error> {
        let current = self.current(key)?;
        current.exchange.check_waiting()?;
        response::check_interim(status)?;
        if current.version == Version::HTTP_10 {
            return Err(Error::new(Code::InvalidStatus, "HTTP/1.0 takes no interim response"));
        }
        if status == StatusCode::CONTINUE && current.incoming.is_some() {
            // hyper writes it when the body is first read.
            current.continue_asked = true;
            return Ok(());
        }
        let mut bytes = format!("HTTP/1.1 {status}\r\n").into_bytes();
        for (name, value) in &headers {
            bytes.extend_from_slice(name.as_ref());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        self.tap.interim(&bytes);
        Ok(())
    }

    fn upgrade(&mut self, key: Key, mut head: ResponseHead) -> Result<(), Error> {
        let current = self.current(key)?;
        current.exchange.check_waiting()?;
        let Some(upgrade) = &current.upgrade else {
            return Err(Error::new(Code::NotUpgradable, "the request does not ask to leave HTTP"));
        };
        if current.incoming.is_some() {
            return Err(Error::new(Code::NotUpgradable, "the request body has not been read to its end"));
        }
        match upgrade {
            Upgrade::Connect | Upgrade::Extended(_) => {
                if !head.status.is_success() {
                    head.status = StatusCode::OK;
                }
            }
            Upgrade::Token(token) => {
                head.status = StatusCode::SWITCHING_PROTOCOLS;
                head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                if let (false, Ok(token)) = (head.headers.contains_key(header::UPGRADE), HeaderValue::from_str(token)) {
                    head.headers.insert(header::UPGRADE, token);
                }
            }
        }
        current.exchange.upgrading();
        let mut response = Response::new(OutBody::whole(Bytes::new(), self.tap.clone()));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        self.answer(response);
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

    pub(super) fn answer(&self, response: Response<OutBody>) {
        self.slot.lock().response = Some(response);
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
        let reason = CloseReason::new(CloseCode::Closed, error.message().to_owned());
        self.closing = Some(End::Close { reason, linger: false });
        self.cut = Some(error);
    }
}
