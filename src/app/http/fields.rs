//! The buffers that rules look at, made of a message's head: targets, headers one by one and all
//! together, in the forms that the rule language documents. Each is made only if a rule or an event
//! asks for it.

use super::super::field::{Field, Progress};
use super::super::output::{Output, SCRATCH_SIZE, TxId};
use super::body::Whose;
use super::event::Event;
use super::head::Head;
use super::line::{RequestLine, StatusLine, Version, host_port, is_hostname, port_number, same};
use super::settings::Tools;
use super::uri::{Rules, Uri, parse, push_host, push_normalised, push_path};
use crate::packet::Direction;
use Direction::{ToClient, ToServer};

/// Headers with a field of their own.
const REQUEST: &[(&[u8], Field)] = &[
    (b"user-agent", Field::HttpUserAgent),
    (b"cookie", Field::HttpCookie),
    (b"referer", Field::HttpReferer),
    (b"accept", Field::HttpAccept),
    (b"accept-encoding", Field::HttpAcceptEnc),
    (b"accept-language", Field::HttpAcceptLang),
    (b"connection", Field::HttpConnection),
    (b"content-length", Field::HttpContentLen),
    (b"content-type", Field::HttpContentType),
    (b"x-forwarded-for", Field::HttpXff),
];
const RESPONSE: &[(&[u8], Field)] = &[
    (b"set-cookie", Field::HttpCookie),
    (b"connection", Field::HttpConnection),
    (b"content-length", Field::HttpContentLen),
    (b"content-type", Field::HttpContentType),
    (b"location", Field::HttpLocation),
    (b"server", Field::HttpServer),
    (b"content-range", Field::HttpContentRange),
];

/// Longer values have memory of their own, so that no transaction runs out of room for the others.
const LONG: usize = 4096;

/// Adds a field.
fn add(out: &mut Output<'_>, whose: Whose, field: Field, value: &[u8]) {
    if value.len() <= LONG {
        out.field(whose.tx, field, whose.direction, value);
        return;
    }
    let growing = out.begin(whose.tx, field, whose.direction);
    out.grow(whose.tx, growing, value);
    out.end(whose.tx, growing);
}

/// Adds a field that is made of parts.
fn build(out: &mut Output<'_>, whose: Whose, field: Field, make: impl FnOnce(&mut Vec<u8>)) {
    let mut scratch = std::mem::take(&mut out.shared.scratch);
    scratch.clear();
    make(&mut scratch);
    add(out, whose, field, &scratch);
    out.shared.scratch = scratch;
}

fn push_header(text: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        text.extend_from_slice(part);
    }
}

/// Adds what is made of the headers. `raw`: their bytes with the empty line; `line`: the start line.
pub(super) fn headers(out: &mut Output<'_>, head: &Head, whose: Whose, line: &[u8], raw: &[u8]) {
    let request = whose.direction == ToServer;
    for event in head.events() {
        out.event(whose.tx, whose.direction, super::app_event(event));
    }
    if out.wants(Field::HttpHeaderRaw) && !raw.is_empty() {
        add(out, whose, Field::HttpHeaderRaw, raw);
    }
    if out.wants(Field::HttpHeader) {
        let cookie: &[u8] = if request { b"cookie" } else { b"set-cookie" };
        build(out, whose, Field::HttpHeader, |text| {
            for (name, value) in head.iter(raw) {
                if !name.eq_ignore_ascii_case(cookie) {
                    push_header(text, name, value);
                }
            }
        });
    }
    if out.wants(Field::HttpHeaderNames) && head.len() > 0 {
        build(out, whose, Field::HttpHeaderNames, |text| {
            text.extend_from_slice(b"\r\n");
            for (name, _) in head.iter(raw) {
                text.extend_from_slice(name);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"\r\n");
        });
    }
    if out.wants(Field::HttpStart) && !line.is_empty() {
        build(out, whose, Field::HttpStart, |text| {
            text.extend_from_slice(line);
            text.extend_from_slice(b"\r\n");
            for (name, value) in head.iter(raw) {
                push_header(text, name, value);
            }
            if head.len() > 0 {
                text.extend_from_slice(b"\r\n");
            }
        });
    }
    each_header(out, head, whose, raw);
    single_headers(out, head, whose, raw);
}

