//! What the answers prove, in sentences, and what they do not. Pure.

use std::time::Duration;

use truepeer_doctor::{Class, Confidence, Finding, Product, Side};

use super::{Abilities, Asked, Inquiry, ProbeOutcome, Question, Tls};
use crate::doctor::shown::shown;
use crate::facts::protocol::Protocol;

/// What is known in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether a header is expected of this address.
    pub expects: Expects,
    /// Whether a header that names somebody else was believed.
    pub forgeable: Forgeable,
    /// Which versions were served: 1, 2.
    pub versions: Vec<u8>,
    /// How long the server waited for a header, and how that ended; `None` if it did not show.
    pub waits: Option<Duration>,
    /// The longest header that was served, and the shortest that was not.
    pub largest: (Option<usize>, Option<usize>),
    /// Who the server says that it is.
    pub product: Option<Product>,
    /// All of it in sentences.
    pub sentences: Vec<String>,
    /// What the server did not show.
    pub inconclusive: Vec<String>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Whether a header is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expects {
    /// Nobody is served without one.
    Required,
    /// It is read if it comes.
    Optional,
    /// A client that sends one is not served.
    No,
    /// Nobody was served at all.
    Inconclusive,
}

/// Whether a header was believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgeable {
    /// From the address that asked.
    FromHere,
    /// It was not.
    NotFromHere,
    /// That did not show.
    Inconclusive,
}

impl Expects {
    /// The word in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::No => "no",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl Forgeable {
    /// The word in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::FromHere => "from-here",
            Self::NotFromHere => "not-from-here",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// Words by which servers show who they are.
const PRODUCTS: &[(&[u8], Product)] = &[
    (b"Stalwart", Product::Stalwart),
    (b"Dovecot", Product::Dovecot),
    (b"Pigeonhole", Product::Dovecot),
    (b"Postfix", Product::Postfix),
    (b"OpenSMTPD", Product::Opensmtpd),
    (b"Exim", Product::Exim),
    (b"HAProxy", Product::Haproxy),
    (b"nginx", Product::Nginx),
    (b"Caddy", Product::Caddy),
    (b"envoy", Product::Envoy),
    (b"varnish", Product::Varnish),
    (b"Apache", Product::Apache),
];

/// No server waits for so short a time.
const AT_ONCE: Duration = Duration::from_millis(200);

struct Answers<'a>(&'a [Asked]);

impl Answers<'_> {
    fn get(&self, question: Question) -> Option<&Asked> {
        self.0.iter().find(|asked| asked.question == question)
    }

    fn served(&self, question: Question) -> bool {
        self.get(question).is_some_and(|asked| asked.outcome == ProbeOutcome::Served)
    }

    /// Whether there is an answer at all.
    fn shown(&self, question: Question) -> bool {
        self.get(question)
            .is_some_and(|asked| !matches!(asked.outcome, ProbeOutcome::Unreached(_) | ProbeOutcome::Silent))
    }
}

impl Verdict {
    /// What `asked` proves.
    #[must_use]
    pub fn of(asked: &[Asked], inquiry: &Inquiry) -> Self {
        let answers = Answers(asked);
        let direct = answers.served(Question::NoHeader);
        let mut versions = Vec::new();
        versions.extend(answers.served(Question::V1).then_some(1));
        versions.extend(answers.served(Question::V2).then_some(2));
        let expects = match (direct, versions.is_empty()) {
            (false, false) => Expects::Required,
            (true, false) => Expects::Optional,
            (true, true) => Expects::No,
            (false, true) => Expects::Inconclusive,
        };
        let asked_both = answers.shown(Question::V1) && answers.shown(Question::V2);
        let forgeable = match (versions.is_empty(), asked_both) {
            (false, _) => Forgeable::FromHere,
            (true, true) => Forgeable::NotFromHere,
            (true, false) => Forgeable::Inconclusive,
        };
        let mut verdict = Self {
            expects,
            forgeable,
            versions,
            waits: None,
            largest: (None, None),
            product: product(asked),
            sentences: Vec::new(),
            inconclusive: Vec::new(),
            findings: Vec::new(),
        };
        verdict.say_expects(&answers);
        verdict.say_wait(&answers, inquiry);
        if !verdict.versions.is_empty() {
            verdict.say_forms(&answers);
            verdict.say_tls(&answers, inquiry);
            verdict.say_forgery(&answers);
        }
        verdict
    }

