//! What tests that did not hold lack, so that a buffer that grows need not be looked through anew with
//! each of its pieces. A run is a function of the bytes; as long as no test looked at where they
//! end, the same run comes out whatever follows. And no match is without a content that stands
//! nowhere, whatever the ways to it.

use super::{ContentStep, Rest, Scratch, Step};

/// What tests that did not hold on a buffer would need to hold once it has grown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lack {
    /// Nothing that follows changes it: no test looked at where the bytes at hand end.
    Hope,
    /// The content that is this step: it stands nowhere in the bytes at hand.
    Content(u8),
    /// Something that follows.
    Bytes,
}

impl Step {
    /// Whether what the test says may hang on where the bytes end, wherever it looks.
    fn looks_at_end(&self) -> bool {
        match self {
            Step::Content(content) => content.endswith,
            // These say themselves when they come to the end.
            Step::IsDataAt(_) => false,
            Step::ByteTest(test) => test.format.base.is_some(),
            Step::ByteJump(jump) => jump.from_end || jump.format.base.is_some(),
            Step::ByteExtract(extract) => extract.format.base.is_some(),
            Step::ByteMath(math) => math.format.base.is_some(),
            Step::Pcre(_)
            | Step::Asn1(_)
            | Step::Size(_)
            | Step::Entropy(_)
            | Step::Dataset(_)
            | Step::Base64 { .. } => true,
        }
    }
}

impl Scratch {
    /// What the tests that did not hold just now lack.
    pub fn lack(&self) -> Lack {
        self.lack
    }

    /// Whether the content of a step still stands nowhere in `data`, whose first `sought` bytes were
    /// found to be without it.
    pub fn still_lacks(&mut self, steps: &[Step], step: u8, data: &[u8], sought: usize) -> bool {
        self.recursion = 0;
        let Some(Step::Content(content)) = steps.get(usize::from(step)) else {
            return false;
        };
        // It may begin so many bytes before the new ones.
        let carry = content.literal.len().saturating_sub(1);
        let new = data.get(sought.saturating_sub(carry)..).unwrap_or(&[]);
        self.charge(new.len()) && content.literal.find(new).is_none()
    }

    /// Before a test is asked.
    pub(super) fn look_ahead(&mut self, step: &Step) {
        if step.looks_at_end() {
            self.looked_at_end();
        }
    }

    /// A test looked at where the bytes end: what follows may turn it.
    pub(super) fn looked_at_end(&mut self) {
        if self.lack == Lack::Hope {
            self.lack = Lack::Bytes;
        }
    }

    /// A number lies where there are no bytes yet, or is none.
    pub(super) fn out_of_bytes(&mut self) -> Rest {
        self.looked_at_end();
        Rest::No
    }

