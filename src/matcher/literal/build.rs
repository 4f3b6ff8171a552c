//! Compiles a set of literals: chooses their windows and fills the filters and tables.

use std::collections::HashMap;

use super::anchored::Anchored;
use super::background::Background;
use super::filter::{Classes, ClassesBy, PLACES, Windows};
use super::table::{CLASS_LENGTHS, Store, Window};
use super::{Anchor, LENGTH_MAX, Literal, Literals, Path};

/// Shortest literal that has a window of four bytes for each of four residues.
const STRIDE_FOUR_MIN: usize = 7;

/// A window so common (twice a logarithm, see `Background::cost`) passes once in a few thousand
/// positions: its literal goes to the byte classes if four of its bytes are rarer by `RARER`.
const COMMON: u32 = 16;
const RARER: u32 = 6;
/// Bits of a word of the bit table.
const WORD_BITS: u64 = 32;

/// Classes of windows (`CLASS_LENGTHS`) that the hash filter knows, longest first.
const WINDOW_CLASSES: [usize; 3] = [5, 3, 2];

/// Which literals go to the byte classes: how sharp those are differs between paths.
#[derive(Clone, Copy)]
struct Limits {
    /// Sets of no more floating literals than this take the byte classes alone.
    small_set: usize,
    /// Where no more literals than this are shorter than seven bytes, those take the byte classes
    /// and the others are looked for at every fourth position.
    short: usize,
    /// So many literals of four bytes still go to the byte classes, where those are needed anyway.
    fours: usize,
    /// Windows of the byte classes at most, with those of common literals; 0: of no common ones.
    with_common: usize,
}

impl Limits {
    /// Measured: whole bytes with AVX-512 on Intel's family 6 model 207, halves with AVX2 on AMD's
    /// family 25 model 1 (benches/record).
    fn of(path: Path) -> Limits {
        match path.classes_by() {
            ClassesBy::WholeBytes => Limits {
                small_set: 192,
                short: 224,
                fours: 96,
                with_common: 224,
            },
            ClassesBy::Halves => Limits {
                small_set: 48,
                short: 48,
                fours: 12,
                with_common: 224,
            },
            ClassesBy::OneByOne => Limits {
                small_set: 24,
                short: 24,
                fours: 6,
                with_common: 0,
            },
        }
    }
}

impl Literals {
    /// Compiles a set, for the path by which it will be scanned; any other finds the same. Literals
    /// are numbered in their order.
    ///
    /// # Errors
    /// A literal is empty or longer than [`LENGTH_MAX`]: its number.
    pub fn build(
        literals: &[Literal],
        background: &Background,
        path: Path,
    ) -> Result<Literals, usize> {
        let bad = |literal: &Literal| !(1..=LENGTH_MAX).contains(&literal.bytes.len());
        if let Some(number) = literals.iter().position(bad) {
            return Err(number);
        }
        let mut store = Store::default();
        for literal in literals {
            store.push(literal);
        }
        store.finish();
        let floating: Vec<(u32, &Literal)> = (0u32..)
            .zip(literals)
            .filter(|(_, literal)| literal.anchor == Anchor::Floating)
            .collect();
        let of_length = |length| {
            let same = floating.iter().filter(|(_, l)| l.bytes.len() == length);
            same.count()
        };
        let any_short = (1..4).any(|length| of_length(length) > 0);
        let limits = Limits::of(path);
        let below_seven: usize = (1..STRIDE_FOUR_MIN).map(of_length).sum();
        let (short_max, stride) = match () {
            () if floating.len() <= limits.small_set => (usize::MAX, 4),
            () if below_seven <= limits.short => (STRIDE_FOUR_MIN - 1, 4),
            () if any_short && of_length(4) <= limits.fours => (4, 2),
            () => (3, 2),
        };
        let (mut long, mut short) = (Vec::new(), Vec::new());
        let mut crowd = Crowd::default();
        let is_short = |literal: &Literal| literal.bytes.len() <= short_max;
        let room = limits.with_common;
        let common = common(&floating, (short_max, stride), room, background);
        for (number, literal) in &floating {
            let folded = literal.bytes.to_ascii_lowercase();
            if is_short(literal) || common.binary_search(number).is_ok() {
                short.push(short_window(*number, &folded, background));
            } else {
                for residue in 0..stride {
                    let at = (residue, stride);
                    long.push(crowd.choose(*number, &folded, at, background));
                }
            }
        }
        Ok(Literals {
            store,
            windows: (!long.is_empty()).then(|| Windows::build(&long, stride, literals)),
            classes: (!short.is_empty())
                .then(|| Classes::build(&short, literals, background, path.classes_by())),
            starts: Anchored::build(literals, false),
            ends: Anchored::build(literals, true),
            count: literals.len(),
            longest: floating
                .iter()
                .map(|(_, l)| l.bytes.len())
                .max()
                .unwrap_or(0),
        })
    }
}

