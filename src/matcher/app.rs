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
//! grows); what stage of a transaction says that it won't is `Transaction::knows`.

use super::again::Repeat;
use super::answer::Answer;
use super::check::{Check, apps_of, ask};
use super::detect::push;
use super::gate::Facts;
use super::header::{self, Packet};
use super::prefilter::{Extent, Scan};
use super::program::{Program, Rule};
use super::seen::{Seen, Wait};
use super::{DetectionAccess, FlowMark, FlowVerdict, Hit, MatchStage, profile, state};
use crate::app::transaction::NONE;
use crate::app::{AppProtocol, Field, Instance};
use crate::counters::Counter;
use crate::event::Emit;
use crate::packet::{Context, Direction, Kind};
use crate::rules::signature::Signature;

/// Transactions of a flow looked at for one packet at most.
const TRANSACTIONS_MAX: usize = 4096;

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
        let packet = self.speech.packet(context, bytes, false);
        let state = self.apps.as_ref().and_then(|apps| apps.state(app));
        let Some((first, events)) = state.map(|state| (state.first, state.event_count)) else {
            return;
        };
        if events > 0 {
            self.flow_events(program, app, &packet, mark);
        }
        let mut next = first;
        for _ in 0..TRANSACTIONS_MAX {
            let Some(transaction) = self.apps.as_ref().and_then(|apps| apps.transaction(next))
            else {
                break;
            };
            let after = transaction.next;
            let touched = transaction.touched;
            // A rule about both directions may wait in the record of either.
            let both = touched != [false; 2]
                && transaction.only.is_none()
                && program.app.has_transactional();
            for direction in [Direction::ToServer, Direction::ToClient] {
                if both || touched[direction.index()] {
                    self.inspect_transaction(program, next, direction, &packet, mark, emit);
                }
            }
            next = after;
        }
    }

    /// The end of a flow: parsers and rules see the end of everything.
    #[inline(never)]
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
        self.speech = self.speech(mark);
        if mark.verdict == FlowVerdict::Inspect {
            self.inspect_transactions(program, app, context, &[], mark, emit);
        }
    }

    /// Rules that wait for an event of the flow alone.
    #[cold]
    #[inline(never)]
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
            let generation = self.renewal.to;
            match self.seen.take_with(|seen| seen.restart(generation)) {
                Some(record) => *place = record,
                None => {
                    self.lost += 1;
                    return None;
                }
            }
        }
        Some(*place)
    }

    /// One copy for both directions.
    #[inline(never)]
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
        let mut seen = self.at_hand.take().unwrap_or_default();
        match record.and_then(|record| self.seen.get(record)) {
            Some(kept) => (*seen).clone_from(kept),
            None => seen.restart(self.renewal.to),
        }
        if self.renewed {
            seen.renew(&self.renewal);
        }
        self.candidates.clear();
        for wait in seen.waiting() {
            self.candidates.push(u64::from(wait.signature));
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
        candidates.sort_unstable_by_key(|candidate| (*candidate as u32, *candidate));
        candidates.dedup_by_key(|candidate| *candidate as u32);
        // What is known of those that wait, in the order of their numbers.
        let waited = seen.waiting;
        let mut waited = waited
            .get(..usize::from(std::mem::take(&mut seen.waiting_count)))
            .unwrap_or(&[])
            .iter()
            .peekable();
        emit.counters
            .add(Counter::Candidates, candidates.len() as u64);
        let place = Place { index, direction };
        for candidate in candidates.drain(..) {
            let number = candidate as u32;
            self.profile.next(program.costs(), number);
            while waited.next_if(|wait| wait.signature < number).is_some() {}
            let wait = waited.next_if(|wait| wait.signature == number);
            let wait = wait.copied().unwrap_or(Wait::of(number));
            let candidate = (candidate, wait);
            self.decide_candidate(program, candidate, place, &mut seen, packet, mark);
        }
        self.profile.done(program.costs());
        self.candidates = candidates;
        if let Some(place) = record.and_then(|record| self.seen.get_mut(record)) {
            place.clone_from(&seen);
        }
        self.at_hand = Some(seen);
    }

    /// Asks one candidate; it hits, waits or is forgotten.
    fn decide_candidate(
        &mut self,
        program: &Program,
        (candidate, mut wait): (u64, Wait),
        place: Place,
        seen: &mut Seen,
        packet: &Packet,
        mark: &mut FlowMark,
    ) {
        let Place { index, direction } = place;
        let number = candidate as u32;
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
        // What a rule asks of the flow's state holds when its fast pattern is found, or it is not
        // asked about these bytes again.
        if fresh && candidate & ALWAYS == 0 && !self.state_holds(signature, packet.context, mark) {
            return;
        }
        self.profile.checked();
        match self.answer(place, signature, (&mut wait, rule), packet, mark) {
            Answer::Never => {}
            Answer::Later => self.lost += u64::from(!seen.wait(wait)),
            Answer::Holds => {
                let repeat = self.repeat(place, signature, rule);
                match repeat {
                    Repeat::Stays if !fresh && packet.context.kind == Kind::FlowEnd => return,
                    Repeat::Files(count) if count <= hits => {
                        self.lost += u64::from(!seen.wait(wait));
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
    #[inline(never)]
    fn note_in_chunk(&mut self, rule: &Rule, number: u32, direction: Direction, mark: &FlowMark) {
        if !rule.payload.is_empty() && mark.slab != state::NONE && !self.inline {
            let window = self.slabs.windows(mark.slab)[direction.index()];
            let kept = window == state::NONE || self.windows.note_match_in_chunk(window, number);
            self.lost += u64::from(!kept);
        }
    }

    /// Whether a rule about both directions hit already in the other one's record.
    #[inline(never)]
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
            let first = if seen.overflowed { 0 } else { seen.passed };
            for place in usize::from(first)..transaction.len() {
                let Some(instance) = transaction.instance(heap, place) else {
                    break;
                };
                if instance.direction == direction {
                    let data = transaction.bytes(heap, &instance);
                    let (scanned, bytes) = self.scan_instance(program, &instance, data, seen);
                    scanned_bytes += bytes;
                    if scanned != instance.scanned {
                        transaction.set_scanned(heap, place, scanned as usize);
                    }
                }
                let is_done = instance.direction != direction || instance.ended();
                if is_done && usize::from(seen.passed) == place {
                    seen.passed += 1;
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

    /// Proposes a rule that no fast pattern names.
    #[inline(never)]
    fn propose_app(&mut self, signature: u32) {
        let candidate = u64::from(signature) | ALWAYS;
        self.over += u64::from(!push(&mut self.candidates, candidate));
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
/// Bit of a candidate that has no fast pattern.
const ALWAYS: u64 = 1 << 62;
/// Bit of `Instance::scanned`: its end was seen too.
const SCANNED_WHOLE: u32 = 1 << 31;
