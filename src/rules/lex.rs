//! Rule files into logical lines, lines into header words and options, each with its span.
//!
//! Nothing here knows what a keyword means. A rule is one line; a trailing backslash continues it;
//! a line whose first byte is `#`, a blank or a line end is a comment. An option ends at the first
//! `;` that no backslash precedes: quotes do not protect it (RULES.md 6.2).

use std::borrow::Cow;

use crate::rules::diagnostic::{Code, Problem, Span};

/// Longest rule, bytes. Suricata reads 8,192; the longest known rule has 3,309.
pub const RULE_LENGTH_MAX: usize = 65_536;
/// Most options of a rule.
pub const OPTIONS_MAX: usize = 4_096;

/// Words that start a rule.
pub const ACTIONS: &[&str] = &[
    "alert",
    "drop",
    "pass",
    "reject",
    "rejectsrc",
    "rejectdst",
    "rejectboth",
    "config",
    "accept",
];

/// What a logical line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineKind {
    /// A rule to load.
    Rule,
    /// A rule behind a `#`.
    Disabled,
    /// A rule behind a blank: a comment, probably by mistake.
    Indented,
}

/// A logical line that holds a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleLine<'a> {
    /// What it is.
    pub kind: LineKind,
    /// The text; for a disabled or indented rule without the characters before it.
    pub text: Cow<'a, str>,
    /// First physical line, from 1.
    pub line: u32,
    /// Bytes of the first physical line that come before `text` (and their number in characters).
    before: u32,
    /// Where the later physical lines begin in `text`.
    breaks: Vec<u32>,
}

impl RuleLine<'_> {
    /// Line (from 1) and column (characters, from 1) of a byte of the text.
    pub fn locate(&self, offset: u32) -> (u32, u32) {
        let index = self.breaks.partition_point(|start| *start <= offset);
        let start = if index == 0 {
            0
        } else {
            self.breaks[index - 1]
        };
        let characters = Span {
            start,
            end: offset.max(start),
        }
        .of(&self.text)
        .chars()
        .count() as u32;
        let before = if index == 0 { self.before } else { 0 };
        (self.line + index as u32, before + characters + 1)
    }

    /// A span as line, column and length in characters, cut at the end of its physical line.
    pub fn place(&self, span: Span) -> (u32, u32, u32) {
        let (line, column) = self.locate(span.start);
        let limit = self
            .breaks
            .iter()
            .copied()
            .find(|start| *start > span.start)
            .unwrap_or(self.text.len() as u32);
        let end = span.end.min(limit).max(span.start);
        let length = Span {
            start: span.start,
            end,
        }
        .of(&self.text)
        .chars()
        .count() as u32;
        (line, column, length.max(1))
    }
}

/// What a file is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lines<'a> {
    /// The rules, in order.
    pub rules: Vec<RuleLine<'a>>,
    /// Physical lines that are not UTF-8.
    pub not_utf8: Vec<u32>,
    /// First physical line that ends with CRLF.
    pub crlf: Option<u32>,
}

/// Whether `text` starts with an action word and a blank.
fn starts_with_action(text: &str) -> bool {
    let word = text.split([' ', '\t', ':']).next().unwrap_or("");
    word.len() < text.len() && ACTIONS.iter().any(|a| a.eq_ignore_ascii_case(word))
}

/// Whether a comment is a rule that was switched off, rather than a sentence.
fn looks_like_rule(text: &str) -> bool {
    starts_with_action(text)
        && text.contains('(')
        && (text.contains("->") || text.contains("<>") || text.contains("=>"))
        && text.contains("sid")
}

/// Splits a file into logical lines. Comments that hold no rule are left out.
pub fn lines(text: &[u8]) -> Lines<'_> {
    let mut found = Lines::default();
    let mut open: Option<RuleLine<'_>> = None;
    let mut rest = Some(text);
    for index in 0.. {
        let Some(from) = rest else { break };
        let (raw, behind) = match memchr::memchr(b'\n', from) {
            Some(end) => (&from[..end], Some(&from[end + 1..])),
            None => (from, None),
        };
        rest = behind;
        let number: u32 = index + 1;
        let raw = match raw.strip_suffix(b"\r") {
            Some(raw) => {
                found.crlf.get_or_insert(number);
                raw
            }
            None => raw,
        };
        let Ok(line) = std::str::from_utf8(raw) else {
            if open.take().is_some() || raw.first().is_some_and(|b| !b"# \t".contains(b)) {
                found.not_utf8.push(number);
            }
            continue;
        };
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let trimmed = line.trim_end();
        let (part, more) = match trimmed.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (trimmed, false),
        };
        if let Some(rule) = &mut open {
            rule.breaks.push(rule.text.len() as u32);
            rule.text.to_mut().push_str(part);
            if !more || rule.text.len() > RULE_LENGTH_MAX {
                found.rules.extend(open.take());
            }
            continue;
        }
        let Some(rule) = first_line(part, trimmed, number) else {
            continue;
        };
        if more && rule.kind == LineKind::Rule {
            open = Some(rule);
        } else {
            found.rules.push(rule);
        }
    }
    found.rules.extend(open);
    found
}

