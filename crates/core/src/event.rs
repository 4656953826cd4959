//! What a turn of the engine brings up.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, Version};

use crate::{
    error::{CloseReason, Error, Refusal},
    fields::RequestFields,
    key::Key,
};

/// The protocol of a connection, once known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1: one stream, request after request.
    Http1,
    /// HTTP/2: many streams, one request each.
    Http2,
}

/// What a request that may leave HTTP asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Upgrade {
    /// h1 `Upgrade:` with its field value (RFC 9110 section 7.8), lower case.
    Token(String),
    /// CONNECT to an authority (RFC 9110 section 9.3.6).
    Connect,
    /// Extended CONNECT with its `:protocol` (RFC 8441).
    Extended(String),
}

impl Upgrade {
    /// The token that names it: `websocket`, `connect`, ...
    pub fn token(&self) -> &str {
        match self {
            Self::Token(token) | Self::Extended(token) => token,
            Self::Connect => "connect",
        }
    }
}

/// The head of one request. Field names are lower case, in wire order by name.
#[derive(Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The target: origin, absolute, authority or asterisk form (RFC 9112 section 3.2). On h2 it carries scheme and authority.
    pub uri: Uri,
    /// The version that the peer spoke.
    pub version: Version,
    /// The header fields.
    pub headers: RequestFields,
    /// What the request may turn into, if anything.
    pub upgrade: Option<Upgrade>,
    /// When the head was complete.
    pub received_at: Instant,
}

/// What follows a request head.
#[derive(Debug)]
pub enum RequestBody {
    /// Nothing.
    None,
    /// A small body that had come whole with the head: it need not be pulled.
    Complete(Bytes),
    /// Chunks, to be pulled.
    Streamed {
        /// Content-Length, if the peer gave one.
        length: Option<u64>,
    },
}

/// What a turn brings up, in the order in which it happened.
#[derive(Debug)]
pub enum Event {
    /// The protocol is known. First, and once.
    Open(Protocol),
    /// A request that was pulled.
    Request {
        /// Its name.
        key: Key,
        /// Its head.
        head: Box<RequestHead>,
        /// What follows.
        body: RequestBody,
    },
    /// Bytes of a request body or of a tunnel: the answer to one pull.
    Chunk {
        /// Whose.
        key: Key,
        /// At least one byte.
        bytes: Bytes,
    },
    /// The body or the tunnel's incoming half is complete: the answer to one pull.
    End {
        /// Whose.
        key: Key,
        /// The trailer section (RFC 9110 section 6.5), if there was one.
        trailers: Option<Box<HeaderMap>>,
    },
    /// The body cannot be read to its end. The request can still be answered.
    BodyFailed {
        /// Whose.
        key: Key,
        /// Why.
        error: Error,
    },
    /// All that was written so far to a streamed response or a tunnel has been sent.
    Written {
        /// Whose.
        key: Key,
        /// Bytes since the start of the response.
        bytes: u64,
    },
    /// The response has been sent: the transport took its last byte. The key is spent.
    Sent {
        /// Whose.
        key: Key,
        /// Response body bytes.
        bytes: u64,
        /// When.
        at: Instant,
    },
    /// The exchange is over without its response having been sent. The key is spent.
    Failed {
        /// Whose.
        key: Key,
        /// Why.
        error: Error,
    },
    /// The stream has left HTTP: chunks, writes and finish now carry the tunnel.
    Upgraded(Key),
    /// Something was refused before it became a request.
    Refused(Refusal),
    /// The connection is over. Last, and once.
    Closed(CloseReason),
}
