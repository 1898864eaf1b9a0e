//! What is said beside our configuration: each a line's own story, none of them left out.

use std::fmt;

use truepeer_doctor::stalwart::Position;

/// One thing to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Beside what of our configuration it stands.
    pub section: Section,
    /// Where it comes from.
    pub(super) place: Option<Position>,
    /// The key or entry that it is about.
    pub key: String,
    /// Of which kind it is.
    pub kind: NoteKind,
    /// The story.
    pub text: String,
}

/// What a note tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKind {
    /// Here it means something else than there.
    Meaning,
    /// There it never meant what it looks like.
    Stalwart,
    /// It is not in our configuration, and a person has to decide.
    Left,
    /// It is about what goes on in Stalwart as before.
    Stays,
    /// It is not known here.
    Unknown,
}

/// A part of our configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Section {
    /// `[server]`
    Server,
    /// `[server.proxy]`
    Proxy,
    /// `[server.listener.<id>]`
    Listener(String),
    /// `[access]`
    Access,
    /// None: at the end.
    End,
}

impl Note {
    /// The line it comes from.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self.place {
            Some(Position::Line(line)) => Some(line),
            _ => None,
        }
    }

    /// The object it comes from.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        match &self.place {
            Some(Position::Object(name)) => Some(name),
            _ => None,
        }
    }
}

impl NoteKind {
    /// The word in comments and in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Meaning => "meaning",
            Self::Stalwart => "stalwart",
            Self::Left => "left-out",
            Self::Stays => "stays",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}, ")?;
        }
        let head = match self.kind {
            NoteKind::Meaning => "MEANING CHANGES: ",
            NoteKind::Left => "LEFT OUT: ",
            NoteKind::Stalwart | NoteKind::Stays | NoteKind::Unknown => "",
        };
        write!(f, "{}: {head}{}", self.key, self.text)
    }
}
