//! Answers to rejected packets: TCP RST, ICMP and ICMPv6 "administratively prohibited".
//!
//! Only building lives here; who is rejected is decided before, sending is the lane's. A frame is
//! built from scratch in a preallocated slot; the rejected packet is only read. Read first: RFC
//! 9293 3.10.7 (what a RST must carry so that its receiver believes it), RFC 5961 3.2, RFC 792,
//! RFC 1812 4.3.2 and RFC 4443 2.4 (what is never answered, how much is quoted, rate limits).
//!
//! Each answer that a verdict asks for moves one counter: RejectRst, RejectIcmp or RejectLost.

use super::Cap;
use crate::counters::Counter;
use crate::decode::checksum::{finish, ones_complement};
use crate::event::{BUILT_MAX, Built, Emit};
use crate::packet::{Context, Kind, RejectTo, flag};

/// ICMP errors per second and lane (RFC 4443 2.4 f and RFC 1812 4.3.2.8 demand a limit).
pub(super) const ICMP_PER_SECOND_MAX: u32 = 1_000;
/// Longest ICMPv4 error, IP header included (RFC 1812 4.3.2.3).
const ICMPV4_ERROR_MAX: usize = 576;
/// Longest ICMPv6 error, IP header included: the least MTU of IPv6 (RFC 4443 2.4 c).
const ICMPV6_ERROR_MAX: usize = 1280;
/// Shortest Ethernet frame without its checksum; shorter ones are padded.
const ETHERNET_MIN: usize = 60;
/// VLAN tags and addresses before the IP header that we copy.
const LINK_MAX: usize = 64;
/// Hop limit of an answer.
const HOPS: u8 = 64;

/// IP protocol numbers.
mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ICMPV6: u8 = 58;
}

/// Bits of the TCP flags byte.
mod tcp_flag {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

/// A packet to answer: the frame on the wire and, where a view was rejected, the view.
pub(super) struct Question<'a> {
    /// Bytes of the carrying frame.
    pub frame: &'a [u8],
    /// Context of the carrying frame.
    pub carrier: &'a Context,
    /// Bytes of the rejected context's span.
    pub packet: &'a [u8],
    /// The rejected context: the carrier itself or one of its views.
    pub context: &'a Context,
}

/// Which end of the packet is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// The answering side of a stage.
pub(super) struct Answers {
    icmp_cap: Cap,
}

impl Default for Answers {
    fn default() -> Self {
        Answers {
            icmp_cap: Cap::new(ICMP_PER_SECOND_MAX),
        }
    }
}

impl Answers {
    /// Builds what the verdict of `question.context` asks for into `emit`, and counts each answer
    /// as sent or lost.
    pub(super) fn answer(&mut self, question: &Question, emit: &mut Emit) {
        let sides: &[Side] = match question.context.reject_to {
            RejectTo::Source => &[Side::Source],
            RejectTo::Destination => &[Side::Destination],
            RejectTo::Both => &[Side::Source, Side::Destination],
        };
        for side in sides {
            let counter = self
                .one(question, *side, emit)
                .unwrap_or(Counter::RejectLost);
            emit.counters.inc(counter);
        }
    }

    /// One answer; `None` where RFCs forbid it, we cannot build it, or there is no room.
    fn one(&mut self, question: &Question, side: Side, emit: &mut Emit) -> Option<Counter> {
        let packet = Packet::of(question)?;
        let now_ns = emit.now_ns;
        let built = emit.build()?;
        let counter = if packet.protocol == protocol::TCP {
            reset(&packet, side, built).map(|()| Counter::RejectRst)
        } else {
            prohibited(&packet, side, built)
                .filter(|()| self.icmp_cap.admit(now_ns))
                .map(|()| Counter::RejectIcmp)
        };
        if counter.is_none() {
            emit.built_count -= 1;
        }
        counter
    }
}

/// What must be known of a packet to answer it, checked: addresses that may be answered, a whole
/// datagram, a link header that we can copy.
struct Packet<'a> {
    context: &'a Context,
    /// Port that the frame came from.
    port: u8,
    /// Link header, addresses to the last byte before the IP header; empty on raw IP.
    link: &'a [u8],
    /// The datagram, from the IP header on.
    datagram: &'a [u8],
    /// Whether it is IPv6.
    v6: bool,
    /// Source address, 4 or 16 bytes.
    src: &'a [u8],
    /// Destination address, 4 or 16 bytes.
    dst: &'a [u8],
    /// Transport protocol.
    protocol: u8,
    /// Transport header and all behind it; empty if decode found none.
    transport: &'a [u8],
}

