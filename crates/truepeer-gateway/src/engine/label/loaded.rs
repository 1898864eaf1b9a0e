//! The maps and programs, loaded into the kernel.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::time::{ClockId, clock_gettime};

use super::lack::Lack;
use super::layout::{KEPT, KEY, PENDING};
use super::pins::{self, Pins};
use super::programs::{self, Family, Name};
use crate::engine::bpf::{Hook, KernelProgram, Map, MapLayout, NoSuchPlace, TypeInfo, netns_cookie};

/// Labels that nobody has taken yet, at once.
const MOST_PENDING: u32 = 1 << 16;

/// What is in the kernel, until the last descriptor is closed.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Labels that nobody has taken yet.
    pub(super) pending: Map,
    /// What sockets say.
    pub(super) kept: Map,
    /// Where what outlives this process is kept, if anything is to.
    pub(super) pins: Option<Pins>,
    /// Our network namespace.
    pub(super) netns: u64,
    /// Moves a pending label to the backend's socket.
    pub(super) adopt: KernelProgram,
    /// Say the client.
    pub(super) clients: [KernelProgram; 2],
    /// Say where it wanted to go.
    pub(super) destinations: [KernelProgram; 2],
}

impl Loaded {
    /// Makes the maps and has the kernel check and load the programs.
    pub(super) fn load(kept_in: Option<&Path>) -> Result<Self, Lack> {
        let step = |step: &'static str| move |error: io::Error| Lack::loading(step, &error);
        let netns = own_netns().map_err(step("SO_NETNS_COOKIE"))?;
        let (key, pending, kept) = (bytes(KEY), bytes(PENDING), bytes(KEPT));
        let layout = MapLayout::Hash { key, value: pending, most: MOST_PENDING };
        let pins =
            kept_in.map(|folder| Pins::open(folder, edition().map_err(step("programs"))?)).transpose()?;
        let map = |layout, name, types| match &pins {
            Some(pins) => pins.map(layout, name, types),
            None => Map::create(layout, name, types).map_err(step("maps")),
        };
        let pending = map(layout, "tp_pending", None)?;
        pins::sweep(&pending, nanoseconds()).map_err(step("labels of an earlier process"))?;
        let types = TypeInfo::load(&types(kept), INT, ARRAY).map_err(step("description of what is kept"))?;
        let kept = map(MapLayout::SocketStorage { value: kept }, "tp_label", Some(&types))?;
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
            kept,
            pins,
            netns,
        })
    }
}

fn load(code: Result<Vec<u8>, NoSuchPlace>, hook: Hook, name: &str) -> Result<KernelProgram, Lack> {
    let code = code.map_err(|error| Lack::loading(name, &io::Error::other(error)))?;
    KernelProgram::load(&code, hook, name).map_err(|loading| {
        // Its last words say what is wrong; the very last is a count.
        let verdict = loading.verifier.lines().rev().find(|line| !line.starts_with("processed "));
        let step = format!("{name}, {}", verdict.unwrap_or("which the verifier did not see"));
        Lack::loading(&step, &loading.error)
    })
}

/// The clock that never jumps.
pub(super) fn nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// Tells these programs from those of another version, whose maps and links are not ours.
fn edition() -> io::Result<u64> {
    let mut all = programs::adopt(0, 0).map_err(io::Error::other)?;
    for asked in [Name::Client, Name::Destination] {
        for family in [Family::V4, Family::V6] {
            all.extend(programs::answer(0, asked, family).map_err(io::Error::other)?);
        }
    }
    // FNV-1a: the same in every build, unlike the standard library's hasher.
    Ok(all
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
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
