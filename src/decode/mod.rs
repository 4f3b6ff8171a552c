//! Decode: from the bytes of a frame to offsets, tuple, checksums and anomalies.
//!
//! A frame is walked layer by layer (ethernet.rs, ppp.rs, mpls.rs), then its network header
//! (ipv4.rs, ipv6.rs, arp.rs) and transport (tcp.rs, udp.rs, icmp.rs, sctp.rs, igmp.rs). A tunnel
//! (tunnel.rs) ends the walk with an [`Inner`] packet, which becomes a view of its own
//! (stage.rs). Plain frames take one short walk (straight.rs). The same files have the accessors that flow and match read headers with.
//!
//! Semantics of anomalies follow Suricata's decoders, so that its event rules mean the same here.
//! Invariant: decode never allocates, never panics on any bytes and never writes to them; every
//! layer consumes bytes, and layers, labels, extension headers and chunks have named limits.

pub mod anomaly;
pub mod arp;
pub mod checksum;
mod ethernet;
mod fragment;
pub mod icmp;
mod igmp;
pub mod ipv4;
pub mod ipv6;
mod mpls;
mod ppp;
pub mod sctp;
mod stage;
mod straight;
pub mod tcp;
mod tunnel;
mod tuple;
pub mod udp;

pub use anomaly::Anomaly;
pub use ethernet::ethernet_header;
pub use fragment::{Fragment, fragment};
pub use stage::{DecodeStage, Views};
pub use tuple::{Ends, canonical, is_v6, mapped, outer_vlan, owner_hash, pair_port, scope};

use crate::config::{Config, Mode};
use crate::counters::Counters;
use crate::packet::{Context, Tuple, VLANS_MAX, Verdict, flag};
use crate::reason::Reason;

/// Room that is kept between a transport header's position and the largest position a context
/// can hold, so that no header or payload position behind it overflows.
const POSITION_ROOM: usize = 256;

/// What the first bytes of a packet are. `Context::link` holds it as `u8`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[repr(u8)]
pub enum LinkType {
    /// Not known or not decoded.
    #[default]
    Unknown = 0,
    /// Ethernet (pcap 1).
    Ethernet,
    /// IPv4 or IPv6, told by its first nibble (pcap 12, 14, 101, 778).
    Raw,
    /// IPv4 (pcap 228).
    Ipv4,
    /// IPv6 (pcap 229).
    Ipv6,
    /// BSD loopback, either byte order (pcap 0, 108).
    Null,
    /// Linux cooked capture (pcap 113).
    Sll,
    /// Linux cooked capture, version 2 (pcap 276).
    Sll2,
    /// PPP, with or without HDLC framing (pcap 9, 50).
    Ppp,
    /// PPPoE session header (pcap 51).
    Pppoe,
    /// Cisco HDLC (pcap 104).
    Chdlc,
    /// Starts with a VLAN tag; inner packets of GRE only.
    Vlan,
    /// Starts with an ARP header; inner packets of GRE only.
    Arp,
}

impl LinkType {
    /// The link type of a capture's number (tcpdump.org/linktypes.html); `Unknown` if not decoded.
    pub fn from_pcap(number: u32) -> LinkType {
        match number {
            1 => LinkType::Ethernet,
            12 | 14 | 101 | 778 => LinkType::Raw,
            228 => LinkType::Ipv4,
            229 => LinkType::Ipv6,
            0 | 108 => LinkType::Null,
            113 => LinkType::Sll,
            276 => LinkType::Sll2,
            9 | 50 => LinkType::Ppp,
            51 => LinkType::Pppoe,
            104 => LinkType::Chdlc,
            _ => LinkType::Unknown,
        }
    }

