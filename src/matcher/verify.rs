//! Verification: the tests of one signature on one buffer, with the frames, retries and negations
//! of RULES.md 6.3. What a packet's header says is header.rs's, numbers are number.rs's.
//!
//! A buffer may still grow (a stream). A test that holds only because of what has not arrived yet
//! (a negated content whose window reaches past the end, `isdataat:!`, `endswith`) makes the match
//! *unsettled*; the stage asks again when the buffer has grown or ended. A settled match stays one
//! whatever follows, and that is what makes stream matches independent of segmentation.
//!
//! ```text
//! run(step, offset):            offset = end of the last match in this buffer
//!   content, pcre               each occurrence in turn while the next test is relative to it
//!   others                      hold or not, and may move offset
//! No = this way fails, try the next occurrence; Never = nothing before can mend it
//! ```

mod lack;
mod pcre;

pub use lack::Lack;
use pcre::compile_pcre;
pub use pcre::{PcreStep, asked};

use super::asn1;
use super::base64::{self, DECODED_MAX};
use super::find::Literal;
use super::number;
use super::pcre::{Pattern, Patterns};
use super::regex::RegexCache;
use super::variables::Values;
use crate::rules::entropy::Entropy;
use crate::rules::signature::{
    Asn1, Base64Decode, ByteExtract, ByteFormat, ByteJump, ByteMath, ByteTest, Compare, Content,
    DatasetTest, IsDataAt, Number, Test,
};

/// Variables of one signature, the most that are kept.
pub const VARIABLES_MAX: usize = 32;
/// Values of `isdataat` variables from here on are taken as beyond any buffer.
const POSITION_MAX: u64 = 100_000_000;
/// Bytes that `byte_math` computes with, as text and as a binary number.
const MATH_TEXT_MAX: i64 = 10;
const MATH_BINARY_MAX: i64 = 4;
/// Bytes that a search may pass for one unit of budget.
const BYTES_PER_STEP: usize = 256;

/// A compiled test.
#[derive(Clone, Debug)]
pub enum Step {
    /// `content`.
    Content(ContentStep),
    /// `pcre`.
    Pcre(Box<PcreStep>),
    /// `isdataat`.
    IsDataAt(IsDataAt),
    /// `entropy`.
    Entropy(Entropy),
    /// `asn1`.
    Asn1(Asn1),
    /// `byte_test`.
    ByteTest(ByteTest),
    /// `byte_jump`.
    ByteJump(ByteJump),
    /// `byte_extract`.
    ByteExtract(ByteExtract),
    /// `byte_math`.
    ByteMath(ByteMath),
    /// `bsize`.
    Size(Compare),
    /// `dataset`.
    Dataset(DatasetTest),
    /// `base64_decode` with the tests on what it yields.
    Base64 {
        /// What to decode.
        decode: Base64Decode,
        /// Tests on the decoded bytes; when they hold, the whole buffer does.
        then: Box<[Step]>,
    },
}

impl Step {
    /// Whether the test can hold for want of bytes that may still come.
    pub fn can_be_contradicted(&self) -> bool {
        match self {
            Step::Content(content) => content.negated || content.endswith,
            Step::Pcre(pcre) => pcre.can_be_contradicted(),
            Step::IsDataAt(test) => test.negated,
            Step::ByteJump(jump) => jump.from_end,
            Step::Size(_) | Step::Entropy(_) | Step::Dataset(_) | Step::Base64 { .. } => true,
            Step::Asn1(_) | Step::ByteTest(_) | Step::ByteExtract(_) | Step::ByteMath(_) => false,
        }
    }
}

/// A compiled content.
#[derive(Clone, Debug)]
pub struct ContentStep {
    literal: Literal,
    negated: bool,
    offset: Option<Number>,
    depth: Option<Number>,
    distance: Option<Number>,
    within: Option<Number>,
    endswith: bool,
    relative_next: bool,
}

/// Compiles the tests of one buffer; regexes are taken from `patterns` or added to them.
///
/// # Errors
/// A pattern that the regex engine refuses, in words.
pub fn compile(tests: &[Test], patterns: &mut Patterns<'_>) -> Result<Box<[Step]>, String> {
    tests
        .iter()
        .map(|test| compile_one(test, patterns))
        .collect()
}

