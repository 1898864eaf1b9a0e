//! How a connection may end, given what everybody did: from the documentation of outcomes, not from the walk.
//!
//! Where two things happened at one moment, either may have come first; then there is more than one right answer.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::play::Play;
use super::scene::{Fate, HEADER_SECONDS, Meeting, PER_CLIENT, Scene, VARIANTS};
use super::visitor::{DENIED, Says, Standing, Visitor};

pub(super) type Outcomes = BTreeSet<&'static str>;

/// Deadlines are kept so coarsely.
const COARSE: Duration = Duration::from_millis(20);

/// What may happen to whom.
pub(super) struct Expectation {
    pub(super) outcomes: Outcomes,
    /// Whether the client, or the proxy for itself, may be told to a backend.
    pub(super) may_meet: bool,
}

/// Whether `when` is before `due`: `None` if nobody can tell.
pub(super) fn is_before(when: Instant, due: Instant) -> Option<bool> {
    if when + COARSE < due {
        return Some(true);
    }
    if when > due + COARSE { Some(false) } else { None }
}

pub(super) fn of(scene: &Scene, play: &Play, visitor: &Visitor) -> Expectation {
    let mut may = Outcomes::new();
    if visitor.is_cut {
        may.insert("cut");
    }
    if play.drain_over.is_some_and(|over| over <= scene.world.now() + COARSE) {
        may.insert("drained");
    }
    let variant = VARIANTS[visitor.variant];
    if visitor.standing == Standing::Stranger && variant.unlisted == "refuse" {
        may.insert("unlisted_peer");
        return Expectation { outcomes: may, may_meet: false };
    }
    if visitor.standing == Standing::Proxy && !header(scene, play, visitor, &mut may) {
        return Expectation { outcomes: may, may_meet: false };
    }
    if visitor.says == Says::Own {
        match variant.own {
            "answer" => {
                may.extend(["own_answered", "own_no_check"]);
                return Expectation { outcomes: may, may_meet: false };
            }
            "refuse" => {
                may.insert("own_refused");
                return Expectation { outcomes: may, may_meet: false };
            }
            _ => {}
        }
    } else {
        if visitor.ip().to_string().starts_with(DENIED) {
            may.insert("access_denied");
            return Expectation { outcomes: may, may_meet: false };
        }
        if visitor.may_be_banned {
            may.insert("access_denied");
        }
        if variant.requires_secure && !visitor.is_secure {
            may.insert("secure_required");
            return Expectation { outcomes: may, may_meet: false };
        }
        if others_of(play, visitor) >= PER_CLIENT {
            may.insert("limit_reached");
        }
    }
    backend(scene, play, visitor, &mut may);
    Expectation { outcomes: may, may_meet: true }
}

/// What may become of the header; whether the connection may get any further.
fn header(scene: &Scene, play: &Play, visitor: &Visitor, may: &mut Outcomes) -> bool {
    let Some((earliest, latest)) = visitor.accepted else { return false };
    let limit = Duration::from_secs(HEADER_SECONDS);
    let proxies = play.visitors.iter().filter(|other| other.standing == Standing::Proxy).count();
    if proxies > usize::try_from(scene.max_pending).unwrap() {
        may.insert("header_evicted");
    }
    let is_whole = visitor.header_sent.filter(|_| visitor.sent >= visitor.header.len());
    let in_time = is_whole.and_then(|sent| {
        match (is_before(sent, earliest + limit), is_before(sent, latest + limit)) {
            (Some(true), _) => Some(true),
            (_, Some(false)) => Some(false),
            _ => None,
        }
    });
    match (&visitor.says, is_whole) {
        (Says::Client(_) | Says::Own, Some(_)) => match in_time {
            Some(true) => return true,
            Some(false) => {}
            None => {
                may.insert("header_timeout");
                return true;
            }
        },
        (Says::Broken(codes), _) => {
            may.extend(codes.iter());
            if in_time == Some(true) {
                return false;
            }
        }
        _ => {}
    }
    // It never became whole, or too late.
    let end = visitor.finished.into_iter().chain(visitor.broke).min();
    let before = end.map_or(Some(false), |end| {
        match (is_before(end, earliest + limit), is_before(end, latest + limit)) {
            (Some(true), _) => Some(true),
            (_, Some(false)) => Some(false),
            _ => None,
        }
    });
    if before != Some(false) {
        may.insert(if visitor.sent == 0 { "header_empty" } else { "header_truncated" });
        if visitor.is_chain {
            // The first of two may be whole, and the next not begun.
            may.insert("header_empty");
        }
    }
    if before != Some(true) {
        may.insert("header_timeout");
    }
    false
}

