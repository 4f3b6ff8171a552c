//! Arbitration: what the hits of a packet mean for it, for its flow and for whoever reads alerts.
//!
//! Hits are taken in the order of evaluation (pass, drop, reject, alert, then the rest of the
//! order). A pass ends the queue; a drop is not undone by a later pass; the first action on the
//! flow stays (RULES.md 6.3 "Order"). Thresholds are asked here, after state was set.

use super::detect::turned;
use super::feed::{TCP, UDP};
use super::threshold::Counted;
use super::variables::Values;
use super::{DetectionAccess, FlowMark, FlowVerdict, Hit, MatchStage, host, state};
use crate::app::transaction::NONE;
use crate::counters::Counter;
use crate::event::{AlertAction, Decided, Decision, Emit, Event, EventKind, Variable, Variables};
use crate::flow::segment::{Segment, has_syn};
use crate::packet::{Context, Kind, Verdict, flag};
use crate::reason::Reason;
use crate::rules::signature::{
    Action, ActionScope, Capture, Class, Protocol, Signature, TagScope, Threshold, Track,
};

/// Transactions of a flow among which a datagram's is looked for.
const DATAGRAM_TRANSACTIONS_MAX: usize = 64;

impl<D: DetectionAccess> MatchStage<D> {
    /// Applies the hits to packet and flow, and emits their alerts.
    pub(super) fn arbitrate(
        &mut self,
        context: &mut Context,
        bytes: &[u8],
        mark: &mut FlowMark,
        emit: &mut Emit,
    ) {
        if self.hits.is_empty() {
            return;
        }
        self.hits.sort_by_key(|hit| hit.signature);
        emit.counters
            .add(Counter::SignatureHits, self.hits.len() as u64);
        let program = std::sync::Arc::clone(&self.program);
        // A pass does not undo a drop, whoever dropped.
        let mut dropped = !matches!(context.verdict, Verdict::Forward);
        let on_syn = !self.hits.is_empty() && is_bare_syn(context, bytes);
        let mut decision = Decision::default();
        for at in 0..self.hits.len() {
            let Some(hit) = self.hits.get(at).copied() else {
                break;
            };
            let Some((signature, _)) = program.rule(hit.signature) else {
                continue;
            };
            self.store_files(signature, &hit, mark, emit);
            if signature.quiet {
                self.hush(hit.transaction);
            }
            let counted = self.counted(signature, &hit, context, emit);
            if counted == Counted::Nothing {
                continue;
            }
            let action = self.action_of(signature, &hit, counted, context);
            let pass = action == Action::Pass;
            if let Action::Reject(to) = action {
                decision.reject.get_or_insert(to);
            }
            if !(pass && dropped) {
                dropped |= self.apply(&hit, signature, action, (context, on_syn), mark);
            }
            self.set_tags(signature, &hit, context, mark);
            if counted == Counted::Silent {
                continue;
            }
            if !signature.noalert && (!pass || signature.alert) {
                if self.alerting.len() < self.alerts_max {
                    mark.alerted = true;
                    self.alerting.push((hit, action));
                } else {
                    emit.counters.inc(Counter::AlertsQueueFull);
                }
            }
            if pass {
                decision.action = Decided::Pass;
                break;
            }
        }
        self.tell_alerts(decision, mark.slab, context, bytes, emit);
    }

    /// Emits the alerts of a packet, once all of its hits have been asked.
    fn tell_alerts(
        &mut self,
        mut decision: Decision,
        slab: u32,
        context: &Context,
        bytes: &[u8],
        emit: &mut Emit,
    ) {
        if self.inline && context.verdict != Verdict::Forward {
            decision = Decision::to_drop(context);
        }
        let alerting = std::mem::take(&mut self.alerting);
        for (hit, action) in &alerting {
            self.alert((hit, *action), (slab, decision), context, bytes, emit);
        }
        self.alerting = alerting;
        self.alerting.clear();
    }

    /// What thresholds leave of a hit.
    fn counted(
        &mut self,
        signature: &Signature,
        hit: &Hit,
        context: &Context,
        emit: &Emit,
    ) -> Counted {
        let is_ip = context.flags & (flag::IPV4 | flag::IPV6) != 0;
        let options = [&signature.detection_filter, &signature.threshold];
        let suppress = &signature.limits.suppress;
        if is_ip && !suppress.is_empty() {
            let (mut src, mut dst) = (context.src_addr(), context.dst_addr());
            if hit.direction != context.direction {
                std::mem::swap(&mut src, &mut dst);
            }
            if suppress.iter().any(|one| one.silences(src, dst)) {
                emit.counters.inc(Counter::AlertsSuppressed);
                return Counted::Silent;
            }
        }
        if !is_ip || options.iter().all(|option| option.is_none()) {
            return Counted::Alert;
        }
        self.wait(context);
        for option in options.into_iter().flatten() {
            let option = Threshold {
                track: turned(option.track, hit.direction != context.direction),
                ..*option
            };
            let answer = match self.shared.count(signature, &option, context) {
                Ok(answer) => answer,
                Err((answer, _)) => {
                    self.lost += 1;
                    answer
                }
            };
            if answer != Counted::Alert {
                emit.counters.inc(Counter::AlertsThreshold);
                return answer;
            }
        }
        Counted::Alert
    }

