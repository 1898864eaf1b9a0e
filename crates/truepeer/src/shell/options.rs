//! The bounds of a listener, each with its name, its default and its memory.

use core::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use truepeer_proto::Decoder;

use super::ListenerEvent;
use crate::{Arrival, ClientIdentity, HeaderRules, NetworkSet, TrustDecision};

/// How a listener behaves towards those that must send a header.
///
/// Worst case memory of a listener: `max_pending` times (1.5 KiB for the task and its timer, plus the header cap of
/// 4112 bytes by default, plus 511 bytes of what follows it): 6 MiB by default. A peer that is silent costs the
/// 1.5 KiB only, besides its socket.
#[derive(Clone)]
pub struct ListenerOptions {
    pub(super) header_timeout: Duration,
    pub(super) max_pending: usize,
    pub(super) rules: HeaderRules,
    pub(super) reads: Reads,
    pub(super) observer: Option<Observer>,
    pub(super) decider: Decider,
    pub(super) check: Option<Check>,
}

type Observer = Arc<dyn Fn(ListenerEvent) + Send + Sync>;
pub(super) type Check = Arc<dyn Fn(&ClientIdentity) -> Result<(), &'static str> + Send + Sync>;
type DecideNow = dyn Fn(&Arrival, TrustDecision) -> TrustDecision + Send + Sync;
type DecideLater = dyn Fn(Arrival, TrustDecision) -> Deciding + Send + Sync;
pub(super) type Deciding = Pin<Box<dyn Future<Output = TrustDecision> + Send>>;

/// Who has the last word about a peer.
#[derive(Clone)]
pub(super) enum Decider {
    /// The trust policy.
    Policy,
    /// The caller, at once.
    Now(Arc<DecideNow>),
    /// The caller, who has to look it up.
    Later(Arc<DecideLater>),
}

/// How much is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// Whatever is there.
    Eager,
    /// What the header lacks at least.
    Exact,
}

