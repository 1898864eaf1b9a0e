//! One header off one stream: drives the reader, keeps what came after it.
//!
//! Called by the listener and by `Incoming`. It decides nothing: bytes and time go to the reader, its answer comes back.

use core::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::options::{Check, Reads};
use super::{Connection, ListenerOptions, Refusal};
use crate::{ClientIdentity, HeaderReader, IdentifyError, PeerAddress, Progress};

/// A header being read. A value that can be moved between polls, so that a header which is already there needs no task.
///
/// Memory: nothing but this struct while the peer is silent. Then what has come of an incomplete header, at most the
/// header cap, and at most [`CHUNK`] - 1 bytes of what follows it.
pub(super) struct ReadHeader<S> {
    io: S,
    peer: PeerAddress,
    reader: HeaderReader,
    check: Option<Check>,
    reads: Reads,
    /// What is lacking at least.
    lacking: usize,
    /// An incomplete header.
    received: Vec<u8>,
}

/// What one read may bring. Nearly every header fits, with the client's first words.
const CHUNK: usize = 512;

/// A whole header: what it says, and the bytes that were read beyond it.
pub(super) type Whole = (ClientIdentity, Vec<u8>);

impl<S: AsyncRead + Unpin> ReadHeader<S> {
    /// `deadline`: for the whole header, counted from accept on.
    pub(super) fn new(io: S, peer: PeerAddress, deadline: Instant, options: &ListenerOptions) -> Self {
        let reader = HeaderReader::new(options.rules.clone(), peer, deadline.into_std());
        let lacking = match reader.advance(&[]) {
            Ok(Progress::NeedMore { at_least }) => at_least,
            // Nothing is neither a header nor wrong.
            _ => 1,
        };
        Self {
            io,
            peer,
            reader,
            check: options.check.clone(),
            reads: options.reads,
            lacking,
            received: Vec::new(),
        }
    }

    /// Reads until the header is whole, wrong, or late.
    pub(super) async fn finish(mut self) -> Result<Connection<S>, Refusal> {
        let deadline = Instant::from_std(self.reader.deadline());
        let whole = match timeout_at(deadline, poll_fn(|cx| self.poll(cx))).await {
            Ok(whole) => whole?,
            Err(_) => return Err(Refusal::Header(self.reader.expired(&self.received))),
        };
        Ok(self.into_connection(whole))
    }

    /// Reads what is there. Must not be called again after it was ready.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Whole, Refusal>> {
        loop {
            let mut chunk = [0; CHUNK];
            let room = match self.reads {
                Reads::Eager => CHUNK,
                Reads::Exact => self.lacking.min(CHUNK),
            };
            let mut buf = ReadBuf::new(chunk.get_mut(..room).unwrap_or_default());
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf));
            if let Err(error) = read {
                return Poll::Ready(Err(Refusal::Broken { peer: self.peer, kind: error.kind() }));
            }
            if buf.filled().is_empty() {
                return Poll::Ready(Err(Refusal::Header(self.reader.ended(&self.received))));
            }
            if let Some(answer) = self.judge(buf.filled()) {
                return Poll::Ready(answer.map_err(Refusal::Header).and_then(|whole| {
                    check(self.check.as_ref(), &whole.0)?;
                    Ok(whole)
                }));
            }
        }
    }

    pub(super) fn into_connection(self, (identity, unread): Whole) -> Connection<S> {
        Connection::new(self.io, identity, unread)
    }

    /// Shows the reader everything that has come; keeps `new` if that is not enough.
    fn judge(&mut self, new: &[u8]) -> Option<Result<Whole, IdentifyError>> {
        // Nearly always the header came whole, and nothing has to be kept.
        if self.received.is_empty() {
            return match self.reader.advance(new) {
                Ok(Progress::NeedMore { at_least }) => {
                    self.lacking = at_least;
                    self.received.reserve_exact(new.len().saturating_add(at_least));
                    self.received.extend_from_slice(new);
                    None
                }
                answer => self.answer(answer, new),
            };
        }
        self.received.reserve_exact(new.len());
        self.received.extend_from_slice(new);
        let all = std::mem::take(&mut self.received);
        let answer = self.reader.advance(&all);
        if let Ok(Progress::NeedMore { at_least }) = answer {
            self.lacking = at_least;
            self.received = all;
            return None;
        }
        self.answer(answer, &all)
    }

    fn answer(
        &self,
        answer: Result<Progress, IdentifyError>,
        all: &[u8],
    ) -> Option<Result<Whole, IdentifyError>> {
        let (identity, header_len) = match answer {
            Ok(Progress::Done { identity, header_len }) => (identity, header_len),
            Ok(Progress::NeedMore { .. }) => return None,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok((identity, all.get(header_len..).unwrap_or_default().to_vec())))
    }
}

/// Asks the caller's own check.
pub(super) fn check(check: Option<&Check>, identity: &ClientIdentity) -> Result<(), Refusal> {
    let Some(check) = check else { return Ok(()) };
    check(identity).map_err(|because| Refusal::Rejected {
        peer: identity.peer(),
        client: identity.client(),
        because,
    })
}

impl<S: fmt::Debug> fmt::Debug for ReadHeader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHeader")
            .field("io", &self.io)
            .field("reader", &self.reader)
            .field("received", &format_args!("{} bytes", self.received.len()))
            .finish_non_exhaustive()
    }
}
