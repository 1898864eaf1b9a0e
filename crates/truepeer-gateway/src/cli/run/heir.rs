//! The new side of an upgrade: this process takes the place of the one that has started it.
//!
//! Its standard input is the line to that process. Everything that a start does is done first; then it is said, and
//! nobody is accepted before the answer. Until that answer the other process serves, and goes on if this one ends.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fd::AsFd;
use rustix::process::{Pid, getppid};

use super::NotStarted;
use super::aside::Errand;
use crate::control::predecessors::Predecessors;
use crate::control::succession::{Before, PROTOCOL, Said, SocketOf, VARIABLE, hear, say};
use crate::engine::{Given, GivenLabel, Inherited, MOST_INHERITED, MessageSocket, later};
use crate::rooms::bans::{Ban, state};
use crate::server::Succeed;

/// How long the next word of the other process may take: it works on nothing else.
const NEXT_WORD: Duration = Duration::from_secs(20);
/// All of its words about sockets.
pub(super) const SOCKETS: Errand =
    Errand { what: "the sockets of the process before were not received", limit: Duration::from_secs(30) };

/// The line to the process whose place this one takes; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Heir(Arc<MessageSocket>);

impl Heir {
    /// Takes the standard input, if another truepeer has started this process for that.
    ///
    /// # Errors
    /// It says so, and is no line.
    pub(super) fn of_this_process() -> io::Result<Option<Self>> {
        let said = std::env::var(VARIABLE).ok().and_then(|pid| pid.parse::<i32>().ok());
        if said.is_none() || getppid().map(Pid::as_raw_pid) != said {
            return Ok(None);
        }
        let line = io::stdin().as_fd().try_clone_to_owned()?;
        // Nothing that reads standard input shall meet it.
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        let line = MessageSocket::over(line)?;
        say(&line, &Said::Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() }, &[])?;
        Ok(Some(Self(Arc::new(line))))
    }

    /// What the other process listens on.
    pub(super) fn receive(&self) -> Result<Given, String> {
        let (mut given, inherited, mut count) = (Vec::new(), Inherited::default(), 0_usize);
        loop {
            let (said, fds) = self.next()?;
            let sockets = match said {
                Said::Sockets { sockets } if sockets.len() == fds.len() => sockets,
                Said::All => break,
                other => return Err(unexpected(&other)),
            };
            count = count.saturating_add(sockets.len());
            if count > MOST_INHERITED {
                return Err(format!("the process before has more than {MOST_INHERITED} sockets"));
            }
            for (socket, fd) in sockets.into_iter().zip(fds) {
                match socket {
                    SocketOf::Given { number, name } => given.push((GivenLabel { number, name }, fd)),
                    SocketOf::Offer { number, key, bind } => inherited
                        .add(number, &key, &bind, fd)
                        .map_err(|error| format!("a socket of {key} ({bind}) cannot be used: {error}"))?,
                }
            }
        }
        Given::handed_on(given, inherited).map_err(|error| error.to_string())
    }

    /// What is asked before the first connection is accepted: says that all is ready, and waits for the word.
    pub(super) fn succeed(&self, inherited: Inherited, before: Predecessors) -> Succeed {
        let heir = self.clone();
        Succeed(Box::new(move |unready| {
            let unready = unready.iter().map(ToString::to_string).collect();
            heir.say(&Said::Prepared { taken: inherited.taken(), unready })?;
            let bans = heir.last_words(&before)?;
            inherited.settle();
            Ok(bans)
        }))
    }

    /// Connections are accepted; what the other process has left is attended to from now on. From here on this process
    /// goes on in any case.
    pub(super) fn accepting(&self, before: &Predecessors) {
        let told = self.say(&Said::Accepting).and_then(|()| match self.next()?.0 {
            Said::Yours { before: old } => {
                let line = self.0.try_clone().map_err(|error| error.to_string())?;
                before.attend(old, line).map_err(|error| error.to_string())
            }
            other => Err(unexpected(&other)),
        });
        if let Err(cause) = told {
            let remedy = "look whether the process before still runs, and end it";
            tracing::warn!(event = "predecessor_deaf", cause, remedy);
        }
    }

    /// This process does not start. Nobody listens any more where that is known already.
    pub(super) fn failed(&self, why: &NotStarted) {
        let cause: String = why.to_string().chars().take(MOST_OF_A_CAUSE).collect();
        let _ = say(&self.0, &Said::Failed { cause }, &[]);
    }

    /// Everything up to the word to accept.
    fn last_words(&self, before: &Predecessors) -> Result<Vec<Ban>, String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                (Said::Bans { text: more }, _) => text.push_str(&more),
                (Said::Before { processes }, lines) => {
                    for (process, line) in processes.into_iter().zip(lines) {
                        self.attend(before, process, line)?;
                    }
                }
                (Said::Go, _) => break,
                (other, _) => return Err(unexpected(&other)),
            }
        }
        state::of_text(text.as_bytes()).ok_or_else(|| "its bans are not understood".to_owned())
    }

    fn attend(
        &self,
        before: &Predecessors,
        process: Before,
        line: rustix::fd::OwnedFd,
    ) -> Result<(), String> {
        let attended = MessageSocket::over(line).and_then(|line| before.attend(process, line));
        attended.map_err(|error| format!("a process before it cannot be attended to: {error}"))
    }

    fn say(&self, what: &Said) -> Result<(), String> {
        say(&self.0, what, &[]).map_err(|error| format!("it does not hear: {error}"))
    }

    fn next(&self) -> Result<(Said, Vec<rustix::fd::OwnedFd>), String> {
        match hear(&self.0, later(Instant::now(), NEXT_WORD)) {
            Ok(Some(heard)) => Ok(heard),
            Ok(None) => Err("it has given up on this one".to_owned()),
            Err(error) => Err(format!("it says nothing more: {error}")),
        }
    }
}

/// Characters that are told of a cause: a configuration may have many mistakes.
const MOST_OF_A_CAUSE: usize = 8 * 1024;

fn unexpected(said: &Said) -> String {
    format!("it sent an unexpected message ({said:?})")
}
