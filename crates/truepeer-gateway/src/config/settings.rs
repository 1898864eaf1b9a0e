//! The table of settings, and the keys that are known for another reason.
//!
//! Each setting is written down here and nowhere else: the walk over a file, the readers, `docs/config.md`, the
//! sample file and `check --explain` come from it. A key that is in none of these tables is an error.

mod access;
mod admin;
mod availability;
mod drain;
mod exec;
mod labels;
mod limits;
mod proxy;
mod shared;
mod status;

use std::time::Duration;

use super::setting::{Default, Sample, Scope, Setting, Shape, duration_text, names};
use crate::facts::lines::{ConnectionLines, LogFormat};
use crate::facts::protocol::Protocol;
use crate::rooms::handoff::kind::Kind;
use crate::rooms::handoff::{Fact, FactSet, Handoff, OwnFact, TlvChoice};

pub(super) use access::{ACCESS_DEFAULTS, ALLOW, ALLOW_FILES, DEFAULT, DENY, DENY_FILES};
pub(super) use admin::{ADMIN_SOCKET, ADMIN_STATE};
pub(super) use availability::{BACKEND_DOWN, CHECK, CHECKS, HEALTH_BIND, WHEN_BACKEND_DOWN};
pub(super) use drain::{
    DRAIN_TIMEOUT, DRAIN_TIMEOUT_DEFAULT, UPGRADE_DRAIN_TIMEOUT, UPGRADE_DRAIN_TIMEOUT_DEFAULT,
};
pub(super) use exec::{
    EXEC_COMMAND, EXEC_DIRECTORY, EXEC_LABEL, EXEC_MAX, EXEC_MAX_DEFAULT, EXEC_RATE, EXEC_RATE_DEFAULT,
    EXEC_READS_ENVIRONMENT, EXEC_USER,
};
pub(super) use labels::{LABEL_CGROUP, LABEL_DESTINATION, LABEL_PINS, LABEL_SUBSTITUTE};
pub(super) use limits::{
    CONNECTIONS_PER_CLIENT, EXEMPT, IPV4_PREFIX, IPV6_PREFIX, LIMITS_MAX_CONNECTIONS, LIMITS_MODE,
    MAX_CLIENTS, MAX_CLIENTS_DEFAULT, MODE, RATE_PER_CLIENT,
};
pub(super) use proxy::{
    HEADER_MIXED_FAMILIES, HEADER_TIMEOUT, HEADER_TIMEOUT_DEFAULT, HEADER_VERSIONS, HOP_NETWORKS,
    MAX_PENDING, MAX_PENDING_DEFAULT, MISSING, MISSING_HEADER, MISSING_HEADER_WAIT,
    MISSING_HEADER_WAIT_DEFAULT, MIXED_FAMILIES, Missing, NAT64_PREFIXES, OWN, OWN_CONNECTIONS,
    TRUSTED_NAMES, TRUSTED_NAMES_REFRESH, TRUSTED_NAMES_REFRESH_DEFAULT, TRUSTED_NETWORKS, UNLISTED,
    UNLISTED_PEERS, UNSAFE_IMPLAUSIBLE, VERSIONS,
};
pub(super) use shared::{
    SHARED_CA_FILE, SHARED_LIMITS, SHARED_NODE, SHARED_PASSWORD_FILE, SHARED_PREFIX, SHARED_PREFIX_DEFAULT,
    SHARED_REQUIRED, SHARED_URL,
};
pub(super) use status::{STATUS_ADDRESSES, STATUS_BIND, STATUS_PAGE};

pub(super) const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// RFC 5321 4.5.3.2.1 lets a server take five minutes to greet.
pub(super) const PROOF_TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
/// The word for standard error.
pub(super) const STDERR: &str = "stderr";
pub(super) const SOCKET_MODE_DEFAULT: u32 = 0o600;

pub(super) static HANDOFF: [(&str, Handoff); 9] = [
    (Handoff::ProxyV2.name(), Handoff::ProxyV2),
    (Handoff::ProxyV1.name(), Handoff::ProxyV1),
    (Handoff::Xclient.name(), Handoff::Xclient),
    (Handoff::ImapId.name(), Handoff::ImapId),
    (Handoff::ImapIdUnconfirmed.name(), Handoff::ImapIdUnconfirmed),
    (Handoff::Label.name(), Handoff::Label),
    (Handoff::Transparent.name(), Handoff::Transparent),
    (Handoff::Exec.name(), Handoff::Exec),
    (Handoff::None.name(), Handoff::None),
];
/// What `tlvs` may be as one word.
pub(super) static TLV_CHOICES: [(&str, TlvChoice); 3] =
    [("kind", TlvChoice::Kind), ("all", TlvChoice::All), ("none", TlvChoice::Only(FactSet::NONE))];
