//! What is known to go wrong on HTTP/1.1 and is not tried. Each is to become `true` when it has been put right.

/// A LF in a body that is read right after its head: the codec reads it before the engine has taken the request, and the tap
/// takes it for a bare LF of the head, which is then refused.
pub const LF_IN_BODIES: bool = false;

/// Requests behind one that has not been answered: a read that ends within the next head makes the tap lose count of heads.
pub const PIPELINING: bool = false;

/// A whole answer to HEAD, or with 204 or 304, whose Content-Length is not that of its bytes: they are dropped anyway, but a
/// debug build of hyper panics.
pub const BODILESS_LENGTHS: bool = false;

/// CONNECT over HTTP/1.0: it is not treated as one, and its 2xx loses its body on the way.
pub const CONNECT_OVER_1_0: bool = false;

/// An interim answer of the caller's while a `100 Continue` has been written in part: it goes out in the middle of that.
pub const INTERIM_AFTER_CONTINUE: bool = false;
