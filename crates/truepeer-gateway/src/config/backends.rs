//! `[backend.<id>]`: from what the file says to what the handoff needs.

use std::ops::Range;
use std::sync::Arc;

use super::addresses::parse_backend;
use super::labels;
use super::own_tlvs;
use super::problem::Problem;
use super::read::Reader;
use super::setting::names;
use super::settings::{
    self, ADDRESS, CHECK, CONNECT_TIMEOUT, CONNECT_TIMEOUT_DEFAULT, HANDOFF_KIND, KIND, PROOF_TIMEOUT,
    PROOF_TIMEOUT_DEFAULT, SEES_ONLY_TRUEPEER,
};
use super::surroundings::Surroundings;
use super::tree::{Found, Owner, Section};
use super::{exec, tlvs};
use crate::rooms::backend::{Backend, BackendAddress, Check};
use crate::rooms::handoff::Handoff;
use crate::rooms::handoff::kind::Kind;

/// A backend and what only the checks of a whole file need.
#[derive(Debug)]
pub(super) struct Resolved<'t> {
    /// Its name and place.
    pub(super) section: Section<'t>,
    /// The backend; `None` if it left problems.
    pub(super) backend: Option<Arc<Backend>>,
    /// `handoff = "none"` without the word that this is understood: where it stands.
    pub(super) blind: Option<Range<usize>>,
    /// A program of which nobody said that it takes the client from its environment: where it is named.
    pub(super) deaf: Option<Range<usize>>,
    /// Each address with its place in the file.
    pub(super) addresses: Vec<(BackendAddress, Range<usize>)>,
    /// `check = "protocol"`: where it stands.
    pub(super) in_words: Option<Range<usize>>,
}

/// Resolves one section.
pub(super) fn resolve<'t>(
    reader: &mut Reader<'t>,
    section: Section<'t>,
    surroundings: &Surroundings,
) -> Resolved<'t> {
    let owner = Owner::Backend(section.id);
    let kind = match reader.get(&KIND, owner) {
        Some(found) => read_kind(reader, found),
        None => Some(Kind::Other),
    };
    let said = reader.get(&HANDOFF_KIND, owner);
    let handoff = match said {
        Some(found) => read_handoff(reader, found),
        None => kind.and_then(|kind| default_handoff(reader, &section, kind)),
    };
    let told = kind.zip(handoff);
    if let Some((kind, handoff)) = told {
        tlvs::check_pair(reader, owner, kind, handoff);
    }
    let tlvs = told.map(|(kind, handoff)| tlvs::read(reader, owner, kind, handoff)).unwrap_or_default();
    let own_tlvs = handoff.map(|handoff| own_tlvs::read(reader, owner, handoff)).unwrap_or_default();
    let label = labels::read(reader, owner, handoff);
    let said_of_program = exec::read(reader, owner, handoff, &surroundings.users);
    let addresses = match handoff {
        Some(Handoff::Exec) => exec::address(reader, &section, kind, &said_of_program)
            .map(|addresses| Addresses { addresses, ports: 1 }),
        _ => read_addresses(reader, &section, kind),
    };
    let (addresses, ports) = addresses.map(|found| (found.addresses, found.ports)).unzip();
    let ports = ports.unwrap_or(1);
    let ranges = addresses.iter().flatten().map(|(_, at)| at).next().filter(|_| ports > 1);
    if let (Some(found), Some(at)) = (reader.get(&CHECK, owner), ranges) {
        reader.problem(
            Problem::new(format!("`{}` beside a range of ports", found.key))
                .at(found.value.span(), "only clients may connect to these ports")
                .also(
                    at.clone(),
                    "a port of FTP's is open for one transfer, and a check would take its place",
                )
                .help("remove it"),
        );
    }
    let connect_timeout =
        reader.duration(reader.get(&CONNECT_TIMEOUT, owner)).unwrap_or(CONNECT_TIMEOUT_DEFAULT);
    let proof_timeout = reader.duration(reader.get(&PROOF_TIMEOUT, owner)).unwrap_or(PROOF_TIMEOUT_DEFAULT);
    let said_check = reader.get(&CHECK, owner);
    let check = reader.word(said_check, &settings::CHECKS);
    let in_words = said_check.filter(|_| check == Some(Check::Protocol)).map(|found| found.value.span());
    let understood = reader.flag(reader.get(&SEES_ONLY_TRUEPEER, owner)) == Some(true);
    if let Some(found) = reader.get(&SEES_ONLY_TRUEPEER, owner)
        && understood
        && handoff.is_some_and(Handoff::tells)
    {
        reader.advise(
            &found.key,
            &found.value.span(),
            "has no effect: this backend learns who the client is, since its `handoff` is not `\"none\"`",
        );
    }
    let blind = said
        .filter(|_| handoff.is_some_and(|handoff| !handoff.tells()) && !understood)
        .map(|found| found.value.span());
    let deaf = said
        .filter(|_| handoff == Some(Handoff::Exec) && said_of_program.may_mistake_the_client())
        .map(|found| found.value.span());
    let backend = kind.zip(handoff).zip(addresses.as_ref()).map(|((kind, handoff), addresses)| {
        Arc::new(Backend {
            id: Arc::from(section.id),
            kind,
            handoff,
            tlvs,
            own_tlvs,
            addresses: addresses.iter().map(|(address, _)| address.clone()).collect(),
            ports,
            connect_timeout,
            proof_timeout,
            label,
            check,
        })
    });
    Resolved { section, backend, blind, deaf, addresses: addresses.unwrap_or_default(), in_words }
}

