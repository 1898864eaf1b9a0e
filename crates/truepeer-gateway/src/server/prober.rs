//! The proof: does this address of a backend take our handoff?
//!
//! One that reads headers is asked twice. Without a header it must stay silent; with one it must greet, and then
//! understand a goodbye: a server that ignores headers greets as well, but has by then read our header as a command.
//! Both answers must agree, so that a slow machine proves nothing wrong.
//! Of an address that was proved, only the second question is asked again: see [`still_serves`].
//! A backend that is told in words says itself whether it takes them, about a client that nobody is.

mod http;
mod way;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use truepeer::{ClientIdentity, PeerAddress, Seen};

use crate::engine::{self, Address, DialError, Received, Socket, dial, later, receive, say};
use crate::facts::address::Family;
use crate::facts::manners::{Part, complete_len, goodbye, is_goodbye, is_greeting};
use crate::facts::program::Program;
use crate::facts::protocol::{FirstSpeaker, Protocol};
use crate::rooms::backend::{Check, Pool, Readiness, Unready};
use crate::rooms::handoff::kind::Silence;
use crate::rooms::handoff::{Introduction, Names, Proof, Purpose, Untold, drive};

/// How long a backend must at least stay silent without a header, once it has answered with one.
const SILENCE: Duration = Duration::from_millis(300);
/// How long that silence is listened to at most: the connection was there before the other one, and had its time, too.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// How long a server that is told nothing may take to greet and to answer our goodbye, before we leave without.
const LEAVE: Duration = Duration::from_secs(10);
/// A client that nobody is.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The most that is read of one answer.
const ANSWER_MAX: usize = 4096;

/// What was found out, and the connection of which leave is to be taken, if there is one.
pub(super) type Asked<T> = (T, Option<Leave>);

/// What an address of a backend is asked. The keeper's tests answer instead of a backend, on a clock of their own.
pub(super) trait Questions {
    /// In full: may clients be handed to `address`, of which `known` was found out before?
    async fn ask(&self, pool: &Pool, address: &Address, known: &Readiness) -> Asked<Readiness>;

    /// Briefly: does an address that may serve still answer as it did?
    async fn still_serves(&self, pool: &Pool, address: &Address) -> Asked<Still>;

    /// What it does with a header that names a client of `family`; `None` if that shows nothing against it.
    async fn refuses_family(&self, pool: &Pool, address: &Address, family: Family) -> Option<String>;
}

/// Asks the backend itself, through sockets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prober;

impl Questions for Prober {
    async fn ask(&self, pool: &Pool, address: &Address, known: &Readiness) -> Asked<Readiness> {
        ask(pool, address, known).await
    }

    async fn still_serves(&self, pool: &Pool, address: &Address) -> Asked<Still> {
        still_serves(pool, address).await
    }

    async fn refuses_family(&self, pool: &Pool, address: &Address, family: Family) -> Option<String> {
        refuses_family(pool, address, family).await
    }
}

/// Asks `address`, of which `known` was found out before.
async fn ask(pool: &Pool, address: &Address, known: &Readiness) -> Asked<Readiness> {
    if pool.backend.has_range() {
        return (Readiness::Unproven, None);
    }
    if let Address::Program(program) = address {
        let readiness = match may_run(program).await {
            Ok(()) => way::ask_for_program(pool),
            Err(error) => Readiness::Unready(Unready::Unreachable { error }),
        };
        return (readiness, None);
    }
    if pool.backend.handoff.facts().proof == Proof::ReachedAsClient {
        return way::ask(pool, address).await;
    }
    if pool.is_provable() {
        return (prove(pool, address, known).await, None);
    }
    match dial(address, &[], pool.backend.connect_timeout).await {
        Ok(socket) => (Readiness::Unproven, Some(Leave(socket))),
        Err(error) => (unreached(&error), None),
    }
}