/// The field of each header.
fn each_field(direction: Direction) -> Field {
    match direction {
        ToServer => Field::HttpRequestHeader,
        ToClient => Field::HttpResponseHeader,
    }
}

/// Adds each header as a field of its own.
fn each_header(out: &mut Output<'_>, head: &Head, whose: Whose, raw: &[u8]) {
    let each = each_field(whose.direction);
    if out.wants(each) {
        for (name, value) in head.iter(raw) {
            build(out, whose, each, |text| {
                text.extend_from_slice(name);
                text.extend_from_slice(b": ");
                text.extend_from_slice(value);
            });
        }
    }
}

/// Adds what is made of the headers behind a body in chunks (RFC 9112 section 7.1.2): where a buffer
/// holds all headers it comes again, with these. One whose name stands in the head already is a
/// repetition of that: its value is joined to the other's.
pub(super) fn trailers(out: &mut Output<'_>, head: &Head, whose: Whose, raw: &[u8]) {
    for event in head.events() {
        out.event(whose.tx, whose.direction, super::app_event(event));
    }
    let request = whose.direction == ToServer;
    again(out, whose, Field::HttpHeaderRaw, b"", |text| {
        text.extend_from_slice(raw);
    });
    let cookie: &[u8] = if request { b"cookie" } else { b"set-cookie" };
    again(out, whose, Field::HttpHeader, b"", |text| {
        for (name, value) in head.iter(raw) {
            if !name.eq_ignore_ascii_case(cookie) {
                join_header(text, name, value);
            }
        }
    });
    again(out, whose, Field::HttpHeaderNames, b"\r\n", |text| {
        if text.is_empty() {
            text.extend_from_slice(b"\r\n");
        }
        for (name, _) in head.iter(raw) {
            if line_of(text, name, b"\r\n").is_none() {
                text.extend_from_slice(name);
                text.extend_from_slice(b"\r\n");
            }
        }
        text.extend_from_slice(b"\r\n");
    });
    each_trailer(out, head, whose, raw);
    single_headers(out, head, whose, raw);
}

/// Where a line of a text begins and ends that is a name and these bytes.
fn line_of(text: &[u8], name: &[u8], then: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    // Every turn takes a line.
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let end = memchr::memmem::find(rest, b"\r\n").unwrap_or(rest.len());
        let here = rest.get(..name.len());
        let follows = rest
            .get(name.len()..)
            .is_some_and(|rest| rest.starts_with(then));
        if follows && here.is_some_and(|here| here.eq_ignore_ascii_case(name)) {
            return Some((at, at + end));
        }
        at += end + 2;
    }
    None
}

/// Adds a header to a text of them, or its value to the one of its name. The length of a body is what
/// it is.
fn join_header(text: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let Some((_, end)) = line_of(text, name, b": ") else {
        push_header(text, name, value);
        return;
    };
    if !name.eq_ignore_ascii_case(b"content-length") && text.len() + value.len() < SCRATCH_SIZE {
        let rest = text.len() - end;
        text.extend_from_slice(b", ");
        text.extend_from_slice(value);
        if let Some(moved) = text.get_mut(end..) {
            moved.rotate_left(rest);
        }
    }
}

/// Adds each header behind a body as a field of its own.
fn each_trailer(out: &mut Output<'_>, head: &Head, whose: Whose, raw: &[u8]) {
    let each = each_field(whose.direction);
    if !out.wants(each) {
        return;
    }
    let mut scratch = std::mem::take(&mut out.shared.scratch);
    for (name, value) in head.iter(raw) {
        scratch.clear();
        if let Some(known) = known_header(out, whose, each, name) {
            scratch.extend_from_slice(known);
        }
        join_header(&mut scratch, name, value);
        let whole = scratch.strip_suffix(b"\r\n").unwrap_or(&scratch);
        add(out, whose, each, whole);
    }
    out.shared.scratch = scratch;
}

