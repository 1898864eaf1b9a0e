//! bpf(2): the handful of commands that a label needs, none of which has a safe binding in a crate that we use.
//!
//! Every length that the kernel goes by is checked or made here, so that callers cannot have it read or write beyond what
//! they gave.

#![expect(unsafe_code, reason = "bpf(2) has no safe binding")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::attributes::{
    AtPath, Attributes, Command, Info, InfoOf, LinkCreate, LinkInfo, MapCreate, MapEntry, MapInfo, Pointer,
    ProgramLoad, TypesLoad,
};

/// Where a program is called, and what kind of program that takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// What happens to TCP connections.
    SocketOperations,
    /// What an IPv4 socket says of its other end.
    PeerName4,
    /// The same for IPv6.
    PeerName6,
    /// What an IPv4 socket says of its own end.
    SocketName4,
    /// The same for IPv6.
    SocketName6,
}

impl Hook {
    const fn program_type(self) -> u32 {
        match self {
            Self::SocketOperations => 13,
            Self::PeerName4 | Self::PeerName6 | Self::SocketName4 | Self::SocketName6 => 18,
        }
    }

    const fn attach_type(self) -> u32 {
        match self {
            Self::SocketOperations => 3,
            Self::PeerName4 => 29,
            Self::PeerName6 => 30,
            Self::SocketName4 => 31,
            Self::SocketName6 => 32,
        }
    }
}

/// What a map keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapLayout {
    /// Values by keys, at most so many.
    Hash {
        /// Bytes of a key.
        key: u32,
        /// Bytes of a value.
        value: u32,
        /// The most entries.
        most: u32,
    },
    /// A value beside each socket, gone with it. Its key is a descriptor of the socket, of four bytes.
    SocketStorage {
        /// Bytes of a value.
        value: u32,
    },
}

impl MapLayout {
    const fn key(self) -> u32 {
        match self {
            Self::Hash { key, .. } => key,
            Self::SocketStorage { .. } => 4,
        }
    }

    const fn value(self) -> u32 {
        match self {
            Self::Hash { value, .. } | Self::SocketStorage { value } => value,
        }
    }

    const fn map_type(self) -> u32 {
        match self {
            Self::Hash { .. } => 1,
            Self::SocketStorage { .. } => 24,
        }
    }

    const fn most(self) -> u32 {
        match self {
            Self::Hash { most, .. } => most,
            Self::SocketStorage { .. } => 0,
        }
    }
}

/// Types that the kernel is told of a map's key and value.
#[derive(Debug)]
pub(crate) struct TypeInfo {
    fd: OwnedFd,
    /// The number of the key's type.
    pub(crate) key: u32,
    /// The number of the value's type.
    pub(crate) value: u32,
}

impl TypeInfo {
    /// Loads a description in the kernel's own format, in which `key` and `value` are the numbers of the two types.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn load(description: &[u8], key: u32, value: u32) -> io::Result<Self> {
        let mut attr = TypesLoad {
            types: Pointer::to(description),
            log: Pointer::none(),
            size: len(description.len())?,
            log_size: 0,
            log_level: 0,
            reserved: 0,
        };
        Ok(Self { fd: descriptor(Command::TypesLoad, &mut attr)?, key, value })
    }
}

/// A map in the kernel.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    layout: MapLayout,
}

