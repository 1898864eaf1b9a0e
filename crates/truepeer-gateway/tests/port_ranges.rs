//! Ranges of ports: each port of a listener is handed to one of its own, as FTP's passive transfers need it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::Mutex;

use crate::program::Program;
use crate::support::{House, PATIENCE};
use rustix::process::Signal;
use truepeer_gateway::config::{self, Config, Surroundings};
use truepeer_gateway::rooms::backend::Readiness;

/// Tries to find ports in a row that are all free.
const TRIES: usize = 200;

/// Where the listener is, and where the servers, so that all can have the same ports: addresses that nobody connects from,
/// whose ports no other program on this host has.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 50, 0, 1));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 50, 0, 2));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 50, 0, 3));

/// The first of so many `ports` in a row that are free at each of `ips`. The system chooses the first; no other test of
/// this file has any of them, for some are free because their listener is yet to come or was taken away.
fn free(ips: &[IpAddr], ports: u16) -> u16 {
    static GIVEN: Mutex<Vec<RangeInclusive<u16>>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap();
    for _ in 0..TRIES {
        let first = TcpListener::bind((ips[0], 0)).unwrap().local_addr().unwrap().port();
        let Some(last) = first.checked_add(ports - 1) else { continue };
        let is_free = |ip: &IpAddr| (first..=last).all(|port| TcpListener::bind((*ip, port)).is_ok());
        let is_given = given.iter().any(|other| first <= *other.end() && *other.start() <= last);
        if !is_given && ips.iter().all(is_free) {
            given.push(first..=last);
            return first;
        }
    }
    panic!("no {ports} free ports in a row");
}

/// One transfer of a server: it listens on its port for one client, says which port that is, and sends back what it
/// hears, with the header, if there is one, before it.
fn transfer(at: SocketAddr) -> std::thread::JoinHandle<SocketAddr> {
    let listener = TcpListener::bind(at).unwrap();
    std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        write!(stream, "{}:", at.port()).unwrap();
        stream.write_all(&heard).unwrap();
        peer
    })
}

/// What a client of `port` gets for `said`.
fn fetch(at: SocketAddr, said: &str) -> String {
    let mut client = TcpStream::connect(at).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    // A client that no server expected is cut off, perhaps before it has said all.
    let _ = client.write_all(said.as_bytes());
    let _ = client.shutdown(Shutdown::Write);
    let mut heard = String::new();
    let _ = client.read_to_string(&mut heard);
    heard
}

