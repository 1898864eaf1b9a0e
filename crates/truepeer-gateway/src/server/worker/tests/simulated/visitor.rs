//! Who comes: a proxy with a header of some kind, or somebody without one; and what they do.
//!
//! Headers are made here by hand, so that no mistake of the encoder is taken for the truth.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::Dice;
use crate::engine::simulated::{Theirs, WireRead};

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Says {
    /// There is none.
    Nothing,
    /// Whom the connection is for.
    Client(SocketAddr),
    /// It is the proxy's own.
    Own,
    /// It is broken: how that may be called.
    Broken(&'static [&'static str]),
}

/// What a client's own bytes begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// With nothing that looks like a header.
    Plain,
    /// With a whole header, where none may come.
    Header,
}

/// Whether it is in the trusted networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Proxy,
    Stranger,
}

/// One who comes.
pub(super) struct Visitor {
    pub(super) peer: SocketAddr,
    pub(super) standing: Standing,
    pub(super) says: Says,
    /// Its header, or the headers of a chain.
    pub(super) header: Vec<u8>,
    pub(super) is_chain: bool,
    /// Whether the header says that the client came over TLS.
    pub(super) is_secure: bool,
    pub(super) kind: Body,
    pub(super) body: Vec<u8>,
    /// Both, one behind the other.
    bytes: Vec<u8>,
    /// Silent for ever behind so many bytes.
    pub(super) stops_at: Option<usize>,
    pub(super) theirs: Option<Theirs>,
    pub(super) sent: usize,
    pub(super) heard: Vec<u8>,
    pub(super) heard_last: WireRead,
    /// Which configuration it found, and between which instants it was accepted.
    pub(super) variant: usize,
    pub(super) came: Instant,
    pub(super) accepted: Option<(Instant, Instant)>,
    /// When the last byte of its header was on the way.
    pub(super) header_sent: Option<Instant>,
    /// When the first byte and the last were of what a header among its own bytes begins with.
    pub(super) forged: (Option<Instant>, Option<Instant>),
    /// Whether such a header names the peer itself.
    pub(super) names_itself: bool,
    pub(super) finished: Option<Instant>,
    pub(super) broke: Option<Instant>,
    /// When our end was found closed.
    pub(super) left: Option<Instant>,
    /// An operator cut it.
    pub(super) is_cut: bool,
    /// Whether a ban may have kept it out.
    pub(super) may_be_banned: bool,
}

/// The addresses that clients have: few, so that limits are met.
const CLIENTS: [&str; 4] = ["203.0.113.7", "203.0.113.8", "198.51.100.9", "2001:db8::7"];
/// What clients in the list of those kept out have in common.
pub(super) const DENIED: &str = "198.51.100.";

impl Visitor {
    /// The one with this number, whom its client's port tells from the others.
    pub(super) fn new(number: usize, variant: usize, dice: &mut Dice, now: Instant) -> Self {
        let port = 20_000 + u16::try_from(number).unwrap();
        let client = SocketAddr::new(CLIENTS[dice.index(CLIENTS.len())].parse().unwrap(), port);
        let standing = if dice.below(5) == 0 { Standing::Stranger } else { Standing::Proxy };
        let (peer, says, header) = match standing {
            Standing::Stranger => (client, Says::Nothing, Vec::new()),
            Standing::Proxy => {
                let proxy = SocketAddr::from(([10, 0, 0, 1 + dice.small(2)], port));
                let (says, header) = header(dice, client, proxy);
                (proxy, says, header)
            }
        };
        let kind = if dice.below(10) == 0 { Body::Header } else { Body::Plain };
        let names_itself = dice.below(3) == 0;
        let mut body = match kind {
            Body::Plain => Vec::new(),
            Body::Header => {
                let other = SocketAddr::from(([203, 0, 113, 200], 4711));
                let named = if names_itself { peer } else { other };
                if dice.below(2) == 0 { v1(named) } else { v2(0x21, named, &[]) }
            }
        };
        body.extend(stream(b'a', usize::try_from(dice.size(2000)).unwrap()));
        if kind == Body::Plain && dice.below(8) == 0 {
            // The beginning of one, which goes on as something else.
            body.splice(0..0, b"PROX".iter().copied());
        }
        let is_chain = header.windows(HOP.len()).any(|some| some == HOP);
        // What is said of the way to another proxy says nothing of the client.
        let last = if is_chain { 16 + usize::from(header[14]) * 256 + usize::from(header[15]) } else { 0 };
        let len = header.len() + body.len();
        let stops_at = (dice.below(12) == 0).then(|| dice.index(len + 1));
        Self {
            peer,
            standing,
            says,
            is_chain,
            is_secure: header[last..].windows(TLS.len()).any(|some| some == TLS),
            bytes: [header.as_slice(), &body].concat(),
            header,
            kind,
            body,
            stops_at,
            theirs: None,
            sent: 0,
            heard: Vec::new(),
            heard_last: WireRead::Nothing,
            variant,
            came: now,
            accepted: None,
            header_sent: None,
            forged: (None, None),
            names_itself,
            finished: None,
            broke: None,
            left: None,
            is_cut: false,
            may_be_banned: false,
        }
    }

