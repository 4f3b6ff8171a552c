//! The internet checksum (RFC 1071) for frames that this room completes or makes.
//!
//! Decode has its own, vectorized one; this one serves frames whose sender left the sum to its NIC
//! (af_packet.rs) and generated traffic.

/// Ones' complement sum of 16-bit words, continued from `sum`; an odd last byte is a high byte.
pub fn add(mut sum: u32, bytes: &[u8]) -> u32 {
    let mut words = bytes.chunks_exact(2);
    for word in &mut words {
        if let [high, low] = *word {
            sum += u32::from(u16::from_be_bytes([high, low]));
        }
        sum = (sum & 0xffff) + (sum >> 16);
    }
    if let [last] = *words.remainder() {
        sum += u32::from(last) << 8;
    }
    (sum & 0xffff) + (sum >> 16)
}

/// The checksum field for a sum of everything else.
pub fn finish(sum: u32) -> u16 {
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !(folded as u16)
}

/// The checksum of `bytes` alone (IPv4 header, ICMP).
pub fn of(bytes: &[u8]) -> u16 {
    finish(add(0, bytes))
}

/// Sum of the pseudo header (RFC 9293 3.1, RFC 8200 8.1). `addrs` is source, then destination.
pub fn pseudo(addrs: &[u8], protocol: u8, length: u32) -> u32 {
    let sum = add(0, addrs);
    let sum = add(sum, &length.to_be_bytes());
    add(sum, &[0, protocol])
}

/// Where the transport checksum of an Ethernet frame stands, and what it has to be; `None` where
/// there is no TCP or UDP directly behind an IP header.
pub fn transport(frame: &[u8]) -> Option<(usize, u16)> {
    const TAGS: [u16; 2] = [0x8100, 0x88a8];
    let word = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    let mut at = 12;
    // Three tags, as decode keeps.
    for _ in 0..3 {
        if TAGS.contains(&word(at)?) {
            at += 4;
        }
    }
    let start = at + 2;
    let (protocol, addrs, l4, end) = match word(at)? {
        0x0800 => {
            let header = usize::from(frame.get(start)? & 0xf) * 4;
            let end = start + usize::from(word(start + 2)?);
            let addrs = frame.get(start + 12..start + 20)?;
            (*frame.get(start + 9)?, addrs, start + header, end)
        }
        0x86dd => {
            let end = start + 40 + usize::from(word(start + 4)?);
            let addrs = frame.get(start + 8..start + 40)?;
            (*frame.get(start + 6)?, addrs, start + 40, end)
        }
        _ => return None,
    };
    let place = match protocol {
        6 => l4 + 16,
        17 => l4 + 6,
        _ => return None,
    };
    let segment = frame.get(l4..end)?;
    let sum = add(pseudo(addrs, protocol, segment.len() as u32), segment);
    // Without what stands in the field now: adding its complement takes it out of the sum.
    let sum = sum + u32::from(!word(place).filter(|_| place + 2 <= end)?);
    Some(match (protocol, finish(sum)) {
        (17, 0) => (place, 0xffff),
        (_, value) => (place, value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_checksum_is_completed_whatever_stood_there() {
        use crate::port::generator::{Generator, Mix};
        let mix = Mix {
            flows: 100,
            bad_checksum: 0.0,
            fragments: 0.0,
            attack: 0.0,
            vlan: 0.5,
            ..Mix::default()
        };
        let mut completed = 0;
        for frame in Generator::new(mix) {
            let mut bytes = frame.bytes.clone();
            let Some((at, value)) = transport(&bytes) else {
                continue;
            };
            assert_eq!(
                bytes[at..at + 2],
                value.to_be_bytes(),
                "the right one stays"
            );
            bytes[at] ^= 0x5a;
            bytes[at + 1] ^= 0x77;
            assert_eq!(transport(&bytes), Some((at, value)));
            for cut in 0..at {
                assert_eq!(transport(&frame.bytes[..cut]), None);
            }
            completed += 1;
        }
        assert!(completed > 500);
    }

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(of(&bytes), !0xddf2);
        assert_eq!(of(&[]), 0xffff);
        assert_eq!(of(&[0xff]), !0xff00);
    }
}
