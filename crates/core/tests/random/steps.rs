//! What may happen to a connection, and in what order.

use proptest::prelude::*;

/// What happens next.
#[derive(Clone, Debug)]
pub enum Step {
    /// So many of the peer's bytes come in.
    Deliver(usize),
    /// The peer is ready to take so many bytes.
    Take(usize),
    /// A flush can, or cannot, be completed.
    Block(bool),
    /// The peer has finished sending.
    Finish,
    /// The peer resets the connection.
    Break,
    /// So many milliseconds pass.
    Pass(u64),
    PullRequests(u32),
    /// About one of the exchanges so far, ended ones included, from the last on.
    Call(usize, Call),
    Drain,
    Close,
}

/// What the caller asks of an exchange.
#[derive(Clone, Debug)]
pub enum Call {
    Pull(usize),
    Send(Answer),
    Start(Answer),
    Write(usize),
    /// With trailers, or without.
    End(bool),
    Inform(u16),
    Upgrade,
    Reset,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub length: usize,
    /// Content-Length says so, or so much more than it is.
    pub declared: Option<usize>,
    pub close: bool,
}

/// How the connection comes to its end, whatever state it is in.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    Close,
    Break,
    /// The peer finishes sending, then gets its answers.
    Finish,
    /// The peer gets its answers, then finishes sending.
    Leave,
    Drain,
}

/// The most bytes of a read.
pub fn segment() -> impl Strategy<Value = usize> {
    prop_oneof![Just(usize::MAX), 1..200usize]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 1..100usize, 1 => 1..3000usize, 3 => Just(1 << 20)]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..60usize, 2 => 0..3000usize, 1 => Just(100_000)]
}

fn call(call: impl Strategy<Value = Call>) -> impl Strategy<Value = Step> {
    let which = prop_oneof![4 => Just(0), 3 => 0..4usize, 1 => 0..20usize];
    (which, call).prop_map(|(which, call)| Step::Call(which, call))
}

/// The peer's reading and writing, and pulls: what any caller has to live with, and does.
fn flow() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => size().prop_map(Step::Deliver),
        10 => size().prop_map(Step::Take),
        2 => any::<bool>().prop_map(Step::Block),
        10 => prop_oneof![0..3u32, Just(100)].prop_map(Step::PullRequests),
        10 => call(size().prop_map(Call::Pull)),
        6 => call((0..200usize).prop_map(Call::Write)),
        4 => call(any::<bool>().prop_map(Call::End)),
    ]
}

/// Whatever a caller may do wrong, and a peer.
fn wild_step() -> impl Strategy<Value = Step> {
    let status =
        prop_oneof![6 => Just(200), 1 => Just(204), 1 => Just(304), 1 => Just(404), 1 => Just(100), 1 => Just(101)];
    let declared = prop_oneof![6 => Just(None), 3 => Just(Some(0)), 1 => (0..5usize).prop_map(Some)];
    let answer = (status, length(), declared, prop::bool::weighted(0.1))
        .prop_map(|(status, length, declared, close)| Answer { status, length, declared, close })
        .boxed();
    let interim = prop_oneof![Just(100), Just(103), Just(101), Just(200)];
    prop_oneof![
        60 => flow(),
        4 => (0..1500u64).prop_map(Step::Pass),
        8 => call(answer.clone().prop_map(Call::Send)),
        3 => call(answer.prop_map(Call::Start)),
        2 => call(interim.prop_map(Call::Inform)),
        3 => call(Just(Call::Upgrade)),
        1 => prop_oneof![
            3 => call(Just(Call::Reset)),
            3 => Just(Step::Finish),
            1 => Just(Step::Break),
            1 => Just(Step::Drain),
            1 => Just(Step::Close),
        ],
    ]
}

/// What a caller does that wants every request, and every answer to arrive.
fn careful_step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![6 => Just(200), 1 => Just(204), 1 => Just(404)];
    let declared = prop::option::of(Just(0));
    let whole = (status, length(), declared)
        .prop_map(|(status, length, declared)| Call::Send(Answer { status, length, declared, close: false }));
    let start = Just(Call::Start(Answer { status: 200, length: 0, declared: None, close: false }));
    prop_oneof![
        60 => flow(),
        8 => call(whole),
        4 => call(start),
        2 => call(Just(Call::Inform(103))),
    ]
}

pub fn wild() -> impl Strategy<Value = (Vec<Step>, Ending)> {
    let ending = prop_oneof![
        Just(Ending::Close),
        Just(Ending::Break),
        Just(Ending::Finish),
        Just(Ending::Leave),
        Just(Ending::Drain)
    ];
    (prop::collection::vec(wild_step(), 0..80), ending)
}

pub fn careful() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(careful_step(), 0..80)
}
