//! Frames that carry no request and no body (RFC 9113 sections 6.3 to 6.5, 6.7 and 6.9).

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    H2,
    frame::{self, Head, MAX_31, Reason, flag, number, setting},
    goaway::DRAIN,
    receive::{Broken, broken},
    stream::reset_by_peer,
    timeouts::{KEEP_ALIVE, PingState},
};
use crate::wire::Turn;

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    /// What it says is not followed (RFC 9113 section 5.3.2), but must be said right.
    pub(super) fn priority(&mut self, head: Head, payload: &[u8], turn: &mut Turn<'_, '_>) -> Result<(), Broken> {
        let (reason, what) = match payload.len() {
            _ if head.stream == 0 => return broken(Reason::ProtocolError, "PRIORITY of no stream"),
            5 if number(payload) & MAX_31 != head.stream => return Ok(()),
            5 => (Reason::ProtocolError, "a stream depends on itself"),
            _ => (Reason::FrameSizeError, "PRIORITY is not five bytes long"),
        };
        if self.streams.get_mut(head.stream).is_some() {
            return self.stream_error(head.stream, reason, what, turn);
        }
        // There is no stream to reset.
        broken(reason, what)
    }

    pub(super) fn reset_stream(&mut self, head: Head, payload: &[u8], turn: &mut Turn<'_, '_>) -> Result<(), Broken> {
        let id = head.stream;
        if payload.len() != 4 {
            return broken(Reason::FrameSizeError, "RST_STREAM is not four bytes long");
        }
        if self.is_idle(id) {
            return broken(Reason::ProtocolError, "RST_STREAM of a stream that is not open");
        }
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        let answered = stream.answered;
        self.fail(id, reset_by_peer(number(payload)), turn);
        if answered { Ok(()) } else { self.waste("requests that are cancelled") }
    }

    pub(super) fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        if head.stream != 0 {
            return broken(Reason::ProtocolError, "SETTINGS on a stream");
        }
        if head.has(flag::ACK) {
            if !payload.is_empty() {
                return broken(Reason::FrameSizeError, "SETTINGS that acknowledge have a payload");
            }
            self.acknowledged();
            return Ok(());
        }
        let (settings, rest) = payload.as_chunks();
        if !rest.is_empty() {
            return broken(Reason::FrameSizeError, "SETTINGS are cut off");
        }
        let mut window = None;
        for &[a, b, c, d, e, f] in settings {
            let value = u32::from_be_bytes([c, d, e, f]);
            match u16::from_be_bytes([a, b]) {
                setting::HEADER_TABLE_SIZE => self.encoder.limit(value),
                setting::ENABLE_PUSH | setting::ENABLE_CONNECT_PROTOCOL | setting::NO_RFC7540_PRIORITIES
                    if value > 1 =>
                {
                    return broken(Reason::ProtocolError, "a setting is neither 0 nor 1");
                }
                setting::INITIAL_WINDOW_SIZE if value > MAX_31 => {
                    return broken(Reason::FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE is out of its range");
                }
                setting::INITIAL_WINDOW_SIZE => window = Some(value),
                setting::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                    return broken(Reason::ProtocolError, "SETTINGS_MAX_FRAME_SIZE is out of its range");
                }
                _ => {}
            }
        }
        // All streams are gone through for it: once a frame, however often the frame says it.
        if let Some(window) = window {
            self.resize_windows(window)?;
        }
        frame::write_settings_ack(self.outgoing.tail());
        Ok(())
    }

    pub(super) fn ping(&mut self, head: Head, payload: &[u8], turn: &mut Turn<'_, '_>) -> Result<(), Broken> {
        let Ok(opaque) = <[u8; 8]>::try_from(payload) else {
            return broken(Reason::FrameSizeError, "PING is not eight bytes long");
        };
        if head.stream != 0 {
            return broken(Reason::ProtocolError, "PING on a stream");
        }
        if !head.has(flag::ACK) {
            frame::write_ping(self.outgoing.tail(), flag::ACK, opaque);
        } else if opaque == DRAIN {
            self.finish_going();
        } else if opaque == KEEP_ALIVE && matches!(self.ping, PingState::Sent { .. }) {
            self.ping = PingState::Waiting { since: turn.now, read: self.traffic.read.get() };
        }
        Ok(())
    }

    pub(super) fn window_update(&mut self, head: Head, payload: &[u8], turn: &mut Turn<'_, '_>) -> Result<(), Broken> {
        let id = head.stream;
        if payload.len() != 4 {
            return broken(Reason::FrameSizeError, "WINDOW_UPDATE is not four bytes long");
        }
        let more = number(payload) & MAX_31;
        if id == 0 {
            self.send_window += i64::from(more);
            return match more {
                0 => broken(Reason::ProtocolError, "WINDOW_UPDATE by nothing"),
                _ if self.send_window > i64::from(MAX_31) => {
                    broken(Reason::FlowControlError, "the window of the connection overflows")
                }
                _ => Ok(()),
            };
        }
        if self.is_idle(id) {
            return broken(Reason::ProtocolError, "WINDOW_UPDATE of a stream that is not open");
        }
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        stream.send_window += i64::from(more);
        if more == 0 {
            return self.stream_error(id, Reason::ProtocolError, "WINDOW_UPDATE by nothing", turn);
        }
        if stream.send_window > i64::from(MAX_31) {
            return self.stream_error(id, Reason::FlowControlError, "the window of a stream overflows", turn);
        }
        if stream.wants_to_send() {
            self.now_sending(id);
        }
        Ok(())
    }
}
