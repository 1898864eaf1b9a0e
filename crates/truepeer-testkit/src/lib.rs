//! Reference decoder, scripted streams and fake servers: what the tests judge truepeer by.

pub mod dice;
pub mod fake;
pub mod reference;
pub mod scripted;
