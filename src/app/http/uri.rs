//! Request targets: their parts (RFC 3986 section 3) and the form of them that rules are matched
//! against, which is what servers of any make might make of them: percent and `%u` sequences
//! decoded, UTF-8 mapped to one byte, separators unified, dot segments removed. Texts in, texts
//! out; work is linear, and nothing is decoded twice unless the settings ask for it.

use super::line::{hostname, port, run};

/// How a target is normalised (Suricata's keys `double-decode-path` and so on).
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Decode the path a second time.
    pub double_path: bool,
    /// Decode the query a second time.
    pub double_query: bool,
    /// `\` is `/`.
    pub backslash: bool,
    /// `//` is `/`.
    pub compress: bool,
    /// `+` in a query is a space.
    pub plus: bool,
    /// Letters of the path become lower case.
    pub lowercase: bool,
    /// `%uXXXX` is decoded.
    pub percent_u: bool,
    /// The normalised form has scheme and authority too.
    pub include_all: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            double_path: false,
            double_query: false,
            backslash: true,
            compress: true,
            plus: false,
            lowercase: false,
            percent_u: true,
            include_all: false,
        }
    }
}

/// Parts of a target as they stand in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Uri<'a> {
    /// Before the first `:`.
    pub scheme: Option<&'a [u8]>,
    /// Before the `@`.
    pub credentials: Option<&'a [u8]>,
    /// Host.
    pub host: Option<&'a [u8]>,
    /// Behind the host's `:`.
    pub port: Option<&'a [u8]>,
    /// Path, not empty.
    pub path: Option<&'a [u8]>,
    /// Behind the `?`.
    pub query: Option<&'a [u8]>,
    /// Behind the `#`.
    pub fragment: Option<&'a [u8]>,
}

/// Takes a target apart.
pub(super) fn parse(target: &[u8]) -> Uri<'_> {
    let mut uri = Uri::default();
    let mut rest = target;
    let head = run(target, |b| !matches!(b, b'/' | b'?' | b'#' | b':'));
    if target.get(head) == Some(&b':') {
        uri.scheme = target.get(..head);
        rest = target.get(head + 1..).unwrap_or(&[]);
        rest = authority(&mut uri, rest);
    }
    let path = run(rest, |b| !matches!(b, b'?' | b'#'));
    let (path, after) = rest.split_at(path);
    uri.path = (!path.is_empty()).then_some(path);
    let mut after = after;
    if let Some(query) = after.strip_prefix(b"?") {
        let (query, fragment) = query.split_at(run(query, |b| b != b'#'));
        uri.query = Some(query);
        after = fragment;
    }
    uri.fragment = after.strip_prefix(b"#");
    uri
}

/// Reads what stands between scheme and path; the rest.
fn authority<'a>(uri: &mut Uri<'a>, bytes: &'a [u8]) -> &'a [u8] {
    let mut rest = bytes;
    if let Some(after) = bytes.strip_prefix(b"//")
        && after.first() != Some(&b'/')
    {
        let end = run(after, |b| !matches!(b, b'/' | b'?' | b'#'));
        let credentials = after.get(..end).and_then(|a| memchr::memrchr(b'@', a));
        if let Some(at) = credentials {
            uri.credentials = after.get(..at);
            rest = after.get(at + 1..).unwrap_or(&[]);
        }
    }
    let Some((host, after)) = hostname(rest) else {
        return rest;
    };
    uri.host = Some(host);
    match port(after) {
        Some((port, after)) => {
            uri.port = Some(port);
            after
        }
        None => after,
    }
}

/// Appends the normalised host: decoded, lower case, without dots at its end.
pub(super) fn push_host(out: &mut Vec<u8>, host: &[u8], rules: &Rules) {
    let start = out.len();
    push_decoded(out, host, rules);
    if let Some(host) = out.get_mut(start..) {
        host.make_ascii_lowercase();
    }
    while out.len() > start && out.last() == Some(&b'.') {
        out.pop();
    }
}

/// Appends the normalised path.
pub(super) fn push_path(out: &mut Vec<u8>, path: &[u8], rules: &Rules) {
    let start = out.len();
    push_path_decoded(out, path, rules);
    if out.get(start..).is_some_and(|path| !path.is_ascii()) {
        narrow(out, start);
    }
    remove_dot_segments(out, start);
}

