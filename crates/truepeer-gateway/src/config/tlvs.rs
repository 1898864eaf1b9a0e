//! `backend.<id>.tlvs`: which facts a backend is told besides addresses, and kinds and handoffs that do not go together.

use super::nearest::nearest;
use super::problem::Problem;
use super::read::{Reader, Text};
use super::settings::{HANDOFF_KIND, TLV_CHOICES, TLVS};
use super::tree::{Found, Owner};
use crate::rooms::handoff::kind::Kind;
use crate::rooms::handoff::{Fact, FactSet, Handoff, TlvChoice};

/// Reads the choice of `owner`, which is of `kind` and told by `handoff`.
pub(super) fn read(reader: &mut Reader<'_>, owner: Owner<'_>, kind: Kind, handoff: Handoff) -> TlvChoice {
    let Some(found) = reader.get(&TLVS, owner) else { return TlvChoice::Kind };
    let choice = choice(reader, found).unwrap_or_default();
    let span = found.value.span();
    if handoff != Handoff::ProxyV2 {
        let text = format!(
            "has no effect: `handoff = \"{}\"` carries no TLVs, version 2 headers do",
            handoff.name()
        );
        reader.advise(&found.key, &span, text);
        return choice;
    }
    let facts = kind.facts();
    if let (TlvChoice::Only(said), Some((breaks, why))) = (choice, facts.breaks) {
        let broken: Vec<_> = said.iter().filter(|fact| breaks.has(*fact)).map(Fact::name).collect();
        if !broken.is_empty() {
            let names = super::setting::quoted(&broken);
            reader.advise(&found.key, &span, format!("{names} may break {}: {why}", facts.title));
        }
    }
    choice
}

/// Whether `kind` can read what `handoff` writes; a pair that cannot work is a problem at the place that says it.
pub(super) fn check_pair(reader: &mut Reader<'_>, owner: Owner<'_>, kind: Kind, handoff: Handoff) {
    let unreadable = kind.facts().unreadable;
    let Some((_, why)) = unreadable.iter().find(|(unreadable, _)| *unreadable == handoff) else {
        return;
    };
    let Some(found) = reader.get(&HANDOFF_KIND, owner) else { return };
    let title = kind.facts().title;
    let mut problem =
        Problem::new(format!("{title} cannot read what `{} = \"{}\"` writes", found.key, handoff.name()))
            .at(found.value.span(), *why);
    if let Some(default) = kind.facts().handoff {
        problem = problem
            .help(format!("leave `handoff` out: for `kind = \"{kind}\"` it is `\"{}\"`", default.name()));
    }
    reader.problem(problem);
}

fn choice<'t>(reader: &mut Reader<'t>, found: &'t Found<'t>) -> Option<TlvChoice> {
    let texts = reader.list(found)?;
    if let [only] = texts.as_slice()
        && let Some((_, choice)) = TLV_CHOICES.iter().find(|(name, _)| *name == only.text)
    {
        return Some(*choice);
    }
    let mut facts = Vec::with_capacity(texts.len());
    let mut wrong = false;
    for text in &texts {
        match Fact::ALL.into_iter().find(|fact| fact.name() == text.text) {
            Some(fact) => facts.push(fact),
            None => {
                let problem = explain(found, text);
                reader.problem(problem);
                wrong = true;
            }
        }
    }
    (!wrong).then(|| TlvChoice::Only(FactSet::of(&facts)))
}

fn explain(found: &Found<'_>, text: &Text<'_>) -> Problem {
    let names = Fact::ALL.map(Fact::name);
    let problem = Problem::new(format!("`{}`: {:?} is no TLV with a name", found.key, text.text))
        .at(text.at.clone(), "not known");
    if TLV_CHOICES.iter().any(|(name, _)| *name == text.text) {
        return Problem::new(format!("`{}`: {:?} stands alone", found.key, text.text))
            .at(text.at.clone(), "one word, or a list of names")
            .help(format!("write `{} = \"{}\"`, or leave the word out", found.setting.name, text.text));
    }
    let lower = text.text.to_ascii_lowercase().replace('_', "-");
    let problem = match lower.as_str() {
        "cn" | "ssl-cn" | "ssl-version" | "ssl-cipher" => {
            problem.help("it travels inside `\"ssl\"`, the common name only if the proxy verified it")
        }
        _ if lower.starts_with("0x") || lower.bytes().all(|byte| byte.is_ascii_digit()) => {
            problem.help("types without a name here travel only with `tlvs = \"all\"`")
        }
        _ => match nearest(&lower, names.iter().copied()) {
            Some(near) => problem.help(format!("the nearest is `\"{near}\"`")),
            None => problem.help("types without a name here travel only with `tlvs = \"all\"`"),
        },
    };
    problem.help(format!("these have names: {}", super::setting::quoted(&names)))
}
