//! A network namespace of one thread, and of those that it starts.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

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