/// What was found out while normalising.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Noted {
    /// Decoding twice gave something else than decoding once.
    pub double_encoded: bool,
}

/// Appends the normalised target. Nothing is appended if it has no path, query or fragment (and no
/// authority that is asked for).
pub(super) fn push_normalised(out: &mut Vec<u8>, uri: &Uri<'_>, rules: &Rules) -> Noted {
    let mut noted = Noted::default();
    if rules.include_all {
        push_front(out, uri, rules);
    }
    if let Some(path) = uri.path {
        let start = out.len();
        push_path(out, path, rules);
        if rules.double_path {
            noted.double_encoded |= decode_again(out, start, rules);
        }
    }
    if let Some(query) = uri.query {
        out.push(b'?');
        let start = out.len();
        push_decoded(out, query, rules);
        if rules.double_query {
            noted.double_encoded |= decode_again(out, start, rules);
        }
    }
    if let Some(fragment) = uri.fragment {
        out.push(b'#');
        push_decoded(out, fragment, rules);
    }
    noted
}

fn push_front(out: &mut Vec<u8>, uri: &Uri<'_>, rules: &Rules) {
    if let Some(scheme) = uri.scheme {
        out.extend(scheme.iter().map(u8::to_ascii_lowercase));
        out.extend_from_slice(b"://");
    }
    if let Some(credentials) = uri.credentials {
        push_decoded(out, credentials, rules);
        out.push(b'@');
    }
    if let Some(host) = uri.host {
        push_host(out, host, rules);
    }
    if let Some(port) = uri.port {
        out.push(b':');
        out.extend_from_slice(port);
    }
}

/// Decodes what stands from `start` on in place; whether that changed it.
fn decode_again(out: &mut Vec<u8>, start: usize, rules: &Rules) -> bool {
    let before = out.len();
    let (mut at, mut to) = (start, start);
    while at < before {
        let (byte, taken) = decoded(out.get(at..before).unwrap_or(&[]), rules);
        if let Some(place) = out.get_mut(to) {
            *place = if byte == b'+' && rules.plus {
                b' '
            } else {
                byte
            };
        }
        to += 1;
        at += taken;
    }
    out.truncate(to);
    to != before
}

/// Appends bytes with their percent sequences decoded.
fn push_decoded(out: &mut Vec<u8>, bytes: &[u8], rules: &Rules) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let plain = if rules.plus {
            memchr::memchr2(b'%', b'+', rest)
        } else {
            memchr::memchr(b'%', rest)
        };
        let (before, after) = rest.split_at(plain.unwrap_or(rest.len()));
        out.extend_from_slice(before);
        rest = after;
        match rest.first() {
            Some(b'+') => {
                out.push(b' ');
                rest = rest.get(1..).unwrap_or(&[]);
            }
            Some(_) => {
                let (byte, taken) = decoded(rest, rules);
                out.push(byte);
                rest = rest.get(taken..).unwrap_or(&[]);
            }
            None => {}
        }
    }
}

/// Appends a path, decoded and with its separators unified.
fn push_path_decoded(out: &mut Vec<u8>, path: &[u8], rules: &Rules) {
    let start = out.len();
    let mut at = 0;
    while let Some(first) = path.get(at) {
        let (mut byte, taken) = match first {
            b'%' => decoded(path.get(at..).unwrap_or(&[]), rules),
            byte => (*byte, 1),
        };
        at += taken;
        if byte == b'\\' && rules.backslash {
            byte = b'/';
        }
        if rules.lowercase {
            byte = byte.to_ascii_lowercase();
        }
        let doubled =
            rules.compress && byte == b'/' && out.len() > start && out.last() == Some(&b'/');
        if !doubled {
            out.push(byte);
        }
    }
}

/// The byte that stands at the start of `bytes`, and how many of them make it. A percent sequence
/// that is none stands for its `%`.
fn decoded(bytes: &[u8], rules: &Rules) -> (u8, usize) {
    let Some((b'%', rest)) = bytes.split_first() else {
        return (bytes.first().copied().unwrap_or(0), 1);
    };
    if let [b'u' | b'U', code @ ..] = rest {
        if rules.percent_u
            && let Some(code) = code.get(..4)
            && let (Some(high), Some(low)) = (hex(code.get(..2)), hex(code.get(2..)))
        {
            let byte = if high == 0 {
                low
            } else {
                narrowed(u32::from(high) << 8 | u32::from(low))
            };
            return (byte, 6);
        }
        return (b'%', 1);
    }
    match hex(rest.get(..2)) {
        Some(byte) => (byte, 3),
        None => (b'%', 1),
    }
}