/// Whether a program can be started; the disk that it is on may take its time.
async fn may_run(program: &Arc<Program>) -> Result<(), String> {
    let program = Arc::clone(program);
    let asked = tokio::task::spawn_blocking(move || engine::program::may_run(&program)).await;
    match asked {
        Ok(may) => may.map_err(|error| format!("cannot be run: {error}")),
        Err(error) => Err(error.to_string()),
    }
}

async fn prove(pool: &Pool, address: &Address, known: &Readiness) -> Readiness {
    if pool.protocol == Protocol::Http {
        return http::ask(pool, address, known).await;
    }
    let timeout = pool.backend.connect_timeout;
    let accepted = match pool.backend.handoff.facts().proof {
        Proof::Accepts => Some(Readiness::Proved),
        Proof::AcceptsUnsaid => Some(Readiness::Unproven),
        Proof::GreetsOnlyWith | Proof::ReachedAsClient | Proof::MayRun | Proof::Nothing => None,
    };
    if let Some(accepted) = accepted {
        return match dial(address, &[], timeout).await {
            Ok(socket) => match ask_with_handoff(pool, address, &socket).await {
                Ok(Took::It) => accepted,
                // Whether that client could have said who it is itself was not answered.
                Ok(Took::ItAndTurnedAway) => Readiness::Unproven,
                Err(unready) => Readiness::Unready(unready),
            },
            Err(error) => unreached(&error),
        };
    }
    // Connected first, and read last: it has all the time of the other question to greet.
    let without = match dial(address, &[], timeout).await {
        Ok(socket) => socket,
        Err(error) => return unreached(&error),
    };
    let started = Instant::now();
    let with = match dial(address, &[], timeout).await {
        Ok(socket) => socket,
        Err(error) => return unreached(&error),
    };
    let asked = ask_with_handoff(pool, address, &with).await;
    drop(with);
    if let Err(unready @ Unready::IgnoresHeader { .. }) = asked {
        return Readiness::Unready(unready);
    }
    // A server that greets without a header does not read ours, even if it refused it as a client that talks too
    // soon (Postfix from 3.10 on).
    let heard = match patience(pool.backend.kind.facts().silence, started.elapsed()) {
        Some(patience) => heard_without_header(&without, pool.protocol, patience).await,
        None => None,
    };
    match (heard, asked) {
        (Some(saw), _) => Readiness::Unready(Unready::IgnoresHeader { saw }),
        (None, Err(unready)) => Readiness::Unready(unready),
        (None, Ok(_)) => Readiness::Proved,
    }
}

/// How much longer a server must stay silent without a header, `since` it was connected to; `None` if its greeting would
/// prove nothing any more.
fn patience(silence: Silence, since: Duration) -> Option<Duration> {
    let usual = since.clamp(SILENCE, LONGEST_SILENCE);
    match silence {
        Silence::Kept => Some(usual),
        Silence::KeptFor(most) => Some(most.checked_sub(since)?.checked_sub(SILENCE)?.min(usual)),
        Silence::Broken => None,
    }
}

fn unreached(error: &DialError) -> Readiness {
    let text = error.to_string();
    Readiness::Unready(if error.is_ours() {
        Unready::NotAsked { error: text }
    } else {
        Unready::Unreachable { error: text }
    })
}

/// What became of an address that may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Still {
    /// It answers as it did, or takes its time, which proves nothing.
    Serves,
    /// It answers otherwise: it is to be asked anew.
    Differs,
}

/// Whether an address that may serve still answers as it did.
///
/// With our header and a goodbye, so that a server that waits for a header finds nothing to warn about.
async fn still_serves(pool: &Pool, address: &Address) -> Asked<Still> {
    if let Address::Program(program) = address {
        return (if may_run(program).await.is_ok() { Still::Serves } else { Still::Differs }, None);
    }
    if pool.backend.handoff.facts().proof == Proof::ReachedAsClient {
        return way::still_serves(pool, address).await;
    }
    if pool.is_provable() && pool.protocol == Protocol::Http {
        return (http::still_serves(pool, address).await, None);
    }
    let Ok(socket) = dial(address, &[], pool.backend.connect_timeout).await else {
        return (Still::Differs, None);
    };
    if !pool.is_provable() {
        return (Still::Serves, Some(Leave(socket)));
    }
    match ask_with_handoff(pool, address, &socket).await {
        Ok(_) | Err(Unready::Slow { .. }) => (Still::Serves, None),
        Err(_) => (Still::Differs, None),
    }
}

