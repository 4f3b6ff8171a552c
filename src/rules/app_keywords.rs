//! Keywords of application protocols that are no buffers: numbers and enumerations of a
//! transaction, events, and old keywords that put a content into a buffer.
//!
//! One table: keyword ─► the field it looks at and how its value reads. The fields themselves are
//! app/field.rs's; a keyword whose field no parser fills makes its rule unsupported.

use crate::app::tls::state;
use crate::app::{Field, Progress, registry};
use crate::packet::Direction;
use crate::rules::app_readings;
use crate::rules::app_words;
use crate::rules::argument::Argument;
use crate::rules::content;
use crate::rules::dataset_keywords;
use crate::rules::diagnostic::{Code, Problem, nearest};
use crate::rules::keyword::Side;
use crate::rules::keyword_table;
use crate::rules::lex::shorten;
use crate::rules::modbus_keyword;
use crate::rules::number;
use crate::rules::parse::Builder;
use crate::rules::rpc_keywords;
use crate::rules::signature::{AppTest, Buffer, Compare, Content, Pcre, Protocol, Test, Which};
use crate::rules::support;

/// How the value of a keyword reads.
#[derive(Clone, Copy)]
enum Reading {
    /// A comparison with numbers up to this.
    Number(u64),
    /// One of these words, or a comparison.
    Words(&'static [(&'static str, u64)]),
    /// Words or numbers between these separators; any of them.
    AnyOf(char, &'static [(&'static str, u64)]),
    /// A function of its own.
    Own(fn(&str) -> Option<Vec<Compare>>),
    /// One of these words or a comparison up to a number, and behind a comma which instances are
    /// meant, and which part of them; or how many there are (the guide's multi-integers).
    Indexed(&'static [(&'static str, u64)], u64),
    /// Words for bits behind `+`, `*`, `-` or `=`, each of them with `!` or not, or a comparison.
    Bits(&'static [(&'static str, u64)], u64),
    /// No value: the number must not be 0.
    Flag,
}

