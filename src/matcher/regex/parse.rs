//! From the text of a pattern to its tree: the syntax of PCRE2 for subjects of bytes.
//!
//! What lives here: sequences, quantifiers, and the binding of references. Groups stand in
//! groups.rs, escapes and classes in escape.rs. What does not: any decision about engines. Read first: pcre2pattern(3). Invariant:
//! nothing is guessed; what is not understood is an error with its offset and a hint.
//! PCRE2's lenient readings are kept, because rules depend on them: a `{` that begins no
//! quantifier, a `]` outside a class and a `/` with or without `\` are literal.

use super::syntax::{Condition, Greed, Node, Place};
use super::{RegexError, RegexFlags};

/// Longest pattern, in bytes. A line of rules is shorter.
pub const PATTERN_LEN_MAX: usize = 16 * 1024;
/// Deepest nesting of groups, as PCRE2's default.
pub const DEPTH_MAX: u32 = 250;
/// Greatest count in a quantifier, as PCRE2's.
pub const REPEAT_MAX: u32 = 65_535;
/// Most capturing groups.
pub const GROUPS_MAX: u32 = 1000;

/// What a pattern parses to.
#[derive(Debug)]
pub struct Pattern {
    /// The tree.
    pub node: Node,
    /// Capturing groups, numbered 1 to this.
    pub groups: u32,
    /// Names of groups.
    pub names: Vec<(String, u32)>,
    /// Two groups may carry one number (`(?|`).
    pub branch_reset: bool,
}

/// Flags that a pattern can change on its way.
#[derive(Clone, Copy)]
pub(super) struct Mode {
    pub(super) caseless: bool,
    pub(super) multiline: bool,
    pub(super) dotall: bool,
    pub(super) extended: bool,
    pub(super) extended_class: bool,
    pub(super) ungreedy: bool,
    pub(super) no_capture: bool,
    pub(super) dollar_endonly: bool,
}

pub(super) struct Parser<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    pub(super) groups: u32,
    pub(super) names: Vec<(String, u32)>,
    /// References by name and their offsets, bound when all names are known.
    by_name: Vec<(String, usize)>,
    /// The greatest group referred to, and where.
    greatest_reference: (u32, usize),
    pub(super) depth: u32,
    pub(super) branch_reset: bool,
    /// Inside `\Q...\E`.
    quoting: bool,
}

/// References by name carry a number from here up until names are bound.
const UNBOUND: u32 = 1 << 16;

/// Parses `text`, the bytes between the slashes.
pub fn parse(text: &[u8], flags: &RegexFlags) -> Result<Pattern, RegexError> {
    if text.len() > PATTERN_LEN_MAX {
        return Err(RegexError::new(0, "pattern too long", "16 KiB is the most"));
    }
    let mut mode = Mode {
        caseless: flags.caseless,
        multiline: flags.multiline,
        dotall: flags.dotall,
        extended: flags.extended,
        extended_class: false,
        ungreedy: flags.ungreedy,
        no_capture: false,
        dollar_endonly: flags.dollar_endonly,
    };
    let mut parser = Parser {
        text,
        at: 0,
        groups: 0,
        names: Vec::new(),
        by_name: Vec::new(),
        greatest_reference: (0, 0),
        depth: 0,
        branch_reset: false,
        quoting: false,
    };
    let mut node = parser.alternation(&mut mode, false)?;
    if parser.at < text.len() {
        return Err(parser.error("unmatched )", "write \\) for a literal one"));
    }
    parser.bind(&mut node)?;
    let (greatest, offset) = parser.greatest_reference;
    if greatest > parser.groups {
        let hint = "groups are counted by their opening brackets";
        return Err(RegexError::new(
            offset,
            "reference to a group that does not exist",
            hint,
        ));
    }
    let Parser {
        groups,
        names,
        branch_reset,
        ..
    } = parser;
    Ok(Pattern {
        node,
        groups,
        names,
        branch_reset,
    })
}

