//! What a packet's headers say of a signature: protocol, addresses, ports, the flow keyword, and
//! header keywords. Fields are read from the frame by the offsets that decode found; a field that
//! is not there never matches. Nothing here looks at payload.

use super::answer::which_hold;
use crate::app::AppProtocol;
use crate::decode::ethernet_header;
use crate::decode::sctp::{Sctp, chunk};
use crate::flow::record::TcpPhase;
use crate::packet::{Context, Direction, Kind, flag};
use crate::rules::signature::{
    Buffer, Compare, FlowKeyword, Header, PacketTest, Protocol, Signature, Spoken, Which,
};

const NANOS: u64 = 1_000_000_000;
const PROTOCOL_IGMP: u8 = 2;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_ICMPV6: u8 = 58;
const PROTOCOL_SCTP: u8 = 132;
/// Bytes of an ICMPv6 header as rules see it: type, code, checksum and the word that each type
/// gives a meaning of its own.
const ICMPV6_HEADER: usize = 8;

/// A packet, as header tests see it.
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    /// What the stages know.
    pub context: &'a Context,
    /// The bytes that its offsets refer to.
    pub bytes: &'a [u8],
    /// What its flow speaks.
    pub app: AppProtocol,
    /// What its flow spoke before it changed.
    pub original: AppProtocol,
    /// What the first bytes of each direction tell.
    pub sides: [AppProtocol; 2],
    /// Whether rules about the detection of protocols are due.
    pub app_told: bool,
}

impl<'a> Packet<'a> {
    fn is_ip(&self) -> bool {
        self.context.flags & (flag::IPV4 | flag::IPV6) != 0
    }

    fn l3(&self) -> &'a [u8] {
        self.bytes
            .get(usize::from(self.context.l3)..)
            .unwrap_or(&[])
    }

    /// Transport bytes of that protocol; empty where the packet has none.
    fn l4(&self, protocol: u8) -> &'a [u8] {
        if self.context.protocol != protocol || !self.context.has(flag::TRANSPORT) {
            return &[];
        }
        self.bytes
            .get(usize::from(self.context.l4)..)
            .unwrap_or(&[])
    }

    /// Flags of the TCP header, none without one.
    pub fn tcp_flags(&self) -> u8 {
        self.l4(PROTOCOL_TCP).get(13).copied().unwrap_or(0)
    }

    /// The Ethernet header; a packet that was put together has none of its own.
    fn ethernet(&self) -> Option<&'a [u8]> {
        let framed = matches!(self.context.kind, Kind::Frame | Kind::Inner);
        let header = ethernet_header(self.context, self.bytes).filter(|_| framed)?;
        Some(header)
    }

    /// Where the IP packet ends in `bytes`: what lies behind is the link's padding. An IPv4 length
    /// of 0 (left to the card) and an IPv6 one (a jumbogram) reach to the end of the bytes.
    fn ip_end(&self) -> usize {
        let header = self.l3();
        let length = match () {
            _ if self.context.has(flag::IPV4) => word(header, 2),
            _ if self.context.has(flag::IPV6) => word(header, 4).map(|n| n + u64::from(n > 0) * 40),
            _ => None,
        };
        let all = self.bytes.len();
        match length {
            Some(length) if length > 0 => all.min(usize::from(self.context.l3) + length as usize),
            _ => all,
        }
    }

    /// The SCTP packet, if it is one that decode accepted.
    fn sctp(&self) -> Option<Sctp<'a>> {
        let accepted = self.context.protocol == PROTOCOL_SCTP && self.context.has(flag::TRANSPORT);
        accepted
            .then(|| Sctp::at(self.bytes, self.context.l4, self.ip_end()))
            .flatten()
    }

    /// The payload of the packet.
    pub fn payload(&self) -> &'a [u8] {
        self.context.payload_of(self.bytes)
    }

    fn ports(&self) -> Option<(u16, u16)> {
        let ported = matches!(
            self.context.protocol,
            PROTOCOL_TCP | PROTOCOL_UDP | PROTOCOL_SCTP
        );
        (ported && (self.context.has(flag::TRANSPORT) || self.context.kind == Kind::Stream))
            .then(|| (self.context.src_port(), self.context.dst_port()))
    }
}

