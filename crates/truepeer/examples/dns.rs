//! A name server over UDP that answers every question with who asks: the client's IPv4 address, by a header if a proxy
//! such as dnsdist is in between.
//!
//! `cargo run -p truepeer --example dns -- 127.0.0.1:5300 127.0.0.1`: where to listen, and which peers are proxies.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a small server has no other log")]
use std::io;
use std::net::{IpAddr, UdpSocket};

use truepeer::{Arrival, HeaderRules, PeerAddress, TrustPolicy, TrustedNetworks, read_datagram};

/// The largest datagram that a UDP socket can receive: one that was cut off is not to be mistaken for a whole one.
const LARGEST: usize = 65_535;

/// Answers one datagram, or drops it.
pub(crate) fn serve_one(socket: &UdpSocket, policy: &TrustPolicy) -> io::Result<()> {
    let mut buffer = vec![0; LARGEST];
    let (len, peer) = socket.recv_from(&mut buffer)?;
    let received = buffer.get(..len).unwrap_or_default();
    let arrival = Arrival::new(PeerAddress::tcp(peer), socket.local_addr().ok());
    match read_datagram(policy, &HeaderRules::new(), arrival, received) {
        Ok((identity, question)) => {
            let Some(client) = identity.client() else { return Ok(()) }; // a health check without a question
            if let Some(answer) = answer(question, client.ip) {
                socket.send_to(&answer, peer)?; // to the proxy, and without a header
            }
        }
        Err(error) => eprintln!("{error}"),
    }
    Ok(())
}

/// RFC 1035, 4.1: the question again, and one A record of a minute. An IPv6 client hears of no record.
fn answer(query: &[u8], client: IpAddr) -> Option<Vec<u8>> {
    let (header, rest) = query.split_at_checked(12)?;
    let name_len = rest.iter().position(|byte| *byte == 0)?.checked_add(1)?;
    let question = rest.get(..name_len.checked_add(4)?)?;
    let mut answer = header.get(..2)?.to_vec();
    let address = match client {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(_) => Vec::new(),
    };
    answer.extend([0x84, 0, 0, 1, 0, u8::from(!address.is_empty()), 0, 0, 0, 0]);
    answer.extend(question);
    if !address.is_empty() {
        answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address);
    }
    Some(answer)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let socket = UdpSocket::bind(args.next().unwrap_or("127.0.0.1:5300".into()))?;
    let policy = TrustPolicy::from(TrustedNetworks::parse(args)?); // your proxies, never your network
    println!("listening on {}", socket.local_addr()?);
    loop {
        serve_one(&socket, &policy)?;
    }
}