    /// A content is not there from `low` to the end of the bytes. The first that is nowhere in them is
    /// remembered: no match is without it, whatever the ways to it.
    pub(super) fn missed(&mut self, content: &ContentStep, next: &[Step], data: &[u8], low: usize) {
        self.looked_at_end();
        let step = self.count.checked_sub(next.len() + 1);
        let Some(step) = step.and_then(|step| u8::try_from(step).ok()) else {
            return;
        };
        let before = low.saturating_add(content.literal.len().saturating_sub(1));
        let before = data.get(..before).unwrap_or(data);
        if self.lack == Lack::Bytes
            && !content.endswith
            && (low == 0 || self.charge(before.len()) && content.literal.find(before).is_none())
        {
            self.lack = Lack::Content(step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, View, compile};
    use super::*;
    use crate::matcher::answer::payload_outcome;
    use crate::matcher::pcre::Patterns;
    use crate::matcher::program::Rule;
    use crate::matcher::seen::Wait;
    use crate::rules::signature::Test;
    use crate::rules::{Classification, File, Options, Variables, load};
    use proptest::prelude::*;

    /// The tests on the payload of a rule with these options; `None` for what the language refuses
    /// (a relative test without one before it).
    fn tests(options: &str) -> Option<Vec<Test>> {
        let text = format!("alert tcp any any -> any any (msg:\"x\"; {options} sid:1;)\n");
        let file = File {
            path: "test.rules",
            text: text.as_bytes(),
        };
        let (variables, classes) = (Variables::default(), Classification::default());
        let loaded = load(&[file], &variables, &classes, &Options::default());
        let inspect = loaded.signatures.first()?.inspect.first()?;
        Some(inspect.tests.to_vec())
    }

    fn option() -> impl Strategy<Value = String> {
        let place = prop_oneof![
            Just(String::new()),
            (0..4u8).prop_map(|n| format!(" offset:{n};")),
            (4..9u8).prop_map(|n| format!(" depth:{n};")),
            (0..4u8).prop_map(|n| format!(" distance:{n};")),
            (4..9u8).prop_map(|n| format!(" within:{n};")),
            Just(" endswith;".to_string()),
        ];
        let content =
            ("!?", "[ab]{1,3}", any::<bool>(), place).prop_map(|(not, bytes, nocase, place)| {
                let nocase = if nocase { " nocase;" } else { "" };
                format!("content:{not}\"{bytes}\";{nocase}{place} ")
            });
        prop_oneof![
            4 => content,
            1 => ("!?", 0..9u8).prop_map(|(not, n)| format!("isdataat:{not}{n}; ")),
            1 => (0..9u8).prop_map(|n| format!("isdataat:{n},relative; ")),
            1 => (0..4u8).prop_map(|n| format!("byte_test:1,>,97,{n}; ")),
            1 => (0..3u8).prop_map(|n| format!("byte_jump:1,{n},relative,post_offset -96; ")),
            1 => Just("pcre:\"/a+b/R\"; ".to_string()),
        ]
    }

    /// A rule with these options, and what verifies it.
    fn rule(options: &str) -> Option<(Rule, Scratch)> {
        let tests = tests(options)?;
        let mut patterns = Patterns::default();
        let payload = compile(&tests, &mut patterns).ok()?;
        let rule = Rule {
            payload,
            is_placed: options.contains("offset") || options.contains("depth"),
            ..Rule::default()
        };
        Some((rule, Scratch::new(3000, u32::MAX, &patterns.into_all())))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        /// A stream grows, and the bytes that count begin further on with each match: what is
        /// remembered of a rule that waits changes no answer.
        #[test]
        fn what_is_remembered_of_a_stream_changes_no_answer(
            options in proptest::collection::vec(option(), 1..4),
            bytes in "[abAB]{0,40}",
            moves in proptest::collection::vec((0..9usize, prop_oneof![3 => Just(0usize), 1 => 1..9usize]), 1..8),
            base in prop_oneof![Just(0u64), Just(u64::from(u32::MAX) - 11), Just(1 << 33)],
        ) {
            let Some((rule, mut scratch)) = rule(&options.concat()) else { return Ok(()) };
            let (bytes, mut wait) = (bytes.as_bytes(), Wait::of(1));
            let (mut floor, mut end) = (0, 0);
            for (grow, step) in moves {
                end = (end + grow).min(bytes.len());
                floor = (floor + step).min(end);
                let start = base + floor as u64;
                let placed = floor > 0 && rule.is_placed;
                let view = View {
                    data: &bytes[floor..end],
                    base: if placed { 0 } else { start },
                    end: false,
                };
                let plain = scratch.verify(&rule.payload, &view);
                let said = payload_outcome(&rule, &view, Some(start), &mut wait, &mut scratch);
                prop_assert_eq!(said, plain, "{} in {:?}", options.concat(), view);
            }
        }

        #[test]
        fn what_lacks_nothing_never_holds_and_what_lacks_a_content_not_without_it(
            options in proptest::collection::vec(option(), 1..5),
            bytes in "[abAB]{0,24}",
            cut in 0..24usize,
        ) {
            let Some((rule, mut scratch)) = rule(&options.concat()) else { return Ok(()) };
            let steps = rule.payload;
            let bytes = bytes.as_bytes();
            let first = &bytes[..cut.min(bytes.len())];
            let before = scratch.verify(&steps, &View { data: first, base: 0, end: false });
            let lack = scratch.lack();
            if before != Outcome::No {
                return Ok(());
            }
            let mut none_since = true;
            for end in first.len()..=bytes.len() {
                let data = &bytes[..end];
                let after = scratch.verify(&steps, &View { data, base: 0, end: true });
                match lack {
                    Lack::Hope => prop_assert_eq!(after, Outcome::No, "{} in {:?}", options.concat(), data),
                    Lack::Content(step) => {
                        none_since &= scratch.still_lacks(&steps, step, data, 0);
                        prop_assert!(!none_since || after == Outcome::No, "{} in {:?}", options.concat(), data);
                        prop_assert!(none_since || end > first.len());
                    }
                    Lack::Bytes => {}
                }
            }
        }
    }
}
