//! Each key, and what it changes.

use super::*;
use crate::cli::top::model::News;
use crate::cli::top::samples::{self, model};
use crate::control::admin::{OpenConnections, Request, Subject};

fn code(model: &mut Model, code: KeyCode) -> Option<Act> {
    press(model, KeyEvent::from(code))
}

/// Types a text, one key after the other, each look answered at once; what the last one asks for.
fn keys(model: &mut Model, text: &str) -> Option<Act> {
    let mut act = None;
    for c in text.chars() {
        act = code(model, KeyCode::Char(c));
        if act == Some(Act::Look) {
            let connections = model.connections.clone();
            samples::answer(model, connections, samples::clients());
        }
    }
    act
}

fn page(model: &Model) -> Request {
    model.wanted().into_iter().nth(1).unwrap()
}

#[test]
fn tabs_are_reached_by_number_and_in_a_circle_and_ask_for_what_they_show() {
    let mut model = model();
    for (key, tab) in
        [('2', Tab::Clients), ('3', Tab::Refusals), ('4', Tab::Backends), ('1', Tab::Connections)]
    {
        assert_eq!(keys(&mut model, &key.to_string()), Some(Act::Look));
        assert_eq!(model.tab, tab);
    }
    let turned: Vec<_> = (0..4)
        .map(|_| {
            code(&mut model, KeyCode::Tab);
            model.tab
        })
        .collect();
    assert_eq!(turned, [Tab::Clients, Tab::Refusals, Tab::Backends, Tab::Connections]);
    code(&mut model, KeyCode::BackTab);
    assert_eq!(model.tab, Tab::Backends);
    // Nothing is asked twice: what these two show comes with the rest.
    assert_eq!(model.wanted(), [Request::Status, Request::Refusals(2)]);
}

#[test]
fn a_page_that_ends_is_followed_by_the_next_and_never_by_all() {
    let mut model = model();
    samples::list(&mut model, samples::connections(18));
    assert!(matches!(page(&model), Request::Page(page) if page.rows == 18 && page.skip == 0));
    (0..17).for_each(|_| assert_eq!(code(&mut model, KeyCode::Down), None));
    assert_eq!((model.row, model.chosen.as_deref()), (17, Some("5f-0-18")));
    assert_eq!(keys(&mut model, "j"), Some(Act::Look));
    assert!(matches!(page(&model), Request::Page(page) if page.rows == 18 && page.skip == 18));
    assert_eq!(model.row, 0);
    assert_eq!(code(&mut model, KeyCode::Up), Some(Act::Look));
    assert!(matches!(page(&model), Request::Page(page) if page.skip == 0));
    model.skip = MAX_SKIP;
    model.point_at(17);
    assert_eq!(code(&mut model, KeyCode::PageDown), None, "as far as pages go");
    assert_eq!((code(&mut model, KeyCode::Home), model.skip, model.row), (Some(Act::Look), 0, 0));
    // The last page has nothing behind it.
    model.connections.found = 18;
    model.point_at(17);
    assert_eq!(keys(&mut model, "j"), None);
}

#[test]
fn the_order_goes_through_all_columns_and_both_ends() {
    let mut model = model();
    let mut seen = Vec::new();
    for _ in 0..7 {
        assert_eq!(keys(&mut model, "s"), Some(Act::Look));
        seen.push(model.connections_by.by);
    }
    use ConnectionsBy::{Backend, BytesIn, BytesOut, Client, Listener, Open, Peer};
    assert_eq!(seen, [Listener, Client, Peer, Backend, BytesIn, BytesOut, Open]);
    assert_eq!(model.connections_by.direction, ListOrder::Falling);
    keys(&mut model, "r");
    assert!(matches!(page(&model), Request::Page(page) if page.direction == ListOrder::Rising));
    keys(&mut model, "2ss");
    assert!(matches!(page(&model), Request::Clients(page) if page.by == ClientsBy::BytesIn));
    keys(&mut model, "sss");
    assert_eq!(model.clients_by, Sorted::default());
}

#[test]
fn what_is_typed_is_searched_at_once_and_forgotten_by_escape() {
    let mut model = model();
    assert_eq!(keys(&mut model, "/203q"), Some(Act::Look));
    assert!(
        matches!(page(&model), Request::Page(page) if page.search == "203q"),
        "letters are no commands here"
    );
    code(&mut model, KeyCode::Backspace);
    assert_eq!((code(&mut model, KeyCode::Enter), model.search.as_str()), (None, "203"));
    assert_eq!(model.mode, Mode::Looking);
    keys(&mut model, "/.9");
    assert_eq!((code(&mut model, KeyCode::Esc), model.search.as_str()), (Some(Act::Look), "203"));
    assert_eq!((code(&mut model, KeyCode::Esc), model.search.as_str()), (Some(Act::Look), ""));
    keys(&mut model, "/");
    keys(&mut model, &"x".repeat(1000));
    assert_eq!(model.search.len(), MAX_SEARCH);
}

