//! The command line of pcap-replay; the commands are in lib.rs.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pcap_replay::generate;

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
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Generate(arguments) => generate::run(&arguments),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}
