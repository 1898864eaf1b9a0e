//! `truepeer check`: what would `run` make of this configuration, and do its neighbours agree with it?

mod exposure;
mod neighbours;
pub(super) mod ours;
mod relay;

pub(in crate::cli) use neighbours::machine;

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::cli::reach::{Failure, answer, complain};
use crate::cli::{FAILED, explain_ip};
use crate::config::{self, Colour, Config, Loaded, Origin};
use crate::doctor::neighbours::NamedNeighbour;
use crate::engine::program::may_run;
use crate::facts::program::SocketLabel;
use crate::rooms::backend::BackendAddress;
use crate::rooms::handoff::{self, Proof};
use crate::rooms::trust::Named;
use crate::server::names;

/// What is told below the options.
pub(super) const EXAMPLES: &str = "\
PRODUCT is one of haproxy, nginx, traefik, envoy, caddy, hitch, stunnel, sslh, varnish, postfix, dovecot, exim, \
opensmtpd, stalwart, compose, kubernetes, docker-mailserver, mailcow, mailu. Several files of one program are separated \
by commas; a directory stands for the configurations in it. Without a file, the program prints its configuration itself \
(postconf, doveconf, nginx -T, exim -bP, caddy adapt, docker compose config, kubectl get), or its usual file is read.

Exit codes: 0 nothing is wrong; 1 something is, or the configuration cannot be used; 2 wrong arguments; 3 a neighbour's \
configuration could not be read; 4 nothing wrong was found, but something could not be interpreted, or no connection of \
one arrives at another.

Examples:
  truepeer check /etc/truepeer/truepeer.toml
  truepeer check --neighbour haproxy --neighbour postfix
  truepeer check truepeer.toml --neighbour haproxy:haproxy.cfg --neighbour dovecot:doveconf.txt
  truepeer check --neighbour nginx:nginx-T.txt --neighbour postfix:main.cf,master.cf --json
  kubectl get service,configmap,ingress,daemonset -A -o yaml | truepeer check --neighbour kubernetes:-
  truepeer check --explain server.proxy.unlisted
  truepeer check --explain-ip 203.0.113.7";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The configuration file, as other commands take it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read the other side, too, and say what does not fit; may be given several times
    #[arg(long = "neighbour", value_name = "PRODUCT[:FILE]", value_parser = NamedNeighbour::parse, conflicts_with_all = ["explain", "explain_ip"])]
    neighbours: Vec<NamedNeighbour>,
    /// Print findings and advice as JSON, one object a line
    #[arg(long, conflicts_with_all = ["explain", "explain_ip"])]
    json: bool,
    /// Explain one key instead, such as `server.proxy.unlisted`
    #[arg(long, value_name = "KEY")]
    explain: Option<String>,
    /// Say what would happen to this address instead, as a peer and as a client, and which line says so
    #[arg(long, value_name = "ADDRESS", conflicts_with = "explain")]
    explain_ip: Option<IpAddr>,
    /// At this listener only
    #[arg(long, value_name = "ID", requires = "explain_ip")]
    listener: Option<String>,
}

/// Reads what is named and says what is wrong with it.
pub(super) fn check(order: &Arguments) -> ExitCode {
    let path = order.file.as_deref().or(order.config.as_deref());
    match (&order.explain, order.explain_ip) {
        (Some(key), _) => explain(key),
        (None, Some(addr)) => explain_ip(path, addr, order.listener.as_deref()),
        (None, None) if order.neighbours.is_empty() => answer(|out| own(path, order.json, out)),
        (None, None) => answer(|out| neighbours::check(path, &order.neighbours, order.json, out)),
    }
}

/// Reads the configuration at `path` and prints its mistakes, or what it means.
fn own(path: Option<&Path>, json: bool, out: &mut dyn Write) -> Result<u8, Failure> {
    let Loaded { config, origin } = config::load(path)
        .map_err(|errors| Failure { text: errors.render(Colour::for_stderr()), code: FAILED })?;
    let names = names_now(&config);
    let exposure = exposure::of(&config);
    // The demonstration's backend is its own.
    let relay = match &origin {
        Origin::File(path) => relay::of(&config, path),
        Origin::Demonstration => relay::Relay::default(),
    };
    let findings: Vec<_> = exposure.findings.into_iter().chain(relay.findings).collect();
    let mut advice: Vec<(String, String)> = needed(&config)
        .into_iter()
        .chain(lacking(&config))
        .chain(exposure.advice)
        .chain(relay.advice)
        .collect();
    advice.extend(config.advice.iter().map(|advice| (advice.key.clone(), advice.text.clone())));
    for named in &names {
        for surprise in &named.meaning().surprises {
            advice.push(("proxy.trusted-names".to_owned(), format!("`{}`: {surprise}", named.name)));
        }
    }
    if json {
        for finding in &findings {
            writeln!(out, "{}", serde_json::to_string(finding).unwrap_or_default())?;
        }
        for (key, text) in &advice {
            writeln!(out, "{}", json!({ "key": key, "advice": text }))?;
        }
    } else {
        match origin {
            Origin::File(path) => writeln!(out, "{} is in order.", path.display())?,
            Origin::Demonstration => writeln!(out, "No configuration file: the demonstration on loopback.")?,
        }
        for socket in config::sockets(&config) {
            writeln!(out, "  {socket}")?;
        }
        for named in &names {
            writeln!(out, "{}", means(named))?;
        }
        for (key, text) in &advice {
            writeln!(out, "advice: {key}: {text}")?;
        }
        for finding in &findings {
            writeln!(out, "\n{finding}")?;
        }
    }
    Ok(if findings.is_empty() { 0 } else { FAILED })
}

