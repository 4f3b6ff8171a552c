//! Variables: what groups of expressions took, kept with the packet (`pktvar`) or its flow
//! (`flowvar`) once the signature hit.
//!
//! Room is fixed: values are cut at [`VALUE_BYTES_MAX`] bytes, a packet has [`VALUES_MAX`] of them,
//! a flow [`FLOW_VALUES_MAX`], all flows of a lane together as many as there are blocks. What finds
//! no room, and what is cut, is counted as lost state.

use crate::rules::signature::Capture;

/// Bytes of a value.
pub const VALUE_BYTES_MAX: usize = 247;
/// Values of a packet, and of the signature that is asked.
pub const VALUES_MAX: usize = 16;
/// Values of a flow.
pub const FLOW_VALUES_MAX: usize = 16;
/// Blocks of a lane at most: 4 MiB.
const BLOCKS_MAX: usize = 16 << 10;
/// No block.
const NONE: u32 = u32::MAX;

/// A value with its place in a chain: 256 bytes.
#[derive(Clone, Copy)]
struct Block {
    next: u32,
    name: u32,
    length: u8,
    bytes: [u8; VALUE_BYTES_MAX],
}

const _: () = assert!(size_of::<Block>() == 256);

impl Block {
    const EMPTY: Block = Block {
        next: NONE,
        name: 0,
        length: 0,
        bytes: [0; VALUE_BYTES_MAX],
    };

    fn value(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }

    /// Takes a value over; false if it was cut.
    fn fill(&mut self, value: &[u8]) -> bool {
        let kept = value.get(..VALUE_BYTES_MAX).unwrap_or(value);
        if let Some(place) = self.bytes.get_mut(..kept.len()) {
            place.copy_from_slice(kept);
        }
        self.length = kept.len() as u8;
        kept.len() == value.len()
    }
}

/// Values of a packet, or those that the signature that is asked would set.
pub struct Values {
    list: Vec<(Capture, Block)>,
}

impl Default for Values {
    fn default() -> Values {
        Values::new()
    }
}

impl Values {
    /// None, and room for all.
    pub fn new() -> Values {
        Values {
            list: Vec::with_capacity(VALUES_MAX),
        }
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Forgets all.
    #[inline]
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// Sets a value in place of an older one. False: there was no room, or it was cut.
    pub fn set(&mut self, what: Capture, value: &[u8]) -> bool {
        let known = self.list.iter().position(|(known, _)| *known == what);
        let at = known.unwrap_or(self.list.len());
        if known.is_none() && at < VALUES_MAX {
            self.list.push((what, Block::EMPTY));
        }
        self.list.get_mut(at).is_some_and(|(_, b)| b.fill(value))
    }

    /// A value, if there is one.
    pub fn get(&self, what: Capture) -> Option<&[u8]> {
        let found = self.list.iter().find(|(known, _)| *known == what);
        found.map(|(_, block)| block.value())
    }

    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = (Capture, &[u8])> {
        self.list.iter().map(|(what, block)| (*what, block.value()))
    }
}

/// Values of flows, by slab.
pub struct FlowValues {
    /// First block of each slab; empty where no rule keeps anything.
    heads: Vec<u32>,
    blocks: Vec<Block>,
    /// First free block.
    free: u32,
}

impl FlowValues {
    /// Room for the flows of so many slabs; none where nothing is `wanted`.
    pub fn new(slabs: usize, wanted: bool) -> FlowValues {
        let slabs = if wanted { slabs } else { 0 };
        let count = slabs.min(BLOCKS_MAX);
        let mut blocks = vec![Block::EMPTY; count];
        for (block, next) in blocks.iter_mut().zip(1_u32..) {
            block.next = if next as usize == count { NONE } else { next };
        }
        FlowValues {
            heads: vec![NONE; slabs],
            free: if count == 0 { NONE } else { 0 },
            blocks,
        }
    }