impl<'a> Packet<'a> {
    fn of(question: &Question<'a>) -> Option<Packet<'a>> {
        let (context, bytes) = subject(question)?;
        if context.has(flag::FRAGMENT) || context.has(flag::ICMP_ERROR) {
            return None;
        }
        let v6 = context.has(flag::IPV6);
        if !v6 && !context.has(flag::IPV4) {
            return None;
        }
        let link = link_header(question.frame, usize::from(question.carrier.l3), v6)?;
        let datagram = bytes.get(usize::from(context.l3)..)?;
        let (src, dst) = addresses(datagram, v6)?;
        let transport = if context.has(flag::TRANSPORT) {
            bytes.get(usize::from(context.l4)..)?
        } else {
            &[]
        };
        Some(Packet {
            context,
            port: question.carrier.port,
            link,
            datagram,
            v6,
            src,
            dst,
            protocol: context.protocol,
            transport,
        })
    }
}

/// The context and bytes whose headers the answer is made from.
fn subject<'a>(question: &Question<'a>) -> Option<(&'a Context, &'a [u8])> {
    let context = question.context;
    match context.kind {
        Kind::Frame | Kind::Datagram if context.depth == 0 => Some((context, question.packet)),
        // Stream bytes have no headers; the segment that filled their gap has, if it is a packet
        // of the same flow and not the wrapping of a tunnel.
        Kind::Stream if context.flow == question.carrier.flow && question.carrier.depth == 0 => {
            Some((question.carrier, question.frame))
        }
        // An answer into a tunnel would have to be wrapped by its far end's rules.
        _ => None,
    }
}

/// The link header of an Ethernet frame with any VLAN tags, or an empty one on raw IP. Frames to
/// a group of stations are never answered.
fn link_header(frame: &[u8], l3: usize, v6: bool) -> Option<&[u8]> {
    if l3 == 0 {
        return Some(&[]);
    }
    let link = frame.get(..l3).filter(|link| link.len() <= LINK_MAX)?;
    let mut at = 12;
    let mut ethertype = u16::from_be_bytes(read(link, at)?);
    while matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
        at += 4;
        ethertype = u16::from_be_bytes(read(link, at)?);
    }
    let expected = if v6 { 0x86dd } else { 0x0800 };
    let group = link.first()? & 1 != 0;
    (ethertype == expected && at + 2 == l3 && !group).then_some(link)
}

/// Source and destination of a datagram, if both are single hosts.
fn addresses(datagram: &[u8], v6: bool) -> Option<(&[u8], &[u8])> {
    let (src, dst) = if v6 {
        (datagram.get(8..24)?, datagram.get(24..40)?)
    } else {
        (datagram.get(12..16)?, datagram.get(16..20)?)
    };
    let host = |addr: &[u8]| match addr {
        [first, _, _, _] => !matches!(first, 0 | 127 | 224..),
        [0xff, ..] => false,
        // Neither :: nor ::1.
        _ => addr.iter().rev().skip(1).any(|byte| *byte != 0),
    };
    (host(src) && host(dst)).then_some((src, dst))
}

