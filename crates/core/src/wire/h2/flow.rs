//! Windows (RFC 9113 sections 5.2 and 6.9): what the peer may send, and what it takes.

use std::mem;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    H2,
    frame::{self, MAX_31, Reason},
    receive::{Broken, broken},
    stream::{Coming, Stream},
};
use crate::io::outgoing::Outgoing;

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    /// So many bytes of a stream have been taken: their window is given back, to it and to the connection.
    pub(super) fn taken_of(&mut self, id: u32, bytes: usize) {
        if let Some(stream) = self.streams.get_mut(id)
            && stream.coming != Coming::Ended
        {
            stream.taken += bytes as u32;
            stream.give_back(&mut self.outgoing);
        }
        self.give_back(bytes);
    }

    /// Gives window of the connection back: first what was lent, which the peer has had already.
    pub(super) fn give_back(&mut self, bytes: usize) {
        let owed = self.lent.min(bytes);
        self.lent -= owed;
        self.taken += (bytes - owed) as u32;
        if self.taken > 0 && i64::from(self.taken) * 2 >= self.receive_window {
            let more = mem::take(&mut self.taken);
            self.receive_window += i64::from(more);
            frame::write_window_update(self.outgoing.tail(), 0, more);
        }
    }

    /// Lends the peer window of the connection when bodies that nobody reads keep all of it, while a reader waits for what the peer
    /// may therefore not send: both would wait for ever. Other streams may use it up, and it is lent again; but each has a window of
    /// its own, so no more is held than those of all open streams.
    pub(super) fn lend(&mut self) {
        if self.receive_window > 0 {
            return;
        }
        if let Some(starved) = self.streams.iter().find(|stream| stream.starves()) {
            let more = starved.receive_window.min(i64::from(self.stream_window)) as u32;
            self.lent += more as usize;
            self.receive_window += i64::from(more);
            frame::write_window_update(self.outgoing.tail(), 0, more);
        }
    }

    /// The peer has heard our SETTINGS: from here on it keeps to our windows (RFC 9113 section 6.9.2).
    pub(super) fn acknowledged(&mut self) {
        self.heard = true;
        let more = i64::from(self.stream_window) - self.first_receive_window;
        self.first_receive_window += more;
        for stream in self.streams.iter_mut() {
            stream.receive_window += more;
            // The peer may have no more left than has been taken.
            stream.give_back(&mut self.outgoing);
        }
    }

    pub(super) fn resize_windows(&mut self, size: u32) -> Result<(), Broken> {
        let more = i64::from(size) - self.first_send_window;
        self.first_send_window += more;
        let mut overflows = false;
        for stream in self.streams.iter_mut() {
            stream.send_window += more;
            overflows |= stream.send_window > i64::from(MAX_31);
            if stream.wants_to_send() && !mem::replace(&mut stream.listed, true) {
                self.sending.push(stream.key.stream);
            }
        }
        if overflows { broken(Reason::FlowControlError, "SETTINGS have a window overflow") } else { Ok(()) }
    }
}

impl Stream {
    /// A reader waits, has all that has come, and the stream's own window lets more in.
    fn starves(&self) -> bool {
        self.exchange.waiting() && self.incoming.is_empty() && self.coming != Coming::Ended && self.receive_window > 0
    }

    /// Gives back what has been taken: before the window is shut, and not for each byte.
    fn give_back(&mut self, outgoing: &mut Outgoing) {
        if self.taken > 0 && i64::from(self.taken) * 2 >= self.receive_window {
            let more = mem::take(&mut self.taken);
            self.receive_window += i64::from(more);
            frame::write_window_update(outgoing.tail(), self.key.stream, more);
        }
    }
}
