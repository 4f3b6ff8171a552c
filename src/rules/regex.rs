//! `pcre`: the expression, its flags and the buffer they name.
//!
//! Nothing is compiled here; the expression is checked for what can be seen without an engine
//! (brackets, a trailing backslash) and for what a linear-time engine cannot do.

use crate::rules::argument::Argument;
use crate::rules::diagnostic::{Code, Problem, Span};
use crate::rules::keyword;
use crate::rules::lex::shorten;
use crate::rules::parse::Builder;
use crate::rules::signature::*;
use crate::rules::support;

/// Buffer that a flag letter names.
fn buffer_of(flag: char) -> Option<&'static str> {
    Some(match flag {
        'U' => "http.uri",
        'I' => "http.uri.raw",
        'P' => "http.request_body",
        'Q' => "file.data",
        'H' => "http.header",
        'D' => "http.header.raw",
        'M' => "http.method",
        'C' => "http.cookie",
        'S' => "http.stat_code",
        'Y' => "http.stat_msg",
        'V' => "http.user_agent",
        'W' => "http.host",
        'Z' => "http.host.raw",
        _ => return None,
    })
}

/// Where the parts of `/expression/flags, names` stand in the value.
struct Parts {
    pattern: (usize, usize),
    flags: (usize, usize),
    names: usize,
}

/// Cuts the value: the first slash, the last slash that is not escaped, flags, names.
fn parts(text: &str) -> Option<Parts> {
    let bytes = text.as_bytes();
    let escaped = |at: usize| {
        let run = bytes[..at]
            .iter()
            .rev()
            .take_while(|b| **b == b'\\')
            .count();
        run % 2 == 1
    };
    let start = (0..bytes.len()).find(|i| bytes[*i] == b'/' && !escaped(*i))? + 1;
    // Names may follow the flags; a slash within them is none of the expression.
    let tail = ["flow:", "pkt:", "alert:"]
        .iter()
        .filter_map(|word| text.find(word))
        .filter(|at| *at > start && matches!(bytes[at - 1], b',' | b' '))
        .min()
        .unwrap_or(text.len());
    let end = (start..tail).rfind(|i| bytes[*i] == b'/' && !escaped(*i))?;
    let flags = (end + 1..text.len())
        .find(|i| matches!(bytes[*i], b',' | b' '))
        .unwrap_or(text.len());
    Some(Parts {
        pattern: (start, end),
        flags: (end + 1, flags),
        names: flags,
    })
}

/// `pcre:[!]"/expression/flags"`.
pub fn parse<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let text = argument.text;
    let Some(found) = parts(text) else {
        let message = format!("`{}` is not an expression between slashes", shorten(text));
        return Err(argument
            .bad(message)
            .help("write pcre:\"/expression/flags\""));
    };
    let pattern = &text[found.pattern.0..found.pattern.1];
    let pattern_span = argument.span.part(found.pattern.0, found.pattern.1);
    let flags = &text[found.flags.0..found.flags.1];
    let list = flag_list(builder, &argument, flags, found.flags.0)?;
    syntax(pattern, pattern_span)?;
    if flags.contains('W') && !flags.contains('i') && upper_case(pattern) {
        let message = "the expression has upper-case letters";
        return Err(Problem::new(Code::UppercaseHost, pattern_span, message));
    }
    let names = &text[found.names..];
    check_names(pattern, names).map_err(|message| argument.bad(message))?;
    let captures = captures(builder, pattern, names);
    if captures.len() > CAPTURES_MAX {
        return Err(argument.bad(format!("more than {CAPTURES_MAX} named captures")));
    }
    let relative = flags.contains('R');
    let made = Pcre {
        pattern: undo(pattern).into_boxed_slice(),
        flags: flags.into(),
        negated: argument.negated,
        relative,
        captures,
        relative_next: false,
    };
    let sticky = builder.sticky.is_some() || builder.decoded.is_some();
    let index = match list {
        Some(list) if !sticky => builder.push_to(list, Test::Pcre(made), argument.span),
        _ => builder.push(Test::Pcre(made), false, argument.span),
    };
    let earlier = builder
        .before(index)
        .any(|item| matches!(item.test, Test::Content(_) | Test::Pcre(_)));
    if relative && !sticky && !earlier {
        let flag = argument.span.part(found.flags.0, found.flags.1);
        return Err(Problem::new(
            Code::NoEarlierMatch,
            flag,
            "flag `R` without an earlier match in this buffer",
        ));
    }
    Ok(())
}

