//! QUIC (RFC 9000, 9001, 9369, and Google's before): what the Initial packets of both sides say in
//! their hellos. Every packet with a long head is a transaction, as for Suricata. After the hellos
//! all is encrypted. Keys stand in quic/keys.rs, heads in quic/header.rs.

mod header;
pub mod keys;

use super::field::Field;
use super::heap::{Heap, TEXT_MAX, Text};
use super::output::{AppEvent, Output, SCRATCH_SIZE, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::{Reader, push};
use super::tls::fingerprint::ja3_hash;
use super::tls::fingerprints;
use super::tls::hello::{Hello, Speaker};
use crate::packet::Direction;
use header::{Header, Kind, var_int};
use keys::{Keys, SAMPLE, TAG};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Quic,
    probe,
    over: &[Transport::Udp],
    fields: &[
        Field::QuicSni,
        Field::QuicUa,
        Field::QuicVersion,
        Field::QuicCyuHash,
        Field::QuicCyuString,
        Field::Ja3Hash,
        Field::Ja3String,
        Field::Ja3sHash,
        Field::Ja3sString,
        Field::Ja4Hash,
    ],
    events: &[
        "failed_decrypt",
        "error_on_data",
        "error_on_header",
        "crypto_frag_too_long",
    ],
};

/// Places in `DESCRIPTION.events`.
mod event {
    pub const FAILED_DECRYPT: u8 = 0;
    pub const ERROR_ON_DATA: u8 = 1;
    pub const FRAGMENT_TOO_LONG: u8 = 3;
}

/// Bytes of a hello that are put together.
const HELLO_MAX: usize = 65_535;
/// Pieces of a hello with holes between them.
const PIECES_MAX: usize = 24;
/// Packets of one flow that cannot be opened before it is given up.
const FAILURES_MAX: u8 = 8;
/// Extensions of a hello that events tell of.
const EXTENSIONS_MAX: usize = 64;
/// Tags of a gQUIC hello.
const TAGS_MAX: u16 = 128;
/// Ports that QUIC is spoken on.
const PORTS: [u16; 2] = [443, 80];
const _: () = assert!(HELLO_MAX < TEXT_MAX && HELLO_MAX < SCRATCH_SIZE);

/// The hello of one side.
#[derive(Debug, Default)]
struct Side {
    bytes: Text,
    /// Pieces that have come, from and to, in order and apart.
    pieces: [(u16, u16); PIECES_MAX],
    count: u8,
    /// The hello is complete.
    hello: bool,
}

/// State of a flow.
#[derive(Debug, Default)]
pub struct Quic {
    sides: [Side; 2],
    keys: Option<[Keys; 2]>,
    retried: bool,
    failures: u8,
}

fn probe(probe: &Probe<'_>) -> Guess {
    let known = PORTS.contains(&probe.server_port) || PORTS.contains(&probe.client_port);
    match Header::read(probe.bytes) {
        Some(header) if header.long && (known || header.is_initial_of_a_known_version()) => {
            Guess::Yes
        }
        Some(header) if known && header.version != 0 => Guess::Yes,
        _ => Guess::No,
    }
}

impl Parse for Quic {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let mut rest = input.bytes;
        // Every turn takes a head at least (RFC 9000 12.2: packets may share a datagram).
        while !rest.is_empty() {
            let Some(header) = Header::read(rest) else {
                return Err(Broken);
            };
            if self.sides[input.direction.index()].hello || header.kind == Kind::Short {
                break;
            }
            rest = self.packet(rest, &header, input.direction, out)?;
        }
        if self.sides.iter().all(|side| side.hello) {
            out.done();
        }
        Ok(Taken::all(input.bytes.len()))
    }

    fn free(&mut self, heap: &mut Heap) {
        for side in &mut self.sides {
            heap.clear(&mut side.bytes);
        }
    }
}

