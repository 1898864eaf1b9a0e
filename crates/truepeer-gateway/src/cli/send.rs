//! `truepeer send`: a connection with any header, then like netcat or as a protocol has it.

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use truepeer::ClientPair;
use truepeer::proto::Transport;

use super::reach::{Failure, answer, complain};
use super::{FAILED, NOT_REACHED};
use crate::doctor::dial::{self, HostPort};
use crate::doctor::header::{Checksum, Extras, OwnedTlv, ShownBytes, TLV_NAMES, Wanted, nobodys, parse_hex};
use crate::doctor::hear::HearingEnd;
use crate::doctor::send::{self, NotOpened, Opened, Over, SendPlan, SendVerdict, Session};
use crate::doctor::shown::{for_terminal, shown_lines};
use crate::doctor::tls;
use crate::facts::protocol::Protocol;

/// What is told below the options.
pub(super) const EXAMPLES: &str = "\
Without --client, the header names an address for documentation as client: 192.0.2.1:40000, or 2001:db8::1 towards \
IPv6. Without --destination it names the address that was reached. The server's answer goes to standard output as it \
comes; on a terminal it is escaped, and ends after 1 MiB.

Exit codes: 0 the server closed the connection in order, or with --protocol greeted and said goodbye; 1 it did not; \
2 wrong arguments; 3 the server could not be reached.

Examples:
  truepeer send mx.example.org:25 --protocol smtp                       # a version 2 header for 192.0.2.1
  truepeer send mx.example.org:25 --version v1 --client 203.0.113.7:4711
  truepeer send 127.0.0.1:10993 --tlv ssl=TLSv1.3,cipher=TLS_AES_128_GCM_SHA256 --tlv alpn=imap --protocol imap
  truepeer send 127.0.0.1:993 --tls --protocol imap                     # TLS behind the header
  truepeer send 127.0.0.1:25 --local --protocol smtp                    # a health check's header
  truepeer send 127.0.0.1:25 --split 5,16 --pause 300ms                 # in three pieces
  truepeer send 127.0.0.1:25 --version none                             # no header at all
  truepeer send 127.0.0.1:25 --raw '0d0a0d0a 000d0a51 5549540a 2f110000' --protocol smtp
  printf 'EHLO a.example\\r\\nQUIT\\r\\n' | truepeer send 127.0.0.1:25 --crc";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to connect: a name or an address, and a port
    #[arg(value_name = "HOST:PORT")]
    target: HostPort,
    /// Which header is sent
    #[arg(long, value_enum, default_value_t = VersionWord::V2)]
    version: VersionWord,
    /// The client that the header names
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with_all = ["local", "unknown", "raw"])]
    client: Option<SocketAddr>,
    /// The address that this client connected to
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with_all = ["local", "unknown", "raw"])]
    destination: Option<SocketAddr>,
    /// A version 2 header of the proxy's own (LOCAL), as health checks send
    #[arg(long, conflicts_with_all = ["unknown", "raw"])]
    local: bool,
    /// A version 1 line without a client (`PROXY UNKNOWN`)
    #[arg(long, conflicts_with = "raw")]
    unknown: bool,
    /// One more item of a version 2 header, repeatable
    #[arg(long, value_name = "NAME=VALUE", long_help = format!("One more item of a version 2 header, repeatable: {TLV_NAMES}"), conflicts_with_all = ["unknown", "raw"])]
    tlv: Vec<OwnedTlv>,
    /// End a version 2 header with its CRC32C
    #[arg(long, conflicts_with_all = ["unknown", "raw"])]
    crc: bool,
    /// A version 2 header that says UDP
    #[arg(long, conflicts_with_all = ["local", "unknown", "raw"])]
    datagram: bool,
    /// Send these bytes instead, in hexadecimal, whatever they are
    #[arg(long, value_name = "HEX", value_parser = Raw::parse)]
    raw: Option<Raw>,
    /// Cut the header before these bytes, and send it in pieces
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    split: Vec<usize>,
    /// How long to wait between two pieces
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = humantime::parse_duration)]
    pause: Duration,
    /// Speak TLS behind the header; certificates are not checked
    #[arg(long)]
    tls: bool,
    /// The name that TLS asks for, if not the host's
    #[arg(long, value_name = "NAME", requires = "tls")]
    server_name: Option<String>,
    /// Greet in this protocol and quit, instead of passing on standard input
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
    protocol: Option<Protocol>,
    /// Connect from this address of this machine
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// How long the server may take: for the connection, for TLS, for each answer, and to close once our input is over
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Answer in JSON, one object
    #[arg(long, requires = "protocol")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum VersionWord {
    V1,
    V2,
    None,
}