fn byte(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at).map(|byte| u64::from(*byte))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let pair = bytes.get(at..at + 2)?;
    Some(u64::from(u16::from_be_bytes(pair.try_into().ok()?)))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let four = bytes.get(at..at + 4)?;
    Some(u64::from(u32::from_be_bytes(four.try_into().ok()?)))
}

/// Whether the header of the rule and its flow keyword fit the packet, for bytes of its flow that
/// went in `direction`. Candidates are asked by check.rs, which answers the same.
pub fn fits_towards(signature: &Signature, packet: &Packet, direction: Direction) -> bool {
    let flow_fits = match &signature.flow {
        Some(flow) => flow_fits(flow, packet.context, direction),
        None => true,
    };
    let turned = direction != packet.context.direction;
    flow_fits && protocol_fits(&signature.header.protocol, packet) && {
        let header = &signature.header;
        ports_fit(header, packet, turned) && addresses_fit(header, packet, turned)
    }
}

fn flow_fits(flow: &FlowKeyword, context: &Context, direction: Direction) -> bool {
    let established = context.has(flag::ESTABLISHED);
    let rebuilt = context.has(flag::REBUILT);
    context.flow.is_some()
        && (!flow.to_server || direction == Direction::ToServer)
        && (!flow.to_client || direction == Direction::ToClient)
        && (!flow.established || established)
        && (!flow.not_established || !established)
        && (!flow.only_frag || rebuilt)
        && (!flow.no_frag || !rebuilt)
}

fn protocol_fits(protocol: &Protocol, packet: &Packet) -> bool {
    let context = packet.context;
    let is = |number: u8| packet.is_ip() && context.protocol == number;
    match protocol {
        Protocol::Ip => packet.is_ip(),
        Protocol::Ipv4 => context.has(flag::IPV4),
        Protocol::Ipv6 => context.has(flag::IPV6),
        Protocol::Tcp | Protocol::TcpPacket | Protocol::TcpStream => is(PROTOCOL_TCP),
        Protocol::Udp => is(PROTOCOL_UDP),
        Protocol::Icmp => is(PROTOCOL_ICMP) || is(PROTOCOL_ICMPV6),
        Protocol::Icmpv4 => is(PROTOCOL_ICMP),
        Protocol::Icmpv6 => is(PROTOCOL_ICMPV6),
        Protocol::Sctp => is(PROTOCOL_SCTP),
        Protocol::Number(number) => is(*number),
        Protocol::Arp => context.has(flag::ARP),
        Protocol::Ether => packet.ethernet().is_some(),
        Protocol::PacketHeader => true,
        Protocol::App(word) => packet.app.is(word),
    }
}

fn ports_fit(header: &Header, packet: &Packet, turned: bool) -> bool {
    if header.src_port.any && header.dst_port.any {
        return true;
    }
    packet.ports().is_some_and(|(src_port, dst_port)| {
        let (src_port, dst_port) = if turned {
            (dst_port, src_port)
        } else {
            (src_port, dst_port)
        };
        header.src_port.contains(src_port) && header.dst_port.contains(dst_port)
    })
}

fn addresses_fit(header: &Header, packet: &Packet, turned: bool) -> bool {
    if header.src_addr.any && header.dst_addr.any {
        return true;
    }
    let (source, destination) = (packet.context.src_addr(), packet.context.dst_addr());
    let (source, destination) = if turned {
        (destination, source)
    } else {
        (source, destination)
    };
    packet.is_ip() && header.src_addr.contains(source) && header.dst_addr.contains(destination)
}

/// Whether all header keywords hold.
pub fn tests_hold(tests: &[PacketTest], packet: &Packet) -> bool {
    tests.iter().all(|test| holds(test, packet))
}

