//! The commands: one file each. Arguments in, exit code out.
//!
//! Exit codes, the same for every command: 0 it went well · 1 it did not (the configuration is wrong, a backend did
//! not see the client, ...) · 2 the arguments are wrong · 3 the server could not start (port in use, no permission),
//! or could not be reached · 4 what was seen proves nothing (`watch`, `probe`).

mod check;
mod connections;
mod demo;
mod deny;
mod doctor;
mod explain;
mod explain_ip;
mod feed;
mod import;
mod init;
mod probe;
mod reach;
mod reload;
mod run;
mod send;
mod snippet;
mod status;
mod top;
mod upgrade;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use ipnet::IpNet;

use crate::engine::{self, CLibrary};
use reach::Reach;

/// It did not go well.
const FAILED: u8 = 1;
/// The server could not start.
const NOT_STARTED: u8 = 3;
/// The running server could not be reached.
const NOT_REACHED: u8 = 3;
/// What was seen proves nothing.
const INCONCLUSIVE: u8 = 4;

/// The front door for servers behind a load balancer: the backend sees the client, not the proxy.
///
/// A proxy (HAProxy, NGINX, Caddy, Traefik, Envoy, a cloud balancer) says who the client is in a PROXY protocol
/// header. truepeer believes that header only from networks that you trust, and hands each connection to an
/// unmodified backend in a way that this backend understands.
///
/// Exit codes: 0 it went well, 1 it did not (wrong configuration, wrong answer), 2 wrong arguments, 3 the server
/// could not start or could not be reached, 4 what was seen proves nothing.
#[derive(Debug, Parser)]
#[command(name = "truepeer", version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: accept, identify, hand over, until SIGTERM.
    ///
    /// Without --config, /etc/truepeer/truepeer.toml is read if it exists; otherwise a demonstration starts on
    /// loopback ports, whose backend tells you who you are. SIGTERM or Ctrl-C stops accepting and lets connections
    /// end until server.drain-timeout; a second one cuts them.
    ///
    /// A service manager may pass sockets (LISTEN_FDS), each of which serves the `bind` that it is bound to, is told
    /// when truepeer is ready, reloads and stops (NOTIFY_SOCKET), and may use its watchdog (WATCHDOG_USEC).
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Show what happens to a connection, step by step, with proxy and backend built in.
    ///
    /// Sends one client through each of a v1 header, a v2 header and a v2 header with TLS facts, and one forged
    /// header from a peer that is not trusted; prints what happens at each step. Exits with 1 if the backend did not
    /// see the true client.
    Demo,
    /// Say what is wrong between the proxies and servers on this machine, and what line to change.
    ///
    /// Looks at the programs that run here, their configurations, who listens and who is connected, and their logs; pairs
    /// proxies with servers by address and port; and asks the servers on loopback. Needs no configuration.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::Arguments),
    /// Read the configuration as `run` would, and those of its neighbours, and say what does not fit.
    ///
    /// Prints every mistake at once, or the sockets that result, with advice: who else can reach each backend, which
    /// lists are too wide, what this host lacks. Nothing is started.
    ///
    /// With --neighbour, the configurations of the proxies in front and the servers behind are read as far as the PROXY
    /// protocol is concerned, and each mismatch is reported with file and line: one side on and the other off, the wrong
    /// direction, versions, TLS, ports, health checks, lists that miss the real peer, relay rights that the proxy's
    /// address gives to everybody. What could not be interpreted is listed. Works between two neighbours, too, without a
    /// configuration of truepeer.
    #[command(after_help = check::EXAMPLES)]
    Check(check::Arguments),
    /// Write a first configuration for this machine, and say what to change beside it.
    ///
    /// Looks which proxies and mail servers are installed here and who listens, asks at most four questions on a terminal,
    /// and writes a commented configuration that passes `check`. Prints the lines for both neighbours in the order in
    /// which to apply them, each step with the command that proves it and the way back.
    ///
    /// Changes nothing but that one file, and never overwrites it. An interrupted init leaves what was there.
    #[command(after_help = init::EXAMPLES)]
    Init(init::Arguments),
    /// Make a configuration of truepeer from another program's.
    Import {
        #[command(subcommand)]
        from: import::From,
    },
    /// Connect with any header, then pass standard input on, or greet in a protocol and quit.
    ///
    /// Shows how a server or a proxy reacts to a header: any version, client, destination and items, whole or
    /// in pieces, right or broken, with TLS behind it if wanted.
    #[command(after_help = send::EXAMPLES)]
    Send(send::Arguments),
    /// Explain a header and which servers accept it, or what a log line means.
    ///
    /// A header in hexadecimal, base64, text with escapes, a raw file or a packet capture is explained field by field, with
    /// offsets and clauses of the specification, each TLV by name, the verdict of truepeer's strict profile, and what
    /// each known server would do with it. For a broken one: where, what was expected, and the usual cause.
    ///
    /// With --log, lines and error texts of HAProxy, NGINX, Traefik, Envoy, Caddy, Postfix, Dovecot, Exim, OpenSMTPD,
    /// Stalwart and others are explained with the cause, the side and the line to change. What says nothing about the
    /// PROXY protocol is reported as unknown. Logs of any length are read in bounded memory.
    ///
    /// Nothing is sent anywhere. Without an argument, standard input is read.
    Explain(explain::Arguments),
    /// Listen in place of a server, and show what a proxy really sends.
    ///
    /// For each connection: the header, field by field, or what came instead of one; in how many pieces; which product it
    /// looks like; whether a configuration would trust the peer; and what to change on which side.
    #[command(after_help = watch::EXAMPLES)]
    Watch(watch::Arguments),
    /// Test how a server reacts to each kind of header.
    ///
    /// Does it expect one, from this address, of which version, how long does it wait, how long may it be, in pieces, does
    /// it use the TLS facts in it - and above all: which hosts may send one? Says what was seen in sentences,
    /// and what the server did not show. Never logs in.
    #[command(after_help = probe::EXAMPLES)]
    Probe(probe::Arguments),
    /// Print configuration lines for proxies and for this host, to copy.
    #[command(after_help = snippet::EXAMPLES)]
    Snippet {
        #[command(subcommand)]
        which: snippet::Snippet,
    },
    /// List the connections that are open in a running front door.
    ///
    /// One line for each: since when, where it came in, which address connected (peer), which client it is for,
    /// which backend it reached, and the bytes from and to the client. Needs `[admin] socket`.
    Connections {
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        filter: connections::Arguments,
    },
    /// Show the state of a running front door: listeners, backends and their proofs, unfinished headers.
    ///
    /// Names every backend address that is unready or unproven with the reason, the peers whose headers are not
    /// finished, and the advice about the configuration that still applies. Needs `[admin] socket`.
    ///
    /// Exit codes: 0 clients of every listener are served, 1 they are not, 3 the server could not be reached.
    Status {
        #[command(flatten)]
        reach: Reach,
    },
    /// Look at a running front door in a terminal: who is connected, who is refused and why, live.
    ///
    /// Open connections and clients, sorted and searched; refusals as they come, with their cause and what to change;
    /// backends and their proofs. Explains why a connection is treated as it is, and denies a client after asking. Asks
    /// the server for no more than fits on the terminal, however many connections are open. Needs `[admin] socket`.
    ///
    /// Exit codes: 0 it was quit, 1 there is no terminal to draw on, 3 the server could not be reached.
    #[command(after_help = top::KEYS)]
    Top(top::Arguments),
    /// Keep a client out for a while: at once, without a reload.
    ///
    /// Cuts the client's open connections (`--keep` spares them). A denial always ends, survives a restart if
    /// `[admin] state` names a file, and cannot apply to a trusted proxy. Clients in `access.allow` stay admitted.
    /// Needs `[admin] socket`.
    ///
    /// With --feed another program keeps the list: each line of standard input acts as soon as it is there, and one
    /// that is wrong or refused is reported on standard error while the feed goes on.
    ///
    /// Exit codes: 0 it holds, 1 the server refused (a trusted network, one that is too wide), 3 the server could not
    /// be reached. With --feed: 0 the input ended and every line was carried out, 1 the input ended and some were not,
    /// 3 the server could not be reached, or went away.
    Deny {
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        order: deny::Arguments,
    },
    /// Let a denied client in again.
    ///
    /// Exit codes: 0 the denial is lifted, 1 there was none, 3 the server could not be reached.
    Undeny {
        #[command(flatten)]
        reach: Reach,
        /// The client or network, as it was denied
        #[arg(value_name = "ADDR|NETWORK", value_parser = deny::network)]
        network: IpNet,
    },
    /// Let a new program take the place of the running one, without losing a connection.
    ///
    /// The program checks the configuration, is started beside the running one, and gets its listening sockets; once it
    /// serves, the old process accepts no more and ends with its last connection, at the latest after
    /// server.upgrade-drain-timeout. Whatever goes wrong before that leaves the old process as it was.
    ///
    /// Without --program, the program that is now where the running one was started from: the one that a package has just
    /// installed. The same command goes back to the version before. In a container, the container is to be
    /// replaced instead. Needs `[admin] socket`.
    ///
    /// Exit codes: 0 the new program serves, 1 the old one goes on, 3 the server could not be reached.
    Upgrade {
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        order: upgrade::Arguments,
    },
    /// Make a running front door read its configuration again, as SIGHUP does, and say how that went.
    ///
    /// A configuration with mistakes changes nothing, and this command prints them. Open connections keep the settings
    /// that they began with. Needs `[admin] socket`.
    ///
    /// Exit codes: 0 the new configuration holds, 1 the old one goes on, 3 the server could not be reached.
    Reload {
        #[command(flatten)]
        reach: Reach,
    },
}

/// Runs the command that the arguments name, in a program that is linked with `library`.
#[must_use]
pub fn main(library: CLibrary) -> ExitCode {
    engine::keep_to_files_and_dns(library);
    match Arguments::parse().command {
        Command::Run { config } => run::run(config.as_deref()),
        Command::Demo => demo::demo(),
        Command::Check(order) => check::check(&order),
        Command::Doctor(order) => doctor::doctor(&order),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Init(order) => init::init(&order),
        Command::Import { from } => import::import(from),
        Command::Send(order) => send::send(&order),
        Command::Watch(order) => watch::watch(&order),
        Command::Probe(order) => probe::probe(&order),
        Command::Snippet { which } => snippet::snippet(&which),
        Command::Connections { reach, filter } => connections::connections(&reach, filter),
        Command::Status { reach } => status::status(&reach),
        Command::Top(arguments) => top::top(&arguments),
        Command::Deny { reach, order } => deny::deny(&reach, order),
        Command::Undeny { reach, network } => deny::undeny(&reach, network),
        Command::Upgrade { reach, order } => upgrade::upgrade(&reach, order),
        Command::Reload { reach } => reload::reload(&reach),
    }
}

#[cfg(test)]
mod pages;
