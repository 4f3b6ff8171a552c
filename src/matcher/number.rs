//! Bytes as numbers: what byte_test, byte_jump, byte_extract and byte_math read and compute.
//!
//! Semantics are those of RULES.md 6.3 ("byte_test/jump/extract/math"). Positions may be anything a
//! rule or a packet's variable says, so all of it is checked arithmetic.

use crate::rules::signature::{ByteFormat, ByteOperator, MathOperator};

/// Most digits of a number in text.
pub const TEXT_MAX: usize = 23;

/// Reads `count` bytes at `at`; gives the value and the bytes used. `None`: not there, no number.
pub fn read(format: &ByteFormat, count: i64, data: &[u8], at: i64) -> Option<(u64, usize)> {
    let at = usize::try_from(at).ok()?;
    let count = usize::try_from(count).ok()?;
    // As text, 0 bytes means as many as there are digits.
    let rest = data.get(at..)?;
    let count = match (format.base, count) {
        (Some(_), 0) => rest.len().min(TEXT_MAX),
        _ => count,
    };
    let bytes = rest.get(..count)?;
    match format.base {
        Some(base) => text(bytes, base),
        None if count == 0 || count > 8 => None,
        None => {
            let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
            let value = if format.little {
                bytes.iter().rev().fold(0, fold)
            } else {
                bytes.iter().fold(0, fold)
            };
            Some((value, count))
        }
    }
}

/// A number in text, as C's `strtoull` reads it: leading space, a sign, `0x` before hex digits,
/// then digits up to the first byte that is none. Base 0 is what the text says: `0x` before
/// hexadecimal, `0` before octal, else decimal.
fn text(bytes: &[u8], base: u8) -> Option<(u64, usize)> {
    if bytes.len() > TEXT_MAX {
        return None;
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let mut at = bytes.iter().take_while(|byte| blank(byte)).count();
    let negative = bytes.get(at) == Some(&b'-');
    if negative || bytes.get(at) == Some(&b'+') {
        at += 1;
    }
    let digits = bytes.get(at..).unwrap_or(&[]);
    let hexadecimal = matches!(base, 0 | 16) && starts_hex(digits);
    let base = match (base, digits.first()) {
        (0, _) if hexadecimal => 16,
        (0, Some(b'0')) => 8,
        (0, _) => 10,
        (base, _) => base,
    };
    if hexadecimal {
        at += 2;
    }
    let first = at;
    let mut value = 0u64;
    while let Some(digit) = bytes
        .get(at)
        .and_then(|byte| char::from(*byte).to_digit(u32::from(base)))
    {
        value = value
            .checked_mul(u64::from(base))?
            .checked_add(u64::from(digit))?;
        at += 1;
    }
    if at == first {
        return None;
    }
    Some((
        if negative {
            value.wrapping_neg()
        } else {
            value
        },
        at,
    ))
}

fn starts_hex(bytes: &[u8]) -> bool {
    matches!(bytes, [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit())
}

/// `value` under a mask, shifted right by the mask's trailing zeros.
pub fn masked(value: u64, mask: Option<u32>) -> u64 {
    match mask {
        Some(mask) if mask != 0 => (value & u64::from(mask)) >> mask.trailing_zeros(),
        Some(_) => 0,
        None => value,
    }
}

/// Whether `left operator right` holds.
pub fn compare(operator: ByteOperator, left: u64, right: u64) -> bool {
    match operator {
        ByteOperator::Less => left < right,
        ByteOperator::LessEqual => left <= right,
        ByteOperator::Greater => left > right,
        ByteOperator::GreaterEqual => left >= right,
        ByteOperator::Equal => left == right,
        ByteOperator::And => left & right != 0,
        ByteOperator::Xor => left ^ right != 0,
    }
}

/// `left operator right`; `None` for a division by zero. Wraps as unsigned 64-bit numbers do.
pub fn compute(operator: MathOperator, left: u64, right: u64) -> Option<u64> {
    Some(match operator {
        MathOperator::Add => left.wrapping_add(right),
        MathOperator::Subtract => left.wrapping_sub(right),
        MathOperator::Multiply => left.wrapping_mul(right),
        MathOperator::Divide => left.checked_div(right)?,
        MathOperator::ShiftLeft => shift(left, right, u64::checked_shl),
        MathOperator::ShiftRight => shift(left, right, u64::checked_shr),
    })
}

fn shift(left: u64, by: u64, how: fn(u64, u32) -> Option<u64>) -> u64 {
    u32::try_from(by)
        .ok()
        .and_then(|by| how(left, by))
        .unwrap_or(0)
}

/// Rounds up to a multiple of `to`; 0 rounds nothing.
pub fn aligned(value: u64, to: u64) -> u64 {
    match to {
        0 => value,
        _ => value.checked_next_multiple_of(to).unwrap_or(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::signature::Number;

    fn format(base: Option<u8>, little: bool) -> ByteFormat {
        ByteFormat {
            count: Number::Literal(0),
            little,
            base,
            dce: false,
        }
    }

    #[test]
    fn binary_numbers_in_both_orders() {
        assert_eq!(
            read(&format(None, false), 2, b"\x01\x02\x03", 1),
            Some((0x0203, 2))
        );
        assert_eq!(
            read(&format(None, true), 2, b"\x01\x02\x03", 1),
            Some((0x0302, 2))
        );
        assert_eq!(
            read(&format(None, true), 8, &[0xff; 8], 0),
            Some((u64::MAX, 8))
        );
        for (count, at) in [(2, 2), (2, -1), (9, 0), (0, 0), (-1, 0)] {
            assert_eq!(read(&format(None, false), count, b"\x01\x02\x03", at), None);
        }
    }

    #[test]
    fn text_numbers_stop_at_the_first_other_byte() {
        type Case = (&'static [u8], u8, Option<(u64, usize)>);
        let cases: &[Case] = &[
            (b"123 ", 10, Some((123, 3))),
            (b" 12a", 10, Some((12, 3))),
            (b"0x1f", 16, Some((0x1f, 4))),
            (b"1F;;", 16, Some((0x1f, 2))),
            (b"0xzz", 16, Some((0, 1))),
            (b"0779", 8, Some((0o77, 3))),
            (b"0x1f;", 0, Some((0x1f, 4))),
            (b"0xzz", 0, Some((0, 1))),
            (b"017 ", 0, Some((0o17, 3))),
            (b"18 ", 0, Some((18, 2))),
            (b"08", 0, Some((0, 1))),
            (b"abc", 0, None),
            (b"-1", 10, Some((u64::MAX, 2))),
            (b"abc", 10, None),
            (b"", 10, None),
            (b"99999999999999999999999", 10, None),
        ];
        for (bytes, base, expected) in cases {
            let found = read(&format(Some(*base), false), bytes.len() as i64, bytes, 0);
            assert_eq!(found, *expected, "{bytes:?} base {base}");
        }
    }

    #[test]
    fn operators_follow_the_code_and_not_the_guide() {
        assert!(compare(ByteOperator::Xor, 5, 4), "^ means differs");
        assert!(!compare(ByteOperator::Xor, 5, 5));
        assert!(compare(ByteOperator::And, 6, 4));
        assert!(!compare(ByteOperator::And, 3, 4));
        assert_eq!(masked(0xabcd, Some(0x0ff0)), 0xbc);
        assert_eq!(compute(MathOperator::Divide, 4, 0), None);
        assert_eq!(compute(MathOperator::ShiftLeft, 1, 64), Some(0));
        assert_eq!(aligned(5, 4), 8);
        assert_eq!(aligned(8, 4), 8);
    }
}
