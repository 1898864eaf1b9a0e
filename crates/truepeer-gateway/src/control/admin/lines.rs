//! Lines on the admin socket: one request or answer each.

use std::io;

use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use super::MAX_REQUEST;
use super::reply::Refused;
use crate::rooms::bans::HANDED_OVER;

/// The request's line; the inner error is the asker's.
pub(super) async fn read_line(read: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Result<String, String>> {
    let mut line = Vec::new();
    read.take(MAX_REQUEST as u64).read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        return Ok(Err(format!("a request is one line of at most {MAX_REQUEST} bytes")));
    }
    Ok(String::from_utf8(line).map_err(|_| "a request is UTF-8".to_owned()))
}

/// The answer to a request that cannot be done.
pub(super) fn refusal(error: String) -> Refused {
    let again = (error == HANDED_OVER).then_some(true);
    Refused { ok: false, error, feed: None, again }
}

/// Writes one line; it is not flushed.
pub(super) async fn say(write: &mut (impl AsyncWriteExt + Unpin), value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    write.write_all(&line).await
}
