//! What `{:?}` shows of every public type: never a client's bytes, and of what a header says besides its addresses
//! lengths only. A log line with `{stream:?}` in it must not become a list of passwords.
#![cfg(feature = "tokio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{FakeListener, LOCAL, PROXY, STRANGER, bytes, listener};
use truepeer::proto::{self, Addresses, ClientFlags, Decode, Encoder, SslFacts, Tlv, TlvType, Tlvs};
use truepeer::{
    Caller, ClientIdentity, ClientPair, Connection, FirstBytes, HeaderReader, HeaderRules, Incoming,
    ListenerEvent, ListenerOptions, NetworkSet, OutgoingHeader, OwnHeader, PeerAddress, Progress,
    ProxyListener, Refusal, Seen, TrustPolicy, TrustedNetworks,
};
use truepeer_testkit::scripted::ScriptedStream;

/// What the client says first, in one segment with the header.
const PAYLOAD: &[u8] = b"a LOGIN user secret";
/// What stands in the header's items.
const ITEM: &[u8] = b"hidden.example";

/// What those say whose `{:?}` is written by hand, and what is inside of them: not a client's bytes, but not nothing.
const SAID: [(&str, &str); 9] = [
    ("OutgoingHeader", "OutgoingHeader("),
    ("OutgoingTlv", "14 bytes"),
    ("Seen", "\"...."),
    ("ListenerOptions", "header_timeout: 5s"),
    ("Parts", "unread: 19 bytes"),
    ("ClientStream", "unread: 19 bytes"),
    ("Incoming", "received: 0 bytes"),
    ("Incoming", "Undecided { io: "),
    ("TlsListener", "TlsAcceptor"),
];

/// The texts that were shown, by type.
#[derive(Default)]
struct Shown(Vec<(&'static str, String)>);

impl Shown {
    fn add(&mut self, name: &'static str, value: &dyn Debug) {
        self.0.push((name, format!("{value:?} {value:#?}")));
    }
}

/// Every way in which `{:?}` could have written `bytes`: as text, as numbers, as hexadecimal ones.
fn spellings(bytes: &[u8]) -> [String; 3] {
    let word = &bytes[bytes.len() - 6..];
    [
        String::from_utf8(word.to_vec()).unwrap(),
        word.iter().map(u8::to_string).collect::<Vec<_>>().join(","),
        word.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(""),
    ]
}

/// A v2 header whose every item holds [`ITEM`].
fn header() -> Vec<u8> {
    let subs = [TlvType::SSL_VERSION, TlvType::SSL_CN, TlvType::SSL_CIPHER, TlvType::SSL_CLIENT_CERT]
        .map(|kind| Tlv { kind, value: ITEM });
    let vendor = [&[1][..], ITEM].concat();
    let tlvs = [TlvType::ALPN, TlvType::AUTHORITY, TlvType::UNIQUE_ID, TlvType::NETNS, TlvType(0xF0)]
        .map(|kind| Tlv { kind, value: ITEM });
    let tlvs = [&tlvs[..], &[Tlv { kind: TlvType::AWS, value: &vendor }]].concat();
    let facts = SslFacts::new(ClientFlags(7), 0, &subs);
    let encoder = Encoder::v2(addresses()).tlvs(&tlvs).ssl(facts);
    OutgoingHeader::encode(&encoder).unwrap().into_bytes()
}

fn addresses() -> Addresses<'static> {
    Addresses::Inet {
        source: "203.0.113.5:40000".parse().unwrap(),
        destination: "198.51.100.2:25".parse().unwrap(),
    }
}

fn peer() -> PeerAddress {
    PeerAddress::tcp(PROXY.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn no_public_type_shows_what_a_client_sent() {
    let mut shown = Shown::default();
    of_streams(&mut shown).await;
    of_identities(&mut shown);
    of_refusals(&mut shown);
    of_settings(&mut shown);
    of_the_codec(&mut shown);
    #[cfg(feature = "axum")]
    {
        shown.add("WithProxyOwn", &waiting().await.with_proxy_own());
        let listener = waiting().await.with_socket_addr();
        shown.add("WithSocketAddr", &listener);
        shown.add("Untouched", &listener);
        shown.add("ClientRejection", &truepeer::ClientRejection::NotTold);
    }
    #[cfg(feature = "actix")]
    {
        use actix_service::ServiceFactory;
        let identify = truepeer::IdentifyForActix::new(common::trusted(), ListenerOptions::new());
        shown.add("IdentifyOne", &identify.new_service(()).await.unwrap());
        shown.add("IdentifyForActix", &identify);
    }
    #[cfg(feature = "stream")]
    shown.add("ClientsStream", &waiting().await.into_stream());
    #[cfg(feature = "stream")]
    shown.add("CallersStream", &waiting().await.into_stream_any());
    #[cfg(feature = "hyper-util")]
    {
        let tlvs = [Tlv { kind: TlvType::ALPN, value: ITEM }];
        let header = OutgoingHeader::encode(&encoder(&tlvs)).unwrap();
        shown.add("HeaderConnector", &truepeer::HeaderConnector::new(header));
    }
    #[cfg(feature = "tower")]
    of_the_layer(&mut shown);
    #[cfg(feature = "tokio-rustls")]
    of_tls(&mut shown).await;

    for (name, text) in &shown.0 {
        let packed: String = text.split_whitespace().collect::<String>().replace("0x", "");
        for secret in [PAYLOAD, ITEM].map(spellings).into_iter().flatten() {
            assert!(!packed.contains(&secret), "{name} shows {secret}: {text}");
        }
    }
    for (name, says) in SAID {
        let said = shown.0.iter().any(|(of, text)| *of == name && text.contains(says));
        assert!(said || !cfg!(feature = "tokio-rustls"), "no {name} says {says}");
    }
    // With every feature there is every type.
    #[cfg(all(
        feature = "actix",
        feature = "axum",
        feature = "tonic",
        feature = "tower",
        feature = "tokio-rustls",
        feature = "hyper-util"
    ))]
    {
        let names: BTreeSet<&str> = shown.0.iter().map(|(name, _)| *name).collect();
        let public = public_types("../truepeer/src/lib.rs");
        let public: BTreeSet<String> =
            public.union(&public_types("../truepeer-proto/src/lib.rs")).cloned().collect();
        let missing: Vec<_> = public.iter().filter(|name| !names.contains(name.as_str())).collect();
        assert!(missing.is_empty(), "not shown here: {missing:?}");
        assert!(public.len() > 50, "{public:?}");
    }
}

