//! What the caller was promised, kept as an account of each exchange beside the engine's own.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use hyperpull::{
    Key,
    error::{Code, Error},
    event::{Event, Protocol, RequestBody, RequestHead},
};

use crate::{read::Response, steps::Answer, transport::Peer};

/// The connection's number.
pub const NUMBER: u32 = 7;

/// What the caller knows of one exchange.
#[derive(Debug)]
pub struct Exchange {
    pub key: Key,
    pub head: Box<RequestHead>,
    /// Body bytes that came, and whether all of them have.
    pub body: Vec<u8>,
    pub complete: bool,
    pub trailers: Option<HeaderMap>,
    /// No more will come of the body, or of the tunnel.
    pub over: bool,
    pub waiting: bool,
    most: usize,
    /// The answer that was given, or begun, and its bytes so far.
    pub answer: Option<StatusCode>,
    pub text: Vec<u8>,
    whole: bool,
    pub finished: bool,
    pub upgrading: bool,
    tunnel: bool,
    written: u64,
    pub ended: Option<Result<u64, Error>>,
}

impl Exchange {
    fn new(key: Key, head: Box<RequestHead>, body: RequestBody) -> Self {
        let (body, complete) = match body {
            RequestBody::None => (Vec::new(), true),
            RequestBody::Complete(bytes) => (bytes.to_vec(), true),
            RequestBody::Streamed { .. } => (Vec::new(), false),
        };
        Self {
            key,
            head,
            body,
            complete,
            trailers: None,
            over: complete,
            waiting: false,
            most: 0,
            answer: None,
            text: Vec::new(),
            whole: false,
            finished: false,
            upgrading: false,
            tunnel: false,
            written: 0,
            ended: None,
        }
    }

    pub fn bodiless(&self) -> bool {
        let status = self.answer.is_some_and(|status| matches!(status.as_u16(), 204 | 304));
        (self.head.method == Method::HEAD || status) && !self.tunnel
    }

    /// Nothing may happen to it any more.
    pub fn is_over(&self) -> bool {
        match &self.ended {
            Some(Ok(_)) => !self.tunnel || self.over,
            Some(Err(_)) => true,
            None => false,
        }
    }

    /// What the peer should get.
    pub fn response(&self) -> Response {
        let status = self.answer.map_or(0, |status| status.as_u16());
        Response { status, body: self.text.clone(), whole: true }
    }

    // ---- calls that were taken

    pub fn pulled(&mut self, most: usize) {
        assert!(!self.over && !self.is_over() && !self.waiting, "{self:?}");
        (self.waiting, self.most) = (true, most);
    }

    pub fn sent(&mut self, answer: &Answer, body: &[u8]) {
        self.started(answer);
        (self.whole, self.finished) = (true, true);
        if !self.bodiless() {
            assert!(answer.declared.is_none_or(|more| more == 0), "a length that is not the body's");
            self.text = body.to_vec();
        }
    }

    pub fn started(&mut self, answer: &Answer) {
        assert!(self.answer.is_none() && self.ended.is_none(), "{self:?}");
        assert!(answer.status >= 200, "no final status");
        self.answer = StatusCode::from_u16(answer.status).ok();
    }

    pub fn wrote(&mut self, bytes: &[u8]) {
        assert!(self.answer.is_some() && !self.finished && self.ended.is_none(), "{self:?}");
        if !self.bodiless() {
            self.text.extend_from_slice(bytes);
        }
    }

    pub fn ended(&mut self) {
        assert!(self.answer.is_some() && !self.finished && self.ended.is_none(), "{self:?}");
        self.finished = true;
    }

    pub fn informed(&mut self, status: u16) {
        assert!(self.answer.is_none() && self.ended.is_none() && (100..200).contains(&status), "{self:?}");
    }

    pub fn left(&mut self) {
        assert!(self.answer.is_none() && self.ended.is_none() && self.head.upgrade.is_some(), "{self:?}");
        (self.answer, self.upgrading) = (Some(StatusCode::OK), true);
    }

    /// A call that was refused.
    pub fn refused(&self, code: Code) {
        match code {
            Code::KeyUsed | Code::KeyUnknown => assert!(self.answer.is_some() || self.ended.is_some(), "{self:?}"),
            Code::BodyInUse => assert!(self.waiting, "{self:?}"),
            Code::Closed => {
                assert!(self.ended.is_some() || self.over || self.answer.is_none() || self.upgrading, "{self:?}")
            }
            _ => {}
        }
    }
}

