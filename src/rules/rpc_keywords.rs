//! Keywords of DCERPC that are no buffers: `dcerpc.iface` becomes tests on the instances of the
//! field of that name (see `app::dcerpc::IFACE_SIZE`), `dcerpc.opnum` comparisons.

use super::app_keywords::number_test;
use super::argument::Argument;
use super::diagnostic::Problem;
use super::keyword::{BufferRow, Side};
use super::number;
use super::parse::Builder;
use super::signature::{ByteFormat, ByteOperator, ByteTest, Compare, Content, Number, Test};
use crate::app::Field;

/// The instances of the interface: each test list is one interface's.
static INTERFACE: BufferRow = BufferRow {
    name: "dcerpc.iface",
    aliases: &[],
    protocol: "dcerpc|smb",
    side: Side::Both,
    multiple: true,
};

/// Places in an instance.
const VERSION_AT: i64 = 16;
const FIRST_AT: i64 = 18;

/// `dcerpc.iface:UUID[,VERSION][,any_frag]`.
pub fn interface<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let mut parts = argument.text.split(',').map(str::trim);
    let Some(uuid) = parts.next().and_then(uuid) else {
        return Err(argument.bad("an interface is named by its UUID"));
    };
    let mut tests = vec![Test::Content(Content {
        bytes: uuid.into(),
        startswith: true,
        ..Content::default()
    })];
    let mut first = true;
    for (place, part) in parts.enumerate() {
        if part == "any_frag" && first {
            first = false;
        } else if place == 0
            && let Some(version) = number::compare(part, u64::from(u16::MAX))
            && let Some(version) = comparison(version)
        {
            tests.extend(version);
        } else {
            return Err(argument.bad(format!("`{part}` is no version, nor `any_frag`")));
        }
    }
    if first {
        tests.push(byte_test(1, FIRST_AT, ByteOperator::Equal, 1, false));
    }
    builder.executable(argument.keyword.name, true);
    let list = builder.list(&INTERFACE, argument.name);
    for test in tests {
        builder.push_to(list, test, argument.span);
    }
    Ok(())
}

/// `dcerpc.opnum:N[-M][,...]`, or a comparison.
pub fn operation<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let listed: Option<Vec<Compare>> = argument.text.split(',').map(range).collect();
    let any_of = match listed {
        Some(any_of) => any_of,
        None => match number::compare(argument.text, u64::from(u16::MAX)) {
            Some(compare) => vec![compare],
            None => return Err(argument.bad("operations are numbers and ranges of them")),
        },
    };
    number_test(builder, &argument, Field::DcerpcOpnum, any_of);
    Ok(())
}

/// `N` or `N-M`, both included.
fn range(text: &str) -> Option<Compare> {
    let text = text.trim();
    match text.split_once('-') {
        None => Some(Compare::Equal(u64::from(text.parse::<u32>().ok()?))),
        Some((from, to)) => {
            let (from, to): (u32, u32) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            let (from, to) = (u64::from(from), u64::from(to));
            match from.checked_sub(1) {
                _ if from > to => None,
                Some(before) => Some(Compare::Between(before, to + 1)),
                None => Some(Compare::LessEqual(to)),
            }
        }
    }
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let hyphens = text.bytes().filter(|byte| *byte == b'-').count();
    if digits.len() != 32 || (hyphens != 0 && hyphens != 4) {
        return None;
    }
    let mut out = [0; 16];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// A comparison of the version as byte tests that must all hold.
fn comparison(compare: Compare) -> Option<Vec<Test>> {
    let test = |operator, value, negated| byte_test(2, VERSION_AT, operator, value as i64, negated);
    Some(match compare {
        Compare::Equal(value) => vec![test(ByteOperator::Equal, value, false)],
        Compare::NotEqual(value) => vec![test(ByteOperator::Equal, value, true)],
        Compare::Less(value) => vec![test(ByteOperator::Less, value, false)],
        Compare::LessEqual(value) => vec![test(ByteOperator::LessEqual, value, false)],
        Compare::Greater(value) => vec![test(ByteOperator::Greater, value, false)],
        Compare::GreaterEqual(value) => vec![test(ByteOperator::GreaterEqual, value, false)],
        Compare::Between(from, to) => vec![
            test(ByteOperator::Greater, from, false),
            test(ByteOperator::Less, to, false),
        ],
        Compare::NotBetween(..) | Compare::Mask { .. } => return None,
    })
}

/// A test of a binary number.
pub fn byte_test(count: i64, at: i64, operator: ByteOperator, value: i64, negated: bool) -> Test {
    Test::ByteTest(ByteTest {
        format: ByteFormat {
            count: Number::Literal(count),
            little: false,
            base: None,
            dce: false,
        },
        negated,
        operator,
        value: Number::Literal(value),
        offset: Number::Literal(at),
        relative: false,
        bitmask: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_and_ranges_read() {
        let read = uuid("12345678-1234-abcd-ef00-01234567cffb").unwrap();
        assert_eq!(read[..4], [0x12, 0x34, 0x56, 0x78]);
        assert!(uuid("12345678-1234-abcd-ef00-01234567cff").is_none());
        assert!(range("9-3").is_none());
        let within = range("5-9").unwrap();
        let held: Vec<u64> = (0..12).filter(|x| within.test(*x)).collect();
        assert_eq!(held, [5, 6, 7, 8, 9]);
        assert!(range("0-1").unwrap().test(0) && range("3").unwrap().test(3));
        assert!(range("x").is_none());
    }
}
