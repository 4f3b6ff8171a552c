//! Transforms: what happens to a buffer before its tests (the language's `dotprefix`, `to_md5`, ...).
//! A transformed buffer is another buffer; results live in two strings that the worker reuses.

use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use flate2::{Decompress, FlushDecompress};

use super::base64;
use super::pcre::{Asked, Pattern, Patterns};
use super::regex::RegexCache;
use crate::rules::signature::Transform;

/// Bytes of a transformed buffer at most; longer inputs are cut there.
pub const TRANSFORMED_MAX: usize = 256 << 10;

/// Bytes of gzip's fixed header, and of its trailer (RFC 1952 section 2.3).
const GZIP_HEADER: usize = 10;

/// A transform, compiled.
#[derive(Clone, Debug)]
pub enum Compiled {
    /// As the rule has it.
    Plain(Transform),
    /// `pcrexform`.
    Pcre(Pattern),
}

/// Compiles the transforms of a buffer.
///
/// # Errors
/// A pattern that the regex engine refuses, in words.
pub fn compile(
    transforms: &[Transform],
    patterns: &mut Patterns<'_>,
) -> Result<Box<[Compiled]>, String> {
    transforms
        .iter()
        .map(|transform| match transform {
            Transform::Pcre { pattern } => Ok(Compiled::Pcre(patterns.compile(
                pattern,
                "",
                Asked::Groups,
            )?)),
            other => Ok(Compiled::Plain(other.clone())),
        })
        .collect()
}

/// The worker's room for transformed buffers.
pub struct Room {
    now: Vec<u8>,
    next: Vec<u8>,
    inflate: Decompress,
}

impl Room {
    /// Room for the longest buffer.
    pub fn new() -> Room {
        Room {
            now: Vec::with_capacity(TRANSFORMED_MAX),
            next: Vec::with_capacity(TRANSFORMED_MAX),
            inflate: Decompress::new(true),
        }
    }

    /// Applies the transforms in order; the result stands until the next call. As in Suricata what
    /// is no base64 and what an expression does not match stays as it is, what cannot be
    /// decompressed or has no domain is empty, and of nothing comes nothing. `None`: the buffer has
    /// no room for the key that it should hold, and does not exist.
    pub fn apply(
        &mut self,
        transforms: &[Compiled],
        cache: &mut RegexCache,
        data: &[u8],
    ) -> Option<&[u8]> {
        self.now.clear();
        self.now
            .extend_from_slice(data.get(..TRANSFORMED_MAX - 1).unwrap_or(data));
        for transform in transforms {
            self.next.clear();
            match transform {
                Compiled::Pcre(pattern) => {
                    let group = pattern.first_group(cache, &self.now);
                    let whole = (0, self.now.len());
                    let (from, end) = group.unwrap_or(whole);
                    self.next.extend_from_slice(self.now.get(from..end)?);
                }
                Compiled::Plain(_) if self.now.is_empty() => {}
                Compiled::Plain(Transform::Inflate { gzip, max_size }) => {
                    let size = (*max_size as usize).min(TRANSFORMED_MAX);
                    inflate(&mut self.inflate, &self.now, *gzip, size, &mut self.next);
                }
                Compiled::Plain(transform) => one(transform, &self.now, &mut self.next)?,
            }
            std::mem::swap(&mut self.now, &mut self.next);
        }
        Some(&self.now)
    }
}

impl Default for Room {
    fn default() -> Self {
        Room::new()
    }
}

fn one(transform: &Transform, data: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match transform {
        Transform::DotPrefix => {
            out.push(b'.');
            out.extend_from_slice(data.get(..TRANSFORMED_MAX - 1).unwrap_or(data));
        }
        Transform::ToLowercase => out.extend(data.iter().map(u8::to_ascii_lowercase)),
        Transform::ToUppercase => out.extend(data.iter().map(u8::to_ascii_uppercase)),
        Transform::StripWhitespace => out.extend(data.iter().filter(|byte| !is_space(**byte))),
        Transform::CompressWhitespace => {
            let mut before = false;
            for byte in data {
                let space = is_space(*byte);
                if !(space && before) {
                    out.push(*byte);
                }
                before = space;
            }
        }
        Transform::UrlDecode => url_decode(data, out),
        Transform::ToMd5 => out.extend_from_slice(&Md5::digest(data)),
        Transform::ToSha1 => out.extend_from_slice(&Sha1::digest(data)),
        Transform::ToSha256 => out.extend_from_slice(&Sha256::digest(data)),
        Transform::Xor(key) => xor(data, key, out),
        Transform::XorExtracted {
            skip,
            key_length,
            key_offset,
        } => {
            let at = usize::from(*key_offset);
            let key = data.get(at..at + usize::from(*key_length))?;
            let skip = (*skip as usize).min(data.len());
            let (plain, hidden) = data.split_at(skip);
            out.extend_from_slice(plain);
            xor(hidden, key, out);
        }
        Transform::HeaderLowercase => header_lowercase(data, out),
        Transform::StripPseudoHeaders => strip_pseudo_headers(data, out),
        Transform::Domain { tld } => out.extend_from_slice(domain(data, *tld).unwrap_or(&[])),
        // These two have state of the worker's: see `apply`.
        Transform::Pcre { .. } | Transform::Inflate { .. } => return None,
        Transform::FromBase64 {
            mode,
            offset,
            bytes,
        } => {
            let length = out.len();
            let decoded = from_base64(data, *mode, *offset as usize, *bytes as usize, out);
            if decoded.is_none() {
                out.truncate(length);
                out.extend_from_slice(data);
            }
        }
        Transform::Subslice {
            offset,
            count,
            truncate,
        } => out.extend_from_slice(subslice(data, *offset, *count, *truncate)),
    }
    Some(())
}

