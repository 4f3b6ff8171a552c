//! Content codings of bodies (RFC 9110 section 8.4.1): gzip (RFC 1952), deflate with and without
//! the zlib frame (RFC 1950, 1951), brotli (RFC 7932, in brotli.rs), LZMA (lzma.rs), several of them
//! one in the other; and, where settings ask for it, what is packed in a Flash file (SWF). As browsers
//! do it: checksums are not looked at, what is named gzip may be deflate and the other way round, and
//! what cannot be decoded at all is taken as it is.
//!
//! All decoders of a lane are made at start and used again; none grows. A flow has a [`Chain`] of
//! their numbers. Bounded: layers by [`LAYERS_MAX`], decoders by the pool (a body that finds none is
//! taken as it is), bytes that one call may make by [`WORK_MAX`].

use super::brotli::Brotli;
use super::decoder::{Decoder, Mode, SWF_HEAD, SWF_HEAD_LZMA, SWF_HEAD_WHOLE, Step, as_step};
use super::lzma::Lzma;
use super::pool::Pool;

/// Codings of one body at most.
pub(super) const LAYERS_MAX: usize = 4;
/// Bytes that a layer makes at a time.
const PIECE: usize = 8 << 10;
/// Bytes that a layer may make of one piece of a body; a body that makes more is given up (a
/// decompression bomb).
const WORK_MAX: usize = 4 << 20;
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
    /// LZMA with its head.
    Lzma,
    /// A Flash file, if the content is one: its head says how the rest is packed.
    Swf,
}

/// How packed Flash files are opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Swf {
    /// Those packed with zlib (`CWS`), with LZMA (`ZWS`).
    pub zlib: bool,
    pub lzma: bool,
    /// Packed bytes that are looked at, and bytes that they may make; 0: all.
    pub packed: u64,
    pub made: u64,
}

