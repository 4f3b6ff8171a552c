//! Flow: which flow a packet belongs to, how far its connection and its streams are, and when it
//! ends. Fragments become datagrams here and TCP segments become ordered bytes.
//!
//! ```text
//!  burst ─► fragments ─► table ─► TCP tracker ─► stream ─► burst with views
//!           defrag.rs    table.rs  handshake.rs   stream.rs   stage.rs
//!                                  tcp.rs         pages.rs
//!           straight.rs: what was expected next takes one short walk past all of it
//!  time ──► expiry.rs ─► FlowEnd views, alone in the burst, after all others
//! ```
//!
//! # How a lane uses it
//! - `FlowPlan::new(&config, lanes)` plans, `build(&hash, &mut regions)` allocates one [`FlowParts`]
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
//! new, has neither STREAM nor STREAM_NONE; a reset with bytes has both: it ends the stream, and they
//! are no part of it.

mod ask;
pub mod connection;
pub mod defrag;
pub mod depth;
pub mod expiry;
pub mod handshake;
pub mod notice;
pub mod pages;
pub mod policy;
pub mod rate;
pub mod record;
pub mod segment;
pub mod stage;
pub mod straight;
pub mod stream;
pub mod table;
pub mod tcp;
pub mod views;

pub use record::{EndReason, TcpPhase};
pub use stage::FlowStage;

use crate::config::{Config, RateTracking, Urgent};
use crate::memory::slab::Slabs;
use crate::memory::{BlockPool, MemoryError, PageKind, Regions, available_bytes, reserved_bytes};
use crate::packet::FRAME_LENGTH_MAX;
use std::fmt;

use crate::packet::FlowHandle;
use expiry::Ends;
use pages::{PAGE_BYTES, PagePool};
use rate::Rates;
use record::Tcp;
use stream::Limits;
use table::{
    DetectionSide, FlowHash, FlowSide, FlowTable, RecordSide, TableConfig, TableMode, TablePlan,
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
    /// The rate that makes an elephant of a flow.
    pub rate_tracking: RateTracking,
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
    /// Its flows' records, in the table's second lines.
    pub records: RecordSide,
    /// Their rates, where they are tracked.
    pub rates: Option<Rates>,
    /// TCP state.
    pub connections: Slabs<Tcp>,
    /// Stream bytes.
    pub pages: PagePool,
    /// Fragments.
    pub fragments: PagePool,
    /// Views.
    pub views: BlockPool,
    /// The pages that the table stands on.
    pub table_pages: PageKind,
}

impl FlowPlan {
    /// Divides what the configuration allows among the lanes.
    pub fn new(config: &Config, lanes: usize) -> FlowPlan {
        let lanes = lanes.max(1);
        let share = |bytes: u64| (bytes / lanes as u64 / u64::from(PAGE_BYTES)).max(1) as usize;
        FlowPlan {
            lanes,
            flows: config.flows_max as usize,
            rate_tracking: config.rate_tracking,
            connections: config.inspected_flows_max.div_ceil(lanes as u32).max(1),
            stream_pages: share(config.stream_memory),
            fragment_pages: share(config.defrag_memory),
            view_blocks: VIEW_BLOCKS,
        }
    }

    /// The flow table of one lane.
    ///
    /// # Errors
    /// More flows than a table can hold.
    pub fn table(&self) -> Result<TablePlan, MemoryError> {
        TablePlan::new(self.flows.div_ceil(self.lanes))
    }

    /// Slots of one lane's table: handles name one of them.
    fn slots(&self) -> Result<usize, MemoryError> {
        Ok(self.table()?.group_count as usize * table::GROUP_SLOTS as usize)
    }

    /// Bytes of all lanes, by what they are for.
    ///
    /// # Errors
    /// As [`FlowPlan::table`].
    pub fn sizes(&self) -> Result<[(&'static str, usize); 7], MemoryError> {
        let each = [
            ("flow table", self.table()?.size()),
            (
                "order of closed flows",
                Ends::closed_max(self.table()?.flows_max) * size_of::<FlowHandle>(),
            ),
            (
                "rates of flows",
                Rates::size_of(self.rate_tracking, self.slots()?),
            ),
            ("TCP state", Slabs::<Tcp>::size_of(self.connections)),
            ("stream pages", PagePool::size_of(self.stream_pages)),
            ("fragment pages", PagePool::size_of(self.fragment_pages)),
            ("views", self.view_blocks * VIEW_BLOCK_BYTES),
        ];
        Ok(each.map(|(what, size)| (what, size.saturating_mul(self.lanes))))
    }

    /// Refuses a plan that the machine has no memory for, before anything of it is taken.
    ///
    /// # Errors
    /// What was planned and what there is.
    pub fn check(&self, available: usize) -> Result<(), MemoryError> {
        let sizes = self.sizes()?;
        let planned = sizes
            .iter()
            .fold(0_usize, |sum, (_, size)| sum.saturating_add(*size));
        let what = "flow table, TCP state and pages together";
        if planned > available {
            return Err(MemoryError::TooMuch {
                what,
                planned,
                available,
            });
        }
        Ok(())
    }

    /// Allocates it.
    ///
    /// # Errors
    /// More than the machine has memory for.
    pub fn build(
        &self,
        hash: &FlowHash,
        regions: &mut Regions,
    ) -> Result<Vec<FlowParts>, MemoryError> {
        self.check(available_bytes().saturating_add(reserved_bytes()))?;
        let config = TableConfig::new(self.flows, self.lanes, TableMode::Owner);
        let (table, slots) = (FlowTable::build(&config, hash)?, self.slots()?);
        let table_pages = table.page_kind;
        let parts = table
            .sides
            .into_iter()
            .map(|(mut flows, detection)| FlowParts {
                records: flows
                    .take_records()
                    .expect("an owner's side has its records once"),
                flows,
                detection,
                table_pages,
                rates: Rates::new(self.rate_tracking, slots),
                connections: Slabs::new(self.connections, Tcp::default()),
                pages: PagePool::new(self.stream_pages),
                fragments: PagePool::new(self.fragment_pages),
                views: BlockPool::new(self.view_blocks, VIEW_BLOCK_BYTES, regions),
            });
        Ok(parts.collect())
    }
}

impl fmt::Display for FlowPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, sizes) = match (self.table(), self.sizes()) {
            (Ok(table), Ok(sizes)) => (table, sizes),
            (Err(error), _) | (_, Err(error)) => return write!(f, "{error}"),
        };
        let per_flow = table.size() / (table.flows_max as usize).max(1);
        let inspected = size_of::<Tcp>();
        let mut sum = 0;
        for (what, size) in sizes {
            sum += size;
            write!(f, "{what} {} MiB, ", size >> 20)?;
        }
        write!(
            f,
            "together {} MiB for {} lanes: {} flows of {per_flow} bytes, {} inspected ones of {inspected} more",
            sum >> 20,
            self.lanes,
            self.flows,
            u64::from(self.connections) * self.lanes as u64,
        )
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

#[cfg(any(test, fuzzing))]
#[path = "tests/bench.rs"]
pub mod bench;
#[cfg(any(test, fuzzing))]
pub mod twins;

#[cfg(test)]
mod tests;
