//! What the flow stage does with a TCP packet: asks the tracker (handshake.rs, tcp.rs), gives the
//! payload to the stream, and turns what both say into flags, verdict, notices and counters. How
//! views of waiting bytes are made is views.rs.

use super::expiry::VIEWS_PER_STREAM_MAX;
use super::handshake::unopened;
use super::notice::{Notice, Notices};
use super::record::*;
use super::segment::{FIN, RST, SYN, Segment, URG};
use super::stage::FlowStage;
use super::stream::{Stream, Taken, Taking};
use super::tcp::{Fate, Rules, Track, is_reuse};
use super::{KEPT_PAGES_MAX, VIEW_BLOCK_BYTES};
use crate::config::{Area, Policy, Urgent};
use crate::counters::{Counter, Counters};
use crate::event::Emit;
use crate::packet::{Context, Direction, FlowHandle, flag};
use crate::reason::Reason;

/// Connections looked at to find one whose state may be taken for another.
const RECLAIM_MAX: u32 = 64;
/// Pages that an unacknowledged direction keeps when nobody acknowledges (one side is seen).
const ONE_SIDED_PAGES_MAX: u32 = KEPT_PAGES_MAX / 128;

impl FlowStage {
    /// Whether a SYN takes the ports of a connection that is over.
    pub(super) fn is_port_reuse(&self, context: &Context, bytes: &[u8], flow: FlowHandle) -> bool {
        if !super::segment::has_syn(context, bytes) {
            return false;
        }
        let Some(segment) = Segment::read(context, bytes) else {
            return false;
        };
        let Some(record) = self.records.get(flow.slot) else {
            return false;
        };
        let direction = record.direction_of(context);
        if record.packets == [0; 2] {
            return false;
        }
        is_reuse(
            self.connections.get(record.tcp),
            &segment,
            direction,
            self.rules,
        )
    }

    /// One TCP packet of a flow. Gives the directions that have bytes to show behind it.
    pub(super) fn tcp(
        &mut self,
        context: &mut Context,
        bytes: &[u8],
        flow: FlowHandle,
        emit: &mut Emit,
        room: usize,
    ) -> Option<[Option<Direction>; 2]> {
        let segment = Segment::read(context, bytes)?;
        let was_established = self.is_established(flow);
        if was_established {
            context.set(flag::ESTABLISHED);
        }
        if context.has(flag::CHECKSUM_BAD) {
            context.set(flag::STREAM_NONE);
            return None;
        }
        if let Some(record) = self.records.get_mut(flow.slot)
            && let Some(flags) = record.tcp_flags.get_mut(context.direction.index())
        {
            *flags |= segment.flags;
        }
        if self.urgent_refused(&segment) {
            self.refuse(context, Reason::TcpUrgent);
            return None;
        }
        let mut notices = Notices::default();
        let fate = self.track(context, &segment, flow, &mut notices, emit);
        let work = self.settle(
            context,
            bytes,
            &segment,
            flow,
            fate,
            &mut notices,
            emit,
            room,
        );
        self.tell(context, &notices, &emit.counters);
        self.mark_established(context, &segment, flow, was_established);
        work
    }

    fn is_established(&self, flow: FlowHandle) -> bool {
        self.records
            .get(flow.slot)
            .is_some_and(|record| record.flags & FLOW_ESTABLISHED != 0)
    }

    fn urgent_refused(&self, segment: &Segment) -> bool {
        segment.has(URG) && self.rules.inline && self.config.urgent == Urgent::Drop
    }

    /// Copies the connection's state to the record; the packet that establishes a connection counts
    /// as established only if it brings bytes.
    fn mark_established(
        &mut self,
        context: &mut Context,
        segment: &Segment,
        flow: FlowHandle,
        was_established: bool,
    ) {
        let Some(record) = self.records.get_mut(flow.slot) else {
            return;
        };
        let Some(tcp) = self.connections.get_mut(record.tcp) else {
            return;
        };
        tcp.last_order = context.order;
        tcp.last_clock_ns = self.clock;
        record.phase = tcp.phase as u8;
        if tcp.phase.is_established() {
            record.flags |= FLOW_ESTABLISHED;
            if !was_established && segment.length != 0 && !context.has(flag::DECIDED) {
                context.set(flag::ESTABLISHED);
            }
        }
        if tcp.has(TCP_MIDSTREAM) {
            record.flags |= FLOW_MIDSTREAM;
        }
    }

