//! What a setting is: its place, its shape, its default and its documentation.
//!
//! `settings` holds the table of them; the walk, the readers and the documentation all work from these values.
//! Nothing here knows a file or a parser.

use std::fmt::Write as _;
use std::time::Duration;

use crate::facts::protocol::Protocol;
use crate::rooms::bans::NodeName;
use crate::rooms::refuse::RefusalText;

/// One setting, written down once.
#[derive(Debug)]
pub(super) struct Setting {
    /// Where it stands.
    pub(super) scope: Scope,
    /// The key below its scope, dots included.
    pub(super) name: &'static str,
    /// What its value looks like.
    pub(super) shape: Shape,
    /// What holds when it is absent.
    pub(super) default: Default,
    /// Whole sentences, one a line.
    pub(super) docs: &'static str,
    /// How it appears in the sample file.
    pub(super) sample: Sample,
}

/// Where a setting may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// `[server]`
    Server,
    /// `[server]` for all listeners, or one `[server.listener.<id>]`, which wins.
    Proxy,
    /// `[server]` for all listeners, or one `[server.listener.<id>]`, which wins: what refusals say.
    Refuse,
    /// `[server.listener.<id>]`
    Listener,
    /// `[backend.<id>]`
    Backend,
    /// `[access]` for all listeners, and one `[server.listener.<id>.access]`.
    Access,
    /// `[limits]` for all listeners, or one `[server.listener.<id>.limits]`, which wins.
    Limits,
    /// `[limits]` only.
    LimitsOfAll,
    /// `[log]`
    Log,
    /// `[admin]`
    Admin,
    /// `[status]`
    Status,
    /// `[shared]`
    Shared,
}

