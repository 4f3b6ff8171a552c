//! `sluice profile`: which rules and which prefilters cost most, from captures or from a running
//! engine. What is measured, and how, is matcher/profile.rs's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{EngineArgs, Failure, exit, rules};
use crate::matcher::Program;
use crate::matcher::profile::{RULE_CYCLES_MAX, RuleFigures, ScanFigures};
use crate::replay::{Options, Session};

/// Rows of a live table at most: an answer of the control socket is one line.
const LIVE_ROWS: usize = 200;
/// How long a running engine may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Arguments of `sluice profile`.
#[derive(Args)]
pub struct ProfileArgs {
    /// Capture files, merged by time.
    #[arg(value_name = "CAPTURE", required_unless_present = "live")]
    pub captures: Vec<PathBuf>,
    /// Ask a running engine instead: its control socket (`sluice run --socket PATH`).
    #[arg(long, value_name = "SOCKET", conflicts_with = "captures")]
    pub live: Option<PathBuf>,
    /// Rows of each table.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top: usize,
    /// One JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Treat the capture as inline traffic.
    #[arg(long)]
    pub inline: bool,
    /// Rules and settings.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// A rule's row.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RuleRow {
    /// Its name.
    pub sid: u32,
    /// Its name, first part.
    pub gid: u32,
    /// Its message.
    pub msg: String,
    /// Times that it was proposed.
    pub candidates: u64,
    /// Times that its tests on bytes were run.
    pub checks: u64,
    /// Times that they held.
    pub matches: u64,
    /// Cycles.
    pub cycles: u64,
    /// Candidates that took more than a rule's budget.
    pub over_budget: u64,
}

/// A prefilter's row.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScanRow {
    /// Whose it is.
    pub name: String,
    /// Its patterns.
    pub patterns: usize,
    /// Buffers scanned.
    pub scans: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries looked at, at positions that passed the filter.
    pub looks: u64,
    /// Cycles.
    pub cycles: u64,
}

/// What was measured, the most expensive first.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Table {
    /// One burst in so many was measured.
    pub bursts: u32,
    /// Cycles of all rules.
    pub rule_cycles: u64,
    /// Cycles of all prefilters.
    pub scan_cycles: u64,
    /// Cycles that one look at a rule may take before it is counted.
    pub rule_cycles_max: u64,
    /// Rules that did.
    pub rules_over_budget: usize,
    /// Rules.
    pub rules: Vec<RuleRow>,
    /// Prefilters.
    pub prefilters: Vec<ScanRow>,
}

impl Table {
    /// The `top` most expensive of each kind so far.
    pub fn of(program: &Program, bursts: u32, top: usize) -> Table {
        let mut table = Table {
            bursts,
            rule_cycles_max: RULE_CYCLES_MAX,
            ..Table::default()
        };
        let costs = program.costs().iter().zip(program.ruleset().signatures());
        for (cost, signature) in costs {
            let RuleFigures {
                candidates,
                checks,
                matches,
                cycles,
                over,
            } = cost.figures();
            if candidates == 0 {
                continue;
            }
            table.rule_cycles += cycles;
            table.rules_over_budget += usize::from(over > 0);
            table.rules.push(RuleRow {
                sid: signature.sid,
                gid: signature.gid,
                msg: signature.msg.to_string(),
                candidates,
                checks,
                matches,
                cycles,
                over_budget: over,
            });
        }
        program.each_prefilter(|name, prefilter| {
            let ScanFigures {
                scans,
                bytes,
                looks,
                cycles,
            } = prefilter.cost.figures();
            if scans == 0 {
                return;
            }
            table.scan_cycles += cycles;
            table.prefilters.push(ScanRow {
                name,
                patterns: prefilter.len(),
                scans,
                bytes,
                looks,
                cycles,
            });
        });
        let by = |cycles: u64, sid: u32| (std::cmp::Reverse(cycles), sid);
        table.rules.sort_by_key(|row| by(row.cycles, row.sid));
        table.prefilters.sort_by_key(|row| by(row.cycles, 0));
        table.rules.truncate(top);
        table.prefilters.truncate(top);
        table
    }

    /// A running engine's, as its control socket tells it.
    pub fn live(program: &Program, bursts: u32) -> Table {
        Table::of(program, bursts, LIVE_ROWS)
    }

