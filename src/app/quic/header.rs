//! Heads of QUIC packets: RFC 9000 17.2 with all versions' types, and those of gQUIC before it
//! ("QUIC Wire Layout Specification", Google 2016).

use super::keys::VERSION_2;
use crate::app::reader::Reader;

/// Google's versions with a head of their own.
const Q043: u32 = 0x5130_3433;
const Q045: u32 = 0x5130_3435;
const Q046: u32 = 0x5130_3436;

/// Bits of the first byte before RFC 9000.
mod flag {
    pub const LONG: u8 = 0x80;
    pub const FIXED: u8 = 0x40;
    pub const CONNECTION: u8 = 0x08;
    pub const NONCE: u8 = 0x04;
    pub const VERSION: u8 = 0x01;
}

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// With a hello.
    Initial,
    /// The client shall begin again.
    Retry,
    /// Encrypted, or nothing to see.
    Other,
    /// A short head.
    Short,
}

/// A head.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// With a version.
    pub long: bool,
    /// What follows.
    pub kind: Kind,
    /// Version, 0 if there is none.
    pub version: u32,
    /// The same as it was sent.
    pub version_bytes: &'a [u8],
    /// Connection id of the receiver.
    pub destination: &'a [u8],
    /// Bytes of the head, without the packet number where that is protected.
    pub head: usize,
    /// Bytes behind the head.
    pub length: usize,
}

/// A number of variable length (RFC 9000 16).
pub fn var_int(reader: &mut Reader<'_>) -> Option<u64> {
    let first = reader.u8()?;
    let mut number = u64::from(first & 0x3f);
    for byte in reader.take((1 << (first >> 6)) - 1)? {
        number = number << 8 | u64::from(*byte);
    }
    Some(number)
}

impl<'a> Header<'a> {
    /// Reads a head; None if the bytes are none.
    pub fn read(bytes: &'a [u8]) -> Option<Header<'a>> {
        let mut reader = Reader::new(bytes);
        let first = reader.u8()?;
        if first & flag::LONG != 0 {
            return Header::read_long(bytes, first);
        }
        if first & flag::FIXED == 0 {
            return Header::read_google(bytes, first);
        }
        Some(Header {
            long: false,
            kind: Kind::Short,
            version: 0,
            version_bytes: &[],
            destination: &[],
            head: 1,
            length: reader.len(),
        })
    }

    /// Versions before Q044.
    fn read_google(bytes: &'a [u8], first: u8) -> Option<Header<'a>> {
        const CONNECTION: usize = 8;
        const NONCE: usize = 32;
        const HASH: usize = 12;
        let mut reader = Reader::new(bytes.get(1..)?);
        let connection = first & flag::CONNECTION != 0;
        let destination = reader.take(if connection { CONNECTION } else { 0 })?;
        if first & flag::NONCE != 0 && !connection {
            reader.take(NONCE)?;
        }
        let (mut version, mut version_bytes) = (0, &[][..]);
        if first & flag::VERSION != 0 {
            version_bytes = reader.rest().get(..4)?;
            version = reader.u32()?;
        }
        reader.take(1 + usize::from(first >> 4 & 3))?;
        if connection {
            reader.take(HASH)?;
        }
        Some(Header {
            long: false,
            kind: if version != 0 {
                Kind::Initial
            } else {
                Kind::Short
            },
            version,
            version_bytes,
            destination,
            head: bytes.len() - reader.len(),
            length: reader.len(),
        })
    }

    fn read_long(bytes: &'a [u8], first: u8) -> Option<Header<'a>> {
        const NUMBER_AND_HASH: usize = 4 + 12;
        let mut reader = Reader::new(bytes.get(1..)?);
        let version_bytes = reader.rest().get(..4)?;
        let version = reader.u32()?;
        let google = (Q043..=Q046).contains(&version);
        let kind = kind(version, first)?;
        let destination = if google {
            let lengths = reader.u8()?;
            let length = |half: u8| usize::from(if half == 0 { 0 } else { half + 3 });
            let destination = reader.take(length(lengths >> 4))?;
            reader.take(length(lengths & 0xf))?;
            destination
        } else {
            let destination = reader.counted_u8()?;
            reader.counted_u8()?;
            destination
        };
        let mut length = None;
        if kind == Kind::Initial && google {
            reader.take(NUMBER_AND_HASH)?;
        } else if kind == Kind::Initial {
            let token = var_int(&mut reader)?;
            reader.take(usize::try_from(token).ok()?)?;
            length = usize::try_from(var_int(&mut reader)?).ok();
        }
        let length = length.unwrap_or(reader.len());
        if length > reader.len() {
            return None;
        }
        Some(Header {
            long: true,
            kind,
            version,
            version_bytes,
            destination,
            head: bytes.len() - reader.len(),
            length,
        })
    }

    /// Whether it begins a connection in a version that is spoken.
    pub fn is_initial_of_a_known_version(&self) -> bool {
        let known = matches!(
            self.version,
            1 | VERSION_2 | 0xff00_0017..=0xff00_0022 | 0xface_b002 | 0x5130_3430..=0x5130_3539
        );
        known && self.kind == Kind::Initial && self.destination.len() <= 20
    }
}

/// RFC 9000 17.2, RFC 9369 3.2.
fn kind(version: u32, first: u8) -> Option<Kind> {
    let kind = match (version, first >> 4 & 3) {
        (0, _) => Kind::Other,
        (Q043..=Q045, _) => match first & 0x7f {
            0x7f => Kind::Initial,
            0x7e => Kind::Retry,
            0x7c | 0x7d => Kind::Other,
            _ => return None,
        },
        (VERSION_2, 1) => Kind::Initial,
        (VERSION_2, 0) => Kind::Retry,
        (VERSION_2, _) => Kind::Other,
        (_, 0) => Kind::Initial,
        (_, 3) => Kind::Retry,
        _ => Kind::Other,
    };
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_several_versions() {
        let initial = b"\xc3\0\0\0\x01\x02ab\x01c\0\x03xyz?";
        let header = Header::read(initial).unwrap();
        assert_eq!(
            (header.kind, header.destination),
            (Kind::Initial, &b"ab"[..])
        );
        assert_eq!((header.head, header.length), (12, 3));
        let mut second = *initial;
        second[1..5].copy_from_slice(&VERSION_2.to_be_bytes());
        assert_eq!(Header::read(&second).unwrap().kind, Kind::Retry);
        assert!(Header::read(b"\xc3\0\0\0\x01\x02ab\x01c\0\x30xyz").is_none());
        assert_eq!(Header::read(b"\x40abc").unwrap().kind, Kind::Short);
    }

    #[test]
    fn numbers_of_every_length() {
        for (bytes, number) in [
            (&b"\x25"[..], 37),
            (b"\x7b\xbd", 15_293),
            (b"\x9d\x7f\x3e\x7d", 494_878_333),
            (b"\xc2\x19\x7c\x5e\xff\x14\xe8\x8c", 151_288_809_941_952_652),
        ] {
            assert_eq!(var_int(&mut Reader::new(bytes)), Some(number));
        }
        assert_eq!(var_int(&mut Reader::new(b"\x7b")), None);
    }
}
