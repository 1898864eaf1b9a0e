//! Two workers: how connections are shared out, and whether they meet in the kernel.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::gateways::{Kind, Running};
use crate::meter;
use crate::run::{counted, judge, load};

const COUNT: u32 = 10_000;
/// The least and the most of them that one of two may have.
const SHARES: [f64; 2] = [0.35, 0.65];
/// Waiting for a lock, for each connection; what was reached where strace makes each wait long.
const FUTEXES: f64 = 0.05;

/// Serves so many and counts who took them.
pub fn two(
    start: impl Fn() -> io::Result<Running>,
    folder: &Path,
    above: &mut Vec<String>,
) -> io::Result<()> {
    let gateway = start()?;
    let workers = meter::threads(gateway.pid).into_iter().filter(|(_, name)| name.starts_with("worker"));
    let traced: Vec<_> = workers
        .map(|(thread, name)| {
            let trace = folder.join(format!("strace-{thread}"));
            let mut strace = Command::new("strace");
            strace.arg("-c").arg("-o").arg(&trace).args(["-p", &thread.to_string()]).stderr(Stdio::null());
            Ok((name, trace, strace.spawn()?))
        })
        .collect::<io::Result<_>>()?;
    std::thread::sleep(Duration::from_millis(500));
    let served = load(&gateway, 60_000, &["exactly", &COUNT.to_string(), "64"]);
    std::thread::sleep(Duration::from_millis(200));
    println!("\n## Two workers, {COUNT} connections\n");
    println!("| thread | share of the connections | futex calls for each | other threads woken for each |");
    println!("|---|---|---|---|");
    for (name, trace, mut strace) in traced {
        if let Some(pid) = i32::try_from(strace.id()).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        }
        strace.wait()?;
        let calls = counted(&fs::read_to_string(&trace)?);
        let each = |call: &str| f64::from(calls.get(call).copied().unwrap_or(0)) / f64::from(COUNT);
        // Each was accepted, and each is closed at both ends.
        let (share, futex) = (each("connect"), each("futex"));
        println!("| {name} | **{share:.2}** | {futex:.4} | {:.4} |", each("write"));
        judge(Kind::Truepeer, &format!("share of {name}"), share, SHARES[1], above);
        judge(Kind::Truepeer, &format!("share of all but {name}"), 1.0 - share, SHARES[1], above);
        judge(Kind::Truepeer, &format!("futex calls of {name} for each connection"), futex, FUTEXES, above);
    }
    served.map(|_| ())
}
