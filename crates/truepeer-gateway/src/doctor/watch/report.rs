//! What an arrival means: the header, what it was instead, who it looks like, and what to change. Pure.

use std::net::{IpAddr, SocketAddr};

use truepeer::proto::{Addresses, Decode, DecodeErrorKind, Decoder, Header, Ssl, TlvType};
use truepeer::{Likely, Seen};

use super::hello::{self, Hello};
use super::{Arrival, ArrivalEnd};
use crate::doctor::finding::{Class, Confidence, Finding, Side};
use crate::doctor::shown::shown;

pub use super::fields::Fields;

/// What one connection was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it began with.
    pub header: Began,
    /// In how many pieces the header, or what came instead, arrived.
    pub pieces: usize,
    /// What the client's own bytes are, in words; `None` if none came.
    pub then: Option<String>,
    /// The product it looks like.
    pub product: Option<&'static str>,
    /// What is to be known, and no fault.
    pub notes: Vec<String>,
    /// What is wrong, best first.
    pub findings: Vec<Finding>,
}

/// What a connection began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Began {
    /// A whole header.
    Header(Fields),
    /// The beginning of one.
    Piece(usize),
    /// One that goes wrong: why, and at which byte.
    Broken(String, usize),
    /// No header.
    None,
}

/// What a configuration would make of the peer, at one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// The listener.
    pub listener: String,
    /// Whether a header is expected of the peer there.
    pub expected: bool,
    /// The line that says so.
    pub line: Option<usize>,
}

/// What is said of the product.
const CADDY: &str = "Caddy";
const HAPROXY: &str = "HAProxy";
const NGINX: &str = "nginx";

/// How to make a proxy send a header.
const SEND: &str = "make the proxy send a header to this port: HAProxy `send-proxy-v2` on the server line; nginx stream \
    `proxy_protocol on;`; Traefik `proxyProtocol` in the serversTransport; Caddy `proxy_protocol v2`; a cloud balancer \
    its own option";
const WHOLE: &str = "let the sender write the header in one call, before any data; truepeer in between takes any pieces \
    and sends one";

impl Report {
    /// What `arrival` was, and what `trusted` says of its peer.
    #[must_use]
    pub fn of(arrival: &Arrival, trusted: &[Trusted]) -> Self {
        let mut report = Self {
            header: Began::None,
            pieces: arrival.pieces.len(),
            then: None,
            product: None,
            notes: Vec::new(),
            findings: Vec::new(),
        };
        match Decoder::new().decode(&arrival.bytes) {
            Ok(Decode::Complete { header, len }) => report.whole(arrival, &header, len, trusted),
            Ok(Decode::Incomplete { .. }) if !arrival.bytes.is_empty() => report.piece(arrival),
            Ok(_) => report.nothing(arrival),
            Err(error) if error.kind() == DecodeErrorKind::BadSignature => report.instead(arrival),
            Err(error) => {
                report.header = Began::Broken(error.to_string(), error.at());
                report.broken(arrival, &error.to_string());
            }
        }
        if !matches!(report.header, Began::Header(_)) {
            report.missing_where_expected(trusted);
        }
        report.findings.sort_by_key(|finding| finding.confidence);
        report
    }

    fn find(
        &mut self,
        class: Class,
        side: Side,
        confidence: Confidence,
        seen: String,
        cause: impl Into<std::borrow::Cow<'static, str>>,
        change: impl Into<std::borrow::Cow<'static, str>>,
    ) {
        let product = self.product;
        self.findings.push(Finding {
            class,
            side,
            product,
            seen,
            cause: cause.into(),
            change: change.into(),
            confidence,
        });
    }

