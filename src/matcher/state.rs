//! State of inspected flows: flowbits, flowints and the numbers of the stream windows, in slabs
//! from a fixed pool. What many flows share (thresholds, hostbits) is host.rs's.
//!
//! A slab is taken when a flow first needs one and given back when it ends. An empty pool is a
//! counted loss: the flow is inspected on, without memory.

use super::chunk::Chunk;
use super::variables::FlowValues;
use crate::event::{Variable, Variables};
use crate::memory::prefetch::prefetch_read;
use crate::rules::signature::IntOperator;

/// In place of a flow among the parsers' flows: none of them will ever know it.
pub const FAILED: u32 = u32::MAX - 1;
/// A slab number that says there is none.
pub const NONE: u32 = u32::MAX;

/// Verdict on a whole flow, as the detection line keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum FlowVerdict {
    /// Goes on being inspected.
    #[default]
    Inspect = 0,
    /// A rule condemned it.
    Drop = 1,
    /// A pass rule matched: the rest goes on without inspection.
    Pass = 2,
    /// A rule with `bypass` matched.
    Bypass = 3,
}

impl FlowVerdict {
    /// The verdict behind a byte of the detection line; unknown ones inspect.
    pub fn from_byte(byte: u8) -> FlowVerdict {
        match byte {
            1 => FlowVerdict::Drop,
            2 => FlowVerdict::Pass,
            3 => FlowVerdict::Bypass,
            _ => FlowVerdict::Inspect,
        }
    }
}

/// What is kept of every inspected flow: one line of memory.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    windows: [u32; 2],
    /// The flow among the parsers' flows.
    app: u32,
    /// Stream offsets up to which the parser was fed.
    offsets: [u32; 2],
    /// What a tap knows of acknowledgments and of messages' ends.
    chunks: [Chunk; 2],
    /// Directions of which was seen what they speak, a bit each.
    known: u8,
    /// Directions whose next packet is one of rules about the detection of protocols, likewise.
    told: u8,
    /// Whether rules may look at its payload.
    seal: Seal,
}

/// Whether the payload of a flow is encrypted, and so hidden from rules about payload.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(u8)]
pub enum Seal {
    /// It is plain.
    #[default]
    Open,
    /// The client's is encrypted, which its receiver has not answered yet: of a tap's packets rules
    /// about single packets still see it, as in Suricata, whose parsers see acknowledged bytes.
    ByClient,
    /// The server's is, likewise.
    ByServer,
    /// It is hidden.
    Closed,
}

const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    fn new() -> Line {
        Line {
            windows: [NONE; 2],
            app: NONE,
            offsets: [0; 2],
            chunks: [Chunk::default(); 2],
            known: 0,
            told: 0,
            seal: Seal::Open,
        }
    }
}

/// Slabs of one match stage.
pub struct Slabs {
    free: Vec<u32>,
    lines: Vec<Line>,
    bits: Vec<u64>,
    words_per_slab: usize,
    ints: Vec<u32>,
    ints_set: Vec<u64>,
    ints_per_slab: usize,
    int_words_per_slab: usize,
    /// Variables of flows (`flowvar`).
    pub variables: FlowValues,
}

impl Slabs {
    /// `count` slabs with room for that many flowbits and flowints.
    pub fn new(count: usize, flowbits: usize, flowints: usize) -> Slabs {
        let words_per_slab = flowbits.div_ceil(64);
        let int_words_per_slab = flowints.div_ceil(64);
        Slabs {
            free: (0..count as u32).rev().collect(),
            lines: vec![Line::new(); count],
            bits: vec![0; count * words_per_slab],
            words_per_slab,
            ints: vec![0; count * flowints],
            ints_set: vec![0; count * int_words_per_slab],
            ints_per_slab: flowints,
            int_words_per_slab,
            variables: FlowValues::new(count, false),
        }
    }

    /// The same with room for variables, if they are `wanted`.
    pub fn with_variables(self, wanted: bool) -> Slabs {
        let variables = FlowValues::new(self.lines.len(), wanted);
        Slabs { variables, ..self }
    }

