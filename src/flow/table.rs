//! The flow table: one preallocated, lock-free, open-addressed hash table for IPv4 and IPv6.
//!
//! An array of *blocks*: a 64-byte *group* of thirty 16-bit tag words amid its thirty *entries*, two
//! cache lines each, at a fixed place, so no flow ever moves and a slot number is a name.
//! A search touches the tag line and line 0 of the entry; it stops at the first group that no flow
//! passed over. A table is made as *sides*: per lane one [`FlowSide`] (finds, creates, closes, line
//! 0) and one [`DetectionSide`] (line 1), which two workers may use at the same moment. An owner's
//! flow stage has the rest of line 1 besides, by [`RecordSide`].
//! Two modes: [`TableMode::Owner`] gives every lane a shard that it alone writes, with plain stores;
//! [`TableMode::Shared`] lets every lane write the one table by CAS (the protocol is in
//! table/core.rs). A closed or evicted flow waits in *quarantine* until the caller releases it,
//! which it does when the flow's end has passed all stages that may still hold its handle.
//!
//! Not here: what a flow's state means (flow/record.rs, tcp.rs), larger per-flow memory
//! (flow/slab.rs), clocks. Invariant: nothing here allocates after [`FlowTable::build`].
//! Read first: Fan et al., "MemC3" (NSDI 2013) for tags; Facebook's F14 for overflow counts; Lim et
//! al., "MICA" (NSDI 2014) for exclusive shards.

mod burst;
mod core;
mod evict;
mod hash;
mod line;
mod probe;
mod protocol;
mod reader;

pub use self::hash::{FlowHash, KeyWords, SECRET_COUNT, key_words, tuple_of};
pub use self::line::{DetectionLine, FlowLine, FlowState, GROUP_SLOTS};
pub use self::probe::Instructions;
pub use self::reader::{Audit, FlowSnapshot, TableReader};

use self::core::{Core, View};
use super::record::Record;
use crate::memory::{MemoryError, PageKind, PageWish};
use crate::packet::{FlowHandle, Tuple};
use crate::time::Tick;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// Flows of one table or shard at most: slots must fit 31 bits with room for the load factor.
pub const FLOWS_MAX: usize = 1 << 30;
/// Evicted flows that may wait for [`FlowSide::drain_evicted`]; beyond, new flows are refused.
pub const EVICTED_MAX: usize = 256;
/// Share of slots that `flows_max` flows fill, percent. Above 80 some paths fill up by chance.
const LOAD_PERCENT: usize = 75;
/// Fewest groups of a table: a path must not meet itself.
const GROUPS_MIN: usize = 11;
/// Number of expiry classes.
pub const EXPIRY_CLASSES: usize = 16;

/// Who may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableMode {
    /// A shard per lane, written by its flow stage alone.
    Owner,
    /// One table, written by all lanes.
    Shared,
}

/// Whether a flow has proved that both ends exist. Half-open ones are evicted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Only one side has been seen.
    HalfOpen,
    /// Both have.
    Established,
}

/// What a packet may do when its flow is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Nothing: the answer is then `Missing`.
    Never,
    /// Create a flow of this class.
    As(Class),
}

/// One packet's question.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Canonical tuple.
    pub tuple: &'a Tuple,
    /// What to do on a miss.
    pub admit: Admit,
}

/// The table's answer to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The flow was there.
    Found(FlowHandle),
    /// It is new, with zeroed state; `last_seen` is now.
    Created(FlowHandle),
    /// It is not there, and this packet may not create it.
    Missing,
    /// It is not there and found no room.
    Full(FullReason),
}

/// Why a flow found no room. Each has a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullReason {
    /// `flows_max` flows live and policy lets this newcomer displace none of its path.
    Limit,
    /// Every slot of the path is taken or in quarantine.
    NoRoom,
    /// A group of the path was passed over by too many flows (colliding keys).
    Crowded,
    /// The home group has its share of half-open flows; the oldest was evicted for the next one.
    HalfOpenCap,
    /// The caller has not drained the evicted flows.
    Backlog,
    /// Shared mode: other lanes won every attempt.
    Contended,
}

/// Who gives way when the table is full.
#[derive(Clone, Copy, Debug)]
pub struct TablePolicy {
    /// Half-open flows of one home group (thirty slots); a further one displaces the oldest.
    pub half_open_per_group_max: u8,
    /// Whether an established newcomer may displace an established flow once no half-open is left.
    /// A half-open newcomer never does.
    pub established_yields: bool,
    /// Expiry classes (bit n: class n) that are evicted only when nothing else is left: the
    /// condemned.
    pub evict_last: u16,
}

impl Default for TablePolicy {
    fn default() -> TablePolicy {
        TablePolicy {
            half_open_per_group_max: 8,
            established_yields: true,
            evict_last: 0,
        }
    }
}

/// Everything a table needs to know at start.
#[derive(Clone, Copy, Debug)]
pub struct TableConfig {
    /// Concurrent flows of all lanes together.
    pub flows_max: usize,
    /// Lanes; each gets its two sides.
    pub lanes: usize,
    /// Who may write.
    pub mode: TableMode,
    /// Pages to ask for.
    pub pages: PageWish,
    /// Who gives way.
    pub policy: TablePolicy,
    /// Instructions of the probe; [`Instructions::detect`] unless a test wants another.
    pub instructions: Instructions,
}

impl TableConfig {
    /// The usual settings for so many flows and lanes.
    pub fn new(flows_max: usize, lanes: usize, mode: TableMode) -> TableConfig {
        TableConfig {
            flows_max,
            lanes,
            mode,
            pages: PageWish::Best,
            policy: TablePolicy::default(),
            instructions: Instructions::detect(),
        }
    }
}

