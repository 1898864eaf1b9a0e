//! The configuration as its users meet it: files in, meaning or messages out.
//!
//! `UPDATE=1 cargo test -p truepeer-gateway --test config_cases` rewrites the expected messages and the generated files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's failure is its message"
)]

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use truepeer::{PeerAddress, TrustDecision};
use truepeer_gateway::config::{self, Colour, Config, ConfigErrors, Listener, Origin, Surroundings};
use truepeer_gateway::facts::address::ClientIp;
use truepeer_gateway::facts::bind::{Bind, Families};
use truepeer_gateway::facts::cgroup::CgroupName;
use truepeer_gateway::facts::lines::{ConnectionLines, LogFormat, LogTarget};
use truepeer_gateway::facts::protocol::{ClientTls, OwnConnections, Protocol};
use truepeer_gateway::rooms::backend::BackendAddress;
use truepeer_gateway::rooms::handoff::kind::Kind;
use truepeer_gateway::rooms::handoff::{Fact, FactSet, Handoff, LabelDestination, LabelSettings, TlvChoice};
use truepeer_gateway::rooms::identify::{ImplausibleClients, MissingHeader};
use truepeer_gateway::rooms::limits::{Mode, Rate};

/// A machine in a container network.
fn surroundings() -> Surroundings {
    Surroundings {
        hostname: "host.example.org".to_owned(),
        default_gateways: vec!["172.18.0.1".parse::<IpAddr>().unwrap()],
        // Tests run in the crate's folder, so that messages are the same everywhere.
        directory: "testdata/config/lists".into(),
        ..Surroundings::default()
    }
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn resolve(text: &str) -> Result<Config, ConfigErrors> {
    config::resolve(text, "truepeer.toml", &surroundings())
}

fn good(name: &str) -> Config {
    let text = fs::read_to_string(testdata().join("good").join(name)).unwrap();
    resolve(&text).unwrap_or_else(|errors| panic!("{name}:\n{errors}"))
}

fn listener<'c>(config: &'c Config, id: &str) -> &'c Listener {
    config.listeners.iter().find(|listener| &*listener.id == id).unwrap()
}

fn tcp(peer: &str) -> PeerAddress {
    PeerAddress::tcp(SocketAddr::new(peer.parse().unwrap(), 4711))
}

/// Compares with the file, or rewrites it.
fn expect_file(path: &Path, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, expected, "{} is stale: UPDATE=1 rewrites it", path.display());
}

#[test]
fn every_bad_file_gets_its_message() {
    let mut seen = 0;
    let mut paths: Vec<_> =
        fs::read_dir(testdata().join("bad")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "toml")) {
        let text = fs::read_to_string(path).unwrap();
        let errors = match resolve(&text) {
            Ok(_) => panic!("{} resolves", path.display()),
            Err(errors) => errors,
        };
        expect_file(&path.with_extension("expected"), &format!("{errors}\n"));
        seen += 1;
    }
    assert!(seen >= 24, "{seen} files");
}

