//! The engine and its twin, aho-corasick, by each path of this processor.

use aho_corasick::{AhoCorasick, Input, MatchKind, automaton::OverlappingState};
use proptest::prelude::*;

use super::*;

/// All occurrences, by aho-corasick: the reference.
pub(crate) fn twin(literals: &[Literal], buffer: &[u8]) -> Vec<(u32, usize)> {
    let automaton = AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .ascii_case_insensitive(true)
        .build(literals.iter().map(|literal| &*literal.bytes))
        .unwrap();
    let mut state = OverlappingState::start();
    let mut found = Vec::new();
    loop {
        automaton.find_overlapping(Input::new(buffer), &mut state);
        let Some(hit) = state.get_match() else {
            break;
        };
        let number = hit.pattern().as_u32();
        let literal = &literals[number as usize];
        let at = hit.end() - literal.bytes.len();
        let case = literal.nocase || buffer[at..hit.end()] == *literal.bytes;
        let start = at == 0;
        let end = hit.end() == buffer.len();
        let place = match literal.anchor {
            Anchor::Floating => true,
            Anchor::Start => start,
            Anchor::End => end,
            Anchor::Whole => start && end,
        };
        if case && place {
            found.push((number, at));
        }
    }
    found.sort_unstable();
    found
}

fn scanned(set: &Literals, path: Path, buffer: &[u8]) -> Vec<(u32, usize)> {
    let mut found = Vec::new();
    let mut budget = u32::MAX;
    let scan = set.scan(
        path,
        buffer,
        Extent::WHOLE,
        &mut budget,
        &mut |literal, at| {
            found.push((literal, at));
        },
    );
    assert_eq!(scan, Scan::Complete);
    found.sort_unstable();
    found
}

/// Nothing but what stands in `buffer`, and all of it but what lies within a run of one byte and so
/// stands one place earlier and one later too.
pub(crate) fn agrees(literals: &[Literal], buffer: &[u8], scanned: &[(u32, usize)]) {
    let all = twin(literals, buffer);
    let within_run = |(number, at): &(u32, usize)| {
        let end = at + literals[*number as usize].bytes.len();
        let around = at.checked_sub(1).and_then(|from| buffer.get(from..=end));
        around.is_some_and(|around| around.windows(2).all(|pair| pair[0] == pair[1]))
    };
    let needed: Vec<_> = all.iter().filter(|hit| !within_run(hit)).collect();
    for hit in scanned {
        assert!(all.contains(hit), "{hit:?} does not stand there");
    }
    for hit in needed {
        assert!(scanned.contains(hit), "{hit:?} was not found");
    }
}

