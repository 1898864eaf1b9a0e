use super::*;
use crate::rooms::identify::habit::Did;
use crate::rooms::identify::recent::RecentPeers;

fn ip(n: u32) -> IpAddr {
    IpAddr::V4(n.into())
}

fn peer(ip: &str) -> IpAddr {
    ip.parse().unwrap()
}

/// Says when each remark was made, and which hold at the end, where one worker tells of each connection at once.
fn after(events: impl IntoIterator<Item = (&'static str, Did)>) -> (Vec<String>, Vec<String>) {
    let (listener, all) = (Arc::from("smtp"), Acquaintances::default());
    let shown = |remark: &Remark| format!("{} {} {}", remark.peer, remark.habit.code(), remark.count);
    let note = |(ip, did)| all.note(&listener, peer(ip), PeerReport::of(did, peer(ip)));
    let said = events.into_iter().filter_map(note).map(|remark| shown(&remark)).collect();
    (said, all.remarks().iter().map(shown).collect())
}

fn times(count: usize, ip: &'static str, did: Did) -> impl Iterator<Item = (&'static str, Did)> {
    std::iter::repeat_n((ip, did), count)
}

#[test]
fn an_unlisted_sender_is_said_at_once_and_at_each_tenfold_count() {
    let (said, held) = after(times(120, "10.0.0.5", Did::SentUnlisted));
    assert_eq!(said, ["1", "10", "100"].map(|count| format!("10.0.0.5 unlisted_headers {count}")));
    assert_eq!(held, ["10.0.0.5 unlisted_headers 120"]);
}

#[test]
fn a_trusted_peer_that_never_sends_is_said_after_ten_and_one_that_does_is_not() {
    let (said, held) = after(times(12, "10.0.0.5", Did::SentNone));
    assert_eq!(
        (said, held),
        (vec!["10.0.0.5 never_a_header 10".to_owned()], vec!["10.0.0.5 never_a_header 12".to_owned()])
    );
    let sends = times(1, "10.0.0.5", Did::SentHeader).chain(times(50, "10.0.0.5", Did::SentNone));
    assert_eq!(after(sends), (Vec::new(), Vec::new()));
}

#[test]
fn a_private_address_is_remarkable_where_nearly_everybody_comes_from_it() {
    let crowd = || times(100, "172.18.0.1", Did::CameItself);
    assert_eq!(after(crowd()).0, ["172.18.0.1 hides_clients 100"]);
    // A monitor beside clients from everywhere, or beside proxies.
    let beside = times(40, "203.0.113.7", Did::CameItself);
    assert_eq!(after(beside.chain(crowd())), (Vec::new(), Vec::new()));
    let beside = times(40, "10.0.0.5", Did::SentHeader);
    assert_eq!(after(beside.chain(crowd())), (Vec::new(), Vec::new()));
    for other in ["127.0.0.1", "203.0.113.7"] {
        assert_eq!(after(times(500, other, Did::CameItself)), (Vec::new(), Vec::new()), "{other}");
    }
}

#[test]
fn strangers_do_not_make_a_proxy_forgotten_and_there_is_a_bound() {
    let (listener, all) = (Arc::from("smtp"), Acquaintances::default());
    for _ in 0..Acquaintances::SILENT {
        all.note(&listener, peer("10.0.0.5"), PeerReport::of(Did::SentNone, peer("10.0.0.5")));
    }
    for number in 0..10_000_u32 {
        let stranger = ip(0x0b00_0000 + number);
        all.note(&listener, stranger, PeerReport::of(Did::SentUnlisted, stranger));
    }
    let remarks = all.remarks();
    assert_eq!(remarks.len(), Acquaintances::PEERS + 1);
    assert_eq!(remarks.first().map(|remark| remark.habit), Some(Habit::NeverAHeader));
}

/// The two tables that there were before this one each had its own answer to that.
#[test]
fn what_came_at_a_header_and_what_came_at_an_end_is_known_in_one_place() {
    let (listener, all) = (Arc::from("smtp"), Acquaintances::default());
    let proxy = peer("10.0.0.5");
    all.sent_header(&listener, proxy);
    for _ in 0..50 {
        assert_eq!(
            all.note(&listener, proxy, PeerReport::of(Did::SentNone, proxy)),
            None,
            "it sends headers"
        );
    }
    let other = peer("10.0.0.6");
    all.note(&listener, other, PeerReport::of(Did::SentHeader, other));
    assert!(all.came_without(&listener, other, Instant::now()).sends_headers);
}

#[test]
fn a_worker_takes_the_lock_for_few_connections_and_a_habit_shows_all_the_same() {
    let (listener, all, recent) = (Arc::from("smtp"), Acquaintances::default(), RecentPeers::default());
    let (mut locked, mut said) = (0, Vec::new());
    let mut note = |ip: &str, did: Did| {
        if let Some(told) = recent.ended(&listener, peer(ip), did, None) {
            locked += 1;
            said.extend(all.note(&listener, peer(ip), told).map(|remark| remark.habit));
        }
    };
    for _ in 0..1000 {
        note("10.0.0.5", Did::SentHeader);
    }
    for far in 0..1000_u32 {
        note(&ip(0x0b00_0000 + far).to_string(), Did::CameItself);
    }
    assert!(locked < 50, "{locked} of 2000");
    let recent = RecentPeers::default();
    let all = Acquaintances::default();
    let told = (0..1000).filter_map(|_| recent.ended(&listener, peer("172.18.0.1"), Did::CameItself, None));
    said.extend(
        told.filter_map(|told| all.note(&listener, peer("172.18.0.1"), told)).map(|remark| remark.habit),
    );
    assert_eq!(said, [Habit::HidesClients]);
}

#[test]
fn a_rhythm_shows_after_some_times_and_ends_with_it() {
    let (all, listener, start) = (Acquaintances::default(), Arc::from("a"), Instant::now());
    let at = |millis| start.checked_add(Duration::from_millis(millis)).unwrap();
    let rhythm = |millis| all.came_without(&listener, ip(1), at(millis)).rhythm.map(|gap| gap.as_secs());
    let times = [0, 5_000, 10_100, 15_000, 20_050, 25_000, 26_000, 31_000, 36_000, 41_000, 46_000];
    let found: Vec<_> = times.map(rhythm).to_vec();
    assert_eq!(found[..4], [None; 4]);
    assert_eq!((found[4], found[5].is_some(), found[6]), (Some(5), true, None));
    assert_eq!(found[10], Some(5));
    // Many at once are no check.
    for millis in (46_100..47_000).step_by(100) {
        assert_eq!(rhythm(millis), None);
    }
}

#[test]
fn headers_are_remembered_for_each_listener_and_the_memory_is_bounded() {
    let (all, a, b) = (Acquaintances::default(), Arc::from("a"), Arc::from("b"));
    let now = Instant::now();
    all.sent_header(&a, ip(0));
    for other in 1..=u32::try_from(Acquaintances::PEERS).unwrap() + 100 {
        let _ = all.came_without(&a, ip(other), now);
    }
    assert_eq!(all.lock()[&a].known.len(), Acquaintances::PEERS);
    assert!(all.came_without(&a, ip(0), now).sends_headers, "who sends headers goes last");
    assert!(!all.came_without(&b, ip(0), now).sends_headers);
}

#[test]
fn a_client_that_is_a_proxy_is_news_once() {
    let (all, listener) = (Acquaintances::default(), Arc::from("a"));
    assert!(!all.is_news(&listener, ip(1), || false));
    all.sent_header(&listener, ip(1));
    assert!(all.is_news(&listener, ip(1), || false));
    assert!(!all.is_news(&listener, ip(1), || true));
    assert!(all.is_news(&listener, ip(2), || true));
    assert!(!all.is_news(&listener, ip(2), || true));
}
