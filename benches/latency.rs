//! Latency through the inline engine on AF_PACKET ports, next to a kernel bridge in the same run.
//!
//! ```text
//!   far end ── a0 ══veth══ a1 │ kernel bridge, or sluice run --inline │ b1 ══veth══ b0 ── far end
//! ```
//! One frame is under way at a time: it is sent at one far end, and the other is asked until it is
//! there. So what is measured is the way itself and no queue. Ways take turns, several rounds, so
//! that a busy moment of the machine hits all of them; beside them stands a loop that only reads
//! the clock, which shows the machine's own holes. Suricata takes part where it is installed.
//!
//! `cargo bench --bench latency [-- --quick]`. Needs root and iproute2.

#[path = "../tests/wire/mod.rs"]
mod wire;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use wire::frame::Packet;
use wire::{Namespace, Process, RawSocket, Scratch, cable, ip, pin, possible, sysctl};

/// Frames of one turn of a way, after those that warm it.
const FRAMES: usize = 4000;
const WARM: usize = 300;
const ROUNDS: usize = 5;
/// A frame that has not come by then is lost.
const LOST: Duration = Duration::from_millis(200);
const RULES: u32 = 1000;

/// Latencies of one way, in nanoseconds.
#[derive(Default)]
struct Way {
    nanos: Vec<u64>,
    lost: usize,
}

impl Way {
    fn quantile(&mut self, share: f64) -> f64 {
        self.nanos.sort_unstable();
        let place = (self.nanos.len() as f64 * share) as usize;
        let place = place.min(self.nanos.len().saturating_sub(1));
        self.nanos.get(place).copied().unwrap_or(0) as f64 / 1e3
    }

    fn print(&mut self, name: &str) {
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|share| self.quantile(share));
        println!(
            "{name:<28} p50 {p50:>8.1} us  p99 {p99:>8.1}  p99.9 {p999:>8.1}  max {max:>9.1}  \
             {} frames, {} lost",
            self.nanos.len(),
            self.lost
        );
    }
}

/// The bench's own wire: both far ends in one namespace.
struct Bench {
    far: Namespace,
    between: Namespace,
    scratch: Scratch,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench {
            far: Namespace::new(),
            between: Namespace::new(),
            scratch: Scratch::new("bench-latency"),
        };
        for name in ["a", "b"] {
            cable(&bench.between, name, &bench.far);
            bench
                .far
                .inside(|| sysctl(&format!("net/ipv6/conf/{name}0/disable_ipv6"), "1"));
        }
        bench
    }

    fn bridge(&self) {
        self.between.inside(|| {
            ip("link add br0 type bridge");
            sysctl("net/ipv6/conf/br0/disable_ipv6", "1");
            ip("link set a1 master br0");
            ip("link set b1 master br0");
            ip("link set br0 up");
        });
        // A port forwards at once where there is no spanning tree, but not in the same moment.
        std::thread::sleep(Duration::from_millis(100));
    }

    fn unbridge(&self) {
        self.between.inside(|| ip("link del br0"));
    }

    fn engine(&self, rules: Option<&Path>) -> Process {
        let mut command = Command::new(wire::program());
        command.args(["run", "--inline", "a1", "b1", "--seconds", "120"]);
        if let Some(rules) = rules {
            command.arg("-S").arg(rules);
        }
        let mut process = Process::start(&self.between, &mut command);
        process.wait_for("ready:");
        process
    }

    /// Sends frames one by one and adds how long each took.
    fn measure(&self, way: &mut Way, frames: usize) {
        let (mut nanos, mut lost) = (Vec::with_capacity(frames), 0);
        self.far.inside(|| {
            pin(0);
            let near = RawSocket::open("a0", false);
            let mut far = RawSocket::open("b0", false);
            for number in 0..(WARM + frames) as u32 {
                let frame = datagram(number);
                let start = Instant::now();
                near.send(&frame);
                let took = loop {
                    match far.receive() {
                        Some(got) if got == frame => break Some(start.elapsed()),
                        _ if start.elapsed() > LOST => break None,
                        _ => {}
                    }
                };
                match took {
                    Some(took) if number >= WARM as u32 => nanos.push(took.as_nanos() as u64),
                    Some(_) => {}
                    None => lost += 1,
                }
            }
        });
        way.nanos.extend(nanos);
        way.lost += lost;
    }
}

