//! Addresses that a reload wants for something else than what they serve now: the new socket cannot be had before the
//! old one is given up, and nothing is given up before everything new is there.
//!
//! Pure; asked by the reload, so that nobody looks for another program that has the address.

use crate::facts::bind::Bind;

/// An address with the setting that names it.
type Bound = (String, Bind);

/// What `wanted` has in a place that `served` holds in another way, as a sentence; `None` if nothing.
pub(super) fn conflict(served: &[Bound], wanted: &[Bound]) -> Option<String> {
    wanted.iter().find_map(|(key, bind)| {
        let is_kept = |(old, at): &Bound| purpose(old) == purpose(key) && at.is_same_place(bind);
        if served.iter().any(is_kept) {
            return None;
        }
        let goes = |old: &Bound| {
            !wanted.iter().any(|(key, at)| purpose(key) == purpose(&old.0) && at.is_same_place(&old.1))
        };
        let (old, at) = served.iter().find(|old| old.1.overlaps(bind) && goes(old))?;
        Some(format!(
            "{key}: {bind} is not free before {old} gives up {at}, which this truepeer listens on: leave {bind} out, reload, then add it and reload again; or restart"
        ))
    })
}

/// Listeners may pass their addresses on to one another; those of another purpose have other sockets.
fn purpose(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(of, setting)| if of.starts_with("server.") { setting } else { key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::bind::Families;

    fn at(key: &str, addr: &str) -> Bound {
        let families = if addr.starts_with("[::]") { Families::Both } else { Families::Own };
        (key.to_owned(), Bind::Tcp { addr: addr.parse().unwrap(), families })
    }

    fn says(served: (&str, &str), wanted: (&str, &str)) -> Option<String> {
        conflict(&[at(served.0, served.1)], &[at(wanted.0, wanted.1)])
    }

    #[test]
    fn what_one_socket_cannot_give_to_another_is_named() {
        let (bind, health) = ("server.listener.a.bind", "server.listener.a.health-bind");
        for (served, wanted) in [
            ((bind, "127.0.0.1:25"), (health, "127.0.0.1:25")),
            ((health, "127.0.0.1:25"), ("status.bind", "127.0.0.1:25")),
            (("status.bind", "[::1]:25"), (bind, "[::1]:25")),
            ((bind, "0.0.0.0:25"), (bind, "127.0.0.1:25")),
            ((bind, "127.0.0.1:25"), (bind, "[::]:25")),
        ] {
            let said = says(served, wanted).unwrap_or_default();
            for part in [wanted.0, wanted.1, served.0, "this truepeer listens on"] {
                assert!(said.contains(part), "{part} in {said:?}");
            }
        }
    }

    #[test]
    fn what_stays_or_is_free_is_no_conflict() {
        let (bind, other) = ("server.listener.a.bind", "server.listener.b.bind");
        for (served, wanted) in [
            ((bind, "127.0.0.1:25"), (other, "127.0.0.1:25")),
            ((bind, "127.0.0.1:25"), ("status.bind", "127.0.0.2:25")),
            ((bind, "127.0.0.1:0"), ("status.bind", "127.0.0.1:0")),
            ((bind, "0.0.0.0:25"), ("status.bind", "[::1]:25")),
            (("status.bind", "127.0.0.1:25"), ("status.bind", "127.0.0.1:25")),
        ] {
            assert_eq!(says(served, wanted), None);
        }
        assert_eq!(purpose("admin.socket"), "admin.socket");
    }
}
