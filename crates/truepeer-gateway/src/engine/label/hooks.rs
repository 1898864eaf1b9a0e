//! Where the programs are called: in the control groups of backends, from when each is first needed on.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;

use super::lack::Lack;
use super::loaded::Loaded;
use super::{LabelDestination, cgroups};
use crate::engine::bpf::{KernelProgram, Link};

/// Every control group in which they are called, and for whom.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    hooked: Vec<Hooked>,
    served: VecDeque<SocketAddr>,
}

/// Addresses of backends that are remembered; the latest.
const MOST_SERVED: usize = 256;

/// How the sockets there come to their labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Labels {
    /// They take what lies ready when they are established.
    Taken,
    /// We give them, to sockets that are ours.
    Given,
}

/// One of them.
#[derive(Debug)]
struct Hooked {
    number: u64,
    /// Goes first when they go: nothing may be taken that is not said afterwards. None where only sockets of our own say
    /// something.
    adopt: Option<Link>,
    clients: [Link; 2],
    destinations: Option<[Link; 2]>,
}

impl Hooks {
    /// Has the programs called in `folder`, all or none of them; nothing if they are already.
    pub(super) fn put(
        &mut self,
        loaded: &Loaded,
        folder: &Path,
        destination: LabelDestination,
    ) -> Result<(), Lack> {
        self.put_some(loaded, folder, destination, Labels::Taken)
    }

    /// The same for sockets that we label ourselves: no connection is looked at when it is established.
    pub(super) fn put_answers(
        &mut self,
        loaded: &Loaded,
        folder: &Path,
        destination: LabelDestination,
    ) -> Result<(), Lack> {
        self.put_some(loaded, folder, destination, Labels::Given)
    }

    fn put_some(
        &mut self,
        loaded: &Loaded,
        folder: &Path,
        destination: LabelDestination,
        labels: Labels,
    ) -> Result<(), Lack> {
        let wrong = |error: &io::Error| Lack::linking(folder, error);
        let cgroup = File::open(folder).map_err(|error| wrong(&error))?;
        let number = cgroups::number(&cgroup).map_err(|error| wrong(&error))?;
        self.forget_the_gone(loaded);
        let link = |name: &str, program: &KernelProgram| {
            let make = || program.link(cgroup.as_fd());
            let link = match &loaded.pins {
                Some(pins) => pins.link(number, name, make),
                None => make(),
            };
            link.map_err(|error| wrong(&error))
        };
        let both = |name: &str, [v4, v6]: &[KernelProgram; 2]| {
            Ok([link(&format!("{name}4"), v4)?, link(&format!("{name}6"), v6)?])
        };
        let destinations = || match destination {
            LabelDestination::Clients => both("destination", &loaded.destinations).map(Some),
            LabelDestination::Own => Ok(None),
        };
        let adopt = || match labels {
            Labels::Taken => link("adopt", &loaded.adopt).map(Some),
            Labels::Given => Ok(None),
        };
        if let Some(known) = self.hooked.iter_mut().find(|known| known.number == number) {
            if known.destinations.is_none() {
                known.destinations = destinations()?;
            }
            if known.adopt.is_none() {
                known.adopt = adopt()?;
            }
            return Ok(());
        }
        // Last is what takes labels: by then everything says them.
        let (clients, destinations) = (both("client", &loaded.clients)?, destinations()?);
        let adopt = adopt()?;
        self.hooked.push(Hooked { number, adopt, clients, destinations });
        Ok(())
    }

    /// Remembers that labels are given to `backend`.
    pub(super) fn serve(&mut self, backend: SocketAddr) {
        if !self.served.contains(&backend) {
            self.served.truncate(MOST_SERVED.saturating_sub(1));
            self.served.push_front(backend);
        }
    }

    /// The backends that labels were given to.
    pub(super) fn served(&self) -> Vec<SocketAddr> {
        self.served.iter().copied().collect()
    }

    /// A control group that was removed has no programs any more, and its number does not come again.
    fn forget_the_gone(&mut self, loaded: &Loaded) {
        let is_there = |known: &Hooked| {
            let [first, _] = &known.clients;
            first.cgroup().is_ok_and(|number| number == known.number)
        };
        self.hooked.retain(is_there);
        if let Some(pins) = &loaded.pins {
            pins.forget_the_gone();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::print_stderr, reason = "what is skipped is said")]

    use std::fs;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::label::cgroups::Tree;
    use crate::facts::cgroup::CgroupName;

    /// What is loaded, and the control group of this process; `None` where either cannot be, which is said.
    pub(in crate::engine::label) fn loaded() -> Option<(Loaded, PathBuf)> {
        let made = || -> Result<_, String> {
            let tree = Tree::find().map_err(|lack| lack.to_string())?;
            let ours = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
            let ours = ours.lines().find_map(|line| line.strip_prefix("0::")).ok_or("no cgroup v2")?;
            let folder = tree.folder(&CgroupName::Path(ours.into())).map_err(|lack| lack.to_string())?;
            Ok((Loaded::load(None).map_err(|lack| lack.to_string())?, folder))
        };
        match made() {
            Ok(made) => Some(made),
            Err(why) => {
                skip(&why);
                None
            }
        }
    }

    /// Says that a case is left out, or fails where it must not be.
    fn skip(why: &str) {
        let required = std::env::var("TRUEPEER_REQUIRE").is_ok_and(|list| list.contains("label"));
        assert!(!required, "{why}");
        eprintln!("SKIPPED (LOUD): label: {why}");
    }

    /// A fresh group for `name` below it.
    fn below(name: &str) -> Option<(Loaded, PathBuf)> {
        let (loaded, ours) = loaded()?;
        let folder = ours.join(format!("truepeer-{name}-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| skip(&error.to_string())).ok()?;
        Some((loaded, folder))
    }

    #[test]
    fn the_kernel_takes_every_program_and_a_group_once() {
        let Some((loaded, folder)) = below("hooks") else { return };
        let mut hooks = Hooks::default();
        for destination in [LabelDestination::Own, LabelDestination::Clients, LabelDestination::Clients] {
            hooks.put(&loaded, &folder, destination).unwrap();
            assert_eq!(hooks.hooked.len(), 1);
            assert_eq!(hooks.hooked[0].destinations.is_some(), destination == LabelDestination::Clients);
        }
        fs::remove_dir(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        // The kernel takes its time to let go of the one that is gone.
        let started = Instant::now();
        while hooks.hooked.len() != 1 || hooks.hooked[0].destinations.is_some() {
            assert!(started.elapsed() < Duration::from_secs(20), "the one that is gone is not forgotten");
            hooks.put(&loaded, &folder, LabelDestination::Own).unwrap();
            std::thread::yield_now();
        }
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_group_that_another_program_has_for_itself_is_told_from_a_missing_right() {
        let Some((loaded, folder)) = below("alone") else { return };
        let group = File::open(&folder).unwrap();
        loaded.clients[0].attach_alone(group.as_fd()).unwrap();
        let lack = Hooks::default().put(&loaded, &folder, LabelDestination::Own).unwrap_err();
        assert_eq!(lack, Lack::Taken { cgroup: folder.clone() });
        assert!(lack.change().starts_with("`bpftool cgroup tree "), "{}", lack.change());
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_is_no_group_of_version_2_is_named() {
        let Some((loaded, _)) = loaded() else { return };
        let folder = std::env::temp_dir();
        let lack = Hooks::default().put(&loaded, &folder, LabelDestination::Own).unwrap_err();
        assert!(matches!(&lack, Lack::NotPut { cgroup, .. } if *cgroup == folder), "{lack}");
    }
}
