//! The steps of `docs/migrate.md`, while clients come without a pause.
//!
//! Called by `cases`.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::words::follow_the_snippet;
use super::{Case, PROXY, case, hello};
use crate::client::{Client, Place};
use crate::feed::{Mark, PATIENCE};
use crate::lab::Lab;
use crate::page;
use crate::port::Port;
use crate::program::Program;
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::truepeer::{Backend, Listener, Record, Truepeer};
use crate::servers::{ask, find};
use crate::space::{GATE_V4, OUTSIDE_V4};
use crate::verdict::{During, Result, Verdict, ensure, failed};

const PAGE: &str = include_str!("../../../docs/migrate.md");
const FROM_POSTFIX: &str = "From headers straight into Postfix";
const FROM_MMPROXY: &str = "From go-mmproxy";
/// What names a go-mmproxy, which no distribution has.
const MMPROXY: &str = "GO_MMPROXY";
/// Clients at a time, and sessions that have to pass between two steps.
const CLIENTS: usize = 4;
const SESSIONS: usize = 20;

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    let mut cases =
        vec![case("moving_from_postfix_alone_to_truepeer_and_back_fails_no_session", from_postfix)];
    if std::env::var_os(MMPROXY).is_some() {
        cases.push(case("moving_from_go_mmproxy_to_truepeer_and_back_fails_no_session", from_mmproxy));
    }
    cases
}

/// What the clients tell.
#[derive(Debug, Default)]
struct Crowd {
    is_over: AtomicBool,
    sessions: AtomicUsize,
    /// Addresses of those that were served, and why one was not.
    told: Mutex<(HashSet<SocketAddr>, Option<String>)>,
}

impl Crowd {
    /// Comes back when that many more sessions have passed since now.
    fn wait(&self, more: usize) -> Result {
        let (begin, first) = (Instant::now(), self.sessions.load(Ordering::Relaxed));
        while self.sessions.load(Ordering::Relaxed).saturating_sub(first) < more {
            if let Some(why) = &self.told.lock().unwrap_or_else(PoisonError::into_inner).1 {
                return failed(why.clone());
            }
            if begin.elapsed() > PATIENCE {
                return failed(format!("not {more} sessions in {} s", PATIENCE.as_secs()));
            }
            thread::yield_now();
        }
        Ok(())
    }

    /// One session after the other, until it is over or one fails.
    fn visit(&self, place: Place<'_>, front: SocketAddr) {
        while !self.is_over.load(Ordering::Relaxed) {
            let visit = Client::dial(place, front).and_then(|mut client| {
                hello(&mut client)?;
                Ok(client.addr())
            });
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            match visit {
                Ok(addr) => {
                    told.0.insert(addr);
                    self.sessions.fetch_add(1, Ordering::Relaxed);
                }
                Err(Verdict::Failed(why) | Verdict::Skipped(why)) => {
                    told.1 = Some(format!("a session failed: {why}"));
                    return;
                }
            }
        }
    }
}

