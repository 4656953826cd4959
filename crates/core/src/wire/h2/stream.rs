//! One HTTP/2 stream: its exchange, its incoming bytes, its outgoing queue.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use bytes::Bytes;
use h2::{FlowControl, RecvStream, SendStream, server::SendResponse};
use http::HeaderMap;

use crate::{
    config::Timeouts,
    error::{Code, Error},
    event::Upgrade,
    exchange::Exchange,
    key::Key,
    request::DEFAULT_URGENCY,
    wire::{due, earlier, received::Received},
};

/// What is asked of the peer's window at a time.
const RESERVE: usize = 64 << 10;

/// The streams that h2 has woken since the last look.
#[derive(Default, Debug)]
pub(super) struct Woken(Mutex<Vec<u32>>);

impl Woken {
    pub(super) fn take(&self, into: &mut Vec<u32>) {
        std::mem::swap(into, &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Tells h2's wake-ups of one stream from those of the others. They come inside the turn that polls the connection,
/// so the connection's own waker need not be called. Used again for the next stream once h2 has let go of it.
#[derive(Debug)]
pub(super) struct StreamWaker {
    stream: AtomicU32,
    woken: Arc<Woken>,
}

impl StreamWaker {
    pub(super) fn new(stream: u32, woken: Arc<Woken>) -> Arc<Self> {
        Arc::new(Self { stream: AtomicU32::new(stream), woken })
    }

    pub(super) fn renew(&self, stream: u32) {
        self.stream.store(stream, Relaxed);
    }
}

impl Wake for StreamWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.stream.load(Relaxed));
    }
}

/// What the caller's pull got.
#[derive(Debug)]
pub(super) enum Fed {
    Nothing,
    Chunk(Bytes),
    End(Option<HeaderMap>),
    Failed(Error),
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: Key,
    pub(super) exchange: Exchange,
    pub(super) head_request: bool,
    pub(super) upgrade: Option<Upgrade>,
    pub(super) tunnel: bool,
    pub(super) urgency: u8,
    /// `expect: 100-continue` has not been answered.
    pub(super) expects_continue: bool,
    receiver: Option<RecvStream>,
    /// Why no more will come, to be told after what has come.
    failure: Option<Error>,
    flow: Option<FlowControl>,
    incoming: Received,
    trailers: Option<HeaderMap>,
    body_limit: u64,
    respond: Option<SendResponse<Bytes>>,
    pub(super) sender: Option<SendStream<Bytes>>,
    /// It is in the connection's list of those that have something to send.
    pub(super) listed: bool,
    /// What goes out next. Behind it is the rest: most answers have none.
    front: Bytes,
    rest: VecDeque<Bytes>,
    queued: usize,
    /// The caller has finished; the trailer section, if there is one.
    end: Option<Option<HeaderMap>>,
    /// h2 was asked for capacity and has not said yes.
    blocked: bool,
    /// Bytes that h2 has and the transport has not.
    pub(super) outstanding: usize,
    pub(super) flushed: u64,
    /// All of the answer has been flushed.
    pub(super) sent: bool,
    /// Since when the peer has taken nothing of what waits to be written, or sent nothing of what is pulled.
    pub(super) stalled_since: Option<Instant>,
    pub(super) pulled_at: Instant,
    waker: Waker,
    pub(super) wake: Arc<StreamWaker>,
}

impl Stream {
    pub(super) fn new(
        key: Key,
        mut receiver: Option<RecvStream>,
        respond: SendResponse<Bytes>,
        upgrade: Option<Upgrade>,
        wake: Arc<StreamWaker>,
        body_limit: u64,
        now: Instant,
    ) -> Self {
        Self {
            key,
            // What comes with a CONNECT is no body: it is the tunnel's, if there will be one.
            exchange: Exchange::new(receiver.is_some() && upgrade.is_none()),
            flow: receiver.as_mut().map(|receiver| receiver.flow_control().clone()),
            head_request: false,
            upgrade,
            tunnel: false,
            urgency: DEFAULT_URGENCY,
            expects_continue: false,
            receiver,
            failure: None,
            incoming: Received::default(),
            trailers: None,
            body_limit,
            respond: Some(respond),
            sender: None,
            listed: false,
            front: Bytes::new(),
            rest: VecDeque::new(),
            queued: 0,
            end: None,
            blocked: false,
            outstanding: 0,
            flushed: 0,
            sent: false,
            stalled_since: None,
            pulled_at: now,
            waker: Waker::from(wake.clone()),
            wake,
        }
    }

