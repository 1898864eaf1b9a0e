//! The steps of `docs/migrate.md`, while clients come without a pause.
//!
//! Called by `cases`.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::{Case, PROXY, case, hello};
use crate::client::{Client, Place};
use crate::feed::{Mark, PATIENCE};
use crate::lab::Lab;
use crate::page;
use crate::port::Port;
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::truepeer::{Backend, Listener, Record};
use crate::verdict::{During, Result, Verdict, ensure, failed};

const PAGE: &str = include_str!("../../../docs/migrate.md");
const FROM_POSTFIX: &str = "From headers straight into Postfix";
/// Clients at a time, and sessions that have to pass between two steps.
const CLIENTS: usize = 4;
const SESSIONS: usize = 20;

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![case("moving_from_postfix_alone_to_truepeer_and_back_fails_no_session", from_postfix)]
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
    fn visit(&self, ip: IpAddr, front: SocketAddr) {
        while !self.is_over.load(Ordering::Relaxed) {
            let visit = Client::dial(Place::Here(ip), front).and_then(|mut client| {
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

fn from_postfix(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let listener = Listener { id: "smtp", ip: PROXY.ip(), protocol: "smtp", backend: "postfix", lines: "" };
    let backend = Backend { id: "postfix", kind: "postfix", handoff: None, addr: postfix.header_port() };
    let truepeer = lab.start_truepeer("truepeer-moved-to", &[listener], &[backend])?;
    truepeer.wait_event(Mark::default(), "backend_proved", "postfix")?;

    let front = Port::free(PROXY.ip())?;
    let dir = lab.fresh_dir("haproxy-moves")?;
    let socket = dir.join("admin.sock");
    let lines = page::block(PAGE, FROM_POSTFIX, "haproxy")?
        .replace("global\n", &HEAD.replacen("global\n", "global\n  SOCKET\n", 1))
        .replace("  stats socket /run/haproxy/admin.sock level admin\n", "")
        .replace("SOCKET", &format!("stats socket {} level admin", socket.display()))
        .replace("bind :25", &format!("bind {}", front.addr()))
        .replace("192.0.2.20:10025", &postfix.header_port().to_string())
        .replace("192.0.2.20:2525", &truepeer.port("smtp")?.to_string());
    let haproxy = Haproxy::start_as_written(&dir, &lines)?;
    lab.watch("haproxy-moves", haproxy.log());
    let order = |words: &str| -> Result {
        let mut stream = UnixStream::connect(&socket).during("reach HAProxy's socket")?;
        stream.set_read_timeout(Some(PATIENCE)).during("set a read timeout")?;
        stream.write_all(format!("{words}\n").as_bytes()).during("order")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).during("hear HAProxy")?;
        ensure(answer.trim().is_empty(), || format!("`{words}`: {answer}"))
    };
    let [forth, back] = orders()?;

    let (ours, theirs) = (truepeer.log().mark(), postfix.log().mark());
    let crowd = Arc::new(Crowd::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (crowd, ip, front) = (Arc::clone(&crowd), lab.fresh_source(), front.addr());
            thread::spawn(move || crowd.visit(ip, front))
        })
        .collect();
    let moved = (|| {
        for words in [&forth, &back, &forth] {
            crowd.wait(SESSIONS)?;
            order(words)?;
        }
        crowd.wait(SESSIONS)
    })();
    // Those that are under way still count.
    let last = truepeer.log().mark();
    let passed = moved.and_then(|()| crowd.wait(CLIENTS.saturating_mul(2)));
    crowd.is_over.store(true, Ordering::Relaxed);
    for client in clients {
        let _ended = client.join();
    }
    passed?;
    let told = crowd.told.lock().unwrap_or_else(PoisonError::into_inner);
    ensure(told.1.is_none(), || told.1.clone().unwrap_or_default())?;
    for client in &told.0 {
        postfix.wait_connect(theirs, *client)?;
    }
    let by_us = |mark| {
        let records = truepeer.log().lines(mark).into_iter().filter_map(|line| Record::parse(&line));
        records.filter(|record| record.text("outcome") == "done").count()
    };
    let (all, since, of) = (by_us(ours), by_us(last), told.0.len());
    ensure(all < of && since > 0, || {
        format!("{all} of {of} sessions came through truepeer, {since} of them last")
    })
}

/// What the page has HAProxy do, forth and back.
fn orders() -> Result<[String; 2]> {
    let words: Vec<String> = PAGE
        .split("echo \"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"').map(|(words, _)| words.to_owned()))
        .collect();
    match <[String; 2]>::try_from(words) {
        Ok(both) => Ok(both),
        Err(words) => failed(format!("docs/migrate.md has other orders: {words:?}")),
    }
}
