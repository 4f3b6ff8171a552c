//! Verdict, the last stage: one decision per frame, its events, its answers, its counters.
//!
//! Views say what they think of their carrier; here the worst of them wins and the frame leaves
//! with a final verdict. In tap the decision is notional: the frame keeps `Forward`, the context
//! says `WOULD_DROP`. Answers to rejects are built in reject.rs. What is not here: sending, giving
//! buffers and contexts back (lane), text (eve/). Invariant: each frame is counted exactly once, as
//! pass, bypass, drop or reject, and every drop and reject under exactly one reason.
//!
//! Interface: `VerdictStage::new(config, regions, contexts)`; per burst `run(burst, retired, emit)`,
//! after which `burst` holds carriers only, in order, and `retired` the views; the lane transmits
//! (which may still turn a verdict into a drop) and then calls `account` for each frame; `finish`
//! at the end.

use std::sync::Arc;

use crate::config::{Config, Eve, Mode};
use crate::counters::{Counter, Counters};
use crate::decode::Anomaly;
use crate::event::{Emit, EventKind};
use crate::memory::{Arena, Handle, Regions};
use crate::packet::{BURST_VIEWS_MAX, Burst, Context, Kind, Verdict, flag};
use crate::reason::Reason;

mod reject;

use reject::{Answers, Question};

/// Drop events per second and lane, beyond which they are counted only.
pub const DROP_EVENTS_PER_SECOND: u32 = 10_000;
/// Anomaly events per second and lane, beyond which they are counted only.
pub const ANOMALY_EVENTS_PER_SECOND: u32 = 1_000;

/// Events for tagged packets per second and lane, beyond which they are counted only.
pub const PACKET_EVENTS_PER_SECOND: u32 = 10_000;

/// What the stage tells the event writer. Counters are exact whatever stands here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventPolicy {
    /// Drop events per second and lane; 0 switches them off.
    pub drops_per_second: u32,
    /// Anomaly events per second and lane; 0 switches them off.
    pub anomalies_per_second: u32,
    /// Anomalies of decode and of TCP that are events.
    pub anomalies: [bool; 2],
    /// Events for tagged packets per second and lane; 0 switches them off.
    pub packets_per_second: u32,
    /// Events for packets of ARP per second and lane; 0 switches them off.
    pub arp_per_second: u32,
    /// Whether a notional drop (tap, shadow) is a drop event too, marked `would_drop`.
    pub notional_drops: bool,
    /// Whether the end of a flow is an event.
    pub flows: bool,
}

impl Default for EventPolicy {
    fn default() -> Self {
        EventPolicy {
            drops_per_second: DROP_EVENTS_PER_SECOND,
            anomalies_per_second: ANOMALY_EVENTS_PER_SECOND,
            anomalies: [true; 2],
            packets_per_second: PACKET_EVENTS_PER_SECOND,
            arp_per_second: 0,
            notional_drops: false,
            flows: true,
        }
    }
}

impl EventPolicy {
    /// What the log is to tell, at most so much a second; without limit in replay, where no wire
    /// waits and a capture's seconds pass at any speed.
    pub fn of(eve: &Eve, limited: bool) -> EventPolicy {
        let most = |name: &str, limit: u32| match (eve.tells(name), limited) {
            (false, _) => 0,
            (true, true) => limit,
            (true, false) => u32::MAX,
        };
        let tagged = eve.alert.tagged;
        EventPolicy {
            drops_per_second: most("drop", DROP_EVENTS_PER_SECOND),
            anomalies_per_second: most("anomaly", ANOMALY_EVENTS_PER_SECOND),
            anomalies: [eve.anomalies[0], eve.anomalies[1]],
            packets_per_second: match tagged {
                true => most("packet", PACKET_EVENTS_PER_SECOND),
                false => 0,
            },
            arp_per_second: most("arp", PACKET_EVENTS_PER_SECOND),
            notional_drops: false,
            flows: eve.tells_flows(),
        }
    }
}

/// At most so many per second of packet time.
#[derive(Debug)]
struct Cap {
    per_second: u32,
    second: u64,
    left: u32,
}

