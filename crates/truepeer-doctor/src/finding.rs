//! The one form in which everything is said.
//!
//! Every command and the front door make findings of this type; `--json` prints one a line. Names are a promise.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use crate::Product;

/// One thing that is wrong, and what to do about it.
///
/// As JSON an object with exactly these seven names; `product` is null where it does not show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of misfit it is.
    pub class: Class,
    /// Who has to change something.
    pub side: Side,
    /// Whose configuration is to be changed, or whose words were seen.
    pub product: Option<Product>,
    /// What was seen, as [`excerpt`](crate::excerpt) shows it.
    pub seen: String,
    /// Why it is so, in a sentence.
    pub cause: Cow<'static, str>,
    /// The line or command, ready to paste, with where it belongs.
    pub change: Cow<'static, str>,
    /// How sure this is.
    pub confidence: Confidence,
}

/// The kinds of misfit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Class {
    /// A header is expected and none comes.
    Miss,
    /// A header is sent and not expected.
    Unex,
    /// The connecting hop is not the one that is trusted.
    Hop,
    /// A list or key does not mean what was typed.
    Syn,
    /// One port for proxied and direct peers.
    Mix,
    /// A proxy treated as a client, or a client as a proxy.
    Ban,
    /// Order or status of TLS.
    Tls,
    /// Address families.
    Fam,
    /// The switch of the wrong side or direction.
    Dir,
    /// A port's identity is lost.
    Port,
    /// The evidence is missing or misleading.
    See,
    /// The HTTP layer taken for this one.
    Xff,
    /// Forged, repeated or chained headers.
    Forge,
}

impl Class {
    /// Every class, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Miss,
        Self::Unex,
        Self::Hop,
        Self::Syn,
        Self::Mix,
        Self::Ban,
        Self::Tls,
        Self::Fam,
        Self::Dir,
        Self::Port,
        Self::See,
        Self::Xff,
        Self::Forge,
    ];

    /// The name, the same in text and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Miss => "MISS",
            Self::Unex => "UNEX",
            Self::Hop => "HOP",
            Self::Syn => "SYN",
            Self::Mix => "MIX",
            Self::Ban => "BAN",
            Self::Tls => "TLS",
            Self::Fam => "FAM",
            Self::Dir => "DIR",
            Self::Port => "PORT",
            Self::See => "SEE",
            Self::Xff => "XFF",
            Self::Forge => "FORGE",
        }
    }

    /// What it means, in words for a person.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Miss => "a header is expected and none comes",
            Self::Unex => "a header is sent and not expected",
            Self::Hop => "the connecting hop is not the one that is trusted",
            Self::Syn => "a list or key does not mean what was typed",
            Self::Mix => "one port for proxied and direct peers",
            Self::Ban => "a proxy treated as a client, or a client as a proxy",
            Self::Tls => "order or status of TLS",
            Self::Fam => "address families",
            Self::Dir => "the switch of the wrong side or direction",
            Self::Port => "a port's identity is lost",
            Self::See => "the evidence is missing or misleading",
            Self::Xff => "the HTTP layer taken for this one",
            Self::Forge => "forged, repeated or chained headers",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who has to change something, seen from the client: the front comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The sender of headers: proxy, balancer, tunnel.
    Front,
    /// The receiver of headers: the server, or the next proxy.
    Back,
    /// What lies between: address translation, routes, firewalls.
    Network,
    /// Both have to be changed together.
    Both,
}

impl Side {
    /// The name, the same in text and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Back => "back",
            Self::Network => "network",
            Self::Both => "both",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How sure a finding is; the surest is the least, so that sorting puts it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// What was seen has this one meaning.
    Certain,
    /// It usually has this meaning.
    Likely,
    /// It may have this meaning, and others.
    Possible,
}

impl Confidence {
    /// The name, the same in text and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Possible => "possible",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Puts the best findings first; those that are alike stay in the order in which they were found.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| finding.confidence);
}

/// Several lines for a person: what it is, what was seen, why, and what to change.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, side, product, seen, cause, change, confidence } = self;
        let place = match side {
            Side::Front => "at the front",
            Side::Back => "at the back",
            Side::Network => "in the network between",
            Side::Both => "on both sides",
        };
        write!(f, "{class} ({confidence}), to change {place}")?;
        if let Some(product) = product {
            write!(f, ": {}", product.title())?;
        }
        if !seen.is_empty() {
            write!(f, "\n  seen:   {seen}")?;
        }
        write!(f, "\n  cause:  {cause}\n  change: {change}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(confidence: Confidence, seen: &str) -> Finding {
        Finding {
            class: Class::Miss,
            side: Side::Front,
            product: None,
            seen: seen.to_owned(),
            cause: "because".into(),
            change: "a line".into(),
            confidence,
        }
    }

    #[test]
    fn json_has_exactly_the_seven_names_in_their_order() {
        let mut found = finding(Confidence::Likely, "EHLO \"x\"");
        assert_eq!(
            serde_json::to_string(&found).unwrap(),
            r#"{"class":"MISS","side":"front","product":null,"seen":"EHLO \"x\"","cause":"because","change":"a line","confidence":"likely"}"#
        );
        found.product = Some(Product::Haproxy);
        assert!(serde_json::to_string(&found).unwrap().contains(r#""product":"haproxy""#));
    }

    #[test]
    fn names_in_json_are_those_in_text() {
        for class in Class::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.name());
        }
        for side in [Side::Front, Side::Back, Side::Network, Side::Both] {
            assert_eq!(serde_json::to_value(side).unwrap(), side.name());
        }
        for confidence in [Confidence::Certain, Confidence::Likely, Confidence::Possible] {
            assert_eq!(serde_json::to_value(confidence).unwrap(), confidence.name());
        }
    }

    #[test]
    fn the_surest_comes_first_and_equals_keep_their_order() {
        let mut found = [
            finding(Confidence::Possible, "a"),
            finding(Confidence::Certain, "b"),
            finding(Confidence::Likely, "c"),
            finding(Confidence::Certain, "d"),
        ];
        sort(&mut found);
        assert_eq!(found.map(|finding| finding.seen), ["b", "d", "c", "a"]);
    }
}
