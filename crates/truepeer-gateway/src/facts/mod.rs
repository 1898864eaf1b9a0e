//! Plain values that everybody may read and that read nobody.

pub mod address;
pub mod bind;
pub mod boot;
pub mod cgroup;
pub mod files;
pub mod instant;
pub mod journey;
pub mod lines;
pub mod machine;
pub mod manners;
pub mod narrow;
pub mod network;
pub mod outcome;
pub mod ports;
pub mod program;
pub mod protocol;
pub mod store;
