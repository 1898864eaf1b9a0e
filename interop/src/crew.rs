//! Several copies of the harness that share the cases of one run, each with a namespace and servers of its own.
//!
//! Called by `main`. It must not know any case. Most cases wait for programs more than they count, so two cores have
//! room for several. Who takes a case makes a file of its number; nobody else can, so each is run once, and whoever is
//! done first takes more.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use crate::lab::TempDir;
use crate::verdict::{During, Result, failed};
use crate::{Tally, say};

/// Set for a member of a crew: the folder where cases are taken.
const TAKEN: &str = "TRUEPEER_INTEROP_TAKEN";

/// Which cases are this process's to run.
#[derive(Debug)]
pub(crate) struct Share(Option<PathBuf>);

impl Share {
    /// All of them, or, in a member of a crew, those that nobody else has taken.
    pub(crate) fn of_this_process() -> Self {
        Self(std::env::var_os(TAKEN).map(PathBuf::from))
    }

    /// Whether this process belongs to a crew, which prints the sum.
    pub(crate) fn is_of_a_crew(&self) -> bool {
        self.0.is_some()
    }

    /// Takes the case of this number; `false` if somebody has it.
    pub(crate) fn take(&self, number: usize) -> Result<bool> {
        let Some(taken) = &self.0 else { return Ok(true) };
        match File::create_new(taken.join(number.to_string())) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => failed(format!("take case {number}: {error}")),
        }
    }
}

/// Runs the same command line in `members` copies of this program, which share `cases` cases, and adds up what they say.
pub(crate) fn run(members: usize, cases: usize) -> Result<Tally> {
    let taken = TempDir::make("truepeer-interop-taken")?;
    let itself = std::env::current_exe().during("where am I")?;
    let mut crew = Vec::new();
    for _ in 0..members {
        let mut member = Command::new(&itself)
            .args(std::env::args_os().skip(1))
            .env(TAKEN, &taken.0)
            .stdout(Stdio::piped())
            .spawn()
            .during("start another copy of the harness")?;
        let Some(says) = member.stdout.take() else { return failed("a copy of the harness has no output") };
        crew.push(thread::spawn(move || attend(member, says)));
    }
    // All are waited for before any is judged: nobody may run on, with servers, when this has ended.
    let joined = crew.into_iter().map(thread::JoinHandle::join);
    let ended: Vec<Result<Tally>> =
        joined.map(|ended| ended.unwrap_or_else(|_| failed("the thread of a copy panicked"))).collect();
    let mut sum = Tally::default();
    for tally in ended {
        sum = sum.and(tally?);
    }
    // One that was ended in the middle of a case has said nothing of it.
    if sum.all() != cases {
        return failed(format!("{} of {cases} cases have ended", sum.all()));
    }
    Ok(sum)
}

/// Passes on what a member prints, a whole report at a time; its last line is its tally.
fn attend(mut member: Child, says: ChildStdout) -> Result<Tally> {
    let begins = |line: &str| {
        ["ok ", "FAILED ", "skipped: "].iter().any(|word| line.starts_with(word))
            || Tally::read(line).is_some()
    };
    let mut report = String::new();
    for line in BufReader::new(says).lines() {
        let line = line.during("read what a copy of the harness prints")?;
        if begins(&line) && !report.is_empty() {
            say(&std::mem::take(&mut report));
        }
        if !report.is_empty() {
            report.push('\n');
        }
        report.push_str(&line);
    }
    let status = member.wait().during("wait for a copy of the harness")?;
    match Tally::read(&report) {
        Some(tally) => Ok(tally),
        None => failed(format!("a copy of the harness ended with {status}; its last words: {report}")),
    }
}
