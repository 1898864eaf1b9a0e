//! The only place that knows sockets and readiness: accept, receive, connect and send, relay, deadlines.
//!
//! `connection.rs` is written over these verbs and never names the runtime. Under a worker they stand on a loop of our
//! own, one per worker ([`run`]); under threads for slow things, on that thread's tokio runtime.
//! Nothing here decides who may enter or what a header means.

mod accept;
mod admission;
mod alarm;
mod bpf;
mod close;
mod deadline;
mod dial;
mod given;
mod inherited;
pub mod label;
mod line;
mod lingering;
mod listen;
mod names;
mod pending;
mod place;
pub mod program;
pub mod published;
mod reactor;
mod receive;
mod relay;
mod run;
mod say;
mod socket;
mod spare;
mod timers;
pub mod transparent;
mod wake;
mod watched;
mod wheel;

pub use accept::{AcceptPause, Acceptor, Arrival};
pub use admission::Admission;
pub use deadline::{Sleep, in_time, later, moment, now, until, wall};
pub use dial::{DialError, NotShown, dial};
pub use given::{Given, GivenError, SocketName as GivenLabel};
pub use inherited::{Inherited, MOST_INHERITED, Offer};
pub use line::{HeardMessage, MAX_DESCRIPTORS, MAX_MESSAGE, MessageSocket};
pub use lingering::Lingering;
pub use listen::{Binding, Handle, ListenError, Listening, RawListener, bind, prove_free};
pub use names::{CLibrary, keep_to_files_and_dns};
pub use pending::{Pending, PendingHeaders};
pub use receive::{Looked, Reading, Received, look, receive, receive_as};
pub use relay::{Early, FirstLines, Guard, Overheard, Pair, Relay, RelayEnd, Stopped, relay};
pub use run::{Cut, FuturePool, Reach, Task, Tasks, Then, Turns, run, then};
pub use say::{say, say_and_close};
pub use socket::{Address, Socket, Stream, Traffic};
pub use spare::{Free, give_back, spare};
pub use wake::{Bell, Subscription, Wake};

#[cfg(test)]
pub(crate) mod simulated;
