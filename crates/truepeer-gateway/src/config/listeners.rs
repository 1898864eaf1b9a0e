//! `[server.listener.<id>]`: from what the file says to what the rooms need.
//!
//! A listener is drafted first, alone; what depends on other sections (its backend, the families of its sockets) is
//! settled by `resolve` once all drafts are there.

use std::ops::Range;
use std::time::Duration;

use truepeer::proto::Versions;
use truepeer::{UnixPeers, Unlisted};

use super::access::AccessWords;
use super::addresses::{Place, parse_bind};
use super::limits::LimitWords;
use super::nearest::nearest;
use super::problem::Problem;
use super::proxy::Proxy;
use super::read::Reader;
use super::setting::Setting;
use super::settings::{
    BACKEND, BACKEND_WHEN_SECURE, BIND, HEALTH_BIND, HOP_NETWORKS, IDLE_TIMEOUT, PROTOCOL, REFUSE_TEXT,
    REQUIRE_SECURE, SOCKET_MODE, SOCKET_MODE_DEFAULT, TLS_IMPLICIT, TRUSTED_NETWORKS, WHEN_BACKEND_DOWN,
};
use super::surroundings::Surroundings;
use super::tree::{Found, Owner, Section};
use super::{WhenBackendDown, backends, settings};
use crate::facts::lines::ConnectionLines;
use crate::facts::ports::PortRange;
use crate::facts::protocol::{ClientTls, OwnConnections, Protocol};
use crate::rooms::access::InsecureClients;
use crate::rooms::backend::BackendAddress;
use crate::rooms::refuse::RefusalText;

/// Ports where the client's bytes begin with TLS by convention.
const IMPLICIT_TLS_PORTS: [u16; 3] = [465, 993, 995];

/// A listener before its neighbours are known. `None` stands where a problem was left.
#[derive(Debug)]
pub(super) struct Draft<'t> {
    /// Its name and place.
    pub(super) section: Section<'t>,
    /// Where it listens, each with its place in the file.
    pub(super) places: Vec<(Place, Range<usize>)>,
    /// Where its health is asked for.
    pub(super) health_places: Vec<(Place, Range<usize>)>,
    /// Permission bits of its UNIX sockets.
    pub(super) mode: u32,
    /// Its language.
    pub(super) protocol: Option<Protocol>,
    /// Its backend: where in the list, and where the file says so.
    pub(super) backend: Option<(usize, Range<usize>)>,
    /// The same for clients who came over TLS, if it is said.
    pub(super) backend_when_secure: Option<(usize, Range<usize>)>,
    /// What becomes of its sockets while no backend can be reached.
    pub(super) when_backend_down: WhenBackendDown,
    /// Whether clients may enter for whom no TLS was conveyed.
    pub(super) insecure: InsecureClients,
    /// What its refusals say behind their reason.
    pub(super) refusal_text: Option<RefusalText>,
    /// What the client's bytes are.
    pub(super) tls: ClientTls,
    /// What holds for its headers.
    pub(super) proxy: Proxy,
    /// What happens to the proxy's own connections.
    pub(super) own: Option<OwnConnections>,
    /// How long it may be silent.
    pub(super) idle_timeout: Option<Duration>,
    /// Which clients may enter.
    pub(super) access: AccessWords,
    /// How many connections its clients may have.
    pub(super) limits: LimitWords,
}

impl Draft<'_> {
    /// Every address of it.
    pub(super) fn all_places(&self) -> impl Iterator<Item = &(Place, Range<usize>)> {
        self.places.iter().chain(&self.health_places)
    }

    /// Whether a backend can be asked in `protocol` here whether it works.
    pub(super) fn has_words(&self, protocol: Protocol) -> bool {
        protocol.has_words() && self.tls == ClientTls::None
    }

    /// Every backend of it, with the place that names it.
    pub(super) fn backends(&self) -> impl Iterator<Item = &(usize, Range<usize>)> {
        self.backend.iter().chain(&self.backend_when_secure)
    }
}

