//! `sluice test DIR`: rule tests. Each folder below DIR with a `case.toml` or `case.json` is one:
//!
//! ```toml
//! capture = "login.pcap"          # beside the case, or below a parent folder
//! rules = "test.rules"            # the default
//! alerts = { 1000001 = 2 }        # expected alerts per sid; all others must be silent
//! drops = 3                       # expected dropped packets; leave out not to check
//! settings = { inline = true, "stream.midstream" = true }
//! variables = { HOME_NET = "10.0.0.0/8" }
//! ```
//!
//! A recorded case (`case.json`) below a folder `ips` was run inline, whether its settings say so
//! or not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::rules::{self, Wanted};
use super::{EngineArgs, Failure, exit};
use crate::config::{Config, Mode};
use crate::event::EventKind;
use crate::replay::{Options, Session};
use crate::rules::ruleset::RuleSet;
use crate::rules::signature::{Action, Signature};

/// Arguments of `sluice test`.
#[derive(Args, Clone)]
pub struct TestArgs {
    /// Folders with cases below them.
    #[arg(required = true)]
    pub dirs: Vec<PathBuf>,
    /// Output: text, or json (one object with all results).
    #[arg(long, default_value = "text")]
    pub format: String,
    /// Only cases whose path contains this.
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// A file with one `STATUS path` a line; a case that passed there and does not now fails the
    /// run, and other failures do not.
    #[arg(long, value_name = "FILE")]
    pub expect: Option<PathBuf>,
    /// Write that file.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Stages on workers.
    #[arg(long, default_value = "fused")]
    pub layout: String,
    /// Lanes.
    #[arg(long, default_value_t = 1)]
    pub lanes: usize,
    /// Settings file (sluice.toml) under the settings of the cases.
    #[arg(long = "config", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// What that file says.
    #[arg(skip)]
    file: EngineArgs,
}

/// A case as its author writes it.
#[derive(Deserialize)]
struct CaseFile {
    capture: PathBuf,
    #[serde(default)]
    rules: Option<PathBuf>,
    #[serde(default)]
    alerts: BTreeMap<String, u64>,
    #[serde(default)]
    drops: Option<u64>,
    #[serde(default)]
    settings: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default)]
    variables: Option<BTreeMap<String, serde_json::Value>>,
    /// It comes from a run of another engine (`case.json`).
    #[serde(skip)]
    is_recorded: bool,
}

/// How a case ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As expected.
    Pass,
    /// Otherwise.
    Fail,
    /// The rules need what this build cannot execute.
    Unsupported,
    /// The case itself is broken (missing capture, rule error, ...).
    Error,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Unsupported => "unsupported",
            Status::Error => "error",
        }
    }
}

/// Result of one case.
#[derive(Debug, Serialize)]
pub struct CaseResult {
    /// Path of its folder.
    pub path: String,
    /// Sub-folder of DIR that it lies in.
    pub group: String,
    /// How it ended.
    pub status: Status,
    /// What differs, a line each.
    pub details: Vec<String>,
    /// Settings of the case that change nothing here, or that nobody knows.
    pub notes: Vec<String>,
}

/// Folders with a case, below `dir`, sorted.
fn find(dir: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, found)?;
        } else if path
            .file_name()
            .is_some_and(|n| n == "case.json" || n == "case.toml")
        {
            found.push(path);
        }
    }
    Ok(())
}

/// The capture: beside the case, or below one of its parents.
fn locate(folder: &Path, capture: &Path) -> Option<PathBuf> {
    folder
        .ancestors()
        .map(|parent| parent.join(capture))
        .find(|path| path.is_file())
}

fn read_case(path: &Path) -> Result<CaseFile, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if path
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        toml::from_str(&text).map_err(|error| error.to_string())
    } else {
        let case: CaseFile = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let mut case = CaseFile {
            is_recorded: true,
            ..case
        };
        if path.components().any(|part| part.as_os_str() == "ips") {
            let settings = case.settings.get_or_insert_default();
            let inline = || serde_json::Value::Bool(true);
            settings.entry("inline".into()).or_insert_with(inline);
        }
        Ok(case)
    }
}

