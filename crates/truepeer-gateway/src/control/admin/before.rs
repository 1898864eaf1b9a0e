//! Connections of the processes before this one: an operator hears of them, too.
//!
//! One that has been replaced answers over a stream that its successor has made for one question; the successor passes
//! the lines on as they come.

use std::io::{self, BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::time::timeout;

use super::lines::{read_line, refusal};
use super::reply::{self, Done};
use super::{ANSWER_TIME, MAX_REQUEST, Request, report};
use crate::control::predecessors::Predecessors;
use crate::server::View;

/// How long is waited for all of them together; a command waits twice as long for a line.
const PATIENCE: Duration = Duration::from_secs(5);

/// Passes on what the processes `before` answer to `request`; returns how many lines that were, and the numbers of those
/// that did not answer to the end.
///
/// # Cancel safety
/// Dropping the future ends the answer.
pub(super) async fn pass_on(
    write: &mut (impl AsyncWriteExt + Unpin),
    before: &Predecessors,
    request: &Request,
) -> io::Result<(u64, Vec<u32>)> {
    let (all, line) = (before.clone(), request.to_line());
    // One that takes nothing would hold up everybody who asks.
    let asked = tokio::task::spawn_blocking(move || all.ask(&line)).await.map_err(io::Error::other)??;
    let (mut passed, mut unheard, mut left) = (0_u64, Vec::new(), PATIENCE);
    for (pid, stream) in asked {
        stream.set_nonblocking(true)?;
        let stream = tokio::net::UnixStream::from_std(stream)?;
        let mut lines = BufReader::with_capacity(MAX_REQUEST, stream);
        let is_whole = loop {
            let since = Instant::now();
            let heard = timeout(left, read_line(&mut lines)).await;
            left = left.saturating_sub(since.elapsed());
            let Ok(Ok(Ok(line))) = heard else { break false };
            match serde_json::from_str::<Value>(&line) {
                Ok(said) if said.get("ok").is_none() => {
                    write.write_all(line.as_bytes()).await?;
                    write.write_all(b"\n").await?;
                    passed = passed.saturating_add(1);
                }
                Ok(end) => break end.get("ok") == Some(&Value::Bool(true)),
                Err(_) => break false,
            }
        };
        if !is_whole {
            unheard.push(pid);
        }
    }
    Ok((passed, unheard))
}

/// Answers an operator of the process that has taken this one's place. Blocks.
///
/// # Errors
/// Nobody listens, or not for as long as an answer may take.
pub(crate) fn answer_successor(stream: UnixStream, request: &str, view: &View) -> io::Result<()> {
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    let mut write = BufWriter::new(stream);
    match Request::parse(request) {
        Ok(Request::Connections(filter)) => {
            let (now, mut connections) = (SystemTime::now(), 0_u64);
            for entry in view.registry.list().iter().filter(|entry| filter.admits(entry)) {
                let connection = reply::Connection { replaced: true, ..report::connection(entry, now) };
                say(&mut write, &connection)?;
                connections = connections.saturating_add(1);
            }
            say(&mut write, &Done::well(reply::Connections { connections, unheard: Vec::new() }))?;
        }
        Ok(_) => say(&mut write, &refusal("another process answers this".to_owned()))?,
        Err(error) => say(&mut write, &refusal(error))?,
    }
    write.flush()
}

fn say(write: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *write, value)?;
    write.write_all(b"\n")
}
