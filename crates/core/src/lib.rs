//! Pull-mode HTTP/1.1 and HTTP/2 server connections.
//!
//! The caller pulls: streams from a [`Connection`], requests from a [`Stream`], chunks from the [`Body`] of a request. What
//! is not pulled is not read. An answer names its request by the [`Key`], and resolves when it **has been sent**. Nothing
//! is spawned, and nothing runs but while a future of the connection is polled.
//!
//! # The loop
//!
//! ```no_run
//! use std::sync::Arc;
//! use http::Response;
//! use hyperpull::{Connection, config::Config, timer::TokioTimer};
//!
//! # async fn serve(listener: tokio::net::TcpListener) -> std::io::Result<()> {
//! let config = Arc::new(Config::default());
//! while let Ok((io, _)) = listener.accept().await {
//!     io.set_nodelay(true)?;
//!     let connection = Connection::new(io, config.clone(), TokioTimer::default());
//!     // What a peer has done is no reason to end this loop: hence no `?`.
//!     while let Some(Ok(stream)) = connection.next().await {
//!         let (mut input, mut output) = stream.split();
//!         while let Some(Ok((key, request))) = input.next().await {
//!             match output.send((key, Response::new(format!("you asked for {}\n", request.uri())))).await {
//!                 Ok(sent) => println!("{} bytes sent at {:?}", sent.bytes, sent.at),
//!                 Err(error) => println!("not sent: {error}"),
//!             }
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | | is | gives |
//! |---|---|---|
//! | [`Connection`] | an accepted transport | streams: one on HTTP/1.1, one for each request on HTTP/2 |
//! | [`Input`] | the half of a stream that brings requests | requests with their keys: one after the other on HTTP/1.1, one on HTTP/2 |
//! | [`Request`] | a head, whose fields stay text until they are asked for | its [`Body`]; by `into()` an [`http::Request`] |
//! | [`Body`] | what follows a request's head | chunks, then the trailer section |
//! | [`Output`] | the half of a stream that takes answers | [`Sending`]: resolves when the answer has been sent |
//! | [`Key`] | the name of one request: `Copy`, spent by the final answer | |
//!
//! As it stands the loop serves one request at a time. Who awaits less serves more: with the body of a loop in a task of its
//! own there is a task for each connection, each stream or each request, and a semaphore before a pull is a limit.
//! An answer may come from any task that has a clone of the output: the key says which request it is for, and a key that
//! was spent, or is of another stream, is refused.
//!
//! # What drives a connection
//!
//! Any of its futures: [`next`](Connection::next), [`Input::next`], [`Sending`], [`Body::chunk`] and so on. One that waits does
//! the connection's work for all that wait, and when it is dropped another takes over. So a loop that awaits one of them
//! at any time needs nothing else. Where all of them may rest, while a program waits for something of its own, a [`Driver`]
//! goes on reading pings, writing answers and keeping deadlines, wherever it is put:
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use http::Response;
//! # use hyperpull::{Connection, config::Config, timer::TokioTimer};
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (mut client, io) = tokio::io::duplex(1 << 16);
//! # client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await?;
//! # let connection = Connection::new(io, Arc::new(Config::default()), TokioTimer::default());
//! # let (mut input, mut output) = connection.next().await.ok_or("no stream")??.split();
//! # let (key, _) = input.next().await.ok_or("no request")??;
//! let driver = tokio::spawn(connection.driver());
//! // The answer is queued by the call, and nobody waits for it.
//! drop(output.send((key, Response::new("hello"))));
//! # let mut seen = [0; 1000];
//! # let read = client.read(&mut seen).await?;
//! # assert!(seen[..read].ends_with(b"hello"));
//! # drop(client);
//! println!("the connection ended: {}", driver.await?.code.as_str());
//! # Ok(())
//! # }
//! ```
//!
//! A future can be dropped, by `select!` or a timeout, and nothing is lost: what came meanwhile is given to the next call.
//! [`Output::upgrade`] is the exception, and says so. To drop the future of an answer does not take the
//! answer back; [`Output::reset`] does.
//!
//! # Bodies and answers
//!
//! ```
//! # use std::sync::Arc;
//! # use http::Response;
//! # use hyperpull::{Connection, config::Config, error::{Code, Side}, timer::TokioTimer};
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (mut client, io) = tokio::io::duplex(1 << 16);
//! # client.write_all(b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await?;
//! # let connection = Connection::new(io, Arc::new(Config::default()), TokioTimer::default());
//! # let (mut input, mut output) = connection.next().await.ok_or("no stream")??.split();
//! let (key, mut request) = input.next().await.ok_or("no request")??;
//!
//! // Chunk by chunk; `bytes(limit)` has it whole. Not to read is fine: the peer is held up, then told to stop.
//! let mut size = 0;
//! while let Some(chunk) = request.body_mut().chunk().await? {
//!     size += chunk.len();
//! }
//! assert_eq!(size, 5);
//!
//! // Piece by piece; `send` takes it whole. A write waits until no more than so many bytes wait to be sent: 0 is a flush.
//! let mut writer = output.start(key, Response::new(()))?;
//! writer.write("one, ", 64 << 10).await?;
//! writer.write("two", 0).await?;
//! let sent = writer.finish(None).await?;
//! assert_eq!(sent.bytes, 8);
//!
//! // A failure has a stable code and a side at fault.
//! let error = output.send((key, Response::new("once more"))).await.unwrap_err();
//! assert_eq!((error.code(), error.side()), (Code::KeyUsed, Side::Local));
//! # Ok(())
//! # }
//! ```
//!
//! [`Output::inform`] sends 1xx ahead of the answer. A request that may leave HTTP has an
//! [`upgrade`](Request::upgrade), and [`Output::upgrade`] makes a byte stream of it. What the peer did wrong before there was a request (a
//! malformed head, one that is too large, one that does not end) is answered with 400, 408, 413, 414, 431, 501 or 505 and never seen.
//!
//! # Ends
//!
//! [`Connection::drain`] takes nothing new and lets what is in flight finish; pull on until there is `None`.
//! [`Connection::close`] is at once. [`Output::reset`] abandons one stream. To drop a stream with a request that was not
//! answered resets it, and to drop all handles of a connection closes it. A deadline is a timeout around any of these.
//!
//! # Limits and timeouts
//!
//! [`Config`](config::Config) has them all, each with its default and its reason. Timeouts need a [`Timer`](timer::Timer): there
//! is tokio's, and any other is a dozen lines.
//!
//! # Transports and runtimes
//!
//! A transport is whatever has tokio's `AsyncRead` and `AsyncWrite`, which are traits of no runtime; `tokio-util`'s `compat`
//! makes them of those of `futures`, for smol. Hand over what an acceptor of TLS gives, and choose the
//! protocol by ALPN with [`Config::protocols`](config::Config::protocols); in clear text the first bytes tell. Turn Nagle's algorithm
//! off (`set_nodelay`). Handles are `Send` if the transport and the timer are.
//!
//! # Features
//!
//! `tokio-timer`: `timer::TokioTimer`, deadlines from tokio's timer.
//!
//! # Examples
//!
#![doc = include_str!("../examples/README.md")]
//!
//! # Without futures
//!
//! Below the handles lies the [`engine::Engine`]: the same connection as a machine without futures, turned by its owner, for
//! those who have an event loop of their own.
//!
//! # Safety
//!
//! One line is unsafe, in `src/value.rs`: a field value that httparse or the HPACK decoder has checked is not checked again. The
//! file argues it, and tests compare all bytes that the two and `HeaderValue` let through. The rest of the crate denies unsafe code.
//!
//! # Versions
//!
//! Semantic versioning; enums that may grow are `#[non_exhaustive]`. Rust 1.88 or later; a rise of that is a minor version.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]
#![warn(missing_debug_implementations)]

mod body;
mod by_id;
mod check;
mod closing;
pub mod config;
mod connection;
mod date;
mod detect;
pub mod engine;
pub mod error;
pub mod event;
mod exchange;
pub mod fields;
mod io;
mod key;
mod lead;
mod relay;
mod request;
mod response;
mod shared;
mod stream;
mod streams;
mod sync;
pub mod timer;
mod upgraded;
mod value;
mod wire;

pub use body::Body;
pub use connection::{Connection, Driver};
pub use key::Key;
pub use request::Request;
pub use response::ResponseHead;
pub use shared::Sent;
pub use stream::{Input, Output, Sending, Stream, Writer};
pub use upgraded::Upgraded;

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
