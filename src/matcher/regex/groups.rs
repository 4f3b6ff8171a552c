//! Groups of a pattern: what `(` begins. Part of the parser (parse.rs).
//!
//! What lives here: captures, look-around, conditionals, inline flags, references by `(?P=`.
//! Read first: pcre2pattern(3), "Groups", "Lookaround assertions", "Conditional groups".

use super::RegexError;
use super::parse::{DEPTH_MAX, GROUPS_MAX, Mode, Parser};
use super::syntax::{Condition, Node};

impl Parser<'_> {
    /// What follows an opening bracket.
    pub(super) fn group(&mut self, mode: &mut Mode) -> Result<Option<Node>, RegexError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error("groups nested too deep", "250 levels are the most"));
        }
        let node = if self.take(b"?") {
            self.special_group(mode)
        } else if self.peek() == Some(b'*') {
            Err(self.error("(*VERB) is not supported", "write the pattern without it"))
        } else if mode.no_capture {
            self.inside(*mode, false).map(Some)
        } else {
            self.capture(*mode).map(Some)
        };
        self.depth -= 1;
        node
    }

    /// Alternatives and the closing bracket.
    fn inside(&mut self, mut mode: Mode, reset: bool) -> Result<Node, RegexError> {
        let node = self.alternation(&mut mode, reset)?;
        if !self.take(b")") {
            return Err(self.error(
                "group without )",
                "close it, or write \\( for a literal one",
            ));
        }
        Ok(node)
    }

    fn capture(&mut self, mode: Mode) -> Result<Node, RegexError> {
        self.groups += 1;
        let index = self.groups;
        if index > GROUPS_MAX {
            return Err(self.error(
                "too many capturing groups",
                "write (?:...) where none is used",
            ));
        }
        Ok(Node::Group {
            index,
            node: Box::new(self.inside(mode, false)?),
        })
    }

    /// What follows `(?`.
    fn special_group(&mut self, mode: &mut Mode) -> Result<Option<Node>, RegexError> {
        let look = |behind, negated| (behind, negated);
        for (opening, (behind, negated)) in [
            (&b"="[..], look(false, false)),
            (b"!", look(false, true)),
            (b"<=", look(true, false)),
            (b"<!", look(true, true)),
        ] {
            if self.take(opening) {
                let node = Box::new(self.inside(*mode, false)?);
                return Ok(Some(Node::Look {
                    behind,
                    negated,
                    node,
                }));
            }
        }
        if self.take(b":") {
            return self.inside(*mode, false).map(Some);
        }
        if self.take(b">") {
            let node = self.inside(*mode, false)?;
            return Ok(Some(Node::Atomic(Box::new(node))));
        }
        if self.take(b"|") {
            self.branch_reset = true;
            return self.inside(*mode, true).map(Some);
        }
        if self.take(b"(") {
            return self.conditional(*mode).map(Some);
        }
        if self.take(b"P=") {
            let name = self.name(b')')?;
            return Ok(Some(self.reference_by_name(name, mode)));
        }
        for (opening, close) in [(&b"P<"[..], b'>'), (b"<", b'>'), (b"'", b'\'')] {
            if self.take(opening) {
                let name = self.name(close)?;
                return self.named_capture(name, *mode).map(Some);
            }
        }
        match self.peek() {
            Some(b'R' | b'&' | b'0'..=b'9' | b'+' | b'P') => self.no_recursion(),
            Some(b'-') if self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit) => {
                self.no_recursion()
            }
            Some(b'C') => Err(self.error("callouts are not supported", "leave (?C) out")),
            _ => self.inline_flags(mode),
        }
    }

    fn no_recursion(&self) -> Result<Option<Node>, RegexError> {
        Err(self.error(
            "recursion is not supported",
            "repeat the group's text instead",
        ))
    }

    fn named_capture(&mut self, name: String, mode: Mode) -> Result<Node, RegexError> {
        let index = self.groups + 1;
        if self
            .names
            .iter()
            .any(|(other, number)| *other == name && *number != index)
        {
            return Err(self.error("two groups of one name", "give each a name of its own"));
        }
        self.names.push((name, index));
        self.capture(mode)
    }

    /// A name and the byte that closes it.
    pub(super) fn name(&mut self, close: u8) -> Result<String, RegexError> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            self.at += 1;
        }
        let name: String = self.text[start..self.at]
            .iter()
            .map(|&byte| char::from(byte))
            .collect();
        if name.is_empty() || name.len() > 128 || name.as_bytes()[0].is_ascii_digit() {
            self.at = start;
            return Err(self.error("bad name of a group", "letters, digits, _; a letter first"));
        }
        if self.next() != Some(close) {
            return Err(self.error("name of a group not closed", "close it as it was opened"));
        }
        Ok(name)
    }

    /// What follows `(?(`.
    fn conditional(&mut self, mode: Mode) -> Result<Node, RegexError> {
        let condition = if self.peek() == Some(b'?') {
            self.at += 1;
            let mut inner = mode;
            match self.special_group(&mut inner)? {
                Some(look @ Node::Look { .. }) => Condition::Look(Box::new(look)),
                _ => return Err(self.error("bad condition", "a group or a look-around")),
            }
        } else {
            let start = self.at;
            let reference = if let Some(number) = self.number() {
                self.take(b")").then(|| self.reference(number, &mode))
            } else if self.take(b"<") {
                let name = self.name(b'>')?;
                self.take(b")").then(|| self.reference_by_name(name, &mode))
            } else if self.take(b"'") {
                let name = self.name(b'\'')?;
                self.take(b")").then(|| self.reference_by_name(name, &mode))
            } else {
                let name = self.name(b')')?;
                Some(self.reference_by_name(name, &mode))
            };
            match reference {
                Some(Node::Reference { group, .. }) if group > 0 => Condition::Group(group),
                _ => {
                    self.at = start;
                    return Err(self.error("bad condition", "a group or a look-around"));
                }
            }
        };
        let mut branches = match self.inside(mode, false)? {
            Node::Alternate(branches) => branches,
            node => vec![node],
        };
        let no = if branches.len() > 1 {
            branches.pop()
        } else {
            None
        };
        let yes = branches.pop().filter(|_| branches.is_empty());
        let Some(yes) = yes else {
            return Err(self.error("conditional with more than two branches", "yes|no"));
        };
        let no = Box::new(no.unwrap_or(Node::Empty));
        Ok(Node::Conditional {
            condition,
            yes: Box::new(yes),
            no,
        })
    }

    /// `(?i-s)` for the rest of the group, `(?i-s:...)` for a group of its own.
    fn inline_flags(&mut self, mode: &mut Mode) -> Result<Option<Node>, RegexError> {
        let mut changed = *mode;
        let mut on = true;
        if self.take(b"^") {
            (changed.caseless, changed.multiline, changed.dotall) = (false, false, false);
            (changed.extended, changed.extended_class, changed.no_capture) = (false, false, false);
        }
        loop {
            match self.next() {
                Some(b'i') => changed.caseless = on,
                Some(b'm') => changed.multiline = on,
                Some(b's') => changed.dotall = on,
                Some(b'x') => {
                    changed.extended = on;
                    changed.extended_class = on && self.take(b"x");
                }
                Some(b'n') => changed.no_capture = on,
                Some(b'U') => changed.ungreedy = on,
                Some(b'J') => {}
                Some(b'-') if on => on = false,
                Some(b')') => {
                    *mode = changed;
                    return Ok(None);
                }
                Some(b':') => return self.inside(changed, false).map(Some),
                _ => {
                    self.at = self.at.saturating_sub(1);
                    return Err(self.error("unknown kind of group", "(?:...) groups only"));
                }
            }
        }
    }
}
