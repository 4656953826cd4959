//! Priorities (RFC 9218): in which order answers go out.

use bytes::Bytes;
use hyperpull::{Key, config::Config, error::CloseCode, event::Event};
use tokio::io::AsyncWriteExt;

use crate::{
    client::{Client, DATA, END_STREAM, GET, GOAWAY, PRIORITY, PRIORITY_UPDATE, frame, preface, scene},
    rig::{Rig, head, run},
};

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
fn who_has_not_heard_how_many_streams_there_may_be_may_prioritize_more() {
    run(async {
        let preface = preface(1 << 16);
        let (unheard, acknowledgement) = preface.split_at(preface.len() - 9);
        let more: Vec<u8> = (1..203).step_by(2).flat_map(|stream| priority_update(stream, "u=1")).collect();
        let mut config = Config::default();
        config.limits.concurrent_streams = 100;
        let mut rig = Rig::with(1 << 16, config);
        let mut client = Client::saying(&mut rig, unheard).await;
        client.send(&more).await;
        assert!(rig.quiet().await);
        client.send(acknowledgement).await;
        assert!(rig.quiet().await);
        client.send(&more).await;
        drop(client);
        assert_eq!(rig.close_code().await, CloseCode::ProtocolError);
    });
}
