//! Settings of the end: how long connections may go on that are open then.

use std::time::Duration;

use crate::config::setting::{Default, Sample, Scope, Setting, Shape};

pub(in crate::config) const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// A mailbox may be watched for hours, and more than a few old processes at once are not wanted.
pub(in crate::config) const UPGRADE_DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

pub(in crate::config) static DRAIN_TIMEOUT: Setting = Setting {
    scope: Scope::Server,
    name: "drain-timeout",
    shape: Shape::Duration { floor: Duration::ZERO, why: "" },
    default: Default::Duration(DRAIN_TIMEOUT_DEFAULT),
    docs: "How long open connections may go on after SIGTERM before they are closed.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static UPGRADE_DRAIN_TIMEOUT: Setting = Setting {
    scope: Scope::Server,
    name: "upgrade-drain-timeout",
    shape: Shape::Duration { floor: Duration::ZERO, why: "" },
    default: Default::Duration(UPGRADE_DRAIN_TIMEOUT_DEFAULT),
    docs: "How long open connections may go on in the process before, once `truepeer upgrade` has handed over to another one.\n\
           That process accepts nobody any more and ends with its last connection; this is only for those that never end.",
    sample: Sample::CommentDefault,
};
