//! Match: from the views of a packet to hits of signatures, and what they mean for the packet.
//! (`match` is a keyword.)
//!
//! ```text
//! compile:  RuleSet ─► Program (program.rs: steps, automata of groups, address index)
//!
//! run:      context ─► propose ─► sort by order of evaluation ─► check ─► verify ─► hits
//!    prefilter.rs, gate.rs, always.rs, address.rs  header.rs, state.rs, host.rs  verify.rs
//!           stream bytes ─► window.rs (streams.rs): the same, on the stream so far
//!           (in a tap counted by chunks: chunk.rs)
//!           hits ─► arbiter.rs: thresholds, pass/drop/reject, flow or packet, events
//! ```
//!
//! The public interface, which the lane relies on:
//! - `Program::compile(Arc<RuleSet>) -> Result<Program, String>`, once; all lanes share the `Arc`.
//! - `MatchStage::new(&Config, Arc<Regions>, Arc<Arena<Context>>, Arc<Program>, D, Arc<HostState>)`
//!   with `D: DetectionAccess`, the match stage's line of a flow table entry.
//! - `stage.set_mailbox(Arc<Mailbox>)`, `stage.take_rules()` between bursts: rules anew (publish.rs).
//! - `stage.run(&mut Burst, &mut Emit)` for each burst; `stage.set_turn(Box<dyn Turn>)` for ordered
//!   replay with several lanes.
//!
//! Invariants: nothing here allocates after `new`; bytes from the wire never panic; every table has
//! a bound and a counter. The same bytes of a flow give the same signatures of class stream for any
//! cut into segments (verify.rs, window.rs).

use std::sync::Arc;

pub mod address;
mod again;
pub mod always;
mod answer;
pub mod app;
pub mod app_program;
pub mod arbiter;
mod asn1;
pub mod base64;
pub mod check;
mod chunk;
pub mod detect;
mod feed;
mod files;
pub mod find;
pub mod gate;
mod group;
pub mod header;
pub mod host;
mod line;
pub mod literal;
pub mod number;
pub mod pcre;
pub mod plan;
pub mod prefilter;
pub mod profile;
pub mod program;
pub mod publish;
pub mod recent;
pub mod regex;
mod seal;
mod seen;
pub mod state;
pub mod streams;
pub mod tag;
pub mod threads;
pub mod threshold;
pub mod transform;
pub mod variables;
pub mod verify;
mod wanted;
pub mod window;

pub use host::{HostState, NoTurn, Turn};
pub use plan::MatchPlan;
pub use program::Program;
pub use publish::{Mailbox, Renewal};
pub use state::FlowVerdict;
pub use wanted::record_room;

use crate::app::Apps;
use crate::config::{Area, Config, Mode, Policy};
use crate::counters::Counter;
use crate::event::{Emit, Outer, Spoken};
use crate::flow::depth::OwnDepths;
use crate::flow::policy;
use crate::memory::{Arena, Regions};
use crate::packet::{Burst, Context, Direction, FlowHandle, Kind, Verdict, flag};
use crate::reason::Reason;
use crate::rules::signature::{Action, Track};

/// Candidates of one packet at most; further ones are counted as a spent budget.
const CANDIDATES_MAX: usize = 4096;
/// Names of flowbits and of flow counters that rules of a reload may add to those at the start.
pub const SPARE_NAMES: (usize, usize) = (256, 16);
/// So many packets ahead of their turn the slabs of their flows are asked for.
const AHEAD_MAX: usize = 4;
/// So many ahead what the slab names is asked for; and what that names for the next packet.
const SECOND: usize = 2;
/// Hits of one packet at most; further ones are counted.
const HITS_MAX: usize = 256;

/// What the match stage keeps of a flow in the flow table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowMark {
    /// Verdict on the whole flow.
    pub verdict: FlowVerdict,
    /// An alert was raised.
    pub alerted: bool,
    /// What it speaks (number of `AppProtocol`).
    pub app: u8,
    /// A rule tagged it.
    pub tagged: bool,
    /// Directions (bit 0: to the server) whose drop was told.
    pub told: u8,
    /// Its first packet was the server's, as its bytes say: directions are the other way round.
    pub turned: bool,
    /// The flow's slab in this stage, or `state::NONE`.
    pub slab: u32,
}

