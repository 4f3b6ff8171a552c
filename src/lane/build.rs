//! From a plan to running workers, and back to a report: who gets which stages, rings, contexts.
//!
//! Everything that a lane will ever need is allocated here; after `Engine::start` a lane allocates
//! nothing (`seal`, tested). Rings: decode→flow (mesh), flow→match→verdict (inside a lane), and one
//! return ring from each verdict worker to each worker that mints contexts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;

use super::mesh::{MeshIn, MeshOut, Watermark};
use super::owner::Owner;
use super::turn::{LaneTurn, Progress};
use super::{FlowPart, Input, State, VerdictPart, Worker};
use crate::config::{Config, Mode};
use crate::counters::Counters;
use crate::decode::DecodeStage;
use crate::event::{BUILT_COUNT_MAX, BUILT_MAX, Built, Emit, EventQueue, Listener};
use crate::flow::table::{DetectionSide, FlowHash};
use crate::flow::{FlowParts, FlowPlan, FlowStage};
use crate::keeper::board::Board;
use crate::keeper::pulse::Pulse;
use crate::layout::{Layout, STAGES};
use crate::matcher::host::ENTRIES_DEFAULT as HOST_ENTRIES;
use crate::matcher::{HostState, Mailbox, MatchStage, Program};
use crate::memory::{Arena, Handle, PageKind, Regions};
use crate::packet::{BURST_MAX, Context};
use crate::port::rss::Rss;
use crate::port::{PortCounters, Receive, Receiver, Transmit, Transmitter};
use crate::queue::{Consumer, Producer, ring};
use crate::verdict::{EventPolicy, VerdictStage};

/// Handles in a ring between two workers (2 x 1024 handles of 8 bytes and their cells lie in L2).
pub const RING_HANDLES: usize = 1024;
/// Bytes of one flow that may lie between the flow stage and a match stage on another worker: a ring
/// and two bursts of full frames, with room for a few larger ones.
const AHEAD: u32 = 4 << 20;

/// Contexts of a worker at least: three for frames and one for views.
const CONTEXTS_MIN: usize = 4;

/// What an engine is made of.
pub struct Plan {
    /// Settings.
    pub config: Arc<Config>,
    /// Which stages sit together.
    pub layout: Layout,
    /// Frames a burst takes at most.
    pub burst_max: usize,
    /// The feed stamps orders and owners merge by them (captures).
    pub ordered: bool,
    /// Time comes from the clock rather than from the feed.
    pub live: bool,
    /// Receiving halves per lane, by port index.
    pub receivers: Vec<Vec<Receiver>>,
    /// Transmitting halves per lane, by port index.
    pub transmitters: Vec<Vec<Transmitter>>,
    /// The rules.
    pub program: Arc<Program>,
    /// Events between one worker and the writer.
    pub events_per_worker: usize,
    /// How all ports deal frames to lanes, where they do so by addresses alone; frames that arrive
    /// so need not cross to their owner. Not heeded if it names lanes that are not there.
    pub rss: Option<Arc<Rss>>,
    /// Cores to pin workers to, in their order; empty: not pinned.
    pub cores: Vec<usize>,
    /// Key of all hashes, new each start.
    pub key: u64,
}

/// A built engine: start it, or turn its workers by hand in a test.
pub struct Engine {
    /// The workers, by number.
    pub workers: Vec<Worker>,
    /// Their counters.
    pub counters: Vec<Arc<Counters>>,
    /// Their event queues.
    pub events: Vec<Arc<EventQueue>>,
    /// Set it and all workers drain and end.
    pub stop: Arc<AtomicBool>,
    /// Where lanes find new rules, by lane.
    pub mailboxes: Vec<Arc<Mailbox>>,
    /// Contexts of all workers.
    pub contexts_total: usize,
    /// The pages that the flow table stands on.
    pub table_pages: PageKind,
}

/// A worker's counters, and where it runs.
#[derive(Clone)]
pub struct Named {
    /// Name of its thread.
    pub name: String,
    /// Lane.
    pub lane: usize,
    /// Core, if pinned.
    pub core: Option<usize>,
    /// Counters.
    pub counters: Arc<Counters>,
}

