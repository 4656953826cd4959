//! What the caller asks of an h2 exchange.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{H2, frame::Reason, send::Told};
use crate::{
    engine::ResetReason,
    error::{Code, Error},
    event::Event,
    exchange,
    fields::ResponseFields,
    key::Key,
    response::{self, ResponseHead},
    wire::{Commands, due, earlier},
};

impl<IO: AsyncRead + AsyncWrite + Unpin> Commands for H2<IO> {
    fn pull_requests(&mut self, more: u32) {
        self.credits = self.credits.saturating_add(more);
    }

    fn pull_chunk(&mut self, key: Key, max: usize, now: Instant) -> Result<(), Error> {
        let stream = self.stream(key)?;
        stream.exchange.pull(max)?;
        stream.pulled_at = now;
        if stream.expects_continue {
            self.inform(key, StatusCode::CONTINUE, ResponseFields::new())?;
        }
        self.soonest = earlier(self.soonest, due(now, self.config.timeouts.body_idle));
        self.awaken(key.stream);
        Ok(())
    }

    fn read_on(&mut self, key: Key, max: usize, taken: usize, waits: Option<Instant>) {
        let Ok(stream) = self.stream(key) else { return };
        if stream.exchange.read_on(max, taken, waits.is_some()).is_err() {
            return;
        }
        let expects_continue = stream.expects_continue;
        if let Some(since) = waits {
            stream.pulled_at = since;
            self.soonest = earlier(self.soonest, due(since, self.config.timeouts.body_idle));
        }
        if expects_continue {
            // Fails only for an answer that has begun, which is one, too.
            let _ = self.inform(key, StatusCode::CONTINUE, ResponseFields::new());
        }
        self.taken_of(key.stream, taken);
        self.awaken(key.stream);
    }

    /// The peer's window is opened as the reader takes, and others wait for that of the connection.
    fn is_full(&mut self, _: Key) -> bool {
        true
    }

    fn send(
        &mut self,
        key: Key,
        head: ResponseHead,
        body: Bytes,
        trailers: Option<HeaderMap>,
        now: Instant,
    ) -> Result<(), Error> {
        let stream = self.stream(key)?;
        stream.exchange.check_waiting()?;
        response::check_no_tunnel(head.status, stream.upgrade.as_ref())?;
        let bodiless = response::bodiless(head.status, stream.head_request);
        let told = response::check_whole(&head, &body, bodiless)?;
        let empty = bodiless || (body.is_empty() && trailers.is_none());
        stream.exchange.sent_whole(if bodiless { 0 } else { body.len() as u64 });
        if !empty {
            stream.queue(body);
            stream.end(trailers);
            self.now_sending(key.stream);
        }
        self.answer(key.stream, &head, told, empty, now);
        Ok(())
    }

    fn start(&mut self, key: Key, head: ResponseHead, now: Instant) -> Result<(), Error> {
        let stream = self.stream(key)?;
        stream.exchange.check_waiting()?;
        response::check_no_tunnel(head.status, stream.upgrade.as_ref())?;
        let declared = response::check_final(&head)?;
        let bodiless = response::bodiless(head.status, stream.head_request);
        stream.exchange.started(declared, bodiless);
        // A 204 has none to tell (RFC 9110 section 8.6). A bodiless answer ends when the caller finishes it, so that `Sent`
        // comes after `finish`.
        let told = declared.filter(|_| head.status != StatusCode::NO_CONTENT);
        self.answer(key.stream, &head, told, false, now);
        Ok(())
    }

    fn write(&mut self, key: Key, chunk: Bytes) -> Result<(), Error> {
        let stream = self.stream(key)?;
        match stream.exchange.write(chunk.len()) {
            Ok(exchange::Write::Drop) => Ok(()),
            Ok(exchange::Write::Queue) => {
                stream.queue(chunk);
                self.now_sending(key.stream);
                Ok(())
            }
            Err(error) => self.refuse_write(key, error),
        }
    }

    fn finish(&mut self, key: Key, trailers: Option<HeaderMap>) -> Result<(), Error> {
        let stream = self.stream(key)?;
        match stream.exchange.finish() {
            Ok(()) => {
                // Nor has an answer without a body a trailer section (RFC 9110 sections 9.3.2, 15.3.5 and 15.4.5).
                let trailers = trailers.filter(|_| !stream.exchange.bodiless());
                stream.end(trailers);
                self.now_sending(key.stream);
                Ok(())
            }
            Err(error) => self.refuse_write(key, error),
        }
    }

    fn inform(&mut self, key: Key, status: StatusCode, headers: ResponseFields) -> Result<(), Error> {
        response::check_interim(status)?;
        let stream = self.stream(key)?;
        stream.exchange.check_waiting()?;
        if status == StatusCode::CONTINUE {
            stream.expects_continue = false;
        }
        self.write_head(key.stream, status, &headers, None, false);
        Ok(())
    }

    fn upgrade(&mut self, key: Key, mut head: ResponseHead, now: Instant) -> Result<(), Error> {
        let stream = self.stream(key)?;
        stream.exchange.check_waiting()?;
        let Some(protocol) = stream.upgrade.clone() else {
            return Err(Error::new(Code::NotUpgradable, "the request does not ask to leave HTTP"));
        };
        if !head.status.is_success() {
            head.status = StatusCode::OK;
        }
        stream.exchange.upgrading();
        stream.enter_tunnel();
        self.answer(key.stream, &head, None, false, now);
        self.upgraded.push(Event::Upgraded { key, protocol });
        Ok(())
    }

    fn reset(&mut self, id: u32, reason: ResetReason) {
        let Some(key) = self.streams.get_mut(id).filter(|stream| stream.pulled).map(|stream| stream.key) else {
            return;
        };
        let reason = match reason {
            ResetReason::Cancel => Reason::Cancel,
            ResetReason::Refused => Reason::RefusedStream,
            ResetReason::Internal => Reason::InternalError,
            ResetReason::EnhanceYourCalm => Reason::EnhanceYourCalm,
        };
        self.failed.push((key, reason, Error::new(Code::Closed, "the stream was reset by this side")));
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    /// The head of a final answer.
    fn answer(&mut self, id: u32, head: &ResponseHead, length: Option<u64>, end: bool, now: Instant) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.answered = true;
            stream.expects_continue = false;
        }
        self.write_head(id, head.status, &head.headers, Some(Told { length, now }), end);
    }

    /// A write or a finish that the exchange does not take. One that breaks the declared length has broken the answer.
    fn refuse_write(&mut self, key: Key, error: Error) -> Result<(), Error> {
        if error.code() != Code::BodyLengthMismatch {
            return Err(error);
        }
        self.failed.push((key, Reason::InternalError, error));
        Ok(())
    }
}
