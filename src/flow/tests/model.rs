//! The stream against its naive twin, one entry per byte: random pieces, orders, overlaps, numbers
//! that wrap, acknowledgements, bursts of any size.

use proptest::prelude::*;
use std::collections::BTreeMap;

use super::bench::*;
use crate::config::Mode;
use crate::flow::twins::{Piece, Twin, data, play};
use crate::packet::{Verdict, flag};

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
    fn a_tap_shows_in_order_what_begins_earlier(
        isn in isn(),
        pieces in prop::collection::vec(piece(), 1..40),
    ) {
        // Without acknowledgements no gap is given up before the end.
        let pieces: Vec<_> =
            pieces.into_iter().map(|p| Piece { acknowledge: false, ..p }).collect();
        let seen = play(Mode::Tap, isn, &pieces, 7);
        let mut twin: BTreeMap<u32, u8> = BTreeMap::new();
        for piece in &pieces {
            let next = (0u32..).find(|at| !twin.contains_key(at)).unwrap();
            // What is there behind a hole of this piece begins later than it does.
            let mut hole = false;
            for (at, byte) in (piece.offset..).zip(data(piece)).filter(|(at, _)| *at >= next) {
                hole |= !twin.contains_key(&at);
                if hole {
                    twin.insert(at, byte);
                }
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
