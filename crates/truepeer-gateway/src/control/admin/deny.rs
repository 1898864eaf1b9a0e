//! Denials: kept in the table and in the state file, and said in the log, since somebody is shut out by them.
//!
//! The file is written off the control thread's executor, so that monitoring is answered meanwhile.

use std::collections::BTreeMap;
use std::time::SystemTime;

use ipnet::IpNet;
use serde::Serialize;

use super::reply::{self, Done};
use super::{AdminContext, OpenConnections};
use crate::control::cut::cut;
use crate::control::succession::Said;
use crate::rooms::bans::denied::Persisted;
use crate::rooms::bans::{Added, Ban, BanChange, BanOrder, Changed, Lifted};

/// Networks that go into one message to the processes before.
const CUT_TOGETHER: usize = 500;

/// What came of changes that were made together.
pub(super) struct Made {
    /// The answer to each, in their order: what the table did, or why it refused.
    pub(super) answers: Vec<Result<Answered, String>>,
    /// How many connections were cut.
    pub(super) cut: u64,
}

/// A change that was made, with the answer that tells it.
pub(super) struct Answered {
    pub(super) change: Changed,
    pub(super) answer: Answer,
}

/// What was made, as it is told.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Denied(Done<reply::Denied>),
    Undenied(Done<reply::Undenied>),
}

/// Keeps a network out, and cuts what its clients have open.
pub(super) async fn deny(
    desk: &AdminContext,
    order: BanOrder,
    open: OpenConnections,
) -> Result<Answer, String> {
    let Made { answers, cut } = make(desk, vec![BanChange::Add(order)], open).await?;
    let Answered { change, mut answer } = only(answers)?;
    if let Changed::Added(added) = change {
        say_denied(added.ban(), cut);
    }
    if let Answer::Denied(denied) = &mut answer {
        denied.what.cut = Some(cut);
    }
    Ok(answer)
}

/// Lets a network in again.
pub(super) async fn undeny(desk: &AdminContext, network: IpNet) -> Result<Answer, String> {
    let made = make(desk, vec![BanChange::Remove(network)], OpenConnections::Keep).await?;
    let Answered { change, answer } = only(made.answers)?;
    match change {
        Changed::Removed(Lifted { ban: None, still: Some(wider), .. }) => {
            Err(format!("{network} itself is not denied, but {wider} holds it: undeny that"))
        }
        Changed::Removed(Lifted { ban: None, still: None, .. }) => {
            Err(format!("{network} is not denied: `truepeer deny --list` shows what is"))
        }
        Changed::Removed(Lifted { ban: Some(_), .. }) | Changed::Added(_) => {
            say_undenied(network);
            Ok(answer)
        }
    }
}

/// Makes changes in their order, keeps them in the state file, and cuts the connections of those who are denied at
/// the end.
pub(super) async fn make(
    desk: &AdminContext,
    changes: Vec<BanChange>,
    open: OpenConnections,
) -> Result<Made, String> {
    let AdminContext { view, before, .. } = desk;
    let denied = view.denied.clone();
    let (made, kept) = blocking(move || denied.make(&changes)).await?;
    let now = SystemTime::now();
    // Only now: who comes from here on finds the ban, and who came before is in the registry.
    let cut = match open {
        OpenConnections::Cut => {
            let bans: Vec<_> = added(&made).collect();
            for bans in bans.chunks(CUT_TOGETHER) {
                let networks = bans.iter().map(|ban| ban.network.to_string()).collect();
                let before = before.clone();
                blocking(move || before.tell(&Said::Cut { networks })).await?;
            }
            cut(view, bans, now)
        }
        OpenConnections::Keep => 0,
    };
    let kept = kept.map(told_as);
    let answers = made.into_iter().map(|made| {
        let change = made.map_err(|error| error.to_string())?;
        let answer = answer(&change, kept.as_ref(), now);
        Ok(Answered { change, answer })
    });
    Ok(Made { answers: answers.collect(), cut })
}

/// Somebody is shut out: the log says so.
pub(super) fn say_denied(ban: &Ban, cut: u64) {
    tracing::info!(event = "denied", ban = ban.to_string(), cut);
}

/// Somebody is not shut out any more.
pub(super) fn say_undenied(network: IpNet) {
    tracing::info!(event = "undenied", network = network.to_string());
}

/// The bans that `made` leaves in force.
fn added<E>(made: &[Result<Changed, E>]) -> impl Iterator<Item = Ban> + use<E> {
    let mut added = BTreeMap::new();
    for change in made.iter().flatten() {
        match change {
            Changed::Added(set) => {
                added.insert(set.ban().network, set.ban().clone());
            }
            Changed::Removed(lifted) => {
                added.remove(&lifted.network);
            }
        }
    }
    added.into_values()
}

fn answer(change: &Changed, kept: Option<&reply::Kept>, now: SystemTime) -> Answer {
    let kept = kept.cloned();
    match change {
        Changed::Added(added) => Answer::Denied(Done::well(reply::Denied {
            ban: reply::Ban::of(added.ban(), now),
            replaced: matches!(added, Added::Replaced(_)),
            kept,
            cut: None,
        })),
        Changed::Removed(Lifted { network, ban, still }) => Answer::Undenied(Done::well(reply::Undenied {
            network: network.to_string(),
            lifted: ban.is_some(),
            still: still.as_ref().map(|ban| reply::Ban::of(ban, now)),
            kept,
        })),
    }
}

/// The one answer to one change.
fn only(answers: Vec<Result<Answered, String>>) -> Result<Answered, String> {
    answers.into_iter().next().unwrap_or_else(|| Err("the order got no answer".to_owned()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}

/// Whether it survives a restart; where it does not, the warning that goes with it.
fn told_as(kept: Persisted) -> reply::Kept {
    let warning = match kept {
        Persisted::InFile => None,
        Persisted::InMemory => {
            Some("it ends with the process: `[admin] state` names no file to keep it in".to_owned())
        }
        Persisted::Failed(path, error) => {
            let path = path.display().to_string();
            tracing::warn!(event = "bans_not_kept", path, cause = error.to_string());
            Some(format!("it holds now, but not after a restart: {path} cannot be written: {error}"))
        }
    };
    reply::Kept { kept: warning.is_none(), warning }
}
