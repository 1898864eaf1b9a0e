use std::time::Duration;

use std::net::IpAddr;

use ipnet::IpNet;

use super::*;
use crate::rooms::bans::BanOrder;
use crate::rooms::bans::state::{self, tests::Dir};

const HOUR: Duration = Duration::from_secs(3600);
const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

enum Jump {
    Forward,
    Back,
}

/// `passed` after `start`, with a wall clock that has jumped.
fn after(start: Moment, passed: Duration, jump: &Jump) -> Moment {
    let wall = start.wall.checked_add(passed).unwrap();
    let wall = match jump {
        Jump::Forward => wall.checked_add(YEARS).unwrap(),
        Jump::Back => wall.checked_sub(YEARS).unwrap(),
    };
    Moment { steady: start.steady.checked_add(passed).unwrap(), wall }
}

#[test]
fn a_ban_is_lifted_when_a_trusted_name_moves_to_its_address() {
    let denied = Denied::default();
    let named = Arc::new(Named::new("traefik".into()));
    denied.take(vec![Guarded {
        listener: "smtp".into(),
        key: "server.listener.smtp.proxy.trusted-networks".to_owned(),
        trust: TrustPolicy::off(),
        names: vec![Arc::clone(&named)],
        access: AccessRules::default(),
    }]);
    let proxy = IpAddr::from([172, 18, 0, 5]);
    let order = || {
        let (network, reason) = (IpNet::from(proxy), crate::rooms::bans::BanReason::new("test"));
        BanChange::Add(BanOrder { network, lasts: "1h".parse().unwrap(), reason })
    };
    denied.make_at(&order(), now()).unwrap();
    assert!(denied.find(proxy).is_some());
    named.take(Ok(vec![proxy]), SystemTime::now(), &[]);
    denied.release();
    assert_eq!(denied.find(proxy), None);
    let error = denied.make_at(&order(), now()).unwrap_err().to_string();
    assert!(error.contains("server.listener.smtp.proxy.trusted-names (`traefik`)"), "{error}");
}

#[test]
fn a_ban_lasts_as_long_as_ordered_whatever_the_wall_clock_does() {
    for jump in [Jump::Forward, Jump::Back] {
        let denied = Denied::default();
        let (start, client) = (now(), IpAddr::from([203, 0, 113, 7]));
        let order = BanOrder {
            network: IpNet::from(client),
            lasts: "1h".parse().unwrap(),
            reason: crate::rooms::bans::BanReason::new("test"),
        };
        denied.make_at(&BanChange::Add(order), start).unwrap();
        let late = after(start, HOUR / 2, &jump);
        let found = denied.find_at(client.into(), late).unwrap();
        assert_eq!(denied.list_at(late), std::slice::from_ref(&found));
        // What is said, and what a restart would read, is true by the clock as it is now: half an hour is left.
        let left = found.until.duration_since(late.wall).unwrap().as_secs();
        assert!(left.abs_diff(1800) <= 2, "{left}");
        assert!(found.until.duration_since(found.since).unwrap().as_secs().abs_diff(3600) <= 1);
        let (restored, refused) = Bans::restore([found], &[], late.wall);
        assert_eq!((restored.len(), refused.len()), (1, 0));

        let over = after(start, HOUR + Duration::from_secs(2), &jump);
        assert_eq!(denied.find_at(client.into(), over), None);
        assert_eq!(denied.list_at(over), []);
    }
}

#[test]
fn a_clock_that_is_set_after_the_last_change_ends_no_ban_at_the_next_start() {
    for jump in [Jump::Forward, Jump::Back] {
        let dir = Dir::new(match jump {
            Jump::Forward => "clock-forward",
            Jump::Back => "clock-back",
        });
        let denied = Denied::restore(Some(dir.state()), LoadedBans::default(), Vec::new());
        let (network, reason) =
            ("203.0.113.7/32".parse().unwrap(), crate::rooms::bans::BanReason::new("test"));
        let order = BanOrder { network, lasts: "1h".parse().unwrap(), reason };
        let (_, kept) = denied.make(&[BanChange::Add(order)]);
        assert!(matches!(kept, Some(Persisted::InFile)), "{kept:?}");
        // Nothing has happened, so nothing is written.
        assert!(denied.follow_clock_at(now()).is_none());
        let late = after(now(), HOUR / 2, &jump);
        assert!(matches!(denied.follow_clock_at(late), Some(Persisted::InFile)));
        assert!(denied.follow_clock_at(late).is_none(), "once is enough");

        let loaded = state::load_at(&dir.state(), Mark::now(late.wall).as_ref()).unwrap().bans;
        let (restored, _) = Bans::restore(loaded, &[], late.wall);
        let client = IpAddr::from([203, 0, 113, 7]);
        let left = |after: Duration| restored.find(client, late.wall.checked_add(after).unwrap());
        assert!(left(HOUR / 2 - Duration::from_secs(5)).is_some());
        assert!(left(HOUR / 2 + Duration::from_secs(5)).is_none());
    }
}

