//! The naive twin: a direct reading of a signature's tests on a byte slice that tries every way
//! there is, written apart from verify.rs. Both must agree on any buffer.
//!
//! Left out are variables: with them the language gives up ways that a full search would go (a
//! content that is not relative is not tried again), so only the table of cases speaks there.

use proptest::prelude::*;

use crate::matcher::pcre::Patterns;
use crate::matcher::verify::{Outcome, Scratch, View, compile};
use crate::rules::signature::*;

/// Whether the tests from `at` on hold in some way, the last match having ended at `frame`.
fn holds(tests: &[Test], frame: i64, data: &[u8]) -> bool {
    let Some((test, rest)) = tests.split_first() else {
        return true;
    };
    let length = data.len() as i64;
    match test {
        Test::Content(content) => {
            let places = places(content, frame, data);
            if content.negated {
                return places.is_empty() && holds(rest, frame, data);
            }
            // Only a following relative test makes a later place worth trying.
            let tried = if content.relative_next {
                places.len()
            } else {
                places.len().min(1)
            };
            places
                .iter()
                .take(tried)
                .any(|at| holds(rest, at + content.bytes.len() as i64, data))
        }
        Test::IsDataAt(test) => {
            let Number::Literal(position) = test.position else {
                unreachable!("no variables here")
            };
            let there = if test.relative {
                frame + position <= length
            } else {
                position < length
            };
            there != test.negated && holds(rest, frame, data)
        }
        Test::ByteTest(test) => {
            let (Number::Literal(offset), Number::Literal(value)) = (test.offset, test.value)
            else {
                unreachable!("no variables here")
            };
            let at = offset + if test.relative { frame } else { 0 };
            if at < 0 || at >= length {
                return false;
            }
            let byte = i64::from(data[at as usize]);
            let is = match test.operator {
                ByteOperator::Less => byte < value,
                ByteOperator::Greater => byte > value,
                _ => byte == value,
            };
            is != test.negated && holds(rest, frame, data)
        }
        Test::ByteJump(jump) => {
            let Number::Literal(offset) = jump.offset else {
                unreachable!("no variables here")
            };
            let at = offset + if jump.relative { frame } else { 0 };
            if at < 0 || at >= length {
                return false;
            }
            let to = at + 1 + i64::from(data[at as usize] & 3);
            to <= length && holds(rest, to, data)
        }
        _ => unreachable!("not generated"),
    }
}

fn places(content: &Content, frame: i64, data: &[u8]) -> Vec<i64> {
    let number = |n: Option<Number>| match n {
        Some(Number::Literal(value)) => Some(value),
        _ => None,
    };
    let size = content.bytes.len() as i64;
    let relative = content.distance.is_some() || content.within.is_some();
    (0..=data.len() as i64 - size)
        .filter(|at| {
            let bytes = &data[*at as usize..(*at + size) as usize];
            let equal = if content.nocase {
                bytes.eq_ignore_ascii_case(&content.bytes)
            } else {
                bytes == &*content.bytes
            };
            let end = at + size;
            let mut fits = equal;
            if relative {
                let distance = number(content.distance).unwrap_or(0);
                fits &= *at >= frame + distance;
                if let Some(within) = number(content.within) {
                    let last = frame + distance + within;
                    fits &= last < 0 || end <= last;
                }
            } else {
                let offset = number(content.offset).unwrap_or(0);
                fits &= *at >= offset;
                if let Some(depth) = number(content.depth) {
                    fits &= end <= offset + depth;
                }
            }
            if content.startswith {
                fits &= *at == 0;
            }
            if content.endswith {
                fits &= end == data.len() as i64;
            }
            fits
        })
        .collect()
}

fn literal(value: Option<i64>) -> Option<Number> {
    value.map(Number::Literal)
}

