//! Measures what sharing costs: reading a million bans, keeping them, a connection with and without it, and a flood.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::door::{Door, backend, elsewhere, field, program};
use crate::store::Store;

/// Connections of one measurement of their cost.
const CONNECTIONS: u32 = 1_000;
/// Pairs that are compared: many short ones, so that what else the machine does hits few of them.
const PAIRS: usize = 25;
/// Bans a second, in batches of 10 ms.
const FLOOD: u32 = 10_000;
const BATCH: u32 = FLOOD / 100;

/// `BANS=100000` for a try.
fn bans() -> u32 {
    std::env::var("BANS").ok().and_then(|number| number.parse().ok()).unwrap_or(1_000_000)
}

pub fn all() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of this machine before: {}", load.trim());
    reading();
    if std::env::var_os("ONCE").is_none() {
        cost();
    }
}

fn shared(store: &Store, node: &str) -> String {
    format!("[shared]\nurl = \"redis://127.0.0.1:{}\"\nnode = \"{node}\"\n", store.port)
}

/// Spread over all of IPv4, each once.
fn network(number: u32) -> String {
    format!("{}/32", Ipv4Addr::from(0x0100_0000 + number.wrapping_mul(2_654_435_761) % 0xdf00_0000))
}

/// A million entries as front doors write them; then how a new one reads them, beside one that has them from a file.
fn reading() {
    let mut store = Store::start();
    let empty = store.info("memory", "used_memory");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut commands = Vec::new();
    for number in 0..bans() {
        let (at, until) = (now.as_millis(), now.as_millis() + 36_000_000);
        let value = format!("{at}\t{until}\t36000\tmx1\tcrowdsec crowdsecurity/ssh-bf");
        commands.push(vec!["HSET".to_owned(), "{truepeer}:bans".to_owned(), network(number), value]);
        if commands.len() == 10_000 {
            store.ask_all(&commands);
            commands.clear();
        }
    }
    store.ask_all(&commands);
    let entries = store.ask(&["HLEN", "{truepeer}:bans"]);
    let bytes = (store.info("memory", "used_memory") - empty) / f64::from(bans());
    println!("store: {entries} entries, {bytes:.0} bytes each");

    let backend = backend();
    // One is enough where only memory is asked for.
    for _ in 0..if std::env::var_os("ONCE").is_some() { 1 } else { 3 } {
        let before = store.info("cpu", "used_cpu_user") + store.info("cpu", "used_cpu_sys");
        let mut door = Door::start(backend, &shared(&store, "new"), "");
        let read = door.wait_for("event=shared_read");
        let after = store.info("cpu", "used_cpu_user") + store.info("cpu", "used_cpu_sys");
        // The state file is written after that, off this thread.
        std::thread::sleep(Duration::from_secs(4));
        let ((now, most), ms) = (door.resident(), field(&read, "duration_ms").unwrap_or("?"));
        println!(
            "a new front door: {} bans in {ms} ms ({:.2} s of CPU), resident {now} KiB, at most {most} KiB, store CPU {:.2} s",
            field(&read, "denied").unwrap_or("?"),
            door.cpu_ns("shared") as f64 / 1e9,
            after - before
        );
    }
    let mut file = "truepeer-bans 1\n".to_owned();
    for number in 0..bans() {
        let (since, until) = (now.as_secs(), now.as_secs() + 36_000);
        file.push_str(&format!("{}\t{since}\t{until}\tcrowdsec crowdsecurity/ssh-bf\n", network(number)));
    }
    let began = Instant::now();
    let door = Door::start(backend, "", &file);
    let (now, most) = door.resident();
    println!("the same from a file: ready in {:?}, resident {now} KiB, at most {most} KiB", began.elapsed());
}

/// CPU of the workers for each connection: alone, sharing, and in a flood of bans of another front door.
fn cost() {
    let store = Store::start();
    let backend = backend();
    let mut alone = Door::start(backend, "", "");
    let mut sharing = Door::start(backend, &shared(&store, "mx0"), "");
    let mut other = Door::start_by(elsewhere(&program()), backend, &shared(&store, "mx1"), "");
    for door in [&mut sharing, &mut other] {
        door.wait_for("event=shared_read");
    }
    // A ban, so that connections look into the table in all cases.
    for door in [&alone, &sharing] {
        let socket = door.folder.join("admin.sock");
        let denied = Command::new(program())
            .args(["deny", "198.18.0.1", "--for", "1h", "--socket"])
            .arg(socket)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(denied.success());
    }
    for door in [&mut alone, &mut sharing, &mut other] {
        door.read_on();
    }
    let mut pairs = Vec::new();
    for round in 0..=PAIRS {
        let (without, with) = if round % 2 == 0 {
            let without = per_connection(&alone);
            (without, per_connection(&sharing))
        } else {
            let with = per_connection(&sharing);
            (per_connection(&alone), with)
        };
        // The first round warms up.
        if round > 0 {
            pairs.push((without, with));
        }
    }
    told("sharing", ["alone", "sharing"], &pairs);

    let flood = Flood::start(other.folder.join("admin.sock"));
    let mut pairs = Vec::new();
    for round in 0..=PAIRS {
        let quiet = per_connection(&sharing);
        flood.begin();
        // Its first bans have arrived by then.
        std::thread::sleep(Duration::from_millis(200));
        let flooded = per_connection(&sharing);
        flood.pause();
        std::thread::sleep(Duration::from_millis(200));
        if round > 0 {
            pairs.push((quiet, flooded));
        }
    }
    told("a flood", ["quiet", "flooded"], &pairs);
    println!("the flood had {:.0} bans a second", flood.end());
    println!("front door mx0: resident {} KiB", sharing.resident().0);
}

