//! What many front doors cost.
//!
//! `compute` prints figures for a size that nobody has here, each computed from a measured one; `measure` measures those
//! of them that are about sharing bans, with a real store and the real program.

mod door;
mod measure;
mod measured;
mod model;
mod store;

fn main() {
    match std::env::args().nth(1).as_deref() {
        None | Some("compute") => print!("{}", model::report(&model::Size::ASKED_FOR)),
        Some("measure") => measure::all(),
        Some(other) => {
            eprintln!("`compute` or `measure`, not {other}");
            std::process::exit(2);
        }
    }
}
