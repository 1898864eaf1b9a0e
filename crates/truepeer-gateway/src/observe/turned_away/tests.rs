use std::net::Ipv4Addr;

use truepeer::{ClientIdentity, PeerAddress};

use super::*;
use crate::facts::outcome::Outcome;
use crate::rooms::record::{Entry, Explanation};

fn cause(listener: &str, outcome: Outcome) -> Cause {
    Cause { listener: listener.into(), outcome, rule: None }
}

/// A refusal of this client, who came through a proxy, with these words.
fn record(client: u32, words: &str) -> Record {
    let peer = PeerAddress::Tcp("10.0.0.5:4711".parse().unwrap());
    let entry = Entry::sample("smtp", 1, peer);
    let client = PeerAddress::tcp((Ipv4Addr::from(client), 4711).into());
    entry.identified(ClientIdentity::direct(client, None).unwrap());
    let mut record = Record::new(entry, Instant::now());
    record.explained(Explanation::cause(words, None));
    record
}

struct Clock(Instant);

impl Clock {
    fn at(&self, seconds: u64) -> Instant {
        self.0.checked_add(Duration::from_secs(seconds)).unwrap()
    }
}

#[test]
fn an_hour_is_kept_minute_by_minute_and_then_it_is_gone() {
    let clock = Clock(Instant::now());
    let ledger = TurnedAway::since(clock.0);
    let denied = cause("smtp", Outcome::AccessDenied);
    for (second, client) in [(0, 1), (59, 2), (60, 1), (600, 3)] {
        ledger.note(&denied, &record(client, "a list"), clock.at(second), SystemTime::UNIX_EPOCH);
    }
    let at = |seconds| ledger.of_last_hour(clock.at(seconds));
    let found = at(659).remove(0);
    assert_eq!((found.count(), found.addresses), (4, Addresses::Exactly(3)));
    assert_eq!(found.minutes[49..], [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let later = at(660 + 30).remove(0);
    assert_eq!(later.minutes[48..], [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    let much_later = at(3600 + 59).remove(0);
    assert_eq!(
        (much_later.count(), much_later.minutes[0], much_later.addresses),
        (2, 1, Addresses::Exactly(2))
    );
    assert_eq!(at(3600 + 659).len(), 0);
}

#[test]
fn words_are_those_of_a_late_one_and_most_come_first() {
    let clock = Clock(Instant::now());
    let ledger = TurnedAway::since(clock.0);
    let (few, many) = (cause("smtp", Outcome::LimitReached), cause("imap", Outcome::AccessDenied));
    ledger.note(&few, &record(1, "old"), clock.at(0), SystemTime::UNIX_EPOCH);
    ledger.note(&few, &record(1, "new"), clock.at(1), SystemTime::UNIX_EPOCH);
    (0..3).for_each(|_| ledger.note(&many, &record(1, ""), clock.at(1), SystemTime::UNIX_EPOCH));
    let found = ledger.of_last_hour(clock.at(2));
    assert_eq!(found.iter().map(|refusals| &refusals.cause).collect::<Vec<_>>(), [&many, &few]);
    assert_eq!(found[1].why.cause.as_deref(), Some("new"));
}

#[test]
fn addresses_and_causes_have_a_bound() {
    let clock = Clock(Instant::now());
    let ledger = TurnedAway::since(clock.0);
    let denied = cause("smtp", Outcome::AccessDenied);
    for client in 0..10_000 {
        ledger.note(&denied, &record(client, ""), clock.0, SystemTime::UNIX_EPOCH);
    }
    let found = ledger.of_last_hour(clock.0).remove(0);
    assert_eq!((found.count(), found.addresses), (10_000, Addresses::MoreThan(TurnedAway::ADDRESSES)));
    for listener in 0..TurnedAway::CAUSES + 10 {
        let cause = cause(&listener.to_string(), Outcome::AccessDenied);
        ledger.note(&cause, &record(1, ""), clock.at(60), SystemTime::UNIX_EPOCH);
    }
    let found = ledger.of_last_hour(clock.at(60));
    assert_eq!(found.len(), TurnedAway::CAUSES);
    assert!(found.iter().all(|refusals| refusals.cause != denied), "the quiet one has made room");
}
