//! Which addresses are tried, and what is remembered of them.

use std::time::Duration;

use super::*;
use crate::rooms::handoff::{Handoff, Kind, LabelSettings, OwnTlvs, TlvChoice};

fn pool(readiness: &[Readiness]) -> Pool {
    let backend = Arc::new(Backend {
        id: "b".into(),
        kind: Kind::Postfix,
        handoff: Handoff::ProxyV2,
        tlvs: TlvChoice::Kind,
        own_tlvs: OwnTlvs::default(),
        addresses: Vec::new(),
        ports: 1,
        connect_timeout: Duration::from_secs(5),
        proof_timeout: Duration::from_secs(5),
        label: LabelSettings::default(),
        check: None,
    });
    let pool = Pool::new(backend, Protocol::Smtp, Greeting::Readable);
    let address = |port| Address::Tcp(([127, 0, 0, 1], port).into());
    pool.set_addresses((1..).zip(readiness).map(|(port, _)| address(port)).collect());
    for (target, readiness) in pool.targets().iter().zip(readiness) {
        target.set_readiness(readiness.clone());
    }
    pool
}

fn ports(pool: &Pool) -> Vec<u16> {
    let port = |target: &Arc<Target>| match target.address {
        Address::Tcp(addr) => addr.port(),
        Address::Unix(_) | Address::Program(_) => 0,
    };
    pool.next(None).map(|target| port(&target)).collect()
}

#[test]
fn only_addresses_that_may_serve_are_tried() {
    let ignores = Readiness::Unready(Unready::IgnoresHeader { saw: String::new() });
    let pool = pool(&[Readiness::Unasked, Readiness::Proved, ignores, Readiness::Unproven]);
    assert_eq!(ports(&pool), [2, 4]);
    assert_eq!(ports(&pool), [4, 2]);
    assert_eq!(ports(&pool), [2, 4]);
}

#[test]
fn nobody_ready_means_nobody_is_tried() {
    let pool = pool(&[Readiness::Unasked]);
    assert!(!pool.is_ready());
    assert_eq!(ports(&pool), [0_u16; 0]);
}

#[test]
fn tries_are_bounded() {
    let pool = pool(&vec![Readiness::Proved; 20]);
    assert_eq!(ports(&pool).len(), MAX_TRIES);
}

#[test]
fn a_family_that_is_turned_away_goes_elsewhere_and_ten_mute_ends_in_a_row_are_noted_once() {
    let in_part = Readiness::InPart { refuses: Family::Ipv6, saw: String::new() };
    let pool = pool(&[in_part, Readiness::Proved]);
    let next = |family| pool.next(family).count();
    assert_eq!((next(Some(Family::Ipv6)), next(Some(Family::Ipv4)), next(None)), (1, 2, 2));
    let target = &pool.targets()[1];
    for round in 0..2 {
        let noted: Vec<_> = (0..20).map(|_| target.note_said(0)).collect();
        assert_eq!(noted.iter().position(|noted| *noted), Some(9), "{round}");
        assert_eq!(noted.iter().filter(|noted| **noted).count(), 1);
        assert!(!target.note_said(7), "something was said");
    }
    // Only what was not asked about is suspected.
    pool.suspect(target, Some(Family::Ipv4));
    pool.suspect(target, None);
    assert!(!target.take_suspicion());
    pool.suspect(target, Some(Family::Ipv6));
    assert!(target.take_suspicion() && !target.take_suspicion());
}

#[test]
fn an_address_that_stays_keeps_its_readiness() {
    let pool = pool(&[Readiness::Proved, Readiness::Proved]);
    pool.set_addresses(vec![
        Address::Tcp(([127, 0, 0, 1], 9).into()),
        Address::Tcp(([127, 0, 0, 1], 2).into()),
    ]);
    assert_eq!(ports(&pool), [2]);
}
