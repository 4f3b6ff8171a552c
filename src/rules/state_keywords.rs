//! Keywords about what outlives a packet: flow, flowbits, flowint, variables, xbits, hostbits, thresholds,
//! tag.
//!
//! Names become numbers of the rule set's tables (names.rs).

use crate::app::Field;
use crate::rules::argument::Argument;
use crate::rules::content;
use crate::rules::diagnostic::{Code, Problem, nearest};
use crate::rules::lex::shorten;
use crate::rules::parse::Builder;
use crate::rules::signature::*;

/// Seconds that a host bit lives, unless `expire` says otherwise.
const HOSTBIT_EXPIRE_DEFAULT: u32 = 300;
/// Seconds that an xbit lives, unless `expire` says otherwise.
const XBIT_EXPIRE_DEFAULT: u32 = 30;

/// Reads a state keyword.
pub fn parse<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    match argument.keyword.name {
        "flow" => flow(builder, &argument),
        "flowbits" => flowbits(builder, &argument),
        "flowint" => flowint(builder, &argument),
        "flowvar" | "pktvar" => variable(builder, &argument),
        "xbits" => xbits(builder, &argument),
        "hostbits" => hostbits(builder, &argument),
        "threshold" => threshold(builder, &argument),
        "detection_filter" => detection_filter(builder, &argument),
        _ => tag(builder, &argument),
    }
}

/// Words of `flow`.
const FLOW_WORDS: [&str; 11] = [
    "established",
    "not_established",
    "stateless",
    "to_server",
    "from_client",
    "to_client",
    "from_server",
    "only_stream",
    "no_stream",
    "only_frag",
    "no_frag",
];

/// Words of `flow` that exclude each other.
const FLOW_EXCLUSIVE: [(&str, &str); 5] = [
    ("established", "not_established"),
    ("established", "stateless"),
    ("to_server", "to_client"),
    ("only_stream", "no_stream"),
    ("only_frag", "no_frag"),
];

/// Whether a `flow` names a direction and no state, so that another one may follow it.
fn is_direction(flow: &FlowKeyword) -> bool {
    let state = flow.established || flow.not_established || flow.stateless;
    let fragments = flow.only_frag || flow.no_frag;
    (flow.to_server || flow.to_client) && !state && !fragments
}

/// What a direction and the `flow` behind it say together; `None` if they exclude each other.
fn joined(before: FlowKeyword, now: FlowKeyword) -> Option<FlowKeyword> {
    let all = FlowKeyword {
        to_server: before.to_server || now.to_server,
        to_client: before.to_client || now.to_client,
        only_stream: before.only_stream || now.only_stream,
        no_stream: before.no_stream || now.no_stream,
        ..now
    };
    let clash = (all.to_server && all.to_client) || (all.only_stream && all.no_stream);
    (!clash).then_some(all)
}

