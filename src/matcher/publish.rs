//! New rules for a lane at work: the control thread lays a compiled set into the lane's mailbox, the
//! lane takes it between two bursts and gives the old one back to be freed elsewhere.
//!
//! ```text
//!  control: compile, make the lane's scratch ─► Mailbox ─► lane: swap at a burst border
//!  control: free what was in force           ◄─ Mailbox ◄─
//! ```
//! A lane reads one number per turn; it touches the mailbox's lock only when that has changed, and
//! then never waits for it. What a flow holds is renewed when its next packet comes: numbers of
//! signatures in windows and transactions are those of the set before, and go over by gid and sid.
//! Bits and counters have the same numbers in all sets (`rules::names`), thresholds go by gid and
//! sid, so neither is touched.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use super::state::NONE;
use super::verify::Scratch;
use super::{DetectionAccess, FlowMark, MatchStage, Program};
use crate::config::Config;
use crate::rules::ruleset::RuleSet;

/// A set of rules for one lane, with all that the lane needs to run it.
pub struct Published {
    program: Arc<Program>,
    scratch: Scratch,
    wanted: Box<[bool]>,
    renewal: Renewal,
}

/// How signatures of the set before are called in this one.
#[derive(Clone)]
pub struct Renewal {
    /// Generation of the set before.
    from: u32,
    /// Generation of the set in force.
    pub(super) to: u32,
    /// New numbers by old ones, `NONE` for those that are gone.
    numbers: Arc<[u32]>,
}

impl Renewal {
    /// Nothing before `generation`.
    pub fn none(generation: u32) -> Renewal {
        Renewal {
            from: generation,
            to: generation,
            numbers: Arc::new([]),
        }
    }

    /// From the signatures of one set to those of another, by gid and sid and, where one rule
    /// became two signatures, by their order.
    pub fn between(old: &RuleSet, new: &RuleSet) -> Renewal {
        let mut places: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
        for (number, signature) in new.signatures().iter().enumerate().rev() {
            let number = number as u32;
            let key = (signature.gid, signature.sid);
            places.entry(key).or_default().push(number);
        }
        let mut number = |signature: &crate::rules::signature::Signature| {
            places
                .get_mut(&(signature.gid, signature.sid))
                .and_then(Vec::pop)
                .unwrap_or(NONE)
        };
        Renewal {
            from: old.generation(),
            to: new.generation(),
            numbers: old.signatures().iter().map(&mut number).collect(),
        }
    }

    /// Generation of the set in force.
    pub fn to(&self) -> u32 {
        self.to
    }

    /// The number of a signature of `generation` now; `NONE` if it has none.
    pub fn number(&self, generation: u32, signature: u32) -> u32 {
        if generation != self.from {
            return NONE;
        }
        let number = self.numbers.get(signature as usize);
        number.copied().unwrap_or(NONE)
    }
}

/// Where a lane finds new rules.
#[derive(Default)]
pub struct Mailbox {
    /// Generation of what was laid in last.
    number: AtomicU32,
    incoming: Mutex<Option<Box<Published>>>,
    outgoing: Mutex<Option<Box<Published>>>,
}

/// Room to verify the signatures of a set in, with the settings' budgets.
pub(super) fn scratch(config: &Config, program: &Program) -> Scratch {
    Scratch::new(
        config.recursion_limit,
        config.verify_steps_max,
        program.patterns(),
    )
    .with_asn1(config.asn1_objects)
}

impl Mailbox {
    /// Lays a set in. One that the lane did not take yet is replaced.
    pub fn publish(&self, program: &Arc<Program>, renewal: &Renewal, config: &Config) {
        let published = Box::new(Published {
            program: Arc::clone(program),
            scratch: scratch(config, program),
            wanted: program.app.wanted(),
            renewal: renewal.clone(),
        });
        *self.incoming.lock().unwrap_or_else(PoisonError::into_inner) = Some(published);
        self.number.store(renewal.to, Ordering::Release);
    }

    /// Whether the lane has taken what was laid in.
    pub fn is_taken(&self) -> bool {
        self.incoming
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }

    /// Frees what the lane gave back.
    pub fn sweep(&self) {
        let old = self
            .outgoing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(old);
    }
}

impl<D: DetectionAccess> MatchStage<D> {
    /// Names the mailbox that new rules come through.
    pub fn set_mailbox(&mut self, mailbox: Arc<Mailbox>) {
        mailbox.number.store(self.renewal.to, Ordering::Release);
        self.mailbox = mailbox;
    }

    /// Takes new rules if there are any. To be called between bursts.
    pub fn take_rules(&mut self) {
        if self.mailbox.number.load(Ordering::Acquire) == self.renewal.to {
            return;
        }
        // What was given back before must have been fetched: there is one place for it.
        let (Ok(mut incoming), Ok(mut outgoing)) = (
            self.mailbox.incoming.try_lock(),
            self.mailbox.outgoing.try_lock(),
        ) else {
            return;
        };
        if outgoing.is_some() {
            return;
        }
        let Some(mut published) = incoming.take() else {
            return;
        };
        std::mem::swap(&mut self.program, &mut published.program);
        std::mem::swap(&mut self.scratch, &mut published.scratch);
        std::mem::swap(&mut self.renewal, &mut published.renewal);
        if let Some(apps) = &mut self.apps {
            std::mem::swap(&mut apps.shared.wanted, &mut published.wanted);
        }
        self.windows.set_generation(self.renewal.to);
        (self.renewed, self.is_idle) = (true, false);
        *outgoing = Some(published);
    }

    /// Brings what a flow holds over to the rules in force.
    pub(super) fn renew_flow(&mut self, mark: &FlowMark) {
        if !self.renewed || mark.slab == NONE {
            return;
        }
        for window in self.slabs.windows(mark.slab) {
            self.windows.renew(window, &self.renewal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::names::Names;
    use crate::rules::ruleset::blank;
    use crate::rules::signature::Signature;

    fn set(sids: &[u32], generation: u32) -> RuleSet {
        let signatures: Vec<Signature> = sids.iter().map(|sid| blank(*sid)).collect();
        RuleSet::build(signatures, Names::default(), generation)
    }

    #[test]
    fn signatures_go_over_by_their_sid() {
        let (old, new) = (set(&[10, 20, 30], 1), set(&[5, 10, 30], 2));
        let renewal = Renewal::between(&old, &new);
        let sid = |number: u32| new.signature(number).map(|s| s.sid);
        let goes = |sid: u32| {
            old.signatures()
                .iter()
                .position(|s| s.sid == sid)
                .map(|at| renewal.number(1, at as u32))
        };
        assert_eq!(goes(10).and_then(sid), Some(10));
        assert_eq!(goes(30).and_then(sid), Some(30));
        assert_eq!(goes(20), Some(NONE), "it is gone");
        assert_eq!(renewal.number(0, 0), NONE, "of a set before the last");
    }
}
