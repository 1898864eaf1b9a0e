//! A front door in this process, and a backend that tells what it was told.

#![allow(unreachable_pub, reason = "shared by the test files")]
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub mod cgroup;
pub mod exchange;
pub mod exec;
pub mod fake;
pub mod namespace;
pub mod shapes;
pub mod shown;
pub mod space;
pub mod store;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use truepeer::{HeaderRules, TrustPolicy, UnixPeers, Unlisted};
use truepeer_gateway::config::{self, Config, Listener, ServerSettings, Surroundings, WhenBackendDown};
use truepeer_gateway::facts::bind::{Bind, Families};
use truepeer_gateway::facts::lines::{ConnectionLines, LogFormat};
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::{ClientTls, OwnConnections, Protocol};
use truepeer_gateway::observe::log::{Log, RefusalLines, Writer};
use truepeer_gateway::observe::metrics::Format;
use truepeer_gateway::rooms::access::{AccessRules, InsecureClients};
use truepeer_gateway::rooms::backend::{Backend, BackendAddress, Check, Readiness};
use truepeer_gateway::rooms::handoff::kind::Kind;
use truepeer_gateway::rooms::handoff::{Handoff, LabelSettings, OwnTlvs, TlvChoice};
use truepeer_gateway::rooms::identify::{ImplausibleClients, MissingHeader};
use truepeer_gateway::rooms::limits::Policy;
use truepeer_gateway::server::{Drained, Server};

/// Nothing in a test takes longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often accepting has paused.
pub const ACCEPT_PAUSES: &str = "truepeer_accept_pauses_total{listener=\"door\"}";

/// What a test wants to differ from the ordinary.
pub struct Plan {
    pub protocol: Protocol,
    pub kind: Kind,
    pub handoff: Handoff,
    pub addresses: Vec<BackendAddress>,
    pub binds: Vec<Bind>,
    pub trusted: Vec<&'static str>,
    pub unix: UnixPeers,
    pub unlisted: Unlisted,
    pub own: OwnConnections,
    pub hops: Vec<&'static str>,
    pub nat64: Arc<[truepeer::Nat64Prefix]>,
    pub implausible: ImplausibleClients,
    pub tls: ClientTls,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    pub connect_timeout: Duration,
    /// How long each answer may take when the backend is proved.
    pub proof_timeout: Duration,
    pub label: LabelSettings,
    pub label_pins: Option<std::path::PathBuf>,
    pub check: Option<Check>,
    pub max_connections: Option<u32>,
    pub max_pending: u32,
    pub drain_timeout: Duration,
    pub header: HeaderRules,
    pub format: LogFormat,
}

impl Plan {
    /// One listener of `protocol` on loopback that trusts 127.0.0.1, in front of `backend`.
    pub fn new(protocol: Protocol, handoff: Handoff, backend: SocketAddr) -> Self {
        Self {
            protocol,
            kind: Kind::Other,
            handoff,
            addresses: vec![BackendAddress::Socket(backend)],
            binds: vec![Bind::Tcp { addr: ([127, 0, 0, 1], 0).into(), families: Families::Own }],
            trusted: vec!["127.0.0.1/32", "::1/128"],
            unix: UnixPeers::Refuse,
            unlisted: Unlisted::Direct,
            own: protocol.own_connections(),
            hops: Vec::new(),
            nat64: Arc::default(),
            implausible: ImplausibleClients::Refuse,
            tls: ClientTls::None,
            header_timeout: Duration::from_secs(3),
            idle_timeout: protocol.idle_timeout(),
            connect_timeout: Duration::from_secs(5),
            proof_timeout: Duration::from_secs(10),
            label: LabelSettings::default(),
            label_pins: None,
            check: None,
            max_connections: Some(500),
            max_pending: 500,
            drain_timeout: Duration::from_secs(10),
            header: HeaderRules::default(),
            format: LogFormat::Text,
        }
    }

