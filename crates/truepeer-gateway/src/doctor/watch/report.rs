//! What an arrival means: the header, what it was instead, who it looks like, and what to change. Pure.
//!
//! What a header says, and what it means that something else came, is the doctor's; here it meets the connection.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use truepeer::Seen;
use truepeer::proto::{Addresses, Decode, Decoder, Header, Ssl, TlvType};
use truepeer_doctor::header::{self, BrokenHeader, Explained};
use truepeer_doctor::{Class, Confidence, Finding, Opening, Product, Side, change, excerpt, sort};

use super::hello::{self, Hello};
use super::{ArrivalEnd, Watched};

/// What one connection was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it began with; `None` if not a byte came.
    pub header: Option<Explained>,
    /// In how many pieces the header, or what came instead, arrived.
    pub pieces: usize,
    /// What the client's own bytes are, in words; `None` if none came.
    pub then: Option<String>,
    /// The product it looks like.
    pub product: Option<Product>,
    /// What is to be known, and no fault.
    pub notes: Vec<String>,
    /// What is wrong, best first.
    pub findings: Vec<Finding>,
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

impl Report {
    /// What `arrival` was, and what `trusted` says of its peer.
    #[must_use]
    pub fn of(arrival: &Watched, trusted: &[Trusted]) -> Self {
        let mut report = Self {
            header: (!arrival.bytes.is_empty()).then(|| header::explain(&arrival.bytes)),
            pieces: arrival.pieces.len(),
            then: None,
            product: None,
            notes: Vec::new(),
            findings: Vec::new(),
        };
        match report.header.clone() {
            None => report.nothing(arrival),
            Some(Explained::Broken(broken)) => report.instead(arrival, &broken),
            Some(Explained::Header(note)) => {
                report.notes.extend(note.notes);
                if let Ok(Decode::Complete { header, len }) = Decoder::new().decode(&arrival.bytes) {
                    report.whole(arrival, &header, len, trusted);
                }
            }
        }
        if !report.header.as_ref().is_some_and(Explained::is_header) {
            report.missing_where_expected(trusted);
        }
        sort(&mut report.findings);
        report
    }

    fn find(
        &mut self,
        (class, side, confidence): (Class, Side, Confidence),
        seen: String,
        cause: impl Into<Cow<'static, str>>,
        change: impl Into<Cow<'static, str>>,
    ) {
        let (product, cause, change) = (self.product, cause.into(), change.into());
        self.findings.push(Finding { class, side, product, seen, cause, change, confidence });
    }

    fn whole(&mut self, arrival: &Watched, header: &Header<'_>, len: usize, trusted: &[Trusted]) {
        self.product = product(header);
        self.pieces = pieces(arrival, len);
        let rest = arrival.bytes.get(len..).unwrap_or_default();
        self.then = (!rest.is_empty()).then(|| what(rest));
        self.client(arrival, header);
        if self.pieces > 1 {
            let seen = format!("a header of {len} bytes in {} pieces", self.pieces);
            let cause = "most receivers look at the first piece only: Postfix, Dovecot, nginx and HAProxy refuse the rest";
            self.find((Class::Unex, Side::Front, Confidence::Likely), seen, cause, change::WHOLE);
        }
        if Opening::of(rest) == Opening::Header {
            let cause = "a second header follows the first: two proxies add one each, or the proxy passes on what its client sent";
            let seen = beginning(rest);
            self.find((Class::Forge, Side::Front, Confidence::Certain), seen, cause, change::CHAIN);
        }
        let peer = arrival.peer.ip().to_canonical();
        for Trusted { listener, .. } in trusted.iter().filter(|trusted| !trusted.expected) {
            let cause = format!(
                "listener `{listener}` of the configuration reads no header from this address, for it is in none of its \
                 trusted networks"
            );
            let change = format!("if this is your proxy, {}", change::trust(listener, &peer));
            let seen = format!("a header from {peer}");
            self.find((Class::Hop, Side::Back, Confidence::Certain), seen, cause, change);
        }
    }

    /// Whom the header is about, beside its sender.
    fn client(&mut self, arrival: &Watched, header: &Header<'_>) {
        let Some((client, _)) = ends(header) else { return };
        let peer = SocketAddr::new(arrival.peer.ip().to_canonical(), arrival.peer.port());
        if client == peer {
            let note = "it names its own connection: a version 1 health check, or a proxy that keeps client addresses";
            self.notes.push(note.to_owned());
        }
        if let IpAddr::V4(addr) = client.ip()
            && addr.is_private()
            && addr.octets().last() == Some(&1)
            && client.ip() != peer.ip()
        {
            let cause = "the client looks like the gateway of a container network: something before the proxy hides who connects";
            let change = "let the proxy see its clients: publish its port with the host's network or without a userland proxy (Kubernetes: `externalTrafficPolicy: Local`)";
            self.find((Class::Hop, Side::Front, Confidence::Possible), client.to_string(), cause, change);
        }
    }

