//! The `modbus` keyword: unit, function, and access to addresses and their values, as tests on the
//! instances that app/modbus.rs describes.

use super::argument::Argument;
use super::diagnostic::Problem;
use super::keyword::{BufferRow, Side};
use super::parse::Builder;
use super::rpc_keywords::byte_test;
use super::signature::{ByteOperator, Test};
use crate::app::modbus::{self, access, category};

/// The instances: each test list is about one of them.
static MESSAGE: BufferRow = BufferRow {
    name: "modbus",
    aliases: &[],
    protocol: "modbus",
    side: Side::Both,
    multiple: true,
};

/// A comparison as the keyword writes it; bounds of a range are excluded.
#[derive(Clone, Copy)]
enum Span {
    Equal(i64),
    Less(i64),
    Greater(i64),
    Between(i64, i64),
}

/// Reads the keyword.
pub fn parse<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let Some(tests) = tests(argument.text) else {
        let text = "`unit N`, `function N[, subfunction N]` or `access read|write ...` expected";
        return Err(argument.bad(text));
    };
    builder.executable(argument.keyword.name, true);
    let list = builder.list(&MESSAGE, argument.name);
    for test in tests {
        builder.push_to(list, test, argument.span);
    }
    Ok(())
}

fn tests(text: &str) -> Option<Vec<Test>> {
    let mut parts = text.split(',').map(str::trim).peekable();
    let mut out = Vec::new();
    let mut value_test = false;
    if let Some(unit) = parts.peek().and_then(|part| part.strip_prefix("unit")) {
        one(&mut out, 1, modbus::UNIT, span(unit)?);
        parts.next();
    }
    match parts.next() {
        None => {}
        Some(part) if part.starts_with("function") => {
            let name = part.strip_prefix("function")?.trim();
            match name.parse::<u8>() {
                Ok(code) => one(&mut out, 1, modbus::FUNCTION_AT, Span::Equal(code.into())),
                Err(_) => out.push(bits(modbus::CATEGORY, category(name)?)),
            }
            if let Some(part) = parts.next() {
                let code = part
                    .strip_prefix("subfunction")?
                    .trim()
                    .parse::<u16>()
                    .ok()?;
                one(&mut out, 2, modbus::SUBFUNCTION, Span::Equal(code.into()));
            }
        }
        Some(part) => {
            let mut words = part.strip_prefix("access")?.split_whitespace();
            out.push(bits(modbus::ACCESS, way(words.next()?)?));
            if let Some(kind) = words.next() {
                out.push(bits(modbus::ACCESS, space(kind)?));
            }
            if let Some(part) = parts.next() {
                let address = span(part.strip_prefix("address")?)?;
                addresses(&mut out, address);
                if let Some(part) = parts.next() {
                    value_test = true;
                    one(
                        &mut out,
                        2,
                        modbus::VALUE,
                        span(part.strip_prefix("value")?)?,
                    );
                    let at = match address {
                        Span::Equal(at) | Span::Less(at) | Span::Greater(at) => at,
                        Span::Between(from, _) => from,
                    };
                    one(&mut out, 2, modbus::VALUE_ADDRESS, Span::Equal(at));
                }
            }
        }
    }
    one(
        &mut out,
        1,
        modbus::IS_VALUE,
        Span::Equal(value_test.into()),
    );
    parts.next().is_none().then_some(out)
}

fn one(out: &mut Vec<Test>, count: i64, at: i64, span: Span) {
    let mut push = |operator, value| out.push(byte_test(count, at, operator, value, false));
    match span {
        Span::Equal(value) => push(ByteOperator::Equal, value),
        Span::Less(value) => push(ByteOperator::Less, value),
        Span::Greater(value) => push(ByteOperator::Greater, value),
        Span::Between(from, to) => {
            push(ByteOperator::Greater, from);
            push(ByteOperator::Less, to);
        }
    }
}

/// The addresses of a request and those of the rule have one in common.
fn addresses(out: &mut Vec<Test>, span: Span) {
    one(out, 1, modbus::HAS_ADDRESS, Span::Equal(1));
    let mut push = |at, operator, value| out.push(byte_test(2, at, operator, value, false));
    match span {
        Span::Equal(value) => {
            push(modbus::FIRST, ByteOperator::LessEqual, value);
            push(modbus::LAST, ByteOperator::GreaterEqual, value);
        }
        Span::Less(value) => push(modbus::FIRST, ByteOperator::Less, value),
        Span::Greater(value) => push(modbus::LAST, ByteOperator::Greater, value),
        Span::Between(from, to) => {
            push(modbus::LAST, ByteOperator::Greater, from);
            push(modbus::FIRST, ByteOperator::Less, to);
        }
    }
}

fn bits(at: i64, mask: u8) -> Test {
    byte_test(1, at, ByteOperator::And, i64::from(mask), false)
}

fn span(text: &str) -> Option<Span> {
    let text = text.trim();
    let number = |text: &str| text.trim().parse::<u16>().ok().map(i64::from);
    if let Some((from, to)) = text.split_once("<>") {
        let (from, to) = (number(from)?, number(to)?);
        return (from < to).then_some(Span::Between(from, to));
    }
    match (text.strip_prefix('<'), text.strip_prefix('>')) {
        (Some(rest), _) => number(rest).map(Span::Less),
        (_, Some(rest)) => number(rest).map(Span::Greater),
        _ => number(text).map(Span::Equal),
    }
}

fn category(text: &str) -> Option<u8> {
    const ALL: u8 = category::UNASSIGNED | category::ASSIGNED | category::USER | category::RESERVED;
    let (not, name) = match text.strip_prefix('!') {
        Some(name) => (true, name.trim()),
        None => (false, text),
    };
    let mask = match name {
        "assigned" => category::ASSIGNED,
        "unassigned" => category::UNASSIGNED,
        "public" => category::ASSIGNED | category::UNASSIGNED,
        "user" => category::USER,
        "reserved" => category::RESERVED,
        "all" => ALL,
        _ => return None,
    };
    Some(if not { ALL & !mask } else { mask })
}

fn way(word: &str) -> Option<u8> {
    match word {
        "read" => Some(access::READ),
        "write" => Some(access::WRITE),
        _ => None,
    }
}

fn space(word: &str) -> Option<u8> {
    match word {
        "discretes" => Some(access::DISCRETES),
        "coils" => Some(access::COILS),
        "input" => Some(access::INPUT),
        "holding" => Some(access::HOLDING),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_guide_read() {
        for text in [
            "function 21",
            "function 4, subfunction 4",
            "function assigned",
            "function !reserved",
            "access read",
            "access write coils",
            "access read discretes, address <100",
            "access write holding, address 500, value >200",
            "access write holding, address 10<>20",
            "unit 10",
            "unit 10<>500",
            "unit 10, function 21",
            "unit 10, access write holding, address 500, value >200",
        ] {
            assert!(tests(text).is_some(), "{text}");
        }
        for text in [
            "function",
            "access",
            "unit x",
            "access read, value 3",
            "address 7",
        ] {
            assert!(tests(text).is_none(), "{text}");
        }
    }
}
