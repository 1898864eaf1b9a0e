//! The real client behind a proxy.
//!
//! Behind a proxy every connection seems to come from the proxy, and logs, bans, limits and mail rules judge the wrong
//! address. The PROXY protocol is the cure: the proxy's first bytes say whom it speaks for. This crate reads those
//! bytes, believes them only from those who may say so, and hands the server a stream that knows its client.
//!
//! # The safe way
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use truepeer::{ListenerOptions, ProxyListener, TrustedNetworks};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let trusted = TrustedNetworks::parse(["192.0.2.10"])?; // your proxy, not your network
//! let options = ListenerOptions::new().on_event(|event| eprintln!("{}: {event}", event.code())); // whom it sends away
//! let mut listener = ProxyListener::bind("0.0.0.0:7007", trusted).await?.with_options(options);
//! loop {
//!     let stream = listener.accept().await; // a client, and the header is gone
//!     println!("{} through {}", stream.client(), stream.client().identity().peer());
//!     // `stream` is `AsyncRead + AsyncWrite`: give it to a task of your own.
//! }
//! # }
//! ```
//!
//! `accept` never fails and never waits for one peer's bytes: with a thousand proxies that connect and stay silent,
//! the next client is served as if there were none. Whom it sends away, it tells
//! `ListenerOptions::on_event` (and `tracing`, with the feature of that name), with what was seen, what is allowed, at
//! which byte, and whose fault it was.
//!
//! # The two addresses
//!
//! The **peer** is the other end of our socket. The **client** is whom the connection is for. A [`ClientIdentity`]
//! has both, never in one field: [`ClientIdentity::peer`] for questions of the network, [`Client::ip`] for logs, bans
//! and limits. Where the peer is in no trusted network it **is** the client ([`Unlisted::Direct`]), or it is sent
//! away ([`Unlisted::Refuse`]); nobody gets to be somebody else by sending a header.
//!
//! # Ways to get it wrong, and what prevents them
//!
//! - **"Read a header if there is one."** Then anyone who can connect writes one, and is anyone they like. Here trust
//!   decides before a byte is read, and [`TrustDecision`] has no such answer: a trusted peer **must** send a header,
//!   another's bytes are never looked at.
//! - **Trusting everyone.** [`TrustedNetworks::default`] is nobody, [`TrustedNetworks::parse`] refuses everybody, be it
//!   as `0.0.0.0/0` or in halves, and the constructor that trusts all has `unsafe` in its name. Only networks that your
//!   own code made and collects are taken as they are. A network with clients in it, a LAN or a container
//!   gateway, is the same mistake in small: list the proxies.
//! - **Taking a health check for a client.** LOCAL, UNKNOWN and their kin carry no client, and the socket's address is
//!   the proxy's, which your rules may trust. [`Client`] is made of a client's address only; everything else becomes
//!   a [`ProxyOwn`], which has none to ask for, nor TLS facts.
//! - **Reading the header inside TLS.** There it would be the client's own words. A `TlsListener` is built on a
//!   `ProxyListener`, never the other way round.
//! - **Believing that a TLS item means TLS.** [`ClientIdentity::is_secure`] asks for the bit, and
//!   [`Tls::is_client_verified`] for a certificate **and** the right verdict: HAProxy sends the verdict "fine" for
//!   clients that have no certificate.
//! - **Waiting for the header in the accept loop.** One silent peer then stops the server. The listener reads headers
//!   in tasks of its own, at most `ListenerOptions::max_pending` of them, with one deadline for each.
//! - **Taking a broken header for none.** A malformed item, a wrong checksum or a wrong length ends the connection
//!   with its byte offset. It is never "no TLVs".
//! - **Passing a client's header on.** A server that relays to something which reads headers must not forward one
//!   from the client: [`FirstBytes`] judges the first bytes. The streams here do not do that by themselves.
//! - **Believing `X-Forwarded-For` besides.** Through a proxy that moves bytes it is the client's own word:
//!   `ClientLayer` takes it out of every request, with its kin.
//!
//! # Where to begin
//!
//! | you have | feature | take | example |
//! |---|---|---|---|
//! | a TCP server | `tokio` (default) | `ProxyListener` | `line`, `smtp` (speaks first) |
//! | axum | `axum` | `axum::serve(listener, ..)`, `ConnectInfo<Client>` | `axum` |
//! | actix-web | `actix` | `IdentifyForActix`, `Client` in handlers | `actix` |
//! | tonic | `tonic` | `listener.into_stream()`, `Client` in extensions | `tonic` |
//! | a server that takes a `Stream` | `stream` | `listener.into_stream()` | |
//! | tower layers | `tower` | `ClientLayer`: identity in, forged fields out | `tower` |
//! | TLS to end here | `tokio-rustls` | `TlsListener` | `tls` |
//! | hyper | `tokio` | `TokioIo::new(stream)` | `hyper` |
//! | a backend that expects a header | `tokio` | `connect`, [`OutgoingHeader`] | `backend` |
//! | a backend over HTTP that expects one | `hyper-util` | `HeaderConnector` | |
//! | a thread for each connection | none | [`TrustPolicy`], [`read_header`] | |
//! | datagrams (DNS, QUIC) | none | [`TrustPolicy`], [`read_datagram`] | `dns`, `quic` |
//! | another runtime, or none | none | [`TrustPolicy`], [`HeaderReader`] | below |
//!
//! # Without a runtime
//!
//! Everything that decides is free of IO: bytes and instants go in, decisions come out.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use truepeer::{HeaderReader, HeaderRules, PeerAddress, Progress, TrustDecision, TrustPolicy, TrustedNetworks};
//!
//! let policy = TrustPolicy::from(TrustedNetworks::parse(["192.0.2.10"])?);
//! let peer = PeerAddress::tcp("192.0.2.10:1000".parse()?);
//! assert_eq!(policy.decide(peer), TrustDecision::ExpectHeader);
//!
//! let deadline = Instant::now() + Duration::from_secs(5);
//! let reader = HeaderReader::new(HeaderRules::default(), peer, deadline);
//! let received = b"PROXY TCP4 203.0.113.5 198.51.100.2 40000 25\r\nEHLO";
//! let Progress::Done { identity, header_len } = reader.advance(received)? else { panic!("not whole yet") };
//! assert_eq!(identity.client().unwrap().to_string(), "203.0.113.5:40000");
//! assert_eq!(&received[header_len..], b"EHLO");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Promises
//!
//! - Every public async function says what is lost when it is dropped, and a test drops it at each await point.
//! - Every queue and wait has a name, a default and its memory in the docs: see `ListenerOptions`.
//! - The oldest supported Rust is 1.88. No `unsafe` code, no build scripts, no code generation.
//! - Semantic versioning: before 1.0 a new minor version may break, and the changelog says how to follow. A header that
//!   the specification forbids and that is refused from now on is a mend, not a break. Nothing is published yet, so that
//!   there is no version to compare with; from the first one on, `scripts/semver` asks `cargo-semver-checks` before the
//!   next.
//! - Enums that grow with the world, such as [`IdentifyReason`], are `#[non_exhaustive]`.
//! - External types in the API: `core::net`, `tokio`'s traits and sockets, [`IpNet`], and those of each adapter's
//!   crate behind its feature.

