//! Match: from the views of a packet to hits of signatures, and what they mean for the packet.
//! (`match` is a keyword.)
//!
//! ```text
//! compile:  RuleSet ─► Program (program.rs: steps, automata of groups, address index)
//!
//! run:      context ─► propose ─► sort by order of evaluation ─► check ─► verify ─► hits
//!             prefilter.rs, address.rs       header.rs, state.rs, host.rs   verify.rs
//!           stream bytes ─► window.rs (streams.rs): the same, on the stream so far
//!           hits ─► arbiter.rs: thresholds, pass/drop/reject, flow or packet, events
//! ```
//!
//! The public interface, which the lane relies on:
//! - `Program::compile(Arc<RuleSet>) -> Result<Program, String>`, once; all lanes share the `Arc`.
//! - `MatchStage::new(&Config, Arc<Regions>, Arc<Arena<Context>>, Arc<Program>, D, Arc<HostState>)`
//!   with `D: DetectionAccess`, the match stage's line of a flow table entry.
//! - `stage.run(&mut Burst, &mut Emit)` for each burst; `stage.set_turn(Box<dyn Turn>)` for ordered
//!   replay with several lanes.
//!
//! Invariants: nothing here allocates after `new`; bytes from the wire never panic; every table has
//! a bound and a counter. The same bytes of a flow give the same signatures of class stream for any
//! cut into segments (verify.rs, window.rs).

use std::sync::Arc;

pub mod address;
pub mod arbiter;
pub mod base64;
pub mod detect;
pub mod find;
pub mod header;
pub mod host;
mod line;
pub mod number;
pub mod pcre;
pub mod prefilter;
pub mod program;
pub mod regex;
pub mod state;
pub mod streams;
pub mod threshold;
pub mod verify;
pub mod window;

pub use host::{HostState, NoTurn, Turn};
pub use program::Program;
pub use state::FlowVerdict;

use crate::config::{Config, Mode};
use crate::counters::Counter;
use crate::event::Emit;
use crate::memory::{Arena, Regions};
use crate::packet::{Burst, Context, Direction, FlowHandle, Kind, Verdict, flag};
use crate::reason::Reason;

/// Candidates of one packet at most; further ones are counted as a spent budget.
const CANDIDATES_MAX: usize = 4096;
/// Hits of one packet at most; further ones are counted.
const HITS_MAX: usize = 256;

/// What the match stage keeps of a flow in the flow table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowMark {
    /// Verdict on the whole flow.
    pub verdict: FlowVerdict,
    /// An alert was raised.
    pub alerted: bool,
    /// The flow's slab in this stage, or `state::NONE`.
    pub slab: u32,
}

impl Default for FlowMark {
    fn default() -> Self {
        FlowMark {
            verdict: FlowVerdict::Inspect,
            alerted: false,
            slab: state::NONE,
        }
    }
}

/// The match stage's way to its line of a flow's entry. A new flow has a default mark.
pub trait DetectionAccess {
    /// The mark of a flow; `None` if the flow is gone.
    fn load(&mut self, flow: FlowHandle) -> Option<FlowMark>;
    /// Writes the mark of a flow; a flow that is gone keeps nothing.
    fn store(&mut self, flow: FlowHandle, mark: FlowMark);
    /// Asks for a flow's mark ahead of its use.
    fn prefetch(&self, flow: FlowHandle);
}

/// A signature that matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Hit {
    signature: u32,
    /// In stream data; the window that it matched in, or `state::NONE`.
    stream: bool,
    window: u32,
    /// Direction of the bytes, which may be the packet's opposite when a turn ended.
    direction: Direction,
}

/// The match stage of one lane.
pub struct MatchStage<D> {
    regions: Arc<Regions>,
    contexts: Arc<Arena<Context>>,
    program: Arc<Program>,
    detection: D,
    shared: Arc<HostState>,
    turn: Box<dyn Turn>,
    inline: bool,
    stream_depth: u64,
    slabs: state::Slabs,
    windows: window::Windows,
    scratch: verify::Scratch,
    /// Signature number and view of what is to be checked: `signature << 1 | packet`.
    candidates: Vec<u64>,
    hits: Vec<Hit>,
    /// Fast patterns found in a window: signature and position.
    found: Vec<(u32, usize)>,
    lost: u64,
    over: u64,
    waited: bool,
}

