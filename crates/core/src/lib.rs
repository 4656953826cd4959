//! Pull-mode HTTP/1.1 and HTTP/2 server connections, over httparse and h2.
//!
//! The caller pulls: a [`Connection`] yields [`Stream`]s, a stream splits into an [`Input`] that yields requests with
//! their [`Key`]s and an [`Output`] that takes the answers, and `send` resolves when the answer has been sent. What is
//! not pulled is not read, nothing is spawned, and nothing runs but while a future of the connection is polled.
//!
//! ```no_run
//! use std::sync::Arc;
//! use bytes::Bytes;
//! use hyperpull::{Connection, config::Config, timer::NoTimer};
//!
//! # async fn serve(listener: tokio::net::TcpListener) -> Result<(), Box<dyn std::error::Error>> {
//! let config = Arc::new(Config::default());
//! while let Ok((io, _)) = listener.accept().await {
//!     let connection = Connection::new(0, io, config.clone(), NoTimer);
//!     while let Some(stream) = connection.next().await {
//!         let (mut input, mut output) = stream?.split();
//!         while let Some(item) = input.next().await {
//!             let (key, request) = item?;
//!             let answer = http::Response::new(Bytes::from(format!("you asked for {}\n", request.uri())));
//!             output.send((key, answer)).await?;
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Below these handles lies the [`engine::Engine`]: the same connection as a machine without futures, turned by its
//! owner, for those who have an event loop of their own.

mod body;
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
mod sync;
pub mod timer;
mod upgraded;
mod value;
mod wire;

pub use body::Body;
pub use connection::{Connection, Driver};
pub use key::Key;
pub use response::ResponseHead;
pub use shared::Sent;
pub use stream::{Input, Output, Sending, Stream, Writer};
pub use upgraded::Upgraded;
