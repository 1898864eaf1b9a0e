//! The IO shell on tokio: moves bytes, owns time and tasks, and asks the sans-IO half for every decision.
//!
//! Used by servers. It parses nothing and judges nobody.

mod accept;
mod event;
mod handle;
mod incoming;
mod listener;
mod options;
mod pending;
mod read_header;
mod send_header;
mod split;
mod stream;
#[cfg(feature = "tracing")]
mod trace;
mod unread;

pub use accept::Accept;
pub use event::{ListenerEvent, Refusal};
pub use handle::ListenerHandle;
pub use incoming::Incoming;
pub use listener::ProxyListener;
pub use options::ListenerOptions;
pub use send_header::{connect, send_header};
pub use split::{ReadHalf, Split};
pub use stream::{ClientStream, Connection, Parts, ProxyOwnStream};

#[cfg(feature = "tokio-rustls")]
pub(crate) use listener::{Turns, or_never};
#[cfg(feature = "tokio-rustls")]
pub(crate) use pending::{Ended, Pending};
