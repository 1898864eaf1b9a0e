//! Every server of the matrix, and the truepeer in front of them: started once, when the first cell is run.

use std::net::{IpAddr, SocketAddr};

use super::senders::Senders;
use super::{Cell, Content, Family, Handoff, Receiver};
use crate::feed::{Feed, Mark};
use crate::lab::Lab;
use crate::page;
use crate::port::Port;
use crate::servers::dovecot::{self, Believes, Dovecot};
use crate::servers::exim::Exim;
use crate::servers::http::WebServer;
use crate::servers::newer::Release;
use crate::servers::opensmtpd::Opensmtpd;
use crate::servers::stalwart::{Stalwart, Trusts};
use crate::servers::truepeer::{Backend, Listener, Truepeer};
use crate::space::{DOOR_V4, DOOR_V6, SENDER_V4, SENDER_V6};
use crate::verdict::{Result, Verdict, ensure, failed};

/// Dovecot's services, as their page names the ports.
const DOVECOT_PORTS: [&str; 7] = ["10143", "10993", "10110", "10995", "14190", "10587", "10024"];

/// What the names of backends end with that speak TLS from the first byte.
const WRAPPED: &str = "-tls";

/// What stands behind the proxies, in the order in which it ends.
#[derive(Debug)]
pub(crate) struct House {
    senders: Senders,
    truepeer: Truepeer,
    dovecot: Dovecot,
    dovecot_ports: Vec<Port>,
    exim: Result<(Exim, Port)>,
    opensmtpd: Result<Opensmtpd>,
    stalwart: Result<Stalwart>,
    web: WebServer,
}

/// One listener of truepeer, and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) receiver: Receiver,
    handoff: Handoff,
    pub(super) family: Family,
    /// Whether TLS begins with the connection.
    wrapped: bool,
}

impl Way {
    /// The way of a cell.
    fn of(cell: Cell) -> Self {
        let wrapped = cell.content == Content::Tls && cell.receiver.starttls().is_none();
        Self { receiver: cell.receiver, handoff: cell.handoff, family: cell.family, wrapped }
    }

    /// Whether the server greets in clear at once.
    pub(super) fn greets(self) -> bool {
        self.receiver != Receiver::Http && !self.wrapped
    }

    /// Whether a proxy of requests can take it.
    pub(super) fn carries_requests(self) -> bool {
        self.receiver == Receiver::Http && !self.wrapped
    }

    /// The backend's id.
    fn backend(self) -> String {
        let (name, _) = self.receiver.names();
        format!("{}-{}{}", name.replace('_', "-"), self.handoff, if self.wrapped { WRAPPED } else { "" })
    }

    /// The listener's id.
    pub(super) fn id(self) -> String {
        format!("{}-{}", self.backend(), if self.family == Family::V4 { 4 } else { 6 })
    }
}

impl Receiver {
    /// `protocol` and `kind`.
    const fn configured(self) -> (&'static str, &'static str) {
        match self {
            Self::Postfix => ("smtp", "postfix"),
            Self::Postscreen => ("smtp", "postscreen"),
            Self::Imap => ("imap", "dovecot"),
            Self::Pop3 => ("pop3", "dovecot"),
            Self::Sieve => ("managesieve", "dovecot"),
            Self::Submission => ("submission", "dovecot"),
            Self::Lmtp => ("lmtp", "dovecot"),
            Self::Exim => ("smtp", "exim"),
            Self::Opensmtpd => ("smtp", "opensmtpd"),
            Self::Stalwart => ("submission", "stalwart"),
            Self::Http => ("http", "nginx"),
        }
    }
}

