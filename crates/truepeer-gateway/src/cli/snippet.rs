//! `truepeer snippet`: what others have to be told, to copy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

use clap::Subcommand;

use crate::doctor::snippet::Sender;
use crate::engine::transparent::Need;

mod sender;

/// What is printed.
#[derive(Debug, Subcommand)]
pub(super) enum Snippet {
    /// What this host needs for `handoff = "transparent"`: the commands, and the same for systemd-networkd.
    Transparent,
    /// HAProxy's lines for this configuration: a frontend and a backend for each listener.
    #[command(after_help = sender::EXAMPLES)]
    Haproxy(sender::Arguments),
    /// The stream section of nginx for this configuration; nginx sends version 1 only.
    #[command(after_help = sender::EXAMPLES)]
    Nginx(sender::Arguments),
    /// Traefik's dynamic file for this configuration, its entry points in a comment.
    #[command(after_help = sender::EXAMPLES)]
    Traefik(sender::Arguments),
    /// Envoy's static resources for this configuration.
    #[command(after_help = sender::EXAMPLES)]
    Envoy(sender::Arguments),
    /// Caddy's site for each http listener; stock Caddy cannot carry mail.
    #[command(after_help = sender::EXAMPLES)]
    Caddy(sender::Arguments),
}

/// Prints it. Nothing on the host is changed.
#[expect(clippy::print_stdout, reason = "a command speaks to its user")]
pub(super) fn snippet(which: &Snippet) -> ExitCode {
    match which {
        Snippet::Transparent => print!("{}", transparent()),
        Snippet::Haproxy(order) => return sender::print(Sender::Haproxy, order),
        Snippet::Nginx(order) => return sender::print(Sender::Nginx, order),
        Snippet::Traefik(order) => return sender::print(Sender::Traefik, order),
        Snippet::Envoy(order) => return sender::print(Sender::Envoy, order),
        Snippet::Caddy(order) => return sender::print(Sender::Caddy, order),
    }
    ExitCode::SUCCESS
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
";
