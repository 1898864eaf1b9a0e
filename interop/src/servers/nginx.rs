//! NGINX with its stream module in front: one process with as many ports as a case needs, all sending v1.
//!
//! Called by `lab` and `cases`. It must not know what is behind it.

use core::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::program::Program;
use crate::servers::{Front, find, make_dir, write};
use crate::verdict::{During, Result, Verdict};

/// Where Debian keeps the module.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// One port of NGINX.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamServer {
    /// From where to where.
    pub(crate) front: Front,
    /// Does it expect a header itself, and believe it?
    pub(crate) chained: Chained,
}

/// Whether an NGINX port stands behind another proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chained {
    /// Its peers are the clients.
    First,
    /// It reads a header and takes the client from it (`set_real_ip_from`).
    BehindProxy,
}

/// A running NGINX.
#[derive(Debug)]
pub(crate) struct Nginx {
    program: Program,
}

impl Nginx {
    /// Starts NGINX with all `servers`; everything it writes lies in `dir`.
    pub(crate) fn start(dir: &Path, servers: &[StreamServer]) -> Result<Self> {
        Self::start_as_written(dir, &stream(servers)?)
    }

    /// Starts NGINX with this `stream` section.
    pub(crate) fn start_as_written(dir: &Path, stream: &str) -> Result<Self> {
        let nginx = find("nginx")?;
        module()?;
        make_dir(dir)?;
        let config = dir.join("nginx.conf");
        write(&config, &format!("{}{stream}", head(dir)))?;
        let mut command = Command::new(nginx);
        command.arg("-p").arg(dir).arg("-c").arg(&config).arg("-e").arg("stderr");
        let started = Self { program: Program::start("nginx", &mut command)? };
        // The ports listen before the worker starts.
        started.program.wait_started(|line| line.contains("start worker process "))?;
        Ok(started)
    }

    /// What NGINX logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }
}

/// The stream module's file.
pub(crate) fn module() -> Result<&'static str> {
    if Path::new(MODULE).is_file() {
        return Ok(MODULE);
    }
    Err(Verdict::Skipped("NGINX's stream module is not installed".to_owned()))
}

/// What stands before the `stream` section.
fn head(dir: &Path) -> String {
    format!(
        "\
load_module {MODULE};
daemon off;
worker_processes 1;
user nobody nogroup;
error_log stderr info;
pid {}/nginx.pid;
events {{ worker_connections 256; }}
",
        dir.display()
    )
}

fn stream(servers: &[StreamServer]) -> Result<String> {
    let mut text = "stream {\n".to_owned();
    for StreamServer { front, chained } in servers {
        let (listen, believe) = match chained {
            Chained::First => ("", ""),
            Chained::BehindProxy => {
                (" proxy_protocol", " set_real_ip_from 127.0.0.0/8; set_real_ip_from ::1;")
            }
        };
        writeln!(
            text,
            "  server {{ listen {}{listen}; proxy_pass {}; proxy_protocol on;{believe} }}",
            front.listen, front.to
        )
        .during("write the NGINX configuration")?;
    }
    text.push_str("}\n");
    Ok(text)
}