    /// Whether the flow's payload is hidden.
    pub fn seal(&self, slab: u32) -> Seal {
        self.lines
            .get(slab as usize)
            .map_or(Seal::Open, |line| line.seal)
    }

    /// Notes whether the flow's payload is hidden.
    pub fn set_seal(&mut self, slab: u32, seal: Seal) {
        if let Some(line) = self.lines.get_mut(slab as usize) {
            line.seal = seal;
        }
    }

    /// Takes an empty slab, or `None` when all are in use.
    pub fn take(&mut self) -> Option<u32> {
        let slab = self.free.pop()?;
        let at = slab as usize;
        if let Some(line) = self.lines.get_mut(at) {
            *line = Line::new();
        }
        clear(&mut self.bits, at, self.words_per_slab);
        clear(&mut self.ints_set, at, self.int_words_per_slab);
        Some(slab)
    }

    /// Gives a slab back; its windows must have been given back before.
    pub fn give(&mut self, slab: u32) {
        debug_assert!(!self.free.contains(&slab), "a slab is given back once");
        self.variables.clear(slab);
        self.free.push(slab);
    }

    fn line(&self, slab: u32) -> Option<&Line> {
        self.lines.get(slab as usize)
    }

    /// Asks for a slab's line ahead of its use.
    #[inline(always)]
    pub fn prefetch(&self, slab: u32) {
        if let Some(line) = self.line(slab) {
            prefetch_read(line);
        }
    }

    /// Slabs not in use.
    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// Numbers of the windows of both directions.
    pub fn windows(&self, slab: u32) -> [u32; 2] {
        self.line(slab).map_or([NONE; 2], |line| line.windows)
    }

    /// Sets the window of one direction (0 to the server).
    pub fn set_window(&mut self, slab: u32, direction: usize, window: u32) {
        let line = self.lines.get_mut(slab as usize);
        if let Some(place) = line.and_then(|line| line.windows.get_mut(direction)) {
            *place = window;
        }
    }

    /// The flow among the parsers' flows; `NONE` without a slab, and where there is none (any more).
    pub fn app(&self, slab: u32) -> u32 {
        let app = self.line(slab).map(|line| line.app);
        app.filter(|app| *app != FAILED).unwrap_or(NONE)
    }

    /// Whether no parser knows what the flow speaks, so that none follows it any more.
    pub fn has_failed(&self, slab: u32) -> bool {
        self.line(slab).is_some_and(|line| line.app == FAILED)
    }

    /// Sets it.
    pub fn set_app(&mut self, slab: u32, app: u32) {
        if let Some(line) = self.lines.get_mut(slab as usize) {
            line.app = app;
        }
    }

    /// Whether a packet is one of rules about the detection of protocols: the first of its direction
    /// since that direction's protocol was told. `shown` says which told theirs. Inline, and of
    /// datagrams, the next packet is one, too, and of datagrams that of the other direction, as in
    /// Suricata.
    pub fn is_told(
        &mut self,
        slab: u32,
        direction: crate::packet::Direction,
        shown: [bool; 2],
        (inline, datagram): (bool, bool),
    ) -> bool {
        let Some(Line { known, told, .. }) = self.lines.get_mut(slab as usize) else {
            return false;
        };
        let shown = u8::from(shown[0]) | u8::from(shown[1]) << 1;
        let new = shown & !*known;
        *known |= shown;
        let (here, other) = (1 << direction.index(), 1 << direction.opposite().index());
        let due = (*told | new) & here != 0;
        let again = if inline || datagram { new & here } else { 0 };
        let answer = datagram && new & here != 0;
        *told = (*told & other) | again | new & other | if answer { other } else { 0 };
        due
    }

    /// Takes a piece of the stream at `offset` in; gives the bytes that are missing before it.
    pub fn turn_offset(
        &mut self,
        slab: u32,
        direction: crate::packet::Direction,
        offset: u32,
        length: u32,
    ) -> u32 {
        let Some(known) = self
            .lines
            .get_mut(slab as usize)
            .and_then(|line| line.offsets.get_mut(direction.index()))
        else {
            return 0;
        };
        if length == 0 {
            return 0;
        }
        let gap = offset.wrapping_sub(*known);
        *known = offset.wrapping_add(length);
        if gap as i32 > 0 { gap } else { 0 }
    }