    /// The tracker's word on a segment; makes the connection's state if there is none.
    fn track(
        &mut self,
        context: &mut Context,
        segment: &Segment,
        flow: FlowHandle,
        notices: &mut Notices,
        emit: &mut Emit,
    ) -> Fate {
        let Some(record) = self.records.get(flow.slot).copied() else {
            return Fate::Untracked;
        };
        if record.flags & (FLOW_DROP | FLOW_BYPASS) != 0 {
            return Fate::Passed;
        }
        let seconds = (context.time_ns / 1_000_000_000) as u32;
        if let Some(tcp) = self.connections.get_mut(record.tcp) {
            let mut track = Track {
                tcp,
                segment,
                direction: context.direction,
                rules: self.rules,
                seconds,
                notices,
                pool: &mut self.pages,
            };
            return track.run();
        }
        self.open_connection(context, segment, flow, record.flags, notices, emit)
    }

    /// A packet of a flow that has no connection yet: policy, then state if it can open one.
    fn open_connection(
        &mut self,
        context: &mut Context,
        segment: &Segment,
        flow: FlowHandle,
        flags: u8,
        notices: &mut Notices,
        emit: &mut Emit,
    ) -> Fate {
        let seconds = (context.time_ns / 1_000_000_000) as u32;
        if !segment.is_syn() && !segment.has(RST) {
            let (area, reason) = (Area::Midstream, Reason::TcpMidstream);
            self.except(context, flow, area, reason, &emit.counters);
            if context.flags & (flag::BYPASS | flag::DECIDED) != 0 {
                return Fate::Passed;
            }
        }
        if !opens(segment, self.rules) {
            // No state is taken for what cannot open a connection.
            return unopened(segment, self.rules, notices).unwrap_or(Fate::Untracked);
        }
        let Some(index) = self.take_connection(flow) else {
            emit.counters.inc(Counter::SegmentsLimit);
            let (area, reason) = (Area::ConnectionMemory, Reason::StreamMemory);
            let policy = self.except(context, flow, area, reason, &emit.counters);
            return if policy == Policy::Ignore {
                Fate::Untracked
            } else {
                Fate::Passed
            };
        };
        let Some(tcp) = self.connections.get_mut(index) else {
            return Fate::Untracked;
        };
        tcp.flags |= if flags & FLOW_REUSE != 0 {
            TCP_REUSE
        } else {
            0
        };
        let mut track = Track {
            tcp,
            segment,
            direction: context.direction,
            rules: self.rules,
            seconds,
            notices,
            pool: &mut self.pages,
        };
        let (fate, swap) = track.open();
        if track.tcp.phase == TcpPhase::None {
            let given = self.connections.give_back(index);
            debug_assert!(given, "the state was just taken");
            return fate;
        }
        if let Some(record) = self.records.get_mut(flow.slot) {
            record.tcp = index;
        }
        if swap {
            self.swap_direction(context, flow);
        }
        fate
    }

    /// The flow's first packet was the server's: client and server change places.
    fn swap_direction(&mut self, context: &mut Context, flow: FlowHandle) {
        let Some(record) = self.records.get_mut(flow.slot) else {
            return;
        };
        record.flags ^= FLOW_CLIENT_IS_B;
        record.packets.swap(0, 1);
        record.bytes.swap(0, 1);
        record.tcp_flags.swap(0, 1);
        context.direction = context.direction.opposite();
    }

    // --- what the tracker's word means for the packet ---