impl Cap {
    fn new(per_second: u32) -> Cap {
        Cap {
            per_second,
            second: u64::MAX,
            left: 0,
        }
    }

    /// Whether one more fits into the second of `now_ns`.
    fn admit(&mut self, now_ns: u64) -> bool {
        let second = now_ns / 1_000_000_000;
        if second != self.second {
            self.second = second;
            self.left = self.per_second;
        }
        let fits = self.left > 0;
        self.left = self.left.saturating_sub(1);
        fits
    }
}

/// The stage. One per worker that runs it; see the head of the file.
pub struct VerdictStage {
    mode: Mode,
    regions: Arc<Regions>,
    contexts: Arc<Arena<Context>>,
    /// The handles of the burst at hand; room is allocated once.
    work: Vec<Handle>,
    /// Carrier of a chain that is not whole yet: one at most, since chains follow one another.
    pending: Option<Handle>,
    policy: EventPolicy,
    drop_cap: Cap,
    anomaly_cap: Cap,
    packet_cap: Cap,
    arp_cap: Cap,
    answers: Answers,
}

impl VerdictStage {
    /// A stage over the lane's regions and contexts.
    pub fn new(
        config: &Config,
        regions: Arc<Regions>,
        contexts: Arc<Arena<Context>>,
    ) -> VerdictStage {
        let policy = EventPolicy::of(&config.eve, true);
        VerdictStage {
            mode: config.mode,
            regions,
            contexts,
            work: Vec::with_capacity(BURST_VIEWS_MAX + 1),
            pending: None,
            policy,
            drop_cap: Cap::new(policy.drops_per_second),
            anomaly_cap: Cap::new(policy.anomalies_per_second),
            packet_cap: Cap::new(policy.packets_per_second),
            arp_cap: Cap::new(policy.arp_per_second),
            answers: Answers::default(),
        }
    }

    /// Says which events are wanted; before start.
    pub fn set_policy(&mut self, policy: EventPolicy) {
        self.policy = policy;
        self.drop_cap = Cap::new(policy.drops_per_second);
        self.anomaly_cap = Cap::new(policy.anomalies_per_second);
        self.packet_cap = Cap::new(policy.packets_per_second);
        self.arp_cap = Cap::new(policy.arp_per_second);
    }

    /// Decides the frames of a burst. Afterwards `burst` holds the carriers whose chains are whole,
    /// in order, with a final verdict; all views are in `retired`. A carrier whose views are still
    /// to come stays here until they have come.
    pub fn run(&mut self, burst: &mut Burst, retired: &mut Vec<Handle>, emit: &mut Emit) {
        // What is plain to begin with stays where it is; nearly always that is all of it.
        let plain = match self.pending {
            Some(_) => 0,
            None => {
                let contexts = &*self.contexts;
                let is_whole = |h: &&Handle| !h.more() && is_plain(contexts.get(h));
                burst.iter().take_while(is_whole).count()
            }
        };
        if plain == burst.len() {
            return;
        }
        let mut work = std::mem::take(&mut self.work);
        work.extend(burst.drain(plain..));
        for handle in work.drain(..) {
            let more = handle.more();
            if !more && self.pending.is_none() && is_plain(self.contexts.get(&handle)) {
                burst.push(handle);
                continue;
            }
            if self.contexts.get(&handle).kind == Kind::Frame {
                // A frame always begins a chain. If the one before lost its end, it is decided by
                // what was known of it, rather than kept.
                self.close(burst, emit);
                self.open(handle, emit);
            } else {
                self.fold(&handle, emit);
                retired.push(handle);
            }
            if !more {
                self.close(burst, emit);
            }
        }
        self.work = work;
    }

    /// Decides a carrier that still waits for views, at the end of the feed.
    pub fn finish(&mut self, burst: &mut Burst, emit: &mut Emit) {
        self.close(burst, emit);
    }

    /// Frames that wait for views of theirs: 0 or 1.
    pub fn pending(&self) -> usize {
        usize::from(self.pending.is_some())
    }

