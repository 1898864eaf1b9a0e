//! What asks for the operator's hand, the most urgent first: backends, listeners that serve nobody, peers, names, advice.

use std::sync::Arc;

use super::sight::{About, Front, Mood, Refused, Sight, Todo, shown};
use crate::config::StatusPage;
use crate::facts::journey::Room;
use crate::observe::metrics::Totals;
use crate::server::{Layout, View};

/// So many connections say that a listener serves nobody; fewer may be somebody's mistake.
const ENOUGH: u64 = 3;

/// All but the backends', which `sight` has found already.
pub(super) fn gather(sight: &mut Sight, view: &View) {
    let (layout, page) = (view.layout(), sight.page);
    for todo in &mut sight.todo {
        let About::Backend(id) = &todo.about else { continue };
        let missed = missed(&sight.listeners, &sight.refused, id);
        if missed > 0 {
            todo.what = format!(
                "{}; {missed} connections of the last hour were turned away because of it",
                todo.what
            );
        }
    }
    let unserved: Vec<_> = view.totals().iter().filter_map(|totals| unserved(sight, totals)).collect();
    for todo in unserved {
        let front = sight.listeners.iter_mut().find(|front| *front.listener == *todo.place);
        if let Some(front) = front {
            (front.mood, front.state) = (Mood::Sick, "every client is turned away");
            sight.unserved.push(Arc::clone(&front.listener));
        }
        sight.todo.push(todo);
    }
    sight.todo.extend(view.habits().iter().map(|remark| Todo {
        about: About::Peer,
        place: remark.listener.to_string(),
        what: shown(&remark.cause(), page),
        change: shown(&remark.remedy(), page),
    }));
    sight.todo.extend(failing_names(&layout, page));
    for advice in &layout.advice {
        let place = match advice.line {
            Some(line) => format!("{} (line {line} of the configuration)", advice.key),
            None => advice.key.clone(),
        };
        let what = shown(&advice.text, page);
        // What one line has several of is one thing to look at.
        match sight.todo.iter_mut().find(|todo| todo.about == About::Setting && todo.place == place) {
            Some(todo) => todo.what = format!("{}; {what}", todo.what),
            None => sight.todo.push(Todo { about: About::Setting, place, what, change: String::new() }),
        }
    }
}

/// Connections of the last hour that would have gone to the backend `id`, and found none.
fn missed(listeners: &[Front], refused: &[Refused], id: &str) -> u64 {
    let its = |row: &&Refused| {
        let listener = listeners.iter().find(|front| front.listener == row.listener);
        matches!(row.room, Room::Backend | Room::Handoff)
            && listener.is_some_and(|front| front.backends.iter().any(|backend| backend == id))
    };
    refused.iter().filter(its).fold(0, |sum: u64, row| sum.saturating_add(row.count))
}

/// A listener that looks well, and none of whose clients was handed on since the start.
fn unserved(sight: &Sight, totals: &Totals) -> Option<Todo> {
    let listener = &totals.listener;
    let is_well = |front: &Front| front.listener == *listener && front.mood == Mood::Well;
    if totals.counts.passed(Room::Handoff) > 0 || !sight.listeners.iter().any(is_well) {
        return None;
    }
    let here: Vec<_> = sight.refused.iter().filter(|row| row.listener == *listener).collect();
    let all = here.iter().fold(0, |sum: u64, row| sum.saturating_add(row.count));
    // Most first, as they come.
    let most = here.first()?;
    (all >= ENOUGH).then(|| Todo {
        about: About::Listener,
        place: listener.to_string(),
        what: format!(
            "no client has reached a backend here since the start; {all} connections of the last hour were turned away, {} of them so: {}",
            most.count,
            most.title
        ),
        change: most.change.clone(),
    })
}

fn failing_names(layout: &Layout, page: StatusPage) -> Vec<Todo> {
    let failing = layout.names.iter().filter_map(|named| {
        let why = named.meaning().failing.clone()?;
        Some(Todo {
            about: About::Name,
            place: named.name.to_string(),
            what: shown(&format!("its look-ups fail: {why}"), page),
            change: "correct the name, or the name servers of this host; what was known before goes on"
                .to_owned(),
        })
    });
    failing.collect()
}
