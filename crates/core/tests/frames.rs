//! The engine over HTTP/2, against a client that says any frame it is told to.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod rig;

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyperpull::{
    Key,
    config::Config,
    engine::{Engine, ResetReason},
    error::{CloseCode, Code, Refusal},
    event::Event,
};
use rig::{Rig, head, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, join, simplex};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const PRIORITY_UPDATE: u8 = 16;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// `:method: GET`, or POST, `:scheme: http`, `:path: /`, `:authority: a`.
const GET: &[u8] = b"\x82\x86\x84\x01\x01a";
const POST: &[u8] = b"\x83\x86\x84\x01\x01a";
/// `:method: CONNECT`, `:authority: a:1`.
const CONNECT: &[u8] = b"\x02\x07CONNECT\x01\x03a:1";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface, with an INITIAL_WINDOW_SIZE.
fn preface(window: u32) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat()));
    bytes.extend(frame(SETTINGS, ACK, 0, &[]));
    bytes
}

/// A body, or a part of it, in frames that are not too long.
fn data(stream: u32, length: usize) -> Vec<u8> {
    vec![b'd'; length].chunks(1 << 14).flat_map(|piece| frame(DATA, 0, stream, piece)).collect()
}

struct Client(DuplexStream);

impl Client {
    /// Of which only the windows of streams hold anything up.
    async fn new(rig: &mut Rig, window: u32) -> Self {
        let open = frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes());
        Self::saying(rig, &[preface(window), open].concat()).await
    }

    async fn saying(rig: &mut Rig, bytes: &[u8]) -> Self {
        let mut client = Self(rig.take_client());
        client.send(bytes).await;
        assert!(rig.quiet().await);
        client.received();
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Kind, flags, stream and payload of each frame that is in the pipe now.
    fn received(&mut self) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let mut bytes = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok(1..)) = pin!(self.0.read_buf(&mut bytes)).poll(&mut cx) {}
        let mut frames = Vec::new();
        let mut rest = &bytes[..];
        while let &[a, b, c, kind, flags, d, e, f, g, ref behind @ ..] = rest {
            let (payload, behind) = behind.split_at(u32::from_be_bytes([0, a, b, c]) as usize);
            frames.push((kind, flags, u32::from_be_bytes([d, e, f, g]), payload.to_vec()));
            rest = behind;
        }
        frames
    }

    async fn request(&mut self, rig: &mut Rig, stream: u32, flags: u8, block: &[u8]) -> Key {
        self.send(&frame(HEADERS, flags | END_HEADERS, stream, block)).await;
        rig.request().await.0
    }
}

/// An engine of which so many requests are pulled, and a client whose answers come in windows of so many bytes.
async fn scene(requests: u32, window: u32) -> (Rig, Client) {
    let mut rig = Rig::new(1 << 22);
    rig.engine.pull_requests(requests);
    let client = Client::new(&mut rig, window).await;
    (rig, client)
}

#[test]
fn a_body_is_read_beside_fifteen_that_nobody_reads() {
    run(async {
        const WINDOW: usize = 1 << 16;
        let (mut rig, mut client) = scene(16, 1 << 16).await;
        let key = client.request(&mut rig, 1, 0, POST).await;
        client.send(&data(1, WINDOW)).await;
        let mut read = 0;
        while read < WINDOW {
            rig.pull(key, WINDOW).unwrap();
            read += rig.chunk().await.len();
        }
        for stream in (3..33).step_by(2) {
            client.request(&mut rig, stream, 0, POST).await;
            client.send(&data(stream, WINDOW)).await;
        }
        assert!(rig.quiet().await);
        let windows: usize = client
            .received()
            .iter()
            .filter(|(kind, _, stream, _)| (*kind, *stream) == (WINDOW_UPDATE, 0))
            .map(|(.., more)| u32::from_be_bytes(more[..].try_into().unwrap()) as usize)
            .sum();
        assert!(windows >= WINDOW, "what was taken is kept from the peer, which has nothing left to send with");
    });
}