/// The names of types that `pub use` lines of a crate's root bring out.
fn public_types(root: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(root)).unwrap();
    let uses = text.split("\npub use ").skip(1).map(|rest| rest.split(';').next().unwrap());
    let words = uses.flat_map(|line| line.split(|c: char| !c.is_alphanumeric()));
    // No value of a trait can be shown; macros and functions begin with small letters.
    words
        .filter(|word| {
            word.starts_with(char::is_uppercase) && !["Accept", "Split", "BlockingSocket"].contains(word)
        })
        .map(str::to_owned)
        .collect()
}

/// A listener with a header that is unfinished, and one that was read and not fetched.
async fn waiting() -> ProxyListener<FakeListener> {
    let (mut listener, door, _) = listener(ListenerOptions::new());
    let header = header();
    door.connect(PROXY, [bytes(&[&header[..header.len() - 1]])]);
    let late = door.connect(PROXY, [bytes(&[&header[..20]])]);
    assert!(common::drop_after(2, listener.accept()).await.is_none());
    late.push(bytes(&[&header[20..], PAYLOAD]));
    common::settle().await;
    listener
}

async fn identified(header: &[u8]) -> Connection<ScriptedStream> {
    // The script is the socket's own, not what was read from it: whatever is left there is not ours to show.
    let (stream, _handle) = ScriptedStream::new([bytes(&[header, PAYLOAD])]);
    let policy = TrustPolicy::from(common::trusted());
    Incoming::new(stream, peer(), None, &policy, &ListenerOptions::new()).unwrap().identify().await.unwrap()
}

async fn of_streams(shown: &mut Shown) {
    let connection = identified(&header()).await;
    shown.add("Connection", &connection);
    let Connection::Client(stream) = connection else { panic!("a client") };
    assert_eq!(stream.unread(), PAYLOAD);
    shown.add("ClientStream", &stream);
    shown.add("Client", stream.client());
    shown.add("Caller", &Caller::Client(stream.client().clone()));
    let parts = stream.into_parts();
    shown.add("Parts", &parts);
    let half = Half(tokio::io::empty(), tokio::io::empty());
    let stream = truepeer::ClientStream::from_parts(parts.with_io(half));
    let (read, _write) = stream.into_split();
    assert_eq!(read.unread(), PAYLOAD);
    shown.add("ReadHalf", &read);
    let own = identified(LOCAL).await;
    shown.add("Connection", &own);
    shown.add("Caller", &own.caller());
    let Connection::ProxyOwn(own) = own else { panic!("nobody's") };
    shown.add("ProxyOwn", &own.own());
    shown.add("ProxyOwnStream", &own);
    let listener = waiting().await;
    shown.add("ProxyListener", &listener);
    shown.add("ListenerHandle", &listener.handle());

    let policy = TrustPolicy::from(common::trusted());
    for peer in [PROXY, STRANGER] {
        let (stream, _handle) = ScriptedStream::silent();
        let peer = PeerAddress::tcp(peer.parse().unwrap());
        let incoming = Incoming::new(stream, peer, None, &policy, &ListenerOptions::new()).unwrap();
        shown.add("Incoming", &incoming);
    }
    let (stream, _handle) = ScriptedStream::silent();
    let later = ListenerOptions::new().decide_later(|_, policy| async move { policy });
    shown.add("Incoming", &Incoming::new(stream, peer(), None, &policy, &later).unwrap());
}

