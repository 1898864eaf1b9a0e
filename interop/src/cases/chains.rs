//! Real proxies in front, real servers behind: every sender with every server, over both families, from clients
//! on loopback and from outside.
//!
//! Called by `cases`; the lab keeps the proxies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Case, hello};
use crate::client::{Client, Place};
use crate::lab::{Lab, Shared};
use crate::port::Port;
use crate::servers::Front;
use crate::servers::dovecot::{self, PASSWORD};
use crate::servers::haproxy::{Frontend, Haproxy};
use crate::servers::nginx::{Chained, Nginx, StreamServer};
use crate::space::{GATE_V4, GATE_V6, OUTSIDE_V4, OUTSIDE_V6};
use crate::verdict::{Result, ensure, failed};

/// What stands in front and how it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    HaproxyV1,
    HaproxyV2,
    /// `send-proxy-v2-ssl` where HAProxy ends TLS.
    HaproxyTls,
    /// `send-proxy-v2-ssl` on a port in clear: the TLV is there and says that there is no TLS.
    HaproxySslInClear,
    NginxV1,
}

/// What stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Smtp,
    Imap,
}

/// Where the clients come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// 127.x.y.z to 127.0.0.1.
    Here4,
    /// ::1 to ::1.
    Here6,
    /// An IPv4 client in the namespace outside.
    Outside4,
    /// An IPv6 client there.
    Outside6,
}

/// The proxies that all chains share.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    haproxy: Shared<Running<Haproxy>>,
    nginx: Shared<Running<Nginx>>,
}

#[derive(Debug)]
struct Running<T> {
    _program: T,
    ports: Vec<(Sender, Service, Gate, Port)>,
}

const HAPROXIES: [Sender; 4] =
    [Sender::HaproxyV1, Sender::HaproxyV2, Sender::HaproxyTls, Sender::HaproxySslInClear];
const SERVICES: [Service; 2] = [Service::Smtp, Service::Imap];
const GATES: [Gate; 4] = [Gate::Here4, Gate::Here6, Gate::Outside4, Gate::Outside6];

impl Chains {
    /// Where clients of this chain connect to.
    pub(crate) fn port(lab: &Lab, sender: Sender, service: Service, gate: Gate) -> Result<SocketAddr> {
        let ports = match sender {
            Sender::NginxV1 => &lab.chains.nginx.get(|| start_nginx(lab))?.ports,
            _ => &lab.chains.haproxy.get(|| start_haproxy(lab))?.ports,
        };
        let wanted = (sender, service, gate);
        match ports.iter().find(|(sender, service, gate, _)| (*sender, *service, *gate) == wanted) {
            Some((.., port)) => Ok(port.addr()),
            None => failed(format!("there is no chain {wanted:?}")),
        }
    }
}

impl Sender {
    fn name(self) -> &'static str {
        match self {
            Self::HaproxyV1 => "haproxy_v1",
            Self::HaproxyV2 => "haproxy_v2",
            Self::HaproxyTls => "haproxy_v2_ssl_behind_tls",
            Self::HaproxySslInClear => "haproxy_v2_ssl_in_clear",
            Self::NginxV1 => "nginx_v1",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::HaproxyV1 => "send-proxy",
            Self::HaproxyV2 => "send-proxy-v2",
            _ => "send-proxy-v2-ssl",
        }
    }
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
        }
    }

    fn server(self) -> &'static str {
        match self {
            Self::Smtp => "postfix",
            Self::Imap => "dovecot",
        }
    }
}

impl Gate {
    fn name(self) -> &'static str {
        match self {
            Self::Here4 => "ipv4",
            Self::Here6 => "ipv6",
            Self::Outside4 => "ipv4_from_outside",
            Self::Outside6 => "ipv6_from_outside",
        }
    }

    fn ip(self) -> IpAddr {
        match self {
            Self::Here4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::Here6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
            Self::Outside4 => IpAddr::V4(GATE_V4),
            Self::Outside6 => IpAddr::V6(GATE_V6),
        }
    }

    /// The family of truepeer's listener, as its id tells it. The clients' family ends at the proxy: those of
    /// IPv6 outside are handed on over IPv4, and the header must still tell their address.
    fn family(self) -> &'static str {
        if self == Self::Here6 { "6" } else { "4" }
    }

    /// A client that comes in here.
    pub(crate) fn place(self, lab: &Lab) -> Result<Place<'_>> {
        Ok(match self {
            Self::Here4 => Place::Here(lab.fresh_source()),
            Self::Here6 => {
                lab.ipv6()?;
                Place::Here(IpAddr::V6(Ipv6Addr::LOCALHOST))
            }
            Self::Outside4 => Place::Outside(lab.outside()?, IpAddr::V4(OUTSIDE_V4)),
            Self::Outside6 => Place::Outside(lab.outside()?, IpAddr::V6(OUTSIDE_V6)),
        })
    }

    fn exists(self, lab: &Lab) -> bool {
        self.place(lab).is_ok()
    }
}

/// One case per sender, server and gate.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for sender in HAPROXIES.into_iter().chain([Sender::NginxV1]) {
        for service in SERVICES {
            for gate in GATES {
                let name =
                    format!("{}_to_{}_tells_the_client_{}", sender.name(), service.server(), gate.name());
                let run = move |lab: &Lab| run(lab, sender, service, gate);
                cases.push(Case { name, run: Box::new(run) });
            }
        }
    }
    cases
}

