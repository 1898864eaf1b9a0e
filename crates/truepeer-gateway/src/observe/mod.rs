//! What is said about connections, and to whom: lines of the log, events, counters.

pub mod events;
pub mod folding;
pub mod line;
pub mod log;
pub mod metrics;
pub mod recent;
pub mod record;
pub mod turned_away;