/// The header of a name that was added as a field of its own.
fn known_header<'a>(
    out: &'a Output<'_>,
    whose: Whose,
    each: Field,
    name: &[u8],
) -> Option<&'a [u8]> {
    let heap = &out.shared.heap;
    let tx = out.transaction(whose.tx)?;
    let instances = tx.instances_of(heap, each, whose.direction);
    let mut headers = instances.map(|instance| tx.bytes(heap, &instance));
    headers.find(|header| line_of(header, name, b": ").is_some_and(|(at, _)| at == 0))
}

/// Adds a field that is its first instance, without `end`, and more.
fn again(
    out: &mut Output<'_>,
    whose: Whose,
    field: Field,
    end: &[u8],
    more: impl FnOnce(&mut Vec<u8>),
) {
    if !out.wants(field) {
        return;
    }
    let mut scratch = std::mem::take(&mut out.shared.scratch);
    scratch.clear();
    let known = out.value(whose.tx, field, whose.direction).unwrap_or(&[]);
    scratch.extend_from_slice(known.strip_suffix(end).unwrap_or(known));
    more(&mut scratch);
    add(out, whose, field, &scratch);
    out.shared.scratch = scratch;
}

/// Adds the headers that have a field of their own; one that is known already, with its value before.
fn single_headers(out: &mut Output<'_>, head: &Head, whose: Whose, raw: &[u8]) {
    let list = if whose.direction == ToServer {
        REQUEST
    } else {
        RESPONSE
    };
    let mut done = 0u32;
    for (name, value) in head.iter(raw) {
        for (place, (known, field)) in list.iter().enumerate() {
            if done >> place & 1 == 0 && same(name, known) {
                done |= 1 << place;
                if out.wants(*field) {
                    add_joined(out, whose, *field, value);
                }
            }
        }
    }
}

fn add_joined(out: &mut Output<'_>, whose: Whose, field: Field, value: &[u8]) {
    if out.value(whose.tx, field, whose.direction).is_none() {
        add(out, whose, field, value);
    } else if field != Field::HttpContentLen {
        again(out, whose, field, b"", |text| {
            text.extend_from_slice(b", ");
            text.extend_from_slice(value);
        });
    }
}

/// Adds what the request line and the headers say, but the framing of the body.
pub(super) fn request(
    out: &mut Output<'_>,
    tools: &mut Tools,
    tx: TxId,
    line: &RequestLine<'_>,
    raw: &[u8],
) {
    let whose = Whose {
        tx,
        direction: ToServer,
    };
    let give = |out: &mut Output<'_>, field, value: Option<&[u8]>| {
        if let Some(value) = value
            && out.wants(field)
        {
            add(out, whose, field, value);
        }
    };
    give(out, Field::HttpRequestLine, Some(line.line));
    give(out, Field::HttpMethod, Some(line.method));
    give(out, Field::HttpUriRaw, line.uri);
    give(out, Field::HttpProtocol, line.protocol);
    let uri = match line.uri {
        Some(target) if line.method == b"CONNECT" => authority_form(target),
        Some(target) => parse(target),
        None => Uri::default(),
    };
    target(out, tools, whose, &uri);
    headers(out, &tools.head, whose, line.line, raw);
    host(out, tools, whose, &uri, line.version, raw);
    authorization(out, &tools.head, tx, raw);
    if line.version == Version::Invalid && line.protocol.is_none() && !line.knows_method() {
        out.event(tx, ToServer, Event::RequestLineInvalid.app());
    }
    out.progress(tx, ToServer, Progress::Head);
}

/// The target of CONNECT.
fn authority_form(target: &[u8]) -> Uri<'_> {
    let parts = host_port(target);
    Uri {
        host: parts.map(|parts| parts.host),
        port: parts.and_then(|parts| parts.port),
        ..Uri::default()
    }
}

fn target(out: &mut Output<'_>, tools: &Tools, whose: Whose, uri: &Uri<'_>) {
    let rules = &tools.settings.uri;
    let twice = (rules.double_path || rules.double_query) && out.wants(Field::AppLayerEvent);
    if out.wants(Field::HttpUri) || twice {
        let mut scratch = std::mem::take(&mut out.shared.scratch);
        scratch.clear();
        let noted = push_normalised(&mut scratch, uri, rules);
        if !scratch.is_empty() {
            add(out, whose, Field::HttpUri, &scratch);
        }
        out.shared.scratch = scratch;
        if noted.double_encoded {
            out.event(whose.tx, whose.direction, Event::DoubleEncodedUri.app());
        }
    }
    if out.wants(Field::FileName)
        && let Some(path) = uri.path
    {
        build(out, whose, Field::HttpPath, |text| {
            push_path(text, path, rules)
        });
    }
}

