//! What an attacker can fill: the flow table, the fragments' memory, the streams' memory. A whole
//! engine on memory ports with a small table is flooded many times over, while honest hosts go on.
//! The pass figures are those of RELIABILITY.md 3c.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use common::{rules, small};
use sluice::config::{Config, Mode};
use sluice::counters::Counter;
use sluice::lane::Worker;
use sluice::lane::build::{Engine, Plan};
use sluice::layout::Layout;
use sluice::memory::{Arena, Handle, Regions};
use sluice::packet::{Burst, Context};
use sluice::port::generator::packet::{Envelope, Tcp, tcp_flag::*, udp};
use sluice::port::memory::{End, Memory, Shape, Side};
use sluice::port::{Receive, Receiver, Transmit, Transmitter};
use sluice::reason::Reason;

/// Flows of the table of a SYN flood. Large enough that ticks (1/64 s) tell its entries' ages apart
/// at the rate at which a busy core makes SYNs.
const FLOWS: u32 = 1 << 18;
/// Flows of a table that is flooded with whole connections.
const FEW: u32 = 1 << 13;
/// Honest connections that are open all the while.
const OPEN: usize = 400;
/// Honest connections that begin in the middle of a flood.
const NEW: usize = 200;
/// Frames of a flood between two steps of an honest host: its round-trip time. At 10 M flows and
/// line rate (14.88 M frames/s) the same share of the table is 25 ms.
const ROUND_TRIP: usize = 9600;
/// Frames sent before the engine gets its turn.
const BURST: usize = 32;
/// Times that a host sends a SYN before it gives up.
const SYNS: usize = 3;
const FRAMES: u32 = 4096;
/// Growth of the process that is noise, in pages of 4 KiB.
const PAGES: u64 = 512;

/// The engine, and the far ends of both cables.
struct Rig {
    worker: Worker,
    transmitters: Vec<Transmitter>,
    receivers: Vec<Receiver>,
    contexts: Arc<Arena<Context>>,
    free: Vec<Handle>,
    burst: Burst,
    regions: Regions,
    /// Frames that came out of each port since they were last asked for.
    out: [Vec<Vec<u8>>; 2],
    sent: u64,
    noise: u64,
}

fn halves(memory: &Arc<Memory>, side: Side, extra: u32) -> (Vec<Receiver>, Vec<Transmitter>) {
    let open = |cable: u8| {
        let (receiver, transmitter) = memory.open(End { cable, side }, 0, extra, cable).unwrap();
        (
            Receiver::Memory(Box::new(receiver)),
            Transmitter::Memory(Box::new(transmitter)),
        )
    };
    [open(0), open(1)].into_iter().unzip()
}

