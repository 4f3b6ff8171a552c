//! The seven words before the options: action, protocol, addresses, ports, direction.
//!
//! Address and port lists are sets.rs's; here is what the words mean.

use crate::app::registry;
use crate::packet::RejectTo;
use crate::rules::diagnostic::{Code, Problem, Span, nearest};
use crate::rules::lex::{ACTIONS, RawRule};
use crate::rules::parse::Context;
use crate::rules::sets;
use crate::rules::signature::{Action, ActionScope, AddressSet, Header, PortSet, Protocol};
use crate::rules::support;

/// A header that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Action.
    pub action: Action,
    /// What the action is written for.
    pub scope: Option<ActionScope>,
    /// The rest.
    pub header: Header,
    /// A rule hook (`tcp:flow_start`) was written.
    pub hook: bool,
    /// The hook of an application protocol.
    pub state: Option<registry::Hook>,
    /// The hook of a flow's first packet.
    pub flow_start: bool,
    /// The action is `config`: an alert that is not told.
    pub noalert: bool,
    /// What of it this build cannot run.
    pub unsupported: Option<String>,
}

/// Application protocols of the language.
pub const APP_PROTOCOLS: &[&str] = &[
    "http",
    "http1",
    "http2",
    "ftp",
    "smtp",
    "tls",
    "ssh",
    "imap",
    "smb",
    "dcerpc",
    "irc",
    "dns",
    "modbus",
    "enip",
    "dnp3",
    "nfs",
    "ntp",
    "ftp-data",
    "tftp",
    "ike",
    "krb5",
    "quic",
    "dhcp",
    "sip",
    "rfb",
    "mqtt",
    "pgsql",
    "telnet",
    "websocket",
    "ldap",
    "doh2",
    "mdns",
    "template",
    "rdp",
    "bittorrent-dht",
    "pop3",
    "snmp",
    "jabber",
    "vxlan",
    "llmnr",
];

/// Protocols of the language below the application.
const NETWORK_PROTOCOLS: &[&str] = &[
    "ip",
    "ipv4",
    "ip4",
    "ipv6",
    "ip6",
    "tcp",
    "tcp-pkt",
    "tcp-stream",
    "udp",
    "icmp",
    "icmpv4",
    "icmpv6",
    "sctp",
    "arp",
    "ether",
    "pkthdr",
];

/// Hooks of packet rules.
const PACKET_HOOKS: &[&str] = &["flow_start", "pre_flow", "pre_stream", "all"];

/// Names of IP protocols (facts of the IANA list), for `ip_proto` and headers.
pub const IP_PROTOCOLS: &[(&str, u8)] = &[
    ("hopopt", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ggp", 3),
    ("ipencap", 4),
    ("ipip", 4),
    ("st", 5),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("pup", 12),
    ("udp", 17),
    ("hmp", 20),
    ("xns-idp", 22),
    ("rdp", 27),
    ("iso-tp4", 29),
    ("dccp", 33),
    ("xtp", 36),
    ("ddp", 37),
    ("idpr-cmtp", 38),
    ("ipv6", 41),
    ("ipv6-route", 43),
    ("ipv6-frag", 44),
    ("idrp", 45),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ipsec-esp", 50),
    ("ah", 51),
    ("ipsec-ah", 51),
    ("skip", 57),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("rspf", 73),
    ("vmtp", 81),
    ("eigrp", 88),
    ("ospf", 89),
    ("ospfigp", 89),
    ("ax.25", 93),
    ("etherip", 97),
    ("encap", 98),
    ("pim", 103),
    ("ipcomp", 108),
    ("vrrp", 112),
    ("l2tp", 115),
    ("isis", 124),
    ("sctp", 132),
    ("fc", 133),
    ("mobility-header", 135),
    ("udplite", 136),
    ("mpls-in-ip", 137),
    ("manet", 138),
    ("hip", 139),
    ("shim6", 140),
    ("wesp", 141),
    ("rohc", 142),
];

/// Number of an IP protocol by name or number.
pub fn ip_protocol(text: &str) -> Option<u8> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok();
    }
    IP_PROTOCOLS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text))
        .map(|(_, number)| *number)
}

/// Reads the header of a line.
pub fn parse(text: &str, raw: &RawRule, context: &mut Context<'_>) -> Result<Head, Problem> {
    let (action, scope) = action(text, raw.action)?;
    let mut unsupported: Option<String> = None;
    let (protocol, hook) = protocol(text, raw.protocol)?;
    if let Protocol::App(name) = &protocol
        && !support::app_protocol(name)
    {
        unsupported.get_or_insert_with(|| format!("protocol {name}"));
    }
    // `<` asks a firewall to accept the states before, too; other rules it changes nothing of.
    let state = hook.and_then(|hook| match &protocol {
        Protocol::App(name) => registry::hook(name, hook.strip_prefix('<').unwrap_or(hook)),
        _ => None,
    });
    let flow_start = hook == Some("flow_start");
    // All packets come by each of the others, in an order that rules cannot tell.
    let packet = hook.is_some_and(|hook| PACKET_HOOKS.contains(&hook));
    if let Some(hook) = hook.filter(|_| state.is_none() && !packet) {
        let message = format!("`{hook}` is not a hook of this protocol");
        let problem = Problem::new(Code::BadProtocol, raw.protocol, message);
        return Err(match &protocol {
            Protocol::App(name) if matches!(&**name, "http2" | "doh2") => {
                problem.help("write its kind of transaction, too: http2:stream:request_headers")
            }
            _ => problem,
        });
    }
    let direction = raw.direction.of(text);
    if !matches!(direction, "->" | "<>" | "=>") {
        let problem = Problem::new(
            Code::BadDirection,
            raw.direction,
            format!("`{direction}` is not a direction"),
        );
        return Err(match direction {
            "<-" => problem.help("swap source and destination and write `->`"),
            _ => problem.help("write `->`, `<>` (either way) or `=>` (transactions)"),
        });
    }
    let src_addr = addresses(text, raw.src_addr, context)?;
    let src_port = ports(text, raw.src_port, context)?;
    let dst_addr = addresses(text, raw.dst_addr, context)?;
    let dst_port = ports(text, raw.dst_port, context)?;
    let same = src_addr == dst_addr && src_port == dst_port;
    Ok(Head {
        action,
        scope,
        header: Header {
            protocol,
            src_addr,
            src_port,
            dst_addr,
            dst_port,
            bidirectional: direction == "<>" && !same,
            transactional: direction == "=>",
        },
        hook: hook.is_some(),
        state,
        flow_start,
        noalert: raw.action.of(text).eq_ignore_ascii_case("config"),
        unsupported,
    })
}