/// `flow:established,to_server,only_stream`.
fn flow(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let earlier = builder.signature.flow.take().filter(is_direction);
    if earlier.is_none() {
        builder.once(argument)?;
    }
    builder.places.flow = Some(argument.name);
    let mut seen: Vec<&str> = Vec::new();
    for word in argument.text.split(',').map(str::trim) {
        let Some(known) = FLOW_WORDS.iter().find(|w| w.eq_ignore_ascii_case(word)) else {
            let problem = argument.bad(format!("`{}` is not a word of `flow`", shorten(word)));
            return Err(match nearest(word, FLOW_WORDS.into_iter()) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help(format!("words are {}", FLOW_WORDS.join(", "))),
            });
        };
        let known = match *known {
            "from_client" => "to_server",
            "from_server" => "to_client",
            known => known,
        };
        let conflict = |message| Err(Problem::new(Code::FlowConflict, argument.span, message));
        if seen.contains(&known) {
            return conflict(format!("`{known}` stands a second time in `flow`"));
        }
        let other = FLOW_EXCLUSIVE.iter().find_map(|(a, b)| match known {
            known if known == *a && seen.contains(b) => Some(*b),
            known if known == *b && seen.contains(a) => Some(*a),
            _ => None,
        });
        if let Some(other) = other {
            return conflict(format!("`{known}` and `{other}` exclude each other"));
        }
        seen.push(known);
    }
    if seen.len() > 3 {
        return Err(argument.bad("`flow` takes at most three words"));
    }
    let has = |word: &str| seen.contains(&word);
    builder.facts.require_stream |= has("only_stream");
    builder.facts.require_packet |= has("no_stream");
    if has("no_stream") {
        builder.places.packet_only.get_or_insert(argument.name);
    }
    let now = FlowKeyword {
        to_server: has("to_server"),
        to_client: has("to_client"),
        established: has("established"),
        not_established: has("not_established"),
        stateless: has("stateless"),
        only_stream: has("only_stream"),
        no_stream: has("no_stream"),
        only_frag: has("only_frag"),
        no_frag: has("no_frag"),
    };
    let all = joined(earlier.unwrap_or_default(), now).ok_or_else(|| {
        let message = "this `flow` contradicts the one before";
        Problem::new(Code::FlowConflict, argument.span, message)
    })?;
    builder.signature.flow = Some(all);
    Ok(())
}

/// The command of a bit keyword.
fn command(text: &str) -> Option<BitCommand> {
    Some(match text {
        "set" => BitCommand::Set,
        "unset" => BitCommand::Unset,
        "toggle" => BitCommand::Toggle,
        "isset" => BitCommand::IsSet,
        "isnotset" => BitCommand::IsNotSet,
        _ => return None,
    })
}

fn bad_command(argument: &Argument<'_>, text: &str) -> Problem {
    let name = argument.keyword.name;
    argument
        .bad(format!("`{}` is not a command of `{name}`", shorten(text)))
        .help("commands are set, unset, toggle, isset, isnotset, noalert")
}

/// `flowbits:command,name[|name...]`.
fn flowbits(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let (word, names) = match argument.text.split_once(',') {
        Some((word, names)) => (word.trim(), names.trim()),
        None => (argument.text.trim(), ""),
    };
    if word == "noalert" && names.is_empty() {
        builder.signature.noalert = true;
        return Ok(());
    }
    let Some(command) = command(word) else {
        return Err(bad_command(argument, word));
    };
    let mut bits = Vec::new();
    for name in names.split('|').map(str::trim).filter(|n| !n.is_empty()) {
        if name.contains([' ', '\t']) {
            let message = format!("the name `{}` has a blank", shorten(name));
            return Err(argument.bad(message));
        }
        let bit = builder.context.names.flowbits.id(name);
        match command {
            BitCommand::Set | BitCommand::Toggle => builder.bits.push((bit, true, argument.span)),
            BitCommand::IsSet | BitCommand::IsNotSet => {
                builder.bits.push((bit, false, argument.span));
            }
            BitCommand::Unset => {}
        }
        bits.push(bit);
    }
    if bits.is_empty() {
        return Err(argument.bad("no flowbit is named"));
    }
    let state = StateTest::Flowbit { command, bits };
    builder.signature.state.push(state);
    Ok(())
}

