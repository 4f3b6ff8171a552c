//! Tests that count or compute bytes: isdataat, bsize, byte_*, base64_decode, absent.
//!
//! Their values are comma-separated; names that are no numbers are byte variables.

use crate::rules::argument::Argument;
use crate::rules::diagnostic::{Code, Problem, Span};
use crate::rules::lex::shorten;
use crate::rules::number;
use crate::rules::parse::Builder;
use crate::rules::signature::*;

/// Longest text that `string` reads, bytes.
const TEXT_MAX: i64 = 23;
/// Widest binary number, bytes.
const BINARY_MAX: i64 = 8;
/// Largest offset either way.
const OFFSET_MAX: i64 = 65_535;

/// The parts between commas, without blanks, with their spans.
fn parts<'a>(argument: &Argument<'a>) -> Vec<(&'a str, Span)> {
    let mut found = Vec::new();
    let mut start = 0;
    for part in argument.text.split(',') {
        let skip = part.len() - part.trim_start().len();
        let text = part.trim();
        let span = argument.span.part(start + skip, start + skip + text.len());
        found.push((text, span));
        start += part.len() + 1;
    }
    found
}

/// A byte variable or a number within bounds.
fn value(
    builder: &Builder<'_, '_>,
    (text, span): (&str, Span),
    bounds: std::ops::RangeInclusive<i64>,
) -> Result<Number, Problem> {
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return builder.variable(text, span).map(Number::Variable);
    }
    literal((text, span), bounds).map(Number::Literal)
}

/// A number within bounds.
fn literal(
    (text, span): (&str, Span),
    bounds: std::ops::RangeInclusive<i64>,
) -> Result<i64, Problem> {
    let value = number::integer(text).filter(|value| bounds.contains(value));
    value.ok_or_else(|| {
        Problem::new(
            Code::BadValue,
            span,
            format!(
                "`{}` is not a number from {} to {}",
                shorten(text),
                bounds.start(),
                bounds.end()
            ),
        )
    })
}

/// How the bytes are read, while its words come in.
#[derive(Default)]
struct Reading {
    little: Option<bool>,
    string: bool,
    base: Option<u8>,
    dce: bool,
    relative: bool,
}

impl Reading {
    /// Takes a word that all four keywords know; `false` if it is another one.
    fn take(&mut self, word: &str) -> bool {
        match word.to_ascii_lowercase().as_str() {
            "relative" => self.relative = true,
            "string" => self.string = true,
            "big" => self.little = Some(false),
            "little" => self.little = Some(true),
            "dec" => self.base = Some(10),
            "hex" => self.base = Some(16),
            "oct" => self.base = Some(8),
            "dce" => self.dce = true,
            _ => return false,
        }
        true
    }

    /// The format, once all words are in.
    fn format(&self, count: Number, argument: &Argument<'_>) -> Result<ByteFormat, Problem> {
        if self.dce && (self.string || self.base.is_some() || self.little.is_some()) {
            return Err(argument.problem(
                Code::ModifierConflict,
                "`dce` excludes string, base and endianness",
            ));
        }
        if self.base.is_some() && !self.string {
            return Err(argument
                .problem(Code::BadValue, "a base is given without `string`")
                .help("write `string,hex`"));
        }
        let most = if self.string { TEXT_MAX } else { BINARY_MAX };
        if let Number::Literal(count) = count
            && !(0..=most).contains(&count)
        {
            return Err(argument.bad(format!("{count} bytes cannot be read, at most {most}")));
        }
        // Without a base the text of these two says it by its prefix, as C's `strtoull` reads it.
        let by_prefix = matches!(argument.keyword.name, "byte_test" | "byte_jump");
        let base = self.base.unwrap_or(if by_prefix { 0 } else { 10 });
        Ok(ByteFormat {
            count,
            little: self.little == Some(true),
            base: self.string.then_some(base),
            dce: self.dce,
        })
    }
}

/// `dce` reads the endianness of DCERPC.
fn need_dce(
    builder: &mut Builder<'_, '_>,
    format: ByteFormat,
    argument: &Argument<'_>,
) -> Result<(), Problem> {
    if !format.dce {
        return Ok(());
    }
    builder.executable("dce", crate::rules::support::app_protocol("dcerpc"));
    builder.need_protocol("dcerpc|smb", argument.name)
}