#![forbid(unsafe_code)]
// Items show the feature that they need.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapter;
mod blocking;
mod client;
mod datagram;
mod first_bytes;
mod identity;
mod nat64;
mod network;
mod outgoing;
mod reader;
mod seen;
#[cfg(feature = "tokio")]
mod shell;
mod trust;

#[cfg(feature = "actix")]
pub use adapter::actix::{IdentifyForActix, IdentifyOne};
#[cfg(feature = "axum")]
pub use adapter::axum::{ClientRejection, Untouched, WithProxyOwn, WithSocketAddr};
#[cfg(feature = "hyper-util")]
pub use adapter::hyper_util::HeaderConnector;
#[cfg(feature = "stream")]
pub use adapter::stream::{CallersStream, ClientsStream};
#[cfg(feature = "tokio-rustls")]
pub use adapter::tls::{TlsConnection, TlsListener};
#[cfg(all(feature = "tonic", feature = "tokio-rustls"))]
pub use adapter::tonic::tls::TlsCaller;
#[cfg(feature = "tower")]
pub use adapter::tower::{ClientLayer, ClientService};
pub use blocking::{BlockingSocket, ReadHeaderError, read_header};
pub use client::{Caller, Client, ProxyOwn};
pub use datagram::{DatagramError, read_datagram};
pub use first_bytes::{FirstBytes, Held, OwnHeader, Verdict};
pub use identity::{ClientIdentity, Endpoint, IdentitySource, Implausible, OwnConnection, Role, Tls};
pub use nat64::{Nat64Prefix, Nat64PrefixError};
pub use network::{NetworkError, NetworkSet, TrustedNetworks};
pub use outgoing::{ClientPair, OutgoingHeader, OutgoingTlv};
pub use reader::{Fault, HeaderReader, HeaderRules, IdentifyError, IdentifyReason, Progress};
pub use seen::{Likely, Seen};
#[cfg(feature = "tokio")]
pub use shell::{
    Accept, ClientStream, Connection, Incoming, ListenerEvent, ListenerHandle, ListenerOptions, Parts,
    ProxyListener, ProxyOwnStream, ReadHalf, Refusal, Split, connect, send_header,
};
pub use trust::{Arrival, PeerAddress, TrustDecision, TrustPolicy, UnixPeers, Unlisted};

pub use ipnet::IpNet;
pub use truepeer_proto as proto;

/// The guide's code compiles.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../docs/library.md")]
mod guide {}

/// What the crate page says that the types prevent does not compile; what stands beside it does.
///
/// ```
/// use truepeer::{Client, ProxyListener, TlsListener, TrustDecision};
///
/// fn ip(client: Client) -> std::net::IpAddr { client.ip() }
/// fn tls_inside(below: ProxyListener, tls: tokio_rustls::TlsAcceptor) -> TlsListener { TlsListener::new(below, tls) }
/// fn answers(decision: TrustDecision) -> bool {
///     match decision { TrustDecision::ExpectHeader => true, TrustDecision::Direct | TrustDecision::Refuse => false }
/// }
/// ```
///
/// ```compile_fail,E0599
/// fn ip(own: truepeer::ProxyOwn) -> std::net::IpAddr { own.ip() }
/// ```
///
/// ```compile_fail,E0277
/// use truepeer::{ListenerOptions, ProxyListener, TlsListener, TrustPolicy};
///
/// fn header_inside(below: TlsListener) { ProxyListener::new(below, TrustPolicy::off(), ListenerOptions::new()); }
/// ```
#[cfg(all(doctest, feature = "tokio-rustls"))]
mod prevented {}
