//! Backends that are connected to from the client's own address, each in a network namespace of the test's own.
//!
//! As root only; otherwise, or where namespaces are not allowed, the cases are skipped aloud, and with
//! `TRUEPEER_REQUIRE=transparent` they fail. The last assertion of each: no client appears as us.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "what is skipped is said")]

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use support::fake::Fake;
use support::namespace::{Container, enter, run};
use support::shown::{V4, V6, assert_nobody_is_another, assert_nobody_is_us, client};
use support::{House, Plan, expect, read_to_end};
use truepeer_gateway::config;
use truepeer_gateway::engine::transparent::Need;
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::backend::{BackendAddress, Readiness, Unready};
use truepeer_gateway::rooms::handoff::Handoff;

/// Does `work` in a namespace of its own, whose loopback is up, once `commands` have run there.
fn alone(commands: &[&str], work: impl FnOnce() + Send + 'static) {
    let commands: Vec<_> = commands.iter().map(|command| (*command).to_owned()).collect();
    let done = std::thread::spawn(move || {
        let Some(_keeper) = enter() else {
            let why = "not root, or no `unshare` or `ip`, or no namespaces";
            let required = std::env::var("TRUEPEER_REQUIRE").is_ok_and(|list| list.contains("transparent"));
            assert!(!required, "{why}");
            eprintln!("SKIPPED (LOUD): transparent: {why}");
            return;
        };
        run("ip link set lo up");
        commands.iter().for_each(|command| run(command));
        work();
    });
    if let Err(panic) = done.join() {
        std::panic::resume_unwind(panic);
    }
}

/// What the product says that a host needs, but for `without` and the right, which root has.
fn commands(backend: &str, without: &[Need]) -> Vec<&'static str> {
    let backend: IpAddr = backend.parse().unwrap();
    let needed = Need::ALL.into_iter().filter(|need| *need != Need::Right && !without.contains(need));
    needed.map(|need| need.command(backend)).collect()
}

/// Says to each connection from where it came, and tells it at the end with all that it heard.
fn mirror(ip: &str) -> Fake {
    mirror_at(SocketAddr::new(ip.parse().unwrap(), 0))
}

fn mirror_at(address: SocketAddr) -> Fake {
    let listener = TcpListener::bind(address).unwrap();
    Fake::on(listener, |mut stream: TcpStream| {
        let from = stream.peer_addr().unwrap();
        let _ = stream.write_all(format!("you are {from}\n").as_bytes());
        let mut heard = format!("{} ", from.ip()).into_bytes();
        let _ = stream.read_to_end(&mut heard);
        heard
    })
}

fn plan(backend: SocketAddr) -> Plan {
    let mut plan = Plan::new(Protocol::Tcp, Handoff::Transparent, backend);
    plan.connect_timeout = Duration::from_secs(1);
    plan
}

#[track_caller]
fn assert_refused(house: &House, commands: &[&str]) {
    let found = house.readiness();
    let Readiness::Unready(Unready::RefusesHandoff { saw }) = &*found else { panic!("{found:?}") };
    let lacking = commands.iter().map(|command| format!("`{command}`")).collect::<Vec<_>>().join(", ");
    assert!(saw.ends_with(&format!("this host lacks {lacking}")), "{saw}");
    let mut client = client(house, V4);
    let _ = client.write_all(b"secret");
    assert_eq!(read_to_end(&client), b"");
    house.record().assert_outcome(Outcome::BackendUnready);
}

#[test]
fn a_backend_sees_the_clients_address_and_port_in_both_families() {
    for (ip, header, words) in
        [("127.0.0.1", V4, "you are 203.0.113.7:4711\n"), ("::1", V6, "you are [2001:db8::7]:4711\n")]
    {
        alone(&commands(ip, &[]), move || {
            let backend = mirror(ip);
            let house = plan(backend.address).start();
            assert_eq!(*house.readiness(), Readiness::Proved);
            let mut client = client(&house, header);
            expect(&client, words.as_bytes());
            client.write_all(b"secret").unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(read_to_end(&client), b"");
            let record = house.record();
            record.assert_outcome(Outcome::Done);
            record.assert(&[("handoff", "transparent")]);
            assert_eq!(record.get("substituted"), None);
            house.finish();
            assert_nobody_is_us(backend);
        });
    }
}

