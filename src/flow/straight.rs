//! The straight path: nearly every packet of an established flow is what was expected next, and
//! takes one short walk from its record to its values (header prediction: V. Jacobson, "4BSD Header
//! Prediction", 1990; RFC 1122 section 4.2.3.3 speaks of it).
//!
//! When it is taken: the flow has an entry of the class and state that its record has, it has not
//! timed out, no policy marks it, and its packets have been seen in this direction. (A flow without
//! connections, of which one direction alone has been seen, is such too: nothing changes with one
//! more of these.) A segment must also be plain (ACK and perhaps PSH, and not signed). Where its
//! checksum is wrong, or no handshake covers it and no policy minds, that is all. Any other must
//! begin where its sender's last one ended, acknowledge nothing old and nothing unsent, end within
//! the window and be no older than the one before; neither side has a flag to look after, nothing
//! waits in either direction, and there are pages for its bytes.
//!
//! Why it is equal: under these conditions no check of tcp.rs and connection.rs can say anything, and
//! what is left of them are the assignments below. All other packets go the general way, which does
//! the same for these; tests/straight.rs runs both over all captures and random segments.

use super::expiry::{Stage, class_of};
use super::pages::PagePool;
use super::rate;
use super::record::*;
use super::segment::Segment;
use super::stage::{FlowStage, TCP, values_of};
use super::stream::Limits;
use super::table::{Answer, FlowLine, Timeouts};
use crate::counters::{Counter, Counters};
use crate::memory::slab::Slabs;
use crate::packet::{Context, Direction, flag};
use crate::time::Tick;

/// Flags of a flow that decide: established and promoted, or neither, and unmarked by a policy.
const DECISIVE: u8 = FLOW_ESTABLISHED | FLOW_PROMOTED | FLOW_BYPASS | FLOW_DROP;
/// The only flags of a connection with which its checks are those that are left out here.
const HARMLESS: u16 = TCP_TIMESTAMPS | TCP_MIDSTREAM | TCP_SCALED | TCP_CONFIRMED | TCP_REUSE;

impl FlowStage {
    /// As [`FlowStage::straight`], for where most packets have not come straight.
    #[inline(never)]
    pub(super) fn straight_apart(
        &mut self,
        context: &mut Context,
        bytes: &[u8],
        answer: Answer,
        length: u32,
        counters: &Counters,
    ) -> bool {
        self.straight(context, bytes, answer, length, counters)
    }

    /// Takes a packet in, if it may go straight. False: nothing was changed.
    #[inline(always)]
    pub(super) fn straight(
        &mut self,
        context: &mut Context,
        bytes: &[u8],
        answer: Answer,
        length: u32,
        counters: &Counters,
    ) -> bool {
        #[cfg(any(test, fuzzing))]
        if self.straight_probe.0 {
            return false;
        }
        let Answer::Found(flow) = answer else {
            return false;
        };
        let has_closed = self.closed_before != self.flows.counters().closed;
        if has_closed && self.flows.class(flow).is_none() {
            return false;
        }
        let Some((line, record)) = self.records.flow_mut(flow) else {
            return false;
        };
        let now = Tick::from_nanos(self.clock);
        let direction = record.direction_of(context);
        let Some(mut marks) = settled(record, line, context, direction, now, &self.timeouts) else {
            return false;
        };
        let mut connection = None;
        if context.protocol == TCP && context.has(flag::CHECKSUM_BAD) {
            // Its receiver discards it; the connection is as it was.
            if !context.has(flag::TRANSPORT) || Segment::read_plain(context, bytes).is_none() {
                return false;
            }
            marks |= flag::STREAM_NONE;
            connection = self.connections.get(record.tcp);
        } else if context.protocol == TCP && record.tcp == NONE {
            // No handshake covers it, and no policy minds.
            let is_untracked = context.has(flag::TRANSPORT) && self.rules.untracked;
            let segment = is_untracked.then(|| Segment::read_plain(context, bytes));
            let Some(segment) = segment.flatten() else {
                return false;
            };
            marks |= flag::STREAM_NONE;
            record.tcp_flags[direction.index()] |= segment.flags;
        } else if context.protocol == TCP {
            let parts = Parts {
                connections: &mut self.connections,
                pages: &mut self.pages,
                limits: &self.limits,
                clock: self.clock,
            };
            connection = parts.take(context, bytes, record, direction, counters);
            if connection.is_none() {
                return false;
            }
        }
        context.flow = flow;
        context.direction = direction;
        let length = record.count(context, length);
        line.touch(now);
        context.set(match record.flags & FLOW_MIDSTREAM {
            0 => marks,
            _ => marks | flag::MIDSTREAM,
        });
        context.values = values_of(record, connection);
        rate::track(&mut self.rates, context, length, counters);
        #[cfg(any(test, fuzzing))]
        (self.straight_probe.1 += 1);
        true
    }
}

