//! Prefix codes of Brotli (RFC 7932 section 3): reading bits, building a code bit by bit from its
//! description, and reading symbols with it. All codes of a meta-block share one store that holds
//! the largest set that a stream can ask for.

/// Bits of a code at most.
const LENGTH_MAX: usize = 15;
/// Bits that are looked up at once.
const FAST_BITS: u32 = 7;
/// No such code in the table: it is longer.
const LONG: u16 = u16::MAX;
/// Symbols of literals.
pub(super) const LITERALS: u32 = 256;
/// Symbols of all codes of a meta-block at most: literals, commands, distances, block types and
/// lengths, a context map.
const SYMBOLS: usize = 256 * (256 + 704 + 520) + 3 * (258 + 26) + 272;
/// Symbols of one code at most.
const ALPHABET: usize = 704;
/// The order in which lengths of the code of lengths come.
const ORDER: [usize; 18] = [1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// By four bits: length of a code length code, and how many of the bits it takes.
const SHORT_LENGTHS: [(u8, u8); 16] = [
    (0, 2),
    (4, 2),
    (3, 2),
    (2, 3),
    (0, 2),
    (4, 2),
    (3, 2),
    (1, 4),
    (0, 2),
    (4, 2),
    (3, 2),
    (2, 3),
    (0, 2),
    (4, 2),
    (3, 2),
    (5, 4),
];

/// It is no such stream.
#[derive(Debug)]
pub(super) struct Wrong;

/// Bits of a piece, lowest first.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    /// From a bit of the first byte on.
    pub(super) fn new(bytes: &'a [u8], bit: u32) -> Bits<'a> {
        Bits {
            bytes,
            at: bit as usize,
        }
    }

    /// The first byte that is not read to its end, and how many of its bits are.
    pub(super) fn place(&self) -> (usize, u32) {
        (self.at / 8, (self.at % 8) as u32)
    }

    /// The next bits, zeros beyond the end, and how many there are (both 32 at most).
    fn peek(&self) -> (u32, u32) {
        let rest = self.bytes.get(self.at / 8..).unwrap_or(&[]);
        let mut word = [0; 8];
        let count = rest.len().min(5);
        for (place, byte) in word.iter_mut().zip(rest.iter().take(5)) {
            *place = *byte;
        }
        let skip = self.at % 8;
        let bits = (u64::from_le_bytes(word) >> skip) as u32;
        (bits, (8 * count).saturating_sub(skip).min(32) as u32)
    }

    /// The next `count` bits, 25 at most.
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        let (bits, have) = self.peek();
        if have < count {
            return None;
        }
        self.at += count as usize;
        Some(bits & ((1u32 << count) - 1))
    }

    /// On to the next byte. False: a bit that is skipped was set.
    pub(super) fn align(&mut self) -> bool {
        let skip = (8 - self.at % 8) % 8;
        self.take(skip as u32) == Some(0)
    }

    /// A number of block types or codes: 1 to 256.
    pub(super) fn count(&mut self) -> Option<u32> {
        if self.take(1)? == 0 {
            return Some(1);
        }
        let bits = self.take(3)?;
        Some((1 << bits) + 1 + self.take(bits)?)
    }
}

/// One code.
#[derive(Clone, Copy, Default)]
struct Code {
    /// Where its symbols begin.
    first: u32,
    /// Symbols by length.
    counts: [u16; LENGTH_MAX + 1],
    /// Its only symbol takes no bits.
    single: bool,
}

/// Codes by number.
pub(super) struct Codes {
    codes: Box<[Code]>,
    fast: Box<[[u16; 1 << FAST_BITS]]>,
    symbols: Box<[u16]>,
    used: usize,
}

impl Codes {
    /// Room for so many.
    pub(super) fn new(count: usize) -> Codes {
        Codes {
            codes: vec![Code::default(); count].into(),
            fast: vec![[0; 1 << FAST_BITS]; count].into(),
            symbols: vec![0; SYMBOLS].into(),
            used: 0,
        }
    }

    /// Bytes that they take.
    pub(super) const fn size(count: usize) -> usize {
        count * (size_of::<Code>() + (2 << FAST_BITS)) + SYMBOLS * 2
    }

    /// A new meta-block.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Reads a symbol; nothing is taken where bits are missing.
    pub(super) fn read(&self, number: usize, bits: &mut Bits<'_>) -> Option<u16> {
        let code = self.codes.get(number)?;
        if code.single {
            return self.symbols.get(code.first as usize).copied();
        }
        let (word, have) = bits.peek();
        let entry = self.fast.get(number)?[(word & ((1 << FAST_BITS) - 1)) as usize];
        if entry != LONG {
            let length = u32::from(entry >> 10);
            if length > have {
                return None;
            }
            bits.at += length as usize;
            return Some(entry & 1023);
        }
        let (mut value, mut first, mut place) = (0u32, 0u32, code.first);
        for length in 1..=LENGTH_MAX {
            if length as u32 > have {
                return None;
            }
            value |= word >> (length - 1) & 1;
            let count = u32::from(code.counts[length]);
            if value < first + count {
                bits.at += length;
                return self.symbols.get((place + value - first) as usize).copied();
            }
            place += count;
            first = (first + count) << 1;
            value <<= 1;
        }
        // Codes are complete, so that one of them was found.
        None
    }

