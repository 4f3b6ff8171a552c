//! What the headers of HTTP/2 become for rules: the same fields as those of HTTP/1, with the lines
//! that HTTP/2 does not have put together as Suricata does.

use super::super::field::Field;
use super::super::lines::decimal;
use super::super::output::{Output, SCRATCH_SIZE, TxId};
use super::super::reader::push;
use super::event;
use super::hpack::headers;
use crate::packet::Direction;

/// Fields that hold all values of a header, with commas between them.
const REQUEST: &[(&str, Field)] = &[
    (":authority", Field::HttpHostRaw),
    ("user-agent", Field::HttpUserAgent),
    ("cookie", Field::HttpCookie),
    ("accept", Field::HttpAccept),
    ("accept-encoding", Field::HttpAcceptEnc),
    ("accept-language", Field::HttpAcceptLang),
    ("connection", Field::HttpConnection),
    ("content-length", Field::HttpContentLen),
    ("content-type", Field::HttpContentType),
    ("referer", Field::HttpReferer),
];
const RESPONSE: &[(&str, Field)] = &[
    ("set-cookie", Field::HttpCookie),
    ("location", Field::HttpLocation),
    ("server", Field::HttpServer),
    ("content-length", Field::HttpContentLen),
    ("content-type", Field::HttpContentType),
];
/// Fields that hold the first value.
const FIRST: &[(&str, Field)] = &[
    (":path", Field::HttpUri),
    (":path", Field::HttpUriRaw),
    (":method", Field::HttpMethod),
];

/// Tells all fields of a list of headers.
pub fn tell(tx: TxId, direction: Direction, list: &[u8], out: &mut Output<'_>) {
    if headers(list).next().is_none() {
        return;
    }
    let joined = match direction {
        Direction::ToServer => {
            for (name, field) in FIRST {
                if let Some(value) = first(list, name).filter(|_| out.wants(*field)) {
                    out.field(tx, *field, direction, value);
                }
            }
            host(tx, list, out);
            REQUEST
        }
        Direction::ToClient => {
            if let Some(status) = first(list, ":status") {
                out.field(tx, Field::HttpStatCode, direction, status);
                out.field(tx, Field::HttpStatMsg, direction, b"");
            }
            RESPONSE
        }
    };
    for (name, field) in joined {
        if out.wants(*field) && join(list, name, &mut out.shared.scratch) {
            out.field_of_scratch(tx, *field, direction);
        }
    }
    lines(tx, direction, list, out);
    each(tx, direction, list, out);
    together(tx, direction, list, out);
}

/// The first value of a header.
pub fn first<'a>(list: &'a [u8], name: &str) -> Option<&'a [u8]> {
    headers(list)
        .find(|(known, _)| *known == name.as_bytes())
        .map(|(_, value)| value)
}

/// Whether a content range is one (RFC 9110 14.4): bytes from where to where of how many.
pub fn is_range(value: &[u8]) -> bool {
    let value = value.trim_ascii_start();
    let unit = value
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(value.len());
    let range = value.get(unit..).unwrap_or(&[]).trim_ascii_start();
    let mut parts = range.splitn(2, |byte| *byte == b'/');
    let (place, size) = (parts.next().unwrap_or(&[]), parts.next());
    let number = |digits: &[u8]| decimal(digits).map(u64::from);
    let size = match size {
        Some(b"*") => None,
        Some(digits) => match number(digits) {
            Some(size) => Some(size),
            None => return false,
        },
        None => return false,
    };
    if place == b"*" {
        return size.is_some();
    }
    let mut ends = place.splitn(2, |byte| *byte == b'-');
    let (first, last) = (ends.next().and_then(number), ends.next().and_then(number));
    match (first, last) {
        (Some(first), Some(last)) => first <= last && size.is_none_or(|size| last < size),
        _ => false,
    }
}

/// Writes all values of a header; false if there are none.
fn join(list: &[u8], name: &str, scratch: &mut Vec<u8>) -> bool {
    scratch.clear();
    let mut found = false;
    for (known, value) in headers(list) {
        if known == name.as_bytes() {
            if std::mem::replace(&mut found, true) {
                push(scratch, b", ", SCRATCH_SIZE);
            }
            push(scratch, value, SCRATCH_SIZE);
        }
    }
    found
}

