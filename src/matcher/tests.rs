//! Tests of the match stage as a whole: a rig that feeds it packets and reads what comes out.
//! cases.rs holds the table of rules and payloads, twin.rs the naive interpreter, streams.rs the
//! cutting of streams, actions.rs arbitration and state.

mod actions;
mod cases;
mod operator;
mod packets;
mod reload;
mod streams;
mod twin;

use std::collections::HashMap;
use std::sync::Arc;

use super::{DetectionAccess, FlowMark, HostState, MatchStage, Program};
use crate::config::{Config, Mode};
use crate::counters::{Counter, Counters};
use crate::event::{Emit, EventKind, EventQueue};
use crate::memory::{Arena, Block, BlockPool, Handle, Regions};
use crate::packet::{Context, Direction, FlowHandle, Kind, flag};
use crate::rules::ruleset::RuleSet;
use crate::rules::{Classification, File, Options, Variables, load, threshold_file};

const FRAME_MAX: usize = 80_000;
const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [192, 0, 2, 7];

/// A flow table that is a map.
#[derive(Default)]
struct Marks(HashMap<FlowHandle, FlowMark>);

impl DetectionAccess for Marks {
    fn prefetch(&self, _: FlowHandle) {}

    fn load(&mut self, flow: FlowHandle) -> Option<FlowMark> {
        Some(*self.0.entry(flow).or_default())
    }

    fn store(&mut self, flow: FlowHandle, mark: FlowMark) {
        self.0.insert(flow, mark);
    }
}

/// A packet to send through the stage.
#[derive(Clone)]
struct Shot {
    flow: u32,
    direction: Direction,
    protocol: u8,
    flags: u32,
    src_port: u16,
    dst_port: u16,
    seconds: u64,
    kind: Kind,
    payload: Vec<u8>,
    /// Stream offset of the payload, if the stream took it.
    stream: Option<u32>,
    /// Last word on the frame, before it is sent.
    frame: fn(&mut Vec<u8>),
    /// Last word on the context.
    context: fn(&mut Context),
}

fn tcp(payload: &[u8]) -> Shot {
    Shot {
        flow: 1,
        direction: Direction::ToServer,
        protocol: 6,
        flags: flag::STREAM_NONE,
        src_port: 40_000,
        dst_port: 80,
        seconds: 100,
        kind: Kind::Frame,
        payload: payload.to_vec(),
        stream: None,
        frame: |_| (),
        context: |_| (),
    }
}

fn udp(payload: &[u8]) -> Shot {
    Shot {
        protocol: 17,
        flags: 0,
        dst_port: 53,
        ..tcp(payload)
    }
}

/// A TCP packet whose payload is the stream's at that offset.
fn piece(payload: &[u8], offset: u32) -> Shot {
    Shot {
        flags: flag::ESTABLISHED,
        stream: Some(offset),
        ..tcp(payload)
    }
}

impl Shot {
    fn reply(mut self) -> Shot {
        self.direction = self.direction.opposite();
        (self.src_port, self.dst_port) = (self.dst_port, self.src_port);
        self
    }

    fn frame(&self) -> Vec<u8> {
        if self.kind == Kind::Stream {
            return self.payload.clone();
        }
        let (src, dst) = match self.direction {
            Direction::ToServer => (CLIENT, SERVER),
            Direction::ToClient => (SERVER, CLIENT),
        };
        let header = if self.protocol == 6 { 20 } else { 8 };
        let length = (20 + header + self.payload.len()) as u16;
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([0x12, 0x34, 0x40, 0, 64, self.protocol, 0, 0]);
        frame.extend(src);
        frame.extend(dst);
        let mut l4 = Vec::new();
        match self.protocol {
            6 => {
                l4.extend(self.src_port.to_be_bytes());
                l4.extend(self.dst_port.to_be_bytes());
                l4.extend((9 + self.stream.unwrap_or(0)).to_be_bytes());
                l4.extend([0, 0, 0, 8, 0x50, 0x18, 0x10, 0, 0, 0, 0, 0]);
            }
            17 => {
                l4.extend(self.src_port.to_be_bytes());
                l4.extend(self.dst_port.to_be_bytes());
                l4.extend((8 + self.payload.len() as u16).to_be_bytes());
                l4.extend([0, 0]);
            }
            _ => l4.extend([8, 0, 0, 0, 0x0a, 0x0b, 0, 3]),
        }
        frame.extend(l4);
        frame.extend(&self.payload);
        (self.frame)(&mut frame);
        frame
    }

    fn fill(&self, context: &mut Context) {
        let mut mapped = [[0; 16]; 2];
        for (place, address) in mapped.iter_mut().zip([CLIENT, SERVER]) {
            place[10..12].fill(0xff);
            place[12..].copy_from_slice(&address);
        }
        context.tuple.a_addr = mapped[0];
        context.tuple.b_addr = mapped[1];
        let reversed = self.direction == Direction::ToClient;
        let ports = if reversed {
            (self.dst_port, self.src_port)
        } else {
            (self.src_port, self.dst_port)
        };
        (context.tuple.a_port, context.tuple.b_port) = ports;
        context.set(flag::IPV4 | flag::TRANSPORT | self.flags);
        if reversed {
            context.set(flag::REVERSED);
        }
        context.kind = self.kind;
        context.direction = self.direction;
        context.protocol = self.protocol;
        (context.l3, context.l4) = (14, 34);
        context.payload = if self.protocol == 6 { 54 } else { 42 };
        context.payload_length = self.payload.len() as u16;
        context.time_ns = self.seconds * 1_000_000_000;
        context.flow = match self.flow {
            0 => FlowHandle::NONE,
            slot => FlowHandle {
                slot,
                generation: 1,
            },
        };
        if let Some(offset) = self.stream {
            context.set(flag::STREAM);
            context.stream_offset = offset;
            context.stream_length = self.payload.len() as u16;
        }
        (self.context)(context);
    }
}

