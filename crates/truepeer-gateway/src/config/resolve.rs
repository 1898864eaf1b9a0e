//! From text to a [`Config`], or to everything that is wrong with it. Pure: what is around, list files too, comes as an
//! argument.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use toml::de::DeTable;
use truepeer::proto::Decoder;
use truepeer::{HeaderRules, TrustPolicy};

use super::access::AccessWords;
use super::addresses::{Place, is_host_name};
use super::limits::LimitWords;
use super::lines::Lines;
use super::listeners::{self, Draft, Inherited};
use super::problem::{ConfigErrors, Problem};
use super::proxy::Proxy;
use super::ranges;
use super::read::Reader;
use super::sets::bracket_sets;
use super::settings::{
    self, DRAIN_TIMEOUT, DRAIN_TIMEOUT_DEFAULT, HANDOFF_KIND, HOSTNAME, LABEL_PINS, LOG_CONNECTIONS,
    LOG_FILE, LOG_FORMAT_SETTING, MAX_CLIENTS, MAX_CLIENTS_DEFAULT, MAX_CONNECTIONS, MAX_PENDING,
    MAX_PENDING_DEFAULT, TRUSTED_NAMES_REFRESH, TRUSTED_NAMES_REFRESH_DEFAULT, UPGRADE_DRAIN_TIMEOUT,
    UPGRADE_DRAIN_TIMEOUT_DEFAULT,
};
use super::surroundings::Surroundings;
use super::tree::{Owner, Section, Tree};
use super::{Config, Listener, ServerSettings, Status, admin, backends, exec, shared};
use crate::facts::bind::{Bind, Families};
use crate::facts::lines::LogSettings;
use crate::facts::ports::PortRange;
use crate::facts::protocol::ClientTls;
use crate::rooms::backend::BackendAddress;
use crate::rooms::handoff::Proof;

/// Resolves `text`; `file_name` is for messages only.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file. A syntax error hides at most what stands on its lines.
pub fn resolve(text: &str, file_name: &str, surroundings: &Surroundings) -> Result<Config, ConfigErrors> {
    let bracketed = bracket_sets(text);
    let (table, syntax) = DeTable::parse_recoverable(&bracketed.text);
    let (tree, problems) = Tree::walk(table.get_ref());
    let mut reader = Reader {
        tree: &tree,
        lines: Lines::new(text),
        sets: &bracketed.opened,
        problems,
        advice: Vec::new(),
    };
    let config = config(&mut reader, surroundings);
    let problems =
        if syntax.is_empty() { reader.problems } else { with_syntax(text, &syntax, reader.problems) };
    match config {
        Some(config) if problems.is_empty() => {
            let mut advice = reader.advice;
            advice.sort_by_key(|advice| advice.line);
            Ok(Config { advice, ..config })
        }
        _ => Err(ConfigErrors::new(file_name, text, problems)),
    }
}

/// The whole file; `None` only if problems were left.
fn config(reader: &mut Reader<'_>, surroundings: &Surroundings) -> Option<Config> {
    let gateways = surroundings.default_gateways.as_slice();
    let server = server(reader, surroundings);
    let inherited = Inherited {
        proxy: Proxy::default().overridden(reader, Owner::Global, gateways),
        refusal_text: listeners::refusal_text(reader, Owner::Global),
        access: AccessWords::of(reader, Owner::Global, surroundings),
        limits: LimitWords::of_all(reader),
        lines: reader.word(reader.get(&LOG_CONNECTIONS, Owner::Global), &settings::CONNECTION_LINES),
    };
    let mut backends = Vec::new();
    for section in reader.tree.backends.clone() {
        backends.push(backends::resolve(reader, section, surroundings));
    }
    let mut drafts = Vec::new();
    let mut said_of_all = false;
    for section in reader.tree.listeners.clone() {
        let draft = listeners::draft(reader, section, &inherited, &backends, surroundings);
        ranges::check_listener(reader, &draft);
        let trusted = draft.proxy.trusted.lines.iter().map(|line| line.network);
        draft.access.advise(reader, draft.section.id, trusted.clone());
        // Once is enough for the list that holds for all.
        said_of_all = said_of_all || inherited.access.advise(reader, draft.section.id, trusted);
        drafts.push(draft);
    }
    if drafts.is_empty() {
        reader.problem(
            Problem::new("there is no listener")
                .if_all_lines()
                .help("add `[server.listener.NAME]` with its `bind`, `protocol` and `backend`"),
        );
    }
    check_places(reader, &drafts);
    check_backends(reader, &drafts, &backends);
    let admin = admin::read_admin(reader);
    let status = admin::read_status(reader);
    check_status(reader, &status, &drafts);
    let shared = shared::read(reader, surroundings);
    let page = admin::read_page(reader, &status);
    let target = reader.log_target(reader.get(&LOG_FILE, Owner::Global));
    let format = reader.word(reader.get(&LOG_FORMAT_SETTING, Owner::Global), &settings::LOG_FORMAT);
    let listeners = drafts
        .iter()
        .map(|draft| build(draft, &drafts, &backends, &inherited).map(Arc::new))
        .collect::<Option<_>>()?;
    Some(Config {
        server,
        listeners,
        backends: backends.into_iter().map(|backend| backend.backend).collect::<Option<_>>()?,
        log: LogSettings { target: target.unwrap_or_default(), format: format.unwrap_or_default() },
        admin,
        status: Status { binds: status.into_iter().map(|(bind, _)| bind).collect(), page },
        shared,
        advice: Vec::new(),
    })
}

