//! Arguments in, exit code out.

fn main() -> std::process::ExitCode {
    truepeer_gateway::cli::main()
}
