//! Content codings of bodies (RFC 9110 section 8.4.1): gzip (RFC 1952), deflate with and without
//! the zlib frame (RFC 1950, 1951), brotli (RFC 7932, in brotli.rs), several of them one in the other. As browsers do it: checksums
//! are not looked at, what is named gzip may be deflate and the other way round, and what cannot be
//! decoded at all is taken as it is.
//!
//! All decoders of a lane are made at start and used again; none grows. A flow has a [`Chain`] of
//! their numbers. Bounded: layers by [`LAYERS_MAX`], decoders by the pool (a body that finds none is
//! taken as it is), bytes that one call may make by [`WORK_MAX`].

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

use super::brotli::{Brotli, Outcome};

/// Codings of one body at most.
pub(super) const LAYERS_MAX: usize = 4;
/// Bytes that a layer makes at a time.
const PIECE: usize = 8 << 10;
/// Bytes that a layer may make of one piece of a body; a body that makes more is given up (a
/// decompression bomb).
const WORK_MAX: usize = 4 << 20;
/// First bytes of a body that are kept until something came out, to try another decoder on them. What
/// does not begin like its coding waits until so many are there or the body ends: which decoder is
/// the right one must not depend on how the bytes were cut.
const PREFIX: usize = 512;
/// Other decoders that are tried after the first.
const RESTARTS_MAX: u8 = 3;

/// A coding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::app) enum Coding {
    /// Deflate in a gzip frame.
    Gzip,
    /// Deflate alone.
    Deflate,
    /// Deflate in a zlib frame.
    Zlib,
    /// Brotli.
    Brotli,
}

/// The decoders of one body: numbers in the pool, outermost coding first.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::app) struct Chain {
    decoders: [u16; LAYERS_MAX],
    count: u8,
}

impl Chain {
    /// Whether bytes go through unchanged.
    pub(in crate::app) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The same as three words, for parsers that keep it in the heap.
    pub(in crate::app) fn words(self) -> [u32; 3] {
        let [a, b, c, d] = self.decoders.map(u32::from);
        [a << 16 | b, c << 16 | d, u32::from(self.count)]
    }

    /// The chain of three words.
    pub(in crate::app) fn of_words(words: [u32; 3]) -> Chain {
        let [first, second, count] = words;
        let half = |word: u32| [(word >> 16) as u16, word as u16];
        let ([a, b], [c, d]) = (half(first), half(second));
        Chain {
            decoders: [a, b, c, d],
            count: count as u8,
        }
    }

    fn get(&self, layer: usize) -> Option<usize> {
        let decoders = self.decoders.get(..usize::from(self.count))?;
        decoders.get(layer).map(|number| usize::from(*number))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Decode,
    /// Bytes go through.
    Pass,
    /// Bytes are dropped: the stream has ended, or broke after something came out.
    Ended,
}

/// Where the reading of a gzip header is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gzip {
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    Checksum,
    Done,
}

const HEADER_CHECKSUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

#[derive(Clone)]
struct Decoder {
    state: Box<InflateState>,
    coding: Coding,
    /// Number of the decoder of brotli that this one has.
    brotli: Option<u16>,
    mode: Mode,
    restarts: u8,
    gzip: Gzip,
    flags: u8,
    /// Bytes of the field at hand that were seen, and those that are left to skip.
    have: u8,
    left: u16,
    made: u64,
    prefix: [u8; PREFIX],
    prefix_length: u16,
    /// It is known with which decoder to begin.
    settled: bool,
    /// More came in than `prefix` holds.
    past_prefix: bool,
}

/// What a step came to.
enum Step {
    /// All bytes are used.
    More,
    /// The room is full.
    Full,
    Ended,
    Failed,
}

impl Decoder {
    fn new() -> Decoder {
        Decoder {
            state: InflateState::new_boxed(DataFormat::Raw),
            coding: Coding::Deflate,
            brotli: None,
            mode: Mode::Decode,
            restarts: 0,
            gzip: Gzip::Fixed,
            flags: 0,
            have: 0,
            left: 0,
            made: 0,
            prefix: [0; PREFIX],
            prefix_length: 0,
            settled: false,
            past_prefix: false,
        }
    }

