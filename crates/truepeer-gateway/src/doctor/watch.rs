//! `truepeer watch`: stands where a server will stand, and tells what arrives.
//!
//! This file listens and keeps; [`report`] says what it means. Nothing that arrives goes anywhere else. Bounds:
//! [`MAX_OPEN`] connections at once, [`MAX_KEPT`] bytes of each, three silences for the whole of it.

mod hello;
pub mod report;

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use truepeer::proto::{Decode, Decoder};

use super::dial::later;

/// Connections that are watched at once; the next one waits.
pub const MAX_OPEN: usize = 64;
/// How much of a connection is kept: the longest header that is read, and as much again.
pub const MAX_KEPT: usize = 8 * 1024;

/// After an accept that failed, so that a lack of descriptors keeps no processor busy.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// What arrived on one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
    /// Every byte, in order, at most [`MAX_KEPT`].
    pub bytes: Vec<u8>,
    /// How they came.
    pub pieces: Vec<Piece>,
    /// Whether we greeted, and after how many bytes.
    pub greeted: Option<usize>,
    /// How it ended.
    pub end: ArrivalEnd,
}

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Since the connection was there.
    pub after: Duration,
    /// Its bytes.
    pub len: usize,
}

/// How an arrival ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArrivalEnd {
    /// The other end closed.
    Closed,
    /// The connection broke.
    Broken(String),
    /// Nothing more came for as long as we wait.
    Silent,
    /// We took leave.
    Ours,
    /// More came than is kept.
    Full,
}

/// What is said to a client's words; a break takes leave behind it.
pub type Reply = ControlFlow<Vec<u8>, Vec<u8>>;

/// What is said to a client that arrives: how servers of one protocol talk.
pub trait Talk: Send {
    /// Said first.
    fn greeting(&self) -> Vec<u8>;
    /// Said to what comes then.
    fn reply(&mut self, heard: &[u8]) -> Reply;
}

/// When watching is over.
#[derive(Debug, Clone, Copy)]
pub struct WatchLimits {
    /// After so many connections.
    pub count: Option<u64>,
    /// After so long.
    pub time: Option<Duration>,
    /// How long a silence is waited for.
    pub wait: Duration,
}

/// Watches `listener` until the limits, the operator, or `tell` end it; `tell` gets each connection at its end.
///
/// # Cancel safety
/// Connections that are open are closed and not told of.
pub async fn watch(
    listener: &TcpListener,
    limits: WatchLimits,
    talk: impl Fn() -> Option<Box<dyn Talk>>,
    mut tell: impl FnMut(Watched) -> ControlFlow<()>,
) {
    let mut open = JoinSet::new();
    let mut told = 0_u64;
    let mut accepted = 0_u64;
    let over = async {
        match limits.time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    while limits.count.is_none_or(|count| told < count) {
        let room = open.len() < MAX_OPEN && limits.count.is_none_or(|count| accepted < count);
        tokio::select! {
            biased;
            Some(arrival) = open.join_next() => {
                // One that panicked would have nothing to tell.
                let Ok(arrival) = arrival else { continue };
                told = told.saturating_add(1);
                if tell(arrival).is_break() {
                    return;
                }
            }
            connection = listener.accept(), if room => {
                // Who is gone before it is taken has not arrived. Without a descriptor it fails again at once.
                let Ok((stream, peer)) = connection else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                accepted = accepted.saturating_add(1);
                open.spawn(arrive(stream, peer, limits.wait, talk()));
            }
            () = &mut over => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    // Who is still here is told with what came so far, soon.
    while let Ok(Some(arrival)) = timeout_at(later(limits.wait), open.join_next()).await {
        if let Ok(arrival) = arrival
            && (limits.count.is_some_and(|count| told >= count) || tell(arrival).is_break())
        {
            return;
        }
    }
}

async fn arrive(
    mut stream: TcpStream,
    peer: SocketAddr,
    wait: Duration,
    mut talk: Option<Box<dyn Talk>>,
) -> Watched {
    let started = Instant::now();
    let last = later(wait.saturating_mul(3));
    let local = stream.local_addr().unwrap_or(peer);
    let mut arrival = Watched {
        peer,
        local,
        bytes: Vec::new(),
        pieces: Vec::new(),
        greeted: None,
        end: ArrivalEnd::Silent,
    };
    // Large enough that whatever came in one piece is read as one.
    let mut piece = [0; MAX_KEPT];
    // Up to where the client's own words were answered.
    let mut answered = 0_usize;
    arrival.end = loop {
        if arrival.greeted.is_none()
            && let Some(len) = header_len(&arrival.bytes)
        {
            answered = len;
            let greeting = talk.as_ref().map(|talk| talk.greeting());
            greet(&mut stream, greeting, &mut arrival, last).await;
        }
        if let (Some(_), Some(talk)) = (arrival.greeted, &mut talk)
            && let Some(heard) = arrival.bytes.get(answered..).filter(|heard| !heard.is_empty())
        {
            let (reply, leave) = match talk.reply(heard) {
                ControlFlow::Continue(reply) => (reply, false),
                ControlFlow::Break(reply) => (reply, true),
            };
            answered = arrival.bytes.len();
            let written = timeout_at(last, stream.write_all(&reply)).await;
            if leave || !matches!(written, Ok(Ok(()))) {
                break ArrivalEnd::Ours;
            }
        }
        match timeout_at(later(wait).min(last), stream.read(&mut piece)).await {
            // The peer waits, too: perhaps a greeting makes it speak. Not in the middle of a header.
            Err(_)
                if arrival.greeted.is_none()
                    && talk.is_some()
                    && Instant::now() < last
                    && !header_has_begun(&arrival.bytes) =>
            {
                let greeting = talk.as_ref().map(|talk| talk.greeting());
                greet(&mut stream, greeting, &mut arrival, last).await;
            }
            Err(_) => break ArrivalEnd::Silent,
            Ok(Ok(0)) => break ArrivalEnd::Closed,
            Ok(Err(error)) => break ArrivalEnd::Broken(error.to_string()),
            Ok(Ok(count)) => {
                arrival.pieces.push(Piece { after: started.elapsed(), len: count });
                arrival.bytes.extend(piece.iter().take(count));
                if arrival.bytes.len() >= MAX_KEPT || arrival.pieces.len() >= MAX_PIECES {
                    arrival.bytes.truncate(MAX_KEPT);
                    break ArrivalEnd::Full;
                }
            }
        }
    };
    arrival
}

/// Reads that are kept of one connection; who sends byte by byte has shown that by then.
const MAX_PIECES: usize = 2048;

/// The length of the header that `bytes` begin with, once it is whole.
fn header_len(bytes: &[u8]) -> Option<usize> {
    match Decoder::new().decode(bytes) {
        Ok(Decode::Complete { len, .. }) => Some(len),
        _ => None,
    }
}

fn header_has_begun(bytes: &[u8]) -> bool {
    !bytes.is_empty() && Decoder::new().decode(bytes).is_ok()
}

async fn greet(stream: &mut TcpStream, greeting: Option<Vec<u8>>, arrival: &mut Watched, until: Instant) {
    if let Some(greeting) = greeting {
        arrival.greeted = Some(arrival.bytes.len());
        let _ = timeout_at(until, stream.write_all(&greeting)).await;
    }
}
