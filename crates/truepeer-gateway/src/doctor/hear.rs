//! Listening to a server that may say anything, for ever, or nothing: every answer has a bound and a deadline.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout_at;

use super::dial::later;

/// The most that is kept of one answer.
pub const MAX_ANSWER: usize = 16 * 1024;

/// A connection, with or without TLS.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// Why no more was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HearingEnd {
    /// The awaited part is there.
    Complete,
    /// More came than any answer has.
    TooMuch,
    /// The other end closed.
    Closed,
    /// The connection broke.
    Broken(String),
    /// It was not there in time.
    Late,
}

/// What was heard, and why no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardBytes {
    /// The bytes, at most [`MAX_ANSWER`].
    pub bytes: Vec<u8>,
    /// Why no more.
    pub end: HearingEnd,
}

/// Reads until `complete` says so, the end, the bound, or `patience` is over; one deadline for all of it.
///
/// # Cancel safety
/// What was read is lost.
pub async fn hear(
    stream: &mut (impl Duplex + ?Sized),
    patience: Duration,
    complete: impl Fn(&[u8]) -> bool,
) -> HeardBytes {
    let until = later(patience);
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let end = loop {
        if complete(&bytes) {
            break HearingEnd::Complete;
        }
        if bytes.len() >= MAX_ANSWER {
            break HearingEnd::TooMuch;
        }
        match timeout_at(until, stream.read(&mut piece)).await {
            Err(_) => break HearingEnd::Late,
            Ok(Ok(0)) => break HearingEnd::Closed,
            Ok(Ok(count)) => bytes.extend(piece.iter().take(count)),
            Ok(Err(error)) => break HearingEnd::Broken(error.to_string()),
        }
    };
    bytes.truncate(MAX_ANSWER);
    HeardBytes { bytes, end }
}

/// Writes all of it in one go, in time.
///
/// # Errors
/// Why it did not go out, in words.
///
/// # Cancel safety
/// Part of it may have gone.
pub async fn say(
    stream: &mut (impl Duplex + ?Sized),
    bytes: &[u8],
    patience: Duration,
) -> Result<(), String> {
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    match timeout_at(later(patience), written).await {
        Err(_) => Err("the other end does not read".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(())) => Ok(()),
    }
}
