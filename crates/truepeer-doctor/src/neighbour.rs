//! What a program's own configuration says about the PROXY protocol, and whether two programs agree.
//!
//! Text in, facts out, findings out; nothing is opened, asked or run here. In three steps:
//!
//! 1. [`Source`] says, as data, which programs can be read, which commands make them print their configuration, and
//!    where their files usually are. The caller runs or reads what it names, and hands the texts over as [`File`]s.
//! 2. [`read`] makes [`Neighbour`]s of the texts: where it listens and which header it reads there ([`Listen`]), where
//!    it connects and which header it sends there ([`Connect`]), each with file and line, and what could not be
//!    interpreted ([`Unread`]). One text may hold several neighbours: a compose file has Docker's published ports and
//!    Traefik's labels. truepeer itself is a neighbour, too: its caller makes one of its configuration.
//! 3. [`pairs`] says who connects to whom, [`compare`] what does not fit, between any number of neighbours.
//!
//! What is in [`Unread`] is never taken for agreement: show it beside the findings. A value that is not told in the
//! text is `Unknown` in its type, and no finding is made of it.
//!
//! ```
//! use truepeer_doctor::Product;
//! use truepeer_doctor::neighbour::{File, Machine, compare, read};
//!
//! let haproxy = File { name: "haproxy.cfg", text: "listen smtp\n  bind :25\n  server s 127.0.0.1:2525\n" };
//! let main = File { name: "main.cf", text: "mynetworks = 127.0.0.0/8\n" };
//! let master = File {
//!     name: "master.cf",
//!     text: "127.0.0.1:2525 inet n - n - - smtpd\n  -o smtpd_upstream_proxy_protocol=haproxy\n",
//! };
//! let mut all = read(Product::Haproxy, &[haproxy]);
//! all.extend(read(Product::Postfix, &[main, master]));
//! let found = compare(&all, &Machine::default());
//! assert_eq!(found[0].class.name(), "MISS");
//! assert!(found[0].seen.contains("haproxy.cfg:3"));
//! ```

mod address;
mod caddy;
mod compare;
mod compose;
mod dovecot;
mod environment;
mod envoy;
mod exim;
mod facts;
mod haproxy;
mod hitch;
mod kubernetes;
mod lines;
mod model;
mod nginx;
mod opensmtpd;
mod postfix;
mod source;
mod sslh;
mod stalwart;
mod stunnel;
mod text;
mod tokens;
mod traefik;
mod tree;
mod varnish;

pub use address::{Address, Families, Host};
pub use compare::{Machine, Pair, compare, pairs, rights};
pub use facts::{CheckForm, ConnectTls, ListenTls, Outsiders, Protocol, Reads, Sends, Trust, Versions};
pub use lines::believes_everybody;
pub use model::{Check, Connect, Entry, Listen, Neighbour, Patience, Place, Unread};
pub use source::{File, MAX_PORTS, Source, read};
