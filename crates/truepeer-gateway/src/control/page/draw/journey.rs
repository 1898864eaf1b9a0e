//! The way of a connection through the rooms as a picture: how much flows through each, and what was turned away where.
//!
//! Twice: lying for wide windows, standing for narrow ones; the style sheet shows one of them. Whoever cannot see either
//! has the same as a table. A band is as thick as the logarithm of what flows, so that one connection a minute can be
//! seen beside a million.

use std::fmt::Write;

use maud::{Markup, html};

use crate::control::page::sight::Flow;
use crate::control::page::words::{count, of};
use crate::facts::journey::Room;

/// Width of one room where the rooms lie side by side, and height where they stand.
const ROOM: i64 = 140;
const FLOOR: i64 = 66;
/// The middle of the band.
const LYING: i64 = 92;
const STANDING: i64 = 34;

/// Both pictures.
pub(super) fn picture(rooms: &[Flow]) -> Markup {
    html! {
        svg.wide viewBox="0 0 1120 178" aria-hidden="true" focusable="false" { (lying(rooms)) }
        svg.tall viewBox="0 0 340 536" aria-hidden="true" focusable="false" { (standing(rooms)) }
    }
}

/// Rows of the same as a table.
pub(super) fn rows(rooms: &[Flow]) -> Markup {
    html! {
        @for flow in rooms {
            tr {
                th scope="row" { (flow.room.name()) }
                td { (questions(flow.room).concat()) }
                td.n { (count(flow.passed)) }
                td.n { (count(flow.turned_away)) }
            }
        }
    }
}

/// The question of a room on two lines.
fn questions(room: Room) -> [&'static str; 2] {
    match room {
        Room::Accept => ["is there room?", ""],
        Room::Trust => ["may this peer ", "speak for others?"],
        Room::Identify => ["who is the client?", ""],
        Room::Access => ["may it enter?", ""],
        Room::Limits => ["one more of it?", ""],
        Room::Backend => ["who can take it?", ""],
        Room::Handoff => ["who hears who ", "the client is?"],
        Room::Relay => ["bytes both ways", ""],
    }
}

/// How thick a band is in which so much flows.
fn thickness(flow: u64) -> i64 {
    let digits = |flow: u64| i64::from(flow.checked_ilog2().unwrap_or(0));
    if flow == 0 { 1 } else { digits(flow).saturating_mul(3).saturating_div(2).saturating_add(4).min(36) }
}

/// The turned away that leave a band.
fn branch(flow: &Flow) -> i64 {
    let doublings = i64::from(flow.turned_away.checked_ilog2().unwrap_or(0));
    doublings.saturating_add(2).min(22)
}

fn lying(rooms: &[Flow]) -> Markup {
    let mut before = rooms.first().map_or(0, |flow| flow.passed);
    html! {
        @for (number, flow) in (0_i64..).zip(rooms) {
            @let x = number.saturating_mul(ROOM);
            @let from = if number == 0 { flow.passed } else { std::mem::replace(&mut before, flow.passed) };
            @let said = if flow.room == Room::Relay { flow.passed } else { from };
            @if number > 0 { path.door d={ "M" (x) " 4V172" } {} }
            text.name x=(x.saturating_add(10)) y="17" { (flow.room.name()) }
            @for (line, question) in (0_i64..).zip(questions(flow.room)) {
                text.ask x=(x.saturating_add(10)) y=(line.saturating_mul(14).saturating_add(34)) { (question) }
            }
            @if flow.turned_away > 0 { path.off d=(falling(x, branch(flow))) {} }
            path class=(if from == 0 { "dry" } else { "flow" }) d=(band(x, thickness(from), thickness(flow.passed))) {}
            text.num x=(x.saturating_add(10)) y="71" {
                (count(said)) @if flow.room == Room::Relay { " open now" }
            }
            @if flow.turned_away > 0 {
                text.bad x=(x.saturating_add(20).saturating_add(branch(flow))) y="152" { (count(flow.turned_away)) }
                text.ask x=(x.saturating_add(20).saturating_add(branch(flow))) y="167" {
                    @if flow.turned_away_now > 0 { (count(flow.turned_away_now)) " in the last minute" } @else { "turned away" }
                }
            }
        }
    }
}

/// A band from the left end of a room to its right one.
fn band(x: i64, from: i64, to: i64) -> String {
    let end = x.saturating_add(ROOM);
    let (a, b) = (x.saturating_add(60), x.saturating_add(100));
    let up = |thick: i64| LYING.saturating_sub(thick / 2);
    let down = |thick: i64| up(thick).saturating_add(thick);
    let (f, t) = (up(from), up(to));
    let (g, u) = (down(from), down(to));
    format!("M{x} {f}H{a}C{b} {f} {a} {t} {b} {t}H{end}V{u}H{b}C{a} {u} {b} {g} {a} {g}H{x}z")
}

/// What is turned away falls out of the band.
fn falling(x: i64, thick: i64) -> String {
    let left = x.saturating_add(14);
    let right = left.saturating_add(thick.min(22));
    let from = x.saturating_sub(4).max(0);
    format!(
        "M{from} {LYING}C{left} {LYING} {left} 112 {left} 130V158H{right}V124C{right} 104 {right} {LYING} {0} {LYING}z",
        right.saturating_add(20)
    )
}

fn standing(rooms: &[Flow]) -> Markup {
    let mut before = rooms.first().map_or(0, |flow| flow.passed);
    html! {
        @for (number, flow) in (0_i64..).zip(rooms) {
            @let y = number.saturating_mul(FLOOR);
            @let from = if number == 0 { flow.passed } else { std::mem::replace(&mut before, flow.passed) };
            @let said = if flow.room == Room::Relay { flow.passed } else { from };
            @if number > 0 { path.door d={ "M4 " (y) "H336" } {} }
            path class=(if from == 0 { "dry" } else { "flow" }) d=(column(y, thickness(from), thickness(flow.passed))) {}
            text.name x="72" y=(y.saturating_add(22)) { (flow.room.name()) }
            text.ask x="72" y=(y.saturating_add(39)) { (questions(flow.room).concat()) }
            text.num.end x="336" y=(y.saturating_add(23)) {
                (count(said)) @if flow.room == Room::Relay { " open now" }
            }
            @if flow.turned_away > 0 {
                path.off d={ "M40 " (y.saturating_add(44)) "H62V" (y.saturating_add(44_i64.saturating_add(branch(flow).min(12)))) "H40z" } {}
                text.bad x="72" y=(y.saturating_add(56)) { (of(flow.turned_away, "turned away", "turned away")) }
                @if flow.turned_away_now > 0 {
                    text.ask.end x="336" y=(y.saturating_add(56)) { (count(flow.turned_away_now)) " in the last minute" }
                }
            }
        }
    }
}

/// A band from the top of a room to its bottom.
fn column(y: i64, from: i64, to: i64) -> String {
    let (a, b, end) = (y.saturating_add(26), y.saturating_add(44), y.saturating_add(FLOOR));
    let left = |thick: i64| STANDING.saturating_sub(thick / 2);
    let (f, t) = (left(from), left(to));
    let (g, u) = (f.saturating_add(from), t.saturating_add(to));
    let mut path = String::new();
    // Writing to a string cannot fail.
    let _ = write!(path, "M{f} {y}V{a}C{f} {b} {t} {a} {t} {b}V{end}H{u}V{b}C{u} {a} {g} {b} {g} {a}V{y}z");
    path
}
