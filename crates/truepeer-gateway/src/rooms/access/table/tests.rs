use super::*;

fn list(key: &str, networks: &[&str]) -> RuleList {
    let networks: Vec<IpNet> = networks.iter().map(|text| text.parse().unwrap()).collect();
    RuleList::inline(key, &networks)
}

fn table(lists: Vec<RuleList>) -> RuleTable {
    RuleTable::new(ListKind::Deny, lists).unwrap()
}

/// The networks that hold `addr`, as text.
fn holding(table: &RuleTable, addr: &str) -> Vec<String> {
    table.holding(addr.parse().unwrap()).iter().map(|rule| rule.network.to_string()).collect()
}

#[test]
fn the_most_specific_network_comes_first_and_the_others_follow_outwards() {
    let table = table(vec![list(
        "access.deny",
        &["10.1.0.0/16", "0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/32", "10.1.2.0/24", "10.200.0.0/16", "::/0"],
    )]);
    for (addr, expected) in [
        ("10.1.2.3", &["10.1.2.3/32", "10.1.2.0/24", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"][..]),
        ("10.1.2.4", &["10.1.2.0/24", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]),
        ("10.1.255.255", &["10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]),
        ("10.2.0.0", &["10.0.0.0/8", "0.0.0.0/0"]),
        ("10.255.255.255", &["10.0.0.0/8", "0.0.0.0/0"]),
        ("9.255.255.255", &["0.0.0.0/0"]),
        ("255.255.255.255", &["0.0.0.0/0"]),
        ("::ffff:10.1.2.3", &["10.1.2.3/32", "10.1.2.0/24", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]),
        ("2001:db8::1", &["::/0"]),
    ] {
        assert_eq!(holding(&table, addr), expected, "{addr}");
    }
}

#[test]
fn first_and_last_address_are_inside_and_their_neighbours_are_not() {
    let table = table(vec![list("access.deny", &["192.0.2.16/28", "2001:db8:1::/48", "192.0.2.33/32"])]);
    for (addr, expected) in [
        ("192.0.2.15", None),
        ("192.0.2.16", Some("192.0.2.16/28")),
        ("192.0.2.31", Some("192.0.2.16/28")),
        ("192.0.2.32", None),
        ("192.0.2.33", Some("192.0.2.33/32")),
        ("192.0.2.34", None),
        ("2001:db8:0:ffff:ffff:ffff:ffff:ffff", None),
        ("2001:db8:1::", Some("2001:db8:1::/48")),
        ("2001:db8:1:ffff:ffff:ffff:ffff:ffff", Some("2001:db8:1::/48")),
        ("2001:db8:2::", None),
        ("0.0.0.0", None),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None),
    ] {
        assert_eq!(holding(&table, addr).first().map(String::as_str), expected, "{addr}");
    }
}

#[test]
fn a_repeated_network_is_kept_once_at_its_first_place() {
    let table = table(vec![
        list("first", &["192.0.2.0/24", "198.51.100.0/24", "192.0.2.99/24"]),
        list("second", &["198.51.100.0/24", "::ffff:192.0.2.0/120", "203.0.113.0/24"]),
    ]);
    assert_eq!(table.len(), 3);
    for (addr, source, position) in
        [("192.0.2.1", "first", 1), ("198.51.100.1", "first", 2), ("203.0.113.1", "second", 3)]
    {
        let rule = table.find(addr.parse().unwrap()).unwrap();
        assert_eq!((rule.source, rule.position), (&ListSource::Inline(source.into()), position), "{addr}");
    }
}

#[test]
fn empty_lists_hold_nobody() {
    for table in [table(Vec::new()), table(vec![list("access.deny", &[])])] {
        assert_eq!(table.len(), 0);
        assert!(holding(&table, "0.0.0.0").is_empty());
        assert!(holding(&table, "::").is_empty());
    }
}

/// Every network of three small address spaces against a plain search through the list.
#[test]
fn agrees_with_a_plain_search_for_any_nesting() {
    // A small generator of its own: the cases are the same in every run.
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from(state >> 40).unwrap()
    };
    for round in 0..200 {
        let networks: Vec<IpNet> = (0..next() % 40)
            .map(|_| {
                let addr = std::net::Ipv4Addr::from(0x0a00_0000 | (next() % 64));
                IpNet::V4(Ipv4Net::new(addr, 26 + u8::try_from(next() % 7).unwrap()).unwrap()).trunc()
            })
            .collect();
        let table = table(vec![RuleList::inline("access.deny", &networks)]);
        for last in 0..66_u8 {
            let addr = IpAddr::from([10, 0, 0, last]);
            let mut expected: Vec<IpNet> =
                networks.iter().copied().filter(|network| network.contains(&addr)).collect();
            expected.sort_by_key(|network| std::cmp::Reverse(network.prefix_len()));
            expected.dedup();
            let found: Vec<IpNet> = table.holding(addr.into()).iter().map(|rule| rule.network).collect();
            assert_eq!(found, expected, "round {round}, {addr}: {networks:?}");
        }
    }
}

#[test]
fn too_many_lists_are_refused() {
    let lists = vec![list("access.deny", &["192.0.2.0/24"]); MAX_SOURCES + 1];
    let error = RuleTable::new(ListKind::Deny, lists).unwrap_err();
    assert_eq!(error, TooManyEntries { entries: MAX_SOURCES + 1 });
    assert!(error.to_string().contains(&(MAX_SOURCES + 1).to_string()), "{error}");
}

/// An address that counts how often it is looked at.
#[derive(Debug, Clone, Copy)]
struct Counted(u32);

thread_local! {
    static LOOKS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

impl Counted {
    fn look(self) -> u32 {
        LOOKS.set(LOOKS.get().wrapping_add(1));
        self.0
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        self.look() == other.0
    }
}

impl Eq for Counted {}

impl PartialOrd for Counted {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Counted {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.look().cmp(&other.0)
    }
}

impl Address for Counted {
    fn common_bits(self, other: Self) -> u32 {
        self.look().common_bits(other.0)
    }

    fn network(self, len: u8) -> Option<IpNet> {
        self.0.network(len)
    }
}

#[test]
fn a_lookup_among_a_million_looks_at_no_more_than_twice_as_many_as_among_a_thousand() {
    let numbers = |count: u32| (0..count).map(|number| number.wrapping_mul(2_654_435_761));
    let looks = |entries: u32| {
        let entry = |first: u32| {
            // One in sixteen is a network around others, as in real feeds.
            let len = if first.is_multiple_of(16) { 24 } else { 32 };
            let first = if len == 24 { first & !0xff } else { first };
            Entry::new(Counted(first), len, 1)
        };
        let table = nest(numbers(entries).map(entry).collect());
        LOOKS.set(0);
        for addr in numbers(10_000) {
            let _ = Holding::of(&table, Counted(addr ^ 0x1234)).next();
        }
        LOOKS.get()
    };
    let (few, many) = (looks(1_000), looks(1_000_000));
    assert!(many <= few.saturating_mul(2), "{many} among a million, {few} among a thousand");
}
