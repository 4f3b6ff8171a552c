//! Keywords that test headers, events, sizes and counts of packets and flows.
//!
//! Each becomes one `PacketTest`. Numbers take the forms of number.rs where the guide says so; the
//! older keywords take less and say so.

use crate::rules::app_keywords::indexed;
use crate::rules::argument::Argument;
use crate::rules::countries;
use crate::rules::diagnostic::{Code, Problem};
use crate::rules::header::ip_protocol;
use crate::rules::lex::shorten;
use crate::rules::number::{self, by_symbol};
use crate::rules::parse::Builder;
use crate::rules::reputation;
use crate::rules::signature::*;
use crate::rules::support;

/// Options that `ipopts` knows.
const IP_OPTIONS: &[&str] = &[
    "ts", "rr", "qs", "sec", "lsrr", "esec", "cipso", "satid", "ssrr", "rtralt", "eol", "nop",
    "any",
];
/// VLAN layers that can be addressed.
const VLAN_LAYERS_MAX: i32 = 3;

/// Reads a packet keyword.
pub fn parse<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let name = argument.keyword.name;
    if name != "decode-event" {
        builder.facts.other_event = true;
    }
    let test = match name {
        "dsize" => {
            builder.once(&argument)?;
            builder.places.payload_size = Some(argument.span);
            PacketTest::PayloadSize(compare(&argument, 65_535)?)
        }
        "ttl" => PacketTest::Ttl(compare(&argument, 255)?),
        "itype" => PacketTest::IcmpType(compare(&argument, 255)?),
        "igmp.type" => PacketTest::IgmpType(compare(&argument, 255)?),
        "icode" => PacketTest::IcmpCode(compare(&argument, 255)?),
        "icmpv6.mtu" => PacketTest::Icmpv6Mtu(compare(&argument, u32::MAX.into())?),
        "tcp.mss" => PacketTest::TcpMss(compare(&argument, 65_535)?),
        "tcp.wscale" => PacketTest::TcpWscale(compare(&argument, 255)?),
        "sctp.chunk_cnt" => PacketTest::SctpChunkCount(compare(&argument, 65_535)?),
        "sctp.chunk_type" => PacketTest::SctpChunkType(chunk_type(&argument)?),
        "sctp.vtag" => PacketTest::SctpVtag(compare(&argument, u32::MAX.into())?),
        "flow.age" => PacketTest::FlowAge(compare(&argument, u32::MAX.into())?),
        "vlan.layers" => PacketTest::VlanLayers(compare(&argument, 3)?),
        "tcp.seq" => PacketTest::TcpSeq(compare(&argument, u32::MAX.into())?),
        "tcp.ack" => PacketTest::TcpAck(compare(&argument, u32::MAX.into())?),
        "id" => PacketTest::IpId(compare(&argument, 65_535)?),
        "icmp_id" => PacketTest::IcmpId(compare(&argument, 65_535)?),
        "icmp_seq" => PacketTest::IcmpSeq(compare(&argument, 65_535)?),
        "tcp.window" => PacketTest::TcpWindow(compare(&argument, 65_535)?),
        "tos" => PacketTest::Tos(tos(&argument)?),
        "ip_proto" => ip_proto(builder, &argument)?,
        "ipopts" => ip_option(builder, &argument)?,
        "fragbits" => fragbits(builder, &argument)?,
        "fragoffset" => PacketTest::FragOffset(compare(&argument, 65_535)?),
        "sameip" => PacketTest::SameIp,
        "l3_proto" => ip_version(&argument)?,
        "tcp.flags" => tcp_flags(&argument)?,
        "vlan.id" => vlan_id(&argument)?,
        "stream_size" => stream_size(&argument)?,
        "app-layer-protocol" => app_protocol(builder, &argument)?,
        "rpc" => rpc(&argument)?,
        "tcp.session" => PacketTest::TcpSession(phases(&argument)?),
        "iprep" => return reputation::parse(builder, argument),
        "geoip" => return countries::parse(builder, argument),
        "decode-event" | "stream-event" | "engine-event" => return event(builder, &argument),
        "flow.elephant" => PacketTest::FlowElephant(flow_side(&argument, argument.text)?),
        _ if name.starts_with("flow.") => flow_count(&argument)?,
        _ => checksum(&argument)?,
    };
    builder.signature.packet.push(test);
    Ok(())
}

