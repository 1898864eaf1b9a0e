//! What a service manager hears from the real program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::program;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;

use crate::program::{Answer, BINARY, Folder, Program};
use crate::support::{HeaderMailServer, PATIENCE, expect};
use rustix::process::Signal;

struct Heard(UnixDatagram);

impl Heard {
    fn on(address: &SocketAddr) -> Self {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next message that is no sign of life.
    fn next(&self) -> Vec<String> {
        loop {
            let message = self.any();
            if message != ["WATCHDOG=1"] {
                return message;
            }
        }
    }

    fn any(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let count = self.0.recv(&mut bytes).expect("a message within the patience");
        String::from_utf8(bytes[..count].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }
}

fn config(backend: &HeaderMailServer, more: &str) -> String {
    format!(
        "[server]\ndrain-timeout = \"5m\"\nproxy.trusted-networks = [\"127.0.0.1\"]\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n[admin]\nsocket = \"ADMIN\"\n{more}",
        backend.address
    )
}

#[test]
fn a_manager_hears_ready_reloading_and_stopping_in_time() {
    let backend = HeaderMailServer::start();
    let folder = Folder::new();
    let path = folder.path("notify");
    let heard = Heard::on(&SocketAddr::from_pathname(&path).unwrap());
    let mut command = Command::new(BINARY);
    command.env("NOTIFY_SOCKET", &path);
    let mut program = Program::start_by(command, folder, &config(&backend, ""));
    assert_eq!(heard.next(), ["READY=1", "STATUS=listening on 1 addresses"]);

    for by_signal in [true, false] {
        program.write_config(&config(&backend, "[access]\ndeny = [\"198.51.100.0/24\"]\n"));
        if by_signal {
            program.signal(Signal::HUP);
        } else {
            program.command(&["reload"]).ok();
        }
        let reloading = heard.next();
        assert_eq!(reloading[0], "RELOADING=1");
        let micros = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0, "{reloading:?}");
        assert_eq!(heard.next(), ["READY=1", "STATUS=listening on 1 addresses"]);
    }

    // A reload that changes nothing ends as well, and says so.
    program.write_config(&config(&backend, "[sever]\n"));
    program.signal(Signal::HUP);
    assert_eq!(heard.next()[0], "RELOADING=1");
    let ready = heard.next();
    assert_eq!(ready[0], "READY=1");
    assert!(ready[1].contains("the old configuration goes on") && ready[1].contains("sever"), "{ready:?}");

    // A drain that takes longer than the manager's own patience asks for more.
    let mut open = program.connect("door");
    open.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    expect(&open, b"220 backend ready\r\n");
    program.signal(Signal::TERM);
    let stopping =
        ["STOPPING=1", "EXTEND_TIMEOUT_USEC=310000000", "STATUS=draining 1 connections for at most 300 s"];
    assert_eq!(heard.next(), stopping);
    drop(open);
    program.wait_for("event=stopped");
    program.end();
}

#[test]
fn a_manager_that_asks_for_signs_of_life_gets_them_during_a_drain_too() {
    let backend = HeaderMailServer::start();
    let name = format!("truepeer-test-{}", std::process::id());
    let heard = Heard::on(&SocketAddr::from_abstract_name(&name).unwrap());
    // The shell, so that the variable can name the process that it becomes.
    let mut command = Command::new("sh");
    command.args(["-c", "export WATCHDOG_PID=$$; exec \"$@\"", "sh", BINARY]);
    command.env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "200000");
    let mut program = Program::start_by(command, Folder::new(), &config(&backend, ""));
    assert_eq!(heard.next()[0], "READY=1");
    for _ in 0..3 {
        assert_eq!(heard.any(), ["WATCHDOG=1"]);
    }
    let mut open = program.connect("door");
    open.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    expect(&open, b"220 backend ready\r\n");
    program.signal(Signal::TERM);
    assert_eq!(heard.next()[0], "STOPPING=1");
    for _ in 0..3 {
        assert_eq!(heard.any(), ["WATCHDOG=1"]);
    }
    drop(open);
    program.wait_for("event=stopped");
    program.end();
}

#[test]
fn a_service_without_a_configuration_is_an_error_that_names_the_path() {
    for variable in ["NOTIFY_SOCKET=@truepeer-nobody", "SYSTEMD_EXEC_PID=$$"] {
        let answer = Answer(
            Command::new("sh")
                .args(["-c", &format!("export {variable}; exec \"$@\""), "sh", BINARY, "run"])
                .output()
                .unwrap(),
        );
        assert_eq!(answer.code(), Some(1));
        assert!(answer.error().contains("there is no configuration"), "{}", answer.error());
        assert!(answer.error().contains("/etc/truepeer/truepeer.toml"), "{}", answer.error());
    }
}

#[test]
fn a_notify_socket_that_is_no_address_is_said_at_start() {
    let backend = HeaderMailServer::start();
    let folder = Folder::new();
    program::write_config(&folder, &config(&backend, ""));
    let mut command = Command::new(BINARY);
    command.env("NOTIFY_SOCKET", "vsock:2:1234").args(["run", "--config"]).arg(folder.path("truepeer.toml"));
    let answer = Answer(command.output().unwrap());
    assert_eq!(answer.code(), Some(3));
    assert!(answer.error().contains("NOTIFY_SOCKET: vsock:2:1234 is neither a path"), "{}", answer.error());
}
