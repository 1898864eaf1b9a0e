//! Exact counts: instructions under callgrind, heap allocations by a counting allocator.
use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::peers;

/// Iterations between the two runs whose difference is taken.
const ITERATIONS: u64 = 1000;

/// Instructions of one iteration of job `index` in `binary`.
pub fn instructions(binary: &Path, index: usize) -> Result<u64, Box<dyn Error>> {
    let few = collected(binary, index, 0)?;
    let many = collected(binary, index, ITERATIONS)?;
    Ok((many - few + ITERATIONS / 2) / ITERATIONS)
}

fn collected(binary: &Path, index: usize, iterations: u64) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(binary)
        .args(["once", &index.to_string(), &iterations.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let count = text.split("Collected : ").nth(1).and_then(|rest| rest.split_whitespace().next());
    Ok(count.ok_or_else(|| format!("callgrind said no count: {text}"))?.parse()?)
}

/// Runs a job; the sum keeps its results alive.
pub fn repeat(index: usize, iterations: u64) -> Result<(), Box<dyn Error>> {
    let jobs = peers::jobs();
    let job = jobs.get(index).ok_or("no such job")?;
    let mut sum = 0u64;
    for _ in 0..iterations {
        sum = sum.wrapping_add(black_box(job.work.run()));
    }
    black_box(sum);
    Ok(())
}

/// One line for each job: allocations and bytes of one iteration.
pub fn print_allocations() -> Result<(), Box<dyn Error>> {
    for (index, job) in peers::jobs().iter().enumerate() {
        let (count, bytes) = allocations(&job.work);
        println!("{index}\t{}\t{}\t{count}\t{bytes}", job.peer, job.case);
    }
    Ok(())
}

/// Allocations and bytes of one iteration, after a first one that may fill caches.
pub fn allocations(work: &peers::Work) -> (u64, u64) {
    black_box(work.run());
    let before = (COUNT.load(Relaxed), BYTES.load(Relaxed));
    black_box(work.run());
    (COUNT.load(Relaxed) - before.0, BYTES.load(Relaxed) - before.1)
}

/// The system's allocator, counting.
struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: hands every call on unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Relaxed);
        BYTES.fetch_add(layout.size() as u64, Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        COUNT.fetch_add(1, Relaxed);
        BYTES.fetch_add(len as u64, Relaxed);
        unsafe { System.realloc(place, layout, len) }
    }
}
