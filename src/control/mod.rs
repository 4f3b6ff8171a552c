//! Control: what watches the lanes from outside and answers operators.
//!
//! It adds up the workers' counters, serves Prometheus (`http`, `metrics`) and the control socket
//! (`socket`), writes `stats` events (`stats`) and prints summaries (`summary`). It owns threads of
//! its own and only ever reads what workers write: nothing here can hold a packet up. What it must
//! ask of the rest of the engine stands in `Hooks`.
//!
//! Interface: `Control::start(Parts, Options)`, `Control::stop()`; `Snapshot::take(workers)` and
//! `summary::print` need no thread.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{
    AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::counters::Counters;
use crate::eve::WriterHandle;

mod commands;
mod http;
mod load;
mod metrics;
mod process;
mod serve;
mod snapshot;
mod socket;
mod stats;
pub mod summary;

pub use http::bind as bind_metrics;
pub use metrics::encode as encode_metrics;
pub use snapshot::Snapshot;
pub use socket::bind as bind_socket;

/// How often the control thread looks whether something is to be done.
const TICK: Duration = Duration::from_millis(50);

/// One worker as metrics name it.
#[derive(Clone)]
pub struct WorkerCounters {
    /// Its counters.
    pub counters: Arc<Counters>,
    /// Name of its thread.
    pub name: String,
    /// Lane that it belongs to.
    pub lane: usize,
    /// Core that it is pinned to, if any.
    pub core: Option<usize>,
}

/// What the engine does as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum State {
    /// Rules and memory are being made ready.
    #[default]
    Starting,
    /// Packets are inspected, and verdicts hold.
    Forwarding,
    /// Packets are inspected, and verdicts are notional (tap, shadow).
    Shadow,
    /// Packets go through without inspection by choice.
    Passthrough,
    /// Packets go through without inspection because the engine is gone.
    FailOpen,
}

impl State {
    /// All states.
    pub const ALL: [State; 5] = [
        State::Starting,
        State::Forwarding,
        State::Shadow,
        State::Passthrough,
        State::FailOpen,
    ];

    /// Label value.
    pub const fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Forwarding => "forwarding",
            State::Shadow => "shadow",
            State::Passthrough => "passthrough",
            State::FailOpen => "failopen",
        }
    }
}

/// What a port counts itself.
#[derive(Clone, Default, Debug)]
pub struct PortSample {
    /// Interface name or path.
    pub name: String,
    /// Frames received and transmitted.
    pub packets: [u64; 2],
    /// Bytes received and transmitted.
    pub bytes: [u64; 2],
    /// Times the receive or transmit ring was full.
    pub ring_full: [u64; 2],
    /// Synchronisations with the kernel, receiving and transmitting.
    pub sync_calls: [u64; 2],
    /// Frames that the interface says it lost before us.
    pub missed: u64,
    /// Slots in use of each queue's rings, receiving and transmitting.
    pub slots_used: Vec<[u64; 2]>,
    /// Whether the link is up.
    pub link_up: bool,
    /// Whether netmap runs on the driver itself.
    pub netmap_native: bool,
}

/// How many rules of one action are in one state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleCount {
    /// `loaded`, `disabled`, `unsupported` or `failed`.
    pub state: &'static str,
    /// `alert`, `drop`, `reject` or `pass`.
    pub action: &'static str,
    /// How many.
    pub rules: u64,
}

