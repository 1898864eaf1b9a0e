//! Sockets that a service manager made: the real program, given descriptors as one gives them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output};

use crate::program::{Answer, BINARY, Folder, Program, write_config};
use crate::support::fake::{Fake, Nobody, smtp_behind_v1};
use crate::support::{HeaderMailServer, PATIENCE, expect};
use rustix::process::Signal;

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const GREETING: &[u8] = b"220 backend ready\r\n";

fn config(backend: &HeaderMailServer, listeners: &str) -> String {
    config_for(backend.address, listeners)
}

fn config_for(backend: SocketAddr, listeners: &str) -> String {
    format!(
        "[server]\nproxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{backend}\"\n{listeners}"
    )
}

fn listener(name: &str, bind: &str) -> String {
    format!("[server.listener.{name}]\nbind = \"{bind}\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n")
}

/// The program with `first` and `second` as its descriptors 3 and 4, and these variables.
fn given(first: impl Into<OwnedFd>, second: impl Into<OwnedFd>, variables: &str) -> Command {
    // Through the standard streams: nothing else is inherited by a child, of this test or another.
    let script = format!("exec 3<&0 4>&1 0</dev/null 1>/dev/null; export {variables}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", BINARY]).stdin(first.into()).stdout(second.into());
    command
}

fn run(mut command: Command, folder: &Folder) -> Output {
    command.args(["run", "--config"]).arg(folder.path("truepeer.toml")).output().unwrap()
}

fn greeted(mut client: &TcpStream) {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(HEADER).unwrap();
    expect(client, GREETING);
}

fn unix_socket(folder: &Folder) -> UnixListener {
    let path = folder.path("door.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    listener
}

/// How many descriptors of `program` are this socket.
fn copies(program: &Program, socket: &impl AsRawFd) -> usize {
    let link = |process: u32, descriptor: &str| {
        std::fs::read_link(format!("/proc/{process}/fd/{descriptor}")).unwrap_or_default()
    };
    let this = link(std::process::id(), &socket.as_raw_fd().to_string());
    std::fs::read_dir(format!("/proc/{}/fd", program.pid()))
        .unwrap()
        .filter(|entry| link(program.pid(), entry.as_ref().unwrap().file_name().to_str().unwrap()) == this)
        .count()
}

#[test]
fn given_sockets_serve_the_addresses_that_they_are_bound_to_and_outlive_the_program() {
    let backend = HeaderMailServer::start();
    let folder = Folder::new();
    let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), unix_socket(&folder));
    let address = tcp.local_addr().unwrap();
    let config = config(
        &backend,
        &format!(
            "{}{}proxy.trusted-networks = [\"unix\"]\n",
            listener("tcp", &address.to_string()),
            listener("local", "unix:FOLDER/door.sock").replace("FOLDER/", "FOLDER")
        ),
    );
    // In an order and with names that mean nothing.
    let both = || {
        given(
            unix.try_clone().unwrap(),
            tcp.try_clone().unwrap(),
            "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=tcp:local",
        )
    };
    let mut program = Program::start_by(both(), folder, &config);
    let workers = std::thread::available_parallelism().unwrap().get();
    assert_eq!((copies(&program, &tcp), copies(&program, &unix)), (workers + 1, workers + 1));

    let over_tcp = TcpStream::connect(address).unwrap();
    greeted(&over_tcp);
    let mut over_unix = UnixStream::connect(program.folder.path("door.sock")).unwrap();
    over_unix.set_read_timeout(Some(PATIENCE)).unwrap();
    over_unix.write_all(HEADER).unwrap();
    let mut greeting = [0; GREETING.len()];
    over_unix.read_exact(&mut greeting).unwrap();
    assert_eq!(greeting, GREETING);
    drop((over_tcp, over_unix));

    program.signal(Signal::TERM);
    program.wait_for("event=stopped");
    let folder = program.end();
    assert!(folder.path("door.sock").exists(), "what the service manager made stays");
    // Whoever comes between two runs waits in the queue that the service manager holds, and is served by the next.
    let waiting = TcpStream::connect(address).unwrap();
    let _next = Program::start_by(both(), folder, &config);
    greeted(&waiting);
}

#[test]
fn a_given_socket_is_never_shut() {
    // Nobody answers there any more.
    let nobody = Nobody::new();
    let gone = nobody.address();
    let (tcp, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let [address, other_address] = [&tcp, &other].map(|socket| socket.local_addr().unwrap());
    let closing = |name, address: SocketAddr| {
        format!("{}when-backend-down = \"close-listener\"\n", listener(name, &address.to_string()))
    };
    let config = config_for(gone, &format!("{}{}", closing("a", address), closing("b", other_address)));
    let command = given(tcp, other, "LISTEN_PID=$$ LISTEN_FDS=2");
    let mut program = Program::start_by(command, Folder::new(), &config);
    for address in [address, other_address] {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(HEADER).unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).unwrap();
        assert!(heard.starts_with("421 4.3.2 "), "{heard}");
    }
    program.signal(Signal::TERM);
    program.wait_for("event=stopped");
    assert_eq!(program.count("event=listener_closed"), 0);
}

