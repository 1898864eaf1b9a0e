//! One direction of a relay: from a source to a sink.

use std::io;
use std::task::{Context, Poll, ready};

use super::judge::{ByteGuard, SourceState};
use super::pipe::{CAPACITY, Pipe};
use super::{Overheard, RelayEnd};
use crate::engine::receive::{SCRATCH, with_scratch};
use crate::engine::run::again;
use crate::engine::{Socket, give_back};

/// Reads in one turn before other connections get theirs.
const ROUNDS: u32 = 16;
/// Full reads in a row that make a direction bulk.
const FULL_READS: u8 = 2;
/// A read of fewer bytes is small, and so many small ones in a row end it.
const SMALL: usize = 16 * 1024;
const SMALL_READS: u8 = 5;

/// What broke, and on which side.
#[derive(Debug)]
pub(super) enum Fault {
    Source(io::Error),
    Sink(io::Error),
}

/// One direction. Memory while idle: this struct; under back-pressure at most [`SCRATCH`] bytes more, or what a pipe
/// holds.
#[derive(Debug)]
pub(super) struct Flow {
    /// Gone while it is idle.
    busy: Option<Box<Busy>>,
    manner: Manner,
    source_ended: bool,
    finished: bool,
}

/// What a direction holds that is not idle.
#[derive(Debug, Default)]
struct Busy {
    /// Read, and not yet taken by the sink.
    pending: Vec<u8>,
    /// While it moves bulk.
    pipe: Option<Box<Pipe>>,
    failure: Option<Fault>,
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

impl Manner {
    fn at_first() -> Self {
        #[cfg(test)]
        if let Some(forced) = FORCED.get() {
            return forced;
        }
        Self::Copy { full: 0 }
    }
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
    /// Hears what the source says first, where somebody wants to know; that is always copied.
    pub(super) overheard: Option<&'a Overheard>,
}

impl Flow {
    pub(super) fn beginning_with(pending: Vec<u8>) -> Self {
        let busy = if pending.is_empty() {
            give_back(pending);
            None
        } else {
            Some(Box::new(Busy { pending, ..Busy::default() }))
        };
        Self { busy, manner: Manner::at_first(), source_ended: false, finished: false }
    }

    /// What broke, once.
    pub(super) fn take_failure(&mut self) -> Option<Fault> {
        self.busy.as_mut()?.failure.take()
    }

    /// Whether something broke that nobody has taken note of.
    pub(super) fn has_failed(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.failure.is_some())
    }

