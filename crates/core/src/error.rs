//! What went wrong, and who is at fault.

use std::{borrow::Cow, fmt};

/// Who is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The peer broke the protocol, or left.
    Peer,
    /// The caller misused the interface.
    Local,
    /// The transport failed.
    Io,
}

macro_rules! codes {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal, $side:ident;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        #[repr(u8)]
        $vis enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every code, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable text of the code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Who is at fault.
            pub const fn side(self) -> Side {
                match self { $(Self::$variant => Side::$side,)* }
            }
        }
    };
}

codes! {
    /// The stable code of an [`Error`]. `InvalidOption`, `AddressInUse` and `TlsConfig` are of those who listen, as the Node addon does:
    /// no connection gives them.
    pub enum Code {
        /// The key's request has its final answer already.
        KeyUsed = "ERR_KEY_USED", Local;
        /// The key names no request of this stream.
        KeyUnknown = "ERR_KEY_UNKNOWN", Local;
        /// The request did not ask to leave HTTP.
        NotUpgradable = "ERR_NOT_UPGRADABLE", Local;
        /// The body has a reader already.
        BodyInUse = "ERR_BODY_IN_USE", Local;
        /// A field name or value that may not be sent (RFC 9110 section 5).
        InvalidHeader = "ERR_INVALID_HEADER", Local;
        /// A status that may not be sent here (RFC 9110 section 15).
        InvalidStatus = "ERR_INVALID_STATUS", Local;
        /// The body does not have the length that its Content-Length declares.
        BodyLengthMismatch = "ERR_BODY_LENGTH_MISMATCH", Local;
        /// An option that does not exist or has a value it cannot have.
        InvalidOption = "ERR_INVALID_OPTION", Local;
        /// Closed by this side.
        Closed = "ERR_CLOSED", Local;
        /// The address is taken.
        AddressInUse = "ERR_ADDRESS_IN_USE", Local;
        /// Certificates or keys that do not load.
        TlsConfig = "ERR_TLS_CONFIG", Local;
        /// The peer closed the connection.
        PeerClosed = "ERR_PEER_CLOSED", Peer;
        /// The peer reset the stream or the connection.
        PeerReset = "ERR_PEER_RESET", Peer;
        /// The request body is larger than allowed.
        BodyTooLarge = "ERR_BODY_TOO_LARGE", Peer;
        /// The request body did not go on in time.
        BodyTimeout = "ERR_BODY_TIMEOUT", Peer;
        /// The peer took no response byte for too long.
        WriteStalled = "ERR_WRITE_STALLED", Peer;
        /// The peer broke the protocol.
        Protocol = "ERR_PROTOCOL", Peer;
        /// The transport failed.
        Io = "ERR_IO", Io;
    }
}

codes! {
    /// Why a connection ended.
    pub enum CloseCode {
        /// The peer closed it between exchanges.
        PeerClosed = "peer-closed", Peer;
        /// The peer reset it.
        PeerReset = "peer-reset", Peer;
        /// It was drained: everything in flight was answered.
        Drained = "drained", Local;
        /// It was closed at once by this side.
        Closed = "closed", Local;
        /// The exchange asked for it: `connection: close`, HTTP/1.0, an unread body.
        ExchangeEnded = "exchange-ended", Local;
        /// It left HTTP and the tunnel has ended.
        Upgraded = "upgraded", Local;
        /// A request that may not be let in.
        BadRequest = "bad-request", Peer;
        /// The peer broke the protocol.
        ProtocolError = "protocol-error", Peer;
        /// No protocol was known in time.
        HandshakeTimeout = "handshake-timeout", Peer;
        /// A request head was not complete in time.
        HeadersTimeout = "headers-timeout", Peer;
        /// A request body did not go on in time.
        BodyTimeout = "body-timeout", Peer;
        /// No request came in time.
        KeepAliveTimeout = "keep-alive-timeout", Peer;
        /// The peer took no response byte for too long.
        WriteStalled = "write-stalled", Peer;
        /// The peer did not answer a ping in time.
        PingTimeout = "ping-timeout", Peer;
        /// The transport failed.
        Io = "io", Io;
        /// A fault of this library ended it.
        Internal = "internal", Local;
    }
}

codes! {
    /// Why a request or a connection was refused before a request reached the caller.
    pub enum Refusal {
        /// Malformed head, bad Host or target: 400. On HTTP/2 it may be RST_STREAM PROTOCOL_ERROR (RFC 9113 section 8.1.1).
        BadRequest = "bad-request", Peer;
        /// A target over `limits.target_bytes`: 414.
        TargetTooLong = "target-too-long", Peer;
        /// A head over `limits.header_bytes` or `limits.header_count`: 431.
        HeadTooLarge = "head-too-large", Peer;
        /// A method longer than any that is known: 501.
        MethodTooLong = "method-too-long", Peer;
        /// A declared body over `limits.body_bytes`: 413.
        BodyTooLarge = "body-too-large", Peer;
        /// A transfer coding that is not known, before chunked: 501.
        UnknownCoding = "unknown-coding", Peer;
        /// A version that is not spoken: 505.
        Version = "version", Peer;
        /// A stream over `limits.concurrent_streams`: REFUSED_STREAM.
        TooManyStreams = "too-many-streams", Peer;
        /// No protocol was known in time.
        HandshakeTimeout = "handshake-timeout", Peer;
        /// A request head was not complete in time: 408.
        HeadersTimeout = "headers-timeout", Peer;
        /// A broken HTTP/2 preface or frame.
        ProtocolError = "protocol-error", Peer;
        /// The drain had begun: 503 on HTTP/1.1, REFUSED_STREAM on HTTP/2.
        Draining = "draining", Local;
    }
}

impl Code {
    /// The status that answers it best, when there is one.
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::BodyTooLarge => Some(413),
            Self::BodyTimeout => Some(408),
            Self::Protocol => Some(400),
            _ => None,
        }
    }
}

/// One failure: a stable [`Code`] and a text for people.
#[derive(Clone, Debug)]
pub struct Error {
    code: Code,
    message: Cow<'static, str>,
}

impl Error {
    /// An error of `code`, told in `message`.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// The stable code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Who is at fault.
    pub const fn side(&self) -> Side {
        self.code.side()
    }

    /// The text for people, without the code.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Error {}

/// Why a connection ended, and a text for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloseReason {
    /// The stable code.
    pub code: CloseCode,
    /// The text for people.
    pub message: Cow<'static, str>,
}

impl CloseReason {
    /// A reason of `code`, told in `message`.
    pub fn new(code: CloseCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// What an exchange fails with when its connection ends so.
    pub(crate) fn failure(&self) -> Error {
        let code = match self.code {
            CloseCode::PeerReset => Code::PeerReset,
            CloseCode::PeerClosed | CloseCode::ExchangeEnded | CloseCode::KeepAliveTimeout | CloseCode::PingTimeout => {
                Code::PeerClosed
            }
            CloseCode::WriteStalled => Code::WriteStalled,
            CloseCode::BodyTimeout => Code::BodyTimeout,
            CloseCode::BadRequest
            | CloseCode::ProtocolError
            | CloseCode::HandshakeTimeout
            | CloseCode::HeadersTimeout => Code::Protocol,
            CloseCode::Io => Code::Io,
            CloseCode::Drained | CloseCode::Closed | CloseCode::Upgraded | CloseCode::Internal => Code::Closed,
        };
        Error::new(code, self.message.clone())
    }
}
