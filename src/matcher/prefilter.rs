//! The prefilter of a group: finds all fast patterns of its signatures in a buffer at once.
//!
//! An Aho-Corasick automaton over patterns folded to lower case; a pattern that minds case is
//! compared again where the automaton found it. Matches may overlap, all are reported.

use aho_corasick::automaton::OverlappingState;
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};

use crate::rules::group::Pattern;

/// Groups up to this many pattern bytes get a DFA: faster, and of bounded size at that.
const DFA_BYTES_MAX: usize = 2048;

/// Finds the patterns of one group.
#[derive(Clone, Debug, Default)]
pub struct Prefilter {
    automaton: Option<AhoCorasick>,
    patterns: Vec<Owner>,
    longest: usize,
}

/// One distinct pattern and whose it is.
#[derive(Clone, Debug)]
struct Owner {
    /// The bytes, where case matters.
    exact: Option<Box<[u8]>>,
    length: usize,
    signatures: Box<[u32]>,
}

impl Prefilter {
    /// A prefilter over these patterns, each with the number of its signature.
    ///
    /// # Errors
    /// What aho-corasick says: more states than it can number.
    pub fn build(patterns: &[(Pattern, u32)]) -> Result<Prefilter, String> {
        let mut owners: Vec<(Pattern, Vec<u32>)> = Vec::new();
        let mut known = hashbrown::HashMap::new();
        for (pattern, signature) in patterns {
            let at = *known.entry(pattern.clone()).or_insert_with(|| {
                owners.push((pattern.clone(), Vec::new()));
                owners.len() - 1
            });
            if let Some((_, signatures)) = owners.get_mut(at) {
                signatures.push(*signature);
            }
        }
        if owners.is_empty() {
            return Ok(Prefilter::default());
        }
        let bytes: usize = owners.iter().map(|(p, _)| p.bytes.len()).sum();
        let kind = if bytes <= DFA_BYTES_MAX {
            AhoCorasickKind::DFA
        } else {
            AhoCorasickKind::ContiguousNFA
        };
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .kind(Some(kind))
            .prefilter(false)
            .build(owners.iter().map(|(pattern, _)| &*pattern.bytes))
            .map_err(|error| error.to_string())?;
        Ok(Prefilter {
            longest: owners.iter().map(|(p, _)| p.bytes.len()).max().unwrap_or(0),
            automaton: Some(automaton),
            patterns: owners.into_iter().map(owner).collect(),
        })
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }

    /// Length of the longest pattern.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Bytes of memory, without the lists of signatures.
    pub fn memory(&self) -> usize {
        self.automaton.as_ref().map_or(0, AhoCorasick::memory_usage)
    }

    /// Calls `found` with the number of each signature whose pattern lies in `haystack`, and the
    /// position where the pattern starts. A signature may be named several times.
    pub fn scan(&self, haystack: &[u8], mut found: impl FnMut(u32, usize)) {
        let Some(automaton) = &self.automaton else {
            return;
        };
        let mut state = OverlappingState::start();
        loop {
            automaton.find_overlapping(Input::new(haystack), &mut state);
            let Some(hit) = state.get_match() else {
                return;
            };
            let Some(owner) = self.patterns.get(hit.pattern().as_usize()) else {
                return;
            };
            let at = hit.end().saturating_sub(owner.length);
            let fits = match &owner.exact {
                Some(exact) => haystack.get(at..hit.end()) == Some(exact),
                None => true,
            };
            if fits {
                for signature in &owner.signatures {
                    found(*signature, at);
                }
            }
        }
    }
}

fn owner((pattern, signatures): (Pattern, Vec<u32>)) -> Owner {
    let minds = !pattern.nocase && pattern.bytes.iter().any(u8::is_ascii_alphabetic);
    Owner {
        length: pattern.bytes.len(),
        exact: minds.then_some(pattern.bytes),
        signatures: signatures.into(),
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
        }
    }

    proptest! {
        #[test]
        fn all_occurrences_are_found(
            needles in proptest::collection::vec(("[abAB]{1,4}", any::<bool>()), 0..8),
            haystack in "[abABc]{0,60}",
        ) {
            let patterns: Vec<(Pattern, u32)> = needles
                .iter()
                .zip(0..)
                .map(|((needle, nocase), i)| (pattern(needle.as_bytes(), *nocase), i))
                .collect();
            let prefilter = Prefilter::build(&patterns).unwrap();
            let mut found = Vec::new();
            prefilter.scan(haystack.as_bytes(), |signature, at| found.push((signature, at)));
            found.sort_unstable();
            let mut expected = Vec::new();
            for (pattern, i) in &patterns {
                for (at, window) in haystack.as_bytes().windows(pattern.bytes.len()).enumerate() {
                    if window == &*pattern.bytes
                        || (pattern.nocase && window.eq_ignore_ascii_case(&pattern.bytes))
                    {
                        expected.push((*i, at));
                    }
                }
            }
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