#[test]
fn a_front_door_for_mail() {
    let config = good("mail.toml");
    assert_eq!(config.server.hostname, "mx1.example.org");
    assert_eq!(config.server.max_connections, Some(8000));
    assert_eq!(config.server.max_pending, 16_384);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.log.target, LogTarget::File("/var/log/truepeer/truepeer.log".into()));
    assert_eq!(config.advice, []);
    let names: Vec<_> = config.listeners.iter().map(|listener| &*listener.id).collect();
    assert_eq!(names, ["smtp", "imaps"], "in the order of the file");

    let smtp = listener(&config, "smtp");
    let any = "[::]:25".parse().unwrap();
    assert_eq!(smtp.binds, [Bind::Tcp { addr: any, families: Families::Both }]);
    assert_eq!((smtp.protocol, smtp.tls), (Protocol::Smtp, ClientTls::None));
    assert_eq!(smtp.header_timeout, Duration::from_secs(5));
    assert_eq!(smtp.own, OwnConnections::Answer);
    assert_eq!(smtp.implausible, ImplausibleClients::Refuse);
    assert_eq!(smtp.idle_timeout, Duration::from_secs(15 * 60));
    assert_eq!(smtp.trust.decide(tcp("192.0.2.11")), TrustDecision::ExpectHeader);
    assert_eq!(smtp.trust.decide(tcp("192.0.2.20")), TrustDecision::Direct);
    assert_eq!((smtp.backend.kind, smtp.backend.handoff), (Kind::Postfix, Handoff::ProxyV2));
    assert_eq!(smtp.backend.addresses, [BackendAddress::Socket("127.0.0.1:10025".parse().unwrap())]);
    assert_eq!(smtp.backend.connect_timeout, Duration::from_secs(5));

    let imaps = listener(&config, "imaps");
    assert_eq!((imaps.protocol, imaps.tls), (Protocol::Imap, ClientTls::Implicit));
    assert_eq!(imaps.trust.decide(tcp("192.0.2.20")), TrustDecision::ExpectHeader);
    assert_eq!(imaps.trust.decide(tcp("192.0.2.11")), TrustDecision::Direct, "the list is replaced");
}

#[test]
fn dotted_keys_inline_tables_and_set_notation_mean_the_same() {
    let config = good("dotted.toml");
    assert_eq!(config.advice.len(), 1, "{:?}", config.advice);
    let smtp = listener(&config, "smtp");
    assert_eq!(smtp.binds.len(), 2);
    assert_eq!(smtp.trust.decide(tcp("192.0.2.9")), TrustDecision::ExpectHeader);
    assert_eq!(smtp.trust.decide(tcp("192.0.2.10")), TrustDecision::Direct);
    let host = BackendAddress::Host { name: "mta-1.example.org".to_owned(), port: 25 };
    assert_eq!(smtp.backend.addresses, [host, BackendAddress::Unix("/run/mta.sock".into())]);
    assert_eq!((smtp.backend.kind, smtp.backend.handoff), (Kind::Other, Handoff::ProxyV1));
    let web = listener(&config, "web");
    assert_eq!(web.trust.decide(tcp("::1")), TrustDecision::ExpectHeader);
    assert_eq!(web.own, OwnConnections::Forward);
    assert_eq!(web.backend.handoff, Handoff::None, "no mail protocol: nothing to confirm");
    assert_eq!(web.backend.connect_timeout, Duration::from_millis(500));
}

#[test]
fn a_range_of_ports_is_one_listener_and_one_backend() {
    let config = good("ftp.toml");
    assert_eq!(config.advice, []);
    let data = listener(&config, "ftp-data");
    assert_eq!((data.binds.len(), data.ranges.len(), data.backend.ports), (101, 1, 101));
    assert_eq!(data.backend.addresses, [BackendAddress::Socket("10.0.0.5:50000".parse().unwrap())]);
    assert_eq!(data.lane(Some("192.0.2.1:50007".parse().unwrap())), 7);
    assert_eq!(
        config::sockets(&config),
        [
            "[::]:21 (IPv6 and IPv4): ftp (tcp) to ftp (proxy-v2)",
            "[::]:50000-50100 (IPv6 and IPv4), 101 ports: ftp-data (tcp) to ftp-data (not told who the client is)",
        ]
    );
}

#[test]
fn a_wildcard_serves_both_families_unless_its_port_is_bound_in_ipv4() {
    let config = good("families.toml");
    assert_eq!(
        config::sockets(&config),
        [
            "[::]:2525 (IPv6 and IPv4): both (smtp) to mta (proxy-v2)",
            "[::]:2526 (IPv6): apart (smtp) to mta (proxy-v2)",
            "0.0.0.0:2526 (IPv4): apart (smtp) to mta (proxy-v2)",
            "[::]:2527 (IPv6): six (smtp) to mta (proxy-v2)",
            "127.0.0.1:2527 (IPv4): four (smtp) to mta (proxy-v2)",
            "[::]:0 (IPv6 and IPv4): chosen (smtp) to mta (proxy-v2)",
            "127.0.0.1:0 (IPv4): chosen (smtp) to mta (proxy-v2)",
            "[::]:0 (IPv6 and IPv4): chosen (smtp) to mta (proxy-v2)",
        ]
    );
}

