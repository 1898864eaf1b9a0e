//! What is wrong with the store, in the closed list of the rooms.

use std::fmt;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::rooms::bans::shared::StoreTrouble;

/// Why something could not be asked of the store.
#[derive(Debug, Clone)]
pub(super) struct StoreError {
    pub(super) trouble: StoreTrouble,
    pub(super) cause: String,
}

impl StoreError {
    /// It was too slow.
    pub(super) fn silent(patience: Duration) -> Self {
        let cause = format!("no answer within {} s", patience.as_secs());
        Self { trouble: StoreTrouble::Silent, cause }
    }

    /// It answered what it should not.
    pub(super) fn odd() -> Self {
        let cause =
            "the answer has another form than expected: does another program use these keys?".to_owned();
        Self { trouble: StoreTrouble::Other, cause }
    }

    /// A connection could not be made.
    pub(super) fn connecting(error: &RedisError) -> Self {
        let cause = error.to_string();
        let trouble = match error.kind() {
            // Of TLS the library says no more than that the connection is invalid.
            ErrorKind::Io if is_about_tls(&cause) => StoreTrouble::Tls,
            ErrorKind::InvalidClientConfig => StoreTrouble::Tls,
            _ => trouble(error),
        };
        Self { trouble, cause: one_line(&cause) }
    }

    /// A question was not answered well.
    pub(super) fn asking(error: &RedisError) -> Self {
        Self { trouble: trouble(error), cause: one_line(&error.to_string()) }
    }

    /// Whether the connection is good for reading on.
    pub(super) fn is_about_writing(&self) -> bool {
        self.trouble == StoreTrouble::Full
    }
}

fn trouble(error: &RedisError) -> StoreTrouble {
    if error.is_timeout() {
        return StoreTrouble::Silent;
    }
    match error.kind() {
        ErrorKind::Io => StoreTrouble::Unreachable,
        ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => {
            StoreTrouble::Password
        }
        ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::ClusterConnectionNotFound => {
            StoreTrouble::NotMaster
        }
        ErrorKind::Server(
            ServerErrorKind::ReadOnly
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            // Of a cluster: who has the keys is away, or they are on their way. Of a server: it is one of a cluster.
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain,
        ) => StoreTrouble::NotMaster,
        _ => match error.code() {
            Some("WRONGPASS" | "NOAUTH") => StoreTrouble::Password,
            Some("OOM" | "MISCONF" | "NOREPLICAS") => StoreTrouble::Full,
            Some("LATE") => StoreTrouble::Silent,
            _ => by_words(&error.to_string()),
        },
    }
}

/// A script's error is passed on with words of its own around it.
fn by_words(text: &str) -> StoreTrouble {
    let has = |word: &str| text.contains(word);
    if has("OOM") || has("MISCONF") || has("NOREPLICAS") {
        StoreTrouble::Full
    } else if has("READONLY") {
        StoreTrouble::NotMaster
    } else if has("NOAUTH") || has("NOPERM") || has("WRONGPASS") {
        StoreTrouble::Password
    } else {
        StoreTrouble::Other
    }
}

fn is_about_tls(text: &str) -> bool {
    ["certificate", "Certificate", "TLS", "tls", "corrupt message", "InvalidContentType", "handshake"]
        .iter()
        .any(|word| text.contains(word))
}

fn one_line(text: &str) -> String {
    const LONGEST: usize = 300;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for StoreError {}
