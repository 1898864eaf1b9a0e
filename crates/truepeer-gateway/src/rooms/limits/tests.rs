//! The limits as a whole: what a listener's gate says, and that every count is exact.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "numbers in tests are small; a long run says how long"
)]

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::facts::protocol::Protocol;
use crate::rooms::refuse::{Permanence, Reason};

/// What a gate said, without the permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Admit,
    Refuse(LimitRule),
    WouldRefuse(LimitRule),
}

struct Limited {
    limits: Arc<Limits>,
    start: Instant,
    open: Vec<Permit>,
}

impl Limited {
    fn new(max_clients: usize) -> Self {
        let start = Instant::now();
        Self { limits: Limits::new(max_clients, start), start, open: Vec::new() }
    }

    fn gate(&self, policy: Policy) -> Gate {
        self.limits.gate(&"smtp".into(), policy)
    }

    fn after(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    /// Lets a client come at that second and stay.
    fn come(&mut self, gate: &Gate, client: &str, second: u64) -> Said {
        match gate.enter(ip(client), self.after(second)) {
            LimitDecision::Admit(permit) => {
                self.open.push(permit);
                Said::Admit
            }
            LimitDecision::Refuse(which) => Said::Refuse(which.rule),
            LimitDecision::WouldRefuse(permit, which) => {
                self.open.push(permit);
                Said::WouldRefuse(which.rule)
            }
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn numbered(number: u32) -> IpAddr {
    IpAddr::V4(number.into())
}

fn at_once(limit: u32) -> Policy {
    Policy { connections_per_client: NonZeroU32::new(limit), ..Policy::default_for(Protocol::Tcp) }
}

fn rated(connections: u32, seconds: u64) -> Policy {
    let rate = Rate::new(NonZeroU32::new(connections).unwrap(), Duration::from_secs(seconds));
    Policy { rate_per_client: rate, ..Policy::default_for(Protocol::Tcp) }
}

fn which(entry: LimitDecision) -> Which {
    match entry {
        LimitDecision::Refuse(which) => which,
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_limit_mail_between_servers_and_nobody_else() {
    for protocol in Protocol::ALL {
        let policy = Policy::default_for(protocol);
        let expected = (protocol == Protocol::Smtp).then_some(50);
        assert_eq!(policy.connections_per_client.map(NonZeroU32::get), expected, "{protocol}");
        assert_eq!(policy.rate_per_client, None, "{protocol}");
        assert_eq!((policy.listener_connections, policy.server_connections), (None, None), "{protocol}");
        assert_eq!(policy.mode, Mode::Enforce);
    }
}

#[test]
fn a_limit_answers_temporarily() {
    assert_eq!(Reason::LimitReached.permanence(), Permanence::Temporary);
}

#[test]
fn one_client_too_many_times_is_refused_and_others_are_not() {
    let mut room = Limited::new(100);
    let gate = room.gate(at_once(2));
    assert_eq!(room.come(&gate, "192.0.2.1", 0), Said::Admit);
    assert_eq!(room.come(&gate, "192.0.2.1", 0), Said::Admit);
    assert_eq!(room.come(&gate, "192.0.2.1", 0), Said::Refuse(LimitRule::ConnectionsPerClient));
    assert_eq!(room.come(&gate, "192.0.2.2", 0), Said::Admit);
    room.open.remove(0);
    assert_eq!(room.come(&gate, "192.0.2.1", 0), Said::Admit);
    assert_eq!(room.come(&gate, "192.0.2.1", 0), Said::Refuse(LimitRule::ConnectionsPerClient));
}

#[test]
fn clients_are_counted_by_prefix() {
    // Prefix lengths, two addresses, whether they are one client.
    let cases = [
        (32, 64, "192.0.2.1", "192.0.2.2", false),
        (32, 64, "192.0.2.1", "::ffff:192.0.2.1", true),
        (24, 64, "192.0.2.1", "192.0.2.254", true),
        (24, 64, "192.0.2.1", "192.0.3.1", false),
        (32, 64, "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
        (32, 64, "2001:db8:0:1::1", "2001:db8:0:2::1", false),
        (32, 56, "2001:db8:0:1::1", "2001:db8:0:ff::1", true),
        (32, 128, "2001:db8::1", "2001:db8::2", false),
        (1, 1, "1.2.3.4", "8000::1", false),
    ];
    for (v4, v6, one, other, same) in cases {
        let mut room = Limited::new(100);
        let prefixes = Prefixes::new(PrefixLengths { v4, v6 }).unwrap();
        let gate = room.gate(Policy { prefixes, ..at_once(1) });
        assert_eq!(room.come(&gate, one, 0), Said::Admit);
        let refused = room.come(&gate, other, 0) != Said::Admit;
        assert_eq!(refused, same, "/{v4} /{v6}: {one} and {other}");
    }
    for (v4, v6) in [(0, 64), (33, 64), (32, 0), (32, 129)] {
        assert_eq!(Prefixes::new(PrefixLengths { v4, v6 }), None);
    }
}

#[test]
fn listeners_count_their_clients_apart_and_share_the_server_maximum() {
    let mut room = Limited::new(100);
    let policy = Policy { server_connections: NonZeroU32::new(3), ..at_once(1) };
    let smtp = room.limits.gate(&"smtp".into(), policy.clone());
    let imap = room.limits.gate(&"imap".into(), policy);
    assert_eq!(room.come(&smtp, "192.0.2.1", 0), Said::Admit);
    assert_eq!(room.come(&imap, "192.0.2.1", 0), Said::Admit);
    assert_eq!(room.come(&imap, "192.0.2.2", 0), Said::Admit);
    assert_eq!(room.come(&smtp, "192.0.2.3", 0), Said::Refuse(LimitRule::ServerConnections));
    assert_eq!((room.limits.open(), smtp.open(), imap.open()), (3, 1, 2));
    room.open.clear();
    assert_eq!((room.limits.open(), smtp.open(), imap.open()), (0, 0, 0));
}

#[test]
fn a_listener_has_a_maximum_that_holds_for_exempt_clients_too() {
    let mut room = Limited::new(100);
    let exempt = ["192.0.2.0/24"];
    let policy = Policy {
        exempt: Arc::new(exempt.iter().map(|network| network.parse().unwrap()).collect()),
        listener_connections: NonZeroU32::new(3),
        ..at_once(1)
    };
    let gate = room.gate(policy);
    for _ in 0..3 {
        assert_eq!(room.come(&gate, "192.0.2.1", 0), Said::Admit);
    }
    assert_eq!(room.come(&gate, "192.0.2.1", 0), Said::Refuse(LimitRule::ListenerConnections));
    assert_eq!(room.limits.open(), 3, "a refused connection does not count");
    assert_eq!(room.limits.status().clients, 0, "exempt clients need no table");
}

#[test]
fn new_connections_are_limited_in_time() {
    let mut room = Limited::new(100);
    let gate = room.gate(rated(2, 60));
    assert_eq!(room.come(&gate, "192.0.2.1", 0), Said::Admit);
    room.open.clear();
    assert_eq!(room.come(&gate, "192.0.2.1", 1), Said::Admit);
    room.open.clear();
    let refused = which(gate.enter(ip("192.0.2.1"), room.after(2)));
    assert_eq!((refused.rule, refused.limit, refused.seen), (LimitRule::RatePerClient, 2, 2));
    assert_eq!(refused.wait, Some(Duration::from_secs(28)));
    assert_eq!(room.come(&gate, "192.0.2.1", 30), Said::Admit);
    assert_eq!(room.come(&gate, "192.0.2.1", 31), Said::Refuse(LimitRule::RatePerClient));
}

#[test]
fn observing_counts_and_refuses_nobody() {
    let mut room = Limited::new(100);
    let policy = Policy {
        mode: Mode::Observe,
        listener_connections: NonZeroU32::new(4),
        server_connections: NonZeroU32::new(5),
        ..at_once(2)
    };
    let gate = room.gate(policy);
    let said: Vec<_> = (0..6).map(|_| room.come(&gate, "192.0.2.1", 0)).collect();
    let client = Said::WouldRefuse(LimitRule::ConnectionsPerClient);
    let listener = Said::WouldRefuse(LimitRule::ListenerConnections);
    let server = Said::WouldRefuse(LimitRule::ServerConnections);
    assert_eq!(said, [Said::Admit, Said::Admit, client, client, listener, server]);
    assert_eq!(gate.open(), 6);
    room.open.clear();
    assert_eq!((gate.open(), room.limits.open(), room.limits.status().clients), (0, 0, 0));
}

#[test]
fn observing_a_rate_counts_what_enforcing_it_would_refuse() {
    let arrivals: Vec<u64> = (0..100).collect();
    let refused = |mode| {
        let mut room = Limited::new(100);
        let gate = room.gate(Policy { mode, ..rated(3, 60) });
        arrivals.iter().filter(|second| room.come(&gate, "192.0.2.1", **second) != Said::Admit).count()
    };
    assert_eq!(refused(Mode::Observe), refused(Mode::Enforce));
    // 3 at once, then one in 20 s: at 20, 40, 60 and 80 s.
    assert_eq!(refused(Mode::Enforce), 100 - 3 - 4);
}

#[test]
fn a_private_client_may_be_a_proxy_that_is_not_listed() {
    let cases = [
        ("172.18.0.1", true),
        ("127.0.0.1", true),
        ("fd00::1", true),
        ("::ffff:10.0.0.1", true),
        ("192.0.2.1", false),
        ("2001:db8::1", false),
    ];
    for (client, maybe_proxy) in cases {
        let mut room = Limited::new(100);
        let gate = room.gate(at_once(1));
        assert_eq!(room.come(&gate, client, 0), Said::Admit);
        let refused = which(gate.enter(ip(client), room.after(0)));
        assert_eq!(refused.maybe_proxy, maybe_proxy, "{client}");
        let named = refused.remedy("smtp").is_some_and(|remedy| {
            let client = ip(client).to_canonical();
            remedy.contains(&format!("add {client} to `server.listener.smtp.proxy.trusted-networks`"))
        });
        assert_eq!(named, maybe_proxy, "{client}");
    }
    // A full server says nothing about this client.
    let mut room = Limited::new(100);
    let gate = room.gate(Policy { server_connections: NonZeroU32::new(1), ..at_once(1) });
    assert_eq!(room.come(&gate, "10.0.0.1", 0), Said::Admit);
    assert!(!which(gate.enter(ip("10.0.0.1"), room.after(0))).maybe_proxy);
}

#[test]
fn the_cause_names_who_what_and_how_many() {
    let mut room = Limited::new(100);
    let gate = room.gate(Policy { server_connections: NonZeroU32::new(9), ..at_once(1) });
    let slow = room.limits.gate(&"slow".into(), rated(1, 90));
    for client in ["192.0.2.1", "2001:db8::1"] {
        let _ = (room.come(&gate, client, 0), room.come(&slow, client, 0));
    }
    let cause = |gate: &Gate, client| which(gate.enter(ip(client), room.start)).to_string();
    assert_eq!(cause(&gate, "192.0.2.1"), "1 connections of 192.0.2.1 are open, 1 are allowed");
    assert_eq!(cause(&gate, "2001:db8::2"), "1 connections of 2001:db8::/64 are open, 1 are allowed");
    assert_eq!(
        cause(&slow, "192.0.2.1"),
        "192.0.2.1 opened 1 connections of late, 1 in 1m 30s are allowed (the next in 90 s)"
    );
}

#[test]
fn connections_at_other_front_doors_count_until_they_are_not_said_any_more() {
    use super::elsewhere::{Busy, Elsewhere, decode, encode};
    let mut room = Limited::new(100);
    let gate = room.gate(at_once(4));
    let mut heard = Elsewhere::default();
    let said = |first: &str, open| {
        let busy = Busy { listener: "smtp".to_owned(), first: first.parse().unwrap(), open };
        // As it comes from another process.
        decode(&encode(&[busy]))
    };
    room.limits.count_elsewhere(&mut heard, &[said("::ffff:192.0.2.1", 1), said("::ffff:192.0.2.1", 2)]);
    assert_eq!(room.come(&gate, "192.0.2.1", 0), Said::Admit);
    let refused = which(gate.enter(ip("192.0.2.1"), room.start));
    assert_eq!(
        refused.to_string(),
        "4 connections of 192.0.2.1 are open (3 of them at other front doors), 4 are allowed"
    );
    assert_eq!(room.come(&gate, "192.0.2.2", 0), Said::Admit);
    // What is told of this front door is what is open here.
    let told: Vec<_> = room.limits.busiest(2).into_iter().map(|busy| (busy.first, busy.open)).collect();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|(_, open)| *open == 1), "{told:?}");
    room.limits.count_elsewhere(&mut heard, &[]);
    assert_eq!(room.come(&gate, "192.0.2.1", 0), Said::Admit);
    room.open.clear();
    assert_eq!(room.limits.status().clients, 0);
}

#[test]
fn what_others_say_takes_no_more_room_than_there_is() {
    use super::elsewhere::{Busy, Elsewhere, MAX_TOLD, decode};
    let room = Limited::new(100);
    let _gate = room.gate(at_once(4));
    let mut heard = Elsewhere::default();
    let said: Vec<_> = (0..10_000_u32)
        .map(|number| Busy {
            listener: "smtp".to_owned(),
            first: std::net::Ipv4Addr::from(number).to_ipv6_mapped(),
            open: 9,
        })
        .collect();
    room.limits.count_elsewhere(&mut heard, &[said]);
    assert!(room.limits.status().clients <= room.limits.status().max_clients);
    assert!(room.limits.status().clients <= MAX_TOLD as u64);
    room.limits.count_elsewhere(&mut heard, &[]);
    assert_eq!(room.limits.status().clients, 0);
    assert_eq!(decode("x\nsmtp\tnobody\t1\nsmtp\t::1\t-1\n\n"), []);
}

#[test]
fn a_reload_keeps_the_counts() {
    let mut room = Limited::new(100);
    let before = room.gate(at_once(2));
    assert_eq!(room.come(&before, "192.0.2.1", 0), Said::Admit);
    let after = room.gate(at_once(1));
    assert_eq!(room.come(&after, "192.0.2.1", 0), Said::Refuse(LimitRule::ConnectionsPerClient));
    room.open.clear();
    assert_eq!(room.come(&after, "192.0.2.1", 0), Said::Admit);
    assert_eq!((before.open(), after.open()), (1, 1));
}

#[test]
fn a_client_without_connections_is_forgotten_at_once_unless_its_rate_remembers_it() {
    let mut room = Limited::new(10_000);
    let gate = room.gate(at_once(2));
    for number in 0..500 {
        room.open.extend(admitted(gate.enter(numbered(number), room.start)));
    }
    assert_eq!(room.limits.status().clients, 500);
    room.open.clear();
    assert_eq!(room.limits.status().clients, 0);

    let gate = room.gate(rated(2, 60));
    drop(gate.enter(ip("192.0.2.1"), room.start));
    assert_eq!(room.limits.status().clients, 1);
}

#[test]
fn a_full_table_forgets_idle_clients_first_and_never_one_that_counts() {
    let room = Limited::new(1);
    let bound = room.limits.status().max_clients;
    let gate = room.gate(Policy { rate_per_client: rated(2, 60).rate_per_client, ..at_once(5) });
    // One that stays open, and many that leave; each is remembered for 30 s.
    let stays = gate.enter(ip("192.0.2.1"), room.start);
    for number in 0..10_000 {
        drop(gate.enter(numbered(number), room.after(1)));
    }
    assert!(room.limits.status().clients <= bound);
    let shared = room.limits.status().shared;
    assert!(shared > 9_000, "{shared}");
    // One a minute: anyone who came before is whole again, and every newcomer gets an entry of its own.
    let mut open = Vec::new();
    for number in 0..10_000 {
        open.push(gate.enter(numbered(20_000 + number), room.after(60 * u64::from(1 + number))));
        open.drain(..open.len().saturating_sub(1));
    }
    assert!(room.limits.status().clients <= bound);
    // Only those who hashed to the shard of the client that stayed had to share.
    let more = room.limits.status().shared - shared;
    assert!(more < 1_000, "{more}");
    drop((stays, open));
}

#[test]
fn when_nobody_can_be_forgotten_new_clients_share_one_count() {
    let mut room = Limited::new(1);
    let gate = room.gate(at_once(3));
    // Every shard holds one group; fill them all with connections that stay.
    let mut number = 0;
    while room.limits.status().clients < room.limits.status().max_clients {
        if let LimitDecision::Admit(permit) = gate.enter(numbered(number), room.start) {
            room.open.push(permit);
        }
        number += 1;
    }
    let shared = room.limits.status().shared;
    assert!(shared > 0);
    // By now the shared entry has its three connections: strangers are refused together.
    let refused = which(gate.enter(ip("198.51.100.1"), room.start));
    assert_eq!((refused.rule, refused.seen, refused.limit), (LimitRule::ConnectionsPerClient, 3, 3));
    assert!(refused.shared);
    assert_eq!(refused.to_string(), "3 connections of clients that share one count are open, 3 are allowed");
    assert_eq!(room.limits.status().shared, shared + 1);
    // Who is in the table is judged alone.
    assert_eq!(room.come(&gate, "0.0.0.0", 0), Said::Admit);
    // Once there is room, a newcomer is judged alone again.
    room.open.clear();
    assert_eq!(room.come(&gate, "198.51.100.1", 0), Said::Admit);
    assert_eq!(room.limits.status().clients, 1);
}

/// `TRUEPEER_LIMITS_CLIENTS=10000000` makes it ten million; run that in release mode.
#[test]
fn distinct_clients_without_end_do_not_grow_the_table_past_its_bound() {
    let clients = std::env::var("TRUEPEER_LIMITS_CLIENTS").ok().and_then(|text| text.parse().ok());
    let clients: u32 = clients.unwrap_or(100_000);
    let room = Limited::new(4096);
    let gate = room.gate(Policy { rate_per_client: rated(60, 3600).rate_per_client, ..at_once(50) });
    let mut open = std::collections::VecDeque::new();
    let mut refused = 0_u32;
    let began = Instant::now();
    for number in 0..clients {
        // 10,000 a second, of which 2,000 are open at any time.
        let now = room.start + Duration::from_micros(u64::from(number) * 100);
        match gate.enter(numbered(number.wrapping_mul(2_654_435_761)), now) {
            LimitDecision::Admit(permit) => open.push_back(permit),
            LimitDecision::Refuse(which) => {
                assert!(which.shared, "{which:?}");
                refused += 1;
            }
            other @ LimitDecision::WouldRefuse(..) => panic!("{other:?}"),
        }
        if open.len() > 2_000 {
            drop(open.pop_front());
        }
        if number % 65_536 == 0 {
            assert!(room.limits.status().clients <= 4096);
        }
    }
    let status = room.limits.status();
    eprintln!("{clients} clients in {:?}: {status:?}, {refused} refused", began.elapsed());
    assert!(status.clients <= 4096);
    drop(open);
    assert_eq!(room.limits.open(), 0);
}

#[test]
fn counts_are_exact_across_threads() {
    const THREADS: u32 = 8;
    const ROUNDS: u32 = 5_000;
    const CLIENTS: u32 = 5;
    const LIMIT: u32 = 3;
    let start = Instant::now();
    let limits = Limits::new(10_000, start);
    let policy = Policy { listener_connections: NonZeroU32::new(12), ..at_once(LIMIT) };
    let gate = limits.gate(&"smtp".into(), policy);
    let held: Vec<AtomicU32> = (0..CLIENTS).map(|_| AtomicU32::new(0)).collect();
    let refused = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let threads = (0..THREADS).map(|thread| {
            let (gate, held, refused) = (&gate, &held, &refused);
            scope.spawn(move || {
                let mut kept = Vec::new();
                for round in 0..ROUNDS {
                    let client = (round * 7 + thread) % CLIENTS;
                    match gate.enter(numbered(client), start) {
                        LimitDecision::Admit(permit) => {
                            let count = &held[client as usize];
                            assert!(count.fetch_add(1, Ordering::SeqCst) < LIMIT);
                            kept.push((count, permit));
                        }
                        LimitDecision::Refuse(_) => _ = refused.fetch_add(1, Ordering::Relaxed),
                        other @ LimitDecision::WouldRefuse(..) => panic!("{other:?}"),
                    }
                    if kept.len() > 2 {
                        let (count, permit) = kept.remove(0);
                        count.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                }
                kept
            })
        });
        // What each keeps is more than there is room for, so that the last must be refused even if they run one by one.
        let threads: Vec<_> = threads.collect();
        let kept: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        for (count, permit) in kept.into_iter().flatten() {
            count.fetch_sub(1, Ordering::SeqCst);
            drop(permit);
        }
    });
    assert!(refused.load(Ordering::Relaxed) > 0);
    assert_eq!((limits.open(), gate.open(), limits.status().clients), (0, 0, 0));
    // Nothing is left over that would refuse a client now.
    let full: Vec<_> = (0..LIMIT).filter_map(|_| admitted(gate.enter(numbered(1), start))).collect();
    assert_eq!(full.len(), LIMIT as usize);
}

#[test]
fn a_permit_is_small() {
    assert_eq!(size_of::<Permit>(), 32);
}

fn admitted(entry: LimitDecision) -> Option<Permit> {
    match entry {
        LimitDecision::Admit(permit) => Some(permit),
        LimitDecision::Refuse(_) | LimitDecision::WouldRefuse(..) => None,
    }
}
