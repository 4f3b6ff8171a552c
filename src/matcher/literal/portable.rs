//! The filters without vector instructions.

use super::filter::{Classes, Windows};
use super::table::load;

/// Copies `from` in lower case.
///
/// # Safety
/// `to` has room for as many bytes.
pub(super) unsafe fn fold(from: &[u8], to: *mut u8) {
    for (i, byte) in from.iter().enumerate() {
        // SAFETY: `i < from.len()`.
        unsafe { to.add(i).write(byte.to_ascii_lowercase()) };
    }
}

/// Folds `from` into `to`, and writes the positions before `length` that pass; gives how many.
///
/// # Safety
/// `to` has room for the bytes of `from` and 128 more; `out` for `length / 2 + 1`.
pub(super) unsafe fn windows(
    filter: &Windows,
    from: &[u8],
    length: usize,
    to: *mut u8,
    out: *mut u16,
) -> usize {
    // SAFETY: the caller's promises.
    unsafe {
        fold(from, to);
        to.add(from.len()).write_bytes(0, 80);
    }
    let mut count = 0;
    for at in (0..length).step_by(filter.stride) {
        // SAFETY: `at < length`, and eight more were written; at most one is written for each.
        unsafe {
            out.add(count).write(at as u16);
            count += usize::from(filter.passes(load(to.add(at))));
        }
    }
    count
}

/// Writes the positions that pass, and the buckets of each; gives how many.
///
/// # Safety
/// `length + 8` bytes can be read from `folded`; `out` and `marks` have room for `length`.
pub(super) unsafe fn classes(
    filter: &Classes,
    folded: *const u8,
    length: usize,
    out: *mut u16,
    marks: *mut u8,
) -> usize {
    let mut count = 0;
    for at in 0..length {
        // SAFETY: `at < length`, and eight more can be read; at most one is written for each.
        unsafe {
            out.add(count).write(at as u16);
            let buckets = filter.buckets_of(load(folded.add(at)) as u32);
            marks.add(at).write(buckets);
            count += usize::from(buckets != 0);
        }
    }
    count
}
