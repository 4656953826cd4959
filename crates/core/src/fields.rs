//! Header fields between the wire and the caller, as plain text.
//!
//! Hot: once a request and once a response. A map costs a hash, a lookup and a reference for each field; most callers
//! hand the fields on, or look at two of them.

mod request;
mod response;
mod text;

pub use self::{request::RequestFields, response::ResponseFields};
pub(crate) use self::{
    response::write_line,
    text::{pairs, values},
};
