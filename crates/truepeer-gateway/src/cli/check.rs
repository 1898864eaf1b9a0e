//! `truepeer check`: what would `run` make of this configuration?

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::{FAILED, explain_ip};
use crate::config::{self, Colour, Config, Loaded, Origin};
use crate::engine::transparent::lacking as lacking_for;
use crate::rooms::backend::BackendAddress;
use crate::rooms::handoff::Proof;
use crate::rooms::trust::Named;
use crate::server::names;

/// Reads the configuration at `path` and prints its mistakes, or what it means.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]
pub(super) fn check(path: Option<&Path>) -> ExitCode {
    match config::load(path) {
        Ok(Loaded { config, origin }) => {
            match origin {
                Origin::File(path) => println!("{} is in order.", path.display()),
                Origin::Demonstration => println!("No configuration file: the demonstration on loopback."),
            }
            for socket in config::sockets(&config) {
                println!("  {socket}");
            }
            let names = names_now(&config);
            for named in &names {
                println!("{}", means(named));
            }
            for line in needed(&config).into_iter().chain(lacking(&config)) {
                println!("advice: {line}");
            }
            for advice in &config.advice {
                println!("advice: {}: {}", advice.key, advice.text);
            }
            for named in &names {
                for surprise in &named.meaning().surprises {
                    println!("advice: proxy.trusted-names: `{}`: {surprise}", named.name);
                }
            }
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprintln!("{}", errors.render(Colour::for_stderr()));
            ExitCode::from(FAILED)
        }
    }
}

/// What the handoffs that are no header need, and what is to be known of them.
fn needed(config: &Config) -> Vec<String> {
    let is_header = |proof| matches!(proof, Proof::GreetsOnlyWith | Proof::Nothing);
    let chosen = config.backends.iter().map(|backend| (&backend.id, backend.handoff.facts()));
    chosen
        .filter(|(_, facts)| !is_header(facts.proof))
        .map(|(id, facts)| {
            format!(
                "backend.{id}.handoff: `{}` needs {}; know that {}",
                facts.name, facts.needs, facts.limits
            )
        })
        .collect()
}

/// What this host lacks for the handoffs that the configuration chooses.
fn lacking(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for backend in config.backends.iter().filter(|b| b.handoff.facts().proof == Proof::ReachedAsClient) {
        let addresses = backend.addresses.iter().filter_map(|address| match address {
            BackendAddress::Socket(addr) => Some(addr.ip()),
            // What a name stands for is not known here.
            BackendAddress::Host { .. } | BackendAddress::Unix(_) => None,
        });
        let commands = addresses.flat_map(|ip| lacking_for(ip).into_iter().map(move |need| need.command(ip)));
        for command in commands {
            let line = format!("backend.{}.handoff: this host lacks `{command}`", backend.id);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines
}

/// Prints what would happen to `addr`, at one listener or at each.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]
pub(super) fn explain_ip(path: Option<&Path>, addr: IpAddr, listener: Option<&str>) -> ExitCode {
    let config = match config::load(path) {
        Ok(Loaded { config, .. }) => config,
        Err(errors) => {
            eprintln!("{}", errors.render(Colour::for_stderr()));
            return ExitCode::from(FAILED);
        }
    };
    match explain_ip::explain(&config, &names_now(&config), addr, listener) {
        Some(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        None => {
            let known: Vec<_> = config.listeners.iter().map(|listener| &*listener.id).collect();
            eprintln!(
                "error: there is no listener `{}`; these exist: {}",
                listener.unwrap_or_default(),
                known.join(", ")
            );
            ExitCode::from(FAILED)
        }
    }
}

/// What the trusted names of `config` mean at this moment.
#[expect(clippy::print_stderr, reason = "a command speaks to its user")]
fn names_now(config: &Config) -> Vec<Arc<Named>> {
    let said = config.listeners.iter().flat_map(|listener| listener.trusted_names.iter());
    let gateways = config::read_surroundings().default_gateways;
    names::look_up_now(said.map(|said| &said.name), &gateways).unwrap_or_else(|error| {
        eprintln!("warning: trusted names cannot be looked up: {error}");
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
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]
pub(super) fn explain(key: &str) -> ExitCode {
    match config::explain(key) {
        Some(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("error: `{key}` is no key of the configuration; docs/config.md lists them all");
            ExitCode::from(FAILED)
        }
    }
}