impl Rig {
    fn new(config: Config, rule_text: &str) -> Rig {
        let memory = Memory::new(Shape {
            extra: 4 * FRAMES,
            ..Shape::default()
        })
        .unwrap();
        let (inner_receivers, inner_transmitters) = halves(&memory, Side::Inner, FRAMES / 2);
        let (mut receivers, mut transmitters) = halves(&memory, Side::Outer, FRAMES / 2);
        let loaded = rules(rule_text);
        let mut engine = Engine::build(Plan {
            config: Arc::new(config),
            layout: Layout::FUSED,
            burst_max: 64,
            ordered: false,
            live: true,
            receivers: vec![inner_receivers],
            transmitters: vec![inner_transmitters],
            program: Arc::clone(&loaded.program),
            events_per_worker: 256,
            rss: None,
            cores: Vec::new(),
            key: 0x9e37_79b9_7f4a_7c15,
        })
        .unwrap();
        let mut regions = Regions::default();
        receivers
            .iter_mut()
            .for_each(|half| half.register(&mut regions));
        transmitters
            .iter_mut()
            .for_each(|half| half.register(&mut regions));
        let (contexts, free) = Arena::new(256, Context::default);
        Rig {
            worker: engine.workers.remove(0),
            transmitters,
            receivers,
            contexts,
            free,
            burst: Vec::with_capacity(64),
            regions,
            out: Default::default(),
            sent: 0,
            noise: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn random(&mut self) -> u64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        self.noise
    }

    /// Lets the engine work until nothing is left, and takes what comes out.
    fn work(&mut self) {
        self.transmitters.iter_mut().for_each(Transmit::sync);
        loop {
            let moved = self.worker.turn();
            while let Some(event) = self.worker.emit.events.take() {
                self.worker.emit.events.give_back(event);
            }
            if !self.collect() && !moved {
                return;
            }
        }
    }

    fn collect(&mut self) -> bool {
        let mut any = false;
        for (port, receiver) in self.receivers.iter_mut().enumerate() {
            receiver.receive(&self.contexts, &mut self.free, &mut self.burst, 64, 0);
            for mut handle in self.burst.drain(..) {
                let context = self.contexts.get_mut(&mut handle);
                self.out[port].push(self.regions.bytes(context.span).to_vec());
                receiver.reclaim(context);
                self.free.push(handle);
                any = true;
            }
        }
        any
    }

    fn put(&mut self, port: usize, frame: &[u8]) {
        self.transmitters[port].send_copy(frame).unwrap();
        self.sent += 1;
    }

    /// Sends a frame into a port, and says whether just that came out of the other.
    fn pass(&mut self, port: usize, frame: &[u8]) -> bool {
        self.out = Default::default();
        self.put(port, frame);
        self.work();
        self.out[1 - port].iter().any(|out| out == frame)
    }

    /// Sends `count` frames of an attacker into the inside port.
    fn flood(&mut self, count: usize, mut frame: impl FnMut(u64) -> Vec<u8>) {
        for number in 0..count {
            let noise = self.random();
            let frame = frame(noise);
            self.put(0, &frame);
            if number % BURST == BURST - 1 {
                self.work();
                self.out = Default::default();
            }
        }
        self.work();
        self.out = Default::default();
    }

    fn count(&self, counter: Counter) -> u64 {
        self.worker.emit.counters.get(counter)
    }

    fn drops(&self, reason: Reason) -> u64 {
        self.worker.emit.counters.dropped(reason)
    }

    /// Drops by reason so far.
    fn reasons(&self) -> Vec<(&'static str, u64)> {
        let all = Reason::ALL
            .iter()
            .map(|reason| (reason.name(), self.drops(*reason)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// I1 at rest.
    fn check(&self) {
        let decided: u64 = [
            Counter::PacketsForwarded,
            Counter::PacketsBypassed,
            Counter::PacketsDropped,
            Counter::PacketsRejected,
        ]
        .into_iter()
        .map(|counter| self.count(counter))
        .sum();
        assert_eq!(
            (self.count(Counter::PacketsReceived), decided),
            (self.sent, self.sent)
        );
    }
}

fn strict(config: Config) -> Config {
    Config {
        policies: {
            let mut policies = sluice::config::Policies::default();
            policies.set(
                sluice::config::Area::Midstream,
                sluice::config::Choice::Auto,
            );
            policies
        },
        ..config
    }
}

fn table(flows: u32) -> Config {
    strict(Config {
        flows_max: flows,
        inspected_flows_max: flows / 2,
        ..small(Mode::Inline)
    })
}

fn envelope(src: IpAddr, dst: IpAddr) -> Envelope {
    Envelope {
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        vlans: Vec::new(),
        src,
        dst,
        id: 7,
    }
}

fn server() -> IpAddr {
    "10.2.0.1".parse().unwrap()
}

/// An honest connection, and how far both sides are.
struct Talk {
    client: IpAddr,
    port: u16,
    seq: [u32; 2],
}

impl Talk {
    fn new(number: usize) -> Talk {
        Talk {
            client: IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + number as u32)),
            port: 30_000,
            seq: [1000, 9000],
        }
    }

    /// A segment of one side; its number moves on.
    fn segment(&mut self, from: usize, flags: u8, bytes: &[u8]) -> Vec<u8> {
        let ports = [self.port, 80];
        let hosts = [self.client, server()];
        let tcp = Tcp {
            src_port: ports[from],
            dst_port: ports[1 - from],
            seq: self.seq[from],
            ack: if flags & ACK != 0 {
                self.seq[1 - from]
            } else {
                0
            },
            flags,
            window: 60_000,
            stamps: None,
        };
        let more = bytes.len() as u32 + u32::from(flags & SYN != 0);
        self.seq[from] = self.seq[from].wrapping_add(more);
        tcp.frame(&envelope(hosts[from], hosts[1 - from]), bytes)
    }

    /// A handshake with pauses; whether it came about, SYNs being sent again as hosts do.
    fn connect(&mut self, rig: &mut Rig, mut pause: impl FnMut(&mut Rig)) -> bool {
        for _ in 0..SYNS {
            self.seq = [1000, 9000];
            let syn = self.segment(0, SYN, b"");
            let answered = rig.pass(0, &syn) && {
                pause(rig);
                let answer = self.segment(1, SYN | ACK, b"");
                rig.pass(1, &answer)
            };
            if answered {
                pause(rig);
                let ack = self.segment(0, ACK, b"");
                return rig.pass(0, &ack);
            }
            pause(rig);
        }
        false
    }

    /// Words of the client, acknowledged by the server.
    fn say(&mut self, rig: &mut Rig, bytes: &[u8]) -> bool {
        let data = self.segment(0, PSH | ACK, bytes);
        let through = rig.pass(0, &data);
        let ack = self.segment(1, ACK, b"");
        let answered = rig.pass(1, &ack);
        if !(answered && through) {
            println!("{}: {through} {answered}, {:?}", self.client, rig.reasons());
        }
        answered && through
    }
}

fn open(rig: &mut Rig, from: usize, count: usize) -> Vec<Talk> {
    let one = |number| {
        let mut talk = Talk::new(number);
        assert!(
            talk.connect(rig, |_| ()) && talk.say(rig, b"hello"),
            "flow {number}"
        );
        talk
    };
    (from..from + count).map(one).collect()
}

/// A SYN of nobody.
fn syn_of_nobody(noise: u64) -> Vec<u8> {
    let tcp = Tcp {
        src_port: noise as u16,
        dst_port: 80,
        seq: (noise >> 16) as u32,
        ack: 0,
        flags: SYN,
        window: 1024,
        stamps: None,
    };
    let src = IpAddr::V4(Ipv4Addr::from(0x2000_0000 | (noise >> 36) as u32));
    tcp.frame(&envelope(src, server()), b"")
}

/// One test at a time: what is measured is the memory of the process.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn resident_pages() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_syn_flood_of_ten_tables_loses_nothing_of_open_flows_and_keeps_out_no_new_one() {
    let _alone = alone();
    let mut rig = Rig::new(
        table(FLOWS),
        "alert tcp any any -> any 80 (content:\"newcomer\"; sid:1;)",
    );
    let mut talks = open(&mut rig, 0, OPEN);
    let flood = 10 * FLOWS as usize;
    let (mut connected, mut lost) = (0, 0);
    for number in 0..NEW {
        let pause = |rig: &mut Rig| rig.flood(ROUND_TRIP, syn_of_nobody);
        let mut talk = Talk::new(OPEN + number);
        let through = talk.connect(&mut rig, pause) && talk.say(&mut rig, b"newcomer");
        connected += usize::from(through);
        let old = number % OPEN;
        lost += usize::from(!talks[old].say(&mut rig, b"still here"));
        lost += usize::from(!talks[OPEN - 1 - old].say(&mut rig, b"me too"));
    }
    let sent = rig.sent as usize;
    assert!(sent > flood, "{sent} frames are no flood of {flood}");
    lost += talks
        .iter_mut()
        .filter_map(|talk| (!talk.say(&mut rig, b"and still")).then_some(()))
        .count();
    println!(
        "SYN flood: {sent} frames over {FLOWS} flows; open flows lost {lost} packets; {connected} \
         of {NEW} new ones connected, {} of them inspected",
        rig.count(Counter::Alerts)
    );
    assert_eq!(lost, 0);
    assert!(connected * 100 >= NEW * 99, "{connected} of {NEW}");
    assert_eq!(
        rig.count(Counter::Alerts),
        connected as u64,
        "who came through was inspected"
    );
    rig.check();
}

#[test]
fn a_fragment_flood_takes_no_memory_and_stops_nobody_else() {
    let _alone = alone();
    let config = strict(Config {
        defrag_memory: 1 << 20,
        ..small(Mode::Inline)
    });
    let mut rig = Rig::new(
        config,
        "alert udp any any -> any 53 (content:\"in two\"; sid:1;)",
    );
    let mut talks = open(&mut rig, 0, 100);
    let fragment = |noise: u64| {
        let src = IpAddr::V4(Ipv4Addr::from(0x3000_0000 | (noise >> 36) as u32));
        let mut envelope = envelope(src, server());
        envelope.id = noise as u32;
        let size = if noise & 1 << 20 == 0 { 1400 } else { 64 };
        envelope
            .fragments(17, &vec![b'f'; 2 * size], size)
            .remove((noise >> 21 & 1) as usize)
    };
    // Whatever grows on first use has grown.
    rig.flood(20_000, fragment);
    let before = resident_pages();
    let (mut whole, mut lost) = (0, 0);
    for number in 0..100u32 {
        rig.flood(500, fragment);
        lost += usize::from(!talks[number as usize].say(&mut rig, b"still here"));
        let mut honest = envelope("10.3.0.1".parse().unwrap(), server());
        honest.id = number;
        let datagram = udp(
            &honest,
            4000,
            53,
            &[&[b'.'; 800][..], b"in two parts"].concat(),
        );
        let parts = honest.fragments(17, &datagram, 400);
        whole += usize::from(parts.iter().all(|part| {
            let passed = rig.pass(0, part);
            rig.flood(10, fragment);
            passed
        }));
    }
    let grown = resident_pages().saturating_sub(before);
    println!(
        "fragment flood: {} frames; {lost} packets of others lost; {whole} of 100 honest datagrams \
         whole, {} inspected; {} given up; {grown} pages grown",
        rig.sent,
        rig.count(Counter::Alerts),
        rig.count(Counter::FragmentsExpired)
    );
    assert_eq!((lost, whole, rig.count(Counter::Alerts)), (0, 100, 100));
    assert!(rig.count(Counter::FragmentsExpired) > 10_000);
    assert!(grown < PAGES, "{grown} pages");
    rig.check();
}

#[test]
fn a_flood_of_holes_takes_no_memory_and_stops_nobody_else() {
    let _alone = alone();
    let config = strict(Config {
        stream_memory: 2 << 20,
        ..small(Mode::Inline)
    });
    let mut rig = Rig::new(
        config,
        "alert tcp any any -> any 80 (content:\"honest\"; sid:1;)",
    );
    let mut honest = open(&mut rig, 0, 100);
    let mut hostile = open(&mut rig, 1000, 800);
    let holes = |rig: &mut Rig, hostile: &mut [Talk], round: u32| {
        for (number, talk) in hostile.iter_mut().enumerate() {
            // Each a little further on, never the byte that is missing.
            let seq = talk.seq[0];
            talk.seq[0] = seq.wrapping_add(100 + round * 1500);
            let frame = talk.segment(0, PSH | ACK, &[b'h'; 1200]);
            talk.seq[0] = seq;
            rig.put(0, &frame);
            if number % BURST == BURST - 1 {
                rig.work();
                rig.out = Default::default();
            }
        }
        rig.work();
        rig.out = Default::default();
    };
    holes(&mut rig, &mut hostile, 0);
    let before = resident_pages();
    let (mut said, mut lost) = (0, 0);
    for round in 0..20 {
        holes(&mut rig, &mut hostile, round);
        for talk in honest.iter_mut().skip(round as usize % 5).step_by(5) {
            said += 1;
            lost += usize::from(!talk.say(&mut rig, b"an honest word"));
        }
    }
    let grown = resident_pages().saturating_sub(before);
    println!(
        "hole flood: {} frames; {lost} packets of others lost; {} segments refused for memory; \
         {grown} pages grown",
        rig.sent,
        rig.drops(Reason::StreamMemory)
    );
    // Inline each packet that brings the word is told of.
    assert_eq!((lost, rig.count(Counter::Alerts)), (0, said));
    assert!(rig.drops(Reason::StreamMemory) > 1000);
    assert!(grown < PAGES, "{grown} pages");
    rig.check();
}

#[test]
fn what_was_dropped_stays_dropped_through_a_flood_of_ten_tables() {
    let _alone = alone();
    for whole_handshakes in [false, true] {
        let mut rig = Rig::new(
            table(FEW),
            "drop tcp any any -> any 80 (content:\"forbidden\"; sid:1;)",
        );
        let mut talks = open(&mut rig, 0, 20);
        let mut dropped = Vec::new();
        for talk in &mut talks {
            assert!(rig.pass(0, &talk.segment(0, PSH | ACK, b"forbid")));
            let frame = talk.segment(0, PSH | ACK, b"den and more");
            assert!(!rig.pass(0, &frame));
            dropped.push(frame);
        }
        if whole_handshakes {
            for number in 0..10 * FEW as usize {
                let mut talk = Talk::new(100_000 + number);
                let frames = [
                    (0, talk.segment(0, SYN, b"")),
                    (1, talk.segment(1, SYN | ACK, b"")),
                    (0, talk.segment(0, ACK, b"")),
                    (0, talk.segment(0, PSH | ACK, b"x")),
                ];
                for (port, frame) in frames {
                    rig.put(port, &frame);
                    rig.work();
                }
                rig.out = Default::default();
            }
        } else {
            rig.flood(10 * FEW as usize, syn_of_nobody);
        }
        for (talk, frame) in talks.iter_mut().zip(&dropped) {
            assert!(
                !rig.pass(0, frame),
                "{whole_handshakes}: it was delivered after all"
            );
            let next = talk.segment(0, PSH | ACK, b"go on");
            assert!(!rig.pass(0, &next));
            // Cut otherwise.
            talk.seq[0] = talk.seq[0].wrapping_sub(17);
            let tail = talk.segment(0, PSH | ACK, b"den and more");
            assert!(!rig.pass(0, &tail));
        }
        println!(
            "dropped flows, flooded with {} frames ({}): nothing of them delivered; {:?} by reason",
            rig.sent,
            if whole_handshakes {
                "handshakes"
            } else {
                "SYNs"
            },
            [Reason::RuleFlow, Reason::TcpMidstream]
                .map(|reason| (reason.name(), rig.drops(reason)))
        );
        rig.check();
    }
}

/// A wire that is full in one direction still carries the other: the ports take turns in filling a
/// burst.
#[test]
fn a_port_that_fills_every_burst_leaves_the_other_one_its_turn() {
    let _alone = alone();
    for full in [0, 1] {
        let mut rig = Rig::new(table(FEW), "");
        let frame = |port: usize, number: u8| {
            let host = |number: usize| IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + number as u32));
            let (from, to) = (host(port + 1), host(2 - port));
            let envelope = envelope(from, to);
            envelope.frame(17, &udp(&envelope, 4000, 5000, &[number; 32]))
        };
        for number in 0..640u32 {
            rig.put(full, &frame(full, number as u8));
        }
        for number in 0..20 {
            rig.put(1 - full, &frame(1 - full, number));
        }
        rig.transmitters.iter_mut().for_each(Transmit::sync);
        for _ in 0..4 {
            rig.worker.turn();
        }
        while rig.collect() {}
        let out = [0, 1].map(|port| rig.out[port].len());
        assert_eq!(out[full], 20, "{out:?}: all of the other direction");
        assert!(
            out[1 - full] > 64,
            "{out:?}: and it takes no more than its share"
        );
        rig.work();
        assert_eq!(rig.out[1 - full].len(), 640, "none is lost");
        rig.check();
    }
}
