//! The load, and what is asked of a server about itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A version 2 header for 203.0.113.5:40000, sent to 198.51.100.2:25, with the id that HAProxy adds on wish.
const HEADER: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x17\xcb\0\x71\x05\xc6\x33\x64\x02\x9c\x40\0\x19\x05\0\x08ab12cd34";

/// A server of this program, as a child.
pub struct Server {
    child: Child,
    said: BufReader<ChildStdout>,
    addr: SocketAddr,
    request: Vec<u8>,
}

impl Server {
    pub fn start(kind: &str, whose: &str) -> Self {
        Self::start_by(Command::new(std::env::current_exe().unwrap()), kind, whose)
    }

    fn start_by(mut command: Command, kind: &str, whose: &str) -> Self {
        let mut child = command
            .args(["serve", kind, whose])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let request: &[u8] = match kind {
            "axum" => b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            _ => b"ping\n",
        };
        Self { child, said, addr: line.trim().parse().unwrap(), request: [HEADER, request].concat() }
    }

    /// CPU time of the server for each of so many connections, in microseconds.
    pub fn cpu_per_connection(&mut self, connections: u32) -> f64 {
        let before = self.cpu();
        (0..connections).for_each(|_| ask(self.addr, &self.request));
        (self.cpu() - before) as f64 / f64::from(connections) / 1e3
    }

    /// CPU time of the server so far, in nanoseconds.
    fn cpu(&mut self) -> u64 {
        self.child.stdin.as_mut().unwrap().write_all(b"cpu\n").unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    /// Ends it; what it, or the program that ran it, said on standard error.
    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection, from its header to the server's close; the answer names the client.
fn ask(addr: SocketAddr, request: &[u8]) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::with_capacity(256);
    stream.read_to_end(&mut answer).unwrap();
    let hello = b"hello 203.0.113.5:40000\n";
    assert!(answer.ends_with(hello), "{}", answer.escape_ascii());
}

/// Instructions of a whole run with so many connections, one after the other.
pub fn instructions(kind: &str, whose: &str, connections: u32) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap());
    let server = Server::start_by(valgrind, kind, whose);
    (0..connections).for_each(|_| ask(server.addr, &server.request));
    let said = server.end();
    let line = said.lines().find(|line| line.contains("Collected")).unwrap_or_else(|| panic!("{said}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
