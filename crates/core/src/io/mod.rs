//! Between the transport and the codecs.

pub(crate) mod frames;
pub(crate) mod inbound;
pub(crate) mod outgoing;
pub(crate) mod room;
pub(crate) mod tap;
pub(crate) mod transport;
