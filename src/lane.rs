//! The lane: the one loop that every packet goes through, on the wire, in a replay, in a test.
//!
//! A worker is a pinned thread that runs one or more adjacent stages of one lane. Read `turn` from
//! top to bottom and you have walked with a packet:
//!
//! ```text
//!  collect (contexts come home) → receive → decode → mesh → flow → match → verdict → transmit
//!                                   └─ or pop from the worker before      └─ or push to the next
//! ```
//!
//! Nothing here waits for a burst to fill, and nothing queues beyond the rings: what the next ring
//! does not take stays in `held`, and the worker takes nothing new until it is gone. Decode and flow
//! keep packets for whose views contexts are still away; nothing new is received until those have
//! gone on. Building and joining workers is build.rs's, crossing lanes is mesh.rs's.
//!
//! Why no lane stands still for ever, in a feed with orders: take the smallest order that has not
//! been decided. If it was not received, all that its decode worker received before has come home,
//! so there are contexts. If it waits in decode, only views of decided frames can be away, and flow
//! leaves decode's share alone; if it waits in flow, only views that went on from there can be, and
//! decode leaves flow's share alone. If it waits in match for its turn, it has it. The mesh has its
//! own proof (mesh.rs). Without orders nobody waits for anybody but the next worker's ring.

pub mod build;
mod home;
mod kept;
pub mod mesh;
pub mod owner;
pub mod turn;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::counters::{Counter, Timed};
use crate::decode::DecodeStage;
use crate::event::Emit;
use crate::flow::FlowStage;
use crate::flow::table::DetectionSide;
use crate::keeper::pulse::Pulse;
use crate::matcher::MatchStage;
use crate::memory::{Arena, Handle, Regions};
use crate::packet::{BURST_MAX, BURST_VIEWS_MAX, Burst, Context};
use crate::port::{Receive, Receiver, Transmit, Transmitter};
use crate::queue::{Consumer, Producer};
use crate::verdict::VerdictStage;
use home::{send_built, transmit};
use mesh::{MeshIn, MeshOut};
use turn::LaneTurn;

/// One burst in this many is timed (METRICS.md: sampled, `sluice_stage_sample_ratio`).
pub const SAMPLE_EVERY: u32 = 64;
/// Empty turns before an idle worker gives its core away.
const SPINS_MAX: u32 = 64;

/// The same where it may sleep until its ports have frames.
const SPINS_ADAPTIVE_MAX: u32 = 4;
/// Longest sleep of an idle worker that waits for its ports: what else it serves (contexts that
/// come home, other lanes, time-outs) waits no longer.
const SLEEP_MS: i32 = 1;

/// What goes from the flow stage's worker to the match stage's besides handles: a lower bound of
/// the orders still to come (ordered feeds).
pub type Low = Arc<AtomicU64>;

/// Where a worker's packets come from.
pub enum Input {
    /// Ports (the worker decodes).
    Ports {
        /// Receiving halves, by port index.
        receivers: Vec<Receiver>,
        /// Decode.
        decode: Box<DecodeStage>,
        /// To the owners; `None` with one lane and flow on this worker: straight on.
        mesh: Option<MeshOut>,
    },
    /// Decode workers (the worker begins with flow).
    Mesh,
    /// The worker before, in the same lane.
    Ring(Consumer<Handle>),
}

/// The flow stage, with its sources.
pub struct FlowPart {
    /// The stage.
    pub stage: Box<FlowStage>,
    /// Sources, where decode is elsewhere or lanes are several.
    pub mesh: Option<MeshIn>,
}

/// The last stage, with the ports it serves.
pub struct VerdictPart {
    /// The stage.
    pub stage: Box<VerdictStage>,
    /// Transmitting halves, by port index.
    pub transmitters: Vec<Transmitter>,
}