impl<D: DetectionAccess> MatchStage<D> {
    /// A stage with room for its share of the inspected flows.
    pub fn new(
        config: &Config,
        regions: Arc<Regions>,
        contexts: Arc<Arena<Context>>,
        program: Arc<Program>,
        detection: D,
        shared: Arc<HostState>,
    ) -> MatchStage<D> {
        let lanes = usize::from(config.lanes.max(1));
        let flows = (config.inspected_flows_max as usize).div_ceil(lanes).max(1);
        let names = program.ruleset().names();
        let flowbits = names.flowbits.names().len();
        let flowints = names.flowints.names().len();
        MatchStage {
            regions,
            contexts,
            detection,
            shared,
            turn: Box::new(NoTurn),
            inline: config.mode == Mode::Inline,
            stream_depth: match config.stream_depth {
                0 => u64::MAX,
                depth => u64::from(depth),
            },
            slabs: state::Slabs::new(flows, flowbits, flowints),
            windows: window::Windows::new(2 * flows),
            scratch: verify::Scratch::new(
                config.recursion_limit,
                config.verify_steps_max,
                program.patterns(),
            ),
            candidates: Vec::with_capacity(CANDIDATES_MAX),
            hits: Vec::with_capacity(HITS_MAX),
            found: Vec::with_capacity(CANDIDATES_MAX),
            lost: 0,
            over: 0,
            waited: false,
            program,
        }
    }

    /// Makes the stage wait for its turn before it touches what lanes share.
    pub fn set_turn(&mut self, turn: Box<dyn Turn>) {
        self.turn = turn;
    }

    /// The contexts that the stage's handles name.
    pub fn contexts(&self) -> &Arc<Arena<Context>> {
        &self.contexts
    }

    /// Slabs and windows not in use, for the tests of conservation.
    pub fn available(&self) -> (usize, usize) {
        (self.slabs.available(), self.windows.available())
    }

    /// Inspects a burst.
    pub fn run(&mut self, burst: &mut Burst, emit: &mut Emit) {
        let (contexts, regions) = (Arc::clone(&self.contexts), Arc::clone(&self.regions));
        // All marks of the burst are under way at once; where the flow stage sits on this core too, it
        // has asked for them already.
        for handle in burst.iter() {
            self.detection.prefetch(contexts.get(handle).flow);
        }
        for handle in burst.iter_mut() {
            let context = contexts.get_mut(handle);
            let bytes = regions.bytes(context.span);
            self.one(context, bytes, emit);
            self.report(emit);
        }
    }

    fn one(&mut self, context: &mut Context, bytes: &[u8], emit: &mut Emit) {
        self.candidates.clear();
        self.hits.clear();
        self.waited = false;
        let known = context.flow.is_some();
        let loaded = known.then(|| self.detection.load(context.flow)).flatten();
        let mut mark = loaded.unwrap_or_default();
        if context.kind == Kind::FlowEnd {
            self.end_of_flow(context, &mut mark, emit);
        } else {
            match mark.verdict {
                _ if context.has(flag::BYPASS) => {}
                FlowVerdict::Drop => self.condemn(context),
                FlowVerdict::Pass => {}
                FlowVerdict::Bypass => context.set(flag::BYPASS),
                FlowVerdict::Inspect => {
                    self.inspect(context, bytes, &mut mark, emit);
                    self.arbitrate(context, bytes, &mut mark, emit);
                }
            }
        }
        if mark.alerted {
            context.set(flag::ALERTED);
        }
        if loaded.is_some_and(|old| old != mark) {
            self.detection.store(context.flow, mark);
        }
    }

    /// A later packet of a flow that a rule dropped.
    fn condemn(&self, context: &mut Context) {
        if self.inline {
            let signature = context.signature;
            context.worsen(Verdict::Drop(Reason::RuleFlow), signature);
        } else {
            context.set(flag::WOULD_DROP);
            context.would = context.would.or(Some(Reason::RuleFlow));
        }
    }

    /// Decides what waited for more bytes, then gives back all that the flow held.
    fn end_of_flow(&mut self, context: &mut Context, mark: &mut FlowMark, emit: &mut Emit) {
        if mark.slab == state::NONE {
            return;
        }
        let windows = self.slabs.windows(mark.slab);
        if mark.verdict == FlowVerdict::Inspect {
            for (window, direction) in windows
                .into_iter()
                .zip([Direction::ToServer, Direction::ToClient])
            {
                if window != state::NONE {
                    self.settle(window, direction, context, mark);
                }
            }
            self.arbitrate(context, &[], mark, emit);
        }
        for window in windows {
            if window != state::NONE {
                self.windows.give(window);
            }
        }
        self.slabs.give(mark.slab);
        mark.slab = state::NONE;
    }

    /// The flow's slab, taken if it has none yet. An empty pool is counted.
    fn slab(&mut self, mark: &mut FlowMark, context: &Context) -> Option<u32> {
        if mark.slab == state::NONE && context.flow.is_some() {
            match self.slabs.take() {
                Some(slab) => mark.slab = slab,
                None => self.lost += 1,
            }
        }
        (mark.slab != state::NONE).then_some(mark.slab)
    }

    fn report(&mut self, emit: &Emit) {
        let verify::Cut { budget, pcre } = self.scratch.begin();
        let cut = u64::from(budget) + std::mem::take(&mut self.over);
        if cut > 0 {
            emit.counters.add(Counter::VerifyBudget, cut);
        }
        if pcre > 0 {
            emit.counters.add(Counter::PcreSteps, u64::from(pcre));
        }
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            emit.counters.add(Counter::DetectionStateLost, lost);
        }
    }
}

#[cfg(test)]
mod tests;