/// What the handoffs that are no header need, and what is to be known of them.
fn needed(config: &Config) -> Vec<(String, String)> {
    let is_header = |proof| matches!(proof, Proof::GreetsOnlyWith | Proof::Nothing);
    let chosen = config.backends.iter().map(|backend| (&backend.id, backend.handoff.facts()));
    chosen
        .filter(|(_, facts)| !is_header(facts.proof))
        .map(|(id, facts)| {
            let text = format!("`{}` needs {}; limits: {}", facts.name, facts.needs, facts.limits);
            (format!("backend.{id}.handoff"), text)
        })
        .collect()
}

/// What this host lacks for the handoffs that the configuration chooses.
fn lacking(config: &Config) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (backend, exec) in config.backends.iter().filter_map(|backend| Some((backend, backend.exec()?))) {
        if let Err(error) = may_run(&exec.program) {
            let path = exec.program.path.display();
            let key = format!("backend.{}.exec.command", backend.id);
            lines.push((key, format!("`{path}` cannot be run: {error}")));
        }
        if exec.label != SocketLabel::Never
            && let Some(lack) = handoff::lacking_for_programs()
        {
            let what = match exec.label {
                SocketLabel::Required => "no client gets in until its socket says the client",
                _ => "only its environment says the client, its socket says the proxy",
            };
            lines.push((format!("backend.{}.exec.label", backend.id), format!("{what}: {lack}")));
        }
    }
    for backend in &config.backends {
        let addresses = backend.addresses.iter().filter_map(|address| match address {
            BackendAddress::Socket(addr) => Some(*addr),
            // What a name stands for is not known here.
            BackendAddress::Host { .. } | BackendAddress::Unix(_) | BackendAddress::Program(_) => None,
        });
        for lack in addresses.flat_map(|address| handoff::lacking(backend.telling(), address)) {
            let line = (format!("backend.{}.handoff", backend.id), lack.to_string());
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines
}

/// Prints what would happen to `addr`, at one listener or at each.
fn explain_ip(path: Option<&Path>, addr: IpAddr, listener: Option<&str>) -> ExitCode {
    answer(|out| {
        let failed = |text| Failure { text, code: FAILED };
        let Loaded { config, .. } =
            config::load(path).map_err(|errors| failed(errors.render(Colour::for_stderr())))?;
        let Some(text) = explain_ip::explain(&config, &names_now(&config), addr, listener) else {
            let known: Vec<_> = config.listeners.iter().map(|listener| &*listener.id).collect();
            return Err(failed(format!(
                "error: there is no listener `{}`; these exist: {}",
                listener.unwrap_or_default(),
                known.join(", ")
            )));
        };
        out.write_all(text.as_bytes())?;
        Ok(0)
    })
}

/// What the trusted names of `config` mean at this moment.
fn names_now(config: &Config) -> Vec<Arc<Named>> {
    let said = config.listeners.iter().flat_map(|listener| listener.trusted_names.iter());
    let gateways = config::read_surroundings().default_gateways;
    names::look_up_now(said.map(|said| &said.name), &gateways).unwrap_or_else(|error| {
        complain(&format!("warning: trusted names cannot be looked up: {error}"));
        Vec::new()
    })
}

fn means(named: &Named) -> String {
    let meaning = named.meaning();
    let addresses: Vec<_> = meaning.addresses.iter().map(ToString::to_string).collect();
    match &meaning.failing {
        Some(why) => format!("  trusted name `{}`: nobody now, for {why}", named.name),
        None => format!("  trusted name `{}`: now {}", named.name, addresses.join(", ")),
    }
}

/// Prints what one key means.
fn explain(key: &str) -> ExitCode {
    answer(|out| match config::explain(key) {
        Some(text) => {
            writeln!(out, "{text}")?;
            Ok(0)
        }
        None => Err(Failure {
            text: format!("error: `{key}` is no key of the configuration; docs/config.md lists them all"),
            code: FAILED,
        }),
    })
}
