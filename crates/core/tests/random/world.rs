//! A connection, and the caller that drives it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use hyperpull::{
    ResponseHead,
    config::Config,
    engine::{Engine, ResetReason},
    error::Error,
    fields::ResponseFields,
};

use crate::{
    promises::{Exchange, NUMBER, Promises},
    steps::{Answer, Call, Ending, Step},
    transport::{Peer, Transport},
};

/// The engine's owner, as its waker sees it.
#[derive(Default)]
struct Owner(AtomicBool);

impl Wake for Owner {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// Bytes that are counted while they live.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, SeqCst);
    }
}

pub struct World {
    engine: Engine<Transport>,
    pub peer: Peer,
    promises: Promises,
    /// What the peer has still to say; each part when what came before has been answered.
    outbox: VecDeque<VecDeque<u8>>,
    /// Parts that are done.
    said: usize,
    now: Instant,
    owner: Arc<Owner>,
    waker: Waker,
    /// Response bodies that the engine holds.
    live: Arc<AtomicUsize>,
    /// The caller reads a body before it answers.
    careful: bool,
}

impl World {
    pub fn new(config: Config, segment: usize, parts: Vec<Vec<u8>>) -> Self {
        let (peer, transport) = Peer::pair(segment);
        let (now, owner) = (Instant::now(), Arc::<Owner>::default());
        Self {
            engine: Engine::new(NUMBER, transport, Arc::new(config), now),
            promises: Promises::new(peer.clone()),
            peer,
            outbox: parts.into_iter().map(VecDeque::from).collect(),
            said: 0,
            now,
            waker: owner.clone().into(),
            owner,
            live: Arc::default(),
            careful: false,
        }
    }

    /// A caller that wants every request, and every answer to arrive.
    pub fn careful(segment: usize, parts: Vec<Vec<u8>>) -> Self {
        Self { careful: true, ..Self::new(Config::default(), segment, parts) }
    }

