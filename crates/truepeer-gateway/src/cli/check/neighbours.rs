//! `truepeer check --neighbour`: our configuration, if there is one, between those of its neighbours.

use std::io::Write;
use std::path::Path;

use serde_json::json;
use truepeer_doctor::neighbour::{Machine, Neighbour, Pair, compare, pairs};

use super::ours::ours;
use crate::cli::reach::Failure;
use crate::cli::{FAILED, INCONCLUSIVE, NOT_REACHED};
use crate::config::{self, Colour, Loaded, Origin};
use crate::doctor::neighbours::NamedNeighbour;

/// The most pairs that are listed for a person.
const MAX_SHOWN: usize = 40;

/// Reads all of them, compares, and prints what does not fit.
pub(super) fn check(
    path: Option<&Path>,
    asked: &[NamedNeighbour],
    json: bool,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let mut all: Vec<Neighbour> = Vec::new();
    for one in asked {
        let read =
            one.read().map_err(|error| Failure { text: format!("error: {error}"), code: NOT_REACHED })?;
        all.extend(read);
    }
    let Loaded { config, origin } = config::load(path)
        .map_err(|errors| Failure { text: errors.render(Colour::for_stderr()), code: FAILED })?;
    // A demonstration has no neighbours.
    if let Origin::File(path) = origin {
        all.push(ours(&config, &path));
    }
    let findings = compare(&all, &machine());
    let met = pairs(&all);
    let unread: Vec<_> =
        all.iter().flat_map(|one| one.unread.iter().map(move |unread| (one, unread))).collect();
    if json {
        for finding in &findings {
            writeln!(out, "{}", serde_json::to_string(finding).unwrap_or_default())?;
        }
        for (one, unread) in &unread {
            let place = &unread.place;
            let line = (place.line > 0).then_some(place.line);
            writeln!(
                out,
                "{}",
                json!({ "product": one.product.name(), "file": place.file, "line": line, "text": place.text, "unread": unread.why })
            )?;
        }
    } else {
        told(&all, &met, out)?;
        for finding in &findings {
            writeln!(out, "\n{finding}")?;
        }
        if !unread.is_empty() {
            writeln!(out, "\nNot interpreted, and not taken for agreement:")?;
        }
        for (one, unread) in &unread {
            writeln!(out, "  {}: {unread}", one.product.title())?;
        }
        if findings.is_empty() {
            writeln!(out, "\nNothing was found that does not fit.")?;
        }
    }
    Ok(match (findings.is_empty(), unread.is_empty() && !met.is_empty()) {
        (false, _) => FAILED,
        (true, true) => 0,
        (true, false) => INCONCLUSIVE,
    })
}

/// What was read, and which connections were compared.
fn told(all: &[Neighbour], met: &[Pair<'_>], out: &mut dyn Write) -> std::io::Result<()> {
    for one in all {
        writeln!(
            out,
            "{} ({}): listens on {} ports, connects to {}",
            one.product.title(),
            one.origin,
            one.listens.len(),
            one.connects.len()
        )?;
    }
    for pair in met.iter().take(MAX_SHOWN) {
        writeln!(
            out,
            "  {} {} -> {} {}: sends {}",
            pair.sender.product.title(),
            pair.connect.place.spot(),
            pair.receiver.product.title(),
            pair.listen.place.spot(),
            pair.connect.sends
        )?;
    }
    if met.len() > MAX_SHOWN {
        writeln!(out, "  and {} connections more", met.len().saturating_sub(MAX_SHOWN))?;
    }
    if met.is_empty() {
        writeln!(out, "  no connection of one arrives at another, as far as addresses and ports tell")?;
    }
    Ok(())
}

/// What this machine tells of itself.
pub(in crate::cli) fn machine() -> Machine {
    let addresses =
        if_addrs::get_if_addrs().unwrap_or_default().iter().map(if_addrs::Interface::ip).collect();
    let gateways = config::read_surroundings().default_gateways;
    // Docker's and Podman's mark.
    let is_container = ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists());
    Machine { addresses, gateways, is_container }
}
