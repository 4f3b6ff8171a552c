//! The small parts that HTTP/1 messages are made of: white space, tokens, numbers, request and
//! status lines (RFC 9112 sections 2.2 to 4), host and port. They are read as leniently as the
//! peers of RFC 9112 do it. Bytes in, slices out; nothing is kept.

use super::event::Event;

/// White space as C's `isspace` has it.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c)
}

/// Characters of a token (RFC 2616 section 2.2: printable, and no separator).
pub(super) const fn is_token(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e)
        && !matches!(
            byte,
            b'(' | b')'
                | b'<'
                | b'>'
                | b'@'
                | b','
                | b';'
                | b':'
                | b'\\'
                | b'"'
                | b'/'
                | b'['
                | b']'
                | b'?'
                | b'='
                | b'{'
                | b'}'
        )
}

/// How many bytes from the start satisfy `test`.
pub(super) fn run(bytes: &[u8], test: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| test(**byte)).count()
}

/// Splits after the run of bytes that satisfy `test`.
pub(super) fn take(bytes: &[u8], test: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(run(bytes, test))
}

/// Without line ends at its end.
pub(super) fn chomp(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b'\r' | b'\n'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Without white space at its ends.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

/// Whether `haystack` has `needle` (lower case) in it, letter case and NUL bytes aside.
pub(super) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let first = needle.first().copied().unwrap_or(0);
    (0..haystack.len()).any(|at| {
        let rest = haystack.get(at..).unwrap_or(&[]);
        rest.first()
            .is_some_and(|b| b.to_ascii_lowercase() == first)
            && starts(rest, needle)
    })
}

/// Whether `bytes` starts with `needle` (lower case), letter case and NUL bytes aside.
fn starts(bytes: &[u8], needle: &[u8]) -> bool {
    let mut found = bytes.iter().filter(|byte| **byte != 0);
    needle.iter().all(|byte| {
        found
            .next()
            .is_some_and(|b| b.to_ascii_lowercase() == *byte)
    })
}

/// Whether both are the same, letter case and NUL bytes of the first aside.
pub(super) fn same(bytes: &[u8], name: &[u8]) -> bool {
    if bytes.len() == name.len() {
        return bytes.eq_ignore_ascii_case(name);
    }
    bytes.len() > name.len()
        && memchr::memchr(0, bytes).is_some()
        && bytes.iter().filter(|byte| **byte != 0).count() == name.len()
        && starts(bytes, name)
}

/// A decimal number somewhere in `bytes`: its value, and whether something else stands before or
/// after it. None if there are no digits or too many.
pub(super) fn content_length(bytes: &[u8]) -> Option<(u64, bool, bool)> {
    let (_, rest) = take(bytes, |b| matches!(b, b' ' | b'\t'));
    let (junk, rest) = take(rest, |b| !b.is_ascii_digit());
    let (digits, rest) = take(rest, |b| b.is_ascii_digit());
    let (_, rest) = take(rest, |b| matches!(b, b' ' | b'\t'));
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, !junk.is_empty(), !rest.is_empty()))
}

/// Bytes that may stand before a chunk's length.
pub(super) const fn is_chunk_space(byte: u8) -> bool {
    is_space(byte)
}

/// What a line that should give a chunk's length says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ChunkLine {
    /// Nothing: white space alone, or a number beyond what is believed.
    Nothing,
    /// Bytes, and whether an extension follows.
    Length(u64, bool),
    /// It is none.
    Invalid,
}

/// Largest chunk that is believed.
const CHUNK_MAX: u64 = i32::MAX as u64;

/// Reads the line of a chunk's length.
pub(super) fn chunk_length(line: &[u8]) -> ChunkLine {
    let (_, rest) = take(line, is_chunk_space);
    let (digits, rest) = take(rest, |b| b.is_ascii_hexdigit());
    let (_, rest) = take(rest, |b| matches!(b, b' ' | b'\t'));
    if digits.is_empty() && rest.is_empty() {
        return ChunkLine::Nothing;
    }
    let text = std::str::from_utf8(digits).unwrap_or("");
    match u64::from_str_radix(text, 16) {
        Ok(length) if length > CHUNK_MAX => ChunkLine::Nothing,
        Ok(length) => ChunkLine::Length(length, rest.contains(&b';')),
        Err(_) => ChunkLine::Invalid,
    }
}

/// What is at hand of the `left` bytes to come; `None` if nothing is.
pub(super) fn at_hand(left: u64, rest: &[u8]) -> Option<&[u8]> {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
    rest.get(..count).filter(|taken| !taken.is_empty())
}

