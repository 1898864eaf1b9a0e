//! Connect: the next address of the backend, and the one after if it cannot be connected to.
//!
//! Fail-over is for connect errors and connect-timeout only: once it was told of the client, a loss is the client's to
//! see, since the backend may have acted on it.

use std::sync::Arc;

use truepeer_doctor::change;

use crate::engine::label::NotSaid;
use crate::engine::program::{NotStarted, Running, With, give};
use crate::engine::{DialError, NotShown, Socket, give_back, now};
use crate::facts::address::Family;
use crate::facts::outcome::Outcome;
use crate::rooms::backend::{Exec, Pool, Reached, Readiness, Slot, Target};
use crate::rooms::handoff::{ConnectAs, Dialled, Introduction, Purpose, Substituted, Untold, drive};

/// A backend that knows the client.
#[derive(Debug)]
pub struct Connected {
    /// The way to it.
    pub socket: Socket,
    /// Which of its addresses it is.
    pub target: Arc<Target>,
    /// What it is called, with the port of the client's lane.
    pub reached: Arc<Reached>,
    /// What it has said to the client already.
    pub said: Vec<u8>,
    /// What of the client was replaced.
    pub substituted: Substituted,
}

/// Why a client could not be connected.
#[derive(Debug)]
pub struct NotConnected {
    /// How its connection ends.
    pub outcome: Outcome,
    /// What happened at the last address that was tried, or why none was.
    pub because: String,
    /// The backend's own words to the client, if it turned it away.
    pub words: Option<Vec<u8>>,
    /// What to change, if it is not what the handoff needs.
    pub remedy: Option<&'static str>,
}

impl NotConnected {
    fn new(outcome: Outcome, because: String) -> Self {
        Self { outcome, because, words: None, remedy: None }
    }
}

/// Connects to the first address that accepts, writes `opening` to it, and tells it who the client is.
///
/// `lane`: which port of a range the client reached, counted from 0; so many ports behind the first it is handed on.
///
/// # Errors
/// [`NotConnected`].
pub async fn to_backend(
    pool: &Pool,
    introduction: &Introduction,
    lane: u16,
    opening: Vec<u8>,
) -> Result<Connected, NotConnected> {
    let family = introduction.header.family;
    let mut last = None;
    for target in pool.next(family) {
        let address = target.address.further(lane);
        let began = now();
        match pool.dial(introduction, &address, &opening).await {
            Ok(Dialled { socket, substituted }) => {
                target.note_reached();
                let mut conversation = introduction.begin(Purpose::Client, pool.backend.proof_timeout);
                return match drive(&socket, &mut conversation).await {
                    Ok(said) => {
                        give_back(opening);
                        target.note_latency(now().saturating_duration_since(began));
                        let reached = target.reached_by(&pool.backend.id, lane);
                        Ok(Connected { socket, target, reached, said, substituted })
                    }
                    Err(why) => Err(untold(pool, &target, why)),
                };
            }
            Err(error) => {
                let because = format!("{address}: {error}");
                let outcome = match error {
                    DialError::Send(_) => {
                        return Err(NotConnected::new(Outcome::HandoffFailed, because));
                    }
                    // No other address helps.
                    DialError::NoSocket(_) => {
                        return Err(NotConnected::new(Outcome::DescriptorsExhausted, because));
                    }
                    DialError::PortsExhausted(_) => Outcome::BackendPortsExhausted,
                    DialError::Connect(_) => Outcome::BackendRefused,
                    DialError::Timeout(_) => Outcome::BackendTimeout,
                    DialError::NotPermitted(_) | DialError::MixedFamilies(_) | DialError::NotShown(_) => {
                        Outcome::HandoffRefused
                    }
                };
                match (introduction.source, &error) {
                    // The next client would get no further.
                    (_, DialError::NotShown(NotShown::NotTaken | NotShown::NotLoaded)) => {
                        pool.mark_refusing(&target, error.to_string());
                    }
                    _ if error.is_ours() => {}
                    // One port of a range says nothing of the others.
                    _ if pool.backend.has_range() => {}
                    // One client's address may be at fault for silence: then the others are not kept out for it.
                    (ConnectAs::Client(_), DialError::Timeout(_)) => pool.ask_again(),
                    _ => pool.mark_unreachable(&target, error.to_string()),
                }
                let remedy = match error {
                    DialError::MixedFamilies(_) => Some(BOTH_FAMILIES),
                    DialError::NotShown(NotShown::Inexpressible) => Some(LISTEN_ON_BOTH),
                    _ => None,
                };
                last = Some(NotConnected { remedy, ..NotConnected::new(outcome, because) });
            }
        }
    }
    Err(last.unwrap_or_else(|| unready(pool, family)))
}