fn with(compare: &Compare, value: Option<u64>) -> bool {
    value.is_some_and(|value| compare.test(value))
}

fn holds(test: &PacketTest, packet: &Packet) -> bool {
    let context = packet.context;
    match test {
        PacketTest::PayloadSize(compare) => size_holds(compare, context),
        PacketTest::Anomaly(code) => context.noted().contains(code),
        PacketTest::FlowStart => context.has(flag::FLOW_NEW),
        PacketTest::Rpc {
            program,
            version,
            procedure,
        } => call(packet).is_some_and(|(called, of, number)| {
            called == *program
                && version.is_none_or(|version| version == of)
                && procedure.is_none_or(|procedure| procedure == number)
        }),
        PacketTest::TcpSession(asked) => in_phase(*asked, context),
        PacketTest::Reputation(test) => {
            packet.is_ip() && test.holds(context.src_addr(), context.dst_addr())
        }
        PacketTest::Country(test) => {
            packet.is_ip() && test.holds(context.src_addr(), context.dst_addr())
        }
        PacketTest::SameIp => packet.is_ip() && context.src_addr() == context.dst_addr(),
        PacketTest::VlanId {
            compare,
            which,
            slice,
        } => vlan_holds(compare.as_ref(), *which, *slice, context),
        PacketTest::VlanLayers(compare) => compare.test(u64::from(context.vlan_count)),
        PacketTest::Checksum { which, valid } => checksum_holds(which, *valid, packet),
        PacketTest::StreamSize { side, compare } => {
            let [server, client] = [
                context.values.stream_bytes[1],
                context.values.stream_bytes[0],
            ];
            context.protocol == PROTOCOL_TCP
                && context.flow.is_some()
                && sides_hold(*side, compare, u64::from(server), u64::from(client))
        }
        PacketTest::FlowAge(compare) => {
            // Of whole seconds, each for itself.
            let [now, start] = [context.time_ns, context.values.start_ns].map(|ns| ns / NANOS);
            context.flow.is_some() && compare.test(now.saturating_sub(start))
        }
        PacketTest::FlowPackets { side, compare } => {
            let [to_server, to_client] = context.values.packets;
            let [to_server, to_client] = [u64::from(to_server), u64::from(to_client)];
            context.flow.is_some() && ways_hold(*side, compare, to_server, to_client)
        }
        PacketTest::FlowBytes { side, compare } => {
            let [to_server, to_client] = context.values.bytes;
            context.flow.is_some() && ways_hold(*side, compare, to_server, to_client)
        }
        PacketTest::FlowElephant(side) => {
            let elephant = context.values.elephant;
            let wanted = if *side < 2 { 1 << side } else { 3 };
            context.flow.is_some()
                && match side {
                    3 => elephant == wanted,
                    _ => elephant & wanted != 0,
                }
        }
        PacketTest::AppProtocol { .. } => speaks(test, packet),
        _ => ip_holds(test, packet) || transport_holds(test, packet),
    }
}

/// What is not as long as that has a length: an empty packet is asked for by 0 alone.
fn size_holds(compare: &Compare, context: &Context) -> bool {
    let length = u64::from(context.payload_length);
    let is_asked = length != 0 || !matches!(compare, Compare::NotEqual(_));
    context.kind != Kind::Stream && is_asked && compare.test(length)
}

/// Whether a connection is in one of the phases: bits 1 setup, 2 established, 4 closing.
fn in_phase(asked: u8, context: &Context) -> bool {
    const CLOSING: std::ops::RangeInclusive<u8> =
        TcpPhase::FinWait1 as u8..=TcpPhase::Closing as u8;
    let established = context.has(flag::ESTABLISHED);
    let closing = CLOSING.contains(&context.values.tcp_state);
    let phase = if established { 2 } else { 1 } | if closing { 4 } else { 0 };
    context.protocol == PROTOCOL_TCP && context.flow.is_some() && asked & phase != 0
}