/// `count` bytes from `offset` on, negative ones counted from the end. What lies outside is left
/// out if `truncate`, and otherwise nothing is left, not even of what lies inside.
fn subslice(data: &[u8], offset: i32, count: Option<i32>, truncate: bool) -> &[u8] {
    let length = data.len() as i64;
    let inside = |at: i64| (truncate || (0..=length).contains(&at)).then(|| at.clamp(0, length));
    let from_end = |at: i32| i64::from(at) + if at < 0 { length } else { 0 };
    let found = inside(from_end(offset)).and_then(|start| {
        let end = match count {
            None => length,
            Some(count @ ..0) => from_end(count),
            Some(count) => start + i64::from(count),
        };
        Some((start, inside(end)?))
    });
    let Some((start, end)) = found else {
        return &[];
    };
    data.get(start.min(end) as usize..start.max(end) as usize)
        .unwrap_or(&[])
}

/// Decompresses up to `size` bytes; what came out before an error counts.
fn inflate(state: &mut Decompress, data: &[u8], gzip: bool, size: usize, out: &mut Vec<u8>) {
    let body = if gzip { gzip_body(data) } else { Some(data) };
    let Some(data) = body else {
        return;
    };
    state.reset(!gzip);
    out.resize(size, 0);
    // One call with all input and all room: it ends for want of either, or in an error.
    let _ = state.decompress(data, out, FlushDecompress::Finish);
    out.truncate((state.total_out() as usize).min(size));
}

/// What follows a gzip header with its optional parts.
fn gzip_body(data: &[u8]) -> Option<&[u8]> {
    if data.get(..3)? != b"\x1f\x8b\x08" {
        return None;
    }
    let flags = *data.get(3)?;
    let mut at = GZIP_HEADER;
    if flags & 4 != 0 {
        let length = data.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes(length.try_into().ok()?));
    }
    for bit in [8, 16] {
        if flags & bit != 0 {
            at += memchr::memchr(0, data.get(at..)?)? + 1;
        }
    }
    data.get(at + if flags & 2 != 0 { 2 } else { 0 }..)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// `%41` and `+`; what is no escape stays, with the bytes that showed it.
fn url_decode(data: &[u8], out: &mut Vec<u8>) {
    let hex = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let mut rest = data;
    while let Some((byte, behind)) = rest.split_first() {
        let used = match (*byte, behind) {
            (b'%', [high, low, ..]) if hex(*high).is_some() => match hex(*high).zip(hex(*low)) {
                Some((high, low)) => {
                    out.push(high << 4 | low);
                    rest = behind.get(2..).unwrap_or(&[]);
                    continue;
                }
                None => 3,
            },
            (b'%', [_, ..]) => 2,
            (b'+', _) => {
                out.push(b' ');
                rest = behind;
                continue;
            }
            _ => 1,
        };
        let (plain, behind) = rest.split_at(used);
        out.extend_from_slice(plain);
        rest = behind;
    }
}

fn xor(data: &[u8], key: &[u8], out: &mut Vec<u8>) {
    if key.is_empty() {
        return out.extend_from_slice(data);
    }
    out.extend(data.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b));
}

/// Names of headers (each up to its colon) in lower case.
fn header_lowercase(data: &[u8], out: &mut Vec<u8>) {
    let mut in_name = true;
    for byte in data {
        if in_name && *byte == b':' {
            in_name = false;
        } else if *byte == b'\n' {
            in_name = true;
        }
        out.push(if in_name {
            byte.to_ascii_lowercase()
        } else {
            *byte
        });
    }
}

/// Lines that begin with a colon (HTTP/2's `:path`) are left out.
fn strip_pseudo_headers(data: &[u8], out: &mut Vec<u8>) {
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        if line.first() != Some(&b':') {
            out.extend_from_slice(line);
        }
    }
}

/// The registrable part of a host name, or its public suffix (`tld`): the last label, or the last
/// two where the second last is a short one of a country's registry (`co.uk`).
fn domain(data: &[u8], tld: bool) -> Option<&[u8]> {
    let dots: [Option<usize>; 3] = {
        let mut from_end = data
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'.')
            .map(|(at, _)| at);
        [from_end.next(), from_end.next(), from_end.next()]
    };
    let last = dots[0]?;
    let second = data.get(dots[1].map_or(0, |at| at + 1)..last)?;
    let country = data.len() - last - 1 == 2;
    let registry = country && SECOND_LEVEL.contains(&second) && dots[1].is_some();
    let (suffix, owner) = if registry {
        (dots[1], dots[2])
    } else {
        (dots[0], dots[1])
    };
    if tld {
        data.get(suffix? + 1..)
    } else {
        data.get(owner.map_or(0, |at| at + 1)..)
    }
}