/// One worker: the stages it runs, its ends of rings, its contexts and counters.
pub struct Worker {
    /// Number among all workers; contexts that it mints have it as `home`.
    pub index: u8,
    /// Lane it belongs to.
    pub lane: usize,
    /// Name of the thread, for `top -H` and metrics.
    pub name: String,
    /// Core it is pinned to, if any.
    pub core: Option<usize>,
    /// Where packets come from.
    pub input: Input,
    /// Flow stage.
    pub flow: Option<FlowPart>,
    /// Match stage.
    pub matcher: Option<Box<MatchStage<DetectionSide>>>,
    /// Verdict stage.
    pub verdict: Option<VerdictPart>,
    /// To the next worker of the lane; `None` for the last.
    pub output: Option<Producer<Handle>>,
    /// Contexts that come home, from each verdict worker.
    pub returns_in: Vec<Consumer<Handle>>,
    /// Ways home for foreign contexts, by worker number.
    pub returns_out: Vec<Option<Producer<Handle>>>,
    /// Free contexts for frames.
    pub frames: Vec<Handle>,
    /// Way out for stages.
    pub emit: Emit,
    /// All contexts.
    pub contexts: Arc<Arena<Context>>,
    /// All regions.
    pub regions: Arc<Regions>,
    /// Lower bound of orders still to come to match.
    pub low: Low,
    /// This lane's turn at shared state.
    pub turn: LaneTurn,
    /// Frames a burst takes at most.
    pub burst_max: usize,
    /// The engine is told to stop: receive nothing more.
    pub stop: Arc<AtomicBool>,
    /// Time of the wire, or of the capture.
    pub live: bool,
    /// A tap on several ports: each may bring one direction of a flow, so a burst is put in the
    /// order in which its frames arrived. (In the path no answer can overtake what it answers.)
    pub by_time: bool,
    /// CPU time that `run` took.
    pub cpu: Duration,
    /// Its beat and its right to the rings, where a keeper has given it the ports.
    pub pulse: Option<Pulse>,
    /// Between turns.
    pub state: State,
}

/// CPU time of this thread so far.
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What a worker keeps between turns.
pub struct State {
    /// Handles in work.
    burst: Burst,
    /// Handles that the next ring did not take yet.
    held: Burst,
    /// Views that verdict is done with.
    retired: Vec<Handle>,
    scratch: Burst,
    /// Next order that decode could deliver.
    next: u64,
    /// Bound of the orders to come, valid once `held` has been pushed.
    low: u64,
    received_end: bool,
    /// Counts receives; which port is asked first follows it.
    first: usize,
    flow_finished: bool,
    /// All done; the output is closed.
    pub finished: bool,
    /// An idle worker sleeps until its ports have frames, instead of asking them all the time.
    pub adaptive: bool,
    samples: u32,
    idle: u32,
    started: Option<Instant>,
    /// Start of a turn that is measured whole.
    turn_started: Option<Instant>,
    /// Contexts for frames that this worker minted.
    minted: usize,
}

impl Default for State {
    fn default() -> Self {
        State {
            burst: Vec::with_capacity(BURST_VIEWS_MAX),
            held: Vec::with_capacity(BURST_VIEWS_MAX),
            // The burst's views and carriers, and the one that waited for its chain's end.
            retired: Vec::with_capacity(BURST_VIEWS_MAX + 1),
            scratch: Vec::with_capacity(BURST_VIEWS_MAX),
            next: 0,
            low: 0,
            received_end: false,
            first: 0,
            flow_finished: false,
            finished: false,
            adaptive: false,
            samples: 0,
            idle: 0,
            started: None,
            turn_started: None,
            minted: 0,
        }
    }
}

impl Worker {
    /// Turns until everything that came has gone out, then closes the way on.
    pub fn run(&mut self) {
        if let Some(core) = self.core {
            core_affinity::set_for_current(core_affinity::CoreId { id: core });
        }
        let before = thread_cpu();
        self.begin();
        while !self.state.finished {
            if !self.attend() {
                continue;
            }
            if self.turn() {
                self.state.idle = 0;
            } else {
                self.rest();
            }
        }
        self.leave();
        self.cpu = thread_cpu().saturating_sub(before);
    }

    /// After all workers have ended: takes home what came back late.
    pub fn settle(&mut self) {
        while self.collect() > 0 {}
    }