fn setting_text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Variables as a flat list; Suricata's groups (`address-groups`, `port-groups`) may be kept.
fn flatten<'a>(
    variables: impl Iterator<Item = (&'a String, &'a serde_json::Value)>,
) -> Vec<(String, String)> {
    let mut flat = Vec::new();
    for (name, value) in variables {
        match value.as_object() {
            Some(group) => flat.extend(flatten(group.iter())),
            None => flat.push((name.clone(), setting_text(value))),
        }
    }
    flat
}

/// What a case gave: alerts per sid, and dropped packets.
struct Got {
    alerts: BTreeMap<u32, u64>,
    drops: u64,
    /// The case expects an alert of a rule that drops, inline.
    expects_drops: bool,
}

/// A case that did not come to a result.
struct Stopped(Status, Vec<String>);

impl Stopped {
    fn error(what: impl std::fmt::Display) -> Stopped {
        Stopped(Status::Error, vec![what.to_string()])
    }
}

/// The settings of a case, over those of the settings file.
fn settings(case: &CaseFile, args: &TestArgs, notes: &mut Vec<String>) -> Result<Config, Stopped> {
    // Cases are short: small tables start quickly, and a setting may still ask for more.
    let mut config = Config {
        flows_max: 1 << 15,
        inspected_flows_max: 1 << 12,
        stream_memory: 24 << 20,
        app_memory: 8 << 20,
        defrag_memory: 8 << 20,
        ..Config::default()
    };
    for (key, value, place) in args.file.file.engine() {
        let set = config.set(key, &value);
        set.map_err(|error| Stopped::error(format!("{place}: {error}")))?;
    }
    // `inline` first: `exception-policy: auto` depends on it.
    let settings = case.settings.iter().flatten();
    let (mode, others): (Vec<_>, Vec<_>) = settings.partition(|(key, _)| *key == "inline");
    for (key, value) in mode.into_iter().chain(others) {
        match config.set(key, &setting_text(value)) {
            // The recorded run had it; whether it matters is what the comparison shows.
            Err(error) if case.is_recorded => notes.push(error.what),
            result => result.map_err(Stopped::error)?,
        }
    }
    notes.extend(
        config
            .ignored
            .iter()
            .map(|ignored| format!("`{ignored}` changes nothing here")),
    );
    Ok(config)
}

fn execute(
    folder: &Path,
    case: &CaseFile,
    args: &TestArgs,
    notes: &mut Vec<String>,
) -> Result<Got, Stopped> {
    let capture = locate(folder, &case.capture)
        .ok_or_else(|| Stopped::error(format!("no capture {}", case.capture.display())))?;
    let config = settings(case, args, notes)?;
    let rules_path = folder.join(case.rules.as_deref().unwrap_or(Path::new("test.rules")));
    let mut variables = args.file.file.variables.clone();
    variables.extend(flatten(case.variables.iter().flatten()));
    let wanted = Wanted {
        files: vec![rules_path],
        variables,
        classification: args.file.classification.clone(),
        references: args.file.reference.clone(),
        // The recorded run went on without the rules that it refused.
        skip_bad: case.is_recorded,
        ..Wanted::default()
    }
    .with(&config);
    let loaded = rules::load(&wanted).map_err(|failure| Stopped::error(failure.text))?;
    if !loaded.unsupported.is_empty() {
        return Err(Stopped(Status::Unsupported, loaded.unsupported));
    }
    let ruleset = loaded.ruleset;
    let inline = config.mode == Mode::Inline;
    let options = Options {
        config,
        layout: args.layout.parse().map_err(Stopped::error)?,
        lanes: args.lanes,
        ..Options::default()
    };
    let session = Session::open(&[capture], options, loaded.program).map_err(Stopped::error)?;
    let mut got = Got {
        alerts: BTreeMap::new(),
        drops: 0,
        expects_drops: inline && expects_drops(case, &ruleset),
    };
    let outcome = session.run(
        |event| match event.kind {
            EventKind::Alert => {
                let sid = ruleset
                    .signature(event.signature)
                    .map_or(0, |signature| signature.sid);
                *got.alerts.entry(sid).or_default() += 1;
            }
            EventKind::Drop => got.drops += 1,
            _ => {}
        },
        || {},
    );
    if outcome.unaccounted() != 0 || outcome.contexts_lost != 0 || outcome.flows_unended() != 0 {
        return Err(Stopped::error(format!(
            "accounting: {} packets, {} contexts, {} flows have no end",
            outcome.unaccounted(),
            outcome.contexts_lost,
            outcome.flows_unended()
        )));
    }
    Ok(got)
}

