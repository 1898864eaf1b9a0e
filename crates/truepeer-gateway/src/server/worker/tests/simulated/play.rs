//! One schedule as it is played: who does what next, as the dice fall; then everybody who can comes to an end.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use truepeer::PeerAddress;

use super::Dice;
use super::paper::Paper;
use super::scene::{Fate, Ground, PER_CLIENT, Scene, VARIANTS};
use super::visitor::Visitor;
use crate::engine::simulated::{Theirs, held_by_loop, turn};
use crate::engine::{in_time, later, until};
use crate::observe::log::LINES;
use crate::rooms::bans::{BanChange, BanDuration, BanOrder, BanReason};
use crate::server::worker::{PortCommand, Stop};

/// The most that come in one schedule.
const MOST_VISITORS: u64 = 6;
/// Rounds in which everybody comes to an end, before somebody counts as one who never does. A body of thousands of bytes
/// may go through room for one, two rounds for each.
const LAST_ROUNDS: u32 = 30_000;

/// What was played.
pub(super) struct Play {
    pub(super) visitors: Vec<Visitor>,
    /// When connections that were open then were cut.
    pub(super) drain_over: Option<Instant>,
    /// Whether all were silent for long.
    pub(super) long_silence: bool,
    /// Lines that were written only to fill the log's queue, and how many of these were lost.
    pub(super) fillers: u64,
    pub(super) fillers_lost: u64,
    /// What the loop still holds: sockets, deadlines.
    pub(super) held_by_loop: (usize, usize),
    variant: usize,
    seen: Instant,
    passed: Duration,
    /// Whether the port was shut for a while, which takes whoever is queued.
    was_shut: bool,
}

pub(super) async fn play(
    scene: &Scene,
    variant: usize,
    dice: &mut Dice,
    ground: &Ground,
    paper: &Paper,
) -> Play {
    let mut play = Play {
        visitors: Vec::new(),
        drain_over: None,
        long_silence: false,
        fillers: 0,
        fillers_lost: 0,
        held_by_loop: (0, 0),
        variant,
        seen: scene.world.now(),
        passed: Duration::ZERO,
        was_shut: false,
    };
    let wanted = usize::try_from(1 + dice.below(MOST_VISITORS)).unwrap();
    let steps = 20 + dice.below(100);
    // Some days are quiet.
    let unrest = dice.below(3);
    for _ in 0..steps {
        match dice.below(64) {
            0..6 if play.visitors.len() < wanted && play.drain_over.is_none() => play.come(scene, dice),
            0..36 => play.one_does(scene, dice, unrest),
            36..40 => play.pass(Duration::from_millis(dice.below(20)), scene).await,
            40 => play.pass(Duration::from_millis(dice.below(4000)), scene).await,
            41 if dice.below(16) == 0 => play.pass(Duration::from_secs(70), scene).await,
            42 | 43 if unrest > 0 => play.order(scene, dice, ground, paper),
            _ => play.turn(scene).await,
        }
    }
    play.long_silence = play.passed > Duration::from_secs(50);
    play.passed = Duration::ZERO;
    play.end(scene, dice, wanted).await;
    play
}

impl Play {
    fn come(&mut self, scene: &Scene, dice: &mut Dice) {
        let mut visitor = Visitor::new(self.visitors.len(), self.variant, dice, scene.world.now());
        let reached = Some(([192, 0, 2, 25], 25).into());
        let room = 1 + usize::try_from(dice.size(4000)).unwrap();
        visitor.theirs = Some(scene.world.call(PeerAddress::tcp(visitor.peer), reached, room));
        if dice.below(3) > 0 {
            // What one write brings, as from most proxies.
            visitor.send(usize::MAX, scene.world.now());
        }
        self.visitors.push(visitor);
    }

