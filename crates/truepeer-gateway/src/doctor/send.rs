//! `truepeer send`: a connection that begins with any header, and then goes on as its user or its protocol does.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout_at};
use tokio_rustls::rustls::pki_types::ServerName;

use super::dial::{self, Unreached, later};
use super::hear::{Duplex, HearingEnd, hear, say};
use super::tls;
use crate::facts::manners::{Part, complete_len, goodbye, is_goodbye, is_greeting};
use crate::facts::protocol::Protocol;

/// What is sent, and how.
#[derive(Debug, Clone)]
pub struct SendPlan {
    /// The header; none if empty.
    pub header: Vec<u8>,
    /// Before which of its bytes it is cut.
    pub cuts: Vec<usize>,
    /// How long is waited between the pieces.
    pub pause: Duration,
    /// The name that TLS asks for, if there is to be TLS behind the header.
    pub tls: Option<ServerName<'static>>,
    /// How long everything may take that is waited for.
    pub patience: Duration,
}

/// A connection whose header is sent.
pub struct Opened {
    /// The connection; inside TLS, if there is any.
    pub stream: Box<dyn Duplex>,
    /// What TLS agreed on.
    pub agreed: Option<String>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("agreed", &self.agreed).finish_non_exhaustive()
    }
}

/// Why a connection did not come so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOpened {
    /// Nobody is there.
    Unreached(Unreached),
    /// It ended while the header or TLS was on its way.
    Refused(String),
}

/// Connects, for a header that depends on the addresses.
///
/// # Errors
/// If nobody takes the connection.
///
/// # Cancel safety
/// The connection is closed.
pub async fn connect(
    addrs: &[SocketAddr],
    source: Option<IpAddr>,
    patience: Duration,
) -> Result<(TcpStream, SocketAddr), NotOpened> {
    let stream = dial::connect(addrs, source, patience).await.map_err(NotOpened::Unreached)?;
    let reached = stream.peer_addr().map_err(|error| NotOpened::Refused(error.to_string()))?;
    Ok((stream, reached))
}

/// Sends the header in its pieces, and shakes hands behind it if there is to be TLS.
///
/// # Errors
/// If the other end does not go along.
///
/// # Cancel safety
/// Part of the header may be sent; the connection is closed.
pub async fn open(mut stream: TcpStream, opening: &SendPlan) -> Result<Opened, NotOpened> {
    let refused = |why: String| NotOpened::Refused(why);
    for (number, piece) in pieces(&opening.header, &opening.cuts).into_iter().enumerate() {
        if number > 0 {
            sleep(opening.pause).await;
        }
        say(&mut stream, piece, opening.patience)
            .await
            .map_err(|why| refused(format!("the header was not taken: {why}")))?;
    }
    match &opening.tls {
        None => Ok(Opened { stream: Box::new(stream), agreed: None }),
        Some(name) => {
            let stream = tls::handshake(stream, name.clone(), opening.patience).await.map_err(refused)?;
            let agreed = Some(tls::agreed(&stream));
            Ok(Opened { stream: Box::new(stream), agreed })
        }
    }
}

/// The header, cut before each of these bytes.
fn pieces<'h>(header: &'h [u8], cuts: &[usize]) -> Vec<&'h [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().copied().filter(|cut| *cut < header.len()).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts.push(header.len());
    let mut from = 0;
    let mut pieces = Vec::new();
    for cut in cuts {
        pieces.extend(header.get(from..cut).filter(|piece| !piece.is_empty()));
        from = cut;
    }
    pieces
}

/// What a polite session came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// What was heard first.
    pub greeting: Vec<u8>,
    /// What was heard last.
    pub answer: Vec<u8>,
    /// Whether it went as the protocol says.
    pub verdict: SendVerdict,
}

/// How a polite session went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendVerdict {
    /// Greeted and took leave; or answered, where the client speaks first.
    Polite,
    /// It did not, and this is what happened.
    Rude(&'static str, HearingEnd),
}

