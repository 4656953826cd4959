//! One connection: at most one request under way.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

use polling::{Event, PollMode, Poller};

use crate::reply::{Framing, length};

pub struct Connection {
    number: usize,
    socket: Option<TcpStream>,
    framing: Framing,
    /// What has come of an answer so far, if it did not come in one piece.
    partial: Vec<u8>,
    /// When the request that is under way was meant to start.
    pub since: Option<Instant>,
    /// Requests answered on this socket.
    pub answered: usize,
}

impl Connection {
    pub fn new(number: usize) -> Self {
        Self { number, socket: None, framing: Framing::Http, partial: Vec::new(), since: None, answered: 0 }
    }

    /// Sends a request, over a new socket if there is none. It is so small that the kernel takes it whole.
    pub fn send(&mut self, poller: &Poller, port: u16, request: &[u8], since: Instant) -> Result<()> {
        if self.socket.is_none() {
            let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            // SAFETY: `close` takes it out of the poller before it is dropped, and nothing else drops it before the poller.
            unsafe { poller.add_with_mode(&socket, Event::readable(self.number), PollMode::Level)? };
            self.socket = Some(socket);
            self.answered = 0;
        }
        self.since = Some(since);
        match self.socket.as_ref().map(|mut socket| socket.write(request)) {
            Some(Ok(written)) if written == request.len() => Ok(()),
            Some(Err(error)) => Err(error),
            _ => Err(Error::new(ErrorKind::WriteZero, "the kernel did not take a whole request")),
        }
    }

    /// Reads once. The start of the request if its answer is complete now.
    pub fn receive(&mut self, scratch: &mut [u8]) -> Result<Option<Instant>> {
        let Some(mut socket) = self.socket.as_ref() else { return Ok(None) };
        let read = match socket.read(scratch) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = if self.partial.is_empty() {
            &scratch[..read]
        } else {
            self.partial.extend_from_slice(&scratch[..read]);
            &self.partial[..]
        };
        match length(self.framing, bytes)? {
            Some(length) if length == bytes.len() && self.since.is_some() => {}
            Some(_) => return Err(Error::new(ErrorKind::InvalidData, "more than one answer")),
            None if self.partial.is_empty() => {
                self.partial = bytes.to_vec();
                return Ok(None);
            }
            None => return Ok(None),
        }
        self.partial.clear();
        self.answered += 1;
        Ok(self.since.take())
    }

    /// From here on, messages.
    pub fn upgraded(&mut self) {
        self.framing = Framing::WebSocket;
    }

    /// Whether the server still holds the connection.
    pub fn is_open(&self) -> bool {
        let peeked = self.socket.as_ref().map(|socket| socket.peek(&mut [0]));
        matches!(peeked, Some(Err(error)) if error.kind() == ErrorKind::WouldBlock)
    }

    pub fn close(&mut self, poller: &Poller) {
        if let Some(socket) = self.socket.take() {
            let _ = poller.delete(&socket);
        }
        self.partial.clear();
        self.since = None;
    }
}
