//! `[shared]`: the store through which several front doors share what they know.

use std::path::PathBuf;

use super::problem::Problem;
use super::read::Reader;
use super::setting::{Scope, Setting};
use super::settings::{
    ALL, SHARED_CA_FILE, SHARED_LIMITS, SHARED_NODE, SHARED_PASSWORD_FILE, SHARED_PREFIX,
    SHARED_PREFIX_DEFAULT, SHARED_REQUIRED, SHARED_URL,
};
use super::surroundings::Surroundings;
use super::tree::Owner;
use crate::facts::store::StoreAddress;
use crate::rooms::bans::NodeName;

/// `[shared]`, where it has a `url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Where the store is.
    pub store: StoreAddress,
    /// Where its password is.
    pub password_file: Option<PathBuf>,
    /// Who may have signed its certificate, if not those whom the system trusts.
    pub ca_file: Option<PathBuf>,
    /// What its keys begin with.
    pub prefix: String,
    /// What this front door is called.
    pub node: NodeName,
    /// Whether the store must have been read before this front door is ready.
    pub required: bool,
    /// Whether counts of clients are shared as well.
    pub limits: bool,
}

pub(super) fn read(reader: &mut Reader<'_>, surroundings: &Surroundings) -> Option<Shared> {
    let found = reader.get(&SHARED_URL, Owner::Global);
    let password_file = reader.path(reader.get(&SHARED_PASSWORD_FILE, Owner::Global));
    let ca_file = reader.path(reader.get(&SHARED_CA_FILE, Owner::Global));
    let prefix = name(reader, &SHARED_PREFIX);
    let node = name(reader, &SHARED_NODE);
    let required = reader.flag(reader.get(&SHARED_REQUIRED, Owner::Global)).unwrap_or(false);
    let limits = reader.flag(reader.get(&SHARED_LIMITS, Owner::Global)).unwrap_or(false);
    let Some(found) = found else {
        without_url(reader);
        return None;
    };
    let text = reader.text(found)?;
    let store = match StoreAddress::parse(text.text) {
        Ok(store) => store,
        Err(help) => {
            let problem = Problem::new(format!("`{}` is no address of a store", found.key)).help(help);
            // A password is not shown again: this may go to a log.
            let may_hold_password = text.text.contains('@');
            reader.problem(if may_hold_password {
                problem.note("the line is not shown, since a password may stand in it")
            } else {
                problem.at(text.at, "a Redis or Valkey is needed here")
            });
            return None;
        }
    };
    if let (false, Some(ca)) = (store.tls, reader.get(&SHARED_CA_FILE, Owner::Global)) {
        reader.problem(
            Problem::new(format!("`{}` is for TLS, and `{}` is without", ca.key, found.key))
                .at(ca.value.span(), "nobody shows a certificate")
                .also(text.at.clone(), "this is plain text")
                .help("write `rediss://` (with two s) where the store speaks TLS"),
        );
    }
    if !store.tls && !store.is_local() {
        reader.advise(
            &found.key,
            &text.at,
            "bans and the password travel in plain text, and anyone on the way can ban and unban: use `rediss://`, or a network that is yours alone",
        );
    }
    let node = node.and_then(|node| NodeName::new(&node)).or_else(|| NodeName::new(&surroundings.hostname));
    let Some(node) = node else {
        reader.problem(
            Problem::new("this system has no name by which other front doors could know it")
                .at(found.value.span(), "what is shared names who said it")
                .help("set `shared.node`, such as `node = \"mx1\"`"),
        );
        return None;
    };
    let prefix = prefix.unwrap_or_else(|| SHARED_PREFIX_DEFAULT.to_owned());
    Some(Shared { store, password_file, ca_file, prefix, node, required, limits })
}

/// The others mean nothing then, and whoever wrote them means to share.
fn without_url(reader: &mut Reader<'_>) {
    let ours = ALL.iter().filter(|setting| setting.scope == Scope::Shared);
    for setting in ours.filter(|setting| setting.name != SHARED_URL.name) {
        let Some(other) = reader.get(setting, Owner::Global) else { continue };
        let text = "has no effect: nothing is shared without `shared.url`";
        reader.advise(&other.key, &other.value.span(), text);
    }
}

fn name(reader: &mut Reader<'_>, setting: &'static Setting) -> Option<String> {
    let found = reader.get(setting, Owner::Global)?;
    let text = reader.text(found)?;
    match NodeName::new(text.text) {
        Some(name) => Some(name.as_str().to_owned()),
        None => reader.wrong(found, found.value),
    }
}
