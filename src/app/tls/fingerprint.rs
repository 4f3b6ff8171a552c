//! Fingerprints of hellos: JA3 and JA3S (the salesforce write-up of 2017) and JA4 (FoxIO, client
//! fingerprint). Written into buffers that the caller has room in; nothing allocates.

use super::super::output::SCRATCH_SIZE;
use super::super::reader::{HEX, hex, push, push_decimal, words};
use super::hello::{Hello, Speaker, is_grease};
use md5::{Digest, Md5};
use sha2::Sha256;

/// Digits of a JA3 hash.
pub const JA3_HASH: usize = 32;
/// Characters of a JA4.
pub const JA4: usize = 36;
/// Cipher suites, and extensions, that a JA4 looks at; real hellos have a tenth of it.
const LIST_MAX: usize = 512;
/// Digits of a SHA-256 that a JA4 shows.
const PART: usize = 12;

/// Writes the JA3 (client) or JA3S (server) text of a hello. Beyond the room of a scratch buffer
/// it is cut off. That of QUIC keeps made-up values, as Suricata has it.
pub fn ja3_text(hello: &Hello<'_>, speaker: Speaker, quic: bool, out: &mut Vec<u8>) {
    out.clear();
    let limit = SCRATCH_SIZE;
    push_decimal(out, u64::from(hello.version), limit);
    list(out, quic, words(hello.ciphers));
    list(out, quic, hello.extension_numbers());
    if speaker == Speaker::Client {
        list(out, quic, words(hello.groups));
        let formats = hello.formats.iter().map(|format| u16::from(*format));
        list(out, quic, formats);
    }
}

fn list(out: &mut Vec<u8>, all: bool, values: impl Iterator<Item = u16>) {
    push(out, b",", SCRATCH_SIZE);
    let mut first = true;
    for value in values.filter(|value| all || !is_grease(*value)) {
        // Six bytes hold the dash and any number of two bytes.
        if out.len() + 6 > SCRATCH_SIZE {
            return;
        }
        if !std::mem::take(&mut first) {
            push(out, b"-", SCRATCH_SIZE);
        }
        push_decimal(out, u64::from(value), SCRATCH_SIZE);
    }
}

/// The hash of a JA3 text, as hexadecimal digits.
pub fn ja3_hash(text: &[u8]) -> [u8; JA3_HASH] {
    let sum = Md5::digest(text);
    let mut out = [0; JA3_HASH];
    for (place, byte) in out.chunks_exact_mut(2).zip(sum.iter()) {
        place.copy_from_slice(&hex(*byte, HEX));
    }
    out
}

/// A list of numbers with a bound.
struct Numbers {
    values: [u16; LIST_MAX],
    count: usize,
    /// All that were offered.
    seen: usize,
}

impl Numbers {
    fn of(values: impl Iterator<Item = u16>) -> Numbers {
        let mut numbers = Numbers {
            values: [0; LIST_MAX],
            count: 0,
            seen: 0,
        };
        for value in values {
            numbers.seen += 1;
            if let Some(place) = numbers.values.get_mut(numbers.count) {
                *place = value;
                numbers.count += 1;
            }
        }
        numbers
    }

    fn sorted(&mut self) -> &[u16] {
        let values = self.values.get_mut(..self.count).unwrap_or(&mut []);
        values.sort_unstable();
        values
    }
}

