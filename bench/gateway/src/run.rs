//! The one command: starts everything, measures everything in turn, prints the tables.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cases::{Against, CASES, Case};
use crate::exact::Growth;
use crate::gateways::{self, ALL, Backend, GATEWAYS, HANDOFFS, Kind, Room, Running, pinned};
use crate::{exact, meter, start, two};

struct Wanted {
    repetitions: usize,
    cases: Option<Vec<String>>,
    gateways: Option<Vec<String>>,
    millis: u64,
    /// Whether exact counts of ours that are above their ceilings are a failure.
    check: bool,
}

/// The most that may be counted of ours; the bars of `docs/performance.md`, with room for a wait more or less.
const CALLS_ONE_AT_A_TIME: f64 = 18.3;
const CALLS_64_IN_FLIGHT: f64 = 15.3;
const DESCRIPTORS: f64 = 2.0;
/// Bytes of an idle connection: what was reached, not what is aimed at.
const IDLE: f64 = 520.0;

/// What was measured: by case and gateway, one set of figures for each repetition.
type Figures = HashMap<(&'static str, &'static str), Vec<BTreeMap<String, f64>>>;

pub fn run(truepeer: &Path, words: &[&str]) -> io::Result<()> {
    let mut wanted = Wanted { repetitions: 5, cases: None, gateways: None, millis: 2000, check: false };
    for pair in words.chunks(2) {
        let list = |text: &str| Some(text.split(',').map(str::to_owned).collect());
        match *pair {
            ["--repetitions", count] => wanted.repetitions = count.parse().map_err(io::Error::other)?,
            ["--millis", millis] => wanted.millis = millis.parse().map_err(io::Error::other)?,
            ["--check", yes] => wanted.check = yes == "yes",
            ["--cases", cases] => wanted.cases = list(cases),
            ["--gateways", gateways] => wanted.gateways = list(gateways),
            _ => return Err(io::Error::other(format!("not understood: {pair:?}"))),
        }
    }
    let is_wanted = |list: &Option<Vec<String>>, name: &str| {
        list.as_ref().is_none_or(|list| list.iter().any(|wanted| wanted == name))
    };
    let folder = gateways::folder()?;
    let backend = Backend::start(&folder)?;
    let cases: Vec<_> = CASES.iter().filter(|case| is_wanted(&wanted.cases, case.name)).collect();
    let counts = ["calls", "idle"].iter().any(|name| is_wanted(&wanted.cases, name));
    let counts_handoffs = is_wanted(&wanted.cases, "handoff-calls");
    let is_needed = |kind: &Kind| {
        cases.iter().any(|case| case.kinds.contains(kind))
            || (counts && GATEWAYS.contains(kind))
            || (counts_handoffs && HANDOFFS.contains(kind))
    };
    let kinds = ALL.into_iter().filter(|kind| is_needed(kind) && is_wanted(&wanted.gateways, kind.name()));
    let start = |kind, room| Running::start(kind, room, &backend, &folder, truepeer);
    println!("# Machine: {}", machine());
    let mut running = Vec::new();
    for kind in kinds {
        println!("# {}: {}", kind.name(), kind.version(truepeer));
        match start(kind, Room::Unfinished) {
            Ok(gateway) => running.push(gateway),
            Err(error) => println!("# skipped: {}: {error}", kind.name()),
        }
    }
    let mut figures = Figures::new();
    for repetition in 0..wanted.repetitions {
        for case in &cases {
            running.rotate_left(1);
            for gateway in running.iter().filter(|gateway| case.kinds.contains(&gateway.kind)) {
                let found = measure(case, gateway, wanted.millis, start);
                match found {
                    Ok(found) => figures.entry((case.name, gateway.kind.name())).or_default().push(found),
                    Err(error) => println!("# {} {}: {error}", case.name, gateway.kind.name()),
                }
            }
        }
        eprintln!("repetition {} of {}", repetition + 1, wanted.repetitions);
    }
    running.sort_by_key(|gateway| ALL.iter().position(|kind| *kind == gateway.kind));
    let mut above = Vec::new();
    table(&figures, &running, &mut above);
    let both = is_wanted(&wanted.cases, "calls").then_some(&GATEWAYS[..]);
    let counted = both.into_iter().chain(counts_handoffs.then_some(&HANDOFFS[..])).flatten();
    let counted: Vec<_> = counted.copied().collect();
    if !counted.is_empty() {
        calls(&running, &counted, &folder, &mut above)?;
    }
    let kinds: Vec<_> = running.drain(..).map(|gateway| gateway.kind).collect();
    if is_wanted(&wanted.cases, "idle") {
        idle(&kinds, start, &mut above)?;
    }
    if is_wanted(&wanted.cases, "exact") {
        exact::exact(&backend, &folder, truepeer, Growth::NotCounted, &mut above)?;
    }
    if is_wanted(&wanted.cases, "growth-exact") {
        exact::exact(&backend, &folder, truepeer, Growth::Counted, &mut above)?;
    }
    if is_wanted(&wanted.cases, "two") {
        two::two(|| start(Kind::TwoWorkers, Room::Open), &folder, &mut above)?;
    }
    if is_wanted(&wanted.cases, "start") {
        start::start(truepeer, &folder, &mut above)?;
    }
    fs::remove_dir_all(&folder)?;
    if wanted.check && !above.is_empty() {
        return Err(io::Error::other(format!("above the ceiling: {}", above.join("; "))));
    }
    Ok(())
}

