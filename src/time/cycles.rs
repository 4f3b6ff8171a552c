//! The processor's counter of cycles, for measuring what is too short for a clock. Its unit is a
//! cycle at the nominal speed (TSC), whatever the core's speed is.

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
    use std::sync::OnceLock;
    use std::time::Instant;
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_goes_on() {
        let begin = super::now();
        let passed = (0..1_000_000).any(|_| super::now() > begin);
        assert!(passed);
    }
}
