//! `truepeer probe`: asks a server what it makes of each kind of header.
//!
//! `question` knows what is asked, this file asks it, [`verdict`] says what the answers prove. At most
//! [`Question::ALL`] connections, one after the other but for the first, which waits beside them. Nobody logs in, and
//! nothing is sent anywhere but to the address given. Bounds: [`hear`] keeps 16 KiB of an answer, and every question is
//! over after twice the patience.

mod abilities;
mod question;
pub mod verdict;

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::hear::{Duplex, HeardBytes, HearingEnd, hear, say};
use super::send::{self, NotOpened, SendPlan};
use super::tls;
use crate::facts::manners::{
    HTTP_BROKEN, Part, complete_len, goodbye, http_status, is_goodbye, is_greeting, is_misread,
};
use crate::facts::protocol::Protocol;

pub use abilities::Abilities;
pub use question::Question;

/// Whom is asked, and how.
#[derive(Debug, Clone)]
pub struct Inquiry {
    /// The addresses of the server; the first that takes a connection is asked.
    pub addrs: Vec<SocketAddr>,
    /// The host as it was given.
    pub host: String,
    /// From where.
    pub source: Option<IpAddr>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whether TLS is spoken from the first byte behind the header.
    pub tls: Tls,
    /// How long each answer may take.
    pub patience: Duration,
    /// How long a connection without a header is listened to.
    pub wait: Duration,
}

/// Whether TLS is spoken from the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// It is.
    Implicit,
    /// Clear text.
    None,
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What was asked.
    pub question: Question,
    /// The length of the header that was sent.
    pub sent: usize,
    /// From which address.
    pub from: Option<SocketAddr>,
    /// Which address was reached.
    pub reached: Option<SocketAddr>,
    /// What came of it.
    pub outcome: ProbeOutcome,
    /// What was said first, or what was said at all.
    pub said: Vec<u8>,
    /// What the server offers.
    pub abilities: Option<Abilities>,
    /// From the connection on.
    pub after: Duration,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// It was served, as a client is.
    Served,
    /// It was greeted, and then heard what one hears whose header is taken for commands, or refused late.
    Misread,
    /// The server closed, or said no.
    Refused,
    /// The server neither greeted nor closed in time.
    Silent,
    /// There was no connection: why.
    Unreached(String),
}

impl ProbeOutcome {
    /// The word in text and JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Misread => "misread",
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Unreached(_) => "unreached",
        }
    }
}

/// What a port is for; those of backends are often ten thousand higher.
#[must_use]
pub fn guess(port: u16) -> Option<(Protocol, Tls)> {
    let port = match port {
        10_000..=19_999 => port.saturating_sub(10_000),
        port => port,
    };
    Some(match port {
        25 | 2525 => (Protocol::Smtp, Tls::None),
        587 => (Protocol::Submission, Tls::None),
        465 => (Protocol::Submission, Tls::Implicit),
        24 => (Protocol::Lmtp, Tls::None),
        143 => (Protocol::Imap, Tls::None),
        993 => (Protocol::Imap, Tls::Implicit),
        110 => (Protocol::Pop3, Tls::None),
        995 => (Protocol::Pop3, Tls::Implicit),
        4190 => (Protocol::ManageSieve, Tls::None),
        80 | 8080 => (Protocol::Http, Tls::None),
        443 | 8443 => (Protocol::Http, Tls::Implicit),
        _ => return None,
    })
}

/// Asks everything; `tell` hears each answer, and may end it.
///
/// # Cancel safety
/// The connections are closed; what was told is all there is.
pub async fn probe(inquiry: &Inquiry, mut tell: impl FnMut(&Asked) -> ControlFlow<()>) -> Vec<Asked> {
    let mut answers: Vec<Asked> = Vec::new();
    // It may wait for long, so it waits beside the others.
    let mut beside = JoinSet::new();
    let (patient, first) = (inquiry.clone(), Question::NoHeader);
    beside.spawn(async move { ask(&patient, first).await });
    for question in Question::ALL.into_iter().filter(|question| *question != first) {
        let asked = ask(inquiry, question).await;
        let over = tell(&asked).is_break();
        // Where nobody is, nobody is asked again.
        let nobody = matches!(asked.outcome, ProbeOutcome::Unreached(_));
        answers.push(asked);
        if over {
            return answers;
        }
        if nobody {
            break;
        }
    }
    if let Some(Ok(asked)) = beside.join_next().await {
        let _ = tell(&asked);
        answers.insert(0, asked);
    }
    answers
}

