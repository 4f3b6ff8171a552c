//! `content` and what changes it: modifiers, `fast_pattern`, the old buffer modifiers.
//!
//! Bytes are unescaped here; what a rule-wide look is needed for (sizes against `bsize`) stands in
//! verify.rs, and the choice of the fast pattern in fast_pattern.rs.

use crate::rules::argument::Argument;
use crate::rules::diagnostic::{Code, Problem, Span};
use crate::rules::keyword::{self, BufferRow, Side};
use crate::rules::lex::shorten;
use crate::rules::number;
use crate::rules::parse::{Builder, is_relative};
use crate::rules::signature::*;
use crate::rules::support;

/// Largest distance and within.
const RELATIVE_MAX: i64 = 1024 * 1024;

/// Undoes escapes and hexadecimal runs of a content. `span` is where `text` stands.
pub fn bytes(text: &str, span: Span) -> Result<Box<[u8]>, Problem> {
    let mut found = Vec::with_capacity(text.len());
    let mut hex: Option<usize> = None;
    let mut digit: Option<u8> = None;
    let mut escape = false;
    for (index, byte) in text.bytes().enumerate() {
        let here = span.part(index, index + 1);
        match (hex, byte) {
            (Some(_), b'|') => {
                if digit.is_some() {
                    let problem =
                        Problem::new(Code::BadHex, here, "a hexadecimal digit is missing");
                    return Err(problem.help("bytes are pairs of digits: |0d 0a|"));
                }
                hex = None;
            }
            (None, b'|') => hex = Some(index),
            (Some(_), b' ' | b',') => {}
            (Some(start), _) => {
                let Some(value) = (byte as char).to_digit(16) else {
                    let shown = shorten(&text[start..]);
                    let message = format!("not a hexadecimal digit in `{shown}`");
                    return Err(Problem::new(Code::BadHex, here, message)
                        .help("a literal pipe is written |7c|"));
                };
                match digit.take() {
                    Some(high) => found.push(high << 4 | value as u8),
                    None => digit = Some(value as u8),
                }
            }
            (None, _) if escape => {
                if !matches!(byte, b';' | b':' | b'\\' | b'"') {
                    let problem = Problem::new(
                        Code::BadEscape,
                        span.part(index - 1, index + 1),
                        "a backslash must itself be escaped",
                    );
                    return Err(problem.help("write `\\\\`, or the byte as |hex|"));
                }
                found.push(byte);
                escape = false;
            }
            (None, b'\\') => escape = true,
            (None, _) => found.push(byte),
        }
    }
    if let Some(start) = hex {
        let open = span.part(start, text.len());
        return Err(Problem::new(Code::BadHex, open, "`|` is not closed"));
    }
    if escape || found.is_empty() {
        return Err(Problem::new(Code::BadValue, span, "the content is empty"));
    }
    Ok(found.into_boxed_slice())
}

/// `content:"..."`.
pub fn parse<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let bytes = bytes(argument.text, argument.span)?;
    if bytes.len() > usize::from(u16::MAX) {
        return Err(argument.bad("a content has at most 65,535 bytes"));
    }
    let content = Content {
        bytes,
        negated: argument.negated,
        ..Content::default()
    };
    builder.push(Test::Content(content), false, argument.span);
    Ok(())
}

/// `uricontent:"..."`, the oldest form of `http.uri`.
pub fn uricontent<'a>(
    builder: &mut Builder<'a, '_>,
    argument: Argument<'a>,
) -> Result<(), Problem> {
    builder.problems.push(
        argument
            .problem(Code::Deprecated, "`uricontent` is old")
            .help("write `http.uri; content:...;`"),
    );
    parse(builder, argument)?;
    match keyword::buffer("http.uri") {
        Some(row) => legacy(builder, row, argument),
        None => Ok(()),
    }
}

