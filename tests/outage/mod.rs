//! What tests and the bench of takeovers share: a keeper with its engine, far ends that stamp and
//! check frames, and the faults.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice::keeper::board::{Board, Shape as BoardShape};
use sluice::memory::{Arena, Handle, Regions};
use sluice::packet::{Burst, Context};
use sluice::port::memory::handover::Server;
use sluice::port::memory::{End, Memory, Shape, Side};
use sluice::port::netmap::emulation::{Machine, wire};
use sluice::port::netmap::spec::NetmapSpec;
use sluice::port::netmap::{self, Opener, Wanted};
use sluice::port::open::{LanePorts, OpenOptions, open};
use sluice::port::ring::Audit;
use sluice::port::{Receive, Receiver, Transmit, Transmitter};

/// Where the stamp of a frame stands: behind Ethernet, IPv4 and UDP headers.
const STAMP_AT: usize = 42;
/// Bytes of a frame.
const FRAME_BYTES: usize = 90;
/// Flows of each direction, so that order is asked per flow and the engine has some to keep.
const FLOWS: u64 = 8;
/// Frames under way that the far ends allow themselves, unless told otherwise.
const WINDOW: u64 = 512;

/// Longest wait for an engine, whose memory is made ready first, on a machine that is busy otherwise.
const PATIENCE: Duration = Duration::from_secs(600);

/// What went in and what came out, both directions together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Frames sent.
    pub sent: u64,
    /// Frames that came out at the other side.
    pub seen: u64,
}

/// Both far ends of an appliance.
pub struct Far {
    names: [String; 2],
    lane: LanePorts,
    contexts: Arc<Arena<Context>>,
    free: Vec<Handle>,
    burst: Burst,
    regions: Regions,
    memory: Option<(Arc<Memory>, Server)>,
    machine: Option<(Machine, wire::Server)>,
    sent: [u64; 2],
    seen: [u64; 2],
    /// Highest stamp seen, by direction and flow.
    highest: [[Option<u64>; FLOWS as usize]; 2],
    /// Frames a turn sends.
    pub per_turn: u64,
    /// Never more under way than this, but for lost ones.
    pub window: u64,
    last_seen: Instant,
    /// Frames that are missing and will not come any more.
    forgiven: u64,
    /// Stamps from which on an arrival is awaited, and when it came.
    mark: [u64; 2],
    marked: Option<Instant>,
}

