//! The first words on an HTTP/2 connection: our SETTINGS out, the peer's preface and SETTINGS in.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use h2::{Reason, server};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    config::Config,
    io::{
        tap::{Tap, TapState},
        transport::Traffic,
    },
};

type Connection<IO> = server::Connection<Tap<IO>, Bytes>;

/// A connection on which both sides have introduced themselves.
pub(crate) struct Opened<IO: AsyncRead + AsyncWrite + Unpin> {
    pub(super) connection: Connection<IO>,
    pub(super) tap: Arc<TapState>,
}

/// Preface -> Settings -> Over
enum Step<IO: AsyncRead + AsyncWrite + Unpin> {
    Preface(server::Handshake<Tap<IO>, Bytes>),
    /// h2 is content with the preface, but the peer's SETTINGS belong to it (RFC 9113 section 3.4).
    Settings(Connection<IO>),
    Over,
}

/// Ready when the peer has introduced itself. A failure is the peer's.
pub(crate) struct Handshake<IO: AsyncRead + AsyncWrite + Unpin> {
    step: Step<IO>,
    tap: Arc<TapState>,
}

/// How many streams that nobody reads it takes to fill the window of a connection.
const WINDOWS: u32 = 16;

/// Begins the handshake.
pub(crate) fn handshake<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    early: BytesMut,
    traffic: Arc<Traffic>,
    config: &Config,
) -> Handshake<IO> {
    let limits = &config.limits;
    // What is sent on streams that nobody reads keeps its part of the connection's window: so each part is small, for
    // those that are read to go on. Not smaller, because a part goes to and fro once a round trip.
    let connection_window = limits.buffered_bytes.clamp(1 << 16, (1 << 31) - 1);
    let mut builder = server::Builder::new();
    builder
        .initial_connection_window_size(connection_window)
        .initial_window_size((connection_window / WINDOWS).max(1 << 14))
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
    let tap = TapState::new(traffic);
    Handshake { step: Step::Preface(builder.handshake(Tap::new(io, early, tap.clone()))), tap }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Handshake<IO> {
    type Output = Result<Opened<IO>, h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.tap.refill();
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
                    let begins_with_settings = self.tap.inbound().begins_with_settings();
                    match begins_with_settings {
                        Some(false) => return Poll::Ready(Err(Reason::PROTOCOL_ERROR.into())),
                        None if !ended => {
                            self.step = Step::Settings(connection);
                            return Poll::Pending;
                        }
                        _ => return Poll::Ready(Ok(Opened { connection, tap: self.tap.clone() })),
                    }
                }
                Step::Over => return Poll::Pending,
            }
        }
    }
}