/// A socket that comes apart.
struct Half(tokio::io::Empty, tokio::io::Empty);

impl truepeer::Split for Half {
    type Read = tokio::io::Empty;
    type Write = tokio::io::Empty;

    fn split(self) -> (Self::Read, Self::Write) {
        (self.0, self.1)
    }
}

fn of_identities(shown: &mut Shown) {
    let whole = header();
    let reader = HeaderReader::new(HeaderRules::default(), peer(), Instant::now());
    shown.add("HeaderReader", &reader);
    shown.add("HeaderRules", &HeaderRules::default());
    let progress = reader.advance(&whole).unwrap();
    shown.add("Progress", &progress);
    let Progress::Done { identity, .. } = progress else { panic!("whole") };
    assert_eq!(identity.authority().unwrap().as_bytes(), ITEM);
    let text = format!("{identity:?}");
    assert!(text.contains("203.0.113.5") && text.contains("AUTHORITY: 14 bytes"), "{text}");
    shown.add("ClientIdentity", &identity);
    shown.add("ClientIdentity", &ClientIdentity::direct(peer(), None));
    shown.add("Tls", &identity.tls().unwrap());
    shown.add("Role", &identity.role());
    shown.add("Endpoint", &identity.client());
    shown.add("IdentitySource", &identity.source());
    shown.add(
        "OutgoingHeader",
        &OutgoingHeader::encode(&encoder(&[Tlv { kind: TlvType::ALPN, value: ITEM }])),
    );
    shown.add("PeerAddress", &peer());
    shown.add("Arrival", &truepeer::Arrival::new(peer(), None));
    shown.add("OwnConnection", &truepeer::OwnConnection::Local);
}

