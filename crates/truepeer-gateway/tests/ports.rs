//! Source ports run out: an outcome with a remedy, told apart from what looks the same, and over when one is free.
//!
//! Each test runs again in a network namespace of its own, whose port range it can make small.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use crate::support::fake::{Fake, smtp_behind_v1};
use crate::support::space::inside;
use crate::support::{House, PATIENCE, Plan, expect, read_to_end};
use socket2::{Domain, Socket, Type};
use truepeer_gateway::engine::{Address, DialError, dial};
use truepeer_gateway::facts::bind::{Bind, Families};
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::backend::{BackendAddress, Readiness};
use truepeer_gateway::rooms::handoff::Handoff;

const REFUSAL: &[u8] = b"421 4.3.2 mx.example no server is ready for you now, try again later\r\n";
const GREETINGS: [&str; 2] = ["220 a\r\n", "220 b\r\n"];
/// Source ports towards one address, once [`narrow`] was called.
const PORTS: usize = 10;

/// From now on there are so few ports towards each address; sockets that are bound keep theirs.
fn narrow() {
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009").unwrap();
}

/// A front door and its backends at ports outside the range: nobody else is in this namespace.
fn house(backends: &[&Fake]) -> House {
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backends[0].address);
    plan.addresses = backends.iter().map(|backend| BackendAddress::Socket(backend.address)).collect();
    plan.binds = vec![Bind::Tcp { addr: ([127, 0, 0, 1], 25).into(), families: Families::Own }];
    let house = plan.start();
    narrow();
    house
}

fn backend(last: u8, greeting: &'static str) -> Fake {
    let address = SocketAddr::from(([127, 0, 0, last], 10025));
    Fake::on(TcpListener::bind(address).unwrap(), smtp_behind_v1(greeting))
}

/// Its own port is none of those that the front door has towards its backends.
fn client(house: &House, port: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let port = 20_000 + u16::try_from(port).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.connect(&house.address().into()).unwrap();
    let mut client = TcpStream::from(socket);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    client
}

/// How many of `clients` were greeted so.
fn count(clients: &[String], greeting: &str) -> usize {
    clients.iter().filter(|heard| *heard == greeting).count()
}

/// One line.
fn hear(client: &TcpStream) -> String {
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    line
}

#[test]
fn when_every_source_port_is_in_use_clients_hear_a_temporary_no_until_one_is_free() {
    inside("ports::when_every_source_port_is_in_use_clients_hear_a_temporary_no_until_one_is_free", || {
        let backend = backend(1, GREETINGS[0]);
        let house = house(&[&backend]);
        let mut held: Vec<_> = (0..PORTS).map(|number| client(&house, number)).collect();
        for client in &held {
            expect(client, GREETINGS[0].as_bytes());
        }
        for number in PORTS..PORTS + 2 {
            assert_eq!(read_to_end(&client(&house, number)), REFUSAL);
            let record = house.record();
            record.assert(&[("outcome", "backend_ports_exhausted"), ("level", "warn")]);
            let (cause, remedy) = (record.get("cause").unwrap(), record.get("remedy").unwrap());
            assert!(cause.starts_with("127.0.0.1:10025: no source port is left"), "{cause}");
            assert!(remedy.contains("net.ipv4.ip_local_port_range"), "{remedy}");
            // Asking the backend again would need a port as well, and it is in order.
            assert_eq!(*house.readiness(), Readiness::Proved);
        }
        // The backend ends first: otherwise the kernel would keep our port for a while.
        let mut leaves = held.remove(0);
        leaves.write_all(b"QUIT\r\n").unwrap();
        assert_eq!(read_to_end(&leaves), b"221 bye\r\n");
        drop(leaves);
        house.record().assert_outcome(Outcome::Done);
        expect(&client(&house, PORTS + 2), GREETINGS[0].as_bytes());
    });
}

#[test]
fn another_address_of_the_backend_has_ports_of_its_own() {
    inside("ports::another_address_of_the_backend_has_ports_of_its_own", || {
        let [a, b] = [0, 1].map(|at| backend(1 + u8::try_from(at).unwrap(), GREETINGS[at]));
        let house = house(&[&a, &b]);
        let clients: Vec<_> = (0..2 * PORTS).map(|number| client(&house, number)).collect();
        let heard: Vec<_> = clients.iter().map(hear).collect();
        assert_eq!(GREETINGS.map(|greeting| count(&heard, greeting)), [PORTS; 2], "{heard:?}");
        assert_eq!(read_to_end(&client(&house, 2 * PORTS)), REFUSAL);
        house.record().assert_outcome(Outcome::BackendPortsExhausted);

        // All who leave one address leave ports there; every next client finds them, wherever its turn begins.
        let (left, stay): (Vec<_>, Vec<_>) =
            clients.into_iter().zip(heard).partition(|(_, heard)| heard == GREETINGS[0]);
        // The backend ends first: otherwise the kernel would keep our ports for a while.
        for (mut client, _) in left {
            client.write_all(b"QUIT\r\n").unwrap();
            assert_eq!(read_to_end(&client), b"221 bye\r\n");
            drop(client);
            house.record().assert(&[("outcome", "done"), ("backend_address", "127.0.0.1:10025")]);
        }
        for number in 0..PORTS / 2 {
            expect(&client(&house, 100 + number), GREETINGS[0].as_bytes());
        }
        drop(stay);
    });
}

#[test]
fn an_address_without_a_way_there_is_not_taken_for_a_lack_of_ports() {
    inside("ports::an_address_without_a_way_there_is_not_taken_for_a_lack_of_ports", || {
        narrow();
        for device in ["all", "lo"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6"), "1").unwrap();
        }
        let address = Address::Tcp((Ipv6Addr::LOCALHOST, 10025).into());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(dial(&address, b"", PATIENCE)).unwrap_err();
        // The same error number as for ports.
        assert!(error.to_string().contains("Cannot assign requested address"), "{error}");
        assert!(matches!(error, DialError::Connect(_)), "{error:?}");
    });
}
