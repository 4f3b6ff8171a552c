//! How flows end: by time, by want of room, by a new connection on old ports, by the engine's stop.
//! An ended flow is closed in the table at once (no packet finds it any more); its end travels to
//! match as a FlowEnd view, with whatever stream bytes still waited, and its slot is free again when
//! that view comes home. What the timeouts are is configuration; who is evicted is table.rs.
//!
//! Invariant: a flow that should have ended by time is treated as ended when the next packet looks
//! it up, so no result depends on how often the sweep came round.

use std::collections::VecDeque;

use super::record::{
    EndReason, FLOW_BYPASS, FLOW_CLIENT_IS_B, FLOW_DROP, FLOW_ESTABLISHED, NONE, Record,
};
use super::stage::{FlowStage, values_of};
use super::table::{EVICTED_MAX, EXPIRY_CLASSES, GROUP_SLOTS, Timeouts};
use crate::config::{Config, Mode};
use crate::counters::Counter;
use crate::decode::{is_v6, outer_vlan, pair_port};
use crate::event::Emit;
use crate::memory::{Block, Handle};
use crate::packet::{BURST_VIEWS_MAX, Burst, Direction, FlowHandle, Kind, flag};
use crate::time::{TICKS_PER_SECOND, Tick, ticks};

/// Ends that may wait for a view; beyond, nothing more is swept until some have gone.
pub const ENDS_MAX: usize = 4 * EVICTED_MAX;
/// Ends that one chain may bring: of each of its packets, the flow that it outlived and one whose
/// state it takes, while no chain is longer than the layers of a frame.
const ENDS_PER_CHAIN_MAX: usize = EVICTED_MAX;
/// Groups that one call at the end looks at: a worker whose turn took as long as a look at a table
/// of many millions would be taken for one that hangs (keeper/health.rs).
const GROUPS_PER_FINISH: u32 = 64;
/// Seconds in which the sweep goes round the whole table.
const ROUND_SECONDS: u32 = 10;
/// Groups of thirty flows that one burst looks at, at most.
const SWEEP_GROUPS_MAX: u32 = 64;
/// Seconds for which a closed flow stays in the path: its receiver may still take data.
const TOMBSTONE_SECONDS: u32 = 120;
/// Closed flows give way once less than one place in so many is free: at a million connections a
/// second their tombstones would fill any table, and new connections would be refused.
const FREE_SHARE: u32 = 16;
/// Closed flows that may be known in their order, as a share of the table; any beyond wait for
/// their time.
const CLOSED_SHARE: u32 = 4;
/// Closed flows that give way in one burst, at most; each packet of a burst opens one at most.
const CLOSED_PER_BURST_MAX: usize = 64;
/// Blocks that hold one direction's bytes, at most: a bound for the loop that shows them.
pub const VIEWS_PER_STREAM_MAX: usize = 128;

/// IANA protocol number of TCP.
const IPPROTO_TCP: u8 = 6;

/// What a flow is, for its timeout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Not established.
    New = 0,
    /// Established.
    Established = 1,
    /// Both sides closed.
    Closed = 2,
}

/// The table's expiry class of a flow.
pub fn class_of(protocol: u8, stage: Stage) -> u8 {
    let family = match protocol {
        IPPROTO_TCP => 0,
        17 => 3,
        1 | 58 => 6,
        _ => 9,
    };
    family + stage as u8
}

/// The table's timeouts by class.
pub fn timeouts(config: &Config) -> Timeouts {
    let mut limits = [u32::MAX; EXPIRY_CLASSES];
    let families = [
        config.tcp_timeouts,
        config.udp_timeouts,
        config.icmp_timeouts,
        config.other_timeouts,
    ];
    let tombstone = if config.mode == Mode::Inline {
        TOMBSTONE_SECONDS
    } else {
        0
    };
    for (places, family) in limits.chunks_exact_mut(3).zip(families) {
        let closed = family.closed.max(tombstone);
        for (place, seconds) in places
            .iter_mut()
            .zip([family.new, family.established, closed])
        {
            *place = ticks(seconds);
        }
    }
    Timeouts { ticks: limits }
}

