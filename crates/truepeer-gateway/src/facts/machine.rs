//! What this machine allows and has: descriptors, cores, addresses.

use std::net::IpAddr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for the log, files and runtimes.
const OTHER_DESCRIPTORS: u64 = 64;

/// A worker's own: what it waits at, how others wake it, and its alarm.
const OF_A_WORKER: usize = 3;

/// Operators at the admin socket at once.
pub const MAX_OPERATORS: usize = 32;
/// Connections to the status port at once, over all its addresses; open pages are counted apart.
pub const MAX_MONITORS: usize = 64;
/// Connections to one health port at once.
pub const MAX_HEALTH_CHECKS: usize = 64;

/// What is listened on, and asks for descriptors beside clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SocketCounts {
    /// Addresses for clients; each worker has a socket of its own there.
    pub listeners: usize,
    /// Health ports.
    pub health_ports: usize,
    /// Admin sockets.
    pub admin: usize,
    /// Addresses of the status port.
    pub status: usize,
    /// Status pages that may be open at once.
    pub pages: usize,
}

/// Status pages that may be open at once, where there are so many descriptors; each has one as long as it is open.
#[must_use]
pub fn max_pages(descriptors: u64) -> usize {
    const MOST: u64 = 1024;
    usize::try_from((descriptors / 16).clamp(16, MOST)).unwrap_or(16)
}

impl SocketCounts {
    /// Descriptors for them, for those who connect there, and for all that is no client's.
    #[must_use]
    pub fn reserve(self, workers: usize) -> u64 {
        // Each is held twice: a successor may be given it.
        let listening = self.listeners.saturating_mul(2).saturating_add(OF_A_WORKER).saturating_mul(workers);
        // One more for each, which has been accepted and waits for a place.
        let checks = self.health_ports.saturating_mul(MAX_HEALTH_CHECKS.saturating_add(3));
        let visitors = |sockets: usize, most: usize| match sockets {
            0 => 0,
            _ => sockets.saturating_mul(3).saturating_add(most),
        };
        let (operators, monitors) =
            (visitors(self.admin, MAX_OPERATORS), visitors(self.status, MAX_MONITORS));
        let all = [listening, checks, operators, monitors, self.pages];
        let all = all.into_iter().fold(0_usize, usize::saturating_add);
        u64::try_from(all).unwrap_or(u64::MAX).saturating_add(OTHER_DESCRIPTORS)
    }
}

/// How many connections and unfinished headers there may be at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Connections; each relayed one needs two descriptors.
    pub connections: u32,
    /// Unfinished headers.
    pub pending: u32,
}

/// The configured numbers, or what is listened on, do not fit the descriptor limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFewDescriptors {
    /// 2 x max-connections (or one connection, where it is not set) + max-pending + reserve.
    pub needed: u64,
    /// What is kept for everything but clients.
    pub reserve: u64,
    /// The hard limit.
    pub limit: u64,
}

impl std::fmt::Display for TooFewDescriptors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { needed, reserve, limit } = self;
        write!(
            f,
            "server.max-connections and server.proxy.max-pending need {needed} descriptors (2 x max-connections + max-pending + {reserve} for listening, operators, monitoring, health checks and the rest), but the hard limit is {limit}: lower them, listen on fewer ports, or raise the limit (LimitNOFILE= in the service unit)"
        )
    }
}

impl std::error::Error for TooFewDescriptors {}

/// Raises the soft descriptor limit to the hard one and returns it.
#[must_use]
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Refused only where the hard limit itself may not be used; then the soft one is the truth.
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.unwrap_or(u64::MAX)
}

/// This process's descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Descriptors {
    /// Open now; 0 where the system does not tell.
    pub open: u64,
    /// The most there may be.
    pub max: u64,
}

/// Counts them. Costs a system call for each few hundred.
#[must_use]
pub fn descriptors() -> Descriptors {
    // One is the directory itself, being read.
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1));
    let max = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    Descriptors { open: u64::try_from(open).unwrap_or(u64::MAX), max }
}

