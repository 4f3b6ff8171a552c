//! `pcre` options as the matcher runs them: flags understood, pattern compiled once at load.
//!
//! The engine behind is linear in time. Patterns that it cannot run (lookaround, backreferences)
//! are refused at compile time and their signature is reported as not run; regex/ is the room for
//! the step-bounded engine that takes those.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

/// Bytes of a buffer that one search looks at; further ones are not searched.
pub const SEARCH_BYTES_MAX: usize = 64 << 10;
/// Memory of one compiled pattern, bytes.
const PATTERN_SIZE_MAX: usize = 8 << 20;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    anchored: bool,
    /// The pattern speaks of the end of its subject, so a match may depend on bytes to come.
    pub wants_end: bool,
}

impl Pattern {
    /// Compiles the text between the slashes with the flag letters after them.
    ///
    /// # Errors
    /// What the pattern asks for and this engine does not do, in words.
    pub fn compile(pattern: &[u8], flags: &str) -> Result<Pattern, String> {
        let has = |letter| flags.contains(letter);
        let text = printable(pattern);
        let config = syntax::Config::new()
            .unicode(false)
            .utf8(false)
            .case_insensitive(has('i'))
            .dot_matches_new_line(has('s'))
            .multi_line(has('m'))
            .ignore_whitespace(has('x'))
            .swap_greed(has('G'));
        let engine = Regex::config()
            .utf8_empty(false)
            .nfa_size_limit(Some(PATTERN_SIZE_MAX));
        let regex = Regex::builder()
            .syntax(config)
            .configure(engine)
            .build(&text)
            .map_err(|error| match error.syntax_error() {
                Some(syntax) => format!("{syntax}"),
                None => format!("{error}"),
            })?;
        Ok(Pattern {
            regex,
            anchored: has('A'),
            wants_end: speaks_of_end(pattern),
        })
    }

    /// The first match in `subject` that starts at `start` or later; look-behind sees all of
    /// `subject`.
    pub fn find_at(&self, subject: &[u8], start: usize) -> Option<(usize, usize)> {
        let subject = subject.get(..SEARCH_BYTES_MAX).unwrap_or(subject);
        if start > subject.len() {
            return None;
        }
        let anchored = if self.anchored {
            Anchored::Yes
        } else {
            Anchored::No
        };
        let input = Input::new(subject)
            .span(start..subject.len())
            .anchored(anchored);
        let found = self.regex.find(input)?;
        Some((found.start(), found.end()))
    }
}

/// The pattern as text, bytes above ASCII written as escapes.
fn printable(pattern: &[u8]) -> String {
    let mut text = String::with_capacity(pattern.len());
    for &byte in pattern {
        if byte.is_ascii() {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

fn speaks_of_end(pattern: &[u8]) -> bool {
    let mut escaped = false;
    let mut class = false;
    for &byte in pattern {
        match byte {
            b'z' | b'Z' if escaped => return true,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'[' => class = true,
            b']' => class = false,
            b'$' if !class => return true,
            _ => {}
        }
    }
    false
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
        ];
        for (pattern, flags, subject, start, expected) in cases {
            let compiled = Pattern::compile(pattern.as_bytes(), flags).unwrap();
            let found = compiled.find_at(subject, *start);
            assert_eq!(found, *expected, "/{pattern}/{flags} at {start}");
        }
        assert!(Pattern::compile(b"(?=a)", "").is_err());
        assert!(Pattern::compile(b"a$", "").unwrap().wants_end);
        assert!(!Pattern::compile(b"a[$]\\$", "").unwrap().wants_end);
    }
}