fn run(lab: &Lab, sender: Sender, service: Service, gate: Gate) -> Result {
    let place = gate.place(lab)?;
    let truepeer = lab.truepeer()?;
    let port = Chains::port(lab, sender, service, gate)?;
    let (before, mark) = (server_log(lab, service)?.mark(), truepeer.log().mark());
    let mut client = match sender {
        Sender::HaproxyTls => Client::dial_tls(place, port)?,
        _ => Client::dial(place, port)?,
    };
    let addr = client.addr();
    match service {
        Service::Smtp => {
            hello(&mut client)?;
            lab.postfix()?.wait_connect(before, addr)?;
        }
        Service::Imap => {
            log_in(&mut client, secrecy(sender, gate))?;
            let from = dovecot::words(addr);
            let line =
                server_log(lab, service)?
                    .wait_line(before, &format!("Dovecot logs `{from}`"), |line| line.contains(&from))?;
            let secured = line.contains("secured") || line.contains("TLS");
            ensure(secrecy(sender, gate).is_none_or(|is_tls| is_tls == secured), || {
                format!("Dovecot must take the session as TLS exactly when the header says so: {line}")
            })?;
        }
    }
    drop(client);
    let record = truepeer.record_of(mark, addr)?;
    let peer = if gate == Gate::Here6 { Gate::Here6.ip() } else { Gate::Here4.ip() };
    ensure(record.is_from("peer", peer), || {
        format!("the record's peer is not the proxy {peer}: {record:?}")
    })?;
    let listener = format!("{}{}", service.name(), gate.family());
    ensure(record.text("listener") == listener, || format!("the record's listener: {record:?}"))?;
    ensure(record.text("backend").contains(service.server()), || format!("the record's backend: {record:?}"))
}

/// Must Dovecot take the session as TLS, must it not, or is that its own affair? Where client and proxy share an
/// address, Dovecot 2.4 counts the session as local and therefore as secured.
fn secrecy(sender: Sender, gate: Gate) -> Option<bool> {
    match (sender, gate) {
        (Sender::HaproxyTls, _) => Some(true),
        (_, Gate::Here6) => None,
        _ => Some(false),
    }
}

/// Dovecot takes a password in clear only in a session that it counts as TLS.
fn log_in(client: &mut Client, secrecy: Option<bool>) -> Result {
    let greeting = client.line("Dovecot's greeting")?;
    ensure(greeting.starts_with("* OK"), || format!("expected `* OK`, got `{greeting}`"))?;
    let answer = client.imap("a1", &format!("LOGIN someone {PASSWORD}"))?;
    if let Some(is_tls) = secrecy {
        ensure(greeting.contains("LOGINDISABLED") != is_tls, || {
            format!("is TLS: {is_tls}, greeting `{greeting}`")
        })?;
        let expected = if is_tls { "a1 OK" } else { "a1 NO [PRIVACYREQUIRED]" };
        ensure(answer.lines().any(|line| line.starts_with(expected)), || {
            format!("expected `{expected}`, got `{answer}`")
        })?;
    }
    client.imap("a2", "LOGOUT").map(|_| ())
}

fn server_log(lab: &Lab, service: Service) -> Result<&crate::feed::Feed> {
    Ok(match service {
        Service::Smtp => lab.postfix()?.log(),
        Service::Imap => lab.dovecot()?.log(),
    })
}

/// Every combination that this machine has a gate for, with a port each.
fn fronts(lab: &Lab, senders: &[Sender]) -> Result<Vec<(Sender, Service, Gate, Port)>> {
    let mut fronts = Vec::new();
    for sender in senders {
        for service in SERVICES {
            for gate in GATES.into_iter().filter(|gate| gate.exists(lab)) {
                fronts.push((*sender, service, gate, Port::free(gate.ip())?));
            }
        }
    }
    Ok(fronts)
}

fn front(lab: &Lab, service: Service, gate: Gate, port: &Port) -> Result<Front> {
    let to = lab.truepeer()?.port(&format!("{}{}", service.name(), gate.family()))?;
    Ok(Front { listen: port.addr(), to })
}

fn start_haproxy(lab: &Lab) -> Result<Running<Haproxy>> {
    let ports = fronts(lab, &HAPROXIES)?;
    let mut frontends = Vec::new();
    for (sender, service, gate, port) in &ports {
        let bind = match sender {
            Sender::HaproxyTls => format!("ssl crt {}", lab.pair()?.display()),
            _ => String::new(),
        };
        frontends.push(Frontend {
            name: format!("{}-{}-{}", sender.name(), service.name(), gate.name()),
            front: front(lab, *service, *gate, port)?,
            bind,
            server: sender.words().to_owned(),
            lines: String::new(),
        });
    }
    let program = Haproxy::start(&lab.fresh_dir("haproxy")?, &frontends)?;
    lab.watch("haproxy", program.log());
    Ok(Running { _program: program, ports })
}

fn start_nginx(lab: &Lab) -> Result<Running<Nginx>> {
    let ports = fronts(lab, &[Sender::NginxV1])?;
    let mut servers = Vec::new();
    for (_, service, gate, port) in &ports {
        servers.push(StreamServer { front: front(lab, *service, *gate, port)?, chained: Chained::First });
    }
    let program = Nginx::start(&lab.fresh_dir("nginx")?, &servers)?;
    lab.watch("nginx", program.log());
    Ok(Running { _program: program, ports })
}
