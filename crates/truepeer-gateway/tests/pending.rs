//! Unfinished headers: strangers cannot push out those of trusted peers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::Write;

use crate::support::{HeaderMailServer, Plan, expect};
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::handoff::Handoff;

#[test]
fn strangers_with_unfinished_headers_evict_no_trusted_peer() {
    const STRANGERS: u32 = 40;
    let backend = HeaderMailServer::start();
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.max_pending = 8;
    plan.header_timeout = std::time::Duration::from_secs(600);
    let house = plan.start();
    let (start, rest) = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n".split_at(20);
    let mut proxies: Vec<_> = (0..4)
        .map(|_| {
            let mut proxy = house.connect();
            proxy.write_all(start).unwrap();
            proxy
        })
        .collect();
    house.wait_for_open(4);
    let strangers: Vec<_> = (0..STRANGERS)
        .map(|_| {
            let mut stranger = house.connect_from([127, 0, 0, 9].into());
            expect(&stranger, b"220 backend ready\r\n");
            stranger.write_all(start).unwrap();
            stranger
        })
        .collect();
    // Only what happened behind the strangers' bytes counts: their backends have seen the end.
    for _ in &strangers {
        assert_eq!(backend.heard().1, b"");
    }
    for proxy in &mut proxies {
        proxy.write_all(rest).unwrap();
        expect(proxy, b"220 backend ready\r\n");
    }
    drop(strangers);
}
