//! Connections that carry given bytes: near misses of all rules, or what captures carry.

use std::path::Path;

use sluice::decode::LinkType;
use sluice::port::capture::CaptureWriter;
use sluice::rules::group;
use sluice::rules::ruleset::RuleSet;

use super::frames;

/// Bytes of a segment.
pub const SEGMENT: usize = 1400;
/// Segments of a connection.
const SEGMENTS: usize = 40;
/// Connections.
const CONNECTIONS: usize = 500;
/// A server port that no parser is bound to.
const PORT: u16 = 7777;
/// 2026-01-01T00:00:00Z.
const START_NS: u64 = 1_767_225_600_000_000_000;
const STEP_NS: u64 = 10_000;

/// Every fast pattern of the rules with its last byte changed, one behind the other.
pub fn near(ruleset: &RuleSet) -> Vec<u8> {
    let patterns = ruleset.signatures().iter().filter_map(group::fast_pattern);
    let mut bytes = Vec::new();
    for pattern in patterns {
        bytes.extend_from_slice(&pattern.bytes);
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
    }
    bytes
}

/// What the packets of a capture carry, one behind the other.
pub fn payloads(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames::each(path, |_, frame| {
        // Ethernet, IPv4 and TCP or UDP: what lies behind 54 bytes is nearly all payload.
        if bytes.len() < SEGMENT * SEGMENTS * CONNECTIONS {
            bytes.extend_from_slice(frame.get(54..).unwrap_or(&[]));
        }
    });
    bytes
}

/// A capture of connections that carry `bytes` to the server, over and over.
pub fn write(path: &Path, bytes: &[u8]) {
    assert!(bytes.len() > SEGMENT, "nothing to carry");
    let mut out = CaptureWriter::create(path).expect("a capture");
    let (mut time, mut from) = (START_NS, 0);
    let mut put = |flow: usize, back: bool, flags: u8, numbers: [u32; 2], payload: &[u8]| {
        let frame = segment(flow, back, flags, numbers, payload);
        let link = LinkType::Ethernet.to_pcap();
        out.write(time, link, &frame).expect("room for a capture");
        time += STEP_NS;
    };
    for flow in 0..CONNECTIONS {
        put(flow, false, 0x02, [999, 0], &[]);
        put(flow, true, 0x12, [4999, 1000], &[]);
        put(flow, false, 0x10, [1000, 5000], &[]);
        let mut sequence = 1000;
        for _ in 0..SEGMENTS {
            if from + SEGMENT > bytes.len() {
                from %= 97;
            }
            put(
                flow,
                false,
                0x18,
                [sequence, 5000],
                &bytes[from..from + SEGMENT],
            );
            from += SEGMENT;
            sequence += SEGMENT as u32;
            put(flow, true, 0x10, [5000, sequence], &[]);
        }
        put(flow, false, 0x11, [sequence, 5000], &[]);
        put(flow, true, 0x11, [5000, sequence + 1], &[]);
        put(flow, false, 0x10, [sequence + 1, 5001], &[]);
    }
    out.finish().expect("room for a capture");
}

/// An Ethernet frame with IPv4 and TCP; checksums are left out, the bench does not verify them.
fn segment(flow: usize, back: bool, flags: u8, numbers: [u32; 2], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let total = (40 + payload.len()) as u16;
    frame.extend([0x45, 0]);
    frame.extend(total.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    let client = [203, 0, 113, 1 + (flow % 200) as u8];
    let server = [192, 168, 1, 10];
    let port = 20_000 + flow as u16;
    let (addresses, ports) = if back {
        ([server, client], [PORT, port])
    } else {
        ([client, server], [port, PORT])
    };
    frame.extend(addresses.concat());
    ports
        .iter()
        .for_each(|port| frame.extend(port.to_be_bytes()));
    numbers
        .iter()
        .for_each(|number| frame.extend(number.to_be_bytes()));
    frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend_from_slice(payload);
    frame
}