/// Gives `client` to a program of `exec`, which learns who it is; `with` makes what goes with it.
///
/// # Errors
/// [`NotConnected`].
pub async fn to_program(
    pool: &Pool,
    exec: &Exec,
    introduction: &Introduction,
    client: &Socket,
    with: impl FnOnce(Slot) -> With,
) -> Result<Running, NotConnected> {
    let family = introduction.header.family;
    let Some(target) = pool.next(family).next() else { return Err(unready(pool, family)) };
    let failed = |outcome, because| NotConnected::new(outcome, format!("{}: {because}", target.address));
    let slot = pool.programs().enter(exec, now());
    let slot = slot.map_err(|full| failed(Outcome::BackendFull, full.to_string()))?;
    let patience = pool.backend.connect_timeout;
    let to_say = pool.to_say(exec, introduction);
    match give(client, &exec.program, &introduction.environment, to_say, with(slot), patience).await {
        Ok(running) => {
            target.note_reached();
            Ok(running)
        }
        Err(error) => {
            let because = error.to_string();
            let mut remedy = None;
            let outcome = match error {
                NotStarted::Refused(_) => {
                    pool.mark_unreachable(&target, because.clone());
                    Outcome::BackendRefused
                }
                NotStarted::NoRoom(_) => Outcome::DescriptorsExhausted,
                NotStarted::Late(_) => Outcome::BackendTimeout,
                // The next client may be of the other family.
                NotStarted::NotSaid(why) => {
                    remedy = (why == NotSaid::Inexpressible).then_some(BIND_BOTH);
                    Outcome::HandoffRefused
                }
            };
            Err(NotConnected { remedy, ..failed(outcome, because) })
        }
    }
}

/// For clients of a family that the backend has no address of.
const BOTH_FAMILIES: &str =
    "give the backend an address of each family, such as [\"127.0.0.1:25\", \"[::1]:25\"]";

/// For clients of IPv6 whose own connection can say IPv4 only.
const BIND_BOTH: &str = "bind the listener to `[::]` and its port, which takes both families: a socket of IPv4 cannot say an address of IPv6";

/// For clients of IPv6 at a backend that can say IPv4 only.
const LISTEN_ON_BOTH: &str = "let the backend listen on IPv6 as well, such as `[::]:25`, and give that address; or say with `label.substitute` which IPv4 address stands for clients of IPv6";

/// It was reached, and does not know the client.
fn untold(pool: &Pool, target: &Target, why: Untold) -> NotConnected {
    let because = format!("{}: {why}", target.address);
    let (outcome, words) = match why {
        Untold::Unfit { .. } => {
            pool.mark_refusing(target, why.to_string());
            (Outcome::HandoffRefused, None)
        }
        // What is said of one client is no reason to keep the others out.
        Untold::Misunderstood { .. } => (Outcome::HandoffRefused, None),
        Untold::TurnedAway(words) => (Outcome::BackendTurnsAway, Some(words)),
        Untold::Late(_) | Untold::Gone(_) | Untold::Broken(_) => (Outcome::HandoffFailed, None),
    };
    NotConnected { words, ..NotConnected::new(outcome, because) }
}

/// Why no address may be handed a client of `family`.
fn unready(pool: &Pool, family: Option<Family>) -> NotConnected {
    let targets = pool.targets();
    let mut remedy = None;
    let mut words = Vec::new();
    for target in targets.iter() {
        let why = match &*target.readiness() {
            Readiness::Unready(why) => why.to_string(),
            Readiness::InPart { refuses, saw } if family == Some(*refuses) => {
                remedy = Some(change::BOTH_FAMILIES);
                format!("it turns {refuses} clients away ({saw})")
            }
            _ => format!("not asked yet {}", pool.backend.handoff.facts().question),
        };
        words.push(format!("{}: {why}", target.address));
    }
    let because = if words.is_empty() { "no address is known yet".to_owned() } else { words.join("; ") };
    NotConnected { remedy, ..NotConnected::new(Outcome::BackendUnready, because) }
}