    /// One turn. Returns whether it moved anything.
    pub fn turn(&mut self) -> bool {
        if let Some(matcher) = &mut self.matcher {
            matcher.take_rules();
        }
        let home = self.collect();
        let mut moved = home > 0;
        if !self.state.held.is_empty() && !self.push() {
            return moved;
        }
        let mut burst = std::mem::take(&mut self.state.burst);
        self.sample();
        // Without a mesh what is taken goes straight to flow, which must have gone on first.
        let flow_waits = self.flow.as_ref().is_some_and(|f| f.stage.is_waiting());
        let may_take = !flow_waits || self.flow.as_ref().is_some_and(|f| f.mesh.is_some());
        // What crossed to another lane left an empty burst; what came from there filled one.
        let taken = may_take && self.take(&mut burst);
        self.flow(&mut burst);
        if taken || !burst.is_empty() {
            moved = true;
            self.emit.counters.inc(Counter::Bursts);
        }
        if !burst.is_empty() {
            self.matched(&mut burst);
            self.decide(&mut burst);
        }
        std::mem::swap(&mut self.state.held, &mut burst);
        self.state.burst = burst;
        self.progress();
        if !self.state.held.is_empty() {
            self.push();
        }
        self.end_if_done();
        self.busy(moved);
        moved
    }

    // --- in ---------------------------------------------------------------------------------

    /// Takes the next burst: frames from ports (decoded), or handles from the worker before.
    /// Returns whether there was one, though all of it may be for other lanes.
    fn take(&mut self, burst: &mut Burst) -> bool {
        let taken = match &mut self.input {
            Input::Ports { .. } => self.receive(burst),
            Input::Ring(ring) => ring.pop_burst(burst, BURST_MAX) > 0,
            Input::Mesh => false,
        };
        if self.live {
            self.emit.now_ns = crate::time::wall_nanos();
        } else if let Some(last) = burst.last() {
            self.emit.now_ns = self.emit.now_ns.max(self.contexts.get(last).clock());
        }
        taken
    }

    fn receive(&mut self, burst: &mut Burst) -> bool {
        let Input::Ports {
            receivers,
            decode,
            mesh,
        } = &mut self.input
        else {
            return false;
        };
        let counters = &self.emit.counters;
        let room = mesh.as_ref().is_none_or(MeshOut::is_clear)
            && self
                .flow
                .as_ref()
                .and_then(|f| f.mesh.as_ref())
                .is_none_or(MeshIn::has_local_room);
        let stop = self.stop.load(Ordering::Relaxed);
        let may_receive = stop || self.pulse.as_ref().is_none_or(Pulse::may_receive);
        if room && decode.is_waiting() {
            decode.run(burst, &mut self.emit);
        } else if room && !self.state.received_end && may_receive {
            let now = if self.live {
                crate::time::wall_nanos()
            } else {
                self.emit.now_ns
            };
            let (mut end, mut next) = (true, u64::MAX);
            let share = match self.by_time {
                true => self.burst_max.div_ceil(receivers.len().max(1)),
                false => self.burst_max,
            };
            // On the wire the ports take turns in being first: one that fills every burst must not
            // keep the other's frames waiting for ever, and an idle one is asked every second time.
            if self.live {
                self.state.first = self.state.first.wrapping_add(1);
            }
            let ports = receivers.len().max(1);
            let (before, from) = receivers.split_at_mut(self.state.first % ports);
            for receiver in from.iter_mut().chain(before).filter(|_| !stop) {
                let limit = self.burst_max.saturating_sub(burst.len()).min(share);
                let got = receiver.receive(&self.contexts, &mut self.frames, burst, limit, now);
                got.account(counters);
                end &= got.end;
                next = next.min(got.watermark);
            }
            self.state.received_end = end;
            self.state.next = next;
            if self.by_time {
                burst.sort_unstable_by_key(|handle| self.contexts.get(handle).time_ns);
            }
            decode.run(burst, &mut self.emit);
        }
        let taken = !burst.is_empty();
        if let Some(mesh) = mesh {
            let crossed = mesh.dispatch(burst, &self.contexts);
            self.emit.counters.add(Counter::MeshCrossed, crossed);
            let waiting = decode.first_waiting().unwrap_or(u64::MAX);
            mesh.flush(self.state.next.min(waiting), &self.contexts);
            // Owners learn of the end from here, not from the end of this worker: two workers that
            // are each other's source would otherwise wait for one another.
            if self.state.received_end && !decode.is_waiting() && mesh.is_clear() {
                mesh.close();
            }
        }
        taken
    }