    /// Holds the first bytes back until it is known what they are: `None`, or the bytes behind those
    /// that are held.
    fn hold<'a>(&mut self, data: &'a [u8]) -> Option<&'a [u8]> {
        let taken = self.keep(data);
        let held = self.prefix.get(..usize::from(self.prefix_length));
        let held = held.unwrap_or(&[]);
        self.settled = held.len() == PREFIX || begins_like(self.coding, held);
        self.settled.then(|| data.get(taken..).unwrap_or(&[]))
    }

    /// Keeps first bytes; how many.
    fn keep(&mut self, data: &[u8]) -> usize {
        let have = usize::from(self.prefix_length);
        let more = data.len().min(PREFIX - have.min(PREFIX));
        let room = self.prefix.get_mut(have..have + more);
        if let (Some(room), Some(data)) = (room, data.get(..more)) {
            room.copy_from_slice(data);
            self.prefix_length += more as u16;
        }
        more
    }

    /// The bytes that are held, for good.
    fn take_held(&mut self) -> ([u8; PREFIX], usize) {
        let length = std::mem::take(&mut self.prefix_length);
        (self.prefix, usize::from(length))
    }

    fn begin(&mut self, coding: Coding) {
        self.state.reset(match coding {
            Coding::Zlib => DataFormat::ZLibIgnoreChecksum,
            Coding::Gzip | Coding::Deflate | Coding::Brotli => DataFormat::Raw,
        });
        self.coding = coding;
        self.mode = Mode::Decode;
        self.gzip = Gzip::Fixed;
        (self.flags, self.have, self.left) = (0, 0, 0);
    }

    /// Decodes into `room`: bytes used, bytes made, what came of it.
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> (usize, usize, Step) {
        let mut used = 0;
        if self.coding == Coding::Gzip && self.gzip != Gzip::Done {
            let Some(header) = self.gzip_header(input) else {
                return (0, 0, Step::Failed);
            };
            used = header;
            if self.gzip != Gzip::Done {
                return (used, 0, Step::More);
            }
        }
        let rest = input.get(used..).unwrap_or(&[]);
        let result = inflate(&mut self.state, rest, room, MZFlush::None);
        let mut used = used + result.bytes_consumed;
        let (mut made, mut status) = (result.bytes_written, result.status);
        // Where its window wraps, the decoder stops though more can come out of what went in. Each
        // turn makes a byte.
        while status == Ok(MZStatus::Ok) && made > 0 && made < room.len() {
            let rest = input.get(used..).unwrap_or(&[]);
            let left = room.get_mut(made..).unwrap_or(&mut []);
            let more = inflate(&mut self.state, rest, left, MZFlush::None);
            used += more.bytes_consumed;
            if more.bytes_written == 0 && more.status != Ok(MZStatus::StreamEnd) {
                if more.status != Ok(MZStatus::Ok) && more.bytes_consumed > 0 {
                    status = more.status;
                }
                break;
            }
            made += more.bytes_written;
            status = more.status;
        }
        let step = match status {
            Ok(MZStatus::StreamEnd) => Step::Ended,
            _ if made == room.len() => Step::Full,
            Ok(_) | Err(miniz_oxide::MZError::Buf) => Step::More,
            Err(_) => Step::Failed,
        };
        (used, made, step)
    }

    /// Reads on in the header; bytes used. None: it is none.
    fn gzip_header(&mut self, input: &[u8]) -> Option<usize> {
        let mut at = 0;
        while self.gzip != Gzip::Done {
            let wanted = match self.gzip {
                Gzip::ExtraLength => self.flags & EXTRA != 0,
                Gzip::Extra => self.left > 0,
                Gzip::Name => self.flags & NAME != 0,
                Gzip::Comment => self.flags & COMMENT != 0,
                Gzip::Checksum => self.flags & HEADER_CHECKSUM != 0,
                Gzip::Fixed | Gzip::Done => true,
            };
            if !wanted {
                self.next_field();
                continue;
            }
            let Some(byte) = input.get(at).copied() else {
                break;
            };
            at += 1;
            self.gzip_byte(byte)?;
        }
        Some(at)
    }

    fn next_field(&mut self) {
        self.have = 0;
        self.gzip = match self.gzip {
            Gzip::Fixed => Gzip::ExtraLength,
            Gzip::ExtraLength => Gzip::Extra,
            Gzip::Extra => Gzip::Name,
            Gzip::Name => Gzip::Comment,
            Gzip::Comment => Gzip::Checksum,
            Gzip::Checksum | Gzip::Done => Gzip::Done,
        };
    }

    fn gzip_byte(&mut self, byte: u8) -> Option<()> {
        let have = self.have;
        self.have = have.saturating_add(1);
        let done = match self.gzip {
            Gzip::Fixed => {
                let magic = [0x1f, 0x8b, 8];
                if magic.get(usize::from(have)).is_some_and(|m| *m != byte) {
                    return None;
                }
                if have == 3 {
                    self.flags = byte;
                }
                have == 9
            }
            Gzip::ExtraLength => {
                self.left |= u16::from(byte) << (8 * (have & 1));
                have == 1
            }
            Gzip::Extra => {
                self.left -= 1;
                self.left == 0
            }
            Gzip::Name | Gzip::Comment => byte == 0,
            Gzip::Checksum => have == 1,
            Gzip::Done => false,
        };
        if done {
            self.next_field();
        }
        Some(())
    }
}

