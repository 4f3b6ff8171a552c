//! What an event's copied packet bytes and tuple tell: addresses, ports, header fields.
//!
//! Every access is checked: bytes that are missing leave their field out. Where packet and tuple
//! both know a value, the packet's own header is believed (see `ends`).

use serde::Serialize;

use super::Options;
use super::text::{Address, Mac, Text};
use crate::event::{Event, EventKind};
use crate::packet::{Direction, Kind, Tuple, flag};

/// IP protocol numbers that EVE treats apart.
pub(super) mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ICMPV6: u8 = 58;
    pub const SCTP: u8 = 132;
}

/// Header fields of a dropped packet.
#[derive(Serialize, Default)]
pub(super) struct Drop {
    #[serde(skip_serializing_if = "Option::is_none")]
    len: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tos: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipid: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tc: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hoplimit: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flowlbl: Option<u32>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    tcp: Option<DropTcp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    udplen: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_id: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_seq: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct DropTcp {
    tcpseq: u32,
    tcpack: u32,
    tcpwin: u16,
    syn: bool,
    ack: bool,
    psh: bool,
    rst: bool,
    urg: bool,
    fin: bool,
    tcpres: u8,
    tcpurgp: u16,
}

/// Both ends of an event's packet or flow, source first.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    /// Addresses.
    pub(super) addrs: Option<(Address, Address)>,
    /// Ports of a protocol that has ports.
    pub(super) ports: Option<(u16, u16)>,
    /// What stands in the tuple for ports, whatever it means.
    pub(super) tuple_ports: Option<(u16, u16)>,
}

impl Ends {
    /// Destination first.
    pub(super) fn swapped(self) -> Ends {
        Ends {
            addrs: self.addrs.map(|(src, dst)| (dst, src)),
            ports: self.ports.map(|(src, dst)| (dst, src)),
            tuple_ports: self.tuple_ports.map(|(src, dst)| (dst, src)),
        }
    }
}

/// Bytes of an Ethernet header, and its number as a link type (pcap's DLT_EN10MB).
const ETHERNET_HEADER: usize = 14;
const ETHERNET: u16 = 1;

/// Hardware addresses of the frame.
#[derive(Serialize)]
pub(super) struct Ether {
    src_mac: Text<Mac>,
    dest_mac: Text<Mac>,
}

/// The addresses, if the event has the frame and that is Ethernet.
pub(super) fn ether(event: &Event, options: &Options) -> Option<Ether> {
    let wanted = options.eve.ethernet && usize::from(event.l3) >= ETHERNET_HEADER;
    let is_ethernet = wanted && (options.names.link)(event.link) == ETHERNET;
    let header = event.packet.first_chunk::<12>().filter(|_| is_ethernet)?;
    let ([dest, src], _) = header.as_chunks::<6>() else {
        return None;
    };
    Some(Ether {
        src_mac: Text(Mac(*src)),
        dest_mac: Text(Mac(*dest)),
    })
}

pub(super) fn drop_headers(event: &Event) -> Option<Drop> {
    let ip = event.packet.get(usize::from(event.l3)..)?;
    let mut drop = Drop::default();
    if event.flags & flag::IPV4 != 0 {
        drop.len = word(ip, 2);
        drop.tos = ip.get(1).copied();
        drop.ttl = ip.get(8).copied();
        drop.ipid = word(ip, 4);
    } else if event.flags & flag::IPV6 != 0 {
        let first = long(ip, 0)?;
        drop.len = word(ip, 4);
        drop.tc = Some((first >> 20) as u8);
        drop.hoplimit = ip.get(7).copied();
        drop.flowlbl = Some(first & 0xf_ffff);
    }
    if let Some(l4) = transport(event) {
        match event.protocol {
            protocol::TCP => drop.tcp = drop_tcp(l4),
            protocol::UDP => drop.udplen = word(l4, 4),
            protocol::ICMP | protocol::ICMPV6 => {
                drop.icmp_id = word(l4, 4);
                drop.icmp_seq = word(l4, 6);
            }
            _ => {}
        }
    }
    Some(drop)
}

fn drop_tcp(l4: &[u8]) -> Option<DropTcp> {
    let flags = *l4.get(13)?;
    let has = |bit: u8| flags >> bit & 1 != 0;
    Some(DropTcp {
        tcpseq: long(l4, 4)?,
        tcpack: long(l4, 8)?,
        tcpwin: word(l4, 14)?,
        syn: has(1),
        ack: has(4),
        psh: has(3),
        rst: has(2),
        urg: has(5),
        fin: has(0),
        tcpres: l4.get(12)? & 0x0f,
        tcpurgp: word(l4, 18)?,
    })
}