/// Counters of a port's halves.
#[derive(Default, Clone)]
pub struct Halves {
    /// Receiving halves.
    pub receive: Vec<Arc<PortCounters>>,
    /// Transmitting halves.
    pub transmit: Vec<Arc<PortCounters>>,
}

/// Ends of rings, handed out once.
struct Rings<T> {
    ends: Vec<Vec<Option<T>>>,
}

impl<T> Rings<T> {
    fn new(rows: usize, columns: usize) -> Rings<T> {
        Rings {
            ends: (0..rows)
                .map(|_| (0..columns).map(|_| None).collect())
                .collect(),
        }
    }

    fn put(&mut self, row: usize, column: usize, end: T) {
        self.ends[row][column] = Some(end);
    }

    fn take(&mut self, row: usize, column: usize) -> Option<T> {
        self.ends[row][column].take()
    }
}

/// All rings of an engine before the workers get their ends.
struct Wiring {
    mesh_in: Rings<Producer<Handle>>,
    mesh_out: Rings<Consumer<Handle>>,
    pass_in: Rings<Producer<Handle>>,
    pass_out: Rings<Consumer<Handle>>,
    home_in: Rings<Producer<Handle>>,
    home_out: Rings<Consumer<Handle>>,
}

impl Wiring {
    fn new(layout: Layout, lanes: usize, contexts_per_worker: usize) -> Wiring {
        let workers = lanes * layout.workers();
        let mut wiring = Wiring {
            mesh_in: Rings::new(lanes, lanes),
            mesh_out: Rings::new(lanes, lanes),
            pass_in: Rings::new(workers, 1),
            pass_out: Rings::new(workers, 1),
            home_in: Rings::new(workers, workers),
            home_out: Rings::new(workers, workers),
        };
        let split = layout.worker_of(0) != layout.worker_of(1);
        for (from, to) in (0..lanes).flat_map(|from| (0..lanes).map(move |to| (from, to))) {
            if split || from != to {
                let (producer, consumer) = ring(RING_HANDLES);
                wiring.mesh_in.put(from, to, producer);
                wiring.mesh_out.put(to, from, consumer);
            }
        }
        for lane in 0..lanes {
            let base = lane * layout.workers();
            for worker in layout.worker_of(1) + 1..layout.workers() {
                let (producer, consumer) = ring(RING_HANDLES);
                wiring.pass_in.put(base + worker - 1, 0, producer);
                wiring.pass_out.put(base + worker, 0, consumer);
            }
            let verdict = base + layout.worker_of(3);
            for home in (0..workers).filter(|home| *home != verdict) {
                let minting = home % layout.workers() <= layout.worker_of(1);
                if minting {
                    // Every cell may hold one handle only, hence the sevenfold room.
                    let (producer, consumer) = ring(contexts_per_worker * 7);
                    wiring.home_in.put(verdict, home, producer);
                    wiring.home_out.put(home, verdict, consumer);
                }
            }
        }
        wiring
    }
}

/// What all workers share.
struct Shared {
    config: Arc<Config>,
    layout: Layout,
    lanes: usize,
    ordered: bool,
    live: bool,
    burst_max: usize,
    owner: Owner,
    regions: Arc<Regions>,
    contexts: Arc<Arena<Context>>,
    watermarks: Vec<Arc<Watermark>>,
    progress: Arc<Progress>,
    hosts: Arc<HostState>,
    program: Arc<Program>,
    mailboxes: Vec<Arc<Mailbox>>,
    stop: Arc<AtomicBool>,
    cores: Vec<usize>,
    events_per_worker: usize,
}

/// Who owns what: the lane that all NICs deal to, where they name lanes that are there.
fn owner_of(rss: Option<Arc<Rss>>, key: u64, lanes: usize) -> Owner {
    let rss = rss.filter(|rss| rss.queues() <= lanes);
    rss.map_or(Owner::Hash { key, lanes }, Owner::Rss)
}

/// The stages of one lane, waiting for their workers.
struct LaneStages {
    receivers: Option<Vec<Receiver>>,
    transmitters: Option<Vec<Transmitter>>,
    flow: Option<Box<FlowStage>>,
    matcher: Option<Box<MatchStage<DetectionSide>>>,
    low: Arc<AtomicU64>,
}

/// Why an engine could not be built.
#[derive(Debug)]
pub struct BuildError(pub String);

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BuildError {}