/// What only the rest of the engine knows at a moment.
#[derive(Clone, Default, Debug)]
pub struct Gauges {
    /// What the engine does.
    pub state: State,
    /// Places of the flow table.
    pub flow_capacity: u64,
    /// Bytes in use, by part (`flows`, `stream`, `rules`, `packets`, `logs`).
    pub memory: Vec<(&'static str, u64)>,
    /// Bytes planned, by the same parts.
    pub memory_limit: Vec<(&'static str, u64)>,
    /// Rules by state and action.
    pub rules: Vec<RuleCount>,
    /// Hash of the rule set in force; empty if none.
    pub ruleset_hash: String,
    /// Its generation.
    pub ruleset_generation: u32,
    /// Share of packets whose durations are sampled, 0 to 1.
    pub sample_ratio: f64,
    /// Ports.
    pub ports: Vec<PortSample>,
    /// Rules that are counted one by one in metrics: those with the most matches.
    pub rules_top: usize,
}

/// What control asks of the engine. Called on control's threads, never by a lane.
pub trait Hooks: Send + Sync {
    /// The present values.
    fn gauges(&self) -> Gauges;

    /// Loads the rules anew and puts them in force; `force` does so where far fewer are left or
    /// some have errors. The text is shown to the operator.
    ///
    /// # Errors
    /// Why the old rules stay.
    fn reload(&self, force: bool) -> Result<String, String>;

    /// Ends the engine in order: no new frames, all that are in it decided.
    fn shutdown(&self);

    /// What is asked of the rules in force, as words: what is wrong with those that failed
    /// (`ruleset-failed-rules`), and values of their sets (`dataset-add SET TYPE VALUE`, ...).
    ///
    /// # Errors
    /// Why there is no answer.
    fn rules(&self, _words: &[&str]) -> Result<serde_json::Value, String> {
        Err("a replay has the rules that it began with".to_string())
    }

    /// What rules and prefilters cost so far, as JSON.
    ///
    /// # Errors
    /// Why there are no figures.
    fn profile(&self) -> Result<String, String> {
        Err("nothing is measured here".to_string())
    }

    /// Passes a command on to the keeper. The text is shown to the operator.
    ///
    /// # Errors
    /// Why it was not obeyed.
    fn keeper(&self, command: &str) -> Result<String, String> {
        Err(format!(
            "`{command}` is the keeper's, and there is none: run with --keeper"
        ))
    }
}

/// Sockets that were opened elsewhere and outlive this engine.
#[derive(Default)]
pub struct Listeners {
    /// For metrics.
    pub metrics: Option<std::net::TcpListener>,
    /// For the control socket.
    pub socket: Option<std::os::unix::net::UnixListener>,
}

/// Which build this is.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo {
    /// Version of the package.
    pub version: &'static str,
    /// Commit that it was made from.
    pub commit: &'static str,
    /// Compiler.
    pub rustc: &'static str,
    /// Optional parts.
    pub features: &'static str,
}

impl Default for BuildInfo {
    fn default() -> Self {
        BuildInfo {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("SLUICE_COMMIT").unwrap_or("unknown"),
            rustc: option_env!("SLUICE_RUSTC").unwrap_or("unknown"),
            features: if cfg!(feature = "loom") { "loom" } else { "" },
        }
    }
}

/// What control is given.
pub struct Parts {
    /// All workers.
    pub workers: Vec<WorkerCounters>,
    /// The engine.
    pub hooks: Arc<dyn Hooks>,
    /// The event writer, if there is one.
    pub writer: Option<WriterHandle>,
    /// Name of an anomaly code; empty if none.
    pub anomaly: fn(u8) -> &'static str,
    /// The build.
    pub build: BuildInfo,
}

/// What control is to do.
#[derive(Clone, Default)]
pub struct Options {
    /// Address to serve metrics on.
    pub metrics: Option<SocketAddr>,
    /// Whether that may be another address than a loopback one.
    pub metrics_remote: bool,
    /// Path of the control socket.
    pub socket: Option<PathBuf>,
    /// Seconds between `stats` events; 0: only the one at the end.
    pub stats_interval: u32,
    /// Whether there are `stats` events at all.
    pub stats: bool,
}

/// What happened to reloads; `sluice_reload*`.
#[derive(Clone, Copy, Default, Debug)]
pub struct Reloads {
    /// That put new rules in force.
    pub succeeded: u64,
    /// That left the old ones.
    pub failed: u64,
    /// Nanoseconds that the last one took.
    pub last_duration_ns: u64,
    /// When the last successful one ended, seconds since the epoch; 0: never.
    pub last_success_s: u64,
}

/// What control's threads share.
pub struct Shared {
    parts: Parts,
    started: Instant,
    started_s: f64,
    stop: AtomicBool,
    reloads: Mutex<Reloads>,
    /// Held while rules are loaded: one reload at a time.
    reloading: Mutex<()>,
    load: Mutex<load::Load>,
    scrapes: AtomicU64,
}

impl Shared {
    fn new(parts: Parts) -> Shared {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Shared {
            parts,
            started: Instant::now(),
            started_s: now.map_or(0.0, |since| since.as_secs_f64()),
            stop: AtomicBool::new(false),
            reloads: Mutex::new(Reloads::default()),
            reloading: Mutex::new(()),
            load: Mutex::new(load::Load::new()),
            scrapes: AtomicU64::new(0),
        }
    }

    fn stopping(&self) -> bool {
        self.stop.load(Acquire)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::take(self.parts.workers.iter().map(|worker| &*worker.counters))
    }

    /// When the rules in force were put there, seconds since the epoch.
    fn last_reload_s(&self) -> u64 {
        self.reloads().last_success_s.max(self.started_s as u64)
    }

    /// How busy each worker was in the last full second, 0 to 1.
    fn load(&self) -> Vec<f64> {
        let load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        load.ratios(self.parts.workers.len())
    }

