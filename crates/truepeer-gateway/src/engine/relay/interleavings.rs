//! Random interleavings of everything that two ends can do to a relay: writes, reads, stalls, half-closes and resets.
//!
//! Seeded: a schedule that fails says its seed, and replays with `TRUEPEER_SEED`. `TRUEPEER_SCHEDULES` makes more.

#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]
#![allow(clippy::print_stderr, reason = "a schedule that fails says its seed")]

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::Poll;
use std::time::Duration;

use rustix::fd::OwnedFd;
use socket2::SockRef;
use truepeer_testkit::dice::Dice;

use super::flow::{Moving, force};
use super::tests::to_end;
use super::*;
use crate::engine::socket::Family;
use crate::engine::{Tasks, in_time, moment, run};

/// Steps of one schedule before both ends finish.
const STEPS: u32 = 300;
/// Schedules of each kind in an ordinary run.
const SCHEDULES: u64 = 60;
/// The most that is written at once.
const MOST: u64 = 150_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// `len` bytes of the stream that begins with `first`, from number `at` on.
fn bytes(first: u64, at: u64, len: u64) -> &'static [u8] {
    const PERIOD: u64 = 251;
    static STREAM: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..MOST + PERIOD).map(|at| u8::try_from(at % PERIOD).unwrap()).collect());
    let from = usize::try_from((first + at) % PERIOD).unwrap();
    &STREAM[from..][..usize::try_from(len).unwrap()]
}

/// One end, as a client or a backend has it.
struct End {
    stream: Stream,
    /// Tells its stream from the other's.
    first: u64,
    sent: u64,
    heard: u64,
    has_finished: bool,
    /// What it heard last was the end.
    ended: bool,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// It was reset.
    Gone,
}

impl End {
    fn new(stream: Stream, first: u64) -> Self {
        Self { stream, first, sent: 0, heard: 0, has_finished: false, ended: false }
    }

    fn write(&mut self, len: u64) {
        let bytes = bytes(self.first, self.sent, len);
        let written = match &mut self.stream {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Gone => return,
        };
        // What does not fit, or comes too late for a reset, was not sent.
        self.sent += written.unwrap_or(0) as u64;
    }

    /// Reads at most `len` bytes, and checks each against what the other end sent.
    fn read(&mut self, len: u64, other: u64) {
        let mut buf = vec![0; usize::try_from(len).unwrap()];
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut buf),
            Stream::Unix(stream) => stream.read(&mut buf),
            Stream::Gone => return,
        };
        match read {
            Ok(0) if len > 0 => self.ended = true,
            Ok(len) => {
                let is_right = buf[..len] == *bytes(other, self.heard, len as u64);
                assert!(is_right, "of {len} bytes behind {} not all are what {other} sent", self.heard);
                self.heard += len as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The other end was reset, or gave up.
            Err(_) => self.ended = true,
        }
    }

    fn finish(&mut self) {
        self.has_finished = true;
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Gone => Ok(()),
        };
    }

    fn reset(&mut self) {
        if let Stream::Tcp(stream) = &self.stream {
            SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        self.stream = Stream::Gone;
    }
}

fn pair(family: Family) -> (Stream, OwnedFd) {
    match family {
        Family::Unix => {
            let (theirs, ours) = UnixStream::pair().unwrap();
            theirs.set_nonblocking(true).unwrap();
            ours.set_nonblocking(true).unwrap();
            (Stream::Unix(theirs), ours.into())
        }
        Family::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (ours, _) = listener.accept().unwrap();
            for stream in [&theirs, &ours] {
                stream.set_nonblocking(true).unwrap();
                stream.set_nodelay(true).unwrap();
                // Small, so that they are often full.
                SockRef::from(stream).set_send_buffer_size(16 << 10).unwrap();
            }
            (Stream::Tcp(theirs), ours.into())
        }
    }
}

