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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(of(&bytes), !0xddf2);
        assert_eq!(of(&[]), 0xffff);
        assert_eq!(of(&[0xff]), !0xff00);
    }
}