/// What a connection costs: of the workers' CPU, and of the client's time.
#[derive(Clone, Copy)]
struct Cost {
    cpu_us: f64,
    wall_us: f64,
}

/// Medians, and the median of the ratios of each pair.
fn told(what: &str, names: [&str; 2], pairs: &[(Cost, Cost)]) {
    let median = |of: &dyn Fn(&(Cost, Cost)) -> f64| {
        let mut values: Vec<f64> = pairs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        (values[values.len() / 4], values[values.len() / 2], values[values.len() * 3 / 4])
    };
    for (unit, of) in [
        ("worker CPU", (|cost: Cost| cost.cpu_us) as fn(Cost) -> f64),
        ("time of the client", |cost: Cost| cost.wall_us),
    ] {
        let (quarter, ratio, most) = median(&|pair| of(pair.1) / of(pair.0));
        println!(
            "{what} costs {ratio:.3} of {unit} for each connection (median of {} pairs; quarter {quarter:.3}, three quarters {most:.3}): {} {:.1} us, {} {:.1} us",
            pairs.len(),
            names[0],
            median(&|pair| of(pair.0)).1,
            names[1],
            median(&|pair| of(pair.1)).1,
        );
    }
}

fn per_connection(door: &Door) -> Cost {
    let (before, began) = (door.cpu_ns("worker-"), Instant::now());
    for number in 0..CONNECTIONS {
        door.serve_one(number);
    }
    let each = |us: f64| us / f64::from(CONNECTIONS);
    let wall_us = each(began.elapsed().as_nanos() as f64 / 1e3);
    Cost { cpu_us: each((door.cpu_ns("worker-") - before) as f64 / 1e3), wall_us }
}

/// A feed of bans at a steady rate, on and off.
struct Flood {
    on: Arc<AtomicBool>,
    ending: Arc<AtomicBool>,
    feeding: JoinHandle<f64>,
}

impl Flood {
    fn start(socket: PathBuf) -> Self {
        let (on, ending) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let feeding = {
            let (on, ending) = (Arc::clone(&on), Arc::clone(&ending));
            std::thread::spawn(move || feed(&socket, &on, &ending))
        };
        Self { on, ending, feeding }
    }

    fn begin(&self) {
        self.on.store(true, Ordering::SeqCst);
    }

    fn pause(&self) {
        self.on.store(false, Ordering::SeqCst);
    }

    /// Returns its rate while it was on.
    fn end(self) -> f64 {
        self.ending.store(true, Ordering::SeqCst);
        self.feeding.join().unwrap()
    }
}

fn feed(socket: &Path, on: &AtomicBool, ending: &AtomicBool) -> f64 {
    const STEP: Duration = Duration::from_millis(10);
    let mut feed = elsewhere(&program())
        .args(["deny", "--feed", "--socket"])
        .arg(socket)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = feed.stdin.take().unwrap();
    let (mut next, mut time, mut due) = (0, Duration::ZERO, Instant::now());
    while !ending.load(Ordering::SeqCst) {
        let began = Instant::now();
        if on.load(Ordering::SeqCst) {
            // Not the clients that are measured.
            let networks = (next..next + BATCH).map(network).filter(|network| !network.starts_with("11.0."));
            let lines: String = networks.map(|network| format!("+{network} 1h flood\n")).collect();
            input.write_all(lines.as_bytes()).unwrap();
            next += BATCH;
        }
        // Never more than one batch behind: a pause is no reason to hurry.
        due = (due + STEP).max(Instant::now().checked_sub(STEP).unwrap());
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if on.load(Ordering::SeqCst) {
            time += began.elapsed();
        }
    }
    drop(input);
    // It is silent about what was carried out, and fails if a line was not.
    assert!(feed.wait().unwrap().success());
    f64::from(next) / time.as_secs_f64()
}