/// Whether what has come of a line can still become a chunk's length.
pub(super) fn may_be_chunk_length(bytes: &[u8]) -> bool {
    let (_, rest) = take(bytes, is_chunk_space);
    rest.first().is_none_or(|b| b.is_ascii_hexdigit())
}

/// Methods that a request is known by.
pub(super) const METHODS: &[&[u8]] = &[
    b"GET",
    b"PUT",
    b"POST",
    b"HEAD",
    b"TRACE",
    b"OPTIONS",
    b"CONNECT",
    b"DELETE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"CHECKOUT",
    b"UNCHECKOUT",
    b"CHECKIN",
    b"UPDATE",
    b"LABEL",
    b"REPORT",
    b"MKWORKSPACE",
    b"MKACTIVITY",
    b"MERGE",
    b"INVALID",
    b"VERSION-CONTROL",
    b"BASELINE-CONTROL",
];

/// Version of a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) enum Version {
    /// None of those below.
    #[default]
    Invalid,
    /// HTTP/0.9.
    V09,
    /// HTTP/1.0.
    V10,
    /// HTTP/1.1.
    V11,
}

/// The version, and whether more stands there than should.
pub(super) fn version(text: &[u8]) -> (Version, bool) {
    let ascii = |b: u8| b.is_ascii_whitespace();
    let (_, rest) = take(text, ascii);
    let Some((name, rest)) = rest.split_at_checked(4) else {
        return (Version::Invalid, false);
    };
    let (before, rest) = take(rest, ascii);
    let (true, Some((b'/', rest))) = (name.eq_ignore_ascii_case(b"http"), rest.split_first())
    else {
        return (Version::Invalid, false);
    };
    let (zeros, rest) = take(rest, |b| ascii(b) || b == b'0');
    let (number, rest) =
        rest.split_at(
            rest.len()
                .min(if rest.first() == Some(&b'.') { 2 } else { 3 }),
        );
    let extra = !before.is_empty() || !zeros.is_empty();
    let version = match number {
        b".9" => Version::V09,
        b"1.0" => Version::V10,
        b"1.1" => Version::V11,
        _ => Version::Invalid,
    };
    if take(rest, ascii).1.is_empty() {
        (version, extra && version != Version::Invalid)
    } else {
        (Version::Invalid, false)
    }
}

/// A request line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestLine<'a> {
    /// All of it, without its end.
    pub line: &'a [u8],
    /// First word.
    pub method: &'a [u8],
    /// What stands between; None if nothing does.
    pub uri: Option<&'a [u8]>,
    /// Last word; None if there is none (HTTP/0.9, as far as the line goes).
    pub protocol: Option<&'a [u8]>,
    /// Of `protocol`.
    pub version: Version,
}

impl RequestLine<'_> {
    /// Whether the method is one that is known.
    pub(super) fn knows_method(&self) -> bool {
        METHODS.contains(&self.method)
    }
}

/// Reads a request line, which may contain spaces in its URI.
pub(super) fn request_line<'a>(line: &'a [u8], mut note: impl FnMut(Event)) -> RequestLine<'a> {
    let line = chomp(line);
    let (before, rest) = take(line, is_space);
    let (method, rest) = take(rest, |b| !is_space(b));
    let (gap, rest) = take(rest, is_space);
    let mut out = RequestLine {
        line,
        method,
        ..RequestLine::default()
    };
    if !before.is_empty() {
        note(Event::RequestLineLeadingWhitespace);
    }
    if gap.iter().any(|b| *b != b' ') {
        note(Event::MethodDelimNonCompliant);
    }
    if rest.is_empty() {
        out.version = Version::V09;
        if !out.knows_method() {
            note(Event::RequestLineUnknownMethod);
        }
        return out;
    }
    let rest = trim(rest);
    let (mut uri, mut protocol) = split_last(rest, |b| b == b' ');
    if uri.iter().any(|b| is_space(*b) && *b != b' ') {
        note(Event::UriDelimNonCompliant);
        if uri.len() == rest.len() {
            (uri, protocol) = split_last(rest, is_space);
        }
    }
    out.uri = Some(uri);
    if protocol.is_empty() {
        out.version = Version::V09;
        if !out.knows_method() {
            note(Event::RequestLineUnknownMethodNoProtocol);
        }
        return out;
    }
    out.protocol = Some(protocol);
    let (version, extra) = version(protocol);
    out.version = version;
    if extra {
        note(Event::ProtocolContainsExtraData);
    }
    if version == Version::Invalid && !out.knows_method() {
        note(Event::RequestLineUnknownMethodInvalidProtocol);
    }
    out
}

