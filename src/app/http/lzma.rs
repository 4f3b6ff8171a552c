//! LZMA (the form of `.lzma` files, which `Content-Encoding: lzma` names, and that of SWF's `ZWS`),
//! resumable at any byte and bounded: what one decoder needs is made at start and never grows. The
//! window is as long as the bodies that rules look at; what a later copy would fetch from further
//! back ends the decoding, as do `lc` and `lp` of more than four together, which no encoder in use
//! writes (LZMA2 forbids them).
//!
//! ```text
//!  input ─► symbols of at most 20 bytes: taken whole or undone, what is left waits in `carry`
//!        ─► ring (the window) and the caller's room
//! ```

use super::brotli::Outcome;

/// Bytes of input that may wait: a symbol takes at most 20.
const CARRY: usize = 32;
/// Probabilities that one symbol changes, at most.
const UNDO: usize = 64;
/// Bytes of the head: properties, dictionary, length.
const HEAD: usize = 13;
/// Bytes that begin the range coder.
const START: usize = 5;
const STATES: usize = 12;
const POSITIONS: usize = 16;
/// An even chance.
const EVEN: u16 = 1024;
/// Bits of a probability, and how fast it moves.
const BITS: u32 = 11;
const SPEED: u32 = 5;

// Where the probabilities stand.
const IS_MATCH: usize = 0;
const IS_REPEAT: usize = IS_MATCH + STATES * POSITIONS;
const IS_REPEAT_0: usize = IS_REPEAT + STATES;
const IS_REPEAT_1: usize = IS_REPEAT_0 + STATES;
const IS_REPEAT_2: usize = IS_REPEAT_1 + STATES;
const IS_LONG: usize = IS_REPEAT_2 + STATES;
const SLOTS: usize = IS_LONG + STATES * POSITIONS;
const SPECIAL: usize = SLOTS + 4 * 64;
const ALIGN: usize = SPECIAL + 128;
const LENGTHS: usize = ALIGN + 16;
const REPEAT_LENGTHS: usize = LENGTHS + LENGTH_SIZE;
const LITERALS: usize = REPEAT_LENGTHS + LENGTH_SIZE;
/// Two choices, low and middle lengths by position, high ones.
const LENGTH_SIZE: usize = 2 + 2 * 8 * POSITIONS + 256;
/// Probabilities of one context of literals, and contexts.
const LITERAL_SIZE: usize = 0x300;
const PROBABILITIES: usize = LITERALS + (LITERAL_SIZE << 4);

/// What is read next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Head,
    Start,
    Symbol,
    Copy,
    Done,
}

/// Why a symbol did not come to its end.
enum Stop {
    /// Bytes are missing.
    Short,
    Wrong,
}

/// What a symbol changes beside probabilities.
#[derive(Clone, Copy, Debug)]
struct Core {
    range: u32,
    code: u32,
    state: usize,
    repeats: [u32; 4],
}

const NEW: Core = Core {
    range: u32::MAX,
    code: 0,
    state: 0,
    repeats: [0; 4],
};

/// Bytes that waited, then those that came.
struct Input<'a> {
    carried: &'a [u8],
    new: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = match self.carried.get(self.at) {
            Some(byte) => *byte,
            None => *self.new.get(self.at - self.carried.len())?,
        };
        self.at += 1;
        Some(byte)
    }
}

/// One decoder.
pub(super) struct Lzma {
    at: At,
    head: [u8; HEAD],
    head_length: usize,
    /// The length stands in no head: what there is in the range coder decides.
    headless: bool,
    probabilities: Box<[u16]>,
    ring: Box<[u8]>,
    core: Core,
    context_bits: u32,
    position_mask: [usize; 2],
    /// Bytes to come, if the head says so.
    left: Option<u64>,
    made: u64,
    copy: u32,
    carry: [u8; CARRY],
    carried: usize,
    undo: [(u16, u16); UNDO],
    undone: usize,
}

