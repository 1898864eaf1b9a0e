//! fail2ban: the server with one jail, its shipped filters, and truepeer's action as it is shipped.
//!
//! Called by `cases`. It must not know who is to be banned.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::feed::Feed;
use crate::program::Program;
use crate::servers::{ask, find, make_dir, write};
use crate::verdict::{During, Result, Verdict};

/// Where Debian keeps its filters.
const FILTERS: &str = "/etc/fail2ban/filter.d";

/// The name of the jail, which is its filter's as well.
const JAIL: &str = "dovecot";

/// A running fail2ban.
#[derive(Debug)]
pub(crate) struct Fail2ban {
    program: Program,
    dir: PathBuf,
}

impl Fail2ban {
    /// Starts fail2ban in `dir`, watching `log`; `action` is what a jail would write behind `action =`.
    pub(crate) fn start(dir: &Path, log: &Path, action: &str) -> Result<Self> {
        const ACTION: &str = include_str!("../../../packaging/fail2ban/action.d/truepeer.conf");
        let server = find("fail2ban-server")?;
        if !Path::new(FILTERS).is_dir() {
            return Err(Verdict::Skipped("fail2ban's filters are not installed".to_owned()));
        }
        make_dir(dir)?;
        make_dir(&dir.join("action.d"))?;
        symlink(FILTERS, dir.join("filter.d")).during("find fail2ban's filters")?;
        write(&dir.join("action.d/truepeer.conf"), ACTION)?;
        write(&dir.join("fail2ban.conf"), &settings(dir))?;
        write(&dir.join("jail.conf"), &jail(log, action))?;
        let mut command = Command::new(server);
        command.args(Self::places(dir)).args(["-f", "start"]);
        let started = Self { program: Program::start("fail2ban", &mut command)?, dir: dir.to_owned() };
        started.program.wait_started(|line| line.contains(&format!("Jail '{JAIL}' started")))?;
        Ok(started)
    }

    /// What fail2ban logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }

    /// Has its client change the jail: `banip ADDR`, `unbanip ADDR`, `bantime SECONDS`.
    pub(crate) fn set(&self, words: &[&str]) -> Result<String> {
        let mut all = Self::places(&self.dir);
        all.extend(["set", JAIL].map(str::to_owned));
        all.extend(words.iter().map(|word| (*word).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        ask(&find("fail2ban-client")?, &all)
    }

    fn places(dir: &Path) -> Vec<String> {
        let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let dir = dir.to_string_lossy().into_owned();
        vec!["-c".into(), dir, "-s".into(), file("socket"), "-p".into(), file("pid")]
    }
}

/// No database: what an earlier run banned is not ordered again.
fn settings(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "\
[DEFAULT]
loglevel = INFO
logtarget = STDOUT
syslogsocket = auto
socket = {dir}/socket
pidfile = {dir}/pid
dbfile = None
dbpurgeage = 1d
dbmaxmatches = 10
[Definition]
[Thread]
"
    )
}

/// Clients of the harness are on loopback, so nothing is ignored.
fn jail(log: &Path, action: &str) -> String {
    format!(
        "\
[DEFAULT]
ignoreself = false
ignoreip =
usedns = no
backend = polling
logencoding = utf-8
[{JAIL}]
enabled = true
filter = {JAIL}
logpath = {log}
maxretry = 3
findtime = 600
bantime = 600
action = {action}
",
        log = log.display()
    )
}

/// Whether a line of the log is one that an operator would have to look at.
pub(crate) fn is_complaint(line: &str) -> bool {
    ["ERROR", "CRITICAL"].iter().any(|level| line.contains(level))
}

/// An empty file for a log that is still to be written; fail2ban wants it to be there.
pub(crate) fn empty_log(dir: &Path) -> Result<PathBuf> {
    let file = dir.join("watched.log");
    fs::write(&file, "").during("make a log")?;
    Ok(file)
}
