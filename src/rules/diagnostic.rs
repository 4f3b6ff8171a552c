//! What is wrong with a rule: codes, severities and the diagnostic that the linter prints.
//!
//! Codes are stable: scripts filter by them, so a code is never renamed. Where a thing stands is a
//! byte span of the logical line (lex.rs) until `RuleLine::locate` turns it into line and column.
//! Printing is report.rs's.

use std::fmt;
use std::sync::Arc;

/// Bytes `start..end` of a logical rule line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// A span of byte positions; positions beyond 4 GiB do not occur (`lex::RULE_LENGTH_MAX`).
    pub fn new(start: usize, end: usize) -> Span {
        Span {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            end: u32::try_from(end).unwrap_or(u32::MAX),
        }
    }

    /// The bytes of `text` that the span names; empty if it lies outside.
    pub fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize)
            .unwrap_or("")
    }

    /// The part `start..end` of this span.
    pub fn part(self, start: usize, end: usize) -> Span {
        Span {
            start: self.start.saturating_add(start as u32),
            end: self.start.saturating_add(end as u32),
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Severity {
    /// The rule cannot be loaded.
    Error,
    /// The rule loads and probably does not do what its author meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word printed.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

macro_rules! codes {
    ($($name:ident $text:literal $severity:ident $why:literal;)+) => {
        /// Stable identity of a finding.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
        pub enum Code { $(#[doc = $why] $name),+ }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$name),+];

            /// The id printed in brackets.
            pub fn id(self) -> &'static str {
                match self { $(Code::$name => $text),+ }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity),+ }
            }

            /// One sentence: why this is reported.
            pub fn why(self) -> &'static str {
                match self { $(Code::$name => $why),+ }
            }
        }
    };
}