fn hex(digits: Option<&[u8]>) -> Option<u8> {
    let &[high, low] = digits? else {
        return None;
    };
    let digit = |b: u8| (b as char).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

/// What stands for characters that have nothing like them among the first 256.
const REPLACEMENT: u8 = b'?';

/// U+0100 to U+017F: the letters without their marks.
const LATIN_A: &[u8; 128] = b"AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIiIiJjKkkLlLlLlLlLlNnNnNn?NnOoOoOoOoRrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZzZzZzs";

/// Others that look like ASCII.
const LOOKALIKES: &[(u32, u32, u8)] = &[
    (0x2010, 0x2015, b'-'),
    (0x2018, 0x201b, b'\''),
    (0x201c, 0x201f, b'"'),
    (0x2024, 0x2024, b'.'),
    (0x2032, 0x2032, b'\''),
    (0x2039, 0x2039, b'<'),
    (0x203a, 0x203a, b'>'),
    (0x2044, 0x2044, b'/'),
    (0x2212, 0x2212, b'-'),
    (0x2215, 0x2215, b'/'),
    (0x2216, 0x2216, b'\\'),
    (0x2217, 0x2217, b'*'),
    (0x2223, 0x2223, b'|'),
    (0x2236, 0x2236, b':'),
    (0x223c, 0x223c, b'~'),
    (0x3008, 0x3008, b'<'),
    (0x3009, 0x3009, b'>'),
];

/// The byte that a character is mapped to by servers whose code page is Windows-1252.
fn narrowed(character: u32) -> u8 {
    match character {
        0..=0xff => character as u8,
        0x100..=0x17f => LATIN_A
            .get(character as usize - 0x100)
            .copied()
            .unwrap_or(REPLACEMENT),
        0x3000 => b' ',
        0xff01..=0xff5e => (character - 0xff01 + 0x21) as u8,
        _ => LOOKALIKES
            .iter()
            .find(|(from, to, _)| (*from..=*to).contains(&character))
            .map_or(REPLACEMENT, |(.., byte)| *byte),
    }
}

/// Maps the UTF-8 from `start` on to single bytes, in place. Overlong forms are decoded; what is no
/// UTF-8 becomes `?`.
fn narrow(out: &mut Vec<u8>, start: usize) {
    let (mut at, mut to) = (start, start);
    while at < out.len() {
        let (byte, taken) = utf8(out.get(at..).unwrap_or(&[]));
        if let Some(place) = out.get_mut(to) {
            *place = byte;
        }
        to += 1;
        at += taken.max(1);
    }
    out.truncate(to);
}

/// The character at the start as one byte, and its length.
fn utf8(bytes: &[u8]) -> (u8, usize) {
    let first = bytes.first().copied().unwrap_or(0);
    let (more, mut character) = match first {
        0..=0x7f => return (first, 1),
        0xc0..=0xdf => (1, u32::from(first & 0x1f)),
        0xe0..=0xef => (2, u32::from(first & 0x0f)),
        0xf0..=0xf4 => (3, u32::from(first & 0x07)),
        _ => return (REPLACEMENT, 1),
    };
    for place in 1..=more {
        let Some(next @ 0x80..=0xbf) = bytes.get(place).copied() else {
            // The byte that does not belong begins a character of its own.
            return (REPLACEMENT, place);
        };
        character = character << 6 | u32::from(next & 0x3f);
        let surrogate = place == 1 && first == 0xed && next >= 0xa0;
        let beyond = place == 1 && first == 0xf4 && next >= 0x90;
        if surrogate || beyond {
            return (REPLACEMENT, place);
        }
    }
    (narrowed(character), more + 1)
}

/// Removes the segments `.` and `..` from the path that stands from `start` on (RFC 3986 section
/// 5.2.4), in place.
fn remove_dot_segments(out: &mut Vec<u8>, start: usize) {
    let Some(path) = out.get_mut(start..) else {
        return;
    };
    if memchr::memchr(b'.', path).is_none() {
        return;
    }
    let length = path.len();
    let (mut at, mut to) = (0, 0);
    // Dot segments in front, as in `../x`, go with their slash.
    loop {
        let rest = path.get(at..).unwrap_or(&[]);
        let segment = run(rest, |b| b != b'/');
        match rest.get(..segment) {
            Some(b"." | b"..") => at += (segment + 1).min(rest.len()),
            _ => break,
        }
    }
    let mut dots = false;
    while at < length {
        let slash = usize::from(path.get(at) == Some(&b'/'));
        let segment = path
            .get(at + slash..)
            .map_or(0, |rest| run(rest, |b| b != b'/'));
        let end = at + slash + segment;
        match (slash, path.get(at + slash..end)) {
            // A slash that ends the path goes with the dots before it.
            (1, Some(b"")) if dots => {}
            (1, Some(b".")) => dots = true,
            (1, Some(b"..")) => {
                dots = true;
                let kept = path.get(..to).unwrap_or(&[]);
                to = memchr::memrchr(b'/', kept).unwrap_or(0);
            }
            _ => {
                dots = false;
                path.copy_within(at..end, to);
                to += end - at;
            }
        }
        at = end;
    }
    out.truncate(start + to);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(target: &[u8]) -> String {
        let mut out = Vec::new();
        push_normalised(&mut out, &parse(target), &Rules::default());
        out.escape_ascii().to_string()
    }

    #[test]
    fn targets_are_normalised() {
        for (target, expected) in [
            (&b"/"[..], "/"),
            (b"/a/./b/../c", "/a/c"),
            (b"/../../etc/passwd", "/etc/passwd"),
            (b"../c/./d", "c/d"),
            (b"/a/..", ""),
            (b"/a/.", "/a"),
            (b"/a/b/", "/a/b/"),
            (b"/a/./", "/a"),
            (b"/a/b/../", "/a"),
            (b"//a//b", "/a/b"),
            (b"/a\\b%5c%2fc", "/a/b/c"),
            (b"/%41%zz%4", "/A%zz%4"),
            (b"/%u0041%uff0f%u2215x", "/A/x"),
            (b"/%uzzzz", "/%uzzzz"),
            (b"/\xc0\xaf\xc3\xa9", "/\\xe9"),
            (b"/%e2%82", "/?"),
            (b"/a b", "/a b"),
            (b"/x?a=%2e%2e/./&b=+#%41", "/x?a=.././&b=+#A"),
            (b"/x?", "/x?"),
            (b"http://user@Host.:80/p//q?x", "/p/q?x"),
            (b"http://host", ""),
            (b"t.php?u=http://x", "t.php?u=http://x"),
            (b"*", "*"),
        ] {
            assert_eq!(normal(target), expected, "{}", target.escape_ascii());
        }
    }

    #[test]
    fn parts() {
        let uri = parse(b"http://user:pw@h:8/p?q#f");
        assert_eq!(uri.scheme, Some(&b"http"[..]));
        assert_eq!(uri.credentials, Some(&b"user:pw"[..]));
        assert_eq!((uri.host, uri.port), (Some(&b"h"[..]), Some(&b"8"[..])));
        assert_eq!((uri.path, uri.query), (Some(&b"/p"[..]), Some(&b"q"[..])));
        assert_eq!(uri.fragment, Some(&b"f"[..]));
        assert_eq!(parse(b"http:///p").path, Some(&b"///p"[..]));
    }

    #[test]
    fn twice_decoded() {
        let rules = Rules {
            double_path: true,
            double_query: true,
            ..Rules::default()
        };
        let mut out = Vec::new();
        let noted = push_normalised(&mut out, &parse(b"/%2561?%2562"), &rules);
        assert_eq!((&out[..], noted.double_encoded), (&b"/a?b"[..], true));
    }

    #[test]
    fn work_grows_with_length_alone() {
        for part in [&b"/../"[..], b"/a/..", b"%2e%2e/", b"//", b"%u00"] {
            let mut times = Vec::new();
            for count in [20_000, 80_000] {
                let target = part.repeat(count);
                let begin = std::time::Instant::now();
                let mut out = Vec::with_capacity(target.len());
                push_normalised(&mut out, &parse(&target), &Rules::default());
                times.push(begin.elapsed().as_secs_f64());
            }
            assert!(times[1] < times[0] * 16.0 + 0.05, "{part:?}: {times:?}");
        }
    }
}
