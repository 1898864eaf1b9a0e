//! What a gateway has spent: CPU time of its threads, memory, descriptors. From `/proc`, exact to the nanosecond.

use std::fs;
use std::time::{Duration, Instant};

/// A window of time, and what `pid` had spent when it began.
pub struct Window {
    pid: u32,
    began: Instant,
    spent: Duration,
}

impl Window {
    pub fn open(pid: u32) -> Self {
        Self { pid, began: Instant::now(), spent: cpu_time(pid) }
    }

    /// How long it has lasted, and the CPU time that was spent in it.
    pub fn close(&self) -> (Duration, Duration) {
        (self.began.elapsed(), cpu_time(self.pid).saturating_sub(self.spent))
    }
}

/// CPU time of all threads of `pid`; of none for 0.
pub fn cpu_time(pid: u32) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let spent = tasks.flatten().filter_map(|task| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

/// Resident memory that is the program's own, in bytes.
pub fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Open descriptors.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Its threads, by number and name.
pub fn threads(pid: u32) -> Vec<(u32, String)> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let thread = |task: fs::DirEntry| {
        let number = task.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_to_string(task.path().join("comm")).ok()?.trim().to_owned()))
    };
    tasks.flatten().filter_map(thread).collect()
}
