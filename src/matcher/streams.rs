//! Detection on stream bytes: each new piece is appended to the direction's window (window.rs), its
//! fast patterns are found across the junction, and signatures that became possible are verified
//! on the window.
//!
//! A match that what follows could still contradict is *deferred* until the turn ends: the other
//! side sends bytes, the stream ends, the window is full, or the flow ends. All of these depend on
//! the bytes and on who spoke when, never on how a side's bytes were cut. The price is that such a
//! signature acts on the packet that ends the turn and not on the one that held the bytes. It looks
//! at one turn at a time: a header that was missing in one request is not found in the next.
//! A tap has chunks in place of turns (chunk.rs), where there are acknowledgments to go by.
//! Inline a signature that matched is told again with each packet that still finds it within the
//! last chunk of bytes, as by Suricata's sliding window: how often depends on the cut, whether does
//! not.

use super::check::ask;
use super::detect::{IN_PACKET, Reach, is_all_stream, push};
use super::gate::Facts;
use super::group::Group;
use super::prefilter::{Extent, Prefilter, Scan};
use super::program::{Program, Rule};
use super::recent::CARRY;
use super::verify::{Lack, Outcome, View};
use super::window::{CHUNK, ENTRIES_MAX, Entry};
use super::{DetectionAccess, FlowMark, Hit, MatchStage, profile, state};
use crate::counters::Counter;
use crate::event::Emit;
use crate::flow::depth::{OwnDepths, own_depth};
use crate::packet::{Context, Direction, Kind, flag};
use crate::rules::signature::Action;

impl<D: DetectionAccess> MatchStage<D> {
    /// Takes the new stream bytes of a packet in, and evaluates what is proposed already with them.
    pub(super) fn stream(
        &mut self,
        program: &Program,
        reached: (&Group, &Facts),
        context: &Context,
        bytes: &[u8],
        mark: &mut FlowMark,
        emit: &Emit,
    ) {
        let piece = context.stream_of(bytes);
        let plain = piece.len().saturating_sub(self.encrypted);
        let piece = piece.get(..plain).unwrap_or(&[]);
        let ended = context.has(flag::STREAM_END);
        if !piece.is_empty() && !self.goes_by_acks(mark.slab, context.direction.opposite()) {
            self.end_turn(context.direction.opposite(), context, mark);
        }
        let window = self.window(piece.is_empty(), context, mark);
        let Some((window, mut rest)) = window.map(|window| (window, piece)) else {
            // Without memory the piece is looked at by itself, as a packet would be.
            if !piece.is_empty() {
                self.propose_alone(reached, piece, emit);
            }
            return self.evaluate(program, context, bytes, mark, None, emit);
        };
        let at = self.place(window, context);
        rest = self.within_depth(rest, at, mark.app);
        self.again_from = self.looks_back_to(at, rest.len(), context);
        if context.kind != Kind::Stream && is_all_stream(context) {
            self.packet_from = at;
            let payload = context.payload_of(bytes);
            if rest.len() < payload.len() {
                self.propose_behind(rest.len(), reached, payload, emit);
            }
        }
        loop {
            if self.windows.is_full(window) {
                self.settle(window, context.direction, context, mark);
                self.windows.slide(window);
            }
            let before = self.windows.end(window);
            let taken = self.windows.append(window, rest);
            rest = rest.get(taken..).unwrap_or(&[]);
            self.note_tcp(context, bytes, mark.slab);
            self.close_by_position(window, before, context, mark);
            if taken > 0 {
                self.propose_stream(reached, window, taken, emit);
            }
            let reach = Reach {
                window,
                end: ended && rest.is_empty(),
                more: !rest.is_empty(),
            };
            self.evaluate(program, context, bytes, mark, Some(reach), emit);
            if rest.is_empty() {
                break;
            }
        }
        self.packet_from = u64::MAX;
        if ended {
            self.settle(window, context.direction, context, mark);
        }
    }