/// Checks the flags and returns the list of the buffer that one of them names.
fn flag_list(
    builder: &mut Builder<'_, '_>,
    argument: &Argument<'_>,
    flags: &str,
    at: usize,
) -> Result<Option<usize>, Problem> {
    let mut named: Option<&'static str> = None;
    for (index, flag) in flags.char_indices() {
        let here = argument.span.part(at + index, at + index + flag.len_utf8());
        match buffer_of(flag) {
            Some(buffer) => {
                if named.is_some_and(|earlier| earlier != buffer) {
                    let message = "two flags name different buffers";
                    return Err(Problem::new(Code::ModifierConflict, here, message));
                }
                named = Some(buffer);
            }
            None if "AEGimsxORB".contains(flag) => {}
            None => {
                let message = format!("`{flag}` is not a flag of pcre");
                return Err(Problem::new(Code::BadValue, here, message));
            }
        }
    }
    let Some(row) = named.and_then(keyword::buffer) else {
        return Ok(None);
    };
    let span = argument.span.part(at, at + flags.len());
    let sticky = builder.sticky.map(|index| builder.lists[index].row);
    if let Some(sticky) = sticky {
        if sticky.is_some_and(|sticky| sticky.same(row)) {
            return Ok(None);
        }
        let message = format!(
            "the flag names `{}`, another sticky buffer is in force",
            row.name
        );
        return Err(Problem::new(Code::LegacyAfterSticky, span, message)
            .help("use the sticky buffer alone, or end it with `pkt_data;`"));
    }
    builder.executable(row.name, support::buffer(row.name));
    builder.need_protocol("http", span)?;
    builder.need_side(row.side, span);
    // An expression joins the buffer's contents even where several instances are possible.
    let known = builder
        .lists
        .iter()
        .rposition(|list| list.row.is_some_and(|r| r.same(row)));
    let list = match known {
        Some(list) => list,
        None => builder.list(row, span),
    };
    Ok(Some(list))
}

/// Undoes the escapes that the rule language asks for.
fn undo(pattern: &str) -> Vec<u8> {
    let mut plain = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(next @ (b';' | b'"')) => plain.push(next),
                Some(next) => plain.extend([b'\\', next]),
                None => plain.push(b'\\'),
            },
            byte => plain.push(byte),
        }
    }
    plain
}

/// Groups of an expression that keep what they took, named or not.
fn groups(pattern: &str) -> usize {
    let mut count = 0;
    let counted = walk(pattern.as_bytes(), |at, byte, escaped| {
        let rest = pattern.as_bytes().get(at + 1..).unwrap_or(&[]);
        let keeps = match rest {
            [b'?', b'P', b'<', ..] | [b'?', b'\'', ..] => true,
            [b'?', b'<', next, ..] => !matches!(next, b'=' | b'!'),
            [b'?' | b'*', ..] => false,
            _ => true,
        };
        count += usize::from(byte == b'(' && !escaped && keeps);
    });
    counted.map_or(0, |()| count)
}

/// Whether the names behind the flags are names of variables, and no more than there are groups.
fn check_names(pattern: &str, names: &str) -> Result<(), String> {
    let groups = groups(pattern);
    let names = names.split([',', ' ']).filter(|name| !name.is_empty());
    let mut has_key = false;
    for (index, name) in names.enumerate() {
        let name = name.trim_end_matches('"');
        if groups == 0 {
            return Ok(());
        }
        if index >= groups {
            return Err(format!("`{}` has no group", shorten(name)));
        }
        if (name == "pkt:value") != has_key {
            return Err("`pkt:value` comes right behind `pkt:key`".to_string());
        }
        has_key = name == "pkt:key";
        if !["flow:", "pkt:", "alert:"]
            .iter()
            .any(|kind| name.starts_with(kind))
        {
            return Err(format!("`{}` is not a name of a variable", shorten(name)));
        }
    }
    Ok(())
}