#[test]
fn clients_over_tls_may_go_elsewhere_and_check_shows_it() {
    let config = good("secure.toml");
    assert_eq!(
        config::sockets(&config),
        [
            "127.0.0.1:2525 (IPv4): both (submission) to mta (proxy-v2), over TLS to mta-auth (proxy-v1)",
            "127.0.0.1:2526 (IPv4): only (submission), over TLS only to mta (proxy-v2)",
            "127.0.0.1:2527 (IPv4): forced (submission), over TLS to mta-auth (proxy-v1)",
            "127.0.0.1:2528 (IPv4): nobody (submission), over TLS to mta-auth (proxy-v1)",
            "127.0.0.1:2529 (IPv4): old (submission), over TLS only to mta (proxy-v2)",
            "127.0.0.1:2530 (IPv4): through (submission), over TLS only to mta (proxy-v2)",
        ]
    );
    let advice: Vec<_> = config
        .advice
        .iter()
        .map(|advice| format!("{}: {}: {}\n", advice.line.unwrap(), advice.key, advice.text))
        .collect();
    expect_file(&testdata().join("good/secure.expected"), &advice.concat());
}

#[test]
fn proxy_settings_are_inherited_and_overridden() {
    use truepeer::proto::Decoder;
    const V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
    let reads_v1 = |decoder: Decoder| decoder.decode(V1).is_ok();

    let config = good("proxy.toml");
    let hops = |id| {
        let hops = &listener(&config, id).hops;
        ["192.0.2.20", "192.0.2.40"].map(|addr| hops.contains(addr.parse().unwrap()))
    };
    let missing = |id| listener(&config, id).missing;
    let wait = Duration::from_millis(500);
    assert_eq!(missing("inherits"), MissingHeader::UnsafeClientIsPeer { wait });
    assert_eq!(missing("overrides"), MissingHeader::UnsafeClientIsPeer { wait: Duration::from_secs(2) });
    assert_eq!(missing("off"), MissingHeader::Refuse);
    assert_eq!(
        [hops("inherits"), hops("overrides"), hops("off")],
        [[true, false], [false, true], [false, false]]
    );
    assert_eq!(config.server.max_pending, 64);
    let inherits = listener(&config, "inherits");
    assert_eq!(inherits.trust.decide(tcp("192.0.2.11")), TrustDecision::ExpectHeader);
    assert_eq!(inherits.trust.decide(tcp("192.0.2.12")), TrustDecision::Refuse);
    assert_eq!(inherits.header_timeout, Duration::from_secs(3));
    assert_eq!(inherits.own, OwnConnections::Refuse);
    assert_eq!(inherits.implausible, ImplausibleClients::UnsafeAccept);
    assert_eq!(inherits.idle_timeout, Duration::from_secs(600));
    assert!(!reads_v1(inherits.header.decoder));

    let overrides = listener(&config, "overrides");
    let unix = PeerAddress::Unix { uid: None };
    assert_eq!(overrides.trust.decide(unix), TrustDecision::ExpectHeader);
    assert_eq!(overrides.trust.decide(tcp("192.0.2.10")), TrustDecision::Direct);
    assert_eq!(overrides.trust.decide(tcp("192.0.2.30")), TrustDecision::ExpectHeader);
    assert_eq!(overrides.binds[1], Bind::Unix { path: "/run/truepeer/smtp.sock".into(), mode: 0o660 });
    assert_eq!(overrides.header_timeout, Duration::from_secs(60));
    assert_eq!(overrides.own, OwnConnections::Answer);
    assert_eq!(overrides.implausible, ImplausibleClients::Refuse);
    assert!(reads_v1(overrides.header.decoder));

    let off = listener(&config, "off");
    assert_eq!(off.trust.decide(tcp("192.0.2.10")), TrustDecision::Direct);
    assert_eq!(off.trust.decide(unix), TrustDecision::Refuse);
    assert!(reads_v1(off.header.decoder));
    assert_eq!(off.backend.handoff, Handoff::ProxyV1, "wins over the kind");
    assert_eq!(off.backend.addresses.len(), 3);
    assert_eq!(off.backend.connect_timeout, Duration::from_secs(2));
}

