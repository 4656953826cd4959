//! Between the transport and the codecs.

mod cursor;
pub(crate) mod frames;
mod lines;
pub(crate) mod tap;