    /// The action of a hit: the rule's, or that of its rate filter while that is exceeded.
    fn action_of(
        &mut self,
        signature: &Signature,
        hit: &Hit,
        counted: Counted,
        context: &Context,
    ) -> Action {
        let is_ip = context.flags & (flag::IPV4 | flag::IPV6) != 0;
        let filter = signature.limits.rate.as_ref();
        let Some(filter) = filter.filter(|_| is_ip && counted == Counted::Alert) else {
            return signature.action;
        };
        self.wait(context);
        let track = turned(filter.track, hit.direction != context.direction);
        match self.shared.exceeds(signature, filter, track, context) {
            Ok(true) => filter.new_action.unwrap_or(signature.action),
            Ok(false) => signature.action,
            Err(_) => {
                self.lost += 1;
                signature.action
            }
        }
    }

    /// Sets the tags of a rule that alerted, or would have but for a threshold that keeps silent.
    fn set_tags(
        &mut self,
        signature: &Signature,
        hit: &Hit,
        context: &Context,
        mark: &mut FlowMark,
    ) {
        if signature.tags.is_empty() || context.kind == Kind::FlowEnd {
            return;
        }
        self.wait(context);
        let opposite = hit.direction != context.direction;
        for tag in &signature.tags {
            let track = match tag.scope {
                TagScope::Flow if !context.flow.is_some() => continue,
                TagScope::Flow => Track::Flow,
                TagScope::Source => turned(Track::Source, opposite),
                TagScope::Destination => turned(Track::Destination, opposite),
            };
            let rule = (signature.gid, signature.sid);
            let who = host::who(track, context, false);
            let set = self.shared.tags.set(who, rule, tag.until, context.time_ns);
            self.lost += u64::from(set.is_err());
            mark.tagged |= tag.scope == TagScope::Flow && set.is_ok();
        }
    }

    /// Counts the packet for tags of its flow and hosts, and marks it if one takes it.
    pub(super) fn follow_tags(&mut self, context: &mut Context, mark: &mut FlowMark) {
        let hosts = self.program.tags_hosts && context.flags & (flag::IPV4 | flag::IPV6) != 0;
        if !(mark.tagged || hosts) || context.kind == Kind::Stream {
            return;
        }
        let (now, length) = (context.time_ns, context.span.length);
        let mut told = false;
        if mark.tagged {
            let who = host::who(Track::Flow, context, false);
            (told, mark.tagged) = self.shared.tags.count(&who, now, length);
        }
        if hosts {
            self.wait(context);
            for track in [Track::Source, Track::Destination] {
                let who = host::who(track, context, false);
                if self.shared.tags.may_have(&who) {
                    told |= self.shared.tags.count(&who, now, length).0;
                }
            }
        }
        if told {
            context.set(flag::TAGGED);
        }
    }

    /// Applies the action to packet and flow; true if the packet is dropped by it.
    fn apply(
        &self,
        hit: &Hit,
        signature: &Signature,
        action: Action,
        (context, on_syn): (&mut Context, bool),
        mark: &mut FlowMark,
    ) -> bool {
        let reaches_flow = hits_flow(signature, hit, on_syn);
        if signature.bypass && mark.verdict == FlowVerdict::Inspect {
            mark.verdict = FlowVerdict::Bypass;
        }
        let verdict = match action {
            Action::Alert => return false,
            Action::Pass => {
                if reaches_flow && mark.verdict != FlowVerdict::Drop {
                    mark.verdict = FlowVerdict::Pass;
                }
                return false;
            }
            Action::Drop => Verdict::Drop(Reason::Rule),
            Action::Reject(_) => Verdict::Reject(Reason::RuleReject),
        };
        let on_flow = reaches_flow && context.flow.is_some() && mark.verdict != FlowVerdict::Pass;
        if on_flow {
            mark.verdict = FlowVerdict::Drop;
        }
        if context.kind != Kind::FlowEnd {
            self.decide(verdict, hit, action, context, on_flow);
        }
        true
    }

    fn decide(
        &self,
        verdict: Verdict,
        hit: &Hit,
        action: Action,
        context: &mut Context,
        on_flow: bool,
    ) {
        if self.inline {
            let before = context.verdict;
            context.worsen(verdict, hit.signature);
            if context.verdict != before
                && let Action::Reject(to) = action
            {
                context.reject_to = to;
            }
            if on_flow {
                context.set(flag::DROP_FLOW);
            }
            return;
        }
        if context.would.is_none() {
            context.signature = hit.signature;
            context.would = Some(match verdict {
                Verdict::Reject(reason) | Verdict::Drop(reason) => reason,
                Verdict::Forward => Reason::Rule,
            });
        }
        context.set(flag::WOULD_DROP);
    }

