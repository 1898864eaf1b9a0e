//! The backend of the demonstration.

pub(crate) mod whoami;
