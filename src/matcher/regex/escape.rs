//! Escapes and classes of a pattern: what `\` and `[` begin. Part of the parser (parse.rs).
//!
//! What lives here: sets by name, octal and hexadecimal bytes, class syntax. Everything is bytes
//! in the C locale, as PCRE2 has it without UTF: case and names know ASCII alone.
//! Read first: pcre2pattern(3), "Backslash", "Square brackets and character classes".

use super::RegexError;
use super::parse::{Mode, Parser, literal};
use super::syntax::{ByteSet, Node, Place};

/// `.`: any byte but a newline; with `s`, any.
pub(super) fn dot(dotall: bool) -> ByteSet {
    if dotall {
        ByteSet::ALL
    } else {
        ByteSet::of(b"\n").complement()
    }
}

/// The set of `\d`, `\s`, `\w`, `\h`, `\v` and of their capitals.
fn named_escape(letter: u8) -> Option<ByteSet> {
    let set = match letter.to_ascii_lowercase() {
        b'd' => ByteSet::range(b'0', b'9'),
        b's' => ByteSet::of(b" \t\n\x0b\x0c\r"),
        b'w' => posix("word")?,
        b'h' => ByteSet::of(b"\t \xa0"),
        b'v' => ByteSet::of(b"\n\x0b\x0c\r\x85"),
        _ => return None,
    };
    Some(if letter.is_ascii_uppercase() {
        set.complement()
    } else {
        set
    })
}