#[test]
fn a_rule_by_source_does_as_well_for_a_backend_on_loopback() {
    let rule = "ip rule add from 127.0.0.0/8 iif lo lookup 100";
    let others = [Need::Accept, Need::Reflect, Need::Rule];
    let mut needed = commands("127.0.0.1", &others);
    needed.push(rule);
    alone(&needed, || {
        let backend = mirror("127.0.0.1");
        let house = plan(backend.address).start();
        assert_eq!(*house.readiness(), Readiness::Proved);
        expect(&client(&house, V4), b"you are 203.0.113.7:4711\n");
        house.finish();
        assert_nobody_is_us(backend);
    });
}

#[test]
fn a_rule_for_one_port_does_as_well_and_the_next_port_is_not_reached() {
    let others = [Need::Accept, Need::Reflect, Need::Rule];
    alone(&commands("127.0.0.1", &others), || {
        let (backend, other) = (mirror("127.0.0.1"), mirror("127.0.0.1"));
        let port = backend.address.port();
        run(&format!("ip rule add from 127.0.0.0/8 iif lo ipproto tcp sport {port} lookup 100"));
        let house = plan(backend.address).start();
        assert_eq!(*house.readiness(), Readiness::Proved);
        expect(&client(&house, V4), b"you are 203.0.113.7:4711\n");
        house.finish();
        let house = plan(other.address).start();
        assert!(matches!(&*house.readiness(), Readiness::Unready(_)));
        house.finish();
        assert_nobody_is_us(backend);
        assert_nobody_is_us(other);
    });
}

#[test]
fn a_client_that_is_gone_before_the_backend_accepts_is_still_itself() {
    alone(&commands("127.0.0.1", &[]), || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let house = plan(listener.local_addr().unwrap()).start();
        let mut lost = client(&house, V4);
        lost.write_all(b"secret").unwrap();
        lost.shutdown(std::net::Shutdown::Write).unwrap();
        // Its bytes wait with the connection, which nobody has accepted.
        house.wait_for_open(1);
        drop(lost);
        let mut said = Vec::new();
        while said.is_empty() {
            let (mut stream, who) = listener.accept().unwrap();
            let _ = stream.read_to_end(&mut said);
            let is_itself = who.to_string() == "203.0.113.7:4711";
            assert!(said.is_empty() || is_itself, "a client appears as us: {who}");
        }
        assert_eq!(said, b"secret");
        house.finish();
    });
}

#[test]
fn a_backend_that_restarts_is_served_again_and_a_way_back_that_is_gone_lets_nobody_through() {
    alone(&commands("127.0.0.1", &[]), || {
        let backend = mirror("127.0.0.1");
        let address = backend.address;
        let house = plan(address).start();
        expect(&client(&house, V4), b"you are 203.0.113.7:4711\n");
        assert_nobody_is_us(backend);
        // Whoever comes meanwhile hears a refusal.
        let mut lost = client(&house, V4);
        let _ = lost.write_all(b"secret");
        assert_eq!(read_to_end(&lost), b"");
        let backend = mirror_at(address);
        let served = || {
            let client = client(&house, V4);
            matches!((&client).read(&mut [0; 3]), Ok(3))
        };
        assert!(support::eventually(served));
        // The rule goes, as when somebody restarts the network.
        run("ip rule del fwmark 0x7e0 lookup 100");
        let mut lost = client(&house, V4);
        let _ = lost.write_all(b"secret");
        assert_eq!(read_to_end(&lost), b"");
        house.finish();
        assert_nobody_is_us(backend);
    });
}

