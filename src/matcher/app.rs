//! Detection on transactions: the match stage feeds the parsers of app/, and evaluates rules with
//! application buffers on what they find.
//!
//! ```text
//!  piece of a flow ─► Apps::feed ─► transactions that changed
//!     new bytes of instances ─► automata by field, transforms and direction ─► candidates
//!     candidates, and those that wait ─► each buffer: holds / may hold later / never
//!         all hold ─► state ─► hit      one never ─► forgotten      else it waits in the record
//! ```
//! A rule hits once in a transaction and direction. What is not there yet may come (a body that
//! grows); what stage of a transaction says that it won't is `Field::known_at`.

use super::again::Repeat;
use super::app_program::AppRule;
use super::check::{Check, apps_of, ask};
use super::detect::push;
use super::feed::TCP;
use super::gate::Facts;
use super::header::{self, Packet};
use super::prefilter::{Extent, Scan};
use super::program::{Program, Rule};
use super::seen::Seen;
use super::verify::{Outcome, View};
use super::{DetectionAccess, FlowMark, FlowVerdict, Hit, MatchStage, profile, state};
use crate::app::transaction::NONE;
use crate::app::{AppProtocol, Field, Instance, Progress};
use crate::counters::Counter;
use crate::event::Emit;
use crate::packet::{Context, Direction, Kind};
use crate::rules::signature::{AppTest, Signature, Which};