fn literal() -> impl Strategy<Value = Literal> {
    let bytes = prop_oneof![
        proptest::collection::vec(
            prop_oneof![Just(b'a'), Just(b'B'), Just(b'b'), Just(0)],
            1..12
        ),
        proptest::collection::vec(any::<u8>(), 1..40),
        (any::<u8>(), 1..30usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    let anchor = prop_oneof![
        4 => Just(Anchor::Floating),
        1 => Just(Anchor::Start),
        1 => Just(Anchor::End),
        1 => Just(Anchor::Whole),
    ];
    (bytes, any::<bool>(), anchor).prop_map(|(bytes, nocase, anchor)| Literal {
        bytes: bytes.into(),
        nocase,
        anchor,
    })
}

/// Bytes of few values, bytes of any, and pieces of the literals put into them.
fn buffer(literals: Vec<Literal>) -> impl Strategy<Value = (Vec<Literal>, Vec<u8>)> {
    let piece = prop_oneof![
        proptest::collection::vec(
            prop_oneof![Just(b'a'), Just(b'A'), Just(b'b'), Just(0)],
            0..40
        ),
        proptest::collection::vec(any::<u8>(), 0..80),
        (any::<u8>(), 0..300usize).prop_map(|(byte, count)| vec![byte; count]),
        (any::<prop::sample::Index>(), any::<bool>()).prop_map({
            let literals = literals.clone();
            move |(index, upper)| {
                let Some(literal) = literals.get(index.index(literals.len().max(1))) else {
                    return Vec::new();
                };
                if upper {
                    literal.bytes.to_ascii_uppercase()
                } else {
                    literal.bytes.to_vec()
                }
            }
        }),
    ];
    let pieces = proptest::collection::vec(piece, 0..12);
    pieces.prop_map(move |pieces| (literals.clone(), pieces.concat()))
}

fn case() -> impl Strategy<Value = (Vec<Literal>, Vec<u8>)> {
    proptest::collection::vec(literal(), 0..60).prop_flat_map(buffer)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_path_finds_what_the_twin_finds((literals, buffer) in case()) {
        let set = Literals::build(&literals, &Background::default(), Path::best()).unwrap();
        let expected = twin(&literals, &buffer);
        for path in Path::all() {
            prop_assert_eq!(&scanned(&set, path, &buffer), &expected, "{}", path.name());
        }
    }

    #[test]
    fn of_a_run_the_ends_are_found((literals, buffer) in case(), runs in
        proptest::collection::vec((prop_oneof![Just(0u8), Just(b'a'), Just(b'A')], 0..200usize), 0..6))
    {
        let mut set = Literals::build(&literals, &Background::default(), Path::best()).unwrap();
        set.skip_runs();
        let runs = runs.into_iter().flat_map(|(byte, count)| vec![byte; count]);
        let buffer: Vec<u8> = buffer.into_iter().chain(runs).collect();
        for path in Path::all() {
            agrees(&literals, &buffer, &scanned(&set, path, &buffer));
        }
    }

    #[test]
    fn a_burst_finds_what_its_buffers_hold((literals, bytes) in case(), cuts in
        proptest::collection::vec(0..700usize, 0..40))
    {
        let set = Literals::build(&literals, &Background::default(), Path::best()).unwrap();
        let mut buffers = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts {
            let (buffer, after) = rest.split_at(cut.min(rest.len()));
            buffers.push(buffer);
            rest = if after.is_empty() { &bytes } else { after };
        }
        for path in Path::all() {
            let mut found = vec![Vec::new(); buffers.len()];
            let mut budget = u32::MAX;
            let _ = set.scan_burst(path, &buffers, &mut budget, |number, literal, at| {
                found[number].push((literal, at));
            });
            for (found, buffer) in found.iter_mut().zip(&buffers) {
                found.sort_unstable();
                prop_assert_eq!(&*found, &twin(&literals, buffer), "{}", path.name());
            }
        }
    }

    #[test]
    fn a_stream_is_the_same_for_any_cut((literals, bytes) in case(), cuts in
        proptest::collection::vec(1..60usize, 0..40))
    {
        let literals: Vec<Literal> = literals
            .into_iter()
            .filter(|l| l.bytes.len() <= CARRY_MAX + 1 && l.anchor == Anchor::Floating)
            .collect();
        let set = Literals::build(&literals, &Background::default(), Path::best()).unwrap();
        let expected = twin(&literals, &bytes);
        let (mut carry, mut at, mut found) = (Carry::default(), 0usize, Vec::new());
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let piece = &bytes[at..bytes.len().min(at.saturating_add(cut))];
            let mut budget = u32::MAX;
            let _ = set.scan_piece(Path::best(), &mut carry, piece, &mut budget, |literal, start| {
                found.push((literal, at.strict_add_signed(start)));
            });
            at += piece.len();
        }
        found.sort_unstable();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn blocks_meet_without_a_seam() {
    let literals: Vec<Literal> = (0..200u32)
        .map(|i| Literal {
            bytes: format!("needle{i:03}").into_bytes().into(),
            nocase: i % 2 == 0,
            anchor: Anchor::Floating,
        })
        .collect();
    let set = Literals::build(&literals, &Background::default(), Path::best()).unwrap();
    for at in 4070..4110 {
        let mut bytes = vec![b'.'; 9000];
        bytes[at..at + 9].copy_from_slice(b"needle017");
        for path in Path::all() {
            assert_eq!(scanned(&set, path, &bytes), [(17, at)], "{}", path.name());
        }
    }
}

#[test]
fn a_spent_budget_ends_the_scan() {
    let literals: Vec<Literal> = (0..30)
        .map(|_| Literal {
            bytes: (*b"abcdefgh").into(),
            nocase: false,
            anchor: Anchor::Floating,
        })
        .collect();
    let set = Literals::build(&literals, &Background::default(), Path::best()).unwrap();
    let bytes = b"abcdefgh".repeat(1000);
    let (mut budget, mut count) = (1000, 0);
    let scan = set.scan(
        Path::best(),
        &bytes,
        Extent::WHOLE,
        &mut budget,
        &mut |_, _| count += 1,
    );
    assert_eq!((scan, budget), (Scan::Spent, 0));
    assert!((900..4000).contains(&count), "{count}");
}

#[test]
fn a_literal_without_bytes_is_refused() {
    let none = Literal {
        bytes: Box::default(),
        nocase: false,
        anchor: Anchor::Floating,
    };
    assert_eq!(
        Literals::build(&[none], &Background::default(), Path::PORTABLE).err(),
        Some(0)
    );
}
