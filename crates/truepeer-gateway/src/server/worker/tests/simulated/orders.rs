//! Orders while accepting pauses: a pause for want of descriptors may last a second, and no order waits for its end.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;
use truepeer::PeerAddress;

use super::Dice;
use super::paper::Paper;
use super::scene::{Ground, Meetings, Scene, network};
use crate::engine::simulated::{World, turn};
use crate::engine::{later, run, until};
use crate::server::worker::{PortCommand, Stop};

#[test]
fn an_order_is_obeyed_at_once_while_accepting_pauses_for_want_of_descriptors() {
    let (_paper, log, _writer) = Paper::new();
    let ground = Ground::new(log);
    let mut dice = Dice(1);
    let meetings = Meetings::default();
    let world = World::begin(network(dice.split(), Rc::clone(&meetings)));
    let done = run(async {
        let scene = Scene::new(&ground, world, meetings, 0, &mut dice);
        let turns = async || {
            for _ in 0..4 {
                turn().await;
            }
        };
        turns().await;
        assert_eq!(scene.open.load(Ordering::Relaxed), 1);
        // Eight in a row: pauses of 10, 20, ... 640 ms, and of a second.
        (0..8).for_each(|_| scene.world.lack(Errno::MFILE));
        until(later(scene.world.now(), Duration::from_millis(1400))).await;
        let peer = PeerAddress::tcp(([10, 0, 0, 9], 4711).into());
        let _waiting = scene.world.call(peer, None, 100);
        turns().await;
        assert_eq!(scene.world.queued(), 1, "accepting does not pause");
        for (order, listening) in [(PortCommand::Shut, 0), (PortCommand::Listen, 1)] {
            let before = scene.world.now();
            scene.tell(order);
            turns().await;
            let took = scene.world.now().saturating_duration_since(before);
            assert_eq!(
                scene.open.load(Ordering::Relaxed),
                listening,
                "{order:?} waits for the end of the pause"
            );
            assert!(took < Duration::from_millis(20), "{order:?} took {took:?}");
        }
        scene.stop.send_replace(Stop::DrainUntil(scene.world.now()));
        scene.worker.emptied().await;
    });
    done.unwrap();
}