/// Whether the flow speaks, or spoke, what `app-layer-protocol` names.
fn speaks(test: &PacketTest, packet: &Packet) -> bool {
    let PacketTest::AppProtocol {
        names,
        negated,
        of,
        exact,
    } = test
    else {
        return false;
    };
    let [to_server, to_client] = packet.sides;
    let apps = match of {
        Spoken::Direction if packet.context.direction == Direction::ToServer => [to_server; 2],
        Spoken::Direction => [to_client; 2],
        Spoken::Final => [packet.app; 2],
        Spoken::Original => [packet.original; 2],
        Spoken::Either => [to_server, to_client],
        Spoken::ToServer => [to_server; 2],
        Spoken::ToClient => [to_client; 2],
    };
    let known = |app: AppProtocol| app != AppProtocol::Unknown;
    let is = |app: AppProtocol, name: &str| match (known(app), name) {
        (known, "unknown") => !known,
        (false, _) => false,
        (true, name) if *exact => app.is_exactly(name),
        (true, name) => app.is(name),
    };
    let any = apps
        .iter()
        .any(|app| names.iter().any(|name| is(*app, name)));
    any != *negated && (!*negated || apps.into_iter().any(known))
}

/// Program, version and procedure of the remote call that a packet begins with (RFC 5531 9, 11).
fn call(packet: &Packet) -> Option<(u32, u32, u32)> {
    let payload = packet.payload();
    let message = match packet.context.protocol {
        PROTOCOL_TCP => payload.get(4..)?,
        PROTOCOL_UDP => payload,
        _ => return None,
    };
    let number = |at| long(message, at).map(|number| number as u32);
    (number(4)? == 0).then_some((number(12)?, number(16)?, number(20)?))
}

fn sides_hold(side: u8, compare: &Compare, server: u64, client: u64) -> bool {
    match side {
        0 => compare.test(server),
        1 => compare.test(client),
        2 => compare.test(server) && compare.test(client),
        _ => compare.test(server) || compare.test(client),
    }
}

fn ways_hold(side: u8, compare: &Compare, to_server: u64, to_client: u64) -> bool {
    match side {
        0 => compare.test(to_server),
        1 => compare.test(to_client),
        2 => compare.test(to_server) || compare.test(to_client),
        _ => compare.test(to_server) && compare.test(to_client),
    }
}

fn vlan_holds(
    compare: Option<&Compare>,
    which: Which,
    slice: (i32, i32),
    context: &Context,
) -> bool {
    let count = usize::from(context.vlan_count).min(context.vlans.len());
    let ids = context.vlans.get(..count).unwrap_or(&[]).iter();
    let found = ids.map(|id| compare.is_some_and(|compare| compare.test(u64::from(*id))));
    which_hold(which, slice, &found)
}

fn ip_holds(test: &PacketTest, packet: &Packet) -> bool {
    let v4 = packet.context.has(flag::IPV4);
    let v6 = packet.context.has(flag::IPV6);
    let header = packet.l3();
    let of_v4 = |value: Option<u64>| if v4 { value } else { None };
    match test {
        PacketTest::Ttl(compare) if v4 => with(compare, byte(header, 8)),
        PacketTest::Ttl(compare) if v6 => with(compare, byte(header, 7)),
        PacketTest::Tos(compare) => with(compare, of_v4(byte(header, 1))),
        PacketTest::IpId(compare) => with(compare, of_v4(word(header, 4))),
        PacketTest::IpProtocol(compare) => {
            (v4 || v6) && compare.test(u64::from(packet.context.protocol))
        }
        PacketTest::FragBits { bits, modifier } => {
            let word = of_v4(byte(header, 6));
            word.is_some_and(|high| fragment_bits_hold(high as u8 >> 5, *bits, *modifier))
        }
        PacketTest::FragWord(compare) => with(compare, of_v4(word(header, 6))),
        PacketTest::FragOffset(compare) if v6 => with(compare, fragment_at(packet)),
        PacketTest::FragOffset(compare) => {
            with(compare, of_v4(word(header, 6)).map(|word| word & 0x1fff))
        }
        PacketTest::IpVersion(version) => (*version == 4 && v4) || (*version == 6 && v6),
        PacketTest::IpOption(name) => v4 && option_there(header, name),
        _ => false,
    }
}

