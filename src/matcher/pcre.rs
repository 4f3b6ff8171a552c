//! `pcre` options as the matcher runs them: the flag letters of a rule, the bound on the bytes that
//! one search looks at, and one compiled form for all signatures that share a pattern.
//!
//! The engine is regex/: PCRE2's language, in linear time or in bounded steps.

use std::sync::Arc;

use hashbrown::HashMap;

use super::regex::{Regex, RegexCache, RegexFlags, RegexLimits, RegexResult, Tables};

/// Bytes of a buffer that one search looks at; further ones are not searched.
pub const SEARCH_BYTES_MAX: usize = 64 << 10;

/// A compiled pattern; clones share it.
#[derive(Clone)]
pub struct Pattern {
    regex: Arc<Regex>,
    limits: RegexLimits,
    /// The pattern speaks of what follows, so a match may depend on bytes to come.
    pub wants_end: bool,
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Pattern({:?})", self.regex.engine())
    }
}

/// What of a match the caller goes on with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Whether there is one: the cheapest question.
    Whether,
    /// Its end; the start given is only a lower bound.
    End,
    /// Start and end.
    Span,
}

/// The most that is asked of a pattern. What it is compiled to depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Asked {
    /// Whether it matches, and where the match ends.
    Ends,
    /// Where matches begin, too.
    Starts,
    /// Groups.
    Groups,
}

impl Pattern {
    /// Compiles the text between the slashes with the flag letters after them.
    ///
    /// # Errors
    /// What the engine refuses, in words.
    pub fn compile(pattern: &[u8], flags: &str) -> Result<Pattern, String> {
        Pattern::made(pattern, flags, Asked::Starts, None)
    }

    fn made(
        pattern: &[u8],
        flags: &str,
        asked: Asked,
        tables: Option<&Tables>,
    ) -> Result<Pattern, String> {
        let words = |error: super::regex::RegexError| format!("{error}: {}", error.hint);
        let mut flags = RegexFlags::from_letters(flags).map_err(words)?;
        flags.captures = asked == Asked::Groups;
        flags.ends_alone = asked == Asked::Ends;
        let regex = Regex::compile_with(pattern, flags, tables).map_err(words)?;
        Ok(Pattern {
            limits: regex.limits(),
            wants_end: regex.looks_ahead(),
            regex: Arc::new(regex),
        })
    }

    /// A hash of what it was compiled to.
    pub fn fingerprint(&self) -> u64 {
        self.regex.fingerprint()
    }

    /// Grows a worker's cache to what a search needs, so that searches do not allocate.
    pub fn reserve(&self, cache: &mut RegexCache) {
        cache.reserve(&self.regex);
    }

    /// The first match in `subject` that starts at `start` or later; look-behind sees all of
    /// `subject`. Of the offsets in the result, only what is `wanted` means something.
    pub fn search(
        &self,
        cache: &mut RegexCache,
        subject: &[u8],
        start: usize,
        wanted: Wanted,
    ) -> RegexResult {
        let subject = subject.get(..SEARCH_BYTES_MAX).unwrap_or(subject);
        if start > subject.len() {
            return RegexResult::NoMatch;
        }
        let (regex, limits) = (&self.regex, &self.limits);
        match wanted {
            Wanted::Whether => regex.test_at(cache, subject, start, limits),
            Wanted::End => regex.find_end_at(cache, subject, start, limits),
            Wanted::Span => regex.find_at(cache, subject, start, limits),
        }
    }
}

impl Pattern {
    /// Where the first group of the first match stands.
    pub fn first_group(&self, cache: &mut RegexCache, subject: &[u8]) -> Option<(usize, usize)> {
        let mut groups = [None; 1];
        let found = self.groups(cache, subject, 0, &mut groups);
        groups[0].filter(|_| found)
    }

    /// Where the groups of the first match stand that starts at `start` or later, if there is one.
    pub fn groups(
        &self,
        cache: &mut RegexCache,
        subject: &[u8],
        start: usize,
        groups: &mut [Option<(usize, usize)>],
    ) -> bool {
        let subject = subject.get(..SEARCH_BYTES_MAX).unwrap_or(subject);
        let (regex, limits) = (&self.regex, &self.limits);
        let found = regex.captures_at(cache, subject, start, limits, groups);
        matches!(found, RegexResult::Match { .. })
    }
}

/// A pattern as it is written, its flag letters, and what is asked of it.
type Written = (Box<[u8]>, Box<str>, Asked);

/// Compiled patterns, or why they are refused. A rule set has about half as many patterns as
/// options.
#[derive(Debug, Default)]
pub struct Patterns<'a> {
    known: HashMap<Written, Result<Pattern, String>>,
    tables: Option<&'a Tables>,
}