/// Splits at the last byte that satisfies `test`, and trims both.
fn split_last(bytes: &[u8], test: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    match bytes.iter().rposition(|b| test(*b)) {
        Some(at) => (
            trim(bytes.get(..at).unwrap_or(&[])),
            trim(bytes.get(at + 1..).unwrap_or(&[])),
        ),
        None => (trim(bytes), &[]),
    }
}

/// A status line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StatusLine<'a> {
    /// All of it, without its end.
    pub line: &'a [u8],
    /// First word.
    pub protocol: Option<&'a [u8]>,
    /// Of `protocol`.
    pub version: Version,
    /// Second word.
    pub status: Option<&'a [u8]>,
    /// Its number, or 0.
    pub code: u16,
    /// The rest.
    pub message: Option<&'a [u8]>,
}

/// Whether a line begins as a status line does; what does not is taken for a body.
pub(super) fn is_status_line(line: &[u8]) -> bool {
    let (_, rest) = take(line, |b| is_space(b) || b == 0);
    rest.get(..4)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"http"))
}

/// Reads a status line.
pub(super) fn status_line<'a>(line: &'a [u8], mut note: impl FnMut(Event)) -> StatusLine<'a> {
    let (_, rest) = take(line, |b| is_space(b) || b == 0);
    let (protocol, rest) = take(rest, |b| !is_space(b));
    let (gap, rest) = take(rest, is_space);
    let (status, rest) = take(rest, |b| !is_space(b));
    let (gap2, message) = take(rest, |b| b.is_ascii_whitespace());
    let mut out = StatusLine {
        line: chomp(line),
        ..StatusLine::default()
    };
    if !protocol.is_empty() {
        let (version, extra) = version(protocol);
        out.protocol = Some(protocol);
        out.version = version;
        if extra {
            note(Event::ProtocolContainsExtraData);
        }
        if !gap.is_empty() && !status.is_empty() {
            out.status = Some(status);
            let code = content_length(status).filter(|(_, before, after)| !before && !after);
            out.code = code
                .and_then(|(n, ..)| u16::try_from(n).ok())
                .filter(|n| (100..=999).contains(n))
                .unwrap_or(0);
            if !gap2.is_empty() {
                out.message = Some(chomp(message));
            }
        }
    }
    if out.version == Version::Invalid {
        note(Event::ResponseLineInvalidProtocol);
    }
    if out.code == 0 {
        note(Event::ResponseLineInvalidResponseStatus);
    }
    out
}

/// A host and perhaps a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostPort<'a> {
    /// The host, with its brackets if it is an IPv6 address.
    pub host: &'a [u8],
    /// The port as it stands.
    pub port: Option<&'a [u8]>,
    /// Number of the port, if it is one.
    pub number: Option<u16>,
    /// Whether host and port are proper.
    pub valid: bool,
}

/// Reads a host name from the start; the rest follows it.
pub(super) fn hostname(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(b"//").unwrap_or(bytes);
    if rest.first() == Some(&b'/') {
        return None;
    }
    let (_, rest) = take(rest, |b| b == b' ');
    let mut length = run(rest, |b| !matches!(b, b'/' | b'?' | b'#' | b':'));
    if rest.first() == Some(&b'[') {
        let inner = run(rest, |b| !matches!(b, b'/' | b'?' | b'#' | b']'));
        if inner > 1 {
            length = inner + usize::from(rest.get(inner) == Some(&b']'));
        }
    }
    let (mut host, rest) = rest.split_at(length);
    while let [shorter @ .., b' '] = host {
        host = shorter;
    }
    (length > 0).then_some((host, rest))
}

/// Reads `:PORT` from the start; the rest follows it.
pub(super) fn port(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, rest) = take(bytes.strip_prefix(b":")?, |b| b == b' ');
    let (port, rest) = take(rest, |b| !matches!(b, b'/' | b'?' | b'#'));
    let (port, _) = take(port, |b| b != b' ');
    (!port.is_empty()).then_some((port, rest))
}

/// The number of a port, which is not 0.
pub(super) fn port_number(port: &[u8]) -> Option<u16> {
    let number = std::str::from_utf8(port).ok()?.parse().ok()?;
    (number != 0).then_some(number)
}