/// The last content that a modifier can change.
fn last_content(builder: &Builder<'_, '_>, anywhere: bool) -> Option<usize> {
    builder.items.iter().rposition(|item| {
        let here = match (builder.decoded, builder.sticky) {
            _ if anywhere => true,
            (Some(parent), _) => item.decoded == Some(parent),
            (None, Some(list)) => item.list == list && item.decoded.is_none(),
            (None, None) => true,
        };
        here && matches!(item.test, Test::Content(_))
    })
}

/// Any modifier of a content.
pub fn modifier<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let name = argument.keyword.name;
    let Some(index) = last_content(builder, name == "fast_pattern") else {
        let message = format!("`{name}` stands without a content before it");
        return Err(argument
            .problem(Code::NoContent, message)
            .help("modifiers follow the content that they change"));
    };
    match name {
        "fast_pattern" => fast_pattern(builder, argument, index),
        "offset" | "depth" | "distance" | "within" => position(builder, argument, index),
        _ => flag(builder, argument, index),
    }
}

/// The content of item `index`. The callers looked the index up as that of a content.
fn content<'b>(builder: &'b mut Builder<'_, '_>, index: usize) -> Option<&'b mut Content> {
    match builder.items.get_mut(index).map(|item| &mut item.test) {
        Some(Test::Content(content)) => Some(content),
        _ => None,
    }
}

/// `nocase`, `startswith`, `endswith`, `rawbytes`.
fn flag(
    builder: &mut Builder<'_, '_>,
    argument: Argument<'_>,
    index: usize,
) -> Result<(), Problem> {
    let sticky = builder.sticky.is_some();
    let Some(content) = content(builder, index) else {
        return Ok(());
    };
    match argument.keyword.name {
        "nocase" => {
            if content.nocase {
                return Err(twice(&argument));
            }
            content.nocase = true;
        }
        "endswith" => content.endswith = true,
        "rawbytes" if sticky => {
            return Err(argument.problem(
                Code::ModifierConflict,
                "`rawbytes` cannot follow a sticky buffer",
            ));
        }
        "startswith" => {
            if content.depth.is_some() || content.startswith {
                return Err(conflict(&argument, "`startswith` and `depth`"));
            }
            if content.distance.is_some() || content.within.is_some() {
                return Err(conflict(&argument, "`startswith` and a relative position"));
            }
            if content.offset.is_some() {
                return Err(conflict(&argument, "`startswith` and `offset`"));
            }
            fast_pattern_allows(content, &argument)?;
            content.startswith = true;
        }
        _ => {}
    }
    Ok(())
}

fn twice(argument: &Argument<'_>) -> Problem {
    let name = argument.keyword.name;
    argument.problem(
        Code::DuplicateKeyword,
        format!("`{name}` stands a second time for this content"),
    )
}

fn conflict(argument: &Argument<'_>, what: &str) -> Problem {
    argument.problem(
        Code::ModifierConflict,
        format!("{what} cannot stand at one content"),
    )
}

/// A content that is the fast pattern cannot get a position if it is negated or `only`.
fn fast_pattern_allows(content: &Content, argument: &Argument<'_>) -> Result<(), Problem> {
    match content.fast_pattern {
        FastPattern::Only => Err(argument.problem(
            Code::FastPatternConflict,
            "a content with `fast_pattern:only` has no position",
        )),
        FastPattern::Yes | FastPattern::Chop(..) if content.negated => Err(argument.problem(
            Code::FastPatternConflict,
            "a negated fast pattern has no position",
        )),
        _ => Ok(()),
    }
}