#[test]
fn access_lists_add_up_and_every_rule_knows_its_place() {
    let config = good("access.toml");
    let advice: Vec<_> = config.advice.iter().map(|advice| advice.text.as_str()).collect();
    assert_eq!(
        advice,
        [
            "testdata/config/lists/deny.txt: 3 entries, 2 lines skipped: line 4: not an IP address or network; \
          line 5: text behind the network; a comment begins with # or ;"
        ]
    );
    let said = |id: &str, addr: &str| {
        let (rules, addr) = (&listener(&config, id).access, addr.parse::<ClientIp>().unwrap());
        rules.explain(addr).to_string()
    };
    assert_eq!(
        said("inherits", "198.51.100.66"),
        "as client 198.51.100.66: denied by deny 198.51.100.66/32 (testdata/config/lists/deny.txt, line 2)\n  \
         also in deny 198.51.100.0/24 (access.deny, entry 1)"
    );
    assert_eq!(
        said("inherits", "198.51.100.7"),
        "as client 198.51.100.7: admitted by allow 198.51.100.7/32 (access.allow, entry 1)\n  \
         also in deny 198.51.100.0/24 (access.deny, entry 1)"
    );
    assert_eq!(said("inherits", "192.0.2.1"), "as client 192.0.2.1: admitted by access default \"allow\"");
    assert_eq!(said("overrides", "192.0.2.1"), "as client 192.0.2.1: denied by access default \"deny\"");
    assert_eq!(
        said("overrides", "203.0.113.200"),
        "as client 203.0.113.200: admitted by allow 203.0.113.0/24 (server.listener.overrides.access.allow, entry 1)"
    );
    assert_eq!(
        said("overrides", "198.51.100.8"),
        "as client 198.51.100.8: denied by deny 198.51.100.0/24 (access.deny, entry 1)",
        "the server's lists hold here, too"
    );
}

#[test]
fn clients_that_are_proxies_as_well_are_said_once() {
    let config = good("clients-and-proxies.toml");
    let advice: Vec<_> = config
        .advice
        .iter()
        .filter(|advice| advice.key.ends_with("access.allow"))
        .map(|advice| format!("{} (line {}): {}", advice.key, advice.line.unwrap(), advice.text))
        .collect();
    assert_eq!(
        advice,
        [
            "access.allow (line 6): `198.51.100.0/25` are clients, and listener `smtp` trusts `198.51.100.0/24`: whoever \
             connects from both without a header is refused, and with one can claim to be any client; list the proxies' \
             own addresses there",
            "server.listener.imap.access.allow (line 19): `2001:db8::/32` are clients, and listener `imap` trusts \
             `2001:db8:1::/48`: whoever connects from both without a header is refused, and with one can claim to be any \
             client; list the proxies' own addresses there",
        ]
    );
}

