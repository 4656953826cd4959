//! Request heads (RFC 9113 section 8.3), out of the fields of a header block.
//!
//! Hot: once a request. The fields are copied once, as text.

use bytes::Bytes;
use http::{
    Method, Uri,
    uri::{Authority, Parts, PathAndQuery, Scheme},
};

use super::hpack::Field;
use crate::{
    config::Limits,
    event::Upgrade,
    fields::{RequestFields, pairs, values},
    io::room,
};

/// Why a block is no request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unfit {
    /// RFC 9113 section 8.1.1.
    Malformed,
    /// Over `limits.header_bytes`, or, of trailers, `limits.header_count`.
    TooLarge,
}

/// What the fields of a block say.
pub(super) struct Gathered<'a> {
    limits: &'a Limits,
    /// The authority of the request before: most often this one's too.
    before: &'a mut Option<Authority>,
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    protocol: Option<String>,
    /// A field that is no pseudo-field has come.
    behind_pseudo: bool,
    text: Vec<u8>,
    /// Bytes of the header list (RFC 9113 section 6.5.2).
    bytes: usize,
    malformed: bool,
}

/// A request head whose form is right.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) upgrade: Option<Upgrade>,
    /// As `RequestFields` keeps them.
    pub(super) text: Vec<u8>,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(limits: &'a Limits, before: &'a mut Option<Authority>) -> Self {
        Self {
            limits,
            before,
            method: None,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            behind_pseudo: false,
            text: room::text(),
            bytes: 0,
            malformed: false,
        }
    }

    /// Nothing is kept of what goes over the limit: a block may name a large field a thousand times.
    pub(super) fn note(&mut self, field: Field<'_>) {
        self.bytes = self.bytes.saturating_add(field.size());
        if self.bytes > self.limits.header_bytes {
            return;
        }
        let name = field.name();
        if name.first() == Some(&b':') {
            let noted = if field.fit && !self.behind_pseudo { self.note_pseudo(name, field.value()) } else { None };
            self.malformed |= noted.is_none();
            return;
        }
        self.behind_pseudo = true;
        self.malformed |= !field.fit || !may_stand(name, field.value());
        self.text.extend_from_slice(field.text);
    }

    /// `None`: it is malformed, unknown, or there twice.
    fn note_pseudo(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        fn once<T>(place: &mut Option<T>, thing: T) -> Option<()> {
            place.replace(thing).is_none().then_some(())
        }
        match name {
            b":method" => once(&mut self.method, Method::from_bytes(value).ok()?),
            b":scheme" => once(
                &mut self.scheme,
                match value {
                    b"http" => Scheme::HTTP,
                    _ if value.eq_ignore_ascii_case(b"https") => Scheme::HTTPS,
                    other => Scheme::try_from(other).ok()?,
                },
            ),
            b":authority" => {
                let authority = match &self.before {
                    Some(before) if before.as_str().as_bytes() == value => before.clone(),
                    _ => {
                        let text = str::from_utf8(value).ok()?;
                        self.before
                            .insert(Authority::from_maybe_shared(Bytes::copy_from_slice(text.as_bytes())).ok()?)
                            .clone()
                    }
                };
                once(&mut self.authority, authority)
            }
            b":path" => once(
                &mut self.path,
                match value {
                    b"/" => PathAndQuery::from_static("/"),
                    // In UTF-8 it is well-formed enough to be answered.
                    [b'/', ..] | b"*" if str::from_utf8(value).is_ok() && !value.contains(&b'#') => {
                        PathAndQuery::from_maybe_shared(room::keep(value)).ok()?
                    }
                    _ => return None,
                },
            ),
            b":protocol" if !value.is_empty() => once(&mut self.protocol, str::from_utf8(value).ok()?.to_owned()),
            _ => None,
        }
    }

    /// The request that the block is. `extended`: extended CONNECT (RFC 8441) is spoken.
    pub(super) fn into_request(self, extended: bool) -> Result<Request, Unfit> {
        let Self { method, scheme, authority, path, protocol, text, .. } = self;
        if self.bytes > self.limits.header_bytes {
            return Err(Unfit::TooLarge);
        }
        let method = method.filter(|_| !self.malformed).ok_or(Unfit::Malformed)?;
        let connects = method == Method::CONNECT;
        let right = match &protocol {
            Some(_) => extended && connects && scheme.is_some() && path.is_some(),
            None if connects => scheme.is_none() && path.is_none(),
            None => scheme.is_some() && path.is_some(),
        };
        if !right {
            return Err(Unfit::Malformed);
        }
        let upgrade = match protocol {
            Some(protocol) => Some(Upgrade::Extended(protocol)),
            None => connects.then_some(Upgrade::Connect),
        };
        // Who is named by Host alone has one as well (RFC 9113 section 8.3.1). Where CONNECT goes is said by `:authority`.
        let authority = authority.or_else(|| scheme.as_ref().and_then(|_| host(&text)));
        let mut parts = Parts::default();
        // The type has no scheme without an authority.
        parts.scheme = scheme.filter(|_| authority.is_some());
        parts.authority = authority;
        parts.path_and_query = path;
        let uri = Uri::from_parts(parts).map_err(|_| Unfit::Malformed)?;
        Ok(Request { method, uri, upgrade, text })
    }

    /// The trailer section that the block is (RFC 9113 section 8.1): no pseudo-fields.
    pub(super) fn into_trailers(self) -> Result<RequestFields, Unfit> {
        let pseudo = self.method.is_some()
            || self.scheme.is_some()
            || self.authority.is_some()
            || self.path.is_some()
            || self.protocol.is_some();
        if self.bytes > self.limits.header_bytes || pairs(&self.text).count() > self.limits.header_count {
            Err(Unfit::TooLarge)
        } else if self.malformed || pseudo {
            Err(Unfit::Malformed)
        } else {
            Ok(RequestFields::of_text(self.text))
        }
    }
}

/// What Host says.
fn host(text: &[u8]) -> Option<Authority> {
    Authority::try_from(values(text, b"host").next()?).ok()
}

/// Fields that speak of one HTTP/1 connection may not (RFC 9113 section 8.2.2). Their length rules out most others.
fn may_stand(name: &[u8], value: &[u8]) -> bool {
    match name.len() {
        2 => name != b"te" || value.eq_ignore_ascii_case(b"trailers"),
        7 => name != b"upgrade",
        10 => name != b"connection" && name != b"keep-alive",
        16 => name != b"proxy-connection",
        17 => name != b"transfer-encoding",
        _ => true,
    }
}
