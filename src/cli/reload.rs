//! Rules anew: what `sluice reload`, the control socket and SIGHUP do to a running engine.
//!
//! The files named at the start are read and compiled by one thread that gets the time which the lanes
//! leave; where they leave none, the lowest ordinary priority after [`LEFT_OVER`]. What came out must be better than nothing: a set that is empty,
//! has errors, or lost more than a tenth of the rules is refused, with the difference, unless the
//! operator insists. Then each lane finds it in its mailbox (matcher/publish.rs) and takes it
//! between two bursts. Flow state, the numbers of bits and counters, and thresholds stay.
//!
//! What the settings file says of rules (files, variables, sets, lists) is read again, too; its other
//! settings need a restart, or `sluice upgrade`, and a change of them is told.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::time::{Duration, Instant};

use clap::Args;
use hashbrown::HashMap;

use super::control::rule_counts;
use super::rules::{self, Loaded, Wanted};
use super::{Failure, ask, exit};
use crate::config::Config;
use crate::control::{Gauges, RuleCount};
use crate::eve::{AlertInfo, SignatureInfo};
use crate::keeper::sched::after_others;
use crate::matcher::threads::work_alone;
use crate::matcher::{Mailbox, Program, Renewal, SPARE_NAMES};
use crate::rules::names::Names;
use crate::rules::ruleset::RuleSet;

/// Sets whose events may still be on their way to the writer.
const SETS_KEPT: usize = 4;
/// How long a lane may take for a turn before the reload is called late.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a reload takes what others leave of the processors, before it asks for a share.
const LEFT_OVER: Duration = Duration::from_secs(3);
/// Share of the rules before, in percent, that must be there after a reload.
const KEPT_PERCENT: usize = 90;
/// Sids that a refusal lists at most.
const LISTED_MAX: usize = 20;
/// Rules that failed and are remembered.
const FAILED_MAX: usize = 1000;

/// Arguments of `sluice reload`.
#[derive(Args)]
pub struct ReloadArgs {
    /// Control socket of the engine (`sluice run --socket PATH`).
    #[arg(value_name = "SOCKET")]
    pub socket: PathBuf,
    /// Take rules with errors, and far fewer rules than before.
    #[arg(long)]
    pub force: bool,
}

/// Asks a running engine to reload.
///
/// # Errors
/// No engine there (5); the rules were refused (4).
pub fn run(args: &ReloadArgs) -> Result<u8, Failure> {
    let command = if args.force { "reload force" } else { "reload" };
    let said = ask::say(&args.socket, command, ask::ANSWER_TIME)?;
    let answer = said.map_err(|error| Failure::new(exit::RULES, error))?;
    println!("{}", answer["message"].as_str().unwrap_or_default());
    Ok(exit::OK)
}

/// What the event writer asks of all sets that events may be of.
#[derive(Default)]
pub struct Sets {
    known: RwLock<Vec<Arc<dyn SignatureInfo>>>,
}

impl Sets {
    fn add(&self, info: Arc<dyn SignatureInfo>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() == SETS_KEPT {
            known.remove(0);
        }
        known.push(info);
    }
}

impl SignatureInfo for Sets {
    fn alert(&self, generation: u32, index: u32, show: &mut dyn FnMut(AlertInfo<'_>)) {
        // Each shows signatures of its own generation alone.
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        for info in known.iter() {
            info.alert(generation, index, show);
        }
    }

    fn names(&self, show: &mut dyn FnMut(&Names)) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = known.last() {
            newest.names(show);
        }
    }
}

/// The rules in force.
struct Current {
    program: Arc<Program>,
    rules: Vec<RuleCount>,
    hash: String,
    /// What is wrong with rules that were left out.
    failed: Vec<String>,
}

impl Current {
    fn of(loaded: &Loaded) -> Current {
        Current {
            program: Arc::clone(&loaded.program),
            rules: rule_counts(loaded),
            hash: loaded.hash.clone(),
            failed: loaded.failed_lines().take(FAILED_MAX).collect(),
        }
    }
}

