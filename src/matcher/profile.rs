//! What rules and prefilters cost, measured on one burst in so many: `sluice profile` prints it.
//!
//! What lives here: the figures, and the stop-watch of a match stage. What does not: how they are
//! shown (cli/profile.rs). A burst that is not measured pays for one branch at each place, never
//! taken. Figures stand beside the compiled rules and are shared by all lanes, which meet at a line
//! of them in measured bursts alone; rules anew begin anew. Cycles are the time-stamp counter's, so
//! what interrupts a worker is in them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::time::cycles;

/// Cycles of one check of one rule beyond which it is counted as over its budget: what a packet as
/// a whole may cost with all rules (DESIGN.md 10), twenty times.
pub const RULE_CYCLES_MAX: u64 = 20_000;

/// What a rule cost in the bursts that were measured.
#[derive(Debug, Default)]
pub struct RuleCost {
    candidates: AtomicU64,
    checks: AtomicU64,
    matches: AtomicU64,
    cycles: AtomicU64,
    over: AtomicU64,
}

/// The same, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuleFigures {
    /// Times that it was proposed.
    pub candidates: u64,
    /// Times that its tests on bytes were run.
    pub checks: u64,
    /// Times that they held.
    pub matches: u64,
    /// Cycles of all candidates.
    pub cycles: u64,
    /// Candidates that took more than [`RULE_CYCLES_MAX`].
    pub over: u64,
}

impl RuleCost {
    /// The present figures.
    pub fn figures(&self) -> RuleFigures {
        RuleFigures {
            candidates: self.candidates.load(Relaxed),
            checks: self.checks.load(Relaxed),
            matches: self.matches.load(Relaxed),
            cycles: self.cycles.load(Relaxed),
            over: self.over.load(Relaxed),
        }
    }
}

/// What the scans of a prefilter cost in the bursts that were measured.
#[derive(Debug, Default)]
pub struct ScanCost {
    scans: AtomicU64,
    bytes: AtomicU64,
    looks: AtomicU64,
    cycles: AtomicU64,
}

/// A copy of a prefilter has cost nothing yet.
impl Clone for ScanCost {
    fn clone(&self) -> ScanCost {
        ScanCost::default()
    }
}

/// The same, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScanFigures {
    /// Buffers scanned.
    pub scans: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries looked at, at positions that the filter let pass.
    pub looks: u64,
    /// Cycles.
    pub cycles: u64,
}

impl ScanCost {
    /// The present figures.
    pub fn figures(&self) -> ScanFigures {
        ScanFigures {
            scans: self.scans.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            looks: self.looks.load(Relaxed),
            cycles: self.cycles.load(Relaxed),
        }
    }
}

/// How far a candidate came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Reached {
    Proposed,
    Checked,
    Matched,
}

/// The stop-watch of a match stage.
#[derive(Debug)]
pub struct Profile {
    /// One burst in so many is measured; 0: none.
    every: u32,
    left: u32,
    on: bool,
    /// The candidate under way, and since when.
    rule: u32,
    since: u64,
    reached: Reached,
}

impl Profile {
    /// Measures one burst in `every`; 0: none.
    pub fn new(every: u32) -> Profile {
        Profile {
            every,
            left: 1,
            on: false,
            rule: u32::MAX,
            since: 0,
            reached: Reached::Proposed,
        }
    }

    /// A burst begins.
    #[inline(always)]
    pub fn begin_burst(&mut self) {
        self.left = self.left.wrapping_sub(1);
        self.on = self.left == 0 && self.every > 0;
        if self.left == 0 {
            self.left = self.every;
        }
    }

    /// A candidate is looked at; the one before it is done.
    #[inline(always)]
    pub fn next(&mut self, costs: &[RuleCost], rule: u32) {
        if self.on {
            self.lap(costs, rule);
        }
    }

    /// The last candidate is done.
    #[inline(always)]
    pub fn done(&mut self, costs: &[RuleCost]) {
        if self.on {
            self.lap(costs, u32::MAX);
        }
    }