/// Transactions of a flow looked at for one packet at most.
const TRANSACTIONS_MAX: usize = 4096;
/// What a rule says of a transaction so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
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
    /// Evaluates rules on the transactions of the flow that changed.
    pub(super) fn inspect_transactions(
        &mut self,
        program: &Program,
        app: u32,
        context: &Context,
        bytes: &[u8],
        mark: &mut FlowMark,
        emit: &Emit,
    ) {
        let packet = Packet {
            context,
            bytes,
            app: self.app_protocol(mark),
            original: self.app_original(mark),
            app_new: header::AppNew::No,
        };
        self.flow_events(program, app, &packet, mark);
        let first = match self.apps.as_ref().and_then(|apps| apps.state(app)) {
            Some(state) => state.first,
            None => return,
        };
        let mut next = first;
        for _ in 0..TRANSACTIONS_MAX {
            let Some(transaction) = self.apps.as_ref().and_then(|apps| apps.transaction(next))
            else {
                break;
            };
            let after = transaction.next;
            let touched = transaction.touched;
            // A rule about both directions may wait in the record of either.
            let both = touched != [false; 2] && program.app.has_transactional();
            for direction in [Direction::ToServer, Direction::ToClient] {
                if both || touched[direction.index()] {
                    self.inspect_transaction(program, next, direction, &packet, mark, emit);
                }
            }
            next = after;
        }
    }

    /// The end of a flow: parsers and rules see the end of everything.
    pub(super) fn end_app(
        &mut self,
        program: &Program,
        context: &Context,
        mark: &mut FlowMark,
        emit: &Emit,
    ) {
        let app = self.slabs.app(mark.slab);
        if app == state::NONE {
            return;
        }
        if let Some(apps) = self.apps.as_mut() {
            apps.finish(app);
        }
        if mark.verdict == FlowVerdict::Inspect {
            self.inspect_transactions(program, app, context, &[], mark, emit);
        }
    }

    /// Rules that wait for an event of the flow alone.
    fn flow_events(&mut self, program: &Program, app: u32, packet: &Packet, mark: &mut FlowMark) {
        let Some(state) = self.apps.as_ref().and_then(|apps| apps.state(app)) else {
            return;
        };
        let count = usize::from(state.event_count);
        let events = state.events;
        for (event, direction) in events.iter().take(count) {
            for index in program.app.for_event(event.0) {
                let (Some(check), Some((signature, rule))) =
                    (program.checks.get(*index), program.rule(*index))
                else {
                    continue;
                };
                let alone = rule.app.is_empty() && signature.app.len() == 1;
                if alone
                    && program.fits(*index, check, (packet, packet.app), *direction)
                    && header::tests_hold(&signature.packet, packet)
                    && self.state_holds(signature, packet.context, mark)
                {
                    self.app_hit(*index, NONE, signature, *direction, packet.context, mark);
                }
            }
        }
    }

    fn app_hit(
        &mut self,
        index: u32,
        transaction: u32,
        signature: &Signature,
        direction: Direction,
        context: &Context,
        mark: &mut FlowMark,
    ) {
        let hit = Hit {
            signature: index,
            stream: true,
            window: state::NONE,
            transaction,
            direction,
        };
        self.hit(hit, signature, context, mark);
    }

    /// The record of a direction of a transaction, made when it is first needed.
    fn record(&mut self, index: u32, direction: Direction) -> Option<u32> {
        let (transaction, _) = self.apps.as_mut()?.transaction_mut(index)?;
        let place = &mut transaction.detection[direction.index()];
        if *place == NONE {
            match self.seen.take(Seen::of(self.renewal.to)) {
                Some(record) => *place = record,
                None => {
                    self.lost += 1;
                    return None;
                }
            }
        }
        Some(*place)
    }

    fn inspect_transaction(
        &mut self,
        program: &Program,
        index: u32,
        direction: Direction,
        packet: &Packet,
        mark: &mut FlowMark,
        emit: &Emit,
    ) {
        let record = self.record(index, direction);
        let mut seen = record
            .and_then(|record| self.seen.get(record).cloned())
            .unwrap_or_default();
        if self.renewed {
            seen.renew(&self.renewal);
        }
        self.candidates.clear();
        for signature in seen.waiting.iter().take(usize::from(seen.waiting_count)) {
            self.candidates.push(u64::from(*signature));
        }
        let known = self.candidates.len();
        self.propose_transaction(program, index, direction, &mut seen, emit);
        if let Some((transaction, _)) = self.apps.as_mut().and_then(|a| a.transaction_mut(index)) {
            transaction.touched[direction.index()] = false;
        }
        // Those that are new come behind those that wait; the order of evaluation is the numbers'.
        let mut candidates = std::mem::take(&mut self.candidates);
        if let Some(tail) = candidates.get_mut(known..) {
            for candidate in tail {
                *candidate |= FRESH;
            }
        }
        candidates.sort_unstable_by_key(|candidate| (*candidate & !FRESH, *candidate & FRESH));
        candidates.dedup_by_key(|candidate| *candidate & !FRESH);
        seen.waiting_count = 0;
        emit.counters
            .add(Counter::Candidates, candidates.len() as u64);
        let place = Place { index, direction };
        for candidate in candidates.drain(..) {
            self.profile
                .next(program.costs(), (candidate & !FRESH) as u32);
            self.decide_candidate(program, candidate, place, &mut seen, packet, mark);
        }
        self.profile.done(program.costs());
        self.candidates = candidates;
        if let Some(place) = record.and_then(|record| self.seen.get_mut(record)) {
            place.clone_from(&seen);
        }
    }

    /// Asks one candidate; it hits, waits or is forgotten.
    fn decide_candidate(
        &mut self,
        program: &Program,
        candidate: u64,
        place: Place,
        seen: &mut Seen,
        packet: &Packet,
        mark: &mut FlowMark,
    ) {
        let Place { index, direction } = place;
        let number = (candidate & !FRESH) as u32;
        let Some(check) = program.checks.get(number) else {
            return;
        };
        let transactional = check.has(ask::TRANSACTIONAL);
        let hits = seen.hits(number);
        let again = |(signature, _): (&Signature, &Rule)| signature.per_file;
        if !check.has(ask::RUNS)
            || (hits > 0 && !program.rule(number).is_some_and(again))
            || (transactional && self.has_matched(index, direction, number))
        {
            return;
        }
        // The header of a rule about both directions is the client's.
        let towards = if transactional {
            Direction::ToServer
        } else {
            direction
        };
        let fresh = candidate & FRESH != 0;
        if fresh && !program.fits(number, check, (packet, packet.app), towards) {
            return;
        }
        let Some((signature, rule)) = program.rule(number) else {
            return;
        };
        if fresh
            && !(self.speaks(index, (check, signature), packet.app)
                && header::tests_hold(&signature.packet, packet))
        {
            return;
        }
        self.profile.checked();
        match self.answer(index, direction, signature, (number, rule), packet, mark) {
            Answer::Never => {}
            Answer::Later => self.lost += u64::from(!seen.wait(number)),
            Answer::Holds => {
                let repeat = self.repeat(place, signature, rule);
                let ends = packet.context.kind == Kind::FlowEnd;
                match repeat {
                    Repeat::Stays if ends && !fresh => return,
                    Repeat::Files(count) if count <= hits => {
                        self.lost += u64::from(!seen.wait(number));
                        return;
                    }
                    _ => {}
                }
                if self.state_holds(signature, packet.context, mark) {
                    self.lost += u64::from(!repeat.note(seen, number, hits));
                    self.note_in_chunk(rule, number, direction, mark);
                    self.profile.matched();
                    self.app_hit(number, index, signature, direction, packet.context, mark);
                }
            }
        }
    }

    /// What stood in the stream counts once a chunk.
    fn note_in_chunk(&mut self, rule: &Rule, number: u32, direction: Direction, mark: &FlowMark) {
        if !rule.payload.is_empty() && mark.slab != state::NONE && !self.inline {
            let window = self.slabs.windows(mark.slab)[direction.index()];
            let kept = window == state::NONE || self.windows.note_match_in_chunk(window, number);
            self.lost += u64::from(!kept);
        }
    }

    /// Whether a rule about both directions hit already in the other one's record.
    fn has_matched(&self, index: u32, direction: Direction, signature: u32) -> bool {
        let other = direction.opposite().index();
        let transaction = self.apps.as_ref().and_then(|apps| apps.transaction(index));
        transaction
            .and_then(|transaction| self.seen.get(transaction.detection[other]))
            .is_some_and(|seen| seen.has_matched(signature))
    }

    /// Whether the transaction is of the protocol that the rule's header names.
    fn speaks(
        &self,
        index: u32,
        (check, signature): (&Check, &Signature),
        flow: AppProtocol,
    ) -> bool {
        use crate::rules::signature::Protocol;
        let named = match (check.apps(), &signature.header.protocol) {
            (Some(bits), _) => bits,
            (None, Protocol::App(word)) => apps_of(word),
            (None, _) => return true,
        };
        let own = self
            .apps
            .as_ref()
            .and_then(|apps| apps.transaction(index))
            .map_or(AppProtocol::Unknown, |transaction| transaction.protocol);
        named & (own.bit() | flow.bit()) != 0
    }

    /// Proposes whose fast pattern stands in the new bytes, and at the start those without one.
    fn propose_transaction(
        &mut self,
        program: &Program,
        index: u32,
        direction: Direction,
        seen: &mut Seen,
        emit: &Emit,
    ) {
        let mut apps = self.apps.take();
        let mut scanned_bytes = 0;
        if let Some((transaction, heap)) =
            apps.as_mut().and_then(|apps| apps.transaction_mut(index))
        {
            if !std::mem::replace(&mut seen.started, true) || seen.overflowed {
                let always = if transaction.is_frame {
                    program.app.always_frames(direction)
                } else {
                    program.app.always(transaction.protocol, direction)
                };
                for signature in always {
                    self.propose_app(*signature);
                }
            }
            for place in 0..transaction.len() {
                let Some(instance) = transaction.instance(heap, place) else {
                    break;
                };
                if instance.direction != direction {
                    continue;
                }
                let data = transaction.bytes(heap, &instance);
                let (scanned, bytes) = self.scan_instance(program, &instance, data, seen);
                scanned_bytes += bytes;
                if scanned != instance.scanned {
                    transaction.set_scanned(heap, place, scanned as usize);
                }
            }
        }
        self.apps = apps;
        emit.counters
            .add(Counter::PrefilterBytes, scanned_bytes as u64);
    }

    /// Scans what is new of an instance. Gives how far it has been seen now, and bytes scanned.
    fn scan_instance(
        &mut self,
        program: &Program,
        instance: &Instance,
        data: &[u8],
        seen: &Seen,
    ) -> (u32, usize) {
        if instance.field == Field::AppLayerEvent {
            if instance.scanned == 0 {
                for signature in program.app.for_event(instance.number() as u16) {
                    self.propose_app(*signature);
                }
            }
            return (1, 0);
        }
        let tables = program.app.tables(instance.field, instance.direction);
        if instance.is_number() || tables.is_empty() {
            return (instance.scanned, 0);
        }
        let before = if seen.overflowed { 0 } else { instance.scanned };
        let was_whole = before & SCANNED_WHOLE != 0;
        let before = (before & !SCANNED_WHOLE) as usize;
        let mut bytes = 0;
        for table in tables {
            let mut starts = true;
            let new = if table.transforms.is_empty() {
                // A pattern at the start is looked for until all of the longest has been seen.
                let carry = table.prefilter.longest().saturating_sub(1);
                let from = before.saturating_sub(carry);
                starts = from == 0;
                data.get(from..).filter(|_| data.len() > before)
            } else if instance.ended() && !was_whole {
                // A transformed buffer exists once its bytes are complete.
                let regexes = self.scratch.regexes();
                self.room.apply(&table.transforms, regexes, data)
            } else {
                None
            };
            let new = new.unwrap_or(&[]);
            bytes += new.len();
            let candidates = &mut self.candidates;
            let mut over = 0;
            // The end so far may be the end.
            let extent = Extent { starts, ends: true };
            let looks = &mut self.looks;
            let prefilter = &table.prefilter;
            let (since, before) = (self.profile.begin_scan(), *looks);
            let scan = prefilter.scan_for_any(new, extent, &Facts::ANY, looks, |signature| {
                over += u64::from(!push(candidates, u64::from(signature)));
            });
            profile::end_scan(&prefilter.cost, since, new.len(), before - *looks);
            self.over += over + u64::from(scan == Scan::Spent);
        }
        let whole = if instance.ended() { SCANNED_WHOLE } else { 0 };
        (data.len() as u32 | whole, bytes)
    }

    fn propose_app(&mut self, signature: u32) {
        self.over += u64::from(!push(&mut self.candidates, u64::from(signature)));
    }

    /// What all buffers and numbers of a rule say of a transaction.
    fn answer(
        &mut self,
        index: u32,
        direction: Direction,
        signature: &Signature,
        (number, rule): (u32, &Rule),
        packet: &Packet,
        mark: &FlowMark,
    ) -> Answer {
        let mut answer = Answer::Holds;
        for test in &signature.app {
            answer = answer.and(self.number_answer(index, direction, test));
        }
        for view in &rule.app {
            if answer == Answer::Never {
                return answer;
            }
            answer = answer.and(self.view_answer(index, direction, view));
        }
        if answer != Answer::Never && !rule.payload.is_empty() {
            answer =
                answer.and(self.payload_answer(index, direction, (number, rule), packet, mark));
        }
        answer
    }

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
        let known = transaction.progress[direction.index()] >= test.field.known_at();
        let mut found = transaction
            .instances(&apps.shared.heap)
            .filter(|i| i.field == test.field && i.direction == direction)
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

    fn view_answer(&mut self, index: u32, direction: Direction, view: &AppRule) -> Answer {
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
        let mut best = Answer::Never;
        let mut any = false;
        for instance in transaction.instances(heap) {
            if instance.field != view.field || instance.direction != direction {
                continue;
            }
            any = true;
            if view.absent == Some(false) {
                return Answer::Never;
            }
            let end = instance.ended();
            let data = transaction.bytes(heap, &instance);
            let outcome = if view.transforms.is_empty() {
                let base = 0;
                self.scratch.verify(&view.steps, &View { data, base, end })
            } else if !end {
                best = Answer::Later;
                continue;
            } else {
                match self
                    .room
                    .apply(&view.transforms, self.scratch.regexes(), data)
                {
                    Some(data) => self.scratch.verify(&view.steps, &View::whole(data)),
                    None => Outcome::No,
                }
            };
            match outcome {
                Outcome::Match => return Answer::Holds,
                Outcome::Unsettled => best = Answer::Later,
                Outcome::No if !end => best = Answer::Later,
                Outcome::No => {}
            }
        }
        let known = transaction.progress[direction.index()] >= view.field.known_at();
        match view.absent {
            _ if !known => Answer::Later,
            Some(_) if !any => Answer::Holds,
            _ => best,
        }
    }

    /// Contents outside of application buffers: in the stream at hand, or in the datagram.
    fn payload_answer(
        &mut self,
        index: u32,
        direction: Direction,
        (number, rule): (u32, &Rule),
        packet: &Packet,
        mark: &FlowMark,
    ) -> Answer {
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
        let view = if window != state::NONE {
            View {
                data: self.windows.data(window).get(floor..).unwrap_or(&[]),
                base: match floor > 0 && rule.is_placed {
                    true => 0,
                    false => self.windows.base(window) + floor as u64,
                },
                end: complete || packet.context.kind == Kind::FlowEnd,
            }
        } else {
            View::whole(packet.payload())
        };
        let outcome = match floor > 0 && view.data.is_empty() {
            true => Outcome::No,
            false => self.scratch.verify(&rule.payload, &view),
        };
        match outcome {
            Outcome::Match => Answer::Holds,
            _ if packet.context.protocol == TCP && packet.context.kind != Kind::FlowEnd => {
                Answer::Later
            }
            _ => Answer::Never,
        }
    }
}

/// Whether those of the instances that a rule means hold, `found` being what each says and the part
/// of them that counts going from one place to another, from the end where negative.
fn which_hold(
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

/// A direction of a transaction.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) index: u32,
    pub(super) direction: Direction,
}

/// Bit of a candidate whose header has not been looked at.
const FRESH: u64 = 1 << 63;
/// Bit of `Instance::scanned`: its end was seen too.
const SCANNED_WHOLE: u32 = 1 << 31;
