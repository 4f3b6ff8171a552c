//! `sluice run`: inline between pairs of ports, or a tap on one or more.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};

use super::control::{self, EngineHooks, Served};
use super::keeper::{self, Attached, KeeperArgs, Written};
use super::reload::{Anew, Reloader};
use super::rules::{self, Loaded};
use super::start::Starts;
use super::{EngineArgs, Failure, exit};
use crate::config::{Area, Choice, Config, Mode, Urgent};
use crate::control::Control;
use crate::eve::{Options as EveOptions, SignatureInfo, Target, Writer};
use crate::flow::FlowPlan;
use crate::keeper::notify::Notifier;
use crate::lane::Worker;
use crate::lane::build::{Engine, Halves, Plan};
use crate::matcher::MatchPlan;
use crate::memory::available_bytes;
use crate::memory::heap::{Untouched, onto_huge_pages};
use crate::port::open::{LanePorts, OpenOptions, Opened, open};
use crate::port::rss::Rss;
use crate::port::spec::PortSpec;
use crate::port::{Discard, PortCounter, PortCounters, Transmit, Transmitter};
use crate::replay::{cores, random_key};

/// Events between a worker and the writer: what a second of heavy alerting may bring.
const EVENTS_PER_WORKER: usize = 4096;

/// Frames in flight per lane and port.
const FRAMES: u32 = 4096;
/// Ports of a process at most: their numbers are bytes, and a lane looks at each in every turn.
const PORTS_MAX: usize = 64;
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
#[derive(Args, Clone)]
pub struct RunArgs {
    /// Be the gate between two ports, the inside one first; may be repeated, for one process on
    /// several wires. An interface name (AF_PACKET); netmap:IF, netmap:IF^ (host rings),
    /// netmap:x{1 (pipe) or vale0:1; or mem:PATH{0 and mem:PATH{1.
    #[arg(long, num_args = 2, value_names = ["INSIDE", "OUTSIDE"], conflicts_with = "tap")]
    pub inline: Vec<String>,
    /// Watch ports, forward nothing.
    #[arg(short = 'i', long, num_args = 1.., value_name = "PORT")]
    pub tap: Vec<String>,
    /// Folder for eve.json.
    #[arg(short = 'l', long = "log-dir", value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// Lanes: one RSS shard of all ports each (1).
    #[arg(long)]
    pub lanes: Option<usize>,
    /// Pin workers to cores.
    #[arg(long)]
    pub pin: bool,
    /// Start although a port looks like the management port, or the kernel forwards between ports.
    #[arg(long)]
    pub force: bool,
    /// What a worker without frames does: ask its ports all the time (busy), or sleep until they
    /// have some, or a millisecond (adaptive).
    #[arg(long, value_enum, default_value = "busy")]
    pub idle: Idle,
    /// Control socket.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Seconds between `stats` events (10).
    #[arg(long)]
    pub stats_interval: Option<u32>,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,
    /// Read settings, rules and all files that they name as a run does, say what is found, and end:
    /// no port is opened.
    #[arg(short = 'T', long = "test")]
    pub test: bool,
    /// Summary as text or json.
    #[arg(long, default_value = "text")]
    pub format: String,
    /// The keeper.
    #[command(flatten)]
    pub keeper: KeeperArgs,
    /// Rules and settings.
    #[command(flatten)]
    pub engine: EngineArgs,
}

