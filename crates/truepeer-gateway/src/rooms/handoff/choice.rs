//! The ways to tell a backend who the client is, and what is known of each, as data.
//!
//! The configuration, the prober, the walk, the log and the doctor read the facts; none of them asks which way it is.

use truepeer::OwnHeader;
use truepeer_doctor::change;

use crate::facts::protocol::Protocol;

/// `backend.<id>.handoff`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handoff {
    /// A v2 header.
    ProxyV2,
    /// A v1 header.
    ProxyV1,
    /// XCLIENT, in SMTP.
    Xclient,
    /// ID, in IMAP, to a server that says whether it believes us.
    ImapId,
    /// ID, in IMAP, to one that does not say it.
    ImapIdUnconfirmed,
    /// Nothing is said: the backend's own socket names the client, for a program in the kernel has it do so.
    Label,
    /// Nothing is said: the connection comes from the client's own address.
    Transparent,
    /// In its environment, to a program that is given the client's connection.
    Exec,
    /// Nothing: the backend sees us as the client.
    None,
}

/// How it is found out whether a backend takes a handoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It cannot be: nothing is told.
    Nothing,
    /// Without it the backend waits, with it the backend greets and understands a goodbye.
    GreetsOnlyWith,
    /// The backend says itself that it takes it.
    Accepts,
    /// It takes the words, and does not say whether it believes them: that is in its log.
    AcceptsUnsaid,
    /// Its socket sees a client that is not us, and its answers come back.
    ReachedAsClient,
    /// It is a program that is there and may be run; whether it reads its environment does not show.
    MayRun,
}

/// What is known of a way.
#[derive(Debug, Clone, Copy)]
pub struct HandoffFacts {
    /// The word in the configuration and in logs.
    pub name: &'static str,
    /// Whether a header in the client's first bytes could still be read as ours.
    pub own_header: OwnHeader,
    /// How a backend is proved.
    pub proof: Proof,
    /// Whether what shows the client ends with this process: a connection that the backend accepts later shows us.
    pub fades: bool,
    /// What a proof asks, in words.
    pub question: &'static str,
    /// The languages that it is spoken in; empty: it is none of a language's business.
    pub protocols: &'static [Protocol],
    /// Which servers it is for.
    pub suits: &'static str,
    /// What the backend or this host must allow.
    pub needs: &'static str,
    /// What it cannot do.
    pub limits: &'static str,
    /// What to change if a backend refuses it; empty: it depends on the kind of backend.
    pub remedy: &'static str,
}

