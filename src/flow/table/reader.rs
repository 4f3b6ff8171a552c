//! A look at a table from any other thread: snapshots of flows, counts of slots, and what the bench
//! needs to measure the memory itself. It never waits and never writes; what it shows was true at
//! one moment (Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012).
//! Who changes a flow, and when, is table.rs and protocol.rs.

use super::Class;
use super::core::Core;
use super::line::{self, FlowState, GROUP_SLOTS};
use super::probe;
use crate::packet::{FlowHandle, Tuple};
use crate::time::Tick;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::fence;

/// A look from any other thread: never waits, never writes.
#[derive(Clone)]
pub struct TableReader {
    core: Arc<Core>,
}

/// A flow as one moment showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSnapshot {
    /// Its name.
    pub handle: FlowHandle,
    /// Its tuple.
    pub tuple: Tuple,
    /// Class at that moment.
    pub class: Class,
    /// Tick of its last packet.
    pub last_seen: Tick,
    /// The flow stage's state, of one piece.
    pub state: FlowState,
}

impl TableReader {
    pub(super) fn new(core: Arc<Core>) -> TableReader {
        TableReader { core }
    }

    /// Groups there are to look at.
    pub fn group_count(&self) -> u32 {
        self.core.group_count() as u32
    }

    /// Shows every flow of one group.
    pub fn group(&self, index: u32, mut show: impl FnMut(FlowSnapshot)) {
        if index >= self.group_count() {
            return;
        }
        let first = index * GROUP_SLOTS;
        (first..first + GROUP_SLOTS)
            .filter_map(|slot| self.snapshot(slot))
            .for_each(&mut show);
    }

    fn snapshot(&self, slot: u32) -> Option<FlowSnapshot> {
        let class = Class::of(self.core.tag_word(slot)?.load(Acquire))?;
        let line = &self.core.entry(slot).flow;
        let generation = line.generation();
        let (tuple, last_seen, state) = (line.tuple(), line.last_seen(), line.state());
        fence(Acquire);
        let handle = FlowHandle { slot, generation };
        let same = line.generation() == generation && generation & line::ALIVE != 0;
        same.then_some(FlowSnapshot {
            handle,
            tuple,
            class,
            last_seen,
            state,
        })
    }

    /// Flows alive, as far as the sides have counted.
    pub fn population(&self) -> u64 {
        self.core.population()
    }

    /// Lines of the entries' memory; with the next two, the bench measures what that memory gives.
    pub fn line_count(&self) -> u64 {
        self.core.line_count()
    }

    /// Asks for one line of it.
    #[inline(always)]
    pub fn prefetch_line(&self, index: u64) {
        if let Some(word) = self.core.line_word(index) {
            probe::prefetch_read(word);
        }
    }

    /// As [`TableReader::prefetch_line`], but no nearer than the second-level cache.
    #[inline(always)]
    pub fn prefetch_line_second(&self, index: u64) {
        if let Some(word) = self.core.line_word(index) {
            probe::prefetch_second(word);
        }
    }

    /// Reads the first word of one line of it; 0 beyond the end.
    #[inline(always)]
    pub fn read_line(&self, index: u64) -> u32 {
        self.core
            .line_word(index)
            .map_or(0, |word| word.load(Relaxed))
    }

    /// Counts everything, group by group; exact when nobody writes meanwhile.
    pub fn audit(&self) -> Audit {
        let mut audit = Audit::default();
        for index in 0..self.core.group_count() {
            let group = self.core.group(index);
            audit.passed += u64::from(group.overflow.load(Acquire));
            for word in group.tags.iter().map(|word| word.load(Acquire)) {
                match (word, Class::of(word)) {
                    (0, _) => audit.free += 1,
                    (_, Some(_)) => audit.flows += 1,
                    (line::QUARANTINE, _) => audit.quarantined += 1,
                    _ => audit.claimed += 1,
                }
            }
        }
        audit
    }
}

/// The slots of a table, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Free slots.
    pub free: u64,
    /// Flows that can be found.
    pub flows: u64,
    /// Closed flows that wait for their release.
    pub quarantined: u64,
    /// Slots in the midst of an insert.
    pub claimed: u64,
    /// Sum of the counts of flows that passed over a group; 0 if every flow is at home.
    pub passed: u64,
}