impl RunArgs {
    /// These arguments over those of the settings file: ports named here take the place of the
    /// file's.
    ///
    /// # Errors
    /// A file that cannot be read (6), what is wrong in it (3), or no port at all (2).
    pub fn with_file(&self) -> Result<RunArgs, Failure> {
        let mut args = self.clone();
        args.engine = self.engine.with_file()?;
        let file = &args.engine.file;
        if args.inline.is_empty() && args.tap.is_empty() {
            args.inline = file.pairs().iter().flatten().cloned().collect();
            args.tap = file.many("run.tap").to_vec();
        }
        args.log_dir = args.log_dir.or(file.path("log.dir"));
        args.lanes = args.lanes.or(file.number("run.lanes")?);
        args.stats_interval = args.stats_interval.or(file.number("log.stats-interval")?);
        args.socket = args.socket.or(file.path("run.control-socket"));
        args.pin |= file.flag("run.pin");
        args.force |= file.flag("run.force");
        let hint = "sluice run --inline INSIDE OUTSIDE -S RULES, or sluice run --tap PORT...";
        let usage = |what: &str| {
            let text = format!("{what}\n [hint] {hint}");
            Err(Failure::new(exit::USAGE, text))
        };
        let mut names: Vec<&String> = args.ports().iter().collect();
        names.sort();
        match (args.inline.is_empty(), args.tap.is_empty()) {
            (true, true) if args.test => Ok(args),
            (true, true) => usage("no port"),
            (false, false) => usage("run.inline and run.tap: a process is a gate or a tap"),
            (true, false) if args.keeper.keeper.is_some() => {
                usage("--keeper: what watches only is in nobody's way, and needs none")
            }
            _ if names.windows(2).any(|two| two[0] == two[1]) => usage("a port is named twice"),
            _ if names.len() > PORTS_MAX => usage("more than 64 ports"),
            _ if args.lanes() == 0 => usage("no lanes: at least one"),
            _ => Ok(args),
        }
    }

    /// Names of all ports: pairs one after the other, or taps.
    pub fn ports(&self) -> &[String] {
        match self.is_inline() {
            true => &self.inline,
            false => &self.tap,
        }
    }

    /// Whether packets are ours to stop.
    pub fn is_inline(&self) -> bool {
        !self.inline.is_empty()
    }

    /// Lanes.
    pub fn lanes(&self) -> usize {
        self.lanes.unwrap_or(1)
    }
}

/// The ports as they were named.
pub(super) fn specs(args: &RunArgs) -> Result<Vec<PortSpec>, Failure> {
    let specs = args
        .ports()
        .iter()
        .map(|text| text.parse::<PortSpec>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::new(exit::USAGE, error))?;
    let receiving = specs.iter().find(|spec| spec.receives_only());
    if args.is_inline()
        && let Some(spec) = receiving
    {
        let hint = "watch it with --tap, or leave out what stands behind the /";
        return Err(Failure::new(
            exit::USAGE,
            format!("{spec}: nothing can be sent on this port\n [hint] {hint}"),
        ));
    }
    Ok(specs)
}

/// How ports are opened.
pub(super) fn options(args: &RunArgs) -> OpenOptions {
    OpenOptions {
        // Taps of both directions of a wire need frames in the order in which they came, so they
        // take them one by one.
        blocks: !args.is_inline() && args.ports().len() == 1,
        ..open_options(args.lanes())
    }
}

/// How ports are opened for so many lanes.
pub(super) fn open_options(lanes: usize) -> OpenOptions {
    OpenOptions {
        lanes,
        frames: FRAMES,
        patience: PATIENCE,
        blocks: false,
    }
}

/// The ports, and how all of them deal frames to lanes, where that is by addresses alone.
fn open_ports(
    args: &RunArgs,
    attached: Option<&Attached>,
) -> Result<(Opened, Option<Rss>), Failure> {
    let (specs, options) = (specs(args)?, options(args));
    if let Some(attached) = attached {
        // With one lane nothing could cross.
        let several = || Starts::of(args.ports(), &specs, &options).rss();
        let rss = (args.lanes() > 1).then(several).flatten();
        return Ok((attached.ports()?, rss));
    }
    if args.is_inline() {
        super::guard::check(args.ports(), args.force)?;
    }
    let mut opened = open(&specs, &options).map_err(|error| Failure::new(exit::DEVICE, error))?;
    let starts = Starts::of(args.ports(), &specs, &options);
    starts.tell();
    for note in &opened.notes {
        eprintln!("note: {note}");
    }
    if !args.is_inline() {
        // A tap sends nothing, whatever the ports could.
        for half in opened
            .lanes
            .iter_mut()
            .flat_map(|lane| &mut lane.transmitters)
        {
            *half = Transmitter::Discard(Discard::default());
        }
    }
    Ok((opened, starts.rss()))
}