/// Sessions without a pause from these places while `steps` are taken; the addresses of all that were served.
fn under_load(
    places: [Place<'_>; CLIENTS],
    front: SocketAddr,
    steps: impl FnOnce(&Crowd) -> Result,
) -> Result<HashSet<SocketAddr>> {
    let crowd = Crowd::default();
    thread::scope(|scope| {
        for place in places {
            let crowd = &crowd;
            scope.spawn(move || crowd.visit(place, front));
        }
        // Those that are under way still count.
        let taken = steps(&crowd).and_then(|()| crowd.wait(CLIENTS.saturating_mul(2)));
        crowd.is_over.store(true, Ordering::Relaxed);
        taken
    })?;
    let (served, failure) = crowd.told.into_inner().unwrap_or_else(PoisonError::into_inner);
    failure.map_or(Ok(served), failed)
}

fn from_postfix(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let listener = Listener { id: "smtp", ip: PROXY.ip(), protocol: "smtp", backend: "postfix", lines: "" };
    let backend = Backend { id: "postfix", kind: "postfix", handoff: None, addr: postfix.header_port() };
    let truepeer = lab.start_truepeer("truepeer-moved-to", &[listener], &[backend])?;
    truepeer.wait_event(Mark::default(), "backend_proved", "postfix")?;

    let front = Port::free(PROXY.ip())?;
    let haproxy = Balancer::start(lab, FROM_POSTFIX, front.addr(), &|lines| {
        Ok(lines
            .replace("192.0.2.20:10025", &postfix.header_port().to_string())
            .replace("192.0.2.20:2525", &truepeer.port("smtp")?.to_string()))
    })?;
    let (ours, theirs) = (truepeer.log().mark(), postfix.log().mark());
    let mut last = ours;
    let places = [(); CLIENTS].map(|()| Place::Here(lab.fresh_source()));
    let told = under_load(places, front.addr(), |crowd| {
        haproxy.forth_back_and_forth(crowd)?;
        last = truepeer.log().mark();
        Ok(())
    })?;
    for client in &told {
        postfix.wait_connect(theirs, *client)?;
    }
    came_through(&truepeer, ours, last, told.len())
}

/// go-mmproxy and truepeer both connect from the client's own address, to a Postfix that knows of neither.
fn from_mmproxy(lab: &Lab) -> Result {
    let (outside, postfix) = (lab.outside()?, lab.postfix()?);
    let Some(mmproxy) = std::env::var_os(MMPROXY) else {
        return Err(Verdict::Skipped(format!("{MMPROXY} names no go-mmproxy")));
    };
    let (rules, way_back) = rules()?;
    let before = Port::free(PROXY.ip())?;
    let mut command = Command::new(mmproxy);
    command.args(["-l", &before.addr().to_string(), "-4", &postfix.plain_port().to_string(), "-v", "2"]);
    let mmproxy = Program::start("go-mmproxy", &mut command)?;
    mmproxy.wait_started(|line| line.contains("\"listening\""))?;
    lab.watch("go-mmproxy", mmproxy.log());
    for words in &rules {
        ask(&find("ip")?, &words.split(' ').skip(1).collect::<Vec<_>>())?;
    }

    follow_the_snippet(lab)?;
    let listener = Listener { id: "smtp", ip: PROXY.ip(), protocol: "smtp", backend: "postfix", lines: "" };
    let addr = postfix.plain_port();
    let backend = Backend { id: "postfix", kind: "postfix", handoff: Some("transparent"), addr };
    let truepeer = lab.start_truepeer("truepeer-beside-mmproxy", &[listener], &[backend])?;
    truepeer.wait_event(Mark::default(), "backend_proved", "postfix")?;

    let front = Port::free(GATE_V4.into())?;
    let haproxy = Balancer::start(lab, FROM_MMPROXY, front.addr(), &|lines| {
        Ok(lines
            .replace("192.0.2.20:2525", &before.addr().to_string())
            .replace("192.0.2.20:2526", &truepeer.port("smtp")?.to_string()))
    })?;
    let (ours, theirs) = (truepeer.log().mark(), postfix.log().mark());
    let mut last = ours;
    let places = [(); CLIENTS].map(|()| Place::Outside(outside, OUTSIDE_V4.into()));
    let told = under_load(places, front.addr(), |crowd| {
        haproxy.forth_back_and_forth(crowd)?;
        last = truepeer.log().mark();
        drop(mmproxy);
        for words in &way_back {
            ask(&find("ip")?, &words.split(' ').skip(1).collect::<Vec<_>>())?;
        }
        crowd.wait(SESSIONS)
    })?;
    for client in &told {
        let words = format!("]: connect from unknown[{}]:{}", client.ip(), client.port());
        let is_it = |line: &str| line.contains("plain/smtpd[") && line.ends_with(&words);
        postfix.log().wait_line(theirs, &format!("Postfix logs `{words}`"), is_it)?;
    }
    came_through(&truepeer, ours, last, told.len())
}

/// Some of these sessions went through truepeer, and since `last` all.
fn came_through(truepeer: &Truepeer, ours: Mark, last: Mark, of: usize) -> Result {
    let is_done = |line: &str| Record::parse(line).is_some_and(|record| record.text("outcome") == "done");
    // Records gather for a moment before they are written.
    truepeer.log().wait_line(last, "truepeer serves the last sessions", is_done)?;
    let by_us = |mark| truepeer.log().lines(mark).into_iter().filter(|line| is_done(line)).count();
    let (all, since) = (by_us(ours), by_us(last));
    ensure(all < of && since > 0, || {
        format!("{all} of {of} sessions came through truepeer, {since} of them last")
    })
}

/// The page's HAProxy, and what it is to be told.
struct Balancer {
    _program: Haproxy,
    socket: PathBuf,
    orders: [String; 2],
}

impl Balancer {
    /// Starts it by the lines under this heading, at `front`.
    fn start(
        lab: &Lab,
        heading: &str,
        front: SocketAddr,
        ports: &dyn Fn(String) -> Result<String>,
    ) -> Result<Self> {
        let dir = lab.fresh_dir("haproxy-moves")?;
        let socket = dir.join("admin.sock");
        let lines = page::block(PAGE, heading, "haproxy")?
            .replace("global\n", &HEAD.replacen("global\n", "global\n  SOCKET\n", 1))
            .replace("  stats socket /run/haproxy/admin.sock level admin\n", "")
            .replace("SOCKET", &format!("stats socket {} level admin", socket.display()))
            .replace("bind :25", &format!("bind {front}"));
        let program = Haproxy::start_as_written(&dir, &ports(lines)?)?;
        lab.watch("haproxy-moves", program.log());
        Ok(Self { _program: program, socket, orders: orders(heading)? })
    }

    /// Carries out the step that moves clients, its way back, and the step again.
    fn forth_back_and_forth(&self, crowd: &Crowd) -> Result {
        let [forth, back] = &self.orders;
        for words in [forth, back, forth] {
            crowd.wait(SESSIONS)?;
            self.order(words)?;
        }
        crowd.wait(SESSIONS)
    }

    fn order(&self, words: &str) -> Result {
        let mut stream = UnixStream::connect(&self.socket).during("reach HAProxy's socket")?;
        stream.set_read_timeout(Some(PATIENCE)).during("set a read timeout")?;
        stream.write_all(format!("{words}\n").as_bytes()).during("order")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).during("hear HAProxy")?;
        ensure(answer.trim().is_empty(), || format!("`{words}`: {answer}"))
    }
}

