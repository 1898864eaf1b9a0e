//! How a case ends when it does not pass: why it failed, or what was missing to run it.
//!
//! Called by everything. It must not know any case.

/// What a case, or a step of one, returns.
pub(crate) type Result<T = ()> = core::result::Result<T, Verdict>;

/// Why a case did not pass.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// The behaviour is not as promised; the sentence says what was seen and what was expected.
    Failed(String),
    /// The machine lacks something; the words name it.
    Skipped(String),
}

/// Ends a step as failed.
pub(crate) fn failed<T>(why: impl Into<String>) -> Result<T> {
    Err(Verdict::Failed(why.into()))
}

/// Ends a step as failed unless `holds`.
pub(crate) fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result {
    if holds { Ok(()) } else { failed(why()) }
}

/// Says which step an error of the system came from.
pub(crate) trait During<T> {
    /// Turns the error into a failed verdict that begins with `step`.
    fn during(self, step: &str) -> Result<T>;
}

impl<T, E: core::fmt::Display> During<T> for core::result::Result<T, E> {
    fn during(self, step: &str) -> Result<T> {
        self.map_err(|error| Verdict::Failed(format!("{step}: {error}")))
    }
}
