//! How a connection ended early, and why: what the steps of the walk return, and one observer notes.

use truepeer::Endpoint;

use crate::facts::outcome::Outcome;
use crate::rooms::record::{Record, RefusedBy};

/// How it was found out whom a connection is for, however that went.
#[derive(Debug, Default)]
pub struct Way {
    /// Listed proxies that headers named before the last one, the nearest first.
    pub hops: Vec<Endpoint>,
    /// Whether a trusted peer is taken for the client itself, since no header came.
    pub presumed: bool,
}

/// An early end.
#[derive(Debug)]
pub struct Ended {
    /// Which.
    pub outcome: Outcome,
    /// What there is to say of it. In a box, since most connections have none.
    pub why: Option<Box<Explanation>>,
}

/// What a record says of a misfit, a refusal, or a limit that would have refused.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The kind of rule that the client was refused by.
    pub refusal: Option<RefusedBy>,
    /// The rule itself: a line of a list with its place, a ban, or a code.
    pub rule: Option<Box<str>>,
    /// The limit that would have refused it, were it enforced.
    pub would_refuse: Option<RefusedBy>,
    /// What came where a header was due, escaped and cut; only where no identity was reached.
    pub seen: Option<Box<str>>,
    /// The likely cause in words.
    pub cause: Option<String>,
    /// What to change, and on which side, if there is something.
    pub remedy: Option<String>,
}

/// That of a connection of which there is nothing to say.
static NOTHING: Explanation =
    Explanation { refusal: None, rule: None, would_refuse: None, seen: None, cause: None, remedy: None };

impl Explanation {
    /// A cause, and what to change.
    #[must_use]
    pub fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::cause(cause, Some(remedy.into()))
    }

    /// A cause for which there may be nothing to change.
    #[must_use]
    pub fn cause(cause: impl Into<String>, remedy: Option<String>) -> Self {
        Self { cause: Some(cause.into()), remedy, ..Self::default() }
    }

    /// A refusal by `rule`, in its own words where it has some.
    #[must_use]
    pub fn refused(self, refusal: RefusedBy, rule: Option<String>) -> Self {
        let rule = rule.map_or_else(|| refusal.code().into(), String::into_boxed_str);
        Self { refusal: Some(refusal), rule: Some(rule), ..self }
    }

    /// As the reason for an early end.
    #[must_use]
    pub fn ends(self, outcome: Outcome) -> Ended {
        Ended { outcome, why: Some(Box::new(self)) }
    }
}

impl From<Outcome> for Ended {
    /// An end that its outcome says all of.
    fn from(outcome: Outcome) -> Self {
        Self { outcome, why: None }
    }
}

impl Record {
    /// Notes what there is to say. What is absent in `new` stays as it is; a cause brings its remedy, or that there is
    /// none.
    pub fn explained(&mut self, new: Explanation) {
        let known = &mut self.rare.get_or_insert_default().why;
        let Explanation { refusal, rule, would_refuse, seen, cause, remedy } = new;
        known.refusal = refusal.or(known.refusal);
        known.would_refuse = would_refuse.or(known.would_refuse);
        known.rule = rule.or(known.rule.take());
        known.seen = seen.or(known.seen.take());
        if cause.is_some() || (known.cause.is_none() && remedy.is_some()) {
            (known.cause, known.remedy) = (cause, remedy);
        }
    }

    /// What there is to say, all of it absent where there is nothing.
    #[must_use]
    pub fn explanation(&self) -> &Explanation {
        self.rare.as_deref().map_or(&NOTHING, |rare| &rare.why)
    }

    /// The same, taken out.
    #[must_use]
    pub fn take_explanation(&mut self) -> Explanation {
        self.rare.as_mut().map(|rare| std::mem::take(&mut rare.why)).unwrap_or_default()
    }
}