/// Keywords that look at a field of the same name.
const ROWS: &[(&str, Reading)] = &[
    ("ntp.version", Reading::Number(7)),
    (
        "ntp.mode",
        Reading::Words(&[
            ("reserved", 0),
            ("symmetric_active", 1),
            ("symmetric_passive", 2),
            ("client", 3),
            ("server", 4),
            ("broadcast", 5),
            ("control", 6),
            ("private", 7),
        ]),
    ),
    ("ntp.stratum", Reading::Number(255)),
    ("filesize", Reading::Number(u64::MAX)),
    ("ftpbounce", Reading::Flag),
    (
        "krb5_msg_type",
        Reading::AnyOf(',', app_readings::KRB5_MESSAGES),
    ),
    ("krb5_err_code", Reading::Number(u32::MAX as u64)),
    (
        "krb5.ticket_encryption",
        Reading::Own(app_readings::ticket_encryption),
    ),
    (
        "ike.chosen_sa_attribute",
        Reading::Own(app_readings::sa_attribute),
    ),
    ("ike.exchtype", Reading::Number(255)),
    (
        "ike.key_exchange_payload_length",
        Reading::Number(u32::MAX as u64),
    ),
    ("ike.nonce_payload_length", Reading::Number(u32::MAX as u64)),
    ("dnp3_func", Reading::Words(app_readings::DNP3_FUNCTIONS)),
    ("dnp3_ind", Reading::Own(app_readings::dnp3_indications)),
    ("dnp3_obj", Reading::Own(app_readings::dnp3_object)),
    ("nfs.version", Reading::Own(nfs_version)),
    ("dhcp.leasetime", Reading::Number(u64::MAX)),
    ("dhcp.rebinding_time", Reading::Number(u64::MAX)),
    ("dhcp.renewal_time", Reading::Number(u64::MAX)),
    ("cip_service", Reading::Own(app_readings::cip_service)),
    ("enip_command", Reading::Words(app_readings::ENIP_COMMANDS)),
    ("enip.status", Reading::Words(app_readings::ENIP_STATUS)),
    ("enip.revision", Reading::Own(app_readings::enip_revision)),
    ("enip.capabilities", Reading::Number(u16::MAX as u64)),
    ("enip.cip_attribute", Reading::Indexed(&[], u32::MAX as u64)),
    ("enip.cip_class", Reading::Indexed(&[], u32::MAX as u64)),
    ("enip.cip_extendedstatus", Reading::Number(u16::MAX as u64)),
    ("enip.cip_instance", Reading::Indexed(&[], u32::MAX as u64)),
    ("enip.cip_status", Reading::Number(255)),
    ("enip.device_type", Reading::Number(u16::MAX as u64)),
    ("enip.identity_status", Reading::Number(u16::MAX as u64)),
    ("enip.product_code", Reading::Number(u16::MAX as u64)),
    ("enip.protocol_version", Reading::Number(u16::MAX as u64)),
    ("enip.serial", Reading::Number(u32::MAX as u64)),
    ("enip.state", Reading::Number(255)),
    ("enip.vendor_id", Reading::Number(u16::MAX as u64)),
    ("smb.version", Reading::Own(smb_version)),
    ("ssl_state", Reading::Own(ssl_state)),
    ("ssl_version", Reading::Own(ssl_version)),
    ("tls.version", Reading::Own(tls_version)),
    ("tls_cert_notbefore", Reading::Own(app_readings::date)),
    ("tls_cert_notafter", Reading::Own(app_readings::date)),
    ("tls_cert_expired", Reading::Flag),
    ("tls_cert_valid", Reading::Flag),
    ("tls.cert_chain_len", Reading::Number(u32::MAX as u64)),
    (
        "http2.frametype",
        Reading::Indexed(app_readings::HTTP2_FRAMES, 255),
    ),
    (
        "http2.errorcode",
        Reading::Indexed(app_readings::HTTP2_ERRORS, u32::MAX as u64),
    ),
    ("http2.priority", Reading::Indexed(&[], 255)),
    ("http2.window", Reading::Indexed(&[], u32::MAX as u64)),
    ("http2.size_update", Reading::Number(u64::MAX)),
    ("http2.settings", Reading::Own(app_readings::http2_settings)),
    (
        "websocket.opcode",
        Reading::Words(&[
            ("continuation", 0),
            ("text", 1),
            ("binary", 2),
            ("close", 8),
            ("ping", 9),
            ("pong", 10),
        ]),
    ),
    ("websocket.mask", Reading::Number(u32::MAX as u64)),
    ("websocket.flags", Reading::Bits(WEBSOCKET_FLAGS, 255)),
    ("dns.opcode", Reading::Number(255)),
    ("dns.rcode", Reading::Words(app_words::DNS_RCODES)),
    ("dns.rrtype", Reading::Indexed(app_words::DNS_TYPES, 65_535)),
    ("ftpdata_command", Reading::Words(app_words::FTP_TRANSFERS)),
    ("ftp.dynamic_port", Reading::Number(65_535)),
    ("ftp.mode", Reading::Words(app_words::FTP_MODES)),
    ("ftp.reply_received", Reading::Words(app_words::TRUTH)),
    ("snmp.version", Reading::Number(u32::MAX as u64)),
    ("snmp.pdu_type", Reading::Words(app_words::SNMP_PDUS)),
    ("snmp.trap_type", Reading::Words(app_words::SNMP_TRAPS)),
    ("mqtt.type", Reading::Indexed(app_words::MQTT_TYPES, 255)),
    ("mqtt.reason_code", Reading::Indexed(&[], 255)),
    ("mqtt.connack.return_code", Reading::Number(255)),
    (
        "mqtt.connack.session_present",
        Reading::Words(app_words::TRUTH),
    ),
    ("mqtt.qos", Reading::Number(2)),
    ("mqtt.flags", Reading::Bits(app_words::MQTT_FLAGS, 255)),
    (
        "mqtt.connect.flags",
        Reading::Bits(app_words::MQTT_CONNECT_FLAGS, 255),
    ),
    ("mqtt.protocol_version", Reading::Number(255)),
    ("rfb.sectype", Reading::Number(u32::MAX as u64)),
    ("rfb.secresult", Reading::Words(app_words::RFB_RESULTS)),
    (
        "ldap.request.operation",
        Reading::Words(app_words::LDAP_OPERATIONS),
    ),
    (
        "ldap.responses.operation",
        Reading::Indexed(app_words::LDAP_OPERATIONS, 255),
    ),
    ("ldap.responses.count", Reading::Number(u32::MAX as u64)),
    (
        "ldap.responses.result_code",
        Reading::Indexed(app_words::LDAP_RESULTS, u32::MAX as u64),
    ),
];