    /// Lets all of it happen. What became of the requests.
    pub fn run(mut self, steps: Vec<Step>, ending: Ending) -> Vec<Exchange> {
        self.turn();
        for step in steps {
            self.step(step);
        }
        self.end(ending);
        assert!(self.promises.closed && self.engine.is_closed());
        drop(self.engine.take_cut_short());
        assert!(self.peer.state().dropped, "the transport is let go of");
        assert_eq!(self.live.load(SeqCst), 0, "response bytes are let go of");
        self.promises.exchanges
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Deliver(bytes) => self.deliver(bytes),
            Step::Take(bytes) => self.peer.take(bytes),
            Step::Block(blocked) => self.peer.block(blocked),
            Step::Finish => self.peer.finish(),
            Step::Break => {
                if self.peer.reset() {
                    // Who has read to the end, or does not read, has nothing to wait for that could tell.
                    self.turn();
                }
            }
            Step::Pass(millis) => self.pass(Duration::from_millis(millis)),
            Step::PullRequests(more) => {
                self.promises.credits += u64::from(more);
                self.engine.pull_requests(more);
                self.turn();
            }
            Step::Call(which, call) => {
                let exchanges = self.promises.exchanges.len();
                if exchanges > 0 {
                    self.call(exchanges - 1 - which % exchanges, call);
                    self.turn();
                }
            }
            Step::Drain => {
                self.engine.drain();
                self.turn();
            }
            Step::Close => {
                self.engine.close();
                self.turn();
            }
        }
        self.settle();
    }

    /// A call about one exchange.
    fn call(&mut self, index: usize, call: Call) {
        let result = match call {
            Call::Reset => {
                self.reset(index);
                return;
            }
            Call::Send(_) | Call::Start(_) if self.careful && !self.promises.exchanges[index].over => return,
            Call::Send(answer) => self.send(index, answer),
            Call::Start(answer) => self.start(index, answer),
            Call::Write(length) => self.write(index, length),
            call => self.small_call(index, call),
        };
        if let Err(error) = result {
            self.promises.exchanges[index].refused(error.code());
        }
    }

    fn small_call(&mut self, index: usize, call: Call) -> Result<(), Error> {
        let exchange = &mut self.promises.exchanges[index];
        let key = exchange.key;
        match call {
            Call::Pull(most) => self.engine.pull_chunk(key, most, self.now).map(|()| exchange.pulled(most)),
            Call::End(trailers) => {
                let field = ("x-sum".parse().unwrap(), "7".parse().unwrap());
                let trailers = trailers.then(|| HeaderMap::from_iter([field]));
                self.engine.finish(key, trailers).map(|()| exchange.ended())
            }
            Call::Inform(status) => {
                let code = StatusCode::from_u16(status).unwrap();
                self.engine.inform(key, code, ResponseFields::new()).map(|()| exchange.informed(status))
            }
            _ => {
                let head = ResponseHead { status: StatusCode::OK, headers: ResponseFields::new() };
                self.engine.upgrade(key, head, self.now).map(|()| exchange.left())
            }
        }
    }

    fn send(&mut self, index: usize, answer: Answer) -> Result<(), Error> {
        let body = self.bytes(index, answer.length);
        let text = body.to_vec();
        let exchange = &mut self.promises.exchanges[index];
        self.engine.send(exchange.key, head(&answer), body, None, self.now).map(|()| exchange.sent(&answer, &text))
    }

    fn start(&mut self, index: usize, answer: Answer) -> Result<(), Error> {
        let exchange = &mut self.promises.exchanges[index];
        self.engine.start(exchange.key, head(&answer), self.now).map(|()| exchange.started(&answer))
    }

    fn write(&mut self, index: usize, length: usize) -> Result<(), Error> {
        let bytes = self.bytes(index, length);
        let text = bytes.to_vec();
        let exchange = &mut self.promises.exchanges[index];
        self.engine.write(exchange.key, bytes).map(|()| exchange.wrote(&text))
    }

    fn reset(&mut self, index: usize) {
        let exchange = &self.promises.exchanges[index];
        let live = !exchange.is_over();
        self.engine.reset(exchange.key.stream, ResetReason::Internal);
        self.turn();
        // On HTTP/1.1 the stream's present exchange ends, which is the last one.
        let over = self.promises.exchanges[index].is_over();
        assert!(over || !live || self.promises.exchanges.len() > index + 1, "a reset ends what is in flight");
    }

    /// Bytes that tell which exchange they are of.
    fn bytes(&self, index: usize, length: usize) -> Bytes {
        self.live.fetch_add(1, SeqCst);
        let text = format!("<{index}>").into_bytes().into_iter().cycle().take(length).collect();
        Bytes::from_owner(Counted(text, self.live.clone()))
    }

    fn deliver(&mut self, bytes: usize) {
        let Some(part) = self.outbox.front_mut() else { return };
        if !part.is_empty() {
            let bytes: Vec<_> = part.drain(..bytes.min(part.len())).collect();
            self.peer.send(&bytes);
        } else if self.promises.exchanges.iter().filter(|exchange| exchange.is_over()).count() > self.said {
            self.outbox.pop_front();
            self.said += 1;
        }
    }

    /// Lets time pass, with a turn at each deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.engine.deadline().filter(|&deadline| deadline <= end && !self.promises.closed) {
            self.now = self.now.max(deadline);
            self.turn();
            self.settle();
            let next = self.engine.deadline().filter(|_| !self.promises.closed);
            assert!(next.is_none_or(|next| next > self.now), "a deadline that has passed is kept");
        }
        self.now = end;
    }

    /// Turns the engine as often as it asks for it. Then it must have nothing to do.
    fn settle(&mut self) {
        // As many as it may take to read all that there is a byte at a time.
        for _ in 0..20_000 {
            if self.owner.0.swap(false, SeqCst) {
                self.turn();
                continue;
            }
            // While it waits to write it may use the time for something else, but need not.
            if self.peer.state().writer.is_none() {
                let before = (self.promises.events, self.peer.state().written.len());
                self.turn();
                let after = (self.promises.events, self.peer.state().written.len());
                assert_eq!(after, before, "a turn had work that nobody was woken for");
            }
            return;
        }
        panic!("the engine asks for turns without end");
    }

    fn turn(&mut self) {
        self.peer.begin();
        self.engine.turn(&mut Context::from_waker(&self.waker), self.now);
        while let Some(event) = self.engine.next_event() {
            self.promises.note(event);
        }
    }

    fn end(&mut self, ending: Ending) {
        match ending {
            Ending::Close => return self.step(Step::Close),
            Ending::Break => {
                self.step(Step::Break);
                // Of a tunnel that both sides had ended the caller is given the rest, before the connection closes.
                for _ in 0..10 {
                    (0..self.promises.exchanges.len()).for_each(|index| _ = self.answer(index));
                }
                return;
            }
            Ending::Drain => self.step(Step::Drain),
            Ending::Finish | Ending::Leave => {}
        }
        self.step(Step::Block(false));
        self.step(Step::Take(usize::MAX / 2));
        if matches!(ending, Ending::Finish) {
            self.step(Step::Finish);
        }
        // Everything is answered. Should the peer have said nonsense, a deadline ends the connection.
        for round in 0..200 {
            if self.promises.closed {
                return;
            }
            self.step(Step::PullRequests(1));
            self.step(Step::Deliver(usize::MAX));
            let mut idle = self.outbox.iter().all(VecDeque::is_empty);
            for index in 0..self.promises.exchanges.len() {
                idle &= self.answer(index);
            }
            if idle && round > 10 {
                self.step(Step::Finish);
                self.step(Step::Pass(1000));
            }
        }
        panic!("the connection does not end: {:?}", self.promises);
    }

    /// Goes on with an exchange. Whether there was nothing to do.
    fn answer(&mut self, index: usize) -> bool {
        let exchange = &self.promises.exchanges[index];
        let call = if exchange.is_over() || exchange.upgrading {
            return true;
        } else if !exchange.over && !exchange.waiting {
            Call::Pull(1 << 20)
        } else if exchange.answer.is_none() && (exchange.over || !self.careful) {
            Call::Send(Answer { status: 404, length: 5, declared: None, close: false })
        } else if exchange.answer.is_some() && !exchange.finished && exchange.ended.is_none() {
            Call::End(false)
        } else {
            return true;
        };
        self.step(Step::Call(self.promises.exchanges.len() - 1 - index, call));
        false
    }
}

fn head(answer: &Answer) -> ResponseHead {
    let mut headers = ResponseFields::new();
    if let Some(more) = answer.declared {
        headers.push(&header::CONTENT_LENGTH, (answer.length + more).to_string().as_bytes()).unwrap();
    }
    if answer.close {
        headers.push(&header::CONNECTION, b"close").unwrap();
    }
    ResponseHead { status: StatusCode::from_u16(answer.status).unwrap(), headers }
}
