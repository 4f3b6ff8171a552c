//! Small conversations, made here byte by byte: what the rows of keywords.rs are tried on.

use sluice::decode::checksum;

#[path = "../decode_rig/build.rs"]
#[allow(dead_code)]
mod build;
use build::{ethernet, icmp_message, ipv4_between, ipv6_packet, udp_datagram};

pub const CLIENT: [u8; 4] = [10, 0, 0, 2];
pub const SERVER: [u8; 4] = [192, 168, 7, 1];

/// To the server or to the client, and bytes.
type Turn<'a> = (bool, &'a [u8]);

/// A TCP segment with the right checksum, between client and server.
fn segment(out: bool, ports: [u16; 2], at: [u32; 2], flags: u8, rest: [&[u8]; 2]) -> Vec<u8> {
    let [options, payload] = rest;
    let [from, to] = if out { ports } else { [ports[1], ports[0]] };
    let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
    bytes.extend([at[0].to_be_bytes(), at[1].to_be_bytes()].concat());
    bytes.extend([(((20 + options.len()) / 4) << 4) as u8, flags]);
    bytes.extend([0x20, 0, 0, 0, 0, 0]);
    bytes.extend(options);
    bytes.extend(payload);
    let [src, dst] = if out {
        [CLIENT, SERVER]
    } else {
        [SERVER, CLIENT]
    };
    ethernet(0x800, &ipv4_between(src, dst, 6, &[], &bytes))
}

