//! Programs of Debian 13 on an older system: `interop/install-newer` unpacks them, and each has that tree as its root.
//!
//! Called by the servers that have a newer release there. It must not know what they are for.

use std::path::Path;
use std::process::Command;

use crate::servers::{fetched_dir, find, find_fetched, need_root};
use crate::verdict::Result;

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// This system's own, or one that is unpacked beside it and made for it.
    Ours,
    /// Debian 13's.
    Newer,
}

/// A program of this release, to be started for the instance below `dir`.
pub(crate) fn tool(release: Release, dir: &Path, name: &'static str) -> Result<Command> {
    match release {
        Release::Ours => Ok(Command::new(find(name)?)),
        Release::Newer => command(dir, name),
    }
}

/// A program of the tree, such as `postfix`, for which the run's own directory is where it is for us. What it
/// keeps in compiled-in places is its own, and empty at its start; all of that ends with it.
pub(crate) fn command(dir: &Path, program: &str) -> Result<Command> {
    const ENTER: &str = "set -e; tree=$1; shared=$2; shift 2; \
        mount --rbind /proc \"$tree/proc\"; \
        for own in run var/run tmp var/spool; do mount -t tmpfs none \"$tree/$own\"; done; \
        mkdir -m 711 \"$tree/var/spool/smtpd\"; mkdir -p \"$tree$shared\"; mount --bind \"$shared\" \"$tree$shared\"; \
        exec chroot \"$tree\" \"$@\"";
    need_root("a program of Debian 13")?;
    // The last file that is written there.
    find_fetched("debian-13/etc/passwd")?;
    let mut command = Command::new(find("unshare")?);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.args(["--mount", "sh", "-c", ENTER, "enter"]).arg(fetched_dir().join("debian-13"));
    // Certificates lie beside the servers' directories.
    command.arg(dir.parent().unwrap_or(dir)).arg(program);
    Ok(command)
}
