#![allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use super::*;

fn set(networks: &[&str]) -> NetworkSet {
    networks.iter().map(|text| text.parse::<IpNet>().unwrap()).collect()
}

fn has(set: &NetworkSet, addr: &str) -> bool {
    set.contains(addr.parse().unwrap())
}

#[test]
fn empty_set_holds_nobody() {
    assert!(!has(&set(&[]), "127.0.0.1"));
    assert!(!has(&set(&[]), "::"));
}

#[test]
fn first_and_last_address_are_inside_and_their_neighbours_are_not() {
    let set = set(&["192.0.2.16/28", "2001:db8:1::/48"]);
    for (addr, inside) in [
        ("192.0.2.15", false),
        ("192.0.2.16", true),
        ("192.0.2.31", true),
        ("192.0.2.32", false),
        ("2001:db8:0:ffff:ffff:ffff:ffff:ffff", false),
        ("2001:db8:1::", true),
        ("2001:db8:1:ffff:ffff:ffff:ffff:ffff", true),
        ("2001:db8:2::", false),
    ] {
        assert_eq!(has(&set, addr), inside, "{addr}");
    }
}

#[test]
fn mapped_addresses_and_mapped_networks_are_ipv4() {
    let set = set(&["::ffff:192.0.2.0/120", "198.51.100.0/24"]);
    assert!(has(&set, "192.0.2.77"));
    assert!(has(&set, "::ffff:192.0.2.77"));
    assert!(has(&set, "::ffff:198.51.100.1"));
    assert!(!has(&set, "::192.0.2.77"));
}

#[test]
fn everything_in_ipv6_does_not_include_ipv4() {
    let set = set(&["::/0"]);
    assert!(has(&set, "2001:db8::1"));
    assert!(!has(&set, "192.0.2.1"));
    assert!(!has(&set, "::ffff:192.0.2.1"));
}

#[test]
fn overlapping_networks_merge_and_keep_every_address() {
    let set = set(&["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0"]);
    assert_eq!(set.ranges(), 1);
    assert!(has(&set, "255.255.255.255"));
    assert!(has(&set, "0.0.0.0"));
}

#[test]
fn touching_networks_merge_and_neighbours_stay_out() {
    let set = set(&["192.0.2.0/25", "192.0.2.128/25", "192.0.3.0/24", "2001:db8::/33", "2001:db8:8000::/33"]);
    assert_eq!(set.ranges(), 2);
    assert!(has(&set, "192.0.2.127") && has(&set, "192.0.2.128") && has(&set, "192.0.3.255"));
    assert!(!has(&set, "192.0.1.255") && !has(&set, "192.0.4.0"));
}

