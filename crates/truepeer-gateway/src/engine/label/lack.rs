//! What this host or the configuration lacks for a label, each with what to change.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Why a backend cannot be shown clients by a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// This process may not load programs.
    Right {
        /// What the system said, and to what.
        what: String,
    },
    /// The kernel does not take them.
    Kernel {
        /// What the system said, and to what.
        what: String,
    },
    /// No control groups of version 2 are to be seen.
    NoCgroups,
    /// What the configuration names is not there.
    NotThere {
        /// The name, and what is wrong with it.
        what: String,
    },
    /// Nobody listens at the backend's address in this network namespace.
    NobodyListens {
        /// The address.
        address: SocketAddr,
    },
    /// The kernel does not say who listens.
    NotTold {
        /// What the system said.
        error: String,
    },
    /// Who listens was made in a control group that cannot be seen from here.
    OutOfSight {
        /// The number of the group.
        number: u64,
    },
    /// Something else has taken the control group, or one above it, for itself.
    Taken {
        /// The group.
        cgroup: PathBuf,
    },
    /// The programs cannot be put there.
    NotPut {
        /// The group.
        cgroup: PathBuf,
        /// What the system said.
        error: String,
    },
    /// What should outlive this process cannot be kept.
    NotKept {
        /// Where.
        path: PathBuf,
        /// What the system said.
        error: String,
    },
}

impl Lack {
    /// A step of loading that failed.
    pub(super) fn loading(step: &str, error: &io::Error) -> Self {
        let what = format!("{step}: {error}");
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Right { what },
            _ => Self::Kernel { what },
        }
    }

    /// Putting a program into `cgroup` failed, once it was loaded.
    pub(super) fn linking(cgroup: &Path, error: &io::Error) -> Self {
        let cgroup = cgroup.to_owned();
        match error.kind() {
            // Whoever may load programs may put them there, unless somebody asked to be alone.
            io::ErrorKind::PermissionDenied => Self::Taken { cgroup },
            _ => Self::NotPut { cgroup, error: error.to_string() },
        }
    }

    /// What to change, as a line or a command.
    #[must_use]
    pub fn change(&self) -> String {
        match self {
            Self::Right { .. } => {
                "`AmbientCapabilities=CAP_BPF CAP_NET_ADMIN`, the same in `CapabilityBoundingSet=`, and `SystemCallFilter=bpf` in the unit; without systemd `setcap cap_bpf,cap_net_admin+ep /usr/bin/truepeer`".to_owned()
            }
            Self::Kernel { .. } => {
                "use Linux 5.14 or later with CONFIG_BPF_SYSCALL, CONFIG_CGROUP_BPF and CONFIG_DEBUG_INFO_BTF or another handoff".to_owned()
            }
            Self::NoCgroups => {
                "`mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified`; in a container, run truepeer on the host or show it the host's control groups".to_owned()
            }
            Self::NotThere { .. } => {
                "correct `label.cgroup`, or leave it out where the backend listens in truepeer's own network namespace".to_owned()
            }
            Self::NobodyListens { .. } => {
                "start the backend; if it runs in a network namespace of its own (a container), say `label.cgroup` with its control group".to_owned()
            }
            Self::NotTold { .. } => {
                "let truepeer use netlink (`RestrictAddressFamilies=` with AF_NETLINK, as its unit has it), or say `label.cgroup`".to_owned()
            }
            Self::OutOfSight { .. } => {
                "show truepeer the host's whole tree of control groups (in a container `--cgroupns=host` and `/sys/fs/cgroup`)".to_owned()
            }
            Self::Taken { cgroup } => format!(
                "`bpftool cgroup tree {}` shows who; that program must be put there with `multi`, or the backend must move",
                cgroup.display()
            ),
            Self::NotPut { .. } => "name a folder of control groups of version 2 in `label.cgroup`".to_owned(),
            Self::NotKept { .. } => {
                "`server.label-pins` needs a folder on a bpf file system (`mount -t bpf bpf /sys/fs/bpf`) that truepeer may write; leave it out if labels need not outlive the process".to_owned()
            }
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right { what } => write!(f, "this process may not load programs into the kernel ({what})"),
            Self::Kernel { what } => write!(f, "this kernel does not take truepeer's programs ({what})"),
            Self::NoCgroups => f.write_str("no control groups of version 2 are mounted here"),
            Self::NotThere { what } => f.write_str(what),
            Self::NobodyListens { address } => {
                write!(
                    f,
                    "nobody listens on {address} in this network namespace, so its control group is not known"
                )
            }
            Self::NotTold { error } => write!(f, "the kernel does not say who listens: {error}"),
            Self::OutOfSight { number } => {
                write!(
                    f,
                    "who listens was made in the control group with the number {number}, which cannot be seen from here"
                )
            }
            Self::Taken { cgroup } => {
                write!(
                    f,
                    "another program has the control group {} or one above it for itself",
                    cgroup.display()
                )
            }
            Self::NotPut { cgroup, error } => {
                write!(f, "the programs cannot be put into {}: {error}", cgroup.display())
            }
            Self::NotKept { path, error } => write!(f, "nothing can be kept at {}: {error}", path.display()),
        }
    }
}
