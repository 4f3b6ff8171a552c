//! The flow stage: takes a burst of decoded contexts, hands on the same burst with what flow knows
//! of each, and with views behind those that completed something. It walks strictly in the order of
//! the burst, so that a result never depends on where one burst ends and the next begins.
//!
//! ```text
//!  swap burst ─► ask the table for all tuples at once
//!             ─► for each: fragment? defrag : flow ─► TCP? connection.rs ─► values
//!             ─► ends of flows (expiry.rs)
//! ```
//! TCP is connection.rs's, views are views.rs's.
//!
//! A chain for whose views there may be no contexts, blocks or room waits here with all that came
//! after it. Contexts and blocks come home from stages that never wait for this one, so it goes on
//! in the end, and what a packet sets free is always shown, whatever is under way elsewhere.

use std::sync::Arc;

use super::defrag::Defrag;
use super::expiry::{self, Ends, Stage, class_of};
use super::notice::{Notice, Notices};
use super::pages::{PAGE_BYTES, PagePool};
use super::rate::{self, Rates};
use super::record::*;
use super::segment::{Segment, URG};
use super::stream::{Limits, URGENT_MAX};
use super::table::{Answer, DetectionSide, FlowSide, RecordSide, Timeouts};
use super::tcp::Rules;
use super::views::STREAM_VIEW_MAX;
use super::{FlowParts, limits};
use crate::config::{Area, Config, Mode};
use crate::counters::{Counter, Counters};
use crate::decode::{Anomaly, Decoder};
use crate::event::Emit;
use crate::memory::slab::Slabs;
use crate::memory::{Arena, BlockPool, Handle, Regions};
use crate::packet::{
    BURST_VIEWS_MAX, Burst, Context, Direction, FlowHandle, FlowValues, Verdict, flag,
};
use crate::reason::Reason;
use crate::time::Tick;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// Those of ICMP.
const ICMP: [u8; 2] = [1, 58];
/// What must be there before a chain is tracked.
#[derive(Clone, Copy, Default)]
struct Least {
    /// Whether chains wait at all.
    waits: bool,
    /// Contexts for views.
    views: usize,
    /// Blocks for their bytes.
    blocks: usize,
}

impl Least {
    /// What one packet may need at most: the bytes that wait in both directions of a connection,
    /// cut where a view is full and at urgent bytes; before that, the datagram that a fragment
    /// completes, and what it carries.
    fn of(stage: &FlowStage) -> Least {
        let waiting = stage.limits.ahead_pages_max as usize * PAGE_BYTES as usize;
        let streams = 2 * (waiting.div_ceil(STREAM_VIEW_MAX) + URGENT_MAX + 1);
        Least {
            waits: true,
            views: streams + 1 + stage.decoder.views_max(),
            blocks: streams + 1,
        }
    }
}

/// The second stage of a lane.
pub struct FlowStage {
    pub(super) config: Arc<Config>,
    pub(super) regions: Arc<Regions>,
    pub(super) contexts: Arc<Arena<Context>>,
    pub(super) decoder: Decoder,
    pub(super) flows: FlowSide,
    pub(super) records: RecordSide,
    pub(super) rates: Option<Rates>,
    pub(super) connections: Slabs<Tcp>,
    pub(super) pages: PagePool,
    pub(super) fragments: PagePool,
    pub(super) views: BlockPool,
    pub(super) defrag: Defrag,
    pub(super) ends: Ends,
    pub(super) rules: Rules,
    pub(super) limits: Limits,
    pub(super) depths: super::depth::Depths,
    pub(super) timeouts: Timeouts,
    /// Anomaly numbers by notice.
    pub(super) codes: [u8; Notice::ALL.len()],
    /// What came in and is not tracked yet, the next handle last.
    taken: Burst,
    /// The table's answers to what came in, in its order.
    pub(super) answers: Vec<Answer>,
    /// Answers used up.
    pub(super) answered: usize,
    /// Flows that the table had closed before it answered.
    pub(super) closed_before: u64,
    /// Tests: no packet goes straight; how many did.
    #[cfg(any(test, fuzzing))]
    pub(super) straight_probe: (bool, u64),
    /// What a chain waits for.
    least: Least,
    /// Time of the feed, nanoseconds: it never goes back.
    pub(super) clock: u64,
    /// Time stamp of the newest packet, nanoseconds: what events tell.
    pub(super) stamp: u64,
    /// Order of the newest packet.
    pub(super) order: u64,
    /// Where the search for TCP state to reclaim goes on.
    pub(super) hand: u32,
}