fn compile_one(test: &Test, patterns: &mut Patterns<'_>) -> Result<Step, String> {
    Ok(match test {
        Test::Content(content) => Step::Content(compile_content(content)),
        Test::Pcre(pcre) => Step::Pcre(Box::new(compile_pcre(pcre, patterns)?)),
        Test::IsDataAt(test) => Step::IsDataAt(*test),
        Test::Asn1(test) => Step::Asn1(*test),
        Test::ByteTest(test) => Step::ByteTest(test.clone()),
        Test::ByteJump(jump) => Step::ByteJump(jump.clone()),
        Test::ByteExtract(extract) => Step::ByteExtract(extract.clone()),
        Test::ByteMath(math) => Step::ByteMath(math.clone()),
        Test::Size(compare) => Step::Size(*compare),
        Test::Entropy(test) => Step::Entropy(*test),
        Test::Dataset(test) => Step::Dataset(test.clone()),
        Test::Base64 { decode, then } => Step::Base64 {
            decode: *decode,
            then: compile(then, patterns)?,
        },
    })
}

fn compile_content(content: &Content) -> ContentStep {
    let whole = Number::Literal(content.bytes.len() as i64);
    ContentStep {
        literal: Literal::new(&content.bytes, content.nocase),
        negated: content.negated,
        offset: content.offset,
        depth: if content.startswith {
            Some(whole)
        } else {
            content.depth
        },
        distance: content.distance,
        within: content.within,
        endswith: content.endswith,
        relative_next: content.relative_next,
    }
}

/// Bytes under inspection.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The bytes at hand.
    pub data: &'a [u8],
    /// Bytes of the buffer before them, which are no longer at hand (streams).
    pub base: u64,
    /// Nothing will follow.
    pub end: bool,
}

impl<'a> View<'a> {
    /// A buffer that is complete.
    pub fn whole(data: &'a [u8]) -> View<'a> {
        View {
            data,
            base: 0,
            end: true,
        }
    }

    /// Position in `data` of an absolute one; negative where it lies before.
    fn local(&self, absolute: i64) -> i64 {
        absolute.saturating_sub_unsigned(self.base)
    }
}

/// What the tests say of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// They hold, whatever follows.
    Match,
    /// They hold as long as nothing to the contrary follows.
    Unsettled,
    /// They do not hold.
    No,
}

/// What a rest of the steps says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Holds { settled: bool },
    No,
    Never,
}

use Rest::{Never, No};

/// How often the verifications of a packet were cut short.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cut {
    /// By the recursion or step limit.
    pub budget: u32,
    /// By a limit of the regex engine.
    pub pcre: u32,
}

/// Room that verification works in, and its budgets.
pub struct Scratch {
    variables: [u64; VARIABLES_MAX],
    recursion: u32,
    recursion_limit: u32,
    /// Objects that `asn1` looks at.
    pub(super) asn1_objects: u16,
    steps: u32,
    steps_max: u32,
    cut: Cut,
    regex: RegexCache,
    decoded: Option<Box<[u8; DECODED_MAX]>>,
    /// Byte order that tests with `dce` read in.
    dce_little: bool,
    /// Number of tests of the buffer, 0 within decoded bytes.
    count: usize,
    /// What the tests lack so far.
    lack: Lack,
    /// What groups took since the signature was asked.
    pub captured: Values,
    /// Values that found no room, or were cut.
    pub captures_lost: u64,
}

impl Scratch {
    /// Room with these limits: of tests tried per buffer, and of steps per packet.
    /// Searches with `patterns` do not allocate afterwards.
    pub fn new(recursion_limit: u32, steps_max: u32, patterns: &[Pattern]) -> Scratch {
        let mut regex = RegexCache::default();
        for pattern in patterns {
            pattern.reserve(&mut regex);
        }
        Scratch {
            regex,
            variables: [0; VARIABLES_MAX],
            recursion: 0,
            recursion_limit,
            asn1_objects: 30,
            steps: steps_max,
            steps_max,
            cut: Cut::default(),
            decoded: Some(Box::new([0; DECODED_MAX])),
            dce_little: false,
            count: 0,
            lack: Lack::Hope,
            captured: Values::new(),
            captures_lost: 0,
        }
    }

    /// The cache that regex searches outside of tests use.
    pub fn regexes(&mut self) -> &mut RegexCache {
        &mut self.regex
    }

    /// Begins a packet; gives how often the last one's verifications were cut short.
    pub fn begin(&mut self) -> Cut {
        self.steps = self.steps_max;
        std::mem::take(&mut self.cut)
    }

    /// Sets the byte order of what is verified next, for tests with `dce`.
    pub fn set_dce_little(&mut self, little: bool) {
        self.dce_little = little;
    }