/// What fits into `descriptors`, beside what `sockets` take.
///
/// # Errors
/// [`TooFewDescriptors`] if `max_connections` is set and does not fit, or nothing is left for one connection.
pub fn room(
    descriptors: u64,
    sockets: SocketCounts,
    max_connections: Option<u32>,
    max_pending: u32,
) -> Result<Capacity, TooFewDescriptors> {
    let reserve = sockets.reserve(workers());
    let fits = |connections: u64, pending: u64| {
        connections.saturating_mul(2).saturating_add(pending).saturating_add(reserve)
    };
    if let Some(connections) = max_connections {
        let needed = fits(connections.into(), max_pending.into());
        if needed > descriptors {
            return Err(TooFewDescriptors { needed, reserve, limit: descriptors });
        }
        return Ok(Capacity { connections, pending: max_pending });
    }
    let pending = u64::from(max_pending).min(descriptors / 4);
    let connections = descriptors.saturating_sub(fits(0, pending)) / 2;
    if connections == 0 {
        // What listens takes it all: a range of ports has a socket for each port and worker.
        return Err(TooFewDescriptors { needed: fits(1, pending), reserve, limit: descriptors });
    }
    Ok(Capacity {
        connections: u32::try_from(connections).unwrap_or(u32::MAX),
        pending: u32::try_from(pending).unwrap_or(max_pending),
    })
}

/// One worker per core.
#[must_use]
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The addresses of this machine's interfaces, loopback aside; empty where the system does not tell.
#[must_use]
pub fn addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(if_addrs::Interface::ip).filter(|ip| !ip.is_loopback()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_numbers_derive_from_the_limit() {
        let reserve = SocketCounts::default().reserve(workers());
        for (limit, pending) in [(1024, 256), (1_048_576, 16_384)] {
            let connections = u32::try_from((limit - u64::from(pending) - reserve) / 2).unwrap();
            assert_eq!(
                room(limit, SocketCounts::default(), None, 16_384),
                Ok(Capacity { connections, pending })
            );
        }
    }

    #[test]
    fn what_listens_and_who_asks_there_is_reserved_beside_clients() {
        let sockets = SocketCounts { listeners: 3, health_ports: 2, admin: 1, status: 2, pages: 100 };
        // 2 x 3 x 4 listen, 3 x 4 are the workers'; 2 x (64 + 3) check; 32 + 3 operate; 64 + 6 watch, and 100 look on.
        assert_eq!(sockets.reserve(4), 24 + 12 + 134 + 35 + 70 + 100 + 64);
        assert_eq!(SocketCounts::default().reserve(4), 12 + 64);
    }

    #[test]
    fn pages_take_no_more_than_a_small_part_of_the_descriptors() {
        assert_eq!([64, 1024, 8192, 1_048_576].map(max_pages), [16, 64, 512, 1024]);
    }

    #[test]
    fn a_machine_that_listens_with_all_it_has_serves_nobody_and_says_so() {
        let sockets = SocketCounts { listeners: 1000, ..SocketCounts::default() };
        let error = room(512, sockets, None, 16_384).unwrap_err();
        assert_eq!((error.limit, error.reserve), (512, sockets.reserve(workers())));
        assert!(error.to_string().contains("listen on fewer ports"), "{error}");
    }

    #[test]
    fn numbers_that_do_not_fit_are_named() {
        let error = room(20_000, SocketCounts::default(), Some(8000), 16_384).unwrap_err();
        let reserve = SocketCounts::default().reserve(workers());
        let needed = 32_384 + reserve;
        assert_eq!(error, TooFewDescriptors { needed, reserve, limit: 20_000 });
        assert!(error.to_string().contains(&needed.to_string()) && error.to_string().contains("20000"));
        assert_eq!(
            room(needed, SocketCounts::default(), Some(8000), 16_384),
            Ok(Capacity { connections: 8000, pending: 16_384 })
        );
    }
}
