//! Health ports: where balancers that cannot send a header ask whether a listener's clients would be served.
//!
//! A check hears the greeting of the listener's protocol exactly while a backend of it can be reached, and the
//! temporary refusal that clients would hear otherwise, or while the server drains. No byte of it reaches a backend; it
//! is no client, so nothing of access, limits, bans and records is about it. Anyone who connects and leaves is counted,
//! too, and nothing is ever said about it in the log. Served on the keepers' thread. Anybody may come, so connections
//! and their time are bounded; the oldest makes room, so that nobody who stays keeps a check out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::connection::speak;
use crate::door::Door;
use crate::engine::{AcceptPause, Arrival};
use crate::facts::machine::MAX_HEALTH_CHECKS;
use crate::observe::metrics::{HealthAnswer, Metrics};
use crate::rooms::own::{Answer, Asker, BackendState};
use crate::server::supervised::begun_again;
use crate::server::worker::{Orders, PortCommand, Post, PostGate, Stop};

/// How long one may last: a check takes milliseconds.
const LIMIT: Duration = Duration::from_secs(10);

/// What checks are answered from, besides the door.
#[derive(Debug, Clone)]
pub(crate) struct HealthContext {
    /// Whether the server drains.
    pub(crate) stop: watch::Receiver<Stop>,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Which shard of it is written here.
    pub(crate) shard: usize,
}

/// Answers checks at one port until it is told to leave, or dropped. Runs inside a `LocalSet`.
///
/// # Cancel safety
/// Dropping the future ends every check.
pub(crate) async fn attend(mut post: Post, desk: HealthContext) {
    let Some(socket) = post.listening.take_raw() else { return };
    let mut gate = PostGate::new(socket, Arc::clone(&post.open));
    let mut orders = Orders::new(post.told.clone());
    let mut checks = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    let mut pause = AcceptPause::default();
    let address = post.listening.address.clone();
    begun_again("health-port", &address, async || {
        loop {
            let accepted = async {
                match gate.acceptor() {
                    Some(acceptor) => {
                        pause.over().await;
                        acceptor.accept().await
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                order = orders.next() => {
                    let obeyed = match order {
                        PortCommand::Leave | PortCommand::HandOver => return,
                        PortCommand::Listen => gate.open(),
                        // Who waits in the queue learns the same from being cut off.
                        PortCommand::Shut => gate.shut(drop),
                    };
                    orders.obeyed(obeyed, &post.listening.address);
                }
                Some(_) = checks.join_next(), if !checks.is_empty() => {
                    by_age.retain(|check| !check.is_finished());
                }
                accepted = accepted => match accepted {
                    Ok(arrival) => {
                        pause.succeeded();
                        // When there is one more, the oldest ends.
                        if by_age.len() >= MAX_HEALTH_CHECKS && let Some(oldest) = by_age.pop_front() {
                            oldest.abort();
                        }
                        let check = answer(arrival, post.door.load_full(), &desk);
                        by_age.push_back(checks.spawn_local(check));
                    }
                    // Orders are followed during the pause.
                    Err(error) => drop(pause.after(&error)),
                }
            }
        }
    })
    .await;
    drop(gate);
    // Who has been asked answers: each check has its own end.
    while checks.join_next().await.is_some() {}
}

/// Answers one check, from what is known when it comes.
fn answer(arrival: Arrival, door: Arc<Door>, desk: &HealthContext) -> impl Future<Output = ()> + use<> {
    let state = match (*desk.stop.borrow(), door.is_open_for_clients()) {
        (Stop::DrainUntil(_), _) => BackendState::Draining,
        (Stop::No, true) => BackendState::Reachable,
        (Stop::No, false) => BackendState::Unreachable,
    };
    let answer = match state {
        BackendState::Reachable => HealthAnswer::Ready,
        BackendState::Unreachable | BackendState::Draining => HealthAnswer::Unready,
    };
    desk.metrics.shard(desk.shard, &door.listener.id).health_checked(answer);
    async move {
        let dialogue = Answer::new(door.listener.protocol, &door.hostname, state, Asker::Check);
        speak::converse(arrival.socket, Vec::new(), dialogue, LIMIT).await;
    }
}