fn read_kind<'t>(reader: &mut Reader<'t>, found: &'t Found<'t>) -> Option<Kind> {
    let text = reader.text(found)?;
    if let Some(kind) = Kind::parse(text.text) {
        return Some(kind);
    }
    let known: Vec<_> = Kind::ALL.into_iter().map(|kind| kind.facts().name).collect();
    let problem = reader.not_a_word(found, &text, &known).help(
        "for any other server: `kind = \"other\"`, and `handoff` with the header version that it reads",
    );
    reader.problem(problem);
    None
}

fn read_handoff<'t>(reader: &mut Reader<'t>, found: &'t Found<'t>) -> Option<Handoff> {
    let text = reader.text(found)?;
    let known = settings::HANDOFF.iter().find(|(name, _)| *name == text.text);
    if known.is_none() {
        let problem = reader.not_a_word(found, &text, &names(&settings::HANDOFF));
        reader.problem(problem);
    }
    known.map(|(_, handoff)| *handoff)
}

fn default_handoff(reader: &mut Reader<'_>, section: &Section<'_>, kind: Kind) -> Option<Handoff> {
    let handoff = kind.facts().handoff;
    if handoff.is_none() {
        let title = if reader.get(&KIND, Owner::Backend(section.id)).is_some() {
            format!("backend `{}` of kind `{kind}` needs a `handoff`", section.id)
        } else {
            format!("backend `{}` needs a `kind` or a `handoff`", section.id)
        };
        reader.problem(
            Problem::new(title)
                .if_all_lines()
                .at(section.at.clone(), "nothing says how it learns who the client is")
                .help(format!("`kind` is {}", KIND.shape.allowed()))
                .help(format!("`handoff` is {}", HANDOFF_KIND.shape.allowed()))
                .help("for a server that reads no header: `handoff = \"none\"`, and for mail `sees-only-truepeer = true`"),
        );
    }
    handoff
}

/// The addresses of a backend, each with its place in the file, and how many ports each has.
struct Addresses {
    addresses: Vec<(BackendAddress, Range<usize>)>,
    ports: u16,
}

fn read_addresses(reader: &mut Reader<'_>, section: &Section<'_>, kind: Option<Kind>) -> Option<Addresses> {
    let found = reader.get(&ADDRESS, Owner::Backend(section.id));
    match (found, kind) {
        (None, Some(Kind::Whoami)) => Some(Addresses { addresses: Vec::new(), ports: 1 }),
        (Some(found), Some(Kind::Whoami)) => {
            reader.problem(
                Problem::new(format!("`{}`: a backend of kind `whoami` has no address", found.key))
                    .at(found.value.span(), "it is built in and started by truepeer")
                    .help("remove the address, or say another `kind`"),
            );
            None
        }
        // A kind that cannot be read may be one without an address.
        (None, None) => None,
        (None, Some(_)) => {
            reader.problem(
                Problem::new(format!("backend `{}` has no `address`", section.id))
                    .if_all_lines()
                    .at(section.at.clone(), "nothing says where it is")
                    .help(format!("`address` is {}", ADDRESS.shape.allowed())),
            );
            None
        }
        (Some(found), _) => {
            let mut addresses = Some(Vec::new());
            let mut first: Option<(u16, Range<usize>)> = None;
            for text in reader.list(found)? {
                match parse_backend(text.text) {
                    Ok((address, ports)) => {
                        let (has, before) = first.get_or_insert_with(|| (ports, text.at.clone()));
                        if *has != ports {
                            reader.problem(
                                Problem::new(format!(
                                    "`{}`: all addresses have the same number of ports",
                                    found.key
                                ))
                                .at(text.at.clone(), format!("{ports} here"))
                                .also(before.clone(), format!("{has} here"))
                                .help("a client of one port may be handed to any of these addresses"),
                            );
                        }
                        if let Some(addresses) = &mut addresses {
                            addresses.push((address, text.at));
                        }
                    }
                    Err(help) => {
                        reader.problem(
                            Problem::new(format!("`{}`: {:?} is not an address", found.key, text.text))
                                .at(text.at, "an address and port are needed here")
                                .help(help),
                        );
                        addresses = None;
                    }
                }
            }
            let ports = first.map_or(1, |(ports, _)| ports);
            addresses.map(|addresses| Addresses { addresses, ports })
        }
    }
}
