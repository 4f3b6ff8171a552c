//! Asking for lines of memory ahead of their use. No effect but time.

/// Asks for a line that will be read.
#[inline(always)]
pub fn prefetch_read<T>(target: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(target.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = target;
}

/// Asks for a line that will be read, into the second-level cache.
#[inline(always)]
pub fn prefetch_second<T>(target: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(target.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = target;
}

/// Asks for a line that will be written, so that no second request for ownership follows.
#[inline(always)]
pub fn prefetch_write<T>(target: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch never faults; processors without PREFETCHW take it for a no-op (all x86-64
    // ones decode it).
    unsafe {
        std::arch::asm!("prefetchw [{target}]", target = in(reg) target,
            options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    prefetch_read(target);
}