/// Bytes that a person wrote in hexadecimal.
#[derive(Debug, Clone)]
struct Raw(Vec<u8>);

impl Raw {
    fn parse(text: &str) -> Result<Self, String> {
        parse_hex(text).map(Self)
    }
}

/// A protocol's name.
pub(super) fn protocol(text: &str) -> Result<Protocol, String> {
    Protocol::parse(text).ok_or_else(|| {
        let known: Vec<_> = Protocol::ALL.into_iter().map(Protocol::name).collect();
        format!("one of {}", known.join(", "))
    })
}

/// What may be shown on a terminal.
const MAX_ON_TERMINAL: u64 = 1024 * 1024;
/// Lines of an answer that are shown.
const MAX_LINES: usize = 40;

/// Connects, sends, and goes on.
pub(super) fn send(order: &Arguments) -> ExitCode {
    answer(|out| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(FAILED, format!("no runtime: {error}")))?;
        let code = runtime.block_on(run(order, out));
        // Somebody may still be typing.
        runtime.shutdown_background();
        code
    })
}

fn failed(code: u8, text: impl std::fmt::Display) -> Failure {
    Failure { text: format!("error: {text}"), code }
}

async fn run(order: &Arguments, out: &mut dyn Write) -> Result<u8, Failure> {
    let tls = match order.tls {
        false => None,
        true => {
            let name = order.server_name.as_deref().unwrap_or(&order.target.host);
            Some(tls::server_name(name).map_err(|why| failed(2, why))?)
        }
    };
    if order.version != VersionWord::V2
        && (!order.tlv.is_empty() || order.crc || order.local || order.datagram)
    {
        return Err(failed(2, "only a version 2 header holds that: leave `--version` out"));
    }
    if order.version == VersionWord::None && (order.client.is_some() || order.unknown || order.raw.is_some())
    {
        return Err(failed(2, "`--version none` sends no header: leave it out"));
    }
    let unreached = |error| failed(NOT_REACHED, error);
    let addrs = dial::resolve(&order.target, order.source, order.timeout).await.map_err(unreached)?;
    let (stream, reached) =
        send::connect(&addrs, order.source, order.timeout).await.map_err(|error| not_opened(&error))?;
    let wanted = wanted(order, reached);
    let header = wanted.to_bytes().map_err(|why| failed(2, why))?;
    let opening =
        SendPlan { header, cuts: order.split.clone(), pause: order.pause, tls, patience: order.timeout };
    if !order.json {
        said_to_have(&opening, reached);
    }
    let opened = send::open(stream, &opening).await.map_err(|error| not_opened(&error))?;
    if let (Some(agreed), false) = (&opened.agreed, order.json) {
        complain(&format!("TLS: {agreed}; the certificate was not checked"));
    }
    match order.protocol {
        Some(protocol) => polite(order, protocol, opened, &opening, out, reached).await,
        None => free(order, opened, out).await,
    }
}

fn wanted(order: &Arguments, reached: SocketAddr) -> Wanted {
    let checksum = if order.crc { Checksum::Right } else { Checksum::None };
    let extras = Extras { tlvs: order.tlv.clone(), checksum };
    let destination = order.destination.unwrap_or(reached);
    let client = order.client.unwrap_or_else(|| nobodys(destination));
    let pair = ClientPair { client, destination };
    match (&order.raw, order.unknown, order.local, order.version) {
        (Some(Raw(bytes)), ..) => Wanted::Raw(bytes.clone()),
        (None, true, ..) => Wanted::V1Unknown,
        (None, false, true, _) => Wanted::V2Local(extras),
        (None, false, false, VersionWord::None) => Wanted::None,
        (None, false, false, VersionWord::V1) => Wanted::V1(pair),
        (None, false, false, VersionWord::V2) => {
            let transport = if order.datagram { Transport::Datagram } else { Transport::Stream };
            Wanted::V2(pair, transport, extras)
        }
    }
}