impl Scope {
    /// The tables that may hold it, the widest first.
    pub(super) const fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Server => &["server"],
            Self::Proxy | Self::Refuse => &["server", "server.listener.<id>"],
            Self::Listener => &["server.listener.<id>"],
            Self::Backend => &["backend.<id>"],
            Self::Access => &["access", "server.listener.<id>.access"],
            Self::Limits => &["limits", "server.listener.<id>.limits"],
            Self::LimitsOfAll => &["limits"],
            Self::Log => &["log"],
            Self::Admin => &["admin"],
            Self::Status => &["status"],
            Self::Shared => &["shared"],
        }
    }
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// A host name.
    HostName,
    /// One of a closed set of words.
    Word(fn() -> Vec<&'static str>),
    /// Words of a closed set: one, or a list.
    Words(fn() -> Vec<&'static str>),
    /// `true` or `false`.
    Flag,
    /// `true`, `false`, or the addresses for which it is true.
    FlagOrAddresses,
    /// A whole number from 1.
    Count,
    /// A whole number from 1, or none.
    CountOrOff,
    /// A number of connections in a time, or none.
    Rate,
    /// Leading bits of an address, of which there are so many.
    PrefixLength(u8),
    /// A duration with its unit.
    Duration {
        /// The shortest one.
        floor: Duration,
        /// Why no shorter one makes sense.
        why: &'static str,
    },
    /// Networks of peers.
    Networks,
    /// Host names of proxies.
    HostNames,
    /// Single addresses of proxies.
    Hosts,
    /// Networks of clients.
    ClientNetworks,
    /// Paths of list files.
    Files,
    /// Addresses to listen on.
    Binds,
    /// One word for a choice of TLVs, or a list of their names.
    Tlvs(fn() -> Vec<&'static str>),
    /// Types and what stands in them.
    OwnTlvs(fn() -> Vec<&'static str>),
    /// Addresses to connect to.
    Addresses,
    /// The path of a file, such as this one.
    Path(&'static str),
    /// The path of a file, or standard error.
    LogTarget,
    /// A control group.
    Cgroup,
    /// An IPv4 address.
    Ipv4(&'static str),
    /// A program and its arguments.
    Command,
    /// The user that a program runs as.
    User,
    /// Permission bits.
    Mode,
    /// Words for a refusal.
    RefusalText,
    /// The address of a common store.
    StoreAddress,
    /// A name that the operator chooses.
    Name,
    /// The name of a `[backend.<id>]`.
    BackendName,
}

impl Shape {
    /// What is allowed, as the end of "must be".
    pub(super) fn allowed(self) -> String {
        match self {
            Self::HostName => "a host name in quotes, such as `\"mx1.example.org\"`".to_owned(),
            Self::Word(words) => one_of(&words()),
            Self::Words(words) => format!("{}, or a list of them", one_of(&words())),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::FlagOrAddresses => {
                "`true`, `false`, or a list of single addresses in quotes, such as `[\"192.0.2.20\"]`".to_owned()
            }
            Self::Count => format!("a whole number from 1 to {}", u32::MAX),
            Self::CountOrOff => format!("a whole number from 1 to {}, or `\"off\"`", u32::MAX),
            Self::Rate => {
                "connections in a time in quotes, such as `\"60/1m\"` or `\"5/10s\"`, or `\"off\"`".to_owned()
            }
            Self::PrefixLength(bits) => format!("a whole number from 1 to {bits}"),
            Self::Duration { .. } => {
                "a duration in quotes with its unit, such as `\"500ms\"`, `\"5s\"`, `\"2m\"` or `\"1h\"`".to_owned()
            }
            Self::Networks => {
                "one network in quotes or a list of them, such as `[\"192.0.2.10\", \"2001:db8::/64\"]`, or `\"off\"`"
                    .to_owned()
            }
            Self::HostNames => {
                "one host name in quotes or a list of them, such as `[\"traefik\", \"proxy.example.org\"]`, or `\"off\"`"
                    .to_owned()
            }
            Self::Hosts => {
                "one address in quotes or a list of them, such as `[\"192.0.2.20\", \"2001:db8::20\"]`, or `\"off\"`"
                    .to_owned()
            }
            Self::ClientNetworks => {
                "one network in quotes or a list of them, such as `[\"192.0.2.0/24\", \"2001:db8::/32\"]`".to_owned()
            }
            Self::Files => "a path in quotes or a list of them, such as `\"deny.txt\"`".to_owned(),
            Self::Tlvs(names) => {
                format!("`\"kind\"`, `\"all\"`, `\"none\"`, or a list of {}", quoted(&names()))
            }
            Self::OwnTlvs(names) => format!(
                "`\"TYPE FACT\"` or a list of them, such as `[\"0xe0 listener\"]`: a type from `0xe0` to `0xef`, and one of {}",
                quoted(&names())
            ),
            Self::Binds => {
                "`\"address:port\"`, `\"[address]:port\"` or `\"unix:/path\"`, or a list of them".to_owned()
            }
            Self::Addresses => {
                "`\"address:port\"`, `\"host:port\"` or `\"unix:/path\"`, or a list of them".to_owned()
            }
            Self::Path(example) => format!("an absolute path in quotes, such as `\"{example}\"`"),
            Self::LogTarget => {
                "`\"stderr\"`, or an absolute path in quotes, such as `\"/var/log/truepeer/truepeer.log\"`".to_owned()
            }
            Self::Cgroup => "the name of a systemd unit, or an absolute path, of a control group or of a file with a process' number, such as `\"ssh.service\"`, `\"/system.slice/ssh.service\"` or `\"/run/sshd.pid\"`".to_owned(),
            Self::Ipv4(example) => format!("an IPv4 address in quotes, such as `\"{example}\"`"),
            Self::Command => {
                "the absolute path of a program in quotes, or a list of it and its arguments, such as `[\"/usr/sbin/sshd\", \"-i\"]`".to_owned()
            }
            Self::User => {
                "the name of a user in quotes, such as `\"nobody\"`, or the numbers of user and group, such as `\"65534:65534\"`".to_owned()
            }
            Self::Mode => "permission bits as octal digits in quotes, such as `\"0660\"`".to_owned(),
            Self::RefusalText => format!(
                "at most {} characters of printable ASCII in quotes, without `\"` and `\\`, in which `{{client}}` stands for the client's address",
                RefusalText::MAX
            ),
            Self::StoreAddress => {
                "the address of a Redis or Valkey in quotes, such as `\"redis://10.0.0.5:6379\"` or `\"rediss-sentinel://a,b,c/mymaster\"`".to_owned()
            }
            Self::Name => {
                format!("a name in quotes: up to {} letters, digits, `-`, `_` and `.`", NodeName::MAX_LEN)
            }
            Self::BackendName => "the name of a `[backend.<name>]` in quotes".to_owned(),
        }
    }
}

/// What holds when a setting is absent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Default {
    /// It must be there.
    Required,
    /// A duration.
    Duration(Duration),
    /// A number.
    Count(u32),
    /// Permission bits.
    Mode(u32),
    /// A flag that is down.
    False,
    /// A word.
    Word(&'static str),
    /// All words.
    AllWords,
    /// Follows from the listener's protocol; the value as code.
    ByProtocol(fn(Protocol) -> String),
    /// Follows from something else: a sentence without its full stop.
    Derived(&'static str),
}

/// How a setting appears in the sample file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sample {
    /// As a line in force.
    Live(&'static str),
    /// As a comment with a value that would be valid.
    Comment(&'static str),
    /// As a comment with a value that needs something else to exist, so it is no line to put in force as it is.
    Example(&'static str),
    /// As a comment with its default.
    CommentDefault,
}

impl Setting {
    /// Every full key, the widest first: `server.listener.<id>.bind`.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> + '_ {
        self.scope.tables().iter().map(|table| format!("{table}.{}", self.name))
    }

    /// The default as TOML, where it is a value of its own.
    pub(super) fn default_toml(&self) -> Option<String> {
        match self.default {
            Default::Required | Default::ByProtocol(_) | Default::Derived(_) => None,
            Default::Duration(value) => Some(format!("\"{}\"", duration_text(value))),
            Default::Count(value) => Some(value.to_string()),
            Default::Mode(value) => Some(format!("\"{value:04o}\"")),
            Default::False => Some("false".to_owned()),
            Default::Word(word) => Some(format!("\"{word}\"")),
            Default::AllWords => match self.shape {
                Shape::Words(words) | Shape::Word(words) => {
                    let words: Vec<_> = words().iter().map(|word| format!("\"{word}\"")).collect();
                    Some(format!("[{}]", words.join(", ")))
                }
                _ => None,
            },
        }
    }
}

/// What follows from the protocol, with the protocols of one value together: `5m` for `a` and `b`, `1h` for `c`.
pub(super) fn by_protocol(value: fn(Protocol) -> String) -> String {
    let mut groups: Vec<(String, Vec<Protocol>)> = Vec::new();
    for protocol in Protocol::ALL {
        let value = value(protocol);
        match groups.iter_mut().find(|(of_group, _)| *of_group == value) {
            Some((_, protocols)) => protocols.push(protocol),
            None => groups.push((value, vec![protocol])),
        }
    }
    let group = |(value, protocols): &(String, Vec<Protocol>)| {
        let names: Vec<_> = protocols.iter().map(|protocol| format!("`{protocol}`")).collect();
        format!("{value} for {}", names.join(", "))
    };
    groups.iter().map(group).collect::<Vec<_>>().join("; ")
}

/// The names of a table of words.
pub(super) fn names<T>(words: &[(&'static str, T)]) -> Vec<&'static str> {
    words.iter().map(|(name, _)| *name).collect()
}

/// The words with "one of" before them where there are many.
fn one_of(words: &[&str]) -> String {
    if words.len() > 2 { format!("one of {}", quoted(words)) } else { quoted(words) }
}

/// `"a"`, `"b"` or `"c"`, each as code.
pub(super) fn quoted<S: AsRef<str>>(words: &[S]) -> String {
    let mut text = String::new();
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            text.push_str(if at.saturating_add(1) == words.len() { " or " } else { ", " });
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "`\"{}\"`", word.as_ref());
    }
    text
}

/// A duration as it is written in the file: the largest unit that fits.
pub(super) fn duration_text(value: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    let seconds = value.as_secs();
    match (value.subsec_millis(), seconds) {
        (0, 0) => "0s".to_owned(),
        (0, s) if s.is_multiple_of(HOUR) => format!("{}h", s / HOUR),
        (0, s) if s.is_multiple_of(MINUTE) => format!("{}m", s / MINUTE),
        (0, s) => format!("{s}s"),
        _ => format!("{}ms", value.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_their_largest_unit() {
        for (millis, text) in
            [(0, "0s"), (500, "500ms"), (1500, "1500ms"), (5000, "5s"), (120_000, "2m"), (7_200_000, "2h")]
        {
            assert_eq!(duration_text(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn words_are_listed_as_a_person_would() {
        assert_eq!(quoted(&["a"]), "`\"a\"`");
        assert_eq!(quoted(&["a", "b", "c"]), "`\"a\"`, `\"b\"` or `\"c\"`");
    }
}