/// Bits of the first byte of a WebSocket frame (RFC 6455 5.2, RFC 7692 6).
const WEBSOCKET_FLAGS: &[(&str, u64)] = &[("fin", 0x80), ("comp", 0x40)];

/// A comparison, or words for bits: `fin,!comp`, `*fin,comp` (any), `-fin` (not all), `=fin` (these
/// and no others).
fn bits(words: &[(&str, u64)], max: u64, text: &str) -> Option<Vec<Compare>> {
    if let Some(compare) = number::compare(text, max) {
        return Some(vec![compare]);
    }
    let text = text.trim_start();
    let modifier = text
        .chars()
        .next()
        .filter(|c| matches!(c, '+' | '*' | '-' | '='));
    let text = text.get(usize::from(modifier.is_some())..)?;
    let (mut mask, mut value) = (0, 0);
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        let bare = word.trim_start_matches('!');
        let (_, bit) = words
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(bare))?;
        if mask & bit != 0 {
            return None;
        }
        mask |= bit;
        value |= if bare.len() == word.len() { *bit } else { 0 };
    }
    let masked = |value, negated| Compare::Mask {
        mask,
        value,
        negated,
    };
    let compare = match modifier {
        Some('=') => Compare::Equal(mask),
        Some('*') => masked(0, true),
        Some('-') => masked(value, true),
        _ => masked(value, false),
    };
    (mask != 0).then_some(vec![compare])
}

/// Messages of a TLS handshake, as app/tls.rs tells them.
const SSL_STATES: &[(&str, u64)] = &[
    ("client_hello", state::CLIENT_HELLO),
    ("server_hello", state::SERVER_HELLO),
    ("client_keyx", state::CLIENT_KEYX),
    ("server_keyx", state::SERVER_KEYX),
    ("unknown", state::UNKNOWN),
];

/// `ssl_state:client_hello|!server_hello`.
fn ssl_state(text: &str) -> Option<Vec<Compare>> {
    text.split([',', '|'])
        .map(|part| word(SSL_STATES, u64::MAX, part.trim()))
        .collect()
}

/// `nfs.version:3-4`, both counted.
fn nfs_version(text: &str) -> Option<Vec<Compare>> {
    Some(vec![number::compare_inclusive(text, u64::from(u32::MAX))?])
}

/// TLS 1.3 and its drafts.
const TLS_13: [Compare; 2] = [Compare::Equal(0x0304), Compare::Between(0x7eff, 0x8000)];

/// Versions of TLS by name.
const SSL_VERSIONS: &[(&str, &[Compare])] = &[
    ("sslv2", &[Compare::Equal(0x0200)]),
    ("sslv3", &[Compare::Equal(0x0300)]),
    ("tls1.0", &[Compare::Equal(0x0301)]),
    ("tls1.1", &[Compare::Equal(0x0302)]),
    ("tls1.2", &[Compare::Equal(0x0303)]),
    ("tls1.3", &TLS_13),
];

