//! A cursor over bytes of the wire that cannot read past their end: every call says `None` instead.
//! Integers are big-endian, as network protocols have them.

/// See the file's head.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A cursor at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Bytes that are still to come.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes left.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    }

    /// The next three bytes.
    pub fn u24(&mut self) -> Option<u32> {
        let high = self.u8()?;
        let low = self.u16()?;
        Some(u32::from(high) << 16 | u32::from(low))
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        let bytes = self.take(4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    }

    /// What follows a length of one byte.
    pub fn counted_u8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// What follows a length of two bytes.
    pub fn counted_u16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

/// The numbers of two bytes that a list holds; an odd byte at the end is none.
pub fn words(list: &[u8]) -> impl Iterator<Item = u16> + Clone + '_ {
    list.chunks_exact(2)
        .map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1]))
}

/// Appends a decimal number if `limit` allows; false if there is no room.
pub fn push_decimal(out: &mut Vec<u8>, number: u64, limit: usize) -> bool {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    // A number of 64 bits has at most twenty digits.
    while at > 0 {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    push(out, digits.get(at..).unwrap_or(&[]), limit)
}

/// Appends bytes if `limit` allows; false if there is no room.
pub fn push(out: &mut Vec<u8>, bytes: &[u8], limit: usize) -> bool {
    let room = out.len() + bytes.len() <= limit;
    if room {
        out.extend_from_slice(bytes);
    }
    room
}

/// Lower-case digits of base 16.
pub const HEX: &[u8; 16] = b"0123456789abcdef";
/// Upper-case digits of base 16.
pub const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// The two digits of a byte.
pub fn hex(byte: u8, digits: &[u8; 16]) -> [u8; 2] {
    [
        digits[usize::from(byte >> 4)],
        digits[usize::from(byte & 0xf)],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_stops_at_the_end() {
        let mut reader = Reader::new(&[1, 0, 2, 7, 8, 0, 9]);
        assert_eq!(reader.u8(), Some(1));
        assert_eq!(reader.counted_u16(), Some(&[7, 8][..]));
        assert_eq!(reader.u24(), None);
        assert_eq!(reader.u16(), Some(9));
        assert!(reader.is_empty());
    }

    #[test]
    fn numbers_are_written_within_the_limit() {
        let mut out = Vec::new();
        assert!(push_decimal(&mut out, 0, 8));
        assert!(push_decimal(&mut out, 65_281, 8));
        assert!(!push_decimal(&mut out, 123, 8));
        assert_eq!(out, b"065281");
        out.clear();
        assert!(push_decimal(&mut out, u64::MAX, 20));
        assert_eq!(out, u64::MAX.to_string().as_bytes());
    }
}
