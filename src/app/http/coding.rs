//! Content codings of bodies (RFC 9110 section 8.4.1): gzip (RFC 1952), deflate with and without
//! the zlib frame (RFC 1950, 1951), several of them one in the other. As browsers do it: checksums
//! are not looked at, what is named gzip may be deflate and the other way round, and what cannot be
//! decoded at all is taken as it is.
//!
//! All decoders of a lane are made at start and used again; none grows. A flow has a [`Chain`] of
//! their numbers. Bounded: layers by [`LAYERS_MAX`], decoders by the pool (a body that finds none is
//! taken as it is), bytes that one call may make by [`WORK_MAX`].

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

/// Codings of one body at most.
pub(super) const LAYERS_MAX: usize = 4;
/// Bytes that a layer makes at a time.
const PIECE: usize = 8 << 10;
/// Bytes that a layer may make of one piece of a body; a body that makes more is given up (a
/// decompression bomb).
const WORK_MAX: usize = 4 << 20;
/// First bytes of a body that are kept until something came out, to try another decoder on them.
const PREFIX: usize = 64;
/// Other decoders that are tried after the first.
const RESTARTS_MAX: u8 = 3;

/// A coding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Coding {
    /// Deflate in a gzip frame.
    Gzip,
    /// Deflate alone.
    Deflate,
    /// Deflate in a zlib frame.
    Zlib,
}

/// The decoders of one body: numbers in the pool, outermost coding first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chain {
    decoders: [u16; LAYERS_MAX],
    count: u8,
}

impl Chain {
    /// Whether bytes go through unchanged.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
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
    mode: Mode,
    restarts: u8,
    gzip: Gzip,
    flags: u8,
    /// Bytes of the field at hand that were seen, and those that are left to skip.
    have: u8,
    left: u16,
    made: u64,
    prefix: [u8; PREFIX],
    prefix_length: u8,
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
            mode: Mode::Decode,
            restarts: 0,
            gzip: Gzip::Fixed,
            flags: 0,
            have: 0,
            left: 0,
            made: 0,
            prefix: [0; PREFIX],
            prefix_length: 0,
        }
    }

    fn begin(&mut self, coding: Coding) {
        self.state.reset(match coding {
            Coding::Zlib => DataFormat::ZLibIgnoreChecksum,
            Coding::Gzip | Coding::Deflate => DataFormat::Raw,
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
        let used = used + result.bytes_consumed;
        let made = result.bytes_written;
        let step = match result.status {
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
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> bool + 'a;

/// The decoders of a lane.
pub(super) struct Codings {
    decoders: Vec<Decoder>,
    free: Vec<u16>,
    rooms: [Box<[u8]>; LAYERS_MAX],
    /// Bytes that the call at hand has made in all layers.
    work: usize,
    /// Whether the call at hand came to [`WORK_MAX`].
    bomb: bool,
}

impl Codings {
    /// `count` decoders, about 44 KiB each.
    pub(super) fn new(count: usize) -> Codings {
        let count = count.min(usize::from(u16::MAX));
        Codings {
            decoders: (0..count).map(|_| Decoder::new()).collect(),
            free: (0..count as u16).rev().collect(),
            rooms: std::array::from_fn(|_| vec![0; PIECE].into()),
            work: 0,
            bomb: false,
        }
    }

    /// A chain for codings in the order in which they were applied. None: too many, or no decoder
    /// is free.
    pub(super) fn open(&mut self, codings: &[Coding]) -> Option<Chain> {
        if codings.len() > LAYERS_MAX || codings.len() > self.free.len() {
            return None;
        }
        let mut chain = Chain::default();
        for (place, coding) in chain.decoders.iter_mut().zip(codings.iter().rev()) {
            *place = self.free.pop()?;
            chain.count += 1;
            let decoder = self.decoders.get_mut(usize::from(*place))?;
            decoder.begin(*coding);
            (decoder.restarts, decoder.made, decoder.prefix_length) = (0, 0, 0);
        }
        Some(chain)
    }

    /// Gives the decoders back.
    pub(super) fn close(&mut self, chain: &mut Chain) {
        for number in chain.decoders.iter().take(usize::from(chain.count)) {
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
    pub(super) fn decode(&mut self, chain: &Chain, input: &[u8], sink: &mut Sink<'_>) -> bool {
        (self.work, self.bomb) = (0, false);
        self.write(chain, 0, input, sink);
        self.bomb
    }

    fn write(&mut self, chain: &Chain, layer: usize, data: &[u8], sink: &mut Sink<'_>) -> bool {
        let Some(number) = chain.get(layer) else {
            return sink(data);
        };
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
            let (used, made, step) = decoder.step(rest, room.get_mut(filled..).unwrap_or(&mut []));
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
                        keep(decoder, data);
                    }
                    return self.deliver(chain, layer, output, sink);
                }
                Step::Failed if decoder.restarts == 0 && filled > 0 => {
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

/// Keeps the first bytes, as long as nothing came out.
fn keep(decoder: &mut Decoder, data: &[u8]) {
    let have = usize::from(decoder.prefix_length);
    let more = data.len().min(PREFIX - have.min(PREFIX));
    if let (Some(place), Some(data)) = (decoder.prefix.get_mut(have..have + more), data.get(..more))
    {
        place.copy_from_slice(data);
        decoder.prefix_length += more as u8;
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
        let mut pool = Codings::new(8);
        let mut chain = pool.open(codings).expect("there are enough");
        let mut out = Vec::new();
        for piece in body.chunks(cut) {
            let bomb = pool.decode(&chain, piece, &mut |bytes| {
                out.extend_from_slice(bytes);
                true
            });
            assert!(!bomb);
        }
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
        let mut cut_off = gzip(&data);
        cut_off.truncate(cut_off.len() - 40);
        assert!(!decoded(&[Coding::Gzip], &cut_off, 1000).is_empty());
    }

    #[test]
    fn bombs_are_bounded() {
        let mut body = vec![0; 64 << 20];
        for _ in 0..2 {
            body = compress_to_vec(&body, 9);
        }
        let mut pool = Codings::new(4);
        let chain = pool.open(&[Coding::Deflate, Coding::Deflate]).unwrap();
        let mut made = 0;
        let bomb = pool.decode(&chain, &body, &mut |bytes| {
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