/// What one table (or shard) will take, known before anything is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePlan {
    /// Flows it holds at once.
    pub flows_max: u32,
    /// Groups, a prime number.
    pub group_count: u32,
}

impl TablePlan {
    /// The plan for so many flows.
    pub fn new(flows_max: usize) -> Result<TablePlan, MemoryError> {
        if flows_max > FLOWS_MAX {
            let (what, limit) = ("flow table", FLOWS_MAX);
            return Err(MemoryError::Unplannable {
                what,
                planned: flows_max,
                limit,
            });
        }
        let slots = flows_max * 100 / LOAD_PERCENT;
        let mut group_count = slots.div_ceil(GROUP_SLOTS as usize).max(GROUPS_MIN) | 1;
        while !is_prime(group_count) {
            group_count += 2;
        }
        Ok(TablePlan {
            flows_max: flows_max as u32,
            group_count: group_count as u32,
        })
    }

    /// Bytes of all blocks.
    pub fn size(&self) -> usize {
        self.group_count as usize * size_of::<line::Block>()
    }
}

impl fmt::Display for TablePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_flow = self.size() / (self.flows_max as usize).max(1);
        let (flows, mib) = (self.flows_max, self.size() >> 20);
        write!(f, "{flows} flows: {mib} MiB ({per_flow} bytes a flow)")
    }
}

fn is_prime(number: usize) -> bool {
    (2..)
        .take_while(|divisor| divisor * divisor <= number)
        .all(|divisor| !number.is_multiple_of(divisor))
}

/// A table as built: the sides to hand to the lanes.
pub struct FlowTable {
    /// One pair per lane.
    pub sides: Vec<(FlowSide, DetectionSide)>,
    /// For other threads: looks, never writes. One per shard.
    pub readers: Vec<TableReader>,
    /// The pages it stands on (the worst of all mappings).
    pub page_kind: PageKind,
    /// Bytes mapped.
    pub size: usize,
}

impl FlowTable {
    /// Plans, checks against the memory there is, maps and touches.
    pub fn build(config: &TableConfig, hash: &FlowHash) -> Result<FlowTable, MemoryError> {
        let lanes = config.lanes.max(1);
        let (shards, sides_each) = match config.mode {
            TableMode::Owner => (lanes, 1),
            TableMode::Shared => (1, lanes),
        };
        let plan = TablePlan::new(config.flows_max.div_ceil(shards))?;
        let (planned, available) = (plan.size() * shards, crate::memory::available_bytes());
        if config.pages != PageWish::Best && planned > available {
            return Err(MemoryError::TooMuch {
                what: "flow table",
                planned,
                available,
            });
        }
        let mut table = FlowTable {
            sides: Vec::new(),
            readers: Vec::new(),
            page_kind: PageKind::Huge,
            size: 0,
        };
        for _ in 0..shards {
            let core = Arc::new(Core::new(&plan, config, hash.clone(), sides_each)?);
            table.size += core.size();
            table.page_kind = table.page_kind.worse(core.page_kind());
            for side in 0..sides_each {
                let flow = FlowSide::new(Arc::clone(&core), config, side, sides_each);
                table.sides.push((
                    flow,
                    DetectionSide {
                        core: Arc::clone(&core),
                    },
                ));
            }
            table.readers.push(TableReader::new(core));
        }
        Ok(table)
    }
}

/// What a side did, for the lane to publish. All only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounters {
    /// Flows created.
    pub created: u64,
    /// Of these, placed outside their home group.
    pub overflowed: u64,
    /// Flows closed, for whatever cause (expired and evicted ones included).
    pub closed: u64,
    /// Slots given back.
    pub released: u64,
    /// Flows closed by the sweep.
    pub expired: u64,
    /// Half-open flows displaced because the table was full.
    pub evicted_half_open: u64,
    /// Half-open flows displaced because their group had its share.
    pub evicted_half_open_cap: u64,
    /// Established flows displaced.
    pub evicted_established: u64,
    /// Flows of `evict_last` classes displaced.
    pub evicted_last: u64,
    /// New flows refused, by [`FullReason`] in its order.
    pub full: [u64; 6],
}

/// Idle ticks after which a flow ends, by [`FlowState::expiry`] (modulo [`EXPIRY_CLASSES`]).
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Ticks; u32::MAX means never, 0 at once, whatever the age seems to be.
    pub ticks: [u32; EXPIRY_CLASSES],
}

/// The flow stage's half: searches, life and death, line 0. One thread at a time.
pub struct FlowSide {
    core: Arc<Core>,
    mode: TableMode,
    policy: TablePolicy,
    instructions: Instructions,
    /// This side's line of `Core::populations`.
    side: usize,
    /// Groups this side sweeps: first, end, next.
    sweep: (u64, u64, u64),
    /// A bit per group: it may hold a flow (evict.rs). Empty in a shared table: there each may.
    holding: Vec<u64>,
    counters: TableCounters,
    /// Capacity [`EVICTED_MAX`], never more.
    evicted: Vec<FlowHandle>,
    /// Until taken; None in a shared table.
    records: Option<RecordSide>,
    /// What a burst remembers of its packets; away while one is answered.
    pipeline: Option<Box<burst::Pipeline>>,
}

impl FlowSide {
    fn new(core: Arc<Core>, config: &TableConfig, side: usize, sides: usize) -> FlowSide {
        let share = core.group_count().div_ceil(sides as u64);
        let first = share * side as u64;
        let end = (first + share).min(core.group_count());
        let instructions = config.instructions.or_scalar();
        let records = (config.mode == TableMode::Owner).then(|| RecordSide {
            core: Arc::clone(&core),
        });
        FlowSide {
            records,
            core,
            mode: config.mode,
            policy: config.policy,
            instructions,
            side,
            sweep: (first.min(end), end, first.min(end)),
            holding: evict::nothing_held(config.mode, end),
            counters: TableCounters::default(),
            evicted: Vec::with_capacity(EVICTED_MAX),
            pipeline: Some(Box::default()),
        }
    }

