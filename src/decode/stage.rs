//! The decode stage: takes a burst of frames, hands on the same burst with inner packets as views.
//!
//! ```text
//!  in:   F1        F2                         F3
//!  out:  F1        F2 ─more─► I1 ─more─► I2   F3
//! ```
//! The frame after the one at work is asked for while it is decoded, and the context after that.
//! A frame for whose views there are no contexts, or no room in the burst, waits here with all that
//! came after it: contexts come home, so what a frame shows never depends on how many are away.

use std::sync::Arc;

use super::{Anomaly, Decoder, Inner, TunnelKind, checksum::prefetch};
use crate::config::Config;
use crate::counters::{Carried, Counter, Counters};
use crate::event::Emit;
use crate::memory::{Arena, Handle, Regions, Span};
use crate::packet::{BURST_VIEWS_MAX, Burst, Context, Kind, Verdict, flag};
use crate::reason::Reason;

/// So many frames before its turn a frame's first lines are asked for.
const AHEAD: usize = 3;
/// Bytes of a line.
const LINE: usize = 64;
/// Lines of a frame that are asked for; what follows comes by itself, as a stream does.
const AHEAD_LINES: usize = 4;

/// First stage of a lane.
pub struct DecodeStage {
    decoder: Decoder,
    regions: Arc<Regions>,
    contexts: Arc<Arena<Context>>,
    /// Frames that came in and are not decoded yet, the next one last.
    taken: Burst,
    /// Contexts that a frame waits for; 0: it takes what there is.
    views_least: usize,
    /// Contexts that are left to flow, where it runs on the same worker.
    reserve: usize,
}

impl DecodeStage {
    /// A stage for contexts of `contexts` whose bytes are in `regions`.
    pub fn new(
        config: Arc<Config>,
        regions: Arc<Regions>,
        contexts: Arc<Arena<Context>>,
    ) -> DecodeStage {
        DecodeStage {
            decoder: Decoder::new(&config),
            regions,
            contexts,
            taken: Vec::with_capacity(BURST_VIEWS_MAX),
            views_least: 0,
            reserve: 0,
        }
    }

    /// Makes frames wait until there are contexts for all views that one may have, and `reserve`
    /// more. `total`: the contexts for views that the worker has when all are home. Where those
    /// are too few for a frame, it waits for all, and the rest is policy.
    pub fn wait_for_views(&mut self, total: usize, reserve: usize) {
        self.reserve = reserve;
        self.views_least = self
            .decoder
            .views_max()
            .min(total.saturating_sub(reserve))
            .max(1);
    }

    /// Whether frames wait to be decoded: the next call goes on with them, in an empty burst.
    pub fn is_waiting(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Order of the first frame that waits.
    pub fn first_waiting(&self) -> Option<u64> {
        self.taken
            .last()
            .map(|frame| self.contexts.get(frame).order)
    }

    /// The decoder, for who puts datagrams together.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Decodes the frames of the burst; inner packets follow their carriers.
    pub fn run(&mut self, burst: &mut Burst, emit: &mut Emit) {
        if self.taken.is_empty() {
            let mut done = 0;
            // Each turn but the last decodes a frame at least.
            while let Some(inner) = self.run_in_place(&mut done, burst, emit) {
                // What it carries comes between it and the frames after it.
                self.taken.extend(burst.drain(done..));
                self.follow(inner, burst, emit);
                done = burst.len();
                burst.append(&mut self.taken);
            }
            self.taken.extend(burst.drain(done..).rev());
        }
        while let Some(mut frame) = self.next_frame(burst, emit) {
            if let [.., after, next] = self.taken.as_slice() {
                prefetch(self.contexts.get(after));
                prefetch(self.regions.bytes(self.contexts.get(next).span));
            }
            let context = self.contexts.get_mut(&mut frame);
            let bytes = self.regions.bytes(context.span);
            let inner = self.decoder.frame_apart(bytes, context, &emit.counters);
            count_kind(context, &emit.counters);
            let decided = context.has(flag::DECIDED);
            frame.set_more(false);
            burst.push(frame);
            if let Some(inner) = inner.filter(|_| !decided) {
                self.follow(inner, burst, emit);
            }
        }
    }

    /// Decodes frames where they stand, from the burst's at `done` on, until one has an inner packet,
    /// which is given; nearly always that is the whole burst. None is decoded where views are scarce.
    fn run_in_place(&self, done: &mut usize, burst: &mut Burst, emit: &Emit) -> Option<Inner> {
        let (least, count) = (self.views_least, burst.len());
        let is_scarce = emit.views.len() < least + self.reserve || count + least > BURST_VIEWS_MAX;
        if least != 0 && is_scarce {
            return None;
        }
        let (contexts, regions) = (&*self.contexts, &*self.regions);
        let bytes_of = |frame: &Handle| regions.bytes(contexts.get(frame).span);
        let bytes_at = |burst: &Burst, at| burst.get(at).map_or(&[][..], bytes_of);
        let mut coming: [&[u8]; AHEAD] = std::array::from_fn(|at| bytes_at(burst, *done + at));
        for at in *done..count {
            let [bytes, rest @ ..] = coming;
            coming = match (burst.get(at + AHEAD), rest) {
                (Some(next), [next_but_one, last]) => [next_but_one, last, bytes_of(next)],
                (None, [next_but_one, last]) => [next_but_one, last, &[]],
            };
            for line in coming[AHEAD - 1].chunks(LINE).take(AHEAD_LINES) {
                prefetch(line);
            }
            if let Some(after) = burst.get(at + AHEAD + 1) {
                prefetch(contexts.get(after));
            }
            let Some(frame) = burst.get_mut(at) else {
                break;
            };
            frame.set_more(false);
            let context = contexts.get_mut(frame);
            let inner = self.decoder.frame(bytes, context, &emit.counters);
            count_kind(context, &emit.counters);
            if inner.is_some() && !context.has(flag::DECIDED) {
                *done = at + 1;
                return inner;
            }
        }
        *done = count;
        None
    }

    /// Shows what the burst's last frame carries.
    fn follow(&self, inner: Inner, burst: &mut Burst, emit: &mut Emit) {
        let room = if self.views_least == 0 {
            BURST_VIEWS_MAX.saturating_sub(burst.len() + self.taken.len())
        } else {
            self.views_least
        };
        let to = Views {
            decoder: &self.decoder,
            contexts: &self.contexts,
            regions: &self.regions,
        };
        to.follow(burst, inner, emit, room);
    }

    /// The next frame, if its views have contexts and room.
    fn next_frame(&mut self, burst: &Burst, emit: &Emit) -> Option<Handle> {
        let least = self.views_least;
        let waits = least != 0
            && (emit.views.len() < least + self.reserve
                || burst.len() + 1 + least > BURST_VIEWS_MAX);
        if waits { None } else { self.taken.pop() }
    }
}

/// Where inner packets become views; also for the datagrams that flow puts together.
pub struct Views<'a> {
    /// Decoder with the settings.
    pub decoder: &'a Decoder,
    /// Contexts of the lane.
    pub contexts: &'a Arena<Context>,
    /// Bytes of the lane.
    pub regions: &'a Regions,
}

