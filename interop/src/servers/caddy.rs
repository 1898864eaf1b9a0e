//! Caddy in front of a web server, configured as written.
//!
//! Called by `cases`. It must not know what is behind it.

use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::program::Program;
use crate::servers::{find_fetched, make_dir, write};
use crate::verdict::Result;

/// A running Caddy.
#[derive(Debug)]
pub(crate) struct Caddy {
    program: Program,
}

impl Caddy {
    /// Starts Caddy with these sites, and waits until it listens.
    pub(crate) fn start(dir: &Path, sites: &str) -> Result<Self> {
        let caddy = find_fetched("bin/caddy")?;
        make_dir(dir)?;
        let config = dir.join("Caddyfile");
        write(&config, &format!("{{\n  admin off\n  persist_config off\n  auto_https off\n}}\n{sites}"))?;
        let mut command = Command::new(caddy);
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&config);
        for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(name, dir);
        }
        let started = Self { program: Program::start("caddy", &mut command)? };
        started.program.wait_started(|line| line.contains("serving initial configuration"))?;
        Ok(started)
    }

    /// What Caddy logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }
}