/// Notes a figure of ours that is too high.
pub fn judge(kind: Kind, what: &str, figure: f64, most: f64, above: &mut Vec<String>) {
    if kind == Kind::Truepeer && (figure.is_nan() || figure > most) {
        above.push(format!("{what}: {figure:.2} of {most}"));
    }
}

pub fn load(gateway: &Running, millis: u64, load: &[&str]) -> io::Result<BTreeMap<String, f64>> {
    let (target, pid, millis) = (gateway.address.to_string(), gateway.pid.to_string(), millis.to_string());
    let said = pinned("0")
        .arg(std::env::current_exe()?)
        .args(["load", &target, &pid, &millis])
        .args(load)
        .stderr(Stdio::inherit())
        .output()?;
    if !said.status.success() {
        return Err(io::Error::other("the load failed"));
    }
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(text.split_whitespace().filter_map(pair).collect())
}

fn table(figures: &Figures, running: &[Running], above: &mut Vec<String>) {
    for case in &CASES {
        if !running.iter().any(|gateway| figures.contains_key(&(case.name, gateway.kind.name()))) {
            continue;
        }
        println!("\n## {}: {}\n", case.name, case.what);
        println!(
            "| gateway | cost | per second | busy | ratio to {} (median, range), difference | others |",
            match case.against {
                Against::Peer(kind) => kind.name(),
                Against::Own(_) => "its own right before",
            }
        );
        println!("|---|---|---|---|---|---|");
        for gateway in running {
            let name = gateway.kind.name();
            let Some(found) = figures.get(&(case.name, name)) else { continue };
            let of = |figure: &str| median(found.iter().filter_map(|found| found.get(figure).copied()));
            let bar = if gateway.kind == Kind::Truepeer && case.bar.is_finite() {
                format!(", bar {} aim {}", case.bar, case.aim)
            } else {
                String::new()
            };
            let over = case.over.iter().find(|(kind, _)| *kind == gateway.kind).map(|(_, most)| *most);
            let bar = match (over, pairs(figures, case, name)) {
                (Some(most), Some(found)) => {
                    let found = median(found.into_iter().map(|(ours, theirs)| ours - theirs));
                    if found.is_nan() || found > most {
                        above.push(format!("{} {name}: {found:+.2} of at most {most:+}", case.name));
                    }
                    format!("{bar}, at most {most:+}: {}", if found <= most { "held" } else { "NOT HELD" })
                }
                _ => bar,
            };
            println!(
                "| {name} | {:.3} | {:.2} | {:.2} | {}{bar} | {} |",
                of("cost"),
                of("rate"),
                of("busy"),
                ratio(figures, case, name),
                others(found),
            );
        }
    }
}

