#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::engine::socket::Family;
use crate::engine::{Binding, Given, Socket, bind, in_time, later, now, say, until};
use crate::facts::bind::{Bind, Families};

const PATIENCE: Duration = Duration::from_secs(20);

/// Counts how often it is dropped.
struct Dropped(Rc<Cell<usize>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

fn patient<T>(future: impl Future<Output = T>) -> T {
    run(async { in_time(later(now(), PATIENCE), future).await.expect("it takes too long") }).unwrap()
}

#[test]
fn tasks_run_beside_each_other_and_are_counted_until_they_end() {
    let order = Rc::new(RefCell::new(Vec::new()));
    patient(async {
        let tasks = Rc::new(Tasks::default());
        for number in 0..3 {
            let order = Rc::clone(&order);
            let more = Rc::clone(&tasks);
            tasks.spawn(async move {
                order.borrow_mut().push(number);
                until(later(now(), Duration::from_millis(1))).await;
                more.spawn(async move { order.borrow_mut().push(number + 10) });
            });
        }
        assert_eq!(tasks.len(), 3);
        tasks.emptied().await;
    });
    let mut order = order.take();
    order[3..].sort_unstable();
    assert_eq!(order, [0, 1, 2, 10, 11, 12]);
}

#[test]
fn a_panic_ends_its_task_gives_back_what_it_held_and_nothing_else() {
    let dropped = Rc::new(Cell::new(0));
    patient(async {
        let tasks = Tasks::default();
        let held = Dropped(Rc::clone(&dropped));
        tasks.spawn(async move {
            let _held = held;
            until(later(now(), Duration::from_millis(1))).await;
            panic!("on purpose");
        });
        tasks.emptied().await;
        assert_eq!(dropped.get(), 1);
        tasks.spawn(async {});
        tasks.emptied().await;
    });
}

#[test]
fn cutting_drops_the_tasks_of_one_set_only() {
    let dropped = Rc::new(Cell::new(0));
    patient(async {
        let (cut, kept) = (Tasks::default(), Tasks::default());
        for tasks in [&cut, &cut, &kept] {
            let held = Dropped(Rc::clone(&dropped));
            tasks.spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            });
        }
        // One has begun to wait, one has never been polled.
        cut.cut();
        assert_eq!((dropped.get(), cut.len(), kept.len()), (2, 0, 1));
        drop(kept);
        assert_eq!(dropped.get(), 3);
    });
}

#[test]
fn what_is_left_when_the_loop_ends_is_dropped() {
    let dropped = Rc::new(Cell::new(0));
    let tasks = patient(async {
        let tasks = Tasks::default();
        let held = Dropped(Rc::clone(&dropped));
        tasks.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        tasks
    });
    assert_eq!((dropped.get(), tasks.len()), (1, 0));
}

#[test]
fn another_thread_wakes_a_loop_that_sleeps() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let (asleep, begin) = std::sync::mpsc::sync_channel(1);
    let other = thread::spawn(move || {
        begin.recv().unwrap();
        tell.send(7).unwrap();
    });
    let heard = patient(async {
        asleep.send(()).unwrap();
        told.await.unwrap()
    });
    assert_eq!(heard, 7);
    other.join().unwrap();
}

#[test]
fn nobody_is_told_too_soon_and_all_are_told_in_order() {
    let order = Rc::new(RefCell::new(Vec::new()));
    patient(async {
        let tasks = Tasks::default();
        for millis in [30, 5, 0, 12] {
            let order = Rc::clone(&order);
            let begun = Instant::now();
            let due = later(now(), Duration::from_millis(millis));
            tasks.spawn(async move {
                until(due).await;
                assert!(Instant::now() >= due, "{millis} ms took {:?}", begun.elapsed());
                order.borrow_mut().push(millis);
            });
        }
        tasks.emptied().await;
    });
    assert_eq!(*order.borrow(), [0, 5, 12, 30]);
}

#[test]
fn a_deadline_that_was_not_reached_leaves_nothing_behind() {
    patient(async {
        // The test's own patience is the only one that waits.
        for _ in 0..100 {
            let due = later(now(), PATIENCE);
            in_time(due, until(later(now(), Duration::from_micros(1)))).await;
        }
        assert_eq!(here(|here| here.timers.waiting()), Some(1));
    });
}

#[test]
fn bytes_and_the_end_behind_them_are_found_without_a_second_wake_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    let (heard, ended) = patient(async move {
        let socket = Socket::accepted(ours.into(), Family::Tcp).unwrap();
        let other = thread::spawn(move || {
            client.write_all(b"all of it").unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"heard");
        });
        let mut heard = Vec::new();
        let mut ended = false;
        while !ended {
            let due = later(now(), PATIENCE);
            match crate::engine::receive(&socket, &mut heard, due, None).await {
                crate::engine::Received::Bytes(_) => {}
                other => ended = matches!(other, crate::engine::Received::Ended),
            }
        }
        say(&socket, b"heard", later(now(), PATIENCE)).await.unwrap();
        drop(socket);
        other.join().unwrap();
        (heard, ended)
    });
    assert_eq!((&*heard, ended), (&b"all of it"[..], true));
}

#[test]
fn whoever_waits_at_a_socket_that_rests_costs_no_turns_and_is_accepted_later() {
    let any_port = Bind::Tcp { addr: "127.0.0.1:0".parse().unwrap(), families: Families::Own };
    let mut listening = bind(&any_port, "bind", 1, Binding::Listens, &Given::default()).unwrap();
    let address = listening.tcp.unwrap();
    patient(async {
        let acceptor = listening.take_acceptor().unwrap().unwrap();
        let pause = Duration::from_millis(40);
        // It waits once, so that the kernel tells of who comes.
        assert!(in_time(now(), acceptor.accept()).await.is_none());
        let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        acceptor.rest();
        let before = here(Loop::turn).unwrap();
        until(later(now(), pause)).await;
        let turns = here(Loop::turn).unwrap() - before;
        assert!(turns < 10, "{turns} turns");
        for _ in &clients {
            let arrival = acceptor.accept().await.unwrap();
            assert_eq!(arrival.reached, Some(address));
        }
    });
}
