//! What ends a stream or the connection, and what does not.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyperpull::{
    config::Config,
    engine::Engine,
    error::{CloseCode, Code},
    event::Event,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf, join, simplex};

use crate::{
    client::{
        ACK, CONNECT, Client, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PADDED, PING, POST, RST_STREAM,
        WINDOW_UPDATE, data, frame, preface, scene,
    },
    rig::{Rig, head, run},
};

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

/// What a reader gets of a connection that was reset.
struct Reset;

impl AsyncRead for Reset {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(ErrorKind::ConnectionReset.into()))
    }
}

#[test]
fn what_is_left_of_a_tunnel_that_both_sides_have_ended_is_read_though_the_connection_is_reset() {
    run(async {
        let (from_client, mut client) = simplex(1 << 16);
        let (_taken, to_client) = simplex(1 << 16);
        let now = Instant::now();
        let io = join(from_client.chain(Reset), to_client);
        let mut engine = Engine::new(0, io, Arc::new(Config::default()), now);
        let turn = |engine: &mut Engine<_>| {
            engine.turn(&mut Context::from_waker(Waker::noop()), now);
            std::iter::from_fn(|| engine.next_event()).collect::<Vec<_>>()
        };
        engine.pull_requests(1);
        client.write_all(&[preface(1 << 16), frame(HEADERS, END_HEADERS, 1, CONNECT)].concat()).await.unwrap();
        let [Event::Open(_), Event::Request { key, .. }] = turn(&mut engine)[..] else { panic!("no request") };
        engine.upgrade(key, head(200), now).unwrap();
        engine.finish(key, None).unwrap();
        engine.pull_chunk(key, 100, now).unwrap();
        assert!(matches!(turn(&mut engine)[..], [Event::Upgraded { .. }, Event::Sent { .. }]));
        client.write_all(&frame(DATA, END_STREAM, 1, b"abc")).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(matches!(&turn(&mut engine)[..], [Event::Chunk { bytes, .. }] if bytes == "abc"));
        assert_eq!(engine.deadline(), None);
        engine.pull_chunk(key, 100, now).unwrap();
        let events = turn(&mut engine);
        let [Event::End { .. }, Event::Closed(reason)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(reason.code, CloseCode::PeerReset);
    });
}
