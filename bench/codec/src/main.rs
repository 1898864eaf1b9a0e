//! Counts what codecs cost and where their verdicts differ.
//!
//! `table` makes `docs/compare.md` (see `run`); `list`, `once INDEX ITERATIONS`, `allocations`
//! and `verdicts` are the steps it is made of.
mod inputs;
mod measure;
mod peers;
mod table;
mod verdicts;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["table", other] => table::make(other),
        ["list"] => {
            for (index, job) in peers::jobs().iter().enumerate() {
                println!("{index}\t{}\t{}", job.peer, job.case);
            }
            Ok(())
        }
        ["once", index, iterations] => measure::repeat(index.parse()?, iterations.parse()?),
        ["allocations"] => measure::print_allocations(),
        ["verdicts"] => verdicts::print(),
        _ => {
            Err("usage: table BINARY-WITH-CRC32C | list | once INDEX ITERATIONS | allocations | verdicts"
                .into())
        }
    }
}