    /// The number for a capture or an event's `packet_info.linktype`. VLAN and ARP have none and
    /// give the number of "not known" (147, user 0).
    pub fn to_pcap(self) -> u32 {
        match self {
            LinkType::Ethernet => 1,
            LinkType::Raw => 101,
            LinkType::Ipv4 => 228,
            LinkType::Ipv6 => 229,
            LinkType::Null => 0,
            LinkType::Sll => 113,
            LinkType::Sll2 => 276,
            LinkType::Ppp => 9,
            LinkType::Pppoe => 51,
            LinkType::Chdlc => 104,
            LinkType::Unknown | LinkType::Vlan | LinkType::Arp => 147,
        }
    }

    /// The link type that a context holds.
    pub fn from_u8(value: u8) -> LinkType {
        const ALL: [LinkType; 13] = [
            LinkType::Unknown,
            LinkType::Ethernet,
            LinkType::Raw,
            LinkType::Ipv4,
            LinkType::Ipv6,
            LinkType::Null,
            LinkType::Sll,
            LinkType::Sll2,
            LinkType::Ppp,
            LinkType::Pppoe,
            LinkType::Chdlc,
            LinkType::Vlan,
            LinkType::Arp,
        ];
        ALL.get(usize::from(value)).copied().unwrap_or_default()
    }
}

/// Ports of one kind of tunnel; at most [`TUNNEL_PORTS_MAX`].
#[derive(Clone, Copy, Debug, Default)]
struct Ports {
    list: [u16; TUNNEL_PORTS_MAX],
    count: u8,
}

/// Ports of a tunnel kind that are looked at; Suricata takes as many.
const TUNNEL_PORTS_MAX: usize = 4;

impl Ports {
    fn new(ports: &[u16]) -> Ports {
        let mut list = [0; TUNNEL_PORTS_MAX];
        for (to, from) in list.iter_mut().zip(ports) {
            *to = *from;
        }
        Ports {
            list,
            count: ports.len().min(TUNNEL_PORTS_MAX) as u8,
        }
    }