/// What takes decoded bytes; false: it wants no more.
pub(in crate::app) type Sink<'a> = dyn FnMut(&[u8]) -> bool + 'a;

/// The decoders of a lane.
pub(in crate::app) struct Codings {
    decoders: Vec<Decoder>,
    free: Vec<u16>,
    brotlis: Vec<Brotli>,
    free_brotlis: Vec<u16>,
    rooms: [Box<[u8]>; LAYERS_MAX],
    /// Bytes that the call at hand has made in all layers.
    work: usize,
    /// Whether the call at hand came to [`WORK_MAX`].
    bomb: bool,
}

impl Codings {
    /// `count` decoders, about 44 KiB each, and some of brotli with windows of so many bytes.
    pub(super) fn new(count: usize, brotlis: usize, window: usize) -> Codings {
        let count = count.min(usize::from(u16::MAX));
        let brotlis = brotlis.min(count);
        Codings {
            decoders: (0..count).map(|_| Decoder::new()).collect(),
            free: (0..count as u16).rev().collect(),
            brotlis: (0..brotlis).map(|_| Brotli::new(window)).collect(),
            free_brotlis: (0..brotlis as u16).rev().collect(),
            rooms: std::array::from_fn(|_| vec![0; PIECE].into()),
            work: 0,
            bomb: false,
        }
    }

    /// A chain for codings in the order in which they were applied. None: too many, or no decoder
    /// is free.
    pub(in crate::app) fn open(&mut self, codings: &[Coding]) -> Option<Chain> {
        let brotlis = codings.iter().filter(|c| **c == Coding::Brotli).count();
        if codings.len() > LAYERS_MAX
            || codings.len() > self.free.len()
            || brotlis > self.free_brotlis.len()
        {
            return None;
        }
        let mut chain = Chain::default();
        for (place, coding) in chain.decoders.iter_mut().zip(codings.iter().rev()) {
            *place = self.free.pop()?;
            chain.count += 1;
            let decoder = self.decoders.get_mut(usize::from(*place))?;
            decoder.begin(*coding);
            if *coding == Coding::Brotli {
                decoder.brotli = self.free_brotlis.pop();
                let brotli = decoder
                    .brotli
                    .and_then(|n| self.brotlis.get_mut(usize::from(n)));
                brotli?.reset();
            }
            (decoder.restarts, decoder.made, decoder.prefix_length) = (0, 0, 0);
            (decoder.settled, decoder.past_prefix) = (false, false);
        }
        Some(chain)
    }

    /// A chain of one coding that needs no guess: it decodes from the first byte.
    pub(in crate::app) fn open_certain(&mut self, coding: Coding) -> Option<Chain> {
        let chain = self.open(&[coding])?;
        if let Some(decoder) = chain.get(0).and_then(|n| self.decoders.get_mut(n)) {
            decoder.settled = true;
        }
        Some(chain)
    }

