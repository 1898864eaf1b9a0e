//! Front doors whose backend is a program.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use truepeer_gateway::config::{self, Config, Surroundings};

use super::{House, read_to_end};

/// A header that names a client.
pub const V1: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";

/// A file with a listener `door` in front of a backend that is `command`, with more lines of the backend and of all.
pub fn text(protocol: &str, command: &str, of_backend: &str, more: &str) -> String {
    format!(
        "[server]\nhostname = \"mx.example\"\nmax-connections = 100\ndrain-timeout = \"20s\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\nproxy.header-timeout = \"10s\"\n{more}\n\
         [backend.b]\nhandoff = \"exec\"\nexec.command = {command}\nexec.reads-environment = true\n{of_backend}\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"{protocol}\"\nbackend = \"b\"\n"
    )
}

pub fn config(text: &str) -> Config {
    config::resolve(text, "test.toml", &Surroundings::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

pub fn house(command: &str) -> House {
    House::start(&config(&text("tcp", command, "", "")))
}

/// A shell script as the command.
pub fn sh(script: &str) -> String {
    format!("[\"/bin/sh\", \"-c\", '{script}']")
}

/// Sends all of `bytes`, then no more, and reads what is answered.
pub fn ask(mut stream: TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    String::from_utf8(read_to_end(&stream)).unwrap()
}
