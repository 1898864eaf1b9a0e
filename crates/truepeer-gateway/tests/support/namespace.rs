//! A network namespace of one thread, and of those that it starts.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::fake::Fake;

/// Keeps a namespace as long as it lives.
pub struct Keeper(Child);

impl Keeper {
    /// A process in the namespace.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Moves this thread, and those that it will start, into a fresh namespace.
pub fn enter() -> Option<Keeper> {
    Command::new("ip").arg("-V").stdout(Stdio::null()).status().ok()?;
    let mut child = Command::new("unshare")
        .args(["--net", "sh", "-c", "echo there; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut there = [0; 6];
    let said = child.stdout.as_mut()?.read_exact(&mut there);
    let keeper = Keeper(child);
    said.ok()?;
    let namespace = File::open(format!("/proc/{}/ns/net", keeper.0.id())).unwrap();
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).ok()?;
    Some(keeper)
}

/// A server in a namespace of its own, as in a container: at 10.84.0.2, and this namespace at 10.84.0.1, at the other end of
/// a cable, through which its answers go.
pub struct Container {
    /// Where it listens.
    pub server: SocketAddr,
    end: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Container {
    /// `start` starts it there.
    pub fn start(start: impl FnOnce() -> Fake + Send + 'static) -> Self {
        let ((send_pid, pid), (send_cable, cable)) = (sync_channel(1), sync_channel(1));
        let ((send_server, server), (end, ended)) = (sync_channel(1), sync_channel(1));
        let thread = std::thread::spawn(move || {
            let keeper = enter().unwrap();
            send_pid.send(keeper.pid()).unwrap();
            let () = cable.recv().unwrap();
            run("ip link set lo up");
            run("ip addr add 10.84.0.2/24 dev inside");
            run("ip link set inside up");
            run("ip route add default via 10.84.0.1");
            let server = start();
            send_server.send(server.address).unwrap();
            let _ = ended.recv();
            for heard in server.finish() {
                // Whatever a client said came from its own address, and none of the cable's.
                let heard = String::from_utf8(heard).unwrap();
                let is_us = heard.starts_with("10.84.0.") && !heard.ends_with(' ');
                assert!(!is_us, "a client appears as us: {heard}");
            }
        });
        run(&format!("ip link add outside type veth peer name inside netns {}", pid.recv().unwrap()));
        run("ip addr add 10.84.0.1/24 dev outside");
        run("ip link set outside up");
        send_cable.send(()).unwrap();
        Self { server: server.recv().unwrap(), end, thread }
    }

    /// Ends it: none of its clients was this end of the cable.
    pub fn end(self) {
        self.end.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// Runs `command` in this thread's namespace.
pub fn run(command: &str) {
    let command = command.split('#').next().unwrap().trim();
    // Not every system has that program; every one has the file.
    if let Some((key, value)) = command.strip_prefix("sysctl -w ").and_then(|set| set.split_once('=')) {
        return std::fs::write(format!("/proc/sys/{}", key.replace('.', "/")), value).unwrap();
    }
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command}");
}
