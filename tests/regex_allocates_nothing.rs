//! Searches with patterns that a cache was reserved for allocate nothing: the whole process counts.

use sluice::matcher::regex::{Regex, RegexCache, RegexEngine, RegexFlags, RegexResult};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

/// The system's allocator, counted.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's layout is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the place came from `alloc` above, which is the system's.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One of each kind: table with known start, with a reverse table, with groups and an ambiguous
/// end; too large for a table; not regular, with and without a match; a limit.
const PATTERNS: &[&str] = &[
    "^GET /[a-z]+",
    "foo[a-z]+bar",
    r"(\w+)=(\d+)\s*$",
    r"[^\r\n]*x[^\r\n]{40}y",
    r"(['\x22])[a-z]+\1",
    "(?<!a)b(?=c)",
    "(a+)+(?<!a)",
    "(?:%3C){1000}",
];

#[test]
fn searches_allocate_nothing_once_the_cache_is_reserved() {
    let flags = RegexFlags {
        captures: true,
        ..RegexFlags::default()
    };
    let compile = |text: &&str| Regex::compile(text.as_bytes(), flags).expect("compiles");
    let patterns: Vec<Regex> = PATTERNS.iter().map(compile).collect();
    let mut cache = RegexCache::default();
    patterns.iter().for_each(|regex| cache.reserve(regex));
    let subjects: [Vec<u8>; 5] = [
        b"GET /index foozbar \"abc\" bc key=12\n".to_vec(),
        [&b"x"[..], &b"-".repeat(40), b"y"].concat(),
        b"%3C".repeat(1_001),
        b"a".repeat(2_000),
        Vec::new(),
    ];
    let mut groups = [None; 8];
    let mut results = [0u32; 3];
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    // Backwards too: a cache goes from large patterns to small ones and back.
    for regex in patterns.iter().chain(patterns.iter().rev()) {
        for subject in &subjects {
            let limits = regex.limits();
            for result in [
                regex.test_at(&mut cache, subject, 0, &limits),
                regex.find_end_at(&mut cache, subject, 0, &limits),
                regex.captures_at(&mut cache, subject, 0, &limits, &mut groups),
            ] {
                let which = match result {
                    RegexResult::Match { .. } => 0,
                    RegexResult::NoMatch => 1,
                    RegexResult::LimitHit => 2,
                };
                results[which] += 1;
            }
        }
    }
    assert_eq!(
        ALLOCATIONS.load(Ordering::Relaxed),
        before,
        "a search allocated"
    );
    assert!(
        results.iter().all(|&count| count > 0),
        "all results were seen: {results:?}"
    );
    for engine in [
        RegexEngine::Table,
        RegexEngine::Mixed,
        RegexEngine::Backtrack,
    ] {
        assert!(
            patterns.iter().any(|regex| regex.engine() == engine),
            "{engine:?} was searched"
        );
    }
}
