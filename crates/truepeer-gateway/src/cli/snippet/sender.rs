//! `truepeer snippet haproxy` and the like: the lines of a proxy that fit this configuration.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use truepeer::proto::Version;

use super::{Printed, failed, load};
use crate::cli::reach::Failure;
use crate::config::Listener;
use crate::doctor::snippet::{ListenerFacts, ProxyProduct};
use crate::facts::bind::Bind;

/// What is told below the options.
pub(super) const EXAMPLES: &str = "\
The proxy listens on the listener's port, unless --front says otherwise; it connects to the listener's `bind`, unless \
--to gives another address. Problems are reported on standard error.

Exit codes: 0 the lines are on standard output; 1 the configuration is wrong, or the proxy cannot do what it asks for; \
2 wrong arguments.

Examples:
  truepeer snippet haproxy --to 192.0.2.20 >> haproxy.cfg
  truepeer snippet nginx --listener smtp --to 192.0.2.20
  truepeer snippet traefik --config truepeer.toml --listener imaps --to 172.20.0.3 --front '[::]:993'";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// For this listener only
    #[arg(long, value_name = "ID")]
    pub(super) listener: Option<String>,
    /// The address at which the proxy reaches truepeer; needed where a listener is bound to all of them
    #[arg(long, value_name = "ADDRESS")]
    to: Option<IpAddr>,
    /// Where the proxy listens
    #[arg(long, value_name = "ADDRESS:PORT", requires = "listener")]
    front: Option<SocketAddr>,
    /// Answer in JSON, one object (docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
}

/// The lines, and what is to be said beside them.
pub(super) fn lines(sender: ProxyProduct, order: &Arguments) -> Result<Printed, Failure> {
    let config = load(order.config.as_deref())?;
    let wanted =
        |listener: &&std::sync::Arc<Listener>| order.listener.as_ref().is_none_or(|id| **id == *listener.id);
    let listeners: Vec<_> = config.listeners.iter().filter(wanted).collect();
    if listeners.is_empty() {
        return Err(failed(format!(
            "there is no listener `{}`",
            order.listener.as_deref().unwrap_or_default()
        )));
    }
    let doors: Vec<ListenerFacts> = listeners
        .iter()
        .map(|listener| door(sender, listener, order))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let text = sender.lines(&doors).map_err(failed)?;
    let mut notes = Vec::new();
    for ListenerFacts { id, front, to, .. } in &doors {
        let same = front.port() == to.port() && (front.ip().is_unspecified() || front.ip() == to.ip());
        if same && to.ip().is_loopback() {
            notes.push(format!(
                "listener `{id}`: nobody else can listen on its port here; say where with `--front`"
            ));
        }
    }
    for listener in listeners.iter().filter(|listener| listener.trusted_lines.is_empty()) {
        notes.push(format!(
            "listener `{}` trusts no address: add the proxy's to its `proxy.trusted-networks`, or every header is \
             refused",
            listener.id
        ));
    }
    Ok(Printed { text, notes })
}

fn door(sender: ProxyProduct, listener: &Listener, order: &Arguments) -> Result<ListenerFacts, String> {
    let id = listener.id.to_string();
    let tcp = |binds: &[Bind]| {
        binds.iter().find_map(|bind| match bind {
            Bind::Tcp { addr, .. } => Some(*addr),
            Bind::Unix { .. } => None,
        })
    };
    if let Some(range) = listener.ranges.first() {
        return Err(format!(
            "listener `{id}` has the ports of {range}: give the proxy the same range, and no port where it names this host, so that each port is handed to the same one here (HAProxy: `bind :{}-{}` and `server {id} ADDRESS send-proxy-v2`)",
            range.first().port(),
            range.first().port().saturating_add(range.len().saturating_sub(1))
        ));
    }
    let bound = tcp(&listener.binds).ok_or_else(|| format!("listener `{id}` has no TCP address"))?;
    let to = match (order.to, bound.ip().is_unspecified()) {
        (Some(addr), _) => SocketAddr::new(addr, bound.port()),
        (None, false) => bound,
        (None, true) => {
            return Err(format!(
                "listener `{id}` is bound to every address of its host: say with `--to ADDRESS` how the proxy reaches it"
            ));
        }
    };
    let front = order.front.unwrap_or_else(|| {
        let every: IpAddr =
            if bound.is_ipv4() { [0, 0, 0, 0].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
        SocketAddr::new(every, bound.port())
    });
    // Asked, not remembered: the decoder knows which it takes.
    let takes = |header: &[u8]| listener.header.decoder.decode(header).is_ok();
    let (v1, v2) = (takes(b"PROXY UNKNOWN\r\n"), takes(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"));
    let both = |version, takes: bool| takes && sender.sends(version);
    let version =
        if both(Version::V2, v2) || (v2 && !both(Version::V1, v1)) { Version::V2 } else { Version::V1 };
    let health = tcp(&listener.health_binds).map(|addr| addr.port());
    let (protocol, tls, idle) = (listener.protocol, listener.tls, listener.idle_timeout);
    Ok(ListenerFacts { id, front, to, version, protocol, tls, health, idle })
}
