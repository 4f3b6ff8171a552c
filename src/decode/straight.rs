//! The straight path: Ethernet, IPv4 without options, and TCP or UDP without anything odd about
//! them, which is nearly every frame, read in one walk.
//!
//! When it is taken: an untagged frame of the first pair of ports, whose IPv4 header has twenty
//! bytes, fitting lengths and no fragment; a TCP segment whose options are well formed, or a UDP
//! datagram of the packet's length that is no tunnel's. Why it is equal: under
//! these conditions the decoders layer by layer note and refuse nothing but checksums, carry nothing,
//! and write the same fields. All other frames go through those ([`Decoder::frame_by_layers`]);
//! tests/decode_captures.rs runs both over all captures and over damaged frames.

use super::tcp::options_are_right;
use super::{Addresses, Anomaly, Decoder, V4, checksum, tunnel};
use crate::counters::Counters;
use crate::packet::{Context, VLANS_MAX, flag};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Bytes of an IPv4 header without options.
const IPV4: usize = 20;
/// Bytes of a TCP header without options.
const TCP: usize = 20;
/// Bytes of a UDP header.
const UDP: usize = 8;
/// Least payload of what may be Teredo, and so is looked at elsewhere.
const TEREDO_LEAST: usize = 40;
/// Layers that such a frame counts: two, each of which must leave one.
const LAYERS_LEAST: u8 = 3;

/// Decodes an Ethernet frame if it may go straight. False: nothing was written.
#[inline(always)]
pub(super) fn frame(
    decoder: &Decoder,
    bytes: &[u8],
    context: &mut Context,
    counters: &Counters,
) -> bool {
    let Some((ethernet, packet)) = bytes.split_first_chunk::<ETHERNET>() else {
        return false;
    };
    let Some((head, rest)) = packet.split_first_chunk::<IPV4>() else {
        return false;
    };
    let total = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let is_whole = u16::from_be_bytes([head[6], head[7]]) & 0x3fff == 0;
    let is_plain = ethernet[12..] == [0x08, 0x00] && head[0] == 0x45 && is_whole;
    let is_first = (context.port >> 1 & decoder.pair_mask) | context.depth == 0;
    if !is_plain || !is_first || decoder.layers_max < LAYERS_LEAST {
        return false;
    }
    let Some(segment) = total
        .checked_sub(IPV4)
        .and_then(|length| rest.get(..length))
    else {
        return false;
    };
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *head;
    let addresses: V4 = &[s0, s1, s2, s3, d0, d1, d2, d3];
    let protocol = head[9];
    let read = match protocol {
        6 => tcp(segment),
        17 => udp(decoder, segment),
        _ => None,
    };
    let Some((header, is_summed)) = read else {
        return false;
    };
    // Both transports begin with their ports; they have eight bytes at least.
    let Some(&[p0, p1, p2, p3]) = segment.first_chunk::<4>() else {
        return false;
    };
    write(context, protocol, addresses, [[p0, p1], [p2, p3]]);
    context.payload = (ETHERNET + IPV4 + header) as u16;
    context.payload_length = (segment.len() - header) as u16;
    if decoder.checksums {
        let sum = addresses.sum();
        let is_header_right = checksum::header_is_right(head);
        let is_right = !is_summed || checksum::segment_is_right(sum, protocol, segment);
        if !is_header_right {
            decoder.bad_checksum(Anomaly::Ipv4CsumInvalid, context, counters);
        }
        if !is_right {
            let of_segment = match protocol {
                6 => Anomaly::TcpCsumInvalid,
                _ => Anomaly::UdpCsumInvalid,
            };
            decoder.bad_checksum(of_segment, context, counters);
        }
    }
    true
}

/// Length of the header of a plain segment; its checksum is always there.
#[inline(always)]
fn tcp(segment: &[u8]) -> Option<(usize, bool)> {
    let (head, rest) = segment.split_first_chunk::<TCP>()?;
    match head[12] >> 4 {
        5 => Some((TCP, true)),
        8 if rest.len() >= 12 && rest.starts_with(&[1, 1, 8, 10]) => Some((TCP + 12, true)),
        words => {
            let length = usize::from(words) * 4;
            let options = rest.get(..length.checked_sub(TCP)?)?;
            options_are_right(options).then_some((length, true))
        }
    }
}