    /// Whom the connection is for, once that is known; its own peer where no header says otherwise.
    pub(super) fn client(&self) -> SocketAddr {
        match self.says {
            Says::Client(client) => client,
            Says::Nothing | Says::Own | Says::Broken(_) => self.peer,
        }
    }

    pub(super) fn ip(&self) -> IpAddr {
        self.client().ip()
    }

    /// Whether lists, bans and limits are asked about it.
    pub(super) fn is_client(&self) -> bool {
        self.says != Says::Own
    }

    /// Sends at most `most` bytes.
    pub(super) fn send(&mut self, most: usize, now: Instant) {
        let all = self.header.len() + self.body.len();
        let end = self.stops_at.unwrap_or(all).min(self.sent.saturating_add(most));
        let (Some(theirs), None) = (&self.theirs, self.finished) else { return };
        if self.sent < end {
            self.sent += theirs.write(&self.bytes[self.sent..end]);
        }
        if self.sent >= self.header.len() {
            self.header_sent.get_or_insert(now);
        }
        if self.body_sent() > 0 {
            self.forged.0.get_or_insert(now);
        }
        if self.body_sent() >= self.signature() {
            self.forged.1.get_or_insert(now);
        }
    }

    /// How long what a header among its own bytes begins with is.
    fn signature(&self) -> usize {
        if self.body.starts_with(b"PROXY ") { b"PROXY ".len() } else { SIGNATURE.len() }
    }

    /// Whether a header among its own bytes must be found; `None` where its beginning may have been waited for too long.
    pub(super) fn is_caught(&self) -> Option<bool> {
        const HOLD: Duration = Duration::from_millis(950);
        match (self.kind, self.forged) {
            (Body::Header, (Some(first), Some(last))) => (last - first < HOLD).then_some(true),
            _ => Some(false),
        }
    }

    /// Whether it has said everything that it wants to say.
    pub(super) fn is_done(&self) -> bool {
        self.sent >= self.stops_at.unwrap_or(self.header.len() + self.body.len())
    }

    pub(super) fn hear(&mut self, most: usize) {
        if let Some(theirs) = &self.theirs {
            self.heard_last = theirs.read(most, &mut self.heard);
        }
    }

    pub(super) fn finish(&mut self, now: Instant) {
        if let Some(theirs) = &self.theirs {
            theirs.finish();
            self.finished.get_or_insert(now);
        }
    }

    /// How many of its own bytes it has sent.
    pub(super) fn body_sent(&self) -> usize {
        self.sent.saturating_sub(self.header.len())
    }
}

/// `len` bytes that go on from `first`, of which none is like its neighbours.
pub(super) fn stream(first: u8, len: usize) -> Vec<u8> {
    const PERIOD: &[u8; 23] = b"abcdefghijklmnopqrstuvw";
    let period = PERIOD.map(|byte| byte - b'a' + first);
    let mut bytes = period.repeat(len / period.len() + 1);
    bytes.truncate(len);
    bytes
}

