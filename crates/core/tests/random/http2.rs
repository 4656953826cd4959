//! Peers of HTTP/2.

use proptest::prelude::*;

use crate::{
    Wanted,
    damage::{Text, damages},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const PRIORITY_UPDATE: u8 = 16;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// RFC 9113 section 4.1.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn priority_update(stream: u32, field: &str) -> Vec<u8> {
    frame(PRIORITY_UPDATE, 0, 0, &[&stream.to_be_bytes(), field.as_bytes()].concat())
}

/// Fields as literals without indexing (RFC 7541 section 6.2.2), so that a lost block spoils no later one.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(text.len() as u8);
            bytes.extend(text.bytes());
        }
    }
    bytes
}

/// What a peer says. `which` names one of its streams, from the last on; for DATA and trailers, one that it has not ended.
#[derive(Clone, Debug)]
enum Part {
    Open { method: &'static str, fields: Vec<(&'static str, &'static str)>, end: bool },
    Data { which: usize, length: usize, end: bool, padded: bool },
    Trailers { which: usize },
    Reset { which: usize, code: u32 },
    Window { which: Option<usize>, more: u32 },
    Settings { settings: Vec<(u16, u32)> },
    SettingsAck,
    Ping { ack: bool },
    GoAway { last: u32 },
    Priority { which: usize },
    PriorityUpdate { which: usize, ahead: u32, field: &'static str },
    Odd { kind: u8, flags: u8, stream: u32, payload: Vec<u8> },
}

fn part() -> impl Strategy<Value = Part> {
    let which = || prop_oneof![4 => Just(0), 3 => 0..3usize, 1 => 0..9usize];
    let method = prop_oneof![
        6 => Just("GET"), 6 => Just("POST"), 1 => Just("HEAD"), 2 => Just("CONNECT"), 2 => Just("WEBSOCKET"), 1 => Just("BAD")
    ];
    let field = prop_oneof![
        9 => Just(("x-a", "b")),
        9 => Just(("te", "trailers")),
        9 => prop_oneof![Just(("priority", "u=1")), Just(("priority", "i"))],
        5 => Just(("expect", "100-continue")),
        1 => Just(("content-length", "10")),
        1 => Just(("host", "b")),
        1 => Just(("connection", "close")),
    ];
    let setting = prop_oneof![
        1 => (0..8u16, 0..3u32),
        9 => (Just(4), prop_oneof![9 => 0..100u32, 9 => Just(1 << 20), 1 => Just(u32::MAX)]),
        9 => (Just(5), Just(1 << 14)),
    ];
    let more = || prop_oneof![9 => 1..100u32, 9 => Just(1 << 16), 1 => Just(0), 1 => Just(u32::MAX >> 1)];
    prop_oneof![
        20 => (method, prop::collection::vec(field, 0..3), any::<bool>())
            .prop_map(|(method, fields, end)| Part::Open { method, fields, end }),
        20 => (which(), prop_oneof![3 => 0..40usize, 1 => 0..5000usize], any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(which, length, end, padded)| Part::Data { which, length, end, padded }),
        3 => which().prop_map(|which| Part::Trailers { which }),
        3 => (which(), 0..14u32).prop_map(|(which, code)| Part::Reset { which, code }),
        6 => (prop::option::of(which()), more()).prop_map(|(which, more)| Part::Window { which, more }),
        2 => prop::collection::vec(setting, 0..3).prop_map(|settings| Part::Settings { settings }),
        1 => Just(Part::SettingsAck),
        3 => prop::bool::weighted(0.3).prop_map(|ack| Part::Ping { ack }),
        1 => (0..9u32).prop_map(|last| Part::GoAway { last }),
        1 => which().prop_map(|which| Part::Priority { which }),
        5 => (which(), 0..5u32, prop_oneof![Just("u=0"), Just("i"), Just("u=3, i=?0"), Just("?")])
            .prop_map(|(which, ahead, field)| Part::PriorityUpdate { which, ahead, field }),
        1 => (0..18u8, any::<u8>(), 0..9u32, prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(kind, flags, stream, payload)| Part::Odd { kind, flags, stream, payload }),
    ]
}

/// The bytes of one connection.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    /// Streams that were opened, last first; of them, those not ended.
    streams: Vec<u32>,
    open: Vec<u32>,
}

impl Writer {
    fn which(&self, which: usize) -> u32 {
        self.streams.get(which).or(self.streams.last()).copied().unwrap_or(1)
    }

    fn start(&mut self, end: bool) -> u32 {
        let stream = self.streams.first().map_or(1, |last| last + 2);
        self.streams.insert(0, stream);
        if !end {
            self.open.insert(0, stream);
        }
        stream
    }

    fn go_on(&mut self, which: usize, end: bool) -> Option<u32> {
        let stream = *self.open.get(which).or(self.open.last())?;
        self.open.retain(|&open| !end || open != stream);
        Some(stream)
    }

