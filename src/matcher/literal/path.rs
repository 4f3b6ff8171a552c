//! Which instructions the scan uses: chosen once, by trying each on the same bytes for a
//! millisecond in all, since what a processor has says little of how fast it is (gathers).

use std::sync::OnceLock;
use std::time::Instant;

use super::filter::{Classes, ClassesBy, Windows};
use super::{Anchor, Background, Extent, Literal, Literals, portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// One way through the filters. Only ways that this processor has can be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path(Kind);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX2 that loads what others gather.
    #[cfg(target_arch = "x86_64")]
    Avx2Loads,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 that gathers sixteen elements at once.
    #[cfg(target_arch = "x86_64")]
    Avx512Wide,
}

/// Rounds of each path; the best counts.
const ROUNDS: usize = 8;
/// Bytes of a round.
const SAMPLE: usize = 8192;
/// Literals of the trial.
const TRIAL_LITERALS: u64 = 400;

impl Path {
    /// The way without vector instructions.
    pub const PORTABLE: Path = Path(Kind::Portable);

    /// The fastest here.
    pub fn best() -> Path {
        static BEST: OnceLock<Path> = OnceLock::new();
        *BEST.get_or_init(try_all)
    }

    /// All that this processor has, the plainest first.
    pub fn all() -> Vec<Path> {
        let mut all = vec![Path::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
            if has_avx2 {
                all.extend([Path(Kind::Avx2), Path(Kind::Avx2Loads)]);
            }
            let has_avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vbmi")
                && is_x86_feature_detected!("avx512vbmi2");
            if has_avx2 && has_avx512 {
                all.extend([Path(Kind::Avx512), Path(Kind::Avx512Wide)]);
            }
        }
        all
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2Loads => "avx2-loads",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Wide => "avx512-wide",
        }
    }

    /// How byte classes are looked up.
    pub(super) fn classes_by(self) -> ClassesBy {
        match self.0 {
            Kind::Portable => ClassesBy::OneByOne,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 | Kind::Avx2Loads => ClassesBy::Halves,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 | Kind::Avx512Wide => ClassesBy::WholeBytes,
        }
    }

    /// # Safety
    /// `to` has room for the bytes, rounded up to 64.
    #[inline]
    pub(super) unsafe fn fold(self, from: &[u8], to: *mut u8) {
        // SAFETY: the caller's promise; only what the processor has is in a `Path`.
        unsafe {
            match self.0 {
                Kind::Portable => portable::fold(from, to),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 | Kind::Avx2Loads => avx2::fold(from, to),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 | Kind::Avx512Wide => avx512::fold(from, to),
            }
        }
    }

    /// # Safety
    /// `to` has room for the bytes of `from` and 128 more; `out` for `length / 2 + 64`.
    #[inline]
    pub(super) unsafe fn windows(
        self,
        filter: &Windows,
        from: &[u8],
        length: usize,
        to: *mut u8,
        out: *mut u16,
    ) -> usize {
        // SAFETY: the caller's promise; only what the processor has is in a `Path`.
        unsafe {
            match self.0 {
                Kind::Portable => portable::windows(filter, from, length, to, out),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => avx2::windows::<false>(filter, from, length, to, out),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2Loads => avx2::windows::<true>(filter, from, length, to, out),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 => avx512::windows::<false>(filter, from, length, to, out),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512Wide => avx512::windows::<true>(filter, from, length, to, out),
            }
        }
    }

    /// # Safety
    /// `length + 72` bytes can be read from `folded`; `out` and `buckets` have room for
    /// `length + 64`.
    #[inline]
    pub(super) unsafe fn classes(
        self,
        filter: &Classes,
        folded: *const u8,
        length: usize,
        out: *mut u16,
        buckets: *mut u8,
    ) -> usize {
        // SAFETY: the caller's promise; only what the processor has is in a `Path`.
        unsafe {
            match self.0 {
                Kind::Portable => portable::classes(filter, folded, length, out, buckets),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 | Kind::Avx2Loads => avx2::classes(filter, folded, length, out, buckets),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 | Kind::Avx512Wide => {
                    avx512::classes(filter, folded, length, out, buckets)
                }
            }
        }
    }
}

/// Scans the same bytes by each path in turns; the one with the fastest round is the best.
fn try_all() -> Path {
    let mut state = 0x5eed_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let literals: Vec<Literal> = (0..TRIAL_LITERALS)
        .map(|_| Literal {
            bytes: next().to_le_bytes().into(),
            nocase: false,
            anchor: Anchor::Floating,
        })
        .collect();
    let sample: Vec<u8> = (0..SAMPLE).map(|_| next() as u8).collect();
    let Ok(trial) = Literals::build(&literals, &Background::default(), Path::PORTABLE) else {
        return Path::PORTABLE;
    };
    let mut times: Vec<_> = Path::all()
        .into_iter()
        .map(|path| (std::time::Duration::MAX, path))
        .collect();
    for _ in 0..ROUNDS {
        for (time, path) in &mut times {
            let start = Instant::now();
            let mut budget = u32::MAX;
            let mut hits = 0u32;
            let _ = trial.scan(*path, &sample, Extent::WHOLE, &mut budget, &mut |_, _| {
                hits += 1
            });
            std::hint::black_box(hits);
            *time = start.elapsed().min(*time);
        }
    }
    let best = times.into_iter().min_by_key(|(time, _)| *time);
    best.map_or(Path::PORTABLE, |(_, path)| path)
}