fn too_few(argument: &Argument<'_>, form: &str) -> Problem {
    argument
        .bad(format!("`{}` needs more values", argument.keyword.name))
        .help(format!("write: {form}"))
}

fn unknown(name: &str, (text, span): (&str, Span)) -> Problem {
    let message = format!("`{}` is not a word of `{name}`", shorten(text));
    Problem::new(Code::BadValue, span, message)
}

/// `asn1:oversize_length 500, bitstring_overflow, double_overflow, relative_offset 1`.
pub fn asn1<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let mut test = Asn1 {
        oversize_length: None,
        bitstring_overflow: false,
        double_overflow: false,
        absolute_offset: None,
        relative_offset: None,
    };
    // Commas or blanks stand between the words, and a blank before a number.
    let words = argument.text.split([',', ' ', '\t']);
    let mut words = words.filter(|word| !word.is_empty());
    while let Some(name) = words.next() {
        let number: Option<i64> = match name {
            "oversize_length" | "absolute_offset" | "relative_offset" => {
                words.next().and_then(|number| number.parse().ok())
            }
            _ => None,
        };
        let small = number.and_then(|number| u32::try_from(number).ok());
        match name {
            "bitstring_overflow" => test.bitstring_overflow = true,
            "double_overflow" => test.double_overflow = true,
            "oversize_length" if small.is_some() => test.oversize_length = small,
            "absolute_offset" if small.is_some() => test.absolute_offset = small,
            "relative_offset" if number.is_some_and(|n| i32::try_from(n).is_ok()) => {
                test.relative_offset = number.map(|n| n as i32);
            }
            _ => {
                let at = argument.text.find(name).unwrap_or(0);
                let span = argument.span.part(at, at + name.len());
                return Err(unknown("asn1", (name, span)));
            }
        }
    }
    if test.absolute_offset.is_some() && test.relative_offset.is_some() {
        return Err(argument.bad("absolute_offset and relative_offset exclude each other"));
    }
    let relative = test.relative_offset.is_some();
    builder.push(Test::Asn1(test), relative, argument.span);
    Ok(())
}

/// `isdataat:[!]position[,relative][,rawbytes]`.
pub fn is_data_at<'a>(
    builder: &mut Builder<'a, '_>,
    argument: Argument<'a>,
) -> Result<(), Problem> {
    let negated = argument.text.starts_with('!');
    let mut all = parts(&argument);
    let (text, span) = all.remove(0);
    let bare = text.trim_start_matches('!').trim_start();
    let place = span.part(text.len() - bare.len(), text.len());
    let position = value(builder, (bare, place), 0..=OFFSET_MAX)?;
    let mut relative = false;
    for word in all {
        match word.0 {
            "relative" => relative = true,
            "rawbytes" => {}
            _ => return Err(unknown("isdataat", word)),
        }
    }
    let test = IsDataAt {
        position,
        relative,
        negated,
    };
    let index = builder.push(Test::IsDataAt(test), relative, argument.span);
    // No byte after the match is the same as `endswith`, which the prefilter can use.
    let ends = negated && relative && position == Number::Literal(1);
    let previous = index.checked_sub(1);
    if ends && let Some(previous) = previous {
        let (list, decoded) = (builder.items[index].list, builder.items[index].decoded);
        let item = &mut builder.items[previous];
        if item.list == list
            && item.decoded == decoded
            && let Test::Content(content) = &mut item.test
        {
            content.endswith = true;
            builder.items.truncate(index);
        }
    }
    Ok(())
}

/// `bsize:comparison`.
pub fn size<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    if builder.sticky.is_none() && builder.decoded.is_none() {
        return Err(argument
            .problem(Code::NoBuffer, "`bsize` needs a sticky buffer before it")
            .help("for the payload of a packet write `dsize`"));
    }
    let Some(compare) = number::compare(argument.text, u64::MAX) else {
        let shown = shorten(argument.text);
        return Err(argument.bad(format!("`{shown}` is not a comparison that can match")));
    };
    builder.push(Test::Size(compare), false, argument.span);
    Ok(())
}