/// The action, and what it is written for.
fn action(text: &str, span: Span) -> Result<(Action, Option<ActionScope>), Problem> {
    let word = span.of(text);
    let (name, scope) = match word.split_once(':') {
        Some((name, scope)) => (name, Some(scope)),
        None => (word, None),
    };
    let action = match name.to_ascii_lowercase().as_str() {
        "alert" | "config" => Action::Alert,
        "drop" => Action::Drop,
        "pass" => Action::Pass,
        "reject" | "rejectsrc" => Action::Reject(RejectTo::Source),
        "rejectdst" => Action::Reject(RejectTo::Destination),
        "rejectboth" => Action::Reject(RejectTo::Both),
        "accept" => {
            return Err(
                Problem::new(Code::BadAction, span, "`accept` belongs to firewall rules")
                    .help("write `pass`"),
            );
        }
        _ => {
            let message = format!("`{word}` is not an action");
            let problem = Problem::new(Code::BadAction, span, message);
            return Err(match nearest(name, ACTIONS.iter().copied()) {
                Some(known) => problem.help(format!("did you mean `{known}`?")),
                None => problem.help(
                    "actions are alert, drop, pass, reject, rejectsrc, rejectdst, rejectboth",
                ),
            });
        }
    };
    let scoped = action != Action::Alert;
    match scope {
        None => Ok((action, None)),
        Some("packet") if scoped => Ok((action, Some(ActionScope::Packet))),
        Some("flow") if scoped => Ok((action, Some(ActionScope::Flow))),
        Some(scope) => Err(Problem::new(
            Code::BadAction,
            span,
            format!("`{scope}` is not a scope of `{name}`"),
        )
        .help("drop, reject and pass take :packet or :flow")),
    }
}

/// The protocol, and the hook that it names.
fn protocol(text: &str, span: Span) -> Result<(Protocol, Option<&str>), Problem> {
    let word = span.of(text);
    let (name, hook) = match word.split_once(':') {
        Some((name, hook)) => (name, Some(hook)),
        None => (word, None),
    };
    let lower = name.to_ascii_lowercase();
    let found = match lower.as_str() {
        "ip" => Protocol::Ip,
        "ipv4" | "ip4" => Protocol::Ipv4,
        "ipv6" | "ip6" => Protocol::Ipv6,
        "tcp" => Protocol::Tcp,
        "tcp-pkt" => Protocol::TcpPacket,
        "tcp-stream" => Protocol::TcpStream,
        "udp" => Protocol::Udp,
        "icmp" => Protocol::Icmp,
        "icmpv4" => Protocol::Icmpv4,
        "icmpv6" => Protocol::Icmpv6,
        "sctp" => Protocol::Sctp,
        "arp" => Protocol::Arp,
        "ether" => Protocol::Ether,
        "pkthdr" => Protocol::PacketHeader,
        name if APP_PROTOCOLS.contains(&name) => Protocol::App(name.into()),
        name => match ip_protocol(name) {
            Some(number) => Protocol::Number(number),
            None => return Err(unknown_protocol(name, span)),
        },
    };
    if let Some(hook) = hook
        && !matches!(found, Protocol::App(_))
        && !PACKET_HOOKS.contains(&hook)
    {
        return Err(Problem::new(
            Code::BadProtocol,
            span,
            format!("`{hook}` is not a hook of `{name}`"),
        ));
    }
    Ok((found, hook))
}

fn unknown_protocol(name: &str, span: Span) -> Problem {
    let words = NETWORK_PROTOCOLS.iter().chain(APP_PROTOCOLS).copied();
    let problem = Problem::new(
        Code::BadProtocol,
        span,
        format!("`{name}` is not a protocol"),
    );
    match nearest(name, words) {
        Some(known) => problem.help(format!("did you mean `{known}`?")),
        None => problem,
    }
}

/// An address field, read once for every text.
fn addresses(text: &str, span: Span, context: &mut Context<'_>) -> Result<AddressSet, Problem> {
    let field = span.of(text);
    if let Some(known) = context.addresses.get(field) {
        return Ok(known.clone());
    }
    let set = sets::addresses(field, span, context.variables)?;
    context.addresses.insert(field.to_string(), set.clone());
    Ok(set)
}

/// A port field, read once for every text.
fn ports(text: &str, span: Span, context: &mut Context<'_>) -> Result<PortSet, Problem> {
    let field = span.of(text);
    if let Some(known) = context.ports.get(field) {
        return Ok(known.clone());
    }
    let set = sets::ports(field, span, context.variables)?;
    context.ports.insert(field.to_string(), set.clone());
    Ok(set)
}
