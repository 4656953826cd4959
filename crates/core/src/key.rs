//! The name of one request.

/// Names one request of one stream of one connection: 12 bytes, `Copy`, made by the engine, spent by
/// the final answer. Every answer carries it, so an answer can never reach another request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The connection: no two [`Connection`](crate::Connection)s of a process have the same number, that of an engine is its
    /// owner's.
    pub connection: u32,
    /// The stream within the connection: 1 on HTTP/1.1, the stream identifier (RFC 9113 section 5.1.1) on HTTP/2.
    pub stream: u32,
    /// The request within the stream, from 0: counts up on HTTP/1.1, always 0 on HTTP/2.
    pub sequence: u32,
}