    /// Its tests on bytes are run.
    #[inline(always)]
    pub fn checked(&mut self) {
        if self.on {
            self.reached = Reached::Checked;
        }
    }

    /// They held.
    #[inline(always)]
    pub fn matched(&mut self) {
        if self.on {
            self.reached = Reached::Matched;
        }
    }

    #[cold]
    #[inline(never)]
    fn lap(&mut self, costs: &[RuleCost], rule: u32) {
        let now = cycles::now();
        if let Some(cost) = costs.get(self.rule as usize) {
            let took = now.saturating_sub(self.since);
            cost.candidates.fetch_add(1, Relaxed);
            cost.checks
                .fetch_add(u64::from(self.reached >= Reached::Checked), Relaxed);
            cost.matches
                .fetch_add(u64::from(self.reached == Reached::Matched), Relaxed);
            cost.cycles.fetch_add(took, Relaxed);
            cost.over
                .fetch_add(u64::from(took > RULE_CYCLES_MAX), Relaxed);
        }
        self.rule = rule;
        self.reached = Reached::Proposed;
        self.since = cycles::now();
    }

    /// When a scan begins; 0 in bursts that are not measured.
    #[inline(always)]
    pub fn begin_scan(&self) -> u64 {
        if self.on { cycles::now() } else { 0 }
    }
}

/// Notes a scan that began at `since`, as `begin_scan` gave it.
#[inline(always)]
pub fn end_scan(cost: &ScanCost, since: u64, bytes: usize, looks: u32) {
    if since != 0 {
        note_scan(cost, since, bytes, looks);
    }
}

#[cold]
#[inline(never)]
fn note_scan(cost: &ScanCost, since: u64, bytes: usize, looks: u32) {
    let took = cycles::now().saturating_sub(since);
    cost.scans.fetch_add(1, Relaxed);
    cost.bytes.fetch_add(bytes as u64, Relaxed);
    cost.looks.fetch_add(u64::from(looks), Relaxed);
    cost.cycles.fetch_add(took, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_burst_in_so_many_is_measured() {
        for (every, expected) in [(0, 0), (1, 100), (64, 2), (7, 15)] {
            let mut profile = Profile::new(every);
            let mut measured = 0;
            for _ in 0..100 {
                profile.begin_burst();
                measured += u32::from(profile.on);
            }
            assert_eq!(measured, expected, "every {every}");
        }
    }

    #[test]
    fn each_candidate_is_charged_to_its_rule() {
        let costs: Vec<RuleCost> = (0..3).map(|_| RuleCost::default()).collect();
        let mut profile = Profile::new(1);
        profile.begin_burst();
        profile.next(&costs, 1);
        profile.next(&costs, 2);
        profile.checked();
        profile.matched();
        let begin = cycles::now();
        while cycles::now() < begin + 2 * RULE_CYCLES_MAX {}
        profile.next(&costs, 2);
        profile.checked();
        profile.done(&costs);
        // Nobody pays for the time between.
        let before = costs[2].figures();
        profile.done(&costs);
        assert_eq!(costs[2].figures(), before);
        assert_eq!(costs[0].figures(), RuleFigures::default());
        let one = costs[1].figures();
        assert_eq!((one.candidates, one.checks, one.matches), (1, 0, 0));
        let two = costs[2].figures();
        assert_eq!((two.candidates, two.checks, two.matches), (2, 2, 1));
        assert!(two.over >= 1 && two.cycles > 2 * RULE_CYCLES_MAX, "{two:?}");
    }

    #[test]
    fn a_scan_outside_of_measured_bursts_is_not_noted() {
        let cost = ScanCost::default();
        let mut profile = Profile::new(2);
        profile.begin_burst();
        end_scan(&cost, profile.begin_scan(), 100, 3);
        profile.begin_burst();
        end_scan(&cost, profile.begin_scan(), 100, 3);
        let figures = cost.figures();
        assert_eq!((figures.scans, figures.bytes, figures.looks), (1, 100, 3));
        assert!(cost.clone().figures() == ScanFigures::default());
    }
}
