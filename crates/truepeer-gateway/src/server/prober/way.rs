//! The question to a backend whose socket is to see the client: is there a way there, and one back, and does it?
//!
//! A connection as a client with an address of documentation, which nobody has. It is left with a goodbye where there is
//! one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use truepeer::{ClientIdentity, PeerAddress};

use super::{Asked, Leave, Still, unreached};
use crate::engine::label::Lack;
use crate::engine::transparent::{Need, lacking, nobody};
use crate::engine::{Address, DialError, Socket, dial};
use crate::rooms::backend::{Pool, Readiness, Unready};
use crate::rooms::handoff::{Introduction, Names, Source};

/// Asks `address`.
pub(super) async fn ask(pool: &Pool, address: &Address) -> Asked<Readiness> {
    let Some((introduction, backend)) = introduction(pool, address) else { return (unreachable(), None) };
    if let Source::Labelled(_) = introduction.source
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
        // Silence is the backend's only if it is silent to us as well.
        (DialError::Timeout(_), Source::Client(_)) => {
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

/// Whether it is still reached.
pub(super) async fn still_serves(pool: &Pool, address: &Address) -> Asked<Still> {
    let Some((introduction, _)) = introduction(pool, address) else { return (Still::Differs, None) };
    match connect(pool, address, &introduction).await {
        Ok(socket) => (Still::Serves, Some(Leave(socket))),
        Err(_) => (Still::Differs, None),
    }
}

async fn connect(pool: &Pool, address: &Address, who: &Introduction) -> Result<Socket, DialError> {
    Ok(pool.dial(who, address, &[]).await?.socket)
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
