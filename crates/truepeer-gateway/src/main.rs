//! Arguments in, exit code out.

use truepeer_gateway::cli;
use truepeer_gateway::engine::CLibrary;

fn main() -> std::process::ExitCode {
    // Asked here and nowhere else: `packaging/release` links the static program of what has been compiled for the ordinary
    // one, and this file alone is compiled once more, with the flag.
    cli::main(if cfg!(target_feature = "crt-static") { CLibrary::Own } else { CLibrary::OfHost })
}
