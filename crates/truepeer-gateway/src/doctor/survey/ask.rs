//! Asks the servers on loopback whether they do what a proxy in front of them expects.
//!
//! Only what this machine's proxies connect to, only on loopback, and of each server as little as proves it: the way
//! that its configuration promises comes first, so that a server in order logs nothing but a client that came and left.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::task::JoinSet;
use truepeer_doctor::Finding;
use truepeer_doctor::neighbour::{
    Connect, Host, ListenTls, Neighbour, Pair, Protocol as Spoken, Sends, pairs,
};
use truepeer_doctor::survey::{Answers, Target, judge_answers};

use super::machine::Machine;
use crate::doctor::probe::{self, Inquiry, ProbeOutcome, Question, Tls};
use crate::facts::protocol::Protocol;

/// The most servers that are asked.
const MAX_ASKED: usize = 32;
/// How long each step of an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a greeting is waited for where no header was sent.
const WAIT: Duration = Duration::from_secs(2);

/// A server on loopback, and how to ask it.
#[derive(Debug, Clone)]
struct Asking {
    target: Target,
    inquiry: Inquiry,
}

/// Asks, and says what does not fit.
///
/// # Cancel safety
/// The connections are closed.
pub(super) async fn ask(neighbours: &[Neighbour], machine: &Machine) -> Vec<Finding> {
    let mut set = JoinSet::new();
    for (order, asking) in targets(neighbours, machine).into_iter().take(MAX_ASKED).enumerate() {
        set.spawn(async move {
            let answers = answers(&asking).await;
            (order, judge_answers(&asking.target, &answers))
        });
    }
    let mut found = set.join_all().await;
    found.sort_by_key(|(order, _)| *order);
    found.into_iter().filter_map(|(_, finding)| finding).collect()
}

/// As many questions as it takes.
async fn answers(asking: &Asking) -> Answers {
    let mut answers = Answers::default();
    for header in asking.target.questions() {
        let question = match header {
            None => Question::NoHeader,
            Some(1) => Question::V1,
            Some(_) => Question::V2,
        };
        let asked = probe::ask(&asking.inquiry, question).await;
        answers.note(
            header,
            match asked.outcome {
                ProbeOutcome::Served => Some(true),
                ProbeOutcome::Misread | ProbeOutcome::Refused => Some(false),
                ProbeOutcome::Silent | ProbeOutcome::Unreached(_) => None,
            },
        );
        if matches!(asked.outcome, ProbeOutcome::Unreached(_)) || answers.are_enough(&asking.target) {
            break;
        }
    }
    answers
}

/// Who is asked: each server once for each kind of header that is sent to it.
fn targets(neighbours: &[Neighbour], machine: &Machine) -> Vec<Asking> {
    let pairs = pairs(neighbours);
    let mut found: Vec<Asking> = Vec::new();
    for sender in neighbours {
        for connect in &sender.connects {
            let pair = pairs.iter().find(|pair| std::ptr::eq(pair.connect, connect));
            let Some(asking) = asking(sender, connect, pair, machine) else { continue };
            if !found.iter().any(|other| other.target == asking.target) {
                found.push(asking);
            }
        }
    }
    found
}

fn asking(
    sender: &Neighbour,
    connect: &Connect,
    pair: Option<&Pair<'_>>,
    machine: &Machine,
) -> Option<Asking> {
    let addr = on_loopback(connect)?;
    let (_, owner) = machine.listener_at(addr)?;
    // What a proxy is sent goes on to somewhere else.
    let forwards = |neighbour: &Neighbour| !neighbour.connects.is_empty();
    if pair.is_some_and(|pair| forwards(pair.receiver)) {
        return None;
    }
    let guessed = probe::guess(addr.port());
    let spoken = pair.and_then(|pair| pair.listen.protocol).or(connect.protocol).and_then(protocol);
    let protocol = spoken.or(guessed.map(|(protocol, _)| protocol))?;
    let tls = match pair.map(|pair| pair.listen.tls) {
        Some(ListenTls::None) => Tls::None,
        Some(ListenTls::Implicit) => Tls::Implicit,
        // A header inside of TLS is nothing that a probe sends, and what passes through goes on to somewhere else.
        Some(ListenTls::HeaderInside | ListenTls::Passes) => return None,
        Some(ListenTls::Unknown) | None => guessed.map_or(Tls::None, |(_, tls)| tls),
    };
    let target = Target {
        sender: sender.product,
        place: connect.sends_place.to_string(),
        receiver: pair.map(|pair| pair.receiver.product),
        written: pair.map(|pair| (pair.listen.header, pair.listen.header_place.to_string())),
        owner: owner.as_ref().map(|owner| format!("{} (process {})", owner.name, owner.pid)),
        addr,
        sends: connect.sends,
    };
    target.is_worth_asking().then(|| Asking {
        inquiry: Inquiry {
            addrs: vec![addr],
            host: addr.ip().to_string(),
            source: connect.from.iter().copied().find(IpAddr::is_loopback),
            protocol,
            tls,
            patience: PATIENCE,
            wait: WAIT,
        },
        target,
    })
}

/// The address, if it is loopback and nothing else.
fn on_loopback(connect: &Connect) -> Option<SocketAddr> {
    let port = connect.to.port()?;
    let ip = match connect.to.host()? {
        Host::Ip(ip) if ip.is_loopback() => *ip,
        Host::Name(name) if name == "localhost" => IpAddr::from([127, 0, 0, 1]),
        Host::Any(_) | Host::Ip(_) | Host::Name(_) => return None,
    };
    matches!(connect.sends, Sends::Nothing | Sends::V1 | Sends::V2 | Sends::V2Ssl)
        .then_some(SocketAddr::new(ip, port))
}

/// Protocols whose answers can be judged.
fn protocol(spoken: Spoken) -> Option<Protocol> {
    Some(match spoken {
        Spoken::Smtp => Protocol::Smtp,
        Spoken::Submission => Protocol::Submission,
        Spoken::Lmtp => Protocol::Lmtp,
        Spoken::Imap => Protocol::Imap,
        Spoken::Pop3 => Protocol::Pop3,
        Spoken::ManageSieve => Protocol::ManageSieve,
        Spoken::Http => Protocol::Http,
        Spoken::Tcp => return None,
    })
}