    /// The configuration that it amounts to.
    pub fn config(self) -> Config {
        let backend = Arc::new(Backend {
            id: "b".into(),
            kind: self.kind,
            handoff: self.handoff,
            tlvs: TlvChoice::Kind,
            own_tlvs: OwnTlvs::default(),
            addresses: self.addresses,
            ports: 1,
            connect_timeout: self.connect_timeout,
            proof_timeout: self.proof_timeout,
            label: self.label,
            check: self.check,
        });
        let trusted = self.trusted.iter().map(|network| network.parse().unwrap()).collect();
        let listener = Listener {
            id: "door".into(),
            binds: self.binds,
            ranges: Vec::new(),
            health_binds: Vec::new(),
            protocol: self.protocol,
            backend: Arc::clone(&backend),
            backend_when_secure: None,
            when_backend_down: WhenBackendDown::Answer,
            insecure: InsecureClients::Admit,
            refusal_text: None,
            tls: self.tls,
            trust: TrustPolicy::new(trusted, self.unix, self.unlisted),
            header: self.header,
            trusted_lines: Vec::new(),
            trusted_names: Vec::new(),
            header_timeout: self.header_timeout,
            own: self.own,
            missing: MissingHeader::Refuse,
            hops: self.hops.iter().map(|hop| hop.parse().unwrap()).collect(),
            nat64: Arc::clone(&self.nat64),
            implausible: self.implausible,
            idle_timeout: self.idle_timeout,
            access: AccessRules::default(),
            limits: Policy::default_for(self.protocol),
            lines: ConnectionLines::End,
        };
        Config {
            server: ServerSettings {
                hostname: "mx.example".to_owned(),
                max_connections: self.max_connections,
                max_pending: self.max_pending,
                max_clients: 1000,
                names_refresh: Duration::from_secs(10),
                label_pins: self.label_pins,
                drain_timeout: self.drain_timeout,
                upgrade_drain_timeout: Duration::from_secs(60),
            },
            listeners: vec![Arc::new(listener)],
            backends: vec![backend],
            log: truepeer_gateway::facts::lines::LogSettings {
                format: self.format,
                ..truepeer_gateway::facts::lines::LogSettings::default()
            },
            admin: config::Admin::default(),
            status: config::Status::default(),
            shared: None,
            advice: Vec::new(),
        }
    }

    /// Starts it.
    pub fn start(self) -> House {
        House::start(&self.config())
    }
}

