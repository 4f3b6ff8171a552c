//! Fragments of IPv4 and IPv6: put together in any order, overlapping in every way, impossible, too
//! many, too old.

use std::collections::BTreeMap;

use super::bench::*;
use super::overlaps::RELATIONS;
use crate::config::{Config, Mode};
use crate::counters::Counter;
use crate::packet::{Kind, flag};
use crate::reason::Reason;

/// A piece of a datagram's data: offset, bytes, whether more follow.
type Piece = (u32, Vec<u8>, bool);

fn fragment4(id: u16, piece: &Piece) -> Vec<u8> {
    let (offset, data, more) = piece;
    let field = (offset / 8) as u16 | if *more { 0x2000 } else { 0 };
    ipv4(CLIENT.0, SERVER.0, 17, id, field, data)
}

fn fragment6(id: u32, piece: &Piece) -> Vec<u8> {
    let (offset, data, more) = piece;
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((8 + data.len() as u16).to_be_bytes());
    packet.extend([44, 64]);
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend([17, 0]);
    packet.extend((*offset as u16 | u16::from(*more)).to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend(data);
    packet
}

/// A UDP datagram of `length` bytes, header included; without checksum, so that any bytes do.
fn whole(length: usize) -> Vec<u8> {
    let mut data = vec![0x9c, 0x40, 0, 80];
    data.extend((length as u16).to_be_bytes());
    data.extend([0, 0]);
    data.extend((8..length).map(|at| (at as u8).wrapping_mul(5)));
    data
}

fn cut(data: &[u8], from: usize, to: usize) -> Piece {
    (from as u32, data[from..to].to_vec(), to < data.len())
}

fn datagram(seen: &[Seen]) -> Option<&Seen> {
    seen.iter().find(|view| view.kind == Kind::Datagram)
}

#[test]
fn a_datagram_follows_its_last_fragment_in_any_order() {
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        for mut bench in [Bench::tap(), Bench::inline()] {
            for v6 in [false, true] {
                let mut data = whole(64);
                if v6 {
                    // IPv6 wants a checksum: the two addresses differ in their last bytes.
                    let sum = pseudo_sum([0xfd, 0, 0, 1], [0xfd, 0, 0, 2], 17, &data);
                    data[6..8].copy_from_slice(&sum.to_be_bytes());
                }
                let pieces = [cut(&data, 0, 24), cut(&data, 24, 40), cut(&data, 40, 64)];
                let packets: Vec<_> = order
                    .iter()
                    .map(|i| match v6 {
                        true => fragment6(9, &pieces[*i]),
                        false => fragment4(9, &pieces[*i]),
                    })
                    .collect();
                let seen = bench.run(&packets);
                let kinds: Vec<_> = seen.iter().map(|s| (s.kind, s.more)).collect();
                assert_eq!(
                    kinds,
                    [
                        (Kind::Frame, false),
                        (Kind::Frame, false),
                        (Kind::Frame, true),
                        (Kind::Datagram, false)
                    ]
                );
                let view = &seen[3];
                assert!(view.has(flag::REBUILT | flag::TRANSPORT | flag::FLOW_NEW));
                assert!(view.anomalies.is_empty(), "{:?}", view.anomalies);
                assert_eq!(view.dst_port, 80);
                assert_eq!(view.values.packets, [1, 0]);
                assert!(view.bytes.ends_with(&data));
                assert_eq!(view.bytes.len(), data.len() + if v6 { 40 } else { 20 });
                assert!(!seen[0].flow.is_some(), "fragments have no flow");
            }
            assert_eq!(bench.count(Counter::Fragments), 6);
            assert_eq!(bench.count(Counter::FragmentsCompleted), 2);
            bench.finish();
            bench.check_empty();
        }
    }
}

/// What a receiver that prefers first (or last) bytes makes of pieces; `None` if bytes are missing.
fn receive(pieces: &[Piece], prefer_last: bool) -> Option<Vec<u8>> {
    let end = pieces
        .iter()
        .filter(|p| !p.2)
        .map(|p| p.0 + p.1.len() as u32)
        .max()?;
    let mut bytes = BTreeMap::new();
    for (offset, data, _) in pieces {
        for (at, byte) in (*offset..).zip(data) {
            if prefer_last {
                bytes.insert(at, *byte);
            } else {
                bytes.entry(at).or_insert(*byte);
            }
        }
    }
    (0..end).map(|at| bytes.get(&at).copied()).collect()
}

