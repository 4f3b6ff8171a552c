//! Sluice, the program. Where to go from here: `cli` has the commands; `lane.rs` has the loop that
//! every packet goes through; `lib.rs` is the map of all rooms.

use clap::Parser;

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(sluice::cli::run(sluice::cli::Cli::parse()))
}
