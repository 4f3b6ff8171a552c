//! Every shared capture through the stage: nothing panics, nothing is lost, and bursts make no
//! difference, in a tap and in the path, also with packets cut short and out of order.

use super::bench::*;
use crate::config::{Config, Mode};
use crate::decode::LinkType;
use std::path::{Path, PathBuf};

/// Captures read at most, and packets of each: the test is about variety.
const PACKETS_MAX: usize = 300;

/// The folder of shared captures, or a loud word that it is not there.
pub(super) fn shared() -> Option<PathBuf> {
    let home = std::env::var("SLUICE_SHARED").map_or_else(
        |_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    if home.join("captures").is_dir() {
        return Some(home);
    }
    assert!(
        std::env::var("SLUICE_REQUIRE_SHARED").is_err(),
        "the shared captures are required and not at {}",
        home.display()
    );
    eprintln!(
        "SKIPPED: no shared captures at {} (set SLUICE_SHARED)",
        home.display()
    );
    None
}

/// Packets of a little- or big-endian pcap file with its link type; none of other files.
pub(super) fn read(path: &Path) -> Option<(u32, Vec<Vec<u8>>)> {
    let file = std::fs::read(path).ok()?;
    let swapped = match file.get(..4)? {
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => false,
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => true,
        _ => return None,
    };
    let word = |at: usize| {
        let bytes: [u8; 4] = file.get(at..at + 4)?.try_into().ok()?;
        Some(if swapped {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    };
    let link = word(20)? & 0xffff;
    let mut at = 24;
    let mut packets = Vec::new();
    while let Some(length) = word(at + 8)
        && packets.len() < PACKETS_MAX
    {
        let Some(packet) = file.get(at + 16..at + 16 + length as usize) else {
            break;
        };
        packets.push(packet.to_vec());
        at += 16 + length as usize;
    }
    Some((link, packets))
}

pub(super) fn settings(mode: Mode) -> Config {
    Config {
        checksum_validation: false,
        flows_max: 2000,
        ..config(mode)
    }
}

fn play(link: u32, packets: &[Vec<u8>], mode: Mode, burst: usize) -> Vec<Seen> {
    let mut bench = Bench::new(settings(mode));
    bench.link = LinkType::from_pcap(link) as u8;
    let mut all: Vec<Seen> = packets
        .chunks(burst)
        .flat_map(|part| bench.run(part))
        .collect();
    all.extend(bench.finish());
    bench.check_empty();
    all
}

#[test]
fn captures_pass_without_loss_and_bursts_make_no_difference() {
    let Some(home) = shared() else { return };
    let mut paths: Vec<_> = std::fs::read_dir(home.join("captures"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut seen = 0;
    // A third of them, so that the test stays short; the shift differs by mode.
    for (index, path) in paths.iter().enumerate() {
        let mode = if index % 2 == 0 {
            Mode::Tap
        } else {
            Mode::Inline
        };
        if index % 3 != 0 {
            continue;
        }
        let Some((link, mut packets)) = read(path) else {
            continue;
        };
        packets.retain(|packet| packet.len() <= FRAME_BYTES);
        let fate = |s: &Seen| {
            let text = (
                s.kind,
                s.flags,
                s.verdict,
                s.direction,
                s.offset,
                s.stream.clone(),
            );
            (
                text,
                s.anomalies.clone(),
                s.values.packets,
                s.values.bytes,
                s.values.tcp_state,
            )
        };
        let one: Vec<_> = play(link, &packets, mode, 1).iter().map(fate).collect();
        let many: Vec<_> = play(link, &packets, mode, 23).iter().map(fate).collect();
        // Ends come with the sweep, whose time is the burst's.
        let frames = |all: &[(_, _, _, _, _)]| all.len();
        assert_eq!(frames(&one), frames(&many), "{}", path.display());
        let mut one = one.iter().filter(|s| s.0.0 != crate::packet::Kind::FlowEnd);
        let many = many
            .iter()
            .filter(|s| s.0.0 != crate::packet::Kind::FlowEnd);
        for other in many {
            assert_eq!(one.next(), Some(other), "{}", path.display());
        }
        // Cut short and turned round, it must only not break.
        packets
            .iter_mut()
            .enumerate()
            .for_each(|(i, p)| p.truncate(p.len() - p.len() * (i % 5) / 9));
        packets.reverse();
        play(link, &packets, mode, 17);
        seen += 1;
    }
    assert!(seen > 50, "only {seen} captures were read");
}