/// Speaks the protocol's first words and takes leave.
///
/// # Cancel safety
/// The connection is closed.
pub async fn converse(
    stream: &mut dyn Duplex,
    protocol: Protocol,
    host: &str,
    patience: Duration,
) -> Session {
    let empty = Vec::new;
    match protocol {
        Protocol::Http => {
            let request = format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            if let Err(why) = say(stream, request.as_bytes(), patience).await {
                let verdict = SendVerdict::Rude("the request was not taken", HearingEnd::Broken(why));
                return Session { greeting: empty(), answer: empty(), verdict };
            }
            let heard = hear(stream, patience, |bytes| bytes.windows(4).any(|end| end == b"\r\n\r\n")).await;
            let verdict = match heard.end {
                HearingEnd::Complete if heard.bytes.starts_with(b"HTTP/") => SendVerdict::Polite,
                end => SendVerdict::Rude("the request was not answered in HTTP", end),
            };
            Session { greeting: empty(), answer: heard.bytes, verdict }
        }
        Protocol::Tcp => {
            let heard = hear(stream, patience, |bytes| !bytes.is_empty()).await;
            let verdict = match heard.end {
                HearingEnd::Complete => SendVerdict::Polite,
                end => SendVerdict::Rude("not a byte came", end),
            };
            Session { greeting: heard.bytes, answer: empty(), verdict }
        }
        _ => {
            let greeting =
                hear(stream, patience, |bytes| complete_len(protocol, Part::Greeting, bytes).is_some()).await;
            if greeting.end != HearingEnd::Complete || !is_greeting(protocol, &greeting.bytes) {
                let verdict = SendVerdict::Rude("there was no greeting", greeting.end);
                return Session { greeting: greeting.bytes, answer: empty(), verdict };
            }
            let said = say(stream, goodbye(protocol), patience).await;
            let answer =
                hear(stream, patience, |bytes| complete_len(protocol, Part::Answer, bytes).is_some()).await;
            let verdict = match (said, answer.end) {
                (_, HearingEnd::Complete) if is_goodbye(protocol, &answer.bytes) => SendVerdict::Polite,
                (Err(why), _) => SendVerdict::Rude("the goodbye was not taken", HearingEnd::Broken(why)),
                (Ok(()), end) => SendVerdict::Rude("it did not take leave", end),
            };
            Session { greeting: greeting.bytes, answer: answer.bytes, verdict }
        }
    }
}

/// How a free session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// The other end closed.
    Closed,
    /// The connection broke.
    Broken(String),
    /// Our input was over, and the other end neither closed nor said anything more in time.
    Silent,
    /// More came than may be shown.
    TooMuch,
    /// What came could not be written out.
    Unwritten(String),
}

/// Moves bytes both ways until the other end closes; the end of `input` is passed on.
///
/// `most`: bytes that are written out at most. `write` gets them as they come.
///
/// # Cancel safety
/// Bytes on their way are lost.
pub async fn cat(
    stream: Box<dyn Duplex>,
    mut input: impl AsyncRead + Unpin,
    mut write: impl FnMut(&[u8]) -> std::io::Result<()>,
    patience: Duration,
    most: u64,
) -> Over {
    let (mut from, mut to) = tokio::io::split(stream);
    let (mut typed, mut heard) = ([0; 16 * 1024], [0; 16 * 1024]);
    let mut written = 0_u64;
    // Nobody types any more: from here on the other end is waited for with patience only.
    let mut last: Option<tokio::time::Instant> = None;
    loop {
        let silent = async {
            match last {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // What is here is written before anything else is noticed.
            biased;
            read = from.read(&mut heard) => match read {
                Ok(0) => return Over::Closed,
                Err(error) => return Over::Broken(error.to_string()),
                Ok(count) => {
                    let left = usize::try_from(most.saturating_sub(written)).unwrap_or(usize::MAX);
                    let bytes = heard.get(..count.min(left)).unwrap_or_default();
                    if let Err(error) = write(bytes) {
                        return Over::Unwritten(error.to_string());
                    }
                    written = written.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                    if written > most {
                        return Over::TooMuch;
                    }
                }
            },
            read = input.read(&mut typed), if last.is_none() => {
                let count = read.unwrap_or_default();
                let bytes = typed.get(..count).unwrap_or_default();
                let sent = timeout_at(later(patience), pass_on(&mut to, bytes)).await;
                match sent {
                    Ok(Ok(())) if count > 0 => {}
                    // A half that is closed already may still have last words.
                    Ok(_) => last = Some(later(patience)),
                    Err(_) => return Over::Broken("the other end does not read".to_owned()),
                }
            }
            () = silent => return Over::Silent,
        }
    }
}

async fn pass_on(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    if bytes.is_empty() {
        return to.shutdown().await;
    }
    to.write_all(bytes).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_cut_where_it_was_said() {
        let cut =
            |cuts: &[usize]| pieces(b"abcdef", cuts).into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(cut(&[]), [b"abcdef".to_vec()]);
        assert_eq!(cut(&[4, 1, 4]), [b"a".to_vec(), b"bcd".to_vec(), b"ef".to_vec()]);
        assert_eq!(cut(&[0, 6, 99]), [b"abcdef".to_vec()]);
        assert!(pieces(b"", &[1]).is_empty());
    }
}
