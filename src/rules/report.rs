//! The forms of a check report: text with carets, and JSON.
//!
//! Rule text comes from strangers: control characters never reach the terminal.

use std::fmt::Write as _;

use serde::Serialize;

use crate::rules::check::{Report, Unreadable};
use crate::rules::coverage::Coverage;
use crate::rules::diagnostic::{Diagnostic, Severity};

/// Characters of a source line shown at once.
const SHOWN: usize = 96;
/// Characters kept before the place on a line that is cut.
const LEAD: usize = 32;

/// Escape sequences of a severity: on and off.
fn paint(severity: Severity, colour: bool) -> (&'static str, &'static str) {
    match (colour, severity) {
        (false, _) => ("", ""),
        (true, Severity::Error) => ("\x1b[1;31m", "\x1b[0m"),
        (true, Severity::Warning) => ("\x1b[1;33m", "\x1b[0m"),
        (true, Severity::Note) => ("\x1b[1;36m", "\x1b[0m"),
    }
}

/// Characters that are safe on a terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{b7}',
            c => c,
        })
        .collect()
}

/// The whole report as text.
pub fn text(report: &Report, colour: bool) -> String {
    let mut out = String::new();
    for found in &report.diagnostics {
        finding(&mut out, report, found, colour);
    }
    for file in &report.unreadable {
        let (on, off) = paint(Severity::Error, colour);
        let _ = writeln!(out, "{on}error{off}: {}: {}", clean(&file.path), file.why);
    }
    if let Some(coverage) = &report.coverage {
        out.push_str(&coverage.text());
    }
    out.push_str(&summary(report));
    out
}

/// One finding with its source line and caret.
fn finding(out: &mut String, report: &Report, found: &Diagnostic, colour: bool) {
    let severity = found.severity();
    let (on, off) = paint(severity, colour);
    let _ = writeln!(
        out,
        "{on}{}[{}]{off}: {}",
        severity.word(),
        found.code,
        clean(&found.message)
    );
    let number = found.line.to_string();
    let margin = " ".repeat(number.len());
    let _ = write!(
        out,
        "{margin}--> {}:{}:{}",
        clean(&found.file),
        found.line,
        found.column
    );
    let _ = match found.sid {
        0 => writeln!(out),
        sid => writeln!(out, " (sid {sid})"),
    };
    if let Some(source) = report.source(found) {
        let (shown, caret, length) = window(&source, found.column, found.length);
        let _ = writeln!(out, "{margin} |");
        let _ = writeln!(out, "{number} | {}", clean(&shown));
        let _ = writeln!(
            out,
            "{margin} | {}{on}{}{off}",
            " ".repeat(caret),
            "^".repeat(length)
        );
    }
    let _ = writeln!(out, "{margin} = {}", found.code.why());
    if let Some(help) = &found.help {
        let _ = writeln!(out, "{margin} = help: {}", clean(help));
    }
    out.push('\n');
}

/// The part of a long line around a column (from 1), where the caret goes and how long it is.
fn window(source: &str, column: u32, length: u32) -> (String, usize, usize) {
    let characters: Vec<char> = source.chars().collect();
    let at = (column.max(1) as usize - 1).min(characters.len());
    let length = (length.max(1) as usize).min(characters.len().saturating_sub(at).max(1));
    if characters.len() <= SHOWN {
        return (source.to_string(), at, length);
    }
    let start = at
        .saturating_sub(LEAD)
        .min(characters.len().saturating_sub(SHOWN));
    let end = (start + SHOWN).min(characters.len());
    let before = if start > 0 { "..." } else { "" };
    let after = if end < characters.len() { "..." } else { "" };
    let body: String = characters[start..end].iter().collect();
    let caret = before.len() + at - start;
    (
        format!("{before}{body}{after}"),
        caret,
        length.min(end.saturating_sub(at).max(1)),
    )
}

/// Counts at the end.
fn summary(report: &Report) -> String {
    let counts = report.counts;
    let mut out = format!(
        "checked {} files, {} rules: {} loaded, {} failed, {} skipped by requires",
        report.files, counts.rules, counts.enabled, counts.failed, counts.skipped
    );
    if counts.replaced > 0 {
        let _ = write!(out, ", {} replaced", counts.replaced);
    }
    let _ = writeln!(out, " ({} more disabled)", counts.disabled);
    if counts.unsupported > 0 {
        let _ = writeln!(
            out,
            "{} of the loaded rules cannot be run by this build (--coverage says why)",
            counts.unsupported
        );
    }
    let _ = writeln!(
        out,
        "{} errors, {} warnings, {} notes",
        report.count(Severity::Error),
        report.count(Severity::Warning),
        report.count(Severity::Note)
    );
    out
}

/// A finding as JSON has it.
#[derive(Serialize)]
struct JsonFinding<'a> {
    code: &'static str,
    severity: &'static str,
    file: &'a str,
    line: u32,
    column: u32,
    length: u32,
    sid: Option<u32>,
    message: &'a str,
    why: &'static str,
    help: Option<&'a str>,
}

/// Counts as JSON has them.
#[derive(Serialize)]
struct JsonCounts {
    files: u32,
    rules: u32,
    disabled: u32,
    loaded: u32,
    failed: u32,
    skipped: u32,
    replaced: u32,
    unsupported: u32,
    errors: usize,
    warnings: usize,
    notes: usize,
}

/// The report as JSON has it.
#[derive(Serialize)]
struct JsonReport<'a> {
    exit_code: u8,
    counts: JsonCounts,
    findings: Vec<JsonFinding<'a>>,
    unreadable: &'a [Unreadable],
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<&'a Coverage>,
}

/// The whole report as one JSON object.
pub fn json(report: &Report) -> String {
    let findings = report.diagnostics.iter().map(|found| JsonFinding {
        code: found.code.id(),
        severity: found.severity().word(),
        file: &found.file,
        line: found.line,
        column: found.column,
        length: found.length,
        sid: (found.sid != 0).then_some(found.sid),
        message: &found.message,
        why: found.code.why(),
        help: found.help.as_deref(),
    });
    let counts = report.counts;
    let whole = JsonReport {
        exit_code: report.exit,
        counts: JsonCounts {
            files: report.files,
            rules: counts.rules,
            disabled: counts.disabled,
            loaded: counts.enabled,
            failed: counts.failed,
            skipped: counts.skipped,
            replaced: counts.replaced,
            unsupported: counts.unsupported,
            errors: report.count(Severity::Error),
            warnings: report.count(Severity::Warning),
            notes: report.count(Severity::Note),
        },
        findings: findings.collect(),
        unreadable: &report.unreadable,
        coverage: report.coverage.as_ref(),
    };
    // Strings and numbers alone: serialising them cannot fail.
    serde_json::to_string_pretty(&whole)
        .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let source = "x".repeat(200);
        let (shown, caret, length) = window(&source, 101, 5);
        assert_eq!((shown.len(), caret, length), (102, 35, 5));
        let (shown, caret, _) = window("abc", 2, 1);
        assert_eq!((shown.as_str(), caret), ("abc", 1));
        let (_, caret, length) = window("abc", 9, 9);
        assert_eq!((caret, length), (3, 1));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(clean("a\tb\x1b[1mc"), "a b\u{b7}[1mc");
    }
}
