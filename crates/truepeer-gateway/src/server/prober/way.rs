//! The question to a backend whose socket is to see the client: is there a way there, and one back, and does it?
//!
//! A connection as a client with an address of documentation, which nobody has. It is left with a goodbye where there is
//! one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use truepeer::{ClientIdentity, PeerAddress};

use super::{Asked, Leave, Still, unreached};
use crate::engine::label::Lack;
use crate::engine::published::{container_behind, is_own};
use crate::engine::transparent::{Need, lacking, nobody, way_round};
use crate::engine::{Address, DialError, Socket, dial};
use crate::facts::program::SocketLabel;
use crate::rooms::backend::{Pool, Readiness, Unready};
use crate::rooms::handoff::{ConnectAs, Introduction, Names, behind_a_proxy};

/// How long an address of this very host may be silent to a client's: it answers at once, or its answers go elsewhere.
/// Longer than the kernel takes to ask a second time, and so short that the start tells what is missing.
const OWN_SILENCE: Duration = Duration::from_millis(1_500);

/// Asks `address`.
pub(super) async fn ask(pool: &Pool, address: &Address) -> Asked<Readiness> {
    let Some((introduction, backend)) = introduction(pool, address) else { return (unreachable(), None) };
    if let Some(container) = container_behind(backend) {
        return (refused(behind_a_proxy(backend, container)), None);
    }
    if let ConnectAs::Labelled(_) = introduction.source
        && let Err(lack) = pool.labels().prepare(backend, &pool.backend.label)
    {
        return (lacks(pool, address, &lack).await, None);
    }
    let error = match connect(pool, address, &introduction).await {
        Ok(socket) => return (Readiness::Proved, Some(Leave(socket))),
        Err(error) => error,
    };
    let ip = ip_of(address);
    let readiness = match (error, introduction.source) {
        (error @ DialError::NotShown(_), _) => {
            refused(format!("{error}; {}", pool.labels().diagnose(backend, &pool.backend.label)))
        }
        (error @ DialError::NotPermitted(_), _) => refused(with_commands(ip, &error.to_string())),
        (error @ (DialError::Timeout(_) | DialError::Connect(_)), ConnectAs::Client(_)) if !is_own(ip) => {
            match dial(address, &[], pool.backend.connect_timeout).await {
                Ok(_) => refused(with_way_round(backend, &error)),
                Err(error) => unreached(&error),
            }
        }
        // Silence is the backend's only if it is silent to us as well.
        (DialError::Timeout(_), ConnectAs::Client(_)) => {
            match dial(address, &[], pool.backend.connect_timeout).await {
                Ok(_) => refused(with_commands(
                    ip,
                    "its answers to a client's address do not come back to this host",
                )),
                Err(error) if lacking(ip).contains(&Need::Reflect) => {
                    refused(with_commands(ip, &format!("it does not answer a client's address ({error})")))
                }
                Err(error) => unreached(&error),
            }
        }
        (error, _) => unreached(&error),
    };
    (readiness, None)
}

/// Whether connections that are given to a program can be made to say their client. Not the program is asked, but this
/// host.
pub(super) fn ask_for_program(pool: &Pool) -> Readiness {
    let wanted = pool.backend.exec().map_or(SocketLabel::Never, |exec| exec.label);
    let lack = match wanted {
        SocketLabel::Never => None,
        SocketLabel::IfPossible | SocketLabel::Required => pool.labels().prepare_own().err(),
    };
    match (lack, wanted) {
        (Some(lack), SocketLabel::Required) => refused(format!("{lack}; {}", lack.change())),
        (Some(lack), _) => {
            pool.note_unlabelled(&format!("{lack}; {}", lack.change()));
            Readiness::Unproven
        }
        (None, _) => Readiness::Unproven,
    }
}

/// Whether it is still reached.
pub(super) async fn still_serves(pool: &Pool, address: &Address) -> Asked<Still> {
    let Some((introduction, _)) = introduction(pool, address) else { return (Still::Differs, None) };
    match connect(pool, address, &introduction).await {
        Ok(socket) => (Still::Serves, Some(Leave(socket))),
        Err(_) => (Still::Differs, None),
    }
}

async fn connect(pool: &Pool, address: &Address, who: &Introduction) -> Result<Socket, DialError> {
    let dialled = pool.dial(who, address, &[]);
    if !(matches!(who.source, ConnectAs::Client(_)) && is_own(ip_of(address))) {
        return Ok(dialled.await?.socket);
    }
    let in_time = tokio::time::timeout(OWN_SILENCE, dialled).await;
    Ok(in_time.map_err(|_| DialError::Timeout(OWN_SILENCE))??.socket)
}

/// As whom it is asked, and where.
fn introduction(pool: &Pool, address: &Address) -> Option<(Introduction, SocketAddr)> {
    let Address::Tcp(backend) = address else { return None };
    let nobody = PeerAddress::tcp(SocketAddr::new(nobody(backend.ip().to_canonical()), 0));
    let identity = ClientIdentity::direct(nobody, Some(*backend))?;
    Some((pool.introduce(&identity, Some(*backend), Names::default()).ok()?, *backend))
}

/// What is missing for a label. Nobody who listens means little where nobody is reached either.
async fn lacks(pool: &Pool, address: &Address, lack: &Lack) -> Readiness {
    if let Lack::NobodyListens { .. } = lack
        && let Err(error) = dial(address, &[], pool.backend.connect_timeout).await
    {
        return unreached(&error);
    }
    refused(format!("{lack}; {}", lack.change()))
}

fn refused(saw: String) -> Readiness {
    Readiness::Unready(Unready::RefusesHandoff { saw })
}

/// What was seen of a backend with an address of its own, and what this host needs for it.
fn with_way_round(backend: SocketAddr, error: &DialError) -> String {
    let route = lacking(backend.ip()).into_iter().filter(|need| *need == Need::Route);
    let route = route.map(|need| need.command(backend.ip()).to_owned());
    let commands: Vec<_> =
        way_round(backend).into_iter().chain(route).map(|line| format!("`{line}`")).collect();
    format!(
        "it answers this host, and not a client's address ({error}); its address is not this host's (a container, another machine), so this host needs {}, and its answers must come through here",
        commands.join(", ")
    )
}

/// What was seen, and what is missing for it, each as the command that gives it.
fn with_commands(ip: IpAddr, what: &str) -> String {
    let commands: Vec<_> = lacking(ip).into_iter().map(|need| format!("`{}`", need.command(ip))).collect();
    if commands.is_empty() {
        format!("{what}, although this host has the rule, the route and the sysctls for it")
    } else {
        format!("{what}; this host lacks {}", commands.join(", "))
    }
}

/// A UNIX socket, which the configuration refuses.
fn unreachable() -> Readiness {
    unreached(&DialError::Connect(std::io::ErrorKind::Unsupported.into()))
}

fn ip_of(address: &Address) -> IpAddr {
    match address {
        Address::Tcp(addr) => addr.ip(),
        Address::Unix(_) | Address::Program(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}
