//! Text of single EVE values: time stamps, addresses, bytes, and the escaping of strings.
//!
//! Everything here is `Display` or `Serialize` and writes straight into the line buffer. Bytes from
//! the wire come out as base64 or as printable ASCII, never as they are; strings of rules have
//! every control, bidirectional and line-separating character escaped, so a log line can neither
//! be broken nor made to look like another one.

use std::fmt::{self, Display, Formatter};
use std::io;

use serde::{Serialize, Serializer};

/// Longest string that a field takes, bytes; longer ones are cut at a character.
pub const FIELD_MAX: usize = 4096;

/// Serializes what `T` displays, as a string.
pub struct Text<T>(pub T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A string of at most [`FIELD_MAX`] bytes.
pub struct Capped<'a>(pub &'a str);

impl Serialize for Capped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut end = self.0.len().min(FIELD_MAX);
        while !self.0.is_char_boundary(end) {
            end -= 1; // at most three steps, and 0 is a boundary
        }
        serializer.serialize_str(self.0.get(..end).unwrap_or(""))
    }
}

/// Nanoseconds since the epoch as `2026-11-25T16:51:52.123456+0000`, always UTC.
pub struct Timestamp(pub u64);

impl Display for Timestamp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        let micros = self.0 % 1_000_000_000 / 1_000;
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+0000"
        )
    }
}

/// Gregorian date of a day counted from 1970-01-01. The year is taken to begin in March, so that
/// the leap day is its last; 146,097 days are 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days from 0000-03-01 to 1970-01-01
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let leap_days = day_of_era / 1460 + day_of_era / 146_096;
    let year_of_era = (day_of_era + day_of_era / 36_524 - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// An address as Suricata writes it: dotted for IPv4, eight whole groups for IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    /// IPv4.
    V4([u8; 4]),
    /// IPv6.
    V6([u8; 16]),
}

impl Address {
    /// An address in the form of the tuple (IPv4 in its last four bytes).
    pub fn of(addr: &[u8; 16], v4: bool) -> Address {
        match addr {
            [.., a, b, c, d] if v4 => Address::V4([*a, *b, *c, *d]),
            _ => Address::V6(*addr),
        }
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Address::V4([a, b, c, d]) => write!(f, "{a}.{b}.{c}.{d}"),
            Address::V6(bytes) => {
                let (groups, _) = bytes.as_chunks::<2>();
                for (i, [high, low]) in groups.iter().enumerate() {
                    let colon = if i == 0 { "" } else { ":" };
                    write!(f, "{colon}{high:02x}{low:02x}")?;
                }
                Ok(())
            }
        }
    }
}

/// Bytes as base64 (RFC 4648 section 4, padded).
pub struct Base64<'a>(pub &'a [u8]);

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Display for Base64<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digit = |bits: u32| BASE64[(bits & 63) as usize];
        // 48 bytes make 64 digits: few calls into the formatter, and a small buffer.
        for chunk in self.0.chunks(48) {
            let mut digits = [b'='; 64];
            for (three, four) in chunk.chunks(3).zip(digits.as_chunks_mut::<4>().0) {
                let bits = three
                    .iter()
                    .zip([16, 8, 0])
                    .fold(0, |bits, (byte, shift)| bits | u32::from(*byte) << shift);
                *four = [
                    digit(bits >> 18),
                    digit(bits >> 12),
                    digit(bits >> 6),
                    digit(bits),
                ];
                four[three.len() + 1..].fill(b'=');
            }
            let length = chunk.len().div_ceil(3) * 4;
            f.write_str(ascii(&digits[..length]))?;
        }
        Ok(())
    }
}

/// Bytes as text: printable ASCII, CR and LF as they are (JSON escapes them), all else a dot.
pub struct Printable<'a>(pub &'a [u8]);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for chunk in self.0.chunks(64) {
            let mut shown = [b'.'; 64];
            for (place, byte) in shown.iter_mut().zip(chunk) {
                if matches!(byte, 0x20..=0x7e | b'\r' | b'\n') {
                    *place = *byte;
                }
            }
            f.write_str(ascii(&shown[..chunk.len()]))?;
        }
        Ok(())
    }
}

/// Bytes of a protocol as text: UTF-8 as it is, each byte that is none as `\xNN`.
pub struct Bytes<'a>(pub &'a [u8]);

impl Display for Bytes<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

/// Two hexadecimal digits.
pub struct Hex(pub u8);