#[test]
fn the_last_address_of_all_is_no_special_case() {
    let set =
        set(&["255.255.255.255/32", "255.255.255.254/32", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"]);
    assert_eq!(set.ranges(), 2);
    assert!(has(&set, "255.255.255.254") && !has(&set, "255.255.255.253"));
    assert!(has(&set, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
}

/// Every prefix length of both families against a comparison bit by bit.
#[test]
fn every_prefix_length_agrees_with_comparing_bits() {
    let v4 = 0xC0_00_02_A5_u32;
    for len in 0..=32_u8 {
        let set: NetworkSet = [IpNet::new(IpAddr::V4(v4.into()), len).unwrap()].into_iter().collect();
        for flipped in 0..32_u8 {
            let addr = IpAddr::V4((v4 ^ (1 << (31 - flipped))).into());
            assert_eq!(set.contains(addr), flipped >= len, "/{len}, bit {flipped}");
        }
    }
    let v6 = 0x2001_0db8_0001_0002_0003_0004_0005_0006_u128;
    for len in 0..=128_u8 {
        let set: NetworkSet = [IpNet::new(IpAddr::V6(v6.into()), len).unwrap()].into_iter().collect();
        for flipped in 0..128_u8 {
            let addr = IpAddr::V6((v6 ^ (1 << (127 - flipped))).into());
            assert_eq!(set.contains(addr), flipped >= len, "/{len}, bit {flipped}");
        }
    }
}

#[test]
fn entries_are_read_as_people_write_them() {
    let trusted = TrustedNetworks::parse(["192.0.2.10", " 10.1.2.3/16 ", "2001:db8::7"]).unwrap();
    for (addr, inside) in [
        ("192.0.2.10", true),
        ("192.0.2.11", false),
        ("10.1.255.255", true),
        ("2001:db8::7", true),
        ("2001:db8::8", false),
    ] {
        assert_eq!(trusted.contains(addr.parse().unwrap()), inside, "{addr}");
    }
    assert!(TrustedNetworks::parse::<&str>([]).unwrap().is_empty());
}

#[test]
fn entries_that_mean_nobody_or_everybody_are_refused_with_the_reason() {
    for (entry, text) in [
        ("", "\"\" is no address such as 192.0.2.10 and no network such as 192.0.2.0/24"),
        (
            "proxy.example",
            "\"proxy.example\" is no address such as 192.0.2.10 and no network such as 192.0.2.0/24",
        ),
        (
            "192.0.2.0/33",
            "\"192.0.2.0/33\" is no address such as 192.0.2.10 and no network such as 192.0.2.0/24",
        ),
        ("0.0.0.0/0", "\"0.0.0.0/0\" would let everybody speak for everybody; write your proxies' addresses"),
        ("2000::/4", "\"2000::/4\" would let everybody speak for everybody; write your proxies' addresses"),
        ("2000::/3", "\"2000::/3\" would let everybody speak for everybody; write your proxies' addresses"),
        ("::/0", "\"::/0\" would let everybody speak for everybody; write your proxies' addresses"),
        (
            "::ffff:0:0/96",
            "\"::ffff:0:0/96\" would let everybody speak for everybody; write your proxies' addresses",
        ),
    ] {
        let error = TrustedNetworks::parse([entry]).unwrap_err();
        assert_eq!((error.entry(), error.to_string().as_str()), (entry, text));
    }
    // Everybody in pieces is everybody.
    for entries in [
        &["0.0.0.0/1", "192.0.2.10", "128.0.0.0/1"][..],
        &["2000::/5", "2800::/5"],
        &["::ffff:0.0.0.0/97", "128.0.0.0/1"],
        // All addresses that hosts have: what is left out is multicast and below.
        &["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3"],
        // All but what is private, and all but one.
        &[
            "1.0.0.0/8",
            "2.0.0.0/7",
            "4.0.0.0/6",
            "8.0.0.0/7",
            "11.0.0.0/8",
            "12.0.0.0/6",
            "16.0.0.0/4",
            "32.0.0.0/3",
            "64.0.0.0/2",
            "128.0.0.0/2",
            "192.0.0.0/3",
        ],
        &["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/4", "208.0.0.0/5", "216.0.0.0/6"],
        // Every block that a registry has got.
        &["2000::/5", "2800::/6", "2c00::/6"],
        &[
            "2000::/12",
            "2400::/12",
            "2600::/12",
            "2800::/12",
            "2a00::/12",
            "2c00::/12",
            "2400::/6",
            "2800::/5",
        ],
    ] {
        let error = TrustedNetworks::parse(entries).unwrap_err();
        assert_eq!(error.entry(), entries.join(", "));
        assert!(error.to_string().contains("would let everybody speak for everybody"), "{error}");
    }
    // Half of everybody is a bad idea that people may have.
    for entry in ["128.0.0.0/1", "0.0.0.0/1", "fc00::/7", "2000::/5"] {
        TrustedNetworks::parse([entry]).unwrap();
    }
    let everybody = TrustedNetworks::unsafe_everybody();
    assert!(
        everybody.contains("192.0.2.1".parse().unwrap())
            && everybody.contains("2001:db8::1".parse().unwrap())
    );
}

/// An address that counts how often it is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Counted(u32);

std::thread_local! {
    static COMPARISONS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

impl Ord for Counted {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        COMPARISONS.set(COMPARISONS.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Counted {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The most comparisons that a look-up in `networks` scattered networks needs, over hits and misses.
fn worst_comparisons(networks: u32) -> u32 {
    let step = u32::MAX / networks;
    let ranges: Box<[_]> = (0..networks).map(|n| (Counted(n * step), Counted(n * step + 255))).collect();
    let probes =
        (0..networks).step_by(networks as usize / 500).flat_map(|n| [n * step, n * step + 300, n * step + 7]);
    probes
        .map(|addr| {
            COMPARISONS.set(0);
            holds(&ranges, Counted(addr));
            COMPARISONS.get()
        })
        .max()
        .unwrap()
}

#[test]
fn a_hundred_thousand_networks_cost_at_most_twice_a_thousand() {
    let (thousand, hundred_thousand) = (worst_comparisons(1_000), worst_comparisons(100_000));
    assert!((10..=12).contains(&thousand), "{thousand}");
    assert!(hundred_thousand <= 2 * thousand, "{hundred_thousand} against {thousand}");
}

#[test]
fn networks_overlap_if_they_share_an_address() {
    let set = set(&["192.0.2.16/28", "198.51.100.7/32", "2001:db8:1::/48"]);
    for (network, overlaps) in [
        ("192.0.2.0/28", false),
        ("192.0.2.16/32", true),
        ("192.0.2.31/32", true),
        ("192.0.2.32/28", false),
        ("192.0.2.0/24", true),
        ("::ffff:192.0.2.0/120", true),
        ("198.51.100.0/30", false),
        ("198.51.100.4/30", true),
        ("0.0.0.0/0", true),
        ("2001:db8:1:2::/64", true),
        ("2001:db8::/32", true),
        ("2001:db8:2::/48", false),
    ] {
        assert_eq!(set.overlaps(network.parse().unwrap()), overlaps, "{network}");
    }
}

#[test]
fn what_is_trusted_can_be_asked_for() {
    let trusted = TrustedNetworks::parse(["192.0.2.10"]).unwrap();
    assert!(trusted.overlaps("192.0.2.0/24".parse().unwrap()));
    assert!(!trusted.overlaps("198.51.100.0/24".parse().unwrap()));
    assert!(!trusted.is_empty());
    assert!(TrustedNetworks::nobody().is_empty());
    // Whoever alone is everybody is named alone.
    let error = TrustedNetworks::parse(["192.0.2.10", "0.0.0.0/0"]).unwrap_err();
    assert_eq!(error.entry(), "0.0.0.0/0");
}

#[test]
fn a_set_shows_its_networks_and_hands_them_out() {
    let trusted =
        TrustedNetworks::parse(["2001:db8:7::/64", "192.0.2.10", "10.0.0.0/9", "10.128.0.0/9"]).unwrap();
    let networks = "10.0.0.0/8, 192.0.2.10/32, 2001:db8:7::/64";
    assert_eq!(trusted.to_string(), networks);
    assert_eq!(format!("{trusted:?}"), format!("TrustedNetworks({networks})"));
    assert_eq!(format!("{:?}", set(&["192.0.2.0/31"])), "NetworkSet(192.0.2.0/31)");
    assert_eq!(trusted.iter().collect::<TrustedNetworks>(), trusted);
    assert_eq!(TrustedNetworks::nobody().to_string(), "nobody");
    assert_eq!(TrustedNetworks::unsafe_everybody().to_string(), "0.0.0.0/0, ::/0");
    // What no single network says.
    let odd = set(&["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/30"]);
    assert_eq!((odd.ranges(), odd.to_string().as_str()), (1, "192.0.2.1/32, 192.0.2.2/31, 192.0.2.4/30"));
    assert_eq!(odd.iter().collect::<NetworkSet>(), odd);
}