    fn write(&mut self, part: Part) {
        let frame = match part {
            Part::Open { method, fields, end } => {
                let mut all = match method {
                    "CONNECT" => vec![(":method", "CONNECT"), (":authority", "a:1")],
                    "WEBSOCKET" => vec![
                        (":method", "CONNECT"),
                        (":protocol", "websocket"),
                        (":scheme", "http"),
                        (":path", "/"),
                        (":authority", "a"),
                    ],
                    "BAD" => vec![(":method", "GET"), (":path", "")],
                    method => vec![(":method", method), (":scheme", "http"), (":path", "/"), (":authority", "a")],
                };
                all.extend(fields);
                let flags = END_HEADERS | if end { END_STREAM } else { 0 };
                frame(HEADERS, flags, self.start(end), &block(&all))
            }
            Part::Data { which, length, end, padded } => {
                let mut payload = vec![b'd'; length];
                if padded {
                    payload.insert(0, 3);
                    payload.extend([0; 3]);
                }
                let flags = if end { END_STREAM } else { 0 } | if padded { PADDED } else { 0 };
                let Some(stream) = self.go_on(which, end) else { return };
                frame(DATA, flags, stream, &payload)
            }
            Part::Trailers { which } => {
                let Some(stream) = self.go_on(which, true) else { return };
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[("x-sum", "1")]))
            }
            Part::Reset { which, code } => {
                let stream = self.which(which);
                self.open.retain(|&open| open != stream);
                frame(RST_STREAM, 0, stream, &code.to_be_bytes())
            }
            Part::Window { which, more } => {
                let stream = which.map_or(0, |which| self.which(which));
                frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
            }
            Part::Settings { settings } => {
                let setting = |(id, value): (u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
                frame(SETTINGS, 0, 0, &settings.into_iter().flat_map(setting).collect::<Vec<_>>())
            }
            Part::SettingsAck => frame(SETTINGS, 1, 0, &[]),
            Part::Ping { ack } => frame(PING, u8::from(ack), 0, &[7; 8]),
            Part::GoAway { last } => frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat()),
            Part::Priority { which } => frame(PRIORITY, 0, self.which(which), &[0, 0, 0, 0, 9]),
            Part::PriorityUpdate { which, ahead, field } => priority_update(self.which(which) + 2 * ahead, field),
            Part::Odd { kind, flags, stream, payload } => frame(kind, flags, stream, &payload),
        };
        self.bytes.extend(frame);
    }
}

/// A preface, and frames that mostly may come, some of them damaged.
pub fn nearly() -> impl Strategy<Value = Text> {
    (prop::collection::vec(part(), 0..30), damages(0.3)).prop_map(|(parts, damages)| {
        let mut writer = Writer { bytes: PREFACE.to_vec(), ..Writer::default() };
        writer.bytes.extend(frame(SETTINGS, 0, 0, &[]));
        parts.into_iter().for_each(|part| writer.write(part));
        damages.apply(writer.bytes)
    })
}

/// Well-formed requests whose frames are interleaved in the order of `picks`, and what they say.
pub fn well() -> impl Strategy<Value = (Vec<Wanted>, Vec<Text>)> {
    let method = prop_oneof![1 => Just("GET"), 1 => Just("HEAD"), 4 => Just("POST")];
    let pieces = prop::collection::vec(prop_oneof![4 => 0..300usize, 1 => Just(3000)], 1..5);
    let request = (method, pieces, any::<bool>());
    let picks = prop::collection::vec(0..7usize, 0..40);
    (prop::collection::vec(request, 1..7), picks).prop_map(|(requests, picks)| {
        let mut all = Vec::new();
        let mut frames = Vec::new();
        for (number, (method, pieces, trailers)) in requests.into_iter().enumerate() {
            let has_body = method == "POST";
            let length = if has_body { pieces.iter().sum() } else { 0 };
            let mut wanted = Wanted { method, body: vec![0; length], trailers: trailers && has_body };
            wanted.fill(number);
            frames.push(frames_of(&wanted, &pieces, number));
            all.push(wanted);
        }
        let mut bytes = PREFACE.to_vec();
        // As much as it likes may be answered at once.
        bytes.extend(frame(SETTINGS, 0, 0, &[&[0, 4][..], &(1u32 << 30).to_be_bytes()].concat()));
        bytes.extend(frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes()));
        let mut opened = 0;
        for pick in picks.into_iter().chain((0..all.len()).flat_map(|stream| [stream; 9])) {
            // Streams are opened in the order of their numbers.
            let stream = pick.min(opened).min(all.len() - 1);
            if !frames[stream].is_empty() {
                bytes.extend(frames[stream].remove(0));
                opened = opened.max(stream + 1);
            }
        }
        (all, vec![Text(bytes)])
    })
}

fn frames_of(wanted: &Wanted, pieces: &[usize], number: usize) -> Vec<Vec<u8>> {
    let stream = 2 * number as u32 + 1;
    let path = format!("/{number}");
    let fields = [(":method", wanted.method), (":scheme", "http"), (":path", &path), (":authority", "a")];
    let ends = |last| if last { END_STREAM } else { 0 };
    let has_body = wanted.method == "POST";
    let priority = priority_update(stream, ["u=1", "i", "u=7, i", ""][number % 4]);
    let head = frame(HEADERS, END_HEADERS | ends(!has_body), stream, &block(&fields));
    let mut frames = vec![[priority, head].concat()];
    let mut rest = &wanted.body[..];
    for (index, &length) in pieces.iter().enumerate().filter(|_| has_body) {
        let (piece, after) = rest.split_at(length);
        let last = index + 1 == pieces.len() && !wanted.trailers;
        frames.push(frame(DATA, ends(last), stream, piece));
        rest = after;
    }
    if wanted.trailers {
        frames.push(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[("x-sum", "1")])));
    }
    frames
}
