//! What a rule says of a transaction: whether all of its buffers and numbers hold, may hold later,
//! or never will. What need not be asked again when more has come is noted with those that wait
//! (seen.rs): a view that holds, an instance that never will, and how far a content that is nowhere
//! yet was looked for, so that a body that grows is searched once and not with each of its pieces.

use super::app::Place;
use super::app_program::AppRule;
use super::feed::TCP;
use super::header::Packet;
use super::program::Rule;
use super::seen::{PAYLOAD, Wait};
use super::transform::Room;
use super::verify::{Lack, Outcome, Scratch, View};
use super::{DetectionAccess, FlowMark, MatchStage, state};
use crate::app::{Field, Progress};
use crate::packet::{Direction, Kind};
use crate::rules::signature::{AppTest, Signature, Which};

/// What a rule says of a transaction so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Holds,
    Later,
    Never,
}

impl Answer {
    fn and(self, other: Answer) -> Answer {
        match (self, other) {
            (Answer::Never, _) | (_, Answer::Never) => Answer::Never,
            (Answer::Later, _) | (_, Answer::Later) => Answer::Later,
            _ => Answer::Holds,
        }
    }
}

impl<D: DetectionAccess> MatchStage<D> {
    /// What all buffers and numbers of a rule say of a transaction.
    pub(super) fn answer(
        &mut self,
        place: Place,
        signature: &Signature,
        (wait, rule): (&mut Wait, &Rule),
        packet: &Packet,
        mark: &FlowMark,
    ) -> Answer {
        let Place { index, direction } = place;
        self.scratch.captured.clear();
        let mut answer = Answer::Holds;
        for test in &signature.app {
            answer = answer.and(self.number_answer(index, direction, test));
        }
        for (number, view) in rule.app.iter().enumerate() {
            if answer == Answer::Never {
                return answer;
            }
            if !wait.has_held(number) {
                answer = answer.and(self.view_answer(place, (number, view), wait));
            }
        }
        // A stream only makes a rule wait, which it does already.
        let waits = answer == Answer::Later && may_wait(packet);
        if answer != Answer::Never && !rule.payload.is_empty() && !waits {
            answer = answer.and(self.payload_answer(place, (wait, rule), packet, mark));
        }
        answer
    }

    #[inline(never)]
    fn number_answer(&self, index: u32, direction: Direction, test: &AppTest) -> Answer {
        let Some(apps) = self.apps.as_ref() else {
            return Answer::Never;
        };
        let Some(transaction) = apps.transaction(index) else {
            return Answer::Never;
        };
        if let Which::Reached(progress) = test.which {
            return match test.side {
                Some(side) if side != direction => Answer::Never,
                _ if transaction.progress[direction.index()] >= progress => Answer::Holds,
                _ => Answer::Later,
            };
        }
        if matches!(test.which, Which::NotYet(_)) && test.side != Some(direction) {
            return Answer::Never;
        }
        let direction = test.side.unwrap_or(direction);
        let known = transaction.knows(test.field, direction);
        let mut found = transaction
            .instances_of(&apps.shared.heap, test.field, direction)
            .map(|i| test.any_of.iter().any(|compare| compare.test(i.number())));
        let holds = match test.which {
            Which::Any if test.slice == (0, 0) => found.any(|holds| holds),
            Which::At(place @ 0..) if test.slice == (0, 0) => {
                found.nth(place as usize) == Some(true)
            }
            Which::NotYet(reached) => {
                let come = transaction.progress[direction.index()];
                let over = reached.is_some_and(|progress| come >= progress);
                let over = over || found.any(|holds| holds);
                return if over { Answer::Never } else { Answer::Holds };
            }
            // Which one is the last, how many there are and whether all do is known at the end.
            _ if !known => return Answer::Later,
            which => which_hold(which, test.slice, &found),
        };
        match (holds, test.negated) {
            (true, false) => Answer::Holds,
            (true, true) => Answer::Never,
            (false, _) if !known => Answer::Later,
            (false, negated) => {
                if negated {
                    Answer::Holds
                } else {
                    Answer::Never
                }
            }
        }
    }