impl Lzma {
    /// A decoder with a window of so many bytes, made a power of two.
    pub(super) fn new(window: usize) -> Lzma {
        Lzma {
            at: At::Head,
            head: [0; HEAD],
            head_length: 0,
            headless: false,
            probabilities: vec![EVEN; PROBABILITIES].into(),
            ring: vec![0; window.next_power_of_two()].into(),
            core: NEW,
            context_bits: 0,
            position_mask: [0; 2],
            left: None,
            made: 0,
            copy: 0,
            carry: [0; CARRY],
            carried: 0,
            undo: [(0, 0); UNDO],
            undone: 0,
        }
    }

    /// Bytes that one takes.
    pub(super) fn size(window: usize) -> usize {
        window.next_power_of_two() + 2 * PROBABILITIES + size_of::<Lzma>()
    }

    /// A new stream: with properties, dictionary and length before it, or without the length.
    pub(super) fn reset(&mut self, headless: bool) {
        (self.at, self.head_length, self.headless) = (At::Head, 0, headless);
        (self.made, self.copy, self.carried, self.left) = (0, 0, 0, None);
        self.core = NEW;
    }

    /// Decodes into `room`: bytes used, bytes made, what came of it.
    pub(super) fn step(&mut self, input: &[u8], room: &mut [u8]) -> (usize, usize, Outcome) {
        let carry = self.carry;
        let carried = carry.get(..self.carried).unwrap_or(&[]);
        let mut source = Input {
            carried,
            new: input,
            at: 0,
        };
        let (made, outcome) = self.run(&mut source, room);
        let at = source.at;
        match outcome {
            Outcome::Full => {
                let waits = carried.get(at..).unwrap_or(&[]);
                self.keep(waits, &[]);
                (at.saturating_sub(carried.len()), made, outcome)
            }
            Outcome::More => {
                let waits = carried.get(at..).unwrap_or(&[]);
                let new = input.get(at.saturating_sub(carried.len())..);
                let kept = self.keep(waits, new.unwrap_or(&[]));
                let outcome = if kept { outcome } else { Outcome::Failed };
                (input.len(), made, outcome)
            }
            _ => (input.len(), made, outcome),
        }
    }

    /// Lets bytes wait. False: too many.
    fn keep(&mut self, first: &[u8], second: &[u8]) -> bool {
        let mut carry = [0; CARRY];
        let all = first.iter().chain(second);
        let length = first.len() + second.len();
        carry
            .iter_mut()
            .zip(all)
            .for_each(|(place, byte)| *place = *byte);
        (self.carry, self.carried) = (carry, length.min(CARRY));
        length <= CARRY
    }

    /// Steps until bytes, room or stream end: bytes made.
    fn run(&mut self, input: &mut Input<'_>, room: &mut [u8]) -> (usize, Outcome) {
        let mut made = 0;
        // Each turn takes bytes, makes one, or goes from one state to the next of a finite row.
        loop {
            let full = made == room.len();
            match self.at {
                At::Done => return (made, Outcome::Ended),
                At::Head | At::Start => match self.begin(input) {
                    Ok(()) => {}
                    Err(Stop::Short) => return (made, Outcome::More),
                    Err(Stop::Wrong) => return (made, Outcome::Failed),
                },
                At::Copy | At::Symbol if full => return (made, Outcome::Full),
                At::Copy => {
                    let byte = self.byte_back(self.core.repeats[0]);
                    self.make(byte, room, &mut made);
                    self.copy -= 1;
                    if self.copy == 0 {
                        self.at = At::Symbol;
                    }
                }
                At::Symbol if self.left == Some(0) => self.at = At::Done,
                At::Symbol => {
                    let (before, place) = (self.core, input.at);
                    self.undone = 0;
                    match self.symbol(input, room, &mut made) {
                        Ok(()) => {}
                        Err(Stop::Short) => {
                            self.take_back();
                            (self.core, input.at) = (before, place);
                            return (made, Outcome::More);
                        }
                        Err(Stop::Wrong) => return (made, Outcome::Failed),
                    }
                }
            }
        }
    }