/// Asks one thing, over a connection of its own.
///
/// # Cancel safety
/// The connection is closed.
pub async fn ask(inquiry: &Inquiry, question: Question) -> Asked {
    let patience = if question == Question::NoHeader { inquiry.wait } else { inquiry.patience };
    let mut asked = Asked {
        question,
        sent: 0,
        from: None,
        reached: None,
        outcome: ProbeOutcome::Silent,
        said: Vec::new(),
        abilities: None,
        after: Duration::ZERO,
    };
    let (stream, reached) = match send::connect(&inquiry.addrs, inquiry.source, inquiry.patience).await {
        Ok(connected) => connected,
        Err(NotOpened::Unreached(error)) => {
            asked.outcome = ProbeOutcome::Unreached(error.0);
            return asked;
        }
        Err(NotOpened::Refused(_)) => {
            asked.outcome = ProbeOutcome::Refused;
            return asked;
        }
    };
    asked.from = stream.local_addr().ok();
    asked.reached = Some(reached);
    let started = Instant::now();
    let name = match inquiry.tls {
        Tls::None => None,
        Tls::Implicit => tls::server_name(&inquiry.host).ok(),
    };
    let header = question.header(reached);
    asked.sent = header.len();
    let opening = SendPlan { header, cuts: question.cuts(), pause: PAUSE, tls: name, patience };
    let whole = async {
        match send::open(stream, &opening).await {
            Err(NotOpened::Refused(why) | NotOpened::Unreached(super::dial::Unreached(why))) => {
                asked.said = why.into_bytes();
                asked.outcome = ProbeOutcome::Refused;
                asked.after = started.elapsed();
            }
            Ok(mut opened) => {
                let mut asking = Asking { inquiry, patience, asked: &mut asked, started };
                asking.converse(&mut *opened.stream).await;
            }
        }
    };
    // Each step has its own deadline; this one is for all of them.
    if timeout(patience.saturating_mul(2), whole).await.is_err() {
        asked.after = started.elapsed();
    }
    asked
}

/// Between the pieces of a header: long enough that nobody reads them as one.
const PAUSE: Duration = Duration::from_millis(400);

/// One question on its way.
struct Asking<'a> {
    inquiry: &'a Inquiry,
    patience: Duration,
    asked: &'a mut Asked,
    started: Instant,
}

impl Asking<'_> {
    async fn converse(&mut self, stream: &mut dyn Duplex) {
        match self.inquiry.protocol {
            Protocol::Http => self.request(stream).await,
            protocol => self.dialogue(stream, protocol).await,
        }
    }

    async fn request(&mut self, stream: &mut dyn Duplex) {
        let request = format!("HEAD / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.inquiry.host);
        // A server that is gone already may have said why.
        let _ = say(stream, request.as_bytes(), self.patience).await;
        let heard = hear(stream, self.patience, |bytes| bytes.windows(4).any(|end| end == b"\r\n\r\n")).await;
        // Without a header an unknown method is HEAD, not ours.
        let direct = self.asked.sent == 0;
        self.answered(match (http_status(&heard.bytes), heard.end) {
            (Some(HTTP_BROKEN), _) => ProbeOutcome::Refused,
            (Some(status), _) if direct || !is_misread(status) => ProbeOutcome::Served,
            (None, HearingEnd::Late) if heard.bytes.is_empty() => ProbeOutcome::Silent,
            _ => ProbeOutcome::Refused,
        });
        self.asked.said = heard.bytes;
    }

    async fn dialogue(&mut self, stream: &mut dyn Duplex, protocol: Protocol) {
        let heard =
            hear(stream, self.patience, |bytes| complete_len(protocol, Part::Greeting, bytes).is_some())
                .await;
        let greeted = heard.end == HearingEnd::Complete && is_greeting(protocol, &heard.bytes);
        self.answered(if heard.end == HearingEnd::Late && heard.bytes.is_empty() {
            ProbeOutcome::Silent
        } else {
            ProbeOutcome::Refused
        });
        let behind = complete_len(protocol, Part::Greeting, &heard.bytes).unwrap_or(heard.bytes.len());
        let (greeting, more) = heard.bytes.split_at(behind.min(heard.bytes.len()));
        self.asked.said = greeting.to_vec();
        if !greeted {
            return;
        }
        // What came with the greeting answers our header: nobody else has said anything yet.
        if !more.is_empty() {
            self.asked.said = heard.bytes;
            self.asked.outcome = ProbeOutcome::Misread;
            return;
        }
        let Some(offered) = self.abilities(stream, protocol, greeting).await else {
            self.asked.outcome = ProbeOutcome::Misread;
            return;
        };
        self.asked.abilities = Some(offered);
        let said = say(stream, goodbye(protocol), self.patience).await;
        let bye =
            hear(stream, self.patience, |bytes| complete_len(protocol, Part::Answer, bytes).is_some()).await;
        let polite = said.is_ok() && is_goodbye(protocol, &bye.bytes);
        self.asked.outcome = if polite { ProbeOutcome::Served } else { ProbeOutcome::Misread };
        if !polite {
            self.asked.said.extend(bye.bytes);
        }
    }

    /// What the server offers; `None` if it did not take the question for one.
    async fn abilities(
        &mut self,
        stream: &mut dyn Duplex,
        protocol: Protocol,
        greeting: &[u8],
    ) -> Option<Abilities> {
        let Some(question) = abilities::question(protocol) else {
            return Some(Abilities::of(protocol, greeting));
        };
        if say(stream, question, self.patience).await.is_err() {
            return None;
        }
        let HeardBytes { bytes, .. } =
            hear(stream, self.patience, |bytes| abilities::is_complete(protocol, bytes)).await;
        if abilities::is_answer(protocol, &bytes) {
            return Some(Abilities::of(protocol, &bytes));
        }
        self.asked.said.extend(bytes);
        None
    }

    /// What is known so far; the time counts from here.
    fn answered(&mut self, outcome: ProbeOutcome) {
        self.asked.outcome = outcome;
        self.asked.after = self.started.elapsed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_say_what_is_spoken_on_them() {
        assert_eq!(guess(25), Some((Protocol::Smtp, Tls::None)));
        assert_eq!(guess(10_993), Some((Protocol::Imap, Tls::Implicit)));
        assert_eq!(guess(14_190), Some((Protocol::ManageSieve, Tls::None)));
        assert_eq!(guess(5432), None);
    }
}
