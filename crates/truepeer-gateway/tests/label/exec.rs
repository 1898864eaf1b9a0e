//! Programs that are given connections and ask them who the client is, as `sshd -i` and `exim -bs` do.

use std::net::{SocketAddr, TcpStream};

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::rooms::backend::{Readiness, Unready};

use crate::cgroup;
use crate::support::cgroup::Cgroup;
use crate::support::exec::{ask, config, text};
use crate::support::shown::{V4, V6};
use crate::support::{House, connect_from};

/// Says what its socket says of both ends, and what its environment says of the client.
const ASKS: &str = r#"["/usr/bin/env", "python3", "-c", """
import os, socket
s = socket.socket(fileno=0)
name = lambda pair: "%s %d" % pair[:2]
s.send(("peer %s own %s told %s\\n" % (name(s.getpeername()), name(s.getsockname()), os.environ["REMOTE_ADDR"])).encode())
"""]"#;

/// A front door at `bind` whose listening socket is made in `cgroup`, before programs that ask.
fn house(cgroup: &Cgroup, bind: &str, protocol: &str, more: &str) -> House {
    let text = text(protocol, ASKS, more, "").replace("127.0.0.1:0", bind);
    cgroup.during(|| Ok(House::start(&config(&text)))).unwrap()
}

/// A connection to it over IPv4.
fn connect(house: &House) -> TcpStream {
    TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], house.address().port()))).unwrap()
}

#[test]
fn a_program_that_asks_its_socket_sees_the_client_in_both_families() {
    let Some(cgroup) = cgroup("exec") else { return };
    let house = house(&cgroup, "[::]:0", "tcp", "exec.label = true");
    for (header, peer, told) in [
        (V4, "peer ::ffff:203.0.113.7 4711 own ", "told 203.0.113.7\n"),
        (V6, "peer 2001:db8::7 4711 own ", "told 2001:db8::7\n"),
    ] {
        let said = ask(connect(&house), header);
        assert!(said.starts_with(peer) && said.ends_with(told), "{said}");
        assert!(said.contains(" own ::ffff:127.0.0.1 "), "{said}");
        let record = house.record();
        record.assert_outcome(Outcome::Done);
        record.assert(&[("handoff", "exec")]);
    }
    // Whoever comes without a proxy is itself.
    let door = SocketAddr::from(([127, 0, 0, 1], house.address().port()));
    let direct = connect_from([127, 0, 0, 9].into(), door);
    let port = direct.local_addr().unwrap().port();
    let said = ask(direct, b"");
    assert!(said.starts_with(&format!("peer ::ffff:127.0.0.9 {port} ")), "{said}");
}

#[test]
fn a_programs_socket_says_where_the_client_wanted_to_go_if_asked_to() {
    let Some(cgroup) = cgroup("exec-destination") else { return };
    let house = house(&cgroup, "127.0.0.1:0", "smtp", "label.destination = true");
    let said = ask(connect(&house), V4);
    assert_eq!(said, "peer 203.0.113.7 4711 own 198.51.100.25 25 told 203.0.113.7\n");
}

#[test]
fn a_client_whom_its_socket_cannot_name_starts_nothing_where_it_must() {
    let Some(cgroup) = cgroup("exec-families") else { return };
    let house = house(&cgroup, "127.0.0.1:0", "smtp", "exec.label = true");
    assert!(ask(connect(&house), V6).starts_with("421 "));
    let record = house.record();
    record.assert_outcome(Outcome::HandoffRefused);
    let (cause, remedy) = (record.get("cause").unwrap(), record.get("remedy").unwrap());
    assert!(cause.contains("the listener is bound to IPv4 only"), "{cause}");
    assert!(remedy.contains("bind the listener to `[::]`"), "{remedy}");
    // The next is served, and nobody is the proxy.
    assert!(ask(connect(&house), V4).starts_with("peer 203.0.113.7 4711 "));
}

/// As a service without the rights of a label.
#[test]
fn without_the_rights_nothing_is_started_where_it_must_be_and_elsewhere_the_environment_says_it_alone() {
    let Some(cgroup) = cgroup("exec-rights") else { return };
    // This thread's, and those of the threads that it starts.
    let without = std::thread::spawn(move || {
        let mut sets = capabilities(None).unwrap();
        for set in [&mut sets.effective, &mut sets.permitted] {
            set.remove(CapabilitySet::BPF | CapabilitySet::SYS_ADMIN);
        }
        set_capabilities(None, sets).unwrap();
        let required = house(&cgroup, "127.0.0.1:0", "smtp", "exec.label = true");
        let found = required.readiness();
        let Readiness::Unready(Unready::RefusesHandoff { saw }) = &*found else { panic!("{found:?}") };
        for words in ["may not load programs into the kernel", "`AmbientCapabilities=CAP_BPF CAP_NET_ADMIN`"]
        {
            assert!(saw.contains(words), "{saw}");
        }
        assert!(ask(connect(&required), V4).starts_with("421 "));
        required.record().assert_outcome(Outcome::BackendUnready);
        drop(required);

        let house = house(&cgroup, "127.0.0.1:0", "smtp", "");
        let said = ask(connect(&house), V4);
        assert!(said.starts_with("peer 127.0.0.1 ") && said.ends_with("told 203.0.113.7\n"), "{said}");
        house.record().assert_outcome(Outcome::Done);
    });
    without.join().unwrap();
}

#[test]
fn many_at_once_each_see_themselves_and_never_each_other() {
    let Some(cgroup) = cgroup("exec-many") else { return };
    let house = house(&cgroup, "127.0.0.1:0", "tcp", "exec.label = true\nexec.rate = \"off\"");
    let door = house.address();
    let play = move |lane: u16| {
        for number in 1..=15 {
            let port = lane * 1000 + number;
            let header = format!("PROXY TCP4 203.0.113.{lane} 198.51.100.25 {port} 25\r\n");
            let said = ask(TcpStream::connect(door).unwrap(), header.as_bytes());
            assert!(said.starts_with(&format!("peer 203.0.113.{lane} {port} own ")), "{said}");
        }
    };
    std::thread::scope(|scope| (1..=4).for_each(|lane| drop(scope.spawn(move || play(lane)))));
}
