//! What answers change.

use super::*;
use crate::cli::top::samples::{self, model};

#[test]
fn the_pointer_follows_what_it_points_at() {
    let mut model = model();
    // Nobody has moved: it stays at the head of the list, whoever is there.
    let mut others = samples::connections(3);
    others.connections.reverse();
    samples::list(&mut model, others);
    assert_eq!((model.row, model.chosen.as_deref()), (0, None));
    samples::list(&mut model, samples::connections(3));
    model.point_at(2);
    let mut moved = samples::connections(3);
    moved.connections.reverse();
    samples::list(&mut model, moved);
    assert_eq!((model.row, model.chosen.as_deref()), (0, Some("5f-0-3")));
    // It has ended: the pointer stays where it was, on somebody else.
    samples::list(&mut model, samples::connections(2));
    assert_eq!((model.row, model.chosen.as_deref()), (0, Some("5f-0-1")));
    samples::list(&mut model, samples::connections(0));
    assert_eq!((model.row, model.chosen.as_deref()), (0, None));

    model.turn_to(Tab::Refusals);
    model.point_at(1);
    model.take(News::Refusals(samples::refusals(3..=5)));
    assert_eq!((model.row, model.chosen.as_deref()), (4, Some("1")));
}

#[test]
fn refusals_are_kept_within_a_bound_and_a_restart_begins_anew() {
    let mut model = model();
    assert_eq!(model.wanted().last(), Some(&Request::Refusals(2)));
    model.take(News::Refusals(samples::refusals(3..=5000)));
    assert_eq!(
        (model.refusals.len(), model.refusals.front().map(|row| row.number)),
        (MAX_REFUSALS, Some(5000))
    );
    let missed = reply::RefusalsPage { last: 6000, missed: 7, refusals: Vec::new() };
    model.take(News::Refusals(missed));
    assert_eq!((model.missed, model.last_refusal), (7, 6000));
    model.take(News::Refusals(samples::refusals(1..=2)));
    assert_eq!((model.refusals.len(), model.last_refusal), (2, 2));
}

#[test]
fn a_server_that_is_away_is_said_until_it_answers_again() {
    let mut model = model();
    model.take(News::Lost("nobody answers".to_owned()));
    assert_eq!((model.lost.as_deref(), model.connections.connections.len()), (Some("nobody answers"), 3));
    samples::list(&mut model, samples::connections(1));
    assert_eq!(model.lost, None);
}

#[test]
fn what_the_server_does_not_search_is_searched_here() {
    let mut model = model();
    model.turn_to(Tab::Refusals);
    for (search, found) in
        [("", 2), ("HEADER_m", 1), ("deny.txt", 1), ("send no header", 0), ("192.0.2.9", 2)]
    {
        search.clone_into(&mut model.search);
        assert_eq!(model.counts(), (found, 2), "{search}");
    }
    model.turn_to(Tab::Backends);
    "unreach".clone_into(&mut model.search);
    assert_eq!(model.counts(), (1, 2));
}

#[test]
fn what_is_frozen_stays_and_what_is_searched_meanwhile_comes_once() {
    let mut model = model();
    model.is_frozen = true;
    samples::list(&mut model, samples::connections(1));
    model.take(News::Refusals(samples::refusals(3..=5)));
    assert_eq!((model.connections.connections.len(), model.refusals.len(), model.last_refusal), (3, 2, 2));
    "203".clone_into(&mut model.search);
    model.start_over();
    samples::list(&mut model, samples::connections(1));
    samples::list(&mut model, samples::connections(2));
    assert_eq!(model.connections.connections.len(), 1);
    model.is_frozen = false;
    samples::list(&mut model, samples::connections(2));
    assert_eq!(model.connections.connections.len(), 2);
}
