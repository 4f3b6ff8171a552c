//! Link layers, from the first byte to the network header: Ethernet, VLAN tags, 802.1ah, VN-Tag,
//! E-Tag, FabricPath, Linux cooked, BSD loopback, Cisco HDLC and raw IP. PPP is in ppp.rs, MPLS
//! and NSH in mpls.rs.
//!
//! 802.3 frames with a length instead of a type (LLC, SNAP) are counted as an unknown EtherType
//! and go on undecoded, as spanning tree must.

use super::{Anomaly, LinkType, Walk, arp, be16, be32, ipv4, ipv6, mpls, ppp};
use crate::packet::{Context, VLANS_MAX};

/// EtherTypes that are decoded.
mod ether_type {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const MPLS_UNICAST: u16 = 0x8847;
    pub const MPLS_MULTICAST: u16 = 0x8848;
    pub const PPPOE_DISCOVERY: u16 = 0x8863;
    pub const PPPOE_SESSION: u16 = 0x8864;
    pub const PROVIDER_BRIDGE: u16 = 0x88a8;
    pub const PROVIDER_BACKBONE: u16 = 0x88e7;
    pub const FABRIC_PATH: u16 = 0x8903;
    pub const VN_TAG: u16 = 0x8926;
    pub const E_TAG: u16 = 0x893f;
    pub const NSH: u16 = 0x894f;
    pub const QINQ: u16 = 0x9100;
}

/// The next layer and where it starts; `None` when the walk is over.
pub(super) type Next = Option<(Layer, usize)>;

/// A link layer that is still to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layer {
    /// An Ethernet header.
    Ethernet,
    /// What an EtherType announced.
    Type(u16),
    /// What a VLAN tag, VN-Tag or E-Tag announced: an unknown type is this anomaly.
    Tagged(u16, Anomaly),
    /// An MPLS label stack.
    Mpls,
    /// An IPv4 header.
    Ipv4,
    /// An IPv6 header.
    Ipv6,
}

/// Walks from the first byte of a packet of this link type to its end.
#[inline]
pub(super) fn walk_link(walk: &mut Walk, link: LinkType) {
    // 1. IPv4 straight behind Ethernet, in line. 2. Everything else, layer by layer; it would do
    //    the same for 1.
    let plain = link == LinkType::Ethernet && be16(walk.bytes, 12) == Some(ether_type::IPV4);
    if !plain {
        walk_layers(walk, link);
    } else if walk.enter() {
        ipv4::decode(walk, 14);
    }
}

#[inline(never)]
fn walk_layers(walk: &mut Walk, link: LinkType) {
    let mut next = match link {
        LinkType::Ethernet => Some((Layer::Ethernet, 0)),
        _ => start(walk, link),
    };
    // Bounded: each layer but the first starts behind at least one consumed byte, and all that
    // can follow each other in a chain count towards `layers_max`.
    while let Some((layer, at)) = next {
        next = match layer {
            Layer::Ethernet => ethernet(walk, at),
            Layer::Type(kind) | Layer::Tagged(kind, _) if kind == ether_type::IPV4 => {
                ipv4::decode(walk, at);
                None
            }
            Layer::Type(kind) | Layer::Tagged(kind, _) if kind == ether_type::IPV6 => {
                ipv6::decode(walk, at);
                None
            }
            Layer::Ipv4 => {
                ipv4::decode(walk, at);
                None
            }
            Layer::Ipv6 => {
                ipv6::decode(walk, at);
                None
            }
            Layer::Mpls => mpls::decode(walk, at),
            Layer::Type(kind) => typed(walk, kind, at, None),
            Layer::Tagged(kind, unknown) => typed(walk, kind, at, Some(unknown)),
        };
    }
}

/// The first layer of packets that do not start with an Ethernet header.
fn start(walk: &mut Walk, link: LinkType) -> Next {
    match link {
        LinkType::Ethernet => Some((Layer::Ethernet, 0)),
        LinkType::Ipv4 => Some((Layer::Ipv4, 0)),
        LinkType::Ipv6 => Some((Layer::Ipv6, 0)),
        LinkType::Raw => raw(walk),
        LinkType::Null => null(walk),
        LinkType::Sll => cooked(walk, 16, 14, Anomaly::SllPacketTooSmall),
        LinkType::Sll2 => cooked(walk, 20, 0, Anomaly::Sll2PacketTooSmall),
        LinkType::Chdlc => cooked(walk, 4, 2, Anomaly::ChdlcPacketTooSmall),
        LinkType::Ppp => ppp::decode(walk, 0),
        LinkType::Pppoe => ppp::session(walk, 0),
        LinkType::Vlan => vlan(walk, 0),
        LinkType::Arp => {
            arp::decode(walk, 0);
            None
        }
        LinkType::Unknown => {
            walk.note(Anomaly::LinkUnsupportedType);
            None
        }
    }
}

/// Ends a walk whose link header is cut short.
fn cut_short(walk: &mut Walk, anomaly: Anomaly) -> Next {
    walk.fail(anomaly);
    walk.failed = true;
    None
}

#[inline]
fn ethernet(walk: &mut Walk, at: usize) -> Next {
    match walk.from(at).first_chunk::<14>() {
        Some(&[.., high, low]) if walk.enter() => {
            Some((Layer::Type(u16::from_be_bytes([high, low])), at + 14))
        }
        Some(_) => None,
        None => cut_short(walk, Anomaly::EthernetPacketTooSmall),
    }
}

