//! Base64 as `base64_decode` reads it (RFC 4648 section 4, tolerant): decoding goes on until the
//! first byte that is neither of the alphabet nor skipped, and what was decoded counts.

/// Bytes that one decode yields at most.
pub const DECODED_MAX: usize = 4096;

/// Decodes into `out`, which keeps its room; gives the number of bytes.
pub fn decode(input: &[u8], out: &mut [u8; DECODED_MAX]) -> usize {
    let mut written = 0;
    let mut bits = 0u32;
    let mut held = 0u32;
    for &byte in input {
        let Some(value) = value_of(byte) else {
            match byte {
                b'\r' | b'\n' | b' ' | b'\t' | b'\x0b' | b'\x0c' => continue,
                _ => break,
            }
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            let Some(place) = out.get_mut(written) else {
                break;
            };
            *place = (held >> bits) as u8;
            held &= (1 << bits) - 1;
            written += 1;
        }
    }
    written
}

/// Decodes as the `from_base64` transform does. Mode 0 wants nothing but base64, 1 stops at the first
/// byte that is not of it, 2 skips such bytes (RFC 2045 section 6.8). `None`: nothing was decoded.
pub fn transform(input: &[u8], mode: u8, out: &mut Vec<u8>) -> Option<()> {
    let mut bits = 0u32;
    let mut held = 0u32;
    for (at, &byte) in input.iter().enumerate() {
        let Some(value) = value_of(byte) else {
            match (mode, byte) {
                (2, b'=') | (1, _) => break,
                (2, _) => continue,
                _ => {
                    let padding = input.get(at..).unwrap_or(&[]);
                    if padding.iter().all(|byte| *byte == b'=') && input.len().is_multiple_of(4) {
                        break;
                    }
                    return None;
                }
            }
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    (!out.is_empty()).then_some(())
}

fn value_of(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_section_10() {
        let mut out = [0; DECODED_MAX];
        for (text, plain) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9v\r\nYmFy", "foobar"),
            ("Zm9v!YmFy", "foo"),
        ] {
            let n = decode(text.as_bytes(), &mut out);
            assert_eq!(&out[..n], plain.as_bytes(), "{text}");
        }
    }
}
