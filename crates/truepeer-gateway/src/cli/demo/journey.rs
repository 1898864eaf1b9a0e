//! One connection of the demonstration: played, and told.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use truepeer::proto::{Addresses, Encoder, Tlv, TlvType, V1_SIGNATURE};
use truepeer::{ClientIdentity, HeaderReader, HeaderRules, PeerAddress, Progress};

use crate::facts::protocol::{FirstSpeaker, Protocol};
use crate::server::Server;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// No step of the demonstration takes longer than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a proxy will do.
pub(super) struct Proxy {
    listener: &'static str,
    from: IpAddr,
    client: &'static str,
    header: Result<Vec<u8>, String>,
}

impl Proxy {
    /// A proxy that sends a version 1 line.
    pub(super) fn v1(listener: &'static str, from: IpAddr, client: &'static str, to: &'static str) -> Self {
        let header = encode(client, to, Encoder::v1, &[]);
        Self { listener, from, client, header }
    }

    /// A proxy that sends a version 2 block.
    pub(super) fn v2(listener: &'static str, from: IpAddr, client: &'static str, to: &'static str) -> Self {
        let header = encode(client, to, Encoder::v2, &[]);
        Self { listener, from, client, header }
    }

    /// A proxy that ended the client's TLS and says so.
    pub(super) fn v2_tls(
        listener: &'static str,
        from: IpAddr,
        client: &'static str,
        to: &'static str,
    ) -> Self {
        // client flags: TLS; verify: 0; sub-TLV 0x21 (version) "TLSv1.3"
        let tls = Tlv { kind: TlvType::SSL, value: b"\x01\0\0\0\0\x21\0\x07TLSv1.3" };
        let name = Tlv { kind: TlvType::AUTHORITY, value: b"mail.example.org" };
        let header = encode(client, to, |addresses| Encoder::v2(addresses).with_checksum(), &[tls, name]);
        Self { listener, from, client, header }
    }
}

fn encode<'a>(
    client: &str,
    to: &str,
    with: impl FnOnce(Addresses<'a>) -> Encoder<'a>,
    tlvs: &'a [Tlv<'a>],
) -> Result<Vec<u8>, String> {
    let address = |text: &str| text.parse::<SocketAddr>().map_err(|error| format!("{text}: {error}"));
    let addresses = match (address(client)?, address(to)?) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => Addresses::Inet { source, destination },
        (SocketAddr::V6(source), SocketAddr::V6(destination)) => Addresses::Inet6 { source, destination },
        _ => return Err("client and destination are of two families".to_owned()),
    };
    let encoder = with(addresses).tlvs(tlvs);
    let mut bytes = vec![0; encoder.encoded_len().map_err(|error| error.to_string())?];
    encoder.encode(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Plays connections and tells them.
pub(super) struct Journey<'a, W: Write> {
    pub(super) out: &'a mut W,
    pub(super) server: &'a Server,
    pub(super) records: &'a Receiver<String>,
    pub(super) good: bool,
}

