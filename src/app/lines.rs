//! Lines of text protocols, cut from a stream within a limit, and small readers of words and
//! numbers. What a line means is its protocol's file's.

use memchr::memchr;

/// A line of at most `limit` bytes with its end, or the first `limit` bytes of a longer one; None:
/// it has not come yet.
pub(super) fn take_line(bytes: &[u8], limit: usize) -> Option<&[u8]> {
    let seen = bytes.get(..bytes.len().min(limit))?;
    match memchr(b'\n', seen) {
        Some(end) => bytes.get(..=end),
        None if bytes.len() >= limit => Some(seen),
        None => None,
    }
}

/// How many bytes of `rest` belong to a message that is passed over, of which `left` bytes are to come.
pub(super) fn pass_over(left: &mut u32, rest: &[u8]) -> usize {
    let count = (*left as usize).min(rest.len());
    *left -= count as u32;
    count
}

/// The line without its end.
pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a line begins with a word, given in any case.
pub(super) fn starts_with(line: &[u8], word: &[u8]) -> bool {
    line.get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// A decimal number that is nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        number.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

/// Leading digits as a number, and what follows them.
pub(super) fn leading_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let count = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at_checked(count)?;
    Some((decimal(digits)?, rest))
}

/// Passes over the rest of lines that were too long, by direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Discard([bool; 2]);

impl Discard {
    /// The rest of the line is to be passed over.
    pub(super) fn begin(&mut self, way: usize) {
        if let Some(on) = self.0.get_mut(way) {
            *on = true;
        }
    }

    /// How many bytes belong to a line that is passed over; None when there is none.
    pub(super) fn take(&mut self, way: usize, bytes: &[u8]) -> Option<usize> {
        let on = self.0.get_mut(way).filter(|on| **on)?;
        let end = memchr(b'\n', bytes);
        *on = end.is_none();
        Some(end.map_or(bytes.len(), |end| end + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_the_limit() {
        assert_eq!(take_line(b"ab\ncd", 9), Some(&b"ab\n"[..]));
        assert_eq!(take_line(b"abcd", 9), None);
        assert_eq!(take_line(b"abcd", 4), Some(&b"abcd"[..]));
        assert_eq!(take_line(b"abc\n", 3), Some(&b"abc"[..]));
        assert_eq!(without_end(b"ab\r\n"), b"ab");
        assert_eq!(without_end(b"ab\n"), b"ab");
        let mut discard = Discard::default();
        assert_eq!(discard.take(0, b"x"), None);
        discard.begin(0);
        assert_eq!(discard.take(0, b"rest"), Some(4));
        assert_eq!(discard.take(0, b"\nnext"), Some(1));
        assert_eq!(discard.take(0, b"next"), None);
    }

    #[test]
    fn numbers_are_bounded() {
        assert_eq!(decimal(b"4294967295"), Some(u32::MAX));
        assert_eq!(decimal(b"4294967296"), None);
        assert_eq!(decimal(b""), None);
        assert_eq!(leading_number(b"12,x"), Some((12, &b",x"[..])));
    }
}
