use std::time::{Duration, SystemTime};

use super::*;
use crate::control::page::sight::{About, Behind, Bounded, Flow, Front, Mood, Proxy, Refused, Todo};
use crate::facts::journey::Room;
use crate::facts::outcome::Outcome;
use crate::observe::metrics::Counts;
use crate::observe::turned_away::Addresses;

const LONG: usize = 400;

/// As much as there can be of everything, in texts that grow most when they are escaped.
fn crowded() -> Sight {
    let text = || "<\"&".repeat(LONG / 3);
    let minute = |number: u64| Counts {
        accepted: number.wrapping_mul(7_919) % 600_000,
        bytes: [u64::MAX / 4; 2],
        ..Counts::default()
    };
    let behind = |number: usize| Behind {
        backend: format!("backend-{number}"),
        protocol: "submission",
        handoff: "imap-id-unconfirmed",
        address: format!("[2001:db8:1111:2222:3333:4444:5555:{number:x}]:10025"),
        mood: Mood::Sick,
        readiness: "ignores_header",
        why: Some(text()),
        since: Some(SystemTime::UNIX_EPOCH),
        latency: Some(Duration::from_micros(1_234)),
    };
    let front = |number: usize| Front {
        listener: format!("listener-{number}").into(),
        protocol: "managesieve",
        addresses: vec!["[2001:db8:1111:2222:3333:4444:5555:6666]:4190".to_owned(); 5],
        backends: vec!["one".to_owned(), "two".to_owned()],
        mood: Mood::Sick,
        state: "closed until a backend can be reached",
        networks: 100,
        names: 3,
        proxies: 12,
        sources: [1, 2, 3],
        tls: (1, 3),
        open: 12_345,
    };
    Sight {
        host: "mx.example".into(),
        page: StatusPage::WithAddresses,
        at: SystemTime::UNIX_EPOCH,
        since: SystemTime::UNIX_EPOCH,
        state: State::NotReady(vec!["smtp".into(); 20]),
        unserved: vec!["submission".into()],
        open: Bounded { now: 1_000_000, most: u32::MAX },
        pending: Bounded { now: 1, most: 2 },
        bans: 12,
        todo: (0..100)
            .map(|_| Todo { about: About::Peer, place: "smtp".to_owned(), what: text(), change: text() })
            .collect(),
        rooms: Room::ALL
            .map(|room| Flow { room, passed: 600_000, turned_away_now: 70_000, turned_away: 36_000_000 })
            .into(),
        refused: Outcome::ALL
            .map(|outcome| Refused {
                title: outcome.facts().sentence,
                outcome,
                room: Room::Identify,
                listener: "smtp".into(),
                rule: Some(text()),
                count: 36_000_000,
                minutes: std::array::from_fn(|minute| u32::try_from(minute).unwrap().saturating_add(1)),
                addresses: Addresses::MoreThan(256),
                last: SystemTime::UNIX_EPOCH,
                cause: Some(text()),
                change: text(),
                seen: Some(text()),
            })
            .into(),
        backends: (0..1000).map(behind).collect(),
        listeners: (0..1000).map(front).collect(),
        proxies: (0..1000)
            .map(|_| Proxy { peer: "2001:db8::1".to_owned(), listener: "smtp".into(), v1: 1, v2: 2, tls: 1 })
            .collect(),
        minutes: (0..60).map(minute).collect(),
    }
}

#[test]
fn the_whole_page_its_style_and_its_script_have_a_size() {
    let sight = crowded();
    let page = document(&sight, &parts(&sight));
    assert!(page.len() < 60_000, "{} bytes", page.len());
    assert!(STYLE.len() < 10_000 && SCRIPT.len() < 10_000, "{} and {}", STYLE.len(), SCRIPT.len());
}

#[test]
fn no_text_of_others_is_markup() {
    let mut sight = crowded();
    let hostile = "</code><script>alert(1)</script><img src=x onerror=\"alert(1)\">'";
    for todo in &mut sight.todo {
        (todo.place, todo.what, todo.change) = (hostile.to_owned(), hostile.to_owned(), hostile.to_owned());
    }
    for refused in &mut sight.refused {
        refused.listener = hostile.into();
        (refused.rule, refused.cause) = (Some(hostile.to_owned()), Some(hostile.to_owned()));
        (refused.seen, refused.change) = (Some(hostile.to_owned()), hostile.to_owned());
    }
    for backend in &mut sight.backends {
        (backend.backend, backend.address) = (hostile.to_owned(), hostile.to_owned());
        backend.why = Some(hostile.to_owned());
    }
    sight.host = hostile.into();
    sight.state = State::NotReady(vec![hostile.into()]);
    let page = document(&sight, &parts(&sight));
    assert!(page.contains("&lt;script&gt;alert(1)"));
    // One script is ours, and no image is.
    assert_eq!((page.matches("<script").count(), page.matches("<img").count()), (1, 0));
    for (_, part) in parts(&sight) {
        assert!(!part.contains("<script") && !part.contains("<img"), "{part}");
    }
}

#[test]
fn the_policy_names_this_style_and_this_script_and_nothing_else() {
    use base64::Engine;
    use tokio_rustls::rustls::SupportedCipherSuite;
    use tokio_rustls::rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else { panic!("it is one of TLS 1.3") };
    for (kind, text) in [("style-src", STYLE), ("script-src", SCRIPT)] {
        let hash = suite.common.hash_provider.hash(text.as_bytes());
        let source = format!("{kind} 'sha256-{}';", base64::engine::general_purpose::STANDARD.encode(hash));
        assert!(POLICY.contains(&source), "draw.rs needs {source}");
    }
    let sight = crowded();
    let page = document(&sight, &parts(&sight));
    // Of ours, nothing is fetched and nothing is styled or run in place.
    for kind in [" src=", " style=", " onload", "http:", "https:", "url("] {
        assert!(!page.contains(kind), "{kind} in the page");
    }
}

#[test]
fn an_empty_day_says_that_it_is_one() {
    let mut sight = crowded();
    (sight.todo, sight.refused, sight.minutes) = (Vec::new(), Vec::new(), Vec::new());
    (sight.state, sight.page, sight.unserved) = (State::Ready, StatusPage::WithoutAddresses, Vec::new());
    let parts = parts(&sight);
    assert!(parts.iter().all(|(id, _)| *id != "proxies"));
    let page = document(&sight, &parts);
    for words in
        ["Nothing to do", "Nobody in the last hour", "begins after the first minute", "ready: clients of"]
    {
        assert!(page.contains(words), "{words}");
    }
}