    #[inline]
    fn has(&self, port: u16) -> bool {
        self.list
            .iter()
            .take(usize::from(self.count))
            .any(|&known| known == port)
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The settings that decode needs, in a few bytes. Pure: holds no state between packets.
#[derive(Clone, Debug)]
pub struct Decoder {
    inline: bool,
    checksums: bool,
    vlan_tracking: bool,
    /// All ones where ports are pairs, each a wire of its own; 0 where they are taps of one wire.
    pair_mask: u8,
    teredo: bool,
    /// ERSPAN type III is followed.
    erspan_third: bool,
    layers_max: u8,
    vxlan_ports: Ports,
    /// VXLAN headers with reserved bits are none.
    vxlan_strict: bool,
    geneve_ports: Ports,
    teredo_ports: Ports,
}

impl Decoder {
    /// Takes what it needs from the settings.
    pub fn new(config: &Config) -> Decoder {
        Decoder {
            inline: config.mode == Mode::Inline,
            checksums: config.checksum_validation,
            vlan_tracking: config.vlan_tracking,
            pair_mask: if config.mode == Mode::Inline {
                u8::MAX
            } else {
                0
            },
            teredo: config.teredo_enabled,
            erspan_third: config.erspan_third,
            layers_max: config.layers_max,
            vxlan_ports: Ports::new(&config.vxlan_ports),
            vxlan_strict: config.vxlan_strict,
            geneve_ports: Ports::new(&config.geneve_ports),
            teredo_ports: Ports::new(&config.teredo_ports),
        }
    }

    /// Views that a frame, or a datagram that was put together, may need: each takes a layer at
    /// least, and the one that turns out to be no packet is given back.
    pub fn views_max(&self) -> usize {
        usize::from(self.layers_max)
    }

    /// Decodes a frame. `context.link` says what its first byte starts; line 0 of the context,
    /// VLANs and anomalies are written from scratch.
    #[inline(always)]
    pub fn frame(&self, bytes: &[u8], context: &mut Context, counters: &Counters) -> Option<Inner> {
        let is_ethernet = context.link == LinkType::Ethernet as u8;
        if is_ethernet && straight::frame(self, bytes, context, counters) {
            return None;
        }
        self.frame_by_layers(bytes, context, counters)
    }

    /// As [`Decoder::frame`], for where speed is not all.
    #[inline(never)]
    pub fn frame_apart(
        &self,
        bytes: &[u8],
        context: &mut Context,
        counters: &Counters,
    ) -> Option<Inner> {
        self.frame(bytes, context, counters)
    }

    /// As [`Decoder::frame`], without its straight path.
    #[inline(never)]
    pub fn frame_by_layers(
        &self,
        bytes: &[u8],
        context: &mut Context,
        counters: &Counters,
    ) -> Option<Inner> {
        context.vlan_count = 0;
        context.vlans = [0; VLANS_MAX];
        let link = LinkType::from_u8(context.link);
        let mut walk = Walk::new(self, bytes, context, counters, 0);
        ethernet::walk_link(&mut walk, link);
        walk.inner
    }

    /// Drops the packet where it is ours to drop.
    fn refuse(&self, reason: Reason, context: &mut Context) {
        if self.inline {
            context.worsen(Verdict::Drop(reason), u32::MAX);
            context.set(flag::DECIDED);
        }
    }

    /// Notes a wrong checksum, and refuses what has it.
    #[cold]
    fn bad_checksum(&self, anomaly: Anomaly, context: &mut Context, counters: &Counters) {
        context.set(flag::CHECKSUM_BAD);
        anomaly.note(context, counters);
        if let Some(reason) = anomaly.refusal() {
            self.refuse(reason, context);
        }
    }

    /// Decodes an inner packet, whose bytes are `bytes`, into a fresh context of its own.
    ///
    /// Returns what it carries in turn, or an error if it is none: its network header (or, for
    /// Teredo, anything in it) is invalid. Then the carrier is an ordinary packet.
    fn inner(
        &self,
        inner: &Inner,
        bytes: &[u8],
        context: &mut Context,
        counters: &Counters,
    ) -> Result<Option<Inner>, NoTunnel> {
        context.link = inner.link as u8;
        let rebuilt = context.flags & flag::REBUILT;
        if inner.vlan != 0 {
            context.vlans = [inner.vlan, 0, 0];
            context.vlan_count = 1;
        }
        let mut walk = Walk::new(self, bytes, context, counters, inner.layers);
        walk.tunnel = inner.tunnel;
        walk.context.flags |= rebuilt;
        ethernet::walk_link(&mut walk, inner.link);
        let discard = (walk.failed && inner.link != LinkType::Ethernet)
            || (walk.invalid && inner.kind == TunnelKind::Teredo);
        if discard {
            Err(NoTunnel)
        } else {
            Ok(walk.inner)
        }
    }
}

/// Decodes a reassembled datagram, which starts with its IP header, for the flow stage.
///
/// The caller resets the context and sets its span, kind, order, time, port, depth and the VLANs
/// of its fragments; the rest is written here, `flag::REBUILT` included. The IPv4 header checksum
/// is not verified (the reassembler wrote that header), the transport's is. Gives what the
/// datagram carries, for [`Views::follow`].
pub fn datagram(
    decoder: &Decoder,
    bytes: &[u8],
    context: &mut Context,
    counters: &Counters,
) -> Option<Inner> {
    context.link = LinkType::Raw as u8;
    let layers = context.depth;
    let mut walk = Walk::new(decoder, bytes, context, counters, layers);
    walk.context.flags |= flag::REBUILT;
    walk.header_unsummed = true;
    ethernet::walk_link(&mut walk, LinkType::Raw);
    walk.inner
}

/// Source and destination address of the packet itself, as 16 bytes.
///
/// They are the tuple's, but for ICMP errors, whose tuple is that of the packet they quote. `bytes`
/// are those of the context's span.
pub fn addresses(context: &Context, bytes: &[u8]) -> ([u8; 16], [u8; 16]) {
    if !context.has(flag::ICMP_ERROR) {
        return (*context.src_addr(), *context.dst_addr());
    }
    if context.has(flag::IPV4) {
        ipv4::Ipv4::at(bytes, context.l3).map(|ip| (mapped(ip.src()), mapped(ip.dst())))
    } else {
        ipv6::Ipv6::at(bytes, context.l3).map(|ip| (ip.src(), ip.dst()))
    }
    .unwrap_or_default()
}

/// A packet inside a tunnel: where its bytes are, relative to its carrier's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inner {
    start: u32,
    length: u32,
    link: LinkType,
    kind: TunnelKind,
    layers: u8,
    vlan: u16,
    tunnel: u32,
}

/// How sure we are that there is a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TunnelKind {
    /// The carrier's protocol field says so (IP in IP, GRE).
    Certain,
    /// A UDP port says so (VXLAN, Geneve).
    Port,
    /// It looks like Teredo.
    Teredo,
}