    /// Whether the tests hold on the buffer.
    pub fn verify(&mut self, steps: &[Step], view: &View) -> Outcome {
        self.recursion = 0;
        self.variables = [0; VARIABLES_MAX];
        (self.count, self.lack) = (steps.len(), Lack::Hope);
        match self.run(steps, view, 0) {
            Rest::Holds { settled: true } => Outcome::Match,
            Rest::Holds { settled: false } if view.end => Outcome::Match,
            Rest::Holds { settled: false } => Outcome::Unsettled,
            No | Never => Outcome::No,
        }
    }

    /// Charges the budgets; false when one is used up.
    fn charge(&mut self, bytes: usize) -> bool {
        let cost = 1 + (bytes / BYTES_PER_STEP) as u32;
        if self.recursion >= self.recursion_limit || self.steps < cost {
            self.cut.budget += 1;
            self.looked_at_end();
            return false;
        }
        self.steps -= cost;
        true
    }

    fn run(&mut self, steps: &[Step], view: &View, offset: usize) -> Rest {
        let Some((step, next)) = steps.split_first() else {
            return Rest::Holds { settled: true };
        };
        self.recursion += 1;
        if !self.charge(0) {
            return Never;
        }
        self.look_ahead(step);
        match step {
            Step::Content(content) => self.content(content, next, view, offset),
            Step::Pcre(pcre) => self.pcre(pcre, next, view, offset),
            Step::IsDataAt(test) => self.is_data_at(test, next, view, offset),
            Step::Asn1(test) => {
                let start = match (test.absolute_offset, test.relative_offset) {
                    (Some(at), _) => Some(at as usize),
                    (None, Some(at)) => offset.checked_add_signed(at as isize),
                    (None, None) => Some(0),
                };
                let data = start.and_then(|start| view.data.get(start..));
                if data.is_some_and(|data| asn1::holds(test, data, self.asn1_objects)) {
                    self.run(next, view, offset)
                } else {
                    No
                }
            }
            Step::ByteTest(test) => match self.byte_test(test, view, offset) {
                Some(true) => self.run(next, view, offset),
                Some(false) => No,
                None => self.out_of_bytes(),
            },
            Step::ByteJump(jump) => match self.byte_jump(jump, view, offset) {
                Some(to) => unsettled_if(jump.from_end, self.run(next, view, to)),
                None => self.out_of_bytes(),
            },
            Step::ByteExtract(extract) => match self.byte_extract(extract, view, offset) {
                Some(to) => self.run(next, view, to),
                None => self.out_of_bytes(),
            },
            Step::ByteMath(math) => match self.byte_math(math, view, offset) {
                Some(to) => self.run(next, view, to),
                None => self.out_of_bytes(),
            },
            Step::Size(compare) => {
                if compare.test(view.base + view.data.len() as u64) {
                    unsettled_if(true, self.run(next, view, offset))
                } else {
                    No
                }
            }
            Step::Entropy(test) => {
                if test.holds(view.data) {
                    unsettled_if(true, self.run(next, view, offset))
                } else {
                    No
                }
            }
            // A set is asked, and changed, once the value is whole.
            Step::Dataset(_) if !view.end => Rest::Holds { settled: false },
            Step::Dataset(test) => {
                if test.holds(view.data) {
                    self.run(next, view, offset)
                } else {
                    No
                }
            }
            Step::Base64 { decode, then } => self.base64(decode, then, view, offset),
        }
    }

    fn number(&self, number: Number) -> i64 {
        match number {
            Number::Literal(value) => value,
            Number::Variable(index) => self
                .variables
                .get(usize::from(index))
                .map_or(0, |value| i64::try_from(*value).unwrap_or(i64::MAX)),
        }
    }

    /// A value that is compared or computed with: all 64 bits count.
    fn unsigned(&self, number: Number) -> u64 {
        match number {
            Number::Literal(value) => value as u64,
            Number::Variable(index) => {
                let value = self.variables.get(usize::from(index));
                value.copied().unwrap_or(0)
            }
        }
    }

    fn optional(&self, number: Option<Number>) -> Option<i64> {
        number.map(|number| self.number(number))
    }

