//! Patterns of `pcre` options: PCRE2's language on bytes, in linear time where it is regular, and
//! in bounded steps where it is not.
//!
//! What lives here: what a rule's pattern compiles to, a worker's cache, and the choice of engine.
//! What does not: buffers, offsets and what a match means (verify).
//!
//! ```text
//!   text ─ parse, … ─► tree (syntax) ─ translate ─► linear     automata of regex-automata
//!                                └──────── program ───► backtrack   for the rest, or on demand
//! ```
//! 1. A regular pattern whose automaton fits a table runs on it: no input makes it slow.
//! 2. A regular pattern too large for that runs on backtrack.rs, in bounded steps; where these do
//!    not do, a simulated automaton decides, if the work is bounded too.
//! 3. One that is not regular runs on backtrack.rs, behind a wider regular pattern that most
//!    subjects already fail. `LimitHit` is a miss that the caller counts.
//!
//! Subject: the bytes given are all there is. `^` holds at their beginning and look-behind sees
//! nothing before it, so for a relative pattern (`R`) the caller gives the rest of the buffer from
//! the end of the last match on. Invariants: a search cannot panic and, once the worker's cache
//! has `reserve`d a rule set's patterns, does not allocate.
//! Read first: pcre2pattern(3); RULES.md 6.3; Suricata's documentation of the pcre keyword.

mod backtrack;
mod escape;
mod groups;
mod linear;
mod parse;
mod program;
mod syntax;
mod tables;
mod translate;

use backtrack::BacktrackCache;
use linear::{Anchor, Found, Linear, LinearCache, Needs, Want};
use program::Program;
use syntax::{Node, Place};
use translate::{Sense, translate};

use regex_automata::MatchKind;
use regex_automata::util::prefilter::Prefilter;

pub use parse::{DEPTH_MAX, GROUPS_MAX, PATTERN_LEN_MAX, REPEAT_MAX};
pub use tables::{Report as TablesReport, Tables};

/// Flags behind a pattern's closing slash that change what matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RegexFlags {
    /// `i`: letters match both cases (ASCII).
    pub caseless: bool,
    /// `m`: `^` and `$` also hold at newlines.
    pub multiline: bool,
    /// `s`: `.` also matches a newline.
    pub dotall: bool,
    /// `x`: white space and `#` comments of the pattern mean nothing.
    pub extended: bool,
    /// `A`: a match begins where the search does.
    pub anchored: bool,
    /// `E`: `$` holds at the very end alone.
    pub dollar_endonly: bool,
    /// `G`: repeats are lazy, and greedy with `?`.
    pub ungreedy: bool,
    /// `O`: the greater bounds of [`RegexLimits::LIFTED`] hold.
    pub match_limit_lift: bool,
    /// `R`: carried for the caller, who gives the rest of the buffer.
    pub relative: bool,
    /// Groups are asked for (`flow:name`, `pkt:name`): keeps what finding them needs.
    pub captures: bool,
    /// Nobody asks where matches begin, so nothing is kept that finds it.
    pub ends_alone: bool,
}

impl RegexFlags {
    /// The flags of the letters behind the slash. Letters that choose a buffer (`U`, `H`, ...) are
    /// the rule parser's and are passed over; an unknown letter is an error at its index.
    pub fn from_letters(letters: &str) -> Result<RegexFlags, RegexError> {
        let mut flags = RegexFlags::default();
        for (index, letter) in letters.bytes().enumerate() {
            let flag = match letter {
                b'i' => &mut flags.caseless,
                b'm' => &mut flags.multiline,
                b's' => &mut flags.dotall,
                b'x' => &mut flags.extended,
                b'A' => &mut flags.anchored,
                b'E' => &mut flags.dollar_endonly,
                b'G' => &mut flags.ungreedy,
                b'O' => &mut flags.match_limit_lift,
                b'R' => &mut flags.relative,
                b'U' | b'I' | b'P' | b'Q' | b'H' | b'D' | b'M' | b'C' | b'S' | b'Y' | b'V'
                | b'W' | b'Z' | b'B' => continue,
                _ => {
                    let hint = "flags are i m s x A E G O R, and one letter of a buffer";
                    return Err(RegexError::new(index, "unknown flag of a pattern", hint));
                }
            };
            *flag = true;
        }
        Ok(flags)
    }
}

/// Why a pattern is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegexError {
    /// Byte of the pattern (or of the flags) where it is seen; 0 where it has no one place.
    pub offset: usize,
    /// What is wrong.
    pub message: &'static str,
    /// What to do.
    pub hint: &'static str,
}

impl RegexError {
    fn new(offset: usize, message: &'static str, hint: &'static str) -> Self {
        Self {
            offset,
            message,
            hint,
        }
    }
}