/// `offset`, `depth`, `distance`, `within`.
fn position<'a>(
    builder: &mut Builder<'a, '_>,
    argument: Argument<'a>,
    index: usize,
) -> Result<(), Problem> {
    let name = argument.keyword.name;
    let value = value(builder, &argument)?;
    let previous_only = builder.before(index).find_map(|item| match &item.test {
        Test::Content(content) => Some(content.fast_pattern == FastPattern::Only),
        Test::Pcre(_) => Some(false),
        _ => None,
    });
    let Some(content) = content(builder, index) else {
        return Ok(());
    };
    let absolute = matches!(name, "offset" | "depth");
    let slot = match name {
        "offset" => content.offset,
        "depth" => content.depth,
        "distance" => content.distance,
        _ => content.within,
    };
    if slot.is_some() {
        return Err(twice(&argument));
    }
    if absolute && content.startswith {
        return Err(conflict(&argument, &format!("`startswith` and `{name}`")));
    }
    let clash = if absolute {
        content.distance.is_some() || content.within.is_some()
    } else {
        content.offset.is_some() || content.depth.is_some() || content.startswith
    };
    if clash {
        let what = "a position from the start and one from the last match";
        return Err(conflict(&argument, what));
    }
    fast_pattern_allows(content, &argument)?;
    if !absolute && previous_only == Some(true) {
        return Err(argument.problem(
            Code::FastPatternConflict,
            "nothing can be relative to a content with `fast_pattern:only`",
        ));
    }
    if let Number::Literal(number) = value
        && matches!(name, "depth" | "within")
        && number < content.bytes.len() as i64
    {
        let length = content.bytes.len();
        return Err(Problem::new(
            Code::ImpossibleContent,
            argument.span,
            format!("`{name}` is {number}, the content has {length} bytes"),
        )
        .help(format!(
            "`{name}` counts the whole content: at least {length}"
        )));
    }
    match name {
        "offset" => content.offset = Some(value),
        "depth" => content.depth = Some(value),
        "distance" => content.distance = Some(value),
        _ => content.within = Some(value),
    }
    Ok(())
}

/// A number in its bounds, or a byte variable.
fn value<'a>(builder: &Builder<'a, '_>, argument: &Argument<'a>) -> Result<Number, Problem> {
    let text = argument.text;
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return builder.variable(text, argument.span).map(Number::Variable);
    }
    let bounds = match argument.keyword.name {
        "offset" | "depth" => 0..=i64::from(u16::MAX),
        _ => -RELATIVE_MAX..=RELATIVE_MAX,
    };
    match number::integer(text).filter(|value| bounds.contains(value)) {
        Some(value) => Ok(Number::Literal(value)),
        None => Err(argument.bad(format!(
            "`{}` is not a number from {} to {}",
            shorten(text),
            bounds.start(),
            bounds.end()
        ))),
    }
}

/// `fast_pattern`, `fast_pattern:only`, `fast_pattern:offset,length`.
fn fast_pattern(
    builder: &mut Builder<'_, '_>,
    argument: Argument<'_>,
    index: usize,
) -> Result<(), Problem> {
    let earlier = builder
        .items
        .iter()
        .position(|item| item.fast_pattern.is_some());
    let decoded = builder.items[index].decoded.is_some();
    let Some(content) = content(builder, index) else {
        return Ok(());
    };
    if content.fast_pattern != FastPattern::No {
        return Err(twice(&argument));
    }
    if decoded {
        return Err(argument.problem(
            Code::FastPatternConflict,
            "a content of base64_data cannot be the fast pattern",
        ));
    }
    let placed = content.offset.is_some()
        || content.depth.is_some()
        || content.startswith
        || content.distance.is_some()
        || content.within.is_some();
    if content.negated && placed {
        return Err(argument.problem(
            Code::FastPatternConflict,
            "a negated content with a position cannot be the fast pattern",
        ));
    }
    content.fast_pattern = fast_pattern_value(content, &argument, placed)?;
    builder.items[index].fast_pattern = Some(argument.name);
    if let Some(earlier) = earlier {
        let payload = builder.items[earlier].list == 0;
        let plain = argument.text.is_empty();
        let code = if payload && plain {
            Code::FastPatternConflict
        } else {
            Code::SecondFastPattern
        };
        let problem = argument.problem(code, "the rule has a second fast pattern");
        if code == Code::FastPatternConflict {
            return Err(problem);
        }
        builder.problems.push(problem);
    }
    Ok(())
}