/// `ssl_version:tls1.0,tls1.1`, or with `!` before the list: one of the others.
fn ssl_version(text: &str) -> Option<Vec<Compare>> {
    let text = text.trim_start();
    let (negated, list) = match text.strip_prefix('!') {
        Some(list) => (true, list),
        None => (false, text),
    };
    let mut named = [false; SSL_VERSIONS.len()];
    for word in list.split([',', ' ']).filter(|word| !word.is_empty()) {
        let place = SSL_VERSIONS
            .iter()
            .position(|(known, _)| known.eq_ignore_ascii_case(word))?;
        if std::mem::replace(named.get_mut(place)?, true) {
            return None;
        }
    }
    let wanted = named.iter().map(|named| *named != negated);
    let versions = SSL_VERSIONS
        .iter()
        .zip(wanted)
        .filter(|(_, wanted)| *wanted);
    let any_of: Vec<Compare> = versions.flat_map(|((_, c), _)| c.iter().copied()).collect();
    (!any_of.is_empty()).then_some(any_of)
}

/// `tls.version:1.2` or the number itself as `0x0303`.
fn tls_version(text: &str) -> Option<Vec<Compare>> {
    let text = text.trim().trim_matches('"');
    match text {
        "1.0" => Some(vec![Compare::Equal(0x0301)]),
        "1.1" => Some(vec![Compare::Equal(0x0302)]),
        "1.2" => Some(vec![Compare::Equal(0x0303)]),
        "1.3" => Some(TLS_13.to_vec()),
        _ => {
            let digits = text.strip_prefix("0x").filter(|rest| rest.len() == 4)?;
            let version = u64::from_str_radix(digits, 16).ok()?;
            Some(vec![Compare::Equal(version)])
        }
    }
}

/// Buffers whose letters have one case: contents are given it, whatever the rule wrote.
pub fn set_letter_case(buffer: &Buffer, tests: &mut [Test]) {
    let upper = match buffer {
        Buffer::App(name) => match &**name {
            "tls.cert_serial" => true,
            "tls.cert_fingerprint"
            | "ja3.hash"
            | "ja3s.hash"
            | "ssh.hassh"
            | "ssh.hassh.server" => false,
            _ => return,
        },
        _ => return,
    };
    for test in tests {
        if let Test::Content(content) = test {
            if upper {
                content.bytes.make_ascii_uppercase();
            } else {
                content.bytes.make_ascii_lowercase();
            }
        }
    }
}

/// `smb.version:1` or `:2` (`2` is SMB2 and SMB3).
fn smb_version(text: &str) -> Option<Vec<Compare>> {
    match text {
        "1" => Some(vec![Compare::Equal(1)]),
        "2" => Some(vec![Compare::Equal(2)]),
        _ => None,
    }
}

/// Keywords about each file.
const PER_FILE: &[&str] = &[
    "filename",
    "fileext",
    "filemagic",
    "filemd5",
    "filesha1",
    "filesha256",
    "filesize",
];

/// Reads a test of an application protocol that is no buffer.
pub fn parse<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let name = argument.keyword.name;
    builder.signature.per_file |= PER_FILE.contains(&name);
    match name {
        "app-layer-event" => return event(builder, argument),
        "app-layer-state" => return state(builder, &argument),
        "urilen" => return urilen(builder, argument),
        "dcerpc.iface" => return rpc_keywords::interface(builder, argument),
        "modbus" => return modbus_keyword::parse(builder, argument),
        "nfs_procedure" => return rpc_keywords::nfs_procedure(builder, argument),
        "filemd5" | "filesha1" | "filesha256" => {
            return dataset_keywords::hash_list(builder, argument);
        }
        "dcerpc.opnum" => return rpc_keywords::operation(builder, argument),
        "tls.store" | "tls_store" => {
            // It is no condition, and Suricata keeps none where no folder is set for them.
            let message = format!("`{name}` keeps no certificates here");
            builder
                .problems
                .push(Problem::new(Code::NotStored, argument.name, message));
            return Ok(());
        }
        _ => {}
    }
    if let Some((buffer, shape)) = content_of(name) {
        return in_buffer(builder, argument, buffer, shape);
    }
    let row = ROWS.iter().find(|(known, _)| *known == name);
    let field = Field::by_name(name).filter(|field| registry::fills(*field));
    let (Some((_, reading)), Some(field)) = (row, field) else {
        builder.executable(name, false);
        return Ok(());
    };
    let bad = || argument.bad(format!("`{}` is no value of `{name}`", argument.text));
    let (side, text) = side_of(argument.text);
    if let Some(side) = side {
        let needed = match side {
            Direction::ToServer => Side::ToServer,
            Direction::ToClient => Side::ToClient,
        };
        builder.need_side(needed, argument.name);
    }
    let (text, which, slice) = match reading {
        Reading::Indexed(..) => indexed(text).ok_or_else(bad)?,
        _ => (text, Which::Any, (0, 0)),
    };
    let any_of = match which {
        Which::Count(_) => Vec::new(),
        _ => read(*reading, text).ok_or_else(bad)?,
    };
    builder.signature.app.push(AppTest {
        side,
        field,
        any_of,
        negated: argument.negated,
        which,
        slice,
    });
    Ok(())
}