    #[allow(clippy::too_many_arguments)]
    fn settle(
        &mut self,
        context: &mut Context,
        bytes: &[u8],
        segment: &Segment,
        flow: FlowHandle,
        fate: Fate,
        notices: &mut Notices,
        emit: &mut Emit,
        room: usize,
    ) -> Option<[Option<Direction>; 2]> {
        match fate {
            Fate::Invalid(reason) => {
                if reason == Reason::TcpOutOfWindow {
                    emit.counters.inc(Counter::SegmentsOutOfWindow);
                }
                context.set(flag::STREAM_NONE);
                if self.config.drop_invalid {
                    self.refuse(context, reason);
                }
                return None;
            }
            Fate::Untracked => {
                context.set(flag::STREAM_NONE);
                return None;
            }
            Fate::Passed if context.has(flag::DECIDED) => return None,
            Fate::Passed => {
                // Bytes that are part of no stream are looked at by themselves.
                let bare = context.payload_length != 0 && !context.has(flag::BYPASS);
                context.set(if bare { flag::STREAM_NONE } else { 0 });
            }
            Fate::Stream => {
                if !self.offer(context, bytes, segment, flow, notices, emit, room) {
                    return None;
                }
            }
        }
        self.mark_end(context, flow, segment.has(RST));
        self.work_of(context.direction, flow, notices, emit)
    }

    /// Gives the payload to the stream. False if the packet is refused.
    #[allow(clippy::too_many_arguments)]
    fn offer(
        &mut self,
        context: &mut Context,
        bytes: &[u8],
        segment: &Segment,
        flow: FlowHandle,
        notices: &mut Notices,
        emit: &mut Emit,
        room: usize,
    ) -> bool {
        let index = self.connection_of(flow);
        let payload = context.payload_of(bytes);
        if payload.is_empty() {
            return true;
        }
        let direction = context.direction;
        if self.rules.inline && !self.has_room_behind(index, direction, segment, emit, room) {
            self.refuse(context, Reason::DecodeViewsExhausted);
            return false;
        }
        let mut limits = self.limits;
        let leaves_out = segment.has(URG)
            && matches!(self.config.urgent, Urgent::OutOfBand | Urgent::Gap)
            && (1..=segment.length).contains(&u32::from(segment.urgent));
        let Some(tcp) = self.connections.get_mut(index) else {
            return true;
        };
        let one_sided = tcp.has(TCP_ASYNC);
        let is_late = tcp.phase.is_established() && tcp.phase != TcpPhase::Established;
        let [client, server] = &mut tcp.sides;
        let side = if direction == Direction::ToServer {
            client
        } else {
            server
        };
        if leaves_out {
            let urgent = segment.data_seq().plus(u32::from(segment.urgent) - 1);
            if !side.stream.leave_out(urgent) {
                notices.note(Notice::UrgentLimit);
            }
        }
        if side.stream.may_exceed(payload.len(), &limits) {
            limits.depth = self.depths.of(self.flows.spoken(flow), limits.depth);
        }
        let taken = side
            .stream
            .offer(&mut self.pages, segment.data_seq(), payload, &limits);
        if one_sided {
            side.stream.forget(&mut self.pages, ONE_SIDED_PAGES_MAX);
        }
        if is_late && taken.taking == Taking::Retransmit {
            notices.note(Notice::Retransmission);
        }
        self.mark_taken(context, flow, &taken, notices, emit)
    }

