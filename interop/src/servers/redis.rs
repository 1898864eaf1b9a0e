//! Redis in protected mode, without a password: it serves whoever comes from this host, and refuses everybody else.
//!
//! Called by `cases`. It must not know who connects.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::port::Port;
use crate::program::Program;
use crate::servers::{find, make_dir};
use crate::verdict::Result;

/// A running Redis.
#[derive(Debug)]
pub(crate) struct Redis {
    program: Program,
    port: Port,
}

impl Redis {
    /// Starts Redis with everything it writes in `dir`.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let redis = find("redis-server")?;
        make_dir(dir)?;
        let port = Port::free(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let addr = port.addr();
        let mut command = Command::new(redis);
        command.args(["--bind", &addr.ip().to_string(), "--port", &addr.port().to_string()]);
        command.args(["--protected-mode", "yes", "--loglevel", "verbose", "--save", "", "--dir"]).arg(dir);
        let started = Self { program: Program::start("redis-server", &mut command)?, port };
        started.program.wait_started(|line| line.contains("eady to accept connections"))?;
        Ok(started)
    }

    /// What Redis logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }

    /// Where it is.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}