impl Swf {
    /// Whether any is opened.
    pub(super) fn is_on(&self) -> bool {
        self.zlib || self.lzma
    }
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

/// What takes decoded bytes; false: it wants no more.
pub(in crate::app) type Sink<'a> = dyn FnMut(&[u8]) -> bool + 'a;

/// The decoders of a lane.
pub(in crate::app) struct Codings {
    decoders: Vec<Decoder>,
    free: Vec<u16>,
    brotlis: Pool<Brotli>,
    lzmas: Pool<Lzma>,
    swf: Swf,
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
            brotlis: Pool::new(brotlis, || Brotli::new(window)),
            lzmas: Pool::new(0, || Lzma::new(0)),
            swf: Swf::default(),
            rooms: std::array::from_fn(|_| vec![0; PIECE].into()),
            work: 0,
            bomb: false,
        }
    }

    /// The same with so many decoders of LZMA with windows of so many bytes, and Flash files opened.
    pub(super) fn with_lzma(mut self, count: usize, window: usize, swf: Swf) -> Codings {
        let count = count.min(self.decoders.len());
        self.lzmas = Pool::new(count, || Lzma::new(window));
        self.swf = swf;
        self
    }

    /// A chain for codings in the order in which they were applied. None: too many, or no decoder
    /// is free.
    pub(in crate::app) fn open(&mut self, codings: &[Coding]) -> Option<Chain> {
        let of = |wanted: Coding| codings.iter().filter(|c| **c == wanted).count();
        if codings.len() > LAYERS_MAX
            || codings.len() > self.free.len()
            || of(Coding::Brotli) > self.brotlis.available()
            || of(Coding::Lzma) > self.lzmas.available()
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
                decoder.brotli = self.brotlis.take();
                self.brotlis.get_mut(decoder.brotli?)?.reset();
            }
            if *coding == Coding::Lzma {
                decoder.lzma = self.lzmas.take();
                self.lzmas.get_mut(decoder.lzma?)?.reset(false);
            }
            (decoder.restarts, decoder.made, decoder.prefix_length) = (0, 0, 0);
            (decoder.settled, decoder.past_prefix, decoder.failed) = (false, false, false);
            (decoder.takes, decoder.makes, decoder.head_length) = (u64::MAX, u64::MAX, 0);
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

    /// Whether bytes of a body were not what a coding says, even if another one could read them.
    pub(in crate::app) fn has_failed(&self, chain: &Chain) -> bool {
        let numbers = (0..LAYERS_MAX).filter_map(|layer| chain.get(layer));
        let mut decoders = numbers.filter_map(|number| self.decoders.get(number));
        decoders.any(|decoder| decoder.failed)
    }

    /// Gives the decoders back.
    pub(in crate::app) fn close(&mut self, chain: &mut Chain) {
        for number in chain.decoders.iter().take(usize::from(chain.count)) {
            let decoder = self.decoders.get_mut(usize::from(*number));
            if let Some(decoder) = decoder {
                self.brotlis.give(decoder.brotli.take());
                self.lzmas.give(decoder.lzma.take());
            }
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
            // What a file packs was right so far, and too short for anything to come out.
            let head = self.decoders.get_mut(number).and_then(Decoder::open_head);
            if head.is_some_and(|head| !self.deliver(chain, layer, &head, sink)) {
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
        let mut held = held.get(..length).unwrap_or(&[]);
        if decoder.coding == Coding::Swf {
            let head = self.begin_swf(number, held);
            held = held.get(head..).unwrap_or(&[]);
        }
        self.run_in_room(chain, layer, number, held, sink)
    }

    /// Reads the head of a Flash file and begins with what it packs: bytes of the head. What is none,
    /// or is packed as settings do not ask for, goes through.
    fn begin_swf(&mut self, number: usize, bytes: &[u8]) -> usize {
        let Some(decoder) = self.decoders.get_mut(number) else {
            return 0;
        };
        decoder.mode = Mode::Pass;
        let zlib = bytes.starts_with(b"CWS") && bytes.len() >= SWF_HEAD && self.swf.zlib;
        let lzma = bytes.starts_with(b"ZWS") && bytes.len() >= SWF_HEAD_WHOLE && self.swf.lzma;
        let size = bytes.get(4..8).and_then(|size| size.try_into().ok());
        let size = u32::from_le_bytes(size.unwrap_or([0; 4]));
        // The versions that came with each (SWF file format specification, chapter 2).
        let least = if zlib { 6 } else { 13 };
        let known = bytes.get(3).is_some_and(|version| *version >= least);
        if !(zlib || lzma) || !known || size <= SWF_HEAD as u32 {
            return 0;
        }
        if lzma {
            decoder.lzma = decoder.lzma.or_else(|| self.lzmas.take());
            let Some(lzma) = decoder.lzma.and_then(|n| self.lzmas.get_mut(n)) else {
                return 0;
            };
            lzma.reset(true);
        }
        decoder.begin(if zlib { Coding::Zlib } else { Coding::Lzma });
        // What fails before something came out goes through as it is.
        decoder.restarts = RESTARTS_MAX;
        let length = if zlib { SWF_HEAD } else { SWF_HEAD_LZMA };
        let whole = |limit: u64| if limit == 0 { u64::MAX } else { limit };
        decoder.takes = whole(self.swf.packed);
        decoder.makes = whole(self.swf.made).min(u64::from(size));
        if let (Some(place), Some(head)) = (decoder.head.get_mut(..length), bytes.get(..length)) {
            place.copy_from_slice(head);
            decoder.head_length = length as u8;
        }
        length
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
        let (data, last) = match self.decoders.get_mut(number) {
            Some(decoder) => decoder.cut(data),
            None => (data, false),
        };
        let go_on = self.run(chain, layer, number, data, &mut room, sink);
        if let Some(decoder) = self.decoders.get_mut(number).filter(|_| last) {
            decoder.mode = Mode::Ended;
        }
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
            let brotli = brotli.and_then(|n| self.brotlis.get_mut(n));
            let lzma = decoder.lzma.filter(|_| decoder.coding == Coding::Lzma);
            let lzma = lzma.and_then(|n| self.lzmas.get_mut(n));
            let (used, made, step) = match (brotli, lzma) {
                (Some(brotli), _) => as_step(brotli.step(rest, left)),
                (_, Some(lzma)) => as_step(lzma.step(rest, left)),
                _ => decoder.step(rest, left),
            };
            decoder.failed |= matches!(step, Step::Failed);
            rest = rest.get(used..).unwrap_or(&[]);
            filled += made;
            let output = room.get(..filled).unwrap_or(&[]);
            match step {
                Step::Full => {
                    decoder.made += filled as u64;
                    if !self.emit((chain, layer, number), output, sink) {
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
                    return self.emit((chain, layer, number), output, sink);
                }
                // Something came out, or it is too late for another decoder.
                Step::Failed
                    if decoder.made > 0
                        || decoder.past_prefix
                        || (filled > 0 && (decoder.restarts == 0 || decoder.head_length > 0)) =>
                {
                    decoder.mode = Mode::Ended;
                    return self.emit((chain, layer, number), output, sink);
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

    /// Hands on what a decoder made: before the first of it the head of a file, no more than it may.
    fn emit(
        &mut self,
        (chain, layer, number): (&Chain, usize, usize),
        output: &[u8],
        sink: &mut Sink<'_>,
    ) -> bool {
        let Some(decoder) = self.decoders.get_mut(number).filter(|_| !output.is_empty()) else {
            return true;
        };
        let most = usize::try_from(decoder.makes).unwrap_or(usize::MAX);
        let output = output.get(..most).unwrap_or(output);
        decoder.makes = decoder.makes.saturating_sub(output.len() as u64);
        if decoder.makes == 0 {
            decoder.mode = Mode::Ended;
        }
        let head = decoder.open_head();
        if head.is_some_and(|head| !self.deliver(chain, layer, &head, sink)) {
            return false;
        }
        self.deliver(chain, layer, output, sink)
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
        let (head, head_length) = (decoder.head, usize::from(decoder.head_length));
        if decoder.restarts < RESTARTS_MAX {
            decoder.restarts += 1;
            decoder.begin(match decoder.coding {
                Coding::Gzip => Coding::Deflate,
                Coding::Brotli | Coding::Lzma | Coding::Swf => Coding::Deflate,
                Coding::Deflate => Coding::Zlib,
                Coding::Zlib => Coding::Gzip,
            });
        } else {
            for inner in layer..LAYERS_MAX {
                let decoder = chain.get(inner).and_then(|n| self.decoders.get_mut(n));
                if let Some(decoder) = decoder {
                    decoder.mode = Mode::Pass;
                    decoder.head_length = 0;
                }
            }
            let head = head.get(..head_length).unwrap_or(&[]);
            if !head.is_empty() && !self.write(chain, layer + 1, head, sink) {
                return false;
            }
        }
        let kept = prefix.get(..length).unwrap_or(&[]);
        kept.is_empty() || self.run(chain, layer, number, kept, room, sink)
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

    fn opened(body: &[u8], cut: usize, swf: Swf) -> Vec<u8> {
        let mut pool = Codings::new(4, 1, 1 << 17).with_lzma(1, 1 << 17, swf);
        let codings = [Coding::Swf, Coding::Gzip];
        let mut chain = pool.open(&codings).expect("there are enough");
        let mut out = Vec::new();
        let mut sink = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            true
        };
        for piece in gzip(body).chunks(cut) {
            assert!(!pool.decode(&chain, piece, &mut sink));
        }
        pool.finish(&chain, &mut sink);
        pool.close(&mut chain);
        assert_eq!((pool.used(), pool.lzmas.available()), (0, 1));
        out
    }

    #[test]
    fn flash_files_are_opened() {
        let both = Swf {
            zlib: true,
            lzma: true,
            ..Swf::default()
        };
        let data = super::super::lzma::tests::plain();
        let whole = |kind: u8| {
            let mut file = vec![kind, b'W', b'S', 13];
            file.extend((data.len() as u32 + 8).to_le_bytes());
            file
        };
        let open = [whole(b'F'), data.clone()].concat();
        let zlib = [whole(b'C'), compress_to_vec_zlib(&data, 6)].concat();
        let packed = super::super::lzma::tests::packed();
        let mut lzma = whole(b'Z');
        lzma.extend((packed.len() as u32 - 13).to_le_bytes());
        lzma.extend(&packed[..5]);
        lzma.extend(&packed[13..]);
        for cut in [1, 9, 1000, usize::MAX] {
            assert!(opened(&zlib, cut, both) == open, "zlib {cut}");
            assert!(opened(&lzma, cut, both) == open, "lzma {cut}");
            assert!(opened(&open, cut, both) == open, "open {cut}");
        }
        // What settings do not ask for, what is cut short or wrong, and other files stay as they are.
        let only_zlib = Swf {
            lzma: false,
            ..both
        };
        let only_lzma = Swf {
            zlib: false,
            ..both
        };
        assert!(opened(&lzma, 100, only_zlib) == lzma);
        assert!(opened(&zlib, 100, only_lzma) == zlib);
        let wrong = b"CWS\x0d\0\x01\0\0 not packed at all";
        for other in [&b"ZWS short"[..], b"C", wrong, b"plain"] {
            assert_eq!(opened(other, 1, both), other);
            assert_eq!(opened(other, 1000, both), other);
        }
        let limited = Swf { made: 100, ..both };
        assert!(opened(&zlib, 100, limited) == open[..108]);
        assert!(opened(&lzma, 100, limited) == open[..108]);
        // So little that nothing came out, but nothing wrong either.
        assert_eq!(opened(&zlib[..10], 3, both), &open[..8]);
        let mut early = zlib.clone();
        early[3] = 5;
        assert!(
            opened(&early, 100, both) == early,
            "no such version is packed"
        );
        let short = Swf {
            packed: 150,
            ..both
        };
        let taken = opened(&lzma, 100, short);
        assert!(taken.len() > 8 && taken.len() < open.len() && open.starts_with(&taken));
    }

    #[test]
    fn lzma_by_its_name() {
        let data = super::super::lzma::tests::plain();
        let packed = super::super::lzma::tests::packed();
        let mut pool = Codings::new(4, 1, 1 << 17).with_lzma(1, 1 << 17, Swf::default());
        for cut in [1, 100, usize::MAX] {
            let mut chain = pool.open(&[Coding::Lzma]).expect("there is one");
            assert!(pool.open(&[Coding::Lzma]).is_none(), "the pool is bounded");
            let mut out = Vec::new();
            let mut sink = |bytes: &[u8]| {
                out.extend_from_slice(bytes);
                true
            };
            for piece in packed.chunks(cut) {
                pool.decode(&chain, piece, &mut sink);
            }
            pool.finish(&chain, &mut sink);
            pool.close(&mut chain);
            assert!(out == data, "{cut}");
        }
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