    /// Answers a burst: hashes, prefetches and probes it together, and shows each packet to `visitor`
    /// in order, while the lines of later packets are under way. Two requests with the same new
    /// tuple give one flow (`Created`, then `Found`).
    #[inline(always)]
    pub fn burst_each(&mut self, requests: &[Request<'_>], now: Tick, visitor: &mut impl Visitor) {
        burst::run(self, requests, now, visitor);
    }

    /// As [`FlowSide::burst_each`], with the answers written to a slice (as many as the shorter of
    /// the two). Entries' first lines are in cache afterwards.
    pub fn burst(&mut self, requests: &[Request<'_>], now: Tick, answers: &mut [Answer]) {
        let count = requests.len().min(answers.len());
        let requests = requests.get(..count).unwrap_or_default();
        self.burst_each(requests, now, &mut Notes(answers));
    }

    /// One packet's question alone.
    pub fn find_or_create(&mut self, tuple: &Tuple, admit: Admit, now: Tick) -> Answer {
        burst::one(self, &Request { tuple, admit }, now)
    }

    /// Line 0 of a flow, alive or in quarantine; None if the handle is stale. In owner mode reads
    /// and writes are this side's alone; in shared mode change the state by [`FlowSide::update`].
    #[inline(always)]
    pub fn line(&self, handle: FlowHandle) -> Option<&FlowLine> {
        self.core.line(handle)
    }

    /// Changes a flow's state as one step that no other side can come between; None if the handle
    /// is stale.
    #[inline(always)]
    pub fn update<R>(
        &self,
        handle: FlowHandle,
        change: impl FnOnce(&mut FlowState) -> R,
    ) -> Option<R> {
        self.change(handle, |line| change_state(line, change))
    }

    /// As [`FlowSide::update`], and the flow was seen now: what a packet usually does.
    #[inline(always)]
    pub fn refresh<R>(
        &self,
        handle: FlowHandle,
        now: Tick,
        change: impl FnOnce(&mut FlowState) -> R,
    ) -> Option<R> {
        self.change(handle, |line| {
            line.touch(now);
            change_state(line, change)
        })
    }

    #[inline(always)]
    fn change<R>(&self, handle: FlowHandle, change: impl FnOnce(&FlowLine) -> R) -> Option<R> {
        let line = self.core.line(handle)?;
        if self.mode == TableMode::Owner {
            return Some(change(line));
        }
        let view = View::<_, true>::plain(&self.core);
        protocol::enter(&view, handle).then(|| {
            let result = change(line);
            protocol::leave(&view, handle);
            result
        })
    }

    /// Marks a half-open flow established. False if it was not half-open, or is gone.
    pub fn promote(&mut self, handle: FlowHandle) -> bool {
        self.core.holds(handle)
            && match self.mode {
                TableMode::Owner => protocol::promote(&View::<_, false>::plain(&self.core), handle),
                TableMode::Shared => protocol::promote(&View::<_, true>::plain(&self.core), handle),
            }
    }

    /// The class of a flow that can be found; None if it is closed or gone.
    pub fn class(&self, handle: FlowHandle) -> Option<Class> {
        self.core.line(handle)?;
        Class::of(self.core.tag_word(handle.slot)?.load(Acquire))
    }

    /// Ends a flow: no packet finds it any more, its slot waits in quarantine. False if it was
    /// closed before, or is gone.
    pub fn close(&mut self, handle: FlowHandle) -> bool {
        let closed = self.core.holds(handle)
            && match self.mode {
                TableMode::Owner => protocol::close(&View::<_, false>::plain(&self.core), handle),
                TableMode::Shared => protocol::close(&View::<_, true>::plain(&self.core), handle),
            };
        if closed {
            self.counters.closed += 1;
            self.publish_closed();
        }
        closed
    }

    /// Frees a closed flow's slot; its handles are stale from here on. False if not in quarantine.
    pub fn release(&mut self, handle: FlowHandle) -> bool {
        let released = self.core.holds(handle)
            && match self.mode {
                TableMode::Owner => protocol::release(&View::<_, false>::plain(&self.core), handle),
                TableMode::Shared => protocol::release(&View::<_, true>::plain(&self.core), handle),
            };
        self.counters.released += u64::from(released);
        released
    }

    /// Flows evicted by bursts and not drained yet: each is closed, still readable, and owes the
    /// caller a FlowEnd and a release.
    pub fn evicted(&self) -> &[FlowHandle] {
        &self.evicted
    }

    /// Takes the oldest evicted flow from the list; None when there is none.
    pub fn pop_evicted(&mut self) -> Option<FlowHandle> {
        self.evicted.pop()
    }

    /// Looks at up to `groups_max` groups, closes every flow idle for longer than its class allows
    /// and hands it over; each owes a FlowEnd and a release. Successive calls go round.
    pub fn sweep(
        &mut self,
        groups_max: u32,
        now: Tick,
        timeouts: &Timeouts,
        expired: impl FnMut(FlowHandle),
    ) {
        evict::sweep(self, groups_max, now, timeouts, expired);
    }

    /// The records of this side's table: once, and only where it is the only owner.
    pub fn take_records(&mut self) -> Option<RecordSide> {
        self.records.take()
    }

    /// Cache lines that the search for a tuple touches: tag lines, and entries whose tag agrees. For
    /// the bench and `doctor`; not for the path of a packet.
    pub fn lines_touched(&self, tuple: &Tuple) -> u32 {
        self.core.lines_touched(&key_words(tuple))
    }

    /// Groups this side has to sweep for one whole round.
    pub fn sweep_groups(&self) -> u32 {
        (self.sweep.1 - self.sweep.0) as u32
    }

    /// What this side did so far.
    pub fn counters(&self) -> &TableCounters {
        &self.counters
    }

    /// Flows alive in the whole table (of this shard, in owner mode).
    pub fn population(&self) -> u64 {
        self.core.population()
    }

    /// Flows it holds at once (of this shard, in owner mode).
    pub fn flows_max(&self) -> u32 {
        self.core.flows_max
    }

    /// The hash of this table.
    pub fn hash(&self) -> &FlowHash {
        &self.core.hash
    }

    fn publish_created(&self) {
        if let Some(population) = self.core.populations.get(self.side) {
            population.created.store(self.counters.created, Relaxed);
        }
    }

    fn publish_closed(&self) {
        if let Some(population) = self.core.populations.get(self.side) {
            population.closed.store(self.counters.closed, Relaxed);
        }
    }
}

/// What a stage does with each packet of a burst. A trait and not a closure, because `visit` must be
/// `#[inline(always)]`: called, its argument passes through memory at 12 ns a packet.
pub trait Visitor {
    /// Whether each flow's record is asked for ahead of its use.
    const RECORDS: bool = false;

    /// Takes one packet; the calls come in the order of the requests.
    fn visit(&mut self, visit: Visit<'_>);
}

/// Writes the answers down.
struct Notes<'a>(&'a mut [Answer]);

impl Visitor for Notes<'_> {
    #[inline(always)]
    fn visit(&mut self, visit: Visit<'_>) {
        if let Some(place) = self.0.get_mut(visit.index) {
            *place = visit.answer;
        }
    }
}

/// One packet of a burst at its turn, its entry's first line in cache.
pub struct Visit<'a> {
    side: &'a mut FlowSide,
    index: usize,
    answer: Answer,
    shared: bool,
}