impl FlowStage {
    /// The stage of one lane, and the match stage's half of its table.
    pub fn new(
        config: &Arc<Config>,
        regions: &Arc<Regions>,
        contexts: &Arc<Arena<Context>>,
        parts: FlowParts,
    ) -> (FlowStage, DetectionSide) {
        let (groups, flows_max) = (parts.flows.sweep_groups(), parts.flows.flows_max());
        let stage = FlowStage {
            config: Arc::clone(config),
            regions: Arc::clone(regions),
            contexts: Arc::clone(contexts),
            decoder: Decoder::new(config),
            defrag: Defrag::new(config, parts.fragments.len()),
            flows: parts.flows,
            records: parts.records,
            rates: parts.rates,
            connections: parts.connections,
            pages: parts.pages,
            fragments: parts.fragments,
            views: parts.views,
            ends: Ends::new(groups, flows_max),
            rules: Rules::of(config),
            limits: limits(config),
            depths: Default::default(),
            timeouts: expiry::timeouts(config),
            codes: anomaly_codes(),
            taken: Vec::with_capacity(BURST_VIEWS_MAX),
            answers: Vec::with_capacity(BURST_VIEWS_MAX),
            answered: 0,
            closed_before: 0,
            #[cfg(any(test, fuzzing))]
            straight_probe: (false, 0),
            least: Least::default(),
            clock: 0,
            stamp: 0,
            order: 0,
            hand: 0,
        };
        (stage, parts.detection)
    }

    /// Annotates the burst in order and inserts views. What waits ([`FlowStage::is_waiting`]) goes
    /// on with the next call, which then must come with an empty burst.
    pub fn run(&mut self, burst: &mut Burst, emit: &mut Emit) {
        // Once a burst: the stage is borrowed while it looks at a context and its bytes.
        let (contexts, regions) = (Arc::clone(&self.contexts), Arc::clone(&self.regions));
        let mut chained = false;
        if self.taken.is_empty() {
            self.ask(burst, &emit.counters);
            let (done, work) = self.run_in_place(burst, &contexts, &regions, emit);
            self.answered = done;
            self.taken.extend(burst.drain(done..).rev());
            chained = burst.last().is_some_and(Handle::more);
            if let Some(work) = work {
                let at = done - 1;
                let room = self.room_behind(at);
                self.show(work, at, burst, emit, room);
                link(burst, at, chained);
            }
        }
        while chained || self.may_go_on(burst, emit) {
            let Some(mut handle) = self.taken.pop() else {
                break;
            };
            self.ask_ahead(self.answered);
            let answer = self.next_answer();
            let more = handle.more();
            chained = more;
            let at = burst.len();
            let length = handle.length();
            let context = contexts.get_mut(&mut handle);
            self.turn_clock(context);
            let bytes = regions.bytes(context.span);
            // 1. Straight. 2. A fragment, which may complete a datagram. 3. Whatever else there is.
            if self.straight_apart(context, bytes, answer, length, &emit.counters) {
                burst.push(handle);
                continue;
            }
            let room = self.room_behind(at);
            if context.has(flag::FRAGMENT) && !context.has(flag::DECIDED) {
                self.fragment(handle, burst, emit, room);
            } else {
                let work = self.packet(context, bytes, length, answer, emit, room);
                burst.push(handle);
                let Some(work) = work else { continue };
                self.show(work, at, burst, emit, room);
            }
            link(burst, at, more);
        }
        if self.is_waiting() {
            self.make_way(burst, emit);
        } else {
            self.expire(burst, emit);
        }
    }