fn writer(
    args: &RunArgs,
    engine: &Engine,
    info: Arc<dyn SignatureInfo>,
    config: &Config,
) -> Result<Option<Writer>, Failure> {
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
    // Under a keeper the folder is there, and to make one is no right of an engine any more.
    if !dir.is_dir() {
        std::fs::create_dir_all(dir).map_err(fail)?;
    }
    let mut options = EveOptions::new(Target::Path(dir.join(&config.eve.file)));
    options.eve = config.eve.clone();
    options.interfaces = args.ports().to_vec();
    options.names = super::eve_names();
    options.store = super::file_store(config, dir);
    let writer = Writer::start(engine.events.clone(), info, options);
    writer.map(Some).map_err(fail)
}

/// What the engine goes on writing.
fn written(args: &RunArgs, config: &Config, loaded: &Loaded) -> Written {
    let log = args.log_dir.clone();
    let store = log
        .as_deref()
        .and_then(|dir| super::file_store(config, dir));
    Written {
        log,
        store: store.map(|store| store.dir),
        sets: rules::saved(&args.engine.rules, &loaded.ruleset.names().datasets),
    }
}

/// What is looked at from time to time while the lanes work.
struct Watch {
    limit: Option<Duration>,
    started: Instant,
    /// The service manager, which under a keeper is the keeper's to speak to.
    notifier: Option<Notifier>,
    /// Ports that have not brought a frame too long for their ring yet.
    ports: Vec<(String, Halves)>,
}

impl Watch {
    /// Begins, and says that the engine is ready.
    fn new(args: &RunArgs, ports: Vec<(String, Halves)>) -> Watch {
        let mode = if args.is_inline() { "inline" } else { "tap" };
        eprintln!("ready: {mode} {}", args.ports().join(" "));
        let notifier = (!args.keeper.is_engine()).then(Notifier::from_environment);
        if let Some(notifier) = &notifier {
            notifier.tell("READY=1");
        }
        Watch {
            notifier,
            // Under a keeper it is the keeper that ends all.
            limit: args
                .seconds
                .filter(|_| !args.keeper.is_engine())
                .map(Duration::from_secs),
            started: Instant::now(),
            ports,
        }
    }

    fn is_over(&self) -> bool {
        self.limit
            .is_some_and(|limit| self.started.elapsed() >= limit)
    }

