//! Real programs around the built truepeer: Debian's HAProxy and NGINX in front, Postfix and Dovecot behind.
//!
//! Called by hand and by CI: `cargo run -p truepeer-interop -- [--truepeer PATH] [--examples DIR] [--list]
//! [--verbose] [--all] [--jobs N] [case-filter]`. The assertions read the servers' own logs. It must not know the crates of this workspace: it sees the program as
//! its neighbours do, from outside.

mod cases;
mod client;
mod contacts;
mod crew;
mod feed;
mod header;
mod lab;
mod page;
mod port;
mod program;
mod servers;
mod space;
mod verdict;

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cases::matrix::report;
use crate::cases::{Case, Extent};
use crate::crew::Share;
use crate::lab::Lab;
use crate::servers::stalwart;
use crate::verdict::{Result, Verdict, failed};

/// What the command line asked for.
#[derive(Debug)]
struct Arguments {
    truepeer: PathBuf,
    examples: PathBuf,
    filter: String,
    action: Action,
    extent: Extent,
    jobs: usize,
}

/// How many cases may run at once: each copy of the harness starts servers of its own, and all of them take memory.
const JOBS_MAX: usize = 8;

/// What to do with the cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Print their names.
    List,
    /// Run them.
    Run,
    /// Run them and print what the programs logged, also when they pass.
    RunVerbose,
}