/// `byte_test:count,[!]operator,value,offset[,words]`.
pub fn test<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    const FORM: &str = "byte_test:bytes,operator,value,offset[,relative][,big|little|string,hex]";
    let all = parts(&argument);
    let [count, operator, right, offset, words @ ..] = all.as_slice() else {
        return Err(too_few(&argument, FORM));
    };
    let count = value(builder, *count, 0..=TEXT_MAX)?;
    let symbol = operator.0.trim_start_matches('!').trim();
    let negated = operator.0.starts_with('!');
    let symbol = match symbol {
        "=" => ByteOperator::Equal,
        "" if negated => ByteOperator::Equal,
        "<" => ByteOperator::Less,
        ">" => ByteOperator::Greater,
        "<=" => ByteOperator::LessEqual,
        ">=" => ByteOperator::GreaterEqual,
        "&" => ByteOperator::And,
        "^" => ByteOperator::Xor,
        _ => {
            let message = format!("`{}` is not an operator", shorten(operator.0));
            return Err(Problem::new(Code::BadValue, operator.1, message)
                .help("operators are < > <= >= = & ^, each with an optional ! before"));
        }
    };
    let right = value(builder, *right, i64::MIN..=i64::MAX)?;
    let offset = value(builder, *offset, i64::from(i32::MIN)..=i64::from(i32::MAX))?;
    let mut reading = Reading::default();
    let mut bitmask = None;
    for word in words {
        if let Some(mask) = word.0.strip_prefix("bitmask") {
            bitmask = Some(literal((mask.trim(), word.1), 0..=i64::from(u32::MAX))? as u32);
        } else if !reading.take(word.0) {
            return Err(unknown("byte_test", *word));
        }
    }
    let format = reading.format(count, &argument)?;
    need_dce(builder, format, &argument)?;
    let made = ByteTest {
        format,
        negated,
        operator: symbol,
        value: right,
        offset,
        relative: reading.relative,
        bitmask,
    };
    builder.push(Test::ByteTest(made), reading.relative, argument.span);
    Ok(())
}

/// `byte_jump:count,offset[,words]`.
pub fn jump<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    const FORM: &str = "byte_jump:bytes,offset[,relative][,little][,align][,post_offset n]";
    let all = parts(&argument);
    let [count, offset, words @ ..] = all.as_slice() else {
        return Err(too_few(&argument, FORM));
    };
    let count = value(builder, *count, 0..=TEXT_MAX)?;
    let offset = value(builder, *offset, -OFFSET_MAX..=OFFSET_MAX)?;
    let mut reading = Reading::default();
    let mut made = ByteJump {
        format: ByteFormat {
            count,
            little: false,
            base: None,
            dce: false,
        },
        offset,
        relative: false,
        bitmask: None,
        multiplier: 1,
        align: false,
        from_beginning: false,
        from_end: false,
        post_offset: Number::Literal(0),
        relative_next: false,
    };
    for word in words {
        let (name, rest) = word.0.split_once(' ').unwrap_or((word.0, ""));
        let rest = (rest.trim(), word.1);
        match name.to_ascii_lowercase().as_str() {
            "multiplier" => made.multiplier = literal(rest, 1..=OFFSET_MAX)? as u32,
            "bitmask" => {
                made.bitmask = Some(literal(rest, 1..=i64::from(u32::MAX))? as u32);
            }
            "post_offset" => {
                made.post_offset = Number::Literal(literal(rest, -OFFSET_MAX..=OFFSET_MAX)?);
            }
            "align" => made.align = true,
            "from_beginning" => made.from_beginning = true,
            "from_end" => made.from_end = true,
            _ if reading.take(word.0) => {}
            _ => return Err(unknown("byte_jump", *word)),
        }
    }
    if made.from_beginning && made.from_end {
        return Err(argument.problem(
            Code::ModifierConflict,
            "`from_beginning` and `from_end` cannot stand in one byte_jump",
        ));
    }
    made.format = reading.format(count, &argument)?;
    if made.format.dce && (made.from_beginning || made.from_end) {
        return Err(argument.problem(Code::ModifierConflict, "`dce` jumps from where it reads"));
    }
    need_dce(builder, made.format, &argument)?;
    made.relative = reading.relative;
    builder.push(Test::ByteJump(made), reading.relative, argument.span);
    Ok(())
}