#[test]
fn a_reload_keeps_given_sockets_and_can_take_one_back() {
    let backend = HeaderMailServer::start();
    let (first, second) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    let listeners = addresses.map(|address| listener("x", &address.to_string()));
    let one = config(&backend, &listeners[0]);
    let both = config(&backend, &format!("{}{}", listeners[0], listeners[1].replace(".x]", ".y]")));
    let command = given(first, second, "LISTEN_PID=$$ LISTEN_FDS=2");
    let mut program = Program::start_by(command, Folder::new(), &both);

    program.write_config(&one);
    program.signal(Signal::HUP);
    let unused = program.wait_for("event=given_socket_unused");
    assert!(unused.contains(&addresses[1].to_string()), "{unused}");
    program.wait_for("event=reloaded");
    greeted(&TcpStream::connect(addresses[0]).unwrap());
    let waiting = TcpStream::connect(addresses[1]).unwrap();

    program.write_config(&both);
    program.signal(Signal::HUP);
    program.wait_for("event=reloaded");
    greeted(&waiting);
    greeted(&TcpStream::connect(addresses[0]).unwrap());
}

#[test]
fn given_sockets_are_never_shut_neither_by_a_dead_backend_nor_by_a_reload_nor_by_a_drain() {
    let nobody = Nobody::new();
    let (door, health) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let [to_door, to_health] = [&door, &health].map(|socket| socket.local_addr().unwrap());
    let config = format!(
        "[server]\nhostname = \"mx.example\"\nproxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n{}health-bind = \"{to_health}\"\n",
        nobody.address(),
        listener("door", &to_door.to_string())
    );
    let closes = format!("{config}when-backend-down = \"close-listener\"\n");
    let start = |folder| {
        let both =
            given(door.try_clone().unwrap(), health.try_clone().unwrap(), "LISTEN_PID=$$ LISTEN_FDS=2");
        Program::start_by(both, folder, &closes)
    };
    let connect = |to| {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let all_hear_the_refusal = || {
        let mut client = connect(to_door);
        client.write_all(HEADER).unwrap();
        for refused in [client, connect(to_health)] {
            expect(&refused, b"421 4.3.2 mx.example no server is ready for you now, try again later\r\n");
        }
    };
    let mut program = start(Folder::new());
    // Who reads the log knows: this is not what the file says.
    let stays = |at| format!("the service manager gave the socket of {at}, which is not ours to close");
    for (key, at) in [("when-backend-down", to_door), ("health-bind", to_health)] {
        assert_eq!(program.count(&format!("event=advice key=server.listener.door.{key} ")), 1);
        assert_eq!(program.count(&stays(at)), 1);
    }
    all_hear_the_refusal();
    for config in [&config, &closes, &closes] {
        program.write_config(config);
        program.signal(Signal::HUP);
        program.wait_for("event=reloaded");
        all_hear_the_refusal();
    }
    assert_eq!(program.count("event=listener_closed"), 0);
    assert_eq!(program.count(&stays(to_door)), 2, "anew when it is anew, and not with each reload");
    program.signal(Signal::TERM);
    program.wait_for("event=stopped");
    let folder = program.end();
    // Who comes now waits for the next run, as balancers' checks do.
    let (client, check) = (connect(to_door), connect(to_health));
    let _backend = Fake::on(nobody.come_back(), smtp_behind_v1("220 backend ready\r\n"));
    let _next = start(folder);
    greeted(&client);
    expect(&check, b"220 mx.example ");
}

#[test]
fn given_sockets_that_cannot_be_served_are_an_error_that_says_what_to_change() {
    let backend = HeaderMailServer::start();
    let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = tcp();
    let folder = Folder::new();
    write_config(&folder, &config(&backend, &listener("door", &wanted.local_addr().unwrap().to_string())));
    let (udp, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), tcp());
    let other_address = other.local_addr().unwrap();
    let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let cases: [(OwnedFd, &str, String); 4] = [
        (
            other.into(),
            "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=smtp",
            format!(
                "the service manager gave descriptor 3 (\"smtp\"), which listens on {other_address}, but the configuration binds {} (server.listener.door.bind)",
                wanted.local_addr().unwrap()
            ),
        ),
        (udp.into(), "LISTEN_PID=$$ LISTEN_FDS=1", "descriptor 3, which is a datagram socket".to_owned()),
        (null(), "LISTEN_PID=$$ LISTEN_FDS=1", "descriptor 3, which is no socket".to_owned()),
        (
            wanted.try_clone().unwrap().into(),
            "LISTEN_PID=$$ LISTEN_FDS=3",
            "LISTEN_FDS=3 promises descriptors 3 to 5, but descriptor 5 is not open".to_owned(),
        ),
    ];
    for (descriptor, variables, says) in cases {
        let refused = Answer(run(given(descriptor, null(), variables), &folder));
        assert_eq!(refused.code(), Some(3), "{}", refused.error());
        assert!(refused.error().contains(&says), "{says} in {}", refused.error());
    }
    for count in ["-1", "one", "1025", "''"] {
        let variables = format!("LISTEN_PID=$$ LISTEN_FDS={count}");
        let refused = Answer(run(given(null(), null(), &variables), &folder));
        assert!(refused.error().contains("is no number from 0 to 1024"), "{}", refused.error());
    }
}

#[test]
fn descriptors_for_another_process_are_left_alone() {
    let backend = HeaderMailServer::start();
    let bait = TcpListener::bind("127.0.0.1:0").unwrap();
    let command = given(bait.try_clone().unwrap(), bait, "LISTEN_PID=1 LISTEN_FDS=1");
    let program =
        Program::start_by(command, Folder::new(), &config(&backend, &listener("door", "127.0.0.1:0")));
    greeted(&program.connect("door"));
}