    /// Turns what the stream took into flags and counters. False if the packet is refused.
    fn mark_taken(
        &mut self,
        context: &mut Context,
        flow: FlowHandle,
        taken: &Taken,
        notices: &mut Notices,
        emit: &mut Emit,
    ) -> bool {
        let counters = &emit.counters;
        if taken.depth_reached {
            counters.inc(Counter::StreamDepthReached);
        }
        if taken.depth_reached || taken.taking == Taking::BeyondDepth {
            notices.note(Notice::DepthReached);
            if self.passes_depth(context, flow, taken, counters) {
                return false;
            }
        }
        if taken.gap {
            counters.inc(Counter::StreamGaps);
            notices.note(Notice::SequenceGap);
        }
        if taken.conflict {
            counters.inc(Counter::SegmentsOverlap);
            notices.note(Notice::OverlapDifferentData);
            if taken.taking != Taking::InOrder {
                // Another reading of the same bytes: looked at by itself.
                context.set(flag::STREAM_NONE);
            }
        }
        match taken.taking {
            Taking::Nothing | Taking::BeyondDepth => {}
            Taking::InOrder => {
                counters.inc(Counter::SegmentsInOrder);
                mark_in_order(context, taken);
            }
            Taking::Buffered => counters.inc(Counter::SegmentsBuffered),
            Taking::Retransmit => {
                counters.inc(Counter::SegmentsRetransmit);
                context.set(flag::RETRANSMIT);
            }
            Taking::Conflict => {
                self.refuse(context, Reason::TcpOverlapConflict);
                return false;
            }
            Taking::Limit | Taking::Memory => {
                counters.inc(Counter::SegmentsLimit);
                let memory = taken.taking == Taking::Memory;
                notices.note(if memory {
                    Notice::InsertMemory
                } else {
                    Notice::InsertLimit
                });
                context.set(flag::STREAM_NONE);
                let (area, reason) = (Area::StreamMemory, Reason::StreamMemory);
                let policy = self.except(context, flow, area, reason, counters);
                return policy.forwards();
            }
        }
        true
    }

    /// Bytes beyond the depth: nobody will look at them. True if the packet is refused for it. The
    /// packet that crosses the depth still has bytes to look at, so none but a drop concerns it.
    fn passes_depth(
        &mut self,
        context: &mut Context,
        flow: FlowHandle,
        taken: &Taken,
        counters: &Counters,
    ) -> bool {
        let forwards = self.config.policy(Area::StreamDepth).forwards();
        if forwards && taken.taking != Taking::BeyondDepth {
            return false;
        }
        let (area, reason) = (Area::StreamDepth, Reason::StreamDepth);
        !self
            .except(context, flow, area, reason, counters)
            .forwards()
    }

    /// Marks the end of the sender's stream: FIN in order, or an accepted reset, whose own bytes are
    /// no part of it.
    fn mark_end(&mut self, context: &mut Context, flow: FlowHandle, is_reset: bool) {
        let index = self.connection_of(flow);
        let Some(tcp) = self.connections.get(index) else {
            return;
        };
        let [client, server] = &tcp.sides;
        let side = if context.direction == Direction::ToServer {
            client
        } else {
            server
        };
        let reaches_fin = side.has(SIDE_FIN)
            && side.stream.reaches(side.fin)
            && (context.stream_length != 0 || context.payload_length == 0);
        if reaches_fin || side.has(SIDE_RST) {
            context.set(flag::STREAM_END);
            let is_bare = !context.has(flag::STREAM_NONE) || is_reset;
            if !context.has(flag::STREAM) && is_bare {
                context.set(flag::STREAM);
                context.stream_offset = side.stream.position();
            }
        }
    }

    /// Which directions have bytes to show now; gaps that were acknowledged are given up first.
    fn work_of(
        &mut self,
        direction: Direction,
        flow: FlowHandle,
        notices: &mut Notices,
        emit: &mut Emit,
    ) -> Option<[Option<Direction>; 2]> {
        let index = self.connection_of(flow);
        let mut work = [None; 2];
        for (place, way) in work.iter_mut().zip([direction, direction.opposite()]) {
            let pages = &self.pages;
            let Some(stream) = stream_of(&mut self.connections, index, way) else {
                continue;
            };
            if stream.ahead() == 0 {
                continue;
            }
            if stream.give_up_acked(pages) {
                emit.counters.inc(Counter::StreamGaps);
                notices.note(Notice::SequenceGap);
            }
            if stream.ready(pages, 1, &self.limits).is_some() {
                *place = Some(way);
            }
        }
        work.iter().any(Option::is_some).then_some(work)
    }