impl House {
    /// Starts the servers and truepeer; proxies are started with the first cell of each.
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        lab.outside()?;
        let postfix = lab.postfix()?.page_ports();
        let (dovecot, dovecot_ports) = start_dovecot(lab)?;
        let exim = start_exim(lab);
        let opensmtpd = Opensmtpd::start(Release::Newer, &lab.fresh_dir("opensmtpd")?, lab.pair()?);
        if let Ok(opensmtpd) = &opensmtpd {
            lab.watch("opensmtpd", opensmtpd.log());
        }
        let stalwart = start_stalwart(lab);
        let web = WebServer::start(&lab.fresh_dir("web")?, lab.pair()?)?;
        lab.watch("web", web.log());
        let addr = |way: Way| -> Option<SocketAddr> {
            let [smtpd, wrapped, screen] = postfix;
            let dovecot = |clear: usize, tls: usize| {
                dovecot_ports.get(if way.wrapped { tls } else { clear }).map(Port::addr)
            };
            match way.receiver {
                Receiver::Postfix => Some(if way.wrapped { wrapped } else { smtpd }),
                Receiver::Postscreen => Some(screen),
                Receiver::Imap => dovecot(0, 1),
                Receiver::Pop3 => dovecot(2, 3),
                Receiver::Sieve => dovecot(4, 4),
                Receiver::Submission => dovecot(5, 5),
                Receiver::Lmtp => dovecot(6, 6),
                Receiver::Exim => exim.as_ref().ok().map(|(_, port)| port.addr()),
                Receiver::Opensmtpd => opensmtpd.as_ref().ok().map(Opensmtpd::port),
                Receiver::Stalwart => stalwart.as_ref().ok().map(Stalwart::addr),
                Receiver::Http => Some(if way.wrapped { web.tls_port() } else { web.clear_port() }),
            }
        };
        let mut ways: Vec<Way> = Vec::new();
        for cell in super::every().into_iter().filter(|cell| cell.impossible().is_none()) {
            let way = Way::of(cell);
            if !ways.contains(&way) && addr(way).is_some() {
                ways.push(way);
            }
        }
        let truepeer = start_truepeer(lab, &ways, addr)?;
        let senders = Senders::new(ways);
        Ok(Self { senders, truepeer, dovecot, dovecot_ports, exim, opensmtpd, stalwart, web })
    }

    /// The program under test.
    pub(super) fn truepeer(&self) -> &Truepeer {
        &self.truepeer
    }

    /// Where the proxy of a cell listens.
    pub(super) fn door(&self, lab: &Lab, cell: Cell) -> Result<SocketAddr> {
        match cell.receiver {
            Receiver::Exim => self.exim.as_ref().map(|_| ()).map_err(Clone::clone)?,
            Receiver::Opensmtpd => self.opensmtpd.as_ref().map(|_| ()).map_err(Clone::clone)?,
            Receiver::Stalwart => self.stalwart.as_ref().map(|_| ()).map_err(Clone::clone)?,
            _ => {}
        }
        self.senders.door(lab, &self.truepeer, cell.sender, Way::of(cell))
    }

    /// Dovecot's port for IMAP that reads a header.
    pub(crate) fn imap(&self) -> Result<SocketAddr> {
        self.dovecot_port(0)
    }

    /// Dovecot's port for LMTP that reads a header.
    pub(crate) fn lmtp(&self) -> Result<SocketAddr> {
        self.dovecot_port(6)
    }

    /// truepeer's listener in front of postscreen, for a proxy at [`SENDER_V4`].
    pub(crate) fn screen_door(&self) -> Result<SocketAddr> {
        self.truepeer.port("postscreen-v2-4")
    }

    fn dovecot_port(&self, at: usize) -> Result<SocketAddr> {
        match self.dovecot_ports.get(at) {
            Some(port) => Ok(port.addr()),
            None => failed("Dovecot has fewer ports"),
        }
    }

    /// The end of what the server has logged so far.
    pub(super) fn mark(&self, lab: &Lab, receiver: Receiver) -> Result<Mark> {
        Ok(self.log(lab, receiver)?.mark())
    }

    /// Whether the server has seen `client`: by its log, or by what it replied.
    pub(super) fn witnesses(
        &self,
        lab: &Lab,
        cell: Cell,
        mark: Mark,
        client: SocketAddr,
        heard: &str,
    ) -> Result {
        let log = self.log(lab, cell.receiver)?;
        let (name, _) = cell.receiver.names();
        let ip = client.ip();
        let logged = |begin: &str, words: String| {
            let what = format!("{name} logs `{words}`");
            // Port 4711 is not the beginning of 47110.
            let ends = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_digit());
            let is_it = |line: &str| {
                line.contains(begin) && line.split_once(&words).is_some_and(|(_, rest)| ends(rest))
            };
            log.wait_line(mark, &what, is_it).map(|_| ())
        };
        let replied = |words: String| {
            ensure(heard.contains(&words), || format!("{name} does not say `{words}`: {heard}"))
        };
        match cell.receiver {
            Receiver::Postfix => {
                logged("page/smtpd[", format!("]: connect from unknown[{ip}]:{}", client.port()))
            }
            Receiver::Postscreen => {
                logged("page/postscreen[", format!("]: CONNECT from [{ip}]:{}", client.port()))
            }
            Receiver::Imap => logged("imap-login", dovecot::words(client)),
            Receiver::Pop3 => logged("pop3-login", dovecot::words(client)),
            Receiver::Sieve => logged("managesieve-login", dovecot::words(client)),
            Receiver::Submission => logged("submission-login", dovecot::words(client)),
            // Its line has no port.
            Receiver::Lmtp => logged("lmtp(", format!("Connect from {ip}")),
            Receiver::Exim | Receiver::Opensmtpd => replied(format!("[{ip}]")),
            Receiver::Stalwart => logged("", format!("remoteIp = {ip}, remotePort = {}", client.port())),
            Receiver::Http if cell.sender.passes_bytes() => {
                replied(format!("you are {ip} port {}\n", client.port()))
            }
            Receiver::Http => replied(format!("you are {ip} port ")),
        }
    }

    fn log<'a>(&'a self, lab: &'a Lab, receiver: Receiver) -> Result<&'a Feed> {
        Ok(match receiver {
            Receiver::Postfix | Receiver::Postscreen => lab.postfix()?.log(),
            Receiver::Exim => self.exim.as_ref().map_err(Clone::clone)?.0.log(),
            Receiver::Opensmtpd => self.opensmtpd.as_ref().map_err(Clone::clone)?.log(),
            Receiver::Stalwart => self.stalwart.as_ref().map_err(Clone::clone)?.log(),
            Receiver::Http => self.web.log(),
            _ => self.dovecot.log(),
        })
    }
}

