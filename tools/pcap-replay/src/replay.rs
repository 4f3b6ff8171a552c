//! `pcap-replay replay`: plays captures into an engine's two ports from outside, watches both, and
//! reports what was lost, changed, overtaken, and how long the way took.
//!
//! ```text
//! pcap-replay replay --port mem:/tmp/wire demo.pcap   # and: sluice run --inline mem:/tmp/wire{0 mem:/tmp/wire{1
//! pcap-replay replay --port in0 --port out0 demo.pcap # far ends of two veth pairs
//! pcap-replay replay --port netmap:x}1 --port netmap:y}1 demo.pcap # far ends of two netmap pipes
//! pcap-replay replay --port netmap-emu:/tmp/emu demo.pcap # and: sluice run netmap-emu:/tmp/emu:x{1 ...
//! ```

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice::memory::{Arena, Handle, Regions};
use sluice::packet::{Burst, Context};
use sluice::port::capture::spread::Spread;
use sluice::port::capture::{Capture, CaptureReader, CaptureWriter, link_number};
use sluice::port::memory::handover::Server;
use sluice::port::memory::{End, Memory, Shape, Side};
use sluice::port::netmap::emulation::wire::Server as MachineServer;
use sluice::port::netmap::emulation::{Machine, Shape as MachineShape};
use sluice::port::netmap::spec::NetmapSpec;
use sluice::port::netmap::{Opener, Wanted};
use sluice::port::open::{LanePorts, OpenOptions, Opened, open};
use sluice::port::spec::PortSpec;
use sluice::port::{Receive, Receiver, Transmit, Transmitter};
use sluice::time::wall_nanos;

use crate::Failure;
use crate::track::{Addresses, Report, Tracker, addresses};

/// Frames handled between two looks at the clock.
const BURST: usize = 32;
/// How long an engine may take no frame: it joins its ports first, and touches all of its memory
/// then; later, a virtual machine was seen to stand still for ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for a frame to come out on the other side before it is answered.
const ARRIVAL: Duration = Duration::from_millis(250);
/// Ethernet, in pcap's numbers and as capture readers say it here.
const ETHERNET: u8 = 1;

/// Which frames enter by the inside port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Sides {
    /// Those of the host that sent first, of each pair
    Client,
    /// Those from private addresses (RFC 1918, fc00::/7)
    Private,
    /// All
    Inside,
}

/// How the report is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Arguments of `replay`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Captures of Ethernet frames, one after the other
    #[arg(required = true)]
    pub captures: Vec<PathBuf>,
    /// mem:PATH or netmap-emu:PATH, served to the engine; or twice an interface or netmap port,
    /// inside first
    #[arg(long = "port", required = true, value_name = "PORT")]
    pub ports: Vec<String>,
    /// Frames per second; as fast as the engine takes them if not given
    #[arg(long, conflicts_with = "original")]
    pub rate: Option<u64>,
    /// Keep the captures' own timing
    #[arg(long)]
    pub original: bool,
    /// Send a frame when the engine has taken all that entered by the other port before it: it
    /// then sees both ports in the captures' order, at the price of speed
    #[arg(long)]
    pub in_order: bool,
    /// Which frames enter by the inside port
    #[arg(long, value_enum, default_value = "client")]
    pub sides: Sides,
    /// Play the captures this many times
    #[arg(long, default_value_t = 1)]
    pub loops: u32,
    /// Seconds to wait for the engine to open its ports
    #[arg(long, default_value_t = 30)]
    pub wait: u64,
    /// Milliseconds without a frame after which the rest counts as lost
    #[arg(long, default_value_t = 1000)]
    pub linger: u64,
    /// Frames that do not come out are no finding: the engine drops some
    #[arg(long)]
    pub allow_lost: bool,
    /// Frames that were never sent are no finding: the engine answers some
    #[arg(long)]
    pub allow_unexpected: bool,
    /// Write what comes out to this capture
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Slots of a ring in memory
    #[arg(long, default_value_t = 1024)]
    pub slots: u32,
    /// Form of the report
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// The outer ends of both cables, and what keeps them there.
struct FarEnd {
    ports: LanePorts,
    memory: Option<(Arc<Memory>, Server)>,
    machine: Option<(Machine, MachineServer)>,
    /// Keeps NICs promiscuous.
    _opened: Option<Opened>,
    contexts: Arc<Arena<Context>>,
    free: Vec<Handle>,
    burst: Burst,
    regions: Regions,
}

