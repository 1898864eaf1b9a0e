//! FTP through truepeer: the control connection, and a range of ports for passive transfers, each to its own.
//!
//! Called by `cases`. vsftpd gives a transfer only to the address of the control connection, so that one wrong port or
//! address shows.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use super::words::follow_the_snippet;
use super::{Case, case};
use crate::lab::Lab;
use crate::port::{Port, bound};
use crate::servers::find;
use crate::servers::truepeer::Truepeer;
use crate::servers::vsftpd::{CONTENT, Vsftpd};
use crate::space::{GATE_V4, OUTSIDE_V4};
use crate::verdict::{During, Result, ensure, failed};

/// How many passive ports there are.
const PORTS: u16 = 4;
/// Where vsftpd is: on this host, with the same ports as truepeer has for clients.
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 50, 0, 9));

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ftp_transfers_reach_their_own_ports_and_the_server_sees_the_client", transparent),
        case("ftp_transfers_work_with_a_server_that_sees_only_truepeer", plain),
    ]
}

fn transparent(lab: &Lab) -> Result {
    follow_the_snippet(lab)?;
    transfers(lab, "transparent", IpAddr::V4(OUTSIDE_V4))
}

fn plain(lab: &Lab) -> Result {
    transfers(lab, "none", IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// A client outside fetches the file and the list, oftener than there are ports; vsftpd sees it as `seen`.
fn transfers(lab: &Lab, handoff: &str, seen: IpAddr) -> Result {
    let (outside, curl) = (lab.outside()?, find("curl")?);
    let (gate, first) = (IpAddr::V4(GATE_V4), free_row()?);
    let last = first.saturating_add(PORTS.saturating_sub(1));
    let (control, door) = (Port::free(SERVER)?, Port::free(gate)?);
    let vsftpd = Vsftpd::start(&lab.fresh_dir("vsftpd")?, control.addr(), &gate.to_string(), (first, last))?;
    lab.watch("vsftpd", vsftpd.log());
    let door = door.addr();
    let text = format!(
        "\
[log]
format = \"json\"
[server.listener.ftp]
bind = \"{door}\"
protocol = \"tcp\"
backend = \"ftp\"
[server.listener.data]
bind = \"{gate}:{first}-{last}\"
protocol = \"tcp\"
backend = \"data\"
[backend.ftp]
handoff = \"{handoff}\"
address = \"{}\"
[backend.data]
handoff = \"{handoff}\"
address = \"{SERVER}:{first}-{last}\"
",
        control.addr()
    );
    let dir = lab.fresh_dir("truepeer-ftp")?;
    let truepeer = Truepeer::start_as_written(lab.program()?, &dir, &text, ("ftp", door))?;
    lab.watch("truepeer", truepeer.log());
    let mark = truepeer.log().mark();
    for round in 0..PORTS.saturating_mul(2) {
        let mut command = Command::new(&curl);
        command.args(["--silent", "--show-error", "--max-time", "20"]).stdin(Stdio::null());
        // By its port alone, and by address and port.
        command.args((round % 2 == 1).then_some("--disable-epsv"));
        command.arg(format!("ftp://{door}/{}", if round % 3 == 2 { "" } else { "file" }));
        let output = outside.enter(move || command.output().during("run curl"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_right = if round % 3 == 2 { text.trim_end().ends_with(" file") } else { text == CONTENT };
        if !is_right {
            return failed(format!("round {round}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    let record =
        truepeer.record(mark, "the record of a transfer", |record| record.text("listener") == "data")?;
    let port = |field: &str| record.text(field).parse::<SocketAddr>().map(|addr| addr.port()).ok();
    let (here, there) = (port("destination"), port("backend_address"));
    ensure(here.is_some() && here == there, || format!("port to port: {record:?}"))?;
    let logged = vsftpd.logged()?;
    let connects: Vec<_> = logged.lines().filter(|line| line.contains("CONNECT: Client")).collect();
    let whom = format!("\"{seen}\"");
    ensure(connects.iter().any(|line| line.contains(&whom)), || format!("vsftpd saw {connects:#?}"))
}

/// The first of so many ports in a row that are free at both ends.
fn free_row() -> Result<u16> {
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        let first = Port::free(SERVER)?.addr().port();
        let row = first.checked_add(PORTS).map(|end| first..end);
        let is_free = |port: u16| {
            [SERVER, IpAddr::V4(GATE_V4)].iter().all(|ip| bound(SocketAddr::new(*ip, port)).is_ok())
        };
        if row.is_some_and(|mut row| row.all(is_free)) {
            return Ok(first);
        }
    }
    failed("no ports in a row are free")
}