    fn say(&mut self, sentence: impl Into<String>) {
        self.sentences.push(sentence.into());
    }

    fn say_expects(&mut self, answers: &Answers<'_>) {
        if let Some(product) = self.product {
            self.say(format!("It says that it is {product}."));
        }
        match self.expects {
            Expects::Required => {
                self.say("It expects a header from this address: without one nobody is served.");
            }
            Expects::Optional => {
                self.say("It reads a header if one comes, and serves clients that send none.");
            }
            Expects::No => {
                self.say("It expects no header from this address: a client that sends one is not served.");
            }
            Expects::Inconclusive => {
                let unreached = answers.0.iter().find_map(|asked| match &asked.outcome {
                    ProbeOutcome::Unreached(why) => Some(why.clone()),
                    _ => None,
                });
                self.inconclusive.push(match unreached {
                    Some(why) => format!("whether it expects a header: there was no connection ({why})"),
                    None => "whether it expects a header: neither with one nor without was anybody served from this \
                             address"
                        .to_owned(),
                });
            }
        }
        match self.versions.as_slice() {
            [1, 2] => self.say("It reads version 1 and version 2."),
            [1] => self.say("It reads version 1, and not version 2."),
            [2] => self.say("It reads version 2, and not version 1."),
            _ => {}
        }
    }

    fn say_wait(&mut self, answers: &Answers<'_>, inquiry: &Inquiry) {
        let Some(asked) = answers.get(Question::NoHeader) else { return };
        match (&asked.outcome, inquiry.protocol) {
            // A server that speaks first is judged by what it says, not by the time it takes.
            (_, Protocol::Http) => {}
            (ProbeOutcome::Refused | ProbeOutcome::Misread, _)
                if inquiry.tls == Tls::None && !self.versions.is_empty() =>
            {
                self.waits = Some(asked.after);
                self.say(match asked.after < AT_ONCE {
                    true => "Where no header comes, it gives up at once.".to_owned(),
                    false => format!("It waits {} for a header, then gives up.", seconds(asked.after)),
                });
            }
            (ProbeOutcome::Silent, _) => {
                let wait = seconds(asked.after);
                self.inconclusive
                    .push(format!("how long it waits for a header: more than {wait}, if it waits for one"));
            }
            _ => {}
        }
    }

    fn say_forms(&mut self, answers: &Answers<'_>) {
        for (question, yes, no) in [
            (Question::Local, "serves the proxy's own connections (LOCAL)", "does not serve LOCAL"),
            (Question::Unknown, "serves `PROXY UNKNOWN`", "does not serve `PROXY UNKNOWN`"),
            (Question::Split, "takes a header in pieces", "does not take a header in pieces"),
        ] {
            match answers.get(question) {
                Some(asked) if asked.outcome == ProbeOutcome::Served => self.say(format!("It {yes}.")),
                Some(Asked { outcome: ProbeOutcome::Silent | ProbeOutcome::Unreached(_), .. }) | None => {
                    self.inconclusive.push(format!("whether it {yes}: it did not answer"));
                }
                Some(_) => self.say(format!("It {no}.")),
            }
        }
        for question in Question::ALL {
            let Some(length) = question.length() else { continue };
            if answers.served(question) {
                self.largest.0 = Some(length);
            } else if answers.shown(question) && self.largest.1.is_none() {
                self.largest.1 = Some(length);
            }
        }
        match self.largest {
            (Some(most), None) => {
                self.say(format!("It takes headers of {most} bytes; longer ones were not tried."));
            }
            (Some(most), Some(less)) => {
                self.say(format!("It takes headers of {most} bytes, and not of {less}."));
            }
            (None, Some(less)) => self.say(format!("It takes no headers of {less} bytes.")),
            (None, None) => self.inconclusive.push("how long a header may be: it did not answer".to_owned()),
        }
        if answers.served(Question::Garbage) {
            self.say("It served a connection whose header was malformed.");
        }
    }

