//! The first words on an HTTP/2 connection: our SETTINGS out, the peer's preface and SETTINGS in.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{Reason, server};
use tokio::io::{AsyncRead, AsyncWrite};

use super::incoming::{Incoming, Seen};
use crate::{config::Config, io::tap::Tap};

type Connection<IO> = server::Connection<Incoming<Tap<IO>>, Bytes>;

/// A connection on which both sides have introduced themselves.
pub(crate) struct Opened<IO: AsyncRead + AsyncWrite + Unpin> {
    pub(super) connection: Connection<IO>,
    pub(super) seen: Arc<Seen>,
}

/// Preface -> Settings -> Over
enum Step<IO: AsyncRead + AsyncWrite + Unpin> {
    Preface(server::Handshake<Incoming<Tap<IO>>, Bytes>),
    /// h2 is content with the preface, but the peer's SETTINGS belong to it (RFC 9113 section 3.4).
    Settings(Connection<IO>),
    Over,
}

/// Ready when the peer has introduced itself. A failure is the peer's.
pub(crate) struct Handshake<IO: AsyncRead + AsyncWrite + Unpin> {
    step: Step<IO>,
    seen: Arc<Seen>,
}

/// Begins the handshake.
pub(crate) fn handshake<IO: AsyncRead + AsyncWrite + Unpin>(tap: Tap<IO>, config: &Config) -> Handshake<IO> {
    let limits = &config.limits;
    // One unread upload must not block the rest: a stream's window is a quarter of the connection's.
    let connection_window = limits.buffered_bytes.clamp(1 << 16, (1 << 31) - 1);
    let mut builder = server::Builder::new();
    builder
        .initial_connection_window_size(connection_window)
        .initial_window_size((connection_window / 4).max(1 << 14))
        .max_concurrent_streams(limits.concurrent_streams)
        // Streams that the peer resets before they are pulled are normal here; more than are open at once are not.
        .max_pending_accept_reset_streams(limits.concurrent_streams as usize)
        // Short DATA frames are moved out of h2 once a turn, however slowly they are pulled: a burst of them within one
        // turn is no attack yet.
        .data_frame_budget(8 * connection_window as usize)
        // h2 refuses a list of just this size.
        .max_header_list_size(u32::try_from(limits.header_bytes.saturating_add(1)).unwrap_or(u32::MAX));
    if config.extended_connect {
        builder.enable_connect_protocol();
    }
    let seen = Arc::<Seen>::default();
    Handshake { step: Step::Preface(builder.handshake(Incoming::new(tap, seen.clone()))), seen }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Handshake<IO> {
    type Output = Result<Opened<IO>, h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match mem::replace(&mut self.step, Step::Over) {
                Step::Preface(mut handshake) => match Pin::new(&mut handshake).poll(cx)? {
                    Poll::Ready(connection) => self.step = Step::Settings(connection),
                    Poll::Pending => {
                        self.step = Step::Preface(handshake);
                        return Poll::Pending;
                    }
                },
                Step::Settings(mut connection) => {
                    let ended = connection.poll_closed(cx)?.is_ready();
                    match self.seen.begins_with_settings() {
                        Some(false) => return Poll::Ready(Err(Reason::PROTOCOL_ERROR.into())),
                        None if !ended => {
                            self.step = Step::Settings(connection);
                            return Poll::Pending;
                        }
                        _ => return Poll::Ready(Ok(Opened { connection, seen: self.seen.clone() })),
                    }
                }
                Step::Over => return Poll::Pending,
            }
        }
    }
}
