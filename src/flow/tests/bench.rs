//! The bench: builds packets, runs them through decode and flow, and reads the burst that comes out.

use std::sync::Arc;

use crate::config::{Config, Mode};
use crate::counters::{Counter, Counters};
use crate::decode::{Anomaly, DecodeStage, LinkType};
use crate::event::{Emit, EventQueue};
use crate::flow::table::FlowHash;
use crate::flow::{FlowPlan, FlowStage};
use crate::memory::{Arena, Block, BlockPool, Handle, Regions};
use crate::packet::{BURST_VIEWS_MAX, Context, Direction, FlowValues, Kind, Verdict, flag};
use crate::reason::Reason;

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;
pub const URG: u8 = 32;
pub const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 40000);
pub const SERVER: ([u8; 4], u16) = ([10, 0, 0, 2], 80);
/// First sequence numbers of both sides in `Talk`.
pub const CLIENT_ISN: u32 = 1000;
pub const SERVER_ISN: u32 = 9000;

/// A context as it left the stage.
#[derive(Clone, Debug)]
pub struct Seen {
    pub kind: Kind,
    pub flags: u32,
    pub verdict: Verdict,
    pub would: Option<Reason>,
    pub anomalies: Vec<&'static str>,
    pub direction: Direction,
    pub offset: u32,
    pub stream: Vec<u8>,
    pub bytes: Vec<u8>,
    pub values: FlowValues,
    pub flow: crate::packet::FlowHandle,
    pub more: bool,
    pub dst_port: u16,
}

impl Seen {
    pub fn has(&self, bits: u32) -> bool {
        self.flags & bits == bits
    }

    pub fn dropped(&self) -> Option<Reason> {
        match self.verdict {
            Verdict::Drop(reason) | Verdict::Reject(reason) => Some(reason),
            Verdict::Forward => None,
        }
    }

    /// Stream bytes, if the context shows any.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stream).unwrap_or("?")
    }
}

/// A TCP segment to be.
#[derive(Clone, Debug)]
pub struct Tcp {
    pub to_server: bool,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub urgent: u16,
    pub options: Vec<u8>,
    pub data: Vec<u8>,
}

impl Tcp {
    pub fn new(to_server: bool, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Tcp {
        Tcp {
            to_server,
            seq,
            ack,
            flags,
            window: 65535,
            urgent: 0,
            options: vec![],
            data: data.to_vec(),
        }
    }

    pub fn timestamp(mut self, value: u32, echo: u32) -> Tcp {
        self.options.extend([1, 1, 8, 10]);
        self.options.extend(value.to_be_bytes());
        self.options.extend(echo.to_be_bytes());
        self
    }

    pub fn option(mut self, bytes: &[u8]) -> Tcp {
        self.options.extend(bytes);
        self
    }

    pub fn window(mut self, window: u16) -> Tcp {
        self.window = window;
        self
    }

    pub fn urgent(mut self, urgent: u16) -> Tcp {
        self.flags |= URG;
        self.urgent = urgent;
        self
    }

    pub fn packet(&self) -> Vec<u8> {
        let mut header = self.options.clone();
        header.resize(header.len().next_multiple_of(4), 0);
        let (src, dst) = if self.to_server {
            (CLIENT, SERVER)
        } else {
            (SERVER, CLIENT)
        };
        let mut tcp = Vec::new();
        tcp.extend(src.1.to_be_bytes());
        tcp.extend(dst.1.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.push((5 + header.len() as u8 / 4) << 4);
        tcp.push(self.flags);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0, 0]);
        tcp.extend(self.urgent.to_be_bytes());
        tcp.extend(header);
        tcp.extend(&self.data);
        let sum = pseudo_sum(src.0, dst.0, 6, &tcp);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        ipv4(src.0, dst.0, 6, 1, 0, &tcp)
    }
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn words(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|p| u32::from(p[0]) << 8 | u32::from(*p.get(1).unwrap_or(&0)))
        .sum()
}

pub fn pseudo_sum(src: [u8; 4], dst: [u8; 4], protocol: u8, bytes: &[u8]) -> u16 {
    fold(words(&src) + words(&dst) + u32::from(protocol) + bytes.len() as u32 + words(bytes))
}

/// An IPv4 packet; `fragment` is the field of flags and offset.
pub fn ipv4(
    src: [u8; 4],
    dst: [u8; 4],
    protocol: u8,
    id: u16,
    fragment: u16,
    data: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + data.len() as u16).to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(src);
    packet.extend(dst);
    let sum = fold(words(&packet));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(data);
    packet
}