/// A direction before the value (`to_client, <100`).
fn side_of(text: &str) -> (Option<Direction>, &str) {
    match text.split_once(',').map(|(side, rest)| (side.trim(), rest)) {
        Some(("to_server", rest)) => (Some(Direction::ToServer), rest.trim()),
        Some(("to_client", rest)) => (Some(Direction::ToClient), rest.trim()),
        _ => (None, text),
    }
}

/// `VALUE[,WHICH[,START:END]]` or `count COMPARISON`: the value's text, which instances, the slice.
pub fn indexed(text: &str) -> Option<(&str, Which, (i32, i32))> {
    const INSTANCES_MAX: u64 = u32::MAX as u64;
    let mut parts = text.split(',').map(str::trim);
    let value = parts.next()?;
    let which = match parts.next() {
        None => match value.strip_prefix("count") {
            Some(count) => Which::Count(number::compare(count.trim_start(), INSTANCES_MAX)?),
            None => Which::Any,
        },
        Some("any") => Which::Any,
        Some("or_absent") => Which::AnyOrNone,
        Some("all") => Which::All,
        Some("all_or_absent") => Which::AllOrNone,
        Some(word) => match (word.strip_prefix("oob_or"), word.strip_prefix("nb")) {
            (Some(place), _) => Which::AtOrOut(place.trim_start().parse().ok()?),
            (_, Some(count)) => Which::Matches(number::compare(count.trim_start(), INSTANCES_MAX)?),
            _ => Which::At(word.parse().ok()?),
        },
    };
    let slice = match parts.next() {
        Some(slice) => {
            let (start, end) = slice.split_once(':')?;
            let (start, end): (i32, i32) = (start.parse().ok()?, end.parse().ok()?);
            if start.signum() == end.signum() && start != 0 && end <= start {
                return None;
            }
            (start, end)
        }
        None => (0, 0),
    };
    parts.next().is_none().then_some((value, which, slice))
}

/// Adds a comparison of a number, where the words of a keyword were read elsewhere.
pub fn number_test(
    builder: &mut Builder<'_, '_>,
    argument: &Argument<'_>,
    field: Field,
    any_of: Vec<Compare>,
) {
    builder.executable(argument.keyword.name, registry::fills(field));
    builder.signature.app.push(AppTest {
        side: None,
        field,
        any_of,
        negated: argument.negated,
        which: Which::Any,
        slice: (0, 0),
    });
}

fn read(reading: Reading, text: &str) -> Option<Vec<Compare>> {
    match reading {
        Reading::Number(max) => Some(vec![number::compare(text, max)?]),
        Reading::Words(words) => Some(vec![word(words, u64::MAX, text)?]),
        Reading::Indexed(words, max) => Some(vec![word(words, max, text)?]),
        Reading::Bits(words, max) => bits(words, max, text),
        Reading::AnyOf(separator, words) => text
            .split(separator)
            .map(|part| word(words, u64::MAX, part.trim()))
            .collect(),
        Reading::Own(read) => read(text),
        Reading::Flag => Some(vec![Compare::NotEqual(0)]),
    }
}

