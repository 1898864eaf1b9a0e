#![allow(clippy::arithmetic_side_effects, reason = "times of tests are far from every bound")]

use super::*;

/// Some time, in whole seconds.
fn at(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + secs)
}

fn order(network: &str, lasts: &str, reason: &str) -> BanOrder {
    let network = crate::facts::network::parse_network(network).unwrap();
    BanOrder { network, lasts: lasts.parse().unwrap(), reason: BanReason::new(reason) }
}

fn trusted(networks: &[&str]) -> TrustedNetworks {
    networks.iter().map(|text| text.parse().unwrap()).collect()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn found(bans: &Bans, client: &str, now: SystemTime) -> Option<String> {
    bans.find(addr(client), now).map(|ban| ban.network.to_string())
}

fn networks(bans: &[Ban]) -> Vec<String> {
    bans.iter().map(|ban| ban.network.to_string()).collect()
}

#[test]
fn a_ban_holds_its_network_until_it_ends() {
    let mut bans = Bans::default();
    for network in ["192.0.2.7", "198.51.100.99/24", "2001:db8:1:2::5/64"] {
        bans.add(&order(network, "1h", "test"), &[], at(0)).unwrap();
    }
    for (client, secs, expected) in [
        ("192.0.2.7", 0, Some("192.0.2.7/32")),
        ("192.0.2.7", 3599, Some("192.0.2.7/32")),
        ("192.0.2.7", 3600, None),
        ("::ffff:192.0.2.7", 0, Some("192.0.2.7/32")),
        ("192.0.2.8", 0, None),
        ("198.51.100.0", 0, Some("198.51.100.0/24")),
        ("198.51.100.255", 0, Some("198.51.100.0/24")),
        ("198.51.101.0", 0, None),
        ("2001:db8:1:2:ffff::1", 0, Some("2001:db8:1:2::/64")),
        ("2001:db8:1:3::1", 0, None),
        ("2001:db8:1:2::5", 3600, None),
    ] {
        assert_eq!(found(&bans, client, at(secs)).as_deref(), expected, "{client} after {secs} s");
    }
}

#[test]
fn a_ban_never_ends_too_soon_within_a_second() {
    let mut bans = Bans::default();
    let now = at(0) + Duration::from_millis(900);
    bans.add(&order("192.0.2.7", "1s", ""), &[], now).unwrap();
    assert!(bans.find(addr("192.0.2.7"), now + Duration::from_millis(1000)).is_some());
    assert!(bans.find(addr("192.0.2.7"), now + Duration::from_millis(1100)).is_none());
}

#[test]
fn the_most_specific_ban_is_named_and_an_ended_one_hides_no_wider_one() {
    let mut bans = Bans::default();
    bans.add(&order("192.0.2.0/24", "1h", ""), &[], at(0)).unwrap();
    bans.add(&order("192.0.2.7", "1m", ""), &[], at(0)).unwrap();
    assert_eq!(found(&bans, "192.0.2.7", at(0)).as_deref(), Some("192.0.2.7/32"));
    assert_eq!(found(&bans, "192.0.2.7", at(60)).as_deref(), Some("192.0.2.0/24"));
    assert_eq!(bans.purge(at(60)), 1);
    assert_eq!(found(&bans, "192.0.2.7", at(60)).as_deref(), Some("192.0.2.0/24"));
    assert_eq!((bans.purge(at(3600)), bans.len()), (1, 0));
}

#[test]
fn the_latest_order_holds() {
    let mut bans = Bans::default();
    let first = bans.add(&order("192.0.2.7", "1h", "one"), &[], at(0)).unwrap();
    assert!(matches!(first, Added::New(_)), "{first:?}");
    let second = bans.add(&order("::ffff:192.0.2.7", "1m", "two"), &[], at(10)).unwrap();
    let Added::Replaced(ban) = second else { panic!("{second:?}") };
    assert_eq!((ban.since, ban.until, ban.reason.as_str()), (at(10), at(70), "two"));
    assert_eq!(bans.list(at(10)), [ban]);
    // One that ended is as good as none.
    let third = bans.add(&order("192.0.2.7", "1m", "three"), &[], at(70)).unwrap();
    assert!(matches!(third, Added::New(_)), "{third:?}");
}

#[test]
fn lifting_takes_exactly_that_ban_and_says_what_still_holds() {
    let mut bans = Bans::default();
    for network in ["192.0.2.0/24", "192.0.2.0/28", "192.0.2.7"] {
        bans.add(&order(network, "1h", ""), &[], at(0)).unwrap();
    }
    for (network, lifted, still) in [
        ("192.0.2.7", Some("192.0.2.7/32"), Some("192.0.2.0/28")),
        ("192.0.2.7", None, Some("192.0.2.0/28")),
        // What lies inside does not keep the whole network out.
        ("192.0.2.0/25", None, Some("192.0.2.0/24")),
        ("192.0.2.0/24", Some("192.0.2.0/24"), None),
        ("198.51.100.1", None, None),
        ("2001:db8::1", None, None),
    ] {
        let answer = bans.remove(crate::facts::network::parse_network(network).unwrap(), at(0));
        let text = |ban: Option<Ban>| ban.map(|ban| ban.network.to_string());
        assert_eq!(
            (text(answer.ban).as_deref(), text(answer.still).as_deref()),
            (lifted, still),
            "{network}"
        );
    }
    assert_eq!(networks(&bans.list(at(0))), ["192.0.2.0/28"]);
    let ended = bans.remove("192.0.2.0/28".parse().unwrap(), at(3600));
    assert_eq!((ended.ban, ended.still), (None, None));
}

#[test]
fn trusted_proxies_cannot_be_banned() {
    let (server, smtp) = (trusted(&["192.0.2.10/32"]), trusted(&["10.42.0.0/16", "2001:db8:1::/48"]));
    let protected = [
        Protected { list: "server.proxy.trusted-networks", networks: &server },
        Protected { list: "server.listener.smtp.proxy.trusted-networks", networks: &smtp },
    ];
    let mut bans = Bans::default();
    for (network, list) in [
        ("192.0.2.10", Some(protected[0].list)),
        ("::ffff:192.0.2.10", Some(protected[0].list)),
        ("192.0.2.0/24", Some(protected[0].list)),
        ("10.42.7.7", Some(protected[1].list)),
        ("10.0.0.0/8", Some(protected[1].list)),
        ("2001:db8:1:2::/64", Some(protected[1].list)),
        ("2001:db8::/32", Some(protected[1].list)),
        ("192.0.2.11", None),
        ("10.43.0.0/16", None),
        ("2001:db8:2::/48", None),
    ] {
        let order = order(network, "1h", "");
        let expected = list.map(|list| BanError::Trusted { network: order.network, list: list.to_owned() });
        assert_eq!(bans.add(&order, &protected, at(0)).err(), expected, "{network}");
    }
    assert_eq!(networks(&bans.list(at(0))), ["10.43.0.0/16", "192.0.2.11/32", "2001:db8:2::/48"]);
    let error = bans.add(&order("10.42.7.7", "1h", ""), &protected, at(0)).unwrap_err();
    assert!(
        error.to_string().starts_with("10.42.7.7/32 holds a trusted proxy of server.listener.smtp."),
        "{error}"
    );
}

#[test]
fn a_reload_that_trusts_a_banned_network_lifts_the_ban() {
    let mut bans = Bans::default();
    for network in ["192.0.2.0/24", "192.0.2.7", "198.51.100.1", "2001:db8:1::/64"] {
        bans.add(&order(network, "1h", ""), &[], at(0)).unwrap();
    }
    let proxies = trusted(&["192.0.2.10/32", "2001:db8:1::1/128"]);
    let released = bans.release(&[Protected { list: "server.proxy.trusted-networks", networks: &proxies }]);
    let released: Vec<Ban> = released.into_iter().map(|(ban, _)| ban).collect();
    assert_eq!(networks(&released), ["192.0.2.0/24", "2001:db8:1::/64"]);
    assert_eq!(networks(&bans.list(at(0))), ["192.0.2.7/32", "198.51.100.1/32"]);
    assert_eq!(found(&bans, "192.0.2.10", at(0)), None);
    assert_eq!(found(&bans, "192.0.2.7", at(0)).as_deref(), Some("192.0.2.7/32"));
}

#[test]
fn half_the_world_cannot_be_banned() {
    let mut bans = Bans::default();
    for (network, refused) in [
        ("0.0.0.0/0", true),
        ("10.0.0.0/7", true),
        ("11.0.0.0/8", false),
        ("::/0", true),
        ("2002::/16", false),
    ] {
        let order = order(network, "1h", "");
        let expected = refused.then_some(BanError::TooWide { network: order.network });
        assert_eq!(bans.add(&order, &[], at(0)).err(), expected, "{network}");
    }
}

#[test]
fn restoring_drops_what_ended_and_what_may_not_be() {
    let ban = |network: &str, until: SystemTime| Ban {
        network: network.parse().unwrap(),
        since: at(0),
        until,
        reason: BanReason::new("kept"),
        node: None,
    };
    let proxies = trusted(&["192.0.2.10/32"]);
    let protected = [Protected { list: "server.proxy.trusted-networks", networks: &proxies }];
    let far = at(1000 * 365 * 24 * 3600);
    let stored = [
        ban("192.0.2.7/32", at(100)),
        ban("192.0.2.8/32", at(50)),
        ban("192.0.2.10/32", at(100)),
        ban("0.0.0.0/0", at(100)),
        ban("198.51.100.1/32", far),
    ];
    let (bans, refused) = Bans::restore(stored, &protected, at(50));
    assert_eq!(networks(&bans.list(at(50))), ["192.0.2.7/32", "198.51.100.1/32"]);
    let ban = bans.find(addr("192.0.2.7"), at(50)).unwrap();
    assert_eq!((ban.since, ban.until, ban.reason.as_str()), (at(0), at(100), "kept"));
    // A clock that was far ahead when the file was written makes no ban without end.
    let longest = bans.find(addr("198.51.100.1"), at(50)).unwrap().until;
    assert_eq!(longest, at(50 + BanDuration::MAX.as_secs()));
    let refused: Vec<String> = refused.iter().map(|(ban, _)| ban.network.to_string()).collect();
    assert_eq!(refused, ["192.0.2.10/32", "0.0.0.0/0"]);
}

#[test]
fn the_table_is_bounded_and_makes_room_by_itself() {
    let mut bans = Bans::default();
    let most = u32::try_from(MAX_BANS).unwrap();
    for index in 0..most {
        // One ends sooner than the others.
        let lasts = if index == 7 { "1m" } else { "1h" };
        let network = IpNet::V4(ipnet::Ipv4Net::new((0x0b00_0000 + index).into(), 32).unwrap());
        let order = BanOrder { network, lasts: lasts.parse().unwrap(), reason: BanReason::default() };
        bans.add(&order, &[], at(0)).unwrap();
    }
    assert_eq!(bans.add(&order("192.0.2.7", "1h", ""), &[], at(59)), Err(BanError::Full));
    assert_eq!(bans.add(&order("2001:db8::1", "1h", ""), &[], at(59)), Err(BanError::Full));
    // What is banned already can be renewed.
    assert!(matches!(bans.add(&order("11.0.0.1", "2h", ""), &[], at(59)), Ok(Added::Replaced(_))));
    assert!(matches!(bans.add(&order("2001:db8::1", "1h", ""), &[], at(60)), Ok(Added::New(_))));
    assert_eq!(bans.len(), MAX_BANS);
}

#[test]
fn a_ban_in_words() {
    let mut bans = Bans::default();
    bans.add(&order("192.0.2.0/24", "1h", "fail2ban \"sshd\""), &[], at(0)).unwrap();
    let ban = bans.find(addr("192.0.2.7"), at(60)).unwrap();
    assert_eq!(ban.to_string(), "ban 192.0.2.0/24 until 2023-11-14T23:13:20Z (fail2ban \"sshd\")");
}