/// Length of the header of a datagram that can be no tunnel, and whether it has a checksum.
#[inline(always)]
fn udp(decoder: &Decoder, datagram: &[u8]) -> Option<(usize, bool)> {
    let (head, payload) = datagram.split_first_chunk::<UDP>()?;
    let [src, dst, length, sum] =
        [0, 2, 4, 6].map(|at| u16::from_be_bytes([head[at], head[at + 1]]));
    let may_be_teredo = decoder.teredo
        && payload.len() >= TEREDO_LEAST
        && matches!(payload.first(), Some(0 | 0x60..=0x6f));
    let is_plain = usize::from(length) == datagram.len()
        && !may_be_teredo
        && !tunnel::is_port(decoder, src, dst);
    is_plain.then_some((UDP, sum != 0))
}

/// Writes all that does not depend on the transport.
#[inline(always)]
fn write(context: &mut Context, protocol: u8, addresses: V4, ports: [[u8; 2]; 2]) {
    let [src, dst] = ports.map(u16::from_be_bytes);
    let tuple = &mut context.tuple;
    tuple.protocol = protocol;
    tuple.scope = [0; 3];
    let reversed = addresses.order((src, dst), tuple);
    let swap = (src ^ dst) & u16::from(reversed).wrapping_neg();
    tuple.a_port = src ^ swap;
    tuple.b_port = dst ^ swap;
    context.flags = flag::IPV4 | flag::TRANSPORT | (u32::from(reversed) * flag::REVERSED);
    context.l3 = ETHERNET as u16;
    context.l4 = (ETHERNET + IPV4) as u16;
    context.protocol = protocol;
    context.anomaly_count = 0;
    context.vlan_count = 0;
    context.vlans = [0; VLANS_MAX];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// A segment of four bytes, 10.0.0.2:80 to 10.0.0.1:1024, with right checksums.
    fn segment() -> Vec<u8> {
        let mut tcp = vec![
            0, 80, 4, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 1, 0, 0, 0, 0, 0,
        ];
        tcp.extend(b"abcd");
        let addresses = [10, 0, 0, 2, 10, 0, 0, 1];
        let sum = checksum::pseudo_header(&addresses, 6, tcp.len() as u32);
        let sum = checksum::finish(checksum::ones_complement(sum, &tcp));
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        let mut ip = vec![0x45, 0, 0, 44, 0, 1, 0x40, 0, 64, 6, 0, 0];
        ip.extend(addresses);
        let sum = checksum::finish(checksum::ones_complement(0, &ip));
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        [vec![2; 12], vec![8, 0], ip, tcp].concat()
    }

    #[test]
    fn a_plain_segment_goes_straight() {
        let decoder = Decoder::new(&Config::default());
        let mut context = Context::default();
        assert!(frame(
            &decoder,
            &segment(),
            &mut context,
            &Counters::default()
        ));
        let places = (
            context.l3,
            context.l4,
            context.payload,
            context.payload_length,
        );
        assert_eq!(places, (14, 34, 54, 4));
        assert_eq!((context.src_port(), context.dst_port()), (80, 1024));
        assert!(context.has(flag::REVERSED), "10.0.0.1 is the lower one");
    }

    #[test]
    fn what_is_cut_short_or_odd_does_not_and_writes_nothing() {
        let (decoder, counters) = (Decoder::new(&Config::default()), Counters::default());
        let whole = segment();
        let blank = format!("{:?}", Context::default());
        for length in 0..whole.len() {
            let mut context = Context::default();
            let is_straight = frame(&decoder, &whole[..length], &mut context, &counters);
            assert!(!is_straight, "{length} bytes");
            assert_eq!(format!("{context:?}"), blank);
        }
        // Every bit but those of the Ethernet addresses is checked or covered by a sum.
        for bit in 12 * 8..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut context = Context::default();
            match frame(&decoder, &bytes, &mut context, &counters) {
                true => assert!(context.has(flag::CHECKSUM_BAD), "bit {bit}"),
                false => assert_eq!(format!("{context:?}"), blank),
            }
        }
    }
}