/// Second-level labels under which countries' registries sell names.
const SECOND_LEVEL: &[&[u8]] = &[
    b"co", b"com", b"net", b"org", b"ac", b"gov", b"edu", b"ne", b"or", b"go", b"gob", b"mil",
];

fn from_base64(
    data: &[u8],
    mode: u8,
    offset: usize,
    bytes: usize,
    out: &mut Vec<u8>,
) -> Option<()> {
    let data = data.get(offset..)?;
    let data = match bytes {
        0 => data,
        // As many bytes as there are, or more, are not decoded: Suricata wants one behind them.
        count => data.get(..count).filter(|_| count < data.len())?,
    };
    base64::transform(data, mode, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(transform: Transform, data: &[u8]) -> Option<Vec<u8>> {
        let mut patterns = Patterns::default();
        let compiled = compile(&[transform], &mut patterns).unwrap();
        let mut cache = RegexCache::default();
        for pattern in &*patterns.into_all() {
            pattern.reserve(&mut cache);
        }
        Room::new()
            .apply(&compiled, &mut cache, data)
            .map(<[u8]>::to_vec)
    }

    #[test]
    fn each_does_what_its_name_says() {
        let is = |transform, data: &[u8], expected: &[u8]| {
            assert_eq!(applied(transform, data).as_deref(), Some(expected));
        };
        is(Transform::DotPrefix, b"a.org", b".a.org");
        is(Transform::StripWhitespace, b" a\tb \r\n", b"ab");
        is(Transform::CompressWhitespace, b"a  \tb ", b"a b ");
        is(Transform::UrlDecode, b"a%41+%zz%4", b"aA %zz%4");
        is(
            Transform::Xor(Box::new([1, 2])),
            b"\x01\x02\x03",
            b"\0\0\x02",
        );
        is(
            Transform::HeaderLowercase,
            b"AB: CD\nEf: Gh",
            b"ab: CD\nef: Gh",
        );
        is(Transform::StripPseudoHeaders, b":m: x\na: b\n", b"a: b\n");
        is(Transform::Domain { tld: false }, b"x.y.co.uk", b"y.co.uk");
        is(Transform::Domain { tld: true }, b"x.y.co.uk", b"co.uk");
        is(
            Transform::Domain { tld: false },
            b"www.suricata.io",
            b"suricata.io",
        );
        let pattern = b"a(b+)c"[..].into();
        is(Transform::Pcre { pattern }, b"xxabbc", b"bb");
        let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x4c\x4a\x06\0\xc2\x41\x24\x35\x03\0\0\0";
        let inflate = |max_size| Transform::Inflate {
            gzip: true,
            max_size,
        };
        is(inflate(100), gzip, b"abc");
        is(inflate(2), gzip, b"ab");
        let slice = |offset, count, truncate| Transform::Subslice {
            offset,
            count,
            truncate,
        };
        is(slice(1, Some(3), false), b"abcdef", b"bcd");
        is(slice(-2, None, false), b"abcdef", b"ef");
        is(slice(1, Some(-2), false), b"abcdef", b"bcd");
        is(slice(5, Some(-3), false), b"abcdef", b"de");
        is(slice(4, Some(3), false), b"abcdef", b"");
        is(slice(4, Some(3), true), b"abcdef", b"ef");
        is(slice(-9, None, false), b"abcdef", b"");
        is(slice(-9, Some(2), true), b"abcdef", b"ab");
        is(slice(9, None, true), b"abcdef", b"");
        is(Transform::UrlDecode, b"%%41%+%4%41", b"%%41%+%4%41");
        is(Transform::UrlDecode, b"%+41%4g%", b"%+41%4g%");
    }

    #[test]
    fn what_cannot_be_applied_leaves_the_bytes_or_nothing() {
        let is = |transform, data: &[u8], expected: &[u8]| {
            assert_eq!(applied(transform, data).as_deref(), Some(expected));
        };
        let base64 = |offset, bytes| Transform::FromBase64 {
            mode: 1,
            offset,
            bytes,
        };
        is(base64(0, 0), b"Zm9v", b"foo");
        is(base64(1, 4), b"-Zm9vYmFy", b"foo");
        is(base64(0, 0), b"!!", b"!!");
        is(base64(9, 0), b"Zm9v", b"Zm9v");
        is(base64(0, 4), b"Zm9v", b"Zm9v");
        let pattern = b"a(b+)c"[..].into();
        is(Transform::Pcre { pattern }, b"xyz", b"xyz");
        let inflate = Transform::Inflate {
            gzip: true,
            max_size: 9,
        };
        is(inflate, b"no gzip", b"");
        for tld in [false, true] {
            is(Transform::Domain { tld }, b"localhost", b"");
        }
        is(Transform::ToMd5, b"", b"");
        is(Transform::DotPrefix, b"", b"");
    }
}
