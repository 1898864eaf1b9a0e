//! Where it listens and connects: UNIX sockets, both IP families, ports that are taken, and no more than there is
//! room for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::support;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::fake::{Fake, smtp_behind_v1};
use crate::support::{
    ACCEPT_PAUSES, HeaderMailServer, House, PATIENCE, Plan, eventually, expect, read_to_end, together,
};
use socket2::{Domain, Socket, Type};
use truepeer::UnixPeers;
use truepeer_gateway::engine::ListenError;
use truepeer_gateway::facts::bind::{Bind, Families};
use truepeer_gateway::facts::machine;
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::observe::log::{Log, RefusalLines};
use truepeer_gateway::rooms::backend::BackendAddress;
use truepeer_gateway::rooms::handoff::Handoff;
use truepeer_gateway::server::Server;

const GREETING: &str = "220 backend ready\r\n";
const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";

/// A folder of its own, short enough for a socket's path; gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("truepeer-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("door.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn unix_plan(path: &Path, backend: SocketAddr) -> Plan {
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend);
    plan.binds = vec![Bind::Unix { path: path.to_owned(), mode: 0o600 }];
    plan.unix = UnixPeers::Trusted;
    plan
}

fn unix_client(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[track_caller]
fn expect_unix(mut stream: &UnixStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    io::Read::read_exact(&mut stream, &mut got).unwrap();
    assert_eq!(got, bytes, "{}", got.escape_ascii());
}

/// The error of a start that must fail.
#[track_caller]
fn start_error(plan: Plan) -> String {
    let (log, _writer) = Log::start(plan.format, RefusalLines::Fold, io::sink()).unwrap();
    Server::start(&plan.config(), &log).unwrap_err().to_string()
}

#[test]
fn a_trusted_unix_peer_speaks_for_a_client() {
    let folder = Folder::new();
    let backend = HeaderMailServer::start();
    let house = unix_plan(&folder.path(), backend.address).start();
    let metadata = std::fs::metadata(folder.path()).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let mut client = unix_client(&folder.path());
    client.write_all(HEADER).unwrap();
    client.write_all(b"QUIT\r\n").unwrap();
    expect_unix(&client, b"220 backend ready\r\n221 bye\r\n");
    drop(client);
    assert_eq!(backend.heard().0.as_bytes(), HEADER.trim_ascii());
    let record = house.record();
    record.assert_outcome(Outcome::Done);
    record.assert(&[
        ("peer", "unix"),
        ("peer_uid", &metadata.uid().to_string()),
        ("client", "203.0.113.7:4711"),
        ("source", "v1"),
    ]);
    assert_eq!(house.server.listening()[0].address, format!("unix:{}", folder.path().display()));
    house.finish();
    assert!(!folder.path().exists());
}

#[test]
fn a_unix_peer_that_is_not_listed_is_refused_before_a_byte_is_read() {
    let folder = Folder::new();
    let backend = HeaderMailServer::start();
    let mut plan = unix_plan(&folder.path(), backend.address);
    plan.unix = UnixPeers::Refuse;
    let house = plan.start();
    let mut client = unix_client(&folder.path());
    // It may be gone already.
    let _ = client.write_all(HEADER);
    let record = house.record();
    record.assert_outcome(Outcome::UnlistedPeer);
    record.assert(&[("peer", "unix"), ("bytes_in", "0")]);
    assert!(record.get("remedy").unwrap().contains("[\\\"unix\\\"]"), "{}", record.0);
    assert!(!backend.was_reached());
}

#[test]
fn a_socket_file_that_nobody_answers_on_is_replaced() {
    let folder = Folder::new();
    drop(UnixListener::bind(folder.path()).unwrap());
    assert!(folder.path().exists());
    let backend = HeaderMailServer::start();
    let _house = unix_plan(&folder.path(), backend.address).start();
    let mut client = unix_client(&folder.path());
    client.write_all(HEADER).unwrap();
    expect_unix(&client, GREETING.as_bytes());
}

#[test]
fn a_socket_that_somebody_answers_on_is_left_alone() {
    let folder = Folder::new();
    let backend = HeaderMailServer::start();
    let other = UnixListener::bind(folder.path()).unwrap();
    let path = folder.path().display().to_string();
    assert_eq!(
        start_error(unix_plan(&folder.path(), backend.address)),
        format!(
            "server.listener.door.bind: unix:{path} is in use by another program (perhaps another truepeer): end it, or choose another `bind`"
        )
    );
    drop(other);
    let first = unix_plan(&folder.path(), backend.address).start();
    assert!(start_error(unix_plan(&folder.path(), backend.address)).contains("is in use"));
    let mut client = unix_client(&folder.path());
    client.write_all(HEADER).unwrap();
    expect_unix(&client, GREETING.as_bytes());
    drop(first);
}

#[test]
fn a_file_that_is_no_socket_is_never_removed() {
    let folder = Folder::new();
    let backend = HeaderMailServer::start();
    std::fs::write(folder.path(), "precious").unwrap();
    let path = folder.path().display().to_string();
    assert_eq!(
        start_error(unix_plan(&folder.path(), backend.address)),
        format!(
            "server.listener.door.bind: unix:{path}: cannot replace what is there: a file that is no socket is there"
        )
    );
    assert_eq!(std::fs::read_to_string(folder.path()).unwrap(), "precious");
    // Nor is one that a link leads to.
    let link = folder.0.join("link.sock");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    assert!(start_error(unix_plan(&link, backend.address)).contains("a file that is no socket is there"));
    assert_eq!(std::fs::read_to_string(folder.path()).unwrap(), "precious");
}

#[test]
fn a_successor_on_the_same_path_keeps_its_socket_when_the_draining_one_ends() {
    let folder = Folder::new();
    let backend = HeaderMailServer::start();
    let first = unix_plan(&folder.path(), backend.address).start();
    let mut inside = unix_client(&folder.path());
    inside.write_all(HEADER).unwrap();
    expect_unix(&inside, GREETING.as_bytes());
    let draining = std::thread::spawn(move || first.drain());
    let refused = || UnixStream::connect(folder.path()).is_err();
    assert!(eventually(refused));
    let _second = unix_plan(&folder.path(), backend.address).start();
    inside.write_all(b"QUIT\r\n").unwrap();
    expect_unix(&inside, b"221 bye\r\n");
    drop(inside);
    draining.join().unwrap();
    let mut client = unix_client(&folder.path());
    client.write_all(HEADER).unwrap();
    expect_unix(&client, GREETING.as_bytes());
}

#[test]
fn a_unix_backend_is_proved_and_served() {
    let folder = Folder::new();
    let listener = UnixListener::bind(folder.path()).unwrap();
    let (tell, heard) = std::sync::mpsc::sync_channel(64);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            std::thread::spawn(move || {
                let mut reader = io::BufReader::new(stream.try_clone().unwrap());
                let mut lines = Vec::new();
                for answer in [GREETING, "221 bye\r\n"] {
                    let mut line = String::new();
                    if !matches!(io::BufRead::read_line(&mut reader, &mut line), Ok(1..)) {
                        return;
                    }
                    stream.write_all(answer.as_bytes()).unwrap();
                    lines.push(line);
                }
                let _ = tell.send(lines);
            });
        }
    });
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, ([127, 0, 0, 1], 1).into());
    plan.addresses = vec![BackendAddress::Unix(folder.path())];
    let house = plan.start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    client.write_all(b"QUIT\r\n").unwrap();
    expect(&client, b"220 backend ready\r\n221 bye\r\n");
    drop(client);
    house
        .record()
        .assert(&[("outcome", "done"), ("backend_address", &format!("unix:{}", folder.path().display()))]);
    let asked: Vec<String> = heard.recv_timeout(PATIENCE).unwrap();
    assert!(asked[0].starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{asked:?}");
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap()[0].as_bytes(), HEADER);
}

fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect_timeout(&to.into(), PATIENCE).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn wildcard(families: Families) -> Vec<Bind> {
    vec![Bind::Tcp { addr: (Ipv6Addr::UNSPECIFIED, 0).into(), families }]
}

#[test]
fn a_wildcard_serves_both_families_and_ipv4_is_told_as_ipv4() {
    let backend = HeaderMailServer::start();
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.binds = wildcard(Families::Both);
    let house = plan.start();
    let port = house.address().port();
    let direct = connect([127, 0, 0, 9].into(), (Ipv4Addr::LOCALHOST, port).into());
    let ours = direct.local_addr().unwrap();
    (&direct).write_all(b"QUIT\r\n").unwrap();
    expect(&direct, b"220 backend ready\r\n221 bye\r\n");
    drop(direct);
    assert_eq!(backend.heard().0, format!("PROXY TCP4 127.0.0.9 127.0.0.1 {} {port}", ours.port()));
    house.record().assert(&[
        ("outcome", "done"),
        ("peer", &ours.to_string()),
        ("client", &ours.to_string()),
        ("destination", &format!("127.0.0.1:{port}")),
    ]);
    // Trusted as 127.0.0.1, though its socket says ::ffff:127.0.0.1.
    let mut proxied = connect([127, 0, 0, 1].into(), (Ipv4Addr::LOCALHOST, port).into());
    proxied.write_all(HEADER).unwrap();
    proxied.write_all(b"QUIT\r\n").unwrap();
    expect(&proxied, b"220 backend ready\r\n221 bye\r\n");
    drop(proxied);
    assert_eq!(backend.heard().0.as_bytes(), HEADER.trim_ascii());
    let mut six = connect(Ipv6Addr::LOCALHOST.into(), (Ipv6Addr::LOCALHOST, port).into());
    six.write_all(b"PROXY TCP6 2001:db8::7 2001:db8::25 4711 25\r\nQUIT\r\n").unwrap();
    expect(&six, b"220 backend ready\r\n221 bye\r\n");
    drop(six);
    assert_eq!(backend.heard().0, "PROXY TCP6 2001:db8::7 2001:db8::25 4711 25");
}

