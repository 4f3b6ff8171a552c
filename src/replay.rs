//! Replay: captures through the very lanes that serve the wire.
//!
//! `Session` puts a capture set, a rule set and a layout together and runs them; the caller takes
//! the events on its own thread, until all workers have ended. The command line (`sluice replay`,
//! `sluice test`), the tests and the benches use nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::counters::{Counter, Counters};
use crate::decode::LinkType;
use crate::event::{Event, EventQueue};
use crate::lane::Worker;
use crate::lane::build::{BuildError, Engine, Plan};
pub use crate::lane::build::{Halves, Named};
use crate::layout::Layout;
use crate::matcher::Program;
use crate::port::capture::spread::Spread;
use crate::port::capture::{Capture, CaptureError, CaptureReader, CaptureWriter};
use crate::port::rss::Rss;
use crate::port::{Discard, Receiver, Transmitter};
use crate::reason::Reason;

/// Events between a worker and the writer in a replay.
const EVENTS_PER_WORKER: usize = 256;
/// First and longest pause of the thread that takes events. It is woken before a queue is full.
const PAUSE_MIN: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(2);

/// What to replay, and how.
pub struct Options {
    /// Settings of the engine.
    pub config: Config,
    /// Stages on workers.
    pub layout: Layout,
    /// Lanes.
    pub lanes: usize,
    /// Frames per burst at most.
    pub burst_max: usize,
    /// Which lane gets which packet.
    pub spread: Spread,
    /// Merge lanes by capture order: the same result for any number of lanes.
    pub ordered: bool,
    /// Where forwarded packets go.
    pub write: Option<PathBuf>,
    /// Pin workers to cores.
    pub cores: Vec<usize>,
    /// Events under way between a worker and the caller; a worker waits when all are.
    pub events_per_worker: usize,
    /// Key of the hashes; 0: a new one.
    pub key: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            config: Config::default(),
            layout: Layout::FUSED,
            lanes: 1,
            burst_max: crate::packet::BURST_MAX,
            spread: Spread::default(),
            ordered: true,
            write: None,
            cores: Vec::new(),
            events_per_worker: EVENTS_PER_WORKER,
            key: 0,
        }
    }
}

/// Why a replay could not begin.
#[derive(Debug)]
pub enum ReplayError {
    /// A capture cannot be opened.
    Capture(CaptureError),
    /// The engine cannot be built.
    Build(BuildError),
    /// The options contradict each other.
    Usage(String),
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplayError::Capture(error) => error.fmt(f),
            ReplayError::Build(error) => error.fmt(f),
            ReplayError::Usage(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ReplayError {}

/// A replay that is ready to start.
pub struct Session {
    engine: Engine,
    /// Bytes of all captures.
    pub bytes_total: u64,
    /// Bytes walked by lane 0, for a progress bar.
    pub position: Arc<AtomicU64>,
}

/// What a replay came to.
pub struct Outcome {
    /// Counters of all workers, and their names.
    pub counters: Vec<(String, Arc<Counters>)>,
    /// Faults of the captures, told once (lane 0 sees them all).
    pub capture_errors: Vec<CaptureError>,
    /// A fault of the written capture.
    pub write_error: Option<CaptureError>,
    /// From start to end.
    pub elapsed: Duration,
    /// CPU time of the workers.
    pub cpu: Duration,
    /// Contexts that had not come home; 0 unless something is broken.
    pub contexts_lost: usize,
}

impl Outcome {
    /// Sum of a counter over all workers.
    pub fn total(&self, counter: Counter) -> u64 {
        self.counters
            .iter()
            .map(|(_, counters)| counters.get(counter))
            .sum()
    }

    /// Frames dropped (or, in a tap, to be dropped) by reason; zeros left out.
    pub fn dropped(&self, notional: bool) -> BTreeMap<&'static str, u64> {
        let count = |reason: &Reason| {
            let of = |c: &Counters| {
                if notional {
                    c.would_drop(*reason)
                } else {
                    c.dropped(*reason)
                }
            };
            (
                reason.name(),
                self.counters.iter().map(|(_, c)| of(c)).sum::<u64>(),
            )
        };
        Reason::ALL
            .iter()
            .map(count)
            .filter(|(_, packets)| *packets > 0)
            .collect()
    }

    /// I1: what came in and did not come to exactly one end; 0 unless something is broken.
    pub fn unaccounted(&self) -> i64 {
        let ends = [
            Counter::PacketsForwarded,
            Counter::PacketsDropped,
            Counter::PacketsRejected,
            Counter::PacketsBypassed,
        ];
        let out: u64 = ends.iter().map(|end| self.total(*end)).sum();
        self.total(Counter::PacketsReceived) as i64 - out as i64
    }

    /// I8: flows created that did not end; 0 after a replay unless something is broken.
    pub fn flows_unended(&self) -> i64 {
        let ends = [
            Counter::FlowsEndedTimeout,
            Counter::FlowsEndedClosed,
            Counter::FlowsEndedEvicted,
            Counter::FlowsEndedShutdown,
        ];
        let ended: u64 = ends.iter().map(|end| self.total(*end)).sum();
        self.total(Counter::FlowsCreated) as i64 - ended as i64
    }
}

/// Cores of this process, in order.
pub fn cores() -> Vec<usize> {
    core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|core| core.id)
        .collect()
}

/// A key that nobody outside can know: the standard library's own random hash seed.
pub fn random_key() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
        | 1
}