/// The table's hash: fresh secrets from the kernel when live, those of `key` for a capture, which
/// must come out the same each time.
fn flow_hash(live: bool, key: u64) -> Result<FlowHash, BuildError> {
    if live {
        FlowHash::random().map_err(|error| BuildError(format!("/dev/urandom: {error}")))
    } else {
        Ok(FlowHash::seeded(key))
    }
}

impl Engine {
    /// Allocates everything and gives each worker its part.
    ///
    /// # Errors
    /// Memory that is not there, more workers than numbers for them.
    pub fn build(plan: Plan) -> Result<Engine, BuildError> {
        let lanes = plan.receivers.len();
        let total = lanes * plan.layout.workers();
        if lanes == 0 || total > usize::from(u8::MAX) {
            return Err(BuildError(format!(
                "{lanes} lanes x {} workers",
                plan.layout.workers()
            )));
        }
        let mut regions = Regions::default();
        let (mut receivers, mut transmitters) = (plan.receivers, plan.transmitters);
        for half in receivers.iter_mut().flatten() {
            half.register(&mut regions);
        }
        for half in transmitters.iter_mut().flatten() {
            half.register(&mut regions);
        }
        let flow_plan = FlowPlan::new(&plan.config, lanes);
        let hash = flow_hash(plan.live, plan.key)?;
        let parts = flow_plan
            .build(&hash, &mut regions)
            .map_err(|error| BuildError(error.to_string()))?;
        let table_pages = parts
            .first()
            .map_or(PageKind::Small, |part| part.table_pages);
        let per_worker = (plan.config.contexts_per_lane as usize).max(CONTEXTS_MIN);
        let (contexts, mut handles) = Arena::new(total * per_worker, Context::default);
        let shared = Shared {
            lanes,
            layout: plan.layout,
            ordered: plan.ordered,
            live: plan.live,
            burst_max: plan.burst_max.clamp(1, BURST_MAX),
            owner: owner_of(plan.rss, plan.key, lanes),
            regions: Arc::new(regions),
            contexts,
            watermarks: (0..lanes).map(|_| Arc::new(Watermark::default())).collect(),
            progress: Progress::new(lanes, plan.ordered),
            hosts: Arc::new(HostState::new(HOST_ENTRIES)),
            program: plan.program,
            mailboxes: (0..lanes).map(|_| Arc::default()).collect(),
            stop: Arc::new(AtomicBool::new(false)),
            cores: plan.cores,
            events_per_worker: plan.events_per_worker,
            config: plan.config,
        };
        let mut wiring = Wiring::new(shared.layout, lanes, per_worker);
        let mut workers = Vec::with_capacity(total);
        let halves = receivers.into_iter().zip(transmitters).zip(parts);
        for (lane, ((receivers, transmitters), part)) in halves.enumerate() {
            let mut stages = shared.stages(lane, receivers, transmitters, part);
            for worker in 0..shared.layout.workers() {
                let mine = handles.split_off(handles.len() - per_worker);
                workers.push(shared.worker(lane, worker, mine, &mut stages, &mut wiring));
            }
        }
        Ok(Engine {
            counters: workers
                .iter()
                .map(|w| Arc::clone(&w.emit.counters))
                .collect(),
            events: workers.iter().map(|w| Arc::clone(&w.emit.events)).collect(),
            workers,
            stop: shared.stop,
            mailboxes: shared.mailboxes,
            table_pages,
            contexts_total: total * per_worker,
        })
    }

    /// Puts the engine, as number `number` of two, under a keeper: its workers beat on the board,
    /// wait for the rings there, and count where the engine before them stopped. Before `start`.
    pub fn keep(&mut self, board: Board, number: u32) {
        for (worker, index) in self.workers.iter_mut().zip(0..) {
            worker.emit.counters = board.counters(number, index);
            worker.pulse = Some(Pulse::new(board, number, index));
        }
        let counters = |worker: &Worker| Arc::clone(&worker.emit.counters);
        self.counters = self.workers.iter().map(counters).collect();
    }

    /// All workers by name.
    pub fn named(&self) -> Vec<Named> {
        let named = |worker: &Worker| Named {
            name: worker.name.clone(),
            lane: worker.lane,
            core: worker.core,
            counters: Arc::clone(&worker.emit.counters),
        };
        self.workers.iter().map(named).collect()
    }

