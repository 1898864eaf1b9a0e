//! How a configuration names a control group.

use std::fmt;
use std::path::PathBuf;

/// A control group, as an operator says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CgroupName {
    /// A path: of its folder, or as `/proc/PID/cgroup` has it, or of a file that holds the number of one of its processes.
    Path(PathBuf),
    /// The name of a systemd unit.
    Unit(String),
}

/// Unit types that have a control group of their own.
const UNITS: [&str; 3] = [".service", ".slice", ".scope"];

impl CgroupName {
    /// What `text` names.
    ///
    /// # Errors
    /// What is allowed, if it names none.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with('/') {
            let is_plain = text.split('/').all(|part| part != "." && part != "..");
            return if is_plain {
                Ok(Self::Path(text.into()))
            } else {
                Err("a path is written without `.` and `..`")
            };
        }
        let stem = UNITS.iter().find_map(|end| text.strip_suffix(end));
        let is_name = |stem: &str| {
            !stem.is_empty()
                && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte))
        };
        match stem {
            Some(stem) if is_name(stem) && text.len() <= LONGEST_UNIT => Ok(Self::Unit(text.to_owned())),
            _ if text.ends_with(".socket") => Err(
                "sockets of a socket unit are made by systemd itself: their control group is `/init.scope`",
            ),
            _ => Err(
                "the name of a systemd unit ends with `.service`, `.slice` or `.scope`; a path begins with `/`",
            ),
        }
    }
}

/// systemd's own limit.
const LONGEST_UNIT: usize = 255;

impl fmt::Display for CgroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Unit(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_units_are_told_apart_and_what_is_neither_is_not_guessed() {
        assert_eq!(CgroupName::parse("/run/sshd.pid"), Ok(CgroupName::Path("/run/sshd.pid".into())));
        for unit in ["ssh.service", "postfix@-.service", "system.slice", "a\\x2db.scope"] {
            assert_eq!(CgroupName::parse(unit), Ok(CgroupName::Unit(unit.to_owned())), "{unit}");
        }
        for wrong in ["ssh", "", ".service", "a/b.service", "ssh.socket", "/sys/../etc", "a b.service"] {
            assert!(CgroupName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
