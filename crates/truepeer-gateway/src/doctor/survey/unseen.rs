//! What the survey could not see, and the command that shows it.

/// Something that was not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSeen {
    /// What, and why.
    pub what: String,
    /// What to type to see it.
    pub command: Option<String>,
}

/// A word as a shell takes it for one: names come from strangers, and commands are pasted.
#[must_use]
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_name_does_nothing() {
        for (word, expected) in [
            ("/etc/haproxy/haproxy.cfg", "/etc/haproxy/haproxy.cfg"),
            ("-n", "-n"),
            ("", "''"),
            ("/tmp/$(reboot)", "'/tmp/$(reboot)'"),
            ("a'b", "'a'\\''b'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