    /// Feeds a watchdog, and tells once for each port that frames are lost because somebody merges
    /// segments.
    fn look(&mut self) {
        self.notifier.iter_mut().for_each(Notifier::feed);
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
    early: Early,
}

/// Those that may come while rules are loaded, which takes seconds: logs are rotated, rules changed.
struct Early {
    hangup: Arc<AtomicBool>,
    /// SIGUSR2: rules are to be put in force anew. Under a keeper that is the keeper's.
    renew: Arc<AtomicBool>,
}

impl Early {
    fn new(args: &RunArgs) -> Result<Early, Failure> {
        let renew = Arc::default();
        Ok(Early {
            hangup: noted(SIGHUP, Arc::default())?,
            renew: match args.keeper.is_engine() {
                true => renew,
                false => noted(SIGUSR2, renew)?,
            },
        })
    }
}

/// A flag that a signal sets.
fn noted(signal: i32, flag: Arc<AtomicBool>) -> Result<Arc<AtomicBool>, Failure> {
    signal_hook::flag::register(signal, Arc::clone(&flag))
        .map_err(|error| Failure::new(exit::DEVICE, format!("signal {signal}: {error}")))?;
    Ok(flag)
}

fn signals(stop: &Arc<AtomicBool>, early: Early) -> Result<Signals, Failure> {
    let stop = noted(SIGTERM, Arc::clone(stop))?;
    let stop = noted(SIGINT, stop)?;
    Ok(Signals { stop, early })
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

/// What the control thread is to serve, on the keeper's sockets where there is one.
fn served(args: &RunArgs, config: &Config, attached: Option<&Attached>) -> Served {
    Served {
        metrics: args.engine.metrics,
        socket: args.socket.clone(),
        stats_interval: args.stats_interval.unwrap_or(10),
        stats: config.eve.tells("stats"),
        listeners: attached.map_or_else(Default::default, Attached::listeners),
    }
}

/// Waits until the engine is to end: a signal, the time given, or ports that are gone.
fn wait(
    signals: &Signals,
    ports: &mut Opened,
    threads: &[JoinHandle<Worker>],
    (writer, control): (Option<&Writer>, &Control),
    mut watch: Watch,
) {
    while !signals.stop.load(Ordering::Relaxed) {
        let gone = ports.clients.iter().any(|client| !client.is_served());
        if watch.is_over() || gone || threads.iter().any(|thread| thread.is_finished()) {
            signals.stop.store(true, Ordering::Relaxed);
        }
        if signals.early.hangup.swap(false, Ordering::Relaxed) {
            hang_up(writer, control);
        }
        if signals.early.renew.swap(false, Ordering::Relaxed) {
            control.reload_beside();
        }
        ports.look().for_each(|text| eprintln!("port {text}"));
        watch.look();
        std::thread::sleep(TURN);
    }
    if let Some(notifier) = &watch.notifier {
        notifier.tell("STOPPING=1");
    }
}

/// Runs `sluice run` until a signal or the time given.
///
/// # Errors
/// Usage, settings, rules or devices that cannot be used; the exit code says which.
pub fn run(args: &RunArgs) -> Result<u8, Failure> {
    let given = args.clone();
    let args = &args.with_file()?;
    let config = settings(args, args.is_inline())?;
    if args.keeper.keeps() && !args.test {
        return keeper::keep(args, &config);
    }
    super::replay::tell_ignored(&config);
    let early = Early::new(args)?;
    let attached = args.keeper.attach(args)?;
    let wanted = super::replay::wanted(&args.engine)?.with(&config);
    let loaded = rules::load(&wanted)?;
    loaded.report();
    if args.test {
        return tested(args, &config);
    }
    let (mut ports, rss) = open_ports(args, attached.as_deref())?;
    let lanes = std::mem::take(&mut ports.lanes);
    let plan = FlowPlan::new(&config, lanes.len());
    eprintln!("memory: {plan} ({} MiB available)", available_bytes() >> 20);
    eprintln!("memory: {}", MatchPlan::new(&config));
    let mut engine = build(args, &config, &loaded, (lanes, rss))?;
    // Before the rights that this takes are given up.
    let huge = onto_huge_pages(Untouched::Now);
    eprintln!("memory: {} MiB of the heap on 2 MiB pages", huge >> 20);
    eprintln!("memory: flow table on {}", engine.table_pages.start_text());
    let mut named = engine.named();
    if let Some(attached) = &attached {
        named = attached.join(&mut engine);
    }
    let signals = signals(&engine.stop, early)?;
    args.keeper.drop_rights(&written(args, &config, &loaded))?;
    let mailboxes = engine.mailboxes.clone();
    let reloader = Reloader::new(wanted, &config, &loaded, mailboxes).asking(anew(given));
    let reloader = Arc::new(reloader);
    let writer = writer(args, &engine, reloader.info(), &config)?;
    let numbered = args.ports().iter().enumerate();
    let halves: Vec<(String, Halves)> = numbered
        .map(|(index, name)| (name.clone(), engine.halves(index)))
        .collect();
    let hooks = EngineHooks::new(
        &config,
        &loaded,
        halves.clone(),
        Arc::clone(&signals.stop),
        args.engine.rules_top(),
    )
    .with_reloader(Arc::clone(&reloader))
    .under(attached.clone());
    drop(loaded);
    let served = served(args, &config, attached.as_deref());
    let handle = writer.as_ref().map(Writer::handle);
    let control = control::start(named, hooks, handle, served)?;
    tell_address(&control);
    let started = Instant::now();
    let threads = engine.start();
    if let Some(attached) = &attached {
        attached.ready()?;
    }
    wait(
        &signals,
        &mut ports,
        &threads,
        (writer.as_ref(), &control),
        Watch::new(args, halves),
    );
    let done = end(threads, control, writer, started, &args.format);
    reloader.save_datasets();
    done
}

/// Reads the settings again, as a reload does.
fn anew(given: RunArgs) -> Anew {
    Box::new(move || {
        let args = given.with_file()?;
        let config = settings(&args, args.is_inline())?;
        Ok((super::replay::wanted(&args.engine)?.with(&config), config))
    })
}

/// What a run would begin with, after all has been read.
fn tested(args: &RunArgs, config: &Config) -> Result<u8, Failure> {
    let ports = specs(args)?;
    let plan = FlowPlan::new(config, args.lanes());
    eprintln!("memory: {plan} ({} MiB available)", available_bytes() >> 20);
    eprintln!("memory: {}", MatchPlan::new(config));
    let mode = if args.is_inline() { "inline" } else { "tap" };
    match ports.is_empty() {
        true => println!("tested: settings and rules can be used; no port is named"),
        false => println!(
            "tested: settings and rules can be used: {mode} {} (`sluice doctor` looks at ports)",
            args.ports().join(" ")
        ),
    }
    Ok(exit::OK)
}

/// Joins the workers, lets rings and logs run dry, and prints the summary.
fn end(
    threads: Vec<JoinHandle<Worker>>,
    control: Control,
    writer: Option<Writer>,
    started: Instant,
    format: &str,
) -> Result<u8, Failure> {
    let mut workers: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
    finish(workers.iter_mut().flatten());
    let panicked = workers.iter().any(Result::is_err);
    let cpu = workers.iter().flatten().map(|worker| worker.cpu).sum();
    let snapshot = control.snapshot();
    control.stop();
    let writer = writer.map(Writer::stop);
    let spent = (started.elapsed(), cpu);
    super::replay::summary(&snapshot, writer.as_ref(), spent, format)?;
    match panicked {
        true => Err(Failure::new(70, "a worker panicked; what it held is lost")),
        false => Ok(exit::OK),
    }
}

/// SIGHUP: log files are opened anew, and the rules are put in force anew.
fn hang_up(writer: Option<&Writer>, control: &Control) {
    if let Some(writer) = writer {
        writer.handle().reopen();
    }
    control.reload_beside();
}

fn tell_address(control: &Control) {
    if let Some(address) = control.metrics_address() {
        eprintln!("metrics: http://{address}/metrics");
    }
}

/// Takes home what came back late, so that all buffers go back with the ports, and waits a moment
/// for what is queued to leave: closing a port throws away what is still in its rings.
fn finish<'a>(workers: impl Iterator<Item = &'a mut Worker>) {
    let deadline = Instant::now() + DRAIN_MAX;
    for worker in workers {
        worker.settle();
        if worker.pulse.is_some() {
            // The rings are the keeper's again, or another engine's.
            continue;
        }
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
    (lanes, rss): (Vec<LanePorts>, Option<Rss>),
) -> Result<Engine, Failure> {
    let mut config = config.clone();
    config.lanes = args.lanes() as u8;
    let (receivers, transmitters) = lanes
        .into_iter()
        .map(|lane| (lane.receivers, lane.transmitters))
        .unzip();
    let engine = Engine::build(Plan {
        config: Arc::new(config),
        layout: args.engine.layout()?,
        burst_max: args.engine.burst(),
        ordered: false,
        live: true,
        receivers,
        transmitters,
        program: Arc::clone(&loaded.program),
        events_per_worker: EVENTS_PER_WORKER,
        rss: rss.map(Arc::new),
        cores: if args.pin { cores() } else { Vec::new() },
        key: random_key(),
    });
    let mut engine = engine.map_err(|error| Failure::new(exit::CONFIG, error))?;
    engine.set_adaptive(args.idle == Idle::Adaptive);
    if args.log_dir.is_none() {
        engine.set_unheard();
    }
    Ok(engine)
}

/// The configuration of an engine on ports.
fn settings(args: &RunArgs, inline: bool) -> Result<Config, Failure> {
    args.engine.layout()?;
    let mut config = args.engine.config_over(defaults(inline), inline)?;
    config.reloads = true;
    config.mode = if inline { Mode::Inline } else { Mode::Tap };
    // What nobody writes down is not looked for.
    config.app_records &= args.log_dir.is_some();
    Ok(config)
}
