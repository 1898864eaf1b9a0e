//! The program as its users meet it: all tests that need no process of their own, as one program.
//!
//! One, since each costs a link with everything that the program is made of, and since tests wait more than they count:
//! 461 of them in one program keep a core busy where sixty programs in a row let it idle.
//! By name: `cargo test -p truepeer-gateway --test all deny_feed::`.
//!
//! Beside it: `layers` and `config_cases`, which start nothing, and `transparent`, `label` and `shared`, whose
//! namespaces, control groups and stores would be in others' way.

mod access;
mod acquaintances;
mod activation;
mod admin;
mod backend_down;
mod backend_faults;
mod bad_day;
mod big_lists;
mod cases;
mod chains;
mod checks;
mod costs;
mod deny;
mod deny_feed;
mod descriptors;
mod doctor;
mod drain;
mod exec;
mod exec_bounds;
mod explain;
mod failover;
mod families;
mod first_bytes;
mod handoff_words;
mod health;
mod import;
mod init;
mod journey;
mod limits;
mod log_file;
mod logs_page;
mod manager;
mod missing_header;
mod moves;
mod neighbours;
mod page;
mod pending;
mod pid1;
mod port_ranges;
mod ports;
mod probe;
mod program;
mod promised;
mod proof;
mod proxy_own;
mod readme;
mod records;
mod refusal_arrival;
mod refusals;
mod relay;
mod reload;
mod secure;
mod send;
mod slow_backends;
mod slow_headers;
mod snippet;
mod sockets;
mod status;
mod stop;
mod support;
mod terminal;
mod tlvs;
mod top;
mod trusted_names;
mod unproven;
mod upgrade;
mod upgrade_orders;
mod watch;
