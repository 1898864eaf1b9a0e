//! The whole worker in a simulated world: accept, the walk, the record, limits, bans, drain. Random schedules of all that
//! peers, clients, backends, operators and the system can do, each judged when it is over ([`judge`]).
//!
//! Seeded: a schedule that fails says its seed, and replays with `TRUEPEER_SEED`. `TRUEPEER_SCHEDULES` makes more.

#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a schedule that fails says its seed, all of them how they ended"
)]

mod expect;
mod judge;
mod orders;
mod paper;
mod play;
mod scene;
mod visitor;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use truepeer_testkit::dice::Dice;

use self::paper::Paper;
use self::scene::{Ground, Meetings, Scene, VARIANTS, network};
use crate::engine::run;
use crate::engine::simulated::World;
use crate::facts::outcome::Outcome;

pub(super) use self::scene::any_door;

/// Schedules of an ordinary run.
const SCHEDULES: u64 = 20_000;

/// Failures after which no more are looked for.
const ENOUGH: u32 = 20;

fn schedule(seed: u64, ground: &Ground, paper: &Paper) -> Tally {
    let mut dice = Dice(seed);
    let meetings = Meetings::default();
    let world = World::begin(network(dice.split(), Rc::clone(&meetings)));
    let variant = dice.index(VARIANTS.len());
    let before = ground.log.lost();
    let played = run(async {
        let scene = Scene::new(ground, world, meetings, variant, &mut dice);
        let play = play::play(&scene, variant, &mut dice, ground, paper).await;
        (scene, play)
    });
    let (scene, play) = played.unwrap();
    let lines = paper.take(&ground.log);
    judge::judge(&scene, &play, &lines, ground.log.lost() - before);
    Outcome::ALL.map(|outcome| scene.ended_as(outcome))
}

/// How many connections ended as each outcome.
type Tally = [u64; Outcome::ALL.len()];

fn schedules(seeds: impl IntoIterator<Item = u64>) -> Tally {
    let (paper, log, _writer) = Paper::new();
    let ground = Ground::new(log);
    let (mut failed, mut tally) = (0, [0; Outcome::ALL.len()]);
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| schedule(seed, &ground, &paper))) {
            Ok(ended) => tally.iter_mut().zip(ended).for_each(|(sum, more)| *sum += more),
            Err(_) => {
                eprintln!("TRUEPEER_SEED={seed}");
                failed += 1;
                // What was written of it is not the next one's.
                paper.take(&ground.log);
            }
        }
        assert!(failed < ENOUGH, "{failed} schedules failed");
    }
    assert_eq!(failed, 0, "schedules failed");
    tally
}

/// Ends that no schedule comes to: with programs, words of proxies and of backends, and by a mistake of ours.
const NEVER: [Outcome; 8] = [
    Outcome::OwnNoCheck,
    Outcome::OwnLimit,
    Outcome::HeaderVersion,
    Outcome::HeaderHeldBack,
    Outcome::BackendFull,
    Outcome::HandoffRefused,
    Outcome::BackendTurnsAway,
    Outcome::Internal,
];

#[test]
fn whatever_happens_a_backend_is_told_the_truth_and_a_connection_leaves_one_right_record_and_nothing_else() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(seed) = number("TRUEPEER_SEED") {
        schedules([seed]);
        return;
    }
    // Two halves, for the two cores that there are.
    let count = number("TRUEPEER_SCHEDULES").unwrap_or(SCHEDULES);
    let (odd, even) = std::thread::scope(|scope| {
        let odd = scope.spawn(|| schedules((0..count).skip(1).step_by(2)));
        let even = schedules((0..count).step_by(2));
        (odd.join().unwrap(), even)
    });
    for ((outcome, odd), even) in Outcome::ALL.into_iter().zip(odd).zip(even) {
        let (code, ended) = (outcome.facts().code, odd + even);
        println!("{ended:>8} {code}");
        // The dice reach every end that there is, so that none goes untested.
        assert!(NEVER.contains(&outcome) || ended > 0 || count < SCHEDULES, "nobody ended as {code}");
        assert!(!NEVER.contains(&outcome) || ended == 0, "{ended} ended as {code}");
    }
}