    /// Makes a code from lengths by symbol.
    fn make(&mut self, number: usize, lengths: &[u8], single: Option<u16>) -> Result<(), Wrong> {
        let mut code = Code {
            first: self.used as u32,
            single: single.is_some(),
            ..Code::default()
        };
        let mut count = 0;
        for length in lengths.iter().filter(|length| **length > 0) {
            code.counts[usize::from(*length) & LENGTH_MAX] += 1;
            count += 1;
        }
        let count = if single.is_some() { 1 } else { count };
        let room = self
            .symbols
            .get_mut(self.used..self.used + count)
            .ok_or(Wrong)?;
        if let (Some(symbol), Some(place)) = (single, room.first_mut()) {
            *place = symbol;
        } else {
            let mut next = [0usize; LENGTH_MAX + 2];
            for length in 1..=LENGTH_MAX {
                next[length + 1] = next[length] + usize::from(code.counts[length]);
            }
            for (symbol, length) in lengths
                .iter()
                .enumerate()
                .filter(|(_, length)| **length > 0)
            {
                let place = &mut next[usize::from(*length) & LENGTH_MAX];
                *room.get_mut(*place).ok_or(Wrong)? = symbol as u16;
                *place += 1;
            }
            let fast = self.fast.get_mut(number).ok_or(Wrong)?;
            fill(fast, &code.counts, room);
        }
        self.used += count;
        *self.codes.get_mut(number).ok_or(Wrong)? = code;
        Ok(())
    }
}

/// The table of short codes.
fn fill(fast: &mut [u16; 1 << FAST_BITS], counts: &[u16; LENGTH_MAX + 1], symbols: &[u16]) {
    *fast = [LONG; 1 << FAST_BITS];
    let mut symbols = symbols.iter();
    let mut value = 0u32;
    for length in 1..=FAST_BITS {
        for _ in 0..counts[length as usize] {
            let Some(symbol) = symbols.next() else {
                return;
            };
            let start = value.reverse_bits() >> (32 - length);
            for place in fast.iter_mut().skip(start as usize).step_by(1 << length) {
                *place = (length as u16) << 10 | symbol;
            }
            value += 1;
        }
        value <<= 1;
    }
}

/// Where the description of a code is read.
#[derive(Clone, Copy, Default, Debug)]
enum Part {
    #[default]
    Start,
    /// Lengths of the code of lengths.
    Lengths(usize),
    /// Lengths of symbols.
    Symbols,
}

/// What came of a step.
pub(super) enum Built {
    Short,
    More,
    Done,
}

/// A code that is being read.
pub(super) struct Build {
    number: usize,
    alphabet: u32,
    part: Part,
    lengths: [u8; ALPHABET],
    /// Lengths of the code of lengths, and a table of it by five bits.
    outer: [u8; 18],
    table: [(u8, u8); 32],
    space: i32,
    symbol: usize,
    last: u8,
    repeated: u8,
    repeat: u32,
}

impl Default for Build {
    fn default() -> Build {
        Build {
            number: 0,
            alphabet: 0,
            part: Part::Start,
            lengths: [0; ALPHABET],
            outer: [0; 18],
            table: [(0, 0); 32],
            space: 0,
            symbol: 0,
            last: 8,
            repeated: 0,
            repeat: 0,
        }
    }
}

impl Build {
    /// Begins a code of so many symbols.
    pub(super) fn begin(&mut self, number: usize, alphabet: u32) {
        (self.number, self.alphabet) = (number, alphabet);
        self.part = Part::Start;
        self.lengths = [0; ALPHABET];
    }

    /// Reads on; all or nothing of a part.
    pub(super) fn step(&mut self, bits: &mut Bits<'_>, codes: &mut Codes) -> Result<Built, Wrong> {
        let start = *bits;
        let built = match self.part {
            Part::Start => self.start(bits, codes)?,
            Part::Lengths(place) => self.length(bits, place)?,
            Part::Symbols => self.symbol(bits, codes)?,
        };
        let Some(built) = built else {
            *bits = start;
            return Ok(Built::Short);
        };
        Ok(built)
    }

