//! The program under test: its configuration, its start, its records.
//!
//! Called by `lab` and `cases`. It must not know what stands around it.

use core::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::feed::{Feed, Mark};
use crate::port::Port;
use crate::program::Program;
use crate::servers::{make_dir, write};
use crate::verdict::{During, Result, Verdict, failed};

/// How often a start is tried again with other ports when one was taken in between.
const BIND_TRIES: usize = 3;

/// One listener of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener<'a> {
    /// Its id.
    pub(crate) id: &'a str,
    /// The address to listen on; the port is chosen.
    pub(crate) ip: IpAddr,
    /// The language of its refusals.
    pub(crate) protocol: &'a str,
    /// The backend's id.
    pub(crate) backend: &'a str,
    /// Further lines of its table.
    pub(crate) lines: &'a str,
}

/// One backend of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend<'a> {
    /// Its id.
    pub(crate) id: &'a str,
    /// Its kind.
    pub(crate) kind: &'a str,
    /// How it is told who the client is, if not as its kind is.
    pub(crate) handoff: Option<&'a str>,
    /// Where it is.
    pub(crate) addr: SocketAddr,
}

/// A running truepeer.
#[derive(Debug)]
pub(crate) struct Truepeer {
    program: Program,
    ports: Vec<(String, SocketAddr)>,
    path: PathBuf,
    dir: PathBuf,
}

