//! Plain values that everybody may read and that read nobody.

pub mod machine;
pub mod outcome;
pub mod protocol;