impl Default for FlowMark {
    fn default() -> Self {
        FlowMark {
            verdict: FlowVerdict::Inspect,
            alerted: false,
            app: 0,
            tagged: false,
            told: 0,
            turned: false,
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
    /// The slab in the mark of a flow, or `state::NONE`.
    fn slab(&mut self, flow: FlowHandle) -> u32 {
        self.load(flow).map_or(state::NONE, |mark| mark.slab)
    }
}

/// A signature that matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Hit {
    signature: u32,
    /// In stream data; the window that it matched in, or `state::NONE`.
    stream: bool,
    window: u32,
    /// The transaction that it matched in, or `state::NONE`.
    transaction: u32,
    /// Direction of the bytes, which may be the packet's opposite when a turn ended.
    direction: Direction,
}

/// A packet further on: its flow's slab and its direction.
type Ahead = Option<(u32, usize)>;

/// The match stage of one lane.
pub struct MatchStage<D> {
    regions: Arc<Regions>,
    contexts: Arc<Arena<Context>>,
    program: Arc<Program>,
    /// How signatures of the rules before are called in these.
    renewal: Renewal,
    /// Rules were replaced since the start.
    renewed: bool,
    mailbox: Arc<Mailbox>,
    detection: D,
    shared: Arc<HostState>,
    turn: Box<dyn Turn>,
    inline: bool,
    /// The flow stage runs on another core.
    is_apart: bool,
    /// There is nothing to look for and nobody to tell what flows speak: no signature yet, no record,
    /// no file. Flows that began by then are known by their packets and streams alone when rules
    /// come; their application layer is not followed from its middle.
    is_idle: bool,
    /// Whose transactions are events, and what their records carry beside the usual.
    extras: wanted::Extras,
    /// Events carry the flow's flowbits, counters and variables.
    tells_variables: bool,
    /// The end of a flow is an event.
    tells_flows: bool,
    anomalies: feed::Anomalies,
    /// What becomes of a packet whose inspection spent its budget.
    budget_policy: Policy,
    /// What becomes of a packet whose application layer cannot be read.
    app_policy: Policy,
    /// The drop of a flow is told once per direction, not for each packet.
    tells_start: bool,
    /// Alerts of one packet at most; actions of further hits still count.
    alerts_max: usize,
    stream_depth: u64,
    own_depths: OwnDepths,
    /// The parsers, if a rule or an event asks for the application layer.
    apps: Option<Box<Apps>>,
    /// What is kept of transactions' directions.
    seen: crate::memory::slab::Slabs<seen::Seen>,
    /// Room for the direction at hand.
    at_hand: Option<Box<seen::Seen>>,
    room: transform::Room,
    slabs: state::Slabs,
    windows: window::Windows,
    recent: recent::Recent,
    /// Streams that lost their windows since the last report.
    cut: u64,
    scratch: verify::Scratch,
    /// Signature number and view of what is to be checked: `signature << 1 | packet`.
    candidates: Vec<u64>,
    hits: Vec<Hit>,
    /// Hits that alert, and what they mean.
    alerting: Vec<(Hit, Action)>,
    /// Fast patterns found in a window: signature and position.
    found: Vec<(u32, usize)>,
    /// Variables of the packet (`pktvar`).
    variables: variables::Values,
    /// Signatures that were told of earlier, in the chunk that this packet closes.
    told: Vec<u32>,
    /// Stream position up to which a chunk that is being closed reaches.
    upto: u64,
    /// Stream position back to which the packet at hand looks inline for what matched already, or
    /// `u64::MAX`.
    again_from: u64,
    /// Stream position from which a fast pattern of a signature that looks at packets too is one of
    /// the packet at hand, or `u64::MAX`.
    packet_from: u64,
    /// Encrypted bytes at the end of the packet's, which a tap's streams leave out.
    encrypted: usize,
    /// Bytes of a chunk, by direction.
    chunks: [u64; 2],
    /// What the packet's flow speaks.
    speech: feed::Speech,
    /// The packet before the one at hand, which carries it if that is an inner one.
    outer: Option<Outer>,
    lost: u64,
    undecoded: u64,
    /// The parser could not read the packet's bytes.
    broken: bool,
    over: u64,
    /// Entries that the prefilters may still look at for this packet.
    looks: u32,
    waited: bool,
    profile: profile::Profile,
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
        let plan = MatchPlan::new(config);
        let wants_app =
            wanted::tells_transactions(config) || config.reloads || program.app.is_wanted();
        let records = u32::from(wants_app) * 2 * plan.app_flows as u32;
        let generation = program.ruleset().generation();
        let mut windows = window::Windows::new(plan.windows);
        windows.set_generation(generation);
        MatchStage {
            regions,
            contexts,
            detection,
            shared,
            turn: Box::new(NoTurn),
            inline: config.mode == Mode::Inline,
            is_apart: false,
            is_idle: wanted::asks_nothing(config, &program),
            extras: wanted::Extras::of(config),
            tells_variables: config.eve.metadata,
            tells_flows: config.eve.tells_flows(),
            anomalies: feed::Anomalies::default(),
            budget_policy: config.policy(Area::MatchBudget),
            app_policy: config.policy(Area::AppError),
            tells_start: config.eve.drops_start,
            alerts_max: config.alerts_max as usize,
            stream_depth: streams::bytes_of_depth(config.stream_depth),
            own_depths: crate::app::settings::stream_depths(&config.app_settings),
            apps: wants_app.then(|| Box::new(wanted::parsers(config, &plan, &program))),
            seen: crate::memory::slab::Slabs::from_fn(records, seen::Seen::default),
            at_hand: Some(Box::default()),
            room: transform::Room::new(),
            slabs: slabs_of(config, &program, plan.flows),
            variables: variables::Values::new(),
            windows,
            recent: recent::Recent::new(plan.windows, plan.flows),
            cut: 0,
            scratch: publish::scratch(config, &program),
            candidates: Vec::with_capacity(CANDIDATES_MAX),
            hits: Vec::with_capacity(HITS_MAX),
            alerting: Vec::with_capacity(HITS_MAX),
            found: Vec::with_capacity(CANDIDATES_MAX),
            told: Vec::with_capacity(window::ENTRIES_MAX),
            upto: u64::MAX,
            again_from: u64::MAX,
            packet_from: u64::MAX,
            encrypted: 0,
            chunks: config.stream_chunks.map(u64::from),
            speech: feed::Speech::default(),
            outer: None,
            lost: 0,
            undecoded: 0,
            broken: false,
            over: 0,
            looks: prefilter::LOOKS_MAX,
            waited: false,
            profile: profile::Profile::new(config.profile_bursts),
            renewal: Renewal::none(generation),
            renewed: false,
            mailbox: Arc::default(),
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

    /// Says that the flow stage runs on another core: marks of flows are asked for here then.
    pub fn set_apart(&mut self) {
        self.is_apart = true;
    }

    /// Inspects a burst.
    pub fn run(&mut self, burst: &mut Burst, emit: &mut Emit) {
        if self.is_idle {
            return self.pass(burst);
        }
        self.profile.begin_burst();
        let (contexts, regions) = (Arc::clone(&self.contexts), Arc::clone(&self.regions));
        let program = Arc::clone(&self.program);
        if self.is_apart {
            // All marks of the burst are under way at once.
            for handle in burst.iter() {
                self.detection.prefetch(contexts.get(handle).flow);
            }
        }
        let mut ahead = [None; AHEAD_MAX];
        for (at, place) in ahead.iter_mut().enumerate().skip(1) {
            *place = self.ask_first(&contexts, burst, at);
        }
        for at in 0..burst.len() {
            // The nearest packet's place is free: it is the one at hand now.
            ahead.copy_within(1.., 0);
            ahead[AHEAD_MAX - 1] = self.ask_first(&contexts, burst, at + AHEAD_MAX);
            self.ask_further(&ahead);
            let Some(handle) = burst.get_mut(at) else {
                break;
            };
            let context = contexts.get_mut(handle);
            let bytes = regions.bytes(context.span);
            self.one(&program, context, bytes, emit);
            self.report(emit);
            if matches!(context.kind, Kind::Frame | Kind::Inner | Kind::Datagram) {
                self.outer = context.has(flag::HAS_INNER).then_some(Outer {
                    tuple: context.tuple,
                    flags: context.flags,
                    protocol: context.protocol,
                    view: context.kind,
                });
            }
        }
    }

    /// Takes a burst past a stage that has nothing to do.
    fn pass(&mut self, burst: &mut Burst) {
        for handle in burst.iter_mut() {
            let context = self.contexts.get_mut(handle);
            context.generation = self.renewal.to;
            context.app = 0;
        }
    }

    /// Asks for the slab of a packet further on, and gives it with the packet's direction.
    #[inline(always)]
    fn ask_first(&mut self, contexts: &Arena<Context>, burst: &Burst, at: usize) -> Ahead {
        let context = contexts.get(burst.get(at)?);
        let slab = self.detection.slab(context.flow);
        if slab == state::NONE {
            return None;
        }
        self.slabs.prefetch(slab);
        Some((slab, context.direction.index()))
    }

    /// Asks for what the slabs of packets further on name, step by step: what the next step reads
    /// has come by then.
    #[inline(always)]
    fn ask_further(&mut self, ahead: &[Ahead; AHEAD_MAX]) {
        if let Some((slab, direction)) = ahead[SECOND - 1] {
            self.windows.prefetch(self.slabs.windows(slab)[direction]);
            if let Some(apps) = &self.apps {
                apps.prefetch(self.slabs.app(slab));
            }
        }
        if let Some((slab, direction)) = ahead[0] {
            self.windows
                .prefetch_end(self.slabs.windows(slab)[direction]);
            if let Some(apps) = &self.apps {
                apps.prefetch_first(self.slabs.app(slab));
            }
        }
    }

    fn one(&mut self, program: &Program, context: &mut Context, bytes: &[u8], emit: &mut Emit) {
        self.candidates.clear();
        self.hits.clear();
        self.variables.clear();
        self.told.clear();
        self.again_from = u64::MAX;
        self.waited = false;
        self.looks = prefilter::LOOKS_MAX;
        let known = context.flow.is_some();
        let loaded = known.then(|| self.detection.load(context.flow)).flatten();
        let mut mark = loaded.unwrap_or_default();
        if known {
            self.turn_round(context, bytes, &mut mark);
        }
        context.generation = self.renewal.to;
        self.renew_flow(&mark);
        if context.kind == Kind::FlowEnd {
            match mark.verdict {
                FlowVerdict::Drop => context.set(flag::DROP_FLOW),
                FlowVerdict::Pass => context.set(flag::PASS_FLOW),
                FlowVerdict::Bypass => context.set(flag::BYPASS),
                FlowVerdict::Inspect => {}
            }
            self.end_of_flow(program, context, &mut mark, emit);
        } else {
            match mark.verdict {
                _ if context.has(flag::BYPASS) => {}
                FlowVerdict::Drop => self.condemn(context),
                FlowVerdict::Pass => {}
                FlowVerdict::Bypass => context.set(flag::BYPASS),
                FlowVerdict::Inspect => {
                    let fed = self.inspect(program, context, bytes, &mut mark, emit);
                    if !self.hits.is_empty() {
                        self.arbitrate(context, bytes, &mut mark, emit);
                    }
                    if let Some(app) = fed {
                        self.release_transactions(app, mark.slab, context, emit);
                        self.let_go_failed(app, &mark);
                    }
                    if mark.tagged || self.program.tags_hosts {
                        self.follow_tags(context, &mut mark);
                    }
                    if std::mem::take(&mut self.broken) {
                        let what = (Counter::ExceptionsAppError, Reason::AppError);
                        self.except(self.app_policy, what, context, &mut mark, emit);
                    }
                    if self.spent(emit) {
                        let what = (Counter::ExceptionsMatchBudget, Reason::MatchBudget);
                        self.except(self.budget_policy, what, context, &mut mark, emit);
                    }
                }
            }
            if self.tells_start && known {
                tell_once(context, &mut mark);
            }
        }
        if mark.alerted {
            context.set(flag::ALERTED);
        }
        context.app = mark.app;
        if loaded.is_some_and(|old| old != mark) {
            self.detection.store(context.flow, mark);
        }
    }

    /// Whether the packet's inspection was cut short; counts it, and begins the next one's.
    fn spent(&mut self, emit: &Emit) -> bool {
        let verify::Cut { budget, pcre } = self.scratch.begin();
        let cut = u64::from(budget) + std::mem::take(&mut self.over);
        if cut > 0 || pcre > 0 {
            count(emit, Counter::VerifyBudget, cut);
            count(emit, Counter::PcreSteps, u64::from(pcre));
        }
        cut > 0
    }

    /// Applies a policy for packets that could not be inspected to their end.
    #[cold]
    #[inline(never)]
    fn except(
        &self,
        policy: Policy,
        (counter, reason): (Counter, Reason),
        context: &mut Context,
        mark: &mut FlowMark,
        emit: &Emit,
    ) {
        let verdict = match policy {
            Policy::Ignore => return,
            Policy::PassFlow => FlowVerdict::Pass,
            Policy::Bypass => FlowVerdict::Bypass,
            Policy::DropFlow | Policy::Reject | Policy::RejectBoth => FlowVerdict::Drop,
            Policy::PassPacket | Policy::DropPacket => FlowVerdict::Inspect,
        };
        emit.counters.inc(counter);
        if mark.verdict == FlowVerdict::Inspect {
            mark.verdict = verdict;
        }
        if policy.forwards() {
            return;
        }
        if !self.inline {
            context.set(flag::WOULD_DROP);
            context.would = context.would.or(Some(reason));
            return;
        }
        context.worsen(Verdict::Drop(reason), u32::MAX);
        if let Some(to) = policy::answers(policy) {
            context.worsen(Verdict::Reject(reason), u32::MAX);
            context.reject_to = to;
        }
        if mark.verdict == FlowVerdict::Drop {
            context.set(flag::DROP_FLOW);
        }
    }

    /// A later packet of a flow that a rule dropped.
    #[inline(never)]
    fn condemn(&self, context: &mut Context) {
        if self.inline {
            let signature = context.signature;
            context.worsen(Verdict::Drop(Reason::RuleFlow), signature);
            context.set(flag::DROP_FLOW);
        } else {
            context.set(flag::WOULD_DROP);
            context.would = context.would.or(Some(Reason::RuleFlow));
        }
    }

    /// Decides what waited for more bytes, then gives back all that the flow held.
    #[cold]
    #[inline(never)]
    fn end_of_flow(
        &mut self,
        program: &Program,
        context: &mut Context,
        mark: &mut FlowMark,
        emit: &mut Emit,
    ) {
        if std::mem::take(&mut mark.tagged) {
            let who = host::who(Track::Flow, context, false);
            self.shared.tags.forget(&who);
        }
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
        }
        self.end_app(program, context, mark, emit);
        if mark.verdict == FlowVerdict::Inspect {
            self.arbitrate(context, &[], mark, emit);
        }
        let spoken = self.spoken(mark.slab);
        if spoken != Spoken::default() {
            mark.app = self.speech(mark).now as u8;
        }
        self.close_app(context, mark, emit);
        for window in windows {
            if window != state::NONE {
                self.recent.remove(window);
                self.windows.give(window);
            }
        }
        self.recent.forget(mark.slab);
        self.tell_end(context, mark, spoken, emit);
        self.slabs.give(mark.slab);
        mark.slab = state::NONE;
    }