    /// The blocks of a slab.
    fn chain(&self, slab: u32) -> impl Iterator<Item = u32> {
        let mut at = self.heads.get(slab as usize).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let block = self.blocks.get(at as usize)?;
            Some(std::mem::replace(&mut at, block.next))
        })
        .take(FLOW_VALUES_MAX)
    }

    fn find(&self, slab: u32, name: u32) -> Option<u32> {
        let named = |at: &u32| {
            self.blocks
                .get(*at as usize)
                .is_some_and(|b| b.name == name)
        };
        self.chain(slab).find(named)
    }

    /// A value, if there is one.
    pub fn get(&self, slab: u32, name: u32) -> Option<&[u8]> {
        let at = self.find(slab, name)?;
        self.blocks.get(at as usize).map(Block::value)
    }

    /// All values of a slab.
    pub fn iter(&self, slab: u32) -> impl Iterator<Item = (u32, &[u8])> {
        let blocks = self
            .chain(slab)
            .filter_map(|at| self.blocks.get(at as usize));
        blocks.map(|block| (block.name, block.value()))
    }

    /// Sets a value in place of an older one. False: there was no room, or it was cut.
    pub fn set(&mut self, slab: u32, name: u32, value: &[u8]) -> bool {
        let known = self.find(slab, name);
        let at = known.unwrap_or(self.free);
        if known.is_none() {
            let is_full = self.chain(slab).count() >= FLOW_VALUES_MAX;
            let head = self.heads.get_mut(slab as usize).filter(|_| !is_full);
            let (Some(head), Some(block)) = (head, self.blocks.get_mut(at as usize)) else {
                return false;
            };
            self.free = block.next;
            block.name = name;
            block.next = std::mem::replace(head, at);
        }
        self.blocks
            .get_mut(at as usize)
            .is_some_and(|block| block.fill(value))
    }

    /// Gives back what a slab has.
    pub fn clear(&mut self, slab: u32) {
        let Some(head) = self.heads.get_mut(slab as usize) else {
            return;
        };
        let mut at = std::mem::replace(head, NONE);
        for _ in 0..FLOW_VALUES_MAX {
            let Some(block) = self.blocks.get_mut(at as usize) else {
                break;
            };
            let next = std::mem::replace(&mut block.next, self.free);
            self.free = at;
            at = next;
        }
    }
}

/// Whether a variable has these bytes in it.
pub fn holds(value: Option<&[u8]>, bytes: &[u8]) -> bool {
    let stands = |value: &[u8]| value.windows(bytes.len().max(1)).any(|part| part == bytes);
    value.is_some_and(stands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_room_for_so_many_values_and_a_later_one_replaces() {
        let mut values = Values::new();
        for name in 0..VALUES_MAX as u32 {
            assert!(values.set(Capture::Packet(name), b"a"));
        }
        assert!(!values.set(Capture::Flow(0), b"a"));
        assert!(values.set(Capture::Packet(3), b"bc"));
        assert_eq!(values.get(Capture::Packet(3)), Some(&b"bc"[..]));
        assert_eq!(values.get(Capture::Flow(3)), None);
        assert!(!values.set(Capture::Packet(4), &[7; VALUE_BYTES_MAX + 1]));
        let cut = values.get(Capture::Packet(4)).unwrap();
        assert_eq!(cut, [7; VALUE_BYTES_MAX]);
        values.clear();
        assert_eq!(values.iter().count(), 0);
    }

    #[test]
    fn flows_share_the_blocks_and_give_them_back() {
        let mut values = FlowValues::new(2, true);
        assert!(values.set(0, 5, b"five") && values.set(1, 5, b""));
        assert!(!values.set(0, 6, b"six"), "both blocks are taken");
        assert!(values.set(0, 5, b"5"));
        assert_eq!(values.get(0, 5), Some(&b"5"[..]));
        assert_eq!(values.get(1, 5), Some(&b""[..]));
        assert_eq!(values.get(0, 6), None);
        values.clear(1);
        values.clear(1);
        assert!(values.set(0, 6, b"six"));
        values.clear(0);
        assert!(values.get(0, 5).is_none() && values.get(0, 6).is_none());
        assert!(values.set(1, 1, b"a") && values.set(1, 2, b"b"));
        assert_eq!(values.get(1, 1), Some(&b"a"[..]));
        let mut none = FlowValues::new(2, false);
        assert!(!none.set(0, 1, b"a"));
    }

    #[test]
    fn a_flow_has_no_more_than_its_share() {
        let mut values = FlowValues::new(100, true);
        for name in 0..FLOW_VALUES_MAX as u32 {
            assert!(values.set(0, name, b"a"));
        }
        assert!(!values.set(0, 99, b"a") && values.set(0, 1, b"b"));
        values.clear(0);
        assert!(values.set(0, 99, b"a"));
    }

    #[test]
    fn bytes_stand_anywhere_in_a_variable() {
        assert!(holds(Some(b"abc"), b"bc") && !holds(Some(b"abc"), b"B"));
        assert!(!holds(Some(b""), b"a") && !holds(None, b"a"));
    }
}
