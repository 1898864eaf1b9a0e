//! The service manager: told when we are ready, reload and stop, and that we are alive.
//!
//! Speaks sd_notify(3): datagrams of `KEY=VALUE` lines to the socket that `NOTIFY_SOCKET` names. Without that variable
//! nothing is said. `run` tells it what happens; the watchdog's thread tells it that every worker answers.

mod watchdog;

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

pub use watchdog::Watchdog;

/// Beside the drain itself: what is left to do after it.
const DRAIN_MARGIN: Duration = Duration::from_secs(10);

/// Says things to the service manager; cheap to clone. It never waits: what a manager that is stuck cannot take is lost.
#[derive(Debug, Clone)]
pub struct Manager(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    address: SocketAddr,
    /// Whether it was said that nobody hears us: once is enough.
    complained: AtomicBool,
}

impl Manager {
    /// The one that started this process, if any.
    ///
    /// # Errors
    /// If `NOTIFY_SOCKET` names nothing that could be a socket. Whether somebody listens shows only when we speak.
    pub fn of_this_process() -> io::Result<Self> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(Self(None)) };
        Self::at(name.as_bytes())
    }

    /// The one that listens at `name`: a path, or a name in the abstract namespace after an `@`.
    ///
    /// # Errors
    /// If it is neither.
    pub fn at(name: &[u8]) -> io::Result<Self> {
        let address = match name {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
            _ => {
                let text = format!("{} is neither a path nor a name that begins with @", name.escape_ascii());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self(Some(Arc::new(Line { socket, address, complained: AtomicBool::new(false) }))))
    }

    /// How long the manager waits for a sign of life, if this process is to give one.
    #[must_use]
    pub fn patience() -> Option<Duration> {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        number("WATCHDOG_USEC").filter(|usec| meant && *usec > 0).map(Duration::from_micros)
    }

    /// Connections are accepted; `status` says how.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// The configuration is being read again; ends with [`Self::ready`], also if it changed nothing.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = Duration::try_from(now).unwrap_or_default().as_micros();
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// No more connections are accepted, and the end comes after `drain` at the latest: asks not to be killed before.
    pub fn stopping(&self, drain: Duration, status: &str) {
        let micros = drain.saturating_add(DRAIN_MARGIN).as_micros();
        let status = one_line(status);
        self.say(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}\nSTATUS={status}"));
    }

    /// The process `pid` is the one to be watched from now on. What this one says is not heard any more.
    pub fn succeeded_by(&self, pid: u32) {
        self.say(&format!("MAINPID={pid}"));
    }

    /// How things are, in words.
    pub fn status(&self, status: &str) {
        self.say(&format!("STATUS={}", one_line(status)));
    }

    fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, text: &str) {
        let Some(line) = &self.0 else { return };
        if let Err(error) = line.socket.send_to_addr(text.as_bytes(), &line.address)
            && !line.complained.swap(true, Ordering::Relaxed)
        {
            let (cause, remedy) = (error.to_string(), "the service manager does not hear how truepeer is");
            tracing::warn!(event = "manager_unreachable", cause, remedy);
        }
    }
}

/// A status is one line; the first says enough.
fn one_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