#[test]
fn limits_are_inherited_and_overridden() {
    let config = good("limits.toml");
    assert_eq!(config.server.max_clients, 5000);
    let advice: Vec<_> = config.advice.iter().map(|advice| advice.text.as_str()).collect();
    assert_eq!(
        advice,
        ["is never reached: accepting pauses at `server.max-connections = 400` (line 13)"],
        "refusing must begin below pausing"
    );
    let number = |count: u32| NonZeroU32::new(count);
    let rate = |count: u32, seconds: u64| Rate::new(number(count).unwrap(), Duration::from_secs(seconds));
    let addr = |text: &str| text.parse::<IpAddr>().unwrap();

    let inherits = &listener(&config, "inherits").limits;
    assert_eq!((inherits.connections_per_client, inherits.rate_per_client), (number(20), rate(60, 60)));
    assert_eq!((inherits.server_connections, inherits.listener_connections), (number(400), None));
    assert_eq!(inherits.prefixes.group(addr("2001:db8:0:ff::1")).to_string(), "2001:db8::/56");
    assert_eq!(inherits.prefixes.group(addr("203.0.113.7")).to_string(), "203.0.113.7/32");
    assert!(inherits.exempt.contains(addr("192.0.2.53")));
    assert_eq!(inherits.mode, Mode::Observe);

    let overrides = &listener(&config, "overrides").limits;
    assert_eq!((overrides.connections_per_client, overrides.rate_per_client), (None, rate(5, 10)));
    assert_eq!((overrides.server_connections, overrides.listener_connections), (number(400), number(100)));
    assert_eq!(overrides.prefixes.group(addr("203.0.113.7")).to_string(), "203.0.113.0/24");
    assert!(overrides.exempt.is_empty());
    assert_eq!(overrides.mode, Mode::Enforce);
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = good("smallest.toml");
    assert_eq!(config.server.hostname, "host.example.org");
    assert_eq!(config.server.max_connections, None);
    assert_eq!((config.log.format, &config.log.target), (LogFormat::Text, &LogTarget::Stderr));
    let mx = listener(&config, "mx");
    assert_eq!(mx.backend.kind, Kind::Whoami);
    assert_eq!(mx.backend.addresses, []);
    assert_eq!(mx.trust.decide(tcp("127.0.0.1")), TrustDecision::Direct, "nobody is trusted by default");
    assert_eq!(good("blind.toml").backends[0].handoff, Handoff::None);
}

#[test]
fn every_kind_has_its_defaults_and_tlvs_are_chosen_by_name() {
    let config = good("kinds.toml");
    let backend = |id: &str| config.backends.iter().find(|backend| &*backend.id == id).unwrap();
    for id in
        ["postfix", "postscreen", "dovecot", "exim", "opensmtpd", "stalwart", "haproxy", "varnish", "mariadb"]
    {
        assert_eq!((backend(id).kind.facts().name, backend(id).handoff), (id, Handoff::ProxyV2));
    }
    for (id, choice) in [
        ("postfix", TlvChoice::Kind),
        ("dovecot", TlvChoice::All),
        ("exim", TlvChoice::Only(FactSet::NONE)),
        ("opensmtpd", TlvChoice::Kind),
        ("stalwart", TlvChoice::Only(FactSet::of(&[Fact::Ssl, Fact::UniqueId]))),
        ("named", TlvChoice::Only(FactSet::of(&[Fact::Ssl, Fact::Alpn]))),
    ] {
        assert_eq!(backend(id).tlvs, choice, "{id}");
    }
    let said = |key: &str| config.advice.iter().find(|advice| advice.key == key).unwrap().text.clone();
    let nginx = said("backend.nginx.tlvs");
    assert!(nginx.contains("has no effect") && nginx.contains("proxy-v1"), "{nginx}");
    let named = said("backend.named.tlvs");
    assert!(named.contains("`\"alpn\"` may break Dovecot") && !named.contains("ssl"), "{named}");
}

