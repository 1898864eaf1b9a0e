//! The tree of control groups as this process sees it: where it is, and which folder is which.

use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Lack;
use crate::facts::cgroup::CgroupName;

/// A mounted tree of version 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    mount: PathBuf,
}

/// Folders that are looked at in one search.
const MAX_FOLDERS: usize = 1 << 16;

impl Tree {
    /// The one that this process sees.
    pub(super) fn find() -> Result<Self, Lack> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        mount(&mounts).map(|mount| Self { mount }).ok_or(Lack::NoCgroups)
    }

    /// The folder that `name` names.
    pub(super) fn folder(&self, name: &CgroupName) -> Result<PathBuf, Lack> {
        match name {
            CgroupName::Unit(unit) => self.of_unit(unit),
            CgroupName::Path(path) => {
                let inside = self.inside(path);
                if path.starts_with(&self.mount) || inside.is_dir() {
                    let folder = if path.starts_with(&self.mount) { path.clone() } else { inside };
                    return if folder.is_dir() {
                        Ok(folder)
                    } else {
                        Err(not_there(format!("there is no control group {}", folder.display())))
                    };
                }
                self.of_pid_file(path)
            }
        }
    }

    /// The folder of the group with this number.
    pub(super) fn numbered(&self, number: u64) -> Option<PathBuf> {
        // Which is that of its folder.
        self.search(|folder| fs::metadata(folder).is_ok_and(|found| found.ino() == number)).into_iter().next()
    }

    /// The path of `folder` as `/proc/PID/cgroup` has it.
    pub(super) fn name<'a>(&self, folder: &'a Path) -> PathBuf {
        let inside: Option<&'a Path> = folder.strip_prefix(&self.mount).ok();
        inside.map_or_else(|| folder.to_owned(), |inside| Path::new("/").join(inside))
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.mount.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn of_unit(&self, unit: &str) -> Result<PathBuf, Lack> {
        let found = self.search(|folder| folder.file_name().is_some_and(|name| name == unit));
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(not_there(format!(
                "there is no control group of {unit}: it does not run, or is named otherwise"
            ))),
            several => {
                let names: Vec<_> = several.iter().map(|one| self.name(one).display().to_string()).collect();
                Err(not_there(format!("several control groups are named {unit}: {}", names.join(", "))))
            }
        }
    }

    fn of_pid_file(&self, path: &Path) -> Result<PathBuf, Lack> {
        let wrong = |why: String| not_there(format!("{}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| {
            wrong(format!("neither a control group nor a file with a process' number ({error})"))
        })?;
        let pid: u32 = text
            .split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| wrong("this file does not begin with the number of a process".to_owned()))?;
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))
            .map_err(|error| wrong(format!("process {pid} is not to be seen ({error})")))?;
        let group = groups.lines().find_map(|line| line.strip_prefix("0::"));
        let group =
            group.ok_or_else(|| wrong(format!("process {pid} is in no control group of version 2")))?;
        Ok(self.inside(Path::new(group)))
    }

    /// Folders that `is_it` holds for, from the root down.
    fn search(&self, is_it: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut level = vec![self.mount.clone()];
        let mut seen = 0_usize;
        while let Some(folder) = level.pop() {
            seen = seen.saturating_add(1);
            if seen > MAX_FOLDERS {
                break;
            }
            if is_it(&folder) {
                found.push(folder.clone());
            }
            let is_folder = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            level.extend(entries.filter(is_folder).map(|entry| entry.path()));
        }
        found
    }
}

/// The number of a folder.
pub(super) fn number(folder: &fs::File) -> io::Result<u64> {
    Ok(folder.metadata()?.ino())
}

fn not_there(what: String) -> Lack {
    Lack::NotThere { what }
}

/// Where the first tree of version 2 is mounted, the whole one if there is one.
fn mount(mounts: &str) -> Option<PathBuf> {
    let mut whole = None;
    let mut part = None;
    for line in mounts.lines() {
        let Some((before, behind)) = line.split_once(" - ") else { continue };
        if behind.split(' ').next() != Some("cgroup2") {
            continue;
        }
        let mut words = before.split(' ').skip(3);
        let (Some(root), Some(point)) = (words.next(), words.next()) else { continue };
        let place = if root == "/" { &mut whole } else { &mut part };
        place.get_or_insert_with(|| PathBuf::from(unescape(point)));
    }
    whole.or(part)
}

/// Spaces and the like are written in octal there.
fn unescape(point: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(point.to_owned(), |point, (written, meant)| point.replace(written, meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_version_2_is_found_among_others() {
        let v1 = "30 25 0:26 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids\n";
        let hybrid = "31 25 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n";
        let part = "32 25 0:27 /../.. /mnt/a\\040part rw - cgroup2 cgroup2 rw\n";
        assert_eq!(mount(v1), None);
        assert_eq!(mount(&format!("{v1}{hybrid}")), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount(&format!("{part}{hybrid}")), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount(part), Some("/mnt/a part".into()));
    }

    /// A tree of ordinary folders.
    fn tree(name: &str) -> Tree {
        let mount = std::env::temp_dir().join(format!("truepeer-tree-{name}-{}", std::process::id()));
        for folder in
            ["system.slice/ssh.service", "system.slice/a.slice/twice.service", "user.slice/twice.service"]
        {
            fs::create_dir_all(mount.join(folder)).unwrap();
        }
        Tree { mount }
    }

    #[test]
    fn groups_are_found_by_unit_path_and_number() {
        let tree = tree("names");
        let ssh = tree.mount.join("system.slice/ssh.service");
        for named in ["ssh.service", "/system.slice/ssh.service", ssh.to_str().unwrap()] {
            assert_eq!(tree.folder(&CgroupName::parse(named).unwrap()), Ok(ssh.clone()), "{named}");
        }
        assert_eq!(tree.numbered(fs::metadata(&ssh).unwrap().ino()), Some(ssh.clone()));
        assert_eq!(tree.name(&ssh), Path::new("/system.slice/ssh.service"));
        assert_eq!(tree.name(&tree.mount), Path::new("/"));
        fs::remove_dir_all(&tree.mount).unwrap();
    }

    #[test]
    fn what_is_not_there_is_said_with_its_reason() {
        let tree = tree("wrong");
        let pid = tree.mount.with_extension("pid");
        fs::write(&pid, "no number\n").unwrap();
        for (named, says) in [
            ("gone.service", "there is no control group of gone.service"),
            ("twice.service", "several control groups are named twice.service: "),
            (pid.to_str().unwrap(), "this file does not begin with the number of a process"),
            ("/no/such/thing", "neither a control group nor a file"),
        ] {
            let lack = tree.folder(&CgroupName::parse(named).unwrap()).unwrap_err();
            assert!(lack.to_string().contains(says), "{lack}");
        }
        fs::write(&pid, format!("{}\n", std::process::id())).unwrap();
        let ours = tree.folder(&CgroupName::Path(pid.clone()));
        assert!(ours.is_ok() || ours.unwrap_err().to_string().contains("version 2"));
        fs::remove_file(pid).unwrap();
        fs::remove_dir_all(&tree.mount).unwrap();
    }
}