/// What groups are kept as: by the names behind the flags, then by `(?P<flow_name>...)` within.
fn captures(builder: &mut Builder<'_, '_>, pattern: &str, names: &str) -> Vec<Capture> {
    let mut found = Vec::new();
    // Pairs of a rule are told from those of others by the expression (FNV-1a).
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let mut pair = pattern.bytes().fold(0x811c_9dc5, mix);
    let mut add = |kind: &str, name: &str, listed: bool| {
        found.push(match kind {
            "flow" => Capture::Flow(builder.context.names.flowvars.id(name)),
            // Name and value are both of the packet's bytes: no rule can ask for it by name.
            "pkt" if listed && name == "key" => {
                pair = pair.wrapping_add(1);
                Capture::PacketKey(pair)
            }
            "pkt" if listed && name == "value" => Capture::PacketValue(pair),
            "pkt" => Capture::Packet(builder.context.names.pktvars.id(name)),
            _ => Capture::Nothing,
        });
    };
    for (kind, name) in names.split([',', ' ']).filter_map(|n| n.split_once(':')) {
        add(kind, name.trim_end_matches('"'), true);
    }
    for piece in pattern.split("(?P<").skip(1) {
        let name = piece.split('>').next().unwrap_or("");
        if let Some((kind @ ("flow" | "pkt" | "alert"), name)) = name.split_once('_') {
            add(kind, name, false);
        }
    }
    found
}

/// Whether an upper-case letter stands for itself.
fn upper_case(pattern: &str) -> bool {
    let mut escaped = false;
    let mut previous = ' ';
    // Digits of a hexadecimal escape that are to come, `\xhh` or `\x{hh}`.
    let mut digits = 0;
    for c in pattern.chars() {
        if digits > 0 && (c.is_ascii_hexdigit() || c == '{') {
            digits -= usize::from(c != '{');
            previous = c;
            continue;
        }
        digits = if escaped && c == 'x' { 2usize } else { 0 };
        let group = previous == '?' && c == 'P';
        if !escaped && !group && c.is_ascii_uppercase() {
            return true;
        }
        escaped = c == '\\' && !escaped;
        previous = c;
    }
    false
}

/// Walks an expression: calls `at` for every byte outside of classes that is not escaped, and for
/// escapes with their second byte. Returns the problem of brackets or a trailing backslash.
fn walk(pattern: &[u8], mut at: impl FnMut(usize, u8, bool)) -> Result<(), (usize, &'static str)> {
    let mut open = Vec::new();
    let mut index = 0;
    while index < pattern.len() {
        match pattern[index] {
            b'\\' => {
                let Some(next) = pattern.get(index + 1) else {
                    return Err((index, "a backslash at the end"));
                };
                at(index, *next, true);
                index += 2;
                // \Q...\E is literal.
                if *next == b'Q' {
                    let rest = &pattern[index..];
                    let end = rest.windows(2).position(|two| two == b"\\E");
                    index = end.map_or(pattern.len(), |end| index + end + 2);
                }
                continue;
            }
            b'[' => {
                index = class_end(pattern, index).ok_or((index, "`[` is not closed"))?;
            }
            b'(' if pattern[index..].starts_with(b"(?#") => {
                let end = pattern[index..].iter().position(|b| *b == b')');
                index += end.ok_or((index, "the comment is not closed"))?;
            }
            byte => {
                if byte == b'(' {
                    open.push(index);
                } else if byte == b')' && open.pop().is_none() {
                    return Err((index, "`)` without `(`"));
                }
                at(index, byte, false);
            }
        }
        index += 1;
    }
    match open.pop() {
        Some(index) => Err((index, "`(` is not closed")),
        None => Ok(()),
    }
}

/// Where the class that begins at `start` ends (its `]`).
fn class_end(pattern: &[u8], start: usize) -> Option<usize> {
    let mut index = start + 1;
    if pattern.get(index) == Some(&b'^') {
        index += 1;
    }
    if pattern.get(index) == Some(&b']') {
        index += 1;
    }
    while index < pattern.len() {
        match pattern[index] {
            b'\\' => index += 1,
            b']' => return Some(index),
            b'[' if matches!(pattern.get(index + 1), Some(b':' | b'.' | b'=')) => {
                let kind = pattern[index + 1];
                let rest = &pattern[index + 2..];
                if let Some(end) = rest.windows(2).position(|two| two == [kind, b']']) {
                    index += end + 3;
                }
            }
            _ => {}
        }
        index += 1;
    }
    None
}