/// The connection to a server that is told nothing.
#[derive(Debug)]
pub(super) struct Leave(Socket);

impl Leave {
    /// Leaves as a client does, after the greeting and with a goodbye, if the backend is asked in its protocol.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(super) async fn take(self, pool: &Pool) {
        let protocol = pool.protocol;
        if pool.check() != Check::Protocol || protocol.first_speaker() != FirstSpeaker::Server {
            return;
        }
        let until = later(Instant::now(), LEAVE);
        let (heard, end) = hear(&self.0, protocol, Part::Greeting, until, Vec::new()).await;
        if end == End::Complete && is_greeting(protocol, &heard) {
            // Whatever becomes of it, the server was there.
            let _ = say(&self.0, goodbye(protocol), until).await;
            let _ = hear(&self.0, protocol, Part::Answer, until, Vec::new()).await;
        }
    }
}

/// What it does with a header that names a client of the family in which it was not asked; `None` if that shows nothing
/// against it.
async fn refuses_family(pool: &Pool, address: &Address, family: Family) -> Option<String> {
    let socket = dial(address, &[], pool.backend.connect_timeout).await.ok()?;
    let ours = socket.local_addr().map_or(0, |ours| ours.port());
    match ask_about(pool, address, &socket, Some(SocketAddr::new(family.loopback(), ours))).await {
        Err(Unready::RefusesHeader { saw } | Unready::IgnoresHeader { saw }) => Some(saw),
        Ok(_) | Err(_) => None,
    }
}

/// What a backend made of our handoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Took {
    /// It took it, and served whom it was told of to the end.
    It,
    /// It took it, and turned away whom it was told of.
    ItAndTurnedAway,
}

async fn ask_with_handoff(pool: &Pool, address: &Address, socket: &Socket) -> Result<Took, Unready> {
    ask_about(pool, address, socket, None).await
}

/// As [`ask_with_handoff`], about `client` instead of our own connection.
async fn ask_about(
    pool: &Pool,
    address: &Address,
    socket: &Socket,
    client: Option<SocketAddr>,
) -> Result<Took, Unready> {
    let until = || later(Instant::now(), pool.backend.proof_timeout);
    let refuses = |saw: String| Unready::RefusesHeader { saw };
    let introduction = introduction(pool, address, socket, client)
        .ok_or_else(|| refuses("no header can be made".to_owned()))?;
    say(socket, &introduction.header.bytes, until()).await.map_err(|error| refuses(error.to_string()))?;
    let mut conversation = introduction.begin(Purpose::Proof, pool.backend.proof_timeout);
    let said = match drive(socket, &mut conversation).await {
        Ok(said) => said,
        // It knows whom it does not want.
        Err(Untold::TurnedAway(_)) => return Ok(Took::ItAndTurnedAway),
        Err(why @ Untold::Late(_)) => return Err(Unready::Slow { saw: why.to_string() }),
        Err(why) => return Err(Unready::RefusesHandoff { saw: why.to_string() }),
    };
    let (mut heard, end) = hear(socket, pool.protocol, Part::Greeting, until(), said).await;
    match end {
        End::Complete if is_greeting(pool.protocol, &heard) => {}
        End::Late => return Err(Unready::Slow { saw: describe("with our header it said so far", &heard) }),
        End::Complete | End::Gone => return Err(refuses(describe("with our header it said", &heard))),
    }
    // What came in one piece with the greeting was said before our goodbye: it answers our header.
    let behind = heard.split_off(complete_len(pool.protocol, Part::Greeting, &heard).unwrap_or(heard.len()));
    // A server that took our header for commands may be gone already; what it said to them is still to be read.
    let _ = say(socket, goodbye(pool.protocol), until()).await;
    let (answer, end) = hear(socket, pool.protocol, Part::Answer, until(), behind).await;
    match end {
        End::Complete if is_goodbye(pool.protocol, &answer) => Ok(Took::It),
        // Only a wrong answer proves that it took our header for commands.
        End::Late => {
            Err(Unready::Slow { saw: describe("it greeted, and to our goodbye it said so far", &answer) })
        }
        End::Complete | End::Gone => {
            Err(Unready::IgnoresHeader { saw: describe("it greeted, and to our header it said", &answer) })
        }
    }
}