/// What the settings say now: of rules, and of all else.
pub type Anew = Box<dyn Fn() -> Result<(Wanted, Config), Failure> + Send + Sync>;

/// Loads rules anew for the lanes of an engine.
pub struct Reloader {
    wanted: Wanted,
    anew: Option<Anew>,
    config: Config,
    mailboxes: Vec<Arc<Mailbox>>,
    sets: Arc<Sets>,
    /// Names of bits and counters that the lanes have room for.
    room: (usize, usize),
    current: Mutex<Current>,
}

impl Reloader {
    /// For an engine that started with `loaded`.
    pub fn new(
        wanted: Wanted,
        config: &Config,
        loaded: &Loaded,
        mailboxes: Vec<Arc<Mailbox>>,
    ) -> Reloader {
        let sets = Arc::new(Sets::default());
        sets.add(loaded.info());
        let names = loaded.ruleset.names();
        Reloader {
            wanted,
            anew: None,
            config: config.clone(),
            mailboxes,
            sets,
            room: (
                names.flowbits.names().len() + SPARE_NAMES.0,
                names.flowints.names().len() + SPARE_NAMES.1,
            ),
            current: Mutex::new(Current::of(loaded)),
        }
    }

    /// Asks the settings again each time.
    pub fn asking(mut self, anew: Anew) -> Reloader {
        self.anew = Some(anew);
        self
    }

    /// What is wanted now.
    fn wanted(&self) -> Result<Wanted, String> {
        match self.anew.as_ref().map(|anew| anew()) {
            None => Ok(self.wanted.clone()),
            Some(Ok((wanted, config))) => {
                if !differ_in_rules_alone(&config, &self.config) {
                    eprintln!(
                        "note: settings were changed that are not about rules: they hold from the \
                         next start or `sluice upgrade`"
                    );
                }
                Ok(wanted)
            }
            // An engine under a keeper may not be allowed to.
            Some(Err(failure)) if failure.code == exit::INPUT => {
                eprintln!("note: {}", failure.text);
                eprintln!("note: what it said of rules at the start still holds");
                Ok(self.wanted.clone())
            }
            Some(Err(failure)) => Err(failure.text),
        }
    }

    /// What the event writer is to ask.
    pub fn info(&self) -> Arc<dyn SignatureInfo> {
        Arc::clone(&self.sets) as Arc<dyn SignatureInfo>
    }