/// One configuration with a listener and a backend of each name.
pub fn together(plans: impl IntoIterator<Item = (&'static str, Plan)>) -> Config {
    let mut all: Option<Config> = None;
    for (name, plan) in plans {
        let mut config = plan.config();
        let backend = Backend { id: name.into(), ..(*config.backends[0]).clone() };
        let listener = Listener { id: name.into(), ..(*config.listeners[0]).clone() };
        let backend = Arc::new(backend);
        let listener = Arc::new(Listener { backend: Arc::clone(&backend), ..listener });
        match &mut all {
            Some(all) => {
                all.backends.push(backend);
                all.listeners.push(listener);
            }
            None => {
                config.backends = vec![backend];
                config.listeners = vec![listener];
                all = Some(config);
            }
        }
    }
    all.unwrap()
}

/// The configuration of [`House::written`].
pub fn written(protocol: Protocol, backend: SocketAddr, more: &str) -> Config {
    let text = format!(
        "[server]\nhostname = \"mx.example\"\nmax-connections = 500\nproxy.max-pending = 500\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.b]\nhandoff = \"proxy-v1\"\naddress = \"{backend}\"\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"{protocol}\"\nbackend = \"b\"\n{more}"
    );
    config::resolve(&text, "test.toml", &Surroundings::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The same with another way to ask the only backend.
pub fn checked(config: Config, check: Check) -> Config {
    let backend = Arc::new(Backend { check: Some(check), ..(*config.backends[0]).clone() });
    let listener = Listener { backend: Arc::clone(&backend), ..(*config.listeners[0]).clone() };
    Config { backends: vec![backend], listeners: vec![Arc::new(listener)], ..config }
}

/// A running front door.
pub struct House {
    pub server: Server,
    pub records: Receiver<String>,
    writer: Writer,
}

impl House {
    pub fn start(config: &Config) -> Self {
        let (lines, records) = sync_channel(4096);
        let (log, writer) =
            Log::start(config.log.format, RefusalLines::Fold, Lines { lines, partial: Vec::new() }).unwrap();
        let server = Server::start(config, &log).unwrap();
        Self { server, records, writer }
    }

    /// Drains, and returns every record that was not taken yet.
    pub fn drain(self) -> (Drained, Vec<Record>) {
        let Self { server, records, writer } = self;
        let drained = server.drain();
        drop(writer);
        (drained, records.try_iter().map(Record).collect())
    }

    /// Cuts whatever is open, and returns every record that was not taken yet.
    pub fn finish(self) -> Vec<Record> {
        let Self { server, records, writer } = self;
        drop(server);
        drop(writer);
        records.try_iter().map(Record).collect()
    }

    /// What is known of the only address of the only backend.
    pub fn readiness(&self) -> Arc<Readiness> {
        self.server.pools()[0].targets()[0].readiness()
    }

    /// The value of one series of the metrics.
    #[track_caller]
    pub fn counted(&self, series: &str) -> u64 {
        let text = self.server.view().metrics(Format::OpenMetrics);
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
    }

    /// Waits until exactly so many connections are open.
    #[track_caller]
    pub fn wait_for_open(&self, connections: u32) {
        let open = || self.server.open_connections();
        assert!(eventually(|| open() == connections), "{} are open, not {connections}", open());
    }

    /// A front door as its file says it: a listener `door` of `protocol` that trusts 127.0.0.1, in front of
    /// `backend`, and `more` lines behind that.
    pub fn written(protocol: Protocol, backend: SocketAddr, more: &str) -> Self {
        Self::start(&written(protocol, backend, more))
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address("door").unwrap()
    }

    /// Connects from 127.0.0.1, which is trusted in an ordinary plan.
    pub fn connect(&self) -> TcpStream {
        self.connect_from([127, 0, 0, 1].into())
    }

    pub fn connect_from(&self, from: IpAddr) -> TcpStream {
        connect_from(from, self.address())
    }

    /// The next line, a record or that of a start.
    pub fn line(&self) -> String {
        self.records.recv_timeout(PATIENCE).expect("a line within the patience")
    }

    /// The next record.
    pub fn record(&self) -> Record {
        loop {
            let line = self.line();
            if !line.contains("event=connected") && !line.contains("\"event\":\"connected\"") {
                return Record(line);
            }
        }
    }
}

/// A connection from one address of this machine to another.
pub fn connect_from(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect_timeout(&to.into(), PATIENCE).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whether `condition` becomes true within the patience.
pub fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !condition() {
        if started.elapsed() > PATIENCE {
            return false;
        }
        // Looks again a thousand times a second, and leaves the processor to what it waits for.
        std::thread::park_timeout(Duration::from_millis(1));
    }
    true
}

/// One record line in text form.
#[derive(Debug)]
pub struct Record(pub String);

impl Record {
    /// A field's value, without quotes.
    pub fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self.0.split_once(&format!(" {key}="))?;
        match value.strip_prefix('"') {
            Some(quoted) => Some(quoted.split("\" ").next()?.trim_end_matches('"')),
            None => value.split(' ').next(),
        }
    }

    #[track_caller]
    pub fn assert_outcome(&self, outcome: Outcome) {
        self.assert(&[("outcome", outcome.facts().code)]);
    }

    #[track_caller]
    pub fn assert(&self, fields: &[(&str, &str)]) {
        for (key, value) in fields {
            assert_eq!(self.get(key), Some(*value), "{key} in {}", self.0);
        }
    }
}

struct Lines {
    lines: SyncSender<String>,
    partial: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for byte in bytes {
            if *byte == b'\n' {
                let line = String::from_utf8(std::mem::take(&mut self.partial)).unwrap();
                let _ = self.lines.try_send(line);
            } else {
                self.partial.push(*byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A mail server that reads a v1 line, greets, answers lines, and tells what it heard.
///
/// Written without our codec: what it reports is what came over the wire.
pub struct HeaderMailServer {
    pub address: SocketAddr,
    heard: Receiver<(String, Vec<u8>)>,
}

impl HeaderMailServer {
    pub fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (tell, heard) = sync_channel(4096);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let tell = tell.clone();
                std::thread::spawn(move || serve(stream, &tell));
            }
        });
        Self { address, heard }
    }

    /// The header line and the client's bytes of the next connection that was not the front door's own question.
    pub fn heard(&self) -> (String, Vec<u8>) {
        loop {
            let (header, bytes) =
                self.heard.recv_timeout(PATIENCE).expect("a connection within the patience");
            if bytes != b"QUIT\r\n" || !header.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 ") {
                return (header, bytes);
            }
        }
    }

    /// Whether a connection reached it that was not the front door's own question.
    pub fn was_reached(&self) -> bool {
        self.heard.try_iter().any(|(_, bytes)| bytes != b"QUIT\r\n")
    }
}

fn serve(stream: TcpStream, tell: &SyncSender<(String, Vec<u8>)>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    let mut header = String::new();
    if reader.read_line(&mut header).is_err() || !header.starts_with("PROXY ") {
        return;
    }
    if writer.write_all(b"220 backend ready\r\n").is_err() {
        return;
    }
    let mut heard = Vec::new();
    loop {
        let before = heard.len();
        match reader.read_until(b'\n', &mut heard) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let quit = heard.get(before..).is_some_and(|line| line == b"QUIT\r\n");
        let answer: &[u8] = if quit { b"221 bye\r\n" } else { b"250 ok\r\n" };
        if writer.write_all(answer).is_err() || quit {
            break;
        }
    }
    // Where nobody asks, no more than fits is kept, and no connection stays open for it.
    let _ = tell.try_send((header.trim_end().to_owned(), heard));
}

/// Everything until the other end closes; a reset ends it as well.
#[track_caller]
pub fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        let waits = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!waits, "still open after the patience, and said {}", bytes.escape_ascii());
    }
    bytes
}

/// Exactly this comes next.
#[track_caller]
pub fn expect(mut stream: &TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, bytes, "{}", got.escape_ascii());
}
