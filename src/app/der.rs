//! Elements of DER (X.690) for parsers that look at a few of them: one level at a time, never
//! recursive, nothing copied.

/// An element.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    /// Class (0 universal, 1 application, 2 context) of the tag.
    pub class: u8,
    /// Number of the tag.
    pub tag: u32,
    /// Contents.
    pub content: &'a [u8],
}

/// Class of tags that a protocol gives.
pub const APPLICATION: u8 = 1;
/// Class of tags within a type.
pub const CONTEXT: u8 = 2;

/// The first element of `bytes` and what follows; `None` if it is cut short, or of no definite
/// length.
pub fn element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&first, mut rest) = bytes.split_first()?;
    let mut tag = u32::from(first & 0x1f);
    if tag == 0x1f {
        tag = 0;
        // Seven bits a byte; more than four bytes are no tag of ours.
        for place in 0..=4 {
            let (&byte, behind) = rest.split_first()?;
            rest = behind;
            tag = tag << 7 | u32::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
            if place == 4 {
                return None;
            }
        }
    }
    let (&short, behind) = rest.split_first()?;
    let (length, behind) = match short {
        0..=0x7f => (usize::from(short), behind),
        0x81..=0x84 => {
            let (digits, behind) = behind.split_at_checked(usize::from(short & 0x7f))?;
            let fold = |value: usize, byte: &u8| value << 8 | usize::from(*byte);
            (digits.iter().fold(0, fold), behind)
        }
        _ => return None,
    };
    let (content, behind) = behind.split_at_checked(length)?;
    let element = Element {
        class: first >> 6,
        tag,
        content,
    };
    Some((element, behind))
}

/// The elements of a sequence's contents, up to the first that is none.
pub fn elements(content: &[u8]) -> impl Iterator<Item = Element<'_>> {
    let mut rest = content;
    std::iter::from_fn(move || {
        let (found, behind) = element(rest)?;
        rest = behind;
        Some(found)
    })
}

/// The contents of the field with this context tag, of a sequence's contents.
pub fn field(content: &[u8], tag: u32) -> Option<&[u8]> {
    elements(content)
        .find(|element| element.class == CONTEXT && element.tag == tag)
        .map(|element| element.content)
}

/// The contents of the one element within `bytes`.
pub fn inner(bytes: &[u8]) -> Option<&[u8]> {
    element(bytes).map(|(element, _)| element.content)
}

/// The number in an INTEGER of at most 32 bits.
pub fn integer(bytes: &[u8]) -> Option<i32> {
    let digits = inner(bytes)?;
    let (&first, _) = digits.split_first()?;
    if digits.len() > 5 || (digits.len() == 5 && first != 0) {
        return None;
    }
    let start = if first & 0x80 != 0 { -1 } else { 0 };
    let fold = |value: i64, byte: &u8| value << 8 | i64::from(*byte);
    Some(digits.iter().fold(start, fold) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_fields() {
        let bytes = [0x30, 0x0a, 0xa1, 3, 2, 1, 5, 0xa2, 3, 2, 1, 0xff];
        let (sequence, rest) = element(&bytes).unwrap();
        assert!(rest.is_empty() && sequence.class == 0 && sequence.tag == 16);
        assert_eq!(field(sequence.content, 1).and_then(integer), Some(5));
        assert_eq!(field(sequence.content, 2).and_then(integer), Some(-1));
        assert_eq!(field(sequence.content, 3), None);
        assert!(element(&[0x30, 0x80, 0, 0]).is_none(), "no definite length");
        assert!(element(&[0x30, 0x05, 1]).is_none(), "cut short");
        assert!(element(&[0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0]).is_none());
        let long = [&[0x7e, 0x81, 0x80][..], &[7; 128]].concat();
        let (long, _) = element(&long).unwrap();
        assert_eq!((long.class, long.tag, long.content.len()), (1, 30, 128));
    }
}