/// What a tap makes of pieces, byte by byte: those that begin later give way, one that lies within
/// the new one altogether (IPv4) or two (IPv6), unless the new one begins within another.
fn watch(pieces: &[Piece], v6: bool) -> Option<Vec<u8>> {
    let (mut bytes, mut starts) = (BTreeMap::new(), Vec::new());
    let mut total = None;
    for (offset, data, more) in pieces {
        let end = offset + data.len() as u32;
        let piece_end = |bytes: &BTreeMap<u32, u8>, from: u32| {
            let ends = |at: &u32| !bytes.contains_key(at) || starts.contains(at);
            (from + 1..).find(ends)
        };
        let covered = bytes.contains_key(offset);
        let mut at = match covered {
            true => piece_end(&bytes, *offset)?,
            false => *offset,
        };
        let count = if v6 { 2 } else { 1 } - u32::from(covered);
        for _ in 0..count {
            let Some(from) = (at..end).find(|at| bytes.contains_key(at)) else {
                break;
            };
            at = piece_end(&bytes, from)?;
            if v6 || at < end {
                for place in from..at.min(end) {
                    bytes.insert(place, data[(place - offset) as usize]);
                }
            }
        }
        for (at, byte) in (*offset..).zip(data) {
            bytes.entry(at).or_insert(*byte);
        }
        starts.push(*offset);
        total = if *more { total } else { Some(end) };
    }
    (0..total?).map(|at| bytes.get(&at).copied()).collect()
}

/// In the path, whatever subset of the forwarded fragments arrives, and whatever the receiver
/// prefers, what it puts together was inspected.
fn check_subsets(forwarded: &[Piece], inspected: &[Vec<u8>], what: &str) {
    for set in 0u32..1 << forwarded.len() {
        let subset: Vec<Piece> = forwarded
            .iter()
            .enumerate()
            .filter(|(i, _)| set >> i & 1 != 0)
            .map(|(_, p)| p.clone())
            .collect();
        for prefer_last in [false, true] {
            if let Some(bytes) = receive(&subset, prefer_last) {
                assert!(inspected.contains(&bytes), "{what}: {bytes:?}");
            }
        }
    }
}

#[test]
fn no_overlap_of_fragments_lets_bytes_through_that_were_not_inspected() {
    let data = whole(64);
    for v6 in [false, true] {
        for (name, from, to) in RELATIONS {
            for twist in [0u8, 0x40] {
                for situation in 0..3 {
                    let what = format!("{v6} {name} {twist} {situation}");
                    let mut second = cut(&data, from as usize, to as usize);
                    // The header stays, so that only the data differs.
                    second
                        .1
                        .iter_mut()
                        .zip(from..)
                        .filter(|(_, at)| *at >= 8)
                        .for_each(|(b, _)| {
                            *b ^= twist;
                        });
                    let first = cut(&data, 24, 40);
                    let rest = [cut(&data, 0, 24), cut(&data, 40, 64)];
                    // Second piece before the rest, after it, or first of all.
                    let order: Vec<Piece> = match situation {
                        0 => vec![first, second, rest[0].clone(), rest[1].clone()],
                        1 => vec![first, rest[0].clone(), rest[1].clone(), second],
                        _ => vec![second, rest[1].clone(), first, rest[0].clone()],
                    };
                    run_order(v6, &order, &what);
                }
            }
        }
    }
}

