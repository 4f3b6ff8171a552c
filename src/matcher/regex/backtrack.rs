//! The bounded backtracking engine, for what no automaton can say: references, look-around, atomic
//! groups, conditionals.
//!
//! What lives here: the machine that runs a program (program.rs). What does not: compiling.
//! Invariants: no recursion (ways back and old values stand on one stack of a fixed size), no
//! allocation after `reserve`, and an end: each step is counted against a bound. Three bounds:
//! ways back of one attempt (what PCRE2 calls the match limit, and Suricata sets to 3,500), steps
//! of the whole search, and the stack's height. Reaching any of them is `Found::Limit`: no match.
//!
//! ```text
//!   for each position where a match may begin:
//!       run steps; a step that has two ways pushes the other; a register's old value is pushed
//!       step fails: pop; an old value is put back; a way back is taken; empty stack: next position
//! ```
//! An atomic group or a look-around that has held removes the ways back above its mark and keeps
//! the old values, since going back further down must restore those, too.

use super::linear::{Anchor, Found};
use super::program::{Program, Step, UNSET};
use super::syntax::{Greed, Place};

/// Height of a worker's stack: 192 KiB.
pub const STACK_LEN_MAX: usize = 16 * 1024;

/// Bounds of one search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Ways back that one attempt (one position of the subject) may take up.
    pub choices_max: u32,
    /// Steps of the whole search, besides some for each byte of the subject.
    pub steps_max: u32,
}

/// Steps allowed for each byte of the subject: an attempt that fails at its first byte takes two.
const STEPS_PER_BYTE: u64 = 4;
/// Bytes of a run that count as one step.
const RUN_BYTES_PER_STEP: u64 = 8;

/// What is pushed. Kept small: the stack is a worker's largest memory.
#[derive(Clone, Copy)]
enum Frame {
    /// Go on at `to`, from `position`.
    Choice { to: u32, position: u32 },
    /// A run that may give bytes back: go on behind step `at`, from positions `last` to `least`.
    Less { at: u32, last: u32, least: u32 },
    /// A lazy run (step `at`) that may take one more, having taken `taken`.
    More { at: u32, position: u32, taken: u32 },
    /// A lazy loop (step `at`) that may go one more round.
    Round { at: u32, position: u32 },
    /// A register's old value.
    Old { register: u32, value: u32 },
}

const _: () = assert!(size_of::<Frame>() <= 16);

/// The part of a worker's cache that this engine uses.
pub struct BacktrackCache {
    stack: Vec<Frame>,
    registers: Vec<u32>,
}

impl Default for BacktrackCache {
    fn default() -> Self {
        Self {
            stack: Vec::with_capacity(STACK_LEN_MAX),
            registers: Vec::with_capacity(64),
        }
    }
}

impl BacktrackCache {
    /// Grows the cache to what `program` needs, so that no search allocates.
    pub fn reserve(&mut self, program: &Program) {
        if self.registers.len() < program.registers {
            self.registers.resize(program.registers, UNSET);
        }
    }

    /// Span of a group of the last match.
    pub fn group(&self, group: u32) -> Option<(usize, usize)> {
        let slot = |index: u32| self.registers.get(index as usize).copied();
        let (start, end) = (slot(2 * group)?, slot(2 * group + 1)?);
        (start != UNSET && end != UNSET).then_some((start as usize, end as usize))
    }
}

/// How an attempt ended.
enum Attempt {
    Matched(u32),
    Failed,
    Limit,
}

/// Searches for the leftmost match that begins at `start` or after.
pub fn find(
    program: &Program,
    cache: &mut BacktrackCache,
    subject: &[u8],
    start: usize,
    limits: &Limits,
) -> Found {
    // Positions have 32 bits; no buffer of ours is near that.
    if subject.len() >= UNSET as usize {
        return Found::Limit;
    }
    if start > subject.len() || (program.anchor == Anchor::Subject && start > 0) {
        return Found::Nothing;
    }
    cache.reserve(program);
    cache.stack.clear();
    cache
        .registers
        .iter_mut()
        .take(program.registers)
        .for_each(|value| *value = UNSET);
    let steps_left = u64::from(limits.steps_max) + STEPS_PER_BYTE * (subject.len() - start) as u64;
    let mut machine = Machine {
        program,
        subject,
        cache,
        search_start: start as u32,
        steps_left,
    };
    let mut position = start;
    loop {
        if program.anchor == Anchor::None && program.first.len() < 256 {
            let rest = subject.get(position..).unwrap_or_default();
            let Some(skip) = rest.iter().position(|&byte| program.first.contains(byte)) else {
                return Found::Nothing;
            };
            position += skip;
        }
        if subject.len().saturating_sub(position) < program.length_least {
            return Found::Nothing;
        }
        match machine.attempt(position as u32, limits.choices_max) {
            Attempt::Matched(end) => {
                let start = machine
                    .cache
                    .registers
                    .first()
                    .map_or(0, |&start| start.min(end));
                return Found::Match {
                    start: start as usize,
                    end: end as usize,
                };
            }
            Attempt::Limit => return Found::Limit,
            Attempt::Failed if program.anchor != Anchor::None => return Found::Nothing,
            Attempt::Failed => position += 1,
        }
        if position > subject.len() {
            return Found::Nothing;
        }
    }
}