/// A content over a small alphabet, absolute or relative.
fn content() -> impl Strategy<Value = Test> {
    let bytes = "[abA]{1,3}";
    let window = (
        proptest::option::of(-3i64..4),
        proptest::option::of(0i64..5),
        any::<bool>(),
    );
    (bytes, window, any::<[bool; 5]>()).prop_map(|(bytes, (near, far, relative), bits)| {
        let [negated, nocase, start, end, _] = bits;
        let size = bytes.len() as i64;
        let mut content = Content {
            bytes: bytes.as_bytes().into(),
            negated: negated && bits[4],
            nocase,
            ..Content::default()
        };
        if relative {
            content.distance = literal(Some(near.unwrap_or(0)));
            content.within = literal(far.map(|far| far + size));
            content.endswith = end && !content.negated;
        } else if start {
            content.startswith = true;
        } else {
            content.offset = literal(near.map(i64::abs));
            content.depth = literal(far.map(|far| far + size));
        }
        Test::Content(content)
    })
}

fn other() -> impl Strategy<Value = Test> {
    let format = ByteFormat {
        count: Number::Literal(1),
        little: false,
        base: None,
        dce: false,
    };
    let at = (0i64..4, any::<bool>(), any::<bool>());
    let is_data_at = at.clone().prop_map(|(position, relative, negated)| {
        Test::IsDataAt(IsDataAt {
            position: Number::Literal(position),
            relative,
            negated,
        })
    });
    let operators = prop_oneof![
        Just(ByteOperator::Less),
        Just(ByteOperator::Greater),
        Just(ByteOperator::Equal),
    ];
    let byte_test =
        (at, -2i64..3, operators).prop_map(move |((_, relative, negated), offset, operator)| {
            Test::ByteTest(ByteTest {
                format,
                negated,
                operator,
                value: Number::Literal(i64::from(b'b')),
                offset: Number::Literal(if relative { offset } else { offset.abs() }),
                relative,
                bitmask: None,
            })
        });
    prop_oneof![is_data_at, byte_test]
}

/// Says of each content whether the next test that moves or reads the frame is relative to it.
fn link(mut tests: Vec<Test>) -> Vec<Test> {
    for at in 0..tests.len() {
        let next = tests[at + 1..].iter().any(|test| match test {
            Test::Content(c) => c.distance.is_some() || c.within.is_some(),
            Test::IsDataAt(test) => test.relative,
            Test::ByteTest(test) => test.relative,
            _ => false,
        });
        if let Test::Content(content) = &mut tests[at] {
            content.relative_next = next;
        }
    }
    tests
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn both_interpreters_agree(
        tests in proptest::collection::vec(prop_oneof![3 => content(), 1 => other()], 1..5),
        data in "[abAx]{0,14}",
    ) {
        let tests = link(tests);
        let mut scratch = Scratch::new(u32::MAX, u32::MAX, &[]);
        let steps = compile(&tests, &mut Patterns::default()).unwrap();
        let found = scratch.verify(&steps, &View::whole(data.as_bytes())) == Outcome::Match;
        let naive = holds(&tests, 0, data.as_bytes());
        prop_assert_eq!(found, naive, "{:#?}", tests);
    }

    /// A settled match on a part of the bytes stays one when the rest comes, wherever the part ends.
    #[test]
    fn a_settled_match_stays_one(
        tests in proptest::collection::vec(prop_oneof![3 => content(), 1 => other()], 1..5),
        data in "[abAx]{1,14}",
    ) {
        let tests = link(tests);
        let mut scratch = Scratch::new(u32::MAX, u32::MAX, &[]);
        let steps = compile(&tests, &mut Patterns::default()).unwrap();
        let mut settled = false;
        for end in 1..=data.len() {
            let view = View { data: &data.as_bytes()[..end], base: 0, end: false };
            let outcome = scratch.verify(&steps, &view);
            prop_assert!(!settled || outcome == Outcome::Match, "at {} {:#?}", end, tests);
            settled |= outcome == Outcome::Match;
        }
        let whole = scratch.verify(&steps, &View::whole(data.as_bytes()));
        prop_assert!(!settled || whole == Outcome::Match);
    }
}
