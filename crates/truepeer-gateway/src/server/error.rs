//! Why a server could not be started, or could not take a new configuration.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::engine::ListenError;
use crate::facts::bind::Bind;
use crate::facts::machine::TooFewDescriptors;
use crate::rooms::bans::state::StateError;

/// Why a server could not be started.
#[derive(Debug)]
pub enum StartError {
    /// An address could not be listened on.
    Listen {
        /// The listener.
        listener: Arc<str>,
        /// Its setting that names the address.
        setting: &'static str,
        /// Why.
        error: ListenError,
    },
    /// A reload wants another kind of socket where one is served.
    Kept {
        /// The listener.
        listener: Arc<str>,
        /// The setting that names the address.
        setting: &'static str,
        /// The address, as configured.
        address: Bind,
    },
    /// The configured numbers do not fit the descriptor limit.
    Descriptors(TooFewDescriptors),
    /// The state file cannot be used.
    State(StateError),
    /// The system refused a thread, a runtime or a socket.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { listener, setting, error } => {
                write!(f, "server.listener.{listener}.{setting}: {error}")
            }
            Self::Kept { listener, setting, address } => {
                let what = match address {
                    Bind::Tcp { .. } => "whether it serves IPv4, too,",
                    Bind::Unix { .. } => "`socket-mode`",
                };
                write!(
                    f,
                    "server.listener.{listener}.{setting}: {address} is served already, and {what} is decided when its socket is made: restart to apply the change"
                )
            }
            Self::Descriptors(error) => error.fmt(f),
            Self::State(error) => match error {
                StateError::Unreadable { cause, .. } => write!(f, "admin.state: {error}: {cause}"),
                _ => write!(f, "admin.state: {error}"),
            },
            Self::System(error) => write!(f, "the system refused a thread or a socket: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
