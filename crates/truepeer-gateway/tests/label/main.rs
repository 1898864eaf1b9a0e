//! Backends whose own sockets say who the client is, each made in a control group of the test's own.
//!
//! With CAP_BPF and CAP_NET_ADMIN only; without, or without control groups of version 2, the cases are skipped aloud,
//! and with `TRUEPEER_REQUIRE=label` they fail. The last assertion of each: no client appears as us.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "what is skipped is said")]

mod exec;
mod host;
#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use support::cgroup::{Cgroup, listen_outside};
use support::fake::Fake;
use support::shown::{V4, V6, assert_nobody_is_another, assert_nobody_is_us, client};
use support::{House, Plan, expect, read_to_end};
use truepeer_gateway::facts::cgroup::CgroupName;
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::backend::{Readiness, Unready};
use truepeer_gateway::rooms::handoff::{Handoff, LabelDestination};

/// A control group for `name`; `None` if there can be none here, which is said.
fn cgroup(name: &str) -> Option<Cgroup> {
    match Cgroup::new(name) {
        Ok(cgroup) => Some(cgroup),
        Err(why) => {
            let required = std::env::var("TRUEPEER_REQUIRE").is_ok_and(|list| list.contains("label"));
            assert!(!required, "{why}");
            eprintln!("SKIPPED (LOUD): label: {why}");
            None
        }
    }
}

/// Says to each connection what its socket says of both ends, and tells it at the end with all that it heard.
fn mirror(listener: TcpListener) -> Fake {
    Fake::on(listener, |mut stream: TcpStream| {
        let (from, to) = (stream.peer_addr().unwrap(), stream.local_addr().unwrap());
        let _ = stream.write_all(format!("you are {from}, at {to}\n").as_bytes());
        let mut heard = format!("{} ", from.ip().to_canonical()).into_bytes();
        let _ = stream.read_to_end(&mut heard);
        heard
    })
}

fn at(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), 0)
}

fn plan(backend: SocketAddr) -> Plan {
    let mut plan = Plan::new(Protocol::Tcp, Handoff::Label, backend);
    plan.connect_timeout = Duration::from_secs(2);
    plan
}

/// The only backend takes nobody, for a reason in which each of `words` stands, and a client hears so.
#[track_caller]
fn assert_refused(house: &House, words: &[&str]) {
    let found = house.readiness();
    let Readiness::Unready(Unready::RefusesHandoff { saw }) = &*found else { panic!("{found:?}") };
    for word in words {
        assert!(saw.contains(word), "{word} in: {saw}");
    }
    let mut client = client(house, V4);
    let _ = client.write_all(b"secret");
    assert_eq!(read_to_end(&client), b"");
    house.record().assert_outcome(Outcome::BackendUnready);
}

#[test]
fn a_backends_own_socket_says_the_clients_address_and_port() {
    let Some(cgroup) = cgroup("both") else { return };
    for (ip, header, words) in [
        ("127.0.0.1", V4, "you are 203.0.113.7:4711, at 127.0.0.1:"),
        ("::1", V6, "you are [2001:db8::7]:4711, at [::1]:"),
        ("::1", V4, "you are [::ffff:203.0.113.7]:4711, at [::1]:"),
    ] {
        let backend = mirror(cgroup.listen(at(ip)));
        let house = plan(backend.address).start();
        assert_eq!(*house.readiness(), Readiness::Proved);
        let mut client = client(&house, header);
        expect(&client, words.as_bytes());
        client.write_all(b"secret").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(read_to_end(&client).ends_with(b"\n"));
        let record = house.record();
        record.assert_outcome(Outcome::Done);
        record.assert(&[("handoff", "label")]);
        assert_eq!(record.get("substituted"), None);
        house.finish();
        assert_nobody_is_us(backend);
    }
}

#[test]
fn a_listener_of_both_families_says_either_over_ipv4() {
    let Some(cgroup) = cgroup("dual") else { return };
    let backend = mirror(cgroup.listen(at("::")));
    let house = plan(SocketAddr::from(([127, 0, 0, 1], backend.address.port()))).start();
    assert_eq!(*house.readiness(), Readiness::Proved);
    expect(&client(&house, V4), b"you are [::ffff:203.0.113.7]:4711,");
    expect(&client(&house, V6), b"you are [2001:db8::7]:4711,");
    house.finish();
    assert_nobody_is_us(backend);
}