fn resolved(text: &str) -> Config {
    config::resolve(text, "ftp.toml", &Surroundings::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn text(bind: &str, handoff: &str, address: &str) -> String {
    format!(
        "[server]\nhostname = \"ftp.example\"\nmax-connections = 100\nproxy.max-pending = 100\n\
         [server.listener.data]\nbind = {bind}\nprotocol = \"tcp\"\nbackend = \"data\"\n\
         [backend.data]\nhandoff = \"{handoff}\"\naddress = {address}\n"
    )
}

#[test]
fn each_port_is_handed_to_the_same_port_and_the_record_names_it() {
    let first = free(&[HERE, THERE], 3);
    let last = first + 2;
    let config = resolved(&text(
        &format!("\"127.50.0.1:{first}-{last}\""),
        "none",
        &format!("\"127.50.0.2:{first}-{last}\""),
    ));
    let house = House::start(&config);
    let listening = house.server.listening();
    assert_eq!(listening.len(), 1, "{listening:?}");
    assert_eq!(listening[0].address, format!("127.50.0.1:{first}-{last}"));
    // Nobody listens there yet, and nobody was asked.
    assert_eq!(*house.readiness(), Readiness::Unproven);
    for port in [last, first, first + 1] {
        let server = transfer(SocketAddr::new(THERE, port));
        assert_eq!(fetch(SocketAddr::new(HERE, port), "STOR"), format!("{port}:STOR"));
        server.join().unwrap();
        let record = house.record();
        let (client, server) = (format!("127.50.0.1:{port}"), format!("127.50.0.2:{port}"));
        record.assert(&[("outcome", "done"), ("listener", "data"), ("destination", &client)]);
        record.assert(&[("backend", "data"), ("backend_address", &server)]);
        assert_eq!(record.get("cause"), None, "{record:?}");
    }
}

#[test]
fn clients_of_both_families_reach_a_range_of_the_same_length() {
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let (here, there) = (free(&[HERE, v6], 2), free(&[THERE], 2));
    let bind = format!("[\"127.50.0.1:{here}-{}\", \"[::1]:{here}-{}\"]", here + 1, here + 1);
    let house =
        House::start(&resolved(&text(&bind, "proxy-v1", &format!("\"127.50.0.2:{there}-{}\"", there + 1))));
    assert_eq!(house.server.listening().len(), 2);
    for (ip, family) in [(HERE, "TCP4 127.0.0.1 127.50.0.1"), (v6, "TCP6 ::1 ::1")] {
        for lane in [1, 0] {
            let server = transfer(SocketAddr::new(THERE, there + lane));
            let heard = fetch(SocketAddr::new(ip, here + lane), "RETR");
            server.join().unwrap();
            assert!(heard.starts_with(&format!("{}:PROXY {family} ", there + lane)), "{heard}");
            assert!(heard.ends_with(&format!(" {}\r\nRETR", here + lane)), "{heard}");
        }
    }
}

#[test]
fn a_port_that_nobody_serves_now_says_nothing_of_the_others() {
    let first = free(&[HERE, THERE], 2);
    let range = |ip: &str| format!("\"{ip}:{first}-{}\"", first + 1);
    let house = House::start(&resolved(&text(&range("127.50.0.1"), "none", &range("127.50.0.2"))));
    for _ in 0..3 {
        assert_eq!(fetch(SocketAddr::new(HERE, first), "RETR"), "");
        let record = house.record();
        record.assert(&[("outcome", "backend_refused")]);
        let cause = record.get("cause").unwrap();
        assert!(cause.contains(&format!("127.50.0.2:{first}: cannot connect")), "{cause}");
    }
    let server = transfer(SocketAddr::new(THERE, first + 1));
    assert_eq!(fetch(SocketAddr::new(HERE, first + 1), "RETR"), format!("{}:RETR", first + 1));
    server.join().unwrap();
    assert_eq!(*house.readiness(), Readiness::Unproven);
}

#[test]
fn where_one_server_refuses_the_next_is_tried_on_the_same_port() {
    let first = free(&[HERE, THERE, ELSEWHERE], 2);
    let range = |ip: &str| format!("\"{ip}:{first}-{}\"", first + 1);
    let both = format!("[{}, {}]", range("127.50.0.2"), range("127.50.0.3"));
    let house = House::start(&resolved(&text(&range("127.50.0.1"), "none", &both)));
    for _ in 0..4 {
        let server = transfer(SocketAddr::new(ELSEWHERE, first + 1));
        assert_eq!(fetch(SocketAddr::new(HERE, first + 1), "RETR"), format!("{}:RETR", first + 1));
        server.join().unwrap();
        house.record().assert(&[("backend_address", &*format!("127.50.0.3:{}", first + 1))]);
    }
}

#[test]
fn a_reload_adds_and_removes_ports_and_status_lists_them_as_one() {
    let first = free(&[HERE, THERE], 5);
    let config = |last: u16| {
        let range = |ip: &str| format!("\"{ip}:{first}-{last}\"");
        text(&range("127.50.0.1"), "none", &range("127.50.0.2")) + "[admin]\nsocket = \"ADMIN\"\n"
    };
    let mut program = Program::start(&config(first + 1));
    let serves = |port: u16| {
        let server = transfer(SocketAddr::new(THERE, port));
        assert_eq!(fetch(SocketAddr::new(HERE, port), "RETR"), format!("{port}:RETR"));
        server.join().unwrap();
    };
    let refuses = |port: u16| TcpStream::connect((HERE, port)).is_err();
    serves(first + 1);
    assert!(refuses(first + 2));

    // One transfer goes on over a reload that takes its port away.
    let server = transfer(SocketAddr::new(THERE, first));
    let mut open = TcpStream::connect((HERE, first)).unwrap();
    open.write_all(b"half").unwrap();
    for last in [first + 4, first + 2] {
        program.write_config(&config(last));
        program.signal(Signal::HUP);
        let line = program.wait_for("event=listening");
        assert!(line.contains(&format!("address=127.50.0.1:{first}-{last}")), "{line}");
        program.wait_for("event=reloaded");
        serves(first + 1);
        serves(last);
        assert!(last == first + 4 || refuses(first + 4));
        let status = program.command(&["status", "--json"]).ok().json().remove(0);
        let listed = |key: &str| status[key].as_array().unwrap().clone();
        assert_eq!(listed("listeners").len(), 1, "{status}");
        assert_eq!(listed("listeners")[0]["address"], format!("127.50.0.1:{first}-{last}"));
        let address = &listed("backends")[0]["addresses"][0];
        assert_eq!(address["address"], format!("127.50.0.2:{first}-{last}"));
        assert_eq!(address["readiness"], "unproven");
    }
    let ready = program.seen.iter().filter(|line| line.contains("event=listening")).count();
    assert_eq!(ready, 3, "{:?}", program.seen);
    open.write_all(b" and half").unwrap();
    open.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    open.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, format!("{first}:half and half"));
    server.join().unwrap();
}

#[test]
fn a_range_of_which_one_port_is_taken_names_that_port() {
    let first = free(&[HERE], 3);
    let _other = TcpListener::bind((HERE, first + 1)).unwrap();
    let range = |ip: &str| format!("\"{ip}:{first}-{}\"", first + 2);
    let config = resolved(&text(&range("127.50.0.1"), "none", &range("127.50.0.2")));
    let (log, _writer) = truepeer_gateway::observe::log::Log::start(
        config.log.format,
        truepeer_gateway::observe::log::RefusalLines::Fold,
        std::io::sink(),
    )
    .unwrap();
    let error = truepeer_gateway::server::Server::start(&config, &log).unwrap_err().to_string();
    assert!(error.contains(&format!("127.50.0.1:{} is in use", first + 1)), "{error}");
}
