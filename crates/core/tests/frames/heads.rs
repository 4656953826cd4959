//! Heads, trailer sections, and the streams that leave HTTP.

use hyperpull::{
    config::Config,
    engine::ResetReason,
    error::{Code, Refusal},
    event::Event,
};

use crate::{
    client::{
        CONNECT, CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, GET, HEADERS, POST, RST_STREAM, frame, scene,
    },
    rig::{Rig, head, run},
};

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
