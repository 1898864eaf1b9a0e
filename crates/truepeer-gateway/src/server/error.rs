//! Why a server could not be started, or could not take a new configuration.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::engine::ListenError;
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
    /// The configured numbers do not fit the descriptor limit.
    Descriptors(TooFewDescriptors),
    /// The state file cannot be used.
    State(StateError),
    /// The process before goes on, and why.
    NotSucceeded(String),
    /// The system refused a thread, a runtime or a socket.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { listener, setting, error } => {
                write!(f, "server.listener.{listener}.{setting}: {error}")
            }
            Self::Descriptors(error) => error.fmt(f),
            Self::State(error) => match error {
                StateError::Unreadable { cause, .. } => write!(f, "admin.state: {error}: {cause}"),
                _ => write!(f, "admin.state: {error}"),
            },
            Self::NotSucceeded(why) => write!(f, "the process before goes on: {why}"),
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
