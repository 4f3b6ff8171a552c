//! Signatures without a fast pattern: nothing in the bytes names them, so a packet asks all of its
//! group's. Eight are asked at once, lane by lane, and eight eights by what each has in common: most
//! packets are ruled out for 64 signatures by a few vector instructions. [`Always::lets`] is the twin
//! for one; beside what it rules out, only spans that nothing can hold are.

use super::check::apps_of;
use super::gate::{Facts, Gate, LENGTH, PORTS};
use super::program::Rule;
use crate::packet::Direction;
use crate::rules::signature::{Compare, PacketTest, Protocol, Signature};

/// No IP protocol is named.
const ANY_PROTOCOL: u16 = u16::MAX;

/// A signature without a fast pattern, and when it is a candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Always {
    /// Number of the signature.
    pub signature: u32,
    gate: Gate,
    /// IP protocol that it names, or `ANY_PROTOCOL`.
    protocol: u16,
    /// Bits of the application protocols that its header names, or all.
    apps: u64,
}

impl Always {
    /// A signature's entry for packets of a direction.
    pub fn of(index: u32, signature: &Signature, rule: &Rule, direction: Direction) -> Always {
        let named = signature.packet.iter().find_map(|test| match test {
            PacketTest::IpProtocol(Compare::Equal(number)) => u16::try_from(*number).ok(),
            _ => None,
        });
        Always {
            signature: index,
            gate: Gate::of(signature, rule, direction),
            protocol: named.unwrap_or(ANY_PROTOCOL),
            apps: match &signature.header.protocol {
                Protocol::App(word) => apps_of(word),
                _ => u64::MAX,
            },
        }
    }

    /// What lets through whatever one of the two does.
    fn either(self, other: Always) -> Always {
        let (one, two) = (self.gate, other.gate);
        Always {
            signature: self.signature,
            gate: Gate {
                low: one.low.min(two.low),
                high: one.high.max(two.high),
                shortest: one.shortest.min(two.shortest),
                longest: one.longest.max(two.longest),
                needs: one.needs & two.needs,
            },
            protocol: match self.protocol == other.protocol {
                true => self.protocol,
                false => ANY_PROTOCOL,
            },
            apps: self.apps | other.apps,
        }
    }

    /// Whether the signature is a candidate: what [`Eight`] must agree with.
    #[cfg(test)]
    fn lets(&self, facts: &Facts) -> bool {
        self.gate.lets(facts)
            && self.apps & facts.apps != 0
            && (self.protocol == ANY_PROTOCOL || self.protocol == u16::from(facts.protocol))
    }
}

/// Lanes of a block.
const LANES: usize = 8;

/// Eight entries, or summaries of eight blocks, each value in an array of its own.
#[derive(Clone, Debug, Default)]
#[repr(C, align(64))]
struct Eight {
    /// The least port, and how many more there are up to the largest.
    low: [u16; LANES],
    ports: [u16; LANES],
    /// The least payload, and how many more bytes the longest has.
    shortest: [u16; LANES],
    lengths: [u16; LANES],
    needs: [u16; LANES],
    protocol: [u16; LANES],
    /// All ones where a protocol is named.
    named: [u16; LANES],
    /// Bits of lanes that hold an entry.
    lanes: u16,
    apps: [u64; LANES],
    signatures: [u32; LANES],
}

impl Eight {
    /// A block of these, eight at most.
    fn of(entries: &[Always]) -> Eight {
        let mut block = Eight::default();
        for (i, always) in entries.iter().take(LANES).enumerate() {
            let Gate {
                low,
                high,
                shortest,
                longest,
                needs,
            } = always.gate;
            // A span that is empty (`dsize` that nothing can hold) has no length to be within.
            let is_empty = high < low || longest < shortest;
            (block.low[i], block.ports[i]) = (low, high.saturating_sub(low));
            (block.shortest[i], block.lengths[i]) = (shortest, longest.saturating_sub(shortest));
            block.needs[i] = needs;
            block.protocol[i] = always.protocol;
            block.named[i] = match always.protocol {
                ANY_PROTOCOL => 0,
                _ => u16::MAX,
            };
            block.lanes |= u16::from(!is_empty) << i;
            block.apps[i] = always.apps;
            block.signatures[i] = always.signature;
        }
        block
    }