impl Session {
    /// Opens captures and builds the engine.
    ///
    /// # Errors
    /// A capture that cannot be opened, memory that is not there, contradicting options.
    pub fn open<P: AsRef<Path>>(
        captures: &[P],
        options: Options,
        program: Arc<Program>,
    ) -> Result<Session, ReplayError> {
        if options.lanes == 0 || options.write.is_some() && options.lanes > 1 {
            return Err(ReplayError::Usage(format!(
                "--lanes {} does not go with this command\n [hint] --write keeps the packets' \
                 order and so takes one lane; use --layout to spread one lane over cores",
                options.lanes
            )));
        }
        let capture = Capture::open(captures).map_err(ReplayError::Capture)?;
        let receivers = (0..options.lanes)
            .map(|lane| {
                let reader = CaptureReader::new(
                    Arc::clone(&capture),
                    |link| LinkType::from_pcap(link) as u8,
                    options.spread,
                    lane,
                    options.lanes,
                );
                vec![Receiver::Capture(Box::new(reader))]
            })
            .collect();
        let mut transmitters = Vec::with_capacity(options.lanes);
        for _ in 0..options.lanes {
            transmitters.push(vec![match &options.write {
                Some(path) => Transmitter::Capture(Box::new(
                    CaptureWriter::create(path)
                        .map_err(ReplayError::Capture)?
                        .with_links(|code| LinkType::from_u8(code).to_pcap()),
                )),
                None => Transmitter::Discard(Discard::default()),
            }]);
        }
        let mut config = options.config;
        config.lanes = options.lanes as u8;
        let engine = Engine::build(Plan {
            config: Arc::new(config),
            layout: options.layout,
            burst_max: options.burst_max,
            ordered: options.ordered,
            live: false,
            receivers,
            transmitters,
            program,
            events_per_worker: options.events_per_worker,
            rss: (options.spread == Spread::Pair).then(|| Arc::new(Rss::even(options.lanes))),
            cores: options.cores,
            key: if options.key == 0 {
                random_key()
            } else {
                options.key
            },
        })
        .map_err(ReplayError::Build)?;
        Ok(Session {
            engine,
            bytes_total: capture.len(),
            position: Arc::default(),
        })
    }

    /// Counters of all workers, by name; they may be read while the replay runs.
    pub fn counters(&self) -> Vec<(String, Arc<Counters>)> {
        let names = self.engine.workers.iter().map(|worker| worker.name.clone());
        names.zip(self.engine.counters.iter().cloned()).collect()
    }

    /// Event queues of all workers.
    pub fn events(&self) -> Vec<Arc<EventQueue>> {
        self.engine.events.clone()
    }

    /// The workers, as metrics name them.
    pub fn workers(&self) -> Vec<Named> {
        self.engine.named()
    }

    /// Set it and the replay ends early, in order.
    pub fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.engine.stop)
    }

    /// The counters of the captures as a port, named after the first.
    pub fn ports<P: AsRef<Path>>(&self, captures: &[P]) -> Vec<(String, Halves)> {
        let name = captures
            .first()
            .map(|path| path.as_ref().display().to_string());
        vec![(name.unwrap_or_default(), self.engine.halves(0))]
    }

    /// Runs to the end and gives each event to `sink`, on this thread. `tick` is called now and
    /// then (progress bar, signals).
    pub fn run(self, mut sink: impl FnMut(&Event), mut tick: impl FnMut()) -> Outcome {
        let queues = self.events();
        queues.iter().for_each(|queue| queue.attend());
        self.run_while(move || {
            let mut taken = 0;
            for queue in &queues {
                while let Some(event) = queue.take() {
                    sink(&event);
                    queue.give_back(event);
                    taken += 1;
                }
            }
            tick();
            taken
        })
    }

    /// Runs to the end while somebody else (the event writer) takes the events.
    pub fn run_detached(self, mut tick: impl FnMut()) -> Outcome {
        self.run_while(move || {
            tick();
            0
        })
    }

    /// Runs; `work` is called until the workers have ended and it has nothing to do.
    fn run_while(mut self, mut work: impl FnMut() -> usize) -> Outcome {
        let counters = self.counters();
        let started = Instant::now();
        let threads = self.engine.start();
        let mut pause = PAUSE_MIN;
        loop {
            // Whether all have ended must be known before the last look at the queues.
            let ended = threads.iter().all(std::thread::JoinHandle::is_finished);
            let done = work();
            if ended && done == 0 {
                break;
            }
            if done == 0 {
                EventQueue::rest(pause);
                // Short replays end soon after their workers.
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        let elapsed = started.elapsed();
        let mut workers: Vec<Worker> = threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect();
        settle(&mut workers);
        let (capture_errors, write_error) = faults(&mut workers);
        Outcome {
            counters,
            capture_errors,
            write_error,
            elapsed,
            cpu: workers.iter().map(|worker| worker.cpu).sum(),
            contexts_lost: self.engine.contexts_total - home(&workers),
        }
    }
}

/// Lets every worker take home what came back after it had ended.
fn settle(workers: &mut [Worker]) {
    for worker in workers {
        worker.settle();
    }
}

fn home(workers: &[Worker]) -> usize {
    workers
        .iter()
        .map(|worker| worker.frames.len() + worker.emit.views.len())
        .sum()
}

/// Faults of the captures read and of the one written.
fn faults(workers: &mut [Worker]) -> (Vec<CaptureError>, Option<CaptureError>) {
    let mut read = Vec::new();
    let mut written = None;
    for worker in workers {
        if worker.lane == 0
            && let crate::lane::Input::Ports { receivers, .. } = &worker.input
        {
            for receiver in receivers {
                if let Some(reader) = receiver.as_capture() {
                    read.extend(reader.errors());
                }
            }
        }
        let halves = worker
            .verdict
            .iter_mut()
            .flat_map(|part| &mut part.transmitters);
        for half in halves {
            if let Transmitter::Capture(writer) = half {
                written = written.or(writer.finish().err());
            }
        }
    }
    (read, written)
}
