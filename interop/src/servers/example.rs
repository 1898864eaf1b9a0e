//! Servers that embed the library: its examples, as built.
//!
//! Called by `cases`. It must not know what stands in front.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::program::Program;
use crate::verdict::{Result, Verdict};

/// A running example.
#[derive(Debug)]
pub(crate) struct Example(Program);

impl Example {
    /// Starts the example at `path`, which listens on `addr` and takes loopback for proxies; `dir` has its certificate.
    pub(crate) fn start(name: &'static str, path: &Path, dir: &Path, addr: SocketAddr) -> Result<Self> {
        if !path.is_file() {
            return Err(Verdict::Skipped(format!("the example {name} is not built ({})", path.display())));
        }
        let mut command = Command::new(path);
        command.args([addr.to_string(), "127.0.0.1".to_owned()]).current_dir(dir);
        let started = Self(Program::start(name, &mut command)?);
        started.0.wait_started(|line| line.contains("listening on"))?;
        Ok(started)
    }

    /// What it prints.
    pub(crate) fn log(&self) -> &Feed {
        self.0.log()
    }
}
