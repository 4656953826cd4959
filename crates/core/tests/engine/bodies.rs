//! Bodies of requests, and how far they are read.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyperpull::{
    config::Config,
    error::Code,
    event::{Event, RequestBody},
};

use crate::rig::{Rig, head, run};

#[test]
fn no_more_of_a_body_is_read_ahead_than_the_limit_however_often_it_is_turned() {
    run(async {
        let mut config = Config::default();
        config.limits.buffered_bytes = 1 << 16;
        let mut rig = Rig::with(1 << 20, config);
        rig.engine.pull_requests(1);
        let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n";
        rig.client.send(&(head.to_owned() + &"x".repeat(1_000_000))).await;
        let (key, ..) = rig.request().await;
        let mut pulled = 0;
        for _ in 0..5 {
            rig.pull(key, 10_000).unwrap();
            pulled += rig.chunk().await.len();
            assert!(rig.quiet().await);
            let most = head.len() + pulled + (1 << 16);
            assert!(
                rig.engine.bytes_read() <= most as u64,
                "{} bytes were read, {pulled} pulled",
                rig.engine.bytes_read()
            );
        }
    });
}

#[test]
fn a_body_is_read_though_none_of_it_may_be_buffered() {
    run(async {
        let mut config = Config::default();
        config.limits.buffered_bytes = 0;
        let mut rig = Rig::with(1 << 16, config);
        rig.engine.pull_requests(1);
        rig.client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
        let (key, ..) = rig.request().await;
        rig.pull(key, 100).unwrap();
        assert_eq!(rig.chunk().await, "abc");
        rig.pull(key, 100).unwrap();
        assert!(matches!(rig.event().await, Event::End { .. }));
    });
}

#[test]
fn a_body_that_is_read_on_comes_by_itself_and_no_further_than_it_is_taken() {
    run(async {
        const MOST: usize = 1 << 16;
        let mut config = Config::default();
        config.limits.buffered_bytes = MOST as u32;
        let mut rig = Rig::with(1 << 20, config);
        rig.engine.pull_requests(1);
        let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n";
        rig.client.send(&(head.to_owned() + &"x".repeat(200_000))).await;
        let (key, ..) = rig.request().await;
        assert!(rig.quiet().await, "nobody has asked for the body");
        let (mut came, mut taken, mut last) = (0, 0, 0);
        while taken < 200_000 {
            rig.engine.read_on(key, 50_000, last, (came == taken).then_some(rig.now));
            while came < 200_000 && came < taken + MOST {
                let length = rig.chunk().await.len();
                assert!(length <= 50_000);
                came += length;
            }
            if came == 200_000 {
                assert!(matches!(rig.event().await, Event::End { .. }));
                break;
            }
            assert_eq!(came, taken + MOST);
            assert!(rig.engine.is_full(key));
            assert!(rig.quiet().await, "no more until some has been taken");
            assert!(rig.engine.bytes_read() <= (head.len() + came) as u64);
            last = 20_000.min(came - taken);
            taken += last;
        }
        rig.engine.read_on(key, 50_000, 1000, None);
        assert_eq!(rig.pull(key, 1), Err(Code::Closed));
    });
}

#[test]
fn a_body_that_is_read_on_is_late_only_for_a_reader_that_waits() {
    run(async {
        let mut config = Config::default();
        config.timeouts.body_idle = Some(Duration::from_secs(4));
        let mut rig = Rig::with(1 << 16, config);
        rig.engine.pull_requests(1);
        rig.client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n123").await;
        let (key, ..) = rig.request().await;
        rig.engine.read_on(key, 100, 0, Some(rig.now));
        assert_eq!(rig.chunk().await, "123");
        // The reader is told to wait for what is on its way to it.
        rig.engine.read_on(key, 100, 0, Some(rig.now));
        for _ in 0..3 {
            rig.pass(Duration::from_secs(4));
            assert!(rig.quiet().await, "it has something to take");
        }
        // It has taken that, a second ago, and this is heard of only now.
        let since = rig.now;
        rig.pass(Duration::from_secs(1));
        rig.engine.read_on(key, 100, 3, Some(since));
        rig.pass(Duration::from_millis(2_999));
        assert!(rig.quiet().await);
        rig.pass(Duration::from_millis(1));
        let Event::BodyFailed { error, .. } = rig.event().await else { panic!("not failed") };
        assert_eq!(error.code(), Code::BodyTimeout);
    });
}

#[test]
fn a_body_is_read_as_it_is_pulled_and_100_goes_out_with_the_first_pull() {
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        rig.client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n").await;
        let (key, _, body) = rig.request().await;
        assert!(matches!(body, RequestBody::Streamed { length: Some(10) }));
        assert!(rig.quiet().await);
        assert_eq!(rig.client.received(), "");
        rig.pull(key, 4).unwrap();
        assert!(rig.quiet().await);
        assert_eq!(rig.client.response().await, "HTTP/1.1 100 Continue\r\n\r\n");
        rig.client.send("0123456789").await;
        assert_eq!(rig.chunk().await, "0123");
        assert_eq!(rig.pull(key, 100), Ok(()));
        assert_eq!(rig.pull(key, 100), Err(Code::BodyInUse));
        assert_eq!(rig.chunk().await, "456789");
        rig.pull(key, 1).unwrap();
        assert!(matches!(rig.event().await, Event::End { trailers: None, .. }));
        rig.engine.send(key, head(204), Bytes::new(), None, rig.now).unwrap();
        rig.sent().await;
    });
}

#[test]
fn trailers_come_up_and_go_down() {
    run(async {
        let mut rig = Rig::new(1 << 16);
        rig.engine.pull_requests(1);
        rig.client
            .send("POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n")
            .await;
        let (key, ..) = rig.request().await;
        rig.pull(key, 100).unwrap();
        assert_eq!(rig.chunk().await, "abc");
        rig.pull(key, 100).unwrap();
        let Event::End { trailers: Some(trailers), .. } = rig.event().await else { panic!("no trailers") };
        assert_eq!(trailers["x-sum"], "6");
        rig.engine.start(key, head(200), rig.now).unwrap();
        rig.engine.write(key, Bytes::from_static(b"12345")).unwrap();
        let out = HeaderMap::from_iter([("x-out".parse().unwrap(), "7".parse().unwrap())]);
        rig.engine.finish(key, Some(out)).unwrap();
        rig.sent().await;
        assert!(rig.client.response().await.ends_with("5\r\n12345\r\n0\r\nx-out: 7\r\n\r\n"));
    });
}
