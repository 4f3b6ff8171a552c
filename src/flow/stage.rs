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

use std::sync::Arc;

use super::defrag::Defrag;
use super::expiry::{self, Ends, Stage, class_of};
use super::notice::{Notice, Notices};
use super::pages::PagePool;
use super::record::*;
use super::slab::Slabs;
use super::stream::Limits;
use super::table::{
    Admit, Answer, Class, DetectionSide, FlowSide, RecordSide, Request, Timeouts, Visit, Visitor,
};
use super::tcp::Rules;
use super::{FlowParts, limits};
use crate::config::{Config, Mode, Policy};
use crate::counters::{Counter, Counters};
use crate::decode::{Anomaly, Decoder};
use crate::event::Emit;
use crate::memory::{Arena, BlockPool, Handle, Regions};
use crate::packet::{
    BURST_VIEWS_MAX, Burst, Context, Direction, FlowHandle, FlowValues, Tuple, Verdict, flag,
};
use crate::reason::Reason;
use crate::time::Tick;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// Requests that the table answers together.
const ASK_MAX: usize = 64;
/// So many packets before its turn a packet's TCP state is asked for: four lines each, and a core
/// has about twenty under way.
const AHEAD: usize = 5;

/// Writes the table's answers down and asks for each flow's record.
struct Asked<'a> {
    answers: &'a mut Vec<Answer>,
    records: &'a RecordSide,
}

