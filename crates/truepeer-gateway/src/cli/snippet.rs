//! `truepeer snippet`: what others have to be told, to copy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::FAILED;
use crate::cli::reach::{Failure, answer, complain};
use crate::config::{self, Colour, Config};
use crate::doctor::receivers::Receiver;
use crate::doctor::snippet::ProxyProduct;
use crate::engine::transparent::Need;

mod firewall;
mod receiver;
mod sender;

/// What is told below the commands.
pub(super) const EXAMPLES: &str = "\
Exit codes: 0 the lines are on standard output; 1 the configuration is wrong, or there is nothing to print for it; 2 \
wrong arguments.

Examples:
  truepeer snippet haproxy --config /etc/truepeer/truepeer.toml
  truepeer snippet postfix >> /etc/postfix/master.cf
  truepeer snippet firewall | nft -f -
  truepeer snippet transparent --json | jq -r .text";

/// What is printed.
#[derive(Debug, Subcommand)]
pub(super) enum Snippet {
    /// HAProxy's lines for this configuration: a frontend and a backend for each listener.
    #[command(after_help = sender::EXAMPLES)]
    Haproxy(sender::Arguments),
    /// NGINX in front: the stream section for this configuration (version 1 only); with `--backend`, NGINX behind.
    #[command(after_help = sender::EXAMPLES)]
    Nginx(Nginx),
    /// Traefik's dynamic file for this configuration, its entry points in a comment.
    #[command(after_help = sender::EXAMPLES)]
    Traefik(sender::Arguments),
    /// Envoy's static resources for this configuration.
    #[command(after_help = sender::EXAMPLES)]
    Envoy(sender::Arguments),
    /// Caddy's site for each http listener; stock Caddy cannot carry mail.
    #[command(after_help = sender::EXAMPLES)]
    Caddy(sender::Arguments),
    /// Postfix' services for the backends of this configuration.
    #[command(after_help = receiver::EXAMPLES)]
    Postfix(receiver::Arguments),
    /// Dovecot's listeners and list of proxies for the backends of this configuration.
    #[command(after_help = receiver::EXAMPLES)]
    Dovecot(receiver::Arguments),
    /// Exim's ports and list of proxies for the backends of this configuration.
    #[command(after_help = receiver::EXAMPLES)]
    Exim(receiver::Arguments),
    /// Stalwart's listeners for the backends of this configuration.
    #[command(after_help = receiver::EXAMPLES)]
    Stalwart(receiver::Arguments),
    /// Rules of nftables by which nobody but truepeer reaches the backends.
    #[command(after_help = firewall::EXAMPLES)]
    Firewall(firewall::Arguments),
    /// What this host needs for `handoff = "transparent"`: the commands, and the same for systemd-networkd.
    Transparent {
        /// Answer in JSON, one object (docs/json.md)
        #[arg(long)]
        json: bool,
    },
}

/// NGINX stands on either side.
#[derive(Debug, Args)]
pub(super) struct Nginx {
    #[command(flatten)]
    front: sender::Arguments,
    /// For NGINX as this backend, behind truepeer
    #[arg(long, value_name = "ID", conflicts_with_all = ["listener", "to", "front"])]
    backend: Option<String>,
    /// The address from which truepeer connects to it
    #[arg(long, value_name = "ADDRESS", requires = "backend")]
    from: Option<IpAddr>,
}

/// The lines, and what is to be said beside them.
#[derive(Debug)]
struct Printed {
    text: String,
    notes: Vec<String>,
}

/// For whom it is printed.
#[derive(Debug, Clone, Copy)]
struct Form {
    is_json: bool,
}