impl std::fmt::Display for RegexError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{} at byte {} of the pattern",
            self.message, self.offset
        )
    }
}

impl std::error::Error for RegexError {}

/// Bounds of one search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegexLimits {
    /// Ways back that the backtracker may take from one position of the subject: what PCRE2 calls
    /// the match limit, if a little more generous (PCRE2 also counts ways that need no going back).
    pub choices_max: u32,
    /// Steps of the backtracker in one search; four more are allowed for each byte.
    pub steps_max: u32,
    /// Bytes times states of a simulated automaton, for the few patterns without a table and for
    /// starts and groups of matches.
    pub work_max: u32,
}

impl RegexLimits {
    /// Without `O`: the 3,500 of Suricata, and steps to go with it.
    pub const DEFAULT: RegexLimits = RegexLimits {
        choices_max: 3_500,
        steps_max: 32 * 3_500,
        work_max: 4_000_000,
    };
    /// With `O`.
    pub const LIFTED: RegexLimits = RegexLimits {
        choices_max: 100_000,
        steps_max: 32 * 100_000,
        work_max: 40_000_000,
    };
}

/// What a search came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegexResult {
    /// The leftmost match.
    Match {
        /// Offset of its first byte.
        start: usize,
        /// Offset behind its last.
        end: usize,
    },
    /// There is none.
    NoMatch,
    /// A bound came first: counted by the caller, and no match.
    LimitHit,
}

/// Which engine a pattern runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegexEngine {
    /// A table-driven automaton.
    Table,
    /// The bounded backtracker, and a simulated automaton where its bounds are met: the pattern is
    /// regular, but its table would be too large.
    Mixed,
    /// The bounded backtracker alone.
    Backtrack,
}

/// A literal that every match contains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequiredLiteral {
    /// Its bytes, as written.
    pub bytes: Box<[u8]>,
    /// Letters stand for both cases.
    pub caseless: bool,
}

enum Engine {
    Table(Box<Linear>),
    Mixed {
        program: Box<Program>,
        simulated: Box<Linear>,
    },
    /// With the wider pattern, where it has a table.
    Backtrack {
        program: Box<Program>,
        wider: Option<Box<Linear>>,
    },
}

/// Skips the backtracker where a literal that every match has is not there.
type Gate = Option<Prefilter>;

/// A compiled pattern. Shared by all workers; each brings its own [`RegexCache`].
pub struct Regex {
    engine: Engine,
    groups: u32,
    names: Vec<(String, u32)>,
    required: Option<RequiredLiteral>,
    gate: Gate,
    lifted: bool,
    looks_ahead: bool,
}

/// A worker's memory for searches: one for all patterns of a rule set.
///
/// `default()` allocates the backtracker's stack (192 KiB). `reserve` grows the rest to what a
/// pattern needs; a search with a pattern that was not reserved for still works, but may allocate.
#[derive(Default)]
pub struct RegexCache {
    linear: LinearCache,
    backtrack: BacktrackCache,
    /// The last search's result is the simulated automaton's.
    by_simulation: bool,
}

impl RegexCache {
    /// Grows the cache for `regex`. Call it for each pattern of a new rule set, before `seal()` or
    /// at the border where the set is taken over.
    pub fn reserve(&mut self, regex: &Regex) {
        match &regex.engine {
            Engine::Table(linear) => self.linear.reserve(linear),
            Engine::Mixed { program, simulated } => {
                self.backtrack.reserve(program);
                self.linear.reserve(simulated);
            }
            Engine::Backtrack { program, .. } => self.backtrack.reserve(program),
        }
    }
}

impl Regex {
    /// Compiles the bytes between a pattern's slashes (`\;` undone, all else as written).
    pub fn compile(pattern: &[u8], flags: RegexFlags) -> Result<Regex, RegexError> {
        Self::compile_for(pattern, flags, None, None)
    }

    /// As `compile`, with automata of `tables` where it has them.
    pub fn compile_with(
        pattern: &[u8],
        flags: RegexFlags,
        tables: Option<&Tables>,
    ) -> Result<Regex, RegexError> {
        Self::compile_for(pattern, flags, None, tables)
    }

