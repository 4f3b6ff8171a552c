//! `sluice replay`: captures through the engine, and a summary of what became of every packet.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::control::{self, EngineHooks, Served};
use super::rules::{self, Wanted};
use super::{EngineArgs, Failure, exit, pair};
use crate::config::Config;
use crate::control::{
    Snapshot,
    summary::{Figures, Format, print},
};
use crate::counters::Counter;
use crate::eve::{Options as EveOptions, Target, Writer, WriterHandle};
use crate::memory::heap::{Untouched, onto_huge_pages};
use crate::port::capture::spread::Spread;
use crate::replay::{Options, Outcome, ReplayError, Session, cores};

/// A progress bar is shown for captures of at least this many bytes.
const PROGRESS_FROM_BYTES: u64 = 64 << 20;

/// Arguments of `sluice replay`.
#[derive(Args, Clone)]
pub struct ReplayArgs {
    /// Captures, in order (pcap or pcapng), or folders of such, by the time of their last change.
    pub captures: Vec<PathBuf>,
    /// A capture, as Suricata's users write it.
    #[arg(short = 'r', value_name = "CAPTURE")]
    pub read: Vec<PathBuf>,
    /// Folder for eve.json.
    #[arg(short = 'l', long = "log-dir", value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// Be the gate: drop what the rules drop (default: watch).
    #[arg(long, alias = "simulate-ips")]
    pub inline: bool,
    /// Write what would be forwarded to a capture (.pcap or .pcapng).
    #[arg(long, value_name = "OUT")]
    pub write: Option<PathBuf>,
    /// Lanes.
    #[arg(long)]
    pub lanes: Option<usize>,
    /// How packets come to lanes: first, hash, round-robin, asymmetric.
    #[arg(long, default_value = "hash")]
    pub spread: String,
    /// Lanes run freely instead of merging by capture order.
    #[arg(long)]
    pub free: bool,
    /// Pin workers to cores.
    #[arg(long)]
    pub pin: bool,
    /// Summary as text or json.
    #[arg(long, default_value = "text")]
    pub format: String,
    /// Alerts carry the payload (and payload_printable).
    #[arg(long)]
    pub payload: bool,
    /// Exit 1 if there was any alert or drop.
    #[arg(long)]
    pub fail_on_alert: bool,
    /// Rules and settings.
    #[command(flatten)]
    pub engine: EngineArgs,
}

impl ReplayArgs {
    /// These arguments over those of the settings file.
    fn with_file(&self) -> Result<ReplayArgs, Failure> {
        let mut args = self.clone();
        args.engine = self.engine.with_file()?;
        let file = &args.engine.file;
        args.log_dir = args.log_dir.or(file.path("log.dir"));
        args.lanes = args.lanes.or(file.number("run.lanes")?);
        args.pin |= file.flag("run.pin");
        Ok(args)
    }
}

fn spread(text: &str) -> Result<Spread, Failure> {
    Ok(match text {
        "first" => Spread::First,
        "hash" => Spread::Pair,
        "round-robin" => Spread::RoundRobin,
        "asymmetric" => Spread::Directional,
        other => {
            return Err(Failure::new(
                exit::USAGE,
                format!("--spread {other}\n [hint] one of first, hash, round-robin, asymmetric"),
            ));
        }
    })
}

/// The rules that the arguments ask for.
///
/// # Errors
/// A `--var` without `=`.
pub fn wanted(args: &EngineArgs) -> Result<Wanted, Failure> {
    let given = args.vars.iter().map(|text| pair(text, "--var"));
    // As Suricata's users say it: --set vars.address-groups.HOME_NET=10.0.0.0/8.
    let set = args.sets.iter().filter_map(|text| {
        let (key, value) = text.split_once('=')?;
        Some(Ok((crate::config::variable(key)?, value)))
    });
    let own =
        |pair: Result<(&str, &str), Failure>| pair.map(|(k, v)| (k.to_string(), v.to_string()));
    let variables = given.chain(set).map(own).collect::<Result<_, _>>()?;
    Ok(Wanted {
        files: args.rules.clone(),
        variables,
        skip_bad: args.skip_bad_rules,
        classification: args.classification.clone(),
        references: args.reference.clone(),
        cache: super::cache::folder(args.cache.as_deref()),
        ..Wanted::default()
    })
}