fn server(reader: &mut Reader<'_>, surroundings: &Surroundings) -> ServerSettings {
    let hostname = match reader.get(&HOSTNAME, Owner::Global) {
        Some(found) => reader.text(found).map(|text| {
            if !is_host_name(text.text) {
                let _: Option<()> = reader.wrong(found, found.value);
            }
            text.text.to_owned()
        }),
        None if is_host_name(&surroundings.hostname) => Some(surroundings.hostname.clone()),
        None => {
            let key = "server.hostname".to_owned();
            let text = "this system has no usable name, so greetings and refusals say `localhost`: set it"
                .to_owned();
            reader.advice.push(super::Advice { key, line: None, text });
            None
        }
    };
    ServerSettings {
        hostname: hostname.unwrap_or_else(|| "localhost".to_owned()),
        max_connections: reader.count(reader.get(&MAX_CONNECTIONS, Owner::Global)),
        max_clients: reader.count(reader.get(&MAX_CLIENTS, Owner::Global)).unwrap_or(MAX_CLIENTS_DEFAULT),
        max_pending: reader.count(reader.get(&MAX_PENDING, Owner::Global)).unwrap_or(MAX_PENDING_DEFAULT),
        names_refresh: reader
            .duration(reader.get(&TRUSTED_NAMES_REFRESH, Owner::Global))
            .unwrap_or(TRUSTED_NAMES_REFRESH_DEFAULT),
        drain_timeout: reader
            .duration(reader.get(&DRAIN_TIMEOUT, Owner::Global))
            .unwrap_or(DRAIN_TIMEOUT_DEFAULT),
        upgrade_drain_timeout: reader
            .duration(reader.get(&UPGRADE_DRAIN_TIMEOUT, Owner::Global))
            .unwrap_or(UPGRADE_DRAIN_TIMEOUT_DEFAULT),
        label_pins: reader.path(reader.get(&LABEL_PINS, Owner::Global)),
    }
}

/// One address is one listener's.
fn check_places(reader: &mut Reader<'_>, drafts: &[Draft<'_>]) {
    let mut seen: Vec<(&Place, &Range<usize>, &Section<'_>)> = Vec::new();
    for draft in drafts {
        for (place, at) in draft.all_places() {
            match seen.iter().find(|(other, ..)| other.meets(place)) {
                Some((_, first, owner)) => {
                    let title = if owner.id == draft.section.id {
                        format!("listener `{}` listens twice on one address", owner.id)
                    } else {
                        format!("listeners `{}` and `{}` listen on one address", owner.id, draft.section.id)
                    };
                    reader.problem(
                        Problem::new(title)
                            .at(at.clone(), format!("listener `{}`", draft.section.id))
                            .also((*first).clone(), format!("listener `{}`", owner.id)),
                    );
                }
                _ => seen.push((place, at, &draft.section)),
            }
        }
    }
}

/// One address is served for one purpose.
fn check_status(reader: &mut Reader<'_>, status: &[(Bind, Range<usize>)], drafts: &[Draft<'_>]) {
    let mut taken = Vec::new();
    for draft in drafts {
        let owner = format!("listener `{}`", draft.section.id);
        // Modes of UNIX sockets make no difference here.
        let all =
            draft.all_places().flat_map(|(place, at)| binds(place, 0, drafts).map(move |bind| (bind, at)));
        taken.extend(all.map(|(bind, at)| (bind, at, owner.clone())));
    }
    for (wanted, at) in status {
        if let Some((_, first, owner)) = taken.iter().find(|(other, ..)| wanted.overlaps(other)) {
            reader.problem(
                Problem::new(format!("`status.bind` and {owner} need one address"))
                    .at(at.clone(), "`status.bind`")
                    .also((*first).clone(), owner)
                    .help("give the status page a port of its own; `[::]` takes the IPv4 addresses of its port, too"),
            );
        }
        taken.push((wanted.clone(), at, "`status.bind`".to_owned()));
    }
}

