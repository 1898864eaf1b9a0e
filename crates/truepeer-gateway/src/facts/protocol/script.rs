//! What is said to checks, where a protocol leaves a choice.

/// Every text is printable ASCII without quotes or backslashes, so that it may stand anywhere.
#[derive(Debug)]
pub struct Script {
    /// What this host is called.
    pub host: String,
    /// The greeting's words.
    pub welcome: String,
    /// `name=value` words that the answer to a first question lists, one a line.
    pub facts: Vec<String>,
    /// Why everything else is refused.
    pub no: &'static str,
}

/// Whether the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Then {
    /// Wait for more.
    GoOn,
    /// Write what there is to write, then close.
    Close,
}

impl Script {
    /// The welcome and the facts, one a line, for where no protocol frames them.
    #[must_use]
    pub fn page(&self) -> String {
        let facts: String = self.facts.iter().map(|fact| format!("{fact}\n")).collect();
        format!("{} {}\n{facts}", self.host, self.welcome)
    }
}
