//! Traefik in front: one entry point, and routers and services as written.
//!
//! Called by `cases`. It must not know what is behind it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::program::Program;
use crate::servers::{find_fetched, make_dir, write};
use crate::verdict::Result;

/// A running Traefik.
#[derive(Debug)]
pub(crate) struct Traefik {
    program: Program,
}

impl Traefik {
    /// Starts Traefik with the entry point `smtp` at `listen` and this dynamic configuration, and waits until its first
    /// health check was answered.
    pub(crate) fn start(dir: &Path, listen: SocketAddr, dynamic: &str) -> Result<Self> {
        let traefik = find_fetched("bin/traefik")?;
        make_dir(dir)?;
        let (config, routes) = (dir.join("traefik.yml"), dir.join("dynamic.yml"));
        let text = format!(
            "\
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: DEBUG, format: json}}
entryPoints: {{smtp: {{address: \"{listen}\"}}}}
providers: {{file: {{filename: \"{}\", watch: false}}}}
",
            routes.display()
        );
        write(&config, &text)?;
        write(&routes, dynamic)?;
        let started = Self::launch(&traefik, &config)?;
        started
            .program
            .wait_started(|line| line.contains("Setting status of ") && line.contains(" to UP"))?;
        Ok(started)
    }

    /// Starts Traefik with these entry points and dynamic files, and waits until it has read them.
    pub(crate) fn start_with(dir: &Path, entries: &[(&str, SocketAddr)], dynamic: &[String]) -> Result<Self> {
        let traefik = find_fetched("bin/traefik")?;
        let files = dir.join("dynamic");
        make_dir(dir)?;
        make_dir(&files)?;
        for (number, text) in dynamic.iter().enumerate() {
            write(&files.join(format!("{number}.yml")), text)?;
        }
        let points: String =
            entries.iter().map(|(id, listen)| format!("  {id}: {{address: \"{listen}\"}}\n")).collect();
        let config = dir.join("traefik.yml");
        let text = format!(
            "\
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: DEBUG, format: json}}
entryPoints:
{points}providers: {{file: {{directory: \"{}\", watch: false}}}}
",
            files.display()
        );
        write(&config, &text)?;
        let started = Self::launch(&traefik, &config)?;
        // It listens before it knows its routes, and names each of those as it makes it.
        started.program.wait_started(|line| line.contains("Creating TCP server"))?;
        Ok(started)
    }

    /// Starts Traefik with one text for what is read once and what may change: its entry points stand first.
    pub(crate) fn start_as_written(dir: &Path, text: &str) -> Result<Self> {
        let traefik = find_fetched("bin/traefik")?;
        make_dir(dir)?;
        let (config, routes) = (dir.join("traefik.yml"), dir.join("dynamic.yml"));
        let at = ["\ntcp:", "\nhttp:"].iter().filter_map(|head| text.find(head)).min().unwrap_or(text.len());
        let (points, dynamic) = text.split_at(at);
        let providers = format!("providers: {{file: {{filename: \"{}\", watch: false}}}}", routes.display());
        let log =
            "global: {checkNewVersion: false, sendAnonymousUsage: false}\nlog: {level: DEBUG, format: json}";
        write(&config, &format!("{points}\n{log}\n{providers}\n"))?;
        write(&routes, dynamic)?;
        let started = Self::launch(&traefik, &config)?;
        started.program.wait_started(|line| line.contains("Creating TCP server"))?;
        Ok(started)
    }

    fn launch(traefik: &Path, config: &Path) -> Result<Self> {
        let mut command = Command::new(traefik);
        command.arg(format!("--configfile={}", config.display()));
        Ok(Self { program: Program::start("traefik", &mut command)? })
    }

    /// What Traefik logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }
}
