//! Lints: what loads and probably is not meant. They run for `sluice check` alone.
//!
//! What makes a rule fail stands in verify.rs and in the keyword files; what needs all rules
//! (flowbits nobody sets) is at the end of this file.

use hashbrown::HashSet;

use crate::app::Transport;
use crate::app::registry::DESCRIPTIONS;
use crate::rules::diagnostic::{Code, Diagnostic, Problem};
use crate::rules::parse::Builder;
use crate::rules::regex;
use crate::rules::signature::*;

/// A longest content below this many bytes is found nearly everywhere.
const SHORT: usize = 3;

/// A flowbit that a rule sets or reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BitUse {
    /// Its number.
    pub bit: u32,
    /// It is set (or toggled), not read.
    pub writes: bool,
    /// Finding to report if the other kind is missing.
    pub place: Diagnostic,
}

/// Lints of a single rule; its tests still stand in `builder.items`.
pub fn rule(builder: &mut Builder<'_, '_>) {
    if builder.signature.msg.is_empty() {
        let problem = Problem::new(
            Code::MissingMessage,
            builder.places.action,
            "the rule has no msg",
        );
        builder
            .problems
            .push(problem.help("add msg:\"what this means\";"));
    }
    condition(builder);
    never(builder);
    contents(builder);
    let mut found = Vec::new();
    for item in &builder.items {
        if let Test::Pcre(pcre) = &item.test
            && let Some(at) = regex::backtracking(&pcre.pattern)
        {
            let piece: String = String::from_utf8_lossy(&pcre.pattern[at..])
                .chars()
                .take(4)
                .collect();
            let message = format!("`{piece}...` needs the backtracking engine");
            found.push(Problem::new(Code::Backtracking, item.span, message));
        }
    }
    builder.problems.extend(found);
}

/// A rule that asks for nothing.
fn condition(builder: &mut Builder<'_, '_>) {
    let signature = &builder.signature;
    let header = &signature.header;
    let open = header.src_addr.any
        && header.dst_addr.any
        && header.src_port.any
        && header.dst_port.any
        && !matches!(header.protocol, Protocol::App(_) | Protocol::Number(_));
    let bare = builder.items.is_empty()
        && builder.lists.len() == 1
        && signature.packet.is_empty()
        && signature.state.is_empty()
        && signature.flow.is_none()
        && signature.unsupported.is_empty()
        && signature.detection_filter.is_none();
    if !open || !bare {
        return;
    }
    let span = builder.places.action;
    let problem = match signature.action {
        Action::Drop | Action::Reject(_) => {
            let message = "the rule drops everything";
            Problem::new(Code::DropWithoutCondition, span, message)
                .help("add addresses, ports or a content, or write `alert`")
        }
        Action::Alert | Action::Pass => {
            let message = "the rule has no condition";
            Problem::new(Code::NoCondition, span, message)
                .help("add addresses, ports, a content or a packet keyword")
        }
    };
    builder.problems.push(problem);
}

/// A rule that no packet can match: Suricata loads it as well.
fn never(builder: &mut Builder<'_, '_>) {
    let header = &builder.signature.header;
    let transport = match header.protocol {
        Protocol::Udp => Some(Transport::Udp),
        Protocol::Tcp | Protocol::TcpPacket | Protocol::TcpStream => Some(Transport::Tcp),
        _ => None,
    };
    let has_ports = match header.protocol {
        Protocol::Icmp | Protocol::Icmpv4 | Protocol::Icmpv6 | Protocol::Arp => false,
        Protocol::Number(number) => matches!(number, 6 | 17 | 132),
        _ => true,
    };
    let asks_port = !header.src_port.any || !header.dst_port.any;
    let problem = if asks_port && !has_ports {
        let message = "the rule asks for a port, and its protocol has none";
        Problem::new(Code::NeverMatches, builder.places.protocol, message)
    } else if let (Some(transport), Some((names, span))) = (transport, builder.protocol)
        && !names.split('|').any(|name| runs_over(name, transport))
    {
        let shown = names.replace('|', " or ");
        let message = format!("{shown} runs over another protocol");
        Problem::new(Code::NeverMatches, span, message)
    } else {
        return;
    };
    builder.problems.push(problem);
}

/// Whether an application protocol is known to run over a transport, or is not known at all.
fn runs_over(name: &str, transport: Transport) -> bool {
    let mut known = DESCRIPTIONS
        .iter()
        .filter(|one| one.protocol.is(name))
        .peekable();
    known.peek().is_none() || known.any(|one| one.over.contains(&transport))
}

/// Contents to search for.
fn contents(builder: &mut Builder<'_, '_>) {
    if builder.items.is_empty() {
        return;
    }
    let positive = builder.items.iter().filter_map(|item| match &item.test {
        Test::Content(content) if !content.negated && item.decoded.is_none() => {
            Some((content.bytes.len(), item.span))
        }
        _ => None,
    });
    let problem = match positive.max_by_key(|(length, _)| *length) {
        None => Problem::new(
            Code::NoFastPattern,
            builder.items[0].span,
            "the rule has no content that must be found",
        )
        .help("add a content that every match has"),
        Some((length, span)) if length < SHORT => {
            let message = format!("the longest content has {length} bytes");
            Problem::new(Code::ShortFastPattern, span, message)
        }
        Some(_) => return,
    };
    builder.problems.push(problem);
}

/// Flowbits that are read and never set, or set and never read.
pub fn flowbits(uses: Vec<BitUse>) -> Vec<Diagnostic> {
    let of = |writes: bool| -> HashSet<u32> {
        uses.iter()
            .filter(|one| one.writes == writes)
            .map(|one| one.bit)
            .collect()
    };
    let (written, read) = (of(true), of(false));
    uses.into_iter()
        .filter(|one| match one.writes {
            true => !read.contains(&one.bit),
            false => !written.contains(&one.bit),
        })
        .map(|one| one.place)
        .collect()
}