impl Quic {
    /// One packet at the start of `bytes`; what stands behind it.
    fn packet<'a>(
        &mut self,
        bytes: &'a [u8],
        header: &Header<'_>,
        direction: Direction,
        out: &mut Output<'_>,
    ) -> Result<&'a [u8], Broken> {
        if header.kind == Kind::Retry && direction == Direction::ToClient && !self.retried {
            // The client begins anew with other keys (RFC 9000 17.2.5.2).
            self.retried = true;
            self.keys = None;
        }
        let end = header.head + header.length;
        let next = bytes.get(end..).unwrap_or(&[]);
        let tx = out.open_one_way(direction);
        if header.long {
            out.field(tx, Field::QuicVersion, direction, header.version_bytes);
        }
        let mut result = Ok(next);
        if header.kind == Kind::Initial {
            let packet = bytes.get(..end).unwrap_or(bytes);
            result = self
                .initial(packet, header, tx, direction, out)
                .map(|()| next);
            self.hello(tx, direction, out);
        }
        out.complete(tx);
        result
    }

    fn initial(
        &mut self,
        packet: &[u8],
        header: &Header<'_>,
        tx: TxId,
        direction: Direction,
        out: &mut Output<'_>,
    ) -> Result<(), Broken> {
        let mut fresh = self.keys.is_none();
        if fresh {
            self.keys = keys::initial(header.version, header.destination);
        }
        if self.keys.is_none() {
            let plain = packet.get(header.head..).unwrap_or(&[]);
            self.frames(plain, header, tx, direction, out);
            return Ok(());
        }
        let mut opened = std::mem::take(&mut out.shared.scratch2);
        let mut at = None;
        for _ in 0..2 {
            let keys = self.keys.as_ref().map(|keys| &keys[direction.index()]);
            at = keys.and_then(|keys| open(keys, packet, header.head, &mut opened));
            if at.is_some() || fresh || direction == Direction::ToClient {
                break;
            }
            // A packet that was not the client's first may have been taken for it.
            fresh = true;
            self.keys = keys::initial(header.version, header.destination).or(self.keys);
        }
        if let Some(at) = at {
            let text = opened.get(at..).unwrap_or(&[]);
            self.frames(text, header, tx, direction, out);
        }
        out.shared.scratch2 = opened;
        if at.is_some() {
            return Ok(());
        }
        event(tx, direction, event::FAILED_DECRYPT, out);
        self.failures += 1;
        if self.failures < FAILURES_MAX {
            Ok(())
        } else {
            Err(Broken)
        }
    }

    /// RFC 9000 19, as far as frames stand in Initial packets; gQUIC's have the upper bit set.
    fn frames(
        &mut self,
        text: &[u8],
        header: &Header<'_>,
        tx: TxId,
        direction: Direction,
        out: &mut Output<'_>,
    ) {
        let mut reader = Reader::new(text);
        while let Some(kind) = reader.u8() {
            let good = match kind {
                // Padding: a run of it counts as one.
                0 => {
                    let rest = reader.rest();
                    let run = rest.iter().take_while(|byte| **byte == 0).count();
                    reader.take(run).is_some()
                }
                1 => true,
                2 | 3 => skip_ack(&mut reader, kind == 3).is_some(),
                6 => match crypto(&mut reader) {
                    Some((offset, data)) => {
                        self.collect(offset, data, tx, direction, out);
                        true
                    }
                    None => false,
                },
                8 | 0x80.. => {
                    let data = match kind {
                        8 => crypto(&mut reader).map(|(_, data)| data),
                        _ => stream(&mut reader, kind),
                    };
                    if let Some(data) = data {
                        google_hello(data, header, tx, direction, out);
                    }
                    data.is_some()
                }
                _ => break,
            };
            if !good {
                event(tx, direction, event::ERROR_ON_DATA, out);
                break;
            }
        }
    }

    /// Puts a piece of the hello where it belongs.
    fn collect(
        &mut self,
        offset: u64,
        data: &[u8],
        tx: TxId,
        direction: Direction,
        out: &mut Output<'_>,
    ) {
        const ZEROS: [u8; 1024] = [0; 1024];
        let side = &mut self.sides[direction.index()];
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let to = from.saturating_add(data.len());
        if to > HELLO_MAX || !side.note(from as u16, to as u16) {
            event(tx, direction, event::FRAGMENT_TOO_LONG, out);
            return;
        }
        let heap = &mut out.shared.heap;
        while side.bytes.len() < to {
            let count = (to - side.bytes.len()).min(ZEROS.len());
            if !heap.append(&mut side.bytes, ZEROS.get(..count).unwrap_or(&[])) {
                out.shared.lost += 1;
                return;
            }
        }
        if let Some(place) = heap.get_mut(&mut side.bytes).get_mut(from..to) {
            place.copy_from_slice(data);
        }
    }

    /// Reads the hello once it is there.
    fn hello(&mut self, tx: TxId, direction: Direction, out: &mut Output<'_>) {
        const HEAD: usize = 4;
        let side = &mut self.sides[direction.index()];
        let (0, have) = side.pieces[0] else {
            return;
        };
        let mut reader = Reader::new(out.shared.heap.get(&side.bytes));
        let (Some(kind), Some(length)) = (reader.u8(), reader.u24()) else {
            return;
        };
        let whole = HEAD + length as usize;
        if usize::from(have) < whole {
            return;
        }
        side.hello = true;
        let mut message = std::mem::take(&mut out.shared.scratch2);
        message.clear();
        let bytes = out.shared.heap.get(&side.bytes).get(HEAD..whole);
        message.extend_from_slice(bytes.unwrap_or(&[]));
        out.shared.heap.clear(&mut side.bytes);
        let speaker = match kind {
            1 => Speaker::Client,
            _ => Speaker::Server,
        };
        if matches!(
            (kind, direction),
            (1, Direction::ToServer) | (2, Direction::ToClient)
        ) {
            let hello = Hello::read(&message, speaker);
            if let Some(sni) = hello.sni {
                out.field(tx, Field::QuicSni, direction, sni);
            }
            fingerprints(tx, &hello, direction, true, out);
            tell_extensions(tx, &hello, direction, out);
        }
        out.shared.scratch2 = message;
    }
}

