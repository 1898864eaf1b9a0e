//! The rooms of a connection, in the order in which it enters them. None knows who furnishes it: each owns the type of
//! its policy, which the configuration fills.

pub mod trust;

pub mod identify;
pub mod own;

pub mod access;
pub mod bans;
pub mod limits;

pub mod backend;
pub mod handoff;

pub mod record;
pub mod refuse;
