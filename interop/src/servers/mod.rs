//! The programs around truepeer, and truepeer itself: their configuration, their start, their end.
//!
//! Called by `lab`. They must not know the cases.

pub(crate) mod caddy;
pub(crate) mod chromium;
pub(crate) mod crowdsec;
pub(crate) mod dovecot;
pub(crate) mod envoy;
pub(crate) mod example;
pub(crate) mod exim;
pub(crate) mod fail2ban;
pub(crate) mod haproxy;
pub(crate) mod http;
pub(crate) mod mariadb;
pub(crate) mod names;
pub(crate) mod newer;
pub(crate) mod nginx;
pub(crate) mod opensmtpd;
pub(crate) mod others;
pub(crate) mod postfix;
pub(crate) mod prometheus;
pub(crate) mod python;
pub(crate) mod redis;
pub(crate) mod sshd;
pub(crate) mod stalwart;
pub(crate) mod traefik;
pub(crate) mod truepeer;
pub(crate) mod vsftpd;
pub(crate) mod written;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::verdict::{During, Result, Verdict, failed};

/// One port of a proxy in front, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Front {
    /// Where the proxy listens.
    pub(crate) listen: SocketAddr,
    /// Where it connects to.
    pub(crate) to: SocketAddr,
}

/// Finds a program by name, also where only root's path leads.
pub(crate) fn find(name: &'static str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| Verdict::Skipped(format!("{name} is not installed")))
}

/// Finds a program that `interop/install-wheels` or `interop/install-unpacked` fetches, by its path there.
pub(crate) fn find_fetched(name: &str) -> Result<PathBuf> {
    let file = fetched_dir().join(name);
    if file.is_file() {
        return Ok(file);
    }
    Err(Verdict::Skipped(format!("{} is not there, interop/install says why", file.display())))
}

/// Where those programs are: `INTEROP_DIR`, or the directory that they go to without it.
pub(crate) fn fetched_dir() -> PathBuf {
    std::env::var_os("INTEROP_DIR")
        .map_or_else(|| PathBuf::from("/usr/local/lib/truepeer-interop"), PathBuf::from)
}

/// Skips what only root can start.
pub(crate) fn need_root(name: &str) -> Result {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Verdict::Skipped(format!("{name} needs root")))
}

/// What a program prints when asked something that it answers at once.
pub(crate) fn ask(program: &Path, args: &[&str]) -> Result<String> {
    answer(Command::new(program).args(args))
}

/// What this command prints, which ends at once.
pub(crate) fn answer(command: &mut Command) -> Result<String> {
    let said = |command: &Command| {
        let words = core::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    };
    let output = command.stdin(Stdio::null()).output().during(&said(command))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return failed(format!("{}: {}", said(command), why.trim_end()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Makes a directory that the servers' own users can enter.
pub(crate) fn make_dir(dir: &Path) -> Result {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(dir).during(&format!("make {}", dir.display()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).during(&format!("open {}", dir.display()))
}

/// Writes a configuration file.
pub(crate) fn write(file: &Path, text: &str) -> Result {
    fs::write(file, text).during(&format!("write {}", file.display()))
}