#[test]
fn a_listeners_own_list_of_names_or_networks_replaces_both() {
    let config = good("names.toml");
    assert_eq!(config.server.names_refresh, Duration::from_secs(30));
    assert_eq!(config.advice, [], "names alone are somebody");
    for (id, names, networks) in [
        ("inherits", &["traefik", "tasks.haproxy"][..], &["192.0.2.10"][..]),
        ("names", &["envoy"], &[]),
        ("networks", &[], &["192.0.2.20"]),
        ("both", &["envoy"], &["192.0.2.30"]),
        ("off", &[], &[]),
    ] {
        let listener = listener(&config, id);
        let said: Vec<_> = listener.trusted_names.iter().map(|said| &*said.name).collect();
        assert_eq!(said, names, "{id}");
        let trusted = ["192.0.2.10", "192.0.2.20", "192.0.2.30"]
            .into_iter()
            .filter(|addr| listener.trust.decide(tcp(addr)) == TrustDecision::ExpectHeader);
        assert_eq!(trusted.collect::<Vec<_>>(), networks, "{id}");
    }
}

#[test]
fn a_system_without_a_usable_name_is_localhost() {
    let text = fs::read_to_string(testdata().join("good/smallest.toml")).unwrap();
    for hostname in ["", "(none)", "two words", "a\r\n250 b"] {
        let around = Surroundings { hostname: hostname.to_owned(), ..Surroundings::default() };
        let config = config::resolve(&text, "truepeer.toml", &around).unwrap();
        assert_eq!(config.server.hostname, "localhost");
        assert_eq!(config.advice.len(), 1);
    }
}

#[test]
fn what_a_backends_socket_is_to_say_and_where_it_is_made() {
    let config = good("labels.toml");
    let backend = |id: &str| config.backends.iter().find(|backend| &*backend.id == id).unwrap();
    let said = LabelSettings {
        cgroup: Some(CgroupName::Unit("postfix@-.service".to_owned())),
        destination: LabelDestination::Clients,
        substitute: Some([192, 0, 2, 66].into()),
    };
    assert_eq!((backend("postfix").handoff, &backend("postfix").label), (Handoff::Label, &said));
    assert_eq!(good("smallest.toml").backends[0].label, LabelSettings::default());
}

#[test]
fn what_is_valid_but_surprising_draws_advice() {
    for name in ["advice", "missing_header", "labels"] {
        let advice: Vec<_> = good(&format!("{name}.toml"))
            .advice
            .iter()
            .map(|advice| format!("{}: {}: {}\n", advice.line.unwrap(), advice.key, advice.text))
            .collect();
        expect_file(&testdata().join(format!("good/{name}.expected")), &advice.concat());
    }
}