/// A server in a namespace of its own, as in a container, at its own address: its answers come through this host.
#[test]
fn a_container_is_reached_at_its_own_address_by_two_more_rules_which_are_named() {
    alone(&commands("127.0.0.1", &[]), || {
        let container = Container::start(|| mirror("10.84.0.2"));
        let address = container.server;
        let house = plan(address).start();
        let found = house.readiness();
        let Readiness::Unready(Unready::RefusesHandoff { saw }) = &*found else { panic!("{found:?}") };
        let rules = [
            "ip rule add pref 98 to 10.84.0.2 lookup main".to_owned(),
            format!("ip rule add pref 99 from 10.84.0.2 ipproto tcp sport {} lookup 100", address.port()),
        ];
        assert!(saw.starts_with("it answers this host, and not a client's address ("), "{saw}");
        for rule in &rules {
            assert!(saw.contains(&format!("`{rule}`")), "{saw}");
        }
        let mut lost = client(&house, V4);
        let _ = lost.write_all(b"secret");
        assert_eq!(read_to_end(&lost), b"");
        house.finish();
        let config = std::env::temp_dir().join(format!("truepeer-container-{}.toml", std::process::id()));
        let text = format!(
            "[server]\nhostname = \"mx.example\"\n[backend.b]\nhandoff = \"transparent\"\naddress = \"{address}\"\n\
             [server.listener.door]\nbind = \"127.0.0.1:2525\"\nprotocol = \"smtp\"\nbackend = \"b\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let lacks = || {
            let said = printed(&["check", "--config", config.to_str().unwrap()]);
            rules.iter().filter(|rule| said.contains(&format!("this host lacks `{rule}`"))).count()
        };
        assert_eq!(lacks(), 2);
        rules.iter().for_each(|rule| run(rule));
        assert_eq!(lacks(), 0);
        std::fs::remove_file(&config).unwrap();
        let mut plan = plan(address);
        plan.connect_timeout = Duration::from_secs(10);
        let house = plan.start();
        assert_eq!(*house.readiness(), Readiness::Proved);
        expect(&client(&house, V4), b"you are 203.0.113.7:4711\n");
        house.finish();
        container.end();
    });
}

/// Docker's userland proxy, by its words alone, which say where it leads.
#[test]
fn docker_proxy_in_between_is_named_with_the_containers_own_address() {
    use std::os::unix::process::CommandExt;
    alone(&commands("127.0.0.1", &[]), || {
        let backend = mirror("127.0.0.1");
        let port = backend.address.port().to_string();
        let words = ["-s", "--", "-proto", "tcp", "-host-ip", "0.0.0.0", "-host-port", &port];
        let mut proxy = Command::new("sh");
        proxy.arg0("docker-proxy").args(words).args(["-container-ip", "10.84.0.2", "-container-port", "25"]);
        let mut proxy = proxy.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let house = plan(backend.address).start();
        let found = house.readiness();
        drop(proxy.stdin.take());
        proxy.wait().unwrap();
        let Readiness::Unready(Unready::RefusesHandoff { saw }) = &*found else { panic!("{found:?}") };
        assert!(saw.starts_with("docker-proxy listens at 127.0.0.1:"), "{saw}");
        assert!(saw.contains("`address = \"10.84.0.2:25\"`"), "{saw}");
        house.finish();
        assert_nobody_is_us(backend);
    });
}

#[test]
fn what_is_missing_is_named_as_its_command_and_no_client_gets_through() {
    // From outside the kernel a missing rule and a missing route look alike.
    let way = ["ip rule add fwmark 0x7e0 lookup 100", "ip route replace local 0.0.0.0/0 dev lo table 100"];
    let accept = "sysctl -w net.ipv4.tcp_fwmark_accept=1";
    for (without, named) in [
        (vec![Need::Rule], way.to_vec()),
        (vec![Need::Route], way.to_vec()),
        (vec![Need::Accept], vec![accept]),
        (
            vec![Need::Accept, Need::Reflect, Need::Rule, Need::Route],
            vec![accept, "sysctl -w net.ipv4.fwmark_reflect=1", way[0], way[1]],
        ),
    ] {
        alone(&commands("127.0.0.1", &without), move || {
            let backend = mirror("127.0.0.1");
            let house = plan(backend.address).start();
            assert_refused(&house, &named);
            house.finish();
            assert_nobody_is_us(backend);
        });
    }
}