    /// Undoes what a symbol did to the probabilities, last first.
    fn take_back(&mut self) {
        let undone = std::mem::take(&mut self.undone);
        for (place, old) in self.undo.iter().take(undone).rev() {
            if let Some(probability) = self.probabilities.get_mut(usize::from(*place)) {
                *probability = *old;
            }
        }
    }

    /// Reads the head, or the first bytes of the range coder.
    fn begin(&mut self, input: &mut Input<'_>) -> Result<(), Stop> {
        let byte = input.next().ok_or(Stop::Short)?;
        *self.head.get_mut(self.head_length).ok_or(Stop::Wrong)? = byte;
        self.head_length += 1;
        if self.at == At::Start {
            if self.head_length == 1 && byte != 0 {
                return Err(Stop::Wrong);
            }
            self.core.code = self.core.code << 8 | u32::from(byte);
            if self.head_length == START {
                self.at = At::Symbol;
            }
            return Ok(());
        }
        let whole = if self.headless { START } else { HEAD };
        if self.head_length < whole {
            return Ok(());
        }
        let [properties, _, _, _, _, length @ ..] = self.head;
        let (context, rest) = (u32::from(properties % 9), properties / 9);
        let (literal, position) = (u32::from(rest % 5), u32::from(rest / 5));
        if position > 4 || context + literal > 4 {
            return Err(Stop::Wrong);
        }
        self.context_bits = context;
        self.position_mask = [(1 << literal) - 1, (1 << position) - 1];
        let length = u64::from_le_bytes(length);
        self.left = (!self.headless && length != u64::MAX).then_some(length);
        self.probabilities.fill(EVEN);
        (self.at, self.head_length) = (At::Start, 0);
        Ok(())
    }

    /// The byte so many bytes before the last.
    fn byte_back(&self, distance: u32) -> u8 {
        let place = self.made.wrapping_sub(u64::from(distance) + 1) as usize;
        let mask = self.ring.len() - 1;
        self.ring.get(place & mask).copied().unwrap_or(0)
    }

    fn make(&mut self, byte: u8, room: &mut [u8], made: &mut usize) {
        let mask = self.ring.len() - 1;
        if let Some(place) = self.ring.get_mut(self.made as usize & mask) {
            *place = byte;
        }
        if let Some(place) = room.get_mut(*made) {
            *place = byte;
        }
        self.made += 1;
        *made += 1;
        self.left = self.left.map(|left| left.saturating_sub(1));
    }

    /// A bit of even chance.
    fn even(&mut self, input: &mut Input<'_>) -> Result<u32, Stop> {
        self.normalize(input)?;
        let core = &mut self.core;
        core.range >>= 1;
        let one = core.code >= core.range;
        if one {
            core.code -= core.range;
        }
        Ok(u32::from(one))
    }

    fn normalize(&mut self, input: &mut Input<'_>) -> Result<(), Stop> {
        if self.core.range < 1 << 24 {
            let byte = input.next().ok_or(Stop::Short)?;
            self.core.range <<= 8;
            self.core.code = self.core.code << 8 | u32::from(byte);
        }
        Ok(())
    }

    /// A bit of the chance that stands at a place.
    fn bit(&mut self, place: usize, input: &mut Input<'_>) -> Result<u32, Stop> {
        self.normalize(input)?;
        let probability = self.probabilities.get_mut(place).ok_or(Stop::Wrong)?;
        let undo = self.undo.get_mut(self.undone).ok_or(Stop::Wrong)?;
        *undo = (place as u16, *probability);
        self.undone += 1;
        let core = &mut self.core;
        let bound = (core.range >> BITS) * u32::from(*probability);
        if core.code < bound {
            core.range = bound;
            *probability += ((1 << BITS) - *probability) >> SPEED;
            Ok(0)
        } else {
            core.range -= bound;
            core.code -= bound;
            *probability -= *probability >> SPEED;
            Ok(1)
        }
    }

    /// A number of so many bits, the highest first.
    fn tree(&mut self, base: usize, bits: u32, input: &mut Input<'_>) -> Result<u32, Stop> {
        let mut node = 1;
        for _ in 0..bits {
            node = node << 1 | self.bit(base + node as usize, input)?;
        }
        Ok(node - (1 << bits))
    }