pub(super) fn ip_version(event: &Event) -> Option<u8> {
    if event.flags & flag::IPV4 != 0 {
        Some(4)
    } else if event.flags & flag::IPV6 != 0 {
        Some(6)
    } else {
        None
    }
}

/// Whether `packet` holds the headers of what the event is about.
fn has_headers(event: &Event) -> bool {
    !matches!(event.view, Kind::Stream | Kind::FlowEnd) && !event.packet.is_empty()
}

fn transport(event: &Event) -> Option<&[u8]> {
    if event.flags & flag::TRANSPORT == 0 || !has_headers(event) {
        return None;
    }
    event.packet.get(usize::from(event.l4)..)
}

pub(super) fn icmp_type_and_code(event: &Event) -> Option<(u8, u8)> {
    if !matches!(event.protocol, protocol::ICMP | protocol::ICMPV6) {
        return None;
    }
    match transport(event)? {
        [kind, code, ..] => Some((*kind, *code)),
        _ => None,
    }
}

/// Types of a flow's request and answer, if it is one of ICMP: decode/tuple.rs keeps them in place
/// of ports.
pub(super) fn icmp_of_flow(event: &Event, ends: Ends) -> Option<(Option<u8>, Option<u8>)> {
    let icmp = matches!(event.protocol, protocol::ICMP | protocol::ICMPV6);
    let (request, answer) = ends
        .tuple_ports
        .filter(|_| event.kind == EventKind::Flow && icmp)?;
    let [_, answered] = event.values.packets;
    let kind = |port: u16| u8::try_from(port).ok();
    Some((kind(request), kind(answer).filter(|_| answered > 0)))
}

/// Source and destination of a packet that is known by its tuple alone.
pub(super) fn ends_of(tuple: &Tuple, flags: u32, protocol: u8) -> Ends {
    let (v4, v6) = (flags & flag::IPV4 != 0, flags & flag::IPV6 != 0);
    let has_ports = matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    let a = (Address::of(&tuple.a_addr, v4), tuple.a_port);
    let b = (Address::of(&tuple.b_addr, v4), tuple.b_port);
    let (src, dst) = if flags & flag::REVERSED != 0 {
        (b, a)
    } else {
        (a, b)
    };
    let ports = (src.1, dst.1);
    Ends {
        addrs: (v4 || v6).then_some((src.0, dst.0)),
        ports: (has_ports && flags & flag::TRANSPORT != 0).then_some(ports),
        tuple_ports: None,
    }
}

/// Source and destination. Addresses come from the packet's own header where it is at hand, since
/// an ICMP error has the tuple of the packet it quotes and a fragment has none; else from the tuple.
pub(super) fn ends(event: &Event) -> Ends {
    let v4 = event.flags & flag::IPV4 != 0;
    let with_tuple = event.flags & flag::NO_FLOW == 0;
    let reversed = event.flags & flag::REVERSED != 0;
    let tuple = &event.tuple;
    let of_tuple = || {
        let a = Address::of(&tuple.a_addr, v4);
        let b = Address::of(&tuple.b_addr, v4);
        with_tuple.then_some(if reversed { (b, a) } else { (a, b) })
    };
    let addrs = ip_version(event).and_then(|_| header_addresses(event, v4).or_else(of_tuple));
    let has_ports = matches!(
        event.protocol,
        protocol::TCP | protocol::UDP | protocol::SCTP
    );
    let tuple_ports = with_tuple.then_some(if reversed {
        (tuple.b_port, tuple.a_port)
    } else {
        (tuple.a_port, tuple.b_port)
    });
    let of_header = || transport(event).and_then(|l4| Some((word(l4, 0)?, word(l4, 2)?)));
    let ports = tuple_ports.or_else(of_header);
    let ends = Ends {
        addrs,
        ports: ports.filter(|_| has_ports && addrs.is_some()),
        tuple_ports,
    };
    // The end of a flow is told from the client's side.
    if event.kind == EventKind::Flow && event.direction == Direction::ToClient {
        ends.swapped()
    } else {
        ends
    }
}

fn header_addresses(event: &Event, v4: bool) -> Option<(Address, Address)> {
    if !has_headers(event) {
        return None;
    }
    let ip = event.packet.get(usize::from(event.l3)..)?;
    if v4 {
        let src = ip.get(12..16)?.try_into().ok()?;
        let dst = ip.get(16..20)?.try_into().ok()?;
        Some((Address::V4(src), Address::V4(dst)))
    } else {
        let src = ip.get(8..24)?.try_into().ok()?;
        let dst = ip.get(24..40)?.try_into().ok()?;
        Some((Address::V6(src), Address::V6(dst)))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(u16::from_be_bytes(two))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(u32::from_be_bytes(four))
}