/// Extensions of which events tell what they hold: names of servers, signature algorithms, protocols,
/// versions.
const SHOWN: [u16; 4] = [0, 13, 16, 43];

/// Tells events the extensions of a hello: the number of each, and behind it what some hold.
fn tell_extensions(tx: TxId, hello: &Hello<'_>, direction: Direction, out: &mut Output<'_>) {
    if !out.wants(Field::QuicExtension) {
        return;
    }
    for (kind, held) in hello.extensions().take(EXTENSIONS_MAX) {
        let held = if SHOWN.contains(&kind) { held } else { &[] };
        out.shared.scratch.clear();
        out.shared.scratch.extend_from_slice(&kind.to_be_bytes());
        let room = SCRATCH_SIZE - 2;
        let held = held.get(..room).unwrap_or(held);
        out.shared.scratch.extend_from_slice(held);
        out.field_of_scratch(tx, Field::QuicExtension, direction);
    }
}

impl Side {
    /// Notes a piece and joins it with those that it touches; false when there are too many apart.
    /// The unused places are (0, 0), so the first place says what has come from the start.
    fn note(&mut self, from: u16, to: u16) -> bool {
        let (mut from, mut to) = (from, to);
        let mut kept = [(0, 0); PIECES_MAX];
        let (mut count, mut placed) = (0, false);
        let mut keep = |piece| match kept.get_mut(count) {
            Some(place) => {
                *place = piece;
                count += 1;
                true
            }
            None => false,
        };
        let pieces = self.pieces.get(..usize::from(self.count)).unwrap_or(&[]);
        let mut room = true;
        for piece in pieces {
            if piece.1 < from {
                room &= keep(*piece);
            } else if piece.0 > to {
                if !std::mem::replace(&mut placed, true) {
                    room &= keep((from, to));
                }
                room &= keep(*piece);
            } else {
                from = from.min(piece.0);
                to = to.max(piece.1);
            }
        }
        if !placed {
            room &= keep((from, to));
        }
        if room {
            self.pieces = kept;
            self.count = count as u8;
        }
        room
    }
}

fn event(tx: TxId, direction: Direction, place: u8, out: &mut Output<'_>) {
    out.event(tx, direction, AppEvent::of(AppProtocol::Quic, place));
}

/// Copies a packet, takes its protection off; where its frames begin in `opened`, which ends with
/// them.
fn open(keys: &Keys, packet: &[u8], head: usize, opened: &mut Vec<u8>) -> Option<usize> {
    const NUMBER_MAX: usize = 4;
    if packet.len() > SCRATCH_SIZE {
        return None;
    }
    opened.clear();
    opened.extend_from_slice(packet);
    let sample = opened.get(head + NUMBER_MAX..head + NUMBER_MAX + SAMPLE)?;
    let mask = keys.mask(sample.try_into().ok()?);
    // A long head hides four bits (RFC 9001 5.4.1).
    let first = opened.first_mut()?;
    *first ^= mask[0] & 0x0f;
    let length = usize::from(*first & 3) + 1;
    let mut number = 0;
    for (byte, mask) in opened
        .get_mut(head..head + length)?
        .iter_mut()
        .zip(&mask[1..])
    {
        *byte ^= mask;
        number = number << 8 | u32::from(*byte);
    }
    let (head, payload) = opened.split_at_mut_checked(head + length)?;
    let good = keys.open(number, head, payload);
    let at = head.len();
    let end = opened.len().saturating_sub(TAG);
    opened.truncate(end);
    good.then_some(at)
}