#[test]
fn a_window_that_our_settings_make_smaller_is_given_back_all_the_same() {
    run(async {
        const WINDOW: usize = 1 << 14;
        let mut config = Config::default();
        config.limits.buffered_bytes = 16 * WINDOW as u32;
        let mut rig = Rig::with(1 << 22, config);
        rig.engine.pull_requests(1);
        let unheard = preface(1 << 16);
        let (unheard, acknowledgement) = unheard.split_at(unheard.len() - 9);
        let mut client = Client::saying(&mut rig, unheard).await;
        let key = client.request(&mut rig, 1, 0, POST).await;
        client.send(&data(1, WINDOW)).await;
        rig.pull(key, WINDOW).unwrap();
        assert_eq!(rig.chunk().await.len(), WINDOW);
        client.send(acknowledgement).await;
        assert!(rig.quiet().await);
        let of_stream =
            client.received().into_iter().find(|&(kind, _, stream, _)| (kind, stream) == (WINDOW_UPDATE, 1));
        assert_eq!(of_stream.unwrap().3, (WINDOW as u32).to_be_bytes());
    });
}

#[test]
fn an_end_without_a_byte_fits_into_a_window_that_our_settings_made_negative() {
    run(async {
        const WINDOW: u32 = 1 << 14;
        let mut config = Config::default();
        config.limits.buffered_bytes = 4 * WINDOW;
        let mut rig = Rig::with(1 << 22, config);
        rig.engine.pull_requests(1);
        let unheard = preface(1 << 16);
        let (unheard, acknowledgement) = unheard.split_at(unheard.len() - 9);
        let mut client = Client::saying(&mut rig, unheard).await;
        let key = client.request(&mut rig, 1, 0, POST).await;
        client.send(&data(1, 60_000)).await;
        client.send(acknowledgement).await;
        client.send(&frame(DATA, END_STREAM, 1, &[])).await;
        let mut read = 0;
        while read < 60_000 {
            rig.pull(key, 1 << 16).unwrap();
            read += rig.chunk().await.len();
        }
        rig.pull(key, 1).unwrap();
        assert!(matches!(rig.event().await, Event::End { .. }));
    });
}

#[test]
fn who_was_in_time_is_not_late_because_nobody_looked() {
    run(async {
        let (mut rig, mut client) = scene(1, 1 << 16).await;
        let key = client.request(&mut rig, 1, 0, POST).await;
        rig.pull(key, 9).unwrap();
        assert!(rig.quiet().await);
        client.send(&frame(DATA, 0, 1, b"abc")).await;
        rig.pass(Duration::from_secs(31));
        assert_eq!(rig.chunk().await, "abc");
    });
}

#[test]
fn a_frame_that_comes_in_small_pieces_is_no_standstill_and_one_that_stops_is() {
    run(async {
        let (mut rig, mut client) = scene(2, 1 << 16).await;
        let key = client.request(&mut rig, 1, 0, POST).await;
        let other = client.request(&mut rig, 3, 0, POST).await;
        rig.pull(key, 1 << 16).unwrap();
        let bytes = data(1, 1 << 14);
        let mut pieces = bytes.chunks(4000);
        for _ in 0..4 {
            client.send(pieces.next().unwrap()).await;
            rig.pass(Duration::from_secs(20));
            assert!(rig.quiet().await);
        }
        client.send(pieces.next().unwrap()).await;
        assert_eq!(rig.chunk().await.len(), 1 << 14);

        rig.pull(key, 9).unwrap();
        rig.pull(other, 9).unwrap();
        client.send(&bytes[..5000]).await;
        rig.pass(Duration::from_secs(20));
        assert!(rig.quiet().await);
        for (late, after) in [(other, 10), (key, 20)] {
            rig.pass(Duration::from_secs(after));
            let Event::BodyFailed { key, error } = rig.event().await else { panic!("not failed") };
            assert_eq!((key, error.code()), (late, Code::BodyTimeout));
        }
    });
}

