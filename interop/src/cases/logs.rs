//! What becomes of the log file, and how one finds a connection in it.
//!
//! Called by `cases`.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Case, PROXY, case, hello, told_client, told_destination};
use crate::client::Client;
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::truepeer::Truepeer;
use crate::servers::{ask, find, need_root, write};
use crate::verdict::{During, Result, ensure, failed};

/// Every case.
pub(super) fn cases() -> Vec<Case> {
    vec![case("logrotate_rotates_the_log_by_the_snippet_and_no_record_is_lost", rotation)]
}

/// A truepeer of its own that logs into a file, with these backend lines.
struct Logging {
    /// Ends with it.
    truepeer: Truepeer,
    dir: PathBuf,
}

impl Logging {
    fn start(lab: &Lab, name: &str, backend: &str, log: &str) -> Result<Self> {
        let dir = lab.fresh_dir(name)?;
        let port = Port::free(IpAddr::from([127, 0, 0, 1]))?;
        let addr = port.addr();
        let text = format!(
            "[server]\nhostname = \"truepeer.interop.test\"\nproxy.trusted-networks = [\"127.0.0.1\"]\n\
             [server.listener.smtp]\nbind = \"{addr}\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
             [backend.mail]\n{backend}\n[admin]\nsocket = \"{}\"\n",
            dir.join("admin.sock").display()
        );
        drop(port);
        // Its start is heard on standard error; the file comes with a reload.
        let truepeer = Truepeer::start_as_written(lab.program()?, &dir, &text, ("smtp", addr))?;
        lab.watch(name, truepeer.log());
        let file = dir.join("truepeer.log");
        let text = format!("{text}[log]\nfile = \"{}\"\n{log}", file.display());
        write(&dir.join("truepeer.toml"), &text)?;
        let started = Self { truepeer, dir };
        started.command(lab, &["reload"])?;
        lab.wait_until_served(addr)?;
        Ok(started)
    }

    fn command(&self, lab: &Lab, words: &[&str]) -> Result<String> {
        let socket = self.dir.join("admin.sock");
        let socket = socket.to_string_lossy();
        ask(lab.program()?, &[words, &["--socket", &socket][..]].concat())
    }

    /// One session of the client with this port.
    fn visit(&self, port: u16) -> Result {
        let mut client = Client::dial(PROXY, self.truepeer.port("smtp")?)?;
        client.send(&header::v2(told_client(port), told_destination(), &[]))?;
        hello(&mut client)
    }

    fn records(&self, name: &str, port: u16) -> usize {
        let text = fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        let client = format!(" client={} ", told_client(port));
        text.lines().filter(|line| line.contains(&client) && line.contains(" outcome=done ")).count()
    }
}

fn rotation(lab: &Lab) -> Result {
    const SNIPPET: &str = include_str!("../../../packaging/logrotate/truepeer");
    const SIGNAL: &str = "systemctl kill --signal=HUP --kill-who=main truepeer.service";
    // Enough for a signal to arrive: each try is a session.
    const TRIES: u16 = 2000;
    let logrotate = find("logrotate")?;
    need_root("logrotate")?;
    let logging = Logging::start(lab, "logrotate", "kind = \"whoami\"", "")?;
    let status = logging.command(lab, &["status", "--json"])?;
    let status: serde_json::Value = serde_json::from_str(&status).during("read the status")?;
    let Some(pid) = status.get("pid") else { return failed(format!("no pid in {status}")) };
    let log = logging.dir.join("truepeer.log");
    ensure(SNIPPET.contains(SIGNAL), || format!("the snippet does not say `{SIGNAL}`"))?;
    // There is no service manager here; the signal and whom it reaches are the same.
    let snippet = SNIPPET
        .replace("/var/log/truepeer/truepeer.log {", &format!("{} {{", log.display()))
        .replace(SIGNAL, &format!("kill -HUP {pid}"));
    let conf = logging.dir.join("logrotate.conf");
    write(&conf, &snippet)?;
    logging.visit(1)?;
    rotate(&logrotate, &logging.dir, &conf)?;
    let mut port = 1_u16;
    while fs::metadata(&log).during("see the new file")?.len() == 0 {
        port = port.saturating_add(1);
        ensure(port < TRIES, || "the new file stays empty".to_owned())?;
        logging.visit(port)?;
    }
    let last = port.saturating_add(1);
    logging.visit(last)?;
    // Everything that was said is written when a reload has answered.
    logging.command(lab, &["reload"])?;
    for port in 1..=last {
        let (old, new) = (logging.records("truepeer.log.1", port), logging.records("truepeer.log", port));
        ensure(old.saturating_add(new) == 1, || {
            format!("visit {port}: {old} in the old file, {new} in the new")
        })?;
    }
    ensure(logging.records("truepeer.log.1", 1) == 1, || {
        "the first visit is not in the old file".to_owned()
    })?;
    ensure(logging.records("truepeer.log", last) == 1, || {
        "the last visit is not in the new file".to_owned()
    })?;
    for file in [log, logging.dir.join("truepeer.log.1")] {
        let mode = fs::metadata(&file).during("see a file's mode")?.permissions().mode() & 0o777;
        ensure(mode == 0o640, || format!("{}: mode {mode:o}", file.display()))?;
    }
    // The second rotation compresses what the first one moved.
    rotate(&logrotate, &logging.dir, &conf)?;
    ensure(logging.dir.join("truepeer.log.2.gz").is_file(), || "nothing was compressed".to_owned())
}

fn rotate(logrotate: &Path, dir: &Path, conf: &Path) -> Result {
    let state = dir.join("logrotate.state");
    let (state, conf) = (state.to_string_lossy(), conf.to_string_lossy());
    let said = ask(logrotate, &["--force", "--verbose", "--state", &state, &conf])?;
    if said.contains("error:") { failed(said) } else { Ok(()) }
}