    /// Begins a chain with its carrier.
    fn open(&mut self, carrier: Handle, emit: &mut Emit) {
        self.tell_anomalies(&carrier, emit);
        self.tell_packet(&carrier, emit);
        let context = self.contexts.get(&carrier);
        if self.mode == Mode::Inline && matches!(context.verdict, Verdict::Reject(_)) {
            let frame = self.regions.bytes(context.span);
            self.answers.answer(
                &Question {
                    frame,
                    carrier: context,
                    packet: frame,
                    context,
                },
                emit,
            );
        }
        self.pending = Some(carrier);
    }

    /// Takes what a view says into its carrier. A view without a carrier (the end of a flow that
    /// timed out) only tells its events.
    fn fold(&mut self, view: &Handle, emit: &mut Emit) {
        self.tell_anomalies(view, emit);
        self.tell_packet(view, emit);
        let context = self.contexts.get(view);
        if context.kind == Kind::FlowEnd {
            self.tell_flow(context, emit);
            return;
        }
        let Some(handle) = self.pending.as_mut() else {
            return;
        };
        let carrier = self.contexts.get_mut(handle);
        if context.has(flag::WOULD_DROP) && !carrier.has(flag::WOULD_DROP) {
            carrier.set(flag::WOULD_DROP);
            carrier.would = context.would;
        }
        let before = carrier.verdict;
        carrier.worsen(context.verdict, context.signature);
        if carrier.verdict == before {
            return;
        }
        carrier.reject_to = context.reject_to;
        carrier.set(context.flags & flag::DROP_TOLD);
        // Reject is the worst there is, so this is the chain's only answer, and it is built now,
        // while the view's bytes are still there.
        if self.mode == Mode::Inline && matches!(carrier.verdict, Verdict::Reject(_)) {
            self.answers.answer(
                &Question {
                    frame: self.regions.bytes(carrier.span),
                    carrier,
                    packet: self.regions.bytes(context.span),
                    context,
                },
                emit,
            );
        }
    }

    /// Ends the chain at hand, if there is one: the carrier's verdict is final.
    fn close(&mut self, burst: &mut Burst, emit: &mut Emit) {
        let Some(mut carrier) = self.pending.take() else {
            return;
        };
        carrier.set_more(false);
        let context = self.contexts.get_mut(&mut carrier);
        let decided = match context.verdict {
            Verdict::Forward => None,
            Verdict::Drop(reason) | Verdict::Reject(reason) => Some(reason),
        };
        match (self.mode, decided) {
            (Mode::Inline, Some(reason)) => self.tell_drop(&carrier, reason, false, emit),
            (Mode::Tap, Some(reason)) => {
                context.would = Some(reason);
                context.set(flag::WOULD_DROP);
                context.verdict = Verdict::Forward;
                self.tell_notional(&carrier, emit);
            }
            (_, None) => self.tell_notional(&carrier, emit),
        }
        burst.push(carrier);
    }

    /// Counts the frames of a burst, once, when they have been transmitted or given up: transmit may
    /// still have turned a verdict into a drop. Gives how many were forwarded, and their bytes.
    pub fn account(&self, burst: &Burst, counters: &Counters) -> (u64, u64) {
        let (mut forwarded, mut bypassed, mut bytes) = (0, 0, 0);
        for handle in burst {
            let context = self.contexts.get(handle);
            let length = u64::from(context.span.length);
            match context.verdict {
                Verdict::Forward => {
                    let is_bypassed = context.has(flag::BYPASS);
                    bypassed += u64::from(is_bypassed);
                    forwarded += u64::from(!is_bypassed);
                    bytes += length;
                    if let Some(reason) = notional(context) {
                        counters.would_drop_for(reason);
                    }
                }
                Verdict::Drop(reason) => {
                    // The reason first: a death in between is mended from the reasons
                    // (keeper/loss.rs).
                    counters.drop_for(reason);
                    counters.inc(Counter::PacketsDropped);
                    counters.add(Counter::BytesDropped, length);
                }
                Verdict::Reject(reason) => {
                    counters.drop_for(reason);
                    counters.inc(Counter::PacketsRejected);
                    counters.add(Counter::BytesDropped, length);
                }
            }
        }
        counters.add(Counter::PacketsBypassed, bypassed);
        counters.add(Counter::PacketsForwarded, forwarded);
        counters.add(Counter::BytesForwarded, bytes);
        (forwarded + bypassed, bytes)
    }