impl Visit<'_> {
    /// Which request this is.
    #[inline(always)]
    pub fn index(&self) -> usize {
        self.index
    }

    /// What became of it.
    #[inline(always)]
    pub fn answer(&self) -> Answer {
        self.answer
    }

    /// The side, to promote, close or release.
    #[inline(always)]
    pub fn side(&mut self) -> &mut FlowSide {
        self.side
    }

    /// As [`FlowSide::refresh`] for this packet's flow; None if it has none. An owner need not ask
    /// whether the flow is still there: nobody else could have ended it since it was found.
    #[inline(always)]
    pub fn refresh<R>(&self, now: Tick, change: impl FnOnce(&mut FlowState) -> R) -> Option<R> {
        let (Answer::Found(handle) | Answer::Created(handle)) = self.answer else {
            return None;
        };
        if self.shared {
            return self.side.refresh(handle, now, change);
        }
        let line = &self.side.core.entry(handle.slot).flow;
        debug_assert_eq!(line.generation(), handle.generation);
        line.touch(now);
        Some(change_state(line, change))
    }
}

#[inline(always)]
fn change_state<R>(line: &FlowLine, change: impl FnOnce(&mut FlowState) -> R) -> R {
    let mut state = line.state();
    let result = change(&mut state);
    line.set_state(state);
    result
}

/// The flow stage's records, in the second lines of an owner's table. There is one per table, so
/// whoever has it is alone with them.
pub struct RecordSide {
    core: Arc<Core>,
}

impl RecordSide {
    /// The record of a slot; None if there is no such slot.
    #[inline(always)]
    pub fn get(&self, slot: u32) -> Option<&Record> {
        let cell = self.cell(slot)?;
        // SAFETY: only this value reaches the records of its table (`FlowSide::take_records` gives it
        // once, and an owner's table has one side), and it is borrowed for as long as the record.
        Some(unsafe { &*cell })
    }

    /// As [`RecordSide::get`], to change.
    #[inline(always)]
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Record> {
        let cell = self.cell(slot)?;
        // SAFETY: as above, and the borrow is exclusive.
        Some(unsafe { &mut *cell })
    }

    /// Line 0 and the record of a flow, alive or in quarantine; None if the handle is stale.
    #[inline(always)]
    pub fn flow_mut(&mut self, handle: FlowHandle) -> Option<(&FlowLine, &mut Record)> {
        if !self.core.holds(handle) {
            return None;
        }
        let entry = self.core.entry(handle.slot);
        let line = Core::live(&entry.flow, handle)?;
        // SAFETY: as for `get_mut`; a line 0 is made of atomics and no part of the record.
        Some((line, unsafe { &mut *entry.record.get() }))
    }

    #[inline(always)]
    fn cell(&self, slot: u32) -> Option<*mut Record> {
        let known = self.core.holds(FlowHandle {
            slot,
            ..FlowHandle::NONE
        });
        known.then(|| self.core.entry(slot).record.get())
    }
}

/// The match stage's half: line 1. Its thread need not be the flow stage's.
pub struct DetectionSide {
    core: Arc<Core>,
}

impl DetectionSide {
    /// Line 1 of a flow: wiped when this handle is the first of a younger flow there, None when a
    /// younger one has come already. In shared mode one lane at a time uses a flow's line: its
    /// owner.
    #[inline(always)]
    pub fn line(&self, handle: FlowHandle) -> Option<&DetectionLine> {
        if !self.core.holds(handle) {
            return None;
        }
        let line = &self.core.entry(handle.slot).detection;
        line.admit(handle.generation).then_some(line)
    }

    /// Asks for a flow's line 1 ahead of its use.
    #[inline(always)]
    pub fn prefetch(&self, handle: FlowHandle) {
        if self.core.holds(handle) {
            probe::prefetch_write(&raw const self.core.entry(handle.slot).detection);
        }
    }
}

