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
    addrs: [SocketAddr; 2],
    _ports: Option<[Port; 2]>,
}

impl Sshd {
    /// Starts sshd with its own configuration and key below `dir`.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let ports =
            [Port::free(IpAddr::V4(Ipv4Addr::LOCALHOST))?, Port::free(IpAddr::V6(Ipv6Addr::LOCALHOST))?];
        Self::launch(dir, ports.each_ref().map(Port::addr), Some(ports))
    }

    /// The same at its usual port.
    pub(crate) fn start_at_22(dir: &Path) -> Result<Self> {
        let addrs = [(Ipv4Addr::LOCALHOST, 22).into(), (Ipv6Addr::LOCALHOST, 22).into()];
        Self::launch(dir, addrs, None)
    }

    fn launch(dir: &Path, addrs: [SocketAddr; 2], ports: Option<[Port; 2]>) -> Result<Self> {
        let sshd = find("sshd")?;
        need_root("sshd")?;
        make_dir(dir)?;
        // Where its unit would have made it: sshd does not start without.
        fs::create_dir_all("/run/sshd").during("make /run/sshd")?;
        let (key, config) = (dir.join("key"), dir.join("sshd_config"));
        ask(&find("ssh-keygen")?, &["-q", "-t", "ed25519", "-N", "", "-f", &key.to_string_lossy()])?;
        let [v4, v6] = addrs;
        let text = format!(
            "ListenAddress {}\nListenAddress {}\nHostKey {}\nPidFile none\nUsePAM no\nLogLevel VERBOSE\n",
            v4,
            v6,
            key.display()
        );
        write(&config, &text)?;
        let mut command = Command::new(sshd);
        command.args(["-D", "-e", "-f"]).arg(&config);
        let started = Self { program: Program::start("sshd", &mut command)?, addrs, _ports: ports };
        for addr in addrs {
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
        self.addrs
    }
}