/// Prints it. Nothing on the host is changed.
pub(super) fn snippet(which: &Snippet) -> ExitCode {
    let front = |name, sender, order: &sender::Arguments| (name, order.json, sender::lines(sender, order));
    let behind =
        |name, server, order: &receiver::Arguments| (name, order.json, receiver::lines(server, order));
    let (name, is_json, printed) = match which {
        Snippet::Haproxy(order) => front("haproxy", ProxyProduct::Haproxy, order),
        Snippet::Nginx(Nginx { front, backend: Some(backend), from }) => {
            let order = receiver::Arguments::of(front.config.clone(), backend.clone(), *from);
            ("nginx", front.json, receiver::lines(Receiver::Nginx, &order))
        }
        Snippet::Nginx(order) => front("nginx", ProxyProduct::Nginx, &order.front),
        Snippet::Traefik(order) => front("traefik", ProxyProduct::Traefik, order),
        Snippet::Envoy(order) => front("envoy", ProxyProduct::Envoy, order),
        Snippet::Caddy(order) => front("caddy", ProxyProduct::Caddy, order),
        Snippet::Postfix(order) => behind("postfix", Receiver::Postfix, order),
        Snippet::Dovecot(order) => behind("dovecot", Receiver::Dovecot, order),
        Snippet::Exim(order) => behind("exim", Receiver::Exim, order),
        Snippet::Stalwart(order) => behind("stalwart", Receiver::Stalwart, order),
        Snippet::Firewall(order) => ("firewall", order.json, firewall::lines(order)),
        Snippet::Transparent { json } => {
            ("transparent", *json, Ok(Printed { text: transparent(), notes: Vec::new() }))
        }
    };
    print(name, printed, Form { is_json })
}

fn print(name: &str, printed: Result<Printed, Failure>, form: Form) -> ExitCode {
    answer(|out| {
        let Printed { text, notes } = printed?;
        if form.is_json {
            writeln!(out, "{}", json!({ "product": name, "text": text, "notes": notes }))?;
            return Ok(0);
        }
        out.write_all(text.as_bytes())?;
        for note in &notes {
            complain(note);
        }
        Ok(0)
    })
}

fn load(path: Option<&Path>) -> Result<Config, Failure> {
    config::load(path)
        .map(|loaded| loaded.config)
        .map_err(|errors| Failure { text: errors.render(Colour::for_stderr()), code: FAILED })
}

fn failed(text: String) -> Failure {
    Failure { text: format!("error: {text}"), code: FAILED }
}

/// The two families of backends.
const FAMILIES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn transparent() -> String {
    let mut commands: Vec<_> =
        Need::ALL.into_iter().flat_map(|need| FAMILIES.map(|family| need.command(family))).collect();
    commands.dedup();
    format!(
        "# handoff = \"transparent\", as root, until the next start of this host\n{}\n\n{NETWORKD}",
        commands.join("\n")
    )
}

/// The same for good.
const NETWORKD: &str = "\
# the same for good: /etc/sysctl.d/50-truepeer.conf
net.ipv4.tcp_fwmark_accept = 1
net.ipv4.fwmark_reflect = 1
net.ipv6.fwmark_reflect = 1

# and /etc/systemd/network/50-truepeer.network
[Match]
Name=lo

[RoutingPolicyRule]
FirewallMark=0x7e0
Table=100
Family=both

[Route]
Type=local
Destination=0.0.0.0/0
Table=100

[Route]
Type=local
Destination=::/0
Table=100

# instead of the sysctls and rules, for backends on 127.0.0.1 and ::1 only:
#   ip rule add from 127.0.0.0/8 iif lo lookup 100
#   ip -6 rule add from ::1/128 iif lo lookup 100
# or for one port of this host, which then serves nobody directly unless `from` is said:
#   ip rule add from 127.0.0.0/8 iif lo ipproto tcp sport 25 lookup 100

# besides, for a server with an address of its own (a container, here 172.18.0.2), whose port then answers nobody else:
#   ip rule add pref 98 to 172.18.0.2 lookup main
#   ip rule add pref 99 from 172.18.0.2 ipproto tcp sport 25 lookup 100
";