/// The host without user and port, in small letters, and what is wrong about it (RFC 9113 8.3.1).
fn host(tx: TxId, list: &[u8], out: &mut Output<'_>) {
    let direction = Direction::ToServer;
    if let Some(authority) = first(list, ":authority") {
        if authority.contains(&b'@') {
            event(tx, direction, event::USERINFO, out);
        }
        let host = first(list, "host");
        if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
            event(tx, direction, event::AUTHORITY_MISMATCH, out);
        }
    }
    if out.wants(Field::HttpHost) && join(list, ":authority", &mut out.shared.scratch) {
        let scratch = &mut out.shared.scratch;
        if let Some(user) = memchr::memchr(b'@', scratch) {
            scratch.drain(..=user);
        }
        if let Some(port) = memchr::memchr(b':', scratch) {
            scratch.truncate(port);
        }
        scratch.make_ascii_lowercase();
        out.field_of_scratch(tx, Field::HttpHost, direction);
    }
}

/// Request and response lines.
fn lines(tx: TxId, direction: Direction, list: &[u8], out: &mut Output<'_>) {
    let (field, parts): (_, [&[u8]; 4]) = match direction {
        Direction::ToServer => {
            let method = first(list, ":method");
            let path = first(list, ":path");
            let parts = [
                method.unwrap_or(&[]),
                b" ",
                path.unwrap_or(&[]),
                b" HTTP/2\r\n",
            ];
            (Field::HttpRequestLine, parts)
        }
        Direction::ToClient => {
            let status = first(list, ":status").unwrap_or(&[]);
            (Field::HttpResponseLine, [b"HTTP/2 ", status, b"\r\n", b""])
        }
    };
    if out.wants(field) {
        out.shared.scratch.clear();
        for part in parts {
            push(&mut out.shared.scratch, part, SCRATCH_SIZE);
        }
        out.field_of_scratch(tx, field, direction);
    }
    if out.wants(Field::HttpProtocol) {
        out.field(tx, Field::HttpProtocol, direction, b"HTTP/2");
    }
}

/// Headers one by one.
fn each(tx: TxId, direction: Direction, list: &[u8], out: &mut Output<'_>) {
    let field = match direction {
        Direction::ToServer => Field::HttpRequestHeader,
        Direction::ToClient => Field::HttpResponseHeader,
    };
    let (names, whole) = (out.wants(Field::Http2HeaderName), out.wants(field));
    let told = out.wants(Field::Http2Header);
    for (name, value) in headers(list) {
        if names {
            out.field(tx, Field::Http2HeaderName, direction, name);
        }
        if whole || told {
            let scratch = &mut out.shared.scratch;
            scratch.clear();
            for part in [name, b": ", value] {
                push(scratch, part, SCRATCH_SIZE);
            }
            for field in [(whole, field), (told, Field::Http2Header)] {
                if field.0 {
                    out.field_of_scratch(tx, field.1, direction);
                }
            }
        }
    }
}

/// All headers in one: as they are, without cookies and blanks around values, and the names alone.
fn together(tx: TxId, direction: Direction, list: &[u8], out: &mut Output<'_>) {
    let cookie: &[u8] = match direction {
        Direction::ToServer => b"cookie",
        Direction::ToClient => b"set-cookie",
    };
    for (field, raw) in [(Field::HttpHeader, false), (Field::HttpHeaderRaw, true)] {
        if !out.wants(field) {
            continue;
        }
        let scratch = &mut out.shared.scratch;
        scratch.clear();
        for (name, value) in headers(list) {
            if !raw && name.eq_ignore_ascii_case(cookie) {
                continue;
            }
            let value = if raw { value } else { trim(value) };
            for part in [name, b": ", value, b"\r\n"] {
                push(scratch, part, SCRATCH_SIZE);
            }
        }
        if !scratch.is_empty() {
            out.field_of_scratch(tx, field, direction);
        }
    }
    if out.wants(Field::HttpHeaderNames) {
        let scratch = &mut out.shared.scratch;
        scratch.clear();
        push(scratch, b"\r\n", SCRATCH_SIZE);
        for (name, _) in headers(list) {
            push(scratch, name, SCRATCH_SIZE);
            push(scratch, b"\r\n", SCRATCH_SIZE);
        }
        push(scratch, b"\r\n", SCRATCH_SIZE);
        out.field_of_scratch(tx, Field::HttpHeaderNames, direction);
    }
}

fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte));
    let end = value.iter().rposition(|byte| !blank(byte));
    match (start, end) {
        (Some(start), Some(end)) => value.get(start..=end).unwrap_or(value),
        _ => &[],
    }
}
