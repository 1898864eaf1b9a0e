//! Stalwart behind truepeer: the program that `STALWART` names, or what 0.15.5 was recorded to do.
//!
//! Called by `cases`. The recorded one speaks as much SMTP as the recordings have: it reads a header from whom it trusts,
//! believes bit 0 of the TLS facts, and takes a header from anybody else for commands. It shares no code with truepeer.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::feed::{Feed, PATIENCE};
use crate::page;
use crate::port::Port;
use crate::program::Program;
use crate::servers::{make_dir, write};
use crate::verdict::{During, Result, ensure, failed};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Whether a port of it believes truepeer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trusts {
    /// truepeer's address is in its list.
    Truepeer,
    /// Its list has nobody.
    Nobody,
}

/// A running Stalwart.
#[derive(Debug)]
pub(crate) enum Stalwart {
    /// The program.
    Real(Program, Port),
    /// What was recorded.
    Recorded(Feed, SocketAddr),
}

impl Stalwart {
    /// Starts the program, if there is one, or a player of the recordings.
    pub(crate) fn start(dir: &Path, trusts: Trusts) -> Result<Self> {
        match std::env::var_os("STALWART") {
            Some(program) => real(dir, &PathBuf::from(program), trusts),
            None => recorded(trusts),
        }
    }

    /// Starts a program that takes the same words and the same configuration, and plays the recordings.
    pub(crate) fn start_understudy(dir: &Path, trusts: Trusts) -> Result<Self> {
        real(dir, &understudy(dir)?, trusts)
    }

    /// What it logs.
    pub(crate) fn log(&self) -> &Feed {
        match self {
            Self::Real(program, _) => program.log(),
            Self::Recorded(log, _) => log,
        }
    }

    /// Its port for submission.
    pub(crate) fn addr(&self) -> SocketAddr {
        match self {
            Self::Real(_, port) => port.addr(),
            Self::Recorded(_, addr) => *addr,
        }
    }
}

/// Starts it with these lines for its one listener, at `port`: the program, if there is one, or the one that plays it and
/// reads them word for word.
pub(crate) fn start_as_written(dir: &Path, port: SocketAddr, lines: &str) -> Result<Program> {
    match std::env::var_os("STALWART") {
        Some(program) => run(dir, &PathBuf::from(program), port, lines),
        None => run(dir, &understudy(dir)?, port, lines),
    }
}

fn real(dir: &Path, program: &Path, trusts: Trusts) -> Result<Stalwart> {
    make_dir(dir)?;
    let port = Port::free(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
    let lines = page::block(include_str!("../../../docs/neighbours/stalwart.md"), "", "stalwart")?;
    let ours = lines.lines().filter(|line| line.starts_with("server.listener.submission."));
    let lines: String = ours
        .filter(|line| trusts == Trusts::Truepeer || !line.contains("trusted-networks"))
        .map(|line| format!("{}\n", line.replace("127.0.0.1:10587", &port.addr().to_string())))
        .collect();
    let program = run(dir, program, port.addr(), &lines)?;
    Ok(Stalwart::Real(program, port))
}

/// A program that plays Stalwart.
fn understudy(dir: &Path) -> Result<PathBuf> {
    let itself = std::env::current_exe().during("where am I")?;
    let program = dir.join("stalwart");
    make_dir(dir)?;
    write(&program, &format!("#!/bin/sh\nexec '{}' {UNDERSTUDY} \"$@\"\n", itself.display()))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).during("make a program")?;
    Ok(program)
}

/// Runs `program` with those lines behind what every Stalwart needs, until it listens at `port`.
fn run(dir: &Path, program: &Path, port: SocketAddr, lines: &str) -> Result<Program> {
    make_dir(dir)?;
    let text = format!(
        "\
server.hostname = \"stalwart.interop.test\"
storage.data = \"db\"
storage.blob = \"db\"
storage.lookup = \"db\"
storage.fts = \"db\"
storage.directory = \"internal\"
store.db.type = \"sqlite\"
store.db.path = \"{}\"
directory.internal.type = \"internal\"
directory.internal.store = \"db\"
tracer.out.type = \"stdout\"
tracer.out.level = \"trace\"
tracer.out.ansi = false
tracer.out.enable = true
{lines}",
        dir.join("db").display()
    );
    let config = dir.join("config.toml");
    write(&config, &text)?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&config);
    let program = Program::start("stalwart", &mut command)?;
    let words = port.port().to_string();
    program.wait_started(|line| line.contains(&words))?;
    Ok(program)
}