/// The address of a proxy behind the peer, as it stands in a header of version 2.
const HOP: &[u8] = &[10, 9, 0, 1];
/// A TLV that says TLS, as one that was not verified by a certificate.
const TLS: &[u8] = &[0x20, 0, 5, 0x01, 0, 0, 0, 1];

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn header(dice: &mut Dice, client: SocketAddr, proxy: SocketAddr) -> (Says, Vec<u8>) {
    match dice.below(20) {
        0..4 => (Says::Client(client), v1(client)),
        16 | 17 => {
            let hop = v2(0x21, SocketAddr::from(([10, 9, 0, 1], 4000)), &tlvs(dice));
            let last = if dice.below(2) == 0 { v1(client) } else { v2(0x21, client, &tlvs(dice)) };
            (Says::Client(client), [hop, last].concat())
        }
        18 => {
            let here = SocketAddr::from(([127, 0, 0, 1], client.port()));
            (Says::Broken(&["client_implausible"]), v2(0x21, here, &[]))
        }
        19 => (Says::Broken(&["header_checksum"]), v2(0x21, client, &[0x03, 0, 4, 1, 2, 3, 4])),
        4..9 => (Says::Client(client), v2(0x21, client, &tlvs(dice))),
        9 => (Says::Own, local(dice)),
        10 => (Says::Own, b"PROXY UNKNOWN\r\n".to_vec()),
        11 => (Says::Own, v2(0x21, proxy, &[])),
        12 => (Says::Broken(&["header_missing"]), b"EHLO mail.example\r\n".to_vec()),
        13 => {
            let mut bytes = v2(0x21, client, &[]);
            bytes[12] = 0x31;
            (Says::Broken(&["header_malformed"]), bytes)
        }
        14 => (Says::Broken(&["header_malformed"]), b"PROXY TCP4 203.0.113.7 999 20000 25\r\n".to_vec()),
        _ => {
            let mut bytes = v2(0x21, client, &[]);
            // Longer than the cap: 4,112 bytes.
            bytes[14..16].copy_from_slice(&60_000_u16.to_be_bytes());
            (Says::Broken(&["header_too_long"]), bytes)
        }
    }
}

fn local(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    let tlvs = tlvs(dice);
    bytes.extend([0x20, 0x00]);
    bytes.extend(u16::try_from(tlvs.len()).unwrap().to_be_bytes());
    bytes.extend(tlvs);
    bytes
}

/// Nothing, or TLS, or an ALPN and a name.
fn tlvs(dice: &mut Dice) -> Vec<u8> {
    match dice.below(4) {
        0 | 1 => return Vec::new(),
        2 => return TLS.to_vec(),
        _ => {}
    }
    let name = vec![b'n'; dice.index(200) + 1];
    let mut bytes = vec![0x01, 0, 2, b'h', b'2', 0x02, 0, u8::try_from(name.len()).unwrap()];
    bytes.extend(name);
    bytes
}

fn v1(client: SocketAddr) -> Vec<u8> {
    let (family, destination) =
        if client.is_ipv4() { ("TCP4", "192.0.2.25") } else { ("TCP6", "2001:db8::25") };
    format!("PROXY {family} {} {destination} {} 25\r\n", client.ip(), client.port()).into_bytes()
}

fn v2(command: u8, client: SocketAddr, tlvs: &[u8]) -> Vec<u8> {
    let mut block = match client.ip() {
        IpAddr::V4(ip) => [ip.octets().as_slice(), &[192, 0, 2, 25]].concat(),
        IpAddr::V6(ip) => {
            let destination: std::net::Ipv6Addr = "2001:db8::25".parse().unwrap();
            [ip.octets(), destination.octets()].concat()
        }
    };
    block.extend(client.port().to_be_bytes());
    block.extend(25_u16.to_be_bytes());
    block.extend(tlvs);
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, if client.is_ipv4() { 0x11 } else { 0x21 }]);
    bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    bytes.extend(block);
    bytes
}
