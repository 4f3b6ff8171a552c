//! The linear-time engines: a table-driven automaton where it fits, a simulated one where not.
//!
//! What lives here: what is built of a translated pattern, and searches with it. What does not:
//! the pattern's syntax, and limits other than work. Read first: Cox, "Regular Expression Matching
//! Can Be Simple And Fast" (2007), and regex-automata's crate documentation.
//!
//! ```text
//!   1. forward  DFA   ends of matches, no cache, shared by all workers
//!   2. the start, when asked for: known (anchored), computed (fixed length), reverse DFA, or 3.
//!   3. PikeVM         starts, groups and marker groups; its cache is one a worker, reset for each
//!                     pattern, so that its memory does not grow with the rule set
//! ```
//! All three are searched with the span of the subject that is still to be looked at, and see the
//! whole subject around it.

use super::tables::{Purpose, Table, Tables};
use super::translate::Translated;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::nfa::thompson::{self, NFA, State, WhichCaptures};
use regex_automata::util::prefilter::Prefilter;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::Hir;

/// Largest table of a forward automaton, in bytes. Beyond it, the simulated automaton serves.
const DFA_SIZE_MAX: usize = 256 * 1024;
/// Largest table of a reverse automaton. It only saves time where a start is asked for.
const REVERSE_SIZE_MAX: usize = 32 * 1024;
/// Bounds on what automata are built, which decide whether there is one.
pub const SIZES_MAX: [usize; 5] = [
    DFA_SIZE_MAX,
    REVERSE_SIZE_MAX,
    DETERMINIZE_SIZE_MAX,
    NFA_STATES_MAX,
    NFA_SIZE_MAX,
];
/// Bytes that building may take beside the table. Those few that need more nearly always come to a
/// table too large in the end, and finding that out took a third of the time of loading.
const DETERMINIZE_SIZE_MAX: usize = 96 * 1024;
/// States of a non-deterministic automaton that a table is tried for; of larger ones, nine in ten
/// have none.
const NFA_STATES_MAX: usize = 1024;
/// Largest non-deterministic automaton, in bytes. Beyond it, the pattern is refused here.
const NFA_SIZE_MAX: usize = 1024 * 1024;

/// The pattern is too large for this engine.
#[derive(Debug)]
pub struct TooLarge;

/// A pattern on the linear engines.
pub struct Linear {
    forward: Option<Table>,
    reverse: Option<Table>,
    pike: Option<PikeVM>,
    /// States of the simulated automaton, for its bound on work.
    states: usize,
    /// A match can only begin where the search does (`A`), or at 0 (`^`).
    anchor: Anchor,
    /// Length of every match, where it is one.
    fixed_length: Option<usize>,
    groups: u32,
    markers: u32,
    newline_ambiguous: bool,
}

/// What will be asked of a pattern besides whether and where it ends.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// Where matches begin.
    pub starts: bool,
    /// Groups: keeps the simulated automaton.
    pub groups: bool,
}

/// Where a match may begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Anchor {
    /// Anywhere from the search's start on.
    None,
    /// At the search's start (`A`, `\G`).
    Search,
    /// At the subject's start (`^`, `\A`).
    Subject,
}

/// What a search found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// A match and its span; the start is right only if it was asked for.
    Match { start: usize, end: usize },
    /// None.
    Nothing,
    /// The bound on work came first.
    Limit,
}

impl Linear {
    /// Builds what `needs` asks of `translated`, or takes it from `tables`.
    pub fn build(
        translated: Translated,
        anchor: Anchor,
        fixed_length: Option<usize>,
        needs: Needs,
        tables: Option<&Tables>,
    ) -> Result<Linear, TooLarge> {
        let mut linear = Linear::with_table(&translated, anchor, tables);
        linear.fixed_length = fixed_length;
        let hir = &translated.hir;
        let has_table = linear.forward.is_some();
        let knows_start = !needs.starts || anchor != Anchor::None || fixed_length.is_some();
        if has_table && !knows_start && !linear.newline_ambiguous {
            linear.reverse = reverse_table(hir, tables);
        }
        let finds_starts = knows_start || linear.reverse.is_some();
        if needs.groups || !has_table || linear.newline_ambiguous || !finds_starts {
            let config = PikeVM::config().prefilter(prefilter(hir, anchor));
            let wants_groups = needs.groups || linear.markers > 0;
            let captures = if wants_groups {
                WhichCaptures::All
            } else {
                WhichCaptures::Implicit
            };
            let nfa = simulated(hir, false, captures)?;
            let pike = PikeVM::builder().configure(config).build_from_nfa(nfa);
            let pike = pike.map_err(|_| TooLarge)?;
            linear.states = pike.get_nfa().states().len();
            linear.pike = Some(pike);
        }
        Ok(linear)
    }

