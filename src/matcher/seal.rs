//! Flows whose payload is encrypted: rules about payload do not look at it, since it can only match
//! by chance (`encryption-handling` of TLS and SSH). Headers, transactions and frames are looked at
//! as before.

use super::state::Seal;
use super::{DetectionAccess, FlowMark, FlowVerdict, MatchStage};
use crate::packet::{Context, Direction};

impl<D: DetectionAccess> MatchStage<D> {
    /// Takes from the parser that the flow is encrypted from here on. A tap looks at no encrypted
    /// byte of its streams; inline those of the packet that told it still count, as in Suricata.
    pub(super) fn note_encrypted(
        &mut self,
        fed: Option<u32>,
        before: Seal,
        context: &Context,
        mark: &FlowMark,
    ) {
        self.encrypted = 0;
        if fed.is_none() || before != Seal::Open {
            return;
        }
        let state = fed.and_then(|app| self.apps.as_ref()?.state(app));
        let Some(count) = state.and_then(|state| state.encrypted) else {
            return;
        };
        let seal = match (self.inline, context.direction) {
            (true, _) => Seal::Closed,
            (false, Direction::ToServer) => Seal::ByClient,
            (false, Direction::ToClient) => Seal::ByServer,
        };
        if !self.inline {
            self.encrypted = count as usize;
        }
        self.slabs.set_seal(mark.slab, seal);
    }

    /// Once the other side has answered, the payload of the packets that follow is hidden; or these
    /// packets altogether.
    pub(super) fn turn_seal(&mut self, context: &Context, mark: &mut FlowMark) {
        let waits = match self.slabs.seal(mark.slab) {
            Seal::Open => return,
            Seal::Closed => false,
            Seal::ByClient => context.direction == Direction::ToServer,
            Seal::ByServer => context.direction == Direction::ToClient,
        };
        if waits {
            return;
        }
        self.slabs.set_seal(mark.slab, Seal::Closed);
        let app = self.slabs.app(mark.slab);
        let state = self.apps.as_ref().and_then(|apps| apps.state(app));
        if state.is_some_and(|state| state.bypass) && mark.verdict == FlowVerdict::Inspect {
            mark.verdict = FlowVerdict::Bypass;
        }
    }
}