    /// Tracks packets where they stand until one needs room behind it: a fragment, which is left, or
    /// a packet that set bytes free, which are given. Nearly always that is the whole burst. Gives
    /// how many were tracked: none where what a packet may need at most is scarce.
    fn run_in_place(
        &mut self,
        burst: &mut Burst,
        contexts: &Arena<Context>,
        regions: &Regions,
        emit: &mut Emit,
    ) -> (usize, Option<Work>) {
        let (count, least) = (burst.len(), self.least);
        let is_scarce = emit.views.len() < least.views
            || self.views.available() < least.blocks
            || count + least.views > BURST_VIEWS_MAX;
        if least.waits && is_scarce {
            return (0, None);
        }
        // No view is taken before the end of this walk, so there is as much room behind each.
        let room = match least.waits {
            true => least.views,
            false => BURST_VIEWS_MAX.saturating_sub(count),
        };
        let mut chained = false;
        for (at, handle) in burst.iter_mut().enumerate() {
            if least.waits && !chained && !self.has_room_for_ends() {
                return (at, None);
            }
            self.ask_ahead(at);
            let length = handle.length();
            chained = handle.more();
            let context = contexts.get_mut(handle);
            if context.has(flag::FRAGMENT) && !context.has(flag::DECIDED) {
                return (at, None);
            }
            self.turn_clock(context);
            let Some(&answer) = self.answers.get(at) else {
                return (at, None);
            };
            let bytes = regions.bytes(context.span);
            if !self.straight(context, bytes, answer, length, &emit.counters) {
                let work = self.packet(context, bytes, length, answer, emit, room);
                if work.is_some() {
                    return (at + 1, work);
                }
            }
        }
        (count, None)
    }

