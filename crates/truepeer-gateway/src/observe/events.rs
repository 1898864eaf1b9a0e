//! Every event: what lines of the log that are no records are about. `docs/metrics-and-logs.md` is made from it.
//!
//! Knowledge only; the code that says an event names it on the spot. A test holds this table to the code.

/// The name of each event, and what it says, in the order of the documentation.
pub const EVENTS: &[(&str, &str)] = &[
    ("connection", "a connection has ended: its record"),
    ("connected", "a connection has reached its backend, where `log.connections` is `\"both\"`"),
    ("connections_folded", "records of one cause that were counted instead of written"),
    ("demonstration", "no configuration was found: this serves no mail"),
    ("listening", "clients and proxies may connect to `address`"),
    ("health_served", "checks that send no header are answered at `address`"),
    ("status_served", "`/metrics` and readiness are served at `address`"),
    ("ready", "the start is over"),
    ("advice", "`key` is valid but surprising, or read at start only"),
    (
        "given_socket_unused",
        "the service manager gave a socket at `address` that no listener serves any more: clients wait there",
    ),
    ("reloaded", "the new configuration holds"),
    ("reload_failed", "the old configuration goes on; `cause` says what is wrong with the new one"),
    ("upgrading", "`program` is to take this process's place; it reads the configuration first"),
    (
        "handed_over",
        "the process `pid` serves from now on, with `version`; this one ends with its last connection",
    ),
    ("upgrade_failed", "this process goes on as before; `cause` says why no other one took its place"),
    (
        "predecessor_deaf",
        "the process that an upgrade has replaced still has connections, and does not answer",
    ),
    (
        "draining",
        "told to stop, or replaced: no new connections are accepted, and `open` ones may end by themselves",
    ),
    ("stopped", "the end; of the `open` connections, `done` ended by themselves and `cut` did not in time"),
    ("manager_unreachable", "the service manager could not be notified of our state"),
    ("worker_silent", "a worker does not answer: the service manager's watchdog is not notified meanwhile"),
    ("worker_recovered", "it answers again"),
    (
        "worker_failed",
        "the system no longer tells a worker which sockets are ready, and the worker ends; restart truepeer",
    ),
    (
        "chain_not_told",
        "a header names as its client a proxy that this listener trusts, too: once for each; `remedy` says what to do if clients come through both",
    ),
    ("backend_proved", "this address reads our header and is handed clients"),
    (
        "backend_proved_in_part",
        "this address takes clients of one address family only; those of the other hear a temporary refusal",
    ),
    (
        "program_not_ended",
        "a program of `handoff = \"exec\"` could not be sent a signal, so that a client that was denied keeps it; mostly it runs as another user, for which truepeer needs CAP_KILL",
    ),
    (
        "program_not_labelled",
        "the socket of a program of `handoff = \"exec\"` does not say its client, only its environment does, for the reason in `cause`; said once for a backend, and never with `exec.label = true`, with which no program is started then",
    ),
    (
        "program_said",
        "what a program of `handoff = \"exec\"` wrote to its standard error, line by line; `id` is that of its connection",
    ),
    (
        "backend_misreads",
        "a backend of which it is not proved that it reads our header answered the last 3 clients as a server does that takes it for its own protocol; said once until it answers otherwise",
    ),
    ("backend_mute", "a backend ended the last 10 clients without a byte; said once until it says something"),
    ("backend_unproven", "this address is handed clients, but cannot be asked whether it reads our header"),
    (
        "backend_ignores_header",
        "this address greets without a header and gets no clients: `remedy` names the setting",
    ),
    ("backend_refuses_header", "this address does not accept our header and gets no clients"),
    (
        "backend_refuses_handoff",
        "this address does not accept how we name the client, and gets no clients: `remedy` names the setting",
    ),
    (
        "backend_slow",
        "this address has not shown yet whether it reads our header; it is asked until it has, and gets no clients before",
    ),
    ("backend_unreachable", "no server answers at this address"),
    ("backend_not_asked", "this host lacks what a connection to the address needs: `cause` says what"),
    (
        "backend_name_unresolved",
        "a host name of the backend has no address now; the last good answer is kept",
    ),
    ("task_restarted", "a part of truepeer had panicked, which is a mistake of ours, and was restarted"),
    ("trusted_name_changed", "a trusted name stands for `addresses` from now on"),
    (
        "trusted_name_unresolved",
        "a trusted name has no good answer; the last one is kept, and before there was one it trusts no peer",
    ),
    ("trusted_name_recovered", "its last good answer was confirmed"),
    ("trusted_name_surprising", "a trusted name stands for an address that a proxy hardly has"),
    (
        "peer_habit",
        "what `peer` does again and again at `listener`: it sends headers and is not trusted, it is trusted and never sends one, or nearly all clients come from it; said at first, and at each tenfold `count`",
    ),
    (
        "tlvs_dropped",
        "facts about a client did not fit into the longest header that the backend takes; said once for each backend",
    ),
    ("listener_closed", "`address` is closed while no backend of the listener can be reached"),
    ("listener_opened", "a backend can be reached, and clients may connect to `address` again"),
    ("listener_blocked", "another program took `address` while it was closed; truepeer tries again"),
    ("listener_failed", "an address that was bound cannot be accepted from"),
    ("accept_paused", "`server.max-connections` is reached; said once a minute at most"),
    (
        "accept_failed",
        "the system refused to accept, such as for want of descriptors; said once until it recovers",
    ),
    ("accept_recovered", "accepting goes on"),
    (
        "denied",
        "`truepeer deny` keeps a network out, here or at the node that the ban names; `cut` connections ended",
    ),
    (
        "undenied",
        "`truepeer undeny` lets it in again; `node` is the front door where that was said, if another",
    ),
    ("ban_shortened", "another front door ends a ban sooner than it was to end: `before` says when that was"),
    (
        "shared_read",
        "everything that the store of `[shared]` holds was read: `denied` and `undenied` say what was new here, `told` how many bans the store had lost and knows again",
    ),
    ("shared_taken", "many bans of other front doors at once, and the connections that were cut"),
    ("shared_ended_early", "so many more bans were lifted or shortened at once than have a line each"),
    (
        "shared_lost",
        "the store of `[shared]` cannot be used, said once for each `trouble`; `known` says what holds meanwhile",
    ),
    (
        "shared_back",
        "the store of `[shared]` can be used again; `pending` orders of this front door go there now",
    ),
    (
        "shared_refused",
        "entries of the store that may not be, and that are not taken over: the first, tenth, hundredth of each `reason`",
    ),
    ("feed_taken", "many orders of a feed at once: how many of each kind, and the connections that were cut"),
    ("feed_refused", "orders of a feed that were refused: how many, and the `cause` of the first"),
    ("ban_lifted", "a ban would have hit a trusted network and was lifted"),
    ("ban_skipped", "lines of the state file that are no bans"),
    ("bans_not_kept", "the state file could not be written: bans end with the process"),
    ("lines_lost", "so many lines are missing here, since the log's destination did not take them"),
    ("log_recovered", "the log's destination failed for so many seconds and takes lines again"),
    ("log_not_reopened", "the log could not be moved to its new file and goes on where it was"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::EVENTS;
    use crate::facts::outcome::Outcome;

    /// Every source of the program but this one and tests.
    fn sources(folder: &Path, found: &mut Vec<String>) {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with("tests") || name == "events.rs" {
                continue;
            }
            if path.is_dir() {
                sources(&path, found);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.push(text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn every_event_of_the_program_is_in_the_table_and_no_other() {
        let mut found = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let named = |mark: &str| {
            let names = found.iter().flat_map(|text| text.split(mark).skip(1));
            names.map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let mut said: BTreeSet<String> = named("event = \"").into_iter().collect();
        said.extend(named("\"event\", \""));
        said.extend(named("key!(\"event\"), \""));
        // The one place that says events whose names come from elsewhere.
        let unnamed = found.iter().flat_map(|text| text.matches("!(event,")).count();
        assert_eq!(unnamed, 1, "an event without its name on the spot, besides the keeper's");
        said.extend(named("=> \"backend_").into_iter().map(|code| format!("backend_{code}")));
        said.retain(|name| !Outcome::ALL.iter().any(|outcome| outcome.facts().code == name));
        let table: BTreeSet<String> = EVENTS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(said, table);
        assert_eq!(EVENTS.len(), table.len(), "no event twice");
    }
}
