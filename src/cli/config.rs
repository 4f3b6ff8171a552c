//! `sluice config`: the reference of all settings, a check of a settings file, and the way over
//! from Suricata (import.rs).

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::import::{Import, import};
use super::{EngineArgs, Failure, exit};

/// Arguments of `sluice config`.
#[derive(Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What `sluice config` can do.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Write a sluice.toml with every key, its unit, its default, and what it is for.
    Reference,
    /// Read a settings file and say what is wrong with it.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Make a sluice.toml of a suricata.yaml; what is not taken over is listed.
    Import {
        /// The suricata.yaml.
        file: PathBuf,
        /// Where to write (default: standard output).
        #[arg(short = 'o', value_name = "FILE")]
        output: Option<PathBuf>,
        /// Write over a file that is there.
        #[arg(long)]
        force: bool,
    },
}

/// Runs `sluice config`.
///
/// # Errors
/// Files that cannot be read or written (6), settings that are wrong (3).
pub fn run(args: &ConfigArgs) -> Result<u8, Failure> {
    match &args.command {
        ConfigCommand::Reference => print(&crate::config::keys::reference())?,
        ConfigCommand::Check { file } => {
            let args = EngineArgs {
                config_file: Some(file.clone()),
                ..EngineArgs::default()
            }
            .with_file()?;
            args.config(false)?;
            let (settings, variables) = (args.file.entries.len(), args.file.variables.len());
            println!(
                "{}: {settings} settings and {variables} variables, all understood",
                file.display()
            );
        }
        ConfigCommand::Import {
            file,
            output,
            force,
        } => taken_over(file, output.as_deref(), *force)?,
    }
    Ok(exit::OK)
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::new(exit::INPUT, format!("standard output: {error}")))
}

fn taken_over(file: &Path, output: Option<&Path>, force: bool) -> Result<(), Failure> {
    let Import {
        text,
        taken,
        left,
        remarks,
    } = import(file)?;
    match output {
        None => print(&text)?,
        Some(path) => {
            if path.exists() && !force {
                let text = format!(
                    "{} is there already\n [hint] --force writes over it",
                    path.display()
                );
                return Err(Failure::new(exit::USAGE, text));
            }
            std::fs::write(path, text).map_err(|error| {
                let hint = "-o names a file that can be written";
                Failure::new(
                    exit::INPUT,
                    format!("{}: {error}\n [hint] {hint}", path.display()),
                )
            })?;
        }
    }
    for remark in remarks {
        eprintln!("note: {remark}");
    }
    for one in &left {
        eprintln!("not taken over: {one}");
    }
    eprintln!("{taken} values taken over, {} not", left.len());
    Ok(())
}
