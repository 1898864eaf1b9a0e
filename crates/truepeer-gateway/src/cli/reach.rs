//! How commands reach a running server: which socket, what to say when that fails, and in which form to answer.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::{FAILED, NOT_REACHED};
use crate::config::{self, Colour, DEFAULT_PATH, Loaded, Origin};
use crate::control::admin::client::AskError;

/// Where a running server is.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The configuration file of the running server; its `[admin] socket` is used
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's admin socket; no configuration is read then
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
}

/// Arguments of every command that speaks to a running server, and answers.
#[derive(Debug, Args)]
pub(super) struct Reach {
    #[command(flatten)]
    place: Place,
    /// Answer in JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// Why a command ends, in words and as an exit code.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) text: String,
    pub(super) code: u8,
}

impl Place {
    /// The admin socket.
    pub(super) fn socket(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.socket {
            return Ok(path.clone());
        }
        let unreached = |text| Failure { text, code: NOT_REACHED };
        let Loaded { config, origin } = config::load(self.config.as_deref()).map_err(|errors| Failure {
            text: format!(
                "{}\nThe running server was not asked, and goes on as it is; `--socket PATH` reaches it without this file.",
                errors.render(Colour::for_stderr())
            ),
            code: FAILED,
        })?;
        config.admin.socket.ok_or_else(|| match origin {
            Origin::File(path) => unreached(format!(
                "error: {} has no `[admin] socket`: add `[admin]` with `socket = \"/run/truepeer/admin.sock\"` and restart truepeer",
                path.display()
            )),
            Origin::Demonstration => unreached(format!(
                "error: there is no {DEFAULT_PATH}: name the running server's configuration with `--config FILE`, or its socket with `--socket PATH`"
            )),
        })
    }
}

impl Reach {
    /// The admin socket.
    pub(super) fn socket(&self) -> Result<PathBuf, Failure> {
        self.place.socket()
    }

    /// Whether the answer is for a program.
    pub(super) fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Text }
    }
}

/// For whom the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A person.
    Text,
    /// A program.
    Json,
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let code = match error {
            AskError::Refused(_) => FAILED,
            AskError::Unreachable { .. }
            | AskError::Broken(_)
            | AskError::Late { .. }
            | AskError::Ended(_)
            | AskError::Again(_) => NOT_REACHED,
        };
        // What the server says may be a whole page of its own.
        let text = error.to_string();
        Self { text: if text.starts_with("error") { text } else { format!("error: {text}") }, code }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // The reader may have heard enough.
        let code = if error.kind() == io::ErrorKind::BrokenPipe { 0 } else { FAILED };
        Self { text: format!("error: cannot write the answer: {error}"), code }
    }
}

/// Runs a command that writes its answer to standard output.
pub(super) fn answer(command: impl FnOnce(&mut dyn Write) -> Result<u8, Failure>) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let result = command(&mut out).and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(Failure { text, code }) => {
            // What was written so far comes first, where both go to one place.
            let _ = out.flush();
            if code != 0 {
                complain(&text);
            }
            ExitCode::from(code)
        }
    }
}

/// Says something on standard error.
#[expect(clippy::print_stderr, reason = "a command speaks to its user")]
pub(super) fn complain(text: &str) {
    eprintln!("{text}");
}

/// Milliseconds as a person reads them: the two largest units.
pub(super) fn age(millis: u64) -> String {
    let seconds = millis / 1000;
    let units =
        [(seconds / 86_400, 'd'), (seconds / 3600 % 24, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let shown: Vec<_> = units
        .iter()
        .skip_while(|(count, unit)| *count == 0 && *unit != 's')
        .take(2)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    shown.join("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units() {
        for (millis, text) in
            [(0, "0s"), (999, "0s"), (61_000, "1m1s"), (3_600_000, "1h0m"), (90_061_000, "1d1h")]
        {
            assert_eq!(age(millis), text);
        }
    }
}
