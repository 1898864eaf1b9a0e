//! MariaDB behind truepeer: it sees the client, and nothing that truepeer does by itself locks anybody out.
//!
//! Called by `cases`. Its own client program asks, from outside.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;

use super::{Case, case};
use crate::feed::PATIENCE;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::mariadb::{MAX_CONNECT_ERRORS, Mariadb};
use crate::servers::truepeer::Truepeer;
use crate::space::{GATE_V4, OUTSIDE_V4};
use crate::verdict::{During, Result, ensure, failed};

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("mariadb_behind_truepeer_sees_the_clients_own_address", sees_the_client),
        case("mariadb_is_never_connected_to_by_checks_and_locks_nobody_out", no_checks),
        case("mariadb_that_locks_truepeer_out_or_reads_no_header_is_named_in_the_record", named),
    ]
}

/// A MariaDB, and a truepeer in front of it with a port that shows by closing and one that shows by greeting whether
/// MariaDB is there.
struct Pair<'l> {
    lab: &'l Lab,
    mariadb: Mariadb,
    truepeer: Truepeer,
    door: SocketAddr,
    closing: SocketAddr,
    health: SocketAddr,
}

impl<'l> Pair<'l> {
    fn start(lab: &'l Lab) -> Result<Self> {
        lab.outside()?;
        let mariadb = Mariadb::start(&lab.fresh_dir("mariadb")?)?;
        lab.watch("mariadb", mariadb.log());
        let gate = IpAddr::V4(GATE_V4);
        let (door, closing, health) = (Port::free(gate)?, Port::free(gate)?, Port::free(gate)?);
        let (door, closing, health) = (door.addr(), closing.addr(), health.addr());
        let text = format!(
            "\
[log]
format = \"json\"
[server.listener.door]
bind = \"{door}\"
health-bind = \"{health}\"
protocol = \"tcp\"
backend = \"mariadb\"
[server.listener.closing]
bind = \"{closing}\"
protocol = \"tcp\"
backend = \"mariadb\"
when-backend-down = \"close-listener\"
[backend.mariadb]
kind = \"mariadb\"
address = \"{}\"
",
            mariadb.port()
        );
        let dir = lab.fresh_dir("mariadb-truepeer")?;
        let truepeer = Truepeer::start_as_written(lab.program()?, &dir, &text, ("door", door))?;
        lab.watch("truepeer", truepeer.log());
        Ok(Self { lab, mariadb, truepeer, door, closing, health })
    }

    /// What a client outside gets at `to`.
    fn client(&self, to: SocketAddr, sql: &str) -> Result<std::result::Result<String, String>> {
        self.mariadb.ask(self.lab.outside()?, to, sql)
    }

    fn is_served(&self, to: SocketAddr) -> Result {
        match self.client(to, "SELECT USER()")? {
            Ok(user) => ensure(user == format!("interop@{OUTSIDE_V4}"), || format!("MariaDB saw {user}")),
            Err(error) => failed(format!("a client is refused: {error}")),
        }
    }
}

fn sees_the_client(lab: &Lab) -> Result {
    let pair = Pair::start(lab)?;
    pair.is_served(pair.door)?;
    pair.is_served(pair.closing)?;
    let mark = pair.truepeer.log().mark();
    let sql = "SELECT HOST FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()";
    let listed = match pair.client(pair.door, sql)? {
        Ok(listed) => listed,
        Err(error) => return failed(error),
    };
    // By address and port: the records of those who came before may still be on their way.
    let what = format!("a record of {listed}, whom MariaDB lists");
    let record = pair.truepeer.record(mark, &what, |record| record.text("client") == listed)?;
    ensure(record.text("cause").is_empty(), || format!("nothing was wrong: {}", record.text("cause")))
}