    /// Of a packet whose bytes are the stream's, what looks at both is found with the stream; if
    /// the depth ends that after `taken` bytes, the packet's own prefilters find the rest.
    #[cold]
    #[inline(never)]
    fn propose_behind(
        &mut self,
        taken: usize,
        (group, facts): (&Group, &Facts),
        payload: &[u8],
        emit: &Emit,
    ) {
        for prefilter in group.packet() {
            let from = (taken + 1).saturating_sub(prefilter.longest());
            let extent = Extent {
                starts: from == 0,
                ends: true,
            };
            let rest = payload.get(from..).unwrap_or(&[]);
            self.propose_by(prefilter, facts, (rest, extent), emit);
        }
    }

    /// A tap that has nothing to go by but positions closes a chunk at each multiple of its length.
    fn close_by_position(&mut self, window: u32, before: u64, context: &Context, mark: &FlowMark) {
        let now = self.windows.end(window) / CHUNK;
        if self.inline || before / CHUNK == now || self.goes_by_acks(mark.slab, context.direction) {
            return;
        }
        self.windows.close_chunk(window, now * CHUNK, |_| ());
    }

    /// Asks the signatures of a chunk that was closed about what lies beyond it.
    #[inline(never)]
    pub(super) fn ask_beyond(
        &mut self,
        program: &Program,
        context: &Context,
        bytes: &[u8],
        mark: &mut FlowMark,
        emit: &Emit,
    ) {
        let window = self.slabs.windows(mark.slab)[context.direction.index()];
        self.propose_live(window);
        let reach = Reach {
            window,
            end: false,
            more: false,
        };
        self.evaluate(program, context, bytes, mark, Some(reach), emit);
    }

    /// The window of the packet's direction; a new one only for bytes.
    fn window(&mut self, empty: bool, context: &Context, mark: &mut FlowMark) -> Option<u32> {
        let direction = context.direction.index();
        if mark.slab != state::NONE {
            let window = self.slabs.windows(mark.slab)[direction];
            if window != state::NONE {
                self.recent.touch(window);
                return Some(window);
            }
        }
        if empty {
            return None;
        }
        self.new_window(context, mark)
    }

    /// A direction's first window, or the one after that which it gave up.
    #[cold]
    #[inline(never)]
    fn new_window(&mut self, context: &Context, mark: &mut FlowMark) -> Option<u32> {
        let direction = context.direction.index();
        let slab = self.slab(mark, context)?;
        let at = context.stream_offset;
        if self.windows.available() == 0 {
            self.give_up_oldest();
        }
        let kept = match context.has(flag::STREAM_GAP) {
            true => &[],
            false => self.recent.kept(slab, direction, at),
        };
        let base = u64::from(at).saturating_sub(kept.len() as u64);
        let Some(window) = self.windows.take(base) else {
            self.lost += 1;
            return None;
        };
        self.windows.append(window, kept);
        self.recent.add(window, slab, direction);
        self.slabs.set_window(slab, direction, window);
        Some(window)
    }

    /// Takes the window of the direction that has been silent for longest; its last bytes stay.
    fn give_up_oldest(&mut self) {
        let Some((window, slab, direction)) = self.recent.oldest() else {
            return;
        };
        let (data, end) = (self.windows.data(window), self.windows.end(window));
        self.recent.keep(slab, direction, data, end);
        let waits = |entry: &Entry| entry.live || entry.deferred;
        let waiting = self.windows.entries(window).iter().any(waits);
        self.cut += u64::from(data.len() > CARRY || waiting);
        self.recent.remove(window);
        self.slabs.set_window(slab, direction, state::NONE);
        self.windows.give(window);
    }

    /// Stream position of the piece. After a gap the window begins anew.
    fn place(&mut self, window: u32, context: &Context) -> u64 {
        let end = self.windows.end(window);
        let ahead = context.stream_offset.wrapping_sub(end as u32) as i32;
        let at = end.saturating_add_signed(i64::from(ahead));
        if at != end || context.has(flag::STREAM_GAP) {
            self.windows.restart(window, at);
        }
        at
    }

    /// Protocols whose streams are inspected to depths of their own, and these.
    pub fn own_depths(&self) -> OwnDepths {
        self.own_depths
    }

