//! `truepeer doctor`: looks at the proxies and servers of this machine, and says what does not fit between them.
//!
//! `root` is what may be read, `machine` what `/proc` shows, `configs` what programs say of themselves, `logs`
//! what happened lately, `ask` what servers on loopback do. Nothing is changed, started or stopped; every text,
//! table and wait has a bound where it is read. What it all means is known in `truepeer_doctor`.

mod ask;
mod configs;
mod includes;
mod logs;
mod machine;
mod root;
mod unknown;
mod unseen;

use std::time::Duration;

use truepeer_doctor::neighbour::{Machine as Place, Neighbour, compare, pairs};
use truepeer_doctor::survey::{Joined, MAX_PROGRAMS, Space, join, unmasked_families, untrusted_peers};
use truepeer_doctor::{Confidence, Finding, Product};

pub use configs::ReadOurs;
use configs::{Configured, read_configuration};
use machine::Machine;
pub use root::Root;
pub use unseen::NotSeen;

/// What to look at.
#[derive(Debug, Clone)]
pub struct SurveyScope {
    /// Where.
    pub root: Root,
    /// How far back logs are read; not at all if it is nothing.
    pub since: Duration,
    /// Whether servers on loopback are asked.
    pub probe: bool,
    /// What makes a neighbour of truepeer's own configuration.
    pub read_ours: ReadOurs,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// What is wrong, best first.
    pub findings: Vec<Finding>,
    /// What was looked at, a sentence each.
    pub seen: Vec<String>,
    /// What could not be seen.
    pub unseen: Vec<NotSeen>,
}

/// One space of the machine, and what its programs say.
struct Inhabited {
    space: machine::Space,
    configured: Vec<Configured>,
}

/// Looks.
///
/// # Errors
/// When there is no runtime to ask servers with.
pub fn survey(order: &SurveyScope) -> std::io::Result<Survey> {
    let mut unseen = Vec::new();
    let mut machine = Machine::read(&order.root);
    let mut spaces: Vec<Inhabited> = Vec::new();
    for mut space in std::mem::take(&mut machine.spaces) {
        let programs = std::mem::take(&mut space.programs).into_iter();
        let configured = programs.map(|located| read_configuration(located, order.read_ours, &mut unseen));
        let configured = configured.collect();
        spaces.push(Inhabited { space, configured });
    }
    // Before anybody is asked, so that our own visit is not in it.
    // A container's logs are in the container, or with its engine.
    let here = spaces.iter().flat_map(|one| &one.configured).filter(|one| !one.is_contained);
    let texts = here.flat_map(|one| &one.texts);
    let logs = match order.since.is_zero() {
        true => Vec::new(),
        false => logs::read_logs(&order.root, texts.map(|(_, text)| text.as_str()), order.since, &mut unseen),
    };
    let mut findings = Vec::new();
    for one in &spaces {
        let (mut running, mut all) = one.neighbours();
        if one.space.container.is_none() {
            unseen.extend(unknown::set_aside(&mut running, &machine));
            unknown::set_aside(&mut all, &machine);
        }
        let place = one.place();
        merge_alike(&mut findings, compared(&running, &all, &place));
        merge(&mut findings, untrusted_peers(&running, &place, &one.space.connected));
    }
    let joined = joined(&spaces, &machine, &mut unseen);
    let host = spaces.first().map(Inhabited::place).unwrap_or_default();
    if spaces.len() > 1 {
        merge_alike(&mut findings, compare(&joined, &host));
    }
    findings.extend(unmasked_families(&machine.published, &host));
    if order.probe && !order.root.is_recorded() {
        let running = spaces.first().map(|one| one.neighbours().0).unwrap_or_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        merge(&mut findings, runtime.block_on(ask::ask(&running, &machine)));
        runtime.shutdown_background();
    }
    merge(&mut findings, logs);
    truepeer_doctor::sort(&mut findings);
    let mut seen: Vec<_> = spaces.iter().flat_map(|one| looked_at(&one.configured)).collect();
    for one in &spaces {
        note_new(&mut seen, connections(&one.neighbours().0));
    }
    note_new(&mut seen, connections(&joined));
    for one in &spaces {
        note_uninterpreted(&one.configured, &mut unseen);
        if one.configured.len() >= MAX_PROGRAMS {
            let what =
                format!("programs beyond the first {MAX_PROGRAMS}, each with a configuration of its own");
            unseen.push(NotSeen { what, command: None });
        }
    }
    note_unseen(&machine, &mut unseen);
    Ok(Survey { findings, seen, unseen })
}

impl Inhabited {
    /// The neighbours that run, and all of them.
    fn neighbours(&self) -> (Vec<Neighbour>, Vec<Neighbour>) {
        let of = |only_running: bool| {
            let kept = self.configured.iter().filter(|one| !only_running || !one.program.pids.is_empty());
            kept.flat_map(|one| one.neighbours.iter().cloned()).collect()
        };
        (of(true), of(false))
    }

