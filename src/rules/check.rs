//! `sluice check`: reads rule files, lints them and reports, without running anything.
//!
//! The report is data; its forms are text (report.rs) and JSON. Exit codes: 0 ok, 1 findings that
//! were denied, 4 a rule in error, 6 a file that cannot be read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::rules::countries::Countries;
use crate::rules::coverage::Coverage;
use crate::rules::diagnostic::{Code, Diagnostic, Severity};
use crate::rules::files;
use crate::rules::load::{Counts, File, Loaded, Options, load};
use crate::rules::meta::Classification;
use crate::rules::names::Names;
use crate::rules::report;
use crate::rules::reputation::Reputations;
use crate::rules::variables::Variables;

/// All is well.
pub const EXIT_OK: u8 = 0;
/// Warnings, and they were denied.
pub const EXIT_FINDINGS: u8 = 1;
/// A variable of the command line is not understood.
pub const EXIT_USAGE: u8 = 2;
/// A rule is in error.
pub const EXIT_RULES: u8 = 4;
/// A file cannot be read.
pub const EXIT_INPUT: u8 = 6;

/// What to check, and how.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// Rule files, and folders whose `*.rules` are taken.
    pub files: Vec<PathBuf>,
    /// `NAME=VALUE`.
    pub variables: Vec<String>,
    /// classification.config; else the one beside the first rule file, else the built-in list.
    pub classification: Option<PathBuf>,
    /// reference.config; else the one beside the first rule file.
    pub reference: Option<PathBuf>,
    /// Look at rules behind `#` too.
    pub disabled: bool,
    /// Warnings make the exit code 1.
    pub deny_warnings: bool,
    /// Count what can be run.
    pub coverage: bool,
    /// Name every rule that cannot be run.
    pub unsupported: bool,
    /// Sets that settings tell of.
    pub names: Option<Names>,
    /// Reputations that settings tell of.
    pub reputations: Option<Arc<Reputations>>,
    /// Countries that settings tell of.
    pub countries: Option<Arc<Countries>>,
}

/// A file that could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Unreadable {
    /// Path, or the argument.
    pub path: String,
    /// Why.
    pub why: String,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Findings, in the order of files and lines.
    pub diagnostics: Vec<Diagnostic>,
    /// Counts of rules.
    pub counts: Counts,
    /// Files read.
    pub files: u32,
    /// Files not read.
    pub unreadable: Vec<Unreadable>,
    /// Coverage, if asked for.
    pub coverage: Option<Coverage>,
    /// Exit code.
    pub exit: u8,
    /// Texts of the files, for the carets.
    sources: Vec<SourceText>,
}

/// The text of a file and where its lines begin.
#[derive(Debug)]
struct SourceText {
    path: String,
    text: Vec<u8>,
    starts: Vec<usize>,
}

impl SourceText {
    fn new(path: String, text: Vec<u8>) -> SourceText {
        let ends = text.iter().enumerate().filter(|(_, b)| **b == b'\n');
        let starts = std::iter::once(0)
            .chain(ends.map(|(at, _)| at + 1))
            .collect();
        SourceText { path, text, starts }
    }

    /// A physical line, from 1, without its end.
    fn line(&self, number: u32) -> Option<String> {
        let index = (number as usize).checked_sub(1)?;
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).copied();
        let line = self.text.get(start..end.unwrap_or(self.text.len()))?;
        Some(String::from_utf8_lossy(line).trim_end().to_string())
    }
}

impl Report {
    /// Findings of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics
            .iter()
            .filter(|found| found.severity() == severity)
            .count()
    }

    /// The physical line that a finding is about.
    pub fn source(&self, found: &Diagnostic) -> Option<String> {
        self.sources
            .iter()
            .find(|source| *source.path == *found.file)?
            .line(found.line)
    }

    /// As text for a terminal or a pipe.
    pub fn text(&self, colour: bool) -> String {
        report::text(self, colour)
    }

    /// As one JSON object.
    pub fn json(&self) -> String {
        report::json(self)
    }
}