impl<W: Write> Journey<'_, W> {
    /// A client behind a trusted proxy: the backend must see it.
    pub(super) fn client(&mut self, title: &str, proxy: &Proxy) -> Fallible<()> {
        let (mut stream, header, protocol) = self.arrive(title, proxy)?;
        let peer = stream.local_addr()?;
        self.tell("trust", &format!("{} is in the trusted networks: it may speak for others", peer.ip()))?;
        let identity = identify(peer, header)?;
        let tls = match identity.tls() {
            Some(tls) => format!(", over {}", tls.version().unwrap_or(b"TLS").escape_ascii()),
            None => ", no TLS told".to_owned(),
        };
        let wanted = identity.destination().map_or_else(String::new, |to| format!(", who wanted {to}"));
        let client = identity.client().map_or_else(String::new, |client| client.to_string());
        self.tell("identify", &format!("the client is {client}{wanted}{tls}"))?;
        self.tell("access", "no rules")?;

        let heard = converse(&mut stream, header, protocol)?;
        drop(stream);
        let record = self.record()?;
        let field = |key: &str| field(&record, key).unwrap_or_default();
        let proof = match protocol.first_speaker() {
            FirstSpeaker::Server => "proved: it greets behind our header, and stays silent without",
            _ => "unproven: its client speaks first, so that it cannot be asked",
        };
        self.tell("backend", &format!("{} at {}, {proof}", field("backend"), field("backend_address")))?;
        self.tell(
            "handoff",
            &format!("{}: a header of our own, in one write, before the client's bytes", field("handoff")),
        )?;
        self.tell("relay", &format!("{} bytes there, {} bytes back", field("bytes_in"), field("bytes_out")))?;
        let saw = field_of(&heard, "client=");
        self.tell("backend saw", &format!("client={}", saw.unwrap_or("nobody")))?;
        if let Some(tls) = field_of(&heard, "tls=").filter(|_| identity.is_secure()) {
            self.tell("", &format!("tls={tls}"))?;
        }
        self.tell("record", &record)?;
        let right = saw == Some(proxy.client);
        self.verdict(right, "the backend saw the client, not the proxy", "the backend did not see the client")
    }

    /// A header from an untrusted peer: nothing of it may reach the backend.
    pub(super) fn forger(&mut self, title: &str, proxy: &Proxy) -> Fallible<()> {
        let (mut stream, header, _) = self.arrive(title, proxy)?;
        let peer = stream.local_addr()?;
        let text =
            format!("{} is in no trusted network: it is the client itself, and speaks for nobody", peer.ip());
        self.tell("trust", &text)?;
        stream.write_all(header)?;
        let mut heard = Vec::new();
        // A reset ends it as well as a close.
        let _ = stream.read_to_end(&mut heard);
        let record = self.record()?;
        self.tell("identify", &format!("the client is {peer}, by its own address"))?;
        self.tell("relay", "its first bytes begin with a header: none of them was passed on")?;
        for key in ["outcome", "cause", "remedy"] {
            self.tell(key, &field(&record, key).unwrap_or_default())?;
        }
        self.tell("record", &record)?;
        let refused = field(&record, "outcome").as_deref() == Some("untrusted_header")
            && field(&record, "bytes_in").as_deref() == Some("0")
            && field_of(&String::from_utf8_lossy(&heard), "client=") != Some(proxy.client);
        self.verdict(refused, "refused, and explained", "the forged header was not refused")
    }

    /// Connects as the proxy would; prints what it is going to send.
    fn arrive<'p>(&mut self, title: &str, proxy: &'p Proxy) -> Fallible<(TcpStream, &'p [u8], Protocol)> {
        let address = self.server.address(proxy.listener).ok_or("the demonstration has no such listener")?;
        let header = proxy.header.as_ref().map_err(Clone::clone)?;
        let protocol = Protocol::parse(proxy.listener).unwrap_or(Protocol::Tcp);
        writeln!(self.out, "\n* {title}")?;
        let shown = if header.starts_with(&V1_SIGNATURE) {
            header.escape_ascii().to_string()
        } else {
            let hex: String = header.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex} ({} bytes)", header.len())
        };
        let stream = connect_from(proxy.from, address)?;
        let peer = stream.local_addr()?;
        self.tell(
            "accept",
            &format!("{peer} connects to the {protocol} listener: the peer, our socket's other end"),
        )?;
        self.tell("header", &shown)?;
        Ok((stream, header, protocol))
    }

    /// The record of the connection that has just ended.
    fn record(&self) -> Fallible<String> {
        loop {
            let line = self.records.recv_timeout(PATIENCE).map_err(|_| "the front door wrote no record")?;
            // Sessions that last leave a line at their start, too.
            if field(&line, "event").as_deref() == Some("connection") {
                return Ok(line);
            }
        }
    }

    fn tell(&mut self, room: &str, text: &str) -> io::Result<()> {
        writeln!(self.out, "  {room:<12} {text}")
    }

    fn verdict(&mut self, right: bool, yes: &str, no: &str) -> Fallible<()> {
        self.good &= right;
        Ok(self.tell(if right { "ok" } else { "FAILED" }, if right { yes } else { no })?)
    }
}

fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// What the library makes of the header, asked apart from the front door.
fn identify(peer: SocketAddr, header: &[u8]) -> Fallible<ClientIdentity> {
    let reader = HeaderReader::new(HeaderRules::default(), PeerAddress::tcp(peer), Instant::now());
    match reader.advance(header)? {
        Progress::Done { identity, .. } => Ok(identity),
        Progress::NeedMore { .. } => Err("the header is not complete".into()),
    }
}

/// Sends the header, speaks the least that the protocol asks for, and returns what the backend said.
fn converse(stream: &mut TcpStream, header: &[u8], protocol: Protocol) -> io::Result<String> {
    stream.write_all(header)?;
    stream.write_all(protocol.question())?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

/// The value behind `key` in what the backend said.
fn field_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, value) = text.split_once(key)?;
    value.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | ')' | '"')).next()
}

/// The value of a field of a record line, as it was before it was quoted.
fn field(record: &str, key: &str) -> Option<String> {
    let (_, value) = record.split_once(&format!(" {key}="))?;
    if !value.starts_with('"') {
        return value.split(' ').next().map(str::to_owned);
    }
    serde_json::Deserializer::from_str(value).into_iter::<String>().next()?.ok()
}
