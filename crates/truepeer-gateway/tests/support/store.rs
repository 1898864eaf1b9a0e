//! A real Redis (or Valkey) of the test's own, on a port that the system chose.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use redis::{Client, Cmd, Connection, Value};
use rustix::process::{Pid, Signal, kill_process};

use super::fake::Nobody;
use super::{PATIENCE, eventually};

/// The program: `TRUEPEER_STORE` names another one, such as `valkey-server`.
fn program() -> String {
    std::env::var("TRUEPEER_STORE").unwrap_or_else(|_| "redis-server".to_owned())
}

/// Whether there is one; where it must be there and is not, the test fails.
pub fn is_there() -> bool {
    let found = Command::new(program()).arg("--version").stdout(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return true;
    }
    skipped(&format!("there is no {}", program()));
    false
}

/// Says that a test did not run; where it must run, it fails.
#[track_caller]
pub fn skipped(why: &str) {
    let required = std::env::var("TRUEPEER_REQUIRE").is_ok_and(|list| list.contains("store"));
    assert!(!required, "{why}");
    #[allow(clippy::print_stderr, reason = "what is skipped is said")]
    {
        eprintln!("SKIPPED (LOUD): shared: {why}");
    }
}

/// A running store. It cannot say which port it chose, so one is kept free for it, from before its start to its end.
pub struct Store {
    at: Nobody,
    folder: PathBuf,
    child: Option<Child>,
}

impl Store {
    /// Starts one that keeps nothing on disk.
    pub fn start(folder: PathBuf, more: &[&str]) -> Self {
        Self::start_at(Nobody::new(), folder, more)
    }

    pub fn start_at(at: Nobody, folder: PathBuf, more: &[&str]) -> Self {
        let mut store = Self { at, folder, child: None };
        store.run(more);
        store
    }

    pub fn port(&self) -> u16 {
        self.at.address().port()
    }

    /// Starts it again, empty, at the same port.
    pub fn run(&mut self, more: &[&str]) {
        let tls = more.contains(&"--tls-port");
        let port = if tls { "0".to_owned() } else { self.port().to_string() };
        let mut command = Command::new(program());
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--dir", self.folder.to_str().unwrap()]).args(more);
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let listens = || TcpStream::connect(self.at.address()).is_ok();
        assert!(eventually(listens), "the store does not listen");
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// It is there and answers nothing.
    pub fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    pub fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    /// Asks it something, without a password.
    #[track_caller]
    pub fn ask(&self, words: &[&str]) -> Value {
        let mut command = Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query(&mut self.connection()).unwrap()
    }

    /// Puts entries into a hash, many at a time.
    pub fn fill(&self, hash: &str, entries: impl Iterator<Item = (String, String)>) {
        let mut connection = self.connection();
        let entries: Vec<_> = entries.collect();
        for some in entries.chunks(10_000) {
            let mut command = redis::cmd("HSET");
            command.arg(hash);
            for (field, value) in some {
                command.arg(field).arg(value);
            }
            let _: Value = command.query(&mut connection).unwrap();
        }
    }

    fn connection(&self) -> Connection {
        let client = Client::open(format!("redis://{}", self.at.address())).unwrap();
        let connection = client.get_connection_with_timeout(PATIENCE).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One that watches a master and makes a copy the next one.
pub struct Sentinel {
    child: Child,
    at: Nobody,
}

impl Sentinel {
    pub fn start(conf: &std::path::Path, at: Nobody) -> Self {
        let mut command = Command::new(program());
        command.arg(conf).arg("--sentinel");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        assert!(eventually(|| TcpStream::connect(at.address()).is_ok()));
        Self { child, at }
    }

    pub fn knows_a_copy(&self) -> bool {
        let client = Client::open(format!("redis://{}", self.at.address())).unwrap();
        let mut connection = client.get_connection_with_timeout(PATIENCE).unwrap();
        let copies: Value =
            redis::cmd("SENTINEL").arg("replicas").arg("mymaster").query(&mut connection).unwrap();
        matches!(copies, Value::Array(copies) if !copies.is_empty())
    }

    pub fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.end();
    }
}

/// A way to the port that takes `delay` in each direction; returns its own port.
#[expect(clippy::disallowed_methods, reason = "the delay is what is tested")]
pub fn slow_way_to(port: u16, delay: std::time::Duration) -> u16 {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let carry = move |mut from: TcpStream, mut to: TcpStream| {
        let (late, due) = std::sync::mpsc::sync_channel::<(std::time::Instant, Vec<u8>)>(65_536);
        std::thread::spawn(move || {
            for (at, bytes) in due {
                // The delay is what is tested, not a way to wait for something.
                std::thread::sleep(at.saturating_duration_since(std::time::Instant::now()));
                if to.write_all(&bytes).is_err() {
                    return;
                }
            }
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
        let mut buf = [0; 65_536];
        while let Ok(len @ 1..) = from.read(&mut buf) {
            if late.send((std::time::Instant::now() + delay, buf[..len].to_vec())).is_err() {
                return;
            }
        }
    };
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || carry(near, far));
            std::thread::spawn(move || carry(far_too, near_too));
        }
    });
    own
}
