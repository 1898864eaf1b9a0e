//! Whom a program and everything that it starts contacts: read from its system calls, by strace.
//!
//! Called by `cases`. It must not know what the program is for, nor whom it may contact.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::servers::find;
use crate::verdict::{During, Result, failed};

/// The calls that open sockets, name a peer, or could send on a socket that has one.
const CALLS: &str =
    "socket,connect,sendto,sendmsg,sendmmsg,write,writev,pwritev2,sendfile,splice,io_uring_setup";
/// Bytes of each buffer that are written down: none of them is looked at.
const SHOWN: &str = "0";

/// A party that was contacted, or could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contact {
    /// An address of the internet protocols.
    Internet(SocketAddr),
    /// A UNIX socket of that path; abstract ones begin with `@`.
    Unix(String),
    /// A call that nobody here understands, or one that hides what is sent.
    Strange(String),
}

/// A watch over one run.
#[derive(Debug)]
pub(crate) struct Contacts {
    strace: PathBuf,
    notes: PathBuf,
}

impl Contacts {
    /// A watch that keeps its notes in `notes`.
    ///
    /// # Errors
    /// Skipped without strace.
    pub(crate) fn new(notes: PathBuf) -> Result<Self> {
        Ok(Self { strace: find("strace")?, notes })
    }

    /// `program`, to be run under the watch.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.strace);
        command.args(["-f", "-qqq", "-yy", "-e", "signal=none", "-s", SHOWN, "-e"]);
        command.arg(format!("trace={CALLS}")).arg("-o").arg(&self.notes).arg("--").arg(program);
        command
    }

    /// Everybody who was contacted, each once, in the order of the first time; and how many calls were seen.
    ///
    /// # Errors
    /// If nothing was seen: a watch that sleeps proves nothing.
    pub(crate) fn seen(&self) -> Result<(Vec<Contact>, usize)> {
        let text = fs::read_to_string(&self.notes).during("read what strace saw")?;
        let calls = text.lines().filter(|line| line.contains('(')).count();
        if calls == 0 {
            return failed(format!("strace saw nothing: {text}"));
        }
        let mut found: Vec<Contact> = Vec::new();
        for contact in text.lines().filter_map(contact) {
            if !found.contains(&contact) {
                found.push(contact);
            }
        }
        Ok((found, calls))
    }
}

/// What one line of strace's says: `PID call(FD<KIND:[...]>, ...) = ...`.
fn contact(line: &str) -> Option<Contact> {
    let call = line.trim_start().split_once(' ').map_or(line, |(_, call)| call).trim_start();
    let (name, words) = call.split_once('(')?;
    let strange = || Some(Contact::Strange(line.trim().to_owned()));
    let kind =
        words.split_once('<').and_then(|(_, rest)| rest.split_once([':', '>'])).map_or("", |(kind, _)| kind);
    let is_udp = kind.starts_with("UDP");
    match name {
        "socket" => {
            let known = words.starts_with("AF_UNIX")
                || words.starts_with("AF_NETLINK")
                || words.starts_with("AF_INET") && !words.contains("SOCK_RAW");
            if known { None } else { strange() }
        }
        // What it sends would not be seen.
        "io_uring_setup" => strange(),
        // The kernel's own: routes and addresses are asked for there.
        "connect" | "sendto" | "sendmsg" | "sendmmsg"
            if words.contains("AF_NETLINK") || kind == "NETLINK" =>
        {
            None
        }
        "connect" | "sendto" | "sendmsg" | "sendmmsg" if words.contains("sa_family=") => match named(words) {
            // On a datagram socket this asks for a route and sends nothing; what is sent there is seen below.
            Some(Contact::Internet(_)) if name == "connect" && is_udp => None,
            // The end of an association with whoever was named before.
            _ if words.contains("AF_UNSPEC") => None,
            Some(contact) => Some(contact),
            None => strange(),
        },
        "connect" => strange(),
        // Bytes on a datagram socket go to whom it was connected to: `<UDP:[HERE->THERE]>`.
        _ if is_udp => {
            let there =
                words.split_once("->").and_then(|(_, rest)| rest.split_once(']')).map(|(there, _)| there);
            there.and_then(|there| there.parse().ok()).map(Contact::Internet).or_else(strange)
        }
        // A stream has been connected, which was seen, or was accepted: whoever is there came by itself.
        _ if kind.starts_with("TCP") || kind.starts_with("UNIX") => None,
        "sendto" | "sendmsg" | "sendmmsg" => strange(),
        // A file or a pipe.
        _ => None,
    }
}

/// The address in a call's words.
fn named(words: &str) -> Option<Contact> {
    let between = |begin: &str, end: &str| {
        words.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).map(|(found, _)| found)
    };
    if words.contains("sa_family=AF_UNIX") {
        // An abstract one is shown as `@"name"`.
        let path = between("sun_path=", "}")?;
        return Some(Contact::Unix(path.replace('"', "")));
    }
    let ip: IpAddr =
        between("inet_addr(\"", "\"").or_else(|| between("inet_pton(AF_INET6, \"", "\""))?.parse().ok()?;
    let port = between("sin_port=htons(", ")").or_else(|| between("sin6_port=htons(", ")"))?.parse().ok()?;
    Some(Contact::Internet(SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_strace_tell_who_is_contacted() {
        let internet =
            |addr: &str| Some(Contact::Internet(addr.parse().unwrap_or_else(|_| ([0; 4], 0).into())));
        for (line, means) in [
            (
                r#"7 connect(9<TCP:[55]>, {sa_family=AF_INET, sin_port=htons(25), sin_addr=inet_addr("192.0.2.1")}, 16) = 0"#,
                internet("192.0.2.1:25"),
            ),
            (
                r#"7 connect(9<TCPv6:[55]>, {sa_family=AF_INET6, sin6_port=htons(25), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28 <unfinished ...>"#,
                internet("[2001:db8::1]:25"),
            ),
            (
                r#"7 connect(3<UDP:[0.0.0.0:40912]>, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("192.0.2.1")}, 16) = 0"#,
                None,
            ),
            (r#"7 write(3<UDP:[127.0.0.1:40912->192.0.2.1:53]>, ""..., 4) = 4"#, internet("192.0.2.1:53")),
            (
                r#"7 sendto(3<UDP:[0.0.0.0:40912]>, ""..., 4, 0, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("192.0.2.1")}, 16) = 4"#,
                internet("192.0.2.1:53"),
            ),
            (
                r#"7 sendto(9<TCP:[127.0.0.1:55114->127.0.0.1:45683]>, ""..., 6, MSG_NOSIGNAL, NULL, 0) = 6"#,
                None,
            ),
            (r#"7 write(1</tmp/x>, ""..., 6) = 6"#, None),
            (
                r#"7 connect(7<UNIX-STREAM:[1]>, {sa_family=AF_UNIX, sun_path="/run/x"}, 110) = -1 ENOENT (No such file)"#,
                Some(Contact::Unix("/run/x".to_owned())),
            ),
            (
                r#"7 sendto(7<NETLINK:[ROUTE:1]>, [{nlmsg_len=20}], 20, 0, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 20"#,
                None,
            ),
            ("7 <... connect resumed>) = 0", None),
        ] {
            assert_eq!(contact(line), means, "{line}");
        }
        for line in [
            "7 socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)) = 3",
            "7 socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) = 3",
            "7 io_uring_setup(8, {flags=0}) = 3",
        ] {
            assert!(matches!(contact(line), Some(Contact::Strange(_))), "{line}");
        }
    }
}
