//! Between the transport and the codecs.

mod frames;
pub(crate) mod inbound;
pub(crate) mod outbound;
pub(crate) mod outgoing;
pub(crate) mod room;
pub(crate) mod tap;
pub(crate) mod transport;
