//! The front door beside HAProxy and NGINX. `./run` builds everything and starts this in a network of its own.
//!
//! The load and the backend share one CPU, the gateway has the other. For each repetition every gateway gets every
//! case once, in an order that turns; what counts is the ratio of two costs in the same repetition.

#![allow(
    clippy::disallowed_methods,
    reason = "a program that measures has nothing to block; it sleeps between phases"
)]

mod backend;
mod cases;
mod exact;
mod gateways;
mod load;
mod meter;
mod net;
mod program;
mod run;
mod start;
mod two;
mod wire;

use std::io;
use std::net::SocketAddrV4;
use std::process::ExitCode;
use std::time::Duration;

use load::{Aim, Beside, Pace};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["program"] => program::serve(),
        ["backend", path] => backend::serve(Duration::from_secs(3600), path.as_ref()),
        ["load", target, pid, millis, what @ ..] => aim(target, pid, millis).and_then(|aim| load(aim, what)),
        ["run", truepeer, rest @ ..] => run::run(truepeer.as_ref(), rest),
        _ => Err(io::Error::other("usage: run TRUEPEER [--repetitions N] [--cases A,B] [--gateways A,B]")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn aim(target: &str, pid: &str, millis: &str) -> io::Result<Aim> {
    let target: SocketAddrV4 = target.parse().map_err(io::Error::other)?;
    Ok(Aim { target, pid: number(pid)?, time: Duration::from_millis(u64::from(number(millis)?)) })
}

fn load(aim: Aim, what: &[&str]) -> io::Result<()> {
    match what {
        ["short", at_once] => load::short(aim, Pace::AtOnce(number(at_once)? as usize), Beside::Nobody),
        ["paced", rate] => load::short(aim, Pace::PerSecond(number(rate)?), Beside::Nobody),
        ["slow", held] => load::short(aim, Pace::AtOnce(64), Beside::HalfHeaders(number(held)? as usize)),
        ["beside", open] => load::short(aim, Pace::AtOnce(64), Beside::Open(number(open)? as usize)),
        ["exactly", count, at_once] => {
            load::exactly(aim, number(count)?.into(), number(at_once)? as usize, 0)
        }
        ["exactly", count, at_once, open] => {
            load::exactly(aim, number(count)?.into(), number(at_once)? as usize, number(open)? as usize)
        }
        ["messages", count] => load::messages(aim, number(count)? as usize),
        ["down"] => load::bulk(aim, backend::GIVE),
        ["up"] => load::bulk(aim, backend::TAKE),
        ["both"] => load::bulk(aim, backend::BOTH),
        ["idle", first, more] => load::idle(aim, number(first)? as usize, number(more)? as usize),
        _ => Err(io::Error::other(format!("no such load: {what:?}"))),
    }
}

fn number(text: &str) -> io::Result<u32> {
    text.parse().map_err(|_| io::Error::other(format!("no number: {text}")))
}