/// The inner packet turned out to be none.
struct NoTunnel;

/// One walk through the layers of a packet.
struct Walk<'a> {
    decoder: &'a Decoder,
    bytes: &'a [u8],
    context: &'a mut Context,
    counters: &'a Counters,
    layers: u8,
    /// The network header (or a link header before it) could not be read.
    failed: bool,
    /// Something was malformed in a way that Suricata calls invalid.
    invalid: bool,
    /// The IPv4 header is not as its checksum saw it: rebuilt, or compressed in part.
    header_unsummed: bool,
    /// The transport checksum cannot be told (IPv6 routing header, home address).
    unsummed: bool,
    /// Network id of the tunnel around this packet.
    tunnel: u32,
    inner: Option<Inner>,
}

impl<'a> Walk<'a> {
    #[inline]
    fn new(
        decoder: &'a Decoder,
        bytes: &'a [u8],
        context: &'a mut Context,
        counters: &'a Counters,
        layers: u8,
    ) -> Walk<'a> {
        context.l3 = 0;
        context.l4 = 0;
        context.payload = 0;
        context.payload_length = 0;
        context.flags = flag::NO_FLOW;
        context.protocol = 0;
        context.anomaly_count = 0;
        Walk {
            decoder,
            bytes,
            context,
            counters,
            layers,
            failed: false,
            invalid: false,
            header_unsummed: false,
            unsummed: false,
            tunnel: 0,
            inner: None,
        }
    }

    /// Counts a layer; false (and noted) when there are too many.
    #[inline]
    fn enter(&mut self) -> bool {
        self.layers = self.layers.saturating_add(1);
        if self.layers < self.decoder.layers_max {
            return true;
        }
        self.fail(Anomaly::TooManyLayers);
        self.failed = true;
        false
    }

    /// The bytes from `at` on.
    #[inline]
    fn from(&self, at: usize) -> &'a [u8] {
        self.bytes.get(at..).unwrap_or(&[])
    }

    /// Notes an anomaly, once per packet; the walk goes on.
    #[cold]
    fn note(&mut self, anomaly: Anomaly) {
        anomaly.note(self.context, self.counters);
    }

    /// Notes an anomaly that Suricata calls invalid; the walk goes on.
    #[cold]
    fn invalid(&mut self, anomaly: Anomaly) {
        self.invalid = true;
        self.note(anomaly);
    }

    /// Notes an anomaly that ends the walk, or that every receiver discards the packet for.
    #[cold]
    fn fail(&mut self, anomaly: Anomaly) {
        self.invalid(anomaly);
        if let Some(reason) = anomaly.refusal() {
            self.refuse(reason);
        }
    }

    /// Drops the packet where it is ours to drop.
    #[cold]
    fn refuse(&mut self, reason: Reason) {
        self.decoder.refuse(reason, self.context);
    }

    /// Notes a wrong checksum.
    #[cold]
    fn bad_checksum(&mut self, anomaly: Anomaly) {
        self.decoder
            .bad_checksum(anomaly, self.context, self.counters);
    }

    /// Sets payload position and length; what a context cannot hold is no payload.
    #[inline]
    fn payload(&mut self, start: usize, end: usize) {
        let length = end.saturating_sub(start);
        if let (Ok(start), Ok(length)) = (u16::try_from(start), u16::try_from(length)) {
            self.context.payload = start;
            self.context.payload_length = length;
        }
    }

    /// Hands the bytes `start..end` on as an inner packet; noted when that is a layer too many.
    fn carry(&mut self, start: usize, end: usize, link: LinkType, kind: TunnelKind) {
        self.carry_with(start, end, link, kind, 0, 0);
    }

    /// As [`Walk::carry`], with the tunnel's network id and a VLAN id from its header.
    fn carry_with(
        &mut self,
        start: usize,
        end: usize,
        link: LinkType,
        kind: TunnelKind,
        tunnel: u32,
        vlan: u16,
    ) {
        if self.layers.saturating_add(1) >= self.decoder.layers_max {
            self.fail(Anomaly::TooManyLayers);
            return;
        }
        self.inner = Some(Inner {
            start: start as u32,
            length: end.saturating_sub(start) as u32,
            link,
            kind,
            layers: self.layers + 1,
            vlan,
            tunnel,
        });
    }

    /// Verifies the checksum of a segment with a pseudo-header.
    #[inline]
    fn verify<A: Addresses>(&mut self, addresses: A, protocol: u8, segment: &[u8], wrong: Anomaly) {
        if self.decoder.checksums
            && !self.unsummed
            && !checksum::segment_is_right(addresses.sum(), protocol, segment)
        {
            self.bad_checksum(wrong);
        }
    }

    /// Decodes what an IP header carries, at `start..end`, by its protocol number, and writes the
    /// tuple.
    #[inline]
    fn transport<A: Addresses>(&mut self, protocol: u8, start: usize, end: usize, addresses: A) {
        self.context.protocol = protocol;
        let ports = if start + POSITION_ROOM > usize::from(u16::MAX) {
            self.fail(Anomaly::TooManyLayers);
            None
        } else {
            self.context.l4 = start as u16;
            match protocol {
                6 => tcp::decode(self, start, end, addresses),
                17 => udp::decode(self, start, end, addresses),
                _ => self.other_transport(protocol, start, end, addresses),
            }
        };
        self.flow(protocol, ports, addresses);
    }

    /// The protocols that are not TCP or UDP.
    #[inline(never)]
    fn other_transport<A: Addresses>(
        &mut self,
        protocol: u8,
        start: usize,
        end: usize,
        addresses: A,
    ) -> Option<(u16, u16)> {
        let odd = match protocol {
            1 if !A::V6 => return icmp::decode_v4(self, start, end),
            58 if A::V6 => return icmp::decode_v6(self, start, end, addresses),
            132 => return sctp::decode(self, start, end),
            50 => return sctp::decode_esp(self, start, end),
            47 => return tunnel::decode_gre(self, start, end),
            4 => return tunnel::ip_in_ip(self, start, end, A::V6, LinkType::Ipv4),
            41 => return tunnel::ip_in_ip(self, start, end, A::V6, LinkType::Ipv6),
            2 if !A::V6 => return igmp::decode(self, start, end),
            58 => {
                self.invalid(Anomaly::Ipv4Icmpv6);
                return None;
            }
            1 => Anomaly::Ipv6Icmpv4,
            _ if A::V6 => Anomaly::Ipv6UnknownNextHeader,
            _ => Anomaly::Ipv4UnknownProtocol,
        };
        self.note(odd);
        None
    }

    /// Writes the tuple, unless a quoted packet's stands there; `ports` are source and
    /// destination, `None` for a packet without a flow.
    #[inline]
    fn flow<A: Addresses>(&mut self, protocol: u8, ports: Option<(u16, u16)>, addresses: A) {
        if ports.is_some() {
            self.context.flags &= !flag::NO_FLOW;
        }
        if !self.context.has(flag::ICMP_ERROR) {
            self.write_tuple(protocol, ports.unwrap_or((0, 0)), addresses);
        }
    }

    #[inline]
    fn write_tuple<A: Addresses>(&mut self, protocol: u8, ports: (u16, u16), addresses: A) {
        let vlans = if self.decoder.vlan_tracking {
            self.context.vlans
        } else {
            [0; VLANS_MAX]
        };
        let pair = self.context.port >> 1 & self.decoder.pair_mask;
        let tuple = &mut self.context.tuple;
        tuple.protocol = protocol;
        tuple.scope = scope(A::V6, vlans, self.context.depth, self.tunnel, pair);
        let reversed = addresses.order(ports, tuple);
        let (src, dst) = ports;
        let swap = (src ^ dst) & u16::from(reversed).wrapping_neg();
        tuple.a_port = src ^ swap;
        tuple.b_port = dst ^ swap;
        self.context.flags |= u32::from(reversed) * flag::REVERSED;
    }
}