/// How many others of the same client may have been counted at the same time.
fn others_of(play: &Play, visitor: &Visitor) -> usize {
    let Some((from, _)) = visitor.accepted else { return 0 };
    let others = play.visitors.iter().filter(|other| other.peer != visitor.peer && other.is_client());
    let same = others.filter(|other| other.ip() == visitor.ip());
    let overlaps = |other: &Visitor| {
        let began = other.accepted.map(|(earliest, _)| earliest);
        let ended_before = other.left.is_some_and(|left| left < from);
        let began_after = visitor.left.is_some_and(|left| began.is_some_and(|began| began > left));
        began.is_some() && !ended_before && !began_after
    };
    same.filter(|other| overlaps(other)).count()
}

fn backend(scene: &Scene, play: &Play, visitor: &Visitor, may: &mut Outcomes) {
    let meetings = scene.meetings.borrow();
    let mut latest_first = meetings.iter().rev();
    let Some(last) = latest_first.find(|meeting| meeting.client == Some(visitor.client())) else {
        // Right only where an address was found bad before, by whomever.
        if meetings.iter().any(|meeting| meeting.fate != Fate::Open) {
            may.insert("backend_unready");
        }
        // A header behind the first that is here by now: no backend hears of the client.
        if visitor.standing == Standing::Proxy && visitor.is_caught() != Some(false) {
            may.insert("header_repeated");
        }
        return;
    };
    match last.fate {
        Fate::Failed(Errno::MFILE) => {
            may.insert("descriptors_exhausted");
        }
        Fate::Failed(Errno::ADDRNOTAVAIL) => {
            may.insert("backend_ports_exhausted");
        }
        Fate::Failed(_) => {
            may.insert("backend_refused");
        }
        Fate::Unanswered => {
            may.insert("backend_timeout");
        }
        Fate::Open => {
            // A backend that does not take a header as a whole may be too slow for it, too.
            if last.broke || last.opening.len() > last.room {
                may.insert("handoff_failed");
            }
            if last.is_late {
                may.insert("backend_timeout");
            }
            may.extend(relay(play, visitor, last));
        }
    }
}

/// How the relay may end.
fn relay(play: &Play, visitor: &Visitor, meeting: &Meeting) -> Outcomes {
    let mut may = Outcomes::new();
    if play.long_silence {
        may.insert("idle_timeout");
    }
    if visitor.is_caught() != Some(false) {
        match visitor.standing {
            Standing::Proxy => may.insert("header_repeated"),
            Standing::Stranger => may.insert("untrusted_header"),
        };
        if visitor.standing == Standing::Stranger && visitor.names_itself {
            may.insert("header_redundant");
        }
    }
    if visitor.is_caught() == Some(true) {
        // The other end may have been quicker than the client's bytes.
        if meeting.broke {
            may.insert("backend_failed");
        }
        if visitor.broke.is_some() {
            may.insert("client_failed");
        }
        return may;
    }
    match (visitor.broke.is_some(), meeting.broke) {
        (false, false) => {
            may.insert("done");
        }
        (true, false) => {
            may.insert("client_failed");
            if meeting.is_finished {
                may.insert("done");
            }
        }
        (false, true) => {
            may.insert("backend_failed");
            if visitor.finished.is_some() {
                may.insert("done");
            }
        }
        (true, true) => may.extend(["client_failed", "backend_failed", "done"]),
    }
    may
}
