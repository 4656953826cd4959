//! A request, as a stream brings it.

use std::time::Instant;

use http::{Method, Uri, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    body::Body,
    event::{RequestHead, Upgrade},
    fields::RequestFields,
    timer::Timer,
};

/// A request: its head, and its body to be pulled.
///
/// The header fields stay the text that they came as, since most servers look at two of them. Whoever wants them as a map, or
/// what takes an [`http::Request`], has it by `into()`: the upgrade is then among its extensions.
#[derive(Debug)]
pub struct Request<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> {
    head: Box<RequestHead>,
    body: Body<IO, T>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> Request<IO, T> {
    pub(crate) fn new(head: Box<RequestHead>, body: Body<IO, T>) -> Self {
        Self { head, body }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The target: origin, absolute, authority or asterisk form (RFC 9112 section 3.2). On h2 it carries scheme and authority.
    pub fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// The version that the peer spoke.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The header fields.
    pub fn headers(&self) -> &RequestFields {
        &self.head.headers
    }

    /// What the request may turn into by [`Output::upgrade`](crate::Output::upgrade), if anything.
    pub fn upgrade(&self) -> Option<&Upgrade> {
        self.head.upgrade.as_ref()
    }

    /// When the head was complete.
    pub fn received_at(&self) -> Instant {
        self.head.received_at
    }

    /// The body.
    pub fn body(&self) -> &Body<IO, T> {
        &self.body
    }

    /// The body, to be pulled.
    pub fn body_mut(&mut self) -> &mut Body<IO, T> {
        &mut self.body
    }

    /// The body alone.
    pub fn into_body(self) -> Body<IO, T> {
        self.body
    }

    /// The head and the body.
    pub fn into_parts(self) -> (RequestHead, Body<IO, T>) {
        (*self.head, self.body)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer> From<Request<IO, T>> for http::Request<Body<IO, T>> {
    fn from(Request { head, body }: Request<IO, T>) -> Self {
        let mut request = Self::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = head.uri;
        *request.version_mut() = head.version;
        *request.headers_mut() = head.headers.into_map();
        if let Some(upgrade) = head.upgrade {
            request.extensions_mut().insert(upgrade);
        }
        request
    }
}
