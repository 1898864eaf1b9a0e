//! A front door of our own, before a backend of our own, and what the kernel tells of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Door {
    child: Child,
    log: BufReader<ChildStderr>,
    pub address: SocketAddr,
    pub folder: PathBuf,
}

/// A command that is run where other machines would be, so that it takes nothing from what is measured.
pub fn elsewhere(program: &str) -> Command {
    let Ok(cpu) = std::env::var("TRUEPEER_ELSEWHERE") else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["-c", &cpu, program]);
    command
}

pub fn program() -> String {
    std::env::var("TRUEPEER").unwrap_or_else(|_| "../../target/release/truepeer".to_owned())
}

/// Answers each connection with what a client waits for.
pub fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut buf = [0; 512];
                while let Ok(1..) = stream.read(&mut buf) {
                    if stream.write_all(b"ok\n").is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

impl Door {
    /// `more` stands behind the rest of the configuration.
    pub fn start(backend: SocketAddr, more: &str, state: &str) -> Self {
        Self::start_by(Command::new(program()), backend, more, state)
    }

    /// The same by this command.
    pub fn start_by(mut command: Command, backend: SocketAddr, more: &str, state: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("truepeer-scale-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("denied"), state).unwrap();
        let at = folder.display();
        let config = format!(
            "[server]\nhostname = \"mx.example\"\nmax-connections = 500\n\
             [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nbackend = \"b\"\n\
             proxy.trusted-networks = [\"127.0.0.1\"]\n\
             [backend.b]\nhandoff = \"proxy-v1\"\naddress = \"{backend}\"\n\
             [admin]\nsocket = \"{at}/admin.sock\"\nstate = \"{at}/denied\"\n{more}"
        );
        std::fs::write(folder.join("truepeer.toml"), config).unwrap();
        let mut child = command
            .args(["run", "--config"])
            .arg(folder.join("truepeer.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut address = None;
        loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "truepeer has ended");
            if line.contains("event=listening") {
                address = field(&line, "address").and_then(|address| address.parse().ok());
            }
            if line.contains("event=ready") {
                break;
            }
        }
        Self { child, log, address: address.unwrap(), folder }
    }

    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "truepeer has ended");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Reads the log away, so that nobody waits for us.
    pub fn read_on(&mut self) {
        let log =
            std::mem::replace(&mut self.log, BufReader::new(self.child.stderr.take().unwrap_or_else(never)));
        std::thread::spawn(move || for _ in log.lines() {});
    }

    /// Resident now and at most, in KiB.
    pub fn resident(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
            line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
        };
        (number("VmRSS:"), number("VmHWM:"))
    }

    /// CPU time of its threads whose names begin so, in nanoseconds.
    pub fn cpu_ns(&self, threads: &str) -> u64 {
        let mut sum = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap() {
            let task = task.unwrap().path();
            let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
            if name.starts_with(threads) {
                let stat = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
                sum += stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        sum
    }

    /// One client, from its header to its answer and its end.
    pub fn serve_one(&self, number: u32) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let client = std::net::Ipv4Addr::from(0x0b00_0000 + number % 65_536);
        write!(stream, "PROXY TCP4 {client} 198.51.100.25 4711 25\r\nhello\n").unwrap();
        let mut said = [0; 3];
        stream.read_exact(&mut said).unwrap();
    }
}

fn never() -> ChildStderr {
    Command::new("true").stderr(Stdio::piped()).spawn().unwrap().stderr.take().unwrap()
}

pub fn field<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    line.split_whitespace().find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