/// The layer that an EtherType announces. `tag` is the anomaly of the tag that announced it, for
/// a type that is not decoded.
fn typed(walk: &mut Walk, kind: u16, at: usize, tag: Option<Anomaly>) -> Next {
    match kind {
        ether_type::IPV4 => Some((Layer::Ipv4, at)),
        ether_type::IPV6 => Some((Layer::Ipv6, at)),
        ether_type::VLAN | ether_type::PROVIDER_BRIDGE | ether_type::QINQ => vlan(walk, at),
        ether_type::ARP => {
            arp::decode(walk, at);
            None
        }
        ether_type::PPPOE_SESSION => ppp::session(walk, at),
        ether_type::PPPOE_DISCOVERY => {
            ppp::discovery(walk, at);
            None
        }
        ether_type::MPLS_UNICAST | ether_type::MPLS_MULTICAST => Some((Layer::Mpls, at)),
        ether_type::NSH => mpls::decode_nsh(walk, at),
        // I-TAG (4 bytes less its own type), both customer addresses, customer type.
        ether_type::PROVIDER_BACKBONE => tag_of(walk, at, 18, Anomaly::Ieee8021ahHeaderTooSmall)
            .map(|(kind, next)| (Layer::Type(kind), next)),
        ether_type::FABRIC_PATH if walk.from(at).len() < 16 => {
            cut_short(walk, Anomaly::DcePacketTooSmall)
        }
        ether_type::FABRIC_PATH => Some((Layer::Ethernet, at + 2)),
        ether_type::VN_TAG => tag_of(walk, at, 6, Anomaly::VntagHeaderTooSmall)
            .map(|(kind, next)| (Layer::Tagged(kind, Anomaly::VntagUnknownType), next)),
        ether_type::E_TAG => tag_of(walk, at, 8, Anomaly::EtagHeaderTooSmall)
            .map(|(kind, next)| (Layer::Tagged(kind, Anomaly::EtagUnknownType), next)),
        _ => {
            walk.note(Anomaly::EthernetUnknownEthertype);
            if let Some(anomaly) = tag {
                walk.invalid(anomaly);
                walk.failed = true;
            }
            None
        }
    }
}

/// Reads a tag of `length` bytes whose last two are the next EtherType.
fn tag_of(walk: &mut Walk, at: usize, length: usize, short: Anomaly) -> Option<(u16, usize)> {
    let Some(kind) = be16(walk.from(at), length - 2) else {
        cut_short(walk, short);
        return None;
    };
    walk.enter().then_some((kind, at + length))
}

/// 802.1Q: priority, drop eligibility and id, then the type. Three ids are kept.
fn vlan(walk: &mut Walk, at: usize) -> Next {
    if usize::from(walk.context.vlan_count) >= VLANS_MAX {
        walk.note(Anomaly::VlanTooManyLayers);
        return None;
    }
    let (kind, next) = tag_of(walk, at, 4, Anomaly::VlanHeaderTooSmall)?;
    let id = be16(walk.from(at), 0).unwrap_or(0) & 0x0fff;
    if let Some(place) = walk
        .context
        .vlans
        .get_mut(usize::from(walk.context.vlan_count))
    {
        *place = id;
        walk.context.vlan_count += 1;
    }
    Some((Layer::Tagged(kind, Anomaly::VlanUnknownType), next))
}

/// A header of `length` bytes with an EtherType at `field`: cooked captures, Cisco HDLC.
fn cooked(walk: &mut Walk, length: usize, field: usize, short: Anomaly) -> Next {
    match be16(walk.bytes, field) {
        Some(kind) if walk.bytes.len() >= length => {
            walk.enter().then_some((Layer::Type(kind), length))
        }
        _ => cut_short(walk, short),
    }
}

/// IP without a link layer.
fn raw(walk: &mut Walk) -> Next {
    match walk.bytes.first() {
        Some(first) if walk.bytes.len() >= 20 => match first >> 4 {
            4 => Some((Layer::Ipv4, 0)),
            6 => Some((Layer::Ipv6, 0)),
            _ => {
                walk.fail(Anomaly::IprawInvalidIpVersion);
                None
            }
        },
        _ => cut_short(walk, Anomaly::Ipv4PacketTooSmall),
    }
}

/// BSD loopback: an address family in the byte order of the machine that wrote it.
fn null(walk: &mut Walk) -> Next {
    let Some(family) = be32(walk.bytes, 0) else {
        return cut_short(walk, Anomaly::LtnullPacketTooSmall);
    };
    let family = if family > 0xffff {
        family.swap_bytes()
    } else {
        family
    };
    match family {
        2 => Some((Layer::Ipv4, 4)),
        // IPv6 on Linux, Windows, NetBSD, Solaris, FreeBSD, macOS.
        10 | 23 | 24 | 26 | 28 | 30 => Some((Layer::Ipv6, 4)),
        _ => {
            walk.note(Anomaly::LtnullUnsupportedType);
            None
        }
    }
}

/// The Ethernet header of a packet (destination, source, type), without tags; `None` where the
/// packet has none.
pub fn ethernet_header<'a>(context: &Context, bytes: &'a [u8]) -> Option<&'a [u8; 14]> {
    if context.link == LinkType::Ethernet as u8 {
        bytes.first_chunk::<14>()
    } else {
        None
    }
}
