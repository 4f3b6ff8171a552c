//! Words and codings of mails: parameters of headers (RFC 2045 section 5.1, RFC 2231 section 3),
//! base64 and hexadecimal digits. What they belong to is mime.rs's.

use memchr::memchr;

/// Sections of one parameter.
const SECTIONS_MAX: u32 = 32;

/// The value of a parameter of a header (RFC 2045 section 5.1), the last one of that name; one
/// that comes in sections (RFC 2231 section 3) is put together in `joined`.
pub(super) fn find_parameter<'a>(
    header: &'a [u8],
    name: &[u8],
    joined: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    if let Some(value) = last_parameter(header, |known| known == name) {
        return Some(value);
    }
    joined.clear();
    for section in 0..SECTIONS_MAX {
        let is_it = |known: &[u8]| {
            let number = known
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(b"*"));
            number.is_some_and(|digits| is_number(digits, section))
        };
        match last_parameter(header, is_it) {
            Some(value) => joined.extend_from_slice(value),
            None if section == 0 => return None,
            None => break,
        }
    }
    Some(joined)
}

/// Whether digits are this number in its plainest form.
fn is_number(digits: &[u8], number: u32) -> bool {
    let tens = [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8];
    match number {
        0..=9 => digits == [tens[1]],
        _ => digits == tens,
    }
}

fn last_parameter(header: &[u8], is_it: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
    let mut rest = header.get(memchr(b';', header)? + 1..)?;
    let mut found = None;
    // Each round takes the `=` at least.
    while !rest.is_empty() {
        let blanks = rest.iter().take_while(|b| is_blank(**b)).count();
        rest = rest.get(blanks..).unwrap_or(&[]);
        let Some(equals) = memchr(b'=', rest) else {
            break;
        };
        let (name, value) = (rest.get(..equals)?, rest.get(equals + 1..)?);
        let (value, after) = parameter_value(value);
        if is_it(name) {
            found = Some(value);
        }
        let blanks = after.iter().take_while(|b| is_blank(**b)).count();
        rest = after.get(blanks..).unwrap_or(&[]);
        rest = rest.strip_prefix(b";").unwrap_or(rest);
    }
    found
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// A parameter's value, quoted or up to the semicolon, and what follows it.
fn parameter_value(bytes: &[u8]) -> (&[u8], &[u8]) {
    if let Some(quoted) = bytes.strip_prefix(b"\"") {
        let mut escaped = false;
        for (at, byte) in quoted.iter().enumerate() {
            if *byte == b'"' && !escaped {
                let after = quoted.get(at + 1..).unwrap_or(&[]);
                return (quoted.get(..at).unwrap_or(&[]), after);
            }
            escaped = *byte == b'\\';
        }
    }
    let end = memchr(b';', bytes).unwrap_or(bytes.len());
    let value = bytes.get(..end).unwrap_or(&[]);
    let trimmed = value
        .iter()
        .rposition(|b| !is_blank(*b))
        .map_or(value.len(), |at| at + 1);
    (
        value.get(..trimmed).unwrap_or(&[]),
        bytes.get(end..).unwrap_or(&[]),
    )
}

const NO_DIGIT: u8 = 0xff;
const PADDING: u8 = 0xfe;

/// Values of base64's digits (RFC 4648 section 4).
const BASE64: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < digits.len() {
        table[digits[value] as usize] = value as u8;
        value += 1;
    }
    table[b'=' as usize] = PADDING;
    table
};

fn base64_digit(byte: u8) -> u8 {
    BASE64.get(usize::from(byte)).copied().unwrap_or(NO_DIGIT)
}

/// The byte that two hexadecimal digits stand for.
pub(super) fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    Some(digit(high)? << 4 | digit(low)?)
}

/// A decoder of base64 that is shown line after line.
#[derive(Debug, Default)]
pub(super) struct Base64 {
    /// Digits that wait for the others of their four.
    digits: [u8; 4],
    count: u8,
}

impl Base64 {
    /// Decodes what is whole; other bytes than digits are passed over (RFC 2045 section 6.8).
    /// Whether padding stood only where it may.
    pub(super) fn decode(&mut self, line: &[u8], decoded: &mut Vec<u8>) -> bool {
        let mut good = true;
        for byte in line {
            let digit = base64_digit(*byte);
            if digit == NO_DIGIT {
                continue;
            }
            let count = usize::from(self.count);
            if let Some(place) = self.digits.get_mut(count) {
                *place = digit;
            }
            if count < 3 {
                self.count += 1;
                continue;
            }
            self.count = 0;
            let [a, b, c, d] = self.digits;
            if a == PADDING || b == PADDING || (c == PADDING && d != PADDING) {
                good = false;
            }
            if a == PADDING || b == PADDING {
                continue;
            }
            decoded.push(a << 2 | b >> 4);
            if c != PADDING {
                decoded.push(b << 4 | c >> 2);
                if d != PADDING {
                    decoded.push(c << 6 | d);
                }
            }
        }
        good
    }

    /// Nothing more comes: decodes the digits that wait, as if padding followed.
    pub(super) fn finish(&mut self, decoded: &mut Vec<u8>) {
        if self.count > 0 {
            let missing = usize::from(4 - self.count.min(4));
            self.decode(b"===".get(..missing).unwrap_or(&[]), decoded);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(header: &str, name: &str) -> Option<String> {
        let mut joined = Vec::new();
        let found = find_parameter(header.as_bytes(), name.as_bytes(), &mut joined);
        found.map(|value| String::from_utf8_lossy(value).into_owned())
    }

    #[test]
    fn parameters_are_found() {
        let found = |header| parameter(header, "filename");
        assert_eq!(found("attachment; filename=a.exe").unwrap(), "a.exe");
        assert_eq!(found("attachment; filename=a.exe ; x=y").unwrap(), "a.exe");
        assert_eq!(
            found("a; filename=\"b \\\" ;c\"; d=e").unwrap(),
            "b \\\" ;c"
        );
        assert_eq!(
            found("a; dummy=\"filename=no\"; filename=real;").unwrap(),
            "real"
        );
        assert_eq!(
            found("a; filename*0=one; filename*1=\"-two\"").unwrap(),
            "one-two"
        );
        assert_eq!(found("attachment; name=x"), None);
        assert_eq!(found("filename=x"), None);
    }

    #[test]
    fn base64_is_decoded_across_lines() {
        let mut base64 = Base64::default();
        let mut decoded = Vec::new();
        assert!(base64.decode(b"SGVs bG", &mut decoded));
        assert!(base64.decode(b"8sIHdvcmxkIQ==", &mut decoded));
        assert_eq!(decoded, b"Hello, world!");
        assert!(!base64.decode(b"=aaa", &mut decoded));
    }
}