/// The ratio to the peer in the same repetition; for a case that is held against ourselves, to our short connections.
fn ratio(figures: &Figures, case: &Case, name: &'static str) -> String {
    let Some(pairs) = pairs(figures, case, name) else { return "-".to_owned() };
    let ratios: Vec<_> = pairs.iter().map(|(ours, theirs)| ours / theirs).collect();
    let more: Vec<_> = pairs.iter().map(|(ours, theirs)| ours - theirs).collect();
    let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!(
        "**{:.2}** ({:.2}..{:.2}, n={}), {:+.3} ({:+.3}..{:+.3})",
        median(ratios.iter().copied()),
        least(&ratios),
        most(&ratios),
        ratios.len(),
        median(more.iter().copied()),
        least(&more),
        most(&more),
    )
}

/// What it costs, and what that is compared with in the same repetition.
fn pairs(figures: &Figures, case: &Case, name: &'static str) -> Option<Vec<(f64, f64)>> {
    let (other, figure) = match case.against {
        Against::Own(_) => (name, "own"),
        Against::Peer(kind) => (kind.name(), "cost"),
    };
    let (ours, theirs) = (figures.get(&(case.name, name))?, figures.get(&(case.name, other))?);
    let both = ours.iter().zip(theirs);
    Some(both.filter_map(|(ours, theirs)| Some((*ours.get("cost")?, *theirs.get(figure)?))).collect())
}

