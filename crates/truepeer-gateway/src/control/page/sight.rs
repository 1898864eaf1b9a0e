//! What the page shows, as values: gathered from the server's view once for all who look. No HTML here.
//!
//! Addresses of clients and peers leave this file only where the page may show them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use truepeer::Fault;
use truepeer_doctor::change;

use super::hide;
use super::history::History;
use super::words;
use crate::config::StatusPage;
use crate::facts::journey::Room;
use crate::facts::outcome::Outcome;
use crate::observe::metrics::Counts;
use crate::observe::turned_away::{Addresses, RefusalsOfCause, TurnedAway};
use crate::rooms::backend::{Pool, Readiness, Target};
use crate::rooms::identify::Headers;
use crate::rooms::limits::LimitRule;
use crate::rooms::record::RefusedBy;
use crate::server::{Layout, View};

/// What is shown.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) host: Arc<str>,
    pub(super) page: StatusPage,
    /// When it was looked.
    pub(super) at: SystemTime,
    /// When the server was started.
    pub(super) since: SystemTime,
    pub(super) state: State,
    /// Listeners that look well and hand nobody on.
    pub(super) unserved: Vec<Arc<str>>,
    pub(super) open: Bounded,
    pub(super) pending: Bounded,
    pub(super) bans: usize,
    /// What is to be done, the most urgent first.
    pub(super) todo: Vec<Todo>,
    pub(super) rooms: Vec<Flow>,
    pub(super) refused: Vec<Refused>,
    pub(super) backends: Vec<Behind>,
    pub(super) listeners: Vec<Front>,
    /// Only where addresses are shown.
    pub(super) proxies: Vec<Proxy>,
    /// What came in each of the last minutes.
    pub(super) minutes: Vec<Counts>,
}

/// Whether clients are served.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    /// Clients of these listeners are not all served.
    NotReady(Vec<Arc<str>>),
    Draining,
}

/// A number and its limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounded {
    pub(super) now: u32,
    pub(super) most: u32,
}

/// Something that the operator should look at.
#[derive(Debug)]
pub(super) struct Todo {
    pub(super) about: About,
    /// The backend, listener or setting.
    pub(super) place: String,
    pub(super) what: String,
    pub(super) change: String,
}

/// Where it shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum About {
    /// That of this id.
    Backend(String),
    Listener,
    Peer,
    Name,
    Setting,
}

/// What one room does.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) room: Room,
    /// Came through in the last minute; of the relay, those that are there.
    pub(super) passed: u64,
    pub(super) turned_away_now: u64,
    pub(super) turned_away: u64,
}

/// Refusals of one cause.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) outcome: Outcome,
    /// What happened, in a sentence.
    pub(super) title: &'static str,
    pub(super) room: Room,
    pub(super) listener: Arc<str>,
    pub(super) rule: Option<String>,
    pub(super) count: u64,
    pub(super) minutes: [u32; TurnedAway::MINUTES],
    pub(super) addresses: Addresses,
    pub(super) last: SystemTime,
    pub(super) cause: Option<String>,
    pub(super) change: String,
    pub(super) seen: Option<String>,
}

/// One address of a backend.
#[derive(Debug)]
pub(super) struct Behind {
    pub(super) backend: String,
    pub(super) protocol: &'static str,
    pub(super) handoff: &'static str,
    pub(super) address: String,
    pub(super) mood: Mood,
    pub(super) readiness: &'static str,
    pub(super) why: Option<String>,
    /// Since when it is so.
    pub(super) since: Option<SystemTime>,
    pub(super) latency: Option<Duration>,
}

/// Whether it is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    Unknown,
    Sick,
}

/// One listener.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) listener: Arc<str>,
    pub(super) protocol: &'static str,
    pub(super) addresses: Vec<String>,
    pub(super) backends: Vec<String>,
    pub(super) mood: Mood,
    pub(super) state: &'static str,
    pub(super) networks: usize,
    pub(super) names: usize,
    /// Peers whose headers came.
    pub(super) proxies: usize,
    /// Clients that came directly, by version 1, by version 2.
    pub(super) sources: [u64; 3],
    /// Of those who came by a header, how many are told to have used TLS, and how many there are.
    pub(super) tls: (u64, u64),
    pub(super) open: u64,
}

/// A peer whose headers came.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) peer: String,
    pub(super) listener: Arc<str>,
    pub(super) v1: u64,
    pub(super) v2: u64,
    pub(super) tls: u64,
}

/// Characters of one text; what is longer is in the log.
const MAX_TEXT: usize = 400;
/// What is "now" in the picture.
const NOW: Duration = Duration::from_secs(60);
/// What is counted as turned away.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Addresses of one listener that are named.
const MAX_BINDS: usize = 4;