    /// One event for each anomaly that the context notes.
    fn tell_anomalies(&mut self, handle: &Handle, emit: &mut Emit) {
        let context = self.contexts.get(handle);
        if context.anomaly_count == 0 || self.policy.anomalies_per_second == 0 {
            return;
        }
        let bytes = self.regions.bytes(context.span);
        for code in context.noted() {
            let of_stream = Anomaly::from_code(*code).is_some_and(Anomaly::is_stream);
            if !self.policy.anomalies[usize::from(of_stream)] {
                continue;
            }
            if !self.anomaly_cap.admit(emit.now_ns) {
                emit.counters.inc(Counter::EventsCappedAnomaly);
                continue;
            }
            emit.event(|event| {
                event.fill(EventKind::Anomaly, context, bytes);
                event.anomaly = *code;
            });
        }
    }

    /// An event for a packet that a tag asked for, or of ARP.
    fn tell_packet(&mut self, handle: &Handle, emit: &mut Emit) {
        if self.contexts.get(handle).flags & (flag::TAGGED | flag::ARP) != 0 {
            let policy = self.policy;
            self.tell(
                handle,
                (flag::TAGGED, policy.packets_per_second),
                EventKind::Packet,
                emit,
            );
            self.tell(
                handle,
                (flag::ARP, policy.arp_per_second),
                EventKind::Arp,
                emit,
            );
        }
    }

    #[cold]
    fn tell(
        &mut self,
        handle: &Handle,
        (marked, per_second): (u32, u32),
        kind: EventKind,
        emit: &mut Emit,
    ) {
        let context = self.contexts.get(handle);
        if !context.has(marked) || per_second == 0 {
            return;
        }
        let cap = match kind {
            EventKind::Arp => &mut self.arp_cap,
            _ => &mut self.packet_cap,
        };
        if !cap.admit(emit.now_ns) {
            emit.counters.inc(Counter::EventsCappedPacket);
            return;
        }
        let bytes = self.regions.bytes(context.span);
        emit.event(|event| event.fill(kind, context, bytes));
    }

    /// A drop event for a forwarded frame that a tap or shadow mode would have dropped, if wanted.
    fn tell_notional(&mut self, carrier: &Handle, emit: &mut Emit) {
        let reason = notional(self.contexts.get(carrier));
        if let Some(reason) = reason.filter(|_| self.policy.notional_drops) {
            self.tell_drop(carrier, reason, true, emit);
        }
    }

    /// One event for a frame that is dropped, rejected, or would have been.
    fn tell_drop(&mut self, carrier: &Handle, reason: Reason, notional: bool, emit: &mut Emit) {
        let context = self.contexts.get(carrier);
        if self.policy.drops_per_second == 0 || context.has(flag::DROP_TOLD) {
            return;
        }
        if !self.drop_cap.admit(emit.now_ns) {
            emit.counters.inc(Counter::EventsCappedDrop);
            return;
        }
        let bytes = self.regions.bytes(context.span);
        emit.event(|event| event.fill_drop(context, bytes, reason, notional));
    }

    /// One event for the end of a flow.
    fn tell_flow(&self, context: &Context, emit: &mut Emit) {
        if !self.policy.flows || context.has(flag::FLOW_TOLD) {
            return;
        }
        let now_ns = emit.now_ns;
        emit.event(|event| event.fill_flow_end(context, now_ns));
    }
}

/// A frame that goes on, of which there is nothing to tell: most are such, and chains by themselves.
#[inline]
fn is_plain(context: &Context) -> bool {
    context.kind == Kind::Frame
        && context.verdict == Verdict::Forward
        && context.anomaly_count == 0
        && context.flags & (flag::TAGGED | flag::WOULD_DROP) == 0
}

