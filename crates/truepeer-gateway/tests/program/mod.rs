//! The real program: started with a configuration, asked by its own commands, ended with the test.

#![allow(unreachable_pub, reason = "shared by the test files")]
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{PATIENCE, eventually, expect, read_to_end};

/// The program.
pub const BINARY: &str = env!("CARGO_BIN_EXE_truepeer");

/// A folder of its own for each test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("truepeer-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file in it as text, empty if there is none.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running front door whose configuration is `truepeer.toml` in `folder`.
pub struct Program {
    pub folder: Folder,
    /// Every line of the log that was read so far.
    pub seen: Vec<String>,
    child: Child,
    events: Receiver<String>,
    addresses: Vec<(String, SocketAddr)>,
}

impl Program {
    /// Starts it and waits until it is ready; `ADMIN` in the configuration is the path of a socket in its folder,
    /// `FOLDER` the folder.
    pub fn start(config: &str) -> Self {
        Self::start_in(Folder::new(), config)
    }

    pub fn start_in(folder: Folder, config: &str) -> Self {
        Self::start_by(Command::new(BINARY), folder, config)
    }

    /// Started by `command`, which runs [`BINARY`] with the arguments that are added to it.
    pub fn start_by(command: Command, folder: Folder, config: &str) -> Self {
        let mut program = Self::launch(folder, config, command);
        program.wait_for("event=ready");
        program
    }

    /// As [`Program::start_in`], for a program that logs into the file `log` of its folder.
    pub fn start_with_log_file(folder: Folder, config: &str, log: &str) -> Self {
        Self::with_log_file(folder, config, log, Command::new(BINARY))
    }

    /// The same, run by `command`.
    pub fn with_log_file(folder: Folder, config: &str, log: &str, command: Command) -> Self {
        let mut program = Self::launch(folder, config, command);
        let ready = || program.folder.read(log).contains("event=ready");
        assert!(eventually(ready), "{}", program.rest_of_stderr().join("\n"));
        for line in program.folder.read(log).lines() {
            program.note_address(line);
        }
        program
    }

    fn launch(folder: Folder, config: &str, mut command: Command) -> Self {
        write_config(&folder, config);
        let mut child = command
            .args(["run", "--config"])
            .arg(folder.path("truepeer.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, events) = sync_channel(4096);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { folder, seen: Vec::new(), child, events, addresses: Vec::new() }
    }

    /// The next line of the log that holds `text`; addresses on the way are noted.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let from = self.seen.len();
        loop {
            let Ok(line) = self.events.recv_timeout(PATIENCE) else {
                panic!("no {text:?} in the log:\n{}", self.seen[from..].join("\n"));
            };
            self.seen.push(line.clone());
            self.note_address(&line);
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Reads what the log has said since; returns how many lines hold `text`, from the start on.
    pub fn count(&mut self, text: &str) -> usize {
        self.seen.extend(self.events.try_iter());
        self.seen.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits a moment for more of the log, so that a program that says much is never kept waiting.
    pub fn read_on(&mut self) {
        self.seen.extend(self.events.recv_timeout(Duration::from_millis(20)));
        self.seen.extend(self.events.try_iter());
    }

    /// Something that the kernel tells of it: `status`, `stat`, `fd`.
    pub fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.child.id()))
    }

    /// As system calls name it.
    pub fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What came on standard error and was not waited for.
    pub fn rest_of_stderr(&self) -> Vec<String> {
        self.events.try_iter().collect()
    }

    fn note_address(&mut self, line: &str) {
        let listener = || field(line, "listener").map(str::to_owned);
        let name = match field(line, "event") {
            Some("status_served") => Some("status".to_owned()),
            Some("listening" | "listener_closed" | "listener_opened") => listener(),
            Some("health_served") => listener().map(|listener| listener + ".health"),
            _ => None,
        };
        let address = field(line, "address").and_then(|address| address.parse().ok());
        if let (Some(name), Some(address)) = (name, address) {
            self.addresses.retain(|(other, _)| *other != name);
            self.addresses.push((name, address));
        }
    }

    /// The address of a listener, or of `status`.
    #[track_caller]
    pub fn address(&self, name: &str) -> SocketAddr {
        self.addresses.iter().find(|(other, _)| other == name).expect("an address in the log").1
    }

    pub fn connect(&self, name: &str) -> TcpStream {
        let stream = TcpStream::connect(self.address(name)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Replaces its configuration file; nothing reads it until a reload.
    pub fn write_config(&self, config: &str) {
        write_config(&self.folder, config);
    }

    /// One of its commands, with `--config` added.
    pub fn command(&self, arguments: &[&str]) -> Answer {
        let output = Command::new(BINARY)
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path("truepeer.toml"))
            .output()
            .unwrap();
        Answer(output)
    }

    /// The process that was started.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).unwrap();
    }

    /// Waits for its end and its last word.
    #[track_caller]
    pub fn wait(&mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        // The reader ends with the program.
        self.seen.extend(self.events.iter());
    }

    /// Ends it as a power cut would; returns its folder.
    pub fn kill(mut self) -> Folder {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, Folder(PathBuf::from("/nonexistent")))
    }

    /// Waits for its end; returns its folder.
    pub fn end(mut self) -> Folder {
        self.wait();
        std::mem::replace(&mut self.folder, Folder(PathBuf::from("/nonexistent")))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes it as [`Program::start`] does.
pub fn write_config(folder: &Folder, config: &str) {
    let path = |name: &str| folder.path(name).display().to_string();
    let config = config.replace("ADMIN", &path("admin.sock")).replace("FOLDER", &path(""));
    std::fs::write(folder.path("truepeer.toml"), config).unwrap();
}

pub fn field<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    line.split(' ').find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
}

/// What a command said.
pub struct Answer(pub Output);

impl Answer {
    pub fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub fn error(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// Standard output, line by line, as JSON.
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// It went well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code(), Some(0), "{}{}", self.out(), self.error());
        self
    }
}

/// A command alone.
pub fn command(arguments: &[&str], socket: &Path) -> Answer {
    Answer(Command::new(BINARY).args(arguments).arg("--socket").arg(socket).output().unwrap())
}

/// A connection of the proxy for the client `address`.
pub fn client(program: &Program, address: &str) -> TcpStream {
    let mut stream = program.connect("door");
    stream.write_all(format!("PROXY TCP4 {address} 198.51.100.25 4711 25\r\n").as_bytes()).unwrap();
    stream
}

/// One that is greeted by the backend.
pub fn served(program: &Program, address: &str) -> TcpStream {
    let stream = client(program, address);
    expect(&stream, b"220 backend ready\r\n");
    stream
}

/// It hears the permanent refusal of SMTP.
#[track_caller]
pub fn assert_refused(program: &Program, address: &str) {
    let said = read_to_end(&client(program, address));
    assert!(said.starts_with(b"554 5.7.1 "), "{}", said.escape_ascii());
}