    /// Builds what tells whether there is a match at all, if it has a table.
    pub fn build_test(
        translated: Translated,
        anchor: Anchor,
        tables: Option<&Tables>,
    ) -> Option<Linear> {
        let linear = Linear::with_table(&translated, anchor, tables);
        linear.has_table().then_some(linear)
    }

    fn with_table(translated: &Translated, anchor: Anchor, tables: Option<&Tables>) -> Linear {
        Linear {
            forward: forward_table(&translated.hir, anchor, tables),
            reverse: None,
            pike: None,
            states: 0,
            anchor,
            fixed_length: None,
            groups: translated.groups,
            markers: translated.markers,
            newline_ambiguous: translated.newline_ambiguous,
        }
    }
}

/// Finds candidates by the literals that a match begins with, where there are few.
fn prefilter(hir: &Hir, anchor: Anchor) -> Option<Prefilter> {
    let is_free = anchor == Anchor::None;
    is_free
        .then(|| Prefilter::from_hirs_prefix(MatchKind::LeftmostFirst, &[hir]))
        .flatten()
}

fn simulated(hir: &Hir, reverse: bool, captures: WhichCaptures) -> Result<NFA, TooLarge> {
    let config = thompson::Config::new()
        .utf8(false)
        .reverse(reverse)
        .nfa_size_limit(Some(NFA_SIZE_MAX))
        .which_captures(captures);
    thompson::Compiler::new()
        .configure(config)
        .build_from_hir(hir)
        .map_err(|_| TooLarge)
}

/// The automaton that finds ends; `None` if it is too large.
fn forward_table(hir: &Hir, anchor: Anchor, tables: Option<&Tables>) -> Option<Table> {
    let prefilter = prefilter(hir, anchor);
    let prefiltered = prefilter.is_some();
    let (kind, purpose) = match anchor {
        Anchor::None => (StartKind::Unanchored, Purpose::Free { prefiltered }),
        _ => (StartKind::Anchored, Purpose::Anchored),
    };
    let build = || {
        let config = dense::Config::new()
            .start_kind(kind)
            .specialize_start_states(prefiltered)
            .dfa_size_limit(Some(DFA_SIZE_MAX))
            .determinize_size_limit(Some(DETERMINIZE_SIZE_MAX));
        let nfa = simulated(hir, false, WhichCaptures::None).ok()?;
        if nfa.states().len() > NFA_STATES_MAX {
            return None;
        }
        dense::Builder::new()
            .configure(config)
            .build_from_nfa(&nfa)
            .ok()
    };
    let mut table = match tables {
        Some(tables) => tables.table(hir, purpose, build),
        None => build(),
    }?;
    table.set_prefilter(prefilter);
    Some(table)
}

/// The automaton that reads back from a match's end to its start.
fn reverse_table(hir: &Hir, tables: Option<&Tables>) -> Option<Table> {
    let build = || {
        let config = dense::Config::new()
            .start_kind(StartKind::Anchored)
            .match_kind(MatchKind::All)
            .dfa_size_limit(Some(REVERSE_SIZE_MAX))
            .determinize_size_limit(Some(REVERSE_SIZE_MAX));
        let nfa = simulated(hir, true, WhichCaptures::None).ok()?;
        dense::Builder::new()
            .configure(config)
            .build_from_nfa(&nfa)
            .ok()
    };
    match tables {
        Some(tables) => tables.table(hir, Purpose::Reverse, build),
        None => build(),
    }
}

/// What a caller needs to know of a match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// Whether there is one.
    Test,
    /// Its end too.
    End,
    /// Start and end.
    Span,
}

/// The part of a worker's cache that this engine uses.
pub struct LinearCache {
    pike: Option<pikevm::Cache>,
    /// An automaton of no states to speak of; see `reset`.
    blank: Option<PikeVM>,
    slots: Vec<Option<NonMaxUsize>>,
    /// Frames that the simulated automaton's stack is known to have room for.
    frames: usize,
}

impl Default for LinearCache {
    fn default() -> Self {
        Self {
            pike: None,
            blank: PikeVM::never_match().ok(),
            slots: Vec::new(),
            frames: 0,
        }
    }
}