/// The literals of more than `short_max` bytes that go to the byte classes all the same: at some
/// residue all their windows are common. The most common first, while there is room; in order.
fn common(
    floating: &[(u32, &Literal)],
    (short_max, stride): (usize, usize),
    mut room: usize,
    back: &Background,
) -> Vec<u32> {
    let mut common = Vec::new();
    for (number, literal) in floating {
        if literal.bytes.len() <= short_max {
            room = room.saturating_sub(1);
            continue;
        }
        let folded = literal.bytes.to_ascii_lowercase();
        let of_residue = |residue: usize| {
            let offsets = (residue..).step_by(stride);
            let size = CLASS_LENGTHS[window_class(residue, folded.len())];
            let windows = offsets.map_while(|at| folded.get(at..at + size));
            windows.map(|bytes| back.cost(bytes)).min()
        };
        let worst = (0..stride).filter_map(of_residue).max().unwrap_or(0);
        let rarest = folded.windows(PLACES).map(|bytes| back.cost(bytes)).min();
        if worst >= COMMON && rarest.is_some_and(|rarest| rarest + RARER <= worst) {
            common.push((worst, *number));
        }
    }
    common.sort_unstable_by_key(|(worst, number)| (std::cmp::Reverse(*worst), *number));
    common.truncate(room);
    let mut numbers: Vec<u32> = common.into_iter().map(|(_, number)| number).collect();
    numbers.sort_unstable();
    numbers
}

/// Class of a literal's windows at offsets of a residue: the longest that there is room for.
fn window_class(residue: usize, length: usize) -> usize {
    let fits = |class: &&usize| residue + CLASS_LENGTHS[**class] <= length;
    *WINDOW_CLASSES.iter().find(fits).unwrap_or(&2)
}

/// How many literals have a window already, and by the first four bytes of their windows, which
/// choose the word of the bit table.
#[derive(Default)]
struct Crowd {
    windows: HashMap<(usize, u64), u64>,
    words: HashMap<u32, u64>,
}

impl Crowd {
    /// The window of a literal at offsets of one residue: the longest that there is room for, at
    /// the rarest and emptiest place.
    fn choose(
        &mut self,
        literal: u32,
        folded: &[u8],
        (residue, stride): (usize, usize),
        back: &Background,
    ) -> Window {
        let class = window_class(residue, folded.len());
        let size = CLASS_LENGTHS[class];
        let mut best = (u64::MAX, residue, 0);
        for offset in (residue..).step_by(stride) {
            let Some(bytes) = folded.get(offset..offset + size) else {
                break;
            };
            let key = word(bytes);
            let owners = self.windows.get(&(class, key)).copied().unwrap_or(0);
            let beside = self.words.get(&(key as u32)).copied().unwrap_or(0);
            let share = |bytes: &[u8]| 1u64 << (back.cost(bytes) / 2);
            // What looks at all owners, and what is let through by a crowded word.
            let word = share(bytes.get(..PLACES).unwrap_or(bytes)) * beside / WORD_BITS;
            let score = share(bytes) * (1 + owners) + owners + word;
            if score < best.0 {
                best = (score, offset, key);
            }
        }
        let (_, offset, key) = best;
        *self.windows.entry((class, key)).or_default() += 1;
        *self.words.entry(key as u32).or_default() += 1;
        Window {
            key: [key, 0],
            class,
            literal,
            offset,
            whole: false,
        }
    }
}

/// The window of a short literal, or of one of a small set: up to four bytes, the rarest.
fn short_window(literal: u32, folded: &[u8], background: &Background) -> Window {
    let size = folded.len().min(PLACES);
    let cost = |offset: &usize| match folded.get(*offset..offset + size) {
        Some(bytes) if size >= 3 => background.cost(bytes),
        _ => 0,
    };
    let offset = (0..=folded.len() - size).min_by_key(cost).unwrap_or(0);
    Window {
        key: [word(&folded[offset..offset + size]), 0],
        class: size - 1,
        literal,
        offset,
        whole: false,
    }
}

/// Up to eight bytes, first byte lowest.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}