/// The logical line that starts here, if it is a rule. `part` lacks the continuation mark.
fn first_line<'a>(part: &'a str, whole: &'a str, number: u32) -> Option<RuleLine<'a>> {
    let line = |kind, text: &'a str, from: &'a str| RuleLine {
        kind,
        text: Cow::Borrowed(text),
        line: number,
        before: from.len().saturating_sub(text.len()) as u32,
        breaks: Vec::new(),
    };
    match part.as_bytes().first() {
        None => None,
        Some(b'#') => {
            let text = whole.trim_start_matches(['#', ' ', '\t']);
            looks_like_rule(text).then(|| line(LineKind::Disabled, text, whole))
        }
        Some(b' ' | b'\t') => {
            let text = whole.trim_start();
            starts_with_action(text).then(|| line(LineKind::Indented, text, whole))
        }
        Some(_) => Some(line(LineKind::Rule, part, part)),
    }
}

/// An option as written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawOption {
    /// Keyword.
    pub name: Span,
    /// What stands behind the first colon, without blanks around it; `None` without a colon.
    pub value: Option<Span>,
    /// All of it, without the semicolon.
    pub whole: Span,
}

/// A rule line cut into its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawRule {
    /// Action.
    pub action: Span,
    /// Protocol.
    pub protocol: Span,
    /// Source addresses.
    pub src_addr: Span,
    /// Source ports.
    pub src_port: Span,
    /// Arrow.
    pub direction: Span,
    /// Destination addresses.
    pub dst_addr: Span,
    /// Destination ports.
    pub dst_port: Span,
    /// Options, in order.
    pub options: Vec<RawOption>,
    /// A `)` ends the line.
    pub closed: bool,
}

/// Span of `text[start..end]` without blanks at its ends.
fn trimmed(text: &str, start: usize, end: usize) -> Span {
    let part = text.get(start..end).unwrap_or("");
    let left = part.trim_start().len();
    let kept = part.trim();
    let from = start + (part.len() - left);
    Span::new(from, from + kept.len())
}

/// The next word from `at`: up to a blank outside of brackets.
fn word(text: &str, at: usize) -> (Span, usize) {
    let bytes = text.as_bytes();
    let mut start = at;
    while bytes.get(start).is_some_and(u8::is_ascii_whitespace) {
        start += 1;
    }
    let mut depth = 0i32;
    let mut end = start;
    while let Some(b) = bytes.get(end) {
        match b {
            b'[' => depth += 1,
            b']' => depth -= 1,
            b'(' if depth == 0 => break,
            b if b.is_ascii_whitespace() && depth <= 0 => break,
            _ => {}
        }
        end += 1;
    }
    (Span::new(start, end), end)
}

/// Cuts a logical line into header and options.
pub fn split(text: &str) -> Result<RawRule, Problem> {
    if text.len() > RULE_LENGTH_MAX {
        return Err(Problem::new(
            Code::RuleTooLong,
            Span::new(0, 1),
            format!("the rule is longer than {RULE_LENGTH_MAX} bytes"),
        ));
    }
    if let Some(at) = control(text.as_bytes()) {
        return Err(Problem::new(
            Code::ControlCharacter,
            Span::new(at, at + 1),
            "control character in a rule",
        )
        .help("write it as |hex| inside a content"));
    }
    let mut words = [Span::default(); 7];
    let mut at = 0;
    for slot in &mut words {
        (*slot, at) = word(text, at);
    }
    let [
        action,
        protocol,
        src_addr,
        src_port,
        direction,
        dst_addr,
        dst_port,
    ] = words;
    let open = text
        .get(at..)
        .and_then(|rest| rest.find('('))
        .map(|p| at + p);
    let Some(open) = open.filter(|open| text[at..*open].trim().is_empty()) else {
        return Err(no_options(text, &words, at));
    };
    let inner = text[open..].trim_start_matches(['(', ' ', '\t']);
    let start = text.len() - inner.len();
    let body = inner.trim_end();
    let closed = body.ends_with(')');
    let body = body.trim_end_matches([')', ' ', '\t']);
    Ok(RawRule {
        action,
        protocol,
        src_addr,
        src_port,
        direction,
        dst_addr,
        dst_port,
        options: options(text, start, start + body.len())?,
        closed,
    })
}

/// The first control character. All bytes are looked at in step first, which takes far less time
/// than asking each whether to go on.
fn control(bytes: &[u8]) -> Option<usize> {
    let is_control = |b: &u8| (*b < 0x20 && *b != b'\t') || *b == 0x7f;
    let any = bytes.iter().fold(false, |any, b| any | is_control(b));
    any.then(|| bytes.iter().position(is_control)).flatten()
}