impl ListenerOptions {
    /// 5 seconds for the whole header. Source: PROXY protocol 4 (at least 3 seconds, for a lost segment).
    pub const DEFAULT_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
    /// The longest time that a header or a handshake can be given, a day. Longer ones, [`Duration::MAX`] among them,
    /// are this one: there is no "for ever", and anyone who waits takes a place.
    pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
    /// 1,024 headers awaited at once.
    pub const DEFAULT_MAX_PENDING: usize = 1024;

    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            header_timeout: Self::DEFAULT_HEADER_TIMEOUT,
            max_pending: Self::DEFAULT_MAX_PENDING,
            rules: HeaderRules::default(),
            reads: Reads::Eager,
            observer: None,
            decider: Decider::Policy,
            check: None,
        }
    }

    /// The time for a whole header, from accept on; one deadline, not one for each read. At most
    /// [`LONGEST_TIMEOUT`](Self::LONGEST_TIMEOUT).
    #[must_use]
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout.min(Self::LONGEST_TIMEOUT);
        self
    }

    /// The number of connections that may wait for their header or for `accept`. When it is reached, the peer that
    /// holds most of these places loses the one that has waited longest for its header; the newest is never refused. An
    /// IPv4 address and a /64 of IPv6 are one holder. At least 1.
    #[must_use]
    pub fn max_pending(mut self, max: usize) -> Self {
        self.max_pending = max.max(1);
        self
    }

    /// Versions, size cap and strictness of headers.
    #[must_use]
    pub fn decoder(mut self, decoder: Decoder) -> Self {
        self.rules = self.rules.decoder(decoder);
        self
    }

    /// Reads not one byte beyond the header: what follows stays in the socket, whose descriptor may then be handed to
    /// the kernel's TLS, to `splice(2)`, or to another process. Nothing is ever `unread`.
    ///
    /// This costs system calls: three for a version 2 header, up to about ten for a version 1 line, whose end is not
    /// announced.
    #[must_use]
    pub fn exact_reads(mut self) -> Self {
        self.reads = Reads::Exact;
        self
    }

    /// Leaves the last word about each peer to `decide`, which is given what is known of the connection and what the
    /// trust policy says, and is asked before one byte is read.
    ///
    /// For what a policy of addresses cannot say: the address that was reached, the user behind a UNIX socket, a list
    /// that changes. It runs inside the listener and must return at once; see
    /// [`decide_later`](Self::decide_later) for look-ups. It takes the place of an earlier one of either kind.
    ///
    /// ```
    /// # use truepeer::{ListenerOptions, PeerAddress, TrustDecision};
    /// // HAProxy's own user over the UNIX socket, and nobody else.
    /// let options = ListenerOptions::new().decide_with(|arrival, _| match arrival.peer {
    ///     PeerAddress::Unix { uid: Some(113) } => TrustDecision::ExpectHeader,
    ///     _ => TrustDecision::Refuse,
    /// });
    /// ```
    #[must_use]
    pub fn decide_with(
        mut self,
        decide: impl Fn(&Arrival, TrustDecision) -> TrustDecision + Send + Sync + 'static,
    ) -> Self {
        self.decider = Decider::Now(Arc::new(decide));
        self
    }

    /// As [`decide_with`](Self::decide_with), by a look-up that may take its time: a database, a service.
    ///
    /// It counts as waiting for a header: it takes one of `max_pending` places, its time is part of `header_timeout`,
    /// and it is dropped when its place is needed or its time is over. Then the connection is closed, as
    /// [`Refusal::Undecided`](super::Refusal::Undecided) or `Evicted`.
    #[must_use]
    pub fn decide_later<F>(
        mut self,
        decide: impl Fn(Arrival, TrustDecision) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = TrustDecision> + Send + 'static,
    {
        self.decider = Decider::Later(Arc::new(move |arrival, policy| Box::pin(decide(arrival, policy))));
        self
    }

    /// Has `check` judge each identity before its connection is handed out, be it a client's or a proxy's own. `Err`
    /// says why not as the rest of a sentence ("its TLS is missing"); it closes the connection and is reported as
    /// [`Refusal::Rejected`](super::Refusal::Rejected). It must return at once.
    #[must_use]
    pub fn check_identity(
        mut self,
        check: impl Fn(&ClientIdentity) -> Result<(), &'static str> + Send + Sync + 'static,
    ) -> Self {
        self.check = Some(Arc::new(check));
        self
    }

    /// Addresses of this machine and of its backends: no peer from elsewhere can be speaking for a client there.
    #[must_use]
    pub fn own_addresses(mut self, own: NetworkSet) -> Self {
        self.rules = self.rules.own_addresses(own);
        self
    }

    /// Accepts clients that cannot be true, such as `127.0.0.1` from another machine.
    ///
    /// Rules like "loopback may do everything" are then in the hands of every trusted peer.
    #[must_use]
    pub fn unsafe_accept_implausible_clients(mut self) -> Self {
        self.rules = self.rules.unsafe_accept_implausible_clients();
        self
    }

    /// Calls `observer` for everything that is not handed out: refusals, closed health checks, accept errors.
    ///
    /// It runs inside the listener and must return at once: count, log to memory, or `try_send` to a bounded channel.
    /// With the feature `tracing` each of them is an event of target `truepeer` as well, with or without an observer.
    #[must_use]
    pub fn on_event(mut self, observer: impl Fn(ListenerEvent) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Reports to the observer of these options, and to `tracing`, as a listener does: for accept loops that identify
    /// in tasks of their own, whose refusals no listener sees.
    ///
    /// ```
    /// # use tokio::net::TcpStream;
    /// # use truepeer::{Connection, Incoming, ListenerOptions};
    /// async fn identify(incoming: Incoming<TcpStream>, options: &ListenerOptions) -> Option<Connection<TcpStream>> {
    ///     incoming.identify().await.map_err(|refusal| options.report(refusal.into())).ok()
    /// }
    /// ```
    pub fn report(&self, event: ListenerEvent) {
        #[cfg(feature = "tracing")]
        super::trace::trace(&event);
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ListenerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerOptions")
            .field("header_timeout", &self.header_timeout)
            .field("max_pending", &self.max_pending)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
