//! What several front doors know together: a thread of its own that tells a store what was ordered here, and takes in
//! what was ordered elsewhere.
//!
//! Started by control with the first configuration that has `[shared]`, and anew when that changes. Nothing waits for
//! it: orders are noted by whoever makes them, connections read the table. What an entry means, and whether it may be,
//! is decided in `rooms/bans/shared`.

mod answers;
mod counts;
mod error;
mod keeping;
mod scripts;
mod session;
mod store;
mod taking;

use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::config::Shared;
use crate::server::View;
use session::Place;
use taking::Taking;

/// The first pause before the store is connected to again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The thread; dropping it ends it.
#[derive(Debug)]
pub(super) struct Sharing {
    settings: Shared,
    view: View,
    /// Dropping it ends the thread.
    until: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sharing {
    /// Begins to share.
    ///
    /// # Errors
    /// The system refused a thread.
    pub(super) fn start(settings: &Shared, view: &View) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (until, told) = oneshot::channel();
        let (shared, of_thread) = (settings.clone(), view.clone());
        let body = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = attend(&shared, &of_thread) => {}
                    // A sender that is gone is how it is told.
                    _ = told => {}
                }
            });
            // A name server or a disk that does not answer must not hold up the end.
            runtime.shutdown_background();
        };
        view.denied.sharing().begin(settings.required, Instant::now());
        let thread = std::thread::Builder::new().name("shared".to_owned()).spawn(body);
        let thread = thread.inspect_err(|_| view.denied.sharing().end())?;
        Ok(Self { settings: settings.clone(), view: view.clone(), until: Some(until), thread: Some(thread) })
    }

    /// Whether it shares by these settings.
    pub(super) fn has(&self, settings: &Shared) -> bool {
        self.settings == *settings
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        drop(self.until.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked it has said so.
            let _ = thread.join();
        }
        self.view.denied.sharing().end();
    }
}

/// Shares for ever, over one connection after the other.
async fn attend(shared: &Shared, view: &View) {
    let mut taking = Taking::new(view.clone(), shared.node.clone());
    let mut place = Place::default();
    let mut pause = FIRST_PAUSE;
    loop {
        let began = tokio::time::Instant::now();
        if let Err(error) = session::share(shared, view, &mut taking, &mut place).await {
            session::say_lost(shared, &view.denied, &error);
        }
        // What the last session still took in is kept now: the store may be away for longer than this process lives.
        taking.keeping.step().await;
        // One that worked for a while begins with short pauses again.
        pause = if began.elapsed() > LONGEST_PAUSE {
            FIRST_PAUSE
        } else {
            pause.saturating_mul(2).min(LONGEST_PAUSE)
        };
        tokio::time::sleep(pause).await;
    }
}