/// `flowint:name,operator[,value or name]`.
fn flowint(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let parts: Vec<&str> = argument.text.split(',').map(str::trim).collect();
    let (name, symbol, value) = match parts.as_slice() {
        [name, symbol] => (*name, *symbol, None),
        [name, symbol, value] => (*name, *symbol, Some(*value)),
        _ => {
            return Err(argument
                .bad("`flowint` takes a name, an operator and a value")
                .help("write flowint:tries,+,1"));
        }
    };
    let operator = match symbol {
        "=" => IntOperator::Set,
        "+" => IntOperator::Add,
        "-" => IntOperator::Subtract,
        "<" => IntOperator::Less,
        "<=" => IntOperator::LessEqual,
        ">" => IntOperator::Greater,
        ">=" => IntOperator::GreaterEqual,
        "==" => IntOperator::Equal,
        "!=" => IntOperator::NotEqual,
        "isset" => IntOperator::IsSet,
        "notset" | "isnotset" => IntOperator::IsNotSet,
        other => {
            let message = format!("`{}` is not an operator of flowint", shorten(other));
            return Err(argument
                .bad(message)
                .help("operators are = + - < <= > >= == != isset isnotset"));
        }
    };
    let word = |c: char| c.is_ascii_alphanumeric() || "_./".contains(c);
    if name.len() < 2
        || !name.starts_with(|c: char| c.is_ascii_alphabetic())
        || !name.chars().all(word)
    {
        let message = format!("`{}` is not a name for a flowint", shorten(name));
        return Err(argument.bad(message));
    }
    let alone = matches!(operator, IntOperator::IsSet | IntOperator::IsNotSet);
    let value = match value {
        _ if alone => Ok(0),
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() => {
            let value: Option<u32> = text.parse().ok();
            Ok(value.ok_or_else(|| argument.bad(format!("`{}` is too large", shorten(text))))?)
        }
        Some(text) if text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Err(builder.context.names.flowints.id(text))
        }
        _ => return Err(argument.bad("the operator needs a number or a name")),
    };
    let name = builder.context.names.flowints.id(name);
    builder.signature.state.push(StateTest::Flowint {
        name,
        operator,
        value,
    });
    Ok(())
}

/// `flowvar:name,value`, `pktvar:name,value`: the value as in a content; the last comma parts them.
fn variable(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let keyword = argument.keyword.name;
    let (name, value) = argument.text.rsplit_once(',').unwrap_or(("", ""));
    let (name, value) = (name.trim(), value.trim().trim_matches('"'));
    if argument.negated || name.is_empty() || name.starts_with('!') || value.is_empty() {
        return Err(argument
            .bad(format!("`{keyword}` takes a name and what its value holds"))
            .help(format!("write {keyword}:name,value")));
    }
    let bytes = content::bytes(value, argument.span)?;
    let names = &mut builder.context.names;
    builder.signature.state.push(match keyword {
        "flowvar" => StateTest::FlowVariable {
            name: names.flowvars.id(name),
            bytes,
        },
        _ => StateTest::PacketVariable {
            name: names.pktvars.id(name),
            bytes,
        },
    });
    Ok(())
}

/// `xbits:command,name,track ip_src[,expire n]`.
fn xbits(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let mut parts = argument.text.split(',').map(str::trim);
    let word = parts.next().unwrap_or("");
    if word == "noalert" && parts.clone().next().is_none() {
        builder.signature.noalert = true;
        return Ok(());
    }
    let Some(command) = command(word) else {
        return Err(bad_command(argument, word));
    };
    let name = parts.next().unwrap_or("");
    if name.is_empty() || name.contains(' ') {
        return Err(argument.bad("`xbits` needs a name without blanks after the command"));
    }
    let (mut track, mut expire) = (None, XBIT_EXPIRE_DEFAULT);
    for part in parts {
        let (key, value) = part.split_once(' ').unwrap_or((part, ""));
        let value = value.trim();
        match (key, value) {
            ("track", "ip_src") => track = Some(Track::Source),
            ("track", "ip_dst") => track = Some(Track::Destination),
            ("track", "ip_pair") => track = Some(Track::Both),
            ("track", "tx") => track = Some(Track::Flow),
            ("expire", number) => {
                let number: Option<u32> = number.parse().ok().filter(|n| *n > 0);
                expire = number.ok_or_else(|| {
                    argument.bad(format!("`{}` is not a number of seconds", shorten(value)))
                })?;
            }
            _ => {
                return Err(argument
                    .bad(format!("`{}` is not a word of `xbits`", shorten(part)))
                    .help("write xbits:set,name,track ip_src,expire 60"));
            }
        }
    }
    let Some(track) = track else {
        return Err(argument
            .bad("`xbits` does not say what it hangs on")
            .help("add `track ip_src`, `track ip_dst` or `track ip_pair`"));
    };
    let bit = builder.context.names.hostbits.id(name);
    if track != Track::Flow {
        builder.signature.state.push(StateTest::HostBit {
            command,
            bit,
            track,
            expire,
        });
        return Ok(());
    }
    // What hangs on the flow hangs on its transaction here.
    transaction_bit(builder, argument, command, bit)
}