/// Ends that wait for a view.
pub struct Ends {
    waiting: VecDeque<(FlowHandle, EndReason)>,
    /// Closed flows in the order in which they closed. Those that have ended since are in it too.
    closed: VecDeque<FlowHandle>,
    closed_max: usize,
    /// When the sweep last ran.
    swept: Tick,
    /// Groups of a whole round.
    groups_per_round: u32,
    /// Groups closed since `finish` began.
    finished_groups: u32,
}

impl Ends {
    /// For a table of so many groups and flows.
    pub fn new(groups: u32, flows_max: u32) -> Ends {
        let closed_max = Ends::closed_max(flows_max);
        Ends {
            waiting: VecDeque::with_capacity(ENDS_MAX),
            closed: VecDeque::with_capacity(closed_max),
            closed_max,
            swept: Tick(0),
            groups_per_round: groups,
            finished_groups: 0,
        }
    }

    /// Closed flows known in their order, for a table of so many flows.
    pub fn closed_max(flows_max: u32) -> usize {
        (flows_max / CLOSED_SHARE).max(1) as usize
    }

    /// A flow has closed.
    pub fn note_closed(&mut self, flow: FlowHandle) {
        if self.closed.len() < self.closed_max {
            self.closed.push_back(flow);
        }
    }

    /// Whether another end can wait.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < ENDS_MAX
    }

    /// Ends that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl FlowStage {
    /// Takes a flow out of the table and announces its end. False if too many ends wait.
    pub(super) fn end(&mut self, flow: FlowHandle, reason: EndReason) -> bool {
        if !self.ends.has_room() || !self.flows.close(flow) {
            return false;
        }
        self.ends.waiting.push_back((flow, reason));
        true
    }

    /// When nothing comes: sweeps, and gives the ends that are due.
    pub fn idle(&mut self, burst: &mut Burst, emit: &mut Emit) {
        self.clock = self.clock.max(emit.now_ns);
        self.stamp = emit.now_ns;
        self.expire(burst, emit);
    }

    /// At the end of all packets: ends whatever is left, a part with each call. True when done.
    pub fn finish(&mut self, burst: &mut Burst, emit: &mut Emit) -> bool {
        self.collect_evicted();
        self.defrag.clear(&mut self.fragments);
        let groups = self.flows.sweep_groups();
        // No flow may rest for any time, so none is left, even where a capture's clock went back.
        let now = Tick::from_nanos(self.clock);
        let timeouts = Timeouts {
            ticks: [0; EXPIRY_CLASSES],
        };
        let until = groups.min(self.ends.finished_groups.saturating_add(GROUPS_PER_FINISH));
        while self.ends.finished_groups < until && self.has_room_for_group() {
            let count = self.groups_with_room(until - self.ends.finished_groups);
            let waiting = &mut self.ends.waiting;
            self.flows.sweep(count, now, &timeouts, |flow| {
                waiting.push_back((flow, EndReason::Shutdown));
            });
            self.ends.finished_groups += count;
        }
        self.give_ends(burst, emit);
        let done = self.ends.finished_groups >= groups && self.ends.is_empty();
        if done {
            self.ends.finished_groups = 0;
        }
        done
    }

    /// While packets wait: gives the ends that are due, but sweeps nothing, since the table has
    /// answered for those packets already. Call only between chains.
    pub(super) fn make_way(&mut self, burst: &mut Burst, emit: &mut Emit) {
        self.collect_evicted();
        self.give_ends(burst, emit);
    }

    /// Whether the ends that one chain may bring find room.
    pub(super) fn has_room_for_ends(&self) -> bool {
        self.ends.len() + ENDS_PER_CHAIN_MAX <= ENDS_MAX
    }

    fn has_room_for_group(&self) -> bool {
        self.ends.len() + GROUP_SLOTS as usize <= ENDS_MAX
    }

    /// Groups, `count` at most, whose flows all find room if they end.
    fn groups_with_room(&self, count: u32) -> u32 {
        count.min((ENDS_MAX - self.ends.len()) as u32 / GROUP_SLOTS)
    }

    /// What the table evicted to make room.
    fn collect_evicted(&mut self) {
        while self.ends.has_room() {
            let Some(flow) = self.flows.pop_evicted() else {
                return;
            };
            self.ends.waiting.push_back((flow, EndReason::Evicted));
        }
    }

    /// Closed flows give way, oldest first, while the table is nearly full. Condemned ones stay.
    fn make_room(&mut self) {
        let limit = self.flows.flows_max() - self.flows.flows_max() / FREE_SHARE;
        for _ in 0..CLOSED_PER_BURST_MAX {
            if self.flows.population() < u64::from(limit) || !self.ends.has_room() {
                return;
            }
            let Some(flow) = self.ends.closed.pop_front() else {
                return;
            };
            let closed = class_of(IPPROTO_TCP, Stage::Closed);
            let is_closed = self
                .flows
                .line(flow)
                .is_some_and(|line| line.state().expiry == closed);
            let record = self.records.get(flow.slot);
            if is_closed && record.is_some_and(|record| record.flags & FLOW_DROP == 0) {
                self.end(flow, EndReason::Evicted);
            }
        }
    }

    /// Sweeps as much of the table as the time since the last sweep is worth, and gives ends.
    pub(super) fn expire(&mut self, burst: &mut Burst, emit: &mut Emit) {
        self.collect_evicted();
        self.make_room();
        let now = Tick::from_nanos(self.clock);
        self.defrag
            .expire(&mut self.fragments, self.clock, &emit.counters);
        let elapsed = now.since(self.ends.swept).min(TICKS_PER_SECOND);
        let share = self.ends.groups_per_round / (ROUND_SECONDS * TICKS_PER_SECOND) + 1;
        let mut left = elapsed.saturating_mul(share).min(SWEEP_GROUPS_MAX);
        if left != 0 {
            self.ends.swept = now;
        }
        while left != 0 && self.has_room_for_group() {
            let groups = self.groups_with_room(left);
            let waiting = &mut self.ends.waiting;
            self.flows.sweep(groups, now, &self.timeouts, |flow| {
                waiting.push_back((flow, EndReason::Timeout));
            });
            left -= groups;
        }
        self.give_ends(burst, emit);
    }

    /// Turns waiting ends into views while there are views and room in the burst. A flow whose
    /// waiting bytes do not all find a view now goes on with the next call.
    fn give_ends(&mut self, burst: &mut Burst, emit: &mut Emit) {
        while let Some((flow, reason)) = self.ends.waiting.front().copied() {
            let from = burst.len();
            let all = self.show_rest(flow, burst, emit);
            let has_room = burst.len() < BURST_VIEWS_MAX && !emit.views.is_empty();
            let view = if all && has_room { emit.view() } else { None };
            let Some(view) = view else {
                if let Some(last) = burst.iter_mut().skip(from).last() {
                    last.set_more(false);
                }
                return;
            };
            self.ends.waiting.pop_front();
            self.give_end(flow, reason, view, burst, emit);
        }
    }

    fn give_end(
        &mut self,
        flow: FlowHandle,
        reason: EndReason,
        mut view: Handle,
        burst: &mut Burst,
        emit: &mut Emit,
    ) {
        self.count_end(reason, emit);
        let record = self.records.get(flow.slot).copied().unwrap_or_default();
        let (order, clock) = self.last_moment(record.tcp);
        let gaps = self.gaps_of(record.tcp);
        self.free_connection(flow.slot);
        let mut values = values_of(&record, None);
        values.end_reason = reason as u8;
        values.last_ns = record.last_ns;
        values.elephant = self.elephant(flow);
        values.gaps = gaps;
        let line = self.flows.line(flow);
        let class = line.as_ref().map(|line| line.state().expiry);
        let tuple = line.map(|line| line.tuple()).unwrap_or_default();
        emit.counters.flow_moved(class, None);
        let now = self.stamp;
        let context = self.contexts.get_mut(&mut view);
        context.reset();
        context.kind = Kind::FlowEnd;
        context.flow = flow;
        context.tuple = tuple;
        context.protocol = tuple.protocol;
        // What the key still says of the wire: no packet is at hand any more.
        let vlan = outer_vlan(&tuple);
        (context.vlans[0], context.vlan_count) = (vlan, u8::from(vlan != 0));
        context.port = pair_port(&tuple).unwrap_or(u8::MAX);
        context.direction = Direction::ToServer;
        context.order = order;
        context.time_ns = now;
        context.clock_ns = clock;
        context.values = values;
        context.set(if is_v6(&tuple) {
            flag::IPV6
        } else {
            flag::IPV4
        });
        context.set(flags_of(&record));
        view.set_length(0);
        view.set_more(false);
        burst.push(view);
    }

    /// Place and time in the feed of a connection's last packet, as of which its end is told; where
    /// there is no connection, nothing hangs on it, and it is now.
    pub(super) fn last_moment(&self, index: u32) -> (u64, u64) {
        match self.connections.get(index) {
            Some(tcp) => (tcp.last_order, tcp.last_clock_ns),
            None => (self.order, self.clock),
        }
    }

    /// Directions of a connection in which bytes were given up, a bit each.
    fn gaps_of(&self, index: u32) -> u8 {
        let Some(tcp) = self.connections.get(index) else {
            return 0;
        };
        let [client, server] = &tcp.sides;
        u8::from(client.stream.has_lost()) | u8::from(server.stream.has_lost()) << 1
    }

    /// Stream bytes that still waited: gaps before them are given up, the FlowEnd follows. False if
    /// some did not find a view.
    fn show_rest(&mut self, flow: FlowHandle, burst: &mut Burst, emit: &mut Emit) -> bool {
        let index = self.connection_of(flow);
        for direction in [Direction::ToServer, Direction::ToClient] {
            // Each turn shows an island of bytes, of which the burst's room bounds the number.
            for _ in 0..BURST_VIEWS_MAX {
                let waits = self
                    .stream_mut(index, direction)
                    .is_some_and(|s| s.ahead() != 0);
                if !waits {
                    break;
                }
                if self.give_up_gap(index, direction) {
                    emit.counters.inc(Counter::StreamGaps);
                }
                let room = BURST_VIEWS_MAX.saturating_sub(burst.len());
                let before = burst.len();
                self.show_rest_of(flow, index, direction, room, burst, emit);
                if burst.len() == before {
                    return false;
                }
            }
        }
        true
    }

    fn count_end(&mut self, reason: EndReason, emit: &Emit) {
        emit.counters.inc(match reason {
            EndReason::Timeout | EndReason::None => Counter::FlowsEndedTimeout,
            EndReason::Closed => Counter::FlowsEndedClosed,
            EndReason::Evicted => Counter::FlowsEndedEvicted,
            EndReason::Shutdown => Counter::FlowsEndedShutdown,
        });
    }

    /// A view came home: its block is free; a flow whose end it told gives up its slot.
    pub fn recycle(&mut self, handle: &mut Handle) {
        let context = self.contexts.get_mut(handle);
        let (flow, kind) = (context.flow, context.kind);
        if context.block != NONE {
            self.views.give(Block::from_index(context.block));
            context.block = NONE;
        }
        if kind == Kind::FlowEnd {
            context.kind = Kind::Frame;
            if let Some(record) = self.records.get_mut(flow.slot) {
                *record = Record::default();
            }
            self.flows.release(flow);
        }
    }
}

/// Context flags that a flow's end has from its record.
fn flags_of(record: &Record) -> u32 {
    let mut flags = 0;
    if record.flags & FLOW_CLIENT_IS_B != 0 {
        flags |= flag::REVERSED;
    }
    if record.flags & FLOW_ESTABLISHED != 0 {
        flags |= flag::ESTABLISHED;
    }
    if record.flags & FLOW_DROP != 0 {
        flags |= flag::DROP_FLOW;
    }
    if record.flags & FLOW_BYPASS != 0 {
        flags |= flag::BYPASS;
    }
    flags
}
