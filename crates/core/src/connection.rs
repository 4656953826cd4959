//! A connection and its driver.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    config::Config,
    engine::Engine,
    error::{CloseCode, CloseReason, Code, Error, Side},
    event::Protocol,
    lead::Rank,
    shared::{Handle, Inner, Interest, Operation, Shared},
    stream::Stream,
    timer::Timer,
};

/// So many there were: the number of each is part of its keys.
static CONNECTIONS: AtomicU32 = AtomicU32::new(0);

/// One HTTP connection over the transport `IO`, with the deadlines of the timer `T`.
///
/// Nothing is read, written or parsed but while one of its futures is polled: `next`, the operations of its streams,
/// or a [`Driver`], which does nothing else. A clone is another handle of the same connection; dropping every handle
/// closes the transport.
///
/// Operations drive the connection together, in one task or in several: each turns it when it is polled, and one of
/// those that wait, the one that has waited longest, is woken for the transport, the timer and what others have queued. So
/// an operation that was polled has to be polled again when it is woken, or dropped: one that is kept aside can hold up
/// those of other tasks.
/// A driver leads before all others; with one, operations may be kept aside.
#[derive(Debug)]
pub struct Connection<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> {
    shared: Arc<Shared<IO, T>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Connection<IO, T> {
    /// A connection over an accepted transport (above TLS, if there is TLS).
    pub fn new(io: IO, config: Arc<Config>, timer: T) -> Self {
        let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        let engine = Engine::new(number, io, config, timer.now());
        Self { shared: Shared::new(Inner::new(engine, timer)) }
    }

    /// The next stream: one for an h1 connection, one for each request on h2, which has read a few ahead. `None` when there
    /// will be none.
    ///
    /// Fails, once, when the peer broke HTTP/2, the transport failed, or this library did. Any other end is `None`, that of an
    /// HTTP/1.1 connection whose peer sent no HTTP too: it has been told so, and [`closed`](Self::closed) says why. Cancel-safe: a
    /// stream that came while nobody waited is given to the next call.
    pub async fn next(&self) -> Option<Result<Stream<IO, T>, Error>> {
        let shared = self.shared.clone();
        Operation::new(&self.shared, Rank::Future, Interest::Connection)
            .until(move |inner| {
                if let Some(id) = inner.arrivals.pop_front() {
                    return Poll::Ready(Some(Ok(Stream::new(Handle { shared: shared.clone(), id }))));
                }
                if let Some(reason) = &inner.closed {
                    let told = std::mem::replace(&mut inner.told, true);
                    let fault = reason.side_at_fault().filter(|_| !told);
                    return Poll::Ready(fault.map(Err));
                }
                if inner.protocol != Some(Protocol::Http1) {
                    inner.ask();
                }
                Poll::Pending
            })
            .await
    }

    /// A future that does the connection's work until it ends, and says why it did. With one placed anywhere (spawned,
    /// joined, polled by hand) the other futures need not be polled for the connection to get on. Cancel-safe: dropping
    /// it leaves the work to who waits.
    pub fn driver(&self) -> Driver<IO, T> {
        Driver { operation: Operation::new(&self.shared, Rank::Driver, Interest::End) }
    }

    /// Takes nothing new and lets what is in flight finish: h1 answers with `connection: close`, h2 sends GOAWAY. Idempotent;
    /// `next` and `closed` tell when it has come to its end. What has come and was not pulled is in flight: go on pulling
    /// until `next` gives `None`, or what nobody takes holds the connection.
    pub fn drain(&self) {
        self.shared.command(|inner| inner.engine.drain());
    }

    /// Closes at once: what is in flight fails with `Closed`. Idempotent.
    pub fn close(&self) {
        self.shared.command(|inner| inner.engine.close());
    }

    /// Waits for the end, and says why it came. As a [`driver`](Self::driver) it does the connection's work meanwhile, before all
    /// that wait: it is to be polled when it is woken, or dropped. Cancel-safe.
    pub async fn closed(&self) -> CloseReason {
        self.driver().await
    }

    /// The protocol, once it is known.
    pub fn protocol(&self) -> Option<Protocol> {
        self.shared.lock().protocol
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Clone for Connection<IO, T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl CloseReason {
    /// The error of a connection that did not end as it should.
    fn side_at_fault(&self) -> Option<Error> {
        let code = match (self.code, self.code.side()) {
            (CloseCode::ProtocolError, _) => Code::Protocol,
            (CloseCode::Internal, _) => Code::Closed,
            (_, Side::Io) => Code::Io,
            _ => return None,
        };
        Some(Error::new(code, self.message.clone()))
    }
}

/// Does a connection's work when polled. See [`Connection::driver`].
#[derive(Debug)]
pub struct Driver<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> {
    operation: Operation<IO, T>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Future for Driver<IO, T> {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.operation.poll(cx, |inner: &mut Inner<IO, T>| inner.closed.clone().map_or(Poll::Pending, Poll::Ready))
    }
}