fn recorded(trusts: Trusts) -> Result<Stalwart> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("listen")?;
    let addr = listener.local_addr().during("read an address")?;
    let (read, written) = UnixStream::pair().during("make a log")?;
    let log = Feed::default();
    log.follow(read);
    // Ends with the harness: it waits for connections until then.
    thread::spawn(move || serve(&listener, trusts, || written.try_clone()));
    Ok(Stalwart::Recorded(log, addr))
}

fn serve<L: Write + Send + 'static>(
    listener: &TcpListener,
    trusts: Trusts,
    log: impl Fn() -> std::io::Result<L>,
) {
    for stream in listener.incoming().flatten() {
        if let Ok(log) = log() {
            thread::spawn(move || talk(stream, trusts, log));
        }
    }
}

/// What the harness is started with to play Stalwart.
pub(crate) const UNDERSTUDY: &str = "--play-stalwart";

/// Plays Stalwart as its command line has it: `--config FILE`, the one listener of that file, and a log on standard
/// output. Comes back only with a reason why it cannot.
pub(crate) fn play(words: &[String]) -> Result {
    let ["--config", file] = words.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return failed(format!("usage: stalwart --config PATH, not {words:?}"));
    };
    let text = fs::read_to_string(file).during("read the configuration")?;
    let settings: toml::Table = text.parse().during("read the configuration")?;
    let at = |path: &str| {
        let mut names = path.split('.');
        let first = names.next().and_then(|name| settings.get(name));
        names.try_fold(first?, |value, name| value.get(name))
    };
    // It keeps nothing, but the real one does not start without a store for everything.
    for key in ["data", "blob", "lookup", "fts"] {
        let store = at(&format!("storage.{key}")).and_then(toml::Value::as_str).unwrap_or_default();
        let kind = at(&format!("store.{store}.type")).and_then(toml::Value::as_str);
        ensure(kind == Some("sqlite"), || format!("storage.{key} is no store: {kind:?}"))?;
    }
    let listeners = at("server.listener").and_then(toml::Value::as_table);
    let names: Vec<&str> = listeners.into_iter().flat_map(toml::Table::keys).map(String::as_str).collect();
    let [name] = names[..] else { return failed(format!("one listener is played, not {names:?}")) };
    let of = |key: &str| at(&format!("server.listener.{name}.{key}"));
    let listed = |key: &str| -> Vec<&str> {
        of(key)
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(toml::Value::as_str)
            .collect()
    };
    // Nothing else was recorded, and nothing else is played.
    let protocol = of("protocol").and_then(toml::Value::as_str);
    ensure(protocol == Some("smtp"), || format!("{protocol:?} was not recorded"))?;
    ensure(of("tls.implicit").is_none(), || "TLS from the first byte was not recorded".to_owned())?;
    let [bind] = listed("bind")[..] else { return failed("one address to listen on") };
    let listener = TcpListener::bind(bind).during("listen")?;
    // Its peers are on loopback: whose address is not in the list is a client, as in the real one.
    let networks = listed("proxy.trusted-networks");
    let trusts = match networks.iter().any(|network| network.parse() == Ok(Ipv4Addr::LOCALHOST)) {
        false => Trusts::Nobody,
        true => Trusts::Truepeer,
    };
    let mut log = std::io::stdout();
    let port = listener.local_addr().during("read an address")?.port();
    writeln!(
        log,
        "INFO Network listener started (network.listen-start) listenerId = \"{name}\", localPort = {port}"
    )
    .during("log")?;
    serve(&listener, trusts, || Ok(std::io::stdout()));
    Ok(())
}

/// Whom a header names, and whether bit 0 of its TLS facts is set.
struct Told {
    client: Option<SocketAddr>,
    secure: bool,
}