fn host(
    out: &mut Output<'_>,
    tools: &Tools,
    whose: Whose,
    uri: &Uri<'_>,
    version: Version,
    raw: &[u8],
) {
    let (tx, rules) = (whose.tx, &tools.settings.uri);
    let header = tools.head.get(raw, b"host");
    let parts = header.and_then(host_port);
    let mut name = std::mem::take(&mut out.shared.scratch);
    name.clear();
    if let Some(host) = uri.host {
        push_host(&mut name, host, rules);
        let port_valid = uri.port.is_none_or(|port| port_number(port).is_some());
        if !is_hostname(&name) || !port_valid {
            out.event(tx, ToServer, Event::RequestUriHostInvalid.app());
        }
        let differs = parts.is_none_or(|parts| {
            let port = uri.port.and_then(port_number);
            !parts.host.eq_ignore_ascii_case(&name)
                || (port.is_some() && parts.port.is_some() && parts.number != port)
        });
        if header.is_some() && differs {
            out.event(tx, ToServer, Event::HostHeaderAmbiguous.app());
        }
    } else if let Some(parts) = parts {
        name.extend(parts.host.iter().map(u8::to_ascii_lowercase));
    }
    if parts.is_some_and(|parts| !parts.valid) {
        out.event(tx, ToServer, Event::RequestHeaderHostInvalid.app());
    }
    if header.is_none() && version >= Version::V11 {
        out.event(tx, ToServer, Event::MissingHostHeader.app());
    }
    if out.wants(Field::HttpHost) && (uri.host.is_some() || parts.is_some()) {
        add(out, whose, Field::HttpHost, &name);
    }
    // The port of who gave the name: the target before the header.
    let port = match uri.host {
        Some(_) => uri.port.and_then(port_number),
        None => parts.and_then(|parts| parts.number),
    };
    if let Some(port) = port {
        out.number_for_events(tx, Field::HttpPort, ToServer, u64::from(port));
    }
    if out.wants(Field::HttpHostRaw) {
        match (uri.host, header) {
            (Some(_), _) => add(out, whose, Field::HttpHostRaw, &name),
            (None, Some(header)) => add(out, whose, Field::HttpHostRaw, header),
            (None, None) => {}
        }
    }
    out.shared.scratch = name;
}

fn authorization(out: &mut Output<'_>, head: &Head, tx: TxId, raw: &[u8]) {
    let Some(value) = head.get(raw, b"authorization") else {
        return;
    };
    let known = [&b"basic"[..], b"digest", b"bearer"]
        .into_iter()
        .any(|scheme| {
            value
                .get(..scheme.len())
                .is_some_and(|word| word.eq_ignore_ascii_case(scheme))
        });
    if !known {
        out.event(tx, ToServer, Event::RequestAuthUnrecognized.app());
    }
}

/// Adds what the status line and the headers say, but the framing of the body.
pub(super) fn response(
    out: &mut Output<'_>,
    tools: &Tools,
    tx: TxId,
    line: &StatusLine<'_>,
    raw: &[u8],
) {
    let whose = Whose {
        tx,
        direction: ToClient,
    };
    for (field, value) in [
        (Field::HttpResponseLine, Some(line.line)),
        (Field::HttpProtocol, line.protocol),
        (Field::HttpStatCode, line.status),
        (Field::HttpStatMsg, line.message),
    ] {
        if let Some(value) = value
            && out.wants(field)
        {
            add(out, whose, field, value);
        }
    }
    headers(out, &tools.head, whose, line.line, raw);
}

/// Puts the normalised path of a target into `scratch2`: the name of a body that is a file.
pub(super) fn file_name_of_path(out: &mut Output<'_>, target: Option<&[u8]>, rules: &Rules) {
    let name = &mut out.shared.scratch2;
    name.clear();
    if let Some(path) = target.and_then(|target| parse(target).path) {
        push_path(name, path, rules);
    }
}
