//! Views of bytes that no frame holds in one piece: stream data whose gap has filled, and datagrams
//! put together from fragments. Each owns a block until it comes home (`FlowStage::recycle`).

use std::sync::Arc;

use super::VIEW_BLOCK_BYTES;
use super::record::*;
use super::stage::{FlowStage, TCP, Work, values_of};
use super::stream::Ready;
use crate::config::Mode;
use crate::counters::Counter;
use crate::decode::{self, is_v6};
use crate::event::Emit;
use crate::memory::slab::Slabs;
use crate::memory::{Block, Handle};
use crate::packet::{BURST_VIEWS_MAX, Burst, Direction, FlowHandle, Kind, flag};
use crate::reason::Reason;

/// Stream bytes of one view: a context counts them in 16 bits.
pub const STREAM_VIEW_MAX: usize = 65_535;

const _: () = assert!(STREAM_VIEW_MAX <= VIEW_BLOCK_BYTES);

/// What a stream view takes over from the packet that made way for it.
#[derive(Clone, Copy)]
struct Carrier {
    order: u64,
    time_ns: u64,
    clock_ns: u64,
    port: u8,
    depth: u8,
    vlans: ([u16; crate::packet::VLANS_MAX], u8),
    direction: Direction,
    /// What finds no view now is lost; otherwise there is another time.
    hurries: bool,
}

impl FlowStage {
    /// Shows the bytes that the packet at `at` of the burst set free, right behind it.
    pub(super) fn show(
        &mut self,
        work: Work,
        at: usize,
        burst: &mut Burst,
        emit: &mut Emit,
        room: usize,
    ) {
        let carrier = {
            let Some(handle) = burst.get(at) else { return };
            let context = self.contexts.get(handle);
            Carrier {
                order: context.order,
                time_ns: context.time_ns,
                clock_ns: context.clock(),
                port: context.port,
                depth: context.depth,
                vlans: (context.vlans, context.vlan_count),
                direction: context.direction,
                hurries: true,
            }
        };
        let index = self.connection_of(work.flow);
        for direction in work.directions.into_iter().flatten() {
            let left = room.saturating_sub(burst.len().saturating_sub(at + 1));
            self.show_ready(work.flow, index, direction, carrier, left, burst, emit);
        }
    }