impl Map {
    /// Makes one.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn create(layout: MapLayout, name: &str, types: Option<&TypeInfo>) -> io::Result<Self> {
        /// Memory is taken when an entry is made.
        const NO_PREALLOCATION: u32 = 1;
        let mut attr = MapCreate {
            map_type: layout.map_type(),
            key: layout.key(),
            value: layout.value(),
            most: layout.most(),
            flags: NO_PREALLOCATION,
            inner_map: 0,
            numa_node: 0,
            name: object_name(name),
            interface: 0,
            types: types.map_or(Ok(0), |types| descriptor_number(types.fd.as_raw_fd()))?,
            key_type: types.map_or(0, |types| types.key),
            value_type: types.map_or(0, |types| types.value),
            reserved: 0,
        };
        Ok(Self { fd: descriptor(Command::MapCreate, &mut attr)?, layout })
    }

    /// Opens the one that is pinned at `path`, if it has this layout.
    ///
    /// # Errors
    /// The kernel's; `InvalidData` if it is laid out otherwise.
    pub(crate) fn open(path: &Path, layout: MapLayout) -> io::Result<Self> {
        let fd = open(path)?;
        let mut info = MapInfo::default();
        read_info(fd.as_fd(), &mut info)?;
        let is_as_told =
            (info.map_type, info.key, info.value) == (layout.map_type(), layout.key(), layout.value());
        if !is_as_told {
            let text = format!("{} is no map of this version of truepeer", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(Self { fd, layout })
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    /// The kernel's: the map is full.
    pub(crate) fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.check(key, Some(value.len()))?;
        let mut attr = self.entry(Pointer::to(key), Pointer::to(value));
        call(Command::MapUpdate, &mut attr).map(drop)
    }

    /// Copies the value of `key` to `value`; false if there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        self.check(key, Some(value.len()))?;
        let mut attr = self.entry(Pointer::to(key), Pointer::to_mut(value));
        found(call(Command::MapLookup, &mut attr))
    }

    /// Removes `key`; false if there was none.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn delete(&self, key: &[u8]) -> io::Result<bool> {
        self.check(key, None)?;
        let mut attr = self.entry(Pointer::to(key), Pointer::none());
        found(call(Command::MapDelete, &mut attr))
    }

    /// Copies the key behind `key` to `next`, the first one if there is no `key`; false at the end.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
        self.check(key.unwrap_or(next), None)?;
        self.check(next, None)?;
        let mut attr = self.entry(key.map_or(Pointer::none(), Pointer::to), Pointer::to_mut(next));
        found(call(Command::MapNextKey, &mut attr))
    }

    /// How programs name it.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Keeps it at `path` after its last descriptor is closed.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn pin(&self, path: &Path) -> io::Result<()> {
        pin(self.fd.as_fd(), path)
    }

    fn entry<'a>(&self, key: Pointer<'a>, value: Pointer<'a>) -> MapEntry<'a> {
        MapEntry { map: self.fd.as_raw_fd().cast_unsigned(), reserved: 0, key, value, flags: 0 }
    }

    /// The kernel goes by the map's own sizes.
    fn check(&self, key: &[u8], value: Option<usize>) -> io::Result<()> {
        let is_right = len(key.len())? == self.layout.key()
            && value.is_none_or(|value| len(value).is_ok_and(|value| value == self.layout.value()));
        if is_right { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

/// A program in the kernel.
#[derive(Debug)]
pub(crate) struct KernelProgram {
    fd: OwnedFd,
    hook: Hook,
}

/// Why a program was not loaded.
#[derive(Debug)]
pub(crate) struct Loading {
    /// The kernel's error.
    pub(crate) error: io::Error,
    /// What its verifier said, if it looked at it.
    pub(crate) verifier: String,
}

impl KernelProgram {
    /// Has the kernel check `code`, 8 bytes for each instruction, and load it for `hook`.
    ///
    /// # Errors
    /// [`Loading`].
    pub(crate) fn load(code: &[u8], hook: Hook, name: &str) -> Result<Self, Loading> {
        match load(code, hook, name, &mut []) {
            Ok(fd) => Ok(Self { fd, hook }),
            // Asked for its reasons only then, since they are long.
            Err(error) => {
                let mut log = vec![0; VERIFIER_LOG];
                let _ = load(code, hook, name, &mut log);
                let verifier = CStr::from_bytes_until_nul(&log).unwrap_or_default();
                Err(Loading { error, verifier: verifier.to_string_lossy().into_owned() })
            }
        }
    }

    /// Has it called for the sockets of a cgroup and of those below it, beside whatever else is called there, as long as
    /// what is returned lives.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn link(&self, cgroup: BorrowedFd<'_>) -> io::Result<Link> {
        let mut attr = LinkCreate {
            program: descriptor_number(self.fd.as_raw_fd())?,
            target: descriptor_number(cgroup.as_raw_fd())?,
            attach_type: self.hook.attach_type(),
            flags: 0,
        };
        descriptor(Command::LinkCreate, &mut attr).map(Link)
    }
}

/// A program that is being called somewhere.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

impl Link {
    /// Opens the one that is pinned at `path`.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        open(path).map(Self)
    }

    /// The number of its cgroup; 0 once that is gone.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn cgroup(&self) -> io::Result<u64> {
        let mut info = LinkInfo::default();
        read_info(self.0.as_fd(), &mut info)?;
        Ok(info.cgroup)
    }

    /// Keeps it at `path` after its last descriptor is closed.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn pin(&self, path: &Path) -> io::Result<()> {
        pin(self.0.as_fd(), path)
    }
}