    /// One of the ends does something.
    fn one_does(&mut self, scene: &Scene, dice: &mut Dice, unrest: u64) {
        let now = scene.world.now();
        let meetings = scene.meetings.borrow().len();
        let who = dice.index((self.visitors.len() + meetings).max(1));
        let how_much = 1 + usize::try_from(dice.size(4000)).unwrap();
        let what = dice.below(64);
        if let Some(visitor) = self.visitors.get_mut(who) {
            match what {
                0..28 => visitor.send(how_much, now),
                28..52 => visitor.hear(how_much),
                52..54 => visitor.finish(now),
                54 if unrest > 0 => {
                    if let Some(theirs) = &visitor.theirs {
                        theirs.reset();
                        visitor.broke.get_or_insert(now);
                    }
                }
                55 if unrest > 0 && visitor.theirs.take().is_some() => {
                    visitor.broke.get_or_insert(now);
                }
                _ => {}
            }
        } else if let Some(meeting) = scene.meetings.borrow_mut().get_mut(who - self.visitors.len()) {
            let Some(theirs) = &meeting.theirs else { return };
            match what {
                0..8 | 30..40 if theirs.is_connecting() => {
                    meeting.answer(now);
                }
                8 | 9 if theirs.is_connecting() && unrest > 0 => {
                    let errno = if what == 8 { Errno::CONNREFUSED } else { Errno::TIMEDOUT };
                    theirs.refuse(errno);
                    meeting.fate = Fate::Failed(errno);
                }
                0..28 => meeting.send(how_much),
                28..52 => meeting.hear(how_much),
                52..54 => meeting.finish(),
                54 if unrest > 0 && meeting.fate == Fate::Open => {
                    theirs.reset();
                    meeting.broke = true;
                }
                55 if unrest > 0 && meeting.fate == Fate::Open => {
                    meeting.theirs = None;
                    meeting.broke = true;
                }
                _ => {}
            }
        }
    }

    /// An operator, a keeper or the system does something.
    fn order(&mut self, scene: &Scene, dice: &mut Dice, ground: &Ground, paper: &Paper) {
        match dice.below(24) {
            0..4 if !self.visitors.is_empty() => {
                let who = dice.index(self.visitors.len());
                let peer = PeerAddress::tcp(self.visitors[who].peer);
                let cut = scene.registry.cut(|entry| entry.peer() == peer);
                assert!(cut <= 1, "{peer} is listed {cut} times");
                self.visitors[who].is_cut |= cut == 1;
            }
            4..8 => {
                // Who was accepted keeps its door; who still waits comes to the new one.
                self.variant = dice.index(VARIANTS.len());
                scene.reload(ground, self.variant);
                let accepted = self.visitors.len() - scene.world.queued();
                for visitor in self.visitors.iter_mut().skip(accepted) {
                    visitor.variant = self.variant;
                }
            }
            8..12 => scene.mend(),
            12..15 if !self.visitors.is_empty() => {
                let whom = self.visitors[dice.index(self.visitors.len())].ip();
                if whom.to_string().starts_with("10.") {
                    return;
                }
                let lasts = BanDuration::from_duration(Duration::from_secs(3600)).unwrap();
                let order = BanOrder { network: whom.into(), lasts, reason: BanReason::new("simulated") };
                let (made, _) = scene.denied.make(&[BanChange::Add(order)]);
                assert!(made.iter().all(Result::is_ok));
                for visitor in self.visitors.iter_mut().filter(|visitor| visitor.ip() == whom) {
                    visitor.may_be_banned = true;
                }
                self.bans(scene);
            }
            16 if self.drain_over.is_none() => {
                self.was_shut = true;
                scene.tell(if dice.below(2) == 0 { PortCommand::Shut } else { PortCommand::Listen });
            }
            15 => {
                let lifted = scene.denied.list().into_iter().map(|ban| BanChange::Remove(ban.network));
                let lifted: Vec<_> = lifted.collect();
                let _ = scene.denied.make(&lifted);
            }
            17 if self.drain_over.is_none() => {
                let over = scene.world.now() + Duration::from_millis(dice.size(20_000));
                scene.stop.send_replace(Stop::DrainUntil(over));
                self.drain_over = Some(over);
            }
            18 | 19 if self.drain_over.is_none() => {
                scene.world.lack(if dice.below(2) == 0 { Errno::MFILE } else { Errno::CONNABORTED });
            }
            20 | 21 => paper.block(),
            22 => paper.unblock(),
            23 if dice.below(24) == 0 => {
                paper.block();
                let before = ground.log.lost();
                self.fillers += LINES as u64 + 300;
                (0..LINES + 300).for_each(|_| ground.log.line(|_, _| ()));
                self.fillers_lost += ground.log.lost() - before;
            }
            _ => {}
        }
    }

    /// Everybody whom a ban names now may be kept out by it.
    fn bans(&mut self, scene: &Scene) {
        let bans = scene.denied.list();
        for visitor in &mut self.visitors {
            visitor.may_be_banned |= bans.iter().any(|ban| ban.network.contains(&visitor.ip()));
        }
    }

