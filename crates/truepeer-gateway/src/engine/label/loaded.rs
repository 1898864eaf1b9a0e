//! The maps and programs, loaded into the kernel.

use std::io;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::os::fd::AsFd;

use super::lack::Lack;
use super::layout::{KEPT, KEY, PENDING};
use super::programs::{self, Family, Name};
use crate::engine::bpf::{Hook, Layout, Map, NoSuchPlace, Program, TypeInfo, netns_cookie};

/// Labels that nobody has taken yet, at once.
const MOST_PENDING: u32 = 1 << 16;

/// What is in the kernel, until the last descriptor is closed.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Labels that nobody has taken yet.
    pub(super) pending: Map,
    /// Our network namespace.
    pub(super) netns: u64,
    /// Moves a pending label to the backend's socket.
    pub(super) adopt: Program,
    /// Say the client.
    pub(super) clients: [Program; 2],
    /// Say where it wanted to go.
    pub(super) destinations: [Program; 2],
}

impl Loaded {
    /// Makes the maps and has the kernel check and load the programs.
    pub(super) fn load() -> Result<Self, Lack> {
        let step = |step: &'static str| move |error: io::Error| Lack::loading(step, &error);
        let netns = own_netns().map_err(step("SO_NETNS_COOKIE"))?;
        let (key, pending, kept) = (bytes(KEY), bytes(PENDING), bytes(KEPT));
        let layout = Layout::Hash { key, value: pending, most: MOST_PENDING };
        let pending = Map::create(layout, "tp_pending", None).map_err(step("map of pending labels"))?;
        let types = TypeInfo::load(&types(kept), INT, ARRAY).map_err(step("description of what is kept"))?;
        let kept = Map::create(Layout::SocketStorage { value: kept }, "tp_label", Some(&types))
            .map_err(step("map of sockets"))?;
        let answer =
            |asked, family, hook, name| load(programs::answer(kept.descriptor(), asked, family), hook, name);
        Ok(Self {
            adopt: load(
                programs::adopt(pending.descriptor(), kept.descriptor()),
                Hook::SocketOperations,
                "tp_adopt",
            )?,
            clients: [
                answer(Name::Client, Family::V4, Hook::PeerName4, "tp_client4")?,
                answer(Name::Client, Family::V6, Hook::PeerName6, "tp_client6")?,
            ],
            destinations: [
                answer(Name::Destination, Family::V4, Hook::SocketName4, "tp_dest4")?,
                answer(Name::Destination, Family::V6, Hook::SocketName6, "tp_dest6")?,
            ],
            pending,
            netns,
        })
    }
}

fn load(code: Result<Vec<u8>, NoSuchPlace>, hook: Hook, name: &str) -> Result<Program, Lack> {
    let code = code.map_err(|error| Lack::loading(name, &io::Error::other(error)))?;
    Program::load(&code, hook, name).map_err(|loading| {
        // Its last words say what is wrong; the very last is a count.
        let verdict = loading.verifier.lines().rev().find(|line| !line.starts_with("processed "));
        let step = format!("{name}, {}", verdict.unwrap_or("which the verifier did not see"));
        Lack::loading(&step, &loading.error)
    })
}

fn own_netns() -> io::Result<u64> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    netns_cookie(socket.as_fd())
}

fn bytes(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// The number of the type of a descriptor, in [`types`].
const INT: u32 = 1;
const BYTE: u32 = 2;
/// The number of the type of what is kept.
const ARRAY: u32 = 3;

/// What the kernel wants to know of a map beside sockets: its key is an int, its value so many bytes. In its own format
/// for types, BTF.
fn types(value: u32) -> Vec<u8> {
    const MAGIC: u16 = 0xeb9f;
    const VERSION: u8 = 1;
    const HEADER: u32 = 24;
    const KIND_INT: u32 = 1 << 24;
    const KIND_ARRAY: u32 = 3 << 24;
    const SIGNED: u32 = 1 << 24;
    let names = b"\0int\0u8\0";
    let (int_name, byte_name) = (1, 5);
    let words = [
        [int_name, KIND_INT, 4, SIGNED | 32].as_slice(),
        &[byte_name, KIND_INT, 1, 8],
        &[0, KIND_ARRAY, 0, BYTE, INT, value],
    ]
    .concat();
    let len = bytes(words.len().saturating_mul(4));
    let mut blob = Vec::new();
    blob.extend(MAGIC.to_ne_bytes());
    blob.extend([VERSION, 0]);
    for word in [HEADER, 0, len, len, bytes(names.len())].into_iter().chain(words) {
        blob.extend(word.to_ne_bytes());
    }
    blob.extend(names);
    blob
}
