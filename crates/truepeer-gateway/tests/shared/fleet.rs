//! Three front doors with one store.

#![allow(unreachable_pub, reason = "shared by the files of this test")]

use std::time::{Duration, Instant};

use crate::program::{Folder, Program, client};
use crate::support::store::{Store, is_there};
use crate::support::{HeaderMailServer, eventually, read_to_end};

/// They, their store, and the backend behind all.
pub struct Fleet {
    pub doors: Vec<Program>,
    pub store: Store,
    pub backend: HeaderMailServer,
    _folder: Folder,
}

impl Fleet {
    /// Starts all and waits until each has read the store; `None` where there is none to be had.
    pub fn start(store: &[&str]) -> Option<Self> {
        if !is_there() {
            return None;
        }
        let folder = Folder::new();
        let store = Store::start(folder.0.clone(), store);
        let backend = HeaderMailServer::start();
        let mut fleet = Self { doors: Vec::new(), store, backend, _folder: folder };
        fleet.doors = ["mx0", "mx1", "mx2"].map(|node| fleet.one_more(node, "")).into();
        Some(fleet)
    }

    /// A front door beside the others, once it has read the store.
    pub fn one_more(&self, node: &str, more: &str) -> Program {
        let mut door = Program::start(&self.config(node, more));
        heard(&mut door, "event=shared_read");
        door
    }

    pub fn config(&self, node: &str, more: &str) -> String {
        let url = format!("redis://127.0.0.1:{}", self.store.port());
        config(&self.backend, &url, node, more)
    }

    /// One order for an hour at one of them.
    #[track_caller]
    pub fn deny(&self, door: usize, network: &str) {
        self.doors[door].command(&["deny", network, "--for", "1h", "--reason", "test"]).ok();
    }

    #[track_caller]
    pub fn refused_everywhere_within(&self, time: Duration, address: &str) {
        self.within(time, address, |said| said.starts_with(b"554 5.7.1 "));
    }

    #[track_caller]
    pub fn served_everywhere_within(&self, time: Duration, address: &str) {
        self.within(time, address, |said| said.starts_with(b"220 "));
    }

    #[track_caller]
    fn within(&self, time: Duration, address: &str, is_so: impl Fn(&[u8]) -> bool) {
        let began = Instant::now();
        for (number, door) in self.doors.iter().enumerate() {
            loop {
                let asked = Instant::now();
                let said = first_words(door, address);
                // Whatever the store does, nobody waits for it.
                assert!(asked.elapsed() < Duration::from_secs(1), "mx{number}: {:?}", asked.elapsed());
                if is_so(&said) {
                    break;
                }
                assert!(began.elapsed() < time, "mx{number} after {time:?}: {}", said.escape_ascii());
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
    }

    /// Every front door has so many bans.
    #[track_caller]
    pub fn know_within(&self, time: Duration, bans: usize) {
        let began = Instant::now();
        for (number, door) in self.doors.iter().enumerate() {
            let known = || door.command(&["status", "--json"]).json()[0]["denied"].clone();
            while known() != bans {
                assert!(began.elapsed() < time, "mx{number} knows {} bans, not {bans}", known());
            }
        }
    }

    /// Every front door has told its orders, and its store answers.
    #[track_caller]
    pub fn settled(&self) {
        for (number, door) in self.doors.iter().enumerate() {
            let status = || door.command(&["status", "--json"]).json()[0]["shared"].clone();
            let is_settled = || {
                let shared = status();
                shared["connected"] == true && shared["pending"] == 0 && shared["trouble"].is_null()
            };
            assert!(eventually(is_settled), "mx{number}: {}", status());
        }
    }
}

pub fn config(backend: &HeaderMailServer, url: &str, node: &str, more: &str) -> String {
    format!(
        "[server]\nhostname = \"mx.example\"\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n\
         [admin]\nsocket = \"ADMIN\"\nstate = \"FOLDERdenied\"\n[status]\nbind = \"127.0.0.1:0\"\n\
         [shared]\nurl = \"{url}\"\nnode = \"{node}\"\n{more}",
        backend.address
    )
}

/// The first line of a log that holds `text`, be it before the start was over.
#[track_caller]
pub fn heard(door: &mut Program, text: &str) -> String {
    let before = door.seen.iter().find(|line| line.contains(text)).cloned();
    before.unwrap_or_else(|| door.wait_for(text))
}

/// What a client hears first, and then leaves.
fn first_words(door: &Program, address: &str) -> Vec<u8> {
    use std::io::{Read, Write};
    let mut stream = client(door, address);
    let mut said = [0; 4];
    if stream.read_exact(&mut said).is_err() {
        return Vec::new();
    }
    let _ = stream.write_all(b"QUIT\r\n");
    let _ = stream.shutdown(std::net::Shutdown::Write);
    [said.to_vec(), read_to_end(&stream)].concat()
}