pub(super) fn fail(error: &ReplayError) -> Failure {
    let code = match error {
        ReplayError::Capture(_) => exit::INPUT,
        ReplayError::Build(_) => exit::CONFIG,
        ReplayError::Usage(_) => exit::USAGE,
    };
    Failure::new(code, error)
}

/// Says which settings have no effect here, and why.
pub fn tell_ignored(config: &crate::config::Config) {
    for ignored in &config.ignored {
        let (key, _) = ignored.split_once('=').unwrap_or((ignored, ""));
        let why = crate::config::foreign::reason(key);
        eprintln!("note: setting {ignored} has no effect: {why}");
    }
}

/// Runs `sluice replay`.
///
/// # Errors
/// Usage, settings, rules or input that cannot be used; the exit code says which.
pub fn run(args: &ReplayArgs) -> Result<u8, Failure> {
    let named = args.captures.iter().chain(&args.read);
    let captures = named.map(|path| captures_of(path));
    let captures = captures.collect::<Result<Vec<_>, _>>()?.concat();
    if captures.is_empty() {
        return Err(Failure::new(
            exit::USAGE,
            "no capture\n [hint] sluice replay FILE... -S RULES -l LOGDIR",
        ));
    }
    let args = &args.with_file()?;
    let config = args.engine.config(args.inline)?;
    tell_ignored(&config);
    let shown = config.clone();
    let loaded = rules::load(&wanted(&args.engine)?.with(&config))?;
    loaded.report();
    let options = Options {
        config,
        layout: args.engine.layout()?,
        lanes: args.lanes.unwrap_or(1),
        burst_max: args.engine.burst(),
        spread: spread(&args.spread)?,
        ordered: !args.free,
        write: args.write.clone(),
        cores: if args.pin { cores() } else { Vec::new() },
        ..Options::default()
    };
    log_dir(args)?;
    let session =
        Session::open(&captures, options, Arc::clone(&loaded.program)).map_err(|e| fail(&e))?;
    onto_huge_pages(Untouched::Later);
    let writer = writer(args, &captures, &session, (&loaded, &shown))?;
    let hooks = EngineHooks::new(
        &shown,
        &loaded,
        session.ports(&captures),
        session.stop(),
        args.engine.rules_top(),
    );
    let served = Served {
        metrics: args.engine.metrics,
        socket: None,
        stats_interval: 0,
        stats: shown.eve.tells("stats"),
        listeners: Default::default(),
    };
    let handle = writer.as_ref().map(Writer::handle);
    let control = control::start(session.workers(), hooks, handle, served)?;
    let bar = progress(session.bytes_total);
    let position = Arc::clone(&session.position);
    let tick = || bar.set_position(position.load(Ordering::Relaxed));
    let outcome = match &writer {
        Some(_) => session.run_detached(tick),
        None => session.run(|_| {}, tick),
    };
    bar.finish_and_clear();
    let snapshot = control.snapshot();
    control.stop();
    let lines = writer.map(Writer::stop);
    rules::save_datasets(&args.engine.rules, &loaded.ruleset.names().datasets);
    let spent = (outcome.elapsed, outcome.cpu);
    summary(&snapshot, lines.as_ref(), spent, &args.format)?;
    if let Some(handle) = lines {
        let counters = handle.counters();
        eprintln!("eve.json: {} lines", counters.sink.lines());
    }
    finish(args, &outcome)
}