/// `xbits:set,NAME,track tx`, `xbits:isset,NAME,track tx`.
fn transaction_bit(
    builder: &mut Builder<'_, '_>,
    argument: &Argument<'_>,
    command: BitCommand,
    bit: u32,
) -> Result<(), Problem> {
    match command {
        BitCommand::Set => {
            let test = StateTest::TransactionBit { bit };
            builder.signature.state.push(test);
        }
        BitCommand::IsSet => {
            builder.facts.application = true;
            builder.facts.app_buffer = true;
            let any_of = vec![Compare::Equal(u64::from(bit))];
            builder.signature.app.push(AppTest {
                side: None,
                field: Field::TxBit,
                any_of,
                negated: false,
                which: Which::Any,
                slice: (0, 0),
            });
        }
        _ => {
            return Err(argument
                .bad("bits of a transaction are set and asked for, nothing else")
                .help("write set or isset, or another `track`"));
        }
    }
    Ok(())
}

/// `hostbits:command,name[,src or dst]`.
fn hostbits(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let parts: Vec<&str> = argument.text.split(',').map(str::trim).collect();
    if parts == ["noalert"] {
        builder.signature.noalert = true;
        return Ok(());
    }
    let Some(command) = command(parts[0]) else {
        return Err(bad_command(argument, parts[0]));
    };
    let name = parts.get(1).copied().unwrap_or("");
    if name.is_empty() || name.contains(' ') {
        return Err(argument.bad("`hostbits` needs a name without blanks after the command"));
    }
    let track = match parts.get(2).copied() {
        None | Some("src") => Track::Source,
        Some("dst") => Track::Destination,
        Some(other) => {
            let message = format!("`{}` is not a side", shorten(other));
            return Err(argument.bad(message).help("write src or dst"));
        }
    };
    let bit = builder.context.names.hostbits.id(name);
    builder.signature.state.push(StateTest::HostBit {
        command,
        bit,
        track,
        expire: HOSTBIT_EXPIRE_DEFAULT,
    });
    Ok(())
}

/// What a threshold is made of, while its words come in.
#[derive(Default)]
struct Words<'a> {
    kind: Option<&'a str>,
    track: Option<Track>,
    count: Option<u32>,
    seconds: Option<u32>,
    multiplier: Option<u32>,
    unique_on: u8,
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// Whether it says all that a threshold needs: what follows is not looked at.
    fn is_whole(&self) -> bool {
        self.kind.is_some()
            && self.track.is_some()
            && self.count.is_some()
            && (self.seconds.is_some() || self.multiplier.is_some())
    }

    /// Takes a `key value` pair, and gives what stands behind it.
    fn take(&mut self, argument: &Argument<'a>, part: &'a str) -> Result<&'a str, Problem> {
        let (key, value) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
        let value = value.trim();
        let digits = value
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(value.len());
        let blank = value.find(' ').unwrap_or(value.len());
        let (number, behind) = value.split_at(digits);
        let (word, after) = value.split_at(blank);
        let number = || {
            let number: Option<u32> = number.parse().ok();
            number.ok_or_else(|| argument.bad(format!("`{}` is not a number", shorten(value))))
        };
        let (again, rest) = match key {
            "type" => (self.kind.replace(word).is_some(), after),
            "track" => {
                let before = self.track.replace(track(argument, word)?);
                (before.is_some(), after)
            }
            "count" => (self.count.replace(number()?).is_some(), behind),
            "seconds" => (self.seconds.replace(number()?).is_some(), behind),
            "multiplier" => (self.multiplier.replace(number()?).is_some(), behind),
            "unique_on" => {
                self.unique_on = match word {
                    "src_port" => 3,
                    "dst_port" => 4,
                    _ => return Err(argument.bad("unique_on takes src_port or dst_port")),
                };
                (false, after)
            }
            _ => {
                let name = argument.keyword.name;
                let message = format!("`{}` is not a word of `{name}`", shorten(part));
                return Err(argument.bad(message));
            }
        };
        match again {
            true => Err(argument.bad(format!("`{key}` stands a second time"))),
            false => Ok(rest.trim()),
        }
    }
}