impl<'a> Patterns<'a> {
    /// None yet; automata of `tables` are used where it has them.
    pub fn with(tables: Option<&'a Tables>) -> Patterns<'a> {
        Patterns {
            known: HashMap::new(),
            tables,
        }
    }

    /// Compiles these ahead, on as many threads as there are cores.
    pub fn prepare<'p>(&mut self, wanted: impl Iterator<Item = (&'p [u8], &'p str, Asked)>) {
        let mut seen = hashbrown::HashSet::new();
        let distinct: Vec<_> = wanted.filter(|one| seen.insert(*one)).collect();
        let tables = self.tables;
        let made = super::threads::each(&distinct, |(pattern, flags, asked)| {
            Pattern::made(pattern, flags, *asked, tables)
        });
        for (number, made) in made {
            if let Some((pattern, flags, asked)) = distinct.get(number) {
                let written = (Box::from(*pattern), Box::from(*flags), *asked);
                self.known.insert(written, made);
            }
        }
    }

    /// The compiled form of the pattern, made if no other option had it before.
    ///
    /// # Errors
    /// As `Pattern::compile`.
    pub fn compile(
        &mut self,
        pattern: &[u8],
        flags: &str,
        asked: Asked,
    ) -> Result<Pattern, String> {
        let tables = self.tables;
        let made = || Pattern::made(pattern, flags, asked, tables);
        let written = (Box::from(pattern), Box::from(flags), asked);
        self.known.entry(written).or_insert_with(made).clone()
    }

    /// All of them, in no order.
    pub fn into_all(self) -> Box<[Pattern]> {
        self.known.into_values().filter_map(Result::ok).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_mean_what_pcre_says() {
        type Span = Option<(usize, usize)>;
        type Case = (&'static str, &'static str, &'static [u8], usize, Span);
        let cases: &[Case] = &[
            ("abc", "i", b"xABC", 0, Some((1, 4))),
            ("^abc", "", b"xabc", 1, None),
            ("^abc", "m", b"x\nabc", 1, Some((2, 5))),
            ("a.c", "", b"a\nc", 0, None),
            ("a.c", "s", b"a\nc", 0, Some((0, 3))),
            ("abc", "A", b"xabc", 0, None),
            ("a+", "G", b"aaa", 0, Some((0, 1))),
            ("a b", "x", b"ab", 0, Some((0, 2))),
            ("\\xff", "", b"a\xff", 0, Some((1, 2))),
            ("a", "", b"aa", 1, Some((1, 2))),
            ("a", "", b"aa", 3, None),
            ("a(?=b)", "", b"acab", 0, Some((2, 3))),
            ("(?<!x)ab", "", b"xabab", 0, Some((3, 5))),
            ("(?<=x)b", "", b"xb", 1, Some((1, 2))),
            ("(a|b)c\\1", "", b"acbbcb", 0, Some((3, 6))),
            ("(?>a+)b", "", b"aab", 0, Some((0, 3))),
            // `$` holds before a final newline, with `E` at the very end alone.
            ("a$", "", b"a\n", 0, Some((0, 1))),
            ("a$", "E", b"a\n", 0, None),
            ("a$", "", b"a\nb", 0, None),
            ("a$", "m", b"a\nb", 0, Some((0, 1))),
            ("a\\z", "", b"a\n", 0, None),
        ];
        let mut cache = RegexCache::default();
        for (pattern, flags, subject, start, expected) in cases {
            let compiled = Pattern::compile(pattern.as_bytes(), flags).unwrap();
            compiled.reserve(&mut cache);
            let mut search = |wanted| compiled.search(&mut cache, subject, *start, wanted);
            let expected = match *expected {
                Some((start, end)) => RegexResult::Match { start, end },
                None => RegexResult::NoMatch,
            };
            assert_eq!(
                search(Wanted::Span),
                expected,
                "/{pattern}/{flags} at {start}"
            );
            for less in [Wanted::Whether, Wanted::End] {
                let same = matches!(search(less), RegexResult::Match { .. })
                    == matches!(expected, RegexResult::Match { .. });
                assert!(same, "/{pattern}/{flags} at {start}, {less:?}");
            }
        }
        assert!(Pattern::compile(b"(", "").is_err());
        assert!(Pattern::compile(b"a", "J").is_err());
        for (pattern, wants) in [("a$", true), ("a(?=b)", true), ("a[$]\\$", false)] {
            let compiled = Pattern::compile(pattern.as_bytes(), "").unwrap();
            assert_eq!(compiled.wants_end, wants, "/{pattern}/");
        }
    }

    #[test]
    fn a_pattern_is_compiled_once() {
        let mut patterns = Patterns::default();
        let first = patterns.compile(b"a+", "i", Asked::Ends).unwrap();
        let again = patterns.compile(b"a+", "i", Asked::Ends).unwrap();
        let other = patterns.compile(b"a+", "", Asked::Ends).unwrap();
        assert!(Arc::ptr_eq(&first.regex, &again.regex));
        assert!(!Arc::ptr_eq(&first.regex, &other.regex));
        assert_eq!(patterns.into_all().len(), 2);
    }
}
