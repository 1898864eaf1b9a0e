//! What `/proc` shows: programs, who listens and is connected, published ports, addresses and gateways.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use truepeer_doctor::Product;
use truepeer_doctor::survey::{
    Process, Program, Published, Socket, State, installable, installed, own_v4, own_v6, programs, published,
    recognise, sockets,
};

use super::root::Root;
use super::run;
use crate::config::default_gateways;

/// The most processes that are looked at.
const MAX_PROCESSES: usize = 65_536;
/// The most descriptors that are followed to find out who holds a socket.
const MAX_DESCRIPTORS: usize = 262_144;
/// Bytes of a process's words or environment, and of its small files.
const MAX_WORDS: u64 = 64 * 1024;
/// Bytes of one of the kernel's tables.
const MAX_TABLE: u64 = 16 * 1024 * 1024;
/// Published ports that are kept.
const MAX_PUBLISHED: usize = 1024;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// The programs whose configuration can be read, running ones first.
    pub(super) programs: Vec<Program>,
    /// Those in containers, whose files and sockets are not here.
    pub(super) contained: Vec<Contained>,
    /// Who listens, with the process that holds the socket where that may be seen.
    pub(super) listening: Vec<(Socket, Option<Owner>)>,
    /// Who is connected.
    pub(super) connected: Vec<Socket>,
    /// Ports that lead into containers.
    pub(super) published: Vec<Published>,
    /// This machine's own addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// Its default gateways.
    pub(super) gateways: Vec<IpAddr>,
    /// Whether it is a container itself.
    pub(super) is_container: bool,
}

/// A program in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contained {
    /// Which.
    pub(super) product: Product,
    /// Its process, numbered as it is seen from here.
    pub(super) pid: u32,
    /// The beginning of the container's id, where that shows.
    pub(super) container: Option<String>,
}

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    /// Its number.
    pub(super) pid: u32,
    /// Its name.
    pub(super) name: String,
}

impl Machine {
    /// Looks around.
    #[must_use]
    pub(super) fn read(root: &Root) -> Self {
        let table = |path: &str| {
            let bytes = root.read(path, MAX_TABLE).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let mut all = sockets(&table("/proc/net/tcp"));
        all.extend(sockets(&table("/proc/net/tcp6")));
        let (listening, connected): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|socket| socket.state == State::Listening);
        let mut addresses = own_v4(&table("/proc/net/fib_trie"));
        addresses.extend(own_v6(&table("/proc/net/if_inet6")));
        let gateways = default_gateways(&table("/proc/net/route"), &table("/proc/net/ipv6_route"));
        // Each engine leaves its own mark.
        let marks = ["/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io"];
        let is_container =
            marks.iter().any(|mark| root.place(mark).exists()) || container(root, "1").is_some();
        let mut machine = Self { connected, addresses, gateways, is_container, ..Self::default() };
        let pids = pids(root);
        machine.read_processes(root, &pids);
        let owners = owners(root, &pids, &listening);
        machine.listening =
            listening.into_iter().map(|socket| (socket, owners.get(&socket.inode).cloned())).collect();
        machine
    }

    fn read_processes(&mut self, root: &Root, pids: &[u32]) {
        let here = root.link("/proc/self/ns/net");
        let our_container = container(root, "self");
        let mut ours = Vec::new();
        for pid in pids {
            let Some(mut process) = words(root, *pid) else { continue };
            if let Some(published) = published(&process.args) {
                if self.published.len() < MAX_PUBLISHED {
                    self.published.push(published);
                }
                continue;
            }
            if recognise(&process).is_none() {
                continue;
            }
            complete(root, &mut process);
            let Some(program) = recognise(&process) else { continue };
            let there = root.link(&format!("/proc/{pid}/ns/net"));
            let container = container(root, &pid.to_string());
            let elsewhere = match (&here, there) {
                (Some(here), Some(there)) => *here != there,
                // What an ordinary user may see.
                _ => container.is_some() && container != our_container,
            };
            if elsewhere {
                let known = Contained { product: program.product, pid: *pid, container };
                // Workers of one program are one.
                let same =
                    |other: &Contained| other.product == known.product && other.container == known.container;
                if !self.contained.iter().any(same) {
                    self.contained.push(known);
                }
            } else {
                ours.push(process);
            }
        }
        self.programs = programs(&ours);
        self.add_installed(root);
    }

