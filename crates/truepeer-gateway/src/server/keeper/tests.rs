//! When an address is asked, on a clock that stands still until everybody waits: hours cost nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::task::LocalSet;

use super::*;
use crate::engine::Address;
use crate::facts::address::Family;
use crate::facts::protocol::Protocol;
use crate::rooms::backend::{Backend, BackendAddress, Greeting};
use crate::rooms::handoff::{Handoff, Kind, LabelSettings, OwnTlvs, TlvChoice};
use crate::server::prober::Asked;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Full,
    Brief,
}

/// A backend that answers at once, and when it was asked.
struct Scripted {
    began: Instant,
    asked: RefCell<Vec<(u64, Question)>>,
    /// Whether it waits for our header.
    reads_header: Cell<bool>,
}

impl Scripted {
    fn note(&self, question: Question) {
        self.asked.borrow_mut().push((self.began.elapsed().as_secs(), question));
    }

    fn take_asked(&self) -> Vec<(u64, Question)> {
        self.asked.take()
    }
}

impl Questions for Rc<Scripted> {
    async fn ask(&self, _: &Pool, _: &Address, _: &Readiness) -> Asked<Readiness> {
        self.note(Question::Full);
        let ignores = Unready::IgnoresHeader { saw: String::new() };
        let found = if self.reads_header.get() { Readiness::Proved } else { Readiness::Unready(ignores) };
        (found, None)
    }

    async fn still_serves(&self, _: &Pool, _: &Address) -> Asked<Still> {
        self.note(Question::Brief);
        (if self.reads_header.get() { Still::Serves } else { Still::Differs }, None)
    }

    async fn refuses_family(&self, _: &Pool, _: &Address, _: Family) -> Option<String> {
        None
    }
}

fn pool(handoff: Handoff) -> Arc<Pool> {
    let backend = Backend {
        id: "b".into(),
        kind: Kind::Postfix,
        handoff,
        tlvs: TlvChoice::Kind,
        own_tlvs: OwnTlvs::default(),
        addresses: vec![BackendAddress::Socket(([127, 0, 0, 1], 25).into())],
        ports: 1,
        connect_timeout: Duration::from_secs(5),
        proof_timeout: Duration::from_secs(5),
        label: LabelSettings::default(),
        check: None,
    };
    Arc::new(Pool::new(Arc::new(backend), Protocol::Smtp, Greeting::Readable))
}

/// Keeps `pool` while `play` goes on.
async fn kept(pool: &Arc<Pool>, play: impl AsyncFnOnce(&Scripted)) {
    let backend =
        Rc::new(Scripted { began: Instant::now(), asked: RefCell::default(), reads_header: Cell::new(true) });
    let local = LocalSet::new();
    let (tell, mut asked) = watch::channel(false);
    local.spawn_local(keep(Arc::clone(pool), Rc::clone(&backend), tell, Bell::default()));
    local
        .run_until(async {
            asked.wait_for(|asked| *asked).await.unwrap();
            play(&backend).await;
        })
        .await;
}

/// Lets so much time go by, and what is due then happen.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_proved_backend_is_asked_again_every_ten_minutes_and_found_out_when_it_lost_its_option() {
    let pool = pool(Handoff::ProxyV2);
    kept(&pool, async |backend| {
        assert_eq!(backend.take_asked(), [(0, Question::Full)]);
        pass(599).await;
        assert_eq!(backend.take_asked(), []);
        pass(1202).await;
        let brief = |at| (at, Question::Brief);
        assert_eq!(backend.take_asked(), [brief(600), brief(1200), brief(1800)]);
        assert!(pool.is_ready());
        backend.reads_header.set(false);
        pass(598).await;
        assert!(pool.is_ready(), "nobody has asked yet");
        pass(2).await;
        assert!(!pool.is_ready(), "it was asked, and does not read our header any more");
        assert_eq!(backend.take_asked()[..2], [brief(2400), (2400, Question::Full)]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_is_asked_at_growing_pauses_until_it_serves_again() {
    let pool = pool(Handoff::ProxyV2);
    kept(&pool, async |backend| {
        backend.reads_header.set(false);
        pass(601).await;
        let _ = backend.take_asked();
        pass(120).await;
        let asked = backend.take_asked();
        assert!(asked.iter().all(|(_, question)| *question == Question::Full), "{asked:?}");
        assert!((12..=16).contains(&asked.len()), "at most every ten seconds, and no more often: {asked:?}");
        backend.reads_header.set(true);
        pass(11).await;
        assert!(pool.is_ready());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn where_balancers_are_told_it_is_asked_every_five_seconds_unless_a_client_was_just_served() {
    let pool = pool(Handoff::ProxyV2);
    kept(&pool, async |backend| {
        pool.ask_regularly(true);
        pass(1).await;
        let _ = backend.take_asked();
        pass(20).await;
        assert_eq!(backend.take_asked().len(), 4);
        for _ in 0..4 {
            pool.targets().iter().for_each(|target| target.note_reached());
            pass(5).await;
        }
        assert_eq!(backend.take_asked(), []);
        pool.ask_regularly(false);
        pass(100).await;
        assert_eq!(backend.take_asked(), []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_cannot_be_proved_is_left_alone_while_it_serves() {
    let pool = pool(Handoff::None);
    kept(&pool, async |backend| {
        let _ = backend.take_asked();
        pass(3600).await;
        assert_eq!(backend.take_asked(), []);
    })
    .await;
}
