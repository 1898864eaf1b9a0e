//! What is exact whatever else a machine does: instructions of the program itself and heap allocations of a short
//! connection, counted by valgrind, and how they grow. Each is the difference of two runs, so that what a start costs is
//! not in it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::gateways::{Backend, Kind, Room, Running};
use crate::run::{judge, load};

/// Connections of the two runs.
const FEW: u32 = 1000;
const MANY: u32 = 3000;
const AT_ONCE: &str = "16";
/// The most of each; what was reached, not what is aimed at.
const INSTRUCTIONS: f64 = 29_000.0;
const ALLOCATIONS: f64 = 2.1;
/// What grows may cost so much more.
const GROWTH: f64 = 1.10;

/// By what is open, what is configured, and how many take turns.
const ROWS: [(&str, Kind, &str); 5] = [
    ("100 connections open", Kind::Truepeer, "100"),
    ("9,000 connections open", Kind::Truepeer, "9000"),
    ("100,000 trusted networks", Kind::Trusted, "100"),
    ("1,000,000 denied networks", Kind::Denied, "100"),
    ("two workers", Kind::TwoWorkers, "100"),
];

/// Counts; the rows about growth only if it is `wanted`.
pub fn exact(
    backend: &Backend,
    folder: &Path,
    truepeer: &Path,
    growth: Growth,
    above: &mut Vec<String>,
) -> io::Result<()> {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("# skipped: valgrind is not installed");
        return Ok(());
    }
    println!(
        "\n## Exact costs of a short connection, {AT_ONCE} in flight (all threads, callgrind and dhat)\n"
    );
    println!("| | instructions of the program itself | heap allocations |");
    println!("|---|---|---|");
    let rows = if growth == Growth::Counted { &ROWS[..] } else { &ROWS[..1] };
    let mut first = None;
    for (what, kind, open) in rows {
        let count = |tool: Tool| {
            let run = |connections: u32| {
                let out = folder.join(format!("valgrind-{connections}"));
                let gateway =
                    Running::start_under(&tool.command(&out), *kind, Room::Open, backend, folder, truepeer)?;
                load(&gateway, 600_000, &["exactly", &connections.to_string(), AT_ONCE, open])?;
                gateway.end()?;
                tool.total(&out)
            };
            Ok::<_, io::Error>((run(MANY)? - run(FEW)?) / f64::from(MANY - FEW))
        };
        let (instructions, allocations) = (count(Tool::Callgrind)?, count(Tool::Dhat)?);
        println!("| {what} | **{instructions:.0}** | **{allocations:.2}** |");
        judge(Kind::Truepeer, &format!("instructions, {what}"), instructions, INSTRUCTIONS, above);
        judge(Kind::Truepeer, &format!("allocations, {what}"), allocations, ALLOCATIONS, above);
        let (of_first, _) = *first.get_or_insert((instructions, allocations));
        judge(Kind::Truepeer, &format!("growth, {what}"), instructions / of_first, GROWTH, above);
    }
    Ok(())
}

/// Whether it is counted how costs grow, which takes minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    Counted,
    NotCounted,
}

#[derive(Debug, Clone, Copy)]
enum Tool {
    Callgrind,
    Dhat,
}

impl Tool {
    fn command(self, out: &Path) -> Vec<String> {
        let out = out.display();
        let words = match self {
            Self::Callgrind => vec![
                "valgrind".to_owned(),
                "--tool=callgrind".to_owned(),
                format!("--callgrind-out-file={out}"),
                format!("--log-file={out}.log"),
            ],
            Self::Dhat => vec![
                "valgrind".to_owned(),
                "--tool=dhat".to_owned(),
                format!("--dhat-out-file={out}"),
                format!("--log-file={out}.log"),
            ],
        };
        words
    }

    /// What it has counted in all.
    fn total(self, out: &Path) -> io::Result<f64> {
        let missing = || io::Error::other(format!("no total in {}", out.display()));
        let number = |text: &str| text.trim().replace(',', "").parse::<f64>().map_err(io::Error::other);
        match self {
            Self::Callgrind => {
                let text = fs::read_to_string(out)?;
                let total = text.lines().rev().find_map(|line| line.strip_prefix("totals:"));
                number(total.ok_or_else(missing)?)
            }
            Self::Dhat => {
                let text = fs::read_to_string(format!("{}.log", out.display()))?;
                let total =
                    text.lines().find_map(|line| line.split_once("Total:")?.1.split_once(" bytes in "));
                let (_, blocks) = total.ok_or_else(missing)?;
                number(blocks.split(' ').next().unwrap_or_default())
            }
        }
    }
}