    /// Counters of the halves of one port (index in the pair), over all lanes.
    pub fn halves(&self, port: usize) -> Halves {
        let mut halves = Halves::default();
        for worker in &self.workers {
            if let Input::Ports { receivers, .. } = &worker.input {
                halves
                    .receive
                    .extend(receivers.get(port).map(|half| Arc::clone(half.counters())));
            }
            if let Some(part) = &worker.verdict {
                let half = part.transmitters.get(port);
                halves
                    .transmit
                    .extend(half.map(|half| Arc::clone(half.counters())));
            }
        }
        halves
    }

    /// Lets idle workers sleep until their ports have frames: less power, a wake-up more latency.
    pub fn set_adaptive(&mut self, adaptive: bool) {
        for worker in &mut self.workers {
            worker.state.adaptive = adaptive;
        }
    }

    /// Nobody takes events: none is made.
    pub fn set_unheard(&mut self) {
        for worker in &mut self.workers {
            worker.emit.listener = Listener::Nobody;
        }
    }

    /// Starts one thread per worker. Each returns its worker when it has ended.
    pub fn start(&mut self) -> Vec<JoinHandle<Worker>> {
        self.workers
            .drain(..)
            .map(|mut worker| {
                std::thread::Builder::new()
                    .name(worker.name.clone())
                    .spawn(move || {
                        worker.run();
                        worker
                    })
                    .expect("a thread can be started")
            })
            .collect()
    }
}

impl Shared {
    /// The stages of one lane.
    fn stages(
        &self,
        lane: usize,
        receivers: Vec<Receiver>,
        transmitters: Vec<Transmitter>,
        part: FlowParts,
    ) -> LaneStages {
        let (mut flow, detection) =
            FlowStage::new(&self.config, &self.regions, &self.contexts, part);
        let mut matcher = MatchStage::new(
            &self.config,
            Arc::clone(&self.regions),
            Arc::clone(&self.contexts),
            Arc::clone(&self.program),
            detection,
            Arc::clone(&self.hosts),
        );
        matcher.set_mailbox(Arc::clone(&self.mailboxes[lane]));
        let is_apart = self.layout.worker_of(1) != self.layout.worker_of(2);
        if is_apart {
            matcher.set_apart();
        }
        flow.set_depths(matcher.own_depths(), if is_apart { AHEAD } else { 0 });
        matcher.set_turn(Box::new(LaneTurn::new(Arc::clone(&self.progress), lane)));
        LaneStages {
            receivers: Some(receivers),
            transmitters: Some(transmitters),
            flow: Some(Box::new(flow)),
            matcher: Some(Box::new(matcher)),
            low: Arc::default(),
        }
    }

    /// One worker with its ends of the rings, its contexts and its share of the stages.
    fn worker(
        &self,
        lane: usize,
        place: usize,
        mut mine: Vec<Handle>,
        stages: &mut LaneStages,
        wiring: &mut Wiring,
    ) -> Worker {
        let layout = self.layout;
        let total = self.lanes * layout.workers();
        let index = lane * layout.workers() + place;
        for handle in &mut mine {
            self.contexts.get_mut(handle).home = index as u8;
        }
        let runs = |stage: usize| layout.runs(place, stage);
        let ports = stages.receivers.as_ref().map_or(0, Vec::len);
        // A worker that both receives and makes views keeps a quarter of its contexts for views.
        let views_at = if runs(0) { mine.len() * 3 / 4 } else { 0 };
        let views = mine.split_off(views_at);
        let mut flow = if runs(1) {
            self.flow_part(lane, stages, wiring)
        } else {
            None
        };
        let mut input = self.input(lane, place, stages, wiring);
        let reserve = self.flow_reserve(&mut flow, views.len(), runs(0));
        if let Input::Ports { decode, .. } = &mut input {
            decode.wait_for_views(views.len(), reserve);
        }
        let matcher = if runs(2) { stages.matcher.take() } else { None };
        let transmitters = stages.transmitters.take_if(|_| runs(3));
        let verdict = transmitters.map(|transmitters| VerdictPart {
            stage: self.verdict_stage(),
            transmitters,
        });
        let mine_of = (0..4).filter(|stage| runs(*stage));
        let names: Vec<&str> = mine_of.map(|stage| STAGES[stage]).collect();
        Worker {
            index: index as u8,
            lane,
            name: format!("lane{lane}-{}", names.join("+")),
            core: self.cores.get(index).copied(),
            input,
            flow,
            matcher,
            verdict,
            output: wiring.pass_in.take(index, 0),
            returns_in: (0..total)
                .filter_map(|from| wiring.home_out.take(index, from))
                .collect(),
            returns_out: (0..total)
                .map(|to| wiring.home_in.take(index, to))
                .collect(),
            frames: mine,
            emit: self.emit(lane, views),
            contexts: Arc::clone(&self.contexts),
            regions: Arc::clone(&self.regions),
            low: Arc::clone(&stages.low),
            turn: LaneTurn::new(Arc::clone(&self.progress), lane),
            burst_max: self.burst_max,
            stop: Arc::clone(&self.stop),
            live: self.live,
            by_time: self.live && self.config.mode == Mode::Tap && ports > 1,
            cpu: std::time::Duration::ZERO,
            pulse: None,
            state: State::default(),
        }
    }