/// More rounds of checks than MariaDB would bear, while a truepeer that does connect shows how time passes.
fn no_checks(lab: &Lab) -> Result {
    let pair = Pair::start(lab)?;
    pair.is_served(pair.door)?;
    let before = (pair.mariadb.counter("Aborted_connects")?, pair.mariadb.counter("Connections")?);
    // Balancers ask at both ports, oftener than MariaDB forgives.
    for _ in 0..MAX_CONNECT_ERRORS.saturating_mul(4) {
        drop(TcpStream::connect(pair.health).during("check the health port")?);
    }
    wait_for_rounds(lab, 3)?;
    let after = (pair.mariadb.counter("Aborted_connects")?, pair.mariadb.counter("Connections")?);
    ensure(after.0 == before.0, || {
        format!("{} connections without a login", after.0.saturating_sub(before.0))
    })?;
    // What asked for the counters connected as well.
    ensure(after.1.saturating_sub(before.1) <= 4, || format!("{before:?} became {after:?}"))?;
    pair.is_served(pair.door)?;
    pair.is_served(pair.closing)
}

/// Comes back when another truepeer, whose backend may be connected to, has asked that one so often.
fn wait_for_rounds(lab: &Lab, rounds: usize) -> Result {
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("listen for checks")?;
    let addr = backend.local_addr().during("read an address")?;
    let (tell, connected) = sync_channel(64);
    std::thread::spawn(move || {
        for _stream in backend.incoming() {
            if tell.send(()).is_err() {
                return;
            }
        }
    });
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (door, health) = (Port::free(local)?.addr(), Port::free(local)?.addr());
    let text = format!(
        "\
[log]
format = \"json\"
[server.listener.door]
bind = \"{door}\"
health-bind = \"{health}\"
protocol = \"tcp\"
backend = \"other\"
[backend.other]
handoff = \"proxy-v2\"
check = \"connect\"
address = \"{addr}\"
"
    );
    let dir = lab.fresh_dir("clock")?;
    let _clock = Truepeer::start_as_written(lab.program()?, &dir, &text, ("door", door))?;
    for _ in 0..=rounds {
        connected.recv_timeout(PATIENCE).during("wait for a check")?;
    }
    Ok(())
}

/// The test of the test: who connects without a login here is locked out, and the record says whose fault that is.
fn named(lab: &Lab) -> Result {
    let pair = Pair::start(lab)?;
    pair.is_served(pair.door)?;
    let mark = pair.truepeer.log().mark();
    // Each is counted once MariaDB has found its end.
    let counted = pair.mariadb.counter("Aborted_connects")?;
    for number in 0..=MAX_CONNECT_ERRORS {
        drop(TcpStream::connect(pair.mariadb.port()).during("connect without a login")?);
        let aborted = || pair.mariadb.counter("Aborted_connects").unwrap_or_default();
        let wanted = counted.saturating_add(u64::try_from(number).unwrap_or_default());
        let _is_there = (0..200).any(|_| aborted() > wanted);
    }
    match pair.client(pair.door, "SELECT 1")? {
        Ok(_) => return failed("MariaDB locks nobody out here, so the cases prove nothing"),
        Err(error) => ensure(error.contains("is blocked"), || error.clone())?,
    }
    let record = pair.truepeer.record(mark, "the record of a client that was locked out", |record| {
        record.text("cause").contains("keeps truepeer's address out")
    })?;
    ensure(record.text("remedy").contains("FLUSH HOSTS"), || record.text("remedy"))?;
    pair.mariadb.as_root("FLUSH HOSTS")?;
    pair.is_served(pair.door)?;

    pair.mariadb.as_root("SET GLOBAL proxy_protocol_networks = '127.0.0.1'")?;
    let mark = pair.truepeer.log().mark();
    let refused = pair.client(pair.door, "SELECT 1")?;
    ensure(refused.is_err(), || "a MariaDB that reads no header took one".to_owned())?;
    let record =
        pair.truepeer.record(mark, "the record of a client whose header was not read", |record| {
            record.text("cause").contains("it may not read our header")
        })?;
    ensure(record.text("remedy").contains("proxy-protocol-networks"), || record.text("remedy"))
}
