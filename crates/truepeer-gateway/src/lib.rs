//! The program `truepeer`: the rooms of a connection, in order.
//!
//! [`connection`] is the walk; the rooms follow in the order in which a connection enters them.
//! The library's sans-IO half decides trust and identity; [`engine`] is the only place that knows sockets.

// The walk.
pub mod connection;
pub mod door;

// The rooms.
pub mod access;
pub mod admit;
pub mod answer;
pub mod backend;
pub mod bans;
pub mod connect;
pub mod handoff;
pub mod health;
pub mod identify;
pub mod limits;
pub mod record;
pub mod refuse;
pub mod speak;

// What the rooms speak of.
pub mod events;
pub mod kind;
pub mod misfit;
pub mod outcome;
pub mod protocol;
pub mod registry;

// Around the rooms.
pub mod admin;
pub mod cli;
pub mod config;
pub mod control;
pub mod denied;
pub mod engine;
pub mod folding;
pub mod keeper;
pub mod log;
pub mod machine;
pub mod manager;
pub mod metrics;
pub mod prove;
pub mod pulse;
pub mod server;
pub mod status;
pub mod trouble;
pub mod whoami;
pub mod worker;