/// What came of a packet.
#[derive(Debug)]
struct Outcome {
    sids: Vec<u32>,
    context: Context,
    events: Vec<Told>,
}

/// What an alert event says.
#[derive(Debug, PartialEq)]
struct Told {
    sid: u32,
    blocked: bool,
    would_drop: bool,
    stream: bool,
    direction: Direction,
    payload: Vec<u8>,
}

/// A match stage with all around it.
struct Rig {
    stage: MatchStage<Marks>,
    contexts: Arc<Arena<Context>>,
    burst: Vec<Handle>,
    pool: BlockPool,
    block: Block,
    emit: Emit,
    ruleset: Arc<RuleSet>,
}

/// Reads rules, all of which must be good and run.
fn ruleset(rules: &str) -> RuleSet {
    operated(rules, crate::rules::load::ACTION_RANKS, "")
}

/// The same under an action order and a threshold file.
fn operated(rules: &str, ranks: [u8; 4], thresholds: &str) -> RuleSet {
    let file = File {
        path: "test.rules",
        text: rules.as_bytes(),
    };
    let options = Options {
        anomaly: &|name| crate::decode::Anomaly::by_name(name).map(|anomaly| anomaly as u8),
        ..Options::default()
    };
    let variables = Variables::default();
    let mut loaded = load(&[file], &variables, &Classification::default(), &options);
    let (statements, remarks) = threshold_file::read(thresholds, &variables);
    assert_eq!(remarks, []);
    let remarks = threshold_file::apply(&statements, &mut loaded.signatures);
    assert_eq!(remarks, []);
    let lines = rules.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(
        loaded.counts.enabled as usize >= lines && loaded.counts.failed == 0,
        "{:#?}\n{rules}",
        loaded.diagnostics
    );
    for set in loaded.names.datasets.iter() {
        set.fill("").unwrap();
    }
    let ruleset = RuleSet::build_in_order(loaded.signatures, loaded.names, 1, ranks);
    assert_eq!(ruleset.idle(), [], "{rules}");
    ruleset
}

impl Rig {
    fn new(rules: &str) -> Rig {
        Rig::with(rules, |_| ())
    }

    fn inline(rules: &str) -> Rig {
        Rig::with(rules, |config| config.mode = Mode::Inline)
    }

    fn with(rules: &str, change: impl FnOnce(&mut Config)) -> Rig {
        Rig::of(ruleset(rules), change)
    }

    fn of(ruleset: RuleSet, change: impl FnOnce(&mut Config)) -> Rig {
        let mut config = Config {
            inspected_flows_max: 8,
            app_records: false,
            ..Config::default()
        };
        change(&mut config);
        let ruleset = Arc::new(ruleset);
        let program = Program::compile(Arc::clone(&ruleset)).unwrap();
        assert_eq!(program.refused(), []);
        let mut regions = Regions::default();
        let mut pool = BlockPool::new(1, FRAME_MAX, &mut regions);
        let block = pool.take().unwrap();
        let (contexts, burst) = Arena::new(1, Context::default);
        let stage = MatchStage::new(
            &config,
            Arc::new(regions),
            Arc::clone(&contexts),
            Arc::new(program),
            Marks::default(),
            Arc::new(HostState::new(4096)),
        );
        Rig {
            stage,
            contexts,
            burst,
            pool,
            block,
            emit: emit(),
            ruleset,
        }
    }

    fn send(&mut self, shot: Shot) -> Outcome {
        let frame = shot.frame();
        self.pool.bytes_mut(&mut self.block)[..frame.len()].copy_from_slice(&frame);
        let context = self.contexts.get_mut(&mut self.burst[0]);
        context.reset();
        context.span = self.pool.span(&self.block, 0, frame.len());
        shot.fill(context);
        self.stage.run(&mut self.burst, &mut self.emit);
        let mut events = Vec::new();
        while let Some(event) = self.emit.events.take() {
            // A flow that leaves variables is told of by this stage, at its end.
            if event.kind == EventKind::Flow && shot.kind == Kind::FlowEnd {
                self.emit.events.give_back(event);
                continue;
            }
            assert_eq!(event.kind, EventKind::Alert);
            let signature = self.ruleset.signature(event.signature).unwrap();
            events.push(Told {
                sid: signature.sid,
                blocked: event.action == crate::event::AlertAction::Blocked,
                would_drop: event.would_drop,
                stream: event.stream,
                direction: event.direction,
                payload: event.payload.clone(),
            });
            self.emit.events.give_back(event);
        }
        Outcome {
            sids: events.iter().map(|event| event.sid).collect(),
            context: self.contexts.get(&self.burst[0]).clone(),
            events,
        }
    }

    fn sids(&mut self, shot: Shot) -> Vec<u32> {
        self.send(shot).sids
    }

    fn end(&mut self, flow: u32) -> Outcome {
        self.send(Shot {
            kind: Kind::FlowEnd,
            flow,
            ..tcp(b"")
        })
    }

    fn count(&self, counter: Counter) -> u64 {
        self.emit.counters.get(counter)
    }
}

fn emit() -> Emit {
    Emit {
        views: Vec::new(),
        events: EventQueue::new(64),
        built: Vec::new(),
        built_count: 0,
        counters: Arc::new(Counters::default()),
        lane: 0,
        now_ns: 0,
        listener: crate::event::Listener::Live,
    }
}
