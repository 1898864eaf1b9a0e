//! One direction of a relay: from a source to a sink.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use truepeer::{FirstBytes, Held, Verdict};

use super::RelayEnd;
use super::pipe::{CAPACITY, Pipe};
use crate::engine::receive::{SCRATCH, with_scratch};
use crate::engine::{Socket, now};

/// Reads in one turn before other connections get theirs.
const ROUNDS: u32 = 16;
/// Full reads in a row that make a direction bulk.
const FULL_READS: u8 = 2;
/// A read of fewer bytes is small, and so many small ones in a row end it.
const SMALL: usize = 16 * 1024;
const SMALL_READS: u8 = 5;

/// What broke, and on which side.
#[derive(Debug)]
pub(super) enum Failure {
    Source(io::Error),
    Sink(io::Error),
}

/// One direction. Memory while idle: this struct; under back-pressure at most [`SCRATCH`] bytes more, or what a pipe
/// holds.
#[derive(Debug)]
pub(super) struct Flow {
    /// Read, and not yet taken by the sink.
    pending: Vec<u8>,
    /// While it moves bulk.
    pipe: Option<Box<Pipe>>,
    /// While this is here, nothing is written.
    guard: Option<FirstBytes>,
    manner: Manner,
    source_ended: bool,
    finished: bool,
    pub(super) failure: Option<Failure>,
    /// The guard's verdict, if it ends the relay.
    pub(super) stop: Option<Box<RelayEnd>>,
}

/// How bytes are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Copied; the last reads were full, so many of them.
    Copy { full: u8 },
    /// Spliced; the last moves were small, so many of them.
    Splice { small: u8 },
    /// Copied for ever: one of the sockets cannot be spliced.
    OnlyCopy,
}

/// What becomes of the sink when the source has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is told; the other direction goes on.
    Tell,
    /// Both are closed at once, which says the same.
    Close,
}

/// The two sides, and who counts.
pub(super) struct Sides<'a, C> {
    pub(super) source: &'a Socket,
    pub(super) sink: &'a Socket,
    pub(super) count: C,
    pub(super) ending: Ending,
}

impl Flow {
    pub(super) fn open(early: Vec<u8>) -> Self {
        Self {
            pending: early,
            pipe: None,
            guard: None,
            manner: Manner::Copy { full: 0 },
            source_ended: false,
            finished: false,
            failure: None,
            stop: None,
        }
    }

    pub(super) fn guarded(early: Vec<u8>, guard: Option<FirstBytes>) -> Self {
        Self { guard, ..Self::open(early) }
    }