#[test]
fn an_answer_without_a_body_has_no_trailers_either() {
    run(async {
        let (mut rig, mut client) = scene(3, 1 << 16).await;
        const HEAD: &[u8] = b"\x02\x04HEAD\x86\x84\x01\x01a";
        for (stream, block, status) in [(1, GET, 204), (3, GET, 304), (5, HEAD, 200)] {
            let key = client.request(&mut rig, stream, END_STREAM, block).await;
            let trailers = http::HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))]);
            rig.engine.start(key, head(status), rig.now).unwrap();
            rig.engine.finish(key, Some(trailers)).unwrap();
            assert_eq!(rig.sent().await, (key, 0));
            let kinds: Vec<_> = client.received().into_iter().map(|(kind, flags, ..)| (kind, flags)).collect();
            assert_eq!(kinds, [(HEADERS, END_HEADERS), (DATA, END_STREAM)], "{status}");
        }
    });
}

#[test]
fn the_scheme_is_known_whoever_is_named_by_host_and_in_whatever_case() {
    run(async {
        let (mut rig, mut client) = scene(4, 1 << 16).await;
        let get = |scheme: &str, name: &[u8]| {
            [b"\x82\x84\x06", &[scheme.len() as u8][..], scheme.as_bytes(), name, b"\x03a:1"].concat()
        };
        let (authority, host) = (b"\x01", b"\x0f\x17");
        let blocks = [get("https", host), get("HTTPS", host), get("HTTPS", authority), get("https", authority)];
        for (stream, block) in (1..).step_by(2).zip(blocks) {
            client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)).await;
            let (_, head, _) = rig.request().await;
            assert_eq!(head.uri, "https://a:1/");
        }
        // Where CONNECT goes is said by :authority alone (RFC 9113 section 8.5).
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 9, b"\x02\x07CONNECT\x0f\x17\x03a:1")).await;
        assert!(matches!(rig.event().await, Event::Refused(Refusal::BadRequest)));
    });
}

#[test]
fn a_stream_that_only_we_could_open_is_idle() {
    for what in [frame(DATA, 0, 2, b"x"), frame(RST_STREAM, 0, 2, &[0; 4]), frame(WINDOW_UPDATE, 0, 2, &[0, 0, 0, 1])] {
        run(async move {
            let (mut rig, mut client) = scene(1, 1 << 16).await;
            client.request(&mut rig, 3, END_STREAM, GET).await;
            client.send(&what).await;
            assert!(matches!(rig.event().await, Event::Refused(_)));
            let of_connection = client.received().into_iter().find(|&(kind, ..)| kind == GOAWAY).unwrap();
            assert_eq!(of_connection.3, [0, 0, 0, 3, 0, 0, 0, 1], "PROTOCOL_ERROR");
        });
    }
}

#[test]
fn a_window_that_was_filled_to_its_last_byte_stalls_too() {
    run(async {
        let mut rig = Rig::new(1 << 22);
        rig.engine.pull_requests(1);
        // As much as is written in one go.
        let mut client = Client::new(&mut rig, 1 << 16).await;
        let key = client.request(&mut rig, 1, END_STREAM, GET).await;
        rig.engine.send(key, head(200), Bytes::from(vec![7; 100_000]), None, rig.now).unwrap();
        for _ in 0..6 {
            assert!(rig.quiet().await);
            client.send(&frame(PING, ACK, 0, b"hp alive")).await;
            rig.pass(Duration::from_secs(10));
        }
        let Event::Failed { error, .. } = rig.event().await else { panic!("not failed") };
        assert_eq!(error.code(), Code::WriteStalled);
    });
}

#[test]
fn what_is_opened_behind_the_last_goaway_is_not_looked_at_with_all_that_belongs_to_it() {
    run(async {
        let (mut rig, mut client) = scene(2, 1 << 16).await;
        let key = client.request(&mut rig, 1, END_STREAM, GET).await;
        rig.engine.drain();
        assert!(rig.quiet().await);
        client.send(&frame(PING, ACK, 0, b"hp drain")).await;
        assert!(rig.quiet().await);
        client.send(&frame(HEADERS, END_HEADERS, 3, POST)).await;
        client.send(&data(3, 100_000)).await;
        client.send(&frame(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 1])).await;
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x00\x01x\x01y")).await;
        client.send(&frame(RST_STREAM, 0, 3, &[0, 0, 0, 8])).await;
        assert!(rig.quiet().await);
        rig.engine.send(key, head(200), Bytes::from_static(b"x"), None, rig.now).unwrap();
        assert_eq!(rig.sent().await, (key, 1));
        assert!(rig.quiet().await);
        client.0.shutdown().await.unwrap();
        assert_eq!(rig.closed().await.code, CloseCode::Drained);
        for (kind, _, _, payload) in client.received() {
            if kind == GOAWAY && payload[..4] != (u32::MAX >> 1).to_be_bytes() {
                assert_eq!(payload, [0, 0, 0, 1, 0, 0, 0, 0]);
            }
        }
    });
}

