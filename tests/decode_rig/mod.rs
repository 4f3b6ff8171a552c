//! What the decode tests share: a capture reader that is not the port's, and one worker's worth
//! of memory to run the stage on. No test lives here.

#![allow(dead_code)] // each test binary uses its part

pub mod build;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice::config::Config;
use sluice::counters::Counters;
use sluice::decode::{Anomaly, DecodeStage, LinkType};
use sluice::event::{Emit, EventQueue};
use sluice::memory::{Arena, Block, BlockPool, Handle, Regions};
use sluice::packet::{Burst, Context};

/// A frame of a capture.
pub struct Frame {
    pub link: u32,
    pub bytes: Vec<u8>,
}

/// Reads a capture, classic or pcapng; stops where it stops making sense.
pub fn read_capture(path: &Path) -> Vec<Frame> {
    let bytes = std::fs::read(path).expect("a capture of the shared folder can be read");
    let mut frames = Vec::new();
    let _ = match bytes.first_chunk::<4>() {
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => read_blocks(&bytes, &mut frames),
        Some(_) => read_classic(&bytes, &mut frames),
        None => None,
    };
    frames
}

fn word(bytes: &[u8], at: usize, big: bool) -> Option<u32> {
    let word = *bytes.get(at..)?.first_chunk::<4>()?;
    Some(if big {
        u32::from_be_bytes(word)
    } else {
        u32::from_le_bytes(word)
    })
}

fn half(bytes: &[u8], at: usize, big: bool) -> Option<u16> {
    let half = *bytes.get(at..)?.first_chunk::<2>()?;
    Some(if big {
        u16::from_be_bytes(half)
    } else {
        u16::from_le_bytes(half)
    })
}

fn read_classic(bytes: &[u8], frames: &mut Vec<Frame>) -> Option<()> {
    let big = match word(bytes, 0, false)? {
        0xa1b2_c3d4 | 0xa1b2_3c4d => false,
        0xd4c3_b2a1 | 0x4d3c_b2a1 => true,
        _ => return None,
    };
    let link = word(bytes, 20, big)? & 0xffff;
    let mut at = 24;
    loop {
        let length = word(bytes, at + 8, big)? as usize;
        let frame = bytes.get(at + 16..at.checked_add(16 + length)?)?;
        frames.push(Frame {
            link,
            bytes: frame.to_vec(),
        });
        at += 16 + length;
    }
}

fn read_blocks(bytes: &[u8], frames: &mut Vec<Frame>) -> Option<()> {
    let (mut at, mut big, mut links) = (0, false, Vec::new());
    loop {
        let mut kind = word(bytes, at, big)?;
        if kind == 0x0a0d_0d0a {
            big = word(bytes, at + 8, true)? == 0x1a2b_3c4d;
            links.clear();
            kind = 0x0a0d_0d0a;
        }
        let length = word(bytes, at + 4, big)? as usize;
        let block = bytes.get(at..at.checked_add(length)?)?;
        match kind {
            1 => links.push(u32::from(half(block, 8, big)?)),
            3 => {
                let told = word(block, 8, big)? as usize;
                let kept = told.min(length.checked_sub(16)?);
                frames.push(Frame {
                    link: *links.first()?,
                    bytes: block.get(12..12 + kept)?.to_vec(),
                });
            }
            6 => {
                let interface = word(block, 8, big)? as usize;
                let kept = word(block, 20, big)? as usize;
                frames.push(Frame {
                    link: *links.get(interface)?,
                    bytes: block.get(28..28 + kept)?.to_vec(),
                });
            }
            _ => {}
        }
        if length < 12 {
            return None;
        }
        at += length;
    }
}

/// The shared folder, or a loud skip.
pub fn shared() -> Option<PathBuf> {
    let path = std::env::var_os("SLUICE_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    if path.join("captures").is_dir() {
        return Some(path);
    }
    assert!(
        std::env::var_os("SLUICE_REQUIRE_SHARED").is_none(),
        "SLUICE_REQUIRE_SHARED is set and {} has no captures",
        path.display()
    );
    eprintln!("SKIPPED: no shared captures at {}", path.display());
    None
}