pub(super) static CONNECTION_LINES: [(&str, ConnectionLines); 2] =
    [("both", ConnectionLines::Both), ("end", ConnectionLines::End)];
pub(super) static LOG_FORMAT: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Every setting, in the order of the documentation.
pub(super) static ALL: &[&Setting] = &[
    &HOSTNAME,
    &MAX_CONNECTIONS,
    &DRAIN_TIMEOUT,
    &UPGRADE_DRAIN_TIMEOUT,
    &LABEL_PINS,
    &TRUSTED_NETWORKS,
    &TRUSTED_NAMES,
    &TRUSTED_NAMES_REFRESH,
    &UNLISTED_PEERS,
    &HEADER_TIMEOUT,
    &HEADER_VERSIONS,
    &HEADER_MIXED_FAMILIES,
    &MISSING_HEADER,
    &MISSING_HEADER_WAIT,
    &HOP_NETWORKS,
    &NAT64_PREFIXES,
    &OWN_CONNECTIONS,
    &UNSAFE_IMPLAUSIBLE,
    &MAX_PENDING,
    &REFUSE_TEXT,
    &BIND,
    &HEALTH_BIND,
    &PROTOCOL,
    &BACKEND,
    &BACKEND_WHEN_SECURE,
    &WHEN_BACKEND_DOWN,
    &REQUIRE_SECURE,
    &TLS_IMPLICIT,
    &SOCKET_MODE,
    &IDLE_TIMEOUT,
    &KIND,
    &HANDOFF_KIND,
    &TLVS,
    &OWN_TLVS,
    &LABEL_CGROUP,
    &LABEL_DESTINATION,
    &LABEL_SUBSTITUTE,
    &ADDRESS,
    &CONNECT_TIMEOUT,
    &PROOF_TIMEOUT,
    &CHECK,
    &SEES_ONLY_TRUEPEER,
    &EXEC_COMMAND,
    &EXEC_MAX,
    &EXEC_RATE,
    &EXEC_USER,
    &EXEC_DIRECTORY,
    &EXEC_LABEL,
    &EXEC_READS_ENVIRONMENT,
    &ALLOW,
    &DENY,
    &ALLOW_FILES,
    &DENY_FILES,
    &DEFAULT,
    &CONNECTIONS_PER_CLIENT,
    &RATE_PER_CLIENT,
    &LIMITS_MAX_CONNECTIONS,
    &IPV4_PREFIX,
    &IPV6_PREFIX,
    &EXEMPT,
    &MODE,
    &MAX_CLIENTS,
    &LOG_FILE,
    &LOG_CONNECTIONS,
    &LOG_FORMAT_SETTING,
    &ADMIN_SOCKET,
    &ADMIN_STATE,
    &STATUS_BIND,
    &STATUS_PAGE,
    &STATUS_ADDRESSES,
    &SHARED_URL,
    &SHARED_PASSWORD_FILE,
    &SHARED_CA_FILE,
    &SHARED_PREFIX,
    &SHARED_NODE,
    &SHARED_REQUIRED,
    &SHARED_LIMITS,
];

/// Keys of Stalwart's files that people bring along, and what to do with each.
pub(super) static FOREIGN: &[(&[&str], &str)] = &[
    (
        &["server.listener.<id>.proxy.override", "server.proxy.override"],
        "a list on a listener always replaces the server-wide one here: delete this line",
    ),
    (
        &[
            "server.tls",
            "server.listener.<id>.tls.enable",
            "server.listener.<id>.tls.override",
            "server.listener.<id>.tls.timeout",
            "server.listener.<id>.tls.certificate",
            "server.listener.<id>.tls.disable-protocols",
            "server.listener.<id>.tls.disable-ciphers",
            "server.listener.<id>.tls.ignore-client-order",
        ],
        "truepeer ends no TLS: the proxy does, or the backend does, and there this setting belongs",
    ),
    (
        &["server.socket", "server.listener.<id>.socket"],
        "truepeer chooses its socket options itself: delete this",
    ),
    (
        &["server.allowed-ip", "server.blocked-ip"],
        "lists of clients are `access.allow` and `access.deny` here",
    ),
    (
        &["server.security", "server.auto-ban", "server.fail2ban"],
        "bans that follow from what clients do stay in the backend, which sees the true client: leave this there",
    ),
    (
        &["server.http", "http", "server.listener.<id>.url"],
        "truepeer reads nothing inside HTTP: leave this in the backend",
    ),
    (
        &[
            "acme",
            "authentication",
            "certificate",
            "cluster",
            "config",
            "directory",
            "imap",
            "jmap",
            "lookup",
            "queue",
            "report",
            "resolver",
            "session",
            "sieve",
            "spam-filter",
            "storage",
            "store",
            "tracer",
            "webadmin",
        ],
        "this looks like Stalwart's own file: truepeer's holds `server`, `backend`, `access`, `limits` and `log` only",
    ),
];