/// Reads `HOST` or `HOST:PORT`.
pub(super) fn host_port(bytes: &[u8]) -> Option<HostPort<'_>> {
    let (host, rest) = hostname(bytes)?;
    let mut out = HostPort {
        host,
        port: None,
        number: None,
        valid: is_hostname(host),
    };
    if let Some((port, _)) = port(rest) {
        out.port = Some(port);
        out.number = port_number(port);
        out.valid &= out.number.is_some();
    } else if !rest.is_empty() {
        out.valid = false;
    }
    Some(out)
}

/// Whether it could be the name of a host, or its address.
pub(super) fn is_hostname(host: &[u8]) -> bool {
    if host.is_empty() || host.len() > 255 {
        return false;
    }
    if let [b'[', inner @ .., b']'] = host {
        let address = std::str::from_utf8(inner).ok();
        return address.is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let dotted = host.first() == Some(&b'.') || host.windows(2).any(|pair| pair == b"..");
    !dotted
        && host.split(|b| *b == b'.').all(|label| {
            label.len() <= 63
                && label
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | 0xc0..))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &[u8]) -> (String, Option<String>, Option<String>, Version) {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let line = request_line(line, |_| {});
        (
            text(line.method),
            line.uri.map(text),
            line.protocol.map(text),
            line.version,
        )
    }

    #[test]
    fn request_lines() {
        let of = |m: &str, u: Option<&str>, p: Option<&str>, v| {
            (m.to_owned(), u.map(str::to_owned), p.map(str::to_owned), v)
        };
        assert_eq!(
            parts(b"GET / HTTP/1.1\r\n"),
            of("GET", Some("/"), Some("HTTP/1.1"), Version::V11)
        );
        assert_eq!(
            parts(b"GET /a b HTTP/1.0\n"),
            of("GET", Some("/a b"), Some("HTTP/1.0"), Version::V10)
        );
        assert_eq!(
            parts(b"GET /\r\n"),
            of("GET", Some("/"), None, Version::V09)
        );
        assert_eq!(parts(b"GET\r\n"), of("GET", None, None, Version::V09));
        assert_eq!(
            parts(b" GET\t/\tHTTP/1.1\r\n"),
            of("GET", Some("/"), Some("HTTP/1.1"), Version::V11)
        );
        assert_eq!(
            parts(b"x / HTTP/ 01.1"),
            of("x", Some("/ HTTP/"), Some("01.1"), Version::Invalid)
        );
    }

    #[test]
    fn status_lines() {
        let line = status_line(b"HTTP/1.1 200 OK fine\r\n", |_| {});
        assert_eq!((line.code, line.version), (200, Version::V11));
        assert_eq!(line.message, Some(&b"OK fine"[..]));
        assert_eq!(line.line, b"HTTP/1.1 200 OK fine");
        let line = status_line(b"HTTP/1.1 200\r\n", |_| {});
        assert_eq!((line.code, line.message), (200, Some(&b""[..])));
        let line = status_line(b"HTTP/1.1 2x0", |_| {});
        assert_eq!((line.code, line.message), (0, None));
        assert!(is_status_line(b" \0httpfoo") && !is_status_line(b"htt"));
    }

    #[test]
    fn chunk_lengths() {
        assert_eq!(chunk_length(b"1f\r\n"), ChunkLine::Length(31, false));
        assert_eq!(
            chunk_length(b"\r\n 1F ; x=y\r\n"),
            ChunkLine::Length(31, true)
        );
        assert_eq!(chunk_length(b" \t\r\n"), ChunkLine::Nothing);
        assert_eq!(chunk_length(b"ffffffff\r\n"), ChunkLine::Nothing);
        assert_eq!(chunk_length(b"fffffffffffffffff\r\n"), ChunkLine::Invalid);
        assert_eq!(chunk_length(b"xyz\r\n"), ChunkLine::Invalid);
    }

    #[test]
    fn hosts() {
        let host = host_port(b"www.Example.com:8080").unwrap();
        assert_eq!(
            (host.host, host.number, host.valid),
            (&b"www.Example.com"[..], Some(8080), true)
        );
        let host = host_port(b"[::1]:80").unwrap();
        assert_eq!(
            (host.host, host.number, host.valid),
            (&b"[::1]"[..], Some(80), true)
        );
        assert!(!host_port(b"[::1]x").unwrap().valid);
        assert!(!host_port(b"a..b").unwrap().valid);
        assert!(host_port(b"/x").is_none());
    }

    #[test]
    fn names_with_nul_bytes() {
        assert!(same(b"Ho\0st", b"host") && same(b"HOST", b"host") && !same(b"Hos\0", b"host"));
        assert!(contains(b"x, ChUn\0ked", b"chunked"));
    }
}