impl Visitor for Asked<'_> {
    #[inline(always)]
    fn visit(&mut self, visit: Visit<'_>) {
        let answer = visit.answer();
        if let Answer::Found(flow) | Answer::Created(flow) = answer {
            self.records.prefetch(flow.slot);
        }
        self.answers.push(answer);
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
    pub(super) connections: Slabs<Tcp>,
    pub(super) pages: PagePool,
    pub(super) fragments: PagePool,
    pub(super) views: BlockPool,
    pub(super) defrag: Defrag,
    pub(super) ends: Ends,
    pub(super) rules: Rules,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    /// Anomaly numbers by notice.
    pub(super) codes: [u8; Notice::ALL.len()],
    /// The burst that came in, while the one that goes out is filled.
    taken: Burst,
    answers: Vec<Answer>,
    /// Newest arrival so far, nanoseconds: time never goes back here.
    pub(super) clock: u64,
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
        let groups = parts.flows.sweep_groups();
        let stage = FlowStage {
            config: Arc::clone(config),
            regions: Arc::clone(regions),
            contexts: Arc::clone(contexts),
            decoder: Decoder::new(config),
            defrag: Defrag::new(config, parts.fragments.len()),
            flows: parts.flows,
            records: parts.records,
            connections: parts.connections,
            pages: parts.pages,
            fragments: parts.fragments,
            views: parts.views,
            ends: Ends::new(groups),
            rules: Rules::of(config),
            limits: limits(config),
            timeouts: expiry::timeouts(config),
            codes: anomaly_codes(),
            taken: Vec::with_capacity(BURST_VIEWS_MAX),
            answers: Vec::with_capacity(BURST_VIEWS_MAX),
            clock: 0,
            order: 0,
            hand: 0,
        };
        (stage, parts.detection)
    }

    /// Annotates the burst in order and inserts views.
    pub fn run(&mut self, burst: &mut Burst, emit: &mut Emit) {
        std::mem::swap(burst, &mut self.taken);
        let mut taken = std::mem::take(&mut self.taken);
        self.ask(&taken);
        // Once a burst: the stage is borrowed while it looks at a context and its bytes.
        let (contexts, regions) = (Arc::clone(&self.contexts), Arc::clone(&self.regions));
        let mut left = taken.len();
        for (index, mut handle) in taken.drain(..).enumerate() {
            left -= 1;
            self.ask_ahead(index + AHEAD);
            let answer = self.answers.get(index).copied().unwrap_or(Answer::Missing);
            // Room for what follows must stay.
            let room = BURST_VIEWS_MAX.saturating_sub(burst.len() + left + 1);
            let more = handle.more();
            self.turn_clock(&handle);
            let at = burst.len();
            let length = handle.length();
            let context = contexts.get_mut(&mut handle);
            if context.has(flag::FRAGMENT) && !context.has(flag::DECIDED) {
                self.fragment(handle, burst, emit, room);
            } else {
                let bytes = regions.bytes(context.span);
                let work = self.packet(context, bytes, length, answer, emit, room);
                burst.push(handle);
                self.show(work, at, burst, emit, room);
            }
            link(burst, at, more);
        }
        self.taken = taken;
        self.expire(burst, emit);
    }

    fn turn_clock(&mut self, handle: &Handle) {
        let context = self.contexts.get(handle);
        self.clock = self.clock.max(context.time_ns);
        self.order = self.order.max(context.order);
    }

    /// Asks the table for the flows of all contexts that have one, in parts of [`ASK_MAX`].
    fn ask(&mut self, taken: &Burst) {
        self.answers.clear();
        let blank = Tuple::default();
        let mut asked = Asked {
            answers: &mut self.answers,
            records: &self.records,
        };
        for part in taken.chunks(ASK_MAX) {
            let mut requests = [Request {
                tuple: &blank,
                admit: Admit::Never,
            }; ASK_MAX];
            let mut newest = self.clock;
            let mut count = 0;
            for (request, handle) in requests.iter_mut().zip(part) {
                let context = self.contexts.get(handle);
                newest = newest.max(context.time_ns);
                if has_flow(context) {
                    *request = Request {
                        tuple: &context.tuple,
                        admit: admit(context),
                    };
                    count += 1;
                }
            }
            let now = Tick::from_nanos(newest);
            // Blank requests admit nothing, and no flow has the blank tuple.
            match requests.get(..part.len()).filter(|_| count != 0) {
                Some(requests) => self.flows.burst_each(requests, now, &mut asked),
                None => asked.answers.extend(part.iter().map(|_| Answer::Missing)),
            }
        }
    }

    /// Asks for the TCP state of a packet further on, whose record has come by now.
    fn ask_ahead(&self, index: usize) {
        if let Some(Answer::Found(flow)) = self.answers.get(index)
            && let Some(record) = self.records.get(flow.slot)
        {
            self.connections.prefetch(record.tcp);
        }
    }

    /// Asks the table for the flow of one handle of the burst, a view that was made on the way.
    pub(super) fn ask_alone(&mut self, place: usize, burst: &Burst) -> Answer {
        let context = match burst.get(place) {
            Some(handle) => self.contexts.get(handle),
            None => return Answer::Missing,
        };
        if !has_flow(context) {
            return Answer::Missing;
        }
        let now = Tick::from_nanos(self.clock);
        self.flows
            .find_or_create(&context.tuple, admit(context), now)
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
        self.count_packet(context, flow, created, length);
        let work = if context.protocol == TCP && context.has(flag::TRANSPORT) {
            self.tcp(context, bytes, flow, emit, room)
        } else {
            self.other(context, flow);
            None
        };
        self.finish_packet(context, flow, created);
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
            // An earlier packet of this burst may have ended the flow.
            Answer::Found(flow) | Answer::Created(flow) if self.flows.class(flow).is_none() => self
                .flows
                .find_or_create(&context.tuple, admit(context), now),
            answer => answer,
        };
        let mut reused = false;
        if let Answer::Found(flow) = answer
            && let Some(reason) = self.outlived(context, bytes, flow, now)
            && self.end(flow, reason)
        {
            reused = true;
            answer = self
                .flows
                .find_or_create(&context.tuple, admit(context), now);
        }
        match answer {
            Answer::Found(flow) => Some((flow, false)),
            Answer::Created(flow) => {
                emit.counters.inc(Counter::FlowsCreated);
                let record = self.records.get_mut(flow.slot)?;
                *record = Record {
                    start_ns: context.time_ns,
                    tcp: NONE,
                    ..Record::default()
                };
                record.flags |= if context.has(flag::REVERSED) {
                    FLOW_CLIENT_IS_B
                } else {
                    0
                };
                record.flags |= if reused { FLOW_REUSE } else { 0 };
                Some((flow, true))
            }
            Answer::Missing => None,
            Answer::Full(_) => {
                emit.counters.inc(Counter::FlowsRefused);
                context.set(flag::STREAM_NONE);
                if self.closes_on_limit() {
                    self.refuse(context, Reason::FlowTableFull);
                }
                None
            }
        }
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
        let line = self.flows.line(flow)?;
        let class = usize::from(line.state().expiry);
        let limit = self.timeouts.ticks.get(class).copied().unwrap_or(u32::MAX);
        if now.since(line.last_seen()) > limit {
            return Some(EndReason::Timeout);
        }
        if context.protocol == TCP && self.is_port_reuse(context, bytes, flow) {
            return Some(EndReason::Closed);
        }
        None
    }

    /// The packet's direction in its flow, and the flow's counters.
    fn count_packet(
        &mut self,
        context: &mut Context,
        flow: FlowHandle,
        created: bool,
        length: u32,
    ) {
        let Some(record) = self.records.get_mut(flow.slot) else {
            return;
        };
        let src_is_b = context.has(flag::REVERSED);
        let client_is_b = record.flags & FLOW_CLIENT_IS_B != 0;
        let mut direction = if src_is_b == client_is_b {
            Direction::ToServer
        } else {
            Direction::ToClient
        };
        if context.has(flag::ICMP_ERROR) {
            // The error answers the packet that it quotes.
            direction = direction.opposite();
        }
        context.direction = direction;
        let length = if length == 0 {
            context.span.length
        } else {
            length
        };
        let [to_server, to_client] = &mut record.packets;
        let packets = if direction == Direction::ToServer {
            to_server
        } else {
            to_client
        };
        if *packets == 0 {
            context.set(flag::FIRST_OF_DIRECTION);
        }
        *packets = packets.saturating_add(1);
        if let Some(bytes) = record.bytes.get_mut(direction.index()) {
            *bytes = bytes.saturating_add(u64::from(length));
        }
        record.last_ns = record.last_ns.max(context.time_ns);
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
    fn finish_packet(&mut self, context: &mut Context, flow: FlowHandle, created: bool) {
        let Some(record) = self.records.get(flow.slot).copied() else {
            return;
        };
        let connection = self.connections.get(record.tcp);
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
                (state.expiry, state.phase) = (expiry, phase);
                line.set_state(state);
            }
        }
        if record.flags & FLOW_ESTABLISHED != 0 && self.flows.class(flow) == Some(Class::HalfOpen) {
            self.flows.promote(flow);
        }
        if record.flags & FLOW_MIDSTREAM != 0 {
            context.set(flag::MIDSTREAM);
        }
        if record.flags & FLOW_BYPASS != 0 {
            context.set(flag::BYPASS);
        }
        context.values = self.values_of(&record, connection);
    }

    /// What match and the events are told about a flow.
    pub(super) fn values_of(&self, record: &Record, connection: Option<&Tcp>) -> FlowValues {
        let connection = connection.or_else(|| self.connections.get(record.tcp));
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
            last_ns: record.last_ns,
        }
    }

    // --- verdicts ---

    /// Whether a limit of ours stops packets rather than letting them by unseen.
    pub(super) fn closes_on_limit(&self) -> bool {
        let passes = matches!(
            self.config.exception_policy,
            Some(Policy::Ignore | Policy::PassPacket | Policy::PassFlow | Policy::Bypass)
        );
        self.config.mode == Mode::Inline && !passes
    }

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

/// Whether flow has anything to do with a context.
fn has_flow(context: &Context) -> bool {
    context.flags & (flag::NO_FLOW | flag::DECIDED | flag::FRAGMENT) == 0
}

/// Errors about a flow do not make one.
fn admit(context: &Context) -> Admit {
    if context.has(flag::ICMP_ERROR) {
        Admit::Never
    } else {
        Admit::As(Class::HalfOpen)
    }
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