/// Lets the relay have one turn of the loop.
async fn turn() {
    let mut is_over = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_over, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resets {
    Never,
    Sometimes,
}

async fn schedule(seed: u64, family: Family, resets: Resets) {
    let mut dice = Dice(seed);
    let ((client, our_client), (backend, our_backend)) = (pair(family), pair(family));
    let mut ends = [End::new(client, 1), End::new(backend, 100)];
    let traffic = Rc::new(Traffic::default());
    let outcome = Rc::new(Cell::new(None));
    let tasks = Tasks::default();
    tasks.spawn({
        let (traffic, outcome) = (Rc::clone(&traffic), Rc::clone(&outcome));
        let ours = |fd| Socket::accepted(fd, family).unwrap();
        let pair = Pair { client: ours(our_client), backend: ours(our_backend) };
        async move {
            let guard =
                Guard { first_bytes: None, first_lines: None, overheard: None, after_greeting: false };
            outcome.set(Some(to_end(relay(pair, Early::default(), guard), PATIENCE, &traffic).await));
        }
    });
    let mut reset = false;
    for _ in 0..STEPS {
        let who = usize::try_from(dice.below(2)).unwrap();
        let other = ends[1 - who].first;
        let end = &mut ends[who];
        match dice.below(64) {
            0..20 if !end.has_finished => end.write(1 + dice.below(64)),
            20..26 if !end.has_finished => end.write(1 + dice.below(MOST)),
            26..50 => end.read(1 + dice.below(MOST), other),
            50..53 => end.read(1 + dice.below(64), other),
            53 if dice.below(16) == 0 => end.finish(),
            54 if resets == Resets::Sometimes && dice.below(16) == 0 => {
                end.reset();
                reset = true;
            }
            _ => turn().await,
        }
    }
    // Both say that they are done, and read what is still there.
    ends.iter_mut().for_each(End::finish);
    let drained = async {
        while !ends.iter().all(|end| end.ended || matches!(end.stream, Stream::Gone)) {
            for who in 0..2 {
                let other = ends[1 - who].first;
                ends[who].read(MOST, other);
            }
            turn().await;
        }
        tasks.emptied().await;
    };
    in_time(moment().later(PATIENCE), drained).await.expect("an end waits for ever");
    let outcome = outcome.take().expect("the relay ended");
    let [client, backend] = &ends;
    if reset {
        assert!(backend.heard <= client.sent && client.heard <= backend.sent);
        return;
    }
    assert!(matches!(outcome, RelayEnd::Done), "{outcome:?}");
    assert_eq!((backend.heard, client.heard), (client.sent, backend.sent), "every byte arrives");
    assert_eq!((traffic.bytes_in(), traffic.bytes_out()), (client.sent, backend.sent), "and is counted");
}

fn schedules(family: Family, moving: Moving, resets: Resets) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    force(moving);
    let seeds = match number("TRUEPEER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TRUEPEER_SCHEDULES").unwrap_or(SCHEDULES),
    };
    for seed in seeds {
        let tried = std::panic::AssertUnwindSafe(|| run(schedule(seed, family, resets)).unwrap());
        if let Err(cause) = std::panic::catch_unwind(tried) {
            eprintln!("TRUEPEER_SEED={seed} {family:?} {moving:?} {resets:?}");
            std::panic::resume_unwind(cause);
        }
    }
}

#[test]
fn every_byte_arrives_in_order_and_is_counted_however_both_ends_behave() {
    for moving in [Moving::Adaptive, Moving::Spliced, Moving::Copied] {
        schedules(Family::Tcp, moving, Resets::Never);
        schedules(Family::Unix, moving, Resets::Never);
    }
}

#[test]
fn a_reset_ends_the_relay_and_nothing_that_arrives_is_wrong() {
    for moving in [Moving::Adaptive, Moving::Spliced, Moving::Copied] {
        schedules(Family::Tcp, moving, Resets::Sometimes);
    }
}
