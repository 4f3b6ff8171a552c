//! The processor's counter of cycles, for measuring what is too short for a clock. Its unit is a
//! cycle at the nominal speed (TSC), whatever the core's speed is.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Cycles since some moment. Where a processor has no such counter: nanoseconds.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; it only writes registers.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Cycles since some moment. Where a processor has no such counter: nanoseconds.
#[cfg(not(target_arch = "x86_64"))]
pub fn now() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Cycles a nanosecond, measured once against the clock (20 ms).
pub fn per_nanosecond() -> f64 {
    static RATE: OnceLock<f64> = OnceLock::new();
    *RATE.get_or_init(|| {
        let (begin, from) = (Instant::now(), now());
        while begin.elapsed() < Duration::from_millis(20) {}
        (now() - from) as f64 / begin.elapsed().as_nanos() as f64
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_goes_on() {
        let begin = super::now();
        let passed = (0..1_000_000).any(|_| super::now() > begin);
        assert!(passed);
    }

    #[test]
    fn its_rate_is_a_processors() {
        let rate = super::per_nanosecond();
        assert!((0.5..10.0).contains(&rate), "{rate}");
    }
}