impl Class {
    #[inline(always)]
    fn bits(self) -> u16 {
        match self {
            Class::HalfOpen => line::CLASS_HALF_OPEN,
            Class::Established => line::CLASS_ESTABLISHED,
        }
    }

    #[inline(always)]
    fn of(word: u16) -> Option<Class> {
        match word & line::CLASS_MASK {
            line::CLASS_HALF_OPEN => Some(Class::HalfOpen),
            line::CLASS_ESTABLISHED => Some(Class::Established),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ticks;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    const EVERY_INSTRUCTIONS: [Instructions; 3] = [
        Instructions::Avx512,
        Instructions::Avx2,
        Instructions::Scalar,
    ];
    const BOTH: [TableMode; 2] = [TableMode::Owner, TableMode::Shared];

    /// A canonical IPv4 tuple: the lower endpoint comes first, whatever the order given.
    pub(super) fn tuple4(left: u32, right: u32, sport: u16, dport: u16, protocol: u8) -> Tuple {
        let (low, high) = if (left, sport) <= (right, dport) {
            ((left, sport), (right, dport))
        } else {
            ((right, dport), (left, sport))
        };
        let mapped = |address: u32| {
            let mut bytes = [0; 16];
            bytes[10..12].fill(0xFF);
            bytes[12..].copy_from_slice(&address.to_be_bytes());
            bytes
        };
        Tuple {
            a_addr: mapped(low.0),
            b_addr: mapped(high.0),
            a_port: low.1,
            b_port: high.1,
            protocol,
            scope: [0; 3],
        }
    }

    fn nth(number: u32) -> Tuple {
        tuple4(0x0A00_0000 + number, 0xC0A8_0001, 40_000, 443, 6)
    }

    struct Rig {
        flow: FlowSide,
        detection: DetectionSide,
        reader: TableReader,
    }

    fn rig_with(flows_max: usize, mode: TableMode, change: impl FnOnce(&mut TableConfig)) -> Rig {
        let mut config = TableConfig::new(flows_max, 1, mode);
        config.pages = PageWish::Small;
        change(&mut config);
        let mut table = FlowTable::build(&config, &FlowHash::new([3; SECRET_COUNT])).unwrap();
        let (flow, detection) = table.sides.pop().unwrap();
        Rig {
            flow,
            detection,
            reader: table.readers.pop().unwrap(),
        }
    }

    fn rig(flows_max: usize, mode: TableMode) -> Rig {
        rig_with(flows_max, mode, |_| ())
    }

    impl Rig {
        fn create(&mut self, tuple: &Tuple, class: Class, now: u32) -> FlowHandle {
            match self.flow.find_or_create(tuple, Admit::As(class), Tick(now)) {
                Answer::Created(handle) => handle,
                other => panic!("{other:?}"),
            }
        }

        fn find(&mut self, tuple: &Tuple) -> Option<FlowHandle> {
            match self.flow.find_or_create(tuple, Admit::Never, Tick(0)) {
                Answer::Found(handle) => Some(handle),
                Answer::Missing => None,
                other => panic!("{other:?}"),
            }
        }

        fn release_evicted(&mut self) -> usize {
            let mut count = 0;
            while let Some(handle) = self.flow.pop_evicted() {
                assert!(self.flow.release(handle));
                count += 1;
            }
            count
        }

        fn everything(&self) -> Vec<FlowSnapshot> {
            let mut all = Vec::new();
            (0..self.reader.group_count())
                .for_each(|group| self.reader.group(group, |flow| all.push(flow)));
            all
        }
    }

    #[test]
    fn the_plan_keeps_to_176_bytes_a_flow() {
        let plan = TablePlan::new(10_000_000).unwrap();
        assert!(plan.size() <= 176 * 10_000_000, "{plan}");
        assert!(plan.to_string().contains("10000000 flows"), "{plan}");
        assert!(is_prime(plan.group_count as usize));
        assert!(TablePlan::new(usize::MAX / 200).is_err());
    }

    #[test]
    fn more_flows_than_memory_fails_at_start_with_the_numbers() {
        let config = TableConfig::new(1 << 30, 1, TableMode::Owner);
        let error = FlowTable::build(&config, &FlowHash::new([1; SECRET_COUNT]))
            .err()
            .unwrap();
        let MemoryError::TooMuch {
            planned, available, ..
        } = error
        else {
            panic!("{error}")
        };
        assert!(planned > available && planned > 170 << 30);
    }

    #[test]
    fn an_entry_lies_where_its_place_in_its_group_says() {
        let rig = rig(2000, TableMode::Owner);
        let core = &rig.flow.core;
        for group in 0..core.group_count() {
            for place in 0..GROUP_SLOTS {
                let slot = group as u32 * GROUP_SLOTS + place;
                assert!(std::ptr::eq(core.entry(slot), core.entry_at(group, place)));
            }
        }
    }

    #[test]
    fn a_flow_is_found_until_it_is_closed_and_its_slot_waits_for_the_release() {
        for mode in BOTH {
            let mut rig = rig(100, mode);
            let handle = rig.create(&nth(1), Class::HalfOpen, 7);
            assert_eq!(rig.find(&nth(1)), Some(handle));
            assert_eq!(rig.find(&nth(2)), None);
            let line = rig.flow.line(handle).unwrap();
            assert_eq!((line.tuple(), line.last_seen()), (nth(1), Tick(7)));
            assert_eq!(line.state(), FlowState::default());
            line.touch(Tick(9));
            assert_eq!(line.last_seen(), Tick(9));
            assert_eq!(rig.flow.class(handle), Some(Class::HalfOpen));
            assert!(rig.flow.promote(handle));
            assert!(!rig.flow.promote(handle));
            assert_eq!(rig.flow.class(handle), Some(Class::Established));
            assert!(!rig.flow.release(handle), "not before it is closed");
            assert!(rig.flow.close(handle));
            assert!(!rig.flow.close(handle));
            assert_eq!(rig.find(&nth(1)), None);
            assert!(
                rig.flow.line(handle).is_some(),
                "readable until its end has passed"
            );
            assert_eq!(rig.flow.class(handle), None);
            assert!(rig.flow.release(handle));
            assert!(!rig.flow.release(handle));
            assert!(rig.flow.line(handle).is_none());
            let again = rig.create(&nth(1), Class::Established, 8);
            assert_eq!(again.slot, handle.slot);
            assert_ne!(again.generation, handle.generation);
            assert!(!rig.flow.close(handle), "a stale handle closes nobody");
            assert!(!rig.flow.promote(handle) && !rig.flow.release(handle));
            assert_eq!(rig.flow.update(handle, |_| ()), None);
            let counters = *rig.flow.counters();
            let expected = TableCounters {
                created: 2,
                closed: 1,
                released: 1,
                ..Default::default()
            };
            assert_eq!(counters, expected);
            assert_eq!(rig.flow.population(), 1);
        }
    }

    #[test]
    fn handles_that_no_table_made_are_refused() {
        for mode in BOTH {
            let mut rig = rig(100, mode);
            for handle in [
                FlowHandle::NONE,
                FlowHandle {
                    slot: 0,
                    generation: 0,
                },
            ] {
                assert!(rig.flow.line(handle).is_none());
                assert!(!rig.flow.close(handle) && !rig.flow.promote(handle));
                assert!(!rig.flow.release(handle));
                assert_eq!(rig.flow.class(handle), None);
                assert_eq!(rig.flow.update(handle, |_| ()), None);
            }
            assert!(rig.detection.line(FlowHandle::NONE).is_none());
            rig.detection.prefetch(FlowHandle::NONE);
            rig.reader.group(u32::MAX, |_| panic!("no such group"));
        }
    }

    #[test]
    fn one_new_tuple_twice_in_a_burst_is_one_flow() {
        for mode in BOTH {
            for instructions in EVERY_INSTRUCTIONS {
                let mut rig = rig_with(1000, mode, |config| config.instructions = instructions);
                let tuples: Vec<Tuple> = (0..100).map(|index| nth(index % 37)).collect();
                let requests: Vec<Request> = tuples
                    .iter()
                    .map(|tuple| Request {
                        tuple,
                        admit: Admit::As(Class::Established),
                    })
                    .collect();
                let mut answers = vec![Answer::Missing; 100];
                rig.flow.burst(&requests, Tick(1), &mut answers);
                for (index, answer) in answers.iter().enumerate() {
                    match *answer {
                        Answer::Created(_) => assert!(index < 37),
                        Answer::Found(handle) => {
                            assert_eq!(answers[index % 37], Answer::Created(handle));
                        }
                        other => panic!("{other:?}"),
                    }
                }
                assert_eq!(rig.flow.counters().created, 37);
            }
        }
    }

    #[test]
    fn the_detection_line_is_the_flows_and_not_its_successors() {
        let mut rig = rig(100, TableMode::Owner);
        let first = rig.create(&nth(1), Class::Established, 1);
        rig.detection.prefetch(first);
        rig.detection.line(first).unwrap().set_verdict(4);
        rig.flow.close(first);
        assert_eq!(
            rig.detection.line(first).unwrap().verdict(),
            4,
            "quarantine keeps it"
        );
        rig.flow.release(first);
        let second = rig.create(&nth(1), Class::Established, 2);
        assert_eq!(second.slot, first.slot);
        assert_eq!(rig.detection.line(second).unwrap().verdict(), 0);
        assert!(rig.detection.line(first).is_none());
    }

    #[test]
    fn the_full_table_evicts_the_oldest_half_open_flow_first_and_established_last() {
        for mode in BOTH {
            // Eleven groups of which a path meets eight: while half-open flows are many, there is
            // one on every path.
            let mut rig = rig_with(200, mode, |config| {
                config.policy.half_open_per_group_max = 30
            });
            let half_open: HashSet<FlowHandle> = (0..50)
                .map(|index| rig.create(&nth(index), Class::HalfOpen, 10))
                .collect();
            let established: HashSet<FlowHandle> = (50..200)
                .map(|index| rig.create(&nth(index), Class::Established, 20))
                .collect();
            assert!(rig.flow.evicted().is_empty());
            let mut gone = 0;
            for index in 200..230 {
                let created = rig.create(&nth(index), Class::Established, 30);
                let evicted = rig.flow.pop_evicted().unwrap();
                assert!(half_open.contains(&evicted), "{gone} were half-open");
                assert!(rig.flow.line(evicted).is_some() && rig.flow.release(evicted));
                assert_ne!(created, evicted);
                gone += 1;
            }
            assert_eq!(rig.flow.counters().evicted_half_open, gone);
            for &handle in &half_open {
                rig.flow.promote(handle);
            }
            let answer = rig
                .flow
                .find_or_create(&nth(300), Admit::As(Class::HalfOpen), Tick(31));
            assert_eq!(
                answer,
                Answer::Full(FullReason::Limit),
                "half-open displaces none"
            );
            rig.create(&nth(301), Class::Established, 31);
            let evicted = rig.flow.pop_evicted().unwrap();
            assert!(established.contains(&evicted) || half_open.contains(&evicted));
            assert_eq!(rig.flow.counters().evicted_established, 1);
            assert_eq!(rig.flow.population(), 200);
        }
    }

    #[test]
    fn spared_classes_go_last_and_a_strict_policy_refuses() {
        for mode in BOTH {
            let mut rig = rig_with(60, mode, |config| config.policy.evict_last = 1 << 5);
            let condemned: Vec<FlowHandle> = (0..60)
                .map(|index| {
                    let handle = rig.create(&nth(index), Class::Established, 1);
                    if index >= 2 {
                        rig.flow.update(handle, |state| state.expiry = 5);
                    }
                    handle
                })
                .collect();
            for index in 100..103 {
                let handle = rig.create(&nth(index), Class::Established, 2);
                rig.flow.update(handle, |state| state.expiry = 5);
            }
            let evicted: HashSet<FlowHandle> = rig.flow.evicted().iter().copied().collect();
            assert!(evicted.contains(&condemned[0]) && evicted.contains(&condemned[1]));
            assert_eq!(rig.flow.counters().evicted_established, 2);
            assert_eq!(rig.flow.counters().evicted_last, 1);
            rig.flow.policy.established_yields = false;
            let refused =
                rig.flow
                    .find_or_create(&nth(200), Admit::As(Class::Established), Tick(3));
            assert_eq!(refused, Answer::Full(FullReason::Limit));
            assert_eq!(rig.flow.counters().full[FullReason::Limit as usize], 1);
        }
    }

    #[test]
    fn a_flood_of_half_open_flows_keeps_to_its_share_and_loses_no_established_flow() {
        for mode in BOTH {
            let mut rig = rig(6000, mode);
            let established: Vec<u32> = (0..2400).collect();
            for &index in &established {
                rig.create(&nth(index), Class::Established, 1);
            }
            let mut refused = 0;
            for index in 10_000..60_000 {
                match rig
                    .flow
                    .find_or_create(&nth(index), Admit::As(Class::HalfOpen), Tick(2))
                {
                    Answer::Created(_) => (),
                    Answer::Full(_) => refused += 1,
                    other => panic!("{other:?}"),
                }
                rig.release_evicted();
            }
            assert!(
                established
                    .iter()
                    .all(|&index| rig.find(&nth(index)).is_some())
            );
            let share = 8 * rig.reader.group_count() as usize;
            let all = rig.everything();
            let half_open = all
                .iter()
                .filter(|flow| flow.class == Class::HalfOpen)
                .count();
            assert!(half_open > share / 2 && half_open <= share);
            let counters = rig.flow.counters();
            assert_eq!(counters.full.iter().sum::<u64>(), refused);
            assert!(counters.evicted_half_open_cap > 10_000);
            assert_eq!(
                (counters.evicted_half_open, counters.evicted_established),
                (0, 0)
            );
            let (all, live) = (
                rig.everything().len() as u64,
                counters.created - counters.closed,
            );
            assert_eq!((all, live), (rig.flow.population(), rig.flow.population()));
        }
    }

    #[test]
    fn undrained_evictions_refuse_new_flows_and_quarantine_fills_the_path() {
        for mode in BOTH {
            let mut rig = rig(240, mode);
            for index in 0..240 {
                rig.create(&nth(index), Class::Established, 1);
            }
            let mut reasons = HashMap::new();
            for index in 1000..2000 {
                let admit = Admit::As(Class::Established);
                if let Answer::Full(reason) = rig.flow.find_or_create(&nth(index), admit, Tick(2)) {
                    *reasons.entry(reason as usize).or_insert(0_u64) += 1;
                }
            }
            assert!(rig.flow.evicted().len() <= EVICTED_MAX);
            assert!(!reasons.is_empty());
            for (reason, count) in reasons {
                assert!(
                    reason == FullReason::NoRoom as usize || reason == FullReason::Backlog as usize
                );
                assert_eq!(rig.flow.counters().full[reason], count);
            }
            assert!(rig.release_evicted() > 0);
            rig.create(&nth(5000), Class::Established, 3);
        }
    }

    #[test]
    fn the_sweep_ends_what_is_idle_for_longer_than_its_class_allows() {
        for mode in BOTH {
            let mut rig = rig(2000, mode);
            let mut timeouts = Timeouts {
                ticks: [u32::MAX; EXPIRY_CLASSES],
            };
            timeouts.ticks[1] = ticks(10);
            timeouts.ticks[2] = ticks(100);
            for index in 0..1500 {
                let handle = rig.create(&nth(index), Class::Established, 0);
                rig.flow
                    .update(handle, |state| state.expiry = (index % 3) as u8);
            }
            let mut ended = Vec::new();
            let rounds = rig.flow.sweep_groups().div_ceil(7);
            for _ in 0..rounds {
                rig.flow
                    .sweep(7, Tick(ticks(10)), &timeouts, |handle| ended.push(handle));
            }
            assert!(ended.is_empty(), "at the limit nothing ends");
            for _ in 0..rounds {
                rig.flow.sweep(7, Tick(ticks(10) + 1), &timeouts, |handle| {
                    ended.push(handle)
                });
            }
            assert_eq!(ended.len(), 500);
            for handle in &ended {
                assert_eq!(rig.flow.line(*handle).unwrap().state().expiry, 1);
                assert!(rig.flow.release(*handle));
            }
            for index in 0..1500 {
                assert_eq!(rig.find(&nth(index)).is_some(), index % 3 != 1);
            }
            rig.flow
                .sweep(u32::MAX, Tick(ticks(101)), &timeouts, |_| ());
            assert_eq!(rig.flow.counters().expired, 1000);
            assert_eq!(rig.flow.population(), 500);
            assert_eq!(rig.everything().len(), 500);
        }
    }

    #[test]
    fn shards_are_separate_and_shared_sides_are_one_table() {
        let hash = FlowHash::new([3; SECRET_COUNT]);
        let mut config = TableConfig::new(1000, 2, TableMode::Owner);
        config.pages = PageWish::Small;
        let mut table = FlowTable::build(&config, &hash).unwrap();
        assert_eq!((table.sides.len(), table.readers.len()), (2, 2));
        let admit = Admit::As(Class::Established);
        assert!(matches!(
            table.sides[0].0.find_or_create(&nth(1), admit, Tick(1)),
            Answer::Created(_)
        ));
        assert_eq!(
            table.sides[1]
                .0
                .find_or_create(&nth(1), Admit::Never, Tick(1)),
            Answer::Missing
        );
        config.mode = TableMode::Shared;
        let mut table = FlowTable::build(&config, &hash).unwrap();
        assert_eq!((table.sides.len(), table.readers.len()), (2, 1));
        let Answer::Created(handle) = table.sides[0].0.find_or_create(&nth(1), admit, Tick(1))
        else {
            panic!("not created");
        };
        assert_eq!(
            table.sides[1].0.find_or_create(&nth(1), admit, Tick(1)),
            Answer::Found(handle)
        );
        let (first, second) = (
            table.sides[0].0.sweep_groups(),
            table.sides[1].0.sweep_groups(),
        );
        assert_eq!(first + second, table.readers[0].group_count());
        assert!(table.size > 0 && table.page_kind == PageKind::Small);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Burst(u32, bool),
        Close(u32),
        Promote(u32),
        Touch(u32),
        Sweep(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0_u32..300, any::<bool>()).prop_map(|(index, admit)| Step::Burst(index, admit)),
            2 => (0_u32..300).prop_map(Step::Close),
            1 => (0_u32..300).prop_map(Step::Promote),
            1 => (0_u32..300).prop_map(Step::Touch),
            1 => (0_u32..40).prop_map(Step::Sweep),
        ];
        prop::collection::vec(step, 1..150)
    }

    /// The naive twin: a map under one owner, and the same steps.
    fn agree(mode: TableMode, instructions: Instructions, steps: &[Step]) {
        let mut rig = rig_with(400, mode, |config| config.instructions = instructions);
        let mut twin: HashMap<u32, (FlowHandle, Class, u32)> = HashMap::new();
        let mut timeouts = Timeouts {
            ticks: [u32::MAX; EXPIRY_CLASSES],
        };
        timeouts.ticks[0] = 50;
        for (now, step) in (0_u32..).zip(steps) {
            match *step {
                Step::Burst(start, admit) => {
                    let numbers: Vec<u32> =
                        (0..20).map(|index| (start + index * 7) % 300).collect();
                    let tuples: Vec<Tuple> = numbers.iter().map(|&number| nth(number)).collect();
                    let admit = if admit {
                        Admit::As(Class::Established)
                    } else {
                        Admit::Never
                    };
                    let requests: Vec<Request> = tuples
                        .iter()
                        .map(|tuple| Request { tuple, admit })
                        .collect();
                    let mut answers = vec![Answer::Missing; 20];
                    rig.flow.burst(&requests, Tick(now), &mut answers);
                    for (number, answer) in numbers.iter().zip(answers) {
                        match answer {
                            Answer::Found(handle) => assert_eq!(twin[number].0, handle),
                            Answer::Created(handle) => {
                                let old = twin.insert(*number, (handle, Class::Established, now));
                                assert!(old.is_none());
                            }
                            Answer::Missing => {
                                assert!(admit == Admit::Never && !twin.contains_key(number));
                            }
                            Answer::Full(reason) => panic!("{reason:?}"),
                        }
                    }
                }
                Step::Close(number) => {
                    if let Some((handle, ..)) = twin.remove(&number) {
                        assert!(rig.flow.close(handle) && rig.flow.release(handle));
                    }
                }
                Step::Promote(number) => {
                    if let Some(flow) = twin.get_mut(&number) {
                        assert_eq!(rig.flow.promote(flow.0), flow.1 == Class::HalfOpen);
                        flow.1 = Class::Established;
                    }
                }
                Step::Touch(number) => {
                    if let Some(flow) = twin.get_mut(&number) {
                        rig.flow.line(flow.0).unwrap().touch(Tick(now));
                        flow.2 = now;
                    }
                }
                Step::Sweep(groups) => {
                    let mut ended = Vec::new();
                    rig.flow
                        .sweep(groups, Tick(now), &timeouts, |handle| ended.push(handle));
                    for handle in ended {
                        let number = twin.iter().find(|(_, flow)| flow.0 == handle).unwrap().0;
                        let (_, _, seen) = twin.remove(&number.clone()).unwrap();
                        assert!(now - seen > 50);
                        assert!(rig.flow.release(handle));
                    }
                }
            }
        }
        let has_bit = |flow: FlowHandle| rig.flow.may_hold(u64::from(flow.slot / GROUP_SLOTS));
        assert!(twin.values().all(|(flow, ..)| has_bit(*flow)));
        let expected: HashSet<(FlowHandle, u32)> = twin
            .values()
            .map(|&(handle, _, seen)| (handle, seen))
            .collect();
        let shown: HashSet<(FlowHandle, u32)> = rig
            .everything()
            .iter()
            .map(|flow| (flow.handle, flow.last_seen.0))
            .collect();
        assert_eq!(shown, expected);
        for (handle, ..) in twin.values() {
            assert!(rig.flow.close(*handle) && rig.flow.release(*handle));
        }
        let audit = rig.reader.audit();
        assert_eq!(
            (audit.flows, audit.quarantined, audit.claimed, audit.passed),
            (0, 0, 0, 0)
        );
        assert_eq!(rig.flow.population(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_table_agrees_with_a_map(steps in steps()) {
            for mode in BOTH {
                for instructions in EVERY_INSTRUCTIONS {
                    agree(mode, instructions, &steps);
                }
            }
        }
    }
}
