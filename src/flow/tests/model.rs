//! The stream against its naive twin, one entry per byte: random pieces, orders, overlaps, numbers
//! that wrap, acknowledgements, bursts of any size.

use proptest::prelude::*;
use std::collections::BTreeMap;

use super::bench::*;
use crate::config::Mode;
use crate::packet::{Verdict, flag};

#[derive(Clone, Debug)]
struct Piece {
    offset: u32,
    length: u32,
    twist: bool,
    acknowledge: bool,
}

fn piece() -> impl Strategy<Value = Piece> {
    let at = prop_oneof![0u32..300, 0u32..6000];
    (
        at,
        1u32..900,
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(offset, length, twist, acknowledge)| Piece {
            offset,
            length,
            twist,
            acknowledge,
        })
}

fn data(piece: &Piece) -> Vec<u8> {
    let twist = if piece.twist { 0x55 } else { 0 };
    (piece.offset..piece.offset + piece.length)
        .map(|at| (at / 3) as u8 ^ twist)
        .collect()
}

/// The naive twin of a direction in the path: one entry per forwarded byte.
#[derive(Default)]
struct Twin {
    bytes: BTreeMap<u32, u8>,
    acked: u32,
}

impl Twin {
    /// Whether a piece may pass; its bytes are then known.
    fn take(&mut self, piece: &Piece) -> bool {
        let conflicts = (piece.offset..)
            .zip(data(piece))
            .any(|(at, byte)| at >= self.acked && self.bytes.get(&at).is_some_and(|b| *b != byte));
        if !conflicts {
            for (at, byte) in (piece.offset..).zip(data(piece)) {
                self.bytes.entry(at).or_insert(byte);
            }
        }
        !conflicts
    }

    /// What an honest receiver acknowledges: all that it has in order.
    fn acknowledge(&mut self) -> u32 {
        self.acked = (0u32..)
            .take_while(|at| self.bytes.contains_key(at))
            .count() as u32;
        self.acked
    }
}

/// Runs pieces in bursts of `burst`, and gives what was seen, frames and views alike.
fn play(mode: Mode, isn: u32, pieces: &[Piece], burst: usize) -> Vec<Seen> {
    let mut bench = Bench::new(config(mode));
    bench.handshake_from(isn, SERVER_ISN);
    let base = isn.wrapping_add(1);
    let mut packets = Vec::new();
    let mut twin = Twin::default();
    for piece in pieces {
        let bytes = data(piece);
        let seq = base.wrapping_add(piece.offset);
        packets.push(Tcp::new(true, ACK, seq, SERVER_ISN + 1, &bytes).packet());
        twin.take(piece);
        if piece.acknowledge {
            let ack = base.wrapping_add(twin.acknowledge());
            packets.push(Tcp::new(false, ACK, SERVER_ISN + 1, ack, b"").packet());
        }
    }
    let mut all: Vec<Seen> = packets
        .chunks(burst)
        .flat_map(|part| bench.run(part))
        .collect();
    all.extend(bench.finish());
    bench.check_empty();
    all
}

/// The stream as shown: contiguous from 0 on, each byte once, until the flow ends.
fn shown(seen: &[Seen]) -> Vec<u8> {
    let mut stream = Vec::new();
    for view in seen
        .iter()
        .filter(|view| view.has(flag::STREAM) && !view.stream.is_empty())
    {
        if view.has(flag::STREAM_GAP) {
            break;
        }
        assert_eq!(view.offset as usize, stream.len());
        assert_eq!(view.has(flag::STREAM_START), stream.is_empty());
        stream.extend(&view.stream);
    }
    stream
}

fn isn() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(CLIENT_ISN),
        Just(u32::MAX - 3000),
        Just(u32::MAX),
        any::<u32>()
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_tap_shows_the_first_bytes_in_order(
        isn in isn(),
        pieces in prop::collection::vec(piece(), 1..40),
    ) {
        // Without acknowledgements no gap is given up before the end.
        let pieces: Vec<_> =
            pieces.into_iter().map(|p| Piece { acknowledge: false, ..p }).collect();
        let seen = play(Mode::Tap, isn, &pieces, 7);
        let mut twin = BTreeMap::new();
        for piece in &pieces {
            for (at, byte) in (piece.offset..).zip(data(piece)) {
                twin.entry(at).or_insert(byte);
            }
        }
        let expected: Vec<u8> =
            (0u32..).map_while(|at| twin.get(&at).copied()).collect();
        prop_assert_eq!(shown(&seen), expected);
    }

    #[test]
    fn inline_nothing_passes_that_was_not_shown(
        isn in isn(),
        pieces in prop::collection::vec(piece(), 1..40),
    ) {
        let seen = play(Mode::Inline, isn, &pieces, 5);
        let frames = seen.iter().filter(|s| s.kind == crate::packet::Kind::Frame)
            .filter(|s| s.direction == crate::packet::Direction::ToServer);
        let mut shown = BTreeMap::new();
        for view in seen.iter().filter(|view| view.has(flag::STREAM)) {
            for (at, byte) in (view.offset..).zip(&view.stream) {
                prop_assert_eq!(shown.insert(at, *byte), None);
            }
        }
        let mut twin = Twin::default();
        for (piece, frame) in pieces.iter().zip(frames) {
            let passes = twin.take(piece);
            prop_assert_eq!(frame.verdict == Verdict::Forward, passes, "{:?}", piece);
            if piece.acknowledge {
                twin.acknowledge();
            }
        }
        // What was shown is what the twin has after taking only what was forwarded.
        prop_assert_eq!(shown, twin.bytes);
    }

    #[test]
    fn bursts_make_no_difference(
        pieces in prop::collection::vec(piece(), 1..30),
        burst in 1usize..20,
    ) {
        for mode in [Mode::Tap, Mode::Inline] {
            let one = play(mode, u32::MAX - 200, &pieces, 1);
            let other = play(mode, u32::MAX - 200, &pieces, burst);
            let key = |s: &Seen| (s.kind, s.flags, s.verdict, s.offset, s.stream.clone(), s.anomalies.clone());
            let one: Vec<_> = one.iter().map(key).collect();
            let other: Vec<_> = other.iter().map(key).collect();
            prop_assert_eq!(one, other);
        }
    }
}
