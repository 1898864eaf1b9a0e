//! What a machine shows of the proxies and servers on it: text in, facts out.
//!
//! The caller reads `/proc` and runs what [`Program`] names; nothing here does.

mod addresses;
mod asked;
mod hops;
mod programs;
mod published;
mod recent;
mod sockets;
mod spaces;

pub use addresses::{own_v4, own_v6};
pub use asked::{Answers, Target, judge_answers};
pub use hops::{unmasked_families, untrusted_peers};
pub use programs::{MAX_PROGRAMS, Process, Program, Way, installable, installed, programs, recognise};
pub use published::{Published, published};
pub use recent::recent;
pub use sockets::{MAX_SOCKETS, Socket, State, sockets};
pub use spaces::{Joined, Space, join};
