//! The conversation with the process that takes our place, up to the moment in which it is ready.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use rustix::fd::OwnedFd;

use super::program::Checked;
use crate::control::succession::{PROTOCOL, Said, SocketOf, VARIABLE, hear, say};
use crate::engine::{GivenLabel, MAX_DESCRIPTORS, MessageSocket, Offer};

/// Entries that go into one message: as many as fit with the longest names.
const TOGETHER: usize = 100;
const _: () = assert!(TOGETHER <= MAX_DESCRIPTORS, "each entry has a descriptor");

/// A process that was started to take our place; it is ended with this value.
#[derive(Debug)]
pub(super) struct Successor {
    child: Option<Child>,
}

/// What it is given.
#[derive(Debug)]
pub(super) struct Offered {
    /// What this process listens on by itself.
    pub(super) offers: Vec<Offer>,
    /// What the service manager gave.
    pub(super) given: Vec<(GivenLabel, OwnedFd)>,
}

/// It could accept at once.
#[derive(Debug)]
pub(super) struct Ready {
    /// The line to it.
    pub(super) line: MessageSocket,
    /// Its version.
    pub(super) version: String,
    /// The offers that it will serve.
    pub(super) taken: BTreeSet<usize>,
    /// Listeners whose clients it would not serve now.
    pub(super) unready: Vec<String>,
}

impl Successor {
    /// Starts it; its standard input is the other end of the line.
    pub(super) fn start(program: &Checked, config: Option<&Path>) -> Result<(Self, MessageSocket), String> {
        let shown = program.path.display();
        let refused = |error: io::Error| format!("{shown} cannot be started: {error}");
        let (line, theirs) = MessageSocket::pair().map_err(refused)?;
        let mut call = program.call("run", config);
        call.stdin(Stdio::from(theirs)).env(VARIABLE, std::process::id().to_string());
        let child = call.spawn().map_err(refused)?;
        Ok((Self { child: Some(child) }, line))
    }

    /// It stays; its number.
    pub(super) fn keep(mut self) -> u32 {
        self.child.take().map_or(0, |child| child.id())
    }

    /// `cause`, with how the process has ended, if it has.
    pub(super) fn explain(&self, cause: String) -> String {
        let Some(child) = &self.child else { return cause };
        format!("{cause} (process {}; what it said is in the log)", child.id())
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Nobody was accepted by it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Gives it everything that it listens on, and waits until it could accept. Blocks until `deadline`.
pub(super) fn prepare(line: MessageSocket, offered: &Offered, deadline: Instant) -> Result<Ready, String> {
    let version = match next(&line, deadline)? {
        Said::Hello { protocol: PROTOCOL, version } => version,
        Said::Hello { protocol, version } => {
            return Err(format!(
                "truepeer {version} hands over in another way than this version ({protocol} and {PROTOCOL}): restart instead"
            ));
        }
        other => return Err(unexpected(&other)),
    };
    give(&line, offered).map_err(|error| format!("the sockets could not be handed over: {error}"))?;
    match next(&line, deadline)? {
        Said::Prepared { taken, unready } => {
            Ok(Ready { line, version, taken: taken.into_iter().collect(), unready })
        }
        other => Err(unexpected(&other)),
    }
}

/// Waits until it accepts.
pub(super) fn accepting(line: &MessageSocket, deadline: Instant) -> io::Result<()> {
    match next(line, deadline).map_err(io::Error::other)? {
        Said::Accepting => Ok(()),
        other => Err(io::Error::other(unexpected(&other))),
    }
}

fn give(line: &MessageSocket, offered: &Offered) -> io::Result<()> {
    let of_manager = offered
        .given
        .iter()
        .map(|(label, fd)| (SocketOf::Given { number: label.number, name: label.name.clone() }, fd));
    let ours = offered.offers.iter().enumerate().flat_map(|(number, offer)| {
        offer
            .sockets
            .iter()
            .map(move |fd| (SocketOf::Offer { number, key: offer.key.clone(), bind: offer.bind.clone() }, fd))
    });
    let all: Vec<_> = of_manager.chain(ours).collect();
    for some in all.chunks(TOGETHER) {
        let sockets = some.iter().map(|(socket, _)| socket.clone()).collect();
        let fds: Vec<_> = some.iter().map(|(_, fd)| fd.as_fd()).collect();
        say(line, &Said::Sockets { sockets }, &fds)?;
    }
    say(line, &Said::All, &[])
}

fn next(line: &MessageSocket, deadline: Instant) -> Result<Said, String> {
    match hear(line, deadline) {
        Ok(Some((Said::Failed { cause }, _))) => Err(format!("the new program does not start: {cause}")),
        Ok(Some((said, _))) => Ok(said),
        Ok(None) => Err("the new program ended before it was ready".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err("the new program was not ready in time (`--wait`)".to_owned())
        }
        Err(error) => Err(format!("the new program says what is not understood: {error}")),
    }
}

fn unexpected(said: &Said) -> String {
    format!("the new program sent an unexpected message ({said:?})")
}
