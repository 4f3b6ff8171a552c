//! Every way in which two or three pieces can lie to each other: the 13 relations of Allen (1983)
//! and the 409 of three intervals, as TCP segments and as fragments of IPv4 and IPv6, with the same
//! bytes and with others. Each comes with a model of the inline rule (DESIGN.md 4): which pieces go
//! through, and what the receiver must therefore read.

use std::collections::BTreeSet;

use crate::rig::{App, Case, Peer, Step, data, udp};
use crate::wire::frame::{MORE, Packet};

/// Bytes of a unit: where an interval can begin, and the grain of fragments.
const UNIT: usize = 8;
const UDP: u8 = 17;

/// Pieces in the order in which they are sent, in units: start, end.
pub type Layout = Vec<(usize, usize)>;

/// All ways in which `count` intervals can lie to each other: their ends as ranks, none left out.
pub fn layouts(count: usize) -> Vec<Layout> {
    fn extend(left: usize, ends: &mut Vec<usize>, all: &mut BTreeSet<Vec<usize>>, top: usize) {
        if left == 0 {
            let used: BTreeSet<usize> = ends.iter().copied().collect();
            let dense = used.iter().copied().eq(0..used.len());
            let ordered = ends.chunks(2).all(|pair| pair[0] < pair[1]);
            if dense && ordered {
                all.insert(ends.clone());
            }
            return;
        }
        for rank in 0..top {
            ends.push(rank);
            extend(left - 1, ends, all, top);
            ends.pop();
        }
    }
    let mut all = BTreeSet::new();
    extend(2 * count, &mut Vec::new(), &mut all, 2 * count);
    let pairs = |ends: Vec<usize>| ends.chunks(2).map(|pair| (pair[0], pair[1])).collect();
    all.into_iter().map(pairs).collect()
}

/// The bytes of a unit in one version. All versions have the same sum, so that a checksum over them
/// holds whatever a receiver makes of them; all are letters and digits.
fn unit(number: u32, at: usize, version: u8) -> [u8; UNIT] {
    let mut bytes = *b"00000000";
    bytes[0] = b'A' + (at % 26) as u8;
    bytes[1] = b'0' + (number / 1000 % 10) as u8;
    bytes[2] = b'0' + (number % 10) as u8;
    bytes[3] = b'0' + (number / 10 % 10) as u8;
    bytes[4] = b'0' + (number / 100 % 10) as u8;
    // A word more in one place, a word less in another.
    bytes[5] = b'a' + version;
    bytes[7] = b'z' - version;
    bytes
}

fn units(number: u32, from: usize, to: usize, version: u8) -> Vec<u8> {
    (from..to)
        .flat_map(|at| unit(number, at, version))
        .collect()
}

fn version_of(piece: usize, differs: bool) -> u8 {
    if differs { piece as u8 + 1 } else { 0 }
}

/// Situations of TCP segments.
pub const SEGMENTS: [&str; 4] = [
    "hole filled last",
    "prefix missing",
    "numbers wrap",
    "in order",
];
/// Situations of fragments.
pub const FRAGMENTS: [&str; 3] = ["hole filled last", "first one missing", "last one first"];

/// What the appliance keeps and the receiver therefore gets, unit by unit.
#[derive(Default)]
struct Model {
    kept: Vec<Option<u8>>,
}

impl Model {
    fn new(length: usize) -> Model {
        Model {
            kept: vec![None; length],
        }
    }

    fn acked(&self, in_order: bool) -> usize {
        if !in_order {
            return 0;
        }
        self.kept.iter().take_while(|unit| unit.is_some()).count()
    }

    /// Offers a piece: it goes through if it says nothing else about what is kept and not
    /// acknowledged.
    fn offer(&mut self, from: usize, to: usize, version: u8, in_order: bool) {
        let acked = self.acked(in_order);
        let conflict =
            (from.max(acked)..to).any(|at| self.kept[at].is_some_and(|kept| kept != version));
        if !conflict {
            for at in from..to {
                self.kept[at].get_or_insert(version);
            }
        }
    }
}