/// Looks at everything once.
pub(super) fn look(view: &View, history: &History, page: StatusPage, now: Instant, at: SystemTime) -> Sight {
    let layout = view.layout();
    let totals = view.totals();
    let mut counts = Counts::default();
    totals.iter().for_each(|totals| counts.add(&totals.counts));
    let refusals = view.turned_away(now);
    let senders = view.senders();
    let unready = view.unready();
    let state = match (view.is_draining(), unready.is_empty()) {
        (true, _) => State::Draining,
        (false, true) => State::Ready,
        (false, false) => State::NotReady(unready),
    };
    let host = layout.listening.first().map_or_else(|| "".into(), |at| Arc::clone(&at.door.hostname));
    let mut sight = Sight {
        host,
        page,
        at,
        since: view.started,
        state,
        unserved: Vec::new(),
        open: Bounded { now: view.admission.open(), most: view.admission.max() },
        pending: Bounded { now: view.pending_headers(), most: view.max_pending_headers() },
        bans: view.denied.count(),
        todo: Vec::new(),
        rooms: rooms(
            &counts,
            &counts.since(&history.before(now, NOW)),
            &counts.since(&history.before(now, HOUR)),
            &refusals,
        ),
        refused: refusals.iter().map(|refusals| refused(refusals, page)).collect(),
        backends: Vec::new(),
        listeners: Vec::new(),
        proxies: Vec::new(),
        minutes: history.minutes(),
    };
    for pool in &layout.pools {
        for target in pool.targets().iter() {
            let (behind, todo) = behind(pool, target, page);
            if sight.backends.iter().all(|other| {
                (&other.backend, &other.address, other.why.as_ref())
                    != (&behind.backend, &behind.address, behind.why.as_ref())
            }) {
                sight.todo.extend(todo);
            }
            sight.backends.push(behind);
        }
    }
    // Who is sick comes first, whatever the file's order.
    sight.backends.sort_by_key(|behind| behind.mood != Mood::Sick);
    for listener in view.listeners() {
        let mut front = front(&layout, &listener, &sight.state);
        if let Some(totals) = totals.iter().find(|totals| totals.listener == listener) {
            front.sources = totals.counts.identified;
            front.open = totals.counts.open();
        }
        for sender in senders.iter().filter(|sender| sender.listener == listener) {
            front.proxies = front.proxies.saturating_add(1);
            let Headers { secure, .. } = sender.headers;
            front.tls =
                (front.tls.0.saturating_add(secure), front.tls.1.saturating_add(sender.headers.all()));
        }
        sight.listeners.push(front);
    }
    if page == StatusPage::WithAddresses {
        sight.proxies.extend(senders.into_iter().map(|sender| Proxy {
            peer: sender.peer.to_string(),
            listener: sender.listener,
            v1: sender.headers.v1,
            v2: sender.headers.v2,
            tls: sender.headers.secure,
        }));
    }
    sight
}

/// `text` as the page may show it.
pub(super) fn shown(text: &str, page: StatusPage) -> String {
    let text = match page {
        StatusPage::WithAddresses => text.into(),
        StatusPage::None | StatusPage::WithoutAddresses => hide::addresses(text),
    };
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}

fn rooms(counts: &Counts, minute: &Counts, hour: &Counts, refusals: &[RefusalsOfCause]) -> Vec<Flow> {
    let of_hour = |room| {
        let here =
            refusals.iter().filter(|refusals| Room::that_turned_away(refusals.cause.outcome) == Some(room));
        here.fold(0, |sum: u64, refusals| sum.saturating_add(refusals.count()))
    };
    let flow = |room| match room {
        Room::Accept => Flow {
            room,
            passed: minute.accepted,
            turned_away_now: minute.accept_failures,
            turned_away: hour.accept_failures,
        },
        Room::Relay => Flow { room, passed: counts.open(), turned_away_now: 0, turned_away: of_hour(room) },
        _ => Flow {
            room,
            passed: minute.passed(room),
            turned_away_now: minute.turned_away_in(room),
            turned_away: of_hour(room),
        },
    };
    Room::ALL.into_iter().map(flow).collect()
}

fn refused(refusals: &RefusalsOfCause, page: StatusPage) -> Refused {
    let outcome = refusals.cause.outcome;
    let why = &refusals.why;
    // A backend's words about a client may name it in any way.
    let may_quote = page == StatusPage::WithAddresses || outcome != Outcome::BackendTurnsAway;
    let title = match refusals.cause.rule.and_then(RefusedBy::from_code) {
        Some(by) => by.sentence(),
        None => outcome.facts().sentence,
    };
    let rule = match (page, refusals.cause.rule) {
        (StatusPage::WithAddresses, Some(_)) => why.rule.as_deref().map(|rule| shown(rule, page)),
        (_, rule) => rule.map(|rule| rule.replace('_', " ")),
    };
    Refused {
        outcome,
        title,
        room: Room::that_turned_away(outcome).unwrap_or(Room::Relay),
        listener: Arc::clone(&refusals.cause.listener),
        rule,
        count: refusals.count(),
        minutes: refusals.minutes,
        addresses: refusals.addresses,
        last: refusals.last,
        cause: why.cause.as_deref().filter(|_| may_quote).map(|cause| shown(cause, page)),
        change: why
            .remedy
            .as_deref()
            .map_or_else(|| otherwise(outcome, refusals.cause.rule).to_owned(), |remedy| shown(remedy, page)),
        seen: why.seen.as_deref().filter(|_| page == StatusPage::WithAddresses).map(|seen| shown(seen, page)),
    }
}

