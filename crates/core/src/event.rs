//! What a turn of the engine brings up.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, Version};

use crate::{
    error::{CloseReason, Code, Error, Refusal},
    fields::RequestFields,
    io::room::{self, Pool},
    key::Key,
};

/// Heads kept: those of a turn's requests on h2.
const SPARE_HEADS: usize = 128;

thread_local! {
    static SPARE: Pool<Box<RequestHead>> = const { Pool::new(SPARE_HEADS) };
}

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
    /// h1 `Upgrade:` (RFC 9110 section 7.8), lower case: a protocol, or a list of them, the most wanted first: `h2c, websocket`.
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

    /// What the values of Upgrade fields name, if anything.
    pub(crate) fn named<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut list = String::new();
        for name in values.flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii) {
            if !name.is_empty() && name.iter().all(u8::is_ascii_graphic) {
                list.push_str(if list.is_empty() { "" } else { ", " });
                list.extend(name.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            }
        }
        (!list.is_empty()).then_some(Self::Token(list))
    }

    /// What the request that asks for this turns into: what the answer names in `values` of Upgrade, else what is wanted most.
    pub(crate) fn chosen<'a>(&self, values: impl Iterator<Item = &'a [u8]>) -> Result<Self, Error> {
        let asked = || self.token().split(", ");
        match (self, Self::named(values)) {
            (Self::Token(_), None) => Ok(Self::Token(asked().take(1).collect())),
            (Self::Token(_), Some(named))
                if named.token().split(", ").all(|name| asked().any(|other| other == name)) =>
            {
                Ok(named)
            }
            (_, None) => Ok(self.clone()),
            (_, Some(named)) => {
                let message = format!("the request asks for {}, not for {}", self.token(), named.token());
                Err(Error::new(Code::InvalidHeader, message))
            }
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

impl RequestHead {
    /// A head whose fields `write` puts down, in memory that was used before if there is some.
    pub(crate) fn new(
        method: Method,
        uri: Uri,
        version: Version,
        upgrade: Option<Upgrade>,
        received_at: Instant,
        write: impl FnOnce(&mut RequestFields),
    ) -> Box<Self> {
        let mut head = match Pool::take(&SPARE) {
            Some(mut head) => {
                head.method = method;
                head.uri = uri;
                head.version = version;
                head.upgrade = upgrade;
                head.received_at = received_at;
                head
            }
            // The memory first: `Box::new` would make the head elsewhere, and move it.
            None => {
                let headers = RequestFields::default();
                Box::write(Box::new_uninit(), Self { method, uri, version, headers, upgrade, received_at })
            }
        };
        write(&mut head.headers);
        head
    }

    /// Has the next head on this thread written into the memory of this one. A head may as well be dropped: that is dearer
    /// by what its memory costs.
    pub fn recycle(self: Box<Self>) {
        if self.headers.capacity() <= room::TEXT_BYTES {
            Pool::give(&SPARE, self);
        }
    }
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
    /// The body cannot be read to its end. The request can still be answered. Or a tunnel cannot, whose outgoing half has been sent:
    /// then the exchange is over.
    BodyFailed {
        /// Whose.
        key: Key,
        /// Why.
        error: Error,
    },
    /// So much of what was written to a streamed response or a tunnel has been sent: all of it, or some.
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
    Upgraded {
        /// Whose.
        key: Key,
        /// What it speaks now: of what the request asked for, the one that was chosen.
        protocol: Upgrade,
    },
    /// Something was refused before it became a request.
    Refused(Refusal),
    /// The connection is over. Last, and once. See [`Engine::take_cut_short`](crate::engine::Engine::take_cut_short).
    Closed(CloseReason),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(field: &[u8]) -> Box<RequestHead> {
        let target = Uri::from_static("/a");
        RequestHead::new(Method::PUT, target, Version::HTTP_11, None, Instant::now(), |fields| {
            fields.set_parsed(&[httparse::Header { name: "X", value: field }]);
        })
    }

    #[test]
    fn a_recycled_head_is_written_anew() {
        let first = head(b"one");
        let memory = std::ptr::from_ref(&*first);
        first.recycle();
        let mut second = head(b"2");
        assert_eq!(std::ptr::from_ref(&*second), memory);
        assert_eq!(second.headers.iter().collect::<Vec<_>>(), [("x", &b"2"[..])]);
        second.upgrade = Some(Upgrade::Connect);
        second.recycle();
        assert_eq!(head(b"").upgrade, None);
    }

    #[test]
    fn what_is_chosen_was_asked_for() {
        let named = |values: &[&str]| Upgrade::named(values.iter().map(|value| value.as_bytes()));
        let token = |list: &str| Some(Upgrade::Token(list.into()));
        assert_eq!(named(&["", " , ,", "a\u{e9}"]), None);
        assert_eq!(named(&["H2C, WebSocket", "x/1"]), token("h2c, websocket, x/1"));
        let chosen = |asked: &Option<Upgrade>, values: &[&str]| {
            asked.as_ref()?.chosen(values.iter().map(|value| value.as_bytes())).ok()
        };
        let asked = token("h2c, websocket, x/1");
        assert_eq!(chosen(&asked, &[]), token("h2c"));
        assert_eq!(chosen(&asked, &["WebSocket"]), token("websocket"));
        assert_eq!(chosen(&asked, &["x/1, h2c"]), token("x/1, h2c"));
        for wrong in ["x", "x/2", "websocket, tls/1.0"] {
            assert_eq!(chosen(&asked, &[wrong]), None, "{wrong}");
        }
        assert_eq!(chosen(&Some(Upgrade::Connect), &[]), Some(Upgrade::Connect));
        assert_eq!(chosen(&Some(Upgrade::Connect), &["connect"]), None);
    }

    #[test]
    fn the_memory_of_a_large_head_is_not_kept() {
        let large = head(&[b'a'; room::TEXT_BYTES]);
        large.recycle();
        assert!(head(b"one").headers.capacity() < room::TEXT_BYTES);
    }
}