/// Whether the case expects an alert of a rule that drops. Inline, Suricata drops the packet of
/// such an alert without exception, so a case that has the alert and 0 drops was recorded with the
/// log of drops switched off: its 0 says nothing and is not compared.
fn expects_drops(case: &CaseFile, ruleset: &RuleSet) -> bool {
    let drops = |s: &&Signature| matches!(s.action, Action::Drop | Action::Reject(_));
    let mut dropping = ruleset.signatures().iter().filter(drops);
    dropping.any(|s| case.alerts.get(&s.sid.to_string()).is_some_and(|n| *n > 0))
}

fn compare(case: &CaseFile, got: &Got) -> Vec<String> {
    let mut details = Vec::new();
    let expected: BTreeMap<u32, u64> = case
        .alerts
        .iter()
        .filter_map(|(sid, count)| Some((sid.parse().ok()?, *count)))
        .collect();
    let mut sids: Vec<u32> = expected.keys().chain(got.alerts.keys()).copied().collect();
    sids.sort_unstable();
    sids.dedup();
    for sid in sids {
        let want = expected.get(&sid).copied().unwrap_or(0);
        let have = got.alerts.get(&sid).copied().unwrap_or(0);
        if want != have {
            details.push(format!("sid {sid}: expected {want} alerts, got {have}"));
        }
    }
    if let Some(drops) = case.drops
        && drops != got.drops
        && !(drops == 0 && got.expects_drops)
    {
        details.push(format!("drops: expected {drops}, got {}", got.drops));
    }
    details
}

fn run_case(root: &Path, path: &Path, args: &TestArgs) -> CaseResult {
    let folder = path.parent().unwrap_or(Path::new("."));
    let within = folder.strip_prefix(root).unwrap_or(folder);
    let group = within
        .components()
        .next()
        .map_or_else(String::new, |first| {
            first.as_os_str().to_string_lossy().into_owned()
        });
    let mut notes = Vec::new();
    let (status, details) = match read_case(path) {
        Err(error) => (Status::Error, vec![error]),
        Ok(case) => {
            let run = std::panic::AssertUnwindSafe(|| execute(folder, &case, args, &mut notes));
            match std::panic::catch_unwind(run) {
                Err(_) => (Status::Error, vec!["the engine panicked".to_string()]),
                Ok(Err(Stopped(status, details))) => (status, details),
                Ok(Ok(got)) => {
                    let details = compare(&case, &got);
                    (
                        if details.is_empty() {
                            Status::Pass
                        } else {
                            Status::Fail
                        },
                        details,
                    )
                }
            }
        }
    };
    CaseResult {
        path: folder.display().to_string(),
        group,
        status,
        details,
        notes,
    }
}

/// Runs all cases below the folders, on all cores, in their order.
fn run_all(args: &TestArgs) -> Result<Vec<CaseResult>, Failure> {
    let mut paths: Vec<(PathBuf, PathBuf)> = Vec::new();
    for dir in &args.dirs {
        let mut found = Vec::new();
        find(dir, &mut found).map_err(|error| {
            Failure::new(
                exit::INPUT,
                format!("{}: {error}\n [hint] name a folder", dir.display()),
            )
        })?;
        found.sort();
        paths.extend(found.into_iter().map(|path| (dir.clone(), path)));
    }
    paths.retain(|(_, path)| {
        args.only
            .as_deref()
            .is_none_or(|text| path.to_string_lossy().contains(text))
    });
    if paths.is_empty() {
        return Err(Failure::new(
            exit::INPUT,
            "no case.toml or case.json found\n [hint] a run that tests nothing is not a success",
        ));
    }
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(paths.len()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((root, path)) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = run_case(root, path, args);
                    let mut results = results.lock().unwrap_or_else(|e| e.into_inner());
                    results.push(result);
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|e| e.into_inner());
    results.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(results)
}