impl FarEnd {
    fn open(arguments: &Arguments) -> Result<FarEnd, Failure> {
        const FRAMES: u32 = 2048;
        let (mut memory, mut machine, mut rest) = (None, None, None);
        let mut ports = match arguments.ports.as_slice() {
            [port] if port.starts_with("mem:") => {
                let path = PathBuf::from(port.trim_start_matches("mem:"));
                let made = Memory::new(Shape {
                    slots: arguments.slots,
                    extra: 4 * FRAMES + 16_384,
                    ..Shape::default()
                })
                .map_err(Failure::device)?;
                let server = Server::start(Arc::clone(&made), &path).map_err(Failure::device)?;
                let ends = outer_ends(&made, FRAMES)?;
                memory = Some((made, server));
                ends
            }
            [port] if port.starts_with("netmap-emu:") => {
                let path = PathBuf::from(port.trim_start_matches("netmap-emu:"));
                let made = Machine::new(MachineShape {
                    slots: arguments.slots,
                    buffers: 8 * arguments.slots + 4 * FRAMES + 16_384,
                    ..MachineShape::default()
                });
                let ends = pipe_ends(&made, FRAMES)?;
                let server = MachineServer::start(&made, &path).map_err(Failure::device)?;
                machine = Some((made, server));
                ends
            }
            [inside, outside] => {
                let spec = |name: &String| name.parse::<PortSpec>().map_err(Failure::usage);
                let specs = [spec(inside)?, spec(outside)?];
                let options = OpenOptions {
                    lanes: 1,
                    frames: 2 * FRAMES,
                    patience: Duration::ZERO,
                    blocks: false,
                };
                let mut opened = open(&specs, &options).map_err(Failure::device)?;
                let ends = opened.lanes.remove(0);
                rest = Some(opened);
                ends
            }
            _ => {
                return Err(Failure::usage(
                    "one memory or two interfaces\n [hint] --port mem:PATH, or --port IN --port OUT \
                     (netmap:IN and netmap:OUT)",
                ));
            }
        };
        let mut regions = Regions::default();
        ports
            .receivers
            .iter_mut()
            .for_each(|half| half.register(&mut regions));
        ports
            .transmitters
            .iter_mut()
            .for_each(|half| half.register(&mut regions));
        let (contexts, free) = Arena::new(4 * BURST, Context::default);
        Ok(FarEnd {
            ports,
            memory,
            machine,
            _opened: rest,
            contexts,
            free,
            burst: Vec::with_capacity(BURST),
            regions,
        })
    }