pub(super) static HOSTNAME: Setting = Setting {
    scope: Scope::Server,
    name: "hostname",
    shape: Shape::HostName,
    default: Default::Derived("the name of this system"),
    docs: "What greetings and refusals call this host.",
    sample: Sample::Comment("\"mx1.example.org\""),
};

pub(super) static MAX_CONNECTIONS: Setting = Setting {
    scope: Scope::Server,
    name: "max-connections",
    shape: Shape::Count,
    default: Default::Derived("follows from the limit on open files"),
    docs: "Connections at once, over all listeners.\n\
           When they are reached, accepting pauses until one ends; nobody is refused.\n\
           Read at start only.",
    sample: Sample::Comment("8000"),
};

pub(super) static REFUSE_TEXT: Setting = Setting {
    scope: Scope::Refuse,
    name: "refuse.text",
    shape: Shape::RefusalText,
    default: Default::Derived("nothing"),
    docs: "What every refusal says behind its reason, such as where to read more or whom to ask.\n\
           `{client}` in it becomes the client's address.\n\
           Codes and reasons stay as they are; health checks do not hear it, and clients of `tcp` or where `tls.implicit = true` hear nothing at all.\n\
           A listener's own text replaces that of `[server]`; an empty one removes it.",
    sample: Sample::Comment("\"see https://mx1.example.org/refused?ip={client}\""),
};

pub(super) static BIND: Setting = Setting {
    scope: Scope::Listener,
    name: "bind",
    shape: Shape::Binds,
    default: Default::Required,
    docs: "Where this listener listens: one address or a list.\n\
           `[::]:PORT` serves IPv4 as well, unless the same port is also bound to an IPv4 address: then IPv6 only.\n\
           Port 0 lets the system choose.\n\
           With `protocol = \"tcp\"` a range of at most 1024 ports may stand there, such as `[::]:50000-50100` for FTP's passive \
           transfers: the first is handed to the first port of the backend's range, the second to the second, and so on.",
    sample: Sample::Live("\"[::]:25\""),
};

pub(super) static PROTOCOL: Setting = Setting {
    scope: Scope::Listener,
    name: "protocol",
    shape: Shape::Word(|| Protocol::ALL.into_iter().map(Protocol::name).collect()),
    default: Default::Required,
    docs: "The language of this listener's refusals, and what its idle limit follows from.\n\
           `\"submission\"` is mail from users (587, 465), `\"smtp\"` mail between servers, `\"tcp\"` anything else.",
    sample: Sample::Live("\"smtp\""),
};

pub(super) static BACKEND: Setting = Setting {
    scope: Scope::Listener,
    name: "backend",
    shape: Shape::BackendName,
    default: Default::Required,
    docs: "The `[backend.<id>]` that this listener's clients are handed to.",
    sample: Sample::Live("\"postfix\""),
};

pub(super) static BACKEND_WHEN_SECURE: Setting = Setting {
    scope: Scope::Listener,
    name: "backend-when-secure",
    shape: Shape::BackendName,
    default: Default::Derived("the same as `backend`"),
    docs: "Another `[backend.<id>]` for clients who came over TLS, as the proxy's header says.\n\
           Such as a Postfix service that offers AUTH, while the one for the others does not: Postfix reads no TLS facts from a header.",
    sample: Sample::Example("\"postfix-auth\""),
};

pub(super) static REQUIRE_SECURE: Setting = Setting {
    scope: Scope::Listener,
    name: "require-secure",
    shape: Shape::Flag,
    default: Default::False,
    docs: "Whether clients are refused unless the proxy's header says that they came over TLS.\n\
           They hear it in the listener's protocol.\n\
           Only version 2 headers can say it, in their SSL TLV (HAProxy: `send-proxy-v2-ssl`).",
    sample: Sample::CommentDefault,
};

