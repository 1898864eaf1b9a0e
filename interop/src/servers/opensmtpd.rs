//! OpenSMTPD behind truepeer, unpacked beside the system: one port, by the lines of its page, with STARTTLS.
//!
//! Called by `cases`. It must not know who connects.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::page;
use crate::port::Port;
use crate::program::Program;
use crate::servers::newer::{self, Release};
use crate::servers::{fetched_dir, find, find_fetched, make_dir, need_root, write};
use crate::verdict::{During, Result};

/// A running OpenSMTPD.
#[derive(Debug)]
pub(crate) struct Opensmtpd {
    program: Program,
    port: Port,
}

impl Opensmtpd {
    /// Starts it by the lines of its page; `pair` is the file with certificate and key.
    pub(crate) fn start(release: Release, dir: &Path, pair: &Path) -> Result<Self> {
        make_dir(dir)?;
        let port = Port::free(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let lines = page::block(include_str!("../../../docs/neighbours/opensmtpd.md"), "", "smtpd.conf")?
            .replace("port 10025", &format!("port {}", port.addr().port()));
        let certificate = dir.join("pair.pem");
        fs::copy(pair, &certificate).during("copy the certificate")?;
        // It refuses a key that others can read.
        fs::set_permissions(&certificate, fs::Permissions::from_mode(0o600))
            .during("close the key to others")?;
        let at = certificate.display();
        let text = format!(
            "\
pki interop.test cert \"{at}\"
pki interop.test key \"{at}\"
{} tls pki interop.test hostname opensmtpd.interop.test
action \"nowhere\" mda \"cat > /dev/null\"
match from any for domain \"interop.test\" action \"nowhere\"
",
            lines.trim_end()
        );
        Self::start_with(release, dir, &text, port)
    }

    /// Starts it without a word about headers. It takes mail for interop.test from 203.0.113.0/24, and from this host mail
    /// for anybody.
    pub(crate) fn start_choosy(dir: &Path) -> Result<Self> {
        let port = Port::free(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let text = format!(
            "\
listen on 127.0.0.1 port {} hostname opensmtpd.interop.test
action \"on\" relay
match from src {{ 203.0.113.0/24 }} for domain \"interop.test\" action \"on\"
match from local for any action \"on\"
",
            port.addr().port()
        );
        Self::start_with(Release::Ours, dir, &text, port)
    }

    /// Starts it with everything it writes below `dir`, or in directories of its own over compiled-in ones.
    fn start_with(release: Release, dir: &Path, text: &str, port: Port) -> Result<Self> {
        need_root("OpenSMTPD")?;
        make_dir(dir)?;
        let config = dir.join("smtpd.conf");
        write(&config, text)?;
        let mut command = match release {
            Release::Ours => ours(&find_fetched("opensmtpd/usr/sbin/smtpd")?)?,
            Release::Newer => newer::command(dir, "smtpd")?,
        };
        let program = Program::start("opensmtpd", command.arg("-d").arg("-f").arg(&config))?;
        program.wait_started(|line| line.contains("OpenSMTPD") && line.contains("starting"))?;
        Ok(Self { program, port })
    }

    /// What it logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }

    /// Its port, which reads a header if it was started by its page.
    pub(crate) fn port(&self) -> SocketAddr {
        self.port.addr()
    }
}

/// That which is unpacked for this system. Its socket and its queue have compiled-in places, which are empty for it
/// alone.
fn ours(smtpd: &Path) -> Result<Command> {
    const SCRIPT: &str = "mount -t tmpfs none /run && mount -t tmpfs none /var/spool && mkdir -m 711 /var/spool/smtpd \
                          && exec \"$@\"";
    let mut command = Command::new(find("unshare")?);
    command.args(["--mount", "sh", "-c", SCRIPT, "enter"]).arg(smtpd);
    // Its libraries lie beside it.
    command.env("LD_LIBRARY_PATH", fetched_dir().join("opensmtpd/libraries"));
    Ok(command)
}

/// The version of Debian 13's, such as `7.6.0`.
pub(crate) fn version() -> Result<String> {
    let anywhere = std::env::temp_dir().join("anywhere");
    let output =
        newer::command(&anywhere, "smtpd")?.arg("-h").output().during("ask OpenSMTPD for its version")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = said.lines().find_map(|line| line.strip_prefix("version: OpenSMTPD "));
    Ok(words.unwrap_or_default().trim().trim_end_matches("-portable").to_owned())
}