    /// What is known of a direction's chunks; `None` without a slab.
    pub fn chunk_mut(
        &mut self,
        slab: u32,
        direction: crate::packet::Direction,
    ) -> Option<&mut Chunk> {
        let line = self.lines.get_mut(slab as usize)?;
        line.chunks.get_mut(direction.index())
    }

    /// Whether a flowbit is set; never without a slab.
    pub fn bit(&self, slab: u32, bit: u32) -> bool {
        slab != NONE && test(&self.bits, slab, self.words_per_slab, bit)
    }

    /// Sets or clears a flowbit.
    pub fn set_bit(&mut self, slab: u32, bit: u32, value: bool) {
        assign(&mut self.bits, slab, self.words_per_slab, bit, value);
    }

    /// Value of a flowint, if it has one.
    pub fn int(&self, slab: u32, name: u32) -> Option<u32> {
        if slab == NONE || !test(&self.ints_set, slab, self.int_words_per_slab, name) {
            return None;
        }
        let at = slab as usize * self.ints_per_slab + name as usize;
        self.ints.get(at).copied()
    }

    /// Applies a writing operator. To add to an unset variable sets it; there is nothing to subtract
    /// from. Numbers wrap.
    pub fn update_int(&mut self, slab: u32, name: u32, operator: IntOperator, value: u32) {
        let new = match (operator, self.int(slab, name)) {
            (IntOperator::Set, _) | (IntOperator::Add, None) => value,
            (IntOperator::Add, Some(old)) => old.wrapping_add(value),
            (IntOperator::Subtract, Some(old)) => old.wrapping_sub(value),
            _ => return,
        };
        let at = slab as usize * self.ints_per_slab + name as usize;
        if (name as usize) < self.ints_per_slab
            && let Some(place) = self.ints.get_mut(at)
        {
            *place = new;
            assign(
                &mut self.ints_set,
                slab,
                self.int_words_per_slab,
                name,
                true,
            );
        }
    }
}

impl Slabs {
    /// Whether a flow has a flowbit, a counter or a variable.
    pub fn has_any(&self, slab: u32) -> bool {
        let set = |words, per_slab| numbers(words, slab, per_slab).next().is_some();
        set(&self.bits, self.words_per_slab)
            || set(&self.ints_set, self.int_words_per_slab)
            || self.variables.iter(slab).next().is_some()
    }

    /// Adds the flowbits, counters and variables of a flow to those of an event.
    pub fn tell(&self, slab: u32, told: &mut Variables) {
        let bits = numbers(&self.bits, slab, self.words_per_slab).map(Variable::Bit);
        let counters = numbers(&self.ints_set, slab, self.int_words_per_slab)
            .filter_map(|name| Some(Variable::Counter(name, self.int(slab, name)?)));
        let texts = self.variables.iter(slab);
        let all = bits
            .chain(counters)
            .chain(texts.map(|(name, text)| Variable::OfFlow(name, text)));
        all.for_each(|one| told.push(one));
    }
}

/// Numbers of the bits that a slab has set.
fn numbers(words: &[u64], slab: u32, per_slab: usize) -> impl Iterator<Item = u32> {
    let from = slab as usize * per_slab;
    let of_slab = match slab {
        NONE => &[],
        _ => words.get(from..from + per_slab).unwrap_or(&[]),
    };
    let each = of_slab.iter().zip((0u32..).step_by(64));
    each.filter(|(word, _)| **word != 0)
        .flat_map(|(&word, first)| {
            let set = (0..64).filter(move |bit| word >> bit & 1 != 0);
            set.map(move |bit| first + bit)
        })
}

fn clear(words: &mut [u64], slab: usize, per_slab: usize) {
    if let Some(words) = words.get_mut(slab * per_slab..(slab + 1) * per_slab) {
        words.fill(0);
    }
}

fn test(words: &[u64], slab: u32, per_slab: usize, bit: u32) -> bool {
    let word = bit as usize / 64;
    word < per_slab
        && words
            .get(slab as usize * per_slab + word)
            .is_some_and(|word| word >> (bit % 64) & 1 != 0)
}