/// A comparison of a number up to `max`.
fn compare(argument: &Argument<'_>, max: u64) -> Result<Compare, Problem> {
    number::compare(argument.text, max).ok_or_else(|| {
        let shown = shorten(argument.text);
        argument
            .bad(format!("`{shown}` is not a comparison that can match"))
            .help("forms are 5, !5, <5, <=5, >5, >=5, 5-9 (both ends excluded), &0xf0=0x20")
    })
}

/// `tos:[!]n` or `tos:[!]xNN`.
fn tos(argument: &Argument<'_>) -> Result<Compare, Problem> {
    let text = argument.text.trim();
    let value = match text.strip_prefix(['x', 'X']) {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let value = value
        .map(u64::from)
        .ok_or_else(|| argument.bad(format!("`{}` is not a TOS value", shorten(text))))?;
    Ok(if argument.negated {
        Compare::NotEqual(value)
    } else {
        Compare::Equal(value)
    })
}

/// `ip_proto:[!<>]number or name`.
fn ip_proto(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<PacketTest, Problem> {
    let protocol = &builder.signature.header.protocol;
    if !matches!(
        protocol,
        Protocol::Ip | Protocol::Ipv4 | Protocol::Ipv6 | Protocol::PacketHeader
    ) {
        return Err(argument
            .problem(Code::ProtocolConflict, "`ip_proto` needs the protocol `ip`")
            .help("the header names a protocol already"));
    }
    let text = argument.text.trim();
    let bare = text.trim_start_matches(['!', '<', '>']).trim();
    let Some(value) = ip_protocol(bare).map(u64::from) else {
        let message = format!("`{}` is not an IP protocol", shorten(bare));
        return Err(argument.bad(message));
    };
    let compare = match text.as_bytes().first() {
        Some(b'!') => Compare::NotEqual(value),
        Some(b'<') => Compare::Less(value),
        Some(b'>') => Compare::Greater(value),
        _ => Compare::Equal(value),
    };
    let before = builder.signature.packet.iter().find_map(|test| match test {
        PacketTest::IpProtocol(before) if protocols_conflict(*before, compare) => Some(*before),
        _ => None,
    });
    match before {
        Some(_) => Err(argument
            .bad(format!(
                "`{}` and an `ip_proto` before it exclude each other",
                shorten(text)
            ))
            .help(
                "several may stand together if they are !N, one >N and one <N with room between",
            )),
        None => Ok(PacketTest::IpProtocol(compare)),
    }
}

/// Whether two `ip_proto` cannot stand in one rule: a plain number stands alone, `<` and `>` stand once,
/// and something must lie between.
fn protocols_conflict(before: Compare, now: Compare) -> bool {
    match (before, now) {
        (Compare::Equal(_), _) | (_, Compare::Equal(_)) => true,
        (Compare::Less(_), Compare::Less(_)) | (Compare::Greater(_), Compare::Greater(_)) => true,
        (Compare::Less(high), Compare::Greater(low))
        | (Compare::Greater(low), Compare::Less(high)) => high <= low,
        _ => false,
    }
}

fn ip_option(
    builder: &mut Builder<'_, '_>,
    argument: &Argument<'_>,
) -> Result<PacketTest, Problem> {
    let lower = argument.text.to_ascii_lowercase();
    if lower == "any" {
        let message = "`any` asks for all options at once: this matches no packet";
        let problem = Problem::new(Code::NoEffect, argument.span, message);
        builder
            .problems
            .push(problem.help("write a rule for each option that is meant"));
    }
    if IP_OPTIONS.contains(&lower.as_str()) {
        return Ok(PacketTest::IpOption(lower.into()));
    }
    let message = format!("`{}` is not an IP option", shorten(argument.text));
    Err(argument
        .bad(message)
        .help(format!("options are {}", IP_OPTIONS.join(", "))))
}

/// `fragbits:[*+!-=]MDR`, or a comparison of the word that has them.
fn fragbits(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<PacketTest, Problem> {
    if let Some(compare) = number::compare(argument.text, 65_535) {
        return Ok(PacketTest::FragWord(compare));
    }
    let (mut bits, mut modifier) = (0u8, 0u8);
    for (at, c) in argument.text.char_indices() {
        match c {
            'M' | 'm' => bits |= 1,
            'D' | 'd' => bits |= 2,
            'R' | 'r' => bits |= 4,
            '+' | '*' | '!' if bits == 0 => modifier = c as u8,
            '-' if bits == 0 => modifier = b'!',
            ' ' => {}
            '=' if bits == 0 => {}
            _ if bits != 0 => {
                let rest = shorten(argument.text.get(at..).unwrap_or(""));
                let message = format!("`{rest}` behind the bits is ignored");
                let problem = Problem::new(Code::TrailingText, argument.span, message);
                let problem = problem.help("bits are M, D and R, with + * ! - or = before them");
                builder.problems.push(problem);
                break;
            }
            _ => {
                return Err(argument
                    .bad(format!("`{c}` is not a fragment bit"))
                    .help("bits are M, D and R, with + * ! - or = before them"));
            }
        }
    }
    if bits == 0 {
        return Err(argument.bad("no fragment bit is named"));
    }
    Ok(PacketTest::FragBits { bits, modifier })
}

/// Bits that letters name; `None` if one names none.
fn flag_bits(text: &str) -> Option<u8> {
    let mut bits = 0;
    for c in text.chars() {
        let bit = match c.to_ascii_uppercase() {
            'F' => 0x01,
            'S' => 0x02,
            'R' => 0x04,
            'P' => 0x08,
            'A' => 0x10,
            'U' => 0x20,
            'E' | '2' => 0x40,
            'C' | '1' => 0x80,
            ' ' => 0,
            // None, and none of those before it.
            '0' => {
                bits = 0;
                0
            }
            _ => return None,
        };
        bits |= bit;
    }
    Some(bits)
}

/// `flags:[+*!-=]letters[,ignored]`, or a comparison of the byte that has them: what are letters and
/// a number, such as `12`, are letters.
fn tcp_flags(argument: &Argument<'_>) -> Result<PacketTest, Problem> {
    let (wanted, ignored) = match argument.text.split_once(',') {
        Some((wanted, ignored)) => (wanted.trim(), ignored.trim()),
        None => (argument.text.trim(), ""),
    };
    if wanted.chars().filter(|c| "+*!-".contains(*c)).count() > 1 {
        return Err(argument.bad("`flags` takes one of + * ! - at a time"));
    }
    let letters: String = wanted.chars().filter(|c| !"+*!-= ".contains(*c)).collect();
    let modifier = wanted.chars().fold(0, |modifier, c| match c {
        '!' | '-' => 1,
        '+' => 2,
        '*' => 3,
        _ => modifier,
    });
    match (flag_bits(&letters), flag_bits(ignored)) {
        (Some(flags), Some(ignored)) if !letters.is_empty() => Ok(PacketTest::TcpFlags {
            flags,
            modifier,
            ignored,
        }),
        _ => match number::compare(argument.text, 255) {
            Some(compare) => Ok(PacketTest::TcpFlagByte(compare)),
            None => Err(argument
                .bad(format!("`{}` are not TCP flags", shorten(argument.text)))
                .help("letters are F S R P A U E C (or 2 and 1), 0 for none, + * ! before them")),
        },
    }
}

/// `vlan.id:comparison[,which[,start:end]]`, `vlan.id:count comparison`.
fn vlan_id(argument: &Argument<'_>) -> Result<PacketTest, Problem> {
    let bad = || {
        argument
            .bad(format!("`{}` names no VLAN id", shorten(argument.text)))
            .help("write an id up to 4095, then a layer from 0 to 2 or -1 to -3, any or all")
    };
    let (value, which, slice) = indexed(argument.text).ok_or_else(bad)?;
    let layers = -VLAN_LAYERS_MAX..VLAN_LAYERS_MAX;
    let compare = match which {
        Which::Count(_) => None,
        Which::At(layer) | Which::AtOrOut(layer) if !layers.contains(&layer) => return Err(bad()),
        _ => Some(number::compare(value, 4_095).ok_or_else(bad)?),
    };
    Ok(PacketTest::VlanId {
        compare,
        which,
        slice,
    })
}

/// `stream_size:side,operator,n`.
fn stream_size(argument: &Argument<'_>) -> Result<PacketTest, Problem> {
    let parts: Vec<&str> = argument.text.split(',').map(str::trim).collect();
    let [side, operator, value] = parts.as_slice() else {
        return Err(argument
            .bad("`stream_size` takes three values")
            .help("write stream_size:client,>,100"));
    };
    let side = match *side {
        "server" => 0,
        "client" => 1,
        "both" => 2,
        "either" => 3,
        other => {
            let message = format!("`{}` is not a side", shorten(other));
            return Err(argument
                .bad(message)
                .help("sides are server, client, both, either"));
        }
    };
    let number = value.parse::<u32>().ok().map(u64::from);
    let compare = match (*operator, number) {
        // Loads in Suricata, too.
        (">=", Some(0)) => Some(Compare::GreaterEqual(0)),
        ("<", Some(0)) => Some(Compare::Less(0)),
        (operator, number) => number.and_then(|value| by_symbol(operator, value, u64::MAX)),
    };
    match compare {
        Some(compare) => Ok(PacketTest::StreamSize { side, compare }),
        None => Err(argument.bad(format!(
            "`{} {}` is not a comparison",
            shorten(operator),
            shorten(value)
        ))),
    }
}

/// `flow.pkts:side,comparison`, `flow.bytes_toserver:comparison` and their like.
fn flow_count(argument: &Argument<'_>) -> Result<PacketTest, Problem> {
    let name = argument.keyword.name;
    let bytes = name.starts_with("flow.bytes");
    let max = if bytes { u64::MAX } else { u32::MAX.into() };
    let (side, text) = if name.ends_with("_toserver") {
        (0, argument.text)
    } else if name.ends_with("_toclient") {
        (1, argument.text)
    } else {
        let (side, text) = argument.text.split_once(',').unwrap_or(("", argument.text));
        (flow_side(argument, side)?, text.trim())
    };
    let Some(compare) = number::compare(text, max) else {
        let message = format!("`{}` is not a comparison that can match", shorten(text));
        return Err(argument.bad(message));
    };
    Ok(if bytes {
        PacketTest::FlowBytes { side, compare }
    } else {
        PacketTest::FlowPackets { side, compare }
    })
}

/// Sides of a flow's counts: 0 to server, 1 to client, 2 either, 3 both.
fn flow_side(argument: &Argument<'_>, text: &str) -> Result<u8, Problem> {
    const SIDES: [&str; 4] = ["toserver", "toclient", "either", "both"];
    let side = SIDES.iter().position(|side| *side == text.trim());
    side.map(|side| side as u8).ok_or_else(|| {
        let message = format!("`{}` is not a side", shorten(text.trim()));
        argument
            .bad(message)
            .help("sides are toserver, toclient, either, both")
    })
}

/// Types of SCTP chunks by name (RFC 9260, section 3.2).
const CHUNKS: &[(&str, u64)] = &[
    ("data", 0),
    ("init", 1),
    ("init_ack", 2),
    ("sack", 3),
    ("heartbeat", 4),
    ("heartbeat_ack", 5),
    ("abort", 6),
    ("shutdown", 7),
    ("shutdown_ack", 8),
    ("error", 9),
    ("cookie_echo", 10),
    ("cookie_ack", 11),
    ("ecne", 12),
    ("cwr", 13),
    ("shutdown_complete", 14),
    ("hb_ack", 5),
    ("forward_tsn", 192),
];

fn chunk_type(argument: &Argument<'_>) -> Result<Compare, Problem> {
    let bare = argument.text.trim_start_matches('!').trim();
    let named = CHUNKS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(bare));
    match named {
        Some((_, value)) if argument.text.starts_with('!') => Ok(Compare::NotEqual(*value)),
        Some((_, value)) => Ok(Compare::Equal(*value)),
        None => compare(argument, 255),
    }
}

/// `tcpv4-csum:valid`.
fn checksum(argument: &Argument<'_>) -> Result<PacketTest, Problem> {
    let which = argument.keyword.name.trim_end_matches("-csum");
    match argument.text.trim_matches('"') {
        "valid" | "vaild" => Ok(PacketTest::Checksum {
            which: which.into(),
            valid: true,
        }),
        "invalid" => Ok(PacketTest::Checksum {
            which: which.into(),
            valid: false,
        }),
        other => Err(argument
            .bad(format!("`{}` is neither valid nor invalid", shorten(other)))
            .help("write valid or invalid")),
    }
}

/// `app-layer-protocol:[!]name[|name...][,mode][,exact]`.
fn app_protocol(
    builder: &mut Builder<'_, '_>,
    argument: &Argument<'_>,
) -> Result<PacketTest, Problem> {
    const MODES: &[(&str, Spoken)] = &[
        ("direction", Spoken::Direction),
        ("final", Spoken::Final),
        ("original", Spoken::Original),
        ("either", Spoken::Either),
        ("to_server", Spoken::ToServer),
        ("to_client", Spoken::ToClient),
    ];
    let mut parts = argument.text.split(',').map(str::trim);
    let names: Vec<&str> = parts
        .next()
        .unwrap_or("")
        .split('|')
        .map(str::trim)
        .collect();
    let of_none = |name: &str| matches!(name, "failed" | "unknown");
    for name in &names {
        if !crate::rules::header::APP_PROTOCOLS.contains(name) && !of_none(name) {
            let message = format!("`{}` is not an application protocol", shorten(name));
            return Err(argument.bad(message));
        }
        if argument.negated && *name == "unknown" {
            return Err(argument.bad("`unknown` cannot be negated"));
        }
        let detected = of_none(name) || support::app_protocol(name);
        builder.executable(&format!("app-layer-protocol:{name}"), detected);
    }
    let (mut mode, mut exact) = (None, false);
    for word in parts {
        let named = MODES.iter().find(|(name, _)| *name == word);
        match (word, named) {
            ("exact", _) => exact = true,
            (_, Some((_, of))) if mode.is_none() => mode = Some(*of),
            _ => {
                let message = format!("`{}` is not a mode of app-layer-protocol", shorten(word));
                let names: Vec<&str> = MODES.iter().map(|(name, _)| *name).collect();
                return Err(argument
                    .bad(message)
                    .help(format!("modes are {}; and exact", names.join(", "))));
            }
        }
    }
    if exact && names.contains(&"http") {
        return Err(argument
            .bad("no flow speaks exactly `http`")
            .help("write http1 or http2"));
    }
    if matches!(builder.signature.header.protocol, Protocol::App(_)) {
        return Err(argument.problem(
            Code::ProtocolConflict,
            "the header names an application protocol already",
        ));
    }
    let of = mode.unwrap_or_default();
    stands_with_others(builder, argument, of)?;
    Ok(PacketTest::AppProtocol {
        names: names.into_iter().map(Box::from).collect(),
        negated: argument.negated,
        of,
        exact,
    })
}

/// Several of one mode stand together if all of them are negated.
fn stands_with_others(
    builder: &Builder<'_, '_>,
    argument: &Argument<'_>,
    of: Spoken,
) -> Result<(), Problem> {
    let conflicts = builder.signature.packet.iter().any(|test| match test {
        PacketTest::AppProtocol {
            negated, of: other, ..
        } => *other == of && !(*negated && argument.negated),
        _ => false,
    });
    if conflicts {
        return Err(argument
            .problem(
                Code::ProtocolConflict,
                "another `app-layer-protocol` of the same mode stands before it",
            )
            .help("only negated ones may stand together: write a|b for one of several"));
    }
    Ok(())
}

/// `tcp.session:setup,established,closing`, or some of them.
fn phases(argument: &Argument<'_>) -> Result<u8, Problem> {
    let mut bits = 0;
    for word in argument.text.split(',').map(str::trim) {
        let bit = match word {
            "setup" => 1,
            "established" => 2,
            "closing" => 4,
            _ => 0,
        };
        if bit == 0 || bits & bit != 0 {
            return Err(argument
                .bad(format!("`{}` is no phase, or stands twice", shorten(word)))
                .help("phases are setup, established, closing"));
        }
        bits |= bit;
    }
    Ok(bits)
}

/// `rpc:PROGRAM,VERSION or *,PROCEDURE or *`.
fn rpc(argument: &Argument<'_>) -> Result<PacketTest, Problem> {
    let bad = || {
        let message = format!("`{}` names no call", shorten(argument.text));
        argument.bad(message).help("write rpc:100000,*,3")
    };
    let mut parts = argument.text.split(',').map(str::trim);
    let program = parts.next().and_then(|n| n.parse().ok()).ok_or_else(bad)?;
    let mut number = || match parts.next() {
        None | Some("*") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| bad()),
    };
    let (version, procedure) = (number()?, number()?);
    if parts.next().is_some() {
        return Err(bad());
    }
    Ok(PacketTest::Rpc {
        program,
        version,
        procedure,
    })
}

/// `l3_proto:ipv4` or `ipv6`.
fn ip_version(argument: &Argument<'_>) -> Result<PacketTest, Problem> {
    match argument.text.to_ascii_lowercase().as_str() {
        "ipv4" | "ip4" | "ip" => Ok(PacketTest::IpVersion(4)),
        "ipv6" | "ip6" => Ok(PacketTest::IpVersion(6)),
        other => Err(argument
            .bad(format!("`{}` is not a version of IP", shorten(other)))
            .help("write ipv4 or ipv6")),
    }
}

/// `decode-event:ipv4.trunc_pkt`, `stream-event:3whs_ack_in_wrong_dir`, and either with its kind before
/// it: `engine-event:decoder.ipv4.trunc_pkt`. A name that nobody knows is refused.
fn event(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let keyword = argument.keyword.name;
    let name = argument.text.to_ascii_lowercase();
    let of = |kind: &str| {
        name.strip_prefix(kind)
            .and_then(|rest| rest.strip_prefix('.'))
    };
    let full = match keyword {
        "decode-event" => Some(name.clone()),
        "stream-event" => Some(format!("stream.{name}")),
        _ => of("decoder")
            .map(str::to_string)
            .or_else(|| of("stream").map(|_| name.clone())),
    };
    let twice = keyword != "engine-event" && (of("decoder").is_some() || of("stream").is_some());
    builder.facts.decoder_event |= keyword == "decode-event";
    let code = full
        .filter(|_| !twice)
        .and_then(|full| (builder.context.anomaly)(&full));
    let Some(code) = code else {
        let problem = argument.bad(format!("`{}` is not an event", shorten(argument.text)));
        return Err(match keyword {
            "engine-event" => problem.help("events are decoder.NAME and stream.NAME"),
            _ if twice => problem.help(format!("`{keyword}` says which kind it is already")),
            _ => problem,
        });
    };
    builder.signature.packet.push(PacketTest::Anomaly(code));
    Ok(())
}
