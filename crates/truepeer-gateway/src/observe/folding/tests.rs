//! Tables of complaints, and what the log shows of them.

#![allow(clippy::arithmetic_side_effects, reason = "numbers in tests are small")]

use Fold::{Count, Show};
use truepeer::proto::Version;

use super::*;

fn cause(listener: &str, outcome: Outcome, rule: Option<&'static str>) -> Cause {
    Cause { listener: listener.into(), outcome, rule }
}

fn missing() -> Cause {
    cause("smtp", Outcome::HeaderMissing, None)
}

fn by(peer: &str) -> Example {
    let peer: IpAddr = peer.parse().unwrap();
    Example { peer: PeerAddress::tcp((peer, 4711).into()), client: None, standing: Standing::Proxy }
}

/// The `number`th peer of this standing.
fn one_of_many(number: u32, standing: Standing) -> Example {
    Example { standing, ..by(&IpAddr::V4((0xc612_0000 + number).into()).to_string()) }
}

fn stranger(number: u32) -> Example {
    one_of_many(number, Standing::Stranger)
}

struct Log {
    folding: Folding,
    start: Instant,
}

impl Log {
    fn new() -> Self {
        Self { folding: Folding::default(), start: Instant::now() }
    }

    fn at(&self, second: u64) -> Instant {
        self.start + Duration::from_secs(second)
    }

    /// How many of `times` complaints in one second are shown.
    fn shown(&mut self, cause: &Cause, example: Example, second: u64, times: u32) -> u32 {
        let now = self.at(second);
        let shown = |folding: &mut Folding| u32::from(folding.note(cause, example, now) == Show);
        (0..times).map(|_| shown(&mut self.folding)).sum()
    }
}

#[test]
fn ten_a_minute_are_shown_and_the_rest_is_counted() {
    // Complaints of one peer: second, how many, how many of them are shown.
    let cases: [&[(u64, u32, u32)]; 5] = [
        &[(0, 10, 10)],
        &[(0, 11, 10)],
        &[(0, 5, 5), (59, 6, 5)],
        &[(0, 50, 10), (60, 50, 10), (119, 1, 0), (120, 1, 1)],
        // A minute begins with its first complaint.
        &[(0, 1, 1), (90, 20, 10), (149, 1, 0), (150, 1, 1)],
    ];
    for case in cases {
        let mut log = Log::new();
        for (second, times, shown) in case {
            let counted = log.shown(&missing(), by("10.0.0.1"), *second, *times);
            assert_eq!(counted, *shown, "{case:?} at {second}");
        }
        let hidden: u32 = case.iter().map(|(_, times, shown)| times - shown).sum();
        let summed: u64 = log.folding.finish().iter().map(|summary| summary.count).sum();
        assert_eq!(summed, u64::from(hidden), "{case:?}");
    }
}

#[test]
fn causes_do_not_hide_each_other() {
    let mut log = Log::new();
    let causes = [
        missing(),
        cause("imap", Outcome::HeaderMissing, None),
        cause("smtp", Outcome::HeaderTimeout, None),
        cause("smtp", Outcome::HeaderMissing, Some("rate_per_client")),
    ];
    for cause in &causes {
        assert_eq!(log.shown(cause, by("10.0.0.1"), 0, 100), Folding::SHOWN_PER_MINUTE);
    }
    let summaries = log.folding.finish();
    let order: Vec<_> = summaries.iter().map(|summary| summary.cause.order()).collect();
    assert_eq!(
        order,
        [
            ("imap", "header_missing", None),
            ("smtp", "header_missing", None),
            ("smtp", "header_missing", Some("rate_per_client")),
            ("smtp", "header_timeout", None),
        ]
    );
    assert!(summaries.iter().all(|summary| summary.count == 90));
}

