//! Control: the thread that answers the operator (`admin`) and, apart from that, monitoring (`status`).
//!
//! Started by `run` if the configuration asks for either. It has a runtime of its own, so that no worker ever waits
//! for it, and sees the server through its [`View`]. It goes on while the server drains, and ends with the process.

use std::fmt;
use std::io;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::admin::{self, Order};
use crate::config::{Bind, Config};
use crate::engine::{Binding, Given, ListenError, Listening, bind};
use crate::server::View;
use crate::status;

/// Why control could not be started.
#[derive(Debug)]
pub enum ControlError {
    /// An address could not be listened on.
    Listen {
        /// The setting that names it.
        key: &'static str,
        /// Why.
        error: ListenError,
    },
    /// The system refused a thread or a runtime.
    System(io::Error),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { key, error } => {
                write!(f, "{key}: {error}")?;
                if error.error.kind() == io::ErrorKind::NotFound {
                    f.write_str(": its folder must exist (`RuntimeDirectory=truepeer` in a service unit makes /run/truepeer)")?;
                }
                Ok(())
            }
            Self::System(error) => write!(f, "the system refused a thread: {error}"),
        }
    }
}

impl std::error::Error for ControlError {}

/// Sockets that are bound and not served yet: every mistake shows before the server starts.
#[derive(Debug)]
pub struct Sockets {
    admin: Option<Listening>,
    status: Vec<Listening>,
}

/// The running thread; dropping it ends the thread.
#[derive(Debug)]
pub struct Control {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Where status is served, with the ports that the system chose.
    pub status: Vec<String>,
}

impl Sockets {
    /// Listens where `config` asks for it, on `given` sockets where there are such.
    ///
    /// # Errors
    /// [`ControlError::Listen`].
    pub fn bind(config: &Config, given: &Given) -> Result<Self, ControlError> {
        let listen = |key, address: &Bind| {
            let bound = bind(address, 1, Binding::Listens, given);
            bound.map_err(|error| ControlError::Listen { key, error })
        };
        let admin = config.admin.bind().map(|address| listen("admin.socket", &address)).transpose()?;
        let status = config.status.binds.iter().map(|address| listen("status.bind", address));
        Ok(Self { admin, status: status.collect::<Result<_, _>>()? })
    }

    /// Serves them; without any, no thread is started. Orders for the main thread come out of the second value.
    ///
    /// # Errors
    /// [`ControlError::System`].
    pub fn serve(self, view: View) -> Result<(Option<Control>, mpsc::Receiver<Order>), ControlError> {
        let (orders, ordered) = mpsc::channel(admin::ORDERS_QUEUED);
        if self.admin.is_none() && self.status.is_empty() {
            return Ok((None, ordered));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ControlError::System)?;
        let status = self.status.iter().map(|listening| listening.address.clone()).collect();
        let (stop, stopped) = oneshot::channel();
        let body = move || {
            let desk = admin::Desk { view, orders };
            runtime.block_on(async {
                tokio::select! {
                    () = self.attend(desk) => {}
                    // A sender that is gone means the same.
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(body)
            .map_err(ControlError::System)?;
        Ok((Some(Control { stop: Some(stop), thread: Some(thread), status }), ordered))
    }

    async fn attend(mut self, desk: admin::Desk) {
        let mut served = JoinSet::new();
        let room = status::Room::default();
        for listening in &mut self.status {
            match listening.take_acceptor() {
                Ok(Some(acceptor)) => {
                    drop(served.spawn(status::serve(acceptor, desk.view.clone(), room.clone())));
                }
                Ok(None) => {}
                Err(error) => failed(&listening.address, &error),
            }
        }
        if let Some(listening) = &mut self.admin {
            match listening.take_acceptor() {
                Ok(Some(acceptor)) => drop(served.spawn(admin::serve(acceptor, desk))),
                Ok(None) => {}
                Err(error) => failed(&listening.address, &error),
            }
        }
        while served.join_next().await.is_some() {}
    }
}

fn failed(address: &str, error: &io::Error) {
    let cause = error.to_string();
    tracing::error!(event = "listener_failed", address, cause);
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked it has said so.
            let _ = thread.join();
        }
    }
}
