//! The command line of pcap-replay; the commands are in lib.rs.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pcap_replay::{diff, generate, replay};

/// Makes traffic, replays captures into ports, compares results
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a capture of made traffic: clean flows, attacks, broken packets, by seed
    Generate(generate::Arguments),
    /// Play captures into an engine's ports and judge what comes out
    Replay(replay::Arguments),
    /// Compare the alerts and drops of two runs by their EVE files
    Diff(diff::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}
