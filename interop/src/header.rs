//! PROXY protocol headers written out by hand, for cases that need bytes which no real proxy sends.
//!
//! Called by `cases`. It must not know truepeer's codec: a mistake there must not hide here.

use std::net::SocketAddr;

/// The twelve bytes that every v2 header begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// A v1 line of a connection that carries no client.
pub(crate) const V1_UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";

/// A v1 line. The word after PROXY follows the client's family, as NGINX does it.
pub(crate) fn v1(client: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let word = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.ip(), destination.ip());
    format!("PROXY {word} {from} {to} {} {}\r\n", client.port(), destination.port()).into_bytes()
}

/// A v2 header of the command PROXY over TCP; both addresses are of one family.
pub(crate) fn v2(client: SocketAddr, destination: SocketAddr, tlvs: &[(u8, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    let family = match (client, destination) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            body.extend(from.ip().octets());
            body.extend(to.ip().octets());
            0x11
        }
        (SocketAddr::V6(from), SocketAddr::V6(to)) => {
            body.extend(from.ip().octets());
            body.extend(to.ip().octets());
            0x21
        }
        _ => 0x00,
    };
    body.extend(client.port().to_be_bytes());
    body.extend(destination.port().to_be_bytes());
    for (kind, value) in tlvs {
        body.push(*kind);
        body.extend(len16(value));
        body.extend(*value);
    }
    frame(0x21, family, &body)
}

/// A v2 header of the command LOCAL, without addresses.
pub(crate) fn v2_local() -> Vec<u8> {
    frame(0x20, 0x00, &[])
}

/// A v2 header of the command PROXY for a family that is not told.
pub(crate) fn v2_unspec() -> Vec<u8> {
    frame(0x21, 0x00, &[])
}

fn frame(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.push(command);
    header.push(family);
    header.extend(len16(body));
    header.extend(body);
    header
}

fn len16(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}