fn start_dovecot(lab: &Lab) -> Result<(Dovecot, Vec<Port>)> {
    const PAGE: &str = include_str!("../../../../docs/neighbours/dovecot.md");
    let mut lines = page::block(PAGE, "", "dovecot")?;
    let mut ports = Vec::new();
    for number in DOVECOT_PORTS {
        let port = Port::free(IpAddr::V4(core::net::Ipv4Addr::LOCALHOST))?;
        lines = lines.replace(&format!("port = {number}"), &format!("port = {}", port.addr().port()));
        ports.push(port);
    }
    let lines =
        format!("protocols = imap pop3 lmtp sieve submission\nsubmission_relay_host = 127.0.0.1\n{lines}");
    let dovecot = Dovecot::start_with(
        &lab.fresh_dir("dovecot-of-the-matrix")?,
        lab.pair()?,
        Believes::Nobody,
        "127.0.0.1",
        &lines,
    )?;
    lab.watch("dovecot", dovecot.log());
    Ok((dovecot, ports))
}

/// A real one alone: what was recorded is no evidence.
fn start_stalwart(lab: &Lab) -> Result<Stalwart> {
    if std::env::var_os("STALWART").is_none() {
        return Err(Verdict::Skipped("STALWART names no program".to_owned()));
    }
    let stalwart = Stalwart::start(&lab.fresh_dir("stalwart")?, Trusts::Truepeer)?;
    lab.watch("stalwart", stalwart.log());
    Ok(stalwart)
}

fn start_exim(lab: &Lab) -> Result<(Exim, Port)> {
    let port = Port::free(IpAddr::V4(core::net::Ipv4Addr::LOCALHOST))?;
    let exim = Exim::start_by_page(&lab.fresh_dir("exim")?, &port, lab.pair()?)?;
    lab.watch("exim", exim.log());
    Ok((exim, port))
}

fn start_truepeer(lab: &Lab, ways: &[Way], addr: impl Fn(Way) -> Option<SocketAddr>) -> Result<Truepeer> {
    let trusted = format!("proxy.trusted-networks = [\"{SENDER_V4}\", \"{SENDER_V6}\"]\n");
    let wrapped = format!("{trusted}tls.implicit = true\n");
    let names: Vec<(String, String)> = ways.iter().map(|way| (way.id(), way.backend())).collect();
    let mut listeners = Vec::new();
    let mut backends: Vec<Backend<'_>> = Vec::new();
    for (way, (id, backend)) in ways.iter().zip(&names) {
        let (protocol, kind) = way.receiver.configured();
        let ip = match way.family {
            Family::V4 => IpAddr::V4(DOOR_V4),
            Family::V6 => IpAddr::V6(DOOR_V6),
        };
        let lines = if way.wrapped { &wrapped } else { &trusted };
        listeners.push(Listener { id, ip, protocol, backend, lines });
        let Some(addr) = addr(*way) else { return failed(format!("{backend} is nowhere")) };
        let handoff = (way.handoff == Handoff::V1).then_some("proxy-v1");
        if !backends.iter().any(|known| known.id == backend) {
            backends.push(Backend { id: backend, kind, handoff, addr });
        }
    }
    let truepeer = lab.start_truepeer("truepeer-of-the-matrix", &listeners, &backends)?;
    // Nobody asks anything behind TLS.
    for backend in backends.iter().filter(|backend| !backend.id.ends_with(WRAPPED)) {
        let id = format!("\"{}\"", backend.id);
        truepeer.wait_event(Mark::default(), "backend_proved", &id)?;
    }
    Ok(truepeer)
}
