//! The page as HTML: one document, and the parts of it that news replace. Pure: values in, text out.
//!
//! `maud` escapes every value; nothing here is said to be escaped that is not ours.

mod charts;
mod journey;
mod tables;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::sight::{Sight, State};
use super::words;
use crate::config::StatusPage;

/// Version of the document; a page that hears of another one loads itself again.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// What may run and be fetched: this style, this script, and news from here. The hashes are those of the two files.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'sha256-39wUyfxpQCTe+0f1rJ4nnvMyZtmA7Rtl3tTG+tjTKKc='; script-src 'sha256-INJYKgj0VwniTKZZU6nBblYDopz2M7OO/c5TeDZjJRs='; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The parts that news replace, each with its id.
pub(super) type Parts = Vec<(&'static str, String)>;

/// All parts, as they are now.
pub(super) fn parts(sight: &Sight) -> Parts {
    let mut parts = vec![
        ("state", state(sight)),
        ("todo", tables::todo(sight)),
        ("rooms", journey::picture(&sight.rooms)),
        ("room-rows", journey::rows(&sight.rooms)),
        ("refused", tables::refused(&sight.refused)),
        ("charts", charts::charts(&sight.minutes)),
        ("backends", tables::backends(&sight.backends)),
        ("listeners", tables::listeners(&sight.listeners)),
    ];
    if sight.page == StatusPage::WithAddresses {
        parts.push(("proxies", tables::proxies(&sight.proxies)));
    }
    parts.into_iter().map(|(id, part)| (id, part.into_string())).collect()
}

/// The document with `parts` in their places.
pub(super) fn document(sight: &Sight, parts: &Parts) -> String {
    let part = |id: &str| {
        let found = parts.iter().find(|(other, _)| *other == id);
        PreEscaped(found.map_or("", |(_, part)| part.as_str()))
    };
    let whole = html! {
        (DOCTYPE)
        html lang="en" data-version=(VERSION) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { "truepeer" @if !sight.host.is_empty() { " on " (sight.host) } }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to what to look at" }
                header {
                    h1 { "truepeer" span.dim { @if !sight.host.is_empty() { " on " (sight.host) } } }
                    div #state role="status" { (part("state")) }
                    nav aria-label="On this page" {
                        @for (id, title) in sections(sight.page) { a href={ "#" (id) } { (title) } " " }
                    }
                }
                main #main tabindex="-1" { (sections_of(sight, &part)) }
                footer {
                    p #live { "This page is as it was at " (words::date(sight.at)) " UTC; load it again for news." }
                    p.dim {
                        "Times are in UTC. " code { "ADDRESS" } " stands for an address that this page does not show: the log has it as " code { "client=" } " or " code { "peer=" } ", and " code { "truepeer top" } " shows it. "
                        "More is said by " code { "truepeer status" } ", and by " code { "/metrics" } " to programs. "
                        "truepeer " (VERSION) ", running since " (words::date(sight.since)) "."
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    whole.into_string()
}

fn sections(page: StatusPage) -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = [
        ("look-at", "Look at this"),
        ("journey", "Journey"),
        ("turned-away", "Turned away"),
        ("hour", "Last hour"),
        ("behind", "Backends"),
        ("front", "Listeners"),
        ("senders", "Proxies"),
    ];
    all.into_iter().filter(move |(id, _)| *id != "senders" || page == StatusPage::WithAddresses)
}

fn sections_of<'a>(sight: &Sight, part: &impl Fn(&str) -> PreEscaped<&'a str>) -> Markup {
    html! {
        (section("look-at", "Look at this", None, &html! { div #todo { (part("todo")) } }))
        (section(
            "journey",
            "The journey of a connection",
            Some("Each column is a question that every connection is asked, in this order. Above its band: how many came that far in the last minute. Below it, in red: how many were turned away there in the last hour."),
            &html! {
                div #rooms { (part("rooms")) }
                details {
                    summary { "The same as a table" }
                    (table("room-rows", "What passed and what was turned away in each room", &["Room", "Question", "#Passed in the last minute (relay: open now)", "#Turned away in the last hour"], part("room-rows")))
                }
            },
        ))
        (section(
            "turned-away",
            "Turned away, by cause",
            Some("In the last hour, or since the start if that is later, most first: how many, what happened, and what to change. A bar for each minute, the present one at the right."),
            &table("refused", "Refusals of the last hour by cause", &["How many", "What happened", "Why, and what to change"], part("refused")),
        ))
        (section("hour", "The last hour", Some("One column for each minute, the latest at the right."), &html! {
            div #charts { (part("charts")) }
        }))
        (section("behind", "Backends", None, &table(
            "backends", "Addresses of backends with what is known of them",
            &["Backend", "Protocol, handoff", "Address", "State", "#Connect and handoff"], part("backends"),
        )))
        (section("front", "Listeners", Some("Proxies: peers whose headers were believed. v2, v1 and direct: how clients came, since the start. TLS: the clients of whom a header tells it."), &table(
            "listeners", "Listeners with their trusted networks and what their proxies tell",
            &["Listener", "Address", "State", "#Open", "Trusted", "#Proxies", "#v2", "#v1", "#Direct", "#TLS"], part("listeners"),
        )))
        @if sight.page == StatusPage::WithAddresses {
            (section("senders", "Proxies", Some("Peers whose headers were believed."), &table(
                "proxies", "Proxies with the versions of their headers",
                &["Proxy", "Listener", "#Clients", "#v2", "#v1", "#TLS"], part("proxies"),
            )))
        }
    }
}

fn section(id: &str, title: &str, note: Option<&str>, body: &Markup) -> Markup {
    html! {
        section #(id) aria-labelledby={ "h-" (id) } {
            h2 #{ "h-" (id) } { (title) }
            @if let Some(note) = note { p.note { (note) } }
            (body)
        }
    }
}

/// A table that can be scrolled by keyboard where the window is narrow; a column of numbers is named with a `#`.
fn table(id: &str, caption: &str, columns: &[&str], rows: PreEscaped<&str>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table class=(id) {
                caption { (caption) }
                thead { tr {
                    @for column in columns {
                        @match column.strip_prefix('#') {
                            Some(number) => th.n scope="col" { (number) },
                            None => th scope="col" { (column) },
                        }
                    }
                } }
                tbody #(id) { (rows) }
            }
        }
    }
}

fn state(sight: &Sight) -> Markup {
    let (class, sign, words) = match &sight.state {
        State::Ready if sight.unserved.is_empty() => {
            ("well", "●", "ready: clients of every listener are served".to_owned())
        }
        State::Ready => ("sick", "▲", String::new()),
        State::NotReady(listeners) => ("sick", "▲", format!("not ready: {}", listeners.join(", "))),
        State::Draining => ("odd", "○", "draining: no new connections".to_owned()),
    };
    let everybody = (!sight.unserved.is_empty())
        .then(|| format!("every client is turned away: {}", sight.unserved.join(", ")));
    let words: Vec<_> = Some(words).filter(|words| !words.is_empty()).into_iter().chain(everybody).collect();
    html! {
        p class=(class) { span aria-hidden="true" { (sign) } " " b { (words.join("; ")) } }
        p.dim {
            b { (words::count(sight.open.now.into())) } " connections open (at most " (words::count(sight.open.most.into())) ") · "
            b { (words::count(sight.pending.now.into())) } " of them without a whole header (at most " (words::count(sight.pending.most.into())) ") · "
            b { (words::count(u64::try_from(sight.bans).unwrap_or_default())) } " " (if sight.bans == 1 { "ban" } else { "bans" })
            " · running since " (words::date(sight.since)) " UTC"
        }
    }
}

#[cfg(test)]
mod tests;