    /// Waits until the engine has opened both inner ends.
    fn wait_for_engine(&self, patience: Duration) -> Result<(), Failure> {
        let ends = [0, 1].map(|cable| End {
            cable,
            side: Side::Inner,
        });
        let deadline = Instant::now() + patience;
        loop {
            let hint = match (&self.memory, &self.machine) {
                (Some((memory, _)), _) if ends.iter().any(|end| memory.open_halves(*end) < 2) => {
                    "sluice run --inline mem:PATH{0 mem:PATH{1"
                }
                (_, Some((machine, _))) if !NEAR.iter().all(|name| machine.is_open(name)) => {
                    "sluice run --inline netmap-emu:PATH:x{1 netmap-emu:PATH:y{1"
                }
                _ => return Ok(()),
            };
            if Instant::now() > deadline {
                let what = "no engine has opened the ports";
                return Err(Failure::device(format!("{what}\n [hint] {hint}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Takes what has come out of both ports.
    fn collect(&mut self, mut see: impl FnMut(usize, &[u8])) -> usize {
        let mut count = 0;
        for (port, receiver) in self.ports.receivers.iter_mut().enumerate() {
            let (contexts, free) = (&self.contexts, &mut self.free);
            receiver.receive(contexts, free, &mut self.burst, BURST, 0);
            count += self.burst.len();
            for mut handle in self.burst.drain(..) {
                let context = self.contexts.get_mut(&mut handle);
                see(port, self.regions.bytes(context.span));
                receiver.reclaim(context);
                self.free.push(handle);
            }
        }
        count
    }
}

/// Pipes of the emulated machine: the engine's ends, inside first, and ours.
const NEAR: [&str; 2] = ["x{1", "y{1"];
const FAR: [&str; 2] = ["x}1", "y}1"];

fn pipe_ends(machine: &Machine, frames: u32) -> Result<LanePorts, Failure> {
    let mut ports = LanePorts {
        receivers: Vec::new(),
        transmitters: Vec::new(),
    };
    let mut opener = Opener::with_machine("", Arc::new(machine.clone()));
    for (port, name) in (0..).zip(FAR) {
        let spec = NetmapSpec::parse(&format!("netmap-emu::{name}")).map_err(Failure::usage)?;
        let wanted = Wanted {
            lanes: 1,
            extra: frames,
            port,
            patience: Duration::ZERO,
        };
        let mut opened = opener.open(&spec, &wanted).map_err(Failure::device)?;
        let (receiver, transmitter) = opened.lanes.remove(0);
        ports.receivers.push(Receiver::Netmap(Box::new(receiver)));
        let transmitter = transmitter.map(|half| Transmitter::Netmap(Box::new(half)));
        ports.transmitters.extend(transmitter);
    }
    Ok(ports)
}

fn outer_ends(memory: &Arc<Memory>, frames: u32) -> Result<LanePorts, Failure> {
    let mut ports = LanePorts {
        receivers: Vec::new(),
        transmitters: Vec::new(),
    };
    for cable in [0, 1] {
        let end = End {
            cable,
            side: Side::Outer,
        };
        let halves = memory.open(end, 0, frames, cable);
        let (receiver, transmitter) = halves.map_err(Failure::device)?;
        ports.receivers.push(Receiver::Memory(Box::new(receiver)));
        ports
            .transmitters
            .push(Transmitter::Memory(Box::new(transmitter)));
    }
    Ok(ports)
}

/// Decides the entry port of frames.
struct Director {
    sides: Sides,
    /// The host of each pair that sent first, by the pair in order.
    clients: HashMap<Addresses, std::net::IpAddr>,
}

impl Director {
    fn port(&mut self, frame: &[u8]) -> usize {
        let Some((src, dst)) = addresses(frame) else {
            return 0;
        };
        let inside = match self.sides {
            Sides::Inside => true,
            Sides::Private => match src {
                std::net::IpAddr::V4(v4) => v4.is_private(),
                std::net::IpAddr::V6(v6) => v6.is_unique_local(),
            },
            Sides::Client => {
                let pair = if src < dst { (src, dst) } else { (dst, src) };
                *self.clients.entry(pair).or_insert(src) == src
            }
        };
        usize::from(!inside)
    }
}

/// The frames of the captures, walked in place.
struct Source {
    reader: CaptureReader,
    regions: Regions,
    contexts: Arc<Arena<Context>>,
    free: Vec<Handle>,
    burst: Burst,
}

impl Source {
    fn open(capture: &Arc<Capture>) -> Source {
        let mut regions = Regions::default();
        let capture = Arc::clone(capture);
        let mut reader = CaptureReader::new(capture, link_number, Spread::First, 0, 1);
        reader.register(&mut regions);
        let (contexts, free) = Arena::new(BURST, Context::default);
        Source {
            reader,
            regions,
            contexts,
            free,
            burst: Vec::with_capacity(BURST),
        }
    }
}

/// When frames are due.
struct Pace {
    start: Instant,
    /// The start by the wall clock, nanoseconds since the epoch.
    wall_ns: u64,
    /// Nanoseconds between frames; 0 for as fast as possible.
    gap_ns: u64,
    original: bool,
    /// Capture time of the first frame of this loop, and when it was due.
    first: Option<(u64, u64)>,
    frames: u64,
}

impl Pace {
    /// Nanoseconds after the start at which a frame of capture time `time_ns` is due.
    fn due(&mut self, time_ns: u64) -> u64 {
        let due = match self.original {
            true => {
                let now = self.now();
                let (first_ns, base_ns) = *self.first.get_or_insert((time_ns, now));
                base_ns + time_ns.saturating_sub(first_ns)
            }
            false => self.frames * self.gap_ns,
        };
        self.frames += 1;
        due
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// One replay under way.
struct Replay {
    far_end: FarEnd,
    tracker: Tracker,
    director: Director,
    pace: Pace,
    writer: Option<CaptureWriter>,
    in_order: bool,
    /// Frames that are not waited for any more.
    given_up: u64,
    /// The port by which the last frame entered.
    entry: usize,
    linger: Duration,
    /// When a frame last came out, on the pace's clock.
    last_ns: u64,
    skipped: u64,
}

impl Replay {
    /// Takes what came out. The clock is read once for all of it.
    fn collect(&mut self) -> usize {
        let (now, wall_ns) = (self.pace.now(), self.pace.wall_ns);
        let (tracker, writer) = (&mut self.tracker, &mut self.writer);
        let count = self.far_end.collect(|port, frame| {
            tracker.received(port, frame, now);
            if let Some(writer) = writer {
                // The first error is kept by the writer and told by `finish`.
                writer.keep_frame(wall_ns + now, 1, frame);
            }
        });
        if count > 0 {
            self.last_ns = now;
        }
        count
    }

    fn publish(&mut self) {
        self.far_end
            .ports
            .transmitters
            .iter_mut()
            .for_each(Transmit::sync);
    }

    /// Waits for something that the engine does to a port by taking frames.
    fn wait_until(
        &mut self,
        port: usize,
        mut holds: impl FnMut(&mut Transmitter) -> bool,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        while !holds(&mut self.far_end.ports.transmitters[port]) {
            self.publish();
            if self.collect() == 0 {
                std::thread::yield_now();
            }
            if start.elapsed() > PATIENCE {
                let seconds = PATIENCE.as_secs();
                return Err(Failure::device(format!(
                    "the engine has taken no frame for {seconds} s"
                )));
            }
        }
        Ok(())
    }

    /// An interface has taken a frame long before the engine has: a host would answer when it had
    /// come. So waits until all that was sent has come out, or is not coming (it was dropped).
    fn wait_for_arrival(&mut self) {
        let start = Instant::now();
        while self.tracker.missing() > self.given_up && start.elapsed() < ARRIVAL {
            if self.collect() == 0 {
                std::thread::yield_now();
            }
        }
        self.given_up = self.tracker.missing();
    }

    /// Sends one frame when it is due, waiting for room: what the engine does not take in time
    /// must not be lost on our side.
    fn send(&mut self, frame: &[u8], time_ns: u64) -> Result<(), Failure> {
        let due = self.pace.due(time_ns);
        if self.pace.now() < due {
            self.publish();
        }
        while self.pace.now() < due {
            if self.collect() == 0 {
                std::thread::yield_now();
            }
        }
        let port = self.director.port(frame);
        if self.in_order && port != self.entry {
            self.wait_until(self.entry, Transmit::is_drained)?;
            if self.far_end.memory.is_none() {
                self.wait_for_arrival();
            }
        }
        self.entry = port;
        self.wait_until(port, |half| half.room() > 0)?;
        let now = self.pace.now();
        if let Err(reason) = self.far_end.ports.transmitters[port].send_copy(frame) {
            self.skipped += 1;
            if self.skipped == 1 {
                eprintln!(
                    "a frame of {} bytes is not sent: {}",
                    frame.len(),
                    reason.name()
                );
            }
            return Ok(());
        }
        self.tracker.sent(port, frame, now);
        Ok(())
    }

    fn play(&mut self, capture: &Arc<Capture>) -> Result<(), Failure> {
        let mut source = Source::open(capture);
        loop {
            let (contexts, free) = (&source.contexts, &mut source.free);
            let received = source
                .reader
                .receive(contexts, free, &mut source.burst, BURST, 0);
            for handle in source.burst.drain(..) {
                let context = source.contexts.get(&handle);
                if context.link == ETHERNET {
                    self.send(source.regions.bytes(context.span), context.time_ns)?;
                } else {
                    self.skipped += 1;
                }
                source.free.push(handle);
            }
            self.publish();
            self.collect();
            if received.end {
                break;
            }
        }
        match source.reader.errors().first() {
            Some(error) => Err(Failure::input(error)),
            None => Ok(()),
        }
    }

    /// Waits for what is still under way.
    fn drain(&mut self) {
        let mut quiet = Instant::now();
        while self.tracker.missing() > 0 && quiet.elapsed() < self.linger {
            self.publish();
            if self.collect() > 0 {
                quiet = Instant::now();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// Replays and reports.
///
/// # Errors
/// Captures that cannot be read, ports that cannot be opened.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let report = replay(arguments)?;
    match arguments.format {
        Format::Json => println!(
            "{}",
            serde_json::to_string(&report).map_err(Failure::device)?
        ),
        Format::Text => print_text(&report),
    }
    let bad = report.reordered > 0
        || (report.lost > 0 && !arguments.allow_lost)
        || (report.unexpected > 0 && !arguments.allow_unexpected);
    Ok(u8::from(bad))
}

/// Replays.
///
/// # Errors
/// As [`run`].
pub fn replay(arguments: &Arguments) -> Result<Report, Failure> {
    let capture = Capture::open(&arguments.captures).map_err(Failure::input)?;
    let writer = match &arguments.write {
        Some(path) => Some(CaptureWriter::create(path).map_err(Failure::input)?),
        None => None,
    };
    let far_end = FarEnd::open(arguments)?;
    far_end.wait_for_engine(Duration::from_secs(arguments.wait))?;
    let mut replay = Replay {
        far_end,
        tracker: Tracker::default(),
        director: Director {
            sides: arguments.sides,
            clients: HashMap::new(),
        },
        pace: Pace {
            start: Instant::now(),
            wall_ns: wall_nanos(),
            gap_ns: arguments.rate.map_or(0, |rate| 1_000_000_000 / rate.max(1)),
            original: arguments.original,
            first: None,
            frames: 0,
        },
        writer,
        in_order: arguments.in_order,
        given_up: 0,
        entry: 0,
        linger: Duration::from_millis(arguments.linger),
        last_ns: 0,
        skipped: 0,
    };
    for _ in 0..arguments.loops {
        replay.play(&capture)?;
        replay.pace.first = None;
    }
    replay.drain();
    if replay.skipped > 0 {
        eprintln!("{} frames of the captures were not sent", replay.skipped);
    }
    if let Some(writer) = &mut replay.writer {
        writer.finish().map_err(Failure::input)?;
    }
    Ok(replay.tracker.report(replay.last_ns))
}

fn print_text(report: &Report) {
    let seconds = (report.elapsed_ns as f64 / 1e9).max(1e-9);
    println!(
        "sent        {:>12} frames, {} bytes",
        report.sent, report.sent_bytes
    );
    println!(
        "received    {:>12} unchanged, {:.0} frames/s, {:.3} Gbit/s",
        report.received,
        report.received as f64 / seconds,
        report.sent_bytes as f64 * 8.0 / seconds / 1e9
    );
    println!("lost        {:>12}", report.lost);
    println!("reordered   {:>12}", report.reordered);
    println!(
        "unexpected  {:>12} (changed, doubled, or made on the way)",
        report.unexpected
    );
    let micros = |nanos: u64| nanos as f64 / 1e3;
    println!(
        "latency     p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us, max {:.1} us",
        micros(report.latency_p50_ns),
        micros(report.latency_p99_ns),
        micros(report.latency_p999_ns),
        micros(report.latency_max_ns)
    );
    let most = report.latency_histogram.iter().map(|bar| bar.1).max();
    for (beyond, count) in &report.latency_histogram {
        const WIDTH: u64 = 50;
        let length = (count * WIDTH).div_ceil(most.unwrap_or(1).max(1));
        let bar = "#".repeat(length as usize);
        println!("  < {:>9.1} us {count:>10} {bar}", micros(*beyond));
    }
}