pub(super) static TLS_IMPLICIT: Setting = Setting {
    scope: Scope::Listener,
    name: "tls.implicit",
    shape: Shape::Flag,
    default: Default::False,
    docs: "Whether the client's bytes are TLS from the first one, passing through to the backend (465, 993, 995).\n\
           No plain-text answer is ever written there.\n\
           If the proxy ends TLS, this stays `false`.",
    sample: Sample::CommentDefault,
};

pub(super) static SOCKET_MODE: Setting = Setting {
    scope: Scope::Listener,
    name: "socket-mode",
    shape: Shape::Mode,
    default: Default::Mode(SOCKET_MODE_DEFAULT),
    docs: "Permission bits of this listener's UNIX sockets: a user who may write to one can connect.\n\
           Only beside a `unix:` address in `bind` or `health-bind`.",
    sample: Sample::CommentDefault,
};

pub(super) static IDLE_TIMEOUT: Setting = Setting {
    scope: Scope::Listener,
    name: "idle-timeout",
    shape: Shape::Duration {
        floor: Duration::from_secs(1),
        why: "shorter silences happen in every working connection",
    },
    default: Default::ByProtocol(|protocol| format!("`\"{}\"`", duration_text(protocol.idle_timeout()))),
    docs: "How long both directions may be silent before the connection is closed.",
    sample: Sample::Comment("\"10m\""),
};

pub(super) static KIND: Setting = Setting {
    scope: Scope::Backend,
    name: "kind",
    shape: Shape::Word(|| Kind::ALL.into_iter().map(|kind| kind.facts().name).collect()),
    default: Default::Derived("`\"other\"`, and then `handoff` is required"),
    docs: "What the backend is: it sets the header version, the longest header, and which facts about TLS travel in it.\n\
           `\"whoami\"` is built in and answers in each protocol who you are, through whom, and why it believes that.",
    sample: Sample::Live("\"postfix\""),
};

pub(super) static HANDOFF_KIND: Setting = Setting {
    scope: Scope::Backend,
    name: "handoff",
    shape: Shape::Word(|| names(&HANDOFF)),
    default: Default::Derived("follows from `kind`; required where `kind` is absent or `\"other\"`"),
    docs: "How the backend learns who the client is; wins over `kind`.\n\
           `\"proxy-v2\"`, `\"proxy-v1\"`: by a header.\n\
           `\"xclient\"`: in SMTP, by the command of that name; for a Postfix or Haraka that reads no header.\n\
           `\"imap-id\"`: in IMAP, by the command ID; for a Dovecot of 2.4 or later. `\"imap-id-unconfirmed\"` is for earlier ones, which do not say whether they believe it.\n\
           `\"label\"`: by what its own socket says of the other end, with the help of the kernel; for any server on this host.\n\
           `\"transparent\"`: it is connected to from the client's own address; for any server on this host.\n\
           `\"exec\"`: a program is started for each connection, as under inetd, and given the very socket.\n\
           `\"none\"`: not at all, it takes truepeer for the client.\n\
           `docs/handoff.md` says which one is for whom, and what each needs.",
    sample: Sample::Comment("\"proxy-v2\""),
};

pub(super) static TLVS: Setting = Setting {
    scope: Scope::Backend,
    name: "tlvs",
    shape: Shape::Tlvs(|| Fact::ALL.into_iter().map(Fact::name).collect()),
    default: Default::Word("kind"),
    docs: "Which facts about the client travel in a version 2 header besides addresses, as TLVs.\n\
           `\"kind\"`: those that the kind of backend reads; `docs/backends.md` lists them.\n\
           `\"none\"`: none.\n\
           `\"all\"`: whatever the proxy sent, unknown types included, except what breaks this kind of server.\n\
           A list names them: `\"ssl\"` is TLS version and cipher, with the common name of a client certificate only if the proxy verified it; `\"unique-id\"` is the proxy's id for the connection, or truepeer's where it has none; `\"crc32c\"` is a checksum, always computed anew.\n\
           Where they do not fit into the longest header that the kind takes, the last in the order of the list above go first, and one line says so.",
    sample: Sample::Comment("[\"ssl\", \"unique-id\"]"),
};

pub(super) static OWN_TLVS: Setting = Setting {
    scope: Scope::Backend,
    name: "own-tlvs",
    shape: Shape::OwnTlvs(|| OwnFact::ALL.into_iter().map(OwnFact::name).collect()),
    default: Default::Derived("none"),
    docs: "TLVs that truepeer adds to a version 2 header by itself: each is a type from `0xe0` to `0xef`, which the specification leaves to applications, and what stands in it.\n\
           `listener` is the listener's id; `peer` the proxy's address and port; `source` is how the client is known, `v1`, `v2` or `direct`; `client-cn` the common name of a client certificate that the proxy verified; `id` truepeer's id for the connection.\n\
           One that has nothing to say of a connection is left out of its header.\n\
           A TLV of the same type that the proxy sent is not passed on, so that the backend can rely on what it reads there.",
    sample: Sample::Comment("[\"0xe0 listener\", \"0xe1 peer\"]"),
};

