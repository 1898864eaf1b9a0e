//! What ranges of ports ask of a listener and of its backend.
//!
//! Each port is handed to one of its own, which nobody but a client connects to. So both sides have equally many, and
//! nothing may stand beside a range that would have to know whether its backend works.

use std::ops::Range;

use super::WhenBackendDown;
use super::addresses::Place;
use super::backends;
use super::listeners::Draft;
use super::problem::Problem;
use super::read::Reader;
use super::settings::{HEALTH_BIND, PROTOCOL, WHEN_BACKEND_DOWN};
use super::tree::Owner;
use crate::facts::protocol::Protocol;

/// What cannot stand beside a range in one listener.
pub(super) fn check_listener(reader: &mut Reader<'_>, draft: &Draft<'_>) {
    let owner = Owner::Listener(draft.section.id);
    let is_range = |place: &&(Place, Range<usize>)| matches!(place.0, Place::Range(_));
    if let Some((place, at)) = draft.health_places.iter().find(is_range) {
        reader.problem(
            Problem::new("a health port is one port")
                .at(at.clone(), "this is a range of them")
                .help(format!("write its first port only: `{}`", first(place))),
        );
    }
    let Some((_, at)) = draft.places.iter().find(is_range) else { return };
    if let Some(found) = reader.get(&PROTOCOL, owner)
        && draft.protocol.is_some_and(|protocol| protocol != Protocol::Tcp)
    {
        reader.problem(
            Problem::new("a range of ports is served with `protocol = \"tcp\"` only")
                .at(found.value.span(), "a server of this protocol has a port, not a range of them")
                .also(at.clone(), "the range")
                .note("the ports behind a range are not asked whether they read headers, so what is said there must not depend on it")
                .help("give each of these ports a listener, or write `protocol = \"tcp\"`"),
        );
    }
    let told = match draft.when_backend_down {
        WhenBackendDown::CloseListener => reader.get(&WHEN_BACKEND_DOWN, owner),
        WhenBackendDown::Answer => None,
    };
    for found in [reader.get(&HEALTH_BIND, owner), told].into_iter().flatten() {
        reader.problem(
            Problem::new(format!("`{}` beside a range of ports", found.setting.name))
                .at(found.value.span(), "whether the backend works is not known here")
                .also(at.clone(), "only clients may connect to the ports behind this range")
                .help("let balancers check the listener of the connection that these ports belong to (for FTP that of port 21)"),
        );
    }
}

/// How many ports a listener and its backend have; `from` is where the listener names it.
pub(super) fn check_lengths(
    reader: &mut Reader<'_>,
    draft: &Draft<'_>,
    from: &Range<usize>,
    resolved: &backends::Resolved<'_>,
) {
    let Some(backend) = &resolved.backend else { return };
    let (id, behind) = (resolved.section.id, backend.ports);
    let Some((place, at)) = draft.places.iter().find(|(place, _)| len(place) != behind) else { return };
    let here = len(place);
    let (there, label) = match resolved.addresses.first() {
        Some((_, at)) => (at.clone(), count(behind)),
        None => (from.clone(), "this backend".to_owned()),
    };
    let help = match place {
        Place::Unix(_) => "give the UNIX socket a listener of its own".to_owned(),
        Place::Tcp(_) if behind > 1 => "write a range in `bind`, too, or one port in `address`".to_owned(),
        Place::Tcp(_) | Place::Range(_) => match place.ports() {
            Some(range) => format!(
                "write the same number of ports in both, such as `address = \"ADDRESS:{}-{}\"`",
                range.first().port(),
                range.first().port().saturating_add(here.saturating_sub(1))
            ),
            None => "write a range in `bind`, too, or one port in `address`".to_owned(),
        },
    };
    reader.problem(
        Problem::new(format!(
            "listener `{}` has {} for its clients, and backend `{id}` has {}",
            draft.section.id,
            count(here),
            behind
        ))
        .at(at.clone(), count(here))
        .also(there, label)
        .note("the first port is handed to the first, the second to the second, and so on")
        .help(help),
    );
}

fn len(place: &Place) -> u16 {
    place.ports().map_or(1, |range| range.len())
}

fn first(place: &Place) -> String {
    place.ports().map(|range| range.first().to_string()).unwrap_or_default()
}

fn count(ports: u16) -> String {
    if ports == 1 { "1 port".to_owned() } else { format!("{ports} ports") }
}