    fn say_tls(&mut self, answers: &Answers<'_>, inquiry: &Inquiry) {
        if inquiry.tls == Tls::Implicit || !inquiry.protocol.is_mail() {
            return;
        }
        let offered = |question| answers.get(question).and_then(|asked| asked.abilities.clone());
        let (Some(clear), Some(secure)) = (offered(Question::V2), offered(Question::V2Ssl)) else {
            self.inconclusive
                .push("whether it heeds that the client used TLS: it did not answer both times".to_owned());
            return;
        };
        if clear == secure {
            return self.say("Whether the client used TLS makes no difference in what it offers.");
        }
        let Abilities { starttls, auth } = &secure;
        if clear.starttls != *starttls {
            let word = if *starttls { "offers" } else { "does not offer" };
            self.say(format!("To a client that used TLS it {word} STARTTLS."));
        }
        if clear.auth != *auth {
            let names = |auth: &[String]| if auth.is_empty() { "none".to_owned() } else { auth.join(" ") };
            self.say(format!(
                "Ways to log in: {} in clear text, {} over TLS.",
                names(&clear.auth),
                names(auth)
            ));
        }
    }

    fn say_forgery(&mut self, answers: &Answers<'_>) {
        let asked = answers.get(Question::V2).or_else(|| answers.get(Question::V1));
        let Some(from) = asked.and_then(|asked| asked.from) else { return };
        let reached =
            asked.and_then(|asked| asked.reached).map_or_else(String::new, |reached| reached.to_string());
        let from = from.ip().to_canonical();
        self.say(format!(
            "It accepted a header naming a documentation address from {from}: this host may speak for others. Whether \
             everybody may is proved only by a probe from an address that should not be trusted (`--source`, or \
             `truepeer probe {reached} --expect-closed` on another machine)."
        ));
        if self.expects == Expects::Optional {
            self.findings.push(Finding {
                class: Class::Forge,
                side: Side::Back,
                product: self.product,
                seen: format!("served from {from} without a header, and with one that names another client"),
                cause: "the server reads a header from anyone who sends one, so that everybody whom it serves from such an \
                        address can be anybody"
                    .into(),
                change: "let it require headers from the proxies alone, and give direct clients a port of their own; or \
                         let truepeer tell them apart"
                    .into(),
                confidence: Confidence::Likely,
            });
        }
    }

    /// What is found where nothing should have been believed.
    #[must_use]
    pub fn open(&self, from: &str) -> Option<Finding> {
        (self.forgeable == Forgeable::FromHere).then(|| Finding {
            class: Class::Forge,
            side: Side::Back,
            product: self.product,
            seen: format!("a header naming a documentation address, from {from}"),
            cause: "the server believed it from an address that should not be trusted: anyone who reaches this port can be \
                    any client, for SPF, bans, limits and relay rights alike"
                .into(),
            change: "restrict who can connect with a firewall, bind the port to loopback, or list the \
                     proxies where the server has such a list (Dovecot `haproxy_trusted_networks`, Exim `hosts_proxy`)"
                .into(),
            confidence: Confidence::Certain,
        })
    }
}

/// As people say it.
fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Who it says that it is, in any answer.
fn product(asked: &[Asked]) -> Option<Product> {
    const MAX_LOOK: usize = 2048;
    let says = |word: &[u8]| {
        asked.iter().any(|asked| {
            let said = asked.said.get(..MAX_LOOK).unwrap_or(&asked.said);
            said.windows(word.len()).any(|window| window == word)
        })
    };
    PRODUCTS.iter().find(|(word, _)| says(word)).map(|(_, product)| *product)
}

/// The first line of what was said, fit to be shown.
#[must_use]
pub fn first_line(said: &[u8]) -> String {
    let line = said.split(|byte| *byte == b'\n').next().unwrap_or_default();
    shown(line.strip_suffix(b"\r").unwrap_or(line), 80)
}