impl LinearCache {
    /// Grows the cache to what `linear` needs, so that no search allocates.
    pub fn reserve(&mut self, linear: &Linear) {
        let Some(pike) = &linear.pike else { return };
        self.deepen(frames_most(pike));
        self.reset(pike);
        let slots = linear.slot_count();
        self.slots.resize(slots.max(self.slots.len()), None);
    }

    /// Gives the simulated automaton's stack room for `frames`. No call reserves it, so a search is
    /// run that fills it: of an automaton that is one fork with that many ways.
    fn deepen(&mut self, frames: usize) {
        if frames <= self.frames {
            return;
        }
        let frames = frames.next_power_of_two();
        if let Ok(fork) = fork(frames) {
            self.reset(&fork);
            if let Some(store) = &mut self.pike {
                fork.search_slots(store, &Input::new(b""), &mut []);
            }
            self.frames = frames;
        }
    }

    /// Makes the cache one of `pike`, within the memory it has if that is enough.
    ///
    /// regex-automata 0.4.19 keeps old offsets in a cache that is reset to a smaller automaton, in
    /// the very row it takes for empty; a search then reports groups of another pattern's match.
    /// Going through the smallest automaton first makes it write that row anew.
    fn reset(&mut self, pike: &PikeVM) {
        let store = self.pike.get_or_insert_with(|| pikevm::Cache::new(pike));
        if let Some(blank) = &self.blank {
            store.reset(blank);
        }
        store.reset(pike);
    }
}

/// The most frames that a search can stack: it explores each way of each fork once, and puts each
/// slot back once.
fn frames_most(pike: &PikeVM) -> usize {
    let ways = |state: &State| match state {
        State::Union { alternates } => alternates.len(),
        State::BinaryUnion { .. } => 2,
        State::Capture { .. } => 1,
        _ => 0,
    };
    pike.get_nfa().states().iter().map(ways).sum::<usize>() + 1
}

/// An automaton that forks `ways` ways at once, all of them in vain.
fn fork(ways: usize) -> Result<PikeVM, Box<dyn std::error::Error>> {
    let mut builder = thompson::Builder::new();
    builder.start_pattern()?;
    let fail = builder.add_fail()?;
    let start = builder.add_union(vec![fail; ways + 1])?;
    builder.finish_pattern(start)?;
    Ok(PikeVM::new_from_nfa(builder.build(start, start)?)?)
}

impl Linear {
    /// The leftmost match that begins at `start` or after. `work_max` bounds the simulated
    /// automaton: bytes times states.
    pub fn find(
        &self,
        cache: &mut LinearCache,
        subject: &[u8],
        start: usize,
        want: Want,
        work_max: usize,
    ) -> Found {
        if start > subject.len() || (self.anchor == Anchor::Subject && start > 0) {
            return Found::Nothing;
        }
        let Some(forward) = &self.forward else {
            return self.simulate(cache, subject, start, subject.len(), work_max);
        };
        let input = self
            .input(subject, start, subject.len())
            .earliest(want == Want::Test);
        let end = match forward.try_search_fwd(&input) {
            Ok(Some(found)) => found.offset(),
            Ok(None) => return Found::Nothing,
            // These automata have no bytes to quit at, and their kind of start is the input's.
            Err(_) => return Found::Limit,
        };
        if want == Want::Test {
            return Found::Match { start, end };
        }
        let at_final_newline = end == subject.len() && subject.last() == Some(&b'\n');
        if self.markers == 0 || !at_final_newline {
            return self.with_start(cache, subject, start, end, end, want, work_max);
        }
        if self.newline_ambiguous {
            return self.simulate(cache, subject, start, end, work_max);
        }
        self.with_start(cache, subject, start, end, end - 1, want, work_max)
    }