    /// The same, the lowest first.
    fn tree_back(&mut self, base: usize, bits: u32, input: &mut Input<'_>) -> Result<u32, Stop> {
        let (mut node, mut number) = (1, 0);
        for place in 0..bits {
            let bit = self.bit(base + node, input)?;
            node = node << 1 | bit as usize;
            number |= bit << place;
        }
        Ok(number)
    }

    fn symbol(
        &mut self,
        input: &mut Input<'_>,
        room: &mut [u8],
        made: &mut usize,
    ) -> Result<(), Stop> {
        let position = self.made as usize & self.position_mask[1];
        let state = self.core.state;
        if self.bit(IS_MATCH + (state << 4) + position, input)? == 0 {
            let byte = self.literal(input)?;
            self.core.state = match state {
                0..4 => 0,
                4..10 => state - 3,
                _ => state - 6,
            };
            self.make(byte, room, made);
            return Ok(());
        }
        let length = if self.bit(IS_REPEAT + state, input)? == 1 {
            self.repeat(position, input)?
        } else {
            let [a, b, c, _] = self.core.repeats;
            let length = self.length(LENGTHS, position, input)?;
            let distance = self.distance(length, input)?;
            self.core.repeats = [distance, a, b, c];
            self.core.state = if state < 7 { 7 } else { 10 };
            if distance == u32::MAX {
                self.at = At::Done;
                return Ok(());
            }
            length + 2
        };
        let distance = u64::from(self.core.repeats[0]);
        if distance >= self.made || distance >= self.ring.len() as u64 {
            return Err(Stop::Wrong);
        }
        let most = self.left.unwrap_or(u64::MAX).min(u64::from(length));
        (self.copy, self.at) = (most as u32, At::Copy);
        Ok(())
    }

    /// A match at one of the last distances: its length.
    fn repeat(&mut self, position: usize, input: &mut Input<'_>) -> Result<u32, Stop> {
        let state = self.core.state;
        let [a, b, c, d] = self.core.repeats;
        if self.bit(IS_REPEAT_0 + state, input)? == 0 {
            if self.bit(IS_LONG + (state << 4) + position, input)? == 0 {
                self.core.state = if state < 7 { 9 } else { 11 };
                return Ok(1);
            }
        } else if self.bit(IS_REPEAT_1 + state, input)? == 0 {
            self.core.repeats = [b, a, c, d];
        } else if self.bit(IS_REPEAT_2 + state, input)? == 0 {
            self.core.repeats = [c, a, b, d];
        } else {
            self.core.repeats = [d, a, b, c];
        }
        let length = self.length(REPEAT_LENGTHS, position, input)?;
        self.core.state = if state < 7 { 8 } else { 11 };
        Ok(length + 2)
    }

    fn literal(&mut self, input: &mut Input<'_>) -> Result<u8, Stop> {
        let before = if self.made > 0 { self.byte_back(0) } else { 0 };
        let high = usize::from(before) >> (8 - self.context_bits);
        let context = (self.made as usize & self.position_mask[0]) << self.context_bits;
        let base = LITERALS + LITERAL_SIZE * (context + high);
        let mut node = 1;
        if self.core.state >= 7 {
            let mut other = usize::from(self.byte_back(self.core.repeats[0]));
            while node < 0x100 {
                let expected = other >> 7 & 1;
                other <<= 1;
                let bit = self.bit(base + ((1 + expected) << 8) + node, input)? as usize;
                node = node << 1 | bit;
                if bit != expected {
                    break;
                }
            }
        }
        while node < 0x100 {
            node = node << 1 | self.bit(base + node, input)? as usize;
        }
        Ok(node as u8)
    }