    /// Bits of the lanes that let these facts through. One copy: a kilobyte of vector instructions.
    #[inline(never)]
    fn lets(&self, facts: &Facts) -> u16 {
        let counts = |bit: u16| match facts.bits & bit {
            0 => 0,
            _ => u16::MAX,
        };
        let (ports, lengths) = (counts(PORTS), counts(LENGTH));
        let (missing, protocol) = (!facts.bits, u16::from(facts.protocol));
        const BITS: [u16; LANES] = [1, 2, 4, 8, 16, 32, 64, 128];
        let mut passed = [0u16; LANES];
        // One loop without a branch, which becomes vector instructions.
        for (i, passed) in passed.iter_mut().enumerate() {
            let port = facts.port.wrapping_sub(self.low[i]);
            let length = facts.length.wrapping_sub(self.shortest[i]);
            let miss = port.saturating_sub(self.ports[i]) & ports
                | length.saturating_sub(self.lengths[i]) & lengths
                | self.needs[i] & missing
                | (self.protocol[i] ^ protocol) & self.named[i];
            *passed = u16::from(miss == 0).wrapping_neg() & BITS[i];
        }
        passed.iter().fold(0, |all, one| all | one) & self.lanes
    }

    /// Calls `each` with the lanes that let these facts through.
    #[inline(always)]
    fn each(&self, facts: &Facts, mut each: impl FnMut(usize)) {
        let mut passed = self.lets(facts);
        while passed != 0 {
            let lane = passed.trailing_zeros() as usize % LANES;
            passed &= passed - 1;
            if self.apps[lane] & facts.apps != 0 {
                each(lane);
            }
        }
    }
}

/// Signatures without a fast pattern, alike ones together.
#[derive(Debug, Default)]
pub struct AlwaysList {
    /// What each block's entries have in common, eight blocks a piece.
    summaries: Box<[Eight]>,
    entries: Box<[Eight]>,
}

impl AlwaysList {
    /// A list of these.
    pub fn new(mut entries: Vec<Always>) -> AlwaysList {
        entries.sort_unstable_by_key(|always| {
            let Always { gate, protocol, .. } = always;
            let length = (gate.shortest, gate.longest);
            let kind = (gate.needs, *protocol, always.apps);
            (kind, length, (gate.low, gate.high), always.signature)
        });
        let summary = |some: &[Always]| some.iter().copied().reduce(Always::either);
        let summaries: Vec<Always> = entries.chunks(LANES).filter_map(summary).collect();
        let blocks = |entries: &[Always]| entries.chunks(LANES).map(Eight::of).collect();
        AlwaysList {
            summaries: blocks(&summaries),
            entries: blocks(&entries),
        }
    }

    /// Calls `propose` with each signature that is a candidate. One copy for all who ask, and few are
    /// proposed: see `Literals::scan`.
    #[inline(never)]
    pub fn each(&self, facts: &Facts, propose: &mut dyn FnMut(u32)) {
        for (summary, blocks) in self.summaries.iter().zip(self.entries.chunks(LANES)) {
            summary.each(facts, |lane| {
                if let Some(block) = blocks.get(lane) {
                    block.each(facts, |lane| propose(block.signatures[lane]));
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn always() -> impl Strategy<Value = Always> {
        let span = || {
            prop_oneof![
                Just((0, u16::MAX)),
                (0..6u16, 0..6u16),
                (65_530..=u16::MAX, 65_530..=u16::MAX),
            ]
        };
        let protocol = prop_oneof![Just(ANY_PROTOCOL), 0..3u16];
        let apps = prop_oneof![Just(u64::MAX), 1..4u64];
        (span(), span(), 0..64u16, protocol, apps).prop_map(
            |((low, high), (shortest, longest), needs, protocol, apps)| Always {
                signature: 0,
                gate: Gate {
                    low,
                    high,
                    shortest,
                    longest,
                    needs,
                },
                protocol,
                apps,
            },
        )
    }

    proptest! {
        #[test]
        fn a_list_names_who_lets_through(
            entries in proptest::collection::vec(always(), 0..200),
            bits in 0..64u16,
            port in prop_oneof![0..7u16, 65_530..=u16::MAX],
            length in prop_oneof![0..7u16, 65_530..=u16::MAX],
            protocol in 0..4u8,
            apps in 0..8u64,
        ) {
            let facts = Facts { bits, port, length, protocol, apps };
            let numbered = entries.into_iter().zip(0..);
            let entries: Vec<Always> = numbered
                .map(|(always, signature)| Always { signature, ..always })
                .collect();
            let mut named = Vec::new();
            AlwaysList::new(entries.clone()).each(&facts, &mut |signature| named.push(signature));
            named.sort_unstable();
            let is_empty = |a: &Always| a.gate.high < a.gate.low || a.gate.longest < a.gate.shortest;
            let lets = entries.iter().filter(|a| a.lets(&facts) && !is_empty(a));
            let expected: Vec<u32> = lets.map(|always| always.signature).collect();
            prop_assert_eq!(named, expected);
        }
    }
}