#[test]
fn an_ipv6_listener_of_its_own_family_serves_no_ipv4() {
    let backend = HeaderMailServer::start();
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.binds = wildcard(Families::Own);
    let house = plan.start();
    let port = house.address().port();
    let refused = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), PATIENCE).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    // A v4 destination in front of a v6 one is never mixed into one header.
    let mut six = connect(Ipv6Addr::LOCALHOST.into(), (Ipv6Addr::LOCALHOST, port).into());
    six.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\nQUIT\r\n").unwrap();
    expect(&six, b"220 backend ready\r\n221 bye\r\n");
    assert_eq!(backend.heard().0.as_bytes(), HEADER.trim_ascii());
}

fn bound(addr: SocketAddr, backend: SocketAddr) -> Plan {
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend);
    plan.binds = vec![Bind::Tcp { addr, families: Families::Own }];
    plan
}

#[test]
fn a_port_that_is_taken_is_named_whoever_has_it() {
    let backend = HeaderMailServer::start();
    let in_use = |addr: SocketAddr| {
        format!(
            "server.listener.door.bind: {addr} is in use by another program (perhaps another truepeer): end it, or choose another `bind`"
        )
    };
    // Any program.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = plain.local_addr().unwrap();
    assert_eq!(start_error(bound(addr, backend.address)), in_use(addr));
    // Any program that shares its port.
    let sharing = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    sharing.set_reuse_port(true).unwrap();
    sharing.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    sharing.listen(1).unwrap();
    let addr = sharing.local_addr().unwrap().as_socket().unwrap();
    assert_eq!(start_error(bound(addr, backend.address)), in_use(addr));
    // Another front door, which goes on undisturbed.
    let other = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    assert_eq!(start_error(bound(other.address(), backend.address)), in_use(other.address()));
    let mut client = other.connect();
    client.write_all(HEADER).unwrap();
    expect(&client, GREETING.as_bytes());
    // It is free as soon as that one has ended, though its connections linger.
    let addr = other.address();
    other.finish();
    drop(bound(addr, backend.address).start());
}