    /// What a view says; what need not be asked again is noted in `wait`.
    fn view_answer(
        &mut self,
        Place { index, direction }: Place,
        (number, view): (usize, &AppRule),
        wait: &mut Wait,
    ) -> Answer {
        let direction = view.side.unwrap_or(direction);
        let Some(apps) = self.apps.as_ref() else {
            return Answer::Never;
        };
        let Some(transaction) = apps.transaction(index) else {
            return Answer::Never;
        };
        let heap = &apps.shared.heap;
        if view.field == Field::DcerpcStubData {
            let order = transaction.number_of(heap, Field::DcerpcLittleEndian, direction);
            self.scratch.set_dce_little(order == Some(1));
        }
        // Nothing is kept of what is written over, or read in a byte order that may come later.
        let keeps = !matches!(view.field, Field::FileInfo | Field::DcerpcStubData);
        let mut best = Answer::Never;
        let mut count = 0;
        for instance in transaction.instances_of(heap, view.field, direction) {
            let place = count;
            count += 1;
            if view.absent == Some(false) {
                return Answer::Never;
            }
            if place < wait.failed(number) {
                continue;
            }
            let end = instance.ended();
            let data = transaction.bytes(heap, &instance);
            if !view.transforms.is_empty() && !end {
                best = Answer::Later;
                continue;
            }
            let next = keeps && place == wait.failed(number);
            let known = wait.lacks(number).filter(|_| next);
            let (scratch, room) = (&mut self.scratch, &mut self.room);
            match outcome_of(view, (data, end), known, scratch, room) {
                (Outcome::Match, _) => {
                    if keeps && view.absent.is_none() {
                        wait.hold(number);
                    }
                    return Answer::Holds;
                }
                (Outcome::Unsettled, _) => best = Answer::Later,
                (Outcome::No, lack) => {
                    if lack != Lack::Hope {
                        best = Answer::Later;
                    }
                    if next {
                        wait.note(number, lack, data.len() as u32);
                    }
                }
            }
        }
        let known = transaction.knows(view.field, direction);
        match view.absent {
            _ if !known => Answer::Later,
            Some(_) if count == 0 => Answer::Holds,
            _ => best,
        }
    }

    /// Contents outside of application buffers: in the stream at hand, or in the datagram.
    #[inline(never)]
    fn payload_answer(
        &mut self,
        Place { index, direction }: Place,
        (wait, rule): (&mut Wait, &Rule),
        packet: &Packet,
        mark: &FlowMark,
    ) -> Answer {
        let number = wait.signature;
        let window = if mark.slab == state::NONE {
            state::NONE
        } else {
            self.slabs.windows(mark.slab)[direction.index()]
        };
        // Where a message ends, so do the bytes that a rule on it looks at.
        let complete = self.apps.as_ref().is_some_and(|apps| {
            apps.transaction(index).is_some_and(|transaction| {
                transaction.progress[direction.index()] == Progress::Complete
            })
        });
        if !self.inline && self.windows.matched_in_chunk(window, number) {
            return Answer::Later;
        }
        // What it matched in, in an earlier chunk, is no match of this one.
        let floor = match self.inline || window == state::NONE {
            true => 0,
            false => self.windows.floor(window, number, false),
        };
        let in_stream = window != state::NONE;
        let start = in_stream.then(|| self.windows.base(window) + floor as u64);
        let view = match start {
            Some(start) => View {
                data: self.windows.data(window).get(floor..).unwrap_or(&[]),
                base: match floor > 0 && rule.is_placed {
                    true => 0,
                    false => start,
                },
                end: complete || packet.context.kind == Kind::FlowEnd,
            },
            None => View::whole(packet.payload()),
        };
        let outcome = match floor > 0 && view.data.is_empty() {
            true => Outcome::No,
            false => payload_outcome(rule, &view, start, wait, &mut self.scratch),
        };
        match outcome {
            Outcome::Match => Answer::Holds,
            _ if may_wait(packet) => Answer::Later,
            _ => Answer::Never,
        }
    }
}