/// Says what balancers learn late where a backend is only asked by its clients.
pub(super) fn advise_unasked(reader: &mut Reader<'_>, draft: &Draft<'_>, backend: &str) {
    let owner = Owner::Listener(draft.section.id);
    let shows = match draft.when_backend_down {
        WhenBackendDown::CloseListener => reader.get(&WHEN_BACKEND_DOWN, owner),
        WhenBackendDown::Answer => reader.get(&HEALTH_BIND, owner),
    };
    if let Some(found) = shows
        && draft.protocol.is_some_and(|protocol| !draft.has_words(protocol))
    {
        reader.advise(
            &found.key,
            &found.value.span(),
            format!(
                "follows what clients find out: without a protocol in clear text a backend that works is not asked; \
                 to have it connected to every 5 seconds: `backend.{backend}.check = \"connect\"` (not for MariaDB or MySQL, \
                 which count connections without a byte)"
            ),
        );
    }
}

/// What all listeners inherit.
#[derive(Debug)]
pub(super) struct Inherited {
    /// `server.proxy`
    pub(super) proxy: Proxy,
    /// `server.refuse.text`
    pub(super) refusal_text: Option<RefusalText>,
    /// `[access]`
    pub(super) access: AccessWords,
    /// `[limits]`
    pub(super) limits: LimitWords,
    /// `log.connections`; `None` follows the protocol.
    pub(super) lines: Option<ConnectionLines>,
}

/// Reads one section.
pub(super) fn draft<'t>(
    reader: &mut Reader<'t>,
    section: Section<'t>,
    inherited: &Inherited,
    backends: &[backends::Resolved<'_>],
    around: &Surroundings,
) -> Draft<'t> {
    let owner = Owner::Listener(section.id);
    let places = read_places(reader, &section);
    let health = reader.get(&HEALTH_BIND, owner);
    let health_places = health.map(|found| parse_places(reader, found)).unwrap_or_default();
    let mode = reader.mode(reader.get(&SOCKET_MODE, owner)).unwrap_or(SOCKET_MODE_DEFAULT);
    let protocol = read_protocol(reader, &section);
    let backend = read_backend(reader, &section, backends);
    let secure = reader.get(&BACKEND_WHEN_SECURE, owner);
    let backend_when_secure = secure.and_then(|found| named_backend(reader, &section, found, backends));
    let down = reader.word(reader.get(&WHEN_BACKEND_DOWN, owner), &settings::BACKEND_DOWN);
    let required = reader.flag(reader.get(&REQUIRE_SECURE, owner));
    let implicit = reader.flag(reader.get(&TLS_IMPLICIT, owner));
    let proxy = inherited.proxy.overridden(reader, owner, &around.default_gateways);
    let own = protocol.map(|protocol| own_connections(reader, &section, protocol, &proxy));
    let idle_timeout =
        reader.duration(reader.get(&IDLE_TIMEOUT, owner)).or_else(|| protocol.map(Protocol::idle_timeout));
    let draft = Draft {
        places,
        health_places,
        mode,
        protocol,
        backend,
        backend_when_secure,
        when_backend_down: down.unwrap_or_default(),
        insecure: if required == Some(true) { InsecureClients::Refuse } else { InsecureClients::Admit },
        refusal_text: match reader.get(&REFUSE_TEXT, owner) {
            Some(_) => refusal_text(reader, owner),
            None => inherited.refusal_text.clone(),
        },
        tls: if implicit == Some(true) { ClientTls::Implicit } else { ClientTls::None },
        proxy,
        own,
        idle_timeout,
        access: AccessWords::of(reader, owner, around),
        limits: inherited.limits.overridden(reader, owner),
        section,
    };
    check_sockets(reader, &draft);
    check_headers(reader, &draft);
    check_secure(reader, &draft);
    draft
}

/// What the refusals of `owner` say behind their reason; an empty text is none.
pub(super) fn refusal_text(reader: &mut Reader<'_>, owner: Owner<'_>) -> Option<RefusalText> {
    let found = reader.get(&REFUSE_TEXT, owner)?;
    let text = reader.text(found)?;
    match RefusalText::parse(text.text) {
        Ok(parsed) => (!text.text.is_empty()).then_some(parsed),
        Err(error) => {
            let problem = reader.wrong_problem(found, found.value).note(error.to_string());
            reader.problem(problem);
            None
        }
    }
}