    /// Whether all bytes that this segment would set free find a view.
    fn has_room_behind(
        &self,
        index: u32,
        direction: Direction,
        segment: &Segment,
        emit: &Emit,
        room: usize,
    ) -> bool {
        let Some(tcp) = self.connections.get(index) else {
            return true;
        };
        let [client, server] = &tcp.sides;
        let side = if direction == Direction::ToServer {
            client
        } else {
            server
        };
        if side.stream.ahead() == 0 || !side.stream.reaches(segment.data_seq()) {
            return true;
        }
        let limit = (VIEW_BLOCK_BYTES * VIEWS_PER_STREAM_MAX) as u32;
        let length = side.stream.ready_length(&self.pages, segment.end(), limit) as usize;
        // Urgent bytes cut a view in two.
        let needed = length.div_ceil(super::views::STREAM_VIEW_MAX) + super::stream::URGENT_MAX;
        length == 0 || needed <= room.min(emit.views.len()).min(self.views.available())
    }

    // --- the connections' state ---

    pub(super) fn connection_of(&self, flow: FlowHandle) -> u32 {
        self.records
            .get(flow.slot)
            .map_or(NONE, |record| record.tcp)
    }

    pub(super) fn stream_mut(&mut self, index: u32, direction: Direction) -> Option<&mut Stream> {
        stream_of(&mut self.connections, index, direction)
    }

    /// Gives up the gap before the next waiting bytes, whatever the receiver has.
    pub(super) fn give_up_gap(&mut self, index: u32, direction: Direction) -> bool {
        let pages = &self.pages;
        stream_of(&mut self.connections, index, direction)
            .is_some_and(|stream| stream.give_up(pages))
    }

    /// Takes state for a flow's connection; if all is in use, from one that is not established, or
    /// closed.
    fn take_connection(&mut self, flow: FlowHandle) -> Option<u32> {
        let fresh = |tcp: &mut Tcp| {
            *tcp = Tcp {
                slot: flow.slot,
                generation: flow.generation,
                ..Tcp::default()
            };
        };
        if let Some(index) = self.connections.take_with(fresh) {
            return Some(index);
        }
        for _ in 0..RECLAIM_MAX {
            self.hand = (self.hand + 1) % self.connections.count().max(1);
            let Some(tcp) = self.connections.get(self.hand) else {
                continue;
            };
            let dispensable = !tcp.phase.is_established() || tcp.phase == TcpPhase::Closed;
            let flow = FlowHandle {
                slot: tcp.slot,
                generation: tcp.generation,
            };
            if dispensable && self.end(flow, EndReason::Evicted) {
                self.free_connection(flow.slot);
                return self.connections.take_with(fresh);
            }
        }
        None
    }

    /// Gives back a slot's TCP state and the pages that it kept.
    pub(super) fn free_connection(&mut self, slot: u32) {
        let Some(record) = self.records.get_mut(slot) else {
            return;
        };
        let index = std::mem::replace(&mut record.tcp, NONE);
        if let Some(tcp) = self.connections.get_mut(index) {
            for side in &mut tcp.sides {
                side.stream.close(&mut self.pages);
            }
            let given = self.connections.give_back(index);
            debug_assert!(given, "a record names state in use");
        }
    }
}

/// Says which bytes of the packet belong to the stream, and how.
fn mark_in_order(context: &mut Context, taken: &Taken) {
    context.stream_offset = taken.offset;
    context.stream_skip = taken.skip;
    context.stream_length = taken.length;
    let marks = [
        (true, flag::STREAM),
        (taken.start, flag::STREAM_START),
        (taken.gap, flag::STREAM_GAP),
        (taken.depth_reached, flag::STREAM_END),
    ];
    for (_, bits) in marks.into_iter().filter(|(is_so, _)| *is_so) {
        context.set(bits);
    }
}

/// Whether a segment can make state; what cannot is judged without.
fn opens(segment: &Segment, rules: Rules) -> bool {
    if segment.has(RST) || segment.has(SYN | FIN) {
        return false;
    }
    segment.is_syn() || rules.midstream || (rules.async_oneside && segment.is_syn_ack())
}

fn stream_of(
    connections: &mut crate::memory::slab::Slabs<Tcp>,
    index: u32,
    direction: Direction,
) -> Option<&mut Stream> {
    let [client, server] = &mut connections.get_mut(index)?.sides;
    Some(match direction {
        Direction::ToServer => &mut client.stream,
        Direction::ToClient => &mut server.stream,
    })
}
