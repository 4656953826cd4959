//! The one-slot service: hyper puts each request in, the engine takes it out and puts the answer in.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use http::{Request, Response};
use hyper::{body::Incoming, service::Service, upgrade::OnUpgrade};

use super::body::OutBody;
use crate::event::RequestHead;

/// A request as hyper gave it. Its head moves once, to where it stays.
pub(super) struct Arrived {
    pub(super) head: Box<RequestHead>,
    pub(super) body: Incoming,
    pub(super) upgradable: bool,
}

pub(super) struct SlotState {
    pub(super) request: Option<Arrived>,
    pub(super) response: Option<Response<OutBody>>,
    /// Stands in for the time of arrival until the engine fills that in.
    opened_at: Instant,
}

#[derive(Clone)]
pub(super) struct Slot(Arc<Mutex<SlotState>>);

impl Slot {
    pub(super) fn new(opened_at: Instant) -> Self {
        Self(Arc::new(Mutex::new(SlotState { request: None, response: None, opened_at })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<Request<Incoming>> for Slot {
    type Response = Response<OutBody>;
    type Error = Infallible;
    type Future = Self;

    fn call(&self, request: Request<Incoming>) -> Self {
        let (parts, body) = request.into_parts();
        let mut slot = self.lock();
        let head = Box::new(RequestHead {
            method: parts.method,
            uri: parts.uri,
            version: parts.version,
            headers: parts.headers,
            upgrade: None,
            received_at: slot.opened_at,
        });
        slot.request = Some(Arrived { head, body, upgradable: parts.extensions.get::<OnUpgrade>().is_some() });
        drop(slot);
        self.clone()
    }
}

impl Future for Slot {
    type Output = Result<Response<OutBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        // No waker is kept: whoever answers turns the engine, and each turn polls the service.
        self.lock().response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
    }
}