    /// Whether packets wait here for contexts, blocks or room.
    pub fn is_waiting(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Order of the first packet that waits.
    pub fn first_waiting(&self) -> Option<u64> {
        self.taken.last().map(|next| self.contexts.get(next).order)
    }

    /// Views that one packet may need here at most.
    pub fn views_max(&self) -> usize {
        Least::of(self).views
    }

    /// Makes chains wait until there is what they may need. `total`: contexts for views that are
    /// flow's alone when all are home. Where those, or all blocks, are too few for a packet, it
    /// waits for all of them, and the rest is policy.
    pub fn wait_for_views(&mut self, total: usize) {
        let all = Least::of(self);
        self.least = Least {
            waits: true,
            views: all.views.min(total),
            blocks: all.blocks.min(self.views.available()),
        };
    }

    /// Whether the next chain, if there is one, finds what it may need.
    fn may_go_on(&self, burst: &Burst, emit: &Emit) -> bool {
        if !self.least.waits {
            return true;
        }
        let length = 1 + self.chained();
        let behind = self.least.views.min(BURST_VIEWS_MAX.saturating_sub(length));
        if burst.len() + length + behind > BURST_VIEWS_MAX || !self.has_room_for_ends() {
            return false;
        }
        let plenty =
            emit.views.len() >= self.least.views && self.views.available() >= self.least.blocks;
        plenty || !self.may_set_free(length)
    }

    /// Handles that follow the next one in its chain; most are chains by themselves.
    #[inline]
    fn chained(&self) -> usize {
        match self.taken.last() {
            Some(next) if next.more() => self.taken.iter().rev().take_while(|h| h.more()).count(),
            _ => 0,
        }
    }

    /// Whether one of the next `length` handles may have bytes to show behind it: a fragment, or a
    /// segment of a connection where bytes wait.
    #[cold]
    fn may_set_free(&self, length: usize) -> bool {
        let next = self.taken.iter().rev().take(length);
        let answers = self.answers.iter().skip(self.answered);
        next.zip(answers).any(|(handle, answer)| {
            let context = self.contexts.get(handle);
            if context.has(flag::FRAGMENT) {
                return true;
            }
            if context.protocol != TCP || !has_flow(context) {
                return false;
            }
            let is_urgent = Segment::read(context, self.regions.bytes(context.span))
                .is_some_and(|segment| segment.has(URG));
            let Answer::Found(flow) = answer else {
                return is_urgent;
            };
            let tcp = self.connections.get(self.connection_of(*flow));
            is_urgent || tcp.is_some_and(|tcp| tcp.sides.iter().any(|s| s.stream.may_set_free()))
        })
    }

    /// Views that the packet just taken, which is the burst's at `at`, may have behind it.
    fn room_behind(&self, at: usize) -> usize {
        let all = BURST_VIEWS_MAX.saturating_sub(at + 1);
        if self.least.waits {
            self.least.views.min(all.saturating_sub(self.chained()))
        } else {
            all.saturating_sub(self.taken.len())
        }
    }

    #[inline]
    fn turn_clock(&mut self, context: &Context) {
        self.clock = self.clock.max(context.clock());
        self.stamp = context.time_ns;
        self.order = self.order.max(context.order);
    }

    /// One packet: its flow, direction, counters, and TCP. Gives what there is to show behind it.
    pub(super) fn packet(
        &mut self,
        context: &mut Context,
        bytes: &[u8],
        length: u32,
        answer: Answer,
        emit: &mut Emit,
        room: usize,
    ) -> Option<Work> {
        if !has_flow(context) {
            return None;
        }
        let (flow, created) = self.admit(context, bytes, answer, emit)?;
        context.flow = flow;
        self.count_packet(context, flow, created, length, &emit.counters);
        self.condemn(context, flow);
        let work = if context.protocol == TCP && context.has(flag::TRANSPORT) {
            self.tcp(context, bytes, flow, emit, room)
        } else {
            self.other(context, flow);
            None
        };
        self.finish_packet(context, flow, created, &emit.counters);
        work.map(|directions| Work { flow, directions })
    }

    /// Finds or makes the packet's flow, and ends an old one whose place it takes.
    fn admit(
        &mut self,
        context: &mut Context,
        bytes: &[u8],
        answer: Answer,
        emit: &mut Emit,
    ) -> Option<(FlowHandle, bool)> {
        let now = Tick::from_nanos(self.clock);
        let mut answer = match answer {
            // An earlier packet of this burst may have ended the flow, or the table itself.
            Answer::Found(flow) | Answer::Created(flow)
                if self.closed_before != self.flows.counters().closed
                    && self.flows.class(flow).is_none() =>
            {
                self.ask_alone(context, &emit.counters)
            }
            answer => answer,
        };
        if context.has(flag::ICMP_ERROR)
            && let Answer::Found(flow) = answer
            && self.is_timed_out(flow, now)
        {
            // Errors end no flow, but one that the sweep might have ended is not there for them.
            return None;
        }
        let mut reused = false;
        if let Answer::Found(flow) = answer
            && let Some(reason) = self.outlived(context, bytes, flow, now)
            && self.end(flow, reason)
        {
            // One that timed out is not there any more, whether the sweep has come by or not.
            reused = reason == EndReason::Closed;
            answer = self.ask_alone(context, &emit.counters);
        }
        match answer {
            Answer::Found(flow) | Answer::Created(flow) => {
                Some((flow, self.begin(context, bytes, flow, reused)?))
            }
            Answer::Missing => None,
            Answer::Full(_) => {
                emit.counters.inc(Counter::FlowsRefused);
                context.set(flag::STREAM_NONE);
                let none = FlowHandle::NONE;
                let (area, reason) = (Area::FlowTable, Reason::FlowTableFull);
                self.except(context, none, area, reason, &emit.counters);
                None
            }
        }
    }

    /// Begins a flow with the first packet that has its turn: the table may have made it for a later
    /// packet of the burst, while this one lay in a datagram that was not whole yet. Gives whether
    /// it began; `None` for an error about a flow that has not begun.
    fn begin(
        &mut self,
        context: &Context,
        bytes: &[u8],
        flow: FlowHandle,
        reused: bool,
    ) -> Option<bool> {
        let record = self.records.get_mut(flow.slot)?;
        if record.packets != [0; 2] {
            return Some(false);
        }
        if context.has(flag::ICMP_ERROR) {
            return None;
        }
        *record = Record {
            start_ns: context.time_ns,
            ..Record::default()
        };
        record.flags |= if context.has(flag::REVERSED) {
            FLOW_CLIENT_IS_B
        } else {
            0
        };
        record.flags |= if reused { FLOW_REUSE } else { 0 };
        if ICMP.contains(&context.protocol) {
            // The code stands behind the type, which the tuple has.
            let code = bytes.get(usize::from(context.l4) + 1).copied();
            record.tcp_flags[0] = code.unwrap_or(0);
        }
        if let Some(rates) = &mut self.rates {
            rates.begin(flow.slot);
        }
        Some(true)
    }

    /// Why a flow is over although the table still has it.
    fn outlived(
        &mut self,
        context: &Context,
        bytes: &[u8],
        flow: FlowHandle,
        now: Tick,
    ) -> Option<EndReason> {
        if context.has(flag::ICMP_ERROR) {
            return None;
        }
        if self.is_timed_out(flow, now) {
            return Some(EndReason::Timeout);
        }
        if context.protocol == TCP && self.is_port_reuse(context, bytes, flow) {
            return Some(EndReason::Closed);
        }
        None
    }

    /// Whether a flow has rested for longer than its state allows.
    fn is_timed_out(&self, flow: FlowHandle, now: Tick) -> bool {
        self.flows.line(flow).is_some_and(|line| {
            let class = usize::from(line.state().expiry);
            let limit = self.timeouts.ticks.get(class).copied().unwrap_or(u32::MAX);
            now.since(line.last_seen()) > limit
        })
    }

    /// The packet's direction in its flow, and the flow's counters.
    fn count_packet(
        &mut self,
        context: &mut Context,
        flow: FlowHandle,
        created: bool,
        length: u32,
        counters: &Counters,
    ) {
        let Some(record) = self.records.get_mut(flow.slot) else {
            return;
        };
        let mut direction = record.direction_of(context);
        if context.has(flag::ICMP_ERROR) {
            // The error answers the packet that it quotes.
            direction = direction.opposite();
        }
        context.direction = direction;
        if record.packets[direction.index()] == 0 {
            context.set(flag::FIRST_OF_DIRECTION);
        }
        let length = record.count(context, length);
        rate::track(&mut self.rates, context, length, counters);
        if created {
            context.set(flag::FLOW_NEW);
        }
    }

    /// UDP, ICMP and the rest: established when both sides have been seen.
    fn other(&mut self, context: &mut Context, flow: FlowHandle) {
        let Some(record) = self.records.get_mut(flow.slot) else {
            return;
        };
        let [to_server, to_client] = record.packets;
        if to_server != 0 && to_client != 0 && !context.has(flag::ICMP_ERROR) {
            record.flags |= FLOW_ESTABLISHED;
        }
        if record.flags & FLOW_ESTABLISHED != 0 {
            context.set(flag::ESTABLISHED);
        }
    }

    /// Age, class and values, after the packet has been taken in.
    fn finish_packet(
        &mut self,
        context: &mut Context,
        flow: FlowHandle,
        created: bool,
        counters: &Counters,
    ) {
        let Some(record) = self.records.get_mut(flow.slot) else {
            return;
        };
        let connection = self.connections.get(record.tcp);
        let promotion = FLOW_ESTABLISHED | FLOW_PROMOTED;
        if record.flags & promotion == FLOW_ESTABLISHED {
            self.flows.promote(flow);
            record.flags |= FLOW_PROMOTED;
        }
        let record = &*record;
        let stage = if record.flags & FLOW_ESTABLISHED == 0 {
            Stage::New
        } else if connection.is_some_and(|tcp| tcp.phase.is_closing()) {
            Stage::Closed
        } else {
            Stage::Established
        };
        if let Some(line) = self.flows.line(flow) {
            if !context.has(flag::ICMP_ERROR) {
                line.touch(Tick::from_nanos(self.clock));
            }
            let mut state = line.state();
            let (expiry, phase) = (class_of(context.tuple.protocol, stage), record.phase);
            if created || state.expiry != expiry || state.phase != phase {
                counters.flow_moved((!created).then_some(state.expiry), Some(expiry));
                if stage == Stage::Closed && state.expiry != expiry {
                    self.ends.note_closed(flow);
                }
                (state.expiry, state.phase) = (expiry, phase);
                line.set_state(state);
            }
        }
        if record.flags & FLOW_MIDSTREAM != 0 {
            context.set(flag::MIDSTREAM);
        }
        if record.flags & FLOW_BYPASS != 0 {
            context.set(flag::BYPASS);
        }
        context.values = values_of(record, connection);
        context.values.elephant = self.elephant(flow);
    }

    /// The directions of a flow that are elephants, as bits.
    #[inline]
    pub(super) fn elephant(&self, flow: FlowHandle) -> u8 {
        self.rates.as_ref().map_or(0, |r| r.elephant(flow.slot))
    }

    // --- verdicts ---

    /// Drops the packet for `reason`; a tap notes that it would.
    pub(super) fn refuse(&self, context: &mut Context, reason: Reason) {
        if self.config.mode == Mode::Inline {
            context.worsen(Verdict::Drop(reason), NONE);
            context.set(flag::DECIDED);
        } else {
            context.set(flag::WOULD_DROP);
            context.would = context.would.or(Some(reason));
        }
    }

    /// Writes notices to the context, as anomalies.
    pub(super) fn tell(&self, context: &mut Context, notices: &Notices, counters: &Counters) {
        for notice in notices.iter() {
            if let Some(code) = self.codes.get(notice as usize) {
                counters.anomaly(*code);
                context.note(*code);
            }
        }
    }
}

/// What a packet set free: bytes of its flow that are next in order now.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// The flow.
    pub flow: FlowHandle,
    /// Directions that have bytes to show; the packet's own first.
    pub directions: [Option<Direction>; 2],
}

