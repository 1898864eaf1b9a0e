//! What this machine allows and has: descriptors, cores, addresses.

use std::net::IpAddr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are neither a connection's nor an unfinished header's.
const OTHER_DESCRIPTORS: u64 = 64;

/// How many connections and unfinished headers there may be at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Connections; each relayed one needs two descriptors.
    pub connections: u32,
    /// Unfinished headers.
    pub pending: u32,
}

/// The configured numbers do not fit the descriptor limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFewDescriptors {
    /// 2 x max-connections + max-pending + 64.
    pub needed: u64,
    /// The hard limit.
    pub limit: u64,
}

impl std::fmt::Display for TooFewDescriptors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { needed, limit } = self;
        write!(
            f,
            "server.max-connections and server.proxy.max-pending need {needed} descriptors (2 x max-connections + max-pending + {OTHER_DESCRIPTORS}), but the hard limit is {limit}: lower them, or raise the limit (LimitNOFILE= in the service unit)"
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

/// What fits into `descriptors`.
///
/// # Errors
/// [`TooFewDescriptors`] if `max_connections` is set and does not fit.
pub fn room(
    descriptors: u64,
    max_connections: Option<u32>,
    max_pending: u32,
) -> Result<Room, TooFewDescriptors> {
    let fits = |connections: u64, pending: u64| {
        connections.saturating_mul(2).saturating_add(pending).saturating_add(OTHER_DESCRIPTORS)
    };
    if let Some(connections) = max_connections {
        let needed = fits(connections.into(), max_pending.into());
        if needed > descriptors {
            return Err(TooFewDescriptors { needed, limit: descriptors });
        }
        return Ok(Room { connections, pending: max_pending });
    }
    let pending = u64::from(max_pending).min(descriptors / 4);
    let connections = descriptors.saturating_sub(fits(0, pending)) / 2;
    Ok(Room {
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
        assert_eq!(room(1024, None, 16_384), Ok(Room { connections: 352, pending: 256 }));
        assert_eq!(room(1_048_576, None, 16_384), Ok(Room { connections: 516_064, pending: 16_384 }));
    }

    #[test]
    fn numbers_that_do_not_fit_are_named() {
        let error = room(20_000, Some(8000), 16_384).unwrap_err();
        assert_eq!(error, TooFewDescriptors { needed: 32_448, limit: 20_000 });
        assert!(error.to_string().contains("32448") && error.to_string().contains("20000"));
        assert_eq!(room(32_448, Some(8000), 16_384), Ok(Room { connections: 8000, pending: 16_384 }));
    }
}