fn assign(words: &mut [u64], slab: u32, per_slab: usize, bit: u32, value: bool) {
    let word = bit as usize / 64;
    if word >= per_slab {
        return;
    }
    if let Some(word) = words.get_mut(slab as usize * per_slab + word) {
        let mask = 1 << (bit % 64);
        *word = if value { *word | mask } else { *word & !mask };
    }
}

/// Whether a flowint comparison holds; a variable without a value holds nothing but `isnotset`.
pub fn int_holds(operator: IntOperator, have: Option<u32>, value: u32) -> bool {
    match (operator, have) {
        (IntOperator::IsSet, have) => have.is_some(),
        (IntOperator::IsNotSet, have) => have.is_none(),
        (IntOperator::Set | IntOperator::Add | IntOperator::Subtract, _) => true,
        (_, None) => false,
        (IntOperator::Less, Some(have)) => have < value,
        (IntOperator::LessEqual, Some(have)) => have <= value,
        (IntOperator::Greater, Some(have)) => have > value,
        (IntOperator::GreaterEqual, Some(have)) => have >= value,
        (IntOperator::Equal, Some(have)) => have == value,
        (IntOperator::NotEqual, Some(have)) => have != value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Direction::{self, ToClient as C, ToServer as S};

    #[test]
    fn a_protocol_is_told_in_each_direction() {
        let told = |kind, steps: &[(Direction, [bool; 2])]| {
            let mut slabs = Slabs::new(1, 1, 1);
            let slab = slabs.take().unwrap();
            let mut is_told = |(direction, shown)| {
                let is = slabs.is_told(slab, direction, shown, kind);
                if is { 'x' } else { '.' }
            };
            steps.iter().copied().map(&mut is_told).collect::<String>()
        };
        let (one, both) = ([true, false], [true; 2]);
        // Told by acknowledgments, so of the next packet of the direction.
        let tap = [(C, one), (S, one), (S, both), (C, both), (C, both)];
        assert_eq!(told((false, false), &tap), ".x.x.");
        assert_eq!(told((true, false), &[(S, one); 3]), "xx.");
        let datagrams = [(S, one), (C, both), (S, both), (C, both), (S, both)];
        assert_eq!(told((false, true), &datagrams), "xxxx.");
    }

    #[test]
    fn a_slab_comes_back_empty() {
        let mut slabs = Slabs::new(1, 100, 3);
        let slab = slabs.take().unwrap();
        assert_eq!(slabs.take(), None);
        slabs.set_bit(slab, 99, true);
        slabs.update_int(slab, 2, IntOperator::Subtract, 1);
        assert_eq!(
            slabs.int(slab, 2),
            None,
            "there is nothing to subtract from"
        );
        slabs.update_int(slab, 2, IntOperator::Add, 5);
        slabs.update_int(slab, 2, IntOperator::Subtract, 7);
        assert!(slabs.bit(slab, 99) && !slabs.bit(slab, 98));
        assert_eq!(slabs.int(slab, 2), Some(u32::MAX - 1));
        assert_eq!(slabs.int(slab, 1), None);
        slabs.give(slab);
        let slab = slabs.take().unwrap();
        assert!(!slabs.bit(slab, 99));
        assert_eq!(slabs.int(slab, 2), None);
    }

    #[test]
    fn ids_beyond_the_plan_change_nothing() {
        let mut slabs = Slabs::new(2, 1, 1);
        let (a, b) = (slabs.take().unwrap(), slabs.take().unwrap());
        slabs.set_bit(a, 64, true);
        slabs.update_int(a, 1, IntOperator::Set, 1);
        assert!(!slabs.bit(b, 0) && slabs.int(b, 0).is_none() && !slabs.bit(NONE, 0));
    }

    #[test]
    fn an_unset_flowint_holds_nothing_but_isnotset() {
        assert!(int_holds(IntOperator::IsNotSet, None, 0));
        assert!(!int_holds(IntOperator::Equal, None, 0));
        assert!(int_holds(IntOperator::NotEqual, Some(1), 0));
        assert!(int_holds(IntOperator::GreaterEqual, Some(1), 1));
    }
}
