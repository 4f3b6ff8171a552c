//! Naive twins of what flow does inline, and how arbitrary bytes become traffic for both: streams
//! with one entry per byte, ends of a connection that believe too much, and hosts that put fragments
//! together by every policy. Each function takes any bytes and panics where the flow stage lets
//! through what was not inspected, or holds back what the twin would pass. Fuzz targets call them
//! (fuzz/fuzz_targets/flow_*.rs), and tests with random bytes. Not in the product: only built for
//! tests and fuzzing.

use std::collections::BTreeMap;

use super::bench::*;
use crate::config::{Choice, Mode};
use crate::packet::{Direction, Kind, Verdict, flag};

/// Pieces of one input at most: what is left over says nothing new.
const STEPS_MAX: usize = 64;

/// Bytes of a client's stream.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where they lie.
    pub offset: u32,
    /// How many.
    pub length: u32,
    /// Whether they differ from what usually stands there.
    pub twist: bool,
    /// Whether the receiver acknowledges afterwards.
    pub acknowledge: bool,
}

/// The bytes of a piece.
pub fn data(piece: &Piece) -> Vec<u8> {
    let twist = if piece.twist { 0x55 } else { 0 };
    (piece.offset..piece.offset + piece.length)
        .map(|at| (at / 3) as u8 ^ twist)
        .collect()
}

/// The naive twin of a direction in the path: one entry per forwarded byte.
#[derive(Default)]
pub struct Twin {
    /// Bytes by offset.
    pub bytes: BTreeMap<u32, u8>,
    acked: u32,
}

