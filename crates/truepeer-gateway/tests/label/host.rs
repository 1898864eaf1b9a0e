//! What a host lacks, and what outlives the front door.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use truepeer_gateway::facts::cgroup::CgroupName;

use crate::support::cgroup::Cgroup;
use crate::support::namespace::{Container, enter, run};
use crate::support::{House, eventually, expect};
use crate::{V4, assert_nobody_is_us, assert_refused, at, cgroup, client, mirror, plan};

#[test]
fn without_the_rights_nobody_is_handed_over_and_they_are_named() {
    let Some(cgroup) = cgroup("rights") else { return };
    for without in
        [CapabilitySet::BPF | CapabilitySet::SYS_ADMIN, CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN]
    {
        let backend = mirror(cgroup.listen(at("127.0.0.1")));
        let address = backend.address;
        // This thread's, and those of the workers that it starts.
        let done = std::thread::spawn(move || {
            let mut sets = capabilities(None).unwrap();
            for set in [&mut sets.effective, &mut sets.permitted] {
                set.remove(without);
            }
            set_capabilities(None, sets).unwrap();
            let house = plan(address).start();
            assert_refused(
                &house,
                &[
                    "this process may not load programs into the kernel",
                    "`AmbientCapabilities=CAP_BPF CAP_NET_ADMIN`",
                ],
            );
            house.finish();
        });
        done.join().unwrap();
        assert_nobody_is_us(backend);
    }
}

#[test]
fn a_group_that_is_not_there_is_named_and_awaited() {
    let Some(cgroup) = cgroup("awaited") else { return };
    let backend = mirror(cgroup.listen(at("127.0.0.1")));
    for (name, says) in [
        ("truepeer-nothing.service", "there is no control group of truepeer-nothing.service"),
        ("/run/truepeer-nothing.pid", "neither a control group nor a file with a process' number"),
    ] {
        let mut plan = plan(backend.address);
        plan.label.cgroup = Some(CgroupName::parse(name).unwrap());
        let house = plan.start();
        assert_refused(&house, &[says, "correct `label.cgroup`"]);
        house.finish();
    }
    assert_nobody_is_us(backend);
}

#[test]
fn a_listener_that_waits_for_data_cannot_take_a_label_which_is_said() {
    let Some(cgroup) = cgroup("defer") else { return };
    // Its accept waits for data. It says each pair of address and first bytes.
    const PROGRAM: &str = "import socket\n\
        s = socket.socket()\n\
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)\n\
        s.bind(('127.0.0.1', 0))\n\
        s.listen()\n\
        print(s.getsockname()[1], flush=True)\n\
        while True:\n    c, who = s.accept()\n    print(who, c.recv(99), flush=True)\n";
    let backend = Scripted::start(&cgroup, PROGRAM);
    let house = plan(backend.address).start();
    assert_refused(&house, &["has not taken the client's address", "TCP_DEFER_ACCEPT", &cgroup.name()]);
    house.finish();
    // What was closed may be accepted, as who it was, and without a byte.
    for line in backend.finish().lines() {
        assert!(line.starts_with("('192.0.2.1'") && line.ends_with(" b''"), "a client appears as us: {line}");
    }
}

/// A server in Python, for which every option of a socket is like any other. It says its port first, and is heard to the end.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Scripted {
    pub(crate) fn start(cgroup: &Cgroup, program: &str) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", program]).stdout(Stdio::piped());
        // What is started in the group stays there.
        let mut child = cgroup.during(|| command.spawn()).unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        said.read_line(&mut port).unwrap();
        Self { address: SocketAddr::from(([127, 0, 0, 1], port.trim().parse().unwrap())), child, said }
    }

    pub(crate) fn finish(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut said = String::new();
        self.said.read_to_string(&mut said).unwrap();
        said
    }
}