/// Builds the RST that makes `side` give the connection up.
fn reset(packet: &Packet, side: Side, built: &mut Built) -> Option<()> {
    let seq = u32::from_be_bytes(read(packet.transport, 4)?);
    let ack = u32::from_be_bytes(read(packet.transport, 8)?);
    let flags = *packet.transport.get(13)?;
    if flags & tcp_flag::RST != 0 {
        return None; // a RST is never answered (RFC 9293 3.10.7.1)
    }
    let (seq, ack, answer_flags) = match side {
        // As the peer that has no connection would answer.
        Side::Source if flags & tcp_flag::ACK != 0 => (ack, 0, tcp_flag::RST),
        Side::Source => {
            let control =
                u32::from(flags & tcp_flag::SYN != 0) + u32::from(flags & tcp_flag::FIN != 0);
            let length = u32::from(packet.context.payload_length) + control;
            (0, seq.wrapping_add(length), tcp_flag::RST | tcp_flag::ACK)
        }
        // As if the sender had given up instead of sending this segment: its first new byte is
        // the number that the receiver expects next, the only one that RFC 5961 believes.
        Side::Destination => {
            let known = if packet.context.has(flag::STREAM) {
                packet.context.stream_skip
            } else {
                0
            };
            let with_ack = flags & tcp_flag::ACK;
            let ack = if with_ack != 0 { ack } else { 0 };
            (
                seq.wrapping_add(u32::from(known)),
                ack,
                tcp_flag::RST | with_ack,
            )
        }
    };
    let src_port: [u8; 2] = read(packet.transport, 0)?;
    let dst_port: [u8; 2] = read(packet.transport, 2)?;
    let (from, to) = match side {
        Side::Source => (dst_port, src_port),
        Side::Destination => (src_port, dst_port),
    };
    let mut out = Out::new(built);
    out.link(packet, side)?;
    let ip = out.ip_header(packet, side, protocol::TCP)?;
    let start = out.at;
    out.put(&from)?;
    out.put(&to)?;
    out.put(&seq.to_be_bytes())?;
    out.put(&ack.to_be_bytes())?;
    out.put(&[5 << 4, answer_flags, 0, 0, 0, 0, 0, 0])?;
    out.seal(packet, ip, start, 16)
}

/// Builds the ICMP error that tells `side` that its packet was stopped by policy.
fn prohibited(packet: &Packet, side: Side, built: &mut Built) -> Option<()> {
    let (icmp, kind_and_code, header, longest) = if packet.v6 {
        (protocol::ICMPV6, [1, 1], 40, ICMPV6_ERROR_MAX)
    } else {
        (protocol::ICMP, [3, 13], 20, ICMPV4_ERROR_MAX)
    };
    let kind = packet.transport.first().copied();
    let error = match packet.protocol {
        protocol::ICMP if !packet.v6 => kind.is_none_or(|k| matches!(k, 3 | 4 | 5 | 11 | 12)),
        protocol::ICMPV6 => kind.is_none_or(|k| k < 128 || k == 137),
        _ => false,
    };
    if error {
        return None; // errors and redirects are never answered with errors
    }
    let mut out = Out::new(built);
    out.link(packet, side)?;
    let ip = out.ip_header(packet, side, icmp)?;
    let start = out.at;
    out.put(&kind_and_code)?;
    out.put(&[0; 6])?;
    match side {
        Side::Source => {
            let length = datagram_length(packet)?.min(longest - header - 8);
            out.put(packet.datagram.get(..length)?)?;
        }
        Side::Destination => quote_turned(packet, &mut out)?,
    }
    out.seal(packet, ip, start, 2)
}

/// Length of the datagram by its own header, or as far as there are bytes.
fn datagram_length(packet: &Packet) -> Option<usize> {
    let length = if packet.v6 {
        40 + usize::from(u16::from_be_bytes(read(packet.datagram, 4)?))
    } else {
        usize::from(u16::from_be_bytes(read(packet.datagram, 2)?))
    };
    Some(length.min(packet.datagram.len()))
}

/// Quotes the answer that the receiver would have sent: headers with both ends turned round, for
/// only a packet of its own makes it find the socket. UDP alone has ports to find it by.
fn quote_turned(packet: &Packet, out: &mut Out) -> Option<()> {
    if packet.protocol != protocol::UDP {
        return None;
    }
    let udp: [u8; 8] = read(packet.transport, 0)?;
    let [s0, s1, d0, d1, ..] = udp;
    if packet.v6 {
        out.put(&[0x60, 0, 0, 0, 0, 8, protocol::UDP, HOPS])?;
        out.put(packet.dst)?;
        out.put(packet.src)?;
    } else {
        let start = out.at;
        out.put(&[0x45, 0, 0, 28, 0, 0, 0x40, 0, HOPS, protocol::UDP, 0, 0])?;
        out.put(packet.dst)?;
        out.put(packet.src)?;
        let check = finish(ones_complement(0, out.bytes.get(start..out.at)?));
        out.set(start + 10, &check.to_be_bytes())?;
    }
    out.put(&[d0, d1, s0, s1, 0, 8, 0, 0])
}