/// What backends and listeners have to do with each other.
fn check_backends(reader: &mut Reader<'_>, drafts: &[Draft<'_>], backends: &[backends::Resolved<'_>]) {
    for (index, backend) in backends.iter().enumerate() {
        let id = backend.section.id;
        let users = || {
            drafts.iter().flat_map(move |draft| {
                draft.backends().filter(move |(at, _)| *at == index).map(move |said| (draft, said))
            })
        };
        if users().next().is_none() {
            reader.advise(
                &format!("backend.{id}"),
                &backend.section.at,
                "no listener hands clients to this backend",
            );
        }
        let mail =
            users().find(|(draft, _)| draft.protocol.is_some_and(crate::facts::protocol::Protocol::is_mail));
        if let (Some(at), Some((draft, (_, from)))) = (&backend.blind, mail) {
            reader.problem(
                Problem::new(format!("backend `{id}` would take truepeer for the client of every mail"))
                    .if_all_lines()
                    .at(at.clone(), "it is not told who the client is")
                    .also(from.clone(), format!("listener `{}` hands mail clients to it", draft.section.id))
                    .note("if truepeer's address is in its `mynetworks` or the like, it is an open relay")
                    .help(format!(
                        "let it read headers: `{}` is `\"proxy-v2\"` or `\"proxy-v1\"`",
                        HANDOFF_KIND.name
                    ))
                    .help(format!("or, if that is understood, `backend.{id}.sees-only-truepeer = true`")),
            );
        }
        if let (None, Some(resolved)) = (&backend.in_words, &backend.backend)
            && resolved.check.is_none()
        {
            for (draft, _) in users() {
                listeners::advise_unasked(reader, draft, id);
            }
        }
        let wordless =
            users().find(|(draft, _)| draft.protocol.is_some_and(|protocol| !draft.has_words(protocol)));
        if let (Some(at), Some((draft, (_, from)))) = (&backend.in_words, wordless) {
            reader.problem(
                Problem::new(format!("backend `{id}` cannot be asked in the protocol of all its listeners"))
                    .at(at.clone(), "this needs a protocol in clear text that truepeer speaks")
                    .also(from.clone(), format!("listener `{}` passes bytes through unread", draft.section.id))
                    .help("write `\"connect\"`, or `\"none\"` for a server that counts connections without a byte (MariaDB, MySQL)"),
            );
        }
        for (draft, (_, from)) in users() {
            check_language(reader, draft, from, backend);
            ranges::check_lengths(reader, draft, from, backend);
            let of = (draft.section.id, draft.protocol, from);
            exec::check_mail(reader, of, (id, backend.deaf.as_ref()));
        }
        for (address, at) in &backend.addresses {
            check_way(reader, backend, address, at);
            let own = drafts.iter().flat_map(|draft| draft.all_places().map(move |place| (draft, place)));
            let ports = backend.backend.as_ref().map_or(1, |backend| backend.ports);
            let own = own.into_iter().find(|(_, (place, _))| listeners::is_itself(place, address, ports));
            if let Some((draft, (_, bind))) = own {
                reader.problem(
                    Problem::new(format!("backend `{id}` is truepeer itself"))
                        .at(at.clone(), "connections to it would come back here")
                        .also(bind.clone(), format!("listener `{}` listens there", draft.section.id))
                        .help("let the backend listen on another port or address"),
                );
            }
        }
    }
}