#[derive(Debug)]
pub struct Promises {
    pub exchanges: Vec<Exchange>,
    index: HashMap<Key, usize>,
    /// Requests that were pulled.
    pub credits: u64,
    protocol: Option<Protocol>,
    pub closed: bool,
    pub events: usize,
    peer: Peer,
}

impl Promises {
    pub fn new(peer: Peer) -> Self {
        let index = HashMap::new();
        Self { exchanges: Vec::new(), index, credits: 0, protocol: None, closed: false, events: 0, peer }
    }

    fn exchange(&mut self, key: Key) -> &mut Exchange {
        let index = *self.index.get(&key).expect("an event of a request that was never delivered");
        let exchange = &mut self.exchanges[index];
        assert!(!exchange.is_over(), "an event after the end: {exchange:?}");
        exchange
    }

    /// The exchange of an answer to a pull.
    fn waiting(&mut self, key: Key) -> &mut Exchange {
        let exchange = self.exchange(key);
        assert!(exchange.waiting, "an answer to no pull: {exchange:?}");
        exchange.waiting = false;
        exchange
    }

    pub fn note(&mut self, event: Event) {
        assert!(!self.closed, "{event:?} after the end");
        self.events += 1;
        match event {
            Event::Open(protocol) => assert!(self.protocol.replace(protocol).is_none(), "opened twice"),
            Event::Request { key, head, body } => self.arrived(key, head, body),
            Event::Chunk { key, bytes } => {
                let exchange = self.waiting(key);
                assert!(!bytes.is_empty() && bytes.len() <= exchange.most && !exchange.over);
                exchange.body.extend_from_slice(&bytes);
            }
            Event::End { key, trailers } => {
                let exchange = self.waiting(key);
                (exchange.over, exchange.complete, exchange.trailers) =
                    (true, true, trailers.map(|trailers| *trailers));
            }
            Event::BodyFailed { key, .. } => {
                let exchange = self.exchange(key);
                // The rest of a tunnel that is sent is lost whether it was pulled or not.
                assert!(exchange.waiting || (exchange.tunnel && exchange.ended.is_some()), "no pull: {exchange:?}");
                (exchange.waiting, exchange.over) = (false, true);
            }
            Event::Written { key, bytes } => {
                let exchange = self.exchange(key);
                assert!(bytes > exchange.written && bytes <= exchange.text.len() as u64, "{bytes} of {exchange:?}");
                exchange.written = bytes;
            }
            Event::Sent { key, bytes, .. } => self.sent(key, bytes),
            Event::Failed { key, error } => {
                let exchange = self.exchange(key);
                assert!(exchange.ended.is_none(), "it has ended before: {exchange:?}");
                (exchange.waiting, exchange.over, exchange.ended) = (false, true, Some(Err(error)));
            }
            Event::Upgraded { key, .. } => {
                let exchange = self.exchange(key);
                assert!(exchange.upgrading && !exchange.tunnel && !exchange.waiting);
                (exchange.upgrading, exchange.tunnel, exchange.over) = (false, true, false);
            }
            Event::Refused(_) => {}
            Event::Closed(_) => {
                let open = self.exchanges.iter().find(|exchange| exchange.ended.is_none());
                assert!(open.is_none(), "in flight at the end: {open:?}");
                self.closed = true;
            }
        }
    }

    fn arrived(&mut self, key: Key, head: Box<RequestHead>, body: RequestBody) {
        let number = self.exchanges.len();
        assert!((number as u64) < self.credits, "a request that nobody pulled");
        assert_eq!(key.connection, NUMBER);
        match self.protocol.expect("a request before the protocol") {
            Protocol::Http1 => {
                assert!(key.stream == 1 && key.sequence as usize >= number, "{key:?}");
                let before = self.exchanges.last();
                assert!(before.is_none_or(Exchange::is_over), "a request while another is in hand");
            }
            Protocol::Http2 => assert_eq!((key.stream % 2, key.sequence), (1, 0)),
        }
        assert!(self.index.insert(key, number).is_none(), "a key that was used");
        self.exchanges.push(Exchange::new(key, head, body));
    }

    fn sent(&mut self, key: Key, bytes: u64) {
        let protocol = self.protocol;
        let exchange = self.exchange(key);
        assert!(exchange.finished && exchange.ended.is_none(), "{exchange:?}");
        assert!(exchange.tunnel || !exchange.waiting, "a pull was not answered");
        assert_eq!(bytes, exchange.text.len() as u64);
        exchange.ended = Some(Ok(bytes));
        if exchange.whole && protocol == Some(Protocol::Http1) {
            let text = Bytes::copy_from_slice(&exchange.text);
            assert!(self.peer.has_got(&text), "said to be sent, and is not");
        }
    }
}
