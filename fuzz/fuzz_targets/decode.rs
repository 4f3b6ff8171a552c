//! Any bytes on any link type: decode ends without a panic, its positions lie within the bytes,
//! no context is lost, and the accessors of headers read what it accepted.
//!
//! Input: one byte for the link type, one for settings (bit 0: inline, bit 1: checksums off),
//! the frame.

#![no_main]

use std::cell::RefCell;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sluice::config::{Config, Mode};
use sluice::counters::Counters;
use sluice::decode::{self, DecodeStage, LinkType, arp, icmp, ipv4, ipv6, sctp, tcp, udp};
use sluice::event::{Emit, EventQueue};
use sluice::memory::{Arena, Block, BlockPool, Handle, Regions};
use sluice::packet::{BURST_VIEWS_MAX, Burst, Context, flag};

const LINKS: [u32; 12] = [1, 101, 228, 229, 0, 108, 113, 276, 9, 50, 51, 104];
const VIEWS: usize = 4;
const BLOCK: usize = 1 << 17;

struct Rig {
    stages: [DecodeStage; 4],
    emit: Emit,
    contexts: Arc<Arena<Context>>,
    regions: Arc<Regions>,
    burst: Burst,
    frame: Option<Handle>,
    pool: BlockPool,
    block: Block,
}

impl Rig {
    fn new() -> Rig {
        let mut regions = Regions::default();
        let mut pool = BlockPool::new(1, BLOCK, &mut regions);
        let block = pool.take().expect("a new pool has its block");
        let regions = Arc::new(regions);
        let (contexts, mut views) = Arena::new(VIEWS + 1, Context::default);
        let frame = views.pop();
        let stages = std::array::from_fn(|bits| {
            let config = Config {
                mode: if bits & 1 != 0 {
                    Mode::Inline
                } else {
                    Mode::Tap
                },
                checksum_validation: bits & 2 == 0,
                ..Config::default()
            };
            DecodeStage::new(
                Arc::new(config),
                Arc::clone(&regions),
                Arc::clone(&contexts),
            )
        });
        Rig {
            stages,
            emit: Emit {
                views,
                events: EventQueue::new(1),
                built: Vec::new(),
                built_count: 0,
                counters: Arc::new(Counters::default()),
                lane: 0,
                now_ns: 0,
                listener: sluice::event::Listener::Live,
            },
            contexts,
            regions,
            burst: Vec::with_capacity(BURST_VIEWS_MAX),
            frame,
            pool,
            block,
        }
    }

    fn run(&mut self, link: u32, settings: u8, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(BLOCK)];
        self.pool.bytes_mut(&mut self.block)[..bytes.len()].copy_from_slice(bytes);
        let mut frame = self.frame.take().expect("the frame's context came back");
        let context = self.contexts.get_mut(&mut frame);
        context.reset();
        context.span = self.pool.span(&self.block, 0, bytes.len());
        context.link = LinkType::from_pcap(link) as u8;
        self.burst.push(frame);
        let stage = &mut self.stages[usize::from(settings & 3)];
        stage.run(&mut self.burst, &mut self.emit);
        let mut more = true;
        for packet in self.burst.drain(..) {
            assert!(more, "a packet follows only where its carrier says so");
            more = packet.more();
            let context = self.contexts.get(&packet);
            check(context, self.regions.bytes(context.span));
            if self.frame.is_none() {
                self.frame = Some(packet);
            } else {
                self.emit.views.push(packet);
            }
        }
        assert!(!more);
        assert_eq!(self.emit.views.len(), VIEWS, "no context is lost");
    }
}

fn check(context: &Context, bytes: &[u8]) {
    if context.has(flag::TRANSPORT) {
        let end = usize::from(context.payload) + usize::from(context.payload_length);
        assert!(end <= bytes.len());
        assert!(context.l3 < context.l4 && context.l4 < context.payload);
    }
    if context.has(flag::FRAGMENT) {
        assert!(decode::fragment(context, bytes).is_some());
    }
    let (l3, l4) = (context.l3, context.l4);
    if let Some(ip) = ipv4::Ipv4::at(bytes, l3) {
        std::hint::black_box((ip.options().count(), ip.total_length(), ip.src()));
    }
    if let Some(ip) = ipv6::Ipv6::at(bytes, l3) {
        std::hint::black_box((ip.header_with_extensions().len(), ip.src(), ip.dst()));
    }
    if let Some(tcp) = tcp::Tcp::at(bytes, l4) {
        std::hint::black_box((tcp.known(), tcp.options().count()));
    }
    if let Some(udp) = udp::Udp::at(bytes, l4) {
        std::hint::black_box(udp.length());
    }
    if let Some(icmp) = icmp::Icmp::at(bytes, l4) {
        std::hint::black_box((icmp.id_v4(), icmp.seq_v6(), icmp.mtu_v6(), icmp.quoted()));
    }
    if let Some(sctp) = sctp::Sctp::at(bytes, l4, bytes.len()) {
        std::hint::black_box(sctp.chunks().map(|chunk| chunk.data().len()).sum::<usize>());
    }
    if let Some(arp) = arp::Arp::at(bytes, l3) {
        std::hint::black_box((arp.sender_mac(), arp.target_ip()));
    }
    std::hint::black_box(decode::addresses(context, bytes));
}

thread_local! {
    static RIG: RefCell<Rig> = RefCell::new(Rig::new());
}

fuzz_target!(|input: &[u8]| {
    if let [link, settings, frame @ ..] = input {
        let link = LINKS[usize::from(*link) % LINKS.len()];
        RIG.with_borrow_mut(|rig| rig.run(link, *settings, frame));
    }
});