    /// The transaction that a datagram is of: a rule about its protocol that matched in the packet
    /// tells of it, as in Suricata.
    fn transaction_of_datagram(&self, hit: &Hit, slab: u32, context: &Context) -> u32 {
        let named = self
            .program
            .rule(hit.signature)
            .is_some_and(|(signature, _)| matches!(signature.header.protocol, Protocol::App(_)));
        let app = self.slabs.app(slab);
        let Some(apps) = self.apps.as_ref().filter(|_| named && app != state::NONE) else {
            return NONE;
        };
        if context.protocol != UDP {
            return NONE;
        }
        let mut next = apps.state(app).map_or(NONE, |state| state.first);
        for _ in 0..DATAGRAM_TRANSACTIONS_MAX {
            match apps.transaction(next) {
                Some(found) if found.is_frame || !found.has(hit.direction) => next = found.next,
                Some(_) => return next,
                None => break,
            }
        }
        NONE
    }

    fn alert(
        &self,
        (hit, action): (&Hit, Action),
        (slab, decision): (u32, Decision),
        context: &Context,
        bytes: &[u8],
        emit: &mut Emit,
    ) {
        emit.counters.inc(Counter::Alerts);
        let generation = self.program.ruleset().generation();
        let inline = self.inline;
        let number = match hit.transaction {
            NONE => self.transaction_of_datagram(hit, slab, context),
            number => number,
        };
        let transaction = self.apps.as_ref().and_then(|apps| {
            let transaction = apps.transaction(number)?;
            Some((transaction, &apps.shared))
        });
        let outer = self.outer.filter(|_| context.kind == Kind::Inner);
        let spoken = self.spoken(slab);
        let window = (hit.window != state::NONE).then(|| self.windows.data(hit.window));
        emit.event(|event: &mut Event| {
            let of_stream = context.kind == Kind::Stream;
            let turned = hit.direction != context.direction;
            // The frame of a packet that ended the other side's turn is not what matched.
            let frame = if of_stream || turned { &[] } else { bytes };
            event.fill(EventKind::Alert, context, frame);
            if turned {
                event.direction = hit.direction;
                event.flags ^= flag::REVERSED;
            }
            let payload = match window {
                Some(data) => {
                    let from = data.len().saturating_sub(crate::event::EVENT_PAYLOAD_MAX);
                    data.get(from..).unwrap_or(&[])
                }
                None if of_stream => bytes,
                None => context.payload_of(bytes),
            };
            event.set_payload(payload);
            if let Some((transaction, shared)) = transaction {
                let (heap, extra) = (&shared.heap, self.extras.alert);
                crate::app::record::encode(transaction, heap, extra, &mut event.record);
                crate::app::tell_files(transaction, shared, &mut event.record);
            }
            if self.tells_variables {
                self.slabs.tell(slab, &mut event.variables);
                tell_packet_variables(&self.variables, &mut event.variables);
            }
            event.signature = hit.signature;
            event.generation = generation;
            event.stream = hit.stream;
            event.outer = outer;
            event.alerted = true;
            (event.spoken, event.decision) = (spoken, decision);
            let drops = matches!(action, Action::Drop | Action::Reject(_));
            event.would_drop = drops && !inline;
            // As Suricata says it: a reject is always called blocked, a drop only in the path.
            event.action = match action {
                Action::Reject(_) => AlertAction::Blocked,
                Action::Drop if inline => AlertAction::Blocked,
                _ => AlertAction::Allowed,
            };
        });
    }
}

fn tell_packet_variables(values: &Values, told: &mut Variables) {
    for (what, text) in values.iter() {
        match what {
            Capture::Packet(name) => told.push(Variable::OfPacket(name, text)),
            Capture::PacketKey(pair) => {
                let value = values.get(Capture::PacketValue(pair));
                told.push(Variable::Named(text, value.unwrap_or(&[])));
            }
            _ => {}
        }
    }
}

/// Whether the packet opens a connection without Fast Open: its bytes are no stream's until the
/// other side has taken them, so that what matches in them decides about this packet alone.
fn is_bare_syn(context: &Context, bytes: &[u8]) -> bool {
    let may = context.protocol == TCP
        && context.kind != Kind::Stream
        && context.payload_length != 0
        && !context.has(flag::ESTABLISHED);
    may && has_syn(context, bytes)
        && Segment::read(context, bytes).is_some_and(|segment| !segment.has_fast_open)
}

/// Whether the action of this hit is the flow's: as the rule says, else by its class (rule-types of
/// the guide).
fn hits_flow(signature: &Signature, hit: &Hit, on_syn: bool) -> bool {
    if let Some(scope) = signature.scope {
        return scope == ActionScope::Flow;
    }
    match signature.class {
        Class::DecoderEvents | Class::Packet => false,
        Class::IpOnly | Class::LikeIpOnly | Class::ProtocolDetection => true,
        Class::AppLayer | Class::AppTransaction => true,
        Class::PacketStream | Class::Stream => hit.stream && !on_syn,
    }
}