/// How many cases ended how.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Tally {
    fn all(&self) -> usize {
        self.passed.saturating_add(self.failed).saturating_add(self.skipped)
    }

    fn and(&self, other: Self) -> Self {
        Self {
            passed: self.passed.saturating_add(other.passed),
            failed: self.failed.saturating_add(other.failed),
            skipped: self.skipped.saturating_add(other.skipped),
        }
    }

    /// Reads the last line of a run, `None` if it is another one.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(", ").zip([" passed", " failed", " skipped"]);
        let mut next = || words.next().and_then(|(said, what)| said.strip_suffix(what)?.parse().ok());
        Some(Self { passed: next()?, failed: next()?, skipped: next()? })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((stalwart::UNDERSTUDY, rest)) = words.split_first().map(|(word, rest)| (word.as_str(), rest))
    {
        if let Err(Verdict::Failed(why) | Verdict::Skipped(why)) = stalwart::play(rest) {
            say(&why);
        }
        return ExitCode::FAILURE;
    }
    let arguments = match read_arguments() {
        Ok(arguments) => arguments,
        Err(why) => {
            say(&why);
            return ExitCode::from(2);
        }
    };
    if arguments.action == Action::List {
        cases::all(arguments.extent).iter().for_each(|case| say(&case.name));
        return ExitCode::SUCCESS;
    }
    let share = Share::of_this_process();
    let ended = if arguments.jobs > 1 && !share.is_of_a_crew() {
        crew::run(arguments.jobs, chosen(&arguments).len())
    } else {
        space::move_inside();
        run(arguments, &share)
    };
    match ended {
        Ok(tally) => {
            say(&tally.to_string());
            // In CI everything is installed, so whatever could not run is a fault of the machine's making.
            let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
            if tally.failed > 0 || (is_ci && tally.skipped > 0) {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(Verdict::Failed(why) | Verdict::Skipped(why)) => {
            say(&why);
            ExitCode::FAILURE
        }
    }
}

/// The cases that the command line asks for.
fn chosen(arguments: &Arguments) -> Vec<Case> {
    let every = cases::all(arguments.extent).into_iter();
    every.filter(|case| case.name.contains(&arguments.filter)).collect()
}

fn run(arguments: Arguments, share: &Share) -> Result<Tally> {
    let cases = chosen(&arguments);
    if cases.is_empty() {
        return failed(format!("no case's name contains `{}`", arguments.filter));
    }
    let lab = Lab::new(arguments.truepeer, arguments.examples, arguments.extent)?;
    let mut tally = Tally::default();
    let mut ended: HashMap<&str, Result> = HashMap::new();
    for (number, case) in cases.iter().enumerate() {
        if !share.take(number)? {
            continue;
        }
        lab.begin_case();
        // The servers end with the lab; a panic in a case must not keep that from happening.
        let verdict = catch_unwind(AssertUnwindSafe(|| (case.run)(&lab)))
            .unwrap_or_else(|_| failed("the case panicked"));
        ended.insert(&case.name, verdict.clone());
        let (name, count) = match verdict {
            Ok(()) if arguments.action == Action::RunVerbose => {
                (format!("ok {}\n{}", case.name, lab.excerpt()), &mut tally.passed)
            }
            Ok(()) => (format!("ok {}", case.name), &mut tally.passed),
            Err(Verdict::Skipped(what)) => (format!("skipped: {what} ({})", case.name), &mut tally.skipped),
            Err(Verdict::Failed(why)) => {
                (format!("FAILED {}: {why}\n{}", case.name, lab.excerpt()), &mut tally.failed)
            }
        };
        *count = count.saturating_add(1);
        say(&name);
    }
    if arguments.extent == Extent::All && ended.keys().any(|name| name.starts_with("matrix_")) {
        let table = report::table(|name| ended.get(name).cloned())?;
        say(&table);
        // A part of it would take the place of the whole.
        if arguments.filter.is_empty() || arguments.filter == "matrix_" {
            match report::keep(&table)? {
                Some(page) => say(&format!("written to {}", page.display())),
                None => say("not written: not started in the project's directory"),
            }
        }
    }
    Ok(tally)
}

fn read_arguments() -> core::result::Result<Arguments, String> {
    const USAGE: &str = "usage: truepeer-interop [--truepeer PATH] [--examples DIR] [--list] [--verbose] [--all] [--jobs N] [case-filter]";
    let itself = std::env::current_exe().map_err(|error| format!("where am I: {error}"))?;
    let mut arguments = Arguments {
        truepeer: itself.with_file_name("truepeer"),
        examples: itself.with_file_name("examples"),
        filter: String::new(),
        action: Action::Run,
        extent: Extent::Ordinary,
        jobs: 1,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--truepeer" => arguments.truepeer = words.next().ok_or(USAGE)?.into(),
            "--examples" => arguments.examples = words.next().ok_or(USAGE)?.into(),
            "--list" => arguments.action = Action::List,
            "--all" => arguments.extent = Extent::All,
            "--jobs" => {
                let jobs = words.next().and_then(|jobs| jobs.parse().ok());
                arguments.jobs = jobs.filter(|jobs| (1..=JOBS_MAX).contains(jobs)).ok_or(USAGE)?;
            }
            "--verbose" => arguments.action = Action::RunVerbose,
            option if option.starts_with('-') => return Err(format!("unknown option {option}\n{USAGE}")),
            filter => filter.clone_into(&mut arguments.filter),
        }
    }
    // The servers run in directories of their own.
    for path in [&mut arguments.truepeer, &mut arguments.examples] {
        *path = std::path::absolute(&*path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    // Its table is made from what one process has seen.
    if arguments.jobs > 1 && arguments.extent == Extent::All {
        return Err(format!("--jobs shares the ordinary cases only, not those of --all\n{USAGE}"));
    }
    Ok(arguments)
}

#[expect(clippy::print_stdout, reason = "the report of a run is what this program prints")]
fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_read_as_it_is_printed_and_nothing_else_is_one() {
        let tally = Tally { passed: 330, failed: 2, skipped: 1 };
        let read = Tally::read(&tally.to_string()).expect("as it was printed");
        assert_eq!((read.passed, read.failed, read.skipped, read.all()), (330, 2, 1, 333));
        for line in [
            "",
            "ok case",
            "330 passed, 2 failed",
            "a passed, 2 failed, 1 skipped",
            "2 failed, 1 passed, 0 skipped",
        ] {
            assert!(Tally::read(line).is_none(), "{line}");
        }
    }
}
