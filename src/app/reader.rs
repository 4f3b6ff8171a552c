//! A cursor over bytes of the wire that cannot read past their end: every call says `None` instead.
//! Integers are big-endian, as network protocols have them, unless a name says otherwise.

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

    /// A cursor at a place of `bytes`; behind their end there is nothing to read.
    pub fn at(bytes: &'a [u8], place: usize) -> Reader<'a> {
        Reader::new(bytes.get(place..).unwrap_or(&[]))
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
        let [high, middle, low] = self.array()?;
        Some(u32::from_be_bytes([0, high, middle, low]))
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        let bytes = self.take(4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    }

    /// Passes over `count` bytes.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(|_| ())
    }

    /// The next `N` bytes by value.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// The next two bytes, the low one first.
    pub fn le16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes, the lowest first.
    pub fn le32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes, the lowest first.
    pub fn le64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next two bytes, in the order that the sender announced.
    pub fn u16_of(&mut self, little: bool) -> Option<u16> {
        if little { self.le16() } else { self.u16() }
    }

    /// The next four bytes, in the order that the sender announced.
    pub fn u32_of(&mut self, little: bool) -> Option<u32> {
        if little { self.le32() } else { self.u32() }
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

/// The bytes before the first zero, and what stands behind it; `None` without a zero.
pub fn until_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
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
    fn little_endian_numbers_and_places() {
        let bytes = [1, 2, 3, 4, 5, 6, 7];
        let mut reader = Reader::at(&bytes, 1);
        assert_eq!(reader.u16_of(true), Some(0x302));
        assert_eq!(reader.u32_of(false), Some(0x0405_0607));
        assert_eq!(Reader::at(&bytes, 9).u8(), None);
        assert_eq!(until_zero(b"ab\0cd"), Some((&b"ab"[..], &b"cd"[..])));
        assert_eq!(until_zero(b"ab"), None);
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
