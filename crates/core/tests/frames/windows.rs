//! Flow control: whose bytes may go, and who is stalled.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyperpull::{
    config::Config,
    engine::Engine,
    error::{CloseCode, Code},
    event::Event,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, join, simplex};

use crate::{
    client::{
        ACK, Client, DATA, END_HEADERS, END_STREAM, GET, HEADERS, PING, POST, WINDOW_UPDATE, data, frame, preface,
        scene,
    },
    rig::{Rig, head, run},
};

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
fn a_reader_that_waits_is_lent_window_when_bodies_that_nobody_reads_have_all_of_it() {
    run(async {
        const WINDOW: usize = 1 << 16;
        /// What the peer was given of the connection's window since the last look.
        fn given(client: &mut Client) -> usize {
            let frames = client.received().into_iter();
            let updates = frames.filter(|(kind, _, stream, _)| (*kind, *stream) == (WINDOW_UPDATE, 0));
            updates.map(|(.., more)| u32::from_be_bytes(more.try_into().unwrap()) as usize).sum()
        }
        let (mut rig, mut client) = scene(1, 1 << 16).await;
        let read = client.request(&mut rig, 1, 0, POST).await;
        // Requests that nobody has pulled, either: all that the window of the connection has room for.
        for stream in (3..35).step_by(2) {
            client.send(&frame(HEADERS, END_HEADERS, stream, POST)).await;
            client.send(&data(stream, WINDOW)).await;
        }
        assert!(rig.quiet().await);
        given(&mut client);
        rig.pull(read, WINDOW).unwrap();
        assert!(rig.quiet().await);
        assert_eq!(given(&mut client), WINDOW);
        // Another takes it away, up to its own window.
        client.send(&frame(HEADERS, END_HEADERS, 35, POST)).await;
        client.send(&data(35, WINDOW)).await;
        assert!(rig.quiet().await);
        assert_eq!(given(&mut client), WINDOW);
        for _ in 0..5 {
            client.send(&data(1, WINDOW)).await;
            let mut came = rig.chunk().await.len();
            while came < WINDOW {
                rig.pull(read, WINDOW).unwrap();
                came += rig.chunk().await.len();
            }
            assert!(rig.quiet().await);
            assert_eq!(given(&mut client), 0, "nobody waits");
            rig.pull(read, WINDOW).unwrap();
            assert!(rig.quiet().await);
            assert_eq!(given(&mut client), WINDOW);
        }
        client.send(&data(1, WINDOW)).await;
        client.send(&frame(DATA, END_STREAM, 1, &[])).await;
        while !matches!(rig.event().await, Event::End { .. }) {
            let _ = rig.pull(read, WINDOW);
        }
        rig.engine.send(read, head(200), Bytes::new(), None, rig.now).unwrap();
        rig.sent().await;
        // What the other has is lent still: it is paid back by the first body that is taken.
        for back in [0, WINDOW] {
            rig.engine.pull_requests(1);
            let (key, ..) = rig.request().await;
            let mut came = 0;
            while came < WINDOW {
                rig.pull(key, WINDOW).unwrap();
                came += rig.chunk().await.len();
            }
            assert!(rig.quiet().await);
            assert_eq!(given(&mut client), back);
        }
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