fn encoder<'a>(tlvs: &'a [Tlv<'a>]) -> Encoder<'a> {
    Encoder::v2(addresses()).tlvs(tlvs)
}

/// Where no identity was reached at most 32 bytes are shown, because nobody could say what is wrong without them.
fn of_refusals(shown: &mut Shown) {
    let received = [&[b'.'; Seen::MAX][..], PAYLOAD].concat();
    let reader = HeaderReader::new(HeaderRules::default(), peer(), Instant::now());
    let error = reader.advance(&received).unwrap_err();
    shown.add("Seen", error.seen());
    shown.add("Likely", &error.seen().likely());
    shown.add("IdentifyReason", error.reason());
    shown.add("IdentifyError", &error);
    shown.add("Fault", &error.fault());
    shown.add("Refusal", &Refusal::Header(error));
    shown.add("DatagramError", &truepeer::DatagramError::from(error));
    shown.add("ReadHeaderError", &truepeer::ReadHeaderError::from(error));
    shown.add("ListenerEvent", &ListenerEvent::Refused(Refusal::Header(error)));
    let loopback = b"PROXY TCP4 127.0.0.1 198.51.100.2 40000 25\r\n";
    let implausible = reader.advance(loopback).unwrap_err();
    let truepeer::IdentifyReason::Implausible(implausible) = implausible.reason() else { panic!("loopback") };
    shown.add("Implausible", implausible);
}

fn of_settings(shown: &mut Shown) {
    let pair =
        ClientPair { client: STRANGER.parse().unwrap(), destination: "198.51.100.2:25".parse().unwrap() };
    shown.add("ClientPair", &pair);
    shown.add("OutgoingTlv", &truepeer::OutgoingTlv::new(TlvType::ALPN, ITEM));
    shown.add("ListenerOptions", &ListenerOptions::new());
    shown.add("TrustedNetworks", &common::trusted());
    shown.add("NetworkSet", &NetworkSet::default());
    shown.add("NetworkError", &TrustedNetworks::parse(["x"]).unwrap_err());
    shown.add("IpNet", &"192.0.2.0/24".parse::<truepeer::IpNet>().unwrap());
    shown.add("TrustPolicy", &TrustPolicy::from(common::trusted()));
    shown.add("TrustDecision", &TrustPolicy::off().decide(peer()));
    shown.add("UnixPeers", &truepeer::UnixPeers::Trusted);
    shown.add("Unlisted", &truepeer::Unlisted::Direct);
    shown.add("Nat64Prefix", &"64:ff9b::/96".parse::<truepeer::Nat64Prefix>().unwrap());
    shown.add("Nat64PrefixError", &"64:ff9b::/97".parse::<truepeer::Nat64Prefix>().unwrap_err());
    let mut guard = FirstBytes::new(OwnHeader::Precedes, Instant::now() + Duration::from_secs(1));
    shown.add("Verdict", &guard.inspect(PAYLOAD, Instant::now()));
    shown.add("Held", &guard.expire());
    shown.add("FirstBytes", &guard);
    shown.add("OwnHeader", &OwnHeader::Absent);
}

fn of_the_codec(shown: &mut Shown) {
    let whole = [&header()[..], PAYLOAD].concat();
    let decoded = proto::decode(&whole).unwrap();
    shown.add("Decode", &decoded);
    let Decode::Complete { header, .. } = decoded else { panic!("whole") };
    shown.add("Header", &header);
    shown.add("Version", &header.version());
    shown.add("Command", &header.command());
    shown.add("Transport", &header.transport());
    shown.add("Addresses", &header.addresses());
    shown.add("Tlvs", &header.tlvs());
    for tlv in header.tlvs() {
        shown.add("Tlv", &tlv);
        shown.add("TlvType", &tlv.kind);
        shown.add("TlvValue", &tlv.to_value());
    }
    let ssl = header.ssl().unwrap();
    shown.add("Ssl", &ssl);
    shown.add("ClientFlags", &ssl.client);
    let subs: Vec<_> = ssl.sub_tlvs().collect();
    let facts = SslFacts::new(ssl.client, ssl.verify, &subs);
    shown.add("SslFacts", &facts);
    let tlvs: Vec<_> = Tlvs::new(header.tlv_bytes()).collect();
    shown.add("Encoder", &Encoder::v2(addresses()).tlvs(&tlvs).ssl(facts));
    // A path is an address.
    let path = std::array::from_fn(|at| b"/run/proxy\0".get(at).copied().unwrap_or(0));
    shown.add("UnixAddress", &proto::UnixAddress::new(&path));
    let error = proto::decode(PAYLOAD).unwrap_err();
    shown.add("DecodeError", &error);
    shown.add("DecodeErrorKind", &error.kind());
    shown.add("EncodeError", &proto::EncodeError::NotInV1);
    shown.add("Decoder", &proto::Decoder::new());
    shown.add("Checksum", &proto::Checksum::Verify);
    shown.add("MixedFamilies", &proto::MixedFamilies::Refuse);
    shown.add("Versions", &proto::Versions::Both);
}

#[cfg(feature = "tower")]
fn of_the_layer(shown: &mut Shown) {
    use tower_layer::Layer;

    let reader = HeaderReader::new(HeaderRules::default(), peer(), Instant::now());
    let Ok(Progress::Done { identity, .. }) = reader.advance(&header()) else { panic!("whole") };
    let Caller::Client(client) = Caller::from(identity) else { panic!("a client") };
    let layer = truepeer::ClientLayer::for_client(client);
    shown.add("ClientService", &layer.layer(()));
    shown.add("ClientLayer", &layer);
}

#[cfg(feature = "tokio-rustls")]
async fn of_tls(shown: &mut Shown) {
    use std::sync::Arc;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::{ServerConfig, server::ResolvesServerCertUsingSni};

    let resolver = Arc::new(ResolvesServerCertUsingSni::new());
    let config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver);
    let mut listener = truepeer::TlsListener::new(waiting().await, TlsAcceptor::from(Arc::new(config)));
    let _ = common::drop_after(2, listener.accept()).await;
    shown.add("TlsListener", &listener);
    drop(listener);
    of_tls_connections(shown).await;
}

/// Hands are shaken over a real connection: a script has no answers.
#[cfg(feature = "tokio-rustls")]
async fn of_tls_connections(shown: &mut Shown) {
    use std::sync::Arc;
    use tokio::io::AsyncWriteExt;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::PrivatePkcs8KeyDer};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    tokio::time::resume();
    let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let connector = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(connector));
    let (listener, addr) = common::net::bind().await;
    let mut listener = truepeer::TlsListener::new(listener, TlsAcceptor::from(Arc::new(config)));
    let client = async {
        let stream = common::net::dial(addr, &header()).await;
        let mut stream = connector.connect("mx.example.org".try_into().unwrap(), stream).await.unwrap();
        stream.write_all(PAYLOAD).await.unwrap();
        stream
    };
    let (_client, connection) = tokio::join!(client, listener.accept_any());
    shown.add("TlsConnection", &connection);
    #[cfg(feature = "tonic")]
    {
        use tonic::transport::server::Connected;
        shown.add("TlsCaller", &connection.connect_info());
    }
}
