//! Programs that share a page: Hitch and stunnel, which end TLS in front, Varnish and dnsdist, which are on either side.
//!
//! Called by `cases`, which have the lines from `docs/neighbours/others.md`. They must not know what is beside them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::program::Program;
use crate::servers::{find, make_dir, write};
use crate::verdict::Result;

/// One of them, running.
#[derive(Debug)]
pub(crate) struct Other(Program);

impl Other {
    /// Hitch with these lines.
    pub(crate) fn hitch(dir: &Path, lines: &str) -> Result<Self> {
        let mut command = Command::new(find("hitch")?);
        let lines = format!("{lines}workers = 1\nuser = \"nobody\"\ngroup = \"nogroup\"\ndaemon = off\n");
        command.arg(format!("--config={}", file(dir, "hitch.conf", &lines)?));
        Self::start("hitch", &mut command, "initialization complete")
    }

    /// stunnel with this service.
    pub(crate) fn stunnel(dir: &Path, lines: &str) -> Result<Self> {
        let mut command = Command::new(find("stunnel4")?);
        command.arg(file(dir, "stunnel.conf", &format!("foreground = yes\npid =\n{lines}"))?);
        Self::start("stunnel", &mut command, "Configuration successful")
    }

    /// Varnish with this program, at these sockets.
    pub(crate) fn varnish(dir: &Path, program: &str, sockets: &[String]) -> Result<Self> {
        let mut command = Command::new(find("varnishd")?);
        // It compiles what it is told, and shares no memory with other instances.
        command.args(["-F", "-j", "none", "-s", "malloc,16m", "-f"]).arg(file(dir, "varnish.vcl", program)?);
        command.arg("-n").arg(dir.join("varnish"));
        sockets.iter().for_each(|socket| {
            command.arg("-a").arg(socket);
        });
        Self::start("varnish", &mut command, "said Child starts")
    }

    /// dnsdist with these lines, at `listen`.
    pub(crate) fn dnsdist(dir: &Path, listen: SocketAddr, lines: &str) -> Result<Self> {
        let mut command = Command::new(find("dnsdist")?);
        // It would ask a name server in the world whether its version is safe.
        let lines = format!(
            "setLocal(\"{listen}\")\nsetSecurityPollSuffix(\"\")\nsetMaxTCPClientThreads(1)\n{lines}"
        );
        command.args(["--supervised", "--disable-syslog", "-C", &file(dir, "dnsdist.conf", &lines)?]);
        Self::start("dnsdist", &mut command, &format!("Listening on {listen}"))
    }

    /// What it logs.
    pub(crate) fn log(&self) -> &Feed {
        self.0.log()
    }

    fn start(name: &'static str, command: &mut Command, up: &str) -> Result<Self> {
        let program = Program::start(name, command)?;
        program.wait_started(|line| line.contains(up))?;
        Ok(Self(program))
    }
}

/// Where this text now lies.
fn file(dir: &Path, name: &str, text: &str) -> Result<String> {
    make_dir(dir)?;
    let file = dir.join(name);
    write(&file, text)?;
    Ok(file.to_string_lossy().into_owned())
}