fn run_order(v6: bool, order: &[Piece], what: &str) {
    for mode in [Mode::Inline, Mode::Tap] {
        let mut bench = Bench::new(config(mode));
        let mut forwarded = Vec::new();
        let mut inspected = Vec::new();
        for piece in order {
            let packet = if v6 {
                fragment6(7, piece)
            } else {
                fragment4(7, piece)
            };
            let seen = bench.one(&packet);
            if let Some(view) = datagram(&seen) {
                inspected.push(view.bytes[if v6 { 40 } else { 20 }..].to_vec());
            }
            match seen[0].dropped() {
                None => forwarded.push(piece.clone()),
                Some(reason) => assert!(
                    matches!(reason, Reason::IpFragOverlap | Reason::IpFragInvalid),
                    "{what}: {reason:?}"
                ),
            }
        }
        if mode == Mode::Inline {
            check_subsets(&forwarded, &inspected, what);
        } else {
            assert_eq!(forwarded.len(), order.len());
            let until_whole: Vec<Piece> = order.to_vec();
            let first = (1..=order.len())
                .find_map(|count| watch(&until_whole[..count], v6))
                .expect("all bytes come");
            assert_eq!(inspected.first(), Some(&first), "{what}");
        }
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn an_exact_duplicate_passes_and_anything_else_condemns_the_datagram() {
    let data = whole(64);
    let mut bench = Bench::inline();
    let first = fragment4(1, &cut(&data, 0, 24));
    assert_eq!(bench.one(&first)[0].dropped(), None);
    assert_eq!(bench.one(&first)[0].dropped(), None);
    // The same bytes with other borders.
    let other = bench.one(&fragment4(1, &cut(&data, 0, 16)));
    assert_eq!(other[0].dropped(), Some(Reason::IpFragOverlap));
    assert_eq!(other[0].anomalies, ["ipv4.frag_overlap"]);
    let rest = bench.one(&fragment4(1, &cut(&data, 24, 64)));
    assert_eq!(rest[0].dropped(), Some(Reason::IpFragOverlap));
    assert_eq!(rest.len(), 1);
    // Another datagram is not concerned.
    assert_eq!(
        bench.one(&fragment4(2, &cut(&data, 0, 24)))[0].dropped(),
        None
    );
    assert_eq!(bench.count(Counter::FragmentsRefused), 2);
    bench.finish();
    bench.check_empty();
}

#[test]
fn a_late_fragment_cannot_replace_one_that_the_receiver_lost() {
    let data = whole(64);
    let mut bench = Bench::inline();
    bench.one(&fragment4(1, &cut(&data, 0, 24)));
    assert!(datagram(&bench.one(&fragment4(1, &cut(&data, 24, 64)))).is_some());
    let mut evil = cut(&data, 0, 24);
    evil.1[20] ^= 1;
    assert_eq!(
        bench.one(&fragment4(1, &evil))[0].dropped(),
        Some(Reason::IpFragOverlap)
    );
    // After its time the number is free again.
    bench.wait(61);
    assert_eq!(bench.one(&fragment4(1, &evil))[0].dropped(), None);
    bench.finish();
    bench.check_empty();
}

#[test]
fn impossible_fragments_are_refused() {
    let cases: [(u32, usize, bool, &str); 4] = [
        (65_528, 100, false, "ipv4.frag_pkt_too_large"),
        (0, 20, true, "ipv4.frag_ignored"),
        (8, 0, false, "ipv4.frag_ignored"),
        (65_520, 16, false, "ipv4.frag_pkt_too_large"),
    ];
    for (offset, length, more, anomaly) in cases {
        for mode in [Mode::Inline, Mode::Tap] {
            let mut bench = Bench::new(config(mode));
            let seen = bench.one(&fragment4(1, &(offset, vec![1; length], more)));
            assert!(
                seen[0].anomalies.contains(&anomaly),
                "{offset}: {:?}",
                seen[0].anomalies
            );
            if mode == Mode::Inline {
                assert!(seen[0].dropped().is_some());
            }
            bench.finish();
            bench.check_empty();
        }
    }
    // Two ends.
    let data = whole(64);
    let mut bench = Bench::inline();
    bench.one(&fragment4(1, &cut(&data, 40, 64)));
    let longer = bench.one(&fragment4(1, &(64, vec![1; 8], false)));
    assert_eq!(longer[0].dropped(), Some(Reason::IpFragInvalid));
    bench.finish();
    bench.check_empty();
}

#[test]
fn fragments_that_never_complete_are_bounded_and_expire() {
    let mut bench = Bench::new(Config {
        defrag_memory: 64 * 2048,
        ..config(Mode::Inline)
    });
    for id in 0..500u16 {
        let seen = bench.one(&fragment4(id, &(0, vec![1; 1480], true)));
        assert_eq!(seen[0].dropped(), None, "the oldest give way");
    }
    assert!(bench.stage.defrag.used() <= 16);
    assert!(bench.count(Counter::FragmentsExpired) >= 484);
    let expired = bench.count(Counter::FragmentsExpired);
    bench.wait(61);
    bench.idle();
    assert_eq!(bench.stage.defrag.used(), 0);
    assert!(bench.count(Counter::FragmentsExpired) > expired);
    bench.finish();
    bench.check_empty();
}

#[test]
fn the_largest_datagram_fits() {
    let data = whole(65_515);
    let mut bench = Bench::inline();
    let mut last = Vec::new();
    for from in (0..data.len()).step_by(8000) {
        last = bench.one(&fragment4(
            3,
            &cut(&data, from, (from + 8000).min(data.len())),
        ));
    }
    let view = datagram(&last).expect("whole");
    assert_eq!(view.bytes.len(), 65_535);
    assert!(view.bytes.ends_with(&data));
    bench.finish();
    bench.check_empty();
}

#[test]
fn a_tcp_segment_in_fragments_is_part_of_its_stream() {
    for mut bench in [Bench::tap(), Bench::inline()] {
        bench.handshake();
        bench.client(5, b"world");
        let packet = client(0, b"hello").packet();
        let segment = packet[20..].to_vec();
        let pieces = [
            (0, segment[..16].to_vec(), true),
            (16, segment[16..].to_vec(), false),
        ];
        let mut packets = pieces.map(|piece| {
            let field = (piece.0 / 8) as u16 | if piece.2 { 0x2000 } else { 0 };
            ipv4(CLIENT.0, SERVER.0, 6, 77, field, &piece.1)
        });
        packets.reverse();
        let seen = bench.run(&packets);
        let kinds: Vec<_> = seen.iter().map(|s| (s.kind, s.text(), s.more)).collect();
        assert_eq!(
            kinds,
            [
                (Kind::Frame, "", false),
                (Kind::Frame, "", true),
                (Kind::Datagram, "hello", true),
                (Kind::Stream, "world", false)
            ]
        );
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn a_datagram_that_outgrows_the_memory_is_refused_by_policy() {
    for (mode, dropped) in [
        (Mode::Inline, Some(Reason::IpFragMemory)),
        (Mode::Tap, None),
    ] {
        let mut bench = Bench::new(Config {
            defrag_memory: 4 * 2048,
            ..config(mode)
        });
        let data = whole(16_000);
        bench.one(&fragment4(1, &cut(&data, 0, 8000)));
        let second = bench.one(&fragment4(1, &cut(&data, 8000, 15_000)));
        assert_eq!(second[0].dropped(), dropped);
        assert_eq!(bench.count(Counter::FragmentsRefused), 1);
        bench.finish();
        bench.check_empty();
    }
}