/// The flags that a packet of a flow gets which stays as it is with this packet; `None` if it might
/// not, or has ended, or if the packet is none to count on.
#[inline(always)]
fn settled(
    record: &Record,
    line: &FlowLine,
    context: &Context,
    direction: Direction,
    now: Tick,
    timeouts: &Timeouts,
) -> Option<u32> {
    let (stage, marks, is_steady) = match record.flags & DECISIVE {
        0 => {
            let is_steady = match context.protocol {
                TCP => record.tcp == NONE,
                // One way alone has been seen.
                _ => record.packets[direction.opposite().index()] == 0,
            };
            (Stage::New, 0, is_steady)
        }
        decisive => {
            let is_unmarked = decisive == FLOW_ESTABLISHED | FLOW_PROMOTED;
            (Stage::Established, flag::ESTABLISHED, is_unmarked)
        }
    };
    let state = line.state();
    let class = class_of(context.tuple.protocol, stage);
    let limit = timeouts.ticks.get(usize::from(class))?;
    let is_settled = is_steady
        && (state.expiry, state.phase) == (class, record.phase)
        && record.packets[direction.index()] != 0
        && !context.has(flag::ICMP_ERROR)
        && now.since(line.last_seen()) <= *limit;
    is_settled.then_some(marks)
}

/// What of the stage a segment needs.
struct Parts<'a> {
    connections: &'a mut Slabs<Tcp>,
    pages: &'a mut PagePool,
    limits: &'a Limits,
    clock: u64,
}

impl<'a> Parts<'a> {
    /// Takes a segment in, if it is what its connection expects, and gives the connection. `None`:
    /// nothing was changed.
    #[inline(always)]
    fn take(
        self,
        context: &mut Context,
        bytes: &[u8],
        record: &mut Record,
        direction: Direction,
        counters: &Counters,
    ) -> Option<&'a Tcp> {
        if !context.has(flag::TRANSPORT) {
            return None;
        }
        let payload = context.payload_of(bytes);
        let segment = Segment::read_plain(context, bytes)?;
        let tcp = self.connections.get_mut(record.tcp)?;
        if record.phase != tcp.phase as u8
            || !is_next(tcp, &segment, direction)
            || payload.len() != segment.length as usize
            || !has_room(tcp, direction, segment.length, self.pages, self.limits)
        {
            return None;
        }
        advance(tcp, &segment, direction, context.time_ns, self.pages);
        if !payload.is_empty() {
            let stream = &mut tcp.sides[direction.index()].stream;
            let (offset, is_first) = stream.append(self.pages, payload);
            context.stream_offset = offset;
            context.stream_skip = 0;
            context.stream_length = context.payload_length;
            context.set(flag::STREAM | (u32::from(is_first) * flag::STREAM_START));
            counters.inc(Counter::SegmentsInOrder);
        }
        tcp.last_order = context.order;
        tcp.last_clock_ns = self.clock;
        record.tcp_flags[direction.index()] |= segment.flags;
        Some(tcp)
    }
}

/// Whether a plain segment is what the connection expects next, so that no check can object.
#[inline(always)]
fn is_next(tcp: &Tcp, segment: &Segment, direction: Direction) -> bool {
    let (sender, receiver) = tcp.sides(direction);
    let is_quiet = tcp.phase == TcpPhase::Established
        && tcp.flags & !HARMLESS == 0
        && (sender.flags | receiver.flags) & !SIDE_TIMESTAMPS == 0;
    // A byte sent into a closed window is a probe.
    let is_probe = segment.length == 1 && sender.window == 0;
    is_quiet
        && segment.seq == sender.next
        && !sender.acked.after(segment.seq)
        && (segment.length == 0 || segment.end().after(sender.acked))
        && !segment.end().after(sender.edge)
        && !segment.ack.before(receiver.acked)
        && !segment.ack.after(receiver.edge)
        && !is_probe
        && (!tcp.has(TCP_TIMESTAMPS) || sender.is_in_time(segment))
}

/// Whether the bytes of such a segment are the next of a stream without anything to look after.
#[inline(always)]
fn has_room(
    tcp: &Tcp,
    direction: Direction,
    length: u32,
    pages: &PagePool,
    limits: &Limits,
) -> bool {
    let (sender, receiver) = tcp.sides(direction);
    receiver.stream.ahead() == 0
        && sender.stream.ahead() == 0
        && (length == 0 || sender.stream.is_smooth(sender.next, length, pages, limits))
}

/// What tcp.rs does with a segment that no check objects to.
#[inline(always)]
fn advance(
    tcp: &mut Tcp,
    segment: &Segment,
    direction: Direction,
    time_ns: u64,
    pool: &mut PagePool,
) {
    let scale = tcp.window_scale(direction);
    let (sender, receiver) = tcp.sides_mut(direction);
    sender.take_timestamp(segment, (time_ns / 1_000_000_000) as u32);
    sender.next = segment.end();
    receiver.window = u32::from(segment.window) << scale;
    receiver.acknowledge(pool, segment.ack);
    receiver.edge = receiver.edge.latest(receiver.acked.plus(receiver.window));
    if direction == Direction::ToClient {
        tcp.flags |= TCP_CONFIRMED;
    }
}
