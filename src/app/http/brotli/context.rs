//! Contexts of Brotli's literals, by the two bytes before them (RFC 7932 section 7.1).

/// The context of a literal by the two bytes before it (RFC 7932 section 7.1).
pub(super) fn context(mode: u8, last: u8, before: u8) -> u8 {
    match mode {
        0 => last & 63,
        1 => last >> 2,
        2 => utf8_last(last) | utf8_before(before),
        _ => signed(last) << 3 | signed(before),
    }
}

fn utf8_last(byte: u8) -> u8 {
    match byte {
        b'\t' | b'\n' | b'\r' => 4,
        0..=31 | 127 => 0,
        b' ' => 8,
        b'"' | b'\'' => 16,
        b'%' => 20,
        b'(' | b'<' | b'[' | b'{' => 24,
        b')' | b'>' | b']' | b'}' => 28,
        b',' | b':' | b';' => 32,
        b'.' => 36,
        b'=' => 40,
        b'0'..=b'9' => 44,
        b'A' | b'E' | b'I' | b'O' | b'U' => 48,
        b'A'..=b'Z' => 52,
        b'a' | b'e' | b'i' | b'o' | b'u' => 56,
        b'a'..=b'z' => 60,
        33..=126 => 12,
        128..=191 => byte & 1,
        192.. => 2 | byte & 1,
    }
}

fn utf8_before(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => 3,
        b'0'..=b'9' | b'A'..=b'Z' | 224.. => 2,
        33..=126 => 1,
        _ => 0,
    }
}

fn signed(byte: u8) -> u8 {
    match byte {
        0 => 0,
        1..=15 => 1,
        16..=63 => 2,
        64..=127 => 3,
        128..=191 => 4,
        192..=239 => 5,
        240..=254 => 6,
        255 => 7,
    }
}
