//! Brotli (RFC 7932), resumable at any byte and bounded: what one decoder needs is made at start and
//! never grows. The window is as long as the bodies that rules look at: what a later copy would fetch
//! from further back ends the decoding. Codes of a meta-block lie in canonical.rs.
//!
//! ```text
//!  input ─► steps of at most 128 bits: taken whole or not at all, what is left waits in `carry`
//!        ─► ring (the window) and the caller's room
//! ```
//! The static dictionary and its transforms are those of the crate brotli-decompressor; its decoder
//! is not used, because its memory is the sender's choice (16 MiB and more for each body).

mod context;
mod head;

use brotli_decompressor::dictionary::{
    kBrotliDictionary, kBrotliDictionaryOffsetsByLength, kBrotliDictionarySizeBitsByLength,
};
use brotli_decompressor::transform::{TransformDictionaryWord, kNumTransforms};

use super::canonical::{Bits, Build, Codes, Wrong};
use context::context;
use head::next_types;

/// Bytes of input that may wait: a step takes at most 16.
const CARRY: usize = 24;
/// Bytes of a word of the dictionary, transformed, at most.
const WORD: usize = 64;
/// Length of a block where a kind has only one.
const ENDLESS: u32 = 1 << 24;
/// Codes of a meta-block: for each of the three kinds its block types, block lengths, then groups.
const TYPE_CODE: usize = 0;
const LENGTH_CODE: usize = 3;
const MAP_CODE: usize = 6;
const GROUP_CODES: usize = 7;
/// Codes of a kind at most.
const GROUP_MAX: usize = 256;
/// Literals, commands, distances.
const KINDS: usize = 3;
const LITERAL: usize = 0;
const COMMAND: usize = 1;
const DISTANCE: usize = 2;

const INSERT_BASE: [u32; 24] = [
    0, 1, 2, 3, 4, 5, 6, 8, 10, 14, 18, 26, 34, 50, 66, 98, 130, 194, 322, 578, 1090, 2114, 6210,
    22594,
];
const INSERT_EXTRA: [u8; 24] = [
    0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10, 12, 14, 24,
];
const COPY_BASE: [u32; 24] = [
    2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 18, 22, 30, 38, 54, 70, 102, 134, 198, 326, 582, 1094, 2118,
];
const COPY_EXTRA: [u8; 24] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10, 24,
];
/// First insert and copy code of each 64 commands.
const CELLS: [(u8, u8); 11] = [
    (0, 0),
    (0, 8),
    (0, 0),
    (0, 8),
    (8, 0),
    (8, 8),
    (0, 16),
    (16, 0),
    (8, 16),
    (16, 8),
    (16, 16),
];
const BLOCK_BASE: [u32; 26] = [
    1, 5, 9, 13, 17, 25, 33, 41, 49, 65, 81, 97, 113, 145, 177, 209, 241, 305, 369, 497, 753, 1265,
    2289, 4337, 8433, 16625,
];
const BLOCK_EXTRA: [u8; 26] = [
    2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 7, 8, 9, 10, 11, 12, 13, 24,
];

/// What the decoder reads next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Window,
    Header,
    /// Bytes as they are.
    Raw,
    /// Bytes that mean nothing.
    Skip,
    Types(usize),
    /// A code; what follows is in `then`.
    Code,
    FirstLength(usize),
    Parameters,
    Modes(usize),
    /// How many codes literals or distances have, and their map.
    Trees(usize),
    Map(usize, usize),
    MapFlag(usize),
    Groups(usize, usize),
    Command,
    Literals,
    Distance,
    Copy,
    Word,
    Done,
}

/// Blocks of a kind.
#[derive(Clone, Copy, Default, Debug)]
struct Blocks {
    types: u32,
    left: u32,
    current: u32,
    before: u32,
}

/// What came of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// All bytes are used.
    More,
    /// The room is full.
    Full,
    /// The stream has ended.
    Ended,
    /// It is no such stream, or one that needs more window than there is.
    Failed,
}

/// Why a step did not come to its end.
enum Stop {
    /// Bits are missing.
    Short,
    Wrong,
}

impl From<Wrong> for Stop {
    fn from(_: Wrong) -> Stop {
        Stop::Wrong
    }
}

type Stepped = Result<(), Stop>;