    /// Where a content may lie: first position, and one past the last byte (may exceed the data).
    fn window(&self, content: &ContentStep, view: &View, offset: usize) -> (i64, i64) {
        let variable = [content.offset, content.depth]
            .iter()
            .any(|number| matches!(number, Some(Number::Variable(_))));
        let at = self.optional(content.offset);
        let depth = self.optional(content.depth);
        let frame = offset as i64;
        if content.distance.is_none() && content.within.is_none() {
            let low = view.local(at.unwrap_or(0)).max(0);
            let high = depth.map_or(i64::MAX, |depth| {
                view.local(at.unwrap_or(0).saturating_add(depth))
            });
            return (low, high);
        }
        let distance = self.optional(content.distance).unwrap_or(0);
        let mut low = frame.saturating_add(distance).max(0);
        // An end before the buffer bounds nothing, as in Suricata.
        let end = |within| frame.saturating_add(distance).saturating_add(within);
        let end = self.optional(content.within).map(end);
        let mut high = end.filter(|end| *end >= 0).unwrap_or(i64::MAX);
        if let Some(depth) = depth {
            let reach = if variable { 0 } else { at.unwrap_or(0) };
            high = high.min(frame.saturating_add(depth).saturating_add(reach));
        }
        if let Some(at) = at {
            low = low.max(view.local(at));
        }
        if variable && high != i64::MAX {
            high = high.saturating_add(low);
        }
        (low, high)
    }

    fn content(&mut self, c: &ContentStep, next: &[Step], view: &View, offset: usize) -> Rest {
        let (low, wanted_high) = self.window(c, view, offset);
        let length = view.data.len();
        let high = wanted_high.min(length as i64);
        // What is not there cannot contradict a negation; more may come if the window is open.
        let open = wanted_high > length as i64;
        if low > high || high <= 0 {
            return if c.negated {
                if open {
                    self.looked_at_end();
                }
                unsettled_if(open, self.run(next, view, offset))
            } else {
                if open {
                    self.missed(c, next, view.data, length);
                }
                No
            };
        }
        let (mut low, high) = (low as usize, high as usize);
        let failed = if c.distance.is_none() && c.within.is_none() {
            Never
        } else {
            No
        };
        loop {
            let region = view.data.get(low..high).unwrap_or(&[]);
            if !self.charge(region.len()) {
                return Never;
            }
            let found = if c.endswith {
                at_end(&c.literal, view.data, low, high)
            } else {
                c.literal.find(region).map(|at| low + at)
            };
            let Some(at) = found else {
                return if c.negated {
                    if open {
                        self.looked_at_end();
                    }
                    unsettled_if(open || c.endswith, self.run(next, view, offset))
                } else {
                    if open {
                        self.missed(c, next, view.data, low);
                    }
                    failed
                };
            };
            if c.negated {
                let placed = c.offset.is_some() || c.depth.is_some();
                return if placed { No } else { failed };
            }
            let rest = unsettled_if(c.endswith, self.run(next, view, at + c.literal.len()));
            if rest != No {
                return rest;
            }
            if !c.relative_next {
                return Never;
            }
            low = at + 1;
            if low > high {
                return failed;
            }
        }
    }

    fn is_data_at(&mut self, test: &IsDataAt, next: &[Step], view: &View, offset: usize) -> Rest {
        let variable = matches!(test.position, Number::Variable(_));
        let position = self.number(test.position);
        let failed = if variable || (test.relative && test.negated) {
            No
        } else {
            Never
        };
        let length = view.data.len() as i64;
        let there = if variable && position as u64 >= POSITION_MAX {
            false
        } else if test.relative {
            (offset as i64).saturating_add(position) <= length
        } else {
            view.local(position) < length
        };
        if !there {
            self.looked_at_end();
        }
        if there == test.negated {
            return failed;
        }
        unsettled_if(test.negated, self.run(next, view, offset))
    }

    fn base64(&mut self, d: &Base64Decode, then: &[Step], view: &View, offset: usize) -> Rest {
        let start = (if d.relative { offset } else { 0 }).saturating_add(d.offset as usize);
        let Some(input) = view.data.get(start..) else {
            return No;
        };
        let bytes = if d.bytes == 0 {
            input.len()
        } else {
            input.len().min(d.bytes as usize)
        };
        // A second decode within a decode finds no room: the language has one level.
        let Some(mut decoded) = self.decoded.take() else {
            return No;
        };
        let length = base64::decode(input.get(..bytes).unwrap_or(&[]), &mut decoded);
        let mut rest = No;
        if length > 0 && !then.is_empty() {
            let inner = View::whole(decoded.get(..length).unwrap_or(&[]));
            let count = std::mem::take(&mut self.count);
            rest = self.run(then, &inner, 0);
            self.count = count;
        }
        self.decoded = Some(decoded);
        match rest {
            // The decoded bytes grow with the buffer unless the keyword bounds them.
            Rest::Holds { .. } => Rest::Holds {
                settled: d.bytes != 0 && input.len() >= d.bytes as usize,
            },
            _ => No,
        }
    }

