//! Tables and the list of what is to be done. Each has a budget of bytes, so that the whole page has one.

use maud::{Markup, PreEscaped, html};

use super::charts::spark;
use crate::control::page::sight::{About, Behind, Front, Mood, Proxy, Refused, Sight, Todo};
use crate::control::page::words::{clock, count, date, of, share, time};
use crate::facts::journey::Room;
use crate::observe::turned_away::Addresses;

/// As many of `items` as fit into `budget` bytes, and how many do not.
fn within<T>(items: &[T], budget: usize, draw: impl Fn(&T) -> Markup) -> (Markup, u64) {
    let mut drawn = String::new();
    let mut left = items.iter();
    for item in left.by_ref() {
        let next = draw(item).into_string();
        if drawn.len().saturating_add(next.len()) > budget {
            return (PreEscaped(drawn), u64::try_from(left.count()).unwrap_or_default().saturating_add(1));
        }
        drawn.push_str(&next);
    }
    (PreEscaped(drawn), 0)
}

/// What does not fit is said to be elsewhere.
fn more(left: u64, columns: u8, place: &str) -> Markup {
    html! {
        @if left > 0 { tr { td.dim colspan=(columns) { "and " (count(left)) " more: " code { (place) } } } }
    }
}

/// Nothing is to be seen, which is to be seen.
fn none(columns: u8, words: &str) -> Markup {
    html! { tr { td.dim colspan=(columns) { (words) } } }
}

pub(super) fn todo(sight: &Sight) -> Markup {
    let (items, left) = within(&sight.todo, 6_000, one_todo);
    html! {
        @if sight.todo.is_empty() {
            p.well { "Nothing to do: every backend takes clients as it should, no peer is conspicuous, and nothing in the configuration surprises." }
        } @else {
            ul.todo { (items) }
            @if left > 0 { p.dim { "and " (count(left)) " more: " code { "truepeer status" } } }
        }
    }
}

fn one_todo(todo: &Todo) -> Markup {
    let (class, about) = match &todo.about {
        About::Backend(_) => ("sick", "backend"),
        About::Listener => ("sick", "listener"),
        About::Peer => ("odd", "listener"),
        About::Name => ("odd", "trusted name"),
        About::Setting => ("", "setting"),
    };
    html! {
        li class=[(!class.is_empty()).then_some(class)] {
            span.dim { (about) " " }
            b { (todo.place) }
            p { (prose(&todo.what)) }
            @if !todo.change.is_empty() { p.change { (prose(&todo.change)) } }
        }
    }
}

pub(super) fn refused(refused: &[Refused]) -> Markup {
    let (rows, left) = within(refused, 11_000, one_refused);
    html! {
        @if refused.is_empty() { (none(3, "Nobody in the last hour.")) }
        (rows)
        (more(left, 3, "truepeer_ended_connections_total in /metrics"))
    }
}

fn one_refused(refused: &Refused) -> Markup {
    let facts = refused.outcome.facts();
    // Who is not identified is not known; then the peer is counted.
    let (one, many) = match refused.room {
        Room::Accept | Room::Trust | Room::Identify => ("peer", "peers"),
        _ => ("client", "clients"),
    };
    let from = match refused.addresses {
        Addresses::Exactly(0) => "a UNIX socket".to_owned(),
        Addresses::Exactly(known) => of(u64::try_from(known).unwrap_or_default(), one, many),
        Addresses::MoreThan(known) => format!("more than {known} {many}"),
    };
    html! {
        tr {
            td.many {
                b { (count(refused.count)) }
                (spark(&refused.minutes))
                span.dim { "from " (from) br; "last " (clock(refused.last)) }
            }
            th scope="row" {
                (sentence(refused.title))
                p.dim {
                    code { (facts.code) } " · " (refused.room.name()) " · " (refused.listener)
                    @if let Some(rule) = &refused.rule { " · " (rule) }
                }
            }
            td {
                @if let Some(cause) = &refused.cause { p { span.dim { "The latest: " } (prose(cause)) } }
                @if let Some(seen) = &refused.seen { p { span.dim { "Seen: " } code { (seen) } } }
                p.change { (prose(&refused.change)) }
            }
        }
    }
}

/// Text in which what stands between backticks is to be typed.
fn prose(text: &str) -> Markup {
    html! {
        @for (number, part) in text.split('`').enumerate() {
            @if number % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A sentence of the table of outcomes, as one that stands alone.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn mood(mood: Mood, word: &str) -> Markup {
    let (class, sign) = match mood {
        Mood::Well => ("well", "●"),
        Mood::Unknown => ("odd", "○"),
        Mood::Sick => ("sick", "▲"),
    };
    html! { span class=(class) { span aria-hidden="true" { (sign) } " " (word) } }
}

pub(super) fn backends(backends: &[Behind]) -> Markup {
    let (rows, left) = within(backends, 6_000, |one| {
        html! {
            tr {
                th scope="row" { (one.backend) }
                td { (one.protocol) ", " (one.handoff) }
                td { code { (one.address) } }
                td { (mood(one.mood, &one.readiness.replace('_', " ")))
                    @if let Some(since) = one.since { span.dim { " since " (date(since)) } }
                    @if let Some(why) = &one.why { p.dim { (prose(why)) } }
                }
                td.n { @if let Some(latency) = one.latency { (time(latency)) } @else { "–" } }
            }
        }
    });
    html! {
        @if backends.is_empty() { (none(5, "No address of a backend is known yet.")) }
        (rows) (more(left, 5, "truepeer status"))
    }
}

pub(super) fn listeners(listeners: &[Front]) -> Markup {
    let (rows, left) = within(listeners, 5_500, |one| {
        let [direct, v1, v2] = one.sources;
        let all = direct.saturating_add(v1).saturating_add(v2);
        let trusted = match (one.networks, one.names) {
            (0, 0) => "nobody".to_owned(),
            (networks, names) => {
                let say = |number, one, many| of(u64::try_from(number).unwrap_or_default(), one, many);
                let networks = (networks > 0).then(|| say(networks, "network", "networks"));
                let names = (names > 0).then(|| say(names, "name", "names"));
                networks.into_iter().chain(names).collect::<Vec<_>>().join(", ")
            }
        };
        html! {
            tr {
                th scope="row" { (one.listener) p.dim { (one.protocol) " to " (one.backends.join(", ")) } }
                td { @for address in &one.addresses { code { (address) } " " } }
                td { (mood(one.mood, one.state)) }
                td.n { (count(one.open)) }
                td { (trusted) }
                td.n { (count(u64::try_from(one.proxies).unwrap_or_default())) }
                td.n { (share(v2, all)) } td.n { (share(v1, all)) } td.n { (share(direct, all)) }
                td.n { (share(one.tls.0, one.tls.1)) }
            }
        }
    });
    html! { (rows) (more(left, 10, "truepeer status")) }
}

pub(super) fn proxies(proxies: &[Proxy]) -> Markup {
    let (rows, left) = within(proxies, 3_000, |one| {
        let all = one.v1.saturating_add(one.v2);
        html! {
            tr {
                th scope="row" { code { (one.peer) } }
                td { (one.listener) }
                td.n { (count(all)) }
                td.n { (share(one.v2, all)) }
                td.n { (share(one.v1, all)) }
                td.n { (share(one.tls, all)) }
            }
        }
    });
    html! {
        @if proxies.is_empty() { (none(6, "No header has come yet.")) }
        (rows) (more(left, 6, "truepeer connections"))
    }
}
