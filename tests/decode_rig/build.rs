//! Frames put together from their layers, for tests that write out what is special about them.

use sluice::decode::checksum;

/// Ethernet header (to 02:00:00:00:00:01, from 02:00:00:00:00:02) and payload.
pub fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

/// IPv4 from 10.0.0.2 to 10.0.0.1.
pub fn ipv4_packet(protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    ipv4_between([10, 0, 0, 2], [10, 0, 0, 1], protocol, options, payload)
}

/// IPv4 with identification 0x1234 and time to live 64; checksums of header and payload are right.
pub fn ipv4_between(
    src: [u8; 4],
    dst: [u8; 4],
    protocol: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let header = 20 + options.len();
    let total = (header + payload.len()) as u16;
    let mut packet = vec![0x40 | (header / 4) as u8, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0x12, 0x34, 0, 0, 64, protocol, 0, 0]);
    packet.extend([src, dst].concat());
    packet.extend(options);
    packet.extend(sum_payload(&[src, dst].concat(), protocol, payload));
    fix_ipv4(packet)
}

/// Writes the right header checksum.
pub fn fix_ipv4(mut packet: Vec<u8>) -> Vec<u8> {
    packet[10..12].fill(0);
    let header = usize::from(packet[0] & 15) * 4;
    let sum = checksum::ones_complement(0, &packet[..header]);
    packet[10..12].copy_from_slice(&checksum::finish(sum).to_be_bytes());
    packet
}

/// IPv6 from 2001:db8::2 to 2001:db8::1: first next header, protocol of the payload, extension
/// headers, payload (whose checksum is put right).
pub fn ipv6_packet(next: u8, protocol: u8, extensions: &[u8], payload: &[u8]) -> Vec<u8> {
    let host = |last| [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let addresses = [host(2), host(1)].concat();
    let length = (extensions.len() + payload.len()) as u16;
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(&addresses);
    packet.extend(extensions);
    packet.extend(sum_payload(&addresses, protocol, payload));
    packet
}

/// The payload with the checksum that its protocol wants; UDP keeps its 0.
fn sum_payload(addresses: &[u8], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    let at = match protocol {
        6 => 16,
        1 | 2 | 58 => 2,
        _ => return payload,
    };
    if payload.len() < at + 2 {
        return payload;
    }
    let pseudo = match protocol {
        6 | 58 => checksum::pseudo_header(addresses, protocol, payload.len() as u32),
        _ => 0,
    };
    let sum = checksum::finish(checksum::ones_complement(pseudo, &payload));
    payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    payload
}

/// An ACK from port 1025 to 80 with a window of 512; options are a multiple of 4 bytes.
pub fn tcp_segment(options: &[u8], payload: &[u8]) -> Vec<u8> {
    let offset = ((20 + options.len()) / 4) as u8;
    let mut segment = vec![4, 1, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8];
    segment.extend([offset << 4, 0x10, 2, 0, 0, 0, 0, 0]);
    segment.extend(options);
    segment.extend(payload);
    segment
}

/// UDP without a checksum.
pub fn udp_datagram(src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut datagram = Vec::new();
    for field in [src_port, dst_port, length, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(payload);
    datagram
}

/// ICMP of either version: type, code, the second word, body.
pub fn icmp_message(kind: u8, code: u8, word: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(word);
    message.extend(body);
    message
}

/// SCTP: ports and tag, then chunks, with the right CRC.
pub fn sctp_packet(head: &[u8; 8], chunks: &[u8]) -> Vec<u8> {
    let crc = checksum::crc32c(&[head, &[0; 4], chunks]);
    [&head[..], &crc.to_le_bytes(), chunks].concat()
}