fn talk(stream: TcpStream, trusts: Trusts, mut log: impl Write) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut writer = stream.try_clone()?;
    let peer = stream.peer_addr()?;
    let mut reader = BufReader::new(stream);
    let told = match trusts {
        // Silence and a single byte are waited for; anything else that is no header ends the connection.
        Trusts::Truepeer => match header(&mut reader)? {
            Some(told) => told,
            None => return writeln!(log, "WARN invalid proxy header"),
        },
        Trusts::Nobody => Told { client: None, secure: false },
    };
    let client = told.client.unwrap_or(peer);
    writeln!(
        log,
        "connection remoteIp = {}, remotePort = {}, tls = {}",
        client.ip(),
        client.port(),
        told.secure
    )?;
    writer.write_all(b"220 stalwart.interop.test Stalwart ESMTP at your service\r\n")?;
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let command = String::from_utf8_lossy(&line).trim_end().to_ascii_uppercase();
        line.clear();
        match command.split(' ').next().unwrap_or_default() {
            "EHLO" if told.secure => writer.write_all(
                b"250-stalwart.interop.test you had me at EHLO\r\n250-AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER\r\n250 8BITMIME\r\n",
            )?,
            "EHLO" => writer.write_all(
                b"250-stalwart.interop.test you had me at EHLO\r\n250-STARTTLS\r\n250-AUTH XOAUTH2 OAUTHBEARER\r\n250 8BITMIME\r\n",
            )?,
            "QUIT" => return writer.write_all(b"221 2.0.0 Bye.\r\n"),
            _ => writer.write_all(b"500 5.5.1 Invalid command.\r\n")?,
        }
    }
    Ok(())
}

/// A header as 0.15.5 reads it; `None` where it closes.
fn header(reader: &mut impl BufRead) -> std::io::Result<Option<Told>> {
    let mut start = [0_u8; 12];
    reader.read_exact(&mut start)?;
    if &start == SIGNATURE {
        return version_2(reader);
    }
    let mut rest = Vec::new();
    reader.take(107).read_until(b'\n', &mut rest)?;
    let line = String::from_utf8_lossy(&[&start[..], &rest].concat()).into_owned();
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    Ok(match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Some(Told { client: None, secure: false }),
        ["PROXY", "TCP4" | "TCP6", from, to, port, _] => {
            // One address of each family is what NGINX may write, and it closes on that.
            match (from.parse::<IpAddr>(), to.parse::<IpAddr>(), port.parse()) {
                (Ok(from), Ok(to), Ok(port)) if from.is_ipv4() == to.is_ipv4() => {
                    Some(Told { client: Some(SocketAddr::new(from.to_canonical(), port)), secure: false })
                }
                _ => None,
            }
        }
        _ => None,
    })
}

fn version_2(reader: &mut impl Read) -> std::io::Result<Option<Told>> {
    let mut fixed = [0_u8; 4];
    reader.read_exact(&mut fixed)?;
    let [command, family, high, low] = fixed;
    let mut body = vec![0_u8; usize::from(u16::from_be_bytes([high, low]))];
    reader.read_exact(&mut body)?;
    let octets = |from: usize, len: usize| body.get(from..from.saturating_add(len));
    let port = |at: usize| octets(at, 2).and_then(|port| Some(u16::from_be_bytes(port.try_into().ok()?)));
    let (client, tlvs) = match family {
        0x11 => {
            let ip = octets(0, 4)
                .and_then(|ip| <[u8; 4]>::try_from(ip).ok())
                .map(|ip| IpAddr::from(Ipv4Addr::from(ip)));
            (ip.zip(port(8)), 12)
        }
        0x21 => {
            let ip = octets(0, 16).and_then(|ip| <[u8; 16]>::try_from(ip).ok());
            (ip.map(|ip| Ipv6Addr::from(ip).to_canonical()).zip(port(32)), 36)
        }
        _ => (None, 0),
    };
    // The first TLV of that type; LOCAL is believed just the same.
    let mut rest = body.get(tlvs..).unwrap_or_default();
    let mut secure = false;
    while let [kind, high, low, behind @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        secure |= *kind == 0x20 && behind.first().is_some_and(|flags| flags & 1 == 1);
        rest = behind.get(len..).unwrap_or_default();
    }
    let client = (command == 0x21).then_some(client).flatten().map(|(ip, port)| SocketAddr::new(ip, port));
    Ok(matches!(command, 0x20 | 0x21).then_some(Told { client, secure }))
}