/// A UDP datagram's bytes, with its checksum for CLIENT to SERVER.
pub fn udp(src: ([u8; 4], u16), dst: ([u8; 4], u16), data: &[u8]) -> Vec<u8> {
    let mut udp = Vec::new();
    udp.extend(src.1.to_be_bytes());
    udp.extend(dst.1.to_be_bytes());
    udp.extend((8 + data.len() as u16).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(data);
    let sum = pseudo_sum(src.0, dst.0, 17, &udp);
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    udp
}

/// Small settings, so that a stage is made in no time.
pub fn config(mode: Mode) -> Config {
    Config {
        mode,
        flows_max: 200,
        inspected_flows_max: 64,
        stream_memory: 1 << 20,
        defrag_memory: 1 << 20,
        contexts_per_lane: 1024,
        ..Config::default()
    }
}

const FRAMES: usize = 64;
pub const FRAME_BYTES: usize = 8192;

pub struct Bench {
    pub stage: FlowStage,
    pub contexts: Arc<Arena<Context>>,
    pub regions: Arc<Regions>,
    pub emit: Emit,
    decode: DecodeStage,
    frames: BlockPool,
    free: Vec<Handle>,
    /// Blocks of the frames under way, by context.
    lent: Vec<u32>,
    pub time_ns: u64,
    /// What the packets' first bytes are.
    pub link: u8,
    order: u64,
    contexts_total: usize,
    views_total: usize,
    pages_total: (u32, u32),
}

impl Bench {
    pub fn new(config: Config) -> Bench {
        let plan = FlowPlan {
            view_blocks: 8,
            ..FlowPlan::new(&config, 1)
        };
        let contexts_total = config.contexts_per_lane as usize;
        let config = Arc::new(config);
        let mut regions = Regions::default();
        let frames = BlockPool::new(FRAMES, FRAME_BYTES, &mut regions);
        let parts = plan
            .build(&FlowHash::seeded(7), &mut regions)
            .unwrap()
            .pop()
            .unwrap();
        let regions = Arc::new(regions);
        let (contexts, mut handles) = Arena::new(contexts_total, Context::default);
        let views = handles.split_off(FRAMES);
        let (stage, _detection) = FlowStage::new(&config, &regions, &contexts, parts);
        let pages_total = (stage.pages.len(), stage.fragments.len());
        let views_total = stage.views.available();
        Bench {
            decode: DecodeStage::new(config, Arc::clone(&regions), Arc::clone(&contexts)),
            stage,
            emit: Emit {
                views,
                events: EventQueue::new(1),
                built: Vec::new(),
                built_count: 0,
                counters: Arc::new(Counters::default()),
                lane: 0,
                now_ns: 0,
                listener: crate::event::Listener::Live,
            },
            contexts,
            regions,
            frames,
            free: handles,
            lent: vec![0; contexts_total],
            time_ns: 1_700_000_000_000_000_000,
            link: LinkType::Raw as u8,
            order: 0,
            contexts_total,
            views_total,
            pages_total,
        }
    }

    pub fn tap() -> Bench {
        Bench::new(config(Mode::Tap))
    }

    pub fn inline() -> Bench {
        Bench::new(config(Mode::Inline))
    }

    /// Lets time pass.
    pub fn wait(&mut self, seconds: u64) {
        self.time_ns += seconds * 1_000_000_000;
    }

    fn frame(&mut self, packet: &[u8]) -> Handle {
        let mut block = self.frames.take().unwrap();
        self.frames.bytes_mut(&mut block)[..packet.len()].copy_from_slice(packet);
        let mut handle = self.free.pop().unwrap();
        self.order += 1;
        let context = self.contexts.get_mut(&mut handle);
        context.reset();
        context.link = self.link;
        context.span = self.frames.span(&block, 0, packet.len());
        context.order = self.order;
        context.time_ns = self.time_ns;
        self.lent[handle.index() as usize] = block.into_index();
        handle.set_length(packet.len() as u32);
        handle
    }

    /// Runs packets through as one burst.
    pub fn run(&mut self, packets: &[Vec<u8>]) -> Vec<Seen> {
        let seen = self.unchecked(packets);
        self.check();
        seen
    }

    /// As `run`, while the test holds contexts back.
    pub fn unchecked(&mut self, packets: &[Vec<u8>]) -> Vec<Seen> {
        let mut burst = Vec::with_capacity(BURST_VIEWS_MAX);
        for packet in packets {
            self.time_ns += 1000;
            let handle = self.frame(packet);
            burst.push(handle);
        }
        self.decode.run(&mut burst, &mut self.emit);
        self.stage.run(&mut burst, &mut self.emit);
        self.read(burst)
    }

    /// Runs one packet, and gives its context and the views behind it.
    pub fn one(&mut self, packet: &[u8]) -> Vec<Seen> {
        self.run(&[packet.to_vec()])
    }

    pub fn tcp(&mut self, segment: &Tcp) -> Vec<Seen> {
        self.one(&segment.packet())
    }

    /// Ends everything and gives the ends.
    pub fn finish(&mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        for _ in 0..1000 {
            let mut burst = Vec::with_capacity(BURST_VIEWS_MAX);
            let done = self.stage.finish(&mut burst, &mut self.emit);
            all.extend(self.read(burst));
            if done {
                return all;
            }
        }
        panic!("finish never ends");
    }

    /// Time without packets.
    pub fn idle(&mut self) -> Vec<Seen> {
        self.emit.now_ns = self.time_ns;
        let mut burst = Vec::with_capacity(BURST_VIEWS_MAX);
        self.stage.idle(&mut burst, &mut self.emit);
        self.read(burst)
    }

    fn read(&mut self, burst: Vec<Handle>) -> Vec<Seen> {
        assert!(burst.len() <= BURST_VIEWS_MAX);
        let last = burst.len();
        let mut all = Vec::new();
        let mut carried = false;
        for (index, mut handle) in burst.into_iter().enumerate() {
            let context = self.contexts.get(&handle);
            let begins = index == 0 || !carried;
            let bare = matches!(context.kind, Kind::FlowEnd | Kind::Stream);
            assert!(
                begins == (context.kind == Kind::Frame) || bare,
                "chains are in order"
            );
            carried = handle.more();
            assert!(
                !carried || index + 1 < last,
                "the last of the burst ends its chain"
            );
            all.push(self.seen(context, carried));
            let kind = context.kind;
            handle.set_more(false);
            if kind == Kind::Frame {
                let block = self.lent[handle.index() as usize];
                self.frames.give(Block::from_index(block));
                self.free.push(handle);
            } else {
                self.stage.recycle(&mut handle);
                self.emit.views.push(handle);
            }
        }
        all
    }

    fn seen(&self, context: &Context, more: bool) -> Seen {
        let bytes = self.regions.bytes(context.span).to_vec();
        let stream = if context.has(flag::STREAM) {
            context.stream_of(&bytes).to_vec()
        } else {
            vec![]
        };
        let is_reset = context.has(flag::STREAM_END) && stream.is_empty();
        assert!(
            is_reset || !context.has(flag::STREAM | flag::STREAM_NONE),
            "one or the other"
        );
        Seen {
            kind: context.kind,
            flags: context.flags,
            verdict: context.verdict,
            would: context.would,
            anomalies: context
                .noted()
                .iter()
                .map(|code| Anomaly::from_code(*code).unwrap().name())
                .collect(),
            direction: context.direction,
            offset: context.stream_offset,
            stream,
            bytes,
            values: context.values,
            flow: context.flow,
            more,
            dst_port: context.dst_port(),
        }
    }

    /// Conservation: nothing is lost between bursts but what the stage keeps.
    fn check(&self) {
        assert_eq!(self.free.len() + self.emit.views.len(), self.contexts_total);
        assert_eq!(self.stage.views.available(), self.views_total);
        assert_eq!(self.frames.available(), FRAMES);
    }

    /// After `finish`: the stage keeps nothing at all.
    pub fn check_empty(&self) {
        self.check();
        assert_eq!(
            self.stage.pages.available(),
            self.pages_total.0,
            "stream pages"
        );
        assert_eq!(
            self.stage.fragments.available(),
            self.pages_total.1,
            "fragment pages"
        );
        assert_eq!(self.stage.connections.used(), 0);
        assert_eq!(self.stage.flows.population(), 0);
        let ended = [
            Counter::FlowsEndedTimeout,
            Counter::FlowsEndedClosed,
            Counter::FlowsEndedEvicted,
            Counter::FlowsEndedShutdown,
        ];
        let ended: u64 = ended.iter().map(|c| self.count(*c)).sum();
        assert_eq!(self.count(Counter::FlowsCreated), ended, "created = ended");
    }

    pub fn count(&self, counter: Counter) -> u64 {
        self.emit.counters.get(counter)
    }

    /// Handshake of CLIENT and SERVER with the numbers of `Talk`.
    pub fn handshake(&mut self) {
        self.handshake_from(CLIENT_ISN, SERVER_ISN);
    }

    pub fn handshake_from(&mut self, client: u32, server: u32) {
        let (c, s) = (client.wrapping_add(1), server.wrapping_add(1));
        for segment in [
            Tcp::new(true, SYN, client, 0, b""),
            Tcp::new(false, SYN | ACK, server, c, b""),
            Tcp::new(true, ACK, c, s, b""),
        ] {
            let seen = self.tcp(&segment);
            assert_eq!(seen[0].verdict, Verdict::Forward, "{segment:?}");
            assert!(
                seen[0].anomalies.is_empty(),
                "{segment:?} {:?}",
                seen[0].anomalies
            );
        }
    }

    /// Client bytes at an offset of its stream.
    pub fn client(&mut self, offset: u32, data: &[u8]) -> Vec<Seen> {
        self.tcp(&client(offset, data))
    }

    /// The server acknowledges so many bytes.
    pub fn server_ack(&mut self, count: u32) -> Vec<Seen> {
        self.tcp(&Tcp::new(
            false,
            ACK,
            SERVER_ISN + 1,
            CLIENT_ISN + 1 + count,
            b"",
        ))
    }
}

/// A client segment at an offset of its stream.
pub fn client(offset: u32, data: &[u8]) -> Tcp {
    Tcp::new(
        true,
        ACK | PSH,
        CLIENT_ISN.wrapping_add(1 + offset),
        SERVER_ISN + 1,
        data,
    )
}

/// A server segment at an offset of its stream, acknowledging so many client bytes.
pub fn server(offset: u32, acked: u32, data: &[u8]) -> Tcp {
    Tcp::new(
        false,
        ACK | PSH,
        SERVER_ISN + 1 + offset,
        CLIENT_ISN + 1 + acked,
        data,
    )
}
