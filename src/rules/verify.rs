//! Checks that need the whole rule: conflicts between its parts, and sizes that cannot be met.
//!
//! What Suricata rejects is an error here; what it accepts and nobody wants is check.rs's.

use crate::app::Field;
use crate::packet::Direction;
use crate::rules::diagnostic::{Code, Problem, Span};
use crate::rules::keyword_table;
use crate::rules::number::upper_bound;
use crate::rules::parse::{Builder, Item, List};
use crate::rules::signature::*;

/// Checks a rule that was read to its end, and gives it the direction that its buffers imply.
pub fn rule(builder: &mut Builder<'_, '_>) -> Result<(), Problem> {
    packet_against_stream(builder)?;
    frames(builder)?;
    files(builder)?;
    direction(builder)?;
    sizes(builder)?;
    for list in 0..builder.lists.len() {
        absent(builder, list)?;
    }
    host_and_method(builder)
}

/// Keywords for single packets exclude the stream and application buffers.
fn packet_against_stream(builder: &Builder<'_, '_>) -> Result<(), Problem> {
    if !builder.facts.require_packet {
        return Ok(());
    }
    let place = builder
        .places
        .packet_only
        .unwrap_or(builder.places.protocol);
    let word = place.of(builder.text);
    if builder.facts.require_stream {
        return Err(Problem::new(
            Code::BufferConflict,
            place,
            format!("`{word}` looks at packets, the rule asks for the stream"),
        ));
    }
    let application = builder
        .lists
        .iter()
        .find(|list| list.row.is_some_and(|row| !row.of_packet()));
    match application {
        Some(list) => {
            let buffer = list.span.of(builder.text);
            Err(Problem::new(
                Code::BufferConflict,
                place,
                format!("`{word}` looks at packets, `{buffer}` at the application layer"),
            ))
        }
        None => Ok(()),
    }
}

/// A rule about frames looks at nothing else.
fn frames(builder: &Builder<'_, '_>) -> Result<(), Problem> {
    let is_frame = |list: &&List| {
        list.row
            .is_some_and(|row| row.name == keyword_table::FRAME.name)
    };
    let Some(frame) = builder.lists.iter().find(is_frame) else {
        return Ok(());
    };
    let payload = builder.items.iter().find(|item| item.list == 0);
    let mut others = builder.lists.iter().filter(|list| list.row.is_some());
    let other = others.find(|list| !is_frame(list)).map(|list| list.span);
    match payload.map(|item| item.span).or(other) {
        Some(span) => Err(Problem::new(
            Code::BufferConflict,
            span,
            "the rule looks at a frame and at something else",
        )
        .help(format!(
            "`{}` goes with contents of the frame alone",
            frame.span.of(builder.text)
        ))),
        None => Ok(()),
    }
}

/// Application protocols whose parsers give files.
const WITH_FILES: &[&str] = &[
    "http", "http1", "http2", "doh2", "ftp-data", "smtp", "smb", "nfs",
];
/// Keywords about the names of files, and what else asks for files.
const FILE_NAMES: &[&str] = &["filename", "fileext", "file.name"];
const FILE_BUFFERS: &[&str] = &["file.data", "file.name", "file.magic"];

/// A rule about files is about a protocol that has them.
fn files(builder: &Builder<'_, '_>) -> Result<(), Problem> {
    let signature = &builder.signature;
    let in_list = |names: &[&str]| {
        let mut rows = builder.lists.iter().filter_map(|list| list.row);
        rows.any(|row| names.contains(&row.name))
    };
    let spoken = match (&signature.header.protocol, builder.protocol) {
        (Protocol::App(name), _) => &**name,
        (_, Some((names, _))) => names,
        _ => return Ok(()),
    };
    let asks = signature.per_file || signature.filestore.is_some() || in_list(FILE_BUFFERS);
    let span = match &signature.header.protocol {
        Protocol::App(_) => builder.places.protocol,
        _ => builder.protocol.map_or(builder.places.protocol, |p| p.1),
    };
    let conflict = |message: String| Err(Problem::new(Code::ProtocolConflict, span, message));
    if asks && !spoken.split('|').any(|name| WITH_FILES.contains(&name)) {
        let shown = spoken.replace('|', " or ");
        return conflict(format!("{shown} has no files, and the rule asks for one"));
    }
    if spoken == "http2" && (builder.names_files || in_list(FILE_NAMES)) {
        return conflict("files of http2 have no names, and the rule asks for one".to_string());
    }
    Ok(())
}

/// Whether a keyword that is no buffer asks for the name of a file.
pub fn is_about_names(keyword: &str) -> bool {
    FILE_NAMES.contains(&keyword)
}