fn word(words: &[(&str, u64)], max: u64, text: &str) -> Option<Compare> {
    let (negated, bare) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    match words
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(bare))
    {
        Some((_, value)) if negated => Some(Compare::NotEqual(*value)),
        Some((_, value)) => Some(Compare::Equal(*value)),
        None => number::compare(text, max),
    }
}

/// The test of a hook (`tls:client_hello_done`): its state has been reached.
pub fn hook(hook: registry::Hook) -> AppTest {
    let (side, any_of, which) = match hook {
        registry::Hook::Told(state) => (None, vec![Compare::Equal(state)], Which::Any),
        registry::Hook::Reached(side, progress) => {
            (Some(side), Vec::new(), Which::Reached(progress))
        }
    };
    AppTest {
        side,
        field: Field::Hook,
        any_of,
        negated: false,
        which,
        slice: (0, 0),
    }
}

/// `app-layer-state:STATE`: as a hook; `<STATE`: the transaction is looked at before it comes there
/// (which the cut of the bytes decides, as the rule asks for it); `>STATE`: it has come further.
fn state(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let Protocol::App(protocol) = &builder.signature.header.protocol else {
        return Err(argument.problem(
            Code::ProtocolConflict,
            "`app-layer-state` needs an application protocol in the header",
        ));
    };
    let bare = argument.text.trim_start_matches(['<', '>']);
    let Some(found) = registry::hook(protocol, bare) else {
        return Err(argument.bad(format!(
            "`{}` is not a state of `{protocol}`",
            shorten(bare)
        )));
    };
    let mut test = hook(found);
    match argument.text.strip_suffix(bare) {
        Some("<") => before(protocol, found, &mut test),
        Some(">") => beyond(protocol, found, &mut test),
        Some("") => {}
        _ => return Err(argument.bad("one `<` or `>` at most stands before a state")),
    }
    builder.signature.app.push(test);
    Ok(())
}

/// The test of `<STATE`, from the hook's.
fn before(protocol: &str, hook: registry::Hook, test: &mut AppTest) {
    match hook {
        registry::Hook::Told(state) => {
            let (side, states) = registry::told_states(protocol, state);
            test.side = Some(side);
            test.any_of = states
                .filter(|told| *told >= state)
                .map(Compare::Equal)
                .collect();
            test.which = Which::NotYet(None);
        }
        registry::Hook::Reached(_, progress) => test.which = Which::NotYet(Some(progress)),
    }
}

/// The test of `>STATE`, from the hook's.
fn beyond(protocol: &str, hook: registry::Hook, test: &mut AppTest) {
    match hook {
        registry::Hook::Told(state) => {
            let (_, states) = registry::told_states(protocol, state);
            test.any_of = states
                .filter(|told| *told > state)
                .map(Compare::Equal)
                .collect();
        }
        registry::Hook::Reached(_, Progress::Open) => test.which = Which::Reached(Progress::Head),
        registry::Hook::Reached(_, Progress::Head) => {
            test.which = Which::Reached(Progress::Complete);
        }
        // Nothing comes after the end.
        registry::Hook::Reached(_, Progress::Complete) => test.which = Which::Any,
    }
}

/// `app-layer-event:PROTOCOL.NAME`.
fn event(builder: &mut Builder<'_, '_>, argument: Argument<'_>) -> Result<(), Problem> {
    match registry::event(argument.text) {
        Some(event) => builder.signature.app.push(AppTest {
            side: None,
            field: Field::AppLayerEvent,
            any_of: vec![Compare::Equal(u64::from(event.0))],
            negated: false,
            which: Which::Any,
            slice: (0, 0),
        }),
        None => {
            let problem = argument.bad(format!("`{}` is not an event", shorten(argument.text)));
            let known = registry::event_names();
            return Err(
                match nearest(argument.text, known.iter().map(String::as_str)) {
                    Some(known) => problem.help(format!("did you mean `{known}`?")),
                    None => {
                        problem.help("events are PROTOCOL.NAME, as in the protocol's event rules")
                    }
                },
            );
        }
    }
    Ok(())
}