    /// As `compile`, on the backtracker if `only` says so: tests hold the engines to each other.
    fn compile_for(
        pattern: &[u8],
        flags: RegexFlags,
        only: Option<RegexEngine>,
        tables: Option<&Tables>,
    ) -> Result<Regex, RegexError> {
        let parsed = parse::parse(pattern, &flags)?;
        let anchor = if flags.anchored {
            Anchor::Search
        } else if always_begins(&parsed.node, Place::Start) {
            Anchor::Subject
        } else if always_begins(&parsed.node, Place::SearchStart) {
            Anchor::Search
        } else {
            Anchor::None
        };
        let wants_linear = only != Some(RegexEngine::Backtrack) && !parsed.branch_reset;
        let needs = Needs {
            starts: !flags.ends_alone,
            groups: flags.captures,
        };
        let linear = wants_linear
            .then(|| linear_of(&parsed, anchor, needs, tables))
            .flatten();
        let program = || program::compile(&parsed.node, parsed.groups, anchor).map(Box::new);
        let engine = match linear.map(Box::new) {
            Some(linear) if linear.has_table() => Engine::Table(linear),
            Some(simulated) => Engine::Mixed {
                program: program()?,
                simulated,
            },
            None => {
                let wider = wider_of(&parsed.node, anchor, tables).map(Box::new);
                Engine::Backtrack {
                    program: program()?,
                    wider,
                }
            }
        };
        let required = parsed
            .node
            .required_literal()
            .map(|(bytes, caseless)| RequiredLiteral {
                bytes: bytes.into(),
                caseless,
            });
        let gate = gate_of(&engine, required.as_ref());
        let looks_ahead = parsed.node.any(&mut looks_ahead);
        let (groups, names) = (parsed.groups, parsed.names);
        Ok(Regex {
            engine,
            groups,
            names,
            required,
            gate,
            lifted: flags.match_limit_lift,
            looks_ahead,
        })
    }

    /// The bounds this pattern asks for: [`RegexLimits::DEFAULT`], or `LIFTED` with `O`.
    pub fn limits(&self) -> RegexLimits {
        if self.lifted {
            RegexLimits::LIFTED
        } else {
            RegexLimits::DEFAULT
        }
    }

    /// The leftmost match that begins at `start` or after. The subject's beginning stays that of
    /// `subject`: `^` does not hold at `start`.
    pub fn find_at(
        &self,
        cache: &mut RegexCache,
        subject: &[u8],
        start: usize,
        limits: &RegexLimits,
    ) -> RegexResult {
        self.search(cache, subject, start, limits, Want::Span)
            .into()
    }

    /// As `find_at`, but the start in the result is only a lower bound of the match's. Cheaper
    /// where nothing after the pattern is tried again from its start.
    pub fn find_end_at(
        &self,
        cache: &mut RegexCache,
        subject: &[u8],
        start: usize,
        limits: &RegexLimits,
    ) -> RegexResult {
        self.search(cache, subject, start, limits, Want::End).into()
    }

    /// As `find_at`, but only whether there is a match: the offsets in the result mean nothing.
    /// Cheapest; it stops at the first byte that makes a match sure.
    pub fn test_at(
        &self,
        cache: &mut RegexCache,
        subject: &[u8],
        start: usize,
        limits: &RegexLimits,
    ) -> RegexResult {
        self.search(cache, subject, start, limits, Want::Test)
            .into()
    }

    /// As `find_at`, with the spans of groups 1 to n written to `groups`, as far as it is long.
    /// A group that took no part is `None`. Only patterns compiled with `flags.captures` may run on
    /// a table and know their groups; for others, `groups` may stay `None`.
    pub fn captures_at(
        &self,
        cache: &mut RegexCache,
        subject: &[u8],
        start: usize,
        limits: &RegexLimits,
        groups: &mut [Option<(usize, usize)>],
    ) -> RegexResult {
        groups.fill(None);
        let found = self.search(cache, subject, start, limits, Want::Span);
        let Found::Match { start, .. } = found else {
            return found.into();
        };
        let by_program = !std::mem::take(&mut cache.by_simulation);
        match &self.engine {
            Engine::Mixed { program, .. } | Engine::Backtrack { program, .. } if by_program => {
                for (index, group) in (1..=program.groups).zip(groups.iter_mut()) {
                    *group = cache.backtrack.group(index);
                }
                found.into()
            }
            Engine::Table(linear)
            | Engine::Mixed {
                simulated: linear, ..
            } => {
                let work_max = limits.work_max as usize;
                linear
                    .captures(&mut cache.linear, subject, start, groups, work_max)
                    .into()
            }
            Engine::Backtrack { .. } => found.into(),
        }
    }

    fn search(
        &self,
        cache: &mut RegexCache,
        subject: &[u8],
        start: usize,
        limits: &RegexLimits,
        want: Want,
    ) -> Found {
        let RegexLimits {
            choices_max,
            steps_max,
            work_max,
        } = *limits;
        let (work_max, limits) = (
            work_max as usize,
            backtrack::Limits {
                choices_max,
                steps_max,
            },
        );
        cache.by_simulation = false;
        if let Some(gate) = &self.gate {
            let rest = start.min(subject.len())..subject.len();
            if gate.find(subject, rest.into()).is_none() {
                return Found::Nothing;
            }
        }
        match &self.engine {
            Engine::Table(linear) => linear.find(&mut cache.linear, subject, start, want, work_max),
            Engine::Mixed { program, simulated } => {
                let found = backtrack::find(program, &mut cache.backtrack, subject, start, &limits);
                if found != Found::Limit {
                    return found;
                }
                cache.by_simulation = true;
                simulated.find(&mut cache.linear, subject, start, want, work_max)
            }
            Engine::Backtrack { program, wider } => {
                if let Some(wider) = wider {
                    let found = wider.find(&mut cache.linear, subject, start, Want::Test, work_max);
                    if found == Found::Nothing {
                        return found;
                    }
                }
                backtrack::find(program, &mut cache.backtrack, subject, start, &limits)
            }
        }
    }

