//! `sluice config`: the reference of all settings, a check of a settings file, and the way over
//! from Suricata (import.rs).

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::import::{Import, import};
use super::{EngineArgs, Failure, exit};
use crate::config::keys::{KEYS, Usual, VARIABLES};

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
    /// Say what holds: every setting, and whether it is the file's, the command line's, or the default.
    Show {
        /// The file (default: none).
        file: Option<PathBuf>,
        /// Set an engine setting, as for `run`; may be repeated.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        sets: Vec<String>,
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
        ConfigCommand::Show { file, sets } => {
            let args = EngineArgs {
                config_file: file.clone(),
                sets: sets.clone(),
                ..EngineArgs::default()
            }
            .with_file()?;
            let config = args.config(false)?;
            super::replay::tell_ignored(&config);
            print(&in_force(&args))?;
        }
        ConfigCommand::Import {
            file,
            output,
            force,
        } => taken_over(file, output.as_deref(), *force)?,
    }
    Ok(exit::OK)
}

/// Every setting in force as TOML, and where it is from.
fn in_force(args: &EngineArgs) -> String {
    let mut text = String::new();
    for key in KEYS {
        let name = key.name;
        let pairs = args.sets.iter().rev().filter_map(|set| set.split_once('='));
        let set = pairs
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value);
        let line = match (set.into_iter().next(), args.file.shown(key), key.usual) {
            (Some(value), ..) => {
                let value = toml::Value::String(value.to_string());
                format!("{name} = {value} # --set\n")
            }
            (None, Some((value, place)), _) => format!("{name} = {value} # {place}\n"),
            (None, None, Usual::Is(value)) => format!("{name} = {value} # default\n"),
            (None, None, Usual::Else(_, otherwise)) => format!("# {name}: {otherwise}\n"),
        };
        text.push_str(&line);
    }
    for (key, value, place) in args
        .file
        .engine()
        .filter(|(key, ..)| key.starts_with("datasets."))
    {
        let value = toml::Value::String(value);
        text.push_str(&format!("{key} = {value} # {place}\n"));
    }
    for pair in &args.vars {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = toml::Value::String(value.to_string());
        text.push_str(&format!("{VARIABLES}.{name} = {value}\n"));
    }
    text
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
    if let Some(path) = output {
        let path = path.display();
        eprintln!(" [hint] `sluice run -T --config {path}` says whether a run can use it");
    }
    Ok(())
}
