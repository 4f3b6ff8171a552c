//! `sluice run`: inline between two ports, or a tap on one or more.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::control::{self, EngineHooks, Served};
use super::rules::{self, Loaded};
use super::{EngineArgs, Failure, exit};
use crate::config::{Area, Choice, Config, Mode, Urgent};
use crate::eve::{Options as EveOptions, Target, Writer};
use crate::flow::FlowPlan;
use crate::lane::Worker;
use crate::lane::build::{Engine, Halves, Plan};
use crate::memory::available_bytes;
use crate::port::open::{LanePorts, OpenOptions, Opened, open};
use crate::port::spec::PortSpec;
use crate::port::{Discard, PortCounter, PortCounters, Transmit, Transmitter};
use crate::replay::{cores, random_key};

/// Events between a worker and the writer: what a second of heavy alerting may bring.
const EVENTS_PER_WORKER: usize = 4096;

/// Frames in flight per lane and port.
const FRAMES: u32 = 4096;
/// Time between two looks at signals and counters.
const TURN: Duration = Duration::from_millis(20);
/// How long frames that are queued may take to leave, at the end.
const DRAIN_MAX: Duration = Duration::from_millis(500);
/// How long to wait for the process that serves a memory port.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a worker without frames does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Idle {
    /// Asks its ports all the time
    Busy,
    /// Sleeps until they have frames
    Adaptive,
}

/// Arguments of `sluice run`.
#[derive(Args)]
pub struct RunArgs {
    /// Ports: two with --inline (inside, outside), one or more with --tap. An interface name
    /// (AF_PACKET); netmap:IF, netmap:IF^ (host rings), netmap:x{1 (pipe) or vale0:1; or mem:PATH{0
    /// and mem:PATH{1.
    #[arg(required = true, value_name = "PORT")]
    pub ports: Vec<String>,
    /// Be the gate between two ports.
    #[arg(long)]
    pub inline: bool,
    /// Watch, forward nothing.
    #[arg(long, conflicts_with = "inline")]
    pub tap: bool,
    /// Folder for eve.json.
    #[arg(short = 'l', long = "log-dir", value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// Lanes: one RSS shard of both ports each.
    #[arg(long, default_value_t = 1)]
    pub lanes: usize,
    /// Pin workers to cores.
    #[arg(long)]
    pub pin: bool,
    /// What a worker without frames does: ask its ports all the time (busy), or sleep until they
    /// have some, or a millisecond (adaptive).
    #[arg(long, value_enum, default_value = "busy")]
    pub idle: Idle,
    /// Control socket.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Seconds between `stats` events.
    #[arg(long, default_value_t = 10)]
    pub stats_interval: u32,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,
    /// Summary as text or json.
    #[arg(long, default_value = "text")]
    pub format: String,
    /// Rules and settings.
    #[command(flatten)]
    pub engine: EngineArgs,
}

fn open_ports(args: &RunArgs, inline: bool) -> Result<Opened, Failure> {
    if inline && args.ports.len() != 2 {
        return Err(Failure::new(
            exit::USAGE,
            "--inline takes two ports\n [hint] sluice run --inline INSIDE OUTSIDE -S RULES",
        ));
    }
    let specs = args
        .ports
        .iter()
        .map(|text| text.parse::<PortSpec>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::new(exit::USAGE, error))?;
    if inline && let Some(spec) = specs.iter().find(|spec| spec.receives_only()) {
        let hint = "watch it with --tap, or leave out what stands behind the /";
        return Err(Failure::new(
            exit::USAGE,
            format!("{spec}: nothing can be sent on this port\n [hint] {hint}"),
        ));
    }
    let options = OpenOptions {
        lanes: args.lanes,
        frames: FRAMES,
        patience: PATIENCE,
    };
    let mut opened = open(&specs, &options).map_err(|error| Failure::new(exit::DEVICE, error))?;
    for note in &opened.notes {
        eprintln!("note: {note}");
    }
    if !inline {
        // A tap sends nothing, whatever the ports could.
        for half in opened
            .lanes
            .iter_mut()
            .flat_map(|lane| &mut lane.transmitters)
        {
            *half = Transmitter::Discard(Discard::default());
        }
    }
    Ok(opened)
}