    /// Programs that do not run, of products none of which does.
    fn add_installed(&mut self, root: &Root) {
        for (product, name) in installable() {
            let runs = self.programs.iter().any(|program| program.product == product);
            let is_here = match root.is_recorded() {
                false => run::find(name, None).is_some(),
                true => root.place(&format!("/usr/sbin/{name}")).exists(),
            };
            if !runs && is_here {
                self.programs.extend(installed(product));
            }
        }
    }

    /// Who listens where a connection to `addr` arrives.
    #[must_use]
    pub(super) fn listener_at(&self, addr: SocketAddr) -> Option<&(Socket, Option<Owner>)> {
        let serves = |at: SocketAddr| {
            at.port() == addr.port()
                && (at.ip() == addr.ip() || at.ip().is_unspecified() && (at.is_ipv6() || addr.is_ipv4()))
        };
        // The most exact one takes the connection.
        let mut fitting = self.listening.iter().filter(|(socket, _)| serves(socket.local));
        let exact = fitting.clone().find(|(socket, _)| socket.local.ip() == addr.ip());
        exact.or_else(|| fitting.next())
    }
}

fn pids(root: &Root) -> Vec<u32> {
    let mut pids: Vec<u32> =
        root.names("/proc", MAX_PROCESSES).iter().filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// A process's number and words; nothing for the kernel's own.
fn words(root: &Root, pid: u32) -> Option<Process> {
    let bytes = root.read(&format!("/proc/{pid}/cmdline"), MAX_WORDS).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let args: Vec<_> = text.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
    let first = args.first()?;
    (!first.is_empty()).then_some(Process { pid, args, ..Process::default() })
}

/// What else is known of it.
fn complete(root: &Root, process: &mut Process) {
    let at = |what: &str| format!("/proc/{}/{what}", process.pid);
    let small = |what: &str| {
        String::from_utf8_lossy(&root.read(&at(what), MAX_WORDS).unwrap_or_default()).into_owned()
    };
    let (exe, directory) = (root.link(&at("exe")), root.link(&at("cwd")));
    let user = small("status")
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_ascii_whitespace().next()?.parse().ok());
    let mail_config =
        small("environ").split('\0').find_map(|word| word.strip_prefix("MAIL_CONFIG=").map(str::to_owned));
    // Nobody's, if that does not show.
    process.user = user.unwrap_or(u32::MAX);
    (process.exe, process.directory, process.mail_config) = (exe, directory, mail_config);
}

/// The beginning of the id of the container that a process is in: 64 digits in base 16 in the name of its group.
fn container(root: &Root, pid: &str) -> Option<String> {
    const ID: usize = 64;
    const SHOWN: usize = 12;
    let groups = root.read(&format!("/proc/{pid}/cgroup"), MAX_WORDS).ok()?;
    let groups = String::from_utf8_lossy(&groups);
    let mut words = groups.split(|c: char| !c.is_ascii_alphanumeric());
    let id = words.find(|word| word.len() == ID && word.chars().all(|c| c.is_ascii_hexdigit()))?;
    id.get(..SHOWN).map(str::to_owned)
}

/// The first process that holds each of the listening sockets; where several do, the oldest is their master.
fn owners(root: &Root, pids: &[u32], listening: &[Socket]) -> BTreeMap<u64, Owner> {
    let mut wanted: BTreeSet<u64> = listening.iter().map(|socket| socket.inode).collect();
    let (mut found, mut left) = (BTreeMap::new(), MAX_DESCRIPTORS);
    for pid in pids {
        let names = root.names(&format!("/proc/{pid}/fd"), left);
        left = left.saturating_sub(names.len());
        for name in names {
            let inode = root
                .link(&format!("/proc/{pid}/fd/{name}"))
                .and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            let Some(inode) = inode.filter(|inode| wanted.remove(inode)) else { continue };
            let comm = root.read(&format!("/proc/{pid}/comm"), MAX_WORDS).unwrap_or_default();
            let name = truepeer_doctor::excerpt(comm.trim_ascii());
            found.insert(inode, Owner { pid: *pid, name });
        }
        if wanted.is_empty() || left == 0 {
            break;
        }
    }
    found
}