#[test]
fn a_listener_that_was_made_elsewhere_gets_no_byte_and_the_line_to_change_is_named() {
    let (Some(cgroup), Some(other)) = (cgroup("outside"), cgroup("elsewhere")) else { return };
    for listener in [other.listen(at("127.0.0.1")), listen_outside(at("127.0.0.1"))] {
        let backend = mirror(listener);
        let mut plan = plan(backend.address);
        plan.label.cgroup = Some(CgroupName::parse(&cgroup.name()).unwrap());
        let house = plan.start();
        let said = format!("`label.cgroup` says `{}`", cgroup.name());
        assert_refused(
            &house,
            &[
                "has not taken the client's address",
                "was made in the control group /",
                &said,
                "say `label.cgroup = \"/",
            ],
        );
        house.finish();
        assert_nobody_is_us(backend);
    }
}

#[test]
fn getsockname_says_where_the_client_wanted_to_go_if_asked_to() {
    let Some(cgroup) = cgroup("destination") else { return };
    for (ip, header, words) in [
        ("127.0.0.1", V4, "you are 203.0.113.7:4711, at 198.51.100.25:25\n"),
        ("::1", V6, "you are [2001:db8::7]:4711, at [2001:db8::25]:25\n"),
    ] {
        let backend = mirror(cgroup.listen(at(ip)));
        let mut plan = plan(backend.address);
        plan.label.destination = LabelDestination::Clients;
        let house = plan.start();
        expect(&client(&house, header), words.as_bytes());
        house.finish();
        assert_nobody_is_us(backend);
    }
}

#[test]
fn a_client_of_ipv6_at_a_backend_of_ipv4_is_refused_or_has_its_substitute() {
    let Some(cgroup) = cgroup("families") else { return };
    let backend = mirror(cgroup.listen(at("127.0.0.1")));
    let house = plan(backend.address).start();
    let mut lost = client(&house, V6);
    let _ = lost.write_all(b"secret");
    assert_eq!(read_to_end(&lost), b"");
    let record = house.record();
    record.assert_outcome(Outcome::HandoffRefused);
    let (cause, remedy) = (record.get("cause").unwrap(), record.get("remedy").unwrap());
    assert!(
        cause.ends_with("it listens on IPv4 only, which cannot say the address of a client of IPv6"),
        "{cause}"
    );
    assert!(remedy.contains("`[::]:25`") && remedy.contains("label.substitute"), "{remedy}");
    // The others are served as before.
    assert_eq!(*house.readiness(), Readiness::Proved);
    expect(&client(&house, V4), b"you are 203.0.113.7:4711,");
    house.finish();

    let mut plan = plan(backend.address);
    plan.label.substitute = Some([192, 0, 2, 66].into());
    let house = plan.start();
    let substituted = client(&house, V6);
    expect(&substituted, b"you are 192.0.2.66:4711,");
    drop(substituted);
    house.record().assert(&[("client", "[2001:db8::7]:4711"), ("substituted", "client_address")]);
    house.finish();
    assert_nobody_is_us(backend);
}

#[test]
fn accept_and_so_peername_say_the_same() {
    let Some(cgroup) = cgroup("accept") else { return };
    let listener = cgroup.listen(at("127.0.0.1"));
    let address = listener.local_addr().unwrap();
    let (tell, told) = std::sync::mpsc::sync_channel(16);
    let backend = std::thread::spawn(move || {
        while let Ok((mut stream, accepted)) = listener.accept() {
            // A child of another program asks the socket that it was given.
            let again = stream.try_clone().unwrap().peer_addr().unwrap();
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said);
            if said == b"stop" {
                return;
            }
            tell.send((accepted, again, said)).unwrap();
        }
    });
    let house = plan(address).start();
    let mut client = client(&house, V4);
    client.write_all(b"secret").unwrap();
    drop(client);
    house.record();
    house.finish();
    TcpStream::connect(address).unwrap().write_all(b"stop").unwrap();
    backend.join().unwrap();
    let seen: Vec<_> = told.try_iter().collect();
    let who: SocketAddr = "203.0.113.7:4711".parse().unwrap();
    assert_eq!(seen.iter().filter(|(_, _, said)| said == b"secret").count(), 1);
    // The proof has nothing to say.
    for (accepted, again, said) in seen {
        assert_eq!(accepted, again);
        assert!(said.is_empty() || accepted == who, "a client appears as us: {accepted}");
    }
}

