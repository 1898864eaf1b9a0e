//! What `/proc` shows: programs, who listens and is connected, published ports, addresses and gateways, and the same of
//! each container.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;

use truepeer_doctor::Product;
use truepeer_doctor::survey::{
    Process, Program, Published, Socket, State, installable, installed, own_v4, own_v6, programs, published,
    recognise, sockets,
};

use super::root::Root;
use crate::config::default_gateways;
use crate::doctor::run;

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
/// Containers that are looked into.
const MAX_CONTAINERS: usize = 32;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// The machine itself, and then the containers in it.
    pub(super) spaces: Vec<Space>,
    /// Programs whose files and sockets are elsewhere and cannot be seen from here.
    pub(super) elsewhere: Vec<Elsewhere>,
    /// Who listens here, with the process that holds the socket where that may be seen.
    pub(super) listening: Vec<(Socket, Option<Owner>)>,
    /// Ports that lead into containers.
    pub(super) published: Vec<Published>,
}

/// A program, and where its files are: containers may share their sockets with each other or with the machine.
#[derive(Debug)]
pub(super) struct Located {
    /// Which.
    pub(super) program: Program,
    /// Its files.
    pub(super) root: Root,
    /// The container in which they are.
    pub(super) container: Option<String>,
}

/// The machine or a container: what has sockets and addresses of its own.
#[derive(Debug)]
pub(super) struct Space {
    /// The container's name; none for the machine itself.
    pub(super) container: Option<String>,
    /// The programs whose configuration can be read, running ones first.
    pub(super) programs: Vec<Located>,
    /// Who is connected.
    pub(super) connected: Vec<Socket>,
    /// Its own addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// Its default gateways.
    pub(super) gateways: Vec<IpAddr>,
    /// Whether strangers come from its gateway, as they do in a container.
    pub(super) is_container: bool,
}

/// A program that cannot be looked at from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elsewhere {
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

/// Where a process is.
enum Whereabouts {
    /// Its sockets are this machine's, and its files as well.
    Here,
    /// It has files of its own, which can be seen from here.
    Container {
        /// The name of their namespace.
        files: String,
        /// That of its sockets', if they are not this machine's.
        sockets: Option<String>,
    },
    /// Neither can be seen.
    Elsewhere,
}

impl Machine {
    /// Looks around.
    #[must_use]
    pub(super) fn read(root: &Root) -> Self {
        // Each engine leaves its own mark.
        let marks = ["/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io"];
        let is_container =
            marks.iter().any(|mark| root.place(mark).exists()) || container(root, "1").is_some();
        let (space, listening) = Space::read(root, "/proc/net", None);
        let mut machine = Self { spaces: vec![Space { is_container, ..space }], ..Self::default() };
        let pids = pids(root);
        machine.read_processes(root, &pids);
        let owners = owners(root, &pids, &listening);
        machine.listening =
            listening.into_iter().map(|socket| (socket, owners.get(&socket.inode).cloned())).collect();
        machine
    }