    /// Whether it has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Moves what can be moved; ready when this direction has ended, with the relay's end if `judge` says so.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        sides: &Sides<'_, impl Fn(usize)>,
        judge: &mut impl ByteGuard,
    ) -> Poll<Option<RelayEnd>> {
        if self.finished {
            return Poll::Ready(None);
        }
        let end = match ready!(self.pump(cx, sides, judge)) {
            Ok(end) => end,
            Err(fault) => {
                // The other direction may still have last words to deliver; it ends by itself.
                if matches!(fault, Fault::Source(_)) {
                    let _ = sides.sink.shutdown_write();
                }
                self.busy = Some(Box::new(Busy { failure: Some(fault), ..Busy::default() }));
                self.finished = true;
                return Poll::Ready(None);
            }
        };
        self.busy = None;
        self.finished = true;
        Poll::Ready(end)
    }

    fn pump(
        &mut self,
        cx: &mut Context<'_>,
        sides: &Sides<'_, impl Fn(usize)>,
        judge: &mut impl ByteGuard,
    ) -> Poll<Result<Option<RelayEnd>, Fault>> {
        for _ in 0..ROUNDS {
            let source = if self.source_ended { SourceState::Ended } else { SourceState::GoesOn };
            let mut nothing = Vec::new();
            let waiting = self.busy.as_mut().map_or(&mut nothing, |busy| &mut busy.pending);
            if let Some(end) = judge.judge(waiting, source) {
                return Poll::Ready(Ok(Some(end)));
            }
            if !judge.holds() {
                ready!(self.flush(cx, sides)).map_err(Fault::Sink)?;
                if self.source_ended {
                    return Poll::Ready(match sides.ending {
                        Ending::Close => Ok(None),
                        Ending::Tell => sides.sink.shutdown_write().map(|()| None).map_err(Fault::Sink),
                    });
                }
            }
            match sides.source.poll_read_ready(cx) {
                Poll::Ready(ready) => ready.map_err(Fault::Source)?,
                Poll::Pending => {
                    self.rest();
                    return Poll::Pending;
                }
            }
            let moved = match self.manner {
                _ if judge.is_on() => self.hold(sides),
                Manner::Splice { small } => self.splice(sides, small),
                _ => self.copy(sides),
            };
            match moved {
                Ok(0) => self.source_ended = true,
                Ok(_) => {}
                Err(Fault::Source(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(fault) => return Poll::Ready(Err(fault)),
            }
        }
        again(cx);
        Poll::Pending
    }

    /// Reads once, and writes nothing.
    fn hold(&mut self, sides: &Sides<'_, impl Fn(usize)>) -> Result<usize, Fault> {
        with_scratch(|buffer| {
            let len = sides.source.try_read(buffer).map_err(Fault::Source)?;
            let read = buffer.get(..len).unwrap_or_default();
            if let Some(overheard) = sides.overheard {
                overheard.hear(read);
            }
            self.busy().pending.extend_from_slice(read);
            Ok(len)
        })
    }

    /// Reads once, and writes at once what the sink takes.
    fn copy(&mut self, sides: &Sides<'_, impl Fn(usize)>) -> Result<usize, Fault> {
        with_scratch(|buffer| {
            let len = sides.source.try_read(buffer).map_err(Fault::Source)?;
            let mut rest = buffer.get(..len).unwrap_or_default();
            if rest.is_empty() {
                return Ok(len);
            }
            if let Some(overheard) = sides.overheard {
                overheard.hear(rest);
            }
            sides.sink.set_no_delay();
            match sides.sink.try_write(rest) {
                Ok(len) => {
                    (sides.count)(len);
                    rest = rest.get(len..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Fault::Sink(error)),
            }
            if !rest.is_empty() {
                self.busy().pending.extend_from_slice(rest);
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
    fn splice(&mut self, sides: &Sides<'_, impl Fn(usize)>, small: u8) -> Result<usize, Fault> {
        let busy = self.busy();
        if busy.pipe.is_none() {
            busy.pipe = Pipe::take();
        }
        let Some(pipe) = &mut busy.pipe else { return self.copy(sides) };
        let Some(into) = pipe.inlet() else { return self.copy(sides) };
        let moved = match sides.source.try_splice_to(into, CAPACITY) {
            Ok(moved) => moved,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.manner = Manner::OnlyCopy;
                return self.copy(sides);
            }
            Err(error) => return Err(Fault::Source(error)),
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
        let Some(busy) = &mut self.busy else { return Poll::Ready(Ok(())) };
        ready!(busy.flush_pending(cx, sides))?;
        while let Some(pipe) = busy.pipe.as_mut().filter(|pipe| pipe.holds > 0) {
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

    fn busy(&mut self) -> &mut Busy {
        self.busy.get_or_insert_default()
    }

    /// Nothing more is there for now. An idle direction holds nothing.
    fn rest(&mut self) {
        if let Some(busy) = &mut self.busy {
            // Empty: flushed before.
            busy.pipe = None;
            if busy.pending.is_empty() {
                self.busy = None;
            }
        }
    }
}

impl Busy {
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
}

#[cfg(test)]
thread_local! {
    /// What tests want every direction to begin with.
    static FORCED: std::cell::Cell<Option<Manner>> = const { std::cell::Cell::new(None) };
}

/// How tests have bytes moved on this thread.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(super) enum Moving {
    Adaptive,
    Spliced,
    Copied,
}

#[cfg(test)]
pub(super) fn force(moving: Moving) {
    FORCED.set(match moving {
        Moving::Adaptive => None,
        Moving::Spliced => Some(Manner::Splice { small: 0 }),
        Moving::Copied => Some(Manner::OnlyCopy),
    });
}
