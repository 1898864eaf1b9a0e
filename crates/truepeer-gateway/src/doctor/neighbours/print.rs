//! What a program prints of its own configuration.

use std::time::Duration;

use super::{MAX_TEXT, Unreachable};
use crate::doctor::run::{self, Around, Bounds};

/// How long a program may take.
const TIME: Duration = Duration::from_secs(20);

/// What the command prints, under its own words.
pub(super) fn printed(words: &[&str]) -> Result<(String, String), Unreachable> {
    let name = words.join(" ");
    let (program, arguments) = words.split_first().ok_or_else(|| Unreachable("no command".to_owned()))?;
    let found = run::find(program, None).ok_or_else(|| Unreachable(format!("`{program}` is not here")))?;
    let arguments: Vec<_> = arguments.iter().map(|word| (*word).to_owned()).collect();
    let bounds = Bounds { bytes: usize::try_from(MAX_TEXT).unwrap_or(usize::MAX), time: TIME };
    let text = run::printed(&found, &arguments, bounds, Around::Ours)
        .map_err(|why| Unreachable(format!("`{name}`: {why}")))?;
    Ok((name, String::from_utf8_lossy(&text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_here_is_named() {
        let why = printed(&["no-such-program-anywhere", "-n"]).unwrap_err().to_string();
        assert_eq!(why, "`no-such-program-anywhere` is not here");
    }
}
