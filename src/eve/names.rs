//! The words that EVE readers expect where ours differ, and the hooks for words of other rooms.
//!
//! Suricata's vocabulary stands here as facts of its output format; our own exact words go into the
//! `sluice` object of the same event.

use crate::app::registry::description;
use crate::app::{AppProtocol, Transport};
use crate::decode::{Anomaly, LinkType};
use crate::packet::Kind;
use crate::reason::Reason;

/// Bytes that begin with an IP header.
pub const DLT_RAW: u16 = 12;

/// Words that rooms above give to numbers which only they know.
#[derive(Clone, Copy)]
pub struct Names {
    /// Name of an anomaly code as rules write it (`ipv4.trunc_pkt`, `stream.pkt_invalid_ack`);
    /// empty where the code has none.
    pub anomaly: fn(u8) -> &'static str,
    /// Link type number for a `decode::LinkType`.
    pub link: fn(u8) -> u16,
    /// Name of `FlowValues::tcp_state`; empty where there is none.
    pub tcp_state: fn(u8) -> &'static str,
    /// Name of `FlowValues::end_reason`: `timeout`, `closed`, `evicted`, `shutdown`.
    pub end_reason: fn(u8) -> &'static str,
}

impl Default for Names {
    fn default() -> Self {
        Names {
            anomaly,
            link,
            tcp_state,
            end_reason,
        }
    }
}

/// Protocols of the application layer as counters of `stats` name them: number, over TCP, name. One
/// that is spoken over TCP and UDP has two.
pub fn counted_protocols() -> impl Iterator<Item = (u8, bool, String)> {
    let all = AppProtocol::ALL.iter().copied();
    let all = all.chain([AppProtocol::Failed]);
    all.flat_map(|protocol| {
        let over = description(protocol).map_or(&[][..], |known| known.over);
        // Suricata knows DNP3 over TCP alone.
        let both =
            protocol == AppProtocol::Failed || over.len() == 2 && protocol != AppProtocol::Dnp3;
        let udp = over == [Transport::Udp];
        [false, true].into_iter().filter_map(move |tcp| {
            let name = protocol.name();
            match both {
                true => {
                    let end = if tcp { "tcp" } else { "udp" };
                    Some((protocol as u8, tcp, format!("{name}_{end}")))
                }
                false => (tcp != udp).then(|| (protocol as u8, tcp, name.to_string())),
            }
        })
    })
}

/// Names of anomaly codes.
pub fn anomaly(code: u8) -> &'static str {
    Anomaly::from_code(code).map_or("", Anomaly::name)
}

/// Link types as EVE numbers them: tcpdump.org's, but raw IP as the DLT_RAW of Linux.
pub fn link(link: u8) -> u16 {
    match LinkType::from_u8(link) {
        LinkType::Raw => DLT_RAW,
        other => u16::try_from(other.to_pcap()).unwrap_or(u16::MAX),
    }
}

/// Names of TCP states in EVE, in Suricata's order.
pub fn tcp_state(number: u8) -> &'static str {
    const STATES: [&str; 12] = [
        "none",
        "listen",
        "syn_sent",
        "syn_recv",
        "established",
        "fin_wait1",
        "fin_wait2",
        "time_wait",
        "last_ack",
        "close_wait",
        "closing",
        "closed",
    ];
    STATES.get(usize::from(number)).copied().unwrap_or("")
}

/// Ends of flows, as `flow::EndReason` numbers them.
pub fn end_reason(number: u8) -> &'static str {
    const REASONS: [&str; 5] = ["unknown", "timeout", "closed", "evicted", "shutdown"];
    REASONS
        .get(usize::from(number))
        .copied()
        .unwrap_or("unknown")
}

/// `flow.elephant_direction` of `FlowValues::elephant`.
pub fn elephant_directions(bits: u8) -> &'static [&'static str] {
    match bits & 3 {
        1 => &["toserver"],
        2 => &["toclient"],
        3 => &["toserver", "toclient"],
        _ => &[],
    }
}

/// `flow.reason` for one of our ends. A flow is closed where a new connection takes its ports.
pub fn eve_end_reason(ours: &'static str) -> &'static str {
    match ours {
        "closed" => "tcp_reuse",
        "evicted" => "forced",
        other => other,
    }
}

/// `proto`: the name of an IP protocol, or nothing where EVE writes the number.
pub fn protocol(number: u8) -> Option<&'static str> {
    Some(match number {
        0 => "HOPOPT",
        1 => "ICMP",
        2 => "IGMP",
        4 => "IP-in-IP",
        6 => "TCP",
        17 => "UDP",
        41 => "IPv6",
        43 => "IPv6-Route",
        44 => "IPv6-Frag",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "IPv6-ICMP",
        59 => "IPv6-NoNxt",
        60 => "IPv6-Opts",
        88 => "EIGRP",
        89 => "OSPF",
        103 => "PIM",
        112 => "VRRP",
        132 => "SCTP",
        _ => return None,
    })
}

/// `pkt_src`: where the inspected bytes came from.
pub fn packet_source(kind: Kind) -> &'static str {
    match kind {
        Kind::Frame => "wire/pcap",
        Kind::Inner => "tunnel",
        Kind::Datagram => "defrag",
        Kind::Stream => "stream (detect/log)",
        Kind::FlowEnd => "stream (flow timeout)",
    }
}

/// `pkt_src` of a packet in a tunnel: by the protocol, version and ports of the packet around it, and
/// by whether it begins with an Ethernet header.
pub fn tunnel_source(protocol: u8, v6: bool, ports: [u16; 2], ethernet: bool) -> &'static str {
    /// Port of Geneve (RFC 8926 section 3.3).
    const GENEVE: u16 = 6081;
    match protocol {
        47 => "gre tunnel",
        4 | 41 if v6 => "ipv6 tunnel",
        4 | 41 => "ipv4 tunnel",
        17 if !ethernet => "teredo tunnel",
        17 if ports.contains(&GENEVE) => "geneve encapsulation",
        17 => "vxlan encapsulation",
        _ => "tunnel",
    }
}

/// `packet_info.linktype_name`.
pub fn link_name(link: u16) -> &'static str {
    match link {
        0 => "NULL",
        1 => "EN10MB",
        9 => "PPP",
        12 | 101 => "RAW",
        104 => "C_HDLC",
        113 => "LINUX_SLL",
        228 => "IPV4",
        229 => "IPV6",
        276 => "LINUX_SLL2",
        _ => "",
    }
}

/// `drop.reason`: the nearest of Suricata's words.
pub fn drop_reason(reason: Reason) -> &'static str {
    use Reason::*;
    match reason {
        DecodeLink
        | DecodeIpInvalid
        | DecodeTransportInvalid
        | DecodeIpChecksum
        | DecodeTransportChecksum
        | DecodeTooManyLayers
        | DecodeSourceRoute => "decode error",
        IpFragOverlap | IpFragInvalid => "defrag error",
        IpFragMemory => "defrag memcap",
        FlowTableFull => "flow memcap",
        FlowCondemned | RuleFlow => "flow drop",
        TcpMidstream => "stream midstream",
        TcpFlagsInvalid | TcpNoAck | TcpAckInvalid | TcpOutOfWindow | TcpPawsOld
        | TcpHandshakeInvalid | TcpRstInvalid | TcpFinInvalid => "stream error",
        TcpOverlapConflict => "stream reassembly",
        TcpUrgent => "stream urgent",
        StreamMemory => "stream memcap",
        Rule | RuleReject => "rules",
        AppError => "applayer error",
        // Suricata has no such drop; the exact word says it best.
        _ => reason.name(),
    }
}