/// `urilen:COMPARE[,raw|norm]`: the size of a buffer.
fn urilen<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let (value, kind) = match argument.text.split_once(',') {
        Some((value, kind)) => (value.trim(), kind.trim()),
        None => (argument.text, "norm"),
    };
    let buffer = match kind {
        "norm" => "http.uri",
        "raw" => "http.uri.raw",
        _ => return Err(argument.bad("`norm` or `raw` can follow the length")),
    };
    // A range without a number in it is written in real rules; it never matches.
    let range = || {
        let (low, high) = value.split_once("<>")?;
        let (low, high) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        (low < high).then_some(Compare::Between(low, high))
    };
    let Some(compare) = number::compare(value, u64::from(u16::MAX)).or_else(range) else {
        return Err(argument.bad(format!("`{value}` is not a length")));
    };
    builder.executable("urilen", support::buffer(buffer));
    let Some(row) = keyword_table::BUFFERS.iter().find(|b| b.name == buffer) else {
        return Err(argument.problem(Code::BadValue, "no such buffer"));
    };
    builder.need_side(row.side, argument.name);
    let list = builder.list(row, argument.name);
    builder.push_to(list, Test::Size(compare), argument.span);
    Ok(())
}

/// How an old keyword's text becomes a content.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// Anywhere.
    Contains,
    /// Anywhere, whatever the case.
    ContainsNocase,
    /// At the end after a dot, whatever the case.
    Extension,
    /// All of it.
    Whole,
}

/// The buffer behind an old keyword whose value is a text to find.
fn content_of(name: &str) -> Option<(&'static str, Shape)> {
    Some(match name {
        "tls.subject" => ("tls.cert_subject", Shape::Contains),
        "tls.issuerdn" => ("tls.cert_issuer", Shape::Contains),
        "tls.fingerprint" => ("tls.cert_fingerprint", Shape::Contains),
        "ssh.protoversion" => ("ssh.proto", Shape::Whole),
        "ssh.softwareversion" => ("ssh.software", Shape::Contains),
        "filename" => ("file.name", Shape::ContainsNocase),
        "fileext" => ("file.name", Shape::Extension),
        "filemagic" => ("file.magic", Shape::ContainsNocase),
        _ => return None,
    })
}

fn in_buffer<'a>(
    builder: &mut Builder<'a, '_>,
    argument: Argument<'a>,
    buffer: &'static str,
    shape: Shape,
) -> Result<(), Problem> {
    builder.executable(argument.keyword.name, support::buffer(buffer));
    let Some(row) = keyword_table::BUFFERS.iter().find(|b| b.name == buffer) else {
        return Err(argument.problem(Code::BadValue, "no such buffer"));
    };
    let text = argument.text.trim_matches('"');
    if argument.keyword.name == "ssh.protoversion" && text == "2_compat" {
        // Both versions in which the second protocol is spoken (RFC 4253 5.1).
        let pattern = b"^(?:2\\.0|1\\.99)$";
        let test = Test::Pcre(Pcre {
            pattern: pattern.as_slice().into(),
            negated: argument.negated,
            ..Pcre::default()
        });
        let list = builder.list(row, argument.name);
        builder.push_to(list, test, argument.span);
        return Ok(());
    }
    let mut bytes = content::bytes(text, argument.span)?.into_vec();
    if shape == Shape::Extension {
        bytes.insert(0, b'.');
    }
    let test = Test::Content(Content {
        bytes: bytes.into(),
        negated: argument.negated,
        nocase: !matches!(shape, Shape::Contains | Shape::Whole),
        startswith: shape == Shape::Whole,
        endswith: matches!(shape, Shape::Extension | Shape::Whole),
        ..Content::default()
    });
    let list = builder.list(row, argument.name);
    builder.push_to(list, test, argument.span);
    Ok(())
}