    /// Gives the decoders back.
    pub(in crate::app) fn close(&mut self, chain: &mut Chain) {
        for number in chain.decoders.iter().take(usize::from(chain.count)) {
            let decoder = self.decoders.get_mut(usize::from(*number));
            self.free_brotlis
                .extend(decoder.and_then(|d| d.brotli.take()));
            // There is always room: it was taken from here.
            if self.free.len() < self.decoders.len() {
                self.free.push(*number);
            }
        }
        *chain = Chain::default();
    }

    /// Decoders that are in use.
    pub(super) fn used(&self) -> usize {
        self.decoders.len() - self.free.len()
    }

    /// Decodes the next bytes of a body. True: it makes too much, and should be given up.
    pub(in crate::app) fn decode(
        &mut self,
        chain: &Chain,
        input: &[u8],
        sink: &mut Sink<'_>,
    ) -> bool {
        (self.work, self.bomb) = (0, false);
        self.write(chain, 0, input, sink);
        self.bomb
    }

    fn write(&mut self, chain: &Chain, layer: usize, data: &[u8], sink: &mut Sink<'_>) -> bool {
        let Some(number) = chain.get(layer) else {
            return sink(data);
        };
        let Some(decoder) = self.decoders.get_mut(number) else {
            return false;
        };
        if decoder.settled {
            return self.run_in_room(chain, layer, number, data, sink);
        }
        let Some(rest) = decoder.hold(data) else {
            return true;
        };
        self.run_held(chain, layer, number, sink)
            && (rest.is_empty() || self.run_in_room(chain, layer, number, rest, sink))
    }

    /// The body ends: what is still held of its start is decoded. True: it makes too much.
    pub(in crate::app) fn finish(&mut self, chain: &Chain, sink: &mut Sink<'_>) -> bool {
        (self.work, self.bomb) = (0, false);
        for layer in 0..usize::from(chain.count) {
            let Some(number) = chain.get(layer) else {
                break;
            };
            let decoder = self.decoders.get_mut(number);
            let waits = decoder.is_some_and(|decoder| {
                let waits = !decoder.settled && decoder.prefix_length > 0;
                decoder.settled = true;
                waits
            });
            if waits && !self.run_held(chain, layer, number, sink) {
                break;
            }
        }
        self.bomb
    }

    fn run_held(
        &mut self,
        chain: &Chain,
        layer: usize,
        number: usize,
        sink: &mut Sink<'_>,
    ) -> bool {
        let Some(decoder) = self.decoders.get_mut(number) else {
            return false;
        };
        let (held, length) = decoder.take_held();
        self.run_in_room(
            chain,
            layer,
            number,
            held.get(..length).unwrap_or(&[]),
            sink,
        )
    }

    fn run_in_room(
        &mut self,
        chain: &Chain,
        layer: usize,
        number: usize,
        data: &[u8],
        sink: &mut Sink<'_>,
    ) -> bool {
        let Some(room) = self.rooms.get_mut(layer) else {
            return false;
        };
        let mut room = std::mem::take(room);
        let go_on = self.run(chain, layer, number, data, &mut room, sink);
        if let Some(place) = self.rooms.get_mut(layer) {
            *place = room;
        }
        go_on
    }

