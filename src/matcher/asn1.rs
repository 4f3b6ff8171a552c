//! `asn1`: looks for encodings that broke decoders, in the BER (ITU-T X.690) objects from a place of
//! the payload on. Bounded: so many objects, so deep; nothing is decoded.

use super::verify::Scratch;
use crate::rules::signature::Asn1;

/// Bytes of a REAL from which on decoders overflowed, header included.
const REAL_MAX: usize = 256;
/// Octets of a length that can be meant.
const LENGTH_OCTETS_MAX: usize = 8;

const BIT_STRING: u8 = 3;
const REAL: u8 = 9;

/// Whether one of the options asked for is true of one of the first `objects_max` objects
/// (`asn1-max-frames`) in `data`.
pub fn holds(test: &Asn1, data: &[u8], objects_max: u16) -> bool {
    let mut at = 0;
    for _ in 0..objects_max {
        let Some(object) = Object::at(data, at) else {
            return false;
        };
        let content = data.get(object.content..).unwrap_or(&[]);
        let oversize = test
            .oversize_length
            .is_some_and(|limit| object.length > u64::from(limit));
        // The first octet counts the bits of the last one that do not count.
        let bits = test.bitstring_overflow
            && object.is_universal(BIT_STRING)
            && object.length > 0
            && content
                .first()
                .is_some_and(|unused| u64::from(*unused) > (object.length - 1) * 8);
        // Only those written as digits (X.690 8.5.8) had a buffer of fixed size.
        let real = test.double_overflow
            && object.is_universal(REAL)
            && content.first().is_some_and(|first| first & 0xc0 == 0)
            && object.length as usize + (object.content - at) > REAL_MAX;
        if oversize || bits || real {
            return true;
        }
        // Into what is constructed, past what is not.
        at = if object.constructed {
            object.content
        } else {
            match usize::try_from(object.length) {
                Ok(length) => object.content.saturating_add(length),
                Err(_) => return false,
            }
        };
    }
    false
}

impl Scratch {
    /// Room whose `asn1` looks at so many objects at most.
    pub fn with_asn1(mut self, objects: u16) -> Scratch {
        self.asn1_objects = objects;
        self
    }
}

/// Identifier and length of an object.
struct Object {
    class_and_tag: Option<u8>,
    constructed: bool,
    /// Content octets; an indefinite length is 0.
    length: u64,
    /// Where the content begins.
    content: usize,
}

impl Object {
    fn at(data: &[u8], at: usize) -> Option<Object> {
        let first = *data.get(at)?;
        let mut next = at + 1;
        let long = first & 0x1f == 0x1f;
        if long {
            // The last octet of a long tag has its highest bit clear.
            let rest = data.get(next..)?;
            let octets = rest
                .iter()
                .take(LENGTH_OCTETS_MAX)
                .position(|o| o & 0x80 == 0)?;
            next += octets + 1;
        }
        let short = *data.get(next)?;
        next += 1;
        let mut length = u64::from(short & 0x7f);
        if short & 0x80 != 0 {
            let octets = usize::from(short & 0x7f);
            if octets > LENGTH_OCTETS_MAX {
                return None;
            }
            let bytes = data.get(next..next + octets)?;
            length = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            next += octets;
        }
        Some(Object {
            class_and_tag: (!long).then_some(first & 0xdf),
            constructed: first & 0x20 != 0,
            length,
            content: next,
        })
    }

    fn is_universal(&self, tag: u8) -> bool {
        self.class_and_tag == Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(test: &Asn1, data: &[u8]) -> bool {
        super::holds(test, data, 30)
    }

    const NONE: Asn1 = Asn1 {
        oversize_length: None,
        bitstring_overflow: false,
        double_overflow: false,
        absolute_offset: None,
        relative_offset: None,
    };

    #[test]
    fn each_option_finds_its_object_within_others() {
        let oversize = Asn1 {
            oversize_length: Some(130),
            ..NONE
        };
        let data = [0x30, 0x82, 0x01, 0x00, 0x04, 0x82, 0x00, 0x84, 1];
        assert!(holds(&oversize, &data), "the sequence has 256 octets");
        assert!(!holds(&oversize, &[0x04, 0x82, 0x00, 0x82, 1]));
        let bits = Asn1 {
            bitstring_overflow: true,
            ..NONE
        };
        assert!(holds(&bits, &[0x30, 5, 0x02, 1, 7, 0x03, 2, 9, 0xff]));
        assert!(!holds(&bits, &[0x03, 2, 7, 0xff]));
        let real = Asn1 {
            double_overflow: true,
            ..NONE
        };
        let long = [&[0x09, 0x82, 0x01, 0x00, 0x03][..], &[b'1'; 255]].concat();
        assert!(holds(&real, &long));
        assert!(!holds(&real, &[0x09, 2, 3, b'1']));
    }

    #[test]
    fn nonsense_ends() {
        for byte in 0..=255u8 {
            let all = Asn1 {
                oversize_length: Some(u32::MAX),
                bitstring_overflow: true,
                double_overflow: true,
                ..NONE
            };
            holds(&all, &[byte; 100]);
            holds(&all, &[0x30, 0x80, byte]);
        }
    }
}
