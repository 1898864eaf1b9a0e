//! The environment of a program that is given the connection: the client as tcpserver, s6 and systemd tell it, and what
//! a proxy adds.
//!
//! `TCPREMOTEIP` and its like are those of ucspi-tcp, s6-networking and whatever was written for them; `REMOTE_ADDR` and
//! `REMOTE_PORT` those of systemd's `Accept=yes` and of CGI. What is not known is not there; nothing is ever empty or
//! made up. Pure.

use std::net::SocketAddr;

use truepeer::{ClientIdentity, IdentitySource, PeerAddress, Tls};

use super::{Substituted, Untellable, about};
use crate::facts::program::Environment;

/// Longer values are left out: no name and no cipher needs so much.
const VALUE_MAX: usize = 255;

/// What the program is told of the client of `identity`, and what of it the proxy did not say.
///
/// # Errors
/// [`Untellable`].
pub(super) fn of(
    identity: &ClientIdentity,
    reached: Option<SocketAddr>,
    id: &str,
) -> Result<(Environment, Substituted), Untellable> {
    let client = super::client(identity)?;
    let mut substituted = Substituted::default();
    let destination = super::destination(identity, client.ip, reached, &mut substituted);
    let mut told: Environment = vec![("PROTO", "TCP".to_owned())];
    for name in ["TCPREMOTEIP", "REMOTE_ADDR", "REMOTE_HOST"] {
        told.push((name, client.ip.to_string()));
    }
    if let Some(port) = client.port {
        for name in ["TCPREMOTEPORT", "REMOTE_PORT"] {
            told.push((name, port.to_string()));
        }
    }
    if !destination.ip().is_unspecified() {
        told.push(("TCPLOCALIP", destination.ip().to_string()));
    }
    if destination.port() != 0 {
        told.push(("TCPLOCALPORT", destination.port().to_string()));
    }
    if let (IdentitySource::Header(_), PeerAddress::Tcp(proxy)) = (identity.source(), identity.peer()) {
        told.push(("PROXY_ADDR", proxy.ip().to_canonical().to_string()));
        told.push(("PROXY_PORT", proxy.port().to_string()));
    }
    let tls = identity.tls();
    let facts = [
        ("PROXY_TLS", tls.as_ref().map(|tls| tls.version().unwrap_or(b"unknown"))),
        ("PROXY_TLS_CIPHER", tls.as_ref().and_then(Tls::cipher)),
        ("PROXY_TLS_CLIENT", tls.as_ref().and_then(Tls::verified_common_name)),
        ("PROXY_AUTHORITY", identity.authority().filter(|name| about::is_dns_name(name)).map(str::as_bytes)),
        ("PROXY_UNIQUE_ID", identity.unique_id()),
        ("PROXY_CONNECTION", Some(id.as_bytes())),
    ];
    told.extend(facts.into_iter().filter_map(|(name, value)| Some((name, plain(value?)?))));
    Ok((told, substituted))
}

/// A value that no shell script misreads: printable ASCII, and no function of an old shell.
fn plain(value: &[u8]) -> Option<String> {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
    let fits = (1..=VALUE_MAX).contains(&value.len()) && value.iter().all(is_plain);
    (fits && !value.starts_with(b"()")).then(|| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_plain_or_not_there() {
        assert_eq!(plain(b"TLSv1.3"), Some("TLSv1.3".to_owned()));
        for odd in [&b""[..], b"a\nb", b"a\0b", b"\xc3\xa9", b"() { :; }; id", &[b'x'; VALUE_MAX + 1]] {
            assert_eq!(plain(odd), None, "{odd:?}");
        }
    }
}