    /// Shows what still waits in a direction of a flow that ended; gaps have been given up.
    pub(super) fn show_rest_of(
        &mut self,
        flow: FlowHandle,
        index: u32,
        direction: Direction,
        room: usize,
        burst: &mut Burst,
        emit: &mut Emit,
    ) {
        let (order, clock_ns) = self.last_moment(index);
        let last_ns = self.records.get(flow.slot).map(|r| r.last_ns);
        let carrier = Carrier {
            order,
            time_ns: last_ns.unwrap_or(self.stamp),
            clock_ns,
            port: 0,
            depth: 0,
            vlans: Default::default(),
            direction,
            hurries: false,
        };
        let from = burst.len();
        self.show_ready(flow, index, direction, carrier, room, burst, emit);
        // The FlowEnd follows.
        for handle in burst.iter_mut().skip(from) {
            handle.set_more(true);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn show_ready(
        &mut self,
        flow: FlowHandle,
        index: u32,
        direction: Direction,
        carrier: Carrier,
        room: usize,
        burst: &mut Burst,
        emit: &mut Emit,
    ) {
        // Each turn shows or loses bytes that are kept, so their number bounds the loop.
        for shown in 0..BURST_VIEWS_MAX {
            let (pages, limits) = (&self.pages, self.limits);
            let Some(side) = side_of(&mut self.connections, index, direction) else {
                return;
            };
            let Some(ready) = side.stream.ready(pages, STREAM_VIEW_MAX as u32, &limits) else {
                return;
            };
            let may_show = shown < room && !emit.views.is_empty();
            let Some(block) = may_show.then(|| self.views.take()).flatten() else {
                if !carrier.hurries {
                    return;
                }
                // Nowhere to show them: they become a gap. Inline, has_room_behind prevents it.
                side.stream.lose(&mut self.pages, ready.length);
                emit.counters.inc(Counter::SegmentsLimit);
                emit.counters.inc(Counter::StreamGaps);
                continue;
            };
            let Some(view) = emit.view() else {
                self.views.give(block);
                return;
            };
            let view = self.stream_view(view, block, ready, index, direction);
            burst.push(self.dress(view, flow, direction, carrier));
        }
    }

    /// Copies bytes that are next in order to the block of a view.
    fn stream_view(
        &mut self,
        mut view: Handle,
        mut block: Block,
        ready: Ready,
        index: u32,
        direction: Direction,
    ) -> Handle {
        let length = ready.length as usize;
        let context = self.contexts.get_mut(&mut view);
        context.reset();
        context.kind = Kind::Stream;
        context.set(flag::STREAM);
        context.set(if ready.start { flag::STREAM_START } else { 0 });
        context.set(if ready.gap { flag::STREAM_GAP } else { 0 });
        if let Some(side) = side_of(&mut self.connections, index, direction) {
            if let Some(out) = self.views.bytes_mut(&mut block).get_mut(..length) {
                side.stream.pull(&mut self.pages, out);
            }
            let ends = side.has(SIDE_FIN) && side.stream.reaches(side.fin);
            context.set(if ends { flag::STREAM_END } else { 0 });
        }
        context.span = self.views.span(&block, 0, length);
        context.block = block.into_index();
        context.stream_offset = ready.offset;
        context.stream_length = length as u16;
        context.payload_length = length as u16;
        FlowStage::fresh_view(&mut view, ready.length);
        view
    }

    /// The flow's side of a stream view.
    fn dress(
        &self,
        mut view: Handle,
        flow: FlowHandle,
        direction: Direction,
        carrier: Carrier,
    ) -> Handle {
        let context = self.contexts.get_mut(&mut view);
        let record = self.records.get(flow.slot).copied().unwrap_or_default();
        let tuple = self
            .flows
            .line(flow)
            .map(|line| line.tuple())
            .unwrap_or_default();
        let client_is_b = record.flags & FLOW_CLIENT_IS_B != 0;
        let from_b = client_is_b == (direction == Direction::ToServer);
        context.flow = flow;
        context.tuple = tuple;
        context.protocol = TCP;
        context.direction = direction;
        context.order = carrier.order;
        context.time_ns = carrier.time_ns;
        context.clock_ns = carrier.clock_ns;
        context.depth = carrier.depth;
        (context.vlans, context.vlan_count) = carrier.vlans;
        context.port = if direction == carrier.direction {
            carrier.port
        } else {
            carrier.port ^ 1
        };
        context.values = values_of(&record, self.connections.get(record.tcp));
        context.values.elephant = self.elephant(flow);
        context.set(if is_v6(&tuple) {
            flag::IPV6
        } else {
            flag::IPV4
        });
        context.set(if from_b { flag::REVERSED } else { 0 });
        context.set(if record.flags & FLOW_ESTABLISHED != 0 {
            flag::ESTABLISHED
        } else {
            0
        });
        context.set(if record.flags & FLOW_MIDSTREAM != 0 {
            flag::MIDSTREAM
        } else {
            0
        });
        context.set(if record.flags & FLOW_BYPASS != 0 {
            flag::BYPASS
        } else {
            0
        });
        view
    }

    /// Gives a new view's handle its length, and no chain yet.
    pub(super) fn fresh_view(view: &mut Handle, length: u32) {
        view.set_length(length);
        view.set_more(false);
    }

    // --- datagrams ---

    /// Makes the view of a whole datagram behind the burst's last handle, and tracks what is in it.
    pub(super) fn datagram(&mut self, index: u32, burst: &mut Burst, emit: &mut Emit, room: usize) {
        let contexts = Arc::clone(&self.contexts);
        let inline = self.config.mode == Mode::Inline;
        let at = burst.len();
        let Some(carrier) = burst.last_mut() else {
            return;
        };
        let carrier = contexts.get_mut(carrier);
        let v6 = carrier.has(flag::IPV6);
        let block = if room == 0 || emit.views.is_empty() {
            None
        } else {
            self.views.take()
        };
        let made = block.and_then(|mut block| {
            let out = self.views.bytes_mut(&mut block);
            match self.defrag.write(&self.fragments, index, v6, out) {
                Some(length) => Some((block, length)),
                None => {
                    self.views.give(block);
                    None
                }
            }
        });
        if !inline {
            self.defrag.close(&mut self.fragments, index);
        }
        let Some((block, length)) = made else {
            emit.counters.inc(Counter::ViewsExhausted);
            self.refuse(carrier, Reason::DecodeViewsExhausted);
            return;
        };
        let Some(mut view) = emit.view() else {
            self.views.give(block);
            self.refuse(carrier, Reason::DecodeViewsExhausted);
            return;
        };
        let context = contexts.get_mut(&mut view);
        context.reset();
        context.kind = Kind::Datagram;
        context.span = self.views.span(&block, 0, length);
        context.block = block.into_index();
        context.order = carrier.order;
        context.time_ns = carrier.time_ns;
        context.clock_ns = carrier.clock_ns;
        context.port = carrier.port;
        context.depth = carrier.depth;
        context.vlans = carrier.vlans;
        context.vlan_count = carrier.vlan_count;
        FlowStage::fresh_view(&mut view, length as u32);
        let regions = Arc::clone(&self.regions);
        let bytes = regions.bytes(context.span);
        let inner = decode::datagram(&self.decoder, bytes, context, &emit.counters);
        burst.push(view);
        if let Some(inner) = inner {
            let to = decode::Views {
                decoder: &self.decoder,
                contexts: &contexts,
                regions: &regions,
            };
            to.follow(burst, inner, emit, room - 1);
        }
        self.take_in(at, burst, emit, room);
    }

    /// Tracks the views from `at` of the burst on as if they had come in with it.
    fn take_in(&mut self, at: usize, burst: &mut Burst, emit: &mut Emit, room: usize) {
        let contexts = Arc::clone(&self.contexts);
        let regions = Arc::clone(&self.regions);
        for place in at..burst.len() {
            let Some(handle) = burst.get_mut(place) else {
                return;
            };
            let context = contexts.get_mut(handle);
            let left = room.saturating_sub(place + 1 - at);
            if context.has(flag::FRAGMENT) && !context.has(flag::DECIDED) {
                // Only the innermost packet can be a fragment: it is the last.
                if place + 1 == burst.len()
                    && let Some(handle) = burst.pop()
                {
                    self.fragment(handle, burst, emit, left);
                }
                return;
            }
            let answer = self.ask_alone(context, &emit.counters);
            let length = handle.length();
            let bytes = regions.bytes(context.span);
            let work = self.packet(context, bytes, length, answer, emit, left);
            if let Some(work) = work {
                self.show(work, place, burst, emit, left);
            }
        }
    }
}

fn side_of(connections: &mut Slabs<Tcp>, index: u32, direction: Direction) -> Option<&mut Side> {
    let [client, server] = &mut connections.get_mut(index)?.sides;
    Some(if direction == Direction::ToServer {
        client
    } else {
        server
    })
}