#[test]
fn a_summary_is_due_a_minute_after_its_first_record_and_says_who_came_first_and_last() {
    let mut log = Log::new();
    log.shown(&missing(), by("10.0.0.1"), 0, 10);
    log.shown(&missing(), by("10.0.0.1"), 5, 1);
    log.shown(&missing(), by("10.0.0.2"), 6, 2);
    let now = |log: &Log, second| log.at(second);
    let (early, due) = (now(&log, 64), now(&log, 65));
    assert_eq!(log.folding.due(early), []);
    let expected = Summary {
        cause: missing(),
        count: 2,
        first: by("10.0.0.1"),
        last: by("10.0.0.2"),
        span: Duration::from_secs(1),
    };
    assert_eq!(log.folding.due(due), [expected]);
    assert_eq!(log.folding.due(due), [], "a summary comes once");
    assert_eq!(log.folding.finish(), []);
}

#[test]
fn a_summary_that_was_not_fetched_in_time_is_not_lost() {
    let mut log = Log::new();
    log.shown(&missing(), by("10.0.0.1"), 0, 15);
    log.shown(&missing(), by("10.0.0.1"), 300, 15);
    let now = log.at(301);
    let summaries = log.folding.due(now);
    assert_eq!(summaries.iter().map(|summary| summary.count).collect::<Vec<_>>(), [10]);
}

#[test]
fn the_first_complaint_of_a_new_peer_is_shown_in_any_flood() {
    let mut log = Log::new();
    log.shown(&missing(), by("203.0.113.1"), 0, 1000);
    // Peer, and what becomes of its first and second complaint.
    let cases = [
        ("203.0.113.1", Count, Count),
        ("203.0.113.2", Show, Count),
        ("10.0.0.1", Show, Count),
        ("::ffff:10.0.0.1", Count, Count),
        ("2001:db8:0:1::1", Show, Count),
        // The same /64 is the same host.
        ("2001:db8:0:1:ffff::2", Count, Count),
        ("2001:db8:0:2::1", Show, Count),
    ];
    for (peer, first, second) in cases {
        let now = log.at(1);
        let noted = [(); 2].map(|()| log.folding.note(&missing(), by(peer), now));
        assert_eq!(noted, [first, second], "{peer}");
    }
    let unix = Example { peer: PeerAddress::Unix { uid: Some(0) }, ..by("10.0.0.1") };
    let now = log.at(1);
    assert_eq!([(); 2].map(|()| log.folding.note(&missing(), unix, now)), [Show, Count]);
}

#[test]
fn strangers_without_end_do_not_fill_the_log_and_do_not_hide_a_proxy() {
    let mut log = Log::new();
    let mut shown = [0; 2];
    for number in 0..120_000 {
        let second = number / 1000;
        shown[second as usize / 60] += log.shown(&missing(), stranger(number), u64::from(second), 1);
    }
    assert_eq!(shown, [Folding::NEW_STRANGERS_PER_MINUTE; 2]);
    // A proxy of one's own is seen even now.
    assert_eq!(log.shown(&missing(), by("10.0.0.1"), 119, 5), 1);
    assert_eq!(log.shown(&missing(), stranger(0), 120, 20), Folding::SHOWN_PER_MINUTE);
    // A stranger that was not shown is still news when there is room again.
    assert_eq!(log.shown(&missing(), stranger(99_999), 120, 20), 1);
}

#[test]
fn a_new_proxy_is_shown_however_many_came_before_it_and_memory_is_bounded() {
    let mut log = Log::new();
    let (cause, start) = (missing(), log.start);
    let mut noted = |number: u32, micros: u64| {
        let now = start + Duration::from_micros(micros);
        log.folding.note(&cause, one_of_many(number, Standing::Proxy), now)
    };
    for number in 0..10_000 {
        assert_eq!(noted(number, number.into()), Show, "{number}");
    }
    // Those that came last are remembered.
    let last = 10_000 - u32::try_from(Folding::PEERS_PER_CAUSE).unwrap();
    for number in last..10_000 {
        assert_eq!(noted(number, 10_000), Count, "{number}");
    }
    let state = log.folding.causes.get(&missing()).unwrap();
    assert_eq!((state.proxies.0.len(), state.strangers.0.len()), (Folding::PEERS_PER_CAUSE, 0));
}