impl Display for Hex {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// A hardware address: six pairs of hexadecimal digits with colons between them.
pub struct Mac(pub [u8; 6]);

impl Display for Mac {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// Bytes in hexadecimal.
pub struct HexBytes<'a>(pub &'a [u8]);

impl Display for HexBytes<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| Hex(*byte).fmt(f))
    }
}

/// A digest in hexadecimal.
pub struct Digest<const N: usize>(pub [u8; N]);

impl<const N: usize> Display for Digest<N> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| Hex(*byte).fmt(f))
    }
}

/// JSON on one line whose strings hold no character that a terminal, a log reader or an eye could
/// take for something else. serde_json itself escapes what JSON demands, up to U+001F.
pub struct LineFormatter;

/// DEL, C1 controls, zero-width and bidirectional controls, line and paragraph separators, BOM.
fn misleading(c: char) -> bool {
    matches!(c,
        '\u{7f}'..='\u{9f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}')
}

impl serde_json::ser::Formatter for LineFormatter {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        // Nearly every fragment is plain: one look at its bytes, where characters have to be decoded.
        let is_plain = |byte: &u8| *byte < 0x7f;
        if fragment.as_bytes().iter().all(is_plain) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(misleading) {
            let (plain, from) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut characters = from.chars();
            if let Some(c) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Appends one record as JSON and a line end.
///
/// # Errors
/// What a value's `Serialize` says; ours cannot fail into a vector.
pub fn line(buffer: &mut Vec<u8>, record: &impl Serialize) -> serde_json::Result<()> {
    record.serialize(&mut serde_json::Serializer::with_formatter(
        &mut *buffer,
        LineFormatter,
    ))?;
    buffer.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_know_leap_years() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000+0000"),
            (951_782_399, "2000-02-28T23:59:59.000000+0000"),
            (951_782_400, "2000-02-29T00:00:00.000000+0000"),
            (951_868_800, "2000-03-01T00:00:00.000000+0000"),
            (1_709_164_800, "2024-02-29T00:00:00.000000+0000"),
            (1_795_625_512, "2026-11-25T16:51:52.000000+0000"),
            (4_107_542_400, "2100-03-01T00:00:00.000000+0000"),
        ] {
            assert_eq!(Timestamp(seconds * 1_000_000_000).to_string(), text);
        }
        assert!(Timestamp(123_456_789).to_string().contains("00.123456+"));
    }

    #[test]
    fn base64_has_the_rfc_s_values() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(Base64(bytes.as_bytes()).to_string(), text);
        }
        let long = [0xffu8; 100];
        assert_eq!(Base64(&long).to_string().len(), 136);
        assert!(Base64(&long).to_string().starts_with("////"));
        assert!(Base64(&long).to_string().ends_with("/w=="));
    }

    #[test]
    fn addresses_are_written_in_full() {
        let mut addr = [0u8; 16];
        addr[10..].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
        assert_eq!(Address::of(&addr, true).to_string(), "192.0.2.1");
        assert_eq!(
            Address::of(&addr, false).to_string(),
            "0000:0000:0000:0000:0000:ffff:c000:0201"
        );
    }

    #[test]
    fn strings_cannot_break_or_disguise_a_line() {
        let mut buffer = Vec::new();
        let hostile = "a\n\"\\\u{7f}\u{9b}\u{2028}\u{202e}\u{feff}\0é";
        line(&mut buffer, &hostile).unwrap();
        let text = String::from_utf8(buffer).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(
            !text
                .trim_end()
                .contains(|c: char| c.is_control() || misleading(c))
        );
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), hostile);
    }

    #[test]
    fn long_strings_are_cut_at_a_character() {
        let mut buffer = Vec::new();
        line(&mut buffer, &Capped(&"é".repeat(4000))).unwrap();
        let text: String = serde_json::from_slice(&buffer).unwrap();
        assert_eq!(text.len(), FIELD_MAX);
        let mut buffer = Vec::new();
        line(&mut buffer, &Capped(&format!("x{}", "é".repeat(4000)))).unwrap();
        let text: String = serde_json::from_slice(&buffer).unwrap();
        assert_eq!(text.len(), FIELD_MAX - 1);
    }

    #[test]
    fn bytes_are_shown_as_printable_ascii() {
        assert_eq!(
            Printable(b"GET /\r\n\0\x7f\xc3\xa9").to_string(),
            "GET /\r\n...."
        );
    }
}