/// A TCP case: pieces behind a prefix of one unit, and at the end an honest retransmission of all.
pub fn segments(
    class: &'static str,
    number: u32,
    layout: &Layout,
    situation: usize,
    differs: bool,
    v6: bool,
) -> Case {
    let mut case = Case::new(
        class,
        format!("{layout:?}, {}, {}", SEGMENTS[situation], words(differs)),
    );
    case.v6 = v6;
    let in_order = situation == 3;
    // Unit 0 is the prefix; in order the pieces follow at once, else a unit is missing between.
    let shift = if in_order || situation == 1 { 1 } else { 2 };
    let top = layout.iter().map(|(_, end)| *end).max().unwrap_or(0);
    let length = shift + top + 1;
    if situation == 2 {
        // The number wraps in the middle of the pieces.
        case.isn = 0u32.wrapping_sub(((shift * UNIT) + top * UNIT / 2 + 1) as u32);
    }
    let mut model = Model::new(length);
    let send = |case: Case, model: &mut Model, from: usize, to: usize, version: u8| {
        model.offer(from, to, version, in_order);
        case.round([data(
            (from * UNIT) as i64,
            &units(number, from, to, version),
        )])
    };
    if situation != 1 {
        case = send(case, &mut model, 0, 1, 0);
    }
    for (piece, (start, end)) in layout.iter().enumerate() {
        let version = version_of(piece, differs);
        case = send(case, &mut model, shift + start, shift + end, version);
    }
    // What the pieces left open, the front last.
    let open: Vec<usize> = (0..length)
        .rev()
        .filter(|at| model.kept[*at].is_none())
        .collect();
    for at in open {
        case = send(case, &mut model, at, at + 1, 0);
    }
    let whole: Vec<u8> = (0..length)
        .flat_map(|at| unit(number, at, model.kept[at].unwrap_or(0)))
        .collect();
    case.round([data(0, &whole)]).expecting(whole)
}

/// A datagram in fragments: a header unit, the pieces, a tail.
pub fn fragments(
    class: &'static str,
    number: u32,
    layout: &Layout,
    situation: usize,
    differs: bool,
    v6: bool,
) -> Case {
    let mut case = Case::new(
        class,
        format!("{layout:?}, {}, {}", FRAGMENTS[situation], words(differs)),
    );
    case.app = App::Datagram;
    case.v6 = v6;
    case.rounds.clear();
    let top = layout.iter().map(|(_, end)| *end).max().unwrap_or(0);
    // Units of the UDP datagram: its header, then what the pieces cover, then the tail.
    let shift = if situation == 0 { 2 } else { 1 };
    let length = shift + top + 1;
    let mut order: Vec<(usize, usize, u8)> = Vec::new();
    let tail = (length - 1, length, 0);
    if situation != 1 {
        order.push((0, 1, 0));
    }
    if situation == 2 {
        order.push(tail);
    }
    for (piece, (start, end)) in layout.iter().enumerate() {
        order.push((shift + start, shift + end, version_of(piece, differs)));
    }
    let covered = |at: usize| {
        layout
            .iter()
            .any(|(start, end)| (shift + start..shift + end).contains(&at))
    };
    let open = (1..length - 1).rev().filter(|at| !covered(*at));
    order.extend(open.map(|at| (at, at + 1, 0)));
    if situation != 2 {
        order.push(tail);
    }
    if situation == 1 {
        order.push((0, 1, 0));
    }
    let whole: Vec<u8> = units(number, 1, length, 0);
    let expected = reading(number, &order, length);
    let id = 0x4000 + number;
    let make = move |packet: &Packet, _: &Peer, port: u16| {
        let honest = udp(port, packet.src, packet.dst, &whole);
        let frame = |(from, to, version): &(usize, usize, u8)| {
            let mut bytes = Vec::new();
            for at in *from..*to {
                match at {
                    0 => bytes.extend(&honest[..UNIT]),
                    at => bytes.extend(unit(number, at, *version)),
                }
            }
            let mut packet = packet.clone();
            packet.id = id;
            packet.fragment = *from as u16 | if *to < length { MORE } else { 0 };
            packet.frame(UDP, &bytes)
        };
        order.iter().map(frame).collect()
    };
    case.round([Step::Frames(std::sync::Arc::new(make))])
        .expecting(expected)
}

/// What a receiver reads: only exact duplicates may overlap, anything else spoils a datagram that is
/// not whole yet.
fn reading(number: u32, order: &[(usize, usize, u8)], length: usize) -> Vec<u8> {
    let mut versions: Vec<Option<u8>> = vec![None; length];
    for (index, piece) in order.iter().enumerate() {
        if order[..index].contains(piece) {
            continue;
        }
        let (from, to, version) = *piece;
        if versions[from..to].iter().any(Option::is_some) {
            return Vec::new();
        }
        versions[from..to].fill(Some(version));
        if let Some(all) = versions.iter().copied().collect::<Option<Vec<u8>>>() {
            let read = |(at, version)| unit(number, at, version);
            return (1..length)
                .zip(all.into_iter().skip(1))
                .flat_map(read)
                .collect();
        }
    }
    Vec::new()
}

fn words(differs: bool) -> &'static str {
    if differs { "other bytes" } else { "same bytes" }
}

impl Case {
    /// The same case with what must arrive.
    pub fn expecting(mut self, bytes: Vec<u8>) -> Case {
        self.expect = Some(bytes);
        self
    }
}