/// Runs a check. `anomaly` gives the code of an event name. The number is the exit code.
pub fn run(arguments: &Arguments, anomaly: &dyn Fn(&str) -> Option<u8>) -> (Report, u8) {
    let mut report = Report::default();
    let mut variables = Variables::default();
    for assignment in &arguments.variables {
        if let Err(why) = variables.assign(assignment) {
            let path = format!("--var {assignment}");
            report.unreadable.push(Unreadable { path, why });
            report.exit = EXIT_USAGE;
            return (report, EXIT_USAGE);
        }
    }
    for path in rule_files(&arguments.files, &mut report.unreadable) {
        match std::fs::read(&path) {
            Ok(text) => {
                let name = path.display().to_string();
                report.sources.push(SourceText::new(name, text));
            }
            Err(error) => report.unreadable.push(Unreadable {
                path: path.display().to_string(),
                why: error.to_string(),
            }),
        }
    }
    report.files = report.sources.len() as u32;
    let classification = configuration(arguments, &mut report);
    let loaded = read(
        arguments,
        &report.sources[..report.files as usize],
        &variables,
        &classification,
        anomaly,
    );
    if arguments.coverage {
        report.coverage = Some(Coverage::of(&loaded));
    }
    if arguments.unsupported {
        report.diagnostics.extend(unsupported(&loaded));
    }
    report.counts = loaded.counts;
    report.diagnostics.extend(loaded.diagnostics);
    let order: Vec<String> = report
        .sources
        .iter()
        .map(|source| source.path.clone())
        .collect();
    let file = |found: &Diagnostic| order.iter().position(|path| **path == *found.file);
    report
        .diagnostics
        .sort_by_cached_key(|found| (file(found), found.line, found.column));
    report.exit = exit(&report, arguments.deny_warnings);
    let exit = report.exit;
    (report, exit)
}

/// Loads the texts with lints on.
fn read(
    arguments: &Arguments,
    sources: &[SourceText],
    variables: &Variables,
    classification: &Classification,
    anomaly: &dyn Fn(&str) -> Option<u8>,
) -> Loaded {
    let files: Vec<File<'_>> = sources
        .iter()
        .map(|source| File {
            path: &source.path,
            text: &source.text,
        })
        .collect();
    let options = Options {
        disabled: arguments.disabled,
        lint: true,
        anomaly,
        names: arguments.names.as_ref(),
        missing: &[],
        reputations: arguments.reputations.clone(),
        countries: arguments.countries.clone(),
        reads_files: true,
        keeps_texts: false,
        progress: &|_| {},
    };
    load(&files, variables, classification, &options)
}

/// The exit code of a report.
fn exit(report: &Report, deny_warnings: bool) -> u8 {
    if !report.unreadable.is_empty() {
        EXIT_INPUT
    } else if report.count(Severity::Error) > 0 {
        EXIT_RULES
    } else if deny_warnings && report.count(Severity::Warning) > 0 {
        EXIT_FINDINGS
    } else {
        EXIT_OK
    }
}

/// The files to read: folders and patterns stand for what is in them.
fn rule_files(names: &[PathBuf], unreadable: &mut Vec<Unreadable>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for name in names {
        let why = match files::of(name) {
            Ok(found) if !found.is_empty() => {
                files.extend(found);
                continue;
            }
            Ok(_) => "no rule file there".to_string(),
            Err(error) => error.to_string(),
        };
        let path = name.display().to_string();
        unreadable.push(Unreadable { path, why });
    }
    files
}

/// classification.config and reference.config, given or beside the first rule file.
fn configuration(arguments: &Arguments, report: &mut Report) -> Classification {
    let mut classification = Classification::default();
    let first = arguments.files.first();
    let folder = match first {
        Some(path) if path.is_dir() => Some(path.as_path()),
        Some(path) => path.parent(),
        None => None,
    };
    let beside = |name: &str| folder.map(|f| f.join(name)).filter(|path| path.exists());
    let classes = arguments.classification.clone();
    if let Some(path) = classes.or_else(|| beside("classification.config")) {
        config(&path, report, |text| classification.read_classes(text));
    }
    let references = arguments.reference.clone();
    if let Some(path) = references.or_else(|| beside("reference.config")) {
        config(&path, report, |text| classification.read_references(text));
    }
    classification
}

/// Reads a configuration file and warns of lines that are not understood.
fn config(path: &Path, report: &mut Report, take: impl FnOnce(&str) -> Vec<u32>) {
    let name = path.display().to_string();
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => {
            let why = error.to_string();
            report.unreadable.push(Unreadable { path: name, why });
            return;
        }
    };
    for line in take(&String::from_utf8_lossy(&text)) {
        report.diagnostics.push(Diagnostic {
            code: Code::BadConfigLine,
            file: name.as_str().into(),
            line,
            column: 1,
            length: 1,
            sid: 0,
            message: "the line is not understood and left out".to_string(),
            help: None,
        });
    }
    report.sources.push(SourceText::new(name, text));
}

/// A note for each rule that cannot be run.
fn unsupported(loaded: &Loaded) -> impl Iterator<Item = Diagnostic> {
    loaded
        .signatures
        .iter()
        .filter(|signature| !signature.unsupported.is_empty())
        .map(|signature| Diagnostic {
            code: Code::Unsupported,
            file: signature.source.file.clone(),
            line: signature.source.line,
            column: 1,
            length: 1,
            sid: signature.sid,
            message: format!("this build cannot run {}", signature.unsupported.join(", ")),
            help: None,
        })
}
