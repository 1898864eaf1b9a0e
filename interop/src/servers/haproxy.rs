//! HAProxy in front: one process with as many ports as a case needs.
//!
//! Called by `lab` and `cases`. It must not know what is behind it.

use core::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::program::Program;
use crate::servers::{Front, find, make_dir, write};
use crate::verdict::{During, Result};

/// What stands in front of every configuration; its last section is `defaults`.
pub(crate) const HEAD: &str = "\
global
  maxconn 500
  log stdout format raw local0 info
defaults
  mode tcp
  log global
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  timeout check 10s
";

/// One port of HAProxy.
#[derive(Clone, Debug)]
pub(crate) struct Frontend {
    /// Its name in HAProxy's log; unique in one process.
    pub(crate) name: String,
    /// From where to where.
    pub(crate) front: Front,
    /// Words after the address on the `bind` line.
    pub(crate) bind: String,
    /// Words after the address on the `server` line.
    pub(crate) server: String,
    /// Further lines of the backend section.
    pub(crate) lines: String,
}

/// A running HAProxy.
#[derive(Debug)]
pub(crate) struct Haproxy {
    program: Program,
}

impl Haproxy {
    /// Starts HAProxy with all `frontends`; its configuration lies in `dir`.
    pub(crate) fn start(dir: &Path, frontends: &[Frontend]) -> Result<Self> {
        Self::start_as_written(dir, &configuration(frontends)?)
    }

    /// Starts HAProxy with this configuration.
    pub(crate) fn start_as_written(dir: &Path, text: &str) -> Result<Self> {
        let haproxy = find("haproxy")?;
        make_dir(dir)?;
        let config = dir.join("haproxy.cfg");
        write(&config, text)?;
        let mut command = Command::new(haproxy);
        // With a master that stays in front of its worker, HAProxy says when all ports listen.
        command.args(["-W", "-db", "-f"]).arg(&config);
        let started = Self { program: Program::start("haproxy", &mut command)? };
        started.program.wait_started(|line| line.contains("Loading success"))?;
        Ok(started)
    }

    /// What HAProxy logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }
}

fn configuration(frontends: &[Frontend]) -> Result<String> {
    let mut text = HEAD.to_owned();
    for Frontend { name, front, bind, server, lines } in frontends {
        let (listen, to) = (front.listen, front.to);
        write!(
            text,
            "frontend {name}\n  bind {listen} {bind}\n  default_backend {name}-servers\n\
             backend {name}-servers\n{lines}  server {name} {to} {server}\n"
        )
        .during("write the HAProxy configuration")?;
    }
    Ok(text)
}
