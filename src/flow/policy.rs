//! What the flow stage does where it cannot decide by inspection: the exception policies of
//! config/policy.rs, applied to a packet and its flow. Which policy holds is configuration's.

use super::record::{FLOW_BYPASS, FLOW_DROP, NONE};
use super::stage::FlowStage;
use crate::config::{Area, Mode, Policy};
use crate::counters::{Counter, Counters};
use crate::packet::{Context, FlowHandle, RejectTo, Verdict, flag};
use crate::reason::Reason;

/// The counter of an area's applied policies.
pub fn counter_of(area: Area) -> Counter {
    match area {
        Area::Midstream => Counter::ExceptionsMidstream,
        Area::ConnectionMemory => Counter::ExceptionsConnectionMemory,
        Area::StreamMemory => Counter::ExceptionsStreamMemory,
        Area::FlowTable => Counter::ExceptionsFlowTable,
        Area::Fragments => Counter::ExceptionsFragments,
        Area::AppError => Counter::ExceptionsAppError,
        Area::MatchBudget => Counter::ExceptionsMatchBudget,
        Area::StreamDepth => Counter::ExceptionsStreamDepth,
    }
}

/// Whom a policy answers, if it rejects.
pub fn answers(policy: Policy) -> Option<RejectTo> {
    match policy {
        Policy::Reject => Some(RejectTo::Source),
        Policy::RejectBoth => Some(RejectTo::Both),
        _ => None,
    }
}

impl FlowStage {
    /// Applies the policy of an area to the packet, and to its flow if it has one. Gives the policy.
    pub(super) fn except(
        &mut self,
        context: &mut Context,
        flow: FlowHandle,
        area: Area,
        reason: Reason,
        counters: &Counters,
    ) -> Policy {
        let policy = self.config.policy(area);
        let marks = match policy {
            Policy::Ignore => return policy,
            Policy::PassPacket | Policy::DropPacket => 0,
            Policy::PassFlow | Policy::Bypass => FLOW_BYPASS,
            Policy::DropFlow | Policy::Reject | Policy::RejectBoth => FLOW_DROP,
        };
        counters.inc(counter_of(area));
        if policy.forwards() {
            context.set(flag::BYPASS);
        } else {
            self.refuse(context, reason);
        }
        if marks & FLOW_DROP != 0 && flow.is_some() {
            context.set(flag::DROP_FLOW);
        }
        if let Some(to) = answers(policy).filter(|_| self.config.mode == Mode::Inline) {
            context.worsen(Verdict::Reject(reason), NONE);
            context.reject_to = to;
        }
        if flow.is_some()
            && let Some(record) = self.records.get_mut(flow.slot)
        {
            record.flags |= marks;
        }
        policy
    }

    /// A later packet of a flow that a policy dropped.
    pub(super) fn condemn(&self, context: &mut Context, flow: FlowHandle) {
        let record = self.records.get(flow.slot);
        if record.is_some_and(|record| record.flags & FLOW_DROP != 0) {
            self.refuse(context, Reason::FlowCondemned);
            context.set(flag::DROP_FLOW);
        }
    }
}