    // --- stages -----------------------------------------------------------------------------

    /// Flow: own packets out of the mesh, then the stage; what ages when nothing comes.
    fn flow(&mut self, burst: &mut Burst) {
        let decoded_all = self.decoded_all();
        let Some(part) = &mut self.flow else { return };
        if let Some(mesh_in) = &mut part.mesh {
            let mut limit = u64::MAX;
            if let Input::Ports {
                mesh: Some(mesh_out),
                ..
            } = &mut self.input
            {
                mesh_in.take_local(mesh_out, decoded_all);
                limit = mesh_out.first_unpushed(&self.contexts);
            }
            if !part.stage.is_waiting() {
                mesh_in.fill(burst, &self.contexts, limit);
            }
            if !self.live {
                let newest = burst
                    .last()
                    .map_or(0, |last| self.contexts.get(last).clock());
                self.emit.now_ns = self.emit.now_ns.max(newest);
            }
        }
        if !burst.is_empty() || part.stage.is_waiting() {
            part.stage.run(burst, &mut self.emit);
        } else if self.input_ended() {
            let Some(part) = &mut self.flow else { return };
            self.state.flow_finished = part.stage.finish(burst, &mut self.emit);
        } else if self.live {
            let Some(part) = &mut self.flow else { return };
            part.stage.idle(burst, &mut self.emit);
        }
        self.lap(Timed::Flow, burst.len());
    }

    fn matched(&mut self, burst: &mut Burst) {
        if let Some(matcher) = &mut self.matcher {
            matcher.run(burst, &mut self.emit);
            if let Some(last) = burst.last() {
                self.turn.publish(self.contexts.get(last).order);
            }
            self.lap(Timed::Match, burst.len());
        }
    }

    /// Verdict, then the port on the other side, then everything goes home.
    fn decide(&mut self, burst: &mut Burst) {
        // What a worker before took from the rings since this one looked is not sent by old ones.
        self.take_rings();
        let Some(part) = &mut self.verdict else {
            return;
        };
        let count = burst.len();
        part.stage
            .run(burst, &mut self.state.retired, &mut self.emit);
        // Answers are to frames: without one nothing is sent, and the rings may be the keeper's.
        if !burst.is_empty() || self.emit.built_count > 0 {
            // A lone half that leads nowhere takes them all at once, below.
            if !matches!(part.transmitters.as_slice(), [Transmitter::Discard(_)]) {
                transmit(&mut part.transmitters, burst, &self.contexts, &self.regions);
            }
            send_built(&mut part.transmitters, &mut self.emit);
            part.transmitters.iter_mut().for_each(Transmit::sync);
        }
        // Counted when they are out: what dies before is found missing and counted as lost.
        let (frames, bytes) = part.stage.account(burst, &self.emit.counters);
        if let [Transmitter::Discard(nowhere)] = part.transmitters.as_mut_slice() {
            nowhere.count(frames, bytes);
        }
        self.lap(Timed::Verdict, count);
        self.go_home(burst);
    }

    // --- out --------------------------------------------------------------------------------

    /// Pushes what is held to the next worker. Returns whether all of it went.
    fn push(&mut self) -> bool {
        if let Some(output) = &mut self.output {
            output.push_burst(&mut self.state.held);
            if !self.state.held.is_empty() {
                self.emit.counters.inc(Counter::RingFull);
            }
        }
        if self.state.held.is_empty() && self.flow.is_some() {
            self.low.store(self.state.low, Ordering::Release);
        }
        self.state.held.is_empty()
    }

    // --- progress and end -------------------------------------------------------------------