/// Where an IPv6 fragment begins, in bytes.
fn fragment_at(packet: &Packet) -> Option<u64> {
    let fragment = crate::decode::fragment(packet.context, packet.bytes);
    fragment.map(|fragment| u64::from(fragment.offset))
}

/// Bits against what a rule asks: exactly, all of (`+`), any of (`*`), not all of these (`!`).
fn bits_hold(have: u8, asked: u8, modifier: u8) -> bool {
    match modifier {
        b'+' | 2 => have & asked == asked,
        b'*' | 3 => have & asked != 0,
        b'!' | 1 => have & asked != asked,
        _ => have == asked,
    }
}

/// The same of a fragment's bits, where `+` asks for others beside these.
fn fragment_bits_hold(have: u8, asked: u8, modifier: u8) -> bool {
    bits_hold(have, asked, modifier) && (modifier != b'+' || have != asked)
}

/// The same of TCP's flags. No flags at all (`0`): a segment with any is what `!` asks for, and what
/// no other asks for. (Suricata looks at ignored flags, too, then: a scan without flags but those of
/// congestion would pass `flags:0,12`.)
fn flags_hold(have: u8, asked: u8, modifier: u8) -> bool {
    match (have, asked) {
        (1.., 0) => modifier == 1,
        _ => bits_hold(have, asked, modifier),
    }
}

fn option_there(header: &[u8], name: &str) -> bool {
    let wanted: u8 = match name {
        "rr" => 7,
        "eol" => 0,
        "nop" => 1,
        "ts" => 68,
        "sec" => 130,
        "esec" => 133,
        "lsrr" => 131,
        "cipso" => 134,
        "ssrr" => 137,
        "satid" => 136,
        "rtralt" => 148,
        "qs" => 25,
        // `any` asks for all of them at once, which no header has room for.
        _ => return false,
    };
    let length = usize::from(header.first().map_or(0, |first| first & 0xf)) * 4;
    let mut options = header.get(20..length).unwrap_or(&[]);
    while let Some(&kind) = options.first() {
        if kind == wanted {
            return true;
        }
        let skip = match kind {
            0 => return false,
            1 => 1,
            _ => options.get(1).map_or(0, |n| usize::from(*n)),
        };
        if skip == 0 {
            return false;
        }
        options = options.get(skip..).unwrap_or(&[]);
    }
    false
}

fn transport_holds(test: &PacketTest, packet: &Packet) -> bool {
    let tcp = packet.l4(PROTOCOL_TCP);
    match test {
        PacketTest::TcpFlags {
            flags,
            modifier,
            ignored,
        } => {
            let have = byte(tcp, 13);
            have.is_some_and(|have| flags_hold(have as u8 & !ignored, *flags, *modifier))
        }
        PacketTest::TcpFlagByte(compare) => with(compare, byte(tcp, 13)),
        PacketTest::TcpSeq(compare) => with(compare, long(tcp, 4)),
        PacketTest::TcpAck(compare) => with(compare, long(tcp, 8)),
        PacketTest::TcpWindow(compare) => with(compare, word(tcp, 14)),
        PacketTest::TcpMss(compare) => with(compare, tcp_option(tcp, 2).and_then(|v| word(v, 0))),
        PacketTest::TcpWscale(compare) => {
            // Beyond what RFC 7323 allows it counts as none.
            let scale = tcp_option(tcp, 3).and_then(|v| byte(v, 0));
            with(
                compare,
                scale.map(|scale| if scale > 14 { 0 } else { scale }),
            )
        }
        _ => icmp_holds(test, packet),
    }
}

