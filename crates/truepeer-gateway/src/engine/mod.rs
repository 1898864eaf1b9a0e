//! The only place that knows sockets and readiness: accept, receive, connect and send, relay, deadlines.
//!
//! `connection.rs` is written over these verbs and never names the runtime. Under a worker they stand on a loop of our
//! own, one per worker ([`run`]); under threads for slow things, on that thread's tokio runtime.
//! Nothing here decides who may enter or what a header means.

mod accept;
mod admission;
mod bpf;
mod deadline;
mod dial;
mod given;
pub mod label;
mod lingering;
mod listen;
mod names;
mod pending;
pub mod program;
mod reactor;
mod receive;
mod relay;
mod run;
mod say;
mod socket;
mod timers;
pub mod transparent;
mod wake;
mod watched;

pub use accept::{AcceptPause, Acceptor, Arrival};
pub use admission::{Admission, Admitted};
pub use deadline::{Sleep, in_time, later, now, until, wall};
pub use dial::{DialError, NotShown, dial};
pub use given::{Given, GivenError};
pub use lingering::Lingering;
pub use listen::{Binding, ListenError, Listening, RawListener, bind, prove_free};
pub use names::keep_to_files_and_dns;
pub use pending::{Pending, PendingHeaders};
pub use receive::{Reading, Received, receive, receive_as};
pub use relay::{Early, FirstLines, Guard, Overheard, Pair, Relay, RelayEnd, Stopped, relay};
pub use run::{Tasks, run};
pub use say::{say, say_and_close};
pub use socket::{Address, Socket, Stream, Traffic};
pub use wake::{Bell, Subscription, Wake};
