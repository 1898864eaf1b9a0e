//! sshd: as anybody has it, with an address of each family. It reads no header, and nothing is changed for it.
//!
//! Called by `cases`. It must not know who connects.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::port::Port;
use crate::program::Program;
use crate::servers::{ask, find, make_dir, need_root, write};
use crate::verdict::{During, Result};

/// A running sshd.
#[derive(Debug)]
pub(crate) struct Sshd {
    program: Program,
    v4: Port,
    v6: Port,
}

impl Sshd {
    /// Starts sshd with its own configuration and key below `dir`.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let sshd = find("sshd")?;
        need_root("sshd")?;
        make_dir(dir)?;
        // Where its unit would have made it: sshd does not start without.
        fs::create_dir_all("/run/sshd").during("make /run/sshd")?;
        let (key, config) = (dir.join("key"), dir.join("sshd_config"));
        ask(&find("ssh-keygen")?, &["-q", "-t", "ed25519", "-N", "", "-f", &key.to_string_lossy()])?;
        let (v4, v6) =
            (Port::free(IpAddr::V4(Ipv4Addr::LOCALHOST))?, Port::free(IpAddr::V6(Ipv6Addr::LOCALHOST))?);
        let text = format!(
            "ListenAddress {}\nListenAddress {}\nHostKey {}\nPidFile none\nUsePAM no\nLogLevel VERBOSE\n",
            v4.addr(),
            v6.addr(),
            key.display()
        );
        write(&config, &text)?;
        let mut command = Command::new(sshd);
        command.args(["-D", "-e", "-f"]).arg(&config);
        let started = Self { program: Program::start("sshd", &mut command)?, v4, v6 };
        for addr in [started.v4.addr(), started.v6.addr()] {
            let words = format!("Server listening on {} port {}.", addr.ip(), addr.port());
            started.program.wait_started(|line| line.contains(&words))?;
        }
        Ok(started)
    }

    /// What sshd logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }

    /// Where it is.
    pub(crate) fn addrs(&self) -> [SocketAddr; 2] {
        [self.v4.addr(), self.v6.addr()]
    }
}
