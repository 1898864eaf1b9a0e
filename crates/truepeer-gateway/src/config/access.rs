//! `[access]` and `server.listener.<id>.access`: lists in the file and beside it become rules that know their place.
//!
//! The one part of `resolve` that needs other files; it gets their networks through [`Surroundings`].

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use super::networks;
use super::problem::Problem;
use super::read::{Reader, Text};
use super::setting::Setting;
use super::settings::{ACCESS_DEFAULTS, ALLOW, ALLOW_FILES, DEFAULT, DENY, DENY_FILES};
use super::surroundings::Surroundings;
use super::tree::{Found, Owner};
use crate::rooms::access::{AccessDefault, AccessRules, AccessScope, ListFileError, RuleList};

/// What one `[access]` table says.
#[derive(Debug, Clone, Default)]
pub(super) struct AccessWords {
    scope: Option<Arc<AccessScope>>,
    default: Option<AccessDefault>,
    allowed: Option<Inline>,
}

/// A list as it stands in the configuration itself.
#[derive(Debug, Clone)]
struct Inline {
    key: String,
    at: Range<usize>,
    networks: Arc<[IpNet]>,
}

impl Inline {
    fn of<'t>(reader: &mut Reader<'t>, found: &'t Found<'t>) -> Self {
        let networks = networks::clients(reader, found).unwrap_or_default().into();
        Self { key: found.key.clone(), at: found.value.span(), networks }
    }
}

/// Trusted networks that are compared with lists of clients; whoever has more has other worries.
const MAX_COMPARED: usize = 64;

impl AccessWords {
    /// What `owner` says.
    pub(super) fn of(reader: &mut Reader<'_>, owner: Owner<'_>, around: &Surroundings) -> Self {
        let default = reader.word(reader.get(&DEFAULT, owner), &ACCESS_DEFAULTS);
        let said =
            [&ALLOW, &ALLOW_FILES, &DENY, &DENY_FILES].into_iter().find_map(|key| reader.get(key, owner));
        let allowed = reader.get(&ALLOW, owner).map(|found| Inline::of(reader, found));
        let denied = reader.get(&DENY, owner).map(|found| Inline::of(reader, found));
        let scope = said.and_then(|said| {
            let allow = lists(reader, allowed.as_ref(), &ALLOW_FILES, owner, around);
            let deny = lists(reader, denied.as_ref(), &DENY_FILES, owner, around);
            match AccessScope::new(allow, deny) {
                Ok(scope) => Some(Arc::new(scope)),
                Err(error) => {
                    let table = said.key.rsplit_once('.').map_or(said.key.as_str(), |(table, _)| table);
                    reader.problem(
                        Problem::new(format!("`{table}`: {error}"))
                            .at(said.value.span(), "one of these lists")
                            .help("join neighbouring networks, or let a firewall hold the longest list"),
                    );
                    None
                }
            }
        });
        Self { scope, default, allowed }
    }

    /// Says which of its clients are proxies to listener `id`, whose peers in `trusted` may speak for others; whether
    /// there was anything to say.
    pub(super) fn advise(
        &self,
        reader: &mut Reader<'_>,
        id: &str,
        trusted: impl Iterator<Item = IpNet>,
    ) -> bool {
        let Some(Inline { key, at, networks }) = &self.allowed else { return false };
        // A proxy may well stand in its clients' network; a whole network of both is another thing.
        let mut wide = trusted
            .filter(|network| {
                network.prefix_len() < network.max_prefix_len() && !network.addr().is_loopback()
            })
            .take(MAX_COMPARED);
        let overlap = wide.find_map(|proxies| {
            let meets = |clients: &&IpNet| proxies.contains(*clients) || clients.contains(&proxies);
            Some((*networks.iter().find(meets)?, proxies))
        });
        let Some((clients, proxies)) = overlap else { return false };
        reader.advise(
            key,
            at,
            format!(
                "`{clients}` are clients, and listener `{id}` trusts `{proxies}`: whoever connects from both without a \
                 header is refused, and with one can claim to be any client; list the proxies' own addresses there"
            ),
        );
        true
    }

    /// The rules of a listener that says this, where the server says `all`.
    pub(super) fn rules(&self, all: &Self) -> AccessRules {
        let scopes = self.scope.iter().chain(&all.scope).map(Arc::clone).collect();
        AccessRules::new(scopes, self.default.or(all.default).unwrap_or_default())
    }
}

fn lists(
    reader: &mut Reader<'_>,
    inline: Option<&Inline>,
    files: &'static Setting,
    owner: Owner<'_>,
    around: &Surroundings,
) -> Vec<RuleList> {
    let inline = inline.map(|Inline { key, networks, .. }| RuleList::inline(key, networks));
    let mut lists: Vec<RuleList> = inline.into_iter().collect();
    if let Some(found) = reader.get(files, owner) {
        for text in reader.strings_of(found) {
            lists.extend(file(reader, found, &text, around));
        }
    }
    lists
}

/// The networks of one file; advice names its bad lines.
fn file(
    reader: &mut Reader<'_>,
    found: &Found<'_>,
    text: &Text<'_>,
    around: &Surroundings,
) -> Option<RuleList> {
    let path = around.directory.join(text.text);
    match (around.read_list)(&path) {
        Ok(list) => {
            if list.skipped() > 0 {
                reader.advise(&found.key, &text.at, list.to_string());
            }
            Some(list.into_list())
        }
        Err(error) => {
            let problem = Problem::new(format!("`{}`: {error}", found.key)).at(text.at.clone(), "named here");
            reader.problem(match &error {
                ListFileError::Unreadable { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound => {
                    problem.note("there is no such file").help(relative(text.text, &around.directory))
                }
                ListFileError::Unreadable { cause, .. } => problem.note(cause.to_string()),
                _ => problem,
            });
            None
        }
    }
}

fn relative(written: &str, directory: &Path) -> String {
    if PathBuf::from(written).is_absolute() || directory.as_os_str().is_empty() {
        "an empty file is fine where nobody is to be listed yet".to_owned()
    } else {
        format!("a relative path counts from the configuration's folder, {}", directory.display())
    }
}
