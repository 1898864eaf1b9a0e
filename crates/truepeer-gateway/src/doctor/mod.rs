//! What the commands beside the front door do on files and sockets: read other programs' configurations, send headers,
//! listen to what proxies send, ask servers what they make of a header.
//!
//! Called by the command line only; a running front door never comes here. Everything that a file or a peer says is
//! bounded, and escaped before it is shown.

pub mod capture;
pub mod dial;
pub mod firewall;
pub mod header;
pub mod hear;
pub mod import;
pub mod init;
pub mod input;
pub mod listening;
pub mod neighbours;
pub mod probe;
pub mod receivers;
pub mod run;
pub mod send;
pub mod shown;
pub mod snippet;
pub mod survey;
pub mod tls;
pub mod watch;
