//! Makes `docs/compare.md` and the record under `bench/record/`.
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::inputs;
use crate::measure;
use crate::peers::{self, DECODE, ENCODE, PEERS};
use crate::verdicts;

/// One measured job.
struct Row {
    peer: String,
    case: &'static str,
    instructions: u64,
    allocations: u64,
    bytes: u64,
}

/// The name under which the codec with its optional dependency stands.
const WITH_CRC32C: &str = "truepeer-proto, feature `crc32c`";

/// `other`: this program, built with the feature `crc32c`.
pub fn make(other: &str) -> Result<(), Box<dyn Error>> {
    let this = std::env::current_exe()?;
    let mut rows = Vec::new();
    for (index, job) in peers::jobs().iter().enumerate() {
        let (allocations, bytes) = measure::allocations(&job.work);
        let mut row = Row {
            peer: job.peer.to_owned(),
            case: job.case,
            instructions: measure::instructions(&this, index)?,
            allocations,
            bytes,
        };
        eprintln!("{}\t{}\t{}", row.peer, row.case, row.instructions);
        let is_ours = job.peer == PEERS[0].name;
        rows.push(Row { peer: row.peer.clone(), ..row });
        if is_ours {
            row.peer = WITH_CRC32C.to_owned();
            row.instructions = measure::instructions(Path::new(other), index)?;
            rows.push(row);
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let facts = Facts::gather()?;
    std::fs::write(record_path(&root, &facts), record(&rows, &facts))?;
    std::fs::write(root.join("docs/compare.md"), page(&rows, &facts)?)?;
    Ok(())
}

/// When and where.
struct Facts {
    date: String,
    processor: String,
    system: String,
    compiler: String,
    valgrind: String,
}

impl Facts {
    fn gather() -> Result<Self, Box<dyn Error>> {
        let say = |program: &str, arguments: &[&str]| -> Result<String, Box<dyn Error>> {
            let output = Command::new(program).args(arguments).output()?;
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let processors = std::fs::read_to_string("/proc/cpuinfo")?;
        let processor =
            processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        Ok(Self {
            date: say("date", &["+%F"])?,
            processor: processor.trim_start_matches([' ', '\t', ':']).to_owned(),
            system: say("uname", &["-sm"])?,
            compiler: say("rustc", &["--version"])?,
            valgrind: say("valgrind", &["--version"])?,
        })
    }
}

fn record_path(root: &Path, facts: &Facts) -> PathBuf {
    root.join(format!("bench/record/codec-{}.tsv", facts.date))
}

fn record(rows: &[Row], facts: &Facts) -> String {
    let mut out = format!(
        "# {}; {}; {}; {}; {}\n# peer, case, instructions, allocations, bytes allocated\n",
        facts.date, facts.processor, facts.system, facts.compiler, facts.valgrind
    );
    for row in rows {
        let Row { peer, case, instructions, allocations, bytes } = row;
        let _ = writeln!(out, "{peer}\t{case}\t{instructions}\t{allocations}\t{bytes}");
    }
    out
}

fn page(rows: &[Row], facts: &Facts) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let full = inputs::v2_full().len();
    let _ = write!(
        out,
        "# The codec beside its peers\n\n\
         Made by `bench/codec/run` on {}, {}, {}, {}, {}.\n\
         The record is `bench/record/codec-{}.tsv`.\n\
         Nothing here is written by hand but the sentences.\n\n\
         Instructions are counted by callgrind: the difference between 1000 iterations and none, divided by 1000.\n\
         They repeat to the instruction for one build on one machine, and they are not nanoseconds.\n\
         A dash means that the crate does not offer it.\n\
         The versions are pinned in `bench/codec/Cargo.toml`.\n\
         What the library offers beside others is in [compare-library.md](compare-library.md).\n\n",
        facts.date, facts.processor, facts.system, facts.compiler, facts.valgrind, facts.date
    );
    let _ = write!(
        out,
        "## Reading, instructions\n\n\
         `v1` and `v2` are read to the addresses, by the cheapest entry point that gives them.\n\
         `v2 full` has {full} bytes: ALPN, AUTHORITY, UNIQUE_ID, SSL with five sub-TLVs, NETNS, 0xEA, CRC32C.\n\
         It is read by the entry point that checks every rule the crate has; `walked` looks at every TLV and sub-TLV too.\n\
         A crate with a dash under `v2 full` checks TLVs only as they are walked, if at all.\n\n",
    );
    table(&mut out, rows, &DECODE, |row| row.instructions.to_string());
    out.push_str("\n## Writing, instructions\n\n");
    for peer in PEERS.iter().filter(|peer| !peer.lacks.is_empty()) {
        let _ = writeln!(out, "The full header of {} lacks {}.", peer.name, peer.lacks);
    }
    out.push_str(
        "`v2 full out` begins with the facts, so it builds the SSL value too; \
         `TLVs held` begins with TLVs as they were received.\n\n",
    );
    table(&mut out, rows, &ENCODE, |row| row.instructions.to_string());
    out.push_str(BARE);
    out.push_str("\n## Heap allocations and bytes for one operation\n\n");
    let all: Vec<&str> = DECODE.into_iter().chain(ENCODE).collect();
    table(&mut out, rows, &all, |row| match row.allocations {
        0 => "0".to_owned(),
        count => format!("{count} / {}", row.bytes),
    });
    verdict_table(&mut out)?;
    Ok(out)
}

/// What a codec without our promises costs.
const BARE: &str = "
## Lower still

A bare reader and writer was made before this codec to see what is reachable, and counted in the same way on the same facts; it is not part of this repository.
It reads the four plain headers in 628, 1091, 85 and 134 instructions, walks the full one in 378, with CRC in 978, and writes the columns above in 774, 1062, 32, 36 and 848.
It is lower where it does less: it says that a header is wrong, but neither at which byte nor how many bytes are missing (v1 TCP6), has no limit for the announced length (v2 TCP4), walks TLVs that it has not checked before (walked), and has one writer for each family, without transports, TLVs and a caller's slice that may be too short (v2 out).
";

fn table(out: &mut String, rows: &[Row], cases: &[&str], cell: impl Fn(&Row) -> String) {
    let _ = writeln!(out, "| crate | {} |", cases.join(" | "));
    let _ = writeln!(out, "|---|{}", "---:|".repeat(cases.len()));
    let mut peers: Vec<&str> = Vec::new();
    for row in rows {
        if !peers.contains(&row.peer.as_str()) {
            peers.push(&row.peer);
        }
    }
    for peer in peers {
        let find = |case: &&str| rows.iter().find(|row| row.peer == peer && row.case == *case);
        let cells: Vec<String> = cases.iter().map(|case| find(case).map_or("–".to_owned(), &cell)).collect();
        if cells.iter().any(|cell| cell != "–") {
            let _ = writeln!(out, "| {peer} | {} |", cells.join(" | "));
        }
    }
}

fn verdict_table(out: &mut String) -> Result<(), Box<dyn Error>> {
    let (cases, scores) = verdicts::scores()?;
    let _ = write!(
        out,
        "\n## Verdicts on the {cases} stream cases of `vectors/`\n\n\
         The cases follow the profile of this project, which is stricter than the specification where that is silent; \
         a difference is therefore not always a fault.\n\
         Names of the cases are in `vectors/vectors.json`, with the clause.\n\n\
         | crate | agrees | accepts what the profile refuses | refuses what it accepts | waits, or ends too early | other source or length | panics |\n\
         |---|---:|---|---|---|---|---|\n",
    );
    for (peer, score) in PEERS.iter().zip(&scores) {
        let list = |ids: &[String]| if ids.is_empty() { "–".to_owned() } else { ids.join(", ") };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            peer.name,
            score.agrees,
            list(&score.accepts),
            list(&score.refuses),
            list(&score.waits),
            list(&score.differs),
            list(&score.panics)
        );
    }
    Ok(())
}
