//! `sluice check`: lints rule files. What it finds and how it is drawn is rules/check.rs's.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use super::rules::anomaly;
use super::{EngineArgs, Failure};
use crate::rules::check;

/// Arguments of `sluice check`.
#[derive(Args)]
pub struct CheckArgs {
    /// Rule files, or folders whose *.rules are taken (default: those of --config).
    #[arg(required_unless_present = "config_file")]
    pub files: Vec<PathBuf>,
    /// Give a rule variable a value; may be repeated.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub vars: Vec<String>,
    /// Settings file (sluice.toml): rule files, variables, classes and references.
    #[arg(long = "config", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// classification.config (default: beside the first rule file, else a built-in list).
    #[arg(long, value_name = "FILE")]
    pub classification: Option<PathBuf>,
    /// reference.config (default: beside the first rule file).
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// Check rules behind `#` too.
    #[arg(long)]
    pub disabled: bool,
    /// `warnings`: they make the exit code 1.
    #[arg(long, value_name = "warnings")]
    pub deny: Option<String>,
    /// Count what this build can run, by keyword.
    #[arg(long)]
    pub coverage: bool,
    /// Name every rule that this build cannot run.
    #[arg(long)]
    pub unsupported: bool,
    /// Output: text or json.
    #[arg(long, default_value = "text")]
    pub format: String,
}

/// Runs `sluice check`. The exit code says what was found.
///
/// # Errors
/// A `--deny` that is not known.
pub fn run(args: &CheckArgs) -> Result<u8, Failure> {
    if let Some(other) = args.deny.as_deref().filter(|what| *what != "warnings") {
        let text = format!("--deny {other}: not known\n [hint] write --deny warnings");
        return Err(Failure::new(super::exit::USAGE, text));
    }
    // What the file says of rules goes the same way as for the commands that run them.
    let merged = EngineArgs {
        rules: args.files.clone(),
        vars: args.vars.clone(),
        config_file: args.config_file.clone(),
        classification: args.classification.clone(),
        reference: args.reference.clone(),
        ..EngineArgs::default()
    }
    .with_file()?;
    merged.config(false)?;
    let arguments = check::Arguments {
        files: merged.rules,
        variables: merged.vars,
        classification: merged.classification,
        reference: merged.reference,
        disabled: args.disabled,
        deny_warnings: args.deny.is_some(),
        coverage: args.coverage,
        unsupported: args.unsupported,
    };
    let (report, code) = check::run(&arguments, &anomaly);
    match args.format.as_str() {
        "json" => println!("{}", report.json()),
        _ => print!("{}", report.text(std::io::stdout().is_terminal())),
    }
    Ok(code)
}