/// What match and the events are told about a flow, whose TCP state is `connection`.
#[inline]
pub(super) fn values_of(record: &Record, connection: Option<&Tcp>) -> FlowValues {
    let sent = |side: &Side| side.next.since(side.isn) as u32;
    FlowValues {
        packets: record.packets,
        bytes: record.bytes,
        start_ns: record.start_ns,
        stream_bytes: connection.map_or([0; 2], |tcp| {
            let [client, server] = &tcp.sides;
            [sent(client), sent(server)]
        }),
        tcp_state: record.phase,
        tcp_flags: record.tcp_flags,
        end_reason: EndReason::None as u8,
        elephant: 0,
        gaps: 0,
        last_ns: record.last_ns,
    }
}

/// Whether flow has anything to do with a context.
pub(super) fn has_flow(context: &Context) -> bool {
    context.flags & (flag::NO_FLOW | flag::DECIDED | flag::FRAGMENT) == 0
}

/// Sets the `more` flags of a carrier and the views behind it: all but the last, which has what the
/// carrier had when it came.
fn link(burst: &mut Burst, at: usize, more: bool) {
    let chain = burst.get_mut(at..).unwrap_or(&mut []);
    let count = chain.len();
    for (index, handle) in chain.iter_mut().enumerate() {
        handle.set_more(index + 1 < count || more);
    }
}

/// The anomaly numbers of all notices, by their names.
fn anomaly_codes() -> [u8; Notice::ALL.len()] {
    let mut codes = [0; Notice::ALL.len()];
    for (place, notice) in codes.iter_mut().zip(Notice::ALL) {
        let anomaly = Anomaly::by_name(notice.name()).expect("every notice is an anomaly by name");
        *place = anomaly.code();
    }
    codes
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_notice_has_its_anomaly() {
        super::anomaly_codes();
    }
}
