//! The last hour as small charts: a bar or a point for each minute, the present one at the right end.

use std::fmt::Write;
use std::time::Duration;

use maud::{Markup, html};

use crate::control::page::history::History;
use crate::control::page::words;
use crate::observe::metrics::{Counts, Distribution};

const WIDTH: u64 = 240;
const HEIGHT: u64 = 56;
/// Of one minute.
const STEP: u64 = 4;

/// The four of them.
pub(super) fn charts(minutes: &[Counts]) -> Markup {
    let values = |of: fn(&Counts) -> u64| minutes.iter().map(of).collect::<Vec<_>>();
    let accepted = values(|minute| minute.accepted);
    let turned_away = values(Counts::all_turned_away);
    let bytes =
        values(|minute| minute.bytes.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes)) / 60);
    html! {
        (figure("Connections", "accepted a minute; the red part was turned away", &accepted, words::count, &html! {
            path.flow d=(bars(&accepted, top(&accepted))) {}
            path.off d=(bars(&turned_away, top(&accepted))) {}
        }))
        (latency("Identify", "from accept to knowing the client; dark: half were faster, pale: 95 % were", minutes, |minute| minute.identify))
        (latency("Handoff", "until the backend has the client; dark: half were faster, pale: 95 % were", minutes, |minute| minute.handoff))
        (figure("Relay", "bytes a second, both ways; counted when a connection ends", &bytes, words::bytes, &html! {
            path.flow d=(bars(&bytes, top(&bytes))) {}
        }))
    }
}

fn figure(title: &str, what: &str, values: &[u64], say: fn(u64) -> String, drawn: &Markup) -> Markup {
    let (now, most) =
        (values.last().copied().unwrap_or_default(), values.iter().max().copied().unwrap_or_default());
    let is_empty = values.is_empty();
    let begins = x(0, values.len());
    html! {
        figure {
            figcaption { b { (title) } span { (what) } }
            svg viewBox={ "0 0 " (WIDTH) " 60" } role="img"
                aria-label={ (title) ": " (what) ". Last minute " (say(now)) ", most in the last hour " (say(most)) "." } {
                path.door d={ "M0 " (HEIGHT) ".5H" (WIDTH) } {}
                // Before that there was no page to count for.
                @if begins > 0 && !is_empty { path.door d={ "M" (begins) " 0V" (HEIGHT) } {} }
                (drawn)
            }
            @if is_empty { p { "begins after the first minute" } }
            @else { p { b { (say(now)) } " · most " (say(most)) } }
        }
    }
}

fn latency(title: &str, what: &str, minutes: &[Counts], of: fn(&Counts) -> Distribution) -> Markup {
    let micros = |per_mille: u64| -> Vec<Option<u64>> {
        let each = minutes.iter().map(|minute| of(minute).quantile(per_mille));
        each.map(|time| time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))).collect()
    };
    let (median, slow) = (micros(500), micros(950));
    let known: Vec<u64> = slow.iter().copied().flatten().collect();
    let most = top(&known);
    // What is shown in words is the median now, and the slowest 95 %.
    let now = median.iter().copied().flatten().next_back().unwrap_or_default();
    let values = if known.is_empty() { vec![] } else { known.iter().copied().chain([now]).collect() };
    figure(
        title,
        what,
        &values,
        short,
        &html! {
            path.slow d=(line(&slow, most)) {}
            path.line d=(line(&median, most)) {}
        },
    )
}

/// A time as far as the buckets of the counters show it.
fn short(micros: u64) -> String {
    match micros {
        0..=500 => "< 0.5 ms".to_owned(),
        micros => words::time(Duration::from_micros(micros)),
    }
}

fn top(values: &[u64]) -> u64 {
    values.iter().max().copied().unwrap_or_default().max(1)
}

/// Where a minute begins; the last one ends at the right.
fn x(number: usize, all: usize) -> u64 {
    let first = History::MINUTES.saturating_sub(all);
    let place = u64::try_from(first.saturating_add(number)).unwrap_or_default();
    place.saturating_mul(STEP)
}

fn height(value: u64, most: u64) -> u64 {
    let scaled = u128::from(value).saturating_mul(u128::from(HEIGHT)).div_ceil(u128::from(most));
    u64::try_from(scaled).unwrap_or(HEIGHT).min(HEIGHT)
}

fn bars(values: &[u64], most: u64) -> String {
    let mut path = String::new();
    for (number, value) in values.iter().enumerate().filter(|(_, value)| **value > 0) {
        // Writing to a string cannot fail.
        let _ = write!(path, "M{} {HEIGHT}v-{}h3v{1}z", x(number, values.len()), height(*value, most));
    }
    path
}

fn line(values: &[Option<u64>], most: u64) -> String {
    let mut path = String::new();
    let mut is_down = false;
    for (number, value) in values.iter().enumerate() {
        if let Some(value) = value {
            let y = HEIGHT.saturating_sub(height(*value, most));
            // A minute without a connection has no time, and a single one is a short line.
            let _ = write!(path, "{}{} {y}h3", if is_down { 'L' } else { 'M' }, x(number, values.len()));
        }
        is_down = value.is_some();
    }
    path
}

/// When refusals came, as one line of a table.
pub(super) fn spark(minutes: &[u32]) -> Markup {
    let most = minutes.iter().max().copied().unwrap_or_default().max(1);
    let mut path = String::new();
    for (number, value) in (0_u32..).zip(minutes).filter(|(_, value)| **value > 0) {
        let tall = value.saturating_mul(13).checked_div(most).unwrap_or(1).saturating_add(1);
        let _ = write!(path, "M{} 14v-{tall}", number.saturating_mul(2).saturating_add(1));
    }
    html! { svg.spark viewBox="0 0 120 15" aria-hidden="true" focusable="false" { path d=(path) {} } }
}
