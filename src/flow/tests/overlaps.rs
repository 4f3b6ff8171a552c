//! What goes through has been inspected, for each way in which two pieces can lie to each other: the
//! thirteen relations of Allen (1983), with the same bytes and with others, in three situations.

use std::collections::BTreeMap;

use super::bench::*;
use crate::config::Mode;
use crate::packet::flag;
use crate::reason::Reason;

/// Where the first piece lies.
const FIRST: (u32, u32) = (24, 40);
/// Where the second lies: before, meets, overlaps, starts, during, finishes, equals, and inverses.
pub const RELATIONS: [(&str, u32, u32); 13] = [
    ("before", 0, 16),
    ("meets", 8, 24),
    ("overlaps", 16, 32),
    ("finished by", 16, 40),
    ("contains", 16, 48),
    ("starts", 24, 32),
    ("equals", 24, 40),
    ("started by", 24, 48),
    ("during", 32, 40),
    ("finishes", 32, 40),
    ("overlapped by", 32, 48),
    ("met by", 40, 56),
    ("after", 48, 64),
];
const END: u32 = 64;

fn bytes(from: u32, to: u32, twist: u8) -> Vec<u8> {
    (from..to)
        .map(|at| (at as u8).wrapping_mul(3) ^ twist)
        .collect()
}

/// All bytes that were forwarded, and all that were shown, by offset.
#[derive(Default)]
struct Ledger {
    forwarded: Vec<(u32, Vec<u8>)>,
    shown: BTreeMap<u32, u8>,
}

impl Ledger {
    fn take(&mut self, offset: u32, data: &[u8], seen: &[Seen]) {
        if seen[0].dropped().is_none() {
            self.forwarded.push((offset, data.to_vec()));
        }
        for view in seen.iter().filter(|view| view.has(flag::STREAM)) {
            for (at, byte) in (view.offset..).zip(&view.stream) {
                assert_eq!(
                    self.shown.insert(at, *byte),
                    None,
                    "offset {at} is shown once"
                );
            }
        }
    }

    fn has(&self, offset: u32) -> bool {
        self.forwarded
            .iter()
            .any(|(at, data)| (*at..*at + data.len() as u32).contains(&offset))
    }

    /// Whatever a receiver makes of the forwarded pieces, each byte was shown.
    fn check(&self, known_from: u32, what: &str) {
        for (offset, data) in &self.forwarded {
            for (at, byte) in (*offset..).zip(data).filter(|(at, _)| *at >= known_from) {
                assert_eq!(self.shown.get(&at), Some(byte), "{what}: offset {at}");
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Situation {
    /// Both pieces come before the gap in front of them fills.
    Waiting,
    /// The first is in order, and not acknowledged.
    Delivered,
    /// The first is in order, and acknowledged.
    Acknowledged,
}

fn run(mode: Mode, relation: (&str, u32, u32), twist: u8, situation: Situation) {
    let what = format!("{mode:?} {relation:?} {twist} {situation:?}");
    let (_, from, to) = relation;
    let mut bench = Bench::new(config(mode));
    bench.handshake();
    let mut ledger = Ledger::default();
    let mut send = |bench: &mut Bench, from: u32, to: u32, twist: u8| {
        let data = bytes(from, to, twist);
        let seen = bench.client(from, &data);
        ledger.take(from, &data, &seen);
        seen
    };
    if situation != Situation::Waiting {
        send(&mut bench, 0, FIRST.0, 0);
    }
    send(&mut bench, FIRST.0, FIRST.1, 0);
    if situation == Situation::Acknowledged {
        bench.server_ack(FIRST.1);
    }
    let second = send(&mut bench, from, to, twist);
    let known_to = if situation == Situation::Waiting {
        FIRST.0
    } else {
        0
    };
    let overlaps = from < FIRST.1 && to > known_to;
    let conflicts = twist != 0 && overlaps && situation != Situation::Acknowledged;
    if mode == Mode::Inline {
        let expected = conflicts.then_some(Reason::TcpOverlapConflict);
        assert_eq!(second[0].dropped(), expected, "{what}");
    } else {
        assert_eq!(second[0].dropped(), None);
    }
    let named = second[0]
        .anomalies
        .contains(&"stream.reassembly_overlap_different_data");
    assert_eq!(named, conflicts, "{what}: {:?}", second[0].anomalies);
    // Fill whatever is missing.
    for at in 0..END {
        if !ledger.has(at) {
            let data = bytes(at, at + 1, 0);
            let seen = bench.client(at, &data);
            assert_eq!(seen[0].dropped(), None, "{what}: offset {at}");
            ledger.take(at, &data, &seen);
        }
    }
    let known_from = if situation == Situation::Acknowledged {
        FIRST.1
    } else {
        0
    };
    if mode == Mode::Inline {
        ledger.check(known_from, &what);
    } else {
        // First bytes win, but for those that wait and begin later than others; all were shown.
        let mut kept = BTreeMap::new();
        for (number, (offset, data)) in ledger.forwarded.iter().enumerate() {
            let waits = situation == Situation::Waiting && number == 1 && from < FIRST.0;
            for (at, byte) in (*offset..).zip(data) {
                if waits {
                    kept.insert(at, *byte);
                }
                kept.entry(at).or_insert(*byte);
            }
        }
        assert_eq!(ledger.shown, kept, "{what}");
    }
    bench.finish();
    bench.check_empty();
}

#[test]
fn no_overlap_of_segments_lets_bytes_through_that_were_not_inspected() {
    for mode in [Mode::Inline, Mode::Tap] {
        for relation in RELATIONS {
            for twist in [0, 0x80] {
                for situation in [
                    Situation::Waiting,
                    Situation::Delivered,
                    Situation::Acknowledged,
                ] {
                    run(mode, relation, twist, situation);
                }
            }
        }
    }
}