/// All captures of the shared folder and of its conformance cases, by name.
pub fn all_captures(shared: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for folder in ["captures", "conformance/captures"] {
        let folder = shared.join(folder);
        for entry in std::fs::read_dir(&folder).expect("the shared folder is complete") {
            let path = entry.expect("a folder's entries can be read").path();
            let name = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            if name.starts_with("pcap") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    assert!(paths.len() > 2000, "the shared captures are there");
    paths
}

const FRAMES: usize = 64;
const BLOCK: usize = 1 << 18;

/// Memory for one worker, and the stage.
pub struct Rig {
    pub stage: DecodeStage,
    pub emit: Emit,
    pub contexts: Arc<Arena<Context>>,
    pub regions: Arc<Regions>,
    frames: Vec<Handle>,
    burst: Burst,
    pool: BlockPool,
    block: Block,
    views: usize,
}

impl Rig {
    pub fn new(config: Config, views: usize) -> Rig {
        let mut regions = Regions::default();
        let mut pool = BlockPool::new(1, BLOCK, &mut regions);
        let block = pool.take().expect("a new pool has its blocks");
        let regions = Arc::new(regions);
        let (contexts, mut handles) = Arena::new(FRAMES + views, Context::default);
        let frames = handles.split_off(views);
        let emit = Emit {
            views: handles,
            events: EventQueue::new(1),
            built: Vec::new(),
            built_count: 0,
            counters: Arc::new(Counters::default()),
            lane: 0,
            now_ns: 0,
            listener: sluice::event::Listener::Live,
        };
        Rig {
            stage: DecodeStage::new(
                Arc::new(config),
                Arc::clone(&regions),
                Arc::clone(&contexts),
            ),
            emit,
            contexts,
            regions,
            frames,
            burst: Vec::with_capacity(sluice::packet::BURST_VIEWS_MAX),
            pool,
            block,
            views,
        }
    }

    /// Runs frames through the stage in one burst; gives contexts and bytes of all packets, in
    /// order, and checks that the chains and the contexts are in order.
    pub fn run(&mut self, link: u32, frames: &[&[u8]]) -> Vec<(Context, Vec<u8>)> {
        assert!(frames.len() <= FRAMES);
        let mut at = 0;
        for (order, frame) in frames.iter().enumerate() {
            let place = self.pool.bytes_mut(&mut self.block);
            place[at..at + frame.len()].copy_from_slice(frame);
            let mut handle = self.frames.pop().expect("frames come back");
            let context = self.contexts.get_mut(&mut handle);
            context.reset();
            context.span = self.pool.span(&self.block, at, frame.len());
            context.link = LinkType::from_pcap(link) as u8;
            context.order = order as u64 + 1;
            handle.set_length(frame.len() as u32);
            self.burst.push(handle);
            at += frame.len();
        }
        self.stage.run(&mut self.burst, &mut self.emit);
        let mut out = Vec::new();
        let mut follows = false;
        for handle in self.burst.drain(..) {
            let context = self.contexts.get(&handle).clone();
            let is_frame = context.kind == sluice::packet::Kind::Frame;
            assert_eq!(
                is_frame, !follows,
                "views follow their carrier, frames do not"
            );
            follows = handle.more();
            out.push((context.clone(), self.regions.bytes(context.span).to_vec()));
            if is_frame {
                self.frames.push(handle);
            } else {
                self.emit.views.push(handle);
            }
        }
        assert!(!follows, "the last packet has no follower");
        assert_eq!(self.frames.len(), FRAMES);
        assert_eq!(self.emit.views.len(), self.views, "no context is lost");
        out
    }

    /// Runs one frame.
    pub fn one(&mut self, link: u32, frame: &[u8]) -> Vec<(Context, Vec<u8>)> {
        self.run(link, &[frame])
    }
}

/// Names of the anomalies of a packet.
pub fn names(context: &Context) -> Vec<&'static str> {
    context
        .noted()
        .iter()
        .filter_map(|&code| Anomaly::from_code(code))
        .map(Anomaly::name)
        .collect()
}