    /// Whether it has ended without a fault.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Moves what can be moved; ready when this direction has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, sides: &Sides<'_, impl Fn(usize)>) -> Poll<()> {
        if self.finished {
            return Poll::Ready(());
        }
        match ready!(self.pump(cx, sides)) {
            Ok(()) => {}
            Err(failure) => {
                // The other direction may still have last words to deliver; it ends by itself.
                if matches!(failure, Failure::Source(_)) {
                    let _ = sides.sink.shutdown_write();
                }
                self.failure = Some(failure);
                self.pending = Vec::new();
            }
        }
        self.pipe = None;
        self.finished = true;
        Poll::Ready(())
    }

    fn pump(&mut self, cx: &mut Context<'_>, sides: &Sides<'_, impl Fn(usize)>) -> Poll<Result<(), Failure>> {
        for _ in 0..ROUNDS {
            if self.is_held(now()) {
                if self.stop.is_some() {
                    return Poll::Ready(Ok(()));
                }
            } else {
                ready!(self.flush(cx, sides)).map_err(Failure::Sink)?;
                if self.source_ended {
                    return Poll::Ready(match sides.ending {
                        Ending::Close => Ok(()),
                        Ending::Tell => sides.sink.shutdown_write().map_err(Failure::Sink),
                    });
                }
            }
            match sides.source.poll_read_ready(cx) {
                Poll::Ready(ready) => ready.map_err(Failure::Source)?,
                Poll::Pending => {
                    // Empty: flushed before. An idle direction holds nothing.
                    self.pipe = None;
                    return Poll::Pending;
                }
            }
            let moved = match self.manner {
                Manner::Splice { small } if self.guard.is_none() => self.splice(sides, small),
                _ => self.copy(sides),
            };
            match moved {
                Ok(0) => self.source_ended = true,
                Ok(_) => {}
                Err(Failure::Source(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(failure) => return Poll::Ready(Err(failure)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, and writes at once what the sink takes.
    fn copy(&mut self, sides: &Sides<'_, impl Fn(usize)>) -> Result<usize, Failure> {
        with_scratch(|buffer| {
            let len = sides.source.try_read(buffer).map_err(Failure::Source)?;
            let mut rest = buffer.get(..len).unwrap_or_default();
            if self.guard.is_some() || rest.is_empty() {
                self.pending.extend_from_slice(rest);
                return Ok(len);
            }
            sides.sink.set_no_delay();
            match sides.sink.try_write(rest) {
                Ok(len) => {
                    (sides.count)(len);
                    rest = rest.get(len..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Failure::Sink(error)),
            }
            if !rest.is_empty() {
                self.pending.extend_from_slice(rest);
            }
            if let Manner::Copy { full } = self.manner {
                self.manner = match full.saturating_add(1) {
                    _ if len < SMALL => Manner::Copy { full: 0 },
                    _ if len < SCRATCH && rest.is_empty() => self.manner,
                    FULL_READS.. => Manner::Splice { small: 0 },
                    full => Manner::Copy { full },
                };
            }
            Ok(len)
        })
    }

    /// Moves once into a pipe; [`Flow::flush`] empties it.
    fn splice(&mut self, sides: &Sides<'_, impl Fn(usize)>, small: u8) -> Result<usize, Failure> {
        if self.pipe.is_none() {
            self.pipe = Pipe::take();
        }
        let Some(pipe) = &mut self.pipe else { return self.copy(sides) };
        let Some(into) = pipe.inlet() else { return self.copy(sides) };
        let moved = match sides.source.try_splice_to(into, CAPACITY) {
            Ok(moved) => moved,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.manner = Manner::OnlyCopy;
                return self.copy(sides);
            }
            Err(error) => return Err(Failure::Source(error)),
        };
        pipe.holds = moved;
        self.manner = match small.saturating_add(1) {
            _ if moved >= SMALL => Manner::Splice { small: 0 },
            SMALL_READS.. => Manner::Copy { full: 0 },
            small => Manner::Splice { small },
        };
        Ok(moved)
    }

    /// Writes what waits.
    fn flush(&mut self, cx: &mut Context<'_>, sides: &Sides<'_, impl Fn(usize)>) -> Poll<io::Result<()>> {
        ready!(self.flush_pending(cx, sides))?;
        while let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.holds > 0) {
            ready!(sides.sink.poll_write_ready(cx))?;
            let Some(out) = pipe.outlet() else { break };
            match sides.sink.try_splice_from(out, pipe.holds) {
                Ok(len) => {
                    (sides.count)(len);
                    pipe.holds = pipe.holds.saturating_sub(len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn flush_pending(
        &mut self,
        cx: &mut Context<'_>,
        sides: &Sides<'_, impl Fn(usize)>,
    ) -> Poll<io::Result<()>> {
        let mut sent = 0;
        let result = loop {
            let rest = self.pending.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match sides.sink.poll_write_ready(cx) {
                Poll::Pending => break Poll::Pending,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {}
            }
            sides.sink.set_no_delay();
            match sides.sink.try_write(rest) {
                Ok(len) => {
                    (sides.count)(len);
                    sent = sent.saturating_add(len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => break Poll::Ready(Err(error)),
            }
        };
        if sent >= self.pending.len() {
            // An idle connection holds no buffer.
            self.pending = Vec::new();
        } else {
            self.pending.drain(..sent);
        }
        result
    }

    /// Whether the guard still holds everything back; sets `stop` if that ends the relay.
    fn is_held(&mut self, now: Instant) -> bool {
        let Some(guard) = self.guard.as_mut() else { return false };
        match guard.inspect(&self.pending, now) {
            Verdict::Pass => self.guard = None,
            Verdict::Header(version) => {
                let header = RelayEnd::Header(version, std::mem::take(&mut self.pending));
                self.stop = Some(Box::new(header));
            }
            // The client sends no more: a prefix stays what it is, and nothing is nothing.
            Verdict::Hold if self.source_ended && self.pending.is_empty() => self.guard = None,
            Verdict::Hold if self.source_ended => self.end_hold(),
            Verdict::Hold => {}
        }
        self.guard.is_some()
    }

    /// When held bytes are due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.guard.as_ref().and_then(FirstBytes::wake_at)
    }

    pub(super) fn expire_guard(&mut self, now: Instant) {
        if self.due().is_some_and(|due| due <= now) {
            self.end_hold();
        }
    }

    fn end_hold(&mut self) {
        match self.guard.as_ref().map(FirstBytes::expire) {
            Some(Held::End) => self.stop = Some(Box::new(RelayEnd::HeldBack)),
            Some(Held::Release) | None => self.guard = None,
        }
    }
}
