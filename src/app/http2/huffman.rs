//! The Huffman code of HPACK (RFC 7541 appendix B). It is canonical: the lengths of the codes are
//! enough to know them.

use super::super::reader::push;

/// Symbols: all bytes, and the end.
const SYMBOLS: usize = 257;
/// Shortest and longest code.
const SHORTEST: usize = 5;
const LONGEST: usize = 30;

/// Length of the code of each symbol.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11,
    10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8,
    15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5,
    6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23,
    23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21,
    23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25,
    26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26,
    28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// Codes of one length: the first code, how many there are, and where their symbols begin.
#[derive(Clone, Copy)]
struct Row {
    first: u32,
    count: u32,
    place: u32,
}

struct Code {
    rows: [Row; LONGEST + 1],
    /// Symbols in the order of their codes.
    symbols: [u16; SYMBOLS],
}

const CODE: Code = code();

const fn code() -> Code {
    let mut made = Code {
        rows: [Row {
            first: 0,
            count: 0,
            place: 0,
        }; LONGEST + 1],
        symbols: [0; SYMBOLS],
    };
    let (mut length, mut next, mut place) = (1, 0u32, 0);
    while length <= LONGEST {
        next <<= 1;
        made.rows[length] = Row {
            first: next,
            count: 0,
            place: place as u32,
        };
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                made.symbols[place] = symbol as u16;
                made.rows[length].count += 1;
                place += 1;
                next += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    made
}

/// Appends what a string says. False: it is no such string, or `limit` was reached.
pub fn decode(bytes: &[u8], out: &mut Vec<u8>, limit: usize) -> bool {
    static CODE_TABLE: Code = CODE;
    let mut rest = bytes.iter();
    // Bits that wait, the oldest uppermost.
    let (mut bits, mut count) = (0u64, 0usize);
    loop {
        while count <= 56 {
            let Some(byte) = rest.next() else {
                break;
            };
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        let found = (SHORTEST..=LONGEST.min(count)).find_map(|length| {
            let row = CODE_TABLE.rows.get(length)?;
            let code = (bits >> (64 - length)) as u32;
            let place = code.wrapping_sub(row.first);
            (place < row.count).then_some((length, row.place + place))
        });
        let Some((length, place)) = found else {
            // What is left must be fewer than eight bits of the end's code, all ones.
            return count < 8 && (count == 0 || bits >> (64 - count) == (1 << count) - 1);
        };
        let symbol = CODE_TABLE.symbols.get(place as usize).copied();
        let Some(byte) = symbol.and_then(|symbol| u8::try_from(symbol).ok()) else {
            return false;
        };
        if !push(out, &[byte], limit) {
            return false;
        }
        bits <<= length;
        count -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541 C.4.1, C.4.3, C.6.1.
    #[test]
    fn strings_of_the_standard() {
        for (bytes, text) in [
            (
                &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..],
                &b"www.example.com"[..],
            ),
            (b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", b"custom-value"),
            (
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
                b"Mon, 21 Oct 2013 20:13:21 GMT",
            ),
        ] {
            let mut out = Vec::new();
            assert!(decode(bytes, &mut out, 100));
            assert_eq!(out, text);
        }
    }

    #[test]
    fn wrong_ends_are_refused() {
        let mut out = Vec::new();
        assert!(
            !decode(b"\xff\xff\xff\xff", &mut out, 100),
            "the end itself"
        );
        assert!(!decode(b"\x00", &mut out, 100), "padding of zeros");
        assert!(!decode(b"\xf1\xe3", &mut out, 1), "no room");
        assert!(decode(b"", &mut out, 100));
    }
}