/// Why there are no options: a word of the header is missing, or one too many stands there.
fn no_options(text: &str, words: &[Span; 7], at: usize) -> Problem {
    const NAMES: [&str; 7] = [
        "action",
        "protocol",
        "source address",
        "source port",
        "direction",
        "destination address",
        "destination port",
    ];
    match words.iter().position(|w| w.start == w.end) {
        Some(missing) => Problem::new(
            Code::NoOptions,
            Span::new(at.min(text.len()), at + 1),
            format!("the {} of the rule is missing", NAMES[missing]),
        )
        .help("a rule is: action protocol source port -> destination port (options;)"),
        None => {
            let extra = trimmed(text, at, text.find('(').unwrap_or(text.len()).max(at));
            Problem::new(
                Code::NoOptions,
                extra,
                "expected `(` and the options after the destination port",
            )
            .help("a rule is: action protocol source port -> destination port (options;)")
        }
    }
}

/// Cuts `text[start..end]` at its unescaped semicolons.
fn options(text: &str, start: usize, end: usize) -> Result<Vec<RawOption>, Problem> {
    let mut found = Vec::with_capacity(16);
    let mut at = start;
    while at < end {
        let part = &text.as_bytes()[at..end];
        let stop = memchr::memchr_iter(b';', part).find(|i| *i == 0 || part[i - 1] != b'\\');
        let Some(stop) = stop.map(|stop| at + stop) else {
            let rest = trimmed(text, at, end);
            return Err(Problem::new(
                Code::MissingSemicolon,
                Span {
                    start: rest.end.saturating_sub(1).max(rest.start),
                    end: rest.end,
                },
                format!("no `;` after `{}`", shorten(rest.of(text))),
            )
            .help("every option ends with `;`, also the last one"));
        };
        found.push(option(text, at, stop));
        if found.len() > OPTIONS_MAX {
            return Err(Problem::new(
                Code::RuleTooLong,
                Span::new(at, at + 1),
                format!("the rule has more than {OPTIONS_MAX} options"),
            ));
        }
        at = stop + 1;
    }
    Ok(found)
}

/// The option that stands at `text[start..end]`.
fn option(text: &str, start: usize, end: usize) -> RawOption {
    let whole = trimmed(text, start, end);
    match text[start..end].find(':') {
        Some(colon) => RawOption {
            name: trimmed(text, start, start + colon),
            value: Some(trimmed(text, start + colon + 1, end)),
            whole,
        },
        None => RawOption {
            name: whole,
            value: None,
            whole,
        },
    }
}

/// At most 40 characters of `text`, for messages.
pub fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_left_out_and_disabled_rules_are_kept_apart() {
        let text = b"# a sentence\nalert ip any any -> any any (sid:1;)\n\
            # alert ip any any -> any any (sid:2;)\n  alert ip any any -> any any (sid:3;)\n\n";
        let found = lines(text);
        let kinds: Vec<(LineKind, u32)> = found.rules.iter().map(|r| (r.kind, r.line)).collect();
        assert_eq!(
            kinds,
            [
                (LineKind::Rule, 2),
                (LineKind::Disabled, 3),
                (LineKind::Indented, 4)
            ]
        );
        assert_eq!(found.rules[1].locate(0), (3, 3));
    }

    #[test]
    fn a_backslash_continues_and_positions_stay_true() {
        let text = b"alert ip any any -> \\\r\n  any any (msg:\"x\"; \\\n sid:1;)\nalert x\n";
        let found = lines(text);
        assert_eq!(found.rules.len(), 2);
        assert_eq!(found.crlf, Some(1));
        let rule = &found.rules[0];
        let sid = rule.text.find("sid").unwrap() as u32;
        assert_eq!(rule.locate(sid), (3, 2));
        let msg = rule.text.find("msg").unwrap() as u32;
        assert_eq!(rule.locate(msg), (2, 12));
        assert_eq!(found.rules[1].line, 4);
    }

    #[test]
    fn quotes_do_not_protect_a_semicolon() {
        let raw = split(r#"alert ip [a, b] any -> any any (msg:"a;b"; content:"c\;d"; sid:1;)"#);
        let text = r#"alert ip [a, b] any -> any any (msg:"a;b"; content:"c\;d"; sid:1;)"#;
        let names: Vec<&str> = raw
            .unwrap()
            .options
            .iter()
            .map(|o| o.whole.of(text))
            .collect();
        assert_eq!(names, [r#"msg:"a"#, r#"b""#, r#"content:"c\;d""#, "sid:1"]);
    }

    #[test]
    fn a_missing_last_semicolon_is_found() {
        let problem = split("alert ip any any -> any any (sid:1; rev:2)").unwrap_err();
        assert_eq!(problem.code, Code::MissingSemicolon);
        assert_eq!(problem.span, Span::new(40, 41));
    }
}