/// `byte_extract:count,offset,name[,words]`.
pub fn extract<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    const FORM: &str = "byte_extract:bytes,offset,name[,relative][,little][,string,hex]";
    let all = parts(&argument);
    let [count, offset, name, words @ ..] = all.as_slice() else {
        return Err(too_few(&argument, FORM));
    };
    let count = literal(*count, 0..=TEXT_MAX)?;
    let offset = literal(*offset, i64::from(i16::MIN)..=i64::from(i16::MAX))?;
    let mut reading = Reading::default();
    let (mut multiplier, mut align) = (1, 0);
    for word in words {
        let (key, rest) = word.0.split_once(' ').unwrap_or((word.0, ""));
        let rest = (rest.trim(), word.1);
        match key {
            "multiplier" => multiplier = literal(rest, 1..=OFFSET_MAX)? as u32,
            "align" => {
                align = literal(rest, 2..=4)? as u8;
                if align == 3 {
                    return Err(Problem::new(Code::BadValue, word.1, "align is 2 or 4"));
                }
            }
            "slice" => {
                return Err(Problem::new(
                    Code::BadValue,
                    word.1,
                    "`slice` is a word of byte_extract that nothing carries out",
                ));
            }
            _ if reading.take(word.0) => {}
            _ => return Err(unknown("byte_extract", *word)),
        }
    }
    if reading.string && reading.little.is_some() {
        return Err(argument.problem(Code::ModifierConflict, "a text has no endianness"));
    }
    let format = reading.format(Number::Literal(count), &argument)?;
    // Digits of the largest number, with room for a prefix.
    let most = match format.base {
        Some(10) => 20,
        Some(16) => 14,
        _ => TEXT_MAX,
    };
    if count > most {
        return Err(argument.bad(format!("at most {most} digits are extracted")));
    }
    need_dce(builder, format, &argument)?;
    let variable = set_variable(builder, *name)?;
    let made = ByteExtract {
        format,
        offset,
        relative: reading.relative,
        variable,
        multiplier,
        align,
    };
    builder.push(Test::ByteExtract(made), reading.relative, argument.span);
    Ok(())
}

/// A variable that is set here.
fn set_variable<'a>(
    builder: &mut Builder<'a, '_>,
    (name, span): (&'a str, Span),
) -> Result<u8, Problem> {
    let word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(word) {
        let message = format!("`{}` is not the name of a variable", shorten(name));
        return Err(Problem::new(Code::BadValue, span, message)
            .help("a name starts with a letter, so that it differs from a number"));
    }
    builder.set_variable(name, span)
}

/// `byte_math:bytes n, offset n, oper +, rvalue n, result name[, words]`.
pub fn math<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    const FORM: &str = "byte_math:bytes 2, offset 0, oper +, rvalue 1, result name";
    let mut reading = Reading::default();
    let (mut count, mut offset, mut operator) = (None, None, None);
    let (mut right, mut result, mut bitmask) = (None, None, None);
    for word in parts(&argument) {
        let (key, rest) = word
            .0
            .split_once(char::is_whitespace)
            .unwrap_or((word.0, ""));
        let skip = word.0.len() - rest.trim_start().len();
        let place = word.1.part(skip.min(word.0.len()), word.0.len());
        let rest = (rest.trim(), place);
        match key {
            "bytes" => count = Some(value(builder, rest, 1..=10)?),
            "offset" => offset = Some(literal(rest, -OFFSET_MAX..=OFFSET_MAX)?),
            "oper" => operator = Some(math_operator(rest)?),
            "rvalue" => right = Some(value(builder, rest, 0..=i64::from(u32::MAX))?),
            "result" => result = Some(rest),
            "bitmask" => {
                let digits = rest.0.trim_start_matches("0x").trim_start_matches("0X");
                let mask = u32::from_str_radix(digits, 16);
                bitmask = Some(mask.map_err(|_| unknown("byte_math", rest))?);
            }
            "endian" | "string" => {
                reading.string |= key == "string";
                if !reading.take(rest.0) {
                    return Err(unknown("byte_math", rest));
                }
            }
            "relative" | "dce" => {
                reading.take(key);
            }
            _ => return Err(unknown("byte_math", word)),
        }
    }
    let (Some(count), Some(offset), Some(operator), Some(right), Some(result)) =
        (count, offset, operator, right, result)
    else {
        return Err(too_few(&argument, FORM));
    };
    if matches!(operator, MathOperator::ShiftLeft | MathOperator::ShiftRight)
        && matches!(count, Number::Literal(5..))
    {
        return Err(argument.bad("a shift reads at most 4 bytes"));
    }
    if builder.sticky.is_some() && reading.relative && !has_match(builder) {
        return Err(argument.problem(
            Code::NoEarlierMatch,
            "`relative` without an earlier match in this buffer",
        ));
    }
    let format = reading.format(count, &argument)?;
    need_dce(builder, format, &argument)?;
    let variable = set_variable(builder, result)?;
    let made = ByteMath {
        format,
        offset,
        relative: reading.relative,
        operator,
        value: right,
        variable,
        bitmask,
    };
    builder.push(Test::ByteMath(made), reading.relative, argument.span);
    Ok(())
}