impl Views<'_> {
    /// Decodes `inner`, which the burst's last packet carries, into a view behind it, and what
    /// that carries in turn. At most `room` views (and `layers_max` layers) follow.
    ///
    /// Without a view the carrier is dropped inline and goes on as it is in a tap, counted.
    pub fn follow(&self, burst: &mut Burst, inner: Inner, emit: &mut Emit, room: usize) {
        let mut next = Some(inner);
        let mut room = room;
        while let Some(inner) = next {
            let Some(carrier) = burst.last_mut() else {
                return;
            };
            let view = if room == 0 {
                emit.counters.inc(Counter::ViewsExhausted);
                None
            } else {
                emit.view()
            };
            let Some(mut view) = view else {
                return exhausted(self.decoder, self.contexts.get_mut(carrier), &emit.counters);
            };
            room -= 1;
            match self.decode(carrier, &mut view, &inner, &emit.counters) {
                Some(carried) => next = carried,
                None => {
                    emit.views.push(view);
                    return;
                }
            }
            carrier.set_more(true);
            self.contexts.get_mut(carrier).set(flag::HAS_INNER);
            burst.push(view);
        }
    }

    /// Decodes one inner packet into `view`. `None`: it is no packet, and `view` is unused.
    fn decode(
        &self,
        carrier: &mut Handle,
        view: &mut Handle,
        inner: &Inner,
        counters: &Counters,
    ) -> Option<Option<Inner>> {
        let outer = self.contexts.get_mut(carrier);
        let context = self.contexts.get_mut(view);
        context.reset();
        context.kind = Kind::Inner;
        context.span = within(outer.span, inner);
        context.order = outer.order;
        context.time_ns = outer.time_ns;
        context.clock_ns = outer.clock_ns;
        context.port = outer.port;
        context.depth = outer.depth.saturating_add(1);
        context.flags = outer.flags & flag::REBUILT;
        view.set_length(context.span.length);
        view.set_more(false);
        let bytes = self.regions.bytes(context.span);
        match self.decoder.inner(inner, bytes, context, counters) {
            Ok(carried) => {
                count_kind(context, counters);
                Some(carried)
            }
            Err(_) => {
                // Where the carrier's protocol field says that this is a packet, its receiver
                // discards it as we would discard it bare; its verdict passes to the carrier,
                // and so does the one anomaly that is of the chain and not of the packet.
                if inner.kind == TunnelKind::Certain && context.has(flag::DECIDED) {
                    outer.worsen(context.verdict, u32::MAX);
                    outer.set(flag::DECIDED);
                }
                let limit = Anomaly::TooManyLayers.code();
                if context.noted().contains(&limit) {
                    outer.note(limit);
                }
                None
            }
        }
    }
}

/// What stands on IP, by its protocol's number.
const CARRIED: [Carried; 256] = {
    let mut carried = [Carried::Other; 256];
    carried[1] = Carried::Icmp;
    carried[6] = Carried::Tcp;
    carried[17] = Carried::Udp;
    carried[58] = Carried::Icmpv6;
    carried[132] = Carried::Sctp;
    carried
};

/// Counts a decoded packet by what it is.
fn count_kind(context: &Context, counters: &Counters) {
    let (v4, v6) = (context.has(flag::IPV4), context.has(flag::IPV6));
    let version = u8::from(v4) | u8::from(v6) << 1;
    let carried = match version {
        0 if context.has(flag::ARP) => Carried::Arp,
        0 => Carried::Other,
        _ => CARRIED[usize::from(context.protocol)],
    };
    counters.decoded(version, carried);
}

/// The span of an inner packet within its carrier's.
fn within(outer: Span, inner: &Inner) -> Span {
    let start = inner.start.min(outer.length);
    Span {
        offset: outer.offset + u64::from(start),
        length: inner.length.min(outer.length - start),
        region: outer.region,
    }
}

/// No context for a view: what it carries is not inspected.
#[cold]
fn exhausted(decoder: &Decoder, carrier: &mut Context, counters: &Counters) {
    counters.anomaly(Anomaly::ViewsExhausted.code());
    carrier.note(Anomaly::ViewsExhausted.code());
    if decoder.inline {
        carrier.worsen(Verdict::Drop(Reason::DecodeViewsExhausted), u32::MAX);
        carrier.set(flag::DECIDED);
    }
}