    /// Tells flow how many of the worker's `views` are its own whatever decode does, and gives that
    /// number: neither stage may wait for contexts that the other one holds.
    fn flow_reserve(&self, flow: &mut Option<FlowPart>, views: usize, decodes: bool) -> usize {
        let Some(part) = flow else { return 0 };
        let reserve = if decodes {
            part.stage.views_max().min(views / 2)
        } else {
            views
        };
        part.stage.wait_for_views(reserve);
        reserve
    }

    fn verdict_stage(&self) -> Box<VerdictStage> {
        let mut stage = VerdictStage::new(
            &self.config,
            Arc::clone(&self.regions),
            Arc::clone(&self.contexts),
        );
        if !self.live {
            stage.set_policy(EventPolicy::of(&self.config.eve, false));
        }
        Box::new(stage)
    }

    fn emit(&self, lane: usize, views: Vec<Handle>) -> Emit {
        let built = Built {
            port: 0,
            length: 0,
            bytes: [0; BUILT_MAX],
        };
        Emit {
            views,
            events: EventQueue::with_records(
                self.events_per_worker,
                crate::matcher::record_room(&self.config),
            ),
            built: vec![built; BUILT_COUNT_MAX],
            built_count: 0,
            counters: Arc::new(Counters::default()),
            lane: lane as u8,
            now_ns: 0,
            listener: if self.live {
                Listener::Live
            } else {
                Listener::Waited
            },
        }
    }

    /// Whether frames cross rings between decode and flow.
    fn meshed(&self) -> bool {
        self.lanes > 1 || self.layout.worker_of(0) != self.layout.worker_of(1)
    }

    fn input(
        &self,
        lane: usize,
        place: usize,
        stages: &mut LaneStages,
        wiring: &mut Wiring,
    ) -> Input {
        if self.layout.runs(place, 0) {
            let rings = (0..self.lanes)
                .map(|to| wiring.mesh_in.take(lane, to))
                .collect();
            let watermark = Arc::clone(&self.watermarks[lane]);
            return Input::Ports {
                receivers: stages.receivers.take().unwrap_or_default(),
                decode: Box::new(DecodeStage::new(
                    Arc::clone(&self.config),
                    Arc::clone(&self.regions),
                    Arc::clone(&self.contexts),
                )),
                mesh: self
                    .meshed()
                    .then(|| MeshOut::new(rings, watermark, lane, self.owner.clone())),
            };
        }
        let index = lane * self.layout.workers() + place;
        match wiring.pass_out.take(index, 0) {
            Some(ring) => Input::Ring(ring),
            None => Input::Mesh,
        }
    }

    fn flow_part(
        &self,
        lane: usize,
        stages: &mut LaneStages,
        wiring: &mut Wiring,
    ) -> Option<FlowPart> {
        let sources = (0..self.lanes)
            .map(|from| {
                (
                    wiring.mesh_out.take(lane, from),
                    Arc::clone(&self.watermarks[from]),
                )
            })
            .collect();
        let stage = stages.flow.take()?;
        let mesh = self.meshed().then(|| MeshIn::new(sources, self.ordered));
        Some(FlowPart { stage, mesh })
    }
}