/// What `fast_pattern` is given.
fn fast_pattern_value(
    content: &Content,
    argument: &Argument<'_>,
    placed: bool,
) -> Result<FastPattern, Problem> {
    match argument.text {
        "" => return Ok(FastPattern::Yes),
        "only" if placed || content.negated => {
            return Err(argument.problem(
                Code::FastPatternConflict,
                "`fast_pattern:only` needs a content without negation and position",
            ));
        }
        "only" => return Ok(FastPattern::Only),
        _ => {}
    }
    let chop = argument.text.split_once(',').and_then(|(offset, length)| {
        let offset: u16 = offset.trim().parse().ok()?;
        let length: u16 = length.trim().parse().ok()?;
        Some((offset, length))
    });
    let Some((offset, length)) = chop else {
        return Err(argument
            .bad(format!("`{}` is no fast pattern", shorten(argument.text)))
            .help("write `fast_pattern;` or `fast_pattern:offset,length;`"));
    };
    if length == 0 || usize::from(offset) + usize::from(length) > content.bytes.len() {
        return Err(argument.bad(format!(
            "the piece {offset}..{} is not inside the content of {} bytes",
            u32::from(offset) + u32::from(length),
            content.bytes.len()
        )));
    }
    Ok(FastPattern::Chop(offset, length))
}

/// An old modifier: moves the last payload content into its buffer.
pub fn legacy<'a>(
    builder: &mut Builder<'a, '_>,
    row: &'static BufferRow,
    argument: Argument<'a>,
) -> Result<(), Problem> {
    let name = argument.keyword.name;
    if builder.sticky.is_some() || builder.decoded.is_some() {
        let message = format!("`{name}` follows a sticky buffer");
        return Err(argument
            .problem(Code::LegacyAfterSticky, message)
            .help(format!("write `{};` before the content", row.name)));
    }
    builder.executable(row.name, support::buffer(row.name));
    builder.need_protocol(row.protocol, argument.name)?;
    if row.side != Side::Both {
        builder.need_side(row.side, argument.name);
    }
    let index = builder
        .items
        .iter()
        .rposition(|item| item.list == 0 && matches!(item.test, Test::Content(_)));
    let Some(index) = index else {
        let message = format!("`{name}` stands without a content before it");
        return Err(argument.problem(Code::NoContent, message));
    };
    let list = builder.list(row, argument.name);
    builder.lists[list].used = true;
    builder.items[index].list = list;
    follow(builder, index, list);
    Ok(())
}

/// Relative tests written between a content and its old modifier stay with the content.
fn follow(builder: &mut Builder<'_, '_>, index: usize, list: usize) {
    for item in builder.items.iter_mut().skip(index + 1) {
        let tail = !matches!(item.test, Test::Content(_) | Test::Pcre(_));
        if item.list == 0 && tail && is_relative(&item.test) {
            item.list = list;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_unescaped() {
        let read = |text: &str| bytes(text, Span::new(0, text.len())).map(Vec::from);
        assert_eq!(read("a|0d 0A|b").unwrap(), b"a\r\nb");
        assert_eq!(read(r#"a\;\:\\\""#).unwrap(), b"a;:\\\"");
        assert_eq!(read("|41,42|").unwrap(), b"AB");
        assert_eq!(read("ä").unwrap(), "ä".as_bytes());
        assert_eq!(read("|4|").unwrap_err().code, Code::BadHex);
        assert_eq!(read("|4g|").unwrap_err().span, Span::new(2, 3));
        assert_eq!(read("|41").unwrap_err().span, Span::new(0, 3));
        assert_eq!(read(r"a\n").unwrap_err().span, Span::new(1, 3));
        assert_eq!(read("||").unwrap_err().code, Code::BadValue);
    }
}
