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
        match entry(found, &text) {
            Ok((kind, fact)) if own.add(kind, fact) => {}
            Ok((kind, _)) => reader.problem(
                Problem::new(format!("`{}`: type {kind:#04x} stands here twice", found.key))
                    .at(text.at.clone(), "the second of two")
                    .help("a type has one meaning for whoever reads it: give each fact a type of its own"),
            ),
            Err(problem) => reader.problem(problem),
        }
    }
    own
}

fn entry(found: &Found<'_>, text: &Text<'_>) -> Result<(u8, OwnFact), Problem> {
    let problem = |title: String, label: &'static str| {
        Problem::new(format!("`{}`: {title}", found.key)).at(text.at.clone(), label)
    };
    let Some((kind, fact)) = text.text.split_once(' ') else {
        return Err(problem(format!("{:?} is not a type and a fact", text.text), "one word")
            .help("write the type, one space, and what stands in it: `\"0xe0 listener\"`"));
    };
    let (low, high) = (*CUSTOM.start(), *CUSTOM.end());
    let number =
        kind.strip_prefix("0x").map_or_else(|| kind.parse().ok(), |hex| u8::from_str_radix(hex, 16).ok());
    let Some(number) = number.filter(|number| CUSTOM.contains(number)) else {
        let why = match number {
            Some(0xF0..=0xF7) => {
                "types from 0xf0 to 0xf7 are for experiments, and every other program may use them"
            }
            Some(0xF8..) => "types from 0xf8 on are reserved",
            Some(_) => "types below 0xe0 have a meaning, or will get one",
            None => "a type is a number of one byte, such as `0xe0`",
        };
        return Err(problem(
            format!("{kind:?} is no type of your own"),
            "not in the range of the specification",
        )
        .help(format!("types from {low:#04x} to {high:#04x} are yours: {why}")));
    };
    let names = OwnFact::ALL.map(OwnFact::name);
    let known = OwnFact::ALL.into_iter().find(|known| known.name() == fact.trim());
    known.map(|fact| (number, fact)).ok_or_else(|| {
        let problem = problem(format!("{:?} is no fact that truepeer can write", fact.trim()), "not known");
        let near = nearest(&fact.trim().to_ascii_lowercase().replace('_', "-"), names.iter().copied());
        let problem = match near {
            Some(near) => problem.help(format!("the nearest is `{near}`")),
            None => problem,
        };
        problem.help(format!("these are: {}", quoted(&names)))
    })
}