/// A handoff that is spoken needs a language, in clear text.
fn check_language(
    reader: &mut Reader<'_>,
    draft: &Draft<'_>,
    from: &Range<usize>,
    resolved: &backends::Resolved<'_>,
) {
    let (Some(backend), Some(protocol)) = (&resolved.backend, draft.protocol) else { return };
    let facts = backend.handoff.facts();
    if facts.protocols.is_empty() {
        return;
    }
    let (title, label) = if !facts.protocols.contains(&protocol) {
        let known: Vec<_> = facts.protocols.iter().map(|protocol| protocol.name()).collect();
        let title = format!("`handoff = \"{}\"` is spoken in {} only", facts.name, known.join(", "));
        (title, format!("listener `{}` speaks {protocol}", draft.section.id))
    } else if draft.tls == ClientTls::Implicit {
        let title =
            format!("`handoff = \"{}\"` cannot be spoken through TLS that passes through", facts.name);
        (title, format!("listener `{}` passes TLS through (`tls.implicit`)", draft.section.id))
    } else {
        return;
    };
    reader.problem(
        Problem::new(title)
            .if_all_lines()
            .at(from.clone(), label)
            .also(resolved.section.at.clone(), "the backend")
            .help("let the backend read headers here: `handoff = \"proxy-v2\"`"),
    );
}

/// A client's address reaches nobody over a UNIX socket.
fn check_way(
    reader: &mut Reader<'_>,
    resolved: &backends::Resolved<'_>,
    address: &BackendAddress,
    at: &Range<usize>,
) {
    let Some(handoff) = resolved.backend.as_ref().map(|backend| backend.handoff.facts()) else { return };
    if handoff.proof == Proof::ReachedAsClient && matches!(address, BackendAddress::Unix(_)) {
        reader.problem(
            Problem::new(format!("`handoff = \"{}\"` needs a backend with an IP address", handoff.name))
                .at(at.clone(), "a UNIX socket shows no client's address")
                .help("let the backend listen on a TCP port as well, or read headers"),
        );
    }
}

fn build(
    draft: &Draft<'_>,
    drafts: &[Draft<'_>],
    backends: &[backends::Resolved<'_>],
    inherited: &Inherited,
) -> Option<Listener> {
    let backend = |index: usize| backends.get(index)?.backend.as_ref().map(Arc::clone);
    let (index, _) = draft.backend.as_ref()?;
    let backend_when_secure = match &draft.backend_when_secure {
        Some((index, _)) => Some(backend(*index)?),
        None => None,
    };
    let protocol = draft.protocol?;
    let trusted = draft.proxy.trusted.clone();
    Some(Listener {
        id: Arc::from(draft.section.id),
        binds: all_binds(&draft.places, draft.mode, drafts),
        ranges: draft
            .places
            .iter()
            .filter_map(|(place, _)| match place {
                Place::Range(range) => Some(*range),
                Place::Tcp(_) | Place::Unix(_) => None,
            })
            .collect(),
        health_binds: all_binds(&draft.health_places, draft.mode, drafts),
        protocol,
        backend: backend(*index)?,
        backend_when_secure,
        when_backend_down: draft.when_backend_down,
        insecure: draft.insecure,
        refusal_text: draft.refusal_text.clone(),
        tls: draft.tls,
        trust: TrustPolicy::new(trusted.networks, trusted.unix, draft.proxy.unlisted),
        trusted_lines: trusted.lines,
        trusted_names: trusted.names,
        // Whether a client can be true is asked in the walk, once its address is folded from NAT64.
        header: HeaderRules::new()
            .decoder(Decoder::new().versions(draft.proxy.versions).mixed_families(draft.proxy.mixed_families))
            .unsafe_accept_implausible_clients(),
        header_timeout: draft.proxy.header_timeout,
        missing: draft.proxy.missing.policy(),
        hops: draft.proxy.hops.clone(),
        own: draft.own?,
        nat64: Arc::clone(&draft.proxy.nat64),
        implausible: draft.proxy.implausible.clone(),
        idle_timeout: draft.idle_timeout?,
        access: draft.access.rules(&inherited.access),
        limits: draft.limits.policy(protocol),
        lines: inherited.lines.unwrap_or_else(|| protocol.connection_lines()),
    })
}

fn all_binds(places: &[(Place, Range<usize>)], mode: u32, drafts: &[Draft<'_>]) -> Vec<Bind> {
    places.iter().flat_map(|(place, _)| binds(place, mode, drafts)).collect()
}

/// Each address that `place` stands for.
fn binds<'d>(place: &'d Place, mode: u32, drafts: &'d [Draft<'_>]) -> impl Iterator<Item = Bind> + 'd {
    let unix = match place {
        Place::Unix(path) => Some(Bind::Unix { path: path.clone(), mode }),
        Place::Tcp(_) | Place::Range(_) => None,
    };
    // Where the system chooses the port there is none to name.
    let unnamed = match place {
        Place::Tcp(addr) if addr.port() == 0 => Some(*addr),
        _ => None,
    };
    let tcp = unnamed.into_iter().chain(place.ports().into_iter().flat_map(PortRange::addrs));
    unix.into_iter().chain(tcp.map(move |addr| bind(addr, drafts)))
}

