//! Limits and timeouts: each with its default, its unit and its reason.

use std::time::Duration;

/// Less of `buffered_bytes` counts as so much: the first window of an h2 connection, and a chunk of a body.
pub(crate) const LEAST_BUFFERED: u32 = 1 << 16;

/// What one connection may cost. A count of `usize::MAX` or `u64::MAX` is no limit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Requests on one connection, after which it ends: on h1 with that answer; on h2 by GOAWAY, and what the peer opens before it has
    /// heard of that is served. Default: no limit.
    pub requests_per_connection: u64,
    /// Bytes of an h1 head or an h2 header list; over it the answer is 431. Default 16 KiB (node:http 16 KiB, nginx 32 KiB).
    pub header_bytes: usize,
    /// Fields in one head; over it the answer is 431. Default 100 (Envoy 100).
    pub header_count: usize,
    /// Bytes of a request target; over it the answer is 414. Default 8 KiB (RFC 9112 section 3 asks for 8000; nginx 8 KiB).
    pub target_bytes: usize,
    /// Bytes of one request body; over it the body fails with ERR_BODY_TOO_LARGE (answer 413). Default 128 MiB (Bun 128 MiB).
    pub body_bytes: u64,
    /// Open streams on one h2 connection. Default 128 (nginx 128, RFC 9113 advises at least 100).
    pub concurrent_streams: u32,
    /// Request bytes read and not yet pulled, per connection, 64 KiB at least. Default 1 MiB: sixteen h2 stream windows of
    /// 64 KiB. When bodies that nobody pulls have all of it, one that a reader waits for goes on beyond it, window by window: what
    /// is held is then that of all open streams, `concurrent_streams` times a sixteenth, at most.
    pub buffered_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_connection: u64::MAX,
            header_bytes: 16 << 10,
            header_count: 100,
            target_bytes: 8 << 10,
            body_bytes: 128 << 20,
            concurrent_streams: 128,
            buffered_bytes: 1 << 20,
        }
    }
}

/// How long one connection may wait. `None` turns one off.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// Protocol detection and the h2 preface, from accept. Default 10 s.
    pub handshake: Option<Duration>,
    /// First byte of a head to its last. Default 30 s (answer: 408).
    pub headers: Option<Duration>,
    /// Between request-body bytes, only while the caller is pulling. Default 30 s.
    pub body_idle: Option<Duration>,
    /// Between exchanges. Default 65 s (nginx 75 s; over the 60 s of most load balancers).
    pub keep_alive_idle: Option<Duration>,
    /// No response byte accepted by the peer. Default 60 s (nginx 60 s).
    pub write_stall: Option<Duration>,
    /// Age after which the connection ends: on h1 with its next answer; on h2 by GOAWAY, and what the peer opens before it has heard
    /// of that is served. Default off.
    pub connection_age: Option<Duration>,
    /// Period of h2 keep-alive pings; an answer is due within 20 s, or bytes that come or are taken
    /// meanwhile. Default 30 s.
    pub h2_ping: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Some(Duration::from_secs(10)),
            headers: Some(Duration::from_secs(30)),
            body_idle: Some(Duration::from_secs(30)),
            keep_alive_idle: Some(Duration::from_secs(65)),
            write_stall: Some(Duration::from_secs(60)),
            connection_age: None,
            h2_ping: Some(Duration::from_secs(30)),
        }
    }
}

/// Which protocols a connection may speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Protocols {
    /// Told apart by the HTTP/2 preface (prior knowledge, RFC 9113 section 3.3).
    Both,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
}

/// Everything one connection is told, shared by all connections of a listener. More may be added: begin with the default.
///
/// ```
/// let mut config = hyperpull::config::Config::default();
/// config.limits.body_bytes = 1 << 20;
/// config.timeouts.connection_age = Some(std::time::Duration::from_secs(3600));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Which protocols are spoken. Default both.
    pub protocols: Protocols,
    /// What a connection may cost.
    pub limits: Limits,
    /// How long it may wait.
    pub timeouts: Timeouts,
    /// Extended CONNECT on h2 (RFC 8441). Default true.
    pub extended_connect: bool,
    /// An h1 peer that has closed its sending side behind a request gets its answer. Default true. If not, its leaving is the
    /// end of the exchange, which fails with `PeerClosed`: most clients close both sides at once, and that looks the same.
    pub half_close: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            protocols: Protocols::Both,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            extended_connect: true,
            half_close: true,
        }
    }
}