/// Value of a TCP option (RFC 9293 section 3.1).
fn tcp_option(tcp: &[u8], wanted: u8) -> Option<&[u8]> {
    let length = usize::from(*tcp.get(12)? >> 4) * 4;
    let mut options = tcp.get(20..length)?;
    while let Some(&kind) = options.first() {
        match kind {
            0 => return None,
            1 => options = options.get(1..)?,
            _ => {
                let length = usize::from(*options.get(1)?).max(2);
                if kind == wanted {
                    return options.get(2..length);
                }
                options = options.get(length..)?;
            }
        }
    }
    None
}

fn icmp_holds(test: &PacketTest, packet: &Packet) -> bool {
    let v4 = packet.l4(PROTOCOL_ICMP);
    let v6 = packet.l4(PROTOCOL_ICMPV6);
    let either = if v4.is_empty() { v6 } else { v4 };
    match test {
        PacketTest::IcmpType(compare) => with(compare, byte(either, 0)),
        PacketTest::IgmpType(compare) => with(compare, byte(packet.l4(PROTOCOL_IGMP), 0)),
        PacketTest::IcmpCode(compare) => with(compare, byte(either, 1)),
        PacketTest::IcmpId(compare) if is_query(v4, v6) => with(compare, word(either, 4)),
        PacketTest::IcmpSeq(compare) if is_query(v4, v6) => with(compare, word(either, 6)),
        PacketTest::Icmpv6Mtu(compare) if v6.starts_with(&[2, 0]) => with(compare, long(v6, 4)),
        _ => sctp_holds(test, packet),
    }
}

/// Types that carry an identifier (RFC 792, RFC 950, RFC 4443).
fn is_query(v4: &[u8], v6: &[u8]) -> bool {
    matches!(v4.first(), Some(0 | 8 | 13..=18)) || matches!(v6.first(), Some(128 | 129))
}

fn sctp_holds(test: &PacketTest, packet: &Packet) -> bool {
    let Some(sctp) = packet.sctp() else {
        return false;
    };
    match test {
        PacketTest::SctpVtag(compare) => compare.test(u64::from(sctp.verification_tag())),
        PacketTest::SctpChunkCount(compare) => compare.test(sctp.chunks().count() as u64),
        PacketTest::SctpChunkType(compare) => sctp
            .chunks()
            .any(|chunk| compare.test(u64::from(chunk.kind))),
        _ => false,
    }
}