    fn look_at_load(&self) {
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = self.parts.workers.iter();
        load.look(busy.map(|worker| worker.counters.busy_ns()));
    }

    fn reloads(&self) -> Reloads {
        *self.reloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads the rules anew; one reload at a time, during which metrics and `stats` go on.
    fn reload(&self, force: bool) -> Result<String, String> {
        let one = self.reloading.lock();
        let begin = Instant::now();
        let outcome = self.parts.hooks.reload(force);
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.last_duration_ns = begin.elapsed().as_nanos() as u64;
        if outcome.is_ok() {
            reloads.succeeded += 1;
            reloads.last_success_s = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs());
        } else {
            reloads.failed += 1;
        }
        drop((reloads, one));
        outcome
    }
}

/// Control's threads.
pub struct Control {
    shared: Arc<Shared>,
    options: Options,
    thread: JoinHandle<()>,
    http: Option<serve::Server>,
    socket: Option<serve::Server>,
}

impl Control {
    /// Opens what is to be served and starts.
    ///
    /// # Errors
    /// An address or path that cannot be served, one line what and one line what to do.
    pub fn start(parts: Parts, options: Options) -> io::Result<Control> {
        Control::start_on(Listeners::default(), parts, options)
    }

    /// As `start`, on sockets that are open already where there are any.
    ///
    /// # Errors
    /// As for `start`.
    pub fn start_on(listeners: Listeners, parts: Parts, options: Options) -> io::Result<Control> {
        let shared = Arc::new(Shared::new(parts));
        let http = match options.metrics {
            Some(_) if listeners.metrics.is_some() => {
                let listener = listeners.metrics;
                listener
                    .map(|listener| http::serve_on(listener, Arc::clone(&shared)))
                    .transpose()?
                    .map(serve::Server::given)
            }
            Some(address) => Some(http::start(
                address,
                options.metrics_remote,
                Arc::clone(&shared),
            )?),
            None => None,
        };
        let socket = match &options.socket {
            Some(path) if listeners.socket.is_some() => {
                let listener = listeners.socket;
                listener
                    .map(|listener| socket::serve_on(listener, path, Arc::clone(&shared)))
                    .transpose()?
                    .map(serve::Server::given)
            }
            Some(path) => Some(socket::start(path, Arc::clone(&shared))?),
            None => None,
        };
        let thread = {
            let (shared, options) = (Arc::clone(&shared), options.clone());
            std::thread::Builder::new()
                .name("sluice-control".to_string())
                .spawn(move || watch(&shared, &options))?
        };
        Ok(Control {
            shared,
            options,
            thread,
            http,
            socket,
        })
    }

    /// Address that metrics are served on (the port is chosen by the system if 0 was asked for).
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(serve::Server::address)
    }

    /// Loads the rules anew, as SIGHUP asks for, and counts it.
    ///
    /// # Errors
    /// Why the old rules stay.
    pub fn reload(&self) -> Result<String, String> {
        self.shared.reload(false)
    }

    /// The same on a thread of its own, which tells what came of it on standard error.
    pub fn reload_beside(&self) {
        let shared = Arc::clone(&self.shared);
        let spawned = std::thread::Builder::new()
            .name("sluice-reload".to_string())
            .spawn(move || match shared.reload(false) {
                Ok(text) => eprintln!("reload: {text}"),
                Err(text) => eprintln!("reload refused: {text}"),
            });
        if let Err(error) = spawned {
            eprintln!("reload refused: {error}");
        }
    }

    /// The sum of all workers' counters now.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// Ends the threads, after a last `stats` event. To be called when the lanes have ended and
    /// before the event writer is stopped.
    pub fn stop(self) {
        self.shared.stop.store(true, Release);
        // A panic of one of the threads was told by the default hook.
        let _ = self.thread.join();
        if self.options.stats {
            stats::submit(&self.shared);
        }
        for server in [self.http, self.socket].into_iter().flatten() {
            server.stop();
        }
    }
}

/// The control thread: `stats` events at their interval.
fn watch(shared: &Shared, options: &Options) {
    let interval = Duration::from_secs(u64::from(options.stats_interval));
    let mut last = Instant::now();
    while !shared.stopping() {
        std::thread::sleep(TICK);
        shared.look_at_load();
        if options.stats && !interval.is_zero() && last.elapsed() >= interval {
            last += interval;
            stats::submit(shared);
        }
    }
}

/// Scrapes served so far.
fn scrapes(shared: &Shared) -> u64 {
    shared.scrapes.load(Relaxed)
}

#[cfg(test)]
mod tests;
