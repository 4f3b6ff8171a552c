//! BER (ITU-T X.690), as far as SNMP and LDAP use it: elements with tags below 31 and definite
//! lengths, one after the other. Nothing here goes deeper by itself: callers descend as far as
//! their protocol does.

/// An element: its tag byte and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// Class, form and number in one byte.
    pub tag: u8,
    /// Content.
    pub content: &'a [u8],
}

/// Why there is no element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// It needs so many bytes in all, or more than there are (0).
    More(usize),
    /// It is none.
    Bad,
}

/// Universal tags.
pub(super) mod tag {
    pub const INTEGER: u8 = 0x02;
    pub const OCTETS: u8 = 0x04;
    pub const OID: u8 = 0x06;
    pub const ENUMERATED: u8 = 0x0a;
    pub const SEQUENCE: u8 = 0x30;
}

/// Longest length in bytes of the length.
const LENGTH_BYTES_MAX: usize = 4;

/// The head of an element: its tag, where its content begins and ends.
pub(super) fn head(bytes: &[u8]) -> Result<(u8, usize, usize), Lack> {
    let (Some(tag), Some(first)) = (bytes.first(), bytes.get(1)) else {
        return Err(Lack::More(0));
    };
    if tag & 0x1f == 0x1f {
        return Err(Lack::Bad);
    }
    if *first < 0x80 {
        return Ok((*tag, 2, 2 + usize::from(*first)));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > LENGTH_BYTES_MAX {
        return Err(Lack::Bad);
    }
    let digits = bytes.get(2..2 + count).ok_or(Lack::More(0))?;
    let length = digits
        .iter()
        .fold(0usize, |sum, d| sum << 8 | usize::from(*d));
    Ok((*tag, 2 + count, 2 + count + length))
}

/// Reads an element off the front.
pub(super) fn read(bytes: &[u8]) -> Result<(Element<'_>, &[u8]), Lack> {
    let (tag, start, end) = head(bytes)?;
    let content = bytes.get(start..end).ok_or(Lack::More(end))?;
    let rest = bytes.get(end..).unwrap_or(&[]);
    Ok((Element { tag, content }, rest))
}

/// Reads an element of this tag off the front; what it holds.
pub(super) fn take<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (element, rest) = read(bytes).ok()?;
    if element.tag != tag {
        return None;
    }
    *bytes = rest;
    Some(element.content)
}

/// A number of at most eight bytes.
pub(super) fn number(content: &[u8]) -> Option<u64> {
    if content.is_empty() || content.len() > 8 {
        return None;
    }
    Some(content.iter().fold(0, |sum, b| sum << 8 | u64::from(*b)))
}

/// Reads an integer off the front.
pub(super) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes, tag::INTEGER).and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_one_by_one() {
        let bytes = b"\x30\x06\x02\x01\x05\x04\x01xrest";
        let (sequence, rest) = read(bytes).unwrap();
        assert_eq!((sequence.tag, rest), (tag::SEQUENCE, &b"rest"[..]));
        let mut inside = sequence.content;
        assert_eq!(take_number(&mut inside), Some(5));
        assert_eq!(take(&mut inside, tag::OCTETS), Some(&b"x"[..]));
        assert_eq!(take(&mut inside, tag::OCTETS), None);
        assert_eq!(read(b"\x30"), Err(Lack::More(0)));
        assert_eq!(read(b"\x30\x81"), Err(Lack::More(0)));
        assert_eq!(read(b"\x30\x82\x01\x00"), Err(Lack::More(260)));
        assert_eq!(read(b"\x30\x80xx"), Err(Lack::Bad));
        assert_eq!(read(b"\x3f\x01x"), Err(Lack::Bad));
    }
}