/// The JA4 of a client's hello; `quic` says what carries it.
pub fn ja4(hello: &Hello<'_>, quic: bool) -> [u8; JA4] {
    let plain = |value: &u16| !is_grease(*value);
    let mut ciphers = Numbers::of(words(hello.ciphers).filter(plain));
    let extensions = hello.extension_numbers().filter(plain);
    // The server name and the protocols count, but do not go into the hash.
    let mut hashed = Numbers::of(extensions.clone().filter(|kind| !matches!(kind, 0 | 16)));
    let two = |count: usize| {
        let count = count.min(99) as u8;
        [b'0' + count / 10, b'0' + count % 10]
    };
    let mut out = [b'_'; JA4];
    let mut place = out.iter_mut();
    let mut put = |bytes: &[u8]| {
        for (to, from) in place.by_ref().zip(bytes) {
            *to = *from;
        }
    };
    put(if quic { b"q" } else { b"t" });
    put(version(hello.version.max(hello.supported.unwrap_or(0))));
    let named = extensions.clone().any(|kind| kind == 0);
    put(if named { b"d" } else { b"i" });
    put(&two(ciphers.seen));
    put(&two(extensions.count()));
    put(&ends(hello.protocols().next()));
    let mut sum = Sha256::new();
    hash_list(&mut sum, ciphers.sorted().iter().copied());
    let part = out.get_mut(11..11 + PART).unwrap_or(&mut []);
    fill(part, &sum.finalize());
    let mut sum = Sha256::new();
    hash_list(&mut sum, hashed.sorted().iter().copied());
    sum.update(b"_");
    hash_list(&mut sum, words(hello.signatures).filter(plain));
    let part = out.get_mut(24..24 + PART).unwrap_or(&mut []);
    fill(part, &sum.finalize());
    out
}

fn version(version: u16) -> &'static [u8] {
    match version {
        0x0304 => b"13",
        0x0303 => b"12",
        0x0302 => b"11",
        0x0301 => b"10",
        0x0300 => b"s3",
        _ => b"00",
    }
}

/// First and last character of the first protocol that the client offers.
fn ends(protocol: Option<&[u8]>) -> [u8; 2] {
    let Some(protocol) = protocol else {
        return *b"00";
    };
    let (Some(first), Some(last)) = (protocol.first(), protocol.last()) else {
        return *b"00";
    };
    if protocol.len() == 2 && is_grease(u16::from(*first) << 8 | u16::from(*last)) {
        return *b"00";
    }
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [*first, *last];
    }
    [hex(*first, HEX)[0], hex(*last, HEX)[1]]
}

fn hash_list(sum: &mut Sha256, values: impl Iterator<Item = u16>) {
    let mut first = true;
    for value in values {
        if !std::mem::take(&mut first) {
            sum.update(b",");
        }
        let [high, low] = value.to_be_bytes();
        sum.update(hex(high, HEX));
        sum.update(hex(low, HEX));
    }
}

fn fill(part: &mut [u8], sum: &[u8]) {
    for (place, byte) in part.chunks_exact_mut(2).zip(sum) {
        place.copy_from_slice(&hex(*byte, HEX));
    }
}

#[cfg(test)]
mod tests {
    use super::super::hello::tests::client_hello;
    use super::*;

    #[test]
    fn the_fingerprints_of_a_hello() {
        let body = client_hello();
        let hello = Hello::read(&body, Speaker::Client);
        let mut text = Vec::new();
        ja3_text(&hello, Speaker::Client, false, &mut text);
        assert_eq!(text, b"771,4866-4865,0-16-10-11-13-43,29-23,0");
        let ja4 = ja4(&hello, false);
        assert_eq!(&ja4[..11], b"t13d0206h2_");
    }

    #[test]
    fn an_empty_hello_has_the_fingerprint_that_foxio_gives() {
        assert_eq!(
            &ja4(&Hello::default(), false),
            b"t00i000000_e3b0c44298fc_d2e2adf7177b"
        );
    }

    #[test]
    fn ends_of_protocols() {
        assert_eq!(&ends(Some(b"http/1.1")), b"h1");
        assert_eq!(&ends(Some(&[0x30, 0x31, 0xab, 0xcd])), b"3d");
        assert_eq!(&ends(Some(&[0xab])), b"ab");
        assert_eq!(&ends(Some(&[0x2a, 0x2a])), b"00");
        assert_eq!(&ends(None), b"00");
    }

    #[test]
    fn a_hash_is_md5() {
        assert_eq!(&ja3_hash(b""), b"d41d8cd98f00b204e9800998ecf8427e");
    }
}