    /// Groups of the pattern: 1 to this.
    pub fn group_count(&self) -> u32 {
        self.groups
    }

    /// The number of a named group.
    pub fn group_of(&self, name: &str) -> Option<u32> {
        self.names
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, index)| *index)
    }

    /// A literal that every match contains, where one is seen at a glance: a cheap way to skip the
    /// search. The longest of the pattern's top level.
    pub fn required_literal(&self) -> Option<&RequiredLiteral> {
        self.required.as_ref()
    }

    /// Whether a match may depend on bytes behind it, so that it can come or go as a stream grows:
    /// the pattern speaks of an end, of a word's border or of what follows.
    pub fn looks_ahead(&self) -> bool {
        self.looks_ahead
    }

    /// Which engine it runs on.
    pub fn engine(&self) -> RegexEngine {
        match &self.engine {
            Engine::Table(_) => RegexEngine::Table,
            Engine::Mixed { .. } => RegexEngine::Mixed,
            Engine::Backtrack { .. } => RegexEngine::Backtrack,
        }
    }

    /// A hash of the tables that it runs on.
    pub fn fingerprint(&self) -> u64 {
        match &self.engine {
            Engine::Table(linear) => linear.fingerprint(),
            Engine::Mixed { .. } => 1,
            Engine::Backtrack { wider, .. } => {
                wider.as_ref().map_or(2, |wider| wider.fingerprint())
            }
        }
    }

    /// Bytes of memory it holds, shared by all workers.
    pub fn memory_bytes(&self) -> usize {
        match &self.engine {
            Engine::Table(linear) => linear.memory_bytes(),
            Engine::Mixed { program, simulated } => {
                program.memory_bytes() + simulated.memory_bytes()
            }
            Engine::Backtrack { program, wider } => {
                let wider = wider.as_ref().map_or(0, |wider| wider.memory_bytes());
                wider + program.memory_bytes()
            }
        }
    }
}

impl From<Found> for RegexResult {
    fn from(found: Found) -> Self {
        match found {
            Found::Match { start, end } => RegexResult::Match { start, end },
            Found::Nothing => RegexResult::NoMatch,
            Found::Limit => RegexResult::LimitHit,
        }
    }
}

fn linear_of(
    parsed: &parse::Pattern,
    anchor: Anchor,
    needs: Needs,
    tables: Option<&Tables>,
) -> Option<Linear> {
    let translated = translate(&parsed.node, parsed.groups, Sense::Exact).ok()?;
    let (min, max) = parsed.node.length();
    let fixed_length = (Some(min) == max).then_some(min);
    Linear::build(translated, anchor, fixed_length, needs, tables).ok()
}

/// The wider pattern of one that is not regular. Worth its memory only where it has a table.
fn wider_of(node: &Node, anchor: Anchor, tables: Option<&Tables>) -> Option<Linear> {
    let translated = translate(node, 0, Sense::Wider).ok()?;
    Linear::build_test(translated, anchor, tables)
}

/// Tables are fast without one; letters of both cases would need another kind of search.
fn gate_of(engine: &Engine, required: Option<&RequiredLiteral>) -> Gate {
    let literal = required.filter(|literal| !literal.caseless && literal.bytes.len() > 1)?;
    match engine {
        Engine::Table(_) => None,
        _ => Prefilter::new(MatchKind::LeftmostFirst, &[&literal.bytes]),
    }
}

fn looks_ahead(node: &Node) -> bool {
    match node {
        Node::Place(place) => {
            !matches!(place, Place::Start | Place::LineStart | Place::SearchStart)
        }
        Node::Look { behind, .. } => !behind,
        _ => false,
    }
}

/// Whether every match begins with this place.
fn always_begins(node: &Node, place: Place) -> bool {
    match node {
        Node::Place(other) => *other == place,
        Node::Group { node, .. } | Node::Atomic(node) => always_begins(node, place),
        Node::Concat(nodes) => nodes.first().is_some_and(|node| always_begins(node, place)),
        Node::Alternate(nodes) => nodes.iter().all(|node| always_begins(node, place)),
        Node::Repeat { node, min, .. } => *min > 0 && always_begins(node, place),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