/// Source and destination address as they stand in an IP header. The two families are two types,
/// so that each has transport decoders of its own without a branch on the family.
trait Addresses: Copy {
    /// Whether they are IPv6's.
    const V6: bool;

    /// Both as 16 bytes.
    fn split(self) -> ([u8; 16], [u8; 16]);

    /// Their part of a pseudo-header's sum.
    fn sum(self) -> u64;

    /// Writes both to the tuple, the lower endpoint first; true if the source is the higher.
    fn order(self, ports: (u16, u16), tuple: &mut Tuple) -> bool;
}

/// Addresses of IPv4.
type V4<'a> = &'a [u8; 8];

/// Addresses of IPv6.
type V6<'a> = &'a [u8; 32];

impl Addresses for V4<'_> {
    const V6: bool = false;

    #[inline]
    fn split(self) -> ([u8; 16], [u8; 16]) {
        let [a, b, c, d, e, f, g, h] = *self;
        (mapped([a, b, c, d]), mapped([e, f, g, h]))
    }

    #[inline]
    fn sum(self) -> u64 {
        u64::from_le_bytes(*self)
    }

    #[inline]
    fn order(self, ports: (u16, u16), tuple: &mut Tuple) -> bool {
        let both = u64::from_be_bytes(*self);
        let (src, dst) = ((both >> 32) as u32, both as u32);
        let reversed = tuple::is_reversed(src, dst, ports);
        // Without a branch: half of all packets go either way.
        let swap = (src ^ dst) & u32::from(reversed).wrapping_neg();
        tuple.a_addr = mapped((src ^ swap).to_be_bytes());
        tuple.b_addr = mapped((dst ^ swap).to_be_bytes());
        reversed
    }
}

impl Addresses for V6<'_> {
    const V6: bool = true;

    #[inline]
    fn split(self) -> ([u8; 16], [u8; 16]) {
        match self.as_chunks::<16>().0 {
            [src, dst] => (*src, *dst),
            _ => ([0; 16], [0; 16]),
        }
    }

    #[inline]
    fn sum(self) -> u64 {
        checksum::partial(self)
    }

    #[inline]
    fn order(self, ports: (u16, u16), tuple: &mut Tuple) -> bool {
        let (src, dst) = self.split();
        let (src, dst) = (u128::from_be_bytes(src), u128::from_be_bytes(dst));
        let reversed = tuple::is_reversed(src, dst, ports);
        let swap = (src ^ dst) & u128::from(reversed).wrapping_neg();
        tuple.a_addr = (src ^ swap).to_be_bytes();
        tuple.b_addr = (dst ^ swap).to_be_bytes();
        reversed
    }
}

/// A big-endian 16-bit field at `at`; `None` beyond the bytes.
#[inline]
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk::<2>()
        .map(|field| u16::from_be_bytes(*field))
}

/// A big-endian 32-bit field at `at`; `None` beyond the bytes.
#[inline]
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk::<4>()
        .map(|field| u32::from_be_bytes(*field))
}