    /// Tells later workers and other lanes how far this one has come (ordered feeds).
    fn progress(&mut self) {
        if let Some(part) = &self.flow {
            // Published by `push` once what lies below has been pushed.
            let taken = part.mesh.as_ref().map_or(self.state.next, MeshIn::low);
            self.state.low = taken.min(part.stage.first_waiting().unwrap_or(u64::MAX));
            if self.output.is_none() || self.state.held.is_empty() {
                self.low.store(self.state.low, Ordering::Release);
            }
        }
        if self.matcher.is_some() {
            match (&self.flow, &self.input) {
                (None, Input::Ring(ring)) => {
                    // The bound must be read before the ring is found empty.
                    let low = self.low.load(Ordering::Acquire);
                    if ring.is_empty() {
                        self.turn.publish(low);
                    }
                }
                _ => self.turn.publish(self.state.low),
            }
        }
    }

    /// Whether all that the ports will ever bring has been decoded.
    fn decoded_all(&self) -> bool {
        match &self.input {
            Input::Ports { decode, .. } => self.state.received_end && !decode.is_waiting(),
            Input::Ring(_) | Input::Mesh => true,
        }
    }

    /// Whether nothing more will come in.
    fn input_ended(&mut self) -> bool {
        let from_worker = match &self.input {
            Input::Ring(ring) => ring.is_closed(),
            Input::Ports { .. } | Input::Mesh => true,
        };
        let flow = self.flow.as_ref();
        let waits = flow.is_some_and(|part| part.stage.is_waiting()) || !self.decoded_all();
        let mesh = self.flow.as_mut().and_then(|part| part.mesh.as_mut());
        from_worker && !waits && mesh.is_none_or(MeshIn::is_ended)
    }

    /// Closes the way on when all is done.
    fn end_if_done(&mut self) {
        if !self.state.held.is_empty() || !self.input_ended() {
            return;
        }
        if let Input::Ports {
            mesh: Some(mesh), ..
        } = &mut self.input
            && !mesh.is_clear()
        {
            return;
        }
        if self.flow.is_some() && !self.state.flow_finished {
            return;
        }
        if let Some(output) = &mut self.output {
            output.close();
        }
        // A decode worker ends long before its lane: only flow may say that no order is left.
        if self.flow.is_some() {
            self.low.store(u64::MAX, Ordering::Release);
        }
        if self.matcher.is_some() {
            self.turn.publish(u64::MAX);
        }
        self.state.finished = true;
    }

    /// An idle worker spins a while, then gives its core to others: until its ports have frames, if
    /// it may sleep, and for a moment otherwise.
    fn rest(&mut self) {
        self.state.idle = self.state.idle.saturating_add(1);
        let spins = match self.state.adaptive {
            true => SPINS_ADAPTIVE_MAX,
            false => SPINS_MAX,
        };
        if self.state.idle <= spins {
            std::hint::spin_loop();
            return;
        }
        let slept = match &mut self.input {
            Input::Ports { receivers, .. } if self.state.adaptive => {
                crate::port::wait(receivers, SLEEP_MS)
            }
            _ => false,
        };
        if !slept {
            std::thread::yield_now();
        }
    }

    // --- sampling ---------------------------------------------------------------------------

    fn sample(&mut self) {
        self.state.samples = (self.state.samples + 1) % SAMPLE_EVERY;
        self.state.started = (self.state.samples == 0).then(Instant::now);
        self.state.turn_started = self.state.started;
    }

    /// At the end of a sampled turn that moved something: it stands for those between samples.
    fn busy(&mut self, moved: bool) {
        if let Some(started) = self.state.turn_started.take()
            && moved
        {
            let nanos = started.elapsed().as_nanos() as u64;
            self.emit.counters.busy_for(nanos * u64::from(SAMPLE_EVERY));
        }
    }

    /// In a sampled burst, adds the time since the last lap to a step's histogram.
    fn lap(&mut self, step: Timed, packets: usize) {
        if let Some(started) = self.state.started
            && packets > 0
        {
            let nanos = started.elapsed().as_nanos() as u64 / packets as u64;
            self.emit.counters.durations[step as usize].observe(nanos, packets as u64);
            self.state.started = Some(Instant::now());
        }
    }
}