/// A datagram of 256 bytes of payload, each another one.
fn datagram(number: u32) -> Vec<u8> {
    let hosts = ["10.6.6.1", "10.6.6.2"].map(|host| host.parse().unwrap());
    let packet = Packet::new([[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]], hosts[0], hosts[1]);
    let payload = number.to_be_bytes().repeat(64);
    let length = (payload.len() as u16 + 8).to_be_bytes();
    let port = (5000 + number % 50) as u16;
    let header = [&port.to_be_bytes()[..], &[0, 99], &length, &[0, 0]].concat();
    packet.frame(17, &[header, payload].concat())
}

/// Rules that are looked at for every one of these frames, and match none.
fn rules() -> String {
    (0..RULES)
        .map(|n| {
            let word = n.wrapping_mul(2_654_435_761);
            format!(
                "alert udp any any -> any any (msg:\"{n}\"; content:\"w{word:08x}\"; sid:{};)\n",
                n + 1
            )
        })
        .collect()
}

/// The machine's own holes: time between two looks at the clock.
fn holes(way: &mut Way, looks: usize) {
    let mut last = Instant::now();
    for _ in 0..looks {
        let now = Instant::now();
        way.nanos.push((now - last).as_nanos() as u64);
        last = now;
    }
}

/// Suricata as an inline bridge of the same ports.
fn suricata(bench: &Bench) -> Option<Process> {
    let there = Command::new("suricata").arg("-V").output().is_ok();
    if !there {
        return None;
    }
    let one = |near: &str, far: &str, id: u32| {
        format!(
            "  - interface: {near}\n    copy-mode: ips\n    copy-iface: {far}\n    cluster-id: \
             {id}\n    cluster-type: cluster_flow\n    defrag: no\n    use-mmap: yes\n    threads: 1\n"
        )
    };
    let yaml = format!(
        "%YAML 1.1\n---\naf-packet:\n{}{}default-log-dir: {}\n",
        one("a1", "b1", 97),
        one("b1", "a1", 98),
        bench.scratch.0.display()
    );
    let config = bench.scratch.file("suricata.yaml", &yaml);
    let mut command = Command::new("suricata");
    command.arg("--af-packet").arg("-c").arg(config);
    command.args(["-S", "/dev/null", "-k", "none", "-l"]);
    command.arg(&bench.scratch.0);
    let mut process = Process::start(&bench.between, &mut command);
    process.wait_for("started");
    Some(process)
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    if !possible("latency") {
        return;
    }
    let (frames, rounds) = match quick {
        true => (500, 1),
        false => (FRAMES, ROUNDS),
    };
    let bench = Bench::new();
    let thousand = bench.scratch.file("thousand.rules", &rules());
    let [mut bridge, mut bare, mut ruled, mut peer, mut machine] =
        std::array::from_fn(|_| Way::default());
    let mut has_peer = true;
    for _ in 0..rounds {
        bench.bridge();
        bench.measure(&mut bridge, frames);
        bench.unbridge();
        for (way, rules) in [(&mut bare, None), (&mut ruled, Some(thousand.as_path()))] {
            let process = bench.engine(rules);
            bench.measure(way, frames);
            assert_eq!(process.stop().code, Some(0));
        }
        match suricata(&bench) {
            Some(process) => {
                bench.measure(&mut peer, frames);
                drop(process);
            }
            None => has_peer = false,
        }
        holes(&mut machine, frames * 50);
    }
    println!("one frame of 298 bytes at a time, veth on both sides, {rounds} rounds:");
    bridge.print("kernel bridge");
    bare.print("sluice, no rules");
    ruled.print("sluice, 1,000 rules");
    if has_peer {
        peer.print("suricata, no rules");
    } else {
        println!("SKIPPED: suricata is not installed here");
    }
    machine.print("the clock alone");
    for (name, way) in [("no rules", &mut bare), ("1,000 rules", &mut ruled)] {
        let ratio = [0.5, 0.99, 0.999].map(|share| way.quantile(share) / bridge.quantile(share));
        println!(
            "sluice, {name}, to the bridge: p50 {:.2}x, p99 {:.2}x, p99.9 {:.2}x",
            ratio[0], ratio[1], ratio[2]
        );
        assert!(way.nanos.len() > frames / 2, "most frames come through");
    }
}