#[test]
fn an_address_of_another_machine_is_named() {
    let nobody = ([127, 0, 0, 1], 1).into();
    assert_eq!(
        start_error(bound(([192, 0, 2, 1], 2525).into(), nobody)),
        "server.listener.door.bind: 192.0.2.1:2525 is no address of this machine: `bind` one that is, or a wildcard"
    );
}

#[test]
fn a_port_that_this_user_may_not_have_is_explained() {
    // Said, not provoked: whoever runs the tests may be allowed every port.
    let error = ListenError {
        address: "127.0.0.1:25".to_owned(),
        doing: "bind",
        error: io::ErrorKind::PermissionDenied.into(),
    };
    assert_eq!(
        error.to_string(),
        "127.0.0.1:25: not permitted to bind: ports below 1024 need CAP_NET_BIND_SERVICE, a UNIX socket a folder that this user may write"
    );
}

#[test]
fn a_failed_start_leaves_nothing_behind() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut plan = unix_plan(&folder.path(), ([127, 0, 0, 1], 1).into());
    plan.binds.push(Bind::Tcp { addr: taken.local_addr().unwrap(), families: Families::Own });
    assert!(start_error(plan).contains("is in use"));
    assert!(!folder.path().exists());
}

/// Notes how many are inside at once, and the most there ever were.
#[derive(Default)]
struct Gauge {
    now: AtomicU32,
    most: AtomicU32,
}

#[test]
fn at_max_connections_accepting_pauses_and_everybody_is_served_in_the_end() {
    const MAX: u32 = 4;
    const CLIENTS: u32 = 24;
    let gauge: &'static Gauge = Box::leak(Box::default());
    let backend = Fake::start(smtp_behind_v1(GREETING));
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.max_connections = Some(MAX);
    let house = plan.start();
    let (address, accepting) = (house.address(), u32::try_from(machine::workers()).unwrap());
    let (greeted, inside) = std::sync::mpsc::sync_channel(64);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let greeted = greeted.clone();
            // Connected by the kernel at once, whether there is room or not.
            let mut client = connect([127, 0, 0, 1].into(), address);
            std::thread::spawn(move || {
                write!(client, "PROXY TCP4 203.0.113.7 198.51.100.25 {} 25\r\n", 1000 + number).unwrap();
                expect(&client, GREETING.as_bytes());
                let now = gauge.now.fetch_add(1, Ordering::SeqCst) + 1;
                gauge.most.fetch_max(now, Ordering::SeqCst);
                let (leave, may_leave) = std::sync::mpsc::sync_channel::<()>(1);
                greeted.send(leave).unwrap();
                may_leave.recv_timeout(PATIENCE).unwrap();
                gauge.now.fetch_sub(1, Ordering::SeqCst);
                client.write_all(b"QUIT\r\n").unwrap();
                assert_eq!(read_to_end(&client), b"221 bye\r\n");
            })
        })
        .collect();
    // As many as there is room for come in before anybody leaves, and then one for each that leaves.
    let mut waiting: Vec<_> = (0..MAX).map(|_| inside.recv_timeout(PATIENCE).unwrap()).collect();
    assert!(eventually(|| house.server.open_connections() >= MAX));
    for _ in MAX..CLIENTS {
        waiting.remove(0).send(()).unwrap();
        waiting.push(inside.recv_timeout(PATIENCE).unwrap());
    }
    for leave in waiting {
        leave.send(()).unwrap();
    }
    for client in clients {
        client.join().unwrap();
    }
    let most = gauge.most.load(Ordering::SeqCst);
    assert!((MAX..=MAX + accepting).contains(&most), "{most} were inside at once");
    for _ in 0..CLIENTS {
        house.record().assert_outcome(Outcome::Done);
    }
    house.wait_for_open(0);
}