/// As the kernel's header has it: family, port, address.
#[test]
fn so_peername_says_the_client_as_well() {
    const PROGRAM: &str = "import socket, struct\n\
        s = socket.socket()\n\
        s.bind(('127.0.0.1', 0))\n\
        s.listen()\n\
        print(s.getsockname()[1], flush=True)\n\
        while True:\n    c, who = s.accept()\n    name = c.getsockopt(socket.SOL_SOCKET, 28, 16)\n    \
        print(who[0], socket.inet_ntoa(name[4:8]), struct.unpack('!H', name[2:4])[0], c.recv(99), flush=True)\n    c.close()\n";
    let Some(cgroup) = cgroup("peername") else { return };
    let backend = host::Scripted::start(&cgroup, PROGRAM);
    let house = plan(backend.address).start();
    let mut client = client(&house, V4);
    client.write_all(b"secret").unwrap();
    drop(client);
    house.record();
    house.finish();
    let said = backend.finish();
    assert!(said.contains("203.0.113.7 203.0.113.7 4711 b'secret'\n"), "{said}");
    // The last word: the proof alone has another name, and nothing to say.
    let others = said.lines().filter(|line| !line.starts_with("203.0.113.7 203.0.113.7 4711 "));
    others.for_each(|line| assert!(line.ends_with(" b''"), "a client appears as us: {line}"));
}

#[test]
fn the_group_may_be_named_by_its_path_its_unit_or_a_file_with_a_process_number() {
    let Some(slice) = cgroup("named") else { return };
    let unit = format!("truepeer-{}.service", std::process::id());
    let cgroup = slice.child(&unit);
    let path = format!("{}/{unit}", slice.name());
    let backend = mirror(cgroup.listen(at("127.0.0.1")));
    // Somebody has to be there for the file to name.
    let mut command = std::process::Command::new("cat");
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let mut there = cgroup.during(|| command.spawn()).unwrap();
    let pid = std::env::temp_dir().join(format!("truepeer-named-{}.pid", std::process::id()));
    std::fs::write(&pid, format!("{}\n", there.id())).unwrap();
    for named in [&path, cgroup.folder.to_str().unwrap(), &unit, pid.to_str().unwrap()] {
        let mut plan = plan(backend.address);
        plan.label.cgroup = Some(CgroupName::parse(named).unwrap());
        let house = plan.start();
        assert_eq!(*house.readiness(), Readiness::Proved, "{named}");
        expect(&client(&house, V4), b"you are 203.0.113.7:4711,");
        house.finish();
    }
    drop(there.stdin.take());
    there.wait().unwrap();
    std::fs::remove_file(pid).unwrap();
    assert_nobody_is_us(backend);
}

#[test]
fn a_client_that_is_gone_before_the_backend_accepts_is_still_itself() {
    let Some(cgroup) = cgroup("gone") else { return };
    let listener = cgroup.listen(at("127.0.0.1"));
    let house = plan(listener.local_addr().unwrap()).start();
    let mut lost = client(&house, V4);
    lost.write_all(b"secret").unwrap();
    lost.shutdown(Shutdown::Write).unwrap();
    // Its bytes wait with the connection, which nobody has accepted.
    house.wait_for_open(1);
    drop(lost);
    let mut said = Vec::new();
    while said.is_empty() {
        let (mut stream, accepted) = listener.accept().unwrap();
        stream.read_to_end(&mut said).unwrap();
        let who = [accepted, stream.peer_addr().unwrap()].map(|who| who.to_string());
        assert!(said.is_empty() || who == ["203.0.113.7:4711"; 2], "a client appears as us: {who:?}");
    }
    assert_eq!(said, b"secret");
    house.finish();
}