/// Room for what the verifier says.
const VERIFIER_LOG: usize = 1 << 18;

fn call<A: Attributes>(command: Command, attr: &mut A) -> io::Result<libc::c_long> {
    let attr: *mut A = attr;
    // SAFETY: `attr` is valid for reads and writes of its size during the call, has no padding, and all pointers in it
    // are null or to memory of the length that the kernel goes by; see `Attributes`.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as i32, attr, size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A command whose result is a new descriptor.
fn descriptor<A: Attributes>(command: Command, attr: &mut A) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(call(command, attr)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn load(code: &[u8], hook: Hook, name: &str, log: &mut [u8]) -> io::Result<OwnedFd> {
    const INSTRUCTION: usize = 8;
    if !code.len().is_multiple_of(INSTRUCTION) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let log_size = len(log.len())?;
    let mut attr = ProgramLoad {
        program_type: hook.program_type(),
        instructions: len(code.len() / INSTRUCTION)?,
        code: Pointer::to(code),
        // No helper in use asks for more.
        license: Pointer::to(c"MIT".to_bytes_with_nul()),
        log_level: u32::from(log_size > 0),
        log_size,
        log: if log.is_empty() { Pointer::none() } else { Pointer::to_mut(log) },
        kernel_version: 0,
        flags: 0,
        name: object_name(name),
        interface: 0,
        attach_type: hook.attach_type(),
    };
    descriptor(Command::ProgramLoad, &mut attr)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut attr = AtPath { path: Pointer::to(path.as_bytes_with_nul()), descriptor: 0, flags: 0 };
    descriptor(Command::Open, &mut attr)
}

fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let descriptor = descriptor_number(fd.as_raw_fd())?;
    let mut attr = AtPath { path: Pointer::to(path.as_bytes_with_nul()), descriptor, flags: 0 };
    call(Command::Pin, &mut attr).map(drop)
}

fn read_info<I: Info>(fd: BorrowedFd<'_>, info: &mut I) -> io::Result<()> {
    let mut attr = InfoOf {
        descriptor: descriptor_number(fd.as_raw_fd())?,
        // The kernel writes no more than that.
        size: len(size_of::<I>())?,
        info: Pointer::to_info(info),
    };
    call(Command::Info, &mut attr).map(drop)
}

fn found(result: io::Result<libc::c_long>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn len(len: usize) -> io::Result<u32> {
    u32::try_from(len).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn descriptor_number(fd: RawFd) -> io::Result<u32> {
    u32::try_from(fd).map_err(io::Error::other)
}

/// At most 15 bytes, so that the last is zero.
fn object_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (byte, letter) in bytes.iter_mut().take(15).zip(name.bytes()) {
        *byte = letter;
    }
    bytes
}

#[cfg(test)]
impl KernelProgram {
    /// Puts it into a cgroup in the old way, which shares with nobody; nothing takes it away but the cgroup's end.
    pub(crate) fn attach_alone(&self, cgroup: BorrowedFd<'_>) -> io::Result<()> {
        let mut attr = LinkCreate {
            program: descriptor_number(cgroup.as_raw_fd())?,
            target: descriptor_number(self.fd.as_raw_fd())?,
            attach_type: self.hook.attach_type(),
            flags: 0,
        };
        // Its attributes are laid out as those of a link, with the cgroup first.
        call(Command::Attach, &mut attr).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_and_end() {
        assert_eq!(&object_name("tp_pending"), b"tp_pending\0\0\0\0\0\0");
        assert_eq!(object_name("a name that is too long")[15], 0);
    }
}