/// RFC 9000 19.3.
fn skip_ack(reader: &mut Reader<'_>, ecn: bool) -> Option<()> {
    var_int(reader)?;
    var_int(reader)?;
    let ranges = var_int(reader)?;
    var_int(reader)?;
    // Every turn takes two bytes at least, or ends.
    for _ in 0..ranges {
        var_int(reader)?;
        var_int(reader)?;
    }
    for _ in 0..if ecn { 3 } else { 0 } {
        var_int(reader)?;
    }
    Some(())
}

/// RFC 9000 19.6: offset and bytes.
fn crypto<'a>(reader: &mut Reader<'a>) -> Option<(u64, &'a [u8])> {
    let offset = var_int(reader)?;
    let length = var_int(reader)?;
    Some((offset, reader.take(usize::try_from(length).ok()?)?))
}

/// A stream frame of gQUIC: `1fdooossss`, the lengths of its head in its type.
fn stream<'a>(reader: &mut Reader<'a>, kind: u8) -> Option<&'a [u8]> {
    reader.take(usize::from(kind & 3) + 1)?;
    let offset = usize::from(kind >> 2 & 7);
    reader.take(if offset > 0 { offset + 1 } else { 0 })?;
    if kind & 0x20 != 0 {
        return reader.counted_u16();
    }
    reader.take(reader.len())
}

/// Google's hello: a tag, then tags with the ends of their values (salesforce's "gQUIC protocol
/// analysis" of 2019 has the fingerprint CYU).
fn google_hello(
    data: &[u8],
    header: &Header<'_>,
    tx: TxId,
    direction: Direction,
    out: &mut Output<'_>,
) {
    const SNI: &[u8] = b"SNI\0";
    const UAID: &[u8] = b"UAID";
    const ENTRY: usize = 8;
    let version: &[u8] = match header.version {
        0x5130_3433 => b"43",
        0x5130_3434 | 0x5130_3435 => b"44",
        0x5130_3436 => b"46",
        _ => b"",
    };
    let Some((entries, values)) = google_entries(data) else {
        return;
    };
    let scratch = &mut out.shared.scratch;
    scratch.clear();
    push(scratch, version, SCRATCH_SIZE);
    let (mut name, mut agent, mut from) = (None, None, 0);
    for (place, entry) in entries.chunks_exact(ENTRY).enumerate() {
        let (tag, end) = entry.split_at(4);
        let end = end
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let Some(value) = values.get(from..end) else {
            return;
        };
        from = end;
        match tag {
            SNI => name = Some(value),
            UAID => agent = Some(value),
            _ => {}
        }
        let between: &[u8] = if place > 0 { b"-" } else { b"," };
        push(scratch, between, SCRATCH_SIZE);
        push(
            scratch,
            tag.strip_suffix(b"\0").unwrap_or(tag),
            SCRATCH_SIZE,
        );
    }
    if !version.is_empty() {
        let sum = ja3_hash(scratch);
        out.field_of_scratch(tx, Field::QuicCyuString, direction);
        out.field(tx, Field::QuicCyuHash, direction, &sum);
    }
    if let Some(name) = name {
        out.field(tx, Field::QuicSni, direction, name);
    }
    if let Some(agent) = agent {
        out.field(tx, Field::QuicUa, direction, agent);
    }
}

/// The list of tags and the values behind it, if the bytes are a hello.
fn google_entries(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader::new(data);
    reader.take(4).filter(|tag| is_tag(tag))?;
    let count = reader.u16()?.swap_bytes();
    reader.take(2)?;
    if count > TAGS_MAX {
        return None;
    }
    let entries = reader.take(usize::from(count) * 8)?;
    let good = entries
        .chunks_exact(8)
        .all(|entry| entry.get(..4).is_some_and(is_tag));
    good.then_some((entries, reader.rest()))
}