    /// Absolute position of a number test in the data at hand.
    fn place(&self, at: i64, relative: bool, view: &View, offset: usize) -> i64 {
        if relative {
            (offset as i64).saturating_add(at)
        } else {
            view.local(at)
        }
    }

    fn fetch(&self, format: &ByteFormat, view: &View, at: i64) -> Option<(u64, usize)> {
        let format = ByteFormat {
            little: if format.dce {
                self.dce_little
            } else {
                format.little
            },
            ..*format
        };
        number::read(&format, self.number(format.count), view.data, at)
    }

    /// As [`Scratch::fetch`]; no byte at all, where bytes are, is the number 0.
    fn fetch_any(
        &self,
        format: &ByteFormat,
        view: &View,
        at: i64,
        relative: bool,
    ) -> Option<(u64, usize)> {
        if format.base.is_some() || self.number(format.count) != 0 {
            return self.fetch(format, view, at);
        }
        let length = view.data.len() as i64;
        let places = 0..length + i64::from(!relative);
        (length > 0 && places.contains(&at)).then_some((0, 0))
    }

    fn byte_test(&mut self, test: &ByteTest, view: &View, offset: usize) -> Option<bool> {
        let at = self.place(self.number(test.offset), test.relative, view, offset);
        let (value, _) = self.fetch_any(&test.format, view, at, test.relative)?;
        let value = number::masked(value, test.bitmask);
        let right = self.unsigned(test.value);
        Some(number::compare(test.operator, value, right) != test.negated)
    }

    fn byte_jump(&mut self, jump: &ByteJump, view: &View, offset: usize) -> Option<usize> {
        let at = self.place(self.number(jump.offset), jump.relative, view, offset);
        let nothing = jump.format.base.is_none() && self.number(jump.format.count) == 0;
        let (value, used) = if nothing && (0..=view.data.len() as i64).contains(&at) {
            (0, 0)
        } else {
            self.fetch(&jump.format, view, at)?
        };
        let value = number::masked(value, jump.bitmask);
        let mut value = value.wrapping_mul(u64::from(jump.multiplier.max(1)));
        if jump.align {
            value = number::aligned(value, 4);
        }
        let by = (value as i64).wrapping_add(self.number(jump.post_offset));
        let from = if jump.from_beginning {
            view.local(0)
        } else if jump.from_end {
            view.data.len() as i64
        } else {
            at + used as i64
        };
        let to = from.saturating_add(by).max(0) as usize;
        (to <= view.data.len()).then_some(to)
    }

    fn byte_extract(&mut self, e: &ByteExtract, view: &View, offset: usize) -> Option<usize> {
        let at = self.place(e.offset, e.relative, view, offset);
        let (value, used) = self.fetch_any(&e.format, view, at, e.relative)?;
        let value = value.wrapping_mul(u64::from(e.multiplier.max(1)));
        self.store(e.variable, number::aligned(value, u64::from(e.align)));
        Some(at as usize + used)
    }

    fn byte_math(&mut self, math: &ByteMath, view: &View, offset: usize) -> Option<usize> {
        let at = self.place(math.offset, math.relative, view, offset);
        let most = if math.format.base.is_some() {
            MATH_TEXT_MAX
        } else {
            MATH_BINARY_MAX
        };
        if !(1..=most).contains(&self.number(math.format.count)) {
            return None;
        }
        let (left, used) = self.fetch(&math.format, view, at)?;
        let right = self.unsigned(math.value);
        let value = number::compute(math.operator, left, right)?;
        self.store(math.variable, number::masked(value, math.bitmask));
        Some(at as usize + used)
    }

    fn store(&mut self, variable: u8, value: u64) {
        if let Some(place) = self.variables.get_mut(usize::from(variable)) {
            *place = value;
        }
    }
}

fn unsettled_if(open: bool, rest: Rest) -> Rest {
    match rest {
        Rest::Holds { settled } => Rest::Holds {
            settled: settled && !open,
        },
        other => other,
    }
}

/// Position of the literal if it ends where the buffer does, within `low..high`.
fn at_end(literal: &Literal, data: &[u8], low: usize, high: usize) -> Option<usize> {
    if high < data.len() {
        return None;
    }
    let at = data.len().checked_sub(literal.len())?;
    (at >= low && literal.equals(data.get(at..)?)).then_some(at)
}