fn writer(args: &RunArgs, engine: &Engine, loaded: &Loaded) -> Result<Option<Writer>, Failure> {
    let Some(dir) = &args.log_dir else {
        return Ok(None);
    };
    let fail = |error: std::io::Error| {
        let hint = "-l names a folder that can be written";
        Failure::new(
            exit::INPUT,
            format!("{}: {error}\n [hint] {hint}", dir.display()),
        )
    };
    std::fs::create_dir_all(dir).map_err(fail)?;
    let mut options = EveOptions::new(Target::Path(dir.join("eve.json")));
    options.interfaces = args.ports.clone();
    options.names = super::eve_names();
    let writer = Writer::start(engine.events.clone(), loaded.info(), options);
    writer.map(Some).map_err(fail)
}

/// What is looked at from time to time while the lanes work.
struct Watch {
    limit: Option<Duration>,
    started: Instant,
    /// Ports that have not brought a frame too long for their ring yet.
    ports: Vec<(String, Halves)>,
}

impl Watch {
    fn new(args: &RunArgs, ports: Vec<(String, Halves)>) -> Watch {
        Watch {
            limit: args.seconds.map(Duration::from_secs),
            started: Instant::now(),
            ports,
        }
    }

    fn is_over(&self) -> bool {
        self.limit
            .is_some_and(|limit| self.started.elapsed() >= limit)
    }

    /// Tells once for each port that frames are lost because somebody merges segments.
    fn look(&mut self) {
        self.ports.retain(|(name, halves)| {
            let long = |half: &Arc<PortCounters>| half.get(PortCounter::TooLong);
            let count: u64 = halves.receive.iter().map(long).sum();
            if count > 0 {
                eprintln!(
                    "note: {name} brings frames longer than its MTU, and they are dropped \
                     (port_frame_too_long): a NIC merges segments, or a stack on the same host \
                     leaves cutting them to its NIC\n [hint] ethtool -K {name} gro off lro off \
                     tso off gso off; for a veth port the same at its other end"
                );
            }
            count == 0
        });
    }
}

/// Flags that signals set.
struct Signals {
    stop: Arc<AtomicBool>,
    hangup: Arc<AtomicBool>,
}

fn signals(stop: &Arc<AtomicBool>) -> Result<Signals, Failure> {
    let hangup = Arc::new(AtomicBool::new(false));
    let wanted = [(SIGTERM, stop), (SIGINT, stop), (SIGHUP, &hangup)];
    for (signal, flag) in wanted {
        signal_hook::flag::register(signal, Arc::clone(flag))
            .map_err(|error| Failure::new(exit::DEVICE, format!("signal {signal}: {error}")))?;
    }
    Ok(Signals {
        stop: Arc::clone(stop),
        hangup,
    })
}

/// What the wire is guarded with unless --set says otherwise: in the path nothing passes that was
/// not inspected, so urgent data (which receivers read differently) and connections that began
/// before the engine did are dropped (`stream.midstream=yes` picks those up).
fn defaults(inline: bool) -> Config {
    let mut config = Config::default();
    if inline {
        config.urgent = Urgent::Drop;
        config.policies.set(Area::Midstream, Choice::Auto);
    }
    config
}