codes! {
    NotUtf8 "not-utf8" Error "A rule is UTF-8 text.";
    ControlCharacter "control-character" Error "A rule holds no control characters but tab.";
    RuleTooLong "rule-too-long" Error "A rule line has a bounded length.";
    BadAction "bad-action" Error "A rule starts with its action.";
    BadProtocol "bad-protocol" Error "The second word of a rule is a protocol.";
    BadDirection "bad-direction" Error "The arrow is ->, <> or =>; <- does not exist.";
    BadAddress "bad-address" Error "Addresses are any, an address, a.b.c.d/len, a-b, a list in brackets or a variable.";
    BadPort "bad-port" Error "Ports are any, a number, a:b, a list in brackets or a variable.";
    UndefinedVariable "undefined-variable" Error "Every variable of a rule must have a value.";
    NegatedAny "negated-any" Error "Everything is excluded, so nothing can match.";
    EmptySet "empty-set" Error "The set is empty, so nothing can match.";
    NoOptions "no-options" Error "The options of a rule stand in parentheses after the header.";
    MissingSemicolon "missing-semicolon" Error "Every option ends with a semicolon.";
    SwallowedOption "swallowed-option" Error "Quotes do not end an option, only a semicolon does: what follows the quote became part of the value.";
    UnknownKeyword "unknown-keyword" Error "The keyword is not part of the rule language.";
    MissingValue "missing-value" Error "This keyword needs a value.";
    UnexpectedValue "unexpected-value" Error "This keyword takes no value.";
    QuotesNeeded "quotes-needed" Error "The value of this keyword stands in double quotes.";
    QuotesRefused "quotes-refused" Error "The value of this keyword is not quoted.";
    BadQuotes "bad-quotes" Error "A quoted value ends with a double quote.";
    BadValue "bad-value" Error "The value does not have the form that this keyword takes.";
    BadEscape "bad-escape" Error "In a content only ; : \\ and \" are escaped; other bytes are written as |hex|.";
    BadHex "bad-hex" Error "Between pipes stand pairs of hexadecimal digits.";
    BadRegex "bad-regex" Error "The regular expression cannot be compiled.";
    MissingSid "missing-sid" Error "A rule without sid cannot be named, tuned or reported.";
    DuplicateSid "duplicate-sid" Error "gid and sid name one rule.";
    ReplacedSid "replaced-sid" Warning "The rule with the higher rev replaces the other.";
    DuplicateKeyword "duplicate-keyword" Error "This keyword may stand once.";
    NoContent "modifier-without-content" Error "A modifier changes the content before it.";
    ModifierConflict "modifier-conflict" Error "These modifiers contradict each other.";
    ImpossibleContent "impossible-content" Error "The content can never be found within these limits.";
    FastPatternConflict "fast-pattern-conflict" Error "The fast pattern must be a content that stands by itself.";
    SecondFastPattern "second-fast-pattern" Warning "A rule has one fast pattern; the first one is used.";
    EmptyBuffer "empty-buffer" Error "A sticky buffer without a test after it matches nothing.";
    NoBuffer "no-buffer" Error "This keyword works on the sticky buffer before it.";
    LegacyAfterSticky "legacy-after-sticky" Error "Old content modifiers cannot follow a sticky buffer; pkt_data ends it.";
    BufferConflict "buffer-conflict" Error "Packet keywords and application buffers cannot stand in one rule.";
    ProtocolConflict "protocol-conflict" Error "The keywords belong to different protocols.";
    DirectionConflict "direction-conflict" Error "The keywords belong to opposite directions.";
    FlowConflict "flow-conflict" Error "These flow options contradict each other.";
    UnknownVariable "unknown-variable" Error "The variable must be set by byte_extract or byte_math before it is used.";
    NoEarlierMatch "no-earlier-match" Error "A relative test starts where an earlier match in the same buffer ended.";
    ThresholdConflict "threshold-conflict" Error "threshold and detection_filter exclude each other.";
    SecondThreshold "second-threshold" Warning "A rule has one threshold; the last one is used.";
    TrailingText "trailing-text" Warning "The rest of the value is ignored, probably because a semicolon is missing.";
    NoEffect "no-effect" Warning "The keyword changes nothing, in Suricata neither.";
    NeverMatches "never-matches" Warning "No packet can match the rule, in Suricata neither.";
    NoCondition "rule-without-condition" Warning "The rule matches every packet of its protocol.";
    DropWithoutCondition "drop-without-condition" Warning "The rule drops every packet of its header.";
    IndentedRule "indented-rule" Warning "A line that starts with a blank is a comment: this rule is never loaded.";
    MissingParenthesis "missing-parenthesis" Warning "The options end with a closing parenthesis.";
    MissingMessage "missing-msg" Warning "Without msg an alert says only a number.";
    NoFastPattern "no-fast-pattern" Note "The rule has no content to search for, so it is checked on every packet of its group.";
    ShortFastPattern "short-fast-pattern" Note "The longest content is so short that it is found nearly everywhere.";
    Backtracking "pcre-backtracking" Note "The expression needs the step-bounded backtracking engine (look-around, back-references).";
    UppercaseHost "uppercase-host" Error "The host buffer is lower case, so this can never match.";
    NocaseHost "nocase-host" Note "The host buffer is lower case already.";
    TrailingSpace "trailing-space" Error "The method buffer holds no spaces.";
    FlowbitNeverSet "flowbit-never-set" Warning "The rule waits for a flowbit that no enabled rule sets.";
    FlowbitNeverRead "flowbit-never-read" Note "No enabled rule reads this flowbit.";
    Crlf "crlf" Note "The file has CRLF line ends.";
    EmptyFile "empty-file" Warning "The file holds no rule.";
    UnknownClasstype "unknown-classtype" Warning "The classtype is not in classification.config, so the priority is 3.";
    DuplicateClasstype "duplicate-classtype" Warning "The classtype with the highest priority is used.";
    Deprecated "deprecated-keyword" Note "The keyword has a newer name.";
    SkippedRequires "skipped-requires" Note "The rule says itself that it needs something else.";
    Unsupported "unsupported" Note "The rule is valid, and this build cannot run it.";
    NotStored "not-stored" Note "The rule alerts, and what it asks to keep is not kept.";
    BadConfigLine "bad-config-line" Warning "The line of the configuration file is not understood.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// Something wrong at a place of a logical line; becomes a [`Diagnostic`] when the file is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What kind.
    pub code: Code,
    /// Where.
    pub span: Span,
    /// What, in one clause.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    /// A problem of this kind at this place.
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Problem {
        Problem {
            code,
            span,
            message: message.into(),
            help: None,
        }
    }

    /// With advice.
    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

/// A finding in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Kind, with its severity.
    pub code: Code,
    /// Path as given.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Characters underlined on that line; at least 1.
    pub length: u32,
    /// `sid` of the rule, 0 if none.
    pub sid: u32,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

/// Number of single-character edits between two words, swaps of neighbours counting one; gives up
/// beyond `limit`.
fn edits(a: &[u8], b: &[u8], limit: usize) -> usize {
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1);
            best = best.min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// The word of `words` nearest to `word`, if near enough to be meant.
pub fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let limit = (word.len() / 3).clamp(1, 3);
    words
        .map(|candidate| {
            let lower = candidate.to_ascii_lowercase();
            let distance = if lower.replace('_', ".") == word.replace('_', ".") {
                0
            } else {
                edits(word.as_bytes(), lower.as_bytes(), limit)
            };
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, candidate)| (*distance, candidate.len().abs_diff(word.len())))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_far_words_are_not() {
        let words = ["content", "http.uri", "flow", "flowbits"];
        let near = |w: &str| nearest(w, words.iter().copied());
        assert_eq!(near("contnet"), Some("content"));
        assert_eq!(near("http.url"), Some("http.uri"));
        assert_eq!(near("flows"), Some("flow"));
        assert_eq!(near("zebra"), None);
    }

    #[test]
    fn codes_are_unique() {
        let ids: std::collections::BTreeSet<&str> = Code::ALL.iter().map(|c| c.id()).collect();
        assert_eq!(ids.len(), Code::ALL.len());
    }
}