/// The set of a POSIX class.
fn posix(name: &str) -> Option<ByteSet> {
    let is: fn(&u8) -> bool = match name {
        "alpha" => u8::is_ascii_alphabetic,
        "lower" => u8::is_ascii_lowercase,
        "upper" => u8::is_ascii_uppercase,
        "alnum" => u8::is_ascii_alphanumeric,
        "ascii" => u8::is_ascii,
        "blank" => |byte| matches!(byte, b' ' | b'\t'),
        "cntrl" => u8::is_ascii_control,
        "digit" => u8::is_ascii_digit,
        "graph" => u8::is_ascii_graphic,
        "print" => |byte| byte.is_ascii_graphic() || *byte == b' ',
        "punct" => u8::is_ascii_punctuation,
        "space" => |byte| byte.is_ascii_whitespace() || *byte == 0x0b,
        "word" => |byte| byte.is_ascii_alphanumeric() || *byte == b'_',
        "xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    };
    let members: Vec<u8> = (0..=255u8).filter(is).collect();
    Some(ByteSet::of(&members))
}

/// A part of a class.
enum Item {
    Byte(u8),
    Set(ByteSet),
    /// `\E`, or the blanks that `xx` ignores.
    Nothing,
}

impl Parser<'_> {
    /// What `\` begins outside a class; the `\` is taken.
    pub(super) fn escape(&mut self, mode: &Mode) -> Result<Node, RegexError> {
        let Some(letter) = self.next() else {
            return Err(self.error("\\ at the end", "write \\\\ for a literal one"));
        };
        if let Some(set) = named_escape(letter) {
            return Ok(Node::Set(set));
        }
        let node = match letter {
            b'N' if !self.is_named_character()? => Node::Set(dot(false)),
            b'C' => Node::Set(ByteSet::ALL),
            b'R' => Node::Atomic(Box::new(Node::Alternate(vec![
                Node::Literal {
                    bytes: b"\r\n".to_vec(),
                    caseless: false,
                },
                Node::Set(ByteSet::of(b"\n\x0b\x0c\r\x85")),
            ]))),
            b'A' => Node::Place(Place::Start),
            b'Z' => Node::Place(Place::EndOrFinalNewline),
            b'z' => Node::Place(Place::End),
            b'G' => Node::Place(Place::SearchStart),
            b'b' => Node::Place(Place::WordBoundary),
            b'B' => Node::Place(Place::NotWordBoundary),
            b'K' => Node::Keep,
            b'1'..=b'9' => self.digits(letter, mode)?,
            b'g' => self.reference_by_g(mode)?,
            b'k' => self.reference_by_k(mode)?,
            _ => literal(self.escaped_byte(letter)?, mode),
        };
        Ok(node)
    }

    /// Whether `{` follows and begins no quantifier, as in `\N{U+41}`.
    fn is_named_character(&mut self) -> Result<bool, RegexError> {
        let start = self.at;
        let is_quantified = self.counts()?.is_some();
        self.at = start;
        Ok(!is_quantified && self.peek() == Some(b'{'))
    }

    /// `\1` and its like: a reference if it has one digit, begins with 8 or 9, or if that many
    /// groups stand before it; else up to three octal digits.
    fn digits(&mut self, first: u8, mode: &Mode) -> Result<Node, RegexError> {
        let start = self.at;
        self.at -= 1;
        let number = self.number().unwrap_or(u32::MAX);
        if number < 10 || first >= b'8' || number <= self.groups {
            return Ok(self.reference(number, mode));
        }
        self.at = start;
        let byte = self.octal(u32::from(first - b'0'), 2)?;
        Ok(literal(byte, mode))
    }

    /// `\g1`, `\g-1`, `\g{1}`, `\g{-1}`, `\g{name}`.
    fn reference_by_g(&mut self, mode: &Mode) -> Result<Node, RegexError> {
        if matches!(self.peek(), Some(b'<' | b'\'')) {
            return Err(self.error("recursion is not supported", "repeat the group's text"));
        }
        let braced = self.take(b"{");
        let sign = self.peek().filter(|byte| matches!(byte, b'-' | b'+'));
        self.at += usize::from(sign.is_some());
        let node = match (self.number(), sign) {
            (Some(number), None) => self.reference(number, mode),
            (Some(back), Some(b'-')) if (1..=self.groups).contains(&back) => {
                self.reference(self.groups + 1 - back, mode)
            }
            (Some(ahead), Some(b'+')) if ahead > 0 => {
                self.reference(self.groups.saturating_add(ahead), mode)
            }
            (None, None) if braced => {
                let name = self.name(b'}')?;
                return Ok(self.reference_by_name(name, mode));
            }
            _ => return Err(self.error("bad \\g", "\\g{1}, \\g{-1} or \\g{name}")),
        };
        if braced && !self.take(b"}") {
            return Err(self.error("\\g{ without }", "close it"));
        }
        Ok(node)
    }

    /// `\k<name>`, `\k'name'`, `\k{name}`.
    fn reference_by_k(&mut self, mode: &Mode) -> Result<Node, RegexError> {
        let close = match self.next() {
            Some(b'<') => b'>',
            Some(b'\'') => b'\'',
            Some(b'{') => b'}',
            _ => return Err(self.error("bad \\k", "\\k<name>, \\k'name' or \\k{name}")),
        };
        let name = self.name(close)?;
        Ok(self.reference_by_name(name, mode))
    }

    /// Escapes that stand for one byte, in and out of classes.
    fn escaped_byte(&mut self, letter: u8) -> Result<u8, RegexError> {
        Ok(match letter {
            b'a' => 0x07,
            b'e' => 0x1b,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0' => self.octal(0, 2)?,
            b'o' if self.take(b"{") => self.braced(8)?,
            b'x' if self.take(b"{") => self.braced(16)?,
            b'x' => self.hexadecimal(),
            b'c' => match self.next() {
                Some(byte @ 0x20..=0x7e) => byte.to_ascii_uppercase() ^ 0x40,
                _ => return Err(self.error("\\c without a printable byte", "write \\x1b instead")),
            },
            b'p' | b'P' | b'X' => {
                return Err(self.error("Unicode properties are not supported", "name the bytes"));
            }
            _ if letter.is_ascii_alphanumeric() => {
                self.at -= 1;
                return Err(self.error("unknown escape", "leave the \\ out if it means the letter"));
            }
            _ => letter,
        })
    }

    /// Up to `more` further octal digits.
    fn octal(&mut self, mut value: u32, more: usize) -> Result<u8, RegexError> {
        for _ in 0..more {
            let Some(digit @ b'0'..=b'7') = self.peek() else {
                break;
            };
            value = value * 8 + u32::from(digit - b'0');
            self.at += 1;
        }
        u8::try_from(value)
            .map_err(|_| self.error("octal value beyond a byte", "\\377 is the most"))
    }

    /// `\x` and up to two digits: `\x` alone is a zero byte.
    fn hexadecimal(&mut self) -> u8 {
        let mut value = 0;
        for _ in 0..2 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { break };
            value = value * 16 + digit as u8;
            self.at += 1;
        }
        value
    }

    /// Digits of `base` up to the `}`.
    fn braced(&mut self, base: u32) -> Result<u8, RegexError> {
        let mut value: u32 = 0;
        let mut digits = 0;
        while let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(base)) {
            value = value.saturating_mul(base).saturating_add(digit);
            digits += 1;
            self.at += 1;
        }
        if digits == 0 || !self.take(b"}") {
            return Err(self.error("bad number in braces", "write \\x{41} or \\o{101}"));
        }
        u8::try_from(value).map_err(|_| self.error("value beyond a byte", "subjects are bytes"))
    }

    /// A class; the `[` is taken.
    pub(super) fn class(&mut self, mode: &Mode) -> Result<Node, RegexError> {
        let start = self.at;
        let negated = self.take(b"^");
        let mut set = ByteSet::default();
        let mut quoting = false;
        let mut is_first = true;
        loop {
            if !quoting && self.peek() == Some(b']') && !is_first {
                self.at += 1;
                break;
            }
            let item = self.item(&mut quoting, mode)?;
            match item {
                Item::Nothing => continue,
                Item::Set(more) => set = set.union(more),
                Item::Byte(byte) => set = set.union(self.range_from(byte, quoting, mode)?),
            }
            is_first = false;
        }
        if set.is_empty() && self.at == start {
            return Err(self.error("empty class", "escape the ["));
        }
        let set = if mode.caseless { set.caseless() } else { set };
        Ok(Node::Set(if negated { set.complement() } else { set }))
    }

    /// The next part of a class.
    fn item(&mut self, quoting: &mut bool, mode: &Mode) -> Result<Item, RegexError> {
        let Some(byte) = self.next() else {
            return Err(self.error(
                "class without ]",
                "close it, or write \\[ for a literal one",
            ));
        };
        if *quoting {
            if byte == b'\\' && self.take(b"E") {
                *quoting = false;
                return Ok(Item::Nothing);
            }
            return Ok(Item::Byte(byte));
        }
        match byte {
            b'[' if matches!(self.peek(), Some(b':' | b'.' | b'=')) => self.posix_item(),
            b' ' | b'\t' if self.ignores_blanks_in_classes(mode) => Ok(Item::Nothing),
            b'\\' => self.escape_in_class(quoting),
            _ => Ok(Item::Byte(byte)),
        }
    }

    /// `[:name:]`, where `[` is taken; a literal `[` where it is not one.
    fn posix_item(&mut self) -> Result<Item, RegexError> {
        let start = self.at;
        let kind = self.next().unwrap_or(b':');
        let negated = self.take(b"^");
        let name_at = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_lowercase()) {
            self.at += 1;
        }
        let name = self.text.get(name_at..self.at).unwrap_or_default();
        if !self.take(&[kind, b']']) {
            self.at = start;
            return Ok(Item::Byte(b'['));
        }
        let set = std::str::from_utf8(name)
            .ok()
            .filter(|_| kind == b':')
            .and_then(posix);
        match set {
            Some(set) if negated => Ok(Item::Set(set.complement())),
            Some(set) => Ok(Item::Set(set)),
            None => {
                self.at = start;
                Err(self.error("unknown POSIX class", "as [:alpha:], [:digit:], [:space:]"))
            }
        }
    }

    /// What `\` begins in a class; the `\` is taken.
    fn escape_in_class(&mut self, quoting: &mut bool) -> Result<Item, RegexError> {
        let Some(letter) = self.next() else {
            return Err(self.error(
                "class without ]",
                "close it, or write \\[ for a literal one",
            ));
        };
        if let Some(set) = named_escape(letter) {
            return Ok(Item::Set(set));
        }
        match letter {
            b'Q' => {
                *quoting = true;
                Ok(Item::Nothing)
            }
            b'E' => Ok(Item::Nothing),
            b'b' => Ok(Item::Byte(0x08)),
            b'1'..=b'7' => Ok(Item::Byte(self.octal(u32::from(letter - b'0'), 2)?)),
            b'8' | b'9' => Ok(Item::Byte(letter)),
            _ => Ok(Item::Byte(self.escaped_byte(letter)?)),
        }
    }

    /// The byte just read, and those up to the end of the range that a `-` behind it makes.
    fn range_from(&mut self, first: u8, quoting: bool, mode: &Mode) -> Result<ByteSet, RegexError> {
        let alone = ByteSet::of(&[first]);
        let before = self.at;
        if quoting || !self.take(b"-") || matches!(self.peek(), Some(b']') | None) {
            self.at = before;
            return Ok(alone);
        }
        let mut inner = false;
        match self.item(&mut inner, mode)? {
            Item::Byte(last) if !inner && last >= first => Ok(ByteSet::range(first, last)),
            Item::Byte(_) if !inner => {
                Err(self.error("range out of order", "write the lower first"))
            }
            // A set cannot end a range: the `-` is then literal (PCRE2 warns or refuses).
            _ => {
                self.at = before;
                self.at += 1;
                Ok(alone.union(ByteSet::of(b"-")))
            }
        }
    }
}