    /// The stream leaves HTTP: no limit on what comes, and it lives until both halves have ended.
    pub(super) fn enter_tunnel(&mut self) {
        self.tunnel = true;
        self.body_limit = u64::MAX;
        self.exchange.upgraded();
    }

    /// A reader waits for a body. One that waits for a tunnel may do so for as long as it likes.
    pub(super) fn pulls_body(&self) -> bool {
        self.exchange.pulling().is_some() && !self.tunnel
    }

    /// When the peer has kept it waiting for too long.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        let sent = self.stalled_since.and_then(|since| due(since, timeouts.write_stall));
        let received = if self.pulls_body() { due(self.pulled_at, timeouts.body_idle) } else { None };
        earlier(sent, received)
    }

    /// `Sent` has been told, and nothing more will come.
    pub(super) fn over(&self) -> bool {
        self.sent && !(self.tunnel && self.exchange.receiving())
    }

    /// The handle of a stream that has ended both ways, and of whose window h2 has nothing to give back.
    pub(super) fn take_finished(&mut self) -> Option<SendStream<Bytes>> {
        self.sender.take_if(|_| self.sent && self.flow.is_none())
    }

    pub(super) fn respond(&mut self) -> Option<&mut SendResponse<Bytes>> {
        self.respond.as_mut()
    }

    // ---- incoming

    /// Takes from h2 what has come. DATA must not stay there: h2 counts short unread frames as an attack.
    /// A failure is kept until the caller has pulled what came before it.
    pub(super) fn receive(&mut self) {
        let mut cx = Context::from_waker(&self.waker);
        while let Some(receiver) = &mut self.receiver {
            let failure = match receiver.poll_data(&mut cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(data))) => match self.exchange.received(data.len(), self.body_limit) {
                    Ok(()) => {
                        self.incoming.push(data);
                        continue;
                    }
                    Err(error) => Some(error),
                },
                Poll::Ready(Some(Err(error))) => Some(stream_error(&error)),
                Poll::Ready(None) => match receiver.poll_trailers(&mut cx) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(trailers)) => {
                        self.trailers = trailers;
                        None
                    }
                    Poll::Ready(Err(error)) => Some(stream_error(&error)),
                },
            };
            self.receiver = None;
            self.failure = failure;
        }
    }

    /// Bytes of a body that has come whole already.
    pub(super) fn whole(&mut self, length: u64) -> Option<Bytes> {
        let whole = self.receiver.is_none()
            && self.failure.is_none()
            && self.incoming.len() as u64 == length
            && self.trailers.is_none();
        whole.then(|| {
            self.exchange.body_ended();
            self.take(usize::MAX)
        })
    }

    /// Answers the caller's pull and gives the window of the bytes back.
    pub(super) fn feed(&mut self) -> Fed {
        let Some(max) = self.exchange.pulling() else { return Fed::Nothing };
        if !self.incoming.is_empty() {
            self.exchange.pulled();
            return Fed::Chunk(self.take(max));
        }
        if self.receiver.is_some() {
            return Fed::Nothing;
        }
        match self.failure.take() {
            Some(error) => {
                self.exchange.body_failed();
                Fed::Failed(error)
            }
            None => {
                self.exchange.body_ended();
                Fed::End(self.trailers.take())
            }
        }
    }

    /// Takes bytes for the caller and gives their window back to the peer.
    fn take(&mut self, max: usize) -> Bytes {
        let bytes = self.incoming.take(max);
        if let Some(flow) = &mut self.flow {
            // An error here is the stream's, which `receive` reports.
            let _ = flow.release_capacity(bytes.len());
        }
        bytes
    }

    // ---- outgoing

    pub(super) fn begin(&mut self, sender: SendStream<Bytes>) {
        self.respond = None;
        self.sender = Some(sender);
    }

    pub(super) fn queue(&mut self, chunk: Bytes) {
        self.queued += chunk.len();
        if self.front.is_empty() {
            self.front = chunk;
        } else if !chunk.is_empty() {
            self.rest.push_back(chunk);
        }
    }

    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) {
        self.end = Some(trailers);
    }

    /// Something waits that h2 has not been given.
    pub(super) fn wants_to_send(&self) -> bool {
        self.queued > 0 || self.end.is_some()
    }

    /// The peer keeps the answer waiting.
    pub(super) fn waits_for_peer(&self) -> bool {
        self.wants_to_send() || self.outstanding > 0
    }

    pub(super) fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Gives h2 up to `room` bytes, as far as the peer's window goes: how many, and whether it got anything.
    pub(super) fn pump(&mut self, room: usize) -> Result<(usize, bool), Error> {
        let mut gave = 0;
        let Some(sender) = &mut self.sender else { return Ok((0, false)) };
        let failed = |error| stream_error(&error);
        while self.queued > 0 {
            if self.blocked || gave >= room {
                return Ok((gave, gave > 0));
            }
            sender.reserve_capacity(self.queued.min(RESERVE));
            let mut capacity = sender.capacity();
            if capacity == 0 {
                match sender.poll_capacity(&mut Context::from_waker(&self.waker)) {
                    Poll::Ready(Some(Ok(granted))) if granted > 0 => capacity = granted,
                    Poll::Ready(Some(Err(error))) => return Err(failed(error)),
                    Poll::Ready(None) => return Err(Error::new(Code::PeerReset, "the stream is closed")),
                    Poll::Ready(Some(Ok(_))) | Poll::Pending => {
                        self.blocked = true;
                        continue;
                    }
                }
            }
            let chunk = self.front.split_to(capacity.min(self.front.len()));
            if self.front.is_empty() {
                self.front = self.rest.pop_front().unwrap_or_default();
            }
            self.queued -= chunk.len();
            gave += chunk.len();
            self.outstanding += chunk.len();
            let last = self.queued == 0 && matches!(self.end, Some(None));
            if last {
                self.end = None;
            }
            sender.send_data(chunk, last).map_err(failed)?;
        }
        match self.end.take() {
            None => Ok((gave, gave > 0)),
            Some(None) => sender.send_data(Bytes::new(), true).map_err(failed).map(|()| (gave, true)),
            Some(Some(trailers)) => sender.send_trailers(trailers).map_err(failed).map(|()| (gave, true)),
        }
    }

    /// Looks whether the peer has reset the stream, and asks to be woken when it does.
    pub(super) fn poll_reset(&mut self) -> Option<Error> {
        let mut cx = Context::from_waker(&self.waker);
        let reset = match (&mut self.sender, &mut self.respond) {
            (Some(sender), _) => sender.poll_reset(&mut cx),
            (None, Some(respond)) => respond.poll_reset(&mut cx),
            (None, None) => return None,
        };
        match reset {
            Poll::Pending => None,
            Poll::Ready(Ok(reason)) => {
                Some(Error::new(Code::PeerReset, format!("the peer reset the stream: {reason}")))
            }
            Poll::Ready(Err(error)) => Some(stream_error(&error)),
        }
    }

    pub(super) fn send_reset(&mut self, reason: h2::Reason) {
        match (&mut self.sender, &mut self.respond) {
            (Some(sender), _) => sender.send_reset(reason),
            (None, Some(respond)) => respond.send_reset(reason),
            (None, None) => {}
        }
    }
}

pub(super) fn stream_error(error: &h2::Error) -> Error {
    if error.is_reset() && error.is_remote() {
        Error::new(Code::PeerReset, error.to_string())
    } else if error.is_io() || error.is_remote() {
        Error::new(Code::PeerClosed, error.to_string())
    } else {
        Error::new(Code::Protocol, error.to_string())
    }
}