/// What a backend said that should have waited for a header; `None` if it waited, or only complained.
async fn heard_without_header(socket: &Socket, protocol: Protocol, patience: Duration) -> Option<String> {
    let (heard, _) =
        hear(socket, protocol, Part::Greeting, later(Instant::now(), patience), Vec::new()).await;
    is_greeting(protocol, &heard).then(|| describe("without a header it said", &heard))
}

/// What the backend is told about: our own connection, in the form that clients will have; where it believes words,
/// a client that nobody is (192.0.2.0/24 is reserved for documentation), so that it shows what that one may do there.
fn introduction(
    pool: &Pool,
    address: &Address,
    socket: &Socket,
    client: Option<SocketAddr>,
) -> Option<Introduction> {
    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let reached = match address {
        Address::Tcp(addr) => *addr,
        Address::Unix(_) | Address::Program(_) => nowhere,
    };
    let subject = match pool.backend.handoff.facts().proof {
        Proof::Accepts | Proof::AcceptsUnsaid => SocketAddr::new(NOBODY, 0),
        Proof::GreetsOnlyWith | Proof::ReachedAsClient | Proof::MayRun | Proof::Nothing => {
            client.or_else(|| socket.local_addr()).unwrap_or(nowhere)
        }
    };
    let identity = ClientIdentity::direct(PeerAddress::tcp(subject), Some(reached))?;
    pool.introduce(&identity, Some(reached), Names::default()).ok()
}

/// Why no more was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The awaited line is there, or more than any line is long.
    Complete,
    /// The backend will say no more.
    Gone,
    /// It was not there in time.
    Late,
}

/// Reads until the awaited line is complete, the end, or the deadline; `heard` is what is here already.
async fn hear(
    socket: &Socket,
    protocol: Protocol,
    part: Part,
    deadline: Instant,
    mut heard: Vec<u8>,
) -> (Vec<u8>, End) {
    while complete_len(protocol, part, &heard).is_none() && heard.len() < ANSWER_MAX {
        match receive(socket, &mut heard, deadline, None).await {
            Received::Bytes(_) => {}
            Received::Expired => return (heard, End::Late),
            Received::Ended | Received::Evicted | Received::Failed(_) => return (heard, End::Gone),
        }
    }
    (heard, End::Complete)
}

fn describe(what: &str, heard: &[u8]) -> String {
    if heard.is_empty() { format!("{what} nothing") } else { format!("{what} \"{}\"", Seen::new(heard)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_that_a_kind_gives_anyway_proves_nothing() {
        let exim = Silence::KeptFor(Duration::from_secs(3));
        for (silence, since, expected) in [
            (Silence::Kept, 0, Some(300)),
            (Silence::Kept, 4_000, Some(4_000)),
            (Silence::Kept, 60_000, Some(10_000)),
            (exim, 0, Some(300)),
            (exim, 1_000, Some(1_000)),
            (exim, 2_000, Some(700)),
            (exim, 2_900, None),
            (exim, 60_000, None),
            (Silence::Broken, 0, None),
        ] {
            let patience = patience(silence, Duration::from_millis(since));
            assert_eq!(patience, expected.map(Duration::from_millis), "{silence:?} {since}");
        }
    }
}
