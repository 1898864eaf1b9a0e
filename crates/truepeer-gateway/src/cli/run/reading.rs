//! Reading the configuration while signals are heard: a file that does not answer holds up nobody.
//!
//! A pipe that nobody writes to and a disk behind a dead network let a read hang for ever, and no deadline of ours can
//! end it. So it is a thread of its own that reads; whoever waits gives up, and there is at most one such thread.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{Asked, Signals};
use crate::config::{self, Colour, ConfigErrors, Loaded};

/// How long the configuration and its list files may take to be read: a million entries take a second.
const READ_TIME: Duration = Duration::from_secs(30);

/// The thread that reads, if it has not answered yet.
#[derive(Debug, Default)]
pub(super) struct Reading(Option<oneshot::Receiver<Result<Loaded, ConfigErrors>>>);

/// Why there is no new configuration.
#[derive(Debug)]
pub(super) enum NotRead {
    /// In words.
    Because(String),
    /// The order to stop came first.
    Stop,
}

impl Reading {
    /// Reads the configuration at `path`, off this thread.
    pub(super) fn read(
        &mut self,
        path: Option<&Path>,
        runtime: &Runtime,
        signals: &mut Signals,
    ) -> Result<Loaded, NotRead> {
        let because = |text: &str| NotRead::Because(text.to_owned());
        if let Some(hanging) = &mut self.0
            && matches!(hanging.try_recv(), Err(TryRecvError::Empty))
        {
            return Err(because(
                "an earlier reload still waits for a file that does not answer: see that the configuration and its list files are regular files on a disk that works",
            ));
        }
        let (tell, answer) = oneshot::channel();
        let answer = self.0.insert(answer);
        let path = path.map(Path::to_owned);
        let read = move || {
            // Nobody listens any more if it took too long.
            let _ = tell.send(config::load(path.as_deref()));
        };
        let started = std::thread::Builder::new().name("reading".to_owned()).spawn(read);
        started.map_err(|error: io::Error| because(&format!("the system refused a thread: {error}")))?;
        let mut again = false;
        let loaded = runtime.block_on(async {
            let mut late = std::pin::pin!(tokio::time::sleep(READ_TIME));
            loop {
                tokio::select! {
                    loaded = &mut *answer => break loaded.map_err(|_| because("reading the configuration failed")),
                    asked = signals.next() => match asked {
                        Asked::Stop => break Err(NotRead::Stop),
                        // The file may have changed behind what was read of it already.
                        Asked::Reload => again = true,
                    },
                    () = &mut late => break Err(because(&format!(
                        "the configuration, or one of its list files, was not read within {} s: is it a pipe, or on a disk that does not answer?",
                        READ_TIME.as_secs()
                    ))),
                }
            }
        });
        signals.again |= again;
        let loaded = loaded?;
        self.0 = None;
        loaded.map_err(|errors| NotRead::Because(errors.render(Colour::Plain)))
    }
}
