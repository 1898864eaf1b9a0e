//! The program `truepeer`, floor by floor, from the street up: each uses those below it.
//!
//! `connection` is the walk of one connection through the [`rooms`]; read it first. The library's sans-IO half
//! decides trust and identity; [`engine`] is the only place that knows sockets. The arrows between these modules are
//! the table in `ARCHITECTURE.md`, which `tests/layers.rs` proves.
//!
//! This library is not published: what is `pub` is so for `main`, the tests and the benches beside it, and promised to
//! nobody else. What none of them needs is the crate's own.

pub mod cli;
pub mod config;
mod connection;
pub mod control;
mod demo;
pub mod doctor;
pub mod door;
pub mod engine;
pub mod facts;
pub mod observe;
pub mod rooms;
pub mod server;
