//! Arbitration: what the hits of a packet mean for it, for its flow and for whoever reads alerts.
//!
//! Hits are taken in the order of evaluation (pass, drop, reject, alert, then the rest of the
//! order). A pass ends the queue; a drop is not undone by a later pass; the first action on the
//! flow stays (RULES.md 6.3 "Order"). Thresholds are asked here, after state was set.

use super::detect::turned;
use super::threshold::Counted;
use super::{DetectionAccess, FlowMark, FlowVerdict, Hit, MatchStage, state};
use crate::counters::Counter;
use crate::event::{AlertAction, Emit, Event, EventKind};
use crate::packet::{Context, Kind, Verdict, flag};
use crate::reason::Reason;
use crate::rules::signature::{Action, Class, Signature, Threshold};

/// Alerts of one packet at most (`packet-alert-max`); actions of further hits still count.
pub const ALERTS_MAX: usize = 15;

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
        let mut dropped = false;
        let mut alerts = 0;
        for at in 0..self.hits.len() {
            let Some(hit) = self.hits.get(at).copied() else {
                break;
            };
            let Some((signature, _)) = program.rule(hit.signature) else {
                continue;
            };
            let counted = self.counted(signature, &hit, context);
            if counted == Counted::Nothing {
                emit.counters.inc(Counter::AlertsThreshold);
                continue;
            }
            let pass = signature.action == Action::Pass;
            if !(pass && dropped) {
                dropped |= self.apply(&hit, signature, context, mark);
            }
            if counted == Counted::Silent {
                emit.counters.inc(Counter::AlertsThreshold);
                continue;
            }
            if !signature.noalert && (!pass || signature.alert) {
                if alerts < ALERTS_MAX {
                    alerts += 1;
                    mark.alerted = true;
                    self.alert(&hit, signature, context, bytes, emit);
                } else {
                    emit.counters.inc(Counter::AlertsQueueFull);
                }
            }
            if pass {
                break;
            }
        }
    }

    /// What thresholds leave of a hit.
    fn counted(&mut self, signature: &Signature, hit: &Hit, context: &Context) -> Counted {
        let is_ip = context.flags & (flag::IPV4 | flag::IPV6) != 0;
        let options = [&signature.detection_filter, &signature.threshold];
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
                return answer;
            }
        }
        Counted::Alert
    }

    /// Applies the action to packet and flow; true if the packet is dropped by it.
    fn apply(
        &self,
        hit: &Hit,
        signature: &Signature,
        context: &mut Context,
        mark: &mut FlowMark,
    ) -> bool {
        if signature.bypass && mark.verdict == FlowVerdict::Inspect {
            mark.verdict = FlowVerdict::Bypass;
        }
        let verdict = match signature.action {
            Action::Alert => return false,
            Action::Pass => {
                if hits_flow(signature, hit) && mark.verdict != FlowVerdict::Drop {
                    mark.verdict = FlowVerdict::Pass;
                }
                return false;
            }
            Action::Drop => Verdict::Drop(Reason::Rule),
            Action::Reject(_) => Verdict::Reject(Reason::RuleReject),
        };
        let on_flow = hits_flow(signature, hit)
            && context.flow.is_some()
            && mark.verdict != FlowVerdict::Pass;
        if on_flow {
            mark.verdict = FlowVerdict::Drop;
        }
        if context.kind != Kind::FlowEnd {
            self.decide(verdict, hit, signature, context, on_flow);
        }
        true
    }

    fn decide(
        &self,
        verdict: Verdict,
        hit: &Hit,
        signature: &Signature,
        context: &mut Context,
        on_flow: bool,
    ) {
        if self.inline {
            let before = context.verdict;
            context.worsen(verdict, hit.signature);
            if context.verdict != before
                && let Action::Reject(to) = signature.action
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

    fn alert(
        &self,
        hit: &Hit,
        signature: &Signature,
        context: &Context,
        bytes: &[u8],
        emit: &mut Emit,
    ) {
        emit.counters.inc(Counter::Alerts);
        let generation = self.program.ruleset().generation();
        let inline = self.inline;
        let transaction = self.apps.as_ref().and_then(|apps| {
            let transaction = apps.transaction(hit.transaction)?;
            Some((transaction, &apps.shared.heap))
        });
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
            if let Some((transaction, heap)) = transaction {
                crate::app::record::encode(transaction, heap, &mut event.record);
            }
            event.signature = hit.signature;
            event.generation = generation;
            event.stream = hit.stream;
            event.alerted = true;
            let drops = matches!(signature.action, Action::Drop | Action::Reject(_));
            event.would_drop = drops && !inline;
            // As Suricata says it: a reject is always called blocked, a drop only in the path.
            event.action = match signature.action {
                Action::Reject(_) => AlertAction::Blocked,
                Action::Drop if inline => AlertAction::Blocked,
                _ => AlertAction::Allowed,
            };
        });
    }
}

/// Whether the action of this hit is the flow's (rule-types of the guide).
fn hits_flow(signature: &Signature, hit: &Hit) -> bool {
    match signature.class {
        Class::DecoderEvents | Class::Packet => false,
        Class::IpOnly | Class::LikeIpOnly | Class::ProtocolDetection => true,
        Class::AppLayer | Class::AppTransaction => true,
        Class::PacketStream | Class::Stream => hit.stream,
    }
}