/// What goes out, on standard error, so that standard output is the server's alone.
fn said_to_have(opening: &SendPlan, reached: SocketAddr) {
    let header = &opening.header;
    complain(&if header.is_empty() {
        format!("connected to {reached}; no header")
    } else {
        format!("connected to {reached}; header of {} bytes: {}", header.len(), ShownBytes(header))
    });
}

fn not_opened(error: &NotOpened) -> Failure {
    match error {
        NotOpened::Unreached(error) => failed(NOT_REACHED, error),
        NotOpened::Refused(why) => failed(FAILED, why),
    }
}

async fn polite(
    order: &Arguments,
    protocol: Protocol,
    mut opened: Opened,
    opening: &SendPlan,
    out: &mut dyn Write,
    reached: SocketAddr,
) -> Result<u8, Failure> {
    let host = &order.target.host;
    let session = send::converse(&mut *opened.stream, protocol, host, order.timeout).await;
    let (ok, why) = verdict(&session);
    if order.json {
        let object = json!({
            "address": reached.to_string(),
            "header": hex(&opening.header),
            "header_bytes": opening.header.len(),
            "tls": opened.agreed,
            "protocol": protocol.name(),
            "greeting": shown_lines(&session.greeting, MAX_LINES),
            "answer": shown_lines(&session.answer, MAX_LINES),
            "ok": ok,
            "why": why.as_deref().map_or(Value::Null, Value::from),
        });
        writeln!(out, "{object}")?;
    } else {
        for line in shown_lines(&session.greeting, MAX_LINES)
            .into_iter()
            .chain(shown_lines(&session.answer, MAX_LINES))
        {
            writeln!(out, "{line}")?;
        }
    }
    match why {
        Some(why) if !order.json => Err(failed(FAILED, why)),
        Some(_) => Ok(FAILED),
        None => Ok(0),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether it went well, and if not, why.
fn verdict(session: &Session) -> (bool, Option<String>) {
    match &session.verdict {
        SendVerdict::Polite => (true, None),
        SendVerdict::Rude(what, end) => (false, Some(format!("{what}: {}", ended(end)))),
    }
}

/// How an answer ended, in words.
pub(super) fn ended(end: &HearingEnd) -> String {
    match end {
        HearingEnd::Complete => "something else was said".to_owned(),
        HearingEnd::TooMuch => "more was said than any answer has".to_owned(),
        HearingEnd::Closed => "the server closed the connection".to_owned(),
        HearingEnd::Broken(why) => format!("the connection broke ({why})"),
        HearingEnd::Late => "nothing more came in time".to_owned(),
    }
}

async fn free(order: &Arguments, opened: Opened, out: &mut dyn Write) -> Result<u8, Failure> {
    let on_terminal = std::io::stdout().is_terminal();
    let most = if on_terminal { MAX_ON_TERMINAL } else { u64::MAX };
    let mut pending = Vec::new();
    let write = |bytes: &[u8]| {
        if on_terminal {
            out.write_all(for_terminal(bytes, &mut pending).as_bytes())?;
        } else {
            out.write_all(bytes)?;
        }
        out.flush()
    };
    match send::cat(opened.stream, tokio::io::stdin(), write, order.timeout, most).await {
        Over::Closed => Ok(0),
        Over::Broken(why) => Err(failed(FAILED, format!("the connection broke ({why})"))),
        Over::Silent => Err(failed(FAILED, "the server did not close the connection in time")),
        Over::TooMuch => {
            Err(failed(FAILED, "more than 1 MiB came; send it into a file or a pipe to have it all"))
        }
        Over::Unwritten(why) => Err(failed(FAILED, format!("cannot write what came: {why}"))),
    }
}