/// Whether a content or pcre stands in the sticky buffer in force.
fn has_match(builder: &Builder<'_, '_>) -> bool {
    builder.items.iter().any(|item| {
        Some(item.list) == builder.sticky && matches!(item.test, Test::Content(_) | Test::Pcre(_))
    })
}

fn math_operator((text, span): (&str, Span)) -> Result<MathOperator, Problem> {
    Ok(match text {
        "+" => MathOperator::Add,
        "-" => MathOperator::Subtract,
        "*" => MathOperator::Multiply,
        "/" => MathOperator::Divide,
        "<<" => MathOperator::ShiftLeft,
        ">>" => MathOperator::ShiftRight,
        _ => {
            let message = format!("`{}` is not an operator", shorten(text));
            return Err(
                Problem::new(Code::BadValue, span, message).help("operators are + - * / << >>")
            );
        }
    })
}

/// `base64_decode[:bytes n][, offset n][, relative]`.
pub fn base64_decode<'a>(
    builder: &mut Builder<'a, '_>,
    argument: Argument<'a>,
) -> Result<(), Problem> {
    let mut decode = Base64Decode::default();
    if !argument.text.is_empty() {
        for word in parts(&argument) {
            let (key, rest) = word.0.split_once(' ').unwrap_or((word.0, ""));
            let rest = (rest.trim(), word.1);
            match key {
                "bytes" => decode.bytes = literal(rest, 1..=OFFSET_MAX)? as u32,
                "offset" => decode.offset = literal(rest, 0..=i64::from(u32::MAX))? as u32,
                "relative" => decode.relative = true,
                _ => return Err(unknown("base64_decode", word)),
            }
        }
    }
    let test = Test::Base64 {
        decode,
        then: Vec::new(),
    };
    // Without a sticky buffer it decodes where the last match stood, relative or not.
    builder.push(test, true, argument.span);
    Ok(())
}

/// `base64_data`: what follows looks at the decoded bytes.
pub fn base64_data<'a>(
    builder: &mut Builder<'a, '_>,
    argument: Argument<'a>,
) -> Result<(), Problem> {
    let decode = builder
        .items
        .iter()
        .rposition(|item| matches!(item.test, Test::Base64 { .. }));
    match decode {
        Some(index) => {
            builder.decoded = Some(index);
            Ok(())
        }
        None => Err(argument.problem(
            Code::NoBuffer,
            "`base64_data` stands without `base64_decode` before it",
        )),
    }
}

/// `absent`, `absent:or_else`.
pub fn absent<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let or_else = match argument.text {
        "" => false,
        "or_else" => true,
        other => {
            let message = format!("`{}` is not a word of `absent`", shorten(other));
            return Err(argument
                .bad(message)
                .help("write `absent;` or `absent: or_else;`"));
        }
    };
    let Some(list) = builder.sticky else {
        return Err(argument.problem(Code::NoBuffer, "`absent` needs a sticky buffer before it"));
    };
    if builder.lists[list].used {
        return Err(argument.problem(
            Code::ModifierConflict,
            "`absent` comes first after its buffer",
        ));
    }
    builder.lists[list].used = true;
    builder.lists[list].absent = Some(or_else);
    Ok(())
}
