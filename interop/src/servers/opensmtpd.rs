//! OpenSMTPD behind truepeer, unpacked beside the system: one port, by the lines of its page.
//!
//! Called by `cases`. It must not know who connects.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::page;
use crate::port::Port;
use crate::program::Program;
use crate::servers::{fetched_dir, find, find_fetched, make_dir, need_root, write};
use crate::verdict::{During, Result};

/// A running OpenSMTPD.
#[derive(Debug)]
pub(crate) struct Opensmtpd {
    program: Program,
    port: Port,
}

impl Opensmtpd {
    /// Starts it with everything it writes below `dir`, or in directories of its own over compiled-in ones.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        need_root("OpenSMTPD")?;
        let smtpd = find_fetched("opensmtpd/usr/sbin/smtpd")?;
        make_dir(dir)?;
        let port = Port::free(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let lines = page::block(include_str!("../../../docs/neighbours/opensmtpd.md"), "", "smtpd.conf")?
            .replace("port 10025", &format!("port {}", port.addr().port()));
        let config = dir.join("smtpd.conf");
        let text = format!(
            "\
{}hostname opensmtpd.interop.test
action \"nowhere\" mda \"cat > /dev/null\"
match from any for domain \"interop.test\" action \"nowhere\"
",
            lines.trim_end().to_owned() + " "
        );
        write(&config, &text)?;
        // Its socket and its queue have compiled-in places, which are empty for it alone.
        let script = format!(
            "mount -t tmpfs none /run && mount -t tmpfs none /var/spool && mkdir -m 711 /var/spool/smtpd \
             && exec '{}' -d -f '{}'",
            smtpd.display(),
            config.display()
        );
        let mut command = Command::new(find("unshare")?);
        command.args(["--mount", "sh", "-c"]).arg(script);
        // Its libraries lie beside it.
        command.env("LD_LIBRARY_PATH", fetched_dir().join("opensmtpd/libraries"));
        let program = Program::start("opensmtpd", &mut command)?;
        program.wait_started(|line| line.contains("OpenSMTPD") && line.contains("starting"))?;
        Ok(Self { program, port })
    }

    /// What it logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }

    /// Its port, which reads a header.
    pub(crate) fn port(&self) -> SocketAddr {
        self.port.addr()
    }
}

/// Its version, such as `6.8.0p2`.
pub(crate) fn version() -> Result<String> {
    let smtpd = find_fetched("opensmtpd/usr/sbin/smtpd")?;
    let output = Command::new(smtpd)
        .arg("-h")
        .env("LD_LIBRARY_PATH", fetched_dir().join("opensmtpd/libraries"))
        .output()
        .during("ask OpenSMTPD for its version")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = said.lines().find_map(|line| line.strip_prefix("version: OpenSMTPD "));
    Ok(words.unwrap_or_default().trim().to_owned())
}