#[test]
fn a_file_that_cannot_be_read_names_its_path_and_the_cause() {
    let dir = std::env::temp_dir().join(format!("truepeer-config-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let binary = dir.join("binary.toml");
    fs::write(&binary, b"[server]\nhostname = \"\xff\"\n").unwrap();
    for (path, cause) in [
        (dir.join("absent.toml"), "there is no such file"),
        (dir.clone(), "this is a directory, not a file"),
        (binary.clone(), "line 2 is not UTF-8 (byte 21 of the file)"),
    ] {
        let errors = config::load(Some(&path)).unwrap_err();
        let name = path.display();
        let expected = format!("error: {cause}\n--> {name}\n\n{name}: 1 error");
        assert_eq!(errors.to_string(), expected);
    }
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_named_file_is_read() {
    let path = testdata().join("good/mail.toml");
    let loaded = config::load(Some(&path)).unwrap();
    assert_eq!(loaded.origin, Origin::File(path));
    assert_eq!(loaded.config.listeners.len(), 2);
}

#[test]
fn the_demonstration_listens_on_loopback_only() {
    let text = include_str!("../src/config/embedded.toml");
    let config = resolve(text).unwrap();
    assert_eq!(config.listeners.len(), 4);
    for listener in &config.listeners {
        assert_eq!(listener.backend.kind, Kind::Whoami);
        for bind in &listener.binds {
            assert!(matches!(bind, Bind::Tcp { addr, .. } if addr.ip().is_loopback() && addr.port() == 0));
        }
    }
}

#[test]
fn colour_is_for_those_who_ask() {
    let errors = resolve("x = 1").unwrap_err();
    assert!(!errors.render(Colour::Plain).contains('\x1b'));
    assert!(errors.render(Colour::Styled).contains('\x1b'));
}

#[test]
fn problems_carry_their_lines() {
    let errors = resolve("\n\nx = 1\n").unwrap_err();
    let lines: Vec<_> = errors.problems().map(|(line, problem)| (line, problem.title().to_owned())).collect();
    assert_eq!(lines, [(None, "there is no listener".to_owned()), (Some(3), "unknown key `x`".to_owned())]);
}

#[test]
fn control_characters_of_a_file_never_reach_the_terminal() {
    let text = "\"\\u001b[31m\" = 1\n[server]\nhostname = \"\\u001b]0;x\\u0007\"\n[server.listener.\"\\u001b\"]\nbackend = \"\\u001b\"\n";
    let rendered = config::resolve(text, "\x1b.toml", &surroundings()).unwrap_err().to_string();
    assert!(!rendered.contains(|letter: char| letter.is_control() && letter != '\n'), "{rendered:?}");
}

#[test]
fn any_text_gets_an_answer() {
    let mut texts: Vec<String> = Vec::new();
    for entry in fs::read_dir(testdata().join("good")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
    assert!(texts.len() >= 7);
    for text in &texts {
        // Cut short at every letter, and with every line taken out.
        for (at, _) in text.char_indices() {
            if let Err(errors) = resolve(&text[..at]) {
                assert!(errors.problems().next().is_some());
                let _ = errors.to_string();
            }
        }
        let lines: Vec<_> = text.lines().collect();
        for out in 0..lines.len() {
            let rest: Vec<_> =
                lines.iter().enumerate().filter(|(at, _)| *at != out).map(|(_, line)| *line).collect();
            if let Err(errors) = resolve(&rest.join("\n")) {
                assert!(errors.problems().next().is_some());
                let _ = errors.to_string();
            }
        }
    }
}

#[test]
fn files_from_other_systems_resolve_and_keep_their_lines() {
    let text = fs::read_to_string(testdata().join("good/dotted.toml")).unwrap();
    let odd = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    assert_eq!(format!("{:?}", resolve(&odd).unwrap()), format!("{:?}", resolve(&text).unwrap()));
    let errors = resolve(&format!("{odd}x = 1\r\n")).unwrap_err();
    assert_eq!(errors.problems().next().unwrap().0, Some(text.lines().count() + 1));
}

#[test]
fn the_reference_is_current() {
    expect_file(&repository().join("docs/config.md"), &config::reference());
}

#[test]
fn the_sample_is_current_and_resolves() {
    let sample = config::sample();
    expect_file(&repository().join("packaging/examples/truepeer.toml"), &sample);
    let config = resolve(&sample).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.advice, []);
}

#[test]
fn every_line_of_the_sample_is_valid() {
    let sample = config::sample();
    let mut tried = 0;
    for line in
        sample.lines().filter(|line| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1)
    {
        let mut text = sample.replacen(line, &line[1..], 1);
        if line.starts_with("#socket-mode") {
            text = text.replace("bind = \"[::]:25\"", "bind = \"unix:/run/truepeer/smtp.sock\"");
        }
        resolve(&text).unwrap_or_else(|errors| panic!("{line}\n{errors}"));
        tried += 1;
    }
    assert!(tried >= 14, "{tried} lines");
}

#[test]
fn a_default_that_is_written_down_is_the_default() {
    // The sample shows defaults behind `#`; in force, they change nothing.
    let sample = config::sample();
    let plain = format!("{:?}", resolve(&sample).unwrap());
    for (name, value) in [
        ("drain-timeout", "\"30s\""),
        ("trusted-names-refresh", "\"10s\""),
        ("unlisted", "\"direct\""),
        ("header-timeout", "\"5s\""),
        ("versions", "[\"v1\", \"v2\"]"),
        ("missing-header", "\"refuse\""),
        ("unsafe-accept-implausible-clients", "false"),
        ("max-pending", "16384"),
        ("tls.implicit", "false"),
        ("require-secure", "false"),
        ("when-backend-down", "\"answer\""),
        ("connect-timeout", "\"5s\""),
        ("proof-timeout", "\"5m\""),
        ("sees-only-truepeer", "false"),
        ("ipv4-prefix", "32"),
        ("ipv6-prefix", "64"),
        ("default", "\"allow\""),
        ("mode", "\"enforce\""),
        ("max-clients", "131072"),
        ("format", "\"text\""),
    ] {
        let line = format!("#{name} = {value}\n");
        assert!(sample.contains(&line), "{line}");
        let said = resolve(&sample.replace(&line, &line[1..])).unwrap();
        assert_eq!(format!("{said:?}"), plain, "{name}");
    }
}

#[test]
fn sessions_that_last_are_logged_at_their_start_unless_the_file_says_otherwise() {
    let config = |protocol: Protocol, log: &str| {
        let text = format!(
            "server.listener.x = {{ bind = \"127.0.0.1:0\", protocol = \"{protocol}\", backend = \"x\" }}\n\
             backend.x = {{ handoff = \"proxy-v2\", address = \"127.0.0.1:1\" }}\n{log}"
        );
        resolve(&text).unwrap_or_else(|errors| panic!("{errors}")).listeners[0].lines
    };
    for protocol in Protocol::ALL {
        let long = matches!(protocol, Protocol::Imap | Protocol::Pop3 | Protocol::ManageSieve);
        let default = if long { ConnectionLines::Both } else { ConnectionLines::End };
        assert_eq!(config(protocol, ""), default, "{protocol}");
        assert_eq!(config(protocol, "log.connections = \"both\"\n"), ConnectionLines::Both, "{protocol}");
        assert_eq!(config(protocol, "log.connections = \"end\"\n"), ConnectionLines::End, "{protocol}");
    }
}

#[test]
fn every_key_can_be_explained() {
    let page = config::reference();
    let keys: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("- Key: ")).collect();
    assert_eq!(keys.len(), 77);
    for key in keys.iter().flat_map(|keys| keys.split(" or ")).map(|key| key.trim_matches('`')) {
        let text = config::explain(key).unwrap_or_else(|| panic!("{key}"));
        assert!(text.contains(key), "{text}");
        assert_eq!(config::explain(&key.replace("<id>", "smtp")), Some(text));
    }
    let timeout = config::explain("header-timeout").unwrap();
    assert!(timeout.contains("Default: `\"5s\"`") && timeout.contains("At least `\"3s\"`"), "{timeout}");
    for unknown in ["", ".", "server", "server.listener..bind", "frobnicate", "server.bind"] {
        assert_eq!(config::explain(unknown), None, "{unknown}");
    }
}

#[test]
fn every_setting_is_read() {
    const SMALLEST: [(&str, &str); 5] = [
        ("server.listener.x.bind", "\"unix:/run/x\""),
        ("server.listener.x.protocol", "\"smtp\""),
        ("server.listener.x.backend", "\"x\""),
        ("backend.x.handoff", "\"proxy-v2\""),
        ("backend.x.address", "\"127.0.0.1:25\""),
    ];
    let page = config::reference();
    let keys =
        page.lines().filter_map(|line| line.strip_prefix("- Key: ")).flat_map(|keys| keys.split(" or "));
    for key in keys.map(|key| key.trim_matches('`').replace("<id>", "x")) {
        let others = SMALLEST.iter().filter(|(other, _)| *other != key);
        let text: String = others.map(|(key, value)| format!("{key} = {value}\n")).collect();
        let errors = resolve(&format!("{text}{key} = 1979-05-27\n")).unwrap_err();
        let titles: Vec<_> = errors.problems().map(|(_, problem)| problem.title().to_owned()).collect();
        assert_eq!(titles.len(), 1, "{key}: {titles:?}");
        assert!(titles[0].starts_with(&format!("`{key}` must be ")), "{titles:?}");
    }
}
