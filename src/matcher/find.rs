//! Finding one content in a buffer, for verification. Prefiltering of many at once is prefilter.rs.

use memchr::memmem::Finder;

/// Searches for one literal, with or without regard to ASCII case.
#[derive(Clone, Debug)]
pub enum Literal {
    /// Byte for byte.
    Exact(Box<Finder<'static>>),
    /// Folded: the literal in lower case, the position of its rarest byte, that byte both ways.
    Folded {
        /// Lower-case bytes.
        bytes: Box<[u8]>,
        /// Position of the byte that is looked for first.
        anchor: usize,
    },
}

impl Literal {
    /// A searcher for `bytes`.
    pub fn new(bytes: &[u8], nocase: bool) -> Literal {
        if !nocase || !bytes.iter().any(u8::is_ascii_alphabetic) {
            return Literal::Exact(Box::new(Finder::new(bytes).into_owned()));
        }
        let bytes: Box<[u8]> = bytes.to_ascii_lowercase().into();
        let anchor = (0..bytes.len())
            .min_by_key(|at| commonness(bytes.get(*at).copied().unwrap_or(0)))
            .unwrap_or(0);
        Literal::Folded { bytes, anchor }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Literal::Exact(finder) => finder.needle().len(),
            Literal::Folded { bytes, .. } => bytes.len(),
        }
    }

    /// Whether the literal is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Position of the first occurrence.
    pub fn find(&self, haystack: &[u8]) -> Option<usize> {
        match self {
            Literal::Exact(finder) => finder.find(haystack),
            Literal::Folded { bytes, anchor } => find_folded(bytes, *anchor, haystack),
        }
    }

    /// Whether `bytes` are the literal.
    pub fn equals(&self, bytes: &[u8]) -> bool {
        match self {
            Literal::Exact(finder) => finder.needle() == bytes,
            Literal::Folded { bytes: own, .. } => own.eq_ignore_ascii_case(bytes),
        }
    }
}

fn find_folded(bytes: &[u8], anchor: usize, haystack: &[u8]) -> Option<usize> {
    let last = haystack.len().checked_sub(bytes.len())?;
    let low = *bytes.get(anchor)?;
    let high = low.to_ascii_uppercase();
    let mut from = 0;
    while from <= last {
        let region = haystack.get(from + anchor..=last + anchor)?;
        let at = from + memchr::memchr2(low, high, region)?;
        let candidate = haystack.get(at..at + bytes.len())?;
        if candidate.eq_ignore_ascii_case(bytes) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Rough rank of how often a byte stands in traffic (higher: more often).
fn commonness(byte: u8) -> u8 {
    match byte {
        0 | b' ' | b'e' => 9,
        b't' | b'a' | b'o' | b'n' | b'i' | b'r' | b's' => 8,
        b'c' | b'd' | b'l' | b'm' | b'p' | b'h' | b'u' => 7,
        b'0'..=b'9' | b'/' | b'.' | b'-' => 6,
        b'a'..=b'z' => 5,
        b'\r' | b'\n' | 0xff => 5,
        b'!'..=b'~' => 4,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_agree_with_windows(
            needle in "[abAB]{1,4}",
            haystack in "[abABc]{0,40}",
            nocase: bool,
        ) {
            let literal = Literal::new(needle.as_bytes(), nocase);
            let naive = haystack.as_bytes().windows(needle.len()).position(|w| {
                if nocase { w.eq_ignore_ascii_case(needle.as_bytes()) } else { w == needle.as_bytes() }
            });
            prop_assert_eq!(literal.find(haystack.as_bytes()), naive);
        }
    }
}