    fn whole(&mut self, arrival: &Arrival, header: &Header<'_>, len: usize, trusted: &[Trusted]) {
        let fields = Fields::of(header, len);
        self.product = product(header);
        self.pieces = pieces(arrival, len);
        let rest = arrival.bytes.get(len..).unwrap_or_default();
        self.own(arrival, header, rest);
        self.then = (!rest.is_empty()).then(|| what(rest));
        if self.pieces > 1 {
            let seen = format!("a header of {len} bytes in {} pieces", self.pieces);
            let cause = "most receivers look at the first piece only: Postfix, Dovecot, nginx and HAProxy refuse the rest";
            self.find(Class::Unex, Side::Front, Confidence::Likely, seen, cause, WHOLE);
        }
        for (longest, who) in
            [(232, "Exim"), (404, "Varnish"), (536, "Postfix"), (1024, "nginx and Envoy"), (1500, "Dovecot")]
        {
            if len > longest {
                self.notes.push(format!(
                    "{len} bytes are more than {who} take{} ({longest})",
                    if who.contains(" and ") { "" } else { "s" }
                ));
            }
        }
        if let Ok(Decode::Complete { .. }) = Decoder::new().decode(rest) {
            let cause = "a second header follows the first: two proxies add one each, or the proxy passes on what its client sent";
            let change = "let every proxy but the first read the header before it (HAProxy: `accept-proxy`; nginx: `listen ... proxy_protocol`), or let only the last one send one";
            self.find(Class::Forge, Side::Front, Confidence::Certain, shown(rest, Seen::MAX), cause, change);
        }
        for Trusted { listener, .. } in trusted.iter().filter(|trusted| !trusted.expected) {
            let seen = format!("a header from {}", arrival.peer.ip().to_canonical());
            let cause = format!(
                "listener `{listener}` of the configuration reads no header from this address, for it is in none of its trusted networks"
            );
            let change = format!(
                "if this is your proxy: `proxy.trusted-networks = [\"{}\"]` at `[server.listener.{listener}]`",
                arrival.peer.ip().to_canonical()
            );
            self.find(Class::Hop, Side::Back, Confidence::Certain, seen, cause, change);
        }
        self.header = Began::Header(fields);
    }

    /// Who the header is about, and who not.
    fn own(&mut self, arrival: &Arrival, header: &Header<'_>, rest: &[u8]) {
        let Some((client, destination)) = ends(header) else {
            let more = if rest.is_empty() { "" } else { ", and then spoke" };
            self.notes.push(format!(
                "it names no client: the proxy's own connection, such as a health check{more}"
            ));
            return;
        };
        if client == SocketAddr::new(arrival.peer.ip().to_canonical(), arrival.peer.port()) {
            self.notes.push("it names the connection that it came over: a version 1 health check, or a proxy that hides nobody".to_owned());
        }
        if let Addresses::Inet6 { source, destination } = header.addresses()
            && (source.ip().to_ipv4_mapped().is_some() || destination.ip().to_ipv4_mapped().is_some())
        {
            self.notes.push("an IPv4 address is written as IPv6, as proxies do behind a listener of both families; truepeer folds it, Apache and older libraries refuse it".to_owned());
        }
        if destination.ip().is_unspecified() || destination.port() == 0 {
            self.notes.push("the destination is not told; Dovecot and Exim refuse a port 0".to_owned());
        }
        if let IpAddr::V4(addr) = client.ip().to_canonical()
            && addr.is_private()
            && addr.octets().last() == Some(&1)
            && addr != arrival.peer.ip().to_canonical()
        {
            let cause = "the client looks like the gateway of a container network: something before the proxy hides who connects";
            let change = "let the proxy see its clients: publish its port with the host's network or without a userland proxy (Kubernetes: `externalTrafficPolicy: Local`)";
            self.find(Class::Hop, Side::Front, Confidence::Possible, client.to_string(), cause, change);
        }
    }

    fn piece(&mut self, arrival: &Arrival) {
        let len = arrival.bytes.len();
        self.header = Began::Piece(len);
        let cause = match arrival.end {
            ArrivalEnd::Closed | ArrivalEnd::Broken(_) => "the connection ended in the middle of a header",
            _ => "a header began and was not finished in time",
        };
        let seen = shown(&arrival.bytes, 2 * Seen::MAX);
        self.find(Class::Unex, Side::Front, Confidence::Likely, seen, cause, WHOLE);
    }

    fn nothing(&mut self, arrival: &Arrival) {
        match arrival.end {
            ArrivalEnd::Closed | ArrivalEnd::Broken(_) => {
                self.notes.push("it connected and closed without a byte: a check that only connects, or somebody who looks for open ports".to_owned());
            }
            _ => {
                let cause = "a proxy that sends a header sends it at once, so none is sent: either no header is switched on, or this is a client that waits for a greeting, or the proxy itself waits for its client (nginx `ssl_preread`, a Traefik entry point with TLS routers)";
                self.find(
                    Class::Miss,
                    Side::Front,
                    Confidence::Likely,
                    "not one byte".to_owned(),
                    cause,
                    SEND,
                );
            }
        }
    }

    fn instead(&mut self, arrival: &Arrival) {
        self.then = Some(what(&arrival.bytes));
        self.product = self.product.or_else(|| by_words(&arrival.bytes));
        let likely = Seen::new(&arrival.bytes).likely();
        let (class, confidence, cause) = match likely {
            Likely::BrokenHeader => (
                Class::Syn,
                Confidence::Certain,
                "it begins like a header and is none: PROXY is written in capitals, with single spaces"
                    .to_owned(),
            ),
            Likely::Unknown => (Class::Miss, Confidence::Likely, "these bytes are no header".to_owned()),
            likely => (Class::Miss, Confidence::Certain, format!("{likely} came without a header before it")),
        };
        self.find(class, Side::Front, confidence, shown(&arrival.bytes, 2 * Seen::MAX), cause, SEND);
    }