#[test]
fn a_hundred_thousand_clients_that_come_by_themselves_are_no_news() {
    let mut log = Log::new();
    let denied = cause("smtp", Outcome::AccessDenied, Some("deny_list"));
    let shown: u32 =
        (0..100_000).map(|number| log.shown(&denied, one_of_many(number, Standing::Client), 0, 1)).sum();
    assert_eq!(shown, Folding::SHOWN_PER_MINUTE);
}

#[test]
fn who_may_be_a_proxy_of_the_operators_is_told_from_strangers_and_clients() {
    use IdentitySource::{Direct, Header};
    let tcp = |peer: &str| by(peer).peer;
    let unix = PeerAddress::Unix { uid: None };
    for (outcome, peer, source, standing) in [
        // Only a trusted peer is asked for a header, wherever it is.
        (Outcome::HeaderMissing, tcp("203.0.113.1"), None, Standing::Proxy),
        (Outcome::UntrustedHeader, tcp("203.0.113.1"), Some(Direct), Standing::Stranger),
        (Outcome::UntrustedHeader, tcp("192.168.1.1"), Some(Direct), Standing::Proxy),
        (Outcome::HeaderRedundant, tcp("::ffff:10.0.0.1"), Some(Direct), Standing::Proxy),
        (Outcome::HeaderHeldBack, tcp("203.0.113.1"), Some(Direct), Standing::Stranger),
        (Outcome::HeaderHeldBack, tcp("203.0.113.1"), Some(Header(Version::V1)), Standing::Proxy),
        (Outcome::UnlistedPeer, tcp("2001:db8::1"), None, Standing::Stranger),
        (Outcome::UnlistedPeer, unix, None, Standing::Proxy),
        (Outcome::AccessDenied, tcp("203.0.113.1"), Some(Direct), Standing::Client),
        (Outcome::AccessDenied, tcp("10.0.0.1"), Some(Direct), Standing::Client),
        (Outcome::BackendUnready, tcp("203.0.113.1"), Some(Header(Version::V2)), Standing::Proxy),
    ] {
        assert_eq!(Standing::of(outcome, peer, source), standing, "{outcome:?} {peer:?}");
    }
}

#[test]
fn a_peer_is_new_again_after_an_hour_of_silence_only() {
    let mut log = Log::new();
    log.shown(&missing(), by("10.0.0.9"), 0, 11);
    // Another peer keeps the minutes full; whether the first one shows is then up to its silence.
    for (second, shown) in [(3599, 0), (7198, 0), (7198 + 3600, 1)] {
        log.shown(&missing(), by("10.0.0.8"), second, 30);
        assert_eq!(log.shown(&missing(), by("10.0.0.9"), second, 1), shown, "{second}");
    }
}

fn line(summary: &Summary, format: LogFormat) -> String {
    let mut text = String::new();
    summary.write(format, SystemTime::UNIX_EPOCH, &mut text);
    text
}

#[test]
fn a_summary_is_one_line_in_both_formats() {
    let client = Some("192.0.2.7".parse().unwrap());
    let summary = Summary {
        cause: cause("smtp", Outcome::UntrustedHeader, Some("deny_list")),
        count: 42,
        first: Example { client, ..by("198.51.100.1") },
        last: by("198.51.100.2"),
        span: Duration::from_millis(59_900),
    };
    assert_eq!(
        line(&summary, LogFormat::Text),
        "time=1970-01-01T00:00:00.000Z level=info event=connections_folded outcome=untrusted_header listener=smtp \
         rule=deny_list count=42 seconds=59 first_peer=198.51.100.1:4711 first_client=192.0.2.7 \
         last_peer=198.51.100.2:4711"
    );
    let json = line(&summary, LogFormat::Json);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&value["count"], &value["first_client"]), (&42.into(), &"192.0.2.7".into()));
    assert_eq!(value["last_client"], serde_json::Value::Null);
}