    /// Tables for a terminal.
    pub fn text(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        let share = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
        let each = |cycles: u64, times: u64| cycles as f64 / times.max(1) as f64;
        // A String takes all that is written.
        let _ = writeln!(
            text,
            "measured: one burst in {}; cycles of rules {}, of prefilters {}\n\n\
             {:>10} {:>10} {:>10} {:>9} {:>12} {:>9} {:>6} {:>5}  rule",
            self.bursts,
            self.rule_cycles,
            self.scan_cycles,
            "sid",
            "candidates",
            "checks",
            "matches",
            "cycles",
            "average",
            "share",
            "over"
        );
        for row in &self.rules {
            let _ = writeln!(
                text,
                "{:>10} {:>10} {:>10} {:>9} {:>12} {:>9.0} {:>5.1}% {:>5}  {}",
                row.sid,
                row.candidates,
                row.checks,
                row.matches,
                row.cycles,
                each(row.cycles, row.candidates),
                share(row.cycles, self.rule_cycles),
                row.over_budget,
                row.msg
            );
        }
        let _ = writeln!(
            text,
            "\n{:>10} {:>12} {:>10} {:>12} {:>9} {:>6} {:>9}  prefilter",
            "scans", "bytes", "looks", "cycles", "a byte", "share", "patterns"
        );
        for row in &self.prefilters {
            let _ = writeln!(
                text,
                "{:>10} {:>12} {:>10} {:>12} {:>9.2} {:>5.1}% {:>9}  {}",
                row.scans,
                row.bytes,
                row.looks,
                row.cycles,
                each(row.cycles, row.bytes),
                share(row.cycles, self.scan_cycles),
                row.patterns,
                row.name
            );
        }
        if self.rules_over_budget > 0 {
            let _ = writeln!(
                text,
                "\n{} rules took more than {} cycles for one candidate (over)",
                self.rules_over_budget, self.rule_cycles_max
            );
        }
        text
    }
}

/// Runs `sluice profile`.
///
/// # Errors
/// Usage, settings, rules or input that cannot be used; no engine at the socket.
pub fn run(args: &ProfileArgs) -> Result<u8, Failure> {
    let mut table = match &args.live {
        Some(socket) => ask(socket)?,
        None => measured(args)?,
    };
    table.rules.truncate(args.top);
    table.prefilters.truncate(args.top);
    if args.json {
        let line = serde_json::to_string(&table)
            .map_err(|error| Failure::new(exit::INPUT, format!("no JSON: {error}")))?;
        println!("{line}");
    } else {
        print!("{}", table.text());
    }
    Ok(exit::OK)
}

/// Sends the captures through a lane that measures every burst.
fn measured(args: &ProfileArgs) -> Result<Table, Failure> {
    let engine = args.engine.with_file()?;
    let mut config = engine.config(args.inline)?;
    config.profile_bursts = 1;
    let loaded = rules::load(&super::replay::wanted(&engine)?.with(&config))?;
    loaded.report();
    let options = Options {
        config,
        layout: engine.layout()?,
        lanes: 1,
        burst_max: engine.burst(),
        ordered: true,
        ..Options::default()
    };
    let program = std::sync::Arc::clone(&loaded.program);
    let session = Session::open(&args.captures, options, std::sync::Arc::clone(&program))
        .map_err(|error| super::replay::fail(&error))?;
    session.run(|_| {}, || {});
    Ok(Table::of(&program, 1, args.top))
}

/// Asks a running engine.
fn ask(socket: &Path) -> Result<Table, Failure> {
    let said = super::ask::say(socket, "profile", ANSWER_TIME)?;
    let answer = said.map_err(|error| Failure::new(exit::DEVICE, error))?;
    // The table is text of JSON.
    serde_json::from_str(answer["message"].as_str().unwrap_or_default())
        .map_err(|error| Failure::new(exit::DEVICE, format!("an answer that is none: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule that backtracks over what its prefilter lets through, and one that does not.
    const RULES: &str = r#"
alert tcp any any -> any any (msg:"cheap"; content:"needle"; sid:1;)
alert tcp any any -> any any (msg:"dear"; content:"needle"; pcre:"/(.+)+x\1{3}y/"; sid:2;)
alert tcp any any -> any any (msg:"never proposed"; content:"elsewhere"; sid:3;)
"#;

    #[test]
    fn rows_are_sorted_by_cost_and_survive_the_socket() {
        let loaded = rules::load_text("test", RULES, &[]).unwrap();
        let signatures = loaded.ruleset.signatures();
        let at = |sid: u32| signatures.iter().position(|s| s.sid == sid).unwrap() as u32;
        let mut profile = crate::matcher::profile::Profile::new(1);
        let costs = loaded.program.costs();
        profile.begin_burst();
        profile.next(costs, at(1));
        profile.next(costs, at(2));
        profile.checked();
        let begin = crate::time::cycles::now();
        while crate::time::cycles::now() < begin + 2 * RULE_CYCLES_MAX {}
        profile.done(costs);
        let table = Table::of(&loaded.program, 1, 10);
        let sids: Vec<u32> = table.rules.iter().map(|row| row.sid).collect();
        assert_eq!(sids, [2, 1]);
        assert_eq!(table.rules_over_budget, 1);
        assert!(table.rules[0].cycles >= 2 * RULE_CYCLES_MAX);
        let text = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<Table>(&text).unwrap(), table);
        assert!(table.text().contains("dear"), "{}", table.text());
        assert_eq!(Table::of(&loaded.program, 1, 1).rules.len(), 1);
    }
}
