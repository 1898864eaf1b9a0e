use std::os::unix::net::UnixDatagram;

use super::*;
use crate::server::pulse::Pulse;

const PATIENCE: Duration = Duration::from_secs(20);

/// A manager that listens under a name of its own in the abstract namespace.
fn manager(name: &str) -> (Manager, UnixDatagram) {
    let name = format!("truepeer-{name}-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (Manager::at(format!("@{name}").as_bytes()).unwrap(), socket)
}

fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let count = loop {
        match socket.recv(&mut bytes) {
            // A signal of somebody else's, such as the end of a child.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            received => break received.unwrap(),
        }
    };
    String::from_utf8(bytes[..count].to_vec()).unwrap()
}

#[test]
fn what_is_said_is_what_sd_notify_defines() {
    let (manager, socket) = manager("words");
    manager.ready("listening on 2 addresses\nand more");
    assert_eq!(heard(&socket), "READY=1\nSTATUS=listening on 2 addresses");
    let before = clock_gettime(ClockId::Monotonic).tv_sec;
    manager.reloading();
    let said = heard(&socket);
    let micros = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    let micros: i64 = micros.strip_suffix("\nSTATUS=reloading").unwrap().parse().unwrap();
    assert!((before..before + 20).contains(&(micros / 1_000_000)), "{said}");
    manager.stopping(Duration::from_secs(30), "draining");
    assert_eq!(heard(&socket), "STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000\nSTATUS=draining");
    manager.alive();
    assert_eq!(heard(&socket), "WATCHDOG=1");
}

#[test]
fn a_name_that_is_no_address_is_refused() {
    let error = Manager::at(b"run/notify").unwrap_err().to_string();
    assert_eq!(error, "run/notify is neither a path nor a name that begins with @");
}

#[test]
fn a_manager_that_is_gone_or_full_is_not_waited_for() {
    let (manager, socket) = manager("full");
    for _ in 0..10_000 {
        manager.alive();
    }
    drop(socket);
    manager.alive();
}

#[test]
fn a_worker_that_does_not_answer_ends_the_signs_of_life() {
    let (manager, socket) = manager("silent");
    let (pulse, beats) = Pulse::new(2);
    let mut beats = beats.into_iter();
    let (good, stuck) = (beats.next().unwrap(), beats.next().unwrap());
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let good = std::thread::spawn(move || runtime().block_on(good.during(ended)));
    // The second worker's executor turns until it is told to block, and is let go later.
    let (block, blocked) = tokio::sync::oneshot::channel::<()>();
    let (blocks, does_block) = std::sync::mpsc::sync_channel::<()>(1);
    let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
    let stuck = std::thread::spawn(move || {
        runtime().block_on(stuck.during(async move {
            let _ = blocked.await;
            blocks.send(()).unwrap();
            let _ = released.recv();
            std::future::pending::<()>().await;
        }));
    });

    let patience = Duration::from_millis(100);
    let watchdog = Watchdog::start(pulse, manager, patience).unwrap();
    for _ in 0..3 {
        assert_eq!(heard(&socket), "WATCHDOG=1");
    }
    block.send(()).unwrap();
    does_block.recv().unwrap();
    // What was said before may still be there, and one answer may have been on its way; then silence for ten times
    // the patience, though the other worker answers.
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut [0; 64]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(patience * 10)).unwrap();
    let mut said = 0;
    while socket.recv(&mut [0; 64]).is_ok() {
        said += 1;
        assert!(said <= 1, "signs of life from a stuck worker");
    }
    release.send(()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..3 {
        assert_eq!(heard(&socket), "WATCHDOG=1");
    }
    drop(watchdog);
    end.send(()).unwrap();
    good.join().unwrap().unwrap();
    drop(stuck);
}

#[test]
fn workers_that_have_ended_in_order_are_not_waited_for() {
    let (manager, socket) = manager("left");
    let (pulse, beats) = Pulse::new(2);
    for beat in beats {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(beat.during(std::future::ready(())));
    }
    let _watchdog = Watchdog::start(pulse, manager, Duration::from_millis(10)).unwrap();
    assert_eq!((heard(&socket), heard(&socket)), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
}