    /// The event of a flow that leaves variables, or spoke something: after this stage nobody knows
    /// them.
    fn tell_end(&self, context: &mut Context, mark: &FlowMark, spoken: Spoken, emit: &mut Emit) {
        let variables = self.tells_variables && self.slabs.has_any(mark.slab);
        if !self.tells_flows || !variables && spoken == Spoken::default() {
            return;
        }
        context.app = mark.app;
        if mark.alerted {
            context.set(flag::ALERTED);
        }
        let now_ns = emit.now_ns;
        emit.event(|event| {
            event.fill_flow_end(context, now_ns);
            event.spoken = spoken;
            if variables {
                self.slabs.tell(mark.slab, &mut event.variables);
            }
        });
        context.set(flag::FLOW_TOLD);
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
        self.spent(emit);
        if self.scratch.captures_lost | self.lost | self.cut | self.undecoded > 0 {
            self.count_losses(emit);
        }
    }

    #[cold]
    #[inline(never)]
    fn count_losses(&mut self, emit: &Emit) {
        let captures = std::mem::take(&mut self.scratch.captures_lost);
        let lost = captures + std::mem::take(&mut self.lost);
        count(emit, Counter::DetectionStateLost, lost);
        let (cut, undecoded) = (&mut self.cut, &mut self.undecoded);
        count(emit, Counter::StreamHistoriesCut, std::mem::take(cut));
        count(emit, Counter::BodiesUndecoded, std::mem::take(undecoded));
    }
}

/// Counts what packets seldom bring.
#[cold]
#[inline(never)]
fn count(emit: &Emit, counter: Counter, times: u64) {
    if times > 0 {
        emit.counters.add(counter, times);
    }
}

/// Slabs with room for the names of flowbits and flow counters, and for variables if a rule keeps
/// any or may do so later.
fn slabs_of(config: &Config, program: &Program, count: usize) -> state::Slabs {
    let names = program.ruleset().names();
    let spare = if config.reloads { SPARE_NAMES } else { (0, 0) };
    let (bits, counters) = (names.flowbits.names(), names.flowints.names());
    let wants_variables = config.reloads || !names.flowvars.names().is_empty();
    state::Slabs::new(count, bits.len() + spare.0, counters.len() + spare.1)
        .with_variables(wants_variables)
}

/// Of a flow that is dropped, one packet per direction is told; of one that goes on, those that a
/// rule dropped (Suricata's `flows: start`).
#[inline(never)]
fn tell_once(context: &mut Context, mark: &mut FlowMark) {
    if matches!(context.verdict, Verdict::Forward) {
        return;
    }
    let side = 1 << context.direction.index();
    let flow = context.has(flag::DROP_FLOW);
    let by_rule = context.signature != u32::MAX;
    if !(by_rule || flow && mark.told & side == 0) {
        context.set(flag::DROP_TOLD);
    }
    if flow {
        mark.told |= side;
    }
}

#[cfg(test)]
mod tests;
