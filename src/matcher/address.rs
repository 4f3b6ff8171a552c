//! Signatures of addresses only: an index from an address to the signatures that name it.
//!
//! Each signature is indexed by the narrower of its two sides; the address space falls into
//! intervals within which the answer is the same, found by binary search. Signatures whose both
//! sides are wide are listed for every packet: they are asked once per flow direction only. The
//! answer proposes; header.rs decides.

use crate::rules::signature::{AddressSet, Signature};

/// A side that covers at most 2^this addresses counts as narrow (an IPv4 /8).
const NARROW_BITS: u32 = 24;

/// The first of the addresses that stand for IPv4 (RFC 4291 2.5.5.2).
const V4_MAPPED: u128 = 0xffff << 32;

/// Intervals of one side.
#[derive(Debug, Default)]
struct Side {
    starts: Vec<[u8; 16]>,
    /// How many of them lie before the first IPv4 address of each upper half, and of the one behind
    /// the last.
    halves: Box<[u32]>,
    lists: Vec<(u32, u32)>,
    members: Vec<u32>,
}

impl Side {
    fn build(mut ranges: Vec<(u128, u128, u32)>) -> Side {
        ranges.sort_unstable();
        let mut bounds: Vec<u128> = ranges
            .iter()
            .flat_map(|(low, high, _)| [Some(*low), high.checked_add(1)])
            .flatten()
            .collect();
        bounds.sort_unstable();
        bounds.dedup();
        let mut side = Side::default();
        let mut next = ranges.iter().peekable();
        let mut open: Vec<(u128, u32)> = Vec::new();
        for bound in bounds {
            open.retain(|(high, _)| *high >= bound);
            while let Some((_, high, signature)) = next.next_if(|(low, _, _)| *low <= bound) {
                open.push((*high, *signature));
            }
            let first = side.members.len() as u32;
            side.members
                .extend(open.iter().map(|(_, signature)| *signature));
            side.starts.push(bound.to_be_bytes());
            side.lists.push((first, side.members.len() as u32));
        }
        if !side.starts.is_empty() {
            let before = |half: u32| {
                let first = ((u128::from(half) << 16) + V4_MAPPED).to_be_bytes();
                side.starts.partition_point(|start| *start < first) as u32
            };
            side.halves = (0..=1 << 16).map(before).collect();
        }
        side
    }

    /// The starts among which the search ends: of IPv4 addresses, those in the same /16.
    fn around(&self, address: &[u8; 16]) -> (usize, usize) {
        let number = u128::from_be_bytes(*address);
        let half = (number >> 16) as u16;
        let place = |half: usize| self.halves.get(half).map(|before| *before as usize);
        let [from, to] = [0, 1].map(|next| place(usize::from(half) + next));
        match (number >> 32 == V4_MAPPED >> 32, from, to) {
            (true, Some(from), Some(to)) => (from, to),
            _ => (0, self.starts.len()),
        }
    }

    fn get(&self, address: &[u8; 16]) -> &[u32] {
        let (from, to) = self.around(address);
        let starts = self.starts.get(from..to).unwrap_or(&[]);
        let after = from + starts.partition_point(|start| start <= address);
        let list = self.lists.get(after.wrapping_sub(1)).copied();
        let (first, last) = list.unwrap_or((0, 0));
        self.members
            .get(first as usize..last as usize)
            .unwrap_or(&[])
    }
}

/// The index.
#[derive(Debug, Default)]
pub struct AddressIndex {
    src: Side,
    dst: Side,
    wide: Vec<u32>,
}

impl AddressIndex {
    /// An index over these signatures, given with their numbers.
    pub fn build<'a>(signatures: impl Iterator<Item = (u32, &'a Signature)>) -> AddressIndex {
        let (mut src, mut dst, mut wide) = (Vec::new(), Vec::new(), Vec::new());
        for (index, signature) in signatures {
            let (from, to) = (&signature.header.src_addr, &signature.header.dst_addr);
            let (from_bits, to_bits) = (width(from), width(to));
            let (narrow, set, bits) = if from_bits <= to_bits {
                (&mut src, from, from_bits)
            } else {
                (&mut dst, to, to_bits)
            };
            if bits > NARROW_BITS {
                wide.push(index);
                continue;
            }
            narrow.extend(set.ranges.iter().map(|(low, high)| {
                let (low, high) = (u128::from_be_bytes(*low), u128::from_be_bytes(*high));
                (low, high, index)
            }));
        }
        AddressIndex {
            src: Side::build(src),
            dst: Side::build(dst),
            wide,
        }
    }

    /// Calls `propose` with each signature that these addresses may match.
    pub fn propose(&self, src: &[u8; 16], dst: &[u8; 16], mut propose: impl FnMut(u32)) {
        let narrow = self.src.get(src).iter().chain(self.dst.get(dst));
        for signature in narrow.chain(&self.wide) {
            propose(*signature);
        }
    }

    /// Whether no signature is in it.
    pub fn is_empty(&self) -> bool {
        self.src.starts.is_empty() && self.dst.starts.is_empty() && self.wide.is_empty()
    }
}

/// Size of a set as a power of two, rounded up.
fn width(set: &AddressSet) -> u32 {
    if set.any {
        return 128;
    }
    let size = set.ranges.iter().fold(0u128, |sum, (low, high)| {
        let (low, high) = (u128::from_be_bytes(*low), u128::from_be_bytes(*high));
        sum.saturating_add(high.saturating_sub(low))
            .saturating_add(1)
    });
    128 - size.saturating_sub(1).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::ruleset::blank;
    use proptest::prelude::*;

    fn address(last: u16) -> [u8; 16] {
        u128::from(last).to_be_bytes()
    }

    fn set(ranges: &[(u16, u16)]) -> AddressSet {
        AddressSet {
            any: ranges.is_empty(),
            ranges: ranges
                .iter()
                .map(|(low, high)| (address(*low.min(high)), address(*low.max(high))))
                .collect(),
            negated: false,
        }
    }

    proptest! {
        #[test]
        fn nothing_that_matches_is_left_out_and_each_is_named_once(
            rules in proptest::collection::vec(
                (proptest::option::of((0u16..200, 0u16..200)), proptest::option::of((0u16..200, 0u16..200))),
                0..12,
            ),
            src in 0u16..210,
            dst in 0u16..210,
        ) {
            let signatures: Vec<Signature> = rules
                .iter()
                .map(|(from, to)| {
                    let mut signature = blank(1);
                    signature.header.src_addr = set(from.as_slice());
                    signature.header.dst_addr = set(to.as_slice());
                    signature
                })
                .collect();
            let index = AddressIndex::build((0..).zip(&signatures));
            let mut proposed = Vec::new();
            index.propose(&address(src), &address(dst), |signature| proposed.push(signature));
            for (i, signature) in (0..).zip(&signatures) {
                let header = &signature.header;
                let fits = header.src_addr.contains(&address(src))
                    && header.dst_addr.contains(&address(dst));
                let named = proposed.iter().filter(|p| **p == i).count();
                prop_assert!(named <= 1);
                prop_assert!(!fits || named == 1);
            }
        }
    }
}