    /// The match that ends at `end` (the engine's) or `true_end` (without a marker's newline).
    #[allow(
        clippy::too_many_arguments,
        reason = "one search's state, in one place"
    )]
    fn with_start(
        &self,
        cache: &mut LinearCache,
        subject: &[u8],
        start: usize,
        end: usize,
        true_end: usize,
        want: Want,
        work_max: usize,
    ) -> Found {
        let found = |start| Found::Match {
            start,
            end: true_end,
        };
        if want != Want::Span || self.anchor != Anchor::None {
            return found(start);
        }
        if let Some(length) = self.fixed_length {
            return found(true_end.saturating_sub(length));
        }
        if let Some(reverse) = &self.reverse {
            let input = Input::new(subject)
                .range(start..end)
                .anchored(Anchored::Yes);
            return match reverse.try_search_rev(&input) {
                Ok(Some(first)) => found(first.offset()),
                Ok(None) | Err(_) => Found::Limit,
            };
        }
        // A match that begins first in the whole subject begins first in what ends with it, too.
        self.simulate(cache, subject, start, end, work_max)
    }

    /// Start and end by the simulated automaton, looking at `start..until` of the subject.
    fn simulate(
        &self,
        cache: &mut LinearCache,
        subject: &[u8],
        start: usize,
        until: usize,
        work_max: usize,
    ) -> Found {
        let slots = if self.markers > 0 {
            self.slot_count()
        } else {
            2
        };
        match self.slots(cache, subject, start, until, slots, work_max) {
            Some(true) => self.span(cache, start),
            Some(false) => Found::Nothing,
            None => Found::Limit,
        }
    }

    /// The span that the slots of the last run tell.
    fn span(&self, cache: &LinearCache, start: usize) -> Found {
        let slot = |index: usize| {
            cache
                .slots
                .get(index)
                .copied()
                .flatten()
                .map(|slot| slot.get())
        };
        let marker_end = |marker: u32| slot(2 * (self.groups + 1 + marker) as usize + 1);
        let by_marker = (0..self.markers).any(|marker| marker_end(marker).is_some());
        let (start, end) = (slot(0).unwrap_or(start), slot(1).unwrap_or(start));
        let end = end.saturating_sub(usize::from(by_marker));
        Found::Match {
            start: start.min(end),
            end,
        }
    }

    /// Runs the simulated automaton; `None` where its bound on work forbids it.
    fn slots(
        &self,
        cache: &mut LinearCache,
        subject: &[u8],
        start: usize,
        until: usize,
        count: usize,
        work_max: usize,
    ) -> Option<bool> {
        let pike = self.pike.as_ref()?;
        if (until - start + 1).saturating_mul(self.states) > work_max {
            return None;
        }
        cache.reset(pike);
        if cache.slots.len() < count {
            cache.slots.resize(count, None);
        }
        let slots = cache.slots.get_mut(..count)?;
        slots.fill(None);
        let input = self.input(subject, start, until);
        let store = cache.pike.as_mut()?;
        Some(pike.search_slots(store, &input, slots).is_some())
    }

    /// Spans of groups 1 to n of the match that begins at `start`, into `groups`, as far as it is
    /// long. Groups that took no part are `None`.
    pub fn captures(
        &self,
        cache: &mut LinearCache,
        subject: &[u8],
        start: usize,
        groups: &mut [Option<(usize, usize)>],
        work_max: usize,
    ) -> Found {
        let all = self.slot_count();
        match self.slots(cache, subject, start, subject.len(), all, work_max) {
            Some(true) => {}
            Some(false) => return Found::Nothing,
            None => return Found::Limit,
        }
        let found = self.span(cache, start);
        let Found::Match { end, .. } = found else {
            return found;
        };
        // A marker within a group stretches it as it stretches the match.
        let slot = |index: usize| {
            let slot = cache.slots.get(index).copied().flatten();
            slot.map(|slot| slot.get().min(end))
        };
        for (index, group) in groups.iter_mut().enumerate() {
            let is_group = index < self.groups as usize;
            *group = slot(2 * index + 2)
                .zip(slot(2 * index + 3))
                .filter(|_| is_group);
        }
        found
    }

    fn input<'s>(&self, subject: &'s [u8], start: usize, end: usize) -> Input<'s> {
        let anchored = if self.anchor == Anchor::None {
            Anchored::No
        } else {
            Anchored::Yes
        };
        Input::new(subject).range(start..end).anchored(anchored)
    }

    fn slot_count(&self) -> usize {
        2 * (1 + self.groups + self.markers) as usize
    }

    /// Whether the table-driven automaton fitted.
    pub fn has_table(&self) -> bool {
        self.forward.is_some()
    }

    /// What two patterns that find the same have in common: a hash of their tables.
    pub fn fingerprint(&self) -> u64 {
        let tables = [&self.forward, &self.reverse];
        super::tables::fingerprint(tables.into_iter().flatten())
    }

    /// Bytes of memory that the pattern holds, shared by all workers.
    pub fn memory_bytes(&self) -> usize {
        let table = |dfa: &Option<Table>| dfa.as_ref().map_or(0, |d| d.memory_usage());
        let pike = self
            .pike
            .as_ref()
            .map_or(0, |pike| pike.get_nfa().memory_usage());
        table(&self.forward) + table(&self.reverse) + pike
    }
}