impl Truepeer {
    /// Starts the program at `path` and waits until every listener listens. Its operator's socket is `admin.sock` in
    /// `dir`, its bans are kept there in `denied`, and its status page is the listener `status`.
    pub(crate) fn start(
        path: &Path,
        dir: &Path,
        listeners: &[Listener<'_>],
        backends: &[Backend<'_>],
    ) -> Result<Self> {
        make_dir(dir)?;
        let mut tries = 0_usize;
        loop {
            tries = tries.saturating_add(1);
            match Self::try_start(path, dir, listeners, backends) {
                // A port that was free a moment ago may be another's: it says so, and ends.
                Err(Verdict::Failed(why))
                    if (why.contains("in use") || why.contains("ended first")) && tries < BIND_TRIES => {}
                started => return started,
            }
        }
    }

    /// The program's standard error: records and events.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }

    /// Where the listener `id` listens.
    pub(crate) fn port(&self, id: &str) -> Result<SocketAddr> {
        match self.ports.iter().find(|(name, _)| name == id) {
            Some((_, addr)) => Ok(*addr),
            None => failed(format!("there is no listener {id}")),
        }
    }

    /// The first record behind `mark` whose client is `client`.
    pub(crate) fn record_of(&self, mark: Mark, client: SocketAddr) -> Result<Record> {
        self.record(mark, &format!("truepeer's record of client {client}"), |record| {
            record.is_at("client", client)
        })
    }

    /// The first record behind `mark` for which `is_it` holds.
    pub(crate) fn record(&self, mark: Mark, what: &str, is_it: impl Fn(&Record) -> bool) -> Result<Record> {
        let line = self.log().wait_line(mark, what, |line| Record::parse(line).is_some_and(|r| is_it(&r)))?;
        match Record::parse(&line) {
            Some(record) => Ok(record),
            None => failed(format!("{what}: not a record: {line}")),
        }
    }

    /// Ends it, does `meanwhile`, and starts it again as it was.
    pub(crate) fn restart(self, meanwhile: impl FnOnce() -> Result) -> Result<Self> {
        let Self { program, ports, path, dir } = self;
        let text = std::fs::read_to_string(dir.join("truepeer.toml")).during("read a configuration")?;
        drop(program);
        meanwhile()?;
        Self::launch(&path, &dir, &text, ports)
    }

    /// A file of its directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Runs one of its commands, which reaches it by its configuration.
    pub(crate) fn command(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.path);
        command.args(words).arg("--config").arg(self.file("truepeer.toml")).stdin(Stdio::null());
        command.output().during("run a command of truepeer")
    }

    /// The networks that are denied now.
    pub(crate) fn denied(&self) -> Result<Vec<Value>> {
        let listed = self.command(&["deny", "--list", "--json"])?;
        if !listed.status.success() {
            return failed(format!("deny --list: {}", String::from_utf8_lossy(&listed.stderr)));
        }
        let text = String::from_utf8_lossy(&listed.stdout);
        text.lines().map(|line| serde_json::from_str(line).during("read a ban")).collect()
    }

    /// Waits for an event of its log that holds `words`.
    pub(crate) fn wait_event(&self, mark: Mark, event: &str, words: &str) -> Result<String> {
        let name = format!("\"event\":\"{event}\"");
        let what = format!("truepeer's event {event} about {words}");
        self.log().wait_line(mark, &what, |line| line.contains(&name) && line.contains(words))
    }

    fn try_start(
        path: &Path,
        dir: &Path,
        listeners: &[Listener<'_>],
        backends: &[Backend<'_>],
    ) -> Result<Self> {
        let mut ports = Vec::new();
        for listener in listeners {
            ports.push((listener.id.to_owned(), Port::free(listener.ip)?));
        }
        let status = Port::free(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let mut text = configuration(listeners, &ports, backends)?;
        let file = |name: &str| dir.join(name).display().to_string();
        let (socket, state) = (file("admin.sock"), file("denied"));
        write!(
            text,
            "[admin]\nsocket = \"{socket}\"\nstate = \"{state}\"\n[status]\nbind = \"{}\"\n",
            status.addr()
        )
        .during("write truepeer's configuration")?;
        ports.push(("status".to_owned(), status));
        // Given up only now, since truepeer asks for its ports exclusively.
        let ports: Vec<_> = ports.into_iter().map(|(id, port)| (id, port.addr())).collect();
        Self::launch(path, dir, &text, ports)
    }

    /// Starts the program with this configuration, whose listener is `listener`, and waits until it listens.
    pub(crate) fn start_as_written(
        path: &Path,
        dir: &Path,
        text: &str,
        (id, addr): (&str, SocketAddr),
    ) -> Result<Self> {
        make_dir(dir)?;
        Self::launch(path, dir, text, vec![(id.to_owned(), addr)])
    }

    fn launch(path: &Path, dir: &Path, text: &str, ports: Vec<(String, SocketAddr)>) -> Result<Self> {
        let config = dir.join("truepeer.toml");
        write(&config, text)?;
        let mut command = Command::new(path);
        command.arg("run").arg("--config").arg(&config).current_dir(dir);
        let program = Program::start("truepeer", &mut command)?;
        let started = Self { program, ports, path: path.to_owned(), dir: dir.to_owned() };
        for (id, addr) in &started.ports {
            let addr = addr.to_string();
            started.program.wait_started(|line| line.contains(&addr) && line.contains(id.as_str()))?;
        }
        Ok(started)
    }
}

/// The line that one connection left.
#[derive(Clone, Debug)]
pub(crate) struct Record(Value);

impl Record {
    /// A record, if this line of the log is one: only records have an outcome.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        value.get("outcome").is_some().then_some(Self(value))
    }

    /// The text of a field, empty where there is none.
    pub(crate) fn text(&self, field: &str) -> String {
        match self.0.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }

    /// Does the field hold this address and port?
    pub(crate) fn is_at(&self, field: &str, addr: SocketAddr) -> bool {
        self.text(field) == addr.to_string()
    }

    /// Does the field hold this address, whatever the port?
    pub(crate) fn is_from(&self, field: &str, ip: IpAddr) -> bool {
        self.text(field).parse::<SocketAddr>().is_ok_and(|addr| addr.ip() == ip)
    }
}

fn configuration(
    listeners: &[Listener<'_>],
    ports: &[(String, Port)],
    backends: &[Backend<'_>],
) -> Result<String> {
    let mut text = "\
[server]
hostname = \"truepeer.interop.test\"
[server.proxy]
trusted-networks = [\"127.0.0.1\", \"::1\"]
[log]
format = \"json\"
"
    .to_owned();
    for (Listener { id, protocol, backend, lines, .. }, (_, port)) in listeners.iter().zip(ports) {
        write!(
            text,
            "[server.listener.{id}]\nbind = \"{}\"\nprotocol = \"{protocol}\"\nbackend = \"{backend}\"\n{lines}",
            port.addr()
        )
        .during("write truepeer's configuration")?;
    }
    for Backend { id, kind, handoff, addr } in backends {
        let handoff = handoff.map_or_else(String::new, |handoff| format!("handoff = \"{handoff}\"\n"));
        write!(text, "[backend.{id}]\nkind = \"{kind}\"\n{handoff}address = [\"{addr}\"]\n")
            .during("write truepeer's configuration")?;
    }
    Ok(text)
}