fn others(found: &[BTreeMap<String, f64>]) -> String {
    let names = ["children", "p50", "p99", "held", "own"]
        .into_iter()
        .filter(|name| found.iter().any(|found| found.contains_key(*name)));
    let text = names.map(|name| {
        format!("{name} {:.0}", median(found.iter().filter_map(|found| found.get(name).copied())))
    });
    text.collect::<Vec<_>>().join(", ")
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What a case costs at one gateway.
fn measure(
    case: &Case,
    gateway: &Running,
    millis: u64,
    start: impl Fn(Kind, Room) -> io::Result<Running>,
) -> io::Result<BTreeMap<String, f64>> {
    // With room for thousands of unfinished headers it has none for so many that are open.
    let roomy = match case.load {
        ["beside", ..] => Some(start(gateway.kind, Room::Open)?),
        _ => None,
    };
    let gateway = roomy.as_ref().unwrap_or(gateway);
    // What a gateway is held against of its own comes right before, in the same minute.
    let own = match case.against {
        Against::Own(other) => Some(load(gateway, millis, other)?),
        Against::Peer(_) => None,
    };
    let mut found = load(gateway, millis, case.load)?;
    found.extend(own.and_then(|own| Some(("own".to_owned(), *own.get("cost")?))));
    Ok(found)
}

/// System calls per short connection, of every thread but the one that writes records.
///
/// Of `exec` those of the worker only: the thread and the program of each connection are not there when counting begins.
fn calls(running: &[Running], kinds: &[Kind], folder: &Path, above: &mut Vec<String>) -> io::Result<()> {
    println!(
        "\n## System calls per short connection, without clock_gettime and without the record writer's\n"
    );
    println!("| gateway | in flight | calls | clock readings | by name |");
    println!("|---|---|---|---|---|");
    for gateway in running.iter().filter(|gateway| kinds.contains(&gateway.kind)) {
        // A program for each takes a hundred times as long.
        let count: u32 = if gateway.kind == Kind::Exec { 200 } else { 1000 };
        for at_once in ["1", "64"] {
            let trace = folder.join("strace");
            let mut strace = Command::new("strace");
            strace.arg("-c").arg("-o").arg(&trace);
            for (thread, name) in meter::threads(gateway.pid) {
                // Whoever writes records, and whoever asks the backend now and then, is no part of a connection.
                if !["log", "keeper", "control"].contains(&name.as_str()) {
                    strace.args(["-p", &thread.to_string()]);
                }
            }
            let Ok(mut strace) = strace.stderr(Stdio::null()).spawn() else {
                println!("# skipped: strace is not installed");
                return Ok(());
            };
            std::thread::sleep(Duration::from_millis(500));
            let served = load(gateway, 20_000, &["exactly", &count.to_string(), at_once]);
            std::thread::sleep(Duration::from_millis(200));
            if let Some(pid) = i32::try_from(strace.id()).ok().and_then(rustix::process::Pid::from_raw) {
                rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
            }
            strace.wait()?;
            if let Err(error) = served {
                println!("# {} {at_once}: {error}", gateway.kind.name());
                continue;
            }
            let calls = counted(&fs::read_to_string(&trace)?);
            let clock = calls.get("clock_gettime").copied().unwrap_or(0);
            let all: u32 = calls.values().sum();
            let each = |calls: u32| f64::from(calls) / f64::from(count);
            let mut names: Vec<_> = calls.iter().filter(|(_, calls)| **calls * 50 > count).collect();
            names.sort_by_key(|(_, calls)| std::cmp::Reverse(**calls));
            let names: Vec<_> =
                names.iter().map(|(name, calls)| format!("{name} {:.2}", each(**calls))).collect();
            println!(
                "| {} | {at_once} | **{:.2}** | {:.2} | {} |",
                gateway.kind.name(),
                each(all - clock),
                each(clock),
                names.join(", ")
            );
            io::stdout().flush()?;
            let most = if at_once == "1" { CALLS_ONE_AT_A_TIME } else { CALLS_64_IN_FLIGHT };
            let what = format!("system calls, {at_once} in flight");
            judge(gateway.kind, &what, each(all - clock), most, above);
        }
    }
    Ok(())
}

/// Calls by name in a summary of strace.
pub fn counted(summary: &str) -> BTreeMap<String, u32> {
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let name = words.last().filter(|name| **name != "total")?;
        words.first()?.parse::<f64>().ok()?;
        Some(((*name).to_owned(), words.get(3)?.parse().ok()?))
    };
    summary.lines().filter_map(line).collect()
}

/// Memory and descriptors of idle connections, each gateway alone and fresh.
fn idle(
    kinds: &[Kind],
    start: impl Fn(Kind, Room) -> io::Result<Running>,
    above: &mut Vec<String>,
) -> io::Result<()> {
    println!("\n## Idle connections: the gateway's own memory, bytes for each\n");
    println!("| gateway | first 5,000 | from 5,000 to 9,000 | descriptors |");
    println!("|---|---|---|---|");
    let is_one = |kind: &&Kind| GATEWAYS.contains(kind) && **kind != Kind::HaproxySplice;
    for kind in kinds.iter().filter(is_one) {
        let gateway = start(*kind, Room::Open)?;
        match load(&gateway, 0, &["idle", "5000", "4000"]) {
            Ok(found) => {
                let of = |name: &str| found.get(name).copied().unwrap_or(f64::NAN);
                judge(*kind, "bytes of an idle connection", of("cost").max(of("slope")), IDLE, above);
                judge(*kind, "descriptors", of("descriptors"), DESCRIPTORS, above);
                println!(
                    "| {} | {:.0} | {:.0} | {:.2} |",
                    kind.name(),
                    of("cost"),
                    of("slope"),
                    of("descriptors")
                );
            }
            Err(error) => println!("# {}: {error}", kind.name()),
        }
    }
    Ok(())
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("?", |(_, name)| name);
    let load = read("/proc/loadavg");
    format!(
        "{cpu}, {} CPUs, Linux {}, load at the start {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or("?"),
    )
}
