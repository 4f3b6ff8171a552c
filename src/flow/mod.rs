//! Flow: which flow a packet belongs to, how far its connection and its streams are, and when it
//! ends. Fragments become datagrams here and TCP segments become ordered bytes.
//!
//! ```text
//!  burst ─► fragments ─► table ─► TCP tracker ─► stream ─► burst with views
//!           defrag.rs    table.rs  handshake.rs   stream.rs   stage.rs
//!                                  tcp.rs         pages.rs
//!  time ──► expiry.rs ─► FlowEnd views, alone in the burst, after all others
//! ```
//!
//! # How a lane uses it
//! - `FlowPlan::new(&config, lanes)` plans, `build(key, &mut regions)` allocates one [`FlowParts`]
//!   per lane, `FlowStage::new(&config, &regions, &contexts, parts)` gives the stage and the match
//!   stage's half of the table.
//! - `run(&mut burst, &mut emit)`: annotates the burst in order and inserts views:
//!   `Kind::Datagram` (and what it carries) right after the fragment that completed it,
//!   `Kind::Stream` right after the packet that filled (or gave up) the gap before its bytes.
//!   At the end of the burst stand chains **without a frame**: `Kind::Stream` bytes that were still
//!   waiting when their flow ended, followed by the flow's `Kind::FlowEnd`.
//! - `idle(&mut burst, &mut emit)`: when no packet comes; `finish(&mut burst, &mut emit)`: at the
//!   end of a capture, until it returns true. Both fill an empty burst with FlowEnd chains.
//! - `recycle(&mut handle)`: once for every view that comes home: frees its block; a FlowEnd makes
//!   its slot usable again. The handle then goes back to `emit.views`.
//!
//! What flow decides itself (invalid TCP, conflicting overlap, limits) is in `context.verdict` with
//! `flag::DECIDED` when inline; a tap gets `flag::WOULD_DROP` and `would`, and the payload is then
//! marked `flag::STREAM_NONE`. A packet whose bytes wait behind a gap, and one that brings nothing
//! new, has neither STREAM nor STREAM_NONE.

pub mod connection;
pub mod defrag;
pub mod expiry;
pub mod handshake;
pub mod notice;
pub mod pages;
pub mod policy;
pub mod record;
pub mod segment;
pub mod stage;
pub mod stream;
pub mod table;
pub mod tcp;
pub mod views;

pub use record::{EndReason, TcpPhase};
pub use stage::FlowStage;

use crate::config::{Config, Urgent};
use crate::memory::slab::Slabs;
use crate::memory::{BlockPool, MemoryError, Regions};
use crate::packet::FRAME_LENGTH_MAX;
use pages::{PAGE_BYTES, PagePool};
use record::{Record, Tcp};
use stream::Limits;
use table::{
    DetectionSide, FlowHash, FlowSide, FlowTable, GROUP_SLOTS, SECRET_COUNT, TableConfig,
    TableMode, TablePlan,
};

/// Blocks for views per lane: datagrams and stream bytes on their way through match and verdict.
pub const VIEW_BLOCKS: usize = 64;
/// Bytes of such a block: the longest datagram, in whole cache lines.
pub const VIEW_BLOCK_BYTES: usize = (FRAME_LENGTH_MAX as usize).next_multiple_of(64);
/// Pages that one direction may keep at most, waiting and unacknowledged bytes together (4 MiB).
pub const KEPT_PAGES_MAX: u32 = (4 << 20) / PAGE_BYTES;

/// What the flow stages of all lanes will take, before anything is allocated.
#[derive(Clone, Copy, Debug)]
pub struct FlowPlan {
    /// Lanes.
    pub lanes: usize,
    /// Flows of all lanes.
    pub flows: usize,
    /// TCP connections with state, per lane.
    pub connections: u32,
    /// Stream pages per lane.
    pub stream_pages: usize,
    /// Fragment pages per lane.
    pub fragment_pages: usize,
    /// Blocks for views per lane.
    pub view_blocks: usize,
}

/// What one lane's flow stage is made of.
pub struct FlowParts {
    /// Its half of the table.
    pub flows: FlowSide,
    /// The match stage's half.
    pub detection: DetectionSide,
    /// Records by slot.
    pub records: Vec<Record>,
    /// TCP state.
    pub connections: Slabs<Tcp>,
    /// Stream bytes.
    pub pages: PagePool,
    /// Fragments.
    pub fragments: PagePool,
    /// Views.
    pub views: BlockPool,
}

impl FlowPlan {
    /// Divides what the configuration allows among the lanes.
    pub fn new(config: &Config, lanes: usize) -> FlowPlan {
        let lanes = lanes.max(1);
        let share = |bytes: u64| (bytes / lanes as u64 / u64::from(PAGE_BYTES)).max(1) as usize;
        FlowPlan {
            lanes,
            flows: config.flows_max as usize,
            connections: config.inspected_flows_max.div_ceil(lanes as u32).max(1),
            stream_pages: share(config.stream_memory),
            fragment_pages: share(config.defrag_memory),
            view_blocks: VIEW_BLOCKS,
        }
    }

    /// Allocates it. `key` seeds the table's hash; a new one each start.
    ///
    /// # Errors
    /// A flow table that the machine has no memory for.
    pub fn build(&self, key: u64, regions: &mut Regions) -> Result<Vec<FlowParts>, MemoryError> {
        let config = TableConfig::new(self.flows, self.lanes, TableMode::Owner);
        let hash = FlowHash::new([key; SECRET_COUNT]);
        let table = FlowTable::build(&config, &hash)?;
        let plan = TablePlan::new(self.flows.div_ceil(self.lanes))?;
        let slots = plan.group_count as usize * GROUP_SLOTS as usize;
        let parts = table.sides.into_iter().map(|(flows, detection)| FlowParts {
            flows,
            detection,
            records: vec![Record::default(); slots],
            connections: Slabs::new(self.connections, Tcp::default()),
            pages: PagePool::new(self.stream_pages),
            fragments: PagePool::new(self.fragment_pages),
            views: BlockPool::new(self.view_blocks, VIEW_BLOCK_BYTES, regions),
        });
        Ok(parts.collect())
    }
}

/// The stream limits of a configuration.
fn limits(config: &Config) -> Limits {
    Limits {
        depth: config.stream_depth,
        ahead_pages_max: stream::pages_of(config.stream_hole_bytes_max).clamp(1, KEPT_PAGES_MAX),
        kept_pages_max: KEPT_PAGES_MAX,
        inline: config.mode == crate::config::Mode::Inline,
        urgent_gap: config.urgent == Urgent::Gap,
    }
}

#[cfg(test)]
mod tests;