/// Why a frame would have been dropped, if it would.
fn notional(context: &Context) -> Option<Reason> {
    context.would.filter(|_| context.has(flag::WOULD_DROP))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::{BUILT_COUNT_MAX, BUILT_MAX, Built, Event, EventQueue};
    use crate::memory::{Block, BlockPool};
    use crate::packet::{FlowHandle, RejectTo};

    /// A stage with its memory: what a lane is to it.
    pub(crate) struct Rig {
        pub(crate) stage: VerdictStage,
        pub(crate) emit: Emit,
        pub(crate) retired: Vec<Handle>,
        pub(crate) out: Burst,
        pool: BlockPool,
        blocks: Vec<Block>,
        contexts: Arc<Arena<Context>>,
        free: Vec<Handle>,
    }

    const RECORDS: usize = 16;

    impl Rig {
        pub(crate) fn new(mode: Mode) -> Rig {
            let mut regions = Regions::default();
            let pool = BlockPool::new(RECORDS, 2048, &mut regions);
            let (contexts, free) = Arena::new(RECORDS, Context::default);
            let config = Config {
                mode,
                ..Config::default()
            };
            let built = Built {
                port: 0,
                length: 0,
                bytes: [0; BUILT_MAX],
            };
            Rig {
                stage: VerdictStage::new(&config, Arc::new(regions), Arc::clone(&contexts)),
                emit: Emit {
                    views: Vec::new(),
                    events: EventQueue::new(64),
                    built: vec![built; BUILT_COUNT_MAX],
                    built_count: 0,
                    counters: Arc::new(Counters::default()),
                    lane: 0,
                    now_ns: 7_000_000_000,
                    listener: crate::event::Listener::Live,
                },
                retired: Vec::new(),
                out: Vec::new(),
                pool,
                blocks: Vec::new(),
                contexts,
                free,
            }
        }

        /// A handle to `context` over `bytes`.
        pub(crate) fn frame(&mut self, bytes: &[u8], context: Context) -> Handle {
            let mut block = self.pool.take().unwrap();
            self.pool.bytes_mut(&mut block)[..bytes.len()].copy_from_slice(bytes);
            let span = self.pool.span(&block, 0, bytes.len());
            self.blocks.push(block);
            let mut handle = self.free.pop().unwrap();
            *self.contexts.get_mut(&mut handle) = Context { span, ..context };
            handle.set_length(bytes.len() as u32);
            handle.set_more(false);
            handle
        }

        fn judged(&mut self, length: usize, verdict: Verdict) -> Handle {
            let context = Context {
                verdict,
                ..Context::default()
            };
            self.frame(&vec![0; length], context)
        }

        fn view(&mut self, kind: Kind, verdict: Verdict) -> Handle {
            let context = Context {
                kind,
                verdict,
                signature: 9,
                ..Context::default()
            };
            self.frame(&[0; 4], context)
        }

        pub(crate) fn run(&mut self, mut burst: Burst) {
            self.stage
                .run(&mut burst, &mut self.retired, &mut self.emit);
            self.account(burst);
        }

        fn account(&mut self, burst: Burst) {
            self.stage.account(&burst, &self.emit.counters);
            self.out.extend(burst);
        }

        /// Gives everything back, as a lane does after transmit.
        pub(crate) fn recycle(&mut self) {
            self.free.append(&mut self.out);
            self.free.append(&mut self.retired);
            self.blocks
                .drain(..)
                .for_each(|block| self.pool.give(block));
            self.emit.built_count = 0;
            while let Some(event) = self.emit.events.take() {
                self.emit.events.give_back(event);
            }
        }

        /// Verdicts of the frames that left, with their lengths.
        fn left(&self) -> Vec<(u32, Verdict)> {
            let verdict = |handle: &Handle| self.contexts.get(handle).verdict;
            self.out
                .iter()
                .map(|handle| (handle.length(), verdict(handle)))
                .collect()
        }

        fn events(&self) -> Vec<Event> {
            std::iter::from_fn(|| self.emit.events.take().map(|event| *event)).collect()
        }

        /// Every counter that moved: what is not named in a test must have stood still.
        fn moved(&self) -> BTreeMap<String, u64> {
            let counters = &self.emit.counters;
            let plain = Counter::ALL
                .iter()
                .map(|counter| (format!("{counter:?}"), counters.get(*counter)));
            let reasons = Reason::ALL.iter().flat_map(|reason| {
                [
                    (
                        format!("dropped {}", reason.name()),
                        counters.dropped(*reason),
                    ),
                    (
                        format!("would {}", reason.name()),
                        counters.would_drop(*reason),
                    ),
                ]
            });
            plain.chain(reasons).filter(|(_, n)| *n > 0).collect()
        }
    }

    fn counts(list: &[(&str, u64)]) -> BTreeMap<String, u64> {
        list.iter().map(|(k, v)| (k.to_string(), *v)).collect()
    }

    const RULE: Verdict = Verdict::Drop(Reason::Rule);

    #[test]
    fn inline_each_frame_is_counted_once_under_its_verdict() {
        let mut rig = Rig::new(Mode::Inline);
        let bypassed = Context {
            flags: flag::BYPASS,
            ..Context::default()
        };
        let burst = vec![
            rig.judged(60, Verdict::Forward),
            rig.judged(70, RULE),
            rig.judged(80, Verdict::Reject(Reason::RuleReject)),
            rig.frame(&[0; 90], bypassed),
            rig.judged(100, Verdict::Drop(Reason::TcpPawsOld)),
        ];
        rig.run(burst);
        assert_eq!(
            rig.moved(),
            counts(&[
                ("PacketsForwarded", 1),
                ("PacketsDropped", 2),
                ("PacketsRejected", 1),
                ("PacketsBypassed", 1),
                ("BytesForwarded", 150),
                ("BytesDropped", 250),
                ("dropped rule", 1),
                ("dropped rule_reject", 1),
                ("dropped tcp_paws_old", 1),
                ("RejectLost", 1),
                ("Events", 3),
            ])
        );
        let lengths: Vec<u32> = rig.left().iter().map(|(length, _)| *length).collect();
        assert_eq!(lengths, [60, 70, 80, 90, 100], "order is kept");
        assert_eq!(rig.left()[1].1, RULE);
        let events = rig.events();
        assert!(
            events
                .iter()
                .all(|event| event.kind == EventKind::Drop && !event.would_drop)
        );
        assert_eq!(events[0].reason, Some(Reason::Rule));
        assert_eq!(events[0].packet.len(), 70);
    }

    #[test]
    fn in_tap_the_drop_is_notional() {
        let mut rig = Rig::new(Mode::Tap);
        let burst = vec![
            rig.judged(60, RULE),
            rig.judged(70, Verdict::Reject(Reason::RuleReject)),
            rig.judged(80, Verdict::Forward),
        ];
        rig.run(burst);
        assert_eq!(
            rig.moved(),
            counts(&[
                ("PacketsForwarded", 3),
                ("BytesForwarded", 210),
                ("would rule", 1),
                ("would rule_reject", 1),
            ])
        );
        assert!(
            rig.left()
                .iter()
                .all(|(_, verdict)| *verdict == Verdict::Forward)
        );
        let first = rig.contexts.get(&rig.out[0]);
        assert_eq!(
            (first.would, first.has(flag::WOULD_DROP)),
            (Some(Reason::Rule), true)
        );
        assert!(!rig.contexts.get(&rig.out[2]).has(flag::WOULD_DROP));
    }

    #[test]
    fn notional_drops_are_events_where_they_are_wanted() {
        let mut rig = Rig::new(Mode::Tap);
        rig.stage.set_policy(EventPolicy {
            notional_drops: true,
            ..EventPolicy::default()
        });
        let burst = vec![rig.judged(60, RULE)];
        rig.run(burst);
        let events = rig.events();
        assert!(events[0].would_drop && events[0].kind == EventKind::Drop);
    }

    #[test]
    fn a_shadow_rule_inline_is_notional_and_a_real_drop_is_not_both() {
        let mut rig = Rig::new(Mode::Inline);
        let shadow = |verdict| Context {
            flags: flag::WOULD_DROP,
            would: Some(Reason::AppError),
            verdict,
            ..Context::default()
        };
        let burst = vec![
            rig.frame(&[0; 60], shadow(Verdict::Forward)),
            rig.frame(&[0; 61], shadow(RULE)),
        ];
        rig.run(burst);
        assert_eq!(
            rig.moved(),
            counts(&[
                ("PacketsForwarded", 1),
                ("BytesForwarded", 60),
                ("would app_error", 1),
                ("PacketsDropped", 1),
                ("BytesDropped", 61),
                ("dropped rule", 1),
                ("Events", 1),
            ])
        );
    }

    #[test]
    fn the_worst_view_decides_its_carrier() {
        let mut rig = Rig::new(Mode::Inline);
        let mut first = rig.judged(60, Verdict::Forward);
        first.set_more(true);
        let mut inner = rig.view(Kind::Inner, RULE);
        inner.set_more(true);
        let stream = rig.view(Kind::Stream, Verdict::Drop(Reason::TcpUrgent));
        let second = rig.judged(61, Verdict::Forward);
        rig.run(vec![first, inner, stream, second]);
        assert_eq!(rig.left(), [(60, RULE), (61, Verdict::Forward)]);
        assert_eq!(rig.retired.len(), 2);
        assert!(rig.out.iter().all(|handle| !handle.more()));
        assert_eq!(rig.contexts.get(&rig.out[0]).signature, 9);
        assert_eq!(
            rig.moved(),
            counts(&[
                ("PacketsDropped", 1),
                ("BytesDropped", 60),
                ("dropped rule", 1),
                ("PacketsForwarded", 1),
                ("BytesForwarded", 61),
                ("Events", 1),
            ])
        );
    }

    #[test]
    fn a_chain_cut_between_bursts_waits_for_its_views() {
        let mut rig = Rig::new(Mode::Inline);
        let mut first = rig.judged(60, Verdict::Forward);
        first.set_more(true);
        rig.run(vec![first]);
        assert_eq!((rig.out.len(), rig.stage.pending()), (0, 1));
        assert_eq!(rig.moved(), counts(&[]));
        let mut inner = rig.view(Kind::Inner, Verdict::Forward);
        inner.set_more(true);
        rig.run(vec![inner]);
        assert_eq!((rig.out.len(), rig.stage.pending()), (0, 1));
        let last = rig.view(Kind::Inner, RULE);
        let next = rig.judged(61, Verdict::Forward);
        rig.run(vec![last, next]);
        assert_eq!(rig.left(), [(60, RULE), (61, Verdict::Forward)]);
        assert_eq!((rig.retired.len(), rig.stage.pending()), (2, 0));
    }

    #[test]
    fn a_chain_that_lost_its_end_is_decided_all_the_same() {
        let mut rig = Rig::new(Mode::Inline);
        let mut first = rig.judged(60, RULE);
        first.set_more(true);
        let mut second = rig.judged(61, Verdict::Forward);
        second.set_more(true);
        rig.run(vec![first, second]);
        assert_eq!(rig.left(), [(60, RULE)]);
        let mut burst = Vec::new();
        rig.stage.finish(&mut burst, &mut rig.emit);
        rig.account(burst);
        assert_eq!(rig.left(), [(60, RULE), (61, Verdict::Forward)]);
        assert_eq!(rig.emit.counters.get(Counter::PacketsForwarded), 1);
    }

    #[test]
    fn a_view_without_a_carrier_counts_as_no_frame() {
        let mut rig = Rig::new(Mode::Inline);
        let stream = rig.view(Kind::Stream, RULE);
        let end = rig.view(Kind::FlowEnd, Verdict::Forward);
        rig.run(vec![stream, end]);
        assert_eq!((rig.out.len(), rig.retired.len()), (0, 2));
        assert_eq!(rig.moved(), counts(&[("Events", 1)]));
    }

    #[test]
    fn the_end_of_a_flow_is_an_event_with_its_values() {
        let mut rig = Rig::new(Mode::Tap);
        let mut context = Context {
            kind: Kind::FlowEnd,
            flags: flag::ALERTED | flag::IPV4,
            flow: FlowHandle {
                slot: 5,
                generation: 2,
            },
            ..Context::default()
        };
        context.values.packets = [3, 4];
        let end = rig.frame(&[], context);
        rig.run(vec![end]);
        let events = rig.events();
        let event = &events[0];
        assert_eq!(event.kind, EventKind::Flow);
        assert_eq!((event.alerted, event.values.packets), (true, [3, 4]));
        assert_eq!((event.flow.slot, event.time_ns), (5, 7_000_000_000));
    }

    #[test]
    fn anomalies_of_frames_and_views_are_events() {
        let mut rig = Rig::new(Mode::Tap);
        let noted = |kind, code| {
            let mut context = Context {
                kind,
                ..Context::default()
            };
            context.note(code);
            context.note(code + 1);
            context
        };
        let mut frame = rig.frame(&[0; 60], noted(Kind::Frame, 10));
        frame.set_more(true);
        let view = rig.frame(&[0; 9], noted(Kind::Inner, 20));
        rig.run(vec![frame, view]);
        let codes: Vec<u8> = rig.events().iter().map(|event| event.anomaly).collect();
        assert_eq!(codes, [10, 11, 20, 21]);
    }

    #[test]
    fn events_beyond_a_second_s_cap_are_counted_and_come_back_with_the_next() {
        let mut rig = Rig::new(Mode::Inline);
        rig.stage.set_policy(EventPolicy {
            drops_per_second: 2,
            anomalies_per_second: 1,
            ..EventPolicy::default()
        });
        let mut context = Context {
            verdict: RULE,
            ..Context::default()
        };
        context.note(3);
        let burst = (0..4)
            .map(|_| rig.frame(&[0; 60], context.clone()))
            .collect();
        rig.run(burst);
        let counters = Arc::clone(&rig.emit.counters);
        assert_eq!(counters.get(Counter::Events), 3);
        assert_eq!(counters.get(Counter::EventsCappedDrop), 2);
        assert_eq!(counters.get(Counter::EventsCappedAnomaly), 3);
        assert_eq!(counters.dropped(Reason::Rule), 4, "counters stay exact");
        rig.emit.now_ns += 1_000_000_000;
        let burst = vec![rig.frame(&[0; 60], context)];
        rig.run(burst);
        assert_eq!(counters.get(Counter::Events), 5);
    }

    #[test]
    fn a_reject_by_a_view_answers_once_however_many_views_follow() {
        let mut rig = Rig::new(Mode::Inline);
        let mut frame = rig.judged(60, Verdict::Forward);
        frame.set_more(true);
        let reject = |kind| Context {
            kind,
            verdict: Verdict::Reject(Reason::RuleReject),
            reject_to: RejectTo::Both,
            ..Context::default()
        };
        let mut inner = rig.frame(&[0; 9], reject(Kind::Inner));
        inner.set_more(true);
        let again = rig.frame(&[0; 9], reject(Kind::Inner));
        rig.run(vec![frame, inner, again]);
        assert_eq!(
            rig.moved(),
            counts(&[
                ("PacketsRejected", 1),
                ("BytesDropped", 60),
                ("dropped rule_reject", 1),
                ("RejectLost", 2),
                ("Events", 1),
            ])
        );
    }

    #[test]
    fn a_frame_that_transmit_gave_up_is_counted_as_dropped_only() {
        let mut rig = Rig::new(Mode::Inline);
        let context = Context {
            verdict: Verdict::Drop(Reason::PortTxFull),
            flags: flag::WOULD_DROP | flag::BYPASS,
            would: Some(Reason::Rule),
            ..Context::default()
        };
        let handle = rig.frame(&[], context);
        rig.account(Burst::from([handle]));
        assert_eq!(
            rig.moved(),
            counts(&[("PacketsDropped", 1), ("dropped port_tx_full", 1)])
        );
    }

    #[test]
    fn tap_answers_nobody() {
        let mut rig = Rig::new(Mode::Tap);
        let burst = vec![rig.judged(60, Verdict::Reject(Reason::RuleReject))];
        rig.run(burst);
        assert_eq!(rig.emit.built_count, 0);
        assert_eq!(rig.emit.counters.get(Counter::RejectLost), 0);
    }
}
