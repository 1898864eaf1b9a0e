//! vsftpd: an FTP server as Debian has it, with a range of ports for passive transfers.
//!
//! Called by `cases`. It must not know who connects. It gives a transfer to the address of its control connection only.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::feed::Feed;
use crate::port::until_listened;
use crate::program::Program;
use crate::servers::{find, make_dir, need_root, write};
use crate::verdict::{During, Result};

/// What the only file holds.
pub(crate) const CONTENT: &str = "a file of the harness\n";

/// A running vsftpd.
#[derive(Debug)]
pub(crate) struct Vsftpd {
    program: Program,
    log: PathBuf,
}

impl Vsftpd {
    /// Starts vsftpd at `listen` with the passive ports from `first` up to `last`; it tells clients that these are at
    /// `told`.
    pub(crate) fn start(
        dir: &Path,
        listen: SocketAddr,
        told: &str,
        (first, last): (u16, u16),
    ) -> Result<Self> {
        need_root("vsftpd")?;
        let vsftpd = find("vsftpd")?;
        let (root, empty, log) = (dir.join("root"), dir.join("empty"), dir.join("log"));
        for dir in [dir, &root, &empty] {
            make_dir(dir)?;
        }
        write(&root.join("file"), CONTENT)?;
        let text = format!(
            "\
listen=YES
listen_ipv6=NO
background=NO
listen_address={}
listen_port={}
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root={}
nopriv_user=nobody
secure_chroot_dir={}
pasv_min_port={first}
pasv_max_port={last}
pasv_address={told}
log_ftp_protocol=YES
xferlog_enable=YES
vsftpd_log_file={}
",
            listen.ip(),
            listen.port(),
            root.display(),
            empty.display(),
            log.display()
        );
        let config = dir.join("vsftpd.conf");
        write(&config, &text)?;
        let mut command = Command::new(vsftpd);
        command.arg(&config);
        let program = Program::start("vsftpd", &mut command)?;
        // It says nothing when it is ready.
        until_listened(listen)?;
        Ok(Self { program, log })
    }

    /// What it prints.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }

    /// What it has written into its own log.
    pub(crate) fn logged(&self) -> Result<String> {
        fs::read_to_string(&self.log).during("read the log of vsftpd")
    }
}
