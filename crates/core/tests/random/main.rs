//! Random peers, random callers: bytes that nearly make sense, cut anywhere, with any calls and any time in between. The
//! engine must not panic, must come to an end, and must keep its promises to the caller ([`world`]).
//!
//! `PROPTEST_CASES=20000 cargo test -p hyperpull --test random` looks further.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod damage;
mod http1;
mod http2;
mod promises;
mod read;
mod steps;
mod transport;
mod world;

use std::{
    fmt::{self, Debug, Formatter},
    time::Duration,
};

use hyperpull::config::Config;
use promises::Exchange;
use proptest::prelude::*;
use steps::{Ending, segment};
use world::World;

/// Limits that are met, and deadlines that pass.
fn config() -> Config {
    let mut config = Config::default();
    let limits = &mut config.limits;
    limits.header_bytes = 1 << 10;
    limits.header_count = 10;
    limits.target_bytes = 50;
    limits.body_bytes = 2000;
    limits.concurrent_streams = 5;
    limits.buffered_bytes = 1 << 16;
    let timeouts = &mut config.timeouts;
    timeouts.handshake = Some(Duration::from_secs(1));
    timeouts.headers = Some(Duration::from_secs(1));
    timeouts.body_idle = Some(Duration::from_secs(1));
    timeouts.keep_alive_idle = Some(Duration::from_secs(1));
    timeouts.write_stall = Some(Duration::from_secs(2));
    timeouts.connection_age = Some(Duration::from_secs(5));
    timeouts.h2_ping = Some(Duration::from_secs(2));
    config
}

/// What a well-formed request says.
#[derive(Clone)]
pub struct Wanted {
    method: &'static str,
    body: Vec<u8>,
    trailers: bool,
}

impl Debug for Wanted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes, trailers: {}", self.method, self.body.len(), self.trailers)
    }
}

impl Wanted {
    /// A body whose every part tells where it is from.
    fn fill(&mut self, number: usize) {
        for (index, byte) in self.body.iter_mut().enumerate() {
            *byte = (index * 7 + number * 31) as u8;
        }
    }

    /// It came as it was sent, and was answered.
    fn check(&self, number: usize, exchange: &Exchange) {
        assert_eq!((exchange.head.method.as_str(), exchange.head.uri.path()), (self.method, &*format!("/{number}")));
        assert!(exchange.complete && exchange.body == self.body, "the body of {number}");
        assert_eq!(exchange.trailers.is_some(), self.trailers, "the trailers of {number}");
        assert!(matches!(exchange.ended, Some(Ok(_))), "{exchange:?}");
    }
}

fn check_all(wanted: &[Wanted], exchanges: &[Exchange]) {
    assert_eq!(exchanges.len(), wanted.len(), "requests that came");
    wanted.iter().zip(exchanges).enumerate().for_each(|(number, (wanted, exchange))| wanted.check(number, exchange));
}

proptest! {
    #[test]
    fn a_peer_that_nearly_speaks_http1(bytes in http1::nearly(), segment in segment(), (steps, ending) in steps::wild()) {
        World::new(config(), segment, vec![bytes.0]).run(steps, ending);
    }

    #[test]
    fn a_peer_that_nearly_speaks_http2(bytes in http2::nearly(), segment in segment(), (steps, ending) in steps::wild()) {
        World::new(config(), segment, vec![bytes.0]).run(steps, ending);
    }

    #[test]
    fn what_is_said_well_over_http1_arrives_and_is_answered(
        (wanted, parts) in http1::well(),
        segment in segment(),
        steps in steps::careful(),
    ) {
        let world = World::careful(segment, parts.into_iter().map(|part| part.0).collect());
        let peer = world.peer.clone();
        let exchanges = world.run(steps, Ending::Leave);
        check_all(&wanted, &exchanges);
        let heads: Vec<_> = wanted.iter().map(|wanted| wanted.method == "HEAD").collect();
        let got = read::http1(&peer.state().written, &heads);
        let given = exchanges.iter().map(|exchange| exchange.response());
        prop_assert_eq!(got, given.collect::<Vec<_>>());
    }

    #[test]
    fn what_is_said_well_over_http2_arrives_and_is_answered(
        (wanted, parts) in http2::well(),
        segment in segment(),
        steps in steps::careful(),
    ) {
        let world = World::careful(segment, parts.into_iter().map(|part| part.0).collect());
        let peer = world.peer.clone();
        let exchanges = world.run(steps, Ending::Leave);
        check_all(&wanted, &exchanges);
        let mut got = read::http2(&peer.state().written);
        for exchange in &exchanges {
            let response = got.remove(&exchange.key.stream).unwrap();
            prop_assert!(response.whole && response.body == exchange.text, "{:?}", exchange.key);
        }
        prop_assert!(got.is_empty());
    }
}
