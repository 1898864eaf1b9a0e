//! `backend.<id>.own-tlvs`: which types truepeer adds to a header, and what stands in each.

use super::nearest::nearest;
use super::problem::Problem;
use super::read::{Reader, Text};
use super::setting::quoted;
use super::settings::OWN_TLVS;
use super::tree::{Found, Owner};
use crate::rooms::handoff::{CUSTOM, Handoff, OwnFact, OwnTlvs};

/// Reads those of `owner`, which is told by `handoff`.
pub(super) fn read(reader: &mut Reader<'_>, owner: Owner<'_>, handoff: Handoff) -> OwnTlvs {
    let mut own = OwnTlvs::default();
    let Some(found) = reader.get(&OWN_TLVS, owner) else { return own };
    if handoff != Handoff::ProxyV2 {
        let text = format!(
            "has no effect: `handoff = \"{}\"` carries no TLVs, version 2 headers do",
            handoff.name()
        );
        reader.advise(&found.key, &found.value.span(), text);
    }
    for text in reader.list(found).unwrap_or_default() {
        let Some((kind, fact)) = entry(reader, found, &text) else { continue };
        if !own.add(kind, fact) {
            reader.problem(
                Problem::new(format!("`{}`: type {kind:#04x} stands here twice", found.key))
                    .at(text.at.clone(), "the second of two")
                    .help("a type has one meaning for anyone who reads it: give each fact a type of its own"),
            );
        }
    }
    own
}

fn entry(reader: &mut Reader<'_>, found: &Found<'_>, text: &Text<'_>) -> Option<(u8, OwnFact)> {
    let problem = |title: String, label: &'static str| {
        Problem::new(format!("`{}`: {title}", found.key)).at(text.at.clone(), label)
    };
    let Some((kind, fact)) = text.text.split_once(' ') else {
        let problem = problem(format!("{:?} is not a type and a fact", text.text), "one word");
        reader.problem(problem.help("write the type, one space, and what stands in it: `\"0xe0 listener\"`"));
        return None;
    };
    let number =
        kind.strip_prefix("0x").map_or_else(|| kind.parse().ok(), |hex| u8::from_str_radix(hex, 16).ok());
    let Some(kind) = number.filter(|number| CUSTOM.contains(number)) else {
        let title = format!("{kind:?} is no type of your own");
        let (low, high) = (*CUSTOM.start(), *CUSTOM.end());
        let help = format!("types from {low:#04x} to {high:#04x} are yours: {}", why_not(number));
        reader.problem(problem(title, "not in the range of the specification").help(help));
        return None;
    };
    let fact = fact.trim();
    let known = OwnFact::ALL.into_iter().find(|known| known.name() == fact);
    if known.is_none() {
        let names = OwnFact::ALL.map(OwnFact::name);
        let mut problem = problem(format!("{fact:?} is no fact that truepeer can write"), "not known");
        if let Some(near) = nearest(&fact.to_ascii_lowercase().replace('_', "-"), names.iter().copied()) {
            problem = problem.help(format!("the nearest is `{near}`"));
        }
        reader.problem(problem.help(format!("these are: {}", quoted(&names))));
    }
    known.map(|fact| (kind, fact))
}

/// Why a number is no type of the operator's own.
const fn why_not(number: Option<u8>) -> &'static str {
    match number {
        Some(0xF0..=0xF7) => {
            "types from 0xf0 to 0xf7 are for experiments, and every other program may use them"
        }
        Some(0xF8..) => "types from 0xf8 on are reserved",
        Some(_) => "types below 0xe0 have a meaning, or will get one",
        None => "a type is a number of one byte, such as `0xe0`",
    }
}