    fn run(
        &mut self,
        chain: &Chain,
        layer: usize,
        number: usize,
        data: &[u8],
        room: &mut [u8],
        sink: &mut Sink<'_>,
    ) -> bool {
        let (mut rest, mut filled) = (data, 0);
        // Where another decoder would begin.
        let mut start = data;
        loop {
            let Some(decoder) = self.decoders.get_mut(number) else {
                return false;
            };
            match decoder.mode {
                Mode::Decode => {}
                Mode::Pass => return self.write(chain, layer + 1, rest, sink),
                Mode::Ended => return true,
            }
            let left = room.get_mut(filled..).unwrap_or(&mut []);
            let brotli = decoder.brotli.filter(|_| decoder.coding == Coding::Brotli);
            let brotli = brotli.and_then(|n| self.brotlis.get_mut(usize::from(n)));
            let (used, made, step) = match brotli {
                Some(brotli) => of_brotli(brotli.step(rest, left)),
                None => decoder.step(rest, left),
            };
            rest = rest.get(used..).unwrap_or(&[]);
            filled += made;
            let output = room.get(..filled).unwrap_or(&[]);
            match step {
                Step::Full => {
                    decoder.made += filled as u64;
                    if !self.deliver(chain, layer, output, sink) {
                        return false;
                    }
                    (filled, start) = (0, rest);
                }
                Step::More | Step::Ended => {
                    decoder.made += filled as u64;
                    if matches!(step, Step::Ended) {
                        decoder.mode = Mode::Ended;
                    } else if decoder.made == 0 {
                        decoder.past_prefix |= decoder.keep(data) < data.len();
                    }
                    return self.deliver(chain, layer, output, sink);
                }
                // Something came out, or it is too late for another decoder.
                Step::Failed
                    if decoder.made > 0
                        || decoder.past_prefix
                        || (decoder.restarts == 0 && filled > 0) =>
                {
                    decoder.mode = Mode::Ended;
                    return self.deliver(chain, layer, output, sink);
                }
                Step::Failed => {
                    (rest, filled) = (start, 0);
                    if !self.restart(chain, layer, number, room, sink) {
                        return false;
                    }
                }
            }
        }
    }

    fn deliver(&mut self, chain: &Chain, layer: usize, output: &[u8], sink: &mut Sink<'_>) -> bool {
        self.work += output.len();
        if self.work > WORK_MAX {
            self.bomb = true;
            return false;
        }
        output.is_empty() || self.write(chain, layer + 1, output, sink)
    }

    /// Begins with the next coding, or lets everything through, and repeats the bytes of the calls
    /// before that were kept.
    fn restart(
        &mut self,
        chain: &Chain,
        layer: usize,
        number: usize,
        room: &mut [u8],
        sink: &mut Sink<'_>,
    ) -> bool {
        let Some(decoder) = self.decoders.get_mut(number) else {
            return false;
        };
        let (prefix, length) = (decoder.prefix, usize::from(decoder.prefix_length));
        decoder.prefix_length = 0;
        if decoder.restarts < RESTARTS_MAX {
            decoder.restarts += 1;
            decoder.begin(match decoder.coding {
                Coding::Gzip => Coding::Deflate,
                Coding::Brotli => Coding::Deflate,
                Coding::Deflate => Coding::Zlib,
                Coding::Zlib => Coding::Gzip,
            });
        } else {
            for inner in layer..LAYERS_MAX {
                let decoder = chain.get(inner).and_then(|n| self.decoders.get_mut(n));
                if let Some(decoder) = decoder {
                    decoder.mode = Mode::Pass;
                }
            }
        }
        let kept = prefix.get(..length).unwrap_or(&[]);
        kept.is_empty() || self.run(chain, layer, number, kept, room, sink)
    }
}

fn of_brotli((used, made, outcome): (usize, usize, Outcome)) -> (usize, usize, Step) {
    let step = match outcome {
        Outcome::More => Step::More,
        Outcome::Full => Step::Full,
        Outcome::Ended => Step::Ended,
        Outcome::Failed => Step::Failed,
    };
    (used, made, step)
}

/// Whether these bytes begin like the coding that they are said to have: gzip's magic number, or the
/// header of a zlib frame (which is what servers send as `deflate`).
fn begins_like(coding: Coding, bytes: &[u8]) -> bool {
    match (coding, bytes) {
        (Coding::Gzip, bytes) => bytes.starts_with(&[0x1f, 0x8b, 8]),
        (Coding::Deflate | Coding::Zlib, [first, second, ..]) => {
            first & 15 == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0
        }
        // Brotli has no mark of its own.
        (Coding::Deflate | Coding::Zlib | Coding::Brotli, _) => false,
    }
}

