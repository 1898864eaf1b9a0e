//! Real programs around the built truepeer: Debian's HAProxy and NGINX in front, Postfix and Dovecot behind.
//!
//! Called by hand and by CI: `cargo run -p truepeer-interop -- [--truepeer PATH] [--examples DIR] [--list]
//! [--verbose] [--all] [case-filter]`. The assertions read the servers' own logs. It must not know the crates of this workspace: it sees the program as
//! its neighbours do, from outside.

mod cases;
mod client;
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
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cases::matrix::report;
use crate::cases::{Case, Extent};
use crate::lab::Lab;
use crate::verdict::{Result, Verdict, failed};

/// What the command line asked for.
#[derive(Debug)]
struct Arguments {
    truepeer: PathBuf,
    examples: PathBuf,
    filter: String,
    action: Action,
    extent: Extent,
}

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

fn main() -> ExitCode {
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
    space::move_inside();
    match run(arguments) {
        Ok(tally) => {
            say(&format!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped));
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

fn run(arguments: Arguments) -> Result<Tally> {
    let every = cases::all(arguments.extent).into_iter();
    let cases: Vec<Case> = every.filter(|case| case.name.contains(&arguments.filter)).collect();
    if cases.is_empty() {
        return failed(format!("no case's name contains `{}`", arguments.filter));
    }
    let lab = Lab::new(arguments.truepeer, arguments.examples, arguments.extent)?;
    let mut tally = Tally::default();
    let mut ended: HashMap<&str, Result> = HashMap::new();
    for case in &cases {
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
    const USAGE: &str = "usage: truepeer-interop [--truepeer PATH] [--examples DIR] [--list] [--verbose] [--all] [case-filter]";
    let itself = std::env::current_exe().map_err(|error| format!("where am I: {error}"))?;
    let mut arguments = Arguments {
        truepeer: itself.with_file_name("truepeer"),
        examples: itself.with_file_name("examples"),
        filter: String::new(),
        action: Action::Run,
        extent: Extent::Ordinary,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--truepeer" => arguments.truepeer = words.next().ok_or(USAGE)?.into(),
            "--examples" => arguments.examples = words.next().ok_or(USAGE)?.into(),
            "--list" => arguments.action = Action::List,
            "--all" => arguments.extent = Extent::All,
            "--verbose" => arguments.action = Action::RunVerbose,
            option if option.starts_with('-') => return Err(format!("unknown option {option}\n{USAGE}")),
            filter => filter.clone_into(&mut arguments.filter),
        }
    }
    // The servers run in directories of their own.
    for path in [&mut arguments.truepeer, &mut arguments.examples] {
        *path = std::path::absolute(&*path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(arguments)
}

#[expect(clippy::print_stdout, reason = "the report of a run is what this program prints")]
fn say(line: &str) {
    println!("{line}");
}
