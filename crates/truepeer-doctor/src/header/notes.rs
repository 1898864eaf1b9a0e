//! What is remarkable about a header, a sentence each.

use std::net::{IpAddr, SocketAddr};

use truepeer_proto::{Addresses, Command, Header, TlvType, Transport, Version};

use crate::change::{CHAIN, FAMILIES};
use crate::{Class, Confidence, Finding, Opening, Side, excerpt};

/// The remarks on `header`, and on what is `behind` it.
pub(super) fn of(header: &Header<'_>, behind: &[u8]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |holds: bool, text: &str| {
        if holds {
            notes.push(text.to_owned());
        }
    };
    let local = header.command() == Command::Local;
    note(
        local,
        "LOCAL: the proxy speaks for itself (a health check, mostly), and the connection's own addresses count; a backend that gets it sees the proxy",
    );
    note(
        local && header.as_bytes().len() > 16 && header.tlv_bytes().is_empty(),
        "LOCAL with a block behind it: to be skipped, but HAProxy 3.0 and later refuse it",
    );
    let addresses = header.addresses();
    note(
        !local && addresses == Addresses::Unspecified && header.version() == Version::V1,
        "UNKNOWN: no client is named; HAProxy and nginx write it for clients of a UNIX socket, and Postfix and Varnish refuse it",
    );
    note(
        !local && addresses == Addresses::Unspecified && header.version() == Version::V2,
        "PROXY without addresses: most receivers refuse it; a sender should write LOCAL",
    );
    note(
        matches!(addresses, Addresses::Unix { .. }),
        "the client came over a UNIX socket: a path is no address, and some receivers (Caddy, OpenSMTPD) take it for one",
    );
    note(
        !local && header.transport() == Transport::Datagram,
        "a datagram family: it does not belong on a TCP connection",
    );
    if let (Some(source), Some(destination)) = (addresses.source(), addresses.destination()) {
        ends(source, destination, &mut note);
    }
    tlvs(header, &mut note);
    let second = matches!(Opening::of(behind), Opening::Header | Opening::BrokenHeader);
    note(
        second,
        "behind the header a second one begins: two proxies in a row add one each, or a client tries to forge its address; it is data to anyone who reads the first",
    );
    notes
}

/// A second header begins behind the first.
fn is_second(behind: &[u8]) -> bool {
    matches!(Opening::of(behind), Opening::Header | Opening::BrokenHeader)
}

fn is_mapped(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// What will go wrong with `header` at some receivers.
pub(super) fn findings(header: &Header<'_>, behind: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |class, side, confidence, cause: &'static str, change: &'static str| {
        findings.push(Finding {
            class,
            side,
            product: None,
            seen: excerpt(header.as_bytes()),
            cause: cause.into(),
            change: change.into(),
            confidence,
        });
    };
    if is_second(behind) {
        add(
            Class::Forge,
            Side::Both,
            Confidence::Likely,
            "a second header stands behind the first: anyone who reads one takes the other for the client's bytes",
            CHAIN,
        );
    }
    if let (Some(source), Some(destination)) = (header.addresses().source(), header.addresses().destination())
    {
        if is_mapped(source.ip()) {
            add(
                Class::Fam,
                Side::Front,
                Confidence::Possible,
                "an IPv4 client comes mapped into IPv6, as a dual-stack listener makes it: many servers then match no IPv4 list, and Apache mod_remoteip drops it",
                FAMILIES,
            );
        }
        if source.port() == 0 || destination.port() == 0 {
            add(
                Class::Port,
                Side::Front,
                Confidence::Possible,
                "a port is 0, as Caddy sends it: Dovecot and Exim refuse that in version 1",
                "let Caddy send `proxy_protocol v2`, or put truepeer in between",
            );
        }
    }
    findings
}

fn ends(source: SocketAddr, destination: SocketAddr, note: &mut impl FnMut(bool, &str)) {
    let unspecified = destination.ip().is_unspecified();
    note(
        source.port() == 0 || destination.port() == 0 || unspecified,
        "a port is 0 or the destination is no address, as Caddy sends it: not told, not a value; Dovecot and Exim refuse port 0 in version 1",
    );
    let (from, to) = (is_mapped(source.ip()), is_mapped(destination.ip()));
    note(
        from && to,
        "the addresses are IPv4, mapped into IPv6, as a dual-stack listener makes them: Dovecot, Exim, OpenSMTPD, nginx and MariaDB keep them so, and IPv4 lists do not match",
    );
    note(from != to && source.is_ipv6(), "one address is IPv4, mapped into IPv6, the other is IPv6");
    let client = source.ip().to_canonical();
    note(
        client.is_loopback(),
        "the client is a loopback address: true only if proxy and server share a machine; truepeer refuses it from elsewhere",
    );
    note(client.is_unspecified() || client.is_multicast(), "the client's address is no host's");
    let private = match client {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    };
    note(
        private,
        "the client is a private address: a client of your own network, or a proxy or container gateway in front of this one",
    );
}

fn tlvs(header: &Header<'_>, note: &mut impl FnMut(bool, &str)) {
    if let Some(ssl) = header.ssl() {
        note(
            !ssl.is_tls(),
            "the SSL TLV says that the client used no TLS: its presence alone proves nothing",
        );
        note(
            ssl.is_tls() && !ssl.has_certificate() && ssl.verify == 0,
            "verify is 0 without a certificate, as HAProxy sends it: that is no verified client",
        );
    } else if header.version() == Version::V2 && header.command() == Command::Proxy {
        note(
            true,
            "no SSL TLV: a server that asks for TLS (Dovecot, Stalwart) takes the client for one without, even if the proxy ended TLS (HAProxy: `send-proxy-v2-ssl`)",
        );
    }
    note(
        header.version() == Version::V1 && header.addresses() != Addresses::Unspecified,
        "version 1 says nothing of TLS",
    );
    note(
        header.tlvs().find(TlvType::ALPN).is_some(),
        "an ALPN TLV: Dovecot 2.4.0 and 2.4.1 end the session, later ones if it does not name their protocol",
    );
}