#[test]
fn a_backend_that_restarts_in_a_group_made_again_is_served_again() {
    let Some(cgroup) = cgroup("restart") else { return };
    let named = CgroupName::Path(cgroup.folder.clone());
    for said in [None, Some(named)] {
        let backend = mirror(cgroup.listen(at("127.0.0.1")));
        let address = backend.address;
        let mut plan = plan(address);
        plan.label.cgroup = said;
        let house = plan.start();
        expect(&client(&house, V4), b"you are 203.0.113.7:4711,");
        assert_nobody_is_us(backend);
        cgroup.make_again();
        let backend = mirror(cgroup.listen(address));
        // Whoever comes before that is noticed gets nothing; then all is as before.
        let served = || {
            let client = client(&house, V4);
            let mut word = [0; 3];
            matches!((&client).read(&mut word), Ok(3)).then_some(word)
        };
        let mut first = None;
        assert!(support::eventually(|| {
            first = served();
            first.is_some()
        }));
        assert_eq!(first, Some(*b"you"));
        expect(&client(&house, V4), b"you are 203.0.113.7:4711,");
        house.finish();
        assert_nobody_is_us(backend);
    }
}

#[test]
fn a_group_above_covers_a_backend_whose_own_is_made_again() {
    let Some(slice) = cgroup("slice") else { return };
    let service = slice.child("backend.service");
    let backend = mirror(service.listen(at("127.0.0.1")));
    let address = backend.address;
    let mut plan = plan(address);
    plan.label.cgroup = Some(CgroupName::parse(&slice.name()).unwrap());
    let house = plan.start();
    expect(&client(&house, V4), b"you are 203.0.113.7:4711,");
    assert_nobody_is_us(backend);
    service.make_again();
    let backend = mirror(service.listen(address));
    // Nobody hears a refusal meanwhile.
    expect(&client(&house, V4), b"you are 203.0.113.7:4711,");
    house.finish();
    assert_nobody_is_us(backend);
}

#[test]
fn a_reload_takes_no_label_away_and_a_new_backend_has_its_own() {
    let Some(cgroup) = cgroup("reload") else { return };
    let listener = cgroup.listen(at("127.0.0.1"));
    let address = listener.local_addr().unwrap();
    let mut house = plan(address).start();
    let before = client(&house, V4);
    let mut kept = None;
    while kept.is_none() {
        let (stream, _) = listener.accept().unwrap();
        // The proof was there before, and has left.
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let is_left = matches!((&stream).read(&mut [0; 1]), Ok(0));
        kept = Some(stream).filter(|_| !is_left);
    }
    let kept = kept.unwrap();
    // Another backend in the place of the first.
    let other = mirror(cgroup.listen(at("127.0.0.1")));
    house.server.take(&plan(other.address).config()).unwrap();
    expect(&client(&house, V4), b"you are 203.0.113.7:4711,");
    assert_eq!(kept.peer_addr().unwrap().to_string(), "203.0.113.7:4711");
    drop(before);
    house.finish();
    assert_nobody_is_us(other);
}

#[test]
fn two_front_doors_beside_each_other_label_the_same_backend() {
    let Some(cgroup) = cgroup("beside") else { return };
    let backend = mirror(cgroup.listen(at("127.0.0.1")));
    let houses = [plan(backend.address).start(), plan(backend.address).start()];
    for house in &houses {
        expect(&client(house, V4), b"you are 203.0.113.7:4711,");
    }
    let [first, second] = houses;
    first.finish();
    expect(&client(&second, V4), b"you are 203.0.113.7:4711,");
    second.finish();
    assert_nobody_is_us(backend);
}

/// Each client says who it is, and the backend compares that with what its accept said. `TRUEPEER_STRESS` is how many
/// clients each of four threads plays.
#[test]
fn under_load_nobody_is_taken_for_somebody_else() {
    let Some(cgroup) = cgroup("load") else { return };
    let listener = cgroup.listen(at("127.0.0.1"));
    assert_nobody_is_another(&listener, plan(listener.local_addr().unwrap()));
}