    async fn turn(&mut self, scene: &Scene) {
        turn().await;
        self.look(scene);
    }

    async fn pass(&mut self, by: Duration, scene: &Scene) {
        self.passed += by;
        until(later(scene.world.now(), by)).await;
        self.look(scene);
    }

    /// Notes what has happened meanwhile, and what must hold at every moment.
    fn look(&mut self, scene: &Scene) {
        let (before, now) = (self.seen, scene.world.now());
        self.seen = now;
        self.bans(scene);
        let accepted = self.visitors.len() - scene.world.queued();
        for visitor in self.visitors.iter_mut().take(accepted) {
            visitor.accepted.get_or_insert((before.max(visitor.came), now));
        }
        for visitor in &mut self.visitors {
            if visitor.theirs.as_ref().is_some_and(Theirs::is_left) {
                visitor.left.get_or_insert(now);
            }
        }
        if self.drain_over.is_none() && !self.was_shut {
            assert!(scene.admission.open() <= scene.admission.max(), "more are open than there may be");
        }
        let is_served = |visitor: &Visitor| {
            visitor.left.is_none()
                && visitor.is_client()
                && scene.meetings.borrow().iter().any(|meeting| {
                    meeting.client == Some(visitor.client())
                        && meeting.fate == Fate::Open
                        && meeting.theirs.as_ref().is_some_and(|theirs| !theirs.is_left())
                })
        };
        let served: Vec<_> =
            self.visitors.iter().filter(|visitor| is_served(visitor)).map(Visitor::ip).collect();
        for ip in &served {
            let count = served.iter().filter(|other| *other == ip).count();
            assert!(count <= PER_CLIENT, "{count} of {ip} are served at once");
        }
    }

    /// Everybody who is missing comes, and whoever can comes to an end.
    async fn end(&mut self, scene: &Scene, dice: &mut Dice, wanted: usize) {
        while self.visitors.len() < wanted && self.drain_over.is_none() {
            self.come(scene, dice);
        }
        scene.tell(PortCommand::Listen);
        // Some let deadlines pass, others end at once.
        let slow = dice.below(2) == 0;
        for round in 0..LAST_ROUNDS {
            if scene.admission.open() == 0 && (scene.world.queued() == 0 || self.is_drained(scene)) {
                break;
            }
            let now = scene.world.now();
            for visitor in &mut self.visitors {
                visitor.send(usize::MAX, now);
                visitor.hear(usize::MAX);
                if visitor.is_done() && visitor.stops_at.is_none() {
                    visitor.finish(now);
                }
            }
            // One who is silent inside its header is waited for; behind it, it ends.
            if round > 60 {
                self.visitors.iter_mut().for_each(|visitor| visitor.finish(now));
            }
            for meeting in scene.meetings.borrow_mut().iter_mut() {
                if round < 60
                    && dice.below(8) == 0
                    && meeting.theirs.as_ref().is_some_and(Theirs::is_connecting)
                {
                    meeting.answer(now);
                }
                meeting.hear(usize::MAX);
                meeting.send(usize::MAX);
                if meeting.sent == meeting.body.len() {
                    meeting.finish();
                }
            }
            self.turn(scene).await;
            if round % 4 == 3 {
                let millis = if slow || round > 60 { 1000 } else { 50 };
                self.pass(Duration::from_millis(dice.below(millis)), scene).await;
            }
        }
        if self.drain_over.is_none() {
            scene.stop.send_replace(Stop::DrainUntil(later(scene.world.now(), Duration::from_secs(3600))));
        }
        let patience = later(scene.world.now(), Duration::from_secs(7200));
        in_time(patience, scene.worker.emptied()).await.expect("a worker never ends");
        self.look(scene);
        for visitor in &mut self.visitors {
            visitor.hear(usize::MAX);
            visitor.hear(usize::MAX);
        }
        for meeting in scene.meetings.borrow_mut().iter_mut() {
            meeting.hear(usize::MAX);
        }
        // Deadlines of those who have ended are gone, too.
        turn().await;
        self.held_by_loop = held_by_loop();
    }

    fn is_drained(&self, scene: &Scene) -> bool {
        self.drain_over.is_some() && scene.worker.is_empty()
    }
}