#[test]
fn a_peer_that_writes_all_before_it_reads_anything_is_read() {
    run(async {
        let (from_client, mut client) = simplex(1 << 22);
        // It takes the SETTINGS, and no more.
        let (_unread, to_client) = simplex(100);
        let mut config = Config::default();
        config.limits.buffered_bytes = 1 << 25;
        let now = Instant::now();
        let mut engine = Engine::new(0, join(from_client, to_client), Arc::new(config), now);
        let said = [
            preface(1 << 16),
            frame(PING, 0, 0, &[7; 8]).repeat(20),
            frame(HEADERS, END_HEADERS, 1, POST),
            data(1, 1_000_000),
        ]
        .concat();
        client.write_all(&said).await.unwrap();
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        while woken.0.swap(false, SeqCst) {
            engine.turn(&mut Context::from_waker(&Waker::from(woken.clone())), now);
        }
        assert_eq!(engine.bytes_read(), said.len() as u64);
    });
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn a_head_without_a_limit_may_come_in_pieces() {
    run(async {
        let mut config = Config::default();
        config.limits.header_bytes = usize::MAX;
        let mut rig = Rig::with(1 << 22, config);
        rig.engine.pull_requests(1);
        let mut client = Client::new(&mut rig, 1 << 16).await;
        client.send(&frame(HEADERS, END_STREAM, 1, &GET[..2])).await;
        client.send(&frame(CONTINUATION, END_HEADERS, 1, &GET[2..])).await;
        assert_eq!(rig.request().await.0.stream, 1);
    });
}

#[test]
fn a_tunnel_for_no_protocol_is_malformed() {
    run(async {
        let (mut rig, mut client) = scene(1, 1 << 16).await;
        // CONNECT with an empty `:protocol` (RFC 8441 section 4).
        let block = b"\x02\x07CONNECT\x86\x84\x01\x01a\0\x09:protocol\0";
        client.send(&frame(HEADERS, END_HEADERS, 1, block)).await;
        assert!(matches!(rig.event().await, Event::Refused(_)));
        assert!(rig.quiet().await);
        assert_eq!(client.received(), [(RST_STREAM, 0, 1, vec![0, 0, 0, 1])]);
    });
}

#[test]
fn a_tunnel_has_no_trailers() {
    run(async {
        let (mut rig, mut client) = scene(1, 1 << 16).await;
        let key = client.request(&mut rig, 1, 0, CONNECT).await;
        rig.engine.upgrade(key, head(200), rig.now).unwrap();
        assert!(matches!(rig.event().await, Event::Upgraded { .. }));
        rig.pull(key, 1).unwrap();
        // RFC 9113 section 8.5.
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01x\x01y")).await;
        let Event::Failed { error, .. } = rig.event().await else { panic!("not failed") };
        assert_eq!(error.code(), Code::Protocol);
    });
}

#[test]
fn a_tunnel_that_is_reset_at_once_has_been_one_and_is_reset_once() {
    run(async {
        let (mut rig, mut client) = scene(1, 1 << 16).await;
        let key = client.request(&mut rig, 1, 0, CONNECT).await;
        rig.engine.upgrade(key, head(200), rig.now).unwrap();
        rig.engine.reset(1, ResetReason::Cancel);
        rig.engine.reset(1, ResetReason::Internal);
        assert!(matches!(rig.event().await, Event::Upgraded { .. }));
        assert!(matches!(rig.event().await, Event::Failed { .. }));
        assert!(rig.quiet().await);
        let resets: Vec<_> = client.received().into_iter().filter(|(kind, ..)| *kind == RST_STREAM).collect();
        assert_eq!(resets, [(RST_STREAM, 0, 1, vec![0, 0, 0, 8])]);
    });
}

#[test]
fn a_drained_connection_reads_what_still_comes_to_an_early_answer() {
    run(async {
        let (mut rig, mut client) = scene(1, 1 << 16).await;
        let key = client.request(&mut rig, 1, 0, POST).await;
        rig.engine.drain();
        rig.engine.send(key, head(413), Bytes::new(), None, rig.now).unwrap();
        assert_eq!(rig.sent().await, (key, 0));
        client.send(&frame(PING, ACK, 0, b"hp drain")).await;
        // Closed now, it would be reset, and the reset may overtake the answer.
        assert!(rig.quiet().await);
        client.send(&data(1, 1 << 14)).await;
        assert!(rig.quiet().await);
        client.0.shutdown().await.unwrap();
        assert_eq!(rig.closed().await.code, CloseCode::Drained);
    });
}

#[test]
fn who_waits_for_the_window_of_a_connection_that_others_use_is_not_stalled() {
    run(async {
        let mut rig = Rig::new(1 << 22);
        rig.engine.pull_requests(2);
        let mut client = Client::saying(&mut rig, &preface(1 << 24)).await;
        for (stream, length) in [(1, 1 << 20), (3, 10)] {
            let key = client.request(&mut rig, stream, END_STREAM, GET).await;
            rig.engine.send(key, head(200), Bytes::from(vec![7; length]), None, rig.now).unwrap();
        }
        for _ in 0..8 {
            assert!(rig.quiet().await);
            client.received();
            client.send(&frame(WINDOW_UPDATE, 0, 0, &1000u32.to_be_bytes())).await;
            rig.pass(Duration::from_secs(10));
        }
        assert!(rig.quiet().await);
    });
}

#[test]
fn short_pieces_of_an_answer_share_a_frame() {
    run(async {
        let (mut rig, mut client) = scene(1, 0).await;
        let key = client.request(&mut rig, 1, END_STREAM, GET).await;
        rig.engine.start(key, head(200), rig.now).unwrap();
        for piece in 0..20_000u32 {
            rig.engine.write(key, Bytes::from(vec![piece as u8; 1])).unwrap();
        }
        rig.engine.finish(key, None).unwrap();
        assert!(rig.quiet().await);
        client.received();
        client.send(&frame(WINDOW_UPDATE, 0, 1, &20_000u32.to_be_bytes())).await;
        assert_eq!(rig.sent().await, (key, 20_000));
        let frames = client.received();
        let body: Vec<u8> = frames.iter().flat_map(|(_, _, _, payload)| payload.clone()).collect();
        assert_eq!((frames.len(), body), (2, (0..20_000u32).map(|piece| piece as u8).collect()));
        assert_eq!(frames.last().map(|(kind, flags, ..)| (*kind, *flags)), Some((DATA, END_STREAM)));
    });
}

#[test]
fn who_takes_a_long_answer_is_alive_though_the_pong_stands_behind_it() {
    run(async {
        let mut rig = Rig::new(1 << 10);
        rig.engine.pull_requests(1);
        let mut client = Client::new(&mut rig, 1 << 24).await;
        let key = client.request(&mut rig, 1, END_STREAM, GET).await;
        rig.engine.send(key, head(200), Bytes::from(vec![7; 1 << 20]), None, rig.now).unwrap();
        let step = Duration::from_secs(10);
        // A kilobyte each ten seconds, and no word, for ten minutes.
        for _ in 0..60 {
            assert!(rig.quiet().await);
            assert!(client.0.read_exact(&mut [0; 1 << 10]).await.is_ok());
            rig.pass(step);
        }
        assert!(rig.quiet().await);
        rig.pass(7 * step);
        assert!(matches!(rig.event().await, Event::Failed { key: failed, .. } if failed == key));
        assert_eq!(rig.closed().await.code, CloseCode::WriteStalled);
    });
}

/// Says the same without end, and is cut.
async fn floods(what: impl Fn(u32) -> Vec<u8>) {
    let (mut rig, mut client) = scene(1, 1 << 16).await;
    client.request(&mut rig, 1, 0, POST).await;
    for number in 1..2000 {
        client.send(&what(2 * number + 1)).await;
    }
    loop {
        match rig.event().await {
            Event::Closed(reason) => {
                assert_eq!(reason.code, CloseCode::ProtocolError);
                assert!(reason.message.ends_with("ENHANCE_YOUR_CALM"), "{}", reason.message);
                return;
            }
            Event::Refused(_) | Event::Failed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_comes_to_nothing_is_not_listened_to_without_end() {
    run(async {
        floods(|_| frame(DATA, PADDED, 1, &[0])).await;
        floods(|_| frame(DATA, PADDED, 1, &[3, 0, 0, 0])).await;
        // Neither `:authority` nor Host: 400.
        floods(|stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x82\x86\x84")).await;
    });
}

#[test]
fn of_a_body_that_was_too_large_nothing_is_kept() {
    run(async {
        let mut config = Config::default();
        config.limits.body_bytes = 1000;
        let mut rig = Rig::with(1 << 22, config);
        rig.engine.pull_requests(1);
        let mut client = Client::new(&mut rig, 1 << 16).await;
        let key = client.request(&mut rig, 1, 0, POST).await;
        client.send(&data(1, 2000)).await;
        rig.pull(key, 1 << 20).unwrap();
        assert!(matches!(rig.event().await, Event::BodyFailed { error, .. } if error.code() == Code::BodyTooLarge));
        // All of its window comes back, though nobody can pull it.
        for _ in 0..20 {
            client.send(&data(1, 10_000)).await;
            assert!(rig.quiet().await);
        }
        let windows = client.received();
        let given = |stream| -> u32 {
            let of = windows.iter().filter(|(kind, _, of, _)| (*kind, *of) == (WINDOW_UPDATE, stream));
            of.map(|(.., more)| u32::from_be_bytes(more[..].try_into().unwrap())).sum()
        };
        assert!(given(1) > 150_000, "{}", given(1));
    });
}

#[test]
fn a_wrong_priority_is_told_also_when_its_stream_has_its_answer() {
    run(async {
        let (mut rig, mut client) = scene(1, 1 << 16).await;
        let key = client.request(&mut rig, 1, END_STREAM, GET).await;
        rig.engine.send(key, head(200), Bytes::new(), None, rig.now).unwrap();
        assert_eq!(rig.sent().await, (key, 0));
        client.send(&frame(PRIORITY, 0, 1, &[0, 0, 0, 3])).await;
        assert!(matches!(rig.event().await, Event::Refused(_)));
        client.0.shutdown().await.unwrap();
        let reason = rig.closed().await;
        assert!(reason.message.ends_with("FRAME_SIZE_ERROR"), "{}", reason.message);
    });
}

/// `priority: ...`, as a field that is not indexed.
fn get_with_priority(value: &str) -> Vec<u8> {
    [GET, b"\x00\x08priority", &[value.len() as u8], value.as_bytes()].concat()
}

fn priority_update(stream: u32, value: &str) -> Vec<u8> {
    frame(PRIORITY_UPDATE, 0, 0, &[&stream.to_be_bytes(), value.as_bytes()].concat())
}

/// The streams whose DATA is in the pipe, in the order in which it came, each named once in a row.
fn served(client: &mut Client) -> Vec<u32> {
    let data = client.received().into_iter().filter(|(kind, ..)| *kind == DATA);
    let mut streams: Vec<_> = data.map(|(_, _, stream, _)| stream).collect();
    streams.dedup();
    streams
}

#[test]
fn answers_go_out_by_urgency_and_incremental_ones_by_turns() {
    run(async {
        let (mut rig, mut client) = scene(8, 1 << 20).await;
        // Of a stream that is not open yet: in place of what its head says.
        client.send(&priority_update(9, "u=1")).await;
        let mut keys = Vec::new();
        for (stream, priority) in [(1, "u=5"), (3, "i"), (5, ""), (7, "i"), (9, "u=7"), (11, "u=7")] {
            keys.push(client.request(&mut rig, stream, END_STREAM, &get_with_priority(priority)).await);
        }
        // Of one that is.
        client.send(&priority_update(11, "u=0, i=?0")).await;
        assert!(rig.quiet().await);
        for key in keys {
            rig.engine.send(key, head(200), vec![b'x'; 150_000].into(), None, rig.now).unwrap();
        }
        while !matches!(rig.event().await, Event::Sent { key: Key { stream: 1, .. }, .. }) {}
        let served = served(&mut client);
        let [11, 9, 5, turns @ .., 1] = &served[..] else { panic!("{served:?}") };
        assert!(turns.len() >= 4 && turns.iter().all(|stream| [3, 7].contains(stream)), "{served:?}");
    });
}

#[test]
fn a_priority_may_be_told_in_several_fields() {
    run(async {
        let (mut rig, mut client) = scene(2, 1 << 20).await;
        let mut two = get_with_priority("u=2, i");
        two.extend_from_slice(b"\x00\x08priority\x03u=7");
        let keys = [
            client.request(&mut rig, 1, END_STREAM, &two).await,
            client.request(&mut rig, 3, END_STREAM, &get_with_priority("u=5")).await,
        ];
        for key in keys {
            rig.engine.send(key, head(200), vec![b'x'; 50_000].into(), None, rig.now).unwrap();
        }
        for _ in keys {
            rig.sent().await;
        }
        assert_eq!(served(&mut client), [3, 1]);
    });
}

#[test]
fn a_priority_update_that_is_wrong_ends_the_connection() {
    run(async {
        for (bytes, wrong) in [
            (frame(PRIORITY_UPDATE, 0, 1, b"\0\0\0\x01u=1"), true),
            (frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0"), true),
            (priority_update(0, "u=1"), true),
            (priority_update(2, "u=1"), true),
            (priority_update(1, "no dictionary: \u{fe}"), false),
            ((1..201).step_by(2).flat_map(|stream| priority_update(stream, "i")).collect(), false),
            ((1..203).step_by(2).flat_map(|stream| priority_update(stream, "i")).collect(), true),
            // One stream is one, however often it is named.
            ((0..500).flat_map(|_| priority_update(99, "i")).collect(), false),
        ] {
            let mut config = Config::default();
            config.limits.concurrent_streams = 100;
            let mut rig = Rig::with(1 << 16, config);
            let mut client = Client::new(&mut rig, 1 << 16).await;
            client.send(&bytes).await;
            assert_eq!(rig.quiet().await, !wrong);
            assert_eq!(client.received().iter().any(|(kind, ..)| *kind == GOAWAY), wrong);
            drop(client);
            assert_eq!(rig.close_code().await == CloseCode::ProtocolError, wrong);
        }
    });
}

#[test]
fn a_trailer_section_has_no_more_fields_than_a_head() {
    run(async {
        for (fields, fits) in [(100, true), (101, false)] {
            let (mut rig, mut client) = scene(1, 1 << 16).await;
            let key = client.request(&mut rig, 1, 0, POST).await;
            let block = b"\x00\x01x\x011".repeat(fields);
            client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)).await;
            rig.pull(key, 1).unwrap();
            match rig.event().await {
                Event::End { trailers: Some(trailers), .. } if fits => assert_eq!(trailers.len(), fields),
                Event::Failed { error, .. } if !fits => assert_eq!(error.code(), Code::Protocol),
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn trailers_without_a_field_are_none() {
    run(async {
        let (mut rig, mut client) = scene(1, 1 << 16).await;
        let key = client.request(&mut rig, 1, END_STREAM, GET).await;
        rig.engine.send(key, head(200), "x".into(), Some(http::HeaderMap::new()), rig.now).unwrap();
        rig.sent().await;
        let kinds: Vec<_> = client.received().iter().map(|&(kind, flags, ..)| (kind, flags)).collect();
        assert_eq!(kinds, [(HEADERS, END_HEADERS), (DATA, END_STREAM)]);
    });
}
