//! The only place that knows sockets and readiness: accept, receive, connect and send, relay, deadlines.
//!
//! `connection.rs` is written over these verbs and never names the runtime. Today they stand on tokio's
//! `current_thread` scheduler, one per worker; another engine may replace them, and then nothing else changes.
//! Nothing here decides who may enter or what a header means.

mod accept;
mod admission;
mod deadline;
mod dial;
mod given;
mod lingering;
mod listen;
mod pending;
mod receive;
mod relay;
mod say;
mod socket;
mod wake;

pub use accept::{AcceptPause, Acceptor, Arrival};
pub use admission::{Admission, Permit};
pub use deadline::later;
pub use dial::{DialError, dial};
pub use given::{Given, GivenError};
pub use lingering::Lingering;
pub use listen::{Binding, ListenError, Listening, RawListener, bind, prove_free};
pub use pending::{Pending, PendingHeaders};
pub use receive::{Received, receive};
pub use relay::{Early, Guard, RelayEnd, relay};
pub use say::{say, say_and_close};
pub use socket::{Address, Socket, Traffic};
pub use wake::{Bell, Ear, Wake};
