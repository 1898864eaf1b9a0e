//! Exim behind truepeer, unpacked beside the system: one port that expects a header.
//!
//! Called by `cases`. It must not know who connects.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::page;
use crate::port::Port;
use crate::program::Program;
use crate::servers::{fetched_dir, find_fetched, make_dir, need_root, write};
use crate::verdict::{During, Result};

/// A running Exim.
#[derive(Debug)]
pub(crate) struct Exim {
    program: Program,
}

impl Exim {
    /// Starts Exim at `listen`; each client waits `pause` before it is greeted, such as `0s`.
    pub(crate) fn start(dir: &Path, listen: SocketAddr, pause: &str) -> Result<Self> {
        let lines = format!(
            "local_interfaces = {}\ndaemon_smtp_ports = {}\nhosts_proxy = 127.0.0.1\n",
            listen.ip(),
            listen.port()
        );
        Self::start_with(dir, &lines, pause)
    }

    /// Starts it with these lines for ports and proxies.
    pub(crate) fn start_with(dir: &Path, lines: &str, pause: &str) -> Result<Self> {
        need_root("Exim")?;
        let exim = find_fetched("exim/usr/sbin/exim4")?;
        make_dir(dir)?;
        let (config, at) = (dir.join("exim.conf"), dir.display());
        let text = format!(
            "\
exim_path = {}
exim_user = nobody
exim_group = nogroup
spool_directory = {at}/spool
log_file_path = {at}/%slog
pid_file_path = {at}/exim.pid
primary_hostname = exim.interop.test
{lines}host_lookup =
rfc1413_hosts =
acl_smtp_connect = connect
begin acl
connect:
  accept delay = {pause}
",
            exim.display(),
        );
        write(&config, &text)?;
        let spool = dir.join("spool");
        make_dir(&spool)?;
        open_to_all(dir)?;
        open_to_all(&spool)?;
        let mut command = Command::new(&exim);
        // Its libraries lie beside it.
        command
            .env("LD_LIBRARY_PATH", fetched_dir().join("exim/libraries"))
            .arg("-C")
            .arg(&config)
            .arg("-bdf");
        Ok(Self { program: Program::start("exim", &mut command)? })
    }

    /// Starts Exim by the lines of its page, at a port of 127.0.0.1, with STARTTLS; `pair` is the file with certificate
    /// and key.
    pub(crate) fn start_by_page(dir: &Path, port: &Port, pair: &Path) -> Result<Self> {
        let lines = page::block(include_str!("../../../docs/neighbours/exim.md"), "", "exim")?
            .replace("10025", &port.addr().port().to_string());
        let pair = pair.display();
        let tls =
            format!("tls_advertise_hosts = *\ntls_certificate = {pair}\ntls_privatekey = {pair}\n{lines}");
        Self::start_with(dir, &tls, "0s")
    }

    /// What it prints.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }
}

/// Exim writes as a user of its own.
fn open_to_all(dir: &Path) -> Result {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).during("open a directory to Exim")
}