/// Whether more of the packet's stream may come.
fn may_wait(packet: &Packet) -> bool {
    packet.context.protocol == TCP && packet.context.kind != Kind::FlowEnd
}

/// What a view's tests say of an instance, of which a content may be known to have been lacking.
fn outcome_of(
    view: &AppRule,
    (data, end): (&[u8], bool),
    known: Option<(u8, u32)>,
    scratch: &mut Scratch,
    room: &mut Room,
) -> (Outcome, Lack) {
    if !view.transforms.is_empty() {
        let regexes = scratch.regexes();
        let outcome = match room.apply(&view.transforms, regexes, data) {
            Some(data) => scratch.verify(&view.steps, &View::whole(data)),
            None => Outcome::No,
        };
        return (outcome, Lack::Hope);
    }
    if let Some((step, sought)) = known
        && scratch.still_lacks(&view.steps, step, data, sought as usize)
    {
        let lack = if end { Lack::Hope } else { Lack::Content(step) };
        return (Outcome::No, lack);
    }
    let outcome = scratch.verify(&view.steps, &View { data, base: 0, end });
    (outcome, if end { Lack::Hope } else { scratch.lack() })
}

/// What the contents outside of application buffers say of a datagram, or of stream bytes of which
/// the first is the stream's byte `start`, whatever position the view counts from.
pub(super) fn payload_outcome(
    rule: &Rule,
    view: &View,
    start: Option<u64>,
    wait: &mut Wait,
    scratch: &mut Scratch,
) -> Outcome {
    let Some(start) = start else {
        return scratch.verify(&rule.payload, view);
    };
    let payload = usize::from(PAYLOAD);
    let end = start.wrapping_add(view.data.len() as u64) as u32;
    if let Some((step, sought)) = wait.lacks(payload) {
        let sought = (sought.wrapping_sub(start as u32) as i32).max(0) as usize;
        // Low bits that no longer mean a place in these bytes mean nothing.
        let sought = if sought > view.data.len() { 0 } else { sought };
        if scratch.still_lacks(&rule.payload, step, view.data, sought) {
            wait.note(payload, Lack::Content(step), end);
            return Outcome::No;
        }
    }
    let outcome = scratch.verify(&rule.payload, view);
    if let (Outcome::No, lack @ Lack::Content(_)) = (outcome, scratch.lack()) {
        wait.note(payload, lack, end);
    }
    outcome
}

/// Whether those of the instances that a rule means hold, `found` being what each says and the part
/// of them that counts going from one place to another, from the end where negative.
pub(super) fn which_hold(
    which: Which,
    (start, end): (i32, i32),
    found: &(impl Iterator<Item = bool> + Clone),
) -> bool {
    let count = found.clone().count() as i64;
    let place = |at: i32| {
        if at < 0 {
            count + i64::from(at)
        } else {
            i64::from(at)
        }
    };
    let (low, high) = (place(start), if end == 0 { count } else { place(end) });
    let length = if low < 0 || high > count || low >= high {
        0
    } else {
        (high - low) as usize
    };
    let mut part = found.clone().skip(low.max(0) as usize).take(length);
    let at = |at: i32| match at {
        0.. => Some(at as usize),
        _ => length.checked_sub(at.unsigned_abs() as usize),
    };
    match which {
        Which::Any => part.any(|holds| holds),
        Which::AnyOrNone => length == 0 || part.any(|holds| holds),
        Which::All => length > 0 && part.all(|holds| holds),
        Which::AllOrNone => part.all(|holds| holds),
        Which::At(place) => at(place).and_then(|place| part.nth(place)) == Some(true),
        Which::AtOrOut(place) => at(place).and_then(|place| part.nth(place)).unwrap_or(true),
        Which::Matches(compare) => compare.test(part.filter(|holds| *holds).count() as u64),
        Which::Count(compare) => compare.test(length as u64),
        Which::Reached(_) | Which::NotYet(_) => false,
    }
}
