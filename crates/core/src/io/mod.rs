//! Between the transport and the codecs.

pub(crate) mod outgoing;
pub(crate) mod room;
pub(crate) mod transport;