impl std::fmt::Debug for Codings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codings")
            .field("used", &self.used())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut out = b"\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x02\0xyname\0comment\0\x12\x34".to_vec();
        out.extend(compress_to_vec(data, 6));
        out.extend_from_slice(b"wrong checksum");
        out
    }

    fn decoded(codings: &[Coding], body: &[u8], cut: usize) -> Vec<u8> {
        let mut pool = Codings::new(8, 2, 1 << 17);
        let mut chain = pool.open(codings).expect("there are enough");
        let mut out = Vec::new();
        for piece in body.chunks(cut) {
            let bomb = pool.decode(&chain, piece, &mut |bytes| {
                out.extend_from_slice(bytes);
                true
            });
            assert!(!bomb);
        }
        pool.finish(&chain, &mut |bytes| {
            out.extend_from_slice(bytes);
            true
        });
        pool.close(&mut chain);
        assert_eq!(pool.used(), 0);
        out
    }

    #[test]
    fn every_name_for_every_form_and_cut() {
        let data: Vec<u8> = (0..40_000u32)
            .flat_map(|n| (n * n % 251).to_le_bytes())
            .collect();
        for body in [
            gzip(&data),
            compress_to_vec(&data, 6),
            compress_to_vec_zlib(&data, 6),
        ] {
            for coding in [Coding::Gzip, Coding::Deflate] {
                for cut in [1, 7, 1460, usize::MAX] {
                    assert_eq!(decoded(&[coding], &body, cut), data, "{coding:?} {cut}");
                }
            }
        }
    }

    #[test]
    fn layers_and_what_is_not_encoded() {
        let data = b"something that is said twice, something that is said twice".repeat(9);
        let body = compress_to_vec(&gzip(&data), 6);
        for cut in [1, 3, 1000] {
            assert_eq!(decoded(&[Coding::Gzip, Coding::Deflate], &body, cut), data);
            assert_eq!(
                decoded(&[Coding::Gzip], b"X5O!P%@AP[4 plain", cut),
                b"X5O!P%@AP[4 plain"
            );
        }
        let long: Vec<u8> = (0..9000u32)
            .flat_map(|n| (n * n % 251).to_le_bytes())
            .collect();
        let mut cut_off = gzip(&long);
        cut_off.truncate(cut_off.len() / 2);
        assert!(!decoded(&[Coding::Gzip], &cut_off, 1000).is_empty());
    }

    fn brotli(data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let params = brotli::enc::BrotliEncoderParams::default();
        brotli::BrotliCompress(&mut &data[..], &mut out, &params).unwrap();
        out
    }

    #[test]
    fn brotli_alone_in_layers_and_where_it_is_not() {
        let data: Vec<u8> = (0..30_000u32)
            .flat_map(|n| (n * n % 251).to_le_bytes())
            .collect();
        for cut in [1, 7, 1460, usize::MAX] {
            assert_eq!(
                decoded(&[Coding::Brotli], &brotli(&data), cut),
                data,
                "{cut}"
            );
            let both = brotli(&gzip(&data));
            assert_eq!(decoded(&[Coding::Gzip, Coding::Brotli], &both, cut), data);
            assert_eq!(
                decoded(&[Coding::Brotli], &gzip(&data), cut),
                data,
                "not brotli"
            );
            assert_eq!(
                decoded(&[Coding::Brotli], b"<html> plain", cut),
                b"<html> plain"
            );
        }
        let mut pool = Codings::new(4, 1, 1 << 17);
        let mut chain = pool.open(&[Coding::Brotli]).expect("there is one");
        assert!(
            pool.open(&[Coding::Brotli]).is_none(),
            "the pool is bounded"
        );
        pool.close(&mut chain);
        assert!(pool.open(&[Coding::Brotli]).is_some());
    }

    #[test]
    fn bombs_are_bounded() {
        let mut body = vec![0; 64 << 20];
        for _ in 0..2 {
            body = compress_to_vec(&body, 9);
        }
        let mut pool = Codings::new(4, 1, 1 << 17);
        let chain = pool.open(&[Coding::Deflate, Coding::Deflate]).unwrap();
        let mut made = 0;
        let bomb = pool.decode(&chain, &body, &mut |bytes| {
            made += bytes.len();
            true
        });
        // So short a body waits for its end.
        assert!(!bomb);
        let bomb = pool.finish(&chain, &mut |bytes| {
            made += bytes.len();
            true
        });
        assert!(bomb && made <= WORK_MAX, "{made}");
        assert!(
            pool.open(&[Coding::Gzip; LAYERS_MAX]).is_none(),
            "the pool is bounded"
        );
    }
}
