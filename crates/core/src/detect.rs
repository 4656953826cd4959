//! Tells HTTP/2 with prior knowledge from HTTP/1.1 by the client's preface (RFC 9113 section 3.4).

use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::AsyncRead;

use crate::{
    config::Protocols,
    error::{CloseCode, CloseReason},
    io::{
        room,
        transport::{Traffic, poll_read},
    },
};

/// What a client says before its first frame.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) enum Detected {
    /// What has come fits both.
    Pending,
    Http1,
    Http2,
    Closed(CloseReason),
}

/// Reads until the protocol is known, one byte at least; what it reads is left in `early`.
pub(crate) fn detect<IO: AsyncRead + Unpin>(
    io: &mut IO,
    early: &mut BytesMut,
    protocols: Protocols,
    traffic: &Traffic,
    cx: &mut Context<'_>,
) -> Detected {
    loop {
        let seen = early.len().min(PREFACE.len());
        if early[..seen] != PREFACE[..seen] || (seen > 0 && protocols == Protocols::Http1) {
            return Detected::Http1;
        }
        if seen == PREFACE.len() {
            return Detected::Http2;
        }
        room::lend(early);
        match poll_read(io, early, traffic, cx) {
            Poll::Pending => {
                room::settle(early);
                return Detected::Pending;
            }
            Poll::Ready(Ok(0)) => {
                return Detected::Closed(CloseReason::new(CloseCode::PeerClosed, "the peer closed the connection"));
            }
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(fault)) => return Detected::Closed(fault.reason()),
        }
    }
}