fn is_tag(tag: &[u8]) -> bool {
    let name = tag.strip_suffix(b"\0").unwrap_or(tag);
    name.iter().all(u8::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run, shake};
    use super::super::tls::hello::tests::client_hello;
    use super::*;
    use Direction::{ToClient, ToServer};

    const PLACE: Place = Place {
        transport: Transport::Udp,
        server_port: 443,
    };
    const CONNECTION: &[u8] = b"\x83\x94\xc8\xf0\x3e\x51\x57\x08";

    fn variable(out: &mut Vec<u8>, number: usize) {
        out.extend_from_slice(&(number as u16 | 0x4000).to_be_bytes());
    }

    fn crypto_frame(offset: usize, data: &[u8]) -> Vec<u8> {
        let mut out = vec![6];
        variable(&mut out, offset);
        variable(&mut out, data.len());
        out.extend_from_slice(data);
        out
    }

    /// A protected Initial packet of version 1.
    fn packet(side: usize, frames: &[u8]) -> Vec<u8> {
        let keys = keys::initial(1, CONNECTION).unwrap()[side];
        let mut out = vec![0xc0, 0, 0, 0, 1, CONNECTION.len() as u8];
        out.extend_from_slice(CONNECTION);
        out.extend_from_slice(&[0, 0]);
        variable(&mut out, 1 + frames.len() + TAG);
        let head = out.len();
        out.push(7);
        keys.seal_for_tests(7, &mut out, frames);
        let sample = out[head + 4..head + 4 + SAMPLE].try_into().unwrap();
        let mask = keys.mask(sample);
        out[0] ^= mask[0] & 0x0f;
        out[head] ^= mask[1];
        out
    }

    fn message() -> Vec<u8> {
        let hello = client_hello();
        let mut out = vec![1, 0, (hello.len() >> 8) as u8, hello.len() as u8];
        out.extend_from_slice(&hello);
        out
    }

    #[test]
    fn a_hello_in_pieces_out_of_order_is_read() {
        let message = message();
        let (first, rest) = message.split_at(50);
        let (second, third) = rest.split_at(60);
        let one = [
            crypto_frame(110, third),
            vec![0; 20],
            crypto_frame(0, first),
        ]
        .concat();
        let two = [vec![1], crypto_frame(50, second)].concat();
        let (protocol, lines) = run(
            PLACE,
            &[(ToServer, &packet(0, &one)), (ToServer, &packet(0, &two))],
        );
        assert_eq!(protocol, AppProtocol::Quic);
        let wanted = [
            "tx 0 ToServer quic.version \"\\x00\\x00\\x00\\x01\"",
            "tx 1 ToServer quic.sni \"example.com\"",
            "tx 1 ToServer ja3.string \"771,2570-4866-4865,6682-0-16-10-11-13-43,29-23,0\"",
        ];
        for line in wanted {
            assert!(lines.iter().any(|got| got == line), "{line}: {lines:#?}");
        }
        assert!(
            lines
                .iter()
                .any(|line| line.contains("ja4.hash \"q13d0206h2_"))
        );
        let (one, two) = (packet(0, &one), packet(0, &two));
        shake(PLACE, &[(ToServer, &one), (ToServer, &two)], 200);
    }

    #[test]
    fn what_cannot_be_opened_is_an_event() {
        let mut bad = packet(0, &crypto_frame(0, &message()));
        let last = bad.len() - 1;
        bad[last] ^= 1;
        let (_, lines) = run(PLACE, &[(ToServer, &bad), (ToClient, &[0xc0, 0])]);
        assert!(lines.iter().any(|line| line.contains("failed_decrypt")));
    }

    #[test]
    fn the_hello_of_google_gives_its_fingerprint() {
        let mut hello = b"CHLO\x03\0\0\0PAD\0\x02\0\0\0SNI\0\x05\0\0\0UAID\x07\0\0\0".to_vec();
        hello.extend_from_slice(b"--abcme");
        let mut datagram = b"\x09\x83\x94\xc8\xf0\x3e\x51\x57\x08Q043\x01".to_vec();
        datagram.extend_from_slice(&[0; 12]);
        datagram.extend_from_slice(&[0xa0, 1]);
        datagram.extend_from_slice(&(hello.len() as u16).to_be_bytes());
        datagram.extend_from_slice(&hello);
        let (_, lines) = run(PLACE, &[(ToServer, &datagram)]);
        assert!(
            lines.contains(&"tx 0 ToServer quic.cyu.string \"43,PAD-SNI-UAID\"".to_owned()),
            "{lines:?}"
        );
        assert!(lines.contains(&"tx 0 ToServer quic.sni \"abc\"".to_owned()));
        assert!(lines.contains(&"tx 0 ToServer quic.ua \"me\"".to_owned()));
    }

    #[test]
    fn pieces_join() {
        let mut side = Side::default();
        for (from, to) in [(10, 20), (30, 40), (0, 5), (5, 10), (20, 30)] {
            assert!(side.note(from, to));
        }
        assert_eq!((side.count, side.pieces[0]), (1, (0, 40)));
        for piece in 0..PIECES_MAX as u16 - 1 {
            assert!(side.note(100 + piece * 10, 105 + piece * 10));
        }
        assert!(!side.note(1000, 1005));
        assert!(side.note(40, 100));
    }
}