/// What `check` prints about a backend at `address` as the user nobody with `rights` and no other.
fn checked_with(rights: &str, address: SocketAddr, more: &str) -> String {
    let folder = std::env::temp_dir().join(format!("truepeer-label-{}-{}", std::process::id(), rights.len()));
    std::fs::create_dir_all(&folder).unwrap();
    let config = folder.join("truepeer.toml");
    let text = format!(
        "[server]\nhostname = \"mx.example\"\n\
         [backend.b]\nhandoff = \"label\"\naddress = \"{address}\"\n{more}\
         [server.listener.door]\nbind = \"127.0.0.1:2525\"\nprotocol = \"smtp\"\nbackend = \"b\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args([format!("--inh-caps=-all,{rights}"), format!("--ambient-caps=-all,{rights}")])
        .args(["--bounding-set".to_owned(), format!("-all,{rights}")])
        .arg(env!("CARGO_BIN_EXE_truepeer"))
        .args(["check", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn check_names_what_is_missing_and_two_rights_and_no_more_are_enough() {
    let Some(cgroup) = cgroup("check") else { return };
    let listener = cgroup.listen(at("127.0.0.1"));
    let address = listener.local_addr().unwrap();
    let lacks = |said: &str| -> Vec<String> {
        let advice = said.lines().filter_map(|line| line.strip_prefix("advice: backend.b.handoff: "));
        advice.filter(|line| !line.starts_with("`label` needs")).map(str::to_owned).collect()
    };
    let both = "+bpf,+net_admin";
    assert_eq!(lacks(&checked_with(both, address, "")), [""; 0]);
    for one in ["+bpf", "+net_admin"] {
        let found = lacks(&checked_with(one, address, ""));
        let [found] = found.as_slice() else { panic!("{found:?}") };
        assert!(found.starts_with("this process may not load programs into the kernel ("), "{found}");
        assert!(found.contains("`AmbientCapabilities=CAP_BPF CAP_NET_ADMIN`"), "{found}");
    }
    let found = lacks(&checked_with(both, address, "label.cgroup = \"truepeer-nothing.service\"\n"));
    assert!(found[0].starts_with("there is no control group of truepeer-nothing.service"), "{found:?}");
    drop(listener);
    let found = lacks(&checked_with(both, address, ""));
    assert!(found[0].starts_with(&format!("nobody listens on {address}")), "{found:?}");
}

/// Programs go with the process, so that its end waits for what was handed over to be accepted.
#[test]
fn an_end_waits_until_the_backend_has_accepted_what_it_was_handed() {
    let Some(cgroup) = cgroup("settle") else { return };
    let listener = cgroup.listen(at("127.0.0.1"));
    let house = plan(listener.local_addr().unwrap()).start();
    let door = house.address();
    let mut client = client(&house, V4);
    client.write_all(b"secret").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    house.wait_for_open(1);
    let (end, ended) = std::sync::mpsc::sync_channel(1);
    let finish = std::thread::spawn(move || {
        house.finish();
        end.send(()).unwrap();
    });
    assert!(eventually(|| std::net::TcpStream::connect(door).is_err()));
    // It has nothing else to wait for.
    assert!(ended.recv_timeout(Duration::from_millis(300)).is_err(), "it has not waited");
    let mut said = Vec::new();
    while said.is_empty() {
        let (mut stream, who) = listener.accept().unwrap();
        let _ = stream.read_to_end(&mut said);
        assert!(said.is_empty() || who.to_string() == "203.0.113.7:4711", "a client appears as us: {who}");
    }
    finish.join().unwrap();
}

/// A bpf file system of the test's own; `None` if it cannot be mounted, which is said.
struct Pins(std::path::PathBuf);

impl Pins {
    fn mount() -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("truepeer-pins-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&folder).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        let required = std::env::var("TRUEPEER_REQUIRE").is_ok_and(|list| list.contains("label"));
        assert!(!required, "no bpf file system can be mounted");
        eprintln!("SKIPPED (LOUD): label: no bpf file system can be mounted");
        None
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn labels_that_are_kept_outlive_the_front_door_and_serve_the_next() {
    let Some(cgroup) = cgroup("pins") else { return };
    let Some(pins) = Pins::mount() else { return };
    let listener = cgroup.listen(at("127.0.0.1"));
    let address = listener.local_addr().unwrap();
    let kept = || {
        let mut plan = plan(address);
        plan.label_pins = Some(pins.0.join("truepeer"));
        plan
    };
    let house = kept().start();
    let mut clients = [client(&house, V4), client(&house, V4)];
    for client in &mut clients {
        client.write_all(b"secret").unwrap();
    }
    house.wait_for_open(2);
    let mut accepted = Vec::new();
    let accept = || {
        let (mut stream, who) = listener.accept().unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        (who.to_string(), stream, said)
    };
    // Its end closes what its connections are; two that were not accepted wait with their bytes.
    house.finish();
    while accepted.len() < 2 {
        let (who, stream, said) = accept();
        if said == b"secret" {
            accepted.push((who, stream));
        }
    }
    let house = kept().start();
    expect_served(&house, &listener);
    for (who, stream) in &accepted {
        assert_eq!(
            (who.as_str(), stream.peer_addr().unwrap().to_string().as_str()),
            ("203.0.113.7:4711", who.as_str())
        );
    }
    house.finish();
    // One group, one set of programs, whoever attached it.
    let files = || {
        let edition = std::fs::read_dir(pins.0.join("truepeer")).unwrap().next().unwrap().unwrap().path();
        std::fs::read_dir(edition).unwrap().count()
    };
    assert_eq!(files(), 5, "two maps and three links");
    // A group that is made again has programs of its own.
    cgroup.make_again();
    let listener = cgroup.listen(at("127.0.0.1"));
    let mut plan = plan(listener.local_addr().unwrap());
    plan.label_pins = Some(pins.0.join("truepeer"));
    let house = plan.start();
    expect_served(&house, &listener);
    house.finish();
}

#[test]
fn a_folder_that_keeps_nothing_is_named() {
    let Some(cgroup) = cgroup("unkept") else { return };
    let backend = mirror(cgroup.listen(at("127.0.0.1")));
    // An ordinary folder, and one that cannot be made.
    let ordinary = std::env::temp_dir().join(format!("truepeer-unkept-{}", std::process::id()));
    for folder in [ordinary.clone(), "/proc/truepeer".into()] {
        let mut plan = plan(backend.address);
        plan.label_pins = Some(folder.clone());
        let house = plan.start();
        let named = format!("nothing can be kept at {}/", folder.display());
        assert_refused(&house, &[&named, "`server.label-pins` needs a folder on a bpf file system"]);
        house.finish();
    }
    std::fs::remove_dir_all(ordinary).unwrap();
    assert_nobody_is_us(backend);
}

/// The next client that says something is itself at the backend.
#[track_caller]
fn expect_served(house: &House, listener: &TcpListener) {
    let mut client = client(house, V4);
    client.write_all(b"secret").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    loop {
        let (mut stream, who) = listener.accept().unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(said.is_empty() || who.to_string() == "203.0.113.7:4711", "a client appears as us: {who}");
        if said == b"secret" {
            return;
        }
    }
}

/// A server in a network namespace of its own, as in a container, is reached at its own address, over a virtual cable.
#[test]
fn a_backend_in_a_namespace_of_its_own_needs_its_group_named() {
    let Some(cgroup) = cgroup("container") else { return };
    let front = std::thread::spawn(move || {
        let Some(_front) = enter() else { return skip_namespace() };
        run("ip link set lo up");
        // Threads that the server starts are in its namespace, too.
        let name = cgroup.name();
        let cgroup = Arc::new(cgroup);
        let its_own = Arc::clone(&cgroup);
        let container = Container::start(move || mirror(its_own.listen("10.84.0.2:0".parse().unwrap())));
        let address = container.server;
        let house = plan(address).start();
        assert_refused(&house, &["nobody listens on 10.84.0.2:", "say `label.cgroup`"]);
        house.finish();
        let mut plan = plan(address);
        plan.label.cgroup = Some(CgroupName::parse(&name).unwrap());
        let house = plan.start();
        for _ in 0..20 {
            let mut client = client(&house, V4);
            expect(&client, b"you are 203.0.113.7:4711,");
            client.write_all(b"secret").unwrap();
        }
        house.finish();
        container.end();
    });
    front.join().unwrap();
}

fn skip_namespace() {
    let required = std::env::var("TRUEPEER_REQUIRE").is_ok_and(|list| list.contains("label"));
    assert!(!required, "no network namespaces");
    eprintln!("SKIPPED (LOUD): label: no network namespaces");
}