/// Reads `key value` pairs.
fn words<'a>(argument: &Argument<'a>) -> Result<Words<'a>, Problem> {
    let mut found = Words::default();
    let mut left = Some(argument.text);
    while let Some(text) = left.filter(|_| found.rest.is_empty()) {
        if found.is_whole() {
            found.rest = text.trim();
            break;
        }
        let (part, behind) = match text.split_once(',') {
            Some((part, behind)) => (part, Some(behind)),
            None => (text, None),
        };
        found.rest = found.take(argument, part.trim())?;
        left = behind;
    }
    let twice = ["type", "track", "count", "second", "multiplier"]
        .into_iter()
        .find(|word| found.rest.contains(word));
    match twice {
        Some(word) => Err(argument.bad(format!("`{word}` stands a second time"))),
        None => Ok(found),
    }
}

/// Warns of what stands behind a complete threshold.
fn warn_of_rest(builder: &mut Builder<'_, '_>, argument: &Argument<'_>, rest: &str) {
    let Some(at) = argument.text.rfind(rest).filter(|_| !rest.is_empty()) else {
        return;
    };
    let span = argument.span.part(at, at + rest.len());
    let message = format!("`{}` is ignored", shorten(rest));
    builder
        .problems
        .push(Problem::new(Code::TrailingText, span, message).help("put a `;` before it"));
}

fn track(argument: &Argument<'_>, text: &str) -> Result<Track, Problem> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "by_src" => Track::Source,
        "by_dst" => Track::Destination,
        "by_both" => Track::Both,
        "by_rule" => Track::Rule,
        "by_flow" => Track::Flow,
        _ => {
            let message = format!("`{}` is not something to track", shorten(text));
            return Err(argument
                .bad(message)
                .help("write by_src, by_dst, by_both, by_rule or by_flow"));
        }
    })
}

fn incomplete(argument: &Argument<'_>, form: &str) -> Problem {
    let name = argument.keyword.name;
    argument
        .bad(format!("`{name}` is not complete"))
        .help(format!("write {form}"))
}

fn both_thresholds(argument: &Argument<'_>) -> Problem {
    argument.problem(
        Code::ThresholdConflict,
        "`threshold` and `detection_filter` stand in one rule",
    )
}

/// `threshold: type limit, track by_src, count 1, seconds 60`.
fn threshold(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    const FORM: &str = "threshold: type limit, track by_src, count 1, seconds 60";
    if builder.signature.detection_filter.is_some() {
        return Err(both_thresholds(argument));
    }
    if builder.signature.threshold.is_some() && builder.sticky.is_some() {
        let message = "the rule has a second threshold";
        let problem = argument.problem(Code::SecondThreshold, message);
        builder.problems.push(problem);
    } else {
        builder.once(argument)?;
    }
    let words = words(argument)?;
    let kind = match words.kind.map(str::to_ascii_lowercase).as_deref() {
        Some("limit") => ThresholdKind::Limit,
        Some("threshold") => ThresholdKind::Threshold,
        Some("both") => ThresholdKind::Both,
        Some("backoff") => ThresholdKind::Backoff,
        Some(other) => {
            let message = format!("`{}` is not a type of threshold", shorten(other));
            return Err(argument
                .bad(message)
                .help("types are limit, threshold, both and backoff"));
        }
        None => return Err(incomplete(argument, FORM)),
    };
    let (Some(track), Some(count)) = (words.track, words.count) else {
        return Err(incomplete(argument, FORM));
    };
    let backoff = kind == ThresholdKind::Backoff;
    if backoff {
        let fits = (1..65_536).contains(&count)
            && words.multiplier.is_some_and(|m| (2..65_536).contains(&m))
            && words.seconds.is_none()
            && track == Track::Flow;
        if !fits {
            let form = "threshold: type backoff, track by_flow, count 1, multiplier 10";
            return Err(incomplete(argument, form));
        }
    } else if words.seconds.is_none() {
        return Err(incomplete(argument, FORM));
    }
    warn_of_rest(builder, argument, words.rest);
    builder.signature.threshold = Some(Threshold {
        kind,
        track,
        count,
        seconds: words.seconds.unwrap_or(0),
        multiplier: words.multiplier.unwrap_or(0),
        unique_on: 0,
    });
    Ok(())
}