    /// Simple codes are whole at once.
    fn start(&mut self, bits: &mut Bits<'_>, codes: &mut Codes) -> Result<Option<Built>, Wrong> {
        let Some(skip) = bits.take(2) else {
            return Ok(None);
        };
        if skip != 1 {
            self.outer = [0; 18];
            self.space = 32;
            self.part = Part::Lengths(skip as usize);
            return Ok(Some(Built::More));
        }
        let width = u32::BITS - (self.alphabet - 1).leading_zeros();
        let Some(count) = bits.take(2) else {
            return Ok(None);
        };
        let mut symbols = [0usize; 4];
        for place in symbols.iter_mut().take(count as usize + 1) {
            let Some(symbol) = bits.take(width) else {
                return Ok(None);
            };
            if symbol >= self.alphabet {
                return Err(Wrong);
            }
            *place = symbol as usize;
        }
        let deep = match count {
            3 => bits.take(1),
            _ => Some(0),
        };
        let Some(deep) = deep else {
            return Ok(None);
        };
        let lengths: &[u8] = match (count, deep) {
            (0, _) => &[],
            (1, _) => &[1, 1],
            (2, _) => &[1, 2, 2],
            (_, 0) => &[2, 2, 2, 2],
            _ => &[1, 2, 3, 3],
        };
        for (symbol, length) in symbols.iter().zip(lengths) {
            let place = self.lengths.get_mut(*symbol).ok_or(Wrong)?;
            if *place != 0 {
                return Err(Wrong);
            }
            *place = *length;
        }
        let single = (count == 0).then_some(symbols[0] as u16);
        codes.make(self.number, self.used(), single)?;
        Ok(Some(Built::Done))
    }

    fn used(&self) -> &[u8] {
        self.lengths
            .get(..self.alphabet as usize)
            .unwrap_or(&self.lengths)
    }

    fn length(&mut self, bits: &mut Bits<'_>, place: usize) -> Result<Option<Built>, Wrong> {
        if let Some(which) = ORDER.get(place).filter(|_| self.space > 0) {
            let (word, have) = bits.peek();
            let (length, taken) = SHORT_LENGTHS[(word & 15) as usize];
            if u32::from(taken) > have {
                return Ok(None);
            }
            bits.at += usize::from(taken);
            self.outer[*which] = length;
            if length > 0 {
                self.space -= 32 >> length;
            }
            self.part = Part::Lengths(place + 1);
            return Ok(Some(Built::More));
        }
        let count = self.outer.iter().filter(|length| **length > 0).count();
        if count != 1 && self.space != 0 {
            return Err(Wrong);
        }
        self.tabulate(count == 1);
        (self.space, self.symbol, self.last) = (1 << LENGTH_MAX, 0, 8);
        (self.repeat, self.repeated) = (0, 0);
        self.part = Part::Symbols;
        Ok(Some(Built::More))
    }

    /// The code of lengths, by five bits: length and bits taken.
    fn tabulate(&mut self, single: bool) {
        if single {
            let only = self.outer.iter().position(|length| *length > 0);
            self.table = [(only.unwrap_or(0) as u8, 0); 32];
            return;
        }
        let mut value = 0u32;
        for length in 1..=5u32 {
            let of = |(_, given): &(usize, &u8)| u32::from(**given) == length;
            for (which, _) in self.outer.iter().enumerate().filter(of) {
                let start = value.reverse_bits() >> (32 - length);
                for place in self
                    .table
                    .iter_mut()
                    .skip(start as usize)
                    .step_by(1 << length)
                {
                    *place = (which as u8, length as u8);
                }
                value += 1;
            }
            value <<= 1;
        }
    }

    fn symbol(&mut self, bits: &mut Bits<'_>, codes: &mut Codes) -> Result<Option<Built>, Wrong> {
        let alphabet = self.alphabet as usize;
        if self.symbol >= alphabet || self.space <= 0 {
            if self.space != 0 {
                return Err(Wrong);
            }
            codes.make(self.number, self.used(), None)?;
            return Ok(Some(Built::Done));
        }
        let (word, have) = bits.peek();
        let (length, taken) = self.table[(word & 31) as usize];
        let extra = u32::from(length.saturating_sub(14)) * u32::from(length >= 16);
        if u32::from(taken) + extra > have {
            return Ok(None);
        }
        bits.at += usize::from(taken) + extra as usize;
        let (length, count) = if length < 16 {
            self.repeat = 0;
            (length, 1)
        } else {
            let more = (word >> taken) & ((1 << extra) - 1);
            let length = if length == 16 { self.last } else { 0 };
            if self.repeated != length {
                (self.repeat, self.repeated) = (0, length);
            }
            let before = self.repeat;
            // The alphabet bounds it: more ends the stream below.
            let base = before.saturating_sub(2) << extra;
            self.repeat = base + more + 3;
            (length, (self.repeat - before) as usize)
        };
        let room = self.lengths.get_mut(self.symbol..self.symbol + count);
        room.filter(|_| self.symbol + count <= alphabet)
            .ok_or(Wrong)?
            .fill(length);
        self.symbol += count;
        if length > 0 {
            self.last = length;
            self.space -= (count as i32) << (LENGTH_MAX as u32 - u32::from(length));
        }
        Ok(Some(Built::More))
    }
}