fn read_places(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<(Place, Range<usize>)> {
    let Some(found) = reader.get(&BIND, Owner::Listener(section.id)) else {
        missing(reader, section, &BIND, "nothing says where it listens");
        return Vec::new();
    };
    parse_places(reader, found)
}

fn parse_places<'t>(reader: &mut Reader<'t>, found: &'t Found<'t>) -> Vec<(Place, Range<usize>)> {
    let mut places = Vec::new();
    for text in reader.list(found).unwrap_or_default() {
        match parse_bind(text.text) {
            Ok(place) => places.push((place, text.at)),
            Err(help) => reader.problem(
                Problem::new(format!("`{}`: {:?} is no address to listen on", found.key, text.text))
                    .at(text.at, "an address and port are needed here")
                    .help(help),
            ),
        }
    }
    places
}

fn read_protocol(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Protocol> {
    let Some(found) = reader.get(&PROTOCOL, Owner::Listener(section.id)) else {
        missing(reader, section, &PROTOCOL, "nothing says what is spoken here");
        return None;
    };
    let text = reader.text(found)?;
    let protocol = Protocol::parse(text.text);
    if protocol.is_none() {
        let names: Vec<_> = Protocol::ALL.into_iter().map(Protocol::name).collect();
        let problem = match foreign_protocol(text.text) {
            Some(help) => Problem::new(format!("`{}` must be {}", found.key, found.setting.shape.allowed()))
                .at(text.at.clone(), format!("found the string {:?}", text.text))
                .help(help),
            None => reader.not_a_word(found, &text, &names),
        };
        reader.problem(problem);
    }
    protocol
}

/// What to write instead of a word that is no typing error.
fn foreign_protocol(word: &str) -> Option<String> {
    let word = word.to_ascii_lowercase();
    let through_tls = |inside: &str| format!("that is `protocol = \"{inside}\"` with `tls.implicit = true`");
    Some(match word.as_str() {
        "udp" | "dns" | "quic" | "h3" | "http3" => {
            "UDP is not served: truepeer takes TCP connections and UNIX streams".to_owned()
        }
        "smtps" | "submissions" => through_tls("submission"),
        "imaps" => through_tls("imap"),
        "pop3s" => through_tls("pop3"),
        "https" => through_tls("http"),
        "sieve" => "that is `protocol = \"managesieve\"`".to_owned(),
        "jmap" | "h2" | "http2" | "websocket" => "that is `protocol = \"http\"`".to_owned(),
        "tls" | "ssl" | "ssh" | "sftp" | "ftp" | "mysql" | "mariadb" | "postgres" | "postgresql" | "redis"
        | "mqtt" | "ldap" | "rdp" | "minecraft" => {
            "for what is not listed: `protocol = \"tcp\"`, which passes bytes through and refuses without words".to_owned()
        }
        _ => return None,
    })
}

fn read_backend(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    backends: &[backends::Resolved<'_>],
) -> Option<(usize, Range<usize>)> {
    let Some(found) = reader.get(&BACKEND, Owner::Listener(section.id)) else {
        reader.problem(
            Problem::new(format!("listener `{}` has no `backend`", section.id))
                .if_all_lines()
                .at(section.at.clone(), "nothing says where its clients go")
                .note("it is never guessed, even where only one backend exists")
                .help(existing(backends)),
        );
        return None;
    };
    named_backend(reader, section, found, backends)
}

/// What to write where no backend is named that exists.
fn existing(backends: &[backends::Resolved<'_>]) -> String {
    let names: Vec<&str> = backends.iter().map(|backend| backend.section.id).collect();
    match names.as_slice() {
        [] => "no backend exists yet: add `[backend.NAME]` with its `kind` and `address`".to_owned(),
        [only] => format!("there is one backend: write `backend = \"{only}\"`"),
        names => format!("these exist: {}", super::setting::quoted(names)),
    }
}

/// The backend that `found` names.
fn named_backend<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'_>,
    found: &'t Found<'t>,
    backends: &[backends::Resolved<'_>],
) -> Option<(usize, Range<usize>)> {
    let names: Vec<&str> = backends.iter().map(|backend| backend.section.id).collect();
    let text = reader.text(found)?;
    let Some(index) = names.iter().position(|name| *name == text.text) else {
        let mut problem = Problem::new(format!("there is no backend {:?}", text.text))
            .if_all_lines()
            .at(text.at, format!("listener `{}` hands its clients to it", section.id))
            .help(existing(backends));
        if let Some(near) = nearest(text.text, names.iter().copied()).filter(|_| names.len() > 1) {
            problem = problem.help(format!("the nearest is `\"{near}\"`"));
        }
        reader.problem(problem);
        return None;
    };
    Some((index, text.at))
}

fn own_connections(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    protocol: Protocol,
    proxy: &Proxy,
) -> OwnConnections {
    let Some((own, said)) = &proxy.own else { return protocol.own_connections() };
    if *own == OwnConnections::Answer && !protocol.is_mail() {
        let listener = format!("listener `{}` speaks `{protocol}`", section.id);
        reader.problem(
            Problem::new(format!("`{} = \"answer\"` needs a mail protocol", said.key))
                .at(said.at.clone(), "there is no greeting to answer with")
                .also(section.at.clone(), listener)
                .help("`proxy.own` of that listener is `\"forward\"` or `\"refuse\"`"),
        );
    }
    *own
}

/// What a listener's addresses have to do with its other settings.
fn check_sockets(reader: &mut Reader<'_>, draft: &Draft<'_>) {
    let owner = Owner::Listener(draft.section.id);
    let unix = draft.places.iter().find(|(place, _)| matches!(place, Place::Unix(_)));
    if let Some(found) = reader.get(&SOCKET_MODE, owner)
        && !draft.all_places().any(|(place, _)| matches!(place, Place::Unix(_)))
        && !draft.places.is_empty()
    {
        reader.problem(
            Problem::new(format!("`{}` without a UNIX socket", found.key))
                .if_all_lines()
                .at(found.value.span(), "there is no socket file to give these bits to")
                .also(draft.section.at.clone(), "no `bind` here begins with `unix:`")
                .help("remove it, or bind to `\"unix:/path\"`"),
        );
    }
    if let (WhenBackendDown::CloseListener, Some((_, at))) = (draft.when_backend_down, unix)
        && let Some(found) = reader.get(&WHEN_BACKEND_DOWN, owner)
    {
        reader.problem(
            Problem::new(format!("`{} = \"close-listener\"` beside a UNIX socket", found.key))
                .at(found.value.span(), "closes TCP sockets only: a UNIX socket cannot come back")
                .also(at.clone(), "this one would stay open")
                .help("give the UNIX socket a listener of its own, or write `\"answer\"`"),
        );
    }
    if let (Some((_, at)), Some((OwnConnections::Forward, said))) = (unix, &draft.proxy.own) {
        let instead = if draft.protocol.is_some_and(Protocol::is_mail) { "answer" } else { "refuse" };
        reader.problem(
            Problem::new(format!("`{} = \"forward\"` beside a UNIX socket", said.key))
                .at(said.at.clone(), "a proxy's own connections are forwarded under its address")
                .also(at.clone(), "a client that connects here has none")
                .help(format!(
                    "`server.listener.{}.proxy.own = \"{instead}\"`, or a TCP address for this listener",
                    draft.section.id
                )),
        );
    }
    match (unix, draft.proxy.trusted.unix) {
        (Some((_, at)), UnixPeers::Refuse) => reader.advise(
            &key(draft, &BIND),
            at,
            "every peer of this UNIX socket is refused, for it has no address that could be a client's; put `\"unix\"` \
             into this listener's own `proxy.trusted-networks` if they are proxies",
        ),
        (None, UnixPeers::Trusted) if !draft.places.is_empty() => {
            if let Some(found) = reader.get(&TRUSTED_NETWORKS, owner) {
                reader.advise(&found.key, &found.value.span(), "`\"unix\"` has no effect: no `bind` of this listener is one");
            }
        }
        _ => {}
    }
    let trusted = &draft.proxy.trusted;
    if let Some((_, at)) = draft.places.iter().find(|(place, _)| !matches!(place, Place::Unix(_)))
        && trusted.is_nobody()
        && draft.proxy.unlisted == Unlisted::Refuse
    {
        reader.advise(
            &key(draft, &BIND),
            at,
            "every peer is refused here: nobody is trusted, and `proxy.unlisted` is `\"refuse\"`",
        );
    }
    ask_for_tls(reader, draft);
}

/// Words about headers that nobody sends.
fn check_headers(reader: &mut Reader<'_>, draft: &Draft<'_>) {
    let trusted = &draft.proxy.trusted;
    if trusted.is_nobody()
        && trusted.unix == UnixPeers::Refuse
        && let Some(found) = reader.get(&HOP_NETWORKS, Owner::Listener(draft.section.id))
        && !draft.proxy.hops.is_empty()
    {
        let text = "has no effect: nobody is trusted here, so no header is read that could name one of these proxies";
        reader.advise(&found.key, &found.value.span(), text);
    }
}

/// What makes it impossible that TLS is ever conveyed, for settings that ask for it.
fn check_secure(reader: &mut Reader<'_>, draft: &Draft<'_>) {
    let owner = Owner::Listener(draft.section.id);
    let required = reader.get(&REQUIRE_SECURE, owner).filter(|_| draft.insecure == InsecureClients::Refuse);
    let elsewhere = reader.get(&BACKEND_WHEN_SECURE, owner);
    let trusted = &draft.proxy.trusted;
    let why = if trusted.is_nobody() && trusted.unix == UnixPeers::Refuse {
        "nobody is trusted here, so no header says that a client came over TLS"
    } else if draft.proxy.versions == Versions::V1Only {
        "version 1 headers, the only ones read here, say nothing of TLS"
    } else {
        if let (Some(_), Some(found)) = (required, elsewhere) {
            let text = "with `require-secure = true` every client goes there, and none to `backend`";
            reader.advise(&found.key, &found.value.span(), text);
        }
        return;
    };
    if let Some(found) = required {
        reader.advise(&found.key, &found.value.span(), format!("every client is refused: {why}"));
    }
    if let Some(found) = elsewhere {
        reader.advise(&found.key, &found.value.span(), format!("no client ever goes there: {why}"));
    }
}

fn ask_for_tls(reader: &mut Reader<'_>, draft: &Draft<'_>) {
    let silent = reader.get(&TLS_IMPLICIT, Owner::Listener(draft.section.id)).is_none();
    let port = |place: &Place| match place {
        Place::Tcp(addr) => Some(addr.port()),
        Place::Range(_) | Place::Unix(_) => None,
    };
    let at = draft.places.iter().find_map(|(place, at)| {
        port(place).filter(|port| IMPLICIT_TLS_PORTS.contains(port)).map(|port| (port, at))
    });
    if let (true, Some((port, at)), Some(_)) = (silent, at, draft.protocol) {
        reader.advise(
            &key(draft, &TLS_IMPLICIT),
            at,
            format!(
                "clients of port {port} begin with TLS: if it passes through to the backend, write `tls.implicit = \
                 true`, so that no plain text is ever answered there; if the proxy ends TLS, write `tls.implicit = \
                 false`"
            ),
        );
    }
}

/// The full key of a setting of this listener.
fn key(draft: &Draft<'_>, setting: &Setting) -> String {
    format!("server.listener.{}.{}", draft.section.id, setting.name)
}

fn missing(reader: &mut Reader<'_>, section: &Section<'_>, setting: &Setting, label: &str) {
    reader.problem(
        Problem::new(format!("listener `{}` has no `{}`", section.id, setting.name))
            .if_all_lines()
            .at(section.at.clone(), label)
            .help(format!("`{}` is {}", setting.name, setting.shape.allowed())),
    );
}

/// Whether a backend with so many `ports` at `address` would be reached on the socket that `place` opens.
pub(super) fn is_itself(place: &Place, address: &BackendAddress, ports: u16) -> bool {
    match (place, address) {
        (Place::Tcp(_) | Place::Range(_), BackendAddress::Socket(backend)) => {
            let last = backend.port().saturating_add(ports.saturating_sub(1));
            place
                .ports()
                .zip(PortRange::new(*backend, last))
                .is_some_and(|(own, backend)| meets(own, backend))
        }
        (Place::Unix(own), BackendAddress::Unix(backend)) => own == backend,
        _ => false,
    }
}

/// Loopback is reached through a wildcard; for other addresses it is not known whether they are this machine's.
fn meets(own_ports: PortRange, ports: PortRange) -> bool {
    let (own, backend) = (own_ports.first(), ports.first());
    let covered = own.ip() == backend.ip()
        || (own.ip().is_unspecified() && backend.ip().is_loopback() && (own.is_ipv6() || backend.is_ipv4()));
    own_ports.meets(&ports) && covered
}