/// UDP datagram of a flow with a stamp; checksums are right.
fn frame(port: usize, stamp: u64) -> [u8; FRAME_BYTES] {
    let mut frame = [0u8; FRAME_BYTES];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
    let flow = (stamp % FLOWS) as u16;
    let (total, udp) = ((FRAME_BYTES - 14) as u16, (FRAME_BYTES - 34) as u16);
    let (from, to) = ([10, 0, 0, 1 + port as u8], [10, 0, 0, 2 - port as u8]);
    let ports = match port {
        0 => [4000 + flow, 5000],
        _ => [5000, 4000 + flow],
    };
    let ip = &mut frame[14..34];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip[8..10].copy_from_slice(&[64, 17]);
    ip[12..16].copy_from_slice(&from);
    ip[16..20].copy_from_slice(&to);
    let sum = !fold(&frame[14..34], 0);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame[34..36].copy_from_slice(&ports[0].to_be_bytes());
    frame[36..38].copy_from_slice(&ports[1].to_be_bytes());
    frame[38..40].copy_from_slice(&udp.to_be_bytes());
    frame[STAMP_AT..STAMP_AT + 8].copy_from_slice(&stamp.to_be_bytes());
    for (place, byte) in frame[STAMP_AT + 8..].iter_mut().enumerate() {
        *byte = (stamp as u8).wrapping_add(place as u8);
    }
    let pseudo = fold(&frame[26..34], 17 + u32::from(udp));
    let sum = match !fold(&frame[34..], u32::from(pseudo)) {
        0 => 0xffff,
        sum => sum,
    };
    frame[40..42].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn fold(bytes: &[u8], start: u32) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let mut sum = bytes.chunks(2).map(word).sum::<u32>() + start;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

impl Far {
    /// Ends of a memory served at `path`.
    pub fn memory(path: &Path, shape: Shape) -> Far {
        let memory = Memory::new(shape).unwrap();
        let server = Server::start(Arc::clone(&memory), path).unwrap();
        let mut lane = LanePorts {
            receivers: Vec::new(),
            transmitters: Vec::new(),
        };
        for cable in 0..2 {
            let end = End {
                cable,
                side: Side::Outer,
            };
            let (receiver, transmitter) = memory.open(end, 0, 1024, cable).unwrap();
            lane.receivers.push(Receiver::Memory(Box::new(receiver)));
            lane.transmitters
                .push(Transmitter::Memory(Box::new(transmitter)));
        }
        let names = [0, 1].map(|cable| format!("mem:{}{{{cable}", path.display()));
        let mut far = Far::over(lane, names);
        far.memory = Some((memory, server));
        far
    }

    /// Ends of the pipes `x` and `y` of an emulated machine with netmap, served at `path`.
    pub fn netmap(path: &Path) -> Far {
        let machine = Machine::new(netmap::emulation::Shape {
            buffers: 32_768,
            ..Default::default()
        });
        Far::machine(machine, path, ["x}1", "y}1"], ["x{1", "y{1"])
    }

    /// The same with NICs and cables between them; the appliance's are `a1` and `b1`.
    pub fn netmap_nics(path: &Path) -> Far {
        let machine = Machine::new(netmap::emulation::Shape {
            buffers: 32_768,
            ..Default::default()
        });
        for (far, near) in [("a0", "a1"), ("b0", "b1")] {
            machine.add_nic(far, 1);
            machine.add_nic(near, 1);
            machine.cable(far, near);
        }
        Far::machine(machine, path, ["a0", "b0"], ["a1", "b1"])
    }

    fn machine(machine: Machine, path: &Path, far: [&str; 2], near: [&str; 2]) -> Far {
        let server = wire::Server::start(&machine, path).unwrap();
        let mut opener = Opener::with_machine("here", Arc::new(machine.clone()));
        let mut lane = LanePorts {
            receivers: Vec::new(),
            transmitters: Vec::new(),
        };
        for (port, name) in far.into_iter().enumerate() {
            let wanted = Wanted {
                lanes: 1,
                extra: 1024,
                port: port as u8,
                patience: Duration::ZERO,
            };
            let spec = NetmapSpec::parse(&format!("netmap-emu:here:{name}")).unwrap();
            let mut opened = opener.open(&spec, &wanted).unwrap();
            let (receiver, transmitter) = opened.lanes.remove(0);
            lane.receivers.push(Receiver::Netmap(Box::new(receiver)));
            lane.transmitters
                .push(Transmitter::Netmap(Box::new(transmitter.unwrap())));
        }
        let names = near.map(|port| format!("netmap-emu:{}:{port}", path.display()));
        let mut far = Far::over(lane, names);
        far.machine = Some((machine, server));
        far
    }

    /// The emulated machine that the ports are of.
    pub fn emulated(&self) -> &Machine {
        let machine = self.machine.as_ref();
        &machine.expect("the ports are of an emulated machine").0
    }

    /// Ends at both far ends of a wire of veth cables.
    pub fn wire(wire: &super::wire::Wire) -> Far {
        let options = OpenOptions {
            lanes: 1,
            frames: 4096,
            patience: Duration::ZERO,
            blocks: false,
        };
        let mut lane = LanePorts {
            receivers: Vec::new(),
            transmitters: Vec::new(),
        };
        for (namespace, name) in wire.ends() {
            let mut opened = namespace.inside(|| {
                super::wire::sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1");
                open(&[name.parse().unwrap()], &options).unwrap()
            });
            let mut own = opened.lanes.remove(0);
            lane.receivers.append(&mut own.receivers);
            lane.transmitters.append(&mut own.transmitters);
        }
        Far::over(lane, ["a1", "b1"].map(str::to_string))
    }

    fn over(mut lane: LanePorts, names: [String; 2]) -> Far {
        let mut regions = Regions::default();
        for half in &mut lane.receivers {
            half.register(&mut regions);
        }
        for half in &mut lane.transmitters {
            half.register(&mut regions);
        }
        let (contexts, free) = Arena::new(256, Context::default);
        Far {
            names,
            lane,
            contexts,
            free,
            burst: Vec::with_capacity(64),
            regions,
            memory: None,
            machine: None,
            sent: [0; 2],
            seen: [0; 2],
            highest: Default::default(),
            per_turn: 8,
            window: WINDOW,
            last_seen: Instant::now(),
            forgiven: 0,
            mark: [u64::MAX; 2],
            marked: None,
        }
    }

    /// Names of the appliance's ports.
    pub fn ports(&self) -> [String; 2] {
        self.names.clone()
    }

    /// Sends a few frames each way, if not too many are under way, and takes what has come.
    pub fn turn(&mut self) {
        let Sent { sent, seen } = self.totals();
        // After a long while without an answer what is missing is lost, not late.
        if self.last_seen.elapsed() > Duration::from_millis(100) {
            self.forgive();
        }
        if sent - seen < self.window + self.forgiven {
            for port in 0..2 {
                for _ in 0..self.per_turn {
                    let frame = frame(port, self.sent[port]);
                    if self.lane.transmitters[port].send_copy(&frame).is_err() {
                        break;
                    }
                    self.sent[port] += 1;
                }
                self.lane.transmitters[port].sync();
            }
        }
        self.collect();
    }

    /// Takes what has come out, and checks it.
    pub fn collect(&mut self) -> usize {
        let mut count = 0;
        for port in 0..2 {
            let (contexts, free) = (&self.contexts, &mut self.free);
            self.lane.receivers[port].receive(contexts, free, &mut self.burst, 64, 0);
            let from = 1 - port;
            for mut handle in self.burst.drain(..) {
                let context = self.contexts.get_mut(&mut handle);
                let bytes = self.regions.bytes(context.span);
                let stamp = bytes
                    .get(STAMP_AT..STAMP_AT + 8)
                    .map(|b| b.try_into().unwrap());
                let stamp = stamp.map(u64::from_be_bytes);
                if let Some(stamp) = stamp.filter(|stamp| *stamp < self.sent[from]) {
                    assert_eq!(bytes, frame(from, stamp), "I2: byte-identical");
                    let highest = &mut self.highest[from][(stamp % FLOWS) as usize];
                    assert!(
                        highest.is_none_or(|before| before < stamp),
                        "I3, I4: {stamp} came after {highest:?}"
                    );
                    *highest = Some(stamp);
                    self.seen[from] += 1;
                    count += 1;
                    if stamp >= self.mark[from] && self.marked.is_none() {
                        self.marked = Some(Instant::now());
                    }
                }
                self.lane.receivers[port].reclaim(context);
                self.free.push(handle);
            }
        }
        if count > 0 {
            self.last_seen = Instant::now();
        }
        count
    }

    /// Does not wait any more for what is missing now: it is lost, or on its way.
    pub fn forgive(&mut self) {
        let Sent { sent, seen } = self.totals();
        self.forgiven = sent - seen;
        self.last_seen = Instant::now();
    }

    /// From now on, time until something arrives that has not been sent yet.
    pub fn mark(&mut self) {
        self.mark = self.sent;
        self.marked = None;
    }

    /// When the first frame arrived that was sent after the mark.
    pub fn marked(&self) -> Option<Instant> {
        self.marked
    }

    /// Turns for a while.
    pub fn run(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            self.turn();
        }
    }

    /// Takes what is still under way, until nothing comes for a while.
    pub fn settle(&mut self) {
        let mut quiet = Instant::now();
        while quiet.elapsed() < Duration::from_millis(100) {
            self.lane.transmitters.iter_mut().for_each(|half| {
                half.is_drained();
            });
            match self.collect() {
                0 => std::thread::sleep(Duration::from_millis(1)),
                _ => quiet = Instant::now(),
            }
        }
    }

    /// Frames that came so far, by the port that they were sent to.
    pub fn seen(&self) -> [u64; 2] {
        self.seen
    }

    /// What went in and came out so far.
    pub fn totals(&self) -> Sent {
        Sent {
            sent: self.sent.iter().sum(),
            seen: self.seen.iter().sum(),
        }
    }

    /// I5, once the appliance is gone: every buffer of the memory stands in one place, and nobody
    /// broke a ring's rules.
    pub fn assert_conserved(&mut self) {
        if let Some((machine, _)) = &self.machine {
            // With the last descriptor all buffers must be back.
            self.lane.receivers.clear();
            self.lane.transmitters.clear();
            super::wire::until("all is closed", || machine.descriptors() == 0);
            assert_eq!(machine.leaked(), 0, "I5");
            assert_eq!(machine.violations_total(), 0);
        }
        let Some((memory, _)) = &self.memory else {
            return;
        };
        let held = self.lane.receivers.iter().flat_map(|half| match half {
            Receiver::Memory(half) => half.free_indexes(),
            _ => Vec::new(),
        });
        assert_eq!(memory.audit(held), Audit::default(), "I5");
        assert_eq!(memory.violations_total(), 0);
    }
}