/// What to change where a record does not say it, because there is nothing to say of this connection alone.
fn otherwise(outcome: Outcome, rule: Option<&str>) -> &'static str {
    match (rule.and_then(RefusedBy::from_code), outcome.facts().fault) {
        (Some(RefusedBy::DenyList), _) => {
            "nothing, if the list is right; otherwise take the client out of `access.deny` or of the file that the log names as `rule`"
        }
        (Some(RefusedBy::DefaultDeny), _) => "nothing, if only those in `access.allow` may come",
        (Some(RefusedBy::Ban), _) => "nothing, or `truepeer allow ADDRESS` ends the ban",
        (Some(RefusedBy::RequireSecure), _) => "nothing, if clients are to use TLS here",
        (Some(RefusedBy::Limit(LimitRule::ConnectionsPerClient)), _) => {
            "nothing, if one client should not have more; otherwise raise `limits.connections-per-client`, or name the client in `limits.exempt`"
        }
        (Some(RefusedBy::Limit(LimitRule::RatePerClient)), _) => {
            "nothing, if one client should not come more often; otherwise raise `limits.rate-per-client`, or name the client in `limits.exempt`"
        }
        (Some(RefusedBy::Limit(LimitRule::ListenerConnections | LimitRule::ServerConnections)), _) => {
            "raise `limits.max-connections`, or find out what holds so many connections open"
        }
        (None, _) if outcome == Outcome::BackendTurnsAway => {
            "nothing here: the backend decided, and its log says why"
        }
        (_, Fault::Backend) => "see the backend at the top of this page, and its own log",
        (_, Fault::Peer) => "nothing here: look at the peer that the log names for it",
        (_, Fault::Us) => "report it, with the line of the log: truepeer made a mistake",
        _ => "nothing, unless it goes on: the log has each connection",
    }
}

fn behind(pool: &Arc<Pool>, target: &Target, page: StatusPage) -> (Behind, Option<Todo>) {
    let (mood, readiness, why, change) = match &*target.readiness() {
        Readiness::Proved => (Mood::Well, "proved", None, None),
        Readiness::InPart { refuses, saw } => {
            let why = format!("it turns {refuses} clients away ({saw})");
            (Mood::Sick, "proved in part", Some(why), Some(change::BOTH_FAMILIES))
        }
        Readiness::Unproven => {
            let why = "it accepts connections; nothing shows yet that it learns who the client is";
            (Mood::Unknown, "unproven", Some(why.to_owned()), None)
        }
        Readiness::Unasked => (Mood::Unknown, "not asked yet", None, None),
        Readiness::Unready(why) => {
            let word = why.code().strip_prefix("backend_").unwrap_or(why.code());
            (Mood::Sick, word, Some(why.to_string()), Some(pool.remedy(why)))
        }
    };
    let why = why.map(|why| shown(&why, page));
    let address = pool.name_of(&target.address);
    let todo = change.map(|change| Todo {
        about: About::Backend(pool.backend.id.to_string()),
        place: format!("{} at {address}", pool.backend.id),
        what: match target.since() {
            Some(since) => {
                format!("since {} UTC: {}", words::date(since), why.as_deref().unwrap_or_default())
            }
            None => why.clone().unwrap_or_default(),
        },
        change: change.replace("<id>", &pool.backend.id),
    });
    let behind = Behind {
        backend: pool.backend.id.to_string(),
        protocol: pool.protocol.name(),
        handoff: pool.backend.handoff.name(),
        address,
        mood,
        readiness,
        why,
        since: target.since(),
        latency: target.latency(),
    };
    (behind, todo)
}

fn front(layout: &Layout, listener: &Arc<str>, state: &State) -> Front {
    let mut front = Front {
        listener: Arc::clone(listener),
        protocol: "",
        addresses: Vec::new(),
        backends: Vec::new(),
        mood: Mood::Well,
        state: "ready",
        networks: 0,
        names: 0,
        proxies: 0,
        sources: [0; 3],
        tls: (0, 0),
        open: 0,
    };
    let mut more: u32 = 0;
    for at in layout.listening.iter().filter(|at| at.bound.listener == *listener) {
        let door = &at.door;
        front.protocol = door.listener.protocol.name();
        front.networks = door.listener.trusted_lines.len();
        front.names = door.names.len();
        front.backends = door.pools().map(|pool| pool.backend.id.to_string()).collect();
        if front.addresses.len() < MAX_BINDS {
            front.addresses.push(at.bound.address.clone());
        } else {
            more = more.saturating_add(1);
        }
        if at.is_shut() {
            (front.mood, front.state) = (Mood::Sick, "closed until a backend can be reached");
        }
    }
    if more > 0 {
        front.addresses.push(format!("and {more} more"));
    }
    match state {
        State::Draining => (front.mood, front.state) = (Mood::Unknown, "draining"),
        State::NotReady(unready) if front.mood == Mood::Well && unready.contains(listener) => {
            (front.mood, front.state) = (Mood::Sick, "no backend is ready");
        }
        State::NotReady(_) | State::Ready => {}
    }
    front
}