/// `[::]` serves both families unless somebody has bound its port in IPv4. Port 0 is a port of its own each time.
fn bind(addr: SocketAddr, drafts: &[Draft<'_>]) -> Bind {
    let mut all = drafts.iter().flat_map(Draft::all_places);
    let in_ipv4 = all.any(|(place, _)| {
        place.ports().is_some_and(|other| {
            let port = SocketAddr::new(other.first().ip(), addr.port());
            other.first().is_ipv4() && other.lane(port).is_some()
        })
    });
    let wildcard = addr.is_ipv6() && addr.ip().is_unspecified();
    Bind::Tcp { addr, families: if wildcard && !in_ipv4 { Families::Both } else { Families::Own } }
}

/// The syntax errors, and of the others those that no syntax error can have caused.
///
/// A broken line may have swallowed a key, so what is missing is not reported, nor what stands on a broken line.
fn with_syntax(text: &str, syntax: &[toml::de::Error], others: Vec<Problem>) -> Vec<Problem> {
    let lines = Lines::new(text);
    let mut problems: Vec<Problem> = Vec::new();
    let mut broken: Vec<usize> = Vec::new();
    let mut in_list = None;
    for error in syntax {
        let span = error.span().unwrap_or_default();
        let line = lines.number(span.start);
        // The parser stumbles on from its first error of a line, and of a list that was not closed; that is the one to
        // mend.
        let about_list = error.message().contains("array");
        let stumbles = about_list && in_list.is_some_and(|last| nothing_between(text, last, line));
        if !stumbles && !broken.contains(&line) {
            let problem = Problem::new(format!("this is not TOML: {}", error.message())).at(span, "");
            problems.push(if about_list {
                problem.help("the list that begins before this may lack its `]`")
            } else {
                problem
            });
        }
        broken.push(line);
        in_list = about_list.then_some(line);
    }
    problems.extend(
        others
            .into_iter()
            .filter(|problem| !problem.needs_all_lines() && !broken.contains(&lines.number(problem.start()))),
    );
    problems
}

/// Whether the lines after `last` and before `line` hold nothing but blanks and comments.
fn nothing_between(text: &str, last: usize, line: usize) -> bool {
    let between = text.lines().skip(last).take(line.saturating_sub(last).saturating_sub(1));
    between.map(str::trim_start).all(|line| line.is_empty() || line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::lines::READ;

    /// The text of a file with `entries` networks a list, in each place where networks may stand.
    fn long(entries: usize) -> String {
        let networks: Vec<_> = (0..entries).map(|n| format!("\"10.{}.{}.1\",\n", n / 250, n % 250)).collect();
        let list = networks.concat();
        format!(
            "[server.proxy]\ntrusted-networks = [\n{list}]\n[access]\nallow = [\n{list}]\ndeny = [\n\"192.0.2.0/24\"]\n\
             [server.listener.a]\nbind = \"127.0.0.1:2525\"\nprotocol = \"tcp\"\nbackend = \"b\"\n\
             proxy.trusted-networks = [\n{list}]\n[backend.b]\nhandoff = \"proxy-v2\"\naddress = \"127.0.0.1:1\"\n"
        )
    }

    #[test]
    fn the_lines_of_a_long_file_are_found_by_reading_it_a_fixed_number_of_times() {
        for entries in [10, 2_000] {
            let text = long(entries);
            let before = READ.get();
            let config = resolve(&text, "long.toml", &Surroundings::default()).unwrap();
            assert_eq!(config.listeners[0].trusted_lines.len(), entries);
            assert_eq!(config.listeners[0].trusted_lines.last().unwrap().line, 2 * entries + entries + 13);
            assert_eq!(READ.get() - before, text.len(), "{entries}");
        }
    }
}
