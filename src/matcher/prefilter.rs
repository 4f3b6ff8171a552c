//! The prefilter of a group: finds all fast patterns of its signatures in a buffer at once.
//!
//! The search is literal/'s; here stand whose the literals are. Matches may overlap, all are
//! reported.

use std::sync::LazyLock;

use super::gate::{Facts, Gate};
use super::literal::{Anchor, Background, Literal, Literals, Path};
pub use super::literal::{Extent, Scan};
use crate::rules::group::{Pattern, Place};

/// Entries that the prefilters of one packet look at, at most; what is left is not inspected,
/// counted, and follows the policy of the match budget.
pub const LOOKS_MAX: u32 = 1 << 17;

/// Literals that a scan for any remembers to have told of.
const TOLD: usize = 8;

/// What is common in traffic, as built in.
static BACKGROUND: LazyLock<Background> = LazyLock::new(Background::default);

/// A signature whose fast pattern a literal is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Owner {
    /// Its number.
    pub signature: u32,
    /// What a packet must be for it.
    pub gate: Gate,
}

/// Finds the patterns of one group.
#[derive(Clone, Debug, Default)]
pub struct Prefilter {
    literals: Literals,
    /// Where the owners of each literal begin in `owners`, and one more.
    firsts: Vec<u32>,
    owners: Vec<Owner>,
    path: Option<Path>,
    longest: usize,
    /// What its scans cost in the bursts that were measured.
    pub cost: super::profile::ScanCost,
}

impl Prefilter {
    /// A prefilter over these patterns, each with its owner.
    ///
    /// # Errors
    /// A pattern without bytes.
    pub fn build(patterns: &[(Pattern, Owner)]) -> Result<Prefilter, String> {
        let mut literals: Vec<Literal> = Vec::new();
        let mut owners: Vec<Vec<Owner>> = Vec::new();
        let mut known = hashbrown::HashMap::new();
        for (pattern, owner) in patterns {
            let literal = literal(pattern);
            let at = *known.entry(literal.clone()).or_insert_with(|| {
                literals.push(literal);
                owners.push(Vec::new());
                owners.len() - 1
            });
            if let Some(owners) = owners.get_mut(at) {
                owners.push(*owner);
            }
        }
        let path = Path::best();
        let mut compiled = Literals::build(&literals, &BACKGROUND, path)
            .map_err(|number| format!("fast pattern {number} has no bytes"))?;
        compiled.skip_runs();
        let mut firsts = vec![0];
        let mut end = 0;
        for owners in &owners {
            end += owners.len() as u32;
            firsts.push(end);
        }
        Ok(Prefilter {
            literals: compiled,
            firsts,
            owners: owners.concat(),
            path: Some(path),
            longest: literals.iter().map(|l| l.bytes.len()).max().unwrap_or(0),
            cost: super::profile::ScanCost::default(),
        })
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.literals.is_empty()
    }

    /// Number of patterns.
    pub fn len(&self) -> usize {
        self.literals.len()
    }

    /// Length of the longest pattern.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.literals.memory() + self.firsts.len() * 4 + self.owners.len() * size_of::<Owner>()
    }

    /// Calls `found` with the number of each signature whose pattern lies in `haystack` and whose
    /// gate lets `facts` through, and the position where the pattern starts. A signature may be
    /// named several times. `extent` says which ends of the buffer are at hand; `looks` is what is
    /// left of the packet's budget.
    pub fn scan(
        &self,
        haystack: &[u8],
        extent: Extent,
        facts: &Facts,
        looks: &mut u32,
        mut found: impl FnMut(u32, usize),
    ) -> Scan {
        self.each(haystack, extent, looks, |literal, at| {
            for owner in self.owners(literal) {
                if owner.gate.lets(facts) {
                    found(owner.signature, at);
                }
            }
        })
    }

    /// The same for who does not ask where: a literal that stands in many places is told of seldom
    /// more than once.
    pub fn scan_for_any(
        &self,
        haystack: &[u8],
        extent: Extent,
        facts: &Facts,
        looks: &mut u32,
        mut found: impl FnMut(u32),
    ) -> Scan {
        let mut before = [u32::MAX; TOLD];
        self.each(haystack, extent, looks, |literal, _| {
            if before.contains(&literal) {
                return;
            }
            before[literal as usize % TOLD] = literal;
            for owner in self.owners(literal) {
                if owner.gate.lets(facts) {
                    found(owner.signature);
                }
            }
        })
    }

    #[inline(always)]
    fn each(
        &self,
        haystack: &[u8],
        extent: Extent,
        looks: &mut u32,
        mut found: impl FnMut(u32, usize),
    ) -> Scan {
        let Some(path) = self.path.filter(|_| !self.literals.is_empty()) else {
            return Scan::Complete;
        };
        self.literals
            .scan(path, haystack, extent, looks, &mut found)
    }

    fn owners(&self, literal: u32) -> &[Owner] {
        let place = |number: u32| self.firsts.get(number as usize).map_or(0, |n| *n as usize);
        let range = place(literal)..place(literal + 1);
        self.owners.get(range).unwrap_or(&[])
    }
}

fn literal(pattern: &Pattern) -> Literal {
    Literal {
        bytes: pattern.bytes.clone(),
        nocase: pattern.nocase,
        anchor: match pattern.place {
            Place::Anywhere => Anchor::Floating,
            Place::Start => Anchor::Start,
            Place::End => Anchor::End,
            Place::Whole => Anchor::Whole,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(bytes: &[u8], nocase: bool) -> Pattern {
        Pattern {
            bytes: bytes.into(),
            nocase,
            place: Place::Anywhere,
        }
    }

    proptest! {
        #[test]
        fn all_occurrences_are_found(
            needles in proptest::collection::vec(("[abAB]{1,4}", any::<bool>()), 0..8),
            haystack in "[abABc]{0,60}",
        ) {
            let owner = |signature| Owner { signature, gate: Gate::OPEN };
            let patterns: Vec<(Pattern, Owner)> = needles
                .iter()
                .zip(0..)
                .map(|((needle, nocase), i)| (pattern(needle.as_bytes(), *nocase), owner(i)))
                .collect();
            let prefilter = Prefilter::build(&patterns).unwrap();
            let mut found = Vec::new();
            let mut looks = u32::MAX;
            let haystack = haystack.as_bytes();
            let facts = Facts::ANY;
            let scan = prefilter.scan(haystack, Extent::WHOLE, &facts, &mut looks, |signature, at| {
                found.push((signature, at));
            });
            prop_assert_eq!(scan, Scan::Complete);
            let mut any = std::collections::BTreeSet::new();
            let scan = prefilter.scan_for_any(haystack, Extent::WHOLE, &facts, &mut looks, |signature| {
                any.insert(signature);
            });
            prop_assert_eq!(scan, Scan::Complete);
            prop_assert_eq!(any, found.iter().map(|(signature, _)| *signature).collect());
            found.sort_unstable();
            let mut expected = Vec::new();
            for (pattern, i) in &patterns {
                for (at, window) in haystack.windows(pattern.bytes.len()).enumerate() {
                    if window == &*pattern.bytes
                        || (pattern.nocase && window.eq_ignore_ascii_case(&pattern.bytes))
                    {
                        expected.push((i.signature, at));
                    }
                }
            }
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