    /// Length of a match, less two.
    fn length(&mut self, base: usize, position: usize, input: &mut Input<'_>) -> Result<u32, Stop> {
        let (low, middle) = (base + 2, base + 2 + 8 * POSITIONS);
        if self.bit(base, input)? == 0 {
            return self.tree(low + (position << 3), 3, input);
        }
        if self.bit(base + 1, input)? == 0 {
            return Ok(8 + self.tree(middle + (position << 3), 3, input)?);
        }
        Ok(16 + self.tree(middle + 8 * POSITIONS, 8, input)?)
    }

    fn distance(&mut self, length: u32, input: &mut Input<'_>) -> Result<u32, Stop> {
        let class = length.min(3) as usize;
        let slot = self.tree(SLOTS + (class << 6), 6, input)?;
        if slot < 4 {
            return Ok(slot);
        }
        let bits = (slot >> 1) - 1;
        let first = (2 | slot & 1) << bits;
        if slot < 14 {
            let base = SPECIAL + (first - slot) as usize;
            return Ok(first + self.tree_back(base, bits, input)?);
        }
        let mut high = 0;
        for _ in 0..bits - 4 {
            high = high << 1 | self.even(input)?;
        }
        let low = self.tree_back(ALIGN, 4, input)?;
        Ok(first.wrapping_add(high << 4).wrapping_add(low))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What is packed below.
    pub(in super::super) fn plain() -> Vec<u8> {
        let again = b"the same again and again, ".repeat(9);
        let other: Vec<u8> = (0..90u32).map(|n| (n * 7 + n / 5) as u8).collect();
        let mut data: Vec<u8> = (0..200u32)
            .flat_map(|n| (n * n % 251).to_le_bytes())
            .collect();
        for part in [
            &again[..],
            &other,
            &again[..50],
            &other[..40],
            &other[3..60],
            &again,
        ] {
            data.extend(part);
        }
        data
    }

    /// That in LZMA, as liblzma packs it by default.
    const USUAL: &[&str] = &[
        "5d00008000ffffffffffffffff0000687ebf0a87476538ca032bf8673435ab2de1f1b663d5cbd9b83c8199f1",
        "7844f0844cc82ae90cda1010172fd6a4d1dc837016fa138f6b75fb4cecfd9b658757dc8331d84c52ddf85b9d",
        "8664b6dd2c3096486ce1ce18f067a829dce88fc743a1d512e7a503498e0dc6bcb65724369ae0b0115672af5e",
        "35f0d97e1e49f72b770d2d106dc97e47515a758861a3ab26ff7845d1b8186f33689885904182702cd2810a84",
        "ed21cdd02dc52f9b76000e9d856607e2693c5ed1e6d127ef85e1bc1b9bdba6f89305f1f7129be3fd8380a3c0",
        "fb7924f1bfad9779e2a2d0fd7e86b58771a32f7dbdb22f6c5110955fa36baecddb759fa3aeca159c9c17e97c",
        "81e4d2b13b2a9808a1065fe03df8684c1e3447d968a4ddf9c1eab200c2694b8b45516ab4cf734a4118e7d6d0",
        "a51b5f026764656fc1947d0feae4a96e8dabf382d6b65f5019cc4a94bb9c85d54830a33a28d7a35b5e551c8c",
        "23bfd581fe5057d22de455198919539fc98ec8758fa19ca5daccf821f66e2bf62cff656f73ad7701489d47b2",
        "50554dc6063795c702841f787691dce29ffed32517",
    ];
    /// With one bit of the byte before, two of the position, none of it for matches.
    const UNUSUAL: &[&str] = &[
        "1300000100ffffffffffffffff0000693ab80226ebd4826515bf829cd1cc34fc467de09ad4ef2f57f30e8087",
        "6e41cdcb14d1ee8a80d6b8dbeb23b93c48d49fcca0d3356655f8cd1ebf53fd5312de6e444385d05bd75a1ade",
        "4f6335f751777b32df7f0e212e374c9565946df43bd11ac7b2ce24c0d24e93bf5efe2c318a9204bd8340097b",
        "58256d7438e17ec317aa257db4697af869368cadf7d78aada0ea0243b5649d19803e3ce225bdb695bb855eee",
        "312e6969bdf5ae53f7cf5c4ee0d6502555239752fe65ce2185455e231f37c4abfd3fe415bd4ef8fad807d453",
        "b0e07e6b03c7bf057c114b06a11991af52d84b0eb214bdd806c825afa2378b2164dd3b641b411d49c6412c46",
        "c2f2aa994a60e48053bbceaee052407e4667b406778b3b2a264f693958a6188d42a8006b9c152a7a82afdaa2",
        "87751fe5100159d910c8334945c2e3796d4b00c309d7c702362af349ebe02ddcbfd749f49567afd8b483d391",
        "e83b9cbb6c24620c5ef2c1e15cee4dc00177f427876f878d46e02e826b28451df9d6f4576bc182309ce3a631",
        "e91a5105d851a6840d417009d9181493bfff3f720500",
    ];

    fn bytes(lines: &[&str]) -> Vec<u8> {
        let digits = lines.concat();
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).unwrap();
            u8::from_str_radix(pair, 16).unwrap()
        };
        digits.as_bytes().chunks(2).map(byte).collect()
    }

    pub(in super::super) fn packed() -> Vec<u8> {
        bytes(USUAL)
    }

    /// All that comes of a stream in pieces of `cut` bytes into rooms of `room`.
    fn decoded(stream: &[u8], cut: usize, room: usize) -> (Vec<u8>, Outcome) {
        let mut lzma = Lzma::new(1 << 12);
        lzma.reset(false);
        let (mut all, mut last) = (Vec::new(), Outcome::More);
        for piece in stream.chunks(cut) {
            let mut rest = piece;
            loop {
                let mut place = vec![0; room];
                let (used, made, outcome) = lzma.step(rest, &mut place);
                assert!(used <= rest.len() && made <= room);
                all.extend(&place[..made]);
                rest = &rest[used..];
                last = outcome;
                if outcome != Outcome::Full {
                    break;
                }
            }
            if matches!(last, Outcome::Failed | Outcome::Ended) {
                break;
            }
        }
        (all, last)
    }

    #[test]
    fn what_liblzma_packs_in_every_cut_and_room() {
        for stream in [bytes(USUAL), bytes(UNUSUAL)] {
            for cut in [1, 2, 3, 19, 21, 400, 4000] {
                for room in [1, 7, 4096] {
                    let (data, outcome) = decoded(&stream, cut, room);
                    assert!(
                        data == plain(),
                        "cut {cut}, room {room}: {} bytes",
                        data.len()
                    );
                    assert_eq!(outcome, Outcome::Ended, "cut {cut}, room {room}");
                }
            }
        }
    }

    #[test]
    fn a_length_in_the_head_ends_it() {
        let mut stream = bytes(USUAL);
        stream[5..13].copy_from_slice(&1000u64.to_le_bytes());
        let (data, outcome) = decoded(&stream, 50, 4096);
        assert_eq!((&data[..], outcome), (&plain()[..1000], Outcome::Ended));
    }

    #[test]
    fn any_bytes_are_bounded_and_the_same_for_every_cut() {
        let packed = bytes(USUAL);
        let mut seed = 7u32;
        for round in 0..400 {
            let mut stream = packed.clone();
            for _ in 0..=round % 5 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (seed >> 8) as usize % stream.len();
                stream[at] ^= (seed as u8) | 1;
            }
            let room = 1 << 17;
            let (whole, end) = decoded(&stream, stream.len(), room);
            for cut in [1, 13] {
                let (parts, _) = decoded(&stream, cut, room);
                assert!(whole == parts, "round {round}, cut {cut}, {end:?}");
            }
        }
        // More context bits than there is room for, and a range coder that begins wrongly.
        let mut wrong = packed.clone();
        wrong[0] = 8 + 9 * 4;
        assert_eq!(decoded(&wrong, 100, 4096), (Vec::new(), Outcome::Failed));
        let mut wrong = packed;
        wrong[13] = 1;
        assert_eq!(decoded(&wrong, 1000, 4096), (Vec::new(), Outcome::Failed));
    }
}
