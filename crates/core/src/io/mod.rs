//! Between the transport and the codecs.

mod cursor;
pub(crate) mod frames;
pub(crate) mod tap;
