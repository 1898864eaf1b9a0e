//! The question to a backend that is connected to from the client's address: is there a way there, and one back?
//!
//! A connection from an address of documentation, which nobody has. It is left with a goodbye where there is one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Asked, Leave, Still, unreached};
use crate::engine::transparent::{Need, dial_as, lacking, nobody};
use crate::engine::{Address, DialError, Socket, dial};
use crate::rooms::backend::{Pool, Readiness, Unready};

/// Asks `address`.
pub(super) async fn ask(pool: &Pool, address: &Address) -> Asked<Readiness> {
    let error = match connect(pool, address).await {
        Ok(socket) => return (Readiness::Proved, Some(Leave(socket))),
        Err(error) => error,
    };
    let ip = ip_of(address);
    let readiness = match error {
        DialError::NotPermitted(_) => refused(ip, &error.to_string()),
        // Silence is the backend's only if it is silent to us as well.
        DialError::Timeout(_) => match dial(address, &[], pool.backend.connect_timeout).await {
            Ok(_) => refused(ip, "its answers to a client's address do not come back to this host"),
            Err(error) if lacking(ip).contains(&Need::Reflect) => {
                refused(ip, &format!("it does not answer a client's address ({error})"))
            }
            Err(error) => unreached(&error),
        },
        error => unreached(&error),
    };
    (readiness, None)
}

/// Whether it is still reached.
pub(super) async fn still_serves(pool: &Pool, address: &Address) -> Asked<Still> {
    match connect(pool, address).await {
        Ok(socket) => (Still::Serves, Some(Leave(socket))),
        Err(_) => (Still::Differs, None),
    }
}

async fn connect(pool: &Pool, address: &Address) -> Result<Socket, DialError> {
    match address {
        Address::Tcp(addr) => {
            let nobody = SocketAddr::new(nobody(addr.ip()), 0);
            dial_as(nobody, *addr, &[], pool.backend.connect_timeout).await
        }
        Address::Unix(_) => Err(DialError::Connect(std::io::ErrorKind::Unsupported.into())),
    }
}

/// What was seen, and what is missing for it, each as the command that gives it.
fn refused(ip: IpAddr, what: &str) -> Readiness {
    let commands: Vec<_> = lacking(ip).into_iter().map(|need| format!("`{}`", need.command(ip))).collect();
    let saw = if commands.is_empty() {
        format!("{what}, although this host has the rule, the route and the sysctls for it")
    } else {
        format!("{what}; this host lacks {}", commands.join(", "))
    };
    Readiness::Unready(Unready::RefusesHandoff { saw })
}

fn ip_of(address: &Address) -> IpAddr {
    match address {
        Address::Tcp(addr) => addr.ip(),
        Address::Unix(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}
