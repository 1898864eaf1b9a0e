use super::*;

fn inline(key: &str, networks: &[&str]) -> RuleList {
    let networks: Vec<_> = networks.iter().map(|text| text.parse().unwrap()).collect();
    RuleList::inline(key, &networks)
}

fn scope(allow: &[&str], deny: &[&str], table: &str) -> Arc<AccessScope> {
    let allow = vec![inline(&format!("{table}.allow"), allow)];
    let deny = vec![inline(&format!("{table}.deny"), deny)];
    Arc::new(AccessScope::new(allow, deny).unwrap())
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn said(rules: &AccessRules, client: &str) -> String {
    match rules.decide(addr(client)) {
        Decision::Admit(why) => format!("admit: {why}"),
        Decision::Deny(why) => format!("deny: {why}"),
    }
}

#[test]
fn allow_beats_deny_and_default_takes_the_rest() {
    let lists = scope(
        &["192.0.2.7/32", "2001:db8:1::/48"],
        &["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"],
        "access",
    );
    let open = AccessRules::new(vec![Arc::clone(&lists)], AccessDefault::Allow);
    let closed = AccessRules::new(vec![lists], AccessDefault::Deny);
    for (client, expected) in [
        ("192.0.2.7", "admit: allow 192.0.2.7/32 (access.allow, entry 1)"),
        ("::ffff:192.0.2.7", "admit: allow 192.0.2.7/32 (access.allow, entry 1)"),
        ("192.0.2.8", "deny: deny 192.0.2.0/24 (access.deny, entry 1)"),
        ("198.51.100.255", "deny: deny 198.51.100.0/24 (access.deny, entry 2)"),
        ("::ffff:198.51.100.0", "deny: deny 198.51.100.0/24 (access.deny, entry 2)"),
        ("2001:db8:1::5", "admit: allow 2001:db8:1::/48 (access.allow, entry 2)"),
        ("2001:db8:2::5", "deny: deny 2001:db8::/32 (access.deny, entry 3)"),
    ] {
        assert_eq!(said(&open, client), expected);
        assert_eq!(said(&closed, client), expected);
    }
    for client in ["203.0.113.1", "2001:db9::1", "127.0.0.1", "::"] {
        assert_eq!(said(&open, client), "admit: access default \"allow\"", "{client}");
        assert_eq!(said(&closed, client), "deny: access default \"deny\"", "{client}");
    }
}

#[test]
fn without_lists_everybody_may_enter() {
    assert_eq!(said(&AccessRules::default(), "192.0.2.1"), "admit: access default \"allow\"");
}

#[test]
fn the_listeners_lists_add_to_the_servers_and_allow_is_asked_everywhere_first() {
    let server = scope(&["192.0.2.1/32"], &["192.0.2.0/24", "198.51.100.0/24"], "access");
    let listener = scope(
        &["198.51.100.9/32"],
        &["192.0.2.1/32", "192.0.2.2/32", "203.0.113.0/24"],
        "server.listener.smtp.access",
    );
    let rules = AccessRules::new(vec![listener, server], AccessDefault::Allow);
    for (client, expected) in [
        ("192.0.2.1", "admit: allow 192.0.2.1/32 (access.allow, entry 1)"),
        ("192.0.2.2", "deny: deny 192.0.2.2/32 (server.listener.smtp.access.deny, entry 2)"),
        ("192.0.2.3", "deny: deny 192.0.2.0/24 (access.deny, entry 1)"),
        ("198.51.100.9", "admit: allow 198.51.100.9/32 (server.listener.smtp.access.allow, entry 1)"),
        ("203.0.113.1", "deny: deny 203.0.113.0/24 (server.listener.smtp.access.deny, entry 3)"),
    ] {
        assert_eq!(said(&rules, client), expected);
    }
}

#[test]
fn explanation_names_every_rule_in_the_order_of_asking() {
    let rules = AccessRules::new(
        vec![scope(&["192.0.2.0/28"], &["0.0.0.0/0", "192.0.2.0/24", "192.0.2.7/32"], "access")],
        AccessDefault::Allow,
    );
    let explanation = rules.explain(addr("::ffff:192.0.2.7"));
    assert_eq!(explanation.client, addr("192.0.2.7"));
    assert_eq!(explanation.decision, rules.decide(addr("192.0.2.7")));
    assert_eq!(
        explanation.to_string(),
        "as client 192.0.2.7: admitted by allow 192.0.2.0/28 (access.allow, entry 1)\n  \
         also in deny 192.0.2.7/32 (access.deny, entry 3)\n  \
         also in deny 192.0.2.0/24 (access.deny, entry 2)\n  \
         also in deny 0.0.0.0/0 (access.deny, entry 1)"
    );
    let unlisted = rules.explain(addr("2001:db8::1"));
    assert_eq!(unlisted.to_string(), "as client 2001:db8::1: admitted by access default \"allow\"");
    assert!(unlisted.rules.is_empty());
}

#[test]
fn a_rule_of_a_file_leads_back_to_its_line() {
    let text = "# feed of today\n\n198.51.100.0/24\nnonsense\n2001:db8:bad::/48 ; SBL1\n";
    let file = ListFile::parse("/etc/truepeer/deny.txt".as_ref(), text.as_bytes()).unwrap();
    let deny = vec![inline("access.deny", &["192.0.2.0/24"]), file.into_list()];
    let scope = AccessScope::new(Vec::new(), deny).unwrap();
    let rules = AccessRules::new(vec![Arc::new(scope)], AccessDefault::Allow);
    for (client, expected) in [
        ("198.51.100.1", "deny: deny 198.51.100.0/24 (/etc/truepeer/deny.txt, line 3)"),
        ("2001:db8:bad::1", "deny: deny 2001:db8:bad::/48 (/etc/truepeer/deny.txt, line 5)"),
        ("192.0.2.1", "deny: deny 192.0.2.0/24 (access.deny, entry 1)"),
    ] {
        assert_eq!(said(&rules, client), expected);
    }
}

#[test]
fn a_million_networks_of_either_family_cost_under_64_mb() {
    const MILLION: u32 = 1_000_000;
    let scope = AccessScope::new(Vec::new(), vec![inline("access.deny", &["192.0.2.0/24", "2001:db8::/32"])]);
    let scope = scope.unwrap();
    // One network of each family: 16 and 32 bytes.
    assert_eq!((scope.networks(ListKind::Deny), scope.bytes()), (2, 48));
    for (name, bytes) in [("IPv4", 16_u32), ("IPv6", 32)] {
        assert!(MILLION * bytes < 64_000_000, "{name}");
    }
}