#[test]
fn what_is_missing_for_ipv6_is_told_from_a_way_that_leads_elsewhere() {
    let elsewhere = [
        "ip link add v0 type veth peer name v1",
        "ip link set v0 up",
        "ip -6 addr add 2001:db8:5::1/64 dev v0 nodad",
        "ip -6 route add default via 2001:db8:5::9 dev v0",
    ];
    let way = ["ip -6 rule add fwmark 0x7e0 lookup 100", "ip -6 route replace local ::/0 dev lo table 100"];
    for without in [vec![], vec![Need::Rule]] {
        let setup: Vec<_> = elsewhere.into_iter().chain(commands("::1", &without)).collect();
        alone(&setup, move || {
            let backend = mirror("::1");
            let house = plan(backend.address).start();
            if without.is_empty() {
                assert_eq!(*house.readiness(), Readiness::Proved);
                expect(&client(&house, V6), b"you are [2001:db8::7]:4711\n");
            } else {
                assert_refused(&house, &way);
            }
            house.finish();
            assert_nobody_is_us(backend);
        });
    }
}

#[test]
fn a_port_where_nobody_listens_is_told_from_a_missing_way_back() {
    alone(&commands("127.0.0.1", &[]), || {
        let nobody = support::fake::Nobody::new();
        let house = plan(nobody.address()).start();
        let found = house.readiness();
        assert!(matches!(&*found, Readiness::Unready(Unready::Unreachable { .. })), "{found:?}");
    });
    alone(&commands("127.0.0.1", &[Need::Reflect]), || {
        let nobody = support::fake::Nobody::new();
        let house = plan(nobody.address()).start();
        assert_refused(&house, &["sysctl -w net.ipv4.fwmark_reflect=1"]);
    });
}

#[test]
fn without_the_right_nobody_is_handed_over() {
    alone(&commands("127.0.0.1", &[]), || {
        let backend = mirror("127.0.0.1");
        let mut sets = capabilities(None).unwrap();
        for set in [&mut sets.effective, &mut sets.permitted] {
            set.remove(CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW);
        }
        // This thread's, and those of the workers that it starts.
        set_capabilities(None, sets).unwrap();
        let house = plan(backend.address).start();
        let right: IpAddr = [127, 0, 0, 1].into();
        assert_refused(&house, &[Need::Right.command(right)]);
        house.finish();
        assert_nobody_is_us(backend);
    });
}

#[test]
fn a_port_that_the_client_has_in_use_is_replaced_and_said() {
    alone(&commands("127.0.0.1", &[]), || {
        let backend = mirror("127.0.0.1");
        let house = plan(backend.address).start();
        let first = client(&house, V4);
        expect(&first, b"you are 203.0.113.7:4711\n");
        let second = client(&house, V4);
        expect(&second, b"you are 203.0.113.7:");
        drop(second);
        house.record().assert(&[("client", "203.0.113.7:4711"), ("substituted", "client_port")]);
        drop(first);
        house.finish();
        assert_nobody_is_us(backend);
    });
}

#[test]
fn families_are_not_mixed_and_an_address_of_the_other_one_is_tried() {
    let both: Vec<_> = commands("127.0.0.1", &[]).into_iter().chain(commands("::1", &[])).collect();
    alone(&both, || {
        let (v4, v6) = (mirror("127.0.0.1"), mirror("::1"));
        let house = plan(v4.address).start();
        assert_eq!(*house.readiness(), Readiness::Proved);
        let mut lost = client(&house, V6);
        let _ = lost.write_all(b"secret");
        assert_eq!(read_to_end(&lost), b"");
        let record = house.record();
        record.assert_outcome(Outcome::HandoffRefused);
        let (cause, remedy) = (record.get("cause").unwrap(), record.get("remedy").unwrap());
        assert!(cause.ends_with("a client of IPv6 reaches only IPv6 as itself"), "{cause}");
        assert!(remedy.starts_with("give the backend an address of each family"), "{remedy}");
        assert_eq!(*house.readiness(), Readiness::Proved);
        house.finish();
        // With an address of each family, each client reaches its own.
        let mut plan = plan(v4.address);
        plan.addresses.push(BackendAddress::Socket(v6.address));
        let house = plan.start();
        for _ in 0..2 {
            expect(&client(&house, V4), b"you are 203.0.113.7:");
            expect(&client(&house, V6), b"you are [2001:db8::7]:");
        }
        house.finish();
        assert_nobody_is_us(v4);
        assert_nobody_is_us(v6);
    });
}

