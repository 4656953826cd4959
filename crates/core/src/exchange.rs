//! The state machine of one exchange: a request, its body, its response. No I/O, no clock, no allocation.
//!
//! ```text
//! receive half                           send half
//!
//!  None      Open --end--> Ended          Waiting --start--> Streaming --finish--+
//!              |                             |  \---send------------------------> Ended --flushed--> (over)
//!              +--fail--> Failed             |  \--upgrade--> Upgrading --left--> Tunnel --finish--^
//!                                            +--- fail, from any state ---> (over)
//! ```
//!
//! An exchange that is over is dropped by its engine, which reports it as `Sent` or as `Failed`.

use crate::error::{Code, Error};

/// What still comes from the peer.
#[derive(Debug)]
pub(crate) enum Receive {
    /// The request has no body.
    None,
    /// Bytes may still come; `pull` is the most the waiting caller takes, if one waits.
    Open { received: u64, pull: Option<usize> },
    /// The body is complete.
    Ended,
    /// The body cannot be read to its end.
    Failed,
}

/// How far the answer is.
#[derive(Debug)]
pub(crate) enum Send {
    /// The final answer has not begun.
    Waiting,
    /// Written piece by piece. `declared` is its Content-Length; `bodiless` answers (HEAD, 204, 304) drop their bytes.
    Streaming { declared: Option<u64>, queued: u64, bodiless: bool },
    /// The answer that leaves HTTP is on its way.
    Upgrading,
    /// The stream has left HTTP.
    Tunnel { queued: u64 },
    /// All of it is queued.
    Ended { bytes: u64 },
}

/// What to do with bytes that the caller wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Write {
    Queue,
    Drop,
}

#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) receive: Receive,
    pub(crate) send: Send,
}

impl Exchange {
    pub(crate) fn new(has_body: bool) -> Self {
        let receive = if has_body { Receive::Open { received: 0, pull: None } } else { Receive::None };
        Self { receive, send: Send::Waiting }
    }

    // ---- receive half

    /// The caller asks for a chunk.
    pub(crate) fn pull(&mut self, max: usize) -> Result<(), Error> {
        match &mut self.receive {
            Receive::Open { pull: Some(_), .. } => Err(Error::new(Code::BodyInUse, "the body has a waiting reader")),
            Receive::Open { pull, .. } => {
                *pull = Some(max.max(1));
                Ok(())
            }
            Receive::None | Receive::Ended => Err(Error::new(Code::Closed, "the body has been read to its end")),
            Receive::Failed => Err(Error::new(Code::Closed, "the body has failed")),
        }
    }

    /// The most a waiting reader takes.
    pub(crate) fn pulling(&self) -> Option<usize> {
        match self.receive {
            Receive::Open { pull, .. } => pull,
            _ => None,
        }
    }

    /// The waiting reader has got its answer.
    pub(crate) fn pulled(&mut self) {
        if let Receive::Open { pull, .. } = &mut self.receive {
            *pull = None;
        }
    }

    /// Nothing of the body has been read or asked for.
    pub(crate) fn untouched(&self) -> bool {
        matches!(self.receive, Receive::Open { received: 0, pull: None })
    }

    pub(crate) fn receiving(&self) -> bool {
        matches!(self.receive, Receive::Open { .. })
    }

    /// Bytes have come; an error when they are more than `limit`.
    pub(crate) fn received(&mut self, bytes: usize, limit: u64) -> Result<(), Error> {
        if let Receive::Open { received, .. } = &mut self.receive {
            *received += bytes as u64;
            if *received > limit && !matches!(self.send, Send::Tunnel { .. }) {
                return Err(Error::new(Code::BodyTooLarge, format!("the request body is larger than {limit} bytes")));
            }
        }
        Ok(())
    }

    // ---- send half

    /// The final answer may begin.
    pub(crate) fn check_waiting(&self) -> Result<(), Error> {
        match self.send {
            Send::Waiting => Ok(()),
            _ => Err(Error::new(Code::KeyUsed, "the request has its answer already")),
        }
    }

    pub(crate) fn sent_whole(&mut self, bytes: u64) {
        self.send = Send::Ended { bytes };
    }

    pub(crate) fn started(&mut self, declared: Option<u64>, bodiless: bool) {
        self.send = Send::Streaming { declared, queued: 0, bodiless };
    }

    pub(crate) fn upgrading(&mut self) {
        self.send = Send::Upgrading;
    }