/// A connection to a port: handshake, the turns, each acknowledged by the next, and its end.
pub fn tcp(port: u16, turns: &[Turn<'_>]) -> Vec<Vec<u8>> {
    const FIN: u8 = 0x11;
    let ports = [40_000, port];
    let (mut client, mut server) = (1000u32, 9000u32);
    let mss = [2, 4, 5, 180, 3, 3, 7, 0];
    let mut frames = vec![
        segment(true, ports, [client, 0], 2, [&mss, &[]]),
        segment(false, ports, [server, client + 1], 0x12, [&mss, &[]]),
    ];
    (client, server) = (client + 1, server + 1);
    frames.push(segment(true, ports, [client, server], 0x10, [&[], &[]]));
    for (out, bytes) in turns {
        for part in bytes.chunks(1400) {
            let at = if *out {
                [client, server]
            } else {
                [server, client]
            };
            frames.push(segment(*out, ports, at, 0x18, [&[], part]));
            *(if *out { &mut client } else { &mut server }) += part.len() as u32;
            let at = if *out {
                [server, client]
            } else {
                [client, server]
            };
            frames.push(segment(!*out, ports, at, 0x10, [&[], &[]]));
        }
    }
    frames.push(segment(true, ports, [client, server], FIN, [&[], &[]]));
    frames.push(segment(false, ports, [server, client + 1], FIN, [&[], &[]]));
    let last = [client + 1, server + 1];
    frames.push(segment(true, ports, last, 0x10, [&[], &[]]));
    frames
}

/// Datagrams to and from a port.
pub fn udp(port: u16, turns: &[Turn<'_>]) -> Vec<Vec<u8>> {
    let frame = |(out, bytes): &Turn<'_>| {
        let (src, dst) = if *out {
            (CLIENT, SERVER)
        } else {
            (SERVER, CLIENT)
        };
        let [from, to] = if *out { [40_000, port] } else { [port, 40_000] };
        let datagram = udp_datagram(from, to, bytes);
        ethernet(0x800, &ipv4_between(src, dst, 17, &[], &datagram))
    };
    turns.iter().map(frame).collect()
}

/// An ICMP message.
pub fn icmp(kind: u8, code: u8, id: u16, seq: u16) -> Vec<Vec<u8>> {
    let [a, b] = id.to_be_bytes();
    let [c, d] = seq.to_be_bytes();
    let message = icmp_message(kind, code, [a, b, c, d], b"ping of a test");
    vec![ethernet(
        0x800,
        &ipv4_between(CLIENT, SERVER, 1, &[], &message),
    )]
}

/// ICMPv6, a packet too big of that MTU.
pub fn icmp6(mtu: u32) -> Vec<Vec<u8>> {
    let message = icmp_message(2, 0, mtu.to_be_bytes(), &[0; 48]);
    vec![ethernet(0x86dd, &ipv6_packet(58, 58, &[], &message))]
}

/// A datagram in an IPv4 packet with options, fields written over and the checksum put right.
pub fn odd_ip(options: &[u8], fields: &[(usize, u8)]) -> Vec<Vec<u8>> {
    let datagram = udp_datagram(1025, 9999, b"odd packet");
    let mut packet = ipv4_between(CLIENT, SERVER, 17, options, &datagram);
    for (at, value) in fields {
        packet[*at] = *value;
    }
    vec![ethernet(0x800, &build::fix_ipv4(packet))]
}

/// A packet of another protocol.
pub fn raw_ip(protocol: u8, src: [u8; 4], dst: [u8; 4]) -> Vec<Vec<u8>> {
    vec![ethernet(
        0x800,
        &ipv4_between(src, dst, protocol, &[], b"payload of its own"),
    )]
}

/// The same frames with VLAN tags.
pub fn tagged(frames: Vec<Vec<u8>>, ids: &[u16]) -> Vec<Vec<u8>> {
    let mut tags = Vec::new();
    for id in ids {
        tags.extend([0x81, 0]);
        tags.extend(id.to_be_bytes());
    }
    let tag = |frame: Vec<u8>| [&frame[..12], &tags, &frame[12..]].concat();
    frames.into_iter().map(tag).collect()
}

/// The same frames with a byte of the transport's checksum wrong.
pub fn wrong(mut frames: Vec<Vec<u8>>, at: usize) -> Vec<Vec<u8>> {
    for frame in &mut frames {
        frame[at] ^= 0x55;
    }
    frames
}

/// One SYN of a connection.
pub fn syn(options: &[u8]) -> Vec<Vec<u8>> {
    let ports = [40_000, 80];
    vec![segment(true, ports, [1000, 0], 2, [options, &[]])]
}

/// A SYN and an answer that acknowledges something else.
pub fn wrong_ack() -> Vec<Vec<u8>> {
    let ports = [40_000, 80];
    vec![
        segment(true, ports, [1000, 0], 2, [&[], &[]]),
        segment(false, ports, [9000, 5555], 0x12, [&[], &[]]),
    ]
}

/// A message of DNS: one question, and for an answer one A record.
pub fn dns(name: &str, kind: u8, flags: [u8; 2], answers: u8) -> Vec<u8> {
    let mut bytes = vec![0, 7, flags[0], flags[1], 0, 1, 0, answers, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, kind, 0, 1]);
    for _ in 0..answers {
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3]);
    }
    bytes
}

/// DER: tag, length, contents.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![tag];
    match body.len() {
        short @ 0..=127 => bytes.push(short as u8),
        long => bytes.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    bytes.extend(body);
    bytes
}

fn common_name(name: &str) -> Vec<u8> {
    let pair = der(0x30, &[&[6, 3, 0x55, 4, 3], &der(0x0c, &[name.as_bytes()])]);
    der(0x30, &[&der(0x31, &[&pair])])
}

/// A certificate of version 3 with a name that it is also for.
fn certificate(subject: &str, issuer: &str, serial: &[u8], other: &str) -> Vec<u8> {
    let algorithm = der(0x30, &[&[6, 3, 0x2a, 3, 4], &[5, 0]]);
    let time = |text: &str| der(0x17, &[text.as_bytes()]);
    let dates = der(0x30, &[&time("200101000000Z"), &time("210101000000Z")]);
    let key = der(0x30, &[&algorithm, &der(3, &[&[0, 1, 2, 3, 4]])]);
    let names = der(0x30, &[&der(0x82, &[other.as_bytes()])]);
    let extension = der(0x30, &[&[6, 3, 0x55, 0x1d, 0x11], &der(4, &[&names])]);
    let inner = der(
        0x30,
        &[
            &der(0xa0, &[&der(2, &[&[2]])]),
            &der(2, &[serial]),
            &algorithm,
            &common_name(issuer),
            &dates,
            &common_name(subject),
            &key,
            &der(0xa3, &[&der(0x30, &[&extension])]),
        ],
    );
    der(0x30, &[&inner, &algorithm, &der(3, &[&[0, 9, 9, 9]])])
}