/// Sum of 16-bit words in one's complement (RFC 1071), over `bytes` after `sum`.
fn ones_sum(mut sum: u32, bytes: &[u8]) -> u32 {
    for pair in bytes.chunks(2) {
        let high = u32::from(pair.first().copied().unwrap_or(0)) << 8;
        sum += high | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

fn checksum_holds(which: &str, valid: bool, packet: &Packet) -> bool {
    let context = packet.context;
    if which == "ipv4" {
        let header = packet.l3();
        let length = usize::from(header.first().map_or(0, |first| first & 0xf)) * 4;
        let Some(header) = header.get(..length).filter(|_| context.has(flag::IPV4)) else {
            return false;
        };
        return (ones_sum(0, header) == 0xffff) == valid;
    }
    let (protocol, version) = match which {
        "tcpv4" => (PROTOCOL_TCP, flag::IPV4),
        "tcpv6" => (PROTOCOL_TCP, flag::IPV6),
        "udpv4" => (PROTOCOL_UDP, flag::IPV4),
        "udpv6" => (PROTOCOL_UDP, flag::IPV6),
        "icmpv4" => (PROTOCOL_ICMP, flag::IPV4),
        "icmpv6" => (PROTOCOL_ICMPV6, flag::IPV6),
        "igmp" => (PROTOCOL_IGMP, flag::IPV4),
        _ => return false,
    };
    let l4 = packet.l4(protocol);
    let end = usize::from(context.payload) + usize::from(context.payload_length);
    let length = end.saturating_sub(usize::from(context.l4));
    let Some(segment) = l4.get(..length).filter(|s| s.len() >= 8) else {
        return false;
    };
    if !context.has(version) || context.has(flag::FRAGMENT) {
        return false;
    }
    if which == "udpv4" && word(segment, 6) == Some(0) {
        // RFC 768: no checksum was computed, so there is none to be wrong.
        return valid;
    }
    (ones_sum(pseudo_sum(which, context, length), segment) == 0xffff) == valid
}

fn pseudo_sum(which: &str, context: &Context, length: usize) -> u32 {
    if matches!(which, "icmpv4" | "igmp") {
        return 0;
    }
    let (src, dst) = (context.src_addr(), context.dst_addr());
    let skip = if context.has(flag::IPV4) { 12 } else { 0 };
    let mut sum = ones_sum(0, src.get(skip..).unwrap_or(&[]));
    sum = ones_sum(sum, dst.get(skip..).unwrap_or(&[]));
    sum = ones_sum(sum, &(length as u32).to_be_bytes());
    ones_sum(sum, &[0, context.protocol])
}

/// Whether `holds` is true of some instance of a header buffer: `sctp.chunk_data` has one for each
/// DATA chunk, the others have at most one.
pub fn any_instance(
    buffer: &Buffer,
    packet: &Packet,
    mut holds: impl FnMut(&[u8]) -> bool,
) -> bool {
    match buffer {
        Buffer::SctpChunkData => packet.sctp().is_some_and(|sctp| {
            let mut chunks = sctp.chunks();
            chunks.any(|chunk| chunk.kind == chunk::DATA && holds(chunk.data()))
        }),
        _ => single(buffer, packet).is_some_and(holds),
    }
}

/// Bytes of an address as sets keep it: four of IPv4.
fn address<'a>(packet: &Packet<'a>, address: &'a [u8; 16]) -> Option<&'a [u8]> {
    let skip = if packet.context.has(flag::IPV4) {
        12
    } else {
        0
    };
    packet.is_ip().then(|| address.get(skip..)).flatten()
}

/// Bytes of a header buffer; `None` where the packet has no such header.
fn single<'a>(buffer: &Buffer, packet: &Packet<'a>) -> Option<&'a [u8]> {
    let context = packet.context;
    let until = |from: u16, to: u16| packet.bytes.get(usize::from(from)..usize::from(to));
    let network_end = if context.has(flag::TRANSPORT) {
        context.l4
    } else {
        context.payload
    };
    let transport = |protocol| {
        (context.protocol == protocol && context.has(flag::TRANSPORT))
            .then(|| until(context.l4, context.payload))
            .flatten()
    };
    match buffer {
        Buffer::Payload => Some(packet.payload()),
        Buffer::Ipv4Header if context.has(flag::IPV4) => {
            let header = packet.l3();
            header.get(..usize::from(*header.first()? & 0xf) * 4)
        }
        Buffer::Ipv6Header if context.has(flag::IPV6) => until(context.l3, network_end),
        Buffer::TcpHeader => transport(PROTOCOL_TCP),
        Buffer::UdpHeader => transport(PROTOCOL_UDP),
        Buffer::Icmpv4Header => transport(PROTOCOL_ICMP),
        Buffer::Icmpv6Header => packet.l4(PROTOCOL_ICMPV6).get(..ICMPV6_HEADER),
        Buffer::IgmpHeader => transport(PROTOCOL_IGMP),
        Buffer::SctpHeader => Some(packet.sctp()?.whole()),
        Buffer::EtherHeader => packet.ethernet(),
        Buffer::IpSource => address(packet, context.src_addr()),
        Buffer::IpDestination => address(packet, context.dst_addr()),
        Buffer::ArpHeader if context.has(flag::ARP) => Some(packet.l3()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::option_there;

    /// Suricata's `detect-ipopts.c`: `any` is the mark of all options at once.
    #[test]
    fn options_are_found_one_by_one() {
        let mut header = [0; 28];
        header[0] = 0x47;
        header[20..].copy_from_slice(&[1, 7, 7, 4, 0, 0, 0, 0]);
        for (name, expected) in [("nop", true), ("rr", true), ("ts", false), ("any", false)] {
            assert_eq!(option_there(&header, name), expected, "{name}");
        }
    }
}