    /// Something else than a whole header.
    fn instead(&mut self, arrival: &Watched, broken: &BrokenHeader) {
        if !broken.is_header() {
            self.then = Some(what(&arrival.bytes));
        }
        if broken.verdict == "incomplete" {
            let cause = match arrival.end {
                ArrivalEnd::Closed | ArrivalEnd::Broken(_) => {
                    "the connection ended in the middle of a header"
                }
                _ => "a header began and was not finished in time",
            };
            let seen = beginning(&arrival.bytes);
            self.find((Class::Unex, Side::Front, Confidence::Likely), seen, cause, change::WHOLE);
        } else {
            self.product = by_words(&arrival.bytes);
            let found = broken.finding.clone();
            self.findings
                .extend(found.map(|found| Finding { product: found.product.or(self.product), ..found }));
        }
    }

    fn nothing(&mut self, arrival: &Watched) {
        match arrival.end {
            ArrivalEnd::Closed | ArrivalEnd::Broken(_) => {
                let note =
                    "it connected and closed without a byte: a check that only connects, or a port scan";
                self.notes.push(note.to_owned());
            }
            _ => {
                let cause = "a proxy that sends a header sends it at once, so none is sent: either no header is switched on, or this is a client that waits for a greeting, or the proxy itself waits for its client (nginx `ssl_preread`, a Traefik entry point with TLS routers)";
                let seen = "not one byte".to_owned();
                self.find((Class::Miss, Side::Front, Confidence::Likely), seen, cause, change::SEND);
            }
        }
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
fn pieces(arrival: &Watched, len: usize) -> usize {
    let mut sum = 0_usize;
    let before = arrival.pieces.iter().take_while(|piece| {
        let more = sum < len;
        sum = sum.saturating_add(piece.len);
        more
    });
    before.count()
}

/// As much as is shown of what came.
fn beginning(bytes: &[u8]) -> String {
    excerpt(bytes.get(..2 * Seen::MAX).unwrap_or(bytes))
}

/// What a client's own bytes are, in words.
fn what(bytes: &[u8]) -> String {
    let Some(Hello { server_name, alpn }) = hello::read(bytes) else {
        return match Opening::of(bytes) {
            Opening::Unknown => format!("\"{}\"", beginning(bytes)),
            opening => format!("{opening}: \"{}\"", beginning(bytes)),
        };
    };
    let mut text = match server_name {
        Some(name) => format!("a TLS ClientHello for \"{}\"", excerpt(&name)),
        None => "a TLS ClientHello without a name".to_owned(),
    };
    if !alpn.is_empty() {
        let names: Vec<_> = alpn.iter().take(8).map(|name| excerpt(name)).collect();
        text.push_str(&format!(", offering {}", names.join(", ")));
    }
    text
}

/// Whose header this looks like; rules from headers that were captured.
fn product(header: &Header<'_>) -> Option<Product> {
    let has = |kind| header.tlvs().find(kind).is_some();
    if has(TlvType::AWS) {
        return Some(Product::AwsNlb);
    }
    if has(TlvType::AZURE) {
        return Some(Product::AzureBalancer);
    }
    if let Some((client, destination)) = ends(header)
        && destination.ip().is_unspecified()
        && client.port() == 0
    {
        return Some(Product::Caddy);
    }
    let ssl = header.tlvs().find(TlvType::SSL).and_then(Ssl::new)?;
    // Without a certificate Hitch says that none was verified, HAProxy that nothing was wrong.
    Some(match (ssl.has_certificate(), ssl.verify) {
        (false, 1) => Product::Hitch,
        _ => Product::Haproxy,
    })
}

/// Whose words these are.
fn by_words(bytes: &[u8]) -> Option<Product> {
    let head = bytes.get(..512).unwrap_or(bytes);
    [
        (&b"ELB-HealthChecker"[..], Product::AwsNlb),
        (b"kube-probe", Product::Kubernetes),
        (b"GoogleHC", Product::GcpBalancer),
    ]
    .into_iter()
    .find(|(word, _)| head.windows(word.len()).any(|window| window == *word))
    .map(|(_, product)| product)
}
