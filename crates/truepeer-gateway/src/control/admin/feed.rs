//! A feed: denials and their ends from another program, over one connection that stays open.
//!
//! The first answer says that orders may come. Each is a request of its own, `deny` or `undeny`, and gets an answer of
//! its own, in the order of the requests. What is there already when the work begins is made together: the state file
//! is written once for a list of thousands, and still before its first answer. An order that comes alone acts at once.
//!
//! Bounds: [`MAX_BATCH`] orders together, [`ANSWER_TIME`] for their answers. The next order may take as long as it
//! likes.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::sync::watch;
use tokio::time::timeout;

use super::deny::{self, Answered, Made};
use super::lines::{read_line, refusal, say};
use super::reply::{Done, FeedBegins, Refused};
use super::{ANSWER_TIME, AdminContext, MAX_BATCH, OpenConnections, Presence, Request};
use crate::rooms::bans::{BanChange, Changed, HANDED_OVER};

/// Said to a feed whose process was replaced.
const REPLACED: &str = "an upgrade has replaced this process: start the feed again";

/// What came together: the changes, or what is wrong with the line where one was due.
type Batch = Vec<Result<BanChange, String>>;

/// Takes orders until there are no more, or no admin socket is wanted any more: the other end is told so.
pub(super) async fn serve(
    read: &mut BufReader<impl AsyncRead + Unpin>,
    write: &mut (impl AsyncWriteExt + Unpin),
    desk: &AdminContext,
    open: OpenConnections,
    mut presence: watch::Receiver<Presence>,
) -> io::Result<()> {
    say(write, &Done::well(FeedBegins { feed: true })).await?;
    write.flush().await?;
    loop {
        let batch = tokio::select! {
            batch = gather(read) => batch?,
            why = gone(&mut presence) => {
                let end = refusal(why.to_owned());
                return timeout(ANSWER_TIME, last_word(write, end)).await?;
            }
        };
        if batch.is_empty() {
            return Ok(());
        }
        timeout(ANSWER_TIME, answer(write, desk, batch, open)).await??;
    }
}

/// Waits until the admin socket is not here any more, and says why.
async fn gone(presence: &mut watch::Receiver<Presence>) -> &'static str {
    // A sender that is gone is the end of the process, which the other end sees.
    match presence.wait_for(|presence| *presence != Presence::Somewhere).await.map(|presence| *presence) {
        Ok(Presence::Nowhere) => {
            "a reload removed `[admin]` from the configuration: orders are taken no more"
        }
        Ok(Presence::Elsewhere | Presence::Somewhere) => REPLACED,
        Err(_) => std::future::pending().await,
    }
}

async fn last_word(write: &mut (impl AsyncWriteExt + Unpin), end: Refused) -> io::Result<()> {
    // What tells it from the refusal of one order.
    say(write, &Refused { feed: Some(false), ..end }).await?;
    write.flush().await
}

/// The next order, and those that are here with it.
async fn gather(read: &mut BufReader<impl AsyncRead + Unpin>) -> io::Result<Batch> {
    let mut batch = Batch::new();
    while !read.fill_buf().await?.is_empty() {
        batch.push(read_line(read).await?.and_then(|line| change(&line)));
        // Half a line is still on its way: it must not keep the others waiting.
        if batch.len() >= MAX_BATCH || !read.buffer().contains(&b'\n') {
            break;
        }
    }
    Ok(batch)
}

fn change(line: &str) -> Result<BanChange, String> {
    match Request::parse(line)? {
        Request::Deny(order, _) => Ok(BanChange::Add(order)),
        Request::Undeny(network) => Ok(BanChange::Remove(network)),
        _ => Err("a feed takes `deny` and `undeny` only".to_owned()),
    }
}

async fn answer(
    write: &mut (impl AsyncWriteExt + Unpin),
    desk: &AdminContext,
    batch: Batch,
    open: OpenConnections,
) -> io::Result<()> {
    let changes = batch.iter().flatten().cloned().collect();
    let Made { answers, cut } = deny::make(desk, changes, open).await.map_err(io::Error::other)?;
    report(&answers, cut);
    // None of them was made.
    if answers.iter().any(|answer| answer.as_ref().is_err_and(|why| why == HANDED_OVER)) {
        last_word(write, refusal(REPLACED.to_owned())).await?;
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let mut answers = answers.into_iter();
    for line in batch {
        let answer = match line {
            Ok(_) => answers.next().unwrap_or_else(|| Err("the order got no answer".to_owned())),
            Err(wrong) => Err(wrong),
        };
        match answer {
            Ok(answered) => say(write, &answered.answer).await?,
            Err(why) => say(write, &refusal(why)).await?,
        }
    }
    write.flush().await
}

/// One order reads in the log as if somebody had given it by hand; many are summed up.
fn report(answers: &[Result<Answered, String>], cut: u64) {
    if let [Ok(Answered { change, .. })] = answers {
        return match change {
            Changed::Added(added) => deny::say_denied(added.ban(), cut),
            Changed::Removed(lifted) if lifted.ban.is_some() => deny::say_undenied(lifted.network),
            Changed::Removed(_) => {}
        };
    }
    let (mut denied, mut undenied) = (0_u64, 0_u64);
    for answered in answers.iter().flatten() {
        match &answered.change {
            Changed::Added(_) => denied = denied.saturating_add(1),
            Changed::Removed(lifted) if lifted.ban.is_some() => undenied = undenied.saturating_add(1),
            Changed::Removed(_) => {}
        }
    }
    if denied > 0 || undenied > 0 {
        tracing::info!(event = "feed_taken", denied, undenied, cut);
    }
    let mut refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    if let Some(cause) = refused.next() {
        let count = u64::try_from(refused.count()).unwrap_or(u64::MAX).saturating_add(1);
        tracing::warn!(event = "feed_refused", count, cause = cause.as_str());
    }
}