    /// What the kernel says of it.
    fn place(&self) -> Place {
        Place {
            addresses: self.space.addresses.clone(),
            gateways: self.space.gateways.clone(),
            is_container: self.space.is_container,
        }
    }
}

/// The running neighbours of all spaces, fit to be compared.
fn joined(spaces: &[Inhabited], machine: &Machine, unseen: &mut Vec<NotSeen>) -> Vec<Neighbour> {
    let spaces: Vec<_> = spaces
        .iter()
        .map(|one| Space {
            container: one.space.container.clone(),
            addresses: one.space.addresses.clone(),
            gateways: one.space.gateways.clone(),
            neighbours: one.neighbours().0,
        })
        .collect();
    let Joined { mut neighbours, unclear, .. } = join(&spaces, &machine.published);
    // Said before.
    unknown::set_aside(&mut neighbours, machine);
    unseen.extend(unclear.iter().map(|place| NotSeen {
        what: format!("where this leads, for several containers listen on that port: {place}"),
        command: None,
    }));
    neighbours
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

/// Adds what is not said yet: the same change of the same line.
fn merge_alike(findings: &mut Vec<Finding>, more: Vec<Finding>) {
    for new in more {
        let key = |found: &Finding| (found.class, found.side, found.product, found.change.clone());
        if !findings.iter().any(|found| key(found) == key(&new)) {
            findings.push(new);
        }
    }
}

fn note_new(seen: &mut Vec<String>, more: Vec<String>) {
    for line in more {
        if !seen.contains(&line) {
            seen.push(line);
        }
    }
}

/// Adds what is not yet said of the same product, side and class.
fn merge(findings: &mut Vec<Finding>, more: Vec<Finding>) {
    let known: Vec<_> = findings.iter().map(|found| (found.class, found.side, found.product)).collect();
    findings.extend(more.into_iter().filter(|new| !known.contains(&(new.class, new.side, new.product))));
}

/// Each program with what its configuration was read from.
fn looked_at(configured: &[Configured]) -> Vec<String> {
    const MAX_NAMED: usize = 4;
    let read = configured.iter().filter(|one| !one.texts.is_empty());
    read.map(|one| {
        let names: Vec<_> = one.texts.iter().map(|(name, _)| name.as_str()).take(MAX_NAMED).collect();
        let more = one.texts.len().saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}: {}{more}", one.title, names.join(", "))
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

/// What is in the configurations and was not understood.
fn note_uninterpreted(configured: &[Configured], unseen: &mut Vec<NotSeen>) {
    for one in configured {
        let uninterpreted = one.neighbours.iter().flat_map(|neighbour| &neighbour.unread);
        // A file that includes others was read with all of them: where a pattern has none, none exists.
        let is_include = |place: &truepeer_doctor::neighbour::Place| {
            matches!(one.program.product, Product::Nginx | Product::Dovecot)
                && (place.text.starts_with("include ") || place.text.starts_with("!include"))
        };
        let uninterpreted = uninterpreted.filter(|unread| !is_include(&unread.place));
        unseen.extend(uninterpreted.map(|unread| NotSeen {
            what: format!("{}: not interpreted: {unread}", one.title),
            command: None,
        }));
    }
}

/// What else was not seen.
fn note_unseen(machine: &Machine, unseen: &mut Vec<NotSeen>) {
    for elsewhere in &machine.elsewhere {
        unseen.push(is_elsewhere(elsewhere));
    }
    let hidden = machine.listening.iter().filter(|(_, owner)| owner.is_none()).count();
    if hidden > 0 && !rustix::process::geteuid().is_root() {
        unseen.push(NotSeen {
            what: format!("which processes hold {hidden} listening sockets of other users"),
            command: Some("sudo truepeer doctor".to_owned()),
        });
    }
}

/// A program whose files and sockets cannot be seen, and how to see them.
fn is_elsewhere(elsewhere: &machine::Elsewhere) -> NotSeen {
    let machine::Elsewhere { product, pid, container } = elsewhere;
    let Some(name) = container else {
        return NotSeen {
            what: format!("{product} (process {pid}) in a network namespace of its own"),
            command: Some(format!("sudo nsenter --target {pid} --net truepeer doctor")),
        };
    };
    let source = truepeer_doctor::neighbour::Source::of(*product);
    let prints = source.map(|source| source.commands).unwrap_or_default();
    let file = source.and_then(|source| source.files.first()).copied().unwrap_or("ITS-CONFIGURATION");
    let shows = match prints {
        [] => format!("cat {file}"),
        [words] => words.join(" "),
        several => {
            let several: Vec<_> = several.iter().map(|words| words.join(" ")).collect();
            format!("sh -c '{}'", several.join("; "))
        }
    };
    let file = format!("{}.conf", product.name());
    NotSeen {
        what: format!("{product} (process {pid}) in container {name}"),
        command: Some(format!(
            "docker exec {name} {shows} >{file} && truepeer check --neighbour {}:{file}",
            product.name()
        )),
    }
}