impl Parser<'_> {
    pub(super) fn error(&self, message: &'static str, hint: &'static str) -> RegexError {
        RegexError::new(self.at, message, hint)
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Takes `word` if it comes next.
    pub(super) fn take(&mut self, word: &[u8]) -> bool {
        let there = self.text[self.at.min(self.text.len())..].starts_with(word);
        self.at += if there { word.len() } else { 0 };
        there
    }

    /// Alternatives up to the `)` that ends them, or the end. Flags set inside stay set for the
    /// alternatives that follow, as PCRE2 has it; the caller keeps them from leaving the group.
    pub(super) fn alternation(&mut self, mode: &mut Mode, reset: bool) -> Result<Node, RegexError> {
        let groups_before = self.groups;
        let mut groups_most = self.groups;
        let mut branches = vec![self.sequence(mode)?];
        while self.peek() == Some(b'|') {
            self.at += 1;
            groups_most = groups_most.max(self.groups);
            if reset {
                self.groups = groups_before;
            }
            branches.push(self.sequence(mode)?);
        }
        self.groups = self.groups.max(groups_most);
        Ok(if branches.len() == 1 {
            branches.remove(0)
        } else {
            Node::Alternate(branches)
        })
    }

    fn sequence(&mut self, mode: &mut Mode) -> Result<Node, RegexError> {
        let mut nodes: Vec<Node> = Vec::new();
        loop {
            if !self.quoting {
                self.skip_ignored(mode)?;
            }
            let Some(byte) = self.peek() else { break };
            if !self.quoting && (byte == b'|' || byte == b')') {
                break;
            }
            let Some(atom) = self.atom(mode)? else {
                continue;
            };
            nodes.push(self.quantified(atom, mode)?);
        }
        Ok(joined(nodes))
    }

    /// White space and comments that stand for nothing.
    fn skip_ignored(&mut self, mode: &Mode) -> Result<(), RegexError> {
        loop {
            if self.take(b"(?#") {
                let rest = &self.text[self.at..];
                let Some(close) = rest.iter().position(|&byte| byte == b')') else {
                    return Err(self.error("comment without )", "close the (?# comment"));
                };
                self.at += close + 1;
            } else if mode.extended && self.peek().is_some_and(is_pattern_space) {
                self.at += 1;
            } else if mode.extended && self.peek() == Some(b'#') {
                let rest = &self.text[self.at..];
                self.at += rest
                    .iter()
                    .position(|&b| b == b'\n')
                    .map_or(rest.len(), |n| n + 1);
            } else {
                return Ok(());
            }
        }
    }

    /// One thing that a quantifier could follow; `None` for what has no node (`\E`, `(?i)`).
    fn atom(&mut self, mode: &mut Mode) -> Result<Option<Node>, RegexError> {
        if self.quoting {
            return Ok(self.quoted(mode));
        }
        let start = self.at;
        let Some(byte) = self.next() else {
            return Ok(None);
        };
        let node = match byte {
            b'^' if mode.multiline => Node::Place(Place::LineStart),
            b'^' => Node::Place(Place::Start),
            b'$' if mode.multiline => Node::Place(Place::LineEnd),
            b'$' if mode.dollar_endonly => Node::Place(Place::End),
            b'$' => Node::Place(Place::EndOrFinalNewline),
            b'.' => Node::Set(super::escape::dot(mode.dotall)),
            b'[' => self.class(mode)?,
            b'(' => return self.group(mode),
            b'\\' if self.take(b"Q") => {
                self.quoting = true;
                return Ok(None);
            }
            b'\\' if self.take(b"E") => return Ok(None),
            b'\\' => self.escape(mode)?,
            b'*' | b'+' | b'?' => {
                self.at = start;
                return Err(self.error("quantifier without something to repeat", "escape it"));
            }
            b'{' => {
                self.at = start;
                if self.counts()?.is_some() {
                    self.at = start;
                    return Err(self.error("quantifier without something to repeat", "escape it"));
                }
                self.at = start + 1;
                literal(byte, mode)
            }
            _ => literal(byte, mode),
        };
        Ok(Some(node))
    }

    /// A byte of `\Q...\E`, or the end of it.
    fn quoted(&mut self, mode: &Mode) -> Option<Node> {
        if self.take(b"\\E") {
            self.quoting = false;
            return None;
        }
        self.next().map(|byte| literal(byte, mode))
    }

    /// The atom, repeated as the quantifier behind it says, if there is one.
    fn quantified(&mut self, atom: Node, mode: &Mode) -> Result<Node, RegexError> {
        if self.quoting && !self.take(b"\\E") {
            return Ok(atom);
        }
        self.quoting = false;
        let mut node = atom;
        let mut repeated = false;
        loop {
            self.skip_ignored(mode)?;
            let start = self.at;
            let Some((min, max)) = self.counts()? else {
                return Ok(node);
            };
            if repeated {
                self.at = start;
                return Err(self.error("quantifier without something to repeat", "escape it"));
            }
            repeated = true;
            self.skip_ignored(mode)?;
            let greed = match self.peek() {
                Some(b'?') if mode.ungreedy => Greed::Greedy,
                Some(b'?') => Greed::Lazy,
                Some(b'+') => Greed::Possessive,
                _ if mode.ungreedy => Greed::Lazy,
                _ => Greed::Greedy,
            };
            self.at += usize::from(matches!(self.peek(), Some(b'?' | b'+')));
            // A look-around has no length, so PCRE2 gives its endless repeats an end.
            let is_look = matches!(node, Node::Look { .. });
            let max = max.or(is_look.then_some(min + 1));
            node = match (min, max) {
                (1, Some(1)) => node,
                (_, Some(0)) => emptied(node),
                _ => Node::Repeat {
                    node: Box::new(node),
                    min,
                    max,
                    greed,
                },
            };
        }
    }

    /// The counts of a quantifier, or `None` and nothing taken where none begins.
    pub(super) fn counts(&mut self) -> Result<Option<(u32, Option<u32>)>, RegexError> {
        let start = self.at;
        match self.next() {
            Some(b'*') => return Ok(Some((0, None))),
            Some(b'+') => return Ok(Some((1, None))),
            Some(b'?') => return Ok(Some((0, Some(1)))),
            Some(b'{') => {}
            _ => {
                self.at = start;
                return Ok(None);
            }
        }
        let min = self.count()?;
        let counts = if self.take(b",") {
            let max = self.count()?;
            (min.is_some() || max.is_some()).then_some((min.unwrap_or(0), max))
        } else {
            min.map(|min| (min, Some(min)))
        };
        let Some((min, max)) = counts.filter(|_| self.take(b"}")) else {
            self.at = start;
            return Ok(None);
        };
        if max.is_some_and(|max| max < min) {
            return Err(self.error("counts of a quantifier out of order", "write {least,most}"));
        }
        Ok(Some((min, max)))
    }

    /// A number within a quantifier; PCRE2 lets blanks stand around it.
    fn count(&mut self) -> Result<Option<u32>, RegexError> {
        let blanks = |parser: &mut Self| while parser.take(b" ") || parser.take(b"\t") {};
        blanks(self);
        let number = self.number();
        blanks(self);
        match number {
            Some(number) if number > REPEAT_MAX => {
                Err(self.error("count of a quantifier too great", "65535 is the most"))
            }
            _ => Ok(number),
        }
    }

    /// Decimal digits; saturates.
    pub(super) fn number(&mut self) -> Option<u32> {
        let mut number = None;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            let value: u32 = number.unwrap_or(0);
            number = Some(
                value
                    .saturating_mul(10)
                    .saturating_add(u32::from(digit - b'0')),
            );
            self.at += 1;
        }
        number
    }

    pub(super) fn reference_by_name(&mut self, name: String, mode: &Mode) -> Node {
        self.by_name.push((name, self.at));
        let group = UNBOUND + self.by_name.len() as u32 - 1;
        Node::Reference {
            group,
            caseless: mode.caseless,
        }
    }

    pub(super) fn reference(&mut self, group: u32, mode: &Mode) -> Node {
        if group > self.greatest_reference.0 {
            self.greatest_reference = (group, self.at);
        }
        Node::Reference {
            group,
            caseless: mode.caseless,
        }
    }

    /// Puts numbers where references by name stand.
    fn bind(&self, node: &mut Node) -> Result<(), RegexError> {
        let number = |group: &mut u32| -> Result<(), RegexError> {
            let Some((name, offset)) = group
                .checked_sub(UNBOUND)
                .and_then(|index| self.by_name.get(index as usize))
            else {
                return Ok(());
            };
            let Some((_, index)) = self.names.iter().find(|(other, _)| other == name) else {
                let hint = "name a group so, or mend the name";
                return Err(RegexError::new(
                    *offset,
                    "reference to a name no group has",
                    hint,
                ));
            };
            *group = *index;
            Ok(())
        };
        match node {
            Node::Reference { group, .. } => number(group),
            Node::Concat(nodes) | Node::Alternate(nodes) => {
                nodes.iter_mut().try_for_each(|node| self.bind(node))
            }
            Node::Repeat { node, .. } | Node::Group { node, .. } => self.bind(node),
            Node::Atomic(node) | Node::Look { node, .. } => self.bind(node),
            Node::Conditional { condition, yes, no } => {
                match condition {
                    Condition::Group(group) => number(group)?,
                    Condition::Look(look) => self.bind(look)?,
                }
                self.bind(yes)?;
                self.bind(no)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn ignores_blanks_in_classes(&self, mode: &Mode) -> bool {
        mode.extended_class
    }
}

/// One byte of the pattern that stands for itself.
pub(super) fn literal(byte: u8, mode: &Mode) -> Node {
    let caseless = mode.caseless && byte.is_ascii_alphabetic();
    Node::Literal {
        bytes: vec![byte],
        caseless,
    }
}

/// White space that `x` ignores.
fn is_pattern_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// A group repeated no times still has its number, so it stays in the tree, where it fails.
fn emptied(node: Node) -> Node {
    let has_group = node.any(&mut |node| matches!(node, Node::Group { .. }));
    if has_group {
        let greed = Greed::Greedy;
        Node::Repeat {
            node: Box::new(node),
            min: 0,
            max: Some(0),
            greed,
        }
    } else {
        Node::Empty
    }
}

/// The nodes in a row, with neighbouring literals made one.
fn joined(nodes: Vec<Node>) -> Node {
    let mut row: Vec<Node> = Vec::with_capacity(nodes.len());
    let has_letter = |bytes: &[u8]| bytes.iter().any(u8::is_ascii_alphabetic);
    for node in nodes {
        match (row.last_mut(), node) {
            (_, Node::Empty) => {}
            (
                Some(Node::Literal { bytes, caseless }),
                Node::Literal {
                    bytes: more,
                    caseless: more_caseless,
                },
            ) if *caseless == more_caseless || !has_letter(bytes) || !has_letter(&more) => {
                *caseless |= more_caseless;
                bytes.extend(more);
            }
            (_, node) => row.push(node),
        }
    }
    match row.len() {
        0 => Node::Empty,
        1 => row.remove(0),
        _ => Node::Concat(row),
    }
}
