//! The second signal ends the process always.
//!
//! In order, it cuts what is open, and the process ends within a second. Should the main thread hang all the same, a
//! thread that does nothing else ends the process.

use std::io;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::FAILED;

/// How long an end in order may take after the second signal: the last lines of the log and the state file wait for
/// their disks.
const IN_ORDER: Duration = Duration::from_secs(8);

/// How long it may take to say so.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Watches for the second signal to stop, until the process ends.
pub(super) fn watch() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt) = {
        let _context = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let body = move || {
        runtime.block_on(async {
            for _ in 0..2 {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            tokio::time::sleep(IN_ORDER).await;
        });
        say();
        std::process::exit(FAILED.into());
    };
    std::thread::Builder::new().name("last-resort".to_owned()).spawn(body)?;
    Ok(())
}

/// Standard error may be what hangs.
fn say() {
    let (tell, said) = sync_channel::<()>(0);
    let body = move || {
        super::complain(&format!(
            "error: truepeer did not end in order within {} s of the second signal; what was not written is lost",
            IN_ORDER.as_secs()
        ));
        drop(tell);
    };
    if std::thread::Builder::new().spawn(body).is_ok() {
        let _ = said.recv_timeout(LAST_WORD);
    }
}