/// Runs `sluice run` until a signal or the time given.
///
/// # Errors
/// Usage, settings, rules or devices that cannot be used; the exit code says which.
pub fn run(args: &RunArgs) -> Result<u8, Failure> {
    let config = args
        .engine
        .config_over(defaults(args.inline), args.inline)?;
    let inline = config.mode == Mode::Inline;
    if args.lanes == 0 {
        return Err(Failure::new(exit::USAGE, "--lanes 0\n [hint] at least one"));
    }
    let loaded = rules::load(&super::replay::wanted(&args.engine)?.with(&config))?;
    loaded.report();
    let mut ports = open_ports(args, inline)?;
    let lanes = std::mem::take(&mut ports.lanes);
    let plan = FlowPlan::new(&config, lanes.len());
    eprintln!("memory: {plan} ({} MiB available)", available_bytes() >> 20);
    let mut engine = build(args, &config, &loaded, lanes)?;
    engine.set_adaptive(args.idle == Idle::Adaptive);
    eprintln!("memory: flow table on {}", engine.table_pages.start_text());
    let signals = signals(&engine.stop)?;
    let writer = writer(args, &engine, &loaded)?;
    let named = args.ports.iter().enumerate();
    let halves: Vec<(String, Halves)> = named
        .map(|(index, name)| (name.clone(), engine.halves(index)))
        .collect();
    let stop = Arc::clone(&signals.stop);
    let hooks = EngineHooks::new(&config, &loaded, halves.clone(), stop);
    let served = Served {
        metrics: args.engine.metrics,
        socket: args.socket.clone(),
        stats_interval: args.stats_interval,
    };
    let handle = writer.as_ref().map(Writer::handle);
    let control = control::start(engine.named(), hooks, handle, served)?;
    if let Some(address) = control.metrics_address() {
        eprintln!("metrics: http://{address}/metrics");
    }
    let started = Instant::now();
    let threads = engine.start();
    eprintln!(
        "ready: {} {}",
        if inline { "inline" } else { "tap" },
        args.ports.join(" ")
    );
    let mut watch = Watch::new(args, halves);
    while !signals.stop.load(Ordering::Relaxed) {
        let gone = ports.clients.iter().any(|client| !client.is_served());
        if watch.is_over() || gone || threads.iter().any(|thread| thread.is_finished()) {
            signals.stop.store(true, Ordering::Relaxed);
        }
        if signals.hangup.swap(false, Ordering::Relaxed)
            && let Some(writer) = &writer
        {
            writer.handle().reopen();
        }
        watch.look();
        std::thread::sleep(TURN);
    }
    let mut workers: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
    finish(workers.iter_mut().flatten());
    let panicked = workers.iter().any(Result::is_err);
    let cpu = workers.iter().flatten().map(|worker| worker.cpu).sum();
    let snapshot = control.snapshot();
    control.stop();
    writer.map(Writer::stop);
    super::replay::summary(&snapshot, started.elapsed(), cpu, &args.format)?;
    match panicked {
        true => Err(Failure::new(70, "a worker panicked; what it held is lost")),
        false => Ok(exit::OK),
    }
}

/// Takes home what came back late, so that all buffers go back with the ports, and waits a moment
/// for what is queued to leave: closing a port throws away what is still in its rings.
fn finish<'a>(workers: impl Iterator<Item = &'a mut Worker>) {
    let deadline = Instant::now() + DRAIN_MAX;
    for worker in workers {
        worker.settle();
        for half in worker
            .verdict
            .iter_mut()
            .flat_map(|part| &mut part.transmitters)
        {
            while !half.is_drained() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

fn build(
    args: &RunArgs,
    config: &Config,
    loaded: &Loaded,
    lanes: Vec<LanePorts>,
) -> Result<Engine, Failure> {
    let mut config = config.clone();
    config.lanes = args.lanes as u8;
    let (receivers, transmitters) = lanes
        .into_iter()
        .map(|lane| (lane.receivers, lane.transmitters))
        .unzip();
    Engine::build(Plan {
        config: Arc::new(config),
        layout: args.engine.layout()?,
        burst_max: args.engine.burst,
        ordered: false,
        live: true,
        receivers,
        transmitters,
        program: Arc::clone(&loaded.program),
        events_per_worker: EVENTS_PER_WORKER,
        cores: if args.pin { cores() } else { Vec::new() },
        key: random_key(),
    })
    .map_err(|error| Failure::new(exit::CONFIG, error))
}