#[test]
fn nobody_is_denied_before_it_is_confirmed() {
    let mut model = model();
    assert_eq!(keys(&mut model, "d"), None);
    for (key, kept) in [('n', false), ('q', false), ('x', true)] {
        assert_eq!(keys(&mut model, &key.to_string()), None);
        assert_eq!(matches!(model.mode, Mode::Denying(_)), kept, "{key}");
        model.mode = Mode::Looking;
        keys(&mut model, "d");
    }
    keys(&mut model, "+w");
    let Some(Act::Deny(order, open)) = keys(&mut model, "y") else { panic!("{:?}", model.mode) };
    assert_eq!(
        (order.network.to_string().as_str(), order.lasts.to_string().as_str()),
        ("203.0.113.0/24", "6h")
    );
    assert_eq!((open, &model.mode), (OpenConnections::Cut, &Mode::Looking));
    keys(&mut model, "dww-");
    let Some(Act::Deny(order, open)) = keys(&mut model, "k") else { panic!("{:?}", model.mode) };
    assert_eq!(
        (order.network.to_string().as_str(), order.lasts.to_string().as_str()),
        ("203.0.113.1/32", "10m")
    );
    assert_eq!(open, OpenConnections::Keep);

    for (row, says) in [(1, "the proxy's own"), (2, "no client is known")] {
        model.point_at(row);
        assert_eq!(keys(&mut model, "d"), None);
        assert!(
            matches!(&model.notice, Some(crate::cli::top::model::Notice::Failed(text)) if text.contains(says))
        );
        assert_eq!(model.mode, Mode::Looking);
    }
    keys(&mut model, "2jd");
    assert!(
        matches!(keys(&mut model, "y"), Some(Act::Deny(order, _)) if order.network.to_string() == "2001:db8:1:2::/64")
    );
    // What is denied does not change while somebody thinks about it.
    keys(&mut model, "1d");
    samples::list(&mut model, samples::connections(0));
    assert!(
        matches!(keys(&mut model, "y"), Some(Act::Deny(order, _)) if order.network.to_string() == "203.0.113.1/32")
    );
}

/// Whoever types faster than the server answers must not deny who is not looked for any more.
#[test]
fn nothing_is_done_about_rows_that_are_not_those_asked_for() {
    let mut model = model();
    let before = model.wanted().into_iter().nth(1).unwrap();
    code(&mut model, KeyCode::Char('/'));
    code(&mut model, KeyCode::Char('7'));
    code(&mut model, KeyCode::Enter);
    for key in ['d', 'e'] {
        assert_eq!((keys(&mut model, &key.to_string()), &model.mode), (None, &Mode::Looking));
        assert!(
            matches!(&model.notice, Some(crate::cli::top::model::Notice::Failed(text)) if text.contains("one moment"))
        );
    }
    // What comes first is the answer to what was asked before.
    let Request::Page(before) = before else { panic!("{before:?}") };
    model.take(News::Connections(before, samples::connections(2)));
    assert_eq!((model.connections.connections.len(), model.is_awaited), (3, true));
    samples::list(&mut model, samples::connections(1));
    keys(&mut model, "d");
    assert!(matches!(model.mode, Mode::Denying(_)));
}

#[test]
fn the_reason_is_asked_for_or_known() {
    let mut model = model();
    let enter = |model: &mut Model| code(model, KeyCode::Enter);
    assert_eq!(
        enter(&mut model),
        Some(Act::Why {
            title: "connection 5f-0-1".to_owned(),
            subject: Subject::Connection("5f-0-1".to_owned())
        })
    );
    keys(&mut model, "2j");
    assert!(matches!(enter(&mut model), Some(Act::Why { subject: Subject::Client(ip), .. }) if ip.is_ipv6()));
    keys(&mut model, "3");
    assert_eq!(enter(&mut model), None);
    let Mode::Reading { steps, .. } = &model.mode else { panic!("{:?}", model.mode) };
    let said = |about| steps.iter().find(|step| step.about == about).map(|step| step.text.as_str());
    assert_eq!(said("rule"), Some("deny 198.51.100.0/24 (deny.txt, line 3)"));
    assert_eq!(said("client"), Some("198.51.100.66:4711, named by a v2 header"));
    keys(&mut model, "jj");
    assert!(matches!(model.mode, Mode::Reading { scroll: 2, .. }));
    keys(&mut model, "d");
    assert!(matches!(&model.mode, Mode::Denying(denial) if denial.whom() == "198.51.100.66"));
    keys(&mut model, "n4j");
    assert_eq!(enter(&mut model), None);
    let Mode::Reading { steps, .. } = &model.mode else { panic!("{:?}", model.mode) };
    assert!(steps.iter().any(|step| step.text.contains("nobody listens there")));
    keys(&mut model, "x");
    assert_eq!(model.mode, Mode::Looking);
}

#[test]
fn frozen_help_and_the_end() {
    let mut model = model();
    assert_eq!((keys(&mut model, "f"), model.is_frozen), (None, true));
    assert_eq!((keys(&mut model, " "), model.is_frozen), (Some(Act::Look), false));
    assert_eq!((keys(&mut model, "?"), &model.mode), (None, &Mode::Help));
    assert_eq!(keys(&mut model, "q"), None, "it leaves the help only");
    assert_eq!(keys(&mut model, "q"), Some(Act::Quit));
    keys(&mut model, "/");
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(press(&mut model, interrupt), Some(Act::Quit), "wherever one is");
    let mut released = KeyEvent::from(KeyCode::Char('q'));
    released.kind = KeyEventKind::Release;
    model.mode = Mode::Looking;
    assert_eq!(press(&mut model, released), None);
}

#[test]
fn the_help_page_is_on_the_manual_page() {
    for (keys, _) in KEYS {
        let first = keys.split([',', ' ']).next().unwrap();
        assert!(crate::cli::top::KEYS.contains(first), "{keys}");
    }
}