#[test]
fn several_listeners_serve_side_by_side_each_with_its_own_backend() {
    let [smtp, submission] =
        ["220 smtp\r\n", "220 submission\r\n"].map(|greeting| Fake::start(smtp_behind_v1(greeting)));
    let raw = Fake::start(support::fake::echo_behind_v1);
    let mut narrow = Plan::new(Protocol::Submission, Handoff::ProxyV1, submission.address);
    narrow.trusted = vec!["127.0.0.9/32"];
    let config = together([
        ("smtp", Plan::new(Protocol::Smtp, Handoff::ProxyV1, smtp.address)),
        ("submission", narrow),
        ("raw", Plan::new(Protocol::Tcp, Handoff::ProxyV1, raw.address)),
    ]);
    let house = House::start(&config);
    for (listener, from, greeting) in [
        ("smtp", [127, 0, 0, 1], "220 smtp\r\n221 bye\r\n"),
        ("submission", [127, 0, 0, 9], "220 submission\r\n221 bye\r\n"),
        ("raw", [127, 0, 0, 1], "QUIT\r\n"),
    ] {
        let mut client = connect(from.into(), house.server.address(listener).unwrap());
        client.write_all(HEADER).unwrap();
        client.write_all(b"QUIT\r\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(String::from_utf8(read_to_end(&client)).unwrap(), greeting);
        house.record().assert(&[
            ("outcome", "done"),
            ("listener", listener),
            ("backend", listener),
            ("client", "203.0.113.7:4711"),
        ]);
    }
    // Trust is each listener's own.
    let mut client = connect([127, 0, 0, 1].into(), house.server.address("submission").unwrap());
    client.write_all(HEADER).unwrap();
    house.record().assert(&[("outcome", "untrusted_header"), ("listener", "submission")]);
    assert_eq!(house.server.listening().len(), 3);
}

#[test]
fn one_listener_may_have_several_addresses() {
    let backend = HeaderMailServer::start();
    let folder = Folder::new();
    let mut plan = unix_plan(&folder.path(), backend.address);
    plan.binds.push(Bind::Tcp { addr: ([127, 0, 0, 1], 0).into(), families: Families::Own });
    plan.binds.push(Bind::Tcp { addr: (Ipv6Addr::LOCALHOST, 0).into(), families: Families::Own });
    plan.connect_timeout = Duration::from_secs(2);
    let house = plan.start();
    let mut ids = std::collections::HashSet::new();
    for bound in &house.server.listening() {
        match bound.tcp {
            Some(to) => {
                let from = if to.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
                let mut client = connect(from, to);
                client.write_all(HEADER).unwrap();
                client.write_all(b"QUIT\r\n").unwrap();
                expect(&client, b"220 backend ready\r\n221 bye\r\n");
            }
            None => {
                let mut client = unix_client(&folder.path());
                client.write_all(HEADER).unwrap();
                client.write_all(b"QUIT\r\n").unwrap();
                expect_unix(&client, b"220 backend ready\r\n221 bye\r\n");
            }
        }
        let record = house.record();
        record.assert_outcome(Outcome::Done);
        assert!(ids.insert(record.get("id").unwrap().to_owned()), "{}", record.0);
    }
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_pause_is_counted_once_however_often_the_worker_is_called_meanwhile() {
    let backend = Fake::start(smtp_behind_v1(GREETING));
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.max_connections = Some(1);
    let config = plan.config();
    let mut house = House::start(&config);
    let mut client = house.connect();
    client.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    expect(&client, GREETING.as_bytes());
    assert!(eventually(|| house.counted(ACCEPT_PAUSES) >= 1));
    // Each gives every worker an order, and so another turn.
    for _ in 0..50 {
        house.server.take(&config).unwrap();
    }
    client.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(read_to_end(&client), b"221 bye\r\n");
    drop(client);
    house.wait_for_open(0);
    assert!(
        (1..=machine::workers()).contains(&usize::try_from(house.counted(ACCEPT_PAUSES)).unwrap()),
        "{} pauses",
        house.counted(ACCEPT_PAUSES)
    );
}
