//! Control groups of a test's own, and listening sockets that are made in them.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::thread::{CapabilitySet, capabilities};
use socket2::Socket;

/// What a listening socket is made in is where the whole process is at that moment.
static MOVING: Mutex<()> = Mutex::new(());

/// A control group, removed with its value.
pub struct Cgroup {
    pub folder: PathBuf,
    home: PathBuf,
}

impl Cgroup {
    /// A fresh one; `Err` says why there can be none here.
    pub fn new(name: &str) -> Result<Self, String> {
        let has = capabilities(None).map_err(|error| error.to_string())?.effective;
        if !has.contains(CapabilitySet::BPF | CapabilitySet::NET_ADMIN) {
            return Err("CAP_BPF and CAP_NET_ADMIN are needed".to_owned());
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
        let mount = mount.and_then(|line| line.split(' ').nth(4)).ok_or("no cgroup v2 is mounted")?;
        let ours = {
            // Not while another test has moved this process: where it is then is gone soon.
            let _alone = MOVING.lock().unwrap_or_else(PoisonError::into_inner);
            fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?
        };
        let ours = ours.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("no cgroup v2")?;
        let folder = Path::new(mount).join(format!("truepeer-{name}-{}", std::process::id()));
        let cgroup = Self { folder, home: Path::new(mount).join(ours) };
        cgroup.make().map_err(|error| error.to_string())?;
        // A first move, so that what is not allowed shows here.
        cgroup.during(|| Ok(())).map_err(|error| error.to_string())?;
        Ok(cgroup)
    }

    /// One below this.
    pub fn child(&self, name: &str) -> Self {
        let child = Self { folder: self.folder.join(name), home: self.home.clone() };
        child.make().unwrap();
        child
    }

    /// As `/proc/PID/cgroup` has it.
    pub fn name(&self) -> String {
        format!("/{}", self.folder.file_name().unwrap().to_str().unwrap())
    }

    /// Listens with a socket that is made here.
    pub fn listen(&self, address: SocketAddr) -> TcpListener {
        self.during(|| listen(address)).unwrap()
    }

    /// Does `work` while this process is in the group.
    pub fn during<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let _alone = MOVING.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = std::process::id().to_string();
        fs::write(self.folder.join("cgroup.procs"), &pid)?;
        let done = work();
        fs::write(self.home.join("cgroup.procs"), &pid)?;
        done
    }

    /// Removes it and makes it again, as a restart of its unit does; it has another number then.
    pub fn make_again(&self) {
        let before = fs::metadata(&self.folder).unwrap().ino();
        // Whoever is just ending in it is in nobody's list any more, and holds it for a moment.
        assert!(super::eventually(|| self.remove().is_ok()), "somebody stays in {}", self.folder.display());
        self.make().unwrap();
        assert_ne!(fs::metadata(&self.folder).unwrap().ino(), before);
    }

    fn make(&self) -> io::Result<()> {
        fs::create_dir(&self.folder)
    }

    /// Without whoever another test has started while this process was in here.
    fn remove(&self) -> io::Result<()> {
        for pid in fs::read_to_string(self.folder.join("cgroup.procs"))?.lines() {
            // It may have ended by now.
            let _ = fs::write(self.home.join("cgroup.procs"), pid);
        }
        fs::remove_dir(&self.folder)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = super::eventually(|| self.remove().is_ok());
    }
}

/// Listens with a socket that is made in no test's group.
pub fn listen_outside(address: SocketAddr) -> TcpListener {
    let _alone = MOVING.lock().unwrap_or_else(PoisonError::into_inner);
    listen(address).unwrap()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}
