//! The form in which the commands here say what is wrong.
//!
//! The names are those that every finding has, in text and in JSON.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Value, json};

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of misfit it is.
    pub class: Class,
    /// Who has to change something.
    pub side: Side,
    /// Whose configuration is to be changed, where it shows.
    pub product: Option<&'static str>,
    /// What was seen.
    pub seen: String,
    /// Why it is so.
    pub cause: Cow<'static, str>,
    /// The line or command.
    pub change: Cow<'static, str>,
    /// How sure this is.
    pub confidence: Confidence,
}

/// The kinds of misfit that are found here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A header is expected and none comes.
    Miss,
    /// A header is sent and not expected, or not in this form.
    Unex,
    /// The connecting hop is not the one that is trusted.
    Hop,
    /// Address families.
    Fam,
    /// The header or its switch is not written as it should be.
    Syn,
    /// Order or status of TLS.
    Tls,
    /// Forged, repeated or chained headers.
    Forge,
}

/// Who has to change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The sender of headers.
    Front,
    /// The receiver of headers.
    Back,
    /// Both.
    Both,
}

/// How sure a finding is; the surest is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// What was seen has this one meaning.
    Certain,
    /// It usually has this meaning.
    Likely,
    /// It may have this meaning, and others.
    Possible,
}

impl Finding {
    /// An object with the seven names of a finding.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "class": self.class.name(),
            "side": self.side.name(),
            "product": self.product,
            "seen": self.seen,
            "cause": self.cause,
            "change": self.change,
            "confidence": self.confidence.name(),
        })
    }
}

impl Class {
    /// The name, the same in text and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Miss => "MISS",
            Self::Unex => "UNEX",
            Self::Hop => "HOP",
            Self::Fam => "FAM",
            Self::Syn => "SYN",
            Self::Tls => "TLS",
            Self::Forge => "FORGE",
        }
    }
}

impl Side {
    /// The name, the same in text and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Back => "back",
            Self::Both => "both",
        }
    }
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

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.side {
            Side::Front => "at the front",
            Side::Back => "at the back",
            Side::Both => "on both sides",
        };
        write!(f, "{} ({}), to change {place}", self.class.name(), self.confidence.name())?;
        if let Some(product) = self.product {
            write!(f, ": {product}")?;
        }
        if !self.seen.is_empty() {
            write!(f, "\n  seen:   {}", self.seen)?;
        }
        write!(f, "\n  cause:  {}\n  change: {}", self.cause, self.change)
    }
}