/// One decoder.
pub(super) struct Brotli {
    at: At,
    then: At,
    carry: [u8; CARRY],
    carried: usize,
    /// Bits of the first waiting byte that are read.
    bit: u32,
    ring: Box<[u8]>,
    made: u64,
    /// Furthest distance by the stream's header.
    window: u64,
    last: bool,
    /// Bytes of the meta-block that are still to come.
    left: u32,
    blocks: [Blocks; KINDS],
    pending: (usize, Blocks),
    trees: [usize; KINDS],
    postfix: u32,
    direct: u32,
    modes: [u8; GROUP_MAX],
    maps: [Box<[u8]>; 2],
    /// Codes of runs in the map at hand.
    runs: u32,
    codes: Codes,
    build: Build,
    recent: [u32; 4],
    insert: u32,
    copy: u32,
    /// Distance of the copy at hand, and whether the command says it itself.
    distance: u32,
    implied: bool,
    word: [u8; WORD],
    word_at: usize,
    word_end: usize,
}

impl Brotli {
    /// A decoder with a window of so many bytes, made a power of two.
    pub(super) fn new(window: usize) -> Brotli {
        Brotli {
            at: At::Window,
            then: At::Window,
            carry: [0; CARRY],
            carried: 0,
            bit: 0,
            ring: vec![0; window.next_power_of_two()].into(),
            made: 0,
            window: 0,
            last: false,
            left: 0,
            blocks: [Blocks::default(); KINDS],
            pending: (LITERAL, Blocks::default()),
            trees: [1; KINDS],
            postfix: 0,
            direct: 0,
            modes: [0; GROUP_MAX],
            maps: [
                vec![0; 64 * GROUP_MAX].into(),
                vec![0; 4 * GROUP_MAX].into(),
            ],
            runs: 0,
            codes: Codes::new(GROUP_CODES + KINDS * GROUP_MAX),
            build: Build::default(),
            recent: [4, 11, 15, 16],
            insert: 0,
            copy: 0,
            distance: 0,
            implied: false,
            word: [0; WORD],
            word_at: 0,
            word_end: 0,
        }
    }

    /// Bytes that one takes.
    pub(super) fn size(window: usize) -> usize {
        window.next_power_of_two() + Codes::size(GROUP_CODES + KINDS * GROUP_MAX) + (20 << 10)
    }

    /// A new stream.
    pub(super) fn reset(&mut self) {
        (self.at, self.carried, self.bit) = (At::Window, 0, 0);
        (self.made, self.last, self.left) = (0, false, 0);
        self.recent = [4, 11, 15, 16];
    }

    /// Decodes into `room`: bytes used, bytes made, what came of it.
    pub(super) fn step(&mut self, input: &[u8], room: &mut [u8]) -> (usize, usize, Outcome) {
        let mut made = 0;
        let mut offset = 0;
        if self.carried > 0 {
            let mut joined = [0; CARRY * 2];
            let (carried, more) = (self.carried, input.len().min(CARRY));
            let (Some(kept), Some(new)) = (self.carry.get(..carried), input.get(..more)) else {
                return (0, 0, Outcome::Failed);
            };
            let (head, tail) = joined.split_at_mut(carried);
            head.copy_from_slice(kept);
            if let Some(place) = tail.get_mut(..more) {
                place.copy_from_slice(new);
            }
            let bytes = joined.get(..carried + more).unwrap_or(&[]);
            let mut bits = Bits::new(bytes, self.bit);
            let end = Some(carried);
            let (count, outcome) = self.run(&mut bits, room, end);
            made = count;
            let (place, bit) = bits.place();
            match outcome {
                Outcome::More if place >= carried => {
                    (offset, self.bit, self.carried) = (place - carried, bit, 0);
                }
                Outcome::More | Outcome::Full if place < carried => {
                    // All that came fits in: a step is shorter than what may wait.
                    let new = if outcome == Outcome::More { more } else { 0 };
                    let rest = bytes.get(place..carried + new).unwrap_or(&[]);
                    let kept = self.keep(rest, bit);
                    return (new, made, if kept { outcome } else { Outcome::Failed });
                }
                Outcome::Full => {
                    let used = self.stop_at(input, place - carried, bit);
                    return (used, made, outcome);
                }
                _ => return (input.len(), made, outcome),
            }
        }
        let rest = input.get(offset..).unwrap_or(&[]);
        let mut bits = Bits::new(rest, self.bit);
        let left = room.get_mut(made..).unwrap_or(&mut []);
        let (count, outcome) = self.run(&mut bits, left, None);
        made += count;
        let (place, bit) = bits.place();
        match outcome {
            Outcome::Full => (offset + self.stop_at(rest, place, bit), made, outcome),
            Outcome::More => {
                let kept = self.keep(rest.get(place..).unwrap_or(&[]), bit);
                let outcome = if kept { outcome } else { Outcome::Failed };
                (input.len(), made, outcome)
            }
            _ => (input.len(), made, outcome),
        }
    }