/// Counts per group and status.
fn table(results: &[CaseResult]) -> BTreeMap<&str, [usize; 4]> {
    let mut table: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for result in results {
        table.entry(&result.group).or_default()[result.status as usize] += 1;
    }
    table
}

fn print_text(results: &[CaseResult], seconds: f64) {
    for result in results
        .iter()
        .filter(|r| matches!(r.status, Status::Fail | Status::Error))
    {
        println!("{} {}", result.status.name().to_uppercase(), result.path);
        result
            .details
            .iter()
            .for_each(|line| println!("    {line}"));
    }
    for result in results {
        for note in &result.notes {
            println!("note: {}: {note}", result.path);
        }
    }
    println!(
        "{:<24}{:>8}{:>8}{:>13}{:>8}",
        "group", "pass", "fail", "unsupported", "error"
    );
    for (group, [pass, fail, unsupported, error]) in table(results) {
        println!("{group:<24}{pass:>8}{fail:>8}{unsupported:>13}{error:>8}");
    }
    println!("{} cases in {seconds:.1} s", results.len());
}

/// Statuses by path relative to nothing: the last two folders, which do not depend on the place.
fn key(result: &CaseResult) -> String {
    let path = Path::new(&result.path);
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let parent = path.parent().and_then(Path::file_name);
    let parent = parent
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    format!("{}/{parent}/{name}", result.group)
}

/// Cases that passed by the record and do not now.
fn regressions<'a>(recorded: &str, results: &'a [CaseResult]) -> Vec<&'a CaseResult> {
    let passed: std::collections::BTreeSet<&str> = recorded
        .lines()
        .filter_map(|line| line.strip_prefix("pass "))
        .collect();
    let lost = |r: &&CaseResult| r.status != Status::Pass && passed.contains(key(r).as_str());
    results.iter().filter(lost).collect()
}

/// Runs `sluice test`.
///
/// # Errors
/// No cases, unreadable folders or records.
pub fn run(args: &TestArgs) -> Result<u8, Failure> {
    let mut args = args.clone();
    args.file.config_file = args.config_file.take();
    args.file = args.file.with_file()?;
    let args = &args;
    let started = Instant::now();
    let results = run_all(args)?;
    let unreadable = |path: &Path, error: std::io::Error| {
        Failure::new(exit::INPUT, format!("{}: {error}", path.display()))
    };
    if args.format == "json" {
        let json =
            serde_json::to_string_pretty(&results).map_err(|error| Failure::new(70, error))?;
        println!("{json}");
    } else {
        print_text(&results, started.elapsed().as_secs_f64());
    }
    if let Some(path) = &args.record {
        let mut lines: Vec<String> = results
            .iter()
            .map(|r| format!("{} {}\n", r.status.name(), key(r)))
            .collect();
        lines.sort();
        std::fs::write(path, lines.concat()).map_err(|error| unreadable(path, error))?;
    }
    let failed = results
        .iter()
        .any(|r| matches!(r.status, Status::Fail | Status::Error));
    let Some(path) = &args.expect else {
        return Ok(if failed { exit::FINDINGS } else { exit::OK });
    };
    let recorded = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
    let lost = regressions(&recorded, &results);
    for result in &lost {
        println!("REGRESSION {} ({})", result.path, result.status.name());
    }
    let fixed = results.iter().filter(|r| r.status == Status::Pass).count();
    let before = recorded
        .lines()
        .filter(|line| line.starts_with("pass "))
        .count();
    println!(
        "recorded passes {before}, passes now {fixed}, regressions {}",
        lost.len()
    );
    Ok(if lost.is_empty() {
        exit::OK
    } else {
        exit::FINDINGS
    })
}