struct Machine<'a> {
    program: &'a Program,
    subject: &'a [u8],
    cache: &'a mut BacktrackCache,
    search_start: u32,
    steps_left: u64,
}

/// What a step does: go on with the next, go elsewhere, or go back.
enum Next {
    Step(u32),
    Back,
    Matched,
    Limit,
}

impl Machine<'_> {
    /// Tries for a match that begins at `start`.
    fn attempt(&mut self, start: u32, choices_max: u32) -> Attempt {
        // A failed attempt has put all registers back but the one that names its start.
        if let Some(first) = self.cache.registers.first_mut() {
            *first = start;
        }
        let mut position = start;
        let mut at = 0;
        let mut choices_left = choices_max;
        loop {
            if self.steps_left == 0 {
                return Attempt::Limit;
            }
            self.steps_left -= 1;
            let next = match self.program.steps.get(at as usize) {
                Some(&step) => self.step(step, at, &mut position),
                None => Next::Back,
            };
            match next {
                Next::Step(to) => at = to,
                Next::Matched => return Attempt::Matched(position),
                Next::Limit => return Attempt::Limit,
                Next::Back => match self.back(&mut position, &mut choices_left) {
                    Next::Step(to) => at = to,
                    Next::Limit => return Attempt::Limit,
                    Next::Back | Next::Matched => return Attempt::Failed,
                },
            }
        }
    }

    /// Runs one step at the position, which it moves.
    #[inline(always)]
    fn step(&mut self, step: Step, at: u32, position: &mut u32) -> Next {
        let next = Next::Step(at + 1);
        match step {
            Step::Match => Next::Matched,
            Step::Fail => Next::Back,
            Step::Byte(byte) if self.byte(*position) == Some(byte) => {
                *position += 1;
                next
            }
            Step::Set(set) if self.in_set(set, *position) => {
                *position += 1;
                next
            }
            Step::Byte(_) | Step::Set(_) => Next::Back,
            Step::Literal { at, len, caseless } => self.literal(at, len, caseless, position, next),
            Step::Run {
                set,
                min,
                max,
                greed,
            } => self.run(at, set, (min, max), greed, position),
            Step::Place(place) => go_if(self.holds(place, *position), next),
            Step::Jump(to) => Next::Step(to),
            Step::Split { first, second } => self.push(
                Frame::Choice {
                    to: second,
                    position: *position,
                },
                Next::Step(first),
            ),
            Step::Reference { group, caseless } => self.reference(group, caseless, position, next),
            Step::IfGroup { group, no } => {
                let has_matched = self.read(2 * group + 1) != UNSET;
                if has_matched { next } else { Next::Step(no) }
            }
            Step::Loop { .. } => self.round(step, at, *position),
            _ => self.bookkeeping(step, next, position),
        }
    }

    /// Runs a step that looks at no byte: registers, marks and what they decide.
    #[inline(always)]
    fn bookkeeping(&mut self, step: Step, next: Next, position: &mut u32) -> Next {
        match step {
            Step::Save { register } => self.write(register, *position, next),
            Step::Put { register, value } => self.write(register, value, next),
            Step::Close { group, open } => {
                let start = self.read(open);
                match self.write(2 * group, start, next) {
                    Next::Step(to) => self.write(2 * group + 1, *position, Next::Step(to)),
                    limit => limit,
                }
            }
            Step::Mark { height } => self.mark(height, next),
            Step::MarkOr { height, exit } => match self.mark(height, next) {
                Next::Step(to) => self.push(
                    Frame::Choice {
                        to: exit,
                        position: *position,
                    },
                    Next::Step(to),
                ),
                limit => limit,
            },
            Step::Cut { height } => {
                self.cut(self.read(height) as usize);
                next
            }
            Step::CutAndFail { height } => {
                self.undo(self.read(height) as usize);
                Next::Back
            }
            Step::Restore { register } => {
                *position = self.read(register);
                next
            }
            Step::At { register } => go_if(self.read(register) == *position, next),
            Step::Behind(length) => match position.checked_sub(length) {
                Some(before) => {
                    *position = before;
                    next
                }
                None => Next::Back,
            },
            _ => Next::Back,
        }
    }

    /// Takes the last way back. `Next::Back` where there is none.
    fn back(&mut self, position: &mut u32, choices_left: &mut u32) -> Next {
        while let Some(frame) = self.cache.stack.pop() {
            if let Frame::Old { register, value } = frame {
                self.put_back(register, value);
                continue;
            }
            if *choices_left == 0 {
                return Next::Limit;
            }
            *choices_left -= 1;
            match frame {
                Frame::Choice { to, position: then } => {
                    *position = then;
                    return Next::Step(to);
                }
                Frame::Less { at, last, least } => {
                    *position = last;
                    if last > least {
                        // There was room for the frame that was just popped.
                        self.cache.stack.push(Frame::Less {
                            at,
                            last: last - 1,
                            least,
                        });
                    }
                    return Next::Step(at + 1);
                }
                Frame::More {
                    at,
                    position: then,
                    taken,
                } => {
                    *position = then;
                    if let Some(Step::Run { set, max, .. }) = self.program.steps.get(at as usize)
                        && self.in_set(*set, then)
                    {
                        *position += 1;
                        let taken = taken + 1;
                        if taken < *max {
                            let position = *position;
                            self.cache.stack.push(Frame::More {
                                at,
                                position,
                                taken,
                            });
                        }
                        return Next::Step(at + 1);
                    }
                }
                Frame::Round { at, position: then } => {
                    *position = then;
                    if let Some(&Step::Loop {
                        counter,
                        begin,
                        body,
                        ..
                    }) = self.program.steps.get(at as usize)
                    {
                        return self.enter(counter, begin, body, then);
                    }
                }
                Frame::Old { .. } => {}
            }
        }
        Next::Back
    }

    #[inline(always)]
    fn byte(&self, position: u32) -> Option<u8> {
        self.subject.get(position as usize).copied()
    }

    #[inline(always)]
    fn in_set(&self, set: u32, position: u32) -> bool {
        let set = self.program.sets.get(set as usize);
        set.zip(self.byte(position))
            .is_some_and(|(set, byte)| set.contains(byte))
    }

    #[inline(always)]
    fn read(&self, register: u32) -> u32 {
        self.cache
            .registers
            .get(register as usize)
            .copied()
            .unwrap_or(UNSET)
    }

    #[inline(always)]
    fn put_back(&mut self, register: u32, value: u32) {
        if let Some(place) = self.cache.registers.get_mut(register as usize) {
            *place = value;
        }
    }

    /// Pushes, if the stack has room, and goes on with `next`.
    #[inline(always)]
    fn push(&mut self, frame: Frame, next: Next) -> Next {
        if self.cache.stack.len() >= STACK_LEN_MAX {
            return Next::Limit;
        }
        self.cache.stack.push(frame);
        next
    }

    /// Writes a register and notes its old value.
    fn write(&mut self, register: u32, value: u32, next: Next) -> Next {
        let old = self.read(register);
        self.put_back(register, value);
        self.push(
            Frame::Old {
                register,
                value: old,
            },
            next,
        )
    }

    fn mark(&mut self, height: u32, next: Next) -> Next {
        // The old height's own frame lies below the mark.
        let top = self.cache.stack.len() as u32 + 1;
        self.write(height, top, next)
    }

    /// Removes ways back above `height` and keeps old values.
    fn cut(&mut self, height: usize) {
        let stack = &mut self.cache.stack;
        let above = stack.len().saturating_sub(height);
        self.steps_left = self
            .steps_left
            .saturating_sub(above as u64 / RUN_BYTES_PER_STEP);
        let mut kept = height;
        for index in height..stack.len() {
            if let Some(&frame @ Frame::Old { .. }) = stack.get(index) {
                if let Some(place) = stack.get_mut(kept) {
                    *place = frame;
                }
                kept += 1;
            }
        }
        stack.truncate(kept);
    }

    /// Removes all above `height` and puts old values back.
    fn undo(&mut self, height: usize) {
        while self.cache.stack.len() > height {
            if let Some(Frame::Old { register, value }) = self.cache.stack.pop() {
                self.put_back(register, value);
            }
        }
    }

    fn literal(&self, at: u32, len: u32, caseless: bool, position: &mut u32, next: Next) -> Next {
        let wanted = self.program.pool.get(at as usize..(at + len) as usize);
        let (from, until) = (*position as usize, *position as usize + len as usize);
        let same = match wanted.zip(self.subject.get(from..until)) {
            Some((wanted, there)) if caseless => wanted.eq_ignore_ascii_case(there),
            Some((wanted, there)) => wanted == there,
            None => false,
        };
        *position += if same { len } else { 0 };
        go_if(same, next)
    }

    fn reference(&self, group: u32, caseless: bool, position: &mut u32, next: Next) -> Next {
        let (start, end) = (self.read(2 * group), self.read(2 * group + 1));
        if start == UNSET || end == UNSET {
            return Next::Back;
        }
        let wanted = self.subject.get(start as usize..end as usize);
        let from = *position as usize;
        let there = wanted.and_then(|wanted| self.subject.get(from..from + wanted.len()));
        let same = match wanted.zip(there) {
            Some((wanted, there)) if caseless => wanted.eq_ignore_ascii_case(there),
            Some((wanted, there)) => wanted == there,
            None => false,
        };
        *position += if same { end - start } else { 0 };
        go_if(same, next)
    }

    /// Takes a run of bytes and notes how it could be shorter or longer.
    fn run(
        &mut self,
        at: u32,
        set: u32,
        (min, max): (u32, u32),
        greed: Greed,
        position: &mut u32,
    ) -> Next {
        let Some(set) = self.program.sets.get(set as usize) else {
            return Next::Back;
        };
        let first = *position;
        let wanted = if greed == Greed::Lazy { min } else { max };
        let rest = self.subject.get(first as usize..).unwrap_or_default();
        if rest.len() < min as usize {
            return Next::Back;
        }
        let rest = rest.get(..wanted as usize).unwrap_or(rest);
        let taken = rest
            .iter()
            .position(|&byte| !set.contains(byte))
            .unwrap_or(rest.len()) as u32;
        self.steps_left = self
            .steps_left
            .saturating_sub(u64::from(taken) / RUN_BYTES_PER_STEP);
        if taken < min {
            return Next::Back;
        }
        *position = first + taken;
        let next = Next::Step(at + 1);
        match greed {
            Greed::Greedy if taken > min => {
                let (last, least) = (first + taken - 1, first + min);
                self.push(Frame::Less { at, last, least }, next)
            }
            Greed::Lazy if taken < max => self.push(
                Frame::More {
                    at,
                    position: *position,
                    taken,
                },
                next,
            ),
            _ => next,
        }
    }

    /// The head of a loop: another round, or on.
    fn round(&mut self, step: Step, at: u32, position: u32) -> Next {
        let Step::Loop {
            counter,
            begin,
            min,
            max,
            greed,
            body,
            exit,
        } = step
        else {
            return Next::Back;
        };
        let count = self.read(counter);
        let was_empty = begin != UNSET && count > 0 && self.read(begin) == position;
        if was_empty && count >= min {
            return Next::Step(exit);
        }
        if count < min {
            return self.enter(counter, begin, body, position);
        }
        if count >= max {
            return Next::Step(exit);
        }
        if greed == Greed::Lazy {
            return self.push(Frame::Round { at, position }, Next::Step(exit));
        }
        match self.push(Frame::Choice { to: exit, position }, Next::Back) {
            Next::Limit => Next::Limit,
            _ => self.enter(counter, begin, body, position),
        }
    }

    /// Begins a round.
    fn enter(&mut self, counter: u32, begin: u32, body: u32, position: u32) -> Next {
        let next = self.write(
            counter,
            self.read(counter).wrapping_add(1),
            Next::Step(body),
        );
        match next {
            Next::Step(to) if begin != UNSET => self.write(begin, position, Next::Step(to)),
            next => next,
        }
    }

    fn holds(&self, place: Place, position: u32) -> bool {
        let at = position as usize;
        let before = at
            .checked_sub(1)
            .and_then(|before| self.subject.get(before))
            .copied();
        let here = self.byte(position);
        let is_end = here.is_none();
        let is_word = |byte: Option<u8>| {
            byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        match place {
            Place::Start => at == 0,
            Place::LineStart => at == 0 || (before == Some(b'\n') && !is_end),
            Place::End => is_end,
            Place::LineEnd => is_end || here == Some(b'\n'),
            Place::EndOrFinalNewline => {
                is_end || (here == Some(b'\n') && at + 1 == self.subject.len())
            }
            Place::WordBoundary => is_word(before) != is_word(here),
            Place::NotWordBoundary => is_word(before) == is_word(here),
            Place::SearchStart => position == self.search_start,
        }
    }
}

fn go_if(holds: bool, next: Next) -> Next {
    if holds { next } else { Next::Back }
}