/// The captures that a name means: those of a folder in the order in which they were written.
fn captures_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let fail = |error: &dyn std::fmt::Display| {
        let hint = "name captures, or a folder with *.pcap, *.pcapng or *.cap";
        Failure::new(
            exit::INPUT,
            format!("{}: {error}\n [hint] {hint}", path.display()),
        )
    };
    let entries = std::fs::read_dir(path).map_err(|error| fail(&error))?;
    let is_capture = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let kinds = [".pcap", ".pcapng", ".cap"];
        // Files of a ring have their number behind it: log.pcap.17.
        path.is_file() && kinds.iter().any(|kind| name.contains(kind))
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = paths.filter(is_capture).collect();
    let changed = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    found.sort_by_cached_key(|path| (changed(path), path.clone()));
    match found.is_empty() {
        true => Err(fail(&"no capture there")),
        false => Ok(found),
    }
}

/// Makes the log folder.
fn log_dir(args: &ReplayArgs) -> Result<(), Failure> {
    let Some(dir) = &args.log_dir else {
        return Ok(());
    };
    std::fs::create_dir_all(dir).map_err(|error| {
        let hint = "-l names a folder that can be written";
        Failure::new(
            exit::INPUT,
            format!("{}: {error}\n [hint] {hint}", dir.display()),
        )
    })
}

/// The event writer, where a log folder is wanted.
fn writer(
    args: &ReplayArgs,
    captures: &[PathBuf],
    session: &Session,
    (loaded, config): (&rules::Loaded, &Config),
) -> Result<Option<Writer>, Failure> {
    let Some(dir) = &args.log_dir else {
        return Ok(None);
    };
    let fail = |what: &std::path::Path, error: std::io::Error| {
        Failure::new(
            exit::INPUT,
            format!(
                "{}: {error}\n [hint] -l names a folder that can be written",
                what.display()
            ),
        )
    };
    let mut eve = config.eve.clone();
    eve.alert.payload |= args.payload;
    eve.alert.printable |= args.payload;
    let path = dir.join(&eve.file);
    // A replay is a new story: what an earlier one left does not belong to it.
    if path.is_file() {
        std::fs::remove_file(&path).map_err(|error| fail(&path, error))?;
    }
    let mut options = EveOptions::new(Target::Path(path.clone()));
    options.eve = eve;
    options.pcap_filename = match captures {
        [one] => Some(one.display().to_string()),
        _ => None,
    };
    options.names = super::eve_names();
    options.store = super::file_store(config, dir);
    let writer = Writer::start(session.events(), loaded.info(), options);
    writer.map(Some).map_err(|error| fail(&path, error))
}

/// Nominal cycles per second of the first processor, as the kernel tells it.
fn cycles_per_second() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("cpu MHz"))?;
    Some(line.split(':').nth(1)?.trim().parse::<f64>().ok()? * 1e6)
}

/// Prints the figures to standard output.
///
/// # Errors
/// Standard output that cannot be written.
pub fn summary(
    snapshot: &Snapshot,
    writer: Option<&WriterHandle>,
    (elapsed, cpu): (Duration, Duration),
    format: &str,
) -> Result<(), Failure> {
    let cycles = cycles_per_second().map(|rate| (cpu.as_secs_f64() * rate) as u64);
    let figures = Figures::of(snapshot, elapsed, cycles).beside(writer);
    let format = if format == "json" {
        Format::Json
    } else {
        Format::Text
    };
    print(&mut std::io::stdout().lock(), &figures, format)
        .map_err(|error| Failure::new(exit::INPUT, format!("standard output: {error}")))
}

fn progress(bytes: u64) -> ProgressBar {
    if bytes < PROGRESS_FROM_BYTES {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    let bar = ProgressBar::new(bytes);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Faults that came up on the way, and the exit code.
fn finish(args: &ReplayArgs, outcome: &Outcome) -> Result<u8, Failure> {
    if let Some(error) = &outcome.write_error {
        return Err(Failure::new(exit::INPUT, error));
    }
    if !outcome.capture_errors.is_empty() {
        let all: Vec<String> = outcome
            .capture_errors
            .iter()
            .map(ToString::to_string)
            .collect();
        return Err(Failure::new(exit::INPUT, all.join("\n")));
    }
    let noted = outcome.total(Counter::Alerts) + outcome.total(Counter::PacketsDropped);
    let findings = args.fail_on_alert && noted > 0;
    Ok(if findings { exit::FINDINGS } else { exit::OK })
}
