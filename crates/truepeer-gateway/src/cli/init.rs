//! `truepeer init`: a first configuration for this machine, and what to change beside it.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use similar::TextDiff;

use super::FAILED;
use super::reach::{Failure, answer};
use crate::config::DEFAULT_PATH;
use crate::doctor::init::{self, Found, GivenAnswers, InitStep, Plan, own_address_towards};
use crate::doctor::survey::Root;

mod ask;

/// Wrong arguments, as clap has it.
const WRONG_ARGUMENTS: u8 = 2;

/// What is told below the options.
pub(super) const EXAMPLES: &str = "\
A file of answers is TOML; what it leaves out is what was found:
  proxy = [\"192.0.2.10\"]         # single addresses that the proxy connects from
  product = \"haproxy\"            # or nginx, traefik, envoy
  services = [\"smtp\", \"imap\"]    # or imaps
  hostname = \"mx1.example.org\"

Exit codes: 0 the configuration is written, or with --dry-run shown; 1 there is one already, or nothing can be made of \
what is here; 2 wrong arguments, or neither a terminal nor --yes nor --answers.

Examples:
  truepeer init                          # asks at most four questions
  truepeer init --yes                    # takes what was found
  truepeer init --answers answers.toml --dry-run";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the configuration is written
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Ask nothing: take what was found on this machine
    #[arg(long)]
    yes: bool,
    /// Ask nothing: take this file's answers, and what was found where it says nothing
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Write nothing: show the difference to the file that is there
    #[arg(long)]
    dry_run: bool,
    /// Answer in JSON, one object with `config` and `steps`
    #[arg(long)]
    json: bool,
    /// Look at this folder as if it were the root of the machine
    #[arg(long, value_name = "FOLDER", default_value = "/", hide = true)]
    root: PathBuf,
}

/// Looks, asks, writes, and says what comes next.
pub(super) fn init(order: &Arguments) -> ExitCode {
    answer(|out| {
        let failed = |text: String| Failure { text: format!("error: {text}"), code: FAILED };
        let path = order.config.display().to_string();
        let there = read(&order.config).map_err(failed)?;
        if there.is_some() && !order.dry_run {
            return Err(failed(format!(
                "{path} is there already, and is kept as it is; `truepeer init --dry-run` shows what would be another, \
                 `--config FILE` writes elsewhere"
            )));
        }
        let found = init::look(&Root::recorded(&order.root));
        let answers = given(order, &found)?.or_found(&found).complete(own_address_towards);
        let plan = answers
            .map_err(|error| failed(error.to_string()))
            .and_then(|answers| init::plan(&found, &answers, &path).map_err(failed))?;
        if !order.dry_run {
            put(&order.config, &plan.config)
                .map_err(|error| failed(format!("{path} is not written: {error}")))?;
        }
        if order.json {
            writeln!(out, "{}", to_json(&path, &plan))?;
            return Ok(0);
        }
        if order.dry_run {
            let old = there.unwrap_or_default();
            let diff = TextDiff::from_lines(&old, &plan.config);
            write!(out, "{}", diff.unified_diff().header(&path, "what init would write"))?;
        } else {
            writeln!(out, "{path} is written.")?;
        }
        show(out, &plan.steps)?;
        Ok(0)
    })
}

/// The answers of the file or the person; none with `--yes`.
fn given(order: &Arguments, found: &Found) -> Result<GivenAnswers, Failure> {
    let failed = |text: String| Failure { text: format!("error: {text}"), code: FAILED };
    if let Some(file) = &order.answers {
        let name = file.display();
        let text = fs::read_to_string(file).map_err(|error| failed(format!("{name}: {error}")))?;
        return GivenAnswers::parse(&text).map_err(|error| failed(format!("{name}: {error}")));
    }
    if order.yes {
        return Ok(GivenAnswers::default());
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        let text = "error: there is no terminal to ask on: say `--yes` to take what is found here, or `--answers FILE`";
        return Err(Failure { text: text.to_owned(), code: WRONG_ARGUMENTS });
    }
    ask::ask(found, GivenAnswers::default(), &mut io::stdin().lock(), &mut io::stderr())
        .map_err(|error| failed(format!("{error}; nothing is written")))
}

/// The file's text, if there is one.
fn read(path: &Path) -> Result<Option<String>, String> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Puts the file there as a whole, or not at all, and never over another: whenever this is interrupted, what was there
/// before is what is there.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // One name for all attempts: one that was cut short leaves a file that the next one takes away.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = folder.join(format!(".{name}.init"));
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = File::create_new(&unfinished).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // A link is made only where there is nothing.
        fs::hard_link(&unfinished, path)
    });
    let _ = fs::remove_file(&unfinished);
    written
}

fn show(out: &mut dyn Write, steps: &[InitStep]) -> io::Result<()> {
    writeln!(out, "\nIn this order, as root; each step with what proves it, and the way back.")?;
    for (number, step) in (1_usize..).zip(steps) {
        writeln!(out, "\n{number}. {}", step.title)?;
        for (what, lines) in [("do", &step.commands), ("proof", &step.proof), ("back", &step.back)] {
            writeln!(out, "  {what}:")?;
            for line in lines {
                writeln!(out, "    {line}")?;
            }
        }
    }
    Ok(())
}

fn to_json(path: &str, plan: &Plan) -> serde_json::Value {
    let steps: Vec<_> = plan
        .steps
        .iter()
        .map(|InitStep { title, commands, proof, back }| {
            json!({ "title": title, "do": commands, "proof": proof, "back": back })
        })
        .collect();
    json!({ "path": path, "config": plan.config, "steps": steps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_appears_meanwhile_is_kept_and_nothing_else_is_left() {
        let folder = std::env::temp_dir().join(format!("truepeer-init-put-{}", std::process::id()));
        let path = folder.join("etc/truepeer.toml");
        put(&path, "first").unwrap();
        // As an attempt that was cut short leaves it.
        fs::write(folder.join("etc/.truepeer.toml.init"), "half").unwrap();
        let kept = put(&path, "second").unwrap_err();
        assert_eq!(kept.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        let left: Vec<_> =
            fs::read_dir(folder.join("etc")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["truepeer.toml"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