#[test]
fn who_comes_to_the_same_backend_directly_is_not_disturbed() {
    alone(&commands("127.0.0.1", &[]), || {
        let backend = mirror("127.0.0.1");
        let house = plan(backend.address).start();
        expect(&client(&house, V4), b"you are 203.0.113.7:4711\n");
        expect(&TcpStream::connect(backend.address).unwrap(), b"you are 127.0.0.1:");
        house.finish();
        assert_nobody_is_us(backend);
    });
}

#[test]
fn a_client_on_this_very_host_is_itself_with_another_port() {
    alone(&commands("127.0.0.1", &[]), || {
        let backend = mirror("127.0.0.1");
        let house = plan(backend.address).start();
        let direct = house.connect_from([127, 0, 0, 9].into());
        expect(&direct, b"you are 127.0.0.9:");
        drop(direct);
        // Its own socket has the port.
        house.record().assert(&[("substituted", "client_port"), ("source", "direct")]);
        house.finish();
        assert_nobody_is_us(backend);
    });
}

/// What the program prints in this thread's namespace.
fn printed(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_truepeer")).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn check_says_what_is_missing_and_nothing_more_once_the_snippet_has_run() {
    let config = std::env::temp_dir().join(format!("truepeer-transparent-{}.toml", std::process::id()));
    let text = "[server]\nhostname = \"mx.example\"\n\
                [backend.b]\nhandoff = \"transparent\"\naddress = [\"127.0.0.1:25\", \"[::1]:25\"]\n\
                [server.listener.door]\nbind = \"127.0.0.1:2525\"\nprotocol = \"smtp\"\nbackend = \"b\"\n";
    std::fs::write(&config, text).unwrap();
    let path = config.clone();
    alone(&[], move || {
        let path = path.to_str().unwrap();
        let lacks = |said: &str| said.lines().filter(|line| line.contains("this host lacks `")).count();
        let before = printed(&["check", "--config", path]);
        // Both families: two rules, two routes, two of one sysctl and one of the other.
        assert_eq!(lacks(&before), 7, "{before}");
        assert!(
            before.contains("backend.b.handoff: `transparent` needs CAP_NET_ADMIN, a rule, a route"),
            "{before}"
        );
        let snippet = printed(&["snippet", "transparent"]);
        let commands = snippet.lines().skip(1).take_while(|line| !line.is_empty());
        commands.filter(|line| !line.starts_with("setcap")).for_each(run);
        let after = printed(&["check", "--config", path]);
        assert_eq!(lacks(&after), 0, "{after}");
    });
    std::fs::remove_file(config).unwrap();
}

#[test]
fn a_unix_socket_cannot_show_an_address() {
    let text = "[server]\nhostname = \"mx.example\"\n\
                [backend.b]\nhandoff = \"transparent\"\naddress = \"unix:/run/b\"\n\
                [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"b\"\n";
    let errors = config::resolve(text, "t.toml", &config::Surroundings::default()).unwrap_err();
    let titles: Vec<_> = errors.problems().map(|(_, problem)| problem.title().to_owned()).collect();
    assert_eq!(titles, ["`handoff = \"transparent\"` needs a backend with an IP address"]);
}

/// Each client says who it is, and the backend compares that with what its accept said. `TRUEPEER_STRESS` is how many
/// clients each of four threads plays.
#[test]
fn under_load_nobody_is_taken_for_somebody_else() {
    alone(&commands("127.0.0.1", &[]), || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_nobody_is_another(&listener, plan(listener.local_addr().unwrap()));
    });
}