    /// The stream has left HTTP: both halves begin anew, as a tunnel.
    pub(crate) fn upgraded(&mut self) {
        self.receive = Receive::Open { received: 0, pull: None };
        self.send = Send::Tunnel { queued: 0 };
    }

    /// More of the answer. `BodyLengthMismatch` means that the answer can no longer be made right.
    pub(crate) fn write(&mut self, bytes: usize) -> Result<Write, Error> {
        match &mut self.send {
            Send::Streaming { declared, queued, bodiless } => {
                *queued += bytes as u64;
                if let Some(declared) = declared.filter(|declared| !*bodiless && *queued > *declared) {
                    return Err(Error::new(
                        Code::BodyLengthMismatch,
                        format!("the body is longer than its content-length, {declared}"),
                    ));
                }
                Ok(if *bodiless { Write::Drop } else { Write::Queue })
            }
            Send::Tunnel { queued } => {
                *queued += bytes as u64;
                Ok(Write::Queue)
            }
            Send::Waiting | Send::Upgrading => Err(Error::new(Code::Closed, "the response has not been started")),
            Send::Ended { .. } => Err(Error::new(Code::KeyUsed, "the response is finished")),
        }
    }

    /// The end of the answer.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        match self.send {
            Send::Streaming { declared, queued, bodiless } => {
                self.send = Send::Ended { bytes: if bodiless { 0 } else { queued } };
                match declared {
                    Some(declared) if !bodiless && queued < declared => Err(Error::new(
                        Code::BodyLengthMismatch,
                        format!("the body has {queued} bytes, its content-length is {declared}"),
                    )),
                    _ => Ok(()),
                }
            }
            Send::Tunnel { queued } => {
                self.send = Send::Ended { bytes: queued };
                Ok(())
            }
            Send::Waiting | Send::Upgrading => Err(Error::new(Code::Closed, "the response has not been started")),
            Send::Ended { .. } => Err(Error::new(Code::KeyUsed, "the response is finished")),
        }
    }

    /// Response bytes of the whole answer, once all of it is queued.
    pub(crate) fn ended(&self) -> Option<u64> {
        match self.send {
            Send::Ended { bytes } => Some(bytes),
            _ => None,
        }
    }

    /// Bytes queued of what is written piece by piece, and of a whole answer all of them.
    pub(crate) fn queued(&self) -> u64 {
        match self.send {
            Send::Waiting | Send::Upgrading | Send::Streaming { bodiless: true, .. } => 0,
            Send::Streaming { queued, .. } | Send::Tunnel { queued } => queued,
            Send::Ended { bytes } => bytes,
        }
    }

    /// The caller is writing piece by piece.
    pub(crate) fn streaming(&self) -> bool {
        matches!(self.send, Send::Streaming { .. } | Send::Tunnel { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Option<Code> {
        result.err().map(|error| error.code())
    }

    #[test]
    fn an_answer_is_given_once() {
        let mut exchange = Exchange::new(false);
        assert!(exchange.check_waiting().is_ok());
        exchange.sent_whole(3);
        assert_eq!(code(exchange.check_waiting()), Some(Code::KeyUsed));
        assert_eq!(code(exchange.write(1)), Some(Code::KeyUsed));
        assert_eq!(code(exchange.finish()), Some(Code::KeyUsed));
        assert_eq!(exchange.ended(), Some(3));
    }

    #[test]
    fn a_declared_length_is_held() {
        let mut long = Exchange::new(false);
        long.started(Some(3), false);
        assert_eq!(long.write(3).ok(), Some(Write::Queue));
        assert_eq!(code(long.write(1)), Some(Code::BodyLengthMismatch));

        let mut short = Exchange::new(false);
        short.started(Some(3), false);
        assert!(short.write(2).is_ok());
        assert_eq!(code(short.finish()), Some(Code::BodyLengthMismatch));

        let mut head = Exchange::new(false);
        head.started(Some(3), true);
        assert_eq!(head.write(9).ok(), Some(Write::Drop));
        assert!(head.finish().is_ok());
        assert_eq!(head.ended(), Some(0));
    }

    #[test]
    fn a_body_has_one_waiting_reader() {
        let mut exchange = Exchange::new(true);
        assert!(exchange.pull(10).is_ok());
        assert_eq!(code(exchange.pull(10)), Some(Code::BodyInUse));
        exchange.pulled();
        assert!(exchange.pull(10).is_ok());
        assert_eq!(code(exchange.received(11, 10)), Some(Code::BodyTooLarge));
        assert_eq!(code(Exchange::new(false).pull(1)), Some(Code::Closed));
    }
}
