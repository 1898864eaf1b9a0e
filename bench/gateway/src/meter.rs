//! What a gateway has spent: CPU time of its threads, memory, descriptors. From `/proc`, exact to the nanosecond; threads
//! that have ended and programs that were started are exact to the kernel's tick only.

use std::fs;
use std::time::{Duration, Instant};

/// A window of time, and what `pid` had spent when it began.
pub struct Window {
    pid: u32,
    began: Instant,
    spent: Duration,
    ticks: Ticks,
}

impl Window {
    pub fn open(pid: u32) -> Self {
        Self { pid, began: Instant::now(), spent: cpu_time(pid), ticks: ticks(pid) }
    }

    /// How long it has lasted, and the CPU time that was spent in it.
    pub fn close(&self) -> (Duration, Duration) {
        let (threads, ticks) = (cpu_time(self.pid).saturating_sub(self.spent), ticks(self.pid));
        // A program that starts threads as connections come has more to show than those that live now.
        let all = if self.ticks.children == ticks.children {
            threads
        } else {
            ticks.own.saturating_sub(self.ticks.own)
        };
        (self.began.elapsed(), all)
    }

    /// The CPU time of programs that it has started and that have ended meanwhile.
    pub fn children(&self) -> Duration {
        ticks(self.pid).children.saturating_sub(self.ticks.children)
    }
}

/// CPU time to the kernel's tick: of the process with threads that have ended, and of its children that have.
#[derive(Debug, Clone, Copy, Default)]
struct Ticks {
    own: Duration,
    children: Duration,
}

fn ticks(pid: u32) -> Ticks {
    let per_second = rustix::param::clock_ticks_per_second();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    let sum = |at: usize| {
        let ticks: u64 = fields.iter().skip(at).take(2).sum();
        Duration::from_secs_f64(ticks as f64 / per_second as f64)
    };
    Ticks { own: sum(11), children: sum(13) }
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
