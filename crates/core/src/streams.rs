//! What came up for the streams of a connection and their handles have not fetched.

use http::Method;

use crate::{
    by_id::ById,
    error::Error,
    event::{RequestBody, RequestHead, Upgrade},
    key::Key,
    shared::{Pulled, Sent},
};

#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) key: Key,
    pub(crate) head: Box<RequestHead>,
    pub(crate) body: RequestBody,
}

/// How an exchange ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) key: Key,
    pub(crate) outcome: Result<Sent, Error>,
    /// Its `Sending` waits.
    awaited: bool,
}

/// What came up for one stream and was not fetched yet.
#[derive(Default, Debug)]
pub(crate) struct StreamState {
    pub(crate) request: Option<Arrived>,
    /// The last turn that brought something up for it.
    pub(crate) changed: u64,
    /// The request that came last. The next comes when its exchange has ended.
    pub(crate) current: Option<Key>,
    /// It is HEAD.
    pub(crate) head_request: bool,
    /// The answer to a pull of the current request's body.
    pub(crate) pulled: Option<Result<Pulled, Error>>,
    /// Bytes of the current answer that have been sent.
    pub(crate) written: u64,
    /// What it speaks now that it has left HTTP.
    pub(crate) upgraded: Option<Box<Upgrade>>,
    /// Why no more comes of a tunnel whose outgoing half has been sent.
    pub(crate) lost: Option<Box<Error>>,
    /// A request was fetched and the caller has not given its whole answer.
    pub(crate) owing: bool,
    /// The answer on its way, if its `Sending` waits.
    pub(crate) awaited: Option<Key>,
    /// How the last exchange ended.
    pub(crate) last: Option<Ended>,
    /// Those before it whose `Sending` waits still.
    earlier: Vec<Ended>,
}

impl StreamState {
    pub(crate) fn arrived(&mut self, arrived: Arrived) {
        self.current = Some(arrived.key);
        self.head_request = arrived.head.method == Method::HEAD;
        self.pulled = None;
        self.written = 0;
        self.request = Some(arrived);
    }

    pub(crate) fn ended(&mut self, key: Key, outcome: Result<Sent, Error>) {
        let awaited = self.awaited.take_if(|awaited| *awaited == key).is_some();
        let before = self.last.replace(Ended { key, outcome, awaited });
        if let Some(before) = before.filter(|before| before.awaited) {
            self.earlier.push(before);
        }
    }

    /// The outcome for a `Sending`, which then waits no longer.
    pub(crate) fn take(&mut self, key: Key) -> Option<Result<Sent, Error>> {
        if let Some(last) = self.last.as_mut().filter(|last| last.key == key) {
            last.awaited = false;
            return Some(last.outcome.clone());
        }
        let at = self.earlier.iter().position(|ended| ended.key == key)?;
        Some(self.earlier.swap_remove(at).outcome)
    }
}

/// The streams of a connection. The only one of HTTP/1 stands by itself, and need not be looked for.
#[derive(Debug)]
pub(crate) enum Streams {
    Http1(Option<Box<StreamState>>),
    Http2(ById<StreamState>),
}

impl Streams {
    pub(crate) fn get(&self, id: u32) -> Option<&StreamState> {
        match self {
            Self::Http1(stream) => stream.as_deref(),
            Self::Http2(streams) => streams.get(&id),
        }
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut StreamState> {
        match self {
            Self::Http1(stream) => stream.as_deref_mut(),
            Self::Http2(streams) => streams.get_mut(&id),
        }
    }

    pub(crate) fn insert(&mut self, id: u32) {
        let stream = StreamState::default();
        match self {
            Self::Http1(only) => *only = Some(Box::new(stream)),
            Self::Http2(streams) => drop(streams.insert(id, stream)),
        }
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<StreamState> {
        match self {
            Self::Http1(stream) => stream.take().map(|stream| *stream),
            Self::Http2(streams) => streams.remove(&id),
        }
    }
}