    fn broken(&mut self, arrival: &Arrival, error: &str) {
        let line = arrival.bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let v6 = |word: &[u8]| word.contains(&b':');
        let seen = shown(&arrival.bytes, 2 * Seen::MAX);
        if let [b"PROXY", _, source, destination, ..] = words.as_slice()
            && v6(source) != v6(destination)
        {
            self.product = Some(NGINX);
            let cause = "the line has one IPv4 and one IPv6 address, which no family holds; nginx stream writes that after `set_real_ip_from`";
            let change = "give the proxy a listener of each family: `listen 25;` and `listen [::]:25 ipv6only=on;`; truepeer takes it with `proxy.mixed-families = \"accept\"`";
            return self.find(Class::Fam, Side::Front, Confidence::Certain, seen, cause, change);
        }
        let change = "update the sender, or let it send the other version";
        self.find(Class::Syn, Side::Front, Confidence::Certain, seen, error.to_owned(), change);
    }

    fn missing_where_expected(&mut self, trusted: &[Trusted]) {
        for Trusted { listener, line, .. } in trusted.iter().filter(|trusted| trusted.expected) {
            let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
            self.notes.push(format!(
                "listener `{listener}` expects a header of this peer{line}, and would refuse this"
            ));
        }
    }
}

/// Client and destination, folded.
fn ends(header: &Header<'_>) -> Option<(SocketAddr, SocketAddr)> {
    let (source, destination): (SocketAddr, SocketAddr) = match header.addresses() {
        Addresses::Inet { source, destination } => (source.into(), destination.into()),
        Addresses::Inet6 { source, destination } => (source.into(), destination.into()),
        Addresses::Unspecified | Addresses::Unix { .. } => return None,
    };
    let fold = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
    Some((fold(source), fold(destination)))
}

/// How many reads it took until `len` bytes were there.
fn pieces(arrival: &Arrival, len: usize) -> usize {
    let mut sum = 0_usize;
    let before = arrival.pieces.iter().take_while(|piece| {
        let more = sum < len;
        sum = sum.saturating_add(piece.len);
        more
    });
    before.count()
}

/// What a client's own bytes are, in words.
fn what(bytes: &[u8]) -> String {
    let likely = Seen::new(bytes).likely();
    if let Some(Hello { server_name, alpn }) = hello::read(bytes) {
        let mut text = "a TLS ClientHello".to_owned();
        if let Some(name) = server_name {
            text.push_str(&format!(" for \"{}\"", shown(&name, 100)));
        } else {
            text.push_str(" without a name");
        }
        if !alpn.is_empty() {
            let names: Vec<_> = alpn.iter().take(8).map(|name| shown(name, 30)).collect();
            text.push_str(&format!(", offering {}", names.join(", ")));
        }
        return text;
    }
    let shown = shown(bytes, 2 * Seen::MAX);
    match likely {
        Likely::Unknown => format!("\"{shown}\""),
        likely => format!("{likely}: \"{shown}\""),
    }
}

/// Whose header this looks like; rules from headers that were captured.
fn product(header: &Header<'_>) -> Option<&'static str> {
    let has = |kind| header.tlvs().find(kind).is_some();
    if has(TlvType::AWS) {
        return Some("AWS Network Load Balancer");
    }
    if has(TlvType::AZURE) {
        return Some("Azure Private Link");
    }
    if has(TlvType::ALIBABA) {
        return Some("Alibaba Cloud load balancer");
    }
    if let Some((client, destination)) = ends(header)
        && destination.ip().is_unspecified()
        && client.port() == 0
    {
        return Some(CADDY);
    }
    header.tlvs().find(TlvType::SSL).and_then(Ssl::new).map(|ssl| match (ssl.has_certificate(), ssl.verify) {
        // Without a certificate Hitch says that none was verified, HAProxy that nothing was wrong.
        (false, 1) => "Hitch",
        _ => HAPROXY,
    })
}

/// Whose words these are.
fn by_words(bytes: &[u8]) -> Option<&'static str> {
    let head = bytes.get(..512).unwrap_or(bytes);
    [
        (&b"ELB-HealthChecker"[..], "AWS load balancer"),
        (b"kube-probe", "Kubernetes"),
        (b"GoogleHC", "Google Cloud load balancer"),
    ]
    .into_iter()
    .find(|(word, _)| head.windows(word.len()).any(|window| window == *word))
    .map(|(_, product)| product)
}