    /// What metrics say of the rules in force.
    pub fn fill(&self, gauges: &mut Gauges) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.rules.clone_from(&current.rules);
        gauges.ruleset_hash.clone_from(&current.hash);
        gauges.ruleset_generation = current.program.ruleset().generation();
    }

    /// What the rules in force cost so far, as JSON.
    ///
    /// # Errors
    /// Nothing is measured.
    pub fn profile(&self) -> Result<String, String> {
        let bursts = self.config.profile_bursts;
        if bursts == 0 {
            return Err("profiling.sample-rate is 0: nothing is measured".to_string());
        }
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let table = super::profile::Table::live(&current.program, bursts);
        serde_json::to_string(&table).map_err(|error| error.to_string())
    }

    /// Answers the control socket about the rules in force.
    ///
    /// # Errors
    /// A set or a value that there is not.
    pub fn answer(&self, words: &[&str]) -> Result<serde_json::Value, String> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match *words {
            ["ruleset-failed-rules"] => Ok(current.failed.clone().into()),
            [command, name, kind, value] => {
                let sets = &current.program.ruleset().names().datasets;
                let known = sets.get(name).filter(|set| set.is_filled());
                let set = known.ok_or_else(|| {
                    let names: Vec<&str> = sets.iter().map(|set| set.name()).collect();
                    format!(
                        "no rule names a set `{name}`; there are {}",
                        names.join(", ")
                    )
                })?;
                set.obey(command, kind, value).map(Into::into)
            }
            _ => {
                drop(current);
                self.save_datasets();
                Ok("done".into())
            }
        }
    }

    /// Writes the sets of the rules in force that are to outlive the engine.
    pub fn save_datasets(&self) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let names = current.program.ruleset().names();
        rules::save_datasets(&self.wanted.files, &names.datasets);
    }

    /// Reads, compiles, judges and publishes, on a thread of its own.
    ///
    /// # Errors
    /// Why the old rules stay.
    pub fn reload(&self, force: bool) -> Result<String, String> {
        let (told, name) = mpsc::channel();
        std::thread::scope(|scope| {
            let work = || {
                let thread = rustix::thread::gettid();
                let _ = rustix::process::setpriority_process(Some(thread), 19);
                after_others(thread.as_raw_nonzero().get(), true);
                work_alone();
                // Whoever asked waits for it.
                let _ = told.send(thread);
                self.renew(force)
            };
            let worker = std::thread::Builder::new().name("reload".into());
            let worker = worker
                .spawn_scoped(scope, work)
                .map_err(|error| format!("no thread to compile the rules: {error}"))?;
            let thread = name.recv();
            let begin = Instant::now();
            let mut waits = true;
            while !worker.is_finished() {
                std::thread::sleep(Duration::from_millis(5));
                if let Ok(thread) = thread
                    && begin.elapsed() > LEFT_OVER
                    && std::mem::take(&mut waits)
                {
                    after_others(thread.as_raw_nonzero().get(), false);
                }
            }
            let died = |_| Err("the compiling thread died".to_string());
            worker.join().unwrap_or_else(died)
        })
    }

    fn renew(&self, force: bool) -> Result<String, String> {
        let begin = Instant::now();
        let old = {
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&current.program)
        };
        let loaded = self.load(&old, force)?;
        let difference = Difference::between(old.ruleset(), &loaded.ruleset);
        difference.judge(force)?;
        self.fits(&loaded)?;
        let renewal = Renewal::between(old.ruleset(), &loaded.ruleset);
        self.sets.add(loaded.info());
        for mailbox in &self.mailboxes {
            mailbox.publish(&loaded.program, &renewal, &self.config);
        }
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Current::of(&loaded);
        let late = self.collect();
        loaded.report();
        let note = match late {
            0 => String::new(),
            late => format!("; {late} lanes have not come to a burst border yet"),
        };
        let failed = match loaded.failed_lines().next() {
            Some(first) => format!("; {} failed, the first: {first}", loaded.counts.failed),
            None => String::new(),
        };
        Ok(format!(
            "generation {}: {difference}, {:.1} s{note}{failed}",
            renewal.to(),
            begin.elapsed().as_secs_f64()
        ))
    }

    fn load(&self, old: &Program, force: bool) -> Result<Loaded, String> {
        let now = self.wanted()?;
        let wanted = Wanted {
            skip_bad: now.skip_bad || force,
            names: Some(old.ruleset().names().clone()),
            generation: old.ruleset().generation() + 1,
            ..now
        };
        rules::load(&wanted).map_err(|failure| failure.text)
    }

    /// Whether the lanes have room for the names.
    fn fits(&self, loaded: &Loaded) -> Result<(), String> {
        let names = loaded.ruleset.names();
        let (bits, ints) = (names.flowbits.names().len(), names.flowints.names().len());
        if bits > self.room.0 || ints > self.room.1 {
            return Err(format!(
                "{bits} flowbits and {ints} flowints, and memory is planned for {} and {}\n [hint] \
                 restart the engine",
                self.room.0, self.room.1
            ));
        }
        Ok(())
    }

    /// Waits for the lanes to take the set and frees what they had. Gives how many did not.
    fn collect(&self) -> usize {
        let begin = Instant::now();
        loop {
            let late = self.mailboxes.iter().filter(|m| !m.is_taken()).count();
            if late == 0 || begin.elapsed() > PATIENCE {
                self.mailboxes.iter().for_each(|mailbox| mailbox.sweep());
                return late;
            }
            // A lane gives back before it can take again.
            self.mailboxes.iter().for_each(|mailbox| mailbox.sweep());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Whether a reload puts all in force that is not the same.
fn differ_in_rules_alone(new: &Config, old: &Config) -> bool {
    let mut new = new.clone();
    new.action_order = old.action_order;
    new.reputation.clone_from(&old.reputation);
    new.geoip_database.clone_from(&old.geoip_database);
    new.threshold_file.clone_from(&old.threshold_file);
    new.datasets.clone_from(&old.datasets);
    new == *old
}

/// What a reload changes.
struct Difference {
    before: usize,
    after: usize,
    added: Vec<u32>,
    removed: Vec<u32>,
    changed: usize,
}

impl Difference {
    fn between(old: &RuleSet, new: &RuleSet) -> Difference {
        let index = |set: &RuleSet| -> HashMap<(u32, u32), u32> {
            set.signatures()
                .iter()
                .zip(0u32..)
                .filter(|(_, number)| set.runs(*number))
                .map(|(s, _)| ((s.gid, s.sid), s.rev))
                .collect()
        };
        let (old, new) = (index(old), index(new));
        let missing = |of: &HashMap<(u32, u32), u32>, from: &HashMap<(u32, u32), u32>| {
            let mut sids: Vec<u32> = of
                .keys()
                .filter(|key| !from.contains_key(*key))
                .map(|(_, sid)| *sid)
                .collect();
            sids.sort_unstable();
            sids
        };
        Difference {
            before: old.len(),
            after: new.len(),
            added: missing(&new, &old),
            removed: missing(&old, &new),
            changed: old
                .iter()
                .filter(|(key, rev)| new.get(*key).is_some_and(|other| other != *rev))
                .count(),
        }
    }

    /// Refuses a set that is nothing, or far less than before.
    fn judge(&self, force: bool) -> Result<(), String> {
        let why = if self.after == 0 && self.before > 0 {
            "no rule is left"
        } else if self.after * 100 < self.before * KEPT_PERCENT {
            "more than a tenth of the rules is gone"
        } else {
            return Ok(());
        };
        if force {
            return Ok(());
        }
        let listed: Vec<String> = self
            .removed
            .iter()
            .take(LISTED_MAX)
            .map(u32::to_string)
            .collect();
        let more = match self.removed.len().saturating_sub(LISTED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Err(format!(
            "{why}: {self}\n gone: {}{more}\n [hint] look at the rule files; `sluice reload --force` \
             takes them as they are",
            listed.join(", ")
        ))
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} rules ({} before: {} added, {} removed, {} with another rev)",
            self.after,
            self.before,
            self.added.len(),
            self.removed.len(),
            self.changed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::ruleset::blank;

    fn set(sids: std::ops::Range<u32>) -> RuleSet {
        RuleSet::build(sids.map(blank).collect(), Names::default(), 1)
    }

    #[test]
    fn settings_of_rules_are_told_from_others() {
        let with = |key: &str, value: &str| {
            let mut config = Config::default();
            config.set(key, value).unwrap();
            differ_in_rules_alone(&config, &Config::default())
        };
        assert!(with("threshold-file", "x") && with("action-order", "drop,pass,reject,alert"));
        assert!(with("datasets.a.type", "string") && with("reputation-files", "a,b"));
        assert!(!with("flows", "7") && !with("stream.midstream", "yes"));
    }

    #[test]
    fn a_set_that_lost_a_tenth_is_refused_and_says_what_is_gone() {
        let judged = |old, new, force| Difference::between(&set(old), &set(new)).judge(force);
        assert!(judged(1..101, 11..101, false).is_ok());
        let refused = judged(1..101, 12..101, false).unwrap_err();
        assert!(refused.contains("gone: 1, 2, 3"), "{refused}");
        assert!(judged(1..101, 12..101, true).is_ok());
        assert!(judged(1..5, 0..0, false).unwrap_err().contains("no rule"));
        assert!(judged(0..0, 0..0, false).is_ok());
    }
}