/// Buffers of one direction imply it; buffers of both need `=>`.
fn direction(builder: &mut Builder<'_, '_>) -> Result<(), Problem> {
    let (server, client) = (builder.places.to_server, builder.places.to_client);
    let conflict =
        |span: Span, message: &str| Err(Problem::new(Code::DirectionConflict, span, message));
    let flow = builder.signature.flow.unwrap_or_default();
    let place = builder.places.flow.unwrap_or(builder.places.protocol);
    if builder.signature.header.transactional {
        if flow.to_server || flow.to_client {
            return conflict(
                place,
                "a rule with `=>` is about both directions, `flow` about one",
            );
        }
        return match (server, client) {
            (Some(_), Some(_)) => Ok(()),
            _ if !builder.signature.unsupported.is_empty() => Ok(()),
            _ => conflict(
                builder.places.protocol,
                "a rule with `=>` needs buffers of both directions",
            ),
        };
    }
    let mut hooks = builder.signature.app.iter();
    let hooked = hooks.find(|test| test.field == Field::Hook);
    match hooked.and_then(|hook| hook.side) {
        Some(Direction::ToServer) if flow.to_client => {
            return conflict(place, "a hook of requests, and `flow` says to_client");
        }
        Some(Direction::ToClient) if flow.to_server => {
            return conflict(place, "a hook of responses, and `flow` says to_server");
        }
        _ => {}
    }
    match (server, client) {
        (Some(_), Some(client)) => Err(Problem::new(
            Code::DirectionConflict,
            client,
            "the rule has buffers of requests and of responses",
        )
        .help("write `=>` for a rule about both")),
        (Some(server), None) if flow.to_client => {
            conflict(server, "a buffer of requests, and flow says to_client")
        }
        (None, Some(client)) if flow.to_server => {
            conflict(client, "a buffer of responses, and flow says to_server")
        }
        (Some(_), None) => {
            builder.signature.flow.get_or_insert_default().to_server = true;
            Ok(())
        }
        (None, Some(_)) => {
            builder.signature.flow.get_or_insert_default().to_client = true;
            Ok(())
        }
        (None, None) => Ok(()),
    }
}

/// Bytes that the contents of a list need at least, and where that is written.
fn needed<'b>(items: impl Iterator<Item = &'b Item>) -> (i64, Span) {
    let (mut total, mut offset) = (0i64, 0i64);
    let mut first = true;
    let mut place = Span::default();
    for item in items {
        let Test::Content(content) = &item.test else {
            continue;
        };
        let literal = |number: Option<Number>| match number {
            Some(Number::Literal(value)) => value,
            _ => 0,
        };
        let relative = content.distance.is_some() || content.within.is_some();
        if !first && (!relative || content.negated) {
            continue;
        }
        if content.negated {
            continue;
        }
        total += content.bytes.len() as i64 + literal(content.distance);
        offset = offset.max(literal(content.offset));
        first = false;
        place = item.span;
    }
    (total + offset, place)
}

/// Contents must fit into `dsize` and `bsize`.
fn sizes(builder: &Builder<'_, '_>) -> Result<(), Problem> {
    let impossible = |place, needed, limit, keyword: &str| {
        Err(Problem::new(
            Code::ImpossibleContent,
            place,
            format!("the contents need {needed} bytes, `{keyword}` allows {limit}"),
        ))
    };
    let dsize = builder.signature.packet.iter().find_map(|test| match test {
        PacketTest::PayloadSize(compare) => upper_bound(*compare),
        _ => None,
    });
    if let Some(limit) = dsize {
        let payload = builder
            .items
            .iter()
            .filter(|item| item.list == 0 && item.decoded.is_none());
        let (needed, place) = needed(payload);
        if needed > limit as i64 {
            return impossible(place, needed, limit, "dsize");
        }
    }
    for list in 1..builder.lists.len() {
        let inside = || {
            builder
                .items
                .iter()
                .filter(move |item| item.list == list && item.decoded.is_none())
        };
        let limit = inside().find_map(|item| match item.test {
            Test::Size(compare) => upper_bound(compare),
            _ => None,
        });
        if let Some(limit) = limit {
            let (needed, place) = needed(inside());
            if i64::try_from(limit).is_ok_and(|limit| needed > limit) {
                return impossible(place, needed, limit, "bsize");
            }
        }
    }
    Ok(())
}

/// `absent` stands alone, `absent:or_else` does not.
fn absent(builder: &Builder<'_, '_>, list: usize) -> Result<(), Problem> {
    let Some(or_else) = builder.lists[list].absent else {
        return Ok(());
    };
    let span = builder.lists[list].span;
    let mut tests = builder.items.iter().filter(|item| item.list == list);
    if tests.any(|item| item.fast_pattern.is_some()) {
        return Err(Problem::new(
            Code::FastPatternConflict,
            span,
            "a buffer that may be absent cannot hold the fast pattern",
        ));
    }
    let other = builder.items.iter().any(|item| item.list == list);
    match (or_else, other) {
        (false, true) => Err(Problem::new(
            Code::ModifierConflict,
            span,
            "the buffer is to be absent and to be looked at",
        )
        .help("write `absent: or_else;`")),
        (true, false) => Err(Problem::new(
            Code::ModifierConflict,
            span,
            "`absent: or_else` needs another test of the buffer",
        )),
        _ => Ok(()),
    }
}

/// Contents that the normalised host and method buffers can never hold.
fn host_and_method(builder: &mut Builder<'_, '_>) -> Result<(), Problem> {
    let mut notes = Vec::new();
    for item in &builder.items {
        let Test::Content(content) = &item.test else {
            continue;
        };
        let list = &builder.lists[item.list];
        let name = list.row.map_or("", |row| row.name);
        let plain = list.transforms.is_empty() && item.decoded.is_none();
        if name == "http.host" && plain {
            if content.nocase {
                let message = "`nocase` changes nothing in `http.host`";
                notes.push(Problem::new(Code::NocaseHost, item.span, message));
            } else if content.bytes.iter().any(u8::is_ascii_uppercase) {
                let message = "upper-case letters in a content of `http.host`";
                return Err(Problem::new(Code::UppercaseHost, item.span, message)
                    .help("write it in lower case, or look at http.host.raw"));
            }
        }
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if name == "http.method"
            && plain
            && (blank(content.bytes.first()) || blank(content.bytes.last()))
        {
            let message = "a blank at the edge of a content of `http.method`";
            return Err(Problem::new(Code::TrailingSpace, item.span, message)
                .help("remove the blank; write `endswith` to match the whole method"));
        }
    }
    builder.problems.extend(notes);
    Ok(())
}
