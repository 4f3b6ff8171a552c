//! `sluice check`: lints rule files. What it finds and how it is drawn is rules/check.rs's.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::rules::{self, Wanted, anomaly};
use super::{EngineArgs, Failure, cache};
use crate::rules::check;

/// Arguments of `sluice check`.
#[derive(Args)]
pub struct CheckArgs {
    /// Rule files, patterns of such, or folders whose *.rules are taken (default: those of
    /// --config).
    #[arg(required_unless_present = "config_file")]
    pub files: Vec<PathBuf>,
    /// Give a rule variable a value; may be repeated.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub vars: Vec<String>,
    /// Settings file (sluice.toml): rule files, variables, classes and references.
    #[arg(short = 'c', long = "config", value_name = "FILE")]
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
    /// Compile the rules as a run does and say what CPU time and memory that takes.
    #[arg(long)]
    pub timing: bool,
    /// With --timing: folder that keeps automata between starts (default: none).
    #[arg(long, value_name = "DIR", requires = "timing")]
    pub cache: Option<PathBuf>,
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
    if args.timing {
        return timing(args);
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
    let config = merged.config(false)?;
    let wanted = Wanted::default().with(&config);
    let arguments = check::Arguments {
        names: rules::declared(&wanted)?,
        reputations: rules::reputations(&wanted)?,
        countries: rules::countries(&wanted)?,
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

/// CPU time of the process so far.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Resident memory of the process, bytes; 0 where the system does not say.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Loads and compiles as `sluice run` does, with the rules that are without fault.
fn timing(args: &CheckArgs) -> Result<u8, Failure> {
    let variables = args
        .vars
        .iter()
        .map(|text| super::pair(text, "--var").map(|(k, v)| (k.to_string(), v.to_string())))
        .collect::<Result<_, _>>()?;
    let wanted = Wanted {
        files: args.files.clone(),
        variables,
        skip_bad: true,
        cache: args.cache.clone(),
        ..Wanted::default()
    };
    let (before, begin, memory) = (cpu(), Instant::now(), resident());
    let loaded = rules::load(&wanted)?;
    let (took, lasted) = (cpu().saturating_sub(before), begin.elapsed());
    let memory = resident().saturating_sub(memory);
    println!(
        "{} rules read and compiled: {:.2} CPU-seconds, {:.2} s, {} MiB resident",
        loaded.ruleset.signatures().len(),
        took.as_secs_f64(),
        lasted.as_secs_f64(),
        memory >> 20
    );
    if let Some(cache) = &loaded.cache {
        println!(
            "automata of regexes: {} from the cache, {} built, {} refused",
            cache.taken, cache.built, cache.refused
        );
        cache::told(cache)
            .iter()
            .for_each(|line| println!("{line}"));
    }
    Ok(super::exit::OK)
}