    /// Lets bytes wait, the first of which is read up to a bit. False: too many.
    fn keep(&mut self, bytes: &[u8], bit: u32) -> bool {
        (self.carried, self.bit) = (bytes.len(), if bytes.is_empty() { 0 } else { bit });
        match self.carry.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    /// Stops in the midst of the input: a byte that is partly read waits. How many are used.
    fn stop_at(&mut self, input: &[u8], place: usize, bit: u32) -> usize {
        let partly = input
            .get(place..place + usize::from(bit > 0))
            .unwrap_or(&[]);
        self.keep(partly, bit);
        place + partly.len()
    }

    /// Steps until bits, room or stream end, or the place `until` is reached: bytes made.
    fn run(
        &mut self,
        bits: &mut Bits<'_>,
        room: &mut [u8],
        until: Option<usize>,
    ) -> (usize, Outcome) {
        let mut made = 0;
        // Each turn takes bits, makes a byte, or goes from one state to the next of a finite row.
        loop {
            if self.at == At::Done {
                return (made, Outcome::Ended);
            }
            if until.is_some_and(|end| bits.place().0 >= end) {
                return (made, Outcome::More);
            }
            if made == room.len() && self.makes() {
                return (made, Outcome::Full);
            }
            let before = *bits;
            match self.one(bits, room, &mut made) {
                Ok(()) => {}
                Err(Stop::Short) => {
                    *bits = before;
                    return (made, Outcome::More);
                }
                Err(Stop::Wrong) => return (made, Outcome::Failed),
            }
        }
    }

    /// Whether the next step makes a byte.
    fn makes(&self) -> bool {
        match self.at {
            At::Raw | At::Copy | At::Word => true,
            At::Literals => self.insert > 0,
            _ => false,
        }
    }

    fn one(&mut self, bits: &mut Bits<'_>, room: &mut [u8], made: &mut usize) -> Stepped {
        match self.at {
            At::Window => self.read_window(bits),
            At::Header => self.read_header(bits),
            At::Raw => self.raw(bits, room, made),
            At::Skip => self.skip(bits),
            At::Types(kind) => self.read_types(bits, kind),
            At::Code => self.read_code(bits),
            At::FirstLength(kind) => {
                let left = self.block_length(bits, kind)?;
                self.blocks_of(kind).left = left;
                self.at = next_types(kind);
                Ok(())
            }
            At::Parameters => {
                self.postfix = bits.take(2).ok_or(Stop::Short)?;
                self.direct = bits.take(4).ok_or(Stop::Short)? << self.postfix;
                self.at = At::Modes(0);
                Ok(())
            }
            At::Modes(place) => {
                let mode = bits.take(2).ok_or(Stop::Short)?;
                *self.modes.get_mut(place).ok_or(Stop::Wrong)? = mode as u8;
                self.at = match place + 1 < self.blocks_of(LITERAL).types as usize {
                    true => At::Modes(place + 1),
                    false => At::Trees(LITERAL),
                };
                Ok(())
            }
            At::Trees(kind) => self.read_trees(bits, kind),
            At::Map(kind, place) => self.read_map(bits, kind, place),
            At::MapFlag(kind) => self.finish_map(bits, kind),
            At::Groups(kind, place) => self.next_group(kind, place),
            At::Command => self.command(bits),
            At::Literals => self.literal(bits, room, made),
            At::Distance => self.read_distance(bits),
            At::Copy => self.copy(room, made),
            At::Word => self.copy_word(room, made),
            At::Done => Ok(()),
        }
    }

    fn raw(&mut self, bits: &mut Bits<'_>, room: &mut [u8], made: &mut usize) -> Stepped {
        let byte = bits.take(8).ok_or(Stop::Short)?;
        self.make(byte as u8, room, made);
        self.left -= 1;
        self.end_of_block();
        Ok(())
    }

    fn skip(&mut self, bits: &mut Bits<'_>) -> Stepped {
        if self.left > 0 {
            bits.take(8).ok_or(Stop::Short)?;
            self.left -= 1;
        }
        self.end_of_block();
        Ok(())
    }

    /// After the last byte of a meta-block the next one begins. Whether it was the last.
    fn end_of_block(&mut self) -> bool {
        if self.left == 0 {
            self.at = At::Header;
        }
        self.left == 0
    }

    fn blocks_of(&mut self, kind: usize) -> &mut Blocks {
        // Kinds are below three; the remainder says so to the compiler.
        &mut self.blocks[kind % KINDS]
    }

    fn block_length(&mut self, bits: &mut Bits<'_>, kind: usize) -> Result<u32, Stop> {
        let code = usize::from(
            self.codes
                .read(LENGTH_CODE + kind, bits)
                .ok_or(Stop::Short)?,
        );
        let (Some(base), Some(extra)) = (BLOCK_BASE.get(code), BLOCK_EXTRA.get(code)) else {
            return Err(Stop::Wrong);
        };
        Ok(base + bits.take(u32::from(*extra)).ok_or(Stop::Short)?)
    }

    /// The next symbol of a kind is about to be read: its block goes on, or the next begins.
    fn in_block(&mut self, bits: &mut Bits<'_>, kind: usize) -> Result<u32, Stop> {
        let mut blocks = *self.blocks_of(kind);
        if blocks.left == 0 {
            let code = self.codes.read(TYPE_CODE + kind, bits).ok_or(Stop::Short)?;
            let next = match u32::from(code) {
                0 => blocks.before,
                1 => blocks.current + 1,
                code => code - 2,
            };
            let next = if next >= blocks.types {
                next - blocks.types
            } else {
                next
            };
            (blocks.before, blocks.current) = (blocks.current, next);
            blocks.left = self.block_length(bits, kind)?;
        }
        Ok(self.begin_symbol(kind, blocks))
    }

    fn begin_symbol(&mut self, kind: usize, mut blocks: Blocks) -> u32 {
        blocks.left -= 1;
        // Written back by `settle` once the whole step has its bits.
        self.pending = (kind, blocks);
        blocks.current
    }

    /// The step of `in_block` has all its bits.
    fn settle(&mut self) {
        let (kind, blocks) = self.pending;
        *self.blocks_of(kind) = blocks;
    }

    fn command(&mut self, bits: &mut Bits<'_>) -> Stepped {
        let block = self.in_block(bits, COMMAND)?;
        let symbol = self.codes.read(group(COMMAND, block as usize), bits);
        let symbol = usize::from(symbol.ok_or(Stop::Short)?);
        let (insert, copy) = CELLS.get(symbol >> 6).ok_or(Stop::Wrong)?;
        let insert = usize::from(*insert) + (symbol >> 3 & 7);
        let copy = usize::from(*copy) + (symbol & 7);
        let mut of = |bases: &[u32; 24], extras: &[u8; 24], code: usize| {
            let (base, extra) = (bases[code % 24], u32::from(extras[code % 24]));
            bits.take(extra).map(|more| base + more).ok_or(Stop::Short)
        };
        let insert = of(&INSERT_BASE, &INSERT_EXTRA, insert)?;
        let copy = of(&COPY_BASE, &COPY_EXTRA, copy)?;
        self.settle();
        if insert > self.left {
            return Err(Stop::Wrong);
        }
        (self.insert, self.copy, self.implied) = (insert, copy, symbol < 128);
        self.at = At::Literals;
        Ok(())
    }

    fn literal(&mut self, bits: &mut Bits<'_>, room: &mut [u8], made: &mut usize) -> Stepped {
        if self.insert == 0 {
            if !self.end_of_block() {
                self.at = At::Distance;
            }
            return Ok(());
        }
        let block = self.in_block(bits, LITERAL)? as usize;
        let mode = self.modes.get(block).copied().unwrap_or(0);
        let context = usize::from(context(mode, self.back(1), self.back(2)));
        let tree = self.maps[0].get(64 * block + context).copied().unwrap_or(0);
        let symbol = self.codes.read(group(LITERAL, usize::from(tree)), bits);
        let symbol = symbol.ok_or(Stop::Short)?;
        self.settle();
        self.make(symbol as u8, room, made);
        self.insert -= 1;
        self.left -= 1;
        Ok(())
    }

    fn read_distance(&mut self, bits: &mut Bits<'_>) -> Stepped {
        let mut again = true;
        let distance = if self.implied {
            self.recent[0]
        } else {
            let block = self.in_block(bits, DISTANCE)? as usize;
            let context = self.copy.clamp(2, 5) as usize - 2;
            let tree = self.maps[1].get(4 * block + context).copied().unwrap_or(0);
            let code = self.codes.read(group(DISTANCE, usize::from(tree)), bits);
            let code = u32::from(code.ok_or(Stop::Short)?);
            let distance = self.distance_of(bits, code)?;
            self.settle();
            again = code == 0;
            distance
        };
        let reach = self.made.min(self.window);
        if u64::from(distance) > reach {
            return self.begin_word(u64::from(distance) - reach - 1);
        }
        if !again {
            self.recent.copy_within(..3, 1);
            self.recent[0] = distance;
        }
        // Beyond the window that there is, or beyond the meta-block.
        if distance as usize > self.ring.len() || distance == 0 || self.copy > self.left {
            return Err(Stop::Wrong);
        }
        (self.distance, self.at) = (distance, At::Copy);
        Ok(())
    }

    fn distance_of(&self, bits: &mut Bits<'_>, code: u32) -> Result<u32, Stop> {
        if code < 4 {
            return Ok(self.recent[code as usize % 4]);
        }
        if code < 16 {
            let base = self.recent[usize::from(code >= 10)];
            let step = (code - if code >= 10 { 10 } else { 4 }) / 2 + 1;
            return match code & 1 {
                0 => base.checked_sub(step).filter(|distance| *distance > 0),
                _ => base.checked_add(step),
            }
            .ok_or(Stop::Wrong);
        }
        let Some(code) = code.checked_sub(16 + self.direct) else {
            return Ok(code - 15);
        };
        let count = 1 + (code >> (self.postfix + 1));
        let (high, low) = (code >> self.postfix, code & ((1 << self.postfix) - 1));
        let offset = ((2 + (high & 1)) << count) - 4;
        let extra = bits.take(count).ok_or(Stop::Short)?;
        Ok(((offset + extra) << self.postfix) + low + self.direct + 1)
    }

    fn copy(&mut self, room: &mut [u8], made: &mut usize) -> Stepped {
        let space = room.len() - *made;
        let count = (self.copy as usize).min(space);
        for _ in 0..count {
            let byte = self.back(u64::from(self.distance));
            self.make(byte, room, made);
        }
        self.copy -= count as u32;
        self.left -= count as u32;
        if self.copy == 0 && !self.end_of_block() {
            self.at = At::Command;
        }
        Ok(())
    }

    /// Looks a word of the dictionary up and transforms it (RFC 7932 section 8).
    fn begin_word(&mut self, number: u64) -> Stepped {
        let length = self.copy as usize;
        let (Some(bits), Some(offset)) = (
            kBrotliDictionarySizeBitsByLength.get(length),
            kBrotliDictionaryOffsetsByLength.get(length),
        ) else {
            return Err(Stop::Wrong);
        };
        let index = (number & ((1 << bits) - 1)) as usize;
        let transform = number >> bits;
        let start = *offset as usize + index * length;
        let word = kBrotliDictionary.get(start..start + length);
        if length < 4 || transform >= kNumTransforms as u64 {
            return Err(Stop::Wrong);
        }
        let word = word.ok_or(Stop::Wrong)?;
        let (length, transform) = (length as i32, transform as i32);
        let end = TransformDictionaryWord(&mut self.word, word, length, transform);
        (self.word_at, self.word_end) = (0, usize::try_from(end).unwrap_or(0).min(WORD));
        if self.word_end > self.left as usize {
            return Err(Stop::Wrong);
        }
        self.at = if self.word_end > 0 {
            At::Word
        } else {
            At::Command
        };
        Ok(())
    }

    fn copy_word(&mut self, room: &mut [u8], made: &mut usize) -> Stepped {
        let byte = self.word.get(self.word_at).copied().unwrap_or(0);
        self.make(byte, room, made);
        self.word_at += 1;
        self.left -= 1;
        if self.word_at >= self.word_end && !self.end_of_block() {
            self.at = At::Command;
        }
        Ok(())
    }

    /// The byte so far back; zero before the first.
    fn back(&self, distance: u64) -> u8 {
        let place = self.made.wrapping_sub(distance) as usize & (self.ring.len() - 1);
        match distance <= self.made {
            true => self.ring.get(place).copied().unwrap_or(0),
            false => 0,
        }
    }

    /// Callers have seen that there is room.
    fn make(&mut self, byte: u8, room: &mut [u8], made: &mut usize) {
        let place = self.made as usize & (self.ring.len() - 1);
        if let (Some(kept), Some(out)) = (self.ring.get_mut(place), room.get_mut(*made)) {
            (*kept, *out) = (byte, byte);
            self.made += 1;
            *made += 1;
        }
    }
}

fn group(kind: usize, place: usize) -> usize {
    GROUP_CODES + kind * GROUP_MAX + place
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn encoded(data: &[u8], quality: u32, window: u32) -> Vec<u8> {
        let mut out = brotli::CompressorWriter::new(Vec::new(), 4096, quality, window);
        out.write_all(data).unwrap();
        out.into_inner()
    }

    /// What comes out, with pieces of so many bytes and a room of so many.
    fn decoded(decoder: &mut Brotli, body: &[u8], cut: usize, room: usize) -> (Vec<u8>, Outcome) {
        decoder.reset();
        let mut out = Vec::new();
        let mut room = vec![0; room];
        let mut last = Outcome::More;
        for piece in body.chunks(cut) {
            let mut rest = piece;
            loop {
                let (used, made, outcome) = decoder.step(rest, &mut room);
                out.extend_from_slice(&room[..made]);
                rest = &rest[used..];
                last = outcome;
                match outcome {
                    Outcome::Full => {}
                    Outcome::More => break,
                    Outcome::Ended | Outcome::Failed => return (out, last),
                }
            }
        }
        (out, last)
    }

    /// Text with words of the dictionary, numbers, markup, other scripts, and bytes without order.
    fn samples() -> Vec<Vec<u8>> {
        let mut state = 7u64;
        let mut random = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) as u32
        };
        let words = [
            "the ",
            "of the ",
            "Home",
            "<div class=\"",
            "function(",
            "\u{442}\u{435}\u{43a}\u{441}\u{442} ",
            "return ",
            "1234, ",
            "http://www.",
            "information ",
            "\r\n",
            "Copyright ",
            "\u{4e2d}\u{56fd}",
        ];
        let text: String = (0..30_000)
            .map(|_| words[random() as usize % words.len()])
            .collect();
        let noise: Vec<u8> = (0..70_000).map(|_| random() as u8).collect();
        let numbers: Vec<u8> = (0..20_000u32)
            .flat_map(|n| (n * n % 251).to_le_bytes())
            .collect();
        let mixed = [
            &text.as_bytes()[..90_000],
            &noise[..30_000],
            &numbers[..40_000],
        ]
        .concat();
        vec![
            b"".to_vec(),
            b"a".to_vec(),
            text.into_bytes(),
            noise,
            numbers,
            mixed,
        ]
    }

    #[test]
    fn what_another_encoder_made_comes_out_for_every_cut() {
        let mut decoder = Brotli::new(1 << 20);
        for (place, data) in samples().iter().enumerate() {
            for (quality, window) in [(0, 16), (2, 18), (5, 10), (9, 22), (11, 24), (11, 16)] {
                let body = encoded(data, quality, window);
                for (cut, room) in [(usize::MAX, 8192), (1460, 100), (1, 8192), (7, 3)] {
                    let (out, last) = decoded(&mut decoder, &body, cut, room);
                    assert_eq!(
                        last,
                        Outcome::Ended,
                        "{place} {quality} {window} {cut} {room}"
                    );
                    assert!(out == *data, "{place} {quality} {window} {cut} {room}");
                }
            }
        }
    }

    #[test]
    fn too_far_back_ends_it_and_broken_ones_do_no_harm() {
        let data: Vec<u8> = samples()[3].repeat(3);
        let body = encoded(&data, 9, 22);
        let mut small = Brotli::new(1 << 14);
        let (out, last) = decoded(&mut small, &body, 1000, 8192);
        assert_eq!(last, Outcome::Failed);
        assert!(data.starts_with(&out) && !out.is_empty());
        let good = encoded(&samples()[2], 11, 22);
        for place in 0..good.len().min(600) {
            for flip in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[place] ^= flip;
                let (whole, _) = decoded(&mut small, &bad, usize::MAX, 8192);
                let (parts, _) = decoded(&mut small, &bad, 5, 100);
                assert_eq!(whole, parts, "{place} {flip}");
            }
        }
    }
}