/// What can be seen to be wrong without compiling.
fn syntax(pattern: &str, span: Span) -> Result<(), Problem> {
    let mut first_repeat = None;
    let mut previous: Option<(u8, bool)> = None;
    let walked = walk(pattern.as_bytes(), |at, byte, escaped| {
        let nothing = matches!(previous, None | Some((b'(' | b'|', false)));
        if !escaped && matches!(byte, b'*' | b'+') && nothing && (at == 0 || previous.is_some()) {
            first_repeat.get_or_insert(at);
        }
        previous = Some((byte, escaped));
    });
    let wrong = match walked {
        Err(wrong) => Some(wrong),
        Ok(()) => first_repeat
            .filter(|at| *at == 0 || b"(|".contains(&pattern.as_bytes()[*at - 1]))
            .map(|at| (at, "nothing stands before the repetition")),
    };
    match wrong {
        Some((at, what)) => Err(Problem::new(
            Code::BadRegex,
            span.part(at, at + 1),
            format!("the expression is not valid: {what}"),
        )),
        None => Ok(()),
    }
}

/// Where an expression uses what a linear-time engine cannot do: look-around, back-references,
/// atomic groups, possessive repetition, recursion, conditions.
pub fn backtracking(pattern: &[u8]) -> Option<usize> {
    let mut found = None;
    let mut before: Option<u8> = None;
    let _ = walk(pattern, |at, byte, escaped| {
        let next = |n: usize| pattern.get(at + n).copied();
        let hit = if escaped {
            matches!(byte, b'1'..=b'9' | b'k' | b'g' | b'G' | b'K' | b'X' | b'C')
        } else if byte == b'(' && next(1) == Some(b'?') {
            matches!(
                (next(2), next(3)),
                (
                    Some(b'=' | b'!' | b'>' | b'(' | b'|' | b'R' | b'0'..=b'9' | b'&'),
                    _
                ) | (Some(b'<'), Some(b'=' | b'!'))
                    | (Some(b'P'), Some(b'=' | b'>'))
            )
        } else {
            byte == b'(' && next(1) == Some(b'*')
                || byte == b'+' && matches!(before, Some(b'*' | b'+' | b'?' | b'}'))
        };
        if hit {
            found.get_or_insert(at);
        }
        before = if escaped { None } else { Some(byte) };
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_cut_at_its_slashes() {
        let cut = |text: &'static str| {
            parts(text).map(|p| (&text[p.pattern.0..p.pattern.1], &text[p.flags.0..p.flags.1]))
        };
        assert_eq!(cut("/a/b/Ri"), Some(("a/b", "Ri")));
        assert_eq!(cut(r"/a\/b/U"), Some((r"a\/b", "U")));
        assert_eq!(cut("/a(b)/i, flow:x"), Some(("a(b)", "i")));
        assert_eq!(cut("abc"), None);
        assert_eq!(cut("/abc"), None);
    }

    #[test]
    fn what_needs_backtracking_is_seen() {
        let at = |p: &str| backtracking(p.as_bytes());
        for plain in [
            "a(?:b|c)+?d",
            r"[(?=]x\x41\d",
            "(?i)a",
            "(?P<n>a)",
            r"\Q(?=\E",
            "a{2,3}b",
        ] {
            assert_eq!(at(plain), None, "{plain}");
        }
        for hard in [
            "(?=a)", "a(?!b)", "(?<=a)b", r"(a)\1", "a++", "(?>a)", "(?R)", r"\k{n}",
        ] {
            assert!(at(hard).is_some(), "{hard}");
        }
    }

    #[test]
    fn broken_brackets_are_found() {
        let wrong = |p: &str| syntax(p, Span::new(10, 10 + p.len())).err().map(|p| p.span);
        assert_eq!(wrong("a(b"), Some(Span::new(11, 12)));
        assert_eq!(wrong("ab)"), Some(Span::new(12, 13)));
        assert_eq!(wrong("a[b"), Some(Span::new(11, 12)));
        assert_eq!(wrong("*a"), Some(Span::new(10, 11)));
        assert_eq!(wrong("a\\"), Some(Span::new(11, 12)));
        for fine in [
            "a[]]b",
            "a[^]]b",
            "[[:alpha:]]",
            r"\(",
            "a|b*",
            r"[\]]",
            "(?:a)*",
        ] {
            assert_eq!(wrong(fine), None, "{fine}");
        }
    }

    #[test]
    fn upper_case_is_what_stands_for_itself() {
        for lower in [r"\x2Esuricata\.", r"\D\W", "(?P<flow_a>a)", r"\x{2E}"] {
            assert!(!upper_case(lower), "{lower}");
        }
        for upper in ["Suricata", r"\x2ES", r"\\X"] {
            assert!(upper_case(upper), "{upper}");
        }
    }

    #[test]
    fn rule_escapes_are_undone() {
        assert_eq!(undo(r#"a\;b\"c\\;\/"#), br#"a;b"c\\;\/"#);
    }
}