/// The clocks at a restart: `passed` after `start` by the boot clock, with a wall clock that was set meanwhile.
fn restart(start: Moment, passed: Duration, jump: &Jump) -> Mark {
    let mut mark = Mark::now(after(start, passed, jump).wall).unwrap();
    mark.boot.passed = mark.boot.passed.checked_add(passed).unwrap();
    mark
}

#[test]
fn a_clock_that_is_set_while_the_process_is_down_changes_no_ban() {
    for jump in [Jump::Forward, Jump::Back] {
        let dir = Dir::new(match jump {
            Jump::Forward => "down-forward",
            Jump::Back => "down-back",
        });
        let denied = Denied::restore(Some(dir.state()), LoadedBans::default(), Vec::new());
        let start = now();
        let (network, reason) =
            ("203.0.113.7/32".parse().unwrap(), crate::rooms::bans::BanReason::new("test"));
        let order = BanOrder { network, lasts: "1h".parse().unwrap(), reason };
        assert!(matches!(denied.make(&[BanChange::Add(order)]).1, Some(Persisted::InFile)));
        // The process is killed; half an hour later the clock is another one.
        let up_again = restart(start, HOUR / 2, &jump);
        let wall = SystemTime::UNIX_EPOCH.checked_add(up_again.wall).unwrap();
        let loaded = state::load_at(&dir.state(), Some(&up_again)).unwrap().bans;
        let (restored, _) = Bans::restore(loaded, &[], wall);
        let client = IpAddr::from([203, 0, 113, 7]);
        let at = |after: Duration| restored.find(client, wall.checked_add(after).unwrap());
        assert!(at(HOUR / 2 - Duration::from_secs(5)).is_some());
        assert!(at(HOUR / 2 + Duration::from_secs(5)).is_none());

        // After another start of the machine nothing tells how long it was: the clock does, unless it cannot be.
        let boot = crate::facts::boot::Boot { id: "another".into(), passed: Duration::from_secs(60) };
        let loaded = state::load_at(&dir.state(), Some(&Mark { boot, ..up_again })).unwrap().bans;
        let (restored, _) = Bans::restore(loaded, &[], wall);
        let left = |after: Duration| restored.find(client, wall.checked_add(after).unwrap()).is_some();
        match jump {
            Jump::Forward => assert!(!left(Duration::ZERO)),
            Jump::Back => {
                assert!(left(HOUR - Duration::from_secs(5)) && !left(HOUR + Duration::from_secs(5)));
            }
        }
    }
}

#[test]
fn counting_bans_keeps_no_connection_waiting_and_forgets_those_that_ended() {
    let denied = Denied::default();
    let (start, client) = (now(), IpAddr::from([203, 0, 113, 7]));
    for (client, lasts) in [(client, "1h"), (IpAddr::from([203, 0, 113, 8]), "2h")] {
        let (network, reason) = (IpNet::from(client), crate::rooms::bans::BanReason::new("test"));
        let order = BanOrder { network, lasts: lasts.parse().unwrap(), reason };
        denied.make_at(&BanChange::Add(order), start).unwrap();
    }
    // A connection that looks just now; anyone who wants the table alone would wait for it, and all others with them.
    let looking = denied.0.table.read().unwrap();
    let (tell, counted) = std::sync::mpsc::sync_channel(1);
    let other = denied.clone();
    std::thread::spawn(move || tell.send(other.count()));
    assert_eq!(counted.recv_timeout(Duration::from_secs(20)), Ok(2));
    drop(looking);

    let kept = || denied.0.count.load(Ordering::Acquire);
    let late = |passed| after(start, passed, &Jump::Forward);
    assert_eq!((denied.count_at(late(HOUR + HOUR / 2)), kept()), (1, 2));
    assert_eq!((denied.count_at(late(3 * HOUR)), kept()), (0, 0));
}

#[test]
fn a_restart_with_a_clock_that_is_years_behind_keeps_a_ban_no_longer_than_it_was_ordered_for() {
    let written = now();
    let ban = |lasts| Ban {
        network: "203.0.113.7/32".parse().unwrap(),
        since: written.wall,
        until: written.wall.checked_add(lasts).unwrap(),
        reason: crate::rooms::bans::BanReason::new("test"),
        node: None,
    };
    let boot = written.wall.checked_sub(YEARS).unwrap();
    let (restored, _) = Bans::restore([ban(HOUR)], &[], boot);
    let client = IpAddr::from([203, 0, 113, 7]);
    assert!(restored.find(client, boot.checked_add(HOUR / 2).unwrap()).is_some());
    assert!(restored.find(client, boot.checked_add(HOUR).unwrap()).is_none());
}