/// `detection_filter: track by_src, count 5, seconds 60`.
fn detection_filter(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    const FORM: &str = "detection_filter: track by_src, count 5, seconds 60";
    if builder.signature.threshold.is_some() {
        return Err(both_thresholds(argument));
    }
    builder.once(argument)?;
    let words = words(argument)?;
    let (Some(track), Some(count), Some(seconds), None) =
        (words.track, words.count, words.seconds, words.kind)
    else {
        return Err(incomplete(argument, FORM));
    };
    if count == 0 || seconds == 0 {
        return Err(argument.bad("count and seconds are at least 1"));
    }
    if !matches!(track, Track::Source | Track::Destination | Track::Flow) {
        return Err(argument.bad("`detection_filter` tracks by_src, by_dst or by_flow"));
    }
    if !words.rest.is_empty() {
        return Err(argument.bad(format!("`{}` is left over", shorten(words.rest))));
    }
    if words.unique_on != 0 && !has_ports(&builder.signature.header.protocol) {
        return Err(argument.bad("`unique_on` needs a protocol with ports: tcp, udp or sctp"));
    }
    builder.signature.detection_filter = Some(Threshold {
        kind: ThresholdKind::DetectionFilter,
        track,
        count,
        seconds,
        multiplier: 0,
        unique_on: words.unique_on,
    });
    Ok(())
}

fn has_ports(protocol: &Protocol) -> bool {
    use Protocol as P;
    matches!(
        protocol,
        P::Tcp | P::TcpPacket | P::TcpStream | P::Udp | P::Sctp | P::App(_)
    )
}

/// `tag:session[,count,metric]` or `tag:host[,count,metric[,side]]`; may stand several times.
fn tag(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let parts: Vec<&str> = argument.text.split(',').map(str::trim).collect();
    let Some(tag) = tag_of(&parts) else {
        let message = format!("`{}` is not a tag", shorten(argument.text));
        return Err(argument
            .bad(message)
            .help("write tag:session,10,packets or tag:host,60,seconds,src"));
    };
    builder.signature.tags.push(tag);
    Ok(())
}

fn tag_of(parts: &[&str]) -> Option<Tag> {
    let (scope, rest) = parts.split_first()?;
    let (until, side) = match rest {
        [] => (TagUntil::Packets(TAG_PACKETS_MAX), &[][..]),
        [count, metric, side @ ..] => {
            let count: u32 = count.parse().ok()?;
            let until = match *metric {
                "packets" => TagUntil::Packets(count.min(TAG_PACKETS_MAX)),
                "bytes" => TagUntil::Bytes(count),
                "seconds" => TagUntil::Seconds(count),
                _ => return None,
            };
            (until, side)
        }
        _ => return None,
    };
    let scope = match (*scope, side) {
        ("session", [] | ["src"] | ["dst"]) => TagScope::Flow,
        ("host", [] | ["dst"]) => TagScope::Destination,
        ("host", ["src"]) => TagScope::Source,
        _ => return None,
    };
    Some(Tag { scope, until })
}
