//! `truepeer deny --feed`: orders from another program, passed on as they come.
//!
//! One thread reads the input and writes requests, the main one reads answers. So the end of the server ends the
//! command even while the input is silent, and a long list is not slowed down by waiting for each answer.
//!
//! Bounds: [`MAX_LINE`] bytes of a line, [`MAX_UNANSWERED`] orders on their way.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use serde_json::{Value, json};

use super::reach::{Failure, Form, Reach, answer, complain};
use super::{FAILED, NOT_REACHED};
use crate::control::admin::client::{self, AskError, ReplyLine, ReplyLines};
use crate::control::admin::{OpenConnections, Request};
use crate::rooms::bans::BanChange;
use crate::rooms::bans::feed::parse_line;

/// The longest line of the input.
const MAX_LINE: usize = 4096;
/// Orders whose answers are due; with so many on their way, the input waits.
const MAX_UNANSWERED: usize = 1024;
/// How much of a wrong line is shown.
const MAX_SHOWN: usize = 80;

/// What the input's thread tells the main one.
enum Sent {
    /// The order of this line is on its way.
    Order(u64),
    /// The input is over, and how it ended.
    End(io::Result<()>),
}

/// What both threads count.
#[derive(Debug, Default)]
struct Counts {
    /// Orders that were sent.
    sent: AtomicU64,
    /// Lines that are no orders.
    wrong: AtomicU64,
}

/// Passes orders on until the input or the server ends.
pub(super) fn feed(reach: &Reach, open: OpenConnections) -> ExitCode {
    answer(|out| {
        let (orders, answers) = client::feed(&reach.socket()?, open)?;
        let (tell, told) = sync_channel(MAX_UNANSWERED);
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        // Not joined: it may wait for a line that never comes, and ends with the process.
        let _reader = std::thread::spawn(move || {
            let end = pass_on(io::stdin().lock(), &orders, &tell, &counted);
            // Told before the server hears it and closes: only then is its end the one that was asked for.
            let _ = tell.send(Sent::End(end));
            let _ = orders.shutdown(Shutdown::Write);
        });
        let refused = report(answers, &told, &counts, reach.form(), out)?;
        let all_followed = refused == 0 && counts.wrong.load(Ordering::Acquire) == 0;
        Ok(if all_followed { 0 } else { FAILED })
    })
}

/// Reads answers to the end; returns how many orders were refused.
fn report(
    mut answers: ReplyLines,
    told: &Receiver<Sent>,
    counts: &Counts,
    form: Form,
    out: &mut dyn Write,
) -> Result<u64, Failure> {
    let (mut answered, mut refused) = (0_u64, 0_u64);
    while let Some(line) = answers.next_of_feed(|| counts.sent.load(Ordering::Acquire) > answered)? {
        // Told before it was sent, so it is here.
        let Ok(Sent::Order(number)) = told.recv() else {
            return Err(AskError::Broken("there are more answers than orders".to_owned()).into());
        };
        answered = answered.saturating_add(1);
        let mut said = match line {
            Ok(ReplyLine::Done(said) | ReplyLine::Item(said)) => said,
            Err(why) => {
                refused = refused.saturating_add(1);
                complain(&format!("line {number}: {why}"));
                json!({ "ok": false, "error": why.to_string() })
            }
        };
        if form == Form::Json {
            if let Some(said) = said.as_object_mut() {
                said.insert("line".to_owned(), Value::from(number));
            }
            writeln!(out, "{said}")?;
            out.flush()?;
        }
    }
    let gone = |text: &str| Failure { text: format!("error: {text}"), code: NOT_REACHED };
    match told.try_recv() {
        Ok(Sent::End(Ok(()))) => Ok(refused),
        Ok(Sent::End(Err(error))) => {
            Err(Failure { text: format!("error: cannot read the orders: {error}"), code: FAILED })
        }
        Ok(Sent::Order(number)) => Err(gone(&format!(
            "truepeer went away: whether the order of line {number} and those behind it hold is not known"
        ))),
        Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
            Err(gone("truepeer went away; every order so far was answered"))
        }
    }
}

/// Reads lines and sends requests, those together that came together.
fn pass_on(
    input: impl Read,
    orders: &UnixStream,
    tell: &SyncSender<Sent>,
    counts: &Counts,
) -> io::Result<()> {
    let mut input = BufReader::with_capacity(MAX_LINE.saturating_mul(16), input);
    let mut orders = BufWriter::new(orders);
    let mut line = Vec::new();
    for number in 1_u64.. {
        if !next_line(&mut input, &mut line)? {
            break;
        }
        match read(&line) {
            Ok(None) => {}
            Ok(Some(request)) => {
                match tell.try_send(Sent::Order(number)) {
                    // What has not left would never be answered.
                    Err(TrySendError::Full(sent)) if orders.flush().is_ok() => drop(tell.send(sent)),
                    _ => {}
                }
                counts.sent.fetch_add(1, Ordering::AcqRel);
                // A server that is gone is seen by those who wait for its answers.
                if writeln!(orders, "{}", request.to_line()).is_err() {
                    return Ok(());
                }
            }
            Err(why) => {
                counts.wrong.fetch_add(1, Ordering::AcqRel);
                complain(&format!("line {number}: {why}"));
            }
        }
        // Before waiting for the next line.
        if !input.buffer().contains(&b'\n') && orders.flush().is_err() {
            return Ok(());
        }
    }
    orders.flush().or(Ok(()))
}

/// Reads the next line, at most one byte more than allowed; false at the end of the input.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX).saturating_add(1);
    input.take(most).read_until(b'\n', line)?;
    if line.len() > MAX_LINE && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(!line.is_empty())
}

/// What a line orders; `None` if nothing.
fn read(line: &[u8]) -> Result<Option<Request>, String> {
    if line.len() > MAX_LINE {
        return Err(format!("it is longer than {MAX_LINE} bytes"));
    }
    // Only a reason may hold anything but ASCII, and a damaged one is no cause to let somebody in.
    let text = String::from_utf8_lossy(line);
    match parse_line(&text) {
        Ok(None) => Ok(None),
        Ok(Some(BanChange::Add(order))) => Ok(Some(Request::Deny(order, OpenConnections::Cut))),
        Ok(Some(BanChange::Remove(network))) => Ok(Some(Request::Undeny(network))),
        Err(error) => {
            let shown: String = text.trim().chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
            Err(format!("\"{shown}\": {error}"))
        }
    }
}