/// What the page says under this heading.
fn section(heading: &str) -> &'static str {
    PAGE.split("\n## ").find(|section| section.starts_with(heading)).unwrap_or_default()
}

/// What the page has HAProxy do, forth and back.
fn orders(heading: &str) -> Result<[String; 2]> {
    let orders = section(heading).split("echo \"").skip(1);
    let words: Vec<String> =
        orders.filter_map(|rest| rest.split_once('"').map(|(words, _)| words.to_owned())).collect();
    match <[String; 2]>::try_from(words) {
        Ok(both) => Ok(both),
        Err(words) => failed(format!("docs/migrate.md has other orders: {words:?}")),
    }
}

/// How go-mmproxy's rule and route come, and how they go.
fn rules() -> Result<([String; 2], [String; 2])> {
    let quoted = section(FROM_MMPROXY).split('`').skip(1).step_by(2);
    let (come, go): (Vec<String>, Vec<String>) = quoted
        .filter(|words| words.starts_with("ip ") && words.ends_with("table 123"))
        .map(str::to_owned)
        .partition(|words| words.contains(" add "));
    match (come.try_into(), go.try_into()) {
        (Ok(come), Ok(go)) => Ok((come, go)),
        both => failed(format!("docs/migrate.md has other rules: {both:?}")),
    }
}