pub(super) static ADDRESS: Setting = Setting {
    scope: Scope::Backend,
    name: "address",
    shape: Shape::Addresses,
    default: Default::Derived(
        "required, save for `kind = \"whoami\"` and `handoff = \"exec\"`, which have none",
    ),
    docs: "Where the backend is: one address or a list, over which connections are spread.\n\
           Host names are looked up again and again; the last good answer is kept when that fails.\n\
           Behind a listener with a range of ports, a range of the same length: `10.0.0.5:50000-50100`. Nobody but a client \
           connects to these ports, so that they are never asked whether they work; of several addresses the next is tried \
           where one refuses.",
    sample: Sample::Live("\"127.0.0.1:10025\""),
};

pub(super) static CONNECT_TIMEOUT: Setting = Setting {
    scope: Scope::Backend,
    name: "connect-timeout",
    shape: Shape::Duration { floor: Duration::from_millis(1), why: "every connection takes some time" },
    default: Default::Duration(CONNECT_TIMEOUT_DEFAULT),
    docs: "How long one connect to one address may take, or starting a program.",
    sample: Sample::CommentDefault,
};

pub(super) static PROOF_TIMEOUT: Setting = Setting {
    scope: Scope::Backend,
    name: "proof-timeout",
    shape: Shape::Duration { floor: Duration::from_millis(1), why: "every answer takes some time" },
    default: Default::Duration(PROOF_TIMEOUT_DEFAULT),
    docs: "How long the backend may take to greet, and to answer a goodbye, when it is asked whether it reads our header.\n\
           No answer in time proves nothing: it is asked again, and a backend that was proved goes on serving.\n\
           Longer than its own pauses, such as Postfix' `postscreen_greet_wait` or a look-up of truepeer's name.",
    sample: Sample::CommentDefault,
};

pub(super) static SEES_ONLY_TRUEPEER: Setting = Setting {
    scope: Scope::Backend,
    name: "sees-only-truepeer",
    shape: Shape::Flag,
    default: Default::False,
    docs: "Confirms that you know: with `handoff = \"none\"` this backend takes truepeer's address for every client's.\n\
           If that address is in its `mynetworks` or the like, it is an open relay.\n\
           Required to be `true` for a mail protocol with `handoff = \"none\"`.",
    sample: Sample::CommentDefault,
};

pub(super) static LOG_FILE: Setting = Setting {
    scope: Scope::Log,
    name: "file",
    shape: Shape::LogTarget,
    default: Default::Word(STDERR),
    docs: "Where lines go: `\"stderr\"`, or the file with this path.\n\
           A file that does not exist is made with mode 0640; its folder must be there, and truepeer's user must be allowed to write in it (`LogsDirectory=truepeer` in a service unit makes /var/log/truepeer).\n\
           Lines are appended.\n\
           Each reload (SIGHUP, `truepeer reload`) opens it again, also one whose configuration is refused: that is how the file is rotated, as in `packaging/logrotate/`.\n\
           If it cannot be opened then, the old one goes on and a warning says so.",
    sample: Sample::Comment("\"/var/log/truepeer/truepeer.log\""),
};

pub(super) static LOG_CONNECTIONS: Setting = Setting {
    scope: Scope::Log,
    name: "connections",
    shape: Shape::Word(|| names(&CONNECTION_LINES)),
    default: Default::ByProtocol(|protocol| {
        let own = CONNECTION_LINES.iter().find(|(_, lines)| *lines == protocol.connection_lines());
        own.map(|(name, _)| format!("`\"{name}\"`")).unwrap_or_default()
    }),
    docs: "Which lines a connection leaves that reached a backend.\n\
           `\"end\"`: its record, when it ends.\n\
           `\"both\"`: one with `event=connected` as well, when the backend is reached; the default where sessions last for hours.",
    sample: Sample::Comment("\"both\""),
};

pub(super) static LOG_FORMAT_SETTING: Setting = Setting {
    scope: Scope::Log,
    name: "format",
    shape: Shape::Word(|| names(&LOG_FORMAT)),
    default: Default::Word("text"),
    docs: "How lines look: `key=value` pairs, or one JSON object a line.",
    sample: Sample::CommentDefault,
};