    fn read_processes(&mut self, root: &Root, pids: &[u32]) {
        let mut ours = Vec::new();
        // By the namespaces of their sockets and of their files; without the former they are this machine's.
        let mut contained = BTreeMap::<Option<String>, BTreeMap<String, Vec<Process>>>::new();
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
            match whereabouts(root, *pid) {
                Whereabouts::Here => ours.push(process),
                Whereabouts::Container { files, sockets } => {
                    contained.entry(sockets).or_default().entry(files).or_default().push(process);
                }
                Whereabouts::Elsewhere => self.note_elsewhere(root, program.product, *pid),
            }
        }
        if let Some(space) = self.spaces.first_mut() {
            let here = |program| Located { program, root: root.clone(), container: None };
            space.programs = programs(&ours).into_iter().map(here).collect();
        }
        for (sockets, groups) in contained {
            let pid = groups.values().flatten().map(|process| process.pid).next().unwrap_or_default();
            let located = groups.values().flat_map(|processes| located(root, processes));
            if sockets.is_none() {
                if let Some(space) = self.spaces.first_mut() {
                    space.programs.extend(located);
                }
            } else if self.spaces.len() > MAX_CONTAINERS {
                for Located { program, .. } in located {
                    self.note_elsewhere(root, program.product, pid);
                }
            } else {
                let name = container(root, &pid.to_string()).unwrap_or_else(|| format!("pid-{pid}"));
                let (mut space, _) = Space::read(root, &format!("/proc/{pid}/net"), Some(name));
                space.programs = located.collect();
                self.spaces.push(space);
            }
        }
        if let Some(space) = self.spaces.first_mut() {
            space.add_installed(root);
        }
    }

    fn note_elsewhere(&mut self, root: &Root, product: Product, pid: u32) {
        let known = Elsewhere { product, pid, container: container(root, &pid.to_string()) };
        // Workers of one program are one.
        let same = |other: &Elsewhere| other.product == known.product && other.container == known.container;
        if !self.elsewhere.iter().any(same) {
            self.elsewhere.push(known);
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

impl Space {
    /// What the kernel's tables in `folder` say, and who listens.
    fn read(tables: &Root, folder: &str, container: Option<String>) -> (Self, Vec<Socket>) {
        let table = |name: &str| {
            let bytes = tables.read(&format!("{folder}/{name}"), MAX_TABLE).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let mut all = sockets(&table("tcp"));
        all.extend(sockets(&table("tcp6")));
        let (listening, connected): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|socket| socket.state == State::Listening);
        let mut addresses = own_v4(&table("fib_trie"));
        addresses.extend(own_v6(&table("if_inet6")));
        let gateways = default_gateways(&table("route"), &table("ipv6_route"));
        let is_container = container.is_some();
        let space = Self { container, programs: Vec::new(), connected, addresses, gateways, is_container };
        (space, listening)
    }

    /// Programs that do not run, of products none of which does.
    fn add_installed(&mut self, root: &Root) {
        for (product, name) in installable() {
            let runs = self.programs.iter().any(|located| located.program.product == product);
            let is_here = match root.is_recorded() {
                false => run::find(name, None).is_some(),
                true => root.place(&format!("/usr/sbin/{name}")).exists(),
            };
            let found = installed(product).filter(|_| is_here && !runs);
            self.programs.extend(found.map(|program| Located {
                program,
                root: root.clone(),
                container: None,
            }));
        }
    }
}

/// The programs of a container.
fn located(root: &Root, processes: &[Process]) -> Vec<Located> {
    let Some(first) = processes.first().map(|process| process.pid) else { return Vec::new() };
    let name = container(root, &first.to_string()).unwrap_or_else(|| format!("pid-{first}"));
    let there = |program| Located { program, root: root.within(first), container: Some(name.clone()) };
    programs(processes).into_iter().map(there).collect()
}

/// Where a process is. A service manager's sandbox has a view of its own of the same files, which is no container.
fn whereabouts(root: &Root, pid: u32) -> Whereabouts {
    let link = |of: &str, what: &str| root.link(&format!("/proc/{of}/ns/{what}"));
    let pid_text = pid.to_string();
    let differs = |what: &str| match (link("self", what), link(&pid_text, what)) {
        (Some(here), Some(there)) => Some(here != there),
        _ => None,
    };
    let id = |path: &str| fs::metadata(root.place(path)).ok().map(|meta| (meta.dev(), meta.ino()));
    let there = id(&format!("/proc/{pid}/root"));
    let has_files = differs("mnt") == Some(true) && there.is_some() && there != id("/");
    match differs("net") {
        _ if has_files => Whereabouts::Container {
            files: link(&pid_text, "mnt").unwrap_or_default(),
            sockets: link(&pid_text, "net").filter(|_| differs("net") != Some(false)),
        },
        Some(false) => Whereabouts::Here,
        Some(true) => Whereabouts::Elsewhere,
        // What an ordinary user may see.
        None => match container(root, &pid_text) {
            Some(id) if container(root, "self") != Some(id.clone()) => Whereabouts::Elsewhere,
            _ if listens_elsewhere(root, pid) => Whereabouts::Elsewhere,
            _ => Whereabouts::Here,
        },
    }
}

/// Whether the table of sockets that `pid` sees is not ours; everybody may read it.
fn listens_elsewhere(root: &Root, pid: u32) -> bool {
    let listening = |folder: &str| -> BTreeSet<u64> {
        let (_, listening) = Space::read(root, folder, None);
        listening.iter().map(|socket| socket.inode).collect()
    };
    let there = listening(&format!("/proc/{pid}/net"));
    // Numbers of sockets are the same for all namespaces. One that came or went meanwhile changes nothing.
    !there.is_empty() && there.is_disjoint(&listening("/proc/net"))
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
    // The user of no process, if that does not show.
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
