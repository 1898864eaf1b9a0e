//! Envoy in front, configured as written.
//!
//! Called by `cases`. It must not know what is behind it.

use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::program::Program;
use crate::servers::{find_fetched, make_dir, write};
use crate::verdict::Result;

/// A running Envoy.
#[derive(Debug)]
pub(crate) struct Envoy {
    program: Program,
}

impl Envoy {
    /// Starts Envoy with this configuration, and waits until it is about to listen, which is after its first health check.
    pub(crate) fn start(dir: &Path, text: &str) -> Result<Self> {
        let envoy = find_fetched("envoy/_bin/envoy")?;
        make_dir(dir)?;
        let config = dir.join("envoy.yaml");
        write(&config, text)?;
        let mut command = Command::new(envoy);
        command.arg("-c").arg(&config).args(["--concurrency", "1", "--disable-hot-restart"]);
        // Events would be gathered for ten seconds.
        command.args(["--file-flush-interval-msec", "50"]);
        // What listeners and their filters turn away is said at this level only.
        command.args(["--component-log-level", "conn_handler:debug,filter:debug"]);
        let started = Self { program: Program::start("envoy", &mut command)? };
        started.program.wait_started(|line| line.contains("starting workers"))?;
        Ok(started)
    }

    /// What Envoy logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }
}