impl Handoff {
    /// Every way, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::ProxyV2,
        Self::ProxyV1,
        Self::Xclient,
        Self::ImapId,
        Self::ImapIdUnconfirmed,
        Self::Label,
        Self::Transparent,
        Self::Exec,
        Self::None,
    ];

    /// The word in the configuration and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Whether the backend learns who the client is.
    #[must_use]
    pub const fn tells(self) -> bool {
        !matches!(self, Self::None)
    }

    /// What is known of it.
    #[must_use]
    pub const fn facts(self) -> HandoffFacts {
        match self {
            Self::ProxyV2 => HandoffFacts {
                name: "proxy-v2",
                own_header: OwnHeader::Precedes,
                proof: Proof::GreetsOnlyWith,
                fades: false,
                question: "whether it reads our header",
                protocols: &[],
                suits: "every server that reads PROXY protocol version 2",
                needs: "the backend reads PROXY protocol version 2 on this port",
                limits: "",
                remedy: "",
            },
            Self::ProxyV1 => HandoffFacts {
                name: "proxy-v1",
                own_header: OwnHeader::Precedes,
                proof: Proof::GreetsOnlyWith,
                fades: false,
                question: "whether it reads our header",
                protocols: &[],
                suits: "a server that reads version 1 only",
                needs: "the backend reads PROXY protocol version 1 on this port",
                limits: "no TLS facts; a server that no longer expects the line may go on, with truepeer's address as the client's",
                remedy: "",
            },
            Self::Xclient => HandoffFacts {
                name: "xclient",
                own_header: OwnHeader::Precedes,
                proof: Proof::Accepts,
                fades: false,
                question: "whether it takes XCLIENT from us",
                protocols: &[Protocol::Smtp, Protocol::Submission, Protocol::Lmtp],
                suits: "Postfix or Haraka, on a port that must also serve clients without a header",
                needs: "the backend offers XCLIENT to truepeer's address, and to no client's",
                limits: "the server knows no host name of the client (neither it nor truepeer looks one up), so rules about client names never match; its log shows truepeer's address until XCLIENT is sent",
                remedy: change::BELIEVE_XCLIENT,
            },
            Self::ImapId => HandoffFacts {
                name: "imap-id",
                own_header: OwnHeader::Precedes,
                proof: Proof::Accepts,
                fades: false,
                question: "whether it believes our ID",
                protocols: &[Protocol::Imap],
                suits: "Dovecot 2.4 or later, on an IMAP port that must also serve clients without a header",
                needs: "Dovecot 2.4 or later with truepeer's address in `login_trusted_networks`, on a port without `haproxy = yes`",
                limits: "Dovecot treats the connection from truepeer as secured, so it allows passwords in clear text unless `ssl = required`; it does not log the client's own ID",
                remedy: change::BELIEVE_ID,
            },
            Self::ImapIdUnconfirmed => HandoffFacts {
                name: "imap-id-unconfirmed",
                own_header: OwnHeader::Precedes,
                proof: Proof::AcceptsUnsaid,
                fades: false,
                question: "whether it believes our ID",
                protocols: &[Protocol::Imap],
                suits: "the same with Dovecot 2.3, which does not say whether it believes truepeer",
                needs: "Dovecot 2.3 with truepeer's address in `login_trusted_networks`, on a port without `haproxy = yes`",
                limits: "if `login_trusted_networks` lacks truepeer's address, every client has truepeer's address in Dovecot, and nothing says so: check its log; passwords and the client's ID as with `imap-id`",
                remedy: change::BELIEVE_ID_SILENTLY,
            },
            Self::Label => HandoffFacts {
                name: "label",
                own_header: OwnHeader::Absent,
                proof: Proof::ReachedAsClient,
                fades: true,
                question: "whether its socket says who the client is",
                protocols: &[],
                suits: "any server on this host, containers included: nothing is changed there, nor in this host's routing",
                needs: "CAP_BPF and CAP_NET_ADMIN, Linux 5.14 or later, control groups of version 2; the backend on this host",
                limits: "only the backend itself sees the client: `ss`, conntrack, tcpdump and a firewall still see truepeer; a backend that listens on IPv4 only cannot be shown clients of IPv6, and one with TCP_DEFER_ACCEPT cannot be shown any",
                remedy: "`truepeer check` names what this host lacks; a backend in a network namespace of its own needs `label.cgroup` with its control group",
            },
            Self::Transparent => HandoffFacts {
                name: "transparent",
                own_header: OwnHeader::Absent,
                proof: Proof::ReachedAsClient,
                fades: false,
                question: "whether it is reached from a client's address",
                protocols: &[],
                suits: "any server on this host, unchanged",
                needs: "CAP_NET_ADMIN, a rule, a route and two sysctls on this host; the backend on this host, or behind it",
                limits: "an IPv6 client needs an IPv6 address of the backend, an IPv4 client an IPv4 address; docker-proxy in between replaces the client's address: use the container's own address",
                remedy: "`truepeer snippet transparent` prints every command that this host needs; a backend elsewhere must send its answers through this host",
            },
            Self::Exec => HandoffFacts {
                name: "exec",
                own_header: OwnHeader::Absent,
                proof: Proof::MayRun,
                fades: false,
                question: "whether it reads its environment",
                protocols: &[],
                suits: "a program that serves one connection on its standard input and output, as under inetd, tcpserver, s6 or systemd's `Accept=yes`; it is given the very socket, and no byte passes through truepeer",
                needs: "the right to run it; for a program that asks the socket (sshd, Exim, rsync started as `rsync --daemon`) instead of its environment (`TCPREMOTEIP`, `REMOTE_ADDR`), `exec.label = true` and the rights of `label`",
                limits: "without these rights a program that asks the socket finds the proxy there; it must read no PROXY header itself; idle limit and byte counts are the program's own affair",
                remedy: "see that `exec.command` names a program that truepeer's user may run, and with `exec.label = true` that truepeer has CAP_BPF and CAP_NET_ADMIN (`truepeer check` says what this host lacks)",
            },
            Self::None => HandoffFacts {
                name: "none",
                own_header: OwnHeader::Absent,
                proof: Proof::Nothing,
                fades: false,
                question: "whether it reads our header",
                protocols: &[],
                suits: "a server that does not need to know the client",
                needs: "for mail, `sees-only-truepeer = true`",
                limits: "every client has truepeer's address in the backend",
                remedy: "",
            },
        }
    }
}
