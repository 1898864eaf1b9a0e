//! The backend of the demonstration.

pub mod whoami;
