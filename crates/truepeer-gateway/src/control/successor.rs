//! The process that has taken this one's place: what it orders is done here, as long as there are connections.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::fd::OwnedFd;
use tokio::sync::Semaphore;

use super::admin::answer_successor;
use super::cut::cut;
use super::succession::{Said, hear, say};
use crate::engine::{MessageSocket, later};
use crate::facts::machine::MAX_OPERATORS;
use crate::facts::network::parse_network;
use crate::rooms::bans::{Ban, BanReason};
use crate::server::{Cutter, View};

/// How often it is told how many connections are left: a word may be heard by the process from which it has the line.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long the bans last by which connections are chosen here: they are used at once.
const A_MOMENT: Duration = Duration::from_secs(60);

/// Hears and tells until the successor is gone, on a thread that ends with the process.
///
/// `reopen` opens the log's file anew.
///
/// # Errors
/// The system refuses a thread.
pub fn follow(
    line: MessageSocket,
    view: View,
    cutter: Cutter,
    reopen: impl Fn() + Send + 'static,
) -> io::Result<()> {
    let body = move || {
        let places = Arc::new(Semaphore::new(MAX_OPERATORS));
        loop {
            // One that does not hear is known by its silence.
            let _ = say(&line, &Said::Open { open: view.admission.open() }, &[]);
            match hear(&line, later(Instant::now(), TELL_EVERY)) {
                Ok(Some((Said::Cut { networks }, _))) => cut_networks(&view, &networks),
                Ok(Some((Said::Reopen, awaits))) => {
                    reopen();
                    drop(awaits);
                }
                Ok(Some((Said::Ask { request }, streams))) => answer(&view, request, streams, &places),
                Ok(Some((Said::Stop { within_ms }, _))) => cutter.within(Duration::from_millis(within_ms)),
                Ok(Some(_)) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                // It has ended, and nobody orders any more; connections go on as they may.
                Ok(None) | Err(_) => return,
            }
        }
    };
    std::thread::Builder::new().name("successor".to_owned()).spawn(body)?;
    Ok(())
}

/// Answers an operator of the successor; who finds no place, or no thread, sees the stream closed.
fn answer(view: &View, request: String, streams: Vec<OwnedFd>, places: &Arc<Semaphore>) {
    let Ok(place) = Arc::clone(places).try_acquire_owned() else { return };
    let view = view.clone();
    let body = move || {
        for stream in streams {
            // Who does not listen any more misses the answer.
            let _ = answer_successor(stream.into(), &request, &view);
        }
        drop(place);
    };
    let _ = std::thread::Builder::new().name("answer".to_owned()).spawn(body);
}

/// Cuts the connections of clients in `networks`, but for those whom a list admits.
fn cut_networks(view: &View, networks: &[String]) {
    let now = SystemTime::now();
    let networks: BTreeSet<_> = networks.iter().filter_map(|network| parse_network(network).ok()).collect();
    let ban = |network| Ban {
        network,
        since: now,
        until: now.checked_add(A_MOMENT).unwrap_or(now),
        reason: BanReason::default(),
        node: None,
    };
    cut(view, networks.into_iter().map(ban), now);
}