/// A keeper, its engine, and what they say.
pub struct Kept {
    child: Child,
    errors: Arc<Mutex<String>>,
    output: Option<std::thread::JoinHandle<String>>,
    lanes: u32,
    board: OnceLock<Board>,
}

/// Whether a process runs; one that nobody has waited for yet does not.
fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or("Z").starts_with('Z'))
}

impl Kept {
    /// Starts a keeper on two ports, with a rule set of one rule.
    pub fn start(scratch: &super::wire::Scratch, ports: &[String; 2], more: &[&str]) -> Kept {
        let rules = scratch.file("r.rules", "alert tcp any any -> any any (sid:1;)\n");
        let mut command = Command::new(super::wire::program());
        command
            .args(["run", "--inline", &ports[0], &ports[1], "--format", "json"])
            .args(["--seconds", "2400", "-S"])
            .arg(rules)
            .args(more);
        let mut kept = Kept::spawn(&mut command);
        let mut words = more.iter().skip_while(|word| **word != "--lanes");
        if let Some(lanes) = words.nth(1) {
            kept.lanes = lanes.parse().unwrap();
        }
        kept
    }

    /// Starts a command that keeps.
    pub fn spawn(command: &mut Command) -> Kept {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = Arc::new(Mutex::new(String::new()));
        let (stderr, heard) = (child.stderr.take().unwrap(), Arc::clone(&errors));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut heard = heard.lock().unwrap();
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        let mut stdout = child.stdout.take().unwrap();
        let output = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            text
        });
        Kept {
            child,
            errors,
            output: Some(output),
            lanes: 1,
            board: OnceLock::new(),
        }
    }

    /// All that was said so far.
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    /// What it has said and will say, for when it has stopped.
    pub fn heard(&self) -> Arc<Mutex<String>> {
        Arc::clone(&self.errors)
    }

    /// Whether something was said.
    pub fn says(&self, what: &str) -> bool {
        self.errors().contains(what)
    }

    /// Waits until the ports are open: what is sent before is nobody's.
    pub fn wait_open(&self) {
        super::wire::until("the ports are open", || {
            assert!(is_alive(self.child.id()), "it ended: {}", self.errors());
            self.board().is_some()
        });
    }

    /// Waits for the first engine.
    pub fn wait_ready(&self, far: &mut Far) {
        self.wait_open();
        self.until(far, "the engine is ready", || {
            self.says("ready: inline").then_some(())
        });
    }

    /// Processes that the keeper started and that are not dead, newest last.
    pub fn engine(&self) -> Option<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace()
            .filter_map(|word| word.parse().ok())
            .rfind(|pid| is_alive(*pid))
    }

    /// The engine that has the ports, by the board that keeper and engine share.
    pub fn engine_with_ports(&self) -> Option<u32> {
        let holder = self.board()?.holder().engine()?;
        // The engine with this number is the one whose first worker's thread is its own.
        let thread = self.board()?.first_thread(holder);
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let text = std::fs::read_to_string(path).ok()?;
        text.split_whitespace()
            .filter_map(|word| word.parse::<u32>().ok())
            .find(|pid| Path::new(&format!("/proc/{pid}/task/{thread}")).exists())
    }

    /// The board, through the keeper's own descriptor of it.
    pub fn board(&self) -> Option<Board> {
        if let Some(board) = self.board.get() {
            return Some(*board);
        }
        let fds = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).ok()?;
        let found = fds.flatten().find(|entry| {
            std::fs::read_link(entry.path())
                .is_ok_and(|name| name.to_string_lossy().contains("sluice-board"))
        })?;
        let mut options = std::fs::File::options();
        let file = options.read(true).write(true).open(found.path()).ok()?;
        let shape = BoardShape {
            lanes: self.lanes,
            ports: 2,
            workers: self.lanes,
        };
        let board = Board::adopt(file.as_fd(), shape).ok()?;
        Some(*self.board.get_or_init(|| board))
    }

    /// Turns until something holds.
    pub fn until<T>(&self, far: &mut Far, what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            for _ in 0..16 {
                far.turn();
            }
            if let Some(value) = holds() {
                return value;
            }
            // An engine that makes its memory ready needs the processor more than we do.
            std::thread::sleep(Duration::from_micros(200));
            let errors = || self.errors();
            assert!(start.elapsed() < PATIENCE, "in vain: {what}\n{}", errors());
        }
    }

    /// The engine that has the ports, as soon as one has.
    pub fn await_engine(&self, far: &mut Far) -> u32 {
        self.until(far, "an engine has the ports", || self.engine_with_ports())
    }

    /// Sends a signal.
    pub fn kill(&self, pid: u32, signal: libc::c_int) {
        // SAFETY: no memory is passed; the process is a child of the keeper that we started.
        unsafe { libc::kill(pid as libc::pid_t, signal) };
    }

    /// The keeper's own process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in order, and gives the summary of the last engine.
    pub fn stop(mut self) -> Value {
        self.kill(self.child.id(), libc::SIGTERM);
        let status = self.child.wait().unwrap();
        let output = self.output.take().unwrap().join().unwrap();
        let errors = self.errors();
        assert!(status.success(), "{status}: {output}\n{errors}");
        let last = output
            .lines()
            .rfind(|line| line.starts_with('{'))
            .unwrap_or("");
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {output}\n{errors}"))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an operator types while traffic goes on.
pub fn operator(socket: &Path, words: &[&str], far: &mut Far) {
    let mut child = Command::new(super::wire::program())
        .args(words)
        .arg("--socket")
        .arg(socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    loop {
        far.turn();
        if child.try_wait().unwrap().is_some() {
            break;
        }
        assert!(
            start.elapsed() < super::wire::PATIENCE,
            "{words:?} does not end"
        );
    }
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
}

/// Sends a thread of a process into an endless loop: the instruction at which it is becomes a jump
/// to itself, in that process's copy of the code alone.
pub fn send_into_a_loop(pid: u32, thread_name: &str) {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let thread = tasks
        .flatten()
        .find(|task| {
            std::fs::read_to_string(task.path().join("comm"))
                .is_ok_and(|name| name.starts_with(thread_name))
        })
        .unwrap();
    let thread: libc::pid_t = thread.file_name().to_str().unwrap().parse().unwrap();
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: ptrace of a thread of an engine that this test started; the registers are written
    // into a local of their own type, and one word of the tracee's code is replaced.
    unsafe {
        assert_eq!(libc::ptrace(libc::PTRACE_SEIZE, thread, none, none), 0);
        loop {
            assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, thread, none, none), 0);
            let mut status = 0;
            assert_eq!(libc::waitpid(thread, &mut status, libc::__WALL), thread);
            let mut registers: libc::user_regs_struct = std::mem::zeroed();
            let place = std::ptr::from_mut(&mut registers).cast::<libc::c_void>();
            assert_eq!(libc::ptrace(libc::PTRACE_GETREGS, thread, none, place), 0);
            // In the middle of a system call the thread's next instruction is the kernel's affair.
            if registers.orig_rax as i64 == -1 {
                let at = registers.rip as *mut libc::c_void;
                let word = libc::ptrace(libc::PTRACE_PEEKTEXT, thread, at, none);
                let looped = (word & !0xffff) | 0xfeeb;
                let data = looped as *mut libc::c_void;
                assert_eq!(libc::ptrace(libc::PTRACE_POKETEXT, thread, at, data), 0);
                break;
            }
            libc::ptrace(libc::PTRACE_CONT, thread, none, none);
            std::thread::sleep(Duration::from_micros(500));
        }
        assert_eq!(libc::ptrace(libc::PTRACE_DETACH, thread, none, none), 0);
    }
}