impl Twin {
    /// Whether a piece may pass; its bytes are then known.
    pub fn take(&mut self, piece: &Piece) -> bool {
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
    pub fn acknowledge(&mut self) -> u32 {
        self.acked = (0u32..)
            .take_while(|at| self.bytes.contains_key(at))
            .count() as u32;
        self.acked
    }
}

/// Runs pieces in bursts of `burst`, and gives what was seen, frames and views alike.
pub fn play(mode: Mode, isn: u32, pieces: &[Piece], burst: usize) -> Vec<Seen> {
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

/// First sequence numbers worth trying, chosen by a byte.
fn isn_of(byte: u8) -> u32 {
    match byte & 3 {
        0 => CLIENT_ISN,
        1 => u32::MAX - 3000,
        2 => u32::MAX,
        _ => u32::from(byte) << 23,
    }
}

/// Reassembly: a client's stream in pieces of any order and overlap, against [`Twin`].
/// Input: a byte for the sequence number and the burst, then five bytes a piece.
pub fn stream(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else {
        return;
    };
    let pieces: Vec<Piece> = rest
        .chunks_exact(5)
        .take(STEPS_MAX)
        .map(|bytes| {
            let word = |at: usize| u32::from(bytes[at]) | u32::from(bytes[at + 1]) << 8;
            Piece {
                offset: word(0) % 6000,
                length: 1 + word(2) % 900,
                twist: bytes[4] & 7 == 7,
                acknowledge: bytes[4] & 0x18 == 0x18,
            }
        })
        .collect();
    let burst = 1 + usize::from(first >> 4);
    let seen = play(Mode::Inline, isn_of(*first), &pieces, burst);
    let mut shown = BTreeMap::new();
    for view in seen.iter().filter(|view| view.has(flag::STREAM)) {
        for (at, byte) in (view.offset..).zip(&view.stream) {
            assert_eq!(shown.insert(at, *byte), None, "shown twice at {at}");
        }
    }
    let frames = seen
        .iter()
        .filter(|seen| seen.kind == Kind::Frame && seen.direction == Direction::ToServer);
    let mut twin = Twin::default();
    for (piece, frame) in pieces.iter().zip(frames) {
        let passes = twin.take(piece);
        assert_eq!(frame.verdict == Verdict::Forward, passes, "{piece:?}");
        if piece.acknowledge {
            twin.acknowledge();
        }
    }
    assert_eq!(shown, twin.bytes, "shown is what was forwarded");
}

/// One end of a connection that takes whatever any real one might: bytes within its window, the
/// first ones that come.
#[derive(Default)]
struct End {
    /// Offset of the next byte in order.
    next: u32,
    bytes: BTreeMap<u32, u8>,
    fin: Option<u32>,
    closed: bool,
}

impl End {
    /// Takes a segment that was let through. False: the connection is over for this end.
    fn take(&mut self, segment: &Tcp, offset: u32) -> bool {
        if segment.flags & RST != 0 {
            return offset != self.next;
        }
        if segment.flags & SYN != 0 || segment.flags & ACK == 0 || self.closed {
            return true;
        }
        for (place, byte) in segment.data.iter().enumerate() {
            let at = offset.wrapping_add(place as u32);
            if at >= self.next && at - self.next < 65_535 && self.fin.is_none_or(|fin| at < fin) {
                self.bytes.entry(at).or_insert(*byte);
            }
        }
        if segment.flags & FIN != 0 {
            let end = offset.wrapping_add(segment.data.len() as u32);
            if end >= self.next {
                self.fin = self.fin.or(Some(end));
            }
        }
        while self.bytes.contains_key(&self.next) {
            self.next += 1;
        }
        self.closed = self.fin == Some(self.next);
        true
    }
}

/// A connection: segments of both ends with any flags, numbers and bytes (acknowledgements are
/// honest), against ends that believe too much. Whatever an end has in order was shown.
/// Input: a byte for the sequence number, then six bytes a segment.
pub fn connection(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else {
        return;
    };
    let isn = [isn_of(*first), SERVER_ISN];
    let mut strict = config(Mode::Inline);
    strict.policies.master = Some(Choice::Auto);
    let mut bench = Bench::new(strict);
    bench.handshake_from(isn[0], isn[1]);
    // By who receives: 0 the server.
    let mut ends = [End::default(), End::default()];
    let mut shown = [BTreeMap::new(), BTreeMap::new()];
    for bytes in rest.chunks_exact(6).take(STEPS_MAX) {
        let to_server = bytes[0] & 1 == 0;
        let way = usize::from(!to_server);
        let (receiver, sender) = (&ends[way], &ends[1 - way]);
        let shift = i32::from(i16::from_le_bytes([bytes[1], bytes[2]])) >> (bytes[0] >> 5);
        let offset = (receiver.next as i32).wrapping_add(shift) as u32;
        let twist = if bytes[4] & 1 != 0 { 0x33 } else { 0 };
        let data: Vec<u8> = (0..u32::from(bytes[3]))
            .map(|at| (offset.wrapping_add(at) / 5) as u8 ^ twist)
            .collect();
        // ACK is set but where three bits say otherwise.
        let flags = bytes[5] & (FIN | SYN | RST | PSH) | if bytes[5] >> 5 == 7 { 0 } else { ACK };
        let flags = if bytes[5] & 0x10 != 0 {
            flags & !(SYN | RST)
        } else {
            flags
        };
        let back = u32::from(bytes[4] >> 4).min(sender.next);
        let fin = u32::from(sender.closed);
        let ack = isn[1 - way].wrapping_add(1 + sender.next + fin - back);
        let seq = isn[way].wrapping_add(1).wrapping_add(offset);
        let segment = Tcp::new(to_server, flags, seq, ack, &data);
        let out = bench.tcp(&segment);
        note(&mut shown, &out, Some((&segment, offset)));
        let goes_on = out[0].verdict != Verdict::Forward || ends[way].take(&segment, offset);
        if !goes_on || ends.iter().all(|end| end.closed) {
            break;
        }
    }
    note(&mut shown, &bench.finish(), None);
    bench.check_empty();
    for (way, end) in ends.iter().enumerate() {
        for at in 0..end.next {
            let (got, known) = (end.bytes.get(&at), shown[way].get(&at));
            assert_eq!(got, known, "to end {way}, byte {at}: received, inspected");
        }
    }
}

/// Notes what inspection saw first of each byte. A frame shows the end of its own data, wherever flow
/// counts it (after a reset it may count anew); views of bytes that waited lie where they say.
fn note(shown: &mut [BTreeMap<u32, u8>; 2], seen: &[Seen], frame: Option<(&Tcp, u32)>) {
    for view in seen.iter().filter(|view| !view.stream.is_empty()) {
        let own = frame.filter(|_| view.kind == Kind::Frame);
        let offset = own.map_or(view.offset, |(segment, offset)| {
            offset.wrapping_add((segment.data.len() - view.stream.len()) as u32)
        });
        let way = usize::from(view.direction == Direction::ToClient);
        for (at, byte) in view.stream.iter().enumerate() {
            let place = offset.wrapping_add(at as u32);
            shown[way].entry(place).or_insert(*byte);
        }
    }
}

/// A fragment of a datagram's data.
#[derive(Clone, Debug)]
struct Part {
    offset: u32,
    data: Vec<u8>,
    more: bool,
}

/// A host that puts fragments together: the first or the last bytes win, the first or the last end.
#[derive(Default)]
struct Host {
    bytes: BTreeMap<u32, u8>,
    end: Option<u32>,
}

impl Host {
    fn take(&mut self, part: &Part, policy: usize) -> Option<Vec<u8>> {
        for (at, byte) in (part.offset..).zip(&part.data) {
            if policy & 1 == 0 {
                self.bytes.entry(at).or_insert(*byte);
            } else {
                self.bytes.insert(at, *byte);
            }
        }
        if !part.more && (policy & 2 != 0 || self.end.is_none()) {
            self.end = Some(part.offset + part.data.len() as u32);
        }
        let end = self.end?;
        let whole: Option<Vec<u8>> = (0..end).map(|at| self.bytes.get(&at).copied()).collect();
        if whole.is_some() {
            *self = Host::default();
        }
        whole
    }
}

/// Defragmentation: fragments of two datagrams, against hosts of four policies. Whatever one of them
/// puts together was shown as a datagram. Input: four bytes a fragment.
pub fn datagrams(input: &[u8]) {
    let mut bench = Bench::inline();
    let mut hosts: [[Host; 4]; 2] = Default::default();
    let mut shown: Vec<Vec<u8>> = Vec::new();
    let mut whole = Vec::new();
    for bytes in input.chunks_exact(4).take(STEPS_MAX) {
        let id = usize::from(bytes[0] & 1);
        let more = bytes[0] & 6 != 0;
        let offset = u32::from(bytes[1] % 24) * 8;
        let length = match more {
            true => 8 * (1 + u32::from(bytes[2] % 12)),
            false => 1 + u32::from(bytes[2] % 96),
        };
        let twist = if bytes[3] & 7 == 7 { 0x77 } else { 0 };
        let data: Vec<u8> = (offset..offset + length)
            .map(|at| match at {
                // Ports and no checksum: whatever the length, decode reads it as UDP.
                0 | 1 => 0x40 | at as u8,
                2 | 3 => 0,
                6 | 7 => 0,
                _ => (at / 3) as u8 ^ twist ^ (id as u8) << 7,
            })
            .collect();
        let part = Part { offset, data, more };
        let field = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
        let out = bench.one(&ipv4(
            CLIENT.0,
            SERVER.0,
            17,
            7 + id as u16,
            field,
            &part.data,
        ));
        let views = out.iter().filter(|seen| seen.kind == Kind::Datagram);
        shown.extend(views.map(|seen| seen.bytes.get(20..).unwrap_or_default().to_vec()));
        if out[0].verdict == Verdict::Forward {
            for (policy, host) in hosts[id].iter_mut().enumerate() {
                let done = host.take(&part, policy);
                whole.extend(done.map(|data| (policy, data)));
            }
        }
    }
    bench.finish();
    bench.check_empty();
    for (policy, data) in whole {
        assert!(
            shown.contains(&data),
            "policy {policy} has {data:?}, which nobody saw"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn streams_agree(input in prop::collection::vec(any::<u8>(), 0..200)) {
            stream(&input);
        }

        #[test]
        fn connections_agree(input in prop::collection::vec(any::<u8>(), 0..300)) {
            connection(&input);
        }

        #[test]
        fn datagrams_agree(input in prop::collection::vec(any::<u8>(), 0..200)) {
            datagrams(&input);
        }
    }
}