fn record(kind: u8, version: [u8; 2], body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [&[kind], &version[..], &length, body].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

/// Extensions of a hello, with their length.
fn extensions(list: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, body) in list {
        bytes.extend(kind.to_be_bytes());
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
    }
    [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
}

/// A TLS 1.2 connection up to data: hellos and the server's certificate.
pub fn tls(sni: &str, subject: &str, issuer: &str, serial: &[u8]) -> Vec<Vec<u8>> {
    tls_between(sni, chain(subject, issuer, serial), None)
}

/// The same with a certificate of the client.
pub fn mutual_tls(sni: &str, subject: &str, client: &str) -> Vec<Vec<u8>> {
    let own = chain(client, "client CA", &[7]);
    tls_between(sni, chain(subject, "CA", &[1]), Some(own))
}

/// The content of a certificate message.
fn chain(subject: &str, issuer: &str, serial: &[u8]) -> Vec<u8> {
    let one = certificate(subject, issuer, serial, &format!("alt.{subject}"));
    let chain = [&(one.len() as u32).to_be_bytes()[1..], &one].concat();
    [&(chain.len() as u32).to_be_bytes()[1..], &chain].concat()
}

fn tls_between(sni: &str, chain: Vec<u8>, client_chain: Option<Vec<u8>>) -> Vec<Vec<u8>> {
    let name = [&[0, 0, sni.len() as u8], sni.as_bytes()].concat();
    let list = [&[0, name.len() as u8], &name[..]].concat();
    let alpn = b"\0\x0c\x08http/1.1\x02h2".to_vec();
    let mut client = vec![3, 3];
    client.extend([0x5e; 32]);
    client.extend([0, 0, 4, 0xc0, 0x2f, 0, 0x9c, 1, 0]);
    client.extend(extensions(&[
        (0, list),
        (16, alpn),
        (10, vec![0, 2, 0, 23]),
        (11, vec![1, 0]),
    ]));
    let mut server = vec![3, 3];
    server.extend([0x77; 32]);
    server.extend([0, 0xc0, 0x2f, 0]);
    server.extend(extensions(&[(11, vec![1, 0])]));
    let answer = [
        record(22, [3, 3], &message(2, &server)),
        record(22, [3, 3], &message(11, &chain)),
        record(22, [3, 3], &message(14, &[])),
    ]
    .concat();
    let shown = client_chain.map(|chain| record(22, [3, 3], &message(11, &chain)));
    let keys = [
        shown.unwrap_or_default(),
        record(22, [3, 3], &message(16, &[0; 34])),
        record(20, [3, 3], &[1]),
        record(22, [3, 3], &[0xe1; 40]),
    ]
    .concat();
    let done = [
        record(20, [3, 3], &[1]),
        record(22, [3, 3], &[0xe2; 40]),
        record(23, [3, 3], &[0xe3; 60]),
    ]
    .concat();
    let hello = record(22, [3, 1], &message(1, &client));
    tcp(
        443,
        &[
            (true, &hello),
            (false, &answer),
            (true, &keys),
            (false, &done),
        ],
    )
}

/// A capture file of Ethernet frames, a millisecond apart.
pub fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = 0xa1b2_c3d4u32.to_le_bytes().to_vec();
    bytes.extend([2, 0, 4, 0]);
    for word in [0u32, 0, 65_535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for (place, frame) in frames.iter().enumerate() {
        let length = frame.len() as u32;
        for word in [1_700_000_000, 1000 * place as u32, length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    bytes
}

/// Bytes in which every value is as frequent as the others.
pub fn even() -> Vec<u8> {
    (0..=255u8).rev().collect()
}

/// What the engine sums, here to know that these frames are right.
pub fn has_right_sum(frame: &[u8]) -> bool {
    let header = usize::from(frame[14] & 15) * 4;
    checksum::finish(checksum::ones_complement(0, &frame[14..14 + header])) == 0
}
