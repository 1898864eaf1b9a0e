//! `truepeer doctor`: looks at the proxies and servers of this machine, and says what does not fit between them.
//!
//! [`root`] is what may be read, [`machine`] what `/proc` shows, [`configs`] what programs say of themselves, [`logs`]
//! what happened lately, [`ask`] what servers on loopback do. Nothing is changed, started or stopped; every text,
//! table and wait has a bound where it is read. What it all means is known in `truepeer_doctor`.

mod ask;
mod configs;
mod includes;
mod logs;
mod machine;
mod root;
mod run;
mod unseen;

use std::time::Duration;

use truepeer_doctor::neighbour::{Machine as Place, Neighbour, compare, pairs};
use truepeer_doctor::survey::{unmasked_families, untrusted_peers};
use truepeer_doctor::{Confidence, Finding, Product};

use configs::{Configured, read_configuration, title};
use machine::Machine;
pub use root::Root;
pub use unseen::Unseen;

/// What to look at.
#[derive(Debug, Clone)]
pub struct Order {
    /// Where.
    pub root: Root,
    /// How far back logs are read; not at all if it is nothing.
    pub since: Duration,
    /// Whether servers on loopback are asked.
    pub probe: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// What is wrong, best first.
    pub findings: Vec<Finding>,
    /// What was looked at, a sentence each.
    pub seen: Vec<String>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

/// Looks.
///
/// # Errors
/// When there is no runtime to ask servers with.
pub fn survey(order: &Order) -> std::io::Result<Survey> {
    let mut unseen = Vec::new();
    let mut machine = Machine::read(&order.root);
    let programs = std::mem::take(&mut machine.programs);
    let configured: Vec<Configured> =
        programs.into_iter().map(|program| read_configuration(&order.root, program, &mut unseen)).collect();
    let place = Place {
        addresses: machine.addresses.clone(),
        gateways: machine.gateways.clone(),
        is_container: machine.is_container,
    };
    let (running, all) = neighbours(&configured);
    // Before anybody is asked, so that our own visit is not in it.
    let logs = match order.since.is_zero() {
        true => Vec::new(),
        false => logs::read_logs(&order.root, &configured, order.since, &mut unseen),
    };
    let mut findings = compared(&running, &all, &place);
    merge(&mut findings, untrusted_peers(&running, &place, &machine.connected));
    findings.extend(unmasked_families(&machine.published, &place));
    if order.probe && !order.root.is_recorded() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        merge(&mut findings, runtime.block_on(ask::ask(&running, &machine)));
        runtime.shutdown_background();
    }
    merge(&mut findings, logs);
    truepeer_doctor::sort(&mut findings);
    let mut seen = looked_at(&configured);
    seen.extend(connections(&running));
    note_unseen(&configured, &machine, &mut unseen);
    Ok(Survey { findings, seen, unseen })
}

/// The neighbours that run, and all of them.
fn neighbours(configured: &[Configured]) -> (Vec<Neighbour>, Vec<Neighbour>) {
    let of = |only_running: bool| {
        let kept = configured.iter().filter(|one| !only_running || !one.program.pids.is_empty());
        kept.flat_map(|one| one.neighbours.iter().cloned()).collect()
    };
    (of(true), of(false))
}

/// What does not fit; less surely so where one of the two does not run.
fn compared(running: &[Neighbour], all: &[Neighbour], place: &Place) -> Vec<Finding> {
    let mut found = compare(running, place);
    let more = if running.len() == all.len() { Vec::new() } else { compare(all, place) };
    for mut finding in more {
        if !found.contains(&finding) {
            finding.confidence = Confidence::Possible;
            finding.seen.push_str(" (of a program that does not run now)");
            found.push(finding);
        }
    }
    found
}

/// Adds what is not yet said of the same product, side and class.
fn merge(findings: &mut Vec<Finding>, more: Vec<Finding>) {
    let known: Vec<_> = findings.iter().map(|found| (found.class, found.side, found.product)).collect();
    findings.extend(more.into_iter().filter(|new| !known.contains(&(new.class, new.side, new.product))));
}

/// Each program with what its configuration was read from.
fn looked_at(configured: &[Configured]) -> Vec<String> {
    let read = configured.iter().filter(|one| !one.texts.is_empty());
    read.map(|one| {
        let names: Vec<_> = one.texts.iter().map(|(name, _)| name.as_str()).collect();
        format!("{}: {}", title(&one.program), names.join(", "))
    })
    .collect()
}

/// Who connects to whom.
fn connections(neighbours: &[Neighbour]) -> Vec<String> {
    let pairs = pairs(neighbours);
    let arrow = pairs.iter().map(|pair| {
        format!(
            "{} sends {} to {} ({})",
            pair.sender.product, pair.connect.sends, pair.receiver.product, pair.connect.to
        )
    });
    arrow.collect()
}

/// What else was not seen.
fn note_unseen(configured: &[Configured], machine: &Machine, unseen: &mut Vec<Unseen>) {
    for one in configured {
        let uninterpreted = one.neighbours.iter().flat_map(|neighbour| &neighbour.unread);
        // nginx and our own reading print all files that a pattern stands for: where there is none, none exists.
        let is_empty_pattern = |place: &truepeer_doctor::neighbour::Place| {
            one.program.product == Product::Nginx
                && place.text.starts_with("include ")
                && place.text.contains('*')
        };
        let uninterpreted = uninterpreted.filter(|unread| !is_empty_pattern(&unread.place));
        unseen.extend(uninterpreted.map(|unread| Unseen {
            what: format!("{}: not interpreted: {unread}", title(&one.program)),
            command: None,
        }));
    }
    for contained in &machine.contained {
        unseen.push(in_container(contained));
    }
    let hidden = machine.listening.iter().filter(|(_, owner)| owner.is_none()).count();
    if hidden > 0 && !rustix::process::geteuid().is_root() {
        unseen.push(Unseen {
            what: format!("which processes hold {hidden} listening sockets of other users"),
            command: Some("sudo truepeer doctor".to_owned()),
        });
    }
}

fn in_container(contained: &machine::Contained) -> Unseen {
    let product = contained.product;
    let name = contained.container.as_deref().unwrap_or("CONTAINER");
    let source = truepeer_doctor::neighbour::Source::of(product);
    let commands: Vec<_> = source
        .map(|source| source.commands.iter().map(|words| words.join(" ")).collect())
        .unwrap_or_default();
    let shows = match commands.as_slice() {
        [] => {
            let file = source.and_then(|source| source.files.first()).copied().unwrap_or("ITS-CONFIGURATION");
            format!("docker exec {name} cat {file} > {}.conf", product.name())
        }
        commands => {
            format!("docker exec {name} sh -c '{}' > {}.conf", commands.join("; "), product.name())
        }
    };
    Unseen {
        what: format!("{product} (process {}) runs in a container", contained.pid),
        command: Some(format!("{shows} && truepeer check --neighbour {0}:{0}.conf", product.name())),
    }
}