    fn within_depth<'a>(&self, piece: &'a [u8], at: u64, spoken: u8) -> &'a [u8] {
        let mut depth = self.stream_depth;
        if at.saturating_add(piece.len() as u64) > depth {
            let own = own_depth(&self.own_depths, spoken);
            depth = own.map_or(depth, bytes_of_depth);
        }
        let left = depth.saturating_sub(at);
        let left = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        piece.get(..left).unwrap_or(&[])
    }

    #[cold]
    #[inline(never)]
    fn propose_alone(&mut self, (group, facts): (&Group, &Facts), piece: &[u8], emit: &Emit) {
        for prefilter in group.stream() {
            self.propose_by(prefilter, facts, (piece, Extent::WHOLE), emit);
        }
        group
            .stream_always()
            .each(facts, &mut |signature| self.propose(signature, IN_PACKET));
    }

    /// Proposes whose fast pattern ends in the `new` last bytes of the window, and who waits.
    fn propose_stream(
        &mut self,
        (group, facts): (&Group, &Facts),
        window: u32,
        new: usize,
        emit: &Emit,
    ) {
        for prefilter in group.stream().into_iter().filter(|p| !p.is_empty()) {
            self.propose_found((prefilter, facts), window, new, emit);
        }
        group
            .stream_always()
            .each(facts, &mut |signature| self.propose(signature, 0));
        self.propose_live(window);
        if self.again_from != u64::MAX {
            self.propose_again(window);
        }
    }

    /// Stream position back to which a packet looks for what matched already: Suricata's sliding
    /// window, which alerts with each packet while it holds the match. Views of bytes that waited
    /// are no packets, and a tap goes by chunks: `u64::MAX`.
    fn looks_back_to(&self, at: u64, new: usize, context: &Context) -> u64 {
        if !self.inline || new == 0 || context.kind == Kind::Stream {
            return u64::MAX;
        }
        let chunk = self.chunks[context.direction.index()];
        let chunk = usize::try_from(chunk).unwrap_or(usize::MAX);
        let length = match chunk / 3 * 2 < new {
            true => new + chunk / 3,
            false => chunk,
        };
        at.saturating_add(new as u64).saturating_sub(length as u64)
    }

    /// Proposes the signatures that matched and may stand in the packet's window still.
    #[inline(never)]
    fn propose_again(&mut self, window: u32) {
        for entry in self.windows.entries(window).iter().filter(|e| e.again) {
            let candidate = u64::from(entry.signature) << 1;
            self.over += u64::from(!push(&mut self.candidates, candidate));
        }
    }

    /// Whether a signature that matched is told with later packets too: an alert is; what a packet
    /// was dropped or passed for is no reason to drop or pass the next.
    fn tells_again(&self, index: u32) -> bool {
        let known = self.program.rule(index);
        known.is_some_and(|(signature, _)| signature.action == Action::Alert)
    }

    /// Whether a signature that matched still stands in the last bytes.
    #[inline(never)]
    fn holds_again(&mut self, window: u32, index: u32, rule: &Rule) -> bool {
        if self.again_from == u64::MAX || !self.windows.take_again(window, index) {
            return false;
        }
        let base = self.windows.base(window);
        let skip = self.again_from.saturating_sub(base);
        let data = self.windows.data(window).get(skip as usize..);
        let view = View {
            data: data.unwrap_or(&[]),
            base: base + skip,
            end: false,
        };
        self.scratch.verify(&rule.payload, &view) == Outcome::Match
            && self.windows.note_match(window, index, (false, true))
    }

    /// Notes where the fast patterns of a prefilter end in the `new` last bytes of the window.
    fn propose_found(
        &mut self,
        (prefilter, facts): (&Prefilter, &Facts),
        window: u32,
        new: usize,
        emit: &Emit,
    ) {
        let overflowed = self.windows.overflowed(window);
        let length = self.windows.data(window).len();
        let carry = prefilter.longest().saturating_sub(1);
        let from = if overflowed {
            0
        } else {
            length.saturating_sub(new + carry)
        };
        emit.counters
            .add(Counter::PrefilterBytes, (length - from) as u64);
        let mut found = std::mem::take(&mut self.found);
        let data = self.windows.data(window).get(from..).unwrap_or(&[]);
        let mut over = 0;
        let looks = &mut self.looks;
        let (since, before) = (self.profile.begin_scan(), *looks);
        let scan = prefilter.scan(data, Extent::WHOLE, facts, looks, |signature, at| {
            if found.len() < found.capacity() {
                found.push((signature, at));
            } else {
                over += 1;
            }
        });
        profile::end_scan(&prefilter.cost, since, data.len(), before - *looks);
        self.over += over + u64::from(scan == Scan::Spent);
        let base = self.windows.base(window);
        let own = self.packet_from.saturating_sub(base);
        for (signature, at) in found.drain(..) {
            let check = self.program.checks.get(signature);
            let looks_at = |view| check.is_some_and(|check| check.has(view));
            let (in_packet, in_stream) = (looks_at(ask::AT_PACKETS), looks_at(ask::AT_STREAMS));
            if in_packet && (from + at) as u64 >= own {
                self.propose(signature, IN_PACKET);
            }
            if in_stream && !self.windows.note_seen(window, signature, from + at) {
                self.lost += u64::from(!overflowed);
                self.propose(signature, 0);
            }
        }
        self.found = found;
    }

    /// Proposes the signatures whose fast pattern stands in the window.
    fn propose_live(&mut self, window: u32) {
        for entry in self.windows.entries(window) {
            if entry.live && !push(&mut self.candidates, u64::from(entry.signature) << 1) {
                self.over += 1;
            }
        }
    }

    /// Whether a signature's tests hold on its part of the window; keeps what must be kept.
    pub(super) fn holds_in(&mut self, window: u32, index: u32, rule: &Rule, end: bool) -> bool {
        if !self.inline {
            return self.holds_in_chunk(window, index, rule, end);
        }
        if self.holds_again(window, index, rule) {
            return true;
        }
        let skip = self.windows.floor(window, index, rule.of_turn);
        let base = self.windows.base(window) + skip as u64;
        let data = self.windows.data(window).get(skip..).unwrap_or(&[]);
        if data.is_empty() {
            return false;
        }
        if self.still_lacks(window, index, rule, (skip, skip + data.len())) {
            return false;
        }
        let data = self.windows.data(window).get(skip..).unwrap_or(&[]);
        let view = View { data, base, end };
        let outcome = self.scratch.verify(&rule.payload, &view);
        let end = skip + view.data.len();
        let lack = self.scratch.lack();
        self.note_lack(window, index, (outcome, lack), end);
        let kept = match outcome {
            Outcome::Match => {
                let again = !rule.of_turn && self.tells_again(index);
                let kinds = (rule.of_turn, again);
                self.windows.note_match(window, index, kinds)
            }
            Outcome::Unsettled => self.windows.set_deferred(window, index, true),
            Outcome::No => true,
        };
        self.lost += u64::from(!kept);
        outcome == Outcome::Match
    }

    /// Whether a content of the signature that stood nowhere still does, in `(first, end)` of the
    /// window: then there is no match.
    fn still_lacks(
        &mut self,
        window: u32,
        index: u32,
        rule: &Rule,
        (first, end): (usize, usize),
    ) -> bool {
        let Some((step, sought)) = self.windows.lacks(window, index) else {
            return false;
        };
        let data = self.windows.data(window).get(first..end).unwrap_or(&[]);
        let known = sought.saturating_sub(first);
        let lacks = self.scratch.still_lacks(&rule.payload, step, data, known);
        if lacks && end > sought {
            self.windows.note_lack(window, index, Some(step), end);
        }
        lacks
    }

    /// Notes what a verification up to `end` of the window lacked.
    fn note_lack(&mut self, window: u32, index: u32, said: (Outcome, Lack), end: usize) {
        let step = match said {
            (Outcome::No, Lack::Content(step)) => Some(step),
            _ => None,
        };
        self.windows.note_lack(window, index, step, end);
    }

    /// The same in a tap: once a chunk. What could be contradicted is looked for in the chunk
    /// alone; what has a place, from the start of the stream and from that of the chunk.
    fn holds_in_chunk(&mut self, window: u32, index: u32, rule: &Rule, end: bool) -> bool {
        let floor = self.windows.floor(window, index, false);
        let base = self.windows.base(window);
        let length = self.windows.data(window).len();
        let length = length.min(self.upto.saturating_sub(base) as usize);
        let chunk = self.windows.chunk_start(window);
        if floor >= length {
            return false;
        }
        let apart = rule.of_turn || rule.is_placed && base + chunk as u64 > 0;
        // All bytes that count lie behind this place, and it never goes back.
        let first = if rule.of_turn { chunk } else { floor };
        let keeps = !apart || first <= chunk;
        if keeps && self.still_lacks(window, index, rule, (first, length)) {
            return false;
        }
        let data = self.windows.data(window).get(..length).unwrap_or(&[]);
        let mut outcome = Outcome::No;
        let mut lack = Lack::Bytes;
        if !rule.of_turn {
            let since = View {
                data: data.get(floor..).unwrap_or(&[]),
                base: base.saturating_add(floor as u64),
                end,
            };
            outcome = self.scratch.verify(&rule.payload, &since);
            lack = self.scratch.lack();
        }
        let in_chunk = View {
            data: data.get(chunk..).unwrap_or(&[]),
            base: if rule.is_placed {
                0
            } else {
                base + chunk as u64
            },
            end,
        };
        if outcome == Outcome::No && apart && !in_chunk.data.is_empty() {
            outcome = self.scratch.verify(&rule.payload, &in_chunk);
            if rule.of_turn {
                lack = self.scratch.lack();
            }
        }
        if keeps {
            self.note_lack(window, index, (outcome, lack), length);
        }
        let kept = match outcome {
            Outcome::Match => self.windows.note_match_in_chunk(window, index),
            Outcome::Unsettled => self.windows.set_deferred(window, index, true),
            Outcome::No => true,
        };
        self.lost += u64::from(!kept);
        outcome == Outcome::Match
    }

    /// The other side speaks: what it left open is decided.
    fn end_turn(&mut self, direction: Direction, context: &Context, mark: &mut FlowMark) {
        if mark.slab == state::NONE {
            return;
        }
        let window = self.slabs.windows(mark.slab)[direction.index()];
        if window != state::NONE && self.inline {
            self.settle(window, direction, context, mark);
            self.windows.begin_turn(window);
        } else if window != state::NONE {
            let to = self.windows.end(window);
            self.close_chunk(window, to, direction, context, mark);
        }
    }

    /// Decides the deferred matches of a window on the bytes that it has.
    #[inline(always)]
    pub(super) fn settle(
        &mut self,
        window: u32,
        direction: Direction,
        context: &Context,
        mark: &mut FlowMark,
    ) {
        if self.windows.has_deferred(window) {
            self.settle_deferred(window, direction, context, mark);
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_deferred(
        &mut self,
        window: u32,
        direction: Direction,
        context: &Context,
        mark: &mut FlowMark,
    ) {
        let mut waiting = [u32::MAX; ENTRIES_MAX];
        let entries = self.windows.entries(window).iter();
        for (place, entry) in waiting.iter_mut().zip(entries.filter(|e| e.deferred)) {
            *place = entry.signature;
        }
        waiting.sort_unstable();
        let program = std::sync::Arc::clone(&self.program);
        for index in waiting {
            let Some((signature, rule)) = program.rule(index) else {
                break;
            };
            self.scratch.captured.clear();
            if self.holds_in(window, index, rule, true) {
                let hit = Hit {
                    signature: index,
                    stream: true,
                    window,
                    transaction: state::NONE,
                    direction,
                };
                self.hit(hit, signature, context, mark);
            } else {
                self.windows.set_deferred(window, index, false);
            }
        }
    }
}

/// Bytes of a stream that are inspected, where 0 is all.
pub(super) fn bytes_of_depth(depth: u32) -> u64 {
    match depth {
        0 => u64::MAX,
        depth => u64::from(depth),
    }
}
