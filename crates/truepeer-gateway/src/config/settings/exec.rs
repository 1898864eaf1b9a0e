//! `backend.<id>.exec`: programs that are given connections.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::setting::{Default, Sample, Scope, Setting, Shape};

/// As many as systemd's sockets allow with `Accept=yes`.
pub(in crate::config) const EXEC_MAX_DEFAULT: NonZeroU32 = NonZeroU32::new(64).unwrap();
/// So many may be started in so long: [`EXEC_RATE_WORD`].
pub(in crate::config) const EXEC_RATE_DEFAULT: (NonZeroU32, Duration) =
    (NonZeroU32::new(50).unwrap(), Duration::from_secs(1));
const EXEC_RATE_WORD: &str = "50/1s";

pub(in crate::config) static EXEC_COMMAND: Setting = Setting {
    scope: Scope::Backend,
    name: "exec.command",
    shape: Shape::Command,
    default: Default::Derived("required with `handoff = \"exec\"`"),
    docs: "The program that is given each connection as its standard input and output, and its arguments; no shell reads them.\n\
           What it writes to its standard error becomes lines of truepeer's log (`event=program_said`), at most 100 of 512 bytes for each connection.\n\
           Its environment holds `PATH` and what docs/handoff.md lists, and nothing of truepeer's own.",
    sample: Sample::Comment("[\"/usr/bin/rsync\", \"--server\", \"--daemon\", \".\"]"),
};

pub(in crate::config) static EXEC_MAX: Setting = Setting {
    scope: Scope::Backend,
    name: "exec.max",
    shape: Shape::Count,
    default: Default::Count(EXEC_MAX_DEFAULT.get()),
    docs: "How many of its programs run at once, over all listeners; clients beyond that hear a temporary refusal.\n\
           Each has a process and a thread of truepeer's.\n\
           Programs that were started before a reload count.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static EXEC_RATE: Setting = Setting {
    scope: Scope::Backend,
    name: "exec.rate",
    shape: Shape::Rate,
    default: Default::Word(EXEC_RATE_WORD),
    docs: "How many of its programs are started in a time, all of which may be started at once; clients beyond that hear a temporary refusal.\n\
           Starting one costs this host a hundred times as much as a connection does.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static EXEC_USER: Setting = Setting {
    scope: Scope::Backend,
    name: "exec.user",
    shape: Shape::User,
    default: Default::Derived("truepeer's own user and groups"),
    docs: "As whom the program runs: a name in /etc/passwd, or the numbers of a user and a group. It is in no other group.\n\
           Only root, or a service with CAP_SETUID, CAP_SETGID and, to end them, CAP_KILL, can have programs of another user.",
    sample: Sample::Comment("\"65534:65534\""),
};

pub(in crate::config) static EXEC_DIRECTORY: Setting = Setting {
    scope: Scope::Backend,
    name: "exec.directory",
    shape: Shape::Path("/srv/rsync"),
    default: Default::Word("/"),
    docs: "Where the program starts.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static EXEC_LABEL: Setting = Setting {
    scope: Scope::Backend,
    name: "exec.label",
    shape: Shape::Flag,
    default: Default::Derived("where this host allows it"),
    docs: "Whether the program's socket, too, says the client's address (`getpeername`), as with `handoff = \"label\"` and with the same rights.\n\
           For programs that ask the socket, such as sshd, Exim and rsync, say `true`: then nothing is started whose socket does not say the client, and the client hears a temporary refusal.\n\
           Absent, the socket says so where this host allows it; the log says where it does not (`event=program_not_labelled`), and the environment alone names the client there.\n\
           The listener must be bound to an IPv6 address such as `[::]` to show clients of IPv6.",
    sample: Sample::Comment("true"),
};

pub(in crate::config) static EXEC_READS_ENVIRONMENT: Setting = Setting {
    scope: Scope::Backend,
    name: "exec.reads-environment",
    shape: Shape::Flag,
    default: Default::False,
    docs: "Confirms that you know: the program has to take the client's address from its environment.\n\
           One that asks the socket, as Exim and sshd do, finds the proxy there without `exec.label`; if the proxy's address is in its list of hosts that may relay, it is an open relay.\n\
           For a mail protocol with `handoff = \"exec\"`, this or `exec.label` is required to be `true`.",
    sample: Sample::CommentDefault,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_the_one_that_is_documented() {
        let (count, period) = EXEC_RATE_DEFAULT;
        assert_eq!(format!("{count}/{}s", period.as_secs()), EXEC_RATE_WORD);
    }
}