/// A frame being built.
struct Out<'a> {
    bytes: &'a mut [u8; BUILT_MAX],
    length: &'a mut u16,
    port: &'a mut u8,
    at: usize,
}

impl<'a> Out<'a> {
    fn new(built: &'a mut Built) -> Out<'a> {
        Out {
            bytes: &mut built.bytes,
            length: &mut built.length,
            port: &mut built.port,
            at: 0,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.set(self.at, bytes)?;
        self.at += bytes.len();
        Some(())
    }

    fn set(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        self.bytes
            .get_mut(at..at.checked_add(bytes.len())?)?
            .copy_from_slice(bytes);
        Some(())
    }

    /// Copies the link header, VLAN tags and all. Towards the source the stations change places
    /// and the frame goes out where the packet came in; towards the destination it goes on.
    fn link(&mut self, packet: &Packet, side: Side) -> Option<()> {
        *self.port = match side {
            Side::Source => packet.port,
            Side::Destination => packet.port ^ 1,
        };
        match (side, packet.link) {
            (_, []) => Some(()),
            (Side::Destination, link) => self.put(link),
            (Side::Source, link) => {
                self.put(link.get(6..12)?)?;
                self.put(link.get(..6)?)?;
                self.put(link.get(12..)?)
            }
        }
    }

    /// Writes an IP header whose lengths `seal` fills in; gives its position.
    fn ip_header(&mut self, packet: &Packet, side: Side, protocol: u8) -> Option<usize> {
        let at = self.at;
        let (from, to) = match side {
            Side::Source => (packet.dst, packet.src),
            Side::Destination => (packet.src, packet.dst),
        };
        if packet.v6 {
            self.put(&[0x60, 0, 0, 0, 0, 0, protocol, HOPS])?;
        } else {
            // Never fragmented, so the identification may be 0 (RFC 6864 4.1).
            self.put(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, HOPS, protocol, 0, 0])?;
        }
        self.put(from)?;
        self.put(to)?;
        Some(at)
    }

    /// Fills in lengths and checksums and pads the frame. `ip` and `transport` are the positions
    /// of the headers, `check` that of the checksum within the transport header.
    fn seal(mut self, packet: &Packet, ip: usize, transport: usize, check: usize) -> Option<()> {
        let end = self.at;
        let length = u16::try_from(end - transport).ok()?;
        if packet.v6 {
            self.set(ip + 4, &length.to_be_bytes())?;
        } else {
            let total = u16::try_from(end - ip).ok()?;
            self.set(ip + 2, &total.to_be_bytes())?;
            let header = finish(ones_complement(0, self.bytes.get(ip..transport)?));
            self.set(ip + 10, &header.to_be_bytes())?;
        }
        let protocol = *self.bytes.get(ip + if packet.v6 { 6 } else { 9 })?;
        let mut total = 0;
        if protocol != protocol::ICMP {
            let words = u32::from(length) + u32::from(protocol);
            total = ones_complement(ones_complement(words, packet.src), packet.dst);
        }
        let value = finish(ones_complement(total, self.bytes.get(transport..end)?));
        self.set(transport + check, &value.to_be_bytes())?;
        let padded = if packet.link.is_empty() {
            end
        } else {
            end.max(ETHERNET_MIN)
        };
        self.bytes.get_mut(end..padded)?.fill(0);
        *self.length = u16::try_from(padded).ok()?;
        Some(())
    }
}

fn read<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice, checksum};

    use super::*;
    use crate::config::Mode;
    use crate::packet::{FlowHandle, Verdict};
    use crate::reason::Reason;
    use crate::verdict::tests::Rig;

    const MAC_SRC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const MAC_DST: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const SRC4: [u8; 4] = [10, 0, 0, 1];
    const DST4: [u8; 4] = [10, 0, 0, 2];

    fn v6(last: u8) -> [u8; 16] {
        let mut addr = [0; 16];
        (addr[0], addr[15]) = (0xfd, last);
        addr
    }

    /// A frame, and the context that decode would make of it.
    fn context_of(frame: &[u8]) -> Context {
        let sliced = SlicedPacket::from_ethernet(frame).unwrap();
        let mut context = Context::default();
        let at = |part: &[u8]| (part.as_ptr() as usize - frame.as_ptr() as usize) as u16;
        match sliced.net.as_ref().unwrap() {
            NetSlice::Ipv4(ip) => {
                context.set(flag::IPV4);
                context.l3 = at(ip.header().slice());
                context.protocol = ip.header().protocol().0;
            }
            NetSlice::Ipv6(ip) => {
                context.set(flag::IPV6);
                context.l3 = at(ip.header().slice());
                context.protocol = ip.header().next_header().0;
            }
            NetSlice::Arp(_) => unreachable!(),
        }
        let (l4, payload) = match sliced.transport.as_ref().unwrap() {
            TransportSlice::Tcp(tcp) => (at(tcp.slice()), tcp.payload()),
            TransportSlice::Udp(udp) => (at(udp.slice()), udp.payload()),
            TransportSlice::Icmpv4(icmp) => (at(icmp.slice()), icmp.payload()),
            TransportSlice::Icmpv6(icmp) => (at(icmp.slice()), icmp.payload()),
            TransportSlice::Igmp(_) => unreachable!(),
        };
        context.set(flag::TRANSPORT);
        context.l4 = l4;
        context.payload = at(payload);
        context.payload_length = payload.len() as u16;
        context
    }

    fn reject(frame: &[u8], to: RejectTo, change: impl Fn(&mut Context)) -> Rig {
        let mut rig = Rig::new(Mode::Inline);
        let mut context = context_of(frame);
        context.verdict = Verdict::Reject(Reason::RuleReject);
        context.reject_to = to;
        change(&mut context);
        let handle = rig.frame(frame, context);
        rig.run(vec![handle]);
        rig
    }

    fn built(rig: &Rig) -> Vec<(u8, Vec<u8>)> {
        rig.emit.built[..rig.emit.built_count]
            .iter()
            .map(|b| (b.port, b.bytes[..usize::from(b.length)].to_vec()))
            .collect()
    }

    fn tcp4(seq: u32, flags: u8, ack: u32, payload: &[u8]) -> Vec<u8> {
        let mut builder = PacketBuilder::ethernet2(MAC_SRC, MAC_DST)
            .ipv4(SRC4, DST4, 60)
            .tcp(4000, 80, seq, 1024);
        if flags & tcp_flag::SYN != 0 {
            builder = builder.syn();
        }
        if flags & tcp_flag::ACK != 0 {
            builder = builder.ack(ack);
        }
        if flags & tcp_flag::FIN != 0 {
            builder = builder.fin();
        }
        if flags & tcp_flag::RST != 0 {
            builder = builder.rst();
        }
        let mut frame = Vec::new();
        builder.write(&mut frame, payload).unwrap();
        frame
    }

    /// Addresses, ports, seq, ack and flags of a RST whose checksums are right.
    fn read_rst(frame: &[u8]) -> (Vec<u8>, Vec<u8>, u16, u16, u32, u32, u8) {
        assert!(frame.len() >= ETHERNET_MIN);
        let sliced = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
            panic!("not TCP");
        };
        let header = tcp.to_header();
        let (src, dst) = match sliced.net.unwrap() {
            NetSlice::Ipv4(ip) => {
                let h = ip.header().to_header();
                assert_eq!(h.header_checksum, h.calc_header_checksum());
                assert_eq!(h.total_len, 40);
                assert!(h.dont_fragment);
                let sum = header.calc_checksum_ipv4(&h, &[]).unwrap();
                assert_eq!(header.checksum, sum);
                (h.source.to_vec(), h.destination.to_vec())
            }
            NetSlice::Ipv6(ip) => {
                let h = ip.header().to_header();
                assert_eq!(h.payload_length, 20);
                let sum = header.calc_checksum_ipv6(&h, &[]).unwrap();
                assert_eq!(header.checksum, sum);
                (h.source.to_vec(), h.destination.to_vec())
            }
            NetSlice::Arp(_) => unreachable!(),
        };
        let flags = u8::from(header.rst) << 2 | u8::from(header.ack) << 4;
        let ports = (header.source_port, header.destination_port);
        (
            src,
            dst,
            ports.0,
            ports.1,
            header.sequence_number,
            header.acknowledgment_number,
            flags,
        )
    }

    #[test]
    fn a_segment_with_ack_is_answered_with_the_number_it_acknowledges() {
        let rig = reject(
            &tcp4(100, tcp_flag::ACK, 900, b"evil"),
            RejectTo::Source,
            |_| (),
        );
        let [(port, frame)] = &built(&rig)[..] else {
            panic!("one answer");
        };
        assert_eq!(*port, 0, "it goes out where the packet came in");
        assert_eq!((&frame[..6], &frame[6..12]), (&MAC_SRC[..], &MAC_DST[..]));
        let want = (
            DST4.to_vec(),
            SRC4.to_vec(),
            80,
            4000,
            900,
            0,
            tcp_flag::RST,
        );
        assert_eq!(read_rst(frame), want);
        assert_eq!(rig.emit.counters.get(Counter::RejectRst), 1);
    }

    #[test]
    fn a_segment_without_ack_is_answered_with_everything_acknowledged() {
        let frame = tcp4(100, tcp_flag::SYN | tcp_flag::FIN, 0, b"xyz");
        let rig = reject(&frame, RejectTo::Source, |_| ());
        let rst = read_rst(&built(&rig)[0].1);
        assert_eq!((rst.4, rst.5), (0, 100 + 3 + 2));
        assert_eq!(rst.6, tcp_flag::RST | tcp_flag::ACK);
    }

    #[test]
    fn the_receiver_gets_the_first_byte_that_it_does_not_know() {
        let frame = tcp4(u32::MAX - 1, tcp_flag::ACK, 900, b"oldnew");
        let rig = reject(&frame, RejectTo::Destination, |context| {
            context.set(flag::STREAM);
            context.stream_skip = 3;
        });
        let answers = built(&rig);
        let (port, frame) = &answers[0];
        assert_eq!(*port, 1, "it goes on to the other side");
        assert_eq!((&frame[..6], &frame[6..12]), (&MAC_DST[..], &MAC_SRC[..]));
        let flags = tcp_flag::RST | tcp_flag::ACK;
        assert_eq!(
            read_rst(frame),
            (SRC4.to_vec(), DST4.to_vec(), 4000, 80, 1, 900, flags)
        );
    }

    #[test]
    fn both_sides_are_told_with_their_vlans_over_ipv6() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(MAC_SRC, MAC_DST)
            .double_vlan(7.try_into().unwrap(), 9.try_into().unwrap())
            .ipv6(v6(1), v6(2), 60)
            .tcp(4000, 80, 5, 1024)
            .ack(6)
            .write(&mut frame, b"evil!")
            .unwrap();
        let rig = reject(&frame, RejectTo::Both, |_| ());
        let answers = built(&rig);
        assert_eq!((answers[0].0, answers[1].0), (0, 1));
        for (_, answer) in &answers {
            assert_eq!(answer[12..22], frame[12..22], "tags are kept");
        }
        let (to_source, to_destination) = (read_rst(&answers[0].1), read_rst(&answers[1].1));
        assert_eq!((to_source.0, to_source.4), (v6(2).to_vec(), 6));
        assert_eq!((to_destination.0, to_destination.4), (v6(1).to_vec(), 5));
        assert_eq!(rig.emit.counters.get(Counter::RejectRst), 2);
    }

    fn udp(payload: usize, six: bool) -> Vec<u8> {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2(MAC_SRC, MAC_DST);
        let builder = if six {
            builder.ipv6(v6(1), v6(2), 60)
        } else {
            builder.ipv4(SRC4, DST4, 60)
        };
        let payload = vec![0xa5; payload];
        builder.udp(5353, 53).write(&mut frame, &payload).unwrap();
        frame
    }

    #[test]
    fn a_datagram_is_quoted_as_far_as_the_rfcs_allow() {
        for (payload, quoted) in [(5, 33), (1400, ICMPV4_ERROR_MAX - 28)] {
            let frame = udp(payload, false);
            let rig = reject(&frame, RejectTo::Source, |_| ());
            let (port, answer) = built(&rig).remove(0);
            assert_eq!(port, 0);
            let ip = &answer[14..];
            assert_eq!(
                checksum::u32_16bit_word::add_slice(0, &ip[..20]) % 0xffff,
                0
            );
            let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            assert_eq!((&ip[12..16], &ip[16..20]), (&DST4[..], &SRC4[..]));
            let icmp = &ip[20..total];
            assert_eq!((icmp[0], icmp[1]), (3, 13));
            assert_eq!(finish(ones_complement(0, icmp)), 0);
            assert_eq!(icmp[8..], frame[14..14 + quoted]);
            assert_eq!(rig.emit.counters.get(Counter::RejectIcmp), 1);
        }
    }

    #[test]
    fn icmpv6_quotes_up_to_the_least_mtu() {
        for (payload, quoted) in [(5, 53), (1400, ICMPV6_ERROR_MAX - 48)] {
            let frame = udp(payload, true);
            let rig = reject(&frame, RejectTo::Source, |_| ());
            let answer = built(&rig).remove(0).1;
            let sliced = SlicedPacket::from_ethernet(&answer).unwrap();
            let Some(TransportSlice::Icmpv6(icmp)) = &sliced.transport else {
                panic!("not ICMPv6");
            };
            assert!(icmp.is_checksum_valid(v6(2), v6(1)));
            assert_eq!((icmp.type_u8(), icmp.code_u8()), (1, 1));
            assert_eq!(icmp.payload(), &frame[14..14 + quoted]);
        }
    }

    #[test]
    fn the_receiver_of_udp_gets_an_error_about_its_own_answer() {
        let rig = reject(&udp(5, false), RejectTo::Destination, |_| ());
        let (port, answer) = built(&rig).remove(0);
        assert_eq!(port, 1);
        let quote = &answer[14 + 28..14 + 28 + 28];
        assert_eq!((&quote[12..16], &quote[16..20]), (&DST4[..], &SRC4[..]));
        assert_eq!(
            quote[20..24],
            [0, 53, 5353u16.to_be_bytes()[0], 5353u16.to_be_bytes()[1]]
        );
        assert_eq!(finish(ones_complement(0, &quote[..20])), 0);
    }

    /// The packet is rejected, counted, and nobody is told.
    fn unanswered(frame: &[u8], to: RejectTo, change: impl Fn(&mut Context)) {
        let rig = reject(frame, to, change);
        assert_eq!(rig.emit.built_count, 0);
        let wanted = if to == RejectTo::Both { 2 } else { 1 };
        assert_eq!(rig.emit.counters.get(Counter::RejectLost), wanted);
        assert_eq!(rig.emit.counters.get(Counter::PacketsRejected), 1);
    }

    #[test]
    fn what_the_rfcs_forbid_is_not_answered() {
        let tcp = tcp4(1, tcp_flag::ACK, 2, b"x");
        let keep = |_: &mut Context| ();
        unanswered(
            &tcp4(1, tcp_flag::RST | tcp_flag::ACK, 2, b""),
            RejectTo::Both,
            keep,
        );
        unanswered(&tcp, RejectTo::Source, |context| {
            context.set(flag::FRAGMENT)
        });
        unanswered(&tcp, RejectTo::Source, |context| context.depth = 1);
        let mut group = tcp.clone();
        group[0] |= 1;
        unanswered(&group, RejectTo::Source, keep);
        for first in [0, 127, 224, 255] {
            let mut bad = tcp.clone();
            bad[14 + 12] = first;
            unanswered(&bad, RejectTo::Source, keep);
            let mut bad = tcp.clone();
            bad[14 + 16] = first;
            unanswered(&bad, RejectTo::Source, keep);
        }
        let mut unspecified = udp(5, true);
        unspecified[14 + 8..14 + 24].fill(0);
        unanswered(&unspecified, RejectTo::Source, keep);
        let mut multicast = udp(5, true);
        multicast[14 + 24] = 0xff;
        unanswered(&multicast, RejectTo::Source, keep);
    }

    #[test]
    fn icmp_errors_are_not_answered_but_requests_are() {
        for (kind, answered) in [(3, 0), (4, 0), (5, 0), (8, 1), (11, 0), (12, 0), (13, 1)] {
            let mut frame = Vec::new();
            PacketBuilder::ethernet2(MAC_SRC, MAC_DST)
                .ipv4(SRC4, DST4, 60)
                .icmpv4_raw(kind, 0, [0; 4])
                .write(&mut frame, &[0; 12])
                .unwrap();
            let rig = reject(&frame, RejectTo::Source, |_| ());
            assert_eq!(rig.emit.counters.get(Counter::RejectIcmp), answered);
        }
        for (kind, answered) in [(1, 0), (127, 0), (128, 1), (137, 0)] {
            let mut frame = Vec::new();
            PacketBuilder::ethernet2(MAC_SRC, MAC_DST)
                .ipv6(v6(1), v6(2), 60)
                .icmpv6_raw(kind, 0, [0; 4])
                .write(&mut frame, &[0; 8])
                .unwrap();
            let rig = reject(&frame, RejectTo::Source, |_| ());
            assert_eq!(rig.emit.counters.get(Counter::RejectIcmp), answered);
        }
    }

    #[test]
    fn icmp_errors_have_a_rate_and_resets_have_none() {
        for (frame, counter, sent) in [
            (
                udp(5, false),
                Counter::RejectIcmp,
                u64::from(ICMP_PER_SECOND_MAX),
            ),
            (tcp4(1, tcp_flag::ACK, 2, b""), Counter::RejectRst, 1200),
        ] {
            let mut rig = Rig::new(Mode::Inline);
            for _ in 0..1200 {
                let mut context = context_of(&frame);
                context.verdict = Verdict::Reject(Reason::RuleReject);
                let handle = rig.frame(&frame, context);
                rig.run(vec![handle]);
                rig.recycle();
            }
            assert_eq!(rig.emit.counters.get(counter), sent);
            assert_eq!(rig.emit.counters.get(Counter::RejectLost), 1200 - sent);
        }
    }

    #[test]
    fn a_rebuilt_datagram_is_answered_through_its_last_fragment() {
        let whole = tcp4(100, tcp_flag::ACK, 900, b"evil");
        let mut rig = Rig::new(Mode::Inline);
        let mut carrier = context_of(&whole);
        carrier.set(flag::FRAGMENT);
        let mut view = context_of(&whole);
        (view.l3, view.l4) = (0, 20);
        view.kind = Kind::Datagram;
        view.verdict = Verdict::Reject(Reason::RuleReject);
        let mut frame = rig.frame(&whole, carrier);
        frame.set_more(true);
        let view = rig.frame(&whole[14..], view);
        rig.run(vec![frame, view]);
        let rst = read_rst(&built(&rig)[0].1);
        assert_eq!((rst.4, rst.6), (900, tcp_flag::RST));
    }

    #[test]
    fn late_stream_bytes_are_answered_through_the_gap_filler_of_their_flow_only() {
        for (same_flow, sent) in [(true, 1), (false, 0)] {
            let filler = tcp4(100, tcp_flag::ACK, 900, b"ev");
            let mut rig = Rig::new(Mode::Inline);
            let flow = FlowHandle {
                slot: 3,
                generation: 1,
            };
            let mut carrier = context_of(&filler);
            carrier.flow = if same_flow { flow } else { FlowHandle::NONE };
            let view = Context {
                kind: Kind::Stream,
                flow,
                verdict: Verdict::Reject(Reason::RuleReject),
                ..Context::default()
            };
            let mut frame = rig.frame(&filler, carrier);
            frame.set_more(true);
            let view = rig.frame(b"il", view);
            rig.run(vec![frame, view]);
            assert_eq!(rig.emit.counters.get(Counter::RejectRst), sent);
            assert_eq!(rig.emit.counters.get(Counter::RejectLost), 1 - sent);
        }
    }

    #[test]
    fn hostile_offsets_build_nothing_and_never_panic() {
        let frame = tcp4(1, tcp_flag::ACK, 2, b"x");
        for l3 in [1, 13, 15, 14, 60, u16::MAX] {
            for l4 in [0, 14, 34, 53, 54, 200, u16::MAX] {
                for cut in 0..frame.len() {
                    let mut rig = Rig::new(Mode::Inline);
                    let mut context = context_of(&frame);
                    (context.l3, context.l4) = (l3, l4);
                    context.verdict = Verdict::Reject(Reason::RuleReject);
                    context.reject_to = RejectTo::Both;
                    let handle = rig.frame(&frame[..cut], context);
                    rig.run(vec![handle]);
                    let counters = &rig.emit.counters;
                    let sent = counters.get(Counter::RejectRst);
                    assert_eq!(sent + counters.get(Counter::RejectLost), 2);
                    assert_eq!(sent, rig.emit.built_count as u64);
                }
            }
        }
    }
}
